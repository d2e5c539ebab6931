/* HDF5 files: which dataset holds the images, and reading rectangles of it.
 *
 * Layouts: /MDF/images/<n>/image, one 2-D image per view or a single 3-D volume, as IMOD
 * and EMAN2 write them, and those of hdf_fields.c. IMOD's header is in the attributes
 * IMOD.MRC.* of /MDF/images (a stack) or of /MDF/images/0 (a volume), EMAN2's in EMAN.*
 * of each image's group. Both store the origin in MRC2014's sign, the opposite of
 * tr_image_info's. A stack's tilt angles are the attributes TiltAngle of its images'
 * groups.
 *
 * Integers of 4 and 8 bytes and floats of 8 become float32 as HDF5 reads them, rounded to
 * nearest: counts are exact up to 2^24. What is beyond float32 becomes infinite, and is
 * handled as such pixels are.
 *
 * EMAN2 may store floats in few bits: value = raw / (2^bits - 1) * (max - min) + min. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/mem.h"
#include "formats/hdf_common.h"

static bool hdf_probe(const unsigned char *head, size_t n)
{
    static const unsigned char signature[8] = {0x89, 'H',  'D',  'F',
                                               '\r', '\n', 0x1a, '\n'};
    /* A user block of 512 bytes may come first. */
    return (n >= 8 && memcmp(head, signature, 8) == 0) ||
           (n >= 520 && memcmp(head + 512, signature, 8) == 0);
}

