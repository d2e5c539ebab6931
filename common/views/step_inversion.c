/* The contrast the other way round. */
#include "common/views/view_step.h"

static bool wanted(const tr_view_params *params, const tr_view_facts *view)
{
    (void)view;
    return params->invert;
}

static void pixels(const tr_view_params *params, const tr_view_facts *view,
                   const tr_pixels *p)
{
    (void)params, (void)view;
    for (size_t i = 0; i < p->n; i++)
        p->value[i] = -p->value[i];
}

const tr_view_step tr_step_inversion = {
    .name = "inversion", .wanted = wanted, .pixels = pixels, .keeps_mean = true};
