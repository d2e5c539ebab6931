/* The only place with tilt, offset, pitch and shift arithmetic. Angles are degrees at
 * the boundary (tr_geometry_spec) and radians inside; positions are 0-based indices.
 *
 * Relative to the centres, voxel (x, y, s), tilt t and pitch g (IMOD's conventions):
 *   z' = y sin g + s cos g,   y' = y cos g - s sin g   (the same for every view)
 *   image column u = x cos t - z' sin t,   image row v = y'
 * So in the frame (x, y', z') every row is a two-dimensional problem of its own. At
 * pitch 0 the rows are the output slices; otherwise rows are reconstructed on a slab
 * that is sheared along with the specimen, z' near y' tan g, and (y', z') is resampled
 * to (y, s) at the end.
 *
 * A view whose x-tilt differs by d from the pitch is first sheared and stretched,
 *   column u + v tan d sin t,  row v / cos d,
 * after which its rays run along x cos t - z' sin t / cos d in row y' - z' tan d: the
 * column does not depend on the row, which is what the kernels need.
 *
 * z-factors xz, yz of a view move what it sees with s, by -s xz and -s yz: rays then run
 * straight through the volume as it is written, as those of local alignments (local.h)
 * do, and rows are coupled. */
#ifndef TR_GEOMETRY_H
#define TR_GEOMETRY_H

#include "kernels/backend.h"

typedef struct tr_geometry_spec {
    size_t n_views;
    const double *tilts;         /* degrees, one per view */
    const double *xtilts;        /* degrees, one per view, added to the pitch; or NULL */
    const double (*zfactors)[2]; /* of one per view, IMOD's ZFACTORFILE; or NULL: all 0 */
    /* A local alignment, which is the caller's, and which view of it each is; or NULL. */
    const struct tr_local *local;
    const size_t *sections;
    size_t stride;             /* of all these, from one view's to the next's; 0 is 1 */
    double tilt_offset, pitch; /* degrees */
    size_t n_u, n_v;           /* columns and rows of an image */
    size_t width, thickness;
    /* pixels of these images; positive shifts move the content right and up */
    double axis_shift, x_shift, z_shift;
    double image_shift;  /* the part of axis_shift that is the middle of aligned images */
    double centre_shift; /* of the rotation's centre, from the middle row upwards */
} tr_geometry_spec;

typedef struct tr_geometry {
    size_t n_views, n_u, n_v, width, thickness;
    size_t outer;         /* cells beyond the width on each side (common/run/outside.h) */
    double *tilt;         /* radians, offset included, kept off +-90 degrees */
    double *xtilt;        /* radians beyond the pitch, per view; NULL when all are 0 */
    double (*zfactor)[2]; /* xz, yz of each view; NULL when all are 0 */
    const struct tr_local *local; /* of geometry/local.h; or NULL */
    size_t *section;              /* which view of it each is */
    double image_u;               /* column of the middle of aligned images */
    double pitch;                 /* radians, the mean x-tilt included */
    double axis_u;                /* image column of the tilt axis */
    double centre_v;              /* image row of the rotation's centre */
    double axis_x, axis_z;        /* where the axis is in an output slice */
} tr_geometry;

/* Fill *g from the spec, which is copied. TR_ERR_USAGE for sizes of 0, fewer than one
 * view, and total pitch beyond +-75 degrees. Freed by tr_geometry_free. */
TR_CHECKED tr_status tr_geometry_init(const tr_geometry_spec *spec, tr_geometry *g);
void tr_geometry_free(tr_geometry *g);

/* Rows that are reconstructed on one z' grid when there is a pitch: a power of two from
 * 16 to 64 such that the grid is at most about 2 voxels too thick for a row. Such blocks
 * start at multiples of this number, wherever the slabs and ranks lie. */
size_t tr_geometry_block_rows(const tr_geometry *g);

/* How many rows away one projection or backprojection reaches; 0 when no view has an
 * x-tilt of its own. */
size_t tr_geometry_reach(const tr_geometry *g);

/* The z' planes of a slab of rows [row, row + rows), which may lie outside the image:
 * their number, which depends on `rows` only, and z' of plane 0. */
size_t tr_geometry_planes(const tr_geometry *g, size_t rows);
double tr_geometry_plane0(const tr_geometry *g, long row, size_t rows);

/* One ray per view for that slab, into rays[n_views]; and for one of any rows whose plane
 * 0 is at z' = z0. */
void tr_geometry_rays(const tr_geometry *g, long row, size_t rows, tr_ray *rays);
void tr_geometry_rays_from(const tr_geometry *g, double z0, tr_ray *rays);

/* Whether rows can only be had from rays straight through the volume as it is written. */
static inline bool tr_geometry_is_direct(const tr_geometry *g)
{
    return g->zfactor || g->local;
}

/* Whether a slab's rows are y' and its planes z', and what is written is interpolated. */
static inline bool tr_geometry_is_sheared(const tr_geometry *g)
{
    return g->pitch != 0.0 && !tr_geometry_is_direct(g);
}

/* The ray of one view straight through the volume as it is written, pitch and x-tilt in
 * the ray itself: lane r is slice first_slice + r, plane iz that of the output, and the
 * ray's lanes are image rows from first_row on. to_image, or NULL, is a further map from
 * the aligned image to the one at hand (see common/geometry/warp.h). */
tr_ray tr_geometry_direct_ray(const tr_geometry *g, size_t view, const double *to_image,
                              double first_slice, double first_row);

/* Whether such rays keep every slice to itself and its own image row. */
bool tr_geometry_rows_independent(const tr_geometry *g);

/* Whether rows of the frame (x, y', z') are: no view has an x-tilt of its own. */
bool tr_geometry_frame_independent(const tr_geometry *g);

/* The rows [*first, *end) that output slices [slice0, slice1) are made from; at pitch 0
 * the slices themselves. May lie outside the image. */
void tr_geometry_rows_of_slices(const tr_geometry *g, size_t slice0, size_t slice1,
                                long *first, long *end);

/* A box of the frame (x, y', z'): rows [row, row + rows), which may lie outside the
 * image, and planes at z' = z0, z0 + 1, ... */
typedef struct tr_frame_box {
    long row;
    size_t rows;
    double z0; /* a whole number */
    size_t planes;
} tr_frame_box;

/* The smallest one that output slices [slice0, slice1) from plane iz0 to before iz1 are
 * interpolated from, at a pitch; neither range is empty. */
tr_frame_box tr_geometry_box(const tr_geometry *g, size_t slice0, size_t slice1,
                             size_t iz0, size_t iz1);

/* Where voxel plane iz of output slice y lies: row y' + centre and z'. */
void tr_geometry_locate(const tr_geometry *g, double slice, double iz, double *row,
                        double *z);
/* The reverse. */
void tr_geometry_locate_output(const tr_geometry *g, double row, double z, double *slice,
                               double *iz);

/* The image position (u, v) that a prepared projection shows at (column, row):
 *   u = m[0] column + m[1] row + m[2],  v = m[3] column + m[4] row + m[5].
 * Returns false, with the identity in m, when there is nothing to do. */
bool tr_geometry_image_map(const tr_geometry *g, size_t view, double m[6]);

/* Angular width of each view in radians: IMOD's local density (two neighbours on each
 * side weighted 1/(i - 0.5), average increment over mean increment) times the mean
 * increment; with `uniform` the mean increment throughout. The widths add up to the
 * range covered. One view alone gets pi. */
TR_CHECKED tr_status tr_view_weights(const double *tilt, size_t n, bool uniform,
                                     double *weight);

#endif
