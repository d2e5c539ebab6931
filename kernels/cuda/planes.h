/* Operations on volumes in host memory (tr_backend's keep_on_host) that use a value more
 * than once: they go over them slab of planes by slab. Private to kernels/. */
#ifndef TR_CUDA_PLANES_H
#define TR_CUDA_PLANES_H

#include "kernels/cuda/state.h"

/* The operations of these names, of volumes in host memory: the same bytes as of those on
 * the device. The slab of the first two is that of tr_cuda_exact. */
tr_status tr_cuda_planes_backproject(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                                     const float *p, float *x);
tr_status tr_cuda_planes_project(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                                 const float *x, float *p);
tr_status tr_cuda_planes_grad(tr_cuda *c, const tr_slab *s, size_t n, const tr_vec *x,
                              const float *above, tr_vec *gx, tr_vec *gy, tr_vec *gz);
tr_status tr_cuda_planes_grad_adjoint(tr_cuda *c, const tr_slab *s, size_t n,
                                      const tr_vec *gx, const tr_vec *gy,
                                      const tr_vec *gz, const float *below, tr_vec *y);
tr_status tr_cuda_planes_haar(tr_cuda *c, const tr_slab *s, size_t n, int levels,
                              bool inverse, tr_vec *x);

#endif
