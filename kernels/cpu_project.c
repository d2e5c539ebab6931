/* Backprojection and its adjoint on the CPU: see cpu_project.h. Interpolation weights
 * are computed once per voxel and view and used for a whole vector of rows. */
#include "cpu_project.h"

#include <stdlib.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "ray_body.h"

#ifndef TR_ISA
#define TR_ISA baseline
#endif
#define TR_JOIN_(a, b) a##b
#define TR_JOIN(a, b) TR_JOIN_(a, b)
#define TR_TEXT_(a) #a
#define TR_TEXT(a) TR_TEXT_(a)

#if defined(__AVX512F__)
enum { VECTOR = 16 };
#elif defined(__AVX__)
enum { VECTOR = 8 };
#else
enum { VECTOR = 4 };
#endif
typedef float vec __attribute__((vector_size(4 * VECTOR), aligned(4 * VECTOR)));

enum {
    WIDE = 4,       /* vectors of rows kept in registers */
    VIEW_GROUP = 8, /* views whose lines stay in the first-level cache together */
    TILE = 8,       /* voxels in x and z while they do */
    BLOCK = 32,     /* voxels in x and z that one thread works on */
    STRIP_X = 64,   /* forward: voxels in x and z read by a whole group of views */
    STRIP_Z = 16
};

static inline size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

static inline size_t view_at(const tr_subset *views, size_t k)
{
    return views ? views->views[k] : k;
}

static inline size_t view_count(const tr_slab *s, const tr_subset *views)
{
    return views ? views->n : s->n_views;
}

/* What a view group needs for one tile, views in lanes so that the compiler computes
 * all of a voxel's columns at once. */
typedef struct view_group {
    size_t n;
    double u0[VIEW_GROUP], ux[VIEW_GROUP], uz[VIEW_GROUP];
    const float *p[VIEW_GROUP]; /* the view's left guard */
} view_group;

static view_group load_group(const tr_slab *s, const tr_subset *views, size_t first,
                             const float *p)
{
    view_group g = {.n = min_size(VIEW_GROUP, view_count(s, views) - first)};
    for (size_t k = 0; k < VIEW_GROUP; k++) {
        /* Spare lanes repeat the last view; they are computed, never used. */
        size_t view = view_at(views, first + min_size(k, g.n - 1));
        g.u0[k] = s->rays[view].u0;
        g.ux[k] = s->rays[view].ux;
        g.uz[k] = s->rays[view].uz;
        g.p[k] = p + view * (s->n_u + TR_GUARDS) * s->rows;
    }
    return g;
}

/* Add a view group to WIDE vectors of one voxel's rows. */
#define TR_ADD_GROUP(NVEC)                                                               \
    static inline __attribute__((always_inline)) void add_group_##NVEC(                  \
        float *x, size_t n, const float *const *taps, const float *fraction,             \
        size_t rows)                                                                     \
    {                                                                                    \
        vec sum[NVEC];                                                                   \
        for (int i = 0; i < NVEC; i++)                                                   \
            sum[i] = ((const vec *)x)[i];                                                \
        for (size_t k = 0; k < n; k++) {                                                 \
            float right = fraction[k], left = 1.0f - right;                              \
            const vec *a = (const vec *)taps[k], *b = (const vec *)(taps[k] + rows);     \
            for (int i = 0; i < NVEC; i++) {                                             \
                sum[i] += left * a[i];                                                   \
                sum[i] += right * b[i];                                                  \
            }                                                                            \
        }                                                                                \
        for (int i = 0; i < NVEC; i++)                                                   \
            ((vec *)x)[i] = sum[i];                                                      \
    }
TR_ADD_GROUP(4)
TR_ADD_GROUP(1)
#undef TR_ADD_GROUP

