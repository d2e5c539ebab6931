/* Projectors for rays that couple rows: four samples for each voxel, row and view; and
 * backprojection for views that shift the rows. A warp works on 32 neighbouring rows of
 * one voxel after the other; where the middle one of them is seen is worked out in
 * double, once, and what the others are away from it is small enough for float. */
#include "kernels/cuda/project.h"

namespace
{
enum {
    WARP = 32,
    THREADS = 256,
    WARPS = THREADS / WARP,
    ACROSS = 4, /* a block's warps in x; the others are in z */
    MIDDLE = WARP / 2,
    SUM_BLOCKS = 512
};

/* Where the middle row of a warp is seen (its first one, of shifted rows): whole columns
 * and rows, and fractions. */
struct origin {
    int column, row;
    float right, up;
};

struct slopes { /* per row */
    float u, v;
};

/* The four samples of one row: the first, and the weights of its neighbours. */
struct taps {
    int column, row;
    float right, up;
};

__device__ inline void split(double at, int *whole, float *fraction)
{
    at = at < -1e9 ? -1e9 : at > 1e9 ? 1e9 : at;
    double floored = floor(at);
    *whole = (int)floored;
    *fraction = (float)(at - floored);
}

template <bool SHIFTED>
__device__ inline origin find_origin(const tr_cuda_slab *s, const tr_ray *ray, double ix,
                                     double iz, double row)
{
    origin o;
    double base = tr_ray_base(ray->u0, ray->uz, iz);
    if (SHIFTED) {
        tr_ray_column(base, ray->ux, ix, tr_ray_last((double)s->n_u), &o.column,
                      &o.right);
        split(ray->v0 + ray->vz * iz, &o.row, &o.up);
        o.row += (int)row;
    } else {
        double r = row + MIDDLE;
        split(base + ray->ux * ix + ray->uy * r, &o.column, &o.right);
        split(ray->v0 + ray->vx * ix + ray->vz * iz + ray->vy * r, &o.row, &o.up);
    }
    return o;
}

/* Hold positions below 0 at 0 and from `last` on at last, as tr_ray_column does. */
__device__ inline void hold(int *whole, float *fraction, int last)
{
    if (*whole < 0 || *whole >= last) {
        *whole = *whole < 0 ? 0 : last;
        *fraction = 0.0f;
    }
}

__device__ inline taps find_taps(const tr_cuda_slab *s, origin o, slopes slope, int lane)
{
    taps t;
    float away = (float)(lane - MIDDLE);
    float u = o.right + slope.u * away, v = o.up + slope.v * away;
    float u_floor = floorf(u), v_floor = floorf(v);
    t.column = o.column + (int)u_floor;
    t.right = u - u_floor;
    t.row = o.row + (int)v_floor;
    t.up = v - v_floor;
    int top = (int)s->p_rows - 1;
    hold(&t.column, &t.right, (int)s->n_u + 1);
    hold(&t.row, &t.up, top);
    if (t.row == top) { /* it has no neighbour above: it is its neighbour's upper one */
        t.row--;
        t.up = 1.0f;
    }
    return t;
}

__device__ inline float sample(const tr_cuda_slab *s, const float *view, taps t)
{
    const float *a = view + (size_t)t.column * s->p_rows + t.row, *b = a + s->p_rows;
    float left = 1.0f - t.right;
    float low = left * __ldg(a) + t.right * __ldg(b);
    float high = left * __ldg(a + 1) + t.right * __ldg(b + 1);
    return (1.0f - t.up) * low + t.up * high;
}

/* Rows outside the slab do not contribute. */
__device__ inline float sample_shifted(const tr_cuda_slab *s, const float *view, origin o,
                                       int row)
{
    const int rows = (int)s->rows, at = o.row + row;
    const float *a = view + (size_t)o.column * s->rows, *b = a + s->rows;
    float left = 1.0f - o.right, low = 0.0f, high = 0.0f;
    if (at >= 0 && at < rows)
        low = left * __ldg(a + at) + o.right * __ldg(b + at);
    if (at + 1 >= 0 && at + 1 < rows)
        high = left * __ldg(a + at + 1) + o.right * __ldg(b + at + 1);
    return (1.0f - o.up) * low + o.up * high;
}

/* ---- backprojection ---- */

struct view_memory {
    origin origins[WARPS][WARP]; /* of the warp's voxel in the next 32 views */
    slopes slope[WARP];
    unsigned number[WARP];
};

struct place {
    size_t x, z, row; /* of the warp's voxel, and its first row */
    bool voxel, rows; /* is it in the volume, and this thread's row as well? */
};

__device__ place find_place(const tr_cuda_slab *s)
{
    unsigned b = blockIdx.x, warp = threadIdx.x / WARP;
    unsigned across = (unsigned)tr_cuda_parts(s->n_x, ACROSS);
    unsigned down = (unsigned)tr_cuda_parts(s->n_z, WARPS / ACROSS);
    place at;
    at.x = (size_t)(b % across) * ACROSS + warp % ACROSS;
    b /= across;
    at.z = (size_t)(b % down) * (WARPS / ACROSS) + warp / ACROSS;
    at.row = (size_t)(b / down) * WARP;
    at.voxel = at.x < s->n_x && at.z < s->n_z;
    at.rows = at.voxel && at.row + threadIdx.x % WARP < s->rows;
    return at;
}

template <bool SHIFTED>
__global__ void __launch_bounds__(THREADS)
    backproject_rows(tr_cuda_slab s, tr_cuda_rays rays, const float *__restrict__ p,
                     float *__restrict__ x)
{
    TR_SHARED(view_memory, memory);
    const place at = find_place(&s);
    const unsigned warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const size_t stride = tr_cuda_view_floats(&s);
    float sum = 0.0f;
    for (unsigned first = 0; first < rays.n; first += WARP) {
        unsigned n = tr_cuda_at_most(rays.n - first, WARP);
        __syncthreads();
        if (lane < n) {
            const tr_ray *ray = &rays.rays[first + lane];
            memory->origins[warp][lane] =
                find_origin<SHIFTED>(&s, ray, (double)at.x, (double)at.z, (double)at.row);
            if (warp == 0) {
                memory->slope[lane] = slopes{(float)ray->uy, (float)ray->vy};
                memory->number[lane] = rays.numbers[first + lane];
            }
        }
        __syncthreads();
        if (!at.rows)
            continue;
#pragma unroll 2
        for (unsigned k = 0; k < n; k++) {
            const float *view = p + memory->number[k] * stride;
            origin o = memory->origins[warp][k];
            sum += SHIFTED
                       ? sample_shifted(&s, view, o, (int)lane)
                       : sample(&s, view, find_taps(&s, o, memory->slope[k], (int)lane));
        }
    }
    if (at.rows)
        x[(at.z * s.n_x + at.x) * s.rows + at.row + lane] = sum;
}

/* ---- forward: additions in any order, in whole numbers, so that the order does not
 * show ---- */

struct fixed_point {
    double scale, inverse;
};

struct sum_memory {
    double parts[THREADS];
};

/* The sum of `mine` over a block in thread 0, and 0 in the others: no barrier follows its
 * last addition. */
__device__ double block_sum(double mine, sum_memory *memory)
{
    memory->parts[threadIdx.x] = mine;
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            memory->parts[threadIdx.x] += memory->parts[threadIdx.x + half];
    }
    return threadIdx.x == 0 ? memory->parts[0] : 0.0;
}

