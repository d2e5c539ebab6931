/* The projector of what lies outside the field for rays that leave their row
 * (outer_coupled_body.h): each lane has its own steps, and its own pixels. Part of
 * project.c, to be compiled for every instruction set. */
#include "kernels/outer_coupled_body.h"

/* Some lanes of one band of a view. */
typedef struct band_task {
    const tr_slab *s;
    const tr_outer_course *c;
    tr_outer_band band;
    size_t lane, lanes;
} band_task;

/* One side of one plane. */
typedef struct band_side {
    size_t iz;
    bool right;
    tr_outer_start start;
    tr_outer_span span;
} band_side;

static band_side find_band_side(const band_task *t, size_t iz, bool right)
{
    const tr_slab *s = t->s;
    const tr_outer_course *c = t->c;
    band_side side = {iz, right, tr_outer_find_start(s, c, iz, right), {0, 0, 0}};
    /* Of all rows where they are shared out: which cells are steps shows in the rounding.
     */
    size_t row = s->all_rows ? 0 : s->first + t->lane;
    size_t rows = s->all_rows ? s->all_rows : t->lanes;
    double one = side.start.base + side.start.py * (double)row;
    double other = one + side.start.py * (double)(rows - 1);
    side.span =
        tr_outer_find_any(true, (int)s->outer, (double)s->n_x, (double)c->n_p,
                          one < other ? one : other, one < other ? other : one, c->px);
    return side;
}

/* The step of a vector of lanes, from the task's lane r on: as tr_outer_step. */
typedef struct step_taps {
    ivec index;
    vec weight[3];
} step_taps;

static inline __attribute__((always_inline)) step_taps
find_step_taps(const band_task *t, const band_side *side, int k, size_t r)
{
    const tr_outer_course *c = t->c;
    double at = side->start.base + TR_OUTER_LEFT +
                c->px * tr_outer_position(true, k, (double)t->s->n_x);
    ivec place;
    vec f;
    step_taps taps;
    split_lanes(within(at, FAR), side->start.py, (double)(t->s->first + t->lane + r),
                &place, &f);
    hold(&place, &f, (int)c->n_p + TR_OUTER_LEFT);
    vec first = 0.5f * (1.0f - f) * (1.0f - f), last = 0.5f * f * f;
    float height = (float)(1.0 / c->px);
    taps.weight[0] = height * first;
    taps.weight[1] = height * (1.0f - first - last);
    taps.weight[2] = height * last;
    taps.index = lanes_from((long)r) + place * (int)t->lanes;
    return taps;
}

/* The pixels that see a vector of lanes at one p: index of each within the q axis's
 * lines, and weight, 0 outside the image. */
typedef struct pixel_taps {
    ivec index[3];
    vec weight[3];
} pixel_taps;

static inline __attribute__((always_inline)) pixel_taps find_pixels(const band_task *t,
                                                                    size_t p, size_t r)
{
    const tr_outer_course *c = t->c;
    /* Without the lanes' own number, rows that are shifted only are all alike. */
    double shift = t->band.q0 + c->slope * (double)p - c->reach;
    const size_t row = t->s->first + t->lane + r;
    const float reach = (float)c->reach, per_reach = 1.0f / reach;
    ivec first;
    vec f;
    pixel_taps taps;
    split_lanes(within(shift, FAR), c->qy - 1.0, (double)row, &first, &f);
    first += lanes_from((long)row + 1 - c->first_q);
    for (int i = 0; i < 3; i++) {
        vec away = (float)(i + 1) - reach - f;
        away = (vec)((ivec)away & 0x7fffffff);
        vec weight = (1.0f - away * per_reach) * per_reach;
        ivec q = first + i;
        ivec seen = (weight > 0.0f) & (q >= 0) & (q < (int)c->n_q);
        taps.weight[i] = (vec)((ivec)weight & seen);
        taps.index[i] = (q & seen) * (int)c->step_q;
    }
    return taps;
}

