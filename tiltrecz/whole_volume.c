/* The run of the volume method: read, reconstruct, write. */
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/outside.h"
#include "common/run/resample.h"
#include "common/tomogram/transpose.h"
#include "tiltrec/slices.h"
#include "tiltrecz/across.h"
#include "tiltrecz/mask.h"
#include "tiltrecz/model.h"
#include "tiltrecz/saver.h"
#include "tiltrecz/volume.h"

/* Views, one behind the other, to where each has `beside` columns more on both sides,
 * which are 0: the last one first. */
static void move_apart(const tr_job *job, const tr_volume_plan *p, float *host)
{
    const tr_geometry *g = &job->geometry;
    size_t read = (g->n_u + TR_GUARDS) * p->lanes, beside = p->beside * p->lanes;
    size_t image = g->n_u * p->lanes, view = read + 2 * beside;
    for (size_t v = g->n_views; v-- > 0;) {
        float *to = host + v * view;
        memmove(to + p->lanes + beside, host + v * read + p->lanes, image * sizeof *to);
        memset(to, 0, (p->lanes + beside) * sizeof *to);
        memset(to + p->lanes + beside + image, 0, (beside + 2 * p->lanes) * sizeof *to);
    }
}

enum { BAND = TR_LANES }; /* rows of a file at a time */

size_t tr_volume_second_bytes(const tr_job *job)
{
    const tr_second_axis *second = job->second;
    return second && second->transposed
               ? second->n_views * (second->geometry->n_u + TR_GUARDS) * BAND *
                     sizeof(float)
               : 0;
}

/* Of a band of the file's rows from `row` on, this process's columns, as lanes of columns
 * from `row` on. */
static void transpose_band(const tr_job *job, const tr_volume_plan *p, const float *band,
                           size_t row, size_t rows, float *host)
{
    size_t from = job->second->geometry->n_u + TR_GUARDS,
           to = job->geometry.n_u + TR_GUARDS;
    for (size_t v = 0; v < job->second->n_views; v++)
        for (size_t r = 0; r < rows; r++) {
            float *line = host + (v * to + 1 + row + r) * p->lanes;
            for (size_t k = 0; k < p->rows; k++)
                line[k] = band[(v * from + 1 + p->first + k) * BAND + r];
        }
}

static tr_status read_transposed(const tr_job *job, const tr_volume_plan *p,
                                 const tr_geometry *straight, float *host)
{
    const tr_second_axis *second = job->second;
    size_t view = (job->geometry.n_u + TR_GUARDS) * p->lanes, n_v = straight->n_v, n;
    float *band = tr_calloc("rows of views", tr_volume_second_bytes(job) / sizeof *band,
                            sizeof *band);
    tr_status status = band ? TR_OK : TR_ERR_MEMORY;
    memset(host, 0, second->n_views * view * sizeof *host);
    for (size_t row = 0; row < n_v && status == TR_OK; row += n) {
        n = n_v - row < BAND ? n_v - row : BAND;
        status = tr_series_read(second->series, straight, (long)row, n, BAND, band);
        if (status == TR_OK)
            transpose_band(job, p, band, row, n, host);
    }
    free(band);
    return status;
}

/* The second series' views, behind those of the first. */
static tr_status read_second(const tr_job *job, const tr_volume_plan *p, float *host)
{
    const tr_second_axis *second = job->second;
    tr_geometry straight = *second->geometry;
    straight.xtilt = NULL;
    size_t view = (job->geometry.n_u + TR_GUARDS) * p->lanes, n = second->n_views * view;
    host += job->geometry.n_views * view;
    TR_TRY(second->transposed ? read_transposed(job, p, &straight, host)
                              : tr_series_read(second->series, &straight, (long)p->first,
                                               p->rows, p->lanes, host));
    float factor = (float)second->factor;
    for (size_t i = 0; i < n && factor != 1.0f; i++)
        host[i] *= factor;
    return TR_OK;
}

