/* The forward projector for independent rows: each voxel adds to the two detector columns
 * it lies between. Part of project.c, to be compiled for every instruction set.
 *
 * LINES neighbouring lines of voxels, along x or along z, are copied into the first-level
 * cache and serve a group of views: those whose columns advance faster along that axis,
 * by 1/sqrt(2) per voxel at least. Between two columns then lie one or two voxels of a
 * line. The first ones of all lines are added while the sums of both columns are in
 * registers: no multiply-add is wasted and no branch is taken. The second ones, where
 * there are any, follow from a list. */

enum {
    LINES = 4,
    LENGTH = 24, /* voxels of a line copied at a time */
    GAP = 12,    /* zeros between lines: what columns of other lines find beyond an end */
    PITCH = LENGTH + GAP,
    LANES = 64,        /* rows copied at a time */
    MOST_VIEWS = 64,   /* in a group: more would not stay in the second-level cache */
    LEAST_VIEWS = 4,   /* fewer do not make up for the copying */
    BINS = 2 * LENGTH, /* gaps between columns whose voxels are found at a time */
    SLOTS = BINS + DOUBLES, /* room for the vector in which the last bin is */
    LANE_BYTES = LANES * sizeof(float)
};
static const double least_slope = 0.7; /* 1 / slope < 2 */

typedef struct bundle {
    bool along_x;
    size_t line, n_lines, first, length; /* lines; voxels in them */
    float voxels[(LINES * PITCH + GAP) * LANES] __attribute__((aligned(64)));
} bundle;

/* For some bins, each from one column to the next: the first voxel of each line in it and
 * its weights for the two columns. Found for a vector of bins at a time, used one by one.
 * Then a list of the second voxels: where they are, their weight for the right column,
 * and their bin. */
