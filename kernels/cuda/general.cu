/* Projectors for rays that couple rows: four samples for each voxel, row and view; and
 * backprojection for views that shift the rows. A warp works on 32 neighbouring rows of
 * one voxel after the other; origins are of the middle one of them. */
#include "kernels/cuda/origin.h"

namespace
{
enum { SUM_BLOCKS = 512 };

/* The four samples of one row: the first, and the weights of its neighbours. */
struct taps {
    int column, row;
    float right, up;
};

/* Hold positions below 0 at 0 and from `last` on at last, as tr_ray_column does. */
__device__ inline void hold(int *whole, float *fraction, int last)
{
    if (*whole < 0 || *whole >= last) {
        *whole = *whole < 0 ? 0 : last;
        *fraction = 0.0f;
    }
}

__device__ inline taps find_taps(const tr_cuda_slab *s, origin o, float uy, float vy,
                                 int lane)
{
    const float away = (float)(lane - MIDDLE);
    taps t = {o.column, o.row, fmaf(uy, away, o.right), fmaf(vy, away, o.up)};
    carry(&t.column, &t.right);
    carry(&t.row, &t.up);
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
                                       int lane)
{
    const int rows = (int)s->rows, at = o.row + lane - MIDDLE;
    const float *a = view + (size_t)o.column * s->rows, *b = a + s->rows;
    float left = 1.0f - o.right, low = 0.0f, high = 0.0f;
    if (at >= 0 && at < rows)
        low = left * __ldg(a + at) + o.right * __ldg(b + at);
    if (at + 1 >= 0 && at + 1 < rows)
        high = left * __ldg(a + at + 1) + o.right * __ldg(b + at + 1);
    return (1.0f - o.up) * low + o.up * high;
}

/* How much further a voxel of one view is seen, bilinear in x and row. */
__device__ inline origin add_offsets(const tr_cuda_offsets *g, unsigned view, size_t x,
                                     size_t z, size_t lane, origin o)
{
    const unsigned step = TR_OFFSET_STEP, cx = (unsigned)x / step;
    const unsigned row = g->first + (unsigned)lane, cy = row / step;
    const unsigned x0 = tr_cuda_at_most(cx, g->n_x - 1);
    const unsigned x1 = tr_cuda_at_most(cx + 1, g->n_x - 1);
    const unsigned y0 = tr_cuda_at_most(cy, g->n_y - 1);
    const unsigned y1 = tr_cuda_at_most(cy + 1, g->n_y - 1);
    const float right = (float)(x % step) / step, up = (float)(row % step) / step;
    const float *lower = g->grid + (size_t)(view * g->n_y + y0) * g->n_x * 4;
    const float *upper = g->grid + (size_t)(view * g->n_y + y1) * g->n_x * 4;
    float sums[4];
#pragma unroll
    for (int m = 0; m < 4; m++) {
        float low = (1.0f - right) * lower[4 * x0 + m] + right * lower[4 * x1 + m];
        float high = (1.0f - right) * upper[4 * x0 + m] + right * upper[4 * x1 + m];
        sums[m] = (1.0f - up) * low + up * high;
    }
    const float away = g->z_first + (float)z;
    o.right += fmaf(away, sums[1], sums[0]);
    o.up += fmaf(away, sums[3], sums[2]);
    return o;
}

/* ---- backprojection ---- */

struct view_memory {             /* of the next 32 views */
    view_origin views[WARP];     /* of the block's first voxel */
    origin origins[WARPS][WARP]; /* of the warps' voxels */
    unsigned number[WARP];
};

/* Of shifted rows nothing is added any more. */
template <bool SHIFTED>
__device__ inline origin hold_shifted(const tr_cuda_slab *s, origin o)
{
    if (SHIFTED) {
        carry(&o.column, &o.right);
        carry(&o.row, &o.up);
        hold(&o.column, &o.right, (int)s->n_u + 1);
    }
    return o;
}

template <bool SHIFTED, bool OFFSETS>
__global__ void __launch_bounds__(THREADS)
    backproject_rows(tr_cuda_slab s, tr_cuda_rays rays, tr_cuda_offsets offsets,
                     const float *__restrict__ p, float *__restrict__ x)
{
    TR_SHARED(view_memory, memory);
    const place at = find_place(&s);
    const unsigned warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const size_t stride = tr_cuda_view_floats(&s);
    float sum = 0.0f;
    for (unsigned first = 0; first < rays.n; first += WARP) {
        unsigned n = tr_cuda_at_most(rays.n - first, WARP);
        __syncthreads();
        find_views(rays.rays + first, n, &at, memory->views);
        if (threadIdx.x < n)
            memory->number[lane] = tr_cuda_image(&rays, first + lane, at.x, at.z, at.row);
        __syncthreads();
        if (lane < n)
            memory->origins[warp][lane] =
                hold_shifted<SHIFTED>(&s, find_origin(&memory->views[lane], warp));
        __syncwarp();
        if (!at.rows)
            continue;
#pragma unroll 2
        for (unsigned k = 0; k < n; k++) {
            unsigned image = memory->number[k];
            if (SHIFTED && rays.bands) /* each row may be of another depth */
                image = tr_cuda_image(&rays, first + k, at.x, at.z, at.row + lane);
            const float *view = p + image * stride;
            const view_origin *of = &memory->views[k];
            origin o = memory->origins[warp][k];
            if (OFFSETS)
                o = add_offsets(&offsets, memory->number[k], at.x, at.z, at.row + lane,
                                o);
            sum += SHIFTED
                       ? sample_shifted(&s, view, o, (int)lane)
                       : sample(&s, view, find_taps(&s, o, of->uy, of->vy, (int)lane));
        }
    }
    if (at.rows)
        x[(at.z * s.n_x + at.x) * s.rows + at.row + lane] = sum;
}

/* ---- forward: additions in any order, in whole numbers, so that the order does not
 * show ---- */

struct fixed_point {
    float scale[2]; /* two factors, as a float may have no room for their product */
    double inverse;
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
    const int half = (61 - exponent) / 2;
    fixed->scale[0] = finite ? ldexpf(1.0f, half) : 0.0f;
    fixed->scale[1] = finite ? ldexpf(1.0f, 61 - exponent - half) : 0.0f;
    fixed->inverse = finite ? ldexp(1.0, exponent - 61) : mantissa - mantissa;
}

/* What neighbouring voxels along x add to the same four samples, summed up in their order
 * until the walk leaves them; only then in whole numbers. */
struct cell {
    int column, row;
    float sums[2][2]; /* [right][up] */
};

/* To the nearest whole number below 2^62, of two that fit in 32 bits: GPUs convert to 64
 * as slowly as they compute in double. */
__device__ inline long long to_fixed(float value)
{
    const int high = __float2int_rn(value * 0x1p-31f);
    const int low = __float2int_rn(fmaf((float)high, -0x1p31f, value));
    return (long long)high * 0x80000000ll + low;
}

__device__ inline void add_fixed(unsigned long long *to, float value)
{
    if (value != 0.0f)
        atomicAdd(to, (unsigned long long)to_fixed(value));
}

__device__ inline void flush(const tr_cuda_slab *s, cell *c, int right,
                             unsigned long long *view)
{
    int column = c->column + right;
    if (column >= 1 && column <= (int)s->n_u) { /* the rest left the image */
        unsigned long long *to = view + (size_t)column * s->p_rows + c->row;
        add_fixed(to, c->sums[right][0]);
        add_fixed(to + 1, c->sums[right][1]);
    }
    c->sums[right][0] = c->sums[right][1] = 0.0f;
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
            float kept = next ? c->sums[1][up] : c->sums[0][up];
            c->sums[0][up] = next ? kept : 0.0f;
            c->sums[1][up] = next ? 0.0f : kept;
        }
    }
    c->column = t.column;
    c->row = t.row;
}

