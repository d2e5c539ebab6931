#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/first_error.h"
#include "common/base/mem.h"
#include "common/alignment/alignment_private.h"

double tr_check_correlation(const tr_check_work *w, size_t view)
{
    const fftwf_complex *g = w->shifted + view * w->size,
                        *p = w->predicted + view * w->size;
    double sum[3] = {0.0};
    for (size_t ky = 0; ky < w->ny; ky++)
        for (size_t kx = 0; kx < w->columns; kx++) {
            size_t at = ky * w->columns + kx;
            double by = tr_check_weight(w, tr_slab_ring(&w->slab, kx, ky), true);
            sum[0] += by * ((double)g[at][0] * p[at][0] + (double)g[at][1] * p[at][1]);
            sum[1] += by * ((double)g[at][0] * g[at][0] + (double)g[at][1] * g[at][1]);
            sum[2] += by * ((double)p[at][0] * p[at][0] + (double)p[at][1] * p[at][1]);
        }
    return sum[1] > 0.0 && sum[2] > 0.0 ? sum[0] / sqrt(sum[1] * sum[2]) : 0.0;
}

/* ---- peaks ---- */

typedef struct surface {
    const float *value; /* [ny][nx], (0, 0) at the first */
    long nx, ny, reach[2];
} surface;

static double at(const surface *s, long x, long y)
{
    return s->value[(y + s->ny) % s->ny * s->nx + (x + s->nx) % s->nx];
}

static double vertex(double before, double middle, double after)
{
    double bend = before - 2.0 * middle + after;
    return bend < 0.0 ? fmax(-1.0, fmin(1.0, 0.5 * (before - after) / bend)) : 0.0;
}

/* The highest value but for those within `away` of (x, y). */
static double highest(const surface *s, long away, long *x, long *y)
{
    long from[2] = {*x, *y};
    double most = -INFINITY;
    for (long j = -s->reach[1]; j <= s->reach[1]; j++)
        for (long i = -s->reach[0]; i <= s->reach[0]; i++) {
            bool near = labs(i - from[0]) < away && labs(j - from[1]) < away;
            if (!near && at(s, i, j) > most) {
                most = at(s, i, j);
                *x = i, *y = j;
            }
        }
    return most;
}

/* Root mean square of what is not within `away` of (x, y). */
static double level(const surface *s, long away, long x, long y)
{
    double sum = 0.0, n = 0.0;
    for (long j = -s->reach[1]; j <= s->reach[1]; j++)
        for (long i = -s->reach[0]; i <= s->reach[0]; i++)
            if (labs(i - x) >= away || labs(j - y) >= away) {
                sum += at(s, i, j) * at(s, i, j);
                n += 1.0;
            }
    return n > 0.0 && sum > 0.0 ? sqrt(sum / n) : INFINITY;
}

static void find_peak(const surface *s, tr_check_peak *peak)
{
    enum { AWAY = 7 };
    long x = 0, y = 0;
    double most = highest(s, 0, &x, &y), rms = level(s, AWAY, x, y);
    *peak = (tr_check_peak){
        {(double)x + vertex(at(s, x - 1, y), at(s, x, y), at(s, x + 1, y)),
         (double)y + vertex(at(s, x, y - 1), at(s, x, y), at(s, x, y + 1))},
        most / rms,
        0.0,
        at(s, 0, 0) / rms};
    peak->next = highest(s, AWAY, &x, &y) / rms;
}

static void peak_of(const tr_check_work *w, size_t k, fftwf_complex *product,
                    float *image, tr_check_peak *peak)
{
    const fftwf_complex *g = w->shifted + k * w->size, *p = w->predicted + k * w->size;
    for (size_t ky = 0; ky < w->ny; ky++)
        for (size_t kx = 0; kx < w->columns; kx++) {
            size_t i = ky * w->columns + kx;
            double by = tr_check_weight(w, tr_slab_ring(&w->slab, kx, ky), false);
            product[i][0] = (float)(by * (g[i][0] * p[i][0] + g[i][1] * p[i][1]));
            product[i][1] = (float)(by * (g[i][1] * p[i][0] - g[i][0] * p[i][1]));
        }
    fftwf_execute_dft_c2r(w->backward, product, image);
    const surface s = {
        image, (long)w->nx, (long)w->ny, {(long)w->nx / 4, (long)w->ny / 4}};
    find_peak(&s, peak);
}

