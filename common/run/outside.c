#include "common/run/outside.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "kernels/outer_body.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/geometry/warp.h"

static const double ISOLATED = 0.25; /* edges below this: nothing goes on */
static const double STEEPEST = 80.0 * TR_RADIANS;
enum { MOST_CELLS = 64 };

/* How far beyond the width a view's rays are seen from, in planes 0 .. last. */
static double beyond_rows(const tr_geometry *g, const tr_ray *ray, double last)
{
    double beyond = 0.0;
    for (int end = 0; end < 2; end++) {
        double u = ray->u0 + ray->uz * (end ? last : 0.0);
        double left = (-1.0 - u) / ray->ux;
        double right = ((double)g->n_u - u) / ray->ux;
        beyond = fmax(beyond, fmax(-0.5 - left, right - (double)g->width + 0.5));
    }
    return beyond;
}

/* The same of rays that leave their row: x of the image's corners. */
static double beyond_coupled(const tr_geometry *g, const tr_ray *ray)
{
    double beyond = 0.0, det = ray->ux * ray->vy - ray->uy * ray->vx;
    for (int corner = 0; corner < 8; corner++) {
        double z = corner & 4 ? (double)g->thickness - 1.0 : 0.0;
        double u = (corner & 1 ? (double)g->n_u : -1.0) - ray->u0 - ray->uz * z;
        double v = (corner & 2 ? (double)g->n_v : -1.0) - ray->v0 - ray->vz * z;
        double x = (ray->vy * u - ray->uy * v) / det;
        beyond = fmax(beyond, fmax(-0.5 - x, x - (double)g->width + 0.5));
    }
    return beyond;
}

tr_status tr_outside_cells(const tr_job *job, const tr_geometry *g, bool whole_volume,
                           size_t *cells)
{
    bool coupled = whole_volume && (!tr_geometry_frame_independent(g) ||
                                    job->transforms || tr_job_crosses(job, g));
    tr_ray *rays = tr_calloc("rays", g->n_views, sizeof *rays);
    if (!rays)
        return TR_ERR_MEMORY;
    double beyond = 0.0, last = (double)tr_geometry_planes(g, g->n_v) - 1.0;
    tr_geometry_rays(g, 0, g->n_v, rays);
    for (size_t v = 0; v < g->n_views; v++) {
        double m[6];
        if (coupled && job->transforms)
            tr_transform_inverse(&job->views->view[v].transform, g->n_u, g->n_v, g->n_u,
                                 g->n_v, m);
        if (coupled)
            rays[v] = tr_geometry_direct_ray(g, v, job->transforms ? m : NULL, 0.0, 0.0);
        beyond = fmax(beyond, coupled ? beyond_coupled(g, &rays[v])
                                      : beyond_rows(g, &rays[v], last));
    }
    for (size_t v = 0; job->second && !job->second->across && v < job->second->n_views;
         v++)
        beyond = fmax(beyond, beyond_coupled(g, &job->second->rays[v]));
    free(rays);
    *cells = 0;
    while (beyond > 0.0 && *cells < MOST_CELLS && tr_outer_edge((int)*cells) < beyond)
        ++*cells;
    return TR_OK;
}

/* Whether rays of some view run nearly along the rows. */
static bool is_too_steep(const tr_geometry *g)
{
    for (size_t v = 0; v < g->n_views; v++)
        if (!(fabs(g->tilt[v]) <= STEEPEST))
            return true;
    return false;
}

tr_status tr_outside_decide(tr_job *job, tr_outside_choice choice, bool whole_volume)
{
    bool too_steep = is_too_steep(&job->geometry);
    bool goes_on = job->noise.edges >= ISOLATED;
    job->outside =
        choice == TR_OUTSIDE_CONTINUE || (choice == TR_OUTSIDE_AUTO && goes_on);
    if (job->outside && too_steep && choice == TR_OUTSIDE_CONTINUE)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "--outside continue is not possible here, because tilts go beyond "
                       "80 degrees, where rays run along what lies outside; use "
                       "--outside zero");
    if (job->outside && too_steep) {
        tr_warn("the specimen seems to go on beyond the field, but because tilts go "
                "beyond 80 degrees, nothing is taken to be there: densities near the "
                "edges will be too high");
        job->outside = false;
    }
    return job->outside
               ? tr_outside_cells(job, &job->geometry, whole_volume, &job->geometry.outer)
               : TR_OK;
}

void tr_outside_print(const tr_job *job)
{
    const tr_noise *n = &job->noise;
    size_t cells = job->geometry.outer;
    tr_info("noise: %.4g a pixel, %.2f of the views' deviation; edges: %.2f as strong as "
            "all, so the specimen %s",
            n->sigma, n->deviation > 0.0 ? n->sigma / n->deviation : 0.0, n->edges,
            n->sigma >= 0.99 * n->deviation ? "cannot be told from noise"
            : n->edges < ISOLATED           ? "is isolated"
                                            : "goes on beyond the field");
    if (cells)
        tr_info(
            "outside the field: %zu cells 4 to %.0f pixels wide on each side of a row",
            cells, tr_outer_edge((int)cells) - tr_outer_edge((int)cells - 1));
    else
        tr_info("outside the field: %s",
                job->outside ? "nothing to cover, for no ray leaves the width" : "zero");
}

void tr_outside_repeat(size_t planes, size_t width, size_t cells, size_t rows,
                       float *lines)
{
    float *cell = lines + planes * width * rows;
    for (size_t z = 0; z < planes; z++)
        for (size_t k = 0; k < 2 * cells; k++, cell += rows) {
            size_t line = z * width + (k < cells ? 0 : width - 1);
            memcpy(cell, lines + line * rows, rows * sizeof *cell);
        }
}
