/* Alignments of AreTomo and RELION: which view a row is, and the arithmetic, against
 * numbers worked out by hand. What a damaged file is told is in tests/cli. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/alignment.h"

static char path[] = "/tmp/tr_test_XXXXXX";
static const tr_aligned_series series = {
    .path = "a/TS_1.mrc", .nx = 32, .ny = 30, .nz = 4, .pixel = 2.0};

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_text(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static tr_alignment reads(const char *text)
{
    tr_alignment a;
    write_text(text);
    assert_non_null(tr_alignment_format_of(path, TR_GIVES_ANGLES | TR_GIVES_TRANSFORMS));
    if (tr_alignment_read(path, TR_GIVES_ANGLES, &series, &a) != TR_OK)
        fail_msg("%s", tr_error());
    assert_int_equal(a.n_views, 4);
    return a;
}

static void refuses(const char *text, const char *part)
{
    tr_alignment a;
    write_text(text);
    assert_int_equal(tr_alignment_read(path, TR_GIVES_ANGLES, &series, &a), TR_ERR_DATA);
    assert_null(a.used);
    if (!strstr(tr_error(), part) || !strstr(tr_error(), path))
        fail_msg("\"%s\" does not say \"%s\"", tr_error(), part);
}

#define ALN "# AreTomo Alignment / Priims bprmMn \n# RawSize = 32 30 4\n"
#define REST " 1 1 1 0 "

/* ROT 90 degrees: the aligned image's x is the raw one's y, its y the raw one's -x. A
 * raw point (TX, TY) becomes the centre. */
static void aln_turns_about_the_centre(void **state)
{
    (void)state;
    tr_alignment a = reads(ALN "0 90 1 5 -3" REST "-60\n1 90 1 5 -3" REST "-20\n"
                               "2 90 1 5 -3" REST "20\n3 90 1 5 -3" REST "60\n");
    const tr_transform *t = &a.transforms[2];
    assert_float_equal(t->a11, 0, 1e-12);
    assert_float_equal(t->a12, 1, 1e-12);
    assert_float_equal(t->a21, -1, 1e-12);
    assert_float_equal(t->a22, 0, 1e-12);
    assert_float_equal(t->a11 * 5 + t->a12 * -3 + t->dx, 0, 1e-12);
    assert_float_equal(t->a21 * 5 + t->a22 * -3 + t->dy, 0, 1e-12);
    assert_float_equal(t->dx, 3, 1e-12);
    assert_float_equal(t->dy, 5, 1e-12);
    assert_true(a.tilt[2] == 20 && a.n_used == 4 && !a.xtilt);
    assert_float_equal(a.rotation, 90, 1e-12);
    tr_alignment_free(&a);
}

static void assert_used(const char *text, const char *which)
{
    tr_alignment a = reads(text);
    for (size_t k = 0; k < 4; k++)
        assert_int_equal(a.used[k], which[k] == 'x');
    assert_int_equal(a.n_used, 2);
    tr_alignment_free(&a);
}

/* Which views 1 and 2, or 2 and 3, are, the dark ones tell. */
static void sections_from_0_or_1(void **state)
{
    (void)state;
    const char *rows = "1 0 1 0 0" REST "-9\n2 0 1 0 0" REST "9\n",
               *two = "2 0 1 0 0" REST "-9\n3 0 1 0 0" REST "9\n";
    char text[1024];
    static const struct {
        const char *darks, *used;
        int rows;
    } cases[] = {
        {"# DarkFrame = 0 0 -60\n# DarkFrame = 3 3 60\n", ".xx.", 1},
        {"# DarkFrame = 2 3 -60\n# DarkFrame = 3 4 60\n", "xx..", 1},
        {"# DarkFrame = 0 1 -60\n# DarkFrame = 3 4 60\n", ".xx.", 2},
        {"# DarkFrame = 0 0 -60\n# DarkFrame = 1 1 60\n", "..xx", 2},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        snprintf(text, sizeof text, "%s%s%s", ALN, cases[c].darks,
                 cases[c].rows == 1 ? rows : two);
        assert_used(text, cases[c].used);
    }
    snprintf(text, sizeof text, "%s%s", ALN, rows);
    refuses(text, "not clear whether its sections");
    snprintf(text, sizeof text, "%s# DarkFrame = 1 0 9\n# DarkFrame = 4 0 9\n%s", ALN,
             two);
    refuses(text, "not clear whether its sections");
    /* The first or the last section says it without them. */
    assert_used(ALN "0 0 1 0 0" REST "-9\n2 0 1 0 0" REST "9\n", "x.x.");
    assert_used(ALN "4 0 1 0 0" REST "-9\n2 0 1 0 0" REST "9\n", ".x.x");
    refuses(ALN "0 0 1 0 0" REST "-9\n4 0 1 0 0" REST "9\n", "not clear");
}

#define TWO "_rlnTomoNominalStageTiltAngle #1\n_rlnMicrographName #2\n"
#define ALL                                                                              \
    "data_TS_1\nloop_\n_rlnTomoYTilt #1\n_rlnTomoXTilt #2\n_rlnTomoZRot #3\n"            \
    "_rlnTomoXShiftAngst #4\n_rlnTomoYShiftAngst #5\n_rlnMicrographName\n"

static void star_has_angstroms_and_another_z(void **state)
{
    (void)state;
    tr_alignment a = reads(ALL "10 0 90 10 -6 4@s.mrcs\n20 3 90 10 -6 2@s.mrcs\n");
    assert_true(!a.used[0] && a.used[1] && !a.used[2] && a.used[3]);
    assert_true(a.tilt[1] == 20 && a.tilt[3] == 10);
    assert_true(a.xtilt[1] == -3 && a.xtilt[3] == 0);
    assert_float_equal(a.transforms[3].a12, 1, 1e-12);
    assert_float_equal(a.transforms[3].dx, 3, 1e-12);
    assert_float_equal(a.transforms[3].dy, 5, 1e-12);
    tr_alignment_free(&a);
}

static void star_names_are_sections_only_of_one_file(void **state)
{
    (void)state;
    tr_alignment a =
        reads("data_\nloop_\n" TWO "1 1@a\n2 1@b\n3 1@c\n4 \"1@d e\" # end\n");
    assert_true(a.n_used == 4 && a.tilt[0] == 1 && a.tilt[3] == 4 && !a.transforms);
    tr_alignment_free(&a);
    refuses("data_\nloop_\n" TWO "1 1@a\n2 2@b\n3 3@c\n", "has 3 views");
}

static void star_of_several_series(void **state)
{
    (void)state;
    tr_alignment a = reads("# version 50001\ndata_global\nloop_\n_rlnTomoName\n"
                           "_rlnVoltage\nTS_1 300\n\n"
                           "data_TS_11\nloop_\n_rlnTomoYTilt\n1\n2\n\n"
                           "data_TS_1\nloop_\n_rlnTomoYTilt\n5\n6\n7\n8\n\n"
                           "data_TS\nloop_\n_rlnTomoYTilt\n1\n");
    assert_true(a.tilt[0] == 5 && a.tilt[3] == 8);
    tr_alignment_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aln_turns_about_the_centre),
        cmocka_unit_test(sections_from_0_or_1),
        cmocka_unit_test(star_has_angstroms_and_another_z),
        cmocka_unit_test(star_names_are_sections_only_of_one_file),
        cmocka_unit_test(star_of_several_series),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
