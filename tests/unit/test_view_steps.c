/* The steps of views: those there are against their formulas, and steps of the kinds that
 * are to come, in Fourier space and on whole views, against sums in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/views/view_steps.h"

enum { NX = 613, NY = 5, N = NX * NY };

static float value_at(size_t i) { return (float)(2.0 + sin(0.7 * (double)i)); }

static void fill_image(float *image, size_t n)
{
    for (size_t i = 0; i < n; i++)
        image[i] = value_at(i);
}

/* Bad pixels, and one that is too small for the logarithm. */
static void spoil(float *image)
{
    image[3] = NAN;
    image[NX + 600] = INFINITY;
    image[2 * NX] = -INFINITY;
    image[N - 1] = -7.0f;
}

static double expected(const tr_view_params *p, double mean, double value)
{
    double v = isfinite(value) ? value : mean;
    if (p->log)
        v = -log(fmax(v + p->log_base, 1e-3 * (mean + p->log_base)));
    return p->invert ? -v : v;
}

static void test_pixels(void **state)
{
    (void)state;
    const tr_view_facts view = {.mean = 1.9876543210123, .bad = 3.0};
    const tr_window_2d all = {.nx = NX, .ny = NY}, part = {591, 20, 1, 3};
    static float image[N], before[N], cut[20 * 3];
    for (int i = 0; i < 4; i++) {
        const tr_view_steps steps = {
            tr_view_step_list(),
            {.log = i & 1, .log_base = 0.25, .invert = i & 2, .bin = 1}};
        fill_image(before, N);
        spoil(before);
        memcpy(image, before, sizeof image);
        for (size_t y = 0; y < part.ny; y++)
            memcpy(cut + y * part.nx, before + (part.y0 + y) * NX + part.x0,
                   part.nx * sizeof *cut);
        tr_view_steps_pixels(&steps, &view, &all, image);
        for (size_t k = 0; k < N; k++)
            assert_true(image[k] == (float)expected(&steps.params, view.mean, before[k]));
        tr_view_steps_pixels(&steps, &view, &part, cut);
        for (size_t y = 0; y < part.ny; y++)
            assert_memory_equal(cut + y * part.nx, image + (part.y0 + y) * NX + part.x0,
                                part.nx * sizeof *cut);
        double mean = 0.0;
        assert_int_equal(tr_view_steps_mean(&steps, &view, &mean), !steps.params.log);
        if (!steps.params.log)
            assert_true(mean == (steps.params.invert ? -view.mean : view.mean));
        assert_false(tr_view_steps_whole(&steps));
    }
}

/* Of pixels replaced, the first of a view among them: in any part of it, and not in its
 * mean. */
static void test_hot_pixels(void **state)
{
    (void)state;
    static const tr_replaced list[] = {{0, 0, 5.5f},   {511, 0, -1.0f}, {512, 0, 7.0f},
                                       {612, 0, 8.0f}, {3, 2, 9.0f},    {0, 4, 0.25f}};
    const tr_view_facts view = {.mean = 2.25, .replaced = list, .n_replaced = 6};
    const tr_view_facts none = {.mean = 2.25};
    const tr_view_steps steps = {tr_view_step_list(),
                                 {.hot_pixels = TR_HOT_REPLACE, .bin = 1}};
    static float image[N], wanted[N], cut[N];
    fill_image(wanted, N);
    fill_image(image, N);
    tr_view_steps_pixels(&steps, &none, &(tr_window_2d){.nx = NX, .ny = NY}, image);
    assert_memory_equal(image, wanted, sizeof image);
    for (size_t i = 0; i < 6; i++)
        wanted[list[i].y * NX + list[i].x] = list[i].value;
    for (size_t x0 = 0; x0 < NX; x0 += 73)
        for (size_t y0 = 0; y0 < NY; y0++) {
            const tr_window_2d w = {x0, NX - x0, y0, NY - y0};
            for (size_t y = 0; y < w.ny; y++)
                memcpy(cut + y * w.nx, image + (y0 + y) * NX + x0, w.nx * sizeof *cut);
            tr_view_steps_pixels(&steps, &view, &w, cut);
            for (size_t y = 0; y < w.ny; y++)
                assert_memory_equal(cut + y * w.nx, wanted + (y0 + y) * NX + x0,
                                    w.nx * sizeof *cut);
        }
    double mean = 0.0;
    assert_true(tr_view_steps_mean(&steps, &view, &mean));
    assert_true(mean == 2.25);
    assert_false(tr_view_steps_whole(&steps));
}

static double normalized(int how, double value, double level, double deviation)
{
    return how == TR_NORMALIZE_MEAN       ? value - level
           : how == TR_NORMALIZE_MEAN_STD ? (value - level) / deviation
           : how == TR_NORMALIZE_CONTRAST ? value / level - 1.0
                                          : value;
}

