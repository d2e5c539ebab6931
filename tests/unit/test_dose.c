/* Dose weighting: the curves against numbers worked out beside the paper's formula, the
 * step on a spectrum against the curve, orders against lists by hand, and the files. */
#include <math.h>

#include "common/views/dose.h"
#include "common/views/view_step.h"
#include "formats/dose_file.h"
#include "formats/tilt_angles.h"

#define TEST_FILE "doses.txt"
#include "text_fixture.h"

static const tr_view_params gg = {.dose = true, .voltage = 300},
                            of_200 = {.dose = true, .voltage = 200},
                            bfactor = {
                                .dose = true,
                                .dose_model = TR_DOSE_BFACTOR,
                                .dose_bfactor = 4,
};

static void near(double value, double expected, double within)
{
    if (!(fabs(value - expected) <= within))
        fail_msg("%.9g, not %.9g", value, expected);
}

/* ---- the curves ---- */

static void curves_have_the_papers_numbers(void **state)
{
    (void)state;
    near(tr_critical_dose(0.1), 14.13936, 1e-5);
    near(tr_critical_dose(0.05), 38.72557, 1e-5);
    near(tr_critical_dose(0.2), 6.38571, 1e-5);
    near(tr_dose_weight(&gg, 60, 0.1), 0.119823, 1e-6);
    near(tr_dose_weight(&gg, 60, 0.05), 0.460850, 1e-6);
    near(tr_dose_weight(&gg, 60, 0.2), 0.009114, 1e-6);
    /* 60 at 200 kV is 75 at 300 */
    near(tr_dose_weight(&of_200, 60, 0.1), 0.070498, 1e-6);
    near(tr_dose_weight(&bfactor, 120, 0.05), 0.740818, 1e-6);
    assert_true(tr_dose_weight(&gg, 60, 0) == 1 && tr_dose_weight(&bfactor, 60, 0) == 1);
    near(tr_critical_dose_scale(300), 1, 0);
    near(tr_critical_dose_scale(200), 0.8, 1e-15);
    near(tr_critical_dose_scale(120), 0.45, 1e-15);
    near(tr_critical_dose_scale(160), 0.625, 1e-15);
    near(tr_critical_dose_scale(250), 0.9, 1e-15);
    near(tr_critical_dose_scale(100), 0.45, 1e-15);
    near(tr_critical_dose_scale(400), 1, 0);
}

static void models_count_to_the_end_or_the_beginning(void **state)
{
    (void)state;
    const tr_view view = {.prior_exposure = 57, .exposure = 3};
    near(tr_dose_counted(&gg, &view), 60, 0);
    near(tr_dose_counted(&bfactor, &view), 57, 0);
}

extern const tr_view_step tr_step_dose;

static void check_step(const tr_view_params *params, size_t nx, size_t ny, double pixel)
{
    const tr_view view = {.prior_exposure = 57, .exposure = 3};
    const tr_view_facts facts = {.view = &view, .pixel = pixel};
    size_t line = nx / 2 + 1;
    float(*values)[2] = calloc(line * ny, sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < line * ny; i++) {
        values[i][0] = 1;
        values[i][1] = -2;
    }
    assert_true(tr_step_dose.wanted(params, &facts));
    tr_step_dose.spectrum(params, &facts, nx, ny, values);
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < line; x++) {
            double fy = y <= ny / 2 ? (double)y : (double)y - (double)ny;
            double k = hypot((double)x / (double)nx, fy / (double)ny) / pixel;
            double weight = tr_dose_weight(params, tr_dose_counted(params, &view), k);
            near(values[y * line + x][0], weight, 2e-6);
            near(values[y * line + x][1], -2 * weight, 4e-6);
        }
    free(values);
}

