#include "common/report/residual_of.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/angle.h"
#include "common/base/file_name.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/median.h"
#include "common/geometry/local.h"
#include "common/geometry/warp.h"
#include "common/run/paths.h"
#include "common/tomogram/tomogram.h"

enum { MARGIN = 2, MOST_ROWS = 64 };

/* Sums over the pixels of a view that count. */
typedef struct view_sums {
    double n, b, p, bb, pp, bp;
} view_sums;

typedef struct fit {
    double scale;
    double *offset;
} fit;

typedef struct comparison {
    tr_job *job;
    tr_tomogram volume;
    float background; /* its typical density */
    size_t rows;      /* of a block */
    bool *middle;     /* of each view, whether rays through the middle plane count */
    int scratch;      /* [view][row][b, p][column] */
    view_sums *sums;
    fit fit;
} comparison;

/* ---- rays ---- */

static tr_ray ray_of(const tr_job *job, size_t view, double slice, double row)
{
    double m[6];
    const tr_geometry *g = &job->geometry;
    if (job->transforms)
        tr_transform_inverse(&job->views->view[view].transform, g->n_u, g->n_v, g->n_u,
                             g->n_v, m);
    return tr_geometry_direct_ray(g, view, job->transforms ? m : NULL, slice, row);
}

/* Where the ray of pixel (u, v) is in plane iz, in voxels of the volume; false where it
 * lies along that plane. */
static bool meets(const tr_ray *ray, double u, double v, double iz, double *x, double *y)
{
    double det = ray->ux * ray->vy - ray->uy * ray->vx;
    double du = u - ray->u0 - ray->uz * iz, dv = v - ray->v0 - ray->vz * iz;
    *x = (du * ray->vy - dv * ray->uy) / det;
    *y = (dv * ray->ux - du * ray->vx) / det;
    return fabs(det) > 1e-6;
}

static bool is_inside(const tr_job *job, double x, double y)
{
    return x >= 0.0 && x <= (double)job->geometry.width - 1.0 && y >= 0.0 &&
           y <= (double)job->output_spec.n_slices - 1.0;
}

/* Whether the volume holds what this pixel sees. */
static bool counts(const tr_job *job, const tr_ray *ray, double u, double v, bool middle)
{
    double last = (double)job->geometry.thickness - 1.0, x, y;
    if (middle)
        return meets(ray, u, v, last / 2.0, &x, &y) && is_inside(job, x, y);
    return meets(ray, u, v, 0.0, &x, &y) && is_inside(job, x, y) &&
           meets(ray, u, v, last, &x, &y) && is_inside(job, x, y);
}

/* Few pixels count by the stricter rule where the volume is about as thick as wide. */
static void choose_rule(comparison *c)
{
    enum { STEP = 8 };
    const tr_geometry *g = &c->job->geometry;
    for (size_t view = 0; view < g->n_views; view++) {
        tr_ray ray = ray_of(c->job, view, (double)c->job->first_slice, 0.0);
        size_t all = 0, good = 0;
        for (size_t v = 0; v < g->n_v; v += STEP)
            for (size_t u = 0; u < g->n_u; u += STEP, all++)
                good += counts(c->job, &ray, (double)u, (double)v, false);
        c->middle[view] = 8 * good < all;
    }
}

/* ---- a block of image rows ---- */

typedef struct block {
    size_t row, rows, slice, slices; /* slices from the volume's first */
    size_t x_lanes, p_lanes;
} block;

/* The volume's slices that the rays of these rows cross. */
static block find_block(const comparison *c, size_t row)
{
    const tr_job *job = c->job;
    const tr_geometry *g = &job->geometry;
    double most = (double)job->output_spec.n_slices - 1.0, low = most, high = 0.0;
    double reach = g->local ? (double)tr_geometry_direct_reach(g) : 1.0;
    block b = {.row = row, .rows = g->n_v - row < c->rows ? g->n_v - row : c->rows};
    for (size_t view = 0; view < g->n_views; view++) {
        tr_ray ray = ray_of(job, view, (double)job->first_slice, 0.0);
        for (int corner = 0; corner < 8; corner++) {
            double x, y, z = corner & 1 ? (double)g->thickness - 1.0 : 0.0;
            double u = corner & 2 ? (double)g->n_u - 1.0 : 0.0;
            double v = (double)row - 1.0 + (corner & 4 ? (double)b.rows + 1.0 : 0.0);
            bool crosses = meets(&ray, u, v, z, &x, &y);
            low = fmin(low, crosses ? floor(y) - reach : 0.0);
            high = fmax(high, crosses ? ceil(y) + reach : most);
        }
    }
    low = fmax(fmin(low, most), 0.0);
    high = fmax(fmin(high, most), low);
    b.slice = (size_t)low;
    b.slices = (size_t)(high - low) + 1;
    b.x_lanes = tr_round_up(b.slices, TR_LANES);
    b.p_lanes = tr_round_up(b.rows + 2 * MARGIN, TR_LANES);
    return b;
}

