/* From the last slice to the final name. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/first_error.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/tomogram/leftovers.h"
#include "common/tomogram/output_private.h"
#include "common/base/partition.h"
#include "common/tomogram/verify.h"
#include "kernels/samples.h"

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
 * gold bead does not cost the specimen its grey values. One scaling for all n volumes,
 * which fits the widest. */
static void choose_scaling(tr_output *const *outputs, size_t n, const tr_statistics *t,
                           char *text)
{
    double low, high, from = INFINITY, to = -INFINITY;
    for (size_t k = 0; k < n; k++) {
        from = fmin(from, fmax(t[k].min, t[k].mean - 6.0 * t[k].rms));
        to = fmax(to, fmin(t[k].max, t[k].mean + 6.0 * t[k].rms));
    }
    type_range(outputs[0]->spec.type, &low, &high);
    double multiply = (high - low) / (to - from), add = low / multiply - from;
    snprintf(text, 128, "density = %.9g * stored %+.9g", 1.0 / multiply, -add);
    for (size_t k = 0; k < n; k++) {
        tr_output *o = outputs[k];
        o->spec.multiply = multiply;
        o->spec.add = add;
        if (o->volume.n_labels < TR_LABELS)
            snprintf(o->volume.labels[o->volume.n_labels++], TR_LABEL_LENGTH + 1, "%s",
                     text);
    }
}

/* What a section holds after the conversion, about the mean expected of it. */
typedef struct section_sums {
    double min, max, first, second;
} section_sums;

static void add_chunk(section_sums *s, const float *values, size_t n, double about)
{
    section_sums own = *s;
    float low = values[0], high = values[0];
    for (size_t i = 0; i < n; i++) {
        double d = values[i] - about;
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
        own.first += d;
        own.second += d * d;
    }
    own.min = fmin(own.min, low);
    own.max = fmax(own.max, high);
    *s = own;
}

/* The float file on its way to the final one. `read` and `made` are checksums of slices,
 * [thread][slice], of this rank's share: of the floats read and, NULL without --verify,
 * of the integers made. */
typedef struct conversion {
    double about; /* the mean that is expected */
    section_sums *sums;
    double *read, *made;
} conversion;

static tr_verify_layout layout_of(const tr_output *o)
{
    return (tr_verify_layout){.width = o->spec.width,
                              .thickness = o->spec.thickness,
                              .n_slices = o->spec.n_slices,
                              .xyz = o->spec.xyz};
}

static tr_status transfer(tr_output *o, tr_shared_file *to, uint64_t at, void *samples,
                          size_t bytes)
{
    const tr_comm_ops *ops = o->comm->ops;
    pthread_mutex_lock(&o->one_writer);
    tr_status status = to ? ops->write(to, at, samples, bytes)
                          : ops->read(o->raw_file, at, samples, bytes);
    pthread_mutex_unlock(&o->one_writer);
    return status;
}

/* In chunks of whole lines, by one thread, whose room is `values`, twice `room`. */
static tr_status convert_section(tr_output *o, size_t k, float *values, size_t room,
                                 size_t thread, const conversion *c)
{
    size_t size = tr_type_size(o->spec.type), section = tr_output_section_samples(o);
    size_t width = o->spec.width, chunk = room / width * width;
    const tr_verify_layout layout = layout_of(o);
    section_sums *sums = &c->sums[k];
    *sums = (section_sums){.min = INFINITY, .max = -INFINITY};
    for (size_t i = 0; i < section; i += chunk) {
        size_t n = section - i < chunk ? section - i : chunk;
        uint64_t from = ((uint64_t)k * section + i) * sizeof(float);
        void *samples = values + room;
        TR_TRY(transfer(o, NULL, from, values, n * sizeof *values));
        tr_verify_add(&layout, k, i / width, n / width, values,
                      c->read + thread * layout.n_slices);
        tr_samples_best()->scale(values, n, o->spec.add, o->spec.multiply);
        tr_convert_from_float(values, n, o->spec.type, samples);
        tr_convert_to_float(samples, n, o->spec.type, values);
        add_chunk(sums, values, n, c->about);
        if (c->made)
            tr_verify_add(&layout, k, i / width, n / width, values,
                          c->made + thread * layout.n_slices);
        TR_TRY(transfer(o, o->file, o->section_offset[k] + i * size, samples, n * size));
    }
    return TR_OK;
}

