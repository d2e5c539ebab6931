#include "common/run/setup.h"

#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/options/options.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/outside.h"

/* ---- the command line ---- */

static tr_status find_algorithm(tr_setup *s, const char *name)
{
    s->algorithm = tr_algorithm_find(name);
    if (s->algorithm && tr_method_offers(s->program->method, s->algorithm))
        return TR_OK;
    if (s->algorithm)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "%s needs the whole volume at once and %s works slice by slice; "
                       "use %s",
                       s->algorithm->name, s->program->name, s->program->whole_volume);
    const char *names[32];
    char list[256] = "";
    size_t n = 0;
    const tr_algorithm *a;
    for (size_t k = 0; n < 32 && (a = tr_algorithm_at(k)); k++) {
        if (!tr_method_offers(s->program->method, a))
            continue;
        names[n] = a->name;
        strncat(list, n ? ", " : "", sizeof list - strlen(list) - 1);
        strncat(list, a->name, sizeof list - strlen(list) - 1);
        n++;
    }
    const char *near = tr_nearest(name, names, n);
    return tr_fail(TR_ERR_USAGE, "there is no algorithm %s%s%s; the algorithms are %s",
                   name, near ? "; did you mean " : "", near ? near : "", list);
}

static tr_status make_groups(tr_setup *s)
{
    size_t n = 0;
    while (tr_algorithm_at(n))
        n++;
    s->groups = tr_calloc("options", n + 2, sizeof *s->groups);
    s->params = tr_calloc("options", s->algorithm->params_size, 1);
    if (!s->groups || !s->params)
        return TR_ERR_MEMORY;
    s->groups[s->n_groups++] =
        (tr_option_group){"Common", tr_common_options, tr_n_common_options, &s->options};
    if (s->program->instead)
        s->groups[s->n_groups++] = (tr_option_group){
            "Device", tr_device_option_rows, tr_n_device_options, &s->device_options};
    for (size_t k = 0; k < n; k++) {
        const tr_algorithm *a = tr_algorithm_at(k);
        if (tr_method_offers(s->program->method, a))
            s->groups[s->n_groups++] = (tr_option_group){
                a->name, a->options, a->n_options, a == s->algorithm ? s->params : NULL};
    }
    return TR_OK;
}

/* A trial has no tomogram: options that only one has would be silently ignored. Slices
 * are enough for it, if the algorithm can do with them. */
static tr_status check_trial(tr_setup *s)
{
    static const char *const others[] = {"initial", "resume", "timeline", "half-sets",
                                         "verify",  "report", "json",     "preview"};
    TR_TRY(tr_trial_parse(s->options.try_what, &s->trial));
    for (size_t k = 0; k < sizeof others / sizeof *others; k++)
        if (tr_option_given(&s->line, others[k]))
            return tr_fail(TR_ERR_USAGE,
                           "--try makes no tomogram; leave out --%s, or --try",
                           others[k]);
    bool has_lambda = false;
    for (size_t k = 0; k < s->algorithm->n_options; k++)
        has_lambda |= strcmp(s->algorithm->options[k].name, TR_LAMBDA_TIMES) == 0;
    if (s->trial.what == TR_TRIAL_LAMBDA && !has_lambda)
        return tr_fail(TR_ERR_USAGE,
                       "--try lambda is for algorithms with a regularizer, and %s has "
                       "none; give -a ADMM",
                       s->algorithm->name);
    if (s->program->few_slices && tr_method_offers(s->program->few_slices, s->algorithm))
        s->method = s->program->few_slices;
    return TR_OK;
}

