/* The contrast transfer function against constants of nature and its zeros in closed
 * form, and the readers of other programs' files against texts written by hand. */
#include <math.h>

#include "common/base/angle.h"
#include "common/views/ctf.h"
#include "formats/ctf_file.h"

#define TEST_FILE "ctf.txt"
#include "text_fixture.h"

/* ---- the formula ---- */

/* From h, m, e, c (CODATA 2018), angstroms. */
static double wavelength(double volts)
{
    const double h = 6.62607015e-34, m = 9.1093837015e-31, e = 1.602176634e-19,
                 c = 299792458.0, energy = e * volts;
    return 1e10 * h / sqrt(2.0 * m * energy * (1.0 + energy / (2.0 * m * c * c)));
}

static void test_wavelength(void **state)
{
    (void)state;
    assert_float_equal(tr_electron_wavelength(300), 0.0196875, 1e-7); /* tables */
    assert_float_equal(tr_electron_wavelength(200), 0.0250793, 1e-7);
    assert_float_equal(tr_electron_wavelength(100), 0.0370144, 1e-7);
    for (double kv = 60; kv < 1300; kv *= 1.5)
        assert_float_equal(tr_electron_wavelength(kv) / wavelength(1e3 * kv), 1, 1e-8);
}

/* n pi = pi l d f^2 - pi/2 C l^3 f^4 + p + asin A, solved for f^2. */
static double zero(double n, double d, double cs_mm, double phase, double a, double l)
{
    double rest = n - phase / TR_PI - asin(a) / TR_PI,
           quartic = 0.5e7 * cs_mm * l * l * l;
    if (quartic == 0.0)
        return sqrt(rest / (l * d));
    return sqrt((l * d - sqrt(l * l * d * d - 4.0 * quartic * rest)) / (2.0 * quartic));
}

static void test_zeros(void **state)
{
    (void)state;
    static const struct {
        double kv, cs, a, d, phase; /* phase: degrees */
    } cases[] = {{300, 0, 0, 30000, 0},
                 {300, 2.7, 0.07, 30000, 0},
                 {200, 2.7, 0.1, 12000, 0},
                 {300, 2.7, 0.07, 5000, 90},
                 {120, 6.3, 0.2, 45000, 30}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const tr_ctf ctf = {cases[i].d, cases[i].d, 77.0, cases[i].phase};
        const tr_optics optics = {cases[i].kv, cases[i].cs, cases[i].a};
        const tr_ctf_phase p = tr_ctf_phase_of(&ctf, &optics);
        double l = wavelength(1e3 * cases[i].kv);
        for (int n = 1; n < 6; n++) {
            double f = zero(n, cases[i].d, cases[i].cs, cases[i].phase * TR_RADIANS,
                            cases[i].a, l);
            double x = f * cos(0.3 * n), y = f * sin(0.3 * n); /* in any direction */
            assert_float_equal(tr_ctf_half_turns(&p, x, y), n, 1e-4);
            /* above 0 before the first, and so on */
            double sign = n % 2 ? 1.0 : -1.0;
            assert_true(sign * tr_ctf_value(&p, 0.999 * x, 0.999 * y) > 0.0);
            assert_true(sign * tr_ctf_value(&p, 1.001 * x, 1.001 * y) < 0.0);
        }
        double dc = sin(asin(cases[i].a) + cases[i].phase * TR_RADIANS);
        assert_float_equal(tr_ctf_value(&p, 0, 0), dc, 1e-12);
    }
}

