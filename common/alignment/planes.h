/* Small images of the views of a series, on which alignments are sought: turned, shifted,
 * filtered and compared. Pixel (x, y) of an image of nx x ny has its value at that point;
 * its centre is ((nx - 1) / 2, (ny - 1) / 2). */
#ifndef TR_PLANES_H
#define TR_PLANES_H

#include "common/base/err.h"

/* p' = a (p - c) + c + shift, c the centre. */
typedef struct tr_plane_map {
    double a[2][2], shift[2]; /* x, y */
} tr_plane_map;

/* The map of a raw view whose tilt axis lies `axis` radians from y, counterclockwise,
 * onto one in which it is y, with a shift thereafter; x then multiplied by `stretch`. */
tr_plane_map tr_plane_turn(double axis, const double shift[2], double stretch);

/* out[ny][nx] = the mapped image, by linear interpolation; `mask`, if not NULL, becomes 1
 * where the image has a value and 0 elsewhere, where out is 0. */
void tr_plane_apply(const tr_plane_map *map, size_t nx, size_t ny, const float *in,
                    float *out, float *mask);

/* Subtract the median, clip what is more than `limit` robust deviations away, and give
 * the rest the mean 0 and the standard deviation 1. work[pixels] is lost.
 * False: the image has one value. */
bool tr_plane_normalize(size_t pixels, double limit, float *image, double *work);

/* Multiply the spectrum by (1 - exp(-f^2 / 2 low^2)) exp(-f^2 / 2 high^2); f, low and
 * high in cycles per pixel. The images[n][ny][nx] are mirrored at no edge: fade them
 * before. Errors: memory. */
TR_CHECKED tr_status tr_planes_band(size_t n, size_t nx, size_t ny, double low,
                                    double high, int threads, float *images);

/* How one image lies over another, found by comparing them where both have values:
 * correlation coefficients for every shift (Padfield, IEEE Trans. Image Process. 21,
 * 2706, 2012), weighted by the square root of the overlap, as one of a few pixels is
 * easily high by chance. */
typedef struct tr_correlator tr_correlator;

typedef struct tr_overlay {
    double shift[2];     /* of the second image, so that it lies on the first */
    double correlation;  /* there */
    double significance; /* of the weighted peak, in standard deviations of all others */
} tr_overlay;

/* For images of nx x ny and shifts up to `limit` pixels on each axis, less than they.
 * NULL, with the sentence, where memory is short. To be used by one thread at a time. */
tr_correlator *tr_correlator_new(size_t nx, size_t ny, size_t limit);
void tr_correlator_free(tr_correlator *c); /* NULL is fine */

/* Masks are 0 to 1. Shifts with less than a quarter of the first mask in common do not
 * count. */
void tr_correlate(tr_correlator *c, const float *first, const float *first_mask,
                  const float *second, const float *second_mask, tr_overlay *best);

#endif
