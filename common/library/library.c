/* The functions of tiltrec.h but tiltrec_solve: a caller's arrays to vectors, the
 * operator, and back. */
#include "common/library/library.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

_Static_assert((int)TILTREC_BAD_DATA == (int)TR_ERR_DATA &&
                   (int)TILTREC_BAD_USAGE == (int)TR_ERR_USAGE &&
                   (int)TILTREC_UNAVAILABLE == (int)TR_ERR_UNAVAILABLE &&
                   (int)TILTREC_NO_MEMORY == (int)TR_ERR_MEMORY &&
                   (int)TILTREC_INTERNAL == (int)TR_ERR_INTERNAL &&
                   (int)TILTREC_STOPPED == (int)TR_ERR_STOPPED,
               "one list of numbers");

const char *tiltrec_last_error(void) { return tr_error(); }
const char *tiltrec_version(void) { return TR_VERSION; }

/* ---- arrays and vectors ---- */

static bool is(unsigned flags, unsigned flag) { return (flags & flag) != 0; }

static tr_layout volume_layout(const tiltrec_operator *op, unsigned flags)
{
    const tr_geometry *g = &op->job.geometry;
    tr_layout l = {.n = g->thickness,
                   .n_rows = g->n_v,
                   .n_columns = g->width,
                   .lines = g->width,
                   .on_device = is(flags, TILTREC_ON_DEVICE)};
    l.image =
        is(flags, TILTREC_YSX) ? (ptrdiff_t)g->width : -(ptrdiff_t)(g->n_v * g->width);
    l.row = is(flags, TILTREC_YSX) ? g->thickness * g->width : g->width;
    return l;
}

/* Where plane s = 0 is in a caller's volume. */
static size_t first_plane(const tiltrec_operator *op, unsigned flags)
{
    const tr_geometry *g = &op->job.geometry;
    return is(flags, TILTREC_YSX) ? 0 : (g->thickness - 1) * g->n_v * g->width;
}

static tr_layout projection_layout(const tiltrec_operator *op, unsigned flags)
{
    const tr_geometry *g = &op->job.geometry;
    return (tr_layout){.n = g->n_views,
                       .n_rows = g->n_v,
                       .n_columns = g->n_u,
                       .image = (ptrdiff_t)(g->n_v * g->n_u),
                       .row = g->n_u,
                       .lines = g->n_u + TR_GUARDS,
                       .first = 1,
                       .on_device = is(flags, TILTREC_ON_DEVICE)};
}

/* In the library's layout the caller's memory can be the vector itself. */
static bool is_vector(const tiltrec_operator *op, unsigned flags)
{
    return is(flags, TILTREC_NATIVE) &&
           is(flags, TILTREC_ON_DEVICE) == op->job.backend->separate_memory;
}

tr_status tr_library_provide(tiltrec_operator *op, tr_vec *own)
{
    if (own->data)
        return TR_OK;
    return op->job.backend->alloc(op->job.device, own->lines * own->rows, &own->data);
}

static tr_status as_vector(const float *data, const tr_vec *shape, tr_vec *v)
{
    if ((uintptr_t)data % 64 != 0)
        return tr_fail(TR_ERR_USAGE,
                       "an array in the library's layout must begin at a multiple of 64 "
                       "bytes");
    *v = (tr_vec){(float *)data, shape->lines, shape->rows};
    return TR_OK;
}

/* To and from a caller's vector that is not where the device wants it. */
static tr_status move(tiltrec_operator *op, const tr_layout *layout, const float *from,
                      unsigned flags, tr_vec *own)
{
    const tr_backend *b = op->job.backend;
    if (is(flags, TILTREC_NATIVE))
        return b->upload(op->job.device, from, own->data, own->lines * own->rows);
    return b->lines_from(op->job.device, layout, from, own);
}

static tr_status give(tiltrec_operator *op, const tr_layout *layout, const tr_vec *v,
                      unsigned flags, float *to)
{
    const tr_backend *b = op->job.backend;
    TR_TRY(b->wait(op->job.device));
    if (is(flags, TILTREC_NATIVE))
        return b->download(op->job.device, v->data, to, v->lines * v->rows);
    return b->lines_to(op->job.device, layout, v, is(flags, TILTREC_ADD), to);
}

tr_status tr_library_volume(tiltrec_operator *op, const float *volume, bool filled,
                            unsigned flags, tr_vec *own, tr_vec *v)
{
    if (is_vector(op, flags))
        return as_vector(volume, &op->x, v);
    tr_layout layout = volume_layout(op, flags);
    if (!is(flags, TILTREC_NATIVE))
        volume += first_plane(op, flags);
    TR_TRY(tr_library_provide(op, own));
    *v = *own;
    return filled ? move(op, &layout, volume, flags, own) : TR_OK;
}

tr_status tr_library_projections(tiltrec_operator *op, const float *projections,
                                 bool filled, unsigned flags, tr_vec *own, tr_vec *v)
{
    if (is_vector(op, flags))
        return as_vector(projections, &op->p, v);
    tr_layout layout = projection_layout(op, flags);
    TR_TRY(tr_library_provide(op, own));
    *v = *own;
    return filled ? move(op, &layout, projections, flags, own) : TR_OK;
}

