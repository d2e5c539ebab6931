/* Sums over rows that do not depend on which process has which: scalar products as one
 * sum for each row, added up in the order of the rows, and projections as sums of
 * multiples of a small number, which are exact in double precision and hence the same in
 * any order (Demmel & Nguyen 2013, "Fast reproducible floating-point summation", of which
 * this is the simplest case: one bin, whose place follows from the largest addend). */
#include "tiltrecz/volume_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

tr_status tr_volume_total(const tr_volume_operator *op, const double *rows, size_t n,
                          double *values)
{
    const tr_volume_plan *p = op->plan;
    tr_comm *comm = op->job->comm;
    size_t first = p->first - p->all_first;
    TR_ASSERT(n <= TR_MOST_TOTALS);
    memset(op->totals, 0, n * p->all_rows * sizeof *op->totals);
    for (size_t k = 0; k < n; k++)
        memcpy(op->totals + k * p->all_rows + first, rows + k * p->rows,
               p->rows * sizeof *rows);
    if (comm->size > 1) /* each value is one process's; the others have 0 */
        TR_TRY(comm->ops->sum(comm, op->totals, n * p->all_rows));
    for (size_t k = 0; k < n; k++) {
        values[k] = 0.0;
        for (size_t r = 0; r < p->all_rows; r++)
            values[k] += op->totals[k * p->all_rows + r];
    }
    return TR_OK;
}

/* ---- the quantum ---- */

/* What the weights of one pixel add up to at most, with room to spare: voxels that touch
 * it lie in two columns and two rows, which in x and y is a parallelogram; cells outside
 * the field, of which a row's sum is at most that of its planes, are no more than some
 * times as much. */
static double most_weight(const tr_slab *s, const tr_ray *ray)
{
    const double spare = 16.0;
    double area = fabs(ray->ux * ray->vy - ray->uy * ray->vx);
    double all = (double)tr_all_columns(s) * (double)s->all_rows;
    double across = 2.0 * (fabs(ray->vy) + fabs(ray->uy)) / area + 2.0;
    double along = 2.0 * (fabs(ray->ux) + fabs(ray->vx)) / area + 2.0;
    return spare * (double)s->n_z * (across * along < all ? across * along : all);
}

/* Of all processes; the same on each. */
static tr_status find_largest(tr_volume_operator *op, const tr_vec *x, double *largest)
{
    tr_comm *comm = op->job->comm;
    *largest = 0.0;
    memset(op->of_ranks, 0, (size_t)comm->size * sizeof *op->of_ranks);
    TR_TRY(op->A.backend->largest(op->A.device, x, &op->of_ranks[comm->rank]));
    TR_TRY(comm->ops->sum(comm, op->of_ranks, (size_t)comm->size));
    for (int k = 0; k < comm->size; k++)
        *largest = fmax(*largest, op->of_ranks[k]);
    return TR_OK;
}

/* 2^50 of them are no less than any sum. Values that are not finite stay so without. */
static void find_quanta(tr_volume_operator *op, const tr_subset *views, double largest)
{
    for (size_t k = 0; k < views->n; k++) {
        int exponent;
        double most = largest * most_weight(&op->slab, &op->rays[views->views[k]]);
        (void)frexp(most, &exponent);
        op->quantum[k] = isfinite(most) && most > 0.0 ? ldexp(1.0, exponent - 50) : 0.0;
    }
}

/* ---- one view ---- */

/* Rows of a window of sums, column after column. */
static double *pack(const tr_volume_operator *op, const double *window, tr_row_range rows,
                    double *to)
{
    size_t n = (size_t)(rows.end - rows.first);
    const double *from = window + (rows.first - op->plan->window_first);
    for (size_t c = 0; c < tr_volume_columns(op) && n; c++, to += n)
        memcpy(to, from + c * op->slab.p_rows, n * sizeof *to);
    return to;
}

static void add_own(tr_volume_operator *op, const double *from, size_t stride,
                    tr_row_range rows)
{
    size_t lanes = op->plan->lanes, at = (size_t)(rows.first - (long)op->plan->first);
    for (size_t c = 0; c < tr_volume_columns(op); c++)
        for (long r = 0; r < rows.end - rows.first; r++)
            op->own[c * lanes + at + (size_t)r] += from[c * stride + (size_t)r];
}

