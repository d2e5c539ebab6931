#include "kernels/gridding_size.h"

#include <math.h>

enum { LEAST = 32 }; /* so that a node's neighbourhood does not meet itself */

size_t tr_gridding_axis(size_t n)
{
    size_t points = n + (n + 1) / 2;
    return tr_fft_length(points > LEAST ? points : LEAST);
}

size_t tr_gridding_length(size_t n_u, double low, double high, size_t taper,
                          size_t *before)
{
    double left = fmax(ceil(-low), (double)taper) + 1.0;
    double right = fmax(ceil(high - (double)n_u + 1.0), (double)taper) + 1.0;
    *before = (size_t)left;
    size_t least = n_u + (size_t)left + (size_t)right;
    return tr_fft_length(least > LEAST ? least : LEAST);
}

static double at_least(double a, double b) { return a > b ? a : b; }

size_t tr_gridding_group(size_t grid_bytes, size_t view_bytes)
{
    const size_t least = (size_t)64 << 20;
    size_t bytes = grid_bytes / 4 > least ? grid_bytes / 4 : least;
    return bytes > view_bytes ? bytes / view_bytes : 1;
}

size_t tr_gridding_bytes(size_t n_u, size_t n_x, size_t n_z, int threads)
{
    const double line = 2.0 * TR_LANES * sizeof(float), slack = 1.25, taper = 64.0;
    double axis_x = at_least(1.5 * (double)n_x, LEAST) * slack;
    double axis_z = at_least(1.5 * (double)n_z, LEAST) * slack;
    double length = ((double)n_u + (double)n_x + (double)n_z + taper) * slack;
    double grid = axis_z * (axis_x / 2.0 + 1.0) * line;
    double spectra = at_least(at_least(grid / 4.0, 0x1p26), length * line);
    double room = (axis_x + axis_z + length) * line * (double)threads;
    double bytes = grid + spectra + room;
    return bytes < (double)(SIZE_MAX / 2) ? (size_t)bytes : SIZE_MAX;
}
