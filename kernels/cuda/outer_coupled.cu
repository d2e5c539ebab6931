/* The projector of what lies outside the field for rays that leave their row
 * (outer_coupled_body.h). Each list of steps belongs to one thread, a row; pixels gather
 * their rows, so that the order of additions depends on the slab's sizes only. In double
 * a block works out where one of its rows or pixels is seen; what the others are away
 * from there is small enough for float. */
#include "kernels/cuda/project.h"
#include "kernels/outer_coupled_body.h"

namespace
{
enum {
    THREADS = 128, /* rows of a block, or pixels */
    MIDDLE = THREADS / 2,
    AHEAD = 16,   /* sides whose edges are worked out at a time */
    STRETCH = 32, /* places, of which one is worked out in double */
    MOST_CELLS = 128,
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

/* One side of one plane as a view sees it: the cells before `begin` have their inner ends
 * left of the list for all rows of the block, those from `end` on none of them. */
struct side {
    double base, px;  /* of the middle row; per pixel of x */
    float py, height; /* per row; of a step */
    int begin, end, places;
    unsigned list; /* its number */
};

/* The place in the list of a cell's inner end, for the middle row. */
struct edge {
    int whole;
    float fraction;
};

/* In shared memory, with `outer` edges for each side. */
struct side_memory {
    band_list band;
    side sides[AHEAD];
    edge edges[AHEAD * MOST_CELLS];
};

size_t shared_bytes(const tr_slab *s)
{
    return offsetof(side_memory, edges) + AHEAD * s->outer * sizeof(edge);
}

__device__ void find_side(const tr_slab *s, const tr_outer_course *c, size_t iz,
                          size_t first_lane, bool right, side *to)
{
    const tr_outer_start start = tr_outer_find_start(s, c, iz, right);
    const double first = start.base + start.py * (double)first_lane;
    const double last = first + start.py * (THREADS - 1);
    const tr_outer_span span =
        tr_outer_find_any(true, (int)s->outer, (double)s->n_x, (double)c->n_p,
                          fmin(first, last), fmax(first, last), c->px);
    to->base = first + start.py * MIDDLE;
    to->px = c->px;
    to->py = (float)start.py;
    to->height = (float)(1.0 / c->px);
    to->begin = span.first;
    to->end = span.end;
    to->places = (int)c->n_p + TR_OUTER_LEFT;
}

/* The edges of the first n sides, by all threads of the block. */
__device__ void find_edges(const tr_slab *s, unsigned n, side_memory *m)
{
    const unsigned outer = (unsigned)s->outer;
    for (unsigned i = threadIdx.x; i < n * outer; i += THREADS) {
        const side *of = &m->sides[i / outer];
        const int k = (int)(i % outer);
        if (k >= of->begin && k < of->end)
            tr_cuda_split(of->base + TR_OUTER_LEFT +
                              of->px * tr_outer_position(true, k, (double)s->n_x),
                          &m->edges[i].whole, &m->edges[i].fraction);
    }
}

/* This thread's step at an edge: tr_outer_step, whose place may be outside the list. */
__device__ inline tr_outer_taps find_step(const side *of, edge e)
{
    const float at = fmaf(of->py, (float)((int)threadIdx.x - MIDDLE), e.fraction);
    const float floored = floorf(at), f = at - floored;
    const float first = 0.5f * (1.0f - f) * (1.0f - f), last = 0.5f * f * f;
    tr_outer_taps t;
    t.at = e.whole + (int)floored;
    t.weight[0] = of->height * first;
    t.weight[1] = of->height * (1.0f - first - last);
    t.weight[2] = of->height * last;
    return t;
}

/* This thread's row of one side of a plane: its nearest cell, and the way to the next. */
struct cell_row {
    size_t first;
    ptrdiff_t next;
};

__device__ inline cell_row cells_of(const tr_slab *s, size_t iz, bool right, size_t lane)
{
    const size_t line =
        tr_core_lines(s) + iz * 2 * s->outer + tr_outer_line(right, 0, s->outer);
    const ptrdiff_t rows = (ptrdiff_t)s->rows;
    return {line * s->rows + lane, right ? rows : -rows};
}

/* ---- forward ---- */

/* The cell nearest to the core steps down to 0 there: the core is projected by itself.
 * The last one left of the list is seen by all of it. */
__device__ void add_row(const tr_slab *s, const side *of, const edge *edges,
                        const float *__restrict__ cells, ptrdiff_t next, float *list)
{
    float inner = of->begin > 0 ? cells[next * (of->begin - 1)] : 0.0f;
    float entering = inner;
    for (int k = of->begin; k < of->end; k++) {
        const tr_outer_taps taps = find_step(of, edges[k]);
        const float here = cells[next * k], step = here - inner;
        inner = here;
        if (taps.at < 0)
            entering = here;
        if (taps.at < 0 || taps.at >= of->places)
            continue;
        float *to = list + (size_t)taps.at * s->rows;
        to[0] += taps.weight[0] * step;
        to[s->rows] += taps.weight[1] * step;
        to[2 * s->rows] += taps.weight[2] * step;
    }
    list[0] += of->height * entering;
}

/* One side of a band's planes, by all threads of the block. */
__device__ void add_planes(const tr_slab *s, bool right, size_t lane,
                           const float *__restrict__ x, side_memory *m, float *list)
{
    const tr_outer_band band = m->band.band;
    for (size_t z = band.begin; z < band.end; z += AHEAD) {
        const unsigned n = tr_cuda_at_most((unsigned)(band.end - z), AHEAD);
        __syncthreads();
        if (threadIdx.x < n)
            find_side(s, &m->band.course, z + threadIdx.x, lane - threadIdx.x, right,
                      &m->sides[threadIdx.x]);
        __syncthreads();
        find_edges(s, n, m);
        __syncthreads();
        for (unsigned i = 0; lane < s->rows && i < n; i++) {
            const cell_row row = cells_of(s, z + i, right, lane);
            add_row(s, &m->sides[i], m->edges + i * s->outer, x + row.first, row.next,
                    list);
        }
    }
}

/* The running sums of one band of one view's steps, in their lists: at place p + LEFT
 * what is seen at p. */
__global__ void __launch_bounds__(THREADS)
    list_band(tr_slab s, const tr_ray *__restrict__ rays, lists l,
              const float *__restrict__ x)
{
    TR_SHARED(side_memory, m);
    unsigned number;
    const size_t lane = lane_of(&s, &number);
    if (threadIdx.x == 0)
        m->band = find_list(&s, rays, &l, number);
    __syncthreads();
    if (!m->band.used)
        return;
    const size_t n_p = lane < s.rows ? m->band.course.n_p + TR_OUTER_LEFT : 0;
    for (int right = 0; right < 2; right++) {
        float *list = list_at(&s, &l, number, right != 0, lane), sum = 0.0f;
        for (size_t i = 0; n_p && i < n_p + TR_OUTER_SPARE - TR_OUTER_LEFT; i++)
            list[i * s.rows] = 0.0f;
        add_planes(&s, right != 0, lane, x, m, list);
        for (size_t i = 0; i < n_p; i++) {
            sum += list[i * s.rows];
            list[i * s.rows] = sum;
        }
    }
}

/* A row of a band that is seen near the block's first pixel, and how far from there. */
struct near_row {
    int row;
    float away;
};

/* How far rows reach, and what finds the ones that a pixel sees: qy = direction + bend.
 */
struct row_finder {
    float slope, qy, direction, bend, half, reach;
};

struct pixel_memory {
    tr_outer_course course;
    row_finder finder;
    near_row rows[THREADS]; /* of as many bands */
};

struct pixel { /* at p and q of a course */
    size_t p, q;
};

__device__ inline pixel find_pixel(const tr_slab *s, const tr_outer_course *c, size_t i)
{
    const size_t u = i / s->p_rows, v = i % s->p_rows, along = c->along_u ? u : v;
    return {c->turned ? c->n_p - 1 - along : along, c->along_u ? v : u};
}

__device__ near_row find_near_row(const tr_slab *s, const tr_outer_course *c, size_t band,
                                  pixel first)
{
    const double at =
        tr_outer_find_band(s, c, band).q0 + c->slope * (double)first.p - (double)first.q;
    near_row r;
    float ignored;
    tr_cuda_split(-at / c->qy, &r.row, &ignored);
    r.away = (float)(at + c->qy * r.row);
    return r;
}

__device__ row_finder find_finder(const tr_outer_course *c)
{
    const double direction = c->qy < 0.0 ? -1.0 : 1.0;
    row_finder f;
    f.slope = (float)c->slope;
    f.qy = (float)c->qy;
    f.direction = (float)direction;
    f.bend = (float)(c->qy - direction);
    f.half = (float)(c->reach / fabs(c->qy));
    f.reach = (float)c->reach;
    return f;
}

/* Of one band the rows that are seen within reach of a pixel which is dp and dq away from
 * the block's first one; its places in the lists are `right` and `left`. */
__device__ float sum_rows_at(const tr_slab *s, const row_finder *f, near_row near_by,
                             float dp, float dq, const float *__restrict__ right,
                             const float *__restrict__ left, float sum)
{
    const float far = 1e9f, start = fmaf(f->slope, dp, near_by.away);
    const float middle = fminf(fmaxf((dq - start) / f->qy, -far), far);
    int low = near_by.row + (int)ceilf(middle - f->half);
    int high = near_by.row + (int)floorf(middle + f->half);
    low = low > 0 ? low : 0;
    high = high < (int)s->rows ? high : (int)s->rows - 1;
    for (int r = low; r <= high; r++) {
        const float rows = (float)(r - near_by.row);
        const float away = fmaf(f->bend, rows, start) + (f->direction * rows - dq);
        sum += tr_outer_share(away, f->reach) * (right[r] + left[r]);
    }
    return sum;
}

/* Each view += its bands, one after the other. A block has neighbouring pixels. */
__global__ void __launch_bounds__(THREADS)
    add_pixels(tr_slab s, tr_cuda_rays rays, lists l, float *__restrict__ p)
{
    TR_SHARED(pixel_memory, m);
    const size_t pixels = s.n_u * s.p_rows;
    const unsigned across = (unsigned)tr_cuda_parts(pixels, THREADS);
    const unsigned view = blockIdx.x / across;
    const size_t i0 = (size_t)(blockIdx.x % across) * THREADS, i = i0 + threadIdx.x;
    if (threadIdx.x == 0) {
        m->course = find_list(&s, rays.rays, &l, view * l.bands).course;
        m->finder = find_finder(&m->course);
    }
    __syncthreads();
    const tr_outer_course *c = &m->course;
    const size_t rest = c->bands > l.first_band ? c->bands - l.first_band : 0;
    const unsigned bands = tr_cuda_at_most((unsigned)rest, l.bands);
    const bool used = i < pixels;
    const pixel first = find_pixel(&s, c, i0), own = find_pixel(&s, c, used ? i : i0);
    const float dp = (float)((int)own.p - (int)first.p);
    const float dq = (float)((int)own.q - (int)first.q);
    const size_t right = (own.p + TR_OUTER_LEFT) * s.rows;
    const size_t left = (c->n_p - 1 - own.p + TR_OUTER_LEFT) * s.rows;
    float *to = p + ((size_t)rays.numbers[view] * (s.n_u + TR_GUARDS) + 1) * s.p_rows + i;
    float sum = used ? *to : 0.0f;
    for (unsigned b = 0; b < bands; b += THREADS) {
        const unsigned n = tr_cuda_at_most(bands - b, THREADS);
        __syncthreads();
        if (threadIdx.x < n)
            m->rows[threadIdx.x] =
                find_near_row(&s, c, l.first_band + b + threadIdx.x, first);
        __syncthreads();
        for (unsigned k = 0; used && k < n; k++) {
            const unsigned list = view * l.bands + b + k;
            sum = sum_rows_at(&s, &m->finder, m->rows[k], dp, dq,
                              list_at(&s, &l, list, true, right),
                              list_at(&s, &l, list, false, left), sum);
        }
    }
    if (used)
        *to = sum;
}

/* ---- the adjoint ---- */

/* What three pixels along q, of which the first is number `first`, share with a row: that
 * is seen `reach` and a fraction beyond the pixel before. */
__device__ inline float gather_pixels(const tr_outer_course *c,
                                      const float *__restrict__ from, int first,
                                      float fraction, float reach)
{
    const int n = (int)c->n_q;
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < 3; i++) {
        const float share = tr_outer_share((float)(i + 1) - fraction - reach, reach);
        if (first + i >= 0 && first + i < n)
            sum += share * from[c->step_q * (first + i)];
    }
    return sum;
}

/* One row's places of both lists, from `begin` on, of which the first is seen at q. */
__device__ void gather_stretch(const tr_slab *s, const tr_outer_course *c,
                               const float *__restrict__ view, size_t begin, double q,
                               float *right, float *left)
{
    const size_t end = begin + STRETCH < c->n_p ? begin + STRETCH : c->n_p;
    const float slope = (float)c->slope, reach = (float)c->reach;
    const float *from = view + c->first + c->step_p * (ptrdiff_t)begin;
    int whole;
    float start;
    tr_cuda_split(q - c->reach, &whole, &start);
    for (size_t at = begin; at < end; at++, from += c->step_p) {
        const float f = fmaf(slope, (float)(at - begin), start), floored = floorf(f);
        const float sum =
            gather_pixels(c, from, whole + 1 + (int)floored, f - floored, reach);
        right[(at + TR_OUTER_LEFT) * s->rows] = sum;
        left[(c->n_p - 1 - at + TR_OUTER_LEFT) * s->rows] = sum;
    }
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
    TR_SHARED(band_list, b);
    unsigned number;
    const size_t lane = lane_of(&s, &number);
    if (threadIdx.x == 0)
        *b = find_list(&s, rays.rays, &l, number);
    __syncthreads();
    if (!b->used || lane >= s.rows)
        return;
    const tr_outer_course *c = &b->course;
    const float *view =
        p + (size_t)rays.numbers[number / l.bands] * (s.n_u + TR_GUARDS) * s.p_rows;
    const double q0 = b->band.q0 + c->qy * (double)lane;
    float *right = list_at(&s, &l, number, true, lane);
    float *left = list_at(&s, &l, number, false, lane);
    for (size_t at = 0; at < c->n_p; at += STRETCH)
        gather_stretch(&s, c, view, at, q0 + c->slope * (double)at, right, left);
    spread_list(&s, c->n_p, right);
    spread_list(&s, c->n_p, left);
}

/* What step k is seen by: `all` left of the list, 0 beyond it. */
__device__ inline float seen_step(const tr_slab *s, const side *of, const edge *edges,
                                  int k, const float *__restrict__ seen, float all)
{
    if (k < of->begin)
        return all;
    if (k >= of->end)
        return 0.0f;
    const tr_outer_taps taps = find_step(of, edges[k]);
    if (taps.at < 0 || taps.at >= of->places)
        return taps.at < 0 ? all : 0.0f;
    const float *from = seen + (size_t)taps.at * s->rows;
    return taps.weight[0] * from[0] + taps.weight[1] * from[s->rows] +
           taps.weight[2] * from[2 * s->rows];
}

/* Cells k and on from one view. A cell steps up at its inner end and down at the next
 * one's; the last one never ends. */
__device__ void gather_row(const tr_slab *s, const side *of, const edge *edges, int k,
                           const float *__restrict__ seen, float (&sums)[TOGETHER])
{
    const float all = of->height * seen[0];
    float here = seen_step(s, of, edges, k, seen, all);
#pragma unroll
    for (int j = 0; j < TOGETHER; j++) {
        const bool ends = k + j + 1 < (int)s->outer;
        float next = ends ? seen_step(s, of, edges, k + j + 1, seen, all) : 0.0f;
        sums[j] += here - next;
        here = next;
    }
}

const unsigned no_list = 0xffffffff;

/* One side of one plane as a view sees it, and its list, if that is among these. */
__device__ void find_listed_side(const tr_slab *s, const tr_ray *ray, const lists *l,
                                 unsigned view, size_t iz, size_t first_lane, bool right,
                                 side *to)
{
    const tr_outer_course course = tr_outer_find_course(s, ray, BAND_PLANES);
    const size_t band = iz / course.planes;
    find_side(s, &course, iz, first_lane, right, to);
    to->list = band >= l->first_band && band < l->first_band + l->bands
                   ? view * l->bands + (unsigned)(band - l->first_band)
                   : no_list;
}

/* A block adds to one side of one plane what these views give. */
__global__ void __launch_bounds__(THREADS)
    add_cells(tr_slab s, tr_cuda_rays rays, lists l, float *__restrict__ x)
{
    TR_SHARED(side_memory, m);
    unsigned number;
    const size_t lane = lane_of(&s, &number), iz = number / 2;
    const bool right = number % 2;
    const int outer = (int)s.outer;
    const cell_row row = cells_of(&s, iz, right, lane);
    for (unsigned first = 0; first < rays.n; first += AHEAD) {
        unsigned n = tr_cuda_at_most(rays.n - first, AHEAD);
        __syncthreads();
        if (threadIdx.x < n)
            find_listed_side(&s, &rays.rays[first + threadIdx.x], &l, first + threadIdx.x,
                             iz, lane - threadIdx.x, right, &m->sides[threadIdx.x]);
        __syncthreads();
        find_edges(&s, n, m);
        __syncthreads();
        for (int k = 0; lane < s.rows && k < outer; k += TOGETHER) {
            float sums[TOGETHER] = {}, *cells = x + row.first + row.next * k;
#pragma unroll
            for (int j = 0; j < TOGETHER; j++)
                if (k + j < outer)
                    sums[j] = cells[row.next * j];
            for (unsigned i = 0; i < n; i++)
                if (m->sides[i].list != no_list)
                    gather_row(&s, &m->sides[i], m->edges + i * s.outer, k,
                               list_at(&s, &l, m->sides[i].list, right, lane), sums);
#pragma unroll
            for (int j = 0; j < TOGETHER; j++)
                if (k + j < outer)
                    cells[row.next * j] = sums[j];
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
    TR_ASSERT(s->outer <= MOST_CELLS);
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
    TR_LAUNCH(list_band, grid, dim3(THREADS), shared_bytes(s), c->compute, *s, rays->rays,
              *l, x);
    TR_TRY(tr_cuda_launched("list_band"));
    TR_TRY(tr_cuda_grid(tr_cuda_parts(s->n_u * s->p_rows, THREADS) * rays->n, &grid));
    TR_LAUNCH(add_pixels, grid, dim3(THREADS), sizeof(pixel_memory), c->compute, *s,
              *rays, *l, p);
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
    TR_LAUNCH(add_cells, grid, dim3(THREADS), shared_bytes(s), c->compute, *s, *rays, *l,
              x);
    return tr_cuda_launched("add_cells");
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
        const tr_cuda_rays some = tr_cuda_some_rays(rays, first, g.views);
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
        const tr_cuda_rays some = tr_cuda_some_rays(rays, first, g.views);
        for (l.first_band = 0; l.first_band < g.all_bands; l.first_band += g.bands)
            TR_TRY(backproject_group(c, s, &some, &l, p, x));
    }
    return TR_OK;
}
