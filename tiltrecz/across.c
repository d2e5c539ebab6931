#include "tiltrecz/across.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

/* Where the turned volume has what: column y of it is row `sign` y + `at` of the other
 * one. */
typedef struct turned_axis {
    long sign, at;
} turned_axis;

struct tr_volume_across {
    tr_job *job;
    const tr_volume_plan *plan;
    const tr_linop *first;
    /* The second series by itself, in the turned volume: its column is sign_y y + at, its
     * row sign_x x + at. */
    tr_job turned;
    tr_volume_plan turned_plan;
    turned_axis column, row;
    tr_ray *rays;
    tr_volume_operator *op;
    tr_vec volume;
    /* What travels of some planes. */
    size_t planes;
    float *send, *recv;
    size_t *send_counts, *recv_counts;
    /* What is handed out. */
    tr_linop A;
    tr_linop_ops ops;
    tr_slab slab;
    double *tilts;
    size_t *views; /* of a subset, those of either series */
};

static tr_volume_across *self(const tr_linop *A) { return A->self; }

/* ---- the turned volume ---- */

enum { TRAVELLING = 1 << 22 }; /* floats at a time */

/* The same on all ranks, which have not all as many rows. */
static size_t planes_at_once(const tr_job *job, const tr_volume_plan *p)
{
    size_t rows = p->all_rows / (size_t)job->comm->size + 2;
    size_t plane = rows * job->geometry.n_v;
    size_t n = plane ? TRAVELLING / plane : 1;
    n = n < 1 ? 1 : n;
    return n < p->planes ? n : p->planes;
}

/* Rows of the turned volume of this rank, and slices of the other one. */
typedef struct rank_share {
    size_t first, rows, slice, slices;
} rank_share;

static rank_share share_of(const tr_volume_across *a, int rank)
{
    rank_share s;
    tr_volume_share(&a->turned_plan, a->job->comm, rank, &s.first, &s.rows);
    tr_volume_share(a->plan, a->job->comm, rank, &s.slice, &s.slices);
    return s;
}

/* Values of planes that go from slices of this process to rows of each other one, and
 * from the slices of each to rows of this one; back, the other way round. */
static void count(const tr_volume_across *a, size_t planes, size_t *slices, size_t *rows)
{
    rank_share own = share_of(a, a->job->comm->rank);
    for (int k = 0; k < a->job->comm->size; k++) {
        rank_share s = share_of(a, k);
        slices[k] = planes * own.slices * s.rows;
        rows[k] = planes * s.slices * own.rows;
    }
}

/* block[slice][row] <-> plane[column][slice], in squares. */
static void turn_plane(const tr_volume_across *a, const rank_share *to, bool back,
                       float *plane, float *block)
{
    enum { SQUARE = 16 };
    size_t lanes = a->plan->lanes, slices = a->plan->rows;
    long width = (long)a->job->geometry.width;
    for (size_t r0 = 0; r0 < to->rows; r0 += SQUARE)
        for (size_t y0 = 0; y0 < slices; y0 += SQUARE)
            for (size_t r = r0; r < to->rows && r < r0 + SQUARE; r++) {
                long x = a->row.sign * ((long)(to->first + r) - a->row.at);
                bool there = x >= 0 && x < width;
                float *line = there ? plane + (size_t)x * lanes : NULL;
                size_t end = y0 + SQUARE < slices ? y0 + SQUARE : slices;
                if (!back)
                    for (size_t y = y0; y < end; y++)
                        block[y * to->rows + r] = there ? line[y] : 0.0f;
                else if (there)
                    for (size_t y = y0; y < end; y++)
                        line[y] += block[y * to->rows + r];
            }
}

/* Slices [slice][own row] of one rank <-> lines of the turned plane. */
static void move_lines(const tr_volume_across *a, const rank_share *from, bool back,
                       float *plane, float *block)
{
    size_t lanes = a->turned_plan.lanes, rows = a->turned_plan.rows;
    for (size_t y = 0; y < from->slices; y++) {
        long column = a->column.sign * (long)(from->slice + y) + a->column.at;
        float *line = plane + (size_t)column * lanes, *values = block + y * rows;
        memcpy(back ? values : line, back ? line : values, rows * sizeof *line);
    }
}

/* Of planes [z0, z0 + n): x to its blocks for all ranks, or what these have for it added
 * to x; and the same for the turned volume, which is written. */
