#include "common/alignment/alignment_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/median.h"
#include "common/base/mem.h"
#include "common/alignment/alignment_private.h"

/* Found by planting errors in simulated series (manual/checking-alignment.md). */
static const double least_peak = 6.0, least_lead = 1.15; /* over the rms, the next */
static const double least_move = 0.3;                    /* pixels worth another round */
static const double least_off = 0.75, off_errors = 5.0, off_spreads = 5.0,
                    most_spread = 0.3;
static const double group_tilt = 20.0 * TR_RADIANS;
enum { MOST_ROUNDS = 12, NEIGHBOURS = 2 };

static bool stands_out(const tr_check_peak *p)
{
    return p->peak >= least_peak && p->peak >= least_lead * p->next;
}

/* ---- depth of the specimen ---- */

static double mean_correlation(const tr_check_work *w)
{
    double sum = 0.0;
    for (size_t k = 0; k < w->n; k++)
        sum += tr_check_correlation(w, k);
    return sum / (double)w->n;
}

static double vertex(double before, double at, double after)
{
    double bend = before - 2.0 * at + after;
    return bend < 0.0 ? fmax(-1.0, fmin(1.0, 0.5 * (before - after) / bend)) : 0.0;
}

/* Predictions take the specimen to be around z = 0; where it is not, the outermost views,
 * which have neighbours on one side only, would seem to be shifted. */
static void find_depth(tr_check_work *w)
{
    enum { STEPS = 11, MIDDLE = STEPS / 2 };
    double value[STEPS], step = w->source->thickness / (STEPS - 1);
    int best = 0;
    for (int i = 0; i < STEPS; i++) {
        w->depth = step * (i - MIDDLE);
        tr_check_predict(w);
        value[i] = mean_correlation(w);
        best = value[i] > value[best] ? i : best;
    }
    double part = best > 0 && best < STEPS - 1
                      ? vertex(value[best - 1], value[best], value[best + 1])
                      : 0.0;
    w->depth = step * (best - MIDDLE + part);
}

/* ---- rounds ---- */

static double length(const tr_check_work *w, size_t k, const tr_check_peak *p)
{
    return hypot(p->at[0] * cos(w->source->tilt[k]), p->at[1]);
}

/* How much better view k would agree if it were moved; 0: it stays. */
static double gain(const tr_check_work *w, size_t k, const tr_check_peak *p)
{
    bool moves = stands_out(&p[k]) && length(w, k, &p[k]) > least_move;
    return moves ? p[k].peak - p[k].zero : 0.0;
}

/* A view that is off also spoils what its neighbours are compared with: of neighbours
 * only the one that gains most is moved at a time. False: none is. */
static bool move_views(tr_check_work *w, const tr_check_peak *p)
{
    bool any = false;
    for (size_t i = 0; i < w->n; i++) {
        size_t k = w->order[i], first = i > NEIGHBOURS ? i - NEIGHBOURS : 0;
        double own = gain(w, k, p);
        bool most = own > 0.0;
        for (size_t j = first; j <= i + NEIGHBOURS && j < w->n; j++) {
            double other = gain(w, w->order[j], p);
            most = most && (j == i || other < own || (other <= own && j > i));
        }
        if (!most)
            continue;
        w->d[k][0] += p[k].at[0];
        w->d[k][1] += p[k].at[1];
        any = true;
    }
    return any;
}

static tr_status settle(tr_check_work *w, tr_check_peak *peaks, size_t *rounds)
{
    for (*rounds = 0; *rounds < MOST_ROUNDS; ++*rounds) {
        tr_check_predict(w);
        TR_TRY(tr_check_peaks(w, peaks));
        if (!move_views(w, peaks))
            return TR_OK;
    }
    tr_check_predict(w);
    return tr_check_peaks(w, peaks);
}

/* ---- shifts and their errors ---- */

/* By how much the sums over patches scatter: the inverse of the bends times the slopes'
 * sum of squares times that inverse. */
static void find_error(const tr_check_work *w, size_t k, const tr_check_sums *sums,
                       double b, double error[2])
{
    double bend[3] = {0.0}, scatter[3] = {0.0};
    for (size_t p = 0; p < TR_CHECK_PATCHES; p++) {
        for (int i = 0; i < 3; i++)
            bend[i] += b * sums[p].bend[i];
        const double *s = sums[p].slope;
        scatter[0] += s[0] * s[0];
        scatter[1] += s[0] * s[1];
        scatter[2] += s[1] * s[1];
    }
    double det = bend[0] * bend[2] - bend[1] * bend[1];
    double a = bend[2] / det, c = -bend[1] / det, e = bend[0] / det;
    double xx = a * a * scatter[0] + 2.0 * a * c * scatter[1] + c * c * scatter[2];
    double yy = c * c * scatter[0] + 2.0 * c * e * scatter[1] + e * e * scatter[2];
    error[0] = det > 0.0 ? sqrt(fmax(xx, 0.0)) * cos(w->source->tilt[k]) : NAN;
    error[1] = det > 0.0 ? sqrt(fmax(yy, 0.0)) : NAN;
}

