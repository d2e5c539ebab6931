/* The geometry as drawings: a slice seen along the tilt axis with the beams of the first
 * and last angle, the volume seen along x with its pitch, and a view with the axis. The
 * signs are those of geometry.h: the beam at tilt t runs along (x, s) = (sin t, cos t),
 * and at pitch g along (y, s) = (sin g, cos g). */
#include <math.h>

#include "common/base/angle.h"
#include "common/report/html.h"
#include "common/report/report.h"

enum { SIZE = 300, MIDDLE = SIZE / 2, REACH = 118, BOX = 84 };

static void open_drawing(FILE *out, const char *title)
{
    fprintf(out,
            "<figure><svg class='drawing' viewBox='0 0 %d %d' role='img'><title>%s"
            "</title>\n",
            SIZE, SIZE, title);
}

static void close_drawing(FILE *out, const char *title)
{
    fprintf(out, "</svg><figcaption>%s</figcaption></figure>\n", title);
}

/* A line through the middle at `angle` from the vertical, positive to the right. */
static void draw_beam(FILE *out, const char *class, double angle)
{
    double x = REACH * sin(angle), y = REACH * cos(angle);
    fprintf(out, "<line class='%s' x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f'/>\n", class,
            MIDDLE + x, MIDDLE - y, MIDDLE - x, MIDDLE + y);
}

static void draw_axes(FILE *out, const char *right, const char *high)
{
    fprintf(out,
            "<path class='axis' d='M14 %d H50' marker-end='url(#arrow)'/>"
            "<path class='axis' d='M14 %d V%d' marker-end='url(#arrow)'/>"
            "<text x='60' y='%d'>%s</text><text x='9' y='%d'>%s</text>\n",
            SIZE - 14, SIZE - 14, SIZE - 50, SIZE - 9, right, SIZE - 62, high);
}

/* The box of a slab of these sides, the longer one as long as the drawing has room for.
 */
static void draw_slab(FILE *out, double across, double thickness)
{
    double longest = fmax(across, thickness);
    double w = fmax(BOX * across / longest, 4.0),
           h = fmax(BOX * thickness / longest, 4.0);
    fprintf(out, "<rect class='slab' x='%.1f' y='%.1f' width='%.1f' height='%.1f'/>\n",
            MIDDLE - w, MIDDLE - h, 2 * w, 2 * h);
}

static void angle_text(FILE *out, double angle, const char *before)
{
    double x = MIDDLE + (REACH + 4) * sin(angle), y = MIDDLE - (REACH + 10) * cos(angle);
    fprintf(out, "<text x='%.1f' y='%.1f' text-anchor='%s'>%s%+.1f\302\260</text>\n",
            fmin(fmax(x, 6.0), SIZE - 6.0), fmax(y, 14.0),
            angle > 0.2    ? "end"
            : angle < -0.2 ? "start"
                           : "middle",
            before, angle * TR_DEGREES);
}

static void draw_slice(FILE *out, const tr_geometry *g, double low, double high)
{
    open_drawing(out, "A slice, seen along the tilt axis, with the beam at the first and "
                      "the last angle");
    /* The angles covered, on both sides. */
    for (int side = -1; side <= 1; side += 2)
        fprintf(out,
                "<path class='covered' d='M%d %d L%.1f %.1f A%d %d 0 %d 1 %.1f %.1f Z'/>"
                "\n",
                MIDDLE, MIDDLE, MIDDLE + side * REACH * sin(low),
                MIDDLE - side * REACH * cos(low), REACH, REACH, high - low > TR_PI,
                MIDDLE + side * REACH * sin(high), MIDDLE - side * REACH * cos(high));
    draw_slab(out, (double)g->width, (double)g->thickness);
    draw_beam(out, "beam", low);
    if (high - low > 0.02)
        draw_beam(out, "beam", high);
    angle_text(out, low, "");
    if (high - low > 0.02)
        angle_text(out, high, "");
    fprintf(out,
            "<circle class='tilt-axis' cx='%d' cy='%d' r='6'/><circle class='point' "
            "cx='%d' cy='%d' r='2'/>\n",
            MIDDLE, MIDDLE, MIDDLE, MIDDLE);
    draw_axes(out, "x", "s");
    close_drawing(out,
                  "<b>A slice</b>, seen along the tilt axis (y, towards you). Angles "
                  "covered are shaded, the rest is the missing wedge. At a positive "
                  "angle the beam leans to the right going up.");
}

static void draw_pitch(FILE *out, const tr_result *r)
{
    const tr_geometry *g = &r->run->volumes[0].job.geometry;
    open_drawing(out, "The volume, seen along x, with the beam at tilt 0 and its pitch");
    draw_slab(out, (double)g->n_v, (double)g->thickness);
    draw_beam(out, "beam", g->pitch);
    fprintf(out, "<line class='upright' x1='%d' x2='%d' y1='%d' y2='%d'/>\n", MIDDLE,
            MIDDLE, MIDDLE - REACH, MIDDLE + REACH);
    fprintf(out, "<line class='tilt-axis' x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f'/>\n",
            MIDDLE - REACH * cos(g->pitch), MIDDLE - REACH * sin(g->pitch),
            MIDDLE + REACH * cos(g->pitch), MIDDLE + REACH * sin(g->pitch));
    fprintf(out, "<text x='%d' y='%d' text-anchor='end'>pitch %s%.2f\302\260</text>\n",
            SIZE - 8, SIZE - 9, g->pitch > 0.0 ? "+" : "", g->pitch * TR_DEGREES);
    draw_axes(out, "y", "s");
    close_drawing(out, "<b>The volume</b>, seen along x at tilt 0. The pitch leans the "
                       "beam towards +y going up; the tilt axis (blue) stays across it.");
}

static void draw_view(FILE *out, const tr_geometry *g)
{
    double longest = fmax((double)g->n_u, (double)g->n_v);
    double w = BOX * (double)g->n_u / longest, h = BOX * (double)g->n_v / longest;
    double axis = MIDDLE - w + 2 * w * (g->axis_u + 0.5) / (double)g->n_u;
    open_drawing(out, "A view with the tilt axis");
    fprintf(out,
            "<rect class='view' x='%.1f' y='%.1f' width='%.1f' height='%.1f'/>"
            "<line class='tilt-axis' x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f'/>"
            "<text x='%.1f' y='%.1f' text-anchor='middle'>column %.6g</text>\n",
            MIDDLE - w, MIDDLE - h, 2 * w, 2 * h, axis, axis, MIDDLE - h - 16,
            MIDDLE + h + 16, axis, MIDDLE - h - 22, g->axis_u);
    fprintf(out, "<text x='%d' y='%.1f' text-anchor='middle'>%zu x %zu pixels</text>\n",
            MIDDLE, MIDDLE + h + 34, g->n_u, g->n_v);
    draw_axes(out, "column", "row");
    close_drawing(out, "<b>A view</b> with the tilt axis (blue). Row 0 is at the bottom; "
                       "columns and rows count from 0.");
}

void tr_report_geometry(FILE *out, const tr_result *r)
{
    const tr_geometry *g = &r->run->volumes[0].job.geometry;
    double low = INFINITY, high = -INFINITY;
    for (size_t k = 0; k < g->n_views; k++) {
        low = fmin(low, g->tilt[k]);
        high = fmax(high, g->tilt[k]);
    }
    fputs("<div class='drawings'>\n", out);
    draw_slice(out, g, low, high);
    draw_pitch(out, r);
    draw_view(out, g);
    fputs("</div>\n", out);
}
