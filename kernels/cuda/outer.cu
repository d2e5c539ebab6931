/* The projector of what lies outside the field (outer_body.h) for independent rows. Each
 * list of steps belongs to one thread, a row, and is summed in an order that depends on
 * the slab's sizes only. */
#include "kernels/cuda/project.h"
#include "kernels/outer_body.h"

namespace
{
enum {
    THREADS = 128, /* rows of a block, which share what the geometry tells */
    AHEAD = 16,    /* sides of rows whose steps are worked out at a time */
    TOGETHER = 4,  /* cells that a thread sums up at a time */
    MOST_CELLS = 128,
    /* Planes are listed in parts, so that there are threads enough for few views. */
    PART_PLANES = 32,
    MOST_PARTS = 16,
    MOST_VIEWS = 4096,
    LANES = 32, /* at least, where not all lanes' lists fit */
    SHARE = 64  /* of the device's memory for lists, and not above: */
};
const size_t most_bytes = (size_t)128 << 20;

/* Lists of steps [view][part][step][lane] for some views and lanes at a time. */
struct lists {
    size_t first_lane, lanes, planes; /* planes of a part */
    unsigned parts;
    float *steps;
};

__device__ inline size_t list_floats(const tr_slab *s, const lists *l)
{
    return (s->n_u + TR_OUTER_SPARE) * l->lanes;
}

/* One side of one row as one view sees it. */
struct side {
    double base, ux, height; /* of a step: 1/ux */
    float step;              /* the same */
    tr_outer_span span;
    bool right;
};

/* In shared memory, with `outer` steps for each side. */
struct side_memory {
    side *sides;
    tr_outer_taps *steps;
};

__device__ inline side_memory shared_sides()
{
    TR_SHARED(side, sides);
    return {sides, reinterpret_cast<tr_outer_taps *>(sides + AHEAD)};
}

size_t shared_bytes(const tr_slab *s)
{
    return AHEAD * (sizeof(side) + s->outer * sizeof(tr_outer_taps));
}

__device__ void find_side(const tr_slab *s, const tr_ray *ray, size_t iz, bool right,
                          side *to)
{
    to->base = ray->u0 + ray->uz * (double)iz;
    to->ux = ray->ux;
    to->height = 1.0 / ray->ux;
    to->step = (float)to->height;
    to->right = right;
    to->span = tr_outer_find(right, (int)s->outer, (double)s->n_x, (double)s->n_u,
                             to->base, to->ux);
}

__device__ inline tr_outer_taps find_step(const tr_slab *s, const side *of, int k)
{
    double c = of->base + of->ux * tr_outer_position(of->right, k, (double)s->n_x);
    return tr_outer_step(c, of->right ? of->height : -of->height);
}

/* The steps of the first n sides, by all threads of the block. */
__device__ void find_steps(const tr_slab *s, const side_memory *m, unsigned n)
{
    unsigned outer = (unsigned)s->outer;
    for (unsigned i = threadIdx.x; i < n * outer; i += THREADS) {
        const side *of = &m->sides[i / outer];
        int k = (int)(i % outer);
        if (k >= of->span.first && k < of->span.end)
            m->steps[i] = find_step(s, of, k);
    }
}

/* This thread's lane of a plane's cells. */
__device__ inline size_t cells_at(const tr_slab *s, const lists *l, size_t iz,
                                  size_t lane)
{
    return (tr_core_lines(s) + iz * 2 * s->outer) * s->rows + l->first_lane + lane;
}

/* ---- forward ---- */

/* The cell nearest to the core steps down to 0 there: the core is projected by itself. */
__device__ void add_steps(const tr_slab *s, const side *of, const tr_outer_taps *steps,
                          const float *__restrict__ cells, size_t lanes, float *list)
{
    const tr_outer_span span = of->span;
    float inner = 0.0f;
    if (span.entering >= 0)
        list[0] +=
            of->step *
            cells[tr_outer_line(of->right, (size_t)span.entering, s->outer) * s->rows];
    if (span.first > 0 && span.first < span.end)
        inner =
            cells[tr_outer_line(of->right, (size_t)span.first - 1, s->outer) * s->rows];
    for (int k = span.first; k < span.end; k++) {
        const tr_outer_taps taps = steps[k];
        float here = cells[tr_outer_line(of->right, (size_t)k, s->outer) * s->rows];
        float step = here - inner, *to = list + (size_t)taps.at * lanes;
        float a = to[0], b = to[lanes], c = to[2 * lanes];
        to[0] = a + taps.weight[0] * step;
        to[lanes] = b + taps.weight[1] * step;
        to[2 * lanes] = c + taps.weight[2] * step;
        inner = here;
    }
}

/* A block lists the steps of one part of the planes for one view. */
__global__ void __launch_bounds__(THREADS)
    list_steps(tr_slab s, const tr_ray *__restrict__ rays, lists l,
               const float *__restrict__ x)
{
    const side_memory m = shared_sides();
    const unsigned across = (unsigned)tr_cuda_parts(l.lanes, THREADS);
    const unsigned number = blockIdx.x / across;
    const size_t lane = (size_t)(blockIdx.x % across) * THREADS + threadIdx.x;
    const bool used = lane < l.lanes;
    float *list = l.steps + number * list_floats(&s, &l) + lane;
    for (size_t i = 0; used && i < s.n_u + TR_OUTER_SPARE; i++)
        list[i * l.lanes] = 0.0f;
    const size_t begin = number % l.parts * l.planes;
    const size_t end = begin + l.planes < s.n_z ? begin + l.planes : s.n_z;
    for (size_t z = begin; z < end; z += AHEAD / 2) {
        unsigned n = 2 * tr_cuda_at_most((unsigned)(end - z), AHEAD / 2);
        __syncthreads();
        if (threadIdx.x < n)
            find_side(&s, &rays[number / l.parts], z + threadIdx.x / 2, threadIdx.x % 2,
                      &m.sides[threadIdx.x]);
        __syncthreads();
        find_steps(&s, &m, n);
        __syncthreads();
        for (unsigned i = 0; used && i < n; i++)
            add_steps(&s, &m.sides[i], m.steps + i * s.outer,
                      x + cells_at(&s, &l, z + i / 2, lane), l.lanes, list);
    }
}

/* The first part of each view becomes the sum of all. */
__global__ void add_lists(size_t n, lists l)
{
    float *to = l.steps + (size_t)blockIdx.y * l.parts * n;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n;
         i += (size_t)gridDim.x * blockDim.x) {
        float sum = to[i];
        for (unsigned k = 1; k < l.parts; k++)
            sum += to[k * n + i];
        to[i] = sum;
    }
}

