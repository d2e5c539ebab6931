/* Who holds which rows, and what that takes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/algorithms/filter_design.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/partition.h"
#include "common/geometry/warp.h"
#include "tiltrecz/volume.h"

static const size_t FIXED = (size_t)64 << 20;         /* libraries, stacks, tables */
static const size_t DEVICE_FIXED = (size_t)320 << 20; /* of a filter, sums, tables */

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

tr_ray tr_volume_ray(const tr_job *job, size_t view, size_t slice, long row)
{
    double m[6];
    if (job->transforms)
        tr_transform_inverse(&job->transforms[view], job->geometry.n_u, job->geometry.n_v,
                             m);
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
        double u = corner & 1 ? (double)g->n_u : -1.0;
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
    for (size_t view = 0; view < g->n_views; view++) {
        tr_ray ray = tr_volume_ray(job, view, p->first, 0);
        for (int corner = 0; corner < 8; corner++) {
            double v = ray.v0 + (corner & 1 ? ray.vx * x1 : 0.0) +
                       (corner & 2 ? ray.vy * ((double)p->rows - 1.0) : 0.0) +
                       (corner & 4 ? ray.vz * z1 : 0.0);
            widen(&seen, v);
        }
        if (g->outer)
            add_outside(job, p, &ray, &seen);
    }
    /* Beyond the image one row says all there is to say; the edge before it is always
     * there, because filtered projections repeat it. */
    double low = fmin(fmax(floor(seen.low) - 1.0, -2.0), (double)g->n_v - 1.0);
    double high = fmax(fmin(floor(seen.high) + 2.0, (double)g->n_v + 1.0), 0.0);
    p->window_first = (long)low;
    p->window_rows = (size_t)(high - low) + 1;
}

static size_t up(size_t n) { return (n + TR_LANES - 1) / TR_LANES * TR_LANES; }

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

static void share(const tr_job *job, tr_volume_plan *p)
{
    const tr_geometry *g = &job->geometry;
    p->coupled = !tr_geometry_frame_independent(g) || job->transforms;
    p->pitched = g->pitch != 0.0 && !p->coupled;
    p->planes = g->thickness;
    /* Independent slices can be left out; coupled ones are all needed. */
    p->all_first = p->coupled ? 0 : job->first_slice;
    p->all_rows = p->coupled ? g->n_v : job->output_spec.n_slices;
    if (p->pitched)
        find_frame(job, p);
    tr_volume_share(p, job->comm, job->comm->rank, &p->first, &p->rows);
    p->lanes = up(p->rows);
    p->window_first = (long)p->first;
    p->window_rows = p->rows;
    if (p->coupled)
        find_window(job, p);
    p->window_lanes = p->coupled ? up(p->window_rows) : p->lanes;
}

typedef struct vector_counts {
    size_t volumes, projections, volume_bytes, projection_bytes, rest;
} vector_counts;

/* Vectors are in the device's memory; what exceeds it, in the host's. `bytes` so far is
 * all of it. */
static tr_status count_device(const tr_job *job, tr_volume_plan *p,
                              const vector_counts *n)
{
    size_t vectors = p->bytes - n->rest, available;
    TR_TRY(job->backend->available(job->device, &available));
    p->device_bytes = vectors + tr_volume_operator_bytes(job, p) + DEVICE_FIXED;
    p->excess = p->device_bytes > available ? p->device_bytes - available : 0;
    /* The projections are read into host memory first. */
    p->bytes = n->rest + n->projection_bytes + p->excess;
    return TR_OK;
}

/* Slices on their way to or from a file. */
static size_t group_bytes(const tr_job *job, const tr_volume_plan *p)
{
    const tr_geometry *g = &job->geometry;
    return p->pitched ? tr_pitched_bytes(job, p)
                      : 2 * TR_LANES * g->width * g->thickness * sizeof(float);
}

size_t tr_volume_operator_bytes(const tr_job *job, const tr_volume_plan *p)
{
    const tr_geometry *g = &job->geometry;
    size_t row = (g->width + 2 * g->outer) * p->planes *
                 sizeof(float); /* a neighbour's, and its copy */
    if (!p->coupled)
        return 2 * row;
    size_t view = (g->n_u + TR_GUARDS) * p->window_lanes * sizeof(float);
    size_t volume = p->lanes * row; /* ones, while the sums are made */
    return 2 * row + volume + (g->n_views + 4) * view;
}

