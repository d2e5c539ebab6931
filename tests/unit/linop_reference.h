/* Small matrices in double, and those of the parts of which the tests of composed
 * operators are made. */
#ifndef TR_LINOP_REFERENCE_H
#define TR_LINOP_REFERENCE_H

#include "backend_fixture.h"

enum {
    VIEWS = 4,
    N_U = 11,
    N_X = 9,
    N_Z = 5,
    ROWS = 16,
    LINE = N_U + TR_GUARDS,
    NP = VIEWS * N_U, /* of one row */
    NV = N_Z * N_X
};

/* Of one row, [to][from]. */
typedef struct matrix {
    size_t m, n;
    double v[NP * NP + NV * NV];
} matrix;

static inline matrix *new_matrix(size_t m, size_t n)
{
    matrix *a = calloc(1, sizeof *a);
    assert_non_null(a);
    a->m = m;
    a->n = n;
    return a;
}

/* second * first; both are freed. */
static inline matrix *times(matrix *second, matrix *first)
{
    matrix *a = new_matrix(second->m, first->n);
    assert_int_equal(second->n, first->m);
    for (size_t i = 0; i < a->m; i++)
        for (size_t k = 0; k < first->m; k++)
            for (size_t j = 0; j < a->n; j++)
                a->v[i * a->n + j] +=
                    second->v[i * second->n + k] * first->v[k * a->n + j];
    free(second);
    free(first);
    return a;
}

static inline matrix *plus(matrix *a, matrix *b)
{
    for (size_t i = 0; i < a->m * a->n; i++)
        a->v[i] += b->v[i];
    free(b);
    return a;
}

/* B: neighbouring columns, each view its own way. M: neighbouring voxels. */
static inline double b_weight(size_t view, size_t to, size_t from)
{
    return to == from       ? 1.5 + (double)view
           : to == from + 1 ? 0.5
           : from == to + 1 ? -0.25 * (double)(view + 1)
                            : 0.0;
}

static inline double m_weight(size_t to, size_t from)
{
    return to == from ? 1.0 : from == to + 2 ? 0.75 : from + 1 == to ? -0.125 : 0.0;
}

static inline matrix *matrix_b(void)
{
    matrix *a = new_matrix(NP, NP);
    for (size_t i = 0; i < NP; i++)
        for (size_t j = 0; j < NP; j++)
            a->v[i * NP + j] =
                i / N_U == j / N_U ? b_weight(i / N_U, i % N_U, j % N_U) : 0.0;
    return a;
}

static inline matrix *matrix_m(void)
{
    matrix *a = new_matrix(NV, NV);
    for (size_t i = 0; i < NV; i++)
        for (size_t j = 0; j < NV; j++)
            a->v[i * NV + j] = m_weight(i, j);
    return a;
}

#endif
