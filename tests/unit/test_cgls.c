/* CGLS on an operator small enough to know the answer: the example of a unit test in the
 * manual's chapter on writing an algorithm. Every row has the same dense matrix. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/algorithms/algorithm.h"

enum { N_X = 4, N_U = 6, ROWS = TR_LANES, IN_USE = 3, COLUMNS = N_U + TR_GUARDS };

/* No symmetry, full rank. */
static const double matrix[N_U][N_X] = {{2, -1, 0, 1}, {0, 3, 1, 0},  {1, 0, -2, 1},
                                        {1, 1, 1, 1},  {0, 0, 1, -1}, {-1, 2, 0, 4}};

static tr_status forward(const tr_linop *A, const tr_subset *views, const tr_vec *x,
                         tr_vec *p)
{
    (void)A, (void)views;
    for (size_t u = 0; u < N_U; u++)
        for (size_t r = 0; r < ROWS; r++) {
            double sum = 0.0;
            for (size_t i = 0; i < N_X; i++)
                sum += matrix[u][i] * (double)x->data[i * ROWS + r];
            p->data[(u + 1) * ROWS + r] = (float)sum;
        }
    return TR_OK;
}

static tr_status adjoint(const tr_linop *A, const tr_subset *views, const tr_vec *p,
                         tr_vec *x)
{
    (void)A, (void)views;
    for (size_t i = 0; i < N_X; i++)
        for (size_t r = 0; r < ROWS; r++) {
            double sum = 0.0;
            for (size_t u = 0; u < N_U; u++)
                sum += matrix[u][i] * (double)p->data[(u + 1) * ROWS + r];
            x->data[i * ROWS + r] = (float)sum;
        }
    return TR_OK;
}

/* Weights that are not sums of this matrix: positive, and different for each unknown, so
 * that the metric is not the plain one. */
static tr_status row_sums(const tr_linop *A, const tr_subset *views, tr_vec *p)
{
    (void)views;
    return A->backend->fill(A->device, p, 1.0f);
}

static tr_status col_sums(const tr_linop *A, const tr_subset *views, tr_vec *x)
{
    (void)A, (void)views;
    for (size_t i = 0; i < x->lines; i++)
        x->data[i] = 1.0f + 0.5f * (float)i;
    return TR_OK;
}

static const tr_linop_ops ops = {
    .forward = forward, .adjoint = adjoint, .row_sums = row_sums, .col_sums = col_sums};
static const tr_slab slab = {
    .n_views = 1, .n_u = N_U, .n_x = N_X, .n_z = 1, .rows = ROWS, .p_rows = ROWS};

typedef struct problem {
    tr_linop A;
    tr_history history;
    tr_vec b, x, gradient;
} problem;

static void new_vector(problem *p, size_t lines, tr_vec *v)
{
    *v = (tr_vec){.lines = lines, .rows = ROWS};
    assert_int_equal(p->A.backend->alloc(p->A.device, lines * ROWS, &v->data), TR_OK);
    assert_int_equal(p->A.backend->fill(p->A.device, v, 0.0f), TR_OK);
}

static int set_up(void **state)
{
    problem *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->A = (tr_linop){.ops = &ops, .slab = &slab, .n_rows = IN_USE};
    p->A.backend = tr_backend_find("cpu");
    assert_int_equal(
        p->A.backend->open(&(tr_backend_settings){.threads = 1}, &p->A.device), TR_OK);
    new_vector(p, COLUMNS, &p->b);
    new_vector(p, N_X, &p->x);
    new_vector(p, N_X, &p->gradient);
    for (size_t u = 0; u < N_U; u++)
        for (size_t r = 0; r < IN_USE; r++)
            p->b.data[(u + 1) * ROWS + r] =
                (float)(sin(3.0 * (double)u + (double)r) + 1.0);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    problem *p = *state;
    p->A.backend->free(p->A.device, p->b.data);
    p->A.backend->free(p->A.device, p->x.data);
    p->A.backend->free(p->A.device, p->gradient.data);
    p->A.backend->close(p->A.device);
    tr_history_free(&p->history);
    free(p);
    return 0;
}

