/* ADMM: x minimises |b - A x|_R^2 / 2 + lambda Reg(x), of x >= 0 with --positive, where R
 * is one over the row sums of A (0 where a sum is next to nothing), as in SIRT, and Reg
 * is one of regularizer.h. The alternating direction method of multipliers in its scaled
 * form (Boyd et al. 2011, section 3.1) with the splitting z = L x:
 *
 *   x  minimises |b - A x|_R^2 / 2 + rho |L x - z + u|^2 / 2
 *   w  = alpha L x + (1 - alpha) z + u        alpha: the relaxation (3.4.3)
 *   z  = shrink(w) by lambda / rho
 *   u  = w - z
 *
 * The x-step: conjugate gradients on A^T R A + rho L^T L from the x before, --cg steps,
 * or fewer once the residual is 1e-6 of |A^T R b|. Only w is kept between iterations: z
 * and u follow from it. rho changes (3.4.1) so that the relative residuals
 *
 *   primal  |L x - z| / max(|L x|, |z|)    dual  |A^T R (b - A x) - rho L^T u| / |rho L^T
 * u|
 *
 * come within a factor of 10 of each other; after the first 10 iterations it stays, for
 * each change is a setback. Both at most the tolerance is the end (3.3.1). The dual
 * residual is that of the x at hand, so it counts what the conjugate gradients have left.
 *
 * With a model of the views (model.h), R is one over the power of each view's noise, x
 * begins at 0, and the x-step is preconditioned in Fourier space, which takes fewer
 * steps.
 *
 * Nothing forbids the objective to rise from one x to the next. The result is the best of
 * them, made positive where that is asked, so more iterations never make it worse. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/algorithms/model.h"
#include "common/algorithms/regularizer.h"

typedef struct admm_params {
    long iterations, cg;
    double rho, lambda, lambda_times, relaxation, tolerance;
    int regularizer;
    bool positive;
} admm_params;

static const tr_option options[] = {
    TR_OPTION_ITERATIONS(admm_params, "20"),
    TR_INT_ROW(admm_params, cg, "cg", "N", "5", 1, 1000,
               .help = "Steps of conjugate gradients in each iteration"),
    TR_CHOICE_ROW(
        admm_params, regularizer, "regularizer", "NAME", "tv", TR_REGULARIZER_NAMES,
        .help = "What is kept small besides the residual: the total variation in three "
                "dimensions, the densities, or their Haar wavelet coefficients"),
    TR_REAL_ROW(admm_params, lambda, "lambda", "WEIGHT", "0", 0, 1e30,
                .help =
                    "Weight of the regularizer; more is smoother or sparser. 0 chooses "
                    "one from the geometry and the noise of the views, and says which"),
    TR_REAL_ROW(admm_params, lambda_times, TR_LAMBDA_TIMES, "FACTOR", "1", 1e-6, 1e6,
                .help = "Multiply lambda, chosen or given, by this: 2 is smoother, 0.5 "
                        "keeps more of the noise; see --try lambda"),
    TR_REAL_ROW(admm_params, rho, "rho", "WEIGHT", "0", 0, 1e30,
                .help =
                    "Weight of the coupling to begin with: how fast it converges, not to "
                    "what. 0 chooses one from the number of views, and says which"),
    TR_REAL_ROW(
        admm_params, relaxation, "relaxation", "FACTOR", "1", 1e-6, 1.999999,
        .letter = 'r',
        .help =
            "Over-relaxation, between 0 and 2; 1.5 to 1.8 often takes fewer iterations"),
    TR_REAL_ROW(admm_params, tolerance, "tolerance", "FRACTION", "0", 0, 1,
                .help = "Stop when the primal and the dual residual have fallen to this "
                        "fraction of what they are differences of; 0 never stops early"),
    TR_FLAG_ROW(admm_params, positive, "positive",
                .help = "Look for densities of at least 0 only"),
};

enum { MAX_WORK = TR_MAX_PARTS + 1, BALANCED = 10 };
static const double ROUNDING =
    3e-7; /* of an objective, relative: residuals are in float */
