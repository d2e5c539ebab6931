/* What is done to every sample between the files and memory: transposition, measuring,
 * conversion. One text, cpu/samples.c, compiled for several instruction sets; all give
 * the same bits. */
#ifndef TR_SAMPLES_H
#define TR_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sums side by side, so that they need not wait for each other: value i of a slice goes
 * to those of number i % TR_MEASURE_PARTS. */
enum { TR_MEASURE_PARTS = 16 };
/* So many of its first values, or all, tell about where its mean is. */
enum { TR_MEASURE_START = 4096 };

/* Limits, and sums about a value near the mean, of the first n values of a slice. */
typedef struct tr_measuring {
    float low[TR_MEASURE_PARTS], high[TR_MEASURE_PARTS];
    double first[TR_MEASURE_PARTS], second[TR_MEASURE_PARTS]; /* of d and d^2 */
    double about;
    size_t n;
} tr_measuring;

/* Types of samples in files that can be written, in the order of tr_type. */
enum {
    TR_SAMPLE_INT8,
    TR_SAMPLE_UINT8,
    TR_SAMPLE_INT16,
    TR_SAMPLE_UINT16,
    TR_SAMPLE_FLOAT32,
    TR_SAMPLE_FLOAT16,
    TR_SAMPLE_TYPES
};

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

/* Slices that a device makes of rows of a volume, see take_slices in kernels/backend.h.
 */
typedef struct tr_take {
    size_t width, thickness; /* of a slice: the vector's first thickness * width lines, */
    size_t row, n;           /* and of these rows [row, row + n), a slice each */
    int type;                /* TR_SAMPLE_... */
    bool xyz;    /* samples[thickness][n][width], else samples[n][thickness][width] */
    bool scaled; /* as scale() does, or not at all */
    double add, multiply;
    size_t lines; /* of each slice at a time: tr_take_lines */
} tr_take;

/* What is known of such a slice: what the host's functions above give for the values that
 * a reader of the samples gets. */
typedef struct tr_taken {
    tr_measuring m;
    uint64_t check; /* the sum of the lower halves of the hash of each line, with the
                       line's number as the seed */
    unsigned char infinite[TR_MEASURE_PARTS]; /* not 0: NaN, or infinite, before it was
                                                 made one of fewer bits; of float32 all
                                                 are 0 */
} tr_taken;

/* Lines must be so long: the hash has other forms for shorter ones. */
enum { TR_TAKE_WIDTH = 61 };

/* As many as fit into 32 MiB of samples of 4 bytes, at least 1. */
static inline size_t tr_take_lines(const tr_take *take)
{
    size_t fit = ((size_t)8 << 20) / (take->width * take->n);
    return fit < 1 ? 1 : fit < take->thickness ? fit : take->thickness;
}

/* Floats of device memory that take_slices works in: what is known, and samples of so
 * many lines. */
static inline size_t tr_take_floats(const tr_take *take)
{
    return take->n * (sizeof(tr_taken) / sizeof(float) + take->lines * take->width);
}

/* Those for this processor, or for the narrower one that TR_ISA names. */
const tr_samples *tr_samples_best(void);

#ifdef __cplusplus
}
#endif

#endif
