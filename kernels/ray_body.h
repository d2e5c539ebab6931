/* The arithmetic of one ray, one text for every backend. The kernels that gather a
 * projection work out the same weights from the distance, equal to float's rounding. */
#ifndef TR_RAY_BODY_H
#define TR_RAY_BODY_H

#include "kernels/host_device.h"

/* The two columns of P a voxel touches: line `column` (0 is the left guard) with weight
 * 1 - fraction, and the next with weight fraction. Rays outside the image land wholly
 * on a guard. Double, because at column 4096 a float has 12 bits of fraction left. */
TR_HD static inline void tr_ray_column(double base, double ux, double ix, double last,
                                       int *column, float *fraction)
{
    double c = base + ux * ix;
    c = c > 0.0 ? c : 0.0;
    c = c < last ? c : last;
    int j = (int)c;
    *column = j;
    *fraction = (float)(c - j);
}

/* `base` and `last` for the above: of row iz of one view; the last guarded column. */
TR_HD static inline double tr_ray_base(double u0, double uz, double iz)
{
    return u0 + 1.0 + uz * iz;
}
TR_HD static inline double tr_ray_last(double n_u) { return n_u + 1.0; }

#endif
