#include "common/geometry/bands.h"

#include <math.h>

tr_depth tr_geometry_depth(const tr_geometry *g, size_t view, double row, double z0)
{
    /* In the frame: z'' = y' sin d + z' cos d, d being the x-tilt beyond the pitch. */
    double t = g->tilt[view], xtilt = g->xtilt ? g->xtilt[view] : 0.0;
    double dy = sin(xtilt) * cos(t), dz = cos(xtilt) * cos(t);
    return (tr_depth){.d0 = -sin(t) * g->axis_x + dy * (row - g->centre_v) + dz * z0,
                      .dx = sin(t),
                      .dy = dy,
                      .dz = dz};
}

/* Of n pixels whose centre of rotation is at `centre` the range of factor times that. */
static void add_range(double factor, double n, double centre, double *low, double *high)
{
    double from = factor * (-0.5 - centre), to = factor * (n - 0.5 - centre);
    *low += fmin(from, to);
    *high += fmax(from, to);
}

/* All that the volume has, to the edges of its voxels. */
static void find_range(const tr_geometry *g, size_t view, double *low, double *high)
{
    double t = g->tilt[view], a = g->pitch + (g->xtilt ? g->xtilt[view] : 0.0);
    *low = *high = 0.0;
    add_range(sin(t), (double)g->width, g->axis_x, low, high);
    add_range(sin(a) * cos(t), (double)g->n_v, g->centre_v, low, high);
    add_range(cos(a) * cos(t), (double)g->thickness, g->axis_z, low, high);
}

bool tr_bands_choose(const tr_geometry *g, double off, tr_depth_bands *bands)
{
    bool any = false;
    for (size_t k = 0; k < g->n_views; k++) {
        double low, high;
        find_range(g, k, &low, &high);
        bands[k] = (tr_depth_bands){.n = 1, .step = 2.0 * off};
        if (fmax(-low, high) <= off)
            continue;
        double n = ceil((high - low) / (2.0 * off) - 1e-9);
        bands[k].n = n > 1.0 ? (size_t)n : 1;
        bands[k].step = (high - low) / (double)bands[k].n;
        bands[k].first = low + 0.5 * bands[k].step;
        any = true;
    }
    return any;
}

static double rounded(double value) { return ldexp(rint(ldexp(value, 37)), -37); }

void tr_bands_of_slab(const tr_geometry *g, const tr_depth_bands *bands, long row,
                      double z0, tr_band *to)
{
    size_t images = 0;
    for (size_t k = 0; k < g->n_views; k++) {
        const tr_depth d = tr_geometry_depth(g, k, (double)row, z0);
        double step = bands[k].step;
        to[k] = (tr_band){.b0 = rounded((d.d0 - bands[k].first) / step + 0.5),
                          .bx = rounded(d.dx / step),
                          .by = rounded(d.dy / step),
                          .bz = rounded(d.dz / step),
                          .first = images,
                          .n = bands[k].n};
        images += bands[k].n;
    }
}
