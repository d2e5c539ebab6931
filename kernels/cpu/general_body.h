/* The projectors for any rays: tile by tile, by tile_lanes_body.h where slopes are
 * moderate; else each lane has its own column and row, so the four samples are gathered.
 * Part of project.c, to be compiled for every instruction set. */

/* The four samples of a vector of lanes of one voxel: index of the first, and weights. */
typedef struct lane_taps {
    ivec index;
    vec right, up;
} lane_taps;

/* Whole and fractional part of start + step * row for a vector of rows from `row` on: in
 * double, so that it does not show which rows a vector has. */
static inline __attribute__((always_inline)) void
split_lanes(double start, double step, double row, ivec *whole, vec *fraction)
{
    union {
        ivec all;
        jvec half[2];
    } down;
    union {
        vec all;
        fvec half[2];
    } rest;
    for (int h = 0; h < 2; h++) {
        dvec at, low;
        for (int r = 0; r < DOUBLES; r++)
            at[r] = (double)(h * DOUBLES + r);
        at = start + step * (row + at);
        low = (at + ROUND) - ROUND; /* the nearest one; of those above, the one below */
        low -= (dvec)((bvec)(low > at) & (bvec)((dvec){0} + 1.0));
        down.half[h] = __builtin_convertvector(low, jvec);
        rest.half[h] = __builtin_convertvector(at - low, fvec);
    }
    *whole = down.all;
    *fraction = rest.all;
}

/* Hold positions below 0 at 0 and from `last` on at last, as tr_ray_column does. */
static inline void hold(ivec *whole, vec *fraction, int last)
{
    ivec low = *whole < 0, high = *whole >= last;
    *whole = (*whole & ~low & ~high) | (high & last);
    *fraction = (vec)((ivec)*fraction & ~low & ~high);
}

static inline __attribute__((always_inline)) void
split_plane(const plane *p, double i, double k, double from, ivec *whole, vec *fraction)
{
    double start = from + p->a + p->x * i + (p->z + p->xz * i) * k;
    double step = p->r + p->xr * i + (p->zr + p->xzr * i) * k;
    split_lanes(within(start, FAR), step, 0.0, whole, fraction);
}

/* Of voxel (i, k) of a tile. */
static inline __attribute__((always_inline)) lane_taps
find_lanes(const tr_slab *s, const tile_view *t, size_t i, size_t k)
{
    int p_rows = (int)s->p_rows;
    ivec column, row;
    lane_taps taps;
    split_plane(&t->u, (double)i, (double)k, (double)t->column, &column, &taps.right);
    split_plane(&t->v, (double)i, (double)k, (double)t->row, &row, &taps.up);
    row += lanes_from(0);
    hold(&column, &taps.right, (int)s->n_u + 1);
    hold(&row, &taps.up, p_rows - 1);
    /* The last row has no neighbour above: it is its neighbour's upper one. */
    ivec top = row == p_rows - 1;
    row += top;
    taps.up = (vec)(((ivec)taps.up & ~top) | ((ivec)((vec){0} + 1.0f) & top));
    taps.index = column * p_rows + row;
    return taps;
}

static void gather_tile(const tr_slab *s, const tile_view *t, const tile_place *at,
                        const float *p, tile_voxels x)
{
    const float *next = p + s->p_rows;
    for (size_t k = 0; k < at->n_z; k++)
        for (size_t i = 0; i < at->n_x; i++) {
            lane_taps taps = find_lanes(s, t, i, k);
            vec left = 1.0f - taps.right;
            vec low =
                left * gather(p, taps.index) + taps.right * gather(next, taps.index);
            vec high = left * gather(p + 1, taps.index) +
                       taps.right * gather(next + 1, taps.index);
            *(vec *)x[k * CELL + i] += (1.0f - taps.up) * low + taps.up * high;
        }
}

