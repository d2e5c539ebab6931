#include "common/report/report.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/angle.h"
#include "formats/file_io.h"
#include "common/report/html.h"
#include "common/views/dose.h"

/* ---- tables ---- */

/* A row "name: value"; the value as printf makes it, escaped. */
static void row(FILE *out, const char *name, const char *format, ...) TR_PRINTF(3, 4);

static void row(FILE *out, const char *name, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fputs("<tr><th>", out);
    tr_html_text(out, name);
    fputs("</th><td>", out);
    tr_html_text(out, text);
    fputs("</td></tr>\n", out);
}

static void put_title(FILE *out, const tr_result *r)
{
    const char *path = tr_output_name(&r->run->volumes[0].job.output_spec),
               *slash = strrchr(path, '/');
    tr_html_text(out, slash ? slash + 1 : path);
}

static void put_subtitle(FILE *out, const tr_result *r)
{
    const tr_run *run = r->run;
    const tr_output_spec *o = &run->volumes[0].job.output_spec;
    char text[256] = "", date[64] = "";
    time_t now = time(NULL);
    struct tm local;
    run->command.algorithm->describe(run->command.params, text, sizeof text);
    if (localtime_r(&now, &local))
        strftime(date, sizeof date, "%Y-%m-%d %H:%M", &local);
    tr_html_print(out, "%s, %s · %zu x %zu x %zu voxels", run->command.algorithm->name,
                  text, o->width, o->n_slices, o->thickness);
    if (o->pixel > 0.0)
        tr_html_print(out, " of %.4g Å", o->pixel);
    tr_html_print(out, " · %s %s · %s", run->command.program->name, TR_VERSION, date);
}

/* What must not be overlooked, at the top. */
static void put_alerts(FILE *out, const tr_result *r)
{
    size_t warnings = 0;
    for (size_t k = 0; k < r->n_lines; k++)
        warnings += r->lines[k].warning;
    if (!warnings)
        return;
    fprintf(out, "<aside class='alert'><h2>%zu warning%s</h2><ul>\n", warnings,
            warnings == 1 ? "" : "s");
    for (size_t k = 0, n = 0; k < r->n_lines && n < 20; k++)
        if (r->lines[k].warning) {
            fputs("<li>", out);
            tr_html_text(out, r->lines[k].text);
            fputs("</li>\n", out);
            n++;
        }
    if (warnings > 20)
        fprintf(out, "<li>and %zu more: see the log below</li>\n", warnings - 20);
    fputs("</ul></aside>\n", out);
}

static void put_size(FILE *out, const tr_result *r)
{
    const tr_output_spec *o = &r->run->volumes[0].job.output_spec;
    double nm = o->pixel / 10.0;
    row(out, "slab", "%zu wide, %zu along the axis, %zu thick (voxels)", o->width,
        o->n_slices, o->thickness);
    if (nm > 0.0)
        row(out, "", "%.4g x %.4g x %.4g nm", nm * (double)o->width,
            nm * (double)o->n_slices, nm * (double)o->thickness);
}

static void put_bands(FILE *out, const tr_result *r)
{
    const tr_series *series = r->run->volumes[0].job.series;
    const tr_depth_bands *bands = tr_series_bands(series);
    if (!bands)
        return;
    size_t fewest = bands[0].n, most = 0;
    for (size_t k = 0; k < r->n_views; k++) {
        fewest = bands[k].n < fewest ? bands[k].n : fewest;
        most = bands[k].n > most ? bands[k].n : most;
    }
    row(out, "", "in %zu to %zu bands of depth a view, hand %+g", fewest, most,
        r->run->command.options.views.hand);
}

