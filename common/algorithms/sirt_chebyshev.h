/* SIRT's iterate n in fewer steps: it is a polynomial in the operator, and a shorter one
 * is as good. */
#ifndef TR_SIRT_CHEBYSHEV_H
#define TR_SIRT_CHEBYSHEV_H

#include "common/algorithms/stationary.h"

/* How many terms replace n iterations with this relaxation. Their coefficients (room for
 * n) belong to the Chebyshev polynomials of 2 h / relaxation - 1. */
size_t tr_chebyshev_terms(long n, double relaxation, double *coefficients);

/* Volumes it holds, beside x. */
enum { TR_CHEBYSHEV_VOLUMES = 4 };

/* x becomes iterate p->iterations of SIRT, to about 1e-3. */
TR_CHECKED tr_status tr_sirt_chebyshev(tr_context *c, const tr_stationary *p, tr_vec *b,
                                       tr_vec *x);

#endif
