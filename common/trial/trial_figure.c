#include "common/trial/trial_figure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

/* ---- the band ---- */

enum { LEAST_BAND = 3, COARSE = 48 };

typedef struct sums {
    const double *until; /* until[k]: of the first k planes */
    size_t n, least_outside;
} sums;

static double gain_of(const sums *s, size_t first, size_t end)
{
    size_t inside = end - first;
    if (end > s->n || end < first + LEAST_BAND || s->n - inside < s->least_outside)
        return 0.0;
    double n = (double)s->n, f = (double)inside / n;
    double in = s->until[end] - s->until[first];
    double out = (s->until[s->n] - in) / (n - (double)inside);
    in /= (double)inside;
    if (!(in > out) || !(out > 0.0))
        return 0.0;
    return log(s->until[s->n] / n) - f * log(in) - (1.0 - f) * log(out);
}

static void look(const sums *s, size_t first, size_t end, tr_trial_band *best)
{
    double gain = gain_of(s, first, end);
    if (gain > best->gain)
        *best = (tr_trial_band){first, end, gain};
}

/* Every `step`-th pair of planes, then all pairs near the best of them. */
static tr_trial_band search(const sums *s)
{
    tr_trial_band best = {0, s->n, 0.0};
    size_t step = s->n / COARSE > 0 ? s->n / COARSE : 1;
    for (size_t first = 0; first < s->n; first += step)
        for (size_t end = first + step; end < s->n + step; end += step)
            look(s, first, end < s->n ? end : s->n, &best);
    const tr_trial_band coarse = best;
    size_t low = coarse.first > step ? coarse.first - step : 0;
    size_t from = coarse.end > step ? coarse.end - step : 0;
    for (size_t first = low; first <= coarse.first + step; first++)
        for (size_t end = from > first ? from : first + 1; end <= coarse.end + step;
             end++)
            look(s, first, end, &best);
    return best;
}

tr_trial_band tr_trial_find_band(const double *profile, size_t n, double *until)
{
    until[0] = 0.0;
    for (size_t k = 0; k < n; k++)
        until[k + 1] = until[k] + profile[k];
    const sums s = {until, n, n / 20 > 2 ? n / 20 : 2};
    return search(&s);
}

/* ---- profiles ---- */

static void add_unit(const tr_trial_measure *m, size_t unit, size_t third,
                     double *profile)
{
    for (size_t t = 0; t < TR_TRIAL_THIRDS; t++) {
        if (third != TR_TRIAL_THIRDS && third != t)
            continue;
        const double *from = m->profile + (unit * TR_TRIAL_THIRDS + t) * m->planes;
        for (size_t z = 0; z < m->planes; z++)
            profile[z] += from[z];
    }
}

void tr_trial_profile(const tr_trial_measure *m, size_t slab, size_t third, size_t out,
                      double *profile)
{
    double n = 0.0;
    memset(profile, 0, m->planes * sizeof *profile);
    for (size_t unit = 0; unit < TR_TRIAL_UNITS; unit++) {
        bool of_slab = slab == TR_TRIAL_SLABS || slab == unit / TR_TRIAL_PARTS;
        if (!of_slab || unit == out)
            continue;
        add_unit(m, unit, third, profile);
        n += third == TR_TRIAL_THIRDS ? TR_TRIAL_THIRDS : 1.0;
    }
    for (size_t z = 0; z < m->planes; z++)
        profile[z] /= n;
}

/* ---- the figures ---- */

/* Of a third of the columns, or all. */
static double sharpness(const tr_trial_measure *m, size_t third, size_t out)
{
    double sum = 0.0, n = 0.0;
    for (size_t u = 0; u < TR_TRIAL_UNITS; u++) {
        double squares = 0.0, fourths = 0.0, thirds = 0.0;
        for (size_t t = 0; t < TR_TRIAL_THIRDS; t++)
            if (third == t || third == TR_TRIAL_THIRDS) {
                squares += m->squares[u * TR_TRIAL_THIRDS + t];
                fourths += m->fourths[u * TR_TRIAL_THIRDS + t];
                thirds += 1.0;
            }
        if (u == out || !(squares > 0.0))
            continue;
        sum += log(thirds * fourths / (squares * squares));
        n += 1.0;
    }
    return n > 0.0 ? sum / n : 0.0;
}

