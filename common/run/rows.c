#include "common/run/rows.h"

#include "common/base/mem.h"
#include "common/views/view_steps.h"

/* Whether a row of a view as it is has all that becomes of this row: nothing is between
 * them that takes it from other rows. */
static bool rows_are_alone(const tr_reconstruction *r)
{
    const tr_view_steps steps = {tr_view_step_list(), r->command->options.views};
    return !r->job.second && !tr_view_steps_whole(&steps) && !r->views.has_transforms &&
           !r->job.geometry.xtilt && !tr_geometry_is_direct(&r->job.geometry);
}

static void mark(long first, long end, size_t n, bool *rows)
{
    long last = (long)n - 1;
    first = first < 0 ? 0 : first > last ? last : first;
    end = end > last + 1 ? last + 1 : end < first + 1 ? first + 1 : end;
    for (long r = first; r < end; r++)
        rows[r] = true;
}

tr_status tr_rows_read(const tr_reconstruction *r, bool **rows)
{
    enum { MIDDLE = 66 }; /* at least those where the number of iterations is found */
    const tr_options *o = &r->command->options;
    const tr_geometry *g = &r->job.geometry;
    *rows = NULL;
    if (o->try_what || o->slices[0] < 0 || !rows_are_alone(r))
        return TR_OK;
    *rows = tr_calloc("the rows to read", g->n_v, sizeof **rows);
    if (!*rows)
        return TR_ERR_MEMORY;
    long first, end, middle = (long)g->n_v / 2;
    size_t slice = r->job.first_slice;
    tr_geometry_rows_of_slices(g, slice, slice + r->job.output_spec.n_slices, &first,
                               &end);
    mark(first, end, g->n_v, *rows);
    if (r->command->algorithm->needs & TR_COVERS_OUTSIDE) {
        tr_noise_rows(g->n_v, *rows);
        mark(middle - MIDDLE / 2, middle + MIDDLE / 2, g->n_v, *rows);
    }
    return TR_OK;
}
