/* How the slices are cut into slabs that fit the memory allowed. */
#include <stdlib.h>

#include "common/algorithms/filtered.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/partition.h"
#include "common/geometry/local.h"
#include "common/run/plan.h"
#include "common/run/resample.h"
#include "kernels/gridding_size.h"
#include "tiltrec/slices.h"

enum {
    CORE_ROWS = 64,    /* enough lanes for the kernels, few enough for many slabs */
    DEVICE_ROWS = 128, /* the same of a device with its own memory */
    GROUP = TR_LANES
};

/* Slabs begin at multiples of so many rows, and cores are multiples of them. */
static size_t step_of(const tr_job *job)
{
    bool wide = tr_geometry_is_direct(&job->geometry) && !job->backend->project_sums;
    return wide ? TR_SHARED_LANES : TR_LANES;
}

/* The order is kept by the caller: rows needed are [first, end). */
static void cut_rows(const tr_job *job, tr_slice_plan *p)
{
    long first, end;
    TR_ASSERT(p->core > 0);
    size_t slice0 = job->first_slice + p->first;
    tr_geometry_rows_of_slices(&job->geometry, slice0, slice0 + p->slices, &first, &end);
    if (tr_geometry_is_direct(&job->geometry))
        first -= first % (long)step_of(job); /* so that lanes are alike in every slab */
    if (tr_geometry_is_sheared(&job->geometry)) {
        /* Blocks start at multiples of their size wherever this rank's part begins. */
        long core = (long)p->core, rest = first % core;
        first -= rest < 0 ? rest + core : rest;
    }
    p->first_row = first;
    p->n_slabs = ((size_t)(end - first) + p->core - 1) / p->core;
}

/* Slabs that the slices of one group are made from, and one being computed. */
static size_t live_volumes(const tr_job *job, const tr_slice_plan *p)
{
    if (!tr_geometry_is_sheared(&job->geometry))
        return 2;
    TR_ASSERT(p->core > 0);
    long first, end;
    tr_geometry_rows_of_slices(&job->geometry, 0, p->group, &first, &end);
    return ((size_t)(end - first) + p->core - 1) / p->core + 2;
}

typedef struct budget {
    size_t total;
    bool overflow;
} budget;

static size_t add(budget *b, size_t count, size_t bytes_each)
{
    size_t bytes = 0;
    b->overflow |= __builtin_mul_overflow(count, bytes_each, &bytes);
    b->overflow |= __builtin_add_overflow(b->total, bytes, &b->total);
    return bytes;
}

typedef struct slice_bytes {
    size_t projections, volumes, staging, rest;
} slice_bytes;

size_t tr_slices_take(const tr_job *job, const tr_slice_plan *p, tr_take *take)
{
    if (!tr_composer_takes(job, take))
        return 0;
    take->row = p->halo;
    take->n = p->core;
    take->lines = tr_take_lines(take);
    return tr_take_floats(take);
}

size_t tr_slices_host_floats(const tr_job *job, const tr_slice_plan *p)
{
    const tr_geometry *g = &job->geometry;
    tr_take take = {0};
    if (!job->backend->separate_memory)
        return p->planes * (g->width + 2 * g->outer) * p->lanes;
    if (!tr_slices_take(job, p, &take))
        return p->planes * g->width * p->lanes;
    size_t samples = p->core * take.thickness * take.width;
    return (samples * tr_type_size((tr_type)take.type) - 1) / sizeof(float) + 1;
}

/* What views are summed in in Fourier space, where they are. */
static size_t fourier_bytes(const tr_job *job, const tr_slice_plan *p)
{
    const tr_geometry *g = &job->geometry;
    const int *sum = tr_algorithm_option(job->algorithm, job->params, TR_SUM_OPTION);
    if (!sum || !job->backend->backproject_fourier || g->pitch != 0.0 || g->outer ||
        !tr_sum_is_fourier((tr_sum)*sum, g->n_views, g->n_u, g->width, p->planes))
        return 0;
    return tr_gridding_bytes(g->n_u, g->width, p->planes, job->threads);
}

