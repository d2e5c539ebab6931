/* The geometry against the paper's formulas, and properties that the rest relies on. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/algorithms/filter_design.h"
#include "common/geometry/bands.h"
#include "common/geometry/warp.h"
#include "common/base/partition.h"

static const double DEGREE = M_PI / 180.0;
static const double tilts[] = {-60, -31.5, 0, 12, 47, 89.99};
static const double xtilts[] = {0.5, -1.2, 0.3, 2.0, -0.4, 0.9};
enum { N = sizeof tilts / sizeof *tilts };

static tr_geometry make(double pitch, const double *x)
{
    const tr_geometry_spec spec = {.n_views = N,
                                   .tilts = tilts,
                                   .xtilts = x,
                                   .tilt_offset = 3,
                                   .pitch = pitch,
                                   .n_u = 101,
                                   .n_v = 90,
                                   .width = 81,
                                   .thickness = 35,
                                   .axis_shift = 2.5,
                                   .x_shift = -4,
                                   .z_shift = 6};
    tr_geometry g;
    assert_int_equal(tr_geometry_init(&spec, &g), TR_OK);
    return g;
}

/* Where the formulas put output voxel (ix, slice, iz): image column and row. */
static void project_point(double tilt, double xtilt, double ix, double slice, double iz,
                          double *u, double *v)
{
    double x = ix - (40 - 0.5 + 2.5 - 4), s = iz - (17 - 0.5 + 6), y = slice - 44.5;
    double g = xtilt * DEGREE, t = (tilt + 3) * DEGREE;
    if (fabs(cos(t)) < cos(89.95 * DEGREE))
        t = 89.95 * DEGREE;
    double z = y * sin(g) + s * cos(g);
    *u = x * cos(t) - z * sin(t) + 50 + 2.5;
    *v = y * cos(g) - s * sin(g) + 44.5;
}

/* Follow a point through our frames: (y, s) to (row, z'), ray to the prepared image,
 * map to the image in the file. */
static void follow_point(const tr_geometry *g, size_t view, double ix, double slice,
                         double iz, double *u, double *v)
{
    tr_ray rays[N];
    long block = 16;
    size_t rows = 32;
    double row, z, m[6];
    tr_geometry_locate(g, slice, iz, &row, &z);
    tr_geometry_rays(g, block, rows, rays);
    double plane = z - tr_geometry_plane0(g, block, rows);
    double column = rays[view].u0 + rays[view].ux * ix + rays[view].uz * plane;
    double line = row + rays[view].v0 + rays[view].vz * plane;
    (void)tr_geometry_image_map(g, view, m);
    *u = m[0] * column + m[1] * line + m[2];
    *v = m[3] * column + m[4] * line + m[5];
}

/* The same through the volume as it is, with a further turn of the image. */
static void follow_direct(const tr_geometry *g, size_t view, double ix, double slice,
                          double iz, double *u, double *v)
{
    const double turn[6] = {0.6, 0.8, 3, -0.8, 0.6, -7};
    tr_ray r = tr_geometry_direct_ray(g, view, turn, 5, 9);
    double lane = slice - 5, column = r.u0 + r.ux * ix + r.uy * lane + r.uz * iz;
    double row = r.v0 + r.vx * ix + r.vy * lane + r.vz * iz + 9;
    /* turn back */
    *u = 0.6 * (column - 3) - 0.8 * (row + 7);
    *v = 0.8 * (column - 3) + 0.6 * (row + 7);
}

static void check_points(const tr_geometry *g, double pitch, const double *x)
{
    const double points[][3] = {{0, 0, 0}, {40, 44, 17}, {80, 89, 34}, {13, 70, 3}};
    for (size_t k = 0; k < sizeof points / sizeof *points; k++)
        for (size_t i = 0; i < N; i++) {
            double u, v, eu, ev;
            const double *p = points[k];
            follow_point(g, i, p[0], p[1], p[2], &u, &v);
            project_point(tilts[i], pitch + (x ? x[i] : 0), p[0], p[1], p[2], &eu, &ev);
            if (fabs(u - eu) > 1e-6 || fabs(v - ev) > 1e-6)
                fail_msg("pitch %g view %zu: (%g, %g), formulas (%g, %g)", pitch, i, u, v,
                         eu, ev);
            follow_direct(g, i, p[0], p[1], p[2], &u, &v);
            if (fabs(u - eu) > 1e-6 || fabs(v - ev) > 1e-6)
                fail_msg("direct ray, pitch %g view %zu: (%g, %g), formulas (%g, %g)",
                         pitch, i, u, v, eu, ev);
        }
}

