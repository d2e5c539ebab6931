/* Views restored by a Wiener filter with the ratio of signal to noise that their own
 * spectra show. With the transfer h (CTF times what the exposure has left) and c = cos
 * tilt, the power of a view at the frequency k is taken to be
 *   h^2 P(k) / c + N,
 * P that of the specimen's untilted projection and N the view's noise, which is the mean
 * power above 0.85 of the highest frequency. P follows from all views together, in rings,
 *   P = sum N^-2 (|F|^2 - N) h^2 / c  /  sum N^-2 h^4 / c^2,
 * and is smoothed by a cubic in log k. The filter is h / (h^2 + N c / (m P)), where m =
 * 1 / (k T d), at least 1, is how many views meet in a frequency of the specimen, which
 * is T pixels thick, if they are d radians apart: the noise there is that of their mean.
 * Frequencies are in cycles per pixel of the file, power per pixel, in units of the
 * view's mean where all views have one.
 *
 * Where a view's even and odd frames are there, E and O, scaled so that their mean is the
 * view, their noise is in neither of both: Re(E O*) takes the place of |F|^2 - N, and
 *   N(k) = ((|E|^2 + |O|^2) / 2 - Re(E O*)) / 2,
 * which need not be white. */
#ifndef TR_WIENER_H
#define TR_WIENER_H

#include "common/views/view_step.h"

struct tr_wiener {
    /* False: the spectra show no noise by itself, and the ratio is that of Warp's
     * constants. */
    bool measured;
    double cubic[4], middle; /* log P over log k - middle, */
    double low, high;        /* between these; the same below, */
    double slope;            /* a power law beyond */
    double *noise;           /* N c of each view, N at high frequencies; */
    double *shape;           /* times this in each of the rings; NULL: white */
    size_t rings;
    double overlap; /* T d; 0: m is 1 */
};

/* The rings of views of nx x ny pixels of so many angstroms, from 0 to half a cycle per
 * pixel, and the doubles that tr_wiener_add wants for one view. */
size_t tr_wiener_rings(size_t nx, size_t ny, double pixel);
size_t tr_wiener_sums(size_t rings);

/* What is to be known of a view's spectrum[ny][nx/2 + 1]. */
void tr_wiener_add(const tr_view_params *params, const tr_view_facts *view, size_t nx,
                   size_t ny, float (*spectrum)[2], size_t rings, double *sums);

/* The same of its even and odd frames. */
void tr_wiener_add_halves(const tr_view_params *params, const tr_view_facts *view,
                          size_t nx, size_t ny, float (*even)[2], float (*odd)[2],
                          size_t rings, double *sums);

/* Of the sums of all n views, in their order, which are those of half frames or of whole
 * views; says what it found. Freed by tr_wiener_free. Errors: TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_wiener_fit(const tr_view_params *params, const tr_view *views,
                                   size_t n, double pixel, bool halves, size_t rings,
                                   const double *sums, tr_wiener **wiener);
void tr_wiener_free(tr_wiener *wiener); /* NULL is fine */

/* P, where it was measured. */
double tr_wiener_power(const tr_wiener *wiener, double k);
/* N c / (m P), `noise` being the view's. */
double tr_wiener_ratio(const tr_wiener *wiener, double noise, double k);
/* What of it a filter depends on, of n views. */
unsigned long long tr_wiener_hash(const tr_wiener *wiener, size_t n);

/* Signal over noise by Warp's constants (strength 1, falloff 1), whatever the specimen
 * is, at f in 1/angstrom: 1000 exp(-200 f), less below 1/150. */
double tr_warp_ratio(double f);

#endif
