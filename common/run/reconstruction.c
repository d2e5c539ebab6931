#include "common/algorithms/filtered.h"
#include "common/run/reconstruction.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/geometry/local.h"
#include "common/run/outside.h"
#include "common/run/rows.h"
#include "common/run/second.h"

tr_status tr_reconstruction_geometry(const tr_reconstruction *r, const tr_options *o,
                                     tr_geometry *geometry)
{
    const tr_inputs *in = r->inputs;
    size_t bin = (size_t)o->views.bin, n_u = in->nx / bin;
    size_t width = o->width ? (size_t)o->width / bin : n_u;
    size_t thickness = (size_t)o->thickness / bin;
    _Static_assert(sizeof(tr_view) % sizeof(double) == 0, "a stride of doubles");
    double b = (double)bin, subset[2];
    tr_inputs_subset_shift(in, subset);
    const tr_geometry_spec spec = {
        .n_views = r->views.n,
        .tilts = &r->views.view->tilt,
        .xtilts = r->views.has_xtilts ? &r->views.view->xtilt : NULL,
        .zfactors = r->views.has_zfactors ? &r->views.view->zfactor : NULL,
        .local = in->has_local ? &in->local : NULL,
        .sections = &r->views.view->section,
        .stride = sizeof(tr_view) / sizeof(double),
        .tilt_offset = o->tilt_offset,
        .pitch = o->pitch,
        .n_u = n_u,
        .n_v = in->ny / bin,
        .width = width ? width : 1,
        .thickness = thickness ? thickness : 1,
        .axis_shift = (o->axis_shift + subset[0] - in->stitch_shift) / b,
        .image_shift = subset[0] / b,
        .centre_shift = subset[1] / b,
        .x_shift = o->x_shift / b,
        .z_shift = o->z_shift / b,
    };
    TR_TRY(tr_geometry_init(&spec, geometry));
    bool whole = r->command->method->whole_volume;
    return r->job.outside ? tr_outside_cells(&r->job, geometry, whole, &geometry->outer)
                          : TR_OK;
}

static tr_status choose_slices(tr_reconstruction *r)
{
    size_t n = r->job.geometry.n_v;
    const long *range = r->command->options.slices;
    r->job.first_slice = 0;
    r->job.output_spec.n_slices = n;
    if (range[0] < 0)
        return TR_OK;
    if ((size_t)range[1] >= n)
        return tr_fail(TR_ERR_USAGE,
                       "--slices %ld:%ld: the volume has the slices 0 to %zu", range[0],
                       range[1], n - 1);
    r->job.first_slice = (size_t)range[0];
    r->job.output_spec.n_slices = (size_t)(range[1] - range[0]) + 1;
    return TR_OK;
}

/* Whole volumes are shared out by rows, as sums in Fourier space are not. */
static tr_status check_sum(const tr_reconstruction *r)
{
    const tr_command *c = r->command;
    const int *sum = tr_algorithm_option(c->algorithm, c->params, TR_SUM_OPTION);
    bool possible = r->job.geometry.pitch == 0.0 && !r->job.geometry.xtilt &&
                    !tr_geometry_is_direct(&r->job.geometry) &&
                    tr_backend_find(c->program->backend)->backproject_fourier;
    if (!sum || *sum != TR_SUM_FOURIER)
        return TR_OK;
    if (!possible)
        return tr_sum_unavailable();
    if (c->method->whole_volume && c->algorithm->applications)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "--sum fourier: %s holds the whole volume for %s, which it sums "
                       "directly; use tiltrec-mpi, or --sum direct",
                       c->program->whole_volume, c->algorithm->name);
    return TR_OK;
}

static tr_status check_sum_outside(const tr_reconstruction *r)
{
    const tr_command *c = r->command;
    const int *sum = tr_algorithm_option(c->algorithm, c->params, TR_SUM_OPTION);
    if (sum && *sum == TR_SUM_FOURIER && r->job.geometry.outer)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "--sum fourier takes nothing to be outside the field, where this "
                       "specimen is to go on; use --outside zero, or --sum direct");
    return TR_OK;
}

