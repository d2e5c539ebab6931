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
        "InputProjections my set.ali\r\nOutputFile /data/a.rec\r\nTILTFILE a.tlt # fine "
        "angles\r\n"
        "XTILTFILE\tsub/a.xtilt\r\nLOCALFILE local.xf\r\nLOCALSCALE 0.5\r\n"
        "ZFACTORFILE a.zfac\r\nTHICKNESS 900 # pixels\r\nWIDTH 512\r\nOFFSET "
        "-1.5,2.5\r\n"
        "SHIFT 3.25 -4\r\nXAXISTILT +1.76\r\nRADIAL .35 .05\r\nSCALE 1.39,500\r\n"
        "MODE 1\r\nLOG 0.5\r\nIMAGEBINNED 2\r\nFULLIMAGE 2032 2048\r\n"
        "SUBSETSTART -19 20\r\nSLICE 50,99\r\nFakeSIRTiterations 12\r\n"
        "HammingLikeFilter 0.2\r\nPERPENDICULAR \r\nEXCLUDELIST 1,3-5\r\n"
        "EXCLUDELIST2 40 41\r\nEXCLUDELIST\r\nINCLUDE 7\r\nINCLUDE 9-11");
    assert_in_folder(com.input, "my set.ali");
    assert_string_equal(com.output, "/data/a.rec");
    assert_in_folder(com.tilt_file, "a.tlt");
    assert_in_folder(com.xtilt_file, "sub/a.xtilt");
    assert_in_folder(com.local_file, "local.xf");
    assert_in_folder(com.zfactor_file, "a.zfac");
    assert_true(com.local_scale == 0.5);
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
    assert_false(com.parallel || com.rotated);
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
                 com.has_slice || com.parallel || com.rotated || com.uniform_weights ||
                 com.positive || com.has_angles);
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
        {"COMPRESS 1.1\nREPLICATE 2 2\nUseGPU 0\nLOCALFILE a.xf\n",
         "COMPRESS 1.1, REPLICATE 2 2"},
        {"LOCALFILE\nDENSWEIGHT 2\nCOSINTERP 0\nFBPINTERP 0\nSIRTIterations 0\n"
         "ActionIfGPUFails 1,2\nAdjustOrigin\nTOTALSLICES 0 549\nFlatFilterFraction 0.0\n"
         "BoundaryInfoFile b.info\nRotateBy90 0\nTITLE my title\n",
         NULL},
        {"DENSWEIGHT 0\nSIRTIterations 10\nRotateBy90\n", NULL},
        {"DENSWEIGHT 2 2. .6667\nCOSINTERP 1 4\n", NULL},
        {"DENSWEIGHT 2 1 1\nCOSINTERP 3\n", "DENSWEIGHT 2 1 1, COSINTERP 3"},
        {"WeightFile w.txt\nMASK 0\nMinMaxMean 0 9 5\n",
         "WeightFile w.txt, MASK 0, MinMaxMean 0 9 5"},
        {"NewOption 5\nTHICK 20\n", "NewOption 5"},
        {"FlatFilterFraction 0.2\n", "FlatFilterFraction other than 0"},
        {"FlatFilterFraction 0.2\nSIRTIterations 3\n", NULL},
        {"SIRTIterations 3\nConstrainSign -1\n", "ConstrainSign below 0"},
        {"MODE 9\n", "MODE 9"},
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
    tr_imod_com com = read_com("$tilt -Mystery 3 -SomeFlag -WIDTH 9\nTHICKNESS 5\n");
    assert_string_equal(com.not_honoured, "Mystery 3, SomeFlag, lines behind a command "
                                          "without -StandardInput");
    assert_true(com.width == 9 && !com.has_thickness);
    tr_imod_com_free(&com);
}

/* As IMOD's parser does: case and the ends of names do not count, one '=' may stand
 * between, and what is behind the last number is nothing. */
static void test_names_and_values(void **state)
{
    (void)state;
    tr_imod_com com = read_entries(
        "inp = a.ali#x\n OutputF\t=b.rec\nTILTF a.tlt # fine\nTHICK 48 ! thick\n"
        "subset=-2 3 # start\n#WIDTH 7\nexclude 1-2 #7\n perp\nfalloff true\n"
        "RADIAL .3 .05\nSIRTI 9\nconstr 1\nFake 0\nrotateby90 F\nparallel OFF\n");
    assert_in_folder(com.input, "a.ali");
    assert_in_folder(com.output, "b.rec");
    assert_in_folder(com.tilt_file, "a.tlt");
    assert_true(com.thickness == 48 && com.subset_x == -2 && com.subset_y == 3);
    assert_false(com.has_width || com.parallel || com.rotated);
    assert_string_equal(com.exclude, "1-2");
    assert_true(com.radial_sigma == .05 && com.sirt_iterations == 9 && com.positive);
    assert_null(com.not_honoured);
    tr_imod_com_free(&com);
    com = read_entries("RotateBy90 1\nANGLES 1 2 3\nDENSWEIGHT 0.0\n");
    assert_true(com.rotated && !com.parallel && com.has_angles && com.uniform_weights);
    tr_imod_com_free(&com);
    com = read_entries("PERPENDICULAR 0\n");
    assert_true(com.parallel);
    tr_imod_com_free(&com);
}

