#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "journal.h"
#include "log.h"
#include "mem.h"
#include "partition.h"
#include "statistics.h"
#include "stop.h"

struct tr_output {
    tr_comm *comm;
    tr_output_spec spec;
    tr_volume_spec volume; /* as the format sees it */
    const tr_format *format;
    char *path, *partial; /* final name; name while unfinished */
    char *raw;            /* float samples before automatic scaling; NULL if not needed */
    tr_shared_file *file, *raw_file;
    uint64_t *section_offset;
    tr_slice_sums *sums; /* one per slice, zero for slices of other ranks */
    tr_journal *journal; /* or NULL */
    char *journal_path;
    bool worthless; /* its voxels are wrong: nothing is kept */
    void *piece;    /* rows of one section, for order xyz */
    size_t piece_size;
};

/* ---- unfinished files ---- */

static const char *volatile unfinished[3];
static tr_journal *volatile unfinished_journal;

static void remove_unfinished(int signal_number)
{
    if (tr_stop_ask(signal_number))
        return;
    bool kept = unfinished_journal && tr_journal_keep(unfinished_journal);
    for (int i = 0; i < 3 && !kept; i++)
        if (unfinished[i])
            unlink(unfinished[i]);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

void tr_output_watch_signals(void)
{
    signal(SIGINT, remove_unfinished);
    signal(SIGTERM, remove_unfinished);
    signal(SIGHUP, remove_unfinished);
    /* A log that nobody reads any more is no reason to stop; a limit of file sizes is an
     * error of the write, with its sentence. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

/* ---- opening ---- */

static size_t samples_per_section(const tr_output *o)
{
    return o->volume.nx * o->volume.ny;
}

static tr_status reserve(const char *path, uint64_t bytes)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
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
    const char *slash = strrchr(o->path, '/');
    char *folder = slash ? tr_format_string("%.*s", (int)(slash - o->path + 1), o->path)
                         : tr_strdup(".");
    if (!folder)
        return TR_ERR_MEMORY;
    bool known = statvfs(folder, &disk) == 0;
    free(folder);
    if (!known)
        return TR_OK;
    double samples = (double)samples_per_section(o) * (double)o->volume.nz;
    double wanted = samples * (double)tr_type_size(o->spec.type);
    wanted += o->raw ? samples * sizeof(float) : 0.0;
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
                   (uint64_t)samples_per_section(o) * o->volume.nz * sizeof(float));
}

static tr_journal_spec journal_spec(const tr_output *o)
{
    return (tr_journal_spec){.path = o->journal_path,
                             .data = {o->partial, o->raw},
                             .fingerprint = o->spec.fingerprint,
                             .n_slices = o->spec.n_slices,
                             .n_sections = o->volume.nz,
                             .every = o->spec.every};
}

/* From here on the files are this run's, to be removed if it fails. */
static void watch(const tr_output *o)
{
    unfinished[0] = o->partial;
    unfinished[1] = o->raw;
    unfinished[2] = o->journal_path;
}

/* New files, or those of a run that was interrupted. */
static tr_status find_or_create_files(tr_output *o)
{
    if (!o->journal_path)
        return create_files(o);
    const tr_journal_spec spec = journal_spec(o);
    bool found = false;
    if (o->spec.resume) {
        TR_TRY(tr_journal_find(&spec, &found, &o->section_offset));
        if (found)
            return TR_OK;
        tr_info("there is no %s to go on from: this run starts anew", spec.path);
        watch(o);
    } else if (access(spec.path, F_OK) == 0) {
        tr_info("an earlier run was interrupted; without --resume this one starts anew");
    }
    TR_TRY(create_files(o));
    return tr_journal_begin(&spec, o->section_offset);
}

static tr_status open_journal(tr_output *o)
{
    if (!o->journal_path)
        return TR_OK;
    const tr_journal_spec spec = journal_spec(o);
    TR_TRY(tr_journal_open(&spec, &o->journal));
    unfinished_journal = o->journal;
    return TR_OK;
}

/* Offsets fit a double's 53 bits, so the ranks learn them by adding zeros. */
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
    tr_status status = o->comm->ops->sum(o->comm, offset, o->volume.nz);
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

