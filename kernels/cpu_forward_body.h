/* The forward projector for independent rows: each detector column gathers the voxels
 * under its hat function. Part of cpu_project.c, to be compiled for every instruction
 * set.
 *
 * LINES neighbouring lines of voxels, along x or along z, are copied into the first-level
 * cache and serve a group of views: those whose columns advance faster along that axis,
 * by 1/sqrt(2) per voxel at least. Then TAPS voxels of a line are all that a hat covers,
 * there are no branches, and a column's sum is loaded and stored once for LINES x TAPS
 * multiply-adds. */

enum {
    LINES = 4,
    TAPS = 3,
    LENGTH = 28, /* voxels of a line copied at a time */
    GAP = 7,     /* zeros between lines: what columns of other lines find beyond an end */
    PITCH = LENGTH + GAP,
    LANES = 64,        /* rows copied at a time */
    MOST_VIEWS = 32,   /* in a group: more would not stay in the second-level cache */
    LEAST_VIEWS = 4,   /* fewer do not make up for the copying */
    BINS = 2 * LENGTH, /* columns whose taps are found at a time */
    LANE_BYTES = LANES * sizeof(float)
};
static const double least_slope = 0.7; /* 2 / slope < TAPS */

typedef struct bundle {
    bool along_x;
    size_t line, n_lines, first, length; /* lines; voxels in them */
    float voxels[(LINES * PITCH + GAP) * LANES] __attribute__((aligned(64)));
} bundle;

/* Of some columns: the first tap in each line, and the weights. Found for a vector of
 * columns at a time, used one by one. */
typedef struct bin_taps {
    union {
        bvec some[BINS / DOUBLES];
        const float *one[BINS];
    } voxel[LINES];
    union {
        fvec some[BINS / DOUBLES];
        float one[BINS];
    } weight[LINES][TAPS];
} bin_taps;

/* Some lanes of a group of views, and where their voxels begin. */
typedef struct forward_task {
    const size_t *views;
    size_t n_views, lane, lanes;
    bool along_x;
} forward_task;

/* Sets the extent of the bundle number `index`; false where there is none. */
static bool bundle_at(const tr_slab *s, size_t index, bundle *b)
{
    size_t n_lines = b->along_x ? s->n_z : s->n_x, length = b->along_x ? s->n_x : s->n_z;
    size_t pieces = (length + LENGTH - 1) / LENGTH;
    b->line = index / pieces * LINES;
    b->first = index % pieces * LENGTH;
    if (b->line >= n_lines)
        return false;
    b->n_lines = min_size(LINES, n_lines - b->line);
    b->length = min_size(LENGTH, length - b->first);
    return true;
}

static inline const float *voxel_at(const tr_slab *s, const bundle *b, size_t line,
                                    size_t i, const float *x)
{
    size_t l = b->line + line, v = b->first + i;
    return x + (b->along_x ? l * s->n_x + v : v * s->n_x + l) * s->rows;
}

static void copy_bundle(const tr_slab *s, const forward_task *t, const float *x,
                        bundle *b)
{
    for (size_t l = 0; l < LINES; l++)
        for (size_t i = 0; i < LENGTH; i++) {
            float *to = b->voxels + (GAP + l * PITCH + i) * LANES;
            bool there = l < b->n_lines && i < b->length;
            const float *from = there ? voxel_at(s, b, l, i, x) + t->lane : NULL;
            for (size_t r = 0; r < t->lanes; r += VECTOR)
                *(vec *)(to + r) = there ? *(const vec *)(from + r) : (vec){0};
        }
}

/* One of `parts` parts of what will be copied next. */
static void prefetch_bundle(const tr_slab *s, const forward_task *t, const bundle *b,
                            const float *x, size_t part, size_t parts)
{
    size_t n = b->n_lines * b->length;
    for (size_t k = n * part / parts; k < n * (part + 1) / parts; k++) {
        const float *from = voxel_at(s, b, k / b->length, k % b->length, x) + t->lane;
        for (size_t r = 0; r < t->lanes; r += TR_LANES)
            __builtin_prefetch(from + r, 0, 2);
    }
}

/* Taps of n columns from `first` on. Voxel i of a line is seen at column base + slope i;
 * a column's first tap is the first voxel closer to it than 1. Rounding and addresses as
 * in find_taps. */
static void find_bins(const tr_ray *ray, const bundle *b, size_t first, size_t n,
                      bin_taps *taps)
{
    double slope = b->along_x ? ray->ux : ray->uz;
    double across = b->along_x ? ray->uz : ray->ux;
    double inverse = 1.0 / slope, start = (double)b->first - GAP;
    for (size_t l = 0; l < LINES; l++) {
        double base = tr_ray_base(ray->u0, across, (double)(b->line + l));
        double from = 0.5 - fabs(inverse) - base * inverse;
        bvec line = (bvec){0} + (uintptr_t)(b->voxels + l * PITCH * LANES) - BITS_OF_ONE;
        dvec u;
        for (int k = 0; k < DOUBLES; k++)
            u[k] = (double)(first + (size_t)k);
        for (size_t k = 0; k < n; k += DOUBLES) {
            dvec i = (u * inverse + from + ROUND) - ROUND;
            dvec distance = base + slope * i - u;
            taps->voxel[l].some[k / DOUBLES] =
                (bvec)((i - start) * (double)LANE_BYTES + ONE) + line;
            for (int t = 0; t < TAPS; t++) {
                bvec magnitude = (bvec)distance & (~(bvec){0} >> 1);
                dvec weight = 1.0 - (dvec)magnitude;
                weight = (dvec)((bvec)weight & (bvec)(weight > 0.0));
                taps->weight[l][t].some[k / DOUBLES] =
                    __builtin_convertvector(weight, fvec);
                distance += slope;
            }
            u += (double)DOUBLES;
        }
    }
}

