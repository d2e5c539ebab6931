/* Reading small text files line by line: blank lines and lines that begin with '#' are
 * passed over, line ends of Windows and of old Macs and a missing last newline are fine,
 * and numbers are read the same way in every locale. */
#ifndef TR_TEXT_FILE_H
#define TR_TEXT_FILE_H

#include <locale.h>

#include "common/base/err.h"

typedef struct tr_text {
    const char *path; /* the caller's */
    size_t line;      /* number of the line last returned, from 1 */
    char *buffer;     /* the file, cut into strings as it is read */
    char *next;       /* what is not read yet */
    bool comments;    /* set it to be given the lines that begin with '#' too */
    locale_t c_locale;
} tr_text;

/* Load a file of at most 64 MiB. Errors (TR_ERR_DATA): it cannot be read, is empty, is
 * larger, is a pipe, or holds bytes that no text file holds. Freed by tr_text_free. */
TR_CHECKED tr_status tr_text_read(const char *path, tr_text *text);
/* The same for the first 64 KiB of a file of any size. */
TR_CHECKED tr_status tr_text_peek(const char *path, tr_text *text);
void tr_text_free(tr_text *text);

/* The next line with something on it, without the spaces around it; NULL at the end.
 * Points into the text. */
char *tr_text_line(tr_text *text);

/* Whether the file has a first line, and it is one of these; false without a message. */
bool tr_text_first_line(const char *path, bool (*known)(const tr_text *text, char *line));

/* The next word of a line, and *rest moved behind it; NULL when there is none before the
 * end or a '#'. Words are separated by spaces, tabs and commas. */
char *tr_text_word(char **rest);

/* The string without the spaces around it, shortened in place. */
char *tr_text_trim(char *string);

/* A finite decimal number that is the whole word; otherwise TR_ERR_DATA naming file,
 * line and word. */
TR_CHECKED tr_status tr_text_number(const tr_text *text, const char *word, double *value);

/* The same for a whole number ("2" or "2.0"). */
TR_CHECKED tr_status tr_text_whole_number(const tr_text *text, const char *word,
                                          long *value);

#endif
