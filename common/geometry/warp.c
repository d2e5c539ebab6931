#include "common/geometry/warp.h"

#include <math.h>
#include <string.h>

void tr_transform_inverse(const tr_transform *t, size_t n_u, size_t n_v, size_t raw_u,
                          size_t raw_v, double m[6])
{
    double det = t->a11 * t->a22 - t->a12 * t->a21;
    double cu = (double)n_u / 2.0 - 0.5, cv = (double)n_v / 2.0 - 0.5;
    double raw_cu = (double)raw_u / 2.0 - 0.5, raw_cv = (double)raw_v / 2.0 - 0.5;
    m[0] = t->a22 / det;
    m[1] = -t->a12 / det;
    m[3] = -t->a21 / det;
    m[4] = t->a11 / det;
    m[2] = raw_cu - m[0] * (cu + t->dx) - m[1] * (cv + t->dy);
    m[5] = raw_cv - m[3] * (cu + t->dx) - m[4] * (cv + t->dy);
}

void tr_map_compose(const double second[6], const double first[6], double m[6])
{
    double result[6];
    for (int i = 0; i < 6; i += 3) {
        result[i] = second[i] * first[0] + second[i + 1] * first[3];
        result[i + 1] = second[i] * first[1] + second[i + 1] * first[4];
        result[i + 2] = second[i] * first[2] + second[i + 1] * first[5] + second[i + 2];
    }
    memcpy(m, result, sizeof result);
}

static void clip(double low, double high, size_t n, size_t *first, size_t *count)
{
    /* Cubic interpolation touches one pixel before and two after. */
    double last = (double)n - 1.0;
    double a = fmin(fmax(floor(low) - 1.0, 0.0), last);
    double b = fmin(fmax(floor(high) + 2.0, a), last);
    *first = (size_t)a;
    *count = (size_t)(b - a) + 1;
}

tr_window_2d tr_map_window(const double m[6], const tr_displacement *d, size_t n_u,
                           size_t n_v, size_t columns, long row, size_t rows)
{
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    for (int corner = 0; corner < 4; corner++) {
        double u = corner & 1 ? (double)columns - 1.0 : 0.0;
        double v = (double)row + (corner & 2 ? (double)rows - 1.0 : 0.0);
        for (int i = 0; i < 2; i++) {
            double at = m[3 * i] * u + m[3 * i + 1] * v + m[3 * i + 2];
            low[i] = fmin(low[i], at);
            high[i] = fmax(high[i], at);
        }
    }
    for (int i = 0; i < 2 && d; i++) {
        low[i] += d->low[i];
        high[i] += d->high[i];
    }
    tr_window_2d w;
    clip(low[0], high[0], n_u, &w.x0, &w.nx);
    clip(low[1], high[1], n_v, &w.y0, &w.ny);
    return w;
}

static void cubic_weights(double t, double w[4])
{
    w[0] = t * (-0.5 + t * (1.0 - 0.5 * t));
    w[1] = 1.0 + t * t * (-2.5 + 1.5 * t);
    w[2] = t * (0.5 + t * (2.0 - 1.5 * t));
    w[3] = t * t * (-0.5 + 0.5 * t);
}

/* Index of a tap in the window, the image's edge repeated. */
static size_t tap(double at, size_t n, size_t first, size_t count)
{
    double inside = fmin(fmax(at, 0.0), (double)n - 1.0) - (double)first;
    inside = fmin(fmax(inside, 0.0), (double)count - 1.0);
    return (size_t)inside;
}

static float sample(const float *source, const tr_window_2d *w, size_t n_u, size_t n_v,
                    double u, double v)
{
    double whole_u = floor(u), whole_v = floor(v), wu[4], wv[4], sum = 0.0;
    size_t column[4];
    cubic_weights(u - whole_u, wu);
    cubic_weights(v - whole_v, wv);
    for (int i = 0; i < 4; i++)
        column[i] = tap(whole_u + i - 1, n_u, w->x0, w->nx);
    for (int j = 0; j < 4; j++) {
        const float *line = source + tap(whole_v + j - 1, n_v, w->y0, w->ny) * w->nx;
        double across = 0.0;
        for (int i = 0; i < 4; i++)
            across += wu[i] * line[column[i]];
        sum += wv[j] * across;
    }
    return (float)sum;
}

static bool outside(double at, size_t n) { return at < -0.5 || at > (double)n - 0.5; }

void tr_warp_rows(const double m[6], const tr_displacement *d, const float *source,
                  const tr_window_2d *w, size_t n_u, size_t n_v, const float *fill,
                  size_t columns, long row, size_t rows, float *out)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++) {
            double y = (double)row + (double)r, x = (double)c;
            double u = m[0] * x + m[1] * y + m[2], v = m[3] * x + m[4] * y + m[5];
            if (d)
                tr_displace(d, &u, &v);
            if (fill && (outside(u, n_u) || outside(v, n_v))) {
                out[r * columns + c] = *fill;
                continue;
            }
            u = fmin(fmax(u, 0.0), (double)n_u - 1.0);
            v = fmin(fmax(v, 0.0), (double)n_v - 1.0);
            out[r * columns + c] = sample(source, w, n_u, n_v, u, v);
        }
}