/* Each defocus along its own direction, and their mean between. */
static void test_astigmatism(void **state)
{
    (void)state;
    const tr_optics optics = {300, 2.7, 0.07};
    const tr_ctf ctf = {32000, 28000, 25, 0};
    const tr_ctf_phase p = tr_ctf_phase_of(&ctf, &optics);
    static const double turned[] = {0, 90, 180, 45, -45},
                        defocus[] = {32000, 28000, 32000, 30000, 30000};
    for (int i = 0; i < 5; i++) {
        const tr_ctf round = {defocus[i], defocus[i], 0, 0};
        const tr_ctf_phase q = tr_ctf_phase_of(&round, &optics);
        double angle = (25 + turned[i]) * TR_RADIANS;
        for (double f = 0.01; f < 0.2; f += 0.013)
            assert_float_equal(tr_ctf_value(&p, f * cos(angle), f * sin(angle)),
                               tr_ctf_value(&q, f, 0), 1e-9);
    }
    assert_float_equal(tr_ctf_reach(&ctf, &optics, 0.1), wavelength(3e5) * 3200, 1e-2);
}

/* ---- files ---- */

static double tilts[] = {-20, -10, 0, 10, 20};
static const tr_ctf_series series = {"TS_1.mrc", NULL, 5, tilts, 2.0};

static tr_ctf_table read_text(const char *text)
{
    tr_ctf_table table;
    write_text(text);
    assert_int_equal(tr_ctf_read(path, &series, &table), TR_OK);
    assert_int_equal(table.n, 5);
    return table;
}

static void assert_view(const tr_ctf_table *t, size_t view, double first, double second,
                        double axis, double phase)
{
    const tr_ctf *c = &t->view[view - 1];
    assert_float_equal(c->defocus_1, first, 1e-6);
    assert_float_equal(c->defocus_2, second, 1e-6);
    assert_float_equal(c->axis, axis, 1e-6);
    assert_float_equal(c->phase, phase, 1e-6);
}

static void assert_optics(const tr_ctf_table *t, double voltage, double cs, double a)
{
    assert_true(t->optics.voltage == voltage && t->optics.cs == cs &&
                t->optics.amplitude == a);
}

static void assert_refused(const char *text, const char *a, const char *b)
{
    tr_ctf_table table;
    write_text(text);
    assert_int_equal(tr_ctf_read(path, &series, &table), TR_ERR_DATA);
    if (!strstr(tr_error(), a) || !strstr(tr_error(), b) || !strstr(tr_error(), path))
        fail_msg("%s\nlacks: %s, %s", tr_error(), a, b);
}

static void test_defocus_2(void **state)
{
    (void)state;
    /* the middle of 1 and 2, then 4 alone: 3 is interpolated, 5 as 4 */
    tr_ctf_table t = read_text("1 2 -20 -10 3000 2\n4 4 10 10 4000\n");
    double between = 30000 + 10000 * 1.5 / 2.5;
    assert_view(&t, 1, 30000, 30000, 0, 0);
    assert_view(&t, 2, 30000 + 10000 * 0.5 / 2.5, 30000 + 10000 * 0.5 / 2.5, 0, 0);
    assert_view(&t, 3, between, between, 0, 0);
    assert_view(&t, 5, 40000, 40000, 0, 0);
    assert_true(t.given[3] && !t.given[0] && !t.given[2] && !t.inverted);
    assert_true(isnan(t.optics.voltage) && isnan(t.optics.cs));
    tr_ctf_table_free(&t);
    assert_refused("1 2 -20 -10 3000 2\n4 6 10 10 4000\n", "line 2", "no view 6");
    assert_refused("1 2 -20 -10 3000 2\n4 4 10 10\n", "line 2", "4 numbers");
    assert_refused("1 2 -20 -10 3000 2\n4 4 10 10 wide\n", "line 2", "\"wide\"");
    assert_refused("1 2 -20 -10 3000 2\n4 4 10 10 3000 1\n", "line 2", "5 are expected");
    assert_refused("1 1 -20 -20 3000 2\n1 1 -20 -20 3100\n", "view 1", "twice");
    assert_refused("1 2 -20 -10 3000 2\n4.5 5 10 10 3000\n", "4.5",
                   "first and last view");
    assert_refused("1 2 -20 -10 3e6 2\n", "defoci of view 1", "3e+07");
}

