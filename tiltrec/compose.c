/* From slabs of rows (y', z') to output slices (y, s): as they are at pitch 0, by
 * interpolation otherwise. Runs in the writer's thread. */
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/run/resample.h"
#include "common/tomogram/transpose.h"
#include "tiltrec/slices.h"

struct tr_composer {
    tr_job *job;
    const tr_slice_plan *plan;
    size_t next, end;      /* output slices still to be written, of this rank */
    tr_slab_volume **held; /* slabs in order of rows */
    size_t n_held;
    float *planes; /* [group][thickness][width], or NULL where none are made */
};

bool tr_composer_takes(const tr_job *job, tr_take *take)
{
    bool takes = tr_output_takes(&job->output_spec, take);
    return takes && job->backend->take_slices && job->geometry.pitch == 0.0;
}

bool tr_composer_makes_planes(const tr_job *job)
{
    return tr_geometry_is_sheared(&job->geometry) || job->output_spec.sink;
}

tr_composer *tr_composer_new(tr_job *job, const tr_slice_plan *plan)
{
    tr_composer *c = tr_calloc("the output", 1, sizeof *c);
    if (!c)
        return NULL;
    c->job = job;
    c->plan = plan;
    c->next = plan->first;
    c->end = plan->first + plan->slices;
    c->held = tr_calloc("the output", plan->volumes, sizeof *c->held);
    bool makes = tr_composer_makes_planes(job);
    if (makes)
        c->planes = tr_calloc("output slices",
                              plan->group * job->geometry.width * job->geometry.thickness,
                              sizeof *c->planes);
    if (c->held && (c->planes || !makes))
        return c;
    tr_composer_free(c);
    return NULL;
}

void tr_composer_free(tr_composer *c)
{
    if (!c)
        return;
    free(c->held);
    free(c->planes);
    free(c);
}

/* Line of plane 0 and column 0 for a row that a held slab keeps, and its slab. */
static const float *row_start(const tr_composer *c, long row, const tr_slab_volume **slab)
{
    long core = (long)c->plan->core;
    size_t k = 0;
    while (k + 1 < c->n_held && row >= c->held[k]->row + core)
        k++;
    *slab = c->held[k];
    TR_ASSERT(row >= (*slab)->row && row < (*slab)->row + core);
    return (*slab)->data + (row - (*slab)->row) + (long)c->plan->halo;
}

static tr_frame_row find_row(const void *composer, long row)
{
    const tr_composer *c = composer;
    const tr_slab_volume *slab;
    const float *start = row_start(c, row, &slab);
    return (tr_frame_row){start, c->plan->lanes, c->plan->planes, slab->z0};
}

/* The next n slices, a group at most if planes are made of them. */
static tr_status write_slices(const tr_composer *c, size_t n)
{
    const tr_geometry *g = &c->job->geometry;
    const size_t slice = c->job->first_slice + c->next;
    const tr_slab_volume *slab;
    if (tr_geometry_is_sheared(g)) {
        tr_resample_slices(g, find_row, c, c->job->threads, slice, n, 0, g->thickness,
                           c->planes);
        return tr_output_write(c->job->output, c->next, n, c->planes);
    }
    const float *from = row_start(c, (long)slice, &slab);
    if (slab->taken) {
        TR_ASSERT(slab->row == (long)slice && slab->n_taken == n);
        return tr_output_write_taken(c->job->output, c->next, n, slab->data, slab->taken);
    }
    if (!c->planes)
        return tr_output_write_lines(c->job->output, c->next, n, from, c->plan->lanes);
    tr_lines_to_slices(from, c->plan->lanes, n, g->width * g->thickness, c->planes);
    return tr_output_write(c->job->output, c->next, n, c->planes);
}

/* How many of the next slices the held slabs suffice for, at most a group if planes are
 * made. */
static size_t ready(const tr_composer *c)
{
    const tr_slab_volume *last = c->held[c->n_held - 1];
    long complete = last->row + (long)c->plan->core;
    size_t first = c->job->first_slice + c->next, n = 0;
    size_t most = c->end - c->next, group = c->plan->group;
    most = c->planes && most > group ? group : most;
    if (!tr_geometry_is_sheared(&c->job->geometry)) {
        long rows = complete - (long)first;
        return rows <= 0 ? 0 : (size_t)rows < most ? (size_t)rows : most;
    }
    /* Whole groups only, so that what is read together does not depend on the slabs. */
    long from, end;
    tr_geometry_rows_of_slices(&c->job->geometry, first, first + most, &from, &end);
    if (end <= complete)
        n = most;
    return n;
}

static void release(tr_composer *c, tr_slab_volume **done, size_t *n_done)
{
    long needed = 0, end;
    bool finished = c->next == c->end;
    if (!finished) {
        size_t first = c->job->first_slice + c->next;
        size_t last = c->job->first_slice + c->end;
        size_t group = last - first < c->plan->group ? last - first : c->plan->group;
        tr_geometry_rows_of_slices(&c->job->geometry, first, first + group, &needed,
                                   &end);
    }
    size_t kept = 0;
    for (size_t k = 0; k < c->n_held; k++) {
        tr_slab_volume *slab = c->held[k];
        if (finished || slab->row + (long)c->plan->core <= needed)
            done[(*n_done)++] = slab;
        else
            c->held[kept++] = slab;
    }
    c->n_held = kept;
}

tr_status tr_composer_add(tr_composer *c, tr_slab_volume *slab, tr_slab_volume **done,
                          size_t *n_done)
{
    TR_ASSERT(c->n_held < c->plan->volumes);
    *n_done = 0;
    c->held[c->n_held++] = slab;
    for (size_t n; c->next < c->end && (n = ready(c)) > 0; c->next += n)
        TR_TRY(write_slices(c, n));
    release(c, done, n_done);
    return TR_OK;
}
