/* The curves of the report, each with the sentences that say how to read it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/report/chart.h"
#include "common/report/html.h"
#include "common/base/mem.h"
#include "common/report/report.h"

static void open_card(FILE *out, const char *id, const char *title)
{
    fprintf(out, "<section class='card' id='%s'><h2>%s</h2>\n", id, title);
}

void tr_report_convergence(FILE *out, const tr_result *r)
{
    const tr_history *h = &r->run->volumes[0].job.history;
    if (!h->n || h->data_squares <= 0.0)
        return;
    double *x = tr_calloc("a chart", 2 * h->n, sizeof *x), *y, least = INFINITY;
    if (!x)
        return;
    y = x + h->n;
    for (size_t k = 0; k < h->n; k++) {
        x[k] = (double)k + 1.0;
        y[k] = sqrt(fmax(h->squares[k], 0.0) / h->data_squares);
        least = y[k] > 0.0 ? fmin(least, y[k]) : least;
    }
    bool log_y = least < 0.2;
    const tr_chart chart = {.title = "Residual before each iteration",
                            .x_label = "iteration",
                            .y_label =
                                log_y ? "|b - A x| / |b|, log scale" : "|b - A x| / |b|",
                            .n = h->n,
                            .x = x,
                            .y = y,
                            .line = true,
                            .dots = h->n <= 60,
                            .log_y = log_y,
                            .x_low = NAN,
                            .x_high = NAN,
                            .y_low = log_y ? NAN : 0.0,
                            .y_high = NAN};
    open_card(out, "convergence", "Convergence");
    tr_chart_svg(out, &chart);
    fputs("<p>", out);
    tr_html_print(out,
                  "The part of the measured views that the tomogram did not explain, "
                  "before each of %zu iterations: at last %.4g. ",
                  h->n, y[h->n - 1]);
    if (h->n > 1 && y[h->n - 2] - y[h->n - 1] > 0.01 * y[h->n - 1])
        tr_html_text(out, "It was still falling by more than 1 % an iteration.");
    else
        tr_html_text(out, "It had levelled off: what is left is noise and what no "
                          "tomogram explains.");
    fputs("</p></section>\n", out);
    free(x);
}

static void name_bad_views(FILE *out, const tr_result *r)
{
    if (!r->n_bad) {
        fputs("<p class='good'>No view stands out.</p>\n", out);
        return;
    }
    const char *before = "";
    fprintf(out, "<p class='warning'><b>%zu view%s out:</b> ", r->n_bad,
            r->n_bad == 1 ? " stands" : "s stand");
    for (size_t k = 0; k < r->n_views; k++)
        if (r->views[k].bad) {
            fprintf(out, "%sview %zu (%.1f\302\260)", before, r->views[k].number,
                    r->views[k].tilt);
            before = ", ";
        }
    fputs(". Look at them, and leave out what is bad: <code>--exclude ", out);
    before = "";
    for (size_t k = 0; k < r->n_views; k++)
        if (r->views[k].bad) {
            fprintf(out, "%s%zu", before, r->views[k].number);
            before = ",";
        }
    fputs("</code></p>\n", out);
}

/* One figure of the views over their angles. */
static void put_view_chart(FILE *out, const tr_result *r, bool residual)
{
    size_t n = r->n_views;
    double *x = tr_calloc("a chart", 2 * n, sizeof *x), *y = x ? x + n : NULL;
    bool *bad = tr_calloc("a chart", n, sizeof *bad);
    size_t *number = tr_calloc("a chart", n, sizeof *number);
    double low = INFINITY, high = -INFINITY;
    for (size_t k = 0; x && bad && number && k < n; k++) {
        x[k] = r->views[k].tilt;
        low = fmin(low, x[k]);
        high = fmax(high, x[k]);
        y[k] = residual ? r->views[k].residual : r->views[k].correlation;
        bad[k] = r->views[k].bad;
        number[k] = r->views[k].number;
    }
    const tr_chart chart = {
        .title = residual ? "Residual of each view over its tilt angle"
                          : "Correlation of each view with its "
                            "reprojection over its tilt angle",
        .x_label = "tilt angle [degrees]",
        .y_label = residual ? "residual |b - A x| / |b|" : "correlation",
        .n = n,
        .x = x,
        .y = y,
        .marked = bad,
        .name = number,
        .name_prefix = "view ",
        .dots = true,
        .x_step = high - low > 75.0 ? 30.0 : 0.0,
        .x_low = NAN,
        .x_high = NAN,
        .y_low = residual ? 0.0 : 0.8,
        .y_high = residual ? NAN : 1.0};
    if (x && bad && number)
        tr_chart_svg(out, &chart);
    free(x);
    free(bad);
    free(number);
}