static tr_status count_bytes(const tr_job *job, tr_volume_plan *p, vector_counts *n)
{
    const tr_geometry *g = &job->geometry;
    size_t line = p->lanes * sizeof(float), volumes = 0, projections = 0, total = 0;
    tr_algorithm_workspace(job->algorithm, job->params, &n->volumes, &n->projections);
    n->volumes += 1;     /* x */
    n->projections += 1; /* b */
    if (p->coupled) {    /* weights are as large as what they weigh */
        n->volumes += n->volumes > 1;
        n->projections += n->projections > 1;
    }
    TR_TRY(tr_size_product("the volume", &n->volume_bytes, 3,
                           (size_t[]){p->planes, g->width + 2 * g->outer, line}));
    TR_TRY(tr_size_product("the projections", &n->projection_bytes, 3,
                           (size_t[]){g->n_views, g->n_u + TR_GUARDS, line}));
    TR_TRY(tr_size_product("the volumes", &volumes, 2,
                           (size_t[]){n->volumes, n->volume_bytes}));
    TR_TRY(tr_size_product("the projections", &projections, 2,
                           (size_t[]){n->projections, n->projection_bytes}));
    n->rest = FIXED + tr_volume_operator_bytes(job, p) + group_bytes(job, p) +
              tr_output_bytes(&job->output_spec, TR_LANES) +
              tr_series_read_bytes(job->series, p->rows) +
              (n->volume_bytes + n->projection_bytes) / (p->lanes ? p->lanes : 1) * 2 +
              (size_t)job->threads * tr_fbp_length(g->n_u) * TR_LANES * 2 * sizeof(float);
    if (__builtin_add_overflow(volumes, projections, &total) ||
        __builtin_add_overflow(total, n->rest, &p->bytes))
        return tr_fail(TR_ERR_MEMORY, "the volume is too large to be counted in bytes");
    return job->backend->own_memory ? count_device(job, p, n) : TR_OK;
}

/* How many processes, or which binning, would do. */
static tr_status refuse(const tr_job *job, const tr_volume_plan *p,
                        const vector_counts *n)
{
    const double mib = 1.0 / (1 << 20);
    double shared = (double)p->bytes - (double)n->rest;
    double room = (double)job->memory - (double)n->rest;
    double times = room > 0.0 ? ceil(shared / room) : 0.0;
    long bin = job->options->bin;
    while (bin < 32 &&
           (double)p->bytes / pow((double)bin / (double)job->options->bin, 3.0) >
               (double)job->memory)
        bin++;
    if (times > 0.0 && times * (double)job->comm->size <= (double)p->all_rows / 2.0)
        return tr_fail(
            TR_ERR_MEMORY,
            "%s needs %.0f MiB per process and %.0f MiB are allowed; start at "
            "least %.0f processes with that much each (mpiexec -n), or use --bin "
            "%ld",
            job->algorithm->name, (double)p->bytes * mib, (double)job->memory * mib,
            times * (double)job->comm->size, bin);
    return tr_fail(
        TR_ERR_MEMORY,
        "%s needs %.0f MiB per process and %.0f MiB are allowed; allow more with "
        "--memory, or use --bin %ld",
        job->algorithm->name, (double)p->bytes * mib, (double)job->memory * mib, bin);
}

static void print_memory(const tr_job *job, const tr_volume_plan *p,
                         const vector_counts *n)
{
    const double mib = 1.0 / (1 << 20);
    char vectors[160];
    snprintf(vectors, sizeof vectors, "%zu volumes %.0f, %zu sets of projections %.0f",
             n->volumes, (double)n->volumes * (double)n->volume_bytes * mib,
             n->projections, (double)n->projections * (double)n->projection_bytes * mib);
    if (!job->backend->own_memory) {
        tr_info(
            "plan: memory %.0f MiB of %.0f MiB allowed per process: %s, the rest %.0f",
            (double)p->bytes * mib, (double)job->memory * mib, vectors,
            (double)n->rest * mib);
        return;
    }
    tr_info("plan: GPU memory %.0f MiB: %s; %s", (double)p->device_bytes * mib, vectors,
            p->excess ? "unified memory, because the GPU has less free"
                      : "ordinary allocations");
    tr_info("plan: memory %.0f MiB of %.0f MiB allowed per process%s",
            (double)p->bytes * mib, (double)job->memory * mib,
            p->excess ? ", with what the GPU does not hold" : "");
}

tr_status tr_volume_plan_make(const tr_job *job, void **plan)
{
    tr_volume_plan p = {0};
    vector_counts n;
    share(job, &p);
    if (!p.rows)
        return tr_fail(TR_ERR_USAGE,
                       "%d processes for %zu %s, which are shared out in pairs: start "
                       "at most %zu with mpiexec -n",
                       job->comm->size, p.all_rows, p.pitched ? "rows" : "slices",
                       (p.all_rows + 1) / 2);
    TR_TRY(count_bytes(job, &p, &n));
    if (p.bytes > job->memory)
        return refuse(job, &p, &n);
    tr_info("plan: %zu %s of %zu x %zu voxels on %d process%s, %zu on rank 0%s",
            p.all_rows, p.pitched ? "pitched rows" : "slices", job->geometry.width,
            p.planes, job->comm->size, job->comm->size == 1 ? "" : "es", p.rows,
            p.coupled   ? "; rays cross slices, rows are exchanged"
            : p.pitched ? "; slices are interpolated from them at the end"
                        : "");
    print_memory(job, &p, &n);
    tr_volume_plan *copy = malloc(sizeof *copy);
    if (!copy)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for a plan");
    *copy = p;
    *plan = copy;
    return TR_OK;
}
