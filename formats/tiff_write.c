/* Writing TIFF so that every section lies at a known place and any process can write its
 * samples there, which libtiff does not offer: a header, the directories of all pages,
 * then the samples, one strip a page, not compressed. Of 4 GiB and more the file is a
 * BigTIFF.
 *
 * The first row of a section is its bottom, which Orientation says (4); readers that do
 * not look at it show pictures upside down. The first page's description is what ImageJ
 * reads of a stack (how many pages, the size of a voxel, the range of values), and the
 * rest of what an MRC header has, which tiff.c reads. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiff.h>
#include <unistd.h>

#include "common/base/file_name.h"
#include "common/base/mem.h"
#include "formats/file_io.h"
#include "formats/tiff_common.h"

enum { DESCRIPTION = 2048, PAGE_BYTES = 512, ALIGNED = 4096, N_TAGS = 14 };

typedef struct layout {
    bool big; /* 64-bit offsets */
    uint64_t text, data, section, bytes;
} layout;

static tr_status lay_out(const char *path, const tr_volume_spec *spec, layout *l)
{
    size_t sample = tr_type_size(spec->type);
    if (!tr_type_is_written(spec->type) || !spec->nx || !spec->ny || !spec->nz ||
        spec->nx > INT32_MAX || spec->ny > INT32_MAX || spec->nz > INT32_MAX)
        return tr_fail(TR_ERR_USAGE,
                       "%s: %zu x %zu x %zu samples of type %s cannot be written to TIFF",
                       path, spec->nx, spec->ny, spec->nz, tr_type_name(spec->type));
    *l = (layout){.text = 16};
    l->section = (uint64_t)spec->nx * spec->ny * sample;
    l->data = l->text + DESCRIPTION + spec->nz * PAGE_BYTES;
    l->data = (l->data + ALIGNED - 1) / ALIGNED * ALIGNED;
    if (__builtin_mul_overflow(l->section, spec->nz, &l->bytes) ||
        __builtin_add_overflow(l->bytes, l->data, &l->bytes))
        return tr_fail(TR_ERR_USAGE, "%s: %zu x %zu x %zu samples are too many for TIFF",
                       path, spec->nx, spec->ny, spec->nz);
    l->big = l->bytes >= UINT32_MAX;
    return TR_OK;
}

/* ---- bytes, little-endian ---- */

static size_t put(unsigned char *to, size_t bytes, uint64_t value)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] = (unsigned char)(value >> (8 * i));
    return bytes;
}

/* An entry with one value, or the offset where more of it is. */
static size_t put_tag(const layout *l, unsigned char *to, unsigned tag, unsigned type,
                      uint64_t count, uint64_t value)
{
    size_t width = l->big ? 8 : 4, at = put(to, 2, tag);
    at += put(to + at, 2, type);
    at += put(to + at, width, count);
    return at + put(to + at, width, value);
}

/* The page's directory, and behind it its two fractions. */
static void make_page(const layout *l, const tr_volume_spec *spec, size_t z,
                      unsigned char page[PAGE_BYTES])
{
    static const unsigned format[] = {
        [TR_INT8] = SAMPLEFORMAT_INT,       [TR_UINT8] = SAMPLEFORMAT_UINT,
        [TR_INT16] = SAMPLEFORMAT_INT,      [TR_UINT16] = SAMPLEFORMAT_UINT,
        [TR_FLOAT32] = SAMPLEFORMAT_IEEEFP, [TR_FLOAT16] = SAMPLEFORMAT_IEEEFP};
    uint64_t here = l->text + DESCRIPTION + z * PAGE_BYTES;
    size_t fraction = PAGE_BYTES - 16, at;
    unsigned whole = l->big ? TIFF_LONG8 : TIFF_LONG,
             bits = (unsigned)tr_type_size(spec->type) * 8;
    memset(page, 0, PAGE_BYTES);
    at = put(page, l->big ? 8 : 2, N_TAGS);
    at += put_tag(l, page + at, TIFFTAG_IMAGEWIDTH, TIFF_LONG, 1, spec->nx);
    at += put_tag(l, page + at, TIFFTAG_IMAGELENGTH, TIFF_LONG, 1, spec->ny);
    at += put_tag(l, page + at, TIFFTAG_BITSPERSAMPLE, TIFF_SHORT, 1, bits);
    at += put_tag(l, page + at, TIFFTAG_COMPRESSION, TIFF_SHORT, 1, COMPRESSION_NONE);
    at +=
        put_tag(l, page + at, TIFFTAG_PHOTOMETRIC, TIFF_SHORT, 1, PHOTOMETRIC_MINISBLACK);
    at +=
        put_tag(l, page + at, TIFFTAG_IMAGEDESCRIPTION, TIFF_ASCII, DESCRIPTION, l->text);
    at += put_tag(l, page + at, TIFFTAG_STRIPOFFSETS, whole, 1, l->data + z * l->section);
    at += put_tag(l, page + at, TIFFTAG_ORIENTATION, TIFF_SHORT, 1, ORIENTATION_BOTLEFT);
    at += put_tag(l, page + at, TIFFTAG_SAMPLESPERPIXEL, TIFF_SHORT, 1, 1);
    at += put_tag(l, page + at, TIFFTAG_ROWSPERSTRIP, TIFF_LONG, 1, spec->ny);
    at += put_tag(l, page + at, TIFFTAG_STRIPBYTECOUNTS, whole, 1, l->section);
    at += put_tag(l, page + at, TIFFTAG_XRESOLUTION, TIFF_RATIONAL, 1, here + fraction);
    at += put_tag(l, page + at, TIFFTAG_YRESOLUTION, TIFF_RATIONAL, 1, here + fraction);
    at += put_tag(l, page + at, TIFFTAG_SAMPLEFORMAT, TIFF_SHORT, 1, format[spec->type]);
    put(page + at, l->big ? 8 : 4, z + 1 < spec->nz ? here + PAGE_BYTES : 0);
    /* Pixels to an angstrom. */
    put(page + fraction, 4, 1000000);
    put(page + fraction + 4, 4,
        (uint64_t)llround(fmin(1e6 * (spec->pixel > 0 ? spec->pixel : 1), 4e9)));
    if (l->big) /* a fraction fits into the entry itself */
        for (size_t i = 11; i <= 12; i++)
            memcpy(page + 8 + i * 20 + 12, page + fraction, 8);
}