static tr_status count_bytes(const tr_job *job, tr_slice_plan *p, slice_bytes *part)
{
    const tr_geometry *g = &job->geometry;
    size_t line = p->lanes * sizeof(float), volume, projection;
    TR_TRY(tr_size_product("a slab of the volume", &volume, 3,
                           (size_t[]){p->planes, g->width + 2 * g->outer, line}));
    TR_TRY(tr_size_product(
        "a slab of projections", &projection, 3,
        (size_t[]){tr_series_images(job->series), g->n_u + TR_GUARDS, line}));
    budget b = {0};
    bool own = job->backend->separate_memory;
    size_t work_volumes, work_projections;
    tr_algorithm_workspace(job->algorithm, job->params, &work_volumes, &work_projections);
    part->projections = add(&b, TR_SLAB_QUEUE + (own ? 0 : work_projections), projection);
    part->volumes = add(&b, p->volumes, tr_slices_host_floats(job, p) * sizeof(float)) +
                    add(&b, own ? 0 : work_volumes, volume);
    budget device = {0};
    if (own) {
        /* What the slabs are copied to; a texture holds the projections once more. */
        (void)add(&device, TR_SLAB_QUEUE + work_projections + 1, projection);
        (void)add(&device, TR_SLAB_QUEUE + work_volumes, volume);
        (void)add(&device, 1, TR_PLAN_DEVICE_FIXED);
        (void)add(&device, tr_slices_take(job, p, &(tr_take){0}), sizeof(float));
        (void)add(&device, 1, tr_local_grid_bytes(g, g->n_v + 2 * p->halo + p->lanes));
        if (job->initial)
            (void)add(&b, 1, volume); /* on its way to the device */
    }
    p->device_bytes = device.total;
    size_t planes = tr_composer_makes_planes(job) ? p->group : 0;
    part->staging = add(&b, planes, g->width * g->thickness * sizeof(float)) +
                    add(&b, 1, tr_output_bytes(&job->output_spec));
    size_t before = b.total;
    (void)add(&b, 1, tr_local_grid_bytes(g, g->n_v + 2 * p->halo + p->lanes));
    (void)add(&b, 1, tr_series_read_bytes(job->series, p->lanes));
    (void)add(&b, 1, job->initial ? tr_initial_bytes(job, p->lanes, p->planes) : 0);
    (void)add(&b, 1, tr_plan_filter_bytes(job));
    (void)add(&b, 1, fourier_bytes(job, p));
    /* Row and column sums, and those that are kept. */
    (void)add(&b, 2, volume / p->lanes + projection / p->lanes);
    part->rest = b.total - before + tr_plan_fixed(job);
    if (b.overflow || device.overflow ||
        __builtin_add_overflow(b.total, tr_plan_fixed(job), &b.total))
        return tr_plan_uncountable();
    p->bytes = b.total;
    return TR_OK;
}

static size_t coupled_rows(const tr_job *job)
{
    if (tr_geometry_is_direct(&job->geometry)) /* only once (check_coupling) */
        return tr_geometry_direct_reach(&job->geometry);
    size_t reach = tr_geometry_reach(&job->geometry);
    size_t times = job->algorithm->applications
                       ? job->algorithm->applications(job->params, job->geometry.n_views)
                       : 1;
    return reach * times;
}

/* With p->halo. */
static tr_status try_core(const tr_job *job, size_t core, tr_slice_plan *p,
                          slice_bytes *part)
{
    p->core = core;
    p->group = GROUP;
    p->lanes = tr_round_up(p->core + 2 * p->halo, TR_LANES);
    p->planes = tr_geometry_planes(&job->geometry, p->core + 2 * p->halo);
    p->volumes = live_volumes(job, p);
    cut_rows(job, p);
    return count_bytes(job, p, part);
}

static tr_status refuse(const tr_job *job, const tr_slice_plan *p, size_t available)
{
    if (p->device_bytes > available)
        return tr_fail(TR_ERR_MEMORY,
                       "a slab of %zu rows needs %.0f MiB of the GPU's memory and %.0f "
                       "MiB are free; make the volume smaller with -T or -w, or use "
                       "--bin",
                       p->lanes, tr_mib(p->device_bytes), tr_mib(available));
    return tr_fail(
        TR_ERR_MEMORY,
        "a slab of %zu rows needs %.0f MiB and %.0f MiB are allowed; allow more "
        "with --memory, make the volume smaller with -T or -w, or use --bin",
        p->lanes, tr_mib(p->bytes), tr_mib(job->memory));
}

