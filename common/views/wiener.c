#include "common/views/wiener.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/base/angle.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/views/ctf.h"
#include "common/views/dose.h"

/* Of a ring and view; the mean stands behind the rings'. */
enum { POWER, POWER_H2, H2, H4, NOISE, COUNT, N_SUMS };
enum { FEWEST_RINGS = 20, MOST_RINGS = 200, LEAST_FITTED = 6 };
static const double plateau =
    0.85; /* of the highest frequency, from where all is noise */

size_t tr_wiener_rings(size_t nx, size_t ny, double pixel)
{
    const double spacing = 432.0; /* angstroms: a ring is 1 / 432 wide, */
    double n = 0.5 * spacing / pixel, most = 0.5 * (double)(nx < ny ? nx : ny);
    n = fmin(fmax(n, FEWEST_RINGS), fmin(most, MOST_RINGS)); /* or a step of the DFT */
    return n >= 1.0 ? (size_t)n : 1;
}

size_t tr_wiener_sums(size_t rings) { return N_SUMS * rings + 1; }

static double centre(size_t ring, size_t rings)
{
    return ((double)ring + 0.5) * 0.5 / (double)rings;
}

/* In the units of the spectrum, as if normalization had left it. */
static double mean_of(const tr_view_params *params, const tr_view_facts *view,
                      double mean)
{
    if (params->normalize == TR_NORMALIZE_MEAN)
        return view->level;
    if (params->normalize == TR_NORMALIZE_MEAN_STD)
        return view->level / view->deviation;
    return mean;
}

/* What a view does to the specimen's amplitudes, by ring and frequency. */
typedef struct transfer {
    const tr_view_facts *view;
    tr_ctf_phase phase;
    double weight[MOST_RINGS];
} transfer;

static transfer transfer_of(const tr_view_params *params, const tr_view_facts *view,
                            size_t rings)
{
    const tr_optics optics = {params->voltage, params->cs, params->amplitude};
    double counted = params->dose ? tr_dose_counted(params, view->view) : 0.0;
    transfer t = {.view = view};
    if (params->ctf)
        t.phase = tr_ctf_phase_of(&view->view->ctf, &optics);
    for (size_t r = 0; r < rings; r++)
        t.weight[r] =
            params->dose ? tr_dose_weight(params, counted, centre(r, rings) / view->pixel)
                         : 1.0;
    return t;
}

/* Of one frequency, whole or halves; what is taken for noise of whole ones is so beyond
 * the plateau's beginning. */
static void add_power(double signal, double noise, double h, double *sum)
{
    sum[POWER] += signal;
    sum[POWER_H2] += signal * h * h;
    sum[H2] += h * h;
    sum[H4] += h * h * h * h;
    sum[NOISE] += noise;
    sum[COUNT] += 1.0;
}

/* odd NULL: `even` is the whole view's. */
static void add_spectra(const tr_view_params *params, const tr_view_facts *view,
                        size_t nx, size_t ny, float (*even)[2], float (*odd)[2],
                        size_t rings, double *sums)
{
    const transfer t = transfer_of(params, view, rings);
    double pixels = (double)nx * (double)ny;
    memset(sums, 0, tr_wiener_sums(rings) * sizeof *sums);
    for (size_t ky = 0; ky < ny; ky++) {
        double y = (ky > ny / 2 ? (double)ky - (double)ny : (double)ky) / (double)ny;
        for (size_t kx = 0; kx <= nx / 2; kx++) {
            double x = (double)kx / (double)nx, k = sqrt(x * x + y * y);
            size_t ring = (size_t)(k * 2.0 * (double)rings);
            if (ring >= rings || (kx == 0 && ky == 0))
                continue;
            const float *e = even[ky * (nx / 2 + 1) + kx],
                        *o = odd ? odd[ky * (nx / 2 + 1) + kx] : e;
            double power = ((double)e[0] * o[0] + (double)e[1] * o[1]) / pixels;
            double h = t.weight[ring];
            if (params->ctf)
                h *= tr_ctf_value(&t.phase, x / view->pixel, y / view->pixel);
            double dx = (double)e[0] - o[0], dy = (double)e[1] - o[1];
            double noise = odd ? (dx * dx + dy * dy) / (4.0 * pixels) : power;
            add_power(power, noise, h, sums + N_SUMS * ring);
        }
    }
    double mean = odd ? 0.5 * ((double)even[0][0] + odd[0][0]) : even[0][0];
    sums[N_SUMS * rings] = mean_of(params, view, mean / pixels);
}

