/* MRC files: a header of 1024 bytes, an optional extended header, then the samples.
 *
 * Byte order: old writers left the machine stamp empty or put garbage there, so the
 * order is the one in which the mode, the axes and the sizes make sense.
 *
 * Origin: MRC2014 stores the coordinate of the first voxel (coordinate = index * pixel +
 * origin). IMOD's own sign is the opposite (coordinate = index * pixel - origin), and is
 * what tr_image_info holds. IMOD takes the stored value as inverted when its stamp is
 * there with flag 4, or when nversion says MRC2014; in all other files as its own sign.
 * We do the same, and write nversion 20141 together with flag 4, so that MRC2014
 * readers, IMOD since 4.7 and we ourselves agree.
 *
 * Bytes (mode 0) are signed in MRC2014; older files may have either. With IMOD's stamp
 * flag 1 says signed; otherwise the header's minimum and maximum tell, and when they do
 * not, nversion: signed since MRC2014.
 *
 * Tilt angles in the extended header, per section:
 * - SerialEM: nint is the number of bytes, nreal a set of flags for the items, the first
 *   of which is the angle * 100 as a 16-bit integer. The layout is certain only when
 *   the sizes of the flagged items add up to nint.
 * - FEI1 and FEI2 (Thermo Fisher), little-endian: the size in bytes of the section's
 *   part at 0, a mask at 8 whose bit 7 says that the alpha tilt is there, the
 *   application's version at 68, and the alpha tilt as a double at 100. Version
 *   4.4.0.4981 wrote the angle multiplied by 180/pi once too often.
 * - FEI before that (Xplore3D, Tomography 2 to 4, and AreTomo3): nint is 0, nreal 32, and
 *   each section has so many floats, the first of which is the angle. Tomography leaves
 *   room for 1024 sections. No type says so: angles are taken only if all can be angles
 *   of views and they are not all alike.
 * IMOD reads FEI files of nversion 20140 as having the top row first; so do we. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/angle.h"
#include "common/base/mem.h"
#include "formats/file_io.h"
#include "formats/mrc_header.h"

enum {
    IO_BYTES = 1 << 20, /* read at a time */
    OLD_FEI_FLOATS = 32 /* of a section */
};

static const tr_mrc_mode modes[] = {
    {MODE_BYTE, TR_INT8, NULL},      {1, TR_INT16, NULL},
    {2, TR_FLOAT32, NULL},           {3, 0, "complex 16-bit integers"},
    {4, 0, "complex 32-bit floats"}, {6, TR_UINT16, NULL},
    {12, TR_FLOAT16, NULL},          {16, 0, "RGB colours"},
    {MODE_UINT4, TR_UINT4, NULL},
};
enum { N_MODES = sizeof modes / sizeof modes[0] };

typedef struct header {
    unsigned char bytes[MRC_HEADER_BYTES];
    bool swapped; /* against this host */
} header;

typedef struct mrc_state {
    const char *path; /* the image's */
    int fd;
    bool swapped, top_first;
    uint64_t data; /* offset of the first sample */
    size_t row_bytes;
} mrc_state;

static int32_t get_int(const header *h, int at)
{
    uint32_t value;
    memcpy(&value, h->bytes + at, sizeof value);
    return (int32_t)(h->swapped ? __builtin_bswap32(value) : value);
}

static int get_short(const header *h, int at)
{
    uint16_t value;
    memcpy(&value, h->bytes + at, sizeof value);
    return (int16_t)(h->swapped ? __builtin_bswap16(value) : value);
}

