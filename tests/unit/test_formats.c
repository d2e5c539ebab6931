/* Conversion of samples against an independent reference in double, and writing and
 * reading every type in every format that has it. */
#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/format.h"

/* ---- float16 ---- */

/* The value of a half, by its definition. */
static double half_value(unsigned half)
{
    double sign = half & 0x8000 ? -1 : 1;
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    if (exponent == 31)
        return mantissa ? NAN : sign * INFINITY;
    return sign *
           (exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24));
}

/* The half nearest to a finite value, ties to even, saturating: by search in the halves,
 * which are in order. */
static unsigned nearest_half(double value)
{
    unsigned sign = signbit(value) ? 0x8000 : 0, low = 0, high = 0x7bff;
    value = fabs(value);
    if (value >= half_value(high))
        return sign | high;
    while (high - low > 1) {
        unsigned middle = (low + high) / 2;
        if (half_value(middle) <= value)
            low = middle;
        else
            high = middle;
    }
    double below = value - half_value(low), above = half_value(high) - value;
    bool up = above < below || (above == below && low % 2 == 1);
    return sign | (up ? high : low);
}

static unsigned to_half(float value)
{
    uint16_t half;
    tr_convert_from_float(&value, 1, TR_FLOAT16, &half);
    return half;
}

static void reads_every_half(void **state)
{
    (void)state;
    static uint16_t halves[65536];
    static float values[65536];
    for (unsigned i = 0; i < 65536; i++)
        halves[i] = (uint16_t)i;
    tr_convert_to_float(halves, 65536, TR_FLOAT16, values);
    for (unsigned i = 0; i < 65536; i++) {
        double expected = half_value(i);
        if (isnan(expected)) {
            assert_true(isnan(values[i]));
        } else {
            assert_true(values[i] == expected);
            assert_int_equal(signbit(values[i]) != 0, i >> 15);
        }
        if (isfinite(expected))
            assert_int_equal(to_half(values[i]), i);
    }
}

static void check_half_of(double value)
{
    float single = (float)value;
    assert_int_equal(to_half(single), nearest_half(single));
    assert_int_equal(to_half(-single), nearest_half(-single));
}

static void rounds_halves_to_even(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 0x7bff; i++) {
        double middle = (half_value(i) + half_value(i + 1)) / 2; /* exact in float32 */
        check_half_of(middle);
        check_half_of(nextafterf((float)middle, 0));
        check_half_of(nextafterf((float)middle, INFINITY));
    }
    uint32_t random = 1;
    for (int i = 0; i < 200000; i++) {
        float value;
        random = random * 1664525u + 1013904223u;
        uint32_t bits = random & 0x7fffffff;
        memcpy(&value, &bits, sizeof value);
        if (isfinite(value))
            check_half_of(value);
    }
    check_half_of(FLT_MIN);
    check_half_of(FLT_TRUE_MIN);
}

static void saturates_halves(void **state)
{
    (void)state;
    assert_int_equal(to_half(65519.99f), 0x7bff);
    assert_int_equal(to_half(65520), 0x7bff);
    assert_int_equal(to_half(1e30f), 0x7bff);
    assert_int_equal(to_half(INFINITY), 0x7bff);
    assert_int_equal(to_half(-INFINITY), 0xfbff);
    assert_true(isnan(half_value(to_half(NAN))));
}

/* ---- integers ---- */

static double nearest_integer(double value, double low, double high)
{
    if (isnan(value))
        return 0;
    return nearbyint(fmin(fmax(value, low), high)); /* ties to even by default */
}

static void check_integers(tr_type type, double low, double high)
{
    enum { N = 3000 };
    static float in[N], back[N];
    static unsigned char stored[4 * N];
    size_t n = 0;
    for (double centre = low; centre <= high; centre += (high - low) / 255)
        for (int k = -5; k <= 5; k++)
            in[n++] = (float)(nearbyint(centre) + k / 4.0);
    const float special[] = {
        NAN,    INFINITY,           -INFINITY,        1e30f, -1e30f, 0.49999997f, -0.0f,
        1e-40f, (float)high + 0.5f, (float)low - 0.5f};
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++)
        in[n++] = special[i];
    assert_true(n <= N);
    tr_convert_from_float(in, n, type, stored);
    tr_convert_to_float(stored, n, type, back);
    for (size_t i = 0; i < n; i++)
        assert_true(back[i] == nearest_integer(in[i], low, high));
    /* In place the bytes are the same. */
    tr_convert_from_float(in, n, type, in);
    assert_memory_equal(in, stored, n * tr_type_size(type));
}

