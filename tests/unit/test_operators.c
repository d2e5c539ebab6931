/* Every operation of a backend against double-precision references, for each instruction
 * set this processor has, over geometries with every option on. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../common/geometry.h"
#include "operator_reference.h"

typedef struct fixture {
    const tr_backend *backend;
    void *device;
} fixture;

static const char *const instruction_sets[] = {"baseline", "avx2", "avx512"};

/* Opens the backend for one instruction set; false where the processor lacks it. */
static bool open_backend(fixture *f, const char *isa, int threads)
{
    f->backend = tr_backend_find("cpu");
    assert_non_null(f->backend);
    setenv("TR_ISA", isa, 1);
    return f->backend->open(&(tr_backend_settings){.threads = threads}, &f->device) ==
           TR_OK;
}

/* A small generator of our own: the same numbers everywhere. */
static float uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(*state >> 40) / (float)(1 << 24);
}

static tr_vec new_vec(const fixture *f, size_t lines, size_t rows)
{
    tr_vec v = {.lines = lines, .rows = rows};
    assert_int_equal(f->backend->alloc(f->device, lines * rows, &v.data), TR_OK);
    return v;
}

static void randomize(tr_vec *v, uint64_t seed)
{
    for (size_t i = 0; i < v->lines * v->rows; i++)
        v->data[i] = uniform(&seed);
}

/* Random inside the images, 0 on the guards, as vectors of algorithms are. */
static void randomize_projections(const tr_slab *s, tr_vec *p, uint64_t seed)
{
    randomize(p, seed);
    size_t columns = s->n_u + TR_GUARDS;
    for (size_t l = 0; l < p->lines; l++)
        if (l % columns == 0 || l % columns > s->n_u)
            memset(p->data + l * p->rows, 0, p->rows * sizeof(float));
}

/* ---- geometries ---- */

typedef struct geometry_case {
    const char *name;
    size_t n_u, width, thickness, rows;
    double offset, pitch, axis_shift, x_shift, z_shift;
    bool xtilts;
    double range; /* degrees, to both sides */
    double turn; /* degrees in the image: makes the rays general; NAN: independent rows */
} geometry_case;

static const geometry_case cases[] = {
    {"plain", 40, 40, 20, 16, 0, 0, 0, 0, 0, false, 60, NAN},
    {"wide volume", 33, 57, 11, 32, 0, 0, 0, 0, 0, false, 60, NAN},
    {"narrow volume", 45, 20, 17, 80, 0, 0, 0, 0, 0, false, 70, NAN},
    {"tilt offset and shifts", 40, 41, 23, 48, 7.3, 0, 4.2, -3.6, 2.1, false, 60, NAN},
    {"pitch", 40, 40, 20, 16, 0, 6, 0, 0, 0, false, 60, NAN},
    {"pitch and shifts", 37, 44, 15, 64, -3.1, -11, 2.5, 1.5, -4.5, false, 60, NAN},
    {"full circle", 40, 40, 30, 16, 0, 0, 1.25, 0, 0, false, 180, NAN},
    {"x-tilts", 40, 40, 20, 32, 0, 0, 0, 0, 0, true, 60, NAN},
    {"everything", 37, 42, 18, 48, 5.5, 4, -3.3, 2.2, 1.1, true, 95, NAN},
    {"general, pitch", 40, 41, 20, 32, 0, 6, 1.5, 0, 0, false, 60, 0},
    {"general, all", 37, 30, 18, 48, 5.5, -4, -3.3, 2.2, 1.1, true, 95, 12},
    {"general, quarter turn", 45, 32, 15, 16, 0, 3, 0, 0, 2, true, 60, -88},
};

enum { VIEWS = 13 };

typedef struct test_slab {
    tr_slab slab;
    tr_geometry geometry;
    tr_ray rays[VIEWS];
} test_slab;

