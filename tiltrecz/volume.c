/* The projection operator of the whole volume. Algorithms see each process's own image
 * rows; where rays leave them, every view is projected into a window of rows, and the
 * windows are exchanged: gathered before a backprojection, added up after a projection.
 */
#include "tiltrecz/volume_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"

static tr_volume_operator *self(const tr_linop *A) { return A->self; }

static row_range overlap(long a0, long a1, long b0, long b1)
{
    row_range r = {a0 > b0 ? a0 : b0, a1 < b1 ? a1 : b1};
    r.end = r.end > r.first ? r.end : r.first;
    return r;
}

/* ---- the exchange of one view's rows ---- */

/* Image rows of one view within a vector whose lane 0 is image row `row0`. */
static tr_rows rows_of_view(const tr_volume_operator *op, size_t view, row_range rows,
                            long row0)
{
    return (tr_rows){.line = view * tr_volume_columns(op),
                     .n_lines = tr_volume_columns(op),
                     .row = (size_t)(rows.first - row0),
                     .n_rows = (size_t)(rows.end - rows.first)};
}

static size_t count_floats(const tr_volume_operator *op, row_range rows)
{
    return tr_volume_columns(op) * (size_t)(rows.end - rows.first);
}

/* The rows for each rank, one rank after the other, from a vector to a buffer; or back,
 * added to what is there. */
static tr_status get_all(const tr_volume_operator *op, size_t view, const tr_vec *v,
                         long row0, const row_range *rows, float *buffer, size_t *counts)
{
    const tr_linop *A = &op->A;
    for (int k = 0; k < op->job->comm->size; k++) {
        tr_rows part = rows_of_view(op, view, rows[k], row0);
        counts[k] = count_floats(op, rows[k]);
        if (counts[k])
            TR_TRY(A->backend->get_rows(A->device, v, &part, buffer));
        buffer += counts[k];
    }
    return TR_OK;
}

static tr_status put_all(const tr_volume_operator *op, size_t view, tr_vec *v, long row0,
                         const row_range *rows, const float *buffer, bool add)
{
    const tr_linop *A = &op->A;
    for (int k = 0; k < op->job->comm->size; k++) {
        tr_rows part = rows_of_view(op, view, rows[k], row0);
        if (part.n_rows)
            TR_TRY(A->backend->put_rows(A->device, &part, buffer, add, v));
        buffer += count_floats(op, rows[k]);
    }
    return TR_OK;
}

/* Rows of the window that no process owns, because they lie outside the image: 0, or as
 * the image's edge. */
static tr_status fill_outside(const tr_volume_operator *op, size_t view, tr_vec *window)
{
    const tr_volume_plan *p = op->plan;
    const tr_linop *A = &op->A;
    long first = p->window_first, n_v = (long)op->job->geometry.n_v;
    long end = first + (long)p->window_lanes;
    const row_range outside[] = {{first, first < 0 ? 0 : first},
                                 {end > n_v ? n_v : end, end}};
    const long edges[] = {0, n_v - 1};
    for (int side = 0; side < 2; side++) {
        size_t edge = (size_t)(edges[side] - first);
        bool known = op->fill_edges && edges[side] >= first && edges[side] < end;
        tr_rows rows = rows_of_view(op, view, outside[side], first);
        if (rows.n_rows)
            TR_TRY(A->backend->set_rows(A->device, &rows, known ? &edge : NULL, window));
    }
    return TR_OK;
}

static tr_vec window_of(const tr_volume_operator *op)
{
    return (tr_vec){op->window, tr_projection_lines(&op->slab), op->slab.p_rows};
}

/* Own rows of p to all windows that need them. */
static tr_status gather_view(tr_volume_operator *op, size_t view, tr_vec *p)
{
    const tr_volume_plan *plan = op->plan;
    tr_comm *comm = op->job->comm;
    tr_vec window = window_of(op);
    TR_TRY(get_all(op, view, p, (long)plan->first, op->mine, op->send, op->send_counts));
    for (int k = 0; k < comm->size; k++)
        op->recv_counts[k] = count_floats(op, op->theirs[k]);
    TR_TRY(
        comm->ops->exchange(comm, op->send, op->send_counts, op->recv, op->recv_counts));
    TR_TRY(put_all(op, view, &window, plan->window_first, op->theirs, op->recv, false));
    return fill_outside(op, view, &window);
}

