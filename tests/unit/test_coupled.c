/* The projectors for rays that leave their row, random ones and grids of offsets to them,
 * against the double-precision reference: slopes of the kernels for tiles and beyond, odd
 * sizes, rows at the ends of the image, rows that are shared out. */
#include "backend_fixture.h"
#include "operator_reference.h"

enum { VIEWS = 7, MOST_NODES = 8 };

typedef struct coupled_case {
    const char *name;
    size_t n_u, n_x, n_z, rows, p_rows;
    double rotation, pitch, tilt; /* degrees at most, to both sides; tilts are spread */
    double offset;                /* of the grid, in columns and rows at most; 0: none */
    double scale;                 /* of the image */
    size_t first;
    long p_first;
} coupled_case;

static const coupled_case cases[] = {
    {"pitch", 41, 43, 21, 32, 96, 0, 6, 60, 0, 1, 0, -24},
    {"small turns", 37, 35, 33, 32, 96, 0.4, 0.3, 60, 0, 1, 0, -24},
    {"turned", 53, 51, 19, 48, 112, 3, 3, 70, 0, 1, 0, -32},
    {"turned, 4 columns", 45, 40, 17, 32, 112, 7, 3, 60, 0, 1, 0, -32},
    {"along z", 45, 18, 47, 32, 112, 4, 3, 89, 0, 1, 0, -32},
    {"steep", 45, 32, 15, 16, 176, 90, 20, 60, 0, 1, 0, -64},
    {"steep rows", 45, 32, 37, 16, 176, 3, 60, 60, 0, 1, 0, -64},
    {"magnified", 90, 31, 33, 32, 176, 3, 3, 60, 0, 2.3, 0, -48},
    {"held at both ends", 23, 37, 18, 48, 32, 5, 4, 60, 0, 1, 0, 5},
    {"two lanes", 23, 37, 18, 16, 2, 3, 4, 60, 0, 1, 0, 5},
    {"grid", 41, 43, 21, 32, 96, 0, 0, 60, 0.5, 1, 0, -24},
    {"grid, turned", 53, 51, 19, 48, 112, 3, 3, 70, 1.5, 1, 0, -32},
    {"grid, along z", 45, 18, 47, 32, 112, 2, 3, 89, 0.6, 1, 0, -32},
    {"grid, large offsets", 45, 40, 17, 32, 112, 2, 3, 60, 8, 1, 0, -32},
    {"grid, shared rows", 41, 43, 21, 32, 96, 2, 3, 60, 1, 1, 21, -3},
    {"shared rows", 41, 43, 21, 32, 96, 2, 3, 60, 0, 1, 37, 13},
};
enum { N_CASES = sizeof cases / sizeof *cases };

typedef struct coupled_slab {
    tr_slab slab;
    tr_ray rays[VIEWS];
    tr_offsets offsets;
    float grid[VIEWS * MOST_NODES * MOST_NODES * 4];
} coupled_slab;

static double between(uint64_t *seed, double most)
{
    return most * (2.0 * uniform(seed) - 1.0);
}

/* Turned by a pitch, a tilt and a rotation about the middle of all. */
static tr_ray make_ray(const coupled_case *c, int i, uint64_t *seed)
{
    const double degree = M_PI / 180.0;
    double g = between(seed, c->pitch) * degree, w = between(seed, c->rotation) * degree;
    double t = c->tilt * (2.0 * i / (VIEWS - 1) - 1.0) * degree;
    double m[2][3] = {{cos(t), -sin(g) * sin(t), -cos(g) * sin(t)}, {0, cos(g), -sin(g)}};
    double middle[3] = {((double)c->n_x - 1.0) / 2.0, 24.0, ((double)c->n_z - 1.0) / 2.0};
    double u[4] = {((double)c->n_u - 1.0) / 2.0 + between(seed, 2.0)};
    double v[4] = {24.0 + between(seed, 1.0)};
    for (int k = 0; k < 3; k++) {
        u[k + 1] = c->scale * (cos(w) * m[0][k] - sin(w) * m[1][k]);
        v[k + 1] = c->scale * (sin(w) * m[0][k] + cos(w) * m[1][k]);
        u[0] -= u[k + 1] * middle[k];
        v[0] -= v[k + 1] * middle[k];
    }
    return (tr_ray){u[0], u[1], u[2], u[3], v[0], v[1], v[2], v[3]};
}

