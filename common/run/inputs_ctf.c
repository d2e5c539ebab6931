/* The CTF of the views, from --ctf and the options of optics. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/log.h"
#include "common/base/median.h"
#include "common/base/mem.h"
#include "common/run/inputs.h"
#include "formats/ctf_file.h"

/* On their own they would do nothing, which --for has said where it found no CTF. */
static tr_status check_without(const tr_inputs *in, const tr_command *c)
{
    static const char *const about[] = {"ctf-mode",     "cs",        "amplitude-contrast",
                                        "ctf-again",    "voltage",   "ctf-band",
                                        "defocus-hand", "check-hand"};
    for (size_t k = 0; k < sizeof about / sizeof *about && !in->purpose.missed; k++)
        if (tr_option_given(&c->line, about[k]) &&
            !(c->options.dose && strcmp(about[k], "voltage") == 0))
            return tr_fail(TR_ERR_USAGE,
                           "--%s is about the correction of the CTF; give the CTF of the "
                           "views with --ctf FILE",
                           about[k]);
    return TR_OK;
}

/* Its weights would be in the noise, which ADMM takes to be white. */
static tr_status check_wiener(const tr_command *c)
{
    if (c->options.views.ctf_mode != TR_CTF_WIENER)
        return TR_OK;
    if (tr_algorithm_option(c->algorithm, c->params, TR_LAMBDA_TIMES))
        return tr_fail(TR_ERR_USAGE,
                       "--ctf-mode wiener changes the noise to what %s does not expect; "
                       "use --ctf-mode flip with it",
                       c->algorithm->name);
    return TR_OK;
}

static tr_status check_options(const tr_inputs *in, const tr_command *c)
{
    const tr_image_info *info = tr_image_get_info(in->image);
    if (!c->options.ctf)
        return check_without(in, c);
    if (info->ctf_corrected && !c->options.ctf_again)
        return tr_fail(
            TR_ERR_USAGE,
            "%s is CTF-corrected already, as its header says; leave out --ctf, "
            "or give --ctf-again, too, if that is wrong",
            in->series_path);
    TR_TRY(check_wiener(c));
    return tr_inputs_need_pixel(in, c, "--ctf");
}

/* ---- what all views share ---- */

typedef struct optical {
    const char *option, *name;
    double said; /* by the file; NaN: not */
    double low, high;
    double *value; /* by the option, if that is given */
} optical;

static tr_status check_optical(const char *path, const optical *o, bool given)
{
    if (given) {
        if (isfinite(o->said) && fabs(o->said - *o->value) > 1e-3 * fabs(*o->value))
            tr_warn("%s has the %s %g; --%s %g is taken", path, o->name, o->said,
                    o->option, *o->value);
        return TR_OK;
    }
    if (!(o->said >= o->low && o->said <= o->high))
        return tr_fail(TR_ERR_DATA, "%s: the %s cannot be %g; give it with --%s", path,
                       o->name, o->said, o->option);
    *o->value = o->said;
    return TR_OK;
}

static tr_status take_optics(const char *path, const tr_optics *said, tr_command *c)
{
    tr_view_params *v = &c->options.views;
    const optical optics[] = {
        {"voltage", "voltage in kilovolts", said->voltage, 20.0, 3000.0, &v->voltage},
        {"cs", "spherical aberration in millimetres", said->cs, 0.0, 20.0, &v->cs},
        {"amplitude-contrast", "amplitude contrast", said->amplitude, 0.0, 1.0,
         &v->amplitude}};
    char missing[256] = "";
    for (size_t k = 0, used = 0; k < sizeof optics / sizeof *optics; k++) {
        bool given = tr_option_given(&c->line, optics[k].option);
        if (!given && isnan(optics[k].said))
            used += (size_t)snprintf(missing + used, sizeof missing - used, "%s--%s",
                                     used ? ", " : "", optics[k].option);
        else
            TR_TRY(check_optical(path, &optics[k], given));
    }
    if (*missing)
        return tr_fail(TR_ERR_USAGE,
                       "%s does not say all that the CTF depends on; give %s of the "
                       "microscope (wrong values are worse than no correction)",
                       path, missing);
    return TR_OK;
}

/* ---- views ---- */

static bool is_astigmatic(const tr_ctf *ctf) { return ctf->defocus_1 != ctf->defocus_2; }

