/* The option parser and its help, manual page and Markdown, on a table of its own. */
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/options/opt.h"

typedef struct common {
    bool flag;
    const char *file, *list;
    long count, range[2];
    double angle, pair[2];
    size_t memory;
    int choice;
    tr_words words;
} common;

typedef struct own {
    long iterations;
    double radial[2], tolerance;
} own;

static const tr_option common_rows[] = {
    TR_STRING_ROW(common, file, "file", "FILE", .section = "Files", .letter = 'f',
                  .help = "A file's name"),
    TR_INT_ROW(common, count, "count", "PIXELS", NULL, 1, 65536, .section = "Numbers",
               .letter = 'T', .help = "A count"),
    TR_REAL_ROW(common, angle, "angle", "DEGREES", "1.5", -60, 60,
                .help = "An angle | of \\ some *kind*"),
    TR_PAIR_ROW(common, pair, "pair", "ADD,MUL", "0,1", 0, 0, .help = "A pair"),
    TR_RANGE_ROW(common, range, "range", "A:B", 0, 0, .help = "Range"),
    TR_BYTES_ROW(common, memory, "memory", "SIZE", 0, 0, .help = "Size"),
    TR_CHOICE_ROW(common, choice, "choice", "TYPE", "half", "float half int16",
                  .help = "A choice"),
    TR_WORDS_ROW(common, words, "words", "HOW", "alone with ONE TWO last ONE",
                 .help = "Words"),
    TR_LIST_ROW(common, list, "list", "LIST", .help = "A list"),
    TR_FLAG_ROW(common, flag, "flag", .letter = 'q', .help = "A flag"),
    TR_FLAG_ROW(common, flag, "hidden"),
};

static const tr_option sirt_rows[] = {
    TR_INT_ROW(own, iterations, "iterations", "N", "10", 1, 1000, .letter = 'i',
               .help = "Iterations"),
    TR_REAL_ROW(own, tolerance, "tolerance", "T", NULL, 0, INFINITY,
                .help = "Stop early"),
};
static const tr_option wbp_rows[] = {
    TR_PAIR_ROW(own, radial, "radial", "FC,SIGMA", NULL, 0, 0.5, .help = "Roll-off"),
};

static common c;
static own o;
static tr_option_group groups[] = {
    {"Common", common_rows, sizeof common_rows / sizeof *common_rows, &c},
    {"WBP", wbp_rows, 1, NULL},
    {"SART", sirt_rows, 2, NULL},
    {"SIRT", sirt_rows, 2, &o},
    {"FBP", wbp_rows, 1, NULL},
};
static tr_command_line line;

/* Parse a command line given as words separated by single blanks. */
static tr_status parse(const char *words)
{
    static char copy[1024];
    static char *argv[64];
    int argc = 0;
    snprintf(copy, sizeof copy, "program %s", words);
    for (char *at = copy; at;)
        argv[argc++] = strsep(&at, " ");
    tr_command_line_free(&line);
    return tr_options_parse(groups, 5, "SERIES", argc, argv, &line);
}

static void accept(const char *words)
{
    if (parse(words) != TR_OK)
        fail_msg("'%s' was refused: %s", words, tr_error());
}

/* The command line is refused with TR_ERR_USAGE in a sentence that has both parts. */
static void refuse(const char *words, const char *part, const char *other_part)
{
    if (parse(words) != TR_ERR_USAGE)
        fail_msg("'%s' was not refused as wrong usage", words);
    if (!strstr(tr_error(), part) || !strstr(tr_error(), other_part))
        fail_msg("'%s': '%s' lacks '%s' or '%s'", words, tr_error(), part, other_part);
}

static void test_defaults(void **unused)
{
    (void)unused;
    memset(&c, 0x55, sizeof c);
    memset(&o, 0x55, sizeof o);
    accept("x.mrc");
    assert_string_equal(line.positional, "x.mrc");
    assert_false(c.flag);
    assert_null(c.file);
    assert_null(c.list);
    assert_int_equal(c.count, 0);
    assert_int_equal(c.range[0], -1);
    assert_int_equal(c.range[1], -1);
    assert_true(c.angle == 1.5 && c.pair[0] == 0 && c.pair[1] == 1);
    assert_int_equal(c.memory, 0);
    assert_int_equal(c.choice, 1);
    assert_int_equal(o.iterations, 10);
    assert_false(tr_option_given(&line, "iterations"));
}