/* Run CGLS from what x holds; the options are those a user would give. */
static void run(problem *p, bool from_zero, const char *iterations, const char *tolerance)
{
    const tr_algorithm *cgls = tr_algorithm_find("cgls");
    assert_non_null(cgls);
    void *params = calloc(1, cgls->params_size);
    const tr_option_group group = {cgls->name, cgls->options, cgls->n_options, params};
    char *arguments[] = {
        "test", "-i", (char *)iterations, "--tolerance", (char *)tolerance, NULL};
    tr_command_line line;
    assert_int_equal(tr_options_parse(&group, 1, "SERIES", 5, arguments, &line), TR_OK);
    tr_context c = {.A = &p->A, .starts_at_zero = from_zero, .history = &p->history};
    assert_int_equal(cgls->run(&c, params, &p->b, &p->x), TR_OK);
    tr_context_end(&c);
    tr_command_line_free(&line);
    free(params);
}

/* The largest component of A^T (b - A x), worked out here. */
static double gradient_of(problem *p)
{
    double largest = 0.0;
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < N_X; i++) {
            double sum = 0.0;
            for (size_t u = 0; u < N_U; u++) {
                double left = p->b.data[(u + 1) * ROWS + r];
                for (size_t k = 0; k < N_X; k++)
                    left -= matrix[u][k] * (double)p->x.data[k * ROWS + r];
                sum += matrix[u][i] * left;
            }
            largest = fmax(largest, fabs(sum));
        }
    return largest;
}

/* A^T A has N_X eigenvalues, whatever the number of rows. */
static void test_as_many_iterations_as_unknowns_solve(void **state)
{
    problem *p = *state;
    double before = gradient_of(p);
    run(p, true, "3", "0");
    assert_true(gradient_of(p) > 1e-3 * before);
    assert_int_equal(tr_backend_find("cpu")->fill(p->A.device, &p->x, 0.0f), TR_OK);
    run(p, true, "4", "0");
    assert_true(gradient_of(p) < 1e-5 * before);
}

static void test_the_start_is_used(void **state)
{
    problem *p = *state;
    double before = gradient_of(p);
    run(p, true, "4", "0");
    for (size_t i = 0; i < N_X; i++)
        for (size_t r = 0; r < IN_USE; r++)
            p->x.data[i * ROWS + r] += 1e-3f * (float)(i + r);
    run(p, false, "4", "0");
    assert_true(gradient_of(p) < 1e-5 * before);
}

static void test_residuals_fall_until_the_tolerance(void **state)
{
    problem *p = *state;
    const double limit = 0.65 * 0.65;
    p->A.n_rows = 1; /* each row stops by itself */
    run(p, true, "100", "0.65");
    size_t n = p->history.n;
    const double *squares = p->history.squares;
    assert_true(n >= 2 && n <= N_X);
    assert_true(fabs(squares[0] / p->history.data_squares - 1.0) < 1e-6);
    for (size_t k = 1; k < n; k++)
        assert_true(squares[k] < squares[k - 1]);
    assert_true(squares[n - 1] <= limit * p->history.data_squares);
    assert_true(squares[n - 2] > limit * p->history.data_squares);
}

static void test_nothing_to_do(void **state)
{
    problem *p = *state;
    assert_int_equal(p->A.backend->fill(p->A.device, &p->b, 0.0f), TR_OK);
    run(p, true, "5", "0");
    for (size_t i = 0; i < N_X * ROWS; i++)
        assert_true(p->x.data[i] == 0.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_as_many_iterations_as_unknowns_solve, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_the_start_is_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_residuals_fall_until_the_tolerance, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_to_do, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