static void backproject_voxel(const view_group *g, const double *base, double last,
                              double ix, float *x, size_t rows)
{
    int column[VIEW_GROUP];
    float fraction[VIEW_GROUP];
    const float *taps[VIEW_GROUP];
    for (int k = 0; k < VIEW_GROUP; k++)
        tr_ray_column(base[k], g->ux[k], ix, last, &column[k], &fraction[k]);
    for (int k = 0; k < VIEW_GROUP; k++)
        taps[k] = g->p[k] + (size_t)column[k] * rows;
    size_t r = 0;
    for (; r + WIDE * VECTOR <= rows; r += WIDE * VECTOR) {
        add_group_4(x + r, g->n, taps, fraction, rows);
        for (int k = 0; k < VIEW_GROUP; k++)
            taps[k] += WIDE * VECTOR;
    }
    for (; r < rows; r += VECTOR) {
        add_group_1(x + r, g->n, taps, fraction, rows);
        for (int k = 0; k < VIEW_GROUP; k++)
            taps[k] += VECTOR;
    }
}

static void backproject_tile(const tr_slab *s, const view_group *g, size_t x0, size_t x1,
                             size_t z0, size_t z1, float *x)
{
    double last = tr_ray_last((double)s->n_u);
    for (size_t iz = z0; iz < z1; iz++) {
        double base[VIEW_GROUP];
        for (int k = 0; k < VIEW_GROUP; k++)
            base[k] = tr_ray_base(g->u0[k], g->uz[k], (double)iz);
        for (size_t ix = x0; ix < x1; ix++)
            backproject_voxel(g, base, last, (double)ix, x + (iz * s->n_x + ix) * s->rows,
                              s->rows);
    }
}

static void backproject_block(const tr_slab *s, const tr_subset *views, const float *p,
                              size_t bx, size_t bz, float *x)
{
    size_t x1 = min_size(bx + BLOCK, s->n_x), z1 = min_size(bz + BLOCK, s->n_z);
    for (size_t iz = bz; iz < z1; iz++)
        memset(x + (iz * s->n_x + bx) * s->rows, 0, (x1 - bx) * s->rows * sizeof *x);
    for (size_t k = 0; k < view_count(s, views); k += VIEW_GROUP) {
        view_group g = load_group(s, views, k, p);
        for (size_t tz = bz; tz < z1; tz += TILE)
            for (size_t tx = bx; tx < x1; tx += TILE)
                backproject_tile(s, &g, tx, min_size(tx + TILE, x1), tz,
                                 min_size(tz + TILE, z1), x);
    }
}

/* Rows [to, to + rows) of `y` += weight * rows of `x` shifted by `shift`: y[r] +=
 * weight * x[r + shift], for the rows there are. */
static void add_shifted(float *y, const float *x, size_t rows, ptrdiff_t shift,
                        float weight)
{
    ptrdiff_t n = (ptrdiff_t)rows;
    ptrdiff_t first = shift < 0 ? -shift : 0, end = shift > 0 ? n - shift : n;
    for (ptrdiff_t r = first; r < end; r++)
        y[r] += weight * x[r + shift];
}

static ptrdiff_t split_shift(const tr_ray *ray, size_t iz, float *fraction)
{
    double v = ray->v0 + ray->vz * (double)iz;
    ptrdiff_t whole = (ptrdiff_t)v - (v < (double)(ptrdiff_t)v);
    *fraction = (float)(v - (double)whole);
    return whole;
}

/* Views with an x-tilt of their own see row y of a voxel at a row that depends on z:
 * four taps. Rows outside the slab do not contribute. */
static void backproject_shifted_line(const tr_slab *s, const tr_ray *ray, const float *p,
                                     size_t iz, float *x, float *line)
{
    double base = tr_ray_base(ray->u0, ray->uz, (double)iz);
    double last = tr_ray_last((double)s->n_u);
    float up;
    ptrdiff_t shift = split_shift(ray, iz, &up);
    for (size_t ix = 0; ix < s->n_x; ix++) {
        int column;
        float right;
        tr_ray_column(base, ray->ux, (double)ix, last, &column, &right);
        const float *a = p + (size_t)column * s->rows, *b = a + s->rows;
        for (size_t r = 0; r < s->rows; r++)
            line[r] = (1.0f - right) * a[r] + right * b[r];
        float *to = x + (iz * s->n_x + ix) * s->rows;
        add_shifted(to, line, s->rows, shift, 1.0f - up);
        add_shifted(to, line, s->rows, shift + 1, up);
    }
}

