/* The pipeline: reader -> slabs of projections -> algorithm -> slabs of volume ->
 * composer and writer. Three threads, bounded queues, buffers made once and reused. */
#include "tiltrec/slices.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/first_error.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/geometry/local.h"
#include "common/run/outside.h"
#include "common/base/queue.h"
#include "common/run/resample.h"

/* Buffers on their way round: filled by one stage, emptied by the next. */
typedef struct ring {
    tr_queue *empty, *full;
} ring;

typedef struct pipeline {
    tr_job *job;
    tr_slice_plan *plan;
    /* Host memory: from the reader, and to the writer. */
    ring read, write;
    float *projections[TR_SLAB_QUEUE];
    tr_slab_volume *volumes; /* plan->volumes of them */
    /* The same of a device with its own memory: before and after it computes. */
    ring loaded, computed;
    float *device_projections[TR_SLAB_QUEUE];
    tr_slab_volume device_volumes[TR_SLAB_QUEUE];
    tr_take take;   /* if the device takes slices: how, */
    float *work;    /* in this memory of its; else NULL */
    float *initial; /* a slab of it, to be uploaded; or NULL */
    tr_composer *composer;
    tr_ray *rays;
    tr_band *bands; /* of depth; NULL: views are one image each */
    float *grid;    /* of rays that see locally; and */
    tr_offsets offsets;
    tr_slice_operator op;
    /* The operator of the slab at hand, and what the algorithm works with. */
    tr_slab slab;
    tr_linop A;
    tr_context context;
    tr_first_error failure; /* the first in time; all stages are one item */
} pipeline;

static void close_ring(const ring *r)
{
    if (!r->empty)
        return;
    tr_queue_close(r->empty, true);
    tr_queue_close(r->full, true);
}

/* Keep the first failure, and close the queues so that every thread ends. */
static void stop(pipeline *p, tr_status status)
{
    tr_first_error_note(&p->failure, 0, status);
    close_ring(&p->read);
    close_ring(&p->write);
    close_ring(&p->loaded);
    close_ring(&p->computed);
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
        float *slab = tr_queue_pop(p->read.empty);
        if (!slab)
            return NULL;
        double start = tr_now();
        tr_geometry geometry = p->job->geometry;
        if (tr_geometry_is_direct(&geometry))
            geometry.xtilt = NULL; /* it is in the rays */
        tr_status status = tr_series_read_images(
            p->job->series, &geometry, slab_row(plan, k) - (long)plan->halo,
            plan->core + 2 * plan->halo, plan->lanes, slab);
        tr_job_spent(p->job, TR_STAGE_READ, start);
        if (status != TR_OK) {
            stop(p, status);
            return NULL;
        }
        if (!tr_queue_push(p->read.full, slab))
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
        tr_slab_volume *slab = tr_queue_pop(p->write.full);
        if (!slab)
            return NULL;
        double start = tr_now();
        tr_status status = tr_composer_add(p->composer, slab, done, &n_done);
        tr_job_spent(p->job, TR_STAGE_WRITE, start);
        if (status != TR_OK) {
            stop(p, status);
            return NULL;
        }
        for (size_t i = 0; i < n_done; i++)
            if (!tr_queue_push(p->write.empty, done[i]))
                return NULL;
    }
    return NULL;
}

/* ---- to and from a device with its own memory ---- */

static size_t projection_floats(const pipeline *p)
{
    const tr_geometry *g = &p->job->geometry;
    return tr_series_images(p->job->series) * (g->n_u + TR_GUARDS) * p->plan->lanes;
}

static size_t volume_floats(const pipeline *p)
{
    const tr_geometry *g = &p->job->geometry;
    return p->plan->planes * (g->width + 2 * g->outer) * p->plan->lanes;
}

/* Without what lies outside the field: what is written. */
static size_t core_floats(const pipeline *p)
{
    return p->plan->planes * p->job->geometry.width * p->plan->lanes;
}

static void *upload_slabs(void *argument)
{
    pipeline *p = argument;
    tr_job *job = p->job;
    for (size_t k = 0; k < p->plan->n_slabs; k++) {
        float *from = tr_queue_pop(p->read.full);
        float *to = from ? tr_queue_pop(p->loaded.empty) : NULL;
        if (!to)
            return NULL;
        double start = tr_now();
        tr_status status =
            job->backend->upload(job->device, from, to, projection_floats(p));
        tr_job_spent(job, TR_STAGE_UPLOAD, start);
        if (status != TR_OK) {
            stop(p, status);
            return NULL;
        }
        if (!tr_queue_push(p->read.empty, from) || !tr_queue_push(p->loaded.full, to))
            return NULL;
    }
    return NULL;
}

