/* What the volume takes of memory, and whether that is there. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/algorithms/pieces.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/geometry/local.h"
#include "common/run/plan.h"
#include "tiltrec/slices.h"
#include "tiltrecz/across.h"
#include "tiltrecz/mask.h"
#include "tiltrecz/model.h"
#include "tiltrecz/transfer.h"
#include "tiltrecz/volume.h"

typedef struct vector_counts {
    size_t volumes, projections, volume_bytes, projection_bytes, rest;
} vector_counts;

/* Volumes in host memory, of which the device has some planes at a time: whether that
 * fits. Where rays leave their row, one more volume lies there while sums are made. */
static bool count_planes(const tr_job *job, tr_volume_plan *p, const vector_counts *n,
                         size_t available)
{
    const tr_geometry *g = &job->geometry;
    const tr_slab slab = {.n_views = tr_volume_views(job),
                          .n_u = g->n_u + 2 * p->beside,
                          .n_x = g->width,
                          .n_z = p->planes,
                          .rows = p->lanes,
                          .p_rows = p->window_lanes,
                          .outer = g->outer};
    size_t least, most, ones = p->coupled ? n->volume_bytes : 0;
    size_t rest = n->projections * n->projection_bytes +
                  tr_volume_operator_bytes(job, p) - ones + TR_PLAN_DEVICE_FIXED;
    if (!job->backend->plane_bytes ||
        !job->backend->plane_bytes(job->device, &slab, p->coupled, &least, &most) ||
        rest > available || least > available - rest)
        return false;
    p->plane_bytes = most < available - rest ? most : available - rest;
    p->device_bytes = rest + p->plane_bytes;
    p->bytes = n->rest + n->projection_bytes + n->volumes * n->volume_bytes;
    return true;
}

/* Vectors are in the device's memory; what exceeds it, in the host's. `bytes` so far is
 * all of it. */
static tr_status count_device(const tr_job *job, tr_volume_plan *p, vector_counts *n)
{
    size_t vectors = p->bytes - n->rest, available;
    TR_TRY(job->backend->available(job->device, &available));
    p->device_bytes = vectors + tr_volume_operator_bytes(job, p) + TR_PLAN_DEVICE_FIXED +
                      tr_volume_take_bytes(job);
    p->excess = p->device_bytes > available ? p->device_bytes - available : 0;
    /* Checkpoints pass through host memory, and the projections are read into it first.
     */
    size_t larger =
        n->volume_bytes > n->projection_bytes ? n->volume_bytes : n->projection_bytes;
    bool kept = job->output_spec.every > 0.0 && job->algorithm->applications;
    n->rest += kept ? tr_pieces_bytes(larger / sizeof(float)) : 0;
    if (p->excess && count_planes(job, p, n, available))
        return TR_OK;
    p->bytes = n->rest + n->projection_bytes + p->excess;
    return TR_OK;
}

/* Slices on their way to or from a file. */
static size_t group_bytes(const tr_job *job, const tr_volume_plan *p)
{
    return p->pitched ? tr_pitched_bytes(job, p) : tr_volume_group_bytes(job);
}

size_t tr_volume_operator_bytes(const tr_job *job, const tr_volume_plan *p)
{
    const tr_geometry *g = &job->geometry;
    size_t row = (g->width + 2 * g->outer) * p->planes *
                 sizeof(float); /* a neighbour's, and its copy */
    if (!p->coupled)
        return 2 * row;
    size_t columns = g->n_u + 2 * p->beside + TR_GUARDS, n_views = tr_volume_views(job);
    size_t view = columns * p->window_lanes * sizeof(float);
    size_t volume = p->lanes * row; /* ones, while the sums are made */
    size_t spare = 0;               /* views */
    if (job->backend->project_sums) {
        size_t threads = (size_t)job->threads;
        spare = 3 + 2 * (threads < n_views ? threads : n_views);
    }
    /* Own rows may go into more windows than this process needs rows itself. */
    size_t lanes = p->lanes > p->window_lanes ? p->lanes : p->window_lanes;
    size_t part = columns * lanes * sizeof(float);
    return 2 * row + volume + (n_views + spare) * view +
           tr_local_grid_bytes(g, g->n_v + TR_LANES) +
           tr_transfer_bytes(n_views, part, job->backend->project_sums);
}

static size_t second_bytes(const tr_job *job, const tr_volume_plan *p)
{
    return job->second ? tr_series_read_bytes(job->second->series, p->rows) +
                             tr_volume_second_bytes(job) + tr_volume_across_bytes(job, p)
                       : 0;
}

