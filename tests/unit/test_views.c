/* Views: choosing among them, and what files fill in, against files written by hand. */
#include <math.h>

#include "common/geometry/geometry.h"
#include "common/run/halves.h"
#include "common/views/views.h"

#define TEST_FILE "views.txt"
#include "text_fixture.h"

/* Of sections a and b. */
static tr_views two_views(size_t a, size_t b)
{
    tr_views views;
    assert_int_equal(tr_views_new(2, &views), TR_OK);
    views.view[0].section = a;
    views.view[1].section = b;
    return views;
}

static bool is_unknown(const tr_ctf *c)
{
    return isnan(c->defocus_1) && isnan(c->defocus_2) && isnan(c->axis) &&
           isnan(c->phase);
}

static void test_new_views_know_nothing(void **state)
{
    (void)state;
    tr_views views;
    assert_int_equal(tr_views_new(3, &views), TR_OK);
    assert_true(views.n == 3 && !views.has_xtilts && !views.has_transforms);
    for (size_t k = 0; k < 3; k++) {
        const tr_view *v = &views.view[k];
        const tr_transform *t = &v->transform;
        assert_int_equal(v->section, k);
        assert_true(v->tilt == 0 && v->xtilt == 0);
        assert_true(isnan(v->exposure) && isnan(v->prior_exposure));
        assert_true(is_unknown(&v->ctf));
        assert_true(t->a11 == 1 && t->a12 == 0 && t->a21 == 0 && t->a22 == 1);
        assert_true(t->dx == 0 && t->dy == 0);
    }
    tr_views_free(&views);
    assert_true(views.n == 0 && !views.view);
}

static void test_select_and_copy(void **state)
{
    (void)state;
    tr_views all, some, copy;
    assert_int_equal(tr_views_new(4, &all), TR_OK);
    all.has_xtilts = true;
    for (size_t k = 0; k < 4; k++)
        all.view[k].tilt = 10.0 * (double)k;
    all.view[3].ctf.defocus_2 = 30000;
    all.view[3].transform.dx = 7;
    assert_int_equal(tr_views_select(&all, (size_t[]){3, 1}, 2, &some), TR_OK);
    assert_int_equal(tr_views_copy(&some, &copy), TR_OK);
    all.view[3].tilt = some.view[1].tilt = -1; /* each has its own */
    assert_true(copy.n == 2 && copy.has_xtilts && !copy.has_transforms);
    assert_true(copy.view[0].section == 3 && copy.view[1].section == 1);
    assert_true(copy.view[0].tilt == 30 && copy.view[1].tilt == 10);
    assert_true(copy.view[0].ctf.defocus_2 == 30000 && copy.view[0].transform.dx == 7);
    tr_views_free(&all);
    tr_views_free(&some);
    tr_views_free(&copy);
}

static tr_aligned_series series = {
    .path = "TS_1.mrc", .nx = 32, .ny = 30, .nz = 3, .pixel = 2.0};

static void take(unsigned what, tr_views *views)
{
    tr_alignment a;
    assert_int_equal(tr_alignment_read(path, what, &series, &a), TR_OK);
    if (what == TR_GIVES_ANGLES)
        tr_views_take_angles(&a, views);
    else
        tr_views_take_transforms(&a, views);
    tr_alignment_free(&a);
}

static void refuse(size_t n_views, const char *part)
{
    tr_alignment a;
    tr_aligned_series other = series;
    other.nz = n_views;
    assert_int_equal(tr_alignment_read(path, TR_GIVES_ANGLES, &other, &a), TR_ERR_DATA);
    assert_null(a.used);
    assert_non_null(strstr(tr_error(), part));
}

static void test_mdoc_gives_exposures(void **state)
{
    (void)state;
    write_text("PixelSpacing = 1.5\nTiltAxisAngle = 85\n"
               "[ZValue = 1]\nTiltAngle = 3\nExposureDose = 2.5\nPriorRecordDose = 0\n"
               "[ZValue = 0]\nTiltAngle = -3\nExposureDose = 2.75\nPriorRecordDose = 5\n"
               "[ZValue = 2]\nTiltAngle = 6\n");
    tr_views views = two_views(0, 2);
    take(TR_GIVES_ANGLES, &views);
    assert_true(views.view[0].tilt == -3 && views.view[1].tilt == 6);
    assert_true(views.view[0].exposure == 2.75 && views.view[0].prior_exposure == 5);
    assert_true(isnan(views.view[1].exposure) && isnan(views.view[1].prior_exposure));
    tr_alignment a;
    assert_int_equal(tr_alignment_read(path, TR_GIVES_ANGLES, &series, &a), TR_OK);
    assert_true(a.pixel == 1.5 && a.axis == 85 && a.n_used == 3 && !a.transforms);
    tr_alignment_free(&a);
    refuse(4, "describes 3 views, but the series has 4");
    write_text("[ZValue = 0]\nTiltAngle = 3\nPriorRecordDose = -1\n");
    refuse(1, "line 3: -1 is not an exposure");
    tr_views_free(&views);
}

