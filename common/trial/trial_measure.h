/* Measures the slices of trial slabs as they come from the reconstruction, one at a time:
 * nothing but sums is kept. */
#ifndef TR_TRIAL_MEASURE_H
#define TR_TRIAL_MEASURE_H

#include "common/trial/trial_figure.h"

/* The side of the box that smooths before flatness is measured: noise goes down, a
 * slab's edges stay; grows with the columns, 3 at least. Always odd. */
size_t tr_trial_flat_side(size_t columns);

/* out = plane[height][width] averaged over boxes of `small` x `small`, minus the same
 * averaged over boxes of large_x x large_z more; edges are repeated. Sides are odd; 1 is
 * no average. scratch[2] are as large as the plane; no buffer may be another. */
void tr_trial_band_pass(const float *plane, size_t width, size_t height, size_t small,
                        size_t large_x, size_t large_z, float *const scratch[2],
                        float *out);

/* Where the slices of a trial are measured, and what is found. */
typedef struct tr_trial_eye {
    size_t width, planes;
    size_t first, end;         /* columns that all views see at every value tried */
    size_t flat_side;          /* tr_trial_flat_side */
    size_t per_part;           /* slices of a part */
    tr_trial_measure *measure; /* sums are added to it; zero at first; the caller's */
    float *picture;            /* mean of the slab's slices [planes][width] */
    float *part;               /* as large, as are the next; 0 between parts */
    float *band, *scratch[2];
} tr_trial_eye;

/* Workspace for planes[planes][width]; first ... measure are set by the caller. */
TR_CHECKED tr_status tr_trial_eye_new(size_t width, size_t planes, tr_trial_eye *eye);
void tr_trial_eye_free(tr_trial_eye *eye);

/* Slice `slice` of slab `slab`, plane[planes][width]; a slab's slices come in order, all
 * before those of the next. `picture` is complete after the last. */
void tr_trial_look(tr_trial_eye *eye, size_t slab, size_t slice, const float *plane);

#endif
