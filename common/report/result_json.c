/* --json: what manual/report.md describes. A change that breaks readers of it counts
 * FORMAT_VERSION up. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/angle.h"
#include "common/run/run.h"
#include "common/report/json.h"
#include "common/report/result.h"

enum { FORMAT_VERSION = 1 };

static void put_time(tr_json *j, const char *name)
{
    char text[32];
    time_t now = time(NULL);
    struct tm utc;
    bool known = gmtime_r(&now, &utc) &&
                 strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc) > 0;
    tr_json_string(j, name, known ? text : NULL);
}

static void put_run(tr_json *j, const tr_result *r, bool good, int exit_status)
{
    tr_json_string(j, "format", "tiltrec-result");
    tr_json_integer(j, "format_version", FORMAT_VERSION);
    tr_json_string(j, "status", good ? "ok" : "failed");
    tr_json_integer(j, "exit_status", exit_status);
    tr_json_string(j, "program",
                   r->run->command.program ? r->run->command.program->name : NULL);
    tr_json_string(j, "version", TR_VERSION);
    put_time(j, "finished");
    char *command = tr_result_command(r);
    tr_json_string(j, "command", command);
    free(command);
    tr_json_open(j, "arguments", '[');
    for (int i = 0; i < r->argc; i++)
        tr_json_string(j, NULL, r->argv[i]);
    tr_json_close(j, ']');
}

static void put_hot_pixels(tr_json *j, const tr_result *r)
{
    const tr_hot_counts hot = tr_series_hot(r->run->volumes[0].job.series);
    tr_json_open(j, "hot_pixels", '{');
    tr_json_bool(j, "replaced", hot.replaced);
    tr_json_integer(j, "pixels", (long long)hot.pixels);
    tr_json_integer(j, "views", (long long)hot.views);
    tr_json_integer(j, "most_in_one_view", (long long)hot.most);
    tr_json_integer(j, "persistent", (long long)hot.persistent);
    tr_json_close(j, '}');
}

static void put_inputs(tr_json *j, const tr_result *r)
{
    const tr_image_info *info = tr_image_get_info(r->run->inputs.image);
    double pixel = r->run->inputs.pixel;
    tr_json_open(j, "inputs", '[');
    for (size_t k = 0; k < r->n_inputs; k++) {
        const tr_input_file *file = &r->inputs[k];
        tr_json_open(j, NULL, '{');
        tr_json_string(j, "role", file->role);
        tr_json_string(j, "path", file->path);
        tr_json_integer(j, "bytes", (long long)file->bytes);
        tr_json_string(j, "sha256", file->sha256[0] ? file->sha256 : NULL);
        tr_json_close(j, '}');
    }
    tr_json_close(j, ']');
    tr_json_open(j, "series", '{');
    tr_json_string(j, "format", info->format);
    tr_json_string(j, "type", tr_type_name(info->type));
    tr_json_integer(j, "columns", (long long)info->nx);
    tr_json_integer(j, "rows", (long long)info->ny);
    tr_json_integer(j, "views", (long long)info->nz);
    tr_json_integer(j, "views_used", (long long)r->run->inputs.views.n);
    tr_json_number(j, "pixel_angstrom", pixel > 0.0 ? pixel : NAN);
    put_hot_pixels(j, r);
    tr_json_close(j, '}');
}

static void put_option(tr_json *j, const tr_option *row, const void *place)
{
    const double *real = place;
    const long *range = place;
    char word[1024];
    switch (row->type) {
    case TR_OPT_FLAG:
        tr_json_bool(j, row->name, *(const bool *)place);
        break;
    case TR_OPT_INT:
        tr_json_integer(j, row->name, *range);
        break;
    case TR_OPT_BYTES:
        tr_json_integer(j, row->name, (long long)*(const size_t *)place);
        break;
    case TR_OPT_REAL:
        tr_json_number(j, row->name, *real);
        break;
    case TR_OPT_PAIR:
        tr_json_open(j, row->name, '[');
        tr_json_number(j, NULL, real[0]);
        tr_json_number(j, NULL, real[1]);
        tr_json_close(j, ']');
        break;
    case TR_OPT_RANGE:
        if (range[0] < 0) {
            tr_json_null(j, row->name);
            break;
        }
        tr_json_open(j, row->name, '[');
        tr_json_integer(j, NULL, range[0]);
        tr_json_integer(j, NULL, range[1]);
        tr_json_close(j, ']');
        break;
    case TR_OPT_CHOICE:
    case TR_OPT_WORDS:
        tr_option_word(row, place, word, sizeof word);
        tr_json_string(j, row->name, *word ? word : NULL);
        break;
    default:
        tr_json_string(j, row->name, *(const char *const *)place);
    }
}

static void put_options(tr_json *j, const tr_result *r)
{
    const tr_run *run = r->run;
    char text[256] = "";
    run->command.algorithm->describe(run->command.params, text, sizeof text);
    tr_json_open(j, "algorithm", '{');
    tr_json_string(j, "name", run->command.algorithm->name);
    tr_json_string(j, "description", text);
    tr_json_close(j, '}');
    tr_json_open(j, "options", '{');
    for (size_t g = 0; g < run->command.n_groups; g++)
        for (size_t k = 0; run->command.groups[g].target && k < run->command.groups[g].n;
             k++) {
            const tr_option *row = &run->command.groups[g].rows[k];
            if (row->help)
                put_option(j, row,
                           (const char *)run->command.groups[g].target + row->offset);
        }
    tr_json_close(j, '}');
}

static void put_geometry(tr_json *j, const tr_result *r)
{
    const tr_geometry *g = &r->run->volumes[0].job.geometry;
    tr_json_open(j, "geometry", '{');
    tr_json_integer(j, "columns", (long long)g->n_u);
    tr_json_integer(j, "rows", (long long)g->n_v);
    tr_json_integer(j, "width", (long long)g->width);
    tr_json_integer(j, "thickness", (long long)g->thickness);
    tr_json_number(j, "pitch_degrees", g->pitch * TR_DEGREES);
    tr_json_number(j, "tilt_axis_column", g->axis_u);
    tr_json_integer(j, "first_slice", (long long)r->run->volumes[0].job.first_slice);
    tr_json_integer(j, "slices", (long long)r->run->volumes[0].job.output_spec.n_slices);
    tr_json_close(j, '}');
}

static void put_output(tr_json *j, const tr_result *r)
{
    const tr_output_spec *o = &r->run->volumes[0].job.output_spec;
    const tr_format *format = tr_format_for_output(o->path);
    if (r->run->command.options.residual_of) {
        tr_json_null(j, "output");
        return;
    }
    const char *name = o->store_only ? "Zarr" : format ? format->name : NULL;
    tr_json_open(j, "output", '{');
    tr_json_string(j, "path", tr_output_name(o));
    tr_json_string(j, "format", name);
    tr_json_string(j, "store", o->store.folder);
    tr_json_string(j, "type", tr_type_name(o->type));
    tr_json_string(j, "order", o->xyz ? "xyz" : "xzy");
    tr_json_number(j, "hand", r->run->command.options.hand ? -1.0 : 1.0);
    tr_json_integer(j, "columns", (long long)o->width);
    tr_json_integer(j, "rows", (long long)(o->xyz ? o->n_slices : o->thickness));
    tr_json_integer(j, "sections", (long long)(o->xyz ? o->thickness : o->n_slices));
    tr_json_number(j, "voxel_angstrom", o->pixel > 0.0 ? o->pixel : NAN);
    tr_json_string(j, "scaling", r->scaling[0] ? r->scaling : NULL);
    tr_json_open(j, "statistics", '{');
    tr_json_number(j, "min", r->statistics.min);
    tr_json_number(j, "max", r->statistics.max);
    tr_json_number(j, "mean", r->statistics.mean);
    tr_json_number(j, "standard_deviation", r->statistics.rms);
    tr_json_close(j, '}');
    tr_json_close(j, '}');
}

static void put_explained(tr_json *j, const tr_result *r)
{
    if (!r->run->command.options.residual_of)
        return;
    tr_json_open(j, "residual_of", '{');
    tr_json_string(j, "volume", r->run->command.options.residual_of);
    tr_json_string(j, "images", r->run->volumes[0].job.output_spec.path);
    tr_json_number(j, "scale", r->explained.scale);
    tr_json_number(j, "residual", r->explained.residual);
    tr_json_close(j, '}');
}

static void put_halves(tr_json *j, const tr_result *r)
{
    tr_json_open(j, "half_sets", '[');
    for (size_t k = 0; k + 1 < r->run->n_volumes; k++) {
        const tr_reconstruction *half = &r->run->volumes[1 + k];
        tr_json_open(j, NULL, '{');
        tr_json_string(j, "half", half->half);
        tr_json_string(j, "path", tr_output_name(&half->job.output_spec));
        tr_json_close(j, '}');
    }
    tr_json_close(j, ']');
}

static void put_ctf(tr_json *j, const tr_result *r)
{
    const tr_options *o = &r->run->command.options;
    if (!o->views.ctf) {
        tr_json_null(j, "ctf");
        return;
    }
    tr_json_open(j, "ctf", '{');
    tr_json_string(j, "path", o->ctf);
    tr_json_number(j, "voltage_kilovolt", o->views.voltage);
    tr_json_number(j, "cs_millimetre", o->views.cs);
    tr_json_number(j, "amplitude_contrast", o->views.amplitude);
    tr_json_number(j, "hand", o->views.hand);
    if (tr_series_bands(r->run->volumes[0].job.series))
        tr_json_number(j, "band_phase_radian", o->views.ctf_band);
    else
        tr_json_null(j, "band_phase_radian");
    tr_json_close(j, '}');
}

/* What else was done to views and rays. */
static void put_treatment(tr_json *j, const tr_result *r)
{
    const tr_inputs *in = &r->run->inputs;
    const tr_job *job = &r->run->volumes[0].job;
    if (in->has_local) {
        tr_json_open(j, "local_alignment", '{');
        tr_json_string(j, "path", in->local_path);
        tr_json_integer(j, "patches_x", (long long)in->local.file.n_x);
        tr_json_integer(j, "patches_y", (long long)in->local.file.n_y);
        tr_json_close(j, '}');
    } else {
        tr_json_null(j, "local_alignment");
    }
    tr_json_string(j, "z_factors", in->zfactors_path);
    tr_json_open(j, "outside", '{');
    tr_json_bool(j, "specimen_goes_on", job->outside);
    tr_json_integer(j, "cells", job->outside ? (long long)job->geometry.outer : 0);
    tr_json_close(j, '}');
    tr_json_open(j, "hand", '{');
    tr_json_string(j, "angles",
                   "as given; negated, they give the mirror image along the beam");
    tr_json_bool(j, "kept_by_order", job->output_spec.xyz);
    tr_json_close(j, '}');
}

