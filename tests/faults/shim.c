/* A library to be preloaded (LD_PRELOAD) that makes calls fail on purpose, for tests of
 * what the programs do then.
 *
 *   TR_FAULT=OP:K:WHAT[,OP:K:WHAT ...]   what fails; K: the K-th call from 1, K+: from
 * the K-th on, 0: none, they are only counted TR_FAULT_PATH=TEXT                   files
 * whose path contains it TR_FAULT_RANK=R                      only in rank R of mpiexec
 *   TR_FAULT_CALLER=TEXT                 alloc: calls from the library whose name
 * contains it (default: from the program itself) TR_FAULT_LOG=FILE gets "fault OP K" for
 * each fault, and at a normal end "count OP N" for each rule
 *
 * OP: open, read, write, flush, sync, truncate, rename, close (of the files of that
 * path); alloc: memory of any kind, threads, plans of FFTW; tick: looking at the clock,
 * as every stage does; mpi: collective calls. WHAT: an error (ENOSPC, EIO, ENOMEM ...),
 * short (a part is read or written), flip (what is written has a wrong bit), shrink (the
 * file is halved, then read), or a signal
 * (KILL, TERM).
 *
 * Streams (FILE) fail in the call, not when their buffer is written: what the C library
 * does within itself cannot be replaced. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fftw3.h>
#include <link.h>
#include <mpi.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define CALLER __builtin_return_address(0)

static const char *const op_names[] = {"open",  "read",     "write",  "flush",
                                       "sync",  "truncate", "rename", "close",
                                       "alloc", "tick",     "mpi"};
enum { OPEN, READ, WRITE, FLUSH, SYNC, TRUNCATE, RENAME, CLOSE, ALLOC, TICK, MPI, N_OPS };

static const struct {
    const char *name;
    int value;
} errors[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO},       {"ENOMEM", ENOMEM},
              {"EACCES", EACCES}, {"EDQUOT", EDQUOT}, {"EMFILE", EMFILE},
              {"ESTALE", ESTALE}, {"EAGAIN", EAGAIN}},
  signals[] = {{"KILL", SIGKILL}, {"TERM", SIGTERM}};

enum {
    SHORT = -1,
    SHRINK = -2,
    FLIP = -3,
    SIGNAL = -100
}; /* beside errno's positive values */

typedef struct rule {
    int op, what;
    long first;
    bool onwards;
    atomic_long count;
} rule;

enum { MAX_RULES = 4, PATH_BYTES = 4096 };
static rule rules[MAX_RULES];
static int n_rules;
static const char *wanted_path, *caller_name, *log_name;
static uintptr_t caller_low, caller_high;

/* ---- what was asked for ---- */

static int parse_what(const char *text)
{
    if (strcmp(text, "short") == 0)
        return SHORT;
    if (strcmp(text, "shrink") == 0)
        return SHRINK;
    if (strcmp(text, "flip") == 0)
        return FLIP;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (strcmp(text, errors[i].name) == 0)
            return errors[i].value;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (strcmp(text, signals[i].name) == 0)
            return SIGNAL - signals[i].value;
    return 0;
}

static void wrong(const char *text)
{
    static const char message[] = "TR_FAULT is not understood: ";
    (void)!write(STDERR_FILENO, message, sizeof message - 1);
    (void)!write(STDERR_FILENO, text, strlen(text));
    (void)!write(STDERR_FILENO, "\n", 1);
    _exit(99);
}

static void parse(const char *text)
{
    char op[16], number[24], what[16];
    int used = 0;
    for (const char *p = text; *p; p += *p == ',') {
        if (n_rules == MAX_RULES ||
            sscanf(p, "%15[a-z]:%23[0-9+]:%15[A-Za-z]%n", op, number, what, &used) != 3)
            wrong(p);
        rule *r = &rules[n_rules++];
        for (r->op = 0; r->op < N_OPS && strcmp(op, op_names[r->op]) != 0; r->op++)
            ;
        r->first = strtol(number, NULL, 10);
        r->onwards = strchr(number, '+') != NULL;
        r->what = parse_what(what);
        if (r->op == N_OPS || (!r->what && r->first))
            wrong(p);
        p += used;
    }
}

/* The addresses of the program, which comes first and has no name, or of the library. */
static int find_caller(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    if (caller_name ? !strstr(info->dlpi_name, caller_name) : info->dlpi_name[0] != '\0')
        return 0;
    caller_low = UINTPTR_MAX;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t low = info->dlpi_addr + part->p_vaddr;
        if (part->p_type != PT_LOAD)
            continue;
        caller_low = low < caller_low ? low : caller_low;
        caller_high =
            low + part->p_memsz > caller_high ? low + part->p_memsz : caller_high;
    }
    return 1;
}

