#include "common/run/outside.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/outer_body.h"
#include "common/base/log.h"
#include "common/base/mem.h"

static const double ISOLATED = 0.25; /* edges below this: nothing goes on */
static const double STEEPEST = 80.0 * 3.14159265358979323846 / 180.0;
enum { MOST_CELLS = 64 };

tr_status tr_outside_cells(const tr_geometry *g, size_t *cells)
{
    tr_ray *rays = tr_calloc("rays", g->n_views, sizeof *rays);
    if (!rays)
        return TR_ERR_MEMORY;
    double beyond = 0.0, planes = (double)tr_geometry_planes(g, g->n_v);
    tr_geometry_rays(g, 0, g->n_v, rays);
    for (size_t v = 0; v < g->n_views; v++)
        for (int end = 0; end < 2; end++) {
            double u = rays[v].u0 + rays[v].uz * (end ? planes - 1.0 : 0.0);
            double left = (-1.0 - u) / rays[v].ux;
            double right = ((double)g->n_u - u) / rays[v].ux;
            beyond = fmax(beyond, fmax(-0.5 - left, right - (double)g->width + 0.5));
        }
    free(rays);
    *cells = 0;
    while (beyond > 0.0 && *cells < MOST_CELLS && tr_outer_edge((int)*cells) < beyond)
        ++*cells;
    return TR_OK;
}

/* Why the cells cannot be used, or NULL. */
static const char *obstacle(const tr_job *job)
{
    const tr_geometry *g = &job->geometry;
    if (g->xtilt)
        return "views have x-tilts of their own";
    if (job->transforms)
        return "the views' transforms turn the rays";
    for (size_t v = 0; v < g->n_views; v++)
        if (!(fabs(g->tilt[v]) <= STEEPEST))
            return "tilts go beyond 80 degrees";
    return NULL;
}

tr_status tr_outside_decide(tr_job *job, tr_outside_choice choice)
{
    const char *why_not = obstacle(job);
    bool goes_on = job->noise.edges >= ISOLATED;
    job->outside =
        choice == TR_OUTSIDE_CONTINUE || (choice == TR_OUTSIDE_AUTO && goes_on);
    if (job->outside && why_not && choice == TR_OUTSIDE_CONTINUE)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "--outside continue is not possible here, because %s; use "
                       "--outside zero",
                       why_not);
    if (job->outside && why_not) {
        tr_warn("the specimen seems to go on beyond the field, but because %s, nothing "
                "is taken to be there: densities near the edges will be too high",
                why_not);
        job->outside = false;
    }
    return job->outside ? tr_outside_cells(&job->geometry, &job->geometry.outer) : TR_OK;
}

void tr_outside_print(const tr_job *job)
{
    const tr_noise *n = &job->noise;
    size_t cells = job->geometry.outer;
    tr_info("noise: %.4g a pixel, %.2f of the views' deviation; edges: %.2f as strong as "
            "all, so the specimen %s",
            n->sigma, n->deviation > 0.0 ? n->sigma / n->deviation : 0.0, n->edges,
            n->edges < ISOLATED ? "is isolated" : "goes on beyond the field");
    if (cells)
        tr_info(
            "outside the field: %zu cells 4 to %.0f pixels wide on each side of a row",
            cells, tr_outer_edge((int)cells) - tr_outer_edge((int)cells - 1));
    else
        tr_info("outside the field: zero");
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