static void test_spellings(void **unused)
{
    (void)unused;
    static const char *const same[] = {"-i30", "-i 30", "--iterations=30",
                                       "--iterations 30", "-i30 --iterations 30"};
    for (size_t k = 0; k < sizeof same / sizeof *same; k++) {
        accept(same[k]);
        assert_int_equal(o.iterations, 30);
        assert_true(tr_option_given(&line, "iterations"));
        assert_false(tr_option_given(&line, "tolerance"));
        assert_false(tr_option_given(&line, "no-such-option"));
        assert_null(line.positional);
    }
    accept("-q series.st --flag");
    assert_true(c.flag);
    assert_string_equal(line.positional, "series.st");
    accept("-q -- -q");
    assert_string_equal(line.positional, "-q");
    accept("--file=--odd -- --choice");
    assert_string_equal(c.file, "--odd");
    assert_string_equal(line.positional, "--choice");
    accept("--file=a=b");
    assert_string_equal(c.file, "a=b");
}

static void test_values(void **unused)
{
    (void)unused;
    accept("--angle -6 --pair -1,2.5e-1 --range 3:7 --choice INT16 --list 1-4,7,40-41");
    assert_true(c.angle == -6 && c.pair[0] == -1 && c.pair[1] == 0.25);
    assert_int_equal(c.range[0], 3);
    assert_int_equal(c.range[1], 7);
    assert_int_equal(c.choice, 2);
    assert_string_equal(c.list, "1-4,7,40-41");
    accept("--angle -.5 --range 0:0 -T 65536 --tolerance 1e300");
    assert_true(c.angle == -0.5 && o.tolerance == 1e300);
    assert_int_equal(c.count, 65536);

    static const struct {
        const char *text;
        size_t bytes;
    } sizes[] = {{"--memory 4096", 4096},      {"--memory 2K", 2048},
                 {"--memory 512M", 536870912}, {"--memory 1.5g", 1610612736},
                 {"--memory 3GB", 3221225472}, {"--memory 2TiB", 2199023255552}};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        accept(sizes[k].text);
        assert_true(c.memory == sizes[k].bytes);
    }
}

static void test_words(void **unused)
{
    (void)unused;
    accept("x.mrc");
    assert_true(!c.words.choice && !c.words.argument[0] && !c.words.argument[1]);
    accept("--words alone x.mrc");
    assert_true(c.words.choice == 1 && !c.words.argument[0]);
    assert_string_equal(line.positional, "x.mrc");
    for (int k = 0; k < 3; k++) {
        accept(k == 0   ? "--words with a -6 x.mrc"
               : k == 1 ? "--words=WITH a -6 x.mrc"
                        : "--words with a -6 --words with a -6 x.mrc");
        assert_int_equal(c.words.choice, 2);
        assert_string_equal(c.words.argument[0], "a");
        assert_string_equal(c.words.argument[1], "-6");
        assert_string_equal(line.positional, "x.mrc");
    }
    char *text = tr_options_text(&groups[0]);
    assert_non_null(strstr(text, "--words = 2 a -6\n"));
    free(text);
    accept("--words last with");
    assert_int_equal(c.words.choice, 3);
    assert_string_equal(c.words.argument[0], "with");
    assert_null(c.words.argument[1]);
    refuse("--words", "--words needs a value", "HOW");
    refuse("--words withh a b", "one of alone, with ONE TWO, last ONE",
           "did you mean with?");
    refuse("--words ONE", "one of alone, with ONE TWO, last ONE", "--words ONE");
    refuse("--words with", "--words with must be followed by ONE TWO", "");
    refuse("--words with a", "--words with must be followed by ONE TWO", "");
    refuse("--words with a --flag", "--words with must be followed by ONE TWO", "");
    refuse("--words with a ", "--words with must be followed by ONE TWO", "");
    refuse("--words with a b --words alone", "given twice, as with and as alone", "");
    refuse("--words with a b --words with a c", "given twice, with b and with c", "");
}

