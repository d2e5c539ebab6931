/* Differences, their adjoint, shrinkage and the Haar transform against references in
 * double precision, whole and in two shares of the rows. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../kernels/backend.h"

/* Odd lengths, so that the Haar transform leaves something over at every level; the last
 * lanes are not in use. */
enum { N_X = 13, N_Z = 11, ROWS = 32, N = 22, LINES = N_X * N_Z, LEVELS = 3 };

static const tr_slab slab = {.n_x = N_X, .n_z = N_Z, .rows = ROWS, .p_rows = ROWS};

typedef struct fixture {
    const tr_backend *b;
    void *device;
} fixture;

static fixture open_backend(int threads)
{
    fixture f = {.b = tr_backend_find("cpu")};
    assert_non_null(f.b);
    if (f.b->open(&(tr_backend_settings){.threads = threads}, &f.device) != TR_OK)
        fail_msg("%s", tr_error());
    return f;
}

/* With a seed, `n` lanes of each line random and the others 0; without, 7: not what any
 * operation leaves there. */
static tr_vec new_vec(const fixture *f, uint64_t seed, size_t n)
{
    tr_vec v = {.lines = LINES, .rows = ROWS};
    assert_int_equal(f->b->alloc(f->device, (size_t)LINES * ROWS, &v.data), TR_OK);
    f->b->fill(f->device, &v, 7.0f);
    for (size_t i = 0; seed && i < (size_t)LINES * ROWS; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        v.data[i] = i % ROWS < n ? (float)(seed >> 40) / (float)(1 << 23) - 1.0f : 0.0f;
    }
    return v;
}

static void free_vecs(const fixture *f, tr_vec *v, size_t count)
{
    for (size_t i = 0; i < count; i++)
        f->b->free(f->device, v[i].data);
}

static double dot(const tr_vec *a, const tr_vec *b)
{
    double sum = 0.0;
    for (size_t i = 0; i < (size_t)LINES * ROWS; i++)
        sum += (double)a->data[i] * b->data[i];
    return sum;
}

static double value(const tr_vec *v, size_t z, size_t x, size_t r)
{
    return v->data[(z * N_X + x) * ROWS + r];
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
    fixture f = open_backend(2);
    tr_vec x = new_vec(&f, 1, ROWS); /* also what is not to be read is not 0 */
    tr_vec g[3] = {new_vec(&f, 0, 0), new_vec(&f, 0, 0), new_vec(&f, 0, 0)};
    assert_int_equal(f.b->grad(f.device, &slab, N, &x, above, &g[0], &g[1], &g[2]),
                     TR_OK);
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
    f.b->close(f.device);
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
    fixture f = open_backend(2);
    float none[LINES] = {0}, below[LINES];
    random_row(below, 1);
    tr_vec x = new_vec(&f, 2, N), y[2] = {new_vec(&f, 0, 0), new_vec(&f, 0, 0)};
    tr_vec g[3] = {new_vec(&f, 3, ROWS), new_vec(&f, 4, ROWS), new_vec(&f, 5, ROWS)};
    tr_vec Lx[3] = {new_vec(&f, 0, 0), new_vec(&f, 0, 0), new_vec(&f, 0, 0)};
    f.b->grad(f.device, &slab, N, &x, none, &Lx[0], &Lx[1], &Lx[2]);
    assert_int_equal(
        f.b->grad_adjoint(f.device, &slab, N, &g[0], &g[1], &g[2], NULL, &y[0]), TR_OK);
    double forward = dot(&Lx[0], &g[0]) + dot(&Lx[1], &g[1]) + dot(&Lx[2], &g[2]);
    assert_true(fabs(forward) > 1.0);
    CLOSE(dot(&x, &y[0]), forward, 1e-6 * dot(&Lx[0], &Lx[0]));
    f.b->grad_adjoint(f.device, &slab, N, &g[0], &g[1], &g[2], below, &y[1]);
    for (size_t l = 0; l < LINES; l++)
        for (size_t r = 0; r < ROWS; r++) {
            double more = r == 0 ? below[l] : 0.0;
            CLOSE(y[1].data[l * ROWS + r], y[0].data[l * ROWS + r] + more, 1e-6);
            assert_true(r < N || y[1].data[l * ROWS + r] == 0.0f);
        }
    free_vecs(&f, &x, 1);
    free_vecs(&f, y, 2);
    free_vecs(&f, g, 3);
    free_vecs(&f, Lx, 3);
    f.b->close(f.device);
}

