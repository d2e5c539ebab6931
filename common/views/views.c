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

static tr_status read_mdoc(const char *path, size_t n_sections, tr_views *views)
{
    tr_mdoc mdoc;
    TR_TRY(tr_mdoc_read_tilts(path, n_sections, &mdoc));
    for (size_t k = 0; k < views->n; k++) {
        tr_view *view = &views->view[k];
        view->tilt = mdoc.tilt[view->section];
        view->exposure = mdoc.dose[view->section];
        view->prior_exposure = mdoc.prior_dose[view->section];
    }
    tr_mdoc_free(&mdoc);
    return TR_OK;
}

tr_status tr_views_read_tilts(const char *path, size_t n_sections, tr_views *views)
{
    if (tr_mdoc_probe(path))
        return read_mdoc(path, n_sections, views);
    double *angles = tr_calloc("the tilt angles", n_sections, sizeof *angles);
    size_t column = 0;
    tr_status status =
        angles ? tr_angles_read_column(path, n_sections, angles, &column) : TR_ERR_MEMORY;
    if (column > 0)
        tr_info("%s: the tilt angles are its column %zu; its first column is something "
                "else",
                path, column + 1);
    for (size_t k = 0; status == TR_OK && k < views->n; k++)
        views->view[k].tilt = angles[views->view[k].section];
    free(angles);
    return status;
}

/* A file of another kind, by what it is about, than the option is for. */
static tr_status refuse_others(const char *path, const char *wanted)
{
    const char *is = NULL, *option = "--tilts";
    if (tr_mdoc_probe(path)) {
        is = "an mdoc";
    } else if (tr_alignment_probe(path)) {
        is = "an alignment with tilt angles";
    } else if (tr_imod_com_probe(path)) {
        is = "a command file of IMOD";
        option = "--imod-com";
    }
    return is ? tr_fail(TR_ERR_DATA, "%s is %s, not %s; such a file is given with %s",
                        path, is, wanted, option)
              : TR_OK;
}

static tr_status read_xtilts(const char *path, size_t n_sections, double *angles)
{
    size_t column;
    TR_TRY(refuse_others(path, "x-tilts"));
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

tr_status tr_views_read_transforms(const char *path, size_t n_sections, tr_views *views)
{
    TR_TRY(refuse_others(path, "transforms"));
    tr_transform *all = tr_calloc("the transforms", n_sections, sizeof *all);
    tr_status status = all ? tr_transforms_read(path, n_sections, all) : TR_ERR_MEMORY;
    for (size_t k = 0; status == TR_OK && k < views->n; k++)
        views->view[k].transform = all[views->view[k].section];
    views->has_transforms = views->has_transforms || status == TR_OK;
    free(all);
    return status;
}

void tr_views_take_alignment(const tr_alignment *a, tr_views *views)
{
    for (size_t k = 0; k < views->n; k++) {
        tr_view *view = &views->view[k];
        view->tilt = a->tilt[view->section];
        if (a->xtilt)
            view->xtilt = a->xtilt[view->section];
        view->prior_exposure = a->prior_exposure[view->section];
        view->ctf = a->ctf[view->section];
    }
    views->has_xtilts = views->has_xtilts || a->xtilt;
}

void tr_views_take_transforms(const tr_alignment *a, tr_views *views)
{
    TR_ASSERT(a->transforms);
    for (size_t k = 0; k < views->n; k++)
        views->view[k].transform = a->transforms[views->view[k].section];
    views->has_transforms = true;
}
