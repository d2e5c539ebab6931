#include "tiltrecz/mask.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "common/run/second.h"

struct tr_volume_mask {
    tr_vec values; /* 1 or 0, one per pixel */
    tr_linop *masked;
    const tr_linop *A;
};

size_t tr_volume_mask_projections(const tr_job *job)
{
    return job->second && job->second->masked ? 2 : 0;
}

/* One view: `values` as a vector of projections has them, of the own rows. */
static void fill_view(const tr_job *job, const tr_volume_plan *p, const tr_ray *ray,
                      float *values)
{
    const tr_geometry *g = &job->geometry;
    for (size_t c = 0; c < g->n_u; c++)
        for (size_t r = 0; r < p->rows; r++)
            values[(c + 1) * p->lanes + r] = tr_second_stays_inside(
                g, ray, job->second->across, (double)c, (double)(p->first + r));
}

static tr_status fill(const tr_job *job, const tr_volume_plan *p, tr_volume_mask *m)
{
    const tr_linop *A = m->A;
    size_t lines = A->slab->n_u + TR_GUARDS, first = job->geometry.n_views;
    TR_TRY(A->backend->fill(A->device, &m->values, 1.0f));
    float *view = tr_calloc("a view", lines * p->lanes, sizeof *view);
    tr_status status = view ? TR_OK : TR_ERR_MEMORY;
    for (size_t k = 0; k < job->second->n_views && status == TR_OK; k++) {
        const tr_rows rows = {(first + k) * lines, lines, 0, p->lanes};
        fill_view(job, p, &job->second->rays[k], view);
        status = A->backend->put_rows(A->device, &rows, view, false, &m->values);
    }
    free(view);
    return status;
}

static tr_status build(const tr_job *job, const tr_volume_plan *p, tr_volume_mask *m)
{
    const tr_linop *A = m->A;
    m->values = (tr_vec){.lines = tr_projection_lines(A->slab), .rows = A->slab->p_rows};
    TR_TRY(
        A->backend->alloc(A->device, m->values.lines * m->values.rows, &m->values.data));
    TR_TRY(fill(job, p, m));
    return tr_linop_weight(A, &m->values, NULL, &m->masked);
}

tr_status tr_volume_mask_new(const tr_job *job, const tr_volume_plan *plan,
                             const tr_linop *A, tr_volume_mask **mask)
{
    *mask = NULL;
    if (!tr_volume_mask_projections(job))
        return TR_OK;
    tr_volume_mask *m = tr_calloc("a mask", 1, sizeof *m);
    tr_status status = m ? TR_OK : TR_ERR_MEMORY;
    if (m) {
        m->A = A;
        status = build(job, plan, m);
    }
    status = job->comm->ops->agree(job->comm, status);
    if (status == TR_OK)
        *mask = m;
    else
        tr_volume_mask_free(m);
    return status;
}

const tr_linop *tr_volume_mask_linop(const tr_volume_mask *m) { return m->masked; }

tr_status tr_volume_mask_data(const tr_volume_mask *m, tr_vec *b)
{
    return m ? m->A->backend->mul_lines(m->A->device, &m->values, b) : TR_OK;
}

void tr_volume_mask_free(tr_volume_mask *m)
{
    if (!m)
        return;
    tr_linop_free(m->masked);
    if (m->values.data)
        m->A->backend->free(m->A->device, m->values.data);
    free(m);
}
