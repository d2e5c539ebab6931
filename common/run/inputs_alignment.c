/* The files beside a series, weighed together: which give its angles and its alignment,
 * and a word about those that do not. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file_name.h"
#include "common/base/angle.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/inputs.h"
#include "common/views/series_name.h"

tr_aligned_series tr_inputs_series(const tr_inputs *in, const tr_command *c)
{
    const tr_image_info *info = tr_image_get_info(in->image);
    return (tr_aligned_series){.path = in->series_path,
                               .name = in->lead.name,
                               .nx = info->nx,
                               .ny = info->ny,
                               .nz = info->nz,
                               .pixel = tr_inputs_own_pixel(in, c)};
}

/* ---- which ---- */

static bool has_both(const char *path)
{
    return tr_alignment_format_of(path, TR_GIVES_ANGLES | TR_GIVES_TRANSFORMS);
}

static tr_status choose(tr_inputs *in, const tr_command *c)
{
    const tr_options *o = &c->options;
    if (o->aligned && o->transforms)
        return tr_fail(
            TR_ERR_USAGE,
            "--aligned says that the views are not to be aligned, --transforms "
            "%s how; leave out one of them",
            o->transforms);
    in->aligned = o->aligned || (!in->star && tr_is_aligned_name(in->series_path)) ||
                  (in->com.input && tr_same_file(in->com.input, in->series_path));
    TR_TRY(tr_sidecars_find(in->series_path, in->aligned, &in->beside));
    const tr_sidecars *beside = &in->beside;
    in->tilts_path = o->tilts         ? o->tilts
                     : in->star       ? in->star
                     : beside->angles ? beside->angles->path
                                      : NULL;
    in->transforms_path = o->transforms;
    if (!in->transforms_path && !in->aligned) {
        if (o->tilts && has_both(o->tilts))
            in->transforms_path = o->tilts;
        else if (in->star)
            in->transforms_path = in->star;
        else if (beside->transforms)
            in->transforms_path = beside->transforms->path;
    }
    return TR_OK;
}

/* ---- what is said ---- */

static bool is_used(const tr_inputs *in, const char *path)
{
    return (in->tilts_path && tr_same_file(path, in->tilts_path)) ||
           (in->transforms_path && tr_same_file(path, in->transforms_path));
}

static void say_of_each(const tr_inputs *in, const tr_command *c)
{
    bool named = c->options.transforms || (c->options.tilts && in->transforms_path);
    for (size_t k = 0; k < in->beside.n; k++) {
        const tr_sidecar *one = &in->beside.list[k];
        bool transforms = one->format->gives & TR_GIVES_TRANSFORMS;
        if (is_used(in, one->path) || tr_same_file(one->path, in->series_path))
            continue;
        if (transforms && in->aligned)
            tr_info("%s is not used: %s is aligned already", one->path, in->series_path);
        else if (transforms && !named)
            tr_warn("%s is not used: the alignment is that of %s; to have this one, give "
                    "--transforms %s",
                    one->path, in->transforms_path, one->path);
        else if (transforms)
            tr_info("%s is not used: the alignment is that of %s", one->path,
                    in->transforms_path);
        else
            tr_info("%s is not used: the angles are those of %s", one->path,
                    in->tilts_path);
    }
}

static bool is_there(const char *path) { return path && tr_is_file(path); }

/* A tilt.com in the series' folder. */
static tr_status say_of_com(const tr_inputs *in)
{
    if (in->has_com)
        return TR_OK;
    const char *name = tr_name_only(in->series_path);
    char *path =
        tr_format_string("%.*stilt.com", (int)(name - in->series_path), in->series_path);
    tr_imod_com com;
    if (!path)
        return TR_ERR_MEMORY;
    if (!is_there(path) || tr_imod_com_read(path, &com) != TR_OK) {
        free(path);
        return TR_OK;
    }
    size_t own[TR_STEMS], its[TR_STEMS];
    tr_series_stems(in->series_path, own);
    if (com.input && tr_same_file(com.input, in->series_path)) {
        tr_warn("%s is about %s, and is not used, because that was named; to have what "
                "it says, give --imod-com %s",
                path, in->series_path, path);
    } else if (com.input && !is_there(com.input)) {
        const char *input = tr_name_only(com.input);
        tr_series_stems(com.input, its);
        size_t stem = its[TR_STEMS - 1] - (size_t)(input - com.input);
        if (stem == own[TR_STEMS - 1] - (size_t)(name - in->series_path) &&
            strncmp(input, name, stem) == 0)
            tr_warn("%s is about %s, which is not there: it is not used; to have what it "
                    "says of %s, aligned while it is read, give --imod-com %s%s%s %s",
                    path, com.input, in->series_path, path,
                    in->transforms_path ? " --transforms " : "",
                    in->transforms_path ? in->transforms_path : "", in->series_path);
    }
    tr_imod_com_free(&com);
    free(path);
    return TR_OK;
}

