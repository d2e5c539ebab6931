#include "common/tomogram/picture.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

tr_status tr_picture_range(const float *values, size_t n, double low, double high,
                           double range[2])
{
    enum { MOST = 1 << 17 };
    size_t step = (n + MOST - 1) / MOST, found = 0;
    step = step ? step + (step % 2 == 0) : 1; /* odd: not one column of a picture */
    float *some = tr_calloc("the contrast of a picture", n / step + 1, sizeof *some);
    if (!some)
        return TR_ERR_MEMORY;
    for (size_t i = 0; i < n; i += step)
        if (isfinite(values[i]))
            some[found++] = values[i];
    qsort(some, found, sizeof *some, by_value);
    double last = found ? (double)(found - 1) : 0.0;
    range[0] = found ? some[(size_t)floor(low * last)] : 0.0;
    range[1] = found ? some[(size_t)ceil(high * last)] : 1.0;
    if (found && !(range[1] > range[0])) { /* mostly of one value */
        range[0] = some[0];
        range[1] = some[found - 1];
    }
    if (!(range[1] > range[0]))
        range[1] = range[0] + fmax(fabs(range[0]) * 1e-6, 1e-30);
    free(some);
    return TR_OK;
}

void tr_picture_grey(const float *values, size_t n, const double range[2], uint8_t *grey)
{
    double gain = 255.0 / (range[1] - range[0]);
    for (size_t i = 0; i < n; i++) {
        double value = ((double)values[i] - range[0]) * gain;
        grey[i] = (uint8_t)(value > 0.0 ? fmin(value, 255.0) + 0.5 : 0.0);
    }
}

size_t tr_picture_side(size_t side, size_t factor) { return (side - 1) / factor + 1; }

size_t tr_picture_factor(size_t side, size_t most) { return (side - 1) / most + 1; }

static float mean_of(const float *in, size_t width, size_t nx, size_t ny)
{
    double sum = 0.0;
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++)
            sum += in[y * width + x];
    return (float)(sum / ((double)nx * (double)ny));
}

void tr_picture_shrink(const float *in, size_t width, size_t height, size_t fx, size_t fy,
                       float *out)
{
    size_t columns = tr_picture_side(width, fx), rows = tr_picture_side(height, fy);
    for (size_t y = 0; y < rows; y++)
        for (size_t x = 0; x < columns; x++) {
            size_t nx = width - x * fx < fx ? width - x * fx : fx;
            size_t ny = height - y * fy < fy ? height - y * fy : fy;
            /* In place: what is written lies before what is still to be read. */
            out[y * columns + x] = mean_of(in + y * fy * width + x * fx, width, nx, ny);
        }
}
