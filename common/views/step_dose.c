/* Dose weighting: what the exposure has left of each frequency (common/views/dose.h). The
 * weights have no zeros and change slowly, so they spread little. */
#include <math.h>

#include "common/views/dose.h"
#include "common/views/radial_table.h"
#include "common/views/view_step.h"

static bool wanted(const tr_view_params *params, const tr_view_facts *view)
{
    return params->dose && !params->model &&
           (!view || tr_dose_counted(params, view->view) > 0.0);
}

static size_t padding(const tr_view_params *params, const tr_view_facts *view)
{
    (void)params, (void)view;
    return 32;
}

/* Weights at so many places from 0 to the corner of the spectrum, linear between: next to
 * 0, where the curve bends most, the error is below 1e-6. */
enum { PLACES = 16384 };

static void spectrum(const tr_view_params *params, const tr_view_facts *view, size_t nx,
                     size_t ny, float (*values)[2])
{
    double table[PLACES + 2], counted = tr_dose_counted(params, view->view);
    double corner = sqrt(0.5) / view->pixel, step = corner / PLACES;
    for (size_t i = 0; i < PLACES + 2; i++)
        table[i] = tr_dose_weight(params, counted, (double)i * step);
    size_t line = nx / 2 + 1;
    double x_step = 1.0 / ((double)nx * view->pixel * step);
    double y_step = 1.0 / ((double)ny * view->pixel * step);
    for (size_t ky = 0; ky < ny; ky++) {
        double y = y_step * (ky <= ny / 2 ? (double)ky : (double)(ny - ky));
        for (size_t kx = 0; kx < line; kx++) {
            double x = x_step * (double)kx, at = sqrt(x * x + y * y);
            double weight = tr_table_at(table, tr_place_of(at, PLACES));
            values[ky * line + kx][0] *= (float)weight;
            values[ky * line + kx][1] *= (float)weight;
        }
    }
}

const tr_view_step tr_step_dose = {
    .name = "dose", .wanted = wanted, .spectrum = spectrum, .padding = padding};