/* X cos t - Z sin t and Y: what a translation of the specimen does, by a robust fit to
 * the known views (Huber's weights). */
static void take_translation(const tr_check_work *w, tr_alignment_check *c)
{
    double x = 0.0, z = 0.0, y = 0.0;
    for (int round = 0; round < 30; round++) {
        double m[5] = {0.0}, sum_y = 0.0, weight_y = 0.0;
        for (size_t k = 0; k < c->n; k++) {
            const tr_check_view *v = &c->view[k];
            double t = w->source->tilt[k], cost = cos(t), sine = -sin(t);
            double u = v->shift[0] - x * cost - z * sine, d = v->shift[1] - y;
            double by = v->known ? 1.0 / fmax(hypot(u, d), 0.1) : 0.0;
            m[0] += by * cost * cost;
            m[1] += by * cost * sine;
            m[2] += by * sine * sine;
            m[3] += by * cost * v->shift[0];
            m[4] += by * sine * v->shift[0];
            sum_y += by * v->shift[1];
            weight_y += by;
        }
        double det = m[0] * m[2] - m[1] * m[1];
        if (!(weight_y > 0.0) || !(det > 1e-9 * m[0] * m[0]))
            break;
        x = (m[2] * m[3] - m[1] * m[4]) / det;
        z = (m[0] * m[4] - m[1] * m[3]) / det;
        y = sum_y / weight_y;
    }
    for (size_t k = 0; k < c->n; k++) {
        double t = w->source->tilt[k];
        c->view[k].shift[0] -= x * cos(t) - z * sin(t);
        c->view[k].shift[1] -= y;
    }
    c->depth = w->depth + z;
}

/* Names the views that are off. values: room for 2 n. */
static void judge_views(tr_alignment_check *c, double *values)
{
    size_t n = 0;
    for (size_t k = 0; k < c->n; k++)
        for (int i = 0; i < 2 && c->view[k].known; i++)
            values[n++] = fabs(c->view[k].shift[i]);
    c->n_known = n / 2;
    c->spread = n ? 1.4826 * tr_median(values, n) : NAN;
    for (size_t k = 0; k < c->n; k++) {
        tr_check_view *v = &c->view[k];
        double error = hypot(v->error[0], v->error[1]);
        double least = fmax(least_off, off_errors * error);
        v->off = v->known && hypot(v->shift[0], v->shift[1]) >
                                 fmax(least, off_spreads * fmin(c->spread, most_spread));
        c->n_off += v->off;
    }
}

static void find_shifts(const tr_check_work *w, const tr_check_peak *peaks,
                        const tr_check_sums *sums, const double *gains,
                        tr_alignment_check *c)
{
    for (size_t k = 0; k < w->n; k++) {
        tr_check_view *v = &c->view[k];
        v->known = stands_out(&peaks[k]);
        v->peak = peaks[k].peak;
        v->next = peaks[k].next;
        v->correlation = tr_check_correlation(w, k);
        v->shift[0] = (w->d[k][0] + peaks[k].at[0]) * cos(w->source->tilt[k]);
        v->shift[1] = w->d[k][1] + peaks[k].at[1];
        find_error(w, k, sums + k * TR_CHECK_PATCHES, gains[k], v->error);
        v->known = v->known && isfinite(v->error[0] + v->error[1]);
    }
    take_translation(w, c);
}

/* ---- what is left in patches ---- */

static int group_of(double tilt)
{
    return tilt < -group_tilt  ? TR_CHECK_LOW
           : tilt > group_tilt ? TR_CHECK_HIGH
                               : TR_CHECK_MIDDLE;
}