void tr_wiener_add(const tr_view_params *params, const tr_view_facts *view, size_t nx,
                   size_t ny, float (*spectrum)[2], size_t rings, double *sums)
{
    add_spectra(params, view, nx, ny, spectrum, NULL, rings, sums);
}

void tr_wiener_add_halves(const tr_view_params *params, const tr_view_facts *view,
                          size_t nx, size_t ny, float (*even)[2], float (*odd)[2],
                          size_t rings, double *sums)
{
    add_spectra(params, view, nx, ny, even, odd, rings, sums);
}

/* ---- noise ---- */

/* Mean between two parts of the highest frequency of what is noise there; of whole views,
 * of their power. */
static double noise_between(const double *sums, size_t rings, double from, double to)
{
    double power = 0.0, n = 0.0;
    for (size_t r = 0; r < rings; r++) {
        double k = 2.0 * centre(r, rings);
        if (k < from || k >= to)
            continue;
        power += sums[N_SUMS * r + NOISE];
        n += sums[N_SUMS * r + COUNT];
    }
    return n > 0.0 ? power / n : 0.0;
}

/* Whether what is taken for noise is flat, and not what a low pass has left of it. */
static bool is_flat(const double *sums, size_t n, size_t rings)
{
    const double middle = 0.5 * (plateau + 1.0);
    double low = 0.0, high = 0.0, before = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double *of = sums + i * tr_wiener_sums(rings);
        double noise = noise_between(of, rings, plateau, 1.0);
        if (!(noise > 0.0))
            return false;
        low += noise_between(of, rings, plateau, middle) / noise;
        high += noise_between(of, rings, middle, 1.0) / noise;
        before += noise_between(of, rings, 0.5, 0.6) / noise;
    }
    return low < 1.3 * high && high < 1.3 * low && before < 10.0 * (double)n;
}

/* The views' means, if they are counts, of which a part is lost where the specimen is
 * thick; 1 where they have been taken away. */
static void find_gains(const tr_view_params *params, size_t n, size_t rings,
                       const double *sums, double *gain)
{
    bool counts = !params->log;
    for (size_t i = 0; i < n; i++) {
        const double *of = sums + i * tr_wiener_sums(rings);
        double deviation = sqrt(noise_between(of, rings, plateau, 1.0));
        gain[i] = fabs(of[N_SUMS * rings]);
        counts = counts && gain[i] > 0.5 * deviation;
    }
    for (size_t i = 0; i < n && !counts; i++)
        gain[i] = 1.0;
}

/* ---- the specimen's power ---- */

/* What all views say. */
typedef struct evidence {
    const tr_view *views;
    size_t n, rings;
    const double *sums, *gain;
    bool halves;
} evidence;

/* One ring of P, and its standard deviation by the noise alone. */
static double power_of(const evidence *e, size_t ring, double *deviation)
{
    double above = 0.0, below = 0.0, variance = 0.0;
    for (size_t i = 0; i < e->n; i++) {
        const double *of = e->sums + i * tr_wiener_sums(e->rings);
        const double *sum = of + N_SUMS * ring;
        double noise = noise_between(of, e->rings, plateau, 1.0), gain = e->gain[i];
        double c = fmax(cos(e->views[i].tilt * TR_RADIANS), 0.1);
        double weight = pow(gain, 4.0) / (noise * noise); /* 1 / N^2 */
        double own = e->halves ? 0.0 : noise;
        above += weight * (sum[POWER_H2] - own * sum[H2]) / (gain * gain * c);
        below += weight * sum[H4] / (c * c);
        variance += weight * sum[H4] / (c * c); /* weight^2 N^2 */
    }
    variance *= e->halves ? 2.0 : 1.0; /* each has twice the noise */
    *deviation = below > 0.0 ? sqrt(variance) / below : INFINITY;
    return below > 0.0 ? above / below : 0.0;
}

