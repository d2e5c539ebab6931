/* What lies outside the field (outer_body.h) where rays leave their row, one text for
 * every backend. The image of a row of one plane is a line: of its two axes, the one that
 * is nearer to it, turned so that x runs up, is called p, and the other one q. Along p
 * the row is the staircase of outer_body.h, whose steps are at
 *
 *   c = p0 + px x + py r + pz z
 *
 * Each side of the core has a list of its own, whose steps go outwards: that of the left
 * one has p = n_p - 1 first. So a cell that is hardly seen is not the small difference of
 * large sums. What the running sums are at p is seen at
 *
 *   q = q0 + slope p + qy r + qz z
 *
 * where it is shared out among the pixels within `reach` by a hat function. That is 1
 * wide where rows are seen close to each other, and as wide as their distance where that
 * is more, so that the rows of a constant density add up to a constant. Planes that are
 * seen within half a pixel of each other in q share a list of steps, a band. */
#ifndef TR_OUTER_COUPLED_BODY_H
#define TR_OUTER_COUPLED_BODY_H

#include <math.h>

#include "kernels/backend.h"
#include "kernels/outer_body.h"

/* How one view sees the rows. The pixel at p and q is at first + step_p p + step_q q of
 * the view's (n_u + TR_GUARDS) x p_rows floats. */
typedef struct tr_outer_course {
    double p0, px, py, pz, q0, slope, qy, qz, reach;
    size_t n_p, n_q, planes, bands; /* planes of a band: the last one may have fewer */
    ptrdiff_t first, step_p, step_q;
    long first_q;         /* the pixel of q counted from here is the first of the n_q */
    bool along_u, turned; /* p is the column; it runs backwards */
} tr_outer_course;

/* Bands of at most `most` planes. Neither ux = vx = 0 nor other degenerate rays. */
TR_HD static inline tr_outer_course tr_outer_find_course(const tr_slab *s,
                                                         const tr_ray *ray, size_t most)
{
    tr_outer_course c;
    c.along_u = fabs(ray->ux) >= fabs(ray->vx);
    c.first_q = c.along_u ? s->p_first : 0;
    /* Element by element, so that devices keep them in registers. */
    double v0 = ray->v0 - (double)(c.along_u ? 0 : s->p_first);
    double p[4] = {c.along_u ? ray->u0 : v0, c.along_u ? ray->ux : ray->vx,
                   c.along_u ? ray->uy : ray->vy, c.along_u ? ray->uz : ray->vz};
    double q[4] = {c.along_u ? v0 : ray->u0, c.along_u ? ray->vx : ray->ux,
                   c.along_u ? ray->vy : ray->uy, c.along_u ? ray->vz : ray->uz};
    c.n_p = c.along_u ? s->n_u : s->p_rows;
    c.n_q = c.along_u ? s->p_rows : s->n_u;
    c.turned = p[1] < 0.0;
    double sign = c.turned ? -1.0 : 1.0, from = c.turned ? (double)c.n_p - 1.0 : 0.0;
    c.p0 = from + sign * p[0], c.px = sign * p[1], c.py = sign * p[2], c.pz = sign * p[3];
    c.slope = q[1] / c.px;
    c.q0 = q[0] - c.slope * c.p0;
    c.qy = q[2] - c.slope * c.py;
    c.qz = q[3] - c.slope * c.pz;
    /* Not so wide that more than three pixels share it. */
    double apart = fabs(c.qy);
    c.reach = apart < 1.0 ? 1.0 : apart > 1.5 ? 1.5 : apart;
    double drift = fabs(c.qz);
    c.planes = most < s->n_z ? most : s->n_z;
    if (drift * ((double)c.planes - 1.0) > 0.5)
        c.planes = (size_t)(0.5 / drift) + 1;
    c.bands = (s->n_z + c.planes - 1) / c.planes;
    ptrdiff_t column = (ptrdiff_t)s->p_rows;
    c.step_p = (c.along_u ? column : 1) * (c.turned ? -1 : 1);
    c.step_q = c.along_u ? 1 : column;
    c.first = column + (c.turned ? -c.step_p * ((ptrdiff_t)c.n_p - 1) : 0);
    return c;
}

typedef struct tr_outer_band {
    size_t begin, end; /* planes */
    double q0;         /* q of row 0 at p = 0 */
} tr_outer_band;

TR_HD static inline tr_outer_band tr_outer_find_band(const tr_slab *s,
                                                     const tr_outer_course *c, size_t b)
{
    tr_outer_band band;
    band.begin = b * c->planes;
    band.end = band.begin + c->planes < s->n_z ? band.begin + c->planes : s->n_z;
    band.q0 = c->q0 + c->qz * 0.5 * ((double)(band.begin + band.end) - 1.0);
    return band;
}

/* One side of one plane in its list: row 0 and what a row adds, such that cell k steps up
 * at base + py r + px tr_outer_position(true, k, n_x). */
typedef struct tr_outer_start {
    double base, py;
} tr_outer_start;

TR_HD static inline tr_outer_start
tr_outer_find_start(const tr_slab *s, const tr_outer_course *c, size_t iz, bool right)
{
    tr_outer_start start = {c->p0 + c->pz * (double)iz, c->py};
    if (!right) {
        start.base = (double)c->n_p - 1.0 - start.base - c->px * ((double)s->n_x - 1.0);
        start.py = -c->py;
    }
    return start;
}

/* The share of a pixel that is `away` from where a row is seen. */
TR_HD static inline float tr_outer_share(float away, float reach)
{
    float share = 1.0f - fabsf(away) / reach;
    return share > 0.0f ? share / reach : 0.0f;
}

/* The places of a list: those of a slab's largest. */
TR_HD static inline size_t tr_outer_places(const tr_slab *s)
{
    return (s->n_u > s->p_rows ? s->n_u : s->p_rows) + TR_OUTER_SPARE;
}

#endif
