#include "tiltrecz/transfer_private.h"

#include <stdlib.h>

#include "common/base/mem.h"

enum { MOST_BYTES = 32 << 20 }; /* of messages, one way, unless one view has more */

static size_t columns(const tr_transfer *t) { return t->slab->n_u + TR_GUARDS; }

static size_t count(const tr_transfer *t, int set, int rank, size_t n_views)
{
    return n_views * columns(t) * tr_transfer_rows(t->rows[set][rank]);
}

size_t tr_transfer_most(const tr_transfer *t) { return t->most; }

size_t tr_transfer_bytes(size_t n_views, size_t view, bool doubles)
{
    size_t one = doubles ? 2 * view : view, all = n_views * one;
    size_t most = all < MOST_BYTES ? all : MOST_BYTES;
    return 3 * (most > one ? most : one);
}

/* ---- sending ---- */

/* Rows of a vector whose lane 0 is image row row0; and those in a block of a rank. */
static tr_view_rows in_vector(const tr_vec *v, tr_row_range rows, long row0)
{
    return (tr_view_rows){v->data, v->rows, (size_t)(rows.first - row0), false};
}

static tr_view_rows in_block(float *block, tr_row_range rows)
{
    return (tr_view_rows){block, tr_transfer_rows(rows), 0, true};
}

static tr_status copy(const tr_transfer *t, tr_row_range rows, const tr_view_rows *from,
                      bool add, const tr_view_rows *to)
{
    return t->job->backend->copy_views(t->job->device, t->slab, t->now.views,
                                       tr_transfer_rows(rows), from, add, to);
}

/* Where rows for another rank go: into its memory, or to be sent. */
static float *destination(const tr_transfer *t, int rank)
{
    const tr_transfer_rank *r = &t->ranks[rank];
    return r->peer ? r->peer + r->peer_at[!t->now.way] + t->round % 2 * r->peer_turn
                   : t->packed + r->at[t->now.way];
}

static tr_status pack(tr_transfer *t)
{
    for (int k = 0; k < t->n_ranks; k++) {
        tr_row_range rows = t->rows[t->now.way][k];
        if (k == t->me || !tr_transfer_rows(rows))
            continue;
        tr_view_rows from = in_vector(&t->now.from, rows, t->now.row0);
        tr_view_rows to = in_block(destination(t, k), rows);
        TR_TRY(copy(t, rows, &from, false, &to));
    }
    return TR_OK;
}

/* All that others get from the host, in one copy. We wait in any case: where peers hear
 * of us, what was written into their memory is there, and what was read of ours is read.
 */
static tr_status fetch(tr_transfer *t)
{
    tr_way way = t->now.way;
    size_t first = t->floats, end = 0;
    for (int k = 0; k < t->n_ranks; k++) {
        size_t at = t->ranks[k].at[way], floats = count(t, way, k, t->now.views->n);
        if (k == t->me || t->ranks[k].peer || !floats)
            continue;
        first = at < first ? at : first;
        end = at + floats;
    }
    TR_TRY(t->job->backend->wait(t->job->device));
    return end ? t->job->backend->download(t->job->device, t->packed + first,
                                           t->send + first, end - first)
               : TR_OK;
}

/* A peer gets one value instead of rows, and we one from it. Whoever has heard from a
 * peer in one round knows that it has read what came in the round before, in the place
 * where the next round's rows go. */
static tr_status begin(tr_transfer *t, tr_way way, size_t n, size_t word)
{
    tr_comm *comm = t->job->comm;
    for (int k = 0; k < t->n_ranks; k++) {
        tr_transfer_rank *r = &t->ranks[k];
        bool other = k != t->me;
        t->sends[k] = r->peer ? &r->told : t->send + r->at[way];
        t->recvs[k] = r->peer ? &r->heard : t->recv + r->at[!way];
        t->send_counts[k] = r->peer ? 1 : other ? word * count(t, way, k, n) : 0;
        t->recv_counts[k] = r->peer ? 1 : other ? word * count(t, !way, k, n) : 0;
    }
    t->under_way = true;
    return comm->ops->begin_exchange(comm, t->sends, t->send_counts, t->recvs,
                                     t->recv_counts);
}