static size_t block_bytes(const comparison *c, const block *b)
{
    const tr_geometry *g = &c->job->geometry;
    size_t lines = g->n_views * (g->n_u + TR_GUARDS);
    return sizeof(float) * (2 * g->thickness * g->width * b->x_lanes +
                            lines * (b->p_lanes + tr_round_up(b->rows, TR_LANES))) +
           tr_series_read_bytes(c->job->series, b->rows) +
           (g->local ? tr_local_grid_bytes(g, b->x_lanes + TR_LANES) : 0);
}

static tr_status choose_rows(comparison *c)
{
    size_t needed = 0;
    for (c->rows = MOST_ROWS; c->rows; c->rows /= 2) {
        block b = find_block(c, c->job->geometry.n_v / 2);
        needed = block_bytes(c, &b);
        if (needed <= c->job->memory)
            return TR_OK;
    }
    return tr_fail(TR_ERR_MEMORY,
                   "comparing the views with the volume takes %.0f MiB, and %.0f are "
                   "allowed; allow more with --memory",
                   tr_mib(needed), tr_mib(c->job->memory));
}

static tr_status read_slices(const comparison *c, const block *b, float *lines)
{
    size_t nx = c->job->geometry.width, nz = c->job->geometry.thickness;
    const tr_box box = {
        .first = {0, b->slice, 0}, .size = {nx, b->slices, nz}, .factor = {1, 1, 1}};
    float *part = tr_calloc("slices", nx * nz * b->slices, sizeof *part);
    if (!part)
        return TR_ERR_MEMORY;
    tr_status status = tr_tomogram_read(&c->volume, &box, 0, part);
    for (size_t z = 0; z < nz && status == TR_OK; z++)
        for (size_t y = 0; y < b->slices; y++)
            for (size_t x = 0; x < nx; x++)
                lines[(z * nx + x) * b->x_lanes + y] =
                    part[(z * b->slices + y) * nx + x] - c->background;
    free(part);
    return status;
}

static tr_status project(const comparison *c, const block *b, float *volume, float *p)
{
    const tr_geometry *g = &c->job->geometry;
    double slice = (double)(c->job->first_slice + b->slice);
    tr_ray *rays = tr_calloc("rays", g->n_views, sizeof *rays);
    float *grid = NULL;
    tr_offsets offsets = {.grid = NULL};
    tr_status status = rays ? TR_OK : TR_ERR_MEMORY;
    for (size_t view = 0; view < g->n_views && rays; view++)
        rays[view] = ray_of(c->job, view, slice, (double)b->row - MARGIN);
    if (status == TR_OK && g->local)
        status = tr_local_grid(g, slice, b->x_lanes + TR_LANES, &grid, &offsets);
    const tr_slab slab = {.n_views = g->n_views,
                          .n_u = g->n_u,
                          .n_x = g->width,
                          .n_z = g->thickness,
                          .rows = b->x_lanes,
                          .p_rows = b->p_lanes,
                          .rays = rays,
                          .offsets = g->local ? &offsets : NULL};
    if (status == TR_OK)
        status = tr_project_host(c->job->backend, c->job->device, &slab, volume, p);
    free(rays);
    free(grid);
    return status;
}

/* ---- both, to the scratch file, and their sums ---- */

static void add_pixels(const tr_job *job, const tr_ray *ray, size_t row, bool middle,
                       const float *line, view_sums *s)
{
    size_t n_u = job->geometry.n_u;
    for (size_t u = 0; u < n_u; u++)
        if (counts(job, ray, (double)u, (double)row, middle)) {
            double b = line[u], p = line[n_u + u];
            s->n += 1.0;
            s->b += b;
            s->p += p;
            s->bb += b * b;
            s->pp += p * p;
            s->bp += b * p;
        }
}

static off_t place_of(const tr_geometry *g, size_t view, size_t row)
{
    return (off_t)((view * g->n_v + row) * 2 * g->n_u * sizeof(float));
}

