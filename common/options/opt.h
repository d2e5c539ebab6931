/* Options as rows of a table: a row says where the value goes and what is allowed, and
 * is the one source of parsing, checking, --help, the manual page and the manual. */
#ifndef TR_OPT_H
#define TR_OPT_H

#include <stdio.h>

#include "common/base/err.h"

typedef enum tr_option_type {
    TR_OPT_FLAG,   /* bool, no value */
    TR_OPT_STRING, /* const char *, points into argv or the default */
    TR_OPT_INT,    /* long, within [min, max] */
    TR_OPT_REAL,   /* double, within [min, max] */
    TR_OPT_PAIR,   /* double[2], "a,b"; both within [min, max] */
    TR_OPT_RANGE,  /* long[2], "a:b", a <= b, both within [min, max]; {-1, -1} unset */
    TR_OPT_BYTES,  /* size_t, "1G", "512M", "4096" (powers of 1024); 0 unset */
    TR_OPT_CHOICE, /* int: the index of the word in `choices`, case ignored */
    TR_OPT_LIST,   /* const char *: "1-4,7,40-41" of positive integers, checked */
    TR_OPT_WORDS,  /* tr_words: a word of `choices` and, as arguments of their own, what
                      stands behind it there in capitals: "views frames EVEN ODD" */
    TR_OPT_WISH    /* const char *; given without a value it is the last word of
                      `choices`. A value in an argument of its own is one of these words or
                      has a '=' in it: anything else there is not for this option. */
} tr_option_type;

enum { TR_MOST_WORDS = 2 };
typedef struct tr_words {
    int choice;                          /* the index of the word, from 1; 0: not given */
    const char *argument[TR_MOST_WORDS]; /* what follows it, or NULL; points into argv */
} tr_words;

typedef struct tr_option {
    const char *name; /* long name without dashes: "tilt-offset" */
    char letter;      /* short name, 0 for none */
    tr_option_type type;
    size_t offset;        /* offsetof in the target struct */
    const char *metavar;  /* "DEGREES", "FILE"; NULL for a flag */
    const char *fallback; /* default, parsed like a given value; NULL: zero / unset */
    double min, max;      /* inclusive range for numbers; ignored when both are 0 */
    const char *choices;  /* "float half int16 uint16 byte" for TR_OPT_CHOICE; see
                             TR_OPT_WORDS */
    const char *help;     /* one or two sentences, with the unit; no trailing period; NULL
                             hides the row from help, manual page and manual */
    const char *brief;    /* the same in at most 52 letters, for those few that --help
                             shows; NULL: --help all has it */
    bool aside;           /* what is computed does not depend on it */
    const char *section;  /* heading in the help that begins at this row; NULL: goes on */
} tr_option;

/* Rows of a table for a struct S, one macro for each type: one that gives a member of
 * another type to a row does not compile. What a row has beside the arguments (`help`
 * always; `letter`, `brief`, `aside`, `section`) follows them as `.help = "..."`. */
#define TR_OPTION_ROW(S, member, C_type, option_type, spelled, ...)                      \
    {                                                                                    \
        .name = spelled, .type = option_type,                                            \
        .offset = _Generic(&((S *)0)->member, C_type                                     \
                           : offsetof(S, member)),                                       \
        __VA_ARGS__                                                                      \
    }
#define TR_FLAG_ROW(S, member, spelled, ...)                                             \
    TR_OPTION_ROW(S, member, bool *, TR_OPT_FLAG, spelled, __VA_ARGS__)
#define TR_STRING_ROW(S, member, spelled, unit, ...)                                     \
    TR_OPTION_ROW(S, member, const char **, TR_OPT_STRING, spelled, .metavar = unit,     \
                  __VA_ARGS__)
#define TR_LIST_ROW(S, member, spelled, unit, ...)                                       \
    TR_OPTION_ROW(S, member, const char **, TR_OPT_LIST, spelled, .metavar = unit,       \
                  __VA_ARGS__)
#define TR_WISH_ROW(S, member, spelled, unit, words, ...)                                \
    TR_OPTION_ROW(S, member, const char **, TR_OPT_WISH, spelled, .metavar = unit,       \
                  .choices = words, __VA_ARGS__)
#define TR_WORDS_ROW(S, member, spelled, unit, words, ...)                               \
    TR_OPTION_ROW(S, member, tr_words *, TR_OPT_WORDS, spelled, .metavar = unit,         \
                  .choices = words, __VA_ARGS__)
#define TR_CHOICE_ROW(S, member, spelled, unit, unless_given, words, ...)                \
    TR_OPTION_ROW(S, member, int *, TR_OPT_CHOICE, spelled, .metavar = unit,             \
                  .fallback = unless_given, .choices = words, __VA_ARGS__)
#define TR_INT_ROW(S, member, spelled, unit, unless_given, least, most, ...)             \
    TR_OPTION_ROW(S, member, long *, TR_OPT_INT, spelled, .metavar = unit,               \
                  .fallback = unless_given, .min = least, .max = most, __VA_ARGS__)
#define TR_REAL_ROW(S, member, spelled, unit, unless_given, least, most, ...)            \
    TR_OPTION_ROW(S, member, double *, TR_OPT_REAL, spelled, .metavar = unit,            \
                  .fallback = unless_given, .min = least, .max = most, __VA_ARGS__)
#define TR_PAIR_ROW(S, member, spelled, unit, unless_given, least, most, ...)            \
    TR_OPTION_ROW(S, member, double(*)[2], TR_OPT_PAIR, spelled, .metavar = unit,        \
                  .fallback = unless_given, .min = least, .max = most, __VA_ARGS__)
