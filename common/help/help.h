/* What a program says of itself: --help with its topics, and the manual page. */
#ifndef TR_HELP_H
#define TR_HELP_H

#include <stdio.h>

#include "common/run/command.h"

/* Print the screen of options that are used most (topic NULL), everything ("all"), or
 * what the topic names: an option with or without its dashes, an algorithm, a heading of
 * the options. TR_ERR_USAGE, with the nearest spelling, when it is none of these. Wants
 * its program and groups; lines have at most `columns` letters. */
TR_CHECKED tr_status tr_help_print(FILE *out, const tr_command *command,
                                   const char *topic, int columns);

/* The same as a manual page in troff (man(7)). */
void tr_help_man(FILE *out, const tr_command *command);

/* The same as a chapter of the manual, in Markdown. */
void tr_help_markdown(FILE *out, const tr_command *command);

#endif
