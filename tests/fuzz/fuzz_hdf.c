/* HDF5 files that the library wrote itself, with what the bytes say in them: groups,
 * datasets of many types, sizes, layouts and filters, filled or not, and attributes. So
 * the fuzzer works on our side of the library; damage inside it is fuzz_hdf_bytes.c's. */
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

enum { MOST_SAMPLES = 1 << 14 }; /* really written: making the file shall not take long */

/* What is left of the bytes; zeros follow them. */
typedef struct hdf_recipe {
    const uint8_t *next, *end;
} hdf_recipe;

static unsigned hdf_byte(hdf_recipe *r) { return r->next < r->end ? *r->next++ : 0; }

/* Mostly small, now and then large. */
static hsize_t hdf_size(hdf_recipe *r)
{
    unsigned byte = hdf_byte(r);
    return byte < 224 ? byte % 20 : (hsize_t)1 << (byte - 224) * 2;
}

static hid_t hdf_type(hdf_recipe *r)
{
    const hid_t types[] = {H5T_STD_I8LE,   H5T_STD_U8LE,  H5T_STD_I16LE,   H5T_STD_U16BE,
                           H5T_STD_I32LE,  H5T_STD_U64LE, H5T_IEEE_F32LE,  H5T_IEEE_F32BE,
                           H5T_IEEE_F64LE, H5T_STD_B8LE,  H5T_STD_REF_OBJ, H5T_C_S1};
    enum { N = sizeof types / sizeof types[0] };
    unsigned kind = hdf_byte(r) % (N + 4);
    if (kind < N)
        return H5Tcopy(types[kind]);
    hid_t type;
    switch (kind - N) {
    case 0: /* a half */
        type = H5Tcopy(H5T_IEEE_F32LE);
        H5Tset_fields(type, 15, 10, 5, 0, 10);
        H5Tset_size(type, 2);
        H5Tset_ebias(type, 15);
        return type;
    case 1:
        type = H5Tcopy(H5T_STD_U16LE);
        H5Tset_precision(type, hdf_byte(r) % 16 + 1);
        return type;
    case 2:
        type = H5Tcreate(H5T_COMPOUND, 2);
        H5Tinsert(type, "a", 0, H5T_STD_I16LE);
        return type;
    default:
        type = H5Tcreate(H5T_ENUM, 1);
        return type;
    }
}

/* Chunks and filters, if the recipe wants them. */
static void hdf_layout(hdf_recipe *r, hid_t properties, int rank, const hsize_t *dims)
{
    hsize_t chunk[8], bytes = 8;
    unsigned layout = hdf_byte(r);
    H5Pset_alloc_time(properties,
                      layout & 64 ? H5D_ALLOC_TIME_EARLY : H5D_ALLOC_TIME_LATE);
    if (layout % 4 == 0) {
        H5Pset_layout(properties, layout & 32 ? H5D_COMPACT : H5D_CONTIGUOUS);
        return;
    }
    for (int i = 0; i < rank; i++) {
        unsigned divided = hdf_byte(r) % 8 + 1;
        chunk[i] = dims[i] > divided ? dims[i] / divided : dims[i] ? dims[i] : 1;
        bytes =
            bytes > 1 << 26 ? bytes : bytes * (chunk[i] < 1 << 26 ? chunk[i] : 1 << 26);
    }
    if (rank == 0 || bytes > 1 << 20) /* this side shall not need much memory */
        return;
    H5Pset_chunk(properties, rank, chunk);
    if (layout & 8)
        H5Pset_shuffle(properties);
    if (layout & 16)
        H5Pset_fletcher32(properties);
    if (layout & 32)
        H5Pset_deflate(properties, layout / 64);
}

/* Some samples, in a corner. */
static void hdf_fill(hdf_recipe *r, hid_t dataset, int rank, const hsize_t *dims)
{
    enum { MOST = 4096 };
    float samples[MOST];
    hsize_t first[8] = {0}, count[8], n = 1;
    for (int i = rank; n > 0 && i-- > 0;) {
        count[i] = dims[i] < MOST / n ? dims[i] : MOST / n;
        n *= count[i];
    }
    for (hsize_t i = 0; i < n; i++)
        samples[i] = (float)(i % 7);
    samples[0] = (float)hdf_byte(r);
    if (n == 0)
        return;
    hid_t space = H5Dget_space(dataset), memory = H5Screate_simple(1, &n, NULL);
    if (rank > 0)
        H5Sselect_hyperslab(space, H5S_SELECT_SET, first, NULL, count, NULL);
    H5Dwrite(dataset, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, samples);
    H5Sclose(memory);
    H5Sclose(space);
}

