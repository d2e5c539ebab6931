/* What lies outside the field where rays leave their row: its projection against fine
 * samples of the same staircases, no seam between it and the volume, the exact adjoint,
 * that every backend does the same, and as exactly where images are large. */
#include "outer_fixture.h"

enum { VIEWS = 7 };

typedef struct coupled_case {
    const char *name;
    size_t n_u, p_rows, n_x, n_z, rows, outer;
    double range, turn, xtilt, scale; /* degrees; magnification */
    double shift;                     /* columns */
} coupled_case;

static const coupled_case cases[] = {
    {"shifted rows", 40, 48, 40, 24, 48, 12, 60, 0, 4, 1, 0},
    {"x-tilts", 40, 96, 36, 40, 80, 12, 60, 0, -9, 1, 0},
    {"turned", 40, 64, 40, 12, 48, 12, 60, 6, 0, 1, 0},
    {"turned back", 45, 80, 30, 21, 64, 12, 70, -20, 0, 1.04, 0},
    {"x-tilts and turned", 40, 112, 41, 30, 112, 8, 60, 11, 6, 0.97, 0},
    {"nearly a quarter turn", 64, 64, 40, 12, 48, 12, 60, 85, 3, 1, 0},
    {"a quarter turn back", 48, 64, 40, 12, 32, 12, 60, -90, 0, 1, 0},
    {"half a turn", 40, 64, 40, 12, 48, 12, 50, 178, -2, 1, 0},
    {"between the axes", 56, 64, 40, 12, 48, 12, 60, 44, 0, 1, 0},
    {"shifted out of the image", 24, 48, 24, 5, 48, 16, 45, 10, 4, 1, 40},
    {"shifted the other way", 24, 48, 24, 5, 48, 16, 45, 10, 4, 1, -40},
};

static const char *make_slab(size_t n, tr_ray *rays, tr_slab *s)
{
    if (n >= sizeof cases / sizeof *cases)
        return NULL;
    const coupled_case *c = &cases[n];
    double turn = c->turn * M_PI / 180, cp = cos(turn), sp = sin(turn);
    double y0 = (double)c->rows / 2 - 0.5, z0 = (double)c->n_z / 2 - 0.5;
    double x0 = (double)c->n_x / 2 - 0.5;
    for (int i = 0; i < VIEWS; i++) {
        double t = (-1.0 + 2.0 * i / (VIEWS - 1)) * c->range * M_PI / 180;
        double a = c->xtilt * M_PI / 180 * (1.0 + 0.2 * cos(2.1 * i));
        double u[3] = {cos(t), -sin(t) * sin(a), -sin(t) * cos(a)};
        double v[3] = {0, cos(a), -sin(a)};
        if (c->turn == 0.0 && c->p_rows == c->rows) { /* as slices are seen */
            u[1] = 0, u[2] = -sin(t) / cos(a);
            v[1] = 1, v[2] = -tan(a);
        }
        double m[2][3];
        for (int k = 0; k < 3; k++) {
            m[0][k] = c->scale * (cp * u[k] - sp * v[k]);
            m[1][k] = c->scale * (sp * u[k] + cp * v[k]);
        }
        rays[i] = (tr_ray){.ux = m[0][0],
                           .uy = m[0][1],
                           .uz = m[0][2],
                           .vx = m[1][0],
                           .vy = m[1][1],
                           .vz = m[1][2]};
        rays[i].u0 = (double)c->n_u / 2 - 0.3 + c->shift - m[0][0] * x0 - m[0][1] * y0 -
                     m[0][2] * z0;
        rays[i].v0 =
            (double)c->p_rows / 2 - 0.5 - m[1][0] * x0 - m[1][1] * y0 - m[1][2] * z0;
    }
    *s = (tr_slab){.n_views = VIEWS,
                   .n_u = c->n_u,
                   .n_x = c->n_x,
                   .n_z = c->n_z,
                   .rows = c->rows,
                   .p_rows = c->p_rows,
                   .outer = c->outer,
                   .rays = rays};
    return c->name;
}

/* Cells of any density, which goes up and down along the rows. The core is 0. */
static void make_cells(const tr_slab *s, vec *x)
{
    uint64_t seed = 3;
    memset(x->host, 0, x->n * sizeof *x->host);
    for (size_t l = tr_core_lines(s); l < tr_volume_lines(s); l++) {
        float value = 0.5f + uniform(&seed), phase = 6.28f * uniform(&seed);
        for (size_t r = 0; r < s->rows; r++)
            x->host[l * s->rows + r] = value * (1.0f + 0.3f * sinf((float)r / 6 + phase));
    }
}

/* ---- against samples ---- */