static void make_slab(const geometry_case *c, test_slab *t)
{
    double tilts[VIEWS], xtilts[VIEWS];
    for (int i = 0; i < VIEWS; i++) {
        tilts[i] = -c->range + 2.0 * c->range * i / (VIEWS - 1) + (i % 3) * 0.37;
        xtilts[i] = 1.7 * sin(2.1 * i) + 0.4;
    }
    const tr_geometry_spec spec = {.n_views = VIEWS,
                                   .tilts = tilts,
                                   .xtilts = c->xtilts ? xtilts : NULL,
                                   .tilt_offset = c->offset,
                                   .pitch = c->pitch,
                                   .n_u = c->n_u,
                                   .n_v = 100,
                                   .width = c->width,
                                   .thickness = c->thickness,
                                   .axis_shift = c->axis_shift,
                                   .x_shift = c->x_shift,
                                   .z_shift = c->z_shift};
    assert_int_equal(tr_geometry_init(&spec, &t->geometry), TR_OK);
    tr_geometry_rays(&t->geometry, 32, c->rows, t->rays);
    t->slab = (tr_slab){.n_views = VIEWS,
                        .n_u = c->n_u,
                        .n_x = c->width,
                        .n_z = tr_geometry_planes(&t->geometry, c->rows),
                        .rows = c->rows,
                        .p_rows = c->rows,
                        .rays = t->rays};
    if (isnan(c->turn))
        return;
    /* Turned about the image's centre; the lanes go well beyond what the rays reach. */
    double ct = cos(c->turn * M_PI / 180), st = sin(c->turn * M_PI / 180);
    double cu = (double)c->n_u / 2, cv = 50;
    double m[6] = {ct, -st, cu - ct * cu + st * cv, st, ct, cv - st * cu - ct * cv};
    t->slab.n_z = c->thickness;
    t->slab.p_rows = 192;
    for (size_t i = 0; i < VIEWS; i++)
        t->rays[i] = tr_geometry_direct_ray(&t->geometry, i, m, 32, -46);
}

typedef void slab_check(const fixture *f, const tr_slab *slab, const char *name);

static void for_all(slab_check *check)
{
    for (size_t i = 0; i < sizeof instruction_sets / sizeof *instruction_sets; i++) {
        fixture f;
        if (!open_backend(&f, instruction_sets[i], 2)) {
            print_message("[  SKIPPED ] %s: %s\n", instruction_sets[i], tr_error());
            continue;
        }
        for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
            test_slab t;
            make_slab(&cases[k], &t);
            check(&f, &t.slab, cases[k].name);
            tr_geometry_free(&t.geometry);
        }
        f.backend->close(f.device);
    }
}

static double dot(const tr_vec *a, const tr_vec *b)
{
    double sum = 0.0;
    for (size_t i = 0; i < a->lines * a->rows; i++)
        sum += (double)a->data[i] * b->data[i];
    return sum;
}

/* ---- the operators ---- */

static void check_adjoint(const fixture *f, const tr_slab *s, const char *name)
{
    tr_vec x = new_vec(f, tr_volume_lines(s), s->rows), back = x, p, ax;
    back = new_vec(f, x.lines, x.rows);
    p = new_vec(f, tr_projection_lines(s), s->p_rows);
    ax = new_vec(f, p.lines, p.rows);
    randomize(&x, 1);
    randomize_projections(s, &p, 2);
    assert_int_equal(f->backend->project(f->device, s, NULL, &x, &ax), TR_OK);
    assert_int_equal(f->backend->backproject(f->device, s, NULL, &p, &back), TR_OK);
    double forward = dot(&ax, &p), adjoint = dot(&x, &back);
    if (fabs(forward - adjoint) > 1e-6 * fabs(forward) || !(forward > 0.0))
        fail_msg("%s: <Ax, y> = %.12g but <x, A^T y> = %.12g", name, forward, adjoint);
    f->backend->free(f->device, x.data);
    f->backend->free(f->device, back.data);
    f->backend->free(f->device, p.data);
    f->backend->free(f->device, ax.data);
}