static void move_planes(const tr_volume_across *a, size_t z0, size_t n, bool back,
                        const tr_vec *x, bool turned, float *blocks)
{
    size_t lines = turned ? (size_t)a->turned.geometry.width : a->job->geometry.width;
    const tr_vec *v = turned ? &a->volume : x;
    float *block = blocks;
    rank_share own = share_of(a, a->job->comm->rank);
    for (int k = 0; k < a->job->comm->size; k++) {
        const rank_share other = share_of(a, k);
        size_t each = turned ? other.slices * own.rows : own.slices * other.rows;
#pragma omp parallel for schedule(static) num_threads(a->job->threads)
        for (size_t z = 0; z < n; z++) {
            float *plane = v->data + (z0 + z) * lines * v->rows;
            if (turned)
                move_lines(a, &other, back, plane, block + z * each);
            else
                turn_plane(a, &other, back, plane, block + z * each);
        }
        block += n * each;
    }
}

/* The turned volume becomes x turned over; or, back, is added to x. */
static tr_status turn(tr_volume_across *a, bool back, const tr_vec *x)
{
    tr_comm *comm = a->job->comm;
    size_t n;
    for (size_t z = 0; z < a->plan->planes; z += n) {
        n = a->plan->planes - z < a->planes ? a->plan->planes - z : a->planes;
        count(a, n, a->send_counts, a->recv_counts);
        size_t *slices = a->send_counts, *rows = a->recv_counts;
        move_planes(a, z, n, back, x, back, a->send);
        TR_TRY(comm->ops->exchange(comm, a->send, back ? rows : slices, a->recv,
                                   back ? slices : rows));
        move_planes(a, z, n, back, x, !back, a->recv);
    }
    return TR_OK;
}

/* ---- the operator ---- */

typedef struct two_subsets {
    tr_subset of[2];
    tr_vec p[2];
} two_subsets;

/* What a subset and its projections are to either series. */
static two_subsets divide(tr_volume_across *a, const tr_subset *views, const tr_vec *p)
{
    size_t n_first = a->first->slab->n_views, n[2] = {0, 0};
    size_t *list[2] = {a->views, a->views + n_first};
    size_t lines = tr_projection_lines(a->first->slab);
    two_subsets s = {.p = {{p->data, lines, p->rows},
                           {p->data + lines * p->rows, p->lines - lines, p->rows}}};
    for (size_t k = 0; views && k < views->n; k++) {
        bool second = views->views[k] >= n_first;
        list[second][n[second]++] = views->views[k] - (second ? n_first : 0);
    }
    for (int k = 0; k < 2; k++)
        s.of[k] = (tr_subset){n[k], list[k]};
    return s;
}

static const tr_subset *subset_of(const two_subsets *s, const tr_subset *views, int k)
{
    return views ? &s->of[k] : NULL;
}

static bool is_asked(const two_subsets *s, const tr_subset *views, int k)
{
    return !views || s->of[k].n;
}

static tr_status forward(const tr_linop *A, const tr_subset *views, const tr_vec *x,
                         tr_vec *p)
{
    tr_volume_across *a = self(A);
    const tr_linop *second = tr_volume_linop(a->op);
    two_subsets s = divide(a, views, p);
    if (is_asked(&s, views, 0))
        TR_TRY(a->first->ops->forward(a->first, subset_of(&s, views, 0), x, &s.p[0]));
    if (!is_asked(&s, views, 1))
        return TR_OK;
    TR_TRY(turn(a, false, x));
    return second->ops->forward(second, subset_of(&s, views, 1), &a->volume, &s.p[1]);
}

static tr_status adjoint(const tr_linop *A, const tr_subset *views, const tr_vec *p,
                         tr_vec *x)
{
    tr_volume_across *a = self(A);
    const tr_linop *second = tr_volume_linop(a->op);
    two_subsets s = divide(a, views, p);
    if (is_asked(&s, views, 0))
        TR_TRY(a->first->ops->adjoint(a->first, subset_of(&s, views, 0), &s.p[0], x));
    else
        TR_TRY(A->backend->fill(A->device, x, 0.0f));
    if (!is_asked(&s, views, 1))
        return TR_OK;
    TR_TRY(second->ops->adjoint(second, subset_of(&s, views, 1), &s.p[1], &a->volume));
    return turn(a, true, x);
}