__global__ void sum_absolute(const float *__restrict__ x, size_t n,
                             double *__restrict__ sums)
{
    TR_SHARED(sum_memory, memory);
    double sum = 0.0;
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < n;
         i += (size_t)SUM_BLOCKS * THREADS)
        sum += fabsf(x[i]);
    sum = block_sum(sum, memory);
    if (threadIdx.x == 0)
        sums[blockIdx.x] = sum;
}

/* No sample can exceed the sum of all |x|: the power of two that keeps that below 2^62.
 * Where x is not finite, nothing of the result is. */
__global__ void choose_scale(const double *__restrict__ sums,
                             fixed_point *__restrict__ fixed)
{
    TR_SHARED(sum_memory, memory);
    double sum = block_sum(sums[threadIdx.x] + sums[threadIdx.x + THREADS], memory);
    if (threadIdx.x != 0)
        return;
    int exponent = 0;
    double mantissa = frexp(sum, &exponent);
    bool finite = mantissa - mantissa == 0.0;
    fixed->scale = finite ? ldexp(1.0, 61 - exponent) : 0.0;
    fixed->inverse = finite ? ldexp(1.0, exponent - 61) : mantissa - mantissa;
}

/* What neighbouring voxels along x add to the same four samples, summed up until the
 * walk leaves them. */
