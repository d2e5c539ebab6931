/* The projectors of the CUDA backend; private to kernels/. project.cu chooses
 * between them. */
#ifndef TR_CUDA_PROJECT_H
#define TR_CUDA_PROJECT_H

#include "kernels/cuda/state.h"
#include "kernels/ray_body.h"

/* Some views for a kernel: the rays in the order of use, and the views' numbers. */
typedef struct tr_cuda_rays {
    const tr_ray *rays;      /* device memory */
    const unsigned *numbers; /* device memory */
    unsigned n;
    const tr_band *bands; /* device memory, in the order of the rays; or NULL */
} tr_cuda_rays;

/* The image in which view k of these sees the block of this voxel. */
__device__ static inline unsigned tr_cuda_image(const tr_cuda_rays *rays, unsigned k,
                                                size_t ix, size_t iz, size_t row)
{
    return rays->bands ? (unsigned)tr_band_image(&rays->bands[k], ix, iz, row)
                       : rays->numbers[k];
}

/* Views [first, first + n) of these, as many as there are. */
static inline tr_cuda_rays tr_cuda_some_rays(const tr_cuda_rays *rays, size_t first,
                                             size_t n)
{
    const size_t left = rays->n - first;
    tr_cuda_rays some = {rays->rays + first, rays->numbers + first,
                         (unsigned)(left < n ? left : n),
                         rays->bands ? rays->bands + first : NULL};
    return some;
}

/* A slab for a kernel. */
/* A slab's grids of offsets in device memory, until the next call; grid NULL: none. */
typedef struct tr_cuda_offsets {
    const float *grid;
    unsigned n_x, n_y;
    unsigned first; /* row of lane 0, as they count them */
    float z_first;
} tr_cuda_offsets;

typedef struct tr_cuda_slab {
    size_t n_u, n_x, n_z, rows, p_rows;
} tr_cuda_slab;

static inline tr_cuda_slab tr_cuda_slab_of(const tr_slab *s)
{
    tr_cuda_slab shape = {s->n_u, s->n_x, s->n_z, s->rows, s->p_rows};
    return shape;
}

TR_HD static inline size_t tr_cuda_view_floats(const tr_cuda_slab *s)
{
    return (s->n_u + TR_GUARDS) * s->p_rows;
}

TR_HD static inline size_t tr_cuda_parts(size_t n, size_t per_part)
{
    return (n + per_part - 1) / per_part;
}

TR_HD static inline unsigned tr_cuda_at_most(unsigned n, unsigned most)
{
    return n < most ? n : most;
}

/* A position as the whole number below, held where an int has room, and a fraction. */
__device__ static inline void tr_cuda_split(double at, int *whole, float *fraction)
{
    at = at < -1e9 ? -1e9 : at > 1e9 ? 1e9 : at;
    double floored = floor(at);
    *whole = (int)floored;
    *fraction = (float)(at - floored);
}

/* The slab with rays that are multiples of 2^-37, the caller's until the next call: up to
 * column 32768 it is then exact, in double, where a voxel is seen, in whatever order that
 * is worked out, and the same when planes are counted from another one. Moves what a
 * voxel is seen at by 5e-8 of a column at most. These rays count lanes, while grids of
 * offsets still count rows. */
tr_status tr_cuda_exact(tr_cuda *c, const tr_slab *s, tr_slab *exact);

/* project.cu, for planes of a volume: the subset's rays, until the next call, in device
 * memory, which what follows gets. Backprojection to the core, and to the cells
 * outside the field. Whether rays leave their row. Else, some planes of the core to views
 * that were cleared before. And the cells to views that the core was projected to. */
