/* IMOD's local alignment: where a voxel is seen, patch by patch. For voxel (x, y, s) from
 * the centres, s up in the slice, each of the four patches around the voxel has, with its
 * tilt t and rotation about x g,
 *   x' = x cos t - y sin g sin t - s (cos g sin t + xz),  y' = y cos g - s (sin g + yz)
 * and then its transform of (x', y'); of these positions the mean counts, weighted
 * bilinearly by where the voxel would be in the untilted image; beyond the outermost
 * patches' centres as at those. (IMOD, flib/image/tilt.f90.) All four are linear in s. */
#ifndef TR_LOCAL_H
#define TR_LOCAL_H

#include "common/geometry/geometry.h"
#include "formats/local_imod.h"

/* For images of the geometry's pixels. */
typedef struct tr_local {
    tr_local_file file;
    /* The first patch's centre from the middle of the images that the file is about, and
     * from there to the next; pixels of the geometry's images, of which the file's are
     * `scale`. */
    double start_x, start_y, step_x, step_y, scale;
    bool z_factors; /* the patches' own count; else they are 0 */
} tr_local;

/* How the file's patches lie in images: `scale` of the images' pixels are one of the
 * file's, whose images are full_x by full_y of these pixels. The file goes over to it.
 * Patches' places are rounded to whole pixels first, as IMOD does. */
void tr_local_place(const tr_local_file *file, double scale, double full_x, double full_y,
                    bool z_factors, tr_local *local);

/* Whether all patches see all as whole views do: nothing is turned or moved, and
 * z-factors are the views' own, zfactors[n_views] of the file or NULL for 0. */
bool tr_local_is_plain(const tr_local *local, const double (*zfactors)[2]);

/* Where voxel (x, slice, iz), which need not be whole, is in this view, column and row:
 * {u at the axis' height, its change with iz, v there, and its change}. With the
 * geometry's local alignment, or without one as tr_geometry_direct_ray has it. */
void tr_geometry_see(const tr_geometry *g, size_t view, double x, double slice,
                     double seen[4]);

/* Image rows *low to *high, and a little beyond, are those that this view sees slices
 * [first, first + n) in. */
void tr_geometry_rows_seen(const tr_geometry *g, size_t view, double first, size_t n,
                           double *low, double *high);

/* How many rows further than its own a slice is seen at most, in any view: rounded up to
 * whole vectors of lanes. */
size_t tr_geometry_direct_reach(const tr_geometry *g);

/* What the local alignment adds to tr_geometry_direct_ray, for slices from first_slice
 * on, of which node 0 is the first: a grid as in kernels/backend.h, that is to be freed,
 * *grid in the offsets. TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_local_grid(const tr_geometry *g, double first_slice, size_t rows,
                                   float **grid, tr_offsets *offsets);
size_t tr_local_grid_bytes(const tr_geometry *g, size_t rows);

#endif
