/* Pixels that are NaN or infinite become the mean of their view. */
#include <math.h>

#include "common/views/view_step.h"

static bool wanted(const tr_view_params *params, const tr_view_facts *view)
{
    (void)params;
    return !view || view->bad > 0.0;
}

static void pixels(const tr_view_params *params, const tr_view_facts *view,
                   const tr_pixels *p)
{
    (void)params;
    for (size_t i = 0; i < p->n; i++)
        p->value[i] = isfinite(p->value[i]) ? p->value[i] : view->mean;
}

const tr_view_step tr_step_repair = {
    .name = "repair", .wanted = wanted, .pixels = pixels, .keeps_mean = true};
