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
#include "common/geometry/local.h"

static tr_volume_operator *self(const tr_linop *A) { return A->self; }

static tr_row_range overlap(long a0, long a1, long b0, long b1)
{
    tr_row_range r = {a0 > b0 ? a0 : b0, a1 < b1 ? a1 : b1};
    r.end = r.end > r.first ? r.end : r.first;
    return r;
}

/* ---- the exchange of rows ---- */

static size_t count_views(const tr_linop *A, const tr_subset *views)
{
    return views ? views->n : A->slab->n_views;
}

/* Rows [first, end) of some views of a vector whose lane 0 is row row0 become 0, or a
 * copy of lane *from. */
static tr_status set_rows(const tr_volume_operator *op, const tr_subset *views,
                          tr_row_range range, long row0, const size_t *from, tr_vec *v)
{
    const tr_linop *A = &op->A;
    size_t columns = tr_volume_columns(op), n;
    for (size_t k = 0; k < views->n && range.end > range.first; k += n) {
        n = tr_views_together(views, k, views->n);
        const tr_rows rows = {.line = views->views[k] * columns,
                              .n_lines = n * columns,
                              .row = (size_t)(range.first - row0),
                              .n_rows = (size_t)(range.end - range.first)};
        TR_TRY(A->backend->set_rows(A->device, &rows, from, v));
    }
    return TR_OK;
}

/* Rows of the window that no process owns, because they lie outside the image: 0, or as
 * the image's edge. */
static tr_status fill_outside(const tr_volume_operator *op, const tr_subset *views,
                              tr_vec *window)
{
    const tr_volume_plan *p = op->plan;
    long first = p->window_first, n_v = (long)op->job->geometry.n_v;
    long end = first + (long)p->window_lanes;
    const tr_row_range outside[] = {{first, first < 0 ? 0 : first},
                                    {end > n_v ? n_v : end, end}};
    const long edges[] = {0, n_v - 1};
    for (int side = 0; side < 2; side++) {
        size_t edge = (size_t)(edges[side] - first);
        bool known = op->fill_edges && edges[side] >= first && edges[side] < end;
        TR_TRY(set_rows(op, views, outside[side], first, known ? &edge : NULL, window));
    }
    return TR_OK;
}

static tr_vec window_of(const tr_volume_operator *op)
{
    return (tr_vec){op->window, tr_projection_lines(&op->slab), op->slab.p_rows};
}

static tr_subset all_views(const tr_volume_operator *op, const tr_subset *views)
{
    return views ? *views : (tr_subset){op->slab.n_views, op->list};
}

static tr_subset some_of(const tr_subset *views, size_t first, size_t most)
{
    size_t left = views->n - first;
    return (tr_subset){left < most ? left : most, views->views + first};
}

/* Own rows of p to all windows that need them. */
static tr_status gather(tr_volume_operator *op, const tr_subset *views, const tr_vec *p)
{
    const tr_volume_plan *plan = op->plan;
    tr_vec window = window_of(op);
    tr_subset all = all_views(op, views), some;
    for (size_t k = 0; k < all.n; k += some.n) {
        some = some_of(&all, k, tr_transfer_most(op->transfer));
        TR_TRY(
            tr_transfer_begin(op->transfer, TR_TO_WINDOWS, &some, p, (long)plan->first));
        TR_TRY(tr_transfer_finish(op->transfer, false, &window, plan->window_first));
    }
    return fill_outside(op, &all, &window);
}

/* A x of the views' windows; what all windows hold of my own rows is added up in the
 * order of the ranks. While rows of some views travel, the next ones are projected. */