static inline __attribute__((always_inline)) void scatter_sums(double *p, ivec index,
                                                               vec value, double round)
{
    union {
        vec all;
        fvec half[2];
    } from = {value};
    for (int h = 0; h < 2; h++) {
        dvec addend = __builtin_convertvector(from.half[h], dvec);
        addend = (addend + round) - round;
        for (int r = 0; r < DOUBLES; r++)
            p[index[h * DOUBLES + r]] += addend[r];
    }
}

/* One of the four samples of all lanes: neighbouring lanes add to different places, so
 * the additions do not wait for each other. */
static inline __attribute__((always_inline)) void
scatter(const image_sums *to, bool exact, size_t offset, ivec index, vec value)
{
    if (exact)
        scatter_sums(to->sums + offset, index, value, to->round);
    else
        for (int r = 0; r < VECTOR; r++)
            to->p[offset + (size_t)index[r]] += value[r];
}

static inline __attribute__((always_inline)) void
scatter_tile(const tr_slab *s, const tile_view *t, const tile_place *at, tile_voxels x,
             bool exact, const image_sums *to)
{
    size_t p_rows = s->p_rows;
    for (size_t k = 0; k < at->n_z; k++)
        for (size_t i = 0; i < at->n_x; i++) {
            lane_taps taps = find_lanes(s, t, i, k);
            vec from = *(vec *)x[k * CELL + i];
            vec low = (1.0f - taps.up) * from, high = taps.up * from;
            vec left = 1.0f - taps.right;
            scatter(to, exact, 0, taps.index, left * low);
            scatter(to, exact, 1, taps.index, left * high);
            scatter(to, exact, p_rows, taps.index, taps.right * low);
            scatter(to, exact, p_rows + 1, taps.index, taps.right * high);
        }
}

/* ---- tiles ---- */

static inline size_t tiles_of(size_t n) { return (n + CELL - 1) / CELL; }

static tile_place tile_at(const tr_slab *s, size_t number)
{
    size_t down = tiles_of(s->n_z), x = number / down * CELL, z = number % down * CELL;
    return (tile_place){x, z, min_size(CELL, s->n_x - x), min_size(CELL, s->n_z - z), 0};
}

/* A slab's first row of tiles begins where one of all rows does. */
static inline long first_row(const tr_slab *s)
{
    return (long)(s->first / VECTOR * VECTOR);
}
static inline long end_row(const tr_slab *s) { return (long)(s->first + s->rows); }

/* Between the voxels of a tile and a volume; rows that the slab does not have are 0. */
static void copy_voxels(const tr_slab *s, const tile_place *at, float *x, bool out,
                        tile_voxels v)
{
    long first = (long)s->first - at->row, end = end_row(s) - at->row;
    first = first > 0 ? first : 0;
    end = end < VECTOR ? end : VECTOR;
    size_t bytes = (size_t)(end - first) * sizeof *x;
    for (size_t k = 0; k < at->n_z; k++)
        for (size_t i = 0; i < at->n_x; i++) {
            float *line = x + ((at->z + k) * s->n_x + at->x + i) * s->rows +
                          (at->row + first - (long)s->first);
            if (end - first < VECTOR && !out)
                *(vec *)v[k * CELL + i] = (vec){0};
            if (out)
                memcpy(line, v[k * CELL + i] + first, bytes);
            else
                memcpy(v[k * CELL + i] + first, line, bytes);
        }
}

static void backproject_general_tile(const tr_slab *s, const tr_subset *views,
                                     const float *p, tile_place at, float *x)
{
    tile_voxels v __attribute__((aligned(64)));
    tile_columns columns __attribute__((aligned(64)));
    size_t n = tr_view_count(s, views), stride = (s->n_u + TR_GUARDS) * s->p_rows;
    for (at.row = first_row(s); at.row < end_row(s); at.row += VECTOR) {
        memset(v, 0, sizeof v);
        tile_view placed[2];
        if (n > 0)
            place_tile(s, tr_view_at(views, 0), &at, &placed[0]);
        for (size_t k = 0; k < n; k++) {
            const tile_view *t = &placed[k % 2];
            const float *from = p + tr_view_at(views, k) * stride;
            if (k + 1 < n) {
                tile_view *next = &placed[(k + 1) % 2];
                place_tile(s, tr_view_at(views, k + 1), &at, next);
                fetch_columns(s, next, p + tr_view_at(views, k + 1) * stride, sizeof *p,
                              false);
            }
            if (t->fits) {
                copy_columns(s, t, from, columns);
                back_tile(t, &at, columns, v[0]);
            } else {
                gather_tile(s, t, &at, from, v);
            }
        }
        copy_voxels(s, &at, x, true, v);
    }
}