static void rounds_and_clamps_integers(void **state)
{
    (void)state;
    check_integers(TR_INT8, -128, 127);
    check_integers(TR_UINT8, 0, 255);
    check_integers(TR_INT16, -32768, 32767);
    check_integers(TR_UINT16, 0, 65535);
}

static void stores_integers_little_endian(void **state)
{
    (void)state;
    const float in[2] = {258, -2};
    unsigned char out[4];
    tr_convert_from_float(in, 2, TR_INT16, out);
    assert_memory_equal(out, ((const unsigned char[]){2, 1, 0xfe, 0xff}), 4);
}

static void reads_nibbles(void **state)
{
    (void)state;
    const unsigned char in[] = {0x21, 0x43, 0xf5};
    float out[5];
    tr_convert_to_float(in, 5, TR_UINT4, out);
    for (int i = 0; i < 5; i++)
        assert_true(out[i] == i + 1);
    assert_int_equal(tr_type_size(TR_UINT4), 0);
}

/* ---- files ---- */

static char folder[] = "/tmp/tiltrec-test-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

enum { NX = 7, NY = 5, NZ = 3 };

/* Different at every place and within every type. */
static float sample(size_t x, size_t y, size_t z)
{
    return (float)(x + NX * (y + NY * z));
}

static const tr_volume_spec plain_spec = {.nx = NX,
                                          .ny = NY,
                                          .nz = NZ,
                                          .pixel = 2.5,
                                          .origin = {10, -20.5, 0},
                                          .n_labels = 2,
                                          .labels = {"first label", "second"}};

/* Write each row of each section on its own, the last first. */
static void write_rows(const char *path, const tr_volume_spec *spec,
                       const uint64_t *offset)
{
    size_t row_bytes = NX * tr_type_size(spec->type);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    for (size_t z = NZ; z-- > 0;)
        for (size_t y = NY; y-- > 0;) {
            float row[NX];
            for (size_t x = 0; x < NX; x++)
                row[x] = sample(x, y, z);
            tr_convert_from_float(row, NX, spec->type, row);
            assert_int_equal(
                pwrite(fd, row, row_bytes, (off_t)(offset[z] + y * row_bytes)),
                (ssize_t)row_bytes);
        }
    close(fd);
}

static void check_every_rectangle(tr_image *image)
{
    float out[NX * NY];
    for (size_t z = 0; z < NZ; z++)
        for (size_t y0 = 0; y0 < NY; y0++)
            for (size_t ny = 0; ny <= NY - y0; ny++)
                for (size_t x0 = 0; x0 < NX; x0++)
                    for (size_t nx = 0; nx <= NX - x0; nx++) {
                        assert_int_equal(tr_image_read(image, z, y0, ny, x0, nx, out),
                                         TR_OK);
                        for (size_t i = 0; i < nx * ny; i++)
                            assert_true(out[i] == sample(x0 + i % nx, y0 + i / nx, z));
                    }
    assert_int_equal(tr_image_read(image, NZ, 0, 1, 0, 1, out), TR_ERR_INTERNAL);
    assert_int_equal(tr_image_read(image, 0, 1, NY, 0, 1, out), TR_ERR_INTERNAL);
    assert_int_equal(tr_image_read(image, 0, 0, 1, 1, SIZE_MAX, out), TR_ERR_INTERNAL);
}

static void round_trip(const char *name, tr_type type, int deflate)
{
    const char *path = in_folder(name);
    const tr_format *format = tr_format_for_output(path);
    tr_volume_spec spec = plain_spec;
    tr_statistics statistics = {0, 104, 52, 30.31};
    uint64_t *offset;
    tr_image *image;
    spec.type = type;
    assert_non_null(format);
    assert_int_equal(format->create(path, &spec, &offset), TR_OK);
    write_rows(path, &spec, offset);
    free(offset);
    assert_int_equal(format->finish(path, &spec, &statistics, deflate), TR_OK);
    assert_int_equal(tr_image_open(path, &image), TR_OK);
    const tr_image_info *info = tr_image_get_info(image);
    assert_string_equal(info->format, format->name);
    assert_string_equal(tr_image_path(image), path);
    assert_true(info->nx == NX && info->ny == NY && info->nz == NZ && info->type == type);
    for (int i = 0; i < 3; i++) {
        assert_true(info->pixel[i] == 2.5);
        assert_true(info->origin[i] == spec.origin[i]);
    }
    assert_true(info->min == 0 && info->max == 104 && info->mean == 52);
    assert_true(info->rms == (double)30.31f);
    assert_int_equal(info->n_labels, 2);
    assert_string_equal(info->labels[0], "first label");
    assert_string_equal(info->labels[1], "second");
    check_every_rectangle(image);
    tr_image_close(image);
    assert_int_equal(unlink(path), 0);
}

