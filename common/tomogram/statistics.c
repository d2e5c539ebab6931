#include "common/tomogram/statistics.h"

#include <math.h>
#include <string.h>

enum {
    PARTS = 16,  /* sums side by side, so that they need not wait for each other */
    START = 4096 /* values that tell about where the mean is */
};

/* Limits, and sums about a value near the mean. */
typedef struct chunk_sums {
    float low[PARTS], high[PARTS];
    double first[PARTS], second[PARTS];
} chunk_sums;

static void add_values(chunk_sums *s, const float *values, size_t n, double about)
{
    for (size_t i = 0; i < n; i++) {
        size_t j = i % PARTS;
        double d = values[i] - about;
        s->low[j] = values[i] < s->low[j] ? values[i] : s->low[j];
        s->high[j] = values[i] > s->high[j] ? values[i] : s->high[j];
        s->first[j] += d;
        s->second[j] += d * d;
    }
}

tr_slice_sums tr_slice_measure(const float *values, size_t n)
{
    chunk_sums s;
    double about = 0.0, first = 0.0, second = 0.0;
    size_t start = n < START ? n : START;
    for (size_t i = 0; i < start; i++)
        about += values[i] / (double)start;
    for (size_t j = 0; j < PARTS; j++) {
        s.low[j] = s.high[j] = values[0];
        s.first[j] = s.second[j] = 0.0;
    }
    size_t whole = n / PARTS * PARTS;
    for (size_t i = 0; i < whole; i += PARTS)
        add_values(&s, values + i, PARTS, about);
    add_values(&s, values + whole, n - whole, about);
    tr_slice_sums sums = {.min = s.low[0], .max = s.high[0], .check = NAN};
    for (size_t j = 0; j < PARTS; j++) {
        sums.min = fmin(sums.min, s.low[j]);
        sums.max = fmax(sums.max, s.high[j]);
        first += s.first[j];
        second += s.second[j];
    }
    sums.mean = about + first / (double)n;
    sums.squares = fmax(second - first * first / (double)n, 0.0);
    return sums;
}

/* By the bits, which the compiler can vectorise. */
bool tr_all_finite(const float *values, size_t n)
{
    const uint32_t exponent = 0x7f800000;
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bad |= (bits & exponent) == exponent;
    }
    return !bad;
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
