/* A volume in Fourier space: filtered by a function of frequency in three dimensions,
 * periodic beyond a box of fast lengths. Rows are shared out; they are exchanged by
 * planes of k_z, so that each process has some lines along y whole. Through host memory.
 */
#ifndef TR_VOLUME_FOURIER_H
#define TR_VOLUME_FOURIER_H

#include "common/base/comm.h"
#include "kernels/backend.h"

typedef struct tr_volume_fourier tr_volume_fourier;

typedef struct tr_volume_fourier_spec {
    tr_comm *comm;
    const tr_backend *backend;
    void *device;
    const tr_slab *slab;   /* its n_x, n_z and cells outside; outlives this */
    size_t n_rows;         /* own, from lane 0 on, */
    const size_t *rows_of; /* and those of each rank, in order */
    int threads;
} tr_volume_fourier_spec;

/* Collective; the same status on all ranks. Errors: memory. */
TR_CHECKED tr_status tr_volume_fourier_new(const tr_volume_fourier_spec *spec,
                                           tr_volume_fourier **fourier);
void tr_volume_fourier_free(tr_volume_fourier *f); /* NULL is fine */

/* The factor at frequencies in cycles per voxel, even in each. From any thread. */
typedef double tr_at_frequency(const void *data, double kx, double ky, double kz);

/* y = the filter of x, which may be the same. The cells outside the field are voxels of
 * one value, and become the sums of theirs; with `means` each voxel has its share of the
 * value, and cells become the means. Lanes that are no own row become 0. Collective. */
TR_CHECKED tr_status tr_volume_fourier_run(tr_volume_fourier *f, tr_at_frequency *factor,
                                           const void *data, bool means, const tr_vec *x,
                                           tr_vec *y);

/* The bytes of one. */
size_t tr_volume_fourier_bytes(size_t n_x, size_t n_z, size_t outer, size_t n_rows,
                               size_t all_rows);

#endif
