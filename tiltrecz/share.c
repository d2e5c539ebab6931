/* Who holds which rows, and which image rows its rays touch. */
#include <math.h>

#include "common/base/mem.h"
#include "common/base/partition.h"
#include "common/geometry/local.h"
#include "common/geometry/warp.h"
#include "tiltrecz/volume.h"

void tr_volume_share(const tr_volume_plan *plan, const tr_comm *comm, int rank,
                     size_t *first, size_t *rows)
{
    size_t pair, pairs;
    tr_partition((plan->all_rows + 1) / 2, (size_t)comm->size, (size_t)rank, &pair,
                 &pairs);
    size_t end = 2 * (pair + pairs);
    end = end < plan->all_rows ? end : plan->all_rows;
    *first = plan->all_first + 2 * pair;
    *rows = end > 2 * pair ? end - 2 * pair : 0;
}

/* A ray for slice and image row 0 as one for these. */
static tr_ray moved(tr_ray ray, size_t slice, long row)
{
    ray.u0 += ray.uy * (double)slice;
    ray.v0 += ray.vy * (double)slice - (double)row;
    return ray;
}

tr_ray tr_volume_ray(const tr_job *job, size_t view, size_t slice, long row)
{
    if (view >= job->geometry.n_views)
        return moved(job->second->rays[view - job->geometry.n_views], slice, row);
    if (job->rays)
        return moved(job->rays[view], slice, row);
    double m[6];
    if (job->transforms)
        tr_transform_inverse(&job->views->view[view].transform, job->geometry.n_u,
                             job->geometry.n_v, job->geometry.n_u, job->geometry.n_v, m);
    return tr_geometry_direct_ray(&job->geometry, view, job->transforms ? m : NULL,
                                  (double)slice, (double)row);
}

/* A range of image rows. */
typedef struct row_span {
    double low, high;
} row_span;

static void widen(row_span *s, double v)
{
    s->low = fmin(s->low, v);
    s->high = fmax(s->high, v);
}

/* The image rows where a view sees what lies outside the field: its rows go on from edge
 * to edge of the image, unless they run more along the image's columns. */
static void add_outside(const tr_job *job, const tr_volume_plan *p, const tr_ray *ray,
                        row_span *s)
{
    const tr_geometry *g = &job->geometry;
    if (fabs(ray->ux) < fabs(ray->vx)) {
        widen(s, -INFINITY);
        widen(s, INFINITY);
        return;
    }
    double slope = ray->vx / ray->ux;
    for (int corner = 0; corner < 8; corner++) {
        double u = corner & 1 ? (double)(g->n_u + p->beside) : -1.0 - (double)p->beside;
        double r = corner & 2 ? (double)p->rows - 1.0 : 0.0;
        double z = corner & 4 ? (double)g->thickness - 1.0 : 0.0;
        widen(s, ray->v0 + slope * (u - ray->u0) + (ray->vy - ray->uy * slope) * r +
                     (ray->vz - ray->uz * slope) * z);
    }
}

/* The image rows that all rays of a process's slices touch: the corners tell. */
static void find_window(const tr_job *job, tr_volume_plan *p)
{
    const tr_geometry *g = &job->geometry;
    row_span seen = {INFINITY, -INFINITY};
    double x1 = (double)g->width - 1.0, z1 = (double)g->thickness - 1.0;
    for (size_t view = 0; view < tr_volume_views(job); view++) {
        tr_ray ray = tr_volume_ray(job, view, p->first, 0);
        for (int corner = 0; corner < 8; corner++) {
            double v = ray.v0 + (corner & 1 ? ray.vx * x1 : 0.0) +
                       (corner & 2 ? ray.vy * ((double)p->rows - 1.0) : 0.0) +
                       (corner & 4 ? ray.vz * z1 : 0.0);
            widen(&seen, v);
        }
        if (g->local) {
            double low, high;
            tr_geometry_rows_seen(g, view, (double)p->first, p->rows ? p->rows : 1, &low,
                                  &high);
            widen(&seen, low);
            widen(&seen, high);
        }
        if (g->outer)
            add_outside(job, p, &ray, &seen);
    }
    /* All rows beyond the image are equal, so one of them is enough; the edge row is
     * always in the window, because filtered projections repeat it. */
    double low = fmin(fmax(floor(seen.low) - 1.0, -2.0), (double)g->n_v - 1.0);
    double high = fmax(fmin(floor(seen.high) + 2.0, (double)g->n_v + 1.0), 0.0);
    p->window_first = (long)low;
    p->window_rows = (size_t)(high - low) + 1;
}

static size_t up(size_t n) { return tr_round_up(n, TR_LANES); }

/* The rows y' that the output is made from, and the planes z' of all slices, so that a
 * row's result does not depend on which of them are wanted. Rows outside the image would
 * repeat the one at its edge: that stands for them when the output is written. */
static void find_frame(const tr_job *job, tr_volume_plan *p)
{
    const tr_geometry *g = &job->geometry;
    size_t slice = job->first_slice, end_slice = slice + job->output_spec.n_slices;
    tr_frame_box all = tr_geometry_box(g, 0, g->n_v, 0, g->thickness);
    tr_frame_box box = tr_geometry_box(g, slice, end_slice, 0, g->thickness);
    long n_v = (long)g->n_v, first = box.row, end = first + (long)box.rows;
    first = first < 0 ? 0 : first < n_v ? first : n_v - 1;
    end = end < first + 1 ? first + 1 : end < n_v ? end : n_v;
    p->all_first = (size_t)first;
    p->all_rows = (size_t)(end - first);
    p->z0 = all.z0;
    p->planes = all.planes;
}

/* Whether any ray given leaves its row. */
static bool rays_couple(const tr_job *job)
{
    for (size_t view = 0; view < job->geometry.n_views; view++)
        if (tr_kind_of_ray(&job->rays[view]) != TR_RAYS_OWN_ROW)
            return true;
    return false;
}

void tr_volume_plan_rows(const tr_job *job, tr_volume_plan *p)
{
    const tr_geometry *g = &job->geometry;
    p->coupled = job->rays ? rays_couple(job)
                           : !tr_geometry_frame_independent(g) || job->transforms ||
                                 tr_job_crosses(job, g);
    p->pitched = g->pitch != 0.0 && !p->coupled && !job->rays;
    p->planes = g->thickness;
    /* Independent slices can be left out; coupled ones are all needed. */
    bool all = p->coupled || job->second || (job->options && job->options->views.model);
    p->all_first = all ? 0 : job->first_slice;
    p->all_rows = all ? g->n_v : job->output_spec.n_slices;
    if (p->pitched)
        find_frame(job, p);
    if (p->pitched && all) {
        p->all_first = 0;
        p->all_rows = g->n_v;
    }
    tr_volume_share(p, job->comm, job->comm->rank, &p->first, &p->rows);
    p->lanes = up(p->rows);
    p->window_first = (long)p->first;
    p->window_rows = p->rows;
    if (p->coupled)
        find_window(job, p);
    p->window_lanes = p->coupled ? up(p->window_rows) : p->lanes;
}
