/* The operator of two series whose axes are about across each other. To the views of the
 * second one the volume's columns are nearly rows: turned over, x along the lanes, the
 * volume has rays like those of a first series, which stay in their rows or nearly so.
 * Kernels are several times as fast for these, windows of rows are narrow, and each
 * series is projected as if it were alone. */
#ifndef TR_VOLUME_ACROSS_H
#define TR_VOLUME_ACROSS_H

#include "tiltrecz/volume.h"

typedef struct tr_volume_across tr_volume_across;

/* For a job whose second axis is across; `first` is the operator of the first series'
 * views, and both stay the caller's. Its projections are those of the first series, then
 * those of the second. Collective. Errors: memory. */
TR_CHECKED tr_status tr_volume_across_new(tr_job *job, const tr_volume_plan *plan,
                                          const tr_linop *first,
                                          tr_volume_across **across);
const tr_linop *tr_volume_across_linop(const tr_volume_across *a);
/* As tr_volume_operator_end, and its free. NULL is fine for both. */
TR_CHECKED tr_status tr_volume_across_end(tr_volume_across *a);
void tr_volume_across_free(tr_volume_across *a);

/* Bytes of all that; 0 where no second axis is across. */
size_t tr_volume_across_bytes(const tr_job *job, const tr_volume_plan *plan);

#endif
