/* Which of a series' views stand out. */
#ifndef TR_OUTLIERS_H
#define TR_OUTLIERS_H

#include "common/base/err.h"

/* For values that change smoothly with the angle and are the larger the worse a view
 * fits: bad[i] is whether value[i] is above what a robust line through its up to 6
 * neighbours on each side says (Theil 1950, Sen 1968) by more than 6 robust standard
 * deviations (1.4826 times the median of the absolute deviations of all) and by more than
 * `least`, or by `least_at_ends` for the two views at each end, where the line is
 * prolonged, and which do not count if they rise as their inner neighbours do. Fewer than
 * 7 values: none is bad. Errors: TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_outliers(const double *angle, const double *value, size_t n,
                                 double least, double least_at_ends, bool *bad);

#endif
