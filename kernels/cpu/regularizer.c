/* What regularizers of a volume need: differences of neighbouring voxels, shrinkage and
 * the Haar transform. Each line is computed by one thread, and no sum crosses lines, so
 * the number of threads does not show in a result. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/state.h"

static int threads_of(void *state) { return ((const tr_cpu *)state)->threads; }

/* Line (z, x) of a volume, x counting the cells outside the field as well. */
static float *line_of(const tr_slab *s, const tr_vec *v, size_t z, size_t x)
{
    return v->data + tr_line_at(s, z, x) * s->rows;
}

/* to = b - a on n lanes, 0 on the others; b NULL: 0 everywhere. */
static void subtract(const float *b, const float *a, size_t n, size_t rows, float *to)
{
    size_t end = b ? n : 0;
    for (size_t r = 0; r < end; r++)
        to[r] = b[r] - a[r];
    memset(to + end, 0, (rows - end) * sizeof *to);
}

tr_status tr_cpu_grad(void *state, const tr_slab *s, size_t n, const tr_vec *x,
                      const float *above, tr_vec *gx, tr_vec *gy, tr_vec *gz)
{
    TR_ASSERT(n > 0 && n <= s->rows);
#pragma omp parallel for schedule(static) num_threads(threads_of(state))
    for (size_t z = 0; z < s->n_z; z++)
        for (size_t i = 0; i < tr_all_columns(s); i++) {
            const float *at = line_of(s, x, z, i);
            const float *right =
                i + 1 < tr_all_columns(s) ? line_of(s, x, z, i + 1) : NULL;
            const float *over = z + 1 < s->n_z ? line_of(s, x, z + 1, i) : NULL;
            subtract(right, at, n, s->rows, line_of(s, gx, z, i));
            subtract(over, at, n, s->rows, line_of(s, gz, z, i));
            float *along = line_of(s, gy, z, i);
            subtract(at + 1, at, n - 1, s->rows, along);
            if (above)
                along[n - 1] = above[tr_line_at(s, z, i)] - at[n - 1];
        }
    return TR_OK;
}

tr_status tr_cpu_grad_adjoint(void *state, const tr_slab *s, size_t n, const tr_vec *gx,
                              const tr_vec *gy, const tr_vec *gz, const float *below,
                              tr_vec *y)
{
    TR_ASSERT(n > 0 && n <= s->rows);
#pragma omp parallel for schedule(static) num_threads(threads_of(state))
    for (size_t z = 0; z < s->n_z; z++)
        for (size_t i = 0; i < tr_all_columns(s); i++) {
            float *to = line_of(s, y, z, i);
            const float *along = line_of(s, gy, z, i);
            to[0] = (below ? below[tr_line_at(s, z, i)] : 0.0f) - along[0];
            for (size_t r = 1; r < n; r++)
                to[r] = along[r - 1] - along[r];
            memset(to + n, 0, (s->rows - n) * sizeof *to);
            /* Every difference counts for the voxel at its end, and against the one at
             * its start; the last one of an axis does not exist. */
            const float *const ends[] = {i ? line_of(s, gx, z, i - 1) : NULL,
                                         z ? line_of(s, gz, z - 1, i) : NULL};
            const float *const starts[] = {
                i + 1 < tr_all_columns(s) ? line_of(s, gx, z, i) : NULL,
                z + 1 < s->n_z ? line_of(s, gz, z, i) : NULL};
            for (int k = 0; k < 2; k++) {
                for (size_t r = 0; ends[k] && r < n; r++)
                    to[r] += ends[k][r];
                for (size_t r = 0; starts[k] && r < n; r++)
                    to[r] -= starts[k][r];
            }
        }
    return TR_OK;
}

tr_status tr_cpu_shrink_vectors(void *state, float t, tr_vec *gx, tr_vec *gy, tr_vec *gz)
{
    float *a = gx->data, *b = gy->data, *c = gz->data;
    size_t n = gx->lines * gx->rows;
    TR_ASSERT(n == gy->lines * gy->rows && n == gz->lines * gz->rows);
#pragma omp parallel for simd schedule(static) num_threads(threads_of(state))
    for (size_t i = 0; i < n; i++) {
        float length = sqrtf(a[i] * a[i] + b[i] * b[i] + c[i] * c[i]);
        float kept = length > t ? (length - t) / length : 0.0f;
        a[i] *= kept;
        b[i] *= kept;
        c[i] *= kept;
    }
    return TR_OK;
}

