/* What the files of the CUDA backend share; private to kernels/. The .cu files are
 * compiled by nvcc, and by the host's C++ compiler against the emulation in
 * tests/cudaemu. */
#ifndef TR_CUDA_STATE_H
#define TR_CUDA_STATE_H

#include "kernels/backend.h"
#include "kernels/cuda/launch.h"

enum tr_cuda_slot { /* scratch memory for different uses at the same time */
                    TR_SCRATCH_ROWS,
                    TR_SCRATCH_PARTS, /* partial sums */
                    TR_SCRATCH_RAYS,
                    TR_SCRATCH_BANDS,
                    TR_SCRATCH_VIEWS,
                    TR_SCRATCH_WORK,
                    TR_SCRATCH_OFFSETS,
                    TR_N_SCRATCH
};

typedef struct tr_cuda {
    int device, left; /* and the calling thread's, between enter and leave */
    cudaDeviceProp properties;
    cudaStream_t compute, up, down, beside; /* that: with `down` */
    tr_kernel kernel;                       /* not AUTO */
    int processes;                          /* that use the device */
    size_t share;        /* of the memory that was free before any of them took some */
    size_t room;         /* of managed memory, so much can still be on the device */
    bool managed;        /* vectors exceed the device: unified memory, */
    bool prefer_managed; /* which is wanted then, */
    struct tr_cuda_planes *planes; /* or volumes lie in host memory; else NULL */
    tr_ray *rays;                  /* of the latest slab: see tr_cuda_exact */
    size_t rays_room;
    tr_offsets offsets; /* of the latest slab of some planes */
    void *scratch[TR_N_SCRATCH];
    size_t scratch_bytes[TR_N_SCRATCH];
    struct tr_cuda_pool *pool;           /* freed vectors, kept for the next slab */
    struct tr_cuda_texture *texture;     /* of the texture kernel, kept as well */
    struct tr_cuda_transform *transform; /* plans of cuFFT, kept as well */
    size_t blocks;                       /* of the latest backprojection, */
    unsigned threads;                    /* with so many threads each: for describe */
    char description[256], arithmetic[256];
} tr_cuda;

/* Turn a failed call into a status and a sentence: "the GPU could not WHAT: out of
 * memory". Running out of memory is TR_ERR_MEMORY and is not sticky; a device that others
 * have, or that there is no code for, TR_ERR_UNAVAILABLE; other failures TR_ERR_DATA. */
tr_status tr_cuda_check(cudaError_t result, const char *what);
#define TR_CUDA(what, call) TR_TRY(tr_cuda_check((call), (what)))

/* After a launch: was it accepted? */
tr_status tr_cuda_launched(const char *kernel);

/* The device's memory, or this process's part of it: the same for all who share it. */
size_t tr_cuda_own_memory(const tr_cuda *c);

/* At least `bytes` of device memory, contents undefined, valid until the next call with
 * this slot (which waits for the compute stream when it must grow) or close. */
tr_status tr_cuda_scratch(tr_cuda *c, tr_cuda_slot slot, size_t bytes, void **memory);

/* Device memory for other uses, freed with cudaFree: where it is short, the freed vectors
 * go first. */
tr_status tr_cuda_malloc(tr_cuda *c, size_t bytes, void **memory);
void tr_cuda_release(tr_cuda *c); /* give the freed vectors back to the device */

/* Host values into a slot's scratch memory; and device memory to the host, after all that
 * was launched. The host's memory is free to be changed, and filled, on return. */
tr_status tr_cuda_put(tr_cuda *c, tr_cuda_slot slot, const void *host, size_t bytes,
                      void **memory);
tr_status tr_cuda_get(tr_cuda *c, const void *memory, void *host, size_t bytes);

/* Whether a vector lies in host memory (tr_cuda_alloc_volume). Kernels may read and write
 * it there, through the bus: what does so more than once goes by planes. */
bool tr_cuda_on_host(const tr_cuda *c, const float *data);

/* The rays of the subset's views in its order, and these views' numbers, both in device
 * memory until the next call: `n` of each. With rays NULL only the numbers. */
tr_status tr_cuda_views(tr_cuda *c, const tr_slab *slab, const tr_subset *views,
                        const tr_ray **rays, const unsigned **numbers, unsigned *n);

/* Blocks of `per_block` threads for n items, as many as keep the device busy: kernels go
 * on in steps of the whole grid. */
unsigned tr_cuda_blocks(const tr_cuda *c, size_t n, unsigned per_block);

/* A launch over lines: threads in x step along a line by the block's width, threads in y
 * and the grid step over the lines. */
typedef struct tr_cuda_shape {
    dim3 grid, block;
} tr_cuda_shape;
tr_cuda_shape tr_cuda_lines(const tr_cuda *c, size_t lines, size_t values);

/* Operations of the backend table, by file: memory.cu, */
tr_status tr_cuda_divide(void *state, int processes);
tr_status tr_cuda_available(void *state, size_t *bytes);
tr_status tr_cuda_reserve(void *state, size_t bytes);
tr_status tr_cuda_alloc(void *state, size_t floats, float **data);
tr_status tr_cuda_alloc_volume(void *state, size_t floats, float **data);
void tr_cuda_free(void *state, float *data);
tr_status tr_cuda_alloc_host(void *state, size_t floats, float **data);
void tr_cuda_free_host(void *state, float *data);
tr_status tr_cuda_upload(void *state, const float *host, float *data, size_t floats);
tr_status tr_cuda_download(void *state, const float *data, float *host, size_t floats);
tr_status tr_cuda_wait(void *state);
tr_status tr_cuda_enter(void *state, bool foreign);
void tr_cuda_leave(void *state);
void tr_cuda_memory_free(tr_cuda *c);
/* planes.cu, */
bool tr_cuda_plane_bytes(void *state, const tr_slab *slab, bool coupled, size_t *least,
                         size_t *most);
