/* Views that stand out: lines, curves and noise are none; single bad ones are, whatever
 * the order of the views. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/report/outliers.h"
#include "common/base/median.h"

enum { N = 41 };

static double noise(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (double)(*state >> 8) / (1 << 24) - 0.5;
}

/* Angles from -60 to 60 in an order of their own, values of a curve with noise. */
static void make(double amplitude, double *angle, double *value)
{
    unsigned state = 7;
    for (int i = 0; i < N; i++) {
        angle[i] = 3.0 * ((i * 17) % N) - 60.0;
        value[i] = 0.1 + 0.1 * pow(angle[i] / 60.0, 2.0) + amplitude * noise(&state);
    }
}

static void check(const double *angle, const double *value, size_t n, const bool *wanted)
{
    bool bad[N];
    assert_int_equal(tr_outliers(angle, value, n, 0.01, 0.05, bad), TR_OK);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(bad[i], wanted[i]);
}

static void a_curve_with_noise_has_none(void **state)
{
    (void)state;
    double angle[N], value[N];
    const bool none[N] = {false};
    for (int k = 0; k < 4; k++) {
        make(k * 0.02, angle, value);
        check(angle, value, N, none);
    }
}

static void bad_ones_are_found(void **state)
{
    (void)state;
    double angle[N], value[N];
    bool wanted[N] = {false};
    make(0.01, angle, value);
    for (int i = 0; i < N; i++)
        if (angle[i] == -60.0 || angle[i] == 0.0 || angle[i] == 3.0 || angle[i] == 45.0) {
            value[i] += 0.2;
            wanted[i] = true;
        }
    check(angle, value, N, wanted);
    for (int i = 0; i < N; i++) /* better than expected is not bad */
        if (angle[i] == 45.0) {
            value[i] -= 0.4;
            wanted[i] = false;
        }
    check(angle, value, N, wanted);
}

static void ends_that_go_on_rising_are_not_bad(void **state)
{
    (void)state;
    double angle[N], value[N];
    const bool none[N] = {false};
    for (int i = 0; i < N; i++) {
        angle[i] = i;
        value[i] = 0.1 + exp((i - 40) / 3.0);
    }
    check(angle, value, N, none);
}

static void few_views_say_nothing(void **state)
{
    (void)state;
    const double angle[] = {0, 1, 2, 3, 4, 5}, value[] = {0, 0, 9, 0, 0, 0};
    const bool none[6] = {false};
    check(angle, value, 6, none);
}

static void the_median_is_in_the_middle(void **state)
{
    (void)state;
    double odd[] = {5, 1, 9}, even[] = {4, 1, 3, 2};
    assert_true(tr_median(odd, 3) == 5.0);
    assert_true(tr_median(even, 4) == 2.5);
    assert_true(tr_median_low(even, 4) == 2.0 && tr_median_low(odd, 3) == 5.0);
    assert_true(tr_median_low(even, 0) == 0.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_curve_with_noise_has_none),
        cmocka_unit_test(bad_ones_are_found),
        cmocka_unit_test(ends_that_go_on_rising_are_not_bad),
        cmocka_unit_test(few_views_say_nothing),
        cmocka_unit_test(the_median_is_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