static bool rank_is_wanted(void)
{
    const char *wanted = getenv("TR_FAULT_RANK"), *rank = getenv("PMI_RANK");
    if (!rank)
        rank = getenv("OMPI_COMM_WORLD_RANK");
    return !wanted || (rank && strcmp(wanted, rank) == 0);
}

__attribute__((constructor)) static void begin(void)
{
    const char *text = getenv("TR_FAULT");
    wanted_path = getenv("TR_FAULT_PATH");
    caller_name = getenv("TR_FAULT_CALLER");
    log_name = getenv("TR_FAULT_LOG");
    if (!text || !rank_is_wanted())
        return;
    dl_iterate_phdr(find_caller, NULL);
    parse(text);
}

/* ---- the log ---- */

static void note(const char *kind, const rule *r, long number)
{
    char line[64];
    int length =
        snprintf(line, sizeof line, "%s %s %ld\n", kind, op_names[r->op], number);
    int fd = log_name ? (int)syscall(SYS_openat, AT_FDCWD, log_name,
                                     O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)
                      : -1;
    if (fd < 0)
        return;
    (void)!syscall(SYS_write, fd, line, (size_t)length);
    syscall(SYS_close, fd);
}

__attribute__((destructor)) static void end(void)
{
    for (int i = 0; i < n_rules; i++)
        note("count", &rules[i], rules[i].count);
}

/* ---- whether a call fails ---- */

/* 0, an errno (also set), SHORT, SHRINK or FLIP; a signal arrives before it returns. */
static int count(int op)
{
    for (int i = 0; i < n_rules; i++) {
        rule *r = &rules[i];
        if (r->op != op)
            continue;
        long k = atomic_fetch_add(&r->count, 1) + 1;
        if (!r->first || k < r->first || (k > r->first && !r->onwards))
            continue;
        int before = errno;
        if (k == r->first)
            note("fault", r, k);
        errno = r->what > 0 ? r->what : before;
        if (r->what > SIGNAL)
            return r->what;
        kill(getpid(), SIGNAL - r->what);
    }
    return 0;
}

static int count_path(int op, const char *path)
{
    return n_rules && wanted_path && path && strstr(path, wanted_path) ? count(op) : 0;
}

static int count_fd(int op, int fd)
{
    char link[32], path[PATH_BYTES];
    if (!n_rules || fd < 0)
        return 0;
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    errno = before;
    return count_path(op, path);
}

static int count_stream(int op, FILE *stream)
{
    return n_rules && stream ? count_fd(op, fileno(stream)) : 0;
}

static bool is_wanted(const void *caller)
{
    return n_rules && (uintptr_t)caller >= caller_low && (uintptr_t)caller < caller_high;
}

static bool no_memory(const void *caller)
{
    return is_wanted(caller) && count(ALLOC) > 0;
}

static void halve(int fd)
{
    struct stat file;
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (fstat(fd, &file) == 0)
        (void)!truncate(link, file.st_size / 2);
}

static size_t part_of(size_t bytes) { return bytes > 1 ? 1 + bytes / 3 : bytes; }

/* Whether the call goes on, with the bytes it is to transfer. */
static bool transfers(int op, int fd, size_t *bytes)
{
    int fault = count_fd(op, fd);
    if (fault == SHORT)
        *bytes = part_of(*bytes);
    if (fault == SHRINK)
        halve(fd);
    return fault <= 0;
}

/* ---- memory ---- */

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

void *malloc(size_t bytes) { return no_memory(CALLER) ? NULL : __libc_malloc(bytes); }

void *calloc(size_t n, size_t bytes)
{
    return no_memory(CALLER) ? NULL : __libc_calloc(n, bytes);
}

void *realloc(void *old, size_t bytes)
{
    return no_memory(CALLER) ? NULL : __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return no_memory(CALLER) ? NULL : __libc_memalign(alignment, bytes);
}

int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    if (no_memory(CALLER))
        return ENOMEM;
    void *got = __libc_memalign(alignment, bytes);
    if (got)
        *memory = got;
    return got ? 0 : ENOMEM;
}

/* The next definition of a function, with its type. */
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Functions of libraries that allocate for the program. */
#define ALLOCATES(type, name, failure, parameters, ...)                                  \
    type name parameters                                                                 \
    {                                                                                    \
        return no_memory(CALLER) ? (failure) : NEXT(name)(__VA_ARGS__);                  \
    }

