/* The workspace of one algorithm on one slab, and the bookkeeping of its residual. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/algorithms/algorithm.h"
#include "common/algorithms/pieces.h"

/* Room in the lists for one vector more. */
static tr_status make_room(tr_context *c)
{
    size_t room = c->n_room ? 2 * c->n_room : 16;
    if (c->n_owned < c->n_room)
        return TR_OK;
    float **owned = realloc(c->owned, room * sizeof *owned);
    c->owned = owned ? owned : c->owned;
    size_t *floats = owned ? realloc(c->floats, room * sizeof *floats) : NULL;
    if (!floats)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for a list of %zu vectors",
                       room);
    c->floats = floats;
    c->n_room = room;
    return TR_OK;
}

static tr_status new_vector(tr_context *c, bool volume, size_t lines, size_t rows,
                            tr_vec *v)
{
    const tr_backend *backend = c->A->backend;
    size_t k = c->n_owned;
    TR_TRY(make_room(c));
    *v = (tr_vec){.lines = lines, .rows = rows};
    if (k < c->n_kept && c->floats[k] == lines * rows) {
        v->data = c->owned[k];
#ifndef NDEBUG
        TR_TRY(TR_VECTOR(c, fill, v, NAN)); /* as new ones are */
#endif
    } else {
        TR_TRY((volume ? backend->alloc_volume : backend->alloc)(c->A->device,
                                                                 lines * rows, &v->data));
        if (k < c->n_kept)
            backend->free(c->A->device, c->owned[k]);
        c->owned[k] = v->data;
        c->floats[k] = lines * rows;
    }
    c->n_owned++;
    return TR_OK;
}

tr_status tr_new_volume(tr_context *c, tr_vec *v)
{
    c->n_volumes++;
    return new_vector(c, true, tr_volume_lines(c->A->slab), c->A->slab->rows, v);
}

tr_status tr_new_projections(tr_context *c, tr_vec *v)
{
    c->n_projections++;
    TR_TRY(new_vector(c, false, tr_projection_lines(c->A->slab), c->A->slab->p_rows, v));
    return TR_VECTOR(c, fill, v, 0.0f); /* guards are 0 */
}

tr_status tr_new_volume_weights(tr_context *c, tr_vec *v)
{
    return new_vector(c, c->A->coupled, tr_volume_lines(c->A->slab),
                      c->A->coupled ? c->A->slab->rows : 1, v);
}

tr_status tr_new_projection_weights(tr_context *c, tr_vec *v)
{
    return new_vector(c, false, tr_projection_lines(c->A->slab),
                      c->A->coupled ? c->A->slab->p_rows : 1, v);
}

tr_status tr_weighted_adjoint(tr_context *c, const tr_vec *W, const tr_vec *p,
                              tr_vec *weighted, tr_vec *x)
{
    TR_TRY(TR_VECTOR(c, copy, p, weighted));
    TR_TRY(TR_VECTOR(c, mul_lines, W, weighted));
    return TR_ADJOINT(c, NULL, weighted, x);
}

tr_status tr_new_view_weights(tr_context *c, const double *of_view, tr_vec *v)
{
    const tr_slab *slab = c->A->slab;
    size_t lines = slab->n_u + TR_GUARDS;
    float *host = tr_calloc("weights", slab->n_views * lines, sizeof *host);
    tr_status status =
        host ? new_vector(c, false, slab->n_views * lines, 1, v) : TR_ERR_MEMORY;
    for (size_t i = 0; host && i < slab->n_views * lines; i++)
        host[i] = (float)of_view[i / lines];
    const tr_rows all = {0, slab->n_views * lines, 0, 1};
    if (status == TR_OK)
        status = TR_VECTOR(c, put_rows, &all, host, false, v);
    free(host);
    return status;
}

tr_status tr_total(const tr_context *c, const double *rows, size_t n, double *values)
{
    const tr_linop *A = c->A;
    if (A->ops->total)
        return A->ops->total(A, rows, n, values);
    memset(values, 0, n * sizeof *values);
    for (size_t k = 0; k < n; k++)
        for (size_t r = 0; r < A->n_rows; r++)
            values[k] += rows[k * A->n_rows + r];
    return TR_OK;
}

tr_status tr_row_products(const tr_context *c, const tr_vec *x, const tr_vec *y,
                          double *rows)
{
    const tr_linop *A = c->A;
    double *sums = tr_calloc("row sums", x->rows, sizeof *sums);
    if (!sums)
        return TR_ERR_MEMORY;
    tr_status status = TR_VECTOR(c, row_dots, NULL, x, y, sums);
    for (size_t r = 0; r < A->n_rows; r++)
        rows[r] = sums[x->rows == 1 ? 0 : A->first_row + r];
    free(sums);
    return status;
}

