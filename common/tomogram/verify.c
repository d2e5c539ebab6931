#include "common/tomogram/verify.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/timeline.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/partition.h"
#include "kernels/samples.h"

/* ---- checksums ---- */

static double add(double sum, double check) { return fmod(sum + check, 0x1p32); }

uint32_t tr_verify_line(size_t number, const float *line, size_t width)
{
    return (uint32_t)tr_samples_best()->hash(line, width, number);
}

void tr_verify_add(const tr_verify_layout *layout, size_t section, size_t y, size_t n,
                   const float *rows, double *checks)
{
    for (size_t k = 0; k < n; k++) {
        size_t slice = layout->xyz ? y + k : section;
        size_t line = layout->xyz ? layout->thickness - 1 - section : y + k;
        double check = tr_verify_line(line, rows + k * layout->width, layout->width);
        checks[slice] = add(checks[slice], check);
    }
}

bool tr_verify_same(double a, double b) { return add(a, 0.0) == add(b, 0.0); }

tr_status tr_verify_compare(tr_comm *comm, const char *name, double *found,
                            const tr_slice_sums *written, size_t n_slices)
{
    size_t first = 0, wrong = 0;
    TR_ASSERT(found);
    TR_TRY(comm->ops->sum(comm, found, n_slices));
    for (size_t k = n_slices; k-- > 0;)
        if (!tr_verify_same(found[k], written[k].check))
            first = k, wrong++;
    if (!wrong)
        return TR_OK;
    tr_status status =
        tr_fail(TR_ERR_DATA,
                "%s: %zu of %zu slices, the first of them %zu (from 0), are not on the "
                "disk as they were written, so the file was removed; the disk, its "
                "connection or the memory may be failing: try another disk with -o",
                name, wrong, n_slices, first);
    return comm->ops->agree(comm, status);
}

/* ---- reading back ---- */

/* What the system keeps of the file in memory would hide what the disk did to it. */
static void forget(const char *path)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return; /* the reader will say so */
    (void)fsync(fd);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

/* Labels that are empty are in no file. */
static bool same_labels(const tr_image_info *found, const tr_volume_spec *volume)
{
    size_t next = 0;
    char label[TR_LABEL_LENGTH + 1];
    for (size_t k = 0; k < volume->n_labels && k < TR_LABELS; k++) {
        memcpy(label, volume->labels[k], sizeof label);
        label[TR_LABEL_LENGTH] = '\0';
        tr_clean_label(label);
        if (!*label)
            continue;
        while (next < found->n_labels && !found->labels[next][0])
            next++;
        if (next == found->n_labels || strcmp(label, found->labels[next++]) != 0)
            return false;
    }
    return true;
}

/* Both formats hold single precision, and lengths instead of pixels. */
static bool same_header(const tr_image_info *found, const tr_volume_spec *volume,
                        const tr_statistics *t)
{
    double pixel = volume->pixel > 0 ? volume->pixel : 1;
    const size_t size[3] = {volume->nx, volume->ny, volume->nz};
    bool same =
        found->nx == volume->nx && found->ny == volume->ny && found->nz == volume->nz &&
        found->type == volume->type && (float)found->min == (float)t->min &&
        (float)found->max == (float)t->max && (float)found->mean == (float)t->mean &&
        (float)found->rms == (float)t->rms;
    for (int i = 0; i < 3 && same; i++) {
        float length = (float)(pixel * (double)size[i]);
        same = (float)(found->pixel[i] * (double)size[i]) == length &&
               (float)found->origin[i] == (float)volume->origin[i];
    }
    return same && same_labels(found, volume);
}

/* Sections `first` to first + count - 1. */
static tr_status read_sections(const tr_comm *comm, tr_image *image,
                               const tr_verify_layout *layout, size_t first, size_t count,
                               double *found)
{
    enum { CHUNK = 1 << 20 };
    const tr_image_info *info = tr_image_get_info(image);
    size_t at_once = info->nx < CHUNK ? CHUNK / info->nx : 1;
    at_once = at_once < info->ny ? at_once : info->ny;
    float *rows = tr_calloc("rows read back", at_once, info->nx * sizeof *rows);
    double begun = tr_now();
    if (!rows)
        return TR_ERR_MEMORY;
    tr_status status = TR_OK;
    for (size_t k = first; k < first + count && status == TR_OK; k++) {
        for (size_t y = 0; y < info->ny && status == TR_OK; y += at_once) {
            size_t n = info->ny - y < at_once ? info->ny - y : at_once;
            status = tr_image_read(image, k, y, n, 0, info->nx, rows);
            if (status == TR_OK)
                tr_verify_add(layout, k, y, n, rows, found);
        }
        if (comm->rank == 0)
            tr_log_progress("reading back", (double)(k + 1 - first), (double)count, 0.0,
                            tr_now() - begun);
    }
    free(rows);
    return status;
}

static tr_status cannot_be_read(const char *name)
{
    char why[512];
    snprintf(why, sizeof why, "%s", tr_error());
    return tr_fail(TR_ERR_DATA,
                   "%s cannot be read back as it was written, so the file was removed: "
                   "%s",
                   name, why);
}

static tr_status read_share(const tr_comm *comm, const char *path, const char *name,
                            const tr_verify_layout *layout, const tr_volume_spec *volume,
                            const tr_statistics *statistics, double *found)
{
    size_t first, count;
    tr_image *image = NULL;
    tr_partition(volume->nz, (size_t)comm->size, (size_t)comm->rank, &first, &count);
    forget(path);
    tr_status status = tr_image_open(path, &image);
    if (status == TR_OK && !same_header(tr_image_get_info(image), volume, statistics))
        status = tr_fail(TR_ERR_DATA, "its header is not the one that was written");
    if (status == TR_OK)
        status = read_sections(comm, image, layout, first, count, found);
    if (status == TR_ERR_DATA)
        status = cannot_be_read(name);
    tr_image_close(image);
    return status;
}

tr_status tr_verify_file(tr_comm *comm, const char *path, const char *name,
                         const tr_verify_layout *layout, const tr_volume_spec *volume,
                         const tr_statistics *statistics, const tr_slice_sums *written)
{
    double begun = tr_now();
    size_t n = layout->n_slices;
    double *found = tr_calloc("checksums", n, sizeof *found);
    tr_status status =
        found ? read_share(comm, path, name, layout, volume, statistics, found)
              : TR_ERR_MEMORY;
    status = comm->ops->agree(comm, status);
    if (status == TR_OK)
        status = tr_verify_compare(comm, name, found, written, n);
    free(found);
    TR_TRY(status);
    tr_info("read back %s: %zu slices compared, all as they were written (%.2f s)", name,
            n, tr_now() - begun);
    return TR_OK;
}