static void put_ctf(FILE *out, const tr_result *r)
{
    static const char *const ways[] = {[TR_CTF_FLIP] = "phases flipped",
                                       [TR_CTF_MULTIPLY] = "multiplied by it",
                                       [TR_CTF_WIENER] = "Wiener filter",
                                       [TR_CTF_MODEL] = "part of the projection"};
    const tr_run *run = r->run;
    const tr_view_params *v = &run->command.options.views;
    double low = INFINITY, high = -INFINITY;
    if (!v->ctf)
        return;
    for (size_t k = 0; k < run->inputs.views.n; k++) {
        const tr_ctf *ctf = &run->inputs.views.view[k].ctf;
        double defocus = 0.5e-4 * (ctf->defocus_1 + ctf->defocus_2);
        low = fmin(low, defocus);
        high = fmax(high, defocus);
    }
    row(out, "CTF",
        "%s; defocus %.2f to %.2f \302\265m, %g kV, Cs %g mm, amplitude contrast %g",
        ways[v->ctf_mode], low, high, v->voltage, v->cs, v->amplitude);
    put_bands(out, r);
}

static void put_treatment(FILE *out, const tr_result *r)
{
    const tr_inputs *in = &r->run->inputs;
    const tr_job *job = &r->run->volumes[0].job;
    if (!r->run->command.options.views.ctf)
        row(out, "CTF", "not corrected here%s",
            tr_image_get_info(in->image)->ctf_corrected
                ? "; the series' header says that it is"
                : "");
    if (!r->run->command.options.views.dose)
        row(out, "dose weighting", "none here");
    if (in->has_local)
        row(out, "local alignment", "%s, %zu x %zu patches", in->local_path,
            in->local.file.n_x, in->local.file.n_y);
    if (in->zfactors_path)
        row(out, "z-factors", "%s", in->zfactors_path);
    if (job->algorithm->needs & TR_COVERS_OUTSIDE)
        row(out, "beyond the field", "%s",
            job->outside
                ? "the specimen goes on: densities there are found as well, and not "
                  "written"
                : "nothing");
}

static void put_geometry_table(FILE *out, const tr_result *r)
{
    const tr_run *run = r->run;
    const tr_geometry *g = &run->volumes[0].job.geometry;
    const tr_output_spec *o = &run->volumes[0].job.output_spec;
    double low = INFINITY, high = -INFINITY;
    for (size_t k = 0; k < g->n_views; k++) {
        low = fmin(low, g->tilt[k]);
        high = fmax(high, g->tilt[k]);
    }
    row(out, "views", "%zu of %zu", run->inputs.views.n,
        tr_image_get_info(run->inputs.image)->nz);
    row(out, "tilt angles", "%.2f to %.2f degrees%s", low * TR_DEGREES, high * TR_DEGREES,
        run->command.options.tilt_offset != 0.0 ? ", offset included" : "");
    if (run->command.options.tilt_offset != 0.0)
        row(out, "tilt offset", "%g degrees", run->command.options.tilt_offset);
    row(out, "missing wedge", "%.1f degrees",
        fmax(180.0 - (high - low) * TR_DEGREES, 0.0));
    row(out, "pitch", "%.4g degrees%s", g->pitch * TR_DEGREES,
        g->xtilt ? ", and x-tilts of each view" : "");
    row(out, "tilt axis", "vertical, at column %g (from 0)", g->axis_u);
    if (run->command.options.views.dose) {
        char model[64];
        tr_dose_model_name(&run->command.options.views, model, sizeof model);
        row(out, "dose weighting", "%s; %.4g e/\303\205\302\262 in all; the order by %s",
            model, run->inputs.dose.total, run->inputs.dose.ordered_by);
    }
    put_ctf(out, r);
    put_treatment(out, r);
    if (run->inputs.purpose.name)
        row(out, "made for", "%s: %s", run->inputs.purpose.name,
            run->inputs.purpose.set ? run->inputs.purpose.set : "nothing set");
    put_size(out, r);
    if (o->n_slices < g->n_v)
        row(out, "slices", "%zu to %zu of %zu", run->volumes[0].job.first_slice,
            run->volumes[0].job.first_slice + o->n_slices - 1, g->n_v);
    row(out, "order in the file", "%s",
        o->xyz ? "xyz: columns x, rows y, sections s from the top down; rotated about x "
                 "from IMOD's native order, which keeps the hand"
               : "xzy, IMOD's native: columns x, rows s (thickness), sections y");
    row(out, "hand",
        run->command.options.hand
            ? "-1: the angles are taken with the other sign than the files have them, "
              "the "
              "tomogram is mirrored along the beam"
            : "as the signs of the angles say: all of them negated, the tomogram "
              "would be mirrored along the beam");
}

