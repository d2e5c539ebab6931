/* Which processes write into each other's devices: those of one machine whose devices
 * can, both ways. All others send through host memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "tiltrecz/transfer_private.h"

/* What a rank tells another one: where it would have that one's rows. */
typedef struct offer {
    tr_handle handle;
    size_t at[2], turn;
    int machine;
} offer;

enum { OFFER = (sizeof(offer) + sizeof(float) - 1) / sizeof(float) };

/* Whether one has rows for the other, or needs some. */
static bool linked(const tr_transfer *t, int rank)
{
    return rank != t->me && tr_transfer_rows(t->rows[TR_TO_WINDOWS][rank]) +
                                tr_transfer_rows(t->rows[TR_TO_OWNERS][rank]);
}

/* `n` values to each linked rank, one rank after the other, and from it. */
static tr_status tell(tr_transfer *t, const float *send, float *recv, size_t n)
{
    tr_comm *comm = t->job->comm;
    for (int k = 0; k < t->n_ranks; k++)
        t->send_counts[k] = linked(t, k) ? n : 0;
    return comm->ops->exchange(comm, send, t->send_counts, recv, t->send_counts);
}

static void make_offers(const tr_transfer *t, float *values)
{
    for (int k = 0; k < t->n_ranks; k++) {
        const offer mine = {.handle = t->handle,
                            .at = {t->ranks[k].at[0], t->ranks[k].at[1]},
                            .turn = t->turn,
                            .machine = t->job->comm->machine};
        if (!linked(t, k))
            continue;
        memcpy(values, &mine, sizeof mine);
        values += OFFER;
    }
}

/* Why the first one could not be reached. */
typedef struct reason {
    char text[200];
} reason;

static void note(reason *why, const char *text)
{
    if (!why->text[0])
        snprintf(why->text, sizeof why->text, "%s", text);
}

/* What can be reached of the offers; into answers, 1 or 0. */
static void accept_offers(tr_transfer *t, const float *offers, float *answers,
                          reason *why)
{
    const tr_backend *b = t->job->backend;
    for (int k = 0; k < t->n_ranks; k++) {
        tr_transfer_rank *r = &t->ranks[k];
        offer theirs;
        if (!linked(t, k))
            continue;
        memcpy(&theirs, offers, sizeof theirs);
        offers += OFFER;
        r->peer_at[0] = theirs.at[0];
        r->peer_at[1] = theirs.at[1];
        r->peer_turn = theirs.turn;
        if (theirs.machine != t->job->comm->machine)
            note(why, "they are on different machines");
        else if (b->attach(t->job->device, &theirs.handle, &r->peer) != TR_OK) {
            note(why, tr_error());
            r->peer = NULL;
        }
        *answers++ = r->peer ? 1.0f : 0.0f;
    }
}

/* Those that can reach us are peers, the others not. */
static void keep_mutual(tr_transfer *t, const float *answers, reason *why)
{
    for (int k = 0; k < t->n_ranks; k++) {
        tr_transfer_rank *r = &t->ranks[k];
        if (!linked(t, k))
            continue;
        if (r->peer && *answers == 0.0f) {
            note(why, "the other one cannot write into ours");
            t->job->backend->detach(t->job->device, r->peer);
            r->peer = NULL;
        }
        answers++;
        t->peers |= r->peer != NULL;
    }
}

static tr_status say(const tr_transfer *t, const reason *why)
{
    double sums[2] = {0};
    for (int k = 0; k < t->n_ranks; k++) {
        sums[0] += linked(t, k) ? 1.0 : 0.0;
        sums[1] += t->ranks[k].peer ? 1.0 : 0.0;
    }
    TR_TRY(t->job->comm->ops->sum(t->job->comm, sums, 2)); /* each pair twice */
    if (sums[1] < sums[0])
        tr_verbose("rows go from GPU to GPU between %.0f of %.0f pairs of processes, "
                   "else through host memory%s%s",
                   sums[1] / 2.0, sums[0] / 2.0, why->text[0] ? ": " : "", why->text);
    else if (sums[0] > 0.0)
        tr_verbose("rows go from GPU to GPU between all pairs of processes, %.0f",
                   sums[0] / 2.0);
    return TR_OK;
}

tr_status tr_transfer_reach_peers(tr_transfer *t)
{
    tr_comm *comm = t->job->comm;
    size_t n = (size_t)t->n_ranks * OFFER;
    reason why = {""};
    float *mine = tr_calloc("ranks", n, sizeof *mine);
    float *theirs = tr_calloc("ranks", n, sizeof *theirs);
    tr_status status = comm->ops->agree(comm, mine && theirs ? TR_OK : TR_ERR_MEMORY);
    if (status == TR_OK && mine && theirs) {
        make_offers(t, mine);
        status = tell(t, mine, theirs, OFFER);
    }
    if (status == TR_OK && mine && theirs) {
        accept_offers(t, theirs, mine, &why);
        status = tell(t, mine, theirs, 1);
    }
    if (status == TR_OK && theirs) {
        keep_mutual(t, theirs, &why);
        status = say(t, &why);
    }
    free(mine);
    free(theirs);
    return status; /* what fails here fails on this rank alone, and ends them all */
}

void tr_transfer_leave_peers(tr_transfer *t)
{
    for (int k = 0; t->ranks && k < t->n_ranks; k++) {
        if (t->ranks[k].peer)
            t->job->backend->detach(t->job->device, t->ranks[k].peer);
        t->ranks[k].peer = NULL;
    }
}