static tr_status check_options(tr_setup *s)
{
    tr_options *o = &s->options;
    o->log = tr_option_given(&s->line, "log");
    if (s->line.positional && o->input)
        return tr_fail(TR_ERR_USAGE, "two series are named, %s and --input %s; name one",
                       s->line.positional, o->input);
    if (!o->input)
        o->input = s->line.positional;
    if (o->quiet && o->verbose)
        return tr_fail(TR_ERR_USAGE, "--quiet and --verbose contradict each other");
    if (o->scale[1] == 0.0)
        return tr_fail(
            TR_ERR_USAGE,
            "--scale %g,0 makes every voxel 0; the second number must not be 0",
            o->scale[0]);
    if (o->initial && !(s->algorithm->needs & TR_USES_INITIAL))
        return tr_fail(TR_ERR_USAGE,
                       "%s does not start from a volume; --initial is for iterations",
                       s->algorithm->name);
    if (o->outside == TR_OUTSIDE_CONTINUE && !(s->algorithm->needs & TR_COVERS_OUTSIDE))
        return tr_fail(
            TR_ERR_USAGE,
            "%s takes no account of what lies outside the field; --outside continue "
            "is for SIRT, SART, CGLS and ADMM",
            s->algorithm->name);
    if (o->try_what)
        TR_TRY(check_trial(s));
    return TR_OK;
}

tr_status tr_setup_parse(tr_setup *s, const tr_program *program, int argc,
                         char *const *argv)
{
    s->program = program;
    s->method = program->method;
    int n = 0;
    if (tr_help_asked(argc, argv, &s->help_topic)) { /* whatever else is there */
        s->options.help = true;
        TR_TRY(find_algorithm(s, "WBP"));
        return make_groups(s);
    }
    TR_TRY(tr_arguments_rewrite(argc, argv, &n, &s->arguments));
    const char *name = tr_arguments_algorithm(n, s->arguments);
    TR_TRY(find_algorithm(s, name ? name : "WBP"));
    TR_TRY(make_groups(s));
    TR_TRY(tr_options_parse(s->groups, s->n_groups, "SERIES", n, s->arguments, &s->line));
    return check_options(s);
}

/* ---- the files ---- */

static tr_status find_series(tr_setup *s)
{
    if (s->options.imod_com) {
        TR_TRY(tr_imod_com_read(s->options.imod_com, &s->com));
        s->has_com = true;
    }
    s->series_path = s->options.input ? s->options.input : s->com.input;
    if (s->series_path)
        return TR_OK;
    TR_TRY(tr_discover(".", &s->found));
    s->series_path = s->found.series;
    tr_info("found the series %s%s%s%s%s", s->found.series,
            s->found.tilts ? ", its angles " : "", s->found.tilts ? s->found.tilts : "",
            s->found.imod_com ? ", and for the rest " : "",
            s->found.imod_com ? s->found.imod_com : "");
    if (s->found.imod_com && !s->has_com) {
        TR_TRY(tr_imod_com_read(s->found.imod_com, &s->com));
        s->has_com = true;
    }
    return TR_OK;
}

static tr_status choose_views(tr_setup *s)
{
    size_t n = tr_image_get_info(s->image)->nz, kept = 0;
    bool *include = tr_calloc("the list of views", n, sizeof *include);
    bool *exclude = tr_calloc("the list of views", n, sizeof *exclude);
    s->views = tr_calloc("the list of views", n, sizeof *s->views);
    tr_status status = include && exclude && s->views ? TR_OK : TR_ERR_MEMORY;
    if (status == TR_OK && s->options.include)
        status = tr_list_expand("--include", s->options.include, n, include);
    if (status == TR_OK && s->options.exclude)
        status = tr_list_expand("--exclude", s->options.exclude, n, exclude);
    for (size_t k = 0; k < n && status == TR_OK; k++)
        if ((!s->options.include || include[k]) && !exclude[k] &&
            (!s->alignment.used || s->alignment.used[k]))
            s->views[kept++] = k;
    s->n_views = kept;
    free(include);
    free(exclude);
    TR_TRY(status);
    if (!kept)
        return tr_fail(TR_ERR_USAGE,
                       "--include and --exclude leave none of the %zu views", n);
    return TR_OK;
}

static void keep_chosen(const tr_setup *s, double *values)
{
    for (size_t k = 0; k < s->n_views; k++)
        values[k] = values[s->views[k]];
}