static void explain_views(FILE *out, const tr_result *r)
{
    if (r->residuals)
        fputs("<p class='note'>Residual: the norm of the difference between the view and "
              "the projection of the tomogram in the last iteration, over that of the "
              "view.</p>\n",
              out);
    if (r->compared)
        fprintf(out,
                "<p class='note'>Correlation: between the view and the projection of the "
                "finished tomogram, over %zu image row%s in the middle, each row's mean "
                "taken off.</p>\n",
                r->compared, r->compared == 1 ? "" : "s");
    fputs("<p class='note'>A view is named where it is much worse than a robust line "
          "through its neighbours: by more than six standard deviations, and by a tenth "
          "of the usual value.</p>\n",
          out);
}

void tr_report_views(FILE *out, const tr_result *r)
{
    open_card(out, "views", "Views");
    if (r->residuals || r->compared)
        name_bad_views(out, r);
    else
        fputs("<p>Not known: the slices written do not hold all that the middle rows of "
              "the images see, or the memory allowed is too small for the comparison."
              "</p>\n",
              out);
    if (r->residuals)
        put_view_chart(out, r, true);
    if (r->compared)
        put_view_chart(out, r, false);
    if (r->residuals || r->compared)
        explain_views(out, r);
    fputs("</section>\n", out);
}

/* "31.2 A" of a plain text, with the letter that angstroms have. */
static void put_crossing(FILE *out, const char *text)
{
    size_t length = strlen(text);
    bool angstroms = length > 2 && strcmp(text + length - 2, " A") == 0;
    tr_html_print(out, "%.*s%s", (int)(angstroms ? length - 1 : length), text,
                  angstroms ? "\303\205" : "");
}

static void put_curve(FILE *out, const tr_frc *frc, const tr_frc_curve *c)
{
    char title[96], text[2][64];
    snprintf(title, sizeof title,
             "Fourier ring correlation of the half sets in %s sections", c->plane);
    const tr_chart chart = {.title = title,
                            .x_label = "spatial frequency [cycles per voxel]",
                            .y_label = "correlation",
                            .n = c->n,
                            .x = c->frequency,
                            .y = c->correlation,
                            .line = true,
                            .x_low = 0.0,
                            .x_high = 0.5,
                            .y_low = 0.0,
                            .y_high = 1.0,
                            .limits = {{0.5, "0.5"}, {0.143, "0.143"}},
                            .n_limits = 2,
                            .x_per = frc->pixel,
                            .x_unit = "\303\205"};
    for (size_t k = 0; k < TR_FRC_THRESHOLDS; k++)
        tr_frc_crossing_text(frc, c, k, text[k], sizeof text[k]);
    fprintf(out, "<h3>%s sections: ", c->plane);
    put_crossing(out, text[TR_FRC_HALF]);
    fputs(" at 0.5, ", out);
    put_crossing(out, text[TR_FRC_SEVENTH]);
    fputs(" at 0.143</h3>\n", out);
    tr_chart_svg(out, &chart);
}

void tr_report_frc(FILE *out, const tr_result *r)
{
    const tr_frc *frc = &r->run->frc;
    if (!frc->n_curves)
        return;
    char title[96];
    snprintf(title, sizeof title, "Fourier ring correlation of %s", frc->of);
    open_card(out, "frc", title);
    for (size_t k = 0; k < frc->n_curves; k++)
        put_curve(out, frc, &frc->curve[k]);
    fputs("<p class='note'>How much of what the even and the odd tomogram show is the "
          "same, "
          "at each spatial frequency. x-y sections tell how fine the specimen is seen "
          "along the beam, x-z sections how well depth is resolved.</p></section>\n",
          out);
}
