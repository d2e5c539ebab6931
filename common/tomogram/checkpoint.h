/* A file of what an iteration goes on from: whole under its name, or not there. */
#ifndef TR_CHECKPOINT_H
#define TR_CHECKPOINT_H

#include <stdint.h>

#include "common/base/err.h"

typedef struct tr_checkpoint tr_checkpoint;

/* Write: create, put any number of pieces, then commit, which syncs the file and gives it
 * its name; or abandon. `fingerprint` as for tr_journal_spec. Errors name the file. */
TR_CHECKED tr_status tr_checkpoint_create(const char *path, const char *fingerprint,
                                          long iteration, tr_checkpoint **checkpoint);
TR_CHECKED tr_status tr_checkpoint_put(tr_checkpoint *checkpoint, const void *data,
                                       size_t bytes);
TR_CHECKED tr_status tr_checkpoint_commit(tr_checkpoint *checkpoint);
void tr_checkpoint_abandon(tr_checkpoint *checkpoint); /* NULL is fine */

/* The iteration of a checkpoint that is complete, by its check sum; 0 where there is no
 * file, or a damaged one. TR_ERR_USAGE where it is of other data or parameters. */
TR_CHECKED tr_status tr_checkpoint_look(const char *path, const char *fingerprint,
                                        long *iteration);

/* Read: open, get the same pieces in the same order, then abandon. */
TR_CHECKED tr_status tr_checkpoint_open(const char *path, tr_checkpoint **checkpoint);
TR_CHECKED tr_status tr_checkpoint_get(tr_checkpoint *checkpoint, void *data,
                                       size_t bytes);

/* Remove the file, and what a process that was killed left of one that it was writing. */
void tr_checkpoint_remove(const char *path);

#endif
