/* Slices on their way to the file: what each instruction set makes of samples, and the
 * pass over blocks of lines, against what is plainly said of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <xxhash.h>

#include "common/tomogram/output_private.h"

static float random_value(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) / 65536.0f - 100.0f;
}

static float *random_values(size_t n, uint32_t seed)
{
    float *values = malloc((n ? n : 1) * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < n; i++)
        values[i] = random_value(&seed);
    return values;
}

/* ---- instruction sets ---- */

static size_t find_sets(const tr_samples *sets[3])
{
    size_t n = 0;
#if defined(__aarch64__)
    sets[n++] = &tr_samples_neon;
#else
    sets[n++] = &tr_samples_baseline;
#endif
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        sets[n++] = &tr_samples_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        sets[n++] = &tr_samples_avx512;
#endif
    return n;
}

static void check_transposition(const tr_samples *s, size_t rows, size_t n)
{
    enum { MOST = 48, BEYOND = 3 };
    size_t lanes = rows + 5, pitch = n + BEYOND;
    float *lines = random_values(n * lanes + 1, 1), to[MOST * (200 + BEYOND)];
    for (size_t i = 0; i < rows * pitch; i++)
        to[i] = -7.0f;
    s->transpose(lines, lanes, rows, n, to, pitch);
    for (size_t k = 0; k < rows; k++)
        for (size_t i = 0; i < pitch; i++)
            assert_true(to[k * pitch + i] == (i < n ? lines[i * lanes + k] : -7.0f));
    free(lines);
}

static void transposes_any_size(void **state)
{
    const tr_samples *sets[3];
    const size_t rows[] = {1, 3, 4, 8, 15, 16, 17, 21, 32, 48};
    const size_t lines[] = {0, 1, 4, 15, 16, 17, 31, 64, 100, 199};
    (void)state;
    for (size_t k = 0, n = find_sets(sets); k < n; k++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            for (size_t j = 0; j < sizeof lines / sizeof *lines; j++)
                check_transposition(sets[k], rows[i], lines[j]);
}

/* In pieces of `piece` values. */
static tr_measuring measure(const tr_samples *s, const float *values, size_t n,
                            size_t piece)
{
    tr_measuring m;
    tr_measure_begin(values, n < TR_MEASURE_START ? n : TR_MEASURE_START, &m);
    for (size_t i = 0; i < n; i += piece)
        s->measure(values + i, n - i < piece ? n - i : piece, &m);
    return m;
}

static void check_sums(const tr_slice_sums *sums, const float *values, size_t n)
{
    long double sum = 0.0L, squares = 0.0L;
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        sum += values[i];
        low = fmin(low, values[i]);
        high = fmax(high, values[i]);
    }
    long double mean = sum / (long double)n;
    for (size_t i = 0; i < n; i++)
        squares += (values[i] - mean) * (values[i] - mean);
    assert_true(sums->min == low && sums->max == high);
    assert_true(fabsl(sums->mean - mean) <= 1e-13L * fmaxl(fabsl(mean), high - low));
    assert_true(fabsl(sums->squares - squares) <= 1e-12L * squares);
}

static void measures_alike_in_any_pieces(void **state)
{
    const tr_samples *sets[3];
    const size_t sizes[] = {1, 15, 16, 17, 1000, 4096, 5003, 40000};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i];
        float *values = random_values(n, (uint32_t)n);
        for (size_t j = 0; j < n; j++)
            values[j] += 1e4f; /* far from 0: sums about 0 would lose digits */
        find_sets(sets);
        const tr_measuring first = measure(sets[0], values, n, n);
        const tr_slice_sums sums = tr_measure_end(&first);
        check_sums(&sums, values, n);
        for (size_t k = 0, n_sets = find_sets(sets); k < n_sets; k++)
            for (size_t piece = 1; piece < 3 * n; piece = 5 * piece + 3) {
                tr_measuring m = measure(sets[k], values, n, piece);
                assert_memory_equal(&m, &first, sizeof m);
            }
        free(values);
    }
}

/* What the first set makes of them is checked by test_formats, under TR_ISA=baseline and
 * under none. */