static void find_arrow(const tr_check_work *w, tr_alignment_check *c,
                       const tr_check_sums *sums, const double *gains, int group,
                       size_t patch)
{
    double slope[2] = {0.0}, bend[3] = {0.0}, tilt = 0.0, n = 0.0;
    for (size_t k = 0; k < w->n; k++) {
        const tr_check_sums *s = &sums[k * TR_CHECK_PATCHES + patch];
        double per = 1.0 / cos(w->source->tilt[k]), b = gains[k];
        if (!c->view[k].known || group_of(w->source->tilt[k]) != group || !(b > 0.0))
            continue;
        slope[0] += b * s->slope[0] * per;
        slope[1] += b * s->slope[1];
        bend[0] += b * b * s->bend[0] * per * per;
        bend[1] += b * b * s->bend[1] * per;
        bend[2] += b * b * s->bend[2];
        tilt += fabs(w->source->tilt[k]);
        n += 1.0;
    }
    double det = bend[0] * bend[2] - bend[1] * bend[1];
    double step = 1.0 / TR_CHECK_SIDE, mid = 0.5 * (TR_CHECK_SIDE - 1);
    size_t column = patch % TR_CHECK_SIDE, row = patch / TR_CHECK_SIDE;
    double x = step * ((double)column - mid) * (double)w->nx;
    double y = step * ((double)row - mid) * (double)w->ny;
    bool some = n > 0.0 && det > 0.0;
    c->arrow[group][patch] =
        (tr_check_arrow){n > 0.0 ? x * cos(tilt / n) : x,
                         y,
                         {some ? -(bend[2] * slope[0] - bend[1] * slope[1]) / det : NAN,
                          some ? -(bend[0] * slope[1] - bend[1] * slope[0]) / det : NAN}};
}

/* ---- the axis ---- */

enum { TURNS = 9, FIT = 5 };
static const double turn_step = 0.5 * TR_RADIANS, most_turn = 10.0 * TR_RADIANS;

/* How well the views agree, without patch `without`: the logarithm of the likelihood of
 * all views is, but for a factor and a constant, less the sum over all frequencies and
 * views of (K^-1)_ii f_i (f_i - prediction of view i), which is f K^-1 f. */
static double agreement(const tr_check_work *w, const tr_check_sums *sums, size_t without)
{
    double sum = 0.0;
    for (size_t k = 0; k < w->n; k++)
        for (size_t p = 0; p < TR_CHECK_PATCHES; p++) {
            const tr_check_sums *s = &sums[k * TR_CHECK_PATCHES + p];
            sum += p == without ? 0.0 : s->product - s->square;
        }
    return sum;
}

/* The vertex of a parabola through FIT values about the highest of them, by least
 * squares, counted from the first value; NaN where the highest is the first or last. */
static double best_of(const double *value)
{
    int best = 0;
    for (int i = 0; i < TURNS; i++)
        best = value[i] > value[best] ? i : best;
    if (best == 0 || best == TURNS - 1)
        return NAN;
    int half = FIT / 2, middle = best < half ? half : best;
    middle = middle > TURNS - 1 - half ? TURNS - 1 - half : middle;
    double sum[3] = {0.0}; /* of value, value i, value i^2, for i = -2 ... 2 */
    for (int i = -half; i <= half; i++) {
        sum[0] += value[middle + i];
        sum[1] += value[middle + i] * i;
        sum[2] += value[middle + i] * i * i;
    }
    double slope = sum[1] / 10.0, bend = (sum[2] - 2.0 * sum[0]) / 14.0;
    double off = -0.5 * slope / bend;
    return bend < 0.0 && fabs(off) <= 4.0 ? middle + off : NAN;
}

static tr_status try_turns(tr_check_work *w, double first, double gains[],
                           tr_check_sums *sums)
{
    size_t n = w->n * TR_CHECK_PATCHES;
    for (int i = 0; i < TURNS; i++) {
        TR_TRY(tr_check_load(w, first + turn_step * i));
        tr_check_predict(w);
        TR_TRY(tr_check_patches(w, sums + (size_t)i * n, gains));
    }
    return TR_OK;
}

/* Where the views agree best, and by how much that changes as patches are left out
 * (jackknife, with a robust standard deviation). */
static bool fit_turn(const tr_check_work *w, double first, const tr_check_sums *sums,
                     double *lean, tr_alignment_check *c)
{
    size_t n = w->n * TR_CHECK_PATCHES;
    double value[TURNS], part[TR_CHECK_PATCHES];
    for (int i = 0; i < TURNS; i++)
        value[i] = agreement(w, sums + (size_t)i * n, TR_CHECK_PATCHES);
    double best = best_of(value);
    *lean = value[TURNS - 1] - value[0];
    if (isnan(best))
        return false;
    for (size_t p = 0; p < TR_CHECK_PATCHES; p++) {
        for (int i = 0; i < TURNS; i++)
            value[i] = agreement(w, sums + (size_t)i * n, p);
        part[p] = fabs(best_of(value) - best);
        part[p] = isnan(part[p]) ? TURNS : part[p];
    }
    c->turn = first + turn_step * best;
    c->turn_error = turn_step * 1.4826 * tr_median(part, TR_CHECK_PATCHES) *
                    sqrt(TR_CHECK_PATCHES - 1.0);
    return true;
}

