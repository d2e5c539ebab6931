#include "common/alignment/slab_prediction.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/first_error.h"
#include "common/base/mem.h"

/* Signals for which predictions are made ready; a ring takes the nearest. 0 has none. */
enum { LEVELS = 11 };
static const double levels[LEVELS] = {0.0,  0.01, 0.02, 0.04, 0.08, 0.15,
                                      0.27, 0.43, 0.6,  0.77, 0.9};

struct tr_slab_predictor {
    tr_slab_views v;
    size_t n_kx;           /* columns of frequencies that are predicted */
    unsigned char *level;  /* [ring] */
    float *weight[LEVELS]; /* [kx][from][to]: -(K^-1)_ij / (K^-1)_ii, but for i = j
                              (K^-1)_ii, which predicts nothing; NULL: no ring has it */
};

size_t tr_slab_rings(const tr_slab_views *v)
{
    return (v->nx > v->ny ? v->nx : v->ny) + 2;
}

static double ky_of(const tr_slab_views *v, size_t ky)
{
    return (ky > v->ny / 2 ? (double)ky - (double)v->ny : (double)ky) / (double)v->ny;
}

size_t tr_slab_ring(const tr_slab_views *v, size_t kx, size_t ky)
{
    double n = (double)(v->nx > v->ny ? v->nx : v->ny);
    return (size_t)(n * hypot((double)kx / (double)v->nx, ky_of(v, ky)));
}

static double sinc(double x)
{
    return fabs(x) < 1e-9 ? 1.0 : sin(TR_PI * x) / (TR_PI * x);
}

/* Between views i and j, of a slab without noise. */
static double agreement(const tr_slab_views *v, size_t kx, size_t i, size_t j)
{
    double apart = tan(v->tilt[i]) - tan(v->tilt[j]);
    return sinc(v->thickness * (double)kx / (double)v->nx * apart);
}

/* ---- signal ---- */

static void add_pair(const tr_slab_views *v, size_t i, size_t j, const float (*a)[2],
                     const float (*b)[2], double *product, double *power)
{
    size_t columns = v->nx / 2 + 1;
    for (size_t kx = 1; kx < columns; kx++) {
        double c = agreement(v, kx, i, j);
        for (size_t ky = 0; ky < v->ny; ky++) {
            size_t at = ky * columns + kx, ring = tr_slab_ring(v, kx, ky);
            double re = (double)a[at][0] * b[at][0] + (double)a[at][1] * b[at][1];
            double both = (double)a[at][0] * a[at][0] + (double)a[at][1] * a[at][1] +
                          (double)b[at][0] * b[at][0] + (double)b[at][1] * b[at][1];
            product[ring] += c * re;
            power[ring] += 0.5 * c * c * both;
        }
    }
}

void tr_slab_signal(const tr_slab_views *v, const size_t *order,
                    const float (*spectra)[2], double *signal)
{
    enum { NEAR = 2 }; /* rings on each side that are averaged */
    size_t rings = tr_slab_rings(v), size = v->ny * (v->nx / 2 + 1);
    double *product = tr_calloc("rings", 2 * rings, sizeof *product);
    memset(signal, 0, rings * sizeof *signal);
    if (!product)
        return;
    double *power = product + rings;
    for (size_t k = 0; k + 1 < v->n; k++)
        add_pair(v, order[k], order[k + 1], spectra + order[k] * size,
                 spectra + order[k + 1] * size, product, power);
    for (size_t r = 0; r < rings; r++) {
        size_t first = r > NEAR ? r - NEAR : 0, end = r + NEAR + 1;
        double a = 0.0, b = 0.0;
        for (size_t i = first; i < end && i < rings; i++)
            a += product[i], b += power[i];
        signal[r] = b > 0.0 ? fmin(fmax(a / b, 0.0), 0.98) : 0.0;
    }
    free(product);
}

/* ---- weights ---- */

/* The inverse of a symmetric positive definite matrix a[n][n], in place, by Cholesky's
 * factors; work[n][n]. */
static void invert(size_t n, double *a, double *work)
{
    for (size_t j = 0; j < n; j++) {
        double d = a[j * n + j];
        for (size_t k = 0; k < j; k++)
            d -= a[j * n + k] * a[j * n + k];
        a[j * n + j] = sqrt(fmax(d, 1e-12));
        for (size_t i = j + 1; i < n; i++) {
            double s = a[i * n + j];
            for (size_t k = 0; k < j; k++)
                s -= a[i * n + k] * a[j * n + k];
            a[i * n + j] = s / a[j * n + j];
        }
    }
    memset(work, 0, n * n * sizeof *work); /* row i: column i of the factor's inverse */
    for (size_t i = 0; i < n; i++) {
        double *w = work + i * n;
        w[i] = 1.0 / a[i * n + i];
        for (size_t r = i + 1; r < n; r++) {
            double s = 0.0;
            for (size_t k = i; k < r; k++)
                s -= a[r * n + k] * w[k];
            w[r] = s / a[r * n + r];
        }
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++) {
            double s = 0.0;
            for (size_t k = j; k < n; k++)
                s += work[i * n + k] * work[j * n + k];
            a[i * n + j] = a[j * n + i] = s;
        }
}

