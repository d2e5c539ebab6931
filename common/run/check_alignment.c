#include "common/run/check_alignment.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/run.h"
#include "common/alignment/alignment_views.h"
#include "formats/file_io.h"

/* Pixels of the longer side at the working size. */
enum { WORKING_SIZE = 512 };

static const tr_view *view_of(const tr_run *run, size_t k)
{
    return &run->volumes[0].views.view[k];
}

/* ---- findings ---- */

static void say_views(const tr_run *run, tr_say_finding *say, void *data)
{
    const tr_alignment_check *c = &run->alignment.check;
    double f = (double)run->alignment.factor;
    char text[256];
    for (size_t k = 0; k < c->n; k++) {
        const tr_check_view *v = &c->view[k];
        if (!v->off || c->spread > 1.0) /* then that of all is said */
            continue;
        snprintf(text, sizeof text,
                 "view %zu (%.1f degrees) is off by %.1f pixels: %+.1f across the axis, "
                 "%+.1f along it",
                 view_of(run, k)->section + 1, view_of(run, k)->tilt,
                 f * hypot(v->shift[0], v->shift[1]), f * v->shift[0], f * v->shift[1]);
        say(data, text, true);
    }
    if (c->spread > 1.0) {
        snprintf(text, sizeof text,
                 "the views are shifted against each other by %.1f pixels (robust "
                 "standard deviation, each way): they are not aligned",
                 f * c->spread);
        say(data, text, true);
    }
    if (c->n_off == 0 && 2 * c->n_known >= c->n) {
        snprintf(text, sizeof text,
                 "no view is off: the shifts left are %.2f pixels (robust standard "
                 "deviation, each way)",
                 f * c->spread);
        say(data, text, false);
    }
}

static void say_unknown(const tr_run *run, tr_say_finding *say, void *data)
{
    const tr_alignment_check *c = &run->alignment.check;
    size_t n = c->n - c->n_known, length;
    char text[512];
    if (n == 0)
        return;
    if (2 * c->n_known < c->n) {
        snprintf(text, sizeof text,
                 "%zu of %zu views have nothing that stands out in common with what the "
                 "others predict: the alignment is far off, or too little can be seen; "
                 "which of both cannot be told from these data",
                 n, c->n);
        say(data, text, true);
        return;
    }
    length = (size_t)snprintf(text, sizeof text,
                              "cannot be told from these data: the "
                              "shift of view%s",
                              n == 1 ? "" : "s");
    for (size_t k = 0; k < c->n && length < sizeof text - 24; k++)
        if (!c->view[k].known)
            length += (size_t)snprintf(text + length, sizeof text - length, " %zu",
                                       view_of(run, k)->section + 1);
    say(data, text, false);
}

static void say_axis(const tr_alignment_check *c, tr_say_finding *say, void *data)
{
    char text[256];
    double turn = c->turn * TR_DEGREES, error = c->turn_error * TR_DEGREES;
    bool off = tr_alignment_axis_is_off(c);
    if (off)
        snprintf(text, sizeof text,
                 "the axis seems %.1f degrees off (+- %.1f): the views agree best turned "
                 "by %+.2f degrees, counterclockwise",
                 fabs(turn), error, turn);
    else if (isfinite(turn) && error <= 0.3 && fabs(turn) <= fmax(0.25, 2.0 * error))
        snprintf(text, sizeof text,
                 "the axis seems right: the views agree best turned by %+.2f degrees "
                 "(+- %.2f)",
                 turn, error);
    else if (isfinite(turn))
        snprintf(text, sizeof text,
                 "cannot be told from these data: the direction of the axis; the views "
                 "agree best turned by %+.2f degrees, +- %.2f",
                 turn, error);
    else
        snprintf(text, sizeof text,
                 "cannot be told from these data: the direction of "
                 "the axis");
    say(data, text, off);
}

bool tr_alignment_axis_is_off(const tr_alignment_check *c)
{
    const double least = 0.25 * TR_RADIANS, errors = 4.0;
    return isfinite(c->turn) && c->turn_error < 0.5 * TR_RADIANS &&
           fabs(c->turn) > fmax(least, errors * c->turn_error);
}

void tr_alignment_findings(const tr_run *run, tr_say_finding *say, void *data)
{
    const tr_alignment_check *c = &run->alignment.check;
    say_views(run, say, data);
    say_unknown(run, say, data);
    say_axis(c, say, data);
    say(data,
        "not determinable from views: an error that all tilt angles have in common, "
        "where the specimen is, and its hand",
        false);
}

