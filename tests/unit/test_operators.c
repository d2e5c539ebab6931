/* The projectors and the filter of a backend against double-precision references, over
 * geometries with every option on. */
#include "common/geometry/geometry.h"
#include "backend_fixture.h"
#include "operator_reference.h"

/* ---- geometries ---- */

typedef struct geometry_case {
    const char *name;
    size_t n_u, width, thickness, rows;
    double offset, pitch, axis_shift, x_shift, z_shift;
    bool xtilts;
    double range; /* degrees, to both sides */
    double turn; /* degrees in the image: makes the rays general; NAN: independent rows */
    double larger; /* images; 0: as large as the volume */
} geometry_case;

static const geometry_case cases[] = {
    {"plain", 40, 40, 20, 16, 0, 0, 0, 0, 0, false, 60, NAN, 0},
    {"wide volume", 33, 57, 11, 32, 0, 0, 0, 0, 0, false, 60, NAN, 0},
    {"narrow volume", 45, 20, 17, 80, 0, 0, 0, 0, 0, false, 70, NAN, 0},
    {"tilt offset and shifts", 40, 41, 23, 48, 7.3, 0, 4.2, -3.6, 2.1, false, 60, NAN, 0},
    {"pitch", 40, 40, 20, 16, 0, 6, 0, 0, 0, false, 60, NAN, 0},
    {"pitch and shifts", 37, 44, 15, 64, -3.1, -11, 2.5, 1.5, -4.5, false, 60, NAN, 0},
    {"full circle", 40, 40, 30, 16, 0, 0, 1.25, 0, 0, false, 180, NAN, 0},
    /* Columns advance by more than one a voxel: some bins of the projector are empty. */
    {"magnified", 60, 40, 40, 16, 0, 0, 0, 0, 0, false, 91, NAN, 1.3},
    {"x-tilts", 40, 40, 20, 32, 0, 0, 0, 0, 0, true, 60, NAN, 0},
    {"everything", 37, 42, 18, 48, 5.5, 4, -3.3, 2.2, 1.1, true, 95, NAN, 0},
    {"general, pitch", 40, 41, 20, 32, 0, 6, 1.5, 0, 0, false, 60, 0, 0},
    {"general, all", 37, 30, 18, 48, 5.5, -4, -3.3, 2.2, 1.1, true, 95, 12, 0},
    {"general, quarter turn", 45, 32, 15, 16, 0, 3, 0, 0, 2, true, 60, -88, 0},
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
    for (size_t i = 0; i < VIEWS && c->larger > 0.0; i++) {
        double centre = (double)c->n_u / 2.0 - 0.5;
        t->rays[i].u0 = centre + c->larger * (t->rays[i].u0 - centre);
        t->rays[i].ux *= c->larger;
        t->rays[i].uz *= c->larger;
    }
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

static void for_each(const geometry_case *of, size_t n, slab_check *check)
{
    for (int i = 0; i < N_VARIANTS; i++) {
        fixture f;
        if (!open_variant(&f, i, 2))
            continue;
        for (size_t k = 0; k < n; k++) {
            test_slab t;
            char name[100];
            make_slab(&of[k], &t);
            snprintf(name, sizeof name, "%s, %s", f.name, of[k].name);
            check(&f, &t.slab, name);
            tr_geometry_free(&t.geometry);
        }
        close_backend(&f);
    }
}

static void for_all(slab_check *check)
{
    for_each(cases, sizeof cases / sizeof *cases, check);
}

/* Relative to the largest value: what backprojection may differ by. A texture's weights
 * have 8 bits of fraction, so each of two neighbours is off by up to 1/512 of their
 * difference. */
static double back_tolerance(const fixture *f, double exact)
{
    return f->exact ? exact : 1.0 / 256.0;
}

/* ---- the operators ---- */

static void compare(const char *name, const char *what, const float *got,
                    const double *wanted, size_t n, double tolerance)
{
    double largest = 0.0, worst = 0.0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(wanted[i]));
    assert_true(largest > 0.0);
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs(got[i] - wanted[i]));
        if (!(fabs(got[i] - wanted[i]) <= tolerance * largest))
            fail_msg("%s: %s: value %zu is %.9g, the reference %.9g (largest %.9g)", name,
                     what, i, got[i], wanted[i], largest);
    }
    if (getenv("TR_TEST_VERBOSE"))
        print_message("%s: %s: off by %.2g of the largest value\n", name, what,
                      worst / largest);
}

