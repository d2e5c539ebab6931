/* What a run was given: its command line, as options of the program and of its algorithm.
 * Nothing here depends on a file but what a tilt.com adds (inputs.h). */
#ifndef TR_COMMAND_H
#define TR_COMMAND_H

#include "common/options/trial_spec.h"
#include "common/run/job.h"

typedef struct tr_command {
    const tr_program *program;
    bool batch; /* these are the options of many series; set before parsing */
    tr_options options;
    tr_device_options device_options;
    const char *help_topic; /* of --help; NULL: none */
    const tr_algorithm *algorithm;
    const tr_method *method; /* the program's, or its method for a few slices */
    tr_trial_spec trial;     /* where options.try_what is given */
    void *params;            /* of the algorithm */
    tr_option_group *groups;
    size_t n_groups;
    tr_command_line line;
    char **arguments; /* as rewritten; the option values point into these */
    char **extended;  /* the same with what a com file adds */
    size_t n_added;   /* of those, from extended[1] on */
} tr_command;

/* From argv, which must stay; *c is all 0 before. Looks at nothing else. Freed by
 * tr_command_free, also after an error (TR_ERR_USAGE, TR_ERR_UNAVAILABLE, memory). */
TR_CHECKED tr_status tr_command_parse(tr_command *c, const tr_program *program, int argc,
                                      char *const *argv);
void tr_command_free(tr_command *c);

/* Parse the line with what was added to it, argv[n]; and the line as it is for another
 * algorithm, which a file asks for. Errors as above. */
TR_CHECKED tr_status tr_command_parse_again(tr_command *c, int n, char *const *argv);
TR_CHECKED tr_status tr_command_set_algorithm(tr_command *c, const char *name);

#endif
