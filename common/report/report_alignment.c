/* What --check-alignment found: a card of the report, and a part of the JSON. */
#include <math.h>
#include <stdlib.h>

#include "common/base/angle.h"
#include "common/base/mem.h"
#include "common/report/chart.h"
#include "common/report/html.h"
#include "common/report/json.h"
#include "common/report/report.h"

enum { SIZE = 300, MIDDLE = SIZE / 2, HALF = 120 };

static const tr_alignment_verdict *verdict_of(const tr_result *r)
{
    return &r->run->alignment;
}

static const tr_view *view_of(const tr_result *r, size_t k)
{
    return &r->run->volumes[0].views.view[k];
}

/* ---- the card ---- */

static void put_sentence(void *data, const char *sentence, bool bad)
{
    FILE *out = data;
    fprintf(out, "<p class='%s'>", bad ? "warning" : "note");
    tr_html_text(out, sentence);
    fputs("</p>\n", out);
}

/* The shifts across the axis (0) or along it (1) over the tilt angles. */
static void put_shifts(FILE *out, const tr_result *r, int axis)
{
    const tr_alignment_check *c = &verdict_of(r)->check;
    double f = (double)verdict_of(r)->factor;
    double *x = tr_calloc("a chart", 2 * c->n, sizeof *x), *y = x ? x + c->n : NULL;
    bool *off = tr_calloc("a chart", c->n, sizeof *off);
    size_t *number = tr_calloc("a chart", c->n, sizeof *number);
    for (size_t k = 0; x && off && number && k < c->n; k++) {
        x[k] = view_of(r, k)->tilt;
        y[k] = c->view[k].known ? f * c->view[k].shift[axis] : NAN;
        off[k] = c->view[k].off;
        number[k] = view_of(r, k)->section + 1;
    }
    const tr_chart chart = {
        .title = axis ? "Shift of each view along the tilt axis, over its tilt angle"
                      : "Shift of each view across the tilt axis, over its tilt angle",
        .x_label = "tilt angle [degrees]",
        .y_label = axis ? "along the axis [pixels]" : "across the axis [pixels]",
        .n = c->n,
        .x = x,
        .y = y,
        .marked = off,
        .name = number,
        .name_prefix = "view ",
        .dots = true,
        .x_low = NAN,
        .x_high = NAN,
        .y_low = -1.0,
        .y_high = 1.0};
    if (x && off && number)
        tr_chart_svg(out, &chart);
    free(x);
    free(off);
    free(number);
}

static double longest_arrow(const tr_alignment_check *c)
{
    double most = 0.0;
    for (int g = 0; g < TR_CHECK_GROUPS; g++)
        for (size_t p = 0; p < TR_CHECK_PATCHES; p++)
            if (isfinite(c->arrow[g][p].shift[0]))
                most =
                    fmax(most, hypot(c->arrow[g][p].shift[0], c->arrow[g][p].shift[1]));
    return most;
}

/* Of one group of views, what is left in patches; `scale` on the drawing to one pixel. */
static void put_arrows(FILE *out, const tr_alignment_check *c, int group, double scale,
                       const char *title)
{
    double reach = 0.0;
    for (size_t p = 0; p < TR_CHECK_PATCHES; p++)
        reach = fmax(reach, fmax(fabs(c->arrow[TR_CHECK_MIDDLE][p].x),
                                 fabs(c->arrow[TR_CHECK_MIDDLE][p].y)));
    double place = HALF / fmax(1.3 * reach, 1.0);
    fprintf(out,
            "<figure><svg class='drawing' viewBox='0 0 %d %d' role='img'><title>Shifts "
            "left in parts of the field, views %s</title>\n"
            "<rect class='view' x='%d' y='%d' width='%d' height='%d'/>\n",
            SIZE, SIZE, title, MIDDLE - HALF, MIDDLE - HALF, 2 * HALF, 2 * HALF);
    for (size_t p = 0; p < TR_CHECK_PATCHES; p++) {
        const tr_check_arrow *a = &c->arrow[group][p];
        if (!isfinite(a->shift[0]))
            continue;
        double x = MIDDLE + place * a->x, y = MIDDLE - place * a->y;
        fprintf(out,
                "<circle class='point' cx='%.1f' cy='%.1f' r='2'/><line class='beam' "
                "x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f'/>\n",
                x, y, x, y, x + scale * a->shift[0], y - scale * a->shift[1]);
    }
    fprintf(out, "</svg><figcaption>views %s</figcaption></figure>\n", title);
}

