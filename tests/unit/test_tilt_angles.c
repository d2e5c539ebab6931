/* Angles, transforms and mdoc: what is read, and the sentence for what is not. */
#include <locale.h>
#include <math.h>
#include <sys/stat.h>

#include "formats/text_file.h"
#include "formats/tilt_angles.h"

#define TEST_FILE "angles.tlt"
#include "text_fixture.h"

static void assert_message(const char *part)
{
    if (!strstr(tr_error(), part) || !strstr(tr_error(), path))
        fail_msg("\"%s\" does not name the file and say \"%s\"", tr_error(), part);
}

static void assert_angles(const char *text, size_t n, const double *expected)
{
    double angles[8] = {0};
    write_text(text);
    if (tr_angles_read(path, n, angles) != TR_OK)
        fail_msg("\"%s\": %s", text, tr_error());
    for (size_t k = 0; k < n; k++)
        assert_true(angles[k] == expected[k]);
}

static void assert_no_angles(const char *text, size_t n, const char *message)
{
    double angles[8];
    write_text(text);
    assert_int_equal(tr_angles_read(path, n, angles), TR_ERR_DATA);
    assert_message(message);
}

/* Old Macs end lines so, and Windows editors mix them. */
static void test_lone_carriage_returns(void **state)
{
    (void)state;
    assert_angles("-60\r0.5\r10\r", 3, (const double[]){-60, 0.5, 10});
    assert_angles("# angles\r-60\r\n0.5\n10", 3, (const double[]){-60, 0.5, 10});
    assert_no_angles("-60\r\nx\r10\r", 3, "line 2: \"x\"");
    assert_no_angles("-60\r\rx\r", 2, "line 3: \"x\"");
}

/* Nobody writes to it: a reader that waits is ended by the alarm. */
static void test_pipes(void **state)
{
    (void)state;
    double angles[2];
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(20);
    assert_int_equal(tr_angles_read(path, 2, angles), TR_ERR_DATA);
    assert_message("is a pipe; a regular file is needed");
    alarm(0);
    unlink(path);
}