static tr_status prepare(tr_output *o)
{
    const char *path = o->spec.path, *slash = strrchr(path, '/');
    int folder = slash ? (int)(slash - path + 1) : 0;
    o->format = tr_format_for_output(path);
    if (!o->format)
        return TR_ERR_USAGE;
    o->path = tr_strdup(path);
    o->partial = tr_format_string("%.*s.%s.partial", folder, path, path + folder);
    if (o->spec.automatic)
        o->raw = tr_format_string("%.*s.%s.float", folder, path, path + folder);
    if (o->spec.every > 0.0)
        o->journal_path =
            tr_format_string("%.*s.%s.journal", folder, path, path + folder);
    o->sums = tr_calloc("slice statistics", o->spec.n_slices, sizeof *o->sums);
    if (!o->path || !o->partial || !o->sums || (o->spec.automatic && !o->raw) ||
        (o->spec.every > 0.0 && !o->journal_path))
        return TR_ERR_MEMORY;
    describe_volume(o);
    return TR_OK;
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
    watch(o);
    TR_TRY(comm->ops->agree(comm, share_offsets(o)));
    TR_TRY(comm->ops->agree(comm, comm->ops->open(comm, o->partial, &o->file)));
    if (o->raw)
        TR_TRY(comm->ops->agree(comm, comm->ops->open(comm, o->raw, &o->raw_file)));
    return TR_OK;
}

tr_status tr_output_open(tr_comm *comm, const tr_output_spec *spec, tr_output **output)
{
    tr_output *o = tr_calloc("the output", 1, sizeof *o);
    TR_TRY(comm->ops->agree(comm, o ? TR_OK : TR_ERR_MEMORY));
    o->comm = comm;
    o->spec = *spec;
    tr_status status = open_files(o);
    if (status != TR_OK) {
        tr_output_discard(o);
        return status;
    }
    *output = o;
    return TR_OK;
}

/* ---- writing ---- */

static void scale(float *values, size_t n, double add, double multiply)
{
    if (add == 0.0 && multiply == 1.0)
        return;
    for (size_t i = 0; i < n; i++)
        values[i] = (float)((values[i] + add) * multiply);
}

static tr_status grow_piece(tr_output *o, size_t bytes)
{
    if (bytes <= o->piece_size)
        return TR_OK;
    free(o->piece);
    o->piece_size = 0;
    o->piece = tr_calloc("rows of the output", bytes, 1);
    if (!o->piece)
        return TR_ERR_MEMORY;
    o->piece_size = bytes;
    return TR_OK;
}

/* Samples of `size` bytes, samples[n][thickness][width], to their places. `raw` files
 * have section k at k times the section's size. */
static tr_status write_samples(tr_output *o, tr_shared_file *file, bool raw, size_t size,
                               size_t slice, size_t n, const char *samples)
{
    size_t line = o->spec.width * size, plane = line * o->spec.thickness;
    size_t section = samples_per_section(o) * size;
    if (!o->spec.xyz) {
        for (size_t k = 0; k < n; k++) {
            uint64_t at =
                raw ? (uint64_t)(slice + k) * section : o->section_offset[slice + k];
            TR_TRY(o->comm->ops->write(file, at, samples + k * plane, plane));
        }
        return TR_OK;
    }
    TR_TRY(grow_piece(o, n * line));
    for (size_t z = 0; z < o->spec.thickness; z++) {
        size_t from = o->spec.thickness - 1 - z; /* rotated about x: the hand is kept */
        for (size_t k = 0; k < n; k++)
            memcpy((char *)o->piece + k * line, samples + k * plane + from * line, line);
        uint64_t at = raw ? (uint64_t)z * section : o->section_offset[z];
        TR_TRY(o->comm->ops->write(file, at + slice * line, o->piece, n * line));
    }
    return TR_OK;
}

static tr_status note_written(tr_output *o, size_t slice, size_t n)
{
    for (size_t k = slice; k < slice + n && o->journal; k++) {
        const tr_slice_sums *s = &o->sums[k];
        const double values[TR_JOURNAL_VALUES] = {s->min, s->max, s->mean, s->squares};
        TR_TRY(tr_journal_add(o->journal, k, values));
    }
    return TR_OK;
}

size_t tr_output_skip(tr_output *o, size_t first, size_t n)
{
    double v[TR_JOURNAL_VALUES];
    size_t k = 0;
    for (; k < n && o->journal && tr_journal_has(o->journal, first + k, v); k++)
        o->sums[first + k] = (tr_slice_sums){v[0], v[1], v[2], v[3]};
    return k;
}

static tr_status write_planes(tr_output *o, size_t slice, size_t n, float *planes)
{
    size_t plane = o->spec.width * o->spec.thickness;
    scale(planes, n * plane, o->spec.add, o->spec.multiply);
    bool convert = !o->raw && o->spec.type != TR_FLOAT32;
    for (size_t k = 0; k < n; k++) {
        float *values = planes + k * plane;
        if (convert) {
            tr_convert_from_float(values, plane, o->spec.type, values);
            /* The statistics want floats again; the samples are remade from them. */
            size_t bytes = plane * tr_type_size(o->spec.type);
            TR_TRY(grow_piece(o, bytes));
            memcpy(o->piece, values, bytes);
            tr_convert_to_float(o->piece, plane, o->spec.type, values);
        }
        o->sums[slice + k] = tr_slice_measure(values, plane);
    }
    if (!convert)
        return write_samples(o, o->raw ? o->raw_file : o->file, o->raw != NULL,
                             sizeof(float), slice, n, (const char *)planes);
    tr_convert_from_float(planes, n * plane, o->spec.type, planes);
    return write_samples(o, o->file, false, tr_type_size(o->spec.type), slice, n,
                         (const char *)planes);
}

