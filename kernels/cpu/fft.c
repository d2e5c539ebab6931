#include "kernels/cpu/fft.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"

/* In the order they are taken: the first levels go through the second-level cache, so
 * they should leave small blocks. */
static const int radices[] = {8, 7, 5, 4, 3, 2};
enum { RADICES = sizeof radices / sizeof *radices };

bool tr_fft_possible(size_t length)
{
    for (size_t prime = 2; prime <= 7; prime++)
        while (length > 1 && length % prime == 0)
            length /= prime;
    return length == 1;
}

static bool plan_level(tr_fft *fft, int level, size_t block)
{
    size_t radix = 0;
    for (size_t i = 0; i < RADICES && !radix; i++)
        if (block % (size_t)radices[i] == 0)
            radix = (size_t)radices[i];
    size_t part = block / radix;
    float *twiddle = malloc(part * (radix - 1) * 2 * sizeof *twiddle);
    if (!twiddle)
        return false;
    for (size_t j = 0; j < part; j++)
        for (size_t q = 1; q < radix; q++) {
            double angle = -2.0 * TR_PI * (double)(j * q) / (double)block;
            float *to = twiddle + (j * (radix - 1) + q - 1) * 2;
            to[0] = (float)cos(angle);
            to[1] = (float)sin(angle);
        }
    fft->radix[level] = (int)radix;
    fft->part[level] = part;
    fft->twiddle[level] = twiddle;
    return true;
}

/* Block q of a level holds the frequencies that leave q when divided by its radix. */
static size_t frequency_at(const tr_fft *fft, size_t place)
{
    size_t frequency = 0, step = 1;
    for (int l = 0; l < fft->levels; l++) {
        frequency += place / fft->part[l] * step;
        place %= fft->part[l];
        step *= (size_t)fft->radix[l];
    }
    return frequency;
}

bool tr_fft_plan(size_t length, tr_fft *fft)
{
    memset(fft, 0, sizeof *fft);
    fft->length = length;
    for (size_t block = length; block > 1; fft->levels++) {
        if (!plan_level(fft, fft->levels, block))
            return false;
        block = fft->part[fft->levels];
    }
    fft->frequency = malloc(length * sizeof *fft->frequency);
    fft->place = malloc(length * sizeof *fft->place);
    if (!fft->frequency || !fft->place)
        return false;
    for (size_t place = 0; place < length; place++) {
        fft->frequency[place] = frequency_at(fft, place);
        fft->place[fft->frequency[place]] = place;
    }
    return true;
}

void tr_fft_free(tr_fft *fft)
{
    for (int l = 0; l < TR_FFT_LEVELS; l++)
        free(fft->twiddle[l]);
    free(fft->frequency);
    free(fft->place);
}
