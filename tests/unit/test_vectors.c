/* A backend's memory, copies and vector operations against double precision. */
#include <pthread.h>

#include "backend_fixture.h"

/* ---- value by value, and sums ---- */

/* x and w are as they were made, y as the operation left it, old as y was. */
typedef struct operands {
    vec x, y, w, all; /* w: one per line; all: one per value */
    float *old;
} operands;

static void reset(const fixture *f, operands *o)
{
    randomize(f, &o->x, 20, 0.0f);
    randomize(f, &o->y, 21, -0.5f);
    randomize(f, &o->w, 22, 0.0f);
    randomize(f, &o->all, 23, 0.0f);
    memcpy(o->old, o->y.host, o->y.n * sizeof *o->old);
}

static void check_vectors(const fixture *f, size_t lines, size_t rows)
{
    const tr_backend *b = f->backend;
    operands o = {.x = new_vec(f, lines, rows),
                  .y = new_vec(f, lines, rows),
                  .w = new_vec(f, lines, 1),
                  .all = new_vec(f, lines, rows)};
    const float *x, *w, *all, *old;
    o.old = malloc(o.y.n * sizeof *o.old);
    x = o.x.host, w = o.w.host, all = o.all.host, old = o.old;
#define EXPECT(call, expression)                                                         \
    do {                                                                                 \
        reset(f, &o);                                                                    \
        assert_int_equal(b->call, TR_OK);                                                \
        to_host(f, &o.y);                                                                \
        for (size_t i = 0; i < o.y.n; i++)                                               \
            if (!(fabs(o.y.host[i] - (expression)) <= 1e-6))                             \
                fail_msg(#call ": %g, not %g", o.y.host[i], (double)(expression));       \
    } while (0)
    EXPECT(fill(f->device, &o.y.on, 2.5f), 2.5);
    EXPECT(copy(f->device, &o.x.on, &o.y.on), x[i]);
    EXPECT(axpy(f->device, 3.0f, &o.x.on, &o.y.on), old[i] + 3.0 * x[i]);
    EXPECT(xpay(f->device, &o.x.on, -2.0f, &o.y.on), x[i] - 2.0 * old[i]);
    EXPECT(clamp(f->device, 0.1f, &o.y.on), fmax(old[i], 0.1f));
    EXPECT(shrink(f->device, 0.2f, &o.y.on),
           copysign(fmax(fabs(old[i]) - 0.2f, 0.0), old[i]));
    EXPECT(mul_lines(f->device, &o.w.on, &o.y.on), old[i] * w[i / rows]);
    EXPECT(mul_lines(f->device, &o.all.on, &o.y.on), old[i] * all[i]);
    EXPECT(axpy_lines(f->device, 0.7f, &o.w.on, &o.x.on, &o.y.on),
           old[i] + 0.7 * w[i / rows] * x[i]);
    EXPECT(axpy_lines(f->device, 0.7f, &o.all.on, &o.x.on, &o.y.on),
           old[i] + 0.7 * all[i] * x[i]);
    EXPECT(invert_guarded(f->device, 0.25f, &o.y.on), old[i] > 0.25f ? 1.0 / old[i] : 0);
#undef EXPECT
    reset(f, &o);
    double sum, exact = host_dot(&o.x, &o.y), bound = 1e-9 + 1e-13 * (double)o.y.n;
    assert_int_equal(b->dot(f->device, &o.x.on, &o.y.on, &sum), TR_OK);
    assert_true(fabs(sum - exact) < bound);
    free(o.old);
    free_vec(f, &o.x);
    free_vec(f, &o.y);
    free_vec(f, &o.w);
    free_vec(f, &o.all);
}

static void test_vectors(void **state)
{
    (void)state;
    fixture f = open_first(3);
    check_vectors(&f, 37, 16);
    check_vectors(&f, 5, 1);    /* weights: any number of them */
    check_vectors(&f, 1031, 1); /* a prime number */
    check_vectors(&f, 3, 1040);
    check_vectors(&f, 700, 32);
    close_backend(&f);
}

/* Longer than all threads of a sum together, at a length with a rest. */
static void test_long_sums(void **state)
{
    (void)state;
    enum { N = 4200011 };
    fixture f = open_first(2);
    vec x = new_vec(&f, N, 1);
    double sum, again;
    long double absolute = 0.0L;
    randomize(&f, &x, 24, -0.5f);
    for (size_t i = 0; i < N; i++)
        absolute += fabs(x.host[i]);
    double squares = host_dot(&x, &x);
    assert_int_equal(f.backend->dot(f.device, &x.on, &x.on, &sum), TR_OK);
    assert_true(fabs(sum - squares) < 1e-12 * squares);
    assert_int_equal(f.backend->dot(f.device, &x.on, &x.on, &again), TR_OK);
    assert_true(again == sum);
    assert_int_equal(f.backend->sum_lengths(f.device, &x.on, NULL, NULL, &sum), TR_OK);
    assert_true(fabsl(sum - absolute) < 1e-12L * absolute);
    free_vec(&f, &x);
    close_backend(&f);
}

/* ---- rows of projections ---- */

/* All views, or some; `sums` are added to. */
static void check_row_squares(const fixture *f, const tr_slab *s, const tr_subset *views,
                              const vec *p)
{
    size_t rows = s->rows, lines = s->n_u + TR_GUARDS;
    double sums[rows];
    for (size_t r = 0; r < rows; r++)
        sums[r] = 0.5;
    assert_int_equal(f->backend->row_squares(f->device, s, views, &p->on, sums), TR_OK);
    for (size_t r = 0; r < rows; r++) {
        double wanted = 0.5;
        for (size_t k = 0; k < (views ? views->n : s->n_views); k++) {
            size_t view = views ? views->views[k] : k;
            for (size_t l = view * lines; l < (view + 1) * lines; l++)
                wanted += pow(p->host[l * rows + r], 2);
        }
        assert_true(fabs(sums[r] - wanted) < 1e-11 * wanted);
    }
}

static void test_rows_of_projections(void **state)
{
    (void)state;
    enum { VIEWS = 101, ROWS = 48 }; /* more views than are named at a time */
    fixture f = open_first(2);
    tr_slab s = {.n_views = VIEWS, .n_u = 301, .rows = ROWS, .p_rows = ROWS};
    size_t view = (s.n_u + TR_GUARDS) * ROWS, chosen[VIEWS] = {2, 0, 100};
    tr_subset subset = {3, chosen}, none = {0, chosen};
    vec p = new_vec(&f, tr_projection_lines(&s), ROWS);
    float mask[ROWS];
    for (size_t r = 0; r < ROWS; r++)
        mask[r] = (float)(r % 2);
    randomize_projections(&f, &s, &p, 30);
    check_row_squares(&f, &s, NULL, &p);
    check_row_squares(&f, &s, &subset, &p);
    check_row_squares(&f, &s, &none, &p);

    /* View 1 is not in the subset. */
    float *before = malloc(p.n * sizeof *before);
    memcpy(before, p.host, p.n * sizeof *before);
    for (int all = 0; all < 2; all++) {
        assert_int_equal(
            f.backend->mask_rows(f.device, &s, all ? NULL : &subset, mask, &p.on), TR_OK);
        to_host(&f, &p);
        for (size_t i = 0; i < p.n; i++) {
            size_t v = i / view;
            bool hit = all || v == 0 || v == 2 || v == 100;
            assert_true(p.host[i] == before[i] * (hit ? mask[i % ROWS] : 1.0f));
        }
    }
    assert_int_equal(f.backend->mask_rows(f.device, &s, &none, mask, &p.on), TR_OK);
    free(before);
    free_vec(&f, &p);
    close_backend(&f);
}

/* A row's sum of squares is the same bytes whatever other rows there are. */
static void test_rows_are_alone(void **state)
{
    (void)state;
    enum { FEW = 16, MANY = 80 };
    fixture f = open_first(2);
    double sums[2][MANY] = {{0}};
    for (int k = 0; k < 2; k++) {
        size_t rows = k ? MANY : FEW;
        tr_slab s = {.n_views = 7, .n_u = 600, .rows = rows, .p_rows = rows};
        vec p = new_vec(&f, tr_projection_lines(&s), rows);
        for (size_t i = 0; i < p.n; i++)
            p.host[i] = (float)sin(0.7 * (double)(i / rows) + 1.3 * (double)(i % rows));
        to_device(&f, &p);
        assert_int_equal(f.backend->row_squares(f.device, &s, NULL, &p.on, sums[k]),
                         TR_OK);
        free_vec(&f, &p);
    }
    assert_memory_equal(sums[0], sums[1], FEW * sizeof(double));
    close_backend(&f);
}

/* ---- rows to the host and back ---- */

enum { LINES = 23, ROWS = 48 };

/* Put a pattern into the rows, or add it, or set them, and look at the whole vector. */
static void check_some_rows(const fixture *f, tr_rows rows)
{
    const tr_backend *b = f->backend;
    size_t n = rows.n_lines * rows.n_rows;
    vec v = new_vec(f, LINES, ROWS);
    float *old = malloc(v.n * sizeof *old), *got = malloc(n * sizeof *got), *pattern;
    assert_int_equal(b->alloc_host(f->device, n, &pattern), TR_OK); /* copied late? */
    randomize(f, &v, 40, 0.0f);
    memcpy(old, v.host, v.n * sizeof *old);
    assert_int_equal(b->get_rows(f->device, &v.on, &rows, got), TR_OK);
    for (size_t i = 0; i < n; i++) {
        size_t l = rows.line + i / rows.n_rows, r = rows.row + i % rows.n_rows;
        assert_true(got[i] == old[l * ROWS + r]);
    }
    for (int way = 0; way < 4; way++) {
        const size_t from = 5;
        to_device(f, &(vec){v.on, memcpy(v.host, old, v.n * sizeof *old), v.n});
        for (size_t i = 0; i < n; i++)
            pattern[i] = 10.0f + (float)i;
        tr_status status =
            way < 2 ? b->put_rows(f->device, &rows, pattern, way == 1, &v.on)
                    : b->set_rows(f->device, &rows, way == 2 ? &from : NULL, &v.on);
        assert_int_equal(status, TR_OK);
        memset(pattern, 0, n * sizeof *pattern); /* the caller's again */
        to_host(f, &v);
        for (size_t i = 0; i < v.n; i++) {
            size_t l = i / ROWS - rows.line, r = i % ROWS - rows.row;
            float put = 10.0f + (float)(l * rows.n_rows + r);
            float wanted = way == 0   ? put
                           : way == 1 ? old[i] + put
                           : way == 2 ? old[i / ROWS * ROWS + from]
                                      : 0.0f;
            if (l >= rows.n_lines || r >= rows.n_rows)
                wanted = old[i];
            if (v.host[i] != wanted)
                fail_msg("way %d: line %zu row %zu is %g, not %g", way, i / ROWS,
                         i % ROWS, v.host[i], wanted);
        }
    }
    free(old);
    free(got);
    b->free_host(f->device, pattern);
    free_vec(f, &v);
}

static void test_some_rows(void **state)
{
    (void)state;
    fixture f = open_first(2);
    check_some_rows(&f, (tr_rows){0, LINES, 0, ROWS});
    check_some_rows(&f, (tr_rows){3, 7, 13, 5});
    check_some_rows(&f, (tr_rows){0, LINES, ROWS - 1, 1});
    check_some_rows(&f, (tr_rows){LINES - 1, 1, 0, 40});
    check_some_rows(&f, (tr_rows){2, 20, 5, 33}); /* row 5 is set from itself */
    close_backend(&f);
}

/* More than the backend's staging memory holds at once. */
static void test_many_rows(void **state)
{
    (void)state;
    enum { MANY = 300007, OF = 64, N = 63 };
    fixture f = open_first(2);
    vec v = new_vec(&f, MANY, OF);
    const tr_rows rows = {1, MANY - 1, 1, N};
    float *host = malloc(rows.n_lines * N * sizeof *host);
    for (size_t i = 0; i < rows.n_lines * N; i++)
        host[i] = (float)(i % 16777213);
    assert_int_equal(f.backend->fill(f.device, &v.on, -1.0f), TR_OK);
    assert_int_equal(f.backend->put_rows(f.device, &rows, host, false, &v.on), TR_OK);
    memset(host, 0, rows.n_lines * N * sizeof *host);
    assert_int_equal(f.backend->get_rows(f.device, &v.on, &rows, host), TR_OK);
    for (size_t i = 0; i < rows.n_lines * N; i++)
        if (host[i] != (float)(i % 16777213))
            fail_msg("value %zu is %g", i, host[i]);
    free(host);
    free_vec(&f, &v);
    close_backend(&f);
}

/* Rows of views between two vectors and packed ones, by what copy_views says. */
static void check_views(const fixture *f, const tr_subset *views, size_t n_rows, bool add)
{
    enum { VIEWS = 5, COLUMNS = 7 + TR_GUARDS, FROM = 48, TO = 32, AT = 9, TO_AT = 3 };
    const tr_slab s = {.n_views = VIEWS, .n_u = 7, .rows = FROM, .p_rows = FROM};
    size_t n = views ? views->n : VIEWS;
    vec v = new_vec(f, VIEWS * COLUMNS, FROM), w = new_vec(f, VIEWS * COLUMNS, TO);
    vec packed = new_vec(f, VIEWS * COLUMNS * n_rows, 1);
    float *old = malloc(w.n * sizeof *old);
    randomize(f, &v, 50, 0.0f);
    randomize(f, &w, 51, 0.0f);
    memcpy(old, w.host, w.n * sizeof *old);
    const tr_view_rows from = {v.on.data, FROM, AT, false},
                       to = {w.on.data, TO, TO_AT, false};
    const tr_view_rows between = {packed.on.data, n_rows, 0, true};
    assert_int_equal(
        f->backend->copy_views(f->device, &s, views, n_rows, &from, false, &between),
        TR_OK);
    assert_int_equal(
        f->backend->copy_views(f->device, &s, views, n_rows, &between, add, &to), TR_OK);
    to_host(f, &packed);
    to_host(f, &w);
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < COLUMNS * n_rows; i++) {
            size_t view = views ? views->views[k] : k;
            size_t line = view * COLUMNS + i / n_rows, row = i % n_rows;
            float moved = v.host[line * FROM + AT + row],
                  *put = &old[line * TO + TO_AT + row];
            assert_true(packed.host[k * COLUMNS * n_rows + i] == moved);
            *put = add ? *put + moved : moved;
        }
    assert_memory_equal(w.host, old, w.n * sizeof *old);
    free(old);
    free_vec(f, &v);
    free_vec(f, &w);
    free_vec(f, &packed);
}

