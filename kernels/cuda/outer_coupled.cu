/* The projector of what lies outside the field for rays that leave their row
 * (outer_coupled_body.h). Each list of steps belongs to one thread, a row; pixels gather
 * their rows, so that the order of additions depends on the slab's sizes only. */
#include "kernels/cuda/project.h"
#include "kernels/outer_coupled_body.h"

namespace
{
enum {
    THREADS = 128,
    AHEAD = 16,       /* views whose courses are worked out at a time */
    TOGETHER = 4,     /* cells that a thread sums up at a time */
    BAND_PLANES = 32, /* at most, so that there are threads enough for few views */
    MOST_VIEWS = 2048,
    SHARE = 64 /* of the device's memory for lists, and not above: */
};
const size_t most_bytes = (size_t)128 << 20;

/* Lists of steps [view][band][side][place][lane] for some bands of some views at a time.
 */
struct lists {
    size_t places, first_band;
    unsigned bands;
    float *steps;
};

/* One band of one of these views, by a block's number; `used` where the view has it. */
struct band_list {
    tr_outer_course course;
    tr_outer_band band;
    bool used;
};

__device__ inline band_list find_list(const tr_slab *s, const tr_ray *rays,
                                      const lists *l, unsigned number)
{
    band_list b;
    const size_t band = l->first_band + number % l->bands;
    b.course = tr_outer_find_course(s, &rays[number / l->bands], BAND_PLANES);
    b.used = band < b.course.bands;
    b.band = tr_outer_find_band(s, &b.course, band);
    return b;
}

/* In shared memory; by one thread of the block. */
__device__ inline const band_list *share_list(const tr_slab *s, const tr_ray *rays,
                                              const lists *l, unsigned number)
{
    TR_SHARED(band_list, b);
    if (threadIdx.x == 0)
        *b = find_list(s, rays, l, number);
    __syncthreads();
    return b;
}

/* A block's list and lane: `across` blocks for all lanes of one list. */
__device__ inline size_t lane_of(const tr_slab *s, unsigned *number)
{
    const unsigned across = (unsigned)tr_cuda_parts(s->rows, THREADS);
    *number = blockIdx.x / across;
    return (size_t)(blockIdx.x % across) * THREADS + threadIdx.x;
}

__device__ inline float *list_at(const tr_slab *s, const lists *l, unsigned number,
                                 bool right, size_t lane)
{
    return l->steps + (2 * (size_t)number + (right ? 0 : 1)) * l->places * s->rows + lane;
}

/* One side of one plane as a view sees one of its rows. */
struct row_side {
    double base, px;
    tr_outer_span span;
};

__device__ inline row_side find_row_side(const tr_slab *s, const tr_outer_course *c,
                                         size_t iz, size_t lane, bool right)
{
    const tr_outer_start start = tr_outer_find_start(s, c, iz, right);
    row_side of;
    of.base = start.base + start.py * (double)lane;
    of.px = c->px;
    of.span = tr_outer_find(true, (int)s->outer, (double)s->n_x, (double)c->n_p, of.base,
                            c->px);
    return of;
}

__device__ inline tr_outer_taps find_row_step(const tr_slab *s, const row_side *of, int k)
{
    return tr_outer_step_at(true, k, (double)s->n_x, of->base, of->px);
}

__device__ inline size_t cell_at(const tr_slab *s, size_t iz, bool right, int k,
                                 size_t lane)
{
    size_t line = tr_outer_line(right, (size_t)k, s->outer);
    return (tr_core_lines(s) + iz * 2 * s->outer + line) * s->rows + lane;
}

/* ---- forward ---- */

/* The cell nearest to the core steps down to 0 there: the core is projected by itself. */
__device__ void add_row(const tr_slab *s, const row_side *of, size_t iz, bool right,
                        size_t lane, const float *__restrict__ x, float *list)
{
    const tr_outer_span span = of->span;
    float inner = 0.0f;
    if (span.entering >= 0)
        list[0] += (float)(1.0 / of->px) * x[cell_at(s, iz, right, span.entering, lane)];
    if (span.first > 0 && span.first < span.end)
        inner = x[cell_at(s, iz, right, span.first - 1, lane)];
    for (int k = span.first; k < span.end; k++) {
        const tr_outer_taps taps = find_row_step(s, of, k);
        float here = x[cell_at(s, iz, right, k, lane)], step = here - inner;
        float *to = list + (size_t)taps.at * s->rows;
        to[0] += taps.weight[0] * step;
        to[s->rows] += taps.weight[1] * step;
        to[2 * s->rows] += taps.weight[2] * step;
        inner = here;
    }
}

/* The running sums of one band of one view's steps, in their lists: at place p + LEFT
 * what is seen at p. */
__global__ void __launch_bounds__(THREADS)
    list_band(tr_slab s, const tr_ray *__restrict__ rays, lists l,
              const float *__restrict__ x)
{
    unsigned number;
    const size_t lane = lane_of(&s, &number);
    const band_list *b = share_list(&s, rays, &l, number);
    if (!b->used || lane >= s.rows)
        return;
    const size_t n_p = b->course.n_p;
    for (int right = 0; right < 2; right++) {
        float *list = list_at(&s, &l, number, right != 0, lane), sum = 0.0f;
        for (size_t i = 0; i < n_p + TR_OUTER_SPARE; i++)
            list[i * s.rows] = 0.0f;
        for (size_t iz = b->band.begin; iz < b->band.end; iz++) {
            const row_side of = find_row_side(&s, &b->course, iz, lane, right != 0);
            add_row(&s, &of, iz, right != 0, lane, x, list);
        }
        for (size_t i = 0; i < n_p + TR_OUTER_LEFT; i++) {
            sum += list[i * s.rows];
            list[i * s.rows] = sum;
        }
    }
}

/* Of one band to a pixel at p and q: the rows that are seen within reach. */
__device__ float sum_rows_at(const tr_slab *s, const tr_outer_course *c,
                             const tr_outer_band *band, const float *__restrict__ right,
                             const float *__restrict__ left, size_t p, size_t q,
                             float sum)
{
    const double at = band->q0 + c->slope * (double)p, middle = ((double)q - at) / c->qy;
    const double half = c->reach / fabs(c->qy);
    double low = ceil(middle - half), high = floor(middle + half);
    low = low > 0.0 ? low : 0.0;
    high = high < (double)s->rows - 1.0 ? high : (double)s->rows - 1.0;
    right += (p + TR_OUTER_LEFT) * s->rows;
    left += (c->n_p - 1 - p + TR_OUTER_LEFT) * s->rows;
    for (double r = low; r <= high; r += 1.0) {
        float away = (float)(at + c->qy * r - (double)q);
        float share = tr_outer_share(away, (float)c->reach);
        sum += share * (right[(size_t)r] + left[(size_t)r]);
    }
    return sum;
}

/* Each view += its bands, one after the other. A block has neighbouring pixels. */
__global__ void __launch_bounds__(THREADS)
    add_pixels(tr_slab s, tr_cuda_rays rays, lists l, float *__restrict__ p)
{
    TR_SHARED(band_list, shared);
    const unsigned across = (unsigned)tr_cuda_parts(s.n_u * s.p_rows, THREADS);
    const unsigned view = blockIdx.x / across;
    const size_t i = (size_t)(blockIdx.x % across) * THREADS + threadIdx.x;
    if (threadIdx.x == 0)
        *shared = find_list(&s, rays.rays, &l, view * l.bands);
    __syncthreads();
    const tr_outer_course *c = &shared->course;
    if (i >= s.n_u * s.p_rows)
        return;
    const size_t u = i / s.p_rows, v = i % s.p_rows, along = c->along_u ? u : v;
    const size_t at = c->turned ? c->n_p - 1 - along : along, q = c->along_u ? v : u;
    float *to = p + ((size_t)rays.numbers[view] * (s.n_u + TR_GUARDS) + 1) * s.p_rows + i;
    float sum = *to;
    for (unsigned k = 0; k < l.bands && l.first_band + k < c->bands; k++) {
        const tr_outer_band band = tr_outer_find_band(&s, c, l.first_band + k);
        const unsigned list = view * l.bands + k;
        sum = sum_rows_at(&s, c, &band, list_at(&s, &l, list, true, 0),
                          list_at(&s, &l, list, false, 0), at, q, sum);
    }
    *to = sum;
}

/* ---- the adjoint ---- */

/* What the pixels at p share with a row that is seen at q. */
__device__ inline float gather_pixels(const tr_outer_course *c,
                                      const float *__restrict__ view, size_t p, double q)
{
    const float reach = (float)c->reach;
    const double low = floor(q - c->reach) + 1.0;
    const float *from = view + c->first + c->step_p * (ptrdiff_t)p;
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < 3; i++) {
        double j = low + i;
        if (j >= 0.0 && j < (double)c->n_q)
            sum += tr_outer_share((float)(j - q), reach) * from[c->step_q * (ptrdiff_t)j];
    }
    return sum;
}

