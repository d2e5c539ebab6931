#include "common/report/chart.h"

#include <math.h>

#include "common/report/html.h"

enum { WIDTH = 480, HEIGHT = 300, LEFT = 66, RIGHT = 24, TOP = 14, BOTTOM = 56 };

typedef struct axes {
    double x0, x1, y0, y1; /* y as drawn: logarithms for log_y */
    bool log_y;
} axes;

static double to_x(const axes *a, double x)
{
    return LEFT + (x - a->x0) / (a->x1 - a->x0) * (WIDTH - LEFT - RIGHT);
}

static double to_y(const axes *a, double y)
{
    double v = a->log_y ? log10(y) : y;
    return HEIGHT - BOTTOM - (v - a->y0) / (a->y1 - a->y0) * (HEIGHT - TOP - BOTTOM);
}

double tr_chart_step(double low, double high, int wanted)
{
    double rough = (high - low) / wanted, power = pow(10.0, floor(log10(rough)));
    double m = rough / power;
    return power * (m > 5.0 ? 10.0 : m > 2.0 ? 5.0 : m > 1.0 ? 2.0 : 1.0);
}

/* Multiples of a step: so many from that one on. */
typedef struct ticks {
    double first;
    int n;
} ticks;

static ticks ticks_within(double low, double high, double step)
{
    double first = ceil(low / step - 1e-9), last = floor(high / step + 1e-9);
    return (ticks){first + 0.0, (int)fmin(last - first, 100.0) + 1}; /* no -0 */
}

static bool shown(const tr_chart *c, size_t k)
{
    return isfinite(c->x[k]) && isfinite(c->y[k]) && (!c->log_y || c->y[k] > 0.0);
}

static void widen(double *low, double *high)
{
    if (*high > *low)
        return;
    double by = fabs(*low) > 0.0 ? 0.1 * fabs(*low) : 1.0;
    *low -= by;
    *high += by;
}

static axes make_axes(const tr_chart *c)
{
    axes a = {INFINITY, -INFINITY, INFINITY, -INFINITY, c->log_y};
    for (size_t k = 0; k < c->n; k++) {
        if (!shown(c, k))
            continue;
        double y = c->log_y ? log10(c->y[k]) : c->y[k];
        a.x0 = fmin(a.x0, c->x[k]);
        a.x1 = fmax(a.x1, c->x[k]);
        a.y0 = fmin(a.y0, y);
        a.y1 = fmax(a.y1, y);
    }
    if (!isfinite(a.x0)) /* nothing to show */
        a = (axes){0.0, 1.0, 0.0, 1.0, false};
    /* fmin and fmax leave out NAN. */
    a.x0 = fmin(a.x0, c->x_low);
    a.x1 = fmax(a.x1, c->x_high);
    a.y0 = fmin(a.y0, c->log_y ? log10(c->y_low) : c->y_low);
    a.y1 = fmax(a.y1, c->log_y ? log10(c->y_high) : c->y_high);
    widen(&a.x0, &a.x1);
    widen(&a.y0, &a.y1);
    double room = 0.06 * (a.y1 - a.y0);
    a.y1 += room;
    a.y0 -= a.y0 == 0.0 && !c->log_y ? 0.0 : room;
    return a;
}

static void x_axis(FILE *out, const tr_chart *c, const axes *a)
{
    double step = c->x_step > 0.0 ? c->x_step : tr_chart_step(a->x0, a->x1, 6);
    ticks t = ticks_within(a->x0, a->x1, step);
    for (int k = 0; k < t.n; k++) {
        double value = (t.first + k) * step, at = to_x(a, value);
        fprintf(out,
                "<line class='grid' x1='%.1f' x2='%.1f' y1='%d' y2='%d'/>"
                "<text x='%.1f' y='%d' text-anchor='middle'>%g</text>\n",
                at, at, TOP, HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 17, value);
        if (c->x_per > 0.0 && value > 0.0)
            fprintf(out,
                    "<text class='minor' x='%.1f' y='%d' text-anchor='middle'>%.3g "
                    "%s</text>\n",
                    at, HEIGHT - BOTTOM + 31, c->x_per / value, c->x_unit);
    }
    fprintf(out, "<text x='%d' y='%d' text-anchor='middle'>", (LEFT + WIDTH - RIGHT) / 2,
            c->x_per > 0.0 ? HEIGHT - 5 : HEIGHT - 17);
    tr_html_text(out, c->x_label);
    fputs("</text>\n", out);
}

