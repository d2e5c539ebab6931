/* Between the rows y' of a pitched volume and files of slices. Each process writes its
 * share of the slices, as many at a time as make a group, in blocks of planes; all
 * processes exchange the rows for one block of theirs at the same time. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/partition.h"
#include "common/run/resample.h"
#include "tiltrecz/volume.h"

enum {
    GROUP = TR_LANES,             /* slices, or rows */
    BLOCK = 64,                   /* planes */
    MOST_ROWS = GROUP + BLOCK + 2 /* that a group's block is interpolated from */
};

/* ---- which rows go where ---- */

/* Rows [first, end) of the volume and planes [plane, plane + planes) of its frame. */
typedef struct row_block {
    size_t first, end, plane, planes;
} row_block;

/* What the process `rank` makes of its group `group` of slices at a time. */
static size_t find_group(const tr_job *job, int rank, size_t group, size_t *slice)
{
    size_t first, count;
    tr_partition(job->output_spec.n_slices, (size_t)job->comm->size, (size_t)rank, &first,
                 &count);
    size_t done = group * GROUP;
    *slice = first + done;
    return done >= count ? 0 : count - done < GROUP ? count - done : GROUP;
}

/* Groups of the process with the most slices, which is the first. */
static size_t count_groups(const tr_job *job)
{
    size_t slice, groups = 0;
    while (find_group(job, 0, groups, &slice))
        groups++;
    return groups;
}

static size_t block_end(const tr_job *job, size_t iz)
{
    size_t thickness = job->geometry.thickness;
    return iz + BLOCK < thickness ? iz + BLOCK : thickness;
}

/* The row itself, or the outermost one in its place where it is outside the volume. */
static size_t hold(const tr_volume_plan *p, long row)
{
    long first = (long)p->all_first, last = first + (long)p->all_rows - 1;
    return (size_t)(row < first ? first : row < last ? row : last);
}

/* What a process needs for the planes of the output from iz on; empty without slices. */
static row_block needed(const tr_job *job, const tr_volume_plan *p, int rank,
                        size_t group, size_t iz)
{
    size_t slice, n = find_group(job, rank, group, &slice);
    if (!n)
        return (row_block){0};
    slice += job->first_slice;
    tr_frame_box box =
        tr_geometry_box(&job->geometry, slice, slice + n, iz, block_end(job, iz));
    return (row_block){.first = hold(p, box.row),
                       .end = hold(p, box.row + (long)box.rows - 1) + 1,
                       .plane = (size_t)(box.z0 - p->z0),
                       .planes = box.planes};
}

/* Of a block, the rows that a process has. */
static row_block held(const tr_job *job, const tr_volume_plan *p, int rank, row_block b)
{
    size_t first, rows;
    tr_volume_share(p, job->comm, rank, &first, &rows);
    b.first = b.first > first ? b.first : first;
    b.end = b.end < first + rows ? b.end : first + rows;
    b.end = b.end > b.first ? b.end : b.first;
    return b;
}

static size_t count_floats(const tr_job *job, row_block b)
{
    return b.planes * job->geometry.width * (b.end - b.first);
}

/* ---- the output ---- */

typedef struct writer {
    tr_job *job;
    const tr_volume_plan *plan;
    const tr_vec *x;
    float *send, *recv, *slices;
    float *own; /* rows that it needs itself, behind those in send */
    size_t *send_counts, *recv_counts; /* per rank */
    row_block wanted;             /* in recv: one other process's rows after another's */
    tr_frame_row rows[MOST_ROWS]; /* each of them */
} writer;

static void largest_exchange(const tr_job *job, const tr_volume_plan *p, size_t *send,
                             size_t *recv)
{
    int me = job->comm->rank;
    *send = *recv = 0;
    for (size_t group = 0; group < count_groups(job); group++)
        for (size_t iz = 0; iz < job->geometry.thickness; iz += BLOCK) {
            size_t to = 0, from = 0;
            const row_block wanted = needed(job, p, me, group, iz);
            for (int k = 0; k < job->comm->size; k++) {
                to += count_floats(job, held(job, p, me, needed(job, p, k, group, iz)));
                from += k == me ? 0 : count_floats(job, held(job, p, k, wanted));
            }
            *send = to > *send ? to : *send;
            *recv = from > *recv ? from : *recv;
        }
}

static tr_status new_writer(tr_job *job, const tr_volume_plan *p, const tr_vec *x,
                            writer *w)
{
    const tr_geometry *g = &job->geometry;
    size_t send, recv, ranks = (size_t)job->comm->size;
    largest_exchange(job, p, &send, &recv);
    *w = (writer){
        .job = job,
        .plan = p,
        .x = x,
        .send = tr_calloc("rows to exchange", send, sizeof *w->send),
        .recv = tr_calloc("rows to exchange", recv, sizeof *w->recv),
        .slices = tr_calloc("slices", GROUP * g->width * g->thickness, sizeof *w->slices),
        .send_counts = tr_calloc("ranks", ranks, sizeof *w->send_counts),
        .recv_counts = tr_calloc("ranks", ranks, sizeof *w->recv_counts)};
    return w->send && w->recv && w->slices && w->send_counts && w->recv_counts
               ? TR_OK
               : TR_ERR_MEMORY;
}

static void free_writer(writer *w)
{
    free(w->send);
    free(w->recv);
    free(w->slices);
    free(w->send_counts);
    free(w->recv_counts);
}

