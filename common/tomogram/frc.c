#include "common/tomogram/frc.h"

#include <fftw3.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "formats/format.h"
#include "common/base/angle.h"
#include "common/base/first_error.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "kernels/fftw_planner.h"

enum { MOST_SECTIONS = 64, MOST_RINGS = 512, TAPER_PART = 10 };

const double tr_frc_thresholds[TR_FRC_THRESHOLDS] = {0.5, 0.143};

/* ---- planes of a volume ---- */

typedef struct plane_kind {
    const char *name;
    bool by_sections; /* a plane is a section of the file; else a row of each */
    size_t nx, ny;    /* of a plane */
    size_t planes;
} plane_kind;

static plane_kind kind_of(const tr_image_info *info, bool xyz, int curve)
{
    bool by_sections = xyz == (curve == TR_FRC_XY);
    return (plane_kind){.name = curve == TR_FRC_XY ? "x-y" : "x-z",
                        .by_sections = by_sections,
                        .nx = info->nx,
                        .ny = by_sections ? info->ny : info->nz,
                        .planes = by_sections ? info->nz : info->ny};
}

static tr_status read_plane(tr_image *image, const plane_kind *kind, size_t k, float *out)
{
    if (kind->by_sections)
        return tr_image_read(image, k, 0, kind->ny, 0, kind->nx, out);
    for (size_t section = 0; section < kind->ny; section++)
        TR_TRY(
            tr_image_read(image, section, k, 1, 0, kind->nx, out + section * kind->nx));
    return TR_OK;
}

/* ---- one plane ---- */

/* Weights of n samples that fall to 0 at both ends. */
static void make_taper(size_t n, double *weight)
{
    size_t edge = n / TAPER_PART;
    for (size_t i = 0; i < n; i++) {
        size_t from_end = i < n - 1 - i ? i : n - 1 - i;
        double s = from_end < edge
                       ? sin(0.5 * TR_PI * ((double)from_end + 0.5) / (double)edge)
                       : 1.0;
        weight[i] = s * s;
    }
}

/* (value - mean) times the weights, where the mean is the weighted one. */
static void apply_taper(const double *wx, size_t nx, const double *wy, size_t ny,
                        float *plane)
{
    double sum = 0.0, weights = 0.0;
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++) {
            sum += wx[x] * wy[y] * plane[y * nx + x];
            weights += wx[x] * wy[y];
        }
    double mean = sum / weights;
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++)
            plane[y * nx + x] = (float)((plane[y * nx + x] - mean) * wx[x] * wy[y]);
}

typedef struct ring_sums {
    double cross, even, odd, samples;
} ring_sums;

/* What all threads share. */
typedef struct comparison {
    tr_image *image[2];
    plane_kind kind;
    size_t n; /* rings */
    double *wx, *wy;
    fftwf_plan transform;
    size_t sections;
    ring_sums *sums; /* [sections][n] */
} comparison;

/* What a thread has of its own. */
typedef struct workspace {
    float *plane;
    fftwf_complex *spectrum[2];
} workspace;

static size_t spectrum_size(const plane_kind *kind)
{
    return kind->ny * (kind->nx / 2 + 1);
}

static void add_rings(const comparison *c, const workspace *w, ring_sums *sums)
{
    size_t nx = c->kind.nx, ny = c->kind.ny, line = nx / 2 + 1;
    for (size_t ky = 0; ky < ny; ky++) {
        double fy = (ky <= ny / 2 ? (double)ky : (double)ky - (double)ny) / (double)ny;
        for (size_t kx = 0; kx < line; kx++) {
            double fx = (double)kx / (double)nx;
            double ring = round(sqrt(fx * fx + fy * fy) * 2.0 * (double)c->n);
            if (ring < 1.0 || ring > (double)c->n)
                continue;
            /* The other half of the plane has the conjugates. */
            double twice = kx == 0 || 2 * kx == nx ? 1.0 : 2.0;
            const float *a = w->spectrum[0][ky * line + kx],
                        *b = w->spectrum[1][ky * line + kx];
            ring_sums *s = &sums[(size_t)ring - 1];
            s->cross += twice * ((double)a[0] * b[0] + (double)a[1] * b[1]);
            s->even += twice * ((double)a[0] * a[0] + (double)a[1] * a[1]);
            s->odd += twice * ((double)b[0] * b[0] + (double)b[1] * b[1]);
            s->samples += twice;
        }
    }
}

