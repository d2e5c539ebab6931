/* Scans over a full turn with the axis near an edge of the views. */
#include <math.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/inputs.h"

typedef struct by_tilt {
    double tilt;
    size_t section, view;
} by_tilt;

static int compare(const void *a, const void *b)
{
    const by_tilt *x = a, *y = b;
    if (x->tilt != y->tilt)
        return x->tilt > y->tilt ? 1 : -1;
    return (x->view > y->view) - (x->view < y->view);
}

static int by_number(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* Half a turn on from view k, between the two views around that angle; the last view of a
 * full turn is mostly left out, and what lies up to a step beyond is taken from the first
 * one, which shows the same. */
static void find_other(const by_tilt *views, size_t n, size_t k, tr_half_turn *other)
{
    double want = views[k].tilt + 180.0;
    size_t i = k;
    while (i + 1 < n && views[i + 1].tilt <= want)
        i++;
    bool last = i + 1 == n;
    double a = views[i].tilt, b = last ? views[0].tilt + 360.0 : views[i + 1].tilt;
    double part = b > a ? (want - a) / (b - a) : 0.0;
    /* The angles of a file are rounded. */
    const double ROUNDED = 0.01;
    if (part > 1.0 - ROUNDED)
        *other = (tr_half_turn){views[last ? 0 : i + 1].section, 0, 0.0};
    else
        *other = (tr_half_turn){views[i].section, views[last ? 0 : i + 1].section,
                                part < ROUNDED ? 0.0 : part};
}

static tr_status check(const tr_inputs *in, const tr_command *c)
{
    const tr_options *o = &c->options;
    if (!o->find_axis && !tr_option_given(&c->line, "axis-shift"))
        return tr_fail(TR_ERR_USAGE,
                       "--stitch needs to know where the axis is: give --find-axis or "
                       "--axis-shift");
    if (in->views.has_transforms || in->views.has_xtilts || o->ctf ||
        o->half_sets.choice == TR_HALVES_FRAMES)
        return tr_fail(TR_ERR_USAGE,
                       "--stitch is for scans with X-rays: views with an alignment, "
                       "x-tilts, a CTF or frames are no mirror images of each other");
    return TR_OK;
}

/* views: in order of their angles; keep[]: which of them become stitched ones. */
static tr_status stitch(tr_inputs *in, const tr_command *c, const by_tilt *views,
                        size_t *keep)
{
    const tr_image_info *info = tr_image_get_info(in->image);
    size_t n = in->views.n, kept = 0;
    double first = views[0].tilt, last = views[n - 1].tilt, shift = c->options.axis_shift;
    double step = n > 1 ? (last - first) / (double)(n - 1) : 0.0;
    tr_stitch s;
    if (last - first + 1.1 * step < 360.0)
        return tr_fail(TR_ERR_USAGE,
                       "--stitch: the views go from %g to %g degrees; a full turn is "
                       "needed, each view and the one half a turn on",
                       first, last);
    if (!tr_stitch_init(info->nx, shift, &s))
        return tr_fail(TR_ERR_USAGE,
                       "--stitch: with the axis %g pixels from the middle of views of "
                       "%zu columns there is nothing to stitch",
                       shift, info->nx);
    tr_half_turn *others = tr_calloc("the views' others", info->nz, sizeof *others);
    if (!others)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < info->nz; k++)
        others[k].first = k;
    for (size_t k = 0; k < n && views[k].tilt < first + 180.0 - 0.01 * step; k++) {
        find_other(views, n, k, &others[views[k].section]);
        keep[kept++] = views[k].view;
    }
    qsort(keep, kept, sizeof *keep, by_number); /* as in the file */
    tr_image_stitch(in->image, &s, others);
    tr_views all = in->views;
    tr_status status = tr_views_select(&all, keep, kept, &in->views);
    tr_views_free(&all);
    TR_TRY(status);
    in->nx = s.width;
    in->stitch_shift = tr_stitch_middle(&s);
    tr_info("stitched: %zu views of half a turn with %zu columns, from %zu with %zu, of "
            "which %zu overlap",
            kept, s.width, n, s.n, s.end - s.first);
    return TR_OK;
}

tr_status tr_inputs_stitch(tr_inputs *in, const tr_command *c)
{
    if (!c->options.stitch)
        return TR_OK;
    TR_TRY(check(in, c));
    size_t n = in->views.n;
    by_tilt *views = tr_calloc("the list of views", n, sizeof *views);
    size_t *keep = tr_calloc("the list of views", n, sizeof *keep);
    tr_status status = views && keep ? TR_OK : TR_ERR_MEMORY;
    for (size_t k = 0; k < n && status == TR_OK; k++)
        views[k] = (by_tilt){in->views.view[k].tilt, in->views.view[k].section, k};
    if (status == TR_OK) {
        qsort(views, n, sizeof *views, compare);
        status = stitch(in, c, views, keep);
    }
    free(views);
    free(keep);
    return status;
}
