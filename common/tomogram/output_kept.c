/* Whether what is written is still there: files of this run that something else cuts
 * short or replaces, and slices of an earlier run that are not what they were. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/partition.h"
#include "common/tomogram/output_private.h"
#include "common/tomogram/verify.h"

/* ---- the files ---- */

enum { BLOCK = 512 }; /* of st_blocks, whatever the disk's */

static tr_status look_at(const char *path, struct stat *file)
{
    if (stat(path, file) == 0)
        return TR_OK;
    return tr_fail(TR_ERR_DATA,
                   "%s, to which this run writes, is not there: %s; start the run again, "
                   "and leave the file alone",
                   path, strerror(errno));
}

tr_status tr_output_note_files(tr_output *o)
{
    const char *const paths[] = {o->partial, o->raw};
    for (int i = 0; i < 2 && paths[i]; i++) {
        struct stat file;
        TR_TRY(look_at(paths[i], &file));
        uint64_t taken = (uint64_t)file.st_blocks * BLOCK;
        o->reserved[i] =
            (tr_reserved_file){.device = (uint64_t)file.st_dev,
                               .inode = (uint64_t)file.st_ino,
                               .bytes = (uint64_t)file.st_size,
                               .has_blocks = taken >= (uint64_t)file.st_size};
    }
    return TR_OK;
}

/* After a cut, the next slice makes the file as long as before, but with a hole. */
tr_status tr_output_check_files(const tr_output *o, bool together)
{
    const char *const paths[] = {o->partial, o->raw};
    for (int i = 0; i < 2 && paths[i]; i++) {
        const tr_reserved_file *was = &o->reserved[i];
        struct stat file;
        /* A rank that fails removes them, and this one will be ended soon. */
        if (!together && o->comm->size > 1 && stat(paths[i], &file) != 0)
            continue;
        TR_TRY(look_at(paths[i], &file));
        bool cut = (uint64_t)file.st_size < was->bytes ||
                   (was->has_blocks && (uint64_t)file.st_blocks * BLOCK < was->bytes);
        if (cut || (uint64_t)file.st_dev != was->device ||
            (uint64_t)file.st_ino != was->inode)
            return tr_fail(TR_ERR_DATA,
                           "%s was %s while this run wrote to it; start the run again, "
                           "and leave the file alone; with --resume it makes only the "
                           "slices anew that are lost",
                           paths[i], cut ? "cut short" : "replaced");
    }
    return TR_OK;
}

/* ---- slices of an earlier run ---- */

/* Rows of sections on the way from the file to checksums. */
typedef struct reader {
    tr_output *o;
    tr_image *image; /* where the file was packed; else NULL */
    tr_verify_layout layout;
    size_t at_once; /* rows */
    void *samples;
    float *rows;
    double *found; /* checksums, by slice */
} reader;

static bool was_written(const tr_output *o, size_t slice, double *check)
{
    double values[TR_JOURNAL_VALUES];
    bool written = tr_journal_has(o->journal, slice, values);
    *check = written ? values[TR_JOURNAL_VALUES - 1] : 0.0;
    return written;
}

static tr_status read_rows(const reader *r, size_t section, size_t y, size_t n)
{
    tr_output *o = r->o;
    size_t width = o->spec.width;
    tr_type type = o->raw ? TR_FLOAT32 : o->spec.type;
    if (r->image)
        return tr_image_read(r->image, section, y, n, 0, width, r->rows);
    size_t line = width * tr_type_size(type);
    uint64_t start =
        o->raw ? (uint64_t)section * o->volume.ny * line : o->section_offset[section];
    TR_TRY(o->comm->ops->read(o->raw ? o->raw_file : o->file, start + y * line,
                              r->samples, n * line));
    tr_convert_to_float(r->samples, n * width, type, r->rows);
    return TR_OK;
}

static tr_status read_section(const reader *r, size_t section)
{
    const tr_output *o = r->o;
    double check;
    for (size_t y = 0, n; y < o->volume.ny; y += n ? n : 1) {
        n = 0;
        while (n < r->at_once && y + n < o->volume.ny &&
               was_written(o, o->spec.xyz ? y + n : section, &check))
            n++;
        if (n == 0)
            continue;
        TR_TRY(read_rows(r, section, y, n));
        tr_verify_add(&r->layout, section, y, n, r->rows, r->found);
    }
    return TR_OK;
}

static tr_status read_share(reader *r)
{
    enum { CHUNK = 1 << 20 };
    const tr_output *o = r->o;
    size_t first, count, width = o->spec.width;
    bool packed = o->spec.deflate > 0 && !o->raw &&
                  o->reserved[0].bytes != tr_journal_data_bytes(o->journal, 0);
    r->at_once = width < CHUNK ? CHUNK / width : 1;
    r->layout = (tr_verify_layout){.width = width,
                                   .thickness = o->spec.thickness,
                                   .n_slices = o->spec.n_slices,
                                   .xyz = o->spec.xyz};
    r->samples = tr_calloc("rows read back", r->at_once * width, sizeof(float));
    r->rows = tr_calloc("rows read back", r->at_once * width, sizeof *r->rows);
    if (!r->samples || !r->rows)
        return TR_ERR_MEMORY;
    if (packed)
        TR_TRY(tr_image_open(o->partial, &r->image));
    tr_partition(o->volume.nz, (size_t)o->comm->size, (size_t)o->comm->rank, &first,
                 &count);
    for (size_t k = first; k < first + count; k++)
        TR_TRY(read_section(r, k));
    return TR_OK;
}

/* The same on every rank. */
static tr_status judge(tr_output *o, const double *found, bool packed)
{
    size_t wrong = 0, written = 0, first = 0;
    TR_ASSERT(found);
    for (size_t k = 0; k < o->spec.n_slices; k++) {
        double check;
        if (!was_written(o, k, &check))
            continue;
        written++;
        if (tr_verify_same(found[k], check))
            continue;
        first = wrong++ ? first : k;
        tr_journal_forget(o->journal, k);
    }
    if (wrong && packed)
        return tr_fail(TR_ERR_DATA,
                       "%s is not as an earlier run wrote it: something else changed "
                       "it; leave out --resume to start anew",
                       o->partial);
    if (wrong)
        tr_warn("%s: %zu of the %zu slices that an earlier run wrote, the first of them "
                "%zu (from 0), are not what it wrote: something else changed the file; "
                "they are made anew",
                o->raw ? o->raw : o->partial, wrong, written, first);
    return TR_OK;
}

tr_status tr_output_check_kept(tr_output *o)
{
    tr_comm *comm = o->comm;
    reader r = {.o = o};
    if (!o->journal_path || !o->spec.resume)
        return TR_OK;
    r.found = tr_calloc("checksums", o->spec.n_slices, sizeof *r.found);
    tr_status status = comm->ops->agree(comm, r.found ? read_share(&r) : TR_ERR_MEMORY);
    if (status == TR_OK)
        status = comm->ops->sum(comm, r.found, o->spec.n_slices);
    if (status == TR_OK)
        status = comm->ops->agree(comm, judge(o, r.found, r.image != NULL));
    tr_image_close(r.image);
    free(r.samples);
    free(r.rows);
    free(r.found);
    return status;
}