static const double NO_GAIN = 1e-5; /* of the first objective: less is no progress */

typedef struct admm {
    tr_context *c;
    const admm_params *p;
    tr_regularizer reg;
    double lambda, rho;
    double layer;         /* the density of the best homogeneous volume */
    double data_gradient; /* |A^T R b| */
    double left;          /* norm of the last residual of the x-step */
    tr_vec R;
    tr_vec *d;              /* b - A x, in the place of b */
    tr_vec image, weighted; /* of projections: scratch */
    tr_vec w[TR_MAX_PARTS]; /* relaxed L x + u, from which z and u follow */
    tr_vec z[TR_MAX_PARTS]; /* z after an iteration, scratch during the next */
    tr_vec work[MAX_WORK];  /* volumes; [0]: first residual of the x-step */
    tr_vec best;            /* the latest x with the lowest objective so far */
    double objective;       /* of `best`, */
    double lowest;          /* and the lowest of all; equal but for rounding */
    double primal, dual;    /* relative residuals */
    double split_dual;      /* lower bound of `dual` if the x-step were exact */
} admm;

/* Besides w and z: three vectors of the conjugate gradients, or L x and one more. */
static size_t work_volumes(size_t parts) { return parts + 1 > 3 ? parts + 1 : 3; }

static void workspace(const void *params, size_t *volumes, size_t *projections)
{
    const admm_params *p = params;
    size_t parts = tr_regularizer_parts((tr_regularizer_kind)p->regularizer, p->positive);
    *volumes = 2 * parts + work_volumes(parts) + 1; /* best */
    *projections = 3;                               /* image, weighted, R */
}

static size_t applications(const void *params, size_t n_views)
{
    const admm_params *p = params;
    (void)n_views;
    return 3 + (size_t)p->iterations * (2 * (size_t)p->cg + 1 + p->positive);
}

static void describe(const void *params, char *text, size_t size)
{
    static const char *const names[] = {"total variation", "L1", "L1 of Haar wavelets"};
    const admm_params *p = params;
    char lambda[40] = "";
    if (p->lambda > 0.0)
        snprintf(lambda, sizeof lambda, ", lambda %g", p->lambda * p->lambda_times);
    else if (p->lambda_times != 1.0)
        snprintf(lambda, sizeof lambda, ", lambda times %g", p->lambda_times);
    snprintf(text, size, "%ld iterations of %ld CG steps, %s%s%s", p->iterations, p->cg,
             names[p->regularizer], lambda, p->positive ? ", positive" : "");
}

/* ---- vectors of several volumes ---- */

static tr_status parts_axpy(const admm *a, double factor, const tr_vec *x, tr_vec *y)
{
    for (size_t k = 0; k < a->reg.parts; k++)
        TR_TRY(TR_VECTOR(a->c, axpy, (float)factor, &x[k], &y[k]));
    return TR_OK;
}

static tr_status parts_norm(const admm *a, const tr_vec *x, double *norm)
{
    double square = 0.0, part;
    for (size_t k = 0; k < a->reg.parts; k++) {
        TR_TRY(tr_dot(a->c, &x[k], &x[k], &part));
        square += part;
    }
    *norm = sqrt(square);
    return TR_OK;
}

static tr_status norm(const admm *a, const tr_vec *x, double *length)
{
    TR_TRY(tr_dot(a->c, x, x, length));
    *length = sqrt(*length);
    return TR_OK;
}

/* ---- before the first iteration ---- */

/* Of all processes: sums over the n values of the data b and over a = A 1, and of their
 * squares and products. */
typedef struct layer_sums {
    double b, bb, ab, a, aa, n;
} layer_sums;