static void round_trips(void **state)
{
    (void)state;
    const tr_type types[] = {TR_INT8, TR_INT16, TR_UINT16, TR_FLOAT32, TR_FLOAT16};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        round_trip("a.mrc", types[i], 0);
        round_trip("a.hdf", types[i], 0);
        round_trip("a.h5", types[i], 4);
    }
    round_trip("a.hdf5", TR_UINT8, 0);
}

static void refuses_sizes(void **state)
{
    (void)state;
    const tr_format *const formats[] = {&tr_format_mrc, &tr_format_hdf};
    uint64_t *offset;
    for (size_t i = 0; i < 2; i++) {
        tr_volume_spec spec = plain_spec;
        spec.type = TR_UINT4;
        assert_int_equal(formats[i]->create(in_folder("x"), &spec, &offset),
                         TR_ERR_USAGE);
        spec.type = TR_FLOAT32;
        spec.ny = (size_t)1 << 31;
        assert_int_equal(formats[i]->create(in_folder("x"), &spec, &offset),
                         TR_ERR_USAGE);
        spec.ny = 0;
        assert_int_equal(formats[i]->create(in_folder("x"), &spec, &offset),
                         TR_ERR_USAGE);
        spec = plain_spec;
        spec.type = TR_FLOAT32;
        assert_int_equal(formats[i]->create("/no/such/folder/x", &spec, &offset),
                         TR_ERR_DATA);
        assert_non_null(strstr(tr_error(), "/no/such/folder/x"));
    }
    tr_volume_spec spec = plain_spec;
    spec.type = TR_UINT8;
    assert_int_equal(tr_format_mrc.create(in_folder("x"), &spec, &offset), TR_ERR_USAGE);
    assert_int_equal(access(in_folder("x"), F_OK), -1);
}

/* No space: a limit on the size of files stands for a full disk. */
static void full_disk_shows_at_create(void **state)
{
    (void)state;
    struct rlimit before, limit;
    uint64_t *offset;
    tr_volume_spec spec = plain_spec;
    spec.type = TR_FLOAT32;
    spec.nx = spec.ny = 2000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 1000000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    tr_status mrc = tr_format_mrc.create(in_folder("full"), &spec, &offset);
    bool mrc_left = access(in_folder("full"), F_OK) == 0;
    tr_status hdf = tr_format_hdf.create(in_folder("full"), &spec, &offset);
    bool hdf_left = access(in_folder("full"), F_OK) == 0;
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(mrc, TR_ERR_DATA);
    assert_int_equal(hdf, TR_ERR_DATA);
    assert_false(mrc_left || hdf_left);
}

/* The whole size is on the disk before a sample is written. */
static void create_reserves_space(void **state)
{
    (void)state;
    const char *const names[] = {"space.mrc", "space.hdf"};
    for (int i = 0; i < 2; i++) {
        struct stat status;
        uint64_t *offset;
        tr_volume_spec spec = plain_spec;
        spec.type = TR_INT16;
        spec.nx = spec.ny = 1000;
        const char *path = in_folder(names[i]);
        assert_int_equal(tr_format_for_output(path)->create(path, &spec, &offset), TR_OK);
        assert_int_equal(stat(path, &status), 0);
        for (size_t z = 0; z < NZ; z++)
            assert_true(offset[z] + 2000000 <= (uint64_t)status.st_size);
        for (size_t z = 1; z < NZ; z++)
            assert_true(offset[z] >= offset[z - 1] + 2000000);
        assert_true(status.st_size < 6100000);
        int fd = open(path, O_WRONLY); /* does this file system reserve at all? */
        if (fallocate(fd, 0, 0, status.st_size) == 0)
            assert_true(status.st_blocks * 512 >= status.st_size);
        close(fd);
        free(offset);
        unlink(path);
    }
}

