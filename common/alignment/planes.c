#include "common/alignment/planes.h"

#include <complex.h>
#include <fftw3.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/first_error.h"
#include "common/base/median.h"
#include "common/base/mem.h"
#include "kernels/fftw_planner.h"
#include "kernels/fourier_crop.h"

/* ---- maps ---- */

tr_plane_map tr_plane_turn(double axis, const double shift[2], double stretch)
{
    double c = cos(axis), s = sin(axis);
    return (tr_plane_map){.a = {{stretch * c, stretch * s}, {-s, c}},
                          .shift = {stretch * shift[0], shift[1]}};
}

void tr_plane_apply(const tr_plane_map *m, size_t nx, size_t ny, const float *in,
                    float *out, float *mask)
{
    double det = m->a[0][0] * m->a[1][1] - m->a[0][1] * m->a[1][0];
    double cx = 0.5 * ((double)nx - 1.0), cy = 0.5 * ((double)ny - 1.0);
    const double b[2][2] = {{m->a[1][1] / det, -m->a[0][1] / det},
                            {-m->a[1][0] / det, m->a[0][0] / det}};
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++) {
            double px = (double)x - cx - m->shift[0], py = (double)y - cy - m->shift[1];
            double qx = b[0][0] * px + b[0][1] * py + cx;
            double qy = b[1][0] * px + b[1][1] * py + cy;
            size_t at = y * nx + x;
            bool inside =
                qx >= 0.0 && qy >= 0.0 && qx < (double)(nx - 1) && qy < (double)(ny - 1);
            out[at] = 0.0f;
            if (mask)
                mask[at] = inside;
            if (!inside)
                continue;
            size_t ix = (size_t)qx, iy = (size_t)qy;
            float fx = (float)(qx - (double)ix), fy = (float)(qy - (double)iy);
            const float *p = in + iy * nx + ix;
            float low = p[0] + fx * (p[1] - p[0]);
            float high = p[nx] + fx * (p[nx + 1] - p[nx]);
            out[at] = low + fy * (high - low);
        }
}

/* ---- values ---- */

/* Enough of them for a median. */
enum { SAMPLES = 1 << 16 };

static size_t sample(size_t n, const float *image, double *work)
{
    size_t step = (n + SAMPLES - 1) / SAMPLES, m = 0;
    for (size_t i = 0; i < n; i += step)
        work[m++] = (double)image[i];
    return m;
}

bool tr_plane_normalize(size_t n, double limit, float *image, double *work)
{
    double sum = 0.0, squares = 0.0;
    size_t m = sample(n, image, work);
    double middle = tr_median(work, m);
    for (size_t i = 0; i < m; i++)
        work[i] = fabs(work[i] - middle);
    double deviation = 1.4826 * tr_median(work, m), most = limit * deviation;
    for (size_t i = 0; i < n; i++) {
        double v = (double)image[i] - middle;
        v = deviation > 0.0 ? fmin(fmax(v, -most), most) : v;
        image[i] = (float)v;
        sum += v;
        squares += v * v;
    }
    double mean = sum / (double)n, variance = squares / (double)n - mean * mean;
    if (!(variance > 0.0))
        return false;
    float scale = (float)(1.0 / sqrt(variance));
    for (size_t i = 0; i < n; i++)
        image[i] = (image[i] - (float)mean) * scale;
    return true;
}

/* ---- transforms ---- */

typedef struct transform {
    size_t nx, ny;
    fftwf_plan forward, backward;
} transform;

static void transform_free(transform *t)
{
    tr_fftw_planner_lock();
    if (t->forward)
        fftwf_destroy_plan(t->forward);
    if (t->backward)
        fftwf_destroy_plan(t->backward);
    tr_fftw_planner_unlock();
}

static size_t columns(const transform *t) { return t->nx / 2 + 1; }

static tr_status transform_make(size_t nx, size_t ny, transform *t)
{
    *t = (transform){.nx = nx, .ny = ny};
    float *image = fftwf_alloc_real(nx * ny);
    fftwf_complex *spectrum = fftwf_alloc_complex(columns(t) * ny);
    if (image && spectrum) {
        tr_fftw_planner_lock();
        t->forward =
            fftwf_plan_dft_r2c_2d((int)ny, (int)nx, image, spectrum, FFTW_ESTIMATE);
        t->backward =
            fftwf_plan_dft_c2r_2d((int)ny, (int)nx, spectrum, image, FFTW_ESTIMATE);
        tr_fftw_planner_unlock();
    }
    fftwf_free(image);
    fftwf_free(spectrum);
    if (t->forward && t->backward)
        return TR_OK;
    transform_free(t);
    return tr_fail(TR_ERR_MEMORY, "not enough memory to transform images of %zu x %zu",
                   nx, ny);
}

