/* Where the rotation axis of a scan is, by three methods that fail in different ways. All
 * give its distance from the middle of the views in pixels, along u, for
 *
 *   p(t + 180, a + u) = p(t, a - u)
 *
 * which only holds for rays that are parallel. */
#ifndef TR_ROTATION_AXIS_H
#define TR_ROTATION_AXIS_H

#include "common/base/err.h"

/* NaN: the views do not allow this method. */
typedef struct tr_axis_found {
    /* The shift at which views that lie half a turn apart are nearest to mirror images of
     * each other. For any specimen, wider than the views or not. */
    double pair;
    /* That at which the sinogram over a full turn, the second half of it made by
     * mirroring the first, has least where the spectrum of what is within the field is
     * zero: harmonic n of the angle at frequency w along u, for n > w N / 2 (double
     * wedge; Vo, Drakopoulos, Atwood and Reinhard, Optics Express 22, 19078, 2014). Views
     * that are evenly spaced. */
    double wedge;
    /* The centre of mass of the projections is a + x cos t - s sin t. For a specimen that
     * is narrower than the views. Of a full turn whose axis is near an edge, for one that
     * is narrower than stitched views: where their mass varies least. */
    double mass;
    size_t pairs; /* of views that were compared for the first */
} tr_axis_found;

/* From sinograms[row][view][u] of -log of transmissions and the angles of the views, in
 * degrees. TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_rotation_axis(const float *sinograms, size_t n_rows,
                                      size_t n_views, size_t n_u, const double *tilts,
                                      tr_axis_found *found);

/* *shift becomes what to take, NaN where there is none; true if it is sure: another
 * method agrees within a quarter of a pixel, the pairs being one of the two where there
 * are any.
 */
bool tr_axis_agree(const tr_axis_found *found, double *shift);

/* "7.30", or "unknown". */
void tr_axis_text(double shift, char text[24]);

#endif
