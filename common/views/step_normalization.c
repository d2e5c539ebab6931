/* Views of one level, or of one contrast: by the mean and the standard deviation of what
 * the steps before have made of them. */
#include "common/views/view_step.h"

static bool wanted(const tr_view_params *params, const tr_view_facts *view)
{
    (void)view;
    return params->normalize != TR_NORMALIZE_NONE;
}

static void pixels(const tr_view_params *params, const tr_view_facts *view,
                   const tr_pixels *p)
{
    double divisor = 1.0;
    if (params->normalize == TR_NORMALIZE_MEAN_STD)
        divisor = view->deviation;
    else if (params->normalize == TR_NORMALIZE_CONTRAST)
        divisor = view->level;
    for (size_t i = 0; i < p->n; i++)
        p->value[i] = (p->value[i] - view->level) / divisor;
}

const tr_view_step tr_step_normalization = {
    .name = "normalization", .wanted = wanted, .pixels = pixels, .keeps_mean = true};
