#include "common/views/dose.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/median.h"
#include "common/base/mem.h"

/* ---- the curves ---- */

double tr_critical_dose(double k) { return 0.24499 * pow(k, -1.6649) + 2.8141; }

double tr_critical_dose_scale(double kv)
{
    if (kv >= 300.0)
        return 1.0;
    if (kv >= 200.0)
        return 0.8 + 0.2 * (kv - 200.0) / 100.0;
    return 0.45 + 0.35 * (fmax(kv, 120.0) - 120.0) / 80.0;
}

double tr_dose_counted(const tr_view_params *params, const tr_view *view)
{
    return params->dose_model == TR_DOSE_GG ? view->prior_exposure + view->exposure
                                            : view->prior_exposure;
}

double tr_dose_weight(const tr_view_params *params, double counted, double k)
{
    if (k <= 0.0)
        return 1.0;
    if (params->dose_model == TR_DOSE_BFACTOR)
        return exp(-0.25 * params->dose_bfactor * counted * k * k);
    double critical = tr_critical_dose_scale(params->voltage) * tr_critical_dose(k);
    return exp(-0.5 * counted / critical);
}

void tr_dose_model_name(const tr_view_params *params, char *text, size_t size)
{
    if (params->dose_model == TR_DOSE_GG)
        snprintf(text, size, "Grant and Grigorieff, %g kV", params->voltage);
    else
        snprintf(text, size, "B-factor of %g A^2 per e/A^2", params->dose_bfactor);
}

/* ---- the order ---- */

/* Of few views: by insertion. */
size_t tr_order_by(const double *value, size_t n, size_t *order)
{
    size_t known = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(value[i]))
            continue;
        size_t at = known++;
        for (; at > 0 && value[order[at - 1]] > value[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return known;
}

tr_status tr_order_symmetric(const double *tilt, size_t n, double start, long group,
                             size_t *order)
{
    size_t *sorted = tr_calloc("the order of views", n, sizeof *sorted);
    if (!sorted)
        return TR_ERR_MEMORY;
    tr_order_by(tilt, n, sorted);
    size_t first = 0, taken = 0, in_group = 0, most = (size_t)labs(group);
    for (size_t i = 1; i < n; i++)
        if (fabs(tilt[sorted[i]] - start) < fabs(tilt[sorted[first]] - start))
            first = i;
    size_t up = first + 1, down = first; /* the next ones: up, and down - 1 */
    bool upwards = group > 0;
    order[taken++] = sorted[first];
    while (taken < n) {
        bool possible = upwards ? up < n : down > 0;
        if (in_group == most || !possible) {
            upwards = !upwards;
            in_group = 0;
            continue;
        }
        order[taken++] = sorted[upwards ? up++ : --down];
        in_group++;
    }
    free(sorted);
    return TR_OK;
}

void tr_order_bidirectional(size_t n, long first, size_t *order)
{
    size_t middle = (size_t)labs(first), taken = 0;
    for (int half = 0; half < 2; half++)
        if ((half == 0) == (first > 0))
            for (size_t k = middle; k > 0; k--)
                order[taken++] = k - 1;
        else
            for (size_t k = middle; k < n; k++)
                order[taken++] = k;
}

void tr_priors_in_order(const double *exposure, const size_t *order, size_t n,
                        double *prior)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        prior[order[i]] = sum;
        sum += exposure[order[i]];
    }
}

/* The median of the differences between values in this order; 0 for one value. Views that
 * are gone only lengthen a step, so that of two the shorter is that of a view. */
static tr_status usual_step(const double *value, const size_t *order, size_t n,
                            double *step)
{
    *step = 0.0;
    if (n < 2)
        return TR_OK;
    double *steps = tr_calloc("exposures", n - 1, sizeof *steps);
    if (!steps)
        return TR_ERR_MEMORY;
    for (size_t i = 0; i + 1 < n; i++)
        steps[i] = value[order[i + 1]] - value[order[i]];
    *step = tr_median_low(steps, n - 1);
    free(steps);
    return TR_OK;
}

tr_status tr_exposures_of_priors(const double *prior, size_t n, double *exposure)
{
    double last = 0.0;
    size_t *order = tr_calloc("the order of views", n, sizeof *order);
    if (!order)
        return TR_ERR_MEMORY;
    tr_order_by(prior, n, order);
    tr_status status = usual_step(prior, order, n, &last);
    for (size_t i = 0; status == TR_OK && i < n; i++)
        exposure[order[i]] = i + 1 < n ? prior[order[i + 1]] - prior[order[i]] : last;
    free(order);
    return status;
}

/* The value at an end is the sum up to there. */
static void split_at_ends(const double *dose, const size_t *order, size_t n,
                          double *prior, double *exposure)
{
    double before = 0.0;
    for (size_t i = 0; i < n; i++) {
        prior[order[i]] = before;
        exposure[order[i]] = dose[order[i]] - before;
        before = dose[order[i]];
    }
}

tr_status tr_split_accumulated(const double *dose, size_t n, double *prior,
                               double *exposure, const char **where)
{
    double step;
    size_t *order = tr_calloc("the order of views", n, sizeof *order);
    if (!order)
        return TR_ERR_MEMORY;
    tr_order_by(dose, n, order);
    tr_status status = usual_step(dose, order, n, &step);
    double least = dose[order[0]];
    *where = "beginning";
    if (status == TR_OK && least >= 0.75 * step && least < 1.5 * step) {
        *where = "end";
        split_at_ends(dose, order, n, prior, exposure);
    } else if (status == TR_OK && least >= 0.25 * step && least < 0.75 * step) {
        *where = "middle";
        for (size_t k = 0; k < n; k++) {
            prior[k] = dose[k] - 0.5 * step;
            exposure[k] = step;
        }
    } else if (status == TR_OK) {
        for (size_t k = 0; k < n; k++)
            prior[k] = dose[k];
        status = tr_exposures_of_priors(prior, n, exposure);
    }
    free(order);
    return status;
}

tr_status tr_order_is_usual(const double *tilt, const size_t *order, size_t n,
                            bool *usual)
{
    size_t *sorted = tr_calloc("the order of views", 2 * n, sizeof *sorted);
    *usual = true;
    if (!sorted)
        return TR_ERR_MEMORY;
    size_t *rank = sorted + n; /* equal angles have the same */
    tr_order_by(tilt, n, sorted);
    for (size_t i = 0; i < n; i++) {
        bool equal = i > 0 && tilt[sorted[i]] == tilt[sorted[i - 1]];
        size_t before = i > 0 ? rank[sorted[i - 1]] : 0;
        rank[sorted[i]] = equal || i == 0 ? before : before + 1;
    }
    size_t low = rank[order[0]], high = low;
    for (size_t i = 1; i < n; i++) {
        size_t now = rank[order[i]];
        *usual = *usual && now + 1 >= low && now <= high + 1;
        low = now < low ? now : low;
        high = now > high ? now : high;
    }
    free(sorted);
    return TR_OK;
}
