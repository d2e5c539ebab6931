/* Which projector of the CUDA backend a slab gets; row and column sums. */
#include "kernels/cuda/planes.h"
#include "kernels/cuda/project.h"

tr_status tr_cuda_grid(size_t blocks, dim3 *grid)
{
    if (blocks > 0x7fffffff)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "the slab is too large for one launch on the GPU (%zu blocks)",
                       blocks);
    *grid = dim3((unsigned)blocks);
    return TR_OK;
}

/* ---- what the rays need ---- */

/* To a multiple of 2^-37. */
static double rounded(double value)
{
    const double scale = 137438953472.0;
    return rint(value * scale) / scale;
}

tr_status tr_cuda_exact(tr_cuda *c, const tr_slab *s, tr_slab *exact)
{
    if (c->rays_room < 2 * s->n_views) { /* and others, that planes.cu makes of them */
        tr_ray *more = (tr_ray *)realloc(c->rays, 2 * s->n_views * sizeof *more);
        if (!more)
            return tr_fail(TR_ERR_MEMORY, "not enough memory for %zu rays", s->n_views);
        c->rays = more;
        c->rays_room = 2 * s->n_views;
    }
    const double first = (double)s->first, p_first = (double)s->p_first;
    for (size_t k = 0; k < s->n_views; k++) {
        const tr_ray *r = &s->rays[k];
        c->rays[k] = {rounded(r->u0), rounded(r->ux), rounded(r->uy), rounded(r->uz),
                      rounded(r->v0), rounded(r->vx), rounded(r->vy), rounded(r->vz)};
        c->rays[k].u0 += c->rays[k].uy * first;
        c->rays[k].v0 += c->rays[k].vy * first - p_first;
    }
    *exact = *s;
    exact->rays = c->rays;
    return TR_OK;
}

static tr_ray_kind find_kind(const tr_slab *s, const tr_subset *views)
{
    tr_ray_kind kind = tr_kind_of_rays(s, views);
    for (size_t k = 0; s->outer && k < tr_view_count(s, views); k++)
        TR_ASSERT(kind == TR_RAYS_ANYWHERE || s->rays[tr_view_at(views, k)].ux > 0.0);
    return kind;
}

static tr_status put_bands(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                           tr_cuda_rays *rays)
{
    tr_band *bands = (tr_band *)malloc(rays->n * sizeof *bands);
    void *memory;
    if (!bands)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for %zu rays", (size_t)rays->n);
    for (size_t k = 0; k < rays->n; k++)
        bands[k] = s->bands[tr_view_at(views, k)];
    tr_status status =
        tr_cuda_put(c, TR_SCRATCH_BANDS, bands, rays->n * sizeof *bands, &memory);
    free(bands);
    rays->bands = (const tr_band *)memory;
    return status;
}

tr_status tr_cuda_get_rays(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                           tr_cuda_rays *rays)
{
    rays->bands = NULL;
    TR_TRY(tr_cuda_views(c, s, views, &rays->rays, &rays->numbers, &rays->n));
    return s->bands ? put_bands(c, s, views, rays) : TR_OK;
}

/* ---- operations ---- */

static tr_status check_texture(const tr_cuda *c, const tr_slab *s)
{
    if (tr_cuda_texture_fits(c, s))
        return TR_OK;
    return tr_fail(TR_ERR_UNAVAILABLE,
                   "the texture kernel takes views of up to %d x %d on this GPU, not %zu "
                   "x %zu; use --kernel tile",
                   c->properties.maxTexture2DLayered[1] - TR_GUARDS,
                   c->properties.maxTexture2DLayered[0], s->n_u, s->p_rows);
}

tr_status tr_cuda_core_backproject(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                                   const tr_cuda_rays *rays, const float *p, float *x)
{
    tr_ray_kind kind = find_kind(s, views);
    if (s->bands && (c->kernel == TR_KERNEL_TEXTURE || c->kernel == TR_KERNEL_TENSOR))
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "only --kernel tile takes several images of a view, for bands of "
                       "depth; use it, or --ctf-band off");
    TR_ASSERT(!s->bands || (kind != TR_RAYS_ANYWHERE && !s->outer));
    if (kind != TR_RAYS_SHIFTED && c->kernel == TR_KERNEL_TEXTURE && !s->offsets) {
        TR_TRY(check_texture(c, s));
        return tr_cuda_texture_backproject(c, s, views, rays, kind == TR_RAYS_ANYWHERE, p,
                                           x);
    }
    if (kind == TR_RAYS_OWN_ROW && tr_cuda_tile_fits(s, views))
        return tr_cuda_tile_backproject(c, s, rays, p, x);
    return tr_cuda_general_backproject(c, s, rays, kind == TR_RAYS_SHIFTED, p, x);
}

