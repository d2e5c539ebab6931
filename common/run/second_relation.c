/* How the volumes of two series lie in each other.
 *
 * IMOD's solve.xf has three lines a1 a2 a3 d: a point p of the second tomogram, from its
 * middle and in the order of the file's axes (x, thickness, slice), is at a p + d in the
 * first one; inverse.xf is the reverse (matchvol's manual page). Solvematch finds them
 * from positions in models, whose origin is the corner of the first voxel, so the middle
 * is (n - 1)/2.
 *
 * Without such a file the raw images of both series are taken to have the same axes and
 * the alignments to share the origin: then the volumes differ by the angle about the beam
 * between the tilt axes in the raw images. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/file_name.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/geometry/warp.h"
#include "common/run/second.h"
#include "formats/text_file.h"

typedef struct affine {
    double a[3][3], d[3];
} affine;

/* ---- the file ---- */

static tr_status read_rows(tr_text *text, double rows[3][4])
{
    for (size_t k = 0; k < 3; k++) {
        char *line = tr_text_line(text);
        for (size_t i = 0; i < 4; i++) {
            char *word = line ? tr_text_word(&line) : NULL;
            if (!word)
                return tr_fail(TR_ERR_DATA,
                               "%s is no match of two tomograms: three lines of four "
                               "numbers are needed, as in IMOD's solve.xf",
                               text->path);
            TR_TRY(tr_text_number(text, word, &rows[k][i]));
        }
        if (line && tr_text_word(&line))
            return tr_fail(TR_ERR_DATA,
                           "%s, line %zu: more than the four numbers of a line of "
                           "IMOD's solve.xf",
                           text->path, text->line);
    }
    if (tr_text_line(text))
        return tr_fail(TR_ERR_DATA, "%s has more than the three lines of IMOD's solve.xf",
                       text->path);
    return TR_OK;
}

static double determinant(const double a[3][3])
{
    double sum = 0.0;
    for (int k = 0; k < 3; k++) {
        int l = (k + 1) % 3, m = (k + 2) % 3;
        sum += a[0][k] * (a[1][l] * a[2][m] - a[1][m] * a[2][l]);
    }
    return sum;
}

static affine inverse(const affine *f)
{
    affine g;
    double det = determinant(f->a);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            int p = (k + 1) % 3, q = (k + 2) % 3, r = (i + 1) % 3, s = (i + 2) % 3;
            g.a[i][k] = (f->a[p][r] * f->a[q][s] - f->a[p][s] * f->a[q][r]) / det;
        }
    for (int i = 0; i < 3; i++)
        g.d[i] = -(g.a[i][0] * f->d[0] + g.a[i][1] * f->d[1] + g.a[i][2] * f->d[2]);
    return g;
}

/* Voxels that are much larger in one tomogram than in the other, or mirrored, are no
 * match of two that these programs would make. */
static tr_status check_match(const char *path, const affine *match)
{
    double det = determinant(match->a);
    if (det < 0.0)
        return tr_fail(TR_ERR_DATA,
                       "%s mirrors the specimen, which no two tilt series of it do; does "
                       "it match tomograms of another hand?",
                       path);
    if (!(det > 0.5 && det < 2.0))
        return tr_fail(TR_ERR_DATA,
                       "%s makes the specimen %.3g times as large; it must be about "
                       "tomograms with voxels as large as each other's",
                       path, det);
    return TR_OK;
}

static bool is_inverse_name(const char *path)
{
    return strncmp(tr_name_only(path), "inverse", 7) == 0;
}

/* From the first volume to the second, in the order x, y, s. */
static tr_status read_match(const char *path, double bin, tr_relation *to)
{
    static const int of_file[3] = {0, 2, 1};
    double rows[3][4];
    affine match;
    tr_text text;
    TR_TRY(tr_text_read(path, &text));
    tr_status status = read_rows(&text, rows);
    tr_text_free(&text);
    TR_TRY(status);
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 3; k++)
            match.a[i][k] = rows[of_file[i]][of_file[k]];
        match.d[i] = rows[of_file[i]][3] / bin;
    }
    TR_TRY(check_match(path, &match));
    if (!is_inverse_name(path))
        match = inverse(&match);
    memcpy(to->turn, match.a, sizeof to->turn);
    memcpy(to->shift, match.d, sizeof to->shift);
    return TR_OK;
}

/* ---- the alignments ---- */

/* Of the view that is tilted least: from the raw image's y to the tilt axis, degrees
 * counter-clockwise, by its transform. */
static double axis_of(const tr_views *views)
{
    const tr_view *least = views->view;
    for (size_t k = 1; k < views->n; k++)
        if (fabs(views->view[k].tilt) < fabs(least->tilt))
            least = &views->view[k];
    const tr_transform *t = &least->transform;
    /* The transform turns the axis onto y. */
    return views->has_transforms ? atan2(t->a12 - t->a21, t->a11 + t->a22) * TR_DEGREES
                                 : 0.0;
}

/* -90 < degrees <= 90, but for rounding. */
static double within_90(double degrees)
{
    degrees -= 180.0 * round(degrees / 180.0);
    return degrees < -89.999 ? degrees + 180.0 : degrees;
}