static void put_hand(tr_json *j, const tr_result *r)
{
    static const char *const names[TR_HANDS] = {"plus", "minus"};
    const tr_hand *h = &r->run->hand;
    if (!r->run->hand_checked) {
        tr_json_null(j, "hand_check");
        return;
    }
    tr_json_open(j, "hand_check", '{');
    if (h->verdict)
        tr_json_integer(j, "verdict", h->verdict);
    else
        tr_json_null(j, "verdict");
    for (int k = 0; k < TR_HANDS; k++) {
        tr_json_open(j, names[k], '{');
        tr_json_number(j, "fit_of_ctf", h->model[k]);
        tr_json_number(j, "agreement_of_rings", h->stretched[k]);
        tr_json_close(j, '}');
    }
    tr_json_integer(j, "views", (long long)h->n_views);
    tr_json_integer(j, "tiles", (long long)h->n_tiles);
    tr_json_integer(j, "tile_pixels", (long long)h->tile);
    tr_json_close(j, '}');
}

static void put_purpose(tr_json *j, const tr_result *r)
{
    const tr_purpose *p = &r->run->inputs.purpose;
    if (!p->name) {
        tr_json_null(j, "purpose");
        return;
    }
    tr_json_open(j, "purpose", '{');
    tr_json_string(j, "for", p->name);
    tr_json_string(j, "set", p->set);
    tr_json_string(j, "kept", p->kept);
    tr_json_string(j, "not_set", p->missed);
    tr_json_close(j, '}');
}

