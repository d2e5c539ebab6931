/* Conversion between float32 and the sample types of the files. Everything goes through
 * a small block on the stack: `out` may then be `in`, samples need not be aligned, and
 * the inner loops have no branches, so the compiler can vectorise them. */
#include <string.h>

#include "formats/format.h"

/* GCC turns the comparisons below into selects, which it can vectorise, only when
 * floating-point exceptions need not be kept. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math")
#endif

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "samples in files are little-endian and are copied as they are: "
               "this host needs byte swapping here and in mrc.c");

enum { BLOCK = 512 };

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [TR_INT8] = {"int8", 1},       [TR_UINT8] = {"uint8", 1},
    [TR_INT16] = {"int16", 2},     [TR_UINT16] = {"uint16", 2},
    [TR_FLOAT32] = {"float32", 4}, [TR_FLOAT16] = {"float16", 2},
    [TR_UINT4] = {"uint4", 0},     [TR_INT32] = {"int32", 0},
    [TR_UINT32] = {"uint32", 0},   [TR_INT64] = {"int64", 0},
    [TR_UINT64] = {"uint64", 0},   [TR_FLOAT64] = {"float64", 0},
};

size_t tr_type_size(tr_type type) { return types[type].size; }
const char *tr_type_name(tr_type type) { return types[type].name; }

static inline uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint16_t half_from_float(float value)
{
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, a = bits & 0x7fffffff;
    bool nan = a > 0x7f800000;
    a = a > 0x477fe000 ? 0x477fe000 : a; /* 65504 */
    /* Rebias the exponent by 127 - 15 and round the 13 bits that go to nearest even. */
    uint32_t normal = (a - (112u << 23) + 0xfff + (a >> 13 & 1)) >> 13;
    /* Below 2^-14 the step is 2^-24, which is that of floats from 0.5: adding 0.5 rounds
     * and leaves the result in the last bits. */
    uint32_t tiny = bits_of(float_of(a) + 0.5f) - bits_of(0.5f);
    uint32_t half = a < 0x38800000 ? tiny : normal;
    return (uint16_t)(sign | (nan ? 0x7e00 : half));
}

static inline float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, a = (uint32_t)(half & 0x7fff) << 13;
    uint32_t exponent = a & 0x0f800000;
    uint32_t normal = a + (112u << 23);
    uint32_t special = a + (224u << 23); /* infinity and NaN */
    /* a * 2^-24 exactly, as (2^-14 + a * 2^-24) - 2^-14: no subnormal floats met. */
    uint32_t tiny = bits_of(float_of(a + (113u << 23)) - float_of(113u << 23));
    uint32_t bits = exponent == 0x0f800000 ? special : exponent ? normal : tiny;
    return float_of(sign | bits);
}

/* To nearest (ties to even) within [low, high], which lie within +-2^22; NaN to 0. */
static inline int32_t rounded(float value, float low, float high)
{
    value = value == value ? value : 0;
    value = value < low ? low : value;
    value = value > high ? high : value;
    const float shift = 12582912; /* 1.5 * 2^23: floats there are integers */
    return (int32_t)(bits_of(value + shift) - bits_of(shift));
}

/* clang-format off */
#define CONVERT_BLOCKS(element, expression)                                              \
    do {                                                                                 \
        element block[BLOCK];                                                            \
        for (size_t done = 0; done < n; done += BLOCK) {                                 \
            size_t count = n - done < BLOCK ? n - done : BLOCK;                          \
            for (size_t i = 0; i < count; i++) {                                         \
                float value = in[done + i];                                              \
                block[i] = (element)(expression);                                        \
            }                                                                            \
            memcpy((char *)out + done * sizeof(element), block, count * sizeof(element)); \
        }                                                                                \
    } while (0)
/* clang-format on */

void tr_convert_from_float(const float *in, size_t n, tr_type type, void *out)
{
    switch (type) {
    case TR_INT8:
        CONVERT_BLOCKS(int8_t, rounded(value, -128, 127));
        break;
    case TR_UINT8:
        CONVERT_BLOCKS(uint8_t, rounded(value, 0, 255));
        break;
    case TR_INT16:
        CONVERT_BLOCKS(int16_t, rounded(value, -32768, 32767));
        break;
    case TR_UINT16:
        CONVERT_BLOCKS(uint16_t, rounded(value, 0, 65535));
        break;
    case TR_FLOAT16:
        CONVERT_BLOCKS(uint16_t, half_from_float(value));
        break;
    case TR_FLOAT32:
        memmove(out, in, n * sizeof *in);
        break;
    default: /* read only */
        TR_ASSERT(tr_type_is_written(type));
        break;
    }
}

/* clang-format off */
#define EXPAND_BLOCKS(element, expression)                                               \
    do {                                                                                 \
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
    } while (0)
/* clang-format on */

void tr_convert_to_float(const void *in, size_t n, tr_type type, float *out)
{
    switch (type) {
    case TR_INT8:
        EXPAND_BLOCKS(int8_t, value);
        break;
    case TR_UINT8:
        EXPAND_BLOCKS(uint8_t, value);
        break;
    case TR_INT16:
        EXPAND_BLOCKS(int16_t, value);
        break;
    case TR_UINT16:
        EXPAND_BLOCKS(uint16_t, value);
        break;
    case TR_FLOAT16:
        EXPAND_BLOCKS(uint16_t, half_to_float(value));
        break;
    case TR_FLOAT32:
        memcpy(out, in, n * sizeof *out);
        break;
    case TR_UINT4: /* the first of each pair is in the low four bits */
        for (size_t i = 0; i < n; i++)
            out[i] = ((const unsigned char *)in)[i / 2] >> (i % 2 ? 4 : 0) & 15;
        break;
    default: /* of HDF5 only */
        TR_ASSERT(type == TR_UINT4 || tr_type_is_written(type));
        break;
    }
}
