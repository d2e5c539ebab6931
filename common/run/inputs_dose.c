/* The exposures of --dose, of all views of the file, and before each. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/dose_sources.h"
#include "common/run/inputs.h"
#include "common/views/dose.h"

/* More than any specimen takes. */
static const double MOST_EXPOSURE = 300.0;

/* ---- the order that is asked for ---- */

static tr_status bad_order(const char *text)
{
    return tr_fail(TR_ERR_USAGE,
                   "--dose-order %s: must be file, symmetric, symmetric:START,GROUP "
                   "(degrees, a number of views), or bidirectional:N (a view)",
                   text);
}

static tr_status take_symmetric(const tr_doses *d, const char *text, const char *rest,
                                size_t *order)
{
    double start = 0.0, group = 1.0;
    if (*rest == ':') {
        const char *comma = strchr(++rest, ',');
        size_t length = comma ? (size_t)(comma - rest) : strlen(rest);
        if (!tr_parse_real(rest, length, &start) ||
            (comma && !tr_parse_real(comma + 1, strlen(comma + 1), &group)))
            return bad_order(text);
    } else if (*rest) {
        return bad_order(text);
    }
    if (group != floor(group) || group == 0.0 || fabs(group) > 1000.0)
        return bad_order(text);
    for (size_t k = 0; k < d->n; k++)
        if (isnan(d->tilt[k]))
            return tr_fail(TR_ERR_USAGE,
                           "--dose-order symmetric needs the angles of all views, also "
                           "of those that are left out, and view %zu has none; give a "
                           "file of exposures with --dose",
                           k + 1);
    return tr_order_symmetric(d->tilt, d->n, start, (long)group, order);
}

static tr_status take_order(const tr_doses *d, const char *text, size_t *order)
{
    static const char symmetric[] = "symmetric", two_ways[] = "bidirectional:";
    double first;
    if (strcmp(text, "file") == 0) {
        for (size_t k = 0; k < d->n; k++)
            order[k] = k;
        return TR_OK;
    }
    if (strncmp(text, symmetric, strlen(symmetric)) == 0)
        return take_symmetric(d, text, text + strlen(symmetric), order);
    if (strncmp(text, two_ways, strlen(two_ways)) != 0)
        return bad_order(text);
    text += strlen(two_ways);
    if (!tr_parse_real(text, strlen(text), &first) || first != floor(first))
        return bad_order(text - strlen(two_ways));
    if (first == 0.0 || !(fabs(first) < (double)d->n))
        return tr_fail(
            TR_ERR_USAGE,
            "--dose-order bidirectional:%g: the series has %zu views; N is one "
            "of them but the last, or its negative",
            first, d->n);
    tr_order_bidirectional(d->n, (long)first, order);
    return TR_OK;
}

/* ---- the order ---- */

static bool all_known(const double *values, size_t n)
{
    for (size_t k = 0; k < n; k++)
        if (isnan(values[k]))
            return false;
    return true;
}

static tr_status from_option(tr_doses *d, const char *text)
{
    size_t *order = tr_calloc("the order of views", 2 * d->n, sizeof *order);
    if (!order)
        return TR_ERR_MEMORY;
    size_t *known = order + d->n;
    tr_status status = take_order(d, text, order);
    if (status == TR_OK && all_known(d->key, d->n)) {
        tr_order_by(d->key, d->n, known);
        for (size_t i = 0; i < d->n; i++)
            if (known[i] != order[i]) {
                tr_warn("--dose-order %s is taken, but by %s of %s view %zu was taken as "
                        "number %zu, not view %zu",
                        text, d->by, d->order_path, known[i] + 1, i + 1, order[i] + 1);
                break;
            }
    }
    if (status == TR_OK)
        tr_priors_in_order(d->exposure, order, d->n, d->prior);
    d->by = "--dose-order";
    d->order_path = NULL;
    free(order);
    return status;
}