static double frequency(size_t k, size_t n)
{
    return (k > n / 2 ? (double)k - (double)n : (double)k) / (double)n;
}

static void band_one(const transform *t, double low, double high, float *image,
                     float *real, fftwf_complex *spectrum)
{
    size_t pixels = t->nx * t->ny;
    memcpy(real, image, pixels * sizeof *real);
    fftwf_execute_dft_r2c(t->forward, real, spectrum);
    for (size_t ky = 0; ky < t->ny; ky++)
        for (size_t kx = 0; kx < columns(t); kx++) {
            double fx = frequency(kx, t->nx), fy = frequency(ky, t->ny);
            double f2 = fx * fx + fy * fy;
            double w = (1.0 - exp(-0.5 * f2 / (low * low))) *
                       exp(-0.5 * f2 / (high * high)) / (double)pixels;
            spectrum[ky * columns(t) + kx] *= (float)w;
        }
    fftwf_execute_dft_c2r(t->backward, spectrum, image);
}

tr_status tr_planes_band(size_t n, size_t nx, size_t ny, double low, double high,
                         int threads, float *images)
{
    transform t;
    TR_TRY(transform_make(nx, ny, &t));
    tr_first_error failure = TR_NO_ERROR_YET;
#pragma omp parallel num_threads(threads)
    {
        float *real = fftwf_alloc_real(nx * ny);
        fftwf_complex *spectrum = fftwf_alloc_complex(columns(&t) * ny);
#pragma omp for schedule(dynamic)
        for (size_t k = 0; k < n; k++) {
            if (real && spectrum)
                band_one(&t, low, high, images + k * nx * ny, real, spectrum);
            else
                tr_first_error_note(
                    &failure, k,
                    tr_fail(TR_ERR_MEMORY, "not enough memory to filter views"));
        }
        fftwf_free(real);
        fftwf_free(spectrum);
    }
    transform_free(&t);
    return tr_first_error_end(&failure);
}

/* ---- overlays ---- */

/* What is transformed: of each image the mask, the values and their squares. */
enum { MASK, VALUE, SQUARE, KINDS };
/* The sums over the overlap that come out: its pixels, the values of either and their
 * squares, the products. */
enum { COUNT, FIRST, SECOND, FIRST_2, SECOND_2, PRODUCT, SUMS };

struct tr_correlator {
    transform t;
    size_t nx, ny, limit;
    fftwf_complex *spectrum[2][KINDS], *work;
    float *sum[SUMS];
};

tr_correlator *tr_correlator_new(size_t nx, size_t ny, size_t limit)
{
    tr_correlator *c = tr_calloc("comparing views", 1, sizeof *c);
    if (!c)
        return NULL;
    *c = (tr_correlator){.nx = nx, .ny = ny, .limit = limit};
    size_t wide = tr_fourier_padded(nx, 1, limit / 2 + 1),
           high = tr_fourier_padded(ny, 1, limit / 2 + 1);
    bool good = transform_make(wide, high, &c->t) == TR_OK;
    size_t pixels = wide * high, n = good ? columns(&c->t) * high : 0;
    for (int i = 0; i < 2 && good; i++)
        for (int k = 0; k < KINDS && good; k++)
            good = (c->spectrum[i][k] = fftwf_alloc_complex(n)) != NULL;
    for (int k = 0; k < SUMS && good; k++)
        good = (c->sum[k] = fftwf_alloc_real(pixels)) != NULL;
    good = good && (c->work = fftwf_alloc_complex(n)) != NULL;
    if (good)
        return c;
    tr_correlator_free(c);
    (void)tr_fail(TR_ERR_MEMORY, "not enough memory to compare views of %zu x %zu", nx,
                  ny);
    return NULL;
}

void tr_correlator_free(tr_correlator *c)
{
    if (!c)
        return;
    transform_free(&c->t);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < KINDS; k++)
            fftwf_free(c->spectrum[i][k]);
    for (int k = 0; k < SUMS; k++)
        fftwf_free(c->sum[k]);
    fftwf_free(c->work);
    free(c);
}

