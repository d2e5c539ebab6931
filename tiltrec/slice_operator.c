/* The operator of one slab of slices, which counts its work and its time. */
#include <stdlib.h>

#include "common/base/mem.h"
#include "tiltrec/slices.h"

static tr_status count(const tr_linop *A, const tr_subset *views, double start,
                       tr_status status)
{
    tr_job *job = ((tr_slice_operator *)A->self)->job;
    const tr_slab *s = A->slab;
    double n = views ? (double)views->n : (double)s->n_views;
    if (status == TR_OK)
        status =
            A->backend->wait(A->device); /* so that the seconds are the stage's own */
    tr_job_spent(job, TR_STAGE_PROJECT, start);
    job->updates += n * (double)tr_core_lines(s) * (double)s->rows;
    return status;
}

static tr_status slice_forward(const tr_linop *A, const tr_subset *views, const tr_vec *x,
                               tr_vec *p)
{
    double start = tr_now();
    return count(A, views, start, A->backend->project(A->device, A->slab, views, x, p));
}

static tr_status slice_adjoint(const tr_linop *A, const tr_subset *views, const tr_vec *p,
                               tr_vec *x)
{
    double start = tr_now();
    return count(A, views, start,
                 A->backend->backproject(A->device, A->slab, views, p, x));
}

static tr_status slice_adjoint_fourier(const tr_linop *A, const tr_vec *p, tr_vec *x)
{
    double start = tr_now();
    return count(A, NULL, start,
                 A->backend->backproject_fourier(A->device, A->slab, p, x));
}

static tr_status slice_forward_fourier(const tr_linop *A, const tr_vec *x, tr_vec *p)
{
    double start = tr_now();
    return count(A, NULL, start, A->backend->project_fourier(A->device, A->slab, x, p));
}

static tr_status slice_row_sums(const tr_linop *A, const tr_subset *views, tr_vec *p)
{
    return tr_row_sums(&((tr_slice_operator *)A->self)->sums, A, views, p);
}

static tr_status slice_col_sums(const tr_linop *A, const tr_subset *views, tr_vec *x)
{
    return tr_col_sums(&((tr_slice_operator *)A->self)->sums, A, views, x);
}

/* All images of a view are filtered as that is. */
static tr_status filter_images(const tr_linop *A, const tr_filter *filter, tr_vec *p)
{
    const tr_slab *s = A->slab;
    if (!s->bands)
        return A->backend->filter(A->device, s, filter, p);
    TR_ASSERT(!filter->stride); /* one response for all */
    tr_slab images = *s;
    tr_filter each = *filter;
    float *weight = tr_calloc("the view weights", s->n_images, sizeof *weight);
    if (!weight)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < s->n_views; k++)
        for (size_t i = 0; i < s->bands[k].n; i++)
            weight[s->bands[k].first + i] = filter->weight[k];
    images.n_views = s->n_images;
    images.bands = NULL;
    each.weight = weight;
    tr_status status = A->backend->filter(A->device, &images, &each, p);
    free(weight);
    return status;
}

static tr_status slice_filter(const tr_linop *A, const tr_filter *filter, tr_vec *p)
{
    tr_job *job = ((tr_slice_operator *)A->self)->job;
    double start = tr_now();
    tr_status status = filter_images(A, filter, p);
    if (status == TR_OK)
        status = A->backend->wait(A->device);
    tr_job_spent(job, TR_STAGE_FILTER, start);
    return status;
}

static const tr_linop_ops slice_ops = {
    .forward = slice_forward,
    .adjoint = slice_adjoint,
    .row_sums = slice_row_sums,
    .col_sums = slice_col_sums,
    .filter = slice_filter,
};

/* Blocks of a pitched volume have as many planes as memory gives them rows, which sums in
 * Fourier space would depend on. */
static const tr_linop_ops fourier_ops = {
    .forward = slice_forward,
    .adjoint = slice_adjoint,
    .adjoint_fourier = slice_adjoint_fourier,
    .forward_fourier = slice_forward_fourier,
    .row_sums = slice_row_sums,
    .col_sums = slice_col_sums,
    .filter = slice_filter,
};

const tr_linop_ops *tr_slice_ops(const tr_job *job)
{
    return job->backend->backproject_fourier && job->geometry.pitch == 0.0 ? &fourier_ops
                                                                           : &slice_ops;
}
