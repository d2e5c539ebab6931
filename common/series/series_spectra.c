/* What a Wiener filter has to know of the spectra of all views before the first is
 * prepared (common/views/wiener.h). Each view's sums are made by one rank, and put
 * together in the order of the views, so that they do not depend on the ranks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/series/series_private.h"
#include "common/views/wiener.h"

typedef struct look {
    const tr_series *series;
    const tr_series_spec *spec;
    size_t rings;
    const tr_view_plans *plans;
    double *sums; /* of each view */
} look;

/* One view's spectra on their way into its sums. */
typedef struct spectra {
    const look *look;
    const tr_view_facts *view;
    double *sums;
    float (*even)[2]; /* the first of two spectra, NULL before */
} spectra;

static void add(void *data, size_t nx, size_t ny, float (*spectrum)[2])
{
    const spectra *s = data;
    tr_wiener_add(&s->look->series->steps.params, s->view, nx, ny, spectrum,
                  s->look->rings, s->sums);
}

static void keep_even(void *data, size_t nx, size_t ny, float (*spectrum)[2])
{
    spectra *s = data;
    size_t n = (nx / 2 + 1) * ny;
    s->even = tr_calloc("a spectrum", n, sizeof *s->even);
    if (s->even)
        memcpy(s->even, spectrum, n * sizeof *s->even);
}

static void add_odd(void *data, size_t nx, size_t ny, float (*spectrum)[2])
{
    const spectra *s = data;
    tr_wiener_add_halves(&s->look->series->steps.params, s->view, nx, ny, s->even,
                         spectrum, s->look->rings, s->sums);
}

/* To both halves, so that their mean is the view, whether that is their sum or their
 * mean: by the factor that fits best. What is not finite becomes the view's. */
static void scale_halves(const float *view, size_t n, float *even, float *odd)
{
    double product = 0.0, square = 0.0;
    for (size_t i = 0; i < n; i++) {
        double both = (double)even[i] + odd[i];
        if (!isfinite(both) || !isfinite(view[i]))
            continue;
        product += view[i] * both;
        square += both * both;
    }
    double by = square > 0.0 ? 2.0 * product / square : 0.0;
    for (size_t i = 0; i < n; i++) {
        bool good = isfinite(even[i]) && isfinite(odd[i]);
        even[i] = good ? (float)(by * even[i]) : view[i];
        odd[i] = good ? (float)(by * odd[i]) : view[i];
    }
}

static tr_status look_at_halves(const look *l, size_t section, const float *view,
                                float *half, spectra *s)
{
    size_t n = l->series->raw_u * l->series->raw_v;
    for (int k = 0; k < 2; k++)
        TR_TRY(tr_image_read(l->spec->halves[k], section, 0, l->series->raw_v, 0,
                             l->series->raw_u, half + (size_t)k * n));
    scale_halves(view, n, half, half + n);
    TR_TRY(tr_view_steps_look(l->plans, s->view, half, keep_even, s));
    if (!s->even)
        return TR_ERR_MEMORY;
    tr_status status = tr_view_steps_look(l->plans, s->view, half + n, add_odd, s);
    free(s->even);
    return status;
}

/* The room is of one view, or of three. */
static tr_status look_at_view(void *data, size_t k, void *room)
{
    const look *l = data;
    float *raw = room;
    const tr_series *s = l->series;
    const tr_view_facts facts = tr_series_facts(s, k);
    spectra all = {
        .look = l, .view = &facts, .sums = l->sums + k * tr_wiener_sums(l->rings)};
    size_t section = s->views.view[k].section;
    TR_TRY(tr_content_read(&s->content, k, s->image, section, 0, s->raw_v, raw));
    if (l->spec->halves[0])
        return look_at_halves(l, section, raw, raw + s->raw_u * s->raw_v, &all);
    return tr_view_steps_look(l->plans, &facts, raw, add, &all);
}

static tr_status begin_look(void *data, void **room)
{
    const look *l = data;
    size_t images = l->spec->halves[0] ? 3 : 1;
    *room = tr_calloc("a view to look at", images * l->series->raw_u * l->series->raw_v,
                      sizeof(float));
    return *room ? TR_OK : TR_ERR_MEMORY;
}

static tr_status look_at_share(tr_comm *comm, look *l)
{
    tr_view_plans *plans = tr_series_plans(l->series);
    if (!plans)
        return TR_ERR_MEMORY;
    l->plans = plans;
    const tr_view_work work = {l, begin_look, look_at_view, free};
    tr_status status = tr_series_share(comm, l->series->n_views,
                                       tr_series_workers(l->spec, plans), &work);
    tr_view_plans_free(plans);
    return status;
}

tr_status tr_series_look(tr_comm *comm, tr_series *s, const tr_series_spec *spec)
{
    size_t rings = tr_wiener_rings(s->raw_u, s->raw_v, s->pixel);
    size_t n = s->n_views * tr_wiener_sums(rings);
    double *sums = tr_calloc("the views' spectra", n, sizeof *sums);
    look l = {.series = s, .spec = spec, .rings = rings, .sums = sums};
    tr_status status =
        comm->ops->agree(comm, sums ? look_at_share(comm, &l) : TR_ERR_MEMORY);
    if (status == TR_OK)
        status = tr_comm_gather(comm, sums, n);
    if (status == TR_OK)
        status = comm->ops->agree(
            comm, tr_wiener_fit(&s->steps.params, s->views.view, s->n_views, s->pixel,
                                spec->halves[0] != NULL, rings, sums, &s->wiener));
    free(sums);
    return status;
}