static tr_status sum_data(admm *a, const tr_vec *b, layer_sums *s)
{
    tr_context *c = a->c;
    const tr_linop *A = c->A;
    tr_vec *image = &a->image, ones = *image;
    size_t n = A->n_rows;
    double *rows = tr_calloc("row sums", 6 * n, sizeof *rows), sums[6] = {0};
    if (!rows)
        return TR_ERR_MEMORY;
    tr_status status = TR_VECTOR(c, fill, image, 1.0f);
    if (status == TR_OK)
        status = tr_row_products(c, b, image, rows);
    if (status == TR_OK)
        status = tr_row_products(c, b, b, rows + n);
    if (status == TR_OK)
        status = TR_VECTOR(c, mul_lines, &a->R, image); /* still the row sums */
    if (status == TR_OK)
        status = tr_row_products(c, b, image, rows + 2 * n);
    if (status == TR_OK)
        status = tr_row_products(c, &a->R, &a->R, rows + 4 * n);
    ones.lines = a->R.lines, ones.rows = a->R.rows;
    if (status == TR_OK)
        status = TR_VECTOR(c, fill, &ones, 1.0f);
    if (status == TR_OK)
        status = tr_row_products(c, &a->R, &ones, rows + 3 * n);
    for (size_t r = 0; r < n; r++)
        rows[5 * n + r] = (double)(A->slab->n_views * A->slab->n_u);
    if (status == TR_OK)
        status = tr_total(c, rows, 6, sums);
    free(rows);
    *s = (layer_sums){sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]};
    return status;
}

/* What lambda is where it is not given. A^T R turns noise of standard deviation sigma
 * into a gradient of about g sigma, g = sqrt(2/3 sum of cos^2 tilt) / thickness: so much
 * must total variation hold back, and where there is next to no noise, some of what the
 * views cannot tell: 0.15 of the deviation that the best homogeneous layer leaves in
 * them. The 0.15 and the factors of l1 and Haar are from trials on slabs, wedges and
 * balls with noise of 0.03 to 3 times the views' deviation. */
static double choose_lambda(const admm *a, const layer_sums *s)
{
    static const double factor[] = {1.0, 8.0, 4.0};
    const tr_linop *A = a->c->A;
    double squares = 0.0, sigma = a->c->sigma;
    for (size_t v = 0; v < A->slab->n_views; v++)
        squares += cos(A->tilt[v]) * cos(A->tilt[v]);
    double g = sqrt(2.0 / 3.0 * squares) / (double)A->slab->n_z;
    double left = s->bb - 2.0 * a->layer * s->ab + a->layer * a->layer * s->aa;
    double left_mean = (s->b - a->layer * s->a) / s->n;
    double rest = fmax(left / s->n - left_mean * left_mean - sigma * sigma, 0.0);
    return factor[a->reg.kind] * g * sqrt(sigma * sigma + 0.15 * 0.15 * rest);
}

/* The same where a model knows the noise: A^T W turns that of all views into a gradient
 * of the square root of this for each voxel, 2/3 for the interpolation. rho lets a step
 * of three quarters of a deviation of the specimen pass. */
static tr_status choose_modelled(admm *a)
{
    static const double factor[] = {1.0, 8.0, 4.0};
    const tr_model *m = a->c->model;
    double chosen = factor[a->reg.kind] * sqrt(2.0 / 3.0 * m->response2);
    a->lambda = a->p->lambda_times * (a->p->lambda > 0.0 ? a->p->lambda : chosen);
    a->rho = a->p->rho > 0.0 ? a->p->rho : a->lambda / fmax(0.75 * m->deviation, 1e-30);
    return TR_OK;
}

/* Lambda, rho and the layer. The spectrum of A^T R A ends near n_views; the factors of
 * rho are from trials on synthetic cells. */
