/* Inputs that once failed, through the fuzzing targets' own functions, without clang: a
 * file in tests/fuzz/regressions/TARGET needs no other list. And what the search showed
 * that only a look at the result can tell. */
#include <dirent.h>
#include <fcntl.h>
#include <hdf5.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "formats/format.h"
#include "../fuzz/fuzz.c"
#undef FUZZ_ENTRY
#define FUZZ_ENTRY fuzz_mrc
#include "../fuzz/fuzz_mrc.c"
#undef FUZZ_ENTRY
#define FUZZ_ENTRY fuzz_tiff
#include "../fuzz/fuzz_tiff.c"
#undef FUZZ_ENTRY
#define FUZZ_ENTRY fuzz_hdf
#include "../fuzz/fuzz_hdf.c"
#undef FUZZ_ENTRY
#define FUZZ_ENTRY fuzz_hdf_bytes
#include "../fuzz/fuzz_hdf_bytes.c"
#undef FUZZ_ENTRY
#define FUZZ_ENTRY fuzz_angles
#include "../fuzz/fuzz_angles.c"
#undef FUZZ_ENTRY
#define FUZZ_ENTRY fuzz_mdoc
#include "../fuzz/fuzz_mdoc.c"
#undef FUZZ_ENTRY
#define FUZZ_ENTRY fuzz_transforms
#include "../fuzz/fuzz_transforms.c"
#undef FUZZ_ENTRY
#define FUZZ_ENTRY fuzz_aln
#include "../fuzz/fuzz_aln.c"
#undef FUZZ_ENTRY
#define FUZZ_ENTRY fuzz_local
#include "../fuzz/fuzz_local.c"
#undef FUZZ_ENTRY
#define FUZZ_ENTRY fuzz_star
#include "../fuzz/fuzz_star.c"
#undef FUZZ_ENTRY
#define FUZZ_ENTRY fuzz_relion
#include "../fuzz/fuzz_relion.c"
#undef FUZZ_ENTRY
#define FUZZ_ENTRY fuzz_ctf
#include "../fuzz/fuzz_ctf.c"
#undef FUZZ_ENTRY
#define FUZZ_ENTRY fuzz_com
#include "../fuzz/fuzz_com.c"
#undef FUZZ_ENTRY
#define FUZZ_ENTRY fuzz_options
#include "../fuzz/fuzz_options.c"
#undef FUZZ_ENTRY
#define FUZZ_ENTRY fuzz_list
#include "../fuzz/fuzz_list.c"

static const struct {
    const char *name;
    int (*entry)(const uint8_t *, size_t);
} targets[] = {
    {"mrc", fuzz_mrc},
    {"tiff", fuzz_tiff},
    {"hdf", fuzz_hdf},
    {"hdf_bytes", fuzz_hdf_bytes},
    {"angles", fuzz_angles},
    {"mdoc", fuzz_mdoc},
    {"transforms", fuzz_transforms},
    {"aln", fuzz_aln},
    {"star", fuzz_star},
    {"relion", fuzz_relion},
    {"com", fuzz_com},
    {"options", fuzz_options},
    {"list", fuzz_list},
    {"ctf", fuzz_ctf},
    {"local", fuzz_local},
};
enum { N_TARGETS = sizeof targets / sizeof targets[0] };

/* ---- the files ---- */

static void try_file(int (*entry)(const uint8_t *, size_t), const char *path)
{
    enum { MOST = 1 << 20 };
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(MOST);
    assert_non_null(file);
    assert_non_null(bytes);
    size_t n = fread(bytes, 1, MOST, file);
    assert_true(feof(file));
    fclose(file);
    uint8_t *exact = malloc(n + !n); /* so that reading beyond it is seen */
    assert_non_null(exact);
    memcpy(exact, bytes, n);
    free(bytes);
    printf("%s\n", path); /* it may be the last word */
    fflush(stdout);
    (void)entry(exact, n);
    free(exact);
}

static void tries_regressions(void **state)
{
    (void)state;
    size_t tried = 0;
    for (size_t t = 0; t < N_TARGETS; t++) {
        char folder[1024], path[2048];
        snprintf(folder, sizeof folder, "%.*s/../fuzz/regressions/%s",
                 (int)(strrchr(__FILE__, '/') - __FILE__), __FILE__, targets[t].name);
        DIR *entries = opendir(folder);
        for (struct dirent *e; entries && (e = readdir(entries));) {
            if (e->d_name[0] == '.')
                continue;
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
            try_file(targets[t].entry, path);
            tried++;
        }
        if (entries)
            closedir(entries);
    }
    assert_true(tried > 0);
}

/* ---- HDF5 files ---- */

/* The error, or "", of opening a file with /exchange/data of 4 x 2 x 2 bytes, as `fill`
 * changes it. */
