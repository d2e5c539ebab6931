#include "common/trial/trial_say.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/mem.h"

/* Above what pure noise reached in twelve series: 5.6 standard errors of contrast, and
 * rises of flatness by 1.9 and of sharpness by 2.7 standard errors. */
static const double LEAST_CONTRAST = 1.03, LEAST_CONTRAST_SIGMA = 6.0;
static const double LEAST_RISE[] = {
    [TR_TRIAL_FLAT] = 3.0, [TR_TRIAL_LEVEL] = 3.0, [TR_TRIAL_SHARP] = 3.5};

static double largest(double a, double b) { return a > b ? a : b; }

tr_status tr_trial_stands_out(const tr_trial_measure *measure, bool level,
                              bool *stands_out)
{
    tr_trial_contrast c;
    TR_TRY(tr_trial_find_contrast(measure, level, &c));
    tr_verbose("the contrast of the best band is %.3f, %.1f standard errors from 1",
               c.ratio, c.sigma);
    *stands_out = c.ratio >= LEAST_CONTRAST && c.sigma >= LEAST_CONTRAST_SIGMA;
    if (*stands_out)
        tr_info("the density varies %.2f times as much in the specimen as above and "
                "below it",
                c.ratio);
    else
        tr_warn("inconclusive: no specimen stands out from what is above and below it "
                "(the density varies %.2f times as much in the best band); look at the "
                "sheet, or give a larger --thickness",
                c.ratio);
    return TR_OK;
}

/* ---- tilt offset, pitch, axis shift ---- */

static tr_trial_kind kind_of(tr_trial_what what)
{
    return what == TR_TRIAL_AXIS_SHIFT ? TR_TRIAL_SHARP
           : what == TR_TRIAL_PITCH    ? TR_TRIAL_LEVEL
                                       : TR_TRIAL_FLAT;
}

static void print_table(const tr_trial_spec *spec, tr_trial_kind kind,
                        const double *figure, size_t best)
{
    tr_info("%12s  %s", tr_trial_name(spec->what),
            kind == TR_TRIAL_SHARP ? "sharpness" : "flatness");
    for (size_t k = 0; k < spec->n; k++)
        tr_info("%12g  %.4f%s", tr_trial_value(spec, k),
                kind == TR_TRIAL_SHARP ? exp(figure[k]) : figure[k],
                k == best ? "  best" : "");
}

/* Views that go round the specimen say where the axis is; the sheet is for the eye. */
static void say_axis(const tr_inputs *in, tr_trial_verdict *v)
{
    double shift;
    bool sure = tr_axis_agree(&in->axis_found, &shift);
    if (isnan(shift)) {
        tr_warn(
            "inconclusive: no method finds the rotation axis in the views; look at the "
            "sheet: the arcs of small things close into spots at the right value");
        return;
    }
    v->value = shift;
    if (sure) {
        tr_info("suggested: --axis-shift %.2f (from the views, as with --find-axis)",
                shift);
        return;
    }
    char pair[24], wedge[24], mass[24];
    tr_axis_text(in->axis_found.pair, pair);
    tr_axis_text(in->axis_found.wedge, wedge);
    tr_axis_text(in->axis_found.mass, mass);
    tr_warn("inconclusive: the views say --axis-shift %.2f, but the methods disagree: "
            "mirrored pairs %s, double wedge %s, centre of mass %s; look at the sheet",
            shift, pair, wedge, mass);
}

/* Warns where the data do not say which value is best; false where they do. */
static bool doubt(const tr_trial_spec *spec, tr_trial_kind kind,
                  const tr_trial_verdict *v)
{
    double range = tr_trial_value(spec, spec->n - 1) - spec->from;
    /* Sharpness of small things determines a shift to about a pixel. */
    double most = largest(spec->step, kind == TR_TRIAL_SHARP ? 1.0 : range / 6.0);
    const char *name = tr_trial_name(spec->what), *unit = tr_trial_unit(spec->what);
    if (v->sigma < LEAST_RISE[kind]) {
        tr_warn("inconclusive: the figure rises by only %.1f standard errors over its "
                "mean; nothing in the slabs tells one %s from another; look at the sheet",
                v->sigma, name);
    } else if (v->best == 0 || v->best + 1 == spec->n) {
        bool low = v->best == 0;
        double from = low ? spec->from - range : v->value - spec->step;
        tr_warn("inconclusive: the best value, %g %s, is at the end of the range; go on "
                "with --try %s=%g:%g:%g",
                v->value, unit, name, from,
                low ? v->value + spec->step : v->value + range, spec->step);
    } else if (v->error > most) {
        tr_warn("inconclusive: the parts of the slabs disagree: the best value is %.2f "
                "+-%.2f %s; look at the sheet",
                v->value, v->error, unit);
    } else {
        return false;
    }
    return true;
}

