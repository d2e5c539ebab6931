/* What is done to every sample between the files and memory: transposition, measuring,
 * conversion. One text, cpu/samples.c, compiled for several instruction sets; all give
 * the same bits. */
#ifndef TR_SAMPLES_H
#define TR_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sums side by side, so that they need not wait for each other: value i of a slice goes
 * to those of number i % TR_MEASURE_PARTS. */
enum { TR_MEASURE_PARTS = 16 };

/* Limits, and sums about a value near the mean, of the first n values of a slice. */
typedef struct tr_measuring {
    float low[TR_MEASURE_PARTS], high[TR_MEASURE_PARTS];
    double first[TR_MEASURE_PARTS], second[TR_MEASURE_PARTS]; /* of d and d^2 */
    double about;
    size_t n;
} tr_measuring;

/* Types of samples in files that can be written, in the order of tr_type. */
enum { TR_SAMPLE_TYPES = 6 };

typedef struct tr_samples {
    const char *name;
    /* to[k * pitch + i] = lines[i * lanes + k] for k < rows and i < n. */
    void (*transpose)(const float *lines, size_t lanes, size_t rows, size_t n, float *to,
                      size_t pitch);
    /* The next n values of the slice that *m is of. */
    void (*measure)(const float *values, size_t n, tr_measuring *m);
    /* (value + add) * multiply in double precision, in place. */
    void (*scale)(float *values, size_t n, double add, double multiply);
    /* Whether none is NaN or infinite. */
    bool (*finite)(const float *values, size_t n);
    /* How many are neither; *low and *high are the limits of those, or FLT_MAX and
     * -FLT_MAX. */
    size_t (*limits)(const float *values, size_t n, float *low, float *high);
    /* The first x of those from `x` to before `end`, 1 <= x and end < width, whose value
     * in `at` exceeds, or is below, by more than `by`, at least one of each two of its
     * neighbours that face each other, in this row and those above and below; else
     * `end`. */
    size_t (*alone)(const float *above, const float *at, const float *below, size_t x,
                    size_t end, float by);
    /* The XXH3 of their bits. */
    uint64_t (*hash)(const float *values, size_t n, uint64_t seed);
    /* As tr_convert_from_float and tr_convert_to_float; NULL for float32. */
    void (*from_float[TR_SAMPLE_TYPES])(const float *in, size_t n, void *out);
    void (*to_float[TR_SAMPLE_TYPES])(const void *in, size_t n, float *out);
} tr_samples;

extern const tr_samples tr_samples_baseline, tr_samples_avx2, tr_samples_avx512,
    tr_samples_neon; /* those that the build has */

/* Those for this processor, or for the narrower one that TR_ISA names. */
const tr_samples *tr_samples_best(void);

#endif