static tr_status compare_section(const comparison *c, size_t k, const workspace *w)
{
    size_t plane = (2 * k + 1) * c->kind.planes / (2 * c->sections);
    for (int i = 0; i < 2; i++) {
        TR_TRY(read_plane(c->image[i], &c->kind, plane, w->plane));
        apply_taper(c->wx, c->kind.nx, c->wy, c->kind.ny, w->plane);
        fftwf_execute_dft_r2c(c->transform, w->plane, w->spectrum[i]);
    }
    add_rings(c, w, c->sums + k * c->n);
    return TR_OK;
}

/* ---- all planes of a kind ---- */

static bool new_workspace(const plane_kind *kind, workspace *w)
{
    w->plane = fftwf_alloc_real(kind->nx * kind->ny);
    for (int i = 0; i < 2; i++)
        w->spectrum[i] = fftwf_alloc_complex(spectrum_size(kind));
    return w->plane && w->spectrum[0] && w->spectrum[1];
}

static void free_workspace(workspace *w)
{
    fftwf_free(w->plane);
    fftwf_free(w->spectrum[0]);
    fftwf_free(w->spectrum[1]);
}

static tr_status no_memory(const plane_kind *kind)
{
    return tr_fail(TR_ERR_MEMORY, "not enough memory to correlate planes of %zu x %zu",
                   kind->nx, kind->ny);
}

static tr_status compare_sections(const comparison *c, const tr_frc_spec *spec)
{
    size_t each = c->kind.nx * c->kind.ny * sizeof(float) +
                  2 * spectrum_size(&c->kind) * sizeof(fftwf_complex);
    TR_ASSERT(each > 0);
    size_t fit = spec->memory / each;
    int workers = fit < (size_t)spec->threads ? (int)fit : spec->threads;
    workers = workers > 0 ? workers : 1;
    tr_first_error failure = TR_NO_ERROR_YET;
#pragma omp parallel num_threads(workers)
    {
        workspace w = {0};
        bool complete = new_workspace(&c->kind, &w);
#pragma omp for schedule(dynamic)
        for (size_t k = 0; k < c->sections; k++)
            if (tr_first_error_needs(&failure, k))
                tr_first_error_note(&failure, k,
                                    complete ? compare_section(c, k, &w)
                                             : no_memory(&c->kind));
        free_workspace(&w);
    }
    return tr_first_error_end(&failure);
}

static tr_status prepare(comparison *c)
{
    const plane_kind *kind = &c->kind;
    size_t longer = kind->nx > kind->ny ? kind->nx : kind->ny;
    c->n = longer / 2 < MOST_RINGS ? longer / 2 : MOST_RINGS;
    c->n = c->n ? c->n : 1;
    c->sections = kind->planes < MOST_SECTIONS ? kind->planes : MOST_SECTIONS;
    c->wx = tr_calloc("a taper", kind->nx, sizeof *c->wx);
    c->wy = tr_calloc("a taper", kind->ny, sizeof *c->wy);
    c->sums = tr_calloc("sums over rings", c->sections * c->n, sizeof *c->sums);
    if (!c->wx || !c->wy || !c->sums)
        return TR_ERR_MEMORY;
    make_taper(kind->nx, c->wx);
    make_taper(kind->ny, c->wy);
    workspace w = {0};
    if (new_workspace(kind, &w)) {
        tr_fftw_planner_lock();
        c->transform = fftwf_plan_dft_r2c_2d((int)kind->ny, (int)kind->nx, w.plane,
                                             w.spectrum[0], FFTW_ESTIMATE);
        tr_fftw_planner_unlock();
    }
    free_workspace(&w);
    return c->transform ? TR_OK : no_memory(kind);
}