/* Rows of the slab's core that are slices of this process. */
static size_t slices_of(const pipeline *p, const tr_slab_volume *slab)
{
    long end = (long)(p->job->first_slice + p->plan->first + p->plan->slices);
    long rest = end - slab->row;
    return rest < (long)p->plan->core ? (size_t)rest : p->plan->core;
}

/* What is written of a slab: as slices if the device can make them. */
static tr_status download(const pipeline *p, const tr_slab_volume *from,
                          tr_slab_volume *to)
{
    const tr_backend *backend = p->job->backend;
    const size_t floats = core_floats(p);
    to->row = from->row;
    to->z0 = from->z0;
    if (!p->work)
        return backend->download(p->job->device, from->data, to->data, floats);
    const tr_vec x = {from->data, floats / p->plan->lanes, p->plan->lanes};
    tr_take take = p->take;
    take.n = to->n_taken = slices_of(p, from);
    return backend->take_slices(p->job->device, &x, &take, p->work, to->data, to->taken);
}

static void *download_slabs(void *argument)
{
    pipeline *p = argument;
    tr_job *job = p->job;
    for (size_t k = 0; k < p->plan->n_slabs; k++) {
        tr_slab_volume *from = tr_queue_pop(p->computed.full);
        tr_slab_volume *to = from ? tr_queue_pop(p->write.empty) : NULL;
        if (!to)
            return NULL;
        double start = tr_now();
        tr_status status = download(p, from, to);
        tr_job_spent(job, TR_STAGE_DOWNLOAD, start);
        if (status != TR_OK) {
            stop(p, status);
            return NULL;
        }
        if (!tr_queue_push(p->computed.empty, from) || !tr_queue_push(p->write.full, to))
            return NULL;
    }
    return NULL;
}

/* ---- one slab ---- */

static tr_status load_initial(const pipeline *p, const tr_slab_volume *volume)
{
    const tr_job *job = p->job;
    const tr_slice_plan *plan = p->plan;
    const tr_frame_box box = {volume->row - (long)plan->halo, plan->core + 2 * plan->halo,
                              volume->z0, plan->planes};
    float *lines = p->initial ? p->initial : volume->data;
    TR_TRY(tr_initial_load(job, &box, plan->lanes, lines));
    tr_outside_repeat(plan->planes, job->geometry.width, job->geometry.outer, plan->lanes,
                      lines);
    if (!p->initial)
        return TR_OK;
    return job->backend->upload(job->device, p->initial, volume->data, volume_floats(p));
}

/* Rays straight through the slices count rows from `halo` before the first slice on, so
 * that a slab's numbers do not show where it begins. */
static void set_direct_rays(pipeline *p, long row)
{
    const tr_geometry *g = &p->job->geometry;
    size_t halo = p->plan->halo;
    for (size_t i = 0; i < g->n_views; i++)
        p->rays[i] = tr_geometry_direct_ray(g, i, NULL, -(double)halo, 0.0);
    p->slab.first = (size_t)(row + (long)halo);
    p->slab.p_first = row;
    p->slab.all_rows = g->n_v + 2 * halo + p->plan->lanes;
    p->slab.offsets = p->grid ? &p->offsets : NULL;
}