static void spectra_of(tr_correlator *c, int i, const float *image, const float *mask)
{
    float *real = c->sum[0]; /* not needed yet */
    for (int kind = 0; kind < KINDS; kind++) {
        memset(real, 0, c->t.nx * c->t.ny * sizeof *real);
        for (size_t y = 0; y < c->ny; y++)
            for (size_t x = 0; x < c->nx; x++) {
                float m = mask[y * c->nx + x], v = image[y * c->nx + x];
                real[y * c->t.nx + x] = kind == MASK    ? m
                                        : kind == VALUE ? m * v
                                                        : m * v * v;
            }
        fftwf_execute_dft_r2c(c->t.forward, real, c->spectrum[i][kind]);
    }
}

static void add_up(tr_correlator *c)
{
    static const int pairs[SUMS][2] = {
        [COUNT] = {MASK, MASK},      [FIRST] = {VALUE, MASK},
        [SECOND] = {MASK, VALUE},    [FIRST_2] = {SQUARE, MASK},
        [SECOND_2] = {MASK, SQUARE}, [PRODUCT] = {VALUE, VALUE}};
    size_t n = columns(&c->t) * c->t.ny;
    float scale = 1.0f / (float)(c->t.nx * c->t.ny);
    for (int k = 0; k < SUMS; k++) {
        const fftwf_complex *a = c->spectrum[0][pairs[k][0]],
                            *b = c->spectrum[1][pairs[k][1]];
        for (size_t i = 0; i < n; i++)
            c->work[i] = scale * a[i] * conjf(b[i]);
        fftwf_execute_dft_c2r(c->t.backward, c->work, c->sum[k]);
    }
}

/* The coefficient at one shift, into sum[PRODUCT], times the root of the overlap. */
static double weigh(tr_correlator *c, size_t at, double least)
{
    double n = (double)c->sum[COUNT][at];
    if (n < least)
        return 0.0;
    double a = (double)c->sum[FIRST][at], b = (double)c->sum[SECOND][at];
    double va = (double)c->sum[FIRST_2][at] - a * a / n;
    double vb = (double)c->sum[SECOND_2][at] - b * b / n;
    double both = (double)c->sum[PRODUCT][at] - a * b / n;
    return va > 0.0 && vb > 0.0 ? both / sqrt(va * vb) * sqrt(n) : 0.0;
}

/* Of the parabola through three values, from the middle one, at most 1. */
static double vertex(double before, double middle, double after)
{
    double bend = before - 2.0 * middle + after;
    return bend < 0.0 ? fmin(fmax(0.5 * (before - after) / bend, -1.0), 1.0) : 0.0;
}

static size_t wrap(long k, size_t n) { return (size_t)((k + (long)n) % (long)n); }

void tr_correlate(tr_correlator *c, const float *first, const float *first_mask,
                  const float *second, const float *second_mask, tr_overlay *best)
{
    long limit = (long)c->limit, x_best = 0, y_best = 0;
    size_t wide = c->t.nx, high = c->t.ny;
    double area = 0.0, sum = 0.0, squares = 0.0, n = 0.0, top = -INFINITY;
    for (size_t i = 0; i < c->nx * c->ny; i++)
        area += (double)first_mask[i];
    spectra_of(c, 0, first, first_mask);
    spectra_of(c, 1, second, second_mask);
    add_up(c);
    for (long y = -limit; y <= limit; y++)
        for (long x = -limit; x <= limit; x++) {
            size_t at = wrap(y, high) * wide + wrap(x, wide);
            double w = weigh(c, at, 0.25 * area);
            c->sum[PRODUCT][at] = (float)w;
            sum += w;
            squares += w * w;
            n += 1.0;
            if (w > top) {
                top = w;
                x_best = x;
                y_best = y;
            }
        }
    double mean = sum / n, deviation = sqrt(fmax(squares / n - mean * mean, 1e-30));
#define WEIGHED(x, y) (double)c->sum[PRODUCT][wrap(y, high) * wide + wrap(x, wide)]
    double dx = labs(x_best) < limit ? vertex(WEIGHED(x_best - 1, y_best), top,
                                              WEIGHED(x_best + 1, y_best))
                                     : 0.0;
    double dy = labs(y_best) < limit ? vertex(WEIGHED(x_best, y_best - 1), top,
                                              WEIGHED(x_best, y_best + 1))
                                     : 0.0;
#undef WEIGHED
    size_t at = wrap(y_best, high) * wide + wrap(x_best, wide);
    double overlap = (double)c->sum[COUNT][at];
    *best = (tr_overlay){.shift = {(double)x_best + dx, (double)y_best + dy},
                         .correlation = overlap > 0.0 ? top / sqrt(overlap) : 0.0,
                         .significance = (top - mean) / deviation};
}