/* This thread's lane of the first column of a view. */
__device__ inline size_t column_at(const tr_slab *s, const lists *l, unsigned view,
                                   size_t lane)
{
    return ((size_t)view * (s->n_u + TR_GUARDS) + 1) * s->rows + l->first_lane + lane;
}

/* Each view += the running sum of its steps. */
__global__ void sum_steps(tr_slab s, const unsigned *__restrict__ numbers, lists l,
                          const float *__restrict__ steps, float *__restrict__ p)
{
    const size_t lane = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (lane >= l.lanes)
        return;
    const float *from = steps + (size_t)blockIdx.y * l.parts * list_floats(&s, &l) + lane;
    float *to = p + column_at(&s, &l, numbers[blockIdx.y], lane), sum = 0.0f;
    for (size_t i = 0; i < TR_OUTER_LEFT; i++)
        sum += from[i * l.lanes];
#pragma unroll 8
    for (size_t u = 0; u < s.n_u; u++) {
        sum += from[(u + TR_OUTER_LEFT) * l.lanes];
        to[u * s.rows] += sum;
    }
}

/* ---- the adjoint ---- */

/* What each step is seen by: its columns' sum. */
__global__ void spread_views(tr_slab s, const unsigned *__restrict__ numbers, lists l,
                             const float *__restrict__ p, float *__restrict__ steps)
{
    const size_t lane = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (lane >= l.lanes)
        return;
    const float *from = p + column_at(&s, &l, numbers[blockIdx.y], lane);
    float *to = steps + blockIdx.y * list_floats(&s, &l) + lane, sum = 0.0f;
    for (size_t i = s.n_u + TR_OUTER_LEFT; i < s.n_u + TR_OUTER_SPARE; i++)
        to[i * l.lanes] = 0.0f;
#pragma unroll 8
    for (size_t u = s.n_u; u-- > 0;) {
        sum += from[u * s.rows];
        to[(u + TR_OUTER_LEFT) * l.lanes] = sum;
    }
    for (size_t i = 0; i < TR_OUTER_LEFT; i++)
        to[i * l.lanes] = sum;
}

