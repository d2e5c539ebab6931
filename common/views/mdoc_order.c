#include "common/views/mdoc_order.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"

enum { FEW = 3, MOST_LOOKED_AT = 8, ROWS = 64 };

typedef struct looked_at {
    size_t view;
    double min, max, mean;
} looked_at;

static tr_status look_at(tr_image *image, looked_at *v)
{
    const tr_image_info *info = tr_image_get_info(image);
    float *rows = tr_calloc("rows of the series", ROWS * info->nx, sizeof *rows);
    tr_status status = rows ? TR_OK : TR_ERR_MEMORY;
    double sum = 0.0;
    v->min = INFINITY;
    v->max = -INFINITY;
    for (size_t y = 0; status == TR_OK && y < info->ny; y += ROWS) {
        size_t n = info->ny - y < ROWS ? info->ny - y : ROWS;
        status = tr_image_read(image, v->view, y, n, 0, info->nx, rows);
        for (size_t i = 0; status == TR_OK && i < n * info->nx; i++) {
            sum += rows[i];
            v->min = fmin(v->min, rows[i]);
            v->max = fmax(v->max, rows[i]);
        }
    }
    v->mean = sum / ((double)info->nx * (double)info->ny);
    free(rows);
    return status;
}

/* The section has three numbers of six digits, of which the mean may be of fewer pixels
 * than all. */
static bool is_of(const looked_at *v, const double section[3])
{
    double range = v->max - v->min, largest = fmax(fabs(v->min), fabs(v->max));
    return range > 0.0 && fabs(v->min - section[0]) <= 1e-5 * largest &&
           fabs(v->max - section[1]) <= 1e-5 * largest &&
           fabs(v->mean - section[2]) <= 1e-4 * range;
}

/* How many views are of exactly one section: of their own, or of another. */
static void find_proof(const tr_mdoc *mdoc, const looked_at *views, size_t n,
                       tr_mdoc_order *order)
{
    size_t own = 0, others = 0;
    order->proof = TR_OTHER_ANGLES;
    for (size_t i = 0; i < n; i++) {
        size_t found = 0, section = 0;
        for (size_t k = 0; k < mdoc->n_views; k++)
            if (is_of(&views[i], mdoc->statistics[k])) {
                found++;
                section = k;
            }
        if (found != 1)
            continue;
        own += section == views[i].view;
        others += section != views[i].view;
        if (section != views[i].view && others == 1) {
            order->view = views[i].view;
            order->section = section;
        }
    }
    if (own + others >= 2 && own + others >= n / 2)
        order->proof = others > own ? TR_ANOTHER_ORDER : TR_SAME_ORDER;
}

/* ---- where no view is of any section ---- */

/* Of the means of views with those of the sections of[i]; NaN where one is constant. */
static double correlation(const tr_mdoc *mdoc, const looked_at *views, size_t n,
                          const size_t *of)
{
    double a = 0, b = 0, aa = 0, bb = 0, ab = 0, m = (double)n;
    for (size_t i = 0; i < n; i++) {
        a += views[i].mean / m;
        b += mdoc->statistics[of[i]][2] / m;
    }
    for (size_t i = 0; i < n; i++) {
        double x = views[i].mean - a, y = mdoc->statistics[of[i]][2] - b;
        aa += x * x;
        bb += y * y;
        ab += x * y;
    }
    return ab / sqrt(aa * bb);
}

/* The section that comes at this place in the order of the angles. */
static size_t at_rank(const tr_mdoc *mdoc, size_t rank)
{
    for (size_t k = 0; k < mdoc->n_views; k++) {
        size_t before = 0;
        for (size_t j = 0; j < mdoc->n_views; j++)
            before += mdoc->tilt[j] < mdoc->tilt[k] ||
                      (mdoc->tilt[j] == mdoc->tilt[k] && j < k);
        if (before == rank)
            return k;
    }
    return 0;
}

static tr_angle_order guess(const tr_mdoc *mdoc, const looked_at *views, size_t n)
{
    enum { FEWEST = 6 };
    size_t own[MOST_LOOKED_AT], rising[MOST_LOOKED_AT], falling[MOST_LOOKED_AT];
    if (n < FEWEST || tr_are_sorted(mdoc->tilt, mdoc->n_views))
        return TR_OTHER_ANGLES;
    for (size_t i = 0; i < n; i++) {
        own[i] = views[i].view;
        rising[i] = at_rank(mdoc, views[i].view);
        falling[i] = at_rank(mdoc, mdoc->n_views - 1 - views[i].view);
    }
    double as_is = correlation(mdoc, views, n, own);
    double sorted =
        fmax(correlation(mdoc, views, n, rising), correlation(mdoc, views, n, falling));
    if (sorted > 0.9 && as_is < 0.5)
        return TR_ANOTHER_ORDER;
    return as_is > 0.9 && sorted < 0.5 ? TR_SAME_ORDER : TR_OTHER_ANGLES;
}

/* With so many views, evenly apart. */
static tr_status compare_some(const tr_mdoc *mdoc, tr_image *image, size_t most,
                              tr_mdoc_order *order)
{
    looked_at views[MOST_LOOKED_AT];
    size_t all = mdoc->n_views, n = all < most ? all : most;
    for (size_t i = 0; i < n; i++) {
        views[i] = (looked_at){.view = n > 1 ? i * (all - 1) / (n - 1) : 0};
        TR_TRY(look_at(image, &views[i]));
    }
    find_proof(mdoc, views, n, order);
    if (order->proof == TR_OTHER_ANGLES)
        order->seems = guess(mdoc, views, n);
    return TR_OK;
}

tr_status tr_mdoc_find_order(const tr_mdoc *mdoc, tr_image *image, tr_mdoc_order *order)
{
    *order = (tr_mdoc_order){.proof = TR_OTHER_ANGLES, .seems = TR_OTHER_ANGLES};
    for (size_t k = 0; k < mdoc->n_views; k++)
        if (isnan(mdoc->statistics[k][0] + mdoc->statistics[k][1] +
                  mdoc->statistics[k][2]))
            return TR_OK;
    TR_TRY(compare_some(mdoc, image, FEW, order));
    bool sorted = tr_are_sorted(mdoc->tilt, mdoc->n_views);
    if (order->proof == TR_SAME_ORDER || (order->proof == TR_OTHER_ANGLES && sorted))
        return TR_OK;
    return compare_some(mdoc, image, MOST_LOOKED_AT, order);
}
