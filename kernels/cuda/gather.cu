/* The projector for independent rows, the adjoint of tile.cu: a warp sums what falls on
 * neighbouring columns, a strip, of one view. It goes from column to column and collects,
 * of all planes of a launch, the voxels that are seen between two columns, whose sums it
 * keeps in registers; then the left one is complete. One launch goes through some planes
 * of the volume; its blocks take a part of x each, and of a group of views the strips
 * that see that part, so that the views read the same voxels from the cache. */
#include "kernels/cuda/tile.h"

namespace
{
enum {
    THREADS = 256,
    WARPS = THREADS / WARP,
    STRIP = 16,
    CODES = 2 * WARP, /* voxels collected, and to be added */
    BATCH = 4,        /* that are read at a time */
    GROUP = 16,       /* views */
    GROUP_X = 512,    /* voxels in x of a block, divided by its views */
    PLANES = WARP     /* of a launch: a lane each */
};

struct part_view {                /* of a block */
    double base, ux, uz, inverse; /* columns: of the launch's first plane; 1 / ux */
    int first, n;                 /* strips that the block takes */
};

/* A voxel: its weights in the left and the right column, and its line of the planes. */
struct __align__(16) code
{
    float left, right;
    unsigned line;
};

struct shift_rows {
    int whole;
    float up; /* fraction */
};

struct warp_memory {
    code codes[CODES];
    shift_rows shifts[CODES];
    int view, strip; /* of the block's views; what the warp works on */
    int task;        /* of the block, the warp's next */
};

struct gather_memory {
    warp_memory warps[WARPS];
    part_view views[GROUP];
};

struct gather_shape {
    tr_cuda_slab s;
    tr_cuda_rays rays;
    unsigned z, n_z; /* planes of this launch */
    unsigned width, across, groups;
};

struct part { /* what a block does */
    unsigned x, group, n_views;
    unsigned row; /* of this thread's first */
    bool rows;    /* are there any for this thread? */
};

__device__ part find_part(const gather_shape *g)
{
    unsigned b = blockIdx.x;
    part t;
    t.group = b % g->groups * GROUP;
    b /= g->groups;
    t.x = b % g->across;
    t.n_views = tr_cuda_at_most(g->rays.n - t.group, GROUP);
    t.row = b / g->across * WARP_ROWS + threadIdx.x % WARP * LANE_ROWS;
    t.rows = t.row < g->s.rows;
    return t;
}

__device__ inline int clamp_int(double value, int low, int high)
{
    return value < low ? low : value > high ? high : (int)value;
}

/* Strips q of columns 16q + 1 ... 16q + 16 of one view that this block takes: those in
 * the shadow of the planes whose middle lies over its part of x. */
__device__ void find_strips(const gather_shape *g, const part *t, part_view *v)
{
    double near = v->base, far = near + v->uz * (double)(g->n_z - 1);
    double across = v->ux * (double)(g->s.n_x - 1);
    double low = fmin(near, far) + fmin(across, 0.0);
    double high = fmax(near, far) + fmax(across, 0.0);
    int all = (int)tr_cuda_parts(g->s.n_u, STRIP);
    int begin = clamp_int(floor((low - STRIP - 2.0) / STRIP), 0, all);
    int end = clamp_int(floor((high + 2.0) / STRIP) + 1.0, begin, all), edge[2];
#pragma unroll
    for (int i = 0; i < 2;
         i++) { /* to the bit as in the neighbour, which has the other */
        double x = (double)(t->x + (unsigned)i) * g->width;
        double middle = fma(v->ux, x, 0.5 * (near + far));
        edge[i] = clamp_int(ceil((middle - 0.5 * STRIP - 0.5) / STRIP), begin, end);
    }
    bool back = v->ux < 0.0;
    bool first = t->x == (back ? g->across - 1 : 0);
    bool final = t->x == (back ? 0 : g->across - 1);
    v->first = first ? begin : back ? edge[1] : edge[0];
    v->n = (final ? end : back ? edge[0] : edge[1]) - v->first;
}

__device__ void find_view(const gather_shape *g, const part *t, const tr_ray *ray,
                          part_view *v)
{
    v->base = tr_ray_base(ray->u0, ray->uz, (double)g->z);
    v->ux = ray->ux;
    v->uz = ray->uz;
    v->inverse = fabs(v->ux) > 1e-9 ? 1.0 / v->ux : 0.0;
    find_strips(g, t, v);
}

/* The way of a strip through one plane, in the direction in which columns grow: its first
 * voxel, how many there are to the end of the plane, and where the first one is seen, the
 * strip's first column being 0. */
struct way {
    int first, n;
    float at;
};

__device__ inline way find_way(const gather_shape *g, const part_view *v, int strip,
                               int plane)
{
    const int n_x = (int)g->s.n_x;
    double base = v->base + v->uz * plane - (STRIP * strip + 1);
    double from = (-1.0 - base) * v->inverse; /* is seen one column before the strip */
    way w;
    if (v->ux < 0.0 && v->inverse != 0.0) {
        w.first = clamp_int(floor(from), -1, n_x - 1);
        w.n = w.first + 1;
    } else {
        w.first = v->inverse != 0.0 ? clamp_int(ceil(from), 0, n_x) : 0;
        w.n = n_x - w.first;
    }
    w.at = (float)(base + v->ux * w.first);
    if (plane >= (int)g->n_z || w.at < -1.0001f)
        w.n = 0;
    return w;
}

__device__ inline shift_rows find_shift(const gather_shape *g, const tr_ray *ray,
                                        int plane)
{
    double v = ray->v0 + ray->vz * ((double)g->z + plane), whole = floor(v);
    shift_rows s = {clamp_int(whole, -0x40000000, 0x40000000), (float)(v - whole)};
    return s;
}

/* The warp's next task, a view and one of its strips, or false. In shared memory, as
 * registers are short. */
__device__ bool find_task(const gather_memory *memory, const part *t, warp_memory *mine)
{
    int view = 0, n_views = (int)t->n_views, k = mine->task;
    for (; view < n_views && k >= memory->views[view].n; view++)
        k -= memory->views[view].n;
    if (view == n_views)
        return false;
    __syncwarp();
    if (threadIdx.x % WARP == 0) {
        mine->task += WARPS;
        mine->view = view;
        mine->strip = memory->views[view].first + k;
    }
    __syncwarp();
    return true;
}

/* Four rows of a voxel, seen by a view that shifts them. Rows outside the slab do not
 * contribute. */
__device__ inline float4 load_shifted(const float *voxel, size_t row, size_t rows,
                                      shift_rows s)
{
    float v[LANE_ROWS + 1];
    long long from = (long long)row - s.whole - 1, n = (long long)rows;
#pragma unroll
    for (int i = 0; i <= LANE_ROWS; i++)
        v[i] = from + i >= 0 && from + i < n ? __ldg(voxel + from + i) : 0.0f;
    float up = s.up, down = 1.0f - up;
    return make_float4(down * v[1] + up * v[0], down * v[2] + up * v[1],
                       down * v[3] + up * v[2], down * v[4] + up * v[3]);
}

/* This lane's four rows of the launch's planes. Lanes without rows compute those of the
 * first ones, which nobody writes. */
struct planes {
    const char *first;
    unsigned row, line_bytes;
    size_t rows;
};

/* The sums of two neighbouring columns. */
struct pair {
    float4 left, right;
};

template <bool SHIFTED>
__device__ inline void add_codes(const planes *p, const code *codes,
                                 const shift_rows *shifts, int n, pair *sums)
{
#pragma unroll 1
    for (int from = 0; from < n; from += BATCH) {
        code c[BATCH];
        float4 v[BATCH];
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            c[i] = codes[from + i];
            const float *line = reinterpret_cast<const float *>(
                p->first + (unsigned long long)c[i].line * p->line_bytes);
            v[i] = SHIFTED ? load_shifted(line, p->row, p->rows, shifts[from + i])
                           : __ldg(reinterpret_cast<const float4 *>(line));
        }
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            add4(&sums->left, c[i].left, v[i]);
            add4(&sums->right, c[i].right, v[i]);
        }
    }
}