/* What step k of a side is seen by, 0 where it is not one of the image's. */
__device__ inline float seen_step(const side *of, const tr_outer_taps *steps, int k,
                                  const float *__restrict__ seen, size_t lanes)
{
    if (k < of->span.first || k >= of->span.end)
        return 0.0f;
    const tr_outer_taps taps = steps[k];
    const float *from = seen + (size_t)taps.at * lanes;
    return taps.weight[0] * from[0] + taps.weight[1] * from[lanes] +
           taps.weight[2] * from[2 * lanes];
}

/* Cells k and on from n views, in their order. A cell steps up at its inner end and down
 * at the next one's. */
__device__ void gather_cells(const tr_slab *s, const side_memory *m, unsigned n, int k,
                             const float *__restrict__ seen, const lists *l,
                             float (&sums)[TOGETHER])
{
    for (unsigned i = 0; i < n; i++, seen += list_floats(s, l)) {
        const side *of = &m->sides[i];
        const tr_outer_taps *steps = m->steps + i * s->outer;
        float here = seen_step(of, steps, k, seen, l->lanes);
#pragma unroll
        for (int j = 0; j < TOGETHER; j++) {
            float next = seen_step(of, steps, k + j + 1, seen, l->lanes);
            float sum = here - next;
            if (of->span.entering == k + j)
                sum += of->step * seen[0];
            sums[j] += sum;
            here = next;
        }
    }
}

/* A block makes one side of one plane from all these views; the sums go on where `add`.
 */
__global__ void __launch_bounds__(THREADS)
    backproject_cells(tr_slab s, tr_cuda_rays rays, lists l, bool add,
                      const float *__restrict__ seen, float *__restrict__ x)
{
    const side_memory m = shared_sides();
    const unsigned across = (unsigned)tr_cuda_parts(l.lanes, THREADS);
    const unsigned number = blockIdx.x / across;
    const size_t lane = (size_t)(blockIdx.x % across) * THREADS + threadIdx.x;
    const size_t iz = number / 2, outer = s.outer;
    const bool right = number % 2, used = lane < l.lanes;
    float *cells = x + cells_at(&s, &l, iz, lane);
    for (unsigned first = 0; first < rays.n; first += AHEAD) {
        unsigned n = tr_cuda_at_most(rays.n - first, AHEAD);
        const float *from = seen + first * list_floats(&s, &l) + lane;
        __syncthreads();
        if (threadIdx.x < n)
            find_side(&s, &rays.rays[first + threadIdx.x], iz, right,
                      &m.sides[threadIdx.x]);
        __syncthreads();
        find_steps(&s, &m, n);
        __syncthreads();
        for (size_t k = 0; used && k < outer; k += TOGETHER) {
            float sums[TOGETHER] = {};
#pragma unroll
            for (size_t j = 0; j < TOGETHER; j++)
                if ((add || first > 0) && k + j < outer)
                    sums[j] = cells[tr_outer_line(right, k + j, outer) * s.rows];
            gather_cells(&s, &m, n, (int)k, from, &l, sums);
#pragma unroll
            for (size_t j = 0; j < TOGETHER; j++)
                if (k + j < outer)
                    cells[tr_outer_line(right, k + j, outer) * s.rows] = sums[j];
        }
    }
}

/* ---- sums ---- */

