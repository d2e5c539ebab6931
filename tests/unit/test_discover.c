/* Finding a series, its angles and tilt.com in a folder. Each test works in a fresh
 * folder, which is the current one while it runs. */
#include <dirent.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "common/views/discover.h"
#include "common/views/series_name.h"
#include "common/views/sidecars.h"

static char start[4096]; /* the folder in which the test program was started */
static char folder[4200];

static int enter_folder(void **unused)
{
    (void)unused;
    const char *temporary = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/tiltrec-test-XXXXXX",
             temporary ? temporary : P_tmpdir);
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int leave_folder(void **unused)
{
    (void)unused;
    DIR *entries = opendir(".");
    for (struct dirent *e; entries && (e = readdir(entries));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            remove(e->d_name);
    if (entries)
        closedir(entries);
    return chdir(start) == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static void write_file(const char *name, const char *text)
{
    FILE *out = fopen(name, "w");
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

/* Make files of these names, separated by blanks; what is in them does not matter. */
static void make(const char *names)
{
    char copy[512];
    snprintf(copy, sizeof copy, "%s", names);
    for (char *at = copy, *name; (name = strsep(&at, " "));)
        write_file(name, "0\n");
}

/* NULL stands for none. */
static void assert_text(const char *text, const char *expected)
{
    if (!expected)
        assert_null(text);
    else if (!text || strcmp(text, expected) != 0)
        fail_msg("%s instead of %s", text ? text : "nothing", expected);
}

/* What lies beside the series, and which of it is taken; NULL stands for none. */
static void beside(const char *series, const char *angles, const char *transforms)
{
    tr_sidecars found;
    assert_int_equal(tr_sidecars_find(series, tr_is_aligned_name(series), &found), TR_OK);
    assert_text(found.angles ? found.angles->path : NULL, angles);
    assert_text(found.transforms ? found.transforms->path : NULL, transforms);
    tr_sidecars_free(&found);
    assert_true(!found.list && !found.angles);
}

static void finds(const char *series, const char *tilts, const char *imod_com)
{
    tr_discovery found;
    if (tr_discover(".", &found) != TR_OK)
        fail_msg("%s", tr_error());
    assert_text(found.series, series);
    beside(found.series, tilts, NULL);
    assert_text(found.imod_com, imod_com);
    tr_discovery_free(&found);
    assert_null(found.series);
}

static void finds_nothing(const char *part, const char *other_part)
{
    tr_discovery found;
    assert_int_equal(tr_discover(".", &found), TR_ERR_USAGE);
    assert_null(found.series);
    if (!strstr(tr_error(), part) || !strstr(tr_error(), other_part))
        fail_msg("'%s' lacks '%s' or '%s'", tr_error(), part, other_part);
}

static void test_aligned(void **unused)
{
    (void)unused;
    /* The raw series has angles too, and there are volumes: the aligned one is meant. */
    make("TS_ali.mrc TS.tlt TS.rawtlt TS.st TS.mrc TS_ali_rec.mrc TS_rec.mrc TS_full.rec "
         "TS_full_rec.mrc TS_full_rec.tlt TS.st.mdoc notes.txt");
    finds("TS_ali.mrc", "TS.tlt", NULL);
    make("TS_ali.tlt"); /* nearer than TS.tlt */
    finds("TS_ali.mrc", "TS_ali.tlt", NULL);
}

static void test_ali_extension(void **unused)
{
    (void)unused;
    make("needle.ali needle.tlt needle_raw.mrc .hidden.ali .hidden.tlt");
    finds("needle.ali", "needle.tlt", NULL);
}

static void test_aligned_without_angles(void **unused)
{
    (void)unused;
    make("a.ali b.st b.tlt");
    finds("a.ali", NULL, NULL); /* the file itself may hold them */
    make("c.ali c.rawtlt");
    finds("c.ali", "c.rawtlt", NULL);
}

static void test_raw(void **unused)
{
    (void)unused;
    make("a.mrc b.mrc b.rawtlt c.h5 d.st");
    finds("b.mrc", "b.rawtlt", NULL);
}

static void test_mdoc(void **unused)
{
    (void)unused;
    make("a.hdf a.hdf.mdoc b.mrc");
    finds("a.hdf", "a.hdf.mdoc", NULL);
    make("TS_ali.mrc TS.mrc.mdoc");
    finds("TS_ali.mrc", "TS.mrc.mdoc", NULL);
}

static void test_folders_are_no_series(void **unused)
{
    (void)unused;
    make("b.st b.tlt");
    assert_int_equal(mkdir("a.ali", 0700), 0);
    finds("b.st", "b.tlt", NULL);
}

static void test_several(void **unused)
{
    (void)unused;
    make("b.ali b.tlt a.ali a.tlt c.st c.tlt");
    finds_nothing("2 tilt series in this folder: a.ali, b.ali;", "tiltrec-mpi SERIES");
    remove("a.ali");
    remove("b.ali");
    make("d.mrc d.mdoc");
    finds_nothing("2 tilt series in this folder: c.st, d.mrc;", "tiltrec-mpi SERIES");
}

static void test_none(void **unused)
{
    (void)unused;
    make("x_rec.mrc x_rec.tlt y.rec y.tlt z.txt");
    finds_nothing("no tilt series in this folder", "*_ali.mrc and *.ali");
    make("b.mrc a.h5");
    finds_nothing("no angles", "a.h5, b.mrc");
    tr_discovery found;
    assert_int_equal(tr_discover("missing", &found), TR_ERR_DATA);
    assert_non_null(strstr(tr_error(), "missing"));
}

static void test_tilt_com(void **unused)
{
    (void)unused;
    static const char com[] = "$tilt -StandardInput\nInputProjections TS_ali.mrc\n"
                              "OutputFile TS_full_rec.mrc\nTILTFILE angles.txt\n";
    make("TS_ali.mrc other.st other.tlt");
    write_file("tilt.com", com);
    finds("TS_ali.mrc", NULL, "tilt.com");
    make("TS.tlt"); /* the file that tilt.com names is missing: this one is used */
    finds("TS_ali.mrc", "TS.tlt", "tilt.com");
}

static void test_tilt_com_gives_angles_to_raw(void **unused)
{
    (void)unused;
    make("a.mrc b.mrc angles.txt");
    write_file("tilt.com", "$tilt -StandardInput\nInputProjections b.mrc\n"
                           "TILTFILE angles.txt\n");
    finds("b.mrc", NULL, "tilt.com");
}

static void test_tilt_com_of_another_series(void **unused)
{
    (void)unused;
    make("TS_ali.mrc TS.tlt other.st");
    write_file("tilt.com", "$tilt -StandardInput\nInputProjections other.st\n");
    finds("TS_ali.mrc", "TS.tlt", NULL);
    write_file("tilt.com", "this is no command file\n"); /* said in a warning */
    finds("TS_ali.mrc", "TS.tlt", NULL);
}

static void test_other_folder(void **unused)
{
    (void)unused;
    tr_discovery found;
    make("a.ali a.tlt");
    assert_int_equal(chdir("/"), 0);
    tr_status status = tr_discover(folder, &found);
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(status, TR_OK);
    char expected[4300];
    snprintf(expected, sizeof expected, "%s/a.ali", folder);
    assert_string_equal(found.series, expected);
    snprintf(expected, sizeof expected, "%s/a.tlt", folder);
    beside(found.series, expected, NULL);
    tr_discovery_free(&found);
}

static void test_which_angles(void **unused)
{
    (void)unused;
    make("TS.v2_ali.mrc");
    beside("TS.v2_ali.mrc", NULL, NULL);
    static const char *const better_and_better[] = {
        "TS.v2.st.mdoc", "TS.v2.mdoc", "TS.v2_ali.mrc.mdoc",
        "TS.v2.rawtlt",  "TS.v2.tlt",  "TS.v2_ali.tlt"};
    for (size_t k = 0; k < sizeof better_and_better / sizeof *better_and_better; k++) {
        make(better_and_better[k]);
        beside("TS.v2_ali.mrc", better_and_better[k], NULL);
    }
    make("b.tlt c.TLT");
    beside("./b.mrc.gz", "./b.tlt", NULL);
    beside("c.st", "c.TLT", NULL);
    static const char *const spelled[][2] = {
        {"d_ALI.MRC", "d.Tlt"},  {"e.st", "e.st.MDOC"},      {"f.mrc", "f.mrc.Mdoc"},
        {"g.mrc", "g_TLT.txt"},  {"h_ali.mrc", "h_tlt.txt"}, {"i.mrc", "i_TLT.TXT"},
        {"j.MRC", "j.MRC.MDOC"},
    };
    for (size_t k = 0; k < sizeof spelled / sizeof *spelled; k++) {
        make(spelled[k][1]);
        beside(spelled[k][0], spelled[k][1], NULL);
    }
}

/* A raw series is aligned by the first alignment of the list, whose own angles come
 * before those of other files; an aligned one by none. */
static void test_which_alignment(void **unused)
{
    (void)unused;
    static const char aln[] = "# AreTomo Alignment / Priims bprmMn\n";
    static const char star[] = "data_TS\nloop_\n_rlnTomoYTilt #1\n0\n";
    make("TS.mrc TS_ali.mrc TS.mdoc");
    write_file("TS.star", star);
    beside("TS.mrc", "TS.star", "TS.star");
    write_file("TS.xf", "1 0 0 1 0 0\n");
    beside("TS.mrc", "TS.mdoc", "TS.xf"); /* has none of its own */
    write_file("TS.aln", aln);
    make("TS.rawtlt TS.tlt");
    beside("TS.mrc", "TS.aln", "TS.aln");
    static const char *const aligned[] = {
        "TS_ali.mrc",      "TS.ali",    "TS_aln.mrc",         "TS_Aligned.st",
        "TS_ali_bin4.mrc", "TS.preali", "TS_tiltaligned.mrc", "TS_ali.mrc.gz"};
    for (size_t k = 0; k < sizeof aligned / sizeof *aligned; k++) {
        assert_true(tr_is_aligned_name(aligned[k]));
        beside(aligned[k], "TS.tlt", NULL);
    }
    static const char *const raw[] = {"TS.mrc",      "alignment.mrc",  "ali.mrc",
                                      "TS_alice.st", "TS_ali_raw.mrc", "Bali.mrc",
                                      "x_ali/TS.mrc"};
    for (size_t k = 0; k < sizeof raw / sizeof *raw; k++)
        assert_false(tr_is_aligned_name(raw[k]));
    write_file("T2.star", "data_T2\nloop_\n_rlnTomoTiltSeriesStarFile #1\nx.star\n");
    make("T2.mrc T2.rawtlt"); /* one that leads to another file was named by nobody */
    beside("T2.mrc", "T2.rawtlt", NULL);
}

/* What was made from an aligned series comes after it. */
static void test_derived(void **unused)
{
    (void)unused;
    make("TS_ali.mrc TS_ali_bin4.mrc TS_ali_even.mrc TS.preali TS_preali.mrc TS.tlt");
    finds("TS_ali.mrc", "TS.tlt", NULL);
    remove("TS_ali.mrc");
    remove("TS_ali_even.mrc");
    remove("TS_preali.mrc");
    finds("TS_ali_bin4.mrc", "TS.tlt", NULL);
}

static void test_default_output(void **unused)
{
    (void)unused;
    static const char *const pairs[][2] = {
        {"TS_ali.mrc", "TS_rec.mrc"},
        {"needle.ali", "needle_rec.mrc"},
        {"../a.b/x.y.st", "x.y_rec.mrc"},
        {"/data/TS_ali.mrc.gz", "TS_rec.mrc"},
        {"plain", "plain_rec.mrc"},
        {"_ali.mrc", "_ali_rec.mrc"},
        {"TS_aligned.mrc", "TS_rec.mrc"},
        {"TS_ali_bin4.mrc", "TS_ali_bin4_rec.mrc"},
        {"a.b/no-extension", "no-extension_rec.mrc"},
    };
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
        char *output = tr_default_output(pairs[k][0], ".mrc");
        assert_text(output, pairs[k][1]);
        free(output);
    }
}

static void test_real_folders(void **unused)
{
    (void)unused;
    static const char *const known[][3] = {
        {"needle", "needle.ali", "needle.tlt"},
        {"pulley", "pulley.mrc", "pulley.tlt"},
        {"imod_parity", "phantom.mrc", "phantom.tlt"},
    };
    const char *shared = getenv("TR_SHARED_DATA");
    char path[8192];
    snprintf(path, sizeof path, "%s", shared ? shared : "../shared/data");
    if (access(path, R_OK) != 0) {
        print_message("no real data at %s\n", path);
        skip();
    }
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        tr_discovery found;
        snprintf(path, sizeof path, "%s/%s", shared ? shared : "../shared/data",
                 known[k][0]);
        if (tr_discover(path, &found) != TR_OK)
            fail_msg("%s", tr_error());
        assert_string_equal(strrchr(found.series, '/') + 1, known[k][1]);
        tr_sidecars files;
        assert_int_equal(tr_sidecars_find(found.series, true, &files), TR_OK);
        assert_string_equal(strrchr(files.angles->path, '/') + 1, known[k][2]);
        tr_sidecars_free(&files);
        tr_discovery_free(&found);
    }
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, enter_folder, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_aligned),
        IN_FOLDER(test_ali_extension),
        IN_FOLDER(test_aligned_without_angles),
        IN_FOLDER(test_raw),
        IN_FOLDER(test_mdoc),
        IN_FOLDER(test_folders_are_no_series),
        IN_FOLDER(test_several),
        IN_FOLDER(test_none),
        IN_FOLDER(test_tilt_com),
        IN_FOLDER(test_tilt_com_gives_angles_to_raw),
        IN_FOLDER(test_tilt_com_of_another_series),
        IN_FOLDER(test_other_folder),
        IN_FOLDER(test_which_angles),
        IN_FOLDER(test_which_alignment),
        IN_FOLDER(test_derived),
        IN_FOLDER(test_default_output),
        cmocka_unit_test(test_real_folders),
    };
    if (!getcwd(start, sizeof start))
        return 1;
    tr_log_setup(TR_LOG_NORMAL, true, "test_discover");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