static tr_status read_tilts(tr_setup *s)
{
    const tr_image_info *info = tr_image_get_info(s->image);
    s->tilts = tr_calloc("the tilt angles", info->nz, sizeof *s->tilts);
    if (!s->tilts)
        return TR_ERR_MEMORY;
    if (s->alignment.tilt) {
        memcpy(s->tilts, s->alignment.tilt, info->nz * sizeof *s->tilts);
    } else if (s->tilts_path) {
        TR_TRY(tr_angles_read(s->tilts_path, info->nz, s->tilts));
    } else if (info->n_tilts == info->nz) {
        memcpy(s->tilts, info->tilts, info->nz * sizeof *s->tilts);
    } else {
        return tr_fail(
            TR_ERR_DATA,
            "%s: no tilt angles: there is no .tlt, .rawtlt, .mdoc, .aln or .star file "
            "of that name and the file itself has none; name one with -t",
            s->series_path);
    }
    keep_chosen(s, s->tilts);
    return TR_OK;
}

static tr_status read_xtilts(tr_setup *s)
{
    size_t n = tr_image_get_info(s->image)->nz;
    if (!s->options.xtilts && !s->alignment.xtilt)
        return TR_OK;
    s->xtilts = tr_calloc("the x-tilts", n, sizeof *s->xtilts);
    if (!s->xtilts)
        return TR_ERR_MEMORY;
    if (s->options.xtilts) {
        TR_TRY(tr_angles_read(s->options.xtilts, n, s->xtilts));
        for (size_t i = 0; i < n; i++) /* IMOD turns by XAXISTILT - XTILTFILE */
            s->xtilts[i] = 0.0 - s->xtilts[i];
    } else {
        memcpy(s->xtilts, s->alignment.xtilt, n * sizeof *s->xtilts);
    }
    keep_chosen(s, s->xtilts);
    return TR_OK;
}

static tr_status read_transforms(tr_setup *s)
{
    size_t n = tr_image_get_info(s->image)->nz;
    if (!tr_setup_has_transforms(s))
        return TR_OK;
    s->transforms = tr_calloc("the transforms", n, sizeof *s->transforms);
    if (!s->transforms)
        return TR_ERR_MEMORY;
    TR_TRY(tr_setup_read_transforms(s, s->transforms));
    for (size_t k = 0; k < s->n_views; k++) {
        s->transforms[k] = s->transforms[s->views[k]];
        s->transforms[k].dx /= (double)s->options.bin;
        s->transforms[k].dy /= (double)s->options.bin;
    }
    return TR_OK;
}

/* Axis shift that a subset of a larger image implies (SUBSETSTART with FULLIMAGE): the
 * tilt axis is at the full image's centre. */
static double subset_shift(const tr_setup *s, size_t n_u)
{
    if (!s->has_com || !s->com.has_full_image || !s->com.has_subset_start)
        return 0.0;
    double b = (double)s->com.binning;
    return (double)s->com.full_nx / b / 2.0 - (double)s->com.subset_x / b -
           (double)n_u / 2.0;
}

tr_status tr_setup_make_geometry(const tr_setup *s, tr_geometry *geometry)
{
    const tr_image_info *info = tr_image_get_info(s->image);
    const tr_options *o = &s->options;
    size_t bin = (size_t)o->bin, n_u = info->nx / bin;
    size_t width = o->width ? (size_t)o->width / bin : n_u;
    size_t thickness = (size_t)o->thickness / bin;
    double b = (double)bin;
    const tr_geometry_spec spec = {
        .n_views = s->n_views,
        .tilts = s->tilts,
        .xtilts = s->xtilts,
        .tilt_offset = o->tilt_offset,
        .pitch = o->pitch,
        .n_u = n_u,
        .n_v = info->ny / bin,
        .width = width ? width : 1,
        .thickness = thickness ? thickness : 1,
        .axis_shift = (o->axis_shift + subset_shift(s, info->nx)) / b,
        .x_shift = o->x_shift / b,
        .z_shift = o->z_shift / b,
    };
    TR_TRY(tr_geometry_init(&spec, geometry));
    bool whole = s->method->whole_volume;
    return s->job.outside ? tr_outside_cells(&s->job, geometry, whole, &geometry->outer)
                          : TR_OK;
}

