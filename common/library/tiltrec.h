/* libtiltrec: projection of a volume to a tilt series, its exact adjoint, and the
 * reconstructions of the TiltRec programs, on arrays in memory.
 *
 * Arrays are float, in C order, y along the tilt axis:
 *   projections  [view][y][u]     n_views x n_y x n_u
 *   a volume     [z][y][x]        thickness x n_y x width, as the programs' --order xyz;
 * or [y][s][x]        with TILTREC_YSX, as their --order xzy, s = thickness - 1
 *                                 - z; it has as many rows y as an image
 * Voxel (x, y, s), relative to the centres, is seen at tilt t and no pitch in column
 * x cos t - s sin t of row y, and is shared out to the two columns it lies between
 * (manual/geometry.md). Lengths are in pixels, angles in degrees, densities in what the
 * images hold, per pixel.
 *
 * Functions return 0 or a TILTREC_... and leave a sentence for tiltrec_last_error. None
 * prints, ends the process, or changes how signals are handled. Different operators may
 * be used by different threads at the same time; calls for one operator wait for each
 * other.
 */
#ifndef TILTREC_H
#define TILTREC_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TILTREC_API __attribute__((visibility("default")))

enum {
    TILTREC_OK = 0,
    TILTREC_BAD_DATA = 1,    /* the device failed */
    TILTREC_BAD_USAGE = 2,   /* an argument or option is wrong */
    TILTREC_UNAVAILABLE = 3, /* not in this library, on this machine, or for these rays */
    TILTREC_NO_MEMORY = 4,
    TILTREC_INTERNAL = 5, /* a bug of ours */
    TILTREC_STOPPED = 6   /* by the caller's tiltrec_progress */
};

/* Flags, added up. */
enum {
    TILTREC_ADD = 1,       /* add to the result's array, which otherwise is overwritten */
    TILTREC_YSX = 2,       /* volumes are [y][s][x] */
    TILTREC_NATIVE = 4,    /* the library's own layout: see tiltrec_get_shape */
    TILTREC_ON_DEVICE = 8, /* arrays are in the GPU's memory; what others do there is
                              waited for, and on return the result is there */
    TILTREC_INITIAL = 16   /* tiltrec_solve begins with the volume given, not with 0 */
};

/* What an operator is made from. Set `size` to sizeof(tiltrec_spec) and what is not
 * needed to 0: later versions may have more members, at the end. Arrays are copied. */
typedef struct tiltrec_spec {
    size_t size;
    const char *backend; /* "cpu"; "cuda" in libtiltrec-cuda; NULL: "cpu" */
    const char *devices; /* of "cuda": the number of the GPU as text; NULL: "0" */
    int threads;         /* of "cpu"; 0: as many as OpenMP takes */

    size_t n_views, n_y, n_u;
    size_t thickness;
    size_t width; /* 0: n_u */

    /* Either angles, with the options of the programs: */
    const double *tilts;      /* n_views */
    const double *xtilts;     /* n_views, added to the pitch; or NULL */
    const double *transforms; /* n_views x 6, lines of an .xf file, which take an image as
                                 it is to the aligned one; or NULL */
    double tilt_offset, axis_shift, pitch, x_shift, z_shift;

    /* or rays: n_views x 8 doubles u0 ux uy us v0 vx vy vs. Voxel (ix, iy, is), counted
     * from 0 in [y][s][x], is seen in column u0 + ux ix + uy iy + us is and row
     * v0 + vx ix + vy iy + vs is of the image, also from 0. Views whose rays keep to
     * their row (uy = v0 = vx = vs = 0, vy = 1) need 0.7 <= max(|ux|, |us|) <= 1; others
     * have no factor above 2. NULL: from angles. */
    const double *rays;
} tiltrec_spec;

typedef struct tiltrec_operator tiltrec_operator;

/* A new operator, whose arrays come at its first use: of its own one volume and one set
 * of projections, and another set where rays leave their row. Ended by tiltrec_destroy.
 */
TILTREC_API int tiltrec_create(tiltrec_operator **op, const tiltrec_spec *spec);
TILTREC_API void tiltrec_destroy(tiltrec_operator *op); /* NULL is fine */

/* Sizes of an operator's arrays. With TILTREC_NATIVE these are read and written as the
 * kernels do, without being transposed, and begin at a multiple of 64 bytes:
 *   projections  [view][n_u + 3][lanes]  column u is line u + 1
 *   a volume     [s][x][lanes]
 * in which y is the lane; lanes from n_y on, line 0 and the last two lines are 0. */
typedef struct tiltrec_shape {
    size_t size; /* sizeof(tiltrec_shape), set by the caller */
    size_t n_views, n_y, n_u, thickness, width;
    size_t lanes;
    int rays_leave_rows; /* so that slices cannot be computed one by one */
} tiltrec_shape;
TILTREC_API int tiltrec_get_shape(const tiltrec_operator *op, tiltrec_shape *shape);

/* projections = A volume. */
TILTREC_API int tiltrec_forward(tiltrec_operator *op, const float *volume,
                                float *projections, unsigned flags);
/* volume = A^T projections: the exact transpose, to rounding. */
TILTREC_API int tiltrec_adjoint(tiltrec_operator *op, const float *projections,
                                float *volume, unsigned flags);

/* Filter rows of projections in place, along u: each is extended to `length` values
 * (even, at least n_u), those added leading from its end back to its beginning, and
 * multiplied in Fourier space by response[0 .. length / 2], which belong to k / length
 * cycles per pixel, and by weights[view] (NULL: 1). Flags: NATIVE, ON_DEVICE (arrays of
 * numbers always are in the host's memory). */
TILTREC_API int tiltrec_filter(tiltrec_operator *op, size_t length, const float *response,
                               const float *weights, float *projections, unsigned flags);

/* Sums of the rows of the matrix, A 1, and of its columns, A^T 1. */
TILTREC_API int tiltrec_row_sums(tiltrec_operator *op, float *projections,
                                 unsigned flags);
TILTREC_API int tiltrec_column_sums(tiltrec_operator *op, float *volume, unsigned flags);

/* Called after each iteration, counted from 1, but the last; not 0: stop. */
typedef int tiltrec_progress(void *self, long iteration);

/* Reconstruct by an algorithm of the programs ("WBP", "SIRT", ...), with its options as
 * words without dashes: "iterations=30 positive"; NULL or "": its own. Data outside the
 * field are taken for 0. `progress` may be NULL. */
TILTREC_API int tiltrec_solve(tiltrec_operator *op, const char *algorithm,
                              const char *options, const float *projections,
                              float *volume, unsigned flags, tiltrec_progress *progress,
                              void *self);

/* This thread's last error, one sentence; "" before there was one. Valid until its next
 * call that fails. */
TILTREC_API const char *tiltrec_last_error(void);

/* "0.1.0" */
TILTREC_API const char *tiltrec_version(void);

#ifdef __cplusplus
}
#endif

#endif