static tr_status sums(const tr_linop *A, bool back, const tr_subset *views, tr_vec *v)
{
    tr_vec ones;
    TR_TRY(tr_linop_ones(A, back, &ones));
    tr_status status = back ? adjoint(A, views, &ones, v) : forward(A, views, &ones, v);
    A->backend->free(A->device, ones.data);
    return status;
}

static tr_status row_sums(const tr_linop *A, const tr_subset *views, tr_vec *p)
{
    return sums(A, false, views, p);
}

static tr_status col_sums(const tr_linop *A, const tr_subset *views, tr_vec *x)
{
    return sums(A, true, views, x);
}

static tr_status total(const tr_linop *A, const double *rows, size_t n, double *values)
{
    const tr_linop *first = self(A)->first;
    return first->ops->total(first, rows, n, values);
}

static tr_status neighbour(const tr_linop *A, bool above, const tr_vec *x, float *row,
                           bool *exists)
{
    const tr_linop *first = self(A)->first;
    return first->ops->neighbour(first, above, x, row, exists);
}

/* ---- making it ---- */

static double near(double value, double whole)
{
    return fabs(value - whole) < 1e-9 ? whole : value;
}

/* A ray of the first volume as one of the turned one. What rounding has left of a quarter
 * turn goes: rows may be independent then. */
static tr_ray turned_ray(const tr_volume_across *a, const tr_ray *ray)
{
    double x = (double)a->row.sign, y = (double)a->column.sign;
    double x_at = (double)a->row.at, y_at = (double)a->column.at;
    return (tr_ray){.u0 = ray->u0 - ray->ux * x * x_at - ray->uy * y * y_at,
                    .ux = ray->uy * y,
                    .uy = near(ray->ux * x, 0.0),
                    .uz = ray->uz,
                    .v0 = near(ray->v0 - ray->vx * x * x_at - ray->vy * y * y_at, 0.0),
                    .vx = near(ray->vy * y, 0.0),
                    .vy = near(ray->vx * x, 1.0),
                    .vz = near(ray->vz, 0.0)};
}

/* So that the views' columns and rows grow with those of the turned volume. */
static void choose_axes(const tr_job *job, tr_volume_across *a)
{
    const tr_second_axis *second = job->second;
    const tr_geometry *g = &job->geometry;
    double along_x = 0.0, along_y = 0.0;
    for (size_t k = 0; k < second->n_views; k++) {
        along_x += second->rays[k].vx;
        along_y += second->rays[k].uy;
    }
    long n_v = (long)g->n_v, from = (n_v - (long)g->width) / 2;
    a->row = along_x < 0.0 ? (turned_axis){-1, n_v - 1 - from} : (turned_axis){1, from};
    a->column = along_y < 0.0 ? (turned_axis){-1, n_v - 1} : (turned_axis){1, 0};
}

/* The second series' job, as if the turned volume were all there is. */
static tr_status make_job(const tr_job *job, tr_volume_across *a)
{
    const tr_second_axis *second = job->second;
    choose_axes(job, a);
    a->rays = tr_calloc("rays", second->n_views, sizeof *a->rays);
    if (!a->rays)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < second->n_views; k++)
        a->rays[k] = turned_ray(a, &second->rays[k]);
    a->turned = *job;
    a->turned.geometry = (tr_geometry){.n_views = second->n_views,
                                       .n_u = job->geometry.n_u,
                                       .n_v = job->geometry.n_v,
                                       .width = job->geometry.n_v,
                                       .thickness = job->geometry.thickness,
                                       .tilt = second->geometry->tilt};
    a->turned.rays = a->rays;
    a->turned.second = NULL;
    a->turned.options = NULL;
    a->turned.views = NULL;
    a->turned.transforms = false;
    a->turned.first_slice = 0;
    a->turned.output_spec.n_slices = job->geometry.n_v;
    tr_volume_plan_rows(&a->turned, &a->turned_plan);
    return TR_OK;
}

