/* Responses of views in the operator against sums in double: a response that is the
 * transform of a small kernel is a convolution with it, whatever zeros are around and
 * however rows are shared. tests/cli/test_ranks.py runs it under mpiexec as well. */
#include "backend_fixture.h"
#include "common/base/angle.h"
#include "common/base/comm.h"
#include "linop_fixture.h"
#include "tiltrecz/responses.h"

enum {
    VIEWS = 5,
    COLUMNS = 14,
    ROWS = 7,
    BESIDE = 3,
    SPREAD = 2,
    LINE = COLUMNS + TR_GUARDS
};
enum { WIDTH = 9, PLANES = 4, MOST_RANKS = 8 };

static tr_comm *comm;

typedef struct problem {
    fixture f;
    tr_slab slab;
    tr_ray rays[VIEWS];
    tr_linop A;
    tr_row_range rows[MOST_RANKS];
    size_t first, n;
    tr_responses *responses;
} problem;

/* ---- the parts ---- */

/* Of a view: along columns to BESIDE, along rows to SPREAD, with a(-u, -v) = a(u, v). */
static double kernel(size_t view, int u, int v)
{
    return cos(1.7 * (double)view + 0.9 * abs(u) + 0.3 * v * v +
               (u * v > 0 ? 1.1 : 0.2)) /
           (1.0 + abs(u) + abs(v));
}

static tr_status fill(const void *data, size_t view, size_t nx, size_t ny,
                      float *response)
{
    (void)data;
    for (size_t x = 0; x < nx; x++)
        for (size_t y = 0; y <= ny / 2; y++) {
            double sum = 0.0;
            for (int u = -BESIDE; u <= BESIDE; u++)
                for (int v = -SPREAD; v <= SPREAD; v++)
                    sum += kernel(view, u, v) * cos(2.0 * TR_PI *
                                                    ((double)u * (double)x / (double)nx +
                                                     (double)v * (double)y / (double)ny));
            response[x * (ny / 2 + 1) + y] = (float)sum;
        }
    return TR_OK;
}

static const tr_linop_ops ops = {.forward = project, .adjoint = backproject};

/* The last rank has the most rows, the others what is left. */
static void share_rows(problem *p)
{
    long at = 0;
    for (int k = 0; k < comm->size; k++) {
        long rows = k == comm->size - 1 ? ROWS - at : k ? 1 : 2;
        p->rows[k] = (tr_row_range){at, at + rows};
        at += rows;
    }
    p->first = (size_t)p->rows[comm->rank].first;
    p->n = (size_t)p->rows[comm->rank].end - p->first;
}

static problem begin(int threads)
{
    problem p = {.f = open_first(1)};
    assert_true(comm->size <= 4);
    share_rows(&p);
    for (size_t v = 0; v < VIEWS; v++) {
        double t = (double)v * 0.4 - 0.8, c = cos(t), s = sin(t);
        p.rays[v] = (tr_ray){.u0 = 6.5 - 4.0 * c + 1.5 * s, .ux = c, .uz = -s, .vy = 1.0};
    }
    p.slab = (tr_slab){.n_views = VIEWS,
                       .n_u = COLUMNS,
                       .n_x = WIDTH,
                       .n_z = PLANES,
                       .rows = TR_LANES,
                       .p_rows = TR_LANES};
    (void)threads;
    return p;
}

static void make(problem *p, int threads)
{
    p->slab.rays = p->rays;
    p->A = (tr_linop){.ops = &ops,
                      .backend = p->f.backend,
                      .device = p->f.device,
                      .slab = &p->slab,
                      .n_rows = p->n};
    const tr_responses_spec spec = {.comm = comm,
                                    .A = &p->A,
                                    .rows = p->rows,
                                    .beside = BESIDE,
                                    .spread = SPREAD,
                                    .threads = threads,
                                    .fill = fill};
    assert_int_equal(tr_responses_new(&spec, &p->responses), TR_OK);
}

static void end(problem *p)
{
    tr_responses_free(p->responses);
    p->f.backend->close(p->f.device);
}

/* The same on all ranks for a row of the whole; other lanes are 0. */
static double value_at(size_t line, size_t row)
{
    return sin(3.0 * (double)line + (double)(row * row));
}

static tr_vec new_vector(const problem *p, size_t lines, bool images)
{
    float *host = calloc(lines * TR_LANES, sizeof *host);
    tr_vec v = {NULL, lines, TR_LANES};
    for (size_t line = 0; line < lines; line++)
        for (size_t r = 0; r < p->n; r++)
            if (!images || (line % LINE >= 1 && line % LINE <= COLUMNS))
                host[line * TR_LANES + r] = (float)value_at(line, p->first + r);
    assert_int_equal(p->f.backend->alloc(p->f.device, lines * TR_LANES, &v.data), TR_OK);
    assert_int_equal(p->f.backend->upload(p->f.device, host, v.data, lines * TR_LANES),
                     TR_OK);
    free(host);
    return v;
}

static float *values_of(const problem *p, const tr_vec *v)
{
    float *host = malloc(v->lines * v->rows * sizeof *host);
    assert_int_equal(p->f.backend->wait(p->f.device), TR_OK);
    assert_int_equal(
        p->f.backend->download(p->f.device, v->data, host, v->lines * v->rows), TR_OK);
    return host;
}

