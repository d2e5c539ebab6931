#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/first_error.h"
#include "common/base/mem.h"
#include "common/alignment/alignment_private.h"
#include "kernels/fftw_planner.h"

static const size_t lowest_ring = 5; /* slower changes are thickness and light */
static const double fade = 0.1;      /* of the field on each side */

static tr_status no_memory(void)
{
    return tr_fail(TR_ERR_MEMORY, "not enough memory for checking the alignment");
}

static float *make_window(size_t n)
{
    float *window = tr_calloc("a window", n, sizeof *window);
    for (size_t i = 0; i < n && window; i++) {
        double from_edge = fmin((double)i, (double)(n - 1 - i)) + 0.5;
        double part = fmin(from_edge / (fade * (double)n), 1.0),
               s = sin(0.5 * TR_PI * part);
        window[i] = (float)(s * s);
    }
    return window;
}

static void sort_views(const double *tilt, size_t n, size_t *order)
{
    for (size_t k = 0; k < n; k++) {
        size_t at = k;
        for (; at > 0 && tilt[order[at - 1]] > tilt[k]; at--)
            order[at] = order[at - 1];
        order[at] = k;
    }
}

static bool make_plans(tr_check_work *w)
{
    float *image = tr_calloc("a view", w->nx * w->ny, sizeof *image);
    tr_fftw_planner_lock();
    if (image) {
        w->forward = fftwf_plan_dft_r2c_2d((int)w->ny, (int)w->nx, image, w->view,
                                           FFTW_ESTIMATE | FFTW_UNALIGNED);
        w->backward = fftwf_plan_dft_c2r_2d((int)w->ny, (int)w->nx, w->view, image,
                                            FFTW_ESTIMATE | FFTW_UNALIGNED);
    }
    tr_fftw_planner_unlock();
    free(image);
    return w->forward && w->backward;
}

tr_status tr_check_begin(const tr_check_source *source, int threads, tr_check_work *w)
{
    size_t columns = source->nx / 2 + 1;
    *w = (tr_check_work){.source = source,
                         .threads = threads,
                         .n = source->n,
                         .nx = source->nx,
                         .ny = source->ny,
                         .columns = columns,
                         .size = source->ny * columns,
                         .slab = {source->n, source->nx, source->ny, source->tilt,
                                  source->thickness, source->high}};
    size_t n = w->n, all = n * w->size;
    w->order = tr_calloc("the list of views", n, sizeof *w->order);
    w->signal = tr_calloc("rings", tr_slab_rings(&w->slab), sizeof *w->signal);
    w->d = tr_calloc("shifts of views", n, sizeof *w->d);
    w->window[0] = make_window(w->nx);
    w->window[1] = make_window(w->ny);
    w->view = tr_calloc("spectra of views", all, sizeof *w->view);
    w->shifted = tr_calloc("spectra of views", all, sizeof *w->shifted);
    w->predicted = tr_calloc("spectra of views", all, sizeof *w->predicted);
    if (!w->order || !w->signal || !w->d || !w->window[0] || !w->window[1] || !w->view ||
        !w->shifted || !w->predicted)
        return TR_ERR_MEMORY;
    sort_views(source->tilt, n, w->order);
    return make_plans(w) ? TR_OK : no_memory();
}

void tr_check_end(tr_check_work *w)
{
    tr_fftw_planner_lock();
    if (w->forward)
        fftwf_destroy_plan(w->forward);
    if (w->backward)
        fftwf_destroy_plan(w->backward);
    tr_fftw_planner_unlock();
    tr_slab_predictor_free(w->predictor);
    free(w->order);
    free(w->amplitude);
    free(w->signal);
    free(w->d);
    free(w->window[0]);
    free(w->window[1]);
    free(w->view);
    free(w->shifted);
    free(w->predicted);
}

/* ---- whitened views ---- */

static double power(const fftwf_complex *f)
{
    return (double)(*f)[0] * (*f)[0] + (double)(*f)[1] * (*f)[1];
}

/* The mean power of all views, each scaled to the same power, by rings. */
static tr_status find_amplitude(tr_check_work *w)
{
    size_t rings = tr_slab_rings(&w->slab);
    double *sum = tr_calloc("rings", 3 * rings, sizeof *sum);
    w->amplitude = tr_calloc("rings", rings, sizeof *w->amplitude);
    if (!sum || !w->amplitude) {
        free(sum);
        return TR_ERR_MEMORY;
    }
    double *count = sum + rings, *one = sum + 2 * rings;
    for (size_t k = 0; k < w->n; k++) {
        double all = 0.0;
        memset(one, 0, rings * sizeof *one);
        for (size_t ky = 0; ky < w->ny; ky++)
            for (size_t kx = 0; kx < w->columns; kx++) {
                size_t ring = tr_slab_ring(&w->slab, kx, ky);
                double p = power(&w->view[k * w->size + ky * w->columns + kx]);
                one[ring] += p;
                all += p;
                count[ring] += k == 0;
            }
        for (size_t r = 0; r < rings && all > 0.0; r++)
            sum[r] += one[r] / all;
    }
    double most = 0.0;
    for (size_t r = 0; r < rings; r++) {
        w->amplitude[r] = count[r] > 0.0 ? sqrt(sum[r] / count[r]) : 0.0;
        most = fmax(most, w->amplitude[r]);
    }
    for (size_t r = 0; r < rings; r++)
        w->amplitude[r] = fmax(w->amplitude[r], 1e-3 * most);
    free(sum);
    return most > 0.0 ? TR_OK
                      : tr_fail(TR_ERR_DATA, "there is nothing in the views to check "
                                             "an alignment with: all are constant");
}

