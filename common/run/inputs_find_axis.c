/* The rotation axis of a scan from a few rows of all its views. */
#include <math.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/inputs.h"
#include "common/series/rotation_axis.h"

enum { MOST_ROWS = 8 };

typedef struct by_tilt {
    double tilt;
    size_t section;
} by_tilt;

static int compare(const void *a, const void *b)
{
    double x = ((const by_tilt *)a)->tilt, y = ((const by_tilt *)b)->tilt;
    return (x > y) - (x < y);
}

/* In a single view, a value far from both neighbours is a zinger. */
static void take_out_zingers(float *p, size_t n)
{
    for (size_t u = 1; u + 1 < n; u++) {
        float a = p[u - 1], b = p[u + 1], low = fminf(a, b), high = fmaxf(a, b);
        if (!isfinite(p[u]) || p[u] > high + 0.5f || p[u] < low - 0.5f)
            p[u] = 0.5f * (a + b);
    }
}

/* sinograms[row][view][u], of rows spread over the views, and the angles. */
static tr_status read_rows(const tr_inputs *in, const tr_command *c, size_t n_rows,
                           const by_tilt *views, float *sinograms)
{
    const tr_image_info *info = tr_image_get_info(in->image);
    size_t n = in->views.n, nx = info->nx;
    const tr_view_params *params = &c->options.views;
    for (size_t r = 0; r < n_rows; r++) {
        size_t y = (2 * r + 1) * info->ny / (2 * n_rows);
        for (size_t k = 0; k < n; k++) {
            float *p = sinograms + (r * n + k) * nx;
            TR_TRY(tr_image_read(in->image, views[k].section, y, 1, 0, nx, p));
            for (size_t u = 0; u < nx && params->log; u++)
                p[u] = -logf(fmaxf(p[u] + (float)params->log_base, 1e-4f));
            take_out_zingers(p, nx);
            for (size_t u = 0; u < nx; u++)
                p[u] = isfinite(p[u]) ? p[u] : 0.0f;
        }
    }
    return TR_OK;
}

/* Columns of wrong response stand still while the specimen turns. */
static tr_status clean(size_t n_rows, size_t n_views, size_t n_u, float *sinograms)
{
    const tr_stripes stripes = {.sort = 11};
    tr_stripes_work *work = tr_stripes_work_new(&stripes, n_views, n_u);
    if (!work)
        return TR_ERR_MEMORY;
    for (size_t r = 0; r < n_rows; r++)
        tr_stripes_remove(&stripes, n_views, n_u, sinograms + r * n_views * n_u, work);
    tr_stripes_work_free(work);
    return TR_OK;
}

static tr_status settle(const tr_inputs *in, tr_command *c)
{
    const tr_axis_found *found = &in->axis_found;
    char pair[24], wedge[24], mass[24];
    double shift;
    bool agree = tr_axis_agree(found, &shift);
    tr_axis_text(found->pair, pair);
    tr_axis_text(found->wedge, wedge);
    tr_axis_text(found->mass, mass);
    if (isnan(shift))
        return tr_fail(TR_ERR_DATA,
                       "%s: no method finds the rotation axis; find it with --try "
                       "axis-shift=FROM:TO:STEP, and set --axis-shift",
                       in->series_path);
    if (agree)
        tr_info("the rotation axis is %.2f pixels from the middle of the views: mirrored "
                "pairs %s, double wedge %s, centre of mass %s",
                shift, pair, wedge, mass);
    else
        tr_warn("%s: the rotation axis is uncertain: mirrored pairs %s, double wedge %s, "
                "centre of mass %s pixels from the middle; taking %.2f; look at --try "
                "axis-shift=FROM:TO:STEP around them",
                in->series_path, pair, wedge, mass, shift);
    c->options.axis_shift = shift;
    return TR_OK;
}

static tr_status find(tr_inputs *in, tr_command *c, by_tilt *views, double *tilts)
{
    const tr_image_info *info = tr_image_get_info(in->image);
    size_t n = in->views.n, n_rows = info->ny < MOST_ROWS ? info->ny : MOST_ROWS;
    for (size_t k = 0; k < n; k++)
        views[k] = (by_tilt){in->views.view[k].tilt, in->views.view[k].section};
    qsort(views, n, sizeof *views, compare);
    for (size_t k = 0; k < n; k++)
        tilts[k] = views[k].tilt;
    /* The last step of half a turn is mostly left out. */
    double span = tilts[n - 1] - tilts[0], step = n > 1 ? span / (double)(n - 1) : 0.0;
    bool half_turn = span + 1.1 * step >= 180.0;
    if (!half_turn && !c->options.find_axis)
        return TR_OK;
    if (!half_turn)
        return tr_fail(TR_ERR_USAGE,
                       "--find-axis: the views go from %g to %g degrees; half a turn is "
                       "needed, since views that face each other are compared",
                       tilts[0], tilts[n - 1]);
    float *sinograms = tr_calloc("sinograms", n_rows * n * info->nx, sizeof *sinograms);
    tr_status status = sinograms ? TR_OK : TR_ERR_MEMORY;
    if (status == TR_OK)
        status = read_rows(in, c, n_rows, views, sinograms);
    if (status == TR_OK)
        status = clean(n_rows, n, info->nx, sinograms);
    if (status == TR_OK)
        status = tr_rotation_axis(sinograms, n_rows, n, info->nx, tilts, &in->axis_found);
    free(sinograms);
    TR_TRY(status);
    in->axis_looked_for = true;
    return c->options.find_axis ? settle(in, c) : TR_OK;
}

tr_status tr_inputs_find_axis(tr_inputs *in, tr_command *c)
{
    bool asked = c->options.find_axis;
    bool try = c->options.try_what && c->trial.what == TR_TRIAL_AXIS_SHIFT;
    if (try && c->options.stitch)
        return tr_fail(TR_ERR_USAGE,
                       "--try axis-shift cannot be used with --stitch, which needs the "
                       "axis first; leave one of the two out");
    if (!asked && (!try || in->views.has_transforms || in->views.n < 3))
        return TR_OK;
    if (asked && tr_option_given(&c->line, "axis-shift"))
        return tr_fail(TR_ERR_USAGE,
                       "--find-axis and --axis-shift contradict each other");
    if (asked && in->views.has_transforms)
        return tr_fail(TR_ERR_USAGE,
                       "--find-axis is for views as they were taken, and these have an "
                       "alignment, which says where the axis is");
    by_tilt *views = tr_calloc("the list of views", in->views.n, sizeof *views);
    double *tilts = tr_calloc("the list of views", in->views.n, sizeof *tilts);
    tr_status status = views && tilts ? find(in, c, views, tilts) : TR_ERR_MEMORY;
    free(views);
    free(tilts);
    return status;
}