/* A sample to four pixels, as a voxel's. */
TR_REFERENCE static void add_sample(const tr_slab *s, double u, double v, double value,
                                    double *view)
{
    for (double c = floor(u); c <= floor(u) + 1; c++)
        for (double y = floor(v); y <= floor(v) + 1; y++)
            if (c >= 0 && c < (double)s->n_u && y >= 0 && y < (double)s->p_rows)
                view[(size_t)c * s->p_rows + (size_t)y] +=
                    value * (1 - fabs(u - c)) * (1 - fabs(v - y));
}

enum { SAMPLES = 8 }; /* of a pixel along x */

TR_REFERENCE static void sample_row(const tr_slab *s, const tr_ray *ray, const vec *x,
                                    size_t iz, size_t r, double *view)
{
    /* Far enough for all tilts: any image column is seen within it. */
    const double far = 6.0 * (double)(s->n_u + s->p_rows + s->n_z);
    double u0 = ray->u0 + ray->uy * (double)r + ray->uz * (double)iz;
    double v0 = ray->v0 + ray->vy * (double)r + ray->vz * (double)iz;
    for (double beyond = 0.5 / SAMPLES; beyond < far; beyond += 1.0 / SAMPLES)
        for (int side = 0; side < 2; side++) {
            double at = side ? (double)s->n_x - 0.5 + beyond : -0.5 - beyond;
            double u = u0 + ray->ux * at, v = v0 + ray->vx * at;
            if (u > -1 && u < (double)s->n_u && v > -1 && v < (double)s->p_rows)
                add_sample(s, u, v,
                           (double)x->host[line_outside(s, iz, at) * s->rows + r] /
                               SAMPLES,
                           view);
        }
}

/* The mean of the 3 x 3 pixels about one, without the lattice that rows make there. */
static double about(const tr_slab *s, size_t u, size_t v,
                    double (*at)(const void *, size_t), const void *view)
{
    static const double share[3] = {0.25, 0.5, 0.25};
    double sum = 0.0;
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 3; k++)
            sum += share[i] * share[k] * at(view, (u + i - 1) * s->p_rows + v + k - 1);
    return sum;
}

static double double_at(const void *view, size_t i) { return ((const double *)view)[i]; }
static double float_at(const void *view, size_t i) { return ((const float *)view)[i]; }

static void compare_view(const tr_slab *s, size_t number, const vec *x, const float *got,
                         const char *name)
{
    size_t n = s->n_u * s->p_rows;
    double *right = calloc(n, sizeof *right), sum = 0.0, all = 0.0, largest = 0.0;
    double worst = 0.0;
    for (size_t iz = 0; iz < s->n_z; iz++)
        for (size_t r = 0; r < s->rows; r++)
            sample_row(s, &s->rays[number], x, iz, r, right);
    for (size_t i = 0; i < n; i++) {
        sum += got[i];
        all += right[i];
        largest = fmax(largest, right[i]);
    }
    for (size_t u = 1; u + 1 < s->n_u; u++)
        for (size_t v = 1; v + 1 < s->p_rows; v++)
            worst = fmax(worst, fabs(about(s, u, v, float_at, got) -
                                     about(s, u, v, double_at, right)));
    if (getenv("TR_TEST_VERBOSE"))
        print_message("%s, view %zu: off by %.2g of the largest; sum by %.2g\n", name,
                      number, worst / largest, sum / all - 1.0);
    if (!(worst < 0.05 * largest) || !(fabs(sum - all) < 0.01 * all))
        fail_msg("%s: view %zu is off by %g of the largest value, its sum by %g", name,
                 number, worst / largest, sum / all - 1.0);
    free(right);
}

static void check_samples(const fixture *f, const tr_slab *s, const char *name)
{
    vec x = new_vec(f, tr_volume_lines(s), s->rows);
    vec p = new_vec(f, tr_projection_lines(s), s->p_rows);
    make_cells(s, &x);
    to_device(f, &x);
    assert_int_equal(f->backend->project(f->device, s, NULL, &x.on, &p.on), TR_OK);
    to_host(f, &p);
    for (size_t view = 0; view < VIEWS; view += 3)
        compare_view(s, view, &x, p.host + (view * (s->n_u + TR_GUARDS) + 1) * s->p_rows,
                     name);
    free_vec(f, &x);
    free_vec(f, &p);
}

static void test_samples(void **state)
{
    (void)state;
    for_all_slabs(make_slab, check_samples);
}

/* ---- no seam ---- */

/* A constant density: the volume and its cells as a volume so wide that no ray leaves it
 * sideways; but not in the first and last rows, where a volume's rays beyond them end. */
