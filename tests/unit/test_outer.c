/* What lies outside the field: its projection against a fine sampling of the same
 * staircase, sums, and the exact adjoint. */
#include "outer_fixture.h"

enum { VIEWS = 9, ROWS = 48 };

typedef struct outer_case {
    const char *name;
    size_t n_u, n_x, n_z, outer;
    double range, shift; /* degrees to both sides; columns */
} outer_case;

static const outer_case cases[] = {
    {"plain", 40, 40, 12, 12, 60, 0},
    {"wide volume", 31, 50, 7, 8, 60, 0.3},
    {"narrow volume", 45, 20, 17, 12, 70, -2.6},
    {"thick volume", 40, 24, 70, 8, 60, 0},
    {"shifted out of the image", 24, 24, 5, 16, 60, 70},
    {"shifted the other way", 24, 24, 5, 16, 60, -70},
};

static const char *make_slab(size_t k, tr_ray *rays, tr_slab *s)
{
    if (k >= sizeof cases / sizeof *cases)
        return NULL;
    const outer_case *c = &cases[k];
    for (int i = 0; i < VIEWS; i++) {
        double tilt = (-1.0 + 2.0 * i / (VIEWS - 1)) * c->range * M_PI / 180.0;
        double ux = cos(tilt), uz = -sin(tilt);
        rays[i] = (tr_ray){.u0 = (double)c->n_u / 2 - 0.5 + c->shift -
                                 ux * ((double)c->n_x / 2 - 0.5) -
                                 uz * ((double)c->n_z / 2 - 0.5),
                           .ux = ux,
                           .uz = uz,
                           .vy = 1.0};
    }
    *s = (tr_slab){.n_views = VIEWS,
                   .n_u = c->n_u,
                   .n_x = c->n_x,
                   .n_z = c->n_z,
                   .rows = ROWS,
                   .p_rows = ROWS,
                   .outer = c->outer,
                   .rays = rays};
    return c->name;
}

/* ---- against samples ---- */

/* The density at voxel position x of a plane and row, 0 within the core. */
static double density(const tr_slab *s, const vec *x, size_t iz, size_t row, double at)
{
    bool outside = at < -0.5 || at > (double)s->n_x - 0.5;
    return outside ? x->host[line_outside(s, iz, at) * s->rows + row] : 0.0;
}

static double sampled(const tr_slab *s, const vec *x, size_t view, size_t u, size_t row)
{
    enum { SAMPLES = 4000 }; /* of a hat function */
    const tr_ray *ray = &s->rays[view];
    double sum = 0.0;
    for (size_t iz = 0; iz < s->n_z; iz++)
        for (int i = 0; i < SAMPLES; i++) {
            double c = -1.0 + 2.0 * (i + 0.5) / SAMPLES;
            double at = ((double)u + c - ray->u0 - ray->uz * (double)iz) / ray->ux;
            sum += (1.0 - fabs(c)) * density(s, x, iz, row, at);
        }
    return sum * 2.0 / SAMPLES / ray->ux;
}

static void clear_core(const tr_slab *s, vec *x)
{
    memset(x->host, 0, tr_core_lines(s) * s->rows * sizeof *x->host);
}

static void check_samples(const fixture *f, const tr_slab *s, const char *name)
{
    vec x = new_vec(f, tr_volume_lines(s), s->rows);
    vec p = new_vec(f, tr_projection_lines(s), s->rows);
    randomize(f, &x, 1, 0.0f);
    clear_core(s, &x);
    to_device(f, &x);
    assert_int_equal(f->backend->project(f->device, s, NULL, &x.on, &p.on), TR_OK);
    to_host(f, &p);
    for (size_t view = 0; view < VIEWS; view += 2)
        for (size_t u = 0; u < s->n_u; u += 5) {
            size_t row = (view * 7 + u) % ROWS;
            double right = sampled(s, &x, view, u, row);
            double got = p.host[(view * (s->n_u + TR_GUARDS) + u + 1) * s->rows + row];
            if (!(fabs(got - right) < 2e-3 * (double)s->n_z))
                fail_msg("%s: view %zu, column %zu: %g instead of %g", name, view, u, got,
                         right);
        }
    free_vec(f, &x);
    free_vec(f, &p);
}

static void test_samples(void **state)
{
    (void)state;
    for_all_slabs(make_slab, check_samples);
}

/* ---- the adjoint ---- */

/* Of the cells alone, and of a subset of the views. */
static void check_adjoint(const fixture *f, const tr_slab *s, const char *name)
{
    const size_t some[] = {7, 0, 4};
    const tr_subset subset = {3, some};
    vec x = new_vec(f, tr_volume_lines(s), s->rows);
    randomize(f, &x, 1, 0.0f);
    clear_core(s, &x);
    to_device(f, &x);
    expect_adjoint(f, s, NULL, &x, 1e-6, name);
    expect_adjoint(f, s, &subset, &x, 1e-6, name);
    free_vec(f, &x);
}

static void test_adjoint(void **state)
{
    (void)state;
    for_all_slabs(make_slab, check_adjoint);
}

/* ---- sums ---- */

/* Those of the operator on ones; and every ray passes n_z / ux voxels, wherever it runs,
 * on average: a core's hat functions do not add up to the same everywhere. */