/* What all windows hold of my own rows, added up in the order of the ranks. */
static tr_status scatter_view(tr_volume_operator *op, size_t view, tr_vec *p)
{
    const tr_volume_plan *plan = op->plan;
    tr_comm *comm = op->job->comm;
    tr_vec window = window_of(op);
    const tr_rows all = {view * tr_volume_columns(op), tr_volume_columns(op), 0,
                         plan->lanes};
    TR_TRY(get_all(op, view, &window, plan->window_first, op->theirs, op->recv,
                   op->recv_counts));
    for (int k = 0; k < comm->size; k++)
        op->send_counts[k] = count_floats(op, op->mine[k]);
    TR_TRY(
        comm->ops->exchange(comm, op->recv, op->recv_counts, op->send, op->send_counts));
    TR_TRY(op->A.backend->set_rows(op->A.device, &all, NULL, p));
    return put_all(op, view, p, (long)plan->first, op->mine, op->send, true);
}

static size_t count_views(const tr_linop *A, const tr_subset *views)
{
    return views ? views->n : A->slab->n_views;
}

static tr_status for_views(const tr_linop *A, const tr_subset *views, const tr_vec *p,
                           tr_status (*step)(tr_volume_operator *, size_t, tr_vec *))
{
    tr_vec copy = *p;
    for (size_t k = 0; k < count_views(A, views); k++)
        TR_TRY(step(self(A), views ? views->views[k] : k, &copy));
    return TR_OK;
}

/* ---- the operator ---- */

static tr_status finish_pass(const tr_linop *A, const tr_subset *views, double start,
                             tr_status status)
{
    tr_volume_operator *op = self(A);
    tr_job *job = op->job;
    if (status == TR_OK)
        status =
            A->backend->wait(A->device); /* so that the seconds are the stage's own */
    tr_job_spent(job, TR_STAGE_PROJECT, start);
    job->updates += (double)count_views(A, views) * (double)tr_core_lines(A->slab) *
                    (double)op->plan->rows;
    tr_log_progress(job->algorithm->name, job->updates,
                    fmax(op->total_updates, job->updates), job->updates,
                    job->seconds[TR_STAGE_PROJECT]);
    return status;
}

/* Lanes from `rows` on become 0. */
static tr_status clear_spare(const tr_linop *A, size_t rows, tr_vec *v)
{
    const tr_rows spare = {0, v->lines, rows, v->rows - rows};
    return spare.n_rows ? A->backend->set_rows(A->device, &spare, NULL, v) : TR_OK;
}

static tr_status volume_forward(const tr_linop *A, const tr_subset *views,
                                const tr_vec *x, tr_vec *p)
{
    tr_volume_operator *op = self(A);
    double start = tr_now();
    if (!op->plan->coupled)
        return finish_pass(A, views, start,
                           A->backend->project(A->device, &op->slab, views, x, p));
    if (op->sums)
        return finish_pass(A, views, start, tr_volume_project_sums(op, views, x, p));
    tr_vec window = window_of(op);
    TR_TRY(A->backend->project(A->device, &op->slab, views, x, &window));
    return finish_pass(A, views, start, for_views(A, views, p, scatter_view));
}

static tr_status volume_adjoint(const tr_linop *A, const tr_subset *views,
                                const tr_vec *p, tr_vec *x)
{
    tr_volume_operator *op = self(A);
    const tr_volume_plan *plan = op->plan;
    double start = tr_now();
    if (!plan->coupled)
        return finish_pass(A, views, start,
                           A->backend->backproject(A->device, &op->slab, views, p, x));
    tr_vec window = window_of(op);
    TR_TRY(for_views(A, views, p, gather_view));
    TR_TRY(A->backend->backproject(A->device, &op->slab, views, &window, x));
    /* Lanes beyond the own slices got values too, but are not part of the volume. */
    return finish_pass(A, views, start, clear_spare(A, plan->rows, x));
}

static tr_status volume_add_adjoint(const tr_linop *A, const tr_subset *views, float a,
                                    const tr_vec *w, float low, const tr_vec *p,
                                    tr_vec *x)
{
    tr_volume_operator *op = self(A);
    const tr_volume_plan *plan = op->plan;
    const tr_backend *backend = A->backend;
    double start = tr_now();
    tr_vec window = window_of(op);
    if (plan->coupled)
        TR_TRY(for_views(A, views, p, gather_view));
    TR_TRY(backend->backproject_add(A->device, &op->slab, views, a, w, low,
                                    plan->coupled ? &window : p, x));
    return finish_pass(A, views, start,
                       plan->coupled ? clear_spare(A, plan->rows, x) : TR_OK);
}

