#include "common/run/resample.h"

#include <math.h>

/* The four voxels around one position, x = 0, in two rows. */
typedef struct four_taps {
    const float *at[4];
    size_t lanes[2];
    float weight[4];
} four_taps;

static four_taps find_taps(const tr_geometry *g, tr_find_row *find, const void *rows,
                           double slice, size_t iz)
{
    double row, z;
    tr_geometry_locate(g, slice, (double)iz, &row, &z);
    double whole = floor(row);
    float up = (float)(row - whole);
    four_taps t;
    for (int i = 0; i < 2; i++) {
        tr_frame_row r = find(rows, (long)whole + i);
        double plane = floor(z - r.z0);
        float high = (float)(z - r.z0 - plane);
        float side = i ? up : 1.0f - up;
        TR_ASSERT(plane >= 0.0 && plane + 1.0 < (double)r.planes);
        t.lanes[i] = r.lanes;
        for (int j = 0; j < 2; j++) {
            t.at[2 * i + j] = r.start + ((size_t)plane + (size_t)j) * g->width * r.lanes;
            t.weight[2 * i + j] = side * (j ? high : 1.0f - high);
        }
    }
    return t;
}

/* One plane of n slices. */
static void resample_line(const tr_geometry *g, tr_find_row *find, const void *rows,
                          size_t slice, size_t n, size_t iz, float *slices)
{
    size_t plane = g->width * g->thickness;
    four_taps taps[TR_LANES];
    for (size_t k = 0; k < n; k++)
        taps[k] = find_taps(g, find, rows, (double)(slice + k), iz);
    float *to = slices + iz * g->width;
    for (size_t ix = 0; ix < g->width; ix++)
        for (size_t k = 0; k < n; k++) {
            float sum = 0.0f;
            for (int i = 0; i < 4; i++)
                sum += taps[k].weight[i] * taps[k].at[i][ix * taps[k].lanes[i / 2]];
            to[k * plane + ix] = sum;
        }
}

void tr_resample_slices(const tr_geometry *g, tr_find_row *find, const void *rows,
                        int threads, size_t slice, size_t n, size_t iz0, size_t iz1,
                        float *slices)
{
    TR_ASSERT(n <= TR_LANES && iz1 <= g->thickness);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t iz = iz0; iz < iz1; iz++)
        resample_line(g, find, rows, slice, n, iz, slices);
}
