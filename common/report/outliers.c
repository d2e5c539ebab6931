#include "common/report/outliers.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/median.h"

enum { SIDE = 6, FEWEST = 7 };

typedef struct point {
    double angle, value;
    size_t at;
} point;

static int by_angle(const void *a, const void *b)
{
    const point *p = a, *q = b;
    if (p->angle != q->angle)
        return p->angle < q->angle ? -1 : 1;
    return (p->at > q->at) - (p->at < q->at);
}

/* What the neighbours of point i say of it. */
static double expect(const point *p, size_t n, size_t i)
{
    double slopes[2 * SIDE * 2 * SIDE], values[2 * SIDE] = {0};
    size_t near[2 * SIDE], m = 0, pairs = 0;
    for (size_t k = i > SIDE ? i - SIDE : 0; k < n && k <= i + SIDE; k++)
        if (k != i)
            near[m++] = k;
    for (size_t a = 0; a < m; a++)
        for (size_t b = a + 1; b < m; b++) {
            double run = p[near[b]].angle - p[near[a]].angle;
            if (run > 1e-9)
                slopes[pairs++] = (p[near[b]].value - p[near[a]].value) / run;
        }
    double slope = pairs ? tr_median(slopes, pairs) : 0.0;
    for (size_t a = 0; a < m; a++)
        values[a] = p[near[a]].value - slope * (p[near[a]].angle - p[i].angle);
    return tr_median(values, m);
}

/* Whether a value at an end goes on as its two inner neighbours rise. */
static bool goes_on(const point *p, size_t i, bool first)
{
    double one = p[first ? i + 1 : i - 1].value, two = p[first ? i + 2 : i - 2].value;
    return p[i].value <= one + 2.0 * fmax(one - two, 0.0);
}

static void judge(const point *p, size_t n, double least, double least_at_ends,
                  double *above, double *spread, bool *bad)
{
    for (size_t i = 0; i < n; i++) {
        above[i] = p[i].value - expect(p, n, i);
        spread[i] = fabs(above[i]);
    }
    double limit = 6.0 * 1.4826 * tr_median(spread, n);
    for (size_t i = 0; i < n; i++) {
        bool at_end = i < 2 || i + 2 >= n;
        bad[p[i].at] = above[i] > fmax(limit, at_end ? least_at_ends : least) &&
                       !(at_end && goes_on(p, i, i < 2));
    }
}

tr_status tr_outliers(const double *angle, const double *value, size_t n, double least,
                      double least_at_ends, bool *bad)
{
    point *p = tr_calloc("the views", n, sizeof *p);
    double *work = tr_calloc("the views", 2 * n, sizeof *work);
    tr_status status = p && work ? TR_OK : TR_ERR_MEMORY;
    for (size_t i = 0; i < n && status == TR_OK; i++) {
        p[i] = (point){angle[i], value[i], i};
        bad[i] = false;
    }
    if (status == TR_OK && n >= FEWEST) {
        qsort(p, n, sizeof *p, by_angle);
        judge(p, n, least, least_at_ends, work, work + n, bad);
    }
    free(p);
    free(work);
    return status;
}