tr_status tr_output_write(tr_output *o, size_t slice, size_t n, float *planes)
{
    TR_TRY(write_planes(o, slice, n, planes));
    return note_written(o, slice, n);
}

/* ---- finishing ---- */

static void type_range(tr_type type, double *low, double *high)
{
    switch (type) {
    case TR_INT8:
        *low = -128, *high = 127;
        break;
    case TR_INT16:
        *low = -32768, *high = 32767;
        break;
    default:
        *low = 0, *high = 65535;
        break;
    }
}

/* The mean +- 6 standard deviations, as far as they occur, fills the type's range: a
 * gold bead does not cost the specimen its grey values. */
static void choose_scaling(tr_output *o, const tr_statistics *t, char *text)
{
    double low, high, from = fmax(t->min, t->mean - 6.0 * t->rms);
    double to = fmin(t->max, t->mean + 6.0 * t->rms);
    type_range(o->spec.type, &low, &high);
    o->spec.multiply = (high - low) / (to - from);
    o->spec.add = low / o->spec.multiply - from;
    snprintf(text, 128, "density = %.9g * stored %+.9g", 1.0 / o->spec.multiply,
             -o->spec.add);
    if (o->volume.n_labels < TR_LABELS)
        snprintf(o->volume.labels[o->volume.n_labels++], TR_LABEL_LENGTH + 1, "%s", text);
}

/* What a section holds after the conversion, about the mean expected of it. */
typedef struct section_sums {
    double min, max, first, second;
} section_sums;

static void add_chunk(section_sums *s, const float *values, size_t n, double about)
{
    for (size_t i = 0; i < n; i++) {
        double d = values[i] - about;
        s->min = fmin(s->min, values[i]);
        s->max = fmax(s->max, values[i]);
        s->first += d;
        s->second += d * d;
    }
}

static tr_status convert_section(tr_output *o, size_t k, float *values, size_t chunk,
                                 double about, section_sums *sums)
{
    size_t size = tr_type_size(o->spec.type), section = samples_per_section(o);
    *sums = (section_sums){.min = INFINITY, .max = -INFINITY};
    for (size_t i = 0; i < section; i += chunk) {
        size_t n = section - i < chunk ? section - i : chunk;
        uint64_t from = ((uint64_t)k * section + i) * sizeof(float);
        void *samples = values + chunk;
        TR_TRY(o->comm->ops->read(o->raw_file, from, values, n * sizeof *values));
        scale(values, n, o->spec.add, o->spec.multiply);
        tr_convert_from_float(values, n, o->spec.type, samples);
        tr_convert_to_float(samples, n, o->spec.type, values);
        add_chunk(sums, values, n, about);
        TR_TRY(o->comm->ops->write(o->file, o->section_offset[k] + i * size, samples,
                                   n * size));
    }
    return TR_OK;
}

/* This rank's share of sections from the float file to the final one. */
static tr_status convert_share(tr_output *o, double about, section_sums *sums)
{
    enum { CHUNK = 1 << 20 };
    size_t first, count;
    tr_partition(o->volume.nz, (size_t)o->comm->size, (size_t)o->comm->rank, &first,
                 &count);
    float *values = tr_calloc("samples to convert", 2 * CHUNK, sizeof *values);
    if (!values)
        return TR_ERR_MEMORY;
    tr_status status = TR_OK;
    for (size_t k = first; k < first + count && status == TR_OK; k++)
        status = convert_section(o, k, values, CHUNK, about, &sums[k]);
    free(values);
    return status;
}

/* From the float file to integers; *t becomes the statistics of the integers, added up
 * in the order of the sections. */
