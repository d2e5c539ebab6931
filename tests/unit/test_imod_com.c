/* IMOD's tilt.com: every entry that is honoured, what is reported as not honoured, and
 * what is refused. */
#include <math.h>

#include "formats/tilt_angles.h"

#define TEST_FILE "tilt.com"
#include "text_fixture.h"

static tr_status read_text(const char *text, tr_imod_com *com)
{
    write_text(text);
    return tr_imod_com_read(path, com);
}

static tr_imod_com read_com(const char *text)
{
    tr_imod_com com;
    if (read_text(text, &com) != TR_OK)
        fail_msg("\"%s\": %s", text, tr_error());
    return com;
}

static tr_imod_com read_entries(const char *entries)
{
    char text[2048];
    snprintf(text, sizeof text, "$tilt -StandardInput\n%s", entries);
    return read_com(text);
}

static void assert_in_folder(const char *found, const char *name)
{
    char expected[256];
    snprintf(expected, sizeof expected, "%s/%s", folder, name);
    assert_string_equal(found, expected);
}

static void test_every_entry(void **state)
{
    (void)state;
    tr_imod_com com = read_entries(
        "# a comment\r\n"
        "InputProjections my set.ali\r\nOutputFile /data/a.rec\r\nTILTFILE a#1.tlt\r\n"
        "XTILTFILE\tsub/a.xtilt\r\nTHICKNESS 900\r\nWIDTH 512\r\nOFFSET -1.5,2.5\r\n"
        "SHIFT 3.25 -4\r\nXAXISTILT +1.76\r\nRADIAL .35 .05\r\nSCALE 1.39,500\r\n"
        "MODE 1\r\nLOG 0.5\r\nIMAGEBINNED 2\r\nFULLIMAGE 2032 2048\r\n"
        "SUBSETSTART -19 20\r\nSLICE 50,99\r\nFakeSIRTiterations 12\r\n"
        "HammingLikeFilter 0.2\r\nPERPENDICULAR \r\nEXCLUDELIST 1,3-5\r\n"
        "EXCLUDELIST2 40 41\r\nEXCLUDELIST\r\nINCLUDE 7\r\nINCLUDE 9-11");
    assert_in_folder(com.input, "my set.ali");
    assert_string_equal(com.output, "/data/a.rec");
    assert_in_folder(com.tilt_file, "a#1.tlt");
    assert_in_folder(com.xtilt_file, "sub/a.xtilt");
    assert_true(com.has_thickness && com.thickness == 900);
    assert_true(com.has_width && com.width == 512);
    assert_true(com.has_offset && com.offset_angle == -1.5 && com.offset_axis == 2.5);
    assert_true(com.has_shift && com.shift_x == 3.25 && com.shift_z == -4);
    assert_true(com.has_xaxistilt && com.xaxistilt == 1.76);
    assert_true(com.has_radial && com.radial_cutoff == .35);
    assert_true(fabs(com.radial_sigma - .05 / sqrt(2)) < 1e-15);
    assert_true(com.has_scale && com.scale_add == 1.39 && com.scale_multiply == 500);
    assert_true(com.has_mode && com.mode == 1);
    assert_true(com.has_log && com.log_base == .5);
    assert_int_equal(com.binning, 2);
    assert_true(com.has_full_image && com.full_nx == 2032 && com.full_ny == 2048);
    assert_true(com.has_subset_start && com.subset_x == -19 && com.subset_y == 20);
    assert_true(com.has_slice && com.slice_first == 50 && com.slice_last == 99);
    assert_int_equal(com.fake_sirt_iterations, 12);
    assert_true(com.hamming_start == .2);
    assert_false(com.parallel);
    assert_string_equal(com.exclude, "1,3-5,40,41");
    assert_string_equal(com.include, "7,9-11");
    assert_null(com.not_honoured);
    tr_imod_com_free(&com);
    assert_null(com.input);
}