static void put_view_ctf(tr_json *j, const tr_result *r, size_t k)
{
    const tr_ctf *ctf = &r->run->inputs.views.view[k].ctf;
    if (!r->run->command.options.views.ctf)
        return;
    tr_json_number(j, "defocus_1_angstrom", ctf->defocus_1);
    tr_json_number(j, "defocus_2_angstrom", ctf->defocus_2);
    tr_json_number(j, "astigmatism_degrees", ctf->axis);
    tr_json_number(j, "phase_shift_degrees", ctf->phase);
    const tr_depth_bands *bands = tr_series_bands(r->run->volumes[0].job.series);
    tr_json_number(j, "depth_bands", bands ? (double)bands[k].n : 1.0);
}

/* Of --dose. */
static void put_exposure(tr_json *j, const tr_result *r, size_t k)
{
    const tr_view *view = &r->run->volumes[0].views.view[k];
    if (!r->run->command.options.views.dose)
        return;
    tr_json_integer(j, "acquired", (long long)view->acquired);
    tr_json_number(j, "prior_exposure", view->prior_exposure);
    tr_json_number(j, "exposure", view->exposure);
}

static void put_dose(tr_json *j, const tr_result *r)
{
    const tr_view_params *p = &r->run->command.options.views;
    const tr_dose_facts *dose = &r->run->inputs.dose;
    bool gg = p->dose_model == TR_DOSE_GG;
    if (!p->dose) {
        tr_json_null(j, "dose");
        return;
    }
    tr_json_open(j, "dose", '{');
    tr_json_string(j, "model", gg ? "gg" : "bfactor");
    tr_json_number(j, "voltage", gg ? p->voltage : NAN);
    tr_json_number(j, "bfactor", gg ? NAN : p->dose_bfactor);
    tr_json_string(j, "file", dose->from);
    tr_json_string(j, "ordered_by", dose->ordered_by);
    tr_json_number(j, "total", dose->total);
    tr_json_close(j, '}');
}

