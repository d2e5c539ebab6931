/* The projection operator as algorithms see it: A maps a volume to projections. The
 * slice programs hand over the operator of one slab of independent rows; which device
 * computes it, and which rows these are, is hidden. */
#ifndef TR_LINOP_H
#define TR_LINOP_H

#include "kernels/backend.h"

typedef struct tr_linop tr_linop;

typedef struct tr_linop_ops {
    /* p = A x on the subset's views; x = A^T p summed over them. */
    tr_status (*forward)(const tr_linop *A, const tr_subset *views, const tr_vec *x,
                         tr_vec *p);
    tr_status (*adjoint)(const tr_linop *A, const tr_subset *views, const tr_vec *p,
                         tr_vec *x);
    /* A 1 and A^T 1, one value per line. */
    tr_status (*row_sums)(const tr_linop *A, const tr_subset *views, tr_vec *p);
    tr_status (*col_sums)(const tr_linop *A, const tr_subset *views, tr_vec *x);
    /* Filter the projections in place along u. An adjoint after it fills the edges: rays
     * that leave the image read what the filter put there. */
    tr_status (*filter)(const tr_linop *A, const tr_filter *filter, tr_vec *p);
    /* Of the whole volume only; NULL for a slab of independent rows. values[n] summed
     * over the processes; and one row next to this process's own: the first row of the
     * process above, or the last of the one below, one value per line into row (room for
     * x->lines); *exists is false at the ends of the volume. Collective. */
    tr_status (*total)(const tr_linop *A, double *values, size_t n);
    tr_status (*neighbour)(const tr_linop *A, bool above, const tr_vec *x, float *row,
                           bool *exists);
} tr_linop_ops;

struct tr_linop {
    const tr_linop_ops *ops;
    void *self;
    const tr_backend *backend; /* of the vectors */
    void *device;              /* its state */
    const tr_slab *slab;       /* shapes */
    const double *tilt;        /* radians, one per view */
    size_t first_row, n_rows;  /* rows in use, from lane first_row; other lanes of vectors
                                  are 0, or (halo rows of a slab) not counted */
    bool coupled;              /* rays leave their row: sums depend on the row as well */
};

#endif
