/* Writing HDF5 volumes as IMOD lays them out: /MDF/images/0/image [z][y][x], one chunk
 * per section, with the header in attributes of /MDF/images/0. Space is allocated at
 * once and nothing is filled in, so each section lies at a known place in the file and
 * any process can write there without HDF5. A chunk must be smaller than 4 GiB; larger
 * sections are stored contiguously instead, which every reader takes as well.
 *
 * IMOD reads numbers only from attributes with a simple dataspace and texts only from
 * those with a scalar one. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file_name.h"
#include "common/base/mem.h"
#include "formats/file_io.h"
#include "formats/hdf_common.h"

static const char image_name[] = "/MDF/images/0/image";

enum { PACKED_CHUNK_BYTES = 1 << 20 }; /* what HDF5 caches by default */

/* ---- attributes ---- */

static bool put_attribute(hid_t object, const char *name, hid_t type, hid_t space,
                          const void *value)
{
    if (H5Aexists(object, name) > 0 && H5Adelete(object, name) < 0)
        return false;
    hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    if (attribute < 0)
        return false;
    bool written = H5Awrite(attribute, type, value) >= 0;
    H5Aclose(attribute);
    return written;
}

static bool put_int(hid_t object, const char *name, int value)
{
    hid_t space = H5Screate_simple(1, (const hsize_t[]){1}, NULL);
    int32_t number = value;
    bool written = put_attribute(object, name, H5T_STD_I32LE, space, &number);
    H5Sclose(space);
    return written;
}

static bool put_floats(hid_t object, const char *name, const double *values, size_t n)
{
    float numbers[6];
    for (size_t i = 0; i < n; i++)
        numbers[i] = (float)values[i];
    hid_t space = H5Screate_simple(1, (const hsize_t[]){n}, NULL);
    bool written = put_attribute(object, name, H5T_IEEE_F32LE, space, numbers);
    H5Sclose(space);
    return written;
}

static bool put_label(hid_t object, size_t number, const char *label)
{
    char name[48], text[TR_LABEL_LENGTH + 1];
    snprintf(name, sizeof name, "IMOD.MRC.label%zu", number);
    snprintf(text, sizeof text, "%-*s", TR_LABEL_LENGTH, label);
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, sizeof text);
    bool written = put_attribute(object, name, type, space, text);
    H5Sclose(space);
    H5Tclose(type);
    return written;
}

static bool put_header(hid_t group, const tr_volume_spec *spec,
                       const tr_statistics *statistics)
{
    double pixel = spec->pixel > 0 ? spec->pixel : 1;
    const struct {
        const char *name;
        int value;
    } ints[] = {
        {"IMOD.is_rgb", 0},
        {"IMOD.is_complex", 0},
        {"IMOD.MRC.nx", (int)spec->nx},
        {"IMOD.MRC.ny", (int)spec->ny},
        {"IMOD.MRC.nz", (int)spec->nz},
        {"IMOD.MRC.nxstart", 0},
        {"IMOD.MRC.nystart", 0},
        {"IMOD.MRC.nzstart", 0},
        {"IMOD.MRC.mx", (int)spec->nx},
        {"IMOD.MRC.my", (int)spec->ny},
        {"IMOD.MRC.mz", (int)spec->nz},
        {"IMOD.MRC.mapc", 1},
        {"IMOD.MRC.mapr", 2},
        {"IMOD.MRC.maps", 3},
        {"IMOD.MRC.ispg", 1},
        {"IMOD.MRC.nlabels", (int)spec->n_labels},
    };
    const struct {
        const char *name;
        double value;
    } floats[] = {
        {"IMOD.MRC.xlen", pixel * (double)spec->nx},
        {"IMOD.MRC.ylen", pixel * (double)spec->ny},
        {"IMOD.MRC.zlen", pixel * (double)spec->nz},
        {"IMOD.MRC.alpha", 90},
        {"IMOD.MRC.beta", 90},
        {"IMOD.MRC.gamma", 90},
        {"IMOD.MRC.minimum", statistics->min},
        {"IMOD.MRC.maximum", statistics->max},
        {"IMOD.MRC.mean", statistics->mean},
        {"IMOD.MRC.rms", statistics->rms},
        {"IMOD.MRC.xorigin", 0 - spec->origin[0]},
        {"IMOD.MRC.yorigin", 0 - spec->origin[1]},
        {"IMOD.MRC.zorigin", 0 - spec->origin[2]},
    };
    bool good = put_floats(group, "IMOD.MRC.tiltangles", (double[6]){0}, 6);
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++)
        good = good && put_int(group, ints[i].name, ints[i].value);
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++)
        good = good && put_floats(group, floats[i].name, &floats[i].value, 1);
    for (size_t i = 0; i < spec->n_labels; i++)
        good = good && put_label(group, i, spec->labels[i]);
    return good;
}

