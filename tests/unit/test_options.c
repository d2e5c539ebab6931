/* The common option table, and the rewriting of upstream's options. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/options/options.h"

static char copy[1024];
static char *words_argv[64];

/* The words, separated by single blanks, as words_argv; returns their count. */
static int split(const char *words)
{
    int argc = 0;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *at = copy; at;)
        words_argv[argc++] = strsep(&at, " ");
    words_argv[argc] = NULL;
    return argc;
}

static void rewrites_to(const char *words, const char *expected)
{
    int argc;
    char **argv, joined[1024] = "";
    if (tr_arguments_rewrite(split(words), words_argv, &argc, &argv) != TR_OK)
        fail_msg("'%s': %s", words, tr_error());
    for (int i = 0; i < argc; i++) {
        strcat(joined, i ? " " : "");
        strcat(joined, argv[i]);
    }
    assert_null(argv[argc]);
    tr_arguments_free(argv);
    assert_string_equal(joined, expected);
}

static void refuse_rewrite(const char *words, const char *part)
{
    int argc;
    char **argv;
    if (tr_arguments_rewrite(split(words), words_argv, &argc, &argv) != TR_ERR_USAGE)
        fail_msg("'%s' was not refused", words);
    assert_null(argv);
    if (!strstr(tr_error(), part))
        fail_msg("'%s': '%s' lacks '%s'", words, tr_error(), part);
}

static void test_rewrite(void **unused)
{
    (void)unused;
    rewrites_to("p --method SIRT,30,0.2", "p -a SIRT -i 30 -r 0.2");
    rewrites_to("p --method=SIRT,30,0.2 x", "p -a SIRT -i 30 -r 0.2 x");
    rewrites_to("p --method SART,5", "p -a SART -i 5");
    rewrites_to("p --method FBP", "p -a FBP");
    rewrites_to("p --method ADMM,10,5,0.5,0.01",
                "p -a ADMM -i 10 --cg 5 -r 0.5 --lambda 0.01");
    rewrites_to("p --method=admm,10", "p -a admm -i 10");
    rewrites_to("p --geometry -1.5,0,-3,300",
                "p --tilt-offset -1.5 --pitch 0 --z-shift -3 --thickness 300");
    rewrites_to("p --geometry=0,0,0,300 -q",
                "p --tilt-offset 0 --pitch 0 --z-shift 0 --thickness 300 -q");
    rewrites_to("p --tiltfile a.tlt --f2b", "p --tilts a.tlt --mode byte");
    rewrites_to("p --tiltfile=a.tlt", "p --tilts a.tlt");
    rewrites_to("p --input a --output b --initial c",
                "p --input a --output b --initial c");
    rewrites_to("p -- --method SIRT,30 -i x.mrc", "p -- --method SIRT,30 -i x.mrc");
    rewrites_to("p -i 30 -i30 -i --help --iterations x.mrc -i",
                "p -i 30 -i30 -i --help --iterations x.mrc -i");
    rewrites_to("p --methods SIRT", "p --methods SIRT");
}

static void test_rewrite_refuses(void **unused)
{
    (void)unused;
    refuse_rewrite("p -i x.mrc", "--input x.mrc");
    refuse_rewrite("p -ix.mrc", "--input x.mrc");
    refuse_rewrite("p -a SIRT -i data", "-i is the number of iterations here");
    refuse_rewrite("p --method", "--method needs a value");
    refuse_rewrite("p --method SIRT,30,0.2,7", "NAME,ITERATIONS,RELAXATION");
    refuse_rewrite("p --method SIRT,", "NAME,ITERATIONS,RELAXATION");
    refuse_rewrite("p --method=", "NAME,ITERATIONS,RELAXATION");
    refuse_rewrite("p --method ADMM,1,2,3,4,5", "ADMM,ITERATIONS,CG-ITERATIONS");
    refuse_rewrite("p --geometry 0,0,0", "OFFSET,PITCH,ZSHIFT,THICKNESS");
    refuse_rewrite("p --geometry 0,0,0,300,1", "OFFSET,PITCH,ZSHIFT,THICKNESS");
    refuse_rewrite("p --geometry 0,x,0,300", "OFFSET,PITCH,ZSHIFT,THICKNESS");
    refuse_rewrite("p --geometry 0,0,0,nan", "OFFSET,PITCH,ZSHIFT,THICKNESS");
    refuse_rewrite("p --geometry", "--geometry needs a value");
    refuse_rewrite("p --tiltfile", "--tiltfile needs a value");
}

static void chooses(const char *words, const char *expected)
{
    const char *algorithm = tr_arguments_algorithm(split(words), words_argv);
    if (!expected)
        assert_null(algorithm);
    else if (!algorithm || strcmp(algorithm, expected) != 0)
        fail_msg("'%s' chooses %s", words, algorithm ? algorithm : "nothing");
}

static void test_algorithm(void **unused)
{
    (void)unused;
    chooses("p", NULL);
    chooses("p -a SIRT", "SIRT");
    chooses("p -aSIRT x", "SIRT");
    chooses("p --algorithm SIRT", "SIRT");
    chooses("p --algorithm=SIRT -a WBP", "WBP");
    chooses("p -a", NULL);
    chooses("p -a --help", NULL);
    chooses("p -axis-shift 3", NULL);
    chooses("p -q -- -a SIRT", NULL);
}

static tr_options options;

static tr_status parse(const char *words)
{
    tr_option_group group = {"Common", tr_common_options, tr_n_common_options, &options};
    tr_command_line line;
    tr_status status =
        tr_options_parse(&group, 1, "SERIES", split(words), words_argv, &line);
    tr_command_line_free(&line);
    return status;
}