/* Slabs of slices have the rows that one application of the rays needs. */
static tr_status check_direct(const tr_reconstruction *r)
{
    const char *what = r->job.geometry.local ? "a local alignment" : "z-factors";
    bool whole = r->command->method->whole_volume;
    if (!tr_geometry_is_direct(&r->job.geometry))
        return TR_OK;
    size_t reach = tr_geometry_direct_reach(&r->job.geometry), rows = r->job.geometry.n_v;
    if (reach > tr_round_up(rows, TR_LANES) + TR_LANES)
        return tr_fail(
            TR_ERR_DATA,
            "%s moves what views see by %zu rows, and they have %zu: is it about "
            "this series? If it is, see --local-scale",
            what, reach, rows);
    if (!whole && r->command->algorithm->applications)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "%s uses the rays again and again, and %s couples the rows; use "
                       "%s, which holds the whole volume, or leave it out with --local "
                       "none --z-factors none",
                       r->command->algorithm->name, what,
                       r->command->program->whole_volume);
    return TR_OK;
}

static tr_status check_coupling(const tr_reconstruction *r)
{
    TR_TRY(check_direct(r));
    if (!r->command->method->whole_volume &&
        (r->command->algorithm->needs & TR_NEEDS_OWN_ROWS) && r->job.geometry.xtilt)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "%s solves every row by itself, but different x-tilts per view "
                       "couple the rows; use %s, which holds the whole volume, or leave "
                       "out --xtilts",
                       r->command->algorithm->name, r->command->program->whole_volume);
    if (!r->command->method->whole_volume &&
        tr_option_given(&r->command->line, "tolerance") && r->job.geometry.xtilt)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "--tolerance stops slices one by one, but different x-tilts per "
                       "view couple the slices; leave out --tolerance or --xtilts");
    return TR_OK;
}

tr_status tr_reconstruction_check_chunks(const tr_reconstruction *r)
{
    const double mib = 1.0 / (1 << 20);
    size_t chunk = tr_image_get_info(r->image)->chunk_bytes;
    if (chunk <= r->job.memory / 2)
        return TR_OK;
    return tr_fail(
        TR_ERR_MEMORY,
        "%s has chunks of %.0f MiB, each unpacked as a whole: %.0f MiB are needed "
        "to read it and %.0f MiB are allowed; allow more with --memory, or write "
        "it in smaller chunks",
        r->series_path, (double)chunk * mib, 2.0 * (double)chunk * mib,
        (double)r->job.memory * mib);
}

tr_status tr_reconstruction_files(tr_reconstruction *r)
{
    const tr_command *c = r->command;
    r->series_path = r->inputs->series_path;
    r->image = r->inputs->image;
    TR_TRY(tr_reconstruction_check_chunks(r));
    TR_TRY(tr_views_copy(&r->inputs->views, &r->views));
    TR_TRY(tr_reconstruction_geometry(r, &c->options, &r->job.geometry));
    TR_TRY(choose_slices(r));
    if (c->algorithm->check)
        TR_TRY(c->algorithm->check(c->params, r->views.n));
    TR_TRY(check_coupling(r));
    TR_TRY(check_sum(r));
    return tr_reconstruction_output(r);
}

/* Whether the operator has what the microscope does to views, as they are in the file. */
static bool is_modelled(const tr_reconstruction *r)
{
    const tr_view_params *v = &r->command->options.views;
    return v->model && (v->ctf || v->dose);
}

/* Of views that are evenly apart. */
static double overlap_of(const tr_reconstruction *r)
{
    const tr_geometry *g = &r->job.geometry;
    double low = INFINITY, high = -INFINITY;
    for (size_t k = 0; k < g->n_views; k++) {
        low = fmin(low, g->tilt[k]);
        high = fmax(high, g->tilt[k]);
    }
    double apart = g->n_views > 1 ? (high - low) / (double)(g->n_views - 1) : 0.0;
    return (double)r->command->options.thickness * apart;
}

