#include "formats/file_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"

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

static bool write_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t written = write(fd, bytes, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        bytes += written;
        n -= (size_t)written;
    }
    return true;
}

tr_status tr_write_whole(const char *path, const void *bytes, size_t n)
{
    struct stat there;
    bool direct = stat(path, &there) == 0 && !S_ISREG(there.st_mode);
    char *fresh = tr_format_string("%s%s", path, direct ? "" : ".partial");
    if (!fresh)
        return TR_ERR_MEMORY;
    int fd = open(fresh, O_WRONLY | O_CREAT | O_CLOEXEC | (direct ? 0 : O_TRUNC), 0666);
    bool good = fd >= 0 && write_all(fd, bytes, n);
    if (good && !direct)
        good = fsync(fd) == 0 || errno == EINVAL || errno == ENOSYS;
    int error = errno;
    if (fd >= 0 && close(fd) != 0 && good) {
        good = false;
        error = errno;
    }
    if (good && !direct && rename(fresh, path) != 0) {
        good = false;
        error = errno;
    }
    if (!good && fd >= 0 && !direct)
        unlink(fresh);
    free(fresh);
    return good ? TR_OK
                : tr_fail(TR_ERR_DATA, "%s cannot be written: %s", path, strerror(error));
}
