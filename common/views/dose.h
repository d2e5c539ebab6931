/* What exposure does to a view: the curves of dose weighting, and the order in which
 * views were taken. Exposures are in electrons per square angstrom. */
#ifndef TR_DOSE_H
#define TR_DOSE_H

#include "common/options/view_params.h"
#include "common/views/views.h"

/* Critical dose at k (1/angstroms, above 0) and 300 kV: 0.24499 k^-1.6649 + 2.8141 (Grant
 * & Grigorieff, eLife 4:e06980, 2015). */
double tr_critical_dose(double k);
/* What it is multiplied with at another voltage: 1 at 300 kV and above, 0.8 at 200, 0.45
 * at 120 and below, linear between. */
double tr_critical_dose_scale(double kilovolts);

/* The exposure that the model counts for a view: up to its end (GG) or its beginning
 * (B-factor). NaN: not known. */
double tr_dose_counted(const tr_view_params *params, const tr_view *view);
/* The amplitude that is left at k after that exposure N: exp(-N / (2 scale Nc(k))), or
 * exp(-N B k^2 / 4); 1 at k = 0. */
double tr_dose_weight(const tr_view_params *params, double counted, double k);

/* "Grant and Grigorieff, 300 kV". */
void tr_dose_model_name(const tr_view_params *params, char *text, size_t size);

/* ---- the order of n sections: order[i] is the one that was taken as number i ---- */

/* By rising values; of equal ones, the first in the file first. Those that are not known
 * (NaN) are left out; returns how many are. */
size_t tr_order_by(const double *value, size_t n, size_t *order);
/* The one next to `start` degrees, then `group` upwards, `group` downwards, and so on;
 * with a negative group downwards first. TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_order_symmetric(const double *tilt, size_t n, double start,
                                        long group, size_t *order);
/* As IMOD's -bidir, from 1: `first` > 0: first, first - 1, ... 1, then first + 1 ... n; <
 * 0: |first| + 1 ... n, then |first|, ... 1. 0 < |first| < n. */
void tr_order_bidirectional(size_t n, long first, size_t *order);

/* Exposures before each section, with this order and exposures. */
void tr_priors_in_order(const double *exposure, const size_t *order, size_t n,
                        double *prior);
/* Exposures of sections of which only those before are known: up to the next; the last
 * has the median of the others. 0 where two are the same. TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_exposures_of_priors(const double *prior, size_t n,
                                            double *exposure);

/* Exposures that count up to the beginning, the middle or the end of their view, as the
 * least of them tells beside the usual step, taken apart; *where says which. */
TR_CHECKED tr_status tr_split_accumulated(const double *dose, size_t n, double *prior,
                                          double *exposure, const char **where);

/* Whether at every moment the sections taken were neighbours by angle, as in all schemes
 * that tilt one way, two ways or to and fro. TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_order_is_usual(const double *tilt, const size_t *order, size_t n,
                                       bool *usual);

#endif
