/* What is done to whole images in Fourier space, and binning by cropping there: no
 * aliasing, and the centre of the image stays its centre. */
#ifndef TR_FOURIER_CROP_H
#define TR_FOURIER_CROP_H

#include "common/base/err.h"

typedef struct tr_fourier_crop tr_fourier_crop;

/* For images of nx x ny pixels made nx/bin x ny/bin (integer division; the columns and
 * rows beyond a multiple of bin are cut off around the centre). With `padding` the
 * transform is of a larger image, so that what a filter spreads beyond one edge does not
 * come in at the other: it has at least so many pixels more on every side, which go over
 * from the edge's pixels to their mean (tr_fourier_pad); 0: it is of the image itself.
 * NULL, with the sentence set, when memory is short. */
tr_fourier_crop *tr_fourier_crop_new(size_t nx, size_t ny, size_t bin, size_t padding);
void tr_fourier_crop_free(tr_fourier_crop *crop);

/* What else is to be done to the spectrum: spectrum[ny][nx/2 + 1] (real, imaginary), in
 * place, of an image of nx x ny pixels. */
typedef void tr_on_spectrum(void *data, size_t nx, size_t ny, float (*spectrum)[2]);

/* One image in[ny][nx] to out[ny/bin][nx/bin], the mean kept; out NULL: only as far as
 * `also`. Before the high frequencies
 * go, `also` (NULL: nothing) has the spectrum of what was not cut off. From any thread.
 */
TR_CHECKED tr_status tr_fourier_crop_run(const tr_fourier_crop *crop, const float *in,
                                         tr_on_spectrum *also, void *data, float *out);

/* The same n times, of one transform of the image: `also` has its spectrum each time, and
 * done(data, k, out) the k-th result in out before the next is made. */
typedef tr_status tr_on_image(void *data, size_t k, const float *out);
TR_CHECKED tr_status tr_fourier_crop_several(const tr_fourier_crop *crop, const float *in,
                                             size_t n, tr_on_spectrum *also,
                                             tr_on_image *done, void *data, float *out);

/* Pixels of the image that is transformed. */
size_t tr_fourier_crop_pixels(const tr_fourier_crop *crop);

/* The length that n pixels get with at least `padding` more on both sides: a multiple of
 * bin, and that times an even number without prime factors above 7. */
size_t tr_fourier_padded(size_t n, size_t bin, size_t padding);

/* Where an image lies in a larger one. */
typedef struct tr_fourier_place {
    size_t nx, ny;       /* of the larger */
    size_t x, y;         /* of the image's first pixel in it */
    size_t in_nx, in_ny; /* of the image */
    size_t taper;        /* pixels, 1 or more */
} tr_fourier_place;

/* Fill the rest of image[ny][nx], where the image lies in its place already: at the
 * distance d from it, mean + (edge - mean) * (1 + cos(pi d / taper)) / 2 with the nearest
 * pixel of its edge and the mean of the edge, and the mean from the distance `taper` on.
 */
void tr_fourier_pad(const tr_fourier_place *place, float *image);

#endif