/* After the logarithm and before the inversion. */
static void test_normalization(void **state)
{
    (void)state;
    static float image[N], before[N];
    for (int how = TR_NORMALIZE_NONE; how <= TR_NORMALIZE_CONTRAST; how++)
        for (int i = 0; i < 4; i++) {
            const tr_view_facts view = {.mean = 2.0, .level = -1.75, .deviation = 0.3};
            const tr_view_steps steps = {tr_view_step_list(),
                                         {.normalize = how,
                                          .log = i & 1,
                                          .log_base = 3.0,
                                          .invert = i & 2,
                                          .bin = 1}};
            fill_image(before, N);
            fill_image(image, N);
            tr_view_steps_pixels(&steps, &view, &(tr_window_2d){.nx = NX, .ny = NY},
                                 image);
            for (size_t k = 0; k < N; k++) {
                double v = i & 1 ? -log(before[k] + 3.0) : before[k];
                v = normalized(how, v, -1.75, 0.3) * (i & 2 ? -1.0 : 1.0);
                assert_true(fabs(image[k] - v) <= 1e-6 * fmax(fabs(v), 1.0));
            }
        }
}

/* Each kind of step after the kinds that come before it, and one function in each. */
static void test_order(void **state)
{
    (void)state;
    int last = 0;
    for (const tr_view_step *const *s = tr_view_step_list(); *s; s++) {
        int kind = (*s)->pixels                     ? 1
                   : (*s)->image                    ? 2
                   : (*s)->spectrum || (*s)->factor ? 3
                   : (*s)->rows && (*s)->window     ? 4
                                                    : 0;
        int functions = !!(*s)->pixels + !!(*s)->image + !!(*s)->rows +
                        ((*s)->spectrum || (*s)->factor);
        assert_true((*s)->name && (*s)->wanted);
        assert_int_equal(functions, 1);
        assert_true(kind >= last);
        last = kind;
    }
    assert_int_equal(last, 4);
}

/* ---- steps of tests ---- */

static bool always(const tr_view_params *params, const tr_view_facts *view)
{
    (void)params, (void)view;
    return true;
}

static double damping(double fx, double fy, double strength)
{
    return exp(-strength * (fx * fx + fy * fy)) * (1.0 + 0.5 * fx * fx);
}

static void multiply(size_t nx, size_t ny, double strength, float (*spectrum)[2])
{
    for (size_t ky = 0; ky < ny; ky++)
        for (size_t kx = 0; kx <= nx / 2; kx++) {
            double fy = ky <= ny / 2 ? (double)ky : (double)ky - (double)ny;
            double gain = damping((double)kx / (double)nx, fy / (double)ny, strength);
            for (int part = 0; part < 2; part++)
                spectrum[ky * (nx / 2 + 1) + kx][part] *= (float)gain;
        }
}

static void one_damping(const tr_view_params *params, const tr_view_facts *view,
                        size_t nx, size_t ny, float (*spectrum)[2])
{
    (void)params, (void)view;
    multiply(nx, ny, 3.0, spectrum);
}

/* Of the view's own strength. */
static void other_damping(const tr_view_params *params, const tr_view_facts *view,
                          size_t nx, size_t ny, float (*spectrum)[2])
{
    (void)params;
    multiply(nx, ny, view->mean, spectrum);
}

static tr_status backwards(const tr_view_params *params, const tr_view_facts *view,
                           size_t nx, size_t ny, float *image)
{
    (void)params, (void)view;
    for (size_t i = 0; i < nx * ny / 2; i++) {
        float value = image[i];
        image[i] = image[nx * ny - 1 - i];
        image[nx * ny - 1 - i] = value;
    }
    return TR_OK;
}

extern const tr_view_step tr_step_inversion, tr_step_fourier_crop;
static const tr_view_step turn = {.name = "turn", .wanted = always, .image = backwards},
                          first = {"first", always, .spectrum = one_damping},
                          second = {"second", always, .spectrum = other_damping};
static const tr_view_step *const to_come[] = {
    &tr_step_inversion, &turn, &first, &second, &tr_step_fourier_crop, NULL};

/* The image at the real position (x, y), frequencies of at most `limit` / n. */
static double interpolate(const double *image, size_t nx, size_t ny, double x, double y,
                          size_t bin, double strength)
{
    double sum = 0.0;
    long mx = (long)(nx / bin), my = (long)(ny / bin);
    for (long ky = -((my - 1) / 2); ky <= my / 2; ky++)
        for (long kx = -((mx - 1) / 2); kx <= mx / 2; kx++) {
            if (bin > 1 && (2 * kx == mx || 2 * ky == my))
                continue;
            double fx = (double)kx / (double)nx, fy = (double)ky / (double)ny;
            double gain = damping(fx, fy, 3.0) * damping(fx, fy, strength);
            for (size_t j = 0; j < ny; j++)
                for (size_t i = 0; i < nx; i++)
                    sum +=
                        image[j * nx + i] * gain *
                        cos(2.0 * M_PI * (fx * (x - (double)i) + fy * (y - (double)j)));
        }
    return sum / (double)(nx * ny);
}

