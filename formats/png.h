/* Writing PNG pictures, by libpng. */
#ifndef TR_PNG_H
#define TR_PNG_H

#include <stdint.h>

#include "common/base/err.h"

/* The bytes of a PNG file of pixels[height][width][channels], 8 bits each; 1 channel is
 * grey, 3 are RGB. Row 0 is at the top. *bytes, of *n, is from malloc: the caller frees
 * it. Errors: TR_ERR_MEMORY; TR_ERR_INTERNAL for a size or number of channels that PNG
 * does not have. */
TR_CHECKED tr_status tr_png_encode(const uint8_t *pixels, size_t width, size_t height,
                                   int channels, uint8_t **bytes, size_t *n);

/* The same as a file, which has its name only when it is complete (tr_write_whole). */
TR_CHECKED tr_status tr_png_write(const char *path, const uint8_t *pixels, size_t width,
                                  size_t height, int channels);

#endif
