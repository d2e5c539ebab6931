#include "common/base/comm.h"

#include <fcntl.h>
#include <limits.h>
#include <mpi.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "common/base/mem.h"

struct tr_shared_file {
    MPI_File file;
    char *path;
};

/* All processes, or a part of them. */
typedef struct mpi_comm {
    tr_comm base;
    MPI_Comm handle;
} mpi_comm;

static MPI_Comm handle(const tr_comm *comm) { return ((const mpi_comm *)comm)->handle; }

enum { MAX_COUNT = 1 << 30 }; /* MPI counts are int */

static tr_status check(int code, const char *what, const char *path)
{
    if (code == MPI_SUCCESS)
        return TR_OK;
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    /* MPICH adds its call stack, a line "FUNCTION(LINE): TEXT" for each; the last one
     * is the most specific. */
    while (length > 0 && text[length - 1] == '\n')
        text[--length] = '\0';
    char *last = strrchr(text, '\n'), *after = last ? strstr(last, "): ") : NULL;
    if (last)
        memmove(text, after ? after + 3 : last + 1,
                strlen(after ? after + 3 : last + 1) + 1);
    return tr_fail(TR_ERR_DATA, "%s%s%s failed: %s", what, path ? " " : "",
                   path ? path : "", text);
}

static tr_status mpi_sum(tr_comm *comm, double *value, size_t n)
{
    for (size_t done = 0; done < n;) {
        size_t count = n - done < MAX_COUNT ? n - done : MAX_COUNT;
        TR_TRY(check(MPI_Allreduce(MPI_IN_PLACE, value + done, (int)count, MPI_DOUBLE,
                                   MPI_SUM, handle(comm)),
                     "adding up over the ranks", NULL));
        done += count;
    }
    return TR_OK;
}

static tr_status mpi_broadcast(tr_comm *comm, double *value, size_t n)
{
    for (size_t done = 0; done < n;) {
        size_t count = n - done < MAX_COUNT ? n - done : MAX_COUNT;
        TR_TRY(check(MPI_Bcast(value + done, (int)count, MPI_DOUBLE, 0, handle(comm)),
                     "telling the ranks", NULL));
        done += count;
    }
    return TR_OK;
}

static tr_status mpi_agree(tr_comm *comm, tr_status mine)
{
    int failed = mine == TR_OK ? comm->size : comm->rank, first;
    TR_TRY(check(MPI_Allreduce(&failed, &first, 1, MPI_INT, MPI_MIN, handle(comm)),
                 "comparing the ranks", NULL));
    comm->agreed_failure |= first != comm->size;
    if (first == comm->size)
        return TR_OK;
    struct {
        int status;
        char sentence[1024];
    } news = {.status = mine};
    strncpy(news.sentence, tr_error(), sizeof news.sentence - 1);
    TR_TRY(check(MPI_Bcast(&news, sizeof news, MPI_BYTE, first, handle(comm)),
                 "comparing the ranks", NULL));
    return tr_fail((tr_status)news.status, "%s", news.sentence);
}

static tr_status mpi_exchange(tr_comm *comm, const float *send, const size_t *send_counts,
                              float *recv, const size_t *recv_counts)
{
    size_t n = (size_t)comm->size;
    int *table = tr_calloc("an exchange", 4 * n, sizeof *table);
    if (!table)
        return TR_ERR_MEMORY;
    int *sends = table, *send_at = table + n, *recvs = table + 2 * n;
    int *recv_at = table + 3 * n;
    size_t from = 0, to = 0;
    for (size_t k = 0; k < n; k++) {
        sends[k] = (int)send_counts[k];
        recvs[k] = (int)recv_counts[k];
        send_at[k] = (int)from;
        recv_at[k] = (int)to;
        from += send_counts[k];
        to += recv_counts[k];
    }
    tr_status status = TR_OK;
    if (from > INT_MAX || to > INT_MAX)
        status = tr_fail(TR_ERR_UNAVAILABLE,
                         "%zu values at once are too many for MPI; use more processes",
                         from > to ? from : to);
    else
        status = check(MPI_Alltoallv(send, sends, send_at, MPI_FLOAT, recv, recvs,
                                     recv_at, MPI_FLOAT, handle(comm)),
                       "exchanging rows", NULL);
    free(table);
    return status;
}