static void test_nothing_given(void **state)
{
    (void)state;
    tr_imod_com com = read_entries("");
    assert_int_equal(com.binning, 1);
    assert_null(com.input);
    assert_null(com.output);
    assert_null(com.tilt_file);
    assert_null(com.xtilt_file);
    assert_null(com.exclude);
    assert_null(com.include);
    assert_null(com.not_honoured);
    assert_false(com.has_thickness || com.has_width || com.has_offset || com.has_shift ||
                 com.has_xaxistilt || com.has_radial || com.has_scale || com.has_mode ||
                 com.has_log || com.has_full_image || com.has_subset_start ||
                 com.has_slice || com.parallel);
    assert_int_equal(com.fake_sirt_iterations, 0);
    assert_int_equal(com.sirt_iterations, 0);
    assert_true(com.hamming_start == 0);
    tr_imod_com_free(&com);
}

static void test_only_the_tilt_command(void **state)
{
    (void)state;
    tr_imod_com com = read_com("$setenv A B\nTHICKNESS 1\n$tiltalign -StandardInput\n"
                               "THICKNESS 2\nOFFSET x\n$ tilt -StandardInput\n"
                               "thickness 3\nDONE\nTHICKNESS 4\n$echo\nTHICKNESS 5\n");
    assert_int_equal(com.thickness, 3);
    assert_null(com.not_honoured);
    tr_imod_com_free(&com);

    com = read_com("$tilt\na.ali\na.rec\nTHICKNESS 100\nEXCLUDELIST\nDONE\nany words\n");
    assert_in_folder(com.input, "a.ali");
    assert_in_folder(com.output, "a.rec");
    assert_int_equal(com.thickness, 100);
    assert_null(com.exclude);
    assert_null(com.not_honoured);
    tr_imod_com_free(&com);
}

/* As in IMOD, a later entry replaces an earlier one. */
static void test_last_entry_wins(void **state)
{
    (void)state;
    tr_imod_com com = read_entries("SHIFT 1 2\nTILTFILE a.tlt\nPARALLEL\nRADIAL .4 .05\n"
                                   "SHIFT 3\nTILTFILE b.tlt\nPARALLEL 0\n"
                                   "FalloffIsTrueSigma 1\n");
    assert_true(com.shift_x == 3 && com.shift_z == 0);
    assert_in_folder(com.tilt_file, "b.tlt");
    assert_false(com.parallel);
    assert_true(com.radial_sigma == .05);
    tr_imod_com_free(&com);
}

