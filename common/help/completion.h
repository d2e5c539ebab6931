/* Completion of a program's command line by bash, zsh and fish, from the option tables.
 */
#ifndef TR_COMPLETION_H
#define TR_COMPLETION_H

#include <stdio.h>

#include "common/run/command.h"

/* Print the script for this shell: options (those of an algorithm once it is named),
 * choices, algorithms, topics of --help; files where a file or the series is due. Wants
 * its program and groups. */
void tr_completion_print(FILE *out, const tr_command *command, tr_shell shell);

#endif
