/* The projector for independent rows, the adjoint of tile.cu, gathered. */
#include "kernels/cuda/tile.h"

namespace
{
enum { THREADS = 512, WARPS = THREADS / WARP };

/* The adjoint, gathered: a warp sums what falls on four neighbouring columns, a quad, of
 * one view. One launch goes through some planes of the volume; its blocks take a part of
 * x each, and of a group of views the quads that see that part, so that the views read
 * the same voxels from the cache. */
enum {
    QUAD = 4,
    GROUP = 16,      /* views */
    GROUP_X = 256,   /* voxels in x of a block, divided by its views */
    FEW_PLANES = 16, /* of a launch; more where there are few views, that share little */
    MANY_PLANES = WARP
};

struct walk { /* one quad's way through one plane */
    int first, n;
    float at, up; /* column of the first voxel, the quad's first being 0 */
    int shift;    /* rows, with `up` as fraction */
};

struct task {
    int view, quad;
};

struct gather_memory {
    walk walks[2][WARPS * MANY_PLANES];
    task tasks[2][WARPS];
    int2 quads[GROUP]; /* first, number */
};

struct gather_shape {
    tr_cuda_slab s;
    tr_cuda_rays rays;
    unsigned z, n_z; /* planes of this launch */
    unsigned width, across, groups;
};

struct part { /* what a block does */
    unsigned x, group, n_views;
    size_t row;
    bool rows;
};

__device__ part find_part(const gather_shape *g)
{
    unsigned b = blockIdx.x;
    part t;
    t.group = b % g->groups * GROUP;
    b /= g->groups;
    t.x = b % g->across;
    t.n_views = tr_cuda_at_most(g->rays.n - t.group, GROUP);
    t.row = (size_t)(b / g->across) * WARP_ROWS + threadIdx.x % WARP * LANE_ROWS;
    t.rows = t.row < g->s.rows;
    return t;
}

__device__ inline int clamp_int(double value, int low, int high)
{
    return value < low ? low : value > high ? high : (int)value;
}

/* Quads q of columns 4q + 1 ... 4q + 4 of one view that this block takes: those in the
 * shadow of the planes whose middle lies over its part of x. */
__device__ int2 find_quads(const gather_shape *g, const part *t, const tr_ray *ray)
{
    double near = tr_ray_base(ray->u0, ray->uz, (double)g->z);
    double far = tr_ray_base(ray->u0, ray->uz, (double)(g->z + g->n_z - 1));
    double across = ray->ux * (double)(g->s.n_x - 1);
    double low = (near < far ? near : far) + (across < 0.0 ? across : 0.0);
    double high = (near < far ? far : near) + (across > 0.0 ? across : 0.0);
    int all = (int)tr_cuda_parts(g->s.n_u, QUAD);
    int begin = clamp_int(floor((low - 6.0) / QUAD), 0, all);
    int end = clamp_int(floor((high + 2.0) / QUAD) + 1.0, begin, all), edge[2];
#pragma unroll 1
    for (int i = 0; i < 2; i++) { /* one text for both, as the neighbour has the other */
        double x = (double)(t->x + (unsigned)i) * g->width;
        double middle = 0.5 * (near + far) + ray->ux * x;
        edge[i] = clamp_int(ceil((middle - 2.5) / QUAD), begin, end);
    }
    bool back = ray->ux < 0.0;
    bool first = t->x == (back ? g->across - 1 : 0);
    bool final = t->x == (back ? 0 : g->across - 1);
    int from = first ? begin : edge[back], to = final ? end : edge[!back];
    return make_int2(from, to - from);
}

/* The voxels of plane iz within less than a column of the quad. */
__device__ walk find_walk(const gather_shape *g, const tr_ray *ray, int quad, double iz)
{
    int n_x = (int)g->s.n_x;
    double column = QUAD * (double)quad + 1.0;
    double base = tr_ray_base(ray->u0, ray->uz, iz) - column;
    walk w = {0, n_x, 0.0f, 0.0f, 0};
    if (fabs(ray->ux) > 1e-9) {
        double a = (-1.0 - base) / ray->ux, b = (QUAD - base) / ray->ux;
        w.first = clamp_int(ceil(a < b ? a : b), 0, n_x);
        w.n = clamp_int(floor(a < b ? b : a) + 1.0, w.first, n_x) - w.first;
    }
    w.at = (float)(base + ray->ux * w.first);
    double v = ray->v0 + ray->vz * iz, whole = floor(v);
    w.shift = clamp_int(whole, -0x40000000, 0x40000000);
    w.up = (float)(v - whole);
    return w;
}

/* The block's task number k, for each of its warps another one. */
__device__ task find_task(const gather_memory *memory, const part *t, int k)
{
    task found = {-1, 0};
    for (int view = 0; view < (int)t->n_views; view++) {
        int2 quads = memory->quads[view];
        if (k < quads.y) {
            found.view = (int)t->group + view;
            found.quad = quads.x + k;
            break;
        }
        k -= quads.y;
    }
    return found;
}

/* Each lane finds the way through one plane. */
__device__ void find_walks(const gather_shape *g, const part *t, int round,
                           gather_memory *memory)
{
    int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    task found = find_task(memory, t, round * WARPS + warp);
    if (lane == 0)
        memory->tasks[round % 2][warp] = found;
    if (found.view >= 0 && lane < (int)g->n_z)
        memory->walks[round % 2][warp * MANY_PLANES + lane] =
            find_walk(g, &g->rays.rays[found.view], found.quad, (double)g->z + lane);
}

/* Four rows of a voxel, seen by a view that shifts them. Rows outside the slab do not
 * contribute. */
__device__ inline float4 load_shifted(const float *voxel, size_t row, size_t rows,
                                      int shift, float up)
{
    float v[LANE_ROWS + 1];
    long long from = (long long)row - shift - 1, n = (long long)rows;
#pragma unroll
    for (int i = 0; i <= LANE_ROWS; i++)
        v[i] = from + i >= 0 && from + i < n ? __ldg(voxel + from + i) : 0.0f;
    float down = 1.0f - up;
    return make_float4(down * v[1] + up * v[0], down * v[2] + up * v[1],
                       down * v[3] + up * v[2], down * v[4] + up * v[3]);
}

/* The least of 1 does nothing, but makes it one instruction. */
__device__ inline float hat(float distance)
{
    return fminf(fmaxf(1.0f - fabsf(distance), 0.0f), 1.0f);
}

template <bool SHIFTED>
__device__ inline void run_walk(const gather_shape *g, const float *plane, size_t row,
                                const walk *w, float ux, float4 *sums)
{
    const size_t rows = g->s.rows;
    const float *voxel = plane + (size_t)w->first * rows;
    const float start = w->at;
    const int n = w->n;
    float step = 0.0f;
#pragma unroll 4
    for (int i = 0; i < n; i++, voxel += rows, step += 1.0f) {
        float4 v = SHIFTED ? load_shifted(voxel, row, rows, w->shift, w->up)
                           : __ldg(reinterpret_cast<const float4 *>(voxel + row));
        float at = start + ux * step;
#pragma unroll
        for (int k = 0; k < QUAD; k++)
            add4(&sums[k], hat(at - (float)k), v);
    }
}

template <bool SHIFTED>
__device__ void run_task(const gather_shape *g, const part *t, task found,
                         const walk *walks, const float *x, float *p)
{
    float4 sums[QUAD];
#pragma unroll
    for (int k = 0; k < QUAD; k++)
        sums[k] = zero4();
    float ux = (float)g->rays.rays[found.view].ux;
    const float *plane = x + (size_t)g->z * g->s.n_x * g->s.rows;
    for (unsigned z = 0; z < g->n_z; z++, plane += g->s.n_x * g->s.rows)
        run_walk<SHIFTED>(g, plane, t->row, &walks[z], ux, sums);
    size_t column = (size_t)found.quad * QUAD + 1;
    float *to = p + g->rays.numbers[found.view] * tr_cuda_view_floats(&g->s) +
                column * g->s.rows + t->row;
#pragma unroll
    for (int k = 0; k < QUAD; k++)
        if (column + (size_t)k <= g->s.n_u) {
            float4 *line = reinterpret_cast<float4 *>(to + (size_t)k * g->s.rows);
            float4 sum = *line;
            add4(&sum, 1.0f, sums[k]);
            *line = sum;
        }
}

template <bool SHIFTED>
__global__ void __launch_bounds__(THREADS, SHIFTED ? 1 : 2)
    project_planes(gather_shape g, const float *__restrict__ x, float *__restrict__ p)
{
    TR_SHARED(gather_memory, memory);
    const part t = find_part(&g);
    const int warp = (int)threadIdx.x / WARP;
    if (threadIdx.x < t.n_views)
        memory->quads[threadIdx.x] =
            find_quads(&g, &t, &g.rays.rays[t.group + threadIdx.x]);
    __syncthreads();
    int n = 0;
    for (unsigned view = 0; view < t.n_views; view++)
        n += memory->quads[view].y;
    int rounds = (n + WARPS - 1) / WARPS;
    /* Step k computes round k - 1 and prepares round k. */
    for (int k = 0; k <= rounds; k++) {
        if (k < rounds)
            find_walks(&g, &t, k, memory);
        int now = (k + 1) % 2;
        if (k > 0 && t.rows && memory->tasks[now][warp].view >= 0)
            run_task<SHIFTED>(&g, &t, memory->tasks[now][warp],
                              memory->walks[now] + warp * MANY_PLANES, x, p);
        __syncthreads();
    }
}
} // namespace

tr_status tr_cuda_tile_project(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                               bool shifted, const float *x, float *p)
{
    auto *kernel = shifted ? project_planes<true> : project_planes<false>;
    unsigned together = tr_cuda_at_most(rays->n, GROUP), planes = FEW_PLANES;
    if (together < GROUP / 2)
        planes = MANY_PLANES;
    gather_shape g = {};
    g.s = tr_cuda_slab_of(s);
    g.rays = *rays;
    g.groups = (unsigned)tr_cuda_parts(rays->n, GROUP);
    g.width = GROUP_X / together;
    g.across = (unsigned)tr_cuda_parts(s->n_x, g.width);
    dim3 grid;
    TR_TRY(tr_cuda_grid((size_t)g.across * g.groups * tr_cuda_parts(s->rows, WARP_ROWS),
                        &grid));
    for (size_t z = 0; z < s->n_z; z += planes) {
        g.z = (unsigned)z;
        g.n_z = tr_cuda_at_most((unsigned)(s->n_z - z), planes);
        TR_LAUNCH(kernel, grid, dim3(THREADS), sizeof(gather_memory), c->compute, g, x,
                  p);
        TR_TRY(tr_cuda_launched("project_planes"));
    }
    return TR_OK;
}
