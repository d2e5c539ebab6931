/* What a Wiener filter has to know of the spectra of all views before the first is
 * prepared (common/views/wiener.h). Each view's sums are made by one rank, and put
 * together in the order of the views, so that they do not depend on the ranks. */
#include <stdlib.h>

#include "common/base/first_error.h"
#include "common/base/mem.h"
#include "common/base/partition.h"
#include "common/series/series_private.h"
#include "common/views/wiener.h"

typedef struct look {
    const tr_series *series;
    const tr_view_facts *view;
    size_t rings;
    double *sums;
} look;

static void add(void *data, size_t nx, size_t ny, float (*spectrum)[2])
{
    const look *l = data;
    tr_wiener_add(&l->series->steps.params, l->view, nx, ny, spectrum, l->rings, l->sums);
}

static tr_status look_at_view(const tr_series *s, const tr_view_plans *plans, size_t k,
                              size_t rings, float *raw, double *sums)
{
    const tr_view_facts facts = tr_series_facts(s, k);
    look l = {s, &facts, rings, sums + k * tr_wiener_sums(rings)};
    TR_TRY(tr_content_read(&s->content, k, s->image, s->views.view[k].section, 0,
                           s->raw_v, raw));
    return tr_view_steps_look(plans, &facts, raw, add, &l);
}

static tr_status look_at_share(tr_comm *comm, const tr_series *s,
                               const tr_series_spec *spec, size_t rings, double *sums)
{
    size_t first, count;
    tr_partition(s->n_views, (size_t)comm->size, (size_t)comm->rank, &first, &count);
    tr_view_plans *plans = tr_series_plans(s);
    if (!plans)
        return TR_ERR_MEMORY;
    tr_first_error failure = TR_NO_ERROR_YET;
#pragma omp parallel num_threads(tr_series_workers(spec, plans))
    {
        float *raw = tr_calloc("a view to look at", s->raw_u * s->raw_v, sizeof *raw);
#pragma omp for schedule(dynamic)
        for (size_t k = first; k < first + count; k++)
            if (tr_first_error_needs(&failure, k))
                tr_first_error_note(&failure, k,
                                    raw ? look_at_view(s, plans, k, rings, raw, sums)
                                        : TR_ERR_MEMORY);
        free(raw);
    }
    tr_view_plans_free(plans);
    return tr_first_error_end(&failure);
}

tr_status tr_series_look(tr_comm *comm, tr_series *s, const tr_series_spec *spec)
{
    size_t rings = tr_wiener_rings(s->raw_u, s->raw_v, s->pixel);
    size_t n = s->n_views * tr_wiener_sums(rings);
    double *sums = tr_calloc("the views' spectra", n, sizeof *sums);
    tr_status status = comm->ops->agree(
        comm, sums ? look_at_share(comm, s, spec, rings, sums) : TR_ERR_MEMORY);
    if (status == TR_OK)
        status = tr_comm_gather(comm, sums, n);
    if (status == TR_OK)
        status = comm->ops->agree(comm, tr_wiener_fit(&s->steps.params, s->views.view,
                                                      s->n_views, s->pixel, rings, sums,
                                                      &s->wiener));
    free(sums);
    return status;
}
