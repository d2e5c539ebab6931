/* The output: its name, type, header and labels. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/angle.h"
#include "common/base/file_name.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/check_alignment.h"
#include "common/run/outside.h"
#include "common/run/paths.h"
#include "common/run/reconstruction.h"
#include "common/views/dose.h"
#include "common/views/series_name.h"

/* Before any work, and before a format's library says it less clearly. */
static tr_status check_folder(const char *what, const char *path, const char *option)
{
    char *folder = tr_name_folder(path);
    if (!folder)
        return TR_ERR_MEMORY;
    tr_status status = TR_OK;
    if (access(folder, W_OK | X_OK) != 0)
        status = errno == ENOENT
                     ? tr_fail(TR_ERR_DATA,
                               "the folder of the %s, %s, does not exist; make it "
                               "first, or name another with %s",
                               what, folder, option)
                     : tr_fail(TR_ERR_DATA,
                               "the folder of the %s, %s, cannot be written: %s; "
                               "name another with %s",
                               what, folder, strerror(errno), option);
    free(folder);
    return status;
}

/* Nothing is written in place of a folder. */
static tr_status check_written(const char *what, const char *path, const char *option)
{
    struct stat status;
    if (!path)
        return TR_OK;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return tr_fail(TR_ERR_USAGE, "the %s %s is a folder; name a file with %s", what,
                       path, option);
    return check_folder(what, path, option);
}

/* Of a trial: NAME.png as it is, else NAME_try.png in place of the tomogram. */
static tr_status name_sheet(tr_reconstruction *r, const char **path)
{
    const char *slash = strrchr(*path, '/'), *name = slash ? slash + 1 : *path;
    const char *dot = strrchr(name, '.');
    if (dot && strcasecmp(dot, ".png") == 0)
        return TR_OK;
    size_t stem = tr_name_stem(*path);
    char *sheet = tr_format_string("%.*s_try.png", (int)stem, *path);
    free(r->output_path);
    *path = r->output_path = sheet;
    return sheet ? TR_OK : TR_ERR_MEMORY;
}

/* The file at this path is the output. */
static tr_status set_path(tr_reconstruction *r, const char *path)
{
    const tr_options *o = &r->command->options;
    TR_TRY(check_written(o->try_what ? "contact sheet" : "output", path, "-o"));
    TR_TRY(check_written("timeline", o->timeline, "--timeline"));
    TR_TRY(check_written("report", o->report, "--report"));
    TR_TRY(check_written("result", o->json, "--json"));
    TR_TRY(check_written("table", tr_check_alignment_file(o), "--check-alignment"));
    TR_TRY(check_written("table of series", o->relion_star, "--relion-star"));
    TR_TRY(check_written("alignment", o->alignment_json, "--write-alignment"));
    r->job.output_spec.path = path;
    r->scratch = tr_name_beside(path, "prepared");
    return r->scratch ? TR_OK : TR_ERR_MEMORY;
}

/* By the options' TR_OUTPUT_...; a Zarr store is made of an MRC file. */
static const char *const extensions[] = {".mrc", ".hdf", ".tif", ".zarr"};
static const tr_format *const formats[] = {&tr_format_mrc, &tr_format_hdf,
                                           &tr_format_tiff, NULL};

/* Also of one that there is, as shells complete it. */
static size_t without_slashes(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    return n;
}

static bool is_store_name(const char *path)
{
    static const char ending[] = ".zarr";
    size_t n = without_slashes(path), m = strlen(ending);
    return n > m && path[n - m - 1] != '/' && strncasecmp(path + n - m, ending, m) == 0;
}

/* Takes the store's name. */
static tr_status set_store(tr_reconstruction *r, char *folder, bool only)
{
    const tr_options *o = &r->command->options;
    struct stat there;
    free(r->store);
    r->store = folder;
    if (!folder)
        return TR_ERR_MEMORY;
    if (stat(folder, &there) == 0 && !tr_zarr_is_store(folder))
        return tr_fail(TR_ERR_USAGE,
                       "%s is there and no Zarr store, so nothing is written in its "
                       "place; name another with -o",
                       folder);
    if (o->zarr_chunk % 2)
        return tr_fail(TR_ERR_USAGE,
                       "--zarr-chunk %ld is odd; the side of a chunk is even, as the "
                       "smaller sizes halve it",
                       o->zarr_chunk);
    r->job.output_spec.store_only = only;
    r->job.output_spec.store = (tr_pyramid_spec){.folder = folder,
                                                 .version = o->zarr_version ? 3 : 2,
                                                 .chunk = (size_t)o->zarr_chunk,
                                                 .memory = r->job.memory};
    return TR_OK;
}