static void backproject_general(const tr_slab *s, const tr_subset *views, const float *p,
                                float *x, int threads)
{
    size_t tiles = tiles_of(s->n_x) * tiles_of(s->n_z);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t t = 0; t < tiles; t++)
        backproject_general_tile(s, views, p, tile_at(s, t), x);
}

static inline bool is_seen(const tr_slab *s, const tile_view *t)
{
    return t->column <= (long)s->n_u && t->column + (long)t->n_columns > 1;
}

/* Views [first, end) of some: to[k] has the k-th. */
static inline __attribute__((always_inline)) void
project_general_tile(const tr_slab *s, const tr_subset *views, size_t first, size_t end,
                     const float *x, tile_place at, bool exact, const image_sums *to)
{
    tile_voxels v __attribute__((aligned(64)));
    tile_columns columns __attribute__((aligned(64)));
    memset(columns, 0, sizeof columns);
    memset(v[CELL * CELL], 0, sizeof v[0]);
    for (at.row = first_row(s); at.row < end_row(s); at.row += VECTOR) {
        copy_voxels(s, &at, (float *)(uintptr_t)x, false, v);
        tile_view placed[2];
        place_tile(s, tr_view_at(views, first), &at, &placed[first % 2]);
        for (size_t k = first; k < end; k++) {
            const tile_view *t = &placed[k % 2];
            if (k + 1 < end) {
                tile_view *next = &placed[(k + 1) % 2];
                place_tile(s, tr_view_at(views, k + 1), &at, next);
                if (exact)
                    fetch_columns(s, next, to[k + 1].sums, sizeof *to->sums, true);
                else
                    fetch_columns(s, next, to[k + 1].p, sizeof *to->p, true);
            }
            if (!is_seen(s, t))
                continue;
            if (t->fits) {
                forward_tile(t, &at, columns, v[0]);
                add_columns(s, t, columns, exact, &to[k]);
            } else {
                scatter_tile(s, t, &at, v, exact, &to[k]);
            }
        }
    }
}

/* A thread has some of the views: nothing is written by two, and the order of the tiles,
 * hence the result, does not depend on how many threads there are. */
static void project_general(const tr_slab *s, const tr_subset *views, const float *x,
                            float *p, int threads)
{
    size_t stride = (s->n_u + TR_GUARDS) * s->p_rows, n = tr_view_count(s, views);
    size_t tiles = tiles_of(s->n_x) * tiles_of(s->n_z);
    image_sums to[n];
    for (size_t k = 0; k < n; k++)
        to[k] = (image_sums){.p = p + tr_view_at(views, k) * stride};
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t part = 0; part < (size_t)threads; part++) {
        size_t first = n * part / (size_t)threads, end = n * (part + 1) / (size_t)threads;
        for (size_t k = first; k < end; k++)
            memset(to[k].p, 0, stride * sizeof *p);
        for (size_t t = 0; t < tiles && first < end; t++)
            project_general_tile(s, views, first, end, x, tile_at(s, t), false, to);
        for (size_t k = first; k < end;
             k++) { /* what fell on the guards left the image */
            memset(to[k].p, 0, s->p_rows * sizeof *p);
            memset(to[k].p + (s->n_u + 1) * s->p_rows, 0, 2 * s->p_rows * sizeof *p);
        }
    }
}
