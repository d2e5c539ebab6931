/* What a file is that is not what was asked for: one table of the first bytes of the
 * formats that users name by mistake, or hope can be read. */
#ifndef TR_FILE_KIND_H
#define TR_FILE_KIND_H

#include <stdio.h>

#include "common/base/err.h"

/* How many of a file's first bytes are looked at. */
enum { TR_KIND_BYTES = 4096 };

typedef struct tr_file_kind {
    char name[240];       /* "a TIFF image" */
    const char *as_image; /* what to do where an image was expected, or NULL */
    const char *as_text;  /* the same where a text file was, or NULL */
} tr_file_kind;

/* Whether the n first bytes are those of a kind that is neither MRC nor HDF5, and what
 * that is. */
bool tr_file_kind_of(const unsigned char *head, size_t n, tr_file_kind *kind);

/* Whether all bytes can be those of a text. */
bool tr_bytes_are_text(const unsigned char *head, size_t n);

/* Where a text file is to be read that begins with these n bytes: TR_ERR_DATA with the
 * sentence "PATH is ...; NEEDED is needed: ..." if it is of a known kind (MRC and HDF5
 * among them), TR_OK for all others. `needed` as "a list of tilt angles". */
TR_CHECKED tr_status tr_refuse_kind(const char *path, const unsigned char *head, size_t n,
                                    const char *needed);
/* The same for a file; TR_OK also for what cannot be read. */
TR_CHECKED tr_status tr_refuse_other_kind(const char *path, const char *needed);

/* A file to read; of a pipe that nobody writes to it is empty, instead of waiting for a
 * writer. NULL and errno where it cannot be opened. */
FILE *tr_open_without_waiting(const char *path);

#endif
