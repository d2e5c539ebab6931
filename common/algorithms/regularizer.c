#include "common/algorithms/regularizer.h"

#include <stdlib.h>

#include "common/base/mem.h"

enum { LEVELS = 3 }; /* of the Haar transform */

/* Whether x >= 0 takes a part of its own: of l1, it is one step with the shrinkage. */
static bool has_own_part(tr_regularizer_kind kind, bool positive)
{
    return positive && kind != TR_REG_L1;
}

size_t tr_regularizer_parts(tr_regularizer_kind kind, bool positive)
{
    return (kind == TR_REG_TV ? 3 : 1) + has_own_part(kind, positive);
}

tr_status tr_regularizer_begin(tr_context *c, tr_regularizer_kind kind, bool positive,
                               tr_regularizer *reg)
{
    *reg =
        (tr_regularizer){c, kind, positive, tr_regularizer_parts(kind, positive), NULL};
    reg->row =
        tr_calloc("a row of the volume", tr_volume_lines(c->A->slab), sizeof *reg->row);
    return reg->row ? TR_OK : TR_ERR_MEMORY;
}

void tr_regularizer_end(tr_regularizer *reg)
{
    free(reg->row);
    reg->row = NULL;
}

/* The row next to this process's own; NULL at the ends of the volume. */
static tr_status neighbour(tr_regularizer *reg, bool above, const tr_vec *x,
                           const float **row)
{
    const tr_linop *A = reg->c->A;
    bool exists = false;
    if (A->ops->neighbour)
        TR_TRY(A->ops->neighbour(A, above, x, reg->row, &exists));
    *row = exists ? reg->row : NULL;
    return TR_OK;
}

tr_status tr_regularizer_apply(tr_regularizer *reg, const tr_vec *x, tr_vec *v)
{
    const tr_linop *A = reg->c->A;
    if (reg->kind == TR_REG_TV) {
        const float *above;
        TR_TRY(neighbour(reg, true, x, &above));
        TR_TRY(
            TR_VECTOR(reg->c, grad, A->slab, A->n_rows, x, above, &v[0], &v[1], &v[2]));
    } else {
        TR_TRY(TR_VECTOR(reg->c, copy, x, &v[0]));
    }
    if (has_own_part(reg->kind, reg->positive))
        TR_TRY(TR_VECTOR(reg->c, copy, x, &v[reg->parts - 1]));
    return TR_OK;
}

tr_status tr_regularizer_adjoint(tr_regularizer *reg, const tr_vec *v, tr_vec *y)
{
    const tr_linop *A = reg->c->A;
    if (reg->kind == TR_REG_TV) {
        const float *below;
        TR_TRY(neighbour(reg, false, &v[1], &below));
        TR_TRY(TR_VECTOR(reg->c, grad_adjoint, A->slab, A->n_rows, &v[0], &v[1], &v[2],
                         below, y));
    } else {
        TR_TRY(TR_VECTOR(reg->c, copy, &v[0], y));
    }
    if (has_own_part(reg->kind, reg->positive))
        TR_TRY(TR_VECTOR(reg->c, axpy, 1.0f, &v[reg->parts - 1], y));
    return TR_OK;
}

static tr_status haar(const tr_regularizer *reg, bool inverse, tr_vec *v)
{
    const tr_linop *A = reg->c->A;
    return TR_VECTOR(reg->c, haar, A->slab, A->n_rows, LEVELS, inverse, v);
}

tr_status tr_regularizer_shrink(const tr_regularizer *reg, double t, tr_vec *v)
{
    if (reg->kind == TR_REG_TV) {
        TR_TRY(TR_VECTOR(reg->c, shrink_vectors, (float)t, &v[0], &v[1], &v[2]));
    } else if (reg->kind == TR_REG_HAAR) {
        TR_TRY(haar(reg, false, &v[0]));
        TR_TRY(TR_VECTOR(reg->c, shrink, (float)t, &v[0]));
        TR_TRY(haar(reg, true, &v[0]));
    } else {
        TR_TRY(TR_VECTOR(reg->c, shrink, (float)t, &v[0]));
    }
    return reg->positive ? TR_VECTOR(reg->c, clamp, 0.0f, &v[reg->parts - 1]) : TR_OK;
}

/* The sum of lengths over all processes: row by row, where the backend can. */
static tr_status sum_lengths(const tr_regularizer *reg, const tr_vec *gx,
                             const tr_vec *gy, const tr_vec *gz, double *value)
{
    const tr_linop *A = reg->c->A;
    bool by_rows = A->ops->total && A->backend->row_lengths;
    if (!A->ops->total)
        return TR_VECTOR(reg->c, sum_lengths, gx, gy, gz, value);
    double *rows = tr_calloc("row sums", gx->rows, sizeof *rows);
    if (!rows)
        return TR_ERR_MEMORY;
    tr_status status =
        by_rows ? TR_VECTOR(reg->c, row_lengths, gx, gy, gz, rows)
                : TR_VECTOR(reg->c, sum_lengths, gx, gy, gz, rows + A->first_row);
    if (status == TR_OK)
        status = tr_total(reg->c, rows + A->first_row, 1, value);
    free(rows);
    return status;
}

tr_status tr_regularizer_value(const tr_regularizer *reg, const tr_vec *v,
                               tr_vec *scratch, double *value)
{
    if (reg->kind == TR_REG_TV)
        return sum_lengths(reg, &v[0], &v[1], &v[2], value);
    if (reg->kind == TR_REG_L1)
        return sum_lengths(reg, &v[0], NULL, NULL, value);
    TR_TRY(TR_VECTOR(reg->c, copy, &v[0], scratch));
    TR_TRY(haar(reg, false, scratch));
    return sum_lengths(reg, scratch, NULL, NULL, value);
}