__device__ inline void add_taps(cell *c, taps t, float x)
{
    float low = (1.0f - t.up) * x, high = t.up * x, left = 1.0f - t.right;
    c->sums[0][0] += left * low;
    c->sums[0][1] += left * high;
    c->sums[1][0] += t.right * low;
    c->sums[1][1] += t.right * high;
}

struct line_memory {
    view_origin view;            /* of the block's middle voxel */
    origin origins[WARPS][WARP]; /* of 32 voxels along x */
};

/* One view, the k-th. A warp takes 32 rows of 32 voxels along x. */
template <bool OFFSETS>
__global__ void __launch_bounds__(THREADS)
    scatter_view(tr_cuda_slab s, tr_cuda_rays rays, unsigned k, tr_cuda_offsets offsets,
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
    const size_t z0 = (size_t)(b / across) * WARPS, iz = z0 + warp;
    if (threadIdx.x == 0)
        memory->view =
            find_view_origin(rays.rays + k, x0 + WARP / 2, z0 + WARPS / 2, row + MIDDLE);
    __syncthreads();
    memory->origins[warp][lane] =
        move_origin(&memory->view, (int)lane - WARP / 2, (int)warp - WARPS / 2);
    __syncwarp();
    if (iz >= s.n_z || row + lane >= s.rows)
        return;
    const float uy = memory->view.uy, vy = memory->view.vy;
    const float scale[2] = {fixed->scale[0], fixed->scale[1]};
    unsigned n = tr_cuda_at_most((unsigned)(s.n_x - x0), WARP);
    const float *from = x + (iz * s.n_x + x0) * s.rows + row + lane;
    const unsigned number = OFFSETS ? rays.numbers[k] : 0;
    cell here = {0, 0, {{0.0f, 0.0f}, {0.0f, 0.0f}}};
    for (unsigned i = 0; i < n; i++) {
        origin o = memory->origins[warp][i];
        if (OFFSETS)
            o = add_offsets(&offsets, number, x0 + i, iz, row + lane, o);
        taps t = find_taps(&s, o, uy, vy, (int)lane);
        move(&s, &here, t, view);
        add_taps(&here, t, __ldg(from + i * s.rows) * scale[0] * scale[1]);
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

tr_status tr_cuda_get_offsets(tr_cuda *c, const tr_slab *s, tr_cuda_offsets *offsets)
{
    const tr_offsets *g = s->offsets;
    void *grid;
    *offsets = {};
    if (!g)
        return TR_OK;
    TR_TRY(tr_cuda_put(c, TR_SCRATCH_OFFSETS, g->grid,
                       s->n_views * g->n_x * g->n_y * 4 * sizeof *g->grid, &grid));
    *offsets = {(const float *)grid, (unsigned)g->n_x, (unsigned)g->n_y,
                (unsigned)s->first, (float)g->z_first};
    return TR_OK;
}

tr_status tr_cuda_general_add(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                              unsigned k, const tr_cuda_offsets *offsets,
                              const void *scale, const float *x, unsigned long long *view)
{
    auto *kernel = offsets->grid ? scatter_view<true> : scatter_view<false>;
    dim3 grid;
    TR_TRY(tr_cuda_grid(tr_cuda_parts(s->n_x, WARP) * tr_cuda_parts(s->n_z, WARPS) *
                            tr_cuda_parts(s->rows, WARP),
                        &grid));
    TR_LAUNCH(kernel, grid, dim3(THREADS), sizeof(line_memory), c->compute,
              tr_cuda_slab_of(s), *rays, k, *offsets, (const fixed_point *)scale, x,
              view);
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
    tr_cuda_offsets offsets;
    TR_TRY(tr_cuda_get_offsets(c, s, &offsets));
    auto *kernel = shifted        ? backproject_rows<true, false>
                   : offsets.grid ? backproject_rows<false, true>
                                  : backproject_rows<false, false>;
    dim3 grid;
    TR_TRY(tr_cuda_grid(tr_cuda_parts(s->n_x, ACROSS) *
                            tr_cuda_parts(s->n_z, WARPS / ACROSS) *
                            tr_cuda_parts(s->rows, WARP),
                        &grid));
    TR_LAUNCH(kernel, grid, dim3(THREADS), sizeof(view_memory), c->compute,
              tr_cuda_slab_of(s), *rays, offsets, p, x);
    return tr_cuda_launched("backproject_rows");
}

tr_status tr_cuda_general_project(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                                  const tr_cuda_rays *rays, const float *x, float *p)
{
    const tr_cuda_slab shape = tr_cuda_slab_of(s);
    const size_t n = tr_cuda_view_floats(&shape);
    void *scale, *memory;
    tr_cuda_offsets offsets;
    TR_TRY(tr_cuda_get_offsets(c, s, &offsets));
    TR_TRY(tr_cuda_general_scale(c, s, x, &scale));
    TR_TRY(tr_cuda_scratch(c, TR_SCRATCH_WORK, n * sizeof(unsigned long long), &memory));
    unsigned long long *view = (unsigned long long *)memory;
    for (unsigned k = 0; k < rays->n; k++) {
        TR_CUDA("clear a view", cudaMemsetAsync(view, 0, n * sizeof *view, c->compute));
        TR_TRY(tr_cuda_general_add(c, s, rays, k, &offsets, scale, x, view));
        TR_TRY(tr_cuda_general_write(c, s, scale, view, p + tr_view_at(views, k) * n));
    }
    return TR_OK;
}
