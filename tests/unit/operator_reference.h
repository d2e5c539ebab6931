/* The projector, its adjoint and the filter in double, written to be obviously right:
 * every voxel, every view, one hat function. Used by the operator tests only. */
#ifndef TR_OPERATOR_REFERENCE_H
#define TR_OPERATOR_REFERENCE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"

/* Of a reference's innermost loops: the sanitizers have the code under test to look at,
 * and took most of their time here. */
#define TR_REFERENCE __attribute__((no_sanitize("address", "undefined", "thread")))

/* Share of image position (u, v) that belongs to the sample (column, row): two hats. */
TR_REFERENCE static inline double hat(double distance)
{
    double d = fabs(distance);
    return d < 1.0 ? 1.0 - d : 0.0;
}

/* What local alignments add: node (ix, iy) of a view's grid at voxel 16 ix and row 16 iy,
 * held beyond the last ones; du, duz, dv, dvz. */
static inline double reference_node(const tr_offsets *g, size_t view, double x, double y,
                                    size_t m)
{
    double sum = 0.0;
    for (size_t iy = 0; iy < g->n_y; iy++)
        for (size_t ix = 0; ix < g->n_x; ix++) {
            double px = fmin(x / 16.0, (double)(g->n_x - 1));
            double py = fmin(y / 16.0, (double)(g->n_y - 1));
            sum += hat(px - (double)ix) * hat(py - (double)iy) *
                   g->grid[((view * g->n_y + iy) * g->n_x + ix) * 4 + m];
        }
    return sum;
}

/* Where a voxel is seen: in columns of the image and lanes of projections. */
static inline void reference_place(const tr_slab *s, size_t view, double ix, double iz,
                                   double row, double *u, double *v)
{
    const tr_ray *ray = &s->rays[view];
    const tr_offsets *g = s->offsets;
    *u = ray->u0 + ray->ux * ix + ray->uy * row + ray->uz * iz;
    *v = ray->v0 + ray->vx * ix + ray->vy * row + ray->vz * iz;
    if (g) {
        double z = g->z_first + iz;
        *u +=
            reference_node(g, view, ix, row, 0) + z * reference_node(g, view, ix, row, 1);
        *v +=
            reference_node(g, view, ix, row, 2) + z * reference_node(g, view, ix, row, 3);
    }
    *v -= (double)s->p_first;
}

/* Rays that leave their row read the edge's lanes beyond them. */
static inline bool reference_held(const tr_slab *s)
{
    bool held = s->all_rows || s->offsets || s->p_rows != s->rows;
    for (size_t i = 0; i < s->n_views; i++) {
        const tr_ray *ray = &s->rays[i];
        held = held || ray->uy != 0.0 || ray->vx != 0.0 || ray->vy != 1.0;
    }
    return held;
}

/* Calls `visit` for each (voxel, projection sample) pair with a positive weight. */
TR_REFERENCE static inline void
reference_pairs(const tr_slab *s,
                void (*visit)(void *data, size_t voxel, size_t sample, double weight),
                void *data)
{
    bool held = reference_held(s);
    for (size_t i = 0; i < s->n_views; i++)
        for (size_t voxel = 0; voxel < s->n_z * s->n_x * s->rows; voxel++) {
            double r = (double)(voxel % s->rows), iz = (double)(voxel / s->rows / s->n_x);
            double ix = (double)(voxel / s->rows % s->n_x), u, v;
            reference_place(s, i, ix, iz, (double)s->first + r, &u, &v);
            if (held)
                v = fmax(0.0, fmin(v, (double)s->p_rows - 1.0));
            for (long c = (long)floor(u); c <= (long)floor(u) + 1; c++)
                for (long y = (long)floor(v); y <= (long)floor(v) + 1; y++) {
                    double weight = hat(u - (double)c) * hat(v - (double)y);
                    if (weight == 0.0 || c < 0 || c >= (long)s->n_u || y < 0 ||
                        y >= (long)s->p_rows)
                        continue;
                    size_t line = i * (s->n_u + TR_GUARDS) + (size_t)c + 1;
                    visit(data, voxel, line * s->p_rows + (size_t)y, weight);
                }
        }
}

typedef struct reference_vectors {
    const float *in;
    double *out;
} reference_vectors;

TR_REFERENCE static inline void reference_forward_pair(void *data, size_t voxel,
                                                       size_t sample, double weight)
{
    reference_vectors *v = data;
    v->out[sample] += weight * v->in[voxel];
}

TR_REFERENCE static inline void reference_adjoint_pair(void *data, size_t voxel,
                                                       size_t sample, double weight)
{
    reference_vectors *v = data;
    v->out[voxel] += weight * v->in[sample];
}

/* Row u of n values filtered as kernels/backend.h says, by the definition of the
 * discrete Fourier transform. */
TR_REFERENCE static inline void reference_filter(const double *in, size_t n,
                                                 const tr_filter *f, double weight,
                                                 double *out)
{
    size_t edge = n < 3 ? n : 3, length = f->length;
    double first = 0.0, last = 0.0, padded[length];
    for (size_t i = 0; i < edge; i++) {
        first += in[i] / (double)edge;
        last += in[n - 1 - i] / (double)edge;
    }
    for (size_t i = 0; i < length; i++) {
        double t = ((double)i - (double)n + 1.0) / ((double)(length - n) + 1.0);
        padded[i] = i < n ? in[i] : last + t * (first - last);
    }
    memset(out, 0, n * sizeof *out);
    for (size_t k = 0; k < length; k++) {
        double re = 0.0, im = 0.0, step = 2.0 * M_PI * (double)k / (double)length;
        for (size_t i = 0; i < length; i++) {
            re += padded[i] * cos(step * (double)i);
            im -= padded[i] * sin(step * (double)i);
        }
        double gain = f->response[k <= length / 2 ? k : length - k] / (double)length;
        for (size_t i = 0; i < n; i++)
            out[i] +=
                weight * gain * (re * cos(step * (double)i) - im * sin(step * (double)i));
    }
}

#endif
