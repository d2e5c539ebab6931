/* Opening an image whatever its format: gzip is undone, the format recognised by
 * content, and calls are passed on to it. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "common/base/file_name.h"
#include "common/base/mem.h"
#include "formats/file_io.h"
#include "formats/file_kind.h"
#include "formats/format.h"
#include "formats/star_series.h"

struct tr_image {
    char *path;
    int fd;
    uint64_t size; /* of what fd is, when it was opened */
    const tr_format *format;
    tr_image_info info;
    void *state;          /* the format's own */
    tr_flat_field flat;   /* before is NULL: views are as in the file */
    tr_half_turn *others; /* NULL: they are not stitched; else as `stitched` says */
    tr_stitch stitch;
    tr_image_info stitched;
};

#define TR_IMAGE_FORMAT(format) &format,
static const tr_format *const formats[] = {
#include "formats/image_list.h"
};
#undef TR_IMAGE_FORMAT
enum { N_FORMATS = sizeof formats / sizeof formats[0], HEAD_BYTES = 1024 };

static tr_status open_regular(const char *path, int *fd, uint64_t *size, bool *folder)
{
    struct stat status;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* do not hang on a pipe */
    if (*fd < 0 || fstat(*fd, &status) != 0)
        return tr_fail(TR_ERR_DATA, "cannot open %s: %s", path, strerror(errno));
    *folder = S_ISDIR(status.st_mode);
    if (*folder)
        return TR_OK;
    if (!S_ISREG(status.st_mode))
        return tr_fail(TR_ERR_DATA, "%s is not a regular file; an image file is needed",
                       path);
    if (status.st_size == 0)
        return tr_fail(TR_ERR_DATA, "%s is empty; an image file is needed", path);
    *size = (uint64_t)status.st_size;
    return TR_OK;
}

static tr_status damaged_gzip(const char *path, gzFile in)
{
    int code;
    const char *reason = gzerror(in, &code);
    if (code == Z_ERRNO)
        reason = strerror(errno);
    if (code == Z_BUF_ERROR)
        reason = "it ends too early";
    return tr_fail(TR_ERR_DATA, "%s is damaged: its gzip data cannot be unpacked (%s)",
                   path, reason);
}

/* For reading from the start, with a descriptor of its own; NULL with the sentence. */
static gzFile open_gzip(const char *path, int fd)
{
    int own = dup(fd);
    gzFile in = own < 0 || lseek(own, 0, SEEK_SET) < 0 ? NULL : gzdopen(own, "rb");
    if (!in) {
        (void)tr_fail(TR_ERR_DATA, "cannot read %s: %s", path, strerror(errno));
        if (own >= 0)
            close(own);
    }
    return in;
}

/* The first bytes of the contents. */
static tr_status unpack_head(const char *path, int fd, unsigned char *head, size_t *n)
{
    gzFile in = open_gzip(path, fd);
    if (!in)
        return TR_ERR_DATA;
    tr_status status = TR_OK;
    int got = gzread(in, head, HEAD_BYTES), code;
    gzerror(in, &code);
    if (got < 0 || (got < HEAD_BYTES && code != Z_OK && code != Z_STREAM_END))
        status = damaged_gzip(path, in);
    else if (got == 0)
        status = tr_fail(TR_ERR_DATA, "%s is empty once unpacked", path);
    *n = got > 0 ? (size_t)got : 0;
    gzclose(in);
    return status;
}

/* At most `most` bytes, or a step more: a small file can unpack to a full disk. */
static tr_status unpack_into(const char *path, gzFile in, uint64_t most, int out,
                             const char *temporary)
{
    enum { STEP = 1 << 18 };
    unsigned char *buffer = malloc(STEP);
    if (!buffer)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for unpacking %s", path);
    tr_status status = TR_OK;
    uint64_t size = 0;
    int n, code;
    while (status == TR_OK && size < most && (n = gzread(in, buffer, STEP)) > 0) {
        status = tr_write_at(out, temporary, buffer, (size_t)n, size);
        if (status != TR_OK)
            (void)tr_fail(status,
                          "cannot unpack %s into %s: %s; the environment variable TMPDIR "
                          "can name another folder",
                          path, temporary, strerror(errno));
        size += (uint64_t)n;
    }
    free(buffer);
    gzerror(in, &code);
    if (status == TR_OK && code != Z_OK && code != Z_STREAM_END)
        status = damaged_gzip(path, in);
    return status;
}

/* Put the unpacked contents, of `most` bytes or a little more, in a file without a name
 * in the folder for temporary files, in the place of image->fd. */
