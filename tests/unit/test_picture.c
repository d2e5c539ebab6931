/* Pictures: contrast, shrinking, PNG files as libpng reads them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <png.h>

#include "common/tomogram/picture.h"
#include "formats/png.h"

static void range_of_a_ramp_with_beads(void **state)
{
    (void)state;
    float values[1001];
    double range[2];
    for (int i = 0; i < 1001; i++)
        values[i] = (float)((i * 370) % 1001); /* every number once, out of order */
    values[0] = 1e30f;
    values[500] = NAN;
    assert_int_equal(tr_picture_range(values, 1001, 0.1, 0.9, range), TR_OK);
    assert_true(fabs(range[0] - 100) <= 2 && fabs(range[1] - 900) <= 2);
}

static void range_of_one_value(void **state)
{
    (void)state;
    float values[64];
    double range[2];
    for (int i = 0; i < 64; i++)
        values[i] = 7.0f;
    assert_int_equal(tr_picture_range(values, 64, 0.0, 1.0, range), TR_OK);
    assert_true(range[0] < range[1]);
    values[5] = 9.0f; /* one other: percentiles alone would not see it */
    assert_int_equal(tr_picture_range(values, 64, 0.05, 0.95, range), TR_OK);
    assert_true(range[0] == 7.0 && range[1] == 9.0);
}

static void grey_values_end_at_the_range(void **state)
{
    (void)state;
    const float values[] = {-INFINITY, -1, 0, 1, 2, 3, INFINITY, NAN};
    const uint8_t wanted[] = {0, 0, 0, 128, 255, 255, 255, 0};
    uint8_t grey[8];
    tr_picture_grey(values, 8, (double[]){0, 2}, grey);
    assert_memory_equal(grey, wanted, 8);
}

static void shrinking_takes_means(void **state)
{
    (void)state;
    float plane[3 * 5] = {1, 3,  5,  7,  100, /* */
                          5, 7,  9,  11, 200, /* */
                          2, 20, 30, 40, 50};
    const float wanted[] = {4, 8, 150, 11, 35, 50};
    assert_int_equal(tr_picture_side(5, 2), 3);
    assert_int_equal(tr_picture_factor(1000, 256), 4);
    assert_int_equal(tr_picture_factor(256, 256), 1);
    tr_picture_shrink(plane, 5, 3, 2, 2, plane);
    for (int i = 0; i < 6; i++)
        assert_true(plane[i] == wanted[i]);
}

static void check_png(size_t width, size_t height, int channels)
{
    size_t bytes = width * height * (size_t)channels, n = 0;
    uint8_t *pixels = malloc(bytes), *file = NULL, *back = malloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        pixels[i] = (uint8_t)(i * i / 7);
    assert_int_equal(tr_png_encode(pixels, width, height, channels, &file, &n), TR_OK);
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(&image, file, n));
    assert_int_equal(image.format, channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB);
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    assert_true(png_image_finish_read(&image, NULL, back, 0, NULL));
    assert_memory_equal(pixels, back, bytes);
    free(pixels);
    free(file);
    free(back);
}

static void png_as_libpng_reads_it(void **state)
{
    (void)state;
    check_png(1, 1, 1);
    check_png(37, 21, 1);
    check_png(300, 200, 3);
}

static void png_refuses_what_it_cannot_be(void **state)
{
    (void)state;
    uint8_t pixel[4] = {0}, *bytes;
    size_t n;
    assert_int_equal(tr_png_encode(pixel, 0, 1, 1, &bytes, &n), TR_ERR_INTERNAL);
    assert_int_equal(tr_png_encode(pixel, 1, 1, 4, &bytes, &n), TR_ERR_INTERNAL);
    assert_null(bytes);
}

static void files_are_complete_or_not_there(void **state)
{
    (void)state;
    char folder[] = "/tmp/tiltrec-test-XXXXXX", path[64], partial[80];
    uint8_t pixel = 9;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.png", folder);
    snprintf(partial, sizeof partial, "%s.partial", path);
    assert_int_equal(tr_png_write(path, &pixel, 1, 1, 1), TR_OK);
    assert_int_equal(access(path, R_OK), 0);
    assert_int_not_equal(access(partial, F_OK), 0);
    unlink(path);
    rmdir(folder);
    assert_int_equal(tr_png_write(path, &pixel, 1, 1, 1), TR_ERR_DATA);
    assert_non_null(strstr(tr_error(), path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(range_of_a_ramp_with_beads),
        cmocka_unit_test(range_of_one_value),
        cmocka_unit_test(grey_values_end_at_the_range),
        cmocka_unit_test(shrinking_takes_means),
        cmocka_unit_test(png_as_libpng_reads_it),
        cmocka_unit_test(png_refuses_what_it_cannot_be),
        cmocka_unit_test(files_are_complete_or_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
