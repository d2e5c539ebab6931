/* Predictions of views from others against regressions solved here in double, each of one
 * view on all the others. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/alignment/slab_prediction.h"

enum { N = 5, NX = 24, NY = 20, COLUMNS = NX / 2 + 1, SIZE = NY * COLUMNS };
static const double tilts[N] = {-0.9, -0.35, 0.1, 0.3, 0.8};
static const tr_slab_views slab = {N, NX, NY, tilts, 9.0, 0.5};
static float spectra[N * SIZE][2], predicted[N * SIZE][2];

static double next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 33) / 2147483648.0;
}

static double covariance(size_t kx, size_t i, size_t j, double signal)
{
    double x =
        3.14159265358979323846 * 9.0 * (double)kx / NX * (tan(tilts[i]) - tan(tilts[j]));
    double agree = fabs(x) < 1e-12 ? 1.0 : sin(x) / x;
    return signal * agree + (i == j ? 1.0 - signal : 0.0);
}

/* weight[j] of view j in the prediction of view i, by elimination; 0 for j = i. Returns
 * the variance that is left. */
static double regress(size_t kx, size_t i, double signal, double weight[N])
{
    double a[N - 1][N];
    size_t at[N - 1], m = 0;
    for (size_t j = 0; j < N; j++)
        if (j != i)
            at[m++] = j;
    for (size_t r = 0; r < m; r++) {
        for (size_t c = 0; c < m; c++)
            a[r][c] = covariance(kx, at[r], at[c], signal);
        a[r][m] = covariance(kx, at[r], i, signal);
    }
    for (size_t p = 0; p < m; p++)
        for (size_t r = 0; r < m; r++) {
            double by = r == p ? 0.0 : a[r][p] / a[p][p];
            for (size_t c = p; c <= m; c++)
                a[r][c] -= by * a[p][c];
        }
    double left = covariance(kx, i, i, signal);
    weight[i] = 0.0;
    for (size_t r = 0; r < m; r++) {
        weight[at[r]] = a[r][m] / a[r][r];
        left -= weight[at[r]] * covariance(kx, at[r], i, signal);
    }
    return left;
}

static void fill(void)
{
    uint64_t state = 3;
    for (size_t k = 0; k < (size_t)N * SIZE; k++)
        for (int c = 0; c < 2; c++)
            spectra[k][c] = (float)next(&state);
}

static void predictions_are_regressions(void **unused)
{
    (void)unused;
    const double signal = 0.43; /* one of the levels that weights are made for */
    double all[NX + 2];
    for (size_t r = 0; r < tr_slab_rings(&slab); r++)
        all[r] = signal;
    fill();
    tr_slab_predictor *p;
    assert_int_equal(tr_slab_predictor_new(&slab, all, 2, &p), TR_OK);
    tr_slab_predict(p, (const float(*)[2])spectra, 2, predicted);
    for (size_t kx = 0; kx < COLUMNS; kx++)
        for (size_t i = 0; i < N; i++) {
            double weight[N], left = regress(kx, i, signal, weight);
            for (size_t ky = 0; ky < NY; ky++) {
                size_t k = ky * COLUMNS + kx;
                bool within = (double)tr_slab_ring(&slab, kx, ky) <= 0.5 * NX;
                double sum[2] = {0.0};
                for (size_t j = 0; j < N && within; j++)
                    for (int c = 0; c < 2; c++)
                        sum[c] += weight[j] * spectra[j * SIZE + k][c];
                for (int c = 0; c < 2; c++)
                    assert_float_equal(predicted[i * SIZE + k][c], sum[c], 2e-5);
                assert_float_equal(tr_slab_precision(p, i, kx, ky),
                                   within ? 1.0 / left : 0.0, 1e-4);
            }
        }
    tr_slab_predictor_free(p);
}

/* Views of nothing but a signal in common, and noise: the part of it, within its error.
 */
static void signal_of_neighbours(void **unused)
{
    (void)unused;
    static const double flat[N] = {0.2, 0.2, 0.2, 0.2, 0.2};
    const tr_slab_views same = {N, NX, NY, flat, 9.0, 0.5};
    const size_t order[N] = {0, 1, 2, 3, 4};
    double signal[NX + 2], mean = 0.0;
    static float common[SIZE][2];
    fill();
    uint64_t state = 9;
    for (size_t k = 0; k < SIZE; k++)
        for (int c = 0; c < 2; c++)
            common[k][c] = (float)(next(&state) - 0.5);
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < SIZE; k++)
            for (int c = 0; c < 2; c++) {
                double noise = (double)spectra[i * SIZE + k][c] - 0.5;
                spectra[i * SIZE + k][c] =
                    (float)(sqrt(0.3) * common[k][c] + sqrt(0.7) * noise);
            }
    tr_slab_signal(&same, order, (const float(*)[2])spectra, signal);
    for (size_t r = 4; r < 12; r++)
        mean += signal[r] / 8.0;
    assert_float_equal(mean, 0.3, 0.08);
}

static void rings(void **unused)
{
    (void)unused;
    assert_int_equal(tr_slab_ring(&slab, 0, 0), 0);
    assert_int_equal(tr_slab_ring(&slab, 7, 0), 7);
    assert_int_equal(tr_slab_ring(&slab, 0, NY / 2), NX / 2);
    assert_int_equal(tr_slab_ring(&slab, 0, 5), 6);
    assert_int_equal(tr_slab_ring(&slab, 0, NY - 5), 6);
    assert_int_equal(tr_slab_ring(&slab, 3, NY - 5), 6); /* sqrt(45) = 6.7 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(predictions_are_regressions),
        cmocka_unit_test(signal_of_neighbours),
        cmocka_unit_test(rings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
