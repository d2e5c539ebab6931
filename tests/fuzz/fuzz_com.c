/* IMOD's tilt.com, and what it says as options of the program. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/run/inputs.h"
#include "fuzz.h"

/* The options of WBP that a com file can set. */
typedef struct com_params {
    double radial[2], hamming_like;
    long sirt_like;
} com_params;

static const tr_option com_rows[] = {
    TR_PAIR_ROW(com_params, radial, "radial", NULL, NULL, 0, 0.5),
    TR_REAL_ROW(com_params, hamming_like, "hamming-like", NULL, NULL, 0, 0.499),
    TR_INT_ROW(com_params, sirt_like, "sirt-like", NULL, NULL, 1, 1000),
};

static void apply_com(tr_imod_com *com)
{
    com_params params;
    char *arguments[] = {(char *)"tiltrec", (char *)"series.st", NULL};
    static const tr_program program = {.name = "fuzz"};
    tr_command command = {.program = &program, .n_groups = 2, .arguments = arguments};
    com->sirt_iterations = 0; /* or a choice among the program's algorithms follows */
    tr_inputs inputs = {.com = *com};
    tr_option_group groups[] = {
        {"Common", tr_common_options, tr_n_common_options, &command.options},
        {"WBP", com_rows, sizeof com_rows / sizeof *com_rows, &params},
    };
    command.groups = groups;
    FUZZ_REQUIRE(tr_options_parse(groups, 2, "SERIES", 2, arguments, &command.line) ==
                 TR_OK);
    command.options.imod_com = "tilt.com";
    tr_status status = tr_inputs_apply_com(&inputs, &command);
    fuzz_check_status(status);
    tr_command_line_free(&command.line);
    for (size_t i = 0; i < command.n_added; i++)
        free(command.extended[1 + i]);
    free(command.extended);
}

static void check_com(const tr_imod_com *com)
{
    const double numbers[] = {com->offset_angle,  com->offset_axis, com->shift_x,
                              com->shift_z,       com->xaxistilt,   com->radial_cutoff,
                              com->radial_sigma,  com->scale_add,   com->scale_multiply,
                              com->hamming_start, com->log_base};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        FUZZ_REQUIRE(isfinite(numbers[i]));
    FUZZ_REQUIRE(com->binning >= 1);
    const char *files[] = {com->input,      com->output,     com->tilt_file,
                           com->xtilt_file, com->local_file, com->zfactor_file};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        FUZZ_REQUIRE(!files[i] || files[i][0] == '/'); /* as the com file's is */
}

int FUZZ_ENTRY(const uint8_t *data, size_t size)
{
    tr_log_setup(TR_LOG_QUIET, false, "fuzz");
    fuzz_file file = fuzz_file_make(data, size);
    tr_imod_com com;
    tr_status status = tr_imod_com_read(file.path, &com);
    fuzz_check_status(status);
    if (status == TR_OK) {
        check_com(&com);
        apply_com(&com);
        tr_imod_com_free(&com);
    }
    fuzz_file_remove(&file);
    return 0;
}