/* Four equations; false: they do not determine x. */
static bool solve(double a[4][5], double x[4])
{
    for (int c = 0; c < 4; c++) {
        int best = c;
        for (int r = c + 1; r < 4; r++)
            best = fabs(a[r][c]) > fabs(a[best][c]) ? r : best;
        if (!(fabs(a[best][c]) > 1e-12))
            return false;
        for (int j = 0; j < 5; j++) {
            double swap = a[c][j];
            a[c][j] = a[best][j];
            a[best][j] = swap;
        }
        for (int r = 0; r < 4; r++) {
            double times = r == c ? 0.0 : a[r][c] / a[c][c];
            for (int j = c; j < 5; j++)
                a[r][j] -= times * a[c][j];
        }
    }
    for (int c = 0; c < 4; c++)
        x[c] = a[c][4] / a[c][c];
    return true;
}

static double cubic_at(const double c[4], double x)
{
    return c[0] + x * (c[1] + x * (c[2] + x * c[3]));
}

/* A cubic of log P over log k, with weights that fall with k and with the distance from
 * the last one. power[r] not above 0: not known. */
static bool fit_cubic(const double *power, size_t rings, size_t last, tr_wiener *w)
{
    double residual[MOST_RINGS] = {0.0};
    w->middle = 0.5 * (log(centre(1, rings)) + log(centre(last, rings)));
    for (int round = 0; round < 4; round++) {
        double a[4][5] = {{0.0}};
        for (size_t r = 1; r <= last; r++) {
            if (!(power[r] > 0.0))
                continue;
            double off = residual[r] / 0.5;
            double weight = exp(-1.5 * centre(r, rings) / centre(rings - 1, rings)) /
                            (1.0 + off * off);
            double x[5] = {1.0, log(centre(r, rings)) - w->middle};
            x[2] = x[1] * x[1];
            x[3] = x[1] * x[2];
            x[4] = log(power[r]);
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 5; j++)
                    a[i][j] += weight * weight * x[i] * x[j];
        }
        if (!solve(a, w->cubic))
            return false;
        for (size_t r = 1; r <= last; r++)
            if (power[r] > 0.0)
                residual[r] =
                    log(power[r]) - cubic_at(w->cubic, log(centre(r, rings)) - w->middle);
    }
    return true;
}

static bool find_power(const evidence *e, tr_wiener *w)
{
    const double sure = 3.0; /* deviations above 0 */
    const size_t rings = e->rings;
    double power[MOST_RINGS];
    size_t last = 0, known = 0;
    for (size_t r = 1; r < rings; r++) {
        double deviation;
        power[r] = power_of(e, r, &deviation);
        if (power[r] > sure * deviation && centre(r, rings) <= 0.5 * plateau)
            last = r;
    }
    for (size_t r = 1; r <= last; r++)
        known += power[r] > 0.0;
    if (known < LEAST_FITTED || !fit_cubic(power, rings, last, w))
        return false;
    w->low = centre(1, rings);
    w->high = fmin(0.8 * 0.5, centre(last, rings));
    double x = log(w->high) - w->middle;
    w->slope = fmin(w->cubic[1] + x * (2.0 * w->cubic[2] + 3.0 * x * w->cubic[3]), -1.0);
    return true;
}

double tr_wiener_power(const tr_wiener *w, double k)
{
    double within = fmin(fmax(k, w->low), w->high);
    double power = exp(cubic_at(w->cubic, log(within) - w->middle));
    return k > w->high ? power * pow(k / w->high, w->slope) : power;
}

/* Linear between the middles of rings. */
static double shape_at(const tr_wiener *w, double k)
{
    double at = fmax(k * 2.0 * (double)w->rings - 0.5, 0.0);
    size_t low = (size_t)at < w->rings - 1 ? (size_t)at : w->rings - 1;
    size_t next = low + 1 < w->rings ? low + 1 : low;
    return w->shape[low] + fmin(at - (double)low, 1.0) * (w->shape[next] - w->shape[low]);
}

/* N c / P. */
static double ratio_of_view(const tr_wiener *w, double noise, double k)
{
    double ratio = noise / tr_wiener_power(w, k);
    return w->shape ? ratio * shape_at(w, k) : ratio;
}

double tr_wiener_ratio(const tr_wiener *w, double noise, double k)
{
    return ratio_of_view(w, noise, k) *
           fmin(1.0, w->overlap > 0.0 ? k * w->overlap : 1.0);
}