static bool is_shifted(const tr_slab *s, const tr_subset *views)
{
    for (size_t k = 0; k < view_count(s, views); k++) {
        const tr_ray *ray = &s->rays[view_at(views, k)];
        if (ray->v0 != 0.0 || ray->vz != 0.0)
            return true;
    }
    return false;
}

static void backproject_shifted(const tr_slab *s, const tr_subset *views, const float *p,
                                float *x, int threads)
{
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t iz = 0; iz < s->n_z; iz++) {
        float line[s->rows];
        memset(x + iz * s->n_x * s->rows, 0, s->n_x * s->rows * sizeof *x);
        for (size_t k = 0; k < view_count(s, views); k++) {
            size_t view = view_at(views, k);
            backproject_shifted_line(s, &s->rays[view],
                                     p + view * (s->n_u + TR_GUARDS) * s->rows, iz, x,
                                     line);
        }
    }
}

static void backproject(const tr_slab *s, const tr_subset *views, const float *p,
                        float *x, int threads)
{
    if (is_shifted(s, views)) {
        backproject_shifted(s, views, p, x, threads);
        return;
    }
    size_t across = (s->n_x + BLOCK - 1) / BLOCK, down = (s->n_z + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t b = 0; b < across * down; b++)
        backproject_block(s, views, p, b % across * BLOCK, b / across * BLOCK, x);
}

/* ---- forward ---- */

/* Walk a strip of voxels along x with the sums of two neighbouring columns in
 * registers; a column is added to memory when the walk leaves it. */
#define TR_WALK(NVEC)                                                                    \
    static inline __attribute__((always_inline)) void walk_##NVEC(                       \
        const float *x, size_t n, const int *column, const float *fraction, float *p,    \
        size_t rows)                                                                     \
    {                                                                                    \
        vec here[NVEC], next[NVEC];                                                      \
        int at = column[0];                                                              \
        for (int i = 0; i < NVEC; i++)                                                   \
            here[i] = next[i] = (vec){0};                                                \
        for (size_t k = 0; k < n; k++) {                                                 \
            if (column[k] != at) {                                                       \
                vec *a = (vec *)(p + (size_t)at * rows);                                 \
                for (int i = 0; i < NVEC; i++)                                           \
                    a[i] += here[i];                                                     \
                if (column[k] == at + 1) {                                               \
                    for (int i = 0; i < NVEC; i++)                                       \
                        here[i] = next[i];                                               \
                } else {                                                                 \
                    vec *b = (vec *)(p + (size_t)(at + 1) * rows);                       \
                    for (int i = 0; i < NVEC; i++) {                                     \
                        b[i] += next[i];                                                 \
                        here[i] = (vec){0};                                              \
                    }                                                                    \
                }                                                                        \
                for (int i = 0; i < NVEC; i++)                                           \
                    next[i] = (vec){0};                                                  \
                at = column[k];                                                          \
            }                                                                            \
            const vec *v = (const vec *)(x + k * rows);                                  \
            float right = fraction[k], left = 1.0f - right;                              \
            for (int i = 0; i < NVEC; i++) {                                             \
                here[i] += left * v[i];                                                  \
                next[i] += right * v[i];                                                 \
            }                                                                            \
        }                                                                                \
        vec *a = (vec *)(p + (size_t)at * rows);                                         \
        vec *b = (vec *)(p + (size_t)(at + 1) * rows);                                   \
        for (int i = 0; i < NVEC; i++) {                                                 \
            a[i] += here[i];                                                             \
            b[i] += next[i];                                                             \
        }                                                                                \
    }
TR_WALK(4)
TR_WALK(1)
#undef TR_WALK

static void project_strip(const tr_slab *s, const tr_ray *ray, size_t x0, size_t n,
                          size_t iz, const float *x, float *p, size_t lane0, size_t lane1)
{
    int column[STRIP_X];
    float fraction[STRIP_X];
    double base = tr_ray_base(ray->u0, ray->uz, (double)iz);
    double last = tr_ray_last((double)s->n_u);
    for (size_t k = 0; k < n; k++)
        tr_ray_column(base, ray->ux, (double)(x0 + k), last, &column[k], &fraction[k]);
    const float *from = x + (iz * s->n_x + x0) * s->rows;
    size_t r = lane0;
    for (; r + WIDE * VECTOR <= lane1; r += WIDE * VECTOR)
        walk_4(from + r, n, column, fraction, p + r, s->rows);
    for (; r < lane1; r += VECTOR)
        walk_1(from + r, n, column, fraction, p + r, s->rows);
}

