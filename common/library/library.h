/* What the files of the library share; private to common/library/. */
#ifndef TR_LIBRARY_H
#define TR_LIBRARY_H

#include <pthread.h>

#include "common/library/tiltrec.h"
#include "tiltrecz/volume.h"

struct tiltrec_operator {
    pthread_mutex_t mutex; /* one call at a time */
    tr_job job;            /* one process, without files */
    tr_volume_plan plan;
    tr_ray *rays;
    tr_volume_operator *volume_operator;
    const tr_linop *A;
    tr_vec x, p; /* data made at first use */
};

/* create.c */
TR_CHECKED tr_status tr_library_create(tiltrec_operator *op, const tiltrec_spec *spec);

/* Every call for an operator is between these: the lock, and the device. A failed begin
 * has ended already. */
TR_CHECKED tr_status tr_library_begin(tiltrec_operator *op, unsigned flags,
                                      unsigned allowed);
void tr_library_end(tiltrec_operator *op);

/* Memory for a vector of the operator's that has none yet. */
TR_CHECKED tr_status tr_library_provide(tiltrec_operator *op, tr_vec *own);

/* A caller's volume or projections as a vector: its own memory with TILTREC_NATIVE,
 * else *own, made where it has no memory yet, and filled from it if `filled`. */
TR_CHECKED tr_status tr_library_volume(tiltrec_operator *op, const float *volume,
                                       bool filled, unsigned flags, tr_vec *own,
                                       tr_vec *v);
TR_CHECKED tr_status tr_library_projections(tiltrec_operator *op,
                                            const float *projections, bool filled,
                                            unsigned flags, tr_vec *own, tr_vec *v);
/* A result into a caller's array, unless it was made there. */
TR_CHECKED tr_status tr_library_give_volume(tiltrec_operator *op, const tr_vec *v,
                                            float *volume, unsigned flags);
TR_CHECKED tr_status tr_library_give_projections(tiltrec_operator *op, const tr_vec *v,
                                                 float *projections, unsigned flags);

#endif
