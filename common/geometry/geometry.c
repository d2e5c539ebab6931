#include "common/geometry/geometry.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/mem.h"

enum { MAX_BLOCK = 64 };

/* At exactly +-90 degrees all of a row's voxels share one column; IMOD moves such
 * angles to 89.95. */
static double keep_off_edge(double degrees)
{
    double edge = 180.0 * floor(degrees / 180.0) + 90.0, beyond = degrees - edge;
    if (fabs(beyond) >= 0.05)
        return degrees;
    /* 90 itself becomes 89.95, and -90 -89.95. */
    return edge + copysign(0.05, beyond != 0.0 ? beyond : -edge);
}

static size_t stride_of(const tr_geometry_spec *spec)
{
    return spec->stride ? spec->stride : 1;
}

static double mean_xtilt_of(const tr_geometry_spec *spec)
{
    double sum = 0.0;
    for (size_t i = 0; i < spec->n_views && spec->xtilts; i++)
        sum += spec->xtilts[i * stride_of(spec)];
    return sum / (double)spec->n_views;
}

static tr_status set_zfactors(const tr_geometry_spec *spec, tr_geometry *g)
{
    bool any = false;
    if (!spec->zfactors)
        return TR_OK;
    g->zfactor = tr_calloc("the z-factors", g->n_views, sizeof *g->zfactor);
    if (!g->zfactor)
        return TR_ERR_MEMORY;
    const double *factors = spec->zfactors[0];
    for (size_t i = 0; i < g->n_views; i++)
        for (int axis = 0; axis < 2; axis++) {
            g->zfactor[i][axis] = factors[i * stride_of(spec) + (size_t)axis];
            any = any || g->zfactor[i][axis] != 0.0;
        }
    if (!any) {
        free(g->zfactor);
        g->zfactor = NULL;
    }
    return TR_OK;
}

static tr_status set_local(const tr_geometry_spec *spec, tr_geometry *g)
{
    _Static_assert(sizeof(double) == sizeof(size_t), "a stride of either");
    g->local = spec->local;
    if (!spec->local)
        return TR_OK;
    g->section = tr_calloc("the list of views", g->n_views, sizeof *g->section);
    if (!g->section)
        return TR_ERR_MEMORY;
    for (size_t i = 0; i < g->n_views; i++)
        g->section[i] = spec->sections[i * stride_of(spec)];
    return TR_OK;
}

static void set_xtilts(const tr_geometry_spec *spec, double mean, tr_geometry *g)
{
    bool differ = false;
    for (size_t i = 0; i < g->n_views; i++) {
        g->xtilt[i] = (spec->xtilts[i * stride_of(spec)] - mean) * TR_RADIANS;
        differ = differ || fabs(g->xtilt[i]) > 1e-9;
    }
    if (!differ) {
        free(g->xtilt);
        g->xtilt = NULL;
    }
}

tr_status tr_geometry_init(const tr_geometry_spec *spec, tr_geometry *g)
{
    memset(g, 0, sizeof *g);
    if (!spec->n_views || !spec->n_u || !spec->n_v || !spec->width || !spec->thickness)
        return tr_fail(TR_ERR_USAGE,
                       "nothing to reconstruct: %zu views of %zu x %zu pixels to a slice "
                       "of %zu x %zu",
                       spec->n_views, spec->n_u, spec->n_v, spec->width, spec->thickness);
    double mean_xtilt = mean_xtilt_of(spec);
    double pitch = spec->pitch + mean_xtilt;
    if (fabs(pitch) < 1e-6) /* the rounding of a mean is not a pitch */
        pitch = 0.0;
    if (!(fabs(pitch) <= 75.0))
        return tr_fail(TR_ERR_USAGE,
                       "a pitch of %g degrees (%g of it from the x-tilts) is beyond "
                       "+-75 degrees",
                       pitch, mean_xtilt);
    *g = (tr_geometry){
        .n_views = spec->n_views,
        .n_u = spec->n_u,
        .n_v = spec->n_v,
        .width = spec->width,
        .thickness = spec->thickness,
        .tilt = tr_calloc("the tilt angles", spec->n_views, sizeof *g->tilt),
        .pitch = pitch * TR_RADIANS,
        .axis_u = (double)spec->n_u / 2.0 - 0.5 + spec->axis_shift,
        .image_u = (double)spec->n_u / 2.0 - 0.5 + spec->image_shift,
        .centre_v = (double)spec->n_v / 2.0 - 0.5 + spec->centre_shift,
        .axis_x = (double)(spec->width / 2) - 0.5 + spec->axis_shift + spec->x_shift,
        .axis_z = (double)(spec->thickness / 2) - 0.5 + spec->z_shift,
    };
    if (!g->tilt)
        return TR_ERR_MEMORY;
    for (size_t i = 0; i < g->n_views; i++)
        g->tilt[i] = keep_off_edge(spec->tilts[i * stride_of(spec)] + spec->tilt_offset) *
                     TR_RADIANS;
    if (spec->xtilts) {
        g->xtilt = tr_calloc("the x-tilts", g->n_views, sizeof *g->xtilt);
        if (!g->xtilt) {
            tr_geometry_free(g);
            return TR_ERR_MEMORY;
        }
        set_xtilts(spec, mean_xtilt, g);
    }
    tr_status status = set_zfactors(spec, g);
    if (status == TR_OK)
        status = set_local(spec, g);
    if (status != TR_OK)
        tr_geometry_free(g);
    return status;
}