static tr_status project_windows(tr_volume_operator *op, const tr_subset *views,
                                 const tr_vec *x, tr_vec *p)
{
    enum { PARTS = 4 };
    const tr_volume_plan *plan = op->plan;
    const tr_linop *A = &op->A;
    tr_vec window = window_of(op);
    tr_subset all = all_views(op, views), now[2];
    size_t most = tr_transfer_most(op->transfer), part = (all.n + PARTS - 1) / PARTS;
    const tr_row_range own = {0, (long)plan->lanes};
    TR_TRY(set_rows(op, &all, own, 0, NULL, p));
    for (size_t k = 0, i = 0; k < all.n; k += now[i].n, i = !i) {
        now[i] = some_of(&all, k, part < most ? part : most);
        TR_TRY(A->backend->project(A->device, &op->slab, &now[i], x, &window));
        if (k)
            TR_TRY(tr_transfer_finish(op->transfer, true, p, (long)plan->first));
        TR_TRY(tr_transfer_begin(op->transfer, TR_TO_OWNERS, &now[i], &window,
                                 plan->window_first));
    }
    return all.n ? tr_transfer_finish(op->transfer, true, p, (long)plan->first) : TR_OK;
}

/* ---- the operator ---- */

static tr_status finish_pass(const tr_linop *A, const tr_subset *views, double start,
                             tr_status status)
{
    tr_volume_operator *op = self(A);
    tr_job *job = op->counts_for;
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
    return finish_pass(A, views, start, project_windows(op, views, x, p));
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
    TR_TRY(gather(op, views, p));
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
        TR_TRY(gather(op, views, p));
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

/* Every rank's window, and how many views at a time are projected as sums, as all ranks
 * must know them. */
static tr_status share_windows(tr_volume_operator *op)
{
    const tr_volume_plan *p = op->plan;
    tr_comm *comm = op->job->comm;
    size_t n = (size_t)comm->size;
    double *window = tr_calloc("windows", 3 * n, sizeof *window);
    tr_status ready = comm->ops->agree(comm, window ? TR_OK : TR_ERR_MEMORY);
    if (ready != TR_OK || !window) {
        free(window);
        return ready;
    }
    double *own = window + 3 * comm->rank;
    own[0] = (double)p->window_first;
    own[1] = (double)p->window_first + (double)p->window_rows;
    own[2] = (double)op->job->threads;
    tr_status status = tr_comm_gather(comm, window, 3 * n);
    op->group = op->slab.n_views;
    long first = (long)p->first, end = first + (long)p->rows;
    for (size_t k = 0; k < n; k++) {
        size_t their_first, their_rows;
        tr_volume_share(p, comm, (int)k, &their_first, &their_rows);
        long from = (long)their_first;
        op->theirs[k] = overlap(from, from + (long)their_rows, p->window_first,
                                p->window_first + (long)p->window_rows);
        op->mine[k] = overlap(first, end, (long)window[3 * k], (long)window[3 * k + 1]);
        op->group = (size_t)fmin((double)op->group, window[3 * k + 2]);
    }
    free(window);
    return status;
}

static tr_status make_window(tr_volume_operator *op)
{
    tr_comm *comm = op->job->comm;
    TR_TRY(comm->ops->agree(comm, share_windows(op)));
    size_t floats = tr_projection_lines(&op->slab) * op->slab.p_rows;
    TR_TRY(op->job->backend->alloc(op->job->device, floats, &op->window));
    tr_vec window = window_of(op);
    TR_TRY(op->job->backend->fill(op->job->device, &window, 0.0f));
    return op->job->backend->project_sums ? tr_volume_sums_new(op) : TR_OK;
}

static tr_status build(tr_volume_operator *op)
{
    const tr_job *job = op->job;
    const tr_geometry *g = &job->geometry;
    const tr_volume_plan *p = op->plan;
    size_t n = (size_t)job->comm->size, n_views = tr_volume_views(job);
    op->rays = tr_calloc("rays", n_views, sizeof *op->rays);
    op->tilts = tr_calloc("the tilt angles", n_views, sizeof *op->tilts);
    op->list = tr_calloc("views", n_views, sizeof *op->list);
    op->theirs = tr_calloc("ranks", n, sizeof *op->theirs);
    op->mine = tr_calloc("ranks", n, sizeof *op->mine);
    op->totals = tr_calloc("row sums", TR_MOST_TOTALS * p->all_rows, sizeof *op->totals);
    op->send_counts = tr_calloc("ranks", n, sizeof *op->send_counts);
    op->recv_counts = tr_calloc("ranks", n, sizeof *op->recv_counts);
    bool complete = op->rays && op->tilts && op->list && op->theirs && op->mine &&
                    op->totals && op->send_counts && op->recv_counts;
    TR_TRY(job->comm->ops->agree(job->comm, complete ? TR_OK : TR_ERR_MEMORY));
    for (size_t i = 0; i < n_views; i++) {
        op->list[i] = i;
        op->tilts[i] =
            i < g->n_views ? g->tilt[i] : job->second->geometry->tilt[i - g->n_views];
    }
    if (p->pitched)
        tr_geometry_rays_from(g, p->z0, op->rays);
    /* A grid of offsets is the same one for all. */
    bool shared = p->coupled && (job->backend->project_sums || g->local);
    for (size_t i = 0; i < n_views && !p->pitched; i++)
        op->rays[i] = shared ? tr_volume_ray(job, i, 0, 0)
                             : tr_volume_ray(job, i, p->first, p->window_first);
    for (size_t i = 0; i < n_views; i++)
        op->rays[i].u0 += (double)p->beside;
    op->shape = (tr_slab){.n_views = n_views,
                          .n_u = g->n_u + 2 * p->beside,
                          .n_x = g->width,
                          .n_z = p->planes,
                          .rows = p->lanes,
                          .p_rows = p->lanes,
                          .outer = g->outer,
                          .rays = op->rays};
    if (g->local) {
        TR_TRY(job->comm->ops->agree(job->comm, tr_local_grid(g, 0.0, g->n_v + TR_LANES,
                                                              &op->grid, &op->offsets)));
        op->shape.offsets = &op->offsets;
    }
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
                       .tilt = op->tilts,
                       .n_rows = p->rows,
                       .coupled = p->coupled};
    double passes = job->algorithm->applications
                        ? (double)job->algorithm->applications(job->params, n_views)
                        : 1.0;
    op->total_updates = passes * (double)tr_job_views(job) *
                        (double)tr_core_lines(&op->shape) * (double)p->rows;
    if (!p->coupled)
        return TR_OK;
    TR_TRY(job->comm->ops->agree(job->comm, make_window(op)));
    return tr_transfer_new(op->job, &op->slab, op->mine, op->theirs,
                           job->backend->project_sums, &op->transfer);
}