static tr_status reconstruct(pipeline *p, float *projections, tr_slab_volume *volume)
{
    tr_job *job = p->job;
    const tr_slice_plan *plan = p->plan;
    const tr_geometry *g = &job->geometry;
    long row = volume->row - (long)plan->halo;
    size_t rows = plan->core + 2 * plan->halo;
    volume->z0 = tr_geometry_plane0(g, row, rows);
    tr_geometry_rays(g, row, rows, p->rays);
    if (p->bands)
        tr_bands_of_slab(g, tr_series_bands(job->series), row, volume->z0, p->bands);
    p->slab = (tr_slab){.n_views = g->n_views,
                        .n_u = g->n_u,
                        .n_x = g->width,
                        .n_z = plan->planes,
                        .rows = plan->lanes,
                        .p_rows = plan->lanes,
                        .outer = g->outer,
                        .rays = p->rays,
                        .bands = p->bands,
                        .n_images = tr_series_images(job->series)};
    if (tr_geometry_is_direct(g))
        set_direct_rays(p, row);
    tr_vec b = {projections, tr_projection_lines(&p->slab), plan->lanes};
    tr_vec x = {volume->data, tr_volume_lines(&p->slab), plan->lanes};
    if (job->initial)
        TR_TRY(load_initial(p, volume));
    else if (job->algorithm->needs & TR_USES_INITIAL)
        TR_TRY(job->backend->fill(job->device, &x, 0.0f));
    /* Only rows inside the image count for the residual, as others repeat its edge; and
     * where rows are slices only this process's, as its last slab may go beyond them. */
    long last = (long)g->n_v, own = (long)(job->first_slice + plan->first + plan->slices);
    last = !tr_geometry_is_sheared(g) && own < last ? own : last;
    size_t first = volume->row < 0 ? (size_t)-volume->row : 0;
    size_t end = volume->row + (long)plan->core > last
                     ? (size_t)(last > volume->row ? last - volume->row : 0)
                     : plan->core;
    p->A = (tr_linop){.ops = tr_slice_ops(job),
                      .self = &p->op,
                      .backend = job->backend,
                      .device = job->device,
                      .slab = &p->slab,
                      .tilt = g->tilt,
                      .first_row = plan->halo + first,
                      .n_rows = end > first ? end - first : 0};
    p->context.A = &p->A;
    p->context.starts_at_zero = !job->initial;
    p->context.history = &job->history;
    p->context.sigma = job->noise.sigma;
    tr_status status = tr_algorithm_run(job->algorithm, &p->context, job->params, &b, &x);
    tr_context_next(&p->context);
    return status == TR_OK ? job->backend->wait(job->device) : status;
}

static tr_status compute(pipeline *p)
{
    tr_job *job = p->job;
    bool own = job->backend->separate_memory;
    const ring *in = own ? &p->loaded : &p->read, *out = own ? &p->computed : &p->write;
    double start = tr_now();
    for (size_t k = 0; k < p->plan->n_slabs; k++) {
        float *projections = tr_queue_pop(in->full);
        tr_slab_volume *volume = projections ? tr_queue_pop(out->empty) : NULL;
        if (!volume)
            break; /* another thread has failed */
        volume->row = slab_row(p->plan, k);
        TR_TRY(reconstruct(p, projections, volume));
        if (!tr_queue_push(in->empty, projections) || !tr_queue_push(out->full, volume))
            break;
        if (k == 0 && own)
            tr_verbose("%s", job->backend->describe(job->device));
        tr_log_progress(job->algorithm->name, (double)(k + 1), (double)p->plan->n_slabs,
                        job->updates, tr_now() - start);
    }
    return TR_OK;
}

/* ---- buffers ---- */

static tr_status new_ring(size_t length, ring *r)
{
    r->empty = tr_queue_new(length);
    r->full = tr_queue_new(length);
    return r->empty && r->full ? TR_OK : TR_ERR_MEMORY;
}

static void free_ring(ring *r)
{
    tr_queue_free(r->empty);
    tr_queue_free(r->full);
    *r = (ring){NULL, NULL};
}

static tr_status make_host_buffers(pipeline *p)
{
    tr_job *job = p->job;
    const tr_slice_plan *plan = p->plan;
    TR_TRY(new_ring(TR_SLAB_QUEUE, &p->read));
    TR_TRY(new_ring(plan->volumes, &p->write));
    p->volumes = tr_calloc("slabs", plan->volumes, sizeof *p->volumes);
    p->rays = tr_calloc("rays", job->geometry.n_views, sizeof *p->rays);
    p->composer = tr_composer_new(job, plan);
    if (tr_series_bands(job->series))
        p->bands =
            tr_calloc("the bands of views", job->geometry.n_views, sizeof *p->bands);
    if (!p->volumes || !p->rays || !p->composer ||
        (tr_series_bands(job->series) && !p->bands))
        return TR_ERR_MEMORY;
    if (job->geometry.local)
        TR_TRY(tr_local_grid(&job->geometry, -(double)plan->halo,
                             job->geometry.n_v + 2 * plan->halo + plan->lanes, &p->grid,
                             &p->offsets));
    for (size_t i = 0; i < TR_SLAB_QUEUE; i++) {
        TR_TRY(job->backend->alloc_host(job->device, projection_floats(p),
                                        &p->projections[i]));
        (void)tr_queue_push(p->read.empty, p->projections[i]);
    }
    for (size_t i = 0; i < plan->volumes; i++) {
        TR_TRY(job->backend->alloc_host(job->device, tr_slices_host_floats(job, plan),
                                        &p->volumes[i].data));
        if (p->work)
            p->volumes[i].taken = tr_calloc("slices", plan->core, sizeof(tr_taken));
        if (p->work && !p->volumes[i].taken)
            return TR_ERR_MEMORY;
        (void)tr_queue_push(p->write.empty, &p->volumes[i]);
    }
    if (job->initial && job->backend->separate_memory)
        TR_TRY(job->backend->alloc_host(job->device, volume_floats(p), &p->initial));
    return TR_OK;
}

