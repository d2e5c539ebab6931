#include "common/run/inputs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/log.h"
#include "common/base/mem.h"

static tr_status find_series(tr_inputs *in, const tr_command *c)
{
    if (c->options.imod_com) {
        TR_TRY(tr_imod_com_read(c->options.imod_com, &in->com));
        in->has_com = true;
    }
    in->series_path = c->options.input ? c->options.input : in->com.input;
    if (in->series_path && !c->options.input && !tr_is_file(in->series_path))
        return tr_fail(TR_ERR_DATA,
                       "%s is about %s, which is not there; name the series, and if its "
                       "views are not aligned, give --transforms",
                       c->options.imod_com, in->series_path);
    size_t length = in->series_path ? strlen(in->series_path) : 0;
    if (length > 1 && in->series_path[length - 1] == '/') {
        in->series_path = in->folder = tr_strdup(in->series_path);
        for (; in->folder && length > 1 && in->folder[length - 1] == '/'; length--)
            in->folder[length - 1] = '\0';
        if (!in->folder)
            return TR_ERR_MEMORY;
    }
    if (in->series_path)
        return tr_inputs_follow_star(in, c);
    TR_TRY(tr_discover(".", &in->found));
    in->series_path = in->found.series;
    tr_info("found the series %s%s%s", in->found.series,
            in->found.imod_com ? ", and for its geometry " : "",
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
            (!in->angles.used || in->angles.used[k]))
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

/* From here on: what is compared with files before is as they have it. */
static void take_hand(tr_inputs *in, const tr_command *c)
{
    for (size_t k = 0; k < in->views.n && c->options.hand; k++) {
        tr_view *view = &in->views.view[k];
        view->tilt = 0.0 - view->tilt;
        view->xtilt = 0.0 - view->xtilt;
    }
}

/* With what the files named beside the angles say. */
static tr_status read_views(tr_inputs *in, tr_command *c)
{
    size_t n = tr_image_get_info(in->image)->nz;
    if (!in->views.n) {
        TR_TRY(choose_views(in, c));
        TR_TRY(tr_inputs_read_tilts(in));
    }
    if (c->options.xtilts)
        TR_TRY(tr_views_read_xtilts(c->options.xtilts, n, &in->views));
    TR_TRY(tr_inputs_check_angles(in, c));
    take_hand(in, c);
    TR_TRY(tr_inputs_take_transforms(in, c));
    TR_TRY(tr_inputs_take_purpose(in, c));
    TR_TRY(tr_inputs_read_local(in, c));
    TR_TRY(tr_inputs_read_ctf(in, c));
    TR_TRY(tr_inputs_doubt(in));
    for (size_t k = 0; k < in->views.n; k++) {
        in->views.view[k].transform.dx /= (double)c->options.views.bin;
        in->views.view[k].transform.dy /= (double)c->options.views.bin;
    }
    return TR_OK;
}

void tr_inputs_subset_shift(const tr_inputs *in, double shift[2])
{
    shift[0] = shift[1] = 0.0;
    if (!in->has_com || !in->com.has_full_image || !in->com.has_subset_start ||
        in->transforms_path) /* they are about the aligned images, and these are not */
        return;
    const tr_imod_com *com = &in->com;
    double b = 2.0 * (double)com->binning;
    shift[0] = (double)(com->full_nx - 2 * com->subset_x) / b - (double)in->nx / 2.0;
    shift[1] = (double)(com->full_ny - 2 * com->subset_y) / b - (double)in->ny / 2.0;
}

/* Of the aligned views: where the tilt axis is along the raw images' x, they lie across.
 */
static tr_status find_size(tr_inputs *in, const tr_command *c)
{
    const tr_image_info *info = tr_image_get_info(in->image);
    const tr_alignment *a = tr_inputs_aligning(in);
    bool across = in->transforms_path && fabs(sin(a->rotation * TR_RADIANS)) > sqrt(0.5);
    in->nx = across ? info->ny : info->nx;
    in->ny = across ? info->nx : info->ny;
    const double *size = c->options.size;
    if (!tr_option_given(&c->line, "size")) {
        if (across && info->nx != info->ny)
            tr_info("aligned, the views lie across: they get %zu x %zu pixels; --size "
                    "sets another size",
                    in->nx, in->ny);
        return TR_OK;
    }
    if (!in->transforms_path)
        return tr_fail(TR_ERR_USAGE,
                       "--size is about views that are aligned while they are read, and "
                       "those of %s are not; see --transforms, and --width for the "
                       "tomogram's",
                       in->series_path);
    for (int i = 0; i < 2; i++)
        if (!(size[i] >= 1.0 && size[i] <= 65536.0) || size[i] != floor(size[i]))
            return tr_fail(TR_ERR_USAGE,
                           "--size %g,%g: columns and rows are needed, 1 to 65536",
                           size[0], size[1]);
    in->nx = (size_t)size[0];
    in->ny = (size_t)size[1];
    return TR_OK;
}

/* From the first to the last of the views used, degrees. */
static double span_of_tilts(const tr_views *views)
{
    double low = INFINITY, high = -INFINITY;
    for (size_t k = 0; k < views->n; k++) {
        low = fmin(low, views->view[k].tilt);
        high = fmax(high, views->view[k].tilt);
    }
    return high - low;
}

/* Where nobody gives a thickness: a measured one and half of that for what is beyond it,
 * or one that was made before; else a guess. */
static long default_thickness(const tr_inputs *in)
{
    double largest = (double)(in->nx > in->ny ? in->nx : in->ny);
    if (in->thickness > 0.0 && in->of_tomogram && in->thickness <= 2.0 * largest) {
        long thickness = lround(fmax(in->thickness, 1.0));
        tr_info(
            "no thickness given: taking %ld pixels, the tomogram's in %s; set another "
            "with -T",
            thickness, in->thickness_from);
        return thickness;
    }
    if (in->thickness > 0.0 && !in->of_tomogram && in->thickness <= largest) {
        long thickness = 2 * (long)ceil(fmax(1.5 * in->thickness, 16.0) / 2.0);
        tr_info(
            "no thickness given: taking %ld pixels, as the specimen has %g by %s; set "
            "another with -T",
            thickness, in->thickness, in->thickness_from);
        return thickness;
    }
    /* What is seen from all sides is no thin specimen. */
    enum { ALL_SIDES = 170 };
    if (span_of_tilts(&in->views) >= ALL_SIDES) {
        tr_info(
            "no thickness given: taking the images' width, %zu pixels, as the views go "
            "round the specimen; set another with -T",
            in->nx);
        return (long)in->nx;
    }
    long thickness = (long)(in->nx / 4 / 2 * 2 > 16 ? in->nx / 4 / 2 * 2 : 16);
    tr_warn("no thickness given: taking %ld pixels, a quarter of the image's width; "
            "set it with -T",
            thickness);
    return thickness;
}

/* What of the images is left, and how thick the tomogram is. */
static tr_status check_sizes(tr_inputs *in, tr_command *c)
{
    tr_options *o = &c->options;
    size_t bin = (size_t)o->views.bin, n_u = in->nx / bin, n_v = in->ny / bin;
    if (!n_u || !n_v)
        return tr_fail(TR_ERR_USAGE,
                       "--bin %zu leaves nothing of the %zu x %zu pixels of %s", bin,
                       in->nx, in->ny, in->series_path);
    if (!o->thickness && o->try_what && c->trial.what == TR_TRIAL_THICKNESS)
        o->thickness = (long)c->trial.to;
    if (!o->thickness) {
        TR_TRY(tr_inputs_find_thickness(in, c));
        o->thickness = default_thickness(in);
    }
    size_t largest = in->nx > in->ny ? in->nx : in->ny;
    if ((size_t)o->thickness > 10 * largest)
        return tr_fail(TR_ERR_USAGE,
                       "a thickness of %ld pixels is too large for images of %zu x %zu "
                       "pixels; it is counted in pixels of the series, not in angstroms",
                       o->thickness, in->nx, in->ny);
    double subset[2];
    tr_inputs_subset_shift(in, subset);
    if (subset[0] != 0.0)
        tr_info("the series is part of a larger image: its tilt axis is %g pixels from "
                "its centre",
                subset[0]);
    if (subset[1] != 0.0 && o->pitch != 0.0)
        tr_info("the series is part of a larger image: the pitch is about a point %g "
                "pixels along y from its centre",
                subset[1]);
    return TR_OK;
}

/* Before anything depends on how the views lie. */
static tr_status align(tr_inputs *in, tr_command *c)
{
    if (!in->align)
        return TR_OK;
    if (in->has_com || in->transforms_path || in->aligned)
        return tr_fail(TR_ERR_USAGE,
                       "--align finds the alignment of raw views, and %s %s",
                       in->series_path,
                       in->aligned           ? "is aligned already"
                       : in->transforms_path ? "has one: leave out --align or that"
                                             : "has a tilt.com: leave out one of them");
    TR_TRY(choose_views(in, c));
    TR_TRY(tr_inputs_read_tilts(in));
    return in->align(in->align_data, in, c);
}

tr_status tr_inputs_open(tr_inputs *in, tr_command *c)
{
    TR_TRY(find_series(in, c));
    TR_TRY(tr_image_open(in->series_path, &in->image));
    if (in->has_com)
        TR_TRY(tr_inputs_apply_com(in, c));
    TR_TRY(tr_inputs_take_volume(c, &c->options));
    TR_TRY(tr_inputs_read_alignment(in, c));
    if (!in->align)
        TR_TRY(tr_inputs_check_axis(in));
    TR_TRY(tr_inputs_find_pixel(in, c));
    TR_TRY(tr_inputs_take_flats(in, c));
    TR_TRY(align(in, c));
    TR_TRY(find_size(in, c));
    TR_TRY(read_views(in, c));
    TR_TRY(tr_inputs_take_doses(in, c));
    TR_TRY(tr_inputs_find_axis(in, c));
    TR_TRY(tr_inputs_stitch(in, c));
    TR_TRY(tr_inputs_check_stripes(in, c));
    return check_sizes(in, c);
}

void tr_inputs_free(tr_inputs *in)
{
    tr_image_close(in->image);
    free(in->folder);
    free(in->made);
    tr_star_lead_free(&in->lead);
    tr_discovery_free(&in->found);
    if (in->has_com)
        tr_imod_com_free(&in->com);
    free(in->tilts);
    tr_local_file_free(&in->local.file);
    tr_sidecars_free(&in->beside);
    tr_alignment_free(&in->angles);
    tr_alignment_free(&in->transforms);
    tr_views_free(&in->views);
    tr_purpose_free(&in->purpose);
    *in = (tr_inputs){.image = NULL};
}