static void notices_a_file_cut_after_open(void **state)
{
    (void)state;
    const char *path = in_folder("cut.mrc");
    tr_volume_spec spec = plain_spec;
    uint64_t *offset;
    tr_image *image;
    float out[NX * NY];
    spec.type = TR_INT16;
    assert_int_equal(tr_format_mrc.create(path, &spec, &offset), TR_OK);
    assert_int_equal(tr_image_open(path, &image), TR_OK);
    assert_int_equal(truncate(path, (off_t)(offset[1] + 4)), 0);
    assert_int_equal(tr_image_read(image, 0, 0, NY, 0, NX, out), TR_OK);
    assert_int_equal(tr_image_read(image, 1, 0, NY, 0, NX, out), TR_ERR_DATA);
    assert_non_null(strstr(tr_error(), "cut.mrc"));
    tr_image_close(image);
    free(offset);
    unlink(path);
}

/* Rows longer than what is read at a time, in whole and in part. */
static void reads_long_rows(void **state)
{
    (void)state;
    enum { LONG = 700000 };
    const char *path = in_folder("long.mrc");
    tr_volume_spec spec = {.nx = LONG, .ny = 2, .nz = 1, .type = TR_FLOAT32};
    uint64_t *offset;
    tr_image *image;
    float *samples = malloc(2 * LONG * sizeof *samples);
    assert_non_null(samples);
    for (int i = 0; i < 2 * LONG; i++)
        samples[i] = (float)i;
    assert_int_equal(tr_format_mrc.create(path, &spec, &offset), TR_OK);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, samples, 8 * LONG, (off_t)offset[0]), 8 * LONG);
    close(fd);
    assert_int_equal(tr_image_open(path, &image), TR_OK);
    memset(samples, 0, 2 * LONG * sizeof *samples);
    assert_int_equal(tr_image_read(image, 0, 0, 2, 0, LONG, samples), TR_OK);
    for (int i = 0; i < 2 * LONG; i++)
        assert_true(samples[i] == i);
    assert_int_equal(tr_image_read(image, 0, 1, 1, 100000, 500000, samples), TR_OK);
    for (int i = 0; i < 500000; i++)
        assert_true(samples[i] == LONG + 100000 + i);
    tr_image_close(image);
    free(samples);
    free(offset);
    unlink(path);
}

static void several_files_are_open_at_once(void **state)
{
    (void)state;
    const char *const names[] = {"one.hdf", "two.hdf", "three.mrc"};
    tr_image *images[3];
    float out[3];
    for (int i = 0; i < 3; i++) {
        const char *path = in_folder(names[i]);
        tr_volume_spec spec = plain_spec;
        uint64_t *offset;
        float value = (float)(10 * i);
        spec.type = TR_FLOAT32;
        assert_int_equal(tr_format_for_output(path)->create(path, &spec, &offset), TR_OK);
        int fd = open(path, O_WRONLY);
        assert_int_equal(pwrite(fd, &value, sizeof value, (off_t)offset[2]),
                         sizeof value);
        close(fd);
        free(offset);
        assert_int_equal(tr_image_open(path, &images[i]), TR_OK);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(tr_image_read(images[i], 2, 0, 1, 0, 1, &out[i]), TR_OK);
    for (int i = 0; i < 3; i++) {
        assert_true(out[i] == (float)(10 * i));
        tr_image_close(images[i]);
        unlink(in_folder(names[i]));
    }
}

static void output_format_by_extension(void **state)
{
    (void)state;
    assert_ptr_equal(tr_format_for_output("a.mrc"), &tr_format_mrc);
    assert_ptr_equal(tr_format_for_output("/a.b/c_rec.REC"), &tr_format_mrc);
    assert_ptr_equal(tr_format_for_output("a.mrc.h5"), &tr_format_hdf);
    assert_ptr_equal(tr_format_for_output("a.tiff"), &tr_format_tiff);
    const char *const others[] = {"a",        "a.png", "a.m", "a.mrcx",
                                  "/b.mrc/a", "a.",    ".",   ""};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_null(tr_format_for_output(others[i]));
        assert_non_null(strstr(tr_error(), ".mrc"));
        assert_non_null(strstr(tr_error(), ".hdf"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_half),
        cmocka_unit_test(rounds_halves_to_even),
        cmocka_unit_test(saturates_halves),
        cmocka_unit_test(rounds_and_clamps_integers),
        cmocka_unit_test(stores_integers_little_endian),
        cmocka_unit_test(reads_nibbles),
        cmocka_unit_test(round_trips),
        cmocka_unit_test(refuses_sizes),
        cmocka_unit_test(full_disk_shows_at_create),
        cmocka_unit_test(create_reserves_space),
        cmocka_unit_test(notices_a_file_cut_after_open),
        cmocka_unit_test(reads_long_rows),
        cmocka_unit_test(several_files_are_open_at_once),
        cmocka_unit_test(output_format_by_extension),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
