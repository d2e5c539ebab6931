/* The initial volume, an earlier output, resampled onto rows of the frame (x, y', z'). */
#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/run/resample.h"

/* What is read of the file: slices and planes of the output's, counted from 0. */
typedef struct file_window {
    size_t slice, slices, iz, planes;
} file_window;

/* The range of n items that positions from low to high are interpolated between. */
static void range_of(double low, double high, size_t n, size_t *first, size_t *count)
{
    double last = (double)n - 1.0;
    double a = fmin(fmax(floor(low), 0.0), last);
    double b = fmin(fmax(floor(high) + 1.0, a), last);
    *first = (size_t)a;
    *count = (size_t)(b - a) + 1;
}

static file_window find_window(const tr_job *job, const tr_frame_box *box)
{
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    for (int corner = 0; corner < 4; corner++) {
        double at[2];
        double row = (double)box->row + (corner & 1 ? (double)box->rows - 1.0 : 0.0);
        double z = box->z0 + (corner & 2 ? (double)box->planes - 1.0 : 0.0);
        tr_geometry_locate_output(&job->geometry, row, z, &at[0], &at[1]);
        at[0] -= (double)job->first_slice;
        for (int axis = 0; axis < 2; axis++) {
            low[axis] = fmin(low[axis], at[axis]);
            high[axis] = fmax(high[axis], at[axis]);
        }
    }
    file_window w;
    range_of(low[0], high[0], job->output_spec.n_slices, &w.slice, &w.slices);
    range_of(low[1], high[1], job->geometry.thickness, &w.iz, &w.planes);
    return w;
}

tr_status tr_initial_read(const tr_job *job, size_t section, size_t row, size_t n,
                          float *rows)
{
    return tr_content_read(&job->initial_content, section, job->initial, section, row, n,
                           rows);
}

/* values[slice][plane][x] of the window */
static tr_status read_window(const tr_job *job, const file_window *w, float *values)
{
    const tr_geometry *g = &job->geometry;
    size_t width = g->width, slice = w->planes * width;
    if (!job->output_spec.xyz) {
        for (size_t k = 0; k < w->slices; k++)
            TR_TRY(
                tr_initial_read(job, w->slice + k, w->iz, w->planes, values + k * slice));
        return TR_OK;
    }
    float *rows =
        tr_calloc("rows of the initial volume", w->slices * width, sizeof *rows);
    tr_status status = rows ? TR_OK : TR_ERR_MEMORY;
    for (size_t z = 0; z < w->planes && status == TR_OK; z++) {
        status = tr_initial_read(job, g->thickness - 1 - (w->iz + z), w->slice, w->slices,
                                 rows);
        for (size_t i = 0; i < w->slices * width && status == TR_OK; i++)
            values[i / width * slice + z * width + i % width] = rows[i];
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

tr_status tr_initial_load(const tr_job *job, const tr_frame_box *box, size_t lanes,
                          float *lines)
{
    const tr_geometry *g = &job->geometry;
    file_window w = find_window(job, box);
    size_t plane = w.planes * g->width;
    float *values = tr_calloc("the initial volume", w.slices * plane, sizeof *values);
    if (!values)
        return TR_ERR_MEMORY;
    tr_status status = read_window(job, &w, values);
    for (size_t z = 0; z < box->planes && status == TR_OK; z++)
        for (size_t r = 0; r < lanes; r++) {
            double slice, iz;
            tr_geometry_locate_output(g, (double)(box->row + (long)r),
                                      box->z0 + (double)z, &slice, &iz);
            size_t k1, z1, k0, z0;
            float up, high;
            k0 = neighbours(slice - (double)(job->first_slice + w.slice), w.slices, &k1,
                            &up);
            z0 = neighbours(iz - (double)w.iz, w.planes, &z1, &high);
            const float *a = values + k0 * plane + z0 * g->width;
            const float *b = values + k0 * plane + z1 * g->width;
            const float *c = values + k1 * plane + z0 * g->width;
            const float *d = values + k1 * plane + z1 * g->width;
            float *to = lines + z * g->width * lanes + r;
            for (size_t x = 0; x < g->width; x++)
                to[x * lanes] = (1.0f - up) * ((1.0f - high) * a[x] + high * b[x]) +
                                up * ((1.0f - high) * c[x] + high * d[x]);
        }
    free(values);
    return status;
}

size_t tr_initial_bytes(const tr_job *job, size_t rows, size_t planes)
{
    const tr_geometry *g = &job->geometry;
    double sine = fabs(sin(g->pitch)), cosine = cos(g->pitch);
    double slices = (double)rows * cosine + (double)planes * sine + 3.0;
    double deep = (double)rows * sine + (double)planes * cosine + 3.0;
    slices = fmin(slices, (double)job->output_spec.n_slices);
    deep = fmin(deep, (double)g->thickness);
    return ((size_t)ceil(deep) + 1) * (size_t)ceil(slices) * g->width * sizeof(float) +
           tr_content_bytes(&job->initial_content);
}