tr_status tr_transfer_begin(tr_transfer *t, tr_way way, const tr_subset *views,
                            const tr_vec *from, long row0)
{
    TR_ASSERT(views->n <= t->most);
    t->now = (tr_passage){way, views, *from, row0};
    TR_TRY(pack(t));
    if (t->n_ranks > 1 && t->job->backend->separate_memory)
        TR_TRY(fetch(t));
    return begin(t, way, views->n, 1);
}

static tr_status end(tr_transfer *t)
{
    TR_TRY(t->job->comm->ops->end_exchange(t->job->comm));
    t->under_way = false;
    return TR_OK;
}

/* Of one rank's rows; own ones need no block. */
static tr_status unpack(const tr_transfer *t, int rank, bool add, const tr_vec *to,
                        long row0)
{
    const tr_backend *b = t->job->backend;
    const int set = !t->now.way;
    size_t at = t->ranks[rank].at[set], there = t->round % 2 * t->turn + at;
    tr_row_range rows = t->rows[set][rank];
    tr_view_rows target = in_vector(to, rows, row0);
    tr_view_rows source = rank == t->me ? in_vector(&t->now.from, rows, t->now.row0)
                                        : in_block(t->arrived + there, rows);
    if (!tr_transfer_rows(rows))
        return TR_OK;
    if (rank != t->me && b->separate_memory && !t->ranks[rank].peer)
        TR_TRY(b->upload(t->job->device, t->recv + at, t->arrived + there,
                         count(t, set, rank, t->now.views->n)));
    return copy(t, rows, &source, add, &target);
}

tr_status tr_transfer_finish(tr_transfer *t, bool add, tr_vec *to, long row0)
{
    TR_TRY(end(t));
    for (int k = 0; k < t->n_ranks; k++)
        TR_TRY(unpack(t, k, add, to, row0));
    t->round++;
    return TR_OK;
}

/* ---- doubles ---- */

/* Blocks begin at even numbers of floats, as each is of doubles. */
double *tr_transfer_outgoing(tr_transfer *t, tr_way way, int rank)
{
    return (double *)(t->send + t->ranks[rank].at[way]);
}

const double *tr_transfer_incoming(const tr_transfer *t, tr_way way, int rank)
{
    return (const double *)(t->recv + t->ranks[rank].at[!way]);
}

tr_status tr_transfer_send(tr_transfer *t, tr_way way, size_t n)
{
    TR_ASSERT(n <= t->most && t->word == 2 && !t->job->backend->separate_memory);
    return begin(t, way, n, 2);
}

tr_status tr_transfer_receive(tr_transfer *t) { return end(t); }

/* ---- making it ---- */

/* Of all other ranks. */
static size_t rows_in(const tr_transfer *t, int set)
{
    size_t rows = 0;
    for (int k = 0; k < t->n_ranks; k++)
        rows += k == t->me ? 0 : tr_transfer_rows(t->rows[set][k]);
    return rows;
}

/* As many views as the rank with the most rows may have at a time. */
static tr_status find_most(tr_transfer *t)
{
    tr_comm *comm = t->job->comm;
    size_t mine = rows_in(t, TR_TO_WINDOWS), theirs = rows_in(t, TR_TO_OWNERS);
    size_t rows = mine > theirs ? mine : theirs, largest = 1;
    double *all = tr_calloc("ranks", (size_t)t->n_ranks, sizeof *all);
    tr_status status = comm->ops->agree(comm, all ? TR_OK : TR_ERR_MEMORY);
    if (status == TR_OK && all) {
        all[t->me] = (double)rows;
        status = tr_comm_gather(comm, all, (size_t)t->n_ranks);
        for (int k = 0; k < t->n_ranks; k++)
            largest = (size_t)all[k] > largest ? (size_t)all[k] : largest;
    }
    free(all);
    size_t view = largest * columns(t) * t->word, fit = MOST_BYTES / sizeof(float) / view;
    size_t n_views = t->slab->n_views;
    t->most = fit < 1 ? 1 : fit < n_views ? fit : n_views;
    t->floats = rows * columns(t) * t->word * t->most;
    return status;
}