tr_status tr_library_give_volume(tiltrec_operator *op, const tr_vec *v, float *volume,
                                 unsigned flags)
{
    if (v->data == volume)
        return op->job.backend->wait(op->job.device);
    tr_layout layout = volume_layout(op, flags);
    if (!is(flags, TILTREC_NATIVE))
        volume += first_plane(op, flags);
    return give(op, &layout, v, flags, volume);
}

tr_status tr_library_give_projections(tiltrec_operator *op, const tr_vec *v,
                                      float *projections, unsigned flags)
{
    if (v->data == projections)
        return op->job.backend->wait(op->job.device);
    tr_layout layout = projection_layout(op, flags);
    return give(op, &layout, v, flags, projections);
}

/* ---- creating and ending ---- */

int tiltrec_create(tiltrec_operator **op, const tiltrec_spec *spec)
{
    *op = NULL;
    tiltrec_operator *made = tr_calloc("an operator", 1, sizeof *made);
    if (!made)
        return TILTREC_NO_MEMORY;
    pthread_mutex_init(&made->mutex, NULL);
    tr_status status = tr_library_create(made, spec);
    if (status == TR_OK)
        *op = made;
    else
        tiltrec_destroy(made);
    return (int)status;
}

void tiltrec_destroy(tiltrec_operator *op)
{
    if (!op)
        return;
    tr_job *job = &op->job;
    if (job->device) {
        bool entered =
            !job->backend->enter || job->backend->enter(job->device, false) == TR_OK;
        tr_volume_operator_free(op->volume_operator);
        job->backend->free(job->device, op->x.data);
        job->backend->free(job->device, op->p.data);
        if (entered && job->backend->leave)
            job->backend->leave(job->device);
        job->backend->close(job->device);
    }
    tr_geometry_free(&job->geometry);
    free(op->rays);
    pthread_mutex_destroy(&op->mutex);
    free(op);
}

int tiltrec_get_shape(const tiltrec_operator *op, tiltrec_shape *shape)
{
    const tr_geometry *g = &op->job.geometry;
    const tiltrec_shape all = {.size = sizeof all,
                               .n_views = g->n_views,
                               .n_y = g->n_v,
                               .n_u = g->n_u,
                               .thickness = g->thickness,
                               .width = g->width,
                               .lanes = op->x.rows,
                               .rays_leave_rows = op->plan.coupled};
    size_t size = shape->size;
    if (size < sizeof all.size)
        return (int)tr_fail(TR_ERR_USAGE,
                            "tiltrec_shape.size is %zu: must be sizeof(tiltrec_shape)",
                            size);
    memset(shape, 0, size);
    memcpy(shape, &all, size < sizeof all ? size : sizeof all);
    shape->size = size;
    return TILTREC_OK;
}

/* ---- calls ---- */

static tr_status check_flags(const tiltrec_operator *op, unsigned flags, unsigned allowed)
{
    if (flags & ~allowed)
        return tr_fail(TR_ERR_USAGE, "flags %#x are not for this function",
                       flags & ~allowed);
    if (is(flags, TILTREC_ON_DEVICE) && !op->job.backend->separate_memory)
        return tr_fail(TR_ERR_USAGE, "the backend %s has no memory of its own",
                       op->job.backend->name);
    if (is(flags, TILTREC_NATIVE) && is(flags, TILTREC_ADD))
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "results are not added in the library's layout");
    return TR_OK;
}

tr_status tr_library_begin(tiltrec_operator *op, unsigned flags, unsigned allowed)
{
    const tr_backend *b = op->job.backend;
    TR_TRY(check_flags(op, flags, allowed));
    pthread_mutex_lock(&op->mutex);
    tr_status status =
        b->enter ? b->enter(op->job.device, is(flags, TILTREC_ON_DEVICE)) : TR_OK;
    if (status != TR_OK)
        pthread_mutex_unlock(&op->mutex);
    return status;
}

void tr_library_end(tiltrec_operator *op)
{
    if (op->job.backend->leave)
        op->job.backend->leave(op->job.device);
    pthread_mutex_unlock(&op->mutex);
}

enum { ALL_ARRAYS = TILTREC_ADD | TILTREC_YSX | TILTREC_NATIVE | TILTREC_ON_DEVICE };

static tr_status forward(tiltrec_operator *op, const float *volume, float *projections,
                         unsigned flags)
{
    tr_vec x, p;
    TR_TRY(tr_library_volume(op, volume, true, flags, &op->x, &x));
    TR_TRY(tr_library_projections(op, projections, false, flags, &op->p, &p));
    TR_TRY(op->A->ops->forward(op->A, NULL, &x, &p));
    return tr_library_give_projections(op, &p, projections, flags);
}

int tiltrec_forward(tiltrec_operator *op, const float *volume, float *projections,
                    unsigned flags)
{
    tr_status status = tr_library_begin(op, flags, ALL_ARRAYS);
    if (status != TR_OK)
        return (int)status;
    status = forward(op, volume, projections, flags);
    tr_library_end(op);
    return (int)status;
}

