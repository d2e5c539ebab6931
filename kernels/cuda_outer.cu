/* The projector of what lies outside the field (outer_body.h) for independent rows. Every
 * value is added up by one thread in a fixed order. */
#include "cuda_project.h"
#include "outer_body.h"

enum { THREADS = 128 };

namespace
{
struct outer_slab {
    size_t n_u, n_x, n_z, rows, outer, core_lines;
};

__device__ tr_outer_span find_span(const outer_slab &s, const tr_ray &ray, bool right,
                                   double base)
{
    return tr_outer_find(right, (int)s.outer, (double)s.n_x, (double)s.n_u, base, ray.ux);
}

__device__ tr_outer_taps find_step(const outer_slab &s, const tr_ray &ray, bool right,
                                   int k, double base)
{
    double c = base + ray.ux * tr_outer_position(right, k, (double)s.n_x);
    return tr_outer_step(c, (right ? 1.0 : -1.0) / ray.ux);
}

__device__ size_t cell_at(const outer_slab &s, size_t iz, bool right, int k, size_t row)
{
    size_t line =
        s.core_lines + iz * 2 * s.outer + tr_outer_line(right, (size_t)k, s.outer);
    return line * s.rows + row;
}

/* One thread for a row of a view. steps[view][step][row] are 0 before; the view gets
 * their running sum added. */
__global__ void project_cells(outer_slab s, tr_cuda_rays rays,
                              const float *__restrict__ x, float *steps, float *p)
{
    size_t row = (size_t)blockIdx.x * blockDim.x + threadIdx.x, k = blockIdx.y;
    if (row >= s.rows)
        return;
    const tr_ray ray = rays.rays[k];
    float *list = steps + k * (s.n_u + TR_OUTER_SPARE) * s.rows + row;
    for (size_t iz = 0; iz < s.n_z; iz++)
        for (int right = 0; right < 2; right++) {
            double base = ray.u0 + ray.uz * (double)iz;
            const tr_outer_span span = find_span(s, ray, right, base);
            if (span.entering >= 0)
                list[0] +=
                    (float)(1.0 / ray.ux) * x[cell_at(s, iz, right, span.entering, row)];
            for (int c = span.first; c < span.end; c++) {
                const tr_outer_taps taps = find_step(s, ray, right, c, base);
                float step = x[cell_at(s, iz, right, c, row)];
                if (c)
                    step -= x[cell_at(s, iz, right, c - 1, row)];
                for (int i = 0; i < 3; i++)
                    list[(size_t)(taps.at + i) * s.rows] += taps.weight[i] * step;
            }
        }
    float *to = p + rays.numbers[k] * (s.n_u + TR_GUARDS) * s.rows + s.rows + row,
          sum = 0.0f;
    for (size_t i = 0; i < s.n_u + TR_OUTER_LEFT; i++) {
        sum += list[i * s.rows];
        if (i >= TR_OUTER_LEFT)
            to[(i - TR_OUTER_LEFT) * s.rows] += sum;
    }
}

/* The adjoint of the running sum: seen[view][step][row]. */
__global__ void spread_views(outer_slab s, tr_cuda_rays rays, const float *__restrict__ p,
                             float *seen)
{
    size_t row = (size_t)blockIdx.x * blockDim.x + threadIdx.x, k = blockIdx.y;
    if (row >= s.rows)
        return;
    float *list = seen + k * (s.n_u + TR_OUTER_SPARE) * s.rows + row, sum = 0.0f;
    const float *from = p + rays.numbers[k] * (s.n_u + TR_GUARDS) * s.rows + s.rows + row;
    for (size_t i = s.n_u + TR_OUTER_SPARE; i-- > 0;) {
        if (i >= TR_OUTER_LEFT && i < s.n_u + TR_OUTER_LEFT)
            sum += from[(i - TR_OUTER_LEFT) * s.rows];
        list[i * s.rows] = sum;
    }
}

/* One thread for a row of a plane's cells: the views in their order. */
__global__ void gather_cells(outer_slab s, tr_cuda_rays rays,
                             const float *__restrict__ seen, float *x)
{
    size_t row = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= s.rows)
        return;
    for (size_t iz = blockIdx.y; iz < s.n_z; iz += gridDim.y) {
        for (size_t l = 0; l < 2 * s.outer; l++)
            x[(s.core_lines + iz * 2 * s.outer + l) * s.rows + row] = 0.0f;
        for (unsigned k = 0; k < rays.n; k++)
            for (int right = 0; right < 2; right++) {
                const tr_ray ray = rays.rays[k];
                const float *list = seen + k * (s.n_u + TR_OUTER_SPARE) * s.rows + row;
                double base = ray.u0 + ray.uz * (double)iz;
                const tr_outer_span span = find_span(s, ray, right, base);
                if (span.entering >= 0)
                    x[cell_at(s, iz, right, span.entering, row)] +=
                        (float)(1.0 / ray.ux) * list[0];
                for (int c = span.first; c < span.end; c++) {
                    const tr_outer_taps taps = find_step(s, ray, right, c, base);
                    float step = 0.0f;
                    for (int i = 0; i < 3; i++)
                        step += taps.weight[i] * list[(size_t)(taps.at + i) * s.rows];
                    x[cell_at(s, iz, right, c, row)] += step;
                    if (c)
                        x[cell_at(s, iz, right, c - 1, row)] -= step;
                }
            }
    }
}
} // namespace

