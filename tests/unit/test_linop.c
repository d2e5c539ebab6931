/* Operators made of operators against products and sums of explicit matrices in double,
 * on every backend: the projector, one that works on images and one on the volume. */
#include "backend_fixture.h"
#include "common/algorithms/algorithm.h"
#include "linop_fixture.h"
#include "linop_reference.h"
#include "operator_reference.h"

typedef struct problem {
    fixture f;
    tr_ray rays[VIEWS];
    tr_slab slab;
    tr_linop A, B, M;                       /* projects; on images; on the volume */
    vec left, right, left_each, right_each; /* weights per line and per value */
    int filtered;                           /* how often A was asked to */
} problem;

/* ---- the parts, in float through the backend, and their matrices ---- */

static tr_status row_sums(const tr_linop *A, const tr_subset *views, tr_vec *p)
{
    return A->backend->row_sums(A->device, A->slab, views, p);
}

static tr_status col_sums(const tr_linop *A, const tr_subset *views, tr_vec *x)
{
    return A->backend->col_sums(A->device, A->slab, views, x);
}

static tr_status count_filter(const tr_linop *A, const tr_filter *filter, tr_vec *p)
{
    ((problem *)A->self)->filtered += !filter && !p;
    return TR_OK;
}

static bool chosen(const tr_subset *views, size_t view)
{
    bool found = !views;
    for (size_t k = 0; views && k < views->n; k++)
        found = found || views->views[k] == view;
    return found;
}

static void b_host(bool back, const tr_subset *views, const float *in, float *out)
{
    for (size_t line = 0; line < VIEWS * LINE; line++)
        for (size_t r = 0; r < ROWS && chosen(views, line / LINE); r++) {
            size_t to = line % LINE - 1, first = line / LINE * LINE + 1;
            double sum = 0.0;
            for (size_t u = 0; u < N_U && to < N_U; u++)
                sum +=
                    (back ? b_weight(line / LINE, u, to) : b_weight(line / LINE, to, u)) *
                    in[(first + u) * ROWS + r];
            out[line * ROWS + r] = (float)sum;
        }
}

static void m_host(bool back, const tr_subset *views, const float *in, float *out)
{
    (void)views;
    for (size_t i = 0; i < NV; i++)
        for (size_t r = 0; r < ROWS; r++) {
            double sum = 0.0;
            for (size_t j = 0; j < NV; j++)
                sum += (back ? m_weight(j, i) : m_weight(i, j)) * in[j * ROWS + r];
            out[i * ROWS + r] = (float)sum;
        }
}

static tr_status on_host(const tr_linop *A, bool back, const tr_subset *views,
                         const tr_vec *x, tr_vec *p,
                         void (*run)(bool, const tr_subset *, const float *, float *))
{
    size_t n = x->lines * x->rows;
    float *in, *out;
    TR_TRY(A->backend->alloc_host(A->device, n, &in));
    TR_TRY(A->backend->alloc_host(A->device, n, &out));
    TR_TRY(A->backend->wait(A->device));
    TR_TRY(A->backend->download(A->device, x->data, in, n));
    TR_TRY(A->backend->download(A->device, p->data, out, n));
    run(back, views, in, out);
    TR_TRY(A->backend->upload(A->device, out, p->data, n));
    A->backend->free_host(A->device, in);
    A->backend->free_host(A->device, out);
    return TR_OK;
}

static tr_status b_forward(const tr_linop *A, const tr_subset *views, const tr_vec *x,
                           tr_vec *p)
{
    return on_host(A, false, views, x, p, b_host);
}
static tr_status b_adjoint(const tr_linop *A, const tr_subset *views, const tr_vec *p,
                           tr_vec *x)
{
    return on_host(A, true, views, p, x, b_host);
}
static tr_status m_forward(const tr_linop *A, const tr_subset *views, const tr_vec *x,
                           tr_vec *p)
{
    return on_host(A, false, views, x, p, m_host);
}
static tr_status m_adjoint(const tr_linop *A, const tr_subset *views, const tr_vec *p,
                           tr_vec *x)
{
    return on_host(A, true, views, p, x, m_host);
}

