/* What a run's voxels depend on, as text: a line "name = value" for each thing. Two runs
 * with the same text may share their work. */
#ifndef TR_FINGERPRINT_H
#define TR_FINGERPRINT_H

#include "common/base/err.h"

/* TR_OK if both are the same; TR_ERR_USAGE, with the first lines that differ, if the file
 * `path`, whose fingerprint is `theirs`, is of other data or parameters than this run's.
 */
TR_CHECKED tr_status tr_fingerprint_compare(const char *path, const char *theirs,
                                            const char *ours);

#endif