/* Summed chunk by chunk in a fixed order, so the threads do not show in the result. */
tr_status tr_cpu_sum_lengths(void *state, const tr_vec *gx, const tr_vec *gy,
                             const tr_vec *gz, double *sum)
{
    size_t n = gx->lines * gx->rows, chunks = (n + TR_CPU_CHUNK - 1) / TR_CPU_CHUNK;
    TR_ASSERT(!gy == !gz);
    double *part = tr_cpu_new_parts(chunks, 1);
    if (!part)
        return TR_ERR_MEMORY;
#pragma omp parallel for schedule(static) num_threads(threads_of(state))
    for (size_t c = 0; c < chunks; c++) {
        size_t end = tr_cpu_part_end(c, TR_CPU_CHUNK, n);
        for (size_t i = c * TR_CPU_CHUNK; i < end; i++) {
            double a = gx->data[i], b = gy ? gy->data[i] : 0.0,
                   d = gz ? gz->data[i] : 0.0;
            part[c] += gy ? sqrt(a * a + b * b + d * d) : fabs(a);
        }
    }
    tr_cpu_add_parts(part, chunks, 1, sum);
    return TR_OK;
}

/* Lines of one part after the other, and then the parts, as row_dots does. */
tr_status tr_cpu_row_lengths(void *state, const tr_vec *gx, const tr_vec *gy,
                             const tr_vec *gz, double *sums)
{
    size_t rows = gx->rows, parts = (gx->lines + TR_CPU_LINES - 1) / TR_CPU_LINES;
    TR_ASSERT(!gy == !gz);
    double *part = tr_cpu_new_parts(parts, rows);
    if (!part)
        return TR_ERR_MEMORY;
#pragma omp parallel for schedule(static) num_threads(threads_of(state))
    for (size_t k = 0; k < parts; k++) {
        size_t end = tr_cpu_part_end(k, TR_CPU_LINES, gx->lines);
        for (size_t i = k * TR_CPU_LINES * rows; i < end * rows; i++) {
            double a = gx->data[i], b = gy ? gy->data[i] : 0.0,
                   d = gz ? gz->data[i] : 0.0;
            part[k * rows + i % rows] += gy ? sqrt(a * a + b * b + d * d) : fabs(a);
        }
    }
    tr_cpu_add_parts(part, parts, rows, sums);
    return TR_OK;
}

/* ---- Haar ---- */

/* A pair becomes its sum and its difference, divided by the root of 2: a rotation and a
 * mirror, hence its own inverse. */
static void pair_lines(float *a, float *b, size_t rows)
{
    const float root = 0.70710678f;
    for (size_t r = 0; r < rows; r++) {
        float sum = a[r] + b[r], difference = a[r] - b[r];
        a[r] = root * sum;
        b[r] = root * difference;
    }
}

/* The pairs at `step` along x, or z, among the first n_x x n_z sums of coarser level. */
static void pair_along(void *state, const tr_slab *s, tr_vec *v, size_t step, size_t n_x,
                       size_t n_z, bool along_x)
{
    size_t pairs_x = along_x ? n_x / 2 : n_x, pairs_z = along_x ? n_z : n_z / 2;
    size_t next_x = along_x ? step : 0, next_z = along_x ? 0 : step;
#pragma omp parallel for schedule(static) num_threads(threads_of(state))
    for (size_t z = 0; z < pairs_z; z++)
        for (size_t x = 0; x < pairs_x; x++) {
            size_t at_x = x * step * (along_x ? 2 : 1);
            size_t at_z = z * step * (along_x ? 1 : 2);
            pair_lines(line_of(s, v, at_z, at_x),
                       line_of(s, v, at_z + next_z, at_x + next_x), s->rows);
        }
}

/* The pairs of rows. */
static void pair_rows(void *state, size_t n, tr_vec *v)
{
    const float root = 0.70710678f;
#pragma omp parallel for schedule(static) num_threads(threads_of(state))
    for (size_t l = 0; l < v->lines; l++) {
        float *at = v->data + l * v->rows;
        for (size_t r = 0; r + 1 < n; r += 2) {
            float sum = at[r] + at[r + 1], difference = at[r] - at[r + 1];
            at[r] = root * sum;
            at[r + 1] = root * difference;
        }
    }
}

/* In place: the sums of level k lie 2^k lines and planes apart, and what a level leaves
 * over or has split off stays where it is. */
tr_status tr_cpu_haar(void *state, const tr_slab *s, size_t n, int levels, bool inverse,
                      tr_vec *x)
{
    TR_ASSERT(n <= s->rows && levels >= 0 && levels < 32);
    if (inverse)
        pair_rows(state, n, x);
    for (int k = 0; k < levels; k++) {
        int level = inverse ? levels - 1 - k : k;
        size_t step = (size_t)1 << level, n_x = tr_all_columns(s) >> level,
               n_z = s->n_z >> level;
        pair_along(state, s, x, step, n_x, n_z, !inverse);
        pair_along(state, s, x, step, n_x, n_z, inverse);
    }
    if (!inverse)
        pair_rows(state, n, x);
    return TR_OK;
}
