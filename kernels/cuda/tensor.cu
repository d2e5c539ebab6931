/* Backprojection of independent rows by tensor cores: a warp takes SQUARE x SQUARE voxels
 * (the 16 rows of a product) by 128 rows of the slab (its columns) and sums, over 8
 * columns each of two views at a time, weights times projections. Both are split into two
 * halves, whose three larger products are added: 22 bits. Each row of the slab is scaled
 * by a power of two of its own first, so that halves hold it, whatever the other rows
 * are. Tiles and their views are those of tile.cu. */
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/tile.h"

namespace
{
enum {
    THREADS = 512,
    WARPS = THREADS / WARP,
    SQUARE = 4,
    WINDOW = 8, /* columns of a view under a square: 2 + 3 (|ux| + |uz|) at most */
    VIEWS = 2,  /* of a product */
    PARTS = 2,  /* of a number: upper and lower half */
    PITCH = (WARP_ROWS + 8) / 2, /* pairs of halves: matrices in different banks */
    BLOCKS = 64,                 /* that look for a row's largest value */
    LARGEST = 15                 /* numbers are scaled to below 2 to the power of this */
};
static_assert(WARPS == SIDE / SQUARE * (SIDE / SQUARE), "a warp has a square");

/* ---- the scale of each row ---- */

struct peak_memory {
    float4 peaks[WARPS][WARP];
};

__device__ inline void raise(float4 *peak, float4 v)
{
    peak->x = fmaxf(peak->x, fabsf(v.x));
    peak->y = fmaxf(peak->y, fabsf(v.y));
    peak->z = fmaxf(peak->z, fabsf(v.z));
    peak->w = fmaxf(peak->w, fabsf(v.w));
}

/* Of each row the largest value in the lines that a block looks at. */
__global__ void __launch_bounds__(THREADS)
    find_peaks(tr_cuda_slab s, tr_cuda_rays rays, const float *__restrict__ p,
               float *__restrict__ peaks)
{
    TR_SHARED(peak_memory, memory);
    const unsigned warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const size_t columns = s.n_u + TR_GUARDS, lines = rays.n * columns;
    const size_t row = (size_t)(blockIdx.x / BLOCKS) * WARP_ROWS + lane * LANE_ROWS;
    float4 peak = zero4();
    for (size_t l = blockIdx.x % BLOCKS * WARPS + warp; l < lines && row < s.rows;
         l += BLOCKS * WARPS) {
        size_t line = rays.numbers[l / columns] * columns + l % columns;
        raise(&peak, __ldg(reinterpret_cast<const float4 *>(p + line * s.rows + row)));
    }
    memory->peaks[warp][lane] = peak;
    __syncthreads();
    if (warp > 0 || row >= s.rows)
        return;
    for (int w = 1; w < WARPS; w++)
        raise(&peak, memory->peaks[w][lane]);
    *reinterpret_cast<float4 *>(peaks + blockIdx.x % BLOCKS * s.rows + row) = peak;
}

/* What the row's values are multiplied by, and the results. */
__global__ void find_scales(size_t rows, const float *__restrict__ peaks,
                            float2 *__restrict__ scales)
{
    const size_t row = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows)
        return;
    float peak = 0.0f;
    for (int b = 0; b < BLOCKS; b++)
        peak = fmaxf(peak, peaks[b * rows + row]);
    int exponent = LARGEST;
    if (peak > 0.0f && peak - peak == 0.0f)
        frexpf(peak, &exponent);
    exponent = exponent > -100 ? exponent : -100;
    scales[row] =
        make_float2(ldexpf(1.0f, LARGEST - exponent), ldexpf(1.0f, exponent - LARGEST));
}

/* ---- backprojection ---- */

struct stage { /* of two views: columns of 128 rows */
    uint2 halves[PARTS][VIEWS][COLUMNS][PITCH / 2];
};

struct tensor_memory {
    stage stages[2];
    float scale[WARP_ROWS], inverse[WARP_ROWS];
    shadow shadows[SHADOWS];
};

/* This thread's part of two views, on the way while the ones before are computed. */
struct fetched {
    float4 part[VIEWS][2];
};

__device__ inline void fetch(const float *from, size_t further, bool rows,
                             const shadow *v, fetched *to)
{
    const int column = rows ? (int)threadIdx.x / WARP : COLUMNS;
#pragma unroll
    for (int k = 0; k < VIEWS; k++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            to->part[k][i] = zero4();
            if (column + i * WARPS < v[k].n)
                to->part[k][i] = __ldg(reinterpret_cast<const float4 *>(
                    from + v[k].at + (size_t)i * further));
        }
}

/* Columns beyond those under the tile become 0. */
__device__ inline void store(const fetched *from, const float *scale, stage *to)
{
    const int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    const float4 by = reinterpret_cast<const float4 *>(scale)[lane];
#pragma unroll
    for (int k = 0; k < VIEWS; k++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int column = warp + i * WARPS;
            const float4 v = from->part[k][i];
            uint2 upper, lower;
            tr_split(v.x * by.x, v.y * by.y, &upper.x, &lower.x);
            tr_split(v.z * by.z, v.w * by.w, &upper.y, &lower.y);
            if (column < COLUMNS) {
                to->halves[0][k][column][lane] = upper;
                to->halves[1][k][column][lane] = lower;
            }
        }
}