static tr_status choose_weights(admm *a, const tr_vec *b)
{
    static const double rho_factor[] = {0.03, 0.05, 0.05};
    layer_sums s;
    if (a->c->model) {
        TR_TRY(choose_modelled(a));
    } else {
        TR_TRY(sum_data(a, b, &s));
        a->layer = s.a > 0.0 ? s.b / s.a : 0.0;
        a->lambda = a->p->lambda_times *
                    (a->p->lambda > 0.0 ? a->p->lambda : choose_lambda(a, &s));
        a->rho = a->p->rho > 0.0
                     ? a->p->rho
                     : rho_factor[a->reg.kind] * (double)a->c->A->slab->n_views;
    }
    a->c->history->lambda = a->lambda;
    tr_info("ADMM: lambda %.6g%s, rho %.6g%s at first", a->lambda,
            a->p->lambda > 0.0 ? "" : " (chosen)", a->rho,
            a->p->rho > 0.0 ? "" : " (chosen)");
    return TR_OK;
}

/* Total variation does not see a constant, so x may begin as the best homogeneous layer,
 * which would take many iterations from 0. */
static tr_status begin_as_layer(admm *a, tr_vec *x)
{
    tr_context *c = a->c;
    const tr_linop *A = c->A;
    const tr_rows spare = {0, x->lines, A->n_rows, x->rows - A->n_rows};
    TR_TRY(TR_VECTOR(c, fill, x, (float)a->layer));
    return spare.n_rows ? TR_VECTOR(c, set_rows, &spare, NULL, x) : TR_OK;
}

/* y = A^T R p */
static tr_status weighted_adjoint(admm *a, const tr_vec *p, tr_vec *y)
{
    return tr_weighted_adjoint(a->c, &a->R, p, &a->weighted, y);
}

static tr_status begin(admm *a, tr_vec *b, tr_vec *x)
{
    tr_context *c = a->c;
    TR_TRY(tr_new_projections(c, &a->image));
    TR_TRY(tr_new_projections(c, &a->weighted));
    if (c->model)
        TR_TRY(tr_new_view_weights(c, c->model->weight, &a->R));
    else
        TR_TRY(tr_new_projection_weights(c, &a->R));
    for (size_t k = 0; k < a->reg.parts; k++) {
        TR_TRY(tr_new_volume(c, &a->w[k]));
        TR_TRY(tr_new_volume(c, &a->z[k]));
        TR_TRY(TR_VECTOR(c, fill, &a->w[k], 0.0f));
    }
    for (size_t k = 0; k < work_volumes(a->reg.parts); k++)
        TR_TRY(tr_new_volume(c, &a->work[k]));
    TR_TRY(tr_new_volume(c, &a->best));
    a->lowest = INFINITY;
    if (!c->model)
        TR_TRY(TR_ROW_SUMS(c, NULL, &a->R));
    TR_TRY(choose_weights(a, b));
    if (!c->model)
        TR_TRY(TR_VECTOR(c, invert_guarded, 1e-3f, &a->R));
    TR_TRY(weighted_adjoint(a, b, &a->work[0]));
    TR_TRY(norm(a, &a->work[0], &a->data_gradient));
    bool zero = c->starts_at_zero && (c->model || a->reg.kind != TR_REG_TV);
    if (c->starts_at_zero && !zero)
        TR_TRY(begin_as_layer(a, x));
    if (zero) {
        TR_TRY(TR_VECTOR(c, copy, b, &a->image));
    } else {
        TR_TRY(TR_FORWARD(c, NULL, x, &a->image));
        TR_TRY(TR_VECTOR(c, xpay, b, -1.0f, &a->image));
    }
    /* The residual of the first iteration, while b is still there. */
    TR_TRY(tr_residual_add(c, b, NULL, &a->image));
    TR_TRY(TR_VECTOR(c, copy, &a->image, b));
    a->d = b;
    return TR_OK;
}

/* ---- one iteration ---- */

