/* One run owns a file that is written: .NAME.lock beside it says whose it is, with host
 * and process. Works over NFS (link(2)); the lock of a process that has died on this
 * machine is removed. Of one process per run; not for several threads. */
#ifndef TR_FILE_LOCK_H
#define TR_FILE_LOCK_H

#include "common/base/err.h"

/* Files that one process can own at a time. */
enum { TR_MOST_LOCKS = 32 };

/* TR_ERR_DATA where another run owns the file at `path`: the sentence says which, and
 * what to do. Nothing happens where it is this process's already. */
TR_CHECKED tr_status tr_lock_take(const char *path);
/* Remove what a process that has died left when it was about to take a lock:
 * .NAME.lock-HOST-PID. */
void tr_lock_remove_dead(const char *file);
bool tr_lock_is_held(const char *path); /* by this process */
/* That the lock there is another process's of the same run, which may be ended before it
 * can remove it. */
TR_CHECKED tr_status tr_lock_join(const char *path);
void tr_lock_release(const char *path);
/* At the end of the run: this process's own. */
void tr_lock_release_all(void);
/* The run ends early: also those that it has joined. Async-signal-safe. */
void tr_lock_abandon_all(void);

#endif