/* Rows are read as they are: x-tilts and transforms are in the rays. */
static tr_status read_projections(tr_job *job, const tr_volume_plan *p, tr_vec *b)
{
    const tr_backend *backend = job->backend;
    tr_geometry straight = job->geometry;
    straight.xtilt = NULL;
    size_t floats = b->lines * b->rows;
    float *host = b->data;
    if (backend->separate_memory)
        TR_TRY(backend->alloc_host(job->device, floats, &host));
    double start = tr_now();
    tr_status status =
        tr_series_read(job->series, &straight, (long)p->first, p->rows, p->lanes, host);
    if (status == TR_OK && job->second)
        status = read_second(job, p, host);
    if (status == TR_OK && p->beside)
        move_apart(job, p, host);
    tr_job_spent(job, TR_STAGE_READ, start);
    if (backend->separate_memory) {
        start = tr_now();
        if (status == TR_OK)
            status = backend->upload(job->device, host, b->data, floats);
        tr_job_spent(job, TR_STAGE_UPLOAD, start);
        backend->free_host(job->device, host);
    }
    return status;
}

/* Output slice k of the file <-> plane [thickness][width]. */
static tr_status read_slice(const tr_job *job, size_t k, float *plane)
{
    const tr_geometry *g = &job->geometry;
    if (!job->output_spec.xyz)
        return tr_initial_read(job, k, 0, g->thickness, plane);
    for (size_t z = 0; z < g->thickness; z++)
        TR_TRY(tr_initial_read(job, g->thickness - 1 - z, k, 1, plane + z * g->width));
    return TR_OK;
}

/* A group of slices on its way between the vectors and a file: as lines of n rows, and as
 * planes where these are made, of half as many at a time. */
typedef struct slice_group {
    size_t plane; /* voxels */
    size_t n;
    float *slices, *lines;
    /* If the device takes slices: how, in its memory `work`, and what is known of them;
     * `lines` are their samples then. */
    tr_take take;
    float *work;
    tr_taken *taken;
} slice_group;

enum { GROUP_PLANES = 2 * TR_LANES }; /* of both */

static tr_status new_group(const tr_job *job, bool planes, slice_group *g)
{
    *g = (slice_group){.plane = job->geometry.width * job->geometry.thickness,
                       .n = planes ? GROUP_PLANES / 2 : GROUP_PLANES};
    g->lines = tr_calloc("slices", g->n * g->plane, sizeof *g->lines);
    if (planes)
        g->slices = tr_calloc("slices", g->n * g->plane, sizeof *g->slices);
    return g->lines && (g->slices || !planes) ? TR_OK : TR_ERR_MEMORY;
}

/* The rows of the host's own memory are written from where they are. */
static bool writes_groups(const tr_job *job)
{
    return job->backend->separate_memory || job->output_spec.sink;
}

size_t tr_volume_group_bytes(const tr_job *job)
{
    bool needed = writes_groups(job) || job->initial;
    return needed ? GROUP_PLANES * job->geometry.width * job->geometry.thickness *
                        sizeof(float)
                  : 0;
}

static size_t take_groups(const tr_job *job, tr_take *take)
{
    if (!tr_composer_takes(job, take))
        return 0;
    take->n = GROUP_PLANES;
    take->lines = tr_take_lines(take);
    return tr_take_floats(take);
}

size_t tr_volume_take_bytes(const tr_job *job)
{
    return take_groups(job, &(tr_take){0}) * sizeof(float);
}

static void free_group(slice_group *g)
{
    free(g->taken);
    free(g->slices);
    free(g->lines);
}

/* This process's slices [*first, *end) among those of the output. */
static void own_slices(const tr_job *job, const tr_volume_plan *p, size_t *first,
                       size_t *end)
{
    size_t last = job->first_slice + job->output_spec.n_slices;
    *first = p->first > job->first_slice ? p->first : job->first_slice;
    *end = p->first + p->rows < last ? p->first + p->rows : last;
}