tr_status tr_setup_geometry(tr_setup *s)
{
    const tr_image_info *info = tr_image_get_info(s->image);
    tr_options *o = &s->options;
    size_t bin = (size_t)o->bin, n_u = info->nx / bin, n_v = info->ny / bin;
    if (!n_u || !n_v)
        return tr_fail(TR_ERR_USAGE,
                       "--bin %zu leaves nothing of the %zu x %zu pixels of %s", bin,
                       info->nx, info->ny, s->series_path);
    if (!o->thickness && o->try_what && s->trial.what == TR_TRIAL_THICKNESS)
        o->thickness = (long)s->trial.to;
    if (!o->thickness) {
        o->thickness = (long)(info->nx / 4 / 2 * 2 > 16 ? info->nx / 4 / 2 * 2 : 16);
        tr_warn("no thickness given: taking %ld pixels, a quarter of the image's width; "
                "set it with -T",
                o->thickness);
    }
    size_t largest = info->nx > info->ny ? info->nx : info->ny;
    if ((size_t)o->thickness > 10 * largest)
        return tr_fail(TR_ERR_USAGE,
                       "a thickness of %ld pixels is too large for images of %zu x %zu "
                       "pixels; it is counted in pixels of the series, not in angstroms",
                       o->thickness, info->nx, info->ny);
    double subset = subset_shift(s, info->nx);
    if (subset != 0.0 && !s->half)
        tr_info("the series is part of a larger image: its tilt axis is %g pixels from "
                "its centre",
                subset);
    return tr_setup_make_geometry(s, &s->job.geometry);
}

static tr_status choose_slices(tr_setup *s)
{
    size_t n = s->job.geometry.n_v;
    const long *range = s->options.slices;
    s->job.first_slice = 0;
    s->job.output_spec.n_slices = n;
    if (range[0] < 0)
        return TR_OK;
    if ((size_t)range[1] >= n)
        return tr_fail(TR_ERR_USAGE,
                       "--slices %ld:%ld: the volume has the slices 0 to %zu", range[0],
                       range[1], n - 1);
    s->job.first_slice = (size_t)range[0];
    s->job.output_spec.n_slices = (size_t)(range[1] - range[0]) + 1;
    return TR_OK;
}

static tr_status check_coupling(const tr_setup *s)
{
    if (!s->method->whole_volume && (s->algorithm->needs & TR_NEEDS_OWN_ROWS) &&
        s->job.geometry.xtilt)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "%s solves every row by itself, but different x-tilts per view "
                       "couple the rows; use %s, which holds the whole volume, or leave "
                       "out --xtilts",
                       s->algorithm->name, s->program->whole_volume);
    if (!s->method->whole_volume && tr_option_given(&s->line, "tolerance") &&
        s->job.geometry.xtilt)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "--tolerance stops slices one by one, but different x-tilts per "
                       "view couple the slices; leave out --tolerance or --xtilts");
    return TR_OK;
}

tr_status tr_setup_files(tr_setup *s)
{
    TR_TRY(find_series(s));
    if (s->has_com)
        TR_TRY(tr_setup_apply_com(s));
    TR_TRY(tr_image_open(s->series_path, &s->image));
    TR_TRY(tr_setup_read_alignment(s));
    TR_TRY(choose_views(s));
    TR_TRY(read_tilts(s));
    TR_TRY(read_xtilts(s));
    TR_TRY(read_transforms(s));
    TR_TRY(tr_setup_geometry(s));
    TR_TRY(choose_slices(s));
    if (s->algorithm->check)
        TR_TRY(s->algorithm->check(s->params, s->n_views));
    TR_TRY(check_coupling(s));
    return tr_setup_output(s);
}

/* ---- this machine ---- */

static int default_threads(const tr_comm *comm)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN), share = online / comm->local_size;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) < share)
        share = CPU_COUNT(&set);
    return share > 0 ? (int)share : 1;
}

