/* Whether iterative methods count with a specimen that goes on beyond the field, and with
 * how many cells (kernels/outer_body.h). */
#ifndef TR_OUTSIDE_H
#define TR_OUTSIDE_H

#include "common/run/job.h"

typedef enum tr_outside_choice {
    TR_OUTSIDE_AUTO,
    TR_OUTSIDE_CONTINUE,
    TR_OUTSIDE_ZERO
} tr_outside_choice;

/* The cells on each side of a row that rays pass outside the volume's width; 0 where no
 * ray leaves it sideways. `whole_volume`: in a program that holds it all, where rays
 * leave their row if views have x-tilts or transforms (job->transforms) of their own. The
 * geometry need not be the job's. Errors: TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_outside_cells(const tr_job *job, const tr_geometry *g,
                                      bool whole_volume, size_t *cells);

/* Decide for the job, whose series is open: job->outside and the cells of its geometry.
 * auto continues where job->noise says that the edges are as strong as the middle.
 * Errors: TR_ERR_UNAVAILABLE where `continue` is asked for and tilts go beyond 80
 * degrees: such rays run along the rows, through cells without end. */
TR_CHECKED tr_status tr_outside_decide(tr_job *job, tr_outside_choice choice,
                                       bool whole_volume);

/* Say what was measured and decided. */
void tr_outside_print(const tr_job *job);

/* Cells in host memory from the core's outermost columns, which they repeat: lines[] as a
 * volume has them, `planes` x `width` core lines of `rows` values, and the cells behind
 * them. */
void tr_outside_repeat(size_t planes, size_t width, size_t cells, size_t rows,
                       float *lines);

#endif
