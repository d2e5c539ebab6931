/* What the files of the check share: alignment_spectra.c makes and predicts the views,
 * alignment_measure.c compares both, alignment_check.c draws the conclusions. */
#ifndef TR_ALIGNMENT_PRIVATE_H
#define TR_ALIGNMENT_PRIVATE_H

#include <fftw3.h>

#include "common/alignment/alignment_check.h"
#include "common/alignment/slab_prediction.h"

typedef struct tr_check_work {
    const tr_check_source *source;
    int threads;
    size_t n, nx, ny, columns, size; /* size: of a spectrum */
    tr_slab_views slab;
    size_t *order;     /* of the views by angle */
    double *amplitude; /* [ring], of all views; NULL before the first are loaded */
    double *signal;    /* [ring] */
    double (*d)[2];    /* [n]: shifts taken out of the stretched views, pixels */
    double depth;      /* z of the specimen's middle */
    float *window[2];  /* along x and y */
    fftwf_complex *view, *shifted, *predicted; /* [n] spectra each */
    tr_slab_predictor *predictor;
    fftwf_plan forward, backward; /* of unaligned arrays */
} tr_check_work;

TR_CHECKED tr_status tr_check_begin(const tr_check_source *source, int threads,
                                    tr_check_work *w);
void tr_check_end(tr_check_work *w);
/* w->view, of views turned by so much. */
TR_CHECKED tr_status tr_check_load(tr_check_work *w, double turn);
/* w->signal and w->predictor, of the views as they are shifted now. */
TR_CHECKED tr_status tr_check_learn(tr_check_work *w);
/* w->shifted and w->predicted, with w->d and w->depth. */
void tr_check_predict(tr_check_work *w);

/* How much a frequency counts in correlation functions; and in correlations. */
double tr_check_weight(const tr_check_work *w, size_t ring, bool alike);

/* Of w->shifted with w->predicted. */
double tr_check_correlation(const tr_check_work *w, size_t view);

/* Where the correlation function of a view has its peak, in stretched pixels. */
typedef struct tr_check_peak {
    double at[2];
    double peak, next, zero; /* over its rms; the next one elsewhere; at (0, 0) */
} tr_check_peak;
TR_CHECKED tr_status tr_check_peaks(const tr_check_work *w, tr_check_peak *peaks);

/* Sums over a patch: of (view - b prediction) times the prediction's gradient, and of the
 * gradient's squares xx, xy, yy; of view times prediction, and of the view's square. All
 * by the precision of the predictions (tr_slab_precision). */
typedef struct tr_check_sums {
    double slope[2], bend[3], product, square;
} tr_check_sums;
/* sums[n][TR_CHECK_PATCHES]; gain[n] is b. */
TR_CHECKED tr_status tr_check_patches(const tr_check_work *w, tr_check_sums *sums,
                                      double *gain);

#endif
