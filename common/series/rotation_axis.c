#include "common/series/rotation_axis.h"

#include <fftw3.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/mem.h"
#include "formats/stitch.h"
#include "kernels/fftw_planner.h"

typedef struct scan {
    const float *p; /* [row][view][u] */
    size_t n_rows, n_views, n_u;
    const double *tilts;
} scan;

static const float *line(const scan *s, size_t row, size_t view)
{
    return s->p + (row * s->n_views + view) * s->n_u;
}

/* Where a parabola through three values has its extreme, from the middle one. */
static double vertex(double before, double at, double after)
{
    double bend = before - 2.0 * at + after;
    return bend != 0.0 ? fmax(-1.0, fmin(1.0, 0.5 * (before - after) / bend)) : 0.0;
}

/* ---- mirrored pairs ---- */

/* View a half a turn on, from one view or from between two: p = (1 - part) first + part
 * next. */
typedef struct half_turn {
    size_t view, first, next;
    double part;
} half_turn;

/* The views around the angle half a turn from that of view k; a little beyond the last of
 * them by going on straight, as a scan of 180 degrees mostly leaves out its end. */
static bool find_half_turn(const scan *s, size_t k, half_turn *h)
{
    double want = s->tilts[k] + 180.0;
    for (size_t i = 0; i + 1 < s->n_views; i++) {
        double a = s->tilts[i], b = s->tilts[i + 1], part = (want - a) / (b - a);
        bool last = i + 2 == s->n_views;
        if (b > a && part >= 0.0 && part <= (last ? 2.05 : 1.0)) {
            *h = (half_turn){k, i, i + 1, part};
            return true;
        }
    }
    return false;
}

/* The mean square of p(t + 180, u) - p(t, 2a - u) for 2a = shift, over what both views
 * show, in proportion to the variance there. */
static double difference(const scan *s, const half_turn *h, long shift)
{
    const long n = (long)s->n_u;
    /* u and n - 1 + shift - u are both in 0 ... n - 1 */
    long first = shift > 0 ? shift : 0, end = shift > 0 ? n : n + shift;
    double square = 0.0, sum[2] = {0}, squares[2] = {0}, count = 0.0;
    for (size_t r = 0; r < s->n_rows; r++) {
        const float *near = line(s, r, h->view), *a = line(s, r, h->first),
                    *b = line(s, r, h->next);
        for (long u = first; u < end; u++) {
            double x = a[u] + h->part * (b[u] - a[u]), y = near[n - 1 + shift - u];
            square += (x - y) * (x - y);
            sum[0] += x, squares[0] += x * x;
            sum[1] += y, squares[1] += y * y;
            count += 1.0;
        }
    }
    double variance =
        squares[0] + squares[1] - (sum[0] * sum[0] + sum[1] * sum[1]) / fmax(count, 1.0);
    return variance > 0.0 ? square / variance : INFINITY;
}

/* Not where less than a quarter of the views overlaps: anything can be alike there. */
static double from_pairs(const scan *s, size_t *pairs)
{
    enum { MOST_PAIRS = 16 };
    half_turn list[MOST_PAIRS];
    size_t n = 0, step = s->n_views > 2 * MOST_PAIRS ? s->n_views / (2 * MOST_PAIRS) : 1;
    for (size_t k = 0; k < s->n_views && n < MOST_PAIRS; k += k ? step : 1)
        n += find_half_turn(s, k, &list[n]);
    *pairs = n;
    if (!n)
        return NAN;
    /* Of a full turn there are so many that little may overlap. */
    double span = s->tilts[s->n_views - 1] - s->tilts[0];
    bool full = n == MOST_PAIRS && span > 300.0;
    long most = (long)(s->n_u * (full ? 15 : 12) / 16), best = 0;
    size_t size = (size_t)(2 * most + 1);
    double *sum = calloc(size, sizeof *sum), least = INFINITY, shift = NAN;
    if (!sum)
        return NAN;
    for (long d = -most; d <= most; d++) {
        for (size_t i = 0; i < n; i++)
            sum[d + most] += difference(s, &list[i], d);
        if (sum[d + most] < least) {
            least = sum[d + most];
            best = d;
        }
    }
    /* In proportion to the variances two views that have nothing in common have 1. */
    if (labs(best) < most && least < 0.5 * (double)n) {
        const double *at = sum + best + most;
        shift = 0.5 * ((double)best + vertex(at[-1], at[0], at[1]));
    }
    free(sum);
    return shift;
}

