/* Long sums by parts; and row and column sums of the projection matrix, which depend on
 * the geometry only, not on the row, so one value per line. */
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/state.h"
#include "kernels/outer_body.h"

double *tr_cpu_new_parts(size_t parts, size_t sums)
{
    double *part = calloc(parts * sums + 1, sizeof *part);
    if (!part)
        (void)tr_fail(TR_ERR_MEMORY, "not enough memory for a sum");
    return part;
}

void tr_cpu_add_parts(double *part, size_t parts, size_t n, double *sums)
{
    memset(sums, 0, n * sizeof *sums);
    for (size_t k = 0; k < parts; k++)
        for (size_t r = 0; r < n; r++)
            sums[r] += part[k * n + r];
    free(part);
}

/* ---- of the projection matrix ---- */

/* Cells that are all 1 have steps at the core only. */
static void add_outer_row_sums(const tr_slab *s, const tr_ray *ray, double *sums)
{
    double steps[s->n_u + TR_OUTER_SPARE], sum = 0.0;
    memset(steps, 0, sizeof steps);
    for (size_t iz = 0; iz < s->n_z; iz++)
        for (int right = 0; right < 2; right++) {
            double base = ray->u0 + ray->uz * (double)iz;
            const tr_outer_span span = tr_outer_find(right, (int)s->outer, (double)s->n_x,
                                                     (double)s->n_u, base, ray->ux);
            steps[0] += span.entering >= 0 ? 1.0 / ray->ux : 0.0;
            if (span.first > 0 || span.end == 0)
                continue;
            const tr_outer_taps t =
                tr_outer_step_at(right, 0, (double)s->n_x, base, ray->ux);
            for (int i = 0; i < 3; i++)
                steps[t.at + i] += t.weight[i];
        }
    for (size_t i = 0; i < s->n_u + TR_OUTER_LEFT; i++) {
        sum += steps[i];
        if (i >= TR_OUTER_LEFT)
            sums[i - TR_OUTER_LEFT] += sum;
    }
}

static void add_outer_col_sums(const tr_slab *s, const tr_ray *ray, size_t iz,
                               float *cells)
{
    double base = ray->u0 + ray->uz * (double)iz;
    for (int right = 0; right < 2; right++) {
        const tr_outer_span span = tr_outer_find(right, (int)s->outer, (double)s->n_x,
                                                 (double)s->n_u, base, ray->ux);
        if (span.entering >= 0)
            cells[tr_outer_line(right, (size_t)span.entering, s->outer)] +=
                (float)((double)s->n_u / ray->ux);
        for (int k = span.first; k < span.end; k++) {
            const tr_outer_taps t =
                tr_outer_step_at(right, k, (double)s->n_x, base, ray->ux);
            double sum = 0.0;
            for (int i = 0; i < 3; i++)
                sum += t.weight[i] * tr_outer_seen_by((size_t)t.at + (size_t)i, s->n_u);
            cells[tr_outer_line(right, (size_t)k, s->outer)] += (float)sum;
            if (k)
                cells[tr_outer_line(right, (size_t)k - 1, s->outer)] -= (float)sum;
        }
    }
}

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
        if (slab->outer)
            add_outer_row_sums(slab, ray, sums + 1);
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
        float *cells = x->data + tr_core_lines(slab) + iz * 2 * slab->outer;
        memset(cells, 0, 2 * slab->outer * sizeof *cells);
        for (size_t k = 0; slab->outer && k < n; k++)
            add_outer_col_sums(slab, &slab->rays[views ? views->views[k] : k], iz, cells);
    }
    return TR_OK;
}
