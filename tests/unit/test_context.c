/* The vectors that an algorithm takes: as many as it wants, each its own, and the same
 * memory again for the next slab. */
#include "tests/unit/backend_fixture.h"

#include "common/algorithms/algorithm.h"

enum { N_VECTORS = 33, N_X = 3, N_Z = 2, ROWS = TR_LANES };

typedef struct problem {
    fixture f;
    tr_ray ray;
    tr_slab slab;
    tr_linop A;
    tr_history history;
    tr_context c;
} problem;

static int set_up(void **state)
{
    problem *p = calloc(1, sizeof *p);
    p->f = open_first(1);
    p->ray = (tr_ray){.ux = 1.0, .vy = 1.0};
    p->slab = (tr_slab){.n_views = 1,
                        .n_u = N_X,
                        .n_x = N_X,
                        .n_z = N_Z,
                        .rows = ROWS,
                        .p_rows = ROWS,
                        .rays = &p->ray};
    p->A = (tr_linop){
        .backend = p->f.backend, .device = p->f.device, .slab = &p->slab, .n_rows = ROWS};
    p->c = (tr_context){.A = &p->A, .history = &p->history};
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    problem *p = *state;
    close_backend(&p->f);
    free(p);
    return 0;
}

static void take(problem *p, size_t n, tr_vec *v)
{
    for (size_t k = 0; k < n; k++) {
        assert_int_equal(tr_new_volume(&p->c, &v[k]), TR_OK);
        assert_int_equal(v[k].lines, N_X * N_Z);
        assert_int_equal(v[k].rows, ROWS);
        assert_int_equal(TR_VECTOR(&p->c, fill, &v[k], (float)k + 1.0f), TR_OK);
    }
}

/* No vector lies in another one. */
static void expect_own(problem *p, size_t n, const tr_vec *v)
{
    for (size_t k = 0; k < n; k++) {
        double sum;
        assert_int_equal(TR_VECTOR(&p->c, dot, &v[k], &v[k], &sum), TR_OK);
        assert_true(sum == (double)((k + 1) * (k + 1) * N_X * N_Z * ROWS));
    }
}

static void test_more_than_a_few_vectors(void **state)
{
    problem *p = *state;
    tr_vec first[N_VECTORS], again[2 * N_VECTORS];
    take(p, N_VECTORS, first);
    expect_own(p, N_VECTORS, first);
    assert_int_equal(p->c.n_volumes, N_VECTORS);
    tr_context_next(&p->c);
    take(p, 2 * N_VECTORS, again);
    expect_own(p, 2 * N_VECTORS, again);
    for (size_t k = 0; k < N_VECTORS; k++)
        assert_ptr_equal(again[k].data, first[k].data);
    tr_context_end(&p->c);
    assert_int_equal(p->c.n_owned, 0);
    take(p, 1, first); /* and anew after the end */
    tr_context_end(&p->c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_more_than_a_few_vectors, set_up, tear_down),
    };
    int missing = backend_missing();
    return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
