/* Numbers of 16 bits, and the instructions of tensor cores. */
#include <cstring>
#include <vector>

#include "cuda_fp16.h"
#include "cudaemu.h"

namespace cudaemu
{
/* A half is a fraction times a power of two: 2^-24 the smallest, 11 bits, below 2^16. */
unsigned short to_half(float value)
{
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    const unsigned sign = bits >> 16 & 0x8000;
    double size = std::fabs((double)value);
    if (std::isnan(value))
        return (unsigned short)(sign | 0x7e00);
    if (size >= 65520.0)
        return (unsigned short)(sign | 0x7c00);
    int exponent = size >= 0x1p-14 ? std::ilogb(size) : -14;
    /* 2048 steps of 2^(exponent - 10): a rounding up to the next exponent carries over */
    unsigned steps = (unsigned)std::nearbyint(std::ldexp(size, 10 - exponent));
    return (unsigned short)(sign | (((unsigned)(exponent + 14) << 10) + steps));
}

static float decode(unsigned short half)
{
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    float size = exponent == 31 ? (fraction ? NAN : INFINITY)
                 : exponent > 0 ? std::ldexp((float)(1024 + fraction), exponent - 25)
                                : std::ldexp((float)fraction, -24);
    return half & 0x8000 ? -size : size;
}

static std::vector<float> decode_all()
{
    std::vector<float> values(1 << 16);
    for (unsigned i = 0; i < values.size(); i++)
        values[i] = decode((unsigned short)i);
    return values;
}

static const std::vector<float> &halves = *new std::vector<float>(decode_all());

float from_half(unsigned short half) { return halves[half]; }

static float half_of(unsigned pair, unsigned which)
{
    return from_half((unsigned short)(pair >> 16 * which));
}

namespace
{
struct operands { /* of one lane; pairs of neighbours along the sum */
    float a[4][2], b[2][2];
};

const operands *shown(const slot &of_lane)
{
    return reinterpret_cast<const operands *>(of_lane);
}

/* To float towards zero: the nearest one, or, where it is larger, the one before, whose
 * bits are one less. */
float cut_off(double value)
{
    float near = (float)value;
    unsigned bits;
    memcpy(&bits, &near, sizeof bits);
    bits -= std::fabs((double)near) > std::fabs(value);
    memcpy(&near, &bits, sizeof bits);
    return near;
}
} // namespace

/* d = a b + d with a of 16 x 16 and b of 16 x 8: of this lane the rows lane / 4 and that
 * plus 8, columns 2 (lane % 4) and the next. Products are exact, and so is here the sum
 * of 8 of them and of d before it is cut off: as devices do, which differ in how many. */
void multiply_add(float *d, const unsigned *a, const unsigned *b)
{
    operands mine;
    const slot *all;
    for (unsigned i = 0; i < 8; i++)
        mine.a[i / 2][i % 2] = half_of(a[i / 2], i % 2);
    for (unsigned i = 0; i < 4; i++)
        mine.b[i / 2][i % 2] = half_of(b[i / 2], i % 2);
    const unsigned lane = show_warp(&mine, sizeof mine, &all);
    for (unsigned part = 0; part < 2; part++) {
        double s00 = d[0], s01 = d[1], s10 = d[2], s11 = d[3]; /* two rows, two columns */
        for (unsigned holder = 0; holder < 4; holder++) {
            const float(*rows)[2] = shown(all[lane / 4 * 4 + holder])->a + 2 * part;
            const float *left = shown(all[lane % 4 * 8 + holder])->b[part];
            const float *right = shown(all[lane % 4 * 8 + 4 + holder])->b[part];
            for (unsigned k = 0; k < 2; k++) {
                s00 += (double)rows[0][k] * left[k];
                s01 += (double)rows[0][k] * right[k];
                s10 += (double)rows[1][k] * left[k];
                s11 += (double)rows[1][k] * right[k];
            }
        }
        d[0] = cut_off(s00);
        d[1] = cut_off(s01);
        d[2] = cut_off(s10);
        d[3] = cut_off(s11);
    }
}

/* Of each matrix its elements (2 (lane % 4), lane / 4) and that below. */
void load_matrices(unsigned *to, const unsigned *row)
{
    const slot *all;
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0)
        fatal("ldmatrix from a row that is not aligned to 16 bytes");
    const unsigned lane = show_warp(&row, sizeof row, &all);
    for (unsigned m = 0; m < 4; m++) {
        const unsigned column = lane / 4;
        unsigned both = 0;
        for (unsigned i = 0; i < 2; i++) {
            const unsigned *from;
            memcpy(&from, all[8 * m + lane % 4 * 2 + i], sizeof from);
            unsigned pair = from[column / 2];
            both |= (pair >> 16 * (column % 2) & 0xffff) << 16 * i;
        }
        to[m] = both;
    }
}
} // namespace cudaemu