tr_status tr_setup_backend(tr_setup *s)
{
    tr_job *job = &s->job;
    const tr_comm *comm = job->comm;
    job->algorithm = s->algorithm;
    job->params = s->params;
    job->threads = s->options.threads ? (int)s->options.threads : default_threads(comm);
    double ram = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    job->memory =
        s->options.memory ? s->options.memory : (size_t)(ram / 2.0 / comm->local_size);
    job->backend = tr_backend_find(s->program->backend);
    if (!job->backend)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "%s was built without %s; use %s, or build it again with %s",
                       s->program->name, s->program->needs, s->program->instead,
                       s->program->build_option);
    const tr_backend_settings settings = {.threads = job->threads,
                                          .local_rank = comm->local_rank,
                                          .devices = s->device_options.devices,
                                          .kernel = (tr_kernel)s->device_options.kernel};
    return job->backend->open(&settings, &job->device);
}

tr_status tr_setup_open_series(tr_setup *s, tr_comm *comm)
{
    /* Turning the rays spares resampling the images; but a filter along the rows wants
     * them aligned. */
    bool in_rays = s->method->whole_volume && !(s->algorithm->needs & TR_USES_FILTER);
    s->job.transforms = in_rays ? s->transforms : NULL;
    const tr_series_spec spec = {
        .views = s->views,
        .n_views = s->n_views,
        .log = s->options.log,
        .log_base = s->options.log_base,
        .invert = s->options.invert,
        .bin = (size_t)s->options.bin,
        .transforms = in_rays ? NULL : s->transforms,
        .scratch = s->scratch,
        .threads = s->job.threads,
        .memory = s->job.memory / 2,
    };
    return tr_series_open(comm, s->image, &spec, &s->job.series);
}

static tr_status measure_series(tr_setup *s, tr_comm *comm)
{
    tr_job *job = &s->job;
    if (!(s->algorithm->needs & TR_COVERS_OUTSIDE))
        return TR_OK;
    TR_TRY(tr_noise_measure(comm, job->series, &job->geometry, &job->noise));
    job->until_noise = tr_algorithm_iterations(s->algorithm, s->params) &&
                       (s->algorithm->needs & TR_STOPS_AT_NOISE) &&
                       !tr_option_given(&s->line, "iterations") &&
                       !tr_option_given(&s->line, "tolerance") &&
                       tr_noise_is_known(&job->noise);
    return comm->ops->agree(comm,
                            tr_outside_decide(job, (tr_outside_choice)s->options.outside,
                                              s->method->whole_volume));
}

tr_status tr_setup_series(tr_setup *s, tr_comm *comm)
{
    s->job.options = &s->options;
    TR_TRY(tr_setup_open_series(s, comm));
    TR_TRY(measure_series(s, comm));
    s->fingerprint = tr_setup_fingerprint(s);
    TR_TRY(comm->ops->agree(
        comm,
        s->fingerprint ? TR_OK : tr_fail(TR_ERR_MEMORY, "not enough memory to begin")));
    s->job.output_spec.every = 60.0 * s->options.checkpoint;
    s->job.output_spec.fingerprint = s->fingerprint;
    s->job.output_spec.resume = s->options.resume;
    return TR_OK;
}

void tr_setup_free(tr_setup *s)
{
    tr_series_close(s->job.series);
    tr_timeline_free(s->job.timeline);
    if (s->job.device)
        s->job.backend->close(s->job.device);
    tr_geometry_free(&s->job.geometry);
    tr_history_free(&s->job.history);
    tr_image_close(s->job.initial);
    tr_image_close(s->image);
    tr_command_line_free(&s->line);
    tr_discovery_free(&s->found);
    if (s->has_com)
        tr_imod_com_free(&s->com);
    for (size_t i = 0; i < s->n_added; i++)
        free(s->extended[1 + i]);
    free(s->extended);
    tr_arguments_free(s->arguments);
    free(s->default_tilts);
    free(s->default_output);
    free(s->scratch);
    free(s->views);
    tr_alignment_free(&s->alignment);
    free(s->tilts);
    free(s->xtilts);
    free(s->transforms);
    free(s->params);
    free(s->fingerprint);
    free(s->groups);
}