/* "1-2,41", as --exclude takes it. */
static void list_unused(const tr_alignment *a, char *text, size_t size)
{
    *text = '\0';
    for (size_t k = 0; k < a->n_views; k++) {
        size_t first = k, used = strlen(text);
        if (a->used[k])
            continue;
        while (k + 1 < a->n_views && !a->used[k + 1])
            k++;
        if (first == k)
            snprintf(text + used, size - used, "%s%zu", used ? "," : "", k + 1);
        else
            snprintf(text + used, size - used, "%s%zu-%zu", used ? "," : "", first + 1,
                     k + 1);
    }
}

static void say_magnification(const char *path, const tr_alignment *a)
{
    if (a->magnification != 0.0 && fabs(a->magnification - 1.0) > 1e-4)
        tr_warn("%s magnifies views, one of them %g times (GMAG), which is not applied",
                path, a->magnification);
}

static void say_what_is_used(const tr_inputs *in, const tr_command *c, const char *path,
                             const tr_alignment *a)
{
    char unused[512];
    list_unused(a, unused, sizeof unused);
    if (*unused)
        tr_info("%s has %zu of the %zu views; left out: %s", path, a->n_used, a->n_views,
                unused);
    if (a->beta_offset != 0.0)
        tr_warn("%s: BetaOffset, a tilt about x of %g degrees, is not applied; see "
                "--pitch",
                path, a->beta_offset);
    say_magnification(path, a);
    if (!a->transforms && has_both(path))
        tr_info("%s has no alignment: its angles are used", path);
    else if (a->transforms && in->aligned && !c->options.transforms)
        tr_warn("%s is aligned, as its name%s says: of %s only the angles are used; to "
                "have the views aligned by it, give --transforms %s",
                in->series_path, c->options.aligned ? " or --aligned" : "", path, path);
}

static void keep_thickness(const tr_alignment *a, const char *path, tr_inputs *in)
{
    if (!(a->thickness > 0.0) || in->thickness > 0.0)
        return;
    in->thickness = a->thickness;
    in->of_tomogram = a->of_tomogram;
    in->thickness_from = path;
}

tr_status tr_inputs_find_thickness(tr_inputs *in, const tr_command *c)
{
    const unsigned both = TR_GIVES_ANGLES | TR_GIVES_TRANSFORMS;
    tr_aligned_series series = tr_inputs_series(in, c);
    for (size_t k = 0; k < in->beside.n && !(in->thickness > 0.0); k++) {
        const tr_sidecar *one = &in->beside.list[k];
        tr_alignment a;
        if (one->format->gives != both)
            continue;
        tr_status status = tr_alignment_read(one->path, both, &series, &a);
        if (status == TR_ERR_MEMORY)
            return status;
        if (status != TR_OK)
            continue; /* about other views */
        keep_thickness(&a, one->path, in);
        tr_alignment_free(&a);
    }
    return TR_OK;
}

tr_status tr_inputs_known_alignment(const tr_inputs *in, const tr_command *c,
                                    tr_alignment *a, const char **path)
{
    tr_aligned_series series = tr_inputs_series(in, c);
    for (size_t k = 0; k < in->beside.n; k++) {
        const tr_sidecar *one = &in->beside.list[k];
        *path = one->path;
        if (!(one->format->gives & TR_GIVES_TRANSFORMS))
            continue;
        tr_status status = tr_alignment_read(one->path, TR_GIVES_TRANSFORMS, &series, a);
        if (status == TR_ERR_MEMORY || (status == TR_OK && a->transforms))
            return status;
        if (status == TR_OK)
            tr_alignment_free(a);
    }
    *a = (tr_alignment){.n_views = 0};
    return TR_OK;
}

tr_status tr_inputs_read_alignment(tr_inputs *in, const tr_command *c)
{
    TR_TRY(choose(in, c));
    say_of_each(in, c);
    TR_TRY(say_of_com(in));
    tr_aligned_series series = tr_inputs_series(in, c);
    if (in->tilts_path) {
        TR_TRY(tr_alignment_read(in->tilts_path, TR_GIVES_ANGLES, &series, &in->angles));
        say_what_is_used(in, c, in->tilts_path, &in->angles);
        keep_thickness(&in->angles, in->tilts_path, in);
    }
    if (!in->transforms_path)
        return TR_OK;
    if (in->tilts_path && tr_same_file(in->tilts_path, in->transforms_path)) {
        if (!in->angles.transforms && c->options.transforms)
            return tr_fail(TR_ERR_DATA, "%s has no alignment, only angles",
                           in->transforms_path);
        if (!in->angles.transforms)
            in->transforms_path = NULL;
        return TR_OK;
    }
    TR_TRY(tr_alignment_read(in->transforms_path, TR_GIVES_TRANSFORMS, &series,
                             &in->transforms));
    keep_thickness(&in->transforms, in->transforms_path, in);
    say_magnification(in->transforms_path, &in->transforms);
    if (in->transforms.transforms)
        return TR_OK;
    if (c->options.transforms)
        return tr_fail(TR_ERR_DATA, "%s has no alignment, only angles",
                       in->transforms_path);
    in->transforms_path = NULL;
    return TR_OK;
}

