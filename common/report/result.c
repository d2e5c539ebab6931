#include "common/report/alignment_json.h"
#include "common/report/result.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/angle.h"
#include "formats/file_io.h"
#include "common/report/agreement.h"
#include "common/base/file_lock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/median.h"
#include "common/report/outliers.h"
#include "common/report/preview.h"
#include "common/report/report.h"
#include "common/run/paths.h"
#include "common/run/second.h"
#include "common/run/relion_star.h"
#include "common/run/view_list.h"

static bool wanted(const tr_result *r)
{
    const tr_options *o = &r->run->command.options;
    return o->report || o->json;
}

/* ---- what is printed ---- */

static void hear(void *self, bool warning, const char *text)
{
    enum { MOST = 2000, STEP = 64 }; /* thousands of views may each have their warning */
    tr_result *r = self;
    if (r->n_lines % STEP == 0 && r->n_lines < MOST) {
        tr_result_line *more = realloc(r->lines, (r->n_lines + STEP) * sizeof *r->lines);
        if (!more) {
            r->lines_lost++;
            return;
        }
        r->lines = more;
    }
    char *copy = r->n_lines < MOST ? strdup(text) : NULL;
    if (copy)
        r->lines[r->n_lines++] = (tr_result_line){warning, copy};
    else
        r->lines_lost++;
}

void tr_result_begin(tr_result *r, const tr_run *run, int argc, char *const *argv)
{
    *r = (tr_result){.run = run, .argc = argc, .argv = argv};
    tr_log_listen(hear, r);
}

void tr_result_free(tr_result *r)
{
    tr_log_listen(NULL, NULL);
    tr_checksums_abandon(r);
    for (size_t k = 0; k < r->n_lines; k++)
        free(r->lines[k].text);
    free(r->lines);
    free(r->views);
    *r = (tr_result){0};
}

/* ---- before the run ---- */

static void add_input(tr_result *r, const char *role, const char *path)
{
    struct stat file;
    if (!path || stat(path, &file) != 0)
        return;
    for (size_t k = 0; k < r->n_inputs; k++)
        if (strcmp(r->inputs[k].path, path) == 0)
            return;
    TR_ASSERT(r->n_inputs < TR_MOST_INPUTS);
    r->inputs[r->n_inputs++] = (tr_input_file){
        .role = role, .path = path, .bytes = (unsigned long long)file.st_size};
}

static void find_second(tr_result *r)
{
    const tr_second *second = r->run->second;
    if (!second)
        return;
    add_input(r, "second series", second->inputs.series_path);
    add_input(r, "second series' angles", second->inputs.tilts_path);
    if (second->inputs.transforms_path != second->inputs.tilts_path)
        add_input(r, "second series' transforms", second->inputs.transforms_path);
    add_input(r, "second series' match", r->run->command.options.second_match);
}

static void find_inputs(tr_result *r)
{
    const tr_run *run = r->run;
    add_input(r, "series", run->inputs.series_path);
    add_input(r, "tilt angles", run->inputs.tilts_path);
    add_input(r, "tilt angles", run->inputs.angles.further);
    add_input(r, "x-tilts", run->command.options.xtilts);
    add_input(r, "z-factors", run->inputs.zfactors_path);
    add_input(r, "local alignment", run->inputs.local_path);
    if (run->inputs.transforms_path != run->inputs.tilts_path)
        add_input(r, "transforms", run->inputs.transforms_path);
    add_input(r, "transforms", run->inputs.transforms.further);
    find_second(r);
    add_input(r, "CTF", run->command.options.ctf);
    add_input(r, "exposures", run->inputs.dose.from);
    add_input(r, "exposures", run->inputs.dose.order_from);
    add_input(r, "volume to compare", run->command.options.residual_of);
    add_input(r, "initial volume", run->command.options.initial);
    add_input(r, "tilt.com", run->command.options.imod_com);
    add_input(r, "tilt.com", run->inputs.found.imod_com);
}

/* Else a run that is killed would leave what an earlier one wrote. */
static void remove_old(const char *path)
{
    struct stat file;
    if (path && lstat(path, &file) == 0 && S_ISREG(file.st_mode))
        unlink(path);
}