/* Both directions, and that they are each other's transpose. */
static void check_reference(const fixture *f, const tr_slab *s, const char *name)
{
    const tr_backend *b = f->backend;
    vec x = new_vec(f, tr_volume_lines(s), s->rows);
    vec ax = new_vec(f, tr_projection_lines(s), s->p_rows);
    vec y = new_vec(f, ax.on.lines, s->p_rows), aty = new_vec(f, x.on.lines, s->rows);
    double *wanted = calloc(ax.n, sizeof *wanted);
    randomize(f, &x, 3, 0.0f);
    reference_pairs(s, reference_forward_pair, &(reference_vectors){x.host, wanted});
    assert_int_equal(b->project(f->device, s, NULL, &x.on, &ax.on), TR_OK);
    to_host(f, &ax);
    compare(name, "project", ax.host, wanted, ax.n, 2e-6);
    free(wanted);

    wanted = calloc(x.n, sizeof *wanted);
    randomize_projections(f, s, &y, 4);
    reference_pairs(s, reference_adjoint_pair, &(reference_vectors){y.host, wanted});
    assert_int_equal(b->backproject(f->device, s, NULL, &y.on, &aty.on), TR_OK);
    to_host(f, &aty);
    compare(name, "backproject", aty.host, wanted, x.n, back_tolerance(f, 2e-6));
    free(wanted);
    expect_equal_dots(&ax, &y, &x, &aty, back_tolerance(f, 1e-6), name);
    free_vec(f, &x);
    free_vec(f, &ax);
    free_vec(f, &y);
    free_vec(f, &aty);
}

static void test_reference(void **state)
{
    (void)state;
    for_all(check_reference);
}

static void fill_host(vec *v, float value)
{
    for (size_t i = 0; i < v->n; i++)
        v->host[i] = value;
}

/* The sums are those of a slab whose neighbours go on as it does: away from the ends. */
static void check_sums(const fixture *f, const tr_slab *s, const char *name)
{
    size_t r = s->rows / 2;
    for (size_t i = 0; i < s->n_views; i++)
        if (s->rays[i].vz != 0.0 || s->rays[i].uy != 0.0)
            return; /* rows are not alike, or lack a neighbour in this small slab */
    vec x = new_vec(f, tr_volume_lines(s), s->rows), xs = new_vec(f, x.on.lines, 1);
    vec p = new_vec(f, tr_projection_lines(s), s->p_rows);
    vec ps = new_vec(f, p.on.lines, 1);
    double *wanted = calloc(p.n + x.n, sizeof *wanted);
    fill_host(&x, 1.0f);
    reference_pairs(s, reference_forward_pair, &(reference_vectors){x.host, wanted});
    for (size_t l = 0; l < p.on.lines; l++)
        wanted[l] = wanted[l * s->rows + r];
    assert_int_equal(f->backend->row_sums(f->device, s, NULL, &ps.on), TR_OK);
    to_host(f, &ps);
    compare(name, "row sums", ps.host, wanted, p.on.lines, 1e-6);

    memset(wanted, 0, (p.n + x.n) * sizeof *wanted);
    fill_host(&p, 1.0f);
    reference_pairs(s, reference_adjoint_pair, &(reference_vectors){p.host, wanted});
    for (size_t l = 0; l < x.on.lines; l++)
        wanted[l] = wanted[l * s->rows + r];
    assert_int_equal(f->backend->col_sums(f->device, s, NULL, &xs.on), TR_OK);
    to_host(f, &xs);
    compare(name, "column sums", xs.host, wanted, x.on.lines, 1e-6);
    free(wanted);
    free_vec(f, &x);
    free_vec(f, &xs);
    free_vec(f, &p);
    free_vec(f, &ps);
}