/* image = A p, q = (A^T R A + rho L^T L) p. */
static tr_status apply_normal(admm *a, const tr_vec *p, tr_vec *q)
{
    tr_context *c = a->c;
    TR_TRY(TR_FORWARD(c, NULL, p, &a->image));
    TR_TRY(tr_regularizer_apply(&a->reg, p, a->z));
    TR_TRY(tr_regularizer_adjoint(&a->reg, a->z, q));
    TR_TRY(weighted_adjoint(a, &a->image, &a->z[0]));
    return TR_VECTOR(c, xpay, &a->z[0], (float)a->rho, q);
}

/* About one over that operator: the model's, times r. */
static tr_status precondition(const admm *a, const tr_vec *r, tr_vec *y)
{
    const tr_model *m = a->c->model;
    bool tv = a->reg.kind == TR_REG_TV;
    const tr_model_filter filter = {.inverse = true,
                                    .data = 1.0,
                                    .rho = tv ? a->rho : 0.0,
                                    .constant = tv && !a->p->positive ? 0.0 : a->rho};
    return m->filter(m, &filter, r, y);
}

/* As minimise_x, preconditioned. */
static tr_status minimise_modelled(admm *a, tr_vec *x)
{
    tr_context *c = a->c;
    tr_vec *r = &a->work[0], *p = &a->work[1], *q = &a->work[2], *y = &a->z[0];
    double rr, ry, ry_new, curvature, limit = 1e-6 * a->data_gradient;
    TR_TRY(precondition(a, r, p));
    TR_TRY(tr_dot(c, r, p, &ry));
    TR_TRY(tr_dot(c, r, r, &rr));
    for (long k = 0; k < a->p->cg && rr > limit * limit; k++) {
        TR_TRY(apply_normal(a, p, q));
        TR_TRY(tr_dot(c, p, q, &curvature));
        if (!(curvature > 0.0))
            break;
        float step = (float)(ry / curvature);
        TR_TRY(TR_VECTOR(c, axpy, step, p, x));
        TR_TRY(TR_VECTOR(c, axpy, -step, &a->image, a->d));
        TR_TRY(TR_VECTOR(c, axpy, -step, q, r));
        TR_TRY(tr_dot(c, r, r, &rr));
        if (k + 1 == a->p->cg)
            break;
        TR_TRY(precondition(a, r, y));
        TR_TRY(tr_dot(c, r, y, &ry_new));
        TR_TRY(TR_VECTOR(c, xpay, y, (float)(ry_new / ry), p));
        ry = ry_new;
    }
    a->left = sqrt(rr);
    return TR_OK;
}

/* Steps of conjugate gradients from x and its residual work[0]; d follows x. */
static tr_status minimise_x(admm *a, tr_vec *x)
{
    tr_context *c = a->c;
    tr_vec *r = &a->work[0], *p = &a->work[1], *q = &a->work[2];
    double limit = 1e-6 * a->data_gradient, rr, rr_new, curvature;
    if (c->model)
        return minimise_modelled(a, x);
    TR_TRY(tr_dot(c, r, r, &rr));
    TR_TRY(TR_VECTOR(c, copy, r, p));
    for (long k = 0; k < a->p->cg && rr > limit * limit; k++) {
        TR_TRY(apply_normal(a, p, q));
        TR_TRY(tr_dot(c, p, q, &curvature));
        if (!(curvature > 0.0))
            break;
        float step = (float)(rr / curvature);
        TR_TRY(TR_VECTOR(c, axpy, step, p, x));
        TR_TRY(TR_VECTOR(c, axpy, -step, &a->image, a->d));
        TR_TRY(TR_VECTOR(c, axpy, -step, q, r));
        TR_TRY(tr_dot(c, r, r, &rr_new));
        TR_TRY(TR_VECTOR(c, xpay, r, (float)(rr_new / rr), p));
        rr = rr_new;
    }
    a->left = sqrt(rr);
    return TR_OK;
}

