/* See kernels/samples.h. Compiled once for each instruction set, with TR_ISA naming it;
 * without contraction to fused multiply-adds, so that all give the same bits. Conversion
 * goes through a small block on the stack: `out` may then be `in`, samples need not be
 * aligned, and the inner loops have no branches, so the compiler can vectorise them. */
#include "kernels/samples.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE__)
#include <immintrin.h>
#endif
#define XXH_INLINE_ALL /* for this instruction set */
#include <xxhash.h>

#include "kernels/cpu/isa.h"
#include "kernels/sample_body.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "samples in files are little-endian and are copied as they are: "
               "this host needs byte swapping here and in mrc.c");

/* ---- transposition ---- */

typedef float vec __attribute__((vector_size(4 * VECTOR), aligned(4), may_alias));
typedef int ivec __attribute__((vector_size(4 * VECTOR)));

#if defined(__clang__)
#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MIX(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif
/* Interleaved within each four values: the first two and the last two of each, as single
 * values and as pairs; and every second four of both. */
#if defined(__AVX512F__)
#define LOW(a, b) MIX(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define HIGH(a, b) MIX(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define LOW_PAIRS(a, b)                                                                  \
    MIX(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define HIGH_PAIRS(a, b)                                                                 \
    MIX(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#define EVEN_FOURS(a, b)                                                                 \
    MIX(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define ODD_FOURS(a, b)                                                                  \
    MIX(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
#elif defined(__AVX__)
#define LOW(a, b) MIX(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define HIGH(a, b) MIX(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define LOW_PAIRS(a, b) MIX(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define HIGH_PAIRS(a, b) MIX(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#define EVEN_FOURS(a, b) MIX(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define ODD_FOURS(a, b) MIX(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
#else
#define LOW(a, b) MIX(a, b, 0, 4, 1, 5)
#define HIGH(a, b) MIX(a, b, 2, 6, 3, 7)
#define LOW_PAIRS(a, b) MIX(a, b, 0, 1, 4, 5)
#define HIGH_PAIRS(a, b) MIX(a, b, 2, 3, 6, 7)
#endif

/* Four lines: in four q of r[j] are the values of row 4 q + j. */
static inline __attribute__((always_inline)) void four_lines(const float *lines,
                                                             size_t lanes, vec r[4])
{
    vec a = *(const vec *)lines, b = *(const vec *)(lines + lanes);
    vec c = *(const vec *)(lines + 2 * lanes), d = *(const vec *)(lines + 3 * lanes);
    vec ab = LOW(a, b), cd = LOW(c, d);
    r[0] = LOW_PAIRS(ab, cd);
    r[1] = HIGH_PAIRS(ab, cd);
    ab = HIGH(a, b);
    cd = HIGH(c, d);
    r[2] = LOW_PAIRS(ab, cd);
    r[3] = HIGH_PAIRS(ab, cd);
}

/* As many lines as rows: VECTOR. */
static inline __attribute__((always_inline)) void square(const float *lines, size_t lanes,
                                                         float *to, size_t pitch)
{
    vec r[VECTOR / 4][4];
    for (size_t g = 0; g < VECTOR / 4; g++)
        four_lines(lines + 4 * g * lanes, lanes, r[g]);
    for (size_t j = 0; j < 4; j++) {
        float *row = to + j * pitch;
#if defined(__AVX512F__)
        vec even = EVEN_FOURS(r[0][j], r[1][j]), even_too = EVEN_FOURS(r[2][j], r[3][j]);
        vec odd = ODD_FOURS(r[0][j], r[1][j]), odd_too = ODD_FOURS(r[2][j], r[3][j]);
        *(vec *)row = EVEN_FOURS(even, even_too);
        *(vec *)(row + 4 * pitch) = EVEN_FOURS(odd, odd_too);
        *(vec *)(row + 8 * pitch) = ODD_FOURS(even, even_too);
        *(vec *)(row + 12 * pitch) = ODD_FOURS(odd, odd_too);
#elif defined(__AVX__)
        *(vec *)row = EVEN_FOURS(r[0][j], r[1][j]);
        *(vec *)(row + 4 * pitch) = ODD_FOURS(r[0][j], r[1][j]);
#else
        *(vec *)row = r[0][j];
#endif
    }
}

static void transpose(const float *lines, size_t lanes, size_t rows, size_t n, float *to,
                      size_t pitch)
{
    enum { SQUARE = 16, AHEAD = 4 * SQUARE };
    const size_t whole = rows / VECTOR * VECTOR;
    for (size_t i0 = 0; i0 < n; i0 += SQUARE) {
        const float *from = lines + i0 * lanes;
        size_t m = n - i0 < SQUARE ? n - i0 : SQUARE, done = 0;
        /* The lines are too far apart for the processor to guess the next ones. */
        for (size_t i = AHEAD; i < AHEAD + SQUARE && i0 + i < n; i++)
            __builtin_prefetch(from + i * lanes);
        for (; done + VECTOR <= m; done += VECTOR)
            for (size_t k = 0; k < whole; k += VECTOR)
                square(from + done * lanes + k, lanes, to + k * pitch + i0 + done, pitch);
        for (size_t k = 0; k < rows; k++)
            for (size_t i = k < whole ? done : 0; i < m; i++)
                to[k * pitch + i0 + i] = from[i * lanes + k];
    }
}

/* ---- measuring ---- */

static inline void measure_one(float value, tr_measuring *m)
{
    size_t j = m->n++ % TR_MEASURE_PARTS;
    double d = value - m->about;
    m->low[j] = value < m->low[j] ? value : m->low[j];
    m->high[j] = value > m->high[j] ? value : m->high[j];
    m->first[j] += d;
    m->second[j] += d * d;
}

/* Of a vector: a < b ? a : b, and a > b ? a : b. */
#if defined(__AVX512F__)
#define LOWER(a, b) ((vec)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define HIGHER(a, b) ((vec)_mm512_max_ps((__m512)(a), (__m512)(b)))
#elif defined(__AVX__)
#define LOWER(a, b) ((vec)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define HIGHER(a, b) ((vec)_mm256_max_ps((__m256)(a), (__m256)(b)))
#elif defined(__SSE__)
#define LOWER(a, b) ((vec)_mm_min_ps((__m128)(a), (__m128)(b)))
#define HIGHER(a, b) ((vec)_mm_max_ps((__m128)(a), (__m128)(b)))
#else
#define PICK(a, b, where) ((vec)(((ivec)(a) & (where)) | ((ivec)(b) & ~(where))))
#define LOWER(a, b) PICK(a, b, (a) < (b))
#define HIGHER(a, b) PICK(a, b, (a) > (b))
#endif

/* Parts in vectors of floats, and in those of as many doubles as fit. */
enum { FLOATS = TR_MEASURE_PARTS / VECTOR, DOUBLES = 2 * FLOATS };
typedef double dvec __attribute__((vector_size(4 * VECTOR), aligned(8), may_alias));
typedef float half_vec __attribute__((vector_size(2 * VECTOR), aligned(4), may_alias));

/* n values, a multiple of the parts, from one for the first part on. */
static void measure_all(const float *values, size_t n, tr_measuring *m)
{
    vec low[FLOATS], high[FLOATS];
    dvec first[DOUBLES], second[DOUBLES];
    const double about = m->about;
    memcpy(low, m->low, sizeof low);
    memcpy(high, m->high, sizeof high);
    memcpy(first, m->first, sizeof first);
    memcpy(second, m->second, sizeof second);
    for (const float *v = values; v < values + n; v += TR_MEASURE_PARTS) {
        for (size_t j = 0; j < FLOATS; j++) {
            vec value = ((const vec *)v)[j];
            low[j] = LOWER(value, low[j]);
            high[j] = HIGHER(value, high[j]);
        }
        for (size_t j = 0; j < DOUBLES; j++) {
            dvec d = __builtin_convertvector(((const half_vec *)v)[j], dvec) - about;
            first[j] += d;
            second[j] += d * d;
        }
    }
    memcpy(m->low, low, sizeof low);
    memcpy(m->high, high, sizeof high);
    memcpy(m->first, first, sizeof first);
    memcpy(m->second, second, sizeof second);
    m->n += n;
}

static void measure(const float *values, size_t n, tr_measuring *m)
{
    size_t i = 0;
    for (; i < n && m->n % TR_MEASURE_PARTS; i++)
        measure_one(values[i], m);
    size_t whole = (n - i) / TR_MEASURE_PARTS * TR_MEASURE_PARTS;
    measure_all(values + i, whole, m);
    for (i += whole; i < n; i++)
        measure_one(values[i], m);
}

static void scale(float *values, size_t n, double add, double multiply)
{
    for (size_t i = 0; i < n; i++)
        values[i] = (float)((values[i] + add) * multiply);
}

/* By the bits, which the compiler can vectorise. */
static bool all_finite(const float *values, size_t n)
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

/* By the bits: those of numbers, without the sign, are below those of infinity. */
static size_t limits(const float *values, size_t n, float *low, float *high)
{
    vec lows = (vec){0} + FLT_MAX, highs = -lows;
    ivec numbers = {0};
    size_t i = 0, count = 0;
    *low = FLT_MAX;
    *high = -FLT_MAX;
    for (; i + VECTOR <= n; i += VECTOR) {
        const vec v = *(const vec *)(values + i);
        const ivec number = ((ivec)v & 0x7fffffff) < 0x7f800000; /* -1 or 0 */
        const vec none = (vec){0} + FLT_MAX;
        numbers -= number;
        lows = LOWER((vec)(((ivec)v & number) | ((ivec)none & ~number)), lows);
        highs = HIGHER((vec)(((ivec)v & number) | ((ivec)-none & ~number)), highs);
    }
    for (size_t j = 0; j < VECTOR; j++) {
        count += (size_t)numbers[j];
        *low = lows[j] < *low ? lows[j] : *low;
        *high = highs[j] > *high ? highs[j] : *high;
    }
    for (; i < n; i++)
        if (fabsf(values[i]) <= FLT_MAX) {
            count++;
            *low = values[i] < *low ? values[i] : *low;
            *high = values[i] > *high ? values[i] : *high;
        }
    return count;
}

/* ---- pixels unlike their neighbours ---- */

/* How far p is above or below one of each of four pairs, of single values and vectors. */
#define BEYOND(lower, higher, p, a, b, c, d, e, f, g, h)                                 \
    higher(                                                                              \
        (p)-higher(higher(lower(a, b), lower(c, d)), higher(lower(e, f), lower(g, h))),  \
        lower(lower(higher(a, b), higher(c, d)), lower(higher(e, f), higher(g, h))) -    \
            (p))
#define NEIGHBOURS(load, up, at, down, x)                                                \
    load((at) + (x)), load((at) + (x)-1), load((at) + (x) + 1), load((up) + (x)),        \
        load((down) + (x)), load((up) + (x)-1), load((down) + (x) + 1),                  \
        load((up) + (x) + 1), load((down) + (x)-1)

static inline float lower_of(float a, float b) { return a < b ? a : b; }
static inline float higher_of(float a, float b) { return a > b ? a : b; }

static inline float beyond_one(float p, float a, float b, float c, float d, float e,
                               float f, float g, float h)
{
    return BEYOND(lower_of, higher_of, p, a, b, c, d, e, f, g, h);
}

static inline vec beyond(vec p, vec a, vec b, vec c, vec d, vec e, vec f, vec g, vec h)
{
    return BEYOND(LOWER, HIGHER, p, a, b, c, d, e, f, g, h);
}

static inline bool any_above(vec v, float limit)
{
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask((__m512)v, _mm512_set1_ps(limit), _CMP_GT_OQ);
#elif defined(__AVX__)
    return _mm256_movemask_ps(
        _mm256_cmp_ps((__m256)v, _mm256_set1_ps(limit), _CMP_GT_OQ));
#elif defined(__SSE__)
    return _mm_movemask_ps(_mm_cmpgt_ps((__m128)v, _mm_set1_ps(limit)));
#else
    bool any = false;
    for (size_t j = 0; j < VECTOR; j++)
        any |= v[j] > limit;
    return any;
#endif
}

#define ONE(p) (*(p))
#define SEVERAL(p) (*(const vec *)(p))

static size_t alone(const float *above, const float *at, const float *below, size_t x,
                    size_t end, float by)
{
    while (x + VECTOR <= end &&
           !any_above(beyond(NEIGHBOURS(SEVERAL, above, at, below, x)), by))
        x += VECTOR;
    while (x < end && !(beyond_one(NEIGHBOURS(ONE, above, at, below, x)) > by))
        x++;
    return x;
}

static uint64_t hash(const float *values, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(values, n * sizeof *values, seed);
}

/* ---- conversion ---- */

enum { BLOCK = 512 };

/* clang-format off */
#define FROM_FLOAT(name, element, expression)                                            \
    static void name(const float *in, size_t n, void *out)                               \
    {                                                                                    \
        element block[BLOCK];                                                            \
        for (size_t done = 0; done < n; done += BLOCK) {                                 \
            size_t count = n - done < BLOCK ? n - done : BLOCK;                          \
            for (size_t i = 0; i < count; i++) {                                         \
                float value = in[done + i];                                              \
                block[i] = (element)(expression);                                        \
            }                                                                            \
            memcpy((char *)out + done * sizeof(element), block, count * sizeof(element)); \
        }                                                                                \
    }
#define TO_FLOAT(name, element, expression)                                              \
    static void name(const void *in, size_t n, float *out)                               \
    {                                                                                    \
        element block[BLOCK];                                                            \
        for (size_t done = 0; done < n; done += BLOCK) {                                 \
            size_t count = n - done < BLOCK ? n - done : BLOCK;                          \
            memcpy(block, (const char *)in + done * sizeof(element),                     \
                   count * sizeof(element));                                             \
            for (size_t i = 0; i < count; i++) {                                         \
                element value = block[i];                                                \
                out[done + i] = (expression);                                            \
            }                                                                            \
        }                                                                                \
    }
/* clang-format on */

FROM_FLOAT(int8_from_float, int8_t, tr_rounded(value, -128, 127))
FROM_FLOAT(uint8_from_float, uint8_t, tr_rounded(value, 0, 255))
FROM_FLOAT(int16_from_float, int16_t, tr_rounded(value, -32768, 32767))
FROM_FLOAT(uint16_from_float, uint16_t, tr_rounded(value, 0, 65535))
#if !defined(__F16C__)
FROM_FLOAT(float16_from_float, uint16_t, tr_half_from_float(value))
#endif
TO_FLOAT(int8_to_float, int8_t, value)
TO_FLOAT(uint8_to_float, uint8_t, value)
TO_FLOAT(int16_to_float, int16_t, value)
TO_FLOAT(uint16_to_float, uint16_t, value)
TO_FLOAT(float16_to_float, uint16_t, tr_half_to_float(value))

#if defined(__F16C__)
/* What tr_half_from_float does, 8 at a time: the processor rounds alike, but does not
 * saturate and keeps the bits of a NaN. */
static void eight_halves(const float *in, uint16_t *out)
{
    const __m256 value = _mm256_loadu_ps(in), most = _mm256_set1_ps(65504.0f);
    const __m256 sign = _mm256_and_ps(value, _mm256_set1_ps(-0.0f));
    /* The second operand is taken where one is NaN. */
    __m256 a = _mm256_min_ps(most, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), value));
    const __m256 nan = _mm256_cmp_ps(value, value, _CMP_UNORD_Q);
    a = _mm256_blendv_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000)), nan);
    _mm_storeu_si128((__m128i *)out,
                     _mm256_cvtps_ph(_mm256_or_ps(a, sign), _MM_FROUND_TO_NEAREST_INT));
}

static void float16_from_float(const float *in, size_t n, void *out)
{
    uint16_t block[BLOCK];
    for (size_t done = 0; done < n; done += BLOCK) {
        size_t count = n - done < BLOCK ? n - done : BLOCK, i = 0;
        for (; i + 8 <= count; i += 8)
            eight_halves(in + done + i, block + i);
        for (; i < count; i++)
            block[i] = tr_half_from_float(in[done + i]);
        memcpy((char *)out + done * sizeof *block, block, count * sizeof *block);
    }
}
#endif

const tr_samples TR_JOIN(tr_samples_, TR_ISA) = {
    .name = TR_TEXT(TR_ISA),
    .transpose = transpose,
    .measure = measure,
    .scale = scale,
    .finite = all_finite,
    .limits = limits,
    .alone = alone,
    .hash = hash,
    .from_float = {int8_from_float, uint8_from_float, int16_from_float, uint16_from_float,
                   NULL, float16_from_float},
    .to_float = {int8_to_float, uint8_to_float, int16_to_float, uint16_to_float, NULL,
                 float16_to_float},
};
