/* An operator that projects by its backend, and nothing besides. */
#ifndef TR_LINOP_FIXTURE_H
#define TR_LINOP_FIXTURE_H

#include "common/algorithms/linop.h"

static tr_status project(const tr_linop *A, const tr_subset *views, const tr_vec *x,
                         tr_vec *p)
{
    return A->backend->project(A->device, A->slab, views, x, p);
}

static tr_status backproject(const tr_linop *A, const tr_subset *views, const tr_vec *p,
                             tr_vec *x)
{
    return A->backend->backproject(A->device, A->slab, views, p, x);
}

#endif
