#include "common/base/comm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"

struct tr_shared_file {
    int fd;
    char *path;
};

static tr_status serial_sum(tr_comm *comm, double *value, size_t n)
{
    (void)comm, (void)value, (void)n;
    return TR_OK;
}

static tr_status serial_agree(tr_comm *comm, tr_status mine)
{
    (void)comm;
    return mine;
}

static tr_status serial_exchange(tr_comm *comm, const float *send,
                                 const size_t *send_counts, float *recv,
                                 const size_t *recv_counts)
{
    (void)comm;
    TR_ASSERT(send_counts[0] == recv_counts[0]);
    memcpy(recv, send, recv_counts[0] * sizeof *recv);
    (void)send_counts;
    return TR_OK;
}

static tr_status serial_begin_exchange(tr_comm *comm, float *const *send,
                                       const size_t *send_counts, float *const *recv,
                                       const size_t *recv_counts)
{
    (void)comm, (void)send, (void)send_counts, (void)recv, (void)recv_counts;
    return TR_OK;
}

static tr_status serial_end_exchange(tr_comm *comm)
{
    (void)comm;
    return TR_OK;
}

static tr_status serial_open(tr_comm *comm, const char *path, tr_shared_file **file)
{
    (void)comm;
    tr_shared_file *f = tr_calloc("a file", 1, sizeof *f);
    if (!f)
        return TR_ERR_MEMORY;
    f->path = tr_strdup(path);
    f->fd = f->path ? open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (f->fd < 0) {
        tr_status status =
            tr_fail(TR_ERR_DATA, "%s cannot be opened: %s", path, strerror(errno));
        free(f->path);
        free(f);
        return status;
    }
    *file = f;
    return TR_OK;
}

static tr_status serial_read(tr_shared_file *file, uint64_t offset, void *data,
                             size_t bytes)
{
    for (char *to = data; bytes;) {
        ssize_t n = pread(file->fd, to, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return tr_fail(TR_ERR_DATA, "reading %s failed: %s", file->path,
                           n ? strerror(errno) : "the file ends early");
        to += n, offset += (uint64_t)n, bytes -= (size_t)n;
    }
    return TR_OK;
}

static tr_status serial_write(tr_shared_file *file, uint64_t offset, const void *data,
                              size_t bytes)
{
    for (const char *from = data; bytes;) {
        ssize_t n = pwrite(file->fd, from, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tr_fail(TR_ERR_DATA, "writing %s failed: %s", file->path,
                           strerror(errno));
        from += n, offset += (uint64_t)n, bytes -= (size_t)n;
    }
    return TR_OK;
}

static tr_status serial_close(tr_shared_file *file)
{
    tr_status status = TR_OK;
    if (close(file->fd) != 0)
        status =
            tr_fail(TR_ERR_DATA, "writing %s failed: %s", file->path, strerror(errno));
    free(file->path);
    free(file);
    return status;
}

static tr_status serial_split(tr_comm *comm, int group, tr_comm **part)
{
    (void)group;
    *part = comm;
    return TR_OK;
}

static void serial_abort(tr_comm *comm, int exit_status)
{
    (void)comm, (void)exit_status;
}

static void serial_finish(tr_comm *comm) { (void)comm; }

tr_comm *tr_comm_serial(void)
{
    static const tr_comm_ops ops = {
        .sum = serial_sum,
        .broadcast = serial_sum, /* nothing to do either */
        .agree = serial_agree,
        .exchange = serial_exchange,
        .begin_exchange = serial_begin_exchange,
        .end_exchange = serial_end_exchange,
        .open = serial_open,
        .read = serial_read,
        .write = serial_write,
        .close = serial_close,
        .split = serial_split,
        .abort = serial_abort,
        .finish = serial_finish,
    };
    static tr_comm comm = {.ops = &ops, .size = 1, .local_size = 1};
    return &comm;
}
