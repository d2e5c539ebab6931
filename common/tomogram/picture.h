/* From planes of densities to pictures: grey values with a robust contrast, smaller
 * planes by averaging. */
#ifndef TR_PICTURE_H
#define TR_PICTURE_H

#include <stdint.h>

#include "common/base/err.h"

/* The values below which the shares `low` and `high` (0 to 1) of the n values lie, in
 * range[2]: a few bright beads do not decide a contrast made of them. Of very many
 * values, evenly spaced ones are looked at; those that are not finite are left out.
 * range[0] < range[1] in any case. Errors: TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_picture_range(const float *values, size_t n, double low,
                                      double high, double range[2]);

/* Grey values: range[0] and less is 0, range[1] and more 255, NaN 0. */
void tr_picture_grey(const float *values, size_t n, const double range[2], uint8_t *grey);

/* The sides of a picture that tr_picture_shrink makes: side / factor, rounded up. */
size_t tr_picture_side(size_t side, size_t factor);

/* The smallest factor by which `side` becomes at most `most`. */
size_t tr_picture_factor(size_t side, size_t most);

/* out[tr_picture_side(height, fy)][tr_picture_side(width, fx)]: means of fx x fy values;
 * of what is there at the right and lower edges. `out` may be `in`. */
void tr_picture_shrink(const float *in, size_t width, size_t height, size_t fx, size_t fy,
                       float *out);

#endif