tr_status tr_cuda_cells_backproject(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                                    const tr_cuda_rays *rays, const float *p, float *x)
{
    if (!s->outer)
        return TR_OK;
    return (find_kind(s, views) == TR_RAYS_OWN_ROW
                ? tr_cuda_outer_backproject
                : tr_cuda_outer_coupled_backproject)(c, s, rays, p, x);
}

tr_status tr_cuda_backproject(void *state, const tr_slab *slab, const tr_subset *views,
                              const tr_vec *p, tr_vec *x)
{
    tr_cuda *c = (tr_cuda *)state;
    tr_cuda_rays rays;
    tr_slab s;
    if (tr_view_count(slab, views) == 0)
        return tr_cuda_fill(c, x, 0.0f);
    TR_TRY(tr_cuda_exact(c, slab, &s));
    TR_ASSERT(!slab->bands || !tr_cuda_on_host(c, x->data));
    if (tr_cuda_on_host(c, x->data))
        return tr_cuda_planes_backproject(c, &s, views, p->data, x->data);
    TR_TRY(tr_cuda_get_rays(c, &s, views, &rays));
    TR_TRY(tr_cuda_core_backproject(c, &s, views, &rays, p->data, x->data));
    return tr_cuda_cells_backproject(c, &s, views, &rays, p->data, x->data);
}

bool tr_cuda_is_general(const tr_slab *s, const tr_subset *views)
{
    return find_kind(s, views) == TR_RAYS_ANYWHERE;
}

tr_status tr_cuda_clear_views(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                              float *p)
{
    const size_t view = (s->n_u + TR_GUARDS) * s->rows, n = tr_view_count(s, views);
    for (size_t i = 0, together; i < n; i += together) {
        size_t first = tr_view_at(views, i);
        together = tr_views_together(views, i, n);
        TR_CUDA("clear views", cudaMemsetAsync(p + first * view, 0,
                                               together * view * sizeof *p, c->compute));
    }
    return TR_OK;
}

tr_status tr_cuda_core_project(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                               const tr_cuda_rays *rays, const float *x, float *p)
{
    return tr_cuda_tile_project(c, s, rays, find_kind(s, views) == TR_RAYS_SHIFTED, x, p);
}

tr_status tr_cuda_cells_project(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                                const tr_cuda_rays *rays, const float *x, float *p)
{
    if (!s->outer)
        return TR_OK;
    return (find_kind(s, views) == TR_RAYS_OWN_ROW
                ? tr_cuda_outer_project
                : tr_cuda_outer_coupled_project)(c, s, rays, x, p);
}

tr_status tr_cuda_project(void *state, const tr_slab *slab, const tr_subset *views,
                          const tr_vec *x, tr_vec *p)
{
    tr_cuda *c = (tr_cuda *)state;
    tr_cuda_rays rays;
    tr_slab s;
    if (tr_view_count(slab, views) == 0)
        return TR_OK;
    TR_TRY(tr_cuda_exact(c, slab, &s));
    if (tr_cuda_on_host(c, x->data))
        return tr_cuda_planes_project(c, &s, views, x->data, p->data);
    TR_TRY(tr_cuda_get_rays(c, &s, views, &rays));
    if (tr_cuda_is_general(&s, views)) {
        TR_TRY(tr_cuda_general_project(c, &s, views, &rays, x->data, p->data));
    } else {
        TR_TRY(tr_cuda_clear_views(c, &s, views, p->data));
        TR_TRY(tr_cuda_core_project(c, &s, views, &rays, x->data, p->data));
    }
    return tr_cuda_cells_project(c, &s, views, &rays, x->data, p->data);
}

/* ---- sums: of the geometry only, in double, each by one thread ---- */

