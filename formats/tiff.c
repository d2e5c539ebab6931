/* TIFF and BigTIFF stacks, one page per section, read by libtiff: any compression that it
 * knows, strips or tiles, one sample of 8, 16, 32 or 64 bits a pixel.
 *
 * Rows: TIFF's first row is the top of a picture, unless its Orientation says that it is
 * the bottom; ours is the bottom, as in MRC, so that a picture looks the same in viewers
 * of either. IMOD's tif2mrc and newstack do the same.
 *
 * The size of a pixel is what ImageJ writes as unit in the first page's description, with
 * XResolution pixels to one unit. Files that tiff_write.c wrote have more there. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tiffio.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "formats/tiff_common.h"

typedef struct tiff {
    const char *path; /* the image's */
    int fd;
    uint64_t size, at; /* bytes of the file; where libtiff is */
    TIFF *file;
    pthread_mutex_t lock; /* a TIFF has one current page */
    toff_t *page;         /* where each page's directory is */
    size_t n_pages, current;
    tr_type type;
    bool top_first;
    void *piece; /* a strip or tile, as unpacked */
    size_t piece_bytes;
    char reason[160]; /* libtiff's first complaint */
} tiff;

/* ---- libtiff's way to the file ---- */

static tmsize_t read_file(thandle_t handle, void *buffer, tmsize_t bytes)
{
    tiff *t = handle;
    ssize_t n = pread(t->fd, buffer, (size_t)bytes, (off_t)t->at);
    if (n > 0)
        t->at += (uint64_t)n;
    return n < 0 ? 0 : n;
}

static tmsize_t write_file(thandle_t handle, void *buffer, tmsize_t bytes)
{
    (void)handle, (void)buffer, (void)bytes;
    return 0;
}

static toff_t seek_file(thandle_t handle, toff_t offset, int whence)
{
    tiff *t = handle;
    t->at = offset + (whence == SEEK_CUR ? t->at : whence == SEEK_END ? t->size : 0);
    return t->at;
}

static int close_file(thandle_t handle)
{
    (void)handle; /* the image's */
    return 0;
}

static toff_t size_of_file(thandle_t handle) { return ((tiff *)handle)->size; }

/* Without a handle it is another library's file. */
static void keep_reason(thandle_t handle, const char *module, const char *format,
                        va_list arguments)
{
    tiff *t = handle;
    (void)module;
    if (t && !t->reason[0]) {
        vsnprintf(t->reason, sizeof t->reason, format, arguments);
        tr_clean_label(t->reason);
    }
}

static void set_up(void)
{
    TIFFSetErrorHandler(NULL);
    TIFFSetErrorHandlerExt(keep_reason);
    TIFFSetWarningHandler(NULL);
    TIFFSetWarningHandlerExt(NULL);
}

static tr_status damaged(tiff *t, size_t page)
{
    return tr_fail(TR_ERR_DATA, "%s: page %zu of the TIFF file cannot be read%s%s%s",
                   t->path, page + 1, t->reason[0] ? " (libtiff: " : "", t->reason,
                   t->reason[0] ? ")" : "");
}

/* ---- what a page is ---- */

typedef struct page {
    uint32_t nx, ny;
    uint16_t bits, format, samples, orientation, compression, photometric;
} page;

static bool look(TIFF *file, page *p)
{
    *p = (page){.samples = 1,
                .bits = 1,
                .format = SAMPLEFORMAT_UINT,
                .orientation = ORIENTATION_TOPLEFT};
    TIFFGetFieldDefaulted(file, TIFFTAG_BITSPERSAMPLE, &p->bits);
    TIFFGetFieldDefaulted(file, TIFFTAG_SAMPLEFORMAT, &p->format);
    TIFFGetFieldDefaulted(file, TIFFTAG_SAMPLESPERPIXEL, &p->samples);
    TIFFGetFieldDefaulted(file, TIFFTAG_ORIENTATION, &p->orientation);
    TIFFGetFieldDefaulted(file, TIFFTAG_COMPRESSION, &p->compression);
    TIFFGetField(file, TIFFTAG_PHOTOMETRIC, &p->photometric);
    return TIFFGetField(file, TIFFTAG_IMAGEWIDTH, &p->nx) &&
           TIFFGetField(file, TIFFTAG_IMAGELENGTH, &p->ny);
}

