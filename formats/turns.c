#include "formats/turns.h"

#include <math.h>

static void span(const double *degrees, size_t n, double *low, double *high)
{
    *low = *high = n ? degrees[0] : 0;
    for (size_t i = 1; i < n; i++) {
        *low = fmin(*low, degrees[i]);
        *high = fmax(*high, degrees[i]);
    }
}

bool tr_remove_turns(double *degrees, size_t n)
{
    double low, high;
    span(degrees, n, &low, &high);
    if (low >= -360 && high <= 360)
        return false;
    double turns = 360 * trunc(low / 360);
    if (high - turns > 360 || low - turns < -360)
        turns = 360 * round((low + high) / 720);
    bool together = low - turns >= -360 && high - turns <= 360;
    for (size_t i = 0; i < n; i++)
        degrees[i] = together ? degrees[i] - turns : remainder(degrees[i], 360);
    return true;
}

bool tr_counts_on(const double *degrees, size_t n)
{
    if (n < 3)
        return false;
    double direction = degrees[1] > degrees[0] ? 1 : -1;
    bool ones = true;
    for (size_t i = 1; i < n; i++) {
        double step = direction * (degrees[i] - degrees[i - 1]);
        if (!(step > 0 && step <= 90))
            return false;
        ones = ones && step == 1;
    }
    return !ones;
}