static void put_inputs(FILE *out, const tr_result *r)
{
    const tr_image_info *info = tr_image_get_info(r->run->inputs.image);
    for (size_t k = 0; k < r->n_inputs; k++)
        row(out, r->inputs[k].role, "%s (%llu bytes)", r->inputs[k].path,
            r->inputs[k].bytes);
    row(out, "views", "%zu of %zu x %zu pixels, %s %s", info->nz, info->nx, info->ny,
        info->format, tr_type_name(info->type));
    if (r->run->inputs.pixel > 0.0)
        row(out, "pixel", "%.6g Å", r->run->inputs.pixel);
    char digest[TR_DIGEST];
    tr_series_digest(r->run->volumes[0].job.series, digest);
    row(out, "hash of the pixels", "%s", digest);
}

static void put_output(FILE *out, const tr_result *r)
{
    const tr_output_spec *o = &r->run->volumes[0].job.output_spec;
    row(out, "file", "%s", o->path);
    row(out, "type", "%s", tr_type_name(o->type));
    if (r->scaling[0])
        row(out, "scaling", "%s", r->scaling);
    row(out, "min, max", "%.6g, %.6g", r->statistics.min, r->statistics.max);
    row(out, "mean", "%.6g", r->statistics.mean);
    row(out, "standard deviation", "%.6g", r->statistics.rms);
}

static void put_settings(FILE *out, const tr_result *r)
{
    const tr_run *run = r->run;
    const unsigned char *given = run->command.line.given;
    char value[1024];
    for (size_t g = 0; g < run->command.n_groups; given += run->command.groups[g].n, g++)
        for (size_t k = 0; run->command.groups[g].target && k < run->command.groups[g].n;
             k++) {
            const tr_option *o = &run->command.groups[g].rows[k];
            if (!o->help)
                continue;
            tr_option_word(o, (const char *)run->command.groups[g].target + o->offset,
                           value, sizeof value);
            fprintf(out, "<tr%s><th>--%s</th><td>", given[k] ? " class='given'" : "",
                    o->name);
            tr_html_text(out, *value ? value : "\342\200\223");
            if (*value && o->metavar && o->type != TR_OPT_STRING &&
                (strcmp(o->metavar, "PIXELS") == 0 || strcmp(o->metavar, "DEGREES") == 0))
                fputs(*o->metavar == 'P' ? " pixels" : " degrees", out);
            fputs("</td></tr>\n", out);
        }
}

static void put_plan(FILE *out, const tr_result *r)
{
    const tr_job *job = &r->run->volumes[0].job;
    fputs("<ul>\n", out);
    for (size_t k = 0; k < r->n_lines; k++)
        if (strncmp(r->lines[k].text, "plan: ", 6) == 0) {
            fputs("<li>", out);
            tr_html_text(out, r->lines[k].text + 6);
            fputs("</li>\n", out);
        }
    fputs("<li>", out);
    tr_html_print(out, "%d process%s, %s", job->comm->size,
                  job->comm->size == 1 ? "" : "es", job->backend->describe(job->device));
    fputs("</li></ul>\n", out);
}

