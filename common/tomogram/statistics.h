/* Statistics of a volume, slice by slice. */
#ifndef TR_STATISTICS_H
#define TR_STATISTICS_H

#include "formats/format.h"

typedef struct tr_slice_sums {
    double min, max, mean, squares; /* squares: about the mean */
    double check;                   /* tr_verify_slice */
} tr_slice_sums;

/* Of n values, at least 1, as the file will hold them: for integers and float16, after
 * the rounding. */
tr_slice_sums tr_slice_measure(const float *values, size_t n);

/* Whether none of n values is NaN or infinite. */
bool tr_all_finite(const float *values, size_t n);

/* Of all slices, of n values each: always added up in their order, so that the ranks do
 * not show in the header. */
tr_statistics tr_slices_total(const tr_slice_sums *sums, size_t n_slices, double n);

#endif