static void test_points(void **state)
{
    (void)state;
    const double pitches[] = {0, 6, -13.5};
    for (int k = 0; k < 3; k++)
        for (int with = 0; with < 2; with++) {
            tr_geometry g = make(pitches[k], with ? xtilts : NULL);
            check_points(&g, pitches[k], with ? xtilts : NULL);
            tr_geometry_free(&g);
        }
}

/* ---- depth ---- */

static double view_angle(size_t view)
{
    double t = (tilts[view] + 3) * DEGREE;
    return fabs(cos(t)) < cos(89.95 * DEGREE) ? 89.95 * DEGREE : t;
}

/* The third coordinate of the rotation whose first is the column in project_point. */
static double point_depth(size_t view, double xtilt, double ix, double slice, double iz)
{
    double x = ix - (40 - 0.5 + 2.5 - 4), s = iz - (17 - 0.5 + 6), y = slice - 44.5;
    double g = xtilt * DEGREE, t = view_angle(view);
    return x * sin(t) + (y * sin(g) + s * cos(g)) * cos(t);
}

static void check_depths(const tr_geometry *g, double pitch, const double *x)
{
    const double points[][3] = {{0, 0, 0}, {40, 44, 17}, {80, 89, 34}, {13, 70, 3}};
    const long block = 16;
    double z0 = tr_geometry_plane0(g, block, 32);
    for (size_t k = 0; k < sizeof points / sizeof *points; k++)
        for (size_t i = 0; i < N; i++) {
            double row, z;
            tr_geometry_locate(g, points[k][1], points[k][2], &row, &z);
            const tr_depth d = tr_geometry_depth(g, i, (double)block, z0);
            double got = d.d0 + d.dx * points[k][0] + d.dy * (row - (double)block) +
                         d.dz * (z - z0);
            double wanted = point_depth(i, pitch + (x ? x[i] : 0), points[k][0],
                                        points[k][1], points[k][2]);
            if (fabs(got - wanted) > 1e-9)
                fail_msg("pitch %g view %zu: depth %g, formula %g", pitch, i, got,
                         wanted);
        }
}

/* As few bands of equal thickness as the corners' depths need, about their middle. */
static void check_choice(const tr_geometry *g, double pitch, const double *x, double off)
{
    tr_depth_bands bands[N];
    bool any = tr_bands_choose(g, off, bands), several = false;
    for (size_t i = 0; i < N; i++) {
        double low = INFINITY, high = -INFINITY;
        for (int corner = 0; corner < 8; corner++) {
            double depth =
                point_depth(i, pitch + (x ? x[i] : 0), corner & 1 ? 80.5 : -0.5,
                            corner & 2 ? 89.5 : -0.5, corner & 4 ? 34.5 : -0.5);
            low = fmin(low, depth);
            high = fmax(high, depth);
        }
        bool one = fmax(-low, high) <= off;
        size_t n = one ? 1 : (size_t)ceil((high - low) / (2 * off));
        assert_int_equal(bands[i].n, n);
        assert_true(bands[i].step <= 2 * off * (1 + 1e-12));
        double middle = bands[i].first + 0.5 * (double)(n - 1) * bands[i].step;
        assert_float_equal(middle, one ? 0.0 : 0.5 * (low + high), 1e-9);
        if (!one)
            assert_float_equal((double)n * bands[i].step, high - low, 1e-9);
        several = several || !one;
    }
    assert_int_equal(any, several);
}

