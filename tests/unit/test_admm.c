/* ADMM on a tiny problem against another method in double; and what it promises besides:
 * its log, its residuals, the same result with any rho, start and number of processes. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/algorithms/algorithm.h"
#include "common/base/log.h"
#include "admm_reference.h"

extern const tr_algorithm tr_algorithm_admm;

/* ---- ADMM ---- */

/* Rows [first, first + rows) of the problem as one process of several sees them. */
typedef struct share {
    const problem *p;
    struct meeting *with;
    int rank, size;
    size_t first, rows;
    int argc;
    char **argv;
    double *x; /* of all rows: what ADMM starts from and makes */
    bool starts_at_zero;
    tr_history history;
    size_t vectors;
} share;

/* Where the processes, which are threads, exchange numbers. */
typedef struct meeting {
    pthread_barrier_t barrier;
    const double *values[2];
    const tr_vec *vectors[2];
    size_t rows[2];
} meeting;

static tr_status forward(const tr_linop *A, const tr_subset *v, const tr_vec *x,
                         tr_vec *p)
{
    return A->backend->project(A->device, A->slab, v, x, p);
}

static tr_status adjoint(const tr_linop *A, const tr_subset *v, const tr_vec *p,
                         tr_vec *x)
{
    return A->backend->backproject(A->device, A->slab, v, p, x);
}

static tr_status row_sums(const tr_linop *A, const tr_subset *v, tr_vec *p)
{
    return A->backend->row_sums(A->device, A->slab, v, p);
}

/* In the order of the rows: those of the first share, then those of the second. */
static tr_status total(const tr_linop *A, const double *rows, size_t n, double *values)
{
    const share *s = A->self;
    s->with->values[s->rank] = rows;
    s->with->rows[s->rank] = s->rows;
    pthread_barrier_wait(&s->with->barrier);
    for (size_t k = 0; k < n; k++) {
        values[k] = 0.0;
        for (int other = 0; other < s->size; other++)
            for (size_t r = 0, m = s->with->rows[other]; r < m; r++)
                values[k] += s->with->values[other][k * m + r];
    }
    pthread_barrier_wait(&s->with->barrier);
    return TR_OK;
}

static tr_status neighbour(const tr_linop *A, bool above, const tr_vec *x, float *row,
                           bool *exists)
{
    const share *s = A->self;
    int other = s->rank + (above ? 1 : -1);
    s->with->vectors[s->rank] = x;
    s->with->rows[s->rank] = s->rows;
    pthread_barrier_wait(&s->with->barrier);
    *exists = other >= 0 && other < s->size;
    for (size_t l = 0; *exists && l < LINES; l++)
        row[l] = s->with->vectors[other]
                     ->data[l * LANES + (above ? 0 : s->with->rows[other] - 1)];
    pthread_barrier_wait(&s->with->barrier);
    return TR_OK;
}

static const tr_linop_ops whole = {.forward = forward,
                                   .adjoint = adjoint,
                                   .row_sums = row_sums,
                                   .total = total,
                                   .neighbour = neighbour};

static void copy_in(const share *s, tr_vec *b, tr_vec *x)
{
    memset(b->data, 0, IMAGES * sizeof(float));
    memset(x->data, 0, (size_t)LINES * LANES * sizeof(float));
    for (size_t r = 0; r < s->rows; r++) {
        for (size_t c = 0; c < COLUMNS; c++)
            b->data[(c / N_U * (N_U + TR_GUARDS) + c % N_U + 1) * LANES + r] =
                (float)s->p->b[c][s->first + r];
        for (size_t l = 0; l < LINES && !s->starts_at_zero; l++)
            x->data[l * LANES + r] = (float)s->x[l * ROWS + s->first + r];
    }
}

