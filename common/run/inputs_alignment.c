/* An .aln or STAR file in the place of the angles: it also says which views there are,
 * and how they are aligned. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/inputs.h"

static tr_aligned_series this_series(const tr_inputs *in)
{
    const tr_image_info *info = tr_image_get_info(in->image);
    return (tr_aligned_series){.path = in->series_path,
                               .nx = info->nx,
                               .ny = info->ny,
                               .nz = info->nz,
                               .pixel = info->pixel[0]};
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
    if (a->n_patches)
        tr_warn("%s has a local alignment of %zu patches, which is not applied; its "
                "global one is",
                path, a->n_patches);
    if (a->beta_offset != 0.0)
        tr_warn("%s: BetaOffset, a tilt about x of %g degrees, is not applied; see "
                "--pitch",
                path, a->beta_offset);
    say_magnification(path, a);
    if (!a->transforms)
        tr_info("%s has no alignment: its angles are used", path);
    else if (tr_is_aligned_name(in->series_path) && c->options.transforms == NULL)
        tr_warn("%s is aligned, as its name says: of %s only the angles are used; to "
                "have the views aligned by it, give --transforms %s",
                in->series_path, path, path);
}

tr_status tr_inputs_read_alignment(tr_inputs *in, const tr_command *c)
{
    in->tilts_path = c->options.tilts ? c->options.tilts : in->found.tilts;
    if (!in->tilts_path) {
        TR_TRY(tr_find_tilts(in->series_path, &in->default_tilts));
        in->tilts_path = in->default_tilts;
    }
    if (!in->tilts_path || !tr_alignment_probe(in->tilts_path))
        return TR_OK;
    tr_aligned_series series = this_series(in);
    TR_TRY(tr_alignment_read(in->tilts_path, &series, &in->alignment));
    say_what_is_used(in, c, in->tilts_path, &in->alignment);
    return TR_OK;
}

static void say_how_it_is_aligned(const tr_inputs *in, const char *path,
                                  const tr_alignment *a)
{
    const tr_image_info *info = tr_image_get_info(in->image);
    tr_info("the views are aligned while they are read, by %s: tilt axis at %.2f degrees "
            "from y%s",
            path, a->rotation,
            a->scale == 1.0 ? "" : ", shifts scaled to the size of these images");
    if (fabs(sin(a->rotation * TR_PI / 180.0)) > 0.71 && info->nx != info->ny)
        tr_warn("%s: the tilt axis is along the images' x, and they are not square: the "
                "tomogram keeps their %zu columns and %zu rows, and what is beyond is "
                "cut off",
                in->series_path, info->nx, info->ny);
}

/* The transforms of the views chosen, from an .aln or STAR file named by --transforms. */
static tr_status read_named(tr_inputs *in, const char *path)
{
    tr_alignment a;
    tr_aligned_series series = this_series(in);
    TR_TRY(tr_alignment_read(path, &series, &a));
    tr_status status = TR_OK;
    if (!a.transforms)
        status = tr_fail(TR_ERR_DATA, "%s has no alignment, only angles", path);
    for (size_t k = 0; status == TR_OK && k < in->views.n; k++)
        if (!a.used[in->views.view[k].section])
            status = tr_fail(TR_ERR_DATA,
                             "%s has no alignment of view %zu; give it as --tilts, too, "
                             "or leave the view out with --exclude",
                             path, in->views.view[k].section + 1);
    if (status == TR_OK && a.transforms) {
        say_magnification(path, &a);
        tr_views_take_transforms(&a, &in->views);
        say_how_it_is_aligned(in, path, &a);
    }
    tr_alignment_free(&a);
    return status;
}

bool tr_inputs_have_transforms(const tr_inputs *in, const tr_command *c)
{
    return c->options.transforms ||
           (in->alignment.transforms && !tr_is_aligned_name(in->series_path));
}

tr_status tr_inputs_read_transforms(tr_inputs *in, const tr_command *c)
{
    const tr_alignment *a = &in->alignment;
    if (!c->options.transforms) {
        tr_views_take_transforms(a, &in->views);
        say_how_it_is_aligned(in, in->tilts_path, a);
        return TR_OK;
    }
    if (tr_alignment_probe(c->options.transforms))
        return read_named(in, c->options.transforms);
    return tr_views_read_transforms(c->options.transforms,
                                    tr_image_get_info(in->image)->nz, &in->views);
}

void tr_inputs_print_axis(const tr_inputs *in, const tr_command *c)
{
    enum { SLANTED = 10 }; /* degrees; a stage's axis is rarely off by more */
    tr_mdoc mdoc;
    if (!in->tilts_path || !tr_mdoc_probe(in->tilts_path) ||
        tr_mdoc_read(in->tilts_path, &mdoc) != TR_OK)
        return;
    double axis = mdoc.tilt_axis_angle;
    tr_mdoc_free(&mdoc);
    if (isnan(axis))
        return;
    tr_info("tilt axis of the raw images, as %s has it: %g degrees from vertical",
            in->tilts_path, axis);
    if (fabs(remainder(axis, 180.0)) > SLANTED && !tr_inputs_have_transforms(in, c) &&
        !tr_is_aligned_name(in->series_path))
        tr_warn(
            "%s: the tilt axis must be vertical in the images, and is %g degrees from "
            "it before alignment; if they are not aligned yet, give --transforms",
            in->series_path, axis);
}
