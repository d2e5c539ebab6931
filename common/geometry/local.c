#include "common/geometry/local.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/mem.h"

void tr_local_place(const tr_local_file *file, double scale, double full_x, double full_y,
                    bool z_factors, tr_local *local)
{
    /* Pixel 1 is centred half a pixel from the edge. */
    *local = (tr_local){
        .file = *file,
        .start_x = round(file->start_x * scale) - 0.5 - full_x / 2.0,
        .start_y = round(file->start_y * scale) - 0.5 - full_y / 2.0,
        .step_x = fmax(round(file->step_x * scale), 1.0),
        .step_y = fmax(round(file->step_y * scale), 1.0),
        .scale = scale,
        .z_factors = z_factors && file->has_z,
    };
}

bool tr_local_is_plain(const tr_local *local, const double (*zfactors)[2])
{
    const tr_local_file *f = &local->file;
    for (size_t k = 0; k < f->n_x * f->n_y * f->n_views; k++) {
        const tr_local_patch *p = &f->patch[k];
        const double *own = zfactors ? zfactors[k % f->n_views] : (double[2]){0.0, 0.0};
        double xz = local->z_factors ? p->xz : 0.0, yz = local->z_factors ? p->yz : 0.0;
        if (p->del_beta != 0.0 || p->del_alpha != 0.0 || p->xf.a11 != 1.0 ||
            p->xf.a12 != 0.0 || p->xf.a21 != 0.0 || p->xf.a22 != 1.0 || p->xf.dx != 0.0 ||
            p->xf.dy != 0.0 || xz != own[0] || yz != own[1])
            return false;
    }
    return true;
}

/* One patch and view: u = u[0] + u[1] x + u[2] y + u[3] s, v likewise. */
typedef struct view_patch {
    double u[4], v[4];
} view_patch;

static void find_patch(const tr_geometry *g, size_t view, size_t number, view_patch *to)
{
    const tr_local *l = g->local;
    const tr_local_patch *p = &l->file.patch[number * l->file.n_views + g->section[view]];
    double t = g->tilt[view] + p->del_beta * TR_RADIANS;
    double a = g->pitch + (g->xtilt ? g->xtilt[view] : 0.0) - p->del_alpha * TR_RADIANS;
    double xz = l->z_factors ? p->xz : 0.0, yz = l->z_factors ? p->yz : 0.0;
    const double x[4] = {g->axis_u - g->image_u, cos(t), -sin(a) * sin(t),
                         -(cos(a) * sin(t) + xz)};
    const double y[4] = {0.0, 0.0, cos(a), -(sin(a) + yz)};
    for (int i = 0; i < 4; i++) {
        to->u[i] = p->xf.a11 * x[i] + p->xf.a12 * y[i];
        to->v[i] = p->xf.a21 * x[i] + p->xf.a22 * y[i];
    }
    to->u[0] += g->image_u + p->xf.dx * l->scale;
    to->v[0] += g->centre_v + p->xf.dy * l->scale;
}

/* The patch before a position, and how far it is to the next. */
static size_t find_cell(double at, double start, double step, size_t n, double *share)
{
    double place = fmin(fmax((at - start) / step, 0.0), (double)n - 1.0);
    size_t first = (size_t)fmin(floor(place), (double)n - 2.0);
    *share = place - (double)first;
    return first;
}

typedef void patch_of(const void *data, size_t number, view_patch *to);

static void see(const tr_geometry *g, patch_of *find, const void *data, double x,
                double slice, double seen[4])
{
    const tr_local *l = g->local;
    double right, up;
    x -= g->axis_x;
    slice -= g->centre_v;
    size_t p =
        find_cell(x + g->axis_u - g->image_u, l->start_x, l->step_x, l->file.n_x, &right);
    size_t q = find_cell(slice, l->start_y, l->step_y, l->file.n_y, &up);
    memset(seen, 0, 4 * sizeof *seen);
    for (size_t corner = 0; corner < 4; corner++) {
        view_patch at;
        size_t i = corner & 1, j = corner >> 1;
        double weight = (i ? right : 1.0 - right) * (j ? up : 1.0 - up);
        find(data, (q + j) * l->file.n_x + p + i, &at);
        seen[0] += weight * (at.u[0] + at.u[1] * x + at.u[2] * slice);
        seen[1] += weight * at.u[3];
        seen[2] += weight * (at.v[0] + at.v[1] * x + at.v[2] * slice);
        seen[3] += weight * at.v[3];
    }
}

typedef struct patches_of_view {
    const tr_geometry *g;
    size_t view;
    const view_patch *known; /* or NULL */
} patches_of_view;

static void find_of(const void *data, size_t number, view_patch *to)
{
    const patches_of_view *of = data;
    if (of->known)
        *to = of->known[number];
    else
        find_patch(of->g, of->view, number, to);
}