/* ---- the curve ---- */

/* The first ring from k on that is not below, or below, the level; n where none is. */
static size_t next_ring(const tr_frc_curve *curve, size_t k, double level, bool below)
{
    while (k < curve->n && (curve->correlation[k] < level) != below)
        k++;
    return k;
}

/* The lower threshold is looked for from the crossing of the higher one on, so that a dip
 * among the first rings, which have few samples, does not count. */
static void find_crossings(tr_frc_curve *curve)
{
    const double *f = curve->frequency, *c = curve->correlation;
    size_t k = 0;
    for (size_t t = 0; t < TR_FRC_THRESHOLDS; t++) {
        double level = tr_frc_thresholds[t];
        bool was_above = t > 0 && curve->state[t - 1] != TR_FRC_NEVER_ABOVE;
        size_t above = was_above ? k : next_ring(curve, 0, level, false);
        curve->state[t] = TR_FRC_NEVER_ABOVE;
        curve->crossing[t] = 0.0;
        if (above == curve->n && !was_above)
            continue;
        curve->state[t] = TR_FRC_STAYS_ABOVE;
        k = next_ring(curve, above, level, true);
        if (k == curve->n)
            continue;
        curve->state[t] = TR_FRC_CROSSES;
        double part = (c[k - 1] - level) / (c[k - 1] - c[k]);
        curve->crossing[t] = f[k - 1] + part * (f[k] - f[k - 1]);
    }
}

static tr_status make_curve(const comparison *c, tr_frc_curve *curve)
{
    curve->plane = c->kind.name;
    curve->sections = c->sections;
    curve->n = c->n;
    curve->frequency = tr_calloc("a curve", c->n, sizeof(double));
    curve->correlation = tr_calloc("a curve", c->n, sizeof(double));
    curve->samples = tr_calloc("a curve", c->n, sizeof(double));
    if (!curve->frequency || !curve->correlation || !curve->samples)
        return TR_ERR_MEMORY;
    for (size_t r = 0; r < c->n; r++) {
        ring_sums all = {0};
        for (size_t k = 0; k < c->sections; k++) { /* in this order, always */
            const ring_sums *s = &c->sums[k * c->n + r];
            all.cross += s->cross;
            all.even += s->even;
            all.odd += s->odd;
            all.samples += s->samples;
        }
        double power = sqrt(all.even * all.odd);
        curve->frequency[r] = (double)(r + 1) / (2.0 * (double)c->n);
        curve->correlation[r] = power > 0.0 ? all.cross / power : 0.0;
        curve->samples[r] = all.samples;
    }
    find_crossings(curve);
    return TR_OK;
}

static tr_status compare_kind(const tr_frc_spec *spec, tr_image *const *image, int which,
                              tr_frc_curve *curve)
{
    comparison c = {.image = {image[0], image[1]},
                    .kind = kind_of(tr_image_get_info(image[0]), spec->xyz, which)};
    tr_status status = prepare(&c);
    if (status == TR_OK)
        status = compare_sections(&c, spec);
    if (status == TR_OK)
        status = make_curve(&c, curve);
    tr_fftw_planner_lock();
    if (c.transform)
        fftwf_destroy_plan(c.transform);
    tr_fftw_planner_unlock();
    free(c.wx);
    free(c.wy);
    free(c.sums);
    return status;
}

static tr_status compare(const tr_frc_spec *spec, tr_image *const *image, tr_frc *frc)
{
    const tr_image_info *a = tr_image_get_info(image[0]),
                        *b = tr_image_get_info(image[1]);
    if (a->nx != b->nx || a->ny != b->ny || a->nz != b->nz)
        return tr_fail(TR_ERR_DATA,
                       "%s has %zu x %zu x %zu voxels and %s has %zu x %zu x %zu: they "
                       "cannot be correlated",
                       spec->even, a->nx, a->ny, a->nz, spec->odd, b->nx, b->ny, b->nz);
    for (int which = 0; which < TR_FRC_CURVES; which++) {
        frc->n_curves++;
        TR_TRY(compare_kind(spec, image, which, &frc->curve[which]));
    }
    return TR_OK;
}