/* What begin_exchange has begun. */
static struct {
    MPI_Request *requests;
    int n, room;
} begun;

static tr_status make_room(size_t messages)
{
    if (messages <= (size_t)begun.room)
        return TR_OK;
    MPI_Request *more = realloc(begun.requests, messages * sizeof *more);
    if (!more)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for an exchange");
    begun.requests = more;
    begun.room = (int)messages;
    return TR_OK;
}

/* Receive or send, in as many messages as MPI needs. */
static tr_status begin_block(const tr_comm *comm, float *data, size_t count, int rank,
                             bool receive)
{
    for (size_t done = 0; done < count; done += MAX_COUNT) {
        int n = (int)(count - done < MAX_COUNT ? count - done : MAX_COUNT);
        MPI_Request *request = &begun.requests[begun.n];
        int code =
            receive
                ? MPI_Irecv(data + done, n, MPI_FLOAT, rank, 0, handle(comm), request)
                : MPI_Isend(data + done, n, MPI_FLOAT, rank, 0, handle(comm), request);
        TR_TRY(check(code, "exchanging rows", NULL));
        begun.n++;
    }
    return TR_OK;
}

static size_t count_messages(const tr_comm *comm, const size_t *counts)
{
    size_t messages = 0;
    for (int k = 0; k < comm->size; k++)
        messages += (counts[k] + MAX_COUNT - 1) / MAX_COUNT;
    return messages;
}

static tr_status mpi_begin_exchange(tr_comm *comm, float *const *send,
                                    const size_t *send_counts, float *const *recv,
                                    const size_t *recv_counts)
{
    TR_ASSERT(begun.n == 0);
    TR_TRY(
        make_room(count_messages(comm, send_counts) + count_messages(comm, recv_counts)));
    for (int k = 0; k < comm->size; k++)
        if (k != comm->rank)
            TR_TRY(begin_block(comm, recv[k], recv_counts[k], k, true));
    /* Each rank begins with the one after it, so that not all send to the same. */
    for (int i = 1; i < comm->size; i++) {
        int k = (comm->rank + i) % comm->size;
        TR_TRY(begin_block(comm, send[k], send_counts[k], k, false));
    }
    return TR_OK;
}

static tr_status mpi_end_exchange(tr_comm *comm)
{
    (void)comm;
    int code = MPI_SUCCESS;
    for (int i = 0; i < begun.n && code == MPI_SUCCESS; i++)
        code = MPI_Wait(&begun.requests[i], MPI_STATUS_IGNORE);
    begun.n = 0;
    return check(code, "exchanging rows", NULL);
}

/* The path as MPI takes it, to be freed. A colon makes ROMIO, which is MPICH's, look for
 * the kind of file system before the first one, wherever that is: so we say which. */
static char *name_for_mpi(const char *path)
{
    const char *kind = "";
#if defined MPICH_VERSION || defined MPICH_NAME
    enum { NFS = 0x6969 }; /* statfs(2) */
    struct statfs system;
    if (strchr(path, ':'))
        kind = statfs(path, &system) == 0 && system.f_type == NFS ? "nfs:" : "ufs:";
#endif
    return tr_format_string("%s%s%s", kind,
                            strchr(path, ':') && path[0] != '/' ? "./" : "", path);
}

static tr_status mpi_open(tr_comm *comm, const char *path, tr_shared_file **file)
{
    tr_shared_file *f = tr_calloc("a file", 1, sizeof *f);
    char *copy = f ? tr_strdup(path) : NULL;
    char *name = copy ? name_for_mpi(path) : NULL;
    /* Before they open it together. */
    tr_status ready = mpi_agree(comm, name ? TR_OK : TR_ERR_MEMORY);
    if (ready != TR_OK || !f) {
        free(f);
        free(copy);
        free(name);
        return ready;
    }
    f->path = copy;
    tr_status status =
        check(MPI_File_open(handle(comm), name, MPI_MODE_RDWR, MPI_INFO_NULL, &f->file),
              "opening", path);
    free(name);
    if (status != TR_OK) {
        free(copy);
        free(f);
        return status;
    }
    *file = f;
    return TR_OK;
}