static const tr_linop_ops a_ops = {.forward = project,
                                   .adjoint = backproject,
                                   .row_sums = row_sums,
                                   .col_sums = col_sums,
                                   .filter = count_filter},
                          b_ops = {.forward = b_forward, .adjoint = b_adjoint},
                          m_ops = {.forward = m_forward, .adjoint = m_adjoint};

static void set_up(problem *t)
{
    for (size_t i = 0; i < VIEWS; i++) {
        double a = -0.9 + 0.6 * (double)i, c = cos(a), s = sin(a);
        t->rays[i] = (tr_ray){.u0 = 5.1 - 4.0 * c - 2.0 * s, .ux = c, .uz = s, .vy = 1};
    }
    t->slab = (tr_slab){.n_views = VIEWS,
                        .n_u = N_U,
                        .n_x = N_X,
                        .n_z = N_Z,
                        .rows = ROWS,
                        .p_rows = ROWS,
                        .rays = t->rays};
    t->A = (tr_linop){.ops = &a_ops,
                      .self = t,
                      .backend = t->f.backend,
                      .device = t->f.device,
                      .slab = &t->slab,
                      .n_rows = ROWS};
    t->B = t->M = t->A;
    t->B.ops = &b_ops;
    t->B.kind = TR_ON_IMAGES;
    t->M.ops = &m_ops;
    t->M.kind = TR_ON_VOLUME;
    t->left = new_vec(&t->f, VIEWS * LINE, 1);
    t->right = new_vec(&t->f, NV, 1);
    t->left_each = new_vec(&t->f, VIEWS * LINE, ROWS);
    t->right_each = new_vec(&t->f, NV, ROWS);
    randomize(&t->f, &t->left, 11, 0.5f);
    randomize(&t->f, &t->right, 12, 0.5f);
    randomize(&t->f, &t->left_each, 13, 0.5f);
    randomize(&t->f, &t->right_each, 14, 0.5f);
}

static void tear_down(problem *t)
{
    free_vec(&t->f, &t->left);
    free_vec(&t->f, &t->right);
    free_vec(&t->f, &t->left_each);
    free_vec(&t->f, &t->right_each);
}

/* ---- matrices of one row ---- */

static void visit_pair(void *data, size_t voxel, size_t sample, double weight)
{
    matrix *a = data;
    size_t line = sample / TR_LANES, voxel_line = voxel / TR_LANES;
    if (voxel % TR_LANES == 0 && sample % TR_LANES == 0)
        a->v[(line / LINE * N_U + line % LINE - 1) * NV + voxel_line] += weight;
}

static matrix *matrix_a(const problem *t)
{
    matrix *a = new_matrix(NP, NV);
    reference_pairs(&t->slab, visit_pair, a);
    return a;
}

static double weight_at(const vec *w, bool images, size_t i, size_t r)
{
    size_t line = images ? i / N_U * LINE + i % N_U + 1 : i;
    return w ? w->host[line * w->on.rows + (w->on.rows > 1 ? r : 0)] : 1.0;
}

/* A row of a projecting operator between weights. */
static matrix *weighted(matrix *a, const vec *left, const vec *right, size_t r)
{
    for (size_t i = 0; i < a->m; i++)
        for (size_t j = 0; j < a->n; j++)
            a->v[i * a->n + j] *=
                weight_at(left, true, i, r) * weight_at(right, false, j, r);
    return a;
}

/* ---- the compositions ---- */

enum { MOST = 5, COMPOSITIONS = 9 };

typedef struct composition {
    tr_linop *made[MOST]; /* the last one is the operator */
    size_t n;
} composition;

static tr_linop **next(composition *c) { return &c->made[c->n++]; }

static void chain(composition *c, const tr_linop *second, const tr_linop *first)
{
    assert_int_equal(tr_linop_chain(second, first, next(c)), TR_OK);
}

static void weight(composition *c, const tr_linop *A, const vec *left, const vec *right)
{
    assert_int_equal(
        tr_linop_weight(A, left ? &left->on : NULL, right ? &right->on : NULL, next(c)),
        TR_OK);
}

static void sum(composition *c, const tr_linop *first, const tr_linop *second)
{
    const tr_linop *parts[] = {first, second, first};
    assert_int_equal(tr_linop_sum(parts, 3, next(c)), TR_OK);
}