static void check_sums(const fixture *f, const tr_slab *s, const char *name)
{
    const tr_backend *b = f->backend;
    vec rows = new_vec(f, tr_projection_lines(s), 1);
    vec columns = new_vec(f, tr_volume_lines(s), 1);
    vec ones = new_vec(f, tr_projection_lines(s), s->rows);
    vec back = new_vec(f, tr_volume_lines(s), s->rows);
    assert_int_equal(b->row_sums(f->device, s, NULL, &rows.on), TR_OK);
    assert_int_equal(b->col_sums(f->device, s, NULL, &columns.on), TR_OK);
    for (size_t i = 0; i < ones.n; i++) {
        size_t column = i / s->rows % (s->n_u + TR_GUARDS);
        ones.host[i] = column >= 1 && column <= s->n_u;
    }
    to_device(f, &ones);
    assert_int_equal(b->backproject(f->device, s, NULL, &ones.on, &back.on), TR_OK);
    to_host(f, &rows);
    to_host(f, &columns);
    to_host(f, &back);
    double largest = 0.0;
    for (size_t l = 0; l < columns.n; l++)
        largest = fmax(largest, columns.host[l]);
    for (size_t l = 0; l < columns.n; l++)
        if (!(fabs(columns.host[l] - back.host[l * s->rows]) < 2e-5 * largest))
            fail_msg("%s: column sum of line %zu: %g instead of %g", name, l,
                     columns.host[l], back.host[l * s->rows]);
    for (size_t i = 0; i < back.n; i++)
        back.host[i] = 1.0f;
    to_device(f, &back);
    assert_int_equal(b->project(f->device, s, NULL, &back.on, &ones.on), TR_OK);
    to_host(f, &ones);
    for (size_t view = 0; view < VIEWS; view++) {
        double mean = 0.0, right = (double)s->n_z / s->rays[view].ux;
        for (size_t u = 0; u < s->n_u; u++) {
            size_t line = view * (s->n_u + TR_GUARDS) + u + 1;
            double got = rows.host[line], exact = ones.host[line * s->rows];
            mean += got / (double)s->n_u;
            if (!(fabs(got - exact) < 1e-5 * exact))
                fail_msg("%s: row sum %g instead of %g", name, got, exact);
        }
        if (!(fabs(mean - right) < 0.02 * right))
            fail_msg("%s: row sums are %g on average, not %g", name, mean, right);
    }
    free_vec(f, &rows);
    free_vec(f, &columns);
    free_vec(f, &ones);
    free_vec(f, &back);
}

static void test_sums(void **state)
{
    (void)state;
    for_all_slabs(make_slab, check_sums);
}

/* ---- row by row ---- */

static void test_rows(void **state)
{
    (void)state;
    fixture f = open_first(2);
    enum { LINES = 700 };
    vec w = new_vec(&f, LINES, 1), x = new_vec(&f, LINES, ROWS),
        y = new_vec(&f, LINES, ROWS), z = new_vec(&f, LINES, ROWS);
    randomize(&f, &w, 1, 0.0f);
    randomize(&f, &x, 2, -0.5f);
    randomize(&f, &y, 3, 0.0f);
    double sums[ROWS], plain[ROWS];
    float a[ROWS];
    assert_int_equal(f.backend->row_dots(f.device, &w.on, &x.on, &y.on, sums), TR_OK);
    assert_int_equal(f.backend->row_dots(f.device, NULL, &x.on, &y.on, plain), TR_OK);
    for (size_t r = 0; r < ROWS; r++) {
        double right = 0.0, unweighted = 0.0;
        for (size_t l = 0; l < LINES; l++) {
            double xy = (double)x.host[l * ROWS + r] * y.host[l * ROWS + r];
            right += w.host[l] * xy;
            unweighted += xy;
        }
        assert_true(fabs(sums[r] - right) < 1e-9 * LINES);
        assert_true(fabs(plain[r] - unweighted) < 1e-9 * LINES);
        a[r] = (float)r - 3.0f;
    }
    assert_int_equal(f.backend->row_dots(f.device, &y.on, &x.on, &y.on, sums), TR_OK);
    for (size_t r = 0; r < ROWS; r++) { /* a weight for each value */
        double right = 0.0;
        for (size_t l = 0; l < LINES; l++)
            right += (double)x.host[l * ROWS + r] * y.host[l * ROWS + r] *
                     y.host[l * ROWS + r];
        assert_true(fabs(sums[r] - right) < 1e-9 * LINES);
    }
    memcpy(z.host, y.host, y.n * sizeof *y.host);
    to_device(&f, &z);
    assert_int_equal(f.backend->axpy_rows(f.device, a, &x.on, &z.on), TR_OK);
    assert_int_equal(f.backend->scale_rows(f.device, a, &z.on), TR_OK);
    to_host(&f, &z);
    for (size_t i = 0; i < z.n; i++) {
        double k = a[i % ROWS], right = k * ((double)y.host[i] + k * x.host[i]);
        assert_true(fabs(z.host[i] - right) < 1e-6 * (1.0 + fabs(right)));
    }
    free_vec(&f, &w);
    free_vec(&f, &x);
    free_vec(&f, &y);
    free_vec(&f, &z);
    close_backend(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_adjoint),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_rows),
    };
    int missing = backend_missing();
    return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