static void check_seam(const fixture *f, const tr_slab *s, const char *name)
{
    tr_ray rays[VIEWS];
    tr_slab wide = *s;
    const size_t added = 4 * s->n_u;
    wide.n_x += 2 * added;
    wide.outer = 0;
    wide.rays = rays;
    for (size_t i = 0; i < VIEWS; i++) {
        rays[i] = s->rays[i];
        rays[i].u0 -= rays[i].ux * (double)added;
        rays[i].v0 -= rays[i].vx * (double)added;
    }
    vec x = new_vec(f, tr_volume_lines(s), s->rows);
    vec much = new_vec(f, tr_volume_lines(&wide), s->rows);
    vec p = new_vec(f, tr_projection_lines(s), s->p_rows);
    vec right = new_vec(f, tr_projection_lines(s), s->p_rows);
    assert_int_equal(f->backend->fill(f->device, &x.on, 1.0f), TR_OK);
    assert_int_equal(f->backend->fill(f->device, &much.on, 1.0f), TR_OK);
    assert_int_equal(f->backend->project(f->device, s, NULL, &x.on, &p.on), TR_OK);
    assert_int_equal(f->backend->project(f->device, &wide, NULL, &much.on, &right.on),
                     TR_OK);
    to_host(f, &p);
    to_host(f, &right);
    double worst = 0.0, largest = 0.0;
    for (size_t view = 0; view < VIEWS; view++) {
        size_t first = (view * (s->n_u + TR_GUARDS) + 1) * s->p_rows;
        for (size_t i = 0; i < s->n_u * s->p_rows; i++)
            largest = fmax(largest, right.host[first + i]);
        for (size_t u = 1; u + 1 < s->n_u; u++)
            for (size_t v = 2; v + 2 < s->p_rows; v++)
                worst = fmax(worst, fabs(about(s, u, v, float_at, p.host + first) -
                                         about(s, u, v, float_at, right.host + first)));
    }
    if (getenv("TR_TEST_VERBOSE"))
        print_message("%s: a seam of %.2g\n", name, worst / largest);
    if (!(worst < 0.05 * largest))
        fail_msg("%s: a seam of %g", name, worst / largest);
    free_vec(f, &x);
    free_vec(f, &much);
    free_vec(f, &p);
    free_vec(f, &right);
}

static void test_no_seam(void **state)
{
    (void)state;
    for_all_slabs(make_slab, check_seam);
}

/* ---- the adjoint ---- */