static void make_slab(const coupled_case *c, coupled_slab *t)
{
    uint64_t seed = 77 + c->n_z;
    *t = (coupled_slab){.slab = {.n_views = VIEWS,
                                 .n_u = c->n_u,
                                 .n_x = c->n_x,
                                 .n_z = c->n_z,
                                 .rows = c->rows,
                                 .p_rows = c->p_rows,
                                 .rays = t->rays,
                                 .all_rows = c->first ? c->first + c->rows : 0,
                                 .first = c->first,
                                 .p_first = c->p_first}};
    for (int i = 0; i < VIEWS; i++)
        t->rays[i] = make_ray(c, i, &seed);
    if (c->offset == 0.0)
        return;
    t->offsets = (tr_offsets){t->grid, (c->n_x - 1) / 16 + 2,
                              (c->first + c->rows - 1) / 16 + 2, -0.5 * (double)c->n_z};
    t->slab.offsets = &t->offsets;
    assert_true(t->offsets.n_x * t->offsets.n_y <= MOST_NODES * MOST_NODES);
    for (size_t i = 0; i < VIEWS * t->offsets.n_x * t->offsets.n_y * 4; i++)
        t->grid[i] = (float)between(&seed, i % 2 ? 0.02 * c->offset : c->offset);
}

typedef void case_check(const fixture *f, const tr_slab *s, const char *name);

static void for_all(case_check *check)
{
    for (int i = 0; i < N_VARIANTS; i++) {
        fixture f;
        if (!open_variant(&f, i, 2))
            continue;
        for (size_t k = 0; k < N_CASES && f.exact; k++) {
            coupled_slab t;
            char name[100];
            make_slab(&cases[k], &t);
            snprintf(name, sizeof name, "%s, %s", f.name, cases[k].name);
            check(&f, &t.slab, name);
        }
        close_backend(&f);
    }
}

/* ---- values ---- */

static void compare(const char *name, const char *what, const float *got,
                    const double *wanted, size_t n)
{
    double largest = 0.0, worst = 0.0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(wanted[i]));
    assert_true(largest > 0.0);
    for (size_t i = 0; i < n; i++)
        worst = got[i] == got[i] ? fmax(worst, fabs(got[i] - wanted[i])) : INFINITY;
    if (getenv("TR_TEST_VERBOSE"))
        print_message("%s: %s: off by %.2g of the largest value\n", name, what,
                      worst / largest);
    /* A device's positions are further away from those in double. */
    if (!(worst <= (is_cpu() ? 1e-6 : 4e-6) * largest))
        fail_msg("%s: %s: off by %g of the largest value", name, what, worst / largest);
}

/* Noise about 0, whose sums hide nothing. */
static void check_reference(const fixture *f, const tr_slab *s, const char *name)
{
    const tr_backend *b = f->backend;
    vec x = new_vec(f, tr_volume_lines(s), s->rows);
    vec p = new_vec(f, tr_projection_lines(s), s->p_rows);
    double *wanted = calloc(p.n + x.n, sizeof *wanted);
    randomize(f, &x, 3, -0.5f);
    reference_pairs(s, reference_forward_pair, &(reference_vectors){x.host, wanted});
    assert_int_equal(b->project(f->device, s, NULL, &x.on, &p.on), TR_OK);
    to_host(f, &p);
    compare(name, "project", p.host, wanted, p.n);

    memset(wanted, 0, x.n * sizeof *wanted);
    for (size_t i = 0; i < p.n; i++)
        p.host[i] = p.host[i] != 0.0f ? (float)sin(12.9898 * (double)i) : 0.0f;
    to_device(f, &p);
    reference_pairs(s, reference_adjoint_pair, &(reference_vectors){p.host, wanted});
    assert_int_equal(b->backproject(f->device, s, NULL, &p.on, &x.on), TR_OK);
    to_host(f, &x);
    compare(name, "backproject", x.host, wanted, x.n);
    free(wanted);
    free_vec(f, &x);
    free_vec(f, &p);
}

static void test_reference(void **state)
{
    (void)state;
    for_all(check_reference);
}