static void *run_share(void *argument)
{
    share *s = argument;
    tr_linop A = {.ops = &whole, .self = s, .slab = &s->p->slab, .n_rows = s->rows};
    A.tilt = s->p->geometry.tilt;
    A.backend = tr_backend_find("cpu");
    tr_vec b = {.lines = IMAGES / LANES, .rows = LANES},
           x = {.lines = LINES, .rows = LANES};
    void *params = calloc(1, tr_algorithm_admm.params_size);
    tr_option_group group = {"ADMM", tr_algorithm_admm.options,
                             tr_algorithm_admm.n_options, params};
    tr_command_line line;
    if (tr_options_parse(&group, 1, "SERIES", s->argc, s->argv, &line) != TR_OK ||
        A.backend->open(&(tr_backend_settings){.threads = 1}, &A.device) != TR_OK ||
        A.backend->alloc(A.device, IMAGES, &b.data) != TR_OK ||
        A.backend->alloc(A.device, (size_t)LINES * LANES, &x.data) != TR_OK)
        fail_msg("%s", tr_error());
    copy_in(s, &b, &x);
    tr_context c = {.A = &A, .starts_at_zero = s->starts_at_zero, .history = &s->history};
    assert_int_equal(tr_algorithm_admm.run(&c, params, &b, &x), TR_OK);
    size_t volumes, projections;
    tr_algorithm_admm.workspace(params, &volumes, &projections);
    assert_int_equal(c.n_owned, volumes + projections); /* the memory plan is right */
    tr_context_end(&c);
    for (size_t l = 0; l < LINES; l++)
        for (size_t r = 0; r < LANES; r++) {
            if (r < s->rows)
                s->x[l * ROWS + s->first + r] = x.data[l * LANES + r];
            else
                assert_true(x.data[l * LANES + r] == 0.0f);
        }
    A.backend->free(A.device, b.data);
    A.backend->free(A.device, x.data);
    A.backend->close(A.device);
    tr_command_line_free(&line);
    free(params);
    return NULL;
}

/* Runs ADMM on one or two processes; x is the start with `from_x`. Options as on the
 * command line. Returns the residuals' history of all processes, to be freed. */
static tr_history run_admm(const problem *p, int processes, bool from_x, double *x,
                           const char *options)
{
    char text[200], *argv[40] = {"admm"};
    int argc = 1;
    snprintf(text, sizeof text, "%s", options);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    meeting with;
    assert_int_equal(pthread_barrier_init(&with.barrier, NULL, (unsigned)processes), 0);
    share s[2];
    pthread_t thread;
    for (int k = 0; k < processes; k++)
        s[k] = (share){.p = p,
                       .with = &with,
                       .rank = k,
                       .size = processes,
                       .first = k ? 8 : 0,
                       .rows = processes == 1 ? ROWS
                               : k            ? ROWS - 8
                                              : 8,
                       .argc = argc,
                       .argv = argv,
                       .x = x,
                       .starts_at_zero = !from_x};
    if (processes > 1)
        assert_int_equal(pthread_create(&thread, NULL, run_share, &s[1]), 0);
    run_share(&s[0]);
    if (processes > 1) {
        pthread_join(thread, NULL);
        assert_int_equal(s[0].history.n, s[1].history.n);
        for (size_t k = 0; k < s[0].history.n; k++)
            s[0].history.squares[k] += s[1].history.squares[k];
        tr_history_free(&s[1].history);
    }
    pthread_barrier_destroy(&with.barrier);
    return s[0].history;
}

static double distance(const double *a, const double *b)
{
    double change = 0.0, length = 0.0;
    for (int i = 0; i < VOXELS; i++) {
        change += (a[i] - b[i]) * (a[i] - b[i]);
        length += b[i] * b[i];
    }
    assert_true(length > 0.0);
    return sqrt(change / length);
}

/* ---- the tests ---- */

static const double lambdas[] = {0.15, 1.2, 0.5};

/* From each start, with each rho and relaxation: one minimum. */
static void test_minimum(void **state)
{
    (void)state;
    static const char *const ways[] = {"--rho 1 --relaxation 1.6", "--rho 8"};
    problem *p = make_problem();
    double wanted[VOXELS], x[VOXELS], unlimited[VOXELS];
    for (kind which = TV; which <= HAAR; which++)
        for (int positive = 0; positive < 2; positive++) {
            solve(p, which, lambdas[which], positive, wanted);
            if (positive)
                assert_true(distance(wanted, unlimited) > 0.05);
            memcpy(unlimited, wanted, sizeof unlimited);
            for (int way = 0; way < 2; way++) {
                char options[200];
                snprintf(options, sizeof options,
                         "--regularizer %s --lambda %g %s -i 1500 --cg 25 %s",
                         names[which], lambdas[which], positive ? "--positive" : "",
                         ways[way]);
                tr_history history = run_admm(p, 1, way == 1, x, options);
                tr_history_free(&history);
                double error = distance(x, wanted);
                if (!(error < 1e-4))
                    fail_msg("%s: %.1e from the reference", options, error);
                for (int i = 0; i < VOXELS && positive; i++)
                    assert_true(x[i] >= 0.0);
            }
        }
    free_problem(p);
}

/* Standard error of a run, whose lines tr_verbose writes, in text. */
static size_t run_and_read(const problem *p, int processes, double *x,
                           const char *options, char *text, size_t size)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stderr);
    int kept = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    tr_log_setup(TR_LOG_VERBOSE, true, "test");
    tr_history history = run_admm(p, processes, false, x, options);
    tr_log_setup(TR_LOG_QUIET, true, "test");
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
    size_t iterations = history.n;
    tr_history_free(&history);
    return iterations;
}

