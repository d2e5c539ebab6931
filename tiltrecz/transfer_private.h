/* What the files of the transfer share. */
#ifndef TR_TRANSFER_PRIVATE_H
#define TR_TRANSFER_PRIVATE_H

#include "tiltrecz/transfer.h"

typedef struct tr_transfer_rank {
    size_t at[2];      /* where its block of either set of rows begins */
    float *peer;       /* its device's memory, where we write into that; else NULL */
    size_t peer_at[2]; /* where ours begin there, and */
    size_t peer_turn;  /* how far behind that in the next round */
    float told, heard; /* instead of rows, once they are there */
} tr_transfer_rank;

typedef struct tr_passage {
    tr_way way;
    const tr_subset *views;
    tr_vec from;
    long row0;
} tr_passage;

struct tr_transfer {
    tr_job *job;
    const tr_slab *slab;
    int n_ranks, me;
    /* [TR_TO_WINDOWS] own rows, which that way sends and the other one receives;
     * [TR_TO_OWNERS] those of others. */
    const tr_row_range *rows[2];
    size_t word;   /* floats for a value */
    size_t most;   /* views */
    size_t floats; /* of all blocks */
    tr_transfer_rank *ranks;
    float *send, *recv;      /* blocks in host memory; */
    float *packed, *arrived; /* and of vectors: the same, unless the device has its own */
    /* There, what arrives has two places by turns: others may write into one while the
     * other one is still being read. */
    size_t turn, round;
    tr_handle handle; /* of arrived */
    bool peers;
    bool under_way;         /* between the beginning and the end of an exchange */
    tr_passage now;         /* what is on its way */
    float **sends, **recvs; /* per rank: what the processes exchange */
    size_t *send_counts, *recv_counts;
};

static inline size_t tr_transfer_rows(tr_row_range r)
{
    return (size_t)(r.end - r.first);
}

/* transfer_peers.c: which ranks write into each other's memory, once there are buffers.
 * Collective; the same status on all ranks. And an end to that, on this rank. */
TR_CHECKED tr_status tr_transfer_reach_peers(tr_transfer *t);
void tr_transfer_leave_peers(tr_transfer *t);

#endif
