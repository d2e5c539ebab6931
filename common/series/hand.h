/* On which side of the tilt axis a tilted view has the larger defocus, from the views
 * themselves: with the hand h, which is 1 or -1, the defocus at the distance u right of
 * the axis is that of the view + h u tan t. A wrong sign is not seen in the defocus of
 * whole views. */
#ifndef TR_HAND_H
#define TR_HAND_H

#include "common/base/comm.h"
#include "common/geometry/geometry.h"
#include "common/series/series.h"

enum { TR_HAND_IS_PLUS, TR_HAND_IS_MINUS, TR_HANDS };

typedef struct tr_hand {
    int verdict; /* 1 or -1; 0: the views do not tell */
    /* By each of both: the correlation of the rings of tiles' spectra with CTF^2 at the
     * tiles' own defocus; and without the CTF's form the variance over the frequencies of
     * the mean of all rings, stretched to one defocus: the larger, the better they
     * agree. */
    double model[TR_HANDS], stretched[TR_HANDS];
    size_t n_views, n_tiles, tile; /* looked at; a tile's pixels along either axis */
} tr_hand;

/* Looks at up to 12 views of the series as they are in the file, tilted by 20 degrees or
 * more, in tiles of 256 pixels (128 in smaller views) that overlap by half. The
 * logarithm of a tile's ring means is compared, and a smooth curve (Legendre polynomials
 * up to 5 in log f) is taken from it and from the model, CTF^2 exp(-30 f), at 1 / 60 of
 * an angstrom and above. A verdict needs correlations that differ by more than 0.03, and
 * both ways to agree. The series' steps have the optics, its views the defoci; `g` has
 * the tilts; `shift` is how far the axis is right of the middle of the aligned images, in
 * pixels of the file. The same whatever the processes and threads. Collective. Errors:
 * reading, memory. */
TR_CHECKED tr_status tr_hand_check(tr_comm *comm, const tr_series *series,
                                   const tr_geometry *g, double shift, int threads,
                                   tr_hand *hand);

#endif