/* Counted from 0, as the tilts tell; with a version the count stands. */
static void test_defocus_without_version(void **state)
{
    (void)state;
    tr_ctf_table t = read_text("0 0 -20 -20 1000\n2 2 0 0 3000\n4 4 20 20 5000\n");
    assert_view(&t, 1, 10000, 10000, 0, 0);
    assert_view(&t, 2, 20000, 20000, 0, 0);
    assert_view(&t, 5, 50000, 50000, 0, 0);
    tr_ctf_table_free(&t);
    t = read_text("1 1 -20 -20 1000\n3 3 0 0 3000\n5 5 20 20 5000\n");
    assert_view(&t, 1, 10000, 10000, 0, 0);
    assert_view(&t, 5, 50000, 50000, 0, 0);
    tr_ctf_table_free(&t);
    assert_refused("0 0 -20 -20 1000 2\n", "line 1", "no view 0");
}

static void test_defocus_3(void **state)
{
    (void)state;
    tr_ctf_table t = read_text("21 0 0. 0. 0. 3\n"
                               "1 1 -20 -20 3000 2800 80 90\n"
                               "5 5 20 20 3000 2800 -80 45\n");
    assert_view(&t, 1, 30000, 28000, 80, 90);
    assert_view(&t, 5, 30000, 28000, -80, 45);
    /* half-way the axis is 90, not 0, and the astigmatism less */
    double half = 1000 * cos(20 * TR_RADIANS);
    assert_float_equal(fabs(t.view[2].axis), 90, 1e-6);
    assert_float_equal(t.view[2].defocus_1, 29000 + half, 1e-6);
    assert_float_equal(t.view[2].defocus_2, 29000 - half, 1e-6);
    assert_float_equal(t.view[2].phase, 67.5, 1e-6);
    assert_true(t.inverted);
    tr_ctf_table_free(&t);
    t = read_text("15 0 0 0 0 3\n1 5 -20 20 3000 2800 0.5 1.5\n");
    assert_view(&t, 4, 30000, 28000, 0.5 * TR_DEGREES, 1.5 * TR_DEGREES);
    tr_ctf_table_free(&t);
    t = read_text("4 0 0. 0. 0. 3\n1 5 -20 20 3000 30\n");
    assert_view(&t, 2, 30000, 30000, 0, 30);
    tr_ctf_table_free(&t);
    assert_refused("1 0 0 0 0 3\n1 1 -20 -20 3000\n", "line 2", "5 numbers, but 7");
    assert_refused("32 0 0 0 0 3\n1 1 -20 -20 3000 2\n", "line 1", "cut-on");
    assert_refused("64 0 0 0 0 3\n1 1 -20 -20 3000 2\n", "line 1", "64");
    assert_refused("0 0 0 0 0 3\n", "no entries", "");
}

static const char columns[] =
    "# Output from CTFFind version 4.1.14, run on 2020-01-01 00:00:00\n"
    "# Pixel size: 2.000 Angstroms ; acceleration voltage: 200.0 keV ; spherical "
    "aberration: 1.40 mm ; amplitude contrast: 0.10\n";

static void test_ctffind(void **state)
{
    (void)state;
    char text[2048];
    snprintf(text, sizeof text, "%s%s", columns,
             "1.000000 31000.0 30000.0 12.5 0.000000 0.1 9.8\n"
             "5.000000 35000.0 34000.0 -30 1.570796326794897 0.1 inf\n"
             "3.000000 33000.0 32000.0 90 0.000000 0.1 9.8\n");
    tr_ctf_table t = read_text(text); /* by their numbers */
    assert_view(&t, 1, 31000, 30000, 12.5, 0);
    assert_view(&t, 3, 33000, 32000, 90, 0);
    assert_view(&t, 5, 35000, 34000, -30, 90);
    assert_true(isnan(t.view[1].defocus_1) && !t.given[1] && t.given[2]);
    assert_optics(&t, 200, 1.4, 0.1);
    tr_ctf_table_free(&t);
    assert_refused("1 31000 30000 0 0 .1 8\n6 31000 30000 0 0 .1 8\n", "line 2",
                   "no view 6");
    assert_refused("1 31000 30000 0 0 .1 8\n1 31000 30000 0 0 .1 8\n", "line 2", "twice");
    assert_refused("1 31000 30000 0 0 .1 8\n2 31000 x 0 0 .1 8\n", "line 2", "\"x\"");
    assert_refused("1 31000 30000 0 0 .1 8\n2 31000 30000\n", "line 2", "3 columns");
    assert_refused("1 31000 30000 0 0 .1 8\n2.5 31000 30000 0 0 .1 8\n", "line 2", "2.5");
}