tr_status tr_dot(const tr_context *c, const tr_vec *x, const tr_vec *y, double *sum)
{
    if (!c->A->ops->total)
        return TR_VECTOR(c, dot, x, y, sum);
    double *rows = tr_calloc("row sums", c->A->n_rows, sizeof *rows);
    tr_status status = rows ? tr_row_products(c, x, y, rows) : TR_ERR_MEMORY;
    if (status == TR_OK)
        status = tr_total(c, rows, 1, sum);
    free(rows);
    return status;
}

tr_status tr_row_dots(const tr_context *c, const tr_vec *w, const tr_vec *x,
                      const tr_vec *y, double *sums)
{
    TR_TRY(TR_VECTOR(c, row_dots, w, x, y, sums));
    if (!c->A->coupled)
        return TR_OK;
    double sum = 0.0;
    TR_TRY(tr_total(c, sums + c->A->first_row, 1, &sum));
    for (size_t r = 0; r < x->rows; r++)
        sums[r] = sum;
    return TR_OK;
}

void tr_context_next(tr_context *c)
{
    if (c->n_kept < c->n_owned)
        c->n_kept = c->n_owned;
    c->n_owned = c->n_volumes = c->n_projections = c->iteration = 0;
    for (size_t v = 0; c->view_now && v < c->history->n_views; v++)
        c->history->view_squares[v] += c->view_now[v];
    free(c->view_now);
    free(c->row_data);
    free(c->row_active);
    c->view_now = NULL;
    c->row_data = NULL;
    c->row_active = NULL;
}

void tr_context_end(tr_context *c)
{
    tr_context_next(c);
    for (size_t i = 0; i < c->n_kept; i++)
        c->A->backend->free(c->A->device, c->owned[i]);
    free(c->owned);
    free(c->floats);
    c->owned = NULL;
    c->floats = NULL;
    c->n_kept = c->n_room = 0;
}

void tr_history_free(tr_history *history)
{
    free(history->squares);
    free(history->view_squares);
    free(history->view_data);
    memset(history, 0, sizeof *history);
}

static tr_status new_rows(tr_context *c)
{
    size_t rows = c->A->slab->p_rows;
    c->row_data = tr_calloc("row sums", 3 * rows, sizeof *c->row_data);
    c->row_active = tr_calloc("row sums", rows, sizeof *c->row_active);
    if (!c->row_data || !c->row_active)
        return TR_ERR_MEMORY;
    c->row_now = c->row_data + rows;
    c->row_last = c->row_now + rows;
    for (size_t r = 0; r < rows; r++)
        c->row_active[r] = 1.0f;
    return TR_OK;
}

/* The squares of p's values in each view of the subset, over the rows that count: by
 * itself, so that the other sums are the same whether this is asked for or not. */
static tr_status measure_views(const tr_context *c, const tr_subset *views,
                               const tr_vec *p, double *squares)
{
    const tr_linop *A = c->A;
    size_t n = views ? views->n : A->slab->n_views;
    double *rows = tr_calloc("row sums", A->slab->p_rows, sizeof *rows);
    tr_status status = rows ? TR_OK : TR_ERR_MEMORY;
    for (size_t k = 0; k < n && status == TR_OK; k++) {
        size_t view = views ? views->views[k] : k;
        if (view >= c->history->n_views) /* those of a second series */
            continue;
        const tr_subset one = {1, &view};
        memset(rows, 0, A->slab->p_rows * sizeof *rows);
        status = TR_VECTOR(c, row_squares, A->slab, &one, p, rows);
        squares[view] = 0.0;
        for (size_t r = A->first_row; r < A->first_row + A->n_rows; r++)
            squares[view] += rows[r];
    }
    free(rows);
    return status;
}

static tr_status begin_views(tr_context *c, const tr_vec *data)
{
    tr_history *h = c->history;
    if (!(c->view_now = tr_calloc("view sums", h->n_views, sizeof *c->view_now)))
        return TR_ERR_MEMORY;
    if (!data) /* unknown where an earlier run did the first iterations */
        return TR_OK;
    TR_TRY(measure_views(c, NULL, data, c->view_now));
    for (size_t v = 0; v < h->n_views; v++)
        h->view_data[v] += c->view_now[v];
    memset(c->view_now, 0, h->n_views * sizeof *c->view_now);
    return TR_OK;
}

