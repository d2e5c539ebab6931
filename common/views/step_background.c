/* A smooth background across the tilt axis, as of uneven illumination, which a model of
 * the views (view_params.h) would explain by densities: the quadratic in u that is
 * nearest to the view is taken away, and its mean with it. */
#include <math.h>
#include <stdlib.h>

#include "common/views/view_step.h"

static bool wanted(const tr_view_params *params, const tr_view_facts *view)
{
    (void)view;
    return params->model;
}

/* Column x, row y: from -1 to 1 or less across the tilt axis. */
typedef struct across {
    double x, y, zero;
} across;

static across direction(const tr_view_facts *view, size_t nx, size_t ny)
{
    const tr_transform *t = &view->view->transform;
    double x = t->a11, y = t->a12;
    if (!(hypot(x, y) > 0.0))
        x = 1.0, y = 0.0;
    double half = 0.5 * (fabs(x) * (double)nx + fabs(y) * (double)ny);
    x /= half, y /= half;
    return (across){x, y, -x * ((double)nx - 1.0) / 2.0 - y * ((double)ny - 1.0) / 2.0};
}

/* Legendre polynomials, so that the equations are well conditioned. */
static void basis(const across *a, size_t x, size_t y, double p[3])
{
    double u = a->zero + a->x * (double)x + a->y * (double)y;
    p[0] = 1.0;
    p[1] = u;
    p[2] = 1.5 * u * u - 0.5;
}

static double determinant(const double a[3][3])
{
    return a[0][0] * (a[1][1] * a[2][2] - a[1][2] * a[2][1]) -
           a[0][1] * (a[1][0] * a[2][2] - a[1][2] * a[2][0]) +
           a[0][2] * (a[1][0] * a[2][1] - a[1][1] * a[2][0]);
}

/* By Cramer's rule; a view too narrow for a quadratic loses its mean. */
static void solve(const double a[3][3], const double b[3], double x[3])
{
    double all = determinant(a);
    bool singular = !(fabs(all) > 1e-6 * a[0][0] * a[0][0] * a[0][0]);
    for (int k = 0; k < 3; k++) {
        double with[3][3];
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++)
                with[i][j] = j == k ? b[i] : a[i][j];
        x[k] = singular ? 0.0 : determinant(with) / all;
    }
    if (singular)
        x[0] = b[0] / a[0][0];
}

static tr_status image(const tr_view_params *params, const tr_view_facts *view, size_t nx,
                       size_t ny, float *image)
{
    const across axis = direction(view, nx, ny);
    double a[3][3] = {{0.0}}, b[3] = {0.0}, p[3], c[3];
    (void)params;
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++) {
            basis(&axis, x, y, p);
            for (int i = 0; i < 3; i++) {
                b[i] += p[i] * image[y * nx + x];
                for (int j = 0; j < 3; j++)
                    a[i][j] += p[i] * p[j];
            }
        }
    solve(a, b, c);
    for (size_t y = 0; y < ny; y++)
        for (size_t x = 0; x < nx; x++) {
            basis(&axis, x, y, p);
            image[y * nx + x] -= (float)(c[0] * p[0] + c[1] * p[1] + c[2] * p[2]);
        }
    return TR_OK;
}

const tr_view_step tr_step_background = {
    .name = "background", .wanted = wanted, .image = image};
