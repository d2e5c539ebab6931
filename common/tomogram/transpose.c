#include "common/tomogram/transpose.h"

enum { SQUARE = 16, AHEAD = 4 * SQUARE };

void tr_lines_to_slices(const float *lines, size_t lanes, size_t n, size_t plane,
                        float *slices)
{
    for (size_t i0 = 0; i0 < plane; i0 += SQUARE) {
        size_t m = plane - i0 < SQUARE ? plane - i0 : SQUARE;
        /* The lines are too far apart for the processor to guess the next ones. */
        for (size_t i = i0 + AHEAD; i < i0 + AHEAD + SQUARE && i < plane; i++)
            __builtin_prefetch(lines + i * lanes);
        for (size_t k = 0; k < n; k++) {
            float *to = slices + k * plane + i0;
            for (size_t i = 0; i < m; i++)
                to[i] = lines[(i0 + i) * lanes + k];
        }
    }
}

void tr_slices_to_lines(const float *slices, size_t n, size_t plane, size_t lanes,
                        float *lines)
{
    for (size_t i0 = 0; i0 < plane; i0 += SQUARE) {
        size_t m = plane - i0 < SQUARE ? plane - i0 : SQUARE;
        for (size_t k = 0; k < n; k++) {
            const float *from = slices + k * plane + i0;
            for (size_t i = 0; i < m; i++)
                lines[(i0 + i) * lanes + k] = from[i];
        }
    }
}