/* What the algorithm will ask for, asked for now and given back, so that a device with
 * too little memory shows before anything is computed. */
static tr_status try_workspace(const pipeline *p)
{
    const tr_job *job = p->job;
    size_t volumes, projections, got = 0;
    tr_algorithm_workspace(job->algorithm, job->params, &volumes, &projections);
    size_t n = volumes + projections;
    float *work[n + 1];
    tr_status status = TR_OK;
    for (; got < n && status == TR_OK; got += status == TR_OK)
        status = job->backend->alloc(
            job->device, got < volumes ? volume_floats(p) : projection_floats(p),
            &work[got]);
    while (got > 0)
        job->backend->free(job->device, work[--got]);
    return status;
}

static tr_status make_device_buffers(pipeline *p)
{
    tr_job *job = p->job;
    TR_TRY(new_ring(TR_SLAB_QUEUE, &p->loaded));
    TR_TRY(new_ring(TR_SLAB_QUEUE, &p->computed));
    for (size_t i = 0; i < TR_SLAB_QUEUE; i++) {
        TR_TRY(job->backend->alloc(job->device, projection_floats(p),
                                   &p->device_projections[i]));
        (void)tr_queue_push(p->loaded.empty, p->device_projections[i]);
        TR_TRY(job->backend->alloc(job->device, volume_floats(p),
                                   &p->device_volumes[i].data));
        (void)tr_queue_push(p->computed.empty, &p->device_volumes[i]);
    }
    size_t work = tr_slices_take(job, p->plan, &p->take);
    if (work)
        TR_TRY(job->backend->alloc(job->device, work, &p->work));
    return try_workspace(p);
}

static void free_device_buffers(pipeline *p)
{
    const tr_backend *backend = p->job->backend;
    for (size_t i = 0; i < TR_SLAB_QUEUE; i++) {
        backend->free(p->job->device, p->device_projections[i]);
        backend->free(p->job->device, p->device_volumes[i].data);
        p->device_projections[i] = p->device_volumes[i].data = NULL;
    }
    backend->free(p->job->device, p->work);
    p->work = NULL;
    free_ring(&p->loaded);
    free_ring(&p->computed);
}

static void free_host_buffers(pipeline *p)
{
    const tr_job *job = p->job;
    for (size_t i = 0; i < TR_SLAB_QUEUE; i++)
        job->backend->free_host(job->device, p->projections[i]);
    for (size_t i = 0; p->volumes && i < p->plan->volumes; i++) {
        job->backend->free_host(job->device, p->volumes[i].data);
        free(p->volumes[i].taken);
    }
    if (p->initial)
        job->backend->free_host(job->device, p->initial);
    free_ring(&p->read);
    free_ring(&p->write);
    tr_composer_free(p->composer);
    free(p->volumes);
    free(p->rays);
    free(p->bands);
    free(p->grid);
    tr_sums_free(&p->op.sums, job->backend, job->device);
}

/* Those of the device first: where it has less memory than the plan counted on, the
 * slabs become smaller. */
static tr_status make_buffers(pipeline *p)
{
    size_t planned = p->plan->core;
    while (p->job->backend->separate_memory) {
        tr_status status = make_device_buffers(p);
        if (status == TR_OK)
            break;
        free_device_buffers(p);
        if (status != TR_ERR_MEMORY || !tr_slices_shrink(p->job, p->plan))
            return status;
    }
    if (p->plan->core < planned)
        tr_info("the GPU has less memory free than it said: slabs of %zu rows instead of "
                "%zu",
                p->plan->core, planned);
    return make_host_buffers(p);
}