static void test_sums(void **state)
{
    (void)state;
    for_all(check_sums);
}

/* A subset gives the sum over its views and leaves the other views alone. */
static void check_subset(const fixture *f, const tr_slab *s, const char *name)
{
    const tr_backend *b = f->backend;
    const size_t chosen[] = {7, 2, 11};
    const tr_subset subset = {3, chosen};
    tr_ray rays[3];
    for (int i = 0; i < 3; i++)
        rays[i] = s->rays[chosen[i]];
    tr_slab small = *s;
    small.n_views = 3;
    small.rays = rays;
    vec x = new_vec(f, tr_volume_lines(s), s->rows);
    vec p = new_vec(f, tr_projection_lines(s), s->p_rows);
    double *wanted = calloc(p.n > x.n ? p.n : x.n, sizeof *wanted);
    size_t view = (s->n_u + TR_GUARDS) * s->p_rows;
    randomize(f, &x, 5, 0.0f);
    reference_pairs(&small, reference_forward_pair, &(reference_vectors){x.host, wanted});
    assert_int_equal(b->fill(f->device, &p.on, -7.0f), TR_OK);
    assert_int_equal(b->project(f->device, s, &subset, &x.on, &p.on), TR_OK);
    to_host(f, &p);
    for (size_t i = 0; i < 3; i++)
        compare(name, "subset", p.host + chosen[i] * view, wanted + i * view, view, 2e-6);
    for (size_t i = 0; i < view; i++)
        assert_true(p.host[i] == -7.0f && p.host[12 * view + i] == -7.0f);

    randomize_projections(f, s, &p, 6);
    memset(wanted, 0, x.n * sizeof *wanted);
    assert_int_equal(b->backproject(f->device, s, &subset, &p.on, &x.on), TR_OK);
    float *in = malloc(3 * view * sizeof *in);
    for (size_t i = 0; i < 3; i++)
        memcpy(in + i * view, p.host + chosen[i] * view, view * sizeof *in);
    reference_pairs(&small, reference_adjoint_pair, &(reference_vectors){in, wanted});
    free(in);
    to_host(f, &x);
    compare(name, "subset back", x.host, wanted, x.n, back_tolerance(f, 2e-6));
    free(wanted);
    free_vec(f, &x);
    free_vec(f, &p);
}

static void test_subset(void **state)
{
    (void)state;
    for_all(check_subset);
}

/* More views than any kernel takes at a time: the same few again and again. */
static void check_many(const fixture *f, const tr_slab *s, const char *name)
{
    enum { MANY = 10 * VIEWS };
    tr_ray rays[MANY];
    tr_slab many = *s;
    for (int k = 0; k < MANY; k++) {
        rays[k] = s->rays[k % VIEWS];
        rays[k].u0 += 0.01 * k;
    }
    many.rays = rays;
    many.n_views = MANY;
    many.rows = many.p_rows = 16;
    check_reference(f, &many, name);
    check_sums(f, &many, name);
}

static void test_many_views(void **state)
{
    (void)state;
    for_each(&cases[3], 1, check_many);
}

/* At column 4000 a position in float would have 12 bits of fraction left, in any view. */
static void check_far(const fixture *f, const tr_slab *s, const char *name)
{
    const tr_ray rays[] = {s->rays[0], s->rays[8]};
    tr_slab few = *s;
    few.n_views = 2;
    few.rays = rays;
    check_reference(f, &few, name);
}

static void test_far_columns(void **state)
{
    (void)state;
    static const geometry_case far = {"far columns", 4000, 4000, 3,     16, 0.4, 0,
                                      3.3,           0,    0,    false, 60, NAN, 0};
    for_each(&far, 1, check_far);
}

