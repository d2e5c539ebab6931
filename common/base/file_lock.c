#include "common/base/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/file_name.h"
#include "common/base/mem.h"

/* Those that are held. A name is the last that is set and the first that is cleared. */
static struct {
    char *volatile name;
    tr_file_id id;
    int fd; /* on which the lock of flock(2) is; -1: it is another process's */
} locks[TR_MOST_LOCKS];

/* ---- whose it is ---- */

enum { FIELDS = 8, FIELD_BYTES = 80 };
static const char *const fields[FIELDS] = {"host",    "machine", "boot",    "space",
                                           "process", "begun",   "program", "since"};
enum { HOST, MACHINE, BOOT, SPACE, PROCESS, BEGUN, PROGRAM, SINCE };

typedef struct owner {
    char field[FIELDS][FIELD_BYTES];
} owner;

/* Without a stream, whose memory might be missing. */
static void read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, size - 1) : 0;
    text[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        close(fd);
}

static void read_line(const char *path, char *line)
{
    read_text(path, line, FIELD_BYTES);
    line[strcspn(line, "\n")] = '\0';
}

/* When a process began, in ticks since the machine did; 0: it does not run; 1: it does,
 * but nothing more can be seen of it. */
static unsigned long long begun(long process)
{
    char path[64], text[1024] = "", state = 0;
    unsigned long long at = 1;
    if (process < 1 || (kill((pid_t)process, 0) != 0 && errno == ESRCH))
        return 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", process);
    read_text(path, text, sizeof text);
    /* The second field is a name, which can hold anything; the 22nd is the time. */
    const char *rest = strrchr(text, ')');
    if (!rest || sscanf(rest + 1,
                        " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                        "%*s %*s %*s %*s %llu",
                        &state, &at) != 2)
        return 1;
    return state == 'Z' || state == 'X' ? 0 : at;
}

static void describe_myself(owner *me)
{
    *me = (owner){.field = {""}};
    gethostname(me->field[HOST], FIELD_BYTES - 1);
    read_line("/etc/machine-id", me->field[MACHINE]);
    read_line("/proc/sys/kernel/random/boot_id", me->field[BOOT]);
    if (readlink("/proc/self/ns/pid", me->field[SPACE], FIELD_BYTES - 1) < 0)
        me->field[SPACE][0] = '\0';
    snprintf(me->field[PROCESS], FIELD_BYTES, "%ld", (long)getpid());
    snprintf(me->field[BEGUN], FIELD_BYTES, "%llu", begun(getpid()));
    snprintf(me->field[PROGRAM], FIELD_BYTES, "%.70s", program_invocation_short_name);
    time_t now = time(NULL);
    struct tm local;
    if (localtime_r(&now, &local))
        strftime(me->field[SINCE], FIELD_BYTES, "%F %T", &local);
}

static bool write_owner(int fd, const owner *me)
{
    char text[FIELDS * (FIELD_BYTES + 16)];
    int n = 0;
    for (int k = 0; k < FIELDS; k++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s %s\n", fields[k],
                      me->field[k]);
    for (int done = 0; done < n;) {
        ssize_t written = write(fd, text + done, (size_t)(n - done));
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        done += (int)written;
    }
    return true;
}

/* Whether all of it is there. */
static bool read_owner(int fd, owner *them)
{
    char text[FIELDS * (FIELD_BYTES + 16) + 1], *line = text;
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    *them = (owner){.field = {""}};
    if (n < 0)
        return false;
    text[n] = '\0';
    for (int k = 0; k < FIELDS; k++) {
        size_t name = strlen(fields[k]), length = strcspn(line, "\n");
        if (strncmp(line, fields[k], name) != 0 || line[name] != ' ' ||
            line[length] != '\n' || length - name - 1 >= FIELD_BYTES)
            return false;
        memcpy(them->field[k], line + name + 1, length - name - 1);
        line += length + 1;
    }
    return true;
}

typedef enum fate { ALIVE, DEAD, ELSEWHERE } fate;

static bool is_same(const owner *a, const owner *b, int field)
{
    return a->field[field][0] && strcmp(a->field[field], b->field[field]) == 0;
}

/* Of the owner of the lock that `fd` is. A process of another container has another
 * number here; on one machine, however, flock(2) is seen by all. */
static fate judge(int fd, const owner *them, const owner *me)
{
    if (is_same(them, me, HOST) && is_same(them, me, BOOT) && is_same(them, me, SPACE)) {
        unsigned long long now = begun(strtol(them->field[PROCESS], NULL, 10));
        return now == 1 || now == strtoull(them->field[BEGUN], NULL, 10) ? ALIVE : DEAD;
    }
    if (is_same(them, me, BOOT)) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return DEAD;
        return errno == EWOULDBLOCK ? ALIVE : ELSEWHERE;
    }
    if (is_same(them, me, HOST) && is_same(them, me, MACHINE) && them->field[BOOT][0])
        return DEAD; /* the machine has started anew since */
    return ELSEWHERE;
}

