/* A caller's images, whose rows run along x or u, and lines of rows, in which y runs. */
#include <string.h>

#include "kernels/cpu/state.h"

/* Columns that a thread takes at a time, a few cache lines of each row, and rows, a cache
 * line of lanes. They are transposed in a buffer: rows of images often lie a power of two
 * apart, and so many lines of the kind do not stay in the nearest cache. */
enum { COLUMNS = 64, ROWS = 16, PITCH = COLUMNS + 4 };

typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* to[c][r] = from[r][c], 4 x 4. */
static inline void turn(const float *from, size_t from_stride, float *to,
                        size_t to_stride)
{
    quad row[4], pair[4];
    for (size_t r = 0; r < 4; r++)
        row[r] = *(const quad *)(from + r * from_stride);
    for (size_t i = 0; i < 2; i++) {
        quad a = row[2 * i], b = row[2 * i + 1];
        pair[i] = (quad){a[0], b[0], a[1], b[1]};
        pair[i + 2] = (quad){a[2], b[2], a[3], b[3]};
    }
    for (size_t i = 0; i < 2; i++) {
        quad low = pair[2 * i], high = pair[2 * i + 1];
        *(quad *)(to + 2 * i * to_stride) = (quad){low[0], low[1], high[0], high[1]};
        *(quad *)(to + (2 * i + 1) * to_stride) =
            (quad){low[2], low[3], high[2], high[3]};
    }
}

/* Rows of a block of columns to one cache line of lanes of each; beyond the last row come
 * zeros. */
static void rows_to_lanes(const float *from, size_t stride, size_t n_rows, size_t n,
                          size_t lanes, float *to)
{
    float buffer[ROWS * PITCH] __attribute__((aligned(64)));
    for (size_t r = 0; r < ROWS; r++) {
        float *row = buffer + r * PITCH;
        if (r < n_rows)
            memcpy(row, from + r * stride, n * sizeof *row);
        else
            memset(row, 0, n * sizeof *row);
    }
    size_t c = 0;
    for (; c + 4 <= n; c += 4)
        for (size_t r = 0; r < ROWS; r += 4)
            turn(buffer + r * PITCH + c, PITCH, to + c * lanes + r, lanes);
    for (; c < n; c++)
        for (size_t r = 0; r < ROWS; r++)
            to[c * lanes + r] = buffer[r * PITCH + c];
}

static void lanes_to_rows(const float *from, size_t lanes, size_t n_rows, size_t n,
                          bool add, size_t stride, float *to)
{
    float buffer[ROWS * PITCH] __attribute__((aligned(64)));
    size_t c = 0;
    for (; c + 4 <= n; c += 4)
        for (size_t r = 0; r < ROWS; r += 4)
            turn(from + c * lanes + r, lanes, buffer + r * PITCH + c, PITCH);
    for (; c < n; c++)
        for (size_t r = 0; r < ROWS; r++)
            buffer[r * PITCH + c] = from[c * lanes + r];
    for (size_t r = 0; r < n_rows; r++, to += stride) {
        const float *row = buffer + r * PITCH;
        if (!add)
            memcpy(to, row, n * sizeof *to);
        else
            for (size_t i = 0; i < n; i++)
                to[i] += row[i];
    }
}

static void clear_guards(const tr_layout *l, size_t image, const tr_vec *v)
{
    float *lines = v->data + image * l->lines * v->rows;
    size_t after = l->first + l->n_columns;
    memset(lines, 0, l->first * v->rows * sizeof *lines);
    memset(lines + after * v->rows, 0, (l->lines - after) * v->rows * sizeof *lines);
}

tr_status tr_cpu_lines_from(void *state, const tr_layout *l, const float *images,
                            tr_vec *v)
{
    const tr_cpu *cpu = state;
    size_t blocks = (l->n_columns + COLUMNS - 1) / COLUMNS;
#pragma omp parallel for schedule(static) num_threads(cpu->threads)
    for (size_t task = 0; task < l->n * blocks; task++) {
        size_t image = task / blocks, column = task % blocks * COLUMNS;
        size_t n = smaller(COLUMNS, l->n_columns - column);
        const float *from = images + (ptrdiff_t)image * l->image + column;
        float *to = v->data + (image * l->lines + l->first + column) * v->rows;
        for (size_t row = 0; row < v->rows; row += ROWS) {
            size_t left = row < l->n_rows ? l->n_rows - row : 0;
            rows_to_lanes(left ? from + row * l->row : from, l->row, smaller(left, ROWS),
                          n, v->rows, to + row);
        }
        if (column == 0)
            clear_guards(l, image, v);
    }
    return TR_OK;
}

tr_status tr_cpu_lines_to(void *state, const tr_layout *l, const tr_vec *v, bool add,
                          float *images)
{
    const tr_cpu *cpu = state;
    size_t blocks = (l->n_columns + COLUMNS - 1) / COLUMNS;
#pragma omp parallel for schedule(static) num_threads(cpu->threads)
    for (size_t task = 0; task < l->n * blocks; task++) {
        size_t image = task / blocks, column = task % blocks * COLUMNS;
        size_t n = smaller(COLUMNS, l->n_columns - column);
        const float *from = v->data + (image * l->lines + l->first + column) * v->rows;
        float *to = images + (ptrdiff_t)image * l->image + column;
        for (size_t row = 0; row < l->n_rows; row += ROWS)
            lanes_to_rows(from + row, v->rows, smaller(ROWS, l->n_rows - row), n, add,
                          l->row, to + row * l->row);
    }
    return TR_OK;
}
