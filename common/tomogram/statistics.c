#include "common/tomogram/statistics.h"

#include <math.h>

void tr_measure_begin(const float *values, size_t n, tr_measuring *m)
{
    *m = (tr_measuring){.about = 0.0};
    for (size_t i = 0; i < n; i++)
        m->about += values[i] / (double)n;
    for (size_t j = 0; j < TR_MEASURE_PARTS; j++)
        m->low[j] = m->high[j] = values[0];
}

tr_slice_sums tr_measure_end(const tr_measuring *m)
{
    double first = 0.0, second = 0.0, n = (double)m->n;
    tr_slice_sums sums = {.min = m->low[0], .max = m->high[0], .check = NAN};
    for (size_t j = 0; j < TR_MEASURE_PARTS; j++) {
        sums.min = fmin(sums.min, m->low[j]);
        sums.max = fmax(sums.max, m->high[j]);
        first += m->first[j];
        second += m->second[j];
    }
    sums.mean = m->about + first / n;
    sums.squares = fmax(second - first * first / n, 0.0);
    return sums;
}

tr_statistics tr_slices_total(const tr_slice_sums *sums, size_t n_slices, double n)
{
    tr_statistics t = {.min = INFINITY, .max = -INFINITY};
    for (size_t k = 0; k < n_slices; k++) {
        t.min = fmin(t.min, sums[k].min);
        t.max = fmax(t.max, sums[k].max);
        t.mean += sums[k].mean / (double)n_slices;
    }
    double squares = 0.0;
    for (size_t k = 0; k < n_slices; k++) {
        double d = sums[k].mean - t.mean;
        squares += sums[k].squares + n * d * d;
    }
    t.rms = sqrt(squares / (n * (double)n_slices));
    return t;
}
