/* The projector for independent rows, the adjoint of tile.cu: a warp sums what falls on
 * eight neighbouring columns, a strip, of one view. It goes through the voxels that the
 * strip sees, plane after plane, and keeps the sums of the even and the odd one of the
 * two columns that a voxel falls on in registers; when it leaves a column, that sum goes
 * to shared memory, and the next column's comes from there. One launch goes through some
 * planes of the volume; its blocks take a part of x each, and of a group of views the
 * strips that see that part, so that the views read the same voxels from the cache. */
#include "kernels/cuda/tile.h"

namespace
{
enum {
    THREADS = 256,
    WARPS = THREADS / WARP,
    STRIP = 8,
    SLOTS = STRIP + 2, /* the strip's columns, and one at each side for what is not its */
    BATCH = 4,         /* voxels that are read at a time */
    GROUP = 16,        /* views */
    GROUP_X = 256,     /* voxels in x of a block, divided by its views */
    PLANES = WARP      /* of a launch: a lane each */
};

struct part_view {                /* of a block */
    double base, ux, uz, inverse; /* columns: of the launch's first plane; 1 / ux */
    int first, n;                 /* strips that the block takes */
    int walk;                     /* voxels of a plane that a strip sees */
};

/* What one voxel adds to: the weight of the even column, that of the odd one being what
 * is missing to 1; both columns' slots, times WARP; and which line of the planes it is.
 */
struct code {
    float even;
    int even_slot, odd_slot;
    unsigned line;
};

struct shift_rows {
    int whole;
    float up; /* fraction */
};

struct warp_memory {
    float4 slots[SLOTS * WARP];
    code codes[WARP];
    shift_rows shifts[WARP];
    int view, strip; /* of the block's views; what the warp works on */
    int task;        /* of the block, the warp's next */
};

struct gather_memory {
    warp_memory warps[WARPS];
    part_view views[GROUP];
};
static_assert(sizeof(gather_memory) <= 48 << 10, "more has to be asked for");

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

/* Strips q of columns 8q + 1 ... 8q + 8 of one view that this block takes: those in the
 * shadow of the planes whose middle lies over its part of x. */
__device__ void find_strips(const gather_shape *g, const part *t, part_view *v)
{
    double near = v->base, far = near + v->uz * (double)(g->n_z - 1);
    double across = v->ux * (double)(g->s.n_x - 1);
    double low = fmin(near, far) + fmin(across, 0.0);
    double high = fmax(near, far) + fmax(across, 0.0);
    int all = (int)tr_cuda_parts(g->s.n_u, STRIP);
    int begin = clamp_int(floor((low - 10.0) / STRIP), 0, all);
    int end = clamp_int(floor((high + 2.0) / STRIP) + 1.0, begin, all), edge[2];
#pragma unroll 1
    for (int i = 0; i < 2; i++) { /* one text for both, as the neighbour has the other */
        double x = (double)(t->x + (unsigned)i) * g->width;
        double middle = 0.5 * (near + far) + v->ux * x;
        edge[i] = clamp_int(ceil((middle - 4.5) / STRIP), begin, end);
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
    const int n_x = (int)g->s.n_x;
    v->base = tr_ray_base(ray->u0, ray->uz, (double)g->z);
    v->ux = ray->ux;
    v->uz = ray->uz;
    v->inverse = 0.0;
    v->walk = n_x;
    if (fabs(v->ux) > 1e-9) {
        v->inverse = 1.0 / v->ux;
        v->walk = clamp_int((STRIP + 1) * fabs(v->inverse) + 1.0, 1, n_x);
    }
    find_strips(g, t, v);
}

/* The way of a strip through one plane: its first voxel, which may be outside the volume,
 * and where that is seen, the strip's first column being 0. */
struct way {
    int first;
    float at;
};

__device__ inline way find_way(const gather_shape *g, const part_view *v, int strip,
                               int plane)
{
    const int n_x = (int)g->s.n_x;
    double base = v->base + v->uz * plane - (STRIP * strip + 1);
    way w = {0, 0.0f};
    if (v->walk < n_x) {
        double from = ((v->ux < 0.0 ? STRIP : -1) - base) * v->inverse;
        w.first = clamp_int(ceil(from), -v->walk, n_x);
    }
    w.at = (float)(base + v->ux * w.first);
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

/* A voxel seen at `at`; one that is none adds to no column of the strip. */
__device__ inline code find_code(float at, bool valid, unsigned line)
{
    at = valid ? fminf(fmaxf(at, -1.0f), (float)STRIP) : -1.0f;
    int column = (int)floorf(at);
    column = column < STRIP - 1 ? column : STRIP - 1;
    float fraction = at - (float)column;
    code c;
    c.even = column & 1 ? fraction : 1.0f - fraction;
    c.even_slot = (((column + 1) & ~1) + 1) * WARP;
    c.odd_slot = ((column | 1) + 1) * WARP;
    c.line = valid ? line : 0;
    return c;
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

/* The sum of the column that the warp is at, and where it is kept. */
struct running_sum {
    float4 *slot;
    float4 sum;
};

__device__ inline void add_to(running_sum *r, float4 *slot, float weight, float4 v)
{
    if (slot != r->slot) { /* the same in all lanes */
        *r->slot = r->sum;
        r->sum = *slot;
    }
    r->slot = slot;
    add4(&r->sum, weight, v);
}

/* This lane's four rows of the launch's planes. Lanes without rows compute those of the
 * first ones, which nobody writes. */
struct planes {
    const char *first;
    unsigned row, line_bytes;
    size_t rows;
};

template <bool SHIFTED>
__device__ inline void add_codes(const planes *p, const warp_memory *memory, int n,
                                 float4 *slots, running_sum *even, running_sum *odd)
{
    for (int from = 0; from < n; from += BATCH) {
        code c[BATCH];
        float4 v[BATCH];
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            c[i] = memory->codes[from + i];
            const float *line = reinterpret_cast<const float *>(
                p->first + (unsigned long long)c[i].line * p->line_bytes);
            v[i] = SHIFTED ? load_shifted(line, p->row, p->rows, memory->shifts[from + i])
                           : __ldg(reinterpret_cast<const float4 *>(line));
        }
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            add_to(even, slots + c[i].even_slot, c[i].even, v[i]);
            add_to(odd, slots + c[i].odd_slot, 1.0f - c[i].even, v[i]);
        }
    }
}

/* All voxels that a strip sees, a lane's each worked out at a time. */
template <bool SHIFTED>
__device__ void run_walk(const gather_shape *g, const part_view *v, const tr_ray *ray,
                         const planes *p, warp_memory *memory)
{
    const int lane = (int)threadIdx.x % WARP, n_x = (int)g->s.n_x, n = v->walk;
    const float ux = (float)v->ux;
    const way own = find_way(g, v, memory->strip, lane);
    const shift_rows own_shift = SHIFTED ? find_shift(g, ray, lane) : shift_rows{0, 0.0f};
    float4 *slots = memory->slots + lane;
    running_sum even = {slots + (STRIP + 1) * WARP, zero4()}, odd = {slots, zero4()};
    int z = lane / n, i = lane % n;
    for (int left = n * (int)g->n_z; left > 0; left -= WARP) {
        int first = __shfl_sync(all_lanes, own.first, z);
        float at = fmaf(ux, (float)i, __shfl_sync(all_lanes, own.at, z));
        bool valid = lane < left && first + i >= 0 && first + i < n_x;
        __syncwarp();
        memory->codes[lane] = find_code(at, valid, (unsigned)(z * n_x + first + i));
        if (SHIFTED) {
            memory->shifts[lane].whole = __shfl_sync(all_lanes, own_shift.whole, z);
            memory->shifts[lane].up = __shfl_sync(all_lanes, own_shift.up, z);
        }
        __syncwarp();
        add_codes<SHIFTED>(p, memory, left < WARP ? left : (int)WARP, slots, &even, &odd);
        for (i += WARP; i >= n; i -= n)
            z++;
    }
    *even.slot = even.sum;
    *odd.slot = odd.sum;
}

template <bool SHIFTED>
__device__ void run_task(const gather_shape *g, const part *t, const part_view *views,
                         const planes *in, warp_memory *memory, float *p)
{
    float4 *slots = memory->slots + threadIdx.x % WARP;
#pragma unroll
    for (int k = 0; k < SLOTS; k++)
        slots[k * WARP] = zero4();
    run_walk<SHIFTED>(g, &views[memory->view],
                      &g->rays.rays[t->group + (unsigned)memory->view], in, memory);
    if (!t->rows)
        return;
    const unsigned view = g->rays.numbers[t->group + (unsigned)memory->view];
    const size_t column = (size_t)memory->strip * STRIP + 1;
    float *to = p + view * tr_cuda_view_floats(&g->s) + column * g->s.rows + t->row;
#pragma unroll
    for (int k = 0; k < STRIP; k++)
        if (column + (size_t)k <= g->s.n_u) {
            float4 *line = reinterpret_cast<float4 *>(to + (size_t)k * g->s.rows);
            float4 sum = *line;
            add4(&sum, 1.0f, slots[(k + 1) * WARP]);
            *line = sum;
        }
}

template <bool SHIFTED>
__global__ void __launch_bounds__(THREADS, SHIFTED ? 2 : 4)
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