static double flatness(const tr_trial_measure *m, bool level, size_t out, double *profile)
{
    double sum = 0.0;
    size_t first = level ? TR_TRIAL_SLABS : 0,
           end = level ? TR_TRIAL_SLABS + 1 : TR_TRIAL_SLABS;
    for (size_t slab = first; slab < end; slab++) {
        tr_trial_profile(m, slab, TR_TRIAL_THIRDS, out, profile);
        sum += tr_trial_find_band(profile, m->planes, profile + m->planes).gain;
    }
    return sum / (double)(end - first);
}

static size_t most_planes(const tr_trial_measure *measures, size_t n)
{
    size_t planes = 0;
    for (size_t k = 0; k < n; k++)
        planes = measures[k].planes > planes ? measures[k].planes : planes;
    return planes;
}

/* Of all geometries, without the unit `out`. */
static tr_status find_curve(tr_trial_kind kind, const tr_trial_measure *measures,
                            size_t n, size_t out, double *curve)
{
    double *profile =
        tr_calloc("a profile", 2 * most_planes(measures, n) + 1, sizeof *profile);
    if (!profile)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < n; k++)
        curve[k] = kind == TR_TRIAL_SHARP
                       ? sharpness(&measures[k], TR_TRIAL_THIRDS, out)
                       : flatness(&measures[k], kind == TR_TRIAL_LEVEL, out, profile);
    free(profile);
    return TR_OK;
}

/* ---- the verdict ---- */

static size_t highest(const double *curve, size_t n)
{
    size_t best = 0;
    for (size_t k = 1; k < n; k++)
        if (curve[k] > curve[best])
            best = k;
    return best;
}

/* Where the parabola through the highest value and its neighbours is highest, in steps
 * from the first. */
static double vertex(const double *curve, size_t n, size_t best)
{
    if (best == 0 || best + 1 == n)
        return (double)best;
    double a = curve[best - 1], b = curve[best], c = curve[best + 1];
    double bend = a - 2.0 * b + c;
    return (double)best + (bend < 0.0 ? 0.5 * (a - c) / bend : 0.0);
}

static double rise(const double *curve, size_t n, size_t best)
{
    double sum = 0.0;
    for (size_t k = 0; k < n; k++)
        sum += curve[k];
    return curve[best] - sum / (double)n;
}

/* The jackknife's standard error from the estimates without one unit each. */
static double standard_error(const double estimates[TR_TRIAL_UNITS])
{
    double mean = 0.0, squares = 0.0, n = TR_TRIAL_UNITS;
    for (size_t u = 0; u < TR_TRIAL_UNITS; u++)
        mean += estimates[u] / n;
    for (size_t u = 0; u < TR_TRIAL_UNITS; u++)
        squares += (estimates[u] - mean) * (estimates[u] - mean);
    return sqrt((n - 1.0) / n * squares);
}

/* The figure of one slab, or one third of the columns, alone: parts of a slab share its
 * errors, which the jackknife over units therefore does not show. */
static double figure_of_group(tr_trial_kind kind, const tr_trial_measure *m, size_t group,
                              double *profile)
{
    if (kind == TR_TRIAL_SHARP)
        return sharpness(m, group, TR_TRIAL_UNITS);
    bool level = kind == TR_TRIAL_LEVEL;
    tr_trial_profile(m, level ? TR_TRIAL_SLABS : group, level ? group : TR_TRIAL_THIRDS,
                     TR_TRIAL_UNITS, profile);
    return tr_trial_find_band(profile, m->planes, profile + m->planes).gain;
}