void tr_geometry_free(tr_geometry *g)
{
    free(g->tilt);
    free(g->xtilt);
    free(g->zfactor);
    free(g->section);
    memset(g, 0, sizeof *g);
}

size_t tr_geometry_block_rows(const tr_geometry *g)
{
    size_t rows = MAX_BLOCK;
    while (rows > TR_LANES && (double)rows * fabs(tan(g->pitch)) > 2.0)
        rows /= 2;
    return rows;
}

/* s of the lowest and the highest plane, relative to the axis. */
static double s_low(const tr_geometry *g) { return -g->axis_z; }
static double s_high(const tr_geometry *g)
{
    return (double)g->thickness - 1.0 - g->axis_z;
}

size_t tr_geometry_planes(const tr_geometry *g, size_t rows)
{
    if (!tr_geometry_is_sheared(g))
        return g->thickness;
    double shear = ((double)rows - 1.0) * fabs(tan(g->pitch));
    /* a voxel of margin below and above for the interpolation, and the two roundings */
    return (size_t)ceil(shear + ((double)g->thickness - 1.0) / cos(g->pitch)) + 4;
}

double tr_geometry_plane0(const tr_geometry *g, long row, size_t rows)
{
    if (!tr_geometry_is_sheared(g))
        return s_low(g);
    double slope = tan(g->pitch), from = (double)row - g->centre_v;
    double to = from + (double)rows - 1.0;
    double lowest = fmin(from * slope, to * slope) + s_low(g) / cos(g->pitch);
    return floor(lowest) - 1.0;
}

size_t tr_geometry_reach(const tr_geometry *g)
{
    if (!g->xtilt)
        return 0;
    double steepest = 0.0;
    for (size_t i = 0; i < g->n_views; i++)
        steepest = fmax(steepest, fabs(tan(g->xtilt[i])));
    double z = fmax(fabs(s_low(g)), fabs(s_high(g))) / cos(g->pitch);
    if (g->pitch != 0.0)
        z += (fmax(g->centre_v, (double)g->n_v - 1.0 - g->centre_v) + 2.0 * MAX_BLOCK) *
                 fabs(tan(g->pitch)) +
             4.0;
    return (size_t)ceil(steepest * z) + 1;
}

void tr_geometry_rays(const tr_geometry *g, long row, size_t rows, tr_ray *rays)
{
    tr_geometry_rays_from(g, tr_geometry_plane0(g, row, rows), rays);
}

void tr_geometry_rays_from(const tr_geometry *g, double z0, tr_ray *rays)
{
    for (size_t i = 0; i < g->n_views; i++) {
        double xtilt = g->xtilt ? g->xtilt[i] : 0.0;
        double ux = cos(g->tilt[i]), uz = -sin(g->tilt[i]) / cos(xtilt);
        double vz = xtilt == 0.0 ? 0.0 : -tan(xtilt);
        rays[i] = (tr_ray){.u0 = g->axis_u - ux * g->axis_x + uz * z0,
                           .ux = ux,
                           .uz = uz,
                           .v0 = vz * z0,
                           .vy = 1.0,
                           .vz = vz};
    }
}

tr_ray tr_geometry_direct_ray(const tr_geometry *g, size_t view, const double *to_image,
                              double first_slice, double first_row)
{
    double tilt = g->tilt[view], a = g->pitch + (g->xtilt ? g->xtilt[view] : 0.0);
    double ct = cos(tilt), st = sin(tilt), ca = cos(a), sa = sin(a);
    double y0 = first_slice - g->centre_v;
    double xz = g->zfactor ? g->zfactor[view][0] : 0.0;
    double yz = g->zfactor ? g->zfactor[view][1] : 0.0;
    /* Constant, ix, r and iz parts of the aligned image's column and row. */
    double u[4] = {g->axis_u - ct * g->axis_x - st * (sa * y0 - ca * g->axis_z) +
                       xz * g->axis_z,
                   ct, -st * sa, -st * ca - xz};
    double v[4] = {g->centre_v + ca * y0 + sa * g->axis_z + yz * g->axis_z, 0.0, ca,
                   -sa - yz};
    double m[6] = {1, 0, 0, 0, 1, 0};
    if (to_image)
        memcpy(m, to_image, sizeof m);
    double *ray_u[4], *ray_v[4];
    tr_ray ray;
    ray_u[0] = &ray.u0, ray_u[1] = &ray.ux, ray_u[2] = &ray.uy, ray_u[3] = &ray.uz;
    ray_v[0] = &ray.v0, ray_v[1] = &ray.vx, ray_v[2] = &ray.vy, ray_v[3] = &ray.vz;
    for (int i = 0; i < 4; i++) {
        *ray_u[i] = m[0] * u[i] + m[1] * v[i] + (i ? 0.0 : m[2]);
        *ray_v[i] = m[3] * u[i] + m[4] * v[i] + (i ? 0.0 : m[5]);
    }
    ray.v0 -= first_row;
    return ray;
}

