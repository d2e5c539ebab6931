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

#endif
