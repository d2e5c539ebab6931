/* The second look at the views: what the steps on single pixels make of them, and what is
 * to be said of both looks. */
#include <math.h>
#include <stdlib.h>
#include <xxhash.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/series/series_private.h"

extern const tr_view_step tr_step_hot_pixels;

/* Sums of the view's pixels after these steps, about a value near their mean. */
typedef struct level_sums {
    double about, first, second, clipped;
} level_sums;

/* The logarithm has a mean of its own, and cannot take all values. */
static tr_status sum_pixels(tr_series *s, size_t k, const tr_view_steps *steps,
                            float *buffer, level_sums *sums)
{
    static const tr_view_step *const hot[] = {&tr_step_hot_pixels, NULL};
    const tr_view_params *params = &steps->params;
    const tr_view_steps replacing = {hot, *params};
    const tr_view_facts facts = tr_series_facts(s, k);
    double floor = params->log ? tr_log_floor(params, facts.mean) : -INFINITY;
    for (size_t y = 0; y < s->raw_v; y += TR_HOT_STRIP) {
        size_t rows = s->raw_v - y < TR_HOT_STRIP ? s->raw_v - y : TR_HOT_STRIP;
        const tr_window_2d w = {.nx = s->raw_u, .y0 = y, .ny = rows};
        TR_TRY(tr_image_read(s->image, s->views.view[k].section, y, rows, 0, s->raw_u,
                             buffer));
        tr_view_steps_pixels(&replacing, &facts, &w, buffer);
        for (size_t i = 0; i < rows * s->raw_u; i++)
            sums->clipped += isfinite(buffer[i]) && buffer[i] + params->log_base < floor;
        tr_view_steps_pixels(steps, &facts, &w, buffer);
        for (size_t i = 0; i < rows * s->raw_u; i++) {
            double d = buffer[i] - sums->about;
            sums->first += d;
            sums->second += d * d;
        }
    }
    return TR_OK;
}

/* To normalize by: level and deviation of what the steps before make of the view. */
static tr_status find_level(tr_series *s, size_t k, const tr_series *whole, float *buffer)
{
    view_levels *v = &s->levels[k];
    double n = (double)s->raw_u * (double)s->raw_v;
    tr_view_steps before = s->steps;
    before.params.normalize = TR_NORMALIZE_NONE;
    before.params.invert = false;
    const tr_view_facts facts = tr_series_facts(s, k);
    level_sums sums = {0};
    bool known = tr_view_steps_mean(&before, &facts, &sums.about);
    TR_TRY(sum_pixels(s, k, &before, buffer, &sums));
    v->level = known ? sums.about : sums.first / n;
    v->clipped = sums.clipped;
    double off = sums.first / n;
    v->deviation = sqrt(fmax(sums.second / n - off * off, 0.0));
    /* The mean of what normalizing makes; of counts around 0 it would be noise. */
    v->fill = 0.0;
    double least = 0.1 * v->deviation;
    if (s->steps.params.normalize == TR_NORMALIZE_CONTRAST && !(v->level > least))
        return tr_fail(TR_ERR_DATA,
                       "%s: --normalize contrast divides by the mean of a view, and that "
                       "of view %zu is %g, with a standard deviation of %g: these are no "
                       "counts; use --normalize mean-std",
                       s->path, s->views.view[k].section + 1, v->level, v->deviation);
    if (whole)
        v->deviation = whole->levels[k].deviation;
    v->deviation = v->deviation > 0.0 ? v->deviation : 1.0; /* a constant view */
    return TR_OK;
}

typedef struct levels_of {
    tr_series *series;
    const tr_series *whole; /* or NULL */
} levels_of;

static tr_status find_levels(void *data, size_t k, void *buffer)
{
    const levels_of *of = data;
    tr_series *s = of->series;
    view_levels *v = &s->levels[k];
    if (s->steps.params.normalize != TR_NORMALIZE_NONE)
        return find_level(s, k, of->whole, buffer);
    const tr_view_facts facts = tr_series_facts(s, k);
    if (tr_view_steps_mean(&s->steps, &facts, &v->fill))
        return TR_OK;
    level_sums sums = {0};
    TR_TRY(sum_pixels(s, k, &s->steps, buffer, &sums));
    v->fill = sums.first / ((double)s->raw_u * (double)s->raw_v);
    v->clipped = sums.clipped;
    return TR_OK;
}