tr_status tr_frc_of_files(const tr_frc_spec *spec, tr_frc *frc)
{
    tr_image *image[2] = {NULL, NULL};
    *frc = (tr_frc){.pixel = spec->pixel};
    snprintf(frc->of, sizeof frc->of, "%s", spec->of ? spec->of : "the half sets");
    tr_status status = tr_image_open(spec->even, &image[0]);
    if (status == TR_OK)
        status = tr_image_open(spec->odd, &image[1]);
    if (status == TR_OK)
        status = compare(spec, image, frc);
    tr_image_close(image[0]);
    tr_image_close(image[1]);
    if (status != TR_OK)
        tr_frc_free(frc);
    return status;
}

void tr_frc_free(tr_frc *frc)
{
    for (size_t k = 0; k < frc->n_curves; k++) {
        free(frc->curve[k].frequency);
        free(frc->curve[k].correlation);
        free(frc->curve[k].samples);
    }
    *frc = (tr_frc){.n_curves = 0};
}

/* ---- the log ---- */

void tr_frc_crossing_text(const tr_frc *frc, const tr_frc_curve *curve, size_t k,
                          char *text, size_t size)
{
    double pixel = frc->pixel > 0.0 ? frc->pixel : 1.0;
    const char *unit = frc->pixel > 0.0 ? "A" : "voxels";
    if (curve->state[k] == TR_FRC_NEVER_ABOVE)
        snprintf(text, size, "not reached");
    else if (curve->state[k] == TR_FRC_STAYS_ABOVE)
        snprintf(text, size, "finer than %.4g %s", 2.0 * pixel, unit);
    else
        snprintf(text, size, "%.4g %s", pixel / curve->crossing[k], unit);
}

/* The correlation at a frequency, between rings linearly. */
static double correlation_at(const tr_frc_curve *c, double frequency)
{
    double at = frequency * 2.0 * (double)c->n - 1.0;
    if (at <= 0.0)
        return c->correlation[0];
    size_t k = (size_t)at;
    if (k + 1 >= c->n)
        return c->correlation[c->n - 1];
    double part = at - (double)k;
    return (1.0 - part) * c->correlation[k] + part * c->correlation[k + 1];
}

void tr_frc_print(const tr_frc *frc)
{
    enum { LINES = 10 };
    char text[TR_FRC_CURVES][TR_FRC_THRESHOLDS][64];
    if (!frc->n_curves)
        return;
    const tr_frc_curve *xy = &frc->curve[TR_FRC_XY], *xz = &frc->curve[TR_FRC_XZ];
    tr_info("Fourier ring correlation of %s, %zu x-y and %zu x-z sections:", frc->of,
            xy->sections, xz->sections);
    tr_info("%10s%12s%9s%9s", "1/voxel", frc->pixel > 0.0 ? "angstroms" : "voxels",
            xy->plane, xz->plane);
    for (int k = 1; k <= LINES; k++) {
        double f = 0.5 * k / LINES;
        tr_info("%10.3f%12.4g%9.3f%9.3f", f, (frc->pixel > 0.0 ? frc->pixel : 1.0) / f,
                correlation_at(xy, f), correlation_at(xz, f));
    }
    for (size_t c = 0; c < TR_FRC_CURVES; c++)
        for (size_t k = 0; k < TR_FRC_THRESHOLDS; k++)
            tr_frc_crossing_text(frc, &frc->curve[c], k, text[c][k], sizeof text[c][k]);
    tr_info("FRC of x-y sections: 0.5 at %s, 0.143 at %s; of x-z sections: 0.5 at %s, "
            "0.143 at %s",
            text[0][0], text[0][1], text[1][0], text[1][1]);
}