static void test_not_honoured(void **state)
{
    (void)state;
    const struct {
        const char *entries, *expected;
    } cases[] = {
        {"LOCALFILE BBalocal.xf\nZFACTORFILE BBa.zfac\nUseGPU 0\n",
         "LOCALFILE BBalocal.xf, ZFACTORFILE BBa.zfac"},
        {"LOCALFILE\nDENSWEIGHT 2\nCOSINTERP 0\nFBPINTERP 0\nSIRTIterations 0\n"
         "ActionIfGPUFails 1,2\nAdjustOrigin\nTOTALSLICES 0 549\nFlatFilterFraction 0.0\n"
         "BoundaryInfoFile b.info\nRotateBy90 0\nTITLE my title\n",
         NULL},
        {"DENSWEIGHT 0\nConstrainSign 1\n", "DENSWEIGHT 0, ConstrainSign 1"},
        {"COSINTERP 1.0\nfbpint 1\nCOSINTERP 2\n", "COSINTERP 2"},
        {"DENSWEIGHT 2 1 1\nCOSINTERP 3\n", "DENSWEIGHT 2 1 1, COSINTERP 3"},
        {"RotateBy90\n", "RotateBy90"},
        {"COMPRESS -30,0,30\nWeightFile w.txt", "COMPRESS -30,0,30, WeightFile w.txt"},
        {"NewOption 5 # new\n", "NewOption 5"},
        {"TITLE # of nothing\nRecFileToReproject\nBaseRecFile # none\n", NULL},
        {"SLICE 0 9 2\n", "SLICE with an interval"},
        {"SLICE 0 9 1\n", NULL},
        {"RADIAL 180 20\n", "RADIAL in pixels of the Fourier transform"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tr_imod_com com = read_entries(cases[i].entries);
        if (!cases[i].expected)
            assert_null(com.not_honoured);
        else
            assert_string_equal(com.not_honoured, cases[i].expected);
        assert_false(com.has_radial);
        tr_imod_com_free(&com);
    }
    tr_imod_com com = read_com("$tilt -StandardInput -RotateBy90 1 -UseGPU 0\n");
    assert_string_equal(com.not_honoured, "RotateBy90 1");
    tr_imod_com_free(&com);
}

/* IMOD's parser takes the beginning of a name, whatever the case. */
static void test_short_names(void **state)
{
    (void)state;
    tr_imod_com com =
        read_entries("INPUTP a.ali\nTiltF a.tlt\nthick 48\nXAX 1.5\n"
                     "fake 5\nSIRTI 20\nEXC 3\nXTILTF b.xtilt\nOUTPUT= a.rec\n");
    assert_in_folder(com.input, "a.ali");
    assert_in_folder(com.output, "a.rec");
    assert_in_folder(com.tilt_file, "a.tlt");
    assert_in_folder(com.xtilt_file, "b.xtilt");
    assert_true(com.thickness == 48 && com.xaxistilt == 1.5);
    assert_true(com.fake_sirt_iterations == 5 && com.sirt_iterations == 20);
    assert_string_equal(com.exclude, "3");
    assert_null(com.not_honoured);
    tr_imod_com_free(&com);
}

static void test_comments(void **state)
{
    (void)state;
    tr_imod_com com = read_entries("# THICKNESS 9\nTILTFILE a#1.tlt   # fine angles\n"
                                   "THICKNESS 48 #, or 50\nRADIAL .35 .05\t# old\n"
                                   "PARALLEL # yes\nEXCLUDELIST # none\n");
    assert_in_folder(com.tilt_file, "a#1.tlt");
    assert_int_equal(com.thickness, 48);
    assert_true(com.has_radial && com.radial_cutoff == .35 && com.parallel);
    assert_null(com.exclude);
    tr_imod_com_free(&com);
}

static void test_options_on_the_line(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "$tilt -InputProjections a.ali -out a.rec -TILTFILE a.tlt -SHIFT -3.5 -.5 "
        "-UseGPU "
        "-THICKNESS 48 -EXCLUDELIST 1,5-7\nTHICKNESS 9\n",
        "$/opt/imod/bin/tilt -TILTF a.tlt -sta -EXC 1,5-7\ninput a.ali\noutput a.rec\n"
        "SHIFT -3.5 -.5\nTHICKNESS 48\n",
        "$tilt a.ali a.rec -TILTFILE a.tlt -SHIFT -3.5 -.5 -THICKNESS 48 -EXCLUDELIST2 "
        "1,5-7 # quick\n"};
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        tr_imod_com com = read_com(texts[k]);
        assert_in_folder(com.input, "a.ali");
        assert_in_folder(com.output, "a.rec");
        assert_in_folder(com.tilt_file, "a.tlt");
        assert_true(com.shift_x == -3.5 && com.shift_z == -.5 && com.thickness == 48);
        assert_string_equal(com.exclude, "1,5-7");
        assert_null(com.not_honoured);
        tr_imod_com_free(&com);
    }
}

static void test_shell_scripts(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "#!/bin/bash\ncd x\ntilt -StandardInput << EOF\ninput a.ali\nTHICKNESS 48\n"
        "EOF\nTHICKNESS 9\n",
        "newstack << E1\nTHICKNESS 7\nE1\n/opt/tilt -StandardInput <<-'END OF'\n"
        "input a.ali\nTHICK 48\nEND\nWIDTH oops\n",
        "$tilt -StandardInput <<\"E\"\ninput a.ali\nTHICK 48\nE\n$echo\n"};
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        tr_imod_com com = read_com(texts[k]);
        assert_in_folder(com.input, "a.ali");
        assert_int_equal(com.thickness, 48);
        assert_null(com.not_honoured);
        tr_imod_com_free(&com);
    }
}

