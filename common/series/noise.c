#include "common/series/noise.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/median.h"

enum {
    BANDS = 8,
    ROWS = 32,
    MOST_APART = 3,       /* pixels, of the second differences: 1, 2 and 3 are tried */
    MOST_VALUES = 1 << 13 /* of a view, from which the median is taken */
};

/* Of white noise, second differences of neighbours tell; interpolation makes them too
 * small, detail those of pixels further apart too large. */
static const double WHITE = 0.7;

/* Sums over one view, and the values of |D b|, [apart - 1]. */
typedef struct view_sums {
    double sum, squares, edge_squares;
    size_t n, n_edge, n_values[MOST_APART];
    double *values[MOST_APART];
} view_sums;

static void add_pixels(const float *view, size_t n_u, size_t rows, view_sums *v)
{
    size_t edge = n_u / 32 > 4 ? n_u / 32 : 4;
    for (size_t u = 0; u < n_u; u++)
        for (size_t r = 0; r < rows; r++) {
            double value = view[(u + 1) * ROWS + r];
            v->sum += value;
            v->squares += value * value;
            v->n++;
            if (u < edge || u + edge >= n_u) {
                v->edge_squares += value * value;
                v->n_edge++;
            }
        }
}

static void add_differences(const float *view, size_t n_u, size_t rows, size_t step,
                            size_t apart, view_sums *v)
{
    static const double weight[3] = {1.0, -2.0, 1.0};
    if (n_u <= 2 * MOST_APART || rows <= 2 * MOST_APART)
        return;
    size_t across = n_u - 2 * apart, n = across * (rows - 2 * apart);
    size_t *used = &v->n_values[apart - 1];
    for (size_t k = 0; k < n && *used < MOST_VALUES; k += step) {
        const float *at = view + (k % across + 1) * ROWS + k / across;
        double d = 0.0;
        for (size_t i = 0; i < 3; i++)
            for (size_t j = 0; j < 3; j++)
                d += weight[i] * weight[j] * at[i * apart * ROWS + j * apart];
        v->values[apart - 1][(*used)++] = (float)fabs(d);
    }
}

/* The bands of an image of n_v rows: how many there are, and where one begins. */
static size_t n_bands(size_t n_v)
{
    size_t fit = n_v / (n_v < ROWS ? n_v : ROWS);
    return fit < BANDS ? fit : BANDS;
}

static size_t band_row(size_t n_v, size_t band)
{
    size_t bands = n_bands(n_v);
    return bands > 1 ? (n_v - ROWS) * band / (bands - 1) : 0;
}

void tr_noise_rows(size_t n_v, bool *rows)
{
    for (size_t b = 0; b < n_bands(n_v); b++)
        for (size_t r = band_row(n_v, b), n = 0; n < ROWS && r < n_v; r++, n++)
            rows[r] = true;
}

static tr_status read_bands(tr_series *series, const tr_geometry *g, float *slab,
                            view_sums *views)
{
    size_t rows = g->n_v < ROWS ? g->n_v : ROWS, bands = n_bands(g->n_v);
    size_t step = 1 + bands * rows * g->n_u / MOST_VALUES;
    for (size_t b = 0; b < bands; b++) {
        TR_TRY(tr_series_read(series, g, (long)band_row(g->n_v, b), rows, ROWS, slab));
        for (size_t k = 0; k < g->n_views; k++) {
            const float *view = slab + k * (g->n_u + TR_GUARDS) * ROWS;
            add_pixels(view, g->n_u, rows, &views[k]);
            for (size_t apart = 1; apart <= MOST_APART; apart++)
                add_differences(view, g->n_u, rows, step, apart, &views[k]);
        }
    }
    return TR_OK;
}

static void sum_up(view_sums *views, size_t n_views, tr_noise *noise)
{
    double variance[MOST_APART] = {0.0}, square = 0.0, edge = 0.0, deviation = 0.0;
    for (size_t k = 0; k < n_views; k++) {
        view_sums *v = &views[k];
        for (size_t a = 0; a < MOST_APART; a++) {
            double sigma = tr_median(v->values[a], v->n_values[a]) / (6.0 * 0.6745);
            variance[a] += sigma * sigma / (double)n_views;
        }
        double mean = v->sum / (double)v->n, mean_square = v->squares / (double)v->n;
        deviation += fmax(mean_square - mean * mean, 0.0) / (double)n_views;
        square += mean_square / (double)n_views;
        edge += v->edge_squares / (double)v->n_edge / (double)n_views;
    }
    bool white = variance[0] > WHITE * WHITE * variance[1];
    double own = variance[white ? 0 : MOST_APART - 1];
    *noise = (tr_noise){.sigma = sqrt(own), .deviation = sqrt(deviation), .white = white};
    if (square > own)
        noise->edges = fmax(edge - own, 0.0) / (square - own);
}

static tr_status measure(tr_series *series, const tr_geometry *g, tr_noise *noise)
{
    size_t n = g->n_views;
    float *slab =
        tr_calloc("rows of the views", n * (g->n_u + TR_GUARDS) * ROWS, sizeof *slab);
    double *values =
        tr_calloc("differences", n * MOST_APART * MOST_VALUES, sizeof *values);
    view_sums *views = tr_calloc("sums of the views", n, sizeof *views);
    tr_status status = slab && values && views ? TR_OK : TR_ERR_MEMORY;
    for (size_t k = 0; status == TR_OK && k < n; k++)
        for (size_t a = 0; a < MOST_APART; a++)
            views[k].values[a] = values + (k * MOST_APART + a) * MOST_VALUES;
    if (status == TR_OK)
        status = read_bands(series, g, slab, views);
    if (status == TR_OK)
        sum_up(views, n, noise);
    free(slab);
    free(values);
    free(views);
    return status;
}

tr_status tr_noise_measure(tr_comm *comm, tr_series *series, const tr_geometry *geometry,
                           tr_noise *noise)
{
    *noise = (tr_noise){0};
    tr_status status = comm->rank == 0 ? measure(series, geometry, noise) : TR_OK;
    TR_TRY(comm->ops->agree(comm, status));
    double values[] = {noise->sigma, noise->deviation, noise->edges, noise->white};
    TR_TRY(comm->ops->broadcast(comm, values, 4));
    *noise = (tr_noise){values[0], values[1], values[2], values[3] > 0.0};
    return TR_OK;
}