static void check_conversions(const tr_samples *a, const tr_samples *b, const float *in,
                              size_t n)
{
    static unsigned char one[4 << 16], two[4 << 16];
    static float back[1 << 16], back_too[1 << 16];
    assert_true(n <= 1 << 16);
    for (int type = 0; type < TR_SAMPLE_TYPES; type++) {
        if (type == TR_FLOAT32)
            continue;
        a->from_float[type](in, n, one);
        b->from_float[type](in, n, two);
        assert_memory_equal(one, two, n * tr_type_size((tr_type)type));
        a->to_float[type](one, n, back);
        b->to_float[type](one, n, back_too);
        assert_memory_equal(back, back_too, n * sizeof *back);
    }
}

static void converts_alike(void **state)
{
    enum { N = (1 << 16) - 3 };
    static float values[N];
    const tr_samples *sets[3];
    uint32_t bits = 7;
    (void)state;
    for (int times = 0; times < 20; times++) {
        for (size_t i = 0; i < N; i++) { /* any bits: NaN of every kind, subnormals */
            bits = bits * 1664525u + 1013904223u;
            uint32_t mixed = bits ^ bits >> 15;
            memcpy(&values[i], &mixed, sizeof mixed);
            if (i % 4 == 0) /* where float16 has its steps */
                values[i] = ldexpf(values[i] / 1e38f, (int)(i / 4 % 50) - 30);
        }
        for (size_t k = 1, n = find_sets(sets); k < n; k++)
            check_conversions(sets[0], sets[k], values, N);
    }
}

