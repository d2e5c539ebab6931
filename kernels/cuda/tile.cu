/* Backprojection of independent rows: a block takes SIDE x SIDE voxels, a warp one x of
 * them with all z in registers, and one view after the other. The columns under the tile
 * are copied to shared memory while the view before is computed. A warp that walks along
 * z keeps the even and the odd one of the two columns it is between, and reads one only
 * when it comes to the next: nothing is moved, and no lane goes another way. */
#include <cuda_pipeline_primitives.h>

#include "kernels/cuda/tile.h"

namespace
{
enum { THREADS = 512, WARPS = THREADS / WARP };
static_assert(TR_BAND_SIDE % SIDE == 0, "a tile is in one block of depth");

struct walk {       /* of one x through a view: along z */
    int first;      /* column */
    unsigned loads; /* before which z another column comes: even ones; << SIDE odd ones */
};

struct stage { /* of one view */
    float4 columns[COLUMNS * WARP];
    float2 weights[SIDE * SIDE]; /* of the even and the odd column; z runs fastest */
    walk walks[SIDE];
};

struct tile_memory {
    stage stages[2];
    shadow shadows[SHADOWS];
};

/* The first of the two columns that a voxel of the tile is seen in, and the weight of the
 * second. */
__device__ inline int find_column(const shadow *v, int x, int z, float *fraction)
{
    const float at = find_position(v, x, z);
    int column = (int)at;
    column = column < v->n - 2 ? column : v->n - 2;
    *fraction = at - (float)column;
    return column;
}

__device__ inline int even_of(int column) { return (column + 1) & ~1; }
__device__ inline int odd_of(int column) { return column | 1; }

/* Weights and walks of a view, a voxel each, by whole warps of the first SIDE * SIDE
 * threads. */
__device__ void find_walks(const shadow *v, stage *to)
{
    const int voxel = (int)threadIdx.x, x = voxel / SIDE, z = voxel % SIDE;
    float fraction, ignored;
    int column = find_column(v, x, z, &fraction);
    int before = find_column(v, x, z - 1, &ignored);
    before = z > 0 ? before : column;
    float rest = 1.0f - fraction;
    to->weights[voxel] =
        column % 2 == 0 ? make_float2(rest, fraction) : make_float2(fraction, rest);
    unsigned even = __ballot_sync(all_lanes, even_of(column) != even_of(before));
    unsigned odd = __ballot_sync(all_lanes, odd_of(column) != odd_of(before));
    if (z == 0) {
        unsigned mine = (1u << SIDE) - 1, shift = threadIdx.x % WARP;
        to->walks[x].first = column;
        to->walks[x].loads = (even >> shift & mine) | (odd >> shift & mine) << SIDE;
    }
}

/* This thread's part of the columns sets out. What lanes without rows compute is not
 * written: they need none. */
__device__ inline void fetch(const float *from, size_t further, const tile *t,
                             const shadow *v, stage *to)
{
    const int column = t->rows ? (int)threadIdx.x / WARP : COLUMNS;
    from += v->at;
    if (column < v->n)
        __pipeline_memcpy_async(&to->columns[threadIdx.x], from, sizeof(float4));
    if (column + WARPS < v->n)
        __pipeline_memcpy_async(&to->columns[threadIdx.x + THREADS], from + further,
                                sizeof(float4));
    __pipeline_commit();
}

/* A step in z by at most 5/3 columns, as no more fit under a tile, takes either column no
 * further than to the next of its kind. */
__device__ inline void add_view(const stage *from, int forth, float4 *sums)
{
    const int warp = (int)threadIdx.x / WARP;
    const walk w = from->walks[warp];
    const float4 *columns = from->columns + threadIdx.x % WARP;
    const float4 *weights = reinterpret_cast<const float4 *>(from->weights + warp * SIDE);
    const float4 *even_at = columns + even_of(w.first) * WARP;
    const float4 *odd_at = columns + odd_of(w.first) * WARP;
    float4 even = *even_at, odd = *odd_at;
#pragma unroll
    for (int z = 0; z < SIDE; z += 2) {
        const float4 weight = weights[z / 2];
#pragma unroll
        for (int i = z; i < z + 2; i++) {
            if (i > 0 && w.loads >> i & 1) {
                even_at += forth;
                even = *even_at;
            }
            if (i > 0 && w.loads >> (SIDE + i) & 1) {
                odd_at += forth;
                odd = *odd_at;
            }
            add4(&sums[i], i == z ? weight.x : weight.z, even);
            add4(&sums[i], i == z ? weight.y : weight.w, odd);
        }
    }
}

__device__ inline void write_tile(const tr_cuda_slab *s, const tile *t,
                                  const float4 *sums, float *x)
{
    const int ix = t->x + (int)threadIdx.x / WARP;
    if (!t->rows || ix >= (int)s->n_x)
        return;
#pragma unroll
    for (int z = 0; z < SIDE; z++)
        if (t->z + z < (int)s->n_z) {
            size_t line = (size_t)(t->z + z) * s->n_x + (size_t)ix;
            __stcs(reinterpret_cast<float4 *>(x + line * s->rows + t->row), sums[z]);
        }
}

__global__ void __launch_bounds__(THREADS, 1)
    backproject_tiles(tr_cuda_slab s, tr_cuda_rays rays, const float *__restrict__ p,
                      float *__restrict__ x)
{
    TR_SHARED(tile_memory, memory);
    const tile t = find_tile(&s);
    const float *from = p + threadIdx.x / WARP * s.rows + t.row;
    float4 sums[SIDE];
#pragma unroll
    for (int z = 0; z < SIDE; z++)
        sums[z] = zero4();
    for (unsigned first = 0; first < rays.n; first += SHADOWS) {
        const int n = (int)tr_cuda_at_most(rays.n - first, SHADOWS);
        if ((int)threadIdx.x < n)
            memory->shadows[threadIdx.x] = find_shadow(
                &s, &rays.rays[first + threadIdx.x],
                tr_cuda_image(&rays, first + threadIdx.x, (size_t)t.x, (size_t)t.z, 0),
                &t);
        __syncthreads();
        /* Round k gets view k + 1 and computes view k. */
        for (int k = -1; k < n; k++) {
            if (k + 1 < n) {
                const shadow *v = &memory->shadows[k + 1];
                stage *to = &memory->stages[(k + 1) & 1];
                fetch(from, WARPS * s.rows, &t, v, to);
                if (threadIdx.x < SIDE * SIDE)
                    find_walks(v, to);
            }
            if (k >= 0)
                add_view(&memory->stages[k & 1], memory->shadows[k].forth, sums);
            __pipeline_wait_prior(0);
            __syncthreads();
        }
    }
    write_tile(&s, &t, sums, x);
}
} // namespace

bool tr_cuda_tile_fits(const tr_slab *s, const tr_subset *views)
{
    for (size_t k = 0; k < tr_view_count(s, views); k++) {
        const tr_ray *ray = &s->rays[tr_view_at(views, k)];
        if (!((SIDE - 1) * (fabs(ray->ux) + fabs(ray->uz)) + 3.0 <= COLUMNS))
            return false;
    }
    return true;
}

tr_status tr_cuda_tile_backproject(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                                   const float *p, float *x)
{
    dim3 grid;
    if (c->kernel == TR_KERNEL_TENSOR)
        return tr_cuda_tensor_backproject(c, s, rays, p, x);
    TR_TRY(tr_cuda_grid(tr_cuda_parts(s->n_x, SIDE) * tr_cuda_parts(s->n_z, SIDE) *
                            tr_cuda_parts(s->rows, WARP_ROWS),
                        &grid));
    c->blocks = (size_t)grid.x * grid.y * grid.z;
    c->threads = THREADS;
    TR_LAUNCH(backproject_tiles, grid, dim3(THREADS), sizeof(tile_memory), c->compute,
              tr_cuda_slab_of(s), *rays, p, x);
    return tr_cuda_launched("backproject_tiles");
}
