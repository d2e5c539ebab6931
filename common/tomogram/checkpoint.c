#include "common/tomogram/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "common/tomogram/fingerprint.h"
#include "common/base/file_name.h"
#include "common/base/mem.h"

static const char MAGIC[8] = "TRCKPT1";

/* The file: header, fingerprint, pieces; its last four bytes are the CRC-32 of all before
 * them. */
typedef struct header {
    char magic[8];
    uint64_t fingerprint_bytes;
    int64_t iteration;
} header;

struct tr_checkpoint {
    FILE *file;
    char *path, *fresh; /* its name; the name while it is written, or NULL */
    tr_file_id id;      /* of the file that is written */
    uint32_t check;
};

static tr_status cannot(const char *path, const char *what)
{
    return tr_fail(TR_ERR_DATA, "%s: the checkpoint cannot be %s: %s", path, what,
                   errno ? strerror(errno) : "it is cut short");
}

static char *fresh_name(const char *path) { return tr_format_string("%s.new", path); }

void tr_checkpoint_remove(const char *path)
{
    char *fresh = fresh_name(path);
    if (fresh)
        unlink(fresh);
    unlink(path);
    free(fresh);
}

static tr_checkpoint *new_checkpoint(const char *path, bool fresh)
{
    tr_checkpoint *c = tr_calloc("a checkpoint", 1, sizeof *c);
    if (!c)
        return NULL;
    c->path = tr_strdup(path);
    c->fresh = fresh ? fresh_name(path) : NULL;
    if (c->path && (c->fresh || !fresh))
        return c;
    tr_checkpoint_abandon(c);
    return NULL;
}

void tr_checkpoint_abandon(tr_checkpoint *c)
{
    if (!c)
        return;
    if (c->file)
        fclose(c->file);
    if (c->fresh && tr_file_is(c->fresh, &c->id))
        unlink(c->fresh);
    free(c->path);
    free(c->fresh);
    free(c);
}

/* CRC-32 of any number of bytes: zlib takes fewer at a time. */
static uint32_t add_check(uint32_t check, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    while (bytes) {
        size_t n = bytes < (1u << 30) ? bytes : 1u << 30;
        check = (uint32_t)crc32(check, p, (unsigned)n);
        p += n;
        bytes -= n;
    }
    return check;
}

/* ---- writing ---- */

tr_status tr_checkpoint_create(const char *path, const char *fingerprint, long iteration,
                               tr_checkpoint **checkpoint)
{
    tr_checkpoint *c = new_checkpoint(path, true);
    if (!c)
        return TR_ERR_MEMORY;
    int fd = tr_file_create(c->fresh, 0666);
    c->id = tr_file_id_open(fd);
    c->file = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (!c->file) {
        tr_status status = cannot(c->fresh, "created");
        if (fd >= 0)
            close(fd);
        tr_checkpoint_abandon(c);
        return status;
    }
    header h = {.fingerprint_bytes = strlen(fingerprint), .iteration = iteration};
    memcpy(h.magic, MAGIC, sizeof h.magic);
    tr_status status = tr_checkpoint_put(c, &h, sizeof h);
    if (status == TR_OK)
        status = tr_checkpoint_put(c, fingerprint, h.fingerprint_bytes);
    if (status == TR_OK)
        *checkpoint = c;
    else
        tr_checkpoint_abandon(c);
    return status;
}

tr_status tr_checkpoint_put(tr_checkpoint *c, const void *data, size_t bytes)
{
    c->check = add_check(c->check, data, bytes);
    return fwrite(data, 1, bytes, c->file) == bytes ? TR_OK : cannot(c->path, "written");
}

tr_status tr_checkpoint_commit(tr_checkpoint *c)
{
    bool good = fwrite(&c->check, sizeof c->check, 1, c->file) == 1 &&
                fflush(c->file) == 0 && fsync(fileno(c->file)) == 0;
    good = fclose(c->file) == 0 && good;
    c->file = NULL;
    if (good && !tr_file_is(c->fresh, &c->id)) {
        good = false;
        errno = ESTALE;
    }
    /* Its name is a promise that it is there. */
    good = good && rename(c->fresh, c->path) == 0 && tr_file_is(c->path, &c->id);
    tr_status status = good ? TR_OK : cannot(c->path, "written");
    tr_checkpoint_abandon(c);
    return status;
}

/* ---- reading ---- */

static bool sum_is_right(FILE *file)
{
    char piece[1 << 16];
    uint32_t check = 0, wanted;
    if (fseeko(file, 0, SEEK_END) != 0)
        return false;
    off_t left = ftello(file) - (off_t)sizeof wanted;
    rewind(file);
    while (left > 0) {
        size_t n = left < (off_t)sizeof piece ? (size_t)left : sizeof piece;
        if (fread(piece, 1, n, file) != n)
            return false;
        check = add_check(check, piece, n);
        left -= (off_t)n;
    }
    bool known = left == 0 && fread(&wanted, sizeof wanted, 1, file) == 1;
    rewind(file);
    return known && wanted == check;
}

static tr_status read_start(tr_checkpoint *c, header *h, char **fingerprint)
{
    errno = 0;
    TR_TRY(tr_checkpoint_get(c, h, sizeof *h));
    if (memcmp(h->magic, MAGIC, sizeof MAGIC) != 0 || h->fingerprint_bytes > 1 << 20)
        return tr_fail(TR_ERR_DATA, "%s is not a checkpoint of this version; remove it",
                       c->path);
    *fingerprint = tr_calloc("a checkpoint", h->fingerprint_bytes + 1, 1);
    if (!*fingerprint)
        return TR_ERR_MEMORY;
    return tr_checkpoint_get(c, *fingerprint, h->fingerprint_bytes);
}

static tr_status open_file(const char *path, tr_checkpoint **checkpoint)
{
    tr_checkpoint *c = *checkpoint = new_checkpoint(path, false);
    if (!c)
        return TR_ERR_MEMORY;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    c->file = fd >= 0 ? fdopen(fd, "rb") : NULL;
    if (c->file)
        return TR_OK;
    tr_status status = cannot(path, "opened");
    if (fd >= 0)
        close(fd);
    return status;
}

tr_status tr_checkpoint_look(const char *path, const char *fingerprint, long *iteration)
{
    tr_checkpoint *c = NULL;
    header h;
    char *theirs = NULL;
    *iteration = 0;
    if (access(path, F_OK) != 0)
        return TR_OK;
    tr_status status = open_file(path, &c);
    if (status == TR_OK && sum_is_right(c->file)) {
        status = read_start(c, &h, &theirs);
        if (status == TR_OK)
            status = tr_fingerprint_compare(path, theirs, fingerprint);
        if (status == TR_OK)
            *iteration = (long)h.iteration;
    }
    free(theirs);
    tr_checkpoint_abandon(c);
    return status;
}

tr_status tr_checkpoint_open(const char *path, tr_checkpoint **checkpoint)
{
    header h;
    char *fingerprint = NULL;
    tr_status status = open_file(path, checkpoint);
    if (status == TR_OK)
        status = read_start(*checkpoint, &h, &fingerprint);
    free(fingerprint);
    if (status != TR_OK) {
        tr_checkpoint_abandon(*checkpoint);
        *checkpoint = NULL;
    }
    return status;
}

tr_status tr_checkpoint_get(tr_checkpoint *c, void *data, size_t bytes)
{
    errno = 0;
    return fread(data, 1, bytes, c->file) == bytes ? TR_OK : cannot(c->path, "read");
}
