/* Vectors in the memory of a device, on their way to a saver and back through host
 * memory: in pieces, of which one is copied to or from the device while the saver has the
 * one before or after it. */
#ifndef TR_PIECES_H
#define TR_PIECES_H

#include "common/algorithms/algorithm.h"

typedef struct tr_pieces tr_pieces;

/* Host memory for two pieces of at most 64 MiB, or less where the largest vector, of
 * `floats` values, is smaller. Freed with tr_pieces_free. Errors: memory. */
TR_CHECKED tr_status tr_pieces_new(const tr_backend *backend, void *device, size_t floats,
                                   tr_pieces **pieces);
void tr_pieces_free(tr_pieces *pieces); /* NULL is fine */

/* The bytes of that, for the memory plan. */
size_t tr_pieces_bytes(size_t floats);

/* All values of v to the saver, or `in`: from it; it sees the bytes of the whole vector
 * one after another. Another thread calls it meanwhile, or the device's copies. */
TR_CHECKED tr_status tr_pieces_move(tr_pieces *pieces, const tr_saver *saver, tr_vec *v,
                                    bool in);

#endif