/* Slices outside the initial volume's range start at 0. */
static tr_status load_initial(const tr_job *job, const tr_volume_plan *p, tr_vec *x)
{
    slice_group g;
    size_t first, end;
    own_slices(job, p, &first, &end);
    tr_status status = new_group(job, true, &g);
    for (size_t y = first; y < end && status == TR_OK; y += g.n) {
        size_t n = end - y < g.n ? end - y : g.n;
        for (size_t k = 0; k < n && status == TR_OK; k++)
            status = read_slice(job, y + k - job->first_slice, g.slices + k * g.plane);
        if (status != TR_OK)
            break;
        tr_slices_to_lines(g.slices, n, g.plane, n, g.lines);
        const tr_rows rows = {0, g.plane, y - p->first, n};
        status = job->backend->put_rows(job->device, &rows, g.lines, false, x);
    }
    free_group(&g);
    return status;
}

/* What lies outside the field begins as the volume's outermost columns: to the cells of a
 * plane, these are a core of two columns. */
static tr_status repeat_edges(const tr_job *job, const tr_volume_plan *p, tr_vec *x)
{
    size_t cells = job->geometry.outer, width = job->geometry.width, rows = x->rows;
    float *host = tr_calloc("the initial volume", (2 * cells + 2) * rows, sizeof *host);
    tr_status status = host ? TR_OK : TR_ERR_MEMORY;
    for (size_t z = 0; z < p->planes && cells && status == TR_OK; z++) {
        const tr_rows left = {z * width, 1, 0, rows},
                      right = {z * width + width - 1, 1, 0, rows},
                      beyond = {p->planes * width + z * 2 * cells, 2 * cells, 0, rows};
        status = job->backend->get_rows(job->device, x, &left, host);
        if (status == TR_OK)
            status = job->backend->get_rows(job->device, x, &right, host + rows);
        tr_outside_repeat(1, 2, cells, rows, host);
        if (status == TR_OK)
            status =
                job->backend->put_rows(job->device, &beyond, host + 2 * rows, false, x);
    }
    free(host);
    return status;
}

/* The device makes slices, unless it has but some planes of the volume at a time. */
static tr_status begin_taking(const tr_job *job, const tr_volume_plan *p, slice_group *g)
{
    size_t work = p->plane_bytes ? 0 : take_groups(job, &g->take);
    if (!work)
        return TR_OK;
    TR_TRY(job->backend->wait(job->device));
    TR_TRY(job->backend->alloc(job->device, work, &g->work));
    g->taken = tr_calloc("slices", g->n, sizeof *g->taken);
    return g->taken ? TR_OK : TR_ERR_MEMORY;
}

/* Rows [row, row + n). */
static tr_status fetch_group(const tr_job *job, const tr_vec *x, size_t row, size_t n,
                             slice_group *g)
{
    const tr_rows rows = {0, g->plane, row, n};
    if (!g->work)
        return job->backend->get_rows(job->device, x, &rows, g->lines);
    g->take.row = row;
    g->take.n = n;
    return job->backend->take_slices(job->device, x, &g->take, g->work, g->lines,
                                     g->taken);
}

static tr_status write_group(tr_job *job, const slice_group *g, size_t slice, size_t n)
{
    if (g->work)
        return tr_output_write_taken(job->output, slice, n, g->lines, g->taken);
    if (!g->slices)
        return tr_output_write_lines(job->output, slice, n, g->lines, n);
    tr_lines_to_slices(g->lines, n, n, g->plane, g->slices);
    return tr_output_write(job->output, slice, n, g->slices);
}