struct cell {
    int column, row;
    long long sums[2][2]; /* [right][up] */
};

__device__ inline void flush(const tr_cuda_slab *s, cell *c, int right,
                             unsigned long long *view)
{
    int column = c->column + right;
    if (column >= 1 && column <= (int)s->n_u) { /* the rest left the image */
        unsigned long long *to = view + (size_t)column * s->p_rows + c->row;
        if (c->sums[right][0] != 0)
            atomicAdd(to, (unsigned long long)c->sums[right][0]);
        if (c->sums[right][1] != 0)
            atomicAdd(to + 1, (unsigned long long)c->sums[right][1]);
    }
    c->sums[right][0] = c->sums[right][1] = 0;
}

__device__ inline void move(const tr_cuda_slab *s, cell *c, taps t,
                            unsigned long long *view)
{
    bool next = t.row == c->row && t.column == c->column + 1;
    bool previous = t.row == c->row && t.column == c->column - 1;
    if (t.row == c->row && t.column == c->column)
        return;
    if (!previous)
        flush(s, c, 0, view);
    if (!next)
        flush(s, c, 1, view);
    if (next || previous) {
#pragma unroll
        for (int up = 0; up < 2; up++) {
            long long kept = next ? c->sums[1][up] : c->sums[0][up];
            c->sums[0][up] = next ? kept : 0;
            c->sums[1][up] = next ? 0 : kept;
        }
    }
    c->column = t.column;
    c->row = t.row;
}

__device__ inline void add_taps(cell *c, taps t, float x, double scale)
{
    float low = (1.0f - t.up) * x, high = t.up * x, left = 1.0f - t.right;
    c->sums[0][0] += llrint((double)(left * low) * scale);
    c->sums[0][1] += llrint((double)(left * high) * scale);
    c->sums[1][0] += llrint((double)(t.right * low) * scale);
    c->sums[1][1] += llrint((double)(t.right * high) * scale);
}

struct line_memory {
    origin origins[WARPS][WARP]; /* of 32 voxels along x */
};

/* One view. A warp takes 32 rows of 32 voxels along x. */
__global__ void __launch_bounds__(THREADS)
    scatter_view(tr_cuda_slab s, const tr_ray *__restrict__ ray,
                 const fixed_point *__restrict__ fixed, const float *__restrict__ x,
                 unsigned long long *__restrict__ view)
{
    TR_SHARED(line_memory, memory);
    const unsigned warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const unsigned across = (unsigned)tr_cuda_parts(s.n_x, WARP);
    const unsigned up = (unsigned)tr_cuda_parts(s.rows, WARP);
    unsigned b = blockIdx.x;
    const size_t row = (size_t)(b % up) * WARP;
    b /= up;
    const size_t x0 = (size_t)(b % across) * WARP;
    const size_t iz = (size_t)(b / across) * WARPS + warp;
    memory->origins[warp][lane] =
        find_origin<false>(&s, ray, (double)(x0 + lane), (double)iz, (double)row);
    __syncthreads();
    if (iz >= s.n_z || row + lane >= s.rows)
        return;
    const slopes slope = {(float)ray->uy, (float)ray->vy};
    const double scale = fixed->scale;
    unsigned n = tr_cuda_at_most((unsigned)(s.n_x - x0), WARP);
    const float *from = x + (iz * s.n_x + x0) * s.rows + row + lane;
    cell here = {0, 0, {{0, 0}, {0, 0}}};
    for (unsigned i = 0; i < n; i++) {
        taps t = find_taps(&s, memory->origins[warp][i], slope, (int)lane);
        move(&s, &here, t, view);
        add_taps(&here, t, __ldg(from + i * s.rows), scale);
    }
    flush(&s, &here, 0, view);
    flush(&s, &here, 1, view);
}

