/* Names of files: those beside another one, and whether a name still is of the file that
 * was made under it. */
#ifndef TR_FILE_NAME_H
#define TR_FILE_NAME_H

#include <stdio.h>
#include <sys/stat.h>

#include "common/base/err.h"

/* FOLDER/.NAME.what for FOLDER/NAME; the folder, with its slash, or "./". From malloc;
 * NULL, with the sentence, where memory is short. */
char *tr_name_beside(const char *path, const char *what);
char *tr_name_folder(const char *path);
/* What comes after the folder; a part of `path`. */
const char *tr_name_only(const char *path);

/* How many bytes of the path come before its ending, ".mrc"; all where it has none. */
size_t tr_name_stem(const char *path);

/* Whether two paths lead to one file that exists. */
bool tr_same_file(const char *a, const char *b);

/* Which file it is, whatever its name. */
typedef struct tr_file_id {
    bool known;
    dev_t device;
    ino_t number;
} tr_file_id;

/* Of what is open, or has the name itself (links are not followed); async-signal-safe. */
tr_file_id tr_file_id_open(int fd);
tr_file_id tr_file_id_named(const char *path);
/* Whether the name is of this file, which is known; async-signal-safe. */
bool tr_file_is(const char *path, const tr_file_id *id);

/* A new file of this name for reading and writing, never through a link: what has the
 * name loses it. A descriptor, or -1 with errno. */
int tr_file_create(const char *path, mode_t mode);
/* One without a name, in the folder of `path`; it is gone with its last descriptor. */
int tr_file_unnamed(const char *path);

/* A small file that has its name only when it is complete: until then it is
 * .NAME.partial beside it. What is no regular file, such as /dev/stdout, is written to
 * directly. Not for two processes at a time. Errors name the file (TR_ERR_DATA). */
typedef struct tr_whole_file {
    FILE *file; /* to write to */
    const char *path;
    char *fresh; /* NULL where it is written directly */
} tr_whole_file;

TR_CHECKED tr_status tr_whole_file_begin(const char *path, tr_whole_file *whole);
/* `good`: all was written; else it is an error with errno as the reason. */
TR_CHECKED tr_status tr_whole_file_end(tr_whole_file *whole, bool good);

#endif