/* ---- the double wedge ---- */

/* So many evenly spaced views make half a turn; 0: they are not evenly spaced, or are too
 * few. */
static size_t half_turn_views(const scan *s)
{
    enum { FEWEST = 24 };
    double step = (s->tilts[s->n_views - 1] - s->tilts[0]) / (double)(s->n_views - 1);
    for (size_t k = 0; k < s->n_views; k++)
        if (fabs(s->tilts[k] - s->tilts[0] - step * (double)k) > 0.25 * fabs(step))
            return 0;
    double n = step != 0.0 ? round(180.0 / fabs(step)) : 0.0;
    return n >= FEWEST && n <= (double)s->n_views &&
                   fabs(n * fabs(step) - 180.0) < 0.25 * fabs(step)
               ? (size_t)n
               : 0;
}

typedef struct wedge {
    size_t half, n_k;        /* views of half a turn; frequencies along u, from 1 */
    fftwf_complex *in, *out; /* a full turn of one frequency, the second half 0 */
    fftwf_plan plan;
    double (*sum)[2]; /* of each frequency: the part that turns with the axis */
} wedge;

/* F_k of one projection about the middle of the views. */
static void frequency(const float *p, size_t n, size_t k, double value[2])
{
    double w = 2.0 * TR_PI * (double)k / (double)n, middle = 0.5 * ((double)n - 1.0);
    double c = cos(w * middle), d = sin(w * middle), turn[2] = {cos(w), -sin(w)};
    double e[2] = {c, d}, sum[2] = {0.0, 0.0}; /* exp(-i w (u - middle)) */
    for (size_t u = 0; u < n; u++) {
        sum[0] += p[u] * e[0];
        sum[1] += p[u] * e[1];
        double re = e[0] * turn[0] - e[1] * turn[1];
        e[1] = e[0] * turn[1] + e[1] * turn[0];
        e[0] = re;
    }
    value[0] = sum[0], value[1] = sum[1];
}

/* With A the harmonics of the first half turn and B those of its mirror image, a full
 * turn has A_n + (-1)^n exp(-2iwa) B_n; outside the wedge its squares sum up to a
 * constant plus 2 Re(exp(2iwa) Z), Z = sum of (-1)^n A_n conj(B_n). B_n = conj(A_-n). */
static void add_frequency(const scan *s, wedge *w, size_t row, size_t k)
{
    size_t full = 2 * w->half;
    memset(w->in, 0, full * sizeof *w->in);
    for (size_t i = 0; i < w->half; i++) {
        double value[2];
        frequency(line(s, row, i), s->n_u, k, value);
        w->in[i][0] = (float)value[0];
        w->in[i][1] = (float)value[1];
    }
    fftwf_execute(w->plan);
    size_t first = (size_t)ceil(TR_PI * (double)k) + 3; /* w N / 2, and a margin */
    for (size_t n = 0; n < full; n++) {
        size_t harmonic = n <= w->half ? n : full - n;
        if (harmonic < first)
            continue;
        const float *a = w->out[n], *b = w->out[(full - n) % full];
        double sign = n % 2 ? -1.0 : 1.0;
        /* A_n conj(B_n) = A_n A_-n */
        w->sum[k][0] += sign * ((double)a[0] * b[0] - (double)a[1] * b[1]);
        w->sum[k][1] += sign * ((double)a[0] * b[1] + (double)a[1] * b[0]);
    }
}

static double wedge_measure(const scan *s, const wedge *w, double shift)
{
    double sum = 0.0;
    for (size_t k = 1; k <= w->n_k; k++) {
        double turn = 4.0 * TR_PI * (double)k / (double)s->n_u * shift;
        sum += cos(turn) * w->sum[k][0] - sin(turn) * w->sum[k][1];
    }
    return sum;
}