/* ---- taking it ---- */

static tr_status refuse(const char *path, const char *name, const owner *them, fate f)
{
    if (f == ALIVE)
        return tr_fail(
            TR_ERR_DATA,
            "another run writes %s: process %s on %s (%s, since %s); wait until "
            "it ends, or choose another name",
            path, them->field[PROCESS], them->field[HOST], them->field[PROGRAM],
            them->field[SINCE]);
    return tr_fail(
        TR_ERR_DATA,
        "another run writes %s: process %s on %s (%s, since %s); wait until it "
        "ends, or choose another name; if there is no such process on that "
        "machine any more, remove %s",
        path, them->field[PROCESS], them->field[HOST], them->field[PROGRAM],
        them->field[SINCE], name);
}

static void wait_a_moment(void)
{
    const struct timespec moment = {.tv_nsec = 5 * 1000 * 1000};
    nanosleep(&moment, NULL);
}

/* The lock of a dead process. Only who has flock(2) on it removes it, and only while it
 * has its name, so nobody removes the next one's. */
static tr_status remove_dead(int fd, const char *name)
{
    const tr_file_id id = tr_file_id_open(fd);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return TR_OK; /* another run is about to */
    if (tr_file_is(name, &id) && unlink(name) != 0 && errno != ENOENT)
        return tr_fail(TR_ERR_DATA,
                       "%s is the lock of a run that has died, and cannot be removed: %s",
                       name, strerror(errno));
    return TR_OK;
}

/* The lock that is there: TR_OK where it may be gone by now. `last`: it is no longer to
 * be waited for that its owner writes it. */
static tr_status look(const char *path, const char *name, const owner *me, bool last)
{
    owner them;
    int fd = open(name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == EACCES || errno == EROFS))
        fd = open(name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT || errno == ESTALE
                   ? TR_OK
                   : tr_fail(TR_ERR_DATA,
                             "%s, the lock of %s, cannot be opened: %s; "
                             "remove it if no run writes %s",
                             name, path, strerror(errno), path);
    tr_status status = TR_OK;
    if (!read_owner(fd, &them)) {
        if (last)
            status =
                tr_fail(TR_ERR_DATA,
                        "%s does not say which run writes %s; remove it if none does",
                        name, path);
    } else {
        fate f = judge(fd, &them, me);
        status = f == DEAD ? remove_dead(fd, name) : refuse(path, name, &them, f);
    }
    close(fd);
    return status;
}

/* A further name for the file that `fd` is; `fresh` is the one that it has, or NULL. A
 * server's answer can be lost, so the number of names counts. */
