/* What the files of the operator share. */
#ifndef TR_VOLUME_PRIVATE_H
#define TR_VOLUME_PRIVATE_H

#include "tiltrecz/transfer.h"
#include "tiltrecz/volume.h"

struct tr_volume_operator {
    tr_job *job, *counts_for;
    const tr_volume_plan *plan;
    tr_linop A;
    tr_linop_ops ops;
    tr_slab shape; /* what algorithms see: the own rows */
    tr_slab slab;  /* what the kernels see: own slices, window rows */
    tr_ray *rays;
    double *tilts;
    float *grid; /* of the offsets to them, of a local alignment; or NULL */
    tr_offsets offsets;
    double *totals;        /* of the rows of all processes */
    float *window;         /* projections of the window, when coupled */
    bool fill_edges;       /* filtered projections go on beyond the image */
    tr_row_range *theirs;  /* per rank: its own image rows that are in my window */
    tr_row_range *mine;    /* per rank: my own image rows that are in its window */
    tr_transfer *transfer; /* of these, NULL unless coupled */
    size_t *list;          /* all views, in order */
    size_t *send_counts, *recv_counts;
    double total_updates;
    /* Of projections as sums (volume_sums.c); sums is NULL where there are none. */
    size_t group;     /* views at a time, */
    double *sums;     /* their windows */
    double *quantum;  /* of each view of a subset */
    double *own;      /* one view's own rows, */
    float *rounded;   /* and as floats */
    double *of_ranks; /* one value each */
};

static inline size_t tr_volume_columns(const tr_volume_operator *op)
{
    return op->shape.n_u + TR_GUARDS;
}

/* volume_sums.c: what it takes, once windows and shapes are known; freed with the
 * operator's. */
TR_CHECKED tr_status tr_volume_sums_new(tr_volume_operator *op);
void tr_volume_sums_free(tr_volume_operator *op);
/* p = A x on the subset's views of the own rows. Collective. */
TR_CHECKED tr_status tr_volume_project_sums(tr_volume_operator *op,
                                            const tr_subset *views, const tr_vec *x,
                                            tr_vec *p);
/* tr_linop_ops's total. */
TR_CHECKED tr_status tr_volume_total(const tr_volume_operator *op, const double *rows,
                                     size_t n, double *values);

#endif
