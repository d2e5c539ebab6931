#include "common/tomogram/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zlib.h>

#include "common/tomogram/fingerprint.h"
#include "common/base/timeline.h"
#include "common/base/file_name.h"
#include "common/base/mem.h"

static const char MAGIC[8] = "TRJRNL4";
static const double WORTH = 60.0; /* seconds of work that are kept at least */

/* The file: header, fingerprint, section offsets, then a record for each slice. */
typedef struct header {
    char magic[8];
    uint64_t fingerprint_bytes, n_slices, n_sections;
    uint64_t data_bytes[2], frame; /* of the data files; what is around the sections */
    uint64_t check;                /* of all before the records */
} header;

typedef struct record {
    double values[TR_JOURNAL_VALUES];
    uint32_t done, check; /* check: CRC-32 of what is before it */
} record;

enum { PENDING = 4096 };

struct tr_journal {
    int fd, data[2];
    off_t records; /* where they begin */
    double every, opened, flushed;
    size_t n_slices;
    uint64_t data_bytes[2];
    bool kept_before; /* it goes on from a run before */
    record *before;   /* of that run */
    volatile size_t n_pending;
    size_t slice[PENDING];
    record pending[PENDING];
};

/* Also of the slice: a signal handler may find a record that is just being replaced. */
static uint32_t check_of(const record *r, uint64_t slice)
{
    uLong sum = crc32(0, (const unsigned char *)&slice, sizeof slice);
    return (uint32_t)crc32(sum, (const unsigned char *)r, offsetof(record, check));
}

static size_t offsets_at(const tr_journal_spec *spec)
{
    return sizeof(header) + strlen(spec->fingerprint);
}

static size_t records_at(const tr_journal_spec *spec)
{
    return offsets_at(spec) + spec->n_sections * sizeof(uint64_t);
}

/* All of it or nothing; async-signal-safe. */
static bool transfer(int fd, void *data, size_t bytes, off_t at, bool out)
{
    for (char *p = data; bytes;) {
        ssize_t n = out ? pwrite(fd, p, bytes, at) : pread(fd, p, bytes, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return false;
        }
        p += n;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

static tr_status cannot(const tr_journal_spec *spec, const char *what)
{
    return tr_fail(TR_ERR_DATA, "%s: the journal cannot be %s: %s", spec->path, what,
                   strerror(errno));
}

static tr_status cannot_be_opened(const tr_journal_spec *spec, int i)
{
    return tr_fail(TR_ERR_DATA, "%s tells of slices in %s, which cannot be opened: %s",
                   spec->path, spec->data[i], strerror(errno));
}

/* ---- the files as they were when the journal was begun ---- */

static bool hash_range(int fd, uint64_t from, uint64_t end, uint64_t *hash)
{
    char piece[1 << 12];
    while (from < end) {
        size_t n = end - from < sizeof piece ? (size_t)(end - from) : sizeof piece;
        if (!transfer(fd, piece, n, (off_t)from, false))
            return false;
        *hash = XXH3_64bits_withSeed(piece, n, *hash);
        from += n;
    }
    return true;
}

/* What is before, between and behind the sections of data[0]. */
static bool hash_frame(const tr_journal_spec *spec, int fd, const uint64_t *offset,
                       uint64_t bytes, uint64_t *hash)
{
    uint64_t end = 0;
    *hash = 0;
    for (size_t k = 0; k < spec->n_sections && spec->section_bytes; k++) {
        if (!hash_range(fd, end, offset[k], hash))
            return false;
        end = offset[k] + spec->section_bytes;
    }
    return !spec->section_bytes || hash_range(fd, end, bytes, hash);
}

static uint64_t check_of_head(const header *h, const char *fingerprint,
                              const uint64_t *offset)
{
    uint64_t sum = XXH3_64bits(h, offsetof(header, check));
    sum = XXH3_64bits_withSeed(fingerprint, h->fingerprint_bytes, sum);
    return XXH3_64bits_withSeed(offset, h->n_sections * sizeof *offset, sum);
}

static tr_status measure_data(const tr_journal_spec *spec, const uint64_t *offset,
                              header *h)
{
    for (int i = 0; i < 2 && spec->data[i]; i++) {
        struct stat file;
        int fd = open(spec->data[i], O_RDONLY | O_CLOEXEC);
        bool good = fd >= 0 && fstat(fd, &file) == 0;
        h->data_bytes[i] = good ? (uint64_t)file.st_size : 0;
        if (i == 0)
            good = good && hash_frame(spec, fd, offset, h->data_bytes[i], &h->frame);
        if (fd >= 0)
            close(fd);
        if (!good)
            return cannot_be_opened(spec, i);
    }
    return TR_OK;
}

/* What was cut off gets its place back; what was in it is found to be lost later. */
static bool extend(const char *path, uint64_t bytes)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int error = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)bytes);
    if (error == EOPNOTSUPP || error == EINVAL)
        error = ftruncate(fd, (off_t)bytes) ? errno : 0;
    if (fd >= 0)
        close(fd);
    errno = error;
    return error == 0;
}

