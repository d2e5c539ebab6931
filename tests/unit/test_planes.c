/* Small images turned, filtered and compared, against formulas; the tilt axis of points
 * that are projected here. */
#include <complex.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/angle.h"
#include "common/alignment/coarse_alignment.h"

enum { NX = 128, NY = 120 };

/* Uniform in [-1, 1), the same everywhere. */
static double uniform(void)
{
    static uint64_t state = 88172645463325252ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)(state >> 11) / 4503599627370496.0 - 1.0;
}

/* A sum of blobs, at any place. */
enum { BLOBS = 250 };
typedef struct blobs {
    double x[BLOBS], y[BLOBS], z[BLOBS], height[BLOBS];
} blobs;

static blobs make_blobs(double wide, double high, double thick)
{
    blobs b;
    for (int k = 0; k < BLOBS; k++) {
        b.x[k] = wide * uniform();
        b.y[k] = high * uniform();
        b.z[k] = thick * uniform();
        b.height[k] = uniform();
    }
    return b;
}

static double value_at(const blobs *b, double x, double y)
{
    double sum = 0.0;
    for (int k = 0; k < BLOBS; k++) {
        double dx = x - b->x[k], dy = y - b->y[k];
        sum += b->height[k] * exp(-(dx * dx + dy * dy) / 8.0);
    }
    return sum;
}

static void draw(const blobs *b, double dx, double dy, float *image)
{
    for (int y = 0; y < NY; y++)
        for (int x = 0; x < NX; x++)
            image[y * NX + x] =
                (float)value_at(b, x - 0.5 * (NX - 1) - dx, y - 0.5 * (NY - 1) - dy);
}

static void test_maps(void **state)
{
    (void)state;
    static float image[NY * NX], out[NY * NX], mask[NY * NX];
    const blobs b = make_blobs(40, 30, 0);
    const double shift[2] = {3.25, -7.5}, axis = 17.0 * TR_RADIANS, stretch = 1.3;
    draw(&b, 0, 0, image);
    tr_plane_map m = tr_plane_turn(axis, shift, stretch);
    /* A point of the axis goes to x = shift. */
    double on[2] = {-10.0 * sin(axis), 10.0 * cos(axis)};
    assert_float_equal(m.a[0][0] * on[0] + m.a[0][1] * on[1], 0.0, 1e-6);
    assert_float_equal(m.a[1][0] * on[0] + m.a[1][1] * on[1], 10.0, 1e-6);
    tr_plane_apply(&m, NX, NY, image, out, mask);
    int compared = 0;
    for (int y = 0; y < NY; y++)
        for (int x = 0; x < NX; x++) {
            double u = (x - 0.5 * (NX - 1)) / stretch - shift[0];
            double v = y - 0.5 * (NY - 1) - shift[1];
            double px = cos(axis) * u - sin(axis) * v, py = sin(axis) * u + cos(axis) * v;
            bool inside = fabs(px) < 0.5 * (NX - 1) && fabs(py) < 0.5 * (NY - 1);
            assert_int_equal(mask[y * NX + x] != 0.0f, inside);
            /* Linear interpolation of blobs of a width of 2 pixels. */
            assert_float_equal(out[y * NX + x], inside ? value_at(&b, px, py) : 0.0,
                               0.15);
            compared += inside;
        }
    assert_true(compared > NX * NY / 2);
}

static void test_normalize(void **state)
{
    (void)state;
    static float image[NY * NX];
    static double work[NY * NX];
    for (int i = 0; i < NX * NY; i++)
        image[i] = (float)(50.0 + uniform() + uniform() + uniform());
    image[100] = 1e6f;
    assert_true(tr_plane_normalize(NX * NY, 4.0, image, work));
    double sum = 0, squares = 0;
    for (int i = 0; i < NX * NY; i++) {
        sum += image[i];
        squares += (double)image[i] * image[i];
    }
    assert_float_equal(sum / (NX * NY), 0.0, 1e-5);
    assert_float_equal(squares / (NX * NY), 1.0, 1e-4);
    assert_true(fabsf(image[100]) < 4.5f);
    for (int i = 0; i < NX * NY; i++)
        image[i] = 7.0f;
    assert_false(tr_plane_normalize(NX * NY, 4.0, image, work));
}

/* A wave is multiplied by the filter at its frequency. */
static void test_band(void **state)
{
    (void)state;
    static float images[2][NY * NX];
    const double low = 0.04, high = 0.2;
    const int waves[2][2] = {{7, 4}, {20, -11}};
    for (int k = 0; k < 2; k++)
        for (int y = 0; y < NY; y++)
            for (int x = 0; x < NX; x++)
                images[k][y * NX + x] = (float)cos(
                    2 * TR_PI *
                    (waves[k][0] * x / (double)NX + waves[k][1] * y / (double)NY));
    assert_int_equal(tr_planes_band(2, NX, NY, low, high, 2, images[0]), TR_OK);
    for (int k = 0; k < 2; k++) {
        double f2 = pow(waves[k][0] / (double)NX, 2) + pow(waves[k][1] / (double)NY, 2);
        double w = (1 - exp(-0.5 * f2 / (low * low))) * exp(-0.5 * f2 / (high * high));
        for (int y = 0; y < NY; y++)
            for (int x = 0; x < NX; x++)
                assert_float_equal(images[k][y * NX + x],
                                   w * cos(2 * TR_PI *
                                           (waves[k][0] * x / (double)NX +
                                            waves[k][1] * y / (double)NY)),
                                   1e-5);
    }
}

