#include "tiltrec/sums.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

static bool same_ray(const tr_ray *a, const tr_ray *b)
{
    return a->u0 == b->u0 && a->ux == b->ux && a->uy == b->uy && a->uz == b->uz &&
           a->v0 == b->v0 && a->vx == b->vx && a->vy == b->vy && a->vz == b->vz;
}

/* Forget what belongs to other rays. */
static tr_status follow(tr_sums *sums, const tr_slab *slab)
{
    bool same = sums->rays != NULL;
    for (size_t i = 0; same && i < slab->n_views; i++)
        same = same_ray(&sums->rays[i], &slab->rays[i]);
    if (same)
        return TR_OK;
    if (!sums->rays &&
        !(sums->rays = tr_calloc("the rays", slab->n_views, sizeof *sums->rays)))
        return TR_ERR_MEMORY;
    memcpy(sums->rays, slab->rays, slab->n_views * sizeof *sums->rays);
    sums->has_row = sums->has_col = false;
    return TR_OK;
}

typedef tr_status sums_of(void *device, const tr_slab *slab, const tr_subset *views,
                          tr_vec *v);

static tr_status look_up(const tr_linop *A, sums_of *work_out, tr_vec *kept, bool *has,
                         tr_vec *wanted)
{
    if (*has)
        return A->backend->copy(A->device, kept, wanted);
    TR_TRY(work_out(A->device, A->slab, NULL, wanted));
    if (!kept->data) {
        *kept = (tr_vec){.lines = wanted->lines, .rows = wanted->rows};
        TR_TRY(A->backend->alloc(A->device, kept->lines * kept->rows, &kept->data));
    }
    TR_TRY(A->backend->copy(A->device, wanted, kept));
    *has = true;
    return TR_OK;
}

tr_status tr_row_sums(tr_sums *sums, const tr_linop *A, const tr_subset *views, tr_vec *p)
{
    if (views)
        return A->backend->row_sums(A->device, A->slab, views, p);
    TR_TRY(follow(sums, A->slab));
    return look_up(A, A->backend->row_sums, &sums->row, &sums->has_row, p);
}

tr_status tr_col_sums(tr_sums *sums, const tr_linop *A, const tr_subset *views, tr_vec *x)
{
    if (views)
        return A->backend->col_sums(A->device, A->slab, views, x);
    TR_TRY(follow(sums, A->slab));
    return look_up(A, A->backend->col_sums, &sums->col, &sums->has_col, x);
}

void tr_sums_free(tr_sums *sums, const tr_backend *backend, void *device)
{
    if (sums->row.data)
        backend->free(device, sums->row.data);
    if (sums->col.data)
        backend->free(device, sums->col.data);
    free(sums->rays);
    *sums = (tr_sums){0};
}
