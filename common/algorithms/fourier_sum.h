/* The choice between sums of views in Fourier space and direct ones. */
#ifndef TR_FOURIER_SUM_H
#define TR_FOURIER_SUM_H

#include "common/algorithms/linop.h"

/* How views are summed: directly, each voxel reading its two columns of every view, or by
 * gridding in Fourier space; iterations project by its transpose then. AUTO takes what is
 * faster by a count of operations, so that it depends on sizes alone. */
typedef enum tr_sum { TR_SUM_AUTO, TR_SUM_DIRECT, TR_SUM_FOURIER } tr_sum;
#define TR_SUM_NAMES "auto direct fourier"
#define TR_SUM_OPTION "sum"

/* Whether that is in Fourier space for these sizes of a field, where it can be had. */
bool tr_sum_is_fourier(tr_sum sum, size_t n_views, size_t n_u, size_t n_x, size_t n_z);
/* The error where it cannot be had. */
TR_CHECKED tr_status tr_sum_unavailable(void);

/* Whether A's views are summed in Fourier space. TR_ERR_UNAVAILABLE where FOURIER is
 * asked for and cannot be had. */
TR_CHECKED tr_status tr_sum_choose(const tr_linop *A, tr_sum sum, bool *fourier);

/* A itself, or in its place the pair of projection and backprojection in Fourier space,
 * of all views only. Valid as long as A and `pair` are where they are. Errors: as above.
 */
typedef struct tr_sum_pair {
    tr_linop A;
    tr_linop_ops ops;
} tr_sum_pair;
TR_CHECKED tr_status tr_sum_operator(const tr_linop *A, tr_sum sum, tr_sum_pair *pair);

/* The option of iterations; `sum` is an int of P. */
#define TR_OPTION_SUM(P)                                                                 \
    TR_CHOICE_ROW(P, sum, TR_SUM_OPTION, "WAY", "direct", TR_SUM_NAMES,                  \
                  .help =                                                                \
                      "How the views are summed, and projected: direct, with linear "    \
                      "interpolation; fourier, by gridding in Fourier space, for "       \
                      "many views; auto is the faster one by the sizes")

#endif
