/* What the two halves of the reading of a tilt.com share: imod_com.c finds the commands,
 * their words and lines, imod_com_options.c knows what each option means. */
#ifndef TR_IMOD_COM_READER_H
#define TR_IMOD_COM_READER_H

#include "formats/text_file.h"
#include "formats/tilt_angles.h"

/* Words put together to one string; its text is NULL while there is none. */
typedef struct tr_word_list {
    char *text;
    size_t length, room;
} tr_word_list;

/* What one tilt command says; the table of options holds offsets into it. */
typedef struct tr_com_reader {
    tr_imod_com com;
    const tr_text *text;
    size_t line;    /* of the command */
    bool for_shell; /* not of a com file, but of a shell's script */
    size_t n_names; /* file names without an option before them */
    bool has_options;
    tr_word_list exclude, include, not_honoured;
    char *refused; /* why no tomogram comes of the command, or NULL */
    bool true_sigma, perpendicular, parallel;
    long step; /* of SLICE */
    double constrain_sign, flat_fraction;
    bool given; /* for options whose presence nobody asks for */
} tr_com_reader;

/* Begin with what holds without any option, and free what is not in the com. */
void tr_com_reader_begin(tr_com_reader *reader, const tr_text *text, size_t line);
void tr_com_reader_free(tr_com_reader *reader);

/* The option that a word means as IMOD's own parser has it: the letters' case does not
 * count, and the beginning of a name is enough where it is that of no other. NULL where
 * there is none; TR_ERR_DATA where there are several. */
typedef struct tr_com_option tr_com_option;
TR_CHECKED tr_status tr_com_option_find(const tr_com_reader *reader, const char *word,
                                        const tr_com_option **option);
/* Whether it has no value on a command line. */
bool tr_com_option_is_flag(const tr_com_option *option);

/* Take an option with its value, "" for none; of one that is not known (NULL), `word` is
 * the name. The value is cut into words. */
TR_CHECKED tr_status tr_com_option_take(tr_com_reader *reader,
                                        const tr_com_option *option, const char *word,
                                        char *value);
/* A file's name where an option could be: the first is the input, the second the output.
 */
TR_CHECKED tr_status tr_com_name_take(tr_com_reader *reader, const char *name);

/* Note what the command asks for and is not done. */
TR_CHECKED tr_status tr_com_not_honoured(tr_com_reader *reader, const char *name,
                                         const char *value);

/* What one option's meaning owes to another, when all have been taken. */
TR_CHECKED tr_status tr_com_reader_finish(tr_com_reader *reader);

#endif