/* AreTomo has more columns, and no optics. */
static void test_aretomo(void **state)
{
    (void)state;
    tr_ctf_table t = read_text(
        "# Columns: #1 micrograph number; #2 - defocus 1 [A]; #3 - defocus 2; "
        "#4 - azimuth of astigmatism; #5 - additional phase shift [radian]; #6\n"
        "   2   25951.41  24469.37     88.08      0.00   -0.0105   24.6784  1\n"
        "   4   24973.29  23547.11     83.57      3.14   -0.0030   23.3444  1\n");
    assert_view(&t, 2, 25951.41, 24469.37, 88.08, 0);
    assert_view(&t, 4, 24973.29, 23547.11, 83.57, 3.14 * TR_DEGREES);
    assert_true(isnan(t.optics.voltage) && isnan(t.view[0].defocus_1));
    tr_ctf_table_free(&t);
}

#define GCTF                                                                             \
    "data_\nloop_\n_rlnMicrographName #1\n_rlnDefocusU #2\n_rlnDefocusV #3\n"            \
    "_rlnDefocusAngle #4\n_rlnVoltage #5\n_rlnSphericalAberration #6\n"                  \
    "_rlnAmplitudeContrast #7\n_rlnPhaseShift #8\n"

static void test_gctf(void **state)
{
    (void)state;
    tr_ctf_table t = read_text(GCTF "a.mrc 31000 30000 10 300 2.7 0.1 0\n"
                                    "b.mrc 32000 30000 20 300 2.7 0.1 0\n"
                                    "c.mrc 33000 30000 30 300 2.7 0.1 45\n"
                                    "d.mrc 34000 30000 40 300 2.7 0.1 0\n"
                                    "e.mrc 35000 30000 50 300 2.7 0.1 0\n");
    assert_view(&t, 1, 31000, 30000, 10, 0);
    assert_view(&t, 3, 33000, 30000, 30, 45);
    assert_optics(&t, 300, 2.7, 0.1);
    tr_ctf_table_free(&t);
    t = read_text(GCTF "4@a.mrcs 31000 30000 10 300 2.7 0.1 0\n"
                       "1@a.mrcs 32000 30000 20 300 2.7 0.1 0\n");
    assert_view(&t, 4, 31000, 30000, 10, 0);
    assert_view(&t, 1, 32000, 30000, 20, 0);
    tr_ctf_table_free(&t);
    assert_refused(GCTF "a.mrc 31000 30000 10 300 2.7 0.1 0\n", "1 views", "has 5");
    assert_refused(GCTF "9@a.mrcs 31000 30000 10 300 2.7 0.1 0\n", "line 11",
                   "no view 9");
    assert_refused(GCTF "9@a.mrcs 31000 30000 10 300 2.7\n", "line 11", "6 values");
}

#define RELION                                                                           \
    "data_TS_1\nloop_\n_rlnTomoNominalStageTiltAngle #1\n_rlnDefocusU #2\n"              \
    "_rlnDefocusV #3\n_rlnDefocusAngle #4\n"

