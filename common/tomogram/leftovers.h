/* Files beside an output that belong to it while it is made: what a run that did not come
 * to its end left there. */
#ifndef TR_LEFTOVERS_H
#define TR_LEFTOVERS_H

#include "common/base/err.h"

/* Whether `name` is one that is given to files beside the one at `path`: .NAME.partial,
 * .NAME.journal and so on. */
bool tr_name_is_beside(const char *path, const char *name);

/* Each file that a run left beside the output at `path`, whatever its number of
 * processes, its type and its program; not its lock. `take` gets the file's path. Errors:
 * memory. */
TR_CHECKED tr_status tr_leftovers_each(const char *path,
                                       void (*take)(void *self, const char *file),
                                       void *self);
/* Remove them. By a process that owns the output. */
TR_CHECKED tr_status tr_leftovers_remove(const char *path);

/* Whether `name` is of a checkpoint beside the output, and of how many processes. */
bool tr_leftover_is_checkpoint(const char *path, const char *name, long *ranks);

#endif
