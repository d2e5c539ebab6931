/* Complex transforms across lanes for the filter: the plan, the same for every
 * instruction set. filter_body.h carries it out. Private to kernels/. */
#ifndef TR_CPU_FFT_H
#define TR_CPU_FFT_H

#include <stdbool.h>
#include <stddef.h>

enum { TR_FFT_LEVELS = 32, TR_FFT_RADIX = 8 };

/* A transform of `length` values in place, decimated in frequency: level l splits each
 * block of radix[l] * part[l] values into radix[l] blocks of part[l]. Frequencies come
 * out in the order `frequency`; the way back takes them in it. */
typedef struct tr_fft {
    size_t length;
    int levels, radix[TR_FFT_LEVELS];
    size_t part[TR_FFT_LEVELS];
    /* Of value j of a block, for outputs q = 1, 2, ...: cosine and sine of
     * -2 pi j q / (radix part), at twiddle[l][(j * (radix - 1) + q - 1) * 2]. */
    float *twiddle[TR_FFT_LEVELS];
    size_t *frequency; /* at each place */
    size_t *place;     /* of each frequency */
} tr_fft;

/* Whether `length` has no prime factor above 7: only such are planned. */
bool tr_fft_possible(size_t length);

/* Fills in the plan; false if memory is short. Always ends with tr_fft_free. */
bool tr_fft_plan(size_t length, tr_fft *fft);
void tr_fft_free(tr_fft *fft);

#endif