/* ---- the convolution ---- */

static bool seen(int column) { return column >= BESIDE && column < COLUMNS - BESIDE; }

static double expected(size_t view, int column, int row, bool back)
{
    double sum = 0.0;
    if (!back && !seen(column))
        return 0.0;
    for (int u = -BESIDE; u <= BESIDE; u++)
        for (int v = -SPREAD; v <= SPREAD; v++) {
            int x = column + u, y = row + v;
            if (x < 0 || x >= COLUMNS || y < 0 || y >= ROWS || (back && !seen(x)))
                continue;
            double value = value_at(view * LINE + 1 + (size_t)x, (size_t)y);
            sum += kernel(view, u, v) * (double)(float)value;
        }
    return sum;
}

static void check_convolution(const problem *p, bool back, const tr_subset *views)
{
    const tr_linop *A = tr_responses_linop(p->responses);
    tr_vec in = new_vector(p, VIEWS * LINE, true),
           out = new_vector(p, VIEWS * LINE, true);
    tr_status (*apply)(const tr_linop *, const tr_subset *, const tr_vec *, tr_vec *) =
        back ? A->ops->adjoint : A->ops->forward;
    assert_int_equal(apply(A, views, &in, &out), TR_OK);
    float *got = values_of(p, &out);
    for (size_t view = 0; view < VIEWS; view++) {
        bool wanted = !views;
        for (size_t k = 0; views && k < views->n; k++)
            wanted = wanted || views->views[k] == view;
        for (int c = 0; c < COLUMNS; c++)
            for (size_t r = 0; r < p->n; r++) {
                size_t line = view * LINE + 1 + (size_t)c;
                int row = (int)(p->first + r);
                double should =
                    wanted ? expected(view, c, row, back) : value_at(line, p->first + r);
                /* What comes round to columns that the detector does not have is no
                 * part of this: it does not get anywhere. */
                if (back && wanted && !seen(c))
                    continue;
                if (fabs(got[line * TR_LANES + r] - should) > 2e-6)
                    fail_msg("rank %d of %d, view %zu, column %d, row %d: %.9g, not %.9g",
                             comm->rank, comm->size, view, c, row,
                             (double)got[line * TR_LANES + r], should);
            }
    }
    free(got);
    p->f.backend->free(p->f.device, in.data);
    p->f.backend->free(p->f.device, out.data);
}

static void test_convolution(void **state)
{
    (void)state;
    static const size_t some[] = {4, 1, 2};
    const tr_subset subset = {3, some};
    for (int threads = 1; threads < 4; threads++) {
        problem p = begin(threads);
        make(&p, threads);
        for (int back = 0; back < 2; back++) {
            check_convolution(&p, back, NULL);
            check_convolution(&p, back, &subset);
        }
        end(&p);
    }
}

/* ---- <A x, y> = <x, A^T y> ---- */

static double product(const problem *p, const tr_vec *a, const tr_vec *b)
{
    float *x = values_of(p, a), *y = values_of(p, b);
    double sum = 0.0;
    for (size_t line = 0; line < a->lines; line++)
        for (size_t r = 0; r < p->n; r++)
            sum += (double)x[line * TR_LANES + r] * (double)y[line * TR_LANES + r];
    free(x);
    free(y);
    assert_int_equal(comm->ops->sum(comm, &sum, 1), TR_OK);
    return sum;
}

static void test_adjoint(void **state)
{
    (void)state;
    problem p = begin(2);
    make(&p, 2);
    tr_linop *A;
    assert_int_equal(tr_linop_chain(tr_responses_linop(p.responses), &p.A, &A), TR_OK);
    tr_vec x = new_vector(&p, WIDTH * PLANES, false),
           y = new_vector(&p, VIEWS * LINE, true);
    tr_vec Ax = new_vector(&p, VIEWS * LINE, true),
           ATy = new_vector(&p, WIDTH * PLANES, false);
    assert_int_equal(A->ops->forward(A, NULL, &x, &Ax), TR_OK);
    assert_int_equal(A->ops->adjoint(A, NULL, &y, &ATy), TR_OK);
    double left = product(&p, &Ax, &y), right = product(&p, &x, &ATy);
    double size = sqrt(product(&p, &Ax, &Ax) * product(&p, &y, &y));
    assert_true(fabs(left) > 1e-3 * size);
    if (fabs(left - right) > 1e-6 * size)
        fail_msg("<A x, y> = %.12g, <x, A^T y> = %.12g, |A x| |y| = %.12g", left, right,
                 size);
    const tr_vec *all[] = {&x, &y, &Ax, &ATy};
    for (int k = 0; k < 4; k++)
        p.f.backend->free(p.f.device, all[k]->data);
    tr_linop_free(A);
    end(&p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_convolution),
                                       cmocka_unit_test(test_adjoint)};
    if (tr_comm_mpi(&argc, &argv, &comm) != TR_OK) {
        fprintf(stderr, "%s\n", tr_error());
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm->ops->finish(comm);
    return failed;
}