/* The objective logged is that of the result, and never rises: weights are tried at which
 * that of ADMM's own x does. */
static void test_objective(void **state)
{
    (void)state;
    static const struct {
        kind which;
        double lambda;
        const char *others;
    } runs[] = {{TV, 0.15, ""},
                {TV, 0.7, "--rho 3"},
                {TV, 0.7, "--rho 8 --positive"},
                {L1, 0.3, ""},
                {L1, 0.7, ""},
                {L1, 1.0, "--positive"},
                {HAAR, 0.5, "--relaxation 1.8"},
                {HAAR, 1.0, "--positive"}};
    problem *p = make_problem();
    static char text[100000];
    double x[VOXELS];
    for (size_t run = 0; run < sizeof runs / sizeof *runs; run++) {
        kind which = runs[run].which;
        char options[200];
        snprintf(options, sizeof options, "--regularizer %s --lambda %g -i 40 --cg 25 %s",
                 names[which], runs[run].lambda, runs[run].others);
        run_and_read(p, 1, x, options, text, sizeof text);
        double value = 0.0, before = INFINITY, first = 0.0;
        int n = 0;
        for (char *at = text; (at = strstr(at, "objective ")); n++) {
            value = strtod(at += strlen("objective "), NULL);
            if (value > before * (1.0 + 3e-7))
                fail_msg("%s: the objective rises to %.9g from %.9g", options, value,
                         before);
            before = fmin(before, value);
            first = n ? first : value;
        }
        assert_int_equal(n, 40);
        assert_true(first > 1.0005 * value);
        double wanted = objective(p, which, runs[run].lambda, x);
        if (!(fabs(value - wanted) < 1e-6 * wanted))
            fail_msg("%s: logged %.9g, really %.9g", options, value, wanted);
    }
    free_problem(p);
}

/* It stops at the first iteration whose residuals, both, have reached the tolerance. */
static void test_tolerance(void **state)
{
    (void)state;
    problem *p = make_problem();
    static char text[100000];
    double x[VOXELS], primal = 1.0, dual = 1.0;
    size_t n = 0, iterations = run_and_read(p, 1, x, "-i 500 --cg 20 --tolerance 2e-3",
                                            text, sizeof text);
    for (char *at = text; (at = strstr(at, "primal ")); n++) {
        assert_true(primal > 2e-3 || dual > 2e-3);
        assert_int_equal(sscanf(at, "primal %lf dual %lf", &primal, &dual), 2);
        at++;
    }
    assert_true(primal <= 2e-3 && dual <= 2e-3);
    assert_true(n == iterations && n > 5 && n < 500);
    free_problem(p);
}

/* The first x-step, from an x that is not 0: the exact minimum in a few steps. */
static void test_conjugate_gradients(void **state)
{
    (void)state;
    problem *p = make_problem();
    double x[VOXELS], wanted[VOXELS], start[VOXELS], lambda = 1.0;
    for (int i = 0; i < VOXELS; i++) {
        x[i] = start[i] = (float)(0.2 * noise(i));
        double z = copysign(fmax(fabs(x[i]) - lambda * TAU, 0.0), x[i]);
        wanted[i] = 2.0 * z - x[i]; /* z - u, where u = x - z */
    }
    data_step(p, wanted);
    char options[100];
    snprintf(options, sizeof options, "--regularizer l1 --lambda %g --rho %g -i 1 --cg 6",
             lambda, 1.0 / TAU);
    tr_history history = run_admm(p, 1, true, x, options);
    tr_history_free(&history);
    assert_true(distance(start, wanted) > 0.1);
    assert_true(distance(x, wanted) < 2e-6);
    free_problem(p);
}

/* The residual before each iteration is that of the x of one iteration less. */
static void test_history(void **state)
{
    (void)state;
    problem *p = make_problem();
    double x[VOXELS], d[COLUMNS][ROWS];
    for (int from_x = 0; from_x < 2; from_x++)
        for (int n = from_x ? 0 : 1; n < 3; n++) { /* of a layer before, if not from x */
            char options[40];
            for (int i = 0; i < VOXELS; i++)
                x[i] = from_x ? (float)truth(i / 6 % 8, i % 6, i % 11) : 0.0;
            snprintf(options, sizeof options, "-i %d", n);
            if (n) {
                tr_history history = run_admm(p, 1, from_x, x, options);
                tr_history_free(&history);
            }
            double sum = 0.0;
            residual(p, x, d);
            for (int c = 0; c < COLUMNS; c++)
                for (int r = 0; r < ROWS; r++)
                    sum += d[c][r] * d[c][r];
            for (int i = 0; i < VOXELS; i++)
                x[i] = from_x ? (float)truth(i / 6 % 8, i % 6, i % 11) : 0.0;
            tr_history history = run_admm(p, 1, from_x, x, "-i 4");
            assert_int_equal(history.n, 4);
            assert_true(fabs(history.squares[n] - sum) < 1e-5 * sum);
            tr_history_free(&history);
        }
    free_problem(p);
}