static void put_views(tr_json *j, const tr_result *r)
{
    const tr_geometry *g = &r->run->volumes[0].job.geometry;
    tr_json_open(j, "views", '{');
    tr_json_integer(j, "image_rows_compared", (long long)r->compared);
    tr_json_open(j, "bad", '[');
    for (size_t k = 0; k < r->n_views; k++)
        if (r->views[k].bad)
            tr_json_integer(j, NULL, (long long)r->views[k].number);
    tr_json_close(j, ']');
    tr_json_open(j, "list", '[');
    for (size_t k = 0; k < r->n_views; k++) {
        const tr_view_result *v = &r->views[k];
        tr_json_open(j, NULL, '{');
        tr_json_integer(j, "view", (long long)v->number);
        tr_json_number(j, "tilt_degrees", v->tilt);
        put_exposure(j, r, k);
        if (g->xtilt)
            tr_json_number(j, "x_tilt_degrees", (g->pitch + g->xtilt[k]) * TR_DEGREES);
        put_view_ctf(j, r, k);
        tr_json_number(j, "residual", v->residual);
        tr_json_number(j, "correlation", v->correlation);
        tr_json_bool(j, "bad", v->bad);
        tr_json_close(j, '}');
    }
    tr_json_close(j, ']');
    tr_json_close(j, '}');
}

static void put_residuals(tr_json *j, const tr_result *r)
{
    const tr_history *h = &r->run->volumes[0].job.history;
    tr_json_open(j, "residuals", '[');
    for (size_t k = 0; k < h->n && h->data_squares > 0.0; k++)
        tr_json_number(j, NULL, sqrt(fmax(h->squares[k], 0.0) / h->data_squares));
    tr_json_close(j, ']');
}