/* The output of this name, which is a file's or a store's. */
static tr_status set_name(tr_reconstruction *r, const char *name)
{
    if (!is_store_name(name)) {
        if (r->command->options.zarr)
            TR_TRY(set_store(r, tr_store_beside(name), false));
        return set_path(r, name);
    }
    TR_TRY(
        set_store(r, tr_format_string("%.*s", (int)without_slashes(name), name), true));
    free(r->output_path);
    r->output_path = tr_name_beside(r->store, "whole.mrc");
    return r->output_path ? set_path(r, r->output_path) : TR_ERR_MEMORY;
}

/* The name of an output says its format, and --format may only say the same. */
static tr_status check_format(const tr_reconstruction *r, const char *path)
{
    int format = r->command->options.format;
    if (!tr_option_given(&r->command->line, "format"))
        return TR_OK;
    const tr_format *named = is_store_name(path) ? NULL : tr_format_for_output(path);
    if (named == formats[format])
        return TR_OK;
    if (!named && !is_store_name(path))
        return TR_ERR_USAGE;
    return tr_fail(TR_ERR_USAGE, "-o %s names a file of %s, but --format asks for %s",
                   path, named ? named->name : "Zarr",
                   formats[format] ? formats[format]->name : "Zarr");
}

const char *tr_reconstruction_ending(int format) { return extensions[format]; }

/* NAME_residual.mrc, where a tomogram would be NAME_rec.mrc. */
static char *residual_name(const char *series)
{
    char *name = tr_default_output(series, "");
    size_t stem = name ? strlen(name) - strlen("_rec") : 0;
    char *path = name ? tr_format_string("%.*s_residual.mrc", (int)stem, name) : NULL;
    free(name);
    return path;
}

static tr_status choose_path(tr_reconstruction *r)
{
    const char *path = r->command->options.output;
    if (!path && r->command->options.residual_of)
        path = r->output_path = residual_name(r->series_path);
    else if (!path)
        path = r->output_path =
            tr_default_output(r->series_path, extensions[r->command->options.format]);
    if (!path)
        return TR_ERR_MEMORY;
    TR_TRY(r->command->options.try_what ? name_sheet(r, &path) : check_format(r, path));
    TR_TRY(r->command->options.try_what ? set_path(r, path) : set_name(r, path));
    return tr_paths_check(r, 1);
}

static tr_status choose_type(tr_reconstruction *r)
{
    static const tr_type types[] = {
        [TR_MODE_FLOAT] = TR_FLOAT32, [TR_MODE_HALF] = TR_FLOAT16,
        [TR_MODE_INT16] = TR_INT16,   [TR_MODE_UINT16] = TR_UINT16,
        [TR_MODE_BYTE] = TR_INT8,
    };
    tr_output_spec *spec = &r->job.output_spec;
    bool scaled = tr_option_given(&r->command->line, "scale");
    spec->type = types[r->command->options.mode];
    spec->add = r->command->options.scale[0];
    spec->multiply = r->command->options.scale[1];
    if (r->inputs->has_com && r->inputs->com.has_scale) {
        TR_TRY(tr_inputs_com_scale(r->inputs, &r->job.geometry, &spec->add,
                                   &spec->multiply));
        scaled = true;
    }
    bool integers = spec->type != TR_FLOAT32 && spec->type != TR_FLOAT16;
    spec->automatic = integers && !scaled;
    /* The order of a store. */
    spec->xyz = spec->store_only || r->command->options.order == TR_ORDER_XYZ;
    spec->deflate = (int)r->command->options.deflate;
    spec->verify = r->command->options.verify;
    spec->threads = r->job.threads;
    spec->width = r->job.geometry.width;
    spec->thickness = r->job.geometry.thickness;
    return TR_OK;
}

static void set_header(tr_reconstruction *r)
{
    const tr_image_info *info = tr_image_get_info(r->image);
    const tr_geometry *g = &r->job.geometry;
    tr_output_spec *spec = &r->job.output_spec;
    double pixel = r->inputs->pixel;
    if (info->pixel[0] > 0.0 && info->pixel[1] > 0.0 &&
        fabs(info->pixel[1] / info->pixel[0] - 1.0) > 1e-3)
        tr_warn("%s: its pixels are not square (%g x %g angstroms); the tomogram gets %g",
                r->series_path, info->pixel[0], info->pixel[1], pixel);
    if (!(pixel > 0.0))
        tr_warn("%s gives no pixel size; the tomogram's header will say 1 angstrom",
                r->series_path);
    pixel *= (double)r->command->options.views.bin;
    spec->pixel = pixel;
    /* IMOD: coordinates stay those of the series; z = 0 is the height of the axis. */
    double x_shift = r->command->options.x_shift / (double)r->command->options.views.bin;
    double x = info->origin[0] -
               pixel * ((double)g->n_u / 2.0 - (double)(g->width / 2) - x_shift);
    double y = info->origin[1] - pixel * (double)r->job.first_slice;
    double z = pixel * (g->axis_z + 0.5);
    double reversed = pixel * ((double)g->thickness - 0.5 - g->axis_z);
    spec->origin[0] = x;
    spec->origin[1] = spec->xyz ? y : z;
    spec->origin[2] = spec->xyz ? reversed : y;
}

