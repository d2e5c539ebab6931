/* Frequency responses of the filters along u. Formulas and their sources are in
 * manual/algorithms.md. Frequencies are in cycles per pixel, 0 to 0.5. */
#ifndef TR_FILTER_DESIGN_H
#define TR_FILTER_DESIGN_H

#include "common/base/err.h"

typedef struct tr_wbp_filter {
    double cutoff, sigma; /* radial roll-off from `cutoff`; none when cutoff >= 0.5 */
    double hamming_like;  /* > 0: Gaussian from here instead of the radial one */
    long sirt_like;       /* > 0: IMOD's filter equivalent to N SIRT iterations */
} tr_wbp_filter;

typedef enum tr_window {
    TR_RAMLAK,
    TR_SHEPP_LOGAN,
    TR_COSINE,
    TR_HAMMING,
    TR_HANN,
    TR_PARZEN,
    TR_CHESLER
} tr_window;
#define TR_WINDOW_NAMES "ramlak shepp-logan cosine hamming hann parzen chesler"

/* Transform lengths for rows of n_u pixels: IMOD's padding for WBP, at least 2 n_u for
 * FBP, so that its convolution is linear. */
size_t tr_wbp_length(size_t n_u);
/* What IMOD's padding makes of n_u at least, before a length that transforms well. */
size_t tr_wbp_least(size_t n_u);
size_t tr_fbp_length(size_t n_u);

/* response[0 .. length/2]: the ramp |f| (0.2/length at 0) with the roll-offs asked for.
 */
void tr_wbp_response(const tr_wbp_filter *filter, size_t length, float *response);

/* response[0 .. length/2]: the transform of the band-limited ramp kernel (Kak & Slaney,
 * Principles of Computerized Tomographic Imaging, eq. 3.61) times a window. `chesler` is
 * |f| (1 + cos 2 pi f)/2 taken in frequency space. TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_fbp_response(tr_window window, size_t length, float *response);

#endif