static void test_wrong_values(void **unused)
{
    (void)unused;
    refuse("--count 0", "--count 0: must be", "from 1 to 65536 pixels");
    refuse("-T 65537", "--count 65537", "from 1 to 65536 pixels");
    refuse("-T 99999999999999999999", "--count", "whole number");
    refuse("--count 3.5", "--count 3.5", "whole number");
    refuse("--count 12x", "--count 12x", "whole number");
    refuse("--count 0x10", "0x10", "whole number");
    refuse("--angle 60.01", "--angle 60.01", "from -60 to 60 degrees");
    refuse("--angle=nan", "--angle nan", "a number");
    refuse("--angle=-inf", "--angle -inf", "a number");
    refuse("--angle 1e999", "--angle 1e999", "a number");
    refuse("--angle 0x1p3", "--angle 0x1p3", "a number");
    refuse("--angle 1,5", "--angle 1,5", "a number");
    refuse("--tolerance -0.1", "--tolerance -0.1", "at least 0");
    refuse("--angle=", "--angle ''", "a number");
    refuse("--pair 1", "--pair 1:", "two numbers ADD,MUL");
    refuse("--pair 1,2,3", "--pair 1,2,3", "two numbers ADD,MUL");
    refuse("--pair ,2", "--pair ,2", "two numbers ADD,MUL");
    refuse("--range 7:3", "--range 7:3", "A not above B");
    refuse("--range 7", "--range 7", "two whole numbers A:B");
    refuse("--memory 4X", "--memory 4X", "512M");
    refuse("--memory 0", "--memory 0", "512M");
    refuse("--memory -1", "--memory -1", "512M");
    refuse("--memory 99999999999T", "--memory", "512M");
    refuse("--memory 4GX", "--memory 4GX", "512M");
    refuse("--list 1-", "--list 1-", "1-4,7,40-41");
    refuse("--list 1,,2", "--list 1,,2", "1-4,7,40-41");
    refuse("--list 1,2,", "--list 1,2,", "1-4,7,40-41");
    refuse("--list 0-2", "--list 0-2", "positive");
    refuse("--list 4-1", "--list 4-1", "1-4,7,40-41");
    refuse("--list -3", "--list -3", "positive");
    refuse("--choice flaot", "one of float, half, int16", "did you mean float?");
    refuse("--choice hal", "--choice hal:", "did you mean half?");
    refuse("--file=", "--file ''", "not empty");
    assert_null(strstr(tr_error(), "did you mean"));
    refuse("--choice zzzzzz", "--choice zzzzzz", "one of float, half, int16");
    assert_null(strstr(tr_error(), "did you mean"));
}

static void test_wrong_options(void **unused)
{
    (void)unused;
    refuse("--iteratons 3", "--iteratons", "did you mean --iterations?");
    refuse("--Angel=3", "unknown option --Angel;", "did you mean --angle?");
    refuse("--xyzzyxyzzy", "unknown option --xyzzyxyzzy", "--help");
    refuse("-Z", "unknown option -Z", "--help");
    refuse("-6", "unknown option -6", "--help");
    refuse("-count 3", "unknown option -count", "write --count");
    refuse("--hiden", "unknown option --hiden", ""); /* never points to a hidden one */
    assert_null(strstr(tr_error(), "--hidden"));
    refuse("--file", "--file needs a value", "--file FILE");
    refuse("--file --count 3", "--file needs a value", "--count");
    refuse("--angle -i 3", "--angle needs a value", "--angle=-i");
    refuse("--flag=1", "--flag 1", "without a value");
    refuse("-q1", "--flag 1", "without a value");
    refuse("-i 3 --iterations=4", "--iterations is given twice", "as 3 and as 4");
    refuse("a.mrc b.mrc", "only one SERIES", "a.mrc and b.mrc");
    refuse("--radial 0.3,0.1", "--radial is an option of WBP, FBP;",
           "SIRT does not have it");
    refuse("--radial", "--radial is an option of WBP, FBP;", "SIRT does not have it");
    char *empty[] = {"program", "", NULL};
    assert_int_equal(tr_options_parse(groups, 5, "SERIES", 2, empty, &line),
                     TR_ERR_USAGE);
    char *one[] = {"program", "x", NULL};
    assert_int_equal(tr_options_parse(groups, 5, NULL, 2, one, &line), TR_ERR_USAGE);
    assert_non_null(strstr(tr_error(), "'x'"));
}

static void test_locale(void **unused)
{
    (void)unused;
    /* Any locale that writes 1,5; not every machine has one. */
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8",
                                        "de_DE", "fr_FR"};
    bool found = false;
    for (size_t k = 0; !found && k < sizeof names / sizeof *names; k++)
        found = setlocale(LC_NUMERIC, names[k]) != NULL;
    if (!found)
        skip();
    accept("--angle 2.5");
    setlocale(LC_NUMERIC, "C");
    assert_true(c.angle == 2.5);
}

