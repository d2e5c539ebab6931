/* Binning by cropping the Fourier transform: no aliasing, and the centre of the image
 * stays its centre. */
#ifndef TR_FOURIER_CROP_H
#define TR_FOURIER_CROP_H

#include "common/base/err.h"

typedef struct tr_fourier_crop tr_fourier_crop;

/* For images of nx x ny pixels made nx/bin x ny/bin (integer division; the columns and
 * rows beyond a multiple of bin are cut off around the centre). NULL, with the sentence
 * set, when memory is short. */
tr_fourier_crop *tr_fourier_crop_new(size_t nx, size_t ny, size_t bin);
void tr_fourier_crop_free(tr_fourier_crop *crop);

/* What else is to be done to the spectrum: spectrum[ny][nx/2 + 1] (real, imaginary), in
 * place, of an image of nx x ny pixels. */
typedef void tr_on_spectrum(void *data, size_t nx, size_t ny, float (*spectrum)[2]);

/* One image in[ny][nx] to out[ny/bin][nx/bin], the mean kept. Before the high frequencies
 * go, `also` (NULL: nothing) has the spectrum of what was not cut off. From any thread.
 */
TR_CHECKED tr_status tr_fourier_crop_run(const tr_fourier_crop *crop, const float *in,
                                         tr_on_spectrum *also, void *data, float *out);

#endif
