/* What each view of a slab ought to show, from what all the others show: the best linear
 * prediction where nothing is known of the specimen but its thickness.
 *
 * Views are in the frame x = u / cos t, y = v (u right of the tilt axis), as if seen from
 * above. With the slab's Fourier transform F(kx, ky, kz), view i has F at kz = -kx tan
 * t_i; in a slab of thickness T whose density is random, two views have the correlation
 *
 *   c_ij = signal sinc(pi T kx (tan t_i - tan t_j)) + (1 - signal) [i = j]
 *
 * at every frequency, both having the power 1, of which `signal` is the specimen's.
 * With K = (c_ij), the prediction of view i from all others is f_i - (K^-1 f)_i /
 * (K^-1)_ii (leave-one-out prediction of Gaussian processes: Rasmussen and Williams
 * 2006, 5.4.2): a reprojection of the filtered backprojection of the others, whose filter
 * is the best one for these angles and this noise. */
#ifndef TR_SLAB_PREDICTION_H
#define TR_SLAB_PREDICTION_H

#include "common/base/err.h"

enum { TR_SLAB_MOST_VIEWS = 512 };

typedef struct tr_slab_views {
    size_t n, nx, ny;   /* views, up to TR_SLAB_MOST_VIEWS, and the pixels of each */
    const double *tilt; /* radians, within 80 degrees */
    double thickness;   /* pixels */
    double high;        /* cycles per pixel: nothing above it is predicted */
} tr_slab_views;

/* Frequencies are counted by rings of 1 / max(nx, ny) cycles per pixel, from 0. */
size_t tr_slab_rings(const tr_slab_views *v);
size_t tr_slab_ring(const tr_slab_views *v, size_t kx, size_t ky);

/* signal[ring], 0 to 0.98, from the agreement of neighbours (in the order of the angles,
 * order[n]) in spectra[n][ny][nx / 2 + 1]. */
void tr_slab_signal(const tr_slab_views *v, const size_t *order,
                    const float (*spectra)[2], double *signal);

/* Of these views and this signal. Freed by the other one. Errors: memory. */
typedef struct tr_slab_predictor tr_slab_predictor;
TR_CHECKED tr_status tr_slab_predictor_new(const tr_slab_views *v, const double *signal,
                                           int threads, tr_slab_predictor **made);
void tr_slab_predictor_free(tr_slab_predictor *p); /* NULL is fine */

/* (K^-1)_ii of a view at a frequency: one over the variance that is left when all others
 * are known. 0 where nothing is predicted. */
double tr_slab_precision(const tr_slab_predictor *p, size_t view, size_t kx, size_t ky);

/* predicted[n][ny][nx / 2 + 1] of spectra of the same shape. The same whatever the
 * threads. */
void tr_slab_predict(const tr_slab_predictor *p, const float (*spectra)[2], int threads,
                     float (*predicted)[2]);

#endif
