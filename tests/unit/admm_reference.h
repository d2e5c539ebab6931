/* A tiny reconstruction problem with a regularizer, solved in double and by another
 * method than the program's: the primal-dual iteration of Chambolle and Pock (2011) with
 * the projection matrix written out and its x-step solved by Cholesky's factors. */
#ifndef TR_ADMM_REFERENCE_H
#define TR_ADMM_REFERENCE_H

#include <stdio.h>

#include "common/geometry/geometry.h"
#include "operator_reference.h"

/* Rows: those in use; lanes: those there are. */
enum { N_X = 8, N_Z = 6, ROWS = 14, LANES = 16, VIEWS = 7, N_U = 8 };
enum { LINES = N_X * N_Z, COLUMNS = VIEWS * N_U, VOXELS = LINES * ROWS };
enum { IMAGES = VIEWS * (N_U + TR_GUARDS) * LANES };

static const double tilts[VIEWS] = {-60, -41, -18, 1, 22, 39, 60};

/* ---- the problem, whole, in double ---- */

typedef struct problem {
    tr_geometry geometry;
    tr_ray rays[VIEWS];
    tr_slab slab;
    double A[COLUMNS][LINES], R[COLUMNS]; /* of one row */
    double b[COLUMNS][ROWS];
    double factors[LINES][LINES]; /* of 1 + TAU A^T R A */
} problem;

static void fill_matrix(void *data, size_t voxel, size_t sample, double weight)
{
    problem *p = data;
    size_t lane = voxel % LANES, line = sample / LANES, column = line % (N_U + TR_GUARDS);
    if (lane == 0)
        p->A[line / (N_U + TR_GUARDS) * N_U + column - 1][voxel / LANES] += weight;
}

static const double TAU = 0.08, SIGMA = 0.95; /* TAU SIGMA |L|^2 < 1, where |L|^2 <= 13 */

static void factorise(problem *p)
{
    for (int i = 0; i < LINES; i++)
        for (int j = 0; j <= i; j++) {
            double sum = i == j;
            for (int c = 0; c < COLUMNS; c++)
                sum += TAU * p->R[c] * p->A[c][i] * p->A[c][j];
            for (int k = 0; k < j; k++)
                sum -= p->factors[i][k] * p->factors[j][k];
            p->factors[i][j] = i == j ? sqrt(sum) : sum / p->factors[j][j];
        }
}

/* A few blocks, also of negative density, and noise. */
static double truth(int x, int z, int r)
{
    return (x > 1 && x < 5 && z > 1 && r > 2 && r < 9) - 0.7 * (x == 6 && r > 6);
}

static double noise(int k) { return sin(12.9898 * k) + sin(78.233 * k * k); }

static problem *make_problem(void)
{
    problem *p = calloc(1, sizeof *p);
    assert_non_null(p);
    const tr_geometry_spec spec = {.n_views = VIEWS,
                                   .tilts = tilts,
                                   .n_u = N_U,
                                   .n_v = ROWS,
                                   .width = N_X,
                                   .thickness = N_Z};
    assert_int_equal(tr_geometry_init(&spec, &p->geometry), TR_OK);
    for (size_t i = 0; i < VIEWS; i++)
        p->rays[i] = tr_geometry_direct_ray(&p->geometry, i, NULL, 0, 0);
    p->slab = (tr_slab){.n_views = VIEWS,
                        .n_u = N_U,
                        .n_x = N_X,
                        .n_z = N_Z,
                        .rows = LANES,
                        .p_rows = LANES,
                        .rays = p->rays};
    reference_pairs(&p->slab, fill_matrix, p);
    for (int c = 0; c < COLUMNS; c++) {
        double sum = 0.0;
        for (int l = 0; l < LINES; l++)
            sum += p->A[c][l];
        p->R[c] = sum > 1e-3 ? 1.0 / sum : 0.0;
        for (int r = 0; r < ROWS; r++) {
            for (int l = 0; l < LINES; l++)
                p->b[c][r] += p->A[c][l] * truth(l % N_X, l / N_X, r);
            p->b[c][r] = (float)(p->b[c][r] + 0.3 * noise(c * ROWS + r));
        }
    }
    factorise(p);
    return p;
}

