/* Which column of a table has the angles, what is said of angles that can hardly be
 * right, and how two lists go together; expected from how the lists are made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/views/angle_checks.h"
#include "formats/angle_columns.h"

enum { N = 41 };

static char said[512]; /* the last warning */

static void listen(void *self, bool warning, const char *text)
{
    (void)self;
    if (warning)
        snprintf(said, sizeof said, "%s", text);
}

/* Degrees from -60 to 60. */
static double angle_of(size_t k) { return -60.0 + 3.0 * (double)k; }

/* ---- columns ---- */

static double cells[N * TR_TABLE_COLUMNS];

static void fill(size_t column, double (*value)(size_t k))
{
    for (size_t k = 0; k < N; k++)
        cells[k * TR_TABLE_COLUMNS + column] = value(k);
}

static double number_of(size_t k) { return (double)k + 1.0; }
static double from_0(size_t k) { return (double)k; }
static double one_sided(size_t k) { return 1.5 * (double)k; }
static double constant(size_t k) { return k < N ? 3.1 : 0.0; }
static double falling(size_t k) { return -angle_of(k); }
static double zigzag(size_t k) { return angle_of(k * 7 % N); }
static double lamella(size_t k) { return -68.0 + 117.0 * (double)k / (N - 1); }
/* A few about 0 and some far away. */
static double stray(size_t k) { return pow((double)k / 20.0 - 1.0, 5) * 30.0; }
static double radians(size_t k) { return angle_of(k) / 57.29577951308232; }

static void assert_column(double (*first)(size_t), double (*second)(size_t), int expected)
{
    size_t column = 99;
    fill(0, first);
    fill(1, second);
    tr_status status = tr_choose_angle_column("t.txt", cells, N, 2, &column);
    assert_int_equal(status, expected < 0 ? TR_ERR_DATA : TR_OK);
    if (expected >= 0)
        assert_int_equal(column, expected);
    else
        assert_non_null(strstr(tr_error(), "t.txt: its first column numbers the views"));
}

static void test_columns(void **state)
{
    (void)state;
    double (*const angles[])(size_t) = {angle_of, falling, zigzag, lamella};
    double (*const others[])(size_t) = {number_of, from_0, one_sided, constant, stray};
    for (size_t a = 0; a < sizeof angles / sizeof *angles; a++)
        for (size_t o = 0; o < sizeof others / sizeof *others; o++) {
            assert_column(angles[a], others[o], 0);
            assert_column(others[o], angles[a], 1);
        }
    assert_column(angle_of, falling, 0);
    assert_column(one_sided, number_of, 0);
    assert_column(one_sided, stray, 0);
    assert_column(from_0, from_0, 0);
    assert_column(from_0, constant, 0);
    assert_column(number_of, one_sided, -1);
    assert_column(from_0, one_sided, -1);
    assert_column(number_of, radians, -1);
}

static void test_several_columns(void **state)
{
    (void)state;
    size_t column;
    fill(0, number_of);
    fill(1, stray);
    fill(2, angle_of);
    fill(3, angle_of);
    assert_int_equal(tr_choose_angle_column("t.txt", cells, N, 4, &column), TR_OK);
    assert_int_equal(column, 2);
    fill(3, zigzag);
    assert_int_equal(tr_choose_angle_column("t.txt", cells, N, 4, &column), TR_ERR_DATA);
    assert_non_null(strstr(tr_error(), "both column 3 and column 4 may be"));
    fill(31, angle_of); /* beyond those that are kept, there is nothing */
    fill(2, constant);
    fill(3, constant);
    assert_int_equal(tr_choose_angle_column("t.txt", cells, N, 31, &column), TR_ERR_DATA);
    assert_int_equal(tr_choose_angle_column("t.txt", cells, N, 900, &column), TR_OK);
    assert_int_equal(column, 31);
    assert_int_equal(tr_choose_angle_column("t.txt", cells, 2, 900, &column), TR_OK);
    assert_int_equal(column, 0); /* two rows tell nothing */
}