static void check_whole(size_t nx, size_t ny, size_t bin)
{
    const tr_view_facts view = {.mean = 5.0};
    const tr_view_steps steps = {to_come, {.invert = true, .bin = bin}};
    size_t mx = nx / bin, my = ny / bin, cx = mx * bin, cy = my * bin;
    float image[nx * ny], out[mx * my];
    double cut[cx * cy];
    fill_image(image, nx * ny);
    for (size_t y = 0; y < cy; y++)
        for (size_t x = 0; x < cx; x++) {
            size_t i = (y + (ny - cy) / 2) * nx + x + (nx - cx) / 2;
            cut[y * cx + x] = -(double)value_at(nx * ny - 1 - i);
        }
    assert_true(tr_view_steps_whole(&steps));
    assert_int_equal(tr_view_steps_factor(&steps), bin);
    tr_view_plans *plans = tr_view_plans_new(&steps, nx, ny, 0);
    assert_non_null(plans);
    assert_int_equal(tr_view_steps_image(plans, &view, image, out), TR_OK);
    tr_view_plans_free(plans);
    double shift_x = (double)nx / 2 - 0.5 - (double)((nx - cx) / 2) -
                     (double)bin * ((double)mx / 2 - 0.5);
    double shift_y = (double)ny / 2 - 0.5 - (double)((ny - cy) / 2) -
                     (double)bin * ((double)my / 2 - 0.5);
    for (size_t y = 0; y < my; y++)
        for (size_t x = 0; x < mx; x++) {
            double wanted = interpolate(cut, cx, cy, (double)(bin * x) + shift_x,
                                        (double)(bin * y) + shift_y, bin, view.mean);
            if (!(fabs(out[y * mx + x] - wanted) < 2e-6))
                fail_msg("%zu x %zu by %zu: (%zu, %zu) is %.9g, the sum %.9g", nx, ny,
                         bin, x, y, out[y * mx + x], wanted);
        }
}

static void test_whole(void **state)
{
    (void)state;
    check_whole(12, 10, 1);
    check_whole(11, 9, 1);
    check_whole(12, 10, 2);
    check_whole(17, 13, 3);
}

/* ---- padding ---- */

/* Asks for as many pixels as the view's mean says, and takes note of what it is given. */
static size_t given_x, given_y;

static size_t by_mean(const tr_view_params *params, const tr_view_facts *view)
{
    (void)params;
    return (size_t)view->mean;
}

static void note_size(const tr_view_params *params, const tr_view_facts *view, size_t nx,
                      size_t ny, float (*spectrum)[2])
{
    (void)params;
    given_x = nx;
    given_y = ny;
    multiply(nx, ny, view->mean, spectrum);
}

static const tr_view_step padded = {"padded", always, .spectrum = note_size,
                                    .padding = by_mean};
static const tr_view_step *const padded_list[] = {&first, &padded, &tr_step_fourier_crop,
                                                  NULL};

/* The image with `padding` more before its first pixel, in a field of px x py. */
static void pad_in_double(const double *image, size_t nx, size_t ny, size_t padding,
                          size_t before, size_t px, size_t py, double *all)
{
    double mean = 0.0, edge = 0.0;
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++)
            if (x == 0 || y == 0 || x == nx - 1 || y == ny - 1) {
                mean += image[y * nx + x];
                edge += 1.0;
            }
    mean /= edge;
    for (size_t j = 0; j < py; j++)
        for (size_t i = 0; i < px; i++) {
            double nearest = HUGE_VAL, value = 0.0;
            for (size_t y = 0; y < ny; y++)
                for (size_t x = 0; x < nx; x++) {
                    double dx = fabs((double)i - (double)(x + before));
                    double dy = fabs((double)j - (double)(y + before));
                    double d =
                        hypot(fmin(dx, (double)px - dx), fmin(dy, (double)py - dy));
                    if (d < nearest) {
                        nearest = d;
                        value = image[y * nx + x];
                    }
                }
            double t = fmin(nearest / (double)padding, 1.0);
            all[j * px + i] = mean + (value - mean) * 0.5 * (1.0 + cos(M_PI * t));
        }
}