static const tr_linop *compose(const problem *t, int which, composition *c)
{
    const tr_linop *A = &t->A, *B = &t->B, *M = &t->M;
    *c = (composition){.n = 0};
    switch (which) {
    case 0:
        chain(c, B, A);
        break;
    case 1:
        chain(c, A, M);
        break;
    case 2:
        weight(c, A, &t->left, NULL);
        break;
    case 3:
        weight(c, A, NULL, &t->right);
        break;
    case 4:
        weight(c, A, &t->left, &t->right);
        break;
    case 5:
        weight(c, A, &t->left_each, &t->right_each);
        break;
    case 6:
        chain(c, B, A);
        sum(c, A, c->made[0]);
        break;
    case 7: /* all of it: left (A + B B A M + A) right */
        chain(c, B, B);
        chain(c, A, M);
        chain(c, c->made[0], c->made[1]);
        sum(c, A, c->made[2]);
        weight(c, c->made[3], &t->left, &t->right);
        break;
    default: /* sums that depend on the row beside such that do not */
        weight(c, A, &t->left_each, NULL);
        weight(c, A, &t->left, NULL);
        sum(c, c->made[0], c->made[1]);
    }
    return c->made[c->n - 1];
}

static matrix *reference(const problem *t, int which, size_t r)
{
    matrix *a = matrix_a(t);
    switch (which) {
    case 0:
        return times(matrix_b(), a);
    case 1:
        return times(a, matrix_m());
    case 2:
        return weighted(a, &t->left, NULL, r);
    case 3:
        return weighted(a, NULL, &t->right, r);
    case 4:
        return weighted(a, &t->left, &t->right, r);
    case 5:
        return weighted(a, &t->left_each, &t->right_each, r);
    case 6:
        return plus(plus(a, matrix_a(t)), times(matrix_b(), matrix_a(t)));
    case 7:
        a = plus(plus(a, matrix_a(t)),
                 times(times(matrix_b(), matrix_b()), times(matrix_a(t), matrix_m())));
        return weighted(a, &t->left, &t->right, r);
    default:
        a = weighted(plus(a, matrix_a(t)), &t->left_each, NULL, r);
        return plus(a, weighted(matrix_a(t), &t->left, NULL, r));
    }
}

static void free_composition(composition *c)
{
    while (c->n)
        tr_linop_free(c->made[--c->n]);
}

/* ---- checks ---- */

static void expect(const char *what, int which, double got, double wanted, double scale)
{
    if (!(fabs(got - wanted) <= 3e-6 * scale))
        fail_msg("composition %d: %s is %.9g, the matrix says %.9g", which, what, got,
                 wanted);
}

/* The largest value that a sum may have had on its way. */
static double scale_of(const matrix *a)
{
    double largest = 0.0;
    for (size_t i = 0; i < a->m * a->n; i++)
        largest = fmax(largest, fabs(a->v[i]));
    return 10.0 * largest;
}

static void check_forward(const char *what, int which, const matrix *a,
                          const tr_subset *views, size_t r, const float *x, const vec *p)
{
    size_t at = p->on.rows > 1 ? r : 0;
    for (size_t i = 0; i < NP; i++) {
        double wanted = 0.0;
        for (size_t j = 0; j < NV; j++)
            wanted += a->v[i * NV + j] * (x ? x[j * ROWS + r] : 1.0);
        float got = p->host[(i / N_U * LINE + i % N_U + 1) * p->on.rows + at];
        if (chosen(views, i / N_U))
            expect(what, which, got, wanted, scale_of(a));
        else
            assert_true(got == -7.0f);
    }
}

static void check_adjoint(const char *what, int which, const matrix *a,
                          const tr_subset *views, size_t r, const float *p, const vec *x)
{
    for (size_t j = 0; j < NV; j++) {
        double wanted = 0.0;
        for (size_t i = 0; i < NP; i++)
            if (chosen(views, i / N_U))
                wanted += a->v[i * NV + j] *
                          (p ? p[(i / N_U * LINE + i % N_U + 1) * ROWS + r] : 1.0);
        expect(what, which, x->host[j * x->on.rows + (x->on.rows > 1 ? r : 0)], wanted,
               scale_of(a));
    }
}

static void fill(const problem *t, vec *v, float value)
{
    assert_int_equal(t->f.backend->fill(t->f.device, &v->on, value), TR_OK);
}