/* What others own of n windows, to them, and what they have of my own rows. */
static tr_status exchange_views(tr_volume_operator *op, const double *windows, size_t n)
{
    size_t window = tr_volume_columns(op) * op->slab.p_rows;
    for (int k = 0; k < op->job->comm->size; k++) {
        double *to = k == op->job->comm->rank
                         ? NULL
                         : tr_transfer_outgoing(op->transfer, TR_TO_OWNERS, k);
        for (size_t i = 0; i < n && to; i++)
            to = pack(op, windows + i * window, op->theirs[k], to);
    }
    TR_TRY(tr_transfer_send(op->transfer, TR_TO_OWNERS, n));
    return tr_transfer_receive(op->transfer);
}

/* What all windows hold of my own rows of view i of those exchanged, to op->own. */
static void collect_view(tr_volume_operator *op, const double *window, size_t i)
{
    size_t columns = tr_volume_columns(op);
    memset(op->own, 0, columns * op->plan->lanes * sizeof *op->own);
    for (int k = 0; k < op->job->comm->size; k++) {
        tr_row_range rows = op->mine[k];
        size_t n = (size_t)(rows.end - rows.first);
        if (k == op->job->comm->rank)
            add_own(op, window + (rows.first - op->plan->window_first), op->slab.p_rows,
                    rows);
        else if (n)
            add_own(op,
                    tr_transfer_incoming(op->transfer, TR_TO_OWNERS, k) + i * columns * n,
                    n, rows);
    }
}

static tr_status put_view(const tr_volume_operator *op, size_t view, tr_vec *p)
{
    size_t columns = tr_volume_columns(op), lanes = op->plan->lanes;
    const tr_rows rows = {view * columns, columns, 0, lanes};
    for (size_t i = 0; i < columns * lanes; i++)
        op->rounded[i] = (float)op->own[i];
    return op->A.backend->put_rows(op->A.device, &rows, op->rounded, false, p);
}

tr_status tr_volume_project_sums(tr_volume_operator *op, const tr_subset *views,
                                 const tr_vec *x, tr_vec *p)
{
    const tr_subset all = {op->slab.n_views, op->list};
    const tr_linop *A = &op->A;
    size_t window = tr_volume_columns(op) * op->slab.p_rows;
    size_t most = tr_transfer_most(op->transfer);
    double largest;
    views = views ? views : &all;
    TR_TRY(find_largest(op, x, &largest));
    for (size_t k = 0; k < views->n; k += op->group) {
        size_t n = views->n - k < op->group ? views->n - k : op->group;
        const tr_subset some = {n, views->views + k};
        find_quanta(op, &some, largest);
        TR_TRY(A->backend->project_sums(A->device, &op->slab, &some, x, op->quantum,
                                        op->sums));
        for (size_t i = 0; i < n; i++) {
            if (i % most == 0)
                TR_TRY(exchange_views(op, op->sums + i * window,
                                      n - i < most ? n - i : most));
            collect_view(op, op->sums + i * window, i % most);
            TR_TRY(put_view(op, some.views[i], p));
        }
    }
    return TR_OK;
}

/* ---- making it ---- */

tr_status tr_volume_sums_new(tr_volume_operator *op)
{
    size_t columns = tr_volume_columns(op), lanes = op->plan->lanes;
    size_t n_views = op->slab.n_views;
    op->quantum = tr_calloc("views", n_views, sizeof *op->quantum);
    op->own = tr_calloc("a view", columns * lanes, sizeof *op->own);
    op->rounded = tr_calloc("a view", columns * lanes, sizeof *op->rounded);
    op->of_ranks = tr_calloc("ranks", (size_t)op->job->comm->size, sizeof *op->of_ranks);
    op->sums =
        tr_calloc("views", op->group * columns * op->slab.p_rows, sizeof *op->sums);
    if (!op->quantum || !op->own || !op->rounded || !op->of_ranks || !op->sums)
        return TR_ERR_MEMORY;
    return TR_OK;
}

void tr_volume_sums_free(tr_volume_operator *op)
{
    free(op->quantum);
    free(op->own);
    free(op->rounded);
    free(op->of_ranks);
    free(op->sums);
}
