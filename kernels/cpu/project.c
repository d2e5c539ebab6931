/* Backprojection and its adjoint on the CPU: see project.h. Interpolation weights
 * are computed once per voxel and view and used for a whole vector of rows. */
#include "kernels/cpu/project.h"

#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "common/base/angle.h"
#include "kernels/cpu/isa.h"
#include "kernels/ray_body.h"

typedef float vec __attribute__((vector_size(4 * VECTOR), aligned(4 * VECTOR)));

/* Several views, or several columns of one, in lanes: as many doubles as a vector has. */
enum { DOUBLES = VECTOR / 2 };
typedef double dvec __attribute__((vector_size(8 * DOUBLES)));
typedef uint64_t bvec __attribute__((vector_size(8 * DOUBLES)));
typedef float fvec __attribute__((vector_size(4 * DOUBLES)));
typedef int jvec __attribute__((vector_size(4 * DOUBLES)));

enum {
    WIDE = 4,                             /* vectors of rows kept in registers */
    PAIR_LEFT = WIDE * VECTOR > TR_LANES, /* whether two may be left over of some rows */
    VIEW_GROUP = 8                        /* views added to a voxel at a time */
};

/* Adding and subtracting ROUND rounds a double to a whole number; whole numbers from 0 on
 * are the low bits of their sum with ONE. */
#define ROUND 0x1.8p52
#define ONE 0x1p52
#define BITS_OF_ONE 0x4330000000000000u
#define BITS_OF_ROUND 0x4338000000000000u

static inline size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

/* Keeps the compiler from addressing each vector by a sum of two registers, which costs
 * an instruction more than by one. */
static inline const float *in_register(const float *p)
{
    __asm__("" : "+r"(p));
    return p;
}

#include "kernels/cpu/backproject_body.h"
#include "kernels/cpu/forward_body.h"

/* ---- views with an x-tilt of their own ---- */

/* Some of so many rows. */
typedef struct row_range {
    size_t first, end, rows;
} row_range;

/* Of `y` += weight * `x` shifted by `shift` some rows: y[r] += weight * x[r + shift], as
 * far as there are such. */
static void add_shifted(float *y, const float *x, const row_range *of, ptrdiff_t shift,
                        float weight)
{
    ptrdiff_t n = (ptrdiff_t)of->rows, first = shift < 0 ? -shift : 0;
    ptrdiff_t end = shift > 0 ? n - shift : n;
    first = first > (ptrdiff_t)of->first ? first : (ptrdiff_t)of->first;
    end = end < (ptrdiff_t)of->end ? end : (ptrdiff_t)of->end;
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

/* Rows of a voxel that are seen in one image: from `first` on to before this one. */
static size_t end_of_image(const tr_slab *s, size_t view, size_t ix, size_t iz,
                           size_t first, size_t *image)
{
    size_t end = first + 1;
    *image = view;
    if (!s->bands)
        return s->rows;
    const tr_band *b = &s->bands[view];
    *image = tr_band_image(b, ix, iz, first);
    if (tr_band_image(b, ix, iz, s->rows - 1) == *image)
        return s->rows; /* as are all between */
    while (end < s->rows && tr_band_image(b, ix, iz, end) == *image)
        end++;
    return end;
}

/* Views with an x-tilt of their own see row y of a voxel at a row that depends on z:
 * four taps. Rows outside the slab do not contribute. */
static void backproject_shifted_line(const tr_slab *s, size_t view, const float *p,
                                     size_t iz, float *x, float *line)
{
    const tr_ray *ray = &s->rays[view];
    double base = tr_ray_base(ray->u0, ray->uz, (double)iz);
    double last = tr_ray_last((double)s->n_u);
    float up;
    ptrdiff_t shift = split_shift(ray, iz, &up);
    for (size_t ix = 0; ix < s->n_x; ix++) {
        int column;
        float right;
        tr_ray_column(base, ray->ux, (double)ix, last, &column, &right);
        for (size_t first = 0, end, image; first < s->rows; first = end) {
            end = end_of_image(s, view, ix, iz, first, &image);
            const float *a =
                p + (image * (s->n_u + TR_GUARDS) + (size_t)column) * s->rows;
            const float *b = a + s->rows;
            for (size_t r = 0; r < s->rows; r++)
                line[r] = (1.0f - right) * a[r] + right * b[r];
            float *to = x + (iz * s->n_x + ix) * s->rows;
            const row_range of = {first, end, s->rows};
            add_shifted(to, line, &of, shift, 1.0f - up);
            add_shifted(to, line, &of, shift + 1, up);
        }
    }
}

static void backproject_shifted(const tr_slab *s, const tr_subset *views, const float *p,
                                float *x, int threads)
{
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t iz = 0; iz < s->n_z; iz++) {
        float line[s->rows];
        memset(x + iz * s->n_x * s->rows, 0, s->n_x * s->rows * sizeof *x);
        for (size_t k = 0; k < tr_view_count(s, views); k++)
            backproject_shifted_line(s, tr_view_at(views, k), p, iz, x, line);
    }
}