ALLOCATES(char *, strdup, NULL, (const char *text), text)
ALLOCATES(char *, strndup, NULL, (const char *text, size_t n), text, n)
ALLOCATES(FILE *, open_memstream, NULL, (char **text, size_t *size), text, size)
ALLOCATES(gzFile, gzdopen, NULL, (int fd, const char *mode), fd, mode)
ALLOCATES(int, pthread_create, EAGAIN,
          (pthread_t * thread, const pthread_attr_t *attributes, void *(*start)(void *),
           void *argument),
          thread, attributes, start, argument)
ALLOCATES(int, scandir64, -1,
          (const char *folder, struct dirent64 ***names,
           int (*filter)(const struct dirent64 *),
           int (*compare)(const struct dirent64 **, const struct dirent64 **)),
          folder, names, filter, compare)
ALLOCATES(float *, fftwf_alloc_real, NULL, (size_t n), n)
ALLOCATES(fftwf_complex *, fftwf_alloc_complex, NULL, (size_t n), n)
ALLOCATES(fftwf_plan, fftwf_plan_dft_r2c_2d, NULL,
          (int n0, int n1, float *in, fftwf_complex *out, unsigned flags), n0, n1, in,
          out, flags)
ALLOCATES(fftwf_plan, fftwf_plan_dft_c2r_2d, NULL,
          (int n0, int n1, fftwf_complex *in, float *out, unsigned flags), n0, n1, in,
          out, flags)
ALLOCATES(fftwf_plan, fftwf_plan_many_dft, NULL,
          (int rank, const int *n, int many, fftwf_complex *in, const int *in_size,
           int in_step, int in_next, fftwf_complex *out, const int *out_size,
           int out_step, int out_next, int sign, unsigned flags),
          rank, n, many, in, in_size, in_step, in_next, out, out_size, out_step, out_next,
          sign, flags)

int vasprintf(char **text, const char *format, va_list arguments)
{
    return no_memory(CALLER) ? -1 : NEXT(vasprintf)(text, format, arguments);
}

int __vasprintf_chk(char **text, int flag, const char *format, va_list arguments);
int __vasprintf_chk(char **text, int flag, const char *format, va_list arguments)
{
    return no_memory(CALLER) ? -1 : NEXT(__vasprintf_chk)(text, flag, format, arguments);
}

/* ---- files ---- */

/* The second argument that open has with these flags. */
#define OPEN_MODE(flags, mode)                                                           \
    do {                                                                                 \
        va_list rest;                                                                    \
        va_start(rest, flags);                                                           \
        (mode) = (flags) & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;             \
        va_end(rest);                                                                    \
    } while (0)