static tr_status write_groups(tr_job *job, const tr_volume_plan *p, const tr_vec *x)
{
    slice_group g;
    size_t first, end;
    own_slices(job, p, &first, &end);
    tr_status status = new_group(job, job->output_spec.sink, &g);
    if (status == TR_OK)
        status = begin_taking(job, p, &g);
    for (size_t y = first; y < end && status == TR_OK; y += g.n) {
        size_t n = end - y < g.n ? end - y : g.n;
        double start = tr_now();
        status = fetch_group(job, x, y - p->first, n, &g);
        if (job->backend->separate_memory)
            tr_job_spent(job, TR_STAGE_DOWNLOAD, start);
        if (status != TR_OK)
            break;
        start = tr_now();
        status = write_group(job, &g, y - job->first_slice, n);
        tr_job_spent(job, TR_STAGE_WRITE, start);
    }
    job->backend->free(job->device, g.work);
    free_group(&g);
    return status;
}

static tr_status write_volume(tr_job *job, const tr_volume_plan *p, const tr_vec *x)
{
    size_t first, end;
    if (writes_groups(job))
        return write_groups(job, p, x);
    own_slices(job, p, &first, &end);
    if (first >= end)
        return TR_OK;
    double start = tr_now();
    tr_status status =
        tr_output_write_lines(job->output, first - job->first_slice, end - first,
                              x->data + (first - p->first), x->rows);
    tr_job_spent(job, TR_STAGE_WRITE, start);
    return status;
}

/* What the algorithm starts from, if it starts from anything. */
static tr_status begin_volume(tr_job *job, const tr_volume_plan *p, tr_vec *x)
{
    double start = tr_now();
    tr_status status = TR_OK;
    if (job->algorithm->needs & TR_USES_INITIAL)
        status = job->backend->fill(job->device, x, 0.0f);
    if (status == TR_OK && job->initial)
        status =
            p->pitched ? tr_pitched_load_initial(job, p, x) : load_initial(job, p, x);
    if (status == TR_OK && job->initial)
        status = repeat_edges(job, p, x);
    tr_job_spent(job, TR_STAGE_ALLOCATE, start);
    return status;
}

static tr_status reconstruct(tr_job *job, const tr_volume_plan *p, const tr_linop *A,
                             const tr_model *model, const tr_saver *saver,
                             const tr_volume_mask *mask, tr_vec *b, tr_vec *x)
{
    tr_status status = read_projections(job, p, b);
    if (status == TR_OK)
        status = tr_volume_mask_data(mask, b);
    if (status == TR_OK)
        status = begin_volume(job, p, x);
    /* From here on the processes work in step. */
    TR_TRY(job->comm->ops->agree(job->comm, status));
    tr_context context = {.A = A,
                          .saver = saver,
                          .model = model,
                          .starts_at_zero = !job->initial,
                          .rows_together = p->coupled || job->second,
                          .sigma = job->noise.sigma,
                          .stop_at = job->until_noise ? job->noise.sigma : 0.0,
                          .history = &job->history};
    status = tr_algorithm_run(job->algorithm, &context, job->params, b, x);
    tr_context_end(&context);
    if (job->backend->separate_memory)
        tr_verbose("%s", job->backend->describe(job->device));
    if (status == TR_OK)
        status = p->pitched ? tr_pitched_write(job, p, x) : write_volume(job, p, x);
    if (status == TR_OK)
        status = tr_output_flush(job->output);
    /* The others do not come here, but wait for this one somewhere in the algorithm. */
    TR_TRY(status);
    return job->comm->ops->agree(job->comm, TR_OK);
}

bool tr_volume_by_slabs(const tr_job *job)
{
    const tr_algorithm *a = job->algorithm;
    tr_volume_plan p = {0};
    tr_volume_plan_rows(job, &p);
    bool once = !a->applications && !a->workspace && !a->volumes && !a->projections &&
                !(a->needs & (TR_USES_INITIAL | TR_NEEDS_WHOLE_VOLUME));
    return once && !p.coupled && !p.pitched;
}

