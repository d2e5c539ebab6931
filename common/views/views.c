#include "common/views/views.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"

static const tr_view unknown_view = {.transform = {.a11 = 1.0, .a22 = 1.0},
                                     .exposure = NAN,
                                     .prior_exposure = NAN,
                                     .ctf = TR_NO_CTF};

tr_status tr_views_new(size_t n, tr_views *views)
{
    *views =
        (tr_views){.n = n, .view = tr_calloc("the list of views", n, sizeof(tr_view))};
    if (!views->view)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < n; k++) {
        views->view[k] = unknown_view;
        views->view[k].section = k;
    }
    return TR_OK;
}

tr_status tr_views_select(const tr_views *from, const size_t *which, size_t n,
                          tr_views *views)
{
    tr_views chosen;
    TR_TRY(tr_views_new(n, &chosen));
    chosen.has_xtilts = from->has_xtilts;
    chosen.has_transforms = from->has_transforms;
    chosen.has_zfactors = from->has_zfactors;
    for (size_t k = 0; k < n; k++) {
        size_t one = which ? which[k] : k;
        TR_ASSERT(one < from->n);
        chosen.view[k] = from->view[one];
    }
    *views = chosen;
    return TR_OK;
}

tr_status tr_views_copy(const tr_views *from, tr_views *views)
{
    return tr_views_select(from, NULL, from->n, views);
}

void tr_views_free(tr_views *views)
{
    free(views->view);
    *views = (tr_views){.n = 0};
}

/* ---- from files ---- */

static tr_status read_xtilts(const char *path, size_t n_sections, double *angles)
{
    size_t column;
    TR_TRY(tr_refuse_other_source(path, "x-tilts"));
    TR_TRY(tr_angles_read_column(path, n_sections, angles, &column));
    if (column > 0)
        return tr_fail(TR_ERR_DATA,
                       "%s seems to have tilt angles in its column %zu, and x-tilts in "
                       "none; give a file of the x-tilts alone",
                       path, column + 1);
    return TR_OK;
}

tr_status tr_views_read_xtilts(const char *path, size_t n_sections, tr_views *views)
{
    double *angles = tr_calloc("the x-tilts", n_sections, sizeof *angles);
    tr_status status = angles ? read_xtilts(path, n_sections, angles) : TR_ERR_MEMORY;
    for (size_t k = 0; status == TR_OK && k < views->n; k++) /* no -0 */
        views->view[k].xtilt = 0.0 - angles[views->view[k].section];
    views->has_xtilts = views->has_xtilts || status == TR_OK;
    free(angles);
    return status;
}

void tr_views_take_angles(const tr_alignment *a, tr_views *views)
{
    TR_ASSERT(a->tilt);
    for (size_t k = 0; k < views->n; k++) {
        tr_view *view = &views->view[k];
        view->tilt = a->tilt[view->section];
        if (a->xtilt)
            view->xtilt = a->xtilt[view->section];
        view->exposure = a->exposure[view->section];
        view->prior_exposure = a->prior_exposure[view->section];
        view->ctf = a->ctf[view->section];
    }
    views->has_xtilts = views->has_xtilts || a->xtilt;
}

void tr_views_take_transforms(const tr_alignment *a, tr_views *views)
{
    TR_ASSERT(a->transforms);
    for (size_t k = 0; k < views->n; k++) {
        tr_view *view = &views->view[k];
        view->transform = a->transforms[view->section];
        size_t first = 0;
        while (first < a->n_local && a->local[first].view != view->section)
            first++;
        view->local = a->local ? a->local + first : NULL;
        view->local_columns = a->local_columns;
        for (view->n_local = 0; first + view->n_local < a->n_local &&
                                a->local[first + view->n_local].view == view->section;)
            view->n_local++;
    }
    views->has_transforms = true;
}