/* px, py: what the transform is to be of. */
static void check_padded(size_t nx, size_t ny, size_t bin, size_t padding, size_t before,
                         size_t px, size_t py)
{
    const tr_view_facts view = {.mean = (double)padding};
    const tr_view_steps steps = {padded_list, {.bin = (long)bin}};
    size_t mx = nx / bin, my = ny / bin, cx = mx * bin, cy = my * bin;
    float image[nx * ny], out[mx * my];
    double cut[cx * cy], all[px * py];
    fill_image(image, nx * ny);
    for (size_t y = 0; y < cy; y++)
        for (size_t x = 0; x < cx; x++)
            cut[y * cx + x] = image[(y + (ny - cy) / 2) * nx + x + (nx - cx) / 2];
    pad_in_double(cut, cx, cy, padding, before, px, py, all);
    assert_int_equal(tr_view_steps_padding(&steps, &view), padding);
    tr_view_plans *plans = tr_view_plans_new(&steps, nx, ny, padding);
    assert_non_null(plans);
    assert_true(tr_view_plans_bytes(plans) >= 4 * px * py * sizeof(float));
    assert_int_equal(tr_view_steps_image(plans, &view, image, out), TR_OK);
    tr_view_plans_free(plans);
    assert_int_equal(given_x, px);
    assert_int_equal(given_y, py);
    double shift_x = (double)nx / 2 - 0.5 - (double)((nx - cx) / 2) -
                     (double)bin * ((double)mx / 2 - 0.5) + (double)before;
    double shift_y = (double)ny / 2 - 0.5 - (double)((ny - cy) / 2) -
                     (double)bin * ((double)my / 2 - 0.5) + (double)before;
    for (size_t y = 0; y < my; y++)
        for (size_t x = 0; x < mx; x++) {
            double wanted = interpolate(all, px, py, (double)(bin * x) + shift_x,
                                        (double)(bin * y) + shift_y, bin, view.mean);
            if (!(fabs(out[y * mx + x] - wanted) < 2e-6))
                fail_msg("%zu x %zu by %zu: (%zu, %zu) is %.9g, the sum %.9g", nx, ny,
                         bin, x, y, out[y * mx + x], wanted);
        }
}

static void test_padding(void **state)
{
    (void)state;
    check_padded(12, 9, 1, 3, 3, 18, 16);
    check_padded(10, 12, 2, 3, 4, 20, 20);
    check_padded(17, 13, 3, 4, 6, 30, 24);
    const tr_view_facts view = {.mean = 5.0};
    const tr_view_steps none = {to_come, {.bin = 2}};
    assert_int_equal(tr_view_steps_padding(&none, &view), 0);
}

/* Without a step in Fourier space there is no transform, hence no rounding. */
static void test_image_only(void **state)
{
    (void)state;
    static const tr_view_step *const list[] = {&turn, &tr_step_fourier_crop, NULL};
    const tr_view_steps steps = {list, {.bin = 1}};
    const tr_view_facts view = {.mean = 1.0};
    float image[12], out[12];
    fill_image(image, 12);
    assert_true(tr_view_steps_whole(&steps));
    tr_view_plans *plans = tr_view_plans_new(&steps, 4, 3, 0);
    assert_non_null(plans);
    assert_int_equal(tr_view_steps_image(plans, &view, image, out), TR_OK);
    tr_view_plans_free(plans);
    for (size_t i = 0; i < 12; i++)
        assert_true(out[i] == value_at(11 - i));
}

/* Only a view with a map is resampled; a shift by whole pixels copies. */
static void test_transform(void **state)
{
    (void)state;
    const tr_view_steps steps = {tr_view_step_list(), {.bin = 1}};
    const double map[6] = {1, 0, 2, 0, 1, -1}, fill = 9.5;
    tr_view_facts view = {.mean = 1.0};
    float image[8 * 6], source[8 * 6], out[8 * 3];
    fill_image(image, 8 * 6);
    assert_null(tr_view_steps_rows(&steps, &view));
    view.map = map;
    view.columns = 8;
    view.fill = &fill;
    const tr_view_step *step = tr_view_steps_rows(&steps, &view);
    assert_non_null(step);
    tr_window_2d w = step->window(&view, 8, 6, 0, 3);
    assert_true(w.ny < 6);
    for (size_t y = 0; y < w.ny; y++)
        memcpy(source + y * w.nx, image + (w.y0 + y) * 8 + w.x0, w.nx * sizeof *source);
    step->rows(&view, source, &w, 8, 6, 0, 3, out);
    for (size_t y = 0; y < 3; y++)
        for (size_t x = 0; x < 8; x++)
            assert_true(out[y * 8 + x] ==
                        (x + 2 < 8 && y >= 1 ? image[(y - 1) * 8 + x + 2] : (float)fill));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pixels),        cmocka_unit_test(test_order),
        cmocka_unit_test(test_whole),         cmocka_unit_test(test_image_only),
        cmocka_unit_test(test_transform),     cmocka_unit_test(test_hot_pixels),
        cmocka_unit_test(test_normalization), cmocka_unit_test(test_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