tr_status tr_cuda_keep_on_host(void *state, size_t bytes);
void tr_cuda_planes_free(tr_cuda *c);
tr_status tr_cuda_backproject_add(void *state, const tr_slab *slab,
                                  const tr_subset *views, float a, const tr_vec *w,
                                  float low, const tr_vec *p, tr_vec *x);
/* project.cu, */
tr_status tr_cuda_project(void *state, const tr_slab *slab, const tr_subset *views,
                          const tr_vec *x, tr_vec *p);
tr_status tr_cuda_backproject(void *state, const tr_slab *slab, const tr_subset *views,
                              const tr_vec *p, tr_vec *x);
tr_status tr_cuda_row_sums(void *state, const tr_slab *slab, const tr_subset *views,
                           tr_vec *p);
tr_status tr_cuda_col_sums(void *state, const tr_slab *slab, const tr_subset *views,
                           tr_vec *x);
void tr_cuda_texture_free(tr_cuda *c);
/* filter.cu, */
tr_status tr_cuda_filter(void *state, const tr_slab *slab, const tr_filter *filter,
                         tr_vec *p);
void tr_cuda_transform_free(tr_cuda *c);
/* vectors.cu, */
tr_status tr_cuda_fill(void *state, tr_vec *y, float value);
tr_status tr_cuda_copy(void *state, const tr_vec *x, tr_vec *y);
tr_status tr_cuda_axpy(void *state, float a, const tr_vec *x, tr_vec *y);
tr_status tr_cuda_xpay(void *state, const tr_vec *x, float a, tr_vec *y);
tr_status tr_cuda_clamp(void *state, float low, tr_vec *y);
tr_status tr_cuda_shrink(void *state, float t, tr_vec *y);
tr_status tr_cuda_dot(void *state, const tr_vec *x, const tr_vec *y, double *sum);
tr_status tr_cuda_sum_lengths(void *state, const tr_vec *gx, const tr_vec *gy,
                              const tr_vec *gz, double *sum);
tr_status tr_cuda_mul_lines(void *state, const tr_vec *w, tr_vec *y);
tr_status tr_cuda_axpy_lines(void *state, float a, const tr_vec *w, const tr_vec *x,
                             tr_vec *y);
tr_status tr_cuda_invert_guarded(void *state, float tiny, tr_vec *y);
tr_status tr_cuda_row_dots(void *state, const tr_vec *w, const tr_vec *x, const tr_vec *y,
                           double *sums);
tr_status tr_cuda_axpy_rows(void *state, const float *a, const tr_vec *x, tr_vec *y);
tr_status tr_cuda_scale_rows(void *state, const float *a, tr_vec *y);
tr_status tr_cuda_row_squares(void *state, const tr_slab *slab, const tr_subset *views,
                              const tr_vec *p, double *sums);
tr_status tr_cuda_mask_rows(void *state, const tr_slab *slab, const tr_subset *views,
                            const float *mask, tr_vec *p);
tr_status tr_cuda_get_rows(void *state, const tr_vec *v, const tr_rows *rows,
                           float *host);
tr_status tr_cuda_put_rows(void *state, const tr_rows *rows, const float *host, bool add,
                           tr_vec *v);
tr_status tr_cuda_set_rows(void *state, const tr_rows *rows, const size_t *from,
                           tr_vec *v);
/* peers.cu, */
tr_status tr_cuda_copy_views(void *state, const tr_slab *slab, const tr_subset *views,
                             size_t n_rows, const tr_view_rows *from, bool add,
                             const tr_view_rows *to);
tr_status tr_cuda_share(void *state, size_t floats, float **data, tr_handle *handle);
void tr_cuda_unshare(void *state, float *data);
tr_status tr_cuda_attach(void *state, const tr_handle *handle, float **data);
void tr_cuda_detach(void *state, float *data);
/* layout.cu, */
tr_status tr_cuda_lines_from(void *state, const tr_layout *layout, const float *images,
                             tr_vec *v);
tr_status tr_cuda_lines_to(void *state, const tr_layout *layout, const tr_vec *v,
                           bool add, float *images);
/* samples.cu, */
tr_status tr_cuda_take_slices(void *state, const tr_vec *x, const tr_take *take,
                              float *work, void *samples, tr_taken *taken);
/* regularizer.cu. */
tr_status tr_cuda_grad(void *state, const tr_slab *slab, size_t n, const tr_vec *x,
                       const float *above, tr_vec *gx, tr_vec *gy, tr_vec *gz);
tr_status tr_cuda_grad_adjoint(void *state, const tr_slab *slab, size_t n,
                               const tr_vec *gx, const tr_vec *gy, const tr_vec *gz,
                               const float *below, tr_vec *y);
tr_status tr_cuda_shrink_vectors(void *state, float t, tr_vec *gx, tr_vec *gy,
                                 tr_vec *gz);
tr_status tr_cuda_haar(void *state, const tr_slab *slab, size_t n, int levels,
                       bool inverse, tr_vec *x);

#endif