static void put_curve(tr_json *j, const tr_frc *frc, const tr_frc_curve *c)
{
    static const char *const names[] = {"resolution_0.5_angstrom",
                                        "resolution_0.143_angstrom"};
    tr_json_open(j, NULL, '{');
    tr_json_string(j, "sections", c->plane);
    for (size_t k = 0; k < TR_FRC_THRESHOLDS; k++) {
        bool known = c->state[k] == TR_FRC_CROSSES && frc->pixel > 0.0;
        tr_json_number(j, names[k], known ? frc->pixel / c->crossing[k] : NAN);
    }
    tr_json_open(j, "rings", '[');
    for (size_t k = 0; k < c->n; k++) {
        tr_json_open(j, NULL, '{');
        tr_json_number(j, "frequency_per_voxel", c->frequency[k]);
        tr_json_number(j, "correlation", c->correlation[k]);
        tr_json_close(j, '}');
    }
    tr_json_close(j, ']');
    tr_json_close(j, '}');
}

static void put_frc(tr_json *j, const tr_result *r)
{
    const tr_frc *frc = &r->run->frc;
    tr_json_open(j, "frc", '[');
    for (size_t k = 0; k < frc->n_curves; k++)
        put_curve(j, frc, &frc->curve[k]);
    tr_json_close(j, ']');
}

static void put_times(tr_json *j, const tr_result *r)
{
    const tr_job *job = &r->run->volumes[0].job;
    tr_json_open(j, "machine", '{');
    tr_json_integer(j, "processes", job->comm->size);
    tr_json_integer(j, "threads", job->threads);
    tr_json_string(j, "backend", job->backend->name);
    tr_json_string(j, "device", job->backend->describe(job->device));
    tr_json_integer(j, "memory_allowed_bytes", (long long)job->memory);
    tr_json_close(j, '}');
    tr_json_open(j, "seconds", '{');
    tr_json_number(j, "checking", r->checking);
    tr_json_number(j, "running", r->running);
    tr_json_number(j, "all", tr_now() - r->start);
    tr_json_open(j, "stages", '{');
    for (int k = 0; k < TR_N_STAGES; k++)
        tr_json_number(j, tr_stage_names[k], job->seconds[k]);
    tr_json_close(j, '}');
    tr_json_close(j, '}');
    tr_json_number(j, "voxel_updates", r->updates);
}

static void put_lines(tr_json *j, const char *name, const tr_result *r, bool warnings)
{
    tr_json_open(j, name, '[');
    for (size_t k = 0; k < r->n_lines; k++)
        if (warnings ? r->lines[k].warning : strncmp(r->lines[k].text, "plan: ", 6) == 0)
            tr_json_string(j, NULL, r->lines[k].text + (warnings ? 0 : 6));
    tr_json_close(j, ']');
}

static void put_all(tr_json *j, const tr_result *r)
{
    put_run(j, r, true, TR_OK);
    put_inputs(j, r);
    put_options(j, r);
    put_geometry(j, r);
    put_ctf(j, r);
    put_treatment(j, r);
    put_hand(j, r);
    tr_result_alignment(j, r);
    put_purpose(j, r);
    put_output(j, r);
    put_explained(j, r);
    put_halves(j, r);
    put_residuals(j, r);
    put_dose(j, r);
    put_views(j, r);
    put_frc(j, r);
    put_times(j, r);
    put_lines(j, "plan", r, false);
    put_lines(j, "warnings", r, true);
}

static char *write_text(const tr_result *r, tr_status status, const char *sentence)
{
    char *text = NULL;
    size_t size = 0;
    tr_json j = {.out = open_memstream(&text, &size)};
    if (!j.out)
        return NULL;
    tr_json_open(&j, NULL, '{');
    if (sentence) {
        put_run(&j, r, false, (int)status);
        tr_json_string(&j, "error", sentence);
        tr_json_string(&j, "tomogram",
                       r->complete ? tr_output_name(&r->run->volumes[0].job.output_spec)
                                   : NULL);
        put_lines(&j, "warnings", r, true);
    } else {
        put_all(&j, r);
    }
    tr_json_close(&j, '}');
    bool complete = !ferror(j.out);
    if (fclose(j.out) == 0 && complete)
        return text;
    free(text);
    return NULL;
}

char *tr_result_json(const tr_result *r) { return write_text(r, TR_OK, NULL); }

char *tr_result_failure_json(const tr_result *r, tr_status status, const char *sentence)
{
    return write_text(r, status, sentence);
}