static void y_tick(FILE *out, const axes *a, double y)
{
    double at = to_y(a, y);
    if (at < TOP - 1 || at > HEIGHT - BOTTOM + 1)
        return;
    fprintf(out,
            "<line class='grid' x1='%d' x2='%d' y1='%.1f' y2='%.1f'/>"
            "<text x='%d' y='%.1f' text-anchor='end'>%g</text>\n",
            LEFT, WIDTH - RIGHT, at, at, LEFT - 6, at + 5, y);
}

static void y_axis(FILE *out, const tr_chart *c, const axes *a)
{
    if (a->log_y && a->y1 - a->y0 > 0.8) {
        static const double parts[] = {1, 2, 5};
        int n = a->y1 - a->y0 > 2.5 ? 1 : 3;
        for (int power = (int)floor(a->y0); power <= (int)ceil(a->y1); power++)
            for (int k = 0; k < n; k++)
                y_tick(out, a, parts[k] * pow(10.0, power));
    } else {
        double low = a->log_y ? pow(10.0, a->y0) : a->y0;
        double high = a->log_y ? pow(10.0, a->y1) : a->y1;
        double step = tr_chart_step(low, high, 5);
        ticks t = ticks_within(low, high, step);
        for (int k = 0; k < t.n; k++)
            y_tick(out, a, (t.first + k) * step);
    }
    fprintf(out, "<text transform='translate(15 %d) rotate(-90)' text-anchor='middle'>",
            (TOP + HEIGHT - BOTTOM) / 2);
    tr_html_text(out, c->y_label);
    fputs("</text>\n", out);
}

static void limits(FILE *out, const tr_chart *c, const axes *a)
{
    for (size_t k = 0; k < c->n_limits; k++) {
        double at = to_y(a, c->limits[k].y);
        fprintf(out,
                "<line class='limit' x1='%d' x2='%d' y1='%.1f' y2='%.1f'/>"
                "<text class='minor' x='%d' y='%.1f' text-anchor='end'>",
                LEFT, WIDTH - RIGHT, at, at, WIDTH - RIGHT - 4, at - 5);
        tr_html_text(out, c->limits[k].text);
        fputs("</text>\n", out);
    }
}

static void curve(FILE *out, const tr_chart *c, const axes *a)
{
    bool drawing = false;
    fputs("<path class='curve' d='", out);
    for (size_t k = 0; k < c->n; k++) {
        if (shown(c, k))
            fprintf(out, "%s%.1f %.1f", drawing ? "L" : "M", to_x(a, c->x[k]),
                    to_y(a, c->y[k]));
        drawing = shown(c, k);
    }
    fputs("'/>\n", out);
}

static void dot(FILE *out, const tr_chart *c, const axes *a, size_t k)
{
    bool marked = c->marked && c->marked[k];
    double x = to_x(a, c->x[k]), y = to_y(a, c->y[k]);
    fprintf(out, "<circle class='%s' cx='%.1f' cy='%.1f' r='%s'><title>",
            marked ? "bad" : "dot", x, y,
            marked       ? "6"
            : c->n > 100 ? "2.5"
                         : "3.5");
    if (c->name)
        fprintf(out, "%s%zu: ", c->name_prefix, c->name[k]);
    fprintf(out, "%.4g, %.4g</title></circle>\n", c->x[k], c->y[k]);
    if (marked && c->name)
        fprintf(out, "<text class='bad' x='%.1f' y='%.1f' text-anchor='%s'>%zu</text>\n",
                x + (x > WIDTH - 60 ? -9 : 9), y + 5, x > WIDTH - 60 ? "end" : "start",
                c->name[k]);
}

void tr_chart_svg(FILE *out, const tr_chart *c)
{
    axes a = make_axes(c);
    fprintf(out, "<svg class='chart' viewBox='0 0 %d %d' role='img'><title>", WIDTH,
            HEIGHT);
    tr_html_text(out, c->title);
    fputs("</title>\n", out);
    x_axis(out, c, &a);
    y_axis(out, c, &a);
    fprintf(out, "<path class='axis' d='M%d %dV%dH%d'/>\n", LEFT, TOP, HEIGHT - BOTTOM,
            WIDTH - RIGHT);
    limits(out, c, &a);
    if (c->line)
        curve(out, c, &a);
    for (int pass = 0; pass < 2 && c->dots; pass++) /* those marked on top */
        for (size_t k = 0; k < c->n; k++)
            if (shown(c, k) && (c->marked && c->marked[k]) == (pass == 1))
                dot(out, c, &a, k);
    fputs("</svg>\n", out);
}