/* Every voxel gets the band whose middle is nearest to its block's. */
static void check_nearest(const tr_geometry *g, const tr_depth_bands *bands)
{
    tr_band of[N];
    const long block = 16;
    double z0 = tr_geometry_plane0(g, block, 32);
    size_t images = 0;
    tr_bands_of_slab(g, bands, block, z0, of);
    for (size_t i = 0; i < N; i++) {
        const tr_depth d = tr_geometry_depth(g, i, (double)block, z0);
        assert_int_equal(of[i].first, images);
        for (size_t iz = 0; iz < 40; iz += 3)
            for (size_t ix = 0; ix < 81; ix += 5)
                for (size_t r = 0; r < 32; r += 7) {
                    double depth = d.d0 + d.dx * (double)(ix / 16 * 16 + 7.5) +
                                   d.dy * (double)r + d.dz * (double)(iz / 16 * 16 + 7.5);
                    size_t got = tr_band_image(&of[i], ix, iz, r) - images;
                    assert_true(got < bands[i].n);
                    for (size_t k = 0; k < bands[i].n; k++) {
                        double own = bands[i].first + (double)got * bands[i].step,
                               other = bands[i].first + (double)k * bands[i].step;
                        assert_true(fabs(depth - own) <= fabs(depth - other) + 1e-6);
                    }
                }
        images += bands[i].n;
    }
}

static void test_depth(void **state)
{
    (void)state;
    const double pitches[] = {0, 6, -13.5};
    for (int k = 0; k < 3; k++)
        for (int with = 0; with < 2; with++) {
            const double *x = with ? xtilts : NULL;
            tr_geometry g = make(pitches[k], x);
            tr_depth_bands bands[N];
            check_depths(&g, pitches[k], x);
            check_choice(&g, pitches[k], x, 1000.0);
            check_choice(&g, pitches[k], x, 21.0);
            check_choice(&g, pitches[k], x, 3.7);
            assert_true(tr_bands_choose(&g, 3.7, bands));
            check_nearest(&g, bands);
            tr_geometry_free(&g);
        }
}

/* A volume beside the axis has one band where that is enough, at its own depth. */
static void test_depth_beside_the_axis(void **state)
{
    (void)state;
    const tr_geometry_spec spec = {.n_views = 1,
                                   .tilts = (const double[]){30},
                                   .n_u = 4000,
                                   .n_v = 64,
                                   .width = 20,
                                   .thickness = 10,
                                   .x_shift = -1000,
                                   .z_shift = -300};
    tr_geometry g;
    tr_depth_bands band;
    assert_int_equal(tr_geometry_init(&spec, &g), TR_OK);
    assert_true(tr_bands_choose(&g, 10, &band));
    assert_int_equal(band.n, 1);
    assert_float_equal(band.first, 1000 * sin(M_PI / 6) + 300 * cos(M_PI / 6), 1e-9);
    tr_geometry_free(&g);
}

/* Constant x-tilts are a pitch and nothing else. */
static void test_constant_xtilts(void **state)
{
    (void)state;
    const double same[N] = {2, 2, 2, 2, 2, 2};
    tr_geometry g = make(1, same);
    assert_true(fabs(g.pitch - 3 * DEGREE) < 1e-12);
    assert_null(g.xtilt);
    assert_int_equal(tr_geometry_reach(&g), 0);
    tr_geometry_free(&g);
}

/* Every voxel of the slices lies, with its neighbours, on the planes and rows of the
 * block that holds its row. */