static int open_file(int folder, const char *path, int flags, mode_t mode)
{
    if (count_path(OPEN, path) > 0)
        return -1;
    return (int)syscall(SYS_openat, folder, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    mode_t mode;
    OPEN_MODE(flags, mode);
    return open_file(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    mode_t mode;
    OPEN_MODE(flags, mode);
    return open_file(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
    mode_t mode;
    OPEN_MODE(flags, mode);
    return open_file(folder, path, flags, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    return count_path(OPEN, path) > 0 ? NULL : NEXT(fopen)(path, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
    return count_path(OPEN, path) > 0 ? NULL : NEXT(fopen64)(path, mode);
}

ssize_t read(int fd, void *to, size_t bytes)
{
    return transfers(READ, fd, &bytes) ? syscall(SYS_read, fd, to, bytes) : -1;
}

ssize_t pread(int fd, void *to, size_t bytes, off_t at)
{
    return transfers(READ, fd, &bytes) ? syscall(SYS_pread64, fd, to, bytes, at) : -1;
}

ssize_t pread64(int fd, void *to, size_t bytes, off64_t at)
{
    return pread(fd, to, bytes, at);
}

/* At the file's position if `at` is negative. */
static ssize_t write_out(int fd, const void *from, size_t bytes, off_t at)
{
    int fault = count_fd(WRITE, fd);
    char *wrong = fault == FLIP && bytes ? __libc_malloc(bytes) : NULL;
    if (fault > 0)
        return -1;
    if (fault == SHORT)
        bytes = part_of(bytes);
    if (wrong) {
        memcpy(wrong, from, bytes);
        wrong[bytes / 5] ^= 0x10;
        from = wrong;
    }
    ssize_t written = at < 0 ? syscall(SYS_write, fd, from, bytes)
                             : syscall(SYS_pwrite64, fd, from, bytes, at);
    free(wrong);
    return written;
}

ssize_t write(int fd, const void *from, size_t bytes)
{
    return write_out(fd, from, bytes, -1);
}

ssize_t pwrite(int fd, const void *from, size_t bytes, off_t at)
{
    return write_out(fd, from, bytes, at);
}

ssize_t pwrite64(int fd, const void *from, size_t bytes, off64_t at)
{
    return pwrite(fd, from, bytes, at);
}

/* A stream that has failed says so to ferror, by glibc's own flag. */
static void mark(FILE *stream) { stream->_flags |= 0x20; }

static bool stream_fails(int op, FILE *stream)
{
    int fault = count_stream(op, stream);
    if (fault == SHRINK)
        halve(fileno(stream));
    if (fault > 0)
        mark(stream);
    return fault > 0;
}

size_t fread(void *to, size_t size, size_t n, FILE *stream)
{
    return stream_fails(READ, stream) ? 0 : NEXT(fread)(to, size, n, stream);
}

size_t __fread_chk(void *to, size_t room, size_t size, size_t n, FILE *stream);
size_t __fread_chk(void *to, size_t room, size_t size, size_t n, FILE *stream)
{
    (void)room;
    return fread(to, size, n, stream);
}

size_t fwrite(const void *from, size_t size, size_t n, FILE *stream)
{
    return stream_fails(WRITE, stream) ? 0 : NEXT(fwrite)(from, size, n, stream);
}

int __fprintf_chk(FILE *stream, int flag, const char *format, ...);
int __fprintf_chk(FILE *stream, int flag, const char *format, ...)
{
    (void)flag;
    if (stream_fails(WRITE, stream))
        return -1;
    va_list arguments;
    va_start(arguments, format);
    int n = vfprintf(stream, format, arguments);
    va_end(arguments);
    return n;
}

int fflush(FILE *stream)
{
    return stream_fails(FLUSH, stream) ? EOF : NEXT(fflush)(stream);
}

int fclose(FILE *stream)
{
    int fault = count_stream(CLOSE, stream);
    int result = NEXT(fclose)(stream);
    errno = fault > 0 ? fault : errno;
    return fault > 0 ? EOF : result;
}

int close(int fd)
{
    int fault = count_fd(CLOSE, fd);
    int result = (int)syscall(SYS_close, fd);
    errno = fault > 0 ? fault : errno;
    return fault > 0 ? -1 : result;
}

int fsync(int fd) { return count_fd(SYNC, fd) > 0 ? -1 : (int)syscall(SYS_fsync, fd); }

int fdatasync(int fd)
{
    return count_fd(SYNC, fd) > 0 ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int ftruncate(int fd, off_t size)
{
    return count_fd(TRUNCATE, fd) > 0 ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int fallocate(int fd, int mode, off_t at, off_t size)
{
    return count_fd(TRUNCATE, fd) > 0 ? -1
                                      : (int)syscall(SYS_fallocate, fd, mode, at, size);
}

int fallocate64(int fd, int mode, off64_t at, off64_t size)
{
    return fallocate(fd, mode, at, size);
}

int posix_fallocate(int fd, off_t at, off_t size)
{
    int fault = count_fd(TRUNCATE, fd);
    return fault > 0 ? fault : NEXT(posix_fallocate)(fd, at, size);
}

int posix_fallocate64(int fd, off64_t at, off64_t size)
{
    return posix_fallocate(fd, at, size);
}

int rename(const char *from, const char *to)
{
    bool wanted = wanted_path && strstr(from, wanted_path);
    if (count_path(RENAME, wanted ? from : to) > 0)
        return -1;
    return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

/* ---- stages ---- */

int clock_gettime(clockid_t clock, struct timespec *time)
{
    if (is_wanted(CALLER))
        (void)count(TICK);
    return (int)syscall(SYS_clock_gettime, clock, time);
}

int MPI_Allreduce(const void *send, void *recv, int n, MPI_Datatype type, MPI_Op op,
                  MPI_Comm comm)
{
    return count(MPI) > 0 ? MPI_ERR_OTHER : PMPI_Allreduce(send, recv, n, type, op, comm);
}

int MPI_Alltoallv(const void *send, const int *send_n, const int *send_at,
                  MPI_Datatype out, void *recv, const int *recv_n, const int *recv_at,
                  MPI_Datatype in, MPI_Comm comm)
{
    return count(MPI) > 0 ? MPI_ERR_OTHER
                          : PMPI_Alltoallv(send, send_n, send_at, out, recv, recv_n,
                                           recv_at, in, comm);
}