static bool find_type(const page *p, tr_type *type)
{
    static const struct {
        uint16_t format, bits;
        tr_type type;
    } known[] = {
        {SAMPLEFORMAT_UINT, 8, TR_UINT8},      {SAMPLEFORMAT_INT, 8, TR_INT8},
        {SAMPLEFORMAT_UINT, 16, TR_UINT16},    {SAMPLEFORMAT_INT, 16, TR_INT16},
        {SAMPLEFORMAT_UINT, 32, TR_UINT32},    {SAMPLEFORMAT_INT, 32, TR_INT32},
        {SAMPLEFORMAT_IEEEFP, 16, TR_FLOAT16}, {SAMPLEFORMAT_IEEEFP, 32, TR_FLOAT32},
        {SAMPLEFORMAT_IEEEFP, 64, TR_FLOAT64}, {SAMPLEFORMAT_VOID, 8, TR_UINT8},
        {SAMPLEFORMAT_VOID, 16, TR_UINT16}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].format == p->format && known[i].bits == p->bits) {
            *type = known[i].type;
            return true;
        }
    return false;
}

static tr_status check_page(const tiff *t, const page *p, tr_type *type)
{
    enum { EER = 65000, EER_END = 65002 };
    if (p->compression >= EER && p->compression <= EER_END)
        return tr_fail(TR_ERR_DATA,
                       "%s is an EER movie: its frames must be aligned and summed first, "
                       "by IMOD's alignframes or by MotionCor3",
                       t->path);
    if (p->samples != 1 || p->photometric == PHOTOMETRIC_PALETTE)
        return tr_fail(TR_ERR_DATA,
                       "%s holds colours; a TIFF image with one sample a pixel is needed",
                       t->path);
    if (!find_type(p, type))
        return tr_fail(
            TR_ERR_DATA,
            "%s has samples of %u bits in TIFF's sample format %u; integers of "
            "8, 16 and 32 bits and floats of 16, 32 and 64 can be read",
            t->path, p->bits, p->format);
    if (p->orientation != ORIENTATION_TOPLEFT && p->orientation != ORIENTATION_BOTLEFT)
        return tr_fail(TR_ERR_DATA,
                       "%s has TIFF's orientation %u; 1 (the first row at the top) and 4 "
                       "(at the bottom) can be read",
                       t->path, p->orientation);
    return TR_OK;
}

/* Where all pages are: the same image with other samples. */
static tr_status list_pages(tiff *t, const page *first)
{
    enum { MOST = 1 << 20 };
    size_t room = 0;
    do {
        page p;
        if (!look(t->file, &p))
            return damaged(t, t->n_pages);
        if (p.nx != first->nx || p.ny != first->ny || p.bits != first->bits ||
            p.format != first->format || p.samples != first->samples ||
            p.orientation != first->orientation)
            return tr_fail(
                TR_ERR_DATA,
                "%s: page %zu has %u x %u pixels of %u bits and page 1 has %u x "
                "%u of %u; all must be alike",
                t->path, t->n_pages + 1, p.nx, p.ny, p.bits, first->nx, first->ny,
                first->bits);
        if (t->n_pages == room) {
            room = 2 * room + 64;
            toff_t *more = realloc(t->page, room * sizeof *more);
            if (!more)
                return tr_fail(TR_ERR_MEMORY, "not enough memory for the list of pages");
            t->page = more;
        }
        t->page[t->n_pages++] = TIFFCurrentDirOffset(t->file);
        if (t->n_pages > MOST)
            return tr_fail(TR_ERR_DATA, "%s has more than %d pages", t->path, MOST);
    } while (TIFFReadDirectory(t->file));
    return t->reason[0] ? damaged(t, t->n_pages) : TR_OK;
}

/* What stands behind "KEY=" at the beginning of a line; NULL: nothing. */
static const char *says(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *p = text; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
        if (strncmp(p, key, n) == 0 && p[n] == '=')
            return p + n + 1;
    return NULL;
}

static double number(const char *text, const char *key)
{
    const char *found = says(text, key);
    char *end;
    double value = found ? strtod(found, &end) : NAN;
    return found && end != found ? value : NAN;
}

/* Of a stack by us: all that its header would be in MRC. */
static void read_own(const char *text, tr_image_info *info)
{
    char key[16];
    const char *label;
    double pixel = number(text, "spacing");
    char *next = (char *)says(text, "origin");
    for (int i = 0; i < 3; i++) {
        info->origin[i] = next ? strtod(next, &next) : 0.0;
        info->pixel[i] = pixel > 0.0 ? pixel : 0.0;
    }
    info->min = number(text, "min"), info->max = number(text, "max");
    info->mean = number(text, "mean"), info->rms = number(text, "rms");
    for (size_t i = 0; i < TR_LABELS; i++) {
        snprintf(key, sizeof key, "label%zu", i);
        label = says(text, key);
        if (!label)
            break;
        size_t n = strcspn(label, "\n");
        snprintf(info->labels[info->n_labels], TR_LABEL_LENGTH + 1, "%.*s",
                 (int)(n < TR_LABEL_LENGTH ? n : TR_LABEL_LENGTH), label);
        tr_clean_label(info->labels[info->n_labels++]);
    }
}