static void place_blocks(tr_transfer *t)
{
    for (int set = 0; set < 2; set++) {
        size_t at = 0;
        for (int k = 0; k < t->n_ranks; k++) {
            t->ranks[k].at[set] = at;
            at += k == t->me ? 0 : t->word * count(t, set, k, t->most);
        }
    }
}

static tr_status new_buffers(tr_transfer *t)
{
    const tr_backend *b = t->job->backend;
    void *device = t->job->device;
    TR_TRY(b->alloc_host(device, t->floats, &t->send));
    TR_TRY(b->alloc_host(device, t->floats, &t->recv));
    t->packed = t->send;
    t->arrived = t->recv;
    if (!b->separate_memory)
        return TR_OK;
    t->packed = t->arrived = NULL;
    if (t->n_ranks == 1) /* own rows need none */
        return TR_OK;
    t->turn = t->floats;
    TR_TRY(b->alloc(device, t->floats, &t->packed));
    return b->share(device, 2 * t->floats, &t->arrived, &t->handle);
}

tr_status tr_transfer_new(tr_job *job, const tr_slab *slab, const tr_row_range *mine,
                          const tr_row_range *theirs, bool doubles,
                          tr_transfer **transfer)
{
    tr_comm *comm = job->comm;
    size_t n = (size_t)comm->size;
    tr_transfer *t = tr_calloc("rows to exchange", 1, sizeof *t);
    bool complete = false;
    if (t) {
        *t = (tr_transfer){.job = job,
                           .slab = slab,
                           .n_ranks = comm->size,
                           .me = comm->rank,
                           .rows = {mine, theirs},
                           .word = doubles ? 2 : 1};
        t->ranks = tr_calloc("ranks", n, sizeof *t->ranks);
        t->sends = tr_calloc("ranks", n, sizeof *t->sends);
        t->recvs = tr_calloc("ranks", n, sizeof *t->recvs);
        t->send_counts = tr_calloc("ranks", n, sizeof *t->send_counts);
        t->recv_counts = tr_calloc("ranks", n, sizeof *t->recv_counts);
        complete = t->ranks && t->sends && t->recvs && t->send_counts && t->recv_counts;
    }
    tr_status status = comm->ops->agree(comm, complete ? TR_OK : TR_ERR_MEMORY);
    if (status == TR_OK && t)
        status = find_most(t);
    if (status == TR_OK && t) {
        place_blocks(t);
        status = comm->ops->agree(comm, new_buffers(t));
    }
    if (status == TR_OK && t && job->backend->share && comm->size > 1)
        status = tr_transfer_reach_peers(t);
    if (status != TR_OK)
        tr_transfer_free(t);
    else
        *transfer = t;
    return status;
}

tr_status tr_transfer_end(tr_transfer *t)
{
    if (!t)
        return TR_OK;
    tr_transfer_leave_peers(t);
    TR_TRY(t->job->comm->ops->agree(t->job->comm, TR_OK));
    t->peers = false;
    return TR_OK;
}

void tr_transfer_free(tr_transfer *t)
{
    if (!t)
        return;
    const tr_backend *b = t->job->backend;
    /* Without tr_transfer_end a process has failed, and others may still write there
     * until they hear of it; what is left ends with the process. */
    bool others = t->peers;
    tr_transfer_leave_peers(t);
    if (b->separate_memory)
        b->free(t->job->device, t->packed);
    if (b->separate_memory && !others)
        b->unshare(t->job->device, t->arrived);
    if (!t->under_way) { /* else MPI may still use them */
        b->free_host(t->job->device, t->send);
        b->free_host(t->job->device, t->recv);
    }
    free(t->ranks);
    free(t->sends);
    free(t->recvs);
    free(t->send_counts);
    free(t->recv_counts);
    free(t);
}