static void project_shifted_view(const tr_slab *s, const tr_ray *ray, const float *x,
                                 float *p)
{
    size_t rows = s->rows;
    float line[rows];
    const row_range all = {0, rows, rows};
    double last = tr_ray_last((double)s->n_u);
    for (size_t iz = 0; iz < s->n_z; iz++) {
        double base = tr_ray_base(ray->u0, ray->uz, (double)iz);
        float up;
        ptrdiff_t shift = split_shift(ray, iz, &up);
        for (size_t ix = 0; ix < s->n_x; ix++) {
            const float *from = x + (iz * s->n_x + ix) * rows;
            memset(line, 0, rows * sizeof *line);
            add_shifted(line, from, &all, -shift, 1.0f - up);
            add_shifted(line, from, &all, -shift - 1, up);
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

static void project_shifted(const tr_slab *s, const tr_subset *views, const float *x,
                            float *p, int threads)
{
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t k = 0; k < tr_view_count(s, views); k++) {
        size_t view = tr_view_at(views, k);
        float *to = p + view * (s->n_u + TR_GUARDS) * s->rows;
        project_shifted_view(s, &s->rays[view], x, to);
        clear_guards(s, s->rows, to);
    }
}

/* ---- the entries of the table ---- */

static void backproject(const tr_slab *s, const tr_subset *views, const float *p,
                        float *x, int threads)
{
    if (tr_kind_of_rays(s, views) == TR_RAYS_SHIFTED)
        backproject_shifted(s, views, p, x, threads);
    else
        backproject_blocks(s, views, p, x, threads);
}

static void project(const tr_slab *s, const tr_subset *views, const float *x, float *p,
                    int threads)
{
    size_t n = tr_view_count(s, views), along_x = 0, along_z = 0, order[n];
    bool shifted = tr_kind_of_rays(s, views) == TR_RAYS_SHIFTED;
    for (size_t k = 0; k < n; k++) {
        size_t view = tr_view_at(views, k);
        double ux = fabs(s->rays[view].ux), uz = fabs(s->rays[view].uz);
        shifted = shifted || (ux < least_slope && uz < least_slope);
        if (ux >= uz)
            order[along_x++] = view;
        else
            order[n - ++along_z] = view;
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t k = 0; k < n; k++)
        clear_view(s, p + order[k] * (s->n_u + TR_GUARDS) * s->rows);
    if (shifted)
        project_shifted(s, views, x, p, threads);
    else
        project_bundles(s, order, n, along_x, x, p, threads);
}

#include "kernels/cpu/filter_body.h"
#include "kernels/cpu/tile_place_body.h"
#include "kernels/cpu/tile_lanes_body.h"
#include "kernels/cpu/general_body.h"
#include "kernels/cpu/gridding_body.h"
#include "kernels/cpu/gridding_forward_body.h"
#include "kernels/cpu/outer_body.h"
#include "kernels/cpu/outer_coupled_body.h"

const tr_projectors TR_JOIN(tr_projectors_,
                            TR_ISA) = {.name = TR_TEXT(TR_ISA),
                                       .width = VECTOR,
                                       .project = project,
                                       .backproject = backproject,
                                       .project_general = project_general,
                                       .backproject_general = backproject_general,
                                       .project_sums = project_sums,
                                       .project_outer = project_outer,
                                       .backproject_outer = backproject_outer,
                                       .filter_pair = filter_pair,
                                       .backproject_fourier = backproject_fourier,
                                       .project_fourier = project_fourier};