static void test_blocks_cover(void **state)
{
    (void)state;
    const double pitches[] = {0, 0.7, 6, -13.5, 40};
    for (int k = 0; k < 5; k++) {
        tr_geometry g = make(pitches[k], NULL);
        size_t rows = tr_geometry_block_rows(&g);
        size_t planes = tr_geometry_planes(&g, rows);
        for (size_t slice = 0; slice < 90; slice++) {
            long first, end;
            tr_geometry_rows_of_slices(&g, slice, slice + 1, &first, &end);
            for (size_t iz = 0; iz < 35; iz++) {
                double row, z;
                tr_geometry_locate(&g, (double)slice, (double)iz, &row, &z);
                long low = (long)floor(row);
                assert_true(low >= first && low + (pitches[k] != 0) < end);
                for (long r = low; r <= low + 1; r++) {
                    long n = (long)rows, block = r - ((r % n) + n) % n;
                    double plane = z - tr_geometry_plane0(&g, block, rows);
                    if (pitches[k] == 0)
                        assert_true(plane > -1e-9 && plane < (double)planes - 1 + 1e-9);
                    else
                        assert_true(plane >= 0 && plane + 1 < (double)planes);
                }
            }
        }
        tr_geometry_free(&g);
    }
}

/* A box holds what its voxels are interpolated from, and nothing that none needs; a box
 * of part of them lies within. */
static void test_box(void **state)
{
    (void)state;
    const double pitches[] = {0.7, 6, -13.5, 40};
    for (int k = 0; k < 4; k++) {
        tr_geometry g = make(pitches[k], NULL);
        tr_frame_box all = tr_geometry_box(&g, 0, 90, 0, 35);
        tr_frame_box box = tr_geometry_box(&g, 20, 40, 7, 30);
        double low = INFINITY, high = -INFINITY;
        for (size_t slice = 20; slice < 40; slice++)
            for (size_t iz = 7; iz < 30; iz++) {
                double row, z;
                tr_geometry_locate(&g, (double)slice, (double)iz, &row, &z);
                assert_true(row >= (double)box.row && z >= box.z0);
                assert_true(floor(row) + 1 < (double)box.row + (double)box.rows);
                assert_true(floor(z) + 1 < box.z0 + (double)box.planes);
                low = fmin(low, z);
                high = fmax(high, z);
            }
        assert_true(box.z0 == floor(low));
        assert_int_equal(box.planes, floor(high) + 2 - floor(low));
        assert_true(all.row <= box.row && all.z0 <= box.z0);
        assert_true(all.z0 + (double)all.planes >= box.z0 + (double)box.planes);
        long first, end;
        tr_geometry_rows_of_slices(&g, 0, 90, &first, &end);
        assert_true(all.row == first && all.row + (long)all.rows == end);
        tr_geometry_free(&g);
    }
}

/* The rays of a box are those of a block whose planes begin there. */
static void test_rays_from(void **state)
{
    (void)state;
    tr_geometry g = make(6, NULL);
    tr_ray block[N], box[N];
    tr_geometry_rays(&g, 16, 32, block);
    tr_geometry_rays_from(&g, tr_geometry_plane0(&g, 16, 32) - 3, box);
    for (int i = 0; i < N; i++) {
        assert_true(fabs(box[i].u0 + 3 * box[i].uz - block[i].u0) < 1e-9);
        assert_true(box[i].ux == block[i].ux && box[i].uz == block[i].uz);
        assert_true(box[i].uy == 0 && box[i].v0 == 0 && box[i].vx == 0 &&
                    box[i].vy == 1 && box[i].vz == 0);
    }
    tr_geometry_free(&g);
}

static void test_locate_inverse(void **state)
{
    (void)state;
    tr_geometry g = make(-13.5, NULL);
    double row, z, slice, iz;
    tr_geometry_locate(&g, 12.25, 30.5, &row, &z);
    tr_geometry_locate_output(&g, row, z, &slice, &iz);
    assert_true(fabs(slice - 12.25) < 1e-9 && fabs(iz - 30.5) < 1e-9);
    tr_geometry_free(&g);
}

