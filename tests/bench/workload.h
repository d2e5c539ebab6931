/* What the benchmarks share: the slabs they time, and how they end. */
#ifndef TR_BENCH_WORKLOAD_H
#define TR_BENCH_WORKLOAD_H

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/run/job.h"

typedef struct workload {
    const char *name;
    size_t n_views, n_u, n_x, n_z, rows;
    double rotation, pitch; /* degrees: rays that leave their row */
    double offsets;         /* of a grid, in columns and rows at most */
} workload;

static inline _Noreturn void die(const char *why)
{
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, why);
    exit(1);
}

static inline void need(tr_status status)
{
    if (status != TR_OK)
        die(tr_error());
}

/* A grid of offsets; free_slab frees it. */
static inline const tr_offsets *new_offsets(const workload *w)
{
    tr_offsets *g = malloc(sizeof *g);
    size_t n_x = w->n_x / TR_OFFSET_STEP + 2, n_y = w->rows / TR_OFFSET_STEP + 2;
    float *grid = calloc(w->n_views * n_x * n_y * 4, sizeof *grid);
    if (!g || !grid)
        die("not enough memory");
    for (size_t i = 0; i < w->n_views * n_x * n_y * 4; i++)
        grid[i] = (float)(w->offsets * sin(0.02 * (double)i) * (i % 2 ? 0.003 : 1.0));
    *g = (tr_offsets){grid, n_x, n_y, -0.5 * (double)w->n_z};
    return g;
}

enum { AROUND = 32 }; /* lanes of projections before and after those of the volume */

static inline bool is_coupled(const workload *w)
{
    return w->rotation != 0.0 || w->pitch != 0.0;
}

/* Tilted from -60 to 60 degrees about the middle of image and volume; turned by a pitch
 * before and a rotation after that. */
static inline tr_slab new_slab(const workload *w)
{
    const double degree = M_PI / 180;
    double g = w->pitch * degree, ct = cos(w->rotation * degree);
    double st = sin(w->rotation * degree);
    double middle[3] = {(double)(w->n_x - 1) / 2, (double)(w->rows - 1) / 2,
                        (double)(w->n_z - 1) / 2};
    tr_ray *rays = calloc(w->n_views, sizeof *rays);
    if (!rays)
        die("not enough memory");
    for (size_t i = 0; i < w->n_views; i++) {
        double t = (-60 + 120.0 * (double)i / (double)(w->n_views - 1)) * degree;
        double m[2][3] = {{cos(t), -sin(g) * sin(t), -cos(g) * sin(t)},
                          {0, cos(g), -sin(g)}};
        double u[3], v[3], u0 = (double)(w->n_u - 1) / 2, v0 = middle[1];
        for (int k = 0; k < 3; k++) {
            u[k] = ct * m[0][k] - st * m[1][k];
            v[k] = st * m[0][k] + ct * m[1][k];
            u0 -= u[k] * middle[k];
            v0 -= v[k] * middle[k];
        }
        v0 = is_coupled(w) ? v0 + AROUND : 0.0;
        rays[i] = (tr_ray){u0, u[0], u[1], u[2], v0, v[0], v[1], v[2]};
    }
    return (tr_slab){.n_views = w->n_views,
                     .n_u = w->n_u,
                     .n_x = w->n_x,
                     .n_z = w->n_z,
                     .rows = w->rows,
                     .p_rows = w->rows + (is_coupled(w) ? 2 * AROUND : 0),
                     .rays = rays,
                     .offsets = w->offsets != 0.0 ? new_offsets(w) : NULL};
}

static inline void free_slab(const tr_slab *s)
{
    free((void *)s->rays);
    if (s->offsets)
        free((void *)s->offsets->grid);
    free((void *)s->offsets);
}

/* Of doubles, for qsort. */
static inline int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

#endif