tr_status tr_volume_operator_new(tr_job *job, const tr_volume_plan *plan,
                                 tr_volume_operator **op)
{
    tr_volume_operator *o = tr_calloc("the operator", 1, sizeof *o);
    TR_TRY(job->comm->ops->agree(job->comm, o ? TR_OK : TR_ERR_MEMORY));
    o->job = o->counts_for = job;
    o->plan = plan;
    tr_status status = build(o);
    if (status != TR_OK)
        tr_volume_operator_free(o);
    else
        *op = o;
    return status;
}

void tr_volume_operator_counts_for(tr_volume_operator *op, tr_job *job)
{
    op->counts_for = job;
    op->total_updates *= (double)tr_job_views(job) / (double)op->slab.n_views;
}

const tr_linop *tr_volume_linop(const tr_volume_operator *op) { return &op->A; }

tr_status tr_volume_operator_end(tr_volume_operator *op)
{
    return tr_transfer_end(op->transfer);
}

void tr_volume_operator_free(tr_volume_operator *op)
{
    if (!op)
        return;
    if (op->window)
        op->job->backend->free(op->job->device, op->window);
    tr_transfer_free(op->transfer);
    tr_volume_sums_free(op);
    free(op->totals);
    free(op->rays);
    free(op->tilts);
    free(op->grid);
    free(op->theirs);
    free(op->mine);
    free(op->list);
    free(op->send_counts);
    free(op->recv_counts);
    free(op);
}
