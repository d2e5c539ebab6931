/* What the images of a file hold, as a hash of each row. The hashes of the first look at
 * a file are what a run's fingerprint says of it, and what is read later is compared with
 * them: so a file that is written to during the run is found, row by row, before its
 * values are used. They are XXH3 of the bits of the samples as tr_image_read gives them
 * (https://xxhash.com), so neither other signs nor other scales nor another order of the
 * same values give the same. */
#ifndef TR_CONTENT_H
#define TR_CONTENT_H

#include "common/base/comm.h"
#include "formats/format.h"

typedef struct tr_content {
    size_t n_images, n_rows;
    double *hash; /* [image][row], whole numbers below 2^53; 0: not looked at */
} tr_content;

enum { TR_DIGEST = 33 }; /* 32 digits and the byte behind them */

/* For images of n_rows rows. Freed by tr_content_free. Errors: TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_content_new(size_t n_images, size_t n_rows, tr_content *c);
void tr_content_free(tr_content *c);
size_t tr_content_bytes(const tr_content *c);

/* rows[n][width] are those of this image from `row` on. Different images may be noted by
 * different threads at a time. */
void tr_content_note(tr_content *c, size_t image, size_t row, size_t n, size_t width,
                     const float *rows);

/* Whether the row has been looked at. */
static inline bool tr_content_knows(const tr_content *c, size_t image, size_t row)
{
    return c->hash[image * c->n_rows + row] != 0.0;
}

/* Each image was noted by one rank at most: then all ranks know all. Collective. */
TR_CHECKED tr_status tr_content_share(tr_comm *comm, tr_content *c);

/* Look at all of a file; the ranks share it, each with so many threads. *c is made here,
 * and freed by the caller, also after an error. Collective. */
TR_CHECKED tr_status tr_content_look(tr_comm *comm, tr_image *file, int threads,
                                     tr_content *c);

/* Read whole rows of a section, known here as `image`, as tr_image_read does; and
 * TR_ERR_DATA, with the file and what to do, if one that was looked at is now another. */
TR_CHECKED tr_status tr_content_read(const tr_content *c, size_t image, tr_image *file,
                                     size_t section, size_t row, size_t n, float *rows);

/* The sentence for a file that changed. */
tr_status tr_content_changed(const char *path, size_t section, size_t row);

/* All of it in one: the same only for the same rows in the same places, whatever ranks
 * and threads looked at them. `width` is that of the rows. */
void tr_content_digest(const tr_content *c, size_t width, char text[TR_DIGEST]);

#endif