static void hdf_dataset(hdf_recipe *r, hid_t place, const char *name)
{
    hsize_t dims[8], total = 1;
    int rank = "\3\2\2\3\1\0\4\5"[hdf_byte(r) % 8];
    for (int i = 0; i < rank; i++) {
        dims[i] = hdf_size(r);
        total *= dims[i] < MOST_SAMPLES ? dims[i] : MOST_SAMPLES;
        total = total < MOST_SAMPLES ? total : MOST_SAMPLES;
    }
    hid_t type = hdf_type(r), properties = H5Pcreate(H5P_DATASET_CREATE);
    hdf_layout(r, properties, rank, dims);
    if (total >= MOST_SAMPLES) /* do not really make a large file */
        H5Pset_alloc_time(properties, H5D_ALLOC_TIME_INCR);
    hid_t space = H5Screate_simple(rank, dims, NULL);
    hid_t dataset =
        H5Dcreate2(place, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    bool contiguous = H5Pget_layout(properties) == H5D_CONTIGUOUS;
    if (dataset >= 0) {
        if (hdf_byte(r) % 4 && (!contiguous || total < MOST_SAMPLES))
            hdf_fill(r, dataset, rank, dims);
        H5Dclose(dataset);
    }
    H5Sclose(space);
    H5Pclose(properties);
    H5Tclose(type);
}

static void hdf_text_attribute(hdf_recipe *r, hid_t object, const char *name, hid_t space)
{
    char text[120];
    unsigned length = hdf_byte(r) % (sizeof text - 1);
    for (unsigned i = 0; i < length; i++)
        text[i] = (char)hdf_byte(r);
    text[length] = '\0';
    hid_t type = H5Tcopy(H5T_C_S1);
    bool variable = hdf_byte(r) % 2;
    H5Tset_size(type, variable ? H5T_VARIABLE : length + 1);
    const char *pointer = text;
    hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    if (attribute >= 0) {
        if (H5Sget_simple_extent_npoints(space) == 1)
            H5Awrite(attribute, type, variable ? (const void *)&pointer : text);
        H5Aclose(attribute);
    }
    H5Tclose(type);
}

static void hdf_attribute(hdf_recipe *r, hid_t object)
{
    static const char *const names[] = {"TiltAngle",
                                        "EMAN.stored_renderbits",
                                        "EMAN.stored_rendermin",
                                        "EMAN.stored_rendermax",
                                        "IMOD.MRC.xlen",
                                        "IMOD.MRC.mx",
                                        "IMOD.MRC.xorigin",
                                        "IMOD.MRC.label0",
                                        "IMOD.MRC.label3",
                                        "EMAN.apix_x",
                                        "EMAN.nx",
                                        "EMAN.is_complex",
                                        "IMOD.is_rgb",
                                        "EMAN.origin_x",
                                        "IMOD.MRC.minimum",
                                        "EMAN.sigma"};
    const char *name = names[hdf_byte(r) % (sizeof names / sizeof *names)];
    unsigned kind = hdf_byte(r) % 8;
    hsize_t n = kind == 0 ? 3 : 1;
    hid_t space = kind == 1   ? H5Screate(H5S_NULL)
                  : kind <= 3 ? H5Screate_simple(1, &n, NULL)
                              : H5Screate(H5S_SCALAR);
    double numbers[3] = {0};
    if (strstr(name, "label") || kind == 7) {
        hdf_text_attribute(r, object, name, space);
    } else {
        for (int i = 0; i < 8; i++)
            ((uint8_t *)numbers)[i] = (uint8_t)hdf_byte(r);
        if (kind == 6)
            numbers[0] = (double)(int8_t)hdf_byte(r);
        hid_t type = hdf_type(r);
        hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
        if (attribute >= 0) {
            H5Awrite(attribute, H5T_NATIVE_DOUBLE, numbers);
            H5Aclose(attribute);
        }
        H5Tclose(type);
    }
    H5Sclose(space);
}

static void hdf_group(hdf_recipe *r, hid_t file, const char *path, const char *dataset)
{
    hid_t group = H5Gcreate2(file, path, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (group < 0)
        return;
    for (unsigned n = hdf_byte(r) % 6; n > 0; n--)
        hdf_attribute(r, group);
    if (dataset)
        hdf_dataset(r, group, dataset);
    H5Gclose(group);
}

static void hdf_build(hdf_recipe *r, hid_t file)
{
    static const char *const odd_names[] = {
        "7", "00", "x", "-1", "18446744073709551616", "a\x1b[31m name longer than most"};
    unsigned what = hdf_byte(r);
    if (what & 1) {
        hdf_group(r, file, "/exchange", what & 2 ? NULL : "data");
        if (what & 4) {
            hid_t group = H5Gopen2(file, "/exchange", H5P_DEFAULT);
            hdf_dataset(r, group, "theta");
            H5Gclose(group);
        }
        if (what & 8)
            return;
    }
    hdf_group(r, file, "/MDF", NULL);
    hdf_group(r, file, "/MDF/images", NULL);
    const uint8_t *again = r->next;
    for (unsigned i = 0, n = (what >> 4) % 5; i < n; i++) {
        char path[96];
        snprintf(path, sizeof path, "/MDF/images/%u", i);
        if (what & 128 && i + 1 == n)
            snprintf(path, sizeof path, "/MDF/images/%s", odd_names[hdf_byte(r) % 6]);
        else if (what & 2) /* all alike */
            r->next = again;
        hdf_group(r, file, path, "image");
    }
}

/* Build the file; the bytes are from malloc. */
static uint8_t *hdf_image(hdf_recipe *r, size_t *size)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fapl_core(access, 65536, false);
    if (hdf_byte(r) % 4 == 0)
        H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
    hid_t file = H5Fcreate("fuzz.h5", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    FUZZ_REQUIRE(file >= 0);
    hdf_build(r, file);
    H5Fflush(file, H5F_SCOPE_GLOBAL);
    ssize_t n = H5Fget_file_image(file, NULL, 0);
    FUZZ_REQUIRE(n > 0);
    uint8_t *bytes = malloc((size_t)n);
    FUZZ_REQUIRE(bytes && H5Fget_file_image(file, bytes, (size_t)n) == n);
    *size = (size_t)n;
    H5Fclose(file);
    H5Pclose(access);
    return bytes;
}

int FUZZ_ENTRY(const uint8_t *data, size_t size)
{
    hdf_recipe recipe = {data, data + size};
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    size_t n;
    uint8_t *bytes = hdf_image(&recipe, &n);
    ssize_t open_before = H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL);
    fuzz_file file = fuzz_file_make(bytes, n);
    free(bytes);
    fuzz_image(file.path);
    fuzz_file_remove(&file);
    FUZZ_REQUIRE(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) == open_before);
    return 0;
}