static inline ptrdiff_t pixels_at(const band_task *t, size_t p)
{
    return t->c->first + t->c->step_p * (ptrdiff_t)p;
}

/* ---- forward ---- */

/* The cell nearest to the core steps down to 0 there, for the core is projected by
 * itself. */
static void add_band_side(const band_task *t, const band_side *side, const float *x,
                          float *steps)
{
    const tr_slab *s = t->s;
    const tr_outer_span span = side->span;
    const float height = (float)(1.0 / t->c->px);
    if (span.entering >= 0) {
        const float *cell = cell_at(s, x, side->iz, side->right, span.entering, t->lane);
        for (size_t r = 0; r < t->lanes; r += VECTOR)
            *(vec *)(steps + r) += height * *(const vec *)(cell + r);
    }
    for (int k = span.first; k < span.end; k++) {
        const float *cell = cell_at(s, x, side->iz, side->right, k, t->lane);
        const float *inner =
            k ? cell_at(s, x, side->iz, side->right, k - 1, t->lane) : NULL;
        for (size_t r = 0; r < t->lanes; r += VECTOR) {
            const step_taps taps = find_step_taps(t, side, k, r);
            vec step = *(const vec *)(cell + r);
            if (inner)
                step -= *(const vec *)(inner + r);
            for (size_t i = 0; i < 3; i++) {
                vec value = taps.weight[i] * step;
                float *to = steps + i * t->lanes;
                for (int j = 0; j < VECTOR; j++)
                    to[taps.index[j]] += value[j];
            }
        }
    }
}

/* The list of the left side follows that of the right one. */
static inline size_t left_list(const band_task *t)
{
    return tr_outer_places(t->s) * t->lanes;
}

/* The running sum of one list, for a vector of lanes: at each p what is seen there. */
static void sum_list(const band_task *t, float *list)
{
    vec sum = {0};
    for (size_t i = 0; i < t->c->n_p + TR_OUTER_LEFT; i++) {
        sum += *(const vec *)(list + i * t->lanes);
        *(vec *)(list + i * t->lanes) = sum;
    }
}

/* The running sums to the pixels that see them: lane by lane, so that it does not show
 * which lanes a vector has. */
static inline __attribute__((always_inline)) void
sum_band(const band_task *t, float *steps, const image_sums *view, bool exact)
{
    const int n = t->c->reach > 1.0 ? 3 : 2;
    const size_t n_p = t->c->n_p, lanes = t->lanes;
    for (size_t r = 0; r < lanes; r += VECTOR) {
        const float *right = steps + TR_OUTER_LEFT * lanes + r;
        const float *left = right + left_list(t);
        sum_list(t, steps + r);
        sum_list(t, steps + left_list(t) + r);
        for (size_t p = 0; p < n_p; p++) {
            vec sum = *(const vec *)(right + p * lanes) +
                      *(const vec *)(left + (n_p - 1 - p) * lanes);
            const pixel_taps taps = find_pixels(t, p, r);
            const ptrdiff_t at = pixels_at(t, p);
            for (int j = 0; j < VECTOR; j++)
                for (int i = 0; i < n; i++) {
                    float addend = taps.weight[i][j] * sum[j];
                    if (exact)
                        view->sums[at + taps.index[i][j]] +=
                            ((double)addend + view->round) - view->round;
                    else
                        view->p[at + taps.index[i][j]] += addend;
                }
        }
    }
}

/* As task_lanes: the lists of steps should stay in the second-level cache. */
static size_t band_lanes(const tr_slab *s)
{
    enum { MOST_FLOATS = 1 << 16 };
    size_t lanes = 64;
    while (lanes > TR_LANES && 2 * tr_outer_places(s) * lanes > MOST_FLOATS)
        lanes /= 2;
    return min_size(lanes, s->rows);
}