/* data[0] of two is made anew in any case. */
static tr_status compare_data(const tr_journal_spec *spec, const header *h,
                              const uint64_t *offset)
{
    int i = spec->data[1] ? 1 : 0;
    header now = {.frame = h->frame};
    struct stat file;
    TR_ASSERT(spec->data[i]);
    if (stat(spec->data[i], &file) != 0)
        return cannot_be_opened(spec, i);
    uint64_t bytes = (uint64_t)file.st_size;
    if (bytes < h->data_bytes[i] && !(i == 0 && spec->packed)) {
        if (!extend(spec->data[i], h->data_bytes[i]))
            return cannot_be_opened(spec, i);
        bytes = h->data_bytes[i];
    }
    /* It grows when its header is written, at the end. */
    if (i == 0 && bytes == h->data_bytes[i])
        TR_TRY(measure_data(spec, offset, &now));
    return now.frame == h->frame
               ? TR_OK
               : tr_fail(TR_ERR_DATA,
                         "%s is not as an earlier run wrote it: something else changed "
                         "it; leave out --resume to start anew",
                         spec->data[i]);
}

/* ---- beginning and finding ---- */

tr_status tr_journal_begin(const tr_journal_spec *spec, const uint64_t *section_offset)
{
    header h = {.fingerprint_bytes = strlen(spec->fingerprint),
                .n_slices = spec->n_slices,
                .n_sections = spec->n_sections};
    memcpy(h.magic, MAGIC, sizeof h.magic);
    TR_TRY(measure_data(spec, section_offset, &h));
    h.check = check_of_head(&h, spec->fingerprint, section_offset);
    int fd = tr_file_create(spec->path, 0666);
    if (fd < 0)
        return cannot(spec, "created");
    off_t size = (off_t)(records_at(spec) + spec->n_slices * sizeof(record));
    /* The header last: a journal that begins with zeros is one that was never begun. */
    bool good =
        ftruncate(fd, size) == 0 &&
        transfer(fd, (char *)spec->fingerprint, h.fingerprint_bytes, sizeof h, true) &&
        transfer(fd, (uint64_t *)section_offset,
                 spec->n_sections * sizeof *section_offset, (off_t)offsets_at(spec),
                 true) &&
        (fdatasync(fd) == 0 || errno == EINVAL) && transfer(fd, &h, sizeof h, 0, true);
    tr_status status = good ? TR_OK : cannot(spec, "written");
    close(fd);
    return status;
}

static tr_status damaged(const tr_journal_spec *spec)
{
    return tr_fail(TR_ERR_DATA, "%s is damaged; remove it", spec->path);
}

static tr_status compare(const tr_journal_spec *spec, int fd, header *head,
                         uint64_t **section_offset)
{
    header h;
    struct stat file;
    if (!transfer(fd, &h, sizeof h, 0, false) || fstat(fd, &file) != 0)
        return cannot(spec, "read");
    *head = h;
    if (memcmp(h.magic, MAGIC, sizeof MAGIC) != 0 ||
        h.fingerprint_bytes > (uint64_t)file.st_size)
        return tr_fail(TR_ERR_DATA, "%s is not a journal of this version; remove it",
                       spec->path);
    char *theirs = tr_calloc("a journal", h.fingerprint_bytes + 1, 1);
    if (!theirs)
        return TR_ERR_MEMORY;
    tr_status status = TR_OK;
    if (!transfer(fd, theirs, h.fingerprint_bytes, sizeof h, false))
        status = cannot(spec, "read");
    else
        status = tr_fingerprint_compare(spec->path, theirs, spec->fingerprint);
    free(theirs);
    TR_TRY(status);
    if (h.n_slices != spec->n_slices || h.n_sections != spec->n_sections)
        return damaged(spec);
    size_t bytes = spec->n_sections * sizeof **section_offset;
    *section_offset = tr_calloc("section offsets", bytes, 1);
    if (!*section_offset)
        return TR_ERR_MEMORY;
    if (!transfer(fd, *section_offset, bytes, (off_t)offsets_at(spec), false))
        return cannot(spec, "read");
    return h.check == check_of_head(&h, spec->fingerprint, *section_offset)
               ? TR_OK
               : damaged(spec);
}

/* Whether the run that made it came as far as its header, which is written last. */
static bool was_begun(int fd)
{
    static const char nothing[sizeof MAGIC];
    char magic[sizeof MAGIC] = {0};
    return pread(fd, magic, sizeof magic, 0) < 0 ||
           memcmp(magic, nothing, sizeof magic) != 0;
}

