/* Correction of the contrast transfer (ctf.h), one defocus a view: the sign where it is
 * below 0, or times the CTF. */
#include <math.h>

#include "common/base/angle.h"
#include "common/views/ctf.h"
#include "common/views/view_step.h"

enum { BESIDE = 32 }; /* pixels of padding in which edges fall to their mean */

static bool wanted(const tr_view_params *params, const tr_view_facts *view)
{
    (void)view;
    return params->ctf;
}

static tr_optics optics_of(const tr_view_params *params)
{
    return (tr_optics){params->voltage, params->cs, params->amplitude};
}

/* Twice as far as the CTF reaches at the highest frequency of the file. */
static size_t padding(const tr_view_params *params, const tr_view_facts *view)
{
    const tr_optics optics = optics_of(params);
    double reach = tr_ctf_reach(&view->view->ctf, &optics, 0.5 / view->pixel);
    return (size_t)ceil(2.0 * reach / view->pixel) + BESIDE;
}

static double factor(int mode, double half_turns)
{
    double whole = floor(half_turns);
    if (mode == TR_CTF_MULTIPLY)
        return sin(TR_PI * half_turns);
    return whole == 2.0 * floor(0.5 * whole) ? 1.0 : -1.0;
}

static void spectrum(const tr_view_params *params, const tr_view_facts *view, size_t nx,
                     size_t ny, float (*spectrum)[2])
{
    const tr_optics optics = optics_of(params);
    const tr_ctf_phase phase = tr_ctf_phase_of(&view->view->ctf, &optics);
    double step_x = 1.0 / ((double)nx * view->pixel);
    double step_y = 1.0 / ((double)ny * view->pixel);
    for (size_t ky = 0; ky < ny; ky++) {
        double fy = step_y * (ky > ny / 2 ? (double)ky - (double)ny : (double)ky);
        float(*line)[2] = spectrum + ky * (nx / 2 + 1);
        for (size_t kx = 0; kx <= nx / 2; kx++) {
            double turns = tr_ctf_half_turns(&phase, step_x * (double)kx, fy);
            float by = (float)factor(params->ctf_mode, turns);
            line[kx][0] *= by;
            line[kx][1] *= by;
        }
    }
}

const tr_view_step tr_step_ctf = {
    .name = "CTF", .wanted = wanted, .spectrum = spectrum, .padding = padding};