static tr_status unpack(tr_image *image, uint64_t most)
{
    const char *folder = getenv("TMPDIR");
    char *path =
        tr_format_string("%s/tiltrec-unpacked", folder && *folder ? folder : "/tmp");
    if (!path)
        return TR_ERR_MEMORY;
    int unpacked = tr_file_unnamed(path), error = errno;
    path[tr_name_only(path) - path - 1] = '\0'; /* the folder is what is said */
    gzFile in = NULL;
    tr_status status = TR_OK;
    if (unpacked < 0)
        status = tr_fail(TR_ERR_DATA,
                         "cannot unpack %s: no temporary file can be made in %s: %s; the "
                         "environment variable TMPDIR can name another folder",
                         image->path, path, strerror(error));
    if (status == TR_OK && !(in = open_gzip(image->path, image->fd)))
        status = TR_ERR_DATA;
    if (in) {
        status = unpack_into(image->path, in, most, unpacked, path);
        gzclose(in);
    }
    if (unpacked >= 0) {
        close(image->fd);
        image->fd = unpacked;
    }
    free(path);
    return status;
}

static tr_status no_known_format(const tr_image *image, const unsigned char *head,
                                 size_t n)
{
    const char *path = image->path;
    tr_file_kind kind;
    if (tr_file_kind_of(head, n, &kind))
        return tr_fail(TR_ERR_DATA,
                       "%s is %s%s; an MRC, HDF5 or TIFF image is needed%s%s", path,
                       image->info.compressed ? "a gzip file of " : "", kind.name,
                       kind.as_image ? ": " : "", kind.as_image ? kind.as_image : "");
    if (tr_bytes_are_text(head, n))
        return tr_fail(TR_ERR_DATA,
                       "%s is a text file; an MRC, HDF5 or TIFF image is needed", path);
    if (n < HEAD_BYTES)
        return tr_fail(TR_ERR_DATA,
                       "%s has only %zu bytes, too few for an MRC, HDF5 or TIFF image",
                       path, n);
    return tr_fail(TR_ERR_DATA,
                   "%s is of no known format; an MRC, HDF5 or TIFF image is needed",
                   path);
}

/* What every format must have said, so that callers can multiply sizes safely. */
static tr_status check_sizes(const tr_image *image)
{
    const tr_image_info *info = &image->info;
    size_t bytes;
    if (info->nx == 0 || info->ny == 0 || info->nz == 0 ||
        tr_size_product("image", &bytes, 4,
                        (size_t[]){info->nx, info->ny, info->nz, sizeof(float)}) != TR_OK)
        return tr_fail(TR_ERR_DATA, "%s: a size of %zu x %zu x %zu cannot be handled",
                       image->path, info->nx, info->ny, info->nz);
    return TR_OK;
}

/* Of a file without MRC's "MAP", what another format's first bytes say comes before what
 * an MRC header could be. */
static const tr_format *find_format(const unsigned char *head, size_t n)
{
    enum { AT_MAP = 208 };
    tr_file_kind kind;
    bool map = n >= AT_MAP + 3 && memcmp(head + AT_MAP, "MAP", 3) == 0;
    for (size_t i = 0; i < N_FORMATS; i++) {
        bool mrc = formats[i] == &tr_format_mrc;
        if (formats[i]->probe(head, n) && (mrc || !map) &&
            !(mrc && !map && tr_file_kind_of(head, n, &kind)))
            return formats[i];
    }
    return NULL;
}

static tr_status open_folder(tr_image *image)
{
    image->info.format = tr_folder_of_images.name;
    tr_status status =
        tr_folder_of_images.open(image->path, image->fd, &image->info, &image->state);
    if (status != TR_OK)
        return status;
    image->format = &tr_folder_of_images;
    return check_sizes(image);
}

static tr_status open_star(tr_image *image, tr_frames frames)
{
    image->info.format = tr_star_of_images.name;
    TR_TRY(tr_star_series_open(image->path, frames, &image->info, &image->state));
    image->format = &tr_star_of_images;
    return check_sizes(image);
}