/* Each row is as exact as if it were alone, whatever the others' size. */
static void check_rows(const fixture *f, const tr_slab *s, const char *name)
{
    vec x = new_vec(f, tr_volume_lines(s), s->rows);
    vec p = new_vec(f, tr_projection_lines(s), s->p_rows);
    double *wanted = calloc(x.n, sizeof *wanted), row[x.on.lines];
    float got[x.on.lines];
    randomize_projections(f, s, &p, 11);
    for (size_t i = 0; i < p.n; i++)
        p.host[i] *= powf(10.0f, 2.0f * (float)(i % s->rows) - 16.0f);
    to_device(f, &p);
    reference_pairs(s, reference_adjoint_pair, &(reference_vectors){p.host, wanted});
    assert_int_equal(f->backend->backproject(f->device, s, NULL, &p.on, &x.on), TR_OK);
    to_host(f, &x);
    for (size_t r = 0; r < s->rows; r++) {
        for (size_t l = 0; l < x.on.lines; l++) {
            got[l] = x.host[l * s->rows + r];
            row[l] = wanted[l * s->rows + r];
        }
        compare(name, "a row", got, row, x.on.lines, back_tolerance(f, 2e-6));
    }
    free(wanted);
    free_vec(f, &x);
    free_vec(f, &p);
}

static void test_rows_of_different_size(void **state)
{
    (void)state;
    for_each(cases, 1, check_rows);
}

/* ---- what must not show in a result ---- */

/* What comes of backprojecting, projecting again, and filtering `rows` rows, of which the
 * first is image row `first`: n[k] values in result[k]. */
static void lanes(const fixture *f, const geometry_case *c, size_t rows, size_t first,
                  float *result[3], size_t n[3])
{
    const tr_backend *b = f->backend;
    geometry_case as_many = *c;
    test_slab t;
    as_many.rows = rows;
    make_slab(&as_many, &t);
    t.slab.n_z = 21; /* the same whatever the rows */
    vec x = new_vec(f, tr_volume_lines(&t.slab), rows);
    vec p = new_vec(f, tr_projection_lines(&t.slab), rows);
    const vec *results[] = {&x, &p, &p};
    float response[65], weight[VIEWS];
    tr_filter filter = {tr_fft_length(2 * c->n_u), response, weight, 1.0f, 0};
    for (size_t i = 0; i < p.n; i++)
        p.host[i] =
            (float)sin(0.37 * (double)(i / rows) + 1.1 * (double)(first + i % rows));
    for (size_t k = 0; k <= filter.length / 2; k++)
        response[k] = (float)k / (float)filter.length;
    for (int i = 0; i < VIEWS; i++)
        weight[i] = 1.0f + 0.01f * (float)i;
    to_device(f, &p);
    assert_true(filter.length / 2 < sizeof response / sizeof *response);
    for (int k = 0; k < 3; k++) {
        tr_status status = k == 0 ? b->backproject(f->device, &t.slab, NULL, &p.on, &x.on)
                           : k == 1 ? b->project(f->device, &t.slab, NULL, &x.on, &p.on)
                                    : b->filter(f->device, &t.slab, &filter, &p.on);
        assert_int_equal(status, TR_OK);
        to_host(f, results[k]);
        n[k] = results[k]->on.lines * rows;
        result[k] = malloc(n[k] * sizeof(float));
        memcpy(result[k], results[k]->host, n[k] * sizeof(float));
    }
    free_vec(f, &x);
    free_vec(f, &p);
    tr_geometry_free(&t.geometry);
}

/* 16 rows are the same bytes computed alone with one thread and as rows `from` on of more
 * with three. */
static void check_lanes(const fixture *one, const geometry_case *c, size_t rows,
                        size_t from, float *const among[3])
{
    static const char *const operations[] = {"backproject", "project", "filter"};
    float *alone[3];
    size_t n[3];
    lanes(one, c, 16, from, alone, n);
    for (int k = 0; k < 3; k++) {
        for (size_t i = 0; i < n[k]; i += 16)
            if (memcmp(alone[k] + i, among[k] + i / 16 * rows + from,
                       16 * sizeof(float)) != 0)
                fail_msg("%s, %s: %s: the result of rows %zu on depends on the other %zu",
                         one->name, c->name, operations[k], from, rows - 16);
        free(alone[k]);
    }
}