static void test_view_weights(void **state)
{
    (void)state;
    double w[5];
    const double even[] = {-0.2, 0.0, 0.2, 0.1, -0.1};
    assert_int_equal(tr_view_weights(even, 5, false, w), TR_OK);
    for (int i = 0; i < 5; i++)
        assert_true(fabs(w[i] - 0.1) < 1e-12);
    /* By hand: view 0 of {0, 1, 3} sees the increments 1 (weight 2) and 2 (weight 2/3);
     * view 1 sees 1 and 2 with weight 2 each; view 2 sees 2 (2) and 1 (2/3). */
    const double uneven[] = {0, 1, 3};
    assert_int_equal(tr_view_weights(uneven, 3, false, w), TR_OK);
    assert_true(fabs(w[0] - (2 + 4.0 / 3) / (8.0 / 3)) < 1e-12);
    assert_true(fabs(w[1] - 1.5) < 1e-12);
    assert_true(fabs(w[2] - (4 + 2.0 / 3) / (8.0 / 3)) < 1e-12);
    assert_int_equal(tr_view_weights(uneven, 3, true, w), TR_OK);
    assert_true(w[0] == 1.5 && w[1] == 1.5 && w[2] == 1.5);
    assert_int_equal(tr_view_weights(uneven, 1, false, w), TR_OK);
    assert_true(fabs(w[0] - M_PI) < 1e-12);
}

static void test_partition(void **state)
{
    (void)state;
    for (size_t n = 1; n < 60; n++)
        for (size_t parts = 1; parts <= n; parts++) {
            size_t next = 0;
            for (size_t k = 0; k < parts; k++) {
                size_t first, count;
                tr_partition(n, parts, k, &first, &count);
                assert_int_equal(first, next);
                assert_true(count == n / parts || count == n / parts + 1);
                next += count;
            }
            assert_int_equal(next, n);
        }
}

/* The responses against their definitions, by numbers worked out apart. */
static void test_filters(void **state)
{
    (void)state;
    enum { LENGTH = 200 };
    float r[LENGTH / 2 + 1];
    tr_wbp_response(&(tr_wbp_filter){.cutoff = 0.35, .sigma = 0.05}, LENGTH, r);
    assert_true(fabs(r[0] - 0.2 / LENGTH) < 1e-9 && fabs(r[40] - 0.2) < 1e-7);
    assert_true(fabs(r[80] - 0.35 * exp(-0.5)) < 1e-6); /* f = 0.4: one sigma beyond */
    tr_wbp_response(&(tr_wbp_filter){.cutoff = 0.5}, LENGTH, r);
    assert_true(fabs(r[LENGTH / 2] - 0.5) < 1e-7);
    tr_wbp_response(&(tr_wbp_filter){.cutoff = 0.5, .sirt_like = 20}, LENGTH, r);
    double few = pow(1 - 0.00195 / 0.1, 19.0 + 0.3);
    assert_true(fabs(r[20] - 0.1 * (1 - few)) < 1e-6);
    tr_wbp_response(&(tr_wbp_filter){.cutoff = 0.35, .sigma = 0.05, .hamming_like = 0.2},
                    LENGTH, r);
    double sigma = 0.438 * 0.3;
    assert_true(fabs(r[60] - 0.2 * exp(-0.01 / (2 * sigma * sigma))) < 1e-6);

    /* The kernel of the band-limited ramp is 1/4, -1/(pi n)^2, 0, ...: transform back. */
    assert_int_equal(tr_fbp_response(TR_RAMLAK, LENGTH, r), TR_OK);
    for (int n = 0; n < 4; n++) {
        double h = 0;
        for (int k = 0; k < LENGTH; k++)
            h += r[k <= LENGTH / 2 ? k : LENGTH - k] * cos(2 * M_PI * k * n / LENGTH) /
                 LENGTH;
        double wanted = n == 0 ? 0.25 : n % 2 ? -1 / (M_PI * M_PI * n * n) : 0;
        assert_true(fabs(h - wanted) < 1e-6);
    }
    const struct {
        tr_window window;
        double half, end; /* relative to the ramp, at f = 0.25 and 0.5 */
    } windows[] = {{TR_SHEPP_LOGAN, 0.900316, 0.636620},
                   {TR_COSINE, 0.707107, 0},
                   {TR_HAMMING, 0.54, 0.08},
                   {TR_HANN, 0.5, 0},
                   {TR_PARZEN, 0.25, 0},
                   {TR_CHESLER, 0.5, 0}};
    float ramp[LENGTH / 2 + 1];
    memcpy(ramp, r, sizeof ramp);
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        assert_int_equal(tr_fbp_response(windows[i].window, LENGTH, r), TR_OK);
        assert_true(fabs(r[50] / ramp[50] - windows[i].half) < 1e-3);
        assert_true(fabs(r[100] / ramp[100] - windows[i].end) < 1e-3);
    }
    assert_int_equal(tr_wbp_length(128), 144);
    assert_int_equal(tr_wbp_length(1024), 1080);
    assert_true(tr_fbp_length(1000) >= 2000);
}