/* ---- the file ---- */

/* The type in the file; closed by the caller. */
static hid_t file_type(tr_type type)
{
    switch (type) {
    case TR_INT8:
        return H5Tcopy(H5T_STD_I8LE);
    case TR_UINT8:
        return H5Tcopy(H5T_STD_U8LE);
    case TR_INT16:
        return H5Tcopy(H5T_STD_I16LE);
    case TR_UINT16:
        return H5Tcopy(H5T_STD_U16LE);
    case TR_FLOAT32:
        return H5Tcopy(H5T_IEEE_F32LE);
    case TR_FLOAT16: { /* IEEE half: sign, 5 bits of exponent, 10 of mantissa */
        hid_t half = H5Tcopy(H5T_IEEE_F32LE);
        H5Tset_fields(half, 15, 10, 5, 0, 10);
        H5Tset_size(half, 2);
        H5Tset_ebias(half, 15);
        return half;
    }
    default: /* refused by check_spec */
        break;
    }
    return -1;
}

/* The properties of the dataset: contiguous when chunk is NULL; deflate 0 for none. */
static hid_t creation_properties(const hsize_t *chunk, int deflate)
{
    hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_obj_track_times(properties, false); /* the same input gives the same bytes */
    if (chunk)
        H5Pset_chunk(properties, 3, chunk);
    if (deflate > 0) {
        H5Pset_shuffle(properties); /* floats compress much better with it */
        H5Pset_deflate(properties, (unsigned)deflate);
    } else {
        H5Pset_alloc_time(properties, H5D_ALLOC_TIME_EARLY);
        H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER);
    }
    return properties;
}

