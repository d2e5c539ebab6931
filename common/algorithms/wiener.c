/* Least squares with the specimen's spectrum as a prior, the Wiener filter of a whole
 * volume: with the noise's power 1 / W of each view and the specimen's S(k), both from
 * the spectra of the views, it solves
 *
 *   (A^T W A + 1/S) x = A^T W b
 *
 * by conjugate gradients (Hestenes & Stiefel 1952) that are preconditioned by one over
 * lambda(k) + 1/S(k) in Fourier space (model.h), so that a few steps are enough. */
#include <stdio.h>

#include "common/algorithms/algorithm.h"
#include "common/algorithms/model.h"

typedef struct wiener_params {
    long iterations;
} wiener_params;

static const tr_option options[] = {
    TR_OPTION_ITERATIONS(wiener_params, "3"),
};

static size_t applications(const void *params, size_t n_views)
{
    (void)n_views;
    return 2 * (size_t)((const wiener_params *)params)->iterations + 1;
}

static void describe(const void *params, char *text, size_t size)
{
    snprintf(text, size, "%ld iterations", ((const wiener_params *)params)->iterations);
}

typedef struct wiener {
    tr_context *c;
    tr_vec *d;              /* b - A x, in the place of b */
    tr_vec image, weighted; /* A p, and W times what is projected back */
    tr_vec r, z, p,
        q; /* the gradient, it preconditioned, the direction, what that becomes */
    tr_vec W;
    double rz;
} wiener;

static tr_status apply_filter(const wiener *s, bool inverse, const tr_vec *x, tr_vec *y)
{
    const tr_model_filter filter = {.inverse = inverse, .data = inverse, .prior = 1.0};
    return s->c->model->filter(s->c->model, &filter, x, y);
}

static tr_status weighted_adjoint(wiener *s, const tr_vec *p, tr_vec *x)
{
    return tr_weighted_adjoint(s->c, &s->W, p, &s->weighted, x);
}

static tr_status begin(wiener *s, tr_vec *b, tr_vec *x)
{
    tr_context *c = s->c;
    TR_TRY(tr_new_projections(c, &s->image));
    TR_TRY(tr_new_projections(c, &s->weighted));
    TR_TRY(tr_new_volume(c, &s->r));
    TR_TRY(tr_new_volume(c, &s->z));
    TR_TRY(tr_new_volume(c, &s->p));
    TR_TRY(tr_new_volume(c, &s->q));
    TR_TRY(tr_new_view_weights(c, c->model->weight, &s->W));
    s->d = b;
    TR_TRY(TR_VECTOR(c, fill, x, 0.0f));
    TR_TRY(weighted_adjoint(s, b, &s->r));
    TR_TRY(apply_filter(s, true, &s->r, &s->p));
    return tr_dot(c, &s->r, &s->p, &s->rz);
}

static tr_status step(wiener *s, tr_vec *x)
{
    tr_context *c = s->c;
    double curvature, rz;
    TR_TRY(TR_FORWARD(c, NULL, &s->p, &s->image));
    TR_TRY(weighted_adjoint(s, &s->image, &s->q));
    TR_TRY(apply_filter(s, false, &s->p, &s->z));
    TR_TRY(TR_VECTOR(c, axpy, 1.0f, &s->z, &s->q));
    TR_TRY(tr_dot(c, &s->p, &s->q, &curvature));
    if (!(curvature > 0.0))
        return TR_OK;
    float a = (float)(s->rz / curvature);
    TR_TRY(TR_VECTOR(c, axpy, a, &s->p, x));
    TR_TRY(TR_VECTOR(c, axpy, -a, &s->image, s->d));
    TR_TRY(TR_VECTOR(c, axpy, -a, &s->q, &s->r));
    TR_TRY(apply_filter(s, true, &s->r, &s->z));
    TR_TRY(tr_dot(c, &s->r, &s->z, &rz));
    TR_TRY(TR_VECTOR(c, xpay, &s->z, (float)(rz / s->rz), &s->p));
    s->rz = rz;
    return TR_OK;
}

static tr_status iterate(wiener *s, const wiener_params *p, tr_vec *x)
{
    tr_context *c = s->c;
    bool done;
    tr_vec *const vectors[] = {x, s->d, &s->r, &s->p};
    const tr_state state = {vectors, 4, &s->rz, 1};
    long k;
    TR_TRY(tr_resume(c, &state, &k));
    for (; k < p->iterations; k++) {
        if (k > 0)
            TR_TRY(tr_save(c, &state, k));
        TR_TRY(tr_residual_add(c, s->d, NULL, s->d));
        TR_TRY(step(s, x));
        TR_TRY(tr_residual_end(c, &done));
    }
    return TR_OK;
}

static tr_status run(tr_context *c, const void *params, tr_vec *b, tr_vec *x)
{
    wiener s = {.c = c};
    c->rows_together = true;
    if (!c->model)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "WIENER weights by the spectra of views, which are measured only "
                       "where a program reads these");
    TR_TRY(begin(&s, b, x));
    return iterate(&s, params, x);
}

const tr_algorithm tr_algorithm_wiener = {
    .name = "WIENER",
    .help = "least squares weighted by the spectra of specimen and noise, for viewing",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .params_size = sizeof(wiener_params),
    .needs =
        TR_NEEDS_WHOLE_VOLUME | TR_COVERS_OUTSIDE | TR_MODELS_VIEWS | TR_NEEDS_SPECTRA,
    .volumes = 4,
    .projections = 2,
    .applications = applications,
    .describe = describe,
    .run = run,
};