static inline __attribute__((always_inline)) void
project_coupled_view(const tr_slab *s, const tr_ray *ray, const float *x,
                     const image_sums *view, bool exact)
{
    const tr_outer_course c = tr_outer_find_course(s, ray, s->n_z);
    size_t lanes = band_lanes(s);
    float steps[2 * tr_outer_places(s) * lanes] __attribute__((aligned(64)));
    /* Each pixel gets its bands one after the other, however the lanes are cut. */
    for (size_t b = 0; b < c.bands; b++)
        for (size_t lane = 0; lane < s->rows; lane += lanes) {
            const band_task t = {s, &c, tr_outer_find_band(s, &c, b), lane,
                                 min_size(lanes, s->rows - lane)};
            memset(steps, 0, 2 * left_list(&t) * sizeof *steps);
            for (size_t iz = t.band.begin; iz < t.band.end; iz++)
                for (int right = 0; right < 2; right++) {
                    const band_side side = find_band_side(&t, iz, right);
                    add_band_side(&t, &side, x, steps + (right ? 0 : left_list(&t)));
                }
            sum_band(&t, steps, view, exact);
        }
}

static void project_outer_coupled(const tr_slab *s, const tr_subset *views,
                                  const float *x, float *p, int threads)
{
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t k = 0; k < tr_view_count(s, views); k++) {
        size_t view = tr_view_at(views, k);
        const image_sums to = {.p = p + view * (s->n_u + TR_GUARDS) * s->p_rows};
        project_coupled_view(s, &s->rays[view], x, &to, false);
    }
}

/* ---- sums that do not depend on their order ---- */

/* As project_general, with the cells. */
static void project_sums(const tr_slab *s, const tr_subset *views, const float *x,
                         const double *quantum, double *sums, int threads)
{
    size_t stride = (s->n_u + TR_GUARDS) * s->p_rows, n = tr_view_count(s, views);
    size_t tiles = tiles_of(s->n_x) * tiles_of(s->n_z), p_rows = s->p_rows;
    image_sums to[n];
    for (size_t k = 0; k < n; k++)
        to[k] = (image_sums){.sums = sums + k * stride, .round = ROUND * quantum[k]};
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t part = 0; part < (size_t)threads; part++) {
        size_t first = n * part / (size_t)threads, end = n * (part + 1) / (size_t)threads;
        for (size_t k = first; k < end; k++)
            memset(to[k].sums, 0, stride * sizeof *sums);
        for (size_t t = 0; t < tiles && first < end; t++)
            project_general_tile(s, views, first, end, x, tile_at(s, t), true, to);
        for (size_t k = first; k < end; k++) {
            if (s->outer)
                project_coupled_view(s, &s->rays[tr_view_at(views, k)], x, &to[k], true);
            memset(to[k].sums, 0, p_rows * sizeof *sums);
            memset(to[k].sums + (s->n_u + 1) * p_rows, 0, 2 * p_rows * sizeof *sums);
        }
    }
}

/* ---- the adjoint ---- */

/* What each step of a list is seen by: sums of what its places have, for a vector of
 * lanes. */
static void spread_list(const band_task *t, float *list)
{
    const size_t n_p = t->c->n_p;
    vec sum = {0};
    for (size_t i = n_p + TR_OUTER_LEFT; i < n_p + TR_OUTER_SPARE; i++)
        *(vec *)(list + i * t->lanes) = sum;
    for (size_t i = n_p + TR_OUTER_LEFT; i-- > TR_OUTER_LEFT;) {
        sum += *(const vec *)(list + i * t->lanes);
        *(vec *)(list + i * t->lanes) = sum;
    }
    for (size_t i = 0; i < TR_OUTER_LEFT; i++)
        *(vec *)(list + i * t->lanes) = sum;
}