tr_status tr_reconstruction_open_series(tr_reconstruction *r, tr_comm *comm)
{
    /* Turning the rays spares resampling the images; but a filter along the rows wants
     * them aligned. */
    const tr_image_info *info = tr_image_get_info(r->image);
    bool in_rays = r->command->method->whole_volume &&
                   !(r->command->algorithm->needs & TR_USES_FILTER) &&
                   !r->job.geometry.local && r->inputs->nx == info->nx &&
                   r->inputs->ny == info->ny;
    if (is_modelled(r) && r->views.has_transforms && !in_rays)
        return tr_fail(
            TR_ERR_USAGE,
            "views that are aligned to another size while they are read cannot "
            "have their CTF or dose weights in the projection; leave out --size, "
            "or use --ctf-mode flip with another algorithm");
    r->job.views = &r->views;
    r->job.transforms = in_rays && r->views.has_transforms;
    bool *rows = NULL;
    tr_depth_bands *bands = NULL;
    tr_status ready = tr_rows_read(r, &rows);
    if (ready == TR_OK)
        ready = tr_reconstruction_bands(r, &bands);
    ready = comm->ops->agree(comm, ready);
    if (ready != TR_OK) {
        free(rows);
        free(bands);
        return ready;
    }
    tr_series_spec spec = {
        .views = &r->views,
        .transforms = !in_rays && r->views.has_transforms,
        .n_u = r->job.geometry.n_u,
        .n_v = r->job.geometry.n_v,
        .steps = r->command->options.views,
        .pixel = r->inputs->pixel,
        .scratch = r->scratch,
        .threads = r->job.threads,
        .memory = r->job.memory / (r->job.second ? 4 : 2),
        .rows = rows,
        .bands = bands,
        .per_depth = tr_reconstruction_per_depth(r),
        .halves = {r->halves[0], r->halves[1]},
        .whole = r->whole,
        .stripes = r->inputs->stripes,
    };
    spec.steps.overlap = overlap_of(r);
    /* Aligned views are interpolated: a hot pixel has become a spot in them, which cannot
     * be told from what a specimen may have. */
    if (spec.steps.hot_pixels == TR_HOT_AUTO)
        spec.steps.hot_pixels =
            (r->views.has_transforms && !r->inputs->aligned) || r->inputs->flat_field
                ? TR_HOT_REPLACE
                : TR_HOT_WARN;
    tr_status status = tr_series_open(comm, r->image, &spec, &r->job.series);
    free(rows);
    free(bands);
    return status;
}

static tr_status measure_series(tr_reconstruction *r, tr_comm *comm)
{
    tr_job *job = &r->job;
    if (!(r->command->algorithm->needs & TR_COVERS_OUTSIDE))
        return TR_OK;
    TR_TRY(tr_noise_measure(comm, job->series, &job->geometry, &job->noise));
    job->until_noise =
        tr_algorithm_iterations(r->command->algorithm, r->command->params) &&
        (r->command->algorithm->needs & TR_STOPS_AT_NOISE) &&
        !tr_option_given(&r->command->line, "iterations") &&
        !tr_option_given(&r->command->line, "tolerance") &&
        tr_noise_is_known(&job->noise);
    TR_TRY(comm->ops->agree(
        comm, tr_outside_decide(job, (tr_outside_choice)r->command->options.outside,
                                r->command->method->whole_volume)));
    return check_sum_outside(r); /* the same for all */
}

tr_status tr_reconstruction_series(tr_reconstruction *r, tr_comm *comm)
{
    r->job.options = &r->command->options;
    TR_TRY(tr_reconstruction_open_series(r, comm));
    TR_TRY(measure_series(r, comm));
    TR_TRY(tr_second_series(r, comm));
    if (r->job.initial)
        TR_TRY(tr_content_look(comm, r->job.initial, r->job.threads,
                               &r->job.initial_content));
    r->fingerprint = tr_reconstruction_fingerprint(r);
    TR_TRY(comm->ops->agree(
        comm,
        r->fingerprint ? TR_OK : tr_fail(TR_ERR_MEMORY, "not enough memory to begin")));
    r->job.output_spec.every = 60.0 * r->command->options.checkpoint;
    r->job.output_spec.fingerprint = r->fingerprint;
    r->job.output_spec.resume = r->command->options.resume;
    return TR_OK;
}

void tr_reconstruction_free(tr_reconstruction *r)
{
    tr_series_close(r->job.series);
    tr_geometry_free(&r->job.geometry);
    tr_history_free(&r->job.history);
    tr_image_close(r->job.initial);
    tr_content_free(&r->job.initial_content);
    tr_image_close(r->frames);
    tr_views_free(&r->views);
    free(r->output_path);
    free(r->store);
    free(r->scratch);
    free(r->fingerprint);
    *r = (tr_reconstruction){.command = NULL};
}
