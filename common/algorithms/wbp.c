/* WBP: weighted backprojection as IMOD's tilt does it: ramp, radial roll-off, views
 * weighted by their local angular density. */
#include <stdio.h>
#include <stdlib.h>

#include "common/algorithms/filter_design.h"
#include "common/base/mem.h"
#include "common/algorithms/filtered.h"

typedef struct wbp_params {
    double radial[2];
    double hamming_like;
    long sirt_like;
    bool uniform_weights;
} wbp_params;

static const tr_option options[] = {
    TR_PAIR_ROW(wbp_params, radial, "radial", "FC,SIGMA", "0.35,0.035", 0, 0.5,
                .help = "From frequency FC (cycles per pixel) fall off as a Gaussian of "
                        "this sigma; 0.5,0 does not fall off"),
    TR_REAL_ROW(wbp_params, hamming_like, "hamming-like", "FC", "0", 0, 0.5,
                .help = "Instead, fall off like a Hamming window from frequency FC"),
    TR_INT_ROW(wbp_params, sirt_like, "sirt-like", "N", "0", 0, 1000,
               .help = "Weigh frequencies as N iterations of SIRT would; 0 does not"),
    TR_FLAG_ROW(wbp_params, uniform_weights, "uniform-weights",
                .help = "Give all views the same weight instead of weighing them by the "
                        "local spacing of the tilt angles"),
};

static void describe(const void *params, char *text, size_t size)
{
    const wbp_params *p = params;
    int n = p->hamming_like > 0
                ? snprintf(text, size, "Hamming-like from %g", p->hamming_like)
                : snprintf(text, size, "radial %g,%g", p->radial[0], p->radial[1]);
    if (p->sirt_like && n > 0 && (size_t)n < size)
        n += snprintf(text + n, size - (size_t)n, ", SIRT-like %ld", p->sirt_like);
    if (p->uniform_weights && n > 0 && (size_t)n < size)
        snprintf(text + n, size - (size_t)n, ", uniform weights");
}

static tr_status run(tr_context *c, const void *params, tr_vec *b, tr_vec *x)
{
    const wbp_params *p = params;
    const tr_wbp_filter design = {.cutoff = p->radial[0],
                                  .sigma = p->radial[1],
                                  .hamming_like = p->hamming_like,
                                  .sirt_like = p->sirt_like};
    size_t length = tr_wbp_length(c->A->slab->n_u);
    float *response = tr_calloc("the filter", length / 2 + 1, sizeof *response);
    if (!response)
        return TR_ERR_MEMORY;
    tr_wbp_response(&design, length, response);
    tr_status status = tr_filtered_backprojection(c, length, response, p->uniform_weights,
                                                  TR_SUM_DIRECT, b, x);
    free(response);
    return status;
}

const tr_algorithm tr_algorithm_wbp = {
    .name = "WBP",
    .help = "weighted backprojection with IMOD's filters",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .params_size = sizeof(wbp_params),
    .needs = TR_USES_FILTER,
    .describe = describe,
    .run = run,
};