static tr_status convert_all(tr_output *o, tr_statistics *t)
{
    tr_comm *comm = o->comm;
    double about = (t->mean + o->spec.add) * o->spec.multiply;
    double n = (double)samples_per_section(o) * (double)o->volume.nz;
    section_sums all = {.min = INFINITY, .max = -INFINITY};
    section_sums *sums = tr_calloc("section statistics", o->volume.nz, sizeof *sums);
    tr_status status =
        comm->ops->agree(comm, sums ? convert_share(o, about, sums) : TR_ERR_MEMORY);
    if (status == TR_OK)
        status = comm->ops->sum(comm, (double *)sums,
                                o->volume.nz * sizeof *sums / sizeof(double));
    for (size_t k = 0; sums && k < o->volume.nz; k++) {
        all.min = fmin(all.min, sums[k].min);
        all.max = fmax(all.max, sums[k].max);
        all.first += sums[k].first;
        all.second += sums[k].second;
    }
    free(sums);
    double shift = all.first / n;
    *t = (tr_statistics){.min = all.min,
                         .max = all.max,
                         .mean = about + shift,
                         .rms = sqrt(fmax(all.second / n - shift * shift, 0.0))};
    return status;
}

/* Those that are open. Collective. */
static tr_status close_files(tr_output *o)
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

/* What has its name is on the disk, whatever happens to the machine. */
static tr_status sync_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL || errno == ENOSYS);
    tr_status status = good ? TR_OK
                            : tr_fail(TR_ERR_DATA, "%s cannot be put on the disk: %s",
                                      path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return status;
}

static tr_status publish(const tr_output *o, const tr_statistics *t)
{
    TR_TRY(o->format->finish(o->partial, &o->volume, t, o->spec.deflate));
    TR_TRY(sync_file(o->partial));
    if (rename(o->partial, o->path) != 0)
        return tr_fail(TR_ERR_DATA, "%s cannot be renamed to %s: %s", o->partial, o->path,
                       strerror(errno));
    return TR_OK;
}

static tr_status check_values(const tr_output *o, const tr_statistics *t)
{
    if (!isfinite(t->mean) || !isfinite(t->rms))
        return tr_fail(
            TR_ERR_DATA,
            "%s: voxels came out as NaN or infinite; nothing was kept; look at "
            "--scale, and for such values in --initial",
            o->path);
    if (t->min == t->max)
        return tr_fail(TR_ERR_DATA,
                       "%s: every voxel came out as %g; nothing was kept; look at the "
                       "series, and at --scale for --mode %s",
                       o->path, t->min, tr_type_name(o->spec.type));
    return TR_OK;
}

static tr_status finish(tr_output *o, tr_statistics *t, char *scaling)
{
    tr_comm *comm = o->comm;
    scaling[0] = '\0';
    TR_TRY(comm->ops->sum(comm, (double *)o->sums,
                          o->spec.n_slices * sizeof *o->sums / sizeof(double)));
    *t = tr_slices_total(o->sums, o->spec.n_slices,
                         (double)o->spec.width * (double)o->spec.thickness);
    o->worthless = true; /* until they are found to be good */
    TR_TRY(comm->ops->agree(comm, check_values(o, t)));
    o->worthless = false;
    if (o->raw) {
        choose_scaling(o, t, scaling);
        TR_TRY(convert_all(o, t));
    }
    TR_TRY(close_files(o));
    return comm->ops->agree(comm, comm->rank == 0 ? publish(o, t) : TR_OK);
}

tr_status tr_output_finish(tr_output *o, tr_statistics *statistics, char *scaling)
{
    tr_status status = finish(o, statistics, scaling);
    if (status != TR_OK) {
        (void)close_files(o); /* every rank is here; the first failure is what counts */
    } else {
        /* The final name is there: only the float file is still to be removed. */
        free(o->partial);
        o->partial = NULL;
        unfinished[0] = NULL;
        o->worthless = true; /* the journal and the float file are */
    }
    tr_output_discard(o);
    return status;
}

void tr_output_discard(tr_output *o)
{
    if (!o)
        return;
    /* Else the files stay open on purpose: closing is collective. */
    if (o->comm->size == 1 || o->comm->agreed_failure)
        (void)close_files(o);
    bool kept = o->journal && !o->worthless && tr_journal_keep(o->journal);
    char *const names[] = {o->partial, o->raw, o->journal_path};
    /* Before the journal is open, the files may be those of an earlier run. */
    for (int i = 0; i < 3 && !kept; i++)
        if (names[i] && unfinished[i])
            unlink(names[i]);
    if (kept)
        tr_warn("what is done is kept in %s; the same command with --resume goes on from "
                "there",
                o->partial);
    unfinished_journal = NULL;
    for (int i = 0; i < 3; i++)
        unfinished[i] = NULL;
    tr_journal_close(o->journal);
    free(o->journal_path);
    free(o->section_offset);
    free(o->sums);
    free(o->piece);
    free(o->partial);
    free(o->raw);
    free(o->path);
    free(o);
}

size_t tr_output_bytes(const tr_output_spec *spec, size_t n)
{
    size_t plane = spec->width * spec->thickness * sizeof(float);
    size_t lines = n * spec->width * sizeof(float);
    return plane > lines ? plane : lines;
}
