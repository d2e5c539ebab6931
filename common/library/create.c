/* From a caller's spec to an operator with everything decided. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "common/library/library.h"
#include "common/base/mem.h"
#include "common/geometry/warp.h"

enum { MOST = 65536 }; /* of each size, as of the programs' files and options */

static const tr_algorithm projection = {.name = "projection"};

/* ---- checks ---- */

static tr_status check_size(const char *what, size_t value)
{
    if (value >= 1 && value <= MOST)
        return TR_OK;
    return tr_fail(TR_ERR_USAGE, "%s is %zu: must be from 1 to %d", what, value, MOST);
}

static tr_status check_finite(const char *what, const double *values, size_t n)
{
    for (size_t i = 0; values && i < n; i++)
        if (!isfinite(values[i]))
            return tr_fail(TR_ERR_USAGE, "%s: value %zu is not a finite number", what, i);
    return TR_OK;
}

static tr_status check(const tiltrec_spec *s)
{
    TR_TRY(check_size("the number of views", s->n_views));
    TR_TRY(check_size("n_y", s->n_y));
    TR_TRY(check_size("n_u", s->n_u));
    TR_TRY(check_size("the thickness", s->thickness));
    TR_TRY(check_size("the width", s->width));
    if (s->threads < 0 || s->threads > 4096)
        return tr_fail(TR_ERR_USAGE, "threads is %d: must be from 0 to 4096", s->threads);
    if (!s->rays == !s->tilts)
        return tr_fail(TR_ERR_USAGE, "an operator needs either tilts or rays");
    if (s->rays && (s->xtilts || s->transforms))
        return tr_fail(TR_ERR_USAGE, "with rays, there can be no xtilts or transforms");
    const double shifts[] = {s->tilt_offset, s->axis_shift, s->pitch, s->x_shift,
                             s->z_shift};
    TR_TRY(check_finite("the offset, pitch and shifts", shifts, 5));
    TR_TRY(check_finite("tilts", s->tilts, s->n_views));
    TR_TRY(check_finite("xtilts", s->xtilts, s->n_views));
    TR_TRY(check_finite("transforms", s->transforms, 6 * s->n_views));
    return check_finite("rays", s->rays, 8 * s->n_views);
}

/* A caller that knows a later spec may use only what this library knows. */
static tr_status copy_spec(const tiltrec_spec *given, tiltrec_spec *s)
{
    *s = (tiltrec_spec){0};
    const char *bytes = (const char *)given;
    size_t known = given->size < sizeof *s ? given->size : sizeof *s;
    if (given->size < offsetof(tiltrec_spec, thickness))
        return tr_fail(TR_ERR_USAGE,
                       "tiltrec_spec.size is %zu: must be sizeof(tiltrec_spec)",
                       given->size);
    for (size_t i = known; i < given->size; i++)
        if (bytes[i])
            return tr_fail(TR_ERR_UNAVAILABLE,
                           "this library is older than the tiltrec.h that the caller "
                           "was compiled with, and lacks something that it asks for");
    memcpy(s, given, known);
    s->width = s->width ? s->width : s->n_u;
    return TR_OK;
}

/* ---- rays ---- */

static bool keeps_to_row(const tr_ray *r) { return tr_kind_of_ray(r) == TR_RAYS_OWN_ROW; }

/* What the kernels can do (kernels/cpu/forward_body.h, kernels/cpu/general_body.h). */
static tr_status check_ray(const tr_ray *r, size_t view)
{
    const double rounding = 1e-9;
    double along = fmax(fabs(r->ux), fabs(r->uz)), most = along;
    const double others[] = {r->uy, r->vx, r->vy, r->vz};
    for (size_t i = 0; i < 4; i++)
        most = fmax(most, fabs(others[i]));
    if (keeps_to_row(r) && (along < 0.7 || along > 1.0 + rounding))
        return tr_fail(TR_ERR_USAGE,
                       "ray %zu, which keeps to its row, moves by at most %g columns per "
                       "voxel: must be from 0.7 to 1",
                       view, along);
    if (most > 2.0 || fabs(r->u0) > 1e6 || fabs(r->v0) > 1e6)
        return tr_fail(TR_ERR_USAGE,
                       "ray %zu: its factors must be from -2 to 2, u0 and v0 within 1e6",
                       view);
    return TR_OK;
}