/* Iterations that end at the noise are so many at most. */
static void describe_algorithm(const tr_reconstruction *r, char *text, size_t size)
{
    char rest[200] = "";
    r->command->algorithm->describe(r->command->params, rest, sizeof rest);
    snprintf(text, size, "%s%s", r->job.until_noise ? "until the noise, at most " : "",
             rest);
}

static const char *ctf_word(const tr_view_params *views)
{
    static const char *const words[] = {[TR_CTF_FLIP] = "CTF phases flipped",
                                        [TR_CTF_MULTIPLY] = "multiplied by CTF",
                                        [TR_CTF_WIENER] = "CTF: Wiener filter",
                                        [TR_CTF_MODEL] = "CTF in the projection"};
    return views->ctf ? words[views->ctf_mode] : "not CTF-corrected here";
}

void tr_reconstruction_labels(tr_reconstruction *r)
{
    tr_output_spec *spec = &r->job.output_spec;
    const tr_image_info *info = tr_image_get_info(r->image);
    const tr_geometry *g = &r->job.geometry;
    char text[TR_LABEL_LENGTH + 1] = "";
    r->command->algorithm->describe(r->command->params, text, sizeof text);
    /* A line that is too long for a label is cut. */
    char line[256];
    snprintf(line, sizeof line, "%s %s: %s, %s", r->command->program->name, TR_VERSION,
             r->command->algorithm->name, text);
    snprintf(spec->labels[0], sizeof spec->labels[0], "%.80s", line);
    snprintf(line, sizeof line, "%s%s%zu views, pitch %g, %s; %s", r->half_noun,
             r->half ? ", " : "", g->n_views, r->command->options.pitch,
             spec->xyz ? "order xyz (rotated, hand kept)" : "order xzy (IMOD's native)",
             ctf_word(&r->command->options.views));
    snprintf(spec->labels[1], sizeof spec->labels[1], "%.80s", line);
    spec->n_labels = 2;
    if (r->command->options.hand)
        snprintf(spec->labels[spec->n_labels++], sizeof spec->labels[2],
                 "hand -1: tilt angles negated, the mirror image along the beam");
    if (r->command->options.views.dose) {
        tr_dose_model_name(&r->command->options.views, text, sizeof text);
        snprintf(line, sizeof line, "dose weighted: %s; %.4g e/A^2 in all", text,
                 r->inputs->dose.total);
        snprintf(spec->labels[spec->n_labels++], sizeof spec->labels[2], "%.80s", line);
    }
    if (r->inputs->has_local || r->inputs->zfactors_path) {
        const char *local = r->inputs->has_local ? r->inputs->local_path : NULL;
        snprintf(line, sizeof line, "%s%s%s%s%s", local ? "local alignment: " : "",
                 local ? tr_name_only(local) : "",
                 local && r->inputs->zfactors_path ? "; " : "",
                 r->inputs->zfactors_path ? "z-factors: " : "",
                 r->inputs->zfactors_path ? tr_name_only(r->inputs->zfactors_path) : "");
        snprintf(spec->labels[spec->n_labels++], sizeof spec->labels[2], "%.80s", line);
    }
    if (r->command->options.outside != TR_OUTSIDE_AUTO)
        snprintf(spec->labels[spec->n_labels++], sizeof spec->labels[2],
                 "beyond the field: %s",
                 r->command->options.outside == TR_OUTSIDE_CONTINUE
                     ? "the specimen goes on"
                     : "nothing");
    if (r->inputs->purpose.name) {
        snprintf(line, sizeof line, "for %s: %s", r->inputs->purpose.name,
                 r->inputs->purpose.set ? r->inputs->purpose.set : "nothing set");
        snprintf(spec->labels[spec->n_labels++], sizeof spec->labels[2], "%.80s", line);
    }
    size_t most = spec->automatic ? TR_LABELS - 1 : TR_LABELS; /* one for the scaling */
    for (size_t k = 0; k < info->n_labels && spec->n_labels < most; k++)
        if (info->labels[k][0])
            memcpy(spec->labels[spec->n_labels++], info->labels[k],
                   sizeof info->labels[k]);
}

