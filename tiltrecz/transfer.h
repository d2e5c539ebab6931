/* Rows of views between the processes: from their owners to the windows they are in, or
 * from windows to owners, as many views at a time as make a message worth sending. On
 * GPUs of one machine each process writes what it sends into the memory of the others;
 * where that cannot be, it goes through host memory. What arrives is the same. Own rows
 * do not leave the device. */
#ifndef TR_TRANSFER_H
#define TR_TRANSFER_H

#include "common/run/job.h"

typedef struct tr_transfer tr_transfer;

/* Image rows [first, end). */
typedef struct tr_row_range {
    long first, end;
} tr_row_range;

/* What goes where. Rows are sent to each rank, and come from it. */
typedef enum tr_way { TR_TO_WINDOWS, TR_TO_OWNERS } tr_way;

/* Views of `slab`, whose lines have all rows of that range. Each per rank: `mine` own
 * image rows in its window, `theirs` its image rows in the own window; borrowed, as the
 * slab is. `doubles`: for tr_transfer_send as well. Collective; the same status on all
 * ranks. */
TR_CHECKED tr_status tr_transfer_new(tr_job *job, const tr_slab *slab,
                                     const tr_row_range *mine, const tr_row_range *theirs,
                                     bool doubles, tr_transfer **transfer);
/* No process writes into another one's memory from here on, so that it may be freed.
 * Collective; not after a failure, which the processes end of. */
TR_CHECKED tr_status tr_transfer_end(tr_transfer *t);
void tr_transfer_free(tr_transfer *t); /* NULL is fine */

/* The most bytes that one has, in host memory or in that of a device with its own.
 * `view`: of all columns and rows of a window. */
size_t tr_transfer_bytes(size_t n_views, size_t view, bool doubles);

/* Views at a time, the same on all ranks. */
size_t tr_transfer_most(const tr_transfer *t);

/* Rows of some views, no more than `most`, from a vector whose lane 0 is image row `row0`
 * to another, in the order of the ranks, in the place of what is there or added to it.
 * One at a time, and all ranks make the same calls. What begin is given is not to be
 * changed, but for other views, until finish returns. */
TR_CHECKED tr_status tr_transfer_begin(tr_transfer *t, tr_way way, const tr_subset *views,
                                       const tr_vec *from, long row0);
TR_CHECKED tr_status tr_transfer_finish(tr_transfer *t, bool add, tr_vec *to, long row0);

/* The same of doubles in host memory, where the device's is that: values[view][column]
 * [row] of `n` views for another rank, or from it, contiguous. The caller fills those for
 * others before send, and has those from others after receive. */
double *tr_transfer_outgoing(tr_transfer *t, tr_way way, int rank);
const double *tr_transfer_incoming(const tr_transfer *t, tr_way way, int rank);
TR_CHECKED tr_status tr_transfer_send(tr_transfer *t, tr_way way, size_t n);
TR_CHECKED tr_status tr_transfer_receive(tr_transfer *t);

#endif