/* To the same power in all rings, and 1 at each frequency on average. */
static void whiten(const tr_check_work *w, fftwf_complex *f)
{
    double sum = 0.0, count = 0.0, n = (double)(w->nx > w->ny ? w->nx : w->ny);
    for (size_t ky = 0; ky < w->ny; ky++)
        for (size_t kx = 0; kx < w->columns; kx++) {
            size_t ring = tr_slab_ring(&w->slab, kx, ky), at = ky * w->columns + kx;
            bool in = ring >= lowest_ring && (double)ring <= w->source->high * n;
            double by = in ? 1.0 / w->amplitude[ring] : 0.0;
            f[at][0] = (float)(by * f[at][0]);
            f[at][1] = (float)(by * f[at][1]);
            sum += power(&f[at]);
            count += in;
        }
    float by = sum > 0.0 ? (float)sqrt(count / sum) : 0.0f;
    for (size_t i = 0; i < w->size; i++) {
        f[i][0] *= by;
        f[i][1] *= by;
    }
}

static tr_status load_view(const tr_check_work *w, size_t k, double turn, float *image)
{
    const tr_check_source *s = w->source;
    TR_TRY(s->stretched(s->data, k, turn, image));
    for (size_t y = 0; y < w->ny; y++)
        for (size_t x = 0; x < w->nx; x++)
            image[y * w->nx + x] *= w->window[0][x] * w->window[1][y];
    fftwf_execute_dft_r2c(w->forward, image, w->view + k * w->size);
    return TR_OK;
}

tr_status tr_check_load(tr_check_work *w, double turn)
{
    tr_first_error failure = TR_NO_ERROR_YET;
#pragma omp parallel num_threads(w->threads)
    {
        float *image = tr_calloc("a view", w->nx * w->ny, sizeof *image);
#pragma omp for schedule(dynamic)
        for (size_t k = 0; k < w->n; k++)
            if (tr_first_error_needs(&failure, k))
                tr_first_error_note(&failure, k,
                                    image ? load_view(w, k, turn, image) : TR_ERR_MEMORY);
        free(image);
    }
    TR_TRY(tr_first_error_end(&failure));
    if (!w->amplitude)
        TR_TRY(find_amplitude(w));
#pragma omp parallel for num_threads(w->threads) schedule(dynamic)
    for (size_t k = 0; k < w->n; k++)
        whiten(w, w->view + k * w->size);
    return TR_OK;
}

/* ---- shifted and predicted ---- */

/* exp(2 pi i f d) takes the shift d out. */
static void shift_view(const tr_check_work *w, size_t k)
{
    const fftwf_complex *from = w->view + k * w->size;
    fftwf_complex *to = w->shifted + k * w->size;
    double x = w->d[k][0] + w->depth * tan(w->source->tilt[k]), y = w->d[k][1];
    for (size_t ky = 0; ky < w->ny; ky++) {
        double fy =
            (ky > w->ny / 2 ? (double)ky - (double)w->ny : (double)ky) / (double)w->ny;
        double turn = 2.0 * TR_PI * x / (double)w->nx, step[2] = {cos(turn), sin(turn)};
        double e[2] = {cos(2.0 * TR_PI * fy * y), sin(2.0 * TR_PI * fy * y)};
        for (size_t kx = 0; kx < w->columns; kx++) {
            size_t at = ky * w->columns + kx;
            double re = from[at][0], im = from[at][1];
            to[at][0] = (float)(re * e[0] - im * e[1]);
            to[at][1] = (float)(re * e[1] + im * e[0]);
            double next = e[0] * step[0] - e[1] * step[1];
            e[1] = e[0] * step[1] + e[1] * step[0];
            e[0] = next;
        }
    }
}

static void shift_all(tr_check_work *w)
{
#pragma omp parallel for num_threads(w->threads) schedule(dynamic)
    for (size_t k = 0; k < w->n; k++)
        shift_view(w, k);
}

tr_status tr_check_learn(tr_check_work *w)
{
    shift_all(w);
    tr_slab_signal(&w->slab, w->order, (const float(*)[2])w->shifted, w->signal);
    tr_slab_predictor_free(w->predictor);
    w->predictor = NULL;
    return tr_slab_predictor_new(&w->slab, w->signal, w->threads, &w->predictor);
}

void tr_check_predict(tr_check_work *w)
{
    shift_all(w);
    tr_slab_predict(w->predictor, (const float(*)[2])w->shifted, w->threads,
                    w->predicted);
}

double tr_check_weight(const tr_check_work *w, size_t ring, bool alike)
{
    double noise = 1.0 - w->signal[ring] + 0.02;
    return alike ? w->signal[ring] / noise : 1.0 / noise;
}