tr_status tr_journal_find(const tr_journal_spec *spec, bool *found,
                          uint64_t **section_offset)
{
    int fd = open(spec->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    *found = fd >= 0;
    if (fd < 0)
        return errno == ENOENT ? TR_OK : cannot(spec, "opened");
    *found = was_begun(fd);
    header h = {.frame = 0};
    tr_status status = *found ? compare(spec, fd, &h, section_offset) : TR_OK;
    close(fd);
    if (!*found)
        return TR_OK;
    TR_TRY(status);
    for (int i = 0; i < 2; i++) {
        if (!spec->data[i] || access(spec->data[i], R_OK | W_OK) == 0)
            continue;
        if (errno == ENOENT) { /* a journal of nothing */
            free(*section_offset);
            *section_offset = NULL;
            *found = false;
            return TR_OK;
        }
        return cannot_be_opened(spec, i);
    }
    return compare_data(spec, &h, *section_offset);
}

static tr_status read_records(const tr_journal_spec *spec, tr_journal *j)
{
    header h;
    if (!transfer(j->fd, &h, sizeof h, 0, false))
        return cannot(spec, "read");
    memcpy(j->data_bytes, h.data_bytes, sizeof h.data_bytes);
    j->before = tr_calloc("a journal", spec->n_slices, sizeof *j->before);
    if (!j->before)
        return TR_ERR_MEMORY;
    if (!transfer(j->fd, j->before, spec->n_slices * sizeof *j->before, j->records,
                  false))
        return cannot(spec, "read");
    for (size_t k = 0; k < spec->n_slices; k++) {
        record *r = &j->before[k];
        r->done = r->done == 1 && r->check == check_of(r, k);
        j->kept_before |= r->done;
    }
    return TR_OK;
}

tr_status tr_journal_open(const tr_journal_spec *spec, tr_journal **journal)
{
    tr_journal *j = tr_calloc("a journal", 1, sizeof *j);
    if (!j)
        return TR_ERR_MEMORY;
    j->fd = open(spec->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    j->every = spec->every;
    j->opened = j->flushed = tr_now();
    j->records = (off_t)records_at(spec);
    j->n_slices = spec->n_slices;
    tr_status status = j->fd < 0 ? cannot(spec, "opened") : read_records(spec, j);
    for (int i = 0; i < 2; i++) {
        j->data[i] =
            spec->data[i] ? open(spec->data[i], O_RDWR | O_NOFOLLOW | O_CLOEXEC) : -1;
        if (status == TR_OK && spec->data[i] && j->data[i] < 0)
            status = cannot_be_opened(spec, i);
    }
    if (status == TR_OK)
        *journal = j;
    else
        tr_journal_close(j);
    return status;
}

void tr_journal_close(tr_journal *j)
{
    if (!j)
        return;
    for (int i = 0; i < 2; i++)
        if (j->data[i] >= 0)
            close(j->data[i]);
    if (j->fd >= 0)
        close(j->fd);
    free(j->before);
    free(j);
}

/* The slices first, then what is said of them. Async-signal-safe. */
static bool flush(tr_journal *j)
{
    for (int i = 0; i < 2; i++)
        if (j->data[i] >= 0 && fdatasync(j->data[i]) != 0 && errno != EINVAL)
            return false;
    for (size_t k = 0; k < j->n_pending; k++)
        if (!transfer(j->fd, &j->pending[k], sizeof j->pending[k],
                      j->records + (off_t)(j->slice[k] * sizeof(record)), true))
            return false;
    j->flushed = tr_now();
    return fdatasync(j->fd) == 0 || errno == EINVAL;
}

tr_status tr_journal_flush(tr_journal *j)
{
    if (!flush(j))
        return tr_fail(TR_ERR_DATA, "the journal of the output cannot be written: %s",
                       strerror(errno));
    j->n_pending = 0;
    return TR_OK;
}

tr_status tr_journal_add(tr_journal *j, size_t slice, const double *values)
{
    TR_ASSERT(slice < j->n_slices);
    if (j->n_pending == PENDING || tr_now() - j->flushed >= j->every)
        TR_TRY(tr_journal_flush(j));
    size_t k = j->n_pending;
    record *r = &j->pending[k];
    memcpy(r->values, values, sizeof r->values);
    r->done = 1;
    r->check = check_of(r, slice);
    j->slice[k] = slice;
    __atomic_thread_fence(__ATOMIC_RELEASE); /* a signal handler may flush */
    j->n_pending = k + 1;
    return TR_OK;
}

bool tr_journal_has(const tr_journal *j, size_t slice, double *values)
{
    if (!j->before[slice].done)
        return false;
    memcpy(values, j->before[slice].values, sizeof j->before[slice].values);
    return true;
}

void tr_journal_forget(tr_journal *j, size_t slice) { j->before[slice].done = 0; }

uint64_t tr_journal_data_bytes(const tr_journal *j, int i) { return j->data_bytes[i]; }

bool tr_journal_keep(tr_journal *j)
{
    double worth = j->every < WORTH ? j->every : WORTH;
    if (tr_now() - j->opened < worth)
        return j->kept_before;
    return flush(j) || j->kept_before;
}