static void test_rows_of_views(void **state)
{
    (void)state;
    const size_t some[] = {3, 0, 4};
    const tr_subset views = {3, some};
    fixture f = open_first(2);
    for (int add = 0; add < 2; add++) {
        check_views(&f, NULL, 1, add);
        check_views(&f, NULL, 29, add);
        check_views(&f, &views, 5, add);
        check_views(&f, &views, 29, add);
    }
    close_backend(&f);
}

/* ---- memory and copies ---- */

/* In debug builds what is read before it is written is NaN. */
static void test_poison(void **state)
{
    (void)state;
#ifdef NDEBUG
    skip();
#else
    fixture f = open_first(1);
    vec v = new_vec(&f, 37, 16);
    memset(v.host, 0, v.n * sizeof *v.host);
    to_host(&f, &v);
    for (size_t i = 0; i < v.n; i++)
        assert_true(isnan(v.host[i]));
    free_vec(&f, &v);
    close_backend(&f);
#endif
}

/* Vectors come and go: what is allocated again is not what is still in use. */
static void test_allocation(void **state)
{
    (void)state;
    enum { N = 1000, VECTORS = 40 };
    fixture f = open_first(1);
    const tr_backend *b = f.backend;
    vec v[VECTORS];
    size_t bytes;
    assert_non_null(b->describe(f.device));
    assert_int_equal(b->available(f.device, &bytes), TR_OK);
    assert_true(bytes > 0 && (b->separate_memory || bytes == SIZE_MAX));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < VECTORS; i++) {
            v[i] = new_vec(&f, N + (size_t)(i % 3), 1);
            assert_int_equal(b->fill(f.device, &v[i].on, (float)i), TR_OK);
        }
        for (int i = 0; i < VECTORS; i++) {
            to_host(&f, &v[i]);
            for (size_t k = 0; k < v[i].n; k++)
                assert_true(v[i].host[k] == (float)i);
            free_vec(&f, &v[i]);
        }
    }
    float *data;
    assert_int_equal(b->alloc(f.device, SIZE_MAX / 2, &data), TR_ERR_MEMORY);
    if (b->separate_memory) {
        assert_int_equal(b->alloc(f.device, (size_t)1 << 45, &data), TR_ERR_MEMORY);
        assert_non_null(strstr(tr_error(), "not enough memory on the GPU"));
    }
    v[0] = new_vec(&f, N, 1); /* and goes on after it */
    randomize(&f, &v[0], 1, 0.0f);
    free_vec(&f, &v[0]);
    b->free(f.device, NULL);
    b->free_host(f.device, NULL);
    close_backend(&f);
}

