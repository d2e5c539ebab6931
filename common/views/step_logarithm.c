/* From transmitted intensity to density: -ln(value + base), the pixels that are too small
 * for it raised to a thousandth of their view's mean. */
#include <float.h>
#include <math.h>

#include "common/views/view_step.h"

double tr_log_floor(const tr_view_params *params, double view_mean)
{
    double mean = view_mean + params->log_base;
    return mean > 0.0 ? 1e-3 * mean : DBL_MIN;
}

static bool wanted(const tr_view_params *params, const tr_view_facts *view)
{
    (void)view;
    return params->log;
}

static void pixels(const tr_view_params *params, const tr_view_facts *view,
                   const tr_pixels *p)
{
    double floor = tr_log_floor(params, view->mean);
    for (size_t i = 0; i < p->n; i++)
        p->value[i] = -log(fmax(p->value[i] + params->log_base, floor));
}

const tr_view_step tr_step_logarithm = {
    .name = "logarithm", .wanted = wanted, .pixels = pixels};