/* The objective at x, or at the positive part of x; the best x so far is kept. */
static tr_status evaluate(admm *a, const tr_vec *x)
{
    tr_context *c = a->c;
    tr_vec *here = &a->work[0], *Lx = &a->work[1], *scratch = &a->z[0];
    double misfit, reg;
    TR_TRY(TR_VECTOR(c, copy, x, here));
    TR_TRY(TR_VECTOR(c, copy, a->d, &a->image));
    if (a->p->positive) {
        TR_TRY(TR_VECTOR(c, clamp, 0.0f, here));
        TR_TRY(TR_VECTOR(c, copy, here, scratch));
        TR_TRY(TR_VECTOR(c, axpy, -1.0f, x, scratch));
        TR_TRY(TR_FORWARD(c, NULL, scratch, &a->image));
        TR_TRY(TR_VECTOR(c, xpay, a->d, -1.0f, &a->image));
    }
    TR_TRY(TR_VECTOR(c, copy, &a->image, &a->weighted));
    TR_TRY(TR_VECTOR(c, mul_lines, &a->R, &a->weighted));
    TR_TRY(tr_dot(c, &a->image, &a->weighted, &misfit));
    TR_TRY(tr_regularizer_apply(&a->reg, here, Lx));
    TR_TRY(tr_regularizer_value(&a->reg, Lx, scratch, &reg));
    double objective = misfit / 2.0 + a->lambda * reg;
    if (objective > a->lowest * (1.0 + ROUNDING))
        return TR_OK;
    a->objective = objective;
    a->lowest = fmin(a->lowest, objective);
    return TR_VECTOR(c, copy, here, &a->best);
}

/* w, z and u for the new x, and how far they are from agreeing. Leaves u in w, A^T R d -
 * rho L^T u in work[2] and L^T (L x - z) in work[0]. */
static tr_status minimise_z(admm *a, const tr_vec *x, double relaxation)
{
    tr_context *c = a->c;
    tr_vec *Lx = &a->work[1], *gradient = &a->work[2];
    double length, length_z;
    TR_TRY(tr_regularizer_apply(&a->reg, x, Lx));
    TR_TRY(parts_axpy(a, relaxation, Lx, a->w));
    for (size_t k = 0; k < a->reg.parts; k++)
        TR_TRY(TR_VECTOR(c, copy, &a->w[k], &a->z[k]));
    TR_TRY(tr_regularizer_shrink(&a->reg, a->lambda / a->rho, a->z));
    TR_TRY(parts_norm(a, Lx, &length));
    TR_TRY(parts_norm(a, a->z, &length_z));
    TR_TRY(parts_axpy(a, -1.0, a->z, Lx));
    TR_TRY(parts_norm(a, Lx, &a->primal));
    a->primal /= fmax(fmax(length, length_z), 1e-30);
    TR_TRY(tr_regularizer_adjoint(&a->reg, Lx, &a->work[0]));

    TR_TRY(parts_axpy(a, -1.0, a->z, a->w));
    TR_TRY(tr_regularizer_adjoint(&a->reg, a->w, &a->work[1]));
    TR_TRY(weighted_adjoint(a, a->d, gradient));
    TR_TRY(norm(a, &a->work[1], &length));
    TR_TRY(TR_VECTOR(c, axpy, (float)-a->rho, &a->work[1], gradient));
    TR_TRY(norm(a, gradient, &a->dual));
    a->split_dual = fmax(a->dual - a->left, 0.0) / fmax(a->rho * length, 1e-30);
    a->dual /= fmax(a->rho * length, 1e-30);
    return TR_OK;
}

/* A better rho, if there is one; u goes with 1 / rho. */
static tr_status balance(admm *a)
{
    double factor = 1.0;
    if (a->primal > 10.0 * a->dual)
        factor = 2.0;
    else if (a->split_dual > 10.0 * a->primal)
        factor = 0.5;
    a->rho *= factor;
    return factor == 1.0 ? TR_OK : parts_axpy(a, 1.0 / factor - 1.0, a->w, a->w);
}

/* What an iteration begins with: u + (1 - alpha) z in w, and the residual of the x-step
 * in work[0]. */