void tr_geometry_see(const tr_geometry *g, size_t view, double x, double slice,
                     double seen[4])
{
    if (g->local) {
        see(g, find_of, &(patches_of_view){g, view, NULL}, x, slice, seen);
        return;
    }
    tr_ray ray = tr_geometry_direct_ray(g, view, NULL, slice, 0.0);
    seen[0] = ray.u0 + ray.ux * x + ray.uz * g->axis_z;
    seen[1] = ray.uz;
    seen[2] = ray.v0 + ray.vx * x + ray.vz * g->axis_z;
    seen[3] = ray.vz;
}

/* Between the places that are looked at, these differ by less than a row from a straight
 * line: patches are larger, and turned by little. */
enum { LOOK_EVERY = 32 };

static double place(size_t k, size_t n)
{
    return fmin((double)(k * LOOK_EVERY), (double)n - 1.0);
}

void tr_geometry_rows_seen(const tr_geometry *g, size_t view, double first, size_t n,
                           double *low, double *high)
{
    double s0 = -g->axis_z, s1 = (double)g->thickness - 1.0 - g->axis_z;
    *low = INFINITY;
    *high = -INFINITY;
    for (size_t j = 0;; j++) {
        for (size_t i = 0;; i++) {
            double seen[4], x = place(i, g->width);
            tr_geometry_see(g, view, x, first + place(j, n), seen);
            for (int end = 0; end < 2; end++) {
                double v = seen[2] + seen[3] * (end ? s1 : s0);
                *low = fmin(*low, v - 1.0);
                *high = fmax(*high, v + 1.0);
            }
            if (x == (double)g->width - 1.0)
                break;
        }
        if (place(j, n) == (double)n - 1.0)
            break;
    }
}

size_t tr_geometry_direct_reach(const tr_geometry *g)
{
    double reach = 0.0;
    for (size_t view = 0; view < g->n_views; view++)
        for (size_t row = 0; row < g->n_v; row += LOOK_EVERY) {
            double low, high, first = (double)row;
            tr_geometry_rows_seen(g, view, first, 1, &low, &high);
            reach = fmax(reach, fmax(first - low, high - first));
            tr_geometry_rows_seen(g, view, first + LOOK_EVERY - 1.0, 1, &low, &high);
            reach = fmax(reach, fmax(first + LOOK_EVERY - 1.0 - low,
                                     high - first - LOOK_EVERY + 1.0));
        }
    return tr_round_up((size_t)ceil(reach) + 1, TR_LANES);
}

static size_t nodes(size_t voxels) { return (voxels - 1) / TR_OFFSET_STEP + 2; }

size_t tr_local_grid_bytes(const tr_geometry *g, size_t rows)
{
    return g->local ? g->n_views * nodes(g->width) * nodes(rows) * sizeof(float[4]) : 0;
}

/* All nodes of one view. */
static void fill_view(const tr_geometry *g, const patches_of_view *of, double first_slice,
                      const tr_offsets *o, float *node)
{
    tr_geometry plain = *g;
    plain.local = NULL;
    for (size_t j = 0; j < o->n_y; j++)
        for (size_t i = 0; i < o->n_x; i++, node += 4) {
            double x = (double)(i * TR_OFFSET_STEP), seen[4], without[4];
            double slice = first_slice + (double)(j * TR_OFFSET_STEP);
            see(g, find_of, of, x, slice, seen);
            tr_geometry_see(&plain, of->view, x, slice, without);
            for (int k = 0; k < 4; k++)
                node[k] = (float)(seen[k] - without[k]);
        }
}

tr_status tr_local_grid(const tr_geometry *g, double first_slice, size_t rows,
                        float **grid, tr_offsets *offsets)
{
    TR_ASSERT(g->local);
    size_t patches = g->local->file.n_x * g->local->file.n_y;
    *offsets =
        (tr_offsets){.n_x = nodes(g->width), .n_y = nodes(rows), .z_first = -g->axis_z};
    size_t of_view = 4 * offsets->n_x * offsets->n_y;
    *grid = tr_calloc("the grids of rays", g->n_views * of_view, sizeof **grid);
    view_patch *known = tr_calloc("the grids of rays", patches, sizeof *known);
    if (!*grid || !known) {
        free(*grid);
        free(known);
        *grid = NULL;
        return TR_ERR_MEMORY;
    }
    offsets->grid = *grid;
    for (size_t view = 0; view < g->n_views; view++) {
        for (size_t p = 0; p < patches; p++)
            find_patch(g, view, p, &known[p]);
        fill_view(g, &(patches_of_view){g, view, known}, first_slice, offsets,
                  *grid + view * of_view);
    }
    free(known);
    return TR_OK;
}
