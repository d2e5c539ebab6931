/* Hot pixels: what is found in one view whose spikes are known, and what is decided of
 * them with all views. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/series/hot_pixels.h"

enum { NX = 203, NY = 175, N = NX * NY };

/* About normal, of deviation 1. */
static double noise(uint32_t *seed)
{
    double sum = -6.0;
    for (int i = 0; i < 12; i++) {
        *seed = *seed * 1664525u + 1013904223u;
        sum += (double)(*seed >> 8) / 16777216.0;
    }
    return sum;
}

static void fill(float *view, uint32_t seed)
{
    for (size_t i = 0; i < N; i++)
        view[i] = (float)(50.0 + 3.0 * noise(&seed));
}

static tr_status look_through(const float *view, const tr_replaced *known, size_t n_known,
                              tr_outliers *found)
{
    tr_hot_finder f;
    TR_TRY(tr_hot_finder_new(NX, NY, true, &f));
    tr_hot_begin(&f, found, known, n_known);
    for (size_t y = 0, n; y < NY; y += n) {
        n = NY - y < TR_HOT_STRIP ? NY - y : TR_HOT_STRIP;
        memcpy(tr_hot_room(&f, y), view + y * NX, n * NX * sizeof *view);
        for (size_t r = y; r < y + n; r++) {
            f.row_sum[r] = 0.0;
            for (size_t x = 0; x < NX; x++)
                f.row_sum[r] += view[r * NX + x];
        }
        TR_TRY(tr_hot_look(&f, n, y + n == NY));
    }
    tr_hot_end(&f);
    tr_hot_finder_free(&f);
    return TR_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of the 5 x 5 pixels around that are within the view and below `limit`. */
static double median_around(const float *view, size_t place, double limit)
{
    double around[24];
    size_t n = 0;
    for (long y = (long)(place / NX) - 2; y <= (long)(place / NX) + 2; y++)
        for (long x = (long)(place % NX) - 2; x <= (long)(place % NX) + 2; x++)
            if (y >= 0 && y < NY && x >= 0 && x < NX && (size_t)(y * NX + x) != place &&
                fabs(view[y * NX + x] - 50.0) < limit)
                around[n++] = view[y * NX + x];
    qsort(around, n, sizeof *around, by_value);
    return n % 2 ? around[n / 2] : (around[n / 2 - 1] + around[n / 2]) / 2.0;
}

/* In the middle, beside each other, at the ends of blocks and of strips, at edges. */
static const struct {
    size_t x, y;
    double by;
} spikes[] = {{100, 0, 200},   {30, 5, 90},    {31, 5, 1e6},   {63, 61, -90},
              {150, 62, -1e5}, {64, 63, 300},  {202, 64, 100}, {0, 80, 80},
              {120, 125, 70},  {77, 126, 400}, {200, 127, 90}, {128, 174, 500}};
enum { SPIKES = sizeof spikes / sizeof *spikes };

static void test_one_view(void **state)
{
    (void)state;
    static float view[N];
    tr_outliers found = {0};
    for (uint32_t seed = 1; seed < 20; seed++) {
        double rest = 0.0;
        fill(view, seed);
        for (size_t i = 0; i < SPIKES; i++)
            view[spikes[i].y * NX + spikes[i].x] += (float)spikes[i].by;
        assert_int_equal(look_through(view, NULL, 0, &found), TR_OK);
        assert_int_equal(found.n_hot, SPIKES);
        assert_false(found.too_many);
        for (size_t i = 0, hot = 0; i < found.n; i++) {
            const tr_outlier *o = &found.list[i];
            assert_true(o->value == view[o->place]);
            assert_true(i == 0 || found.list[i - 1].place < o->place);
            rest -= view[o->place];
            if (!o->hot)
                continue;
            assert_int_equal(o->place, spikes[hot].y * NX + spikes[hot].x);
            assert_true(o->instead == (float)median_around(view, o->place, 30.0));
            hot++;
        }
        for (size_t i = 0; i < N; i++)
            rest += view[i];
        assert_true(fabs(found.rest - rest) < 1e-7 * N);
    }
    free(found.list);
}

static void test_known_ones(void **state)
{
    (void)state;
    static float view[N];
    static const tr_replaced known[] = {{10, 3, 0}, {64, 63, 0}, {90, 174, 0}};
    tr_outliers found = {0};
    fill(view, 77);
    view[63 * NX + 64] += 300;
    assert_int_equal(look_through(view, known, 3, &found), TR_OK);
    assert_int_equal(found.n_hot, 3);
    for (size_t i = 0, hot = 0; i < found.n; i++)
        if (found.list[i].hot) {
            size_t place = known[hot].y * NX + known[hot].x;
            assert_int_equal(found.list[i].place, place);
            assert_true(found.list[i].instead ==
                        (float)median_around(view, place, INFINITY));
            hot++;
        }
    free(found.list);
}

/* 35 of 35525 are a thousandth; one more are too many. */
static void test_too_many(void **state)
{
    (void)state;
    static float view[N];
    tr_outliers found = {0};
    for (size_t n = 35; n <= 36; n++) {
        fill(view, 5);
        for (size_t i = 0; i < n; i++)
            view[(3 + 4 * i) * NX + 5 * i + 2] += 1000;
        assert_int_equal(look_through(view, NULL, 0, &found), TR_OK);
        assert_int_equal(found.too_many, n == 36);
    }
    free(found.list);
}

/* Ten views: one place is an outlier in 4 of them and hot in none, one in 3, one view is
 * not to be believed. */
static void test_decision(void **state)
{
    (void)state;
    enum { VIEWS = 10 };
    tr_outlier of_view[VIEWS][3];
    tr_outliers all[VIEWS];
    tr_hot_pixels hot, part;
    for (size_t k = 0; k < VIEWS; k++) {
        all[k] = (tr_outliers){.list = of_view[k], .rest = 70.0, .too_many = k == 9};
        if (k < 4)
            of_view[k][all[k].n++] = (tr_outlier){5, 9.0f, 2.0f + (float)k, false};
        if (k < 3 || k == 9)
            of_view[k][all[k].n++] = (tr_outlier){13, 11.0f, 3.0f, false};
        if (k == 2 || k == 9)
            of_view[k][all[k].n++] = (tr_outlier){27, 500.0f, 4.0f, true};
    }
    assert_int_equal(tr_hot_decide(tr_comm_serial(), VIEWS, 10, all, &hot), TR_OK);
    assert_int_equal(hot.persistent, 1);
    assert_int_equal(hot.n_crowded, 1);
    assert_int_equal(hot.crowded, 9);
    static const size_t start[VIEWS + 1] = {0, 1, 2, 4, 5, 5, 5, 5, 5, 5, 5};
    assert_memory_equal(hot.start, start, sizeof start);
    assert_true(hot.list[3].x == 7 && hot.list[3].y == 2 && hot.list[3].value == 4.0f);
    assert_true(hot.list[4].x == 5 && hot.list[4].y == 0 && hot.list[4].value == 5.0f);
    assert_true(tr_hot_mean(&hot, 2, 10, &all[2], 20.0) ==
                (70.0 + 4.0 + 11.0 + 4.0) / 20.0);
    const size_t which[] = {3, 6, 2};
    assert_int_equal(tr_hot_select(&hot, which, 3, &part), TR_OK);
    assert_true(part.start[1] == 1 && part.start[2] == 1 && part.start[3] == 3);
    assert_true(part.list[0].value == 5.0f && part.list[2].x == 7);
    tr_hot_pixels_free(&part);
    tr_hot_pixels_free(&hot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_view),
        cmocka_unit_test(test_known_ones),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_decision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