/* More than there is: memory shared with the host. */
static void test_shared_memory(void **state)
{
    (void)state;
    fixture f = open_first(1);
    const tr_backend *b = f.backend;
    size_t bytes;
    double sum;
    assert_int_equal(b->available(f.device, &bytes), TR_OK);
    assert_int_equal(b->reserve(f.device, bytes), TR_OK);
    if (b->separate_memory) {
        assert_null(strstr(b->describe(f.device), "unified memory"));
        tr_status status = b->reserve(f.device, bytes + 1);
        if (status != TR_OK) { /* an old device */
            assert_int_equal(status, TR_ERR_MEMORY);
            print_message("[  SKIPPED ] %s\n", tr_error());
            close_backend(&f);
            return;
        }
        assert_non_null(strstr(b->describe(f.device), "unified memory"));
    }
    vec x = new_vec(&f, 100, 16);
    randomize(&f, &x, 2, 0.0f);
    assert_int_equal(b->dot(f.device, &x.on, &x.on, &sum), TR_OK);
    assert_true(fabs(sum - host_dot(&x, &x)) < 1e-9);
    free_vec(&f, &x);
    close_backend(&f);
}

/* Two threads copy, each the same values again and again, while this one computes. */
typedef struct copier {
    const fixture *f;
    vec v;
    bool up;
    size_t wrong;
} copier;