static void test_adjoint(void **state)
{
    (void)state;
    for_all(check_adjoint);
}

static void compare(const char *name, const char *what, const float *got,
                    const double *wanted, size_t n, double tolerance)
{
    double largest = 0.0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(wanted[i]));
    assert_true(largest > 0.0);
    for (size_t i = 0; i < n; i++)
        if (!(fabs(got[i] - wanted[i]) <= tolerance * largest))
            fail_msg("%s: %s: value %zu is %.9g, the reference %.9g (largest %.9g)", name,
                     what, i, got[i], wanted[i], largest);
}

static void check_reference(const fixture *f, const tr_slab *s, const char *name)
{
    tr_vec x = new_vec(f, tr_volume_lines(s), s->rows);
    tr_vec p = new_vec(f, tr_projection_lines(s), s->p_rows);
    double *wanted = calloc(p.lines * p.rows, sizeof *wanted);
    randomize(&x, 3);
    reference_pairs(s, reference_forward_pair, &(reference_vectors){x.data, wanted});
    assert_int_equal(f->backend->project(f->device, s, NULL, &x, &p), TR_OK);
    compare(name, "project", p.data, wanted, p.lines * p.rows, 2e-6);
    free(wanted);

    wanted = calloc(x.lines * x.rows, sizeof *wanted);
    randomize_projections(s, &p, 4);
    reference_pairs(s, reference_adjoint_pair, &(reference_vectors){p.data, wanted});
    assert_int_equal(f->backend->backproject(f->device, s, NULL, &p, &x), TR_OK);
    compare(name, "backproject", x.data, wanted, x.lines * x.rows, 2e-6);
    free(wanted);
    f->backend->free(f->device, x.data);
    f->backend->free(f->device, p.data);
}

static void test_reference(void **state)
{
    (void)state;
    for_all(check_reference);
}

/* The sums are those of a slab whose neighbours go on as it does: away from the ends. */
static void check_sums(const fixture *f, const tr_slab *s, const char *name)
{
    size_t r = s->rows / 2;
    for (size_t i = 0; i < s->n_views; i++)
        if (s->rays[i].vz != 0.0 || s->rays[i].uy != 0.0)
            return; /* rows are not alike, or lack a neighbour in this small slab */
    tr_vec x = new_vec(f, tr_volume_lines(s), s->rows), xs = new_vec(f, x.lines, 1);
    tr_vec p = new_vec(f, tr_projection_lines(s), s->p_rows), ps = new_vec(f, p.lines, 1);
    double *wanted = calloc(p.lines * p.rows + x.lines * x.rows, sizeof *wanted);
    f->backend->fill(f->device, &x, 1.0f);
    reference_pairs(s, reference_forward_pair, &(reference_vectors){x.data, wanted});
    for (size_t l = 0; l < p.lines; l++)
        wanted[l] = wanted[l * s->rows + r];
    assert_int_equal(f->backend->row_sums(f->device, s, NULL, &ps), TR_OK);
    compare(name, "row sums", ps.data, wanted, p.lines, 1e-6);

    memset(wanted, 0, (p.lines * p.rows + x.lines * x.rows) * sizeof *wanted);
    f->backend->fill(f->device, &p, 1.0f);
    reference_pairs(s, reference_adjoint_pair, &(reference_vectors){p.data, wanted});
    for (size_t l = 0; l < x.lines; l++)
        wanted[l] = wanted[l * s->rows + r];
    assert_int_equal(f->backend->col_sums(f->device, s, NULL, &xs), TR_OK);
    compare(name, "column sums", xs.data, wanted, x.lines, 1e-6);
    free(wanted);
    f->backend->free(f->device, x.data);
    f->backend->free(f->device, xs.data);
    f->backend->free(f->device, p.data);
    f->backend->free(f->device, ps.data);
}