/* ---- table and CSV ---- */

static void say(void *data, const char *sentence, bool bad)
{
    (void)data;
    if (bad)
        tr_warn("alignment: %s", sentence);
    else
        tr_info("alignment: %s", sentence);
}

static void print(const tr_run *run)
{
    const tr_alignment_check *c = &run->alignment.check;
    double f = (double)run->alignment.factor;
    tr_info("alignment: each view compared with what the others predict, at %zu of the "
            "file's pixels to one; shifts of its content in the file's pixels",
            run->alignment.factor);
    tr_info("%6s%8s%10s%8s%10s%8s%8s%8s%8s%8s", "view", "tilt", "across", "+-", "along",
            "+-", "peak", "next", "corr.", "moved");
    for (size_t k = 0; k < c->n; k++) {
        const tr_check_view *v = &c->view[k];
        char shift[64];
        if (v->known)
            snprintf(shift, sizeof shift, "%10.2f%8.2f%10.2f%8.2f", f * v->shift[0],
                     f * v->error[0], f * v->shift[1], f * v->error[1]);
        else
            snprintf(shift, sizeof shift, "%10s%8s%10s%8s", "?", "?", "?", "?");
        tr_info("%6zu%8.2f%s%8.1f%8.1f%8.3f%8.3f%s", view_of(run, k)->section + 1,
                view_of(run, k)->tilt, shift, v->peak, v->next, v->as_given,
                v->correlation, v->off ? "  off" : "");
    }
    tr_alignment_findings(run, say, NULL);
}

static tr_status write_csv(const tr_run *run, const char *path)
{
    const tr_alignment_check *c = &run->alignment.check;
    double f = (double)run->alignment.factor;
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for the table %s", path);
    fputs("view,tilt,across,across_error,along,along_error,peak,next_peak,correlation,"
          "correlation_moved,known,off\n",
          out);
    for (size_t k = 0; k < c->n; k++) {
        const tr_check_view *v = &c->view[k];
        fprintf(out, "%zu,%.4f,", view_of(run, k)->section + 1, view_of(run, k)->tilt);
        if (v->known)
            fprintf(out, "%.4f,%.4f,%.4f,%.4f,", f * v->shift[0], f * v->error[0],
                    f * v->shift[1], f * v->error[1]);
        else
            fputs(",,,,", out);
        fprintf(out, "%.3f,%.3f,%.5f,%.5f,%d,%d\n", v->peak, v->next, v->as_given,
                v->correlation, v->known, v->off);
    }
    bool failed = ferror(out);
    failed = fclose(out) || failed;
    tr_status status =
        failed ? tr_fail(TR_ERR_MEMORY, "not enough memory for the table %s", path)
               : tr_write_whole(path, text, length);
    free(text);
    if (status == TR_OK)
        tr_info("wrote %s", path);
    return status;
}

/* ---- the run ---- */

const char *tr_check_alignment_file(const tr_options *o)
{
    bool file = o->check_alignment && strcmp(o->check_alignment, "none") != 0;
    return file ? o->check_alignment : NULL;
}

static tr_status check(const tr_job *job, tr_alignment_verdict *a)
{
    tr_alignment_views *views;
    TR_TRY(tr_alignment_views_new(job->series, &job->geometry, WORKING_SIZE, job->threads,
                                  &views));
    const tr_check_source source = tr_alignment_views_source(views);
    a->factor = tr_alignment_views_factor(views);
    tr_status status = tr_alignment_check_run(&source, job->threads, &a->check);
    tr_alignment_views_free(views);
    return status;
}

tr_status tr_run_check_alignment(tr_run *run, tr_comm *comm)
{
    const tr_options *o = &run->command.options;
    const char *path = tr_check_alignment_file(o);
    const tr_job *job = &run->volumes[0].job;
    if (!o->check_alignment)
        return TR_OK;
    tr_status status = TR_OK;
    if (comm->rank == 0) {
        status = check(job, &run->alignment);
        run->alignment.done = status == TR_OK;
        if (status == TR_OK)
            print(run);
        if (status == TR_OK && path && !o->dry_run)
            status = write_csv(run, path);
    }
    return comm->ops->agree(comm, status);
}
