#include "common/algorithms/pieces.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/first_error.h"
#include "common/base/mem.h"

enum { PIECE = (64 << 20) / sizeof(float), BUFFERS = 2 };

struct tr_pieces {
    const tr_backend *backend;
    void *device;
    size_t floats; /* of a piece */
    float *host[BUFFERS];
};

static size_t piece_floats(size_t floats) { return floats < PIECE ? floats : PIECE; }

/* A vector of one piece takes one. */
static int buffers_for(size_t floats) { return floats > PIECE ? BUFFERS : 1; }

size_t tr_pieces_bytes(size_t floats)
{
    return (size_t)buffers_for(floats) * piece_floats(floats) * sizeof(float);
}

tr_status tr_pieces_new(const tr_backend *backend, void *device, size_t floats,
                        tr_pieces **pieces)
{
    *pieces = NULL;
    tr_pieces *p = tr_calloc("pieces of a checkpoint", 1, sizeof *p);
    if (!p)
        return TR_ERR_MEMORY;
    *p =
        (tr_pieces){.backend = backend, .device = device, .floats = piece_floats(floats)};
    tr_status status = TR_OK;
    for (int k = 0; k < buffers_for(floats) && status == TR_OK; k++)
        status = backend->alloc_host(device, p->floats, &p->host[k]);
    if (status == TR_OK)
        *pieces = p;
    else
        tr_pieces_free(p);
    return status;
}

void tr_pieces_free(tr_pieces *p)
{
    for (int k = 0; p && k < BUFFERS; k++)
        if (p->host[k])
            p->backend->free_host(p->device, p->host[k]);
    free(p);
}

/* ---- a vector ---- */

typedef struct transfer {
    tr_pieces *pieces;
    const tr_saver *saver;
    tr_vec *v;
    bool in;
    size_t emptied; /* the piece that the other thread has */
    tr_first_error failure;
} transfer;

/* Piece k of the vector: its values, and where they pass through. */
typedef struct piece {
    float *data, *host;
    size_t floats;
} piece;

static piece find_piece(const transfer *t, size_t k)
{
    const tr_pieces *p = t->pieces;
    size_t all = t->v->lines * t->v->rows, from = k * p->floats;
    return (piece){.data = t->v->data + from,
                   .host = p->host[k % BUFFERS],
                   .floats = all - from < p->floats ? all - from : p->floats};
}

static void fill(transfer *t, size_t k)
{
    const tr_pieces *p = t->pieces;
    piece a = find_piece(t, k);
    tr_status status =
        t->in ? t->saver->get(t->saver->self, a.host, a.floats * sizeof *a.host)
              : p->backend->download(p->device, a.data, a.host, a.floats);
    tr_first_error_note(&t->failure, k, status);
}

static void *empty(void *argument)
{
    transfer *t = argument;
    const tr_pieces *p = t->pieces;
    piece a = find_piece(t, t->emptied);
    tr_status status =
        t->in ? p->backend->upload(p->device, a.host, a.data, a.floats)
              : t->saver->put(t->saver->self, a.host, a.floats * sizeof *a.host);
    tr_first_error_note(&t->failure, t->emptied, status);
    return NULL;
}

/* Piece k is filled while the one before is emptied. */
static void step(transfer *t, size_t k, size_t n)
{
    pthread_t other;
    t->emptied = k - 1;
    bool beside = k > 0 && k < n && pthread_create(&other, NULL, empty, t) == 0;
    if (k > 0 && !beside)
        (void)empty(t);
    if (k < n)
        fill(t, k);
    if (beside)
        pthread_join(other, NULL);
}

tr_status tr_pieces_move(tr_pieces *p, const tr_saver *saver, tr_vec *v, bool in)
{
    transfer t = {
        .pieces = p, .saver = saver, .v = v, .in = in, .failure = TR_NO_ERROR_YET};
    size_t floats = v->lines * v->rows;
    TR_ASSERT(p->floats > 0 || floats == 0);
    size_t n = floats ? (floats - 1) / p->floats + 1 : 0;
    TR_TRY(p->backend->wait(p->device));
    for (size_t k = 0; k <= n && tr_first_error_needs(&t.failure, k); k++)
        step(&t, k, n);
    return tr_first_error_end(&t.failure);
}
