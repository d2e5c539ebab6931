#include "formats/file_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file_name.h"

tr_status tr_read_at(int fd, const char *path, void *buffer, size_t bytes,
                     uint64_t offset)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t n =
            pread(fd, (char *)buffer + done, bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tr_fail(TR_ERR_DATA, "cannot read %s: %s", path, strerror(errno));
        if (n == 0)
            return tr_fail(TR_ERR_DATA,
                           "%s ends at byte %llu, but its data should reach byte %llu; "
                           "it was cut short",
                           path, (unsigned long long)(offset + done),
                           (unsigned long long)(offset + bytes));
        done += (size_t)n;
    }
    return TR_OK;
}

tr_status tr_write_at(int fd, const char *path, const void *buffer, size_t bytes,
                      uint64_t offset)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t n =
            pwrite(fd, (const char *)buffer + done, bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tr_fail(TR_ERR_DATA, "cannot write %s: %s", path, strerror(errno));
        done += (size_t)n;
    }
    return TR_OK;
}

tr_status tr_reserve(int fd, const char *path, uint64_t bytes)
{
    if (bytes > INT64_MAX)
        return tr_fail(TR_ERR_DATA, "%s would have %llu bytes, more than a file can have",
                       path, (unsigned long long)bytes);
    struct stat status;
    int failed = fstat(fd, &status);
    if (!failed && (uint64_t)status.st_size < bytes)
        failed = ftruncate(fd, (off_t)bytes);
    if (!failed) {
        /* Not posix_fallocate: where the file system cannot reserve, the C library
         * writes to every block instead, which takes as long as the output itself. */
        do
            failed = fallocate(fd, 0, 0, (off_t)bytes);
        while (failed && errno == EINTR);
        if (failed && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS))
            failed = 0;
    }
    if (failed)
        return tr_fail(TR_ERR_DATA, "cannot reserve the %llu bytes of %s: %s",
                       (unsigned long long)bytes, path, strerror(errno));
    return TR_OK;
}

tr_status tr_write_whole(const char *path, const void *bytes, size_t n)
{
    tr_whole_file whole;
    TR_TRY(tr_whole_file_begin(path, &whole));
    return tr_whole_file_end(&whole, fwrite(bytes, 1, n, whole.file) == n);
}
