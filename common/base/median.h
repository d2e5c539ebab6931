#ifndef TR_MEDIAN_H
#define TR_MEDIAN_H

#include <stddef.h>

/* The middle one of n values, or the mean of the two; sorts them. 0 of none. */
double tr_median(double *values, size_t n);

/* The middle one, or the lower of the two: always one of the values. The same otherwise.
 */
double tr_median_low(double *values, size_t n);

#endif