static tr_status volume_row_sums(const tr_linop *A, const tr_subset *views, tr_vec *p)
{
    tr_volume_operator *op = self(A);
    if (!op->plan->coupled)
        return A->backend->row_sums(A->device, &op->slab, views, p);
    tr_vec ones;
    TR_TRY(tr_linop_ones(A, false, &ones));
    tr_status status = volume_forward(A, views, &ones, p);
    A->backend->free(A->device, ones.data);
    return status;
}

static tr_status volume_col_sums(const tr_linop *A, const tr_subset *views, tr_vec *x)
{
    tr_volume_operator *op = self(A);
    if (!op->plan->coupled)
        return A->backend->col_sums(A->device, &op->slab, views, x);
    tr_vec ones;
    TR_TRY(tr_linop_ones(A, true, &ones));
    tr_status status = volume_adjoint(A, views, &ones, x);
    A->backend->free(A->device, ones.data);
    return status;
}

static tr_status volume_filter(const tr_linop *A, const tr_filter *filter, tr_vec *p)
{
    tr_volume_operator *op = self(A);
    double start = tr_now();
    tr_status status = A->backend->filter(A->device, A->slab, filter, p);
    op->fill_edges = true;
    if (status == TR_OK)
        status = A->backend->wait(A->device);
    tr_job_spent(op->job, TR_STAGE_FILTER, start);
    return status;
}

static tr_status volume_total(const tr_linop *A, const double *rows, size_t n,
                              double *values)
{
    return tr_volume_total(self(A), rows, n, values);
}

static tr_status volume_neighbour(const tr_linop *A, bool above, const tr_vec *x,
                                  float *row, bool *exists)
{
    tr_volume_operator *op = self(A);
    tr_comm *comm = op->job->comm;
    /* The row above me is the first of the next rank: each sends its first one down. */
    int to = above ? comm->rank - 1 : comm->rank + 1;
    int from = above ? comm->rank + 1 : comm->rank - 1;
    size_t lane = above ? 0 : op->plan->rows - 1;
    memset(op->send_counts, 0, (size_t)comm->size * sizeof *op->send_counts);
    memset(op->recv_counts, 0, (size_t)comm->size * sizeof *op->recv_counts);
    if (to >= 0 && to < comm->size)
        op->send_counts[to] = x->lines;
    *exists = from >= 0 && from < comm->size;
    if (*exists)
        op->recv_counts[from] = x->lines;
    float *send = tr_calloc("a row of the volume", x->lines, sizeof *send);
    if (!send)
        return TR_ERR_MEMORY;
    const tr_rows rows = {0, x->lines, lane, 1};
    tr_status status = A->backend->get_rows(A->device, x, &rows, send);
    if (status == TR_OK)
        status = comm->ops->exchange(comm, send, op->send_counts, row, op->recv_counts);
    free(send);
    return status;
}

static const tr_linop_ops volume_ops = {
    .forward = volume_forward,
    .adjoint = volume_adjoint,
    .row_sums = volume_row_sums,
    .col_sums = volume_col_sums,
    .filter = volume_filter,
    .total = volume_total,
    .neighbour = volume_neighbour,
};

/* ---- making it ---- */

/* Every rank's window, as all ranks must know them. */
static tr_status share_windows(tr_volume_operator *op)
{
    const tr_volume_plan *p = op->plan;
    tr_comm *comm = op->job->comm;
    size_t n = (size_t)comm->size;
    double *window = tr_calloc("windows", 2 * n, sizeof *window);
    tr_status ready = comm->ops->agree(comm, window ? TR_OK : TR_ERR_MEMORY);
    if (ready != TR_OK || !window) {
        free(window);
        return ready;
    }
    window[2 * comm->rank] = (double)p->window_first;
    window[2 * comm->rank + 1] = (double)p->window_first + (double)p->window_rows;
    tr_status status = tr_comm_gather(comm, window, 2 * n);
    long first = (long)p->first, end = first + (long)p->rows;
    for (size_t k = 0; k < n; k++) {
        size_t their_first, their_rows;
        tr_volume_share(p, comm, (int)k, &their_first, &their_rows);
        long from = (long)their_first;
        op->theirs[k] = overlap(from, from + (long)their_rows, p->window_first,
                                p->window_first + (long)p->window_rows);
        op->mine[k] = overlap(first, end, (long)window[2 * k], (long)window[2 * k + 1]);
    }
    free(window);
    return status;
}

static size_t rows_in(const row_range *r, int n)
{
    size_t rows = 0;
    for (int k = 0; k < n; k++)
        rows += (size_t)(r[k].end - r[k].first);
    return rows;
}

