/* Pixels of a second series that do not count (tr_second_axis.masked): their rays pass
 * through what lies beyond the first or the last slice, which the volume does not have.
 * The first series sees what is beyond the field to the left and right, for which there
 * are cells outside; for a second axis across, these directions are exchanged. */
#ifndef TR_VOLUME_MASK_H
#define TR_VOLUME_MASK_H

#include "tiltrecz/volume.h"

typedef struct tr_volume_mask tr_volume_mask;

/* The vectors of projections that it takes: itself and the operator's workspace. */
size_t tr_volume_mask_projections(const tr_job *job);

/* For the volume's operator A, which must outlive it; *mask is NULL where all pixels
 * count. Collective. Errors: memory. */
TR_CHECKED tr_status tr_volume_mask_new(const tr_job *job, const tr_volume_plan *plan,
                                        const tr_linop *A, tr_volume_mask **mask);
void tr_volume_mask_free(tr_volume_mask *m); /* NULL is fine */

/* x -> mask * A x. */
const tr_linop *tr_volume_mask_linop(const tr_volume_mask *m);
/* b = mask * b; nothing where m is NULL. */
TR_CHECKED tr_status tr_volume_mask_data(const tr_volume_mask *m, tr_vec *b);

#endif