static tr_status relate_alignments(const tr_reconstruction *first, tr_second *second)
{
    const double nearest = 15.0;
    double a = axis_of(&first->views), b = axis_of(&second->r.views);
    if (fabs(within_90(b - a)) < nearest)
        return tr_fail(TR_ERR_USAGE,
                       "the tilt axes of %s and %s are both at about the same angle, "
                       "%.1f and %.1f degrees from y, by the alignments of the two, so "
                       "these do not tell how the specimen was turned in between; give "
                       "--second-match",
                       first->series_path, second->r.series_path, a, b);
    /* An image point at p in the raw images is at R(-a) p in the first volume and at
     * R(-b) p in the second. */
    double turn = (a - b) * TR_RADIANS;
    tr_relation *r = &second->relation;
    *r = (tr_relation){.turn = {{cos(turn), -sin(turn), 0.0},
                                {sin(turn), cos(turn), 0.0},
                                {0.0, 0.0, 1.0}}};
    return TR_OK;
}

/* ---- both ---- */

/* The middle of a volume of even sizes; or, of what the middle of the views shows. */
static void find_origin(const tr_geometry *g, bool of_views, double origin[3])
{
    origin[0] = ((double)g->width - 1.0) / 2.0;
    origin[1] = ((double)g->n_v - 1.0) / 2.0;
    origin[2] = ((double)g->thickness - 1.0) / 2.0;
    if (!of_views)
        return;
    origin[0] = g->axis_x - g->axis_u + ((double)g->n_u - 1.0) / 2.0;
    origin[2] = g->axis_z;
}

tr_status tr_second_relate(const tr_reconstruction *first, tr_second *second)
{
    const tr_options *o = &first->command->options;
    tr_relation *r = &second->relation;
    if (o->second_match)
        TR_TRY(read_match(o->second_match, (double)o->views.bin, r));
    else
        TR_TRY(relate_alignments(first, second));
    find_origin(&first->job.geometry, !o->second_match, r->first);
    find_origin(&second->r.job.geometry, !o->second_match, r->second);
    /* The second volume's y axis in the first one: the second row of the matrix, but for
     * its scale. */
    second->axis = within_90(atan2(-r->turn[1][0], r->turn[1][1]) * TR_DEGREES);
    return TR_OK;
}

/* What the second volume's ray is for voxels of the first. */
static tr_ray compose(const tr_ray *ray, const tr_relation *r)
{
    const double u[3] = {ray->ux, ray->uy, ray->uz}, v[3] = {ray->vx, ray->vy, ray->vz};
    double at[3], of_u[3], of_v[3]; /* at: voxel 0 of the first */
    tr_ray made = {.u0 = ray->u0, .v0 = ray->v0};
    for (int i = 0; i < 3; i++) {
        at[i] = r->second[i] + r->shift[i];
        of_u[i] = of_v[i] = 0.0;
        for (int k = 0; k < 3; k++)
            at[i] -= r->turn[i][k] * r->first[k];
    }
    for (int i = 0; i < 3; i++) {
        made.u0 += u[i] * at[i];
        made.v0 += v[i] * at[i];
        for (int k = 0; k < 3; k++) {
            of_u[k] += u[i] * r->turn[i][k];
            of_v[k] += v[i] * r->turn[i][k];
        }
    }
    made.ux = of_u[0], made.uy = of_u[1], made.uz = of_u[2];
    made.vx = of_v[0], made.vy = of_v[1], made.vz = of_v[2];
    return made;
}

tr_status tr_second_find_rays(tr_second *second)
{
    const tr_geometry *g = &second->r.job.geometry;
    const tr_views *views = &second->r.views;
    const tr_image_info *info = tr_image_get_info(second->r.image);
    /* Turning the rays spares resampling the images. */
    bool in_rays = views->has_transforms && second->inputs.nx == info->nx &&
                   second->inputs.ny == info->ny;
    second->rays = tr_calloc("rays", g->n_views, sizeof *second->rays);
    if (!second->rays)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < g->n_views; k++) {
        double m[6];
        if (in_rays)
            tr_transform_inverse(&views->view[k].transform, g->n_u, g->n_v, g->n_u,
                                 g->n_v, m);
        const tr_ray ray = tr_geometry_direct_ray(g, k, in_rays ? m : NULL, 0.0, 0.0);
        const tr_ray own = compose(&ray, &second->relation);
        const tr_ray turned = {own.v0, own.vx, own.vy, own.vz,
                               own.u0, own.ux, own.uy, own.uz};
        second->rays[k] = second->transposed ? turned : own;
    }
    return TR_OK;
}

bool tr_second_stays_inside(const tr_geometry *first, const tr_ray *ray, bool across,
                            double u, double v)
{
    double det = ray->ux * ray->vy - ray->uy * ray->vx;
    for (int end = 0; end < 2; end++) {
        double z = end ? (double)first->thickness - 1.0 : 0.0;
        double du = u - ray->u0 - ray->uz * z, dv = v - ray->v0 - ray->vz * z;
        double x = (ray->vy * du - ray->uy * dv) / det;
        double y = (ray->ux * dv - ray->vx * du) / det;
        if (!(y >= -0.5 && y <= (double)first->n_v - 0.5) ||
            (across && !(x >= 0.5 && x <= (double)first->width - 1.5)))
            return false;
    }
    return true;
}