static double least_in_wedge(const scan *s, const wedge *w)
{
    const double STEP = 0.125;
    double most = 0.25 * (double)s->n_u, best = 0.0, least = INFINITY;
    long steps = (long)(most / STEP);
    for (long i = -steps; i <= steps; i++) {
        double value = wedge_measure(s, w, STEP * (double)i);
        if (value < least) {
            least = value;
            best = STEP * (double)i;
        }
    }
    return best + STEP * vertex(wedge_measure(s, w, best - STEP), least,
                                wedge_measure(s, w, best + STEP));
}

static tr_status from_wedge(const scan *s, double *shift)
{
    wedge w = {.half = half_turn_views(s)};
    *shift = NAN;
    if (w.half < 8)
        return TR_OK;
    w.n_k = (size_t)(((double)w.half - 4.0) / TR_PI);
    w.n_k = w.n_k < s->n_u / 2 ? w.n_k : s->n_u / 2;
    w.in = fftwf_alloc_complex(2 * w.half);
    w.out = fftwf_alloc_complex(2 * w.half);
    w.sum = calloc(w.n_k + 1, sizeof *w.sum);
    tr_fftw_planner_lock();
    if (w.in && w.out)
        w.plan = fftwf_plan_dft_1d((int)(2 * w.half), w.in, w.out, FFTW_FORWARD,
                                   FFTW_ESTIMATE);
    tr_fftw_planner_unlock();
    bool ready = w.plan && w.sum;
    for (size_t r = 0; r < s->n_rows && ready; r++)
        for (size_t k = 1; k <= w.n_k; k++)
            add_frequency(s, &w, r, k);
    if (ready)
        *shift = least_in_wedge(s, &w);
    tr_fftw_planner_lock();
    fftwf_destroy_plan(w.plan);
    tr_fftw_planner_unlock();
    fftwf_free(w.in);
    fftwf_free(w.out);
    free(w.sum);
    return ready ? TR_OK
                 : tr_fail(TR_ERR_MEMORY, "not enough memory for finding the axis");
}

/* ---- the centre of mass ---- */

/* a, x, s of centre[k] = a + x cos t - s sin t by least squares; false: angles that do
 * not tell them apart. */
static bool fit_sine(const double *centre, const double *tilts, size_t n, double fit[3])
{
    double m[3][4] = {{0}};
    for (size_t k = 0; k < n; k++) {
        double t = tilts[k] * TR_RADIANS, row[3] = {1.0, cos(t), -sin(t)};
        for (int i = 0; i < 3; i++) {
            for (int j = 0; j < 3; j++)
                m[i][j] += row[i] * row[j];
            m[i][3] += row[i] * centre[k];
        }
    }
    for (int i = 0; i < 3; i++) { /* positive definite: no pivot */
        if (m[i][i] < 1e-6 * (double)n)
            return false;
        for (int j = 0; j < 3; j++) {
            double factor = j == i ? 0.0 : m[j][i] / m[i][i];
            for (int c = i; c < 4; c++)
                m[j][c] -= factor * m[i][c];
        }
    }
    for (int i = 0; i < 3; i++)
        fit[i] = m[i][3] / m[i][i];
    return true;
}

/* NaN where the mass is not the same in all views, as it is of what lies within them. */
static double from_mass(const scan *s)
{
    const double MOST_SPREAD = 0.03;
    double *centre = calloc(s->n_views, sizeof *centre), fit[3], low = INFINITY,
           high = -INFINITY;
    double span = fabs(s->tilts[s->n_views - 1] - s->tilts[0]);
    if (!centre || span < 90.0) {
        free(centre);
        return NAN;
    }
    for (size_t k = 0; k < s->n_views; k++) {
        double mass = 0.0, moment = 0.0;
        for (size_t r = 0; r < s->n_rows; r++)
            for (size_t u = 0; u < s->n_u; u++) {
                double p = line(s, r, k)[u];
                mass += p;
                moment += p * ((double)u - 0.5 * ((double)s->n_u - 1.0));
            }
        low = fmin(low, mass);
        high = fmax(high, mass);
        centre[k] = mass > 0.0 ? moment / mass : 0.0;
    }
    bool good = low > 0.0 && high - low <= MOST_SPREAD * high &&
                fit_sine(centre, s->tilts, s->n_views, fit);
    free(centre);
    return good ? fit[0] : NAN;
}

