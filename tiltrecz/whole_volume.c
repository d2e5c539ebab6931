/* The run of the volume method: read, reconstruct, write. */
#include <stdlib.h>
#include <string.h>

#include "../common/mem.h"
#include "volume.h"

/* Rows are read as they are: x-tilts and transforms are in the rays. */
static tr_status read_projections(tr_job *job, const tr_volume_plan *p, float *b)
{
    tr_geometry straight = job->geometry;
    straight.xtilt = NULL;
    double start = tr_now();
    tr_status status =
        tr_series_read(job->series, &straight, (long)p->first, p->rows, p->lanes, b);
    job->seconds[TR_STAGE_READ] += tr_now() - start;
    return status;
}

/* Output slice k of the file <-> plane [thickness][width]. */
static tr_status read_slice(const tr_job *job, size_t k, float *plane)
{
    const tr_geometry *g = &job->geometry;
    if (!job->output_spec.xyz)
        return tr_image_read(job->initial, k, 0, g->thickness, 0, g->width, plane);
    for (size_t z = 0; z < g->thickness; z++)
        TR_TRY(tr_image_read(job->initial, g->thickness - 1 - z, k, 1, 0, g->width,
                             plane + z * g->width));
    return TR_OK;
}

/* Slices outside the initial volume's range start at 0. */
static tr_status load_initial(const tr_job *job, const tr_volume_plan *p, float *x)
{
    const tr_geometry *g = &job->geometry;
    size_t plane = g->width * g->thickness,
           end = job->first_slice + job->output_spec.n_slices;
    float *slice = tr_calloc("a slice", plane, sizeof *slice);
    if (!slice)
        return TR_ERR_MEMORY;
    tr_status status = TR_OK;
    for (size_t r = 0; r < p->rows && status == TR_OK; r++) {
        size_t y = p->first + r;
        if (y < job->first_slice || y >= end)
            continue;
        status = read_slice(job, y - job->first_slice, slice);
        for (size_t i = 0; i < plane && status == TR_OK; i++)
            x[i * p->lanes + r] = slice[i];
    }
    free(slice);
    return status;
}

static tr_status write_volume(tr_job *job, const tr_volume_plan *p, const float *x)
{
    const tr_geometry *g = &job->geometry;
    size_t plane = g->width * g->thickness;
    size_t first = p->first > job->first_slice ? p->first : job->first_slice;
    size_t end = job->first_slice + job->output_spec.n_slices;
    end = end < p->first + p->rows ? end : p->first + p->rows;
    float *planes = tr_calloc("output slices", TR_LANES * plane, sizeof *planes);
    if (!planes)
        return TR_ERR_MEMORY;
    double start = tr_now();
    tr_status status = TR_OK;
    for (size_t y = first; y < end && status == TR_OK; y += TR_LANES) {
        size_t n = end - y < TR_LANES ? end - y : TR_LANES;
        for (size_t i = 0; i < plane; i++)
            for (size_t k = 0; k < n; k++)
                planes[k * plane + i] = x[i * p->lanes + (y - p->first) + k];
        status = tr_output_write(job->output, y - job->first_slice, n, planes);
    }
    job->seconds[TR_STAGE_WRITE] += tr_now() - start;
    free(planes);
    return status;
}

static tr_status reconstruct(tr_job *job, const tr_volume_plan *p, const tr_linop *A,
                             tr_vec *b, tr_vec *x)
{
    tr_status status = read_projections(job, p, b->data);
    if (status == TR_OK)
        status = job->backend->fill(job->device, x, 0.0f);
    if (status == TR_OK && job->initial)
        status = load_initial(job, p, x->data);
    /* From here on the processes work in step. */
    TR_TRY(job->comm->ops->agree(job->comm, status));
    tr_context context = {.A = A,
                          .starts_at_zero = !job->initial,
                          .rows_together = p->coupled,
                          .history = &job->history};
    status = job->algorithm->run(&context, job->params, b, x);
    tr_context_end(&context);
    return status == TR_OK ? write_volume(job, p, x->data) : status;
}

static tr_status volume_run(tr_job *job, const void *plan)
{
    const tr_volume_plan *p = plan;
    tr_volume_operator *op;
    TR_TRY(tr_volume_operator_new(job, p, &op));
    const tr_linop *A = tr_volume_linop(op);
    tr_vec b = {.lines = tr_projection_lines(A->slab), .rows = A->slab->p_rows};
    tr_vec x = {.lines = tr_volume_lines(A->slab), .rows = A->slab->rows};
    tr_status status = job->backend->alloc(job->device, b.lines * b.rows, &b.data);
    if (status == TR_OK)
        status = job->backend->alloc(job->device, x.lines * x.rows, &x.data);
    status = job->comm->ops->agree(job->comm, status);
    if (status == TR_OK)
        status = reconstruct(job, p, A, &b, &x);
    job->backend->free(job->device, b.data);
    job->backend->free(job->device, x.data);
    tr_volume_operator_free(op);
    return status;
}

const tr_method tr_whole_volume = {
    .whole_volume = true, .plan = tr_volume_plan_make, .run = volume_run};