static void test_plain_angles(void **state)
{
    (void)state;
    const double expected[] = {-60, 0.5, 1e1};
    const char *const texts[] = {
        "-60\n0.5\n10\n",
        "  -60.00\t\n +.5 \n1e1",                 /* no last newline */
        "-60\r\n0.5\r\n10\r\n",                   /* Windows */
        "\xEF\xBB\xBF-60\r\n0.5\r\n10",           /* and its UTF-8 mark */
        "# angles\n\n-60 # first\n0.5\n\n10\n\n", /* comments and blank lines */
        "-60 0.5 10\n",                           /* all in a row */
        "-60, 0.5\n10\n",                         /* two rows */
        "-60,0.5,10",
        "-60 1 0\n0.5 2 999\n10 3 6.5\n", /* angle, order, dose */
        "-60.0,1\n0.5,2\n10.,3\n",
        "-60,-1\n0.5,2\n10,3\n", /* the sign shows that the comma separates */
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_angles(texts[i], 3, expected);
}

/* Another column than the first, and lists that are none. */
static void test_tables(void **state)
{
    (void)state;
    const double expected[] = {-60, -20, 20, 60};
    double angles[4];
    size_t column;
    assert_angles("1,-60\n2,-20\n3,20\n4,60\n", 4, expected);
    assert_int_equal(tr_angles_read_column(path, 4, angles, &column), TR_OK);
    assert_int_equal(column, 1);
    assert_angles("1 5 -60\n2 5 -20\n3 5 20\n4 5 60\n", 4, expected);
    assert_angles("-60 1\n-20 2\n20 3\n60 4\n", 4, expected);
    assert_int_equal(tr_angles_read_column(path, 4, angles, &column), TR_OK);
    assert_int_equal(column, 0);
    assert_angles("500 -60\n501 -20\n502 20\n503 60\n", 4, expected);
    assert_no_angles("500 60\n501 60\n502 60\n503 60\n", 4,
                     "line 1: 500 is not a tilt angle");
    assert_no_angles("1 -60\n2 -20\n3 400\n4 60\n", 4, "first column numbers the views");
    assert_no_angles("1 0 0 1 -3 7\n0.99 0.02 -0.02 0.99 4 5\n", 2, "--transforms");
    assert_no_angles("1 0 0 1 -3 7\n", 2, "has transforms of the views (as an .xf)");
    assert_no_angles("# IMOD\n$tilt -StandardInput\nTHICKNESS 100\n", 2,
                     "has commands for IMOD, not angles");
}

static void test_wrong_counts(void **state)
{
    (void)state;
    assert_no_angles("1\n2\n", 3, "has 2 angles, but the series has 3 views");
    assert_no_angles("1\n2\n3\n4\n", 3, "has 4 angles, but the series has 3 views");
    assert_no_angles("1 2 3 4\n", 3, "has 4 angles, but the series has 3 views");
    assert_no_angles("1 2\n3 4\n", 3,
                     "has 2 rows of 2 columns (4 numbers), but the series has 3 views");
    assert_no_angles("1 2 5\n3\n", 3, "has 4 numbers in 2 rows");
    assert_no_angles("# nothing\n , \n", 3, "has 0 angles, but the series has 3 views");
}

static void test_bad_angles(void **state)
{
    (void)state;
    assert_no_angles("1\n2.5x\n3\n", 3, "line 2: \"2.5x\" is not a number");
    assert_no_angles("1\n\n0x10\n3\n", 3, "line 3: \"0x10\" is not a number");
    assert_no_angles("1\n--2\n3\n", 3, "line 2: \"--2\" is not a number");
    assert_no_angles("1\n2\nnan\n", 3, "line 3: \"nan\" is not a finite number");
    assert_no_angles("1\n-inf\n3\n", 3, "line 2: \"-inf\" is not a finite number");
    assert_no_angles("1\n1e999\n3\n", 3, "line 2: \"1e999\" is not a finite number");
    assert_no_angles("# x\r\n1\r\n360.5\r\n3", 3, "line 3: 360.5 is not a tilt angle");
    assert_no_angles("1 2 -361", 3, "line 1: -361 is not a tilt angle");
    assert_no_angles("1 2\n3 4\n5\n", 3, "line 3: a table of angles needs as many");
    assert_no_angles("-51,0\n-48,5\n-45,0\n", 3, "line 1: it is not clear");
}

static void test_not_a_text_file(void **state)
{
    (void)state;
    double angles[3];
    assert_no_angles("", 3, "is empty");
    write_bytes("1\n2\n\0003\n", 7);
    assert_int_equal(tr_angles_read(path, 3, angles), TR_ERR_DATA);
    assert_message("is not a text file: byte 4 (from 0) has the value 0");
    assert_false(tr_mdoc_probe(path));
    assert_no_angles("1\n\x1b[2J\n3", 3, "is not a text file: byte 2");

    assert_int_equal(tr_angles_read(folder, 3, angles), TR_ERR_DATA);
    assert_non_null(strstr(tr_error(), "directory"));
    unlink(path);
    assert_int_equal(tr_angles_read(path, 3, angles), TR_ERR_DATA);
    assert_message("cannot open");
}

static void test_long_files(void **state)
{
    (void)state;
    double angles[2];
    size_t size = ((size_t)64 << 20) + 1;
    char *bytes = malloc(size);
    assert_non_null(bytes);
    memset(bytes, ' ', size);
    bytes[0] = '1';
    bytes[size - 2] = '2'; /* a line of 64 MiB */
    write_bytes(bytes, size - 1);
    assert_int_equal(tr_angles_read(path, 2, angles), TR_OK);
    assert_true(angles[0] == 1 && angles[1] == 2);
    write_bytes(bytes, size);
    assert_int_equal(tr_angles_read(path, 2, angles), TR_ERR_DATA);
    assert_message("larger than 64 MiB");
    memset(bytes, '7', 1000);
    write_bytes(bytes, 1000);
    assert_int_equal(tr_angles_read(path, 2, angles), TR_ERR_DATA);
    assert_message("\" is not a finite number");
    assert_true(strlen(tr_error()) < 300);
    free(bytes);
}

static tr_mdoc read_mdoc(const char *text)
{
    tr_mdoc mdoc;
    write_text(text);
    if (tr_mdoc_read(path, &mdoc) != TR_OK)
        fail_msg("\"%s\": %s", text, tr_error());
    return mdoc;
}

/* German writes 1,5 for 1.5. The locale is made where it is not installed. */
static void test_german_locale(void **state)
{
    (void)state;
    char command[512];
    snprintf(command, sizeof command,
             "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >/dev/null 2>&1", folder);
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && system(command) == 0) {
        setenv("LOCPATH", folder, 1);
        setlocale(LC_ALL, "de_DE.UTF-8");
        unsetenv("LOCPATH");
    }
    bool german = strcmp(localeconv()->decimal_point, ",") == 0;
    if (german) {
        assert_angles("-60.5\n0.25\n", 2, (double[]){-60.5, 0.25});
        tr_mdoc mdoc = read_mdoc("[T = Tilt axis angle = 85.5, binning = 4]\n"
                                 "[ZValue = 0]\nTiltAngle = -60.5\n");
        assert_true(mdoc.tilt_axis_angle == 85.5 && mdoc.tilt[0] == -60.5);
        tr_mdoc_free(&mdoc);
    }
    setlocale(LC_ALL, "C");
    snprintf(command, sizeof command, "rm -rf %s/de_DE.UTF-8", folder);
    assert_int_equal(system(command), 0);
    if (!german) {
        print_message("skipped: no German locale, and localedef cannot make one\n");
        skip();
    }
}