/* How much a voxel adds to a column so far away. */
__device__ inline float hat(float distance)
{
    return __saturatef(1.0f - fabsf(distance));
}

/* The weights of this warp's square in one view, as rows lane / 4 and that plus 8 of a
 * product's left matrix; the first column of the window. A position that is rounded lies
 * no further down than that of the corner, as roundings keep order. */
__device__ inline int find_weights(const shadow *v, unsigned *upper, unsigned *lower)
{
    const int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    const int x = warp % (SIDE / SQUARE) * SQUARE, z = warp / (SIDE / SQUARE) * SQUARE;
    const int near_x = v->ux < 0.0f ? SQUARE - 1 : 0;
    const int near_z = v->uz < 0.0f ? SQUARE - 1 : 0;
    int first = (int)find_position(v, x + near_x, z + near_z);
    first = first < 0 ? 0 : first < COLUMNS - WINDOW ? first : COLUMNS - WINDOW;
    const float column = (float)(first + lane % 4 * 2);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int voxel = lane / 4 + 8 * i;
        float at = find_position(v, x + voxel % SQUARE, z + voxel / SQUARE) - column;
        tr_split(hat(at), hat(at - 1.0f), &upper[i], &lower[i]);
    }
    return first;
}

__device__ inline void add_views(const stage *from, const shadow *v, float (*sums)[4])
{
    const int lane = (int)threadIdx.x % WARP, view = lane / 8 % VIEWS;
    unsigned upper[4], lower[4];
    const int first[VIEWS] = {find_weights(&v[0], &upper[0], &lower[0]),
                              find_weights(&v[1], &upper[2], &lower[2])};
    const int column = (view ? first[1] : first[0]) + lane % 8;
    const unsigned *row = &from->halves[0][view][column][lane / 16 * 2].x;
    const unsigned *row_below = &from->halves[1][view][column][lane / 16 * 2].x;
#pragma unroll
    for (int i = 0; i < WARP_ROWS / 16; i++) { /* by 16 rows of the slab */
        unsigned halves[4];
        /* Tensor cores cut off what does not fit when they add, float additions round: so
         * products start from 0 each time, or the cuts of many views would add up. */
        float products[2][4] = {};
        tr_load_matrices(halves, row_below + i * 8);
        tr_multiply_add(products[0], upper, halves);
        tr_multiply_add(products[1], upper, halves + 2);
        tr_load_matrices(halves, row + i * 8);
        tr_multiply_add(products[0], lower, halves);
        tr_multiply_add(products[1], lower, halves + 2);
        tr_multiply_add(products[0], upper, halves);
        tr_multiply_add(products[1], upper, halves + 2);
#pragma unroll
        for (int k = 0; k < 8; k++)
            sums[2 * i + k / 4][k % 4] += products[k / 4][k % 4];
    }
}

__device__ inline void write_square(const tr_cuda_slab *s, const tile *t,
                                    const float *inverse, float (*sums)[4], float *x)
{
    const int warp = (int)threadIdx.x / WARP, lane = (int)threadIdx.x % WARP;
    const size_t first = t->row - (size_t)lane * LANE_ROWS; /* of the block */
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int voxel = lane / 4 + 8 * half;
        const int ix = t->x + warp % (SIDE / SQUARE) * SQUARE + voxel % SQUARE;
        const int iz = t->z + warp / (SIDE / SQUARE) * SQUARE + voxel / SQUARE;
        if (ix >= (int)s->n_x || iz >= (int)s->n_z)
            continue;
        float *to = x + ((size_t)iz * s->n_x + (size_t)ix) * s->rows + first;
#pragma unroll
        for (int i = 0; i < WARP_ROWS / 8; i++) {
            const int row = i * 8 + lane % 4 * 2;
            float2 sum = make_float2(sums[i][2 * half] * inverse[row],
                                     sums[i][2 * half + 1] * inverse[row + 1]);
            if (first + (size_t)row < s->rows)
                __stcs(reinterpret_cast<float2 *>(to + row), sum);
        }
    }
}

/* The views under the tile from `first` on; where they are odd, one more that sees
 * nothing. */
__device__ inline void find_shadows(const tr_cuda_slab *s, const tr_cuda_rays *rays,
                                    unsigned first, int n, const tile *t, shadow *to)
{
    const shadow nothing = {0, 0, 0, -2.0f, 0.0f, 0.0f, -2.0f, 0};
    if ((int)threadIdx.x < n)
        to[threadIdx.x] = find_shadow(s, &rays->rays[first + threadIdx.x],
                                      rays->numbers[first + threadIdx.x], t);
    else if ((int)threadIdx.x == n && n % 2 != 0)
        to[n] = nothing;
}