/* ---- lengths ---- */

static void test_lengths(void **state)
{
    (void)state;
    fixture f = open_backend(2);
    tr_vec g[3] = {new_vec(&f, 6, N), new_vec(&f, 7, N), new_vec(&f, 8, N)}, old[3];
    double lengths = 0.0, absolute = 0.0, sum;
    size_t gone = 0;
    for (int k = 0; k < 3; k++) {
        old[k] = new_vec(&f, 0, 0);
        f.b->copy(f.device, &g[k], &old[k]);
    }
    assert_int_equal(f.b->shrink_vectors(f.device, 0.6f, &g[0], &g[1], &g[2]), TR_OK);
    for (size_t i = 0; i < (size_t)LINES * ROWS; i++) {
        double a = old[0].data[i], b = old[1].data[i], c = old[2].data[i];
        double length = sqrt(a * a + b * b + c * c);
        double kept = length > 0.6f ? 1.0 - 0.6f / length : 0.0;
        gone += kept == 0.0;
        lengths += length;
        absolute += fabs(a);
        CLOSE(g[0].data[i], kept * a, 1e-6);
        CLOSE(g[1].data[i], kept * b, 1e-6);
        CLOSE(g[2].data[i], kept * c, 1e-6);
    }
    assert_true(gone > LINES && gone < (size_t)LINES * ROWS - LINES);
    assert_int_equal(f.b->sum_lengths(f.device, &old[0], &old[1], &old[2], &sum), TR_OK);
    CLOSE(sum, lengths, 1e-10 * lengths);
    assert_int_equal(f.b->sum_lengths(f.device, &old[0], NULL, NULL, &sum), TR_OK);
    CLOSE(sum, absolute, 1e-10 * absolute);
    free_vecs(&f, g, 3);
    free_vecs(&f, old, 3);
    f.b->close(f.device);
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
    fixture f = open_backend(2);
    tr_vec x = new_vec(&f, 9, N), y = new_vec(&f, 10, N), w = new_vec(&f, 0, 0);
    double *wanted = calloc((size_t)LINES * ROWS, sizeof *wanted);
    assert_non_null(wanted);
    for (size_t i = 0; i < (size_t)LINES * ROWS; i++)
        wanted[i] = x.data[i];
    reference_haar(wanted, LEVELS);
    f.b->copy(f.device, &x, &w);
    assert_int_equal(f.b->haar(f.device, &slab, N, LEVELS, false, &w), TR_OK);
    for (size_t i = 0; i < (size_t)LINES * ROWS; i++)
        CLOSE(w.data[i], wanted[i], 2e-6);
    free(wanted);
    CLOSE(dot(&w, &w), dot(&x, &x), 1e-6 * dot(&x, &x));
    double forward = dot(&w, &y);
    f.b->haar(f.device, &slab, N, LEVELS, true, &y);
    CLOSE(dot(&x, &y), forward, 1e-6 * dot(&x, &x));
    f.b->haar(f.device, &slab, N, LEVELS, true, &w);
    for (size_t i = 0; i < (size_t)LINES * ROWS; i++)
        CLOSE(w.data[i], x.data[i], 2e-6);
    free_vecs(&f, &x, 1);
    free_vecs(&f, &y, 1);
    free_vecs(&f, &w, 1);
    f.b->close(f.device);
}

