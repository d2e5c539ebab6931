/* The pipeline: reader -> slabs of projections -> algorithm -> slabs of volume ->
 * composer and writer. Three threads, bounded queues, buffers made once and reused. */
#include "slices.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../common/log.h"
#include "../common/mem.h"
#include "../common/queue.h"

typedef struct pipeline {
    tr_job *job;
    const tr_slice_plan *plan;
    tr_queue *empty_projections, *full_projections;
    tr_queue *empty_volumes, *full_volumes;
    float *projections[TR_SLAB_QUEUE];
    tr_slab_volume *volumes; /* plan->volumes of them */
    tr_composer *composer;
    tr_ray *rays;
    pthread_mutex_t lock; /* of the first failure */
    tr_status status;
    char sentence[1024];
} pipeline;

/* Remember the first failure and let every thread run dry. */
static void stop(pipeline *p, tr_status status)
{
    pthread_mutex_lock(&p->lock);
    if (p->status == TR_OK) {
        p->status = status;
        strncpy(p->sentence, tr_error(), sizeof p->sentence - 1);
    }
    pthread_mutex_unlock(&p->lock);
    tr_queue_close(p->empty_projections, true);
    tr_queue_close(p->full_projections, true);
    tr_queue_close(p->empty_volumes, true);
    tr_queue_close(p->full_volumes, true);
}

static long slab_row(const tr_slice_plan *plan, size_t k)
{
    return plan->first_row + (long)(k * plan->core);
}

static void *read_slabs(void *argument)
{
    pipeline *p = argument;
    const tr_slice_plan *plan = p->plan;
    for (size_t k = 0; k < plan->n_slabs; k++) {
        float *slab = tr_queue_pop(p->empty_projections);
        if (!slab)
            return NULL;
        double start = tr_now();
        tr_status status = tr_series_read(p->job->series, &p->job->geometry,
                                          slab_row(plan, k) - (long)plan->halo,
                                          plan->core + 2 * plan->halo, plan->lanes, slab);
        p->job->seconds[TR_STAGE_READ] += tr_now() - start;
        if (status != TR_OK) {
            stop(p, status);
            return NULL;
        }
        if (!tr_queue_push(p->full_projections, slab))
            return NULL;
    }
    return NULL;
}

static void *write_slabs(void *argument)
{
    pipeline *p = argument;
    tr_slab_volume *done[p->plan->volumes];
    for (size_t k = 0; k < p->plan->n_slabs; k++) {
        size_t n_done = 0;
        tr_slab_volume *slab = tr_queue_pop(p->full_volumes);
        if (!slab)
            return NULL;
        double start = tr_now();
        tr_status status = tr_composer_add(p->composer, slab, done, &n_done);
        p->job->seconds[TR_STAGE_WRITE] += tr_now() - start;
        if (status != TR_OK) {
            stop(p, status);
            return NULL;
        }
        for (size_t i = 0; i < n_done; i++)
            if (!tr_queue_push(p->empty_volumes, done[i]))
                return NULL;
    }
    return NULL;
}

/* ---- the operator of one slab ---- */