/* Where each row is. */
static void find_rows(writer *w)
{
    const float *others = w->recv;
    const int me = w->job->comm->rank;
    TR_ASSERT(w->wanted.end - w->wanted.first <= MOST_ROWS);
    for (int k = 0; k < w->job->comm->size; k++) {
        row_block b = held(w->job, w->plan, k, w->wanted);
        const float *from = k == me ? w->own : others;
        for (size_t row = b.first; row < b.end; row++)
            w->rows[row - w->wanted.first] =
                (tr_frame_row){.start = from + (row - b.first),
                               .lanes = b.end - b.first,
                               .planes = b.planes,
                               .z0 = w->plan->z0 + (double)b.plane};
        others += w->recv_counts[k];
    }
}

/* What a process has of a block, to `to`. */
static tr_status get_block(const writer *w, row_block b, float *to)
{
    const tr_job *job = w->job;
    const size_t width = job->geometry.width;
    const tr_rows rows = {b.plane * width, b.planes * width, b.first - w->plan->first,
                          b.end - b.first};
    return count_floats(job, b) ? job->backend->get_rows(job->device, w->x, &rows, to)
                                : TR_OK;
}

/* Own rows to all processes that need them for this block of theirs, and those for the
 * own one to where they can be found. */
static tr_status exchange(writer *w, size_t group, size_t iz)
{
    tr_job *job = w->job;
    const tr_volume_plan *p = w->plan;
    int me = job->comm->rank;
    double start = tr_now();
    w->own = w->send;
    w->wanted = needed(job, p, me, group, iz);
    for (int k = 0; k < job->comm->size; k++) {
        row_block b = held(job, p, me, needed(job, p, k, group, iz));
        w->send_counts[k] = k == me ? 0 : count_floats(job, b);
        w->recv_counts[k] = k == me ? 0 : count_floats(job, held(job, p, k, w->wanted));
        if (k != me)
            TR_TRY(get_block(w, b, w->own));
        w->own += w->send_counts[k];
    }
    TR_TRY(get_block(w, held(job, p, me, w->wanted), w->own));
    if (job->backend->separate_memory)
        tr_job_spent(job, TR_STAGE_DOWNLOAD, start);
    find_rows(w);
    return job->comm->ops->exchange(job->comm, w->send, w->send_counts, w->recv,
                                    w->recv_counts);
}

static tr_frame_row find_row(const void *self, long row)
{
    const writer *w = self;
    size_t at = hold(w->plan, row);
    TR_ASSERT(at >= w->wanted.first && at < w->wanted.end);
    return w->rows[at - w->wanted.first];
}

tr_status tr_pitched_write(tr_job *job, const tr_volume_plan *p, const tr_vec *x)
{
    const tr_geometry *g = &job->geometry;
    size_t slice, groups = count_groups(job);
    writer w;
    tr_status status = job->comm->ops->agree(job->comm, new_writer(job, p, x, &w));
    for (size_t group = 0; group < groups && status == TR_OK; group++) {
        size_t n = find_group(job, job->comm->rank, group, &slice);
        for (size_t iz = 0; iz < g->thickness && status == TR_OK; iz += BLOCK) {
            status = exchange(&w, group, iz);
            double start = tr_now();
            if (status == TR_OK && n)
                tr_resample_slices(g, find_row, &w, job->threads,
                                   job->first_slice + slice, n, iz, block_end(job, iz),
                                   w.slices);
            tr_job_spent(job, TR_STAGE_WRITE, start);
        }
        double start = tr_now();
        if (status == TR_OK && n)
            status = tr_output_write(job->output, slice, n, w.slices);
        tr_job_spent(job, TR_STAGE_WRITE, start);
    }
    free_writer(&w);
    return status;
}

/* ---- the initial volume ---- */

tr_status tr_pitched_load_initial(const tr_job *job, const tr_volume_plan *p,
                                  const tr_vec *x)
{
    size_t width = job->geometry.width;
    tr_vec to = *x;
    float *lines = tr_calloc("the initial volume", BLOCK * width * GROUP, sizeof *lines);
    tr_status status = lines ? TR_OK : TR_ERR_MEMORY;
    for (size_t row = 0; row < p->rows && status == TR_OK; row += GROUP)
        for (size_t plane = 0; plane < p->planes && status == TR_OK; plane += BLOCK) {
            size_t n = p->rows - row < GROUP ? p->rows - row : GROUP;
            size_t planes = p->planes - plane < BLOCK ? p->planes - plane : BLOCK;
            const tr_frame_box box = {(long)(p->first + row), n, p->z0 + (double)plane,
                                      planes};
            const tr_rows rows = {plane * width, planes * width, row, n};
            status = tr_initial_load(job, &box, n, lines);
            if (status == TR_OK)
                status = job->backend->put_rows(job->device, &rows, lines, false, &to);
        }
    free(lines);
    return status;
}

size_t tr_pitched_bytes(const tr_job *job, const tr_volume_plan *p)
{
    const tr_geometry *g = &job->geometry;
    size_t send, recv, initial = 0;
    largest_exchange(job, p, &send, &recv);
    if (job->initial)
        initial = tr_initial_bytes(job, GROUP, BLOCK) +
                  BLOCK * g->width * GROUP * sizeof(float);
    size_t output = (send + recv + GROUP * g->width * g->thickness) * sizeof(float);
    return output > initial ? output : initial;
}
