#include "common/views/angle_checks.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/angle.h"
#include "common/base/log.h"
#include "common/base/mem.h"

enum { FEWEST = 3 }; /* views: two may be anything */

/* Degrees. */
static const double smallest_span = 10, largest_xtilt = 20, same_within = 1;

/* The known ones of a list. */
typedef struct angle_facts {
    size_t n;
    double min, max;
    bool round;   /* all in twentieths */
    bool numbers; /* each is the one before and 1, from 0 or 1 on */
} angle_facts;

static angle_facts find_facts(const double *angles, size_t n)
{
    angle_facts f = {.min = INFINITY, .max = -INFINITY, .round = true, .numbers = true};
    double last = NAN;
    for (size_t k = 0; k < n; k++) {
        double a = angles[k];
        if (isnan(a))
            continue;
        f.round = f.round && fabs(remainder(a, 0.05)) < 1e-6;
        f.numbers = f.numbers && (f.n ? a == last + 1.0 : a == 0.0 || a == 1.0);
        f.min = fmin(f.min, a);
        f.max = fmax(f.max, a);
        last = a;
        f.n++;
    }
    return f;
}

/* From 1 on, nobody tilts; from 0 on, a scan over 180 degrees does. */
static bool only_number_views(const angle_facts *f)
{
    enum { MOST = 150 }; /* views of a series that does not go all around */
    return f->numbers &&
           (f->max - f->min < smallest_span || (f->min == 1.0 && f->n < MOST));
}

/* Of a series of many views over a range that is none in degrees, but one in radians. */
static bool are_radians(const angle_facts *f)
{
    enum { ENOUGH = 5 };
    double span = (f->max - f->min) * 180.0 / TR_PI;
    return f->n >= ENOUGH && !f->round && span >= 30.0 && span <= 365.0 &&
           fmax(-f->min, f->max) <= 2.02 * TR_PI;
}

tr_status tr_check_tilts(const char *source, const double *tilts, size_t n,
                         bool xtilts_differ)
{
    angle_facts f = find_facts(tilts, n);
    double span = f.max - f.min;
    if (f.n < FEWEST)
        return TR_OK;
    if (span < 1e-6)
        return xtilts_differ
                   ? TR_OK
                   : tr_fail(TR_ERR_DATA,
                             "%s: all %zu tilt angles are %g; name a file with those of "
                             "the views with -t",
                             source, f.n, f.min + 0.0); /* no -0 */
    if (are_radians(&f))
        return tr_fail(TR_ERR_DATA,
                       "%s: the tilt angles are from %g to %g, which seem to be radians; "
                       "they must be in degrees",
                       source, f.min, f.max);
    if (only_number_views(&f))
        tr_warn("%s: the tilt angles are %g, %g, %g and so on to %g, as if they numbered "
                "the views; if they do, name a file with the angles with -t",
                source, f.min, f.min + 1.0, f.min + 2.0, f.max);
    else if (span < smallest_span && !f.round)
        tr_warn("%s: the tilt angles are from %g to %g, which is very little; are they "
                "those of the views, in degrees?",
                source, f.min, f.max);
    return TR_OK;
}

tr_status tr_check_xtilts(const char *source, const tr_views *views)
{
    double largest = 0.0, apart = 0.0;
    for (size_t k = 0; k < views->n; k++) {
        const tr_view *view = &views->view[k];
        largest = fmax(largest, fabs(view->xtilt));
        /* those of a file have the other sign here */
        apart = fmax(
            apart, fmin(fabs(view->xtilt + view->tilt), fabs(view->xtilt - view->tilt)));
    }
    if (largest <= largest_xtilt)
        return TR_OK;
    if (views->n >= FEWEST && apart <= same_within)
        return tr_fail(TR_ERR_DATA,
                       "%s: the x-tilts are the tilt angles; x-tilts are small tilts "
                       "about the x axis, and most series have none",
                       source);
    tr_warn("%s: x-tilts reach %g degrees; they are tilts about the x axis, which are "
            "small in most series",
            source, largest);
    return TR_OK;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double largest_difference(const double *a, const double *b, size_t n)
{
    double largest = 0.0;
    for (size_t k = 0; k < n; k++)
        largest = fmax(largest, fabs(a[k] - b[k]));
    return largest;
}

tr_status tr_compare_angles(const double *a, const double *b, size_t n,
                            tr_angle_order *order)
{
    *order = TR_OTHER_ANGLES;
    double *x = tr_calloc("angles", 2 * n, sizeof *x);
    if (!x)
        return TR_ERR_MEMORY;
    double *y = x + n;
    size_t known = 0;
    for (size_t k = 0; k < n; k++)
        if (!isnan(a[k]) && !isnan(b[k])) {
            x[known] = a[k];
            y[known++] = b[k];
        }
    double as_they_are = largest_difference(x, y, known);
    qsort(x, known, sizeof *x, by_size);
    qsort(y, known, sizeof *y, by_size);
    if (known >= FEWEST && largest_difference(x, y, known) <= same_within)
        *order = as_they_are <= 2.0 * same_within ? TR_SAME_ORDER : TR_ANOTHER_ORDER;
    free(x);
    return TR_OK;
}

bool tr_are_sorted(const double *angles, size_t n)
{
    bool rise = true, fall = true;
    for (size_t k = 1; k < n; k++) {
        rise = rise && angles[k] >= angles[k - 1];
        fall = fall && angles[k] <= angles[k - 1];
    }
    return rise || fall;
}