bool tr_geometry_rows_independent(const tr_geometry *g)
{
    return g->pitch == 0.0 && tr_geometry_frame_independent(g);
}

bool tr_geometry_frame_independent(const tr_geometry *g)
{
    return !g->xtilt && !tr_geometry_is_direct(g);
}

void tr_geometry_locate(const tr_geometry *g, double slice, double iz, double *row,
                        double *z)
{
    double y = slice - g->centre_v, s = iz - g->axis_z;
    *row = y * cos(g->pitch) - s * sin(g->pitch) + g->centre_v;
    *z = y * sin(g->pitch) + s * cos(g->pitch);
}

void tr_geometry_locate_output(const tr_geometry *g, double row, double z, double *slice,
                               double *iz)
{
    double y = row - g->centre_v;
    *slice = y * cos(g->pitch) + z * sin(g->pitch) + g->centre_v;
    *iz = -y * sin(g->pitch) + z * cos(g->pitch) + g->axis_z;
}

void tr_geometry_rows_of_slices(const tr_geometry *g, size_t slice0, size_t slice1,
                                long *first, long *end)
{
    *first = (long)slice0;
    *end = (long)slice1;
    if (!tr_geometry_is_sheared(g))
        return;
    tr_frame_box box = tr_geometry_box(g, slice0, slice1, 0, g->thickness);
    *first = box.row;
    *end = box.row + (long)box.rows;
}

tr_frame_box tr_geometry_box(const tr_geometry *g, size_t slice0, size_t slice1,
                             size_t iz0, size_t iz1)
{
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    for (int corner = 0; corner < 4; corner++) {
        double at[2];
        tr_geometry_locate(g, (double)(corner & 1 ? slice1 - 1 : slice0),
                           (double)(corner & 2 ? iz1 - 1 : iz0), &at[0], &at[1]);
        for (int axis = 0; axis < 2; axis++) {
            low[axis] = fmin(low[axis], at[axis]);
            high[axis] = fmax(high[axis], at[axis]);
        }
    }
    return (tr_frame_box){.row = (long)floor(low[0]),
                          .rows = (size_t)(floor(high[0]) - floor(low[0])) + 2,
                          .z0 = floor(low[1]),
                          .planes = (size_t)(floor(high[1]) - floor(low[1])) + 2};
}

bool tr_geometry_image_map(const tr_geometry *g, size_t view, double m[6])
{
    double d = g->xtilt ? g->xtilt[view] : 0.0;
    double shear = -tan(d) * sin(g->tilt[view]), stretch = cos(d);
    /* v - centre = stretch (row - centre);  u = column + shear (v - centre) */
    m[0] = 1.0;
    m[1] = shear * stretch;
    m[2] = -m[1] * g->centre_v;
    m[3] = 0.0;
    m[4] = stretch;
    m[5] = g->centre_v * (1.0 - stretch);
    return d != 0.0;
}

static int by_angle(const void *a, const void *b)
{
    double x = **(const double *const *)a, y = **(const double *const *)b;
    return (x > y) - (x < y);
}

/* The average increment around sorted view k: neighbours i = 1, 2 on each side weigh
 * 1/(i - 0.5). */
static double local_increment(const double *const *sorted, size_t n, size_t k)
{
    double sum = 0.0, weights = 0.0;
    for (size_t i = 1; i <= 2; i++) {
        double weight = 1.0 / ((double)i - 0.5);
        if (k >= i) {
            sum += weight * (*sorted[k - i + 1] - *sorted[k - i]);
            weights += weight;
        }
        if (k + i < n) {
            sum += weight * (*sorted[k + i] - *sorted[k + i - 1]);
            weights += weight;
        }
    }
    return sum / weights;
}

tr_status tr_view_weights(const double *tilt, size_t n, bool uniform, double *weight)
{
    const double **sorted = tr_calloc("the view weights", n, sizeof *sorted);
    if (!sorted)
        return TR_ERR_MEMORY;
    for (size_t i = 0; i < n; i++)
        sorted[i] = &tilt[i];
    qsort(sorted, n, sizeof *sorted, by_angle);
    double range = n > 1 ? *sorted[n - 1] - *sorted[0] : 0.0;
    double mean = range > 0.0 ? range / (double)(n - 1) : TR_PI / (double)n;
    for (size_t k = 0; k < n; k++)
        weight[sorted[k] - tilt] =
            range > 0.0 && !uniform ? local_increment(sorted, n, k) : mean;
    free(sorted);
    return TR_OK;
}