static tr_status prepare(admm *a)
{
    if (a->p->relaxation != 1.0)
        TR_TRY(parts_axpy(a, 1.0 - a->p->relaxation, a->z, a->w));
    return TR_VECTOR(a->c, xpay, &a->work[2], (float)-a->rho, &a->work[0]);
}

/* What is kept of the numbers between iterations. */
static void get_numbers(const admm *a, double *n)
{
    const double now[] = {a->rho,    a->primal,     a->dual,
                          a->lowest, a->split_dual, a->objective};
    memcpy(n, now, sizeof now);
}

static void set_numbers(admm *a, const double *n)
{
    a->rho = n[0];
    a->primal = n[1];
    a->dual = n[2];
    a->lowest = n[3];
    a->split_dual = n[4];
    a->objective = n[5];
}

static tr_status iterate(admm *a, tr_vec *x)
{
    bool unused;
    TR_TRY(evaluate(a, x));
    const double at_start = a->objective;
    TR_TRY(minimise_z(a, x, 1.0));
    tr_vec *vectors[4 + 1 + 2 * TR_MAX_PARTS] = {x, a->d, &a->best, &a->work[0],
                                                 &a->work[2]};
    double numbers[] = {0, 0, 0, 0, 0, 0};
    tr_state state = {vectors, 5, numbers, sizeof numbers / sizeof *numbers};
    for (size_t part = 0; part < a->reg.parts; part++) {
        vectors[state.n_vectors++] = &a->w[part];
        vectors[state.n_vectors++] = &a->z[part];
    }
    long k;
    TR_TRY(tr_resume(a->c, &state, &k));
    if (k > 0)
        set_numbers(a, numbers);
    for (k++; k <= a->p->iterations; k++) {
        if (k > 1) {
            get_numbers(a, numbers);
            TR_TRY(tr_save(a->c, &state, k - 1));
            TR_TRY(tr_residual_add(a->c, NULL, NULL, a->d));
            if (k <= BALANCED)
                TR_TRY(balance(a));
        }
        TR_TRY(tr_residual_end(a->c, &unused));
        TR_TRY(prepare(a));
        TR_TRY(minimise_x(a, x));
        TR_TRY(evaluate(a, x));
        TR_TRY(minimise_z(a, x, a->p->relaxation));
        tr_verbose("ADMM %ld: objective %.8g, relative residuals primal %.2e dual %.2e, "
                   "rho %.4g",
                   k, a->objective, a->primal, a->dual, a->rho);
        if (fmax(a->primal, a->dual) <= a->p->tolerance)
            break;
    }
    if (a->c->starts_at_zero && a->lowest > at_start * (1.0 - NO_GAIN))
        tr_warn("ADMM: with lambda %.6g nothing better than a homogeneous volume was "
                "found; give a smaller --lambda or more iterations",
                a->lambda);
    return TR_VECTOR(a->c, copy, &a->best, x);
}

static tr_status run(tr_context *c, const void *params, tr_vec *b, tr_vec *x)
{
    const admm_params *p = params;
    admm a = {.c = c, .p = p};
    c->rows_together = true;
    tr_status status =
        tr_regularizer_begin(c, (tr_regularizer_kind)p->regularizer, p->positive, &a.reg);
    if (status == TR_OK)
        status = begin(&a, b, x);
    if (status == TR_OK)
        status = iterate(&a, x);
    tr_regularizer_end(&a.reg);
    return status;
}

const tr_algorithm tr_algorithm_admm = {
    .name = "ADMM",
    .help = "least squares with a regularizer, by alternating directions",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .params_size = sizeof(admm_params),
    .needs =
        TR_USES_INITIAL | TR_NEEDS_WHOLE_VOLUME | TR_COVERS_OUTSIDE | TR_MODELS_VIEWS,
    .workspace = workspace,
    .applications = applications,
    .describe = describe,
    .run = run,
};
