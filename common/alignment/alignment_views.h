/* The views of a series as --check-alignment wants them: at a working size, in the
 * aligned frame, stretched to what is seen from above. */
#ifndef TR_ALIGNMENT_VIEWS_H
#define TR_ALIGNMENT_VIEWS_H

#include "common/alignment/alignment_check.h"
#include "common/series/series.h"

typedef struct tr_alignment_views tr_alignment_views;

/* Reads all views, as they are in the file but for the steps on single pixels, and makes
 * the longer side at most `most` pixels by a whole factor. `g` has the angles and the
 * axis. Freed by the other one. Errors: reading, memory; angles beyond 80 degrees. */
TR_CHECKED tr_status tr_alignment_views_new(const tr_series *series, const tr_geometry *g,
                                            size_t most, int threads,
                                            tr_alignment_views **made);
void tr_alignment_views_free(tr_alignment_views *views); /* NULL is fine */

/* For tr_alignment_check_run; valid as long as the views. */
tr_check_source tr_alignment_views_source(tr_alignment_views *views);
/* Pixels of the file that one of these is. */
size_t tr_alignment_views_factor(const tr_alignment_views *views);
/* Floats that are held. */
size_t tr_alignment_views_floats(size_t n, size_t nx, size_t ny, size_t most);

#endif