/* Little-endian, of 1 to 8 bytes. */
static uint64_t get_address(const unsigned char *bytes, size_t size)
{
    uint64_t value = 0;
    for (size_t i = size; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

/* The superblock says where it is in the file and where the file ends. */
static uint64_t hdf_extent(const unsigned char *head, size_t n)
{
    enum { USER_BLOCK = 512, SUPERBLOCK = 64 };
    static const size_t addresses[] = {24, 28, 12, 12}, size_at[] = {13, 13, 9, 9};
    const unsigned char *block = head[0] == 0x89 ? head : head + USER_BLOCK;
    if (n < USER_BLOCK + SUPERBLOCK || block[8] >= sizeof size_at / sizeof *size_at)
        return UINT64_MAX;
    unsigned version = block[8];
    size_t size = block[size_at[version]];
    if (size < 1 || size > 8)
        return UINT64_MAX;
    const unsigned char *base = block + addresses[version];
    uint64_t end = get_address(base + 2 * size, size), bytes;
    return __builtin_add_overflow(get_address(base, size), end, &bytes) ? UINT64_MAX
                                                                        : bytes;
}

/* ---- attributes: absent or of another kind is no error ---- */

/* The number in an attribute, NaN when there is none. */
static double get_number(hid_t object, const char *prefix, const char *name)
{
    char full[64];
    double value;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    hid_t attribute = tr_hdf_open_attribute(object, full, false);
    if (attribute < 0)
        return NAN;
    if (H5Aread(attribute, H5T_NATIVE_DOUBLE, &value) < 0)
        value = NAN;
    H5Aclose(attribute);
    return value;
}

static void get_labels(hid_t header, tr_image_info *info)
{
    char name[48];
    for (size_t i = 0; i < TR_LABELS; i++) {
        char *label = info->labels[info->n_labels];
        snprintf(name, sizeof name, "IMOD.MRC.label%zu", i);
        if (!tr_hdf_text(header, name, label, TR_LABEL_LENGTH + 1))
            continue;
        tr_clean_label(label);
        info->n_labels++;
    }
}

/* Header values from the attributes of a group; what is absent stays as it is. */
static void get_header(hid_t header, tr_image_info *info)
{
    static const char *const imod[3][3] = {
        {"xlen", "mx", "xorigin"}, {"ylen", "my", "yorigin"}, {"zlen", "mz", "zorigin"}};
    static const char *const eman[3][2] = {
        {"apix_x", "origin_x"}, {"apix_y", "origin_y"}, {"apix_z", "origin_z"}};
    const char *prefix = H5Aexists(header, "EMAN.nx") > 0 ? "EMAN." : "IMOD.MRC.";
    for (int i = 0; i < 3; i++) {
        double pixel = get_number(header, "IMOD.MRC.", imod[i][0]) /
                       get_number(header, "IMOD.MRC.", imod[i][1]);
        double origin = get_number(header, "IMOD.MRC.", imod[i][2]);
        if (isnan(pixel))
            pixel = get_number(header, "EMAN.", eman[i][0]);
        if (isnan(origin))
            origin = get_number(header, "EMAN.", eman[i][1]);
        if (pixel > 0 && isfinite(pixel))
            info->pixel[i] = pixel;
        if (isfinite(origin))
            info->origin[i] = 0 - origin; /* 0 - x: never -0 */
    }
    info->min = get_number(header, prefix, "minimum");
    info->max = get_number(header, prefix, "maximum");
    info->mean = get_number(header, prefix, "mean");
    info->rms = get_number(header, prefix, prefix[0] == 'E' ? "sigma" : "rms");
    get_labels(header, info);
}

static tr_status refuse_colour_and_complex(const char *path, hid_t header)
{
    if (get_number(header, "IMOD.", "is_complex") > 0 ||
        get_number(header, "EMAN.", "is_complex") > 0)
        return tr_fail(TR_ERR_DATA, "%s holds complex numbers, which are not supported",
                       path);
    if (get_number(header, "IMOD.", "is_rgb") > 0)
        return tr_fail(TR_ERR_DATA, "%s holds RGB colours, which are not supported",
                       path);
    return TR_OK;
}

/* The scaling of one image's group. */
static tr_status get_scaling(const char *path, hid_t group, float *scale, float *shift)
{
    double bits = get_number(group, "EMAN.", "stored_renderbits");
    *scale = 1;
    *shift = 0;
    if (isnan(bits) || bits <= 0)
        return TR_OK;
    double min = get_number(group, "EMAN.", "stored_rendermin");
    double max = get_number(group, "EMAN.", "stored_rendermax");
    if (bits < 1 || bits > 32 || !isfinite(min) || !isfinite(max))
        return tr_fail(
            TR_ERR_DATA,
            "%s says that its samples are stored in %g bits for values from %g "
            "to %g; 1 to 32 bits and finite values are needed",
            path, bits, min, max);
    if (max != min) {
        *scale = (float)((max - min) / (ldexp(1, (int)bits) - 1));
        *shift = (float)min;
    }
    return TR_OK;
}

/* ---- datasets ---- */

static tr_status get_type(const char *path, const char *name, hid_t dataset,
                          tr_type *sample_type)
{
    hid_t type = H5Dget_type(dataset);
    H5T_class_t class = H5Tget_class(type);
    size_t size = H5Tget_size(type);
    bool with_sign = class == H5T_INTEGER && H5Tget_sign(type) != H5T_SGN_NONE;
    H5Tclose(type);
    static const struct {
        H5T_class_t class;
        size_t size;
        tr_type plain, with_sign;
    } known[] = {
        {H5T_INTEGER, 1, TR_UINT8, TR_INT8},    {H5T_INTEGER, 2, TR_UINT16, TR_INT16},
        {H5T_INTEGER, 4, TR_UINT32, TR_INT32},  {H5T_INTEGER, 8, TR_UINT64, TR_INT64},
        {H5T_FLOAT, 2, TR_FLOAT16, TR_FLOAT16}, {H5T_FLOAT, 4, TR_FLOAT32, TR_FLOAT32},
        {H5T_FLOAT, 8, TR_FLOAT64, TR_FLOAT64}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].class == class && known[i].size == size) {
            *sample_type = with_sign ? known[i].with_sign : known[i].plain;
            return TR_OK;
        }
    return tr_fail(TR_ERR_DATA,
                   "%s: %s holds %s of %zu bytes; integers of 1, 2, 4 or 8 bytes and "
                   "floats of 2, 4 or 8 can be read",
                   path, name,
                   class == H5T_INTEGER ? "integers"
                   : class == H5T_FLOAT ? "floats"
                                        : "values that are no plain numbers",
                   size);
}

tr_status tr_hdf_inspect(const tr_hdf *hdf, const char *name, hid_t dataset,
                         size_t size[3], tr_type *type, size_t *chunk_bytes)
{
    const char *path = hdf->path;
    hsize_t dims[3] = {1, 1, 1};
    hid_t space = H5Dget_space(dataset);
    int rank = H5Sget_simple_extent_ndims(space);
    if (rank == 2 || rank == 3)
        H5Sget_simple_extent_dims(space, dims + 3 - rank, NULL);
    H5Sclose(space);
    if (rank != 2 && rank != 3)
        return tr_fail(TR_ERR_DATA, "%s: %s has %d dimensions; 2 or 3 are needed", path,
                       name, rank);
    TR_TRY(get_type(path, name, dataset, type));
    TR_TRY(tr_hdf_check_filters(path, name, dataset));
    uint64_t samples = 1;
    for (int i = 0; i < 3; i++) {
        if (dims[i] == 0 || dims[i] > INT_MAX ||
            __builtin_mul_overflow(samples, dims[i], &samples))
            return tr_fail(
                TR_ERR_DATA,
                "%s: %s has the size %llu x %llu x %llu, which cannot be handled", path,
                name, (unsigned long long)dims[2], (unsigned long long)dims[1],
                (unsigned long long)dims[0]);
        size[2 - i] = (size_t)dims[i];
    }
    uint64_t chunk = 0;
    tr_status status =
        tr_hdf_check_storage(path, name, dataset, samples, hdf->file_bytes, &chunk);
    if (status == TR_OK && chunk > *chunk_bytes)
        *chunk_bytes = (size_t)chunk;
    return status;
}

static hid_t open_image_dataset(hid_t file, size_t number)
{
    char name[64];
    snprintf(name, sizeof name, "/MDF/images/%zu/image", number);
    return H5Dopen2(file, name, H5P_DEFAULT);
}

/* ---- opening ---- */

static tr_status alloc_scaling(tr_hdf *hdf, size_t n)
{
    hdf->scale = tr_calloc("image scaling", n, sizeof *hdf->scale);
    hdf->shift = tr_calloc("image scaling", n, sizeof *hdf->shift);
    return hdf->scale && hdf->shift ? TR_OK : TR_ERR_MEMORY;
}

/* One image of a stack, or the volume: its sizes must be those of image 0. */
static tr_status open_one(tr_hdf *hdf, size_t number, size_t n, tr_image_info *info)
{
    char name[64];
    size_t size[3] = {0};
    tr_type type = TR_FLOAT32;
    snprintf(name, sizeof name, "/MDF/images/%zu", number);
    hid_t group = H5Gopen2(hdf->file, name, H5P_DEFAULT);
    hid_t dataset = group < 0 ? -1 : H5Dopen2(group, "image", H5P_DEFAULT);
    snprintf(name, sizeof name, "/MDF/images/%zu/image", number);
    tr_status status;
    if (dataset < 0)
        status = tr_hdf_fail(hdf->path, "%s cannot be opened", name);
    else
        status = tr_hdf_inspect(hdf, name, dataset, size, &type, &info->chunk_bytes);
    if (status == TR_OK)
        status = refuse_colour_and_complex(hdf->path, group);
    if (status == TR_OK)
        status = get_scaling(hdf->path, group, &hdf->scale[number], &hdf->shift[number]);
    if (status == TR_OK && number == 0) {
        get_header(group, info);
        info->nx = size[0], info->ny = size[1], info->nz = n == 1 ? size[2] : n;
        info->type = type;
    }
    if (status == TR_OK && n > 1 && size[2] != 1)
        status =
            tr_fail(TR_ERR_DATA, "%s holds %zu volumes; one is needed", hdf->path, n);
    else if (status == TR_OK &&
             (size[0] != info->nx || size[1] != info->ny || type != info->type))
        status =
            tr_fail(TR_ERR_DATA,
                    "%s: image %zu has %zu x %zu samples of %s and image 0 has %zu x "
                    "%zu of %s; all must be alike",
                    hdf->path, number, size[0], size[1], tr_type_name(type), info->nx,
                    info->ny, tr_type_name(info->type));
    if (status == TR_OK && info->tilts)
        info->tilts[number] = get_number(group, "", "TiltAngle");
    if (dataset >= 0)
        H5Dclose(dataset);
    if (group >= 0)
        H5Gclose(group);
    return status;
}

typedef struct image_links {
    size_t n, last;
} image_links;

static herr_t count_link(hid_t group, const char *name, const H5L_info_t *info,
                         void *links)
{
    image_links *l = links;
    char back[24];
    (void)group, (void)info;
    size_t number = (size_t)strtoull(name, NULL, 10);
    snprintf(back, sizeof back, "%zu", number);
    if (strcmp(name, back) == 0) {
        l->last = number > l->last ? number : l->last;
        l->n++;
    }
    return 0;
}

/* How many images there are: the links with plain numbers for names, which must be
 * 0 to n - 1. In one pass: to look for the i-th of many takes long. */
static tr_status count_images(const char *path, hid_t images, size_t *n)
{
    image_links links = {0, 0};
    if (H5Literate(images, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, count_link, &links) < 0)
        return tr_hdf_fail(path, "/MDF/images cannot be read");
    size_t last = links.last;
    *n = links.n;
    if (*n == 0)
        return tr_fail(TR_ERR_DATA, "%s holds no images in /MDF/images", path);
    if (last == *n - 1)
        return TR_OK;
    char name[24] = "0";
    for (size_t i = 0; i < *n && H5Lexists(images, name, H5P_DEFAULT) > 0;)
        snprintf(name, sizeof name, "%zu", ++i);
    return tr_fail(TR_ERR_DATA,
                   "%s: image %s is missing; the %zu images must be numbered 0 to %zu, "
                   "and the last is %zu",
                   path, name, *n, *n - 1, last);
}

static tr_status open_mdf(tr_hdf *hdf, hid_t images, tr_image_info *info)
{
    size_t n = 0;
    TR_TRY(refuse_colour_and_complex(hdf->path, images));
    TR_TRY(count_images(hdf->path, images, &n));
    TR_TRY(alloc_scaling(hdf, n));
    if (n > 1 && !(info->tilts = tr_calloc("tilt angles", n, sizeof(double))))
        return TR_ERR_MEMORY;
    for (size_t i = 0; i < n; i++)
        TR_TRY(open_one(hdf, i, n, info));
    if (H5Aexists(images, "IMOD.MRC.mx") > 0)
        get_header(images, info); /* a stack's */
    size_t good = 0;
    while (info->tilts && good < n && fabs(info->tilts[good]) <= 360)
        good++;
    if (good == n) {
        info->n_tilts = n;
    } else {
        free(info->tilts);
        info->tilts = NULL;
    }
    if (n > 1)
        return TR_OK;
    hdf->dataset = open_image_dataset(hdf->file, 0);
    return hdf->dataset < 0 ? tr_hdf_fail(hdf->path, "image 0 cannot be opened") : TR_OK;
}

/* What there is instead, by the names at the top. */
static tr_status no_images(const tr_hdf *hdf)
{
    char names[120] = "";
    H5G_info_t group;
    hsize_t n = H5Gget_info(hdf->file, &group) < 0 ? 0 : group.nlinks;
    for (hsize_t i = 0; i < n && i < 6; i++) {
        char name[40];
        size_t used = strlen(names);
        if (H5Lget_name_by_idx(hdf->file, ".", H5_INDEX_NAME, H5_ITER_INC, i, name,
                               sizeof name, H5P_DEFAULT) < 0)
            break;
        tr_clean_label(name); /* no control characters */
        snprintf(names + used, sizeof names - used, "%s/%s", used ? ", " : "", name);
    }
    return tr_fail(TR_ERR_DATA,
                   "%s is an HDF5 file without images: it has neither /MDF/images nor "
                   "/exchange/data, but %s; copy its images [view][row][column] to "
                   "/exchange/data and its angles to /exchange/theta, for instance with "
                   "h5py",
                   hdf->path, *names ? names : "nothing");
}

static tr_status open_contents(tr_hdf *hdf, int fd, tr_image_info *info)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return tr_fail(TR_ERR_DATA, "cannot read %s", hdf->path);
    hdf->file_bytes = (uint64_t)status.st_size;
    char unpacked[32];
    snprintf(unpacked, sizeof unpacked, "/dev/fd/%d", fd);
    hdf->file = info->compressed
                    ? H5Fopen(unpacked, H5F_ACC_RDONLY, tr_hdf_nameless_access())
                    : H5Fopen(hdf->path, H5F_ACC_RDONLY, tr_hdf_access());
    if (hdf->file < 0)
        return tr_hdf_fail(hdf->path, "it is damaged or cannot be opened");
    if (H5Lexists(hdf->file, "/MDF", H5P_DEFAULT) > 0 &&
        H5Lexists(hdf->file, "/MDF/images", H5P_DEFAULT) > 0) {
        hid_t images = H5Gopen2(hdf->file, "/MDF/images", H5P_DEFAULT);
        if (images < 0)
            return tr_hdf_fail(hdf->path, "/MDF/images cannot be opened");
        tr_status result = open_mdf(hdf, images, info);
        H5Gclose(images);
        return result;
    }
    bool found = false;
    TR_TRY(tr_hdf_open_scan(hdf, info, &found));
    if (found)
        return TR_OK;
    if (tr_hdf_met_link()) /* on the way to one of them */
        return tr_hdf_fail(hdf->path, "it is damaged or cannot be opened");
    return no_images(hdf);
}

