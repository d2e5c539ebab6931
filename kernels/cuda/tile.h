/* What the projectors for independent rows share: a warp works on 128 neighbouring rows
 * of the same voxels, four in each lane, so that all its lanes share weights and
 * addresses. Private to kernels/cuda. */
#ifndef TR_CUDA_TILE_H
#define TR_CUDA_TILE_H

#include "kernels/cuda/project.h"

enum {
    WARP = 32,
    LANE_ROWS = 4,
    WARP_ROWS = WARP * LANE_ROWS,
    SIDE = 16,    /* of a tile: SIDE x SIDE voxels, a block's of a backprojector */
    COLUMNS = 28, /* under a tile; unit steps in x and z need 25 */
    SHADOWS = 256 /* views whose columns are worked out at a time */
};

/* Of warp functions: they are for all lanes. */
static const unsigned all_lanes = 0xffffffff;

__device__ static inline float4 zero4() { return make_float4(0.0f, 0.0f, 0.0f, 0.0f); }

__device__ static inline void add4(float4 *sum, float weight, float4 v)
{
    sum->x += weight * v.x;
    sum->y += weight * v.y;
    sum->z += weight * v.z;
    sum->w += weight * v.w;
}

struct tile {
    int x, z;
    size_t row; /* of this thread's first */
    bool rows;  /* are there any for this thread? */
};

/* A view of the tile. Columns count from the first one under the tile; that difference is
 * taken in double, what remains is small enough for float. */
struct shadow {
    size_t at;           /* the first column under the tile, in P */
    int low, n;          /* columns under the tile */
    float start, ux, uz; /* where the tile's first voxel is seen; per voxel */
    float most;          /* where a ray is held that passes the image */
    int forth;           /* to the next even or odd column along z */
};

__device__ static inline tile find_tile(const tr_cuda_slab *s)
{
    unsigned down = (unsigned)tr_cuda_parts(s->n_z, SIDE);
    unsigned across = (unsigned)tr_cuda_parts(s->n_x, SIDE), b = blockIdx.x;
    tile t;
    t.z = (int)(b % down) * SIDE;
    b /= down;
    t.x = (int)(b % across) * SIDE;
    t.row = (size_t)(b / across) * WARP_ROWS + threadIdx.x % WARP * LANE_ROWS;
    t.rows = t.row < s->rows;
    return t;
}

__device__ static inline shadow find_shadow(const tr_cuda_slab *s, const tr_ray *ray,
                                            unsigned number, const tile *t)
{
    const double last = tr_ray_last((double)s->n_u);
    const double start = tr_ray_base(ray->u0, ray->uz, t->z) + ray->ux * t->x;
    const double across = (SIDE - 1) * ray->ux, down = (SIDE - 1) * ray->uz;
    double low = start + fmin(across, 0.0) + fmin(down, 0.0);
    double high = start + fmax(across, 0.0) + fmax(down, 0.0);
    shadow v;
    v.low = (int)fmin(fmax(low, 0.0), last);
    v.n = (int)fmin(fmax(high, 0.0), last) - v.low + 2;
    v.n = v.n < COLUMNS ? v.n : COLUMNS;
    v.at = number * tr_cuda_view_floats(s) + (size_t)v.low * s->rows;
    v.start = (float)(start - v.low);
    v.ux = (float)ray->ux;
    v.uz = (float)ray->uz;
    v.forth = ray->uz < 0.0 ? -2 * WARP : 2 * WARP;
    v.most = (float)fmin(last - v.low, (double)(v.n - 1));
    return v;
}

/* Where voxel (x, z) of the tile is seen. Held within the columns that there are, also
 * where rounding leads out. */
__device__ static inline float find_position(const shadow *v, int x, int z)
{
    float at = fmaf(v->uz, (float)z, fmaf(v->ux, (float)x, v->start));
    return fminf(fmaxf(at, 0.0f), v->most);
}

#endif