static tr_status make_window(tr_volume_operator *op)
{
    tr_comm *comm = op->job->comm;
    TR_TRY(comm->ops->agree(comm, share_windows(op)));
    size_t floats = tr_projection_lines(&op->slab) * op->slab.p_rows;
    TR_TRY(op->job->backend->alloc(op->job->device, floats, &op->window));
    tr_vec window = window_of(op);
    TR_TRY(op->job->backend->fill(op->job->device, &window, 0.0f));
    /* Room for doubles. */
    size_t line = tr_volume_columns(op), size = sizeof(double);
    op->send = tr_calloc("rows to exchange", line * rows_in(op->mine, comm->size), size);
    op->recv =
        tr_calloc("rows to exchange", line * rows_in(op->theirs, comm->size), size);
    TR_TRY(op->send && op->recv ? TR_OK : TR_ERR_MEMORY);
    return op->job->backend->project_sums ? tr_volume_sums_new(op) : TR_OK;
}

static tr_status build(tr_volume_operator *op)
{
    const tr_job *job = op->job;
    const tr_geometry *g = &job->geometry;
    const tr_volume_plan *p = op->plan;
    size_t n = (size_t)job->comm->size;
    op->rays = tr_calloc("rays", g->n_views, sizeof *op->rays);
    op->theirs = tr_calloc("ranks", n, sizeof *op->theirs);
    op->mine = tr_calloc("ranks", n, sizeof *op->mine);
    op->totals = tr_calloc("row sums", TR_MOST_TOTALS * p->all_rows, sizeof *op->totals);
    op->send_counts = tr_calloc("ranks", n, sizeof *op->send_counts);
    op->recv_counts = tr_calloc("ranks", n, sizeof *op->recv_counts);
    bool complete = op->rays && op->theirs && op->mine && op->totals && op->send_counts &&
                    op->recv_counts;
    TR_TRY(job->comm->ops->agree(job->comm, complete ? TR_OK : TR_ERR_MEMORY));
    if (p->pitched)
        tr_geometry_rays_from(g, p->z0, op->rays);
    bool shared = p->coupled && job->backend->project_sums;
    for (size_t i = 0; i < g->n_views && !p->pitched; i++)
        op->rays[i] = shared ? tr_volume_ray(job, i, 0, 0)
                             : tr_volume_ray(job, i, p->first, p->window_first);
    op->shape = (tr_slab){.n_views = g->n_views,
                          .n_u = g->n_u,
                          .n_x = g->width,
                          .n_z = p->planes,
                          .rows = p->lanes,
                          .p_rows = p->lanes,
                          .outer = g->outer,
                          .rays = op->rays};
    op->slab = op->shape;
    op->slab.p_rows = p->window_lanes;
    if (shared) {
        op->slab.all_rows = p->all_rows;
        op->slab.first = p->first;
        op->slab.p_first = p->window_first;
    }
    op->ops = volume_ops;
    op->ops.add_adjoint = p->plane_bytes ? volume_add_adjoint : NULL;
    op->A = (tr_linop){.ops = &op->ops,
                       .self = op,
                       .backend = job->backend,
                       .device = job->device,
                       .slab = &op->shape,
                       .tilt = g->tilt,
                       .n_rows = p->rows,
                       .coupled = p->coupled};
    double passes = job->algorithm->applications
                        ? (double)job->algorithm->applications(job->params, g->n_views)
                        : 1.0;
    op->total_updates =
        passes * (double)g->n_views * (double)tr_core_lines(&op->shape) * (double)p->rows;
    return p->coupled ? job->comm->ops->agree(job->comm, make_window(op)) : TR_OK;
}

tr_status tr_volume_operator_new(tr_job *job, const tr_volume_plan *plan,
                                 tr_volume_operator **op)
{
    tr_volume_operator *o = tr_calloc("the operator", 1, sizeof *o);
    TR_TRY(job->comm->ops->agree(job->comm, o ? TR_OK : TR_ERR_MEMORY));
    o->job = job;
    o->plan = plan;
    tr_status status = build(o);
    if (status != TR_OK)
        tr_volume_operator_free(o);
    else
        *op = o;
    return status;
}

const tr_linop *tr_volume_linop(const tr_volume_operator *op) { return &op->A; }

void tr_volume_operator_free(tr_volume_operator *op)
{
    if (!op)
        return;
    if (op->window)
        op->job->backend->free(op->job->device, op->window);
    tr_volume_sums_free(op);
    free(op->totals);
    free(op->rays);
    free(op->theirs);
    free(op->mine);
    free(op->send);
    free(op->recv);
    free(op->send_counts);
    free(op->recv_counts);
    free(op);
}
