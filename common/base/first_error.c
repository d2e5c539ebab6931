#include "common/base/first_error.h"

#include <stdio.h>

bool tr_first_error_needs(tr_first_error *first, size_t item)
{
    pthread_mutex_lock(&first->lock);
    bool needed = first->status == TR_OK || item < first->item;
    pthread_mutex_unlock(&first->lock);
    return needed;
}

void tr_first_error_note(tr_first_error *first, size_t item, tr_status status)
{
    if (status == TR_OK)
        return;
    pthread_mutex_lock(&first->lock);
    if (first->status == TR_OK || item < first->item) {
        first->status = status;
        first->item = item;
        snprintf(first->sentence, sizeof first->sentence, "%s", tr_error());
    }
    pthread_mutex_unlock(&first->lock);
}

tr_status tr_first_error_end(tr_first_error *first)
{
    pthread_mutex_destroy(&first->lock);
    return first->status == TR_OK ? TR_OK : tr_fail(first->status, "%s", first->sentence);
}
