#include "common/run/dose_match.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/median.h"
#include "common/base/mem.h"
#include "common/views/dose.h"

static const double SAME_WITHIN = TR_DOSE_SAME_WITHIN;

typedef struct match {
    const tr_dose_angles *in;
    size_t *views, *records; /* that are known, by rising angle */
    size_t n_views, n_records;
    double *apart; /* scratch, of as many */
    bool *taken;   /* of each record */
    long *trial;   /* of each view, as `of` */
    double step;   /* the usual one between records */
} match;

/* As many views as records: by their ranks, which a tilt of the specimen that was taken
 * out of the angles does not change. False where the angles are others. */
static bool match_ranks(match *x, long *of, double *offset)
{
    const double *tilt = x->in->tilt, *theirs = x->in->theirs;
    size_t known = x->n_views;
    for (size_t i = 0; i < known; i++)
        x->apart[i] = tilt[x->views[i]] - theirs[x->records[i]];
    *offset = tr_median(x->apart, known);
    bool in_order = x->in->n == x->in->m;
    for (size_t i = 0; i < known; i++) {
        size_t k = x->views[i];
        if (fabs(tilt[k] - theirs[x->records[i]] - *offset) > SAME_WITHIN)
            return false;
        in_order = in_order && fabs(tilt[k] - theirs[k] - *offset) <= 2.0 * SAME_WITHIN;
    }
    for (size_t i = 0; i < known; i++)
        of[x->views[i]] = (long)(in_order ? x->views[i] : x->records[i]);
    return true;
}

/* Fewer views: the nearest record that is not taken, *offset below the view; that becomes
 * the median of what they differ by. */
static bool match_nearest(match *x, double within, long *of, double *offset)
{
    memset(x->taken, 0, x->n_records * sizeof *x->taken);
    for (size_t i = 0; i < x->n_views; i++) {
        double tilt = x->in->tilt[x->views[i]], least = within;
        size_t best = x->n_records;
        for (size_t j = 0; j < x->n_records; j++) {
            double apart = fabs(tilt - *offset - x->in->theirs[x->records[j]]);
            if (!x->taken[j] && apart <= least &&
                (best == x->n_records || apart < least)) {
                least = apart;
                best = j;
            }
        }
        if (best == x->n_records)
            return false;
        x->taken[best] = true;
        of[x->views[i]] = (long)x->records[best];
        x->apart[i] = tilt - x->in->theirs[x->records[best]];
    }
    *offset = tr_median(x->apart, x->n_views);
    return true;
}

/* ---- fewer views, turned by a good part of a step ---- */

/* Assignments in which all views lie as far above their records, by *offset, the smallest
 * first: to each record that the first view may be of there is one at most. */
static size_t find_turned(match *x, long *of, double offset[2])
{
    size_t found = 0;
    double within = fmin(SAME_WITHIN, 0.25 * x->step);
    double first = x->in->tilt[x->views[0]];
    for (size_t j = 0; j < x->n_records; j++) {
        double at = first - x->in->theirs[x->records[j]];
        if (j > 0 && first - x->in->theirs[x->records[j - 1]] - at <= within)
            continue; /* the same angle twice */
        /* The first view may itself be off: again, about the median. */
        if (!match_nearest(x, 2.0 * within, x->trial, &at) ||
            !match_nearest(x, within, x->trial, &at))
            continue;
        if (found == 0 || fabs(at) < fabs(offset[0])) {
            offset[1] = found ? offset[0] : NAN;
            offset[0] = at;
            memcpy(of, x->trial, x->in->n * sizeof *of);
        } else if (found == 1 || fabs(at) < fabs(offset[1])) {
            offset[1] = at;
        }
        found++;
    }
    return found;
}

static tr_status fail_other(const tr_dose_angles *in)
{
    return tr_fail(TR_ERR_DATA,
                   "%s is about %zu views at other angles than the %zu of %s; "
                   "give the exposures of its views with --dose",
                   in->path, in->m, in->n, in->series);
}

static tr_status match_fewer(match *x, long *of, tr_dose_offset *offset)
{
    offset->taken = 0.0;
    bool near = match_nearest(x, SAME_WITHIN, of, &offset->taken);
    if (near && fabs(offset->taken) <= 0.25 * x->step)
        return TR_OK;
    long *turned = x->trial + x->in->n;
    double at[2] = {NAN, NAN};
    size_t ways = x->step > 0.0 ? find_turned(x, turned, at) : 0;
    if (ways == 0)
        return near ? TR_OK : fail_other(x->in);
    if (ways > 1 && fabs(at[0]) > SAME_WITHIN)
        return tr_fail(TR_ERR_DATA,
                       "the views of %s may be sections of %s that lie %.2f degrees "
                       "beside them, or %.2f; give the exposures of its views with "
                       "--dose",
                       x->in->series, x->in->path, at[0], at[1]);
    memcpy(of, turned, x->in->n * sizeof *of);
    *offset = (tr_dose_offset){.taken = at[0], .other = at[1]};
    return TR_OK;
}

void tr_dose_match_doubt(const tr_dose_angles *in, const tr_dose_offset *offset)
{
    if (!isnan(offset->other))
        tr_warn("the views of %s are taken for the sections of %s that lie %.2f degrees "
                "beside them, but those that lie %.2f beside them fit as well: the "
                "angles do not tell which exposures are theirs",
                in->series, in->path, offset->taken, offset->other);
}

/* ---- both ---- */

static tr_status allocate(match *x)
{
    size_t n = x->in->n, m = x->in->m, most = n > m ? n : m;
    x->views = tr_calloc("the order of views", 2 * most, sizeof *x->views);
    x->apart = tr_calloc("angles", most, sizeof *x->apart);
    x->taken = tr_calloc("the order of views", m, sizeof *x->taken);
    x->trial = tr_calloc("the order of views", 2 * n, sizeof *x->trial);
    if (!x->views || !x->apart || !x->taken || !x->trial)
        return TR_ERR_MEMORY;
    x->records = x->views + most;
    return TR_OK;
}

tr_status tr_dose_match(const tr_dose_angles *in, long *of, tr_dose_offset *offset)
{
    match x = {.in = in};
    *offset = (tr_dose_offset){.taken = 0.0, .other = NAN};
    tr_status status = allocate(&x);
    if (status == TR_OK) {
        for (size_t k = 0; k < in->n; k++)
            of[k] = x.trial[k] = TR_NO_RECORD;
        x.n_views = tr_order_by(in->tilt, in->n, x.views);
        x.n_records = tr_order_by(in->theirs, in->m, x.records);
        for (size_t j = 1; j < x.n_records; j++)
            x.apart[j - 1] = in->theirs[x.records[j]] - in->theirs[x.records[j - 1]];
        x.step = x.n_records > 1 ? tr_median_low(x.apart, x.n_records - 1) : 0.0;
        if (x.n_views != x.n_records)
            status = match_fewer(&x, of, offset);
        else if (!match_ranks(&x, of, &offset->taken))
            status = fail_other(in);
    }
    free(x.views);
    free(x.apart);
    free(x.taken);
    free(x.trial);
    return status;
}
