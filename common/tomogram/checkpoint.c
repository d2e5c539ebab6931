#include "common/tomogram/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/tomogram/fingerprint.h"
#include "common/base/file_name.h"
#include "common/base/mem.h"

static const char MAGIC[8] = "TRCKPT2", EARLIER[8] = "TRCKPT1"; /* with a CRC-32 */

/* The file: header, fingerprint, pieces; its last eight bytes are the XXH3 of all before
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
    XXH3_state_t *check;
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
    c->check = fresh ? XXH3_createState() : NULL;
    if (c->path &&
        ((c->fresh && c->check && XXH3_64bits_reset(c->check) == XXH_OK) || !fresh))
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
    XXH3_freeState(c->check);
    free(c);
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
    if (bytes)
        (void)XXH3_64bits_update(c->check, data, bytes);
    return fwrite(data, 1, bytes, c->file) == bytes ? TR_OK : cannot(c->path, "written");
}

tr_status tr_checkpoint_commit(tr_checkpoint *c)
{
    XXH64_hash_t check = XXH3_64bits_digest(c->check);
    bool good = fwrite(&check, sizeof check, 1, c->file) == 1 && fflush(c->file) == 0 &&
                fsync(fileno(c->file)) == 0;
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

static bool check_is_right(FILE *file, XXH3_state_t *state)
{
    char piece[1 << 16];
    XXH64_hash_t wanted;
    if (XXH3_64bits_reset(state) != XXH_OK || fseeko(file, 0, SEEK_END) != 0)
        return false;
    off_t left = ftello(file) - (off_t)sizeof wanted;
    rewind(file);
    while (left > 0) {
        size_t n = left < (off_t)sizeof piece ? (size_t)left : sizeof piece;
        if (fread(piece, 1, n, file) != n)
            return false;
        (void)XXH3_64bits_update(state, piece, n);
        left -= (off_t)n;
    }
    bool known = left == 0 && fread(&wanted, sizeof wanted, 1, file) == 1;
    rewind(file);
    return known && wanted == XXH3_64bits_digest(state);
}

static tr_status other_version(const tr_checkpoint *c)
{
    return tr_fail(TR_ERR_DATA, "%s is not a checkpoint of this version; remove it",
                   c->path);
}

/* Whether the file is whole: an error where that is not known, because an earlier version
 * wrote it. */
static tr_status check_sum(const tr_checkpoint *c, bool *right)
{
    char magic[sizeof MAGIC];
    XXH3_state_t *state = XXH3_createState();
    *right = state && check_is_right(c->file, state);
    XXH3_freeState(state);
    bool known = !*right && fread(magic, sizeof magic, 1, c->file) == 1;
    rewind(c->file);
    if (known && memcmp(magic, EARLIER, sizeof EARLIER) == 0)
        return other_version(c);
    return state ? TR_OK : tr_fail(TR_ERR_MEMORY, "not enough memory for a checkpoint");
}

static tr_status read_start(tr_checkpoint *c, header *h, char **fingerprint)
{
    errno = 0;
    TR_TRY(tr_checkpoint_get(c, h, sizeof *h));
    if (memcmp(h->magic, MAGIC, sizeof MAGIC) != 0 || h->fingerprint_bytes > 1 << 20)
        return other_version(c);
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
    bool right = false;
    tr_status status = open_file(path, &c);
    if (status == TR_OK)
        status = check_sum(c, &right);
    if (status == TR_OK && right) {
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