static void test_transforms_are_no_angles(void **state)
{
    (void)state;
    for (int degrees = -180; degrees <= 180; degrees += 4) {
        double c = cos(degrees / 57.29577951308232), s = sin(degrees / 57.29577951308232);
        const double row[] = {1.02 * c, -1.02 * s, s, c, -30.5, 12};
        memcpy(cells, row, sizeof row);
        assert_true(tr_are_transforms(cells, 1, 6));
        assert_false(tr_are_transforms(cells, 1, 5));
    }
    fill(0, angle_of);
    for (size_t j = 1; j < 6; j++)
        fill(j, constant);
    assert_false(tr_are_transforms(cells, N, 6));
    assert_false(tr_are_transforms(cells, 0, 6));
}

/* ---- tilts ---- */

/* What is said of first, first + step, ...; "" for nothing. */
static void assert_said(double first, double step, size_t n, tr_status status,
                        const char *sentence)
{
    double tilts[200];
    *said = '\0';
    for (size_t k = 0; k < n; k++)
        tilts[k] = first + step * (double)k;
    assert_int_equal(tr_check_tilts("t.txt", tilts, n, false), status);
    const char *text = status == TR_OK ? said : tr_error();
    if (*sentence ? !strstr(text, sentence) : *text)
        fail_msg("of %g, %g, ...: \"%s\", not \"%s\"", first, first + step, text,
                 sentence);
}

static void test_tilts(void **state)
{
    (void)state;
    const double degree = 1 / 57.29577951308232;
    assert_said(-60, 3, 41, TR_OK, "");
    assert_said(60, -3, 41, TR_OK, "");
    assert_said(0, 1, 180, TR_OK, "");
    assert_said(0, 2, 180, TR_OK, "");
    assert_said(1, 1, 180, TR_OK, "");
    assert_said(0, 1, 61, TR_OK, "");
    assert_said(-4, 0.5, 17, TR_OK, "");
    assert_said(7.123, 0.1, 2, TR_OK, "");
    assert_said(7, 0, 2, TR_OK, "");
    assert_said(7, 0, 3, TR_ERR_DATA, "t.txt: all 3 tilt angles are 7;");
    assert_said(-60 * degree, 3 * degree, 41, TR_ERR_DATA, "seem to be radians");
    assert_said(60 * degree, -6 * degree, 21, TR_ERR_DATA, "seem to be radians");
    assert_said(0, degree, 180, TR_ERR_DATA, "seem to be radians");
    assert_said(0, 2 * degree, 180, TR_ERR_DATA, "seem to be radians");
    assert_said(-180 * degree, 2 * degree, 180, TR_ERR_DATA, "seem to be radians");
    assert_said(0.013, 0.1, 100, TR_OK, "which is very little"); /* 9.9 is beyond 2 pi */
    assert_said(0.013, 0.01, 30, TR_OK, "which is very little"); /* nor is 17 degrees */
    assert_said(1, 1, 41, TR_OK, "as if they numbered the views");
    assert_said(0, 1, 8, TR_OK,
                "t.txt: the tilt angles are 0, 1, 2 and so on to 7, as if");
    assert_said(1, 1, 8, TR_OK, "as if they numbered the views");
}

static void test_tilts_that_are_not_known(void **state)
{
    (void)state;
    double tilts[] = {NAN, 5, NAN, 5, 5, NAN};
    assert_int_equal(tr_check_tilts("t.txt", tilts, 6, true), TR_OK);
    assert_int_equal(tr_check_tilts("t.txt", tilts, 6, false), TR_ERR_DATA);
    assert_non_null(strstr(tr_error(), "all 3 tilt angles are 5"));
    assert_int_equal(tr_check_tilts("t.txt", tilts, 4, false), TR_OK);
    assert_int_equal(tr_check_tilts("t.txt", tilts, 1, false), TR_OK);
}

