#include "tiltrecz/model.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/angle.h"
#include "common/base/mem.h"
#include "common/views/ctf.h"
#include "common/views/dose.h"
#include "common/views/response.h"
#include "common/views/wiener.h"
#include "tiltrecz/fourier.h"
#include "tiltrecz/responses.h"

enum { PLACES = 4096, SPARE = 16 };

struct tr_volume_model {
    const tr_job *job;
    tr_model model;
    tr_volume_fourier *fourier;
    tr_responses *responses;
    tr_linop *chain;
    tr_row_range *rows;
    size_t *rows_of;
    double *weight;
    float *transfer, *power;
};

static const tr_view_params *params_of(const tr_job *job) { return &job->options->views; }

static bool is_modelled(const tr_job *job)
{
    return job->options && job->views && params_of(job)->model;
}

/* Angstroms of a voxel. */
static double pixel_of(const tr_job *job)
{
    return tr_series_pixel(job->series) * (double)params_of(job)->bin;
}

static size_t spread_of(const tr_job *job)
{
    size_t spread = 0;
    for (size_t v = 0; v < job->views->n; v++) {
        size_t own = tr_view_spread(params_of(job), &job->views->view[v], pixel_of(job));
        spread = own > spread ? own : spread;
    }
    return spread;
}

size_t tr_volume_beside(const tr_job *job)
{
    return is_modelled(job) && tr_view_responds(params_of(job)) ? spread_of(job) + SPARE
                                                                : 0;
}

size_t tr_volume_model_bytes(const tr_job *job, const tr_volume_plan *p)
{
    const tr_geometry *g = &job->geometry;
    size_t bytes = 0;
    if (!is_modelled(job))
        return 0;
    if (p->beside)
        bytes += tr_responses_bytes(g->n_views, g->n_u + 2 * p->beside, p->all_rows,
                                    p->beside, job->comm->size, job->threads);
    return bytes +
           tr_volume_fourier_bytes(g->width, p->planes, g->outer, p->rows, p->all_rows);
}

/* ---- tables ---- */

/* A view's transfer at k cycles per voxel, astigmatism left out. */
static double transfer_at(const tr_job *job, const tr_view *view, double k)
{
    const tr_view_params *params = params_of(job);
    const tr_optics optics = {params->voltage, params->cs, params->amplitude};
    double f = k / pixel_of(job), h = 1.0;
    if (params->dose)
        h *= tr_dose_weight(params, tr_dose_counted(params, view), f);
    if (params->ctf) {
        tr_ctf round = view->ctf;
        round.defocus_1 = round.defocus_2 = 0.5 * (round.defocus_1 + round.defocus_2);
        const tr_ctf_phase phase = tr_ctf_phase_of(&round, &optics);
        h *= tr_ctf_value(&phase, f, 0.0);
    }
    return h;
}

/* The power of each pixel in the specimen's untilted projection. Binned, a pixel is the
 * mean of several: its power is less. */
static double power_at(const tr_job *job, double k, double noise)
{
    const tr_wiener *w = tr_series_wiener(job->series);
    double bin = (double)params_of(job)->bin;
    if (!w->measured)
        return noise * fmax(tr_warp_ratio(k / pixel_of(job)), 1e-3);
    return tr_wiener_power(w, fmax(k / bin, 1e-6)) / (bin * bin);
}

static void fill_tables(tr_volume_model *m)
{
    const tr_job *job = m->job;
    const tr_geometry *g = &job->geometry;
    const tr_wiener *w = tr_series_wiener(job->series);
    size_t n = g->n_views;
    double bin = (double)params_of(job)->bin, mean = 0.0, low = INFINITY,
           high = -INFINITY;
    for (size_t v = 0; v < n; v++) {
        double c = fmax(cos(job->views->view[v].tilt * TR_RADIANS), 0.1);
        double noise = w->noise[v] / c / (bin * bin);
        mean += noise / (double)n;
        m->weight[v] = noise > 0.0 ? 1.0 / noise : 0.0;
        low = fmin(low, g->tilt[v]);
        high = fmax(high, g->tilt[v]);
    }
    double all = 0.0, area = 0.0, variance = 0.0, thickness = (double)g->thickness;
    m->model.per_k = PLACES / sqrt(0.75);
    for (size_t i = 0; i < PLACES + 2; i++) {
        double k = (double)i / m->model.per_k, sum = 0.0;
        for (size_t v = 0; v < n; v++) {
            double h = transfer_at(job, &job->views->view[v], k);
            sum += h * h * m->weight[v];
        }
        m->transfer[i] = (float)(sum / (double)n);
        m->power[i] = (float)(power_at(job, k, mean) / thickness);
        if (k <= 0.5) {
            all += sum * k;
            area += k;
            variance += 4.0 * TR_PI * k * k * m->power[i] / m->model.per_k;
        }
    }
    m->model.response2 = all / area;
    m->model.deviation = sqrt(variance);
    m->model.step = n > 1 && high > low ? (high - low) / (double)(n - 1) : 1.0;
    m->model.least = 0.5 / thickness;
}

/* ---- in Fourier space ---- */

typedef struct filter_of {
    const tr_model *model;
    const tr_model_filter *filter;
} filter_of;