/* Shifts that are no alignment of a whole view. */
static void say_what_is_local(const tr_inputs *in, const tr_alignment *a)
{
    double most = 0.0;
    size_t shifts = 0, views = 0;
    for (size_t k = 0; k < in->views.n; k++) {
        const tr_view *view = &in->views.view[k];
        shifts += view->n_local;
        views += view->n_local > 0;
        for (size_t p = 0; p < view->n_local; p++)
            most = fmax(most, hypot(view->local[p].dx, view->local[p].dy));
    }
    if (shifts && a->local_columns)
        tr_info(
            "and within the images: shifts of up to %.1f pixels by the movement grids "
            "in %zu of the %zu views",
            most, views, in->views.n);
    else if (shifts)
        tr_info("and within the images: %zu local shifts of up to %.1f pixels in %zu of "
                "the %zu views (%zu more are not good enough)",
                shifts, most, views, in->views.n, a->n_poor);
    else if (a->n_poor)
        tr_warn("%s has %zu local shifts, none of them good enough to be applied",
                in->transforms_path, a->n_poor);
}

static void say_what_warp_has_besides(const tr_inputs *in, const tr_alignment *a)
{
    if (a->volume_warp)
        tr_warn("%s: its grids of how the specimen moves in itself (GridVolumeWarp) are "
                "not applied",
                in->transforms_path);
    if (a->level_x != 0.0)
        tr_warn("%s: LevelAngleX, a tilt about x of %g degrees, is not applied",
                in->transforms_path, a->level_x);
}

static void say_how_it_is_aligned(const tr_inputs *in, const tr_alignment *a)
{
    tr_info("the views are aligned while they are read, by %s: tilt axis at %.2f degrees "
            "from y%s",
            in->transforms_path, a->rotation,
            a->scale == 1.0 ? "" : ", shifts scaled to the size of these images");
}

/* To pixels that are `factor` of those before. */
static void rescale(tr_inputs *in, tr_alignment *a, double factor)
{
    for (size_t k = 0; k < a->n_views && a->transforms; k++) {
        a->transforms[k].dx *= factor;
        a->transforms[k].dy *= factor;
    }
    for (size_t p = 0; p < a->n_local; p++) {
        tr_local_shift *l = &a->local[p];
        l->x *= factor;
        l->y *= factor;
        l->dx *= factor;
        l->dy *= factor;
    }
    if (in->thickness > 0.0 && in->thickness == a->thickness)
        in->thickness *= factor;
    a->thickness *= factor;
    a->scale *= factor;
}

/* --alignment-pixel */
static tr_status apply_pixel(tr_inputs *in, const tr_command *c)
{
    double pixel = c->options.alignment_pixel;
    if (!(pixel > 0.0))
        return TR_OK;
    if (!in->transforms_path)
        return tr_fail(
            TR_ERR_USAGE,
            "--alignment-pixel is about the shifts of an alignment, and none is "
            "applied to the views of %s",
            in->series_path);
    tr_alignment *a = in->transforms.transforms ? &in->transforms : &in->angles;
    if (a->scale != 1.0 || a->pixel > 0.0)
        return tr_fail(TR_ERR_USAGE,
                       "%s says itself how large the pixels are that its shifts are in; "
                       "leave out --alignment-pixel",
                       in->transforms_path);
    TR_TRY(tr_inputs_need_pixel(in, c, "--alignment-pixel"));
    rescale(in, a, pixel / in->pixel);
    return TR_OK;
}

tr_status tr_inputs_take_transforms(tr_inputs *in, const tr_command *c)
{
    TR_TRY(apply_pixel(in, c));
    if (!in->transforms_path)
        return TR_OK;
    const tr_alignment *a = tr_inputs_aligning(in);
    for (size_t k = 0; k < in->views.n; k++)
        if (!a->used[in->views.view[k].section])
            return tr_fail(TR_ERR_DATA,
                           "%s has no alignment of view %zu; give it as --tilts, too, "
                           "or leave the view out with --exclude",
                           in->transforms_path, in->views.view[k].section + 1);
    tr_views_take_transforms(a, &in->views);
    say_how_it_is_aligned(in, a);
    say_what_is_local(in, a);
    say_what_warp_has_besides(in, a);
    return TR_OK;
}
