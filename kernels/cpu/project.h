/* The projectors of one instruction set. project.c is compiled once for each, with
 * TR_ISA naming it; backend.c picks one at run time. Arguments as in backend.h. */
#ifndef TR_CPU_PROJECT_H
#define TR_CPU_PROJECT_H

#include "kernels/backend.h"
#include "kernels/cpu/fft.h"
#include "kernels/cpu/gridding.h"

typedef struct tr_projectors {
    const char *name;
    int width; /* floats in a vector */
    /* For independent rows, and for any rays. */
    void (*project)(const tr_slab *slab, const tr_subset *views, const float *x, float *p,
                    int threads);
    void (*backproject)(const tr_slab *slab, const tr_subset *views, const float *p,
                        float *x, int threads);
    void (*project_general)(const tr_slab *slab, const tr_subset *views, const float *x,
                            float *p, int threads);
    void (*backproject_general)(const tr_slab *slab, const tr_subset *views,
                                const float *p, float *x, int threads);
    /* The same as sums, with what lies outside the field. */
    void (*project_sums)(const tr_slab *slab, const tr_subset *views, const float *x,
                         const double *quantum, double *sums, int threads);
    /* What lies outside the field: p += its projection; and the cells become the adjoint
     * of p. Any rays but those that run along a row; independent ones with ux > 0. */
    void (*project_outer)(const tr_slab *slab, const tr_subset *views, const float *x,
                          float *p, int threads);
    void (*backproject_outer)(const tr_slab *slab, const tr_subset *views, const float *p,
                              float *x, int threads);
    /* Filter TR_LANES rows from `lane` on of view `view` and, if there is one, the next:
     * gain[i] = response / length at frequency fft->frequency[i], which is not read where
     * each view of a pair has a response of its own. work: room for 2 x length x width
     * floats, aligned as vectors are. */
    void (*filter_pair)(const tr_slab *slab, const tr_filter *filter, const tr_fft *fft,
                        const float *gain, size_t view, size_t lane, float *p,
                        float *work);
    /* All rows by gridding in Fourier space: gridding_body.h, gridding_forward_body.h. */
    void (*backproject_fourier)(const tr_slab *slab, const tr_gridding *plan,
                                const tr_gridding_work *work, const float *p, float *x);
    void (*project_fourier)(const tr_slab *slab, const tr_gridding *plan,
                            const tr_gridding_work *work, const float *x, float *p);
} tr_projectors;

extern const tr_projectors tr_projectors_baseline, tr_projectors_avx2,
    tr_projectors_avx512, tr_projectors_neon; /* those that the build has */

#endif
