#include "common/run/inputs.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"

static tr_status find_series(tr_inputs *in, const tr_command *c)
{
    if (c->options.imod_com) {
        TR_TRY(tr_imod_com_read(c->options.imod_com, &in->com));
        in->has_com = true;
    }
    in->series_path = c->options.input ? c->options.input : in->com.input;
    if (in->series_path)
        return TR_OK;
    TR_TRY(tr_discover(".", &in->found));
    in->series_path = in->found.series;
    tr_info("found the series %s%s%s%s%s", in->found.series,
            in->found.tilts ? ", its angles " : "",
            in->found.tilts ? in->found.tilts : "",
            in->found.imod_com ? ", and for the rest " : "",
            in->found.imod_com ? in->found.imod_com : "");
    if (in->found.imod_com && !in->has_com) {
        TR_TRY(tr_imod_com_read(in->found.imod_com, &in->com));
        in->has_com = true;
    }
    return TR_OK;
}

/* Nothing but their sections is known then. */
static tr_status choose_views(tr_inputs *in, const tr_command *c)
{
    size_t n = tr_image_get_info(in->image)->nz, kept = 0;
    bool *include = tr_calloc("the list of views", n, sizeof *include);
    bool *exclude = tr_calloc("the list of views", n, sizeof *exclude);
    tr_status status = include && exclude ? tr_views_new(n, &in->views) : TR_ERR_MEMORY;
    if (status == TR_OK && c->options.include)
        status = tr_list_expand("--include", c->options.include, n, include);
    if (status == TR_OK && c->options.exclude)
        status = tr_list_expand("--exclude", c->options.exclude, n, exclude);
    for (size_t k = 0; k < n && status == TR_OK; k++)
        if ((!c->options.include || include[k]) && !exclude[k] &&
            (!in->alignment.used || in->alignment.used[k]))
            in->views.view[kept++].section = k;
    in->views.n = kept;
    free(include);
    free(exclude);
    TR_TRY(status);
    if (!kept)
        return tr_fail(TR_ERR_USAGE,
                       "--include and --exclude leave none of the %zu views", n);
    return TR_OK;
}

/* With what the files named beside the angles say. */
static tr_status read_views(tr_inputs *in, const tr_command *c)
{
    size_t n = tr_image_get_info(in->image)->nz;
    TR_TRY(choose_views(in, c));
    TR_TRY(tr_inputs_read_tilts(in));
    if (c->options.xtilts)
        TR_TRY(tr_views_read_xtilts(c->options.xtilts, n, &in->views));
    TR_TRY(tr_inputs_check_angles(in, c));
    if (!tr_inputs_have_transforms(in, c))
        return TR_OK;
    TR_TRY(tr_inputs_read_transforms(in, c));
    for (size_t k = 0; k < in->views.n; k++) {
        in->views.view[k].transform.dx /= (double)c->options.bin;
        in->views.view[k].transform.dy /= (double)c->options.bin;
    }
    return TR_OK;
}

double tr_inputs_subset_shift(const tr_inputs *in, size_t n_u)
{
    if (!in->has_com || !in->com.has_full_image || !in->com.has_subset_start)
        return 0.0;
    double b = (double)in->com.binning;
    return (double)in->com.full_nx / b / 2.0 - (double)in->com.subset_x / b -
           (double)n_u / 2.0;
}

/* What of the images is left, and how thick the tomogram is. */
static tr_status check_sizes(const tr_inputs *in, tr_command *c)
{
    const tr_image_info *info = tr_image_get_info(in->image);
    tr_options *o = &c->options;
    size_t bin = (size_t)o->bin, n_u = info->nx / bin, n_v = info->ny / bin;
    if (!n_u || !n_v)
        return tr_fail(TR_ERR_USAGE,
                       "--bin %zu leaves nothing of the %zu x %zu pixels of %s", bin,
                       info->nx, info->ny, in->series_path);
    if (!o->thickness && o->try_what && c->trial.what == TR_TRIAL_THICKNESS)
        o->thickness = (long)c->trial.to;
    if (!o->thickness) {
        o->thickness = (long)(info->nx / 4 / 2 * 2 > 16 ? info->nx / 4 / 2 * 2 : 16);
        tr_warn("no thickness given: taking %ld pixels, a quarter of the image's width; "
                "set it with -T",
                o->thickness);
    }
    size_t largest = info->nx > info->ny ? info->nx : info->ny;
    if ((size_t)o->thickness > 10 * largest)
        return tr_fail(TR_ERR_USAGE,
                       "a thickness of %ld pixels is too large for images of %zu x %zu "
                       "pixels; it is counted in pixels of the series, not in angstroms",
                       o->thickness, info->nx, info->ny);
    double subset = tr_inputs_subset_shift(in, info->nx);
    if (subset != 0.0)
        tr_info("the series is part of a larger image: its tilt axis is %g pixels from "
                "its centre",
                subset);
    return TR_OK;
}

tr_status tr_inputs_open(tr_inputs *in, tr_command *c)
{
    TR_TRY(find_series(in, c));
    if (in->has_com)
        TR_TRY(tr_inputs_apply_com(in, c));
    TR_TRY(tr_image_open(in->series_path, &in->image));
    TR_TRY(tr_inputs_read_alignment(in, c));
    TR_TRY(read_views(in, c));
    return check_sizes(in, c);
}

void tr_inputs_free(tr_inputs *in)
{
    tr_image_close(in->image);
    tr_discovery_free(&in->found);
    if (in->has_com)
        tr_imod_com_free(&in->com);
    free(in->default_tilts);
    free(in->tilts);
    tr_alignment_free(&in->alignment);
    tr_views_free(&in->views);
    *in = (tr_inputs){.image = NULL};
}
