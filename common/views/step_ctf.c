/* Correction of the contrast transfer (ctf.h) at one depth: the sign where it is
 * below 0, times the CTF, or a Wiener filter (wiener.h), of which the weights of exposure
 * are a step of their own. */
#include <math.h>

#include "common/base/angle.h"
#include "common/views/ctf.h"
#include "common/views/dose.h"
#include "common/views/radial_table.h"
#include "common/views/view_step.h"
#include "common/views/wiener.h"

enum { BESIDE = 32 }; /* pixels of padding in which edges fall to their mean */

static bool wanted(const tr_view_params *params, const tr_view_facts *view)
{
    (void)view;
    return params->ctf && !params->model;
}

static tr_optics optics_of(const tr_view_params *params)
{
    return (tr_optics){params->voltage, params->cs, params->amplitude};
}

static tr_ctf ctf_of(const tr_view_facts *view)
{
    tr_ctf ctf = view->view->ctf;
    ctf.defocus_1 += view->depth;
    ctf.defocus_2 += view->depth;
    return ctf;
}

/* Twice as far as the CTF reaches at the highest frequency of the file. */
static size_t padding(const tr_view_params *params, const tr_view_facts *view)
{
    const tr_optics optics = optics_of(params);
    tr_ctf ctf = view->view->ctf;
    ctf.defocus_1 = fabs(ctf.defocus_1) + view->deepest;
    ctf.defocus_2 = fabs(ctf.defocus_2) + view->deepest;
    double reach = tr_ctf_reach(&ctf, &optics, 0.5 / view->pixel);
    return (size_t)ceil(2.0 * reach / view->pixel) + BESIDE;
}

/* What the Wiener filter CTF / (CTF^2 w^2 + s) depends on besides the CTF, at so many
 * frequencies from 0 to the corner of the spectrum, linear between. */
enum { PLACES = 8192 };
typedef struct wiener_table {
    double weight2[PLACES + 2], ratio[PLACES + 2]; /* w^2, s */
    double per_k;                                  /* places for a cycle per pixel */
} wiener_table;

static void fill_table(const tr_view_params *params, const tr_view_facts *view,
                       wiener_table *t)
{
    const tr_wiener *w = view->wiener;
    double counted = params->dose ? tr_dose_counted(params, view->view) : 0.0;
    t->per_k = PLACES / sqrt(0.5);
    for (size_t i = 0; i < PLACES + 2; i++) {
        double k = (double)i / t->per_k, f = k / view->pixel;
        double weight =
            w->measured && counted > 0.0 ? tr_dose_weight(params, counted, f) : 1.0;
        t->weight2[i] = weight * weight;
        t->ratio[i] =
            w->measured ? tr_wiener_ratio(w, view->noise, k) : 1.0 / tr_warp_ratio(f);
    }
}

static double wiener(const wiener_table *t, double k, double ctf)
{
    tr_place at = tr_place_of(k * t->per_k, PLACES);
    return ctf / (ctf * ctf * tr_table_at(t->weight2, at) + tr_table_at(t->ratio, at));
}

static double factor(int mode, double half_turns, double k, const wiener_table *table)
{
    double whole = floor(half_turns);
    if (mode == TR_CTF_FLIP)
        return whole == 2.0 * floor(0.5 * whole) ? 1.0 : -1.0;
    double ctf = sin(TR_PI * half_turns);
    return mode == TR_CTF_WIENER ? wiener(table, k, ctf) : ctf;
}

static void spectrum(const tr_view_params *params, const tr_view_facts *view, size_t nx,
                     size_t ny, float (*spectrum)[2])
{
    const tr_optics optics = optics_of(params);
    const tr_ctf ctf = ctf_of(view);
    const tr_ctf_phase phase = tr_ctf_phase_of(&ctf, &optics);
    wiener_table table;
    if (params->ctf_mode == TR_CTF_WIENER)
        fill_table(params, view, &table);
    for (size_t ky = 0; ky < ny; ky++) {
        double y = (ky > ny / 2 ? (double)ky - (double)ny : (double)ky) / (double)ny;
        float(*line)[2] = spectrum + ky * (nx / 2 + 1);
        for (size_t kx = 0; kx <= nx / 2; kx++) {
            double x = (double)kx / (double)nx;
            double turns = tr_ctf_half_turns(&phase, x / view->pixel, y / view->pixel);
            float by =
                (float)factor(params->ctf_mode, turns, sqrt(x * x + y * y), &table);
            line[kx][0] *= by;
            line[kx][1] *= by;
        }
    }
}

const tr_view_step tr_step_ctf = {
    .name = "CTF", .wanted = wanted, .spectrum = spectrum, .padding = padding};