static tr_status count(const tr_linop *A, const tr_subset *views, double start,
                       tr_status status)
{
    tr_job *job = A->self;
    const tr_slab *s = A->slab;
    double n = views ? (double)views->n : (double)s->n_views;
    job->seconds[TR_STAGE_PROJECT] += tr_now() - start;
    job->updates += n * (double)tr_volume_lines(s) * (double)s->rows;
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

static tr_status slice_row_sums(const tr_linop *A, const tr_subset *views, tr_vec *p)
{
    return A->backend->row_sums(A->device, A->slab, views, p);
}

static tr_status slice_col_sums(const tr_linop *A, const tr_subset *views, tr_vec *x)
{
    return A->backend->col_sums(A->device, A->slab, views, x);
}

static tr_status slice_filter(const tr_linop *A, const tr_filter *filter, tr_vec *p)
{
    tr_job *job = A->self;
    double start = tr_now();
    tr_status status = A->backend->filter(A->device, A->slab, filter, p);
    job->seconds[TR_STAGE_FILTER] += tr_now() - start;
    return status;
}

static const tr_linop_ops slice_ops = {
    .forward = slice_forward,
    .adjoint = slice_adjoint,
    .row_sums = slice_row_sums,
    .col_sums = slice_col_sums,
    .filter = slice_filter,
};

static tr_status reconstruct(pipeline *p, float *projections, tr_slab_volume *volume)
{
    tr_job *job = p->job;
    const tr_slice_plan *plan = p->plan;
    const tr_geometry *g = &job->geometry;
    long row = volume->row - (long)plan->halo;
    size_t rows = plan->core + 2 * plan->halo;
    volume->z0 = tr_geometry_plane0(g, row, rows);
    tr_geometry_rays(g, row, rows, p->rays);
    tr_slab slab = {.n_views = g->n_views,
                    .n_u = g->n_u,
                    .n_x = g->width,
                    .n_z = plan->planes,
                    .rows = plan->lanes,
                    .p_rows = plan->lanes,
                    .rays = p->rays};
    tr_vec b = {projections, tr_projection_lines(&slab), plan->lanes};
    tr_vec x = {volume->data, tr_volume_lines(&slab), plan->lanes};
    if (job->initial)
        TR_TRY(tr_initial_load(job, plan, volume));
    else if (job->algorithm->needs & TR_USES_INITIAL)
        TR_TRY(job->backend->fill(job->device, &x, 0.0f));
    /* Only rows inside the image count for the residual: the rest repeats its edge. */
    size_t n_v = g->n_v;
    size_t first = volume->row < 0 ? (size_t)-volume->row : 0;
    size_t end = volume->row + (long)plan->core > (long)n_v
                     ? (size_t)((long)n_v > volume->row ? (long)n_v - volume->row : 0)
                     : plan->core;
    const tr_linop A = {.ops = &slice_ops,
                        .self = job,
                        .backend = job->backend,
                        .device = job->device,
                        .slab = &slab,
                        .tilt = g->tilt,
                        .first_row = plan->halo + first,
                        .n_rows = end > first ? end - first : 0};
    tr_context context = {
        .A = &A, .starts_at_zero = !job->initial, .history = &job->history};
    tr_status status = job->algorithm->run(&context, job->params, &b, &x);
    tr_context_end(&context);
    return status;
}

static tr_status compute(pipeline *p)
{
    tr_job *job = p->job;
    double start = tr_now();
    for (size_t k = 0; k < p->plan->n_slabs; k++) {
        float *projections = tr_queue_pop(p->full_projections);
        tr_slab_volume *volume = projections ? tr_queue_pop(p->empty_volumes) : NULL;
        if (!volume)
            break; /* another thread has failed */
        volume->row = slab_row(p->plan, k);
        TR_TRY(reconstruct(p, projections, volume));
        if (!tr_queue_push(p->empty_projections, projections) ||
            !tr_queue_push(p->full_volumes, volume))
            break;
        tr_log_progress(job->algorithm->name, (double)(k + 1), (double)p->plan->n_slabs,
                        job->updates, tr_now() - start);
    }
    return TR_OK;
}

static tr_status make_buffers(pipeline *p)
{
    tr_job *job = p->job;
    const tr_geometry *g = &job->geometry;
    const tr_slice_plan *plan = p->plan;
    p->empty_projections = tr_queue_new(TR_SLAB_QUEUE);
    p->full_projections = tr_queue_new(TR_SLAB_QUEUE);
    p->empty_volumes = tr_queue_new(plan->volumes);
    p->full_volumes = tr_queue_new(plan->volumes);
    p->volumes = tr_calloc("slabs", plan->volumes, sizeof *p->volumes);
    p->rays = tr_calloc("rays", g->n_views, sizeof *p->rays);
    p->composer = tr_composer_new(job, plan);
    if (!p->empty_projections || !p->full_projections || !p->empty_volumes ||
        !p->full_volumes || !p->volumes || !p->rays || !p->composer)
        return TR_ERR_MEMORY;
    size_t projection = g->n_views * (g->n_u + TR_GUARDS) * plan->lanes;
    size_t volume = plan->planes * g->width * plan->lanes;
    for (size_t i = 0; i < TR_SLAB_QUEUE; i++) {
        TR_TRY(job->backend->alloc(job->device, projection, &p->projections[i]));
        (void)tr_queue_push(p->empty_projections, p->projections[i]);
    }
    for (size_t i = 0; i < plan->volumes; i++) {
        TR_TRY(job->backend->alloc(job->device, volume, &p->volumes[i].data));
        (void)tr_queue_push(p->empty_volumes, &p->volumes[i]);
    }
    return TR_OK;
}

static void free_buffers(pipeline *p)
{
    for (size_t i = 0; i < TR_SLAB_QUEUE; i++)
        p->job->backend->free(p->job->device, p->projections[i]);
    for (size_t i = 0; p->volumes && i < p->plan->volumes; i++)
        p->job->backend->free(p->job->device, p->volumes[i].data);
    tr_queue_free(p->empty_projections);
    tr_queue_free(p->full_projections);
    tr_queue_free(p->empty_volumes);
    tr_queue_free(p->full_volumes);
    tr_composer_free(p->composer);
    free(p->volumes);
    free(p->rays);
}

static tr_status run_threads(pipeline *p)
{
    pthread_t reader, writer;
    if (pthread_create(&reader, NULL, read_slabs, p) != 0)
        return tr_fail(TR_ERR_MEMORY, "a thread to read cannot be started");
    if (pthread_create(&writer, NULL, write_slabs, p) != 0) {
        stop(p, tr_fail(TR_ERR_MEMORY, "a thread to write cannot be started"));
        pthread_join(reader, NULL);
        return tr_fail(p->status, "%s", p->sentence);
    }
    tr_status status = compute(p);
    if (status != TR_OK)
        stop(p, status);
    pthread_join(reader, NULL);
    pthread_join(writer, NULL);
    return p->status == TR_OK ? TR_OK : tr_fail(p->status, "%s", p->sentence);
}

static tr_status slices_run(tr_job *job, const void *plan)
{
    pipeline p = {.job = job, .plan = plan};
    pthread_mutex_init(&p.lock, NULL);
    tr_status status = make_buffers(&p);
    if (status == TR_OK)
        status = run_threads(&p);
    free_buffers(&p);
    pthread_mutex_destroy(&p.lock);
    return status;
}

const tr_method tr_slices = {.plan = tr_slices_plan, .run = slices_run};