static void check_ends(int variant, const geometry_case *c, size_t rows)
{
    fixture one, many;
    float *among[3];
    size_t n[3];
    if (!open_variant(&one, variant, 1))
        return;
    assert_true(open_variant(&many, variant, 3));
    lanes(&many, c, rows, 0, among, n);
    check_lanes(&one, c, rows, 0, among);
    check_lanes(&one, c, rows, rows - 16, among);
    for (int k = 0; k < 3; k++)
        free(among[k]);
    close_backend(&one);
    close_backend(&many);
}

/* Of the cases with independent rows; of a device, which takes long if emulated, 3. */
static void test_lanes_and_threads(void **state)
{
    static const size_t upright[] = {0, 3, 7, 1, 2, 6};
    (void)state;
    for (int i = 0; i < N_VARIANTS; i++)
        for (size_t k = 0; k < (is_cpu() ? 6 : 3); k++)
            for (size_t r = is_cpu() || !k ? 32 : 80; r <= 112; r += is_cpu() ? 16 : 48)
                check_ends(i, &cases[upright[k]], r);
}

/* ---- the filter ---- */

static double check_row(const tr_filter *filter, size_t n_u, size_t rows, double weight,
                        const float *before, const float *after)
{
    double in[n_u], out[n_u], mean = 0.0, worst = 0.0;
    for (size_t u = 0; u < n_u; u++) {
        in[u] = before[(u + 1) * rows];
        mean += in[u] / (double)n_u;
    }
    reference_filter(in, n_u, filter, weight, out);
    for (size_t u = 0; u < n_u; u++) {
        worst = fmax(worst, fabs(after[(u + 1) * rows] - out[u]));
        if (!(fabs(after[(u + 1) * rows] - out[u]) <= 3e-6))
            fail_msg("column %zu of %zu: %g, reference %g", u, n_u, after[(u + 1) * rows],
                     out[u]);
    }
    double edge = filter->edge_gain * weight * mean;
    assert_true(fabs(after[0] - edge) < 1e-6);
    assert_true(fabs(after[(n_u + 1) * rows] - edge) < 1e-6);
    assert_true(fabs(after[(n_u + 2) * rows] - edge) < 1e-6);
    return worst;
}

/* One row in `every` is compared. With `own`, each view has a response of its own,
 * `apart` values after the end of the one before. */
static void check_filter_of(const fixture *f, size_t n_views, size_t n_u, size_t length,
                            size_t rows, size_t every, bool own, size_t apart)
{
    tr_slab s = {.n_views = n_views, .n_u = n_u, .n_x = 1, .n_z = 1, .p_rows = rows};
    size_t view = (n_u + TR_GUARDS) * rows;
    size_t stride = own ? length / 2 + 1 + apart : 0;
    size_t n_response = length / 2 + 1 + (n_views - 1) * stride;
    float response[n_response], weight[n_views];
    uint64_t seed = 9;
    double worst = 0.0;
    for (size_t k = 0; k < n_response; k++)
        response[k] = uniform(&seed);
    for (size_t k = 0; k < n_views; k++)
        weight[k] = 0.5f + uniform(&seed);
    tr_filter filter = {length, response, weight, 0.75f, stride};
    vec p = new_vec(f, tr_projection_lines(&s), rows);
    randomize(f, &p, 10, 0.0f);
    float *before = malloc(p.n * sizeof *before);
    memcpy(before, p.host, p.n * sizeof *before);
    assert_int_equal(f->backend->filter(f->device, &s, &filter, &p.on), TR_OK);
    to_host(f, &p);
    for (size_t q = 0; q < n_views * rows; q += every) {
        size_t first = q / rows * view + q % rows;
        filter.response = response + q / rows * stride;
        worst = fmax(worst, check_row(&filter, n_u, rows, weight[q / rows],
                                      before + first, p.host + first));
    }
    if (getenv("TR_TEST_VERBOSE"))
        print_message("filter, %zu columns: off by %.2g\n", n_u, worst);
    free(before);
    free_vec(f, &p);
}