/* Cells that are all 1 have steps at the core only: one cell on each side is enough. */
__device__ double outer_row_sum(const tr_slab *s, const tr_ray *ray, int place)
{
    double sum = 0.0;
    for (size_t iz = 0; iz < s->n_z; iz++)
        for (int right = 0; right < 2; right++) {
            side of = {ray->u0 + ray->uz * (double)iz,
                       ray->ux,
                       1.0 / ray->ux,
                       0.0f,
                       {},
                       right != 0};
            of.span = tr_outer_find(of.right, 1, (double)s->n_x, (double)s->n_u, of.base,
                                    of.ux);
            if (of.span.entering >= 0)
                sum += of.height;
            if (of.span.first > 0 || of.span.end == 0)
                continue;
            const tr_outer_taps taps = find_step(s, &of, 0);
            for (int i = 0; i < 3; i++)
                sum += taps.at + i <= place ? taps.weight[i] : 0.0f;
        }
    return sum;
}

__global__ void add_row_sums(tr_slab s, tr_cuda_rays rays, float *__restrict__ p)
{
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < rays.n * s.n_u;
         i += (size_t)gridDim.x * blockDim.x) {
        size_t view = i / s.n_u, u = i % s.n_u;
        p[rays.numbers[view] * (s.n_u + TR_GUARDS) + u + 1] +=
            (float)outer_row_sum(&s, &rays.rays[view], (int)u + TR_OUTER_LEFT);
    }
}

__device__ double step_sum(const tr_slab *s, const side *of, int k)
{
    double sum = 0.0;
    if (k < of->span.first || k >= of->span.end)
        return sum;
    const tr_outer_taps taps = find_step(s, of, k);
    for (int i = 0; i < 3; i++)
        sum += taps.weight[i] * tr_outer_seen_by((size_t)(taps.at + i), s->n_u);
    return sum;
}

__global__ void sum_cells(tr_slab s, tr_cuda_rays rays, float *__restrict__ x)
{
    const size_t cells = 2 * s.outer;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < s.n_z * cells;
         i += (size_t)gridDim.x * blockDim.x) {
        size_t iz = i / cells, line = i % cells;
        bool right = line >= s.outer;
        int k = (int)(right ? line - s.outer : s.outer - 1 - line);
        double sum = 0.0;
        for (unsigned view = 0; view < rays.n; view++) {
            side of;
            find_side(&s, &rays.rays[view], iz, right, &of);
            if (of.span.entering == k)
                sum += (double)s.n_u * of.height;
            sum += step_sum(&s, &of, k) - step_sum(&s, &of, k + 1);
        }
        x[tr_core_lines(&s) + i] = (float)sum;
    }
}

/* ---- scratch memory ---- */

/* Groups of views, or of lanes of one view, whose lists fit. */
struct share {
    size_t views, lanes;
};

share find_share(const tr_cuda *c, const tr_slab *s, size_t n, unsigned parts)
{
    size_t most = tr_cuda_own_memory(c) / SHARE;
    most = most < most_bytes ? most : most_bytes;
    most /= (s->n_u + TR_OUTER_SPARE) * parts * sizeof(float); /* lanes of views */
    share found = {1, s->rows};
    if (most >= s->rows)
        found.views = most / s->rows < MOST_VIEWS ? most / s->rows : (size_t)MOST_VIEWS;
    else
        found.lanes = most > LANES ? most / LANES * LANES : (size_t)LANES;
    found.views = found.views < n ? found.views : n;
    found.lanes = found.lanes < s->rows ? found.lanes : s->rows;
    return found;
}

tr_status new_lists(tr_cuda *c, const tr_slab *s, size_t n, unsigned parts, share *of,
                    lists *l)
{
    void *memory;
    TR_ASSERT(s->outer <= MOST_CELLS && s->rows == s->p_rows);
    *of = find_share(c, s, n, parts);
    TR_TRY(tr_cuda_scratch(c, TR_SCRATCH_WORK,
                           of->views * of->lanes * (s->n_u + TR_OUTER_SPARE) * parts *
                               sizeof(float),
                           &memory));
    *l = {0, of->lanes, tr_cuda_parts(s->n_z, parts), parts, (float *)memory};
    return TR_OK;
}

/* ---- launches ---- */

