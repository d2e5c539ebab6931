/* The step that WBP and FBP share. */
#ifndef TR_FILTERED_H
#define TR_FILTERED_H

#include "common/algorithms/algorithm.h"

/* How views are summed: directly, each voxel reading its two columns of every view, or by
 * gridding in Fourier space. AUTO takes what is faster by a count of operations, so that
 * it depends on sizes alone. */
typedef enum tr_sum { TR_SUM_AUTO, TR_SUM_DIRECT, TR_SUM_FOURIER } tr_sum;
#define TR_SUM_NAMES "auto direct fourier"
#define TR_SUM_OPTION "sum"

/* Whether that is in Fourier space for these sizes of a field, where it can be had. */
bool tr_sum_is_fourier(tr_sum sum, size_t n_views, size_t n_u, size_t n_x, size_t n_z);
/* The error where it cannot be had. */
TR_CHECKED tr_status tr_sum_unavailable(void);

/* x = sum over views of (angular width) * backprojection of the filtered view: the
 * discrete inverse of the projection, so that projecting x gives the images back.
 * TR_ERR_UNAVAILABLE where FOURIER is asked for and cannot be had. */
TR_CHECKED tr_status tr_filtered_backprojection(tr_context *c, size_t length,
                                                const float *response,
                                                bool uniform_weights, tr_sum sum,
                                                tr_vec *b, tr_vec *x);

#endif
