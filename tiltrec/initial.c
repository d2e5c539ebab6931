/* The initial volume, an earlier output, resampled onto a slab's grid. */
#include <math.h>
#include <stdlib.h>

#include "../common/mem.h"
#include "slices.h"

/* Output slices, counted from the file's first, that a slab can touch. */
static void slices_touched(const tr_job *job, const tr_slice_plan *p, long row, double z0,
                           size_t *first, size_t *count)
{
    double low = INFINITY, high = -INFINITY, iz;
    for (int corner = 0; corner < 4; corner++) {
        double slice;
        double r =
            (double)row + (corner & 1 ? (double)(p->core + 2 * p->halo) - 1.0 : 0.0);
        double z = z0 + (corner & 2 ? (double)p->planes - 1.0 : 0.0);
        tr_geometry_locate_output(&job->geometry, r, z, &slice, &iz);
        low = fmin(low, slice - (double)job->first_slice);
        high = fmax(high, slice - (double)job->first_slice);
    }
    double last = (double)job->output_spec.n_slices - 1.0;
    double a = fmin(fmax(floor(low), 0.0), last),
           b = fmin(fmax(floor(high) + 1.0, a), last);
    *first = (size_t)a;
    *count = (size_t)(b - a) + 1;
}

static tr_status read_slices(const tr_job *job, size_t first, size_t count, float *planes)
{
    const tr_geometry *g = &job->geometry;
    size_t plane = g->width * g->thickness;
    if (!job->output_spec.xyz) {
        for (size_t k = 0; k < count; k++)
            TR_TRY(tr_image_read(job->initial, first + k, 0, g->thickness, 0, g->width,
                                 planes + k * plane));
        return TR_OK;
    }
    float *rows = tr_calloc("rows of the initial volume", count * g->width, sizeof *rows);
    tr_status status = rows ? TR_OK : TR_ERR_MEMORY;
    for (size_t z = 0; z < g->thickness && status == TR_OK; z++) {
        status = tr_image_read(job->initial, g->thickness - 1 - z, first, count, 0,
                               g->width, rows);
        for (size_t i = 0; i < count * g->width && status == TR_OK; i++)
            planes[i / g->width * plane + z * g->width + i % g->width] = rows[i];
    }
    free(rows);
    return status;
}

/* Two neighbours of a position and the share of the second, held at the ends. */
static size_t neighbours(double at, size_t n, size_t *second, float *share)
{
    at = fmin(fmax(at, 0.0), (double)n - 1.0);
    size_t first = (size_t)at;
    *share = (float)(at - (double)first);
    *second = first + 1 < n ? first + 1 : first;
    return first;
}

tr_status tr_initial_load(const tr_job *job, const tr_slice_plan *p,
                          const tr_slab_volume *slab)
{
    const tr_geometry *g = &job->geometry;
    size_t first, count, plane = g->width * g->thickness;
    long row0 = slab->row - (long)p->halo;
    slices_touched(job, p, row0, slab->z0, &first, &count);
    float *planes = tr_calloc("the initial volume", count * plane, sizeof *planes);
    if (!planes)
        return TR_ERR_MEMORY;
    tr_status status = read_slices(job, first, count, planes);
    for (size_t z = 0; z < p->planes && status == TR_OK; z++)
        for (size_t r = 0; r < p->lanes; r++) {
            double slice, iz;
            tr_geometry_locate_output(g, (double)(row0 + (long)r), slab->z0 + (double)z,
                                      &slice, &iz);
            size_t k1, z1, k0, z0;
            float up, high;
            k0 = neighbours(slice - (double)(job->first_slice + first), count, &k1, &up);
            z0 = neighbours(iz, g->thickness, &z1, &high);
            const float *a = planes + k0 * plane + z0 * g->width;
            const float *b = planes + k0 * plane + z1 * g->width;
            const float *c = planes + k1 * plane + z0 * g->width;
            const float *d = planes + k1 * plane + z1 * g->width;
            float *to = slab->data + z * g->width * p->lanes + r;
            for (size_t x = 0; x < g->width; x++)
                to[x * p->lanes] = (1.0f - up) * ((1.0f - high) * a[x] + high * b[x]) +
                                   up * ((1.0f - high) * c[x] + high * d[x]);
        }
    free(planes);
    return status;
}

size_t tr_initial_bytes(const tr_job *job, const tr_slice_plan *p)
{
    const tr_geometry *g = &job->geometry;
    double shear = (double)p->planes * fabs(sin(g->pitch));
    size_t slices = p->lanes + (size_t)ceil(shear) + 2;
    return slices * g->width * (g->thickness + 1) * sizeof(float);
}