size_t tr_volume_across_bytes(const tr_job *job, const tr_volume_plan *p)
{
    tr_volume_across a = {.plan = p};
    if (!job->second || !job->second->turned || make_job(job, &a) != TR_OK)
        return 0;
    const tr_volume_plan *t = &a.turned_plan;
    size_t volume = t->planes * a.turned.geometry.width * t->lanes;
    size_t travelling = 2 * planes_at_once(job, p) * p->rows * job->geometry.n_v;
    free(a.rays);
    /* The larger of the ones that sums are made from. */
    const tr_geometry *g = &job->geometry;
    size_t own = p->planes * (g->width + 2 * g->outer) * p->lanes;
    size_t images = tr_job_views(job) * (g->n_u + TR_GUARDS) * p->lanes;
    size_t ones = own > images ? own : images;
    return tr_volume_operator_bytes(&a.turned, t) +
           (volume + travelling + ones) * sizeof(float);
}

static tr_status allocate(tr_volume_across *a)
{
    const tr_job *job = a->job;
    size_t ranks = (size_t)job->comm->size, n = tr_job_views(job);
    size_t first = job->geometry.n_views, values;
    a->planes = planes_at_once(job, a->plan);
    values = a->planes * a->plan->rows * job->geometry.n_v;
    a->send = tr_calloc("planes", values, sizeof *a->send);
    a->recv = tr_calloc("planes", values, sizeof *a->recv);
    a->send_counts = tr_calloc("ranks", ranks, sizeof *a->send_counts);
    a->recv_counts = tr_calloc("ranks", ranks, sizeof *a->recv_counts);
    a->tilts = tr_calloc("the tilt angles", n, sizeof *a->tilts);
    a->views = tr_calloc("views", n, sizeof *a->views);
    if (!a->send || !a->recv || !a->send_counts || !a->recv_counts || !a->tilts ||
        !a->views)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < n; k++)
        a->tilts[k] =
            k < first ? job->geometry.tilt[k] : job->second->geometry->tilt[k - first];
    const tr_slab *slab = tr_volume_linop(a->op)->slab;
    tr_vec v = {.lines = tr_volume_lines(slab), .rows = slab->rows};
    TR_TRY(job->backend->alloc_volume(job->device, v.lines * v.rows, &v.data));
    a->volume = v;
    return job->backend->fill(job->device, &a->volume, 0.0f);
}

static tr_status build(tr_volume_across *a)
{
    tr_job *job = a->job;
    TR_TRY(job->comm->ops->agree(job->comm, make_job(job, a)));
    TR_ASSERT(a->turned_plan.first == a->plan->first &&
              a->turned_plan.rows == a->plan->rows && !a->plan->pitched);
    TR_TRY(tr_volume_operator_new(&a->turned, &a->turned_plan, &a->op));
    TR_TRY(job->comm->ops->agree(job->comm, allocate(a)));
    tr_volume_operator_counts_for(a->op, job);
    a->slab = *a->first->slab;
    a->slab.n_views = tr_job_views(job);
    a->slab.rays = NULL; /* some are about one volume, some about the other */
    a->ops = (tr_linop_ops){.forward = forward,
                            .adjoint = adjoint,
                            .row_sums = row_sums,
                            .col_sums = col_sums,
                            .total = total,
                            .neighbour = neighbour};
    a->A = *a->first;
    a->A.ops = &a->ops;
    a->A.self = a;
    a->A.slab = &a->slab;
    a->A.tilt = a->tilts;
    a->A.coupled = true;
    return TR_OK;
}

tr_status tr_volume_across_new(tr_job *job, const tr_volume_plan *plan,
                               const tr_linop *first, tr_volume_across **across)
{
    tr_volume_across *a = tr_calloc("the operator", 1, sizeof *a);
    TR_TRY(job->comm->ops->agree(job->comm, a ? TR_OK : TR_ERR_MEMORY));
    a->job = job;
    a->plan = plan;
    a->first = first;
    tr_status status = build(a);
    if (status == TR_OK)
        *across = a;
    else
        tr_volume_across_free(a);
    return status;
}

const tr_linop *tr_volume_across_linop(const tr_volume_across *a) { return &a->A; }

tr_status tr_volume_across_end(tr_volume_across *a)
{
    return a ? tr_volume_operator_end(a->op) : TR_OK;
}

void tr_volume_across_free(tr_volume_across *a)
{
    if (!a)
        return;
    tr_volume_operator_free(a->op);
    if (a->volume.data)
        a->job->backend->free(a->job->device, a->volume.data);
    free(a->send);
    free(a->recv);
    free(a->send_counts);
    free(a->recv_counts);
    free(a->tilts);
    free(a->views);
    free(a->rays);
    free(a);
}