static void test_defaults(void **unused)
{
    (void)unused;
    memset(&options, 0, sizeof options);
    assert_int_equal(parse("p"), TR_OK);
    assert_string_equal(options.algorithm, "WBP");
    assert_int_equal(options.thickness, 0);
    assert_int_equal(options.width, 0);
    assert_int_equal(options.views.bin, 1);
    assert_true(options.scale[0] == 0 && options.scale[1] == 1);
    assert_int_equal(options.slices[0], -1);
    assert_int_equal(options.mode, TR_MODE_FLOAT);
    assert_int_equal(options.order, TR_ORDER_XZY);
    assert_int_equal(options.threads, 0);
    assert_int_equal(options.memory, 0);
}

/* Every row fills the field of its name. */
static void test_every_option(void **unused)
{
    (void)unused;
    assert_int_equal(parse("p -a SIRT --input i -t t -o o --xtilts xt --transforms xf "
                           "--initial n --imod-com com -T 300 -w 200 --tilt-offset -1 "
                           "--axis-shift 2 --pitch -6 --x-shift 3 --z-shift -4 "
                           "--exclude 1-2 --include 3 --slices 0:9 --bin 2"),
                     TR_OK);
    assert_string_equal(options.algorithm, "SIRT");
    assert_string_equal(options.input, "i");
    assert_string_equal(options.tilts, "t");
    assert_string_equal(options.output, "o");
    assert_string_equal(options.xtilts, "xt");
    assert_string_equal(options.transforms, "xf");
    assert_string_equal(options.initial, "n");
    assert_string_equal(options.imod_com, "com");
    assert_int_equal(options.thickness, 300);
    assert_int_equal(options.width, 200);
    assert_true(options.tilt_offset == -1 && options.axis_shift == 2);
    assert_true(options.pitch == -6 && options.x_shift == 3 && options.z_shift == -4);
    assert_string_equal(options.exclude, "1-2");
    assert_string_equal(options.include, "3");
    assert_int_equal(options.slices[0], 0);
    assert_int_equal(options.slices[1], 9);
    assert_int_equal(options.views.bin, 2);

    assert_int_equal(
        parse("p --log -32768 --invert --scale -1,2 --mode uint16 --order xyz "
              "--deflate 5 --threads 8 --memory 2G --dry-run -q -v --version "
              "-h --man --markdown"),
        TR_OK);
    assert_true(options.views.log_base == -32768 && options.views.invert);
    assert_true(options.scale[0] == -1 && options.scale[1] == 2);
    assert_int_equal(options.mode, TR_MODE_UINT16);
    assert_int_equal(options.order, TR_ORDER_XYZ);
    assert_int_equal(options.deflate, 5);
    assert_int_equal(options.threads, 8);
    assert_true(options.memory == 2147483648);
    assert_true(options.dry_run && options.quiet && options.verbose && options.version &&
                options.help && options.man && options.markdown);

    static const char *const modes[] = {"float", "half", "int16", "uint16", "byte"};
    for (int m = 0; m < 5; m++) {
        char words[32];
        snprintf(words, sizeof words, "p --mode %s", modes[m]);
        assert_int_equal(parse(words), TR_OK);
        assert_int_equal(options.mode, m);
    }
}

static void test_ranges(void **unused)
{
    (void)unused;
    static const struct {
        const char *words, *part;
    } wrong[] = {
        {"p --thickness 0",
         "--thickness 0: must be a whole number from 1 to 65536 pixels"},
        {"p -T 65537", "from 1 to 65536 pixels"},
        {"p -w 0", "from 1 to 65536 pixels"},
        {"p --pitch 60.1", "from -60 to 60 degrees"},
        {"p --pitch -90", "from -60 to 60 degrees"},
        {"p --tilt-offset 181", "from -180 to 180 degrees"},
        {"p --axis-shift 70000", "from -65536 to 65536 pixels"},
        {"p --bin 0", "from 1 to 32"},
        {"p --bin 33", "from 1 to 32"},
        {"p --threads 0", "from 1 to 4096"},
        {"p --deflate 10", "from 0 to 9"},
        {"p --memory 4", "from 1M"},
        {"p --slices -2:3", "from 0"},
        {"p --mode bytes", "did you mean byte?"},
    };
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        if (parse(wrong[k].words) != TR_ERR_USAGE)
            fail_msg("'%s' was not refused", wrong[k].words);
        if (!strstr(tr_error(), wrong[k].part))
            fail_msg("'%s': '%s' lacks '%s'", wrong[k].words, tr_error(), wrong[k].part);
    }
}

/* No name or letter stands twice, and what is shown has no final period. */
static void test_table(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < tr_n_common_options; i++) {
        const tr_option *row = &tr_common_options[i];
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(row->name, tr_common_options[j].name);
            assert_true(!row->letter || row->letter != tr_common_options[j].letter);
        }
        if (row->help)
            assert_true(row->help[strlen(row->help) - 1] != '.');
        /* --help alone may have a topic, but need not; hidden rows need no metavar. */
        if (row->help && strcmp(row->name, "help") != 0)
            assert_true((row->type == TR_OPT_FLAG) == (row->metavar == NULL));
        if (row->brief)
            assert_in_range(strlen(row->brief), 1, 52);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rewrite),      cmocka_unit_test(test_rewrite_refuses),
        cmocka_unit_test(test_algorithm),    cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_option), cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