static tr_status mpi_read(tr_shared_file *file, uint64_t offset, void *data, size_t bytes)
{
    for (char *to = data; bytes;) {
        int count = bytes < MAX_COUNT ? (int)bytes : MAX_COUNT, got = 0;
        MPI_Status status;
        TR_TRY(check(MPI_File_read_at(file->file, (MPI_Offset)offset, to, count, MPI_BYTE,
                                      &status),
                     "reading", file->path));
        MPI_Get_count(&status, MPI_BYTE, &got);
        if (got <= 0)
            return tr_fail(TR_ERR_DATA, "reading %s failed: the file ends early",
                           file->path);
        to += got, offset += (uint64_t)got, bytes -= (size_t)got;
    }
    return TR_OK;
}

static tr_status mpi_write(tr_shared_file *file, uint64_t offset, const void *data,
                           size_t bytes)
{
    for (const char *from = data; bytes;) {
        int count = bytes < MAX_COUNT ? (int)bytes : MAX_COUNT, got = 0;
        MPI_Status status;
        TR_TRY(check(MPI_File_write_at(file->file, (MPI_Offset)offset, from, count,
                                       MPI_BYTE, &status),
                     "writing", file->path));
        MPI_Get_count(&status, MPI_BYTE, &got);
        if (got <= 0)
            return tr_fail(TR_ERR_DATA, "writing %s failed: no space left", file->path);
        from += got, offset += (uint64_t)got, bytes -= (size_t)got;
    }
    return TR_OK;
}

static tr_status mpi_close(tr_shared_file *file)
{
    tr_status status = check(MPI_File_close(&file->file), "writing", file->path);
    free(file->path);
    free(file);
    return status;
}

static void mpi_abort(tr_comm *comm, int exit_status)
{
    /* Launchers may end before they have passed on what was just printed. */
    const struct timespec moment = {.tv_nsec = 200 * 1000 * 1000};
    if (comm->size > 1) {
        nanosleep(&moment, NULL);
        MPI_Abort(MPI_COMM_WORLD, exit_status);
    }
}

static void finish_part(tr_comm *comm)
{
    MPI_Comm_free(&((mpi_comm *)comm)->handle);
    free(comm);
}

/* Rank and size, and the lowest rank on this machine; those on it may be wanted, too. */
static tr_status describe(mpi_comm *comm, int *local_rank, int *local_size)
{
    MPI_Comm local;
    const char *what = "finding the ranks of this machine";
    MPI_Comm_rank(comm->handle, &comm->base.rank);
    MPI_Comm_size(comm->handle, &comm->base.size);
    TR_TRY(check(
        MPI_Comm_split_type(comm->handle, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local),
        what, NULL));
    MPI_Comm_rank(local, local_rank);
    MPI_Comm_size(local, local_size);
    comm->base.machine = comm->base.rank;
    tr_status status =
        check(MPI_Bcast(&comm->base.machine, 1, MPI_INT, 0, local), what, NULL);
    MPI_Comm_free(&local);
    return status;
}

static tr_status mpi_split(tr_comm *comm, int group, tr_comm **part)
{
    static tr_comm_ops ops;
    int local_rank, local_size;
    mpi_comm *p = tr_calloc("a group of processes", 1, sizeof *p);
    tr_status status = comm->ops->agree(comm, p ? TR_OK : TR_ERR_MEMORY);
    if (status != TR_OK || !p) {
        free(p);
        return status;
    }
    ops = *comm->ops;
    ops.finish = finish_part;
    p->base = *comm; /* the others are on this machine at the same time */
    p->base.ops = &ops;
    p->base.agreed_failure = false;
    status = check(MPI_Comm_split(handle(comm), group, comm->rank, &p->handle),
                   "making groups of processes", NULL);
    if (status == TR_OK) {
        MPI_Comm_set_errhandler(p->handle, MPI_ERRORS_RETURN);
        status = describe(p, &local_rank, &local_size);
    }
    if (status != TR_OK)
        free(p);
    else
        *part = &p->base;
    return status;
}

