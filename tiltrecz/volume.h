/* The volume method: the whole volume at once, its rows of y shared out over the
 * processes, projections likewise by image rows; no process holds all of it. Rays may
 * leave their row (x-tilts of single views, rotation within the image): the image rows a
 * process needs beyond its own come from the others. With a pitch and nothing else, rows
 * are those of the frame (x, y', z') of common/geometry/geometry.h, independent of each
 * other, and the output's slices are interpolated from them at the end. */
#ifndef TR_VOLUME_H
#define TR_VOLUME_H

#include "common/run/job.h"

extern const tr_method tr_whole_volume;

/* How the volume is shared and what a process holds. */
typedef struct tr_volume_plan {
    bool coupled;               /* rays leave their row */
    bool pitched;               /* rows are y' instead of slices */
    size_t planes;              /* of a row: the thickness, or those of the frame, */
    double z0;                  /* plane 0 at this z' */
    size_t first, rows;         /* this process's rows of the volume, and image rows */
    size_t all_first, all_rows; /* those of all processes */
    size_t beside;     /* columns of projections beyond each side of the image, which only
                          responses read (model.h) */
    size_t lanes;      /* rows, rounded up to whole vectors */
    long window_first; /* image rows this process's rays read and write: may lie */
    size_t window_rows; /* outside the image; the own rows unless coupled */
    size_t window_lanes;
    size_t bytes;        /* in host memory, */
    size_t device_bytes; /* and of vectors in that of a device with its own */
    size_t excess;       /* of these, more than the device has */
    size_t plane_bytes; /* of device_bytes, for planes of volumes that lie in host memory;
                           0: they lie on the device */
} tr_volume_plan;

/* Views that the operator of the volume's rows has: those of a second series too, unless
 * these have an operator of their own (across.h). */
static inline size_t tr_volume_views(const tr_job *job)
{
    return job->second && job->second->turned ? job->geometry.n_views : tr_job_views(job);
}

/* ---- share.c ---- */

/* The share of process `rank`: slices in pairs, so that what looks at pairs of rows never
 * needs two processes. */
void tr_volume_share(const tr_volume_plan *plan, const tr_comm *comm, int rank,
                     size_t *first, size_t *rows);

/* The plan's rows and planes, of this process and of all; `beside` is read, its bytes are
 * left alone. Needs of the job: comm, geometry, transforms or rays, first_slice and
 * output_spec.n_slices.
 */
void tr_volume_plan_rows(const tr_job *job, tr_volume_plan *plan);

/* The ray of a view for slices from `slice` on and image rows from `row` on. */
tr_ray tr_volume_ray(const tr_job *job, size_t view, size_t slice, long row);

/* ---- plan.c ---- */

/* tr_method's plan for this method; *plan is a tr_volume_plan. */
TR_CHECKED tr_status tr_volume_plan_make(const tr_job *job, void **plan);
/* Bytes that the operator holds, beside the algorithm's vectors. */
size_t tr_volume_operator_bytes(const tr_job *job, const tr_volume_plan *plan);

/* ---- pitched.c ---- */

/* For a pitched volume: this process's rows of the initial volume into x; all
 * of its rows to the output, which takes rows of other processes (collective); and the
 * bytes that either takes. */
TR_CHECKED tr_status tr_pitched_load_initial(const tr_job *job,
                                             const tr_volume_plan *plan, const tr_vec *x);
TR_CHECKED tr_status tr_pitched_write(tr_job *job, const tr_volume_plan *plan,
                                      const tr_vec *x);
size_t tr_pitched_bytes(const tr_job *job, const tr_volume_plan *plan);

/* ---- whole_volume.c ---- */

/* Whether the slice method (tiltrec/) makes the same of the job: the algorithm
 * backprojects once, and rows are slices that are independent of each other. Nothing of
 * the volume is needed twice then, and slabs of it are written while the next ones are
 * computed. Needs of the job what tr_volume_plan_rows needs, and the algorithm. */
bool tr_volume_by_slabs(const tr_job *job);

/* Bytes for slices on their way to or from a file, unless the volume is pitched. */
size_t tr_volume_group_bytes(const tr_job *job);
/* And of a device's memory, where it makes slices of the volume that it has. */
size_t tr_volume_take_bytes(const tr_job *job);
/* For rows of a second series that are transposed while they are read. */
size_t tr_volume_second_bytes(const tr_job *job);

/* ---- volume.c ---- */

/* The operator: made once, after the data are read. */
typedef struct tr_volume_operator tr_volume_operator;
TR_CHECKED tr_status tr_volume_operator_new(tr_job *job, const tr_volume_plan *plan,
                                            tr_volume_operator **op);
const tr_linop *tr_volume_linop(const tr_volume_operator *op);
/* Its time and work count as those of another job. */
void tr_volume_operator_counts_for(tr_volume_operator *op, tr_job *job);
/* Before that, where no process has failed; collective. */
TR_CHECKED tr_status tr_volume_operator_end(tr_volume_operator *op);
void tr_volume_operator_free(tr_volume_operator *op); /* NULL is fine */

#endif