static void free_problem(problem *p)
{
    tr_geometry_free(&p->geometry);
    free(p);
}

/* b - A x */
TR_REFERENCE static void residual(const problem *p, const double *x, double (*d)[ROWS])
{
    memcpy(d, p->b, sizeof p->b);
    for (int c = 0; c < COLUMNS; c++)
        for (int l = 0; l < LINES; l++)
            for (int r = 0; p->A[c][l] != 0.0 && r < ROWS; r++)
                d[c][r] -= p->A[c][l] * x[l * ROWS + r];
}

/* v += L x, or x += L^T v, for v = [4][LINES][ROWS]: differences along x, y and z or in
 * [0] the Haar coefficients or x itself, and in [3] x itself. */
typedef enum kind { TV, L1, HAAR } kind;
static const char *const names[] = {"tv", "l1", "haar"};

/* Orthonormal, from its definition: `visit` each coefficient's voxels. */
static void haar_level(double *v, int n_x, int n_z, int step, bool inverse)
{
    for (int pass = 0; pass < 2; pass++) {
        bool along_x = (pass == 0) != inverse;
        for (int z = 0; z < (along_x ? n_z : n_z / 2); z++)
            for (int x = 0; x < (along_x ? n_x / 2 : n_x); x++)
                for (int r = 0; r < ROWS; r++) {
                    int at_x = x * step * (along_x ? 2 : 1);
                    int at_z = z * step * (along_x ? 1 : 2);
                    double *a = v + (at_z * N_X + at_x) * ROWS + r;
                    double *b = a + step * (along_x ? 1 : N_X) * ROWS;
                    double sum = (*a + *b) / sqrt(2.0);
                    *b = (*a - *b) / sqrt(2.0);
                    *a = sum;
                }
    }
}

static void haar_rows(double *v)
{
    for (int i = 0; i + 1 < VOXELS; i += 2) {
        double sum = (v[i] + v[i + 1]) / sqrt(2.0);
        v[i + 1] = (v[i] - v[i + 1]) / sqrt(2.0);
        v[i] = sum;
    }
}

static void haar(double *v, bool inverse)
{
    if (inverse)
        haar_rows(v);
    for (int k = 0; k < 3; k++) {
        int level = inverse ? 2 - k : k;
        haar_level(v, N_X >> level, N_Z >> level, 1 << level, inverse);
    }
    if (!inverse)
        haar_rows(v);
}

TR_REFERENCE static void differences(double *x, double (*v)[VOXELS], bool adjoint)
{
    static const int stride[] = {ROWS, 1, N_X * ROWS};
    for (int i = 0; i < VOXELS; i++) {
        const bool inside[] = {i / ROWS % N_X + 1 < N_X, i % ROWS + 1 < ROWS,
                               i / ROWS / N_X + 1 < N_Z};
        for (int k = 0; k < 3; k++) {
            if (inside[k] && adjoint) {
                x[i + stride[k]] += v[k][i];
                x[i] -= v[k][i];
            } else if (inside[k]) {
                v[k][i] += x[i + stride[k]] - x[i];
            }
        }
    }
}

static void apply_L(kind which, double *x, double (*v)[VOXELS])
{
    memset(v, 0, 4 * sizeof *v);
    if (which == TV)
        differences(x, v, false);
    else
        memcpy(v[0], x, sizeof *v);
    if (which == HAAR)
        haar(v[0], false);
    memcpy(v[3], x, sizeof *v);
}

static void apply_L_adjoint(kind which, double (*v)[VOXELS], double *x)
{
    memset(x, 0, sizeof *v);
    if (which == TV)
        differences(x, v, true);
    else
        memcpy(x, v[0], sizeof *v);
    if (which == HAAR)
        haar(x, true);
    for (int i = 0; i < VOXELS; i++)
        x[i] += v[3][i];
}

