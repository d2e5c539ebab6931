/* What becomes of a projection on its way to the image as a part of the operator: each
 * view, whole, is multiplied by a response in Fourier space,
 *
 *   p -> M F^-1 H F Z p,
 *
 * H real and even, so that this is symmetric but for M, which makes the columns 0 that
 * the detector does not have; Z adds zeros, so that nothing comes in from the other side.
 * Its adjoint is Z^T F^-1 H F Z M. Each process has some rows of all views, and filters
 * whole ones of its share: rows are exchanged before and after. Through host memory. */
#ifndef TR_RESPONSES_H
#define TR_RESPONSES_H

#include "common/algorithms/linop.h"
#include "common/base/comm.h"
#include "tiltrecz/transfer.h"

typedef struct tr_responses tr_responses;

typedef struct tr_responses_spec {
    tr_comm *comm;
    const tr_linop *A;        /* that projects, from lane 0 on; outlives this */
    const tr_row_range *rows; /* of each rank: the first begins with 0, the next where it
                                 ends */
    size_t beside;            /* columns on each side that the detector does not have */
    size_t spread;            /* rows that the response spreads a point over */
    int threads;
    /* response[nx][ny/2 + 1] of a view, ny along the rows' axis. From any thread. */
    tr_status (*fill)(const void *data, size_t view, size_t nx, size_t ny,
                      float *response);
    const void *data;
} tr_responses_spec;

/* Collective; the same status on all ranks. Errors: memory, and those of fill. */
TR_CHECKED tr_status tr_responses_new(const tr_responses_spec *spec, tr_responses **r);
void tr_responses_free(tr_responses *r); /* NULL is fine */

/* The operator on images; its functions are collective. */
const tr_linop *tr_responses_linop(const tr_responses *r);

/* The bytes of that, about. */
size_t tr_responses_bytes(size_t n_views, size_t n_u, size_t n_rows, size_t spread,
                          int ranks, int threads);

#endif
