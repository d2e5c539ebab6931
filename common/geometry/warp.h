/* Affine maps of images, and resampling along them. A map m takes (column, row) to
 * u = m[0] column + m[1] row + m[2], v = m[3] column + m[4] row + m[5]; positions are
 * 0-based indices. */
#ifndef TR_WARP_H
#define TR_WARP_H

#include "common/geometry/displacement.h"
#include "formats/tilt_angles.h"

typedef struct tr_window_2d {
    size_t x0, nx, y0, ny;
} tr_window_2d;

/* The map from the aligned image of n_u x n_v pixels back to the raw one of raw_u x
 * raw_v: the inverse of an .xf line about the centres (n - 1)/2 of both. */
void tr_transform_inverse(const tr_transform *t, size_t n_u, size_t n_v, size_t raw_u,
                          size_t raw_v, double m[6]);

/* m = first, then second: m(p) = second(first(p)). m may be one of them. */
void tr_map_compose(const double second[6], const double first[6], double m[6]);

/* The part of an n_u x n_v image that cubic interpolation of the rows row .. row + rows
 * - 1 of so many columns can touch; at least one pixel. `d`, or NULL, displaces in the
 * image what the map has taken there. */
tr_window_2d tr_map_window(const double m[6], const tr_displacement *d, size_t n_u,
                           size_t n_v, size_t columns, long row, size_t rows);

/* out[rows][columns] = the image at the mapped and displaced positions, by cubic
 * convolution (Keys 1981, a = -1/2). `source` is the window w of the n_u x n_v image.
 * Positions more than half a pixel outside get *fill, or with fill NULL the nearest edge.
 */
void tr_warp_rows(const double m[6], const tr_displacement *d, const float *source,
                  const tr_window_2d *w, size_t n_u, size_t n_v, const float *fill,
                  size_t columns, long row, size_t rows, float *out);

#endif
