/* --align: a raw series aligned by what its views show. */
#ifndef TR_ALIGN_H
#define TR_ALIGN_H

#include "common/run/run.h"

/* For tr_inputs: when the angles of the views are known and nothing else is read of them,
 * find their transforms, as if a file had them, and write them to OUTPUT_align.xf and
 * .tlt (rank 0, not in a dry run). `data` is the run. Collective: a rank that failed
 * before agrees on that with the others, which then return its sentence. Errors:
 * TR_ERR_DATA where the views do not show how they lie. */
TR_CHECKED tr_status tr_run_align(void *data, tr_inputs *in, tr_command *c);

#endif