static tr_status begin_rows(tr_context *c, const tr_vec *data)
{
    TR_TRY(new_rows(c));
    TR_TRY(TR_VECTOR(c, row_squares, c->A->slab, NULL, data, c->row_data));
    for (size_t r = c->A->first_row; r < c->A->first_row + c->A->n_rows; r++)
        c->history->data_squares += c->row_data[r];
    c->history->values += (double)(c->A->n_rows * c->A->slab->n_u * c->A->slab->n_views);
    return TR_OK;
}

tr_status tr_residual_add(tr_context *c, const tr_vec *data, const tr_subset *views,
                          tr_vec *r)
{
    if (!c->row_data)
        TR_TRY(begin_rows(c, data));
    if (c->history->n_views && !c->view_now)
        TR_TRY(begin_views(c, data));
    TR_TRY(TR_VECTOR(c, row_squares, c->A->slab, views, r, c->row_now));
    if (c->view_now)
        TR_TRY(measure_views(c, views, r, c->view_now));
    if (c->tolerance > 0.0 && !c->rows_together)
        TR_TRY(TR_VECTOR(c, mask_rows, c->A->slab, views, c->row_active, r));
    return TR_OK;
}

tr_status tr_residual_enough(tr_context *c, bool *enough)
{
    const tr_linop *A = c->A;
    size_t n = A->n_rows;
    double sums[2];
    *enough = false;
    if (!(c->stop_at > 0.0))
        return TR_OK;
    double *rows = tr_calloc("row sums", 2 * n, sizeof *rows);
    if (!rows)
        return TR_ERR_MEMORY;
    for (size_t r = 0; r < n; r++) {
        rows[r] = c->row_now[A->first_row + r];
        rows[n + r] = (double)(A->slab->n_u * A->slab->n_views);
    }
    tr_status status = tr_total(c, rows, 2, sums);
    free(rows);
    TR_TRY(status);
    *enough = c->iteration > 0 && sums[0] <= c->stop_at * c->stop_at * sums[1];
    return TR_OK;
}

static tr_status extend_history(tr_history *history, size_t n)
{
    if (n <= history->n)
        return TR_OK;
    double *squares = realloc(history->squares, n * sizeof *squares);
    if (!squares)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for %zu residuals", n);
    /* Slabs that stopped earlier stay at their last residual. */
    for (size_t k = history->n; k < n; k++)
        squares[k] = history->n ? squares[history->n - 1] : 0.0;
    history->squares = squares;
    history->n = n;
    return TR_OK;
}

/* Rows that have got there keep their result from now on. */
static void finish_rows(tr_context *c)
{
    double limit = c->tolerance * c->tolerance;
    for (size_t r = c->A->first_row; r < c->A->first_row + c->A->n_rows; r++)
        if (limit > 0.0 && c->row_now[r] <= limit * c->row_data[r])
            c->row_active[r] = 0.0f;
}

/* Over all processes' rows: |r|^2 and |b|^2 of those that were active, and how many are.
 */
typedef struct rows_left {
    double residual, data, active;
} rows_left;

/* `rows` has 3 n_rows values. Returns the change of |r|^2 of this process's rows. */
static double end_rows(tr_context *c, double *rows)
{
    const tr_linop *A = c->A;
    size_t n = A->n_rows;
    double change = 0.0;
    for (size_t k = 0; k < n; k++) {
        size_t r = A->first_row + k;
        if (c->row_active[r] == 0.0f)
            continue;
        change += c->row_now[r] - c->row_last[r];
        c->row_last[r] = c->row_now[r];
        rows[k] = c->row_now[r];
        rows[n + k] = c->row_data[r];
    }
    if (!c->rows_together)
        finish_rows(c);
    for (size_t k = 0; k < n; k++)
        rows[2 * n + k] = c->row_active[A->first_row + k] != 0.0f;
    memset(c->row_now, 0, A->slab->p_rows * sizeof *c->row_now);
    return change;
}