/* Options on the command's line, in any of its spellings. */
static void test_command_lines(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "$tilt -InputProjections a.ali -OutputFile b.rec -SHIFT -3,4 -PERP -THICKNESS 48",
        "$tilt -input 'a.ali' --output \"b.rec\" -shift '-3 4' \\\n  -THICK 48 > "
        "tilt.log",
        "$/usr/IMOD/bin/tilt -SHIFT -3,4 a.ali -THICKN 48 b.rec # -THICKNESS 9",
        "$tilt -THICKNESS 9 -StandardInput -input a.ali -out b.rec\nSHIFT -3 4\nTHICK 48",
        "$tilt\na.ali\nb.rec\nTHICKNESS 48\nSHIFT -3 4\n",
        "$tilt\nTHICKNESS 48\ninput a.ali\nSHIFT -3 4\noutput b.rec",
        "tilt -StandardInput << EOF\ninput a.ali\noutput b.rec\nTHICK 48\nSHIFT -3 "
        "4\nEOF\n"
        "THICKNESS 9\ntrimvol b.rec c.rec\n",
        "#!/bin/sh\necho $PATH\ncat <<E\ntilt -x\nE\n/a/tilt -Stand 2>log <<-'X'\ninput "
        "a.ali\n"
        "THICK 48\nSHIFT -3 4\noutput b.rec\nX\n",
        "#!/bin/sh\nt=a; tilt x\ntilt a.ali b.rec -THICKNESS 48 -SHIFT -3,4 | tee log\n",
        "cat > tilt.com << EOF\n$tilt -StandardInput\ninput a.ali\noutput b.rec\nTHICK "
        "48\n"
        "SHIFT -3 4\nEOF\nsubmfg tilt.com\n",
        "$newstack -StandardInput\ninput raw.st\ntilt 9\n$tilt -Standard\ninput a.ali\n"
        "output b.rec\nTHICKNESS 48\nSHIFT -3 4\n$if (-e ./savework) ./savework\n",
        /* of several, the one that makes a tomogram */
        "$tilt -StandardInput\ninput a.ali\nRecFile b.rec\nViewsToReproj 0\nTHICK 9\n"
        "$tilt -StandardInput\ninput a.ali\noutput b.rec\nTHICKNESS 48\nSHIFT -3 4\n"
        "$tilt -StandardInput\nSLICE -1 -1\n$tilt -ProjectModel a.mod x y\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tr_imod_com com = read_com(texts[i]);
        if (!com.input || !com.output || com.not_honoured)
            fail_msg("\"%s\": %s %s %s", texts[i], com.input, com.output,
                     com.not_honoured);
        assert_in_folder(com.input, "a.ali");
        assert_in_folder(com.output, "b.rec");
        assert_true(com.thickness == 48 && com.shift_x == -3 && com.shift_z == 4);
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
        {"$tilt -StandardInput\nREPROJECT -30,0\n",
         "line 2: with REPROJECT -30,0, tilt makes a reprojection, and here only"},
        {"$tilt -ProjectModel a.mod in out\n", "makes the projection of a model"},
        {"$tilt -Stand\nViewsToReproject 0\n", "with ViewsToReproject 0"},
        {"$tilt -Stand\nBaseRecFile a.rec\n", "makes a change to an earlier tomogram"},
        {"$tilt -Stand\nSIRTSubtraction\n", "makes a reprojection"},
        {"$tilt -param a.par\n", "with ParameterFile a.par, tilt makes what another"},
        {"$tilt -Stand\nSLICE -1 -1\nTOTALSLICES 0 9\n", "makes an empty file for other"},
        {"$tilt -Stand\n\nIN a.ali\n",
         "line 3: IN may be InputProjections or INCLUDE; write more of it"},
        {"tilt -Stand < a.par\n", "are in another file"},
        {"tilt -Stand\n", "are in another file"},
        {"tilt -THICK $1 a b\n", "\"$1\" is for a shell to fill in"},
        {"$tilt a b -THICK\n", "THICK needs a value"},
        {"$tilt -Stand\nPARALLEL maybe\n", "\"maybe\" of PARALLEL is neither 0 nor 1"},
        {"$tilt -StandardInput\nOFFSET 1 2 3\n", "OFFSET needs 1 or 2 numbers, not 3"},
        {"$tilt -StandardInput\nSCALE 1\n", "SCALE needs 2 numbers, not 1"},
        {"$tilt -StandardInput\nEXCLUDELIST 1-\n", "line 2: \"1-\" in EXCLUDELIST"},
        {"$tilt -StandardInput\nINCLUDE 0\n", "line 2: \"0\" in INCLUDE"},
        {"$tilt -StandardInput\nEXCLUDE 1-2-3\n", "\"1-2-3\" in EXCLUDE"},
        {"$tilt -StandardInput\nIMAGEBINNED 0\n", "IMAGEBINNED 0 is not a binning"},
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
        cmocka_unit_test(test_names_and_values),
        cmocka_unit_test(test_command_lines),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_folder),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