/* ---- the threads ---- */

static tr_status run_threads(pipeline *p)
{
    void *(*const stages[])(void *) = {read_slabs, write_slabs, upload_slabs,
                                       download_slabs};
    size_t n = p->job->backend->separate_memory ? 4 : 2, started = 0;
    pthread_t threads[4];
    tr_status status = TR_OK;
    while (started < n &&
           pthread_create(&threads[started], NULL, stages[started], p) == 0)
        started++;
    status = started == n ? compute(p)
                          : tr_fail(TR_ERR_MEMORY, "a thread to read, copy or write "
                                                   "cannot be started");
    if (status != TR_OK)
        stop(p, status);
    while (started > 0)
        pthread_join(threads[--started], NULL);
    return tr_first_error_end(&p->failure);
}

static void end_pipeline(pipeline *p)
{
    if (p->context.A)
        tr_context_end(&p->context);
    if (p->job->backend->separate_memory)
        free_device_buffers(p);
    free_host_buffers(p);
}

static tr_status slices_run(tr_job *job, const void *plan)
{
    tr_slice_plan own_plan = *(const tr_slice_plan *)plan;
    pipeline p = {
        .job = job, .op = {.job = job}, .plan = &own_plan, .failure = TR_NO_ERROR_YET};
    size_t done = tr_output_skip(job->output, own_plan.first, own_plan.slices);
    if (done)
        tr_info("going on after %zu slices that an earlier run wrote%s", done,
                job->comm->size > 1 ? " (on rank 0)" : "");
    tr_slices_skip(job, &own_plan, done);
    tr_status status = make_buffers(&p);
    if (status == TR_OK)
        status = run_threads(&p);
    end_pipeline(&p);
    return status;
}

/* ---- how many iterations ---- */

enum { MIDDLE_ROWS = 16 };

/* Reconstruct a slab of the middle rows, whatever the memory, until the residual has
 * reached the noise. */
static tr_status try_middle(pipeline *p)
{
    tr_job *job = p->job;
    const tr_backend *backend = job->backend;
    const tr_slice_plan *plan = p->plan;
    long middle = ((long)job->geometry.n_v - (long)plan->core) / 2;
    tr_slab_volume *volume = backend->separate_memory ? p->device_volumes : p->volumes;
    float *projections = p->projections[0];
    volume->row = middle > 0 ? middle : 0;
    TR_TRY(tr_series_read_images(job->series, &job->geometry,
                                 volume->row - (long)plan->halo,
                                 plan->core + 2 * plan->halo, plan->lanes, projections));
    if (backend->separate_memory) {
        TR_TRY(backend->upload(job->device, projections, p->device_projections[0],
                               projection_floats(p)));
        projections = p->device_projections[0];
    }
    p->context.stop_at = job->noise.sigma;
    return reconstruct(p, projections, volume);
}

static tr_status slices_settle(tr_job *job, const void *plan)
{
    tr_slice_plan small = *(const tr_slice_plan *)plan;
    long *iterations = tr_algorithm_iterations(job->algorithm, job->params);
    long most = *iterations;
    small.first = 0;
    small.slices = job->geometry.n_v;
    if (!tr_geometry_is_sheared(&job->geometry))
        tr_slices_cut(MIDDLE_ROWS, &small);
    pipeline p = {.job = job, .op = {.job = job}, .plan = &small};
    tr_history own = job->history;
    job->history = (tr_history){0};
    tr_status status = make_buffers(&p);
    if (status == TR_OK)
        status = try_middle(&p);
    if (status == TR_OK)
        *iterations = job->history.n ? (long)job->history.n : 1;
    tr_history_free(&job->history);
    job->history = own;
    job->updates = 0.0;
    end_pipeline(&p);
    if (status == TR_OK && *iterations < most)
        tr_info("iterations: %ld of at most %ld, where the residual of the middle rows "
                "reaches the noise",
                *iterations, most);
    else if (status == TR_OK)
        tr_info("iterations: all %ld; the residual of the middle rows stays above the "
                "noise",
                most);
    return status;
}

const tr_method tr_slices = {
    .plan = tr_slices_plan, .settle = slices_settle, .run = slices_run};