static void step_has_the_weights(void **state)
{
    (void)state;
    check_step(&gg, 64, 50, 5);
    check_step(&gg, 45, 33, 1.35);
    check_step(&of_200, 1000, 8, 10.8);
    check_step(&bfactor, 64, 50, 2);
    const tr_view none = {.prior_exposure = 0, .exposure = 3};
    const tr_view_facts facts = {.view = &none, .pixel = 5};
    assert_false(tr_step_dose.wanted(&bfactor, &facts));
    assert_false(tr_step_dose.wanted(&(tr_view_params){.dose = false}, NULL));
    assert_true(tr_step_dose.wanted(&gg, NULL));
    assert_true(tr_step_dose.padding(&gg, &facts) >= 32);
}

/* ---- orders ---- */

static void assert_order(const size_t *order, const size_t *expected, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(order[i], expected[i]);
}

static void symmetric(double start, long group, const size_t *expected)
{
    static const double tilt[] = {-9, -6, -3, 0, 3, 6, 9, 12};
    size_t order[8];
    assert_int_equal(tr_order_symmetric(tilt, 8, start, group, order), TR_OK);
    assert_order(order, expected, 8);
}

static void orders_are_those_by_hand(void **state)
{
    (void)state;
    size_t order[6];
    symmetric(0, 1, (size_t[]){3, 4, 2, 5, 1, 6, 0, 7});
    symmetric(0.4, -1, (size_t[]){3, 2, 4, 1, 5, 0, 6, 7});
    symmetric(0, 2, (size_t[]){3, 4, 5, 2, 1, 6, 7, 0});
    symmetric(6, 1, (size_t[]){5, 6, 4, 7, 3, 2, 1, 0});
    symmetric(0, -3, (size_t[]){3, 2, 1, 0, 4, 5, 6, 7});
    tr_order_bidirectional(6, 4, order);
    assert_order(order, (size_t[]){3, 2, 1, 0, 4, 5}, 6);
    tr_order_bidirectional(6, -2, order);
    assert_order(order, (size_t[]){2, 3, 4, 5, 1, 0}, 6);
    tr_order_by((double[]){5, 1, 3, 1}, 4, order);
    assert_order(order, (size_t[]){1, 3, 2, 0}, 4);
    double prior[3];
    tr_priors_in_order((double[]){2, 3, 4}, (size_t[]){1, 2, 0}, 3, prior);
    assert_true(prior[1] == 0 && prior[2] == 3 && prior[0] == 7);
}

static void is_usual(bool expected, const double *tilt, const size_t *order, size_t n)
{
    bool usual;
    assert_int_equal(tr_order_is_usual(tilt, order, n, &usual), TR_OK);
    assert_int_equal(usual, expected);
}

static void usual_orders_grow_from_one_view(void **state)
{
    (void)state;
    const double tilt[] = {-20, -10, 0, 10, 20};
    is_usual(true, tilt, (size_t[]){0, 1, 2, 3, 4}, 5);
    is_usual(true, tilt, (size_t[]){2, 3, 1, 4, 0}, 5);
    is_usual(true, tilt, (size_t[]){3, 2, 1, 0, 4}, 5);
    is_usual(false, tilt, (size_t[]){2, 4, 1, 3, 0}, 5);
    is_usual(false, tilt, (size_t[]){0, 4, 1, 2, 3}, 5);
    const double twice[] = {0, 0, 10, -10};
    is_usual(true, twice, (size_t[]){0, 1, 2, 3}, 4);
    is_usual(true, twice, (size_t[]){1, 0, 3, 2}, 4);
    is_usual(true, twice, (size_t[]){0, 2, 1, 3}, 4);
}