static void make_text(const tr_volume_spec *spec, const tr_statistics *statistics,
                      char text[DESCRIPTION])
{
    memset(text, 0, DESCRIPTION);
    size_t n = (size_t)snprintf(
        text, DESCRIPTION,
        "ImageJ=1.53a\nimages=%zu\nslices=%zu\nunit=angstrom\nspacing=%.17g\n"
        "origin=%.9g %.9g %.9g\n",
        spec->nz, spec->nz, spec->pixel > 0 ? spec->pixel : 1, spec->origin[0],
        spec->origin[1], spec->origin[2]);
    if (statistics)
        n += (size_t)snprintf(
            text + n, DESCRIPTION - n, "min=%.9g\nmax=%.9g\nmean=%.9g\nrms=%.9g\n",
            statistics->min, statistics->max, statistics->mean, statistics->rms);
    for (size_t i = 0; i < spec->n_labels && n + TR_LABEL_LENGTH + 16 < DESCRIPTION; i++)
        n += (size_t)snprintf(text + n, DESCRIPTION - n, "label%zu=%s\n", i,
                              spec->labels[i]);
}

/* ---- the file ---- */

static tr_status write_head(int fd, const char *path, const tr_volume_spec *spec,
                            const layout *l, const tr_statistics *statistics)
{
    unsigned char head[16] = "II", page[PAGE_BYTES];
    char text[DESCRIPTION];
    uint64_t first = l->text + DESCRIPTION;
    if (l->big) {
        put(head + 2, 2, 43);
        put(head + 4, 2, 8);
        put(head + 8, 8, first);
    } else {
        put(head + 2, 2, 42);
        put(head + 4, 4, first);
    }
    make_text(spec, statistics, text);
    TR_TRY(tr_write_at(fd, path, head, sizeof head, 0));
    TR_TRY(tr_write_at(fd, path, text, sizeof text, l->text));
    for (size_t z = 0; z < spec->nz && !statistics; z++) {
        make_page(l, spec, z, page);
        TR_TRY(tr_write_at(fd, path, page, sizeof page, first + z * PAGE_BYTES));
    }
    return TR_OK;
}

tr_status tr_tiff_create(const char *path, const tr_volume_spec *spec,
                         uint64_t **section_offset)
{
    layout l;
    TR_TRY(lay_out(path, spec, &l));
    int fd = tr_file_create(path, 0666);
    if (fd < 0)
        return tr_fail(TR_ERR_DATA, "cannot create %s: %s", path, strerror(errno));
    uint64_t *offset = tr_calloc("section offsets", spec->nz, sizeof *offset);
    tr_status status = offset ? write_head(fd, path, spec, &l, NULL) : TR_ERR_MEMORY;
    if (status == TR_OK)
        status = tr_reserve(fd, path, l.bytes);
    close(fd);
    if (status != TR_OK) {
        unlink(path);
        free(offset);
        return status;
    }
    for (size_t z = 0; z < spec->nz; z++)
        offset[z] = l.data + z * l.section;
    *section_offset = offset;
    return TR_OK;
}

tr_status tr_tiff_finish(const char *path, const tr_volume_spec *spec,
                         const tr_statistics *statistics, int deflate)
{
    layout l;
    (void)deflate; /* only HDF5 is repacked */
    TR_TRY(lay_out(path, spec, &l));
    int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return tr_fail(TR_ERR_DATA, "cannot open %s: %s", path, strerror(errno));
    tr_status status = write_head(fd, path, spec, &l, statistics);
    if (close(fd) != 0 && status == TR_OK)
        status = tr_fail(TR_ERR_DATA, "cannot write %s: %s", path, strerror(errno));
    return status;
}
