/* SIRT: x += relaxation * C A^T R (b - A x), with R and C one over the row and column
 * sums of A (Gilbert 1972; the form of Gregor & Benson 2008). */
#include "stationary.h"

static const tr_option options[] = {TR_STATIONARY_OPTIONS("30", "1")};

static size_t applications(const void *params, size_t n_views)
{
    (void)n_views;
    return 2 * (size_t)((const tr_stationary *)params)->iterations;
}

static tr_status run(tr_context *c, const void *params, tr_vec *b, tr_vec *x)
{
    const tr_stationary *p = params;
    tr_vec r, gradient, R, C;
    TR_TRY(tr_new_projections(c, &r));
    TR_TRY(tr_new_volume(c, &gradient));
    TR_TRY(tr_new_projection_weights(c, &R));
    TR_TRY(tr_new_volume_weights(c, &C));
    TR_TRY(tr_inverse_row_sums(c, NULL, &R));
    TR_TRY(tr_inverse_col_sums(c, NULL, &C));
    c->tolerance = p->tolerance;

    bool done = false;
    for (long k = 0; k < p->iterations && !done; k++) {
        if (k == 0 && c->starts_at_zero) {
            TR_TRY(TR_VECTOR(c, copy, b, &r));
        } else {
            TR_TRY(TR_FORWARD(c, NULL, x, &r));
            TR_TRY(TR_VECTOR(c, xpay, b, -1.0f, &r));
        }
        TR_TRY(tr_residual_add(c, b, NULL, &r));
        TR_TRY(TR_VECTOR(c, mul_lines, &R, &r));
        TR_TRY(TR_ADJOINT(c, NULL, &r, &gradient));
        TR_TRY(TR_VECTOR(c, axpy_lines, (float)p->relaxation, &C, &gradient, x));
        if (p->positive)
            TR_TRY(TR_VECTOR(c, clamp, 0.0f, x));
        TR_TRY(tr_residual_end(c, &done));
    }
    return TR_OK;
}

const tr_algorithm tr_algorithm_sirt = {
    .name = "SIRT",
    .help = "simultaneous iterative reconstruction: all views at once",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .params_size = sizeof(tr_stationary),
    .needs = TR_USES_INITIAL,
    .volumes = 1,
    .projections = 1,
    .applications = applications,
    .describe = tr_stationary_describe,
    .run = run,
};
