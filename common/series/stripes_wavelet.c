#include "common/series/stripes_wavelet.h"

#include <math.h>
#include <string.h>

#include "common/base/angle.h"

/* The transform is linear and can be undone, so only what is taken away is transformed
 * back: the rest of the sinogram is not touched by rounding, and of each level's bands
 * only one is kept. */

enum { TAPS = 10, MOST_LEVELS = 12, USUAL_LEVELS = 3 };

/* Daubechies, Ten Lectures on Wavelets (1992), table 6.1, N = 5: of the analysis, sum
 * sqrt(2). */
static const double smooth[TAPS] = {0.003335725285001549,  -0.012580751999015526,
                                    -0.006241490213011705, 0.07757149384006515,
                                    -0.03224486958502952,  -0.24229488706619015,
                                    0.13842814590110342,   0.7243085284385744,
                                    0.6038292697974729,    0.160102397974125};

static double detail(int i) { return (i % 2 ? 1.0 : -1.0) * smooth[TAPS - 1 - i]; }

static size_t halved(size_t n) { return (n + TAPS - 1) / 2; }

static size_t mirrored(long i, long n)
{
    long at = (i % (2 * n) + 2 * n) % (2 * n);
    return (size_t)(at < n ? at : 2 * n - 1 - at);
}

long tr_wavelet_most_levels(size_t n_views, size_t n_u)
{
    size_t least = n_views < n_u ? n_views : n_u;
    long levels = 0;
    while (levels < MOST_LEVELS && least >> (levels + 1) >= TAPS - 1)
        levels++;
    return levels;
}

long tr_wavelet_usual_levels(size_t n_views, size_t n_u)
{
    long most = tr_wavelet_most_levels(n_views, n_u);
    return most < USUAL_LEVELS ? most : USUAL_LEVELS;
}

/* Of one level: what comes in, [ny][nx], and each of its bands, [my][mx]; the band that
 * is taken away. */
typedef struct level {
    size_t ny, nx, my, mx;
    float *stripes;
} level;

size_t tr_wavelet_floats(size_t n_views, size_t n_u)
{
    size_t ny = n_views, nx = n_u;
    /* The smooth band, and both halves of what comes in; a line. */
    size_t n = ny * nx + 2 * ny * halved(nx) + nx + 2 * TAPS;
    for (long k = tr_wavelet_most_levels(n_views, n_u); k > 0; k--) {
        ny = halved(ny), nx = halved(nx);
        n += ny * nx;
    }
    return n;
}

/* c[k] = sum of filter[j] x[2k + 1 - j] along u, of each row, for both filters. */
static void rows_apart(const level *l, const float *in, float *low, float *high)
{
    for (size_t y = 0; y < l->ny; y++) {
        const float *x = in + y * l->nx;
        for (size_t k = 0; k < l->mx; k++) {
            double a = 0.0, b = 0.0;
            for (int j = 0; j < TAPS; j++) {
                long i = 2 * (long)k + 1 - j;
                double value =
                    x[i >= 0 && i < (long)l->nx ? (size_t)i : mirrored(i, (long)l->nx)];
                a += smooth[j] * value;
                b += detail(j) * value;
            }
            low[y * l->mx + k] = (float)a;
            high[y * l->mx + k] = (float)b;
        }
    }
}

/* The smooth band along the views, of each column. */
static void columns_smooth(const level *l, const float *in, float *out)
{
    for (size_t k = 0; k < l->my; k++)
        for (size_t x = 0; x < l->mx; x++) {
            double sum = 0.0;
            for (int j = 0; j < TAPS; j++)
                sum += smooth[j] *
                       in[mirrored(2 * (long)k + 1 - j, (long)l->ny) * l->mx + x];
            out[k * l->mx + x] = (float)sum;
        }
}

/* x[i] = sum over k of c[k] filter[TAPS - 1 - (i - 2k + TAPS - 2)], along the views. */
static void columns_together(const level *l, const float *in, float *out)
{
    for (size_t i = 0; i < l->ny; i++)
        for (size_t x = 0; x < l->mx; x++) {
            double sum = 0.0;
            for (size_t k = i / 2; k < l->my && 2 * k + 1 <= i + TAPS - 1; k++)
                sum += smooth[2 * k + 1 - i] * in[k * l->mx + x];
            out[i * l->mx + x] = (float)sum;
        }
}

static void rows_together(const level *l, const float *low, const float *high, float *out)
{
    for (size_t y = 0; y < l->ny; y++)
        for (size_t i = 0; i < l->nx; i++) {
            double sum = 0.0;
            for (size_t k = i / 2; k < l->mx && 2 * k + 1 <= i + TAPS - 1; k++)
                sum += smooth[2 * k + 1 - i] * low[y * l->mx + k] +
                       detail((int)(2 * k + 1 - i)) * high[y * l->mx + k];
            out[y * l->nx + i] = (float)sum;
        }
}

/* Of each column of [my][mx] the sum of its Fourier terms, weighted by exp(-k^2 / (2
 * sigma^2)): what is taken away. */
static void keep_slow(const level *l, float *band)
{
    const double SIGMA = 1.0;
    enum { LAST = 14 }; /* exp(-k^2 / 2) < 3e-43 */
    const double n = (double)l->my;
    for (size_t x = 0; x < l->mx; x++) {
        double term[LAST + 1][2] = {{0.0, 0.0}};
        for (int k = 0; k <= LAST && 2 * k <= (int)l->my; k++) {
            for (size_t y = 0; y < l->my; y++) {
                double turn = 2.0 * TR_PI * k * (double)y / n, p = band[y * l->mx + x];
                term[k][0] += p * cos(turn);
                term[k][1] += p * sin(turn);
            }
            /* Of both signs; 0 and the highest have one. */
            double terms = k == 0 || 2 * k == (int)l->my ? 1.0 : 2.0;
            double weight = terms * exp(-k * k / (2.0 * SIGMA * SIGMA)) / n;
            term[k][0] *= weight;
            term[k][1] *= weight;
        }
        for (size_t y = 0; y < l->my; y++) {
            double sum = 0.0;
            for (int k = 0; k <= LAST && 2 * k <= (int)l->my; k++) {
                double turn = 2.0 * TR_PI * k * (double)y / n;
                sum += term[k][0] * cos(turn) + term[k][1] * sin(turn);
            }
            band[y * l->mx + x] = (float)sum;
        }
    }
}

void tr_wavelet_remove(size_t n_views, size_t n_u, long levels, float *sinogram,
                       float *room)
{
    level list[MOST_LEVELS];
    float *now = room, *low = now + n_views * n_u, *high = low + n_views * halved(n_u);
    float *next = high + n_views * halved(n_u);
    size_t ny = n_views, nx = n_u;
    memcpy(now, sinogram, n_views * n_u * sizeof *now);
    for (long k = 0; k < levels; k++) {
        level *l = &list[k];
        *l = (level){ny, nx, halved(ny), halved(nx), next};
        next += l->my * l->mx;
        rows_apart(l, now, low, high);
        columns_smooth(l, low, now);
        columns_smooth(l, high, l->stripes);
        keep_slow(l, l->stripes);
        ny = l->my, nx = l->mx;
    }
    memset(now, 0, ny * nx * sizeof *now);
    for (long k = levels; k-- > 0;) {
        const level *l = &list[k];
        columns_together(l, now, low);
        columns_together(l, l->stripes, high);
        rows_together(l, low, high, now);
    }
    for (size_t i = 0; i < n_views * n_u; i++)
        sinogram[i] -= now[i];
}
