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

/* Tilted from -60 to 60 degrees about the middle of image and volume. */
static inline tr_slab new_slab(const workload *w)
{
    tr_ray *rays = calloc(w->n_views, sizeof *rays);
    if (!rays)
        die("not enough memory");
    for (size_t i = 0; i < w->n_views; i++) {
        double tilt = M_PI / 180 * (-60 + 120.0 * (double)i / (double)(w->n_views - 1));
        double ux = cos(tilt), uz = -sin(tilt);
        double u0 = (double)(w->n_u - 1) / 2 - ux * (double)(w->n_x - 1) / 2 -
                    uz * (double)(w->n_z - 1) / 2;
        rays[i] = (tr_ray){.u0 = u0, .ux = ux, .uz = uz, .vy = 1.0};
    }
    return (tr_slab){.n_views = w->n_views,
                     .n_u = w->n_u,
                     .n_x = w->n_x,
                     .n_z = w->n_z,
                     .rows = w->rows,
                     .p_rows = w->rows,
                     .rays = rays};
}

/* Of doubles, for qsort. */
static inline int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

#endif