static void put_times(FILE *out, const tr_result *r)
{
    const tr_job *job = &r->run->volumes[0].job;
    double longest = fmax(r->running, 1e-9);
    for (int k = 0; k < TR_N_STAGES; k++) {
        if (job->seconds[k] == 0.0)
            continue;
        fprintf(out,
                "<tr><th>%s</th><td class='number'>%.2f s</td><td class='bar'><span "
                "style='width:%.1f%%'></span></td></tr>\n",
                tr_stage_names[k], job->seconds[k],
                100.0 * fmin(job->seconds[k] / longest, 1.0));
    }
    fprintf(out,
            "<tr class='sum'><th>reconstruction</th><td class='number'>%.2f "
            "s</td><td></td></tr><tr><th>checking the series</th><td class='number'>%.2f "
            "s</td><td></td></tr>\n",
            r->running, r->checking);
}

static void put_times_note(FILE *out, const tr_result *r)
{
    const tr_job *job = &r->run->volumes[0].job;
    tr_html_print(out,
                  "Stages work beside each other, so they may add up to more than the "
                  "reconstruction%s. %.2f G voxel updates/s while projecting.",
                  job->comm->size > 1 ? " (those of the first process are shown)" : "",
                  1e-9 * r->updates / fmax(job->seconds[TR_STAGE_PROJECT], 1e-9));
}

static void put_command(FILE *out, const tr_result *r)
{
    char *command = tr_result_command(r);
    if (command)
        tr_html_text(out, command);
    free(command);
}

static void put_log(FILE *out, const tr_result *r)
{
    for (size_t k = 0; k < r->n_lines; k++) {
        if (r->lines[k].warning)
            fputs("warning: ", out);
        tr_html_text(out, r->lines[k].text);
        fputc('\n', out);
    }
    if (r->lines_lost)
        fprintf(out, "and %zu lines more\n", r->lines_lost);
}

/* ---- the frame ---- */

static const struct {
    const char *name;
    void (*put)(FILE *out, const tr_result *r);
} parts[] = {
    {"title", put_title},
    {"subtitle", put_subtitle},
    {"alerts", put_alerts},
    {"convergence", tr_report_convergence},
    {"views", tr_report_views},
    {"frc", tr_report_frc},
    {"alignment", tr_report_alignment},
    {"acquisition", tr_report_acquisition},
    {"geometry", tr_report_geometry},
    {"geometry-table", put_geometry_table},
    {"inputs", put_inputs},
    {"output", put_output},
    {"settings", put_settings},
    {"plan", put_plan},
    {"times", put_times},
    {"times-note", put_times_note},
    {"command", put_command},
    {"log", put_log},
};

static tr_status put_part(FILE *out, const tr_result *r, const char *name, size_t length)
{
    if (length == strlen("pictures") && strncmp(name, "pictures", length) == 0)
        return tr_report_pictures(out, r);
    if (length == strlen("spectra") && strncmp(name, "spectra", length) == 0)
        return tr_report_spectra(out, r);
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
        if (strlen(parts[k].name) == length &&
            strncmp(parts[k].name, name, length) == 0) {
            parts[k].put(out, r);
            return TR_OK;
        }
    return tr_fail(TR_ERR_INTERNAL, "the report has no part %.*s", (int)length, name);
}

static tr_status put_page(FILE *out, const tr_result *r)
{
    const char *page = tr_report_page, *open;
    while ((open = strstr(page, "{{"))) {
        const char *close = strstr(open, "}}");
        if (!close)
            break;
        (void)fwrite(page, 1, (size_t)(open - page), out);
        TR_TRY(put_part(out, r, open + 2, (size_t)(close - open - 2)));
        page = close + 2;
    }
    fputs(page, out);
    return TR_OK;
}

tr_status tr_report_write(const tr_result *r)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for the report");
    tr_status status = put_page(out, r);
    bool complete = !ferror(out);
    complete = fclose(out) == 0 && complete;
    if (status == TR_OK && !complete)
        status = tr_fail(TR_ERR_MEMORY, "not enough memory for the report");
    if (status == TR_OK)
        status = tr_write_whole(r->run->command.options.report, text, size);
    free(text);
    return status;
}