/* ---- the mass of what is stitched ---- */

/* How much the mass of views that are stitched about an axis there changes from one to
 * the other, as the variance; NaN: they cannot be. */
static double stitched_variance(const scan *s, double shift, float *line_of, float *out)
{
    tr_stitch stitch;
    double sum = 0.0, squares = 0.0, n = 0.0;
    if (!tr_stitch_init(s->n_u, shift, &stitch))
        return NAN;
    for (size_t k = 0; k < s->n_views && s->tilts[k] < s->tilts[0] + 180.0; k++) {
        half_turn h;
        double mass = 0.0;
        if (!find_half_turn(s, k, &h))
            break;
        for (size_t r = 0; r < s->n_rows; r++) {
            const float *a = line(s, r, h.first), *b = line(s, r, h.next);
            for (size_t u = 0; u < s->n_u; u++)
                line_of[u] = a[u] + (float)h.part * (b[u] - a[u]);
            tr_stitch_line(&stitch, line(s, r, k), line_of, out);
            for (size_t c = 0; c < stitch.width; c++)
                mass += out[c];
        }
        sum += mass, squares += mass * mass, n += 1.0;
    }
    return n > 8.0 ? squares / n - sum * sum / (n * n) : NAN;
}

/* What fits into the stitched views has the same mass in all of them, about the right
 * axis: it is where that varies least, near one that another method has found. */
static double from_stitched_mass(const scan *s, double near)
{
    enum { STEPS = 12 };
    const double STEP = 0.25;
    float *room = calloc(3 * s->n_u, sizeof *room);
    double value[2 * STEPS + 1], shift = NAN;
    int best = 0;
    if (!room)
        return NAN;
    for (int i = 0; i <= 2 * STEPS; i++) {
        value[i] = stitched_variance(s, near + STEP * (i - STEPS), room, room + s->n_u);
        if (value[i] < value[best])
            best = i;
    }
    if (best > 0 && best < 2 * STEPS)
        shift = near + STEP * (best - STEPS +
                               vertex(value[best - 1], value[best], value[best + 1]));
    free(room);
    return shift;
}

/* ---- together ---- */

tr_status tr_rotation_axis(const float *sinograms, size_t n_rows, size_t n_views,
                           size_t n_u, const double *tilts, tr_axis_found *found)
{
    const scan s = {sinograms, n_rows, n_views, n_u, tilts};
    *found = (tr_axis_found){NAN, NAN, NAN, 0};
    if (n_views < 3 || n_u < 8)
        return TR_OK;
    found->pair = from_pairs(&s, &found->pairs);
    found->mass = from_mass(&s);
    double span = tilts[n_views - 1] - tilts[0];
    if (isnan(found->mass) && span > 300.0 && fabs(found->pair) > 0.125 * (double)n_u)
        found->mass = from_stitched_mass(&s, found->pair);
    return from_wedge(&s, &found->wedge);
}

bool tr_axis_agree(const tr_axis_found *found, double *shift)
{
    const double ALIKE = 0.25;
    double pair = found->pair, other = found->wedge, mass = found->mass;
    if (isnan(pair)) {
        pair = found->wedge;
        other = NAN;
    }
    /* Of two that agree the wedge is the more accurate; of others the pairs are the one
     * that does not mind a specimen wider than the views. */
    bool sure = fabs(other - pair) <= ALIKE;
    *shift = sure ? other : isnan(pair) ? mass : pair;
    return sure || fabs(mass - pair) <= ALIKE;
}

void tr_axis_text(double shift, char text[24])
{
    if (isnan(shift))
        snprintf(text, 24, "unknown");
    else
        snprintf(text, 24, "%.2f", shift);
}