static void check_adjoint(const fixture *f, const tr_slab *s, const char *name)
{
    vec x = new_vec(f, tr_volume_lines(s), s->rows);
    randomize(f, &x, 1, 0.0f);
    expect_adjoint(f, s, NULL, &x, 2e-7, name);
    free_vec(f, &x);
}

static void test_adjoint(void **state)
{
    (void)state;
    for_all(check_adjoint);
}

/* Where nothing is, nothing is seen, not even a rounded difference: algorithms divide by
 * it. */
static void check_zeros(const fixture *f, const tr_slab *s, const char *name)
{
    vec x = new_vec(f, tr_volume_lines(s), s->rows);
    vec p = new_vec(f, tr_projection_lines(s), s->p_rows);
    double *wanted = calloc(p.n, sizeof *wanted);
    for (size_t i = 0; i < x.n; i++)
        x.host[i] = i / s->rows % s->n_x == 11 && i % s->rows > 9 ? 0.7f : 0.0f;
    to_device(f, &x);
    reference_pairs(s, reference_forward_pair, &(reference_vectors){x.host, wanted});
    assert_int_equal(f->backend->project(f->device, s, NULL, &x.on, &p.on), TR_OK);
    to_host(f, &p);
    size_t zeros = 0;
    for (size_t i = 0; i < p.n; i++) {
        zeros += wanted[i] == 0.0 && p.host[i] == 0.0f;
        /* Within rounding of a place it may be seen or not, by as little. */
        if (wanted[i] == 0.0 && fabsf(p.host[i]) > 2e-6f)
            fail_msg("%s: %g where nothing is seen", name, p.host[i]);
    }
    assert_true(zeros > p.n / 2);
    free(wanted);
    free_vec(f, &x);
    free_vec(f, &p);
}

static void test_zeros(void **state)
{
    (void)state;
    for_all(check_zeros);
}

/* ---- what must not show in a result ---- */

/* Rows [first, first + n) of a slab by themselves: their images added to `sums`, and what
 * they get from p at x. */
static void run_part(const fixture *f, const tr_slab *s, size_t first, size_t n,
                     const double *quantum, const vec *x, const vec *p, double *sums,
                     vec *back)
{
    tr_slab part = *s;
    size_t lanes = (n + TR_LANES - 1) / TR_LANES * TR_LANES;
    part.first = first;
    part.rows = lanes;
    part.all_rows = s->rows;
    vec mine = new_vec(f, tr_volume_lines(s), lanes);
    double *own = calloc(p->n, sizeof *own);
    for (size_t i = 0; i < mine.n; i++)
        mine.host[i] =
            i % lanes < n ? x->host[i / lanes * s->rows + first + i % lanes] : 0.0f;
    to_device(f, &mine);
    assert_int_equal(
        f->backend->project_sums(f->device, &part, NULL, &mine.on, quantum, own), TR_OK);
    for (size_t i = 0; i < p->n; i++)
        sums[i] += own[i];
    assert_int_equal(f->backend->backproject(f->device, &part, NULL, &p->on, &mine.on),
                     TR_OK);
    to_host(f, &mine);
    for (size_t i = 0; i < mine.n; i++)
        if (i % lanes < n)
            back->host[i / lanes * s->rows + first + i % lanes] = mine.host[i];
    free(own);
    free_vec(f, &mine);
}

static void run_parts(const fixture *f, const tr_slab *s, size_t n_parts,
                      const size_t *parts, double *sums, float *back)
{
    vec x = new_vec(f, tr_volume_lines(s), s->rows), result = x;
    vec p = new_vec(f, tr_projection_lines(s), s->p_rows);
    double quantum[VIEWS];
    randomize(f, &x, 21, -0.5f);
    randomize_projections(f, s, &p, 22);
    for (int k = 0; k < VIEWS; k++)
        quantum[k] = k == 2 ? 0x1p-30 : 0x1p-36; /* 0 would not be exact */
    result.host = malloc(x.n * sizeof *result.host);
    memset(sums, 0, p.n * sizeof *sums);
    size_t first = 0;
    for (size_t k = 0; k < n_parts; first += parts[k++])
        run_part(f, s, first, parts[k], quantum, &x, &p, sums, &result);
    assert_int_equal(first, s->rows);
    memcpy(back, result.host, x.n * sizeof *back);
    free(result.host);
    free_vec(f, &x);
    free_vec(f, &p);
}

