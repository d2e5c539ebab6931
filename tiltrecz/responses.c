#include "tiltrecz/responses.h"

#include <complex.h>
#include <fftw3.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/first_error.h"
#include "common/base/mem.h"
#include "kernels/fftw_planner.h"
#include "kernels/fourier_crop.h"

struct tr_responses {
    tr_linop A; /* what is handed out */
    tr_linop_ops ops;
    tr_responses_spec spec;
    size_t nx, n_rows, ny; /* of views: columns, rows of all ranks, and with zeros */
    size_t most;           /* views that a rank filters at a time */
    fftwf_plan forward, backward;
    float *response; /* of views me, me + size, ... */
    float *send, *recv, *images;
    size_t *list, *send_counts, *recv_counts;
};

static size_t n_ranks(const tr_responses *r) { return (size_t)r->spec.comm->size; }
static size_t rows_of(const tr_responses *r, size_t rank)
{
    return (size_t)(r->spec.rows[rank].end - r->spec.rows[rank].first);
}
static size_t own_rows(const tr_responses *r)
{
    return rows_of(r, (size_t)r->spec.comm->rank);
}
static size_t half_line(const tr_responses *r) { return r->ny / 2 + 1; }

/* Which rank has a view whole. */
static size_t owner(const tr_responses *r, size_t view) { return view % n_ranks(r); }

/* ---- one view ---- */

/* Columns that the detector does not have become 0. */
static void mask(const tr_responses *r, float *image)
{
    size_t line = 2 * half_line(r), beside = r->spec.beside;
    memset(image, 0, beside * line * sizeof *image);
    memset(image + (r->nx - beside) * line, 0, beside * line * sizeof *image);
}

static void filter_view(const tr_responses *r, bool back, size_t view, float *image)
{
    const float *response = r->response + view / n_ranks(r) * r->nx * half_line(r);
    size_t line = 2 * half_line(r);
    float scale = 1.0f / (float)(r->nx * r->ny);
    fftwf_complex *spectrum = (fftwf_complex *)image;
    for (size_t x = 0; x < r->nx; x++)
        memset(image + x * line + r->n_rows, 0, (line - r->n_rows) * sizeof *image);
    if (back)
        mask(r, image);
    fftwf_execute_dft_r2c(r->forward, image, spectrum);
    for (size_t i = 0; i < r->nx * half_line(r); i++)
        spectrum[i] *= scale * response[i];
    fftwf_execute_dft_c2r(r->backward, spectrum, image);
    if (!back)
        mask(r, image);
}

/* ---- rows to whole views, and back ---- */

/* Some views of a subset, and how many of them each rank has whole. */
typedef struct round_of_views {
    const size_t *views;
    size_t n;
} round_of_views;

static size_t count_of(const tr_responses *r, const round_of_views *v, size_t rank)
{
    size_t n = 0;
    for (size_t k = 0; k < v->n; k++)
        n += owner(r, v->views[k]) == rank;
    return n;
}

static size_t *counts_to_owners(const tr_responses *r, const round_of_views *v)
{
    for (size_t k = 0; k < n_ranks(r); k++)
        r->send_counts[k] = count_of(r, v, k) * r->nx * own_rows(r);
    return r->send_counts;
}

static size_t *counts_from_rows(const tr_responses *r, const round_of_views *v)
{
    size_t mine = count_of(r, v, (size_t)r->spec.comm->rank);
    for (size_t k = 0; k < n_ranks(r); k++)
        r->recv_counts[k] = mine * r->nx * rows_of(r, k);
    return r->recv_counts;
}

/* Own rows of these views between a vector and r->send: in the order of their owners. */
static tr_status move_rows(const tr_responses *r, const round_of_views *v, bool out,
                           tr_vec *p)
{
    const tr_linop *A = &r->A;
    size_t columns = r->nx + TR_GUARDS, rows = own_rows(r), at = 0;
    for (size_t rank = 0; rank < n_ranks(r) && rows; rank++)
        for (size_t k = 0; k < v->n; k++) {
            if (owner(r, v->views[k]) != rank)
                continue;
            const tr_rows range = {v->views[k] * columns + 1, r->nx, 0, rows};
            float *host = r->send + at;
            TR_TRY(out ? A->backend->get_rows(A->device, p, &range, host)
                       : A->backend->put_rows(A->device, &range, host, false, p));
            at += r->nx * rows;
        }
    return TR_OK;
}

