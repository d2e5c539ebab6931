/* Exact reads and writes at a byte offset, shared by the image formats. `path` is only
 * for messages. All failures are TR_ERR_DATA. */
#ifndef TR_FILE_IO_H
#define TR_FILE_IO_H

#include <stdint.h>

#include "common/base/err.h"

/* Fill buffer with `bytes` bytes from `offset`; the end of the file before that is an
 * error which names both sizes. */
TR_CHECKED tr_status tr_read_at(int fd, const char *path, void *buffer, size_t bytes,
                                uint64_t offset);
TR_CHECKED tr_status tr_write_at(int fd, const char *path, const void *buffer,
                                 size_t bytes, uint64_t offset);

/* Make the file at least `bytes` long with its disk space taken, so that a full disk
 * shows at once. Where the file system cannot do that the file is only lengthened. */
TR_CHECKED tr_status tr_reserve(int fd, const char *path, uint64_t bytes);

/* A small file of these bytes, which has its name only when it is complete, so that a
 * reader sees all of it or what was there before (tr_whole_file_begin). */
TR_CHECKED tr_status tr_write_whole(const char *path, const void *bytes, size_t n);

#endif