double tr_warp_ratio(double f)
{
    double high_pass = 0.5 - 0.5 * cos(TR_PI * fmin(1.0, 150.0 * f));
    return fmax(1e3 * exp(-200.0 * f) * high_pass, 1e-15);
}

/* ---- all of it ---- */

static void say(const tr_wiener *w, const tr_view *views, size_t n, double pixel)
{
    size_t least = 0;
    if (!w->measured && w->shape) {
        tr_warn("the even and odd frames have nothing in common that would be the "
                "specimen: the Wiener filter takes Warp's constants");
        return;
    }
    if (!w->measured) {
        tr_warn("the noise of the views cannot be told from their spectra, which are not "
                "flat at high frequencies, as after a low pass or an interpolation, or "
                "show no specimen: the Wiener filter takes Warp's constants");
        return;
    }
    for (size_t i = 1; i < n; i++)
        least = fabs(views[i].tilt) < fabs(views[least].tilt) ? i : least;
    tr_info("Wiener filter%s: at %g degrees the specimen has %.3g times the power of the "
            "noise at 1/100 of an angstrom, %.3g times at 1/50, %.3g times at 1/25",
            w->shape ? ", from even and odd frames" : "", views[least].tilt,
            1.0 / ratio_of_view(w, w->noise[least], pixel / 100.0),
            1.0 / ratio_of_view(w, w->noise[least], pixel / 50.0),
            1.0 / ratio_of_view(w, w->noise[least], pixel / 25.0));
}

static tr_wiener *new_wiener(size_t n, size_t rings, bool halves, double overlap)
{
    tr_wiener *w = tr_calloc("a Wiener filter", 1, sizeof *w);
    if (!w)
        return NULL;
    w->rings = rings;
    w->overlap = overlap;
    w->noise = tr_calloc("the views' noise", n, sizeof *w->noise);
    if (halves)
        w->shape = tr_calloc("the form of the noise", rings, sizeof *w->shape);
    if (w->noise && (w->shape || !halves))
        return w;
    tr_wiener_free(w);
    return NULL;
}

/* Of the views' noise together, which is in each as high as it is there. */
static void find_noise(const evidence *e, tr_wiener *w)
{
    for (size_t i = 0; i < e->n; i++) {
        const double *of = e->sums + i * tr_wiener_sums(e->rings);
        double noise = noise_between(of, e->rings, plateau, 1.0);
        w->noise[i] = noise * fmax(cos(e->views[i].tilt * TR_RADIANS), 0.1) /
                      (e->gain[i] * e->gain[i]);
        for (size_t r = 0; w->shape && r < e->rings; r++)
            w->shape[r] += of[N_SUMS * r + NOISE] /
                           (fmax(of[N_SUMS * r + COUNT], 1.0) * noise * (double)e->n);
    }
}

tr_status tr_wiener_fit(const tr_view_params *params, const tr_view *views, size_t n,
                        double pixel, bool halves, size_t rings, const double *sums,
                        tr_wiener **wiener)
{
    double *gain = tr_calloc("the views' means", n, sizeof *gain);
    tr_wiener *w = new_wiener(n, rings, halves, params->overlap);
    if (!gain || !w) {
        free(gain);
        tr_wiener_free(w);
        return TR_ERR_MEMORY;
    }
    const evidence e = {views, n, rings, sums, gain, halves};
    find_gains(params, n, rings, sums, gain);
    find_noise(&e, w);
    w->measured = (halves || is_flat(sums, n, rings)) && find_power(&e, w);
    say(w, views, n, pixel);
    free(gain);
    *wiener = w;
    return TR_OK;
}

unsigned long long tr_wiener_hash(const tr_wiener *w, size_t n)
{
    const double values[] = {w->measured, w->cubic[0], w->cubic[1], w->cubic[2],
                             w->cubic[3], w->middle,   w->low,      w->high,
                             w->slope,    w->overlap};
    unsigned long long hash = XXH3_64bits(values, sizeof values);
    hash = XXH3_64bits_withSeed(w->noise, n * sizeof *w->noise, hash);
    return w->shape ? XXH3_64bits_withSeed(w->shape, w->rings * sizeof *w->shape, hash)
                    : hash;
}

void tr_wiener_free(tr_wiener *w)
{
    if (w) {
        free(w->noise);
        free(w->shape);
    }
    free(w);
}