static const char *opening(void (*fill)(hid_t file))
{
    fuzz_file name = fuzz_file_make((const uint8_t *)"", 0);
    hid_t file = H5Fcreate(name.path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(file >= 0);
    fill(file);
    assert_true(H5Fclose(file) >= 0);
    tr_image *image;
    bool good = tr_image_open(name.path, &image) == TR_OK;
    tr_image_close(image);
    fuzz_file_remove(&name);
    return good ? "" : tr_error();
}

static void put_dataset(hid_t place, const char *name, int rank, const hsize_t *dims,
                        hid_t properties, hid_t type, const void *samples)
{
    hid_t space = H5Screate_simple(rank, dims, NULL);
    hid_t set =
        H5Dcreate2(place, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    assert_true(set >= 0);
    if (samples)
        assert_true(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, samples) >= 0);
    H5Dclose(set);
    H5Sclose(space);
}

static void put_exchange(hid_t file, const double *theta)
{
    static const unsigned char samples[16] = {1, 2, 3};
    hid_t group = H5Gcreate2(file, "/exchange", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    put_dataset(group, "data", 3, (hsize_t[]){4, 2, 2}, H5P_DEFAULT, H5T_NATIVE_UCHAR,
                samples);
    put_dataset(group, "theta", 1, (hsize_t[]){4}, H5P_DEFAULT, H5T_NATIVE_DOUBLE, theta);
    H5Gclose(group);
}

static void put_filled_theta(hid_t file)
{
    put_exchange(file, (double[]){-60, -20, 20, 60});
}

static void put_unfilled_theta(hid_t file) { put_exchange(file, NULL); }

static void wants_angles_that_are_there(void **state)
{
    (void)state;
    assert_string_equal(opening(put_filled_theta), "");
    assert_non_null(strstr(opening(put_unfilled_theta), "theta is incomplete"));
}

/* A chunk of 256 MiB of zeros in some 260 kB. */
static void put_bomb(hid_t file)
{
    enum { SIDE = 16384 };
    const hsize_t dims[] = {1, SIDE, SIDE};
    unsigned char *zeros = calloc(SIDE, SIDE);
    hid_t group = H5Gcreate2(file, "/exchange", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    assert_non_null(zeros);
    H5Pset_chunk(properties, 3, dims);
    H5Pset_deflate(properties, 9);
    H5Pset_deflate(properties, 9); /* once more what is left */
    put_dataset(group, "data", 3, dims, properties, H5T_NATIVE_UCHAR, zeros);
    H5Pclose(properties);
    H5Gclose(group);
    free(zeros);
}

static void refuses_chunks_beyond_all_measure(void **state)
{
    (void)state;
    assert_non_null(strstr(opening(put_bomb), "chunks of 268435456 bytes"));
}

/* An image stored in half a bit. */
static void put_half_bit(hid_t file)
{
    static const char *const names[] = {"EMAN.stored_renderbits", "EMAN.stored_rendermin",
                                        "EMAN.stored_rendermax"};
    static const double values[] = {0.5, -1, 1};
    hid_t links = H5Pcreate(H5P_LINK_CREATE), space = H5Screate(H5S_SCALAR);
    H5Pset_create_intermediate_group(links, 1);
    hid_t group = H5Gcreate2(file, "/MDF/images/0", links, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(group >= 0);
    for (int i = 0; i < 3; i++) {
        hid_t attribute = H5Acreate2(group, names[i], H5T_NATIVE_DOUBLE, space,
                                     H5P_DEFAULT, H5P_DEFAULT);
        assert_true(H5Awrite(attribute, H5T_NATIVE_DOUBLE, &values[i]) >= 0);
        H5Aclose(attribute);
    }
    put_dataset(group, "image", 2, (hsize_t[]){2, 2}, H5P_DEFAULT, H5T_NATIVE_UCHAR,
                "abcd");
    H5Gclose(group);
    H5Sclose(space);
    H5Pclose(links);
}

static void refuses_less_than_a_bit(void **state)
{
    (void)state;
    assert_non_null(strstr(opening(put_half_bit), "stored in 0.5 bits"));
}

/* ---- messages ---- */

static void shows_control_characters(void **state)
{
    (void)state;
    char said[256] = "";
    int ends[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_true(saved >= 0 && dup2(ends[1], STDERR_FILENO) >= 0);
    tr_log_error("name\x1b[31m \x7f \xc2\x9b \xc3\xa4 100 %");
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    close(ends[1]);
    assert_true(read(ends[0], said, sizeof said - 1) > 0);
    close(ends[0]);
    assert_non_null(strstr(said, "name\\x1b[31m \\x7f \\xc2\\x9b \xc3\xa4 100 %\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tries_regressions),
        cmocka_unit_test(wants_angles_that_are_there),
        cmocka_unit_test(refuses_chunks_beyond_all_measure),
        cmocka_unit_test(refuses_less_than_a_bit),
        cmocka_unit_test(shows_control_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