/* Of the cells alone, and of a subset of the views. */
static void check_adjoint(const fixture *f, const tr_slab *s, const char *name)
{
    const size_t some[] = {5, 0, 3};
    const tr_subset subset = {3, some};
    vec x = new_vec(f, tr_volume_lines(s), s->rows);
    randomize(f, &x, 1, 0.0f);
    memset(x.host, 0, tr_core_lines(s) * s->rows * sizeof *x.host);
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

/* ---- the same everywhere ---- */

static float *copy_of(const vec *v)
{
    float *copy = malloc(v->n * sizeof *copy);
    memcpy(copy, v->host, v->n * sizeof *copy);
    return copy;
}

/* Both ways; the results are the caller's. */
static void run_both(const fixture *f, const tr_slab *s, float *result[2], size_t n[2])
{
    vec x = new_vec(f, tr_volume_lines(s), s->rows);
    vec p = new_vec(f, tr_projection_lines(s), s->p_rows);
    randomize(f, &x, 1, 0.0f);
    assert_int_equal(f->backend->project(f->device, s, NULL, &x.on, &p.on), TR_OK);
    to_host(f, &p);
    result[0] = copy_of(&p), n[0] = p.n;
    randomize_projections(f, s, &p, 2);
    assert_int_equal(f->backend->backproject(f->device, s, NULL, &p.on, &x.on), TR_OK);
    to_host(f, &x);
    result[1] = copy_of(&x), n[1] = x.n;
    free_vec(f, &x);
    free_vec(f, &p);
}

static void check_same(const fixture *f, const tr_slab *s, const char *name)
{
    fixture plain = {.backend = tr_backend_find("cpu")};
    const tr_backend_settings settings = {.threads = 1};
    float *found[2], *wanted[2];
    size_t n[2];
    if (!plain.backend)
        return;
    unsetenv("TR_ISA");
    if (tr_backend_find("cpu") == f->backend)
        setenv("TR_ISA", variants[0].name, 1);
    if (plain.backend->open(&settings, &plain.device) != TR_OK)
        return; /* a processor without the first instruction set */
    run_both(f, s, found, n);
    run_both(&plain, s, wanted, n);
    for (int k = 0; k < 2; k++) {
        double largest = 0.0, worst = 0.0;
        for (size_t i = 0; i < n[k]; i++) {
            largest = fmax(largest, fabs(wanted[k][i]));
            worst = fmax(worst, fabs((double)found[k][i] - wanted[k][i]));
        }
        if (!(worst < 5e-6 * largest))
            fail_msg("%s, %s: off by %g", name, k ? "back" : "forward", worst / largest);
        free(found[k]);
        free(wanted[k]);
    }
    plain.backend->close(plain.device);
}

static void test_same(void **state)
{
    (void)state;
    for_all_slabs(make_slab, check_same);
}

/* ---- in large images ---- */

enum { FAR = 1024 }; /* columns, or rows: a float has 13 bits of fraction left there */

/* One view of two of the slabs, whose cells are steps along u and v; made by make_slab.
 */
static const char *make_one_view(size_t n, tr_ray *rays, tr_slab *s)
{
    static const size_t chosen[] = {4, 5};
    if (n >= sizeof chosen / sizeof *chosen)
        return NULL;
    const char *name = make_slab(chosen[n], rays, s);
    rays[0] = rays[2];
    s->n_views = 1;
    return name;
}

/* The same in an image that begins FAR columns, or rows, before. */
static tr_slab far_slab(const tr_slab *s, tr_ray *ray)
{
    tr_slab to = *s;
    const bool along_u = fabs(s->rays->ux) > fabs(s->rays->vx);
    *ray = *s->rays;
    *(along_u ? &ray->u0 : &ray->v0) += FAR;
    *(along_u ? &to.n_u : &to.p_rows) += FAR;
    to.rays = ray;
    return to;
}

/* Pixel (u, v) of the smaller image in the larger one's view, or its own. */
static size_t pixel_at(const tr_slab *s, const tr_slab *of, size_t u, size_t v)
{
    return (u + of->n_u - s->n_u + 1) * of->p_rows + v + of->p_rows - s->p_rows;
}

static void compare_far(const tr_slab *s, const tr_slab *large, const vec *p,
                        const vec *p_far, const char *name)
{
    double largest = 0.0, worst = 0.0;
    for (size_t u = 0; u < s->n_u; u++)
        for (size_t v = 0; v < s->p_rows; v++) {
            double a = p->host[pixel_at(s, s, u, v)];
            largest = fmax(largest, fabs(a));
            worst = fmax(worst, fabs(a - p_far->host[pixel_at(s, large, u, v)]));
        }
    if (!(worst < 3e-6 * largest))
        fail_msg("%s: forward is off by %g in a large image", name, worst / largest);
}

static void check_far(const fixture *f, const tr_slab *s, const char *name)
{
    tr_ray ray;
    const tr_slab large = far_slab(s, &ray);
    vec x = new_vec(f, tr_volume_lines(s), s->rows), y = new_vec(f, x.on.lines, s->rows);
    vec p = new_vec(f, tr_projection_lines(s), s->p_rows);
    vec p_far = new_vec(f, tr_projection_lines(&large), large.p_rows);
    randomize(f, &x, 1, 0.0f);
    assert_int_equal(f->backend->project(f->device, s, NULL, &x.on, &p.on), TR_OK);
    assert_int_equal(f->backend->project(f->device, &large, NULL, &x.on, &p_far.on),
                     TR_OK);
    to_host(f, &p);
    to_host(f, &p_far);
    compare_far(s, &large, &p, &p_far, name);

    randomize_projections(f, s, &p, 2);
    memset(p_far.host, 0, p_far.n * sizeof *p_far.host);
    for (size_t u = 0; u < s->n_u; u++)
        for (size_t v = 0; v < s->p_rows; v++)
            p_far.host[pixel_at(s, &large, u, v)] = p.host[pixel_at(s, s, u, v)];
    to_device(f, &p_far);
    assert_int_equal(f->backend->backproject(f->device, s, NULL, &p.on, &x.on), TR_OK);
    assert_int_equal(f->backend->backproject(f->device, &large, NULL, &p_far.on, &y.on),
                     TR_OK);
    to_host(f, &x);
    to_host(f, &y);
    double largest = 0.0, worst = 0.0;
    for (size_t i = 0; i < x.n; i++) {
        largest = fmax(largest, fabs(x.host[i]));
        worst = fmax(worst, fabs((double)x.host[i] - y.host[i]));
    }
    if (!(worst < 3e-6 * largest))
        fail_msg("%s: back is off by %g in a large image", name, worst / largest);
    free_vec(f, &x);
    free_vec(f, &y);
    free_vec(f, &p);
    free_vec(f, &p_far);
}

static void test_far(void **state)
{
    (void)state;
    for_all_slabs(make_one_view, check_far);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples), cmocka_unit_test(test_no_seam),
        cmocka_unit_test(test_adjoint), cmocka_unit_test(test_same),
        cmocka_unit_test(test_far),
    };
    int missing = backend_missing();
    return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