static void hdf_close(void *state)
{
    tr_hdf *hdf = state;
    tr_hdf_enter();
    for (int kind = 0; kind < TR_FIELDS; kind++) {
        if (hdf->field[kind].dataset >= 0)
            H5Dclose(hdf->field[kind].dataset);
        free(hdf->field[kind].sections);
    }
    if (hdf->dataset >= 0)
        H5Dclose(hdf->dataset);
    if (hdf->file >= 0)
        H5Fclose(hdf->file);
    tr_hdf_leave();
    free(hdf->scale);
    free(hdf->shift);
    free(hdf->views);
    free(hdf);
}

static tr_status hdf_open(const char *path, int fd, tr_image_info *info, void **state)
{
    tr_hdf *hdf = tr_calloc("an HDF5 file", 1, sizeof *hdf);
    if (!hdf)
        return TR_ERR_MEMORY;
    hdf->path = path;
    hdf->file = hdf->dataset = -1;
    for (int kind = 0; kind < TR_FIELDS; kind++)
        hdf->field[kind].dataset = -1;
    tr_hdf_enter();
    tr_status status = open_contents(hdf, fd, info);
    tr_hdf_leave();
    if (status == TR_OK)
        *state = hdf;
    else
        hdf_close(hdf);
    return status;
}

