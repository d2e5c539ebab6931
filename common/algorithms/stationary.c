#include "common/algorithms/stationary.h"

#include <math.h>
#include <stdio.h>

static const float TINY = 1e-3f; /* of a voxel's weight of 1 */
static const float SHORTEST = 0.25f;

void tr_stationary_describe(const void *params, char *text, size_t size)
{
    const tr_stationary *p = params;
    snprintf(text, size, "%ld iterations, relaxation %g%s", p->iterations, p->relaxation,
             p->positive ? ", positive" : "");
}

tr_status tr_inverse_row_sums(tr_context *c, const tr_subset *views, tr_vec *R)
{
    const tr_slab *s = c->A->slab;
    float least = SHORTEST * (float)(s->n_x < s->n_z ? s->n_x : s->n_z);
    TR_TRY(TR_ROW_SUMS(c, views, R));
    TR_TRY(TR_VECTOR(c, clamp, least, R));
    return TR_VECTOR(c, invert_guarded, TINY, R);
}

tr_status tr_inverse_col_sums(tr_context *c, const tr_subset *views, tr_vec *C)
{
    TR_TRY(TR_COL_SUMS(c, views, C));
    return TR_VECTOR(c, invert_guarded, TINY, C);
}

tr_status tr_new_gradient(tr_context *c, tr_vec *gradient)
{
    return c->A->ops->add_adjoint ? TR_OK : tr_new_volume(c, gradient);
}

tr_status tr_add_backprojection(tr_context *c, const tr_subset *views, float a,
                                const tr_vec *C, float low, const tr_vec *r,
                                tr_vec *gradient, tr_vec *y)
{
    if (c->A->ops->add_adjoint)
        return c->A->ops->add_adjoint(c->A, views, a, C, low, r, y);
    TR_TRY(TR_ADJOINT(c, views, r, gradient));
    TR_TRY(TR_VECTOR(c, axpy_lines, a, C, gradient, y));
    return low > -INFINITY ? TR_VECTOR(c, clamp, low, y) : TR_OK;
}