static void test_sums(void **state)
{
    (void)state;
    for_all(check_sums);
}

/* A subset gives the sum over its views and leaves the other views alone. */
static void check_subset(const fixture *f, const tr_slab *s, const char *name)
{
    const size_t chosen[] = {7, 2, 11};
    const tr_subset subset = {3, chosen};
    tr_ray rays[3];
    for (int i = 0; i < 3; i++)
        rays[i] = s->rays[chosen[i]];
    tr_slab small = *s;
    small.n_views = 3;
    small.rays = rays;
    tr_vec x = new_vec(f, tr_volume_lines(s), s->rows);
    tr_vec p = new_vec(f, tr_projection_lines(s), s->p_rows);
    double *wanted = calloc(p.lines * p.rows, sizeof *wanted);
    randomize(&x, 5);
    reference_pairs(&small, reference_forward_pair, &(reference_vectors){x.data, wanted});
    f->backend->fill(f->device, &p, -7.0f);
    assert_int_equal(f->backend->project(f->device, s, &subset, &x, &p), TR_OK);
    size_t view = (s->n_u + TR_GUARDS) * s->p_rows;
    for (size_t i = 0; i < 3; i++)
        compare(name, "subset", p.data + chosen[i] * view, wanted + i * view, view, 2e-6);
    for (size_t i = 0; i < view; i++)
        assert_true(p.data[i] == -7.0f && p.data[12 * view + i] == -7.0f);
    free(wanted);
    f->backend->free(f->device, x.data);
    f->backend->free(f->device, p.data);
}

static void test_subset(void **state)
{
    (void)state;
    for_all(check_subset);
}

/* ---- what must not show in a result ---- */

/* The first 16 rows are the same bytes computed alone with one thread and within 80 rows
 * with three. */
static void check_lanes(const char *isa, const geometry_case *c)
{
    geometry_case one = *c, many = *c;
    one.rows = 16;
    many.rows = 80;
    float *result[2][2];
    for (int k = 0; k < 2; k++) {
        fixture f;
        test_slab t;
        if (!open_backend(&f, isa, k ? 3 : 1))
            return;
        make_slab(k ? &many : &one, &t);
        t.slab.n_z = 21; /* the same whatever the rows */
        memcpy(t.rays, t.slab.rays, sizeof t.rays);
        size_t rows = t.slab.rows;
        tr_vec x = new_vec(&f, tr_volume_lines(&t.slab), rows);
        tr_vec p = new_vec(&f, tr_projection_lines(&t.slab), rows);
        for (size_t l = 0; l < p.lines; l++)
            for (size_t r = 0; r < rows; r++)
                p.data[l * rows + r] = (float)sin(0.37 * (double)l + 1.1 * (double)r);
        f.backend->backproject(f.device, &t.slab, NULL, &p, &x);
        f.backend->project(f.device, &t.slab, NULL, &x, &p);
        result[k][0] = malloc(x.lines * 16 * sizeof(float));
        result[k][1] = malloc(p.lines * 16 * sizeof(float));
        for (size_t l = 0; l < x.lines; l++)
            memcpy(result[k][0] + 16 * l, x.data + l * rows, 16 * sizeof(float));
        for (size_t l = 0; l < p.lines; l++)
            memcpy(result[k][1] + 16 * l, p.data + l * rows, 16 * sizeof(float));
        if (k) {
            assert_memory_equal(result[0][0], result[1][0], x.lines * 16 * sizeof(float));
            assert_memory_equal(result[0][1], result[1][1], p.lines * 16 * sizeof(float));
        }
        f.backend->free(f.device, x.data);
        f.backend->free(f.device, p.data);
        f.backend->close(f.device);
        tr_geometry_free(&t.geometry);
    }
    for (int k = 0; k < 4; k++)
        free(result[k / 2][k % 2]);
}