static void test_refusals(void **state)
{
    (void)state;
    tr_geometry g;
    tr_geometry_spec spec = {
        .n_views = N, .tilts = tilts, .n_u = 10, .n_v = 10, .width = 10, .thickness = 0};
    assert_int_equal(tr_geometry_init(&spec, &g), TR_ERR_USAGE);
    spec.thickness = 10;
    spec.pitch = 80;
    assert_int_equal(tr_geometry_init(&spec, &g), TR_ERR_USAGE);
    assert_non_null(strstr(tr_error(), "80"));
}

/* ---- resampling ---- */

/* Keys' kernel for a = -1/2, as he writes it. */
static double keys(double x)
{
    x = fabs(x);
    if (x < 1.0)
        return 1.5 * x * x * x - 2.5 * x * x + 1.0;
    return x < 2.0 ? -0.5 * x * x * x + 2.5 * x * x - 4.0 * x + 2.0 : 0.0;
}

static void test_cubic_convolution(void **state)
{
    (void)state;
    enum { NX = 24, NY = 20, COLUMNS = 10, ROWS = 8 };
    const double m[6] = {0.93, 0.21, 5.35, -0.17, 0.96, 5.7};
    float image[NY][NX], out[ROWS][COLUMNS];
    for (int y = 0; y < NY; y++)
        for (int x = 0; x < NX; x++)
            image[y][x] = (float)(sin(1.3 * x + 0.4) * cos(1.7 * y - 0.2) + 0.1 * x);
    const tr_window_2d all = {.nx = NX, .ny = NY};
    tr_warp_rows(m, NULL, image[0], &all, NX, NY, NULL, COLUMNS, 0, ROWS, out[0]);
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLUMNS; c++) {
            double u = m[0] * c + m[1] * r + m[2], v = m[3] * c + m[4] * r + m[5];
            double sum = 0.0;
            for (int y = 0; y < NY; y++)
                for (int x = 0; x < NX; x++)
                    sum += keys(u - x) * keys(v - y) * image[y][x];
            assert_float_equal(out[r][c], sum, 2e-6);
        }
}

/* The formula itself. */
static void displacement_at(const tr_local_shift *shifts, int n, double w, double h,
                            double x, double y, double shift[2])
{
    double sum = 0.0;
    shift[0] = shift[1] = 0.0;
    for (int p = 0; p < n; p++) {
        double weight = exp(
            -100.0 * (pow((x - shifts[p].x) / w, 2.0) + pow((y - shifts[p].y) / h, 2.0)));
        sum += weight;
        shift[0] += weight * shifts[p].dx;
        shift[1] += weight * shifts[p].dy;
    }
    for (int axis = 0; axis < 2; axis++)
        shift[axis] = sum < 1e-30 ? 0.0 : shift[axis] / sum;
}