__global__ void __launch_bounds__(THREADS, 1)
    backproject_squares(tr_cuda_slab s, tr_cuda_rays rays,
                        const float2 *__restrict__ scales, const float *__restrict__ p,
                        float *__restrict__ x)
{
    TR_SHARED(tensor_memory, memory);
    const tile t = find_tile(&s);
    const float *from = p + threadIdx.x / WARP * s.rows + t.row;
    float sums[WARP_ROWS / 8][4];
#pragma unroll
    for (int i = 0; i < WARP_ROWS / 8; i++)
        sums[i][0] = sums[i][1] = sums[i][2] = sums[i][3] = 0.0f;
    if (threadIdx.x < WARP_ROWS) {
        size_t row = t.row - threadIdx.x % WARP * LANE_ROWS + threadIdx.x;
        float2 both = row < s.rows ? scales[row] : make_float2(1.0f, 1.0f);
        memory->scale[threadIdx.x] = both.x;
        memory->inverse[threadIdx.x] = both.y;
    }
    for (unsigned first = 0; first < rays.n; first += SHADOWS) {
        const int n = (int)tr_cuda_at_most(rays.n - first, SHADOWS);
        find_shadows(&s, &rays, first, n, &t, memory->shadows);
        __syncthreads();
        /* Each round gets two views and computes the two before. */
        for (int k = -VIEWS; k < n; k += VIEWS) {
            fetched next;
            if (k + VIEWS < n)
                fetch(from, WARPS * s.rows, t.rows, &memory->shadows[k + VIEWS], &next);
            if (k >= 0)
                add_views(&memory->stages[k / VIEWS & 1], &memory->shadows[k], sums);
            if (k + VIEWS < n)
                store(&next, memory->scale, &memory->stages[(k / VIEWS + 1) & 1]);
            __syncthreads();
        }
    }
    write_square(&s, &t, memory->inverse, sums, x);
}

tr_status find_row_scales(tr_cuda *c, const tr_cuda_slab *s, const tr_cuda_rays *rays,
                          const float *p, float2 **scales)
{
    enum { SCALE_THREADS = 128 };
    void *memory;
    dim3 grid;
    TR_TRY(tr_cuda_grid(BLOCKS * tr_cuda_parts(s->rows, WARP_ROWS), &grid));
    TR_TRY(tr_cuda_scratch(c, TR_SCRATCH_PARTS,
                           s->rows * (sizeof **scales + BLOCKS * sizeof *p), &memory));
    *scales = (float2 *)memory;
    float *peaks = (float *)(*scales + s->rows);
    TR_LAUNCH(find_peaks, grid, dim3(THREADS), sizeof(peak_memory), c->compute, *s, *rays,
              p, peaks);
    TR_TRY(tr_cuda_launched("find_peaks"));
    TR_LAUNCH(find_scales, dim3((unsigned)tr_cuda_parts(s->rows, SCALE_THREADS)),
              dim3(SCALE_THREADS), 0, c->compute, s->rows, peaks, *scales);
    return tr_cuda_launched("find_scales");
}
} // namespace

tr_status tr_cuda_tensor_check(const tr_cuda *c)
{
    const cudaDeviceProp *p = &c->properties;
    cudaFuncAttributes code;
    TR_CUDA("load the tensor kernel", cudaFuncGetAttributes(&code, backproject_squares));
    if (p->major >= 8 && code.ptxVersion < 80)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "--kernel tensor needs code for compute capability 8.0 or later, "
                       "and this program was built for %.1f: build it with "
                       "-DCMAKE_CUDA_ARCHITECTURES=%d%d, or use --kernel tile",
                       code.ptxVersion / 10.0, p->major, p->minor);
    if (p->major >= 8 && p->sharedMemPerBlockOptin >= sizeof(tensor_memory))
        return TR_OK;
    return tr_fail(TR_ERR_UNAVAILABLE,
                   "--kernel tensor needs tensor cores of compute capability 8.0 or "
                   "later, and this GPU (%.100s) has %.1f; use --kernel tile",
                   p->name, p->major + p->minor / 10.0);
}

tr_status tr_cuda_tensor_backproject(tr_cuda *c, const tr_slab *s,
                                     const tr_cuda_rays *rays, const float *p, float *x)
{
    const tr_cuda_slab shape = tr_cuda_slab_of(s);
    float2 *scales;
    dim3 grid;
    TR_TRY(tr_cuda_grid(tr_cuda_parts(s->n_x, SIDE) * tr_cuda_parts(s->n_z, SIDE) *
                            tr_cuda_parts(s->rows, WARP_ROWS),
                        &grid));
    TR_TRY(find_row_scales(c, &shape, rays, p, &scales));
    TR_CUDA("give a kernel its shared memory",
            cudaFuncSetAttribute(backproject_squares,
                                 cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 (int)sizeof(tensor_memory)));
    c->blocks = grid.x;
    c->threads = THREADS;
    TR_LAUNCH(backproject_squares, grid, dim3(THREADS), sizeof(tensor_memory), c->compute,
              shape, *rays, scales, p, x);
    return tr_cuda_launched("backproject_squares");
}