static void mpi_finish(tr_comm *comm)
{
    (void)comm;
    free(begun.requests);
    begun.requests = NULL;
    begun.room = 0;
    MPI_Finalize();
}

/* Else what MPI opens takes the number of a standard stream that was closed, and gets our
 * messages. */
static void fill_standard_streams(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

/* Variables by which launchers tell a process how many there are, or its number. Slurm's
 * own for a job step: those for a job are there as well when a program runs alone. */
static const char *const counts[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE",
                                     "MV2_COMM_WORLD_SIZE", "JSM_NAMESPACE_SIZE",
                                     "SLURM_STEP_NUM_TASKS"};
static const char *const numbers[] = {"PMIX_RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK"};

static long number_in(const char *variable)
{
    const char *text = getenv(variable);
    char *end = NULL;
    long value = text ? strtol(text, &end, 10) : 0;
    return end && end != text && !*end ? value : 0;
}

/* The variable that tells of more than one process; NULL if none does. */
static const char *find_others(void)
{
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
        if (number_in(counts[k]) > 1)
            return counts[k];
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
        if (number_in(numbers[k]) > 0)
            return numbers[k];
    return NULL;
}

static tr_status check_launcher(void)
{
    const char *variable = find_others();
    char version[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    if (!variable)
        return TR_OK;
    MPI_Get_library_version(version, &length);
    for (char *c = version; *c; c++) /* of several lines, the first */
        if (*c == '\t')
            *c = ' ';
    version[strcspn(version, "\n,")] = '\0';
    return tr_fail(
        TR_ERR_UNAVAILABLE,
        "%s=%s tells of several processes, and MPI knows of one: this program "
        "was built with %.80s; start it with that one's mpiexec, or unset %s if "
        "each process is to be a run of its own",
        variable, getenv(variable), version, variable);
}

/* MPI shares memory through files, and would end on a limit of their size by a signal or
 * with pages of its own. */
static tr_status check_file_size_limit(void)
{
    enum { LEAST = 4 << 20 };
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
        limit.rlim_cur >= LEAST)
        return TR_OK;
    return tr_fail(TR_ERR_UNAVAILABLE,
                   "files may have only %llu bytes here (ulimit -f), too few for MPI; "
                   "allow larger ones",
                   (unsigned long long)limit.rlim_cur);
}

tr_status tr_comm_mpi(int *argc, char ***argv, tr_comm **comm)
{
    static const tr_comm_ops ops = {
        .sum = mpi_sum,
        .broadcast = mpi_broadcast,
        .agree = mpi_agree,
        .exchange = mpi_exchange,
        .begin_exchange = mpi_begin_exchange,
        .end_exchange = mpi_end_exchange,
        .open = mpi_open,
        .read = mpi_read,
        .write = mpi_write,
        .close = mpi_close,
        .split = mpi_split,
        .abort = mpi_abort,
        .finish = mpi_finish,
    };
    static mpi_comm world = {.base = {.ops = &ops}};
    int provided = 0;
    fill_standard_streams();
    TR_TRY(check_file_size_limit());
    /* The writer thread writes while the main thread makes no calls. */
    TR_TRY(check(MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &provided),
                 "starting MPI", NULL));
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (provided < MPI_THREAD_SERIALIZED)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "this MPI library does not support calls from several threads");
    world.handle = MPI_COMM_WORLD;
    TR_TRY(describe(&world, &world.base.local_rank, &world.base.local_size));
    tr_status status = world.base.size == 1 ? check_launcher() : TR_OK;
    if (status != TR_OK)
        MPI_Finalize();
    else
        *comm = &world.base;
    return status;
}