static void test_refused(void **state)
{
    (void)state;
    const struct {
        const char *text, *message;
    } cases[] = {
        {"", "is empty"},
        {"THICKNESS 5\n$newstack\n", "has no tilt command"},
        {"$tilt -StandardInput\n$tilt -StandardInput\n", "(lines 1 and 2)"},
        {"$tilt -StandardInput\n\nTHICKNESS much\n", "line 3: \"much\" is not a number"},
        {"$tilt -StandardInput\nTHICKNESS 9.5\n",
         "line 2: \"9.5\" is not a whole number"},
        {"$tilt -StandardInput\nTHICKNESS\n", "line 2: THICKNESS needs 1 number, not 0"},
        {"$tilt -StandardInput\nOFFSET nan\n", "line 2: \"nan\" is not a finite number"},
        {"$tilt -StandardInput\nOFFSET 1 2 3\n", "OFFSET needs 1 or 2 numbers, not 3"},
        {"$tilt -StandardInput\nSCALE 1\n", "SCALE needs 2 numbers, not 1"},
        {"$tilt -StandardInput\nEXCLUDELIST 1-\n", "line 2: \"1-\" in EXCLUDELIST"},
        {"$tilt -StandardInput\nINCLUDE 0\n", "line 2: \"0\" in INCLUDE"},
        {"$tilt -StandardInput\nEXCLUDE 1-2-3\n", "\"1-2-3\" in EXCLUDE"},
        {"$tilt -StandardInput\nIMAGEBINNED 0\n", "IMAGEBINNED 0 is not a binning"},
        {"$tilt -StandardInput\nIn a.ali\n",
         "line 2: In could be InputProjections or INCLUDE"},
        {"$tilt -Sta\nREPROJECT -30,0\n",
         "line 2: REPROJECT is not done here: it asks for a reprojection"},
        {"$tilt -Sta\nProjectM m.mod\n",
         "line 2: ProjectModel is not done here: it asks for a projected"},
        {"$tilt -Sta -recf a.rec\n",
         "line 1: RecFileToReproject is not done here: it asks for a reproj"},
        {"$tilt -Sta\nBaseRecFile b.rec\n",
         "BaseRecFile is not done here: it asks for a difference"},
        {"$tilt -Sta\nSIRTSubtraction 1\n", "asks for a step of IMOD's own SIRT"},
        {"$tilt -Sta\nANGLES -3,0,3\n", "put them into a file for TILTFILE"},
        {"$tilt -param tilt.par\n",
         "ParameterFile is not done here: it takes the options from another"},
        {"$tilt -StandardInput\nTILTFILE a.tlt\nLOG \x01\n", "is not a text file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tr_imod_com com;
        assert_int_equal(read_text(cases[i].text, &com), TR_ERR_DATA);
        if (!strstr(tr_error(), cases[i].message) || !strstr(tr_error(), path))
            fail_msg("\"%s\" does not name the file and say \"%s\"", tr_error(),
                     cases[i].message);
        assert_null(com.tilt_file);
    }
}

/* A com file in the current folder: names stay as they are. */
static void test_no_folder(void **state)
{
    (void)state;
    char *start = getcwd(NULL, 0);
    tr_imod_com com = read_entries("TILTFILE a.tlt\n");
    tr_imod_com_free(&com);
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(tr_imod_com_read("tilt.com", &com), TR_OK);
    assert_string_equal(com.tilt_file, "a.tlt");
    tr_imod_com_free(&com);
    assert_int_equal(chdir(start), 0);
    free(start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_entry),
        cmocka_unit_test(test_nothing_given),
        cmocka_unit_test(test_only_the_tilt_command),
        cmocka_unit_test(test_last_entry_wins),
        cmocka_unit_test(test_not_honoured),
        cmocka_unit_test(test_short_names),
        cmocka_unit_test(test_comments),
        cmocka_unit_test(test_options_on_the_line),
        cmocka_unit_test(test_shell_scripts),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_folder),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
