/* What the views say of themselves before an iterative method begins: how strong their
 * noise is, and whether the specimen goes on beyond them. */
#ifndef TR_NOISE_H
#define TR_NOISE_H

#include "common/base/comm.h"
#include "common/series/series.h"

typedef struct tr_noise {
    double sigma;     /* standard deviation of a pixel's noise; 0: not measured */
    double deviation; /* of a view's pixels, root of the mean square over the views */
    /* Mean square of the outer columns over that of all, the noise's share taken off
     * both: about 0 for an isolated specimen, about 1 for one that goes on. */
    double edges;
    bool white; /* neighbouring pixels' noise is independent */
} tr_noise;

/* Whether iterations may be judged by it. White noise is measured to a few percent; other
 * noise, if weak, with fine detail of the specimen in it, too large by up to 3 times. */
static inline bool tr_noise_is_known(const tr_noise *noise)
{
    return noise->sigma > 0.0 &&
           (noise->white || noise->sigma >= 0.35 * noise->deviation);
}

/* Measured on up to 8 bands of 32 rows of the prepared views, the same whatever the
 * processes. sigma of a view is the median of |D b| / (6 x 0.6745), D the product of the
 * second differences 1 -2 1 along both axes: of neighbours where these tell as much as
 * pixels 2 apart, which is white noise, else of pixels 3 apart, for aligned views are
 * interpolated, and their noise is alike in neighbours. 0 for images smaller than 7 x 7.
 * Collective. Errors: reading, memory. */
TR_CHECKED tr_status tr_noise_measure(tr_comm *comm, tr_series *series,
                                      const tr_geometry *geometry, tr_noise *noise);

/* Mark the rows it looks at, of those that images have. */
void tr_noise_rows(size_t n_v, bool *rows);

#endif
