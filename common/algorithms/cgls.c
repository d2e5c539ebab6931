/* CGLS in the metric of SIRT: conjugate gradients on the normal equations of
 * R^1/2 A C^1/2 y = R^1/2 b with x = C^1/2 y, R and C one over the row and column sums of
 * A (Hestenes & Stiefel 1952; Bjorck 1996, section 7.4), written for x:
 *
 *   g = A^T R r    beta = <g, C g> / before    d = C g + beta d
 *   q = A d        alpha = <g, C g> / <q, R q>    x += alpha d    r -= alpha q
 *
 * It minimises |b - A x|_R over a space that grows by one dimension per iteration: few
 * iterations regularize. Rows that no ray connects are problems of their own, each with
 * its alpha and beta, so that a row's result depends on no other. */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/algorithms/fourier_sum.h"
#include "common/algorithms/stationary.h"

typedef struct cgls_params {
    long iterations;
    double tolerance;
    int sum;
} cgls_params;

static const tr_option options[] = {
    TR_OPTION_ITERATIONS_AT_MOST(cgls_params, "7"),
    TR_OPTION_TOLERANCE(cgls_params),
    TR_OPTION_SUM(cgls_params),
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

typedef struct cgls {
    tr_context *c;
    tr_vec r, q;        /* b - A x; A d and scratch */
    tr_vec g, d;        /* A^T R r; the direction */
    tr_vec R, C;        /* weights */
    double *gamma, *qq; /* per row: <g, C g> and <q, R q> */
    float *factor;      /* per row */
} cgls;

static tr_status begin(cgls *s, const tr_vec *b, const tr_vec *x)
{
    tr_context *c = s->c;
    size_t rows = c->A->slab->rows;
    TR_TRY(tr_new_projections(c, &s->r));
    TR_TRY(tr_new_projections(c, &s->q));
    TR_TRY(tr_new_volume(c, &s->g));
    TR_TRY(tr_new_volume(c, &s->d));
    TR_TRY(tr_new_projection_weights(c, &s->R));
    TR_TRY(tr_new_volume_weights(c, &s->C));
    TR_TRY(tr_inverse_row_sums(c, NULL, &s->R));
    TR_TRY(tr_inverse_col_sums(c, NULL, &s->C));
    s->gamma = tr_calloc("row sums", 2 * rows, sizeof *s->gamma);
    s->factor = tr_calloc("row sums", rows, sizeof *s->factor);
    if (!s->gamma || !s->factor)
        return TR_ERR_MEMORY;
    s->qq = s->gamma + rows;
    TR_TRY(TR_VECTOR(c, fill, &s->d, 0.0f));
    if (c->starts_at_zero)
        return TR_VECTOR(c, copy, b, &s->r);
    TR_TRY(TR_FORWARD(c, NULL, x, &s->r));
    return TR_VECTOR(c, xpay, b, -1.0f, &s->r);
}

/* factor = over / under, row by row; 0 where nothing is left to gain. */
static void divide(cgls *s, const double *over, const double *under, double sign)
{
    for (size_t r = 0; r < s->d.rows; r++)
        s->factor[r] = under[r] > 0.0 ? (float)(sign * over[r] / under[r]) : 0.0f;
}

/* The next direction, from the residual. */
static tr_status turn(cgls *s)
{
    tr_context *c = s->c;
    size_t rows = s->d.rows;
    TR_TRY(TR_VECTOR(c, copy, &s->r, &s->q));
    TR_TRY(TR_VECTOR(c, mul_lines, &s->R, &s->q));
    TR_TRY(TR_ADJOINT(c, NULL, &s->q, &s->g));
    for (size_t r = 0; r < rows; r++)
        s->qq[r] = s->gamma[r]; /* that of the iteration before; 0 at first */
    TR_TRY(tr_row_dots(c, &s->C, &s->g, &s->g, s->gamma));
    divide(s, s->gamma, s->qq, 1.0);
    TR_TRY(TR_VECTOR(c, scale_rows, s->factor, &s->d));
    return TR_VECTOR(c, axpy_lines, 1.0f, &s->C, &s->g, &s->d);
}

static tr_status step(cgls *s, tr_vec *x)
{
    tr_context *c = s->c;
    TR_TRY(TR_FORWARD(c, NULL, &s->d, &s->q));
    TR_TRY(tr_row_dots(c, &s->R, &s->q, &s->q, s->qq));
    divide(s, s->gamma, s->qq, 1.0);
    TR_TRY(TR_VECTOR(c, axpy_rows, s->factor, &s->d, x));
    divide(s, s->gamma, s->qq, -1.0);
    return TR_VECTOR(c, axpy_rows, s->factor, &s->q, &s->r);
}

static tr_status iterate(cgls *s, const cgls_params *p, const tr_vec *b, tr_vec *x)
{
    tr_context *c = s->c;
    bool done = false;
    tr_vec *const vectors[] = {x, &s->r, &s->d};
    const tr_state state = {vectors, 3, s->gamma, s->d.rows};
    long k;
    TR_TRY(tr_resume(c, &state, &k));
    for (; k < p->iterations && !done; k++) {
        if (k > 0)
            TR_TRY(tr_save(c, &state, k));
        TR_TRY(tr_residual_add(c, b, NULL, &s->r));
        TR_TRY(tr_residual_enough(c, &done));
        if (done)
            break;
        TR_TRY(turn(s));
        TR_TRY(step(s, x));
        TR_TRY(tr_residual_end(c, &done));
    }
    return TR_OK;
}

static tr_status run(tr_context *c, const void *params, tr_vec *b, tr_vec *x)
{
    const cgls_params *p = params;
    cgls s = {.c = c};
    const tr_linop *own = c->A;
    tr_sum_pair pair;
    TR_TRY(tr_sum_operator(own, (tr_sum)p->sum, &pair));
    c->A = &pair.A;
    c->tolerance = p->tolerance;
    c->rows_together = c->A->coupled;
    tr_status status = begin(&s, b, x);
    if (status == TR_OK)
        status = iterate(&s, p, b, x);
    free(s.gamma);
    free(s.factor);
    c->A = own;
    return status;
}

const tr_algorithm tr_algorithm_cgls = {
    .name = "CGLS",
    .help = "conjugate gradients for least squares: what 30 iterations of SIRT do in 7",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .params_size = sizeof(cgls_params),
    .needs = TR_USES_INITIAL | TR_NEEDS_OWN_ROWS | TR_COVERS_OUTSIDE | TR_STOPS_AT_NOISE,
    .volumes = 2,
    .projections = 2,
    .applications = applications,
    .describe = describe,
    .run = run,
};
