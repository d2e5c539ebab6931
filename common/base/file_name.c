#include "common/base/file_name.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"

const char *tr_name_only(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *tr_name_beside(const char *path, const char *what)
{
    const char *name = tr_name_only(path);
    return tr_format_string("%.*s.%s.%s", (int)(name - path), path, name, what);
}

char *tr_name_folder(const char *path)
{
    const char *name = tr_name_only(path);
    return name == path ? tr_strdup("./")
                        : tr_format_string("%.*s", (int)(name - path), path);
}

size_t tr_name_stem(const char *path)
{
    const char *name = tr_name_only(path), *dot = strrchr(name, '.');
    return dot && dot > name ? (size_t)(dot - path) : strlen(path);
}

bool tr_same_file(const char *a, const char *b)
{
    struct stat x, y;
    if (!a || !b)
        return false;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

tr_file_id tr_file_id_open(int fd)
{
    struct stat s;
    if (fd < 0 || fstat(fd, &s) != 0)
        return (tr_file_id){.known = false};
    return (tr_file_id){true, s.st_dev, s.st_ino};
}

tr_file_id tr_file_id_named(const char *path)
{
    struct stat s;
    if (lstat(path, &s) != 0)
        return (tr_file_id){.known = false};
    return (tr_file_id){true, s.st_dev, s.st_ino};
}

bool tr_file_is(const char *path, const tr_file_id *id)
{
    tr_file_id now = tr_file_id_named(path);
    return id->known && now.known && now.device == id->device && now.number == id->number;
}

int tr_file_create(const char *path, mode_t mode)
{
    for (int tries = 0; tries < 3; tries++) {
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (fd >= 0 || errno != EEXIST)
            return fd;
        if (unlink(path) != 0 && errno != ENOENT)
            return -1;
    }
    errno = EEXIST; /* something makes it again and again */
    return -1;
}

/* Where the file system has no files without names: one that loses it before a signal can
 * end the program. */
static int make_and_unlink(const char *folder)
{
    char *path = tr_format_string("%stiltrec-XXXXXX", folder);
    if (!path)
        return -1;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int fd = mkostemp(path, O_CLOEXEC), error = errno;
    if (fd >= 0)
        unlink(path);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    free(path);
    errno = error;
    return fd;
}

int tr_file_unnamed(const char *path)
{
    char *folder = tr_name_folder(path);
    if (!folder) {
        errno = ENOMEM;
        return -1;
    }
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
        fd = make_and_unlink(folder);
    int error = errno;
    free(folder);
    errno = error;
    return fd;
}

/* ---- small files ---- */

static tr_status cannot_write(const char *path)
{
    return tr_fail(TR_ERR_DATA, "%s cannot be written: %s", path, strerror(errno));
}

tr_status tr_whole_file_begin(const char *path, tr_whole_file *w)
{
    struct stat there;
    bool direct = stat(path, &there) == 0 && !S_ISREG(there.st_mode);
    *w = (tr_whole_file){.path = path};
    if (!direct && !(w->fresh = tr_name_beside(path, "partial")))
        return TR_ERR_MEMORY;
    int fd = direct ? open(path, O_WRONLY | O_CLOEXEC) : tr_file_create(w->fresh, 0666);
    w->file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (w->file)
        return TR_OK;
    tr_status status = cannot_write(path);
    if (fd >= 0) {
        close(fd);
        if (w->fresh)
            unlink(w->fresh);
    }
    free(w->fresh);
    return status;
}

tr_status tr_whole_file_end(tr_whole_file *w, bool good)
{
    good = fflush(w->file) == 0 && good;
    int error = errno, fd = fileno(w->file);
    const tr_file_id id = tr_file_id_open(fd);
    if (good && w->fresh && fsync(fd) != 0 && errno != EINVAL && errno != ENOSYS) {
        good = false;
        error = errno;
    }
    if (fclose(w->file) != 0 && good) {
        good = false;
        error = errno;
    }
    bool ours = w->fresh && tr_file_is(w->fresh, &id);
    if (good && w->fresh && (!ours || rename(w->fresh, w->path) != 0)) {
        good = false;
        error = ours ? errno : ESTALE;
    }
    if (!good && ours)
        unlink(w->fresh);
    free(w->fresh);
    errno = error;
    return good ? TR_OK : cannot_write(w->path);
}