static void test_lanes_and_threads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof instruction_sets / sizeof *instruction_sets; i++)
        for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
            if (!cases[k].xtilts && cases[k].pitch == 0.0 && isnan(cases[k].turn))
                check_lanes(instruction_sets[i], &cases[k]);
}

/* ---- the filter ---- */

static void check_filter(size_t n_views, size_t n_u, size_t rows)
{
    fixture f;
    assert_true(open_backend(&f, "baseline", 2));
    tr_slab s = {.n_views = n_views, .n_u = n_u, .n_x = 1, .n_z = 1, .p_rows = rows};
    size_t length = tr_fft_length(n_u + n_u / 3);
    float response[length / 2 + 1], weight[n_views];
    uint64_t seed = 9;
    for (size_t k = 0; k <= length / 2; k++)
        response[k] = uniform(&seed);
    for (size_t k = 0; k < n_views; k++)
        weight[k] = 0.5f + uniform(&seed);
    tr_filter filter = {length, response, weight, 0.75f};
    tr_vec p = new_vec(&f, tr_projection_lines(&s), rows);
    randomize(&p, 10);
    float *before = malloc(p.lines * rows * sizeof *before);
    memcpy(before, p.data, p.lines * rows * sizeof *before);
    assert_int_equal(f.backend->filter(f.device, &s, &filter, &p), TR_OK);
    for (size_t i = 0; i < n_views; i++)
        for (size_t r = 0; r < rows; r++) {
            double in[n_u], out[n_u], mean = 0.0;
            const float *old = before + i * (n_u + TR_GUARDS) * rows + r;
            const float *new = p.data + i *(n_u + TR_GUARDS) * rows + r;
            for (size_t u = 0; u < n_u; u++) {
                in[u] = old[(u + 1) * rows];
                mean += in[u] / (double)n_u;
            }
            reference_filter(in, n_u, &filter, weight[i], out);
            for (size_t u = 0; u < n_u; u++)
                if (fabs(new[(u + 1) * rows] - out[u]) > 3e-6)
                    fail_msg("view %zu row %zu column %zu: %g, reference %g", i, r, u,
                             new[(u + 1) * rows], out[u]);
            double edge = 0.75 * weight[i] * mean;
            assert_true(fabs(new[0] - edge) < 1e-6);
            assert_true(fabs(new[(n_u + 1) * rows] - edge) < 1e-6);
            assert_true(fabs(new[(n_u + 2) * rows] - edge) < 1e-6);
        }
    free(before);
    f.backend->free(f.device, p.data);
    f.backend->close(f.device);
}

static void test_filter(void **state)
{
    (void)state;
    check_filter(4, 24, 16);
    check_filter(3, 31, 32); /* an odd number of views, an odd number of columns */
    check_filter(1, 2, 16);
}

static void test_fft_length(void **state)
{
    (void)state;
    assert_int_equal(tr_fft_length(1), 2);
    assert_int_equal(tr_fft_length(11), 12);
    assert_int_equal(tr_fft_length(144), 144);
    assert_int_equal(tr_fft_length(1074), 1080);
    assert_int_equal(tr_fft_length(1025), 1050);
}

/* ---- vectors ---- */

