#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/tomogram/leftovers.h"
#include "common/tomogram/output_private.h"

/* ---- opening ---- */

size_t tr_output_section_samples(const tr_output *o)
{
    return o->volume.nx * o->volume.ny;
}

static tr_status reserve(const char *path, uint64_t bytes)
{
    int fd = tr_file_create(path, 0666);
    if (fd < 0)
        return tr_fail(TR_ERR_DATA, "%s cannot be created: %s", path, strerror(errno));
    int error = posix_fallocate(fd, 0, (off_t)bytes);
    if (error == EOPNOTSUPP || error == EINVAL)
        error = ftruncate(fd, (off_t)bytes) ? errno : 0;
    close(fd);
    if (error == 0)
        return TR_OK;
    unlink(path);
    return tr_fail(TR_ERR_DATA, "%s: %llu bytes cannot be reserved: %s", path,
                   (unsigned long long)bytes, strerror(error));
}

/* A full disk is known before hours of work, not after. */
static tr_status check_space(const tr_output *o)
{
    struct statvfs disk;
    char *folder = tr_name_folder(o->path);
    if (!folder)
        return TR_ERR_MEMORY;
    bool known = statvfs(folder, &disk) == 0;
    free(folder);
    if (!known)
        return TR_OK;
    double samples = (double)tr_output_section_samples(o) * (double)o->volume.nz;
    double wanted = samples * (double)tr_type_size(o->spec.type);
    wanted += o->raw ? samples * sizeof(float) : 0.0;
    /* The smaller sizes are an eighth each of what is above. */
    wanted += o->store ? samples * sizeof(float) * 1.15 : 0.0;
    wanted *= o->spec.to_come > 0 ? (double)o->spec.to_come : 1.0;
    double available = (double)disk.f_bavail * (double)disk.f_frsize;
    if (wanted <= available)
        return TR_OK;
    double unit = wanted < 1e9 ? 1e6 : 1e9;
    return tr_fail(TR_ERR_DATA,
                   "%s: the disk is too full: %.3f %s are needed and %.3f are free; free "
                   "some, or write to another disk with -o",
                   o->path, wanted / unit, wanted < 1e9 ? "MB" : "GB", available / unit);
}

static tr_status create_files(tr_output *o)
{
    TR_TRY(check_space(o));
    TR_TRY(o->format->create(o->partial, &o->volume, &o->section_offset));
    if (!o->raw)
        return TR_OK;
    return reserve(o->raw,
                   (uint64_t)tr_output_section_samples(o) * o->volume.nz * sizeof(float));
}

/* An MRC file has only its header around the sections, which is written last. */
static bool frame_counts(const tr_output *o) { return !o->raw && o->format->by_library; }

static tr_journal_spec journal_spec(const tr_output *o)
{
    return (tr_journal_spec){.path = o->journal_path,
                             .data = {o->partial, o->raw},
                             .fingerprint = o->spec.fingerprint,
                             .n_slices = o->spec.n_slices,
                             .n_sections = o->volume.nz,
                             .every = o->spec.every,
                             .section_bytes = frame_counts(o)
                                                  ? tr_output_section_samples(o) *
                                                        tr_type_size(o->spec.type)
                                                  : 0,
                             .packed = o->spec.deflate > 0};
}

/* From here on the files are this run's, to be removed if it fails. */
static void watch(tr_output *o)
{
    const char *const files[TR_OUTPUT_FILES] = {o->partial, o->raw, o->journal_path};
    tr_output_watch_files(o->slot, files, o->id);
    o->watched = true;
}