static tr_status keep_rows(const comparison *c, const block *b, const float *measured,
                           const float *projected)
{
    const tr_geometry *g = &c->job->geometry;
    size_t lanes = tr_round_up(b->rows, TR_LANES), bytes = 2 * g->n_u * sizeof(float);
    float *line = tr_calloc("a row", 2 * g->n_u, sizeof *line);
    tr_status status = line ? TR_OK : TR_ERR_MEMORY;
    for (size_t view = 0; view < g->n_views && status == TR_OK; view++) {
        tr_ray ray = ray_of(c->job, view, (double)c->job->first_slice, 0.0);
        size_t first = view * (g->n_u + TR_GUARDS) + 1;
        for (size_t r = 0; r < b->rows && status == TR_OK; r++) {
            for (size_t u = 0; u < g->n_u; u++) {
                line[u] = measured[(first + u) * lanes + r];
                line[g->n_u + u] = projected[(first + u) * b->p_lanes + MARGIN + r];
            }
            add_pixels(c->job, &ray, b->row + r, c->middle[view], line, &c->sums[view]);
            if (pwrite(c->scratch, line, bytes, place_of(g, view, b->row + r)) !=
                (ssize_t)bytes)
                status = tr_fail(TR_ERR_DATA,
                                 "a scratch file beside %s cannot be "
                                 "written: %s",
                                 c->job->output_spec.path, strerror(errno));
        }
    }
    free(line);
    return status;
}

static tr_status compare_block(const comparison *c, const block *b)
{
    const tr_geometry *g = &c->job->geometry;
    size_t lines = g->n_views * (g->n_u + TR_GUARDS);
    size_t lanes = tr_round_up(b->rows, TR_LANES);
    float *volume =
        tr_calloc("slices", g->thickness * g->width * b->x_lanes, sizeof *volume);
    float *p = tr_calloc("projections", lines * b->p_lanes, sizeof *p);
    float *measured = tr_calloc("projections", lines * lanes, sizeof *measured);
    tr_geometry straight = *g;
    straight.xtilt = NULL; /* it is in the rays */
    tr_status status = volume && p && measured ? TR_OK : TR_ERR_MEMORY;
    if (status == TR_OK)
        status = tr_series_read(c->job->series, &straight, (long)b->row, b->rows, lanes,
                                measured);
    if (status == TR_OK)
        status = read_slices(c, b, volume);
    if (status == TR_OK)
        status = project(c, b, volume, p);
    if (status == TR_OK)
        status = keep_rows(c, b, measured, p);
    free(volume);
    free(p);
    free(measured);
    return status;
}

/* ---- the fit ---- */

static double about_mean(double ab, double a, double b, double n)
{
    return ab - a * b / n;
}

/* Least squares: the scale from all views, after each one's means are off. */
static tr_status fit_all(comparison *c)
{
    double bp = 0.0, pp = 0.0;
    size_t n = c->job->geometry.n_views;
    for (size_t k = 0; k < n; k++) {
        const view_sums *s = &c->sums[k];
        if (s->n < 2.0)
            continue;
        bp += about_mean(s->bp, s->b, s->p, s->n);
        pp += about_mean(s->pp, s->p, s->p, s->n);
    }
    if (!(pp > 0.0))
        return tr_fail(TR_ERR_DATA,
                       "the projections of %s are of one value where the views can be "
                       "compared with them; is it the right volume?",
                       c->job->options->residual_of);
    c->fit.scale = bp / pp;
    for (size_t k = 0; k < n; k++)
        c->fit.offset[k] =
            c->sums[k].n > 0.0
                ? (c->sums[k].b - c->fit.scale * c->sums[k].p) / c->sums[k].n
                : 0.0;
    return TR_OK;
}

/* Deviations of a view and of what is left of it. */
static void judge(const comparison *c, size_t k, double *deviation, double *left,
                  double *correlation)
{
    const view_sums *s = &c->sums[k];
    double a = c->fit.scale;
    *deviation = *left = *correlation = NAN;
    if (s->n < 2.0)
        return;
    double bb = fmax(about_mean(s->bb, s->b, s->b, s->n), 0.0);
    double pp = fmax(about_mean(s->pp, s->p, s->p, s->n), 0.0);
    double bp = about_mean(s->bp, s->b, s->p, s->n);
    *deviation = sqrt(bb / s->n);
    *left = sqrt(fmax(bb - 2.0 * a * bp + a * a * pp, 0.0) / s->n);
    *correlation = bb > 0.0 && pp > 0.0 ? bp / sqrt(bb * pp) : NAN;
}