/* A new file with its groups and the empty dataset. -1 on failure. */
static hid_t create_dataset(hid_t file, const tr_volume_spec *spec, const hsize_t *chunk,
                            int deflate)
{
    hid_t mdf = H5Gcreate2(file, "/MDF", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    hid_t images = H5Gcreate2(file, "/MDF/images", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    hid_t group =
        H5Gcreate2(file, "/MDF/images/0", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space =
        H5Screate_simple(3, (const hsize_t[]){spec->nz, spec->ny, spec->nx}, NULL);
    hid_t type = file_type(spec->type), properties = creation_properties(chunk, deflate);
    hid_t dataset =
        H5Dcreate2(file, image_name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    if (!put_int(images, "imageid_max", 0) && dataset >= 0) {
        H5Dclose(dataset);
        dataset = -1;
    }
    H5Pclose(properties);
    H5Tclose(type);
    H5Sclose(space);
    H5Gclose(group);
    H5Gclose(images);
    H5Gclose(mdf);
    return dataset;
}

/* Also gives the bytes of the samples. */
static tr_status check_spec(const char *path, const tr_volume_spec *spec, size_t *bytes)
{
    const size_t sizes[] = {spec->nx, spec->ny, spec->nz, tr_type_size(spec->type)};
    if (!tr_type_is_written(spec->type))
        return tr_fail(TR_ERR_USAGE, "%s: samples of 4 bits cannot be written to HDF5",
                       path);
    if (spec->nx < 1 || spec->ny < 1 || spec->nz < 1 || spec->nx > INT_MAX ||
        spec->ny > INT_MAX || spec->nz > INT_MAX ||
        tr_size_product("volume", bytes, 4, sizes) != TR_OK || *bytes > INT64_MAX)
        return tr_fail(
            TR_ERR_USAGE,
            "%s: a volume of %zu x %zu x %zu cannot be written; each size must "
            "be 1 to %d, and the whole less than 2^63 bytes",
            path, spec->nx, spec->ny, spec->nz, INT_MAX);
    return TR_OK;
}

static tr_status find_offsets(const char *path, hid_t dataset, const tr_volume_spec *spec,
                              bool chunked, uint64_t *offset)
{
    uint64_t section = (uint64_t)spec->nx * spec->ny * tr_type_size(spec->type);
    uint64_t first = chunked ? 0 : H5Dget_offset(dataset);
    if (!chunked && first == HADDR_UNDEF)
        return tr_hdf_fail(path, "the place of the samples is not known");
    for (size_t z = 0; z < spec->nz; z++) {
        unsigned mask;
        haddr_t address = first + z * section;
        hsize_t bytes = section;
        if (chunked && (H5Dget_chunk_info_by_coord(dataset, (const hsize_t[]){z, 0, 0},
                                                   &mask, &address, &bytes) < 0 ||
                        address == HADDR_UNDEF || bytes != section))
            return tr_hdf_fail(path, "the place of section %zu is not known", z);
        offset[z] = address;
    }
    return TR_OK;
}

static tr_status create_locked(const char *path, const tr_volume_spec *spec,
                               uint64_t *offset)
{
    const hsize_t chunk[3] = {1, spec->ny, spec->nx};
    bool chunked = (uint64_t)spec->nx * spec->ny < UINT32_MAX / tr_type_size(spec->type);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, tr_hdf_access());
    if (file < 0)
        return tr_hdf_fail(path, "it cannot be created");
    hid_t dataset = create_dataset(file, spec, chunked ? chunk : NULL, 0);
    tr_status status = dataset < 0 ? tr_hdf_fail(path, "its dataset cannot be created")
                                   : find_offsets(path, dataset, spec, chunked, offset);
    if (dataset >= 0)
        H5Dclose(dataset);
    if (H5Fclose(file) < 0 && status == TR_OK)
        status = tr_hdf_fail(path, "it cannot be written");
    return status;
}

/* Take the disk space of a file that has its length. */
static tr_status reserve(const char *path)
{
    struct stat status;
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0)
        return tr_fail(TR_ERR_DATA, "cannot open %s: %s", path, strerror(errno));
    tr_status result = tr_reserve(fd, path, (uint64_t)status.st_size);
    close(fd);
    return result;
}

tr_status tr_hdf_create(const char *path, const tr_volume_spec *spec,
                        uint64_t **section_offset)
{
    size_t bytes;
    TR_TRY(check_spec(path, spec, &bytes));
    uint64_t *offset = tr_calloc("section offsets", spec->nz, sizeof *offset);
    if (!offset)
        return TR_ERR_MEMORY;
    int fd = tr_file_create(path, 0666);
    if (fd < 0) {
        free(offset);
        return tr_fail(TR_ERR_DATA, "cannot create %s: %s", path, strerror(errno));
    }
    /* First without HDF5, which does not say why a file cannot be written. */
    tr_status status = tr_reserve(fd, path, bytes);
    close(fd);
    if (status == TR_OK) {
        tr_hdf_enter();
        status = create_locked(path, spec, offset);
        tr_hdf_leave();
    }
    if (status == TR_OK)
        status = reserve(path);
    if (status == TR_OK) {
        *section_offset = offset;
    } else {
        free(offset);
        unlink(path);
    }
    return status;
}

/* ---- finishing ---- */

static tr_status finish_header(const char *path, hid_t file, const tr_volume_spec *spec,
                               const tr_statistics *statistics)
{
    hid_t group = H5Gopen2(file, "/MDF/images/0", H5P_DEFAULT);
    bool good = group >= 0 && put_header(group, spec, statistics);
    tr_status status = good ? TR_OK : tr_hdf_fail(path, "its header cannot be written");
    if (group >= 0)
        H5Gclose(group);
    return status;
}

/* Copy rows y .. y + rows - 1 of section z. */
static tr_status copy_rows(const char *path, hid_t from, hid_t to, hid_t type,
                           const tr_volume_spec *spec, hsize_t z, hsize_t y, hsize_t rows,
                           void *buffer)
{
    const hsize_t first[3] = {z, y, 0}, count[3] = {1, rows, spec->nx};
    hid_t space = H5Dget_space(to), memory = H5Screate_simple(3, count, NULL);
    tr_status status = TR_OK;
    H5Sselect_hyperslab(space, H5S_SELECT_SET, first, NULL, count, NULL);
    if (H5Dread(from, type, memory, space, H5P_DEFAULT, buffer) < 0 ||
        H5Dwrite(to, type, memory, space, H5P_DEFAULT, buffer) < 0)
        status =
            tr_hdf_fail(path, "section %llu cannot be compressed", (unsigned long long)z);
    H5Sclose(memory);
    H5Sclose(space);
    return status;
}

/* Copy the samples chunk by chunk of the new dataset. */
static tr_status copy_samples(const char *path, hid_t from, hid_t to,
                              const tr_volume_spec *spec, const hsize_t *chunk)
{
    void *buffer = tr_calloc("a chunk of the volume", (size_t)(chunk[1] * chunk[2]),
                             tr_type_size(spec->type));
    if (!buffer)
        return TR_ERR_MEMORY;
    hid_t type = file_type(spec->type);
    tr_status status = TR_OK;
    for (hsize_t z = 0; z < spec->nz; z++)
        for (hsize_t y = 0; status == TR_OK && y < spec->ny; y += chunk[1]) {
            hsize_t rows = spec->ny - y < chunk[1] ? spec->ny - y : chunk[1];
            status = copy_rows(path, from, to, type, spec, z, y, rows, buffer);
        }
    H5Tclose(type);
    free(buffer);
    return status;
}

/* The chunks of the compressed file: whole rows, few enough for HDF5's cache. */
static void packed_chunk(const tr_volume_spec *spec, hsize_t *chunk)
{
    size_t row_bytes = spec->nx * tr_type_size(spec->type);
    size_t rows = PACKED_CHUNK_BYTES / row_bytes;
    chunk[0] = 1;
    chunk[1] = rows < 1 ? 1 : rows > spec->ny ? spec->ny : rows;
    chunk[2] = spec->nx;
}

static tr_status write_packed(const char *packed, hid_t from, const tr_volume_spec *spec,
                              const tr_statistics *statistics, int deflate)
{
    hsize_t chunk[3];
    packed_chunk(spec, chunk);
    int fd = tr_file_create(packed, 0666); /* not through a link, as HDF5 would */
    if (fd < 0)
        return tr_fail(TR_ERR_DATA, "cannot create %s: %s", packed, strerror(errno));
    close(fd);
    hid_t file = H5Fcreate(packed, H5F_ACC_TRUNC, H5P_DEFAULT, tr_hdf_access());
    if (file < 0)
        return tr_hdf_fail(packed, "it cannot be created");
    hid_t to = create_dataset(file, spec, chunk, deflate);
    tr_status status = to < 0 ? tr_hdf_fail(packed, "its dataset cannot be created")
                              : copy_samples(packed, from, to, spec, chunk);
    if (status == TR_OK)
        status = finish_header(packed, file, spec, statistics);
    if (to >= 0 && H5Dclose(to) < 0 && status == TR_OK)
        status = tr_hdf_fail(packed, "it cannot be written");
    if (H5Fclose(file) < 0 && status == TR_OK)
        status = tr_hdf_fail(packed, "it cannot be written");
    return status;
}

/* Write the file compressed beside itself and put that in its place. */
static tr_status repack(const char *path, const tr_volume_spec *spec,
                        const tr_statistics *statistics, int deflate)
{
    char *packed = tr_format_string("%s.packed", path);
    if (!packed)
        return TR_ERR_MEMORY;
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, tr_hdf_access());
    hid_t from = file < 0 ? -1 : H5Dopen2(file, image_name, H5P_DEFAULT);
    tr_status status = from < 0 ? tr_hdf_fail(path, "it cannot be opened")
                                : write_packed(packed, from, spec, statistics, deflate);
    if (from >= 0)
        H5Dclose(from);
    if (file >= 0)
        H5Fclose(file);
    if (status == TR_OK && rename(packed, path) != 0)
        status = tr_fail(TR_ERR_DATA, "cannot rename %s to %s: %s", packed, path,
                         strerror(errno));
    if (status != TR_OK)
        unlink(packed);
    free(packed);
    return status;
}

static tr_status finish_in_place(const char *path, const tr_volume_spec *spec,
                                 const tr_statistics *statistics)
{
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, tr_hdf_access());
    if (file < 0)
        return tr_hdf_fail(path, "it cannot be opened");
    tr_status status = finish_header(path, file, spec, statistics);
    if (H5Fclose(file) < 0 && status == TR_OK)
        status = tr_hdf_fail(path, "it cannot be written");
    return status;
}

tr_status tr_hdf_finish(const char *path, const tr_volume_spec *spec,
                        const tr_statistics *statistics, int deflate)
{
    size_t bytes;
    TR_TRY(check_spec(path, spec, &bytes));
    tr_hdf_enter();
    tr_status status = deflate > 0 ? repack(path, spec, statistics, deflate)
                                   : finish_in_place(path, spec, statistics);
    tr_hdf_leave();
    return status;
}