static double get_float(const header *h, int at)
{
    int32_t bits = get_int(h, at);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

const tr_mrc_mode *tr_mrc_find_mode(int mode)
{
    for (size_t i = 0; i < N_MODES; i++)
        if (modes[i].mode == mode)
            return &modes[i];
    return NULL;
}

const tr_mrc_mode *tr_mrc_mode_of(tr_type type)
{
    for (size_t i = 0; i < N_MODES; i++)
        if (modes[i].type == type && !modes[i].unsupported)
            return &modes[i];
    return NULL;
}

uint64_t tr_mrc_row_bytes(const tr_mrc_mode *mode, uint64_t nx)
{
    return mode->mode == MODE_UINT4 ? (nx + 1) / 2 : nx * tr_type_size(mode->type);
}

uint64_t tr_mrc_file_bytes(const tr_mrc_mode *mode, uint64_t nx, uint64_t ny, uint64_t nz,
                           uint64_t extended)
{
    uint64_t bytes = tr_mrc_row_bytes(mode, nx);
    if (__builtin_mul_overflow(bytes, ny, &bytes) ||
        __builtin_mul_overflow(bytes, nz, &bytes) ||
        __builtin_add_overflow(bytes, MRC_HEADER_BYTES + extended, &bytes))
        return UINT64_MAX;
    return bytes;
}

/* Whether the mode and the axes are what an MRC file can have. */
static bool makes_sense(const header *h)
{
    for (int i = 0; i < 3; i++)
        if (get_int(h, AT_AXES + 4 * i) < 0 || get_int(h, AT_AXES + 4 * i) > 3)
            return false;
    return tr_mrc_find_mode(get_int(h, AT_MODE)) != NULL;
}

static bool has_sizes(const header *h)
{
    return get_int(h, AT_SIZE) > 0 && get_int(h, AT_SIZE + 4) > 0 &&
           get_int(h, AT_SIZE + 8) > 0;
}

static bool mrc_probe(const unsigned char *head, size_t n)
{
    if (n < AT_MACHINE_STAMP)
        return false;
    header h = {.swapped = false};
    memcpy(h.bytes, head, n < MRC_HEADER_BYTES ? n : MRC_HEADER_BYTES);
    bool native = makes_sense(&h);
    h.swapped = true;
    return native || makes_sense(&h) || memcmp(head + AT_MAP, "MAP", 3) == 0;
}

static uint64_t bytes_needed(const header *h)
{
    return tr_mrc_file_bytes(
        tr_mrc_find_mode(get_int(h, AT_MODE)), (uint64_t)get_int(h, AT_SIZE),
        (uint64_t)get_int(h, AT_SIZE + 4), (uint64_t)get_int(h, AT_SIZE + 8),
        (uint64_t)get_int(h, AT_EXTENDED_BYTES));
}

static bool fits(const header *h, uint64_t file_bytes)
{
    return makes_sense(h) && has_sizes(h) && get_int(h, AT_EXTENDED_BYTES) >= 0 &&
           bytes_needed(h) <= file_bytes;
}

/* In the byte order that needs more, where both make sense; a header with sizes that are
 * none is refused as it is. */
static uint64_t mrc_extent(const unsigned char *head, size_t n)
{
    uint64_t bytes = MRC_HEADER_BYTES;
    header h;
    if (n < MRC_HEADER_BYTES)
        return bytes;
    memcpy(h.bytes, head, MRC_HEADER_BYTES);
    for (int k = 0; k < 2; k++) {
        h.swapped = k;
        if (fits(&h, UINT64_MAX) && bytes_needed(&h) > bytes)
            bytes = bytes_needed(&h);
    }
    return bytes;
}

/* The first test that only one of the two byte orders passes decides; if none does, the
 * smaller number of columns. */
static bool is_swapped(const header *h, uint64_t file_bytes)
{
    header native = *h, other = *h;
    native.swapped = false;
    other.swapped = true;
    if (makes_sense(&native) != makes_sense(&other))
        return makes_sense(&other);
    if (has_sizes(&native) != has_sizes(&other))
        return has_sizes(&other);
    if (fits(&native, file_bytes) != fits(&other, file_bytes))
        return fits(&other, file_bytes);
    return get_int(&other, AT_SIZE) < get_int(&native, AT_SIZE);
}

/* Whether the header keeps to MRC2014, by its version: ten times the year, plus one
 * digit. */
static bool is_mrc2014(const header *h)
{
    int version = get_int(h, AT_VERSION);
    return version >= 20140 && version < 21000;
}

static bool has_imod_flag(const header *h, int flag)
{
    return get_int(h, AT_IMOD_STAMP) == IMOD_STAMP && (get_int(h, AT_IMOD_FLAGS) & flag);
}

static bool bytes_are_signed(const header *h)
{
    double min = get_float(h, AT_MIN), max = get_float(h, AT_MAX);
    if (get_int(h, AT_IMOD_STAMP) == IMOD_STAMP)
        return has_imod_flag(h, SIGNED_BYTES);
    if (min < 0 && max < 128)
        return true;
    if (min >= 0 && max >= 128)
        return false;
    return is_mrc2014(h);
}

static tr_status check_mode(const char *path, const header *h)
{
    int mode = get_int(h, AT_MODE);
    const tr_mrc_mode *row = tr_mrc_find_mode(mode);
    if (!row)
        return tr_fail(TR_ERR_DATA,
                       "%s has the unknown MRC mode %d; modes 0, 1, 2, 6, 12 and 101 can "
                       "be read",
                       path, mode);
    if (row->unsupported)
        return tr_fail(TR_ERR_DATA,
                       "%s has MRC mode %d (%s), which is not supported; modes 0, 1, 2, "
                       "6, 12 and 101 can be read",
                       path, mode, row->unsupported);
    if (mode == MODE_BYTE && has_imod_flag(h, PACKED_BYTES))
        return tr_fail(
            TR_ERR_DATA,
            "%s has two 4-bit samples in each byte of MRC mode 0, which is not "
            "supported; mode 101 is",
            path);
    return TR_OK;
}

static tr_status check_axes(const char *path, const header *h)
{
    int c = get_int(h, AT_AXES), r = get_int(h, AT_AXES + 4), s = get_int(h, AT_AXES + 8);
    if ((c == 1 && r == 2 && s == 3) || (c == 0 && r == 0 && s == 0))
        return TR_OK;
    return tr_fail(
        TR_ERR_DATA,
        "%s has its columns, rows and sections along the axes %d, %d, %d; only "
        "the order 1, 2, 3 (x, y, z) can be read",
        path, c, r, s);
}

static tr_status check_header(const char *path, const header *h, uint64_t file_bytes)
{
    int nx = get_int(h, AT_SIZE), ny = get_int(h, AT_SIZE + 4),
        nz = get_int(h, AT_SIZE + 8);
    if (!has_sizes(h))
        return tr_fail(TR_ERR_DATA,
                       "%s has the size %d x %d x %d in its MRC header; sizes must be 1 "
                       "or more",
                       path, nx, ny, nz);
    TR_TRY(check_mode(path, h));
    TR_TRY(check_axes(path, h));
    int extended = get_int(h, AT_EXTENDED_BYTES);
    if (extended < 0)
        return tr_fail(TR_ERR_DATA,
                       "%s has an extended header of %d bytes; it must be 0 "
                       "or more",
                       path, extended);
    uint64_t needed = bytes_needed(h);
    if (needed == UINT64_MAX)
        return tr_fail(TR_ERR_DATA,
                       "%s has the impossible size %d x %d x %d in its MRC "
                       "header",
                       path, nx, ny, nz);
    if (needed > file_bytes)
        return tr_fail(TR_ERR_DATA,
                       "%s has %llu bytes, but %d x %d x %d samples of MRC mode %d after "
                       "a header of %llu bytes need %llu; it was cut short or its header "
                       "is wrong",
                       path, (unsigned long long)file_bytes, nx, ny, nz,
                       get_int(h, AT_MODE),
                       (unsigned long long)MRC_HEADER_BYTES + (unsigned)extended,
                       (unsigned long long)needed);
    return TR_OK;
}

static void fill_labels(const header *h, tr_image_info *info)
{
    int n = get_int(h, AT_N_LABELS);
    for (int i = 0; i < n && i < TR_LABELS; i++) {
        char *label = info->labels[info->n_labels];
        memcpy(label, h->bytes + AT_LABELS + i * TR_LABEL_LENGTH, TR_LABEL_LENGTH);
        tr_clean_label(label); /* the byte after the 80 is 0 */
        if (*label)
            info->n_labels++;
    }
}

static void fill_info(const header *h, tr_image_info *info)
{
    info->ctf_corrected = has_imod_flag(h, CTF_CORRECTED);
    bool inverted = has_imod_flag(h, INVERTED_ORIGIN) || is_mrc2014(h);
    info->nx = (size_t)get_int(h, AT_SIZE);
    info->ny = (size_t)get_int(h, AT_SIZE + 4);
    info->nz = (size_t)get_int(h, AT_SIZE + 8);
    info->type = tr_mrc_find_mode(get_int(h, AT_MODE))->type;
    if (info->type == TR_INT8 && !bytes_are_signed(h))
        info->type = TR_UINT8;
    for (int i = 0; i < 3; i++) {
        double cell = get_float(h, AT_CELL + 4 * i);
        double origin = get_float(h, AT_ORIGIN + 4 * i);
        int grid = get_int(h, AT_GRID + 4 * i);
        info->pixel[i] = cell > 0 && isfinite(cell) && grid > 0 ? cell / grid : 0;
        if (isfinite(origin))
            info->origin[i] = inverted ? 0 - origin : origin; /* 0 - x: never -0 */
    }
    info->min = get_float(h, AT_MIN);
    info->max = get_float(h, AT_MAX);
    info->mean = get_float(h, AT_MEAN);
    info->rms = get_float(h, AT_RMS);
    fill_labels(h, info);
}

/* Whether nint and nreal are SerialEM's bytes per section and flags, with angles. */
static bool has_serialem_tilts(const header *h)
{
    static const int item_bytes[] = {2, 6, 4, 2, 2, 4, 2, 4, 2, 4, 2};
    enum { N_ITEMS = sizeof item_bytes / sizeof item_bytes[0] };
    int flags = get_short(h, AT_REALS), sum = 0;
    if (flags <= 0 || flags >= 1 << N_ITEMS || !(flags & 1))
        return false;
    for (int i = 0; i < N_ITEMS; i++)
        if (flags & 1 << i)
            sum += item_bytes[i];
    return sum == get_short(h, AT_INTEGERS);
}

static tr_status read_serialem_tilts(const char *path, int fd, const header *h, size_t n,
                                     double *tilts, bool *found)
{
    uint64_t step = (uint64_t)get_short(h, AT_INTEGERS);
    *found = step * n <= (uint64_t)get_int(h, AT_EXTENDED_BYTES);
    for (size_t i = 0; *found && i < n; i++) {
        uint16_t raw;
        TR_TRY(tr_read_at(fd, path, &raw, sizeof raw, MRC_HEADER_BYTES + i * step));
        tilts[i] = (int16_t)(h->swapped ? __builtin_bswap16(raw) : raw) / 100.0;
    }
    return TR_OK;
}

static tr_status read_fei_tilts(const char *path, int fd, const header *h, size_t n,
                                double *tilts, bool *found)
{
    enum {
        AT_MASK = 8,
        AT_APPLICATION = 68,
        AT_ALPHA = 100,
        PART = 108,
        HAS_ALPHA = 128
    };
    uint64_t at = 0, end = (uint64_t)get_int(h, AT_EXTENDED_BYTES);
    *found = true;
    for (size_t i = 0; *found && i < n; i++) {
        unsigned char part[PART];
        int32_t size = 0, mask = 0;
        if (end - at >= PART) {
            TR_TRY(tr_read_at(fd, path, part, PART, MRC_HEADER_BYTES + at));
            memcpy(&size, part, sizeof size);
            memcpy(&mask, part + AT_MASK, sizeof mask);
        }
        *found = size >= PART && (uint64_t)size <= end - at && (mask & HAS_ALPHA);
        if (!*found)
            break;
        memcpy(&tilts[i], part + AT_ALPHA, sizeof tilts[i]);
        if (memcmp(part + AT_APPLICATION, "4.4.0.4981", 11) == 0)
            tilts[i] *= TR_RADIANS;
        *found = isfinite(tilts[i]) && fabs(tilts[i]) <= 360;
        at += (uint64_t)size;
    }
    return TR_OK;
}

static bool is_fei(const header *h)
{
    const unsigned char *type = h->bytes + AT_EXTENDED_TYPE;
    return !h->swapped && memcmp(type, "FEI", 3) == 0 &&
           (type[3] == '1' || type[3] == '2');
}

/* Whether nint and nreal are those of FEI's old layout. Symmetry operators of
 * crystallography are text, whatever those say. */
static bool has_old_fei_tilts(const header *h)
{
    return get_short(h, AT_INTEGERS) == 0 && get_short(h, AT_REALS) == OLD_FEI_FLOATS &&
           memcmp(h->bytes + AT_EXTENDED_TYPE, "CCP4", 4) != 0;
}

static tr_status read_old_fei_tilts(const char *path, int fd, const header *h, size_t n,
                                    double *tilts, bool *found)
{
    enum { STEP = OLD_FEI_FLOATS * sizeof(float) };
    double low = 0, high = 0;
    *found = (uint64_t)STEP * n <= (uint64_t)get_int(h, AT_EXTENDED_BYTES);
    for (size_t i = 0; *found && i < n; i++) {
        header one = {.swapped = h->swapped};
        TR_TRY(
            tr_read_at(fd, path, one.bytes, sizeof(float), MRC_HEADER_BYTES + i * STEP));
        tilts[i] = get_float(&one, 0);
        *found = fabs(tilts[i]) <= 180; /* not NaN */
        low = i == 0 || tilts[i] < low ? tilts[i] : low;
        high = i == 0 || tilts[i] > high ? tilts[i] : high;
    }
    *found = *found && (n == 1 ? low != 0 : high > low);
    return TR_OK;
}

typedef tr_status tilts_reader(const char *path, int fd, const header *h, size_t n,
                               double *tilts, bool *found);

/* Angles in the extended header, if they are there with certainty for all sections. */
static tr_status read_tilts(const char *path, int fd, const header *h,
                            tr_image_info *info)
{
    tilts_reader *read = is_fei(h)               ? read_fei_tilts
                         : has_serialem_tilts(h) ? read_serialem_tilts
                         : has_old_fei_tilts(h)  ? read_old_fei_tilts
                                                 : NULL;
    bool found = false;
    /* Each section's part has at least 2 bytes: no allocation beyond the file's size. */
    if (!read || info->nz > (size_t)get_int(h, AT_EXTENDED_BYTES) / 2)
        return TR_OK;
    info->tilts = tr_calloc("tilt angles", info->nz, sizeof *info->tilts);
    if (!info->tilts)
        return TR_ERR_MEMORY;
    TR_TRY(read(path, fd, h, info->nz, info->tilts, &found));
    if (found) {
        info->n_tilts = info->nz;
    } else {
        free(info->tilts);
        info->tilts = NULL;
    }
    return TR_OK;
}

static tr_status mrc_open(const char *path, int fd, tr_image_info *info, void **state)
{
    header h;
    struct stat status;
    if (fstat(fd, &status) != 0)
        return tr_fail(TR_ERR_DATA, "cannot read %s: %s", path, strerror(errno));
    uint64_t file_bytes = (uint64_t)status.st_size;
    if (file_bytes < MRC_HEADER_BYTES)
        return tr_fail(TR_ERR_DATA,
                       "%s has %llu bytes, less than the %d of an MRC header; it was cut "
                       "short",
                       path, (unsigned long long)file_bytes, MRC_HEADER_BYTES);
    TR_TRY(tr_read_at(fd, path, h.bytes, MRC_HEADER_BYTES, 0));
    h.swapped = is_swapped(&h, file_bytes);
    TR_TRY(check_header(path, &h, file_bytes));
    fill_info(&h, info);
    TR_TRY(read_tilts(path, fd, &h, info));
    mrc_state *mrc = tr_calloc("an MRC file", 1, sizeof *mrc);
    if (!mrc)
        return TR_ERR_MEMORY;
    *mrc = (mrc_state){
        .path = path,
        .fd = fd,
        .swapped = h.swapped,
        .top_first = is_fei(&h) && get_int(&h, AT_VERSION) == 20140 &&
                     get_int(&h, AT_IMOD_STAMP) != IMOD_STAMP,
        .data = MRC_HEADER_BYTES + (uint64_t)get_int(&h, AT_EXTENDED_BYTES),
        .row_bytes =
            (size_t)tr_mrc_row_bytes(tr_mrc_find_mode(get_int(&h, AT_MODE)), info->nx),
    };
    *state = mrc;
    return TR_OK;
}

static void mrc_close(void *state) { free(state); }

static void swap_samples(unsigned char *bytes, size_t n, size_t sample_bytes)
{
    if (sample_bytes == 2)
        for (size_t i = 0; i < n; i++) {
            uint16_t value;
            memcpy(&value, bytes + 2 * i, sizeof value);
            value = __builtin_bswap16(value);
            memcpy(bytes + 2 * i, &value, sizeof value);
        }
    if (sample_bytes == 4)
        for (size_t i = 0; i < n; i++) {
            uint32_t value;
            memcpy(&value, bytes + 4 * i, sizeof value);
            value = __builtin_bswap32(value);
            memcpy(bytes + 4 * i, &value, sizeof value);
        }
}

/* Samples x .. x + n - 1 of a row, whose byte that holds x is the first of `bytes`. */
static void decode(const mrc_state *mrc, tr_type type, unsigned char *bytes, size_t x,
                   size_t n, float *out)
{
    if (mrc->swapped)
        swap_samples(bytes, n, tr_type_size(type));
    if (type == TR_UINT4 && x % 2 == 1) {
        *out++ = (float)(*bytes++ >> 4);
        n--;
    }
    tr_convert_to_float(bytes, n, type, out);
}

/* The rectangle of n columns from x, at most IO_BYTES of a row, into rows of `stride`
 * samples. Full rows at once cost less than a call for each span, unless most of what
 * they hold is not wanted. */
static tr_status read_columns(const mrc_state *mrc, const tr_image_info *info,
                              unsigned char *buffer, size_t section, size_t y0, size_t ny,
                              size_t x, size_t n, size_t stride, float *out)
{
    size_t sample = tr_type_size(info->type);
    size_t first = sample ? x * sample : x / 2;
    size_t span = (sample ? (x + n) * sample : (x + n + 1) / 2) - first;
    size_t at_once = 1;
    if (mrc->row_bytes <= IO_BYTES && mrc->row_bytes / 4 <= span)
        at_once = IO_BYTES / mrc->row_bytes;
    uint64_t first_row = mrc->top_first ? info->ny - y0 - ny : y0;
    for (size_t done = 0; done < ny; done += at_once) {
        size_t rows = ny - done < at_once ? ny - done : at_once;
        uint64_t row = (uint64_t)section * info->ny + first_row + done;
        TR_TRY(tr_read_at(mrc->fd, mrc->path, buffer, (rows - 1) * mrc->row_bytes + span,
                          mrc->data + row * mrc->row_bytes + first));
        for (size_t i = 0; i < rows; i++) {
            size_t y = mrc->top_first ? ny - 1 - done - i : done + i;
            decode(mrc, info->type, buffer + i * mrc->row_bytes, x, n, out + y * stride);
        }
    }
    return TR_OK;
}

static tr_status mrc_read(void *state, const tr_image_info *info, size_t section,
                          size_t y0, size_t ny, size_t x0, size_t nx, float *out)
{
    enum { MOST_COLUMNS = IO_BYTES / sizeof(float) };
    unsigned char *buffer = malloc(IO_BYTES);
    if (!buffer)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for reading (%d bytes)",
                       IO_BYTES);
    tr_status status = TR_OK;
    for (size_t x = 0; status == TR_OK && x < nx; x += MOST_COLUMNS) {
        size_t n = nx - x < MOST_COLUMNS ? nx - x : MOST_COLUMNS;
        status =
            read_columns(state, info, buffer, section, y0, ny, x0 + x, n, nx, out + x);
    }
    free(buffer);
    return status;
}

const tr_format tr_format_mrc = {
    .name = "MRC",
    .extensions = ".mrc .rec .st .ali .map .mrcs",
    .probe = mrc_probe,
    .extent = mrc_extent,
    .open = mrc_open,
    .read = mrc_read,
    .close = mrc_close,
    .create = tr_mrc_create,
    .finish = tr_mrc_finish,
};
