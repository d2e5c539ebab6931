#include "common/algorithms/filtered.h"

#include <stdlib.h>

#include "common/geometry/geometry.h"
#include "common/base/mem.h"

static tr_status weigh(const tr_linop *A, bool uniform, double *width, float *weight)
{
    TR_TRY(tr_view_weights(A->tilt, A->slab->n_views, uniform, width));
    for (size_t i = 0; i < A->slab->n_views; i++)
        weight[i] = (float)width[i];
    return TR_OK;
}

static tr_status add_up(const tr_linop *A, tr_sum sum, const tr_vec *p, tr_vec *x)
{
    bool fourier;
    TR_TRY(tr_sum_choose(A, sum, &fourier));
    return fourier ? A->ops->adjoint_fourier(A, p, x) : A->ops->adjoint(A, NULL, p, x);
}

tr_status tr_filtered_backprojection(tr_context *c, size_t length, const float *response,
                                     bool uniform_weights, tr_sum sum, tr_vec *b,
                                     tr_vec *x)
{
    size_t n = c->A->slab->n_views;
    double *width = tr_calloc("the view weights", n, sizeof *width);
    float *weight = tr_calloc("the view weights", n, sizeof *weight);
    tr_status status = TR_ERR_MEMORY;
    if (width && weight)
        status = weigh(c->A, uniform_weights, width, weight);
    if (status == TR_OK) {
        tr_filter filter = {.length = length,
                            .response = response,
                            .weight = weight,
                            .edge_gain = response[0]};
        status = TR_FILTER(c, &filter, b);
    }
    free(width);
    free(weight);
    TR_TRY(status);
    return add_up(c->A, sum, b, x);
}