/* Own views of r->recv, as rank after rank has sent them, to or from images. */
static void move_image(const tr_responses *r, size_t mine, size_t k, bool in,
                       float *image)
{
    size_t line = 2 * half_line(r), before = 0;
    for (size_t rank = 0; rank < n_ranks(r); rank++) {
        size_t rows = rows_of(r, rank);
        float *block = r->recv + (mine * before + k * rows) * r->nx;
        for (size_t x = 0; x < r->nx; x++) {
            float *whole = image + x * line + before, *part = block + x * rows;
            memcpy(in ? whole : part, in ? part : whole, rows * sizeof *part);
        }
        before += rows;
    }
}

static void filter_own(const tr_responses *r, const round_of_views *v, bool back)
{
    size_t me = (size_t)r->spec.comm->rank, mine = count_of(r, v, me);
    size_t floats = r->nx * 2 * half_line(r);
    size_t own[mine ? mine : 1], n = 0;
    for (size_t k = 0; k < v->n; k++)
        if (owner(r, v->views[k]) == me)
            own[n++] = v->views[k];
#pragma omp parallel for num_threads(r->spec.threads) schedule(dynamic)
    for (size_t k = 0; k < mine; k++) {
        float *image = r->images + k * floats;
        move_image(r, mine, k, true, image);
        filter_view(r, back, own[k], image);
        move_image(r, mine, k, false, image);
    }
}

static tr_status filter_round(const tr_responses *r, const round_of_views *v, bool back,
                              const tr_vec *from, tr_vec *to)
{
    tr_comm *comm = r->spec.comm;
    tr_vec in = *from;
    TR_TRY(move_rows(r, v, true, &in));
    TR_TRY(comm->ops->exchange(comm, r->send, counts_to_owners(r, v), r->recv,
                               counts_from_rows(r, v)));
    filter_own(r, v, back);
    TR_TRY(comm->ops->exchange(comm, r->recv, counts_from_rows(r, v), r->send,
                               counts_to_owners(r, v)));
    return move_rows(r, v, false, to);
}

static tr_status apply(const tr_linop *A, bool back, const tr_subset *views,
                       const tr_vec *from, tr_vec *to)
{
    const tr_responses *r = A->self;
    const size_t *list = views ? views->views : r->list;
    size_t n = views ? views->n : A->slab->n_views, taken;
    for (size_t k = 0; k < n; k += taken) {
        /* As many as leave no rank with more than it has room for. */
        round_of_views v = {list + k, 0};
        for (bool fits = true; fits && k + v.n < n;) {
            size_t rank = owner(r, list[k + v.n]);
            fits = count_of(r, &v, rank) < r->most;
            v.n += fits;
        }
        taken = v.n;
        TR_TRY(filter_round(r, &v, back, from, to));
    }
    return TR_OK;
}

static tr_status forward(const tr_linop *A, const tr_subset *views, const tr_vec *x,
                         tr_vec *p)
{
    return apply(A, false, views, x, p);
}

static tr_status adjoint(const tr_linop *A, const tr_subset *views, const tr_vec *p,
                         tr_vec *x)
{
    return apply(A, true, views, p, x);
}

static tr_status sums_of_ones(const tr_linop *A, bool back, const tr_subset *views,
                              tr_vec *sums)
{
    tr_vec ones;
    TR_ASSERT(sums->rows > 1);
    TR_TRY(tr_linop_ones(A, true, &ones));
    tr_status status = apply(A, back, views, &ones, sums);
    A->backend->free(A->device, ones.data);
    return status;
}

static tr_status row_sums(const tr_linop *A, const tr_subset *views, tr_vec *p)
{
    return sums_of_ones(A, false, views, p);
}

static tr_status col_sums(const tr_linop *A, const tr_subset *views, tr_vec *x)
{
    return sums_of_ones(A, true, views, x);
}

/* ---- making it ---- */

static size_t with_zeros(size_t n_rows, size_t spread)
{
    return tr_fourier_padded(n_rows + spread, 1, 0);
}

size_t tr_responses_bytes(size_t n_views, size_t n_u, size_t n_rows, size_t spread,
                          int ranks, int threads)
{
    size_t image = n_u * (with_zeros(n_rows, spread) + 2) * sizeof(float);
    size_t most = (size_t)threads;
    size_t own = (n_views + (size_t)ranks - 1) / (size_t)ranks;
    return own * image / 2 + most * 3 * image + image * 2;
}