#define TR_RANGE_ROW(S, member, spelled, unit, least, most, ...)                         \
    TR_OPTION_ROW(S, member, long(*)[2], TR_OPT_RANGE, spelled, .metavar = unit,         \
                  .min = least, .max = most, __VA_ARGS__)
#define TR_BYTES_ROW(S, member, spelled, unit, least, most, ...)                         \
    TR_OPTION_ROW(S, member, size_t *, TR_OPT_BYTES, spelled, .metavar = unit,           \
                  .min = least, .max = most, __VA_ARGS__)

/* A titled set of rows with the struct they fill. A group whose `target` is NULL is
 * known for help and for error messages ("--lambda is an option of ADMM") only. */
typedef struct tr_option_group {
    const char *title;
    const tr_option *rows;
    size_t n;
    void *target;
} tr_option_group;

typedef struct tr_command_line {
    const tr_option_group *groups;
    size_t n_groups;
    const char *positional; /* the one file argument, or NULL */
    unsigned char *given;   /* one byte per row of all groups, in order */
} tr_command_line;

/* Set every target to its defaults, then parse argv[1..]: "--name value",
 * "--name=value", "-x value", "-xvalue", flags, "--" and at most one positional.
 * `positional_name` is its name in messages ("SERIES"). Errors (TR_ERR_USAGE, one
 * sentence): unknown option (nearest spelling suggested), missing value, value not of
 * its type, out of range (value, range and unit named), unknown choice (nearest and all
 * choices named), option given twice with different values, a second positional, an
 * option of a group without target (names the group). Values point into argv, which
 * must outlive the result. tr_command_line_free frees `given`. */
TR_CHECKED tr_status tr_options_parse(const tr_option_group *groups, size_t n_groups,
                                      const char *positional_name, int argc,
                                      char *const *argv, tr_command_line *line);
void tr_command_line_free(tr_command_line *line);

/* Whether the user gave the option; false for a name no group has. */
bool tr_option_given(const tr_command_line *line, const char *name);
/* Whether a group with a target has it, so that it may be given. */
bool tr_option_known(const tr_command_line *line, const char *name);
/* Give one that is known another value than its default, as if the table had that; it
 * does not count as given. The value must outlive the target. TR_ERR_USAGE where the row
 * does not take it. */
TR_CHECKED tr_status tr_option_preset(const tr_command_line *line, const char *name,
                                      const char *value);

/* ---- opt_help.c ---- */

/* The values of a group's rows that are not aside, a line "name = value" each, to be
 * freed; NULL when memory is short. */
char *tr_options_text(const tr_option_group *group);

/* Help for a terminal of `columns` characters: groups, rows, defaults, ranges. */
void tr_options_help(FILE *out, const tr_option_group *groups, size_t n_groups,
                     int columns);
/* Whether no row before row r of group g has its name. */
bool tr_option_is_first(const tr_option_group *groups, size_t g, size_t r);
/* The rows that have a `brief`, a line each; of several of one name the first. */
void tr_options_brief(FILE *out, const tr_option_group *groups, size_t n_groups);
/* Print the words of text, never past `columns`; lines after the first begin at
 * `indent`, where the first is taken to begin. */
void tr_print_wrapped(FILE *out, const char *text, int indent, int columns);
/* "-T, --thickness PIXELS"; returns the number of letters. */
int tr_option_spelled(FILE *out, const tr_option *row);
/* The same rows as troff (man(7)) and as Markdown tables. */
void tr_options_man(FILE *out, const tr_option_group *groups, size_t n_groups);
/* Text in troff, with what is special there escaped. */
void tr_man_text(FILE *out, const char *text);
void tr_options_markdown(FILE *out, const tr_option_group *groups, size_t n_groups);

/* The value of a row's option as a user would write it, "" where it is not set: a
 * choice's word, "yes" or "no" for a flag. `place` is where the value is. Cut to size
 * bytes. */
void tr_option_word(const tr_option *row, const void *place, char *text, size_t size);

/* ---- opt.c ---- */

/* What the row takes, in words: "a whole number from 1 to 65536 pixels". Cut to size
 * bytes. */
void tr_option_takes(const tr_option *row, char *text, size_t size);

/* What the row allows, in words: "from 1 to 65536 pixels" (the unit is the metavar, if
 * that is PIXELS or DEGREES; an infinite min or max leaves that side open), the
 * choices, or "". Cut to size bytes. */
void tr_option_allowed(const tr_option *row, char *text, size_t size);

/* The `length` bytes at text as one finite decimal number, whatever the locale; false,
 * when they are anything else. */
bool tr_parse_real(const char *text, size_t length, double *value);

/* ---- opt_list.c ---- */

/* Whether the text is a TR_OPT_LIST of positive numbers. */
bool tr_list_is_good(const char *list);

/* Expand a TR_OPT_LIST ("1-4,7") into marks[n], 1-based: marks[k - 1] = true. A number
 * of 0 or beyond n is TR_ERR_USAGE naming it, `option` ("--exclude") and n. */
TR_CHECKED tr_status tr_list_expand(const char *option, const char *list, size_t n,
                                    bool *marks);

/* ---- opt_nearest.c ---- */

/* The word of n nearest to `word` (edit distance, case ignored) if it is near enough to
 * suggest (distance at most 1 + length / 3), else NULL. */
const char *tr_nearest(const char *word, const char *const *words, size_t n);

#endif