static void say(const comparison *c, tr_result *r)
{
    const tr_geometry *g = &c->job->geometry;
    double all = 0.0, rest = 0.0;
    tr_info("%s explains the views with a scale of %.6g for all and an offset for each, "
            "which are fitted",
            c->job->options->residual_of, c->fit.scale);
    tr_info("%6s%9s%12s%13s%13s", "view", "tilt", "residual", "correlation", "compared");
    for (size_t k = 0; k < g->n_views; k++) {
        double deviation, left, correlation;
        judge(c, k, &deviation, &left, &correlation);
        if (c->sums[k].n >= 2.0) {
            all += deviation * deviation * c->sums[k].n;
            rest += left * left * c->sums[k].n;
        }
        tr_info("%6zu%9.2f%12.4f%13.4f%11.0f %%", c->job->views->view[k].section + 1,
                g->tilt[k] * TR_DEGREES, left / deviation, correlation,
                100.0 * c->sums[k].n / (double)(g->n_u * g->n_v));
        if (r->n_views == g->n_views) {
            r->views[k].residual = left / deviation;
            r->views[k].correlation = correlation;
        }
    }
    r->explained.scale = c->fit.scale;
    r->explained.residual = sqrt(rest / all);
    tr_info("residual |b - a A x - c| / |b - mean|, all views: %.4f",
            r->explained.residual);
    if (c->fit.scale < 0.0)
        tr_warn("the contrast of %s is that of the views turned round: the scale is "
                "negative",
                c->job->options->residual_of);
}

/* ---- what is written ---- */

static tr_status write_table(const comparison *c)
{
    tr_whole_file file;
    const tr_geometry *g = &c->job->geometry;
    char *path = tr_residual_table(c->job->output_spec.path);
    tr_status status = path ? tr_whole_file_begin(path, &file) : TR_ERR_MEMORY;
    if (status == TR_OK) {
        fputs("view,tilt_degrees,pixels,residual,correlation,deviation,"
              "residual_deviation,scale,offset\n",
              file.file);
        for (size_t k = 0; k < g->n_views; k++) {
            double deviation, left, correlation;
            judge(c, k, &deviation, &left, &correlation);
            fprintf(file.file, "%zu,%.6g,%.0f,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g\n",
                    c->job->views->view[k].section + 1, g->tilt[k] * TR_DEGREES,
                    c->sums[k].n, left / deviation, correlation, deviation, left,
                    c->fit.scale, c->fit.offset[k]);
        }
        status = tr_whole_file_end(&file, !ferror(file.file));
    }
    if (status == TR_OK)
        tr_info("wrote %s", path);
    free(path);
    return status;
}

/* b - a p - c, in place of b. */
static void subtract(const comparison *c, size_t view, const float *pairs, float *image)
{
    const tr_geometry *g = &c->job->geometry;
    tr_ray ray = ray_of(c->job, view, (double)c->job->first_slice, 0.0);
    double a = c->fit.scale, offset = c->fit.offset[view];
    for (size_t v = 0; v < g->n_v; v++)
        for (size_t u = 0; u < g->n_u; u++) {
            const float *at = pairs + v * 2 * g->n_u + u;
            bool there = counts(c->job, &ray, (double)u, (double)v, c->middle[view]);
            image[v * g->n_u + u] =
                there ? (float)(at[0] - a * at[g->n_u] - offset) : 0.0f;
        }
}

static tr_status write_images(const comparison *c, tr_comm *own, tr_output_spec *spec)
{
    const tr_geometry *g = &c->job->geometry;
    size_t n = g->n_u * g->n_v, bytes = 2 * n * sizeof(float);
    float *pairs = tr_calloc("a view", 2 * n, sizeof *pairs);
    float *image = tr_calloc("a view", n, sizeof *image);
    tr_output *output = NULL;
    tr_statistics statistics;
    char scaling[128] = "";
    tr_status status =
        pairs && image ? tr_output_open(own, spec, &output) : TR_ERR_MEMORY;
    for (size_t k = 0; k < g->n_views && status == TR_OK; k++) {
        if (pread(c->scratch, pairs, bytes, place_of(g, k, 0)) != (ssize_t)bytes) {
            status = tr_fail(TR_ERR_DATA, "a scratch file beside %s cannot be read",
                             spec->path);
            break;
        }
        subtract(c, k, pairs, image);
        status = tr_output_write(output, k, 1, image);
    }
    free(pairs);
    free(image);
    if (status != TR_OK) {
        tr_output_discard(output);
        return status;
    }
    TR_TRY(tr_outputs_finish(&output, 1, &statistics, scaling));
    tr_info("wrote %s: %zu images of what is left of the views, standard deviation %g",
            spec->path, g->n_views, statistics.rms);
    return TR_OK;
}