static void *copy_often(void *data)
{
    copier *c = data;
    const tr_backend *b = c->f->backend;
    float *other = malloc(c->v.n * sizeof *other); /* pageable memory */
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; c->up && i < c->v.n; i++)
            other[i] = (float)(i + (size_t)round);
        tr_status status = c->up ? b->upload(c->f->device, other, c->v.on.data, c->v.n)
                                 : b->download(c->f->device, c->v.on.data, other, c->v.n);
        c->wrong += status != TR_OK;
        for (size_t i = 0; !c->up && i < c->v.n; i++)
            c->wrong += other[i] != c->v.host[i];
    }
    for (size_t i = 0; i < c->v.n; i++)
        c->v.host[i] = other[i];
    free(other);
    return NULL;
}

static void test_copies_beside_computing(void **state)
{
    (void)state;
    enum { N = 20011 };
    fixture f = open_first(1);
    copier up = {&f, new_vec(&f, N, 1), true, 0},
           down = {&f, new_vec(&f, N, 1), false, 0};
    vec x = new_vec(&f, N, 1), y = new_vec(&f, N, 1);
    pthread_t threads[2];
    randomize(&f, &down.v, 50, 0.0f);
    randomize(&f, &x, 51, 0.0f);
    assert_int_equal(f.backend->fill(f.device, &y.on, 0.0f), TR_OK);
    assert_int_equal(pthread_create(&threads[0], NULL, copy_often, &up), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, copy_often, &down), 0);
    for (int round = 0; round < 64; round++)
        assert_int_equal(f.backend->axpy(f.device, 1.0f, &x.on, &y.on), TR_OK);
    to_host(&f, &y);
    for (int k = 0; k < 2; k++)
        pthread_join(threads[k], NULL);
    assert_int_equal(up.wrong, 0);
    assert_int_equal(down.wrong, 0);
    for (size_t i = 0; i < N; i++)
        assert_true(fabs(y.host[i] - 64.0 * x.host[i]) < 1e-4);
    to_host(&f, &up.v);
    for (size_t i = 0; i < N; i++)
        assert_true(up.v.host[i] == (float)(i + 19));
    free_vec(&f, &up.v);
    free_vec(&f, &down.v);
    free_vec(&f, &x);
    free_vec(&f, &y);
    close_backend(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_long_sums),
        cmocka_unit_test(test_rows_of_projections),
        cmocka_unit_test(test_rows_are_alone),
        cmocka_unit_test(test_some_rows),
        cmocka_unit_test(test_rows_of_views),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_allocation),
        cmocka_unit_test(test_shared_memory),
        cmocka_unit_test(test_copies_beside_computing),
    };
    int missing = backend_missing();
    return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
