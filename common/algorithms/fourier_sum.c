#include "common/algorithms/fourier_sum.h"

#include <math.h>

enum { MOST_DIRECT = 180 }; /* views: tilt series are summed directly */

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

tr_status tr_sum_choose(const tr_linop *A, tr_sum sum, bool *fourier)
{
    const tr_slab *s = A->slab;
    bool possible = A->ops->adjoint_fourier && is_plain(s);
    *fourier = false;
    if (sum == TR_SUM_FOURIER && !possible)
        return tr_sum_unavailable();
    *fourier = possible && tr_sum_is_fourier(sum, s->n_views, s->n_u, s->n_x, s->n_z);
    return TR_OK;
}

static tr_status forward(const tr_linop *A, const tr_subset *views, const tr_vec *x,
                         tr_vec *p)
{
    (void)views; /* all */
    return A->ops->forward_fourier(A, x, p);
}

static tr_status adjoint(const tr_linop *A, const tr_subset *views, const tr_vec *p,
                         tr_vec *x)
{
    (void)views; /* all */
    return A->ops->adjoint_fourier(A, p, x);
}

tr_status tr_sum_operator(const tr_linop *A, tr_sum sum, tr_sum_pair *pair)
{
    bool fourier;
    TR_TRY(tr_sum_choose(A, sum, &fourier));
    pair->A = *A;
    if (!fourier)
        return TR_OK;
    pair->ops = *A->ops;
    pair->ops.forward = forward;
    pair->ops.adjoint = adjoint;
    pair->ops.add_adjoint = NULL;
    pair->A.ops = &pair->ops;
    return TR_OK;
}