static tr_status say_sweep(const tr_trial_findings *f, tr_trial_sheet_panel *panels)
{
    const tr_trial_spec *spec = f->spec;
    tr_trial_kind kind = kind_of(spec->what);
    tr_trial_verdict v;
    double *figure = tr_calloc("the figures", spec->n, sizeof *figure);
    if (!figure)
        return TR_ERR_MEMORY;
    tr_status status =
        tr_trial_judge(kind, f->measures, spec->n, spec->from, spec->step, figure, &v);
    if (status == TR_OK)
        print_table(spec, kind, figure, v.best);
    free(figure);
    bool stands_out = true;
    if (status == TR_OK && kind != TR_TRIAL_SHARP)
        status = tr_trial_stands_out(&f->measures[v.best], kind == TR_TRIAL_LEVEL,
                                     &stands_out);
    TR_TRY(status);
    tr_verbose("the best figure is %.1f standard errors above the mean of all", v.sigma);
    if (spec->what == TR_TRIAL_AXIS_SHIFT && f->inputs->axis_looked_for) {
        say_axis(f->inputs, &v);
        double k = round((v.value - spec->from) / spec->step);
        panels[(size_t)fmin(fmax(k, 0.0), (double)(spec->n - 1))].framed = true;
        return TR_OK;
    }
    panels[v.best].framed = true;
    if (stands_out && !doubt(spec, kind, &v))
        tr_info("suggested: --%s %.2f (+-%.2f %s)", tr_trial_name(spec->what), v.value,
                largest(v.error, 0.01), tr_trial_unit(spec->what));
    return TR_OK;
}

/* ---- lambda ---- */

/* No figure knows which smoothness a user wants: the weights and what they leave of the
 * views, and which one the program would take. */
static tr_status say_lambda(const tr_trial_findings *f, tr_trial_sheet_panel *panels)
{
    tr_info("%12s%14s%14s%s", "lambda", "times", "residual",
            f->sigma > 0.0 ? "   of the noise" : "");
    for (size_t k = 0; k < f->spec->n; k++) {
        const tr_trial_weight *w = &f->weights[k];
        double times = tr_trial_value(f->spec, k);
        bool own = fabs(times - 1.0) < 1e-9;
        char share[24] = "";
        if (f->sigma > 0.0)
            snprintf(share, sizeof share, "%14.2f", w->residual / f->sigma);
        tr_info("%12.4g%14.4g%14.4g%s%s", w->lambda, times, w->residual, share,
                own ? "  as chosen" : "");
        snprintf(panels[k].label, sizeof panels[k].label, "%.4g (x %.4g)", w->lambda,
                 times);
        panels[k].framed = own;
    }
    tr_info("without --lambda-times it would be %.4g",
            f->weights[0].lambda / tr_trial_value(f->spec, 0));
    tr_info("choose by the sheet: --lambda-times FACTOR; too small a weight leaves noise "
            "in the specimen, too large a one takes its detail%s",
            f->sigma > 0.0 ? ", and a residual below the noise fits the noise as well"
                           : "");
    return TR_OK;
}

/* ---- the sheet ---- */

static void title_of(const tr_trial_findings *f, char *title, size_t size)
{
    const tr_trial_spec *spec = f->spec;
    size_t first = f->slab_first[TR_TRIAL_SLABS / 2];
    if (spec->what == TR_TRIAL_SAMPLES)
        snprintf(title, size, "sections x-z: means of %zu slices", f->slab_slices);
    else if (spec->what == TR_TRIAL_LAMBDA)
        snprintf(title, size, "lambda, and times what it would be: slices %zu-%zu", first,
                 first + f->slab_slices - 1);
    else if (f->layout->n_strips > 1)
        snprintf(title, size, "%s in %s: top middle and bottom slab",
                 tr_trial_name(spec->what), tr_trial_unit(spec->what));
    else
        snprintf(title, size, "%s in %s: slices %zu-%zu", tr_trial_name(spec->what),
                 tr_trial_unit(spec->what), first, first + f->slab_slices - 1);
}

static void label_panels(const tr_trial_findings *f, tr_trial_sheet_panel *panels)
{
    static const char *const slabs[] = {"top", "middle", "bottom"};
    for (size_t k = 0; k < f->layout->n_panels; k++) {
        tr_trial_sheet_panel *p = &panels[k];
        bool samples = f->spec->what == TR_TRIAL_SAMPLES;
        p->height = f->geometries[samples ? 0 : k].thickness;
        if (!samples) {
            snprintf(p->label, sizeof p->label, "%g", tr_trial_value(f->spec, k));
            continue;
        }
        TR_ASSERT(k < TR_TRIAL_SLABS);
        size_t first = f->slab_first[TR_TRIAL_SLABS - 1 - k];
        snprintf(p->label, sizeof p->label, "%s: slices %zu-%zu", slabs[k], first,
                 first + f->slab_slices - 1);
    }
}

tr_status tr_trial_say(const tr_trial_findings *f)
{
    tr_trial_sheet_panel *panels =
        tr_calloc("the contact sheet", f->layout->n_panels, sizeof *panels);
    if (!panels)
        return TR_ERR_MEMORY;
    char title[128];
    title_of(f, title, sizeof title);
    label_panels(f, panels);
    tr_status status =
        f->spec->what == TR_TRIAL_SAMPLES     ? tr_trial_say_samples(f, panels)
        : f->spec->what == TR_TRIAL_THICKNESS ? tr_trial_say_thickness(f, panels)
        : f->spec->what == TR_TRIAL_LAMBDA    ? say_lambda(f, panels)
        : f->spec->what == TR_TRIAL_Z_SHIFT   ? tr_trial_say_z_shift(f, panels)
                                              : say_sweep(f, panels);
    if (status == TR_OK)
        status = tr_trial_sheet_write(f->layout, panels, f->pixels, title, f->path);
    free(panels);
    return status;
}
