/* Statistics of a volume, slice by slice. */
#ifndef TR_STATISTICS_H
#define TR_STATISTICS_H

#include "formats/format.h"
#include "kernels/samples.h"

typedef struct tr_slice_sums {
    double min, max, mean, squares; /* squares: about the mean */
    double check;                   /* the sum of tr_verify_line */
} tr_slice_sums;

/* A slice is measured as the file will hold it: integers and float16 after the rounding.
 * Its first n values, at least 1 and TR_MEASURE_START if it has as many, tell about where
 * its mean is; then tr_samples' measure gets all of it, in any pieces. */
void tr_measure_begin(const float *values, size_t n, tr_measuring *m);
tr_slice_sums tr_measure_end(const tr_measuring *m); /* but the checksum */

/* Of all slices, of n values each: always added up in their order, so that the ranks do
 * not show in the header. */
tr_statistics tr_slices_total(const tr_slice_sums *sums, size_t n_slices, double n);

#endif
