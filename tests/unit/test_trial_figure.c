/* The figures of trial slabs against sums done the long way, and the band-pass against
 * its definition. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/trial/trial_figure.h"
#include "common/trial/trial_measure.h"

static double hash_01(unsigned k)
{
    k = (k ^ 61u) ^ (k >> 16);
    k *= 9u;
    k = (k ^ (k >> 4)) * 0x27d4eb2du;
    return (double)((k ^ (k >> 15)) & 0xffffff) / 0x1000000;
}

/* G of a band by its definition. */
static double gain(const double *p, size_t n, size_t first, size_t end)
{
    double in = 0.0, out = 0.0, f = (double)(end - first) / (double)n;
    for (size_t z = 0; z < n; z++)
        *(z >= first && z < end ? &in : &out) += p[z] / (double)n;
    return in / f > out / (1.0 - f)
               ? log(in + out) - f * log(in / f) - (1.0 - f) * log(out / (1.0 - f))
               : 0.0;
}

static void test_band_is_the_best_of_all(void **state)
{
    (void)state;
    enum { N = 40 };
    double p[N], until[N + 1];
    for (unsigned seed = 0; seed < 20; seed++) {
        for (unsigned z = 0; z < N; z++)
            p[z] = 1.0 + (z >= 11 && z < 27 ? 0.6 : 0.0) + 0.5 * hash_01(100 * seed + z);
        double best = 0.0;
        size_t first = 0, end = 0;
        for (size_t a = 0; a < N; a++)
            for (size_t b = a + 3; b <= N; b++)
                if (N - (b - a) >= 2 && gain(p, N, a, b) > best) {
                    best = gain(p, N, a, b);
                    first = a;
                    end = b;
                }
        tr_trial_band band = tr_trial_find_band(p, N, until);
        assert_int_equal(band.first, first);
        assert_int_equal(band.end, end);
        assert_true(fabs(band.gain - best) < 1e-12);
    }
}

/* Long profiles are searched coarsely first. */
static void test_band_of_a_thick_volume(void **state)
{
    (void)state;
    enum { N = 700 };
    static double p[N], until[N + 1];
    for (size_t z = 0; z < N; z++)
        p[z] = z >= 203 && z < 451 ? 2.0 : 1.0;
    tr_trial_band band = tr_trial_find_band(p, N, until);
    assert_int_equal(band.first, 203);
    assert_int_equal(band.end, 451);
    for (size_t z = 0; z < N; z++)
        p[z] = z >= 203 && z < 451 ? 1.0 : 2.0; /* a gap is no specimen */
    band = tr_trial_find_band(p, N, until);
    assert_true(band.first == 0 || band.end == N || band.gain == 0.0);
}

enum { PLANES = 30, VALUES = 7, THIRDS = TR_TRIAL_UNITS * TR_TRIAL_THIRDS };

/* Kurtosis with its peak at 3.3 steps in every unit but for a little of its own. */
static void test_vertex_and_errors(void **state)
{
    (void)state;
    static double squares[THIRDS], fourths[VALUES][THIRDS];
    tr_trial_measure m[VALUES];
    for (size_t i = 0; i < THIRDS; i++)
        squares[i] = 1.0;
    for (size_t k = 0; k < VALUES; k++) {
        for (unsigned i = 0; i < THIRDS; i++) {
            double at = (double)k - 3.3 - 0.1 * (hash_01(i / TR_TRIAL_THIRDS) - 0.5);
            fourths[k][i] = exp(2.0 - 0.05 * at * at);
        }
        m[k] = (tr_trial_measure){
            .planes = PLANES, .squares = squares, .fourths = fourths[k]};
    }
    double figure[VALUES];
    tr_trial_verdict v;
    assert_int_equal(tr_trial_judge(TR_TRIAL_SHARP, m, VALUES, -6.0, 2.0, figure, &v), 0);
    double mean = 0.0, squared = 0.0;
    for (unsigned u = 0; u < TR_TRIAL_UNITS; u++) {
        double own = 0.1 * (hash_01(u) - 0.5);
        mean += own / TR_TRIAL_UNITS;
        squared += own * own;
    }
    double variance = (squared - TR_TRIAL_UNITS * mean * mean) / (TR_TRIAL_UNITS - 1.0);
    assert_int_equal(v.best, 3);
    assert_true(fabs(v.value - (-6.0 + 2.0 * (3.3 + mean))) < 1e-9);
    /* The vertex is linear in the units' own: the jackknife is the ordinary error. */
    assert_true(fabs(v.error - 2.0 * sqrt(variance / TR_TRIAL_UNITS)) < 1e-9);
    assert_true(v.sigma > 20.0);
}

static void test_contrast_needs_a_specimen(void **state)
{
    (void)state;
    static double profile[THIRDS * PLANES];
    tr_trial_measure m = {.planes = PLANES, .profile = profile};
    tr_trial_contrast c;
    for (unsigned i = 0; i < THIRDS * PLANES; i++)
        profile[i] = 1.0 + 0.2 * hash_01(i);
    assert_int_equal(tr_trial_find_contrast(&m, true, &c), 0);
    assert_true(fabs(c.ratio - 1.0) < 0.02 && c.sigma < 4.0);
    for (unsigned i = 0; i < THIRDS * PLANES; i++)
        profile[i] *= i % PLANES >= 8 && i % PLANES < 20 ? 1.5 : 1.0;
    assert_int_equal(tr_trial_find_contrast(&m, true, &c), 0);
    assert_true(fabs(c.ratio - 1.5) < 0.03 && c.sigma > 20.0);
}

static double box_mean(const float *in, long width, long height, long x, long z,
                       long half_x, long half_z)
{
    double sum = 0.0;
    for (long j = z - half_z; j <= z + half_z; j++)
        for (long i = x - half_x; i <= x + half_x; i++) {
            long jj = j < 0 ? 0 : j >= height ? height - 1 : j;
            long ii = i < 0 ? 0 : i >= width ? width - 1 : i;
            sum += in[jj * width + ii];
        }
    return sum / (double)((2 * half_x + 1) * (2 * half_z + 1));
}

static void test_band_pass(void **state)
{
    (void)state;
    enum { W = 71, H = 19 };
    static float in[W * H], out[W * H], smooth[W * H], scratch0[W * H], scratch1[W * H];
    float *const scratch[2] = {scratch0, scratch1};
    for (unsigned i = 0; i < W * H; i++)
        in[i] = (float)hash_01(i);
    tr_trial_band_pass(in, W, H, 3, 11, 5, scratch, out);
    for (long z = 0; z < H; z++)
        for (long x = 0; x < W; x++)
            smooth[z * W + x] = (float)box_mean(in, W, H, x, z, 1, 1);
    for (long z = 0; z < H; z++)
        for (long x = 0; x < W; x++) {
            double wanted = smooth[z * W + x] - box_mean(smooth, W, H, x, z, 5, 2);
            assert_true(fabs(out[z * W + x] - wanted) < 1e-5);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_band_is_the_best_of_all),
        cmocka_unit_test(test_band_of_a_thick_volume),
        cmocka_unit_test(test_vertex_and_errors),
        cmocka_unit_test(test_contrast_needs_a_specimen),
        cmocka_unit_test(test_band_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
