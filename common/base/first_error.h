/* The first failure of work that threads share out. Of several items that fail, it is the
 * lowest one, so that what a user reads does not depend on which thread was quicker. */
#ifndef TR_FIRST_ERROR_H
#define TR_FIRST_ERROR_H

#include <pthread.h>

#include "common/base/err.h"

typedef struct tr_first_error {
    pthread_mutex_t lock;
    tr_status status;
    size_t item;
    char sentence[1024];
} tr_first_error;

#define TR_NO_ERROR_YET                                                                  \
    {                                                                                    \
        .lock = PTHREAD_MUTEX_INITIALIZER                                                \
    }

/* Whether the item has still to be done: no lower one has failed. */
bool tr_first_error_needs(tr_first_error *first, size_t item);

/* How the item ended. A failure is kept with the calling thread's sentence, unless one of
 * the same or a lower item is there. */
void tr_first_error_note(tr_first_error *first, size_t item, tr_status status);

/* When the threads are through: TR_OK, or the failure, whose sentence becomes that of the
 * calling thread. */
TR_CHECKED tr_status tr_first_error_end(tr_first_error *first);

#endif
