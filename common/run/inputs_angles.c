/* The tilt angles of a series, and whether they can be right: by themselves, and beside
 * what else tells of the views. */
#include <math.h>
#include <stdlib.h>

#include "common/base/file_name.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/inputs.h"
#include "common/views/angle_checks.h"
#include "common/views/mdoc_order.h"

/* ---- reading ---- */

static const char *source_of(const tr_inputs *in)
{
    return in->tilts_path ? in->tilts_path : in->series_path;
}

/* What is known of all views of the file, used or not. */
static tr_status read_all(const tr_inputs *in, tr_views *all)
{
    const tr_image_info *info = tr_image_get_info(in->image);
    if (in->angles.tilt) {
        tr_views_take_angles(&in->angles, all);
        for (size_t k = 0; k < all->n; k++)
            if (!in->angles.used[k])
                all->view[k].tilt = NAN;
    } else if (info->n_tilts == info->nz) {
        for (size_t k = 0; k < all->n; k++)
            all->view[k].tilt = info->tilts[k];
        if (*info->tilts_note)
            tr_info("%s", info->tilts_note);
    } else if (*info->tilts_note) {
        return tr_fail(TR_ERR_DATA, "%s; name a file of the angles with -t",
                       info->tilts_note);
    } else {
        return tr_fail(TR_ERR_DATA,
                       "%s: no tilt angles: there is no file of that name (%s ), and the "
                       "file itself has none; name one with -t",
                       in->series_path, TR_ANGLE_ENDINGS);
    }
    return TR_OK;
}

tr_status tr_inputs_read_tilts(tr_inputs *in)
{
    size_t n = tr_image_get_info(in->image)->nz;
    tr_views all;
    TR_TRY(tr_views_new(n, &all));
    tr_status status = read_all(in, &all);
    in->tilts = tr_calloc("the tilt angles", n, sizeof *in->tilts);
    if (status == TR_OK && !in->tilts)
        status = TR_ERR_MEMORY;
    for (size_t k = 0; status == TR_OK && k < n; k++)
        in->tilts[k] = all.view[k].tilt;
    for (size_t k = 0; status == TR_OK && k < in->views.n; k++)
        in->views.view[k] = all.view[in->views.view[k].section];
    in->views.has_xtilts = all.has_xtilts;
    tr_views_free(&all);
    return status;
}

/* ---- by themselves ---- */

static bool xtilts_differ(const tr_views *views)
{
    for (size_t k = 1; views->has_xtilts && k < views->n; k++)
        if (fabs(views->view[k].xtilt - views->view[0].xtilt) > 1e-6)
            return true;
    return false;
}

tr_status tr_inputs_check_angles(const tr_inputs *in, const tr_command *c)
{
    TR_TRY(tr_check_tilts(source_of(in), in->tilts, tr_image_get_info(in->image)->nz,
                          xtilts_differ(&in->views)));
    if (!in->views.has_xtilts)
        return TR_OK;
    return tr_check_xtilts(c->options.xtilts ? c->options.xtilts : source_of(in),
                           &in->views);
}

/* ---- beside others ---- */

/* What was found so far. */
typedef struct order_check {
    const tr_inputs *in;
    size_t n;
    bool confirmed; /* something else has the same angles in the same order */
    bool warned;    /* or in another one */
} order_check;

static tr_status compare(order_check *check, const char *name, const double *angles)
{
    tr_angle_order order;
    TR_TRY(tr_compare_angles(check->in->tilts, angles, check->n, &order));
    check->confirmed = check->confirmed || order == TR_SAME_ORDER;
    if (order != TR_ANOTHER_ORDER || check->warned)
        return TR_OK;
    check->warned = true;
    tr_warn(
        "%s is used, and %s has the same tilt angles in another order; if that one is "
        "the order of the views, name it with -t",
        source_of(check->in), name);
    return TR_OK;
}

/* A file beside the series that has other angles, as many or none of them, is left alone.
 */
static tr_status compare_file(order_check *check, const tr_sidecar *file)
{
    const tr_image_info *info = tr_image_get_info(check->in->image);
    const tr_aligned_series series = {.path = check->in->series_path,
                                      .name = check->in->lead.name,
                                      .nx = info->nx,
                                      .ny = info->ny,
                                      .nz = info->nz,
                                      .pixel = check->in->pixel};
    tr_alignment a = {0};
    if (tr_alignment_read(file->path, TR_GIVES_ANGLES, &series, &a) != TR_OK)
        return TR_OK;
    for (size_t k = 0; k < a.n_views; k++)
        a.tilt[k] = a.used[k] ? a.tilt[k] : NAN;
    tr_status status = compare(check, file->path, a.tilt);
    tr_alignment_free(&a);
    return status;
}