static void test_angles_and_transforms(void **state)
{
    (void)state;
    tr_views views = two_views(1, 2);
    write_text("-60\n0.5\n60\n");
    take(TR_GIVES_ANGLES, &views);
    assert_true(views.view[0].tilt == 0.5 && views.view[1].tilt == 60);
    assert_true(isnan(views.view[0].exposure) && !views.has_xtilts);
    write_text("9\n0\n-2\n");
    assert_int_equal(tr_views_read_xtilts(path, 3, &views), TR_OK);
    assert_true(views.view[0].xtilt == 0 && !signbit(views.view[0].xtilt));
    assert_true(views.view[1].xtilt == 2 && views.has_xtilts);
    write_text("1 0 0 1 1 2\n1 0 0 1 3 4\n0 1 -1 0 5 6\n");
    take(TR_GIVES_TRANSFORMS, &views);
    assert_true(views.has_transforms && views.view[0].transform.dx == 3);
    assert_true(views.view[1].transform.a12 == 1 && views.view[1].transform.dy == 6);
    tr_views_free(&views);
}

/* The axis of an .xf is the mean of its views', also across 180 degrees. */
static void test_axis_of_transforms(void **state)
{
    (void)state;
    tr_alignment a;
    write_text("0 1 -1 0 0 0\n0.2 2 -2 0.2 0 0\n-0.1 1 -1 -0.1 0 0\n");
    assert_int_equal(tr_alignment_read(path, TR_GIVES_TRANSFORMS, &series, &a), TR_OK);
    assert_null(a.tilt);
    assert_float_equal(a.rotation, 90, 1e-9);
    tr_alignment_free(&a);
    write_text("-1 0.1 -0.1 -1 0 0\n-1 0 0 -1 0 0\n-1 -0.1 0.1 -1 0 0\n");
    assert_int_equal(tr_alignment_read(path, TR_GIVES_TRANSFORMS, &series, &a), TR_OK);
    assert_float_equal(fabs(a.rotation), 180, 1e-9);
    tr_alignment_free(&a);
}

static void test_star_gives_ctf_and_prior_exposure(void **state)
{
    (void)state;
    write_text("data_TS_1\nloop_\n_rlnTomoNominalStageTiltAngle #1\n"
               "_rlnMicrographPreExposure #2\n_rlnDefocusU #3\n_rlnDefocusV #4\n"
               "_rlnDefocusAngle #5\n_rlnPhaseShift #6\n"
               "-3 6.5 31000 29000 45.5 90\n"
               "0 0 30000 30500 -20 0\n"
               "3 3.25 nan nan nan <NA>\n");
    tr_alignment a;
    assert_int_equal(tr_alignment_read(path, TR_GIVES_ANGLES, &series, &a), TR_OK);
    tr_views views = two_views(0, 2);
    tr_views_take_angles(&a, &views);
    const tr_ctf *c = &views.view[0].ctf;
    assert_true(views.view[0].tilt == -3 && views.view[1].tilt == 3);
    assert_true(views.view[0].prior_exposure == 6.5);
    assert_true(views.view[1].prior_exposure == 3.25);
    assert_true(isnan(views.view[0].exposure)); /* the file has none */
    assert_true(c->defocus_1 == 31000 && c->defocus_2 == 29000);
    assert_true(c->axis == 45.5 && c->phase == 90);
    assert_true(is_unknown(&views.view[1].ctf));
    assert_false(views.has_xtilts);
    tr_alignment_free(&a);
    tr_views_free(&views);
}

static void test_star_without_them(void **state)
{
    (void)state;
    write_text("data_TS_1\nloop_\n_rlnTomoXTilt #1\n_rlnTomoYTilt #2\n_rlnTomoZRot #3\n"
               "_rlnTomoXShiftAngst #4\n_rlnTomoYShiftAngst #5\n"
               "0 1 0 0 0\n0 2 90 4 0\n5 3 0 -6 8\n");
    tr_alignment a;
    assert_int_equal(tr_alignment_read(path, TR_GIVES_ANGLES, &series, &a), TR_OK);
    tr_views views = two_views(1, 2);
    tr_views_take_angles(&a, &views);
    assert_false(views.has_transforms);
    tr_views_take_transforms(&a, &views);
    assert_true(views.has_xtilts && views.has_transforms);
    assert_true(views.view[0].xtilt == 0 && views.view[1].xtilt == -5);
    assert_float_equal(views.view[0].transform.a12, 1, 1e-12);
    assert_true(views.view[1].transform.dx == 3 && views.view[1].transform.dy == -4);
    assert_true(isnan(views.view[0].prior_exposure) && is_unknown(&views.view[0].ctf));
    tr_alignment_free(&a);
    tr_views_free(&views);
}