tr_status tr_check_peaks(const tr_check_work *w, tr_check_peak *peaks)
{
    tr_first_error failure = TR_NO_ERROR_YET;
#pragma omp parallel num_threads(w->threads)
    {
        fftwf_complex *product = tr_calloc("a spectrum", w->size, sizeof *product);
        float *image = tr_calloc("a view", w->nx * w->ny, sizeof *image);
#pragma omp for schedule(dynamic)
        for (size_t k = 0; k < w->n; k++)
            if (product && image)
                peak_of(w, k, product, image, &peaks[k]);
            else
                tr_first_error_note(&failure, k, TR_ERR_MEMORY);
        free(product);
        free(image);
    }
    return tr_first_error_end(&failure);
}

/* ---- patches ---- */

enum { VIEW, PREDICTION, ALONG_X, ALONG_Y, IMAGES };

/* Slow changes are strong and say little of where things are: they count less, and not
 * for more than the model of the specimen is worth. */
static double detail(const tr_check_work *w, size_t kx, size_t ky)
{
    const double half = 0.1; /* cycles per pixel */
    double n = (double)(w->nx > w->ny ? w->nx : w->ny);
    double k = (double)tr_slab_ring(&w->slab, kx, ky) / n;
    return k * k / (k * k + half * half);
}

/* Spectra of the view, its prediction and the gradient of that, by the square root of
 * their precision, to images. */
static void make_images(const tr_check_work *w, size_t k, fftwf_complex *work,
                        float *images)
{
    for (int what = 0; what < IMAGES; what++) {
        const fftwf_complex *f = (what == VIEW ? w->shifted : w->predicted) + k * w->size;
        for (size_t ky = 0; ky < w->ny; ky++)
            for (size_t kx = 0; kx < w->columns; kx++) {
                size_t i = ky * w->columns + kx;
                double by =
                    sqrt(detail(w, kx, ky) * tr_slab_precision(w->predictor, k, kx, ky));
                double fy = ky > w->ny / 2 ? (double)ky - (double)w->ny : (double)ky;
                double slope =
                    2.0 * TR_PI * by *
                    (what == ALONG_X ? (double)kx / (double)w->nx : fy / (double)w->ny);
                bool gradient = what >= ALONG_X;
                work[i][0] = (float)(gradient ? -slope * f[i][1] : by * f[i][0]);
                work[i][1] = (float)(gradient ? slope * f[i][0] : by * f[i][1]);
            }
        fftwf_execute_dft_c2r(w->backward, work, images + (size_t)what * w->nx * w->ny);
    }
}

static double gain_of(const float *g, const float *p, size_t n)
{
    double product = 0.0, square = 0.0;
    for (size_t i = 0; i < n; i++) {
        product += (double)g[i] * p[i];
        square += (double)p[i] * p[i];
    }
    return square > 0.0 ? product / square : 0.0;
}

static void sum_patches(const tr_check_work *w, const float *images, double gain,
                        tr_check_sums *sums)
{
    size_t all = w->nx * w->ny;
    memset(sums, 0, TR_CHECK_PATCHES * sizeof *sums);
    for (size_t i = 0; i < all; i++) {
        size_t x = i % w->nx, y = i / w->nx;
        tr_check_sums *s =
            sums + y * TR_CHECK_SIDE / w->ny * TR_CHECK_SIDE + x * TR_CHECK_SIDE / w->nx;
        double g = images[i], p = images[all + i], dx = images[2 * all + i],
               dy = images[3 * all + i];
        s->slope[0] += (g - gain * p) * dx;
        s->slope[1] += (g - gain * p) * dy;
        s->bend[0] += dx * dx;
        s->bend[1] += dx * dy;
        s->bend[2] += dy * dy;
        s->product += g * p;
        s->square += g * g;
    }
}

tr_status tr_check_patches(const tr_check_work *w, tr_check_sums *sums, double *gain)
{
    size_t all = w->nx * w->ny;
    tr_first_error failure = TR_NO_ERROR_YET;
#pragma omp parallel num_threads(w->threads)
    {
        fftwf_complex *work = tr_calloc("a spectrum", w->size, sizeof *work);
        float *images = tr_calloc("views", IMAGES * all, sizeof *images);
#pragma omp for schedule(dynamic)
        for (size_t k = 0; k < w->n; k++)
            if (work && images) {
                make_images(w, k, work, images);
                gain[k] = gain_of(images, images + all, all);
                sum_patches(w, images, gain[k], sums + k * TR_CHECK_PATCHES);
            } else {
                tr_first_error_note(&failure, k, TR_ERR_MEMORY);
            }
        free(work);
        free(images);
    }
    return tr_first_error_end(&failure);
}
