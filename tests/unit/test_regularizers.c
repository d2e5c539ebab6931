/* Differences, their adjoint, shrinkage and the Haar transform against references in
 * double precision, whole and in two shares of the rows; and with cells outside the field
 * as without. */
#include "backend_fixture.h"

/* Odd lengths, so that the Haar transform leaves something over at every level; the last
 * lanes are not in use. */
enum { N_X = 13, N_Z = 11, ROWS = 32, N = 22, LINES = N_X * N_Z, LEVELS = 3 };

static const tr_slab slab = {.n_x = N_X, .n_z = N_Z, .rows = ROWS, .p_rows = ROWS};

/* With a seed, `n` lanes of each line random and the others 0; without, 7: not what any
 * operation leaves there. */
static vec new_volume(const fixture *f, uint64_t seed, size_t n)
{
    vec v = new_vec(f, LINES, ROWS);
    for (size_t i = 0; i < v.n; i++)
        v.host[i] = !seed ? 7.0f : i % ROWS < n ? 2.0f * uniform(&seed) - 1.0f : 0.0f;
    to_device(f, &v);
    return v;
}

static void free_vecs(const fixture *f, vec *v, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free_vec(f, &v[i]);
}

static void to_host_all(const fixture *f, const vec *v, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to_host(f, &v[i]);
}

static double value(const vec *v, size_t z, size_t x, size_t r)
{
    return v->host[(z * N_X + x) * ROWS + r];
}

