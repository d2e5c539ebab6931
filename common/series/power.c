#include "common/series/power.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/angle.h"
#include "common/base/mem.h"
#include "common/series/series_private.h"
#include "kernels/fourier_crop.h"

size_t tr_power_tile(const tr_series *s)
{
    size_t shorter = s->raw_u < s->raw_v ? s->raw_u : s->raw_v, tile = 256;
    while (tile > shorter)
        tile /= 2;
    return tile >= 64 ? tile : 0;
}

/* Both halves of the plane, from one. */
static void add_power(void *data, size_t nx, size_t ny, float (*spectrum)[2])
{
    double *power = data;
    for (size_t ky = 0; ky < ny; ky++)
        for (size_t kx = 0; kx <= nx / 2; kx++) {
            const float *f = spectrum[ky * (nx / 2 + 1) + kx];
            double value = (double)f[0] * f[0] + (double)f[1] * f[1];
            size_t row = (ky + ny / 2) % ny;
            if (kx < nx / 2)
                power[row * nx + nx / 2 + kx] += value;
            if (kx)
                power[(ny - row) % ny * nx + nx / 2 - kx] += value;
        }
}

static void cut_tile(const float *rows, size_t nx, size_t x, size_t n, float *tile)
{
    double sum = 0.0;
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < n; i++)
            sum += rows[j * nx + x + i];
    double mean = sum / (double)(n * n), step = 2.0 * TR_PI / (double)(n - 1);
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < n; i++)
            tile[j * n + i] = (float)((0.5 - 0.5 * cos(step * (double)i)) *
                                      (0.5 - 0.5 * cos(step * (double)j)) *
                                      (rows[j * nx + x + i] - mean));
}

static tr_status add_strips(const tr_series *s, size_t k, size_t n,
                            const tr_fourier_crop *plan, float *rows, float *tile,
                            double *power)
{
    const tr_view_facts facts = tr_series_facts(s, k);
    for (size_t y = 0; y + n <= s->raw_v; y += n / 2) {
        const tr_window_2d strip = {.nx = s->raw_u, .y0 = y, .ny = n};
        TR_TRY(tr_content_read(&s->content, k, s->image, s->views.view[k].section, y, n,
                               rows));
        tr_view_steps_pixels(&s->steps, &facts, &strip, rows);
        for (size_t x = 0; x + n <= s->raw_u; x += n / 2) {
            cut_tile(rows, s->raw_u, x, n, tile);
            TR_TRY(tr_fourier_crop_run(plan, tile, add_power, power, NULL));
        }
    }
    return TR_OK;
}

tr_status tr_power_measure(const tr_series *s, size_t k, double *power)
{
    size_t n = tr_power_tile(s);
    tr_fourier_crop *plan = tr_fourier_crop_new(n, n, 1, 0);
    float *rows = tr_calloc("a part of a view", n * s->raw_u, sizeof *rows);
    float *tile = tr_calloc("a part of a view", n * n, sizeof *tile);
    tr_status status = TR_ERR_MEMORY;
    for (size_t i = 0; i < n * n; i++)
        power[i] = 0.0;
    if (plan && rows && tile)
        status = add_strips(s, k, n, plan, rows, tile, power);
    tr_fourier_crop_free(plan);
    free(rows);
    free(tile);
    return status;
}
