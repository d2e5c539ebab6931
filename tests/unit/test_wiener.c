/* The Wiener filter's ratio of signal to noise, from spectra whose expected power is
 * known: random amplitudes of h^2 P / c + N in each frequency. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/angle.h"
#include "common/views/ctf.h"
#include "common/views/dose.h"
#include "common/views/wiener.h"

enum { N_VIEWS = 21, N = 192 };
static const double pixel = 5.4;

/* Evenly in (0, 1). */
static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*state >> 11) + 0.5) / 9007199254740992.0;
}

static double falling(double k) { return 0.04 / (1.0 + pow(k / 0.05, 2.5)); }

static double transfer(const tr_view_params *p, const tr_view *view, double x, double y)
{
    const tr_optics optics = {p->voltage, p->cs, p->amplitude};
    const tr_ctf_phase phase = tr_ctf_phase_of(&view->ctf, &optics);
    double weight =
        p->dose ? tr_dose_weight(p, tr_dose_counted(p, view), hypot(x, y) / pixel) : 1.0;
    return weight * tr_ctf_value(&phase, x / pixel, y / pixel);
}

/* A view's spectrum with this noise, of counts with that mean. */
static void make_spectrum(const tr_view_params *p, const tr_view *view, double noise,
                          double mean, uint64_t *seed, float (*spectrum)[2])
{
    for (size_t ky = 0; ky < N; ky++)
        for (size_t kx = 0; kx <= N / 2; kx++) {
            double y = (ky > N / 2 ? (double)ky - N : (double)ky) / N, x = (double)kx / N;
            double h = transfer(p, view, x, y), k = hypot(x, y);
            double power = h * h * falling(k) / cos(view->tilt * TR_RADIANS) + noise;
            double size = mean * sqrt(-log(uniform(seed)) * power * N * N);
            double turn = 2.0 * TR_PI * uniform(seed);
            spectrum[ky * (N / 2 + 1) + kx][0] = (float)(size * cos(turn));
            spectrum[ky * (N / 2 + 1) + kx][1] = (float)(size * sin(turn));
        }
    spectrum[0][0] = (float)(mean * N * N);
    spectrum[0][1] = 0.0f;
}

static double noise_of(size_t i) { return 0.03 + 0.002 * (double)i; }

/* Counts lose a part in thick views: `counts` or contrast, the same is found. */
static tr_wiener *fit(const tr_view_params *p, bool counts, double low_pass)
{
    static float spectrum[N * (N / 2 + 1)][2];
    size_t rings = tr_wiener_rings(N, N, pixel), size = tr_wiener_sums(rings);
    double *sums = calloc(N_VIEWS * size, sizeof *sums);
    uint64_t seed = 7;
    tr_view views[N_VIEWS] = {{.section = 0}};
    tr_wiener *wiener = NULL;
    assert_non_null(sums);
    assert_int_equal(rings, 40);
    for (size_t i = 0; i < N_VIEWS; i++) {
        views[i].tilt = -60.0 + 6.0 * (double)i;
        views[i].exposure = 2.0;
        views[i].prior_exposure = 2.0 * (double)i;
        views[i].ctf = (tr_ctf){29000.0 + 100.0 * (double)i, 28000, 15, 0};
        double mean = counts ? 100.0 - 3.0 * (double)i : 1.0;
        make_spectrum(p, &views[i], noise_of(i), mean, &seed, spectrum);
        if (!counts)
            spectrum[0][0] = 0.0f;
        for (size_t j = 0; j < N * (N / 2 + 1); j++) {
            double y = (double)(j / (N / 2 + 1)), x = (double)(j % (N / 2 + 1));
            if (hypot(x, y > N / 2 ? N - y : y) > low_pass * N)
                spectrum[j][0] = spectrum[j][1] = 0.0f;
        }
        const tr_view_facts facts = {.view = &views[i], .pixel = pixel};
        tr_wiener_add(p, &facts, N, N, spectrum, rings, sums + i * size);
    }
    assert_int_equal(tr_wiener_fit(p, views, N_VIEWS, pixel, false, rings, sums, &wiener),
                     TR_OK);
    free(sums);
    return wiener;
}

static const tr_view_params optics = {
    .ctf = true, .voltage = 300, .cs = 2.7, .amplitude = 0.07, .bin = 1};