static double objective(const problem *p, kind which, double lambda, double *x)
{
    static double v[4][VOXELS], d[COLUMNS][ROWS];
    double sum = 0.0;
    residual(p, x, d);
    for (int c = 0; c < COLUMNS; c++)
        for (int r = 0; r < ROWS; r++)
            sum += 0.5 * p->R[c] * d[c][r] * d[c][r];
    apply_L(which, x, v);
    for (int i = 0; i < VOXELS; i++)
        sum +=
            lambda *
            (which == TV ? sqrt(v[0][i] * v[0][i] + v[1][i] * v[1][i] + v[2][i] * v[2][i])
                         : fabs(v[0][i]));
    return sum;
}

/* x minimises |b - A x|_R^2 / 2 + |x - at|^2 / (2 TAU); `at` becomes x. */
TR_REFERENCE static void data_step(const problem *p, double *at)
{
    for (int l = 0; l < LINES; l++)
        for (int c = 0; c < COLUMNS; c++)
            for (int r = 0; p->A[c][l] != 0.0 && r < ROWS; r++)
                at[l * ROWS + r] += TAU * p->A[c][l] * p->R[c] * p->b[c][r];
    for (int i = 0; i < LINES; i++)
        for (int r = 0; r < ROWS; r++) {
            for (int k = 0; k < i; k++)
                at[i * ROWS + r] -= p->factors[i][k] * at[k * ROWS + r];
            at[i * ROWS + r] /= p->factors[i][i];
        }
    for (int i = LINES - 1; i >= 0; i--)
        for (int r = 0; r < ROWS; r++) {
            for (int k = i + 1; k < LINES; k++)
                at[i * ROWS + r] -= p->factors[k][i] * at[k * ROWS + r];
            at[i * ROWS + r] /= p->factors[i][i];
        }
}

/* The dual variable back to what it may be. */
static void limit(kind which, bool positive, double lambda, double (*y)[VOXELS])
{
    for (int i = 0; i < VOXELS; i++) {
        double length =
            which == TV ? sqrt(y[0][i] * y[0][i] + y[1][i] * y[1][i] + y[2][i] * y[2][i])
                        : fabs(y[0][i]);
        for (int k = 0; k < 3 && length > lambda; k++)
            y[k][i] *= lambda / length;
        y[3][i] = positive ? fmin(y[3][i], 0.0) : 0.0;
    }
}

/* Until x changes by no more than 3e-9 of its length in a hundred steps. */
static void solve(const problem *p, kind which, double lambda, bool positive, double *x)
{
    static double y[4][VOXELS], Lx[4][VOXELS], old[VOXELS], ahead[VOXELS], before[VOXELS];
    memset(y, 0, sizeof y);
    memset(x, 0, VOXELS * sizeof *x);
    for (int k = 0; k < 300000; k++) {
        memcpy(old, x, sizeof old);
        apply_L_adjoint(which, y, ahead);
        for (int i = 0; i < VOXELS; i++)
            x[i] -= TAU * ahead[i];
        data_step(p, x);
        for (int i = 0; i < VOXELS; i++)
            ahead[i] = 2.0 * x[i] - old[i];
        apply_L(which, ahead, Lx);
        for (int i = 0; i < VOXELS; i++)
            for (int j = 0; j < 4; j++)
                y[j][i] += SIGMA * Lx[j][i];
        limit(which, positive, lambda, y);
        double change = 0.0, length = 0.0;
        for (int i = 0; k % 100 == 99 && i < VOXELS; i++) {
            change += (x[i] - before[i]) * (x[i] - before[i]);
            length += x[i] * x[i];
            before[i] = x[i];
        }
        if (k > 100 && k % 100 == 99 && change <= 1e-17 * length)
            return;
    }
    fail_msg("the reference has not converged for %s", names[which]);
}

#endif