tr_status project_group(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                        const lists *l, const float *x, float *p)
{
    const size_t across = tr_cuda_parts(l->lanes, THREADS);
    const size_t floats = (s->n_u + TR_OUTER_SPARE) * l->lanes;
    dim3 grid;
    TR_TRY(tr_cuda_grid(across * l->parts * rays->n, &grid));
    TR_LAUNCH(list_steps, grid, dim3(THREADS), shared_bytes(s), c->compute, *s,
              rays->rays, *l, x);
    TR_TRY(tr_cuda_launched("list_steps"));
    if (l->parts > 1)
        TR_LAUNCH(add_lists, dim3(tr_cuda_blocks(c, floats, THREADS), rays->n),
                  dim3(THREADS), 0, c->compute, floats, *l);
    TR_TRY(tr_cuda_launched("add_lists"));
    TR_LAUNCH(sum_steps, dim3((unsigned)across, rays->n), dim3(THREADS), 0, c->compute,
              *s, rays->numbers, *l, l->steps, p);
    return tr_cuda_launched("sum_steps");
}

tr_status backproject_group(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                            const lists *l, bool add, const float *p, float *x)
{
    const size_t across = tr_cuda_parts(l->lanes, THREADS);
    dim3 grid;
    TR_TRY(tr_cuda_grid(across * 2 * s->n_z, &grid));
    TR_LAUNCH(spread_views, dim3((unsigned)across, rays->n), dim3(THREADS), 0, c->compute,
              *s, rays->numbers, *l, p, l->steps);
    TR_TRY(tr_cuda_launched("spread_views"));
    TR_LAUNCH(backproject_cells, grid, dim3(THREADS), shared_bytes(s), c->compute, *s,
              *rays, *l, add, l->steps, x);
    return tr_cuda_launched("backproject_cells");
}

void next_lanes(const tr_slab *s, const share *of, lists *l)
{
    size_t left = s->rows - l->first_lane;
    l->lanes = left < of->lanes ? left : of->lanes;
}
} // namespace

tr_status tr_cuda_outer_project(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                                const float *x, float *p)
{
    size_t planes = tr_cuda_parts(s->n_z, MOST_PARTS);
    planes = planes > PART_PLANES ? planes : (size_t)PART_PLANES;
    share of;
    lists l;
    TR_TRY(new_lists(c, s, rays->n, (unsigned)tr_cuda_parts(s->n_z, planes), &of, &l));
    for (; l.first_lane < s->rows; l.first_lane += of.lanes) {
        next_lanes(s, &of, &l);
        for (size_t first = 0; first < rays->n; first += of.views) {
            const tr_cuda_rays some = tr_cuda_some_rays(rays, first, of.views);
            TR_TRY(project_group(c, s, &some, &l, x, p));
        }
    }
    return TR_OK;
}

tr_status tr_cuda_outer_backproject(tr_cuda *c, const tr_slab *s,
                                    const tr_cuda_rays *rays, const float *p, float *x)
{
    share of;
    lists l;
    TR_TRY(new_lists(c, s, rays->n, 1, &of, &l));
    for (; l.first_lane < s->rows; l.first_lane += of.lanes) {
        next_lanes(s, &of, &l);
        for (size_t first = 0; first < rays->n; first += of.views) {
            const tr_cuda_rays some = tr_cuda_some_rays(rays, first, of.views);
            TR_TRY(backproject_group(c, s, &some, &l, first > 0, p, x));
        }
    }
    return TR_OK;
}

tr_status tr_cuda_outer_row_sums(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                                 float *p)
{
    TR_LAUNCH(add_row_sums, dim3(tr_cuda_blocks(c, rays->n * s->n_u, THREADS)),
              dim3(THREADS), 0, c->compute, *s, *rays, p);
    return tr_cuda_launched("add_row_sums");
}

tr_status tr_cuda_outer_col_sums(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                                 float *x)
{
    TR_LAUNCH(sum_cells, dim3(tr_cuda_blocks(c, s->n_z * 2 * s->outer, THREADS)),
              dim3(THREADS), 0, c->compute, *s, *rays, x);
    return tr_cuda_launched("sum_cells");
}
