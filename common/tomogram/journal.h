/* Which slices of an unfinished tomogram are on the disk, in a file beside it: so that a
 * run that was interrupted can go on. Its records have fixed places, so every process
 * writes its own, and the next run may have another number of them. */
#ifndef TR_JOURNAL_H
#define TR_JOURNAL_H

#include <stdint.h>

#include "common/base/err.h"

enum { TR_JOURNAL_VALUES = 5 };

typedef struct tr_journal tr_journal;

/* What a journal is of. `fingerprint` is text, a line "name = value" for each thing that
 * the slices depend on. */
typedef struct tr_journal_spec {
    const char *path;
    const char *data[2]; /* the files whose slices it tells of; the second may be NULL */
    const char *fingerprint;
    size_t n_slices, n_sections;
    double every; /* seconds between records on the disk */
    /* Bytes of a section of data[0], of which all between the sections must stay as it is
     * until the end; 0: that is written anew then. */
    size_t section_bytes;
    bool packed; /* data[0] is made smaller at the end */
} tr_journal_spec;

/* By one process, before the others open it. begin: a new journal, with the byte offsets
 * of the sections. find: *found is whether an earlier run left one; its offsets are then
 * in section_offset, from malloc. Errors: the journal is of other data or parameters
 * (TR_ERR_USAGE, names the first line that differs), is damaged, or a data file is
 * missing, or was changed where no slice is. A data file that was cut short gets its
 * length back; what that did to slices, their checksums tell. */
TR_CHECKED tr_status tr_journal_begin(const tr_journal_spec *spec,
                                      const uint64_t *section_offset);
TR_CHECKED tr_status tr_journal_find(const tr_journal_spec *spec, bool *found,
                                     uint64_t **section_offset);

/* By every process. The journal is flushed from a signal handler, too. */
TR_CHECKED tr_status tr_journal_open(const tr_journal_spec *spec, tr_journal **journal);
void tr_journal_close(tr_journal *journal); /* NULL is fine */

/* A slice has been written: `values` are kept with it. Reaches the disk, after the slice
 * itself, when `every` seconds have gone by since the last. */
TR_CHECKED tr_status tr_journal_add(tr_journal *journal, size_t slice,
                                    const double *values);
/* Put the rest on the disk now. */
TR_CHECKED tr_status tr_journal_flush(tr_journal *journal);
/* Whether a run before wrote the slice, and its values. */
bool tr_journal_has(const tr_journal *journal, size_t slice, double *values);

/* It turned out not to be there as it was written. */
void tr_journal_forget(tr_journal *journal, size_t slice);
/* Bytes of data[i] when the journal was begun. */
uint64_t tr_journal_data_bytes(const tr_journal *journal, int i);

/* An unfinished run ends: put the rest on the disk, if it has worked long enough (a
 * minute, or `every` if that is less) to be worth keeping. Returns
 * whether what is there is to be kept. Safe in a signal handler. */
bool tr_journal_keep(tr_journal *journal);

#endif
