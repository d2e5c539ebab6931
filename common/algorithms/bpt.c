/* BPT: plain backprojection, the mean of the views' values at a voxel's projections. A
 * view whose ray leaves the image contributes its row's mean. */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/algorithms/algorithm.h"

static void describe(const void *params, char *text, size_t size)
{
    (void)params;
    snprintf(text, size, "mean over the views");
}

static tr_status run(tr_context *c, const void *params, tr_vec *b, tr_vec *x)
{
    (void)params;
    const tr_slab *slab = c->A->slab;
    size_t length = tr_fft_length(slab->n_u), n = length / 2 + 1;
    /* The filter that changes nothing but weighs the views and fills the edges. */
    float *one = tr_calloc("the weights", n + slab->n_views, sizeof *one);
    if (!one)
        return TR_ERR_MEMORY;
    for (size_t i = 0; i < n; i++)
        one[i] = 1.0f;
    for (size_t i = 0; i < slab->n_views; i++)
        one[n + i] = 1.0f / (float)slab->n_views;
    tr_filter mean = {
        .length = length, .response = one, .weight = one + n, .edge_gain = 1.0f};
    tr_status status = TR_FILTER(c, &mean, b);
    free(one);
    TR_TRY(status);
    return TR_ADJOINT(c, NULL, b, x);
}

const tr_algorithm tr_algorithm_bpt = {
    .name = "BPT",
    .help = "plain backprojection: the mean of the views, fast and blurred",
    .needs = TR_USES_FILTER,
    .describe = describe,
    .run = run,
};