/* `lists`: also a folder or a STAR file of images. */
static tr_status open_image(tr_image *image, tr_frames frames, bool lists)
{
    unsigned char head[HEAD_BYTES];
    uint64_t size = 0;
    bool folder = false;
    TR_TRY(open_regular(image->path, &image->fd, &size, &folder));
    if (folder && lists)
        return open_folder(image);
    if (folder)
        return tr_fail(TR_ERR_DATA, "%s is a folder, not an image", image->path);
    size_t n = size < sizeof head ? (size_t)size : sizeof head;
    TR_TRY(tr_read_at(image->fd, image->path, head, n, 0));
    if (lists && tr_bytes_are_text(head, n) && tr_star_is_series(image->path))
        return open_star(image, frames);
    if (frames != TR_ALL_FRAMES)
        return tr_fail(TR_ERR_DATA,
                       "%s is no STAR file of RELION's that names images of the even and "
                       "odd frames",
                       image->path);
    image->info.compressed = n >= 2 && head[0] == 0x1f && head[1] == 0x8b;
    if (image->info.compressed)
        TR_TRY(unpack_head(image->path, image->fd, head, &n));
    const tr_format *format = find_format(head, n);
    if (!format)
        return no_known_format(image, head, n);
    image->info.format = format->name;
    if (image->info.compressed)
        TR_TRY(unpack(image, format->extent(head, n)));
    struct stat file;
    if (fstat(image->fd, &file) == 0)
        image->size = (uint64_t)file.st_size;
    tr_status status = format->open(image->path, image->fd, &image->info, &image->state);
    if (status != TR_OK)
        return status;
    image->format = format;
    return check_sizes(image);
}

static tr_status open_new(const char *path, tr_frames frames, bool lists,
                          tr_image **image)
{
    *image = NULL;
    tr_image *new = tr_calloc("an image", 1, sizeof *new);
    if (!new)
        return TR_ERR_MEMORY;
    new->fd = -1;
    new->path = tr_strdup(path);
    tr_status status = new->path ? open_image(new, frames, lists) : TR_ERR_MEMORY;
    if (status == TR_OK)
        *image = new;
    else
        tr_image_close(new);
    return status;
}

tr_status tr_image_open(const char *path, tr_image **image)
{
    return open_new(path, TR_ALL_FRAMES, true, image);
}

tr_status tr_image_open_frames(const char *path, tr_frames frames, tr_image **image)
{
    return open_new(path, frames, true, image);
}

tr_status tr_image_open_file(const char *path, tr_image **image)
{
    return open_new(path, TR_ALL_FRAMES, false, image);
}

void tr_image_close(tr_image *image)
{
    if (!image)
        return;
    if (image->format)
        image->format->close(image->state);
    if (image->fd >= 0)
        close(image->fd);
    tr_image_correct(image, &(tr_flat_field){NULL, NULL, NULL});
    free(image->others);
    free(image->info.tilts);
    free(image->path);
    free(image);
}

void tr_clean_label(char *label)
{
    size_t length = strlen(label);
    for (size_t k = 0; k < length; k++)
        if ((unsigned char)label[k] < ' ' || label[k] == 127)
            label[k] = ' ';
    while (length > 0 && label[length - 1] == ' ')
        label[--length] = '\0';
}

const tr_image_info *tr_image_get_info(const tr_image *image)
{
    return image->others ? &image->stitched : &image->info;
}

void tr_image_stamp(const tr_image *image, tr_file_stamp *stamp)
{
    struct stat file;
    *stamp = (tr_file_stamp){0};
    if (image->format->stamp)
        image->format->stamp(image->state, stamp);
    else if (fstat(image->fd, &file) == 0)
        *stamp = (tr_file_stamp){.seconds = file.st_mtim.tv_sec,
                                 .nanoseconds = file.st_mtim.tv_nsec,
                                 .bytes = (uint64_t)file.st_size};
}

const char *tr_image_path(const tr_image *image) { return image->path; }

void tr_image_correct(tr_image *image, const tr_flat_field *field)
{
    free(image->flat.dark);
    free(image->flat.before);
    free(image->flat.after);
    image->flat = *field;
}

static void correct(const tr_image *image, size_t section, size_t y0, size_t ny,
                    size_t x0, size_t nx, float *out)
{
    const tr_flat_field *f = &image->flat;
    size_t views = image->info.nz, width = image->info.nx;
    float late = f->after && views > 1 ? (float)section / (float)(views - 1) : 0.0f;
    for (size_t y = 0; y < ny; y++) {
        size_t at = (y0 + y) * width + x0;
        float *line = out + y * nx;
        for (size_t x = 0; x < nx; x++, at++) {
            float dark = f->dark ? f->dark[at] : 0.0f, flat = f->before[at];
            if (f->after)
                flat += late * (f->after[at] - flat);
            line[x] = flat > dark ? (line[x] - dark) / (flat - dark) : NAN;
        }
    }
}