static tr_status make_views(tr_result *r, tr_job *job)
{
    const tr_run *run = r->run;
    size_t n = run->inputs.views.n;
    r->views = tr_calloc("the views", n, sizeof *r->views);
    job->history.view_squares = tr_calloc("the views", n, sizeof(double));
    job->history.view_data = tr_calloc("the views", n, sizeof(double));
    if (!r->views || !job->history.view_squares || !job->history.view_data)
        return TR_ERR_MEMORY;
    r->n_views = job->history.n_views = n;
    for (size_t k = 0; k < n; k++)
        r->views[k] = (tr_view_result){.number = run->inputs.views.view[k].section + 1,
                                       .tilt = job->geometry.tilt[k] * TR_DEGREES,
                                       .residual = NAN,
                                       .correlation = NAN};
    return TR_OK;
}

/* Bytes for looking at the finished tomogram, not at the same time as the run's own. */
static size_t bytes_after(const tr_result *r, const tr_job *job)
{
    size_t page = r->run->command.options.report ? TR_REPORT_BYTES : 0;
    size_t views = wanted(r) ? tr_agreement_bytes(job) : 0;
    return page > views ? page : views;
}

void tr_result_plan(const tr_result *r, const tr_job *job)
{
    if (wanted(r))
        tr_info("plan: memory %.0f MiB for the report, when that of the reconstruction "
                "is free again",
                tr_mib(bytes_after(r, job)));
}

tr_status tr_result_prepare(tr_result *r, tr_job *job)
{
    if (!wanted(r))
        return TR_OK;
    tr_status status = make_views(r, job);
    if (job->comm->rank == 0) {
        find_inputs(r);
        remove_old(r->run->command.options.report);
        remove_old(r->run->command.options.json);
    }
    if (status == TR_OK && job->comm->rank == 0 && r->run->command.options.json)
        status = tr_checksums_begin(r);
    return job->comm->ops->agree(job->comm, status);
}

/* ---- after it ---- */

tr_status tr_result_gather(tr_result *r, tr_job *job)
{
    tr_history *h = &job->history;
    if (!h->n_views)
        return TR_OK;
    TR_TRY(job->comm->ops->sum(job->comm, h->view_squares, h->n_views));
    TR_TRY(job->comm->ops->sum(job->comm, h->view_data, h->n_views));
    bool known = true;
    for (size_t k = 0; k < h->n_views; k++)
        known = known && h->view_data[k] > 0.0;
    r->residuals = known;
    for (size_t k = 0; k < h->n_views && known; k++)
        r->views[k].residual = sqrt(fmax(h->view_squares[k], 0.0) / h->view_data[k]);
    return TR_OK;
}

static tr_status measure_agreement(tr_result *r, const tr_job *job)
{
    if (tr_agreement_bytes(job) > job->memory) {
        tr_info("the views are not compared with the tomogram: that would take %.0f MiB",
                tr_mib(tr_agreement_bytes(job)));
        return TR_OK;
    }
    double *values = tr_calloc("the views", r->n_views, sizeof *values);
    if (!values)
        return TR_ERR_MEMORY;
    tr_status status = tr_agreement_measure(job, values, &r->compared);
    for (size_t k = 0; k < r->n_views && status == TR_OK && r->compared; k++)
        r->views[k].correlation = values[k];
    free(values);
    return status;
}

/* What linear interpolation leaves, as a root mean square fraction, in the projection of
 * what is homogeneous: voxels lie cos t apart in the image, so the hat functions add up
 * to 1 and a wave of amplitude 2 sinc(1 / cos t)^2, in which planes agree where tan t is
 * whole. */
static double ripple(double tilt, double planes)
{
    double d = fmax(cos(tilt), 1e-3), phase = TR_PI * tan(tilt);
    double sinc = sin(TR_PI / d) / (TR_PI / d);
    double step = planes * sin(phase);
    double together = fabs(step) > 1e-9 ? fabs(sin(planes * phase) / step) : 1.0;
    return sqrt(2.0) * sinc * sinc * together;
}

/* Marks views as bad by one figure: a residual as it is, a correlation by what it is
 * short of 1. How much worse than expected counts at least is a part of the typical
 * value; more at the ends, where residuals rise. */