/* Nobody knows. */
static void from_file_order(tr_doses *d)
{
    double sum = 0.0;
    tr_warn("nothing says in which order the views were taken: exposures add up in the "
            "order of %s; give --dose-order, or a file of exposures before each view "
            "with --dose",
            d->series_path);
    for (size_t k = 0; k < d->n; k++) {
        d->prior[k] = sum;
        sum += d->exposure[k];
    }
    d->by = "the order of the series";
    d->order_path = NULL;
}

/* By the key of those that have an exposure. */
static tr_status from_key(tr_doses *d)
{
    size_t *order = tr_calloc("the order of views", d->n, sizeof *order);
    double *key = tr_calloc("exposures", d->n, sizeof *key);
    bool ready = order && key;
    for (size_t k = 0; ready && k < d->n; k++)
        key[k] = isnan(d->exposure[k]) ? NAN : d->key[k];
    if (ready)
        tr_priors_in_order(d->exposure, order, tr_order_by(key, d->n, order), d->prior);
    free(order);
    free(key);
    return ready ? TR_OK : TR_ERR_MEMORY;
}

/* The exposures are known, of all views; those before them not always. */
static tr_status settle_order(tr_doses *d, const char *asked)
{
    if (asked)
        return from_option(d, asked);
    bool complete = true, ordered = true;
    for (size_t k = 0; k < d->n; k++) {
        complete = complete && (isnan(d->exposure[k]) || !isnan(d->prior[k]));
        ordered = ordered && (isnan(d->exposure[k]) || !isnan(d->key[k]));
    }
    if (!complete && !ordered)
        from_file_order(d);
    return complete || !ordered ? TR_OK : from_key(d);
}

/* ---- what cannot be right ---- */

static void doubt_equal(const tr_doses *d, const size_t *order, size_t known)
{
    for (size_t i = 1; i < known; i++)
        if (d->prior[order[i]] - d->prior[order[i - 1]] < 1e-6) {
            tr_warn("views %zu and %zu have the same exposure before them, %g e/A^2, by "
                    "%s",
                    order[i - 1] + 1, order[i] + 1, d->prior[order[i]], d->by);
            return;
        }
}

/* Of the sections whose exposures are known, in their order. */
static tr_status doubt_order(const tr_doses *d, const size_t *order, size_t known)
{
    double *tilt = tr_calloc("angles", known, sizeof *tilt);
    size_t *same = tr_calloc("the order of views", known, sizeof *same), flat = order[0];
    bool usual = true, angles = known >= 3;
    tr_status status = tilt && same ? TR_OK : TR_ERR_MEMORY;
    for (size_t i = 0; status == TR_OK && i < known; i++) {
        tilt[i] = d->tilt[order[i]];
        same[i] = i;
        angles = angles && !isnan(tilt[i]);
        if (fabs(tilt[i]) < fabs(d->tilt[flat]))
            flat = order[i];
    }
    if (status == TR_OK && angles)
        status = tr_order_is_usual(tilt, same, known, &usual);
    if (status == TR_OK && !usual)
        tr_warn("the exposures would have the views taken in an order that is of no "
                "usual scheme, beginning with view %zu at %g degrees, while view %zu at "
                "%g has %g e/A^2 before it; are they those of this series, in its order?",
                order[0] + 1, d->tilt[order[0]], flat + 1, d->tilt[flat], d->prior[flat]);
    else if (status == TR_OK && angles &&
             fabs(d->tilt[order[0]]) > fabs(d->tilt[flat]) + 5.0)
        tr_info("the view with the least exposure is view %zu at %g degrees, not the "
                "flattest, view %zu, as where the tilt goes one way or begins elsewhere",
                order[0] + 1, d->tilt[order[0]], flat + 1);
    free(tilt);
    free(same);
    return status;
}

