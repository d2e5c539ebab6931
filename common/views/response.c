#include "common/views/response.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/views/ctf.h"
#include "common/views/dose.h"
#include "common/views/view_step.h"

extern const tr_view_step tr_step_ctf, tr_step_dose;

bool tr_view_responds(const tr_view_params *params)
{
    return params->ctf || params->dose;
}

tr_status tr_view_response(const tr_view_params *params, const tr_view *view,
                           double pixel, size_t nx, size_t ny, float *response)
{
    tr_view_params as = *params;
    const tr_view_step *const steps[] = {&tr_step_ctf, &tr_step_dose};
    const tr_view_facts facts = {.view = view, .pixel = pixel};
    size_t half = nx / 2 + 1, line = ny / 2 + 1;
    float(*spectrum)[2] =
        tr_calloc("the response of a view", half * ny, sizeof *spectrum);
    if (!spectrum)
        return TR_ERR_MEMORY;
    as.ctf_mode = TR_CTF_MULTIPLY;
    as.model = false;
    for (size_t i = 0; i < half * ny; i++)
        spectrum[i][0] = 1.0f;
    for (size_t k = 0; k < 2; k++)
        if (steps[k]->wanted(&as, &facts))
            steps[k]->spectrum(&as, &facts, nx, ny, spectrum);
    /* The steps halve the other axis: where kx is negative, that of -kx, -ky. */
    for (size_t kx = 0; kx < nx; kx++)
        for (size_t ky = 0; ky < line; ky++) {
            bool there = kx < half;
            size_t x = there ? kx : nx - kx, y = there ? ky : (ny - ky) % ny;
            response[kx * line + ky] = spectrum[y * half + x][0];
        }
    free(spectrum);
    return TR_OK;
}

size_t tr_view_spread(const tr_view_params *params, const tr_view *view, double pixel)
{
    const tr_optics optics = {params->voltage, params->cs, params->amplitude};
    double reach = params->dose ? 16.0 : 0.0;
    if (params->ctf)
        reach = fmax(reach, tr_ctf_reach(&view->ctf, &optics, 0.5 / pixel) / pixel);
    return (size_t)ceil(reach);
}
