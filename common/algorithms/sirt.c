/* SIRT: x += relaxation * C A^T R (b - A x), with R and C one over the row and column
 * sums of A (Gilbert 1972; the form of Gregor & Benson 2008). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/algorithms/fourier_sum.h"
#include "common/algorithms/sirt_chebyshev.h"

enum { PLAIN, CHEBYSHEV };

typedef struct sirt_params {
    tr_stationary step; /* first: its option rows have offsets within tr_stationary */
    int accelerate, sum;
} sirt_params;

static const tr_option options[] = {
    TR_STATIONARY_OPTIONS("30", "1"),
    TR_CHOICE_ROW(sirt_params, accelerate, "accelerate", "HOW", "none", "none chebyshev",
                  .help =
                      "chebyshev: the result of all iterations, to about a thousandth, "
                      "in less than half as many; not with --positive or --tolerance"),
    TR_OPTION_SUM(sirt_params),
};

enum { MOST_CHEBYSHEV = 1000 };

static size_t steps(const sirt_params *p)
{
    double coefficients[MOST_CHEBYSHEV];
    return p->accelerate == CHEBYSHEV && p->step.iterations <= MOST_CHEBYSHEV
               ? tr_chebyshev_terms(p->step.iterations, p->step.relaxation, coefficients)
               : (size_t)p->step.iterations;
}

static void workspace(const void *params, size_t *volumes, size_t *projections)
{
    const sirt_params *p = params;
    *volumes = p->accelerate == CHEBYSHEV ? TR_CHEBYSHEV_VOLUMES : 1;
    *projections = 1;
}

static size_t applications(const void *params, size_t n_views)
{
    (void)n_views;
    return 2 * steps(params);
}

static void describe(const void *params, char *text, size_t size)
{
    const sirt_params *p = params;
    tr_stationary_describe(&p->step, text, size);
    size_t used = strlen(text);
    if (p->accelerate == CHEBYSHEV)
        snprintf(text + used, size - used, ", in %zu by Chebyshev polynomials", steps(p));
}

static tr_status check(const void *params, size_t n_views)
{
    const sirt_params *p = params;
    (void)n_views;
    if (p->accelerate == CHEBYSHEV && (p->step.positive || p->step.tolerance > 0.0))
        return tr_fail(TR_ERR_USAGE,
                       "--accelerate chebyshev makes the result of all iterations at "
                       "once, so it cannot be used with %s",
                       p->step.positive ? "--positive" : "--tolerance");
    if (p->accelerate == CHEBYSHEV && p->step.iterations > MOST_CHEBYSHEV)
        return tr_fail(TR_ERR_USAGE,
                       "--accelerate chebyshev is for up to %d iterations, not %ld",
                       MOST_CHEBYSHEV, p->step.iterations);
    return TR_OK;
}

static tr_status run_plain(tr_context *c, const tr_stationary *p, tr_vec *b, tr_vec *x)
{
    tr_vec r, gradient, R, C;
    TR_TRY(tr_new_projections(c, &r));
    TR_TRY(tr_new_gradient(c, &gradient));
    TR_TRY(tr_new_projection_weights(c, &R));
    TR_TRY(tr_new_volume_weights(c, &C));
    TR_TRY(tr_inverse_row_sums(c, NULL, &R));
    TR_TRY(tr_inverse_col_sums(c, NULL, &C));
    c->tolerance = p->tolerance;

    bool done = false;
    tr_vec *const vectors[] = {x};
    const tr_state state = {.vectors = vectors, .n_vectors = 1};
    long k;
    TR_TRY(tr_resume(c, &state, &k));
    for (; k < p->iterations && !done; k++) {
        if (k > 0)
            TR_TRY(tr_save(c, &state, k));
        if (k == 0 && c->starts_at_zero) {
            TR_TRY(TR_VECTOR(c, copy, b, &r));
        } else {
            TR_TRY(TR_FORWARD(c, NULL, x, &r));
            TR_TRY(TR_VECTOR(c, xpay, b, -1.0f, &r));
        }
        TR_TRY(tr_residual_add(c, b, NULL, &r));
        TR_TRY(tr_residual_enough(c, &done));
        if (done)
            break;
        TR_TRY(TR_VECTOR(c, mul_lines, &R, &r));
        TR_TRY(tr_add_backprojection(c, NULL, (float)p->relaxation, &C,
                                     p->positive ? 0.0f : -INFINITY, &r, &gradient, x));
        TR_TRY(tr_residual_end(c, &done));
    }
    return TR_OK;
}

static tr_status run(tr_context *c, const void *params, tr_vec *b, tr_vec *x)
{
    const sirt_params *p = params;
    const tr_linop *own = c->A;
    tr_sum_pair pair;
    TR_TRY(tr_sum_operator(own, (tr_sum)p->sum, &pair));
    c->A = &pair.A;
    /* Chebyshev polynomials make one number of iterations, which must be known. */
    tr_status status = p->accelerate == CHEBYSHEV && !(c->stop_at > 0.0)
                           ? tr_sirt_chebyshev(c, &p->step, b, x)
                           : run_plain(c, &p->step, b, x);
    c->A = own;
    return status;
}

const tr_algorithm tr_algorithm_sirt = {
    .name = "SIRT",
    .help = "simultaneous iterative reconstruction: all views at once",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .params_size = sizeof(sirt_params),
    .needs = TR_USES_INITIAL | TR_COVERS_OUTSIDE | TR_STOPS_AT_NOISE,
    .workspace = workspace,
    .applications = applications,
    .describe = describe,
    .check = check,
    .run = run,
};