static outer_slab shape_of(const tr_slab *s)
{
    return {s->n_u, s->n_x, s->n_z, s->rows, s->outer, tr_core_lines(s)};
}

static dim3 grid_of(const tr_slab *s, size_t n)
{
    const size_t most = 65535;
    return dim3((unsigned)tr_cuda_parts(s->rows, THREADS),
                (unsigned)(n < most ? n : most));
}

static tr_status get_steps(tr_cuda *c, const tr_slab *s, unsigned views, size_t *bytes,
                           void **steps)
{
    *bytes = views * (s->n_u + TR_OUTER_SPARE) * s->rows * sizeof(float);
    return tr_cuda_scratch(c, TR_SCRATCH_WORK, *bytes, steps);
}

tr_status tr_cuda_outer_project(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                                const float *x, float *p)
{
    size_t bytes;
    void *steps;
    TR_TRY(get_steps(c, s, rays->n, &bytes, &steps));
    TR_CUDA("clear steps", cudaMemsetAsync(steps, 0, bytes, c->compute));
    TR_LAUNCH(project_cells, grid_of(s, rays->n), dim3(THREADS), 0, c->compute,
              shape_of(s), *rays, x, (float *)steps, p);
    return tr_cuda_launched("project_cells");
}

tr_status tr_cuda_outer_backproject(tr_cuda *c, const tr_slab *s,
                                    const tr_cuda_rays *rays, const float *p, float *x)
{
    size_t bytes;
    void *seen;
    TR_TRY(get_steps(c, s, rays->n, &bytes, &seen));
    TR_LAUNCH(spread_views, grid_of(s, rays->n), dim3(THREADS), 0, c->compute,
              shape_of(s), *rays, p, (float *)seen);
    TR_TRY(tr_cuda_launched("spread_views"));
    TR_LAUNCH(gather_cells, grid_of(s, s->n_z), dim3(THREADS), 0, c->compute, shape_of(s),
              *rays, (const float *)seen, x);
    return tr_cuda_launched("gather_cells");
}

/* ---- sums: of the geometry only ---- */

namespace
{
/* One thread for a view: the core's sums are there. Cells that are all 1 have steps at
 * the core only, each seen by the columns from it on. */
__global__ void sum_outer_rows(outer_slab s, tr_cuda_rays rays, float *p)
{
    unsigned k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= rays.n)
        return;
    const tr_ray ray = rays.rays[k];
    float *to = p + rays.numbers[k] * (s.n_u + TR_GUARDS) + 1;
    for (size_t u = 0; u < s.n_u; u++) {
        double sum = 0.0;
        for (size_t iz = 0; iz < s.n_z; iz++)
            for (int right = 0; right < 2; right++) {
                double base = ray.u0 + ray.uz * (double)iz;
                const tr_outer_span span = find_span(s, ray, right, base);
                sum += span.entering >= 0 ? 1.0 / ray.ux : 0.0;
                if (span.first > 0 || span.end == 0)
                    continue;
                const tr_outer_taps t = find_step(s, ray, right, 0, base);
                for (int i = 0; i < 3; i++)
                    sum += (size_t)(t.at + i) <= u + TR_OUTER_LEFT ? t.weight[i] : 0.0f;
            }
        to[u] += (float)sum;
    }
}

__device__ double seen_by(const outer_slab &s, int at)
{
    int hidden = at > TR_OUTER_LEFT ? at - TR_OUTER_LEFT : 0, n_u = (int)s.n_u;
    return hidden < n_u ? (double)(n_u - hidden) : 0.0;
}

/* One thread for a plane. */
__global__ void sum_outer_columns(outer_slab s, tr_cuda_rays rays, float *x)
{
    size_t iz = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (iz >= s.n_z)
        return;
    float *cells = x + s.core_lines + iz * 2 * s.outer;
    for (size_t l = 0; l < 2 * s.outer; l++)
        cells[l] = 0.0f;
    for (unsigned v = 0; v < rays.n; v++)
        for (int right = 0; right < 2; right++) {
            const tr_ray ray = rays.rays[v];
            double base = ray.u0 + ray.uz * (double)iz;
            const tr_outer_span span = find_span(s, ray, right, base);
            if (span.entering >= 0)
                cells[tr_outer_line(right, (size_t)span.entering, s.outer)] +=
                    (float)((double)s.n_u / ray.ux);
            for (int k = span.first; k < span.end; k++) {
                const tr_outer_taps t = find_step(s, ray, right, k, base);
                double sum = 0.0;
                for (int i = 0; i < 3; i++)
                    sum += t.weight[i] * seen_by(s, t.at + i);
                cells[tr_outer_line(right, (size_t)k, s.outer)] += (float)sum;
                if (k)
                    cells[tr_outer_line(right, (size_t)k - 1, s.outer)] -= (float)sum;
            }
        }
}
} // namespace

tr_status tr_cuda_outer_row_sums(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                                 float *p)
{
    TR_LAUNCH(sum_outer_rows, dim3((unsigned)tr_cuda_parts(rays->n, THREADS)),
              dim3(THREADS), 0, c->compute, shape_of(s), *rays, p);
    return tr_cuda_launched("sum_outer_rows");
}

tr_status tr_cuda_outer_col_sums(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                                 float *x)
{
    TR_LAUNCH(sum_outer_columns, dim3((unsigned)tr_cuda_parts(s->n_z, THREADS)),
              dim3(THREADS), 0, c->compute, shape_of(s), *rays, x);
    return tr_cuda_launched("sum_outer_columns");
}
