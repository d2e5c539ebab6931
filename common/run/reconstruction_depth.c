/* How many bands of depth the CTF of each view is corrected in. */
#include <math.h>
#include <stdlib.h>

#include "common/base/angle.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/reconstruction.h"
#include "common/views/ctf.h"

static double voxel(const tr_reconstruction *r)
{
    return r->inputs->pixel * (double)r->command->options.views.bin;
}

double tr_reconstruction_per_depth(const tr_reconstruction *r)
{
    return r->command->options.views.hand * voxel(r);
}

/* Voxels of depth that change the phase by this, pi lambda f^2 depth, at the highest
 * frequency of a voxel. */
static double depth_of(const tr_reconstruction *r, double phase)
{
    double lambda = tr_electron_wavelength(r->command->options.views.voltage);
    double highest = 0.5 / voxel(r);
    return phase / (TR_PI * lambda * highest * highest) / voxel(r);
}

/* Why views have one image each whatever their depth, or NULL: what projects the tomogram
 * again would have to know of the bands as well, and so would kernels for any rays. */
static const char *obstacle(const tr_reconstruction *r)
{
    const tr_algorithm *a = r->command->algorithm;
    if (!(a->needs & TR_USES_FILTER) || a->applications)
        return "this algorithm projects, and has one image of a view";
    if (tr_geometry_is_direct(&r->job.geometry))
        return "with a local alignment or z-factors views have one image";
    if (r->command->method->whole_volume &&
        !tr_geometry_rows_independent(&r->job.geometry))
        return "with a pitch or x-tilts only the slice program knows bands of depth";
    return NULL;
}

/* The largest depth of what one image stands for otherwise. */
static double deepest(const tr_depth_bands *bands, size_t n)
{
    double most = 0.0;
    for (size_t k = 0; k < n; k++) {
        double half = 0.5 * bands[k].step, count = (double)bands[k].n;
        double low = bands[k].first - half;
        most = fmax(most, fmax(-low, low + count * bands[k].step));
    }
    return most;
}

static void say_bands(const tr_reconstruction *r, const tr_depth_bands *bands)
{
    size_t fewest = bands[0].n, most = 0, all = 0, n = r->views.n;
    double nm = 0.1 * voxel(r), thickest = 0.0;
    for (size_t k = 0; k < n; k++) {
        fewest = bands[k].n < fewest ? bands[k].n : fewest;
        most = bands[k].n > most ? bands[k].n : most;
        all += bands[k].n;
        thickest = fmax(thickest, bands[k].n > 1 ? bands[k].step : 0.0);
        tr_verbose(
            "view %zu: %zu bands of depth, %.1f nm each, defocus %+.1f to %+.1f nm",
            r->views.view[k].section + 1, bands[k].n, nm * bands[k].step,
            nm * r->command->options.views.hand * bands[k].first,
            nm * r->command->options.views.hand *
                (bands[k].first + (double)(bands[k].n - 1) * bands[k].step));
    }
    tr_info(
        "CTF: %zu to %zu bands of depth a view, up to %.1f nm each, so that the phase "
        "is off by %g radians at most at %.2f angstroms; hand %+g; %zu images of %zu "
        "views",
        fewest, most, nm * thickest, r->command->options.views.ctf_band, 2.0 * voxel(r),
        r->command->options.views.hand, all, n);
}

/* What one defocus a view is worth. */
static void say_one(const tr_reconstruction *r, const tr_depth_bands *bands,
                    const char *why)
{
    double most = deepest(bands, r->views.n), radian = depth_of(r, 1.0);
    tr_info(
        "CTF: one defocus for all of a view: %s; up to %.0f nm of depth, %.2g radians "
        "at %.2f angstroms, are not corrected",
        why, 0.1 * voxel(r) * most, most / radian, 2.0 * voxel(r));
}

tr_status tr_reconstruction_bands(const tr_reconstruction *r, tr_depth_bands **bands)
{
    const tr_view_params *v = &r->command->options.views;
    const tr_geometry *g = &r->job.geometry;
    bool silent = r->half != NULL;
    *bands = NULL;
    if (!v->ctf || v->ctf_band == 0.0)
        return TR_OK;
    tr_depth_bands *all = tr_calloc("the bands of views", g->n_views, sizeof *all);
    if (!all)
        return TR_ERR_MEMORY;
    bool needed = tr_bands_choose(g, depth_of(r, v->ctf_band), all);
    const char *why = obstacle(r);
    if (needed && !why) {
        *bands = all;
        if (!silent)
            say_bands(r, all);
        return TR_OK;
    }
    if (needed && !silent)
        say_one(r, all, why);
    if (!needed && !silent)
        tr_info("CTF: one defocus for all of a view will do: no voxel is so deep that "
                "the phase is off by %g radians at %.2f angstroms",
                v->ctf_band, 2.0 * voxel(r));
    free(all);
    return TR_OK;
}
