/* What the program tells its user while it runs, on standard error; only rank 0
 * speaks, except for errors. Silent before tr_log_setup, as the library always is. */
#ifndef TR_LOG_H
#define TR_LOG_H

#include <stdio.h>

#include "common/base/err.h"

typedef enum tr_log_level {
    TR_LOG_QUIET = 0, /* warnings and errors only */
    TR_LOG_NORMAL = 1,
    TR_LOG_VERBOSE = 2
} tr_log_level;

/* Set once at start: the level, whether this process speaks at all, and the name
 * that errors begin with ("tiltrec-mpi"). */
void tr_log_setup(tr_log_level level, bool speaks, const char *program);

/* From the next tr_log_setup on, all goes to this file, which the caller closes after he
 * has called it with NULL: to standard error again. */
void tr_log_to(FILE *file);

/* Nothing but warnings and errors until it is called with false: for parts of a run that
 * would say the same again and again. With TR_LOG_VERBOSE nothing changes. */
void tr_log_hush(bool hush);

void tr_info(const char *format, ...) TR_PRINTF(1, 2);    /* level >= NORMAL */
void tr_verbose(const char *format, ...) TR_PRINTF(1, 2); /* level >= VERBOSE */
void tr_warn(const char *format, ...) TR_PRINTF(1, 2);    /* always */

/* Who hears what is said on the process that speaks, whatever the level: information,
 * also when quiet, and warnings; without progress. The text is valid during the call,
 * which must say nothing itself. NULL: nobody. */
typedef void tr_log_listener(void *self, bool warning, const char *text);
void tr_log_listen(tr_log_listener *listener, void *self);

/* "PROGRAM: error: SENTENCE", whoever speaks; for main only. */
void tr_log_error(const char *sentence);

/* Progress of one stage: done of total units, with `updates` voxel updates so far
 * for the rate. A line rewritten in place on a terminal, with a bar, in colour unless
 * NO_COLOR is set and not empty; a plain line per tenth elsewhere and where TERM is dumb.
 * Call from one thread. */
void tr_log_progress(const char *stage, double done, double total, double updates,
                     double seconds);

#endif
