/* The projector of what lies outside the field (outer_body.h) for independent rows. Part
 * of project.c, to be compiled for every instruction set. */
#include "kernels/outer_body.h"

/* Some lanes of some planes' cells. */
typedef struct outer_task {
    size_t lane, lanes, first_plane, end_plane;
} outer_task;

static inline float *cell_at(const tr_slab *s, const float *x, size_t iz, bool right,
                             int k, size_t lane)
{
    size_t line =
        tr_core_lines(s) + iz * 2 * s->outer + tr_outer_line(right, (size_t)k, s->outer);
    return (float *)x + line * s->rows + lane;
}

static inline tr_outer_span find_span(const tr_slab *s, const tr_ray *ray, bool right,
                                      double base)
{
    return tr_outer_find(right, (int)s->outer, (double)s->n_x, (double)s->n_u, base,
                         ray->ux);
}

/* The steps of one plane and side to the list. The cell nearest to the core steps down to
 * 0 there, for the core is projected by itself. */
static void add_steps(const tr_slab *s, const tr_ray *ray, size_t iz, bool right,
                      const outer_task *t, const float *x, float *steps)
{
    double base = ray->u0 + ray->uz * (double)iz;
    const tr_outer_span span = find_span(s, ray, right, base);
    float height = (float)(1.0 / ray->ux);
    if (span.entering >= 0) {
        const float *cell = cell_at(s, x, iz, right, span.entering, t->lane);
        for (size_t r = 0; r < t->lanes; r += VECTOR)
            *(vec *)(steps + r) += height * *(const vec *)(cell + r);
    }
    for (int k = span.first; k < span.end; k++) {
        const tr_outer_taps taps =
            tr_outer_step_at(right, k, (double)s->n_x, base, ray->ux);
        const float *cell = cell_at(s, x, iz, right, k, t->lane);
        const float *inner = k ? cell_at(s, x, iz, right, k - 1, t->lane) : NULL;
        float *to = steps + (size_t)taps.at * t->lanes;
        for (size_t r = 0; r < t->lanes; r += VECTOR) {
            vec step = *(const vec *)(cell + r);
            if (inner)
                step -= *(const vec *)(inner + r);
            for (size_t i = 0; i < 3; i++)
                *(vec *)(to + i * t->lanes + r) += taps.weight[i] * step;
        }
    }
}

/* p (the view's first column, in the task's first lane) += the running sum of steps. */
static void sum_steps(const tr_slab *s, const outer_task *t, const float *steps, float *p)
{
    for (size_t r = 0; r < t->lanes; r += VECTOR) {
        vec sum = {0};
        for (size_t i = 0; i < TR_OUTER_LEFT; i++)
            sum += *(const vec *)(steps + i * t->lanes + r);
        for (size_t u = 0; u < s->n_u; u++) {
            sum += *(const vec *)(steps + (u + TR_OUTER_LEFT) * t->lanes + r);
            *(vec *)(p + u * s->rows + r) += sum;
        }
    }
}

/* Lanes of a task: what is found out about rays serves all of them, but its lists of
 * steps should stay in the second-level cache, and on the stack. */
enum { MOST_STEPS = 9 << 13 };
static size_t task_lanes(const tr_slab *s, size_t lists)
{
    size_t lanes = 64;
    while (lanes > TR_LANES && (s->n_u + TR_OUTER_SPARE) * lanes * lists > MOST_STEPS)
        lanes /= 2;
    return min_size(lanes, s->rows);
}

static size_t steps_floats(const tr_slab *s, size_t lanes)
{
    return (s->n_u + TR_OUTER_SPARE) * lanes;
}

static void project_outer_rows(const tr_slab *s, const tr_subset *views, const float *x,
                               float *p, int threads)
{
    size_t lanes = task_lanes(s, 1), n = tr_view_count(s, views);
    size_t chunks = (s->rows + lanes - 1) / lanes;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t task = 0; task < n * chunks; task++) {
        size_t lane = task % chunks * lanes;
        const outer_task t = {lane, min_size(lanes, s->rows - lane), 0, s->n_z};
        size_t view = tr_view_at(views, task / chunks);
        float steps[steps_floats(s, t.lanes)] __attribute__((aligned(64)));
        memset(steps, 0, sizeof steps);
        for (size_t iz = 0; iz < s->n_z; iz++)
            for (int right = 0; right < 2; right++)
                add_steps(s, &s->rays[view], iz, right, &t, x, steps);
        sum_steps(s, &t, steps, p + (view * (s->n_u + TR_GUARDS) + 1) * s->rows + t.lane);
    }
}

