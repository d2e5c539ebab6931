/* Views of a scan over a full turn whose rotation axis is near an edge of the detector: a
 * view and the mirror image of the one half a turn on are two parts of one that is nearly
 * twice as wide, since for parallel rays
 *
 *   p(t + 180, a + u) = p(t, a - u). */
#ifndef TR_STITCH_H
#define TR_STITCH_H

#include <stdbool.h>
#include <stddef.h>

typedef struct tr_stitch {
    size_t n, width;   /* columns of a view, and of what two of them become */
    size_t added_left; /* of the latter, those in front of the view's first */
    double mirror;     /* column u of a view is column mirror - u of the other */
    size_t first, end; /* columns of the view that the other one has as well */
} tr_stitch;

/* For an axis `shift` pixels from the middle of n columns. False: no column is in both
 * views, or the other one adds none. */
bool tr_stitch_init(size_t n, double shift, tr_stitch *stitch);

/* How far the middle of what is stitched is from the middle of the view, in columns. */
double tr_stitch_middle(const tr_stitch *stitch);

/* out[width] from a line of a view and the same line of the other; where both have
 * something they are blended linearly, NaN being nothing. Between columns of the other
 * one by cubic convolution (Keys, IEEE Trans. ASSP 29, 1153, 1981; a = -1/2). */
void tr_stitch_line(const tr_stitch *stitch, const float *view, const float *other,
                    float *out);

/* The other view of one: (1 - part) * first + part * next, sections of the image. */
typedef struct tr_half_turn {
    size_t first, next;
    double part;
} tr_half_turn;

#endif
