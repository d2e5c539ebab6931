#include "common/report/agreement.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/median.h"
#include "common/tomogram/tomogram.h"

enum { MOST_ROWS = 16, MARGIN = 2 };

/* The image rows looked at and the slices that their rays cross. */
typedef struct middle {
    size_t row, rows, slice, slices;
    bool independent;
    size_t x_lanes, p_lanes, first_lane; /* of the slab; the lane of `row` */
} middle;

static size_t up(size_t n) { return tr_round_up(n, TR_LANES); }

/* The slices [*low, *high] that rays to the image rows [row, row + rows) cross. */
static void slices_of_rows(const tr_geometry *g, size_t row, size_t rows, double *low,
                           double *high)
{
    *low = INFINITY;
    *high = -INFINITY;
    for (size_t view = 0; view < g->n_views; view++) {
        tr_ray ray = tr_geometry_direct_ray(g, view, NULL, 0.0, 0.0);
        for (int corner = 0; corner < 4; corner++) {
            double v =
                corner & 1 ? (double)row - 1.0 : (double)row + (double)rows; /* beyond */
            double z = corner & 2 ? (double)g->thickness - 1.0 : 0.0;
            double y = (v - ray.v0 - ray.vz * z) / ray.vy;
            *low = fmin(*low, floor(y));
            *high = fmax(*high, ceil(y));
        }
    }
}

static bool try_rows(const tr_job *job, size_t rows, middle *m)
{
    const tr_geometry *g = &job->geometry;
    double row, z, low, high;
    double first = (double)job->first_slice, n = (double)job->output_spec.n_slices;
    if (rows > g->n_v)
        return false;
    tr_geometry_locate(g, first + floor(n / 2.0), g->axis_z, &row, &z);
    row = fmin(fmax(floor(row + 0.5) - floor((double)rows / 2.0), 0.0),
               (double)(g->n_v - rows));
    low = row;
    high = row + (double)rows - 1.0;
    m->independent = tr_geometry_rows_independent(g);
    if (!m->independent)
        slices_of_rows(g, (size_t)row, rows, &low, &high);
    if (low < first || high > first + n - 1.0)
        return false;
    m->row = (size_t)row;
    m->rows = rows;
    m->slice = (size_t)low;
    m->slices = (size_t)(high - low) + 1;
    m->x_lanes = up(m->slices);
    /* Rays beyond the first and last lane end there: neither may count. */
    m->first_lane = m->independent ? 0 : MARGIN;
    m->p_lanes = m->independent ? m->x_lanes : up(rows + 2 * MARGIN);
    return true;
}

static bool find_middle(const tr_job *job, middle *m)
{
    /* The rays are not those of the aligned images, or none at all. */
    if (job->transforms || job->geometry.local)
        return false;
    size_t rows = MOST_ROWS;
    while (rows > 0 && !try_rows(job, rows, m))
        rows /= 2;
    return rows > 0;
}

static size_t x_floats(const tr_job *job, const middle *m)
{
    return job->geometry.thickness * job->geometry.width * m->x_lanes;
}

static size_t p_floats(const tr_job *job, size_t lanes)
{
    return job->geometry.n_views * (job->geometry.n_u + TR_GUARDS) * lanes;
}

size_t tr_agreement_bytes(const tr_job *job)
{
    middle m;
    if (!find_middle(job, &m))
        return 0;
    return sizeof(float) * (2 * x_floats(job, &m) + p_floats(job, m.p_lanes) +
                            p_floats(job, MOST_ROWS)) +
           tr_series_read_bytes(job->series, m.rows);
}

/* The slices from the file into V[z][x][lane]. */
static tr_status read_slices(const tr_job *job, const middle *m, float *volume)
{
    tr_tomogram t;
    size_t nx = job->geometry.width, nz = job->geometry.thickness;
    const tr_box box = {.first = {0, m->slice - job->first_slice, 0},
                        .size = {nx, m->slices, nz},
                        .factor = {1, 1, 1}};
    float *part = tr_calloc("slices", nx * nz * m->slices, sizeof *part);
    if (!part)
        return TR_ERR_MEMORY;
    tr_status status = tr_tomogram_open(&job->output_spec, &t);
    if (status == TR_OK)
        status = tr_tomogram_read(&t, &box, 0, part);
    tr_tomogram_close(&t);
    for (size_t z = 0; z < nz && status == TR_OK; z++)
        for (size_t y = 0; y < m->slices; y++)
            for (size_t x = 0; x < nx; x++)
                volume[(z * nx + x) * m->x_lanes + y] =
                    part[(z * m->slices + y) * nx + x];
    free(part);
    return status;
}

/* Take the typical density off. The projection of a constant has ripples, of up to a
 * tenth at 45 degrees, which would hide how well the rest of a homogeneous specimen fits.
 */
static tr_status subtract_background(const tr_job *job, const middle *m, float *volume)
{
    enum { MOST = 1 << 16 };
    size_t lines = job->geometry.thickness * job->geometry.width;
    size_t n = lines * m->slices, step = 1 + n / MOST, used = 0;
    double *values = tr_calloc("some voxels", n / step + 1, sizeof *values);
    if (!values)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < n; k += step)
        values[used++] = volume[k / m->slices * m->x_lanes + k % m->slices];
    float background = (float)tr_median(values, used);
    free(values);
    for (size_t line = 0; line < lines; line++)
        for (size_t y = 0; y < m->slices; y++)
            volume[line * m->x_lanes + y] -= background;
    return TR_OK;
}

