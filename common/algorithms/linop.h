/* The projection operator as algorithms see it: A maps a volume to projections. The
 * slice programs hand over the operator of one slab of independent rows; which device
 * computes it, and which rows these are, is hidden. */
#ifndef TR_LINOP_H
#define TR_LINOP_H

#include "kernels/backend.h"

typedef struct tr_linop tr_linop;

enum { TR_MOST_TOTALS = 8 };

typedef struct tr_linop_ops {
    /* p = A x on the subset's views; x = A^T p summed over them. */
    tr_status (*forward)(const tr_linop *A, const tr_subset *views, const tr_vec *x,
                         tr_vec *p);
    tr_status (*adjoint)(const tr_linop *A, const tr_subset *views, const tr_vec *p,
                         tr_vec *x);
    /* x = A^T p over all views in Fourier space, and its own adjoint: see tr_backend's
     * backproject_fourier and project_fourier. NULL where that cannot be had. */
    tr_status (*adjoint_fourier)(const tr_linop *A, const tr_vec *p, tr_vec *x);
    tr_status (*forward_fourier)(const tr_linop *A, const tr_vec *x, tr_vec *p);
    /* A 1 and A^T 1, one value per line. */
    tr_status (*row_sums)(const tr_linop *A, const tr_subset *views, tr_vec *p);
    tr_status (*col_sums)(const tr_linop *A, const tr_subset *views, tr_vec *x);
    /* Filter the projections in place along u. An adjoint after it fills the edges: rays
     * that leave the image read what the filter put there. */
    tr_status (*filter)(const tr_linop *A, const tr_filter *filter, tr_vec *p);
    /* x = max(x + a w A^T p, low), w one factor per line or per value, in one pass over
     * the volume: see tr_backend's backproject_add. NULL where that saves nothing. */
    tr_status (*add_adjoint)(const tr_linop *A, const tr_subset *views, float a,
                             const tr_vec *w, float low, const tr_vec *p, tr_vec *x);
    /* Of the whole volume only; NULL for a slab of independent rows. values[k], k < n <=
     * TR_MOST_TOTALS, becomes the sum of rows[k n_rows ...], one value for each row in
     * use, over the rows of all processes, in their order: it does not depend on who has
     * which. And one row next to this process's own: the first row of the
     * process above, or the last of the one below, one value per line into row (room for
     * x->lines); *exists is false at the ends of the volume. Collective. */
    tr_status (*total)(const tr_linop *A, const double *rows, size_t n, double *values);
    tr_status (*neighbour)(const tr_linop *A, bool above, const tr_vec *x, float *row,
                           bool *exists);
} tr_linop_ops;

/* What an operator takes x to. Algorithms are given one that projects; the others are
 * parts of such: x and p of their functions are both projections, or both volumes. */
typedef enum tr_linop_kind { TR_PROJECTS, TR_ON_IMAGES, TR_ON_VOLUME } tr_linop_kind;

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
    tr_linop_kind kind;
};

/* ---- operators made of operators ----
 *
 * To an algorithm they are like any other. Parts, whose shapes and backend must agree,
 * stay the caller's and must outlive what is made of them; its workspace is its own, made
 * when it is first needed, so one thread at a time may use it. Filter, total and
 * neighbour are those of the operator that projects at the bottom, in a sum that of its
 * first part.
 *
 * Row and column sums are worked out from those of the parts where that can be, else by
 * applying the operator to ones, which takes a volume and projections for that time. They
 * are plain sums: of parts with negative values they are no sums of absolute values.
 * Where they are one per line, applying it to ones takes the row in the middle of those
 * in use.
 *
 * *made is freed with tr_linop_free. Errors: memory. */

/* x -> second (first x). */
TR_CHECKED tr_status tr_linop_chain(const tr_linop *second, const tr_linop *first,
                                    tr_linop **made);

/* x -> left * A (right * x), value by value. Weights have one value per line or one per
 * value, which makes the operator's sums depend on the row as well; NULL is 1. Their
 * values at the guards are finite and do not matter. The vectors' memory stays the
 * caller's. */
TR_CHECKED tr_status tr_linop_weight(const tr_linop *A, const tr_vec *left,
                                     const tr_vec *right, tr_linop **made);

/* x -> parts[0] x + ... + parts[n - 1] x, n > 0, added up in this order. */
TR_CHECKED tr_status tr_linop_sum(const tr_linop *const *parts, size_t n,
                                  tr_linop **made);

/* What an operator takes its sums from: a new vector of projections or of a volume, 1 but
 * for guards and, where rays leave their row, rows not in use, which are 0. Freed by the
 * backend's `free`; there is none after an error. */
TR_CHECKED tr_status tr_linop_ones(const tr_linop *A, bool images, tr_vec *ones);

/* Only the operator itself, not its parts; NULL is fine. */
void tr_linop_free(tr_linop *made);

/* The vectors that it and the parts of its parts hold, at most; 0 if it is none of
 * these. For the memory plan. */
void tr_linop_workspace(const tr_linop *A, size_t *volumes, size_t *projections);

#endif