static double table_at(const float *table, double at)
{
    size_t i = (size_t)at < PLACES ? (size_t)at : PLACES;
    return table[i] + (at - (double)i) * (table[i + 1] - table[i]);
}

static double lengths(double k)
{
    double s = 2.0 * sin(TR_PI * k);
    return s * s;
}

static double factor(const void *data, double kx, double ky, double kz)
{
    const filter_of *of = data;
    const tr_model *m = of->model;
    const tr_model_filter *f = of->filter;
    double across = kx * kx + kz * kz, at = sqrt(across + ky * ky) * m->per_k, sum = 0.0;
    if (f->data > 0.0)
        sum += f->data * table_at(m->transfer, at) /
               (m->step * fmax(sqrt(across), m->least));
    if (f->prior > 0.0)
        sum += f->prior / fmax(table_at(m->power, at), 1e-30);
    if (f->rho > 0.0)
        sum += f->rho * (lengths(kx) + lengths(ky) + lengths(kz));
    sum += f->constant;
    return f->inverse ? 1.0 / fmax(sum, 1e-30) : sum;
}

static tr_status filter(const tr_model *model, const tr_model_filter *f, const tr_vec *x,
                        tr_vec *y)
{
    const tr_volume_model *m = model->self;
    const filter_of of = {model, f};
    return tr_volume_fourier_run(m->fourier, factor, &of, f->inverse, x, y);
}

/* ---- making it ---- */

static tr_status fill_response(const void *data, size_t view, size_t nx, size_t ny,
                               float *response)
{
    const tr_job *job = data;
    return tr_view_response(params_of(job), &job->views->view[view], pixel_of(job), nx,
                            ny, response);
}

static tr_status allocate(tr_volume_model *m, const tr_volume_plan *p)
{
    size_t ranks = (size_t)m->job->comm->size;
    m->rows = tr_calloc("ranks", ranks, sizeof *m->rows);
    m->rows_of = tr_calloc("ranks", ranks, sizeof *m->rows_of);
    m->weight = tr_calloc("views", m->job->geometry.n_views, sizeof *m->weight);
    m->transfer = tr_calloc("a table", PLACES + 2, sizeof *m->transfer);
    m->power = tr_calloc("a table", PLACES + 2, sizeof *m->power);
    if (!m->rows || !m->rows_of || !m->weight || !m->transfer || !m->power)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < ranks; k++) {
        size_t first;
        tr_volume_share(p, m->job->comm, (int)k, &first, &m->rows_of[k]);
        first -= p->all_first;
        m->rows[k] = (tr_row_range){(long)first, (long)(first + m->rows_of[k])};
    }
    fill_tables(m);
    return TR_OK;
}

static tr_status build(tr_volume_model *m, const tr_volume_plan *p, const tr_linop *A)
{
    const tr_job *job = m->job;
    TR_TRY(job->comm->ops->agree(job->comm, allocate(m, p)));
    m->model.weight = m->weight;
    m->model.places = PLACES;
    m->model.transfer = m->transfer;
    m->model.power = m->power;
    m->model.filter = filter;
    m->model.self = m;
    const tr_volume_fourier_spec space = {.comm = job->comm,
                                          .backend = A->backend,
                                          .device = A->device,
                                          .slab = A->slab,
                                          .n_rows = A->n_rows,
                                          .rows_of = m->rows_of,
                                          .threads = job->threads};
    TR_TRY(tr_volume_fourier_new(&space, &m->fourier));
    if (!p->beside)
        return TR_OK;
    const tr_responses_spec spec = {.comm = job->comm,
                                    .A = A,
                                    .rows = m->rows,
                                    .beside = p->beside,
                                    .spread = p->beside,
                                    .threads = job->threads,
                                    .fill = fill_response,
                                    .data = job};
    TR_TRY(tr_responses_new(&spec, &m->responses));
    return job->comm->ops->agree(
        job->comm, tr_linop_chain(tr_responses_linop(m->responses), A, &m->chain));
}

tr_status tr_volume_model_new(const tr_job *job, const tr_volume_plan *plan,
                              const tr_linop *A, tr_volume_model **model)
{
    *model = NULL;
    if (!is_modelled(job))
        return TR_OK;
    tr_volume_model *m = tr_calloc("a model of the views", 1, sizeof *m);
    TR_TRY(job->comm->ops->agree(job->comm, m ? TR_OK : TR_ERR_MEMORY));
    m->job = job;
    tr_status status = build(m, plan, A);
    if (status != TR_OK)
        tr_volume_model_free(m);
    else
        *model = m;
    return status;
}

const tr_linop *tr_volume_model_linop(const tr_volume_model *m, const tr_linop *A)
{
    return m && m->chain ? m->chain : A;
}

const tr_model *tr_volume_model_of(const tr_volume_model *m)
{
    return m ? &m->model : NULL;
}

void tr_volume_model_free(tr_volume_model *m)
{
    if (!m)
        return;
    tr_linop_free(m->chain);
    tr_responses_free(m->responses);
    tr_volume_fourier_free(m->fourier);
    free(m->rows);
    free(m->rows_of);
    free(m->weight);
    free(m->transfer);
    free(m->power);
    free(m);
}