static void describe_map(const tr_job *job, tr_output_spec *spec)
{
    const tr_geometry *g = &job->geometry;
    *spec = (tr_output_spec){.path = job->output_spec.path,
                             .width = g->n_u,
                             .thickness = g->n_v,
                             .n_slices = g->n_views,
                             .type = TR_FLOAT32,
                             .multiply = 1.0,
                             .pixel = job->output_spec.pixel,
                             .n_labels = 2,
                             .threads = 1};
    snprintf(spec->labels[0], sizeof spec->labels[0],
             "TiltRec " TR_VERSION ": views less the scaled projections of");
    snprintf(spec->labels[1], sizeof spec->labels[1], "%.80s", job->options->residual_of);
}

/* ---- all of it ---- */

/* NaN where memory is short. */
static double median_of(const float *values, size_t n)
{
    double *sorted = tr_calloc("the volume's values", n, sizeof *sorted);
    double median = NAN;
    for (size_t k = 0; sorted && k < n; k++)
        sorted[k] = values[k];
    if (sorted)
        median = tr_median(sorted, n);
    free(sorted);
    return median;
}

static tr_status open_volume(comparison *c)
{
    const tr_output_spec *o = &c->job->output_spec;
    tr_output_spec spec = *o;
    tr_section section = {0};
    spec.path = c->job->options->residual_of;
    tr_image *image;
    TR_TRY(tr_image_open(spec.path, &image));
    const tr_image_info info = *tr_image_get_info(image);
    tr_image_close(image);
    size_t slices = o->xyz ? info.ny : info.nz;
    if (slices != o->n_slices)
        return tr_fail(
            TR_ERR_DATA,
            "%s has %zu slices along the tilt axis in order %s, and the views have %zu "
            "rows; give --order %s if its sections are normal to the beam%s, --bin for "
            "views that are larger, or --slices for those that it has",
            spec.path, slices, o->xyz ? "xyz" : "xzy", o->n_slices,
            o->xyz ? "xzy" : "xyz", o->xyz ? " no more" : "");
    if (info.pixel[0] > 0.0 && o->pixel > 0.0 &&
        fabs(info.pixel[0] / o->pixel - 1.0) > 0.01)
        tr_warn("%s has voxels of %g angstroms, and the views pixels of %g", spec.path,
                info.pixel[0], o->pixel);
    TR_TRY(tr_tomogram_open(&spec, &c->volume));
    tr_status status = tr_tomogram_section(&c->volume, TR_Z, 256, &section);
    if (status == TR_OK)
        c->background = (float)median_of(section.values, section.width * section.height);
    free(section.values);
    if (status == TR_OK && isnan(c->background))
        status = TR_ERR_MEMORY;
    return status;
}

static tr_status compare_all(comparison *c)
{
    const tr_geometry *g = &c->job->geometry;
    double start = tr_now();
    choose_rule(c);
    TR_TRY(choose_rows(c));
    for (size_t row = 0; row < g->n_v; row += c->rows) {
        block b = find_block(c, row);
        TR_TRY(compare_block(c, &b));
        tr_log_progress("comparing", (double)(row + b.rows), (double)g->n_v, 0.0,
                        tr_now() - start);
    }
    return fit_all(c);
}

static tr_status work(comparison *c, tr_result *r)
{
    tr_output_spec map;
    size_t n = c->job->geometry.n_views;
    describe_map(c->job, &map);
    c->sums = tr_calloc("the views", n, sizeof *c->sums);
    c->middle = tr_calloc("the views", n, sizeof *c->middle);
    c->fit.offset = tr_calloc("the views", n, sizeof *c->fit.offset);
    if (!c->sums || !c->middle || !c->fit.offset)
        return TR_ERR_MEMORY;
    TR_TRY(open_volume(c));
    c->scratch = tr_file_unnamed(map.path);
    if (c->scratch < 0)
        return tr_fail(TR_ERR_DATA, "a scratch file beside %s cannot be made: %s",
                       map.path, strerror(errno));
    TR_TRY(compare_all(c));
    say(c, r);
    TR_TRY(write_images(c, tr_comm_serial(), &map));
    return write_table(c);
}

tr_status tr_residual_of(tr_run *run, tr_comm *comm, tr_result *r)
{
    comparison c = {.job = &run->volumes[0].job, .scratch = -1};
    TR_TRY(tr_result_prepare(r, c.job));
    tr_status status = comm->rank == 0 ? work(&c, r) : TR_OK;
    if (c.volume.image)
        tr_tomogram_close(&c.volume);
    if (c.scratch >= 0)
        close(c.scratch);
    free(c.sums);
    free(c.middle);
    free(c.fit.offset);
    status = comm->ops->agree(comm, status);
    r->complete = status == TR_OK;
    return status == TR_OK ? tr_result_write_explained(r, c.job) : status;
}