static void test_relion(void **state)
{
    (void)state;
    tr_ctf_table t = read_text(RELION "-20 31000 30000 10\n-10 32000 30000 20\n"
                                      "0 33000 30000 30\n10 nan nan nan\n"
                                      "20 35000 30000 50\n");
    assert_view(&t, 2, 32000, 30000, 20, 0);
    assert_view(&t, 5, 35000, 30000, 50, 0);
    assert_true(isnan(t.view[3].defocus_1) && isnan(t.optics.voltage));
    tr_ctf_table_free(&t);
    assert_refused("data_\nloop_\n_rlnTomoNominalStageTiltAngle #1\n1\n2\n3\n4\n5\n",
                   "_rlnDefocusU", "not their CTF");
    assert_refused(RELION "-20 31000 30000 10\n", "1 views", "has 5");
}

/* With the optics from the table of series, which leads to the views. */
static void test_relion_tomograms(void **state)
{
    (void)state;
    char views[160], text[1024];
    tr_ctf_table table;
    snprintf(views, sizeof views, "%s/TS_1.star", folder);
    FILE *file = fopen(views, "w");
    assert_non_null(file);
    fputs(RELION
          "-20 1e4 1e4 1\n-10 2e4 2e4 2\n0 3e4 3e4 3\n10 4e4 4e4 4\n20 5e4 5e4 5\n",
          file);
    assert_int_equal(fclose(file), 0);
    snprintf(text, sizeof text,
             "data_global\nloop_\n_rlnTomoName #1\n_rlnVoltage #2\n"
             "_rlnSphericalAberration #3\n_rlnAmplitudeContrast #4\n"
             "_rlnTomoTiltSeriesStarFile #5\nTS_1 200 1.4 0.08 %s\n",
             views);
    write_text(text);
    assert_int_equal(tr_ctf_read(path, &series, &table), TR_OK);
    assert_view(&table, 4, 40000, 40000, 4, 0);
    assert_optics(&table, 200, 1.4, 0.08);
    tr_ctf_table_free(&table);
    unlink(views);
}

#define WARP_HEAD                                                                        \
    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- <Angles> 1 -->\n"                  \
    "<TiltSeries DataDirectory=\"x y\" AreAnglesInverted=\"True\" PlaneNormal=\"\">\n"
#define WARP_ANGLES "  <Angles>-20\n-10\n0\n10\n20</Angles>\n"
#define WARP_CTF                                                                         \
    "  <CTF>\n    <Param Name=\"Voltage\" Value=\"300\" />\n"                            \
    "    <Param Name=\"Cs\" Value=\"2.7\" />\n    <Param Name=\"Amplitude\" "            \
    "Value=\"0.07\" />\n  </CTF>\n  <Other><Param Name=\"Voltage\" "                     \
    "Value=\"1\"/></Other>\n"
#define NODE(z, value) "<Node X=\"0\" Y=\"0\" Z=\"" #z "\" Value=\"" #value "\" />\n"
#define GRIDS                                                                            \
    "<GridCTF Width=\"1\" Height=\"1\" Depth=\"5\">\n" NODE(0, 3) NODE(1, 3.1)           \
        NODE(2, 3.2) NODE(3, 3.3)                                                        \
            NODE(4, 3.4) "</GridCTF>\n"                                                  \
                         "<GridCTFDefocusDelta>" NODE(                                   \
                             0, 0.2) "</GridCTFDefocusDelta>"                            \
                                     "<GridCTFDefocusAngle>" NODE(                       \
                                         0, 30) "</GridCTFDefocusAngle>"                 \
                                                "<GridCTFPhase>" NODE(0, 0) NODE(1, 0)   \
                                                    NODE(2, 0)                           \
                                                        NODE(3, 0.5) "</GridCTFPhase>"

static void test_warp(void **state)
{
    (void)state;
    tr_ctf_table t = read_text(WARP_HEAD WARP_ANGLES WARP_CTF GRIDS "</TiltSeries>\n");
    assert_view(&t, 1, 31000, 29000, 30, 0);
    assert_view(&t, 4, 34000, 32000, 30, 90);
    assert_view(&t, 5, 35000, 33000, 30, 0);
    assert_optics(&t, 300, 2.7, 0.07);
    assert_true(t.inverted && t.given[2]);
    tr_ctf_table_free(&t);
    /* in order, of the other sign */
    t = read_text("<TiltSeries><Angles>20 10 0 -10 -20</Angles>" GRIDS "</TiltSeries>");
    assert_view(&t, 1, 31000, 29000, 30, 0);
    assert_true(!t.inverted && isnan(t.optics.cs));
    tr_ctf_table_free(&t);
}