static void assert_found(const tr_wiener *w)
{
    assert_true(w->measured);
    for (size_t i = 0; i < N_VIEWS; i++) {
        double c = cos((-60.0 + 6.0 * (double)i) * TR_RADIANS);
        assert_float_equal(w->noise[i] / (noise_of(i) * c), 1, 0.1);
    }
    /* from the third ring to 0.6 of the highest frequency */
    for (double k = 2.5 / 80; k < 0.3; k += 0.01)
        assert_float_equal(tr_wiener_power(w, k) / falling(k), 1, k < 0.04 ? 0.4 : 0.2);
    /* beyond it falls on */
    assert_true(tr_wiener_power(w, 0.5) < tr_wiener_power(w, 0.4));
    assert_true(tr_wiener_power(w, 0.0) == tr_wiener_power(w, w->low));
}

static void test_contrast(void **state)
{
    (void)state;
    tr_wiener *w = fit(&optics, false, 1.0);
    assert_found(w);
    tr_wiener_free(w);
}

static void test_counts(void **state)
{
    (void)state;
    tr_wiener *w = fit(&optics, true, 1.0);
    assert_found(w);
    tr_wiener_free(w);
}

static void test_with_doses(void **state)
{
    (void)state;
    tr_view_params p = optics;
    p.dose = true;
    tr_wiener *w = fit(&p, false, 1.0);
    assert_true(w->measured);
    for (double k = 2.5 / 80; k < 0.2; k += 0.01)
        assert_float_equal(tr_wiener_power(w, k) / falling(k), 1, k < 0.04 ? 0.4 : 0.25);
    tr_wiener_free(w);
}

/* What falls off like this is noise of interpolated views. */
static double fall(double k, double length) { return exp(-k * k / (length * length)); }

static void make_halves(const tr_view *view, double noise, double length, uint64_t *seed,
                        float (*even)[2], float (*odd)[2])
{
    static float more[N * (N / 2 + 1)][2];
    make_spectrum(&optics, view, 0.0, 1.0, seed, even);
    memcpy(odd, even, sizeof more);
    for (int h = 0; h < 2; h++) {
        float(*to)[2] = h ? odd : even;
        for (size_t j = 0; j < N * (N / 2 + 1); j++) {
            double y = (double)(j / (N / 2 + 1)), x = (double)(j % (N / 2 + 1));
            double k = hypot(x, y > N / 2 ? N - y : y) / N;
            double size = sqrt(-log(uniform(seed)) * 2.0 * noise * N * N);
            double turn = 2.0 * TR_PI * uniform(seed), by = sqrt(fall(k, length));
            to[j][0] = (float)(by * (to[j][0] + size * cos(turn)));
            to[j][1] = (float)(by * (to[j][1] + size * sin(turn)));
        }
        to[0][0] = to[0][1] = 0.0f;
    }
}

/* By halves, or by what they are together. */
static tr_wiener *fit_halves(bool together, double length)
{
    static float even[N * (N / 2 + 1)][2], odd[N * (N / 2 + 1)][2];
    size_t rings = tr_wiener_rings(N, N, pixel), size = tr_wiener_sums(rings);
    double *sums = calloc(N_VIEWS * size, sizeof *sums);
    uint64_t seed = 7;
    tr_view views[N_VIEWS] = {{.section = 0}};
    tr_wiener *wiener = NULL;
    assert_non_null(sums);
    for (size_t i = 0; i < N_VIEWS; i++) {
        const tr_view_facts facts = {.view = &views[i], .pixel = pixel};
        views[i].tilt = -60.0 + 6.0 * (double)i;
        views[i].ctf = (tr_ctf){29000.0 + 100.0 * (double)i, 28000, 15, 0};
        make_halves(&views[i], 0.1 * noise_of(i), length, &seed, even, odd);
        for (size_t j = 0; j < N * (N / 2 + 1) && together; j++)
            for (int c = 0; c < 2; c++)
                even[j][c] = 0.5f * (even[j][c] + odd[j][c]);
        if (together)
            tr_wiener_add(&optics, &facts, N, N, even, rings, sums + i * size);
        else
            tr_wiener_add_halves(&optics, &facts, N, N, even, odd, rings,
                                 sums + i * size);
    }
    assert_int_equal(
        tr_wiener_fit(&optics, views, N_VIEWS, pixel, !together, rings, sums, &wiener),
        TR_OK);
    free(sums);
    return wiener;
}

/* From the second of 40 rings to 0.6 of the highest frequency within a factor of 2 of the
 * specimen's; from whole views to 25 % of that as far as half of it: what specimen there
 * is at the highest frequencies counts as their noise. */
