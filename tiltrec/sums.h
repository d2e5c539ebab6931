/* Row and column sums of the slices' operator: worked out once for each geometry. Without
 * a pitch that is once for all slabs. */
#ifndef TR_SUMS_H
#define TR_SUMS_H

#include "common/algorithms/linop.h"

typedef struct tr_sums {
    tr_ray *rays; /* of the views, as they were when the sums were worked out */
    tr_vec row, col;
    bool has_row, has_col;
} tr_sums;

/* As row_sums and col_sums of a tr_backend, which they ask only if `views` is not NULL or
 * the rays are others than last time. *sums starts as {0}; a copy is kept in the
 * backend's memory until tr_sums_free. */
TR_CHECKED tr_status tr_row_sums(tr_sums *sums, const tr_linop *A, const tr_subset *views,
                                 tr_vec *p);
TR_CHECKED tr_status tr_col_sums(tr_sums *sums, const tr_linop *A, const tr_subset *views,
                                 tr_vec *x);
void tr_sums_free(tr_sums *sums, const tr_backend *backend, void *device);

#endif
