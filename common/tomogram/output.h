/* The tomogram on its way to the disk: scaled, converted, its statistics gathered, and
 * written beside its final name, which it gets only when it is complete. */
#ifndef TR_OUTPUT_H
#define TR_OUTPUT_H

#include "formats/format.h"
#include "common/base/comm.h"
#include "common/tomogram/pyramid.h"
#include "kernels/samples.h"

typedef struct tr_output_spec {
    const char *path;
    size_t width, thickness, n_slices; /* of the whole volume */
    bool xyz; /* order xyz (rows of thickness reversed), else xzy */
    tr_type type;
    bool automatic; /* integers: map the volume's range to the type's range at the end */
    double add, multiply;    /* written value = (value + add) * multiply */
    double pixel, origin[3]; /* of the output's axes in the order written */
    size_t n_labels;
    char labels[TR_LABELS][TR_LABEL_LENGTH + 1];
    int deflate;
    int threads; /* that write slices; 0: 1 */
    bool verify; /* read it back before it gets its name */
    /* For going on after an interruption; every = 0: what is unfinished is not kept. */
    double every;            /* seconds between records of what is done */
    const char *fingerprint; /* what the voxels depend on; see tr_journal_spec */
    bool resume;             /* go on from what a run before kept, if it did */
    bool all_at_end; /* all slices are written at once: kept only when all are there */
    size_t to_come;  /* outputs of this size that the disk must hold, with this; 0: 1 */
    tr_pyramid_spec store; /* made of the finished file, with which it gets its name, */
    bool store_only;       /* which is removed by who asked for it then */
    /* If given, no file is made: it gets what tr_output_write gets, and the output is
     * ended by tr_output_discard. Nothing above but the sizes counts then. */
    tr_status (*sink)(void *self, size_t slice, size_t n, const float *planes);
    void *sink_self;
} tr_output_spec;

typedef struct tr_output tr_output;

/* What a user takes for the output: the file, or the store where it is only that. */
static inline const char *tr_output_name(const tr_output_spec *spec)
{
    return spec->store_only ? spec->store.folder : spec->path;
}

/* Create the file beside its final name, with all its space reserved. Collective.
 * Errors (sentence with the path): disk full, sizes the
 * format cannot hold, unknown extension (TR_ERR_USAGE). */
TR_CHECKED tr_status tr_output_open(tr_comm *comm, const tr_output_spec *spec,
                                    tr_output **output);

/* Other labels than those of the spec, before the end: n of them, at most TR_LABELS. */
void tr_output_relabel(tr_output *output, const char (*labels)[TR_LABEL_LENGTH + 1],
                       size_t n);

/* How many of the n slices from `first` on a run before has written, without a gap: they
 * count as written by this process now. */
size_t tr_output_skip(tr_output *output, size_t first, size_t n);

/* Whether a run before wrote all slices: they then count as written now. */
bool tr_output_adopt(tr_output *output);

/* Put on the disk, and in the journal, what this process wrote, so that a later run does
 * not do it again however this one ends. Nothing happens where nothing is kept. */
TR_CHECKED tr_status tr_output_flush(tr_output *output);

/* ---- output_pass.c ---- */

/* Write n slices from number `slice` on, planes[n][thickness][width]. Each slice is
 * written once, by any rank; called by one thread at a time, it starts the spec's. */
TR_CHECKED tr_status tr_output_write(tr_output *output, size_t slice, size_t n,
                                     const float *planes);

/* The same from the memory order of volumes, lines[thickness][width][lanes], whose first
 * n lanes are the slices. Not for an output with a sink. */
TR_CHECKED tr_status tr_output_write_lines(tr_output *output, size_t slice, size_t n,
                                           const float *lines, size_t lanes);

/* How a device is to take all slices of a vector's rows for such an output: `row` and `n`
 * are the caller's to set, and `lines` after that. False where the host must do it. */
bool tr_output_takes(const tr_output_spec *spec, tr_take *take);

/* The same from a device's take_slices with this output's `take`, n slices. */
TR_CHECKED tr_status tr_output_write_taken(tr_output *output, size_t slice, size_t n,
                                           const void *samples, const tr_taken *taken);

/* Bytes that tr_output_write and tr_output_write_lines take, whatever n is. */
size_t tr_output_bytes(const tr_output_spec *spec);

/* ---- output_finish.c ---- */

/* All slices are written: add up their statistics, and look whether the volume is worth
 * anything: one of one value throughout, or with NaN, is an error. Collective. */
TR_CHECKED tr_status tr_output_measure(tr_output *output);

/* Measure, if that is not done yet; statistics to the headers, automatic scaling, rename
 * to the final names, of all n outputs of one type and size or of none. Frees the
 * outputs, which are removed, or kept for a later run, if this fails. statistics[n] are
 * those of the values written, and `scaling`, of at least 128 characters, says how
 * integers were made ("" if they were not scaled automatically): all in one way.
 * Collective. */
TR_CHECKED tr_status tr_outputs_finish(tr_output *const *outputs, size_t n,
                                       tr_statistics *statistics, char *scaling);

/* ---- output.c ---- */

/* Free it, and remove what was written unless a later run can go on from it; not
 * collective. NULL is fine. */
void tr_output_discard(tr_output *output);

/* output_signals.c: what is unfinished is removed, or kept for a later run, when one of
 * these signals ends the program: SIGINT, SIGTERM, SIGHUP. SIGPIPE and SIGXFSZ no longer
 * end it. */
void tr_output_watch_signals(void);

#endif
