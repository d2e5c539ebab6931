/* Binning: the transform's way back takes the low frequencies only
 * (kernels/fourier_crop.h). */
#include "common/views/view_step.h"

static bool wanted(const tr_view_params *params, const tr_view_facts *view)
{
    (void)view;
    return params->bin > 1;
}

static size_t factor(const tr_view_params *params) { return (size_t)params->bin; }

const tr_view_step tr_step_fourier_crop = {
    .name = "Fourier crop", .wanted = wanted, .factor = factor};