__global__ void write_view(tr_cuda_slab s, const fixed_point *__restrict__ fixed,
                           const unsigned long long *__restrict__ view,
                           float *__restrict__ p)
{
    const size_t n = tr_cuda_view_floats(&s), left = s.p_rows;
    const size_t right = (s.n_u + 1) * s.p_rows;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n;
         i += (size_t)gridDim.x * blockDim.x)
        p[i] = i >= left && i < right
                   ? (float)((double)(long long)view[i] * fixed->inverse)
                   : 0.0f;
}

} // namespace

tr_status tr_cuda_general_scale(tr_cuda *c, const tr_slab *s, const float *x,
                                void **scale)
{
    TR_TRY(tr_cuda_scratch(c, TR_SCRATCH_PARTS,
                           sizeof(fixed_point) + SUM_BLOCKS * sizeof(double), scale));
    fixed_point *fixed = (fixed_point *)*scale;
    double *sums = (double *)(fixed + 1);
    TR_LAUNCH(sum_absolute, dim3(SUM_BLOCKS), dim3(THREADS), sizeof(sum_memory),
              c->compute, x, tr_core_lines(s) * s->rows, sums);
    TR_TRY(tr_cuda_launched("sum_absolute"));
    TR_LAUNCH(choose_scale, dim3(1), dim3(THREADS), sizeof(sum_memory), c->compute, sums,
              fixed);
    return tr_cuda_launched("choose_scale");
}

tr_status tr_cuda_general_add(tr_cuda *c, const tr_slab *s, const tr_ray *ray,
                              const void *scale, const float *x, unsigned long long *view)
{
    dim3 grid;
    TR_TRY(tr_cuda_grid(tr_cuda_parts(s->n_x, WARP) * tr_cuda_parts(s->n_z, WARPS) *
                            tr_cuda_parts(s->rows, WARP),
                        &grid));
    TR_LAUNCH(scatter_view, grid, dim3(THREADS), sizeof(line_memory), c->compute,
              tr_cuda_slab_of(s), ray, (const fixed_point *)scale, x, view);
    return tr_cuda_launched("scatter_view");
}

tr_status tr_cuda_general_write(tr_cuda *c, const tr_slab *s, const void *scale,
                                const unsigned long long *view, float *p)
{
    const tr_cuda_slab shape = tr_cuda_slab_of(s);
    TR_LAUNCH(write_view, dim3(tr_cuda_blocks(c, tr_cuda_view_floats(&shape), THREADS)),
              dim3(THREADS), 0, c->compute, shape, (const fixed_point *)scale, view, p);
    return tr_cuda_launched("write_view");
}

tr_status tr_cuda_general_backproject(tr_cuda *c, const tr_slab *s,
                                      const tr_cuda_rays *rays, bool shifted,
                                      const float *p, float *x)
{
    auto *kernel = shifted ? backproject_rows<true> : backproject_rows<false>;
    dim3 grid;
    TR_TRY(tr_cuda_grid(tr_cuda_parts(s->n_x, ACROSS) *
                            tr_cuda_parts(s->n_z, WARPS / ACROSS) *
                            tr_cuda_parts(s->rows, WARP),
                        &grid));
    TR_LAUNCH(kernel, grid, dim3(THREADS), sizeof(view_memory), c->compute,
              tr_cuda_slab_of(s), *rays, p, x);
    return tr_cuda_launched("backproject_rows");
}

tr_status tr_cuda_general_project(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                                  const tr_cuda_rays *rays, const float *x, float *p)
{
    const tr_cuda_slab shape = tr_cuda_slab_of(s);
    const size_t n = tr_cuda_view_floats(&shape);
    void *scale, *memory;
    TR_TRY(tr_cuda_general_scale(c, s, x, &scale));
    TR_TRY(tr_cuda_scratch(c, TR_SCRATCH_WORK, n * sizeof(unsigned long long), &memory));
    unsigned long long *view = (unsigned long long *)memory;
    for (unsigned k = 0; k < rays->n; k++) {
        TR_CUDA("clear a view", cudaMemsetAsync(view, 0, n * sizeof *view, c->compute));
        TR_TRY(tr_cuda_general_add(c, s, rays->rays + k, scale, x, view));
        TR_TRY(
            tr_cuda_general_write(c, s, scale, view, p + tr_cuda_view_at(views, k) * n));
    }
    return TR_OK;
}