/* The axis in the raw image is that of the aligned one after its transform. */
static void turn_axis(const tr_transform *t, tr_ctf *ctf)
{
    double c = cos(ctf->axis * TR_RADIANS), s = sin(ctf->axis * TR_RADIANS);
    ctf->axis = atan2(t->a21 * c + t->a22 * s, t->a11 * c + t->a12 * s) * TR_DEGREES;
}

/* The axis before this transform, of one that is after it. */
static void turn_axis_back(const tr_transform *t, tr_ctf *ctf)
{
    const tr_transform back = {
        .a11 = t->a22, .a12 = -t->a12, .a21 = -t->a21, .a22 = t->a11};
    turn_axis(&back, ctf);
}

/* CTF is measured in the raw images. The correction is before the transform of those that
 * are aligned while they are read: also where --transforms aligns what is named as
 * aligned already, be it raw or prealigned, and the whole alignment is known. */
static tr_status turn_axes(tr_inputs *in, const tr_command *c)
{
    bool astigmatic = false;
    tr_alignment a = {.n_views = 0};
    const char *path;
    for (size_t k = 0; k < in->views.n; k++)
        astigmatic = astigmatic || is_astigmatic(&in->views.view[k].ctf);
    if (!in->aligned || !astigmatic)
        return TR_OK;
    if (in->angles.transforms)
        path = in->tilts_path;
    else
        TR_TRY(tr_inputs_known_alignment(in, c, &a, &path));
    const tr_alignment *known = in->angles.transforms ? &in->angles : &a;
    for (size_t k = 0; k < in->views.n && known->transforms; k++) {
        tr_view *view = &in->views.view[k];
        turn_axis(&known->transforms[view->section], &view->ctf);
        if (in->views.has_transforms)
            turn_axis_back(&view->transform, &view->ctf);
    }
    if (known->transforms && in->views.has_transforms)
        tr_info("the astigmatism of %s is that of raw images: it is turned with %s, and "
                "back with %s",
                c->options.ctf, path, c->options.transforms);
    else if (known->transforms)
        tr_info("the astigmatism of %s is that of raw images: it is turned with %s, by "
                "%.1f degrees",
                c->options.ctf, path, -known->rotation);
    else
        tr_warn(
            "%s is aligned, and %s has astigmatism with an axis: it is taken as it is, "
            "which is right only if the CTF was measured in the aligned images; to "
            "have it turned, put the alignment (.xf, .aln) beside the series",
            in->series_path, c->options.ctf);
    tr_alignment_free(&a);
    return TR_OK;
}

static tr_status take_views(const tr_ctf_table *table, const char *path, tr_inputs *in)
{
    size_t interpolated = 0;
    for (size_t k = 0; k < in->views.n; k++) {
        tr_view *view = &in->views.view[k];
        view->ctf = table->view[view->section];
        if (isnan(view->ctf.defocus_1))
            return tr_fail(TR_ERR_DATA,
                           "%s has no CTF of view %zu; leave the view out with --exclude "
                           "%zu",
                           path, view->section + 1, view->section + 1);
        interpolated += !table->given[view->section];
    }
    if (interpolated)
        tr_info("%s has no entry of %zu of the views: they get what lies between others",
                path, interpolated);
    return TR_OK;
}

static double mean_defocus(const tr_ctf *ctf)
{
    return 0.5 * (ctf->defocus_1 + ctf->defocus_2);
}

/* By itself, or beside those of the other views: off by half of theirs, and 0.5
 * micrometres. */
static bool is_odd(const tr_ctf *ctf, double median)
{
    double mean = mean_defocus(ctf), size = fabs(mean), off = fabs(mean - median);
    return size < 1000.0 || size > 2e5 ||
           fabs(ctf->defocus_1 - ctf->defocus_2) > size || /* or of both signs */
           (off > 5000.0 && off > 0.5 * fabs(median));
}