/* The other threads' to the first one's. */
static void add_threads(double *checks, size_t n_slices, size_t threads)
{
    for (size_t k = n_slices; checks && k < threads * n_slices; k++)
        checks[k % n_slices] += checks[k];
}

/* This rank's share of sections from the float file to the final one. */
static tr_status convert_share(tr_output *o, const conversion *c)
{
    size_t first, count, room, threads = tr_output_threads(&o->spec);
    TR_TRY(tr_output_make_room(o, &room));
    tr_partition(o->volume.nz, (size_t)o->comm->size, (size_t)o->comm->rank, &first,
                 &count);
    tr_first_error failure = TR_NO_ERROR_YET;
#pragma omp parallel for schedule(dynamic) num_threads((int)threads)
    for (size_t k = first; k < first + count; k++) {
        size_t thread = (size_t)omp_get_thread_num();
        if (tr_first_error_needs(&failure, k))
            tr_first_error_note(
                &failure, k,
                convert_section(o, k, o->room + 2 * room * thread, room, thread, c));
    }
    add_threads(c->read, o->spec.n_slices, threads);
    add_threads(c->made, o->spec.n_slices, threads);
    return tr_first_error_end(&failure);
}

/* The statistics of the integers, added up in the order of the sections. */
static tr_statistics total(const tr_output *o, const conversion *c)
{
    double n = (double)tr_output_section_samples(o) * (double)o->volume.nz;
    section_sums all = {.min = INFINITY, .max = -INFINITY};
    TR_ASSERT(c->sums); /* agreed on */
    for (size_t k = 0; k < o->volume.nz; k++) {
        all.min = fmin(all.min, c->sums[k].min);
        all.max = fmax(all.max, c->sums[k].max);
        all.first += c->sums[k].first;
        all.second += c->sums[k].second;
    }
    double shift = all.first / n;
    return (tr_statistics){.min = all.min,
                           .max = all.max,
                           .mean = c->about + shift,
                           .rms = sqrt(fmax(all.second / n - shift * shift, 0.0))};
}

/* Whether the floats read were those written; from now on the integers' checksums count.
 */
static tr_status check_conversion(tr_output *o, const conversion *c)
{
    size_t n = o->spec.n_slices;
    TR_TRY(tr_verify_compare(o->comm, o->path, c->read, o->sums, n));
    if (!o->spec.verify)
        return TR_OK;
    TR_ASSERT(c->made);
    TR_TRY(o->comm->ops->sum(o->comm, c->made, n));
    for (size_t k = 0; k < n; k++)
        o->sums[k].check = c->made[k];
    return TR_OK;
}

static tr_status convert_with(tr_output *o, conversion *c, tr_statistics *t)
{
    tr_comm *comm = o->comm;
    TR_TRY(comm->ops->agree(comm, convert_share(o, c)));
    TR_TRY(tr_comm_gather(comm, (double *)c->sums,
                          o->volume.nz * sizeof *c->sums / sizeof(double)));
    *t = total(o, c);
    o->worthless = true; /* until it is found to be good */
    TR_TRY(check_conversion(o, c));
    o->worthless = false;
    return TR_OK;
}

/* From the float file to integers; *t becomes the statistics of the integers. */
static tr_status convert_all(tr_output *o, tr_statistics *t)
{
    size_t n = o->spec.n_slices * tr_output_threads(&o->spec);
    bool verify = o->spec.verify;
    conversion c = {
        .about = (t->mean + o->spec.add) * o->spec.multiply,
        .sums = tr_calloc("section statistics", o->volume.nz, sizeof *c.sums),
        .read = tr_calloc("checksums", n, sizeof *c.read),
        .made = verify ? tr_calloc("checksums", n, sizeof *c.made) : NULL,
    };
    bool ready = c.sums && c.read && (!verify || c.made);
    tr_status status = o->comm->ops->agree(o->comm, ready ? TR_OK : TR_ERR_MEMORY);
    if (status == TR_OK)
        status = convert_with(o, &c, t);
    tr_output_free_room(o);
    free(c.sums);
    free(c.read);
    free(c.made);
    return status;
}