static void exposures_follow_from_what_was_before(void **state)
{
    (void)state;
    double exposure[4], prior[4];
    const char *where;
    assert_int_equal(tr_exposures_of_priors((double[]){8, 0, 5, 3}, 4, exposure), TR_OK);
    assert_true(exposure[1] == 3 && exposure[3] == 2 && exposure[2] == 3);
    assert_true(exposure[0] == 3); /* the median of 2, 3 and 3 */
    assert_int_equal(tr_exposures_of_priors((double[]){0, 2, 6}, 3, exposure), TR_OK);
    assert_true(exposure[2] == 2); /* of 2 and 4, where a view may be gone */
    const double at[3][3] = {{0, 6, 3}, {1.5, 7.5, 4.5}, {3, 9, 6}};
    const char *const places[] = {"beginning", "middle", "end"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(tr_split_accumulated(at[i], 3, prior, exposure, &where), TR_OK);
        assert_string_equal(where, places[i]);
        near(prior[0], 0, 1e-12);
        near(prior[1], 6, 1e-12);
        near(prior[2], 3, 1e-12);
        for (int k = 0; k < 3; k++)
            near(exposure[k], 3, 1e-12);
    }
}

/* ---- files ---- */

static void times_are_read(void **state)
{
    (void)state;
    double t = tr_mdoc_time("25-Nov-2026  14:03:22");
    near(tr_mdoc_time("25-Nov-26 14:03:23") - t, 1, 0);
    near(tr_mdoc_time("2026-11-25T15:03:22") - t, 3600, 0);
    near(tr_mdoc_time("2026-Nov-26 14:03:22") - t, 86400, 0);
    near(tr_mdoc_time("01-Mar-2024 00:00:00") - tr_mdoc_time("28-Feb-2024 00:00:00"),
         2 * 86400, 0);
    near(tr_mdoc_time("01-Jan-2025 00:00:00") - tr_mdoc_time("31-Dec-2024 23:59:59"), 1,
         0);
    near(tr_mdoc_time("01-Mar-2100 00:00:00") - tr_mdoc_time("28-Feb-2100 00:00:00"),
         86400, 0);
    const char *const bad[] = {"",
                               "yesterday",
                               "25-Nov-2026",
                               "25-Nov-9223372036854775807 14:03:22",
                               "25-Nov-2026 14:03",
                               "25-Abc-2026 14:03:22",
                               "32-Nov-2026 14:03:22",
                               "25-13-2026 14:03:22"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_true(isnan(tr_mdoc_time(bad[i])));
}

static void mdocs_have_times_and_a_voltage(void **state)
{
    (void)state;
    tr_mdoc m;
    write_text("PixelSpacing = 2\nVoltage = 200\n\n[ZValue = 0]\nTiltAngle = 0\n"
               "DateTime = 25-Nov-2026  14:03:22\n[ZValue = 1]\nTiltAngle = 3\n"
               "DateTime = soon\n[ZValue = 2]\nTiltAngle = 6\n");
    assert_int_equal(tr_mdoc_read(path, &m), TR_OK);
    near(m.voltage, 200, 0);
    assert_true(m.time[0] > 0 && isnan(m.time[1]) && isnan(m.time[2]));
    assert_int_equal(m.odd_time_line, 9);
    tr_mdoc_free(&m);
}

static void reads(const char *text, int given, tr_dose_type expected,
                  const double *exposures, const double *priors)
{
    double exposure[3], prior[3];
    tr_dose_type type = (tr_dose_type)given;
    write_text(text);
    if (tr_dose_text_read(path, 3, &type, exposure, prior) != TR_OK)
        fail_msg("%s", tr_error());
    assert_int_equal(type, expected);
    for (int k = 0; k < 3; k++) {
        near(exposure[k], exposures[k], 1e-12);
        if (priors)
            near(prior[k], priors[k], 1e-12);
        else
            assert_true(isnan(prior[k]));
    }
}

static void refuses(const char *text, int given, const char *part)
{
    double exposure[3], prior[3];
    tr_dose_type type = (tr_dose_type)given;
    write_text(text);
    assert_int_equal(tr_dose_text_read(path, 3, &type, exposure, prior), TR_ERR_DATA);
    if (!strstr(tr_error(), part) || !strstr(tr_error(), path))
        fail_msg("\"%s\" does not say \"%s\"", tr_error(), part);
}

static void texts_of_imod_are_told_apart(void **state)
{
    (void)state;
    const double three[] = {3, 3, 3}, priors[] = {6, 0, 3}, mixed[] = {2, 5, 3},
                 before[] = {8, 0, 5};
    reads("3\n3\n3\n", 0, TR_DOSE_OF_VIEW, three, NULL);
    reads("6 3\n0 3\n3 3\n", 0, TR_DOSE_PRIOR_AND_VIEW, three, priors);
    reads("6 9\n0 3\n3 6\n", 0, TR_DOSE_PRIOR_AND_END, three, priors);
    reads("8, 10\r\n0, 5\r\n5, 8", 0, TR_DOSE_PRIOR_AND_END, mixed, before);
    reads("8 2\n0 5\n5 3\n", 0, TR_DOSE_PRIOR_AND_VIEW, mixed, before);
    /* a gap between two views: neither goes on */
    refuses("0 3\n3 6\n10 13\n", 0, "--dose-type 2 or 3");
    reads("0 3\n3 6\n10 13\n", 3, TR_DOSE_PRIOR_AND_END, three, (double[]){0, 3, 10});
    reads("0 3\n3 6\n10 13\n", 2, TR_DOSE_PRIOR_AND_VIEW, (double[]){3, 6, 13},
          (double[]){0, 3, 10});
    refuses("0 3\n3 3\n", 0, "2 views, but the series has 3");
    refuses("1\n2\n3\n", 2, "1 column, but --dose-type 2");
    refuses("1 2\n3 4\n", 1, "2 views");
    refuses("1 2 3\n1 2 3\n1 2 3\n", 0, "line 1: 3 numbers");
    refuses("1\n2 3\n3\n", 0, "line 2: 2 numbers");
    refuses("3\n-3\n3\n", 0, "line 2: -3 is not an exposure");
    refuses("3\n0\n3\n", 0, "view 2 is 0");
    refuses("0 0\n0 3\n3 6\n", 3, "view 1 is 0");
    refuses("3\nabc\n3\n", 0, "line 2");
}

static void tomostars_are_read(void **state)
{
    (void)state;
    tr_tomostar t;
    write_text("\ndata_\n\nloop_\n_wrpMovieName #1\n_wrpAngleTilt #2\n_wrpDose #3\n"
               "a.mrc -3 6.0\nb.mrc 0 0.0\nc.mrc 3 3\n");
    assert_true(tr_tomostar_probe(path));
    assert_int_equal(tr_tomostar_read(path, &t), TR_OK);
    assert_int_equal(t.n, 3);
    assert_true(t.tilt[0] == -3 && t.dose[0] == 6 && t.dose[1] == 0 && t.tilt[2] == 3);
    tr_tomostar_free(&t);
    write_text("data_\nloop_\n_wrpAngleTilt\n_wrpDose\n0 1 2\n");
    assert_int_equal(tr_tomostar_read(path, &t), TR_ERR_DATA);
    write_text("data_\nloop_\n_wrpAngleTilt\n_wrpDose\n0 -1\n");
    assert_int_equal(tr_tomostar_read(path, &t), TR_ERR_DATA);
    write_text("data_\nloop_\n_rlnTomoYTilt\n0\n");
    assert_false(tr_tomostar_probe(path));
    write_text("0\n1\n");
    assert_false(tr_tomostar_probe(path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(curves_have_the_papers_numbers),
        cmocka_unit_test(models_count_to_the_end_or_the_beginning),
        cmocka_unit_test(step_has_the_weights),
        cmocka_unit_test(orders_are_those_by_hand),
        cmocka_unit_test(usual_orders_grow_from_one_view),
        cmocka_unit_test(exposures_follow_from_what_was_before),
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(mdocs_have_times_and_a_voltage),
        cmocka_unit_test(texts_of_imod_are_told_apart),
        cmocka_unit_test(tomostars_are_read),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
