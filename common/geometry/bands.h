/* Depth: how much further down the beam a voxel is than the axis, and what of a view is
 * right for it. With z'' = y sin a + s cos a, where a is the pitch and the view's x-tilt,
 *
 *   column u = x cos t - z'' sin t,   depth = x sin t + z'' cos t
 *
 * are rows of one rotation. The defocus of a voxel is that of its view plus or minus its
 * depth, the sign being the hand (manual/ctf.md). */
#ifndef TR_BANDS_H
#define TR_BANDS_H

#include "common/geometry/geometry.h"

/* Of a slab's voxel (ix, iz) in lane r: d0 + dx ix + dy r + dz iz, in voxels. */
typedef struct tr_depth {
    double d0, dx, dy, dz;
} tr_depth;

/* For a slab whose lane 0 is row `row` and whose plane 0 is at z' = z0, with rays as of
 * tr_geometry_rays_from. */
tr_depth tr_geometry_depth(const tr_geometry *g, size_t view, double row, double z0);

/* One view's bands: band k has the depths within step / 2 of first + k step, in voxels.
 */
typedef struct tr_depth_bands {
    size_t n;
    double first, step;
} tr_depth_bands;

/* Into bands[n_views]: as few as no voxel of the volume is further than `off` voxels of
 * depth from the middle of its band, all of a view equally thick and about the middle of
 * its depths; one at depth 0 where that is as good. False if all are such. */
bool tr_bands_choose(const tr_geometry *g, double off, tr_depth_bands *bands);

/* What backprojection of such a slab needs of bands[n_views], which may be those of
 * another geometry, with one image of a view after another. */
void tr_bands_of_slab(const tr_geometry *g, const tr_depth_bands *bands, long row,
                      double z0, tr_band *to);

#endif