/* What has its name is on the disk, whatever happens to the machine. */
static tr_status sync_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    bool good = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL || errno == ENOSYS);
    tr_status status = good ? TR_OK
                            : tr_fail(TR_ERR_DATA, "%s cannot be put on the disk: %s",
                                      path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return status;
}

static tr_status finish_format(tr_output *o, const tr_statistics *t)
{
    TR_TRY(tr_output_check_name(o));
    TR_TRY(o->format->finish(o->partial, &o->volume, t, o->spec.deflate));
    if (o->spec.deflate > 0) /* it may be another file now */
        TR_TRY(tr_output_know_files(o));
    return sync_file(o->partial);
}

/* The last step but the names. Collective. */
static tr_status complete(tr_output *o, const tr_statistics *t)
{
    tr_comm *comm = o->comm;
    /* Once it is packed, its sections are no longer where the float file's go. */
    o->worthless = o->raw && o->spec.deflate > 0;
    TR_TRY(comm->ops->agree(comm, comm->rank == 0 ? finish_format(o, t) : TR_OK));
    if (!o->spec.verify)
        return TR_OK;
    bool before = o->worthless;
    const tr_verify_layout layout = layout_of(o);
    o->worthless = true; /* until it is found to be good */
    TR_TRY(tr_verify_file(comm, o->partial, o->path, &layout, &o->volume, t, o->sums));
    o->worthless = before;
    return TR_OK;
}

/* Take back the names of the first n; what they were of before has them again. */
static void rename_back(tr_output *const *outputs, size_t n, char *const *earlier)
{
    for (size_t k = 0; k < n; k++) {
        if (tr_file_is(outputs[k]->path, &outputs[k]->id[0]))
            (void)rename(outputs[k]->path, outputs[k]->partial);
        if (earlier[k])
            (void)rename(earlier[k], outputs[k]->path);
    }
}

/* All names or none. Of several, what has a name now gets a second one, so that it is not
 * lost if a later one cannot be given; on disks without links that is left out. */
static tr_status rename_all(tr_output *const *outputs, size_t n)
{
    char *earlier[TR_MOST_OUTPUTS] = {NULL};
    tr_status status = TR_OK;
    for (size_t k = 0; k < n && status == TR_OK; k++) {
        const tr_output *o = outputs[k];
        earlier[k] = n > 1 ? tr_format_string("%s.earlier", o->partial) : NULL;
        if (earlier[k])
            unlink(earlier[k]);
        if (earlier[k] && link(o->path, earlier[k]) != 0) {
            free(earlier[k]);
            earlier[k] = NULL;
        }
        status = tr_output_check_name(o);
        if (status == TR_OK && rename(o->partial, o->path) == 0)
            continue;
        if (status == TR_OK)
            status = tr_fail(TR_ERR_DATA, "%s cannot be renamed to %s: %s", o->partial,
                             o->path, strerror(errno));
        rename_back(outputs, k, earlier);
    }
    for (size_t k = 0; k < n; k++) {
        if (earlier[k])
            unlink(earlier[k]);
        free(earlier[k]);
    }
    return status;
}

static void take_back_stores(tr_output *const *outputs, size_t n)
{
    for (size_t k = 0; k < n; k++)
        if (outputs[k]->store)
            tr_store_take_back(outputs[k]->store, outputs[k]->spec.store.folder,
                               outputs[k]->store_before);
}

static tr_status name_all(tr_output *const *outputs, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        const tr_output *o = outputs[k];
        tr_status status =
            o->store ? tr_store_publish(o->store, o->spec.store.folder, o->store_before)
                     : TR_OK;
        if (status != TR_OK) {
            take_back_stores(outputs, k);
            return status;
        }
    }
    tr_status status = rename_all(outputs, n);
    if (status != TR_OK)
        take_back_stores(outputs, n);
    return status;
}

static tr_status publish(tr_output *const *outputs, size_t n)
{
    sigset_t ending, before;
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGHUP);
    sigprocmask(SIG_BLOCK, &ending, &before);
    tr_status status = name_all(outputs, n);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return status;
}

