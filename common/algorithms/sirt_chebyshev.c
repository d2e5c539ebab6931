/* From x0, n iterations of SIRT make x0 + q(H) d with
 *
 *   H = s C A^T R A     d = s C A^T R (b - A x0)     q(h) = (1 - (1 - h)^n) / h
 *
 * and s the relaxation; H has its eigenvalues within [0, s]. There q, of degree n - 1, is
 * expanded in Chebyshev polynomials (Mason & Handscomb 2003, chapter 4), the expansion is
 * cut where the rest is next to nothing, and summed by Clenshaw's recurrence (2.4.1):
 *
 *   b_k = c_k d + 2 T b_(k+1) - b_(k+2)     T = 2 H / s - 1
 */
#include "common/algorithms/sirt_chebyshev.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/angle.h"
#include "common/base/mem.h"

/* The rest of the expansion, of n = q(0): what the sum may be wrong by. Iterates of noisy
 * phantoms then differ by less than 1e-3 (manual, performance). */
static const double REST = 5e-5;

static double polynomial(double h, long n)
{
    return h < 1e-9 ? (double)n : (1.0 - pow(1.0 - h, (double)n)) / h;
}

size_t tr_chebyshev_terms(long n, double relaxation, double *coefficients)
{
    long nodes = 2 * n; /* more than the degree: exact */
    for (long j = 0; j < n; j++) {
        double sum = 0.0;
        for (long k = 0; k < nodes; k++) {
            double angle = TR_PI * ((double)k + 0.5) / (double)nodes;
            double h = relaxation * (cos(angle) + 1.0) / 2.0;
            sum += polynomial(h, n) * cos((double)j * angle);
        }
        coefficients[j] = sum * (j ? 2.0 : 1.0) / (double)nodes;
    }
    long terms = n;
    for (double rest = 0.0; terms > 1; terms--) {
        rest += fabs(coefficients[terms - 1]);
        if (rest > REST * (double)n)
            break;
    }
    return (size_t)terms;
}

typedef struct chebyshev {
    tr_context *c;
    tr_vec r, R, C, d, gradient, sums[2];
} chebyshev;

/* y += a C A^T R r */
static tr_status backproject(chebyshev *s, float a, tr_vec *y)
{
    TR_TRY(TR_VECTOR(s->c, mul_lines, &s->R, &s->r));
    return tr_add_backprojection(s->c, NULL, a, &s->C, -INFINITY, &s->r, &s->gradient, y);
}

/* d, and the one residual there is. */
static tr_status begin(chebyshev *s, double relaxation, const tr_vec *b, const tr_vec *x)
{
    bool unused;
    if (s->c->starts_at_zero) {
        TR_TRY(TR_VECTOR(s->c, copy, b, &s->r));
    } else {
        TR_TRY(TR_FORWARD(s->c, NULL, x, &s->r));
        TR_TRY(TR_VECTOR(s->c, xpay, b, -1.0f, &s->r));
    }
    TR_TRY(tr_residual_add(s->c, b, NULL, &s->r));
    TR_TRY(tr_residual_end(s->c, &unused));
    TR_TRY(TR_VECTOR(s->c, fill, &s->d, 0.0f));
    return backproject(s, (float)relaxation, &s->d);
}

/* `two_before` becomes coefficient d + times T before - two_before, all with the signs
 * that the vectors carry: b_k is kept as + + - - + + ... b_k, so that two steps apart the
 * signs differ, and everything is added. */
static tr_status step(chebyshev *s, size_t k, double coefficient, double times,
                      const tr_vec *before, tr_vec *two_before)
{
    double sign = k / 2 % 2 ? -1.0 : 1.0, turn = k % 2 ? -times : times;
    TR_TRY(TR_FORWARD(s->c, NULL, before, &s->r));
    TR_TRY(TR_VECTOR(s->c, axpy, (float)(sign * coefficient), &s->d, two_before));
    TR_TRY(TR_VECTOR(s->c, axpy, (float)-turn, before, two_before));
    return backproject(s, (float)(2.0 * turn), two_before);
}

static tr_status sum_up(chebyshev *s, const double *coefficients, size_t terms, tr_vec *x)
{
    tr_vec *before = &s->sums[0], *two_before = &s->sums[1];
    size_t k = terms - 1;
    double sign = k / 2 % 2 ? -1.0 : 1.0;
    TR_TRY(TR_VECTOR(s->c, fill, before, 0.0f));
    TR_TRY(TR_VECTOR(s->c, fill, two_before, 0.0f));
    TR_TRY(TR_VECTOR(s->c, axpy, (float)(sign * coefficients[k]), &s->d, before));
    if (k == 0)
        return TR_VECTOR(s->c, axpy, 1.0f, before, x);
    tr_vec *const vectors[] = {&s->d, &s->sums[0], &s->sums[1]};
    const tr_state state = {.vectors = vectors, .n_vectors = 3};
    long done;
    TR_TRY(tr_resume(s->c, &state, &done));
    k -= (size_t)done;
    if (done % 2) {
        before = &s->sums[1];
        two_before = &s->sums[0];
    }
    while (k-- > 0) {
        if (done > 0)
            TR_TRY(tr_save(s->c, &state, done));
        done++;
        TR_TRY(step(s, k, coefficients[k], k ? 2.0 : 1.0, before, two_before));
        tr_vec *next = two_before;
        two_before = before;
        before = next;
    }
    return TR_VECTOR(s->c, axpy, 1.0f, before, x);
}

tr_status tr_sirt_chebyshev(tr_context *c, const tr_stationary *p, tr_vec *b, tr_vec *x)
{
    chebyshev s = {.c = c};
    TR_TRY(tr_new_projections(c, &s.r));
    TR_TRY(tr_new_projection_weights(c, &s.R));
    TR_TRY(tr_new_volume_weights(c, &s.C));
    TR_TRY(tr_new_volume(c, &s.d));
    for (int k = 0; k < 2; k++)
        TR_TRY(tr_new_volume(c, &s.sums[k]));
    TR_TRY(tr_new_gradient(c, &s.gradient));
    TR_TRY(tr_inverse_row_sums(c, NULL, &s.R));
    TR_TRY(tr_inverse_col_sums(c, NULL, &s.C));
    double *coefficients =
        tr_calloc("coefficients", (size_t)p->iterations, sizeof *coefficients);
    if (!coefficients)
        return TR_ERR_MEMORY;
    size_t terms = tr_chebyshev_terms(p->iterations, p->relaxation, coefficients);
    tr_status status = begin(&s, p->relaxation, b, x);
    if (status == TR_OK)
        status = sum_up(&s, coefficients, terms, x);
    free(coefficients);
    return status;
}
