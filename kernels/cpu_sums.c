/* Row and column sums of the projection matrix: they depend on the geometry only, not
 * on the row, so one value per line. */
#include <string.h>

#include "cpu_state.h"
#include "ray_body.h"

tr_status tr_cpu_row_sums(void *state, const tr_slab *slab, const tr_subset *views,
                          tr_vec *p)
{
    const tr_cpu *cpu = state;
    size_t columns = slab->n_u + TR_GUARDS, n = views ? views->n : slab->n_views;
    double last = tr_ray_last((double)slab->n_u);
#pragma omp parallel for schedule(dynamic) num_threads(cpu->threads)
    for (size_t k = 0; k < n; k++) {
        size_t view = views ? views->views[k] : k;
        const tr_ray *ray = &slab->rays[view];
        double sums[columns];
        memset(sums, 0, sizeof sums);
        for (size_t iz = 0; iz < slab->n_z; iz++) {
            double base = tr_ray_base(ray->u0, ray->uz, (double)iz);
            for (size_t ix = 0; ix < slab->n_x; ix++) {
                int column;
                float fraction;
                tr_ray_column(base, ray->ux, (double)ix, last, &column, &fraction);
                sums[column] += 1.0f - fraction;
                sums[column + 1] += fraction;
            }
        }
        sums[0] = sums[slab->n_u + 1] = sums[slab->n_u + 2] = 0.0;
        for (size_t c = 0; c < columns; c++)
            p->data[view * columns + c] = (float)sums[c];
    }
    return TR_OK;
}

tr_status tr_cpu_col_sums(void *state, const tr_slab *slab, const tr_subset *views,
                          tr_vec *x)
{
    const tr_cpu *cpu = state;
    size_t n = views ? views->n : slab->n_views;
    double last = tr_ray_last((double)slab->n_u);
#pragma omp parallel for schedule(static) num_threads(cpu->threads)
    for (size_t iz = 0; iz < slab->n_z; iz++) {
        float *sums = x->data + iz * slab->n_x;
        memset(sums, 0, slab->n_x * sizeof *sums);
        for (size_t k = 0; k < n; k++) {
            const tr_ray *ray = &slab->rays[views ? views->views[k] : k];
            double base = tr_ray_base(ray->u0, ray->uz, (double)iz);
            /* 1 between the first and the last column, falling to 0 on the guards: weight
             * there is weight outside the image. */
            for (size_t ix = 0; ix < slab->n_x; ix++) {
                double c = base + ray->ux * (double)ix;
                double inside = c < last - c ? c : last - c;
                inside = inside > 0.0 ? inside : 0.0;
                sums[ix] += (float)(inside < 1.0 ? inside : 1.0);
            }
        }
    }
    return TR_OK;
}
