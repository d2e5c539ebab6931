/* The step that WBP and FBP share. */
#ifndef TR_FILTERED_H
#define TR_FILTERED_H

#include "common/algorithms/algorithm.h"
#include "common/algorithms/fourier_sum.h"

/* x = sum over views of (angular width) * backprojection of the filtered view: the
 * discrete inverse of the projection, so that projecting x gives the images back.
 * TR_ERR_UNAVAILABLE where FOURIER is asked for and cannot be had. */
TR_CHECKED tr_status tr_filtered_backprojection(tr_context *c, size_t length,
                                                const float *response,
                                                bool uniform_weights, tr_sum sum,
                                                tr_vec *b, tr_vec *x);

#endif