/* weight[from][to] at column kx of frequencies. a and work: n * n. */
static void make_weights(const tr_slab_views *v, size_t kx, double signal, double *a,
                         double *work, float *weight)
{
    size_t n = v->n;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            a[i * n + j] =
                signal * agreement(v, kx, i, j) + (i == j ? 1.0 - signal : 0.0);
    invert(n, a, work);
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < n; i++)
            weight[j * n + i] =
                (float)(i == j ? a[i * n + i] : -a[i * n + j] / a[i * n + i]);
}

static unsigned char nearest_level(double signal)
{
    int best = 0;
    for (int k = 1; k < LEVELS; k++)
        if (fabs(signal - levels[k]) < fabs(signal - levels[best]))
            best = k;
    return (unsigned char)best;
}

static tr_status allocate(const double *signal, tr_slab_predictor *p)
{
    size_t rings = tr_slab_rings(&p->v), n = p->v.n;
    p->level = tr_calloc("rings", rings, sizeof *p->level);
    if (!p->level)
        return TR_ERR_MEMORY;
    double per_ring = 1.0 / (double)(rings - 2);
    for (size_t r = 0; r < rings; r++) {
        p->level[r] = (double)r * per_ring <= p->v.high ? nearest_level(signal[r]) : 0;
        float **weight = &p->weight[p->level[r]];
        if (p->level[r] && !*weight)
            *weight = tr_calloc("weights of views", p->n_kx * n * n, sizeof **weight);
        if (p->level[r] && !*weight)
            return TR_ERR_MEMORY;
    }
    return TR_OK;
}

static tr_status fill(tr_slab_predictor *p, int threads)
{
    size_t n = p->v.n;
    tr_first_error failure = TR_NO_ERROR_YET;
#pragma omp parallel num_threads(threads)
    {
        double *a = tr_calloc("weights of views", 2 * n * n, sizeof *a);
#pragma omp for schedule(dynamic)
        for (size_t kx = 0; kx < p->n_kx; kx++) {
            if (!a)
                tr_first_error_note(&failure, kx, TR_ERR_MEMORY);
            for (size_t k = 1; k < LEVELS && a; k++)
                if (p->weight[k])
                    make_weights(&p->v, kx, levels[k], a, a + n * n,
                                 p->weight[k] + kx * n * n);
        }
        free(a);
    }
    return tr_first_error_end(&failure);
}

tr_status tr_slab_predictor_new(const tr_slab_views *v, const double *signal, int threads,
                                tr_slab_predictor **made)
{
    tr_slab_predictor *p = tr_calloc("weights of views", 1, sizeof *p);
    if (!p)
        return TR_ERR_MEMORY;
    p->v = *v;
    size_t last = (size_t)(v->high * (double)v->nx);
    p->n_kx = (last < v->nx / 2 ? last : v->nx / 2) + 1;
    tr_status status = allocate(signal, p);
    if (status == TR_OK)
        status = fill(p, threads);
    if (status == TR_OK)
        *made = p;
    else
        tr_slab_predictor_free(p);
    return status;
}

void tr_slab_predictor_free(tr_slab_predictor *p)
{
    if (!p)
        return;
    for (size_t k = 0; k < LEVELS; k++)
        free(p->weight[k]);
    free(p->level);
    free(p);
}

double tr_slab_precision(const tr_slab_predictor *p, size_t view, size_t kx, size_t ky)
{
    size_t level = p->level[tr_slab_ring(&p->v, kx, ky)], n = p->v.n;
    if (!level || kx >= p->n_kx)
        return 0.0;
    return (double)p->weight[level][(kx * n + view) * n + view];
}

/* ---- predicting ---- */

/* One frequency of all views, `stride` apart. */
static void predict_one(size_t n, const float *weight, const float (*in)[2],
                        size_t stride, float *re, float *im, float (*out)[2])
{
    memset(re, 0, n * sizeof *re);
    memset(im, 0, n * sizeof *im);
    for (size_t j = 0; j < n; j++) {
        const float *w = weight + j * n, a = in[j * stride][0], b = in[j * stride][1];
        float own[2] = {re[j], im[j]};
        for (size_t i = 0; i < n; i++) {
            re[i] += w[i] * a;
            im[i] += w[i] * b;
        }
        re[j] = own[0], im[j] = own[1]; /* no view predicts itself */
    }
    for (size_t i = 0; i < n; i++) {
        out[i * stride][0] = re[i];
        out[i * stride][1] = im[i];
    }
}

void tr_slab_predict(const tr_slab_predictor *p, const float (*spectra)[2], int threads,
                     float (*predicted)[2])
{
    const tr_slab_views *v = &p->v;
    size_t n = v->n, columns = v->nx / 2 + 1, size = v->ny * columns;
    memset(predicted, 0, n * size * sizeof *predicted);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 8)
    for (size_t ky = 0; ky < v->ny; ky++) {
        float sums[2][TR_SLAB_MOST_VIEWS];
        for (size_t kx = 0; kx < p->n_kx; kx++) {
            size_t level = p->level[tr_slab_ring(v, kx, ky)];
            if (level)
                predict_one(n, p->weight[level] + kx * n * n, spectra + ky * columns + kx,
                            size, sums[0], sums[1], predicted + ky * columns + kx);
        }
    }
}