static void print_plan(const tr_job *job, const tr_slice_plan *p, const slice_bytes *part)
{
    tr_info("plan: %zu slab%s of %zu rows per process%s, %zu x %zu voxels each row",
            p->n_slabs, p->n_slabs == 1 ? "" : "s", p->core,
            job->comm->size > 1 ? " (on rank 0)" : "", job->geometry.width, p->planes);
    if (p->halo)
        tr_info("plan: %s couple%s rows: %zu more rows are computed on each side "
                "of a slab",
                !tr_geometry_is_direct(&job->geometry) ? "the x-tilts"
                : job->geometry.local                  ? "the local alignment"
                                                       : "the z-factors",
                job->geometry.local ? "s" : "", p->halo);
    tr_info("plan: memory %.0f MiB of %.0f MiB allowed per process: projections %.0f, "
            "volume %.0f, output %.0f, the rest %.0f",
            tr_mib(p->bytes), tr_mib(job->memory), tr_mib(part->projections),
            tr_mib(part->volumes), tr_mib(part->staging), tr_mib(part->rest));
    if (job->backend->separate_memory)
        tr_info("plan: GPU memory %.0f MiB", tr_mib(p->device_bytes));
}

static tr_status share_slices(const tr_job *job, tr_slice_plan *p)
{
    size_t n = job->output_spec.n_slices, ranks = (size_t)job->comm->size;
    if (ranks > n)
        return tr_fail(TR_ERR_USAGE,
                       "%zu processes for %zu slices: start at most %zu with mpiexec -n",
                       ranks, n, n);
    tr_partition(n, ranks, (size_t)job->comm->rank, &p->first, &p->slices);
    return TR_OK;
}

tr_status tr_slices_plan(const tr_job *job, void **plan)
{
    tr_slice_plan p = {0};
    slice_bytes part;
    TR_TRY(share_slices(job, &p));
    p.halo = coupled_rows(job);
    if (p.halo > job->geometry.n_v && !tr_geometry_is_direct(&job->geometry))
        return tr_fail(
            TR_ERR_UNAVAILABLE,
            "the x-tilts couple rows so strongly that %s would need all %zu rows "
            "for each slice; use tiltrecz-mpi, which holds the whole volume, or "
            "leave out --xtilts",
            job->algorithm->name, job->geometry.n_v);
    size_t available;
    TR_TRY(job->backend->available(job->device, &available));
    bool pitched = tr_geometry_is_sheared(&job->geometry);
    size_t step = step_of(job);
    size_t usual = job->backend->separate_memory ? DEVICE_ROWS : CORE_ROWS;
    size_t core = pitched ? tr_geometry_block_rows(&job->geometry)
                          : tr_round_up(4 * p.halo > usual ? 4 * p.halo : usual, step);
    size_t most = tr_round_up(p.slices, step);
    core = !pitched && core > most ? most : core;
    TR_TRY(try_core(job, core, &p, &part));
    while ((p.bytes > job->memory || p.device_bytes > available) && !pitched &&
           core > step) {
        core = tr_round_up(core / 2, step);
        TR_TRY(try_core(job, core, &p, &part));
    }
    if (p.bytes > job->memory || p.device_bytes > available)
        return refuse(job, &p, available);
    tr_slice_plan *copy = malloc(sizeof *copy);
    if (!copy)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for a plan");
    *copy = p;
    *plan = copy;
    print_plan(job, &p, &part);
    return TR_OK;
}

bool tr_slices_shrink(const tr_job *job, tr_slice_plan *p)
{
    slice_bytes part;
    size_t step = step_of(job);
    if (tr_geometry_is_sheared(&job->geometry) || p->core <= step)
        return false;
    return try_core(job, tr_round_up(p->core / 2, step), p, &part) == TR_OK;
}

void tr_slices_cut(size_t core, tr_slice_plan *p)
{
    p->core = core;
    p->lanes = tr_round_up(core + 2 * p->halo, TR_LANES);
    p->n_slabs = 1;
}

void tr_slices_skip(const tr_job *job, tr_slice_plan *p, size_t n)
{
    p->first += n;
    p->slices -= n;
    p->n_slabs = 0;
    if (p->slices)
        cut_rows(job, p);
}
