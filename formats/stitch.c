#include "formats/stitch.h"

#include <math.h>

bool tr_stitch_init(size_t n, double shift, tr_stitch *s)
{
    double last = (double)n - 1.0, mirror = last + 2.0 * shift;
    *s = (tr_stitch){.n = n, .width = n, .mirror = mirror, .first = 0, .end = n};
    if (!(fabs(shift) < 0.5 * last))
        return false;
    if (shift >= 0.0) {
        s->width = (size_t)floor(mirror) + 1;
        s->first = (size_t)ceil(mirror - last);
    } else {
        s->added_left = (size_t)floor(last - mirror);
        s->width = n + s->added_left;
        s->end = (size_t)floor(mirror) + 1;
    }
    return s->width > n && s->end > s->first;
}

double tr_stitch_middle(const tr_stitch *s)
{
    return 0.5 * ((double)s->width - (double)s->n) - (double)s->added_left;
}

static double at(const float *p, size_t n, double x)
{
    long i = (long)floor(x), last = (long)n - 1;
    double f = x - (double)i, v[4];
    for (long k = 0; k < 4; k++) {
        long j = i - 1 + k;
        v[k] = p[j < 0 ? 0 : j > last ? last : j];
    }
    if (f == 0.0)
        return v[1];
    double a = 0.5 * (v[3] - v[0]) + 1.5 * (v[1] - v[2]);
    double b = v[0] - 2.5 * v[1] + 2.0 * v[2] - 0.5 * v[3];
    return ((a * f + b) * f + 0.5 * (v[2] - v[0])) * f + v[1];
}

void tr_stitch_line(const tr_stitch *s, const float *view, const float *other, float *out)
{
    double steps = (double)(s->end - s->first) + 1.0;
    for (size_t c = 0; c < s->width; c++) {
        double u = (double)c - (double)s->added_left, weight = 1.0;
        bool inside = c >= s->added_left && c - s->added_left < s->n;
        size_t column = inside ? c - s->added_left : 0;
        if (!inside)
            weight = 0.0;
        else if (column >= s->first && column < s->end)
            weight = s->added_left ? (double)(column + 1) / steps
                                   : (double)(s->n - column) / steps;
        double x = weight > 0.0 ? view[column] : NAN;
        double y = weight < 1.0 ? at(other, s->n, s->mirror - u) : NAN;
        out[c] = (float)(isnan(y) ? x : isnan(x) ? y : weight * x + (1.0 - weight) * y);
    }
}
