/* SART: SIRT's step taken view after view (Andersen & Kak 1984). One iteration is one
 * pass over all views, each as far as can be from those just used. */
#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/algorithms/stationary.h"

static const tr_option options[] = {TR_STATIONARY_OPTIONS("10", "0.2")};

static size_t applications(const void *params, size_t n_views)
{
    return 2 * n_views * (size_t)((const tr_stationary *)params)->iterations;
}

typedef struct ranked_view {
    double key;
    size_t view;
} ranked_view;

static int by_key(const void *a, const void *b)
{
    const ranked_view *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->view > y->view) - (x->view < y->view);
}

/* Views sorted by angle, then visited in the order of the multiples of the golden
 * section modulo 1, whose successive members lie far apart. */
static tr_status order_views(const double *tilt, size_t n, size_t *order)
{
    ranked_view *rank = tr_calloc("the order of the views", n, sizeof *rank);
    if (!rank)
        return TR_ERR_MEMORY;
    for (size_t i = 0; i < n; i++)
        rank[i] = (ranked_view){.key = tilt[i], .view = i};
    qsort(rank, n, sizeof *rank, by_key);
    for (size_t i = 0; i < n; i++)
        order[i] = rank[i].view;
    for (size_t i = 0; i < n; i++)
        rank[i] =
            (ranked_view){.key = fmod((double)i * 0.6180339887498949, 1.0), .view = i};
    qsort(rank, n, sizeof *rank, by_key);
    /* rank[j].view is the position in the visit of sorted view j. */
    size_t *visit = tr_calloc("the order of the views", n, sizeof *visit);
    if (!visit) {
        free(rank);
        return TR_ERR_MEMORY;
    }
    for (size_t j = 0; j < n; j++)
        visit[rank[j].view] = order[j];
    for (size_t i = 0; i < n; i++)
        order[i] = visit[i];
    free(visit);
    free(rank);
    return TR_OK;
}

static tr_status step(tr_context *c, const tr_stationary *p, size_t view, bool first,
                      const tr_vec *R, tr_vec *C, tr_vec *b, tr_vec *r, tr_vec *gradient,
                      tr_vec *x)
{
    const tr_subset one = {.n = 1, .views = &view};
    /* The view's part of the vectors. */
    size_t lines = c->A->slab->n_u + TR_GUARDS, first_line = view * lines;
    tr_vec rv = {r->data + first_line * r->rows, lines, r->rows};
    tr_vec bv = {b->data + first_line * b->rows, lines, b->rows};
    tr_vec Rv = {R->data + first_line * R->rows, lines, R->rows};
    if (first) {
        TR_TRY(TR_VECTOR(c, copy, &bv, &rv));
    } else {
        TR_TRY(TR_FORWARD(c, &one, x, r));
        TR_TRY(TR_VECTOR(c, xpay, &bv, -1.0f, &rv));
    }
    TR_TRY(tr_residual_add(c, b, &one, r));
    TR_TRY(TR_VECTOR(c, mul_lines, &Rv, &rv));
    TR_TRY(tr_inverse_col_sums(c, &one, C));
    return tr_add_backprojection(c, &one, (float)p->relaxation, C,
                                 p->positive ? 0.0f : -INFINITY, r, gradient, x);
}

static tr_status iterate(tr_context *c, const tr_stationary *p, const size_t *order,
                         tr_vec *b, tr_vec *x)
{
    tr_vec r, gradient, R, C;
    TR_TRY(tr_new_projections(c, &r));
    TR_TRY(tr_new_gradient(c, &gradient));
    TR_TRY(tr_new_projection_weights(c, &R));
    TR_TRY(tr_new_volume_weights(c, &C));
    TR_TRY(tr_inverse_row_sums(c, NULL, &R));
    c->tolerance = p->tolerance;
    bool done = false;
    tr_vec *const vectors[] = {x};
    const tr_state state = {.vectors = vectors, .n_vectors = 1};
    long k;
    TR_TRY(tr_resume(c, &state, &k));
    for (; k < p->iterations && !done; k++) {
        if (k > 0)
            TR_TRY(tr_save(c, &state, k));
        for (size_t i = 0; i < c->A->slab->n_views; i++)
            TR_TRY(step(c, p, order[i], k == 0 && i == 0 && c->starts_at_zero, &R, &C, b,
                        &r, &gradient, x));
        bool enough;
        TR_TRY(tr_residual_enough(c, &enough));
        TR_TRY(tr_residual_end(c, &done));
        done = done || enough;
    }
    return TR_OK;
}

static tr_status run(tr_context *c, const void *params, tr_vec *b, tr_vec *x)
{
    size_t n = c->A->slab->n_views;
    size_t *order = tr_calloc("the order of the views", n, sizeof *order);
    if (!order)
        return TR_ERR_MEMORY;
    tr_status status = order_views(c->A->tilt, n, order);
    if (status == TR_OK)
        status = iterate(c, params, order, b, x);
    free(order);
    return status;
}

const tr_algorithm tr_algorithm_sart = {
    .name = "SART",
    .help = "simultaneous algebraic reconstruction: view after view",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .params_size = sizeof(tr_stationary),
    .needs = TR_USES_INITIAL | TR_COVERS_OUTSIDE | TR_STOPS_AT_NOISE,
    .volumes = 1,
    .projections = 1,
    .applications = applications,
    .describe = tr_stationary_describe,
    .run = run,
};
