#include "common/geometry/displacement.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"

/* The field changes over a few hundredths of the image, between two patches. */
enum { MOST_CELLS = 192 };

static size_t nodes(size_t pixels)
{
    size_t cells = pixels - 1 < MOST_CELLS ? pixels - 1 : MOST_CELLS;
    return cells + 1;
}

static double per_pixel(size_t pixels)
{
    return pixels > 1 ? (double)(nodes(pixels) - 1) / (double)(pixels - 1) : 1.0;
}

size_t tr_displacement_bytes(size_t n_u, size_t n_v)
{
    return nodes(n_u) * nodes(n_v) * sizeof(float[2]);
}

/* The weight of a patch at `at` pixels from the middle along one axis, at all its nodes.
 */
static void weigh_axis(double at, size_t pixels, double *weight)
{
    double middle = (double)pixels / 2.0 - 0.5;
    for (size_t i = 0; i < nodes(pixels); i++) {
        double away = ((double)i / per_pixel(pixels) - middle - at) / (double)pixels;
        weight[i] = exp(-100.0 * away * away);
    }
}

/* sum[3] of each node: weights, and weights times shift along x and y. */
static void add_shift(const tr_displacement *d, const double shift[2],
                      const double *across, const double *along, double (*sum)[3])
{
    for (size_t j = 0; j < d->n_y; j++)
        for (size_t i = 0; i < d->n_x; i++) {
            double weight = across[i] * along[j], *here = sum[j * d->n_x + i];
            here[0] += weight;
            here[1] += weight * shift[0];
            here[2] += weight * shift[1];
        }
}

static void keep_means(double (*sum)[3], tr_displacement *d)
{
    for (size_t k = 0; k < d->n_x * d->n_y; k++)
        for (int axis = 0; axis < 2; axis++) {
            double mean = sum[k][0] < 1e-30 ? 0.0 : sum[k][1 + axis] / sum[k][0];
            d->node[k][axis] = (float)mean;
            d->low[axis] = fmin(d->low[axis], mean);
            d->high[axis] = fmax(d->high[axis], mean);
        }
}

static tr_displacement empty(size_t n_u, size_t n_v)
{
    return (tr_displacement){.n_x = nodes(n_u),
                             .n_y = nodes(n_v),
                             .per_x = per_pixel(n_u),
                             .per_y = per_pixel(n_v),
                             .low = {INFINITY, INFINITY},
                             .high = {-INFINITY, -INFINITY}};
}

tr_status tr_displacement_new(const tr_local_shift *shifts, size_t n, size_t n_u,
                              size_t n_v, double factor, tr_displacement *d)
{
    *d = empty(n_u, n_v);
    if (n == 0)
        return TR_OK;
    double(*sum)[3] = tr_calloc("a view's displacements", d->n_x * d->n_y, sizeof *sum);
    double *across = tr_calloc("a view's displacements", d->n_x, sizeof *across);
    double *along = tr_calloc("a view's displacements", d->n_y, sizeof *along);
    d->node = tr_calloc("a view's displacements", d->n_x * d->n_y, sizeof *d->node);
    bool room = sum && across && along && d->node;
    for (size_t p = 0; p < n && room; p++) {
        const double shift[2] = {shifts[p].dx / factor, shifts[p].dy / factor};
        weigh_axis(shifts[p].x / factor, n_u, across);
        weigh_axis(shifts[p].y / factor, n_v, along);
        add_shift(d, shift, across, along, sum);
    }
    if (room)
        keep_means(sum, d);
    else
        tr_displacement_free(d);
    free(sum);
    free(across);
    free(along);
    return room ? TR_OK : TR_ERR_MEMORY;
}

/* The cell of n points from `first` on, `step` apart, that a node is in, and the share of
 * its end; the node is `pixels` / 2 from the middle at the first and the last one. */
static size_t cell(size_t node, size_t pixels, double first, double step, size_t n,
                   double *share)
{
    double middle = (double)pixels / 2.0 - 0.5;
    double at = ((double)node / per_pixel(pixels) - middle - first) / step;
    at = fmin(fmax(at, 0.0), (double)n - 1.0);
    size_t k = (size_t)at < n - 2 ? (size_t)at : n - 2;
    *share = at - (double)k;
    return k;
}

tr_status tr_displacement_of_grid(const tr_local_shift *shifts, size_t n, size_t columns,
                                  size_t n_u, size_t n_v, double factor,
                                  tr_displacement *d)
{
    *d = empty(n_u, n_v);
    if (n == 0)
        return TR_OK;
    double(*sum)[3] = tr_calloc("a view's displacements", d->n_x * d->n_y, sizeof *sum);
    d->node = tr_calloc("a view's displacements", d->n_x * d->n_y, sizeof *d->node);
    bool room = sum && d->node;
    double step_x = fmax((shifts[1].x - shifts[0].x) / factor, 1e-9);
    double step_y = fmax((shifts[columns].y - shifts[0].y) / factor, 1e-9);
    for (size_t k = 0; room && k < d->n_x * d->n_y; k++) {
        double b[2];
        size_t i = cell(k % d->n_x, n_u, shifts[0].x / factor, step_x, columns, &b[0]);
        size_t j =
            cell(k / d->n_x, n_v, shifts[0].y / factor, step_y, n / columns, &b[1]);
        sum[k][0] = 1.0;
        for (size_t p = 0; p < 4; p++) {
            const tr_local_shift *s = &shifts[(j + p / 2) * columns + i + p % 2];
            double weight = (p % 2 ? b[0] : 1.0 - b[0]) * (p / 2 ? b[1] : 1.0 - b[1]);
            sum[k][1] += weight * s->dx / factor;
            sum[k][2] += weight * s->dy / factor;
        }
    }
    if (room)
        keep_means(sum, d);
    else
        tr_displacement_free(d);
    free(sum);
    return room ? TR_OK : TR_ERR_MEMORY;
}

void tr_displacement_free(tr_displacement *d)
{
    free(d->node);
    *d = (tr_displacement){.node = NULL};
}

/* The node before a position and the share of the next. */
static size_t find(double at, double per, size_t n, double *share)
{
    double node = fmin(fmax(at * per, 0.0), (double)n - 1.0);
    size_t first = (size_t)node;
    if (first + 1 == n && first > 0)
        first--;
    *share = node - (double)first;
    return first;
}

void tr_displace(const tr_displacement *d, double *u, double *v)
{
    double right, up, to[2];
    size_t i = find(*u, d->per_x, d->n_x, &right), j = find(*v, d->per_y, d->n_y, &up);
    size_t next = i + 1 < d->n_x ? 1 : 0, above = j + 1 < d->n_y ? d->n_x : 0;
    const float(*node)[2] = (const float(*)[2])d->node + j * d->n_x + i;
    for (int axis = 0; axis < 2; axis++) {
        double low = node[0][axis] + right * (node[next][axis] - node[0][axis]);
        double high =
            node[above][axis] + right * (node[above + next][axis] - node[above][axis]);
        to[axis] = low + up * (high - low);
    }
    *u += to[0];
    *v += to[1];
}
