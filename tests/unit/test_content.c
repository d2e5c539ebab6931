/* Hashes of rows: what a linear sum could not tell apart, and what a later read finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/series/content.h"

enum { WIDTH = 512, ROWS = 512, IMAGES = 2, N = WIDTH * ROWS };

static float pixels[IMAGES][ROWS][WIDTH];

static void fill(void)
{
    uint32_t seed = 1;
    for (size_t i = 0; i < (size_t)IMAGES * N; i++) {
        seed = seed * 1664525u + 1013904223u;
        (&pixels[0][0][0])[i] = (float)(seed >> 8) / 65536.0f - 100.0f;
    }
}

static void digest(char text[TR_DIGEST])
{
    tr_content c;
    assert_int_equal(tr_content_new(IMAGES, ROWS, &c), TR_OK);
    for (size_t k = IMAGES; k-- > 0;) /* in any order */
        for (size_t row = 0; row < ROWS; row += 64)
            tr_content_note(&c, k, row, 64, WIDTH, pixels[k][row]);
    tr_content_digest(&c, WIDTH, text);
    tr_content_free(&c);
}

static void negate(void)
{
    for (size_t i = 0; i < (size_t)IMAGES * N; i++)
        (&pixels[0][0][0])[i] *= -1.0f;
}

static void twice(void)
{
    for (size_t i = 0; i < (size_t)IMAGES * N; i++)
        (&pixels[0][0][0])[i] *= 2.0f;
}

static void swap(float *a, float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float value = a[i];
        a[i] = b[i];
        b[i] = value;
    }
}

static void swap_images(void) { swap(&pixels[0][0][0], &pixels[1][0][0], N); }
static void swap_rows(void) { swap(pixels[1][3], pixels[1][200], WIDTH); }
static void swap_pixels(void) { swap(&pixels[1][3][7], &pixels[1][3][8], 1); }

static void mirror(void)
{
    for (size_t k = 0; k < IMAGES; k++)
        for (size_t row = 0; row < ROWS; row++)
            for (size_t x = 0; x < WIDTH / 2; x++)
                swap(&pixels[k][row][x], &pixels[k][row][WIDTH - 1 - x], 1);
}

/* What one pixel gets another one loses. */
static void move(void)
{
    pixels[0][5][5] += 1.0f;
    pixels[0][5][6] -= 1.0f;
}

static void change_bit(void)
{
    uint32_t bits;
    memcpy(&bits, &pixels[1][511][511], sizeof bits);
    bits ^= 1;
    memcpy(&pixels[1][511][511], &bits, sizeof bits);
}

static void test_other_content_has_another_digest(void **state)
{
    (void)state;
    static void (*const changes[])(void) = {negate,      twice,  swap_images, swap_rows,
                                            swap_pixels, mirror, move,        change_bit};
    enum { N_CHANGES = sizeof changes / sizeof *changes };
    char texts[N_CHANGES + 1][TR_DIGEST], again[TR_DIGEST];
    fill();
    digest(texts[N_CHANGES]);
    digest(again);
    assert_string_equal(texts[N_CHANGES], again);
    for (size_t k = 0; k < N_CHANGES; k++) {
        fill();
        changes[k]();
        digest(texts[k]);
        for (size_t i = 0; i < k; i++)
            assert_string_not_equal(texts[i], texts[k]);
        assert_string_not_equal(texts[N_CHANGES], texts[k]);
    }
}

/* Rows of the same values in another place, or of images of another width. */
static void test_places_count(void **state)
{
    (void)state;
    tr_content c, d;
    char a[TR_DIGEST], b[TR_DIGEST];
    fill();
    assert_int_equal(tr_content_new(1, 8, &c), TR_OK);
    assert_int_equal(tr_content_new(1, 8, &d), TR_OK);
    tr_content_note(&c, 0, 2, 1, WIDTH, pixels[0][0]);
    tr_content_note(&d, 0, 3, 1, WIDTH, pixels[0][0]);
    assert_true(tr_content_knows(&c, 0, 2) && !tr_content_knows(&c, 0, 3));
    tr_content_digest(&c, WIDTH, a);
    tr_content_digest(&d, WIDTH, b);
    assert_string_not_equal(a, b);
    tr_content_digest(&c, WIDTH / 2, b);
    assert_string_not_equal(a, b);
    tr_content_free(&c);
    tr_content_free(&d);
}

/* Numbers that ranks can add up as doubles. */
static void test_hashes_are_whole_numbers(void **state)
{
    (void)state;
    tr_content c;
    fill();
    assert_int_equal(tr_content_new(1, ROWS, &c), TR_OK);
    tr_content_note(&c, 0, 0, ROWS, WIDTH, pixels[0][0]);
    for (size_t row = 0; row < ROWS; row++) {
        assert_true(c.hash[row] >= 1.0 && c.hash[row] <= 0x1p52);
        assert_true(c.hash[row] == (double)(uint64_t)c.hash[row]);
    }
    tr_content_free(&c);
}

static void test_a_changed_file_is_found(void **state)
{
    (void)state;
    char path[] = "/tmp/tiltrec-content-XXXXXX.mrc";
    int fd = mkstemps(path, 4);
    assert_true(fd >= 0);
    tr_volume_spec spec = {
        .nx = WIDTH, .ny = ROWS, .nz = 1, .type = TR_FLOAT32, .pixel = 1.0};
    uint64_t *offset;
    tr_image *image;
    tr_content c;
    fill();
    assert_int_equal(tr_format_mrc.create(path, &spec, &offset), TR_OK);
    close(fd);
    fd = open(path, O_RDWR); /* it was made anew */
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, pixels[0], sizeof pixels[0], (off_t)offset[0]),
                     sizeof pixels[0]);
    assert_int_equal(tr_image_open(path, &image), TR_OK);
    assert_int_equal(tr_content_look(tr_comm_serial(), image, 2, &c), TR_OK);
    static float rows[ROWS][WIDTH];
    assert_int_equal(tr_content_read(&c, 0, image, 0, 10, 30, rows[0]), TR_OK);
    assert_memory_equal(rows, pixels[0][10], 30 * sizeof *rows);
    float other = -pixels[0][20][5];
    off_t at = (off_t)(offset[0] + (20 * WIDTH + 5) * sizeof other);
    assert_int_equal(pwrite(fd, &other, sizeof other, at), sizeof other);
    assert_int_equal(tr_content_read(&c, 0, image, 0, 0, 20, rows[0]), TR_OK);
    assert_int_equal(tr_content_read(&c, 0, image, 0, 10, 30, rows[0]), TR_ERR_DATA);
    assert_non_null(strstr(tr_error(), path));
    assert_non_null(strstr(tr_error(), "row 20 of section 0"));
    tr_content_free(&c);
    tr_image_close(image);
    free(offset);
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_content_has_another_digest),
        cmocka_unit_test(test_places_count),
        cmocka_unit_test(test_hashes_are_whole_numbers),
        cmocka_unit_test(test_a_changed_file_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