static void spread_band(const band_task *t, const float *view, float *seen)
{
    const int n = t->c->reach > 1.0 ? 3 : 2;
    const size_t n_p = t->c->n_p, lanes = t->lanes;
    for (size_t r = 0; r < lanes; r += VECTOR) {
        float *right = seen + TR_OUTER_LEFT * lanes + r, *left = right + left_list(t);
        for (size_t p = 0; p < n_p; p++) {
            const pixel_taps taps = find_pixels(t, p, r);
            const float *from = view + pixels_at(t, p);
            vec sum = {0};
            for (int i = 0; i < n; i++)
                sum += taps.weight[i] * gather(from, taps.index[i]);
            *(vec *)(right + p * lanes) = sum;
            *(vec *)(left + (n_p - 1 - p) * lanes) = sum;
        }
        spread_list(t, seen + r);
        spread_list(t, seen + left_list(t) + r);
    }
}

static void gather_band_side(const band_task *t, const band_side *side, const float *seen,
                             float *x)
{
    const tr_slab *s = t->s;
    const tr_outer_span span = side->span;
    const float height = (float)(1.0 / t->c->px);
    if (span.entering >= 0) {
        float *cell = cell_at(s, x, side->iz, side->right, span.entering, t->lane);
        for (size_t r = 0; r < t->lanes; r += VECTOR)
            *(vec *)(cell + r) += height * *(const vec *)(seen + r);
    }
    for (int k = span.first; k < span.end; k++) {
        float *cell = cell_at(s, x, side->iz, side->right, k, t->lane);
        float *inner = k ? cell_at(s, x, side->iz, side->right, k - 1, t->lane) : NULL;
        for (size_t r = 0; r < t->lanes; r += VECTOR) {
            const step_taps taps = find_step_taps(t, side, k, r);
            vec step = {0};
            for (size_t i = 0; i < 3; i++)
                step += taps.weight[i] * gather(seen + i * t->lanes, taps.index);
            *(vec *)(cell + r) += step;
            if (inner)
                *(vec *)(inner + r) -= step;
        }
    }
}

/* The planes [first, end) of a band of all views. */
static void backproject_coupled_task(const tr_slab *s, const tr_subset *views,
                                     const outer_task *task, const float *p, float *x)
{
    float seen[2 * tr_outer_places(s) * task->lanes] __attribute__((aligned(64)));
    clear_cells(s, task, x);
    for (size_t k = 0; k < tr_view_count(s, views); k++) {
        size_t view = tr_view_at(views, k);
        const tr_outer_course c = tr_outer_find_course(s, &s->rays[view], s->n_z);
        for (size_t b = task->first_plane / c.planes; b < c.bands; b++) {
            const band_task t = {s, &c, tr_outer_find_band(s, &c, b), task->lane,
                                 task->lanes};
            if (t.band.begin >= task->end_plane)
                break;
            size_t begin = t.band.begin, end = min_size(t.band.end, task->end_plane);
            begin = begin > task->first_plane ? begin : task->first_plane;
            spread_band(&t, p + view * (s->n_u + TR_GUARDS) * s->p_rows, seen);
            for (size_t iz = begin; iz < end; iz++)
                for (int right = 0; right < 2; right++) {
                    const band_side side = find_band_side(&t, iz, right);
                    gather_band_side(&t, &side, seen + (right ? 0 : left_list(&t)), x);
                }
        }
    }
}

static void backproject_outer_coupled(const tr_slab *s, const tr_subset *views,
                                      const float *p, float *x, int threads)
{
    backproject_cells(backproject_coupled_task, band_lanes(s), s, views, p, x, threads);
}

/* ---- the entries of the table ---- */

static bool rows_are_kept(const tr_slab *s, const tr_subset *views)
{
    return !s->all_rows && tr_kind_of_rays(s, views) == TR_RAYS_OWN_ROW;
}

static void project_outer(const tr_slab *s, const tr_subset *views, const float *x,
                          float *p, int threads)
{
    (rows_are_kept(s, views) ? project_outer_rows : project_outer_coupled)(s, views, x, p,
                                                                           threads);
}

static void backproject_outer(const tr_slab *s, const tr_subset *views, const float *p,
                              float *x, int threads)
{
    (rows_are_kept(s, views) ? backproject_outer_rows
                             : backproject_outer_coupled)(s, views, p, x, threads);
}