/* And number them. */
static tr_status doubt(tr_inputs *in, const tr_doses *d)
{
    size_t *order = tr_calloc("the order of views", d->n, sizeof *order);
    if (!order)
        return TR_ERR_MEMORY;
    tr_status status = TR_OK;
    size_t known = tr_order_by(d->prior, d->n, order);
    if (known > 0) {
        doubt_equal(d, order, known);
        status = doubt_order(d, order, known);
        size_t last = order[known - 1];
        in->dose.total = d->prior[last] + d->exposure[last];
        for (size_t i = 0; i < known; i++)
            for (size_t k = 0; k < in->views.n; k++)
                if (in->views.view[k].section == order[i])
                    in->views.view[k].acquired = i + 1;
    }
    if (in->dose.total > MOST_EXPOSURE)
        tr_warn("the exposures add up to %g e/A^2, more than a specimen takes: are they "
                "of views, in e/A^2?",
                in->dose.total);
    free(order);
    return status;
}

/* ---- all of it ---- */

static void settle_voltage(const tr_doses *d, tr_command *c)
{
    tr_view_params *p = &c->options.views;
    if (!p->dose || p->dose_model != TR_DOSE_GG || p->voltage > 0.0)
        return;
    p->voltage = d->voltage;
    if (p->voltage >= 20.0 && p->voltage <= 3000.0)
        return;
    p->voltage = 300.0;
    tr_info("no file says the voltage: dose weights are those of 300 kV; --voltage sets "
            "another");
}

static tr_status put_in_views(tr_inputs *in, const tr_doses *d)
{
    for (size_t k = 0; k < in->views.n; k++) {
        tr_view *view = &in->views.view[k];
        view->exposure = d->exposure[view->section];
        view->prior_exposure = d->prior[view->section];
        if (isnan(view->exposure + view->prior_exposure))
            return tr_fail(TR_ERR_DATA,
                           "%s says nothing of the exposure of view %zu; leave the view "
                           "out with --exclude, or give another file with --dose",
                           d->path, view->section + 1);
    }
    return TR_OK;
}

static void say(const tr_inputs *in, const tr_doses *d, const tr_command *c)
{
    char model[64];
    if (!c->options.views.dose) {
        tr_info("exposures, for the list of views alone: from %s, the order by %s; %.4g "
                "e/A^2 in all",
                d->path, d->by, in->dose.total);
        return;
    }
    tr_dose_model_name(&c->options.views, model, sizeof model);
    tr_info("dose weighting: %s; exposures %s%s, the order by %s; %.4g e/A^2 in all",
            model, d->path ? "from " : "as given", d->path ? d->path : "", d->by,
            in->dose.total);
    if (c->options.views.model)
        tr_info("the dose weights are a part of the projection");
    else if (tr_algorithm_iterations(c->algorithm, c->params))
        tr_info("dose weights change the views and not the model: %s takes what they "
                "damp for absent from the specimen; WBP does not mind",
                c->algorithm->name);
}

static tr_status settle(tr_inputs *in, tr_command *c, tr_doses *d)
{
    TR_TRY(tr_dose_sources_read(in, c, d));
    TR_TRY(settle_order(d, c->options.dose_order));
    for (size_t k = 0; k < d->n; k++)
        d->prior[k] += c->options.dose_initial;
    TR_TRY(put_in_views(in, d));
    TR_TRY(doubt(in, d));
    settle_voltage(d, c);
    in->dose.from = d->path;
    in->dose.order_from = d->order_path;
    in->dose.ordered_by = d->by;
    say(in, d, c);
    return TR_OK;
}

tr_status tr_inputs_take_doses(tr_inputs *in, tr_command *c)
{
    if (!c->options.dose)
        return TR_OK;
    if (c->options.views.dose)
        TR_TRY(tr_inputs_need_pixel(in, c, "--dose"));
    tr_doses d;
    TR_TRY(tr_doses_new(in, &d));
    tr_status status = settle(in, c, &d);
    tr_doses_free(&d);
    return status;
}
