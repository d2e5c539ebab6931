#include "common/algorithms/filtered.h"

#include <stdlib.h>

#include "common/geometry/geometry.h"
#include "common/base/mem.h"

enum { MOST_DIRECT = 200 }; /* views of a tilt series, whose bytes stay what they are */

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
    for (size_t i = 0; i < s->n_views; i++) {
        const tr_ray *r = &s->rays[i];
        if (r->uy != 0.0 || r->v0 != 0.0 || r->vx != 0.0 || r->vy != 1.0 || r->vz != 0.0)
            return false;
    }
    return !s->outer && !s->all_rows && s->p_rows == s->rows;
}

bool tr_sum_is_fourier(tr_sum sum, size_t n_views, size_t n_u, size_t n_x, size_t n_z)
{
    /* Nanoseconds per row: measured, manual/performance.md */
    const double per_update = 0.05, per_node = 3.0, per_point = 1.0;
    double views = (double)n_views, x = (double)n_x, z = (double)n_z;
    double points = 2.25 * x * z;
    double direct = per_update * views * x * z;
    double nodes = views * ((double)n_u + 64.0);
    if (sum != TR_SUM_AUTO)
        return sum == TR_SUM_FOURIER;
    return n_views > MOST_DIRECT && per_node * nodes + per_point * points < direct;
}

tr_status tr_sum_unavailable(void)
{
    return tr_fail(
        TR_ERR_UNAVAILABLE,
        "--sum fourier: views are summed in Fourier space only by the programs "
        "for CPUs that reconstruct slice by slice, and not with a pitch or "
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
