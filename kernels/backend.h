/* What a device can do, as one table; the CPU backend is in cpu_*.c.
 *
 * Data layout. y (the image row, along the tilt axis) is the lane axis and runs
 * fastest, because every row has the same ray geometry:
 *   projections  P[view][column + 1][row]   n_views x (n_u + 3) lines of `rows` floats
 *   volume       V[z][x][row]               n_z x n_x lines of `rows` floats
 * A projection has one guard column left of the image and two right of it. A ray
 * that leaves the image reads the guard: 0 where such a view must not contribute, the
 * fill value where it must. The guards of a vector of algorithms are always 0 except
 * after filter().
 *
 * `rows` is a multiple of TR_LANES; unused lanes hold anything finite. What a lane's
 * result is never depends on its neighbours, on `rows`, or on the number of threads. */
#ifndef TR_BACKEND_H
#define TR_BACKEND_H

#include "../common/err.h"

enum { TR_LANES = 16, TR_GUARDS = 3 };

/* Where one view's rays run, in voxel indices of the slab: voxel (ix, iz) of row y is
 * seen at image column u0 + ux*ix + uz*iz of row y + v0 + vz*iz (0-based). |ux| <= 1.
 * v0 = vz = 0 but for views with an x-tilt of their own. */
typedef struct tr_ray {
    double u0, ux, uz, v0, vz;
} tr_ray;

/* One slab: sizes and one ray per view (owned by whoever made the slab). */
typedef struct tr_slab {
    size_t n_views, n_u, n_x, n_z, rows;
    const tr_ray *rays;
} tr_slab;

static inline size_t tr_projection_lines(const tr_slab *s)
{
    return s->n_views * (s->n_u + TR_GUARDS);
}
static inline size_t tr_volume_lines(const tr_slab *s) { return s->n_z * s->n_x; }

/* A vector of `lines` lines of `rows` floats: a volume, projections, or with rows = 1
 * one weight per line. `data` is the backend's memory. */
typedef struct tr_vec {
    float *data;
    size_t lines, rows;
} tr_vec;

/* Some of the views, in the order given; a NULL tr_subset pointer means all. */
typedef struct tr_subset {
    size_t n;
    const size_t *views;
} tr_subset;

/* A filter along u. Each image row of n_u values is extended to `length` values, the
 * added ones falling linearly from the mean of the last 3 values to the mean of the
 * first 3, multiplied in Fourier space by response[0 .. length/2] (real, even), and by
 * its view's weight. Afterwards the guards hold edge_gain * weight * the row's mean
 * before filtering. response and weight are the caller's. */
typedef struct tr_filter {
    size_t length;         /* even, >= n_u */
    const float *response; /* length/2 + 1 values, frequency k / length per pixel */
    const float *weight;   /* one per view */
    float edge_gain;
} tr_filter;

/* Every function returns a status; `state` is what open made. Vectors of one call have
 * the shapes the slab gives, or equal shapes for plain vector operations. */
typedef struct tr_backend {
    const char *name;

    tr_status (*open)(int threads, void **state);
    void (*close)(void *state);
    /* A line on what was chosen ("8 threads, avx512"), for --verbose. */
    const char *(*describe)(void *state);
    /* 64-byte aligned or better, contents undefined (NaN in debug builds). */
    tr_status (*alloc)(void *state, size_t floats, float **data);
    void (*free)(void *state, float *data);

    tr_status (*fill)(void *state, tr_vec *y, float value);             /* y = value */
    tr_status (*copy)(void *state, const tr_vec *x, tr_vec *y);         /* y = x */
    tr_status (*axpy)(void *state, float a, const tr_vec *x, tr_vec *y); /* y += a x */
    tr_status (*xpay)(void *state, const tr_vec *x, float a, tr_vec *y); /* y = x + a y */
    tr_status (*clamp)(void *state, float low, tr_vec *y); /* y = max(y, low) */
    tr_status (*shrink)(void *state, float t, tr_vec *y);  /* soft threshold by t */
    tr_status (*dot)(void *state, const tr_vec *x, const tr_vec *y, double *sum);
    /* w has rows = 1: one factor per line. */
    tr_status (*mul_lines)(void *state, const tr_vec *w, tr_vec *y); /* y *= w */
    tr_status (*axpy_lines)(void *state, float a, const tr_vec *w, const tr_vec *x,
                            tr_vec *y); /* y += a w x */
    /* y = 1/y where y > tiny, else 0 */
    tr_status (*invert_guarded)(void *state, float tiny, tr_vec *y);
    /* Per row over the subset's lines of projections, host memory: sums[r] += sum of
     * squares; and y[line][r] *= mask[r]. */
    tr_status (*row_squares)(void *state, const tr_slab *slab, const tr_subset *views,
                             const tr_vec *p, double *sums);
    tr_status (*mask_rows)(void *state, const tr_slab *slab, const tr_subset *views,
                           const float *mask, tr_vec *p);

    tr_status (*filter)(void *state, const tr_slab *slab, const tr_filter *filter,
                        tr_vec *p);
    /* p = A x on the subset's views (guards 0), other views untouched; and its exact
     * adjoint x = A^T p, summed over the subset's views. Linear interpolation. */
    tr_status (*project)(void *state, const tr_slab *slab, const tr_subset *views,
                         const tr_vec *x, tr_vec *p);
    tr_status (*backproject)(void *state, const tr_slab *slab, const tr_subset *views,
                             const tr_vec *p, tr_vec *x);
    /* A 1 and A^T 1, the same for every row: one value per line (rows = 1). */
    tr_status (*row_sums)(void *state, const tr_slab *slab, const tr_subset *views,
                          tr_vec *p);
    tr_status (*col_sums)(void *state, const tr_slab *slab, const tr_subset *views,
                          tr_vec *x);
} tr_backend;

/* The backends of this build, by name; NULL for an unknown one. */
const tr_backend *tr_backend_find(const char *name);

/* The smallest even length >= n without prime factors above 7: a fast FFT. */
size_t tr_fft_length(size_t n);

#endif