/* The first page's description. */
static void read_description(const tiff *t, tr_image_info *info)
{
    static const struct {
        const char *unit;
        double angstroms;
    } units[] = {{"nm", 10.0}, {"nanometer", 10.0}, {"micron", 1e4},   {"\\u00B5m", 1e4},
                 {"um", 1e4},  {"mm", 1e7},         {"angstrom", 1.0}, {"\\u00C5", 1.0}};
    char *text;
    float per_unit;
    info->min = info->max = info->mean = info->rms = NAN;
    if (!TIFFGetField(t->file, TIFFTAG_IMAGEDESCRIPTION, &text))
        return;
    const char *unit = says(text, "unit");
    if (says(text, "ImageJ") && says(text, "origin") && unit)
        read_own(text, info);
    else if (unit && TIFFGetField(t->file, TIFFTAG_XRESOLUTION, &per_unit) &&
             per_unit > 0.0f)
        for (size_t i = 0; i < sizeof units / sizeof *units; i++)
            if (strlen(units[i].unit) == strcspn(unit, "\n") &&
                strncmp(unit, units[i].unit, strlen(units[i].unit)) == 0)
                info->pixel[0] = info->pixel[1] = info->pixel[2] =
                    units[i].angstroms / (double)per_unit;
}

static bool tiff_probe(const unsigned char *head, size_t n)
{
    return n >= 8 && (memcmp(head, "II*\0", 4) == 0 || memcmp(head, "MM\0*", 4) == 0 ||
                      memcmp(head, "II+\0\x08\0\0\0", 8) == 0 ||
                      memcmp(head, "MM\0+\0\x08\0\0", 8) == 0);
}

static uint64_t tiff_extent(const unsigned char *head, size_t n)
{
    (void)head, (void)n;
    return UINT64_MAX;
}

static void tiff_close(void *state)
{
    tiff *t = state;
    if (t->file)
        TIFFClose(t->file);
    pthread_mutex_destroy(&t->lock);
    free(t->page);
    free(t->piece);
    free(t);
}

static tr_status open_pages(tiff *t, tr_image_info *info)
{
    page first;
    t->file = TIFFClientOpen(t->path, "rm", t, read_file, write_file, seek_file,
                             close_file, size_of_file, NULL, NULL);
    if (!t->file || !look(t->file, &first))
        return tr_fail(TR_ERR_DATA,
                       "%s begins as a TIFF image, but is damaged or not complete%s%s%s",
                       t->path, t->reason[0] ? " (libtiff: " : "", t->reason,
                       t->reason[0] ? ")" : "");
    TR_TRY(check_page(t, &first, &t->type));
    read_description(t, info);
    TR_TRY(list_pages(t, &first));
    t->top_first = first.orientation == ORIENTATION_TOPLEFT;
    info->nx = first.nx, info->ny = first.ny, info->nz = t->n_pages;
    info->type = t->type;
    t->current = t->n_pages; /* none */
    return TR_OK;
}

static tr_status tiff_open(const char *path, int fd, tr_image_info *info, void **state)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct stat file;
    pthread_once(&once, set_up);
    tiff *t = tr_calloc("a TIFF file", 1, sizeof *t);
    if (!t)
        return TR_ERR_MEMORY;
    pthread_mutex_init(&t->lock, NULL);
    t->path = path;
    t->fd = fd;
    t->size = fstat(fd, &file) == 0 ? (uint64_t)file.st_size : 0;
    tr_status status = open_pages(t, info);
    if (status == TR_OK)
        *state = t;
    else
        tiff_close(t);
    return status;
}

/* ---- reading ---- */

/* n samples, in the order of this host, to floats. */
static void to_floats(tr_type type, const void *in, size_t n, float *out)
{
    switch (type) {
    case TR_UINT32:
        for (size_t i = 0; i < n; i++)
            out[i] = (float)((const uint32_t *)in)[i];
        break;
    case TR_INT32:
        for (size_t i = 0; i < n; i++)
            out[i] = (float)((const int32_t *)in)[i];
        break;
    case TR_FLOAT64:
        for (size_t i = 0; i < n; i++)
            out[i] = (float)((const double *)in)[i];
        break;
    default:
        tr_convert_to_float(in, n, type, out);
    }
}

/* Rows and columns of strips and tiles alike, a strip being a tile as wide as the page.
 */
typedef struct pieces {
    bool tiles;
    uint32_t nx, ny;
    tmsize_t bytes;
} pieces;

