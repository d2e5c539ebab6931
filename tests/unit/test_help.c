/* What --help prints of each topic. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/help/help.h"
#include "tiltrec/slices.h"

static const tr_program program = {.name = "slicer",
                                   .summary = "reconstruct something",
                                   .method = &tr_slices,
                                   .whole_volume = "volumer"};
static tr_command command;

static int set_up(void **unused)
{
    static char *const argv[] = {(char *)"slicer", (char *)"--help", NULL};
    (void)unused;
    return tr_command_parse(&command, &program, 2, argv) != TR_OK ||
           !command.options.help;
}

static int tear_down(void **unused)
{
    (void)unused;
    tr_command_free(&command);
    return 0;
}

/* What is printed of the topic at 60 columns, each run of blanks and newlines a blank. */
static const char *explained(const char *topic)
{
    static char line[65536];
    char *text = NULL;
    size_t size = 0, used = 0, width = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    if (tr_help_print(out, &command, topic, 60) != TR_OK)
        fail_msg("--help %s: %s", topic, tr_error());
    assert_int_equal(fclose(out), 0);
    assert_true(size > 0 && size < sizeof line);
    for (const char *c = text; *c; c++) {
        width = *c == '\n' ? 0 : width + 1;
        assert_true(width <= 80);
        if ((*c != ' ' && *c != '\n') || !used || line[used - 1] != ' ')
            line[used++] = *c == '\n' ? ' ' : *c;
    }
    line[used] = '\0';
    free(text);
    return line;
}

static void assert_has(const char *topic, const char *part)
{
    const char *text = explained(topic);
    if (!strstr(text, part))
        fail_msg("'%s' is not in what --help %s prints:\n%s", part, topic, text);
}

static void check_row(const tr_option *row, const char *owner)
{
    char topic[80], part[128];
    if (!row->help)
        return;
    snprintf(topic, sizeof topic, "--%s", row->name);
    assert_has(topic, row->help);
    assert_has(row->name, row->help);
    assert_has(topic, owner);
    if (row->letter) {
        snprintf(part, sizeof part, "-%c, --%s", row->letter, row->name);
        assert_has((char[]){'-', row->letter, '\0'}, part);
        assert_has((char[]){row->letter, '\0'}, part);
    }
    if (row->fallback) {
        snprintf(part, sizeof part, "default %s ", row->fallback);
        assert_has(topic, part);
    }
    if (row->type == TR_OPT_INT && isfinite(row->max)) {
        snprintf(part, sizeof part, "a whole number from %.10g to %.10g", row->min,
                 row->max);
        assert_has(topic, part);
    }
    if (row->metavar && strcmp(row->metavar, "DEGREES") == 0 && row->max > 0)
        assert_has(topic, " degrees ");
    if (row->choices && row->type != TR_OPT_WISH) {
        snprintf(part, sizeof part, "one of %.*s", (int)strcspn(row->choices, " "),
                 row->choices);
        assert_has(topic, part);
    }
}

static void test_each_option(void **unused)
{
    const tr_algorithm *a;
    (void)unused;
    for (size_t r = 0; r < tr_n_common_options; r++)
        check_row(&tr_common_options[r], "for all algorithms");
    for (size_t r = 0; r < tr_n_device_options; r++)
        check_row(&tr_device_option_rows[r], "for programs for GPUs");
    for (size_t k = 0; (a = tr_algorithm_at(k)); k++)
        for (size_t r = 0; r < a->n_options; r++)
            check_row(&a->options[r], a->name);
}

static void test_options_of_other_programs(void **unused)
{
    (void)unused;
    assert_has("lambda", "ADMM (volumer)");
    assert_has("relaxation", "default 1 for SIRT ");
    assert_has("relaxation", "default 0.2 for SART ");
    assert_has("positive", "for SIRT, SART ");
}

static void test_each_algorithm(void **unused)
{
    const tr_algorithm *a;
    (void)unused;
    for (size_t k = 0; (a = tr_algorithm_at(k)); k++) {
        bool other = a->needs & TR_NEEDS_WHOLE_VOLUME;
        assert_has(a->name, a->help);
        for (size_t r = 0; r < a->n_options; r++)
            assert_has(a->name, a->options[r].help);
        assert_true(other == !!strstr(explained(a->name), "use volumer"));
        assert_true(other != !!strstr(explained("algorithm"), a->help));
    }
    assert_has("sirt", "SIRT: ");
    assert_has("BPT", "no options of its own");
}

static void test_groups(void **unused)
{
    (void)unused;
    assert_has("geometry", "Geometry: -T, --thickness");
    assert_null(strstr(explained("geometry"), "--mode"));
    assert_has("The run", "--resume");
    assert_has("RUN", "--resume");
    assert_null(strstr(explained("run"), "--thickness"));
    assert_has("--geometry", "upstream TiltRec");
    assert_has("method", "-a NAME -i ITERATIONS");
}

static void refuse(const char *topic, const char *part)
{
    FILE *out = tmpfile();
    assert_non_null(out);
    assert_int_equal(tr_help_print(out, &command, topic, 80), TR_ERR_USAGE);
    assert_int_equal(ftell(out), 0);
    fclose(out);
    if (!strstr(tr_error(), part))
        fail_msg("'%s' is not in '%s'", part, tr_error());
}

static void test_unknown_topics(void **unused)
{
    (void)unused;
    refuse("--thicknes", "did you mean --help thickness?");
    refuse("SIRD", "did you mean --help SIRT?");
    refuse("geometri", "did you mean --help Geometry?");
    refuse("qqqqqqqqqq", "slicer --help all");
    refuse("", "''");
    refuse("markdown", "there is no option");
    refuse("--SIRT", "did you mean --help SIRT?");
}

static void test_asked(void **unused)
{
    static const struct {
        const char *words, *topic; /* NULL: not asked; "": without a topic */
    } cases[] = {
        {"p", NULL},
        {"p -a SIRT x.mrc", NULL},
        {"p -- --help", NULL},
        {"p --helpless", NULL},
        {"p -h", ""},
        {"p -a SIRT --help", ""},
        {"p --help all", "all"},
        {"p -h -T", "-T"},
        {"p --help=SIRT x", "SIRT"},
        {"p --help -- x", "--"},
    };
    (void)unused;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char copy[64], *argv[8], *at = copy;
        const char *topic, *expected = cases[k].topic;
        int argc = 0;
        snprintf(copy, sizeof copy, "%s", cases[k].words);
        while (at)
            argv[argc++] = strsep(&at, " ");
        assert_int_equal(tr_help_asked(argc, argv, &topic), expected != NULL);
        if (expected && *expected)
            assert_string_equal(topic, expected);
        else
            assert_null(topic);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_option),
        cmocka_unit_test(test_options_of_other_programs),
        cmocka_unit_test(test_each_algorithm),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_unknown_topics),
        cmocka_unit_test(test_asked),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
