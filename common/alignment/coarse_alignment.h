/* The first alignment of a raw tilt series: shifts from each view to its neighbours, and
 * the tilt axis from what all views have in common, their projection onto it. */
#ifndef TR_COARSE_ALIGNMENT_H
#define TR_COARSE_ALIGNMENT_H

#include "common/alignment/planes.h"

/* Of a peak (tr_overlay), for it to be more than chance among the shifts there are. */
#define TR_LEAST_SIGNIFICANCE 5.0

/* Views made small, of mean 0 and standard deviation 1. */
typedef struct tr_small_views {
    size_t n, nx, ny;
    const double *tilt; /* radians */
    const float *image; /* [n][ny][nx] */
} tr_small_views;

/* shift[n], in the frame in which the tilt axis, `axis` radians from y counterclockwise,
 * is y: of each view onto the mean of up to three that were aligned before it and are
 * nearest in angle, from the view that is tilted least outwards, the less tilted ones
 * narrowed by the ratio of the cosines. `widest`: the largest shift between neighbours,
 * pixels. found[n] says how well; those below TR_LEAST_SIGNIFICANCE are nobody's
 * neighbours. The same whatever the threads. Errors: memory. */
TR_CHECKED tr_status tr_coarse_shifts(const tr_small_views *views, double axis,
                                      size_t widest, int threads, double (*shift)[2],
                                      tr_overlay *found);

/* How much the views agree in their sums across the tilt axis if that lies at `axis`, and
 * the shifts in the frame of `shift_axis` are right across it: the mean correlation of
 * each view's line with the sum of the others', which are shifted along the axis to fit.
 * Of a view at tilt t only the strip |u| <= width / 2 cos t counts, in which all see the
 * same of a thin specimen. Errors: memory. */
TR_CHECKED tr_status tr_common_lines(const tr_small_views *views,
                                     const double (*shift)[2], double shift_axis,
                                     double axis, double width, double *score);

/* The axis with the best score within `range` radians of `centre`; the shifts are in the
 * frame of `shift_axis`: first by steps of half a degree, then finer. scores, if not
 * NULL, are of the best, and the mean and the standard deviation over all steps. Errors:
 * memory. */
typedef struct tr_axis_scores {
    double best, mean, deviation;
} tr_axis_scores;
TR_CHECKED tr_status tr_find_tilt_axis(const tr_small_views *views,
                                       const double (*shift)[2], double shift_axis,
                                       double centre, double range, int threads,
                                       double *found, tr_axis_scores *scores);

#endif
