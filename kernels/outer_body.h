/* What lies outside the field, one text for every backend: on each side of the volume's
 * columns (the core) `outer` cells that grow with their distance and together cover all
 * that any ray passes. A cell has one value for each plane and row. Along a row its
 * density is constant, so the row is a staircase, and a view of it is known from the
 * steps: a step of 1 at position x_b is seen at column c = base + ux x_b and on, as
 *
 *   1/ux times the integral of the hat functions of columns beyond c
 *
 * whose differences from column to column are the three weights of tr_outer_step. Steps
 * are added up there, and one running sum over the columns makes the view of it. The
 * adjoint is the same list backwards. Needs ux > 0.
 *
 * Cells of a side are counted from the core outwards; the last one never ends. */
#ifndef TR_OUTER_BODY_H
#define TR_OUTER_BODY_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/ray_body.h"

/* Steps further left than LEFT columns before the image are seen by all of it. The list
 * of steps has room for those, for what a step at the last column adds beyond it, and for
 * one more, because a step just before the image's end may be rounded to it. */
enum { TR_OUTER_LEFT = 3, TR_OUTER_SPARE = 6 };

/* Pixels from the core to the inner end of cell k: cells are 4, 4, 4, 4, 8, 8, 8, 8, 16,
 * ... wide. */
TR_HD static inline double tr_outer_edge(int k)
{
    return 4.0 * (double)(1LL << (k / 4)) * (double)(4 + k % 4) - 16.0;
}

/* The voxel position (core voxels lie at 0 .. n_x - 1) of cell k's inner end. */
TR_HD static inline double tr_outer_position(bool right, int k, double n_x)
{
    return right ? n_x - 0.5 + tr_outer_edge(k) : -0.5 - tr_outer_edge(k);
}

/* The line of cell k within its plane's 2 * outer lines of cells: as the cells lie along
 * x, with the core left out. */
TR_HD static inline size_t tr_outer_line(bool right, size_t k, size_t outer)
{
    return right ? outer + k : outer - 1 - k;
}

/* One side of one row as a view sees it: the cell at the image's left edge, or -1 if it
 * is not one of this side, and the cells whose inner ends are steps within the image. */
typedef struct tr_outer_span {
    int entering, first, end;
} tr_outer_span;

/* Of several rows, whose bases are from `low` to `high`: what any of them sees. */
TR_HD static inline tr_outer_span tr_outer_find_any(bool right, int outer, double n_x,
                                                    double n_u, double low, double high,
                                                    double ux)
{
    tr_outer_span s;
    /* Steps pass beyond an edge of the image from some cell on, in either direction. */
    int k = 0;
    if (right) {
        while (k < outer && high + ux * tr_outer_position(true, k, n_x) <= -TR_OUTER_LEFT)
            k++;
        s.entering = k - 1;
        s.first = k;
        while (k < outer && low + ux * tr_outer_position(true, k, n_x) < n_u)
            k++;
        s.end = k;
    } else {
        while (k < outer && low + ux * tr_outer_position(false, k, n_x) >= n_u)
            k++;
        s.first = k;
        while (k < outer && high + ux * tr_outer_position(false, k, n_x) > -TR_OUTER_LEFT)
            k++;
        s.end = k;
        s.entering = k - 1;
    }
    return s;
}

TR_HD static inline tr_outer_span tr_outer_find(bool right, int outer, double n_x,
                                                double n_u, double base, double ux)
{
    return tr_outer_find_any(right, outer, n_x, n_u, base, base, ux);
}

/* A step up at column c: the place in the list of steps of the first of three weights. */
typedef struct tr_outer_taps {
    int at;
    float weight[3];
} tr_outer_taps;

/* `height` is 1/ux for a step up to the right, -1/ux for one down. */
TR_HD static inline tr_outer_taps tr_outer_step(double c, double height)
{
    /* Truncating what is not negative rounds down: c > -TR_OUTER_LEFT. */
    int i = (int)(c + TR_OUTER_LEFT);
    double f = c + TR_OUTER_LEFT - i;
    double first = (1.0 - f) * (1.0 - f) / 2.0, last = f * f / 2.0;
    tr_outer_taps t;
    t.at = i;
    t.weight[0] = (float)(height * first);
    t.weight[1] = (float)(height * (1.0 - first - last));
    t.weight[2] = (float)(height * last);
    return t;
}

/* How many columns see a step at this place of the list. */
TR_HD static inline double tr_outer_seen_by(size_t at, size_t n_u)
{
    size_t hidden = at > TR_OUTER_LEFT ? at - TR_OUTER_LEFT : 0;
    return hidden < n_u ? (double)(n_u - hidden) : 0.0;
}

/* The step at the inner end of cell k, from 0 before the cell to 1 in it. */
TR_HD static inline tr_outer_taps tr_outer_step_at(bool right, int k, double n_x,
                                                   double base, double ux)
{
    return tr_outer_step(base + ux * tr_outer_position(right, k, n_x),
                         (right ? 1.0 : -1.0) / ux);
}

#endif
