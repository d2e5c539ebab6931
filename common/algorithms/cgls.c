/* CGLS: conjugate gradients on the normal equations A^T A x = A^T b without forming
 * them (Hestenes & Stiefel 1952; Bjorck 1996, section 7.4). Minimizes |A x - b| over
 * a space that grows by one dimension per iteration: few iterations regularize. */
#include <stdio.h>

#include "algorithm.h"

typedef struct cgls_params {
    long iterations;
    double tolerance;
} cgls_params;

static const tr_option options[] = {
    TR_OPTION_ITERATIONS(cgls_params, "5"),
    TR_OPTION_TOLERANCE(cgls_params),
};

static size_t applications(const void *params, size_t n_views)
{
    (void)n_views;
    return 2 * (size_t)((const cgls_params *)params)->iterations + 1;
}

static void describe(const void *params, char *text, size_t size)
{
    snprintf(text, size, "%ld iterations", ((const cgls_params *)params)->iterations);
}

static tr_status run(tr_context *c, const void *params, tr_vec *b, tr_vec *x)
{
    const cgls_params *p = params;
    tr_vec r, q, s, d;
    TR_TRY(tr_new_projections(c, &r)); /* b - A x */
    TR_TRY(tr_new_projections(c, &q)); /* A d */
    TR_TRY(tr_new_volume(c, &s));      /* A^T r, the negative gradient */
    TR_TRY(tr_new_volume(c, &d));      /* search direction */
    c->tolerance = p->tolerance;
    c->rows_together = true;

    if (c->starts_at_zero) {
        TR_TRY(TR_VECTOR(c, copy, b, &r));
    } else {
        TR_TRY(TR_FORWARD(c, NULL, x, &r));
        TR_TRY(TR_VECTOR(c, xpay, b, -1.0f, &r));
    }
    TR_TRY(TR_ADJOINT(c, NULL, &r, &s));
    TR_TRY(TR_VECTOR(c, copy, &s, &d));
    double gamma, before, qq;
    bool done = false;
    TR_TRY(tr_dot(c, &s, &s, &gamma));
    tr_vec *const vectors[] = {x, &r, &d};
    const tr_state state = {vectors, 3, &gamma, 1};
    long k;
    TR_TRY(tr_resume(c, &state, &k));
    for (; k < p->iterations && !done && gamma > 0.0; k++) {
        if (k > 0)
            TR_TRY(tr_save(c, &state, k));
        TR_TRY(tr_residual_add(c, b, NULL, &r));
        TR_TRY(TR_FORWARD(c, NULL, &d, &q));
        TR_TRY(tr_dot(c, &q, &q, &qq));
        if (!(qq > 0.0))
            break; /* the direction is invisible: nothing is left to gain */
        float alpha = (float)(gamma / qq);
        TR_TRY(TR_VECTOR(c, axpy, alpha, &d, x));
        TR_TRY(TR_VECTOR(c, axpy, -alpha, &q, &r));
        TR_TRY(TR_ADJOINT(c, NULL, &r, &s));
        before = gamma;
        TR_TRY(tr_dot(c, &s, &s, &gamma));
        TR_TRY(TR_VECTOR(c, xpay, &s, (float)(gamma / before), &d));
        TR_TRY(tr_residual_end(c, &done));
    }
    return TR_OK;
}

const tr_algorithm tr_algorithm_cgls = {
    .name = "CGLS",
    .help = "conjugate gradients for least squares: what 30 iterations of SIRT do in 5",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .params_size = sizeof(cgls_params),
    .needs = TR_USES_INITIAL | TR_NEEDS_WHOLE_VOLUME,
    .volumes = 2,
    .projections = 2,
    .applications = applications,
    .describe = describe,
    .run = run,
};