#define CLOSE(got, wanted, tolerance)                                                    \
    do {                                                                                 \
        if (!(fabs((got) - (wanted)) <= (tolerance)))                                    \
            fail_msg(#got " is %.9g, not %.9g", (double)(got), (double)(wanted));        \
    } while (0)

static void random_row(float *row, int seed)
{
    for (int l = 0; l < LINES; l++)
        row[l] = (float)sin(1.7 * l + seed);
}

/* ---- differences ---- */

static void check_grad(const float *above)
{
    fixture f = open_first(2);
    vec x = new_volume(&f, 1, ROWS); /* also what is not to be read is not 0 */
    vec g[3] = {new_volume(&f, 0, 0), new_volume(&f, 0, 0), new_volume(&f, 0, 0)};
    assert_int_equal(
        f.backend->grad(f.device, &slab, N, &x.on, above, &g[0].on, &g[1].on, &g[2].on),
        TR_OK);
    to_host_all(&f, g, 3);
    for (size_t z = 0; z < N_Z; z++)
        for (size_t i = 0; i < N_X; i++)
            for (size_t r = 0; r < ROWS; r++) {
                double at = value(&x, z, i, r), wanted[3] = {0};
                if (r < N && i + 1 < N_X)
                    wanted[0] = value(&x, z, i + 1, r) - at;
                if (r + 1 < N)
                    wanted[1] = value(&x, z, i, r + 1) - at;
                else if (r + 1 == N && above)
                    wanted[1] = above[z * N_X + i] - at;
                if (r < N && z + 1 < N_Z)
                    wanted[2] = value(&x, z + 1, i, r) - at;
                for (int k = 0; k < 3; k++)
                    CLOSE(value(&g[k], z, i, r), wanted[k], 1e-6);
            }
    free_vecs(&f, &x, 1);
    free_vecs(&f, g, 3);
    close_backend(&f);
}

static void test_grad(void **state)
{
    (void)state;
    float above[LINES];
    random_row(above, 0);
    check_grad(NULL);
    check_grad(above);
}

/* With 0 in the row above, which is then there, the last difference counts as well. */
static void test_grad_adjoint(void **state)
{
    (void)state;
    fixture f = open_first(2);
    float none[LINES] = {0}, below[LINES];
    random_row(below, 1);
    vec x = new_volume(&f, 2, N), y[2] = {new_volume(&f, 0, 0), new_volume(&f, 0, 0)};
    vec g[3] = {new_volume(&f, 3, ROWS), new_volume(&f, 4, ROWS),
                new_volume(&f, 5, ROWS)};
    vec Lx[3] = {new_volume(&f, 0, 0), new_volume(&f, 0, 0), new_volume(&f, 0, 0)};
    assert_int_equal(
        f.backend->grad(f.device, &slab, N, &x.on, none, &Lx[0].on, &Lx[1].on, &Lx[2].on),
        TR_OK);
    assert_int_equal(f.backend->grad_adjoint(f.device, &slab, N, &g[0].on, &g[1].on,
                                             &g[2].on, NULL, &y[0].on),
                     TR_OK);
    to_host_all(&f, Lx, 3);
    to_host(&f, &y[0]);
    double forward =
        host_dot(&Lx[0], &g[0]) + host_dot(&Lx[1], &g[1]) + host_dot(&Lx[2], &g[2]);
    assert_true(fabs(forward) > 1.0);
    CLOSE(host_dot(&x, &y[0]), forward, 1e-6 * host_dot(&Lx[0], &Lx[0]));
    assert_int_equal(f.backend->grad_adjoint(f.device, &slab, N, &g[0].on, &g[1].on,
                                             &g[2].on, below, &y[1].on),
                     TR_OK);
    to_host(&f, &y[1]);
    for (size_t l = 0; l < LINES; l++)
        for (size_t r = 0; r < ROWS; r++) {
            double more = r == 0 ? below[l] : 0.0;
            CLOSE(y[1].host[l * ROWS + r], y[0].host[l * ROWS + r] + more, 1e-6);
            assert_true(r < N || y[1].host[l * ROWS + r] == 0.0f);
        }
    free_vecs(&f, &x, 1);
    free_vecs(&f, y, 2);
    free_vecs(&f, g, 3);
    free_vecs(&f, Lx, 3);
    close_backend(&f);
}

/* ---- lengths ---- */

static void test_lengths(void **state)
{
    (void)state;
    fixture f = open_first(2);
    vec g[3] = {new_volume(&f, 6, N), new_volume(&f, 7, N), new_volume(&f, 8, N)}, old[3];
    double lengths = 0.0, absolute = 0.0, sum;
    size_t gone = 0;
    for (int k = 0; k < 3; k++) {
        old[k] = new_volume(&f, 0, 0);
        f.backend->copy(f.device, &g[k].on, &old[k].on);
    }
    assert_int_equal(
        f.backend->shrink_vectors(f.device, 0.6f, &g[0].on, &g[1].on, &g[2].on), TR_OK);
    to_host_all(&f, g, 3);
    to_host_all(&f, old, 3);
    for (size_t i = 0; i < (size_t)LINES * ROWS; i++) {
        double a = old[0].host[i], b = old[1].host[i], c = old[2].host[i];
        double length = sqrt(a * a + b * b + c * c);
        double kept = length > 0.6f ? 1.0 - 0.6f / length : 0.0;
        gone += kept == 0.0;
        lengths += length;
        absolute += fabs(a);
        CLOSE(g[0].host[i], kept * a, 1e-6);
        CLOSE(g[1].host[i], kept * b, 1e-6);
        CLOSE(g[2].host[i], kept * c, 1e-6);
    }
    assert_true(gone > LINES && gone < (size_t)LINES * ROWS - LINES);
    assert_int_equal(
        f.backend->sum_lengths(f.device, &old[0].on, &old[1].on, &old[2].on, &sum),
        TR_OK);
    CLOSE(sum, lengths, 1e-10 * lengths);
    assert_int_equal(f.backend->sum_lengths(f.device, &old[0].on, NULL, NULL, &sum),
                     TR_OK);
    CLOSE(sum, absolute, 1e-10 * absolute);
    free_vecs(&f, g, 3);
    free_vecs(&f, old, 3);
    close_backend(&f);
}

/* ---- Haar ---- */

static void reference_pair(double *a, double *b)
{
    double sum = (*a + *b) / sqrt(2.0), difference = (*a - *b) / sqrt(2.0);
    *a = sum;
    *b = difference;
}

/* The first n values at a distance of `step`; returns how many sums there are. */
static size_t reference_level(double *v, size_t n, size_t step)
{
    for (size_t k = 0; k + 1 < n; k += 2)
        reference_pair(&v[k * step], &v[(k + 1) * step]);
    return n / 2;
}

static void reference_haar(double *v, size_t levels)
{
    size_t n_x = N_X, n_z = N_Z;
    for (size_t k = 0; k < levels; k++) {
        size_t step = (size_t)1 << k, sums_x = 0, sums_z = 0;
        for (size_t z = 0; z < n_z; z++)
            for (size_t r = 0; r < ROWS; r++)
                sums_x = reference_level(v + z * step * N_X * ROWS + r, n_x, step * ROWS);
        for (size_t x = 0; x < n_x; x++)
            for (size_t r = 0; r < ROWS; r++)
                sums_z = reference_level(v + x * step * ROWS + r, n_z, step * N_X * ROWS);
        n_x = sums_x;
        n_z = sums_z;
    }
    for (size_t l = 0; l < LINES; l++)
        reference_level(v + l * ROWS, N, 1);
}

static void test_haar(void **state)
{
    (void)state;
    fixture f = open_first(2);
    vec x = new_volume(&f, 9, N), y = new_volume(&f, 10, N), w = new_volume(&f, 0, 0);
    double *wanted = calloc((size_t)LINES * ROWS, sizeof *wanted);
    assert_non_null(wanted);
    for (size_t i = 0; i < (size_t)LINES * ROWS; i++)
        wanted[i] = x.host[i];
    reference_haar(wanted, LEVELS);
    f.backend->copy(f.device, &x.on, &w.on);
    assert_int_equal(f.backend->haar(f.device, &slab, N, LEVELS, false, &w.on), TR_OK);
    to_host(&f, &w);
    for (size_t i = 0; i < (size_t)LINES * ROWS; i++)
        CLOSE(w.host[i], wanted[i], 2e-6);
    free(wanted);
    CLOSE(host_dot(&w, &w), host_dot(&x, &x), 1e-6 * host_dot(&x, &x));
    double forward = host_dot(&w, &y);
    f.backend->haar(f.device, &slab, N, LEVELS, true, &y.on);
    to_host(&f, &y);
    CLOSE(host_dot(&x, &y), forward, 1e-6 * host_dot(&x, &x));
    f.backend->haar(f.device, &slab, N, LEVELS, true, &w.on);
    to_host(&f, &w);
    for (size_t i = 0; i < (size_t)LINES * ROWS; i++)
        CLOSE(w.host[i], x.host[i], 2e-6);
    free_vecs(&f, &x, 1);
    free_vecs(&f, &y, 1);
    free_vecs(&f, &w, 1);
    close_backend(&f);
}

/* A constant within a block of 8 x 8 voxels and 2 rows is one coefficient. */
static void test_haar_of_a_block(void **state)
{
    (void)state;
    fixture f = open_first(1);
    vec x = new_volume(&f, 0, 0);
    memset(x.host, 0, x.n * sizeof *x.host);
    for (int l = 0; l < 64; l++)
        for (int r = 4; r < 6; r++)
            x.host[(l / 8 * N_X + l % 8) * ROWS + r] = 1.0f;
    to_device(&f, &x);
    assert_int_equal(f.backend->haar(f.device, &slab, N, LEVELS, false, &x.on), TR_OK);
    to_host(&f, &x);
    for (size_t i = 0; i < (size_t)LINES * ROWS; i++)
        CLOSE(x.host[i], i == 4 ? sqrt(128.0) : 0.0, 1e-5);
    free_vecs(&f, &x, 1);
    close_backend(&f);
}

/* ---- what must not show in a result ---- */

/* Rows [begin, end) of a volume on the host, and their way back. */
static vec share_of(const fixture *f, const vec *whole, size_t begin, size_t end)
{
    vec v = new_volume(f, 0, 0);
    for (size_t i = 0; i < v.n; i++)
        v.host[i] = i % ROWS < end - begin ? whole->host[i + begin] : 0.0f;
    to_device(f, &v);
    return v;
}

static void put_share(const fixture *f, const vec *share, size_t begin, size_t end,
                      vec *whole)
{
    to_host(f, share);
    for (size_t l = 0; l < LINES; l++)
        memcpy(whole->host + l * ROWS + begin, share->host + l * ROWS,
               (end - begin) * sizeof(float));
}

/* v: x, its three differences, and their adjoint; x becomes its Haar transform. With
 * `first` < N in two shares of the rows that exchange their neighbouring rows. */
static void shares(const fixture *f, size_t first, vec v[5])
{
    const tr_backend *b = f->backend;
    const size_t begin[] = {0, first}, end[] = {first, N};
    int n_shares = first < N ? 2 : 1;
    float row[LINES];
    vec parts[2][5];
    for (int s = 0; s < n_shares; s++) {
        vec *p = parts[s];
        p[0] = share_of(f, &v[0], begin[s], end[s]);
        for (int k = 1; k < 5; k++)
            p[k] = new_volume(f, 0, 0);
        for (size_t l = 0; l < LINES; l++) /* the first of the next */
            row[l] = v[0].host[l * ROWS + end[s] % N];
        assert_int_equal(b->grad(f->device, &slab, end[s] - begin[s], &p[0].on,
                                 end[s] < N ? row : NULL, &p[1].on, &p[2].on, &p[3].on),
                         TR_OK);
        memset(row, 0, sizeof row); /* ours again */
    }
    for (int s = 0; s < n_shares; s++) {
        vec *p = parts[s];
        const tr_rows last = {0, LINES, first - 1, 1};
        if (s)
            assert_int_equal(b->get_rows(f->device, &parts[0][2].on, &last, row), TR_OK);
        assert_int_equal(b->grad_adjoint(f->device, &slab, end[s] - begin[s], &p[1].on,
                                         &p[2].on, &p[3].on, s ? row : NULL, &p[4].on),
                         TR_OK);
        assert_int_equal(
            b->haar(f->device, &slab, end[s] - begin[s], LEVELS, false, &p[0].on), TR_OK);
    }
    for (int s = 0; s < n_shares; s++) {
        for (int k = 0; k < 5; k++)
            put_share(f, &parts[s][k], begin[s], end[s], &v[k]);
        free_vecs(f, parts[s], 5);
    }
    for (int k = 0; k < 5; k++)
        to_device(f, &v[k]);
    b->shrink_vectors(f->device, 0.5f, &v[1].on, &v[2].on, &v[3].on);
    to_host_all(f, v, 5);
}

/* Two shares of the rows, and one and three threads: the same bytes. */
static void test_shares_and_threads(void **state)
{
    (void)state;
    vec v[2][5];
    double sums[2];
    fixture f[2] = {open_first(1), open_first(3)};
    for (int k = 0; k < 2; k++) {
        v[k][0] = new_volume(&f[k], 11, N);
        for (int i = 1; i < 5; i++) {
            v[k][i] = new_volume(&f[k], 0, 0);
            memset(v[k][i].host, 0, v[k][i].n * sizeof(float));
        }
        shares(&f[k], k ? 8 : N, v[k]);
        assert_int_equal(f[k].backend->sum_lengths(f[k].device, &v[k][1].on, &v[k][2].on,
                                                   &v[k][3].on, &sums[k]),
                         TR_OK);
    }
    assert_true(sums[0] == sums[1] && sums[0] > 1.0);
    for (int i = 0; i < 5; i++) {
        assert_true(host_dot(&v[0][i], &v[0][i]) > 1.0);
        assert_memory_equal(v[0][i].host, v[1][i].host, v[0][i].n * sizeof(float));
    }
    for (int k = 0; k < 2; k++) {
        free_vecs(&f[k], v[k], 5);
        close_backend(&f[k]);
    }
}

/* ---- cells outside the field ---- */

/* As many lines in the same order along x, but lying elsewhere. */
static const tr_slab celled = {
    .n_x = N_X - 8, .n_z = N_Z, .rows = ROWS, .p_rows = ROWS, .outer = 4};

static size_t celled_line(size_t line)
{
    return tr_line_at(&celled, line / N_X, line % N_X);
}

/* The volume `plain` (or one value per line, rows = 1) as the celled slab has it. */
static void move_lines(const float *plain, size_t rows, float *to)
{
    for (size_t l = 0; l < LINES; l++)
        memcpy(to + celled_line(l) * rows, plain + l * rows, rows * sizeof *plain);
}

static vec celled_copy(const fixture *f, const vec *plain)
{
    vec v = new_volume(f, 0, 0);
    move_lines(plain->host, ROWS, v.host);
    to_device(f, &v);
    return v;
}

static void check_same(const fixture *f, const vec *plain, const vec *got)
{
    to_host(f, plain);
    to_host(f, got);
    for (size_t l = 0; l < LINES; l++)
        assert_memory_equal(plain->host + l * ROWS, got->host + celled_line(l) * ROWS,
                            ROWS * sizeof *plain->host);
}

/* v: x, its three differences, and their adjoint, all of the given slab. */
static void differences(const fixture *f, const tr_slab *s, const float *row, vec v[5])
{
    assert_int_equal(
        f->backend->grad(f->device, s, N, &v[0].on, row, &v[1].on, &v[2].on, &v[3].on),
        TR_OK);
    assert_int_equal(f->backend->grad_adjoint(f->device, s, N, &v[1].on, &v[2].on,
                                              &v[3].on, row, &v[4].on),
                     TR_OK);
}

static void test_cells(void **state)
{
    (void)state;
    fixture f = open_first(2);
    float row[LINES], celled_row[LINES];
    vec plain[5] = {new_volume(&f, 12, N)}, got[5] = {celled_copy(&f, &plain[0])};
    random_row(row, 2);
    move_lines(row, 1, celled_row);
    for (int k = 1; k < 5; k++) {
        plain[k] = new_volume(&f, 0, 0);
        got[k] = new_volume(&f, 0, 0);
    }
    differences(&f, &slab, row, plain);
    differences(&f, &celled, celled_row, got);
    for (int k = 1; k < 5; k++)
        check_same(&f, &plain[k], &got[k]);
    for (int inverse = 0; inverse < 2; inverse++) {
        vec *v[] = {&plain[0], &got[0]};
        for (int k = 0; k < 2; k++)
            assert_int_equal(f.backend->haar(f.device, k ? &celled : &slab, N, LEVELS,
                                             inverse, &v[k]->on),
                             TR_OK);
        check_same(&f, &plain[0], &got[0]);
    }
    free_vecs(&f, plain, 5);
    free_vecs(&f, got, 5);
    close_backend(&f);
}

/* The adjoint of the differences, and that the Haar transform keeps lengths. */
static void test_cells_adjoint(void **state)
{
    (void)state;
    fixture f = open_first(2);
    float none[LINES] = {0};
    vec v[5] = {new_volume(&f, 13, N)}, y = new_volume(&f, 0, 0);
    vec g[3] = {new_volume(&f, 14, N), new_volume(&f, 15, N), new_volume(&f, 16, N)};
    for (int k = 1; k < 5; k++)
        v[k] = new_volume(&f, 0, 0);
    differences(&f, &celled, none, v);
    assert_int_equal(f.backend->grad_adjoint(f.device, &celled, N, &g[0].on, &g[1].on,
                                             &g[2].on, NULL, &y.on),
                     TR_OK);
    to_host_all(&f, v, 5);
    to_host(&f, &y);
    double forward = 0.0, squares = host_dot(&v[0], &v[0]);
    for (int k = 0; k < 3; k++)
        forward += host_dot(&v[k + 1], &g[k]);
    assert_true(fabs(forward) > 1.0);
    CLOSE(host_dot(&v[0], &y), forward, 1e-6 * squares);
    assert_int_equal(f.backend->haar(f.device, &celled, N, LEVELS, false, &v[0].on),
                     TR_OK);
    to_host(&f, &v[0]);
    CLOSE(host_dot(&v[0], &v[0]), squares, 1e-6 * squares);
    free_vecs(&f, v, 5);
    free_vecs(&f, g, 3);
    free_vec(&f, &y);
    close_backend(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grad),
        cmocka_unit_test(test_grad_adjoint),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_haar),
        cmocka_unit_test(test_haar_of_a_block),
        cmocka_unit_test(test_shares_and_threads),
        cmocka_unit_test(test_cells),
        cmocka_unit_test(test_cells_adjoint),
    };
    int missing = backend_missing();
    return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
