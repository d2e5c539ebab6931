/* Writing MRC2014 files; what the fields mean is in mrc.c. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/file_name.h"
#include "common/base/mem.h"
#include "formats/file_io.h"
#include "formats/mrc_header.h"

static void put_int(unsigned char *bytes, int at, int32_t value)
{
    memcpy(bytes + at, &value, sizeof value);
}

static void put_float(unsigned char *bytes, int at, double value)
{
    float single = (float)value;
    memcpy(bytes + at, &single, sizeof single);
}

static void put_labels(unsigned char *bytes, const tr_volume_spec *spec)
{
    int n = 0;
    memset(bytes + AT_LABELS, ' ', TR_LABELS * TR_LABEL_LENGTH);
    for (size_t i = 0; i < spec->n_labels && i < TR_LABELS; i++) {
        size_t length = strnlen(spec->labels[i], TR_LABEL_LENGTH);
        if (length > 0)
            memcpy(bytes + AT_LABELS + n++ * TR_LABEL_LENGTH, spec->labels[i], length);
    }
    put_int(bytes, AT_N_LABELS, n);
}

/* Statistics of NULL are marked as unknown in MRC2014's way: maximum below minimum, mean
 * below both, negative deviation. */
static void make_header(const tr_volume_spec *spec, int mode,
                        const tr_statistics *statistics, unsigned char *bytes)
{
    const size_t size[3] = {spec->nx, spec->ny, spec->nz};
    double pixel = spec->pixel > 0 ? spec->pixel : 1;
    memset(bytes, 0, MRC_HEADER_BYTES);
    for (int i = 0; i < 3; i++) {
        put_int(bytes, AT_SIZE + 4 * i, (int32_t)size[i]);
        put_int(bytes, AT_GRID + 4 * i, (int32_t)size[i]);
        put_float(bytes, AT_CELL + 4 * i, pixel * (double)size[i]);
        put_float(bytes, AT_CELL_ANGLES + 4 * i, 90);
        put_int(bytes, AT_AXES + 4 * i, i + 1);
        put_float(bytes, AT_ORIGIN + 4 * i, 0 - spec->origin[i]);
    }
    put_int(bytes, AT_MODE, mode);
    put_float(bytes, AT_MIN, statistics ? statistics->min : 0);
    put_float(bytes, AT_MAX, statistics ? statistics->max : -1);
    put_float(bytes, AT_MEAN, statistics ? statistics->mean : -2);
    put_float(bytes, AT_RMS, statistics ? statistics->rms : -1);
    put_int(bytes, AT_SPACE_GROUP, 1); /* a volume */
    put_int(bytes, AT_VERSION, 20141); /* the first with mode 12 */
    put_int(bytes, AT_IMOD_STAMP, IMOD_STAMP);
    put_int(bytes, AT_IMOD_FLAGS,
            INVERTED_ORIGIN | (mode == MODE_BYTE ? SIGNED_BYTES : 0));
    memcpy(bytes + AT_MAP, "MAP DD\0\0", 8); /* 68, 68: little-endian */
    put_labels(bytes, spec);
}

static tr_status check_spec(const char *path, const tr_volume_spec *spec,
                            const tr_mrc_mode **mode)
{
    *mode = tr_mrc_mode_of(spec->type);
    if (!*mode || spec->type == TR_UINT4)
        return tr_fail(TR_ERR_USAGE,
                       "%s: samples of type %s cannot be written to MRC; int8, int16, "
                       "uint16, float16 and float32 can",
                       path, tr_type_name(spec->type));
    if (spec->nx < 1 || spec->ny < 1 || spec->nz < 1 || spec->nx > INT32_MAX ||
        spec->ny > INT32_MAX || spec->nz > INT32_MAX)
        return tr_fail(
            TR_ERR_USAGE,
            "%s: a size of %zu x %zu x %zu cannot be written to MRC; each must "
            "be 1 to %d",
            path, spec->nx, spec->ny, spec->nz, INT32_MAX);
    return TR_OK;
}

static tr_status lay_out(const char *path, int fd, const tr_volume_spec *spec,
                         const tr_mrc_mode *mode, uint64_t **section_offset)
{
    unsigned char bytes[MRC_HEADER_BYTES];
    make_header(spec, mode->mode, NULL, bytes);
    TR_TRY(tr_write_at(fd, path, bytes, MRC_HEADER_BYTES, 0));
    TR_TRY(
        tr_reserve(fd, path, tr_mrc_file_bytes(mode, spec->nx, spec->ny, spec->nz, 0)));
    uint64_t *offset = tr_calloc("section offsets", spec->nz, sizeof *offset);
    if (!offset)
        return TR_ERR_MEMORY;
    for (size_t z = 0; z < spec->nz; z++)
        offset[z] = MRC_HEADER_BYTES + z * spec->ny * tr_mrc_row_bytes(mode, spec->nx);
    *section_offset = offset;
    return TR_OK;
}

tr_status tr_mrc_create(const char *path, const tr_volume_spec *spec,
                        uint64_t **section_offset)
{
    const tr_mrc_mode *mode;
    TR_TRY(check_spec(path, spec, &mode));
    int fd = tr_file_create(path, 0666);
    if (fd < 0)
        return tr_fail(TR_ERR_DATA, "cannot create %s: %s", path, strerror(errno));
    tr_status status = lay_out(path, fd, spec, mode, section_offset);
    close(fd);
    if (status != TR_OK)
        unlink(path);
    return status;
}

tr_status tr_mrc_finish(const char *path, const tr_volume_spec *spec,
                        const tr_statistics *statistics, int deflate)
{
    const tr_mrc_mode *mode;
    unsigned char bytes[MRC_HEADER_BYTES];
    (void)deflate; /* MRC has no compression */
    TR_TRY(check_spec(path, spec, &mode));
    int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return tr_fail(TR_ERR_DATA, "cannot open %s: %s", path, strerror(errno));
    make_header(spec, mode->mode, statistics, bytes);
    tr_status status = tr_write_at(fd, path, bytes, MRC_HEADER_BYTES, 0);
    if (close(fd) != 0 && status == TR_OK)
        status = tr_fail(TR_ERR_DATA, "cannot write %s: %s", path, strerror(errno));
    return status;
}