static void finds_limits_of_numbers(void **state)
{
    const tr_samples *sets[3];
    (void)state;
    for (size_t k = 0, n_sets = find_sets(sets); k < n_sets; k++)
        for (size_t n = 0; n < 100; n++) {
            float *values = random_values(n, (uint32_t)n), low, high;
            double least = FLT_MAX, most = -FLT_MAX;
            size_t count = 0;
            for (size_t i = 0; i < n; i += 7)
                values[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : -INFINITY;
            for (size_t i = 0; i < n; i++)
                if (isfinite(values[i])) {
                    count++;
                    least = fmin(least, values[i]);
                    most = fmax(most, values[i]);
                }
            assert_int_equal(sets[k]->limits(values, n, &low, &high), count);
            assert_true(low == least && high == most);
            free(values);
        }
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Whether at least one of each two neighbours that face each other is below (sign 1), or
 * above (-1), by more than that. */
static bool stands_alone(const float *middle, size_t width, int sign, float by)
{
    const long to[4] = {1, (long)width, (long)width + 1, (long)width - 1};
    bool alone = true;
    for (int k = 0; k < 4; k++) {
        float pair[2] = {(float)sign * middle[to[k]], (float)sign * middle[-to[k]]};
        qsort(pair, 2, sizeof *pair, by_size);
        alone = alone && (float)sign * *middle - pair[0] > by;
    }
    return alone;
}

static void finds_pixels_unlike_their_neighbours(void **state)
{
    enum { WIDTH = 301 };
    const tr_samples *sets[3];
    (void)state;
    float *rows = random_values(3 * WIDTH, 5), *at = rows + WIDTH;
    for (size_t i = 0; i < 3 * WIDTH; i++) /* few values: many are equal */
        rows[i] = floorf(fmodf(fabsf(rows[i]), 16.0f));
    size_t found = 0;
    for (size_t k = 0, n_sets = find_sets(sets); k < n_sets; k++)
        for (size_t first = 1; first < 40; first++)
            for (size_t x = first, last; x < WIDTH - 1; x++) {
                last = x;
                x = sets[k]->alone(rows, at, at + WIDTH, x, WIDTH - 1, 5.0f);
                for (; last < x; last++)
                    assert_false(stands_alone(at + last, WIDTH, 1, 5.0f) ||
                                 stands_alone(at + last, WIDTH, -1, 5.0f));
                if (x == WIDTH - 1)
                    break;
                assert_true(stands_alone(at + x, WIDTH, 1, 5.0f) ||
                            stands_alone(at + x, WIDTH, -1, 5.0f));
                found++;
            }
    assert_true(found > 100);
    free(rows);
}

static void scales_hashes_and_looks_for_numbers(void **state)
{
    enum { N = 1003 };
    const tr_samples *sets[3];
    (void)state;
    for (size_t k = 0, n = find_sets(sets); k < n; k++) {
        float *values = random_values(N, 3), *before = random_values(N, 3);
        assert_true(sets[k]->hash(values, N, 5) ==
                    XXH3_64bits_withSeed(values, N * sizeof *values, 5));
        sets[k]->scale(values, N, 0.1, 3.0);
        for (size_t i = 0; i < N; i++)
            assert_true(values[i] == (float)((before[i] + 0.1) * 3.0));
        assert_true(sets[k]->finite(values, N));
        for (size_t i = 0; i < N; i += 167) {
            float kept = values[i];
            values[i] = i % 2 ? NAN : -INFINITY;
            assert_false(sets[k]->finite(values, N));
            values[i] = kept;
        }
        free(values);
        free(before);
    }
}

/* ---- the pass ---- */

typedef struct pass_case {
    size_t width, thickness, slices, lanes; /* lanes 0: given as planes */
    tr_type type;
    bool xyz;
    double add, multiply;
    int threads;
    float planted; /* in a voxel of slice 1; 0: none */
} pass_case;

/* Line z of slice k in the file, as a reader gets it. */
static void read_line(FILE *file, const tr_output *o, const pass_case *c, size_t k,
                      size_t z, float *line)
{
    size_t size = tr_type_size(c->type), section = c->xyz ? c->thickness - 1 - z : k;
    size_t row = c->xyz ? k : z;
    unsigned char *bytes = malloc(c->width * size);
    assert_non_null(bytes);
    long at = (long)(o->section_offset[section] + row * c->width * size);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fread(bytes, size, c->width, file), c->width);
    tr_convert_to_float(bytes, c->width, c->type, line);
    free(bytes);
}

/* The values of a slice as its reader should get them. */
static void make_expected(const pass_case *c, const float *planes, size_t k,
                          float *expected)
{
    size_t plane = c->width * c->thickness;
    for (size_t i = 0; i < plane; i++)
        expected[i] = (float)((planes[k * plane + i] + c->add) * c->multiply);
    if (c->type == TR_FLOAT32)
        return;
    tr_convert_from_float(expected, plane, c->type, expected);
    void *samples = malloc(plane * sizeof *expected);
    assert_non_null(samples);
    memcpy(samples, expected, plane * sizeof *expected);
    tr_convert_to_float(samples, plane, c->type, expected);
    free(samples);
}

static void check_slice(const tr_output *o, const pass_case *c, const float *planes,
                        size_t k)
{
    size_t plane = c->width * c->thickness;
    float *expected = random_values(plane, 1), *line = random_values(c->width, 1);
    FILE *file = fopen(o->partial, "rb");
    uint32_t check = 0;
    assert_non_null(file);
    make_expected(c, planes, k, expected);
    for (size_t z = 0; z < c->thickness; z++) {
        read_line(file, o, c, k, z, line);
        assert_memory_equal(line, expected + z * c->width, c->width * sizeof *line);
        check += (uint32_t)XXH3_64bits_withSeed(line, c->width * sizeof *line, z);
    }
    assert_true(o->sums[k].check == (double)check);
    if (c->planted != 0.0f && k == 1)
        assert_true(isnan(o->sums[k].mean)); /* what tells of it, whatever the type */
    else
        check_sums(&o->sums[k], expected, plane);
    fclose(file);
    free(expected);
    free(line);
}

/* lines[z][x][lane] of planes[k][z][x]. */
static float *as_lines(const pass_case *c, const float *planes)
{
    size_t plane = c->width * c->thickness;
    float *lines = random_values(plane * c->lanes, 9);
    for (size_t i = 0; i < plane; i++)
        for (size_t k = 0; k < c->slices; k++)
            lines[i * c->lanes + k] = planes[k * plane + i];
    return lines;
}

static void check_case(const pass_case *c)
{
    char path[] = "/tmp/tr_output_pass_XXXXXX.mrc";
    int fd = mkstemps(path, 4);
    assert_true(fd >= 0);
    close(fd);
    const tr_output_spec spec = {.path = path,
                                 .width = c->width,
                                 .thickness = c->thickness,
                                 .n_slices = c->slices + 2, /* one before, one behind */
                                 .xyz = c->xyz,
                                 .type = c->type,
                                 .add = c->add,
                                 .multiply = c->multiply,
                                 .threads = c->threads};
    tr_output *o = NULL;
    size_t plane = c->width * c->thickness;
    float *planes = random_values(plane * (c->slices + 2), 4);
    if (c->planted != 0.0f)
        planes[plane * 3 / 2] = c->planted;
    assert_int_equal(tr_output_open(tr_comm_serial(), &spec, &o), TR_OK);
    float *lines = c->lanes ? as_lines(c, planes) : NULL;
    if (lines)
        assert_int_equal(tr_output_write_lines(o, 0, c->slices, lines, c->lanes), TR_OK);
    else
        assert_int_equal(tr_output_write(o, 0, c->slices, planes), TR_OK);
    assert_int_equal(tr_output_write(o, c->slices, 2, planes + c->slices * plane), TR_OK);
    for (size_t k = 0; k < c->slices + 2; k++)
        check_slice(o, c, planes, k);
    tr_output_discard(o);
    free(planes);
    free(lines);
    unlink(path);
}

static void writes_every_type_and_order(void **state)
{
    static const tr_type types[] = {TR_FLOAT32, TR_FLOAT16, TR_INT8, TR_INT16, TR_UINT16};
    (void)state;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (int way = 0; way < 16; way++) {
            bool scaled = way & 4;
            check_case(&(pass_case){.width = 53,
                                    .thickness = 7,
                                    .slices = 21,
                                    .lanes = way & 1 ? 25 : 0,
                                    .type = types[t],
                                    .xyz = way & 2,
                                    .add = scaled ? 30.5 : 0.0,
                                    .multiply = scaled ? 1.7 : 1.0,
                                    .threads = way & 8 ? 3 : 1});
        }
}

/* Lines that a block has several of and a rest, lines longer than a block, slices with
 * fewer values than tell of the mean. */
static void writes_any_size(void **state)
{
    static const size_t sizes[][3] = {{5003, 11, 35}, {20001, 2, 3},  {1, 1, 1},
                                      {16, 2500, 17}, {4096, 13, 16}, {1, 20000, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int way = 0; way < 8; way++)
            check_case(&(pass_case){.width = sizes[i][0],
                                    .thickness = sizes[i][1],
                                    .slices = sizes[i][2],
                                    .lanes = way & 1 ? sizes[i][2] + 3 : 0,
                                    .type = way & 2 ? TR_FLOAT16 : TR_FLOAT32,
                                    .xyz = way & 4,
                                    .multiply = 1.0,
                                    .threads = 2});
}

static void tells_of_what_is_no_number(void **state)
{
    static const tr_type types[] = {TR_FLOAT32, TR_FLOAT16, TR_INT16};
    static const float planted[] = {NAN, INFINITY, -INFINITY};
    (void)state;
    for (size_t t = 0; t < 3; t++)
        for (size_t k = 0; k < 3; k++)
            check_case(&(pass_case){.width = 70,
                                    .thickness = 100,
                                    .slices = 20,
                                    .lanes = 32,
                                    .type = types[t],
                                    .multiply = 1.0,
                                    .threads = 2,
                                    .planted = planted[k]});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transposes_any_size),
        cmocka_unit_test(measures_alike_in_any_pieces),
        cmocka_unit_test(converts_alike),
        cmocka_unit_test(finds_limits_of_numbers),
        cmocka_unit_test(finds_pixels_unlike_their_neighbours),
        cmocka_unit_test(scales_hashes_and_looks_for_numbers),
        cmocka_unit_test(writes_every_type_and_order),
        cmocka_unit_test(writes_any_size),
        cmocka_unit_test(tells_of_what_is_no_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
