/* Where the specimen is in the trial slabs: samples, thickness and z-shift. */
#include <math.h>
#include <stdlib.h>

#include "common/base/angle.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/trial/trial_say.h"

/* Around what is seen of a specimen: a twentieth of it above and below. */
static const double MARGIN = 1.1;

/* The band of a slab and a third of the columns, or of all of either. */
static tr_status find_band(const tr_trial_measure *m, size_t slab, size_t third,
                           tr_trial_band *band)
{
    double *profile = tr_calloc("a profile", 2 * m->planes + 1, sizeof *profile);
    if (!profile)
        return TR_ERR_MEMORY;
    tr_trial_profile(m, slab, third, TR_TRIAL_UNITS, profile);
    *band = tr_trial_find_band(profile, m->planes, profile + m->planes);
    free(profile);
    return TR_OK;
}

tr_status tr_trial_find_extent(const tr_trial_measure *m, size_t slab,
                               tr_trial_extent *extent)
{
    tr_trial_band band;
    size_t low = m->planes, high = 0;
    for (size_t k = 0; k < TR_TRIAL_SLABS; k++) {
        if (slab != TR_TRIAL_SLABS && slab != k)
            continue;
        TR_TRY(find_band(m, k, TR_TRIAL_THIRDS, &band));
        low = band.first < low ? band.first : low;
        high = band.end > high ? band.end : high;
    }
    double middle = (double)m->planes / 2.0;
    *extent = (tr_trial_extent){.low = (double)low - middle,
                                .high = (double)high - middle,
                                .cut = low == 0 || high == m->planes};
    return TR_OK;
}

static void set_marks(tr_trial_sheet_panel *panel, size_t strip, const tr_trial_extent *e,
                      size_t planes)
{
    panel->marked = true;
    panel->mark[strip][0] = e->low + (double)planes / 2.0;
    panel->mark[strip][1] = e->high + (double)planes / 2.0;
}

/* ---- thickness ---- */

static long rounded_up(double pixels) { return 2 * (long)ceil(pixels / 2.0); }

/* The share of the specimen's part of the profile within so many planes about the
 * middle. */
static tr_status find_share(const tr_trial_measure *m, const tr_trial_extent *e,
                            double planes, double *share)
{
    double *profile = tr_calloc("a profile", m->planes, sizeof *profile);
    if (!profile)
        return TR_ERR_MEMORY;
    double level = 0.0, n = 0.0, all = 0.0, part = 0.0;
    tr_trial_profile(m, TR_TRIAL_SLABS, TR_TRIAL_THIRDS, TR_TRIAL_UNITS, profile);
    for (int pass = 0; pass < 2; pass++)
        for (size_t z = 0; z < m->planes; z++) {
            double at = (double)z + 0.5 - (double)m->planes / 2.0;
            bool inside = at > e->low && at < e->high;
            if (pass == 0 && !inside) {
                level += profile[z];
                n += 1.0;
            } else if (pass == 1 && inside) {
                double above = fmax(profile[z] - (n > 0.0 ? level / n : 0.0), 0.0);
                all += above;
                part += fabs(at) < planes / 2.0 ? above : 0.0;
            }
        }
    free(profile);
    *share = all > 0.0 ? part / all : 0.0;
    return TR_OK;
}

static tr_status print_shares(const tr_trial_findings *f, const tr_trial_extent *e,
                              double needed, tr_trial_sheet_panel *panels)
{
    const tr_trial_spec *spec = f->spec;
    const tr_trial_measure *m = &f->measures[spec->n - 1];
    bool found = false;
    tr_info("%12s  share of the specimen", "thickness");
    for (size_t k = 0; k < spec->n; k++) {
        double share, value = tr_trial_value(spec, k);
        TR_TRY(find_share(m, e, (double)f->geometries[k].thickness, &share));
        bool best = !found && value >= needed;
        panels[k].framed = best;
        found = found || best;
        tr_info("%12g  %3.0f %%%s", value, 100.0 * share, best ? "  best" : "");
    }
    return TR_OK;
}

tr_status tr_trial_say_thickness(const tr_trial_findings *f, tr_trial_sheet_panel *panels)
{
    size_t last = f->spec->n - 1;
    double bin = (double)f->options->views.bin;
    bool stands_out;
    tr_trial_extent e;
    TR_TRY(tr_trial_find_extent(&f->measures[last], TR_TRIAL_SLABS, &e));
    double thick = (e.high - e.low) * bin, middle = (e.high + e.low) / 2.0 * bin;
    double needed = 2.0 * fmax(e.high, -e.low) * bin * MARGIN;
    TR_TRY(print_shares(f, &e, needed, panels));
    for (size_t k = 0; k < f->spec->n; k++) {
        const tr_trial_extent in_panel = e;
        set_marks(&panels[k], 0, &in_panel, f->geometries[k].thickness);
    }
    TR_TRY(tr_trial_stands_out(&f->measures[last], true, &stands_out));
    if (!stands_out)
        return TR_OK;
    if (e.cut) {
        tr_warn("inconclusive: the specimen reaches the end of the thickest slab, %g "
                "pixels; go on with larger values",
                tr_trial_value(f->spec, last));
        return TR_OK;
    }
    tr_info("the specimen is %.0f pixels thick, its middle %+.0f pixels from that of the "
            "volume",
            thick, middle);
    tr_info("suggested: --thickness %ld", rounded_up(needed));
    if (fabs(middle) > 0.05 * thick)
        tr_info("or: --thickness %ld --z-shift %.0f", rounded_up(thick * MARGIN),
                f->options->z_shift - middle);
    return TR_OK;
}

