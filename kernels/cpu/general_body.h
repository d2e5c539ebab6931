/* The projectors for any rays: each lane has its own column and row, so the four samples
 * are gathered. Part of project.c, to be compiled for every instruction set. */

typedef int ivec __attribute__((vector_size(4 * VECTOR), aligned(4 * VECTOR)));

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

/* The numbers of a vector's lanes, from `first` on. */
static inline ivec lanes_from(long first)
{
    ivec lanes;
    for (int r = 0; r < VECTOR; r++)
        lanes[r] = r;
    return lanes + (int)first;
}

/* Hold positions below 0 at 0 and from `last` on at last, as tr_ray_column does. */
static inline void hold(ivec *whole, vec *fraction, int last)
{
    ivec low = *whole < 0, high = *whole >= last;
    *whole = (*whole & ~low & ~high) | (high & last);
    *fraction = (vec)((ivec)*fraction & ~low & ~high);
}

#define FAR 5e8 /* beyond all images, and with all rows still an int */

static inline double within(double at, double limit)
{
    return at < -limit ? -limit : at > limit ? limit : at;
}

static inline __attribute__((always_inline)) lane_taps
find_lanes(const tr_slab *s, const tr_ray *ray, size_t ix, size_t iz, size_t lane)
{
    double r = (double)(s->first + lane), x = (double)ix, z = (double)iz;
    double column0 = tr_ray_base(ray->u0, ray->uz, z) + ray->ux * x;
    double row0 = ray->v0 + ray->vx * x + ray->vz * z;
    int p_rows = (int)s->p_rows;
    ivec column, row;
    lane_taps t;
    split_lanes(within(column0, FAR), ray->uy, r, &column, &t.right);
    /* Without the lanes' own number, rows that are shifted only are all alike. */
    split_lanes(within(row0, FAR), ray->vy - 1.0, r, &row, &t.up);
    row += lanes_from((long)(s->first + lane) - s->p_first);
    hold(&column, &t.right, (int)s->n_u + 1);
    hold(&row, &t.up, p_rows - 1);
    /* The last row has no neighbour above: it is its neighbour's upper one. */
    ivec top = row == p_rows - 1;
    row += top;
    t.up = (vec)(((ivec)t.up & ~top) | ((ivec)((vec){0} + 1.0f) & top));
    t.index = column * p_rows + row;
    return t;
}

static inline vec gather(const float *p, ivec index)
{
#if defined(__AVX512F__)
    return (vec)_mm512_i32gather_ps((__m512i)index, p, 4);
#elif defined(__AVX2__)
    return (vec)_mm256_i32gather_ps(p, (__m256i)index, 4);
#else
    vec value;
    for (int r = 0; r < VECTOR; r++)
        value[r] = p[index[r]];
    return value;
#endif
}

static void backproject_general_view(const tr_slab *s, const tr_ray *ray, const float *p,
                                     size_t ix, size_t iz, float *x)
{
    const float *next = p + s->p_rows;
    for (size_t lane = 0; lane < s->rows; lane += VECTOR) {
        lane_taps t = find_lanes(s, ray, ix, iz, lane);
        vec left = 1.0f - t.right;
        vec low = left * gather(p, t.index) + t.right * gather(next, t.index);
        vec high = left * gather(p + 1, t.index) + t.right * gather(next + 1, t.index);
        *(vec *)(x + lane) += (1.0f - t.up) * low + t.up * high;
    }
}

/* Tiles in x and z, so that a view's columns are read from the nearest cache. */
static void backproject_general_tile(const tr_slab *s, const tr_subset *views,
                                     const float *p, size_t tx, size_t tz, float *x)
{
    size_t x1 = min_size(tx + TILE, s->n_x), z1 = min_size(tz + TILE, s->n_z);
    for (size_t iz = tz; iz < z1; iz++)
        memset(x + (iz * s->n_x + tx) * s->rows, 0, (x1 - tx) * s->rows * sizeof *x);
    for (size_t k = 0; k < view_count(s, views); k++) {
        size_t view = view_at(views, k);
        const float *from = p + view * (s->n_u + TR_GUARDS) * s->p_rows;
        for (size_t iz = tz; iz < z1; iz++)
            for (size_t ix = tx; ix < x1; ix++)
                backproject_general_view(s, &s->rays[view], from, ix, iz,
                                         x + (iz * s->n_x + ix) * s->rows);
    }
}

static void backproject_general(const tr_slab *s, const tr_subset *views, const float *p,
                                float *x, int threads)
{
    size_t across = (s->n_x + TILE - 1) / TILE, down = (s->n_z + TILE - 1) / TILE;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t t = 0; t < across * down; t++)
        backproject_general_tile(s, views, p, t % across * TILE, t / across * TILE, x);
}

/* Where a projection is added up: floats; or doubles, to whose addends `round` is added
 * and taken away again, so that they are multiples of its last bit and their sum does not
 * depend on their order. */
typedef struct image_sums {
    float *p;
    double *sums;
    double round;
} image_sums;

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
project_general_line(const tr_slab *s, const tr_ray *ray, size_t ix, size_t iz,
                     const float *x, const image_sums *to, bool exact)
{
    size_t p_rows = s->p_rows;
    for (size_t lane = 0; lane < s->rows; lane += VECTOR) {
        lane_taps t = find_lanes(s, ray, ix, iz, lane);
        vec from = *(const vec *)(x + lane);
        vec low = (1.0f - t.up) * from, high = t.up * from, left = 1.0f - t.right;
        scatter(to, exact, 0, t.index, left * low);
        scatter(to, exact, 1, t.index, left * high);
        scatter(to, exact, p_rows, t.index, t.right * low);
        scatter(to, exact, p_rows + 1, t.index, t.right * high);
    }
}

static inline __attribute__((always_inline)) void
project_general_tiles(const tr_slab *s, const tr_ray *ray, const float *x,
                      const image_sums *to, bool exact)
{
    for (size_t tz = 0; tz < s->n_z; tz += TILE)
        for (size_t tx = 0; tx < s->n_x; tx += TILE)
            for (size_t iz = tz; iz < min_size(tz + TILE, s->n_z); iz++)
                for (size_t ix = tx; ix < min_size(tx + TILE, s->n_x); ix++)
                    project_general_line(s, ray, ix, iz, x + (iz * s->n_x + ix) * s->rows,
                                         to, exact);
}

static void project_general_view(const tr_slab *s, const tr_ray *ray, const float *x,
                                 float *p)
{
    size_t p_rows = s->p_rows;
    memset(p, 0, (s->n_u + TR_GUARDS) * p_rows * sizeof *p);
    project_general_tiles(s, ray, x, &(image_sums){.p = p}, false);
    /* What fell on the guards left the image. */
    memset(p, 0, p_rows * sizeof *p);
    memset(p + (s->n_u + 1) * p_rows, 0, 2 * p_rows * sizeof *p);
}

static void project_general(const tr_slab *s, const tr_subset *views, const float *x,
                            float *p, int threads)
{
    size_t stride = (s->n_u + TR_GUARDS) * s->p_rows;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t k = 0; k < view_count(s, views); k++) {
        size_t view = view_at(views, k);
        project_general_view(s, &s->rays[view], x, p + view * stride);
    }
}