static void check(problem *t, int which, const tr_subset *views)
{
    composition c;
    const tr_linop *A = compose(t, which, &c);
    size_t sums = A->coupled ? ROWS : 1;
    vec x = new_vec(&t->f, NV, ROWS), back = new_vec(&t->f, NV, ROWS);
    vec p = new_vec(&t->f, VIEWS * LINE, ROWS), ax = new_vec(&t->f, VIEWS * LINE, ROWS);
    vec row = new_vec(&t->f, VIEWS * LINE, sums), col = new_vec(&t->f, NV, sums);
    randomize(&t->f, &x, 21, 0.0f);
    randomize_projections(&t->f, &t->slab, &p, 22);
    fill(t, &row, -7.0f);
    assert_int_equal(A->kind, TR_PROJECTS);
    for (int again = 0; again < 2; again++) { /* the workspace is used already */
        fill(t, &ax, -7.0f);
        assert_int_equal(A->ops->forward(A, views, &x.on, &ax.on), TR_OK);
        assert_int_equal(A->ops->adjoint(A, views, &p.on, &back.on), TR_OK);
    }
    assert_int_equal(A->ops->row_sums(A, views, &row.on), TR_OK);
    assert_int_equal(A->ops->col_sums(A, views, &col.on), TR_OK);
    to_host(&t->f, &ax);
    to_host(&t->f, &back);
    to_host(&t->f, &row);
    to_host(&t->f, &col);
    for (size_t r = 0; r < ROWS; r++) {
        matrix *a = reference(t, which, r);
        check_forward("A x", which, a, views, r, x.host, &ax);
        check_adjoint("A^T p", which, a, views, r, p.host, &back);
        check_forward("a row sum", which, a, views, r, NULL, &row);
        check_adjoint("a column sum", which, a, views, r, NULL, &col);
        free(a);
    }
    double to = 0.0, fro = host_dot(&x, &back), all = 0.0;
    for (size_t i = 0; i < p.n; i++)
        if (chosen(views, i / ROWS / LINE)) {
            to += (double)ax.host[i] * p.host[i];
            all += fabs((double)ax.host[i] * p.host[i]);
        }
    if (!(fabs(to - fro) <= 1e-6 * all) || !(all > 0.0))
        fail_msg("composition %d: <Ax, y> = %.12g but <x, A^T y> = %.12g", which, to,
                 fro);
    vec *const vectors[] = {&x, &back, &p, &ax, &row, &col};
    for (size_t k = 0; k < 6; k++)
        free_vec(&t->f, vectors[k]);
    free_composition(&c);
}

static void for_all(void (*run)(problem *t))
{
    for (int i = 0; i < N_VARIANTS; i++) {
        problem t = {0};
        if (!variants[i].exact || !open_variant(&t.f, i, 2))
            continue;
        set_up(&t);
        run(&t);
        tear_down(&t);
        close_backend(&t.f);
    }
}

static void run_matrices(problem *t)
{
    const size_t some[] = {3, 1};
    const tr_subset subset = {2, some};
    for (int which = 0; which < COMPOSITIONS; which++) {
        check(t, which, NULL);
        check(t, which, &subset);
    }
}

static void test_matrices(void **state)
{
    (void)state;
    for_all(run_matrices);
}

/* Where rays leave their row, ones are on the rows in use: here of a view from the side
 * whose image moves by a third of a row from column to column. */
static void run_coupled(problem *t)
{
    composition c = {.n = 0};
    for (size_t i = 0; i < VIEWS; i++) {
        t->rays[i].vx = 1.0 / 3.0;
        t->rays[i].v0 = 1.0;
    }
    t->A.coupled = true;
    t->A.first_row = 2;
    t->A.n_rows = 7;
    vec x = new_vec(&t->f, NV, ROWS), p = new_vec(&t->f, VIEWS * LINE, ROWS);
    for (size_t i = 0; i < x.n; i++)
        x.host[i] = i % ROWS >= 2 && i % ROWS < 9 ? t->right.host[i / ROWS] : 0.0f;
    double *wanted = calloc(p.n, sizeof *wanted);
    reference_pairs(&t->slab, reference_forward_pair,
                    &(reference_vectors){x.host, wanted});
    weight(&c, &t->A, NULL, &t->right);
    assert_true(c.made[0]->coupled);
    assert_int_equal(c.made[0]->ops->row_sums(c.made[0], NULL, &p.on), TR_OK);
    to_host(&t->f, &p);
    for (size_t i = 0; i < p.n; i++)
        assert_true(fabs(p.host[i] - wanted[i]) < 1e-5);
    free(wanted);
    free_vec(&t->f, &x);
    free_vec(&t->f, &p);
    free_composition(&c);
}