/* The adjoint of sum_steps: what each step is seen by. */
static void spread_view(const tr_slab *s, const outer_task *t, const float *p,
                        float *seen)
{
    for (size_t r = 0; r < t->lanes; r += VECTOR) {
        vec sum = {0};
        for (size_t i = s->n_u + TR_OUTER_LEFT; i < s->n_u + TR_OUTER_SPARE; i++)
            *(vec *)(seen + i * t->lanes + r) = sum;
        for (size_t u = s->n_u; u-- > 0;) {
            sum += *(const vec *)(p + u * s->rows + r);
            *(vec *)(seen + (u + TR_OUTER_LEFT) * t->lanes + r) = sum;
        }
        for (size_t i = 0; i < TR_OUTER_LEFT; i++)
            *(vec *)(seen + i * t->lanes + r) = sum;
    }
}

/* The adjoint of add_steps. */
static void gather_steps(const tr_slab *s, const tr_ray *ray, size_t iz, bool right,
                         const outer_task *t, const float *seen, float *x)
{
    double base = ray->u0 + ray->uz * (double)iz;
    const tr_outer_span span = find_span(s, ray, right, base);
    float height = (float)(1.0 / ray->ux);
    if (span.entering >= 0) {
        float *cell = cell_at(s, x, iz, right, span.entering, t->lane);
        for (size_t r = 0; r < t->lanes; r += VECTOR)
            *(vec *)(cell + r) += height * *(const vec *)(seen + r);
    }
    int n = span.end - span.first;
    tr_outer_taps taps[s->outer + 1];
    for (int i = 0; i < n; i++)
        taps[i] = tr_outer_step_at(right, span.first + i, (double)s->n_x, base, ray->ux);
    for (size_t r = 0; r < t->lanes && n > 0; r += VECTOR) {
        /* A cell is held until the step at its outer end is known as well. */
        float *cell =
            span.first ? cell_at(s, x, iz, right, span.first - 1, t->lane + r) : NULL;
        vec held = cell ? *(const vec *)cell : (vec){0};
        for (int i = 0; i < n; i++) {
            const float *from = seen + (size_t)taps[i].at * t->lanes + r;
            vec step = {0};
            for (size_t j = 0; j < 3; j++)
                step += taps[i].weight[j] * *(const vec *)(from + j * t->lanes);
            if (cell)
                *(vec *)cell = held - step;
            cell = cell_at(s, x, iz, right, span.first + i, t->lane + r);
            held = *(const vec *)cell + step;
        }
        *(vec *)cell = held;
    }
}

static void clear_cells(const tr_slab *s, const outer_task *t, float *x)
{
    for (size_t iz = t->first_plane; iz < t->end_plane; iz++)
        for (size_t l = 0; l < 2 * s->outer; l++)
            memset(x + (tr_core_lines(s) + iz * 2 * s->outer + l) * s->rows + t->lane, 0,
                   t->lanes * sizeof *x);
}

/* A plane's cells stay in the first-level cache while some views are added to them, and
 * what these see of the steps in the second. */
static void backproject_outer_task(const tr_slab *s, const tr_subset *views,
                                   const outer_task *t, const float *p, float *x)
{
    enum { TOGETHER = 4 };
    size_t n = tr_view_count(s, views), size = steps_floats(s, t->lanes),
           together = TOGETHER;
    while (together > 1 && together * size > 2 * MOST_STEPS)
        together /= 2;
    float seen[together * size] __attribute__((aligned(64)));
    clear_cells(s, t, x);
    for (size_t k = 0; k < n; k += together) {
        size_t some = min_size(together, n - k);
        const tr_ray *rays[TOGETHER];
        for (size_t v = 0; v < some; v++) {
            size_t view = tr_view_at(views, k + v);
            const float *from = p + (view * (s->n_u + TR_GUARDS) + 1) * s->rows;
            rays[v] = &s->rays[view];
            spread_view(s, t, from + t->lane, seen + v * size);
        }
        for (size_t iz = t->first_plane; iz < t->end_plane; iz++)
            for (size_t v = 0; v < some; v++)
                for (int right = 0; right < 2; right++)
                    gather_steps(s, rays[v], iz, right, t, seen + v * size, x);
    }
}

typedef void outer_run(const tr_slab *s, const tr_subset *views, const outer_task *t,
                       const float *p, float *x);

/* Lanes and planes shared out to tasks. Every cell gets its views in their order from one
 * task, however the planes are cut. */
static void backproject_cells(outer_run *run, size_t lanes, const tr_slab *s,
                              const tr_subset *views, const float *p, float *x,
                              int threads)
{
    size_t chunks = (s->rows + lanes - 1) / lanes;
    size_t parts = ((size_t)threads + chunks - 1) / chunks;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t task = 0; task < chunks * parts; task++) {
        size_t part = task / chunks, lane = task % chunks * lanes;
        const outer_task t = {lane, min_size(lanes, s->rows - lane),
                              s->n_z * part / parts, s->n_z * (part + 1) / parts};
        if (t.first_plane < t.end_plane)
            run(s, views, &t, p, x);
    }
}

static void backproject_outer_rows(const tr_slab *s, const tr_subset *views,
                                   const float *p, float *x, int threads)
{
    backproject_cells(backproject_outer_task, task_lanes(s, 2), s, views, p, x, threads);
}