static bool link_it(int fd, const char *fresh, const char *name)
{
    struct stat s;
    char open_file[40];
    snprintf(open_file, sizeof open_file, "/proc/self/fd/%d", fd);
    if (!fresh)
        return linkat(AT_FDCWD, open_file, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0;
    return link(fresh, name) == 0 || (fstat(fd, &s) == 0 && s.st_nlink == 2);
}

/* The name for the file that `fd` is: 1; 0: it is another's; -1 with errno. */
static int give_name(int *fd, const char *fresh, const char *name, const owner *me)
{
    if (link_it(*fd, fresh, name))
        return 1;
    if (errno == EEXIST)
        return 0;
    if (fresh && errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS &&
        errno != EMLINK)
        return -1;
    /* A file system without links. */
    int own = open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (own < 0)
        return errno == EEXIST ? 0 : -1;
    (void)flock(own, LOCK_EX | LOCK_NB);
    if (!write_owner(own, me)) {
        int error = errno;
        unlink(name);
        close(own);
        errno = error;
        return -1;
    }
    close(*fd);
    *fd = own;
    return 1;
}

/* A run that owns another file already may meet one that was refused that, and is only
 * saying so in a result of the same name: worth a moment's patience. */
static bool owns_any(void)
{
    for (int k = 0; k < TR_MOST_LOCKS; k++)
        if (locks[k].name)
            return true;
    return false;
}

static tr_status compete(const char *path, const char *fresh, const char *name, int *fd,
                         const owner *me)
{
    enum { TRIES = 200 };
    for (int k = 1; k <= TRIES; k++) {
        int given = give_name(fd, fresh, name, me);
        if (given > 0)
            return TR_OK;
        if (given < 0)
            break;
        tr_status status = look(path, name, me, k == TRIES);
        if (status != TR_OK && (k == TRIES || !owns_any()))
            return status;
        if (k > 1)
            wait_a_moment();
    }
    return tr_fail(TR_ERR_DATA,
                   "%s, which keeps other runs from writing %s, cannot be "
                   "made: %s",
                   name, path, strerror(errno));
}

static int find(const char *name)
{
    int k = 0;
    while (k < TR_MOST_LOCKS && (!locks[k].name || strcmp(locks[k].name, name) != 0))
        k++;
    return k;
}

/* As held; the name stays there. */
static void put_away(char *name, int fd, tr_file_id id)
{
    int k = 0;
    while (k < TR_MOST_LOCKS && locks[k].name)
        k++;
    TR_ASSERT(k < TR_MOST_LOCKS);
    locks[k].fd = fd;
    locks[k].id = id;
    __atomic_thread_fence(__ATOMIC_RELEASE); /* a signal handler may look */
    locks[k].name = name;
}

static tr_status take(const char *path, char *name, const char *fresh, bool *held)
{
    owner me;
    describe_myself(&me);
    /* Without a name, where the file system can: then nothing is left of a process that
     * is killed before the lock has its own. */
    char *folder = tr_name_folder(name);
    int fd = folder ? open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666) : -1;
    free(folder);
    if (fd >= 0)
        fresh = NULL;
    else
        fd = tr_file_create(fresh, 0666);
    tr_status status = TR_OK;
    bool made = fd >= 0;
    /* flock(2) before it has its name: who finds a lock without has to do with a dead
     * process. */
    if (made) {
        (void)flock(fd, LOCK_EX | LOCK_NB);
        made = write_owner(fd, &me);
    }
    if (!made)
        status = tr_fail(TR_ERR_DATA,
                         "%s, which keeps other runs from writing %s, "
                         "cannot be made: %s",
                         name, path, strerror(errno));
    if (status == TR_OK)
        status = compete(path, fresh, name, &fd, &me);
    if (status == TR_OK) {
        put_away(name, fd, tr_file_id_open(fd));
        *held = true;
    } else if (fd >= 0) {
        close(fd);
    }
    if (fresh)
        unlink(fresh);
    return status;
}

static tr_status take_without_signals(const char *path, char *name, bool *held)
{
    char host[FIELD_BYTES] = "";
    gethostname(host, sizeof host - 1);
    char *fresh = tr_format_string("%s-%s-%ld", name, host, (long)getpid());
    if (!fresh)
        return TR_ERR_MEMORY;
    sigset_t ending, before; /* nothing would remove `fresh` */
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &ending, &before);
    tr_status status = take(path, name, fresh, held);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    free(fresh);
    return status;
}

tr_status tr_lock_take(const char *path)
{
    char *name = tr_name_beside(path, "lock");
    bool held = false;
    tr_status status = name ? TR_OK : TR_ERR_MEMORY;
    if (name && find(name) == TR_MOST_LOCKS)
        status = take_without_signals(path, name, &held);
    if (!held)
        free(name);
    return status;
}

tr_status tr_lock_join(const char *path)
{
    char *name = tr_name_beside(path, "lock");
    if (!name)
        return TR_ERR_MEMORY;
    put_away(name, -1, tr_file_id_named(name));
    return TR_OK;
}

void tr_lock_remove_dead(const char *file)
{
    owner me, them;
    int fd = open(file, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    describe_myself(&me);
    if (fd >= 0 && read_owner(fd, &them) && judge(fd, &them, &me) == DEAD)
        (void)remove_dead(fd, file);
    if (fd >= 0)
        close(fd);
}

bool tr_lock_is_held(const char *path)
{
    char *name = tr_name_beside(path, "lock");
    bool held = name && find(name) < TR_MOST_LOCKS;
    free(name);
    return held;
}

/* Async-signal-safe. */
static void let_go(int k)
{
    const char *name = locks[k].name;
    if (!name)
        return;
    locks[k].name = NULL;
    if (tr_file_is(name, &locks[k].id))
        unlink(name);
    if (locks[k].fd >= 0)
        close(locks[k].fd);
}

void tr_lock_release(const char *path)
{
    char *name = tr_name_beside(path, "lock");
    int k = name ? find(name) : TR_MOST_LOCKS;
    if (k < TR_MOST_LOCKS) {
        char *held = locks[k].name;
        let_go(k);
        free(held);
    }
    free(name);
}

void tr_lock_release_all(void)
{
    for (int k = 0; k < TR_MOST_LOCKS; k++) {
        char *name = locks[k].name;
        if (locks[k].fd >= 0)
            let_go(k);
        else
            locks[k].name = NULL;
        free(name);
    }
}

void tr_lock_abandon_all(void)
{
    for (int k = 0; k < TR_MOST_LOCKS; k++)
        let_go(k);
}