void tr_report_alignment(FILE *out, const tr_result *r)
{
    static const char *const titles[TR_CHECK_GROUPS] = {
        "below -20 degrees", "within 20 degrees", "above 20 degrees"};
    const tr_alignment_verdict *v = verdict_of(r);
    if (!v->done)
        return;
    double longest = longest_arrow(&v->check), scale = 30.0 / fmax(longest, 0.1);
    fputs("<section class='card' id='alignment'><h2>Alignment</h2>\n", out);
    tr_alignment_findings(r->run, put_sentence, out);
    put_shifts(out, r, 0);
    put_shifts(out, r, 1);
    fputs("<div class='drawings'>\n", out);
    for (int g = 0; g < TR_CHECK_GROUPS; g++)
        put_arrows(out, &v->check, g, scale, titles[g]);
    fprintf(out,
            "</div>\n<p class='note'>By how much each view is shifted against what all "
            "others predict of it, in pixels of the file; below, what is left in parts "
            "of the field when that is taken out: the longest line is %.2f pixels. Lines "
            "that turn about the middle as the tilt grows speak of the axis, others of "
            "movement within the specimen.</p></section>\n",
            longest * (double)v->factor);
}

/* ---- JSON ---- */

static void put_number(tr_json *j, const char *name, bool known, double value)
{
    if (known && isfinite(value))
        tr_json_number(j, name, value);
    else
        tr_json_null(j, name);
}

static void put_view(tr_json *j, const tr_result *r, size_t k)
{
    const tr_check_view *v = &verdict_of(r)->check.view[k];
    double f = (double)verdict_of(r)->factor;
    tr_json_open(j, NULL, '{');
    tr_json_integer(j, "view", (long long)view_of(r, k)->section + 1);
    tr_json_number(j, "tilt", view_of(r, k)->tilt);
    put_number(j, "across", v->known, f * v->shift[0]);
    put_number(j, "across_error", v->known, f * v->error[0]);
    put_number(j, "along", v->known, f * v->shift[1]);
    put_number(j, "along_error", v->known, f * v->error[1]);
    tr_json_number(j, "peak", v->peak);
    tr_json_number(j, "next_peak", v->next);
    tr_json_number(j, "correlation", v->as_given);
    tr_json_number(j, "correlation_moved", v->correlation);
    tr_json_bool(j, "off", v->off);
    tr_json_close(j, '}');
}

static void put_patches(tr_json *j, const tr_result *r)
{
    static const char *const names[TR_CHECK_GROUPS] = {"low", "middle", "high"};
    const tr_alignment_check *c = &verdict_of(r)->check;
    double f = (double)verdict_of(r)->factor;
    tr_json_open(j, "patches", '{');
    for (int g = 0; g < TR_CHECK_GROUPS; g++) {
        tr_json_open(j, names[g], '[');
        for (size_t p = 0; p < TR_CHECK_PATCHES; p++) {
            const tr_check_arrow *a = &c->arrow[g][p];
            tr_json_open(j, NULL, '{');
            tr_json_number(j, "x", f * a->x);
            tr_json_number(j, "y", f * a->y);
            put_number(j, "across", true, f * a->shift[0]);
            put_number(j, "along", true, f * a->shift[1]);
            tr_json_close(j, '}');
        }
        tr_json_close(j, ']');
    }
    tr_json_close(j, '}');
}

static void put_finding(void *data, const char *sentence, bool bad)
{
    (void)bad;
    tr_json_string(data, NULL, sentence);
}

void tr_result_alignment(tr_json *j, const tr_result *r)
{
    const tr_alignment_verdict *v = verdict_of(r);
    if (!v->done) {
        tr_json_null(j, "alignment_check");
        return;
    }
    const tr_alignment_check *c = &v->check;
    tr_json_open(j, "alignment_check", '{');
    tr_json_integer(j, "file_pixels", (long long)v->factor);
    tr_json_integer(j, "views_known", (long long)c->n_known);
    tr_json_integer(j, "views_off", (long long)c->n_off);
    put_number(j, "spread", true, c->spread * (double)v->factor);
    put_number(j, "axis_turn", true, c->turn * TR_DEGREES);
    put_number(j, "axis_turn_error", true, c->turn_error * TR_DEGREES);
    tr_json_bool(j, "axis_off", tr_alignment_axis_is_off(c));
    tr_json_open(j, "findings", '[');
    tr_alignment_findings(r->run, put_finding, j);
    tr_json_close(j, ']');
    tr_json_open(j, "views", '[');
    for (size_t k = 0; k < c->n; k++)
        put_view(j, r, k);
    tr_json_close(j, ']');
    put_patches(j, r);
    tr_json_close(j, '}');
}
