/* The slice method: a rank's slices are reconstructed slab by slab, rows of one slab
 * independent of all others; reading, computing and writing overlap. */
#ifndef TR_SLICES_H
#define TR_SLICES_H

#include "common/run/job.h"
#include "tiltrec/sums.h"

extern const tr_method tr_slices;

/* How the work is cut up. */
typedef struct tr_slice_plan {
    size_t first, slices; /* of the output, this process's share */
    size_t core;          /* rows of a slab whose result is kept */
    size_t halo;          /* rows on each side that only feed the core */
    size_t lanes;         /* core + 2 halo, rounded up to whole vectors */
    size_t planes;        /* z' planes of a slab */
    long first_row;       /* of the first slab's core */
    size_t n_slabs;
    size_t volumes; /* slabs of volume that may be alive between compute and writer */
    size_t group;   /* output slices assembled at once */
    size_t bytes;   /* of all this in host memory, */
    size_t device_bytes; /* and in that of a device with its own */
} tr_slice_plan;

enum { TR_SLAB_QUEUE = 2 }; /* slabs of projections read ahead */

/* ---- plan.c ---- */

/* tr_method's plan for this method; *plan is a tr_slice_plan. */
TR_CHECKED tr_status tr_slices_plan(const tr_job *job, void **plan);

/* The same with slabs of half as many rows: for a device that could not give what the
 * plan counted on. False where slabs cannot be smaller. */
TR_CHECKED bool tr_slices_shrink(const tr_job *job, tr_slice_plan *plan);

/* The same with slabs of `core` rows, fewer than planned. */
void tr_slices_cut(size_t core, tr_slice_plan *plan);

/* The same without the first n slices of this process's share. */
void tr_slices_skip(const tr_job *job, tr_slice_plan *plan, size_t n);

/* How a device takes the slices of a slab's core, and floats of its memory to do that in;
 * 0 where it does not. */
size_t tr_slices_take(const tr_job *job, const tr_slice_plan *plan, tr_take *take);

/* Floats of host memory for what is written of a slab: all of its volume, which is
 * computed there; or what a device sends, lines of the field or samples. */
size_t tr_slices_host_floats(const tr_job *job, const tr_slice_plan *plan);

/* ---- slice_operator.c ---- */

/* The `self` of the operator of a slab, which changes from slab to slab. */
typedef struct tr_slice_operator {
    tr_job *job; /* to count work and time in */
    tr_sums sums;
} tr_slice_operator;

const tr_linop_ops *tr_slice_ops(const tr_job *job);

/* ---- compose.c ---- */

/* The writer's side: takes reconstructed slabs in order and emits output slices. */
typedef struct tr_composer tr_composer;
typedef struct tr_slab_volume {
    long row;        /* of the core's first row */
    double z0;       /* z' of plane 0 */
    float *data;     /* V[z][x][lane], lane 0 is row - halo; */
    tr_taken *taken; /* or, if not NULL, what a device took of the first n_taken rows of
                        the core, the samples being `data`: see take_slices */
    size_t n_taken;
} tr_slab_volume;

/* Whether the device takes the slices, and how: all but row, n and lines of it. Else the
 * host makes them of lines, which is so where it has the lines anyway or has to make new
 * ones of them, at a pitch. */
bool tr_composer_takes(const tr_job *job, tr_take *take);
/* Whether slices are put together in memory before they are written. */
bool tr_composer_makes_planes(const tr_job *job);
tr_composer *tr_composer_new(tr_job *job, const tr_slice_plan *plan);
void tr_composer_free(tr_composer *composer);
/* Take the next slab, write the slices it completes, and append the slabs no longer
 * needed to done[] (room for plan->volumes), *n_done of them. */
TR_CHECKED tr_status tr_composer_add(tr_composer *composer, tr_slab_volume *slab,
                                     tr_slab_volume **done, size_t *n_done);

#endif