/* Of images that only have a part in common, with noise and other means. */
static void test_overlays(void **state)
{
    (void)state;
    static float a[NY * NX], b[NY * NX], ma[NY * NX], mb[NY * NX];
    const double shifts[][2] = {{0, 0}, {4.3, -2.6}, {-21.7, 11.2}};
    for (size_t s = 0; s < sizeof shifts / sizeof *shifts; s++) {
        const blobs blob = make_blobs(80, 75, 0);
        draw(&blob, shifts[s][0], shifts[s][1], a);
        draw(&blob, 0, 0, b);
        for (int i = 0; i < NX * NY; i++) {
            a[i] = 5.0f + 3.0f * a[i] + 0.2f * (float)uniform();
            b[i] = -2.0f + b[i] + 0.1f * (float)uniform();
            ma[i] = i % NX > 5;
            mb[i] = i / NX < NY - 4;
            a[i] = ma[i] != 0.0f ? a[i] : 1e3f; /* of no weight */
        }
        tr_correlator *c = tr_correlator_new(NX, NY, 30);
        tr_overlay o;
        assert_non_null(c);
        for (int i = 0; i < NX * NY; i++)
            a[i] = ma[i] != 0.0f ? a[i] : 0.0f;
        tr_correlate(c, a, ma, b, mb, &o);
        assert_float_equal(o.shift[0], shifts[s][0], 0.15);
        assert_float_equal(o.shift[1], shifts[s][1], 0.15);
        assert_true(o.correlation > 0.85 && o.correlation < 1.0001);
        double significance = o.significance;
        /* Nothing in common. */
        for (int i = 0; i < NX * NY; i++)
            b[i] = (float)(uniform() + uniform());
        tr_correlate(c, a, ma, b, mb, &o);
        assert_true(o.correlation < 0.3 && o.significance < significance);
        tr_correlator_free(c);
    }
}

/* Points of a slab, whose views are turned and shifted as a raw series is: the shifts and
 * the axis with which they were made. */
static void test_series(void **state)
{
    (void)state;
    enum { VIEWS = 21 };
    static float image[VIEWS][NY * NX];
    static double work[NY * NX], tilt[VIEWS], made[VIEWS][2], shift[VIEWS][2];
    const double axis = 3.0 * TR_RADIANS, c = cos(axis), s = sin(axis);
    const blobs b = make_blobs(90, 85, 8);
    for (int k = 0; k < VIEWS; k++) {
        double t = tilt[k] = (-40.0 + 4.0 * k) * TR_RADIANS;
        made[k][0] = k == VIEWS / 2 ? 0 : 4.0 * uniform();
        made[k][1] = k == VIEWS / 2 ? 0 : 4.0 * uniform();
        blobs seen = b;
        for (int i = 0; i < BLOBS; i++) {
            double u = b.x[i] * cos(t) - b.z[i] * sin(t) - made[k][0];
            double v = b.y[i] - made[k][1];
            seen.x[i] = c * u - s * v;
            seen.y[i] = s * u + c * v;
        }
        draw(&seen, 0, 0, image[k]);
        for (int i = 0; i < NX * NY; i++)
            image[k][i] += 0.1f * (float)uniform();
        assert_true(tr_plane_normalize(NX * NY, 4.0, image[k], work));
    }
    const tr_small_views views = {VIEWS, NX, NY, tilt, image[0]};
    tr_overlay found[VIEWS];
    double got = 0.0, again[VIEWS][2];
    tr_axis_scores scores;
    for (int round = 0; round < 3; round++) {
        assert_int_equal(tr_coarse_shifts(&views, got, 20, 2, shift, found), TR_OK);
        assert_int_equal(tr_find_tilt_axis(&views, (const double(*)[2])shift, got, 0.0,
                                           8.0 * TR_RADIANS, 2, &got, &scores),
                         TR_OK);
    }
    assert_float_equal(got * TR_DEGREES, 3.0, 0.5);
    assert_true(scores.best > scores.mean);
    assert_int_equal(tr_coarse_shifts(&views, got, 20, 2, shift, found), TR_OK);
    assert_int_equal(tr_coarse_shifts(&views, got, 20, 1, again, found), TR_OK);
    assert_memory_equal(shift, again, sizeof shift);
    /* What is left over of cos t and sin t is where the specimen is. */
    double square = 0.0;
    for (int k = 0; k < VIEWS; k++)
        square += pow(shift[k][1] - made[k][1], 2);
    assert_true(sqrt(square / VIEWS) < 0.2);
    square = 0.0;
    for (int k = 1; k < VIEWS; k++)
        square += pow(shift[k][0] - made[k][0] - shift[k - 1][0] + made[k - 1][0], 2);
    assert_true(sqrt(square / VIEWS) < 0.3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maps),   cmocka_unit_test(test_normalize),
        cmocka_unit_test(test_band),   cmocka_unit_test(test_overlays),
        cmocka_unit_test(test_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