namespace
{
/* Of one column of a view, over the voxels within less than a column of it; one voxel
 * more at both ends, as the limits are rounded. */
__device__ double sum_row(const tr_cuda_slab *s, const tr_ray *ray, int line)
{
    const double last = tr_ray_last((double)s->n_u), n_x = (double)s->n_x;
    double sum = 0.0;
    for (size_t iz = 0; iz < s->n_z; iz++) {
        double base = tr_ray_base(ray->u0, ray->uz, (double)iz), from = 0.0, to = n_x;
        if (fabs(ray->ux) > 1e-9) {
            double a = (line - 1.0 - base) / ray->ux, b = (line + 1.0 - base) / ray->ux;
            double low = floor(a < b ? a : b) - 1.0, high = ceil(a < b ? b : a) + 2.0;
            from = low > from ? low : from;
            to = high < to ? high : to;
        }
        for (double ix = from; ix < to; ix += 1.0) {
            int column;
            float fraction;
            tr_ray_column(base, ray->ux, ix, last, &column, &fraction);
            if (column == line)
                sum += 1.0f - fraction;
            else if (column + 1 == line)
                sum += fraction;
        }
    }
    return sum;
}

__global__ void sum_rows(tr_cuda_slab s, tr_cuda_rays rays, float *__restrict__ p)
{
    const size_t columns = s.n_u + TR_GUARDS;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < rays.n * columns;
         i += (size_t)gridDim.x * blockDim.x) {
        size_t view = i / columns, line = i % columns;
        bool inside = line >= 1 && line <= s.n_u;
        p[rays.numbers[view] * columns + line] =
            inside ? (float)sum_row(&s, &rays.rays[view], (int)line) : 0.0f;
    }
}

/* Weight on the guards is weight outside the image. */
__device__ double sum_column(const tr_cuda_slab *s, const tr_cuda_rays *rays, double ix,
                             double iz)
{
    const double last = tr_ray_last((double)s->n_u);
    const int n_u = (int)s->n_u;
    double sum = 0.0;
    for (unsigned k = 0; k < rays->n; k++) {
        const tr_ray *ray = &rays->rays[k];
        int column;
        float fraction;
        tr_ray_column(tr_ray_base(ray->u0, ray->uz, iz), ray->ux, ix, last, &column,
                      &fraction);
        if (column >= 1 && column <= n_u)
            sum += 1.0f - fraction;
        if (column + 1 <= n_u)
            sum += fraction;
    }
    return sum;
}

__global__ void sum_columns(tr_cuda_slab s, tr_cuda_rays rays, float *__restrict__ x)
{
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < s.n_x * s.n_z;
         i += (size_t)gridDim.x * blockDim.x)
        x[i] = (float)sum_column(&s, &rays, (double)(i % s.n_x), (double)(i / s.n_x));
}
} // namespace

enum { SUM_THREADS = 128 };

tr_status tr_cuda_row_sums(void *state, const tr_slab *slab, const tr_subset *views,
                           tr_vec *p)
{
    tr_cuda *c = (tr_cuda *)state;
    size_t lines = tr_view_count(slab, views) * (slab->n_u + TR_GUARDS);
    tr_cuda_rays rays;
    tr_slab s;
    if (lines == 0)
        return TR_OK;
    TR_TRY(tr_cuda_exact(c, slab, &s));
    TR_TRY(tr_cuda_get_rays(c, &s, views, &rays));
    TR_LAUNCH(sum_rows, dim3(tr_cuda_blocks(c, lines, SUM_THREADS)), dim3(SUM_THREADS), 0,
              c->compute, tr_cuda_slab_of(&s), rays, p->data);
    TR_TRY(tr_cuda_launched("sum_rows"));
    return s.outer ? tr_cuda_outer_row_sums(c, &s, &rays, p->data) : TR_OK;
}

tr_status tr_cuda_col_sums(void *state, const tr_slab *slab, const tr_subset *views,
                           tr_vec *x)
{
    tr_cuda *c = (tr_cuda *)state;
    size_t lines = tr_core_lines(slab);
    tr_cuda_rays rays;
    tr_slab s;
    if (tr_view_count(slab, views) == 0)
        return tr_cuda_fill(c, x, 0.0f);
    TR_TRY(tr_cuda_exact(c, slab, &s));
    TR_TRY(tr_cuda_get_rays(c, &s, views, &rays));
    TR_LAUNCH(sum_columns, dim3(tr_cuda_blocks(c, lines, SUM_THREADS)), dim3(SUM_THREADS),
              0, c->compute, tr_cuda_slab_of(&s), rays, x->data);
    TR_TRY(tr_cuda_launched("sum_columns"));
    return s.outer ? tr_cuda_outer_col_sums(c, &s, &rays, x->data) : TR_OK;
}