typedef struct bin_taps {
    union {
        bvec some[SLOTS / DOUBLES];
        const float *one[SLOTS];
    } voxel[LINES];
    union {
        fvec some[SLOTS / DOUBLES];
        float one[SLOTS];
    } weight[LINES][2];
    size_t n_second;
    const float *second_voxel[LINES * SLOTS + DOUBLES];
    float second_right[LINES * SLOTS + DOUBLES];
    uint32_t second_bin[LINES * SLOTS + DOUBLES];
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
    size_t bands = (n_lines + LINES - 1) / LINES;
    b->line = index % bands * LINES;
    b->first = index / bands * LENGTH;
    if (b->first >= length)
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

/* Append those of `n` bins from `bin` on, one per lane, in which a second voxel lies. */
static inline void append_second(dvec count, bvec voxel, fvec right, size_t bin, size_t n,
                                 bin_taps *taps)
{
    size_t to = taps->n_second;
#if defined(__AVX512F__) && defined(__AVX512VL__)
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __mmask8 two = _mm512_cmp_pd_mask((__m512d)count, _mm512_set1_pd(2.0), _CMP_EQ_OQ);
    two &= (__mmask8)((1u << n) - 1);
    __m256i bins = _mm256_add_epi32(_mm256_set1_epi32((int)bin), lanes);
    _mm512_storeu_si512(taps->second_voxel + to,
                        _mm512_maskz_compress_epi64(two, (__m512i)voxel));
    _mm256_storeu_ps(taps->second_right + to,
                     _mm256_maskz_compress_ps(two, (__m256)right));
    _mm256_storeu_si256((__m256i *)(taps->second_bin + to),
                        _mm256_maskz_compress_epi32(two, bins));
    to += (size_t)__builtin_popcount(two);
#else
    for (size_t k = 0; k < n; k++) {
        taps->second_voxel[to] = (const float *)(uintptr_t)voxel[k];
        taps->second_right[to] = right[k];
        taps->second_bin[to] = (uint32_t)(bin + k);
        to += count[k] == 2.0;
    }
#endif
    taps->n_second = to;
}

/* Where columns advance by a voxel or more, a bin may hold none. */
static void clear_empty(size_t n, bin_taps *taps)
{
    for (size_t l = 0; l < LINES; l++)
        for (size_t k = 0; k < n; k++)
            if (taps->voxel[l].one[k] == taps->voxel[l].one[k + 1])
                taps->weight[l][0].one[k] = taps->weight[l][1].one[k] = 0.0f;
}

/* The voxels of n bins from column `first` on. Along a line, voxel i of the bundle is
 * seen at column base + slope i; where columns fall along the line, i counts from its
 * end. A bin's first voxel is found by one formula for each column, so that every voxel
 * is in one bin, however it is rounded; those right on a column are moved off the tie.
 * Rounding and addresses as in find_taps. */
static void find_bins(const tr_ray *ray, const bundle *b, size_t first, size_t n,
                      bin_taps *taps)
{
    double along = b->along_x ? ray->ux : ray->uz, slope = fabs(along);
    double across = b->along_x ? ray->uz : ray->ux, inverse = 1.0 / slope;
    bool falls = along < 0.0;
    double bytes = falls ? -(double)LANE_BYTES : (double)LANE_BYTES;
    size_t start = falls ? LENGTH - 1 : 0;
    uint64_t step = falls ? -(uint64_t)LANE_BYTES : (uint64_t)LANE_BYTES;
    bool rarely_empty = slope > 0.999;
    taps->n_second = 0;
    dvec u0;
    for (int k = 0; k < DOUBLES; k++)
        u0[k] = (double)(first + (size_t)k);
    for (size_t l = 0; l < LINES; l++) {
        double base = tr_ray_base(ray->u0, across, (double)(b->line + l)) +
                      along * (double)(b->first + start);
        double from = 0.5 - 1e-9 - base * inverse;
        const float *line = b->voxels + (GAP + l * PITCH + start) * LANES;
        bvec address = (bvec){0} + (uintptr_t)line - BITS_OF_ROUND;
        dvec u = u0;
        for (size_t k = 0; k < n + rarely_empty; k += DOUBLES) {
            dvec i = (u * inverse + from + ROUND) - ROUND;
            u += 1.0;
            dvec next = (u * inverse + from + ROUND) - ROUND;
            u -= 1.0;
            fvec f = __builtin_convertvector(i * slope + base - u, fvec);
            bvec voxel = (bvec)(i * bytes + ROUND) + address;
            taps->voxel[l].some[k / DOUBLES] = voxel;
            taps->weight[l][0].some[k / DOUBLES] = 1.0f - f;
            taps->weight[l][1].some[k / DOUBLES] = f;
            append_second(next - i, voxel + step, f + (float)slope, k,
                          min_size(DOUBLES, n > k ? n - k : 0), taps);
            u += (double)DOUBLES;
        }
    }
    if (rarely_empty)
        clear_empty(n, taps);
}

/* Add the first voxels to some vectors of rows of columns 0 .. n. */
static inline __attribute__((always_inline)) void add_first(const bin_taps *taps,
                                                            size_t n, size_t row,
                                                            float *p, size_t rows,
                                                            const int n_vec)
{
    vec here[WIDE], next[WIDE];
    for (int i = 0; i < n_vec; i++)
        here[i] = ((const vec *)p)[i];
    for (size_t k = 0; k < n; k++) {
        for (int i = 0; i < n_vec; i++)
            next[i] = ((const vec *)(p + (k + 1) * rows))[i];
        for (int l = 0; l < LINES; l++) {
            const vec *x = (const vec *)in_register(taps->voxel[l].one[k] + row);
            float left = taps->weight[l][0].one[k], right = taps->weight[l][1].one[k];
            for (int i = 0; i < n_vec; i++) {
                here[i] += left * x[i];
                next[i] += right * x[i];
            }
        }
        for (int i = 0; i < n_vec; i++) {
            ((vec *)(p + k * rows))[i] = here[i];
            here[i] = next[i];
        }
    }
    for (int i = 0; i < n_vec; i++)
        ((vec *)(p + n * rows))[i] = here[i];
}

static inline __attribute__((always_inline)) void
add_second(const bin_taps *taps, size_t row, float *p, size_t rows, const int n_vec)
{
    for (size_t e = 0; e < taps->n_second; e++) {
        const vec *x = (const vec *)in_register(taps->second_voxel[e] + row);
        float *to = p + taps->second_bin[e] * rows, *beside = to + rows;
        float right = taps->second_right[e], left = 1.0f - right;
        vec here[WIDE], next[WIDE];
        for (int i = 0; i < n_vec; i++) {
            here[i] = ((const vec *)to)[i] + left * x[i];
            next[i] = ((const vec *)beside)[i] + right * x[i];
        }
        for (int i = 0; i < n_vec; i++) {
            ((vec *)to)[i] = here[i];
            ((vec *)beside)[i] = next[i];
        }
    }
}

static inline __attribute__((always_inline)) void add_bins(const bin_taps *taps, size_t n,
                                                           size_t row, float *p,
                                                           size_t rows, const int n_vec)
{
    add_first(taps, n, row, p + row, rows, n_vec);
    add_second(taps, row, p + row, rows, n_vec);
}

/* The bins of a view in which a bundle lies are [first, end). */
typedef struct window {
    size_t first, end;
} window;

static window window_of(const tr_slab *s, const tr_ray *ray, const bundle *b)
{
    size_t x = b->along_x ? b->first : b->line, z = b->along_x ? b->line : b->first;
    size_t n_x = b->along_x ? b->length : b->n_lines;
    size_t n_z = b->along_x ? b->n_lines : b->length;
    double c = tr_ray_base(ray->u0, ray->uz, (double)z) + ray->ux * (double)x;
    double dx = ray->ux * (double)(n_x - 1), dz = ray->uz * (double)(n_z - 1);
    double low = c + (dx < 0.0 ? dx : 0.0) + (dz < 0.0 ? dz : 0.0);
    double high = c + (dx > 0.0 ? dx : 0.0) + (dz > 0.0 ? dz : 0.0);
    double end = (double)s->n_u + 1.0;
    if (!(high > 0.0 && low < end))
        return (window){0, 0};
    return (window){low > 0.0 ? (size_t)low : 0,
                    high < end ? (size_t)high + 1 : s->n_u + 1};
}

/* Project a bundle to one view; p is the view's left guard in the task's first lane. */
static void project_bundle(const tr_slab *s, const tr_ray *ray, const bundle *b,
                           size_t lanes, float *p)
{
    const window w = window_of(s, ray, b);
    for (size_t u = w.first; u < w.end; u += BINS) {
        bin_taps taps;
        size_t n = min_size(BINS, w.end - u), r = 0;
        find_bins(ray, b, u, n, &taps);
        for (; r + WIDE * VECTOR <= lanes; r += WIDE * VECTOR)
            add_bins(&taps, n, r, p + u * s->rows, s->rows, WIDE);
        if (PAIR_LEFT && r + 2 * VECTOR <= lanes) {
            add_bins(&taps, n, r, p + u * s->rows, s->rows, 2);
            r += 2 * VECTOR;
        }
        for (; r < lanes; r += VECTOR)
            add_bins(&taps, n, r, p + u * s->rows, s->rows, 1);
    }
}

/* What fell on the guards left the image. */
static void clear_guards(const tr_slab *s, size_t lanes, float *p)
{
    memset(p, 0, lanes * sizeof *p);
    for (size_t guard = s->n_u + 1; guard <= s->n_u + 2; guard++)
        memset(p + guard * s->rows, 0, lanes * sizeof *p);
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
    for (size_t k = 0; k < t->n_views; k++)
        clear_guards(s, t->lanes,
                     p + t->views[k] * (s->n_u + TR_GUARDS) * s->rows + t->lane);
}

/* Views in as few groups as the cache allows, each copies the volume, and the same number
 * for each thread. */
static size_t count_groups(size_t views, size_t chunks, size_t threads)
{
    size_t groups = (views + MOST_VIEWS - 1) / MOST_VIEWS;
    while (groups * chunks % threads && views >= (groups + 1) * LEAST_VIEWS)
        groups++;
    return groups;
}

/* The views (`order`, of which the first `along_x` advance faster along x) in groups, of
 * which each thread gets some; with few views, fewer lanes. Neither shows in a result. */
static void project_bundles(const tr_slab *s, const size_t *order, size_t n,
                            size_t along_x, const float *x, float *p, int threads)
{
    size_t lanes = LANES, wanted = (size_t)threads;
    while (lanes > TR_LANES && n * ((s->rows + lanes - 1) / lanes) < wanted)
        lanes /= 2;
    size_t chunks = (s->rows + lanes - 1) / lanes, steep = n - along_x;
    size_t flat_groups = count_groups(along_x, chunks, wanted);
    size_t steep_groups = count_groups(steep, chunks, wanted);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t task = 0; task < (flat_groups + steep_groups) * chunks; task++) {
        size_t g = task / chunks, lane = task % chunks * lanes;
        bool flat = g < flat_groups;
        size_t count = flat ? along_x : steep, of = flat ? flat_groups : steep_groups;
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