/* A constant within a block of 8 x 8 voxels and 2 rows is one coefficient. */
static void test_haar_of_a_block(void **state)
{
    (void)state;
    fixture f = open_backend(1);
    tr_vec x = new_vec(&f, 0, 0);
    f.b->fill(f.device, &x, 0.0f);
    for (int l = 0; l < 64; l++)
        for (int r = 4; r < 6; r++)
            x.data[(l / 8 * N_X + l % 8) * ROWS + r] = 1.0f;
    f.b->haar(f.device, &slab, N, LEVELS, false, &x);
    for (size_t i = 0; i < (size_t)LINES * ROWS; i++)
        CLOSE(x.data[i], i == 4 ? sqrt(128.0) : 0.0, 1e-5);
    free_vecs(&f, &x, 1);
    f.b->close(f.device);
}

/* ---- what must not show in a result ---- */

/* Two shares of the rows that exchange their neighbouring rows, and one and three
 * threads: the same bytes. */
static void shares(const fixture *f, size_t first, tr_vec *x, tr_vec *g, tr_vec *y)
{
    const size_t begin[] = {0, first}, end[] = {first, N};
    float row[2][LINES];
    tr_vec part[5], parts[2][5];
    for (int s = 0; s < 2 && begin[s] < N; s++) {
        size_t n = end[s] - begin[s];
        for (int k = 0; k < 5; k++) {
            part[k] = new_vec(f, 0, 0);
            memset(part[k].data, 0, (size_t)LINES * ROWS * sizeof(float));
        }
        for (size_t l = 0; l < LINES; l++) {
            memcpy(part[0].data + l * ROWS, x->data + l * ROWS + begin[s],
                   n * sizeof(float));
            row[s][l] = x->data[l * ROWS + end[s] % N]; /* the first of the next */
        }
        f->b->grad(f->device, &slab, n, &part[0], end[s] < N ? row[s] : NULL, &part[1],
                   &part[2], &part[3]);
        f->b->haar(f->device, &slab, n, LEVELS, false, &part[0]);
        memcpy(parts[s], part, sizeof part);
    }
    for (int s = 0; s < 2 && begin[s] < N; s++) {
        size_t n = end[s] - begin[s];
        tr_vec *p = parts[s];
        for (size_t l = 0; s && l < LINES; l++)
            row[0][l] = parts[0][2].data[l * ROWS + first - 1];
        f->b->grad_adjoint(f->device, &slab, n, &p[1], &p[2], &p[3], s ? row[0] : NULL,
                           &p[4]);
        for (size_t l = 0; l < LINES; l++) {
            size_t to = l * ROWS + begin[s];
            memcpy(x->data + to, p[0].data + l * ROWS, n * sizeof(float));
            for (int k = 0; k < 3; k++)
                memcpy(g[k].data + to, p[k + 1].data + l * ROWS, n * sizeof(float));
            memcpy(y->data + to, p[4].data + l * ROWS, n * sizeof(float));
        }
    }
    for (int s = 0; s < 2 && begin[s] < N; s++)
        free_vecs(f, parts[s], 5);
    f->b->shrink_vectors(f->device, 0.5f, &g[0], &g[1], &g[2]);
}

static void test_shares_and_threads(void **state)
{
    (void)state;
    tr_vec v[2][5];
    fixture f[2] = {open_backend(1), open_backend(3)};
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 5; i++) {
            v[k][i] = new_vec(&f[k], 0, 0);
            memset(v[k][i].data, 0, (size_t)LINES * ROWS * sizeof(float));
        }
        tr_vec x = new_vec(&f[k], 11, N);
        f[k].b->copy(f[k].device, &x, &v[k][0]);
        f[k].b->free(f[k].device, x.data);
        shares(&f[k], k ? 8 : N, &v[k][0], &v[k][1], &v[k][4]);
    }
    double sums[2];
    for (int k = 0; k < 2; k++)
        f[k].b->sum_lengths(f[k].device, &v[k][1], &v[k][2], &v[k][3], &sums[k]);
    assert_true(sums[0] == sums[1] && sums[0] > 1.0);
    for (int i = 0; i < 5; i++) {
        assert_true(dot(&v[0][i], &v[0][i]) > 1.0);
        assert_memory_equal(v[0][i].data, v[1][i].data,
                            (size_t)LINES * ROWS * sizeof(float));
    }
    for (int k = 0; k < 2; k++) {
        free_vecs(&f[k], v[k], 5);
        f[k].b->close(f[k].device);
    }
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
