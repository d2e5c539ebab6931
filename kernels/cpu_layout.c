/* A caller's images, whose rows run along x or u, and lines of rows, in which y runs. */
#include <string.h>

#include "kernels/cpu_state.h"

/* Columns that one thread takes at a time: of each row a few cache lines, which lie far
 * apart; and rows, a cache line of lanes. */
enum { COLUMNS = 64, ROWS = 16 };

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Rows from `row` on of a block of columns, one cache line of lanes; beyond the last row
 * come zeros. */
static void rows_to_lanes(const float *from, size_t stride, size_t n_rows, size_t n,
                          size_t lanes, float *to)
{
    if (n_rows == ROWS) { /* constant, so that the loop is unrolled */
        for (size_t c = 0; c < n; c++)
            for (size_t r = 0; r < ROWS; r++)
                to[c * lanes + r] = from[r * stride + c];
        return;
    }
    for (size_t c = 0; c < n; c++)
        for (size_t r = 0; r < ROWS; r++)
            to[c * lanes + r] = r < n_rows ? from[r * stride + c] : 0.0f;
}

static void lanes_to_rows(const float *from, size_t lanes, size_t n_rows, size_t n,
                          bool add, size_t stride, float *to)
{
    for (size_t r = 0; r < n_rows; r++, to += stride)
        for (size_t c = 0; c < n; c++)
            to[c] = add ? to[c] + from[c * lanes + r] : from[c * lanes + r];
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