tr_status tr_cuda_get_rays(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                           tr_cuda_rays *rays);
tr_status tr_cuda_core_backproject(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                                   const tr_cuda_rays *rays, const float *p, float *x);
tr_status tr_cuda_cells_backproject(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                                    const tr_cuda_rays *rays, const float *p, float *x);
bool tr_cuda_is_general(const tr_slab *s, const tr_subset *views);
tr_status tr_cuda_clear_views(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                              float *p);
tr_status tr_cuda_core_project(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                               const tr_cuda_rays *rays, const float *x, float *p);
tr_status tr_cuda_cells_project(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                                const tr_cuda_rays *rays, const float *x, float *p);

/* So many blocks in a row, or the sentence that the problem is too large for it. */
tr_status tr_cuda_grid(size_t blocks, dim3 *grid);

/* All take the subset's views in device memory as well; vectors as in backend.h.
 * tile.cu: independent rows; backprojection without shifts, and only where no tile
 * needs more columns than there is room for. */
bool tr_cuda_tile_fits(const tr_slab *s, const tr_subset *views);
tr_status tr_cuda_tile_backproject(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                                   const float *p, float *x);
/* tensor.cu: the same slabs, where the device has what it takes; else the sentence. */
tr_status tr_cuda_tensor_check(const tr_cuda *c);
tr_status tr_cuda_tensor_backproject(tr_cuda *c, const tr_slab *s,
                                     const tr_cuda_rays *rays, const float *p, float *x);
/* gather.cu: forward, all independent rows; adds to views of P that are 0. */
tr_status tr_cuda_tile_project(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                               bool shifted, const float *x, float *p);
/* texture.cu: all rays but those of shifted, independent rows. */
bool tr_cuda_texture_fits(const tr_cuda *c, const tr_slab *s);
tr_status tr_cuda_texture_backproject(tr_cuda *c, const tr_slab *s,
                                      const tr_subset *views, const tr_cuda_rays *rays,
                                      bool general, const float *p, float *x);
/* general.cu: coupled rays, and backprojection of shifted, independent rows. */
tr_status tr_cuda_general_backproject(tr_cuda *c, const tr_slab *s,
                                      const tr_cuda_rays *rays, bool shifted,
                                      const float *p, float *x);
tr_status tr_cuda_get_offsets(tr_cuda *c, const tr_slab *s, tr_cuda_offsets *offsets);
tr_status tr_cuda_general_project(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                                  const tr_cuda_rays *rays, const float *x, float *p);
/* Its steps: the scale of fixed-point numbers for all of a volume, in device memory until
 * TR_SCRATCH_PARTS is used otherwise; `view` of p_rows (n_u + TR_GUARDS) sums += what the
 * k-th ray sees of some planes; and these sums as a view of P. */
tr_status tr_cuda_general_scale(tr_cuda *c, const tr_slab *s, const float *x,
                                void **scale);
tr_status tr_cuda_general_add(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                              unsigned k, const tr_cuda_offsets *offsets,
                              const void *scale, const float *x,
                              unsigned long long *view);
tr_status tr_cuda_general_write(tr_cuda *c, const tr_slab *s, const void *scale,
                                const unsigned long long *view, float *p);
/* outer.cu: the cells outside the field, independent rows, ux > 0. P += their
 * projection, or their row sums; the cells of x become the adjoint, or the sums. */
tr_status tr_cuda_outer_project(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                                const float *x, float *p);
tr_status tr_cuda_outer_backproject(tr_cuda *c, const tr_slab *s,
                                    const tr_cuda_rays *rays, const float *p, float *x);
/* outer_coupled.cu: the first two for rays that leave their row, of any direction.
 */
tr_status tr_cuda_outer_coupled_project(tr_cuda *c, const tr_slab *s,
                                        const tr_cuda_rays *rays, const float *x,
                                        float *p);
tr_status tr_cuda_outer_coupled_backproject(tr_cuda *c, const tr_slab *s,
                                            const tr_cuda_rays *rays, const float *p,
                                            float *x);
tr_status tr_cuda_outer_row_sums(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                                 float *p);
tr_status tr_cuda_outer_col_sums(tr_cuda *c, const tr_slab *s, const tr_cuda_rays *rays,
                                 float *x);

#endif
