/* What the volume method adds for a model of the views (tr_view_params): responses
 * between projection and image, and what algorithms weight by. */
#ifndef TR_VOLUME_MODEL_H
#define TR_VOLUME_MODEL_H

#include "common/algorithms/model.h"
#include "tiltrecz/volume.h"

typedef struct tr_volume_model tr_volume_model;

/* Columns that a view is projected beyond each side of the image, and rows that are added
 * while it is transformed: as far as the responses spread a point. 0 without. */
size_t tr_volume_beside(const tr_job *job);

/* Of the job's views; A is the volume's operator on images with these columns. *model is
 * NULL where the job has none. Collective. Errors: memory. */
TR_CHECKED tr_status tr_volume_model_new(const tr_job *job, const tr_volume_plan *plan,
                                         const tr_linop *A, tr_volume_model **model);
void tr_volume_model_free(tr_volume_model *m); /* NULL is fine */

/* The operator with the responses, or A itself; and for tr_context, or NULL. */
const tr_linop *tr_volume_model_linop(const tr_volume_model *m, const tr_linop *A);
const tr_model *tr_volume_model_of(const tr_volume_model *m);

/* The bytes of one. */
size_t tr_volume_model_bytes(const tr_job *job, const tr_volume_plan *plan);

#endif
