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
#define TR_REFERENCE __attribute__((no_sanitize("address", "undefined")))

/* Share of image position (u, v) that belongs to the sample (column, row): two hats. */
TR_REFERENCE static inline double hat(double distance)
{
    double d = fabs(distance);
    return d < 1.0 ? 1.0 - d : 0.0;
}

/* Calls `visit` for each (voxel, projection sample) pair with a positive weight. */
TR_REFERENCE static inline void
reference_pairs(const tr_slab *s,
                void (*visit)(void *data, size_t voxel, size_t sample, double weight),
                void *data)
{
    for (size_t i = 0; i < s->n_views; i++)
        for (size_t voxel = 0; voxel < s->n_z * s->n_x * s->rows; voxel++) {
            const tr_ray *ray = &s->rays[i];
            double r = (double)(voxel % s->rows), iz = (double)(voxel / s->rows / s->n_x);
            double ix = (double)(voxel / s->rows % s->n_x);
            double u = ray->u0 + ray->ux * ix + ray->uy * r + ray->uz * iz;
            double v = ray->v0 + ray->vx * ix + ray->vy * r + ray->vz * iz;
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