/* In another order, found by their angles; of either sign, if that is clear. */
static void test_warp_in_another_order(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "<TiltSeries><Angles>0.2 10.1 -10 30 -19.8</Angles>" GRIDS "</TiltSeries>",
        "<TiltSeries><Angles>-0.2 -10.1 10 -30 19.8</Angles>" GRIDS "</TiltSeries>"};
    tilts[4] = 30.0;
    for (int k = 0; k < 2; k++) {
        tr_ctf_table t = read_text(texts[k]);
        assert_view(&t, 1, 35000, 33000, 30, 0);
        assert_view(&t, 2, 33000, 31000, 30, 0);
        assert_view(&t, 3, 31000, 29000, 30, 0);
        assert_view(&t, 5, 34000, 32000, 30, 90);
        tr_ctf_table_free(&t);
    }
    tilts[4] = 20.0;
    assert_refused("<TiltSeries><Angles>0.2 10.1 -10 20 -19.8</Angles>" GRIDS
                   "</TiltSeries>",
                   "another order", "either sign");
}

static void test_bad_warp(void **state)
{
    (void)state;
    assert_refused(WARP_HEAD WARP_ANGLES WARP_CTF "</TiltSeries>", "no defocus",
                   "GridCTF");
    assert_refused(WARP_HEAD "<Angles>-20 -10 0 10</Angles>" GRIDS "</TiltSeries>",
                   "4 tilts", "5 views");
    assert_refused(WARP_HEAD "<Angles>-20 -10 0 10 steep</Angles>", "line 4", "steep");
    assert_refused(WARP_HEAD "<GridCTF>\n<Node X=\"0\" Y=\"0\" Z=\"0\" Value=\"-\"/>",
                   "line 5", "\"-\"");
    assert_refused(WARP_HEAD "<GridCTF>\n<Node X=\"0\" Y=\"0\" Z=\"0\"/>", "line 5",
                   "no Value");
    assert_refused(WARP_HEAD "<GridCTF>\n<Node X=\"1\" Y=\"0\" Z=\"0\" Value=\"1\"/>",
                   "line 5", "several values");
    assert_refused(WARP_HEAD "<GridCTF>\n<Node X=\"0\" Y=\"0\" Z=\"9e9\" Value=\"1\"/>",
                   "line 5", "number of a tilt");
    assert_refused(WARP_HEAD "<GridCTF>\n<Node X=\"0\" Y=\"0", "line 5", "does not end");
}

static void test_other_files(void **state)
{
    (void)state;
    assert_refused("these are words\n", "none of the files", ".defocus");
    assert_refused("-20\n-10\n0\n10\n20\n", "none of the files", ".defocus");
    assert_refused("<html>", "web page", "CTF");
    tr_ctf_table table;
    assert_int_equal(tr_ctf_read("/none/there", &series, &table), TR_ERR_DATA);
    assert_non_null(strstr(tr_error(), "/none/there"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wavelength),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_astigmatism),
        cmocka_unit_test(test_defocus_2),
        cmocka_unit_test(test_defocus_without_version),
        cmocka_unit_test(test_defocus_3),
        cmocka_unit_test(test_ctffind),
        cmocka_unit_test(test_aretomo),
        cmocka_unit_test(test_gctf),
        cmocka_unit_test(test_relion),
        cmocka_unit_test(test_relion_tomograms),
        cmocka_unit_test(test_warp),
        cmocka_unit_test(test_warp_in_another_order),
        cmocka_unit_test(test_bad_warp),
        cmocka_unit_test(test_other_files),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
