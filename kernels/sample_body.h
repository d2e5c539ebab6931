/* Samples of files from floats and back, value by value: one text for every backend, with
 * integers and bits alone where rounding matters, so that all give the same bits. */
#ifndef TR_SAMPLE_BODY_H
#define TR_SAMPLE_BODY_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "kernels/host_device.h"

TR_HD static inline uint32_t tr_bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

TR_HD static inline float tr_float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* To nearest, ties to even; held at +-65504. */
TR_HD static inline uint16_t tr_half_from_float(float value)
{
    uint32_t bits = tr_bits_of(value), sign = bits >> 16 & 0x8000, a = bits & 0x7fffffff;
    bool nan = a > 0x7f800000;
    a = a > 0x477fe000 ? 0x477fe000 : a; /* 65504 */
    /* Rebias the exponent by 127 - 15 and round the 13 bits that go to nearest even. */
    uint32_t normal = (a - (112u << 23) + 0xfff + (a >> 13 & 1)) >> 13;
    /* Below 2^-14 the step is 2^-24, which is that of floats from 0.5: adding 0.5 rounds
     * and leaves the result in the last bits. */
    uint32_t tiny = tr_bits_of(tr_float_of(a) + 0.5f) - tr_bits_of(0.5f);
    uint32_t half = a < 0x38800000 ? tiny : normal;
    return (uint16_t)(sign | (nan ? 0x7e00 : half));
}

TR_HD static inline float tr_half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, a = (uint32_t)(half & 0x7fff) << 13;
    uint32_t exponent = a & 0x0f800000;
    uint32_t normal = a + (112u << 23);
    uint32_t special = a + (224u << 23); /* infinity and NaN */
    /* a * 2^-24 exactly, as (2^-14 + a * 2^-24) - 2^-14: no subnormal floats met. */
    uint32_t tiny = tr_bits_of(tr_float_of(a + (113u << 23)) - tr_float_of(113u << 23));
    uint32_t bits = exponent == 0x0f800000 ? special : exponent ? normal : tiny;
    return tr_float_of(sign | bits);
}

/* To nearest (ties to even) within [low, high], which lie within +-2^22; NaN to 0. */
TR_HD static inline int32_t tr_rounded(float value, float low, float high)
{
    value = value == value ? value : 0;
    value = value < low ? low : value;
    value = value > high ? high : value;
    const float shift = 12582912; /* 1.5 * 2^23: floats there are integers */
    return (int32_t)(tr_bits_of(value + shift) - tr_bits_of(shift));
}

#endif