static tr_status find_pieces(tiff *t, const tr_image_info *info, pieces *p)
{
    p->tiles = TIFFIsTiled(t->file);
    if (p->tiles) {
        if (!TIFFGetField(t->file, TIFFTAG_TILEWIDTH, &p->nx) ||
            !TIFFGetField(t->file, TIFFTAG_TILELENGTH, &p->ny))
            return damaged(t, t->current);
        p->bytes = TIFFTileSize(t->file);
    } else {
        p->nx = (uint32_t)info->nx;
        p->ny = UINT32_MAX;
        TIFFGetFieldDefaulted(t->file, TIFFTAG_ROWSPERSTRIP, &p->ny);
        p->ny = p->ny < info->ny ? p->ny : (uint32_t)info->ny;
        p->bytes = TIFFStripSize(t->file);
    }
    if (p->nx == 0 || p->ny == 0 || p->bytes <= 0)
        return damaged(t, t->current);
    /* No packing that images have makes more of a byte. */
    if ((uint64_t)p->bytes / 2000 > t->size)
        return tr_fail(TR_ERR_DATA,
                       "%s has strips or tiles of %lld bytes in a file of %llu, which "
                       "cannot be right",
                       t->path, (long long)p->bytes, (unsigned long long)t->size);
    if ((size_t)p->bytes > t->piece_bytes) {
        free(t->piece);
        t->piece_bytes = 0;
        t->piece = malloc((size_t)p->bytes);
        if (!t->piece)
            return tr_fail(TR_ERR_MEMORY, "not enough memory for %lld bytes of %s",
                           (long long)p->bytes, t->path);
        t->piece_bytes = (size_t)p->bytes;
    }
    return TR_OK;
}

/* Rows first ... end - 1, counted as in the file, of a page. */
typedef struct area {
    size_t x0, nx, first, end;
} area;

/* The part of the piece at (x, y) that is in the area. */
static void take(const tiff *t, const pieces *p, const area *a, size_t x, size_t y,
                 float *out)
{
    size_t sample = (size_t)p->bytes / ((size_t)p->nx * p->ny);
    size_t left = a->x0 > x ? a->x0 : x, right = x + p->nx, bottom = y + p->ny;
    right = right < a->x0 + a->nx ? right : a->x0 + a->nx;
    bottom = bottom < a->end ? bottom : a->end;
    for (size_t row = y > a->first ? y : a->first; row < bottom; row++) {
        size_t to = t->top_first ? a->end - 1 - row : row - a->first;
        to_floats(t->type,
                  (const char *)t->piece + ((row - y) * p->nx + left - x) * sample,
                  right - left, out + to * a->nx + left - a->x0);
    }
}

static tr_status read_area(tiff *t, const tr_image_info *info, const area *a, float *out)
{
    pieces p;
    TR_TRY(find_pieces(t, info, &p));
    for (size_t y = a->first / p.ny * p.ny; y < a->end; y += p.ny)
        for (size_t x = a->x0 / p.nx * p.nx; x < a->x0 + a->nx; x += p.nx) {
            tmsize_t got =
                p.tiles ? TIFFReadEncodedTile(
                              t->file,
                              TIFFComputeTile(t->file, (uint32_t)x, (uint32_t)y, 0, 0),
                              t->piece, p.bytes)
                        : TIFFReadEncodedStrip(t->file,
                                               TIFFComputeStrip(t->file, (uint32_t)y, 0),
                                               t->piece, p.bytes);
            /* The last strip may have fewer rows. */
            size_t rows = info->ny - y < p.ny ? info->ny - y : p.ny;
            if (got < (tmsize_t)((p.tiles ? p.ny : rows) * ((size_t)p.bytes / p.ny)))
                return damaged(t, t->current);
            take(t, &p, a, x, y, out);
        }
    return TR_OK;
}

static tr_status tiff_read(void *state, const tr_image_info *info, size_t section,
                           size_t y0, size_t ny, size_t x0, size_t nx, float *out)
{
    tiff *t = state;
    size_t first = t->top_first ? info->ny - y0 - ny : y0;
    const area a = {x0, nx, first, first + ny};
    pthread_mutex_lock(&t->lock);
    tr_status status = TR_OK;
    t->reason[0] = '\0';
    if (t->current != section && !TIFFSetSubDirectory(t->file, t->page[section]))
        status = damaged(t, section);
    t->current = status == TR_OK ? section : t->n_pages;
    if (status == TR_OK)
        status = read_area(t, info, &a, out);
    pthread_mutex_unlock(&t->lock);
    return status;
}

const tr_format tr_format_tiff = {
    .name = "TIFF",
    .extensions = ".tif .tiff",
    .by_library = true,
    .probe = tiff_probe,
    .extent = tiff_extent,
    .open = tiff_open,
    .read = tiff_read,
    .close = tiff_close,
    .create = tr_tiff_create,
    .finish = tr_tiff_finish,
};
