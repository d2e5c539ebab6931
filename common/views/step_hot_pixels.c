/* Pixels of the detector that are too bright or too dark get the value that was found for
 * them when the view was looked through (common/series/hot_pixels.h). */
#include "common/views/view_step.h"

static bool wanted(const tr_view_params *params, const tr_view_facts *view)
{
    return view ? view->n_replaced > 0 : params->hot_pixels == TR_HOT_REPLACE;
}

static bool is_before(const tr_replaced *r, size_t x, size_t y)
{
    return r->y < y || (r->y == y && r->x < x);
}

static void pixels(const tr_view_params *params, const tr_view_facts *view,
                   const tr_pixels *p)
{
    (void)params;
    size_t low = 0, high = view->n_replaced;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (is_before(&view->replaced[middle], p->x, p->y))
            low = middle + 1;
        else
            high = middle;
    }
    for (const tr_replaced *r = view->replaced + low;
         r < view->replaced + view->n_replaced && r->y == p->y && r->x - p->x < p->n; r++)
        p->value[r->x - p->x] = r->value;
}

/* The mean is of the pixels replaced. */
const tr_view_step tr_step_hot_pixels = {
    .name = "hot pixels", .wanted = wanted, .pixels = pixels, .keeps_mean = true};
