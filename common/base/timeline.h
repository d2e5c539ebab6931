/* When which stage worked, as a file for the trace viewers of web browsers. */
#ifndef TR_TIMELINE_H
#define TR_TIMELINE_H

#include "common/base/comm.h"

/* Seconds of the steady clock. */
double tr_now(void);

typedef struct tr_timeline tr_timeline;

/* An empty one that counts seconds from `start`; NULL when memory is short. */
tr_timeline *tr_timeline_new(double start);
void tr_timeline_free(tr_timeline *timeline); /* NULL is fine */

/* Stage number `stage` worked from `start` to `end`, seconds of tr_now. From any thread;
 * what does not fit in memory is left out, and then tr_timeline_write fails. */
void tr_timeline_add(tr_timeline *timeline, unsigned stage, double start, double end);

/* Write what all processes added, as JSON in the Chrome trace format: a process per rank,
 * a thread per stage, named by names[]. Collective; rank 0 writes. */
TR_CHECKED tr_status tr_timeline_write(tr_timeline *timeline, tr_comm *comm,
                                       const char *const *names, const char *path);

#endif