static void test_xtilts(void **state)
{
    (void)state;
    tr_views views;
    assert_int_equal(tr_views_new(N, &views), TR_OK);
    const struct {
        double of_tilt, more;
        tr_status status;
        const char *warning;
    } cases[] = {
        {0, 0, TR_OK, ""},
        {0, -20, TR_OK, ""},
        {0.3, 0, TR_OK, ""},
        {0, 20.5, TR_OK, "t.txt: x-tilts reach 20.5 degrees"},
        {0.5, 0, TR_OK, "t.txt: x-tilts reach 30 degrees"},
        {1, 0.5, TR_ERR_DATA, ""},
        {-1, 0, TR_ERR_DATA, ""}, /* as of a file, which is subtracted */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        *said = '\0';
        for (size_t k = 0; k < N; k++) {
            views.view[k].tilt = angle_of(k);
            views.view[k].xtilt = cases[i].of_tilt * angle_of(k) + cases[i].more;
        }
        assert_int_equal(tr_check_xtilts("t.txt", &views), cases[i].status);
        assert_true(*cases[i].warning ? strstr(said, cases[i].warning) != NULL : !*said);
    }
    tr_views_free(&views);
}

/* ---- order ---- */

static tr_angle_order order_of(double (*one)(size_t), double (*two)(size_t), double more)
{
    double a[N], b[N];
    tr_angle_order order = 99;
    for (size_t k = 0; k < N; k++) {
        a[k] = one(k);
        b[k] = two(k) + more;
    }
    assert_int_equal(tr_compare_angles(a, b, N, &order), TR_OK);
    b[3] = a[20] = NAN; /* what one of them does not know does not matter, or little */
    tr_angle_order again = 99;
    assert_int_equal(tr_compare_angles(a, b, N, &again), TR_OK);
    if (order != TR_ANOTHER_ORDER)
        assert_int_equal(again, order);
    return order;
}

static void test_orders(void **state)
{
    (void)state;
    assert_int_equal(order_of(angle_of, angle_of, 0.0), TR_SAME_ORDER);
    assert_int_equal(order_of(angle_of, angle_of, 0.9), TR_SAME_ORDER);
    assert_int_equal(order_of(angle_of, angle_of, 1.1), TR_OTHER_ANGLES);
    assert_int_equal(order_of(angle_of, falling, 0.0), TR_ANOTHER_ORDER);
    assert_int_equal(order_of(zigzag, angle_of, -0.9), TR_ANOTHER_ORDER);
    assert_int_equal(order_of(zigzag, zigzag, 0.9), TR_SAME_ORDER);
    assert_int_equal(order_of(angle_of, lamella, 0.0), TR_OTHER_ANGLES);
    assert_int_equal(order_of(angle_of, constant, 0.0), TR_OTHER_ANGLES);
    const double two[] = {1, 2}, other[] = {2, 1};
    tr_angle_order order;
    assert_int_equal(tr_compare_angles(two, other, 2, &order), TR_OK);
    assert_int_equal(order, TR_OTHER_ANGLES);
}

static void test_sorted(void **state)
{
    (void)state;
    assert_true(tr_are_sorted((double[]){1, 2, 2, 3}, 4));
    assert_true(tr_are_sorted((double[]){3, 2, 2, -1}, 4));
    assert_true(tr_are_sorted((double[]){2, 2}, 2));
    assert_false(tr_are_sorted((double[]){0, 3, -3}, 3));
    assert_false(tr_are_sorted((double[]){3, 0, 3}, 3));
}

int main(void)
{
    tr_log_setup(TR_LOG_QUIET, true, "test_angle_checks");
    tr_log_listen(listen, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_several_columns),
        cmocka_unit_test(test_transforms_are_no_angles),
        cmocka_unit_test(test_tilts),
        cmocka_unit_test(test_tilts_that_are_not_known),
        cmocka_unit_test(test_xtilts),
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