static tr_status count_bytes(const tr_job *job, tr_volume_plan *p, vector_counts *n)
{
    const tr_geometry *g = &job->geometry;
    size_t line = p->lanes * sizeof(float), volumes = 0, projections = 0, total = 0;
    tr_algorithm_workspace(job->algorithm, job->params, &n->volumes, &n->projections);
    n->volumes += 1;                       /* x */
    n->projections += 1 + (p->beside > 0); /* b, and between projection and response */
    n->projections += tr_volume_mask_projections(job);
    if (p->coupled || job->second) { /* weights are as large as what they weigh */
        n->volumes += n->volumes > 1;
        n->projections += n->projections > 1;
    }
    TR_TRY(tr_size_product("the volume", &n->volume_bytes, 3,
                           (size_t[]){p->planes, g->width + 2 * g->outer, line}));
    TR_TRY(tr_size_product(
        "the projections", &n->projection_bytes, 3,
        (size_t[]){tr_job_views(job), g->n_u + 2 * p->beside + TR_GUARDS, line}));
    TR_TRY(tr_size_product("the volumes", &volumes, 2,
                           (size_t[]){n->volumes, n->volume_bytes}));
    TR_TRY(tr_size_product("the projections", &projections, 2,
                           (size_t[]){n->projections, n->projection_bytes}));
    n->rest = tr_plan_fixed(job) + tr_volume_operator_bytes(job, p) +
              group_bytes(job, p) + tr_output_bytes(&job->output_spec) +
              tr_series_read_bytes(job->series, p->rows) + second_bytes(job, p) +
              (n->volume_bytes + n->projection_bytes) / (p->lanes ? p->lanes : 1) * 2 +
              tr_plan_filter_bytes(job) + tr_volume_model_bytes(job, p);
    if (__builtin_add_overflow(volumes, projections, &total) ||
        __builtin_add_overflow(total, n->rest, &p->bytes))
        return tr_plan_uncountable();
    return job->backend->separate_memory ? count_device(job, p, n) : TR_OK;
}

/* How many processes, or which binning, would do. */
static tr_status refuse(const tr_job *job, const tr_volume_plan *p,
                        const vector_counts *n)
{
    double shared = (double)p->bytes - (double)n->rest;
    double room = (double)job->memory - (double)n->rest;
    double times = room > 0.0 ? ceil(shared / room) : 0.0;
    long bin = job->options->views.bin;
    while (bin < 32 &&
           (double)p->bytes / pow((double)bin / (double)job->options->views.bin, 3.0) >
               (double)job->memory)
        bin++;
    if (times > 0.0 && times * (double)job->comm->size <= (double)p->all_rows / 2.0)
        return tr_fail(
            TR_ERR_MEMORY,
            "%s needs %.0f MiB per process and %.0f MiB are allowed; start at "
            "least %.0f processes with that much each (mpiexec -n), or use --bin "
            "%ld",
            job->algorithm->name, tr_mib(p->bytes), tr_mib(job->memory),
            times * (double)job->comm->size, bin);
    return tr_fail(
        TR_ERR_MEMORY,
        "%s needs %.0f MiB per process and %.0f MiB are allowed; allow more with "
        "--memory, or use --bin %ld",
        job->algorithm->name, tr_mib(p->bytes), tr_mib(job->memory), bin);
}

static void print_memory(const tr_job *job, const tr_volume_plan *p,
                         const vector_counts *n)
{
    char vectors[160];
    snprintf(vectors, sizeof vectors, "%zu volumes %.0f, %zu sets of projections %.0f",
             n->volumes, (double)n->volumes * tr_mib(n->volume_bytes), n->projections,
             (double)n->projections * tr_mib(n->projection_bytes));
    if (!job->backend->separate_memory) {
        tr_info(
            "plan: memory %.0f MiB of %.0f MiB allowed per process: %s, the rest %.0f",
            tr_mib(p->bytes), tr_mib(job->memory), vectors, tr_mib(n->rest));
        return;
    }
    tr_info("plan: GPU memory %.0f MiB: %s; %s", tr_mib(p->device_bytes), vectors,
            p->plane_bytes ? "volumes in host memory, some planes at a time on the GPU, "
                             "because it has less free"
            : p->excess    ? "unified memory, because the GPU has less free"
                           : "ordinary allocations");
    tr_info("plan: memory %.0f MiB of %.0f MiB allowed per process%s", tr_mib(p->bytes),
            tr_mib(job->memory),
            p->plane_bytes ? ", with the volumes"
            : p->excess    ? ", with what the GPU does not hold"
                           : "");
}

tr_status tr_volume_plan_make(const tr_job *job, void **plan)
{
    tr_volume_plan p = {.beside = tr_volume_beside(job)};
    vector_counts n;
    if (tr_volume_by_slabs(job))
        return tr_slices.plan(job, plan);
    tr_volume_plan_rows(job, &p);
    if (!p.rows)
        return tr_fail(TR_ERR_USAGE,
                       "%d processes for %zu %s, which are shared out in pairs: start "
                       "at most %zu with mpiexec -n",
                       job->comm->size, p.all_rows, p.pitched ? "rows" : "slices",
                       (p.all_rows + 1) / 2);
    TR_TRY(count_bytes(job, &p, &n));
    if (p.bytes > job->memory)
        return refuse(job, &p, &n);
    tr_info("plan: %zu %s of %zu x %zu voxels on %d process%s, %zu on rank 0%s",
            p.all_rows, p.pitched ? "pitched rows" : "slices", job->geometry.width,
            p.planes, job->comm->size, job->comm->size == 1 ? "" : "es", p.rows,
            p.coupled   ? "; rays cross slices, rows are exchanged"
            : p.pitched ? "; slices are interpolated from them at the end"
                        : "");
    print_memory(job, &p, &n);
    tr_volume_plan *copy = malloc(sizeof *copy);
    if (!copy)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for a plan");
    *copy = p;
    *plan = copy;
    return TR_OK;
}