/* Add a bundle to some vectors of rows of columns k .. k + n_bins - 1. */
static inline __attribute__((always_inline)) void add_bins(const bin_taps *taps, size_t k,
                                                           size_t row, float *p,
                                                           size_t rows, const int n_bins,
                                                           const int n_vec)
{
    vec sum[2][WIDE];
    for (int j = 0; j < n_bins; j++)
        for (int i = 0; i < n_vec; i++)
            sum[j][i] = ((const vec *)(p + (k + j) * rows))[i];
    for (int l = 0; l < LINES; l++)
        for (int j = 0; j < n_bins; j++) {
            const float *from = in_register(taps->voxel[l].one[k + j] + row);
            for (int t = 0; t < TAPS; t++) {
                float weight = taps->weight[l][t].one[k + j];
                for (int i = 0; i < n_vec; i++)
                    sum[j][i] += weight * ((const vec *)(from + t * LANES))[i];
            }
        }
    for (int j = 0; j < n_bins; j++)
        for (int i = 0; i < n_vec; i++)
            ((vec *)(p + (k + j) * rows))[i] = sum[j][i];
}

/* Add a bundle to some vectors of rows of n columns, two at a time for the latency. */
static inline __attribute__((always_inline)) void add_columns(const bin_taps *taps,
                                                              size_t n, size_t row,
                                                              float *p, size_t rows,
                                                              const int n_vec)
{
    size_t k = 0;
    for (; k + 2 <= n; k += 2)
        add_bins(taps, k, row, p, rows, 2, n_vec);
    if (k < n)
        add_bins(taps, k, row, p, rows, 1, n_vec);
}

/* Project a bundle to one view; p is the view's left guard in the task's first lane. */
static void project_bundle(const tr_slab *s, const tr_ray *ray, const bundle *b,
                           size_t lanes, float *p)
{
    double low = INFINITY, high = -INFINITY, end = (double)s->n_u + 1.0;
    for (int corner = 0; corner < 4; corner++) {
        double i = (double)(corner % 2 ? b->first : b->first + b->length - 1);
        double l = (double)(corner / 2 ? b->line : b->line + b->n_lines - 1);
        double c = tr_ray_base(ray->u0, ray->uz, b->along_x ? l : i) +
                   ray->ux * (b->along_x ? i : l);
        low = c < low ? c : low;
        high = c > high ? c : high;
    }
    if (!(high > 0.0 && low < end))
        return;
    size_t u0 = low > 1.0 ? (size_t)low : 1, u1 = high < end ? (size_t)high + 1 : s->n_u;
    u1 = min_size(u1, s->n_u);
    for (size_t u = u0; u <= u1; u += BINS) {
        bin_taps taps;
        size_t n = min_size(BINS, u1 + 1 - u), r = 0;
        find_bins(ray, b, u, n, &taps);
        for (; r + WIDE * VECTOR <= lanes; r += WIDE * VECTOR)
            add_columns(&taps, n, r, p + u * s->rows + r, s->rows, WIDE);
        for (; r < lanes; r += VECTOR)
            add_columns(&taps, n, r, p + u * s->rows + r, s->rows, 1);
    }
}

static void project_task(const tr_slab *s, const forward_task *t, const float *x,
                         float *p)
{
    bundle b = {.along_x = t->along_x}, next = b;
    for (size_t index = 0; bundle_at(s, index, &b); index++) {
        bool more = bundle_at(s, index + 1, &next);
        copy_bundle(s, t, x, &b);
        for (size_t k = 0; k < t->n_views; k++) {
            size_t view = t->views[k];
            if (more)
                prefetch_bundle(s, t, &next, x, k, t->n_views);
            project_bundle(s, &s->rays[view], &b, t->lanes,
                           p + view * (s->n_u + TR_GUARDS) * s->rows + t->lane);
        }
    }
}

/* The views (`order`, of which the first `along_x` advance faster along x) in groups, of
 * which each thread gets some; with few views, fewer lanes. Neither shows in a result. */
static void project_bundles(const tr_slab *s, const size_t *order, size_t n,
                            size_t along_x, const float *x, float *p, int threads)
{
    size_t lanes = LANES, wanted = 2 * (size_t)threads;
    while (lanes > TR_LANES && n * ((s->rows + lanes - 1) / lanes) < wanted)
        lanes /= 2;
    size_t chunks = (s->rows + lanes - 1) / lanes;
    size_t views = (n * chunks + wanted - 1) / wanted;
    views = min_size(views < LEAST_VIEWS ? LEAST_VIEWS : views, MOST_VIEWS);
    size_t steep = n - along_x, flat_groups = (along_x + views - 1) / views;
    size_t groups = flat_groups + (steep + views - 1) / views;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t task = 0; task < groups * chunks; task++) {
        size_t g = task / chunks, lane = task % chunks * lanes;
        bool flat = g < flat_groups;
        size_t count = flat ? along_x : steep,
               of = flat ? flat_groups : groups - flat_groups;
        size_t k = flat ? g : g - flat_groups;
        size_t first = count * k / of, end = count * (k + 1) / of;
        forward_task t = {.views = order + (flat ? 0 : along_x) + first,
                          .n_views = end - first,
                          .lane = lane,
                          .lanes = min_size(lanes, s->rows - lane),
                          .along_x = flat};
        project_task(s, &t, x, p);
    }
}