static tr_status fill_responses(const tr_responses *r)
{
    size_t ranks = n_ranks(r), me = (size_t)r->spec.comm->rank, n = r->A.slab->n_views;
    size_t own = n > me ? (n - me + ranks - 1) / ranks : 0;
    tr_first_error failure = TR_NO_ERROR_YET;
#pragma omp parallel for num_threads(r->spec.threads) schedule(dynamic)
    for (size_t k = 0; k < own; k++)
        if (tr_first_error_needs(&failure, k))
            tr_first_error_note(&failure, k,
                                r->spec.fill(r->spec.data, me + k * ranks, r->nx, r->ny,
                                             r->response + k * r->nx * half_line(r)));
    return tr_first_error_end(&failure);
}

static tr_status build(tr_responses *r)
{
    size_t ranks = n_ranks(r), n = r->A.slab->n_views;
    size_t own = (n + ranks - 1) / ranks, floats = r->nx * 2 * half_line(r);
    size_t sent = r->most * ranks * r->nx * own_rows(r);
    r->response =
        tr_calloc("responses of views", own * r->nx * half_line(r), sizeof(float));
    r->send = tr_calloc("rows of views", sent, sizeof(float));
    r->recv = tr_calloc("rows of views", r->most * r->nx * r->n_rows, sizeof(float));
    r->images = tr_calloc("views", r->most * floats, sizeof(float));
    r->list = tr_calloc("views", n, sizeof *r->list);
    r->send_counts = tr_calloc("ranks", ranks, sizeof *r->send_counts);
    r->recv_counts = tr_calloc("ranks", ranks, sizeof *r->recv_counts);
    if (!r->response || !r->send || !r->recv || !r->images || !r->list ||
        !r->send_counts || !r->recv_counts)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < n; k++)
        r->list[k] = k;
    tr_fftw_planner_lock();
    r->forward =
        fftwf_plan_dft_r2c_2d((int)r->nx, (int)r->ny, r->images,
                              (fftwf_complex *)r->images, FFTW_ESTIMATE | FFTW_UNALIGNED);
    r->backward =
        fftwf_plan_dft_c2r_2d((int)r->nx, (int)r->ny, (fftwf_complex *)r->images,
                              r->images, FFTW_ESTIMATE | FFTW_UNALIGNED);
    tr_fftw_planner_unlock();
    if (!r->forward || !r->backward)
        return tr_fail(TR_ERR_MEMORY, "not enough memory to transform views of %zu x %zu",
                       r->nx, r->ny);
    return fill_responses(r);
}

tr_status tr_responses_new(const tr_responses_spec *spec, tr_responses **made)
{
    tr_responses *r = tr_calloc("responses", 1, sizeof *r);
    tr_status status = r ? TR_OK : TR_ERR_MEMORY;
    if (r) {
        r->spec = *spec;
        r->A = *spec->A;
        r->ops = (tr_linop_ops){.forward = forward,
                                .adjoint = adjoint,
                                .row_sums = row_sums,
                                .col_sums = col_sums};
        r->A.ops = &r->ops;
        r->A.self = r;
        r->A.kind = TR_ON_IMAGES;
        r->A.coupled = true; /* what is 0 outside depends on the row */
        r->nx = spec->A->slab->n_u;
        r->n_rows = (size_t)spec->rows[spec->comm->size - 1].end;
        r->ny = with_zeros(r->n_rows, spec->spread);
        r->most = (size_t)spec->threads;
        status = build(r);
    }
    status = spec->comm->ops->agree(spec->comm, status);
    if (status != TR_OK)
        tr_responses_free(r);
    else
        *made = r;
    return status;
}

const tr_linop *tr_responses_linop(const tr_responses *r) { return &r->A; }

void tr_responses_free(tr_responses *r)
{
    if (!r)
        return;
    tr_fftw_planner_lock();
    if (r->forward)
        fftwf_destroy_plan(r->forward);
    if (r->backward)
        fftwf_destroy_plan(r->backward);
    tr_fftw_planner_unlock();
    free(r->response);
    free(r->send);
    free(r->recv);
    free(r->images);
    free(r->list);
    free(r->send_counts);
    free(r->recv_counts);
    free(r);
}