static void test_vectors(void **state)
{
    (void)state;
    enum { LINES = 37, ROWS = 16, N = LINES * ROWS };
    fixture f;
    assert_true(open_backend(&f, "baseline", 3));
    const tr_backend *b = f.backend;
    tr_vec x = new_vec(&f, LINES, ROWS), y = new_vec(&f, LINES, ROWS);
    tr_vec w = new_vec(&f, LINES, 1);
    float old[N];
#define RESET()                                                                          \
    do {                                                                                 \
        randomize(&x, 20);                                                               \
        randomize(&y, 21);                                                               \
        randomize(&w, 22);                                                               \
        for (int i = 0; i < N; i++)                                                      \
            old[i] = y.data[i] -= 0.5f;                                                  \
    } while (0)
#define EXPECT(call, expression)                                                         \
    do {                                                                                 \
        RESET();                                                                         \
        assert_int_equal(b->call, TR_OK);                                                \
        for (int i = 0; i < N; i++)                                                      \
            if (fabs(y.data[i] - (expression)) > 1e-6)                                   \
                fail_msg(#call ": %g, not %g", y.data[i], (double)(expression));         \
    } while (0)
    EXPECT(fill(f.device, &y, 2.5f), 2.5);
    EXPECT(copy(f.device, &x, &y), x.data[i]);
    EXPECT(axpy(f.device, 3.0f, &x, &y), old[i] + 3.0 * x.data[i]);
    EXPECT(xpay(f.device, &x, -2.0f, &y), x.data[i] - 2.0 * old[i]);
    EXPECT(clamp(f.device, 0.1f, &y), fmax(old[i], 0.1f));
    EXPECT(shrink(f.device, 0.2f, &y), copysign(fmax(fabs(old[i]) - 0.2f, 0.0), old[i]));
    EXPECT(mul_lines(f.device, &w, &y), old[i] * w.data[i / ROWS]);
    EXPECT(axpy_lines(f.device, 0.7f, &w, &x, &y),
           old[i] + 0.7 * w.data[i / ROWS] * x.data[i]);
    EXPECT(invert_guarded(f.device, 0.25f, &y), old[i] > 0.25f ? 1.0 / old[i] : 0.0);
    RESET();
    double sum;
    assert_int_equal(b->dot(f.device, &x, &y, &sum), TR_OK);
    assert_true(fabs(sum - dot(&x, &y)) < 1e-9);
    f.backend->free(f.device, x.data);
    f.backend->free(f.device, y.data);
    f.backend->free(f.device, w.data);
    f.backend->close(f.device);
}

static void test_rows(void **state)
{
    (void)state;
    fixture f;
    assert_true(open_backend(&f, "baseline", 2));
    tr_slab s = {.n_views = 3, .n_u = 5, .rows = 32, .p_rows = 32};
    size_t view = (s.n_u + TR_GUARDS) * s.rows, chosen[] = {2, 0};
    tr_subset subset = {2, chosen};
    tr_vec p = new_vec(&f, tr_projection_lines(&s), s.rows);
    double sums[32] = {0}, wanted[32] = {0};
    float mask[32];
    randomize_projections(&s, &p, 30);
    for (size_t r = 0; r < 32; r++) {
        mask[r] = (float)(r % 2);
        for (size_t l = 0; l < s.n_u + TR_GUARDS; l++)
            wanted[r] +=
                pow(p.data[l * 32 + r], 2) + pow(p.data[2 * view + l * 32 + r], 2);
    }
    assert_int_equal(f.backend->row_squares(f.device, &s, &subset, &p, sums), TR_OK);
    for (int r = 0; r < 32; r++)
        assert_true(fabs(sums[r] - wanted[r]) < 1e-9);
    float kept = p.data[view + 2 * 32], odd = p.data[2 * 32 + 1];
    assert_true(kept != 0.0f && odd != 0.0f);
    assert_int_equal(f.backend->mask_rows(f.device, &s, &subset, mask, &p), TR_OK);
    assert_true(p.data[2 * 32] == 0.0f && p.data[2 * 32 + 1] == odd);
    assert_true(p.data[view + 2 * 32] == kept); /* view 1 is not in the subset */
    f.backend->free(f.device, p.data);
    f.backend->close(f.device);
}

static void test_unknown(void **state)
{
    (void)state;
    fixture f;
    assert_null(tr_backend_find("abacus"));
    assert_false(open_backend(&f, "mmx", 1));
    assert_non_null(strstr(tr_error(), "TR_ISA=mmx"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adjoint),
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_subset),
        cmocka_unit_test(test_lanes_and_threads),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_fft_length),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