/* What each step of a list is seen by: sums of what its places have. */
__device__ void spread_list(const tr_slab *s, size_t n_p, float *list)
{
    float sum = 0.0f;
    for (size_t i = n_p + TR_OUTER_LEFT; i < n_p + TR_OUTER_SPARE; i++)
        list[i * s->rows] = 0.0f;
    for (size_t i = n_p + TR_OUTER_LEFT; i-- > TR_OUTER_LEFT;) {
        sum += list[i * s->rows];
        list[i * s->rows] = sum;
    }
    for (size_t i = 0; i < TR_OUTER_LEFT; i++)
        list[i * s->rows] = sum;
}

/* One band of one view. */
__global__ void __launch_bounds__(THREADS)
    spread_band(tr_slab s, tr_cuda_rays rays, lists l, const float *__restrict__ p)
{
    unsigned number;
    const size_t lane = lane_of(&s, &number);
    const band_list *b = share_list(&s, rays.rays, &l, number);
    if (!b->used || lane >= s.rows)
        return;
    const tr_outer_course *c = &b->course;
    const float *view =
        p + (size_t)rays.numbers[number / l.bands] * (s.n_u + TR_GUARDS) * s.p_rows;
    const double q0 = b->band.q0 + c->qy * (double)lane;
    float *right = list_at(&s, &l, number, true, lane);
    float *left = list_at(&s, &l, number, false, lane);
    for (size_t at = 0; at < c->n_p; at++) {
        float sum = gather_pixels(c, view, at, q0 + c->slope * (double)at);
        right[(at + TR_OUTER_LEFT) * s.rows] = sum;
        left[(c->n_p - 1 - at + TR_OUTER_LEFT) * s.rows] = sum;
    }
    spread_list(&s, c->n_p, right);
    spread_list(&s, c->n_p, left);
}

