/* The regularizers of ADMM behind one table: Reg(x) = sum of the lengths of v = L x, in a
 * basis where its proximal step is a shrinkage. With `positive`, x >= 0 as well. */
#ifndef TR_REGULARIZER_H
#define TR_REGULARIZER_H

#include "common/algorithms/algorithm.h"

typedef enum tr_regularizer_kind {
    TR_REG_TV,
    TR_REG_L1,
    TR_REG_HAAR
} tr_regularizer_kind;
#define TR_REGULARIZER_NAMES "tv l1 haar"

enum { TR_MAX_PARTS = 4 };

/* v = L x as `parts` volumes:
 *   tv    the differences along x, y and z (L^T L <= 12); lengths voxel by voxel
 *   l1    x itself; absolute values
 *   haar  x itself; absolute values of its Haar transform, 3 levels in x and z, 1 in y
 * and with `positive` x once more, as the last part (of l1: as the only one). */
typedef struct tr_regularizer {
    tr_context *c;
    tr_regularizer_kind kind;
    bool positive;
    size_t parts;
    float *row; /* a neighbouring process's row, one value per line */
} tr_regularizer;

/* How many volumes v takes. */
size_t tr_regularizer_parts(tr_regularizer_kind kind, bool positive);

TR_CHECKED tr_status tr_regularizer_begin(tr_context *c, tr_regularizer_kind kind,
                                          bool positive, tr_regularizer *reg);
void tr_regularizer_end(tr_regularizer *reg);

/* v = L x; and y = L^T v. Collective. */
TR_CHECKED tr_status tr_regularizer_apply(tr_regularizer *reg, const tr_vec *x,
                                          tr_vec *v);
TR_CHECKED tr_status tr_regularizer_adjoint(tr_regularizer *reg, const tr_vec *v,
                                            tr_vec *y);
/* v = the z that minimises t Reg(z) + |z - v|^2 / 2, of z >= 0 where that is asked for.
 */
TR_CHECKED tr_status tr_regularizer_shrink(const tr_regularizer *reg, double t,
                                           tr_vec *v);
/* Reg of v = L x, over all processes; `scratch` is a volume. Collective. */
TR_CHECKED tr_status tr_regularizer_value(const tr_regularizer *reg, const tr_vec *v,
                                          tr_vec *scratch, double *value);

#endif
