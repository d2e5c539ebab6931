/* What the iterations that repeat one relaxed step share: SIRT and SART. */
#ifndef TR_STATIONARY_H
#define TR_STATIONARY_H

#include "common/algorithms/algorithm.h"

typedef struct tr_stationary {
    long iterations;
    double relaxation, tolerance;
    bool positive;
} tr_stationary;

#define TR_STATIONARY_OPTIONS(number, factor)                                            \
    TR_OPTION_ITERATIONS_AT_MOST(tr_stationary, number),                                 \
        TR_OPTION_RELAXATION(tr_stationary, factor), TR_OPTION_TOLERANCE(tr_stationary), \
        TR_OPTION_POSITIVE(tr_stationary)

/* tr_algorithm.describe for these params. */
void tr_stationary_describe(const void *params, char *text, size_t size);

/* One over row sums (projection weights) or column sums (volume weights); 0 for voxels
 * that no view sees. Rays shorter in the volume than a quarter of its thickness, or of
 * its width if that is less, count as if they were as long: they cut a corner, and would
 * pull its few voxels to what the specimen beside the volume has. */
TR_CHECKED tr_status tr_inverse_row_sums(tr_context *c, const tr_subset *views,
                                         tr_vec *R);
TR_CHECKED tr_status tr_inverse_col_sums(tr_context *c, const tr_subset *views,
                                         tr_vec *C);

/* y = max(y + a C A^T r, low); low = -INFINITY changes nothing. `gradient` becomes A^T r
 * where that is made by itself: a volume of tr_new_gradient, which else makes none. */
TR_CHECKED tr_status tr_new_gradient(tr_context *c, tr_vec *gradient);
TR_CHECKED tr_status tr_add_backprojection(tr_context *c, const tr_subset *views, float a,
                                           const tr_vec *C, float low, const tr_vec *r,
                                           tr_vec *gradient, tr_vec *y);

#endif