static tr_status begin_levels(void *data, void **room)
{
    const tr_series *s = ((const levels_of *)data)->series;
    *room = tr_calloc("rows of the series", TR_HOT_STRIP * s->raw_u, sizeof(float));
    return *room ? TR_OK : TR_ERR_MEMORY;
}

tr_status tr_series_levels(tr_comm *comm, tr_series *s, const tr_series_spec *spec)
{
    const tr_view_work work = {&(levels_of){s, spec->whole}, begin_levels, find_levels,
                               free};
    TR_TRY(
        comm->ops->agree(comm, tr_series_share(comm, s->n_views, spec->threads, &work)));
    _Static_assert(sizeof(view_levels) % sizeof(double) == 0, "gathered as doubles");
    return tr_comm_gather(comm, (double *)s->levels,
                          s->n_views * sizeof(view_levels) / sizeof(double));
}

/* ---- what is said ---- */

tr_hot_counts tr_series_hot(const tr_series *s)
{
    tr_hot_counts counts = {.persistent = s->hot.persistent,
                            .replaced = s->steps.params.hot_pixels == TR_HOT_REPLACE};
    for (size_t k = 0; k < s->n_views; k++) {
        size_t n = s->hot.start[k + 1] - s->hot.start[k];
        counts.pixels += n;
        counts.views += n > 0;
        if (n > counts.most) {
            counts.most = n;
            counts.in_view = s->views.view[k].section + 1;
        }
        for (size_t i = s->hot.start[k]; i < s->hot.start[k + 1]; i++) {
            const tr_replaced *r = &s->hot.list[i];
            const double what[] = {(double)k, (double)r->x, (double)r->y, r->value};
            counts.hash = XXH3_64bits_withSeed(what, sizeof what, counts.hash);
        }
    }
    return counts;
}

static void report_hot(const tr_series *s)
{
    const tr_hot_counts c = tr_series_hot(s);
    if (s->hot.n_crowded)
        tr_warn(
            "%s: in %zu of %zu views, the first of them view %zu, more than 0.1 %% of "
            "the pixels are far above or below all around them; these are too many "
            "for hot and dead pixels of a detector, and %s",
            s->path, s->hot.n_crowded, s->n_views,
            s->views.view[s->hot.crowded].section + 1,
            c.replaced ? "none of them is replaced" : "are not counted");
    if (!c.pixels)
        return;
    if (c.replaced)
        tr_info(
            "%s: %zu hot or dead pixels are replaced in %zu of %zu views, at most %zu "
            "in one (view %zu); %zu are so in more than 30 %% of the views",
            s->path, c.pixels, c.views, s->n_views, c.most, c.in_view, c.persistent);
    else
        tr_warn("%s: %zu pixels in %zu of %zu views are far above or below all around "
                "them, at most %zu in one (view %zu); if they are hot or dead pixels of "
                "the detector, replace them with --hot-pixels replace",
                s->path, c.pixels, c.views, s->n_views, c.most, c.in_view);
}

tr_status tr_series_report(const tr_series *s)
{
    double bad = 0.0, clipped = 0.0;
    size_t constant = 0, first = s->n_views;
    for (size_t k = 0; k < s->n_views; k++) {
        if (s->scan[k].bad > 0.0 && first == s->n_views)
            first = k;
        bad += s->scan[k].bad;
        clipped += s->levels[k].clipped;
        constant += s->scan[k].constant != 0.0;
    }
    if (constant == s->n_views)
        return tr_fail(TR_ERR_DATA,
                       "%s: every view is constant (the first has only the value %g); "
                       "there is nothing to reconstruct",
                       s->path, s->scan[0].mean);
    for (size_t k = 0; k < s->n_views; k++)
        if (s->scan[k].constant != 0.0)
            tr_warn("%s: view %zu is constant (%g everywhere); consider --exclude %zu",
                    s->path, s->views.view[k].section + 1, s->scan[k].mean,
                    s->views.view[k].section + 1);
    if (bad > 0.0)
        tr_warn("%s: %.0f pixels are NaN or infinite, the first in view %zu at column "
                "%.0f, row %.0f (from 0); each is replaced by the mean of its view",
                s->path, bad, s->views.view[first].section + 1, s->scan[first].first_x,
                s->scan[first].first_y);
    if (clipped > 0.0)
        tr_warn("%s: %.0f pixels are too small for a logarithm and were raised to a "
                "thousandth of their view's mean; consider a larger --log BASE",
                s->path, clipped);
    report_hot(s);
    return TR_OK;
}
