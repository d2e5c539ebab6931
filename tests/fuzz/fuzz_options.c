/* The command line, one argument a line: upstream's options rewritten, then parsed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/options/options.h"
#include "fuzz.h"

/* One row of every type that the common options lack, as the algorithms have them. */
typedef struct own_params {
    long iterations;
    double relaxation, lambda;
    size_t bytes;
    int window;
    bool positive;
} own_params;

static const tr_option own_rows[] = {
    TR_INT_ROW(own_params, iterations, "iterations", "N", "20", 1, 100000, .letter = 'i',
               .help = "Iterations"),
    TR_REAL_ROW(own_params, relaxation, "relaxation", "R", "0.2", 0, 2, .letter = 'r',
                .help = "Relaxation"),
    TR_BYTES_ROW(own_params, bytes, "cache", NULL, 0, 0, .help = "Cache"),
    TR_CHOICE_ROW(own_params, window, "window", NULL, "hann", "ramlak hamming hann",
                  .help = "Window"),
    TR_FLAG_ROW(own_params, positive, "positive", .letter = 'p'),
};
static const tr_option foreign_rows[] = {
    TR_REAL_ROW(own_params, lambda, "lambda", NULL, NULL, 0, INFINITY),
};

enum { MOST_ARGUMENTS = 64, N_GROUPS = 4 };

static void check_options(const tr_options *o)
{
    FUZZ_REQUIRE(o->thickness >= 0 && o->thickness <= 65536);
    FUZZ_REQUIRE(fabs(o->tilt_offset) <= 180 && fabs(o->pitch) <= 60);
    FUZZ_REQUIRE(isfinite(o->scale[0]) && isfinite(o->scale[1]));
    FUZZ_REQUIRE(o->views.bin >= 1 && o->views.bin <= 32);
    FUZZ_REQUIRE(o->slices[0] <= o->slices[1]);
    FUZZ_REQUIRE(o->mode >= 0 && o->mode < 5 && o->order >= 0 && o->order < 2);
    bool marks[100] = {false};
    if (o->exclude)
        fuzz_check_status(tr_list_expand("--exclude", o->exclude, 100, marks));
}

static void parse(int argc, char **argv)
{
    tr_options options;
    tr_device_options device;
    own_params params;
    tr_option_group groups[N_GROUPS] = {
        {"Common", tr_common_options, tr_n_common_options, &options},
        {"Device", tr_device_option_rows, tr_n_device_options, &device},
        {"SIRT", own_rows, sizeof own_rows / sizeof *own_rows, &params},
        {"ADMM", foreign_rows, 1, NULL},
    };
    tr_command_line line;
    (void)tr_arguments_algorithm(argc, argv);
    tr_status status = tr_options_parse(groups, N_GROUPS, "SERIES", argc, argv, &line);
    fuzz_check_status(status);
    FUZZ_REQUIRE(status == TR_OK || status == TR_ERR_USAGE);
    if (status != TR_OK)
        return;
    check_options(&options);
    FUZZ_REQUIRE(params.iterations >= 1 && params.iterations <= 100000);
    FUZZ_REQUIRE(params.relaxation >= 0 && params.relaxation <= 2);
    FUZZ_REQUIRE(!line.positional || *line.positional);
    (void)tr_option_given(&line, "exclude");
    tr_command_line_free(&line);
}

int FUZZ_ENTRY(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *argv[MOST_ARGUMENTS + 2] = {(char *)"tiltrec"};
    FUZZ_REQUIRE(text);
    memcpy(text, data, size);
    text[size] = '\0';
    int argc = 1;
    for (char *at = text, *end; argc <= MOST_ARGUMENTS; at = end + 1) {
        end = strchrnul(at, '\n');
        bool last = !*end;
        *end = '\0';
        argv[argc++] = at;
        if (last)
            break;
    }
    int new_argc;
    char **new_argv;
    tr_status status = tr_arguments_rewrite(argc, argv, &new_argc, &new_argv);
    /* An argument may hold what breaks the sentence in lines: it is the user's own. */
    FUZZ_REQUIRE(status == TR_OK || (status == TR_ERR_USAGE && *tr_error()));
    if (status == TR_OK) {
        FUZZ_REQUIRE(new_argv[new_argc] == NULL);
        parse(new_argc, new_argv);
        tr_arguments_free(new_argv);
    }
    free(text);
    return 0;
}