static tr_status check_values(const tr_output *o, const tr_statistics *t)
{
    if (!isfinite(t->mean) || !isfinite(t->rms))
        return tr_fail(
            TR_ERR_DATA,
            "%s: voxels came out as NaN or infinite; nothing was kept; look at "
            "--scale, and for such values in --initial",
            o->path);
    if (t->min == 0.0 && t->max == 0.0)
        return tr_fail(TR_ERR_DATA,
                       "%s: every voxel is 0; nothing was kept; look at the series, and "
                       "at --scale for --mode %s",
                       o->path, tr_type_name(o->spec.type));
    if (t->min == t->max)
        return tr_fail(TR_ERR_DATA,
                       "%s: every voxel is %g; nothing was kept; look at the series, and "
                       "at --scale for --mode %s",
                       o->path, t->min, tr_type_name(o->spec.type));
    return TR_OK;
}

tr_status tr_output_measure(tr_output *o)
{
    tr_comm *comm = o->comm;
    if (o->measured)
        return TR_OK;
    TR_TRY(tr_comm_gather(comm, (double *)o->sums,
                          o->spec.n_slices * sizeof *o->sums / sizeof(double)));
    o->measured = true;
    tr_output_free_room(o); /* those of half sets are made while this one waits */
    o->statistics = tr_slices_total(o->sums, o->spec.n_slices,
                                    (double)o->spec.width * (double)o->spec.thickness);
    o->worthless = true; /* until they are found to be good */
    TR_TRY(comm->ops->agree(comm, check_values(o, &o->statistics)));
    o->worthless = false;
    return TR_OK;
}

static tr_status make_store(const tr_output *o)
{
    if (!o->store)
        return TR_OK;
    return tr_pyramid_write(o->comm, o->partial, &o->volume, o->spec.xyz, &o->spec.store,
                            o->store, (int)tr_output_threads(&o->spec), o->all_before);
}

static tr_status finish(tr_output *const *outputs, size_t n, tr_statistics *t,
                        char *scaling)
{
    tr_comm *comm = outputs[0]->comm;
    scaling[0] = '\0';
    for (size_t k = 0; k < n; k++) {
        TR_TRY(tr_output_measure(outputs[k]));
        t[k] = outputs[k]->statistics;
    }
    if (outputs[0]->raw) {
        choose_scaling(outputs, n, t, scaling);
        for (size_t k = 0; k < n; k++) {
            TR_TRY(convert_all(outputs[k], &t[k]));
            TR_TRY(comm->ops->agree(comm, check_values(outputs[k], &t[k])));
        }
    }
    for (size_t k = 0; k < n; k++) {
        TR_TRY(comm->ops->agree(comm, tr_output_check_files(outputs[k], true)));
        TR_TRY(tr_output_close_files(outputs[k]));
    }
    for (size_t k = 0; k < n; k++)
        TR_TRY(complete(outputs[k], &t[k]));
    for (size_t k = 0; k < n; k++)
        TR_TRY(make_store(outputs[k]));
    return comm->ops->agree(comm, comm->rank == 0 ? publish(outputs, n) : TR_OK);
}

tr_status tr_outputs_finish(tr_output *const *outputs, size_t n,
                            tr_statistics *statistics, char *scaling)
{
    tr_status status = finish(outputs, n, statistics, scaling);
    for (size_t k = 0; k < n; k++) {
        tr_output *o = outputs[k];
        if (status != TR_OK) {
            /* Every rank is here; the first failure is what counts. */
            (void)tr_output_close_files(o);
        } else {
            /* The final name is there: only the float file is still to be removed. */
            const char *const rest[] = {NULL, o->raw, o->journal_path};
            tr_output_watch_files(o->slot, rest, o->id);
            free(o->partial);
            o->partial = NULL;
            o->worthless = true; /* the journal and the float file are */
            /* Of runs with other processes, types, programs. */
            if (o->comm->rank == 0 && tr_leftovers_remove(o->path) != TR_OK)
                tr_warn("%s", tr_error());
        }
        tr_output_discard(o);
    }
    return status;
}