/* p = A x; x and p are in host memory here. */
static tr_status project(const tr_job *job, const middle *m, float *volume,
                         float *projections)
{
    const tr_geometry *g = &job->geometry;
    tr_ray *rays = tr_calloc("rays", g->n_views, sizeof *rays);
    if (!rays)
        return TR_ERR_MEMORY;
    for (size_t view = 0; view < g->n_views; view++)
        rays[view] = tr_geometry_direct_ray(g, view, NULL, (double)m->slice,
                                            (double)m->row - (double)m->first_lane);
    const tr_slab slab = {.n_views = g->n_views,
                          .n_u = g->n_u,
                          .n_x = g->width,
                          .n_z = g->thickness,
                          .rows = m->x_lanes,
                          .p_rows = m->p_lanes,
                          .rays = rays};
    tr_status status =
        tr_project_host(job->backend, job->device, &slab, volume, projections);
    free(rays);
    return status;
}

/* Columns of a view in whose rays at least half as much of the tomogram lies as in any's,
 * guards counted: the projection of a box is a trapezoid. */
static void seen_columns(const tr_geometry *g, size_t view, size_t *first, size_t *end)
{
    double c = fabs(cos(g->tilt[view])), s = fabs(sin(g->tilt[view]));
    tr_ray ray = tr_geometry_direct_ray(g, view, NULL, g->centre_v, 0.0);
    double centre = ray.u0 + ray.ux * ((double)g->width - 1.0) / 2.0 +
                    ray.uz * ((double)g->thickness - 1.0) / 2.0;
    double half = fmax(c * (double)g->width, s * (double)g->thickness) / 2.0;
    double low = fmax(ceil(centre - half), 0.0);
    double high = fmin(floor(centre + half), (double)g->n_u - 1.0);
    *first = high >= low ? (size_t)low + 1 : 1;
    *end = high >= low ? (size_t)high + 2 : *first;
}

/* The mean of a block of pixels: noise of single pixels says nothing about a view. */
static double block_mean(const float *from, size_t lanes, size_t side)
{
    double sum = 0.0;
    for (size_t c = 0; c < side; c++)
        for (size_t r = 0; r < side; r++)
            sum += from[c * lanes + r];
    return sum / (double)(side * side);
}

/* A row of n blocks of two images: the sums of products of their deviations from the
 * row's means. */
static void add_blocks(const float *a, size_t a_lanes, const float *b, size_t b_lanes,
                       size_t side, size_t n, double sums[3])
{
    double aa = 0.0, bb = 0.0, ab = 0.0, mean_a = 0.0, mean_b = 0.0;
    for (size_t k = 0; k < n; k++) {
        double x = block_mean(a + k * side * a_lanes, a_lanes, side);
        double y = block_mean(b + k * side * b_lanes, b_lanes, side);
        /* Welford's update: the means may be large. */
        double dx = x - mean_a, dy = y - mean_b, i = (double)k + 1.0;
        mean_a += dx / i;
        mean_b += dy / i;
        aa += dx * (x - mean_a);
        bb += dy * (y - mean_b);
        ab += dx * (y - mean_b);
    }
    sums[0] += aa;
    sums[1] += bb;
    sums[2] += ab;
}

static size_t block_side(const tr_geometry *g, size_t rows)
{
    size_t side = 1;
    while (side < 8 && 2 * side <= rows && g->n_u / (2 * side) >= 64)
        side *= 2;
    return side;
}

static void correlate(const tr_job *job, const middle *m, const float *measured,
                      const float *projected, double *correlation)
{
    const tr_geometry *g = &job->geometry;
    size_t side = block_side(g, m->rows);
    for (size_t view = 0; view < g->n_views; view++) {
        size_t first, end, line = view * (g->n_u + TR_GUARDS);
        double sums[3] = {0};
        seen_columns(g, view, &first, &end);
        for (size_t r = 0; r + side <= m->rows; r += side)
            add_blocks(measured + (line + first) * MOST_ROWS + r, MOST_ROWS,
                       projected + (line + first) * m->p_lanes + m->first_lane + r,
                       m->p_lanes, side, (end - first) / side, sums);
        correlation[view] =
            sums[0] > 0.0 && sums[1] > 0.0 ? sums[2] / sqrt(sums[0] * sums[1]) : 0.0;
    }
}

static tr_status measure(const tr_job *job, const middle *m, float *volume,
                         float *projected, float *measured, double *correlation)
{
    tr_geometry straight = job->geometry;
    straight.xtilt = NULL; /* it is in the rays */
    TR_TRY(tr_series_read(job->series, &straight, (long)m->row, m->rows, MOST_ROWS,
                          measured));
    TR_TRY(read_slices(job, m, volume));
    TR_TRY(subtract_background(job, m, volume));
    TR_TRY(project(job, m, volume, projected));
    correlate(job, m, measured, projected, correlation);
    return TR_OK;
}

tr_status tr_agreement_measure(const tr_job *job, double *correlation, size_t *rows)
{
    middle m;
    *rows = 0;
    if (!find_middle(job, &m))
        return TR_OK;
    float *volume = tr_calloc("slices", x_floats(job, &m), sizeof *volume);
    float *projected =
        tr_calloc("projections", p_floats(job, m.p_lanes), sizeof *projected);
    float *measured =
        tr_calloc("projections", p_floats(job, MOST_ROWS), sizeof *measured);
    tr_status status = TR_ERR_MEMORY;
    if (volume && projected && measured)
        status = measure(job, &m, volume, projected, measured, correlation);
    if (status == TR_OK)
        *rows = m.rows;
    free(volume);
    free(projected);
    free(measured);
    return status;
}