/* The same bytes from the rows together and shared out, by one thread and by three; and
 * the sums are those of project(), to what they are rounded to. */
static void check_shared(int variant, const coupled_case *c)
{
    static const size_t whole[] = {48}, parts[] = {6, 21, 2, 19};
    coupled_case as_one = *c;
    as_one.first = 0, as_one.rows = 48;
    coupled_slab t;
    fixture one, three;
    if (!open_variant(&one, variant, 1))
        return;
    assert_true(open_variant(&three, variant, 3));
    make_slab(&as_one, &t);
    t.slab.all_rows = 48;
    size_t n_p = tr_projection_lines(&t.slab) * t.slab.p_rows;
    size_t n_x = tr_volume_lines(&t.slab) * t.slab.rows;
    double *sums[2] = {malloc(n_p * sizeof(double)), malloc(n_p * sizeof(double))};
    float *back[2] = {malloc(n_x * sizeof(float)), malloc(n_x * sizeof(float))};
    run_parts(&one, &t.slab, 1, whole, sums[0], back[0]);
    run_parts(&three, &t.slab, 4, parts, sums[1], back[1]);
    if (memcmp(sums[0], sums[1], n_p * sizeof(double)) != 0)
        fail_msg("%s, %s: sums depend on the shares", one.name, c->name);
    if (memcmp(back[0], back[1], n_x * sizeof(float)) != 0)
        fail_msg("%s, %s: back: rows depend on the shares", one.name, c->name);
    vec x = new_vec(&three, tr_volume_lines(&t.slab), t.slab.rows);
    vec p = new_vec(&three, tr_projection_lines(&t.slab), t.slab.p_rows);
    randomize(&three, &x, 21, -0.5f);
    assert_int_equal(three.backend->project(three.device, &t.slab, NULL, &x.on, &p.on),
                     TR_OK);
    to_host(&three, &p);
    compare(one.name, "sums", p.host, sums[0], p.n);
    free_vec(&three, &x);
    free_vec(&three, &p);
    for (int k = 0; k < 2; k++)
        free(sums[k]), free(back[k]);
    close_backend(&one);
    close_backend(&three);
}

static void test_shared_rows(void **state)
{
    (void)state;
    for (int i = 0; i < N_VARIANTS; i++)
        for (size_t k = 0; is_cpu() && k < N_CASES; k++)
            if (cases[k].first == 0 && cases[k].p_rows > 32)
                check_shared(i, &cases[k]);
}

/* ---- threads ---- */

static void run_both(const fixture *f, const tr_slab *s, float *to)
{
    vec x = new_vec(f, tr_volume_lines(s), s->rows);
    vec p = new_vec(f, tr_projection_lines(s), s->p_rows);
    randomize(f, &x, 5, -0.5f);
    assert_int_equal(f->backend->project(f->device, s, NULL, &x.on, &p.on), TR_OK);
    assert_int_equal(f->backend->backproject(f->device, s, NULL, &p.on, &x.on), TR_OK);
    to_host(f, &x);
    to_host(f, &p);
    memcpy(to, x.host, x.n * sizeof *to);
    memcpy(to + x.n, p.host, p.n * sizeof *to);
    free_vec(f, &x);
    free_vec(f, &p);
}

static void test_threads(void **state)
{
    (void)state;
    for (int i = 0; i < N_VARIANTS && is_cpu(); i++)
        for (size_t k = 0; k < N_CASES; k++) {
            coupled_slab t;
            fixture one, three;
            if (!open_variant(&one, i, 1))
                continue;
            assert_true(open_variant(&three, i, 3));
            make_slab(&cases[k], &t);
            size_t n = tr_projection_lines(&t.slab) * t.slab.p_rows +
                       tr_volume_lines(&t.slab) * t.slab.rows;
            float *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b);
            run_both(&one, &t.slab, a);
            run_both(&three, &t.slab, b);
            if (memcmp(a, b, n * sizeof *a) != 0)
                fail_msg("%s, %s: depends on threads", one.name, cases[k].name);
            free(a);
            free(b);
            close_backend(&one);
            close_backend(&three);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference), cmocka_unit_test(test_adjoint),
        cmocka_unit_test(test_zeros),     cmocka_unit_test(test_shared_rows),
        cmocka_unit_test(test_threads),
    };
    int missing = backend_missing();
    return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