tr_status tr_output_know_files(tr_output *o)
{
    const char *const files[TR_OUTPUT_FILES] = {o->partial, o->raw, o->journal_path};
    TR_ASSERT(o->partial);
    for (int i = 0; i < TR_OUTPUT_FILES; i++) {
        o->id[i] = files[i] ? tr_file_id_named(files[i]) : (tr_file_id){.known = false};
        if (files[i] && !o->id[i].known)
            return tr_fail(TR_ERR_DATA, "%s cannot be opened: %s", files[i],
                           strerror(errno));
    }
    watch(o);
    if (o->comm->rank != 0)
        return TR_OK;
    if (o->held >= 0)
        close(o->held);
    o->held = open(o->partial, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return tr_output_check_name(o);
}

tr_status tr_output_check_name(const tr_output *o)
{
    const tr_file_id id = tr_file_id_open(o->held);
    if (tr_file_is(o->partial, &id))
        return TR_OK;
    return tr_fail(
        TR_ERR_DATA,
        "%s is no longer the file that this run made: something else has removed "
        "or replaced it",
        o->partial);
}

/* Integers are made at the end: if that has begun, it begins anew, on a file that is as
 * the journal says. */
static tr_status create_again(tr_output *o)
{
    free(o->section_offset);
    o->section_offset = NULL;
    return o->format->create(o->partial, &o->volume, &o->section_offset);
}

/* New files, or those of a run that was interrupted. */
static tr_status find_or_create_files(tr_output *o)
{
    if (!o->journal_path) {
        if (!o->spec.resume)
            TR_TRY(tr_leftovers_remove(o->path));
        return create_files(o);
    }
    const tr_journal_spec spec = journal_spec(o);
    bool found = false;
    if (o->spec.resume) {
        TR_TRY(tr_journal_find(&spec, &found, &o->section_offset));
        if (found)
            return o->raw ? create_again(o) : TR_OK;
        if (!o->spec.all_at_end)
            tr_info("there is no %s to go on from: this run starts anew", spec.path);
        watch(o);
    } else if (access(spec.path, F_OK) == 0 && !o->spec.all_at_end) {
        tr_info("an earlier run was interrupted; without --resume this one starts anew");
    }
    if (!o->spec.resume)
        TR_TRY(tr_leftovers_remove(o->path));
    TR_TRY(create_files(o));
    return tr_journal_begin(&spec, o->section_offset);
}

static tr_status open_journal(tr_output *o)
{
    if (!o->journal_path)
        return TR_OK;
    const tr_journal_spec spec = journal_spec(o);
    return tr_journal_open(&spec, &o->journal);
}

/* Whether a run before wrote everything, as all ranks see it. Collective. */
static tr_status look_for_all(tr_output *o)
{
    double unseen = 0.0, values[TR_JOURNAL_VALUES];
    for (size_t k = 0; k < o->spec.n_slices; k++)
        unseen += !o->journal || !tr_journal_has(o->journal, k, values);
    TR_TRY(o->comm->ops->sum(o->comm, &unseen, 1));
    o->all_before = unseen == 0.0;
    if (o->journal && (o->all_before || !o->spec.all_at_end))
        tr_output_watch_journal(o->slot, o->journal);
    return TR_OK;
}

/* Offsets fit a double's 53 bits. */
static tr_status share_offsets(tr_output *o)
{
    double *offset = tr_calloc("section offsets", o->volume.nz, sizeof *offset);
    tr_status ready = o->comm->ops->agree(o->comm, offset ? TR_OK : TR_ERR_MEMORY);
    if (ready != TR_OK || !offset) {
        free(offset);
        return ready;
    }
    for (size_t k = 0; k < o->volume.nz && o->comm->rank == 0; k++)
        offset[k] = (double)o->section_offset[k];
    tr_status status = o->comm->ops->broadcast(o->comm, offset, o->volume.nz);
    if (o->comm->rank != 0)
        o->section_offset =
            tr_calloc("section offsets", o->volume.nz, sizeof *o->section_offset);
    for (size_t k = 0; o->section_offset && k < o->volume.nz; k++)
        o->section_offset[k] = (uint64_t)offset[k];
    free(offset);
    return status != TR_OK ? status : o->section_offset ? TR_OK : TR_ERR_MEMORY;
}

static void describe_volume(tr_output *o)
{
    const tr_output_spec *s = &o->spec;
    o->volume = (tr_volume_spec){
        .nx = s->width,
        .ny = s->xyz ? s->n_slices : s->thickness,
        .nz = s->xyz ? s->thickness : s->n_slices,
        .type = s->type,
        .pixel = s->pixel,
        .origin = {s->origin[0], s->origin[1], s->origin[2]},
        .n_labels = s->n_labels,
    };
    memcpy(o->volume.labels, s->labels, sizeof s->labels);
}

void tr_output_relabel(tr_output *o, const char (*labels)[TR_LABEL_LENGTH + 1], size_t n)
{
    o->volume.n_labels = n;
    memcpy(o->volume.labels, labels, n * sizeof *labels);
}

static tr_status prepare(tr_output *o)
{
    const char *path = o->spec.path;
    o->format = tr_format_for_output(path);
    if (!o->format)
        return TR_ERR_USAGE;
    o->path = tr_strdup(path);
    o->partial = tr_name_beside(path, "partial");
    if (o->spec.automatic)
        o->raw = tr_name_beside(path, "float");
    if (o->spec.every > 0.0)
        o->journal_path = tr_name_beside(path, "journal");
    if (o->spec.store.folder) {
        o->store = tr_name_beside(path, "store");
        o->store_before = tr_name_beside(path, "store-earlier");
        if (!o->store || !o->store_before)
            return TR_ERR_MEMORY;
    }
    o->sums = tr_calloc("slice statistics", o->spec.n_slices, sizeof *o->sums);
    if (!o->path || !o->partial || !o->sums || (o->spec.automatic && !o->raw) ||
        (o->spec.every > 0.0 && !o->journal_path))
        return TR_ERR_MEMORY;
    describe_volume(o);
    return o->store ? tr_pyramid_check(&o->volume, o->spec.xyz, &o->spec.store) : TR_OK;
}

static tr_status open_files(tr_output *o)
{
    tr_comm *comm = o->comm;
    TR_TRY(comm->ops->agree(comm, prepare(o)));
    /* On every rank: the launcher may kill the others once one has died of a signal. */
    bool earlier = o->journal_path && o->spec.resume; /* they may be a run's before */
    if (!earlier)
        watch(o);
    tr_status status = comm->rank == 0 ? find_or_create_files(o) : TR_OK;
    TR_TRY(comm->ops->agree(comm, status));
    TR_TRY(comm->ops->agree(comm, open_journal(o)));
    TR_TRY(comm->ops->agree(comm, tr_output_know_files(o)));
    TR_TRY(comm->ops->agree(comm, share_offsets(o)));
    TR_TRY(comm->ops->agree(comm, comm->ops->open(comm, o->partial, &o->file)));
    if (o->raw)
        TR_TRY(comm->ops->agree(comm, comm->ops->open(comm, o->raw, &o->raw_file)));
    TR_TRY(comm->ops->agree(comm, tr_output_note_files(o)));
    TR_TRY(comm->ops->agree(comm, tr_output_check_kept(o)));
    return comm->ops->agree(comm, look_for_all(o));
}

tr_status tr_output_open(tr_comm *comm, const tr_output_spec *spec, tr_output **output)
{
    tr_output *o = tr_calloc("the output", 1, sizeof *o);
    TR_TRY(comm->ops->agree(comm, o ? TR_OK : TR_ERR_MEMORY));
    o->comm = comm;
    o->held = -1;
    pthread_mutex_init(&o->one_writer, NULL);
    o->spec = *spec;
    o->slot = tr_output_claim_slot();
    tr_status status = spec->sink ? TR_OK : open_files(o);
    if (status != TR_OK) {
        tr_output_discard(o);
        return status;
    }
    *output = o;
    return TR_OK;
}

/* ---- what is written ---- */

size_t tr_output_skip(tr_output *o, size_t first, size_t n)
{
    double v[TR_JOURNAL_VALUES];
    size_t k = 0;
    for (; k < n && o->journal && tr_journal_has(o->journal, first + k, v); k++)
        o->sums[first + k] = (tr_slice_sums){v[0], v[1], v[2], v[3], v[4]};
    return k;
}

bool tr_output_adopt(tr_output *o)
{
    if (o->all_before && o->comm->rank == 0)
        (void)tr_output_skip(o, 0, o->spec.n_slices);
    return o->all_before;
}

tr_status tr_output_flush(tr_output *o)
{
    if (!o->journal)
        return TR_OK;
    TR_TRY(tr_journal_flush(o->journal));
    o->flushed = true;
    tr_output_watch_journal(o->slot, o->journal);
    return TR_OK;
}

/* ---- the end ---- */

/* Those that are open. Collective. */
tr_status tr_output_close_files(tr_output *o)
{
    tr_status status = TR_OK;
    tr_shared_file *files[] = {o->file, o->raw_file};
    for (int i = 0; i < 2; i++) {
        tr_status closed = files[i] ? o->comm->ops->close(files[i]) : TR_OK;
        status = status == TR_OK ? closed : status;
    }
    o->file = o->raw_file = NULL;
    return o->comm->ops->agree(o->comm, status);
}

/* Whether a later run can go on from what is written. */
static bool keep(const tr_output *o)
{
    if (!o->journal || o->worthless)
        return false;
    if (o->spec.all_at_end && !o->flushed && !o->all_before)
        return false;
    return tr_journal_keep(o->journal);
}

/* Remove the files, or say that they are kept, if they are. */
static void leave_files(const tr_output *o)
{
    const char *const files[TR_OUTPUT_FILES] = {o->partial, o->raw, o->journal_path};
    bool kept = keep(o);
    /* Before the journal is open, the files may be those of an earlier run. */
    for (int i = 0; i < TR_OUTPUT_FILES && !kept && o->watched; i++)
        tr_output_remove(files[i], &o->id[i]);
    if (!kept && o->watched && o->store && o->comm->rank == 0 &&
        tr_folder_remove(o->store) != TR_OK)
        tr_warn("%s", tr_error());
    if (!kept || o->slot != 0)
        return;
    for (int i = 0; i < TR_OUTPUT_FILES; i++)
        if (files[i] && !tr_file_is(files[i], &o->id[i])) {
            tr_warn("what is done is lost: something else has removed or replaced %s",
                    files[i]);
            return;
        }
    tr_warn(
        "what is done is kept in %s; the same command with --resume goes on from there",
        o->partial);
}

void tr_output_discard(tr_output *o)
{
    if (!o)
        return;
    /* Else the files stay open on purpose: closing is collective. */
    if (o->comm->size == 1 || o->comm->agreed_failure)
        (void)tr_output_close_files(o);
    leave_files(o);
    if (o->held >= 0)
        close(o->held);
    tr_output_free_slot(o->slot);
    tr_journal_close(o->journal);
    free(o->journal_path);
    free(o->section_offset);
    free(o->sums);
    tr_output_free_room(o);
    pthread_mutex_destroy(&o->one_writer);
    free(o->partial);
    free(o->raw);
    free(o->store);
    free(o->store_before);
    free(o->path);
    free(o);
}
