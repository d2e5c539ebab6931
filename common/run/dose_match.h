/* Which record of a file of exposures is of which view, for dose_sources.c. */
#ifndef TR_DOSE_MATCH_H
#define TR_DOSE_MATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/err.h"

enum { TR_NO_RECORD = -1 };

/* Degrees between the angles of a view before and after alignment, at most. */
#define TR_DOSE_SAME_WITHIN 1.0

/* Angles of n views of a series and of m records of a file; NaN: not known. */
typedef struct tr_dose_angles {
    const char *series, *path;
    const double *tilt, *theirs;
    size_t n, m;
} tr_dose_angles;

/* Degrees by which the views lie above their records, and by which they would with
 * another assignment that cannot be told from this one; NaN: there is none. */
typedef struct tr_dose_offset {
    double taken, other;
} tr_dose_offset;

/* of[n]: the record of each view, by angle, TR_NO_RECORD where a view has no angle; as
 * they follow each other where the angles do so, too. As many views as records may be
 * turned by any angle; fewer by less, unless gaps or uneven steps tell which is which.
 * TR_ERR_DATA: angles of another series, or several ways to turn them; TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_dose_match(const tr_dose_angles *angles, long *of,
                                   tr_dose_offset *offset);

/* Warns where another assignment fits as well. */
void tr_dose_match_doubt(const tr_dose_angles *angles, const tr_dose_offset *offset);

#endif