/* What step k of a row is seen by, 0 where it is not one of the image's. */
__device__ inline float seen_step(const tr_slab *s, const row_side *of, int k,
                                  const float *__restrict__ seen)
{
    if (k < of->span.first || k >= of->span.end)
        return 0.0f;
    const tr_outer_taps taps = find_row_step(s, of, k);
    const float *from = seen + (size_t)taps.at * s->rows;
    return taps.weight[0] * from[0] + taps.weight[1] * from[s->rows] +
           taps.weight[2] * from[2 * s->rows];
}

/* Cells k and on from one view. A cell steps up at its inner end and down at the next
 * one's. */
__device__ void gather_row(const tr_slab *s, const row_side *of, int k,
                           const float *__restrict__ seen, float (&sums)[TOGETHER])
{
    float here = seen_step(s, of, k, seen);
#pragma unroll
    for (int j = 0; j < TOGETHER; j++) {
        float next = seen_step(s, of, k + j + 1, seen);
        float sum = here - next;
        if (of->span.entering == k + j)
            sum += (float)(1.0 / of->px) * seen[0];
        sums[j] += sum;
        here = next;
    }
}

/* A block adds to one side of one plane what these views give. */
__global__ void __launch_bounds__(THREADS)
    add_cells(tr_slab s, tr_cuda_rays rays, lists l, float *__restrict__ x)
{
    TR_SHARED(tr_outer_course, courses);
    unsigned number;
    const size_t lane = lane_of(&s, &number), iz = number / 2;
    const bool right = number % 2;
    const int outer = (int)s.outer;
    for (unsigned first = 0; first < rays.n; first += AHEAD) {
        unsigned n = tr_cuda_at_most(rays.n - first, AHEAD);
        __syncthreads();
        if (threadIdx.x < n)
            courses[threadIdx.x] =
                tr_outer_find_course(&s, &rays.rays[first + threadIdx.x], BAND_PLANES);
        __syncthreads();
        for (int k = 0; lane < s.rows && k < outer; k += TOGETHER) {
            float sums[TOGETHER] = {};
#pragma unroll
            for (int j = 0; j < TOGETHER; j++)
                if (k + j < outer)
                    sums[j] = x[cell_at(&s, iz, right, k + j, lane)];
            for (unsigned i = 0; i < n; i++) {
                size_t band = iz / courses[i].planes;
                if (band < l.first_band || band >= l.first_band + l.bands)
                    continue;
                const unsigned list =
                    (first + i) * l.bands + (unsigned)(band - l.first_band);
                const row_side of = find_row_side(&s, &courses[i], iz, lane, right);
                gather_row(&s, &of, k, list_at(&s, &l, list, right, lane), sums);
            }
#pragma unroll
            for (int j = 0; j < TOGETHER; j++)
                if (k + j < outer)
                    x[cell_at(&s, iz, right, k + j, lane)] = sums[j];
        }
    }
}

/* ---- groups of views and bands whose lists fit ---- */

struct groups {
    size_t views, bands, all_bands;
};

