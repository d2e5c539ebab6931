/* FBP: filtered backprojection with the band-limited ramp and a window. */
#include <stdio.h>
#include <stdlib.h>

#include "common/algorithms/filter_design.h"
#include "common/base/mem.h"
#include "common/algorithms/filtered.h"

typedef struct fbp_params {
    int window, sum;
} fbp_params;

static const tr_option options[] = {
    TR_CHOICE_ROW(fbp_params, window, "filter", "WINDOW", "ramlak", TR_WINDOW_NAMES,
                  .help = "The window on the ramp filter"),
    TR_CHOICE_ROW(fbp_params, sum, TR_SUM_OPTION, "WAY", "auto", TR_SUM_NAMES,
                  .help = "How the views are summed: direct, with linear interpolation; "
                          "fourier, by gridding in Fourier space, for many views; auto "
                          "is the faster one by the sizes"),
};

static void describe(const void *params, char *text, size_t size)
{
    static const char *const names[] = {"ramlak", "shepp-logan", "cosine", "hamming",
                                        "hann",   "parzen",      "chesler"};
    snprintf(text, size, "%s filter", names[((const fbp_params *)params)->window]);
}

static tr_status run(tr_context *c, const void *params, tr_vec *b, tr_vec *x)
{
    const fbp_params *p = params;
    size_t length = tr_fbp_length(c->A->slab->n_u);
    float *response = tr_calloc("the filter", length / 2 + 1, sizeof *response);
    if (!response)
        return TR_ERR_MEMORY;
    tr_status status = tr_fbp_response((tr_window)p->window, length, response);
    if (status == TR_OK)
        status =
            tr_filtered_backprojection(c, length, response, false, (tr_sum)p->sum, b, x);
    free(response);
    return status;
}

const tr_algorithm tr_algorithm_fbp = {
    .name = "FBP",
    .help = "filtered backprojection with the windows of computed tomography",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .params_size = sizeof(fbp_params),
    .needs = TR_USES_FILTER,
    .describe = describe,
    .run = run,
};
