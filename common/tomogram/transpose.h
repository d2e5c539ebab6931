/* Between the memory order of volumes, rows of y fastest, and slices as files hold them.
 */
#ifndef TR_TRANSPOSE_H
#define TR_TRANSPOSE_H

#include <stddef.h>

/* slices[k][i] = lines[i][k] for n neighbouring slices of `plane` voxels; lines lie
 * `lanes` values apart. Works in squares, so that both sides are touched a cache line at
 * a time. */
void tr_lines_to_slices(const float *lines, size_t lanes, size_t n, size_t plane,
                        float *slices);

/* lines[i][k] = slices[k][i]: the other way. */
void tr_slices_to_lines(const float *slices, size_t n, size_t plane, size_t lanes,
                        float *lines);

#endif
