/* Many series with the same options: a tomogram of each, one after another, by groups of
 * processes that share the list. */
#ifndef TR_BATCH_H
#define TR_BATCH_H

#include "common/run/command.h"

/* Whether argv is of a batch: "batch SERIES... -- OPTIONS", or OPTIONS with --batch LIST;
 * false where it asks for help. */
bool tr_batch_asked(int argc, char *const *argv);

/* All of it; collective. A series is claimed by the lock on its tomogram and by the first
 * line of its log, so that groups, and other batches over the same list, do not wait for
 * each other. TR_ERR_DATA, at the end, where some series failed; TR_ERR_STOPPED where the
 * process was asked to stop; else what is wrong with the command line. Says its error. */
TR_CHECKED tr_status tr_batch_main(const tr_program *program, tr_comm *comm, int argc,
                                   char **argv);

/* ---- batch_list.c: what there is to do ---- */

typedef enum tr_batch_state {
    TR_BATCH_OPEN,  /* nobody has tried it */
    TR_BATCH_AWAY,  /* another process makes it, or has tried it */
    TR_BATCH_THERE, /* it was complete */
    TR_BATCH_MADE,
    TR_BATCH_FAILED
} tr_batch_state;

typedef struct tr_batch_entry {
    char *item;     /* as listed */
    char *series;   /* NULL where a folder has none: `sentence` says why */
    char *com;      /* the folder's tilt.com, or NULL */
    char *name;     /* of the series, without folder and ending: what {} becomes */
    char *base;     /* of the files that are written: FOLDER/NAME_rec */
    char *tomogram; /* base with its ending */
    tr_batch_state state;
    char sentence[600]; /* of TR_BATCH_FAILED */
    double seconds;
} tr_batch_entry;

typedef struct tr_batch {
    const tr_program *program;
    tr_command command; /* the options, all of them */
    int argc;           /* those for each series, after the program's name; */
    char **argv;        /* the pointers are ours, the strings main's */
    char *folder;       /* of -o, or NULL: each beside its series */
    char *summary;      /* FOLDER/batch, without its ending */
    size_t n;
    tr_batch_entry *entry;
} tr_batch;

/* From the command line, and a look at the folders; *b is all 0 before. Errors: of the
 * command line (TR_ERR_USAGE), of the list (TR_ERR_DATA). A series that is not there is
 * an entry that has failed. Freed by tr_batch_free, also after an error. */
TR_CHECKED tr_status tr_batch_list(tr_batch *b, const tr_program *program, int argc,
                                   char **argv);
void tr_batch_free(tr_batch *b);

/* The command line of a run for one series, freed by tr_arguments_free; NULL when memory
 * is short. *argc without the NULL at its end. */
char **tr_batch_arguments(const tr_batch *b, const tr_batch_entry *e, int *argc);

/* ---- batch_record.c: what the JSON file of a tomogram says ---- */

/* The text of FOLDER/NAME_rec.json; NULL where there is none. */
char *tr_batch_record(const tr_batch_entry *e);
/* Whether the tomogram is there, made by this version with these arguments, and no input
 * was written to since. */
bool tr_batch_is_there(const tr_batch_entry *e, int argc, char *const *argv);
/* A number, or a string into text[size], of a member of an object at the top ("output",
 * "columns"); or of the top itself, with an object of NULL. NaN and "" where there is
 * none. */
double tr_batch_number(const char *record, const char *object, const char *member);
void tr_batch_string(const char *record, const char *object, const char *member,
                     char *text, size_t size);

/* ---- batch_summary.c ---- */

/* batch.csv and batch.html; on one process. */
TR_CHECKED tr_status tr_batch_summarize(const tr_batch *b);

#endif