/* All files of the series' name; the first mdoc among them that is about as many views is
 * for the caller. */
static tr_status compare_files(order_check *check, const char **mdoc)
{
    const tr_sidecars *beside = &check->in->beside;
    for (size_t k = 0; k < beside->n; k++) {
        const tr_sidecar *file = &beside->list[k];
        tr_mdoc one;
        if (!(file->format->gives & TR_GIVES_ANGLES) ||
            tr_same_file(file->path, check->in->tilts_path))
            continue;
        if (!tr_mdoc_probe(file->path)) {
            TR_TRY(compare_file(check, file));
        } else if (!*mdoc && tr_mdoc_read_tilts(file->path, check->n, &one) == TR_OK) {
            *mdoc = file->path;
            tr_mdoc_free(&one);
        }
    }
    return TR_OK;
}

/* Angles in the order of an mdoc that is not that of the views. A list that was named is
 * taken all the same. */
static tr_status say_disproved(const tr_inputs *in, const char *path, const tr_mdoc *mdoc,
                               const tr_mdoc_order *order)
{
    const char *source = source_of(in);
    bool found = in->beside.angles && in->tilts_path == in->beside.angles->path;
    bool named = in->tilts_path && !found;
    tr_fail(
        TR_ERR_DATA,
        "%s is not in the order of the views of %s: view %zu has the minimum, maximum "
        "and mean that %s gives at %g degrees, not at %g; name a file with the angles "
        "in the order of the views with -t",
        source, in->series_path, order->view + 1, path, mdoc->tilt[order->section],
        mdoc->tilt[order->view]);
    if (!named || path == in->tilts_path)
        return TR_ERR_DATA;
    tr_warn("%s", tr_error());
    return TR_OK;
}

/* An mdoc that is the source of the angles, or lies beside it. */
static tr_status compare_mdoc(order_check *check, const char *path, const tr_mdoc *mdoc)
{
    const tr_inputs *in = check->in;
    tr_mdoc_order order;
    tr_angle_order angles;
    TR_TRY(tr_compare_angles(in->tilts, mdoc->tilt, check->n, &angles));
    TR_TRY(tr_mdoc_find_order(mdoc, in->image, &order));
    if (order.proof == TR_ANOTHER_ORDER)
        return angles == TR_SAME_ORDER ? say_disproved(in, path, mdoc, &order) : TR_OK;
    bool sorted = tr_are_sorted(mdoc->tilt, mdoc->n_views);
    if (path != in->tilts_path)
        return order.proof == TR_SAME_ORDER || sorted ||
                       !tr_are_sorted(in->tilts, check->n)
                   ? compare(check, path, mdoc->tilt)
                   : TR_OK; /* sorted since it was written: that is usual */
    bool known =
        check->confirmed || order.proof == TR_SAME_ORDER || order.seems == TR_SAME_ORDER;
    if (order.seems == TR_ANOTHER_ORDER || (!known && !sorted && mdoc->has_frames))
        tr_warn(
            "%s is in the order of acquisition (%g, %g, %g degrees and so on), but "
            "series made from frames are mostly sorted by angle; if this one is, name "
            "a file with its sorted angles with -t",
            path, mdoc->tilt[0], mdoc->tilt[1], mdoc->tilt[2]);
    return TR_OK;
}

tr_status tr_inputs_check_order(const tr_inputs *in)
{
    const tr_image_info *info = tr_image_get_info(in->image);
    order_check check = {.in = in, .n = info->nz};
    const char *found = NULL;
    if (check.n < 3)
        return TR_OK;
    if (in->tilts_path && info->n_tilts == info->nz)
        TR_TRY(compare(&check, in->series_path, info->tilts));
    tr_status status = compare_files(&check, &found);
    bool is_source = in->tilts_path && tr_mdoc_probe(in->tilts_path);
    const char *path = is_source ? in->tilts_path : found;
    tr_mdoc mdoc;
    if (status == TR_OK && path && tr_mdoc_read_tilts(path, check.n, &mdoc) == TR_OK) {
        status = compare_mdoc(&check, path, &mdoc);
        tr_mdoc_free(&mdoc);
    }
    return status;
}
