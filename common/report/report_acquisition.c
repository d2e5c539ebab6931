/* The views as the microscope took them, one chart for each thing that is known. */
#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/report/chart.h"
#include "common/report/html.h"
#include "common/report/report.h"

typedef double of_view(const tr_result *r, size_t k);

static double brightness(const tr_result *r, size_t k)
{
    return tr_series_mean(r->run->volumes[0].job.series, k);
}

/* At the end of the view; by it, views that are too late or twice are seen. */
static double dose(const tr_result *r, size_t k)
{
    const tr_view *view = &r->run->volumes[0].views.view[k];
    return view->prior_exposure + view->exposure;
}

static double order(const tr_result *r, size_t k)
{
    return (double)r->run->volumes[0].views.view[k].acquired;
}

static double defocus(const tr_result *r, size_t k)
{
    const tr_ctf *ctf = &r->run->inputs.views.view[k].ctf;
    return 0.5e-4 * (ctf->defocus_1 + ctf->defocus_2);
}

static void put_chart(FILE *out, const tr_result *r, const char *title, const char *label,
                      of_view *value)
{
    size_t n = r->n_views;
    double *x = tr_calloc("a chart", 2 * n, sizeof *x), *y = x ? x + n : NULL;
    size_t *number = tr_calloc("a chart", n, sizeof *number);
    double low = INFINITY, high = -INFINITY;
    for (size_t k = 0; x && number && k < n; k++) {
        x[k] = r->views[k].tilt;
        y[k] = value(r, k);
        number[k] = r->views[k].number;
        low = fmin(low, x[k]);
        high = fmax(high, x[k]);
    }
    const tr_chart chart = {.title = title,
                            .x_label = "tilt angle [degrees]",
                            .y_label = label,
                            .n = n,
                            .x = x,
                            .y = y,
                            .name = number,
                            .name_prefix = "view ",
                            .dots = true,
                            .x_step = high - low > 75.0 ? 30.0 : 0.0,
                            .x_low = NAN,
                            .x_high = NAN,
                            .y_low = NAN,
                            .y_high = NAN};
    fputs("<figure>", out);
    if (x && number)
        tr_chart_svg(out, &chart);
    fputs("<figcaption>", out);
    tr_html_text(out, title);
    fputs("</figcaption></figure>\n", out);
    free(x);
    free(number);
}

void tr_report_acquisition(FILE *out, const tr_result *r)
{
    const tr_view_params *v = &r->run->command.options.views;
    if (!r->n_views)
        return;
    fputs("<section class='card' id='acquisition'><h2>Acquisition</h2>\n"
          "<div class='charts'>\n",
          out);
    put_chart(out, r, "Mean intensity of each view, as it is in the file",
              "mean intensity", brightness);
    if (v->dose) {
        put_chart(out, r, "Exposure at the end of each view",
                  "exposure [e/\303\205\302\262]", dose);
        put_chart(out, r, "Order in which the views were taken", "place in the order",
                  order);
    }
    if (v->ctf)
        put_chart(out, r, "Defocus of each view, the mean of both directions",
                  "defocus [\302\265m]", defocus);
    fputs("</div>\n", out);
    if (!v->dose)
        fputs("<p class='note'>Dose and order are shown with <code>--dose</code>.</p>\n",
              out);
    fputs("</section>\n", out);
}