static tr_status adjoint(tiltrec_operator *op, const float *projections, float *volume,
                         unsigned flags)
{
    tr_vec x, p;
    TR_TRY(tr_library_projections(op, projections, true, flags, &op->p, &p));
    TR_TRY(tr_library_volume(op, volume, false, flags, &op->x, &x));
    TR_TRY(op->A->ops->adjoint(op->A, NULL, &p, &x));
    return tr_library_give_volume(op, &x, volume, flags);
}

int tiltrec_adjoint(tiltrec_operator *op, const float *projections, float *volume,
                    unsigned flags)
{
    tr_status status = tr_library_begin(op, flags, ALL_ARRAYS);
    if (status != TR_OK)
        return (int)status;
    status = adjoint(op, projections, volume, flags);
    tr_library_end(op);
    return (int)status;
}

static tr_status filter(tiltrec_operator *op, size_t length, const float *response,
                        const float *weights, float *projections, unsigned flags)
{
    size_t n = op->job.geometry.n_views;
    if (length % 2 || length < op->job.geometry.n_u || length > 1 << 24)
        return tr_fail(TR_ERR_USAGE,
                       "a filter of %zu values: must be even, and from %zu on", length,
                       op->job.geometry.n_u);
    float *ones = tr_calloc("the view weights", n, sizeof *ones);
    if (!ones)
        return TR_ERR_MEMORY;
    for (size_t i = 0; i < n; i++)
        ones[i] = 1.0f;
    /* Beyond the edges is nothing: the adjoint of this is that of these values alone. */
    const tr_filter f = {
        .length = length, .response = response, .weight = weights ? weights : ones};
    tr_vec p;
    tr_status status = tr_library_projections(op, projections, true, flags, &op->p, &p);
    if (status == TR_OK)
        status = op->job.backend->filter(op->job.device, op->A->slab, &f, &p);
    if (status == TR_OK)
        status = tr_library_give_projections(op, &p, projections, flags);
    free(ones);
    return status;
}

int tiltrec_filter(tiltrec_operator *op, size_t length, const float *response,
                   const float *weights, float *projections, unsigned flags)
{
    tr_status status = tr_library_begin(op, flags, TILTREC_NATIVE | TILTREC_ON_DEVICE);
    if (status != TR_OK)
        return (int)status;
    status = filter(op, length, response, weights, projections, flags);
    tr_library_end(op);
    return (int)status;
}

/* ---- sums ---- */

/* Of independent rows there is one value per line, the same for all rows. */
static tr_status spread(tiltrec_operator *op, const tr_vec *weights, tr_vec *v)
{
    const tr_backend *b = op->job.backend;
    const tr_rows spare = {0, v->lines, op->plan.rows, v->rows - op->plan.rows};
    TR_TRY(b->fill(op->job.device, v, 1.0f));
    TR_TRY(b->mul_lines(op->job.device, weights, v));
    return spare.n_rows ? b->set_rows(op->job.device, &spare, NULL, v) : TR_OK;
}

static tr_status make_sums(tiltrec_operator *op, bool of_rows, tr_vec *v)
{
    const tr_linop_ops *ops = op->A->ops;
    if (op->plan.coupled)
        return of_rows ? ops->row_sums(op->A, NULL, v) : ops->col_sums(op->A, NULL, v);
    tr_vec weights = {.lines = v->lines, .rows = 1};
    TR_TRY(op->job.backend->alloc(op->job.device, weights.lines, &weights.data));
    tr_status status = of_rows ? ops->row_sums(op->A, NULL, &weights)
                               : ops->col_sums(op->A, NULL, &weights);
    if (status == TR_OK)
        status = spread(op, &weights, v);
    op->job.backend->free(op->job.device, weights.data);
    return status;
}

static tr_status sums(tiltrec_operator *op, bool of_rows, float *array, unsigned flags)
{
    tr_vec v = {0};
    if (of_rows)
        TR_TRY(tr_library_projections(op, array, false, flags, &op->p, &v));
    else
        TR_TRY(tr_library_volume(op, array, false, flags, &op->x, &v));
    TR_TRY(make_sums(op, of_rows, &v));
    return of_rows ? tr_library_give_projections(op, &v, array, flags)
                   : tr_library_give_volume(op, &v, array, flags);
}

int tiltrec_row_sums(tiltrec_operator *op, float *projections, unsigned flags)
{
    tr_status status = tr_library_begin(op, flags, ALL_ARRAYS & ~(unsigned)TILTREC_YSX);
    if (status != TR_OK)
        return (int)status;
    status = sums(op, true, projections, flags);
    tr_library_end(op);
    return (int)status;
}

int tiltrec_column_sums(tiltrec_operator *op, float *volume, unsigned flags)
{
    tr_status status = tr_library_begin(op, flags, ALL_ARRAYS);
    if (status != TR_OK)
        return (int)status;
    status = sums(op, false, volume, flags);
    tr_library_end(op);
    return (int)status;
}