static tr_status mark_bad(tr_result *r, bool by_residual, double *work, bool *bad)
{
    size_t n = r->n_views;
    double *angle = work, *value = work + n, *sorted = work + 2 * n;
    for (size_t k = 0; k < n; k++) {
        const tr_view_result *v = &r->views[k];
        angle[k] = v->tilt;
        sorted[k] = by_residual ? v->residual : v->correlation;
        value[k] = by_residual ? v->residual : 1.0 - v->correlation;
    }
    double typical = fabs(tr_median(sorted, n));
    TR_TRY(tr_outliers(angle, value, n, (by_residual ? 0.08 : 0.1) * typical,
                       (by_residual ? 0.5 : 0.3) * typical, bad));
    const tr_geometry *g = &r->run->volumes[0].job.geometry;
    /* A residual that may be the projector's own does not count. */
    for (size_t k = 0; k < n && by_residual; k++)
        bad[k] = bad[k] && ripple(g->tilt[k], (double)g->thickness) < 0.25 * value[k];
    for (size_t k = 0; k < n; k++)
        r->views[k].bad |= bad[k];
    return TR_OK;
}

static tr_status judge_views(tr_result *r)
{
    size_t n = r->n_views;
    double *work = tr_calloc("the views", 3 * n, sizeof *work);
    bool *bad = tr_calloc("the views", n, sizeof *bad);
    tr_status status = work && bad ? TR_OK : TR_ERR_MEMORY;
    if (status == TR_OK && r->residuals)
        status = mark_bad(r, true, work, bad);
    if (status == TR_OK && r->compared)
        status = mark_bad(r, false, work, bad);
    free(work);
    free(bad);
    for (size_t k = 0; k < n && status == TR_OK; k++)
        if (r->views[k].bad) {
            r->n_bad++;
            tr_warn("view %zu (%.1f degrees) fits the tomogram much worse than its "
                    "neighbours: look at it, or leave it out with --exclude %zu",
                    r->views[k].number, r->views[k].tilt, r->views[k].number);
        }
    return status;
}

static tr_status write_json(const tr_result *r)
{
    char *text = tr_result_json(r);
    if (!text)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for the result's text");
    tr_status status = tr_write_whole(r->run->command.options.json, text, strlen(text));
    free(text);
    if (status == TR_OK)
        tr_info("wrote %s", r->run->command.options.json);
    return status;
}

static tr_status write_all(tr_result *r, const tr_job *job)
{
    const tr_options *o = &r->run->command.options;
    if (wanted(r)) {
        TR_TRY(measure_agreement(r, job));
        TR_TRY(judge_views(r));
    }
    if (o->preview)
        TR_TRY(tr_preview_write(&job->output_spec));
    if (tr_view_list_wanted(o))
        TR_TRY(tr_view_list_write(&r->run->volumes[0]));
    if (o->report) {
        TR_TRY(tr_report_write(r));
        tr_info("wrote %s: open it in a web browser", o->report);
    }
    TR_TRY(tr_relion_star_write(r->run));
    TR_TRY(tr_alignment_json_write(r->run));
    tr_checksums_end(r);
    return o->json ? write_json(r) : TR_OK;
}

tr_status tr_result_write(tr_result *r, tr_job *job)
{
    tr_status status = job->comm->rank == 0 ? write_all(r, job) : TR_OK;
    return job->comm->ops->agree(job->comm, status);
}

tr_status tr_result_write_explained(tr_result *r, tr_job *job)
{
    tr_status status = TR_OK;
    tr_checksums_end(r);
    if (job->comm->rank == 0 && r->run->command.options.json)
        status = write_json(r);
    return job->comm->ops->agree(job->comm, status);
}

/* What looks like the result of an earlier run, or nothing: the names may not have been
 * compared with those of the inputs yet. */
static bool may_replace(const char *path)
{
    struct stat there;
    if (stat(path, &there) != 0 || !S_ISREG(there.st_mode) || there.st_size == 0)
        return true;
    FILE *file = fopen(path, "rbe");
    int first = file ? fgetc(file) : EOF;
    if (file)
        fclose(file);
    return first == '{';
}

void tr_result_write_failure(const tr_result *r, tr_status status, const char *sentence)
{
    const char *path = r->run->command.options.json;
    if (!path || !*path || r->run->command.options.dry_run || !may_replace(path))
        return;
    /* That it is also something else may be what failed. */
    const tr_run *run = r->run;
    if (run->n_volumes && run->volumes[0].job.output_spec.path &&
        tr_paths_check(run->volumes, run->n_volumes) != TR_OK)
        return;
    /* Another run that writes it has the better result. */
    bool held = tr_lock_is_held(path);
    if (!held && tr_lock_take(path) != TR_OK)
        return;
    char *text = tr_result_failure_json(r, status, sentence);
    if (text && tr_write_whole(path, text, strlen(text)) != TR_OK)
        tr_warn("%s", tr_error());
    free(text);
    if (!held)
        tr_lock_release(path);
}
