#include "common/algorithms/filter_design.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/angle.h"
#include "kernels/backend.h"
#include "common/base/mem.h"

size_t tr_wbp_least(size_t n_u)
{
    size_t twentieth = n_u / 20 > 8 ? n_u / 20 : 8;
    return n_u + (2 * twentieth < 50 ? 2 * twentieth : 50);
}

size_t tr_wbp_length(size_t n_u) { return tr_fft_length(tr_wbp_least(n_u)); }

size_t tr_fbp_length(size_t n_u) { return tr_fft_length(2 * n_u); }

/* From `from` on a Gaussian decay, which begins at the ramp's value there. */
static double roll_off(double f, double from, double sigma, double ramp, double step)
{
    if (f <= from)
        return ramp;
    double last = floor(from / step) * step;
    double d = f - from;
    return sigma > 0.0 ? last * exp(-d * d / (2.0 * sigma * sigma)) : 0.0;
}

/* IMOD's scale: beyond 15 and 30 iterations each further one counts for less. */
static double effective_iterations(double n)
{
    if (n > 30.0)
        return 27.0 + 0.6 * (n - 30.0);
    return n > 15.0 ? 15.0 + 0.8 * (n - 15.0) : n;
}

void tr_wbp_response(const tr_wbp_filter *filter, size_t length, float *response)
{
    const double slowest = 0.00195; /* IMOD's constant: below it all is recovered */
    double step = 1.0 / (double)length;
    for (size_t k = 0; k <= length / 2; k++) {
        double f = (double)k * step, value = k ? f : 0.2 * step;
        if (filter->hamming_like > 0.0)
            value = roll_off(f, filter->hamming_like,
                             0.438 * (0.5 - filter->hamming_like), value, step);
        else if (filter->cutoff < 0.5)
            value = roll_off(f, filter->cutoff, filter->sigma, value, step);
        if (filter->sirt_like > 0 && f >= slowest)
            value *= 1.0 - pow(1.0 - slowest / f,
                               effective_iterations((double)filter->sirt_like) + 0.3);
        response[k] = (float)value;
    }
}

static double window_at(tr_window window, double f)
{
    double x = 2.0 * f;
    switch (window) {
    case TR_RAMLAK:
        return 1.0;
    case TR_SHEPP_LOGAN:
        return f > 0.0 ? sin(TR_PI * f) / (TR_PI * f) : 1.0;
    case TR_COSINE:
        return cos(TR_PI * f);
    case TR_HAMMING:
        return 0.54 + 0.46 * cos(2.0 * TR_PI * f);
    case TR_HANN:
    case TR_CHESLER:
        return 0.5 + 0.5 * cos(2.0 * TR_PI * f);
    case TR_PARZEN:
        return x < 0.5 ? 1.0 - 6.0 * x * x * (1.0 - x) : 2.0 * pow(1.0 - x, 3.0);
    }
    return 1.0;
}

tr_status tr_fbp_response(tr_window window, size_t length, float *response)
{
    /* cos(2 pi j / length), so that the transform of the kernel is a sum of products */
    double *cosine = tr_calloc("a filter", length, sizeof *cosine);
    if (!cosine)
        return TR_ERR_MEMORY;
    for (size_t j = 0; j < length; j++)
        cosine[j] = cos(2.0 * TR_PI * (double)j / (double)length);
    for (size_t k = 0; k <= length / 2; k++) {
        double f = (double)k / (double)length, ramp = 0.25;
        for (size_t n = 1; n < length / 2; n += 2)
            ramp -=
                2.0 * cosine[n * k % length] / (TR_PI * TR_PI * (double)n * (double)n);
        response[k] = (float)((window == TR_CHESLER ? f : ramp) * window_at(window, f));
    }
    free(cosine);
    return TR_OK;
}