static tr_status take_rays(tiltrec_operator *op, const tiltrec_spec *s)
{
    for (size_t i = 0; i < s->n_views; i++) {
        const double *r = s->rays + 8 * i;
        op->rays[i] = (tr_ray){r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]};
        TR_TRY(check_ray(&op->rays[i], i));
        /* For the widths of views in filtered backprojections. */
        op->job.geometry.tilt[i] = atan2(-r[3], r[1]);
    }
    return TR_OK;
}

/* The rays straight through the volume as it is, pitch and all. */
static tr_status make_rays(tiltrec_operator *op, const tiltrec_spec *s)
{
    for (size_t i = 0; i < s->n_views; i++) {
        double m[6];
        if (s->transforms) {
            const double *t = s->transforms + 6 * i;
            const tr_transform transform = {t[0], t[1], t[2], t[3], t[4], t[5]};
            if (fabs(t[0] * t[3] - t[1] * t[2]) < 1e-3)
                return tr_fail(TR_ERR_USAGE, "transform %zu cannot be inverted", i);
            tr_transform_inverse(&transform, s->n_u, s->n_y, s->n_u, s->n_y, m);
        }
        op->rays[i] = tr_geometry_direct_ray(&op->job.geometry, i,
                                             s->transforms ? m : NULL, 0.0, 0.0);
        TR_TRY(check_ray(&op->rays[i], i));
    }
    return TR_OK;
}

static tr_status set_geometry(tiltrec_operator *op, const tiltrec_spec *s)
{
    double *zeros = tr_calloc("the tilt angles", s->n_views, sizeof *zeros);
    if (!zeros)
        return TR_ERR_MEMORY;
    const tr_geometry_spec spec = {.n_views = s->n_views,
                                   .tilts = s->tilts ? s->tilts : zeros,
                                   .xtilts = s->xtilts,
                                   .tilt_offset = s->tilt_offset,
                                   .pitch = s->pitch,
                                   .n_u = s->n_u,
                                   .n_v = s->n_y,
                                   .width = s->width,
                                   .thickness = s->thickness,
                                   .axis_shift = s->axis_shift,
                                   .x_shift = s->x_shift,
                                   .z_shift = s->z_shift};
    tr_status status = tr_geometry_init(&spec, &op->job.geometry);
    free(zeros);
    TR_TRY(status);
    op->rays = tr_calloc("rays", s->n_views, sizeof *op->rays);
    if (!op->rays)
        return TR_ERR_MEMORY;
    return s->rays ? take_rays(op, s) : make_rays(op, s);
}

/* ---- the operator ---- */

static tr_status open_device(tiltrec_operator *op, const tiltrec_spec *s)
{
    const char *name = s->backend ? s->backend : "cpu";
    const tr_backend_settings settings = {.threads = s->threads ? s->threads
                                                                : omp_get_max_threads(),
                                          .devices = s->devices ? s->devices : "0"};
    op->job.backend = tr_backend_find(name);
    if (!op->job.backend)
        return tr_fail(TR_ERR_UNAVAILABLE, "this library has no backend named %s", name);
    op->job.threads = settings.threads;
    return op->job.backend->open(&settings, &op->job.device);
}

tr_status tr_library_create(tiltrec_operator *op, const tiltrec_spec *given)
{
    tiltrec_spec s;
    TR_TRY(copy_spec(given, &s));
    TR_TRY(check(&s));
    TR_TRY(set_geometry(op, &s));
    TR_TRY(open_device(op, &s));
    op->job.comm = tr_comm_serial();
    op->job.algorithm = &projection;
    op->job.rays = op->rays;
    op->job.output_spec.n_slices = s.n_y;
    tr_volume_plan_rows(&op->job, &op->plan);
    TR_TRY(tr_library_begin(op, 0, 0));
    tr_status status = tr_volume_operator_new(&op->job, &op->plan, &op->volume_operator);
    tr_library_end(op);
    TR_TRY(status);
    op->A = tr_volume_linop(op->volume_operator);
    const tr_slab *slab = op->A->slab;
    op->x = (tr_vec){.lines = tr_volume_lines(slab), .rows = slab->rows};
    op->p = (tr_vec){.lines = tr_projection_lines(slab), .rows = slab->p_rows};
    return TR_OK;
}