tr_status tr_residual_end(tr_context *c, bool *done)
{
    rows_left left;
    double *rows = tr_calloc("row sums", 3 * c->A->n_rows, sizeof *rows);
    if (!rows)
        return TR_ERR_MEMORY;
    double change = end_rows(c, rows), totals[3] = {0};
    tr_status status = extend_history(c->history, ++c->iteration);
    for (size_t k = c->iteration - 1; status == TR_OK && k < c->history->n; k++)
        c->history->squares[k] += change;
    if (status == TR_OK)
        status = tr_total(c, rows, 3, totals);
    free(rows);
    left = (rows_left){totals[0], totals[1], totals[2]};
    /* A slab wholly beyond the images has no row to judge by: it gets all iterations. */
    *done = c->A->n_rows && left.active == 0.0;
    if (c->rows_together && c->tolerance > 0.0)
        *done = left.residual <= c->tolerance * c->tolerance * left.data;
    return status;
}

/* ---- the state between runs ---- */

typedef tr_status transfer_bytes(void *self, void *data, size_t bytes);

static tr_status put_bytes(void *self, void *data, size_t bytes)
{
    const tr_saver *saver = self;
    return saver->put(saver->self, data, bytes);
}

static tr_status get_bytes(void *self, void *data, size_t bytes)
{
    const tr_saver *saver = self;
    return saver->get(saver->self, data, bytes);
}

/* The bookkeeping of residuals, so that a table at the end is that of the whole run. */
static tr_status transfer_history(tr_context *c, transfer_bytes *move)
{
    void *saver = (void *)c->saver;
    size_t rows = c->A->slab->p_rows;
    uint64_t counts[] = {c->iteration, c->history->n};
    TR_TRY(move(saver, counts, sizeof counts));
    TR_TRY(extend_history(c->history, counts[1]));
    c->iteration = counts[0];
    if (!c->row_data)
        TR_TRY(new_rows(c));
    TR_TRY(move(saver, c->history->squares, c->history->n * sizeof *c->history->squares));
    TR_TRY(move(saver, &c->history->data_squares, sizeof c->history->data_squares));
    TR_TRY(move(saver, &c->history->values, sizeof c->history->values));
    TR_TRY(move(saver, c->row_data, 3 * rows * sizeof *c->row_data));
    return move(saver, c->row_active, rows * sizeof *c->row_active);
}

static size_t largest(const tr_state *state)
{
    size_t floats = 0;
    for (size_t k = 0; k < state->n_vectors; k++) {
        const tr_vec *v = state->vectors[k];
        floats = v->lines * v->rows > floats ? v->lines * v->rows : floats;
    }
    return floats;
}

static tr_status transfer_vectors(tr_context *c, const tr_state *state, bool in)
{
    transfer_bytes *move = in ? get_bytes : put_bytes;
    const tr_linop *A = c->A;
    tr_status status = TR_OK;
    if (A->backend->separate_memory) {
        tr_pieces *pieces;
        TR_TRY(tr_pieces_new(A->backend, A->device, largest(state), &pieces));
        for (size_t k = 0; k < state->n_vectors && status == TR_OK; k++)
            status = tr_pieces_move(pieces, c->saver, state->vectors[k], in);
        tr_pieces_free(pieces);
        return status;
    }
    for (size_t k = 0; k < state->n_vectors && status == TR_OK; k++) {
        const tr_vec *v = state->vectors[k];
        status = move((void *)c->saver, v->data, v->lines * v->rows * sizeof *v->data);
    }
    return status;
}

static tr_status transfer_state(tr_context *c, const tr_state *state, bool in)
{
    transfer_bytes *move = in ? get_bytes : put_bytes;
    TR_TRY(transfer_history(c, move));
    if (state->n_numbers)
        TR_TRY(move((void *)c->saver, state->numbers,
                    state->n_numbers * sizeof *state->numbers));
    return transfer_vectors(c, state, in);
}

tr_status tr_resume(tr_context *c, const tr_state *state, long *iteration)
{
    *iteration = 0;
    if (!c->saver)
        return TR_OK;
    TR_TRY(c->saver->resume(c->saver->self, iteration));
    return *iteration ? transfer_state(c, state, true) : TR_OK;
}

tr_status tr_save(tr_context *c, const tr_state *state, long iteration)
{
    bool save = false, stop = false;
    if (!c->saver)
        return TR_OK;
    TR_TRY(c->saver->due(c->saver->self, &save, &stop));
    if (!save)
        return TR_OK;
    TR_TRY(c->saver->begin(c->saver->self, iteration));
    TR_TRY(transfer_state(c, state, false));
    TR_TRY(c->saver->end(c->saver->self));
    if (!stop)
        return TR_OK;
    return tr_fail(TR_ERR_STOPPED,
                   "stopped after iteration %ld, as was asked for; it is kept, and the "
                   "same command with --resume goes on from there",
                   iteration);
}
