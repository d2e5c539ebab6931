/* Where the volume method keeps an algorithm's state: a checkpoint of each process beside
 * the output, and the one before it until all processes have written theirs. */
#ifndef TR_VOLUME_SAVER_H
#define TR_VOLUME_SAVER_H

#include "common/run/job.h"

typedef struct tr_volume_saver tr_volume_saver;

/* *saver is NULL where nothing is to be kept (--checkpoint 0). Collective. */
TR_CHECKED tr_status tr_volume_saver_new(const tr_job *job, tr_volume_saver **saver);
/* For the algorithm's context; NULL for NULL. */
const tr_saver *tr_volume_saver_ops(const tr_volume_saver *saver);
/* The checkpoints stay until the tomogram is there. NULL is fine. */
void tr_volume_saver_free(tr_volume_saver *saver);
/* Remove the checkpoints of this process: the tomogram is complete, and its journal says
 * so. */
void tr_volume_saver_forget(const tr_job *job);

#endif