static void test_aln_has_neither(void **state)
{
    (void)state;
    write_text("# AreTomo Alignment / Priims bprmMn\n# RawSize = 32 30 3\n"
               "0 0 1 0 0 1 1 1 0 -3\n1 0 1 0 0 1 1 1 0 0\n2 0 1 0 0 1 1 1 0 3\n");
    tr_alignment a;
    assert_int_equal(tr_alignment_read(path, TR_GIVES_ANGLES, &series, &a), TR_OK);
    tr_views views = two_views(0, 1);
    tr_views_take_angles(&a, &views);
    assert_true(views.view[0].tilt == -3);
    assert_true(isnan(views.view[0].prior_exposure) && is_unknown(&views.view[0].ctf));
    tr_alignment_free(&a);
    tr_views_free(&views);
}

static void test_star_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *label, *value, *message;
    } bad[] = {
        {"_rlnMicrographPreExposure", "-2", "line 5: -2 is not an exposure"},
        {"_rlnMicrographPreExposure", "some", "line 5: \"some\" is not a number"},
        {"_rlnDefocusV", "3e4A", "line 5: \"3e4A\" is not a number"},
        {"_rlnPhaseShift", "inf", "line 5: \"inf\" is not a finite number"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[256];
        tr_alignment a;
        snprintf(text, sizeof text,
                 "data_\nloop_\n_rlnTomoYTilt #1\n%s #2\n0 %s\n1 1\n2 1\n", bad[i].label,
                 bad[i].value);
        write_text(text);
        assert_int_equal(tr_alignment_read(path, TR_GIVES_ANGLES, &series, &a),
                         TR_ERR_DATA);
        if (!strstr(tr_error(), bad[i].message))
            fail_msg("\"%s\" does not say \"%s\"", tr_error(), bad[i].message);
    }
}

/* The geometry takes angles from among the views. */
static void test_geometry_of_views(void **state)
{
    (void)state;
    tr_views views = two_views(0, 1);
    views.view[0].tilt = -30, views.view[0].xtilt = 1;
    views.view[1].tilt = 60, views.view[1].xtilt = 3;
    const tr_geometry_spec spec = {.n_views = 2,
                                   .tilts = &views.view->tilt,
                                   .xtilts = &views.view->xtilt,
                                   .stride = sizeof(tr_view) / sizeof(double),
                                   .n_u = 8,
                                   .n_v = 8,
                                   .width = 8,
                                   .thickness = 8};
    const double degree = acos(-1.0) / 180.0;
    tr_geometry g;
    assert_int_equal(tr_geometry_init(&spec, &g), TR_OK);
    assert_float_equal(g.tilt[0], -30 * degree, 1e-12);
    assert_float_equal(g.tilt[1], 60 * degree, 1e-12);
    assert_float_equal(g.pitch, 2 * degree, 1e-12);
    assert_float_equal(g.xtilt[0], -degree, 1e-12);
    assert_float_equal(g.xtilt[1], degree, 1e-12);
    tr_geometry_free(&g);
    tr_views_free(&views);
}

/* In the order of the angles, not of the file. */
static void test_every_second_view(void **state)
{
    (void)state;
    static const double tilts[5] = {0, 3, -3, 6, -6};
    tr_views views;
    size_t part[5], n;
    assert_int_equal(tr_views_new(5, &views), TR_OK);
    for (size_t k = 0; k < 5; k++)
        views.view[k].tilt = tilts[k];
    assert_int_equal(tr_split_views(&views, 0, 2, part, &n), TR_OK);
    assert_true(n == 3 && part[0] == 0 && part[1] == 3 && part[2] == 4);
    assert_int_equal(tr_split_views(&views, 1, 2, part, &n), TR_OK);
    assert_true(n == 2 && part[0] == 1 && part[1] == 2);
    tr_views_free(&views);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_views_know_nothing),
        cmocka_unit_test(test_select_and_copy),
        cmocka_unit_test(test_mdoc_gives_exposures),
        cmocka_unit_test(test_angles_and_transforms),
        cmocka_unit_test(test_axis_of_transforms),
        cmocka_unit_test(test_star_gives_ctf_and_prior_exposure),
        cmocka_unit_test(test_star_without_them),
        cmocka_unit_test(test_aln_has_neither),
        cmocka_unit_test(test_star_refuses),
        cmocka_unit_test(test_geometry_of_views),
        cmocka_unit_test(test_every_second_view),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