groups find_groups(const tr_cuda *c, const tr_slab *s, size_t n)
{
    groups g = {1, 1, 1};
    for (size_t i = 0; i < s->n_views; i++) {
        size_t bands = tr_outer_find_course(s, &s->rays[i], BAND_PLANES).bands;
        g.all_bands = bands > g.all_bands ? bands : g.all_bands;
    }
    size_t most = tr_cuda_own_memory(c) / SHARE;
    most = most < most_bytes ? most : most_bytes;
    most /= 2 * tr_outer_places(s) * s->rows * sizeof(float);
    g.bands = most < g.all_bands ? most : g.all_bands;
    g.bands = g.bands > 0 ? g.bands : 1;
    g.views = most / g.bands < MOST_VIEWS ? most / g.bands : (size_t)MOST_VIEWS;
    g.views = g.bands < g.all_bands || g.views < 1 ? 1 : g.views < n ? g.views : n;
    return g;
}

tr_status new_lists(tr_cuda *c, const tr_slab *s, const groups *g, lists *l)
{
    void *memory;
    const size_t places = tr_outer_places(s);
    TR_TRY(tr_cuda_scratch(c, TR_SCRATCH_WORK,
                           2 * g->views * g->bands * places * s->rows * sizeof(float),
                           &memory));
    *l = {places, 0, (unsigned)g->bands, (float *)memory};
    return TR_OK;
}

tr_status project_group(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                        const lists *l, const float *x, float *p)
{
    dim3 grid;
    TR_TRY(tr_cuda_grid(tr_cuda_parts(s->rows, THREADS) * l->bands * rays->n, &grid));
    TR_LAUNCH(list_band, grid, dim3(THREADS), sizeof(band_list), c->compute, *s,
              rays->rays, *l, x);
    TR_TRY(tr_cuda_launched("list_band"));
    TR_TRY(tr_cuda_grid(tr_cuda_parts(s->n_u * s->p_rows, THREADS) * rays->n, &grid));
    TR_LAUNCH(add_pixels, grid, dim3(THREADS), sizeof(band_list), c->compute, *s, *rays,
              *l, p);
    return tr_cuda_launched("add_pixels");
}

tr_status backproject_group(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                            const lists *l, const float *p, float *x)
{
    const size_t across = tr_cuda_parts(s->rows, THREADS);
    dim3 grid;
    TR_TRY(tr_cuda_grid(across * l->bands * rays->n, &grid));
    TR_LAUNCH(spread_band, grid, dim3(THREADS), sizeof(band_list), c->compute, *s, *rays,
              *l, p);
    TR_TRY(tr_cuda_launched("spread_band"));
    TR_TRY(tr_cuda_grid(across * 2 * s->n_z, &grid));
    TR_LAUNCH(add_cells, grid, dim3(THREADS), AHEAD * sizeof(tr_outer_course), c->compute,
              *s, *rays, *l, x);
    return tr_cuda_launched("add_cells");
}

/* Views [first, first + n) of these, as many as there are. */
tr_cuda_rays some_rays(const tr_cuda_rays *rays, size_t first, size_t n)
{
    return {rays->rays + first, rays->numbers + first,
            tr_cuda_at_most((unsigned)(rays->n - first), (unsigned)n)};
}
} // namespace

tr_status tr_cuda_outer_coupled_project(tr_cuda *c, const tr_slab *s,
                                        const tr_cuda_rays *rays, const float *x,
                                        float *p)
{
    const groups g = find_groups(c, s, rays->n);
    lists l;
    TR_TRY(new_lists(c, s, &g, &l));
    for (size_t first = 0; first < rays->n; first += g.views) {
        const tr_cuda_rays some = some_rays(rays, first, g.views);
        for (l.first_band = 0; l.first_band < g.all_bands; l.first_band += g.bands)
            TR_TRY(project_group(c, s, &some, &l, x, p));
    }
    return TR_OK;
}

tr_status tr_cuda_outer_coupled_backproject(tr_cuda *c, const tr_slab *s,
                                            const tr_cuda_rays *rays, const float *p,
                                            float *x)
{
    const groups g = find_groups(c, s, rays->n);
    lists l;
    TR_TRY(new_lists(c, s, &g, &l));
    TR_CUDA("clear cells",
            cudaMemsetAsync(x + tr_core_lines(s) * s->rows, 0,
                            s->n_z * 2 * s->outer * s->rows * sizeof *x, c->compute));
    for (size_t first = 0; first < rays->n; first += g.views) {
        const tr_cuda_rays some = some_rays(rays, first, g.views);
        for (l.first_band = 0; l.first_band < g.all_bands; l.first_band += g.bands)
            TR_TRY(backproject_group(c, s, &some, &l, p, x));
    }
    return TR_OK;
}