/* In an image and in one that is smaller by a factor. */
static void test_displacement(void **state)
{
    (void)state;
    enum { W = 700, H = 512, PER_SIDE = 4, PATCHES = PER_SIDE * PER_SIDE };
    tr_local_shift shifts[PATCHES];
    for (int p = 0; p < PATCHES; p++)
        shifts[p] = (tr_local_shift){0, W * (p % PER_SIDE - 1.5) / PER_SIDE + p,
                                     H * (p / PER_SIDE - 1.5) / PER_SIDE - p,
                                     4.0 * sin(p), 4.0 * cos(2.0 * p)};
    for (int factor = 1; factor <= 4; factor *= 4) {
        tr_displacement d;
        assert_int_equal(
            tr_displacement_new(shifts, PATCHES, W / factor, H / factor, factor, &d),
            TR_OK);
        for (int k = 0; k < 1000; k++) {
            double u = fmod(k * 37.91, W / factor - 1.0), v = fmod(k * 11.37, H / factor),
                   to[2] = {u, v}, shift[2];
            v = to[1] = fmin(v, H / factor - 1.0);
            displacement_at(shifts, PATCHES, W, H,
                            factor * (u - (W / factor / 2.0 - 0.5)),
                            factor * (v - (H / factor / 2.0 - 0.5)), shift);
            tr_displace(&d, &to[0], &to[1]);
            assert_float_equal(to[0] - u, shift[0] / factor, 0.01);
            assert_float_equal(to[1] - v, shift[1] / factor, 0.01);
        }
        tr_displacement_free(&d);
    }
}

/* Far from the only patch all weights vanish; and an image may be a single pixel. */
static void test_displacement_far_away(void **state)
{
    (void)state;
    const tr_local_shift one = {.x = -300.0, .y = -300.0, .dx = 2.0, .dy = 3.0};
    tr_displacement d;
    double u = 0.0, v = 0.0, far_u = 599.0, far_v = 599.0;
    assert_int_equal(tr_displacement_new(&one, 1, 600, 600, 1.0, &d), TR_OK);
    tr_displace(&d, &u, &v);
    tr_displace(&d, &far_u, &far_v);
    assert_true(u == 2.0 && v == 3.0 && far_u == 599.0 && far_v == 599.0);
    tr_displacement_free(&d);
    assert_int_equal(tr_displacement_new(&one, 1, 1, 1, 600.0, &d), TR_OK);
    tr_displace(&d, &u, &v);
    tr_displacement_free(&d);
    assert_int_equal(tr_displacement_new(NULL, 0, 600, 600, 1.0, &d), TR_OK);
    assert_null(d.node);
}

/* Rows that are displaced come from the window and are what the whole image gives. */
static void test_displaced_window(void **state)
{
    (void)state;
    enum { NX = 40, NY = 60 };
    const double m[6] = {1, 0, 0, 0, 1, 0};
    const tr_local_shift shifts[] = {{0, -10, -15, 1.5, -6.3}, {0, 10, 15, -4.5, 7.2}};
    const tr_window_2d all = {.nx = NX, .ny = NY};
    static float image[NY][NX], part[NY][NX];
    tr_displacement d;
    for (int y = 0; y < NY; y++)
        for (int x = 0; x < NX; x++)
            image[y][x] = (float)(sin(1.3 * x + 0.4) * cos(1.7 * y - 0.2) + 0.1 * x);
    assert_int_equal(tr_displacement_new(shifts, 2, NX, NY, 1.0, &d), TR_OK);
    for (long row = 0; row < NY; row += 4) {
        float whole[4][NX], cut[4][NX];
        tr_window_2d w = tr_map_window(m, &d, NX, NY, NX, row, 4);
        assert_true(w.ny < 30);
        for (size_t y = 0; y < w.ny; y++)
            memcpy(part[0] + y * w.nx, &image[w.y0 + y][w.x0], w.nx * sizeof(float));
        tr_warp_rows(m, &d, image[0], &all, NX, NY, NULL, NX, row, 4, whole[0]);
        tr_warp_rows(m, &d, part[0], &w, NX, NY, NULL, NX, row, 4, cut[0]);
        assert_memory_equal(whole, cut, sizeof whole);
    }
    tr_displacement_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_depth_beside_the_axis),
        cmocka_unit_test(test_constant_xtilts),
        cmocka_unit_test(test_blocks_cover),
        cmocka_unit_test(test_box),
        cmocka_unit_test(test_rays_from),
        cmocka_unit_test(test_locate_inverse),
        cmocka_unit_test(test_view_weights),
        cmocka_unit_test(test_partition),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_cubic_convolution),
        cmocka_unit_test(test_displacement),
        cmocka_unit_test(test_displacement_far_away),
        cmocka_unit_test(test_displaced_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