/* ---- z-shift ---- */

tr_status tr_trial_say_z_shift(const tr_trial_findings *f, tr_trial_sheet_panel *panels)
{
    const tr_trial_spec *spec = f->spec;
    double bin = (double)f->options->views.bin, least = INFINITY, suggested = 0.0;
    size_t best = spec->n;
    bool stands_out;
    tr_info("%12s  middle of the specimen", "z-shift");
    for (size_t k = 0; k < spec->n; k++) {
        tr_trial_extent e;
        TR_TRY(tr_trial_find_extent(&f->measures[k], TR_TRIAL_SLABS, &e));
        set_marks(&panels[k], 0, &e, f->geometries[k].thickness);
        double middle = (e.low + e.high) / 2.0 * bin, value = tr_trial_value(spec, k);
        tr_info("%12g  %+.1f pixels%s", value, middle, e.cut ? ", cut" : "");
        if (!e.cut && fabs(middle) < least) {
            best = k;
            least = fabs(middle);
            suggested = value - middle;
        }
    }
    size_t shown = best < spec->n ? best : spec->n / 2;
    TR_TRY(tr_trial_stands_out(&f->measures[shown], true, &stands_out));
    if (!stands_out)
        return TR_OK;
    if (best == spec->n) {
        tr_warn("inconclusive: the specimen reaches the end of the volume at every "
                "z-shift; give a larger --thickness");
        return TR_OK;
    }
    panels[best].framed = true;
    if (suggested < spec->from - spec->step ||
        suggested > tr_trial_value(spec, spec->n - 1) + spec->step)
        tr_warn("inconclusive: the z-shift that centres the specimen, about %.0f pixels, "
                "is beyond the range; go on there",
                suggested);
    else
        tr_info("suggested: --z-shift %.1f", suggested);
    return TR_OK;
}

/* ---- samples ---- */

/* The plane z = a + b x + d y through the specimen's middle in nine places. */
typedef struct slope {
    double x, y; /* b and d */
} slope;

static tr_status find_slope(const tr_trial_findings *f, slope *s)
{
    /* Thirds and slabs are evenly spaced, so the sums over x and y come apart. */
    double along_x = 0.0, along_y = 0.0;
    const tr_trial_measure *m = f->measures;
    for (size_t slab = 0; slab < TR_TRIAL_SLABS; slab++)
        for (size_t third = 0; third < TR_TRIAL_THIRDS; third++) {
            tr_trial_band band;
            TR_TRY(find_band(m, slab, third, &band));
            double z = ((double)band.first + (double)band.end) / 2.0;
            along_x += ((double)third - 1.0) * z;
            along_y += ((double)slab - 1.0) * z;
        }
    s->x = along_x / (2.0 * TR_TRIAL_SLABS);
    s->y = along_y / (2.0 * TR_TRIAL_THIRDS);
    return TR_OK;
}

tr_status tr_trial_say_samples(const tr_trial_findings *f, tr_trial_sheet_panel *panels)
{
    static const char *const names[] = {"bottom", "middle", "top"};
    double bin = (double)f->options->views.bin;
    bool stands_out;
    tr_trial_extent all;
    TR_TRY(tr_trial_stands_out(f->measures, false, &stands_out));
    if (!stands_out)
        return TR_OK;
    for (size_t slab = 0; slab < TR_TRIAL_SLABS; slab++) {
        tr_trial_extent e;
        TR_TRY(tr_trial_find_extent(f->measures, slab, &e));
        set_marks(&panels[TR_TRIAL_SLABS - 1 - slab], 0, &e, f->geometries->thickness);
        tr_info("%-6s slab: specimen from %+.0f to %+.0f pixels, %.0f thick%s",
                names[slab], e.low * bin, e.high * bin, (e.high - e.low) * bin,
                e.cut ? "; it reaches the end of the volume" : "");
    }
    TR_TRY(tr_trial_find_extent(f->measures, TR_TRIAL_SLABS, &all));
    slope s;
    TR_TRY(find_slope(f, &s));
    double columns = (double)f->measures->columns / TR_TRIAL_THIRDS;
    double rows = (double)(f->slab_first[1] - f->slab_first[0]);
    tr_info("it rises by %+.1f degrees to the right and by %+.1f degrees from bottom to "
            "top",
            atan(s.x / columns) * TR_DEGREES, atan(s.y / rows) * TR_DEGREES);
    return TR_OK;
}
