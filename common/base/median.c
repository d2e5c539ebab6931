#include "common/base/median.h"

#include <stdlib.h>

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double tr_median(double *values, size_t n)
{
    if (!n)
        return 0.0;
    qsort(values, n, sizeof *values, by_number);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2.0;
}

double tr_median_low(double *values, size_t n)
{
    if (!n)
        return 0.0;
    qsort(values, n, sizeof *values, by_number);
    return values[(n - 1) / 2];
}