static void test_halves(void **state)
{
    (void)state;
    tr_wiener *w = fit_halves(false, 1e3), *whole = fit_halves(true, 1e3);
    for (size_t i = 0; i < N_VIEWS; i++) {
        double c = cos((-60.0 + 6.0 * (double)i) * TR_RADIANS);
        assert_float_equal(w->noise[i] / (0.1 * noise_of(i) * c), 1, 0.1);
    }
    for (double k = 1.5 / 80; k < 0.3; k += 0.005) {
        double power = tr_wiener_power(w, k), noise = w->noise[10];
        assert_float_equal(log(power / falling(k)), 0, k < 0.05 ? log(2.0) : 0.1);
        if (k < 0.25)
            assert_float_equal(tr_wiener_power(whole, k) / power, 1, 0.25);
        assert_float_equal(tr_wiener_ratio(w, noise, k) * power / noise, 1, 0.1);
    }
    tr_wiener_free(w);
    tr_wiener_free(whole);
}

/* Noise that is not white is found in its form, where whole views do not show it. */
static void test_halves_of_low_passed_views(void **state)
{
    (void)state;
    const double length = 0.35;
    tr_wiener *w = fit_halves(false, length), *whole = fit_halves(true, length);
    assert_true(w->measured);
    assert_false(whole->measured);
    for (double k = 3.5 / 80; k < 0.4; k += 0.01) {
        double noise = 0.1 * noise_of(10) * fall(k, length);
        assert_float_equal(
            tr_wiener_ratio(w, w->noise[10], k) * tr_wiener_power(w, k) / noise, 1, 0.1);
        if (k < 0.25)
            assert_float_equal(tr_wiener_power(w, k) / (falling(k) * fall(k, length)), 1,
                               0.3);
    }
    tr_wiener_free(w);
    tr_wiener_free(whole);
}

/* Views that were low-passed before show no noise by itself. */
static void test_low_pass(void **state)
{
    (void)state;
    tr_wiener *w = fit(&optics, false, 0.46);
    assert_false(w->measured);
    tr_wiener_free(w);
    w = fit(&optics, false, 0.35);
    assert_false(w->measured);
    tr_wiener_free(w);
}

static void test_warp(void **state)
{
    (void)state;
    assert_float_equal(tr_warp_ratio(0.0), 1e-15, 1e-20);
    assert_float_equal(tr_warp_ratio(1.0 / 300), 1000 * exp(-200.0 / 300) * 0.5, 1e-9);
    assert_float_equal(tr_warp_ratio(0.02), 1000 * exp(-4.0), 1e-9);
    assert_float_equal(tr_warp_ratio(0.4), 1e-15, 1e-20);
}

/* The step multiplies by CTF / (CTF^2 w^2 + N c / P); w itself is the dose's step. */
extern const tr_view_step tr_step_ctf;

static void test_filter(void **state)
{
    (void)state;
    static float spectrum[N * (N / 2 + 1)][2];
    tr_wiener w = {.measured = true,
                   .cubic = {log(0.5), -2.0, 0.0, 0.0}, /* 0.5 (k / 0.1)^-2 */
                   .middle = log(0.1),
                   .low = 0.02,
                   .high = 0.3,
                   .slope = -3.0,
                   .overlap = 8.0};
    tr_view view = {
        .prior_exposure = 20.0, .exposure = 2.0, .ctf = {29000, 28000, 15, 0}};
    const tr_view_facts facts = {
        .view = &view, .pixel = pixel, .wiener = &w, .noise = 0.03};
    for (int dose = 0; dose < 2; dose++) {
        tr_view_params p = optics;
        p.ctf_mode = TR_CTF_WIENER;
        p.dose = dose;
        for (size_t i = 0; i < N * (N / 2 + 1); i++)
            spectrum[i][0] = spectrum[i][1] = 1.0f;
        tr_step_ctf.spectrum(&p, &facts, N, N, spectrum);
        for (size_t ky = 0; ky < N; ky += 7)
            for (size_t kx = 1; kx <= N / 2; kx += 5) {
                double y = (ky > N / 2 ? (double)ky - N : (double)ky) / N;
                double x = (double)kx / N, k = hypot(x, y), f = k / pixel;
                double in = fmin(fmax(k, 0.02), 0.3), power = 0.5 * pow(in / 0.1, -2.0);
                power *= k > 0.3 ? pow(k / 0.3, -3.0) : 1.0;
                const tr_view_params bare = optics;
                double c = transfer(&bare, &view, x, y);
                double weight =
                    dose ? exp(-22.0 / 2.0 / (0.24499 * pow(f, -1.6649) + 2.8141)) : 1.0;
                double wanted =
                    c / (c * c * weight * weight + 0.03 / power * fmin(1.0, 8.0 * k));
                assert_float_equal(spectrum[ky * (N / 2 + 1) + kx][0], wanted,
                                   1e-4 * (1.0 + fabs(wanted)));
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contrast),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_with_doses),
        cmocka_unit_test(test_low_pass),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_halves_of_low_passed_views),
        cmocka_unit_test(test_warp),
        cmocka_unit_test(test_filter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
