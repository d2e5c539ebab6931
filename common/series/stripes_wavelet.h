/* Stripes by wavelets and Fourier transforms: Muench, Trtik, Marone and Stampanoni,
 * Optics Express 17, 8567 (2009). */
#ifndef TR_STRIPES_WAVELET_H
#define TR_STRIPES_WAVELET_H

#include "common/base/err.h"

/* How often a sinogram can be halved so that both directions still have as many values as
 * the wavelet (Daubechies, 10 taps); and what is usual, at most 3. */
long tr_wavelet_most_levels(size_t n_views, size_t n_u);
long tr_wavelet_usual_levels(size_t n_views, size_t n_u);

/* Floats of `room` for the next, for one sinogram. */
size_t tr_wavelet_floats(size_t n_views, size_t n_u);

/* In place, on a sinogram[view][column]: of the detail along u, which is smooth along the
 * views, at each level the frequency k along the views is multiplied by
 * 1 - exp(-k^2 / (2 sigma^2)), sigma = 1. What lies beyond the ends is their mirror
 * image. */
void tr_wavelet_remove(size_t n_views, size_t n_u, long levels, float *sinogram,
                       float *room);

#endif