static double last_objective(char *text)
{
    double value = 0.0;
    for (char *at = text; (at = strstr(at, "objective ")); at++)
        value = strtod(at + strlen("objective "), NULL);
    return value;
}

/* Two processes, a seam between rows 7 and 8, weights and rho as chosen. */
static void test_processes(void **state)
{
    (void)state;
    problem *p = make_problem();
    double one[VOXELS], two[VOXELS];
    for (kind which = TV; which <= HAAR; which++) {
        char options[200];
        snprintf(options, sizeof options, "--positive --regularizer %s", names[which]);
        tr_history a = run_admm(p, 1, false, one, options);
        tr_history b = run_admm(p, 2, false, two, options);
        assert_true(distance(two, one) < 1e-5);
        assert_true(a.n == 20 && b.n == 20);
        for (size_t k = 0; k < a.n; k++)
            assert_true(fabs(a.squares[k] - b.squares[k]) < 1e-5 * a.squares[k]);
        tr_history_free(&a);
        tr_history_free(&b);
        static char text[2][100000];
        run_and_read(p, 1, one, options, text[0], sizeof text[0]);
        run_and_read(p, 2, two, options, text[1], sizeof text[1]);
        double wanted = last_objective(text[0]);
        assert_true(fabs(last_objective(text[1]) - wanted) < 1e-5 * wanted);
    }
    free_problem(p);
}

/* What the best homogeneous volume leaves: the deviation of b - layer A 1. */
static double layer_deviation(const problem *p)
{
    double b = 0.0, a = 0.0, sum = 0.0, squares = 0.0, lengths[COLUMNS];
    for (int c = 0; c < COLUMNS; c++) {
        lengths[c] = 0.0;
        for (int l = 0; l < LINES; l++)
            lengths[c] += p->A[c][l];
        a += ROWS * lengths[c];
        for (int r = 0; r < ROWS; r++)
            b += p->b[c][r];
    }
    for (int c = 0; c < COLUMNS; c++)
        for (int r = 0; r < ROWS; r++) {
            double left = p->b[c][r] - b / a * lengths[c];
            sum += left;
            squares += left * left;
        }
    double n = COLUMNS * ROWS;
    return sqrt(squares / n - sum * sum / n / n);
}

/* What is chosen where nothing is given goes with the data's unit. */
static void test_chosen_weights(void **state)
{
    (void)state;
    problem *p = make_problem();
    static char text[100000];
    double x[VOXELS], lambda[2], rho[2], squares = 0.0, deviation = layer_deviation(p);
    for (int v = 0; v < VIEWS; v++)
        squares += cos(p->geometry.tilt[v]) * cos(p->geometry.tilt[v]);
    for (int k = 0; k < 2; k++) {
        run_and_read(p, 1, x, "-i 1 --regularizer haar", text, sizeof text);
        assert_int_equal(
            sscanf(text, "%*[^l]lambda %lf (chosen), rho %lf", &lambda[k], &rho[k]), 2);
        for (int c = 0; c < COLUMNS; c++)
            for (int r = 0; r < ROWS; r++)
                p->b[c][r] = (float)(3.0 * p->b[c][r]);
    }
    double right = 4.0 * sqrt(2.0 / 3.0 * squares) / N_Z * 0.15 * deviation;
    assert_true(fabs(lambda[0] - right) < 1e-3 * right);
    assert_true(fabs(lambda[1] - 3.0 * lambda[0]) < 1e-4 * lambda[1]);
    assert_true(fabs(rho[0] - 0.05 * VIEWS) < 1e-5 && rho[1] == rho[0]);
    free_problem(p);
}

int main(void)
{
    tr_log_setup(TR_LOG_QUIET, true, "test");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_minimum),        cmocka_unit_test(test_objective),
        cmocka_unit_test(test_tolerance),      cmocka_unit_test(test_conjugate_gradients),
        cmocka_unit_test(test_history),        cmocka_unit_test(test_processes),
        cmocka_unit_test(test_chosen_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
