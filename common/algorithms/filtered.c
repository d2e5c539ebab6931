#include "common/algorithms/filtered.h"

#include <math.h>
#include <stdlib.h>

#include "common/geometry/geometry.h"
#include "common/base/mem.h"

enum { MOST_DIRECT = 180 }; /* views: tilt series are summed directly */

static tr_status weigh(const tr_linop *A, bool uniform, double *width, float *weight)
{
    TR_TRY(tr_view_weights(A->tilt, A->slab->n_views, uniform, width));
    for (size_t i = 0; i < A->slab->n_views; i++)
        weight[i] = (float)width[i];
    return TR_OK;
}

/* Whether rows are independent, with nothing outside the field. */
static bool is_plain(const tr_slab *s)
{
    return tr_kind_of_rays(s, NULL) == TR_RAYS_OWN_ROW && !s->outer && !s->all_rows &&
           !s->bands;
}

bool tr_sum_is_fourier(tr_sum sum, size_t n_views, size_t n_u, size_t n_x, size_t n_z)
{
    /* Nanoseconds for a row, measured: manual/performance.md. A view has about as many
     * nodes as columns that the field sees; the grid 1.5 times the voxels either way. */
    const double update = 0.066, node = 8.5, point = 3.0, taper = 34.0;
    double views = (double)n_views, voxels = (double)n_x * (double)n_z;
    double nodes = fmax((double)n_u, hypot((double)n_x, (double)n_z)) + taper;
    double direct = update * views * voxels;
    double fourier = node * views * nodes + point * 2.25 * voxels;
    if (sum != TR_SUM_AUTO)
        return sum == TR_SUM_FOURIER;
    return n_views > MOST_DIRECT && fourier < direct;
}

tr_status tr_sum_unavailable(void)
{
    return tr_fail(
        TR_ERR_UNAVAILABLE,
        "--sum fourier: views are summed in Fourier space only by the programs "
        "for CPUs, and not with a pitch or "
        "x-tilts; use --sum auto");
}

static tr_status add_up(const tr_linop *A, tr_sum sum, const tr_vec *p, tr_vec *x)
{
    const tr_slab *s = A->slab;
    bool possible = A->ops->adjoint_fourier && is_plain(s);
    if (sum == TR_SUM_FOURIER && !possible)
        return tr_sum_unavailable();
    if (possible && tr_sum_is_fourier(sum, s->n_views, s->n_u, s->n_x, s->n_z))
        return A->ops->adjoint_fourier(A, p, x);
    return A->ops->adjoint(A, NULL, p, x);
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