/* A library takes what is behind the end of a file for zeros. */
static tr_status check_end(const tr_image *image)
{
    struct stat file;
    if (image->format->by_library && fstat(image->fd, &file) == 0 &&
        (uint64_t)file.st_size < image->size)
        return tr_fail(TR_ERR_DATA,
                       "%s ends at byte %llu, but its data should reach byte %llu; "
                       "it was cut short",
                       image->path, (unsigned long long)file.st_size,
                       (unsigned long long)image->size);
    return TR_OK;
}

tr_status tr_image_read_field(tr_image *image, tr_field kind, size_t k, size_t y0,
                              size_t ny, float *out)
{
    const tr_image_info *info = &image->info;
    if (k >= info->n_fields[kind] || y0 > info->ny || ny > info->ny - y0)
        return tr_fail(TR_ERR_INTERNAL, "field %zu of %s was asked for, which has %zu", k,
                       image->path, info->n_fields[kind]);
    TR_TRY(image->format->read_field(image->state, info, kind, k, y0, ny, out));
    return check_end(image);
}

void tr_image_stitch(tr_image *image, const tr_stitch *stitch, tr_half_turn *others)
{
    image->others = others;
    image->stitch = *stitch;
    image->stitched = image->info;
    image->stitched.nx = stitch->width;
}

/* As the file has it, but for flat fields. */
static tr_status read_plain(tr_image *image, size_t section, size_t y0, size_t ny,
                            size_t x0, size_t nx, float *out)
{
    TR_TRY(image->format->read(image->state, &image->info, section, y0, ny, x0, nx, out));
    TR_TRY(check_end(image));
    if (image->flat.before)
        correct(image, section, y0, ny, x0, nx, out);
    return TR_OK;
}

/* Line after line, so that little memory is needed. */
static tr_status read_stitched(tr_image *image, size_t section, size_t y0, size_t ny,
                               size_t x0, size_t nx, float *out)
{
    const tr_half_turn *h = &image->others[section];
    size_t n = image->stitch.n;
    float *view = tr_calloc("stitching", 3 * n + image->stitch.width, sizeof *view);
    if (!view)
        return TR_ERR_MEMORY;
    float *other = view + n, *next = other + n, *line = next + n;
    tr_status status = TR_OK;
    for (size_t y = 0; y < ny && status == TR_OK; y++) {
        status = read_plain(image, section, y0 + y, 1, 0, n, view);
        if (status == TR_OK)
            status = read_plain(image, h->first, y0 + y, 1, 0, n, other);
        if (status == TR_OK && h->part != 0.0)
            status = read_plain(image, h->next, y0 + y, 1, 0, n, next);
        for (size_t u = 0; u < n && h->part != 0.0; u++)
            other[u] += (float)h->part * (next[u] - other[u]);
        tr_stitch_line(&image->stitch, view, other, line);
        memcpy(out + y * nx, line + x0, nx * sizeof *out);
    }
    free(view);
    return status;
}

tr_status tr_image_read(tr_image *image, size_t section, size_t y0, size_t ny, size_t x0,
                        size_t nx, float *out)
{
    const tr_image_info *info = tr_image_get_info(image);
    if (section >= info->nz || y0 > info->ny || ny > info->ny - y0 || x0 > info->nx ||
        nx > info->nx - x0)
        return tr_fail(TR_ERR_INTERNAL,
                       "%zu x %zu samples from (%zu, %zu) of section %zu were asked of "
                       "%s, which has %zu x %zu x %zu",
                       nx, ny, x0, y0, section, image->path, info->nx, info->ny,
                       info->nz);
    if (nx == 0 || ny == 0)
        return TR_OK;
    return image->others ? read_stitched(image, section, y0, ny, x0, nx, out)
                         : read_plain(image, section, y0, ny, x0, nx, out);
}

/* Whether the space-separated list has the word; case is ignored. */
static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *p = list; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        if (n == length && strncasecmp(p, word, n) == 0)
            return true;
        p += n;
    }
    return false;
}

const tr_format *tr_format_for_output(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *extension = strrchr(slash ? slash : path, '.');
    for (size_t i = 0; extension && i < N_FORMATS; i++)
        if (has_word(formats[i]->extensions, extension))
            return formats[i];
    char known[256] = "";
    for (size_t i = N_FORMATS; i-- > 0;) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s (%s)", used ? " or " : "",
                 formats[i]->extensions, formats[i]->name);
    }
    (void)tr_fail(
        TR_ERR_USAGE,
        "the format of the output %s is not known by its name; it should end in "
        "one of %s or .zarr",
        path, known);
    return NULL;
}