/* One group of views over some lanes: strips of the volume are read from the cache by
 * all views of the group. */
static void project_group(const tr_slab *s, const tr_subset *views, size_t first,
                          size_t n, const float *x, float *p, size_t lane0, size_t lane1)
{
    for (size_t sz = 0; sz < s->n_z; sz += STRIP_Z)
        for (size_t sx = 0; sx < s->n_x; sx += STRIP_X)
            for (size_t k = first; k < first + n; k++) {
                size_t view = view_at(views, k);
                float *to = p + view * (s->n_u + TR_GUARDS) * s->rows;
                for (size_t iz = sz; iz < min_size(sz + STRIP_Z, s->n_z); iz++)
                    project_strip(s, &s->rays[view], sx, min_size(STRIP_X, s->n_x - sx),
                                  iz, x, to, lane0, lane1);
            }
}

static void project_shifted_view(const tr_slab *s, const tr_ray *ray, const float *x,
                                 float *p)
{
    size_t rows = s->rows;
    float line[rows];
    double last = tr_ray_last((double)s->n_u);
    for (size_t iz = 0; iz < s->n_z; iz++) {
        double base = tr_ray_base(ray->u0, ray->uz, (double)iz);
        float up;
        ptrdiff_t shift = split_shift(ray, iz, &up);
        for (size_t ix = 0; ix < s->n_x; ix++) {
            const float *from = x + (iz * s->n_x + ix) * rows;
            memset(line, 0, rows * sizeof *line);
            add_shifted(line, from, rows, -shift, 1.0f - up);
            add_shifted(line, from, rows, -shift - 1, up);
            int column;
            float right;
            tr_ray_column(base, ray->ux, (double)ix, last, &column, &right);
            float *a = p + (size_t)column * rows, *b = a + rows;
            for (size_t r = 0; r < rows; r++) {
                a[r] += (1.0f - right) * line[r];
                b[r] += right * line[r];
            }
        }
    }
}

static void clear_view(const tr_slab *s, float *p)
{
    memset(p, 0, (s->n_u + TR_GUARDS) * s->rows * sizeof *p);
}

/* What fell on the guards left the image. */
static void clear_guards(const tr_slab *s, float *p)
{
    memset(p, 0, s->rows * sizeof *p);
    memset(p + (s->n_u + 1) * s->rows, 0, 2 * s->rows * sizeof *p);
}

static void project(const tr_slab *s, const tr_subset *views, const float *x, float *p,
                    int threads)
{
    size_t n = view_count(s, views), stride = (s->n_u + TR_GUARDS) * s->rows;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t k = 0; k < n; k++)
        clear_view(s, p + view_at(views, k) * stride);
    if (is_shifted(s, views)) {
#pragma omp parallel for schedule(dynamic) num_threads(threads)
        for (size_t k = 0; k < n; k++) {
            size_t view = view_at(views, k);
            project_shifted_view(s, &s->rays[view], x, p + view * stride);
        }
    } else {
        /* Few views (SART takes one at a time): share the lanes out as well. */
        size_t groups = (n + VIEW_GROUP - 1) / VIEW_GROUP;
        size_t chunk = groups < 2 * (size_t)threads ? 2 * TR_LANES : 4 * TR_LANES;
        size_t chunks = (s->rows + chunk - 1) / chunk;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
        for (size_t task = 0; task < groups * chunks; task++) {
            size_t first = task / chunks * VIEW_GROUP, lane = task % chunks * chunk;
            project_group(s, views, first, min_size(VIEW_GROUP, n - first), x, p, lane,
                          min_size(lane + chunk, s->rows));
        }
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t k = 0; k < n; k++)
        clear_guards(s, p + view_at(views, k) * stride);
}

#include "cpu_general_body.h"

const tr_projectors TR_JOIN(tr_projectors_,
                            TR_ISA) = {.name = TR_TEXT(TR_ISA),
                                       .project = project,
                                       .backproject = backproject,
                                       .project_general = project_general,
                                       .backproject_general = backproject_general};