static void check_filter(const fixture *f, size_t n_views, size_t n_u, size_t rows,
                         size_t every)
{
    size_t length = tr_fft_length(n_u + n_u / 3);
    check_filter_of(f, n_views, n_u, length, rows, every, false, 0);
    check_filter_of(f, n_views, n_u, length, rows, every, true, 0);
    check_filter_of(f, n_views, n_u, length, rows, every, true, 5);
}

static void test_filter(void **state)
{
    (void)state;
    fixture f = open_first(2);
    check_filter(&f, 4, 24, 16, 1);
    check_filter(&f, 3, 31, 32, 1); /* an odd number of views, of columns */
    check_filter(&f, 1, 2, 16, 1);
    check_filter(&f, 2, 31, 48, 1);
    check_filter(&f, 5, 40, 1040, 64); /* more rows than are filtered at a time */
    check_filter(&f, 1, 200, 16, 5);
    close_backend(&f);
}

/* Each prime factor and power of two by itself and together, and lengths no program
 * chooses, as a caller of the library may; with nothing added to a row, little and much.
 */
static void test_filter_lengths(void **state)
{
    (void)state;
    static const size_t lengths[] = {2,  4,  6,  8,  10, 14,  16,  18,  22,
                                     26, 32, 50, 64, 98, 144, 210, 242, 1080};
    /* A device filters alike whatever its kernels, and by a library. */
    size_t n_lengths = is_cpu() ? sizeof lengths / sizeof *lengths : 11;
    for (int i = 0; i < N_VARIANTS; i++) {
        fixture f;
        bool tried = is_cpu() || variants[i].kernel == TR_KERNEL_TILE;
        if (!tried || !open_variant(&f, i, 2))
            continue;
        for (size_t k = 0; k < 2 * n_lengths; k++) {
            size_t n = lengths[k / 2], every = n < 50 ? 1 : n < 1000 ? 5 : 23;
            bool own = k % 2;
            check_filter_of(&f, 3, n, n, 32, every, own, 0);
            check_filter_of(&f, 2, n - 1, n, 16, every, own, 0);
            check_filter_of(&f, 1, (n + 1) / 2, n, 16, every, own, 0);
        }
        close_backend(&f);
    }
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

/* ---- which device ---- */

static void check_refused(tr_backend_settings settings, tr_status status,
                          const char *reason)
{
    void *device;
    const tr_backend *b = tr_backend_find(backend_name());
    assert_int_equal(b->open(&settings, &device), status);
    if (!strstr(tr_error(), reason))
        fail_msg("%s: lacks %s", tr_error(), reason);
}

static void test_unknown(void **state)
{
    (void)state;
    assert_null(tr_backend_find("abacus"));
    tr_backend_settings settings = {.threads = 1};
    if (is_cpu()) {
        setenv("TR_ISA", "mmx", 1);
        check_refused(settings, TR_ERR_UNAVAILABLE, "TR_ISA=mmx");
        return;
    }
    const char *const no_lists[] = {"", "a", "0,", ",0", "1-0", "0-", "-1", "0 1", "0x1"};
    for (size_t i = 0; i < sizeof no_lists / sizeof *no_lists; i++) {
        settings.devices = no_lists[i];
        check_refused(settings, TR_ERR_USAGE, "must be device numbers and ranges");
    }
    settings.devices = "0,999";
    check_refused(settings, TR_ERR_USAGE, "--device 0,999: there is no device 999");
    settings.devices = "99999999999999999999";
    check_refused(settings, TR_ERR_USAGE, "there is no device");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_subset),
        cmocka_unit_test(test_many_views),
        cmocka_unit_test(test_lanes_and_threads),
        cmocka_unit_test(test_far_columns),
        cmocka_unit_test(test_rows_of_different_size),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_fft_length),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_filter_lengths),
    };
    int missing = backend_missing();
    return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