/* What the algorithm's operator is made of; NULL where that is not needed. */
typedef struct operators {
    tr_volume_operator *op;
    tr_volume_across *across;
    tr_volume_model *model;
    tr_volume_mask *mask;
} operators;

/* Of all views. */
static const tr_linop *projector_of(const operators *o)
{
    return o->across ? tr_volume_across_linop(o->across) : tr_volume_linop(o->op);
}

/* The operator, and vectors for b and x. A device must know of all of them before it
 * gives memory for the first. Collective. */
static tr_status allocate(tr_job *job, const tr_volume_plan *p, operators *o, tr_vec *b,
                          tr_vec *x)
{
    double start = tr_now();
    tr_status status = p->plane_bytes
                           ? job->backend->keep_on_host(job->device, p->plane_bytes)
                           : job->backend->reserve(job->device, p->device_bytes);
    TR_TRY(job->comm->ops->agree(job->comm, status));
    TR_TRY(tr_volume_operator_new(job, p, &o->op));
    if (job->second && job->second->turned)
        TR_TRY(tr_volume_across_new(job, p, tr_volume_linop(o->op), &o->across));
    const tr_slab *slab = projector_of(o)->slab;
    *b = (tr_vec){.lines = tr_projection_lines(slab), .rows = slab->p_rows};
    *x = (tr_vec){.lines = tr_volume_lines(slab), .rows = slab->rows};
    status = job->backend->alloc(job->device, b->lines * b->rows, &b->data);
    if (status == TR_OK)
        status = job->backend->alloc_volume(job->device, x->lines * x->rows, &x->data);
    tr_job_spent(job, TR_STAGE_ALLOCATE, start);
    return job->comm->ops->agree(job->comm, status);
}

static tr_status complete(const tr_job *job, const tr_volume_plan *p, operators *o)
{
    TR_TRY(tr_volume_model_new(job, p, tr_volume_linop(o->op), &o->model));
    return tr_volume_mask_new(job, p, projector_of(o), &o->mask);
}

static const tr_linop *operator_of(const operators *o)
{
    return o->mask ? tr_volume_mask_linop(o->mask)
                   : tr_volume_model_linop(o->model, projector_of(o));
}

static tr_status end_operators(const operators *o)
{
    TR_TRY(tr_volume_across_end(o->across));
    return tr_volume_operator_end(o->op);
}

static void free_operators(operators *o)
{
    tr_volume_mask_free(o->mask);
    tr_volume_model_free(o->model);
    tr_volume_across_free(o->across);
    tr_volume_operator_free(o->op);
}

static tr_status run_whole(tr_job *job, const tr_volume_plan *p)
{
    operators o = {.op = NULL};
    tr_volume_saver *saver = NULL;
    tr_vec b = {0}, x = {0};
    tr_status status = allocate(job, p, &o, &b, &x);
    if (status == TR_OK)
        status = tr_volume_saver_new(job, &saver);
    if (status == TR_OK)
        status = complete(job, p, &o);
    if (status == TR_OK)
        status = reconstruct(job, p, operator_of(&o), tr_volume_model_of(o.model),
                             tr_volume_saver_ops(saver), o.mask, &b, &x);
    tr_volume_saver_free(saver);
    job->backend->free(job->device, b.data);
    job->backend->free(job->device, x.data);
    if (status == TR_OK)
        status = end_operators(&o);
    else if (status == TR_ERR_STOPPED) /* by all; keeps its sentence */
        (void)!end_operators(&o);
    free_operators(&o);
    return status;
}

static tr_status volume_run(tr_job *job, const void *plan)
{
    return tr_volume_by_slabs(job) ? tr_slices.run(job, plan) : run_whole(job, plan);
}

const tr_method tr_whole_volume = {.whole_volume = true,
                                   .plan = tr_volume_plan_make,
                                   .run = volume_run,
                                   .forget = tr_volume_saver_forget};
