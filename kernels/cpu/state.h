/* What the files of the CPU backend share; private to kernels/. */
#ifndef TR_CPU_STATE_H
#define TR_CPU_STATE_H

#include "kernels/backend.h"
#include "kernels/cpu/project.h"

typedef struct tr_cpu {
    int threads;
    const tr_projectors *projectors;
    char description[80], arithmetic[200];
    float *room; /* what gridding works in, kept from one slab to the next */
    size_t room_floats;
} tr_cpu;

/* backend.c: alloc of the backend table; freed with free(). */
tr_status tr_cpu_alloc(void *state, size_t floats, float **data);

/* The filter operation of the backend table. */
tr_status tr_cpu_filter(void *state, const tr_slab *slab, const tr_filter *filter,
                        tr_vec *p);
/* The same for any length, more slowly; and the error where memory is short. */
tr_status tr_cpu_filter_fftw(const tr_cpu *cpu, const tr_slab *slab,
                             const tr_filter *filter, tr_vec *p);
tr_status tr_cpu_filter_memory(const tr_filter *filter);
/* Pairs of views and TR_LANES lanes of them, shared out to the threads: run(data, view,
 * lane, room) of each. `work` has `room` floats for each thread. */
void tr_cpu_share_pairs(const tr_cpu *cpu, const tr_slab *slab,
                        void (*run)(void *data, size_t view, size_t lane, float *room),
                        void *data, float *work, size_t room);
/* sums.c: long sums by parts of so many lines, or values, which are added up in their
 * order: so threads, which share out the parts, do not show in the result. Part k ends
 * before the first of `n`. */
enum { TR_CPU_LINES = 256, TR_CPU_CHUNK = 4096 };
static inline size_t tr_cpu_part_end(size_t k, size_t length, size_t n)
{
    return n - k * length < length ? n : (k + 1) * length;
}
/* Zeros, part[parts][sums]; NULL, and the error, where memory is short. And their sums,
 * after which they are gone. */
double *tr_cpu_new_parts(size_t parts, size_t sums);
void tr_cpu_add_parts(double *part, size_t parts, size_t n, double *sums);
/* Row and column sums of the backend table. */
tr_status tr_cpu_row_sums(void *state, const tr_slab *slab, const tr_subset *views,
                          tr_vec *p);
tr_status tr_cpu_col_sums(void *state, const tr_slab *slab, const tr_subset *views,
                          tr_vec *x);

/* layout.c: between a caller's arrays and vectors. */
tr_status tr_cpu_lines_from(void *state, const tr_layout *layout, const float *images,
                            tr_vec *v);
tr_status tr_cpu_lines_to(void *state, const tr_layout *layout, const tr_vec *v, bool add,
                          float *images);

/* regularizer.c: what regularizers need, of the backend table. */
tr_status tr_cpu_grad(void *state, const tr_slab *slab, size_t n, const tr_vec *x,
                      const float *above, tr_vec *gx, tr_vec *gy, tr_vec *gz);
tr_status tr_cpu_grad_adjoint(void *state, const tr_slab *slab, size_t n,
                              const tr_vec *gx, const tr_vec *gy, const tr_vec *gz,
                              const float *below, tr_vec *y);
tr_status tr_cpu_shrink_vectors(void *state, float t, tr_vec *gx, tr_vec *gy, tr_vec *gz);
tr_status tr_cpu_sum_lengths(void *state, const tr_vec *gx, const tr_vec *gy,
                             const tr_vec *gz, double *sum);
tr_status tr_cpu_row_lengths(void *state, const tr_vec *gx, const tr_vec *gy,
                             const tr_vec *gz, double *sums);
tr_status tr_cpu_haar(void *state, const tr_slab *slab, size_t n, int levels,
                      bool inverse, tr_vec *x);

#endif