static void test_list_expand(void **unused)
{
    (void)unused;
    bool marks[8] = {false};
    assert_int_equal(tr_list_expand("--exclude", "1-3, 8", 8, marks), TR_OK);
    static const bool expected[8] = {true, true, true, false, false, false, false, true};
    assert_memory_equal(marks, expected, sizeof marks);
    assert_int_equal(tr_list_expand("--exclude", "2,7-9", 8, marks), TR_ERR_USAGE);
    assert_non_null(strstr(tr_error(), "--exclude 2,7-9: 9 must be from 1 to 8"));
    assert_int_equal(tr_list_expand("--exclude", "0", 8, marks), TR_ERR_USAGE);
    assert_non_null(strstr(tr_error(), "0 must be from 1 to 8"));
    assert_int_equal(tr_list_expand("--exclude", "1 2", 8, marks), TR_ERR_USAGE);
    assert_int_equal(tr_list_expand("--exclude", "", 8, marks), TR_ERR_USAGE);
    assert_int_equal(tr_list_expand("--exclude", "1-99999999999999999999", 8, marks),
                     TR_ERR_USAGE);
}

static void test_nearest(void **unused)
{
    (void)unused;
    static const char *const words[] = {"SIRT", "SART", "WBP", "FBP"};
    assert_string_equal(tr_nearest("sirt", words, 4), "SIRT");
    assert_string_equal(tr_nearest("SIRTT", words, 4), "SIRT");
    assert_string_equal(tr_nearest("SRAT", words, 4), "SART"); /* a swap is one edit */
    assert_string_equal(tr_nearest("SAT", words, 4), "SART");
    assert_string_equal(tr_nearest("xBP", words, 4), "WBP"); /* the first of equals */
    assert_null(tr_nearest("ADMM", words, 4));
    assert_null(tr_nearest("SIRT", words, 0));
    char too_long[200];
    memset(too_long, 'S', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = '\0';
    assert_null(tr_nearest(too_long, words, 4));
}

typedef void printer(FILE *, const tr_option_group *, size_t);

static void help_80(FILE *out, const tr_option_group *g, size_t n)
{
    tr_options_help(out, g, n, 80);
}

static void help_40(FILE *out, const tr_option_group *g, size_t n)
{
    tr_options_help(out, g, n, 40);
}

/* What the printer prints; the caller frees it. */
static char *printed(printer *print)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    print(out, groups, 5);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not in:\n%s", part, text);
}

static void test_help(void **unused)
{
    (void)unused;
    char *text = printed(help_80);
    assert_has(text, "\nFiles:\n  -f, --file FILE           A file's name\n");
    assert_has(text, "\nNumbers:\n  -T, --count PIXELS        A count (from 1 to 65536 "
                     "pixels)\n");
    assert_has(text, "      --choice TYPE         A choice (float, half, int16; default "
                     "half)\n");
    assert_has(text, "\nWBP:\n      --radial FC,SIGMA     Roll-off (from 0 to 0.5)\n");
    assert_has(text, "(at least 0)");
    assert_has(text, "\nFBP:\n");
    assert_null(strstr(text, "hidden"));
    assert_null(strstr(text, "Common"));
    free(text);

    text = printed(help_40);
    for (char *row = text; row;) {
        size_t length = strcspn(row, "\n");
        if (length > 40)
            fail_msg("longer than 40: '%.*s'", (int)length, row);
        row = row[length] ? row + length + 1 : NULL;
    }
    free(text);
}

static void test_man(void **unused)
{
    (void)unused;
    char *text = printed(tr_options_man);
    assert_has(text, ".SH OPTIONS\n.SS Files\n.TP\n\\fB\\-f\\fR, \\fB\\-\\-file\\fR "
                     "\\fIFILE\\fR\nA file\\(aqs name.\n");
    assert_has(text, "An angle | of \\e some *kind* (from \\-60 to 60 degrees; default "
                     "1.5).\n");
    assert_null(strstr(text, "hidden"));
    free(text);
}

static void test_markdown(void **unused)
{
    (void)unused;
    char *text = printed(tr_options_markdown);
    assert_has(text, "\n## Files\n\n| Option | Meaning | Allowed | Default |\n"
                     "| --- | --- | --- | --- |\n| `-f`, `--file FILE` | A file's name | "
                     " |  |\n\n## Numbers\n");
    assert_has(text,
               "| `--angle DEGREES` | An angle \\| of \\\\ some \\*kind\\* | from -60 "
               "to 60 degrees | 1.5 |\n");
    assert_null(strstr(text, "hidden"));
    free(text);
}

static int free_line(void **unused)
{
    (void)unused;
    tr_command_line_free(&line);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),      cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_values),        cmocka_unit_test(test_wrong_values),
        cmocka_unit_test(test_wrong_options), cmocka_unit_test(test_locale),
        cmocka_unit_test(test_list_expand),   cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_help),          cmocka_unit_test(test_man),
        cmocka_unit_test(test_markdown),      cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, free_line);
}