/* What a lane has of its plane: where its next voxel is seen, and how many are left. */
struct seeker {
    float start, step; /* of voxel i: start + step i */
    int i, n, forth;   /* `forth` lines on for each */
    unsigned line;     /* of voxel 0 */
    shift_rows shift;
};

__device__ inline seeker new_seeker(const gather_shape *g, const part_view *v, int strip)
{
    const int lane = (int)threadIdx.x % WARP;
    const way w = find_way(g, v, strip, lane);
    seeker s;
    s.start = w.at;
    s.step = fabsf((float)v->ux);
    s.i = 0;
    s.n = w.n;
    s.forth = v->ux < 0.0 && v->inverse != 0.0 ? -1 : 1;
    s.line = (unsigned)(lane * (int)g->s.n_x + w.first);
    return s;
}

/* All voxels that are seen between column `left` and the next: each lane shows its next
 * one, as long as there are any. */
template <bool SHIFTED>
__device__ inline void add_between(const planes *p, int left, seeker *s,
                                   warp_memory *memory, pair *sums)
{
    const unsigned lane = threadIdx.x % WARP, before = (1u << lane) - 1;
    int n = 0; /* collected; where they begin changes between the list's halves */
    int begin = 0;
    for (;;) {
        const float right = fmaf(s->step, (float)s->i, s->start) - (float)left;
        const bool found = s->i < s->n && right < 1.0f;
        const unsigned all = __ballot_sync(all_lanes, found);
        if (all == 0)
            break;
        if (found) {
            const int to = (begin + n + __popc(all & before)) % CODES;
            const float weight = fmaxf(right, 0.0f);
            code c = {1.0f - weight, weight, s->line + (unsigned)(s->i * s->forth)};
            memory->codes[to] = c;
            if (SHIFTED)
                memory->shifts[to] = s->shift;
            s->i++;
        }
        n += __popc(all);
        if (n < WARP)
            continue;
        __syncwarp();
        add_codes<SHIFTED>(p, memory->codes + begin, memory->shifts + begin, WARP, sums);
        __syncwarp();
        begin ^= WARP;
        n -= WARP;
    }
    if (n == 0)
        return;
    const int to = begin + (int)lane;
    if ((int)lane >= n) { /* nothing, to the end of a batch */
        code none = {0.0f, 0.0f, 0};
        memory->codes[to] = none;
        if (SHIFTED)
            memory->shifts[to] = shift_rows{0, 0.0f};
    }
    __syncwarp();
    add_codes<SHIFTED>(p, memory->codes + begin, memory->shifts + begin, n, sums);
    __syncwarp();
}