/* ---- reading ---- */

static tr_status read_rectangle(tr_hdf *hdf, hid_t dataset, size_t section, size_t y0,
                                size_t ny, size_t x0, size_t nx, float *out)
{
    hid_t space = H5Dget_space(dataset);
    int skip = 3 - H5Sget_simple_extent_ndims(space); /* 1 for a 2-D dataset */
    hsize_t first[3] = {section, y0, x0}, count[3] = {1, ny, nx};
    hid_t memory = H5Screate_simple(3, count, NULL);
    tr_status status = TR_OK;
    if (H5Sselect_hyperslab(space, H5S_SELECT_SET, first + skip, NULL, count + skip,
                            NULL) < 0 ||
        H5Dread(dataset, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, out) < 0)
        status = tr_hdf_fail(hdf->path, "section %zu cannot be read", section);
    H5Sclose(memory);
    H5Sclose(space);
    return status;
}

static tr_status hdf_read(void *state, const tr_image_info *info, size_t section,
                          size_t y0, size_t ny, size_t x0, size_t nx, float *out)
{
    tr_hdf *hdf = state;
    (void)info;
    tr_hdf_enter();
    hid_t dataset =
        hdf->dataset >= 0 ? hdf->dataset : open_image_dataset(hdf->file, section);
    size_t at = hdf->dataset < 0 ? 0 : hdf->views ? hdf->views[section] : section;
    tr_status status = dataset < 0
                           ? tr_hdf_fail(hdf->path, "image %zu cannot be opened", section)
                           : read_rectangle(hdf, dataset, at, y0, ny, x0, nx, out);
    if (dataset >= 0 && dataset != hdf->dataset)
        H5Dclose(dataset);
    tr_hdf_leave();
    size_t image = hdf->dataset >= 0 ? 0 : section;
    float scale = hdf->scale[image], shift = hdf->shift[image];
    if (status == TR_OK && (scale != 1 || shift != 0))
        for (size_t i = 0; i < nx * ny; i++)
            out[i] = out[i] * scale + shift;
    return status;
}

static tr_status hdf_read_field(void *state, const tr_image_info *info, tr_field kind,
                                size_t k, size_t y0, size_t ny, float *out)
{
    tr_hdf *hdf = state;
    const size_t *sections = hdf->field[kind].sections;
    tr_hdf_enter();
    tr_status status =
        read_rectangle(hdf, hdf->field[kind].dataset, sections ? sections[k] : k, y0, ny,
                       0, info->nx, out);
    tr_hdf_leave();
    return status;
}

const tr_format tr_format_hdf = {
    .name = "HDF5",
    .extensions = ".hdf .h5 .hdf5",
    .by_library = true,
    .probe = hdf_probe,
    .extent = hdf_extent,
    .open = hdf_open,
    .read = hdf_read,
    .read_field = hdf_read_field,
    .close = hdf_close,
    .create = tr_hdf_create,
    .finish = tr_hdf_finish,
};
