/* Where voxels are seen, for kernels whose threads have one row each: as a whole number
 * and a fraction. That is worked out in double for one voxel of a block and view; what
 * the others are away from there is small enough for float. Private to kernels/cuda. */
#ifndef TR_CUDA_ORIGIN_H
#define TR_CUDA_ORIGIN_H

#include "kernels/cuda/project.h"

enum {
    WARP = 32,
    THREADS = 256,
    WARPS = THREADS / WARP,
    ACROSS = 4, /* a block's warps in x; the others are in z */
    MIDDLE = WARP / 2
};

struct origin {
    int column, row;
    float right, up; /* fractions: from 0 to 1 unless it was moved */
};

/* Of one voxel, and how much further right or up each x, row and z is seen. */
struct __align__(8) view_origin
{
    origin at;
    float uy, vy, ux, uz, vx, vz;
};

__device__ static inline view_origin find_view_origin(const tr_ray *ray, size_t x,
                                                      size_t z, size_t row)
{
    const double ix = (double)x, iz = (double)z, r = (double)row;
    view_origin of;
    tr_cuda_split(tr_ray_base(ray->u0, ray->uz, iz) + ray->ux * ix + ray->uy * r,
                  &of.at.column, &of.at.right);
    tr_cuda_split(ray->v0 + ray->vx * ix + ray->vz * iz + ray->vy * r, &of.at.row,
                  &of.at.up);
    of.ux = (float)ray->ux, of.uy = (float)ray->uy, of.uz = (float)ray->uz;
    of.vx = (float)ray->vx, of.vy = (float)ray->vy, of.vz = (float)ray->vz;
    return of;
}

/* The same row of a voxel that is some voxels away. */
__device__ static inline origin move_origin(const view_origin *of, int x, int z)
{
    origin o = of->at;
    o.right = fmaf(of->uz, (float)z, fmaf(of->ux, (float)x, o.right));
    o.up = fmaf(of->vz, (float)z, fmaf(of->vx, (float)x, o.up));
    return o;
}

/* Of a thread, in kernels that take a voxel a warp. */
struct place {
    size_t x, z, row; /* of the warp's voxel, and its first row */
    bool rows;        /* are the voxel and this thread's row in the volume? */
};

__device__ static inline place find_place(const tr_cuda_slab *s)
{
    unsigned b = blockIdx.x, warp = threadIdx.x / WARP;
    unsigned across = (unsigned)tr_cuda_parts(s->n_x, ACROSS);
    unsigned down = (unsigned)tr_cuda_parts(s->n_z, WARPS / ACROSS);
    place at;
    at.x = (size_t)(b % across) * ACROSS + warp % ACROSS;
    b /= across;
    at.z = (size_t)(b % down) * (WARPS / ACROSS) + warp / ACROSS;
    at.row = (size_t)(b / down) * WARP;
    at.rows = at.x < s->n_x && at.z < s->n_z && at.row + threadIdx.x % WARP < s->rows;
    return at;
}

/* The origins of the next n views, by the first warp. */
__device__ static inline void find_views(const tr_ray *rays, unsigned n, const place *at,
                                         view_origin *views)
{
    if (threadIdx.x < n)
        views[threadIdx.x] =
            find_view_origin(&rays[threadIdx.x], at->x, at->z, at->row + MIDDLE);
}

/* Of a warp's voxel. */
__device__ static inline origin find_origin(const view_origin *first, unsigned warp)
{
    return move_origin(first, (int)(warp % ACROSS), (int)(warp / ACROSS));
}

/* A fraction within 0 to 1 again. */
__device__ static inline void carry(int *whole, float *fraction)
{
    const float floored = floorf(*fraction);
    *whole += (int)floored;
    *fraction -= floored;
}

#endif