template <bool SHIFTED>
__device__ void run_task(const gather_shape *g, const part *t, const part_view *views,
                         const planes *in, warp_memory *memory, float *p)
{
    const part_view *v = &views[memory->view];
    const unsigned view = t->group + (unsigned)memory->view;
    seeker s = new_seeker(g, v, memory->strip);
    if (SHIFTED)
        s.shift = find_shift(g, &g->rays.rays[view], (int)threadIdx.x % WARP);
    const size_t column = (size_t)memory->strip * STRIP + 1;
    float *line = p + g->rays.numbers[view] * tr_cuda_view_floats(&g->s) +
                  column * g->s.rows + t->row;
    const int n = (int)tr_cuda_at_most((unsigned)(g->s.n_u + 1 - column), STRIP);
    pair sums = {zero4(), zero4()};
#pragma unroll 1
    for (int left = -1; left < n; left++) {
        add_between<SHIFTED>(in, left, &s, memory, &sums);
        if (left >= 0) {
            if (t->rows) {
                float4 sum = *reinterpret_cast<float4 *>(line);
                add4(&sum, 1.0f, sums.left);
                *reinterpret_cast<float4 *>(line) = sum;
            }
            line += g->s.rows;
        }
        sums.left = sums.right;
        sums.right = zero4();
    }
}

template <bool SHIFTED>
__global__ void __launch_bounds__(THREADS, SHIFTED ? 2 : 3)
    project_planes(gather_shape g, const float *__restrict__ x, float *__restrict__ p)
{
    TR_SHARED(gather_memory, memory);
    const part t = find_part(&g);
    const size_t first = (size_t)g.z * g.s.n_x * g.s.rows;
    const planes in = {
        reinterpret_cast<const char *>(x + first + (SHIFTED || !t.rows ? 0 : t.row)),
        t.row, (unsigned)(g.s.rows * sizeof *x), g.s.rows};
    warp_memory *mine = &memory->warps[threadIdx.x / WARP];
    if (threadIdx.x % WARP == 0)
        mine->task = (int)threadIdx.x / WARP;
    if (threadIdx.x < t.n_views)
        find_view(&g, &t, &g.rays.rays[t.group + threadIdx.x],
                  &memory->views[threadIdx.x]);
    __syncthreads();
    while (find_task(memory, &t, mine))
        run_task<SHIFTED>(&g, &t, memory->views, &in, mine, p);
}
} // namespace

tr_status tr_cuda_tile_project(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                               bool shifted, const float *x, float *p)
{
    auto *kernel = shifted ? project_planes<true> : project_planes<false>;
    gather_shape g = {};
    g.s = tr_cuda_slab_of(s);
    g.rays = *rays;
    g.groups = (unsigned)tr_cuda_parts(rays->n, GROUP);
    g.width = GROUP_X / tr_cuda_at_most(rays->n, GROUP);
    g.across = (unsigned)tr_cuda_parts(s->n_x, g.width);
    dim3 grid;
    TR_TRY(tr_cuda_grid((size_t)g.across * g.groups * tr_cuda_parts(s->rows, WARP_ROWS),
                        &grid));
    for (size_t z = 0; z < s->n_z; z += PLANES) {
        g.z = (unsigned)z;
        g.n_z = tr_cuda_at_most((unsigned)(s->n_z - z), PLANES);
        TR_LAUNCH(kernel, grid, dim3(THREADS), sizeof(gather_memory), c->compute, g, x,
                  p);
        TR_TRY(tr_cuda_launched("project_planes"));
    }
    return TR_OK;
}