static tr_status open_initial(tr_reconstruction *r)
{
    if (!r->command->options.initial)
        return TR_OK;
    const tr_output_spec *spec = &r->job.output_spec;
    TR_TRY(tr_image_open(r->command->options.initial, &r->job.initial));
    const tr_image_info *info = tr_image_get_info(r->job.initial);
    size_t ny = spec->xyz ? spec->n_slices : spec->thickness;
    size_t nz = spec->xyz ? spec->thickness : spec->n_slices;
    if (info->nx != spec->width || info->ny != ny || info->nz != nz)
        return tr_fail(TR_ERR_DATA,
                       "%s has %zu x %zu x %zu voxels, but the tomogram in order %s has "
                       "%zu x %zu x %zu; the initial volume must have the same",
                       r->command->options.initial, info->nx, info->ny, info->nz,
                       spec->xyz ? "xyz" : "xzy", spec->width, ny, nz);
    return TR_OK;
}

tr_status tr_reconstruction_output(tr_reconstruction *r)
{
    TR_TRY(choose_path(r));
    if (r->command->options.try_what)
        return TR_OK;
    if (!tr_format_for_output(r->job.output_spec.path))
        return TR_ERR_USAGE;
    TR_TRY(choose_type(r));
    set_header(r);
    tr_reconstruction_labels(r);
    return open_initial(r);
}

char *tr_store_beside(const char *path)
{
    size_t stem = tr_name_stem(path);
    return tr_format_string("%.*s.zarr", (int)stem, path);
}

char *tr_reconstruction_half_path(const char *path, const char *suffix)
{
    size_t stem = tr_name_stem(path);
    return tr_format_string("%.*s%s%s", (int)stem, path, suffix, path + stem);
}

tr_status tr_reconstruction_half_output(tr_reconstruction *half, char *path)
{
    if (!path)
        return TR_ERR_MEMORY;
    half->output_path = path;
    half->store = NULL; /* the copy's is that of everything */
    TR_TRY(set_name(half, path));
    tr_reconstruction_labels(half);
    return TR_OK;
}

static void print_view(const tr_reconstruction *r, size_t k)
{
    const tr_geometry *g = &r->job.geometry;
    const tr_view *view = &r->views.view[k];
    char dose[128] = "";
    if (r->command->options.views.dose)
        snprintf(dose, sizeof dose,
                 ", taken as number %zu, %.6g e/A^2 before it and %.6g of its own",
                 view->acquired, view->prior_exposure, view->exposure);
    tr_verbose("view %zu: tilt %.3f degrees%s%s", view->section + 1,
               g->tilt[k] * TR_DEGREES,
               g->xtilt && g->xtilt[k] != 0.0 ? ", with an x-tilt of its own" : "", dose);
}

void tr_reconstruction_print(const tr_reconstruction *r)
{
    const tr_image_info *info = tr_image_get_info(r->image);
    const tr_geometry *g = &r->job.geometry;
    const tr_output_spec *o = &r->job.output_spec;
    double low = INFINITY, high = -INFINITY;
    for (size_t k = 0; k < g->n_views; k++) {
        low = fmin(low, g->tilt[k]);
        high = fmax(high, g->tilt[k]);
    }
    char text[256] = "";
    describe_algorithm(r, text, sizeof text);
    tr_info(
        "series %s: %zu of %zu views of %zu x %zu pixels, %s %s, %g angstroms a pixel",
        r->series_path, g->n_views, info->nz, info->nx, info->ny, info->format,
        tr_type_name(info->type), r->inputs->pixel);
    tr_info(
        "angles %s: %.2f to %.2f degrees%s%s, pitch %g, tilt axis at column %g (from 0)",
        r->inputs->tilts_path ? r->inputs->tilts_path : "from the series itself",
        low * TR_DEGREES, high * TR_DEGREES,
        r->command->options.hand ? ", negated (--hand -1)" : "",
        r->command->options.tilt_offset != 0.0 ? " (offset included)" : "",
        g->pitch * TR_DEGREES, g->axis_u);
    for (size_t k = 0; k < g->n_views; k++)
        print_view(r, k);
    tr_info("%s: %s; %s", r->command->algorithm->name, text,
            r->job.backend->describe(r->job.device));
    if (r->command->options.try_what || r->command->options.residual_of)
        return;
    tr_info("tomogram %s: %zu x %zu x %zu, %s, order %s, %g angstroms a voxel",
            tr_output_name(o), o->width, o->xyz ? o->n_slices : o->thickness,
            o->xyz ? o->thickness : o->n_slices, tr_type_name(o->type),
            o->xyz ? "xyz (rotated about x from IMOD's native order, hand kept)"
                   : "xzy (IMOD's native: columns x, rows thickness, sections y)",
            o->pixel);
    if (r->command->algorithm->needs & TR_COVERS_OUTSIDE)
        tr_outside_print(&r->job);
}
