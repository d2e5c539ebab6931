/* A bounded queue of pointers between threads: how slabs travel from reader to compute
 * to writer, and how empty buffers come back. */
#ifndef TR_QUEUE_H
#define TR_QUEUE_H

#include "common/base/err.h"

typedef struct tr_queue tr_queue;

/* A queue for at most `capacity` pointers; NULL, with the sentence set, when memory is
 * short. Freed by tr_queue_free when no thread uses it any more; the items are not the
 * queue's. */
tr_queue *tr_queue_new(size_t capacity);
void tr_queue_free(tr_queue *queue);

/* Wait for room, then append. False when the queue has been closed. */
bool tr_queue_push(tr_queue *queue, void *item);

/* Wait for an item and take the oldest. NULL when the queue is closed and empty. */
void *tr_queue_pop(tr_queue *queue);

/* No more pushes; who waits wakes. With `discard`, what is queued is dropped too. */
void tr_queue_close(tr_queue *queue, bool discard);

#endif