static void test_transforms(void **state)
{
    (void)state;
    tr_transform transforms[2];
    write_text("  1 2 3 4 -5.5 6\r\n\r\n# c\n0.9\t-0.1 0.1 0.9 0 1e2");
    assert_int_equal(tr_transforms_read(path, 2, transforms), TR_OK);
    const tr_transform expected[2] = {{1, 2, 3, 4, -5.5, 6}, {.9, -.1, .1, .9, 0, 100}};
    assert_memory_equal(transforms, expected, sizeof expected);

    const struct {
        const char *text, *message;
    } bad[] = {
        {"1 0 0 1 0 0\n", "has 1 transforms, but the series has 2 views"},
        {"1 0 0 1 0 0\n1 0 0 1 0 0\n1 0 0 1 0 0\n",
         "has 3 transforms, but the series has 2 views"},
        {"-60\n60\n", "line 1: a transform needs 6 numbers, not 1; angles are given"},
        {"1 0 0 1 0 0\n1 0 0 1 0\n", "line 2: a transform needs 6 numbers, not 5"},
        {"1 0 0 1 0 0 7\n1 0 0 1 0 0\n", "line 1: a transform needs 6 numbers, not 7"},
        {"1 0 0 1 0 0\n1 0 0 NaN 0 0\n", "line 2: \"NaN\" is not a finite number"},
        {"1 0 0 1 0 0\n1 0 x 1 0 0\n", "line 2: \"x\" is not a number"},
        {"1 0 0 1 0 0\n.1 .2 .3 .6 0 0\n", "line 2: the transform cannot be inverted"},
        {"", "is empty"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text(bad[i].text);
        assert_int_equal(tr_transforms_read(path, 2, transforms), TR_ERR_DATA);
        assert_message(bad[i].message);
    }
}

static void test_mdoc(void **state)
{
    (void)state;
    tr_mdoc mdoc = read_mdoc("PixelSpacing = 5.4\r\n"
                             "[T = SerialEM: somewhere ]\r\n"
                             "[T =     Tilt axis angle = 85.3, binning = 4  spot = 8]\r\n"
                             "[ZValue = 10]\r\nExposureDose=3\r\nTiltAngle = 20\r\n"
                             "PixelSpacing = 7\r\nPriorRecordDose = 6\r\n"
                             "[MontSection = 0]\r\nTiltAngle = 77\r\nPixelSpacing = 9\r\n"
                             "[ZValue = 2]\r\nTiltAngle = -20\r\nunknown = [x = y]\r\n"
                             "[ ZValue=9 ]");
    assert_int_equal(mdoc.n_views, 3);
    assert_true(mdoc.pixel == 5.4 && mdoc.tilt_axis_angle == 85.3);
    assert_true(mdoc.tilt[0] == -20 && isnan(mdoc.tilt[1]) && mdoc.tilt[2] == 20);
    assert_true(isnan(mdoc.dose[0]) && mdoc.dose[2] == 3);
    assert_true(isnan(mdoc.prior_dose[1]) && mdoc.prior_dose[2] == 6);
    tr_mdoc_free(&mdoc);
    assert_null(mdoc.tilt);

    mdoc = read_mdoc("T = TiltAxisAngle = -91.81  Binning = 1\n"
                     "[FrameSet = 0]\nPixelSpacing = 1.5\n");
    assert_true(mdoc.pixel == 1.5 && mdoc.tilt_axis_angle == -91.81);
    tr_mdoc_free(&mdoc);

    mdoc = read_mdoc("[T = Tilt axis angle = 1]\nTiltAxisAngle = 2\n[ZValue = 0]\n");
    assert_true(isnan(mdoc.pixel) && mdoc.tilt_axis_angle == 2);
    tr_mdoc_free(&mdoc);

    mdoc = read_mdoc("[MontSection = 0]\nPixelSpacing = 9\n"
                     "[ZValue = 0]\nPixelSpacing = 2\n"
                     "[ZValue = 1]\nPixelSpacing = 3\n");
    assert_true(mdoc.pixel == 2);
    tr_mdoc_free(&mdoc);

    mdoc = read_mdoc("[FrameSet = 0]\nTiltAngle = 33\nPixelSpacing = 4\n"
                     "[Image = b]\nTiltAngle = 44\n"
                     "[ZValue = 1]\nTiltAngle = 7\n[ZValue = 0]\nTiltAngle = 6\n");
    assert_true(mdoc.n_views == 2 && mdoc.tilt[0] == 6 && mdoc.tilt[1] == 7);
    assert_true(mdoc.pixel == 4);
    tr_mdoc_free(&mdoc);

    mdoc = read_mdoc("[Image = b.tif]\nTiltAngle = 2\n[Image = a.tif]\nTiltAngle = 1\n");
    assert_true(mdoc.n_views == 2 && mdoc.tilt[0] == 2 && mdoc.tilt[1] == 1);
    tr_mdoc_free(&mdoc);

    mdoc = read_mdoc("[T = Tilt axis angle = unknown]\n[ZValue = 0]\n");
    assert_true(isnan(mdoc.tilt_axis_angle));
    tr_mdoc_free(&mdoc);
}

static void test_mdoc_of_views(void **state)
{
    (void)state;
    tr_mdoc mdoc = read_mdoc("[ZValue = 1]\nMinMaxMean = -3 4e2 56.25\n[ZValue = 0]\n"
                             "MinMaxMean = 1 2\n[ZValue = 2]\nMinMaxMean = 1 inf 2\n");
    assert_true(mdoc.statistics[1][0] == -3 && mdoc.statistics[1][1] == 400);
    assert_true(mdoc.statistics[1][2] == 56.25 && !mdoc.has_frames);
    assert_true(isnan(mdoc.statistics[0][2]) && isnan(mdoc.statistics[2][1]));
    tr_mdoc_free(&mdoc);
    mdoc = read_mdoc("[ZValue = 0]\nSubFramePath = D:\\frames\\a.tif\n");
    assert_true(mdoc.has_frames && isnan(mdoc.statistics[0][0]));
    tr_mdoc_free(&mdoc);
}

static void test_bad_mdoc(void **state)
{
    (void)state;
    const struct {
        const char *text, *message;
    } bad[] = {
        {"PixelSpacing = 2\n", "has no [ZValue = n], [FrameSet = n] or [Image = file]"},
        {"[FrameSet = 0]\n[FrameSet = 0]\n", "has 2 times [FrameSet = 0]"},
        {"[FrameSet = 0]\n[FrameSet = 1]\n[FrameSet = 1]\n", "has section 1 twice"},
        {"[ZValue = 1]\n[ZValue = 0]\n[ZValue = 1]\n", "has section 1 twice, in lines"},
        {"[ZValue = a]\n", "line 1: \"a\" is not a number"},
        {"[ZValue = 1.5]\n", "line 1: \"1.5\" is not a whole number"},
        {"[ZValue = 0]\nTiltAngle = 1,5\n", "line 2: \"1,5\" is not a number"},
        {"[ZValue = 0]\nTiltAngle = -nan\n", "line 2: \"-nan\" is not a finite number"},
        {"[ZValue = 0]\nTiltAngle =\n", "line 2: \"\" is not a number"},
        {"[ZValue = 0]\nTiltAngle = 400\n", "line 2: 400 is not a tilt angle"},
        {"PixelSpacing = big\n[ZValue = 0]\n", "line 1: \"big\" is not a number"},
        {"", "is empty"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tr_mdoc mdoc;
        write_text(bad[i].text);
        assert_int_equal(tr_mdoc_read(path, &mdoc), TR_ERR_DATA);
        assert_message(bad[i].message);
    }
}

/* tr_angles_read knows an mdoc by its content, whatever its name. */
static void test_angles_from_mdoc(void **state)
{
    (void)state;
    const char text[] = "[ZValue = 1]\nTiltAngle = 3\n[ZValue = 0]\nTiltAngle = -3\n";
    assert_angles(text, 2, (double[]){-3, 3});
    assert_true(tr_mdoc_probe(path));
    assert_no_angles(text, 3, "describes 2 views, but the series has 3");
    assert_no_angles("A = b\n[ZValue = 0]\nTiltAngle = 3\n[ZValue = 1]\n", 2,
                     "has no TiltAngle for view 2 of 2");
    write_text("# a = b\n1\n2\n");
    assert_false(tr_mdoc_probe(path));
    write_text("tilt angles [degrees] = \n");
    assert_false(tr_mdoc_probe(path));
    unlink(path);
    assert_false(tr_mdoc_probe(path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_angles), cmocka_unit_test(test_lone_carriage_returns),
        cmocka_unit_test(test_pipes),        cmocka_unit_test(test_wrong_counts),
        cmocka_unit_test(test_bad_angles),   cmocka_unit_test(test_not_a_text_file),
        cmocka_unit_test(test_long_files),   cmocka_unit_test(test_german_locale),
        cmocka_unit_test(test_transforms),   cmocka_unit_test(test_mdoc),
        cmocka_unit_test(test_tables),       cmocka_unit_test(test_mdoc_of_views),
        cmocka_unit_test(test_bad_mdoc),     cmocka_unit_test(test_angles_from_mdoc),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