static void test_coupled(void **state)
{
    (void)state;
    for_all(run_coupled);
}

/* ---- what goes to the operator at the bottom ---- */

static tr_status total(const tr_linop *A, const double *rows, size_t n, double *values)
{
    (void)A;
    for (size_t i = 0; i < n; i++)
        values[i] = 2.0 * rows[i];
    return TR_OK;
}

static tr_status neighbour(const tr_linop *A, bool above, const tr_vec *x, float *row,
                           bool *exists)
{
    (void)A, (void)x;
    *row = 5.0f;
    *exists = above;
    return TR_OK;
}

static void run_passed_on(problem *t)
{
    const tr_linop_ops with = {
        .forward = project, .total = total, .neighbour = neighbour};
    composition c;
    double four = 4.0, value = 0.0;
    float row = 0.0f;
    bool exists = false;
    size_t volumes, projections;
    const tr_linop *A = compose(t, 7, &c);
    assert_int_equal(A->ops->filter(A, NULL, NULL), TR_OK);
    assert_int_equal(t->filtered, 1);
    assert_null(A->ops->total);
    assert_null(A->ops->neighbour);
    tr_linop_workspace(A, &volumes, &projections);
    assert_int_equal(volumes, 3);     /* between A and M, in the sum, right x */
    assert_int_equal(projections, 4); /* between B and B, B and A, the sum, left p */
    tr_linop_workspace(&t->A, &volumes, &projections);
    assert_int_equal(volumes + projections, 0);
    free_composition(&c);

    t->A.ops = &with;
    A = compose(t, 7, &c);
    assert_null(A->ops->filter);
    assert_int_equal(A->ops->total(A, &four, 1, &value), TR_OK);
    assert_int_equal(A->ops->neighbour(A, true, NULL, &row, &exists), TR_OK);
    assert_true(value == 8.0 && row == 5.0f && exists);
    free_composition(&c);
    tr_linop_free(NULL);
}

static void test_passed_on(void **state)
{
    (void)state;
    for_all(run_passed_on);
}

/* An algorithm does not notice: the same bytes with a sum of one part. */
static void solve(const problem *t, const tr_linop *A, vec *b, vec *x)
{
    const tr_algorithm *cgls = tr_algorithm_find("CGLS");
    tr_history history = {0};
    tr_context context = {.A = A, .history = &history, .starts_at_zero = true};
    void *params = calloc(1, cgls->params_size);
    assert_non_null(params);
    *tr_algorithm_iterations(cgls, params) = 4;
    randomize_projections(&t->f, &t->slab, b, 31);
    fill(t, x, 0.0f);
    assert_int_equal(cgls->run(&context, params, &b->on, &x->on), TR_OK);
    to_host(&t->f, x);
    tr_context_end(&context);
    tr_history_free(&history);
    free(params);
}

static void run_algorithm(problem *t)
{
    const tr_linop *part = &t->A;
    tr_linop *made;
    vec b = new_vec(&t->f, VIEWS * LINE, ROWS), x = new_vec(&t->f, NV, ROWS);
    vec y = new_vec(&t->f, NV, ROWS);
    assert_int_equal(tr_linop_sum(&part, 1, &made), TR_OK);
    solve(t, part, &b, &x);
    solve(t, made, &b, &y);
    assert_memory_equal(x.host, y.host, x.n * sizeof *x.host);
    assert_true(host_dot(&x, &x) > 0.0);
    tr_linop_free(made);
    free_vec(&t->f, &b);
    free_vec(&t->f, &x);
    free_vec(&t->f, &y);
}

static void test_algorithm(void **state)
{
    (void)state;
    for_all(run_algorithm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrices),
        cmocka_unit_test(test_coupled),
        cmocka_unit_test(test_passed_on),
        cmocka_unit_test(test_algorithm),
    };
    int missing = backend_missing();
    return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