/* What the units, or fits of single views that have failed, may be to blame for. */
static tr_status doubt(const tr_inputs *in, const char *path, double low, double high)
{
    size_t n = in->views.n, odd = 0, first = 0;
    double *means = tr_calloc("the defoci of views", n, sizeof *means);
    if (!means)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < n; k++)
        means[k] = mean_defocus(&in->views.view[k].ctf);
    double median = tr_median(means, n);
    free(means);
    for (size_t k = 0; k < n; k++)
        if (is_odd(&in->views.view[k].ctf, median) && odd++ == 0)
            first = k;
    const tr_view *view = &in->views.view[first];
    if (odd == n)
        tr_warn(
            "%s: a defocus of %g to %g micrometres is unusual; are its units what they "
            "should be?",
            path, 1e-4 * low, 1e-4 * high);
    else if (odd)
        tr_warn("%s: the defoci of %zu of %zu views are unusual, such as %g and %g "
                "micrometres of view %zu, where half of them have less than %g; have "
                "their fits failed?",
                path, odd, n, 1e-4 * view->ctf.defocus_1, 1e-4 * view->ctf.defocus_2,
                view->section + 1, 1e-4 * median);
    return TR_OK;
}

static tr_status say(const tr_inputs *in, const tr_command *c)
{
    const tr_view_params *v = &c->options.views;
    static const char *const ways[] = {[TR_CTF_FLIP] = "phases flipped",
                                       [TR_CTF_MULTIPLY] = "multiplied by it",
                                       [TR_CTF_WIENER] = "Wiener filter",
                                       [TR_CTF_MODEL] = "part of the projection"};
    double low = INFINITY, high = -INFINITY;
    for (size_t k = 0; k < in->views.n; k++) {
        const tr_ctf *ctf = &in->views.view[k].ctf;
        low = fmin(low, fmin(ctf->defocus_1, ctf->defocus_2));
        high = fmax(high, fmax(ctf->defocus_1, ctf->defocus_2));
        tr_verbose("view %zu: defocus %.0f and %.0f angstroms, axis %.1f, phase %.1f "
                   "degrees",
                   in->views.view[k].section + 1, ctf->defocus_1, ctf->defocus_2,
                   ctf->axis, ctf->phase);
    }
    tr_info("CTF by %s, %s: defocus %.2f to %.2f micrometres, %g kilovolts, Cs %g mm, "
            "amplitude contrast %g",
            c->options.ctf, ways[v->ctf_mode], 1e-4 * low, 1e-4 * high, v->voltage, v->cs,
            v->amplitude);
    return doubt(in, c->options.ctf, low, high);
}

/* The sign that the file has, unless another is given. */
static void take_hand(const tr_ctf_table *table, const char *path, const tr_command *c,
                      tr_view_params *v)
{
    /* With --hand -1 its angles are the right way round by now. */
    bool inverted = table->inverted && !c->options.hand;
    double said = inverted ? -1.0 : 1.0;
    v->hand = v->defocus_hand == TR_HAND_FILE    ? said
              : v->defocus_hand == TR_HAND_MINUS ? -1.0
                                                 : 1.0;
    if (inverted && v->hand > 0.0)
        tr_warn("%s says that its tilt angles are inverted, which is --defocus-hand -1; "
                "+1 is taken",
                path);
}

/* From 0.01, where bands are too many, to 10, which is hardly a correction. */
static tr_status take_band(const tr_options *o, double *phase)
{
    *phase = 0.0;
    if (strcmp(o->ctf_band, "off") == 0)
        return TR_OK;
    if (tr_parse_real(o->ctf_band, strlen(o->ctf_band), phase) && *phase >= 0.01 &&
        *phase <= 10.0)
        return TR_OK;
    return tr_fail(TR_ERR_USAGE,
                   "--ctf-band %s: a phase from 0.01 to 10 radians, or off, is needed",
                   o->ctf_band);
}

tr_status tr_inputs_read_ctf(tr_inputs *in, tr_command *c)
{
    const char *path = c->options.ctf;
    const tr_ctf_series series = {.path = in->series_path,
                                  .name = in->lead.name,
                                  .nz = tr_image_get_info(in->image)->nz,
                                  .tilt = in->tilts,
                                  .pixel = in->pixel};
    tr_ctf_table table;
    TR_TRY(check_options(in, c));
    if (!path)
        return TR_OK;
    TR_TRY(tr_ctf_read(path, &series, &table));
    tr_status status = take_views(&table, path, in);
    if (status == TR_OK)
        status = take_optics(path, &table.optics, c);
    if (status == TR_OK)
        status = take_band(&c->options, &c->options.views.ctf_band);
    take_hand(&table, path, c, &c->options.views);
    tr_ctf_table_free(&table);
    TR_TRY(status);
    c->options.views.ctf = true;
    TR_TRY(turn_axes(in, c));
    return say(in, c);
}