/* About the turn `middle`, and where the views lean further, about a larger one. */
static tr_status search_turn(tr_check_work *w, double middle, double *gains,
                             tr_check_sums *sums, tr_alignment_check *c)
{
    c->turn = c->turn_error = NAN;
    while (fabs(middle) <= most_turn) {
        double first = middle - turn_step * (TURNS - 1) / 2, lean;
        TR_TRY(try_turns(w, first, gains, sums));
        if (fit_turn(w, first, sums, &lean, c))
            return TR_OK;
        middle += (lean > 0.0 ? 1.0 : -1.0) * turn_step * (TURNS - 3);
    }
    return TR_OK;
}

/* Again with the predictions that views have when they are turned so: those of views that
 * do not agree count on less. */
static tr_status find_turn(tr_check_work *w, double *gains, tr_alignment_check *c)
{
    size_t n = w->n * TR_CHECK_PATCHES;
    tr_check_sums *sums = tr_calloc("patches of views", TURNS * n, sizeof *sums);
    tr_status status = sums ? search_turn(w, 0.0, gains, sums, c) : TR_ERR_MEMORY;
    double turn = c->turn;
    if (status == TR_OK && fabs(turn) > 0.5 * turn_step) {
        status = tr_check_load(w, turn);
        if (status == TR_OK)
            status = tr_check_learn(w);
        if (status == TR_OK)
            status = search_turn(w, turn, gains, sums, c);
    }
    free(sums);
    return status;
}

/* ---- all of it ---- */

static tr_status measure(tr_check_work *w, tr_check_peak *peaks, tr_check_sums *sums,
                         double *gains, tr_alignment_check *c)
{
    TR_TRY(tr_check_load(w, 0.0));
    TR_TRY(tr_check_learn(w));
    find_depth(w);
    TR_TRY(tr_check_learn(w));
    tr_check_predict(w);
    for (size_t k = 0; k < w->n; k++)
        c->view[k].as_given = tr_check_correlation(w, k);
    TR_TRY(settle(w, peaks, &c->rounds));
    TR_TRY(tr_check_learn(w));
    tr_check_predict(w);
    TR_TRY(tr_check_peaks(w, peaks));
    TR_TRY(tr_check_patches(w, sums, gains));
    find_shifts(w, peaks, sums, gains, c);
    for (int group = 0; group < TR_CHECK_GROUPS; group++)
        for (size_t p = 0; p < TR_CHECK_PATCHES; p++)
            find_arrow(w, c, sums, gains, group, p);
    return TR_OK;
}

tr_status tr_alignment_check_run(const tr_check_source *source, int threads,
                                 tr_alignment_check *c)
{
    tr_check_work w;
    size_t n = source->n;
    *c = (tr_alignment_check){.n = n, .turn = NAN, .turn_error = NAN};
    if (n < 3 || n > TR_SLAB_MOST_VIEWS)
        return tr_fail(TR_ERR_DATA,
                       "--check-alignment compares 3 to %d views, and there are %zu",
                       TR_SLAB_MOST_VIEWS, n);
    c->view = tr_calloc("the list of views", n, sizeof *c->view);
    tr_check_peak *peaks = tr_calloc("the list of views", n, sizeof *peaks);
    tr_check_sums *sums = tr_calloc("patches", n * TR_CHECK_PATCHES, sizeof *sums);
    double *values = tr_calloc("the list of views", 2 * n, sizeof *values);
    tr_status status = tr_check_begin(source, threads, &w);
    if (!c->view || !peaks || !sums || !values)
        status = TR_ERR_MEMORY;
    if (status == TR_OK)
        status = measure(&w, peaks, sums, values, c);
    if (status == TR_OK)
        judge_views(c, values);
    if (status == TR_OK && 2 * c->n_known >= n)
        status = find_turn(&w, values, c);
    tr_check_end(&w);
    free(peaks);
    free(sums);
    free(values);
    return status;
}

void tr_alignment_check_free(tr_alignment_check *c)
{
    free(c->view);
    c->view = NULL;
}

size_t tr_alignment_check_floats(const tr_check_source *s)
{
    return 6 * s->n * s->ny * (s->nx / 2 + 1) + 16 * s->nx * s->ny;
}