/* The standard error of the mean of three groups' best values, in steps. */
static tr_status find_error_of_groups(tr_trial_kind kind,
                                      const tr_trial_measure *measures, size_t n,
                                      double *error)
{
    enum { GROUPS = 3 }; /* slabs, or thirds */
    size_t planes = most_planes(measures, n);
    double *curve = tr_calloc("a profile", n + 2 * planes + 1, sizeof *curve);
    if (!curve)
        return TR_ERR_MEMORY;
    double sum = 0.0, squares = 0.0, groups = GROUPS;
    for (size_t group = 0; group < GROUPS; group++) {
        for (size_t k = 0; k < n; k++)
            curve[k] = figure_of_group(kind, &measures[k], group, curve + n);
        double best = vertex(curve, n, highest(curve, n));
        sum += best;
        squares += best * best;
    }
    free(curve);
    *error = sqrt(fmax(squares - sum * sum / groups, 0.0) / (groups * (groups - 1.0)));
    return TR_OK;
}

tr_status tr_trial_judge(tr_trial_kind kind, const tr_trial_measure *measures, size_t n,
                         double from, double step, double *figure,
                         tr_trial_verdict *verdict)
{
    TR_TRY(find_curve(kind, measures, n, TR_TRIAL_UNITS, figure));
    double *without = tr_calloc("the figures", n, sizeof *without);
    if (!without)
        return TR_ERR_MEMORY;
    double values[TR_TRIAL_UNITS] = {0}, rises[TR_TRIAL_UNITS] = {0};
    size_t best = highest(figure, n);
    tr_status status = TR_OK;
    for (size_t u = 0; u < TR_TRIAL_UNITS && status == TR_OK; u++) {
        status = find_curve(kind, measures, n, u, without);
        values[u] = vertex(without, n, highest(without, n));
        rises[u] = rise(without, n, best);
    }
    free(without);
    double error = standard_error(rises), of_groups = 0.0;
    if (status == TR_OK)
        status = find_error_of_groups(kind, measures, n, &of_groups);
    *verdict = (tr_trial_verdict){
        .best = best,
        .value = from + step * vertex(figure, n, best),
        .error = step * fmax(standard_error(values), of_groups),
        .sigma = error > 0.0 ? rise(figure, n, best) / error : 0.0,
    };
    return status;
}

/* ---- is there a specimen ---- */

/* ln of the mean of profile[n] in a band over that outside it. */
static double log_ratio(const double *profile, size_t n, tr_trial_band band)
{
    double in = 0.0, out = 0.0, inside = (double)(band.end - band.first);
    for (size_t z = 0; z < n; z++)
        *(z >= band.first && z < band.end ? &in : &out) += profile[z];
    double outside = (double)n - inside;
    return outside > 0.0 && in > 0.0 && out > 0.0 ? log(in / inside) - log(out / outside)
                                                  : 0.0;
}

tr_status tr_trial_find_contrast(const tr_trial_measure *m, bool level,
                                 tr_trial_contrast *contrast)
{
    double *profile = tr_calloc("a profile", 2 * m->planes + 1, sizeof *profile);
    if (!profile)
        return TR_ERR_MEMORY;
    double ratios[TR_TRIAL_UNITS], mean = 0.0, squares = 0.0, n = TR_TRIAL_UNITS;
    for (size_t u = 0; u < TR_TRIAL_UNITS; u++) {
        tr_trial_profile(m, level ? TR_TRIAL_SLABS : u / TR_TRIAL_PARTS, TR_TRIAL_THIRDS,
                         u, profile);
        tr_trial_band band = tr_trial_find_band(profile, m->planes, profile + m->planes);
        memset(profile, 0, m->planes * sizeof *profile);
        add_unit(m, u, TR_TRIAL_THIRDS, profile);
        ratios[u] = band.gain > 0.0 ? log_ratio(profile, m->planes, band) : 0.0;
        mean += ratios[u] / n;
    }
    for (size_t u = 0; u < TR_TRIAL_UNITS; u++)
        squares += (ratios[u] - mean) * (ratios[u] - mean);
    double error = sqrt(squares / n / (n - 1.0));
    contrast->ratio = exp(mean);
    contrast->sigma = error > 0.0 ? mean / error : 0.0;
    free(profile);
    return TR_OK;
}
