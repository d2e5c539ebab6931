/* What thin trial slabs say of the geometry: a figure for each kind of parameter, its
 * uncertainty, and the best value, or the reason why there is none.
 *
 * A trial of one geometry is measured in TR_TRIAL_UNITS units: three slabs along the tilt
 * axis (bottom, middle, top) times four parts of neighbouring slices. Units are as good
 * as independent, so leaving out one at a time (the jackknife) says how far the data
 * themselves determine a figure or a best value.
 *
 * Flatness. Where a specimen is, density varies from place to place; above and below it
 * only noise and the streaks of views do. So the profile p(z), the mean over the columns
 * of |d|, d the band-passed density, has two levels. For amplitudes of a Laplace
 * distribution the logarithm of the likelihood of a band [a, b) with a level of its own,
 * over that of one level throughout, is per voxel
 *
 *     G = ln <p> - f ln <p>_in - (1 - f) ln <p>_out,    f = (b - a) / planes,
 *
 * and G of a profile is that of its best band. A slab that leans smears its edges over
 * the planes, which lowers G. G rises with the sharpness of the band's edges alone and
 * not with what a specimen looks like, and amplitudes rather than squares keep a gold
 * bead from outweighing everything else.
 *   tilt offset: turns the volume in x-z; nothing becomes less sharp. The mean of G over
 *     the slabs, each with a band of its own.
 *   pitch: turns it in y-z; G of the one profile of all slabs together, which is highest
 *     when they lie at the same height.
 *   thickness, z-shift: the best band itself.
 *
 * Sharpness. A wrong axis shift by s leaves the lines of the views s (1 - cos tilt) from
 * a point: it becomes an arc. The energy of a backprojection does not show that, for
 * views hardly overlap in Fourier space; the peaks do, because only what comes together
 * in one place makes one. So the figure is the kurtosis <d^4> / <d^2>^2 of the
 * band-passed density of each slice, the geometric mean over the units. It is 3 for
 * noise. Only columns that all views see at any shift count, or views that enter at the
 * sides would speak louder than the arcs. It is made for many small things. The round
 * sides of one large body draw together to a point at the wrong shift, but the left side
 * at one and the right side at the opposite one: so the thirds of the columns are judged
 * apart, and where they disagree, that is the error. */
#ifndef TR_TRIAL_FIGURE_H
#define TR_TRIAL_FIGURE_H

#include "common/base/err.h"

enum {
    TR_TRIAL_SLABS = 3,
    TR_TRIAL_PARTS = 4,
    TR_TRIAL_UNITS =
        TR_TRIAL_SLABS * TR_TRIAL_PARTS, /* unit = slab * TR_TRIAL_PARTS + part */
    TR_TRIAL_THIRDS = 3                  /* of the columns: left, middle, right */
};

/* One geometry, as measured; what the pointers show belongs to the caller. */
typedef struct tr_trial_measure {
    size_t planes;
    size_t columns;            /* that are looked at, in equal thirds */
    double *squares, *fourths; /* [unit][third] means of d^2 and d^4, for sharpness */
    double *profile;           /* [unit][third][planes] means of |d|, for flatness */
} tr_trial_measure;

/* The best band of a profile[n], all values above 0; until[n + 1] is workspace. */
typedef struct tr_trial_band {
    size_t first, end; /* planes [first, end) */
    double gain;       /* G; 0 where no band has a higher level than the rest */
} tr_trial_band;
tr_trial_band tr_trial_find_band(const double *profile, size_t n, double *until);

typedef enum tr_trial_kind {
    TR_TRIAL_FLAT,
    TR_TRIAL_LEVEL,
    TR_TRIAL_SHARP
} tr_trial_kind;

/* The profile of a slab (of all slabs where it is TR_TRIAL_SLABS) and a third of the
 * columns (all where it is TR_TRIAL_THIRDS) into profile[planes], without the unit `out`
 * (none where it is TR_TRIAL_UNITS). */
void tr_trial_profile(const tr_trial_measure *m, size_t slab, size_t third, size_t out,
                      double *profile);

typedef struct tr_trial_contrast {
    double ratio; /* amplitude inside the band over that outside */
    double sigma; /* ln(ratio) in units of its standard error */
} tr_trial_contrast;

/* Whether there is a specimen at all: each unit's amplitude inside and outside the band
 * that the other units of its slab show (with `level`, all others), so that noise gives
 * a ratio of 1 on average and not the best that chance offers. Errors: memory. */
TR_CHECKED tr_status tr_trial_find_contrast(const tr_trial_measure *m, bool level,
                                            tr_trial_contrast *contrast);

typedef struct tr_trial_verdict {
    size_t best;         /* index of the highest figure */
    double value, error; /* the vertex of the parabola through it and its neighbours, and
                            its standard error, the larger one of the jackknife's
                            and that of the three slabs' (flat) or thirds' (level, sharp)
                            best values; with an end as best, that value */
    double sigma;        /* the best figure above the mean of all, in standard errors */
} tr_trial_verdict;

/* The figure of each of n >= 3 geometries, evenly spaced from `from` in steps of `step`,
 * into figure[n], and what follows from them. Errors: memory. */
TR_CHECKED tr_status tr_trial_judge(tr_trial_kind kind, const tr_trial_measure *measures,
                                    size_t n, double from, double step, double *figure,
                                    tr_trial_verdict *verdict);

#endif
