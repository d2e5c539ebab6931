/* What the parts of the output share: output.c opens and writes, output_finish.c
 * finishes, output_signals.c cleans up when a signal ends the program. */
#ifndef TR_OUTPUT_PRIVATE_H
#define TR_OUTPUT_PRIVATE_H

#include <pthread.h>

#include "common/base/file_name.h"
#include "common/tomogram/journal.h"
#include "common/tomogram/output.h"
#include "common/tomogram/statistics.h"

/* Outputs that can be unfinished at a time, and the files of each: partial, raw, journal.
 */
enum { TR_MOST_OUTPUTS = 3, TR_OUTPUT_FILES = 3 };

/* A file as it was when all its space had been reserved. */
typedef struct tr_reserved_file {
    uint64_t device, inode, bytes;
    bool has_blocks; /* the disk's space for all of them */
} tr_reserved_file;

struct tr_output {
    tr_comm *comm;
    tr_output_spec spec;
    tr_volume_spec volume; /* as the format sees it */
    const tr_format *format;
    char *path, *partial;       /* final name; name while unfinished */
    char *store, *store_before; /* the store while unfinished; what had its name before */
    char *raw; /* float samples before automatic scaling; NULL if not needed */
    tr_shared_file *file, *raw_file;
    tr_file_id id[TR_OUTPUT_FILES]; /* of partial, raw and journal, once they are made */
    int held;                       /* of rank 0: `partial`, so that its number is not
                                       given to another file; -1 */
    tr_reserved_file reserved[2];   /* of the two */
    uint64_t *section_offset;
    tr_slice_sums *sums; /* one per slice, zero for slices of other ranks */
    tr_journal *journal; /* or NULL */
    char *journal_path;
    int slot;        /* among the files that are watched */
    bool watched;    /* they are this run's, to be removed if it fails */
    bool all_before; /* a run before wrote all slices */
    bool flushed;    /* what this process wrote is on the disk, and in the journal */
    bool worthless;  /* its voxels are wrong: nothing is kept */
    bool measured;   /* then `statistics` are of all slices */
    tr_statistics statistics;
    float *room; /* of the threads that write; NULL before the first slice */
    pthread_mutex_t one_writer; /* held to write to the files and the journal */
};

/* ---- output.c ---- */

size_t tr_output_section_samples(const tr_output *o);

/* Close the files that are open. Collective; after a failure, its own does not count. */
tr_status tr_output_close_files(tr_output *o);

/* Know the files that have the names now as this run's; by rank 0 also hold the first.
 * Errors: one of them is gone. */
TR_CHECKED tr_status tr_output_know_files(tr_output *o);
/* Whether the unfinished tomogram still is the file that rank 0 holds. */
TR_CHECKED tr_status tr_output_check_name(const tr_output *o);

/* ---- output_pass.c ---- */

static inline size_t tr_output_threads(const tr_output_spec *spec)
{
    return spec->threads > 1 ? (size_t)spec->threads : 1;
}
/* Make output->room if it is not there: for each thread twice *floats, which is enough
 * for a line. */
TR_CHECKED tr_status tr_output_make_room(tr_output *o, size_t *floats);
void tr_output_free_room(tr_output *output); /* none is fine */

/* ---- output_kept.c ---- */

/* The files are open: remember what they are. */
TR_CHECKED tr_status tr_output_note_files(tr_output *o);
/* Whether they are still those, with all their space; by all ranks `together`, or by one
 * of them while the others may be failing. */
TR_CHECKED tr_status tr_output_check_files(const tr_output *o, bool together);

/* Read back what the journal of an earlier run tells of: slices that are not there as
 * they were written count as not written, and that is said. Collective. */
TR_CHECKED tr_status tr_output_check_kept(tr_output *o);

/* ---- output_signals.c ---- */

/* A place among the outputs that are watched. */
int tr_output_claim_slot(void);
void tr_output_free_slot(int slot);
/* When a signal ends the program, these files are removed, if they are still the ones
 * that they are known to be; NULL for those there are not. The names stay the caller's
 * until the slot is freed. */
void tr_output_watch_files(int slot, const char *const file[TR_OUTPUT_FILES],
                           const tr_file_id id[TR_OUTPUT_FILES]);
/* The same at once; NULL is fine. Async-signal-safe. */
void tr_output_remove(const char *file, const tr_file_id *id);
/* Unless this journal finds that they are worth keeping. */
void tr_output_watch_journal(int slot, tr_journal *journal);

#endif
