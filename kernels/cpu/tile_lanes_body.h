/* Rays that leave their row, back and forward, without gathers or scatters. All lanes of
 * a voxel lie within one row shift or two, and within 2, 3 or 4 columns: their weights
 * are vectors. A tile's columns are copied once, unaligned, for the few shifts there are;
 * then all is aligned, and the image's ends need care in the copying only. Forward is the
 * same in the opposite direction: the tile's own columns are filled, and added to the
 * view at the end. The voxels of a tile stay in the nearest cache for all views. Part of
 * project.c, to be compiled for every instruction set. */

typedef int ivec __attribute__((vector_size(4 * VECTOR), aligned(4 * VECTOR)));
typedef float uvec __attribute__((vector_size(4 * VECTOR), aligned(4)));
typedef double udvec __attribute__((vector_size(8 * DOUBLES), aligned(8)));

typedef float tile_voxels[CELL][CELL][VECTOR]; /* z, x, row */
typedef float tile_columns[MOST_COLUMNS][MOST_SHIFTS][VECTOR];

enum { LINE_PARTS = CELL / VECTOR, COLUMN = MOST_SHIFTS * VECTOR };

/* Where a projection is added up: floats; or doubles, to whose addends `round` is added
 * and taken away again, so that they are multiples of its last bit and their sum does not
 * depend on their order. */
typedef struct image_sums {
    float *p;
    double *sums;
    double round;
} image_sums;

static inline vec min_vec(vec a, vec b)
{
#if defined(__AVX512F__)
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
#else
    ivec less = a < b;
    return (vec)(((ivec)a & less) | ((ivec)b & ~less));
#endif
}

/* Bit i: whether element i, which is 0 or -1, is set. */
static inline unsigned bits_of(ivec set)
{
#if defined(__AVX512F__)
    return _mm512_movepi32_mask((__m512i)set);
#elif defined(__AVX2__)
    return (unsigned)_mm256_movemask_ps((__m256)set);
#else
    unsigned bits = 0;
    for (int i = 0; i < VECTOR; i++)
        bits |= (unsigned)(set[i] & 1) << i;
    return bits;
#endif
}

/* The numbers of a vector's lanes, from `first` on. */
static inline ivec lanes_from(long first)
{
    ivec lanes;
    for (int r = 0; r < VECTOR; r++)
        lanes[r] = r;
    return lanes + (int)first;
}

static inline vec lane_numbers(void)
{
    return __builtin_convertvector(lanes_from(0), vec);
}

/* ---- positions ---- */

/* Of the voxels of one line through a tile, along x or z, in whole numbers of which ONE_
 * COLUMN are a column or row: those of lane 0, or where all voxels have one slope, of the
 * least lane. Lines follow each other by `step`. */
enum { FRACTION = 25, ONE_COLUMN = 1 << FRACTION };

typedef struct line_axis {
    ivec at[LINE_PARTS], step[LINE_PARTS];
    vec slope[LINE_PARTS], slope_step[LINE_PARTS];
    vec ramp; /* of one slope: how far the lanes are from the least */
    float spread;
} line_axis;

static inline ivec to_fixed(double first, double step, int part)
{
    union {
        ivec all;
        jvec half[2];
    } fixed;
    for (int h = 0; h < 2; h++) {
        dvec number;
        for (int r = 0; r < DOUBLES; r++)
            number[r] = (double)(part * VECTOR + h * DOUBLES + r);
        fixed.half[h] = __builtin_convertvector(
            (first + step * number) * (double)ONE_COLUMN + 0.5, jvec);
    }
    return fixed.all;
}

static inline vec floats_of(double first, double step, int part)
{
    return (float)first + (float)step * (lane_numbers() + (float)(part * VECTOR));
}

static inline __attribute__((always_inline)) void start_axis(const plane *p, bool along_x,
                                                             bool bent, line_axis *axis)
{
    double low = least((VECTOR - 1) * p->r, 0.0), a = p->a + (bent ? 0.0 : low);
    for (int q = 0; q < LINE_PARTS; q++) {
        axis->at[q] = to_fixed(a, along_x ? p->x : p->z, q);
        axis->step[q] = to_fixed(along_x ? p->z : p->x, p->xz, q);
        if (!bent)
            continue;
        axis->slope[q] = floats_of(p->r, along_x ? p->xr : p->zr, q);
        axis->slope_step[q] = floats_of(along_x ? p->zr : p->xr, p->xzr, q);
    }
    axis->ramp = lane_numbers() * (float)p->r - (float)low;
    axis->spread = (float)((VECTOR - 1) * fabs(p->r));
}

/* One line: the least column or row of each voxel's lanes, where lane 0 is from there (or
 * the least lane), slopes, and the voxels whose lanes are seen in more than two. */
typedef struct line_places {
    int at[CELL];
    float from[CELL], slope[CELL];
    unsigned wide;
} line_places;

static inline __attribute__((always_inline)) void next_line(line_axis *axis, bool bent,
                                                            line_places *places)
{
    places->wide = 0;
    for (int q = 0; q < LINE_PARTS; q++) {
        ivec at = axis->at[q];
        vec spread = (vec){0} + axis->spread, low = {0};
        axis->at[q] += axis->step[q];
        if (bent) {
            vec slope = axis->slope[q], lanes = slope * (float)(VECTOR - 1);
            axis->slope[q] += axis->slope_step[q];
            low = min_vec(lanes, low);
            at += __builtin_convertvector(low * (float)ONE_COLUMN, ivec);
            spread = (vec)((ivec)lanes & 0x7fffffff);
            *(vec *)(places->slope + q * VECTOR) = slope;
        }
        vec from = __builtin_convertvector(at & (ONE_COLUMN - 1), vec) *
                   (1.0f / (float)ONE_COLUMN);
        places->wide |= bits_of(from + spread > 1.0f) << q * VECTOR;
        *(ivec *)(places->at + q * VECTOR) = at >> FRACTION;
        *(vec *)(places->from + q * VECTOR) = bent ? from - low : from;
    }
}

typedef struct line_taps {
    line_places u, v;
} __attribute__((aligned(64))) line_taps;

/* The weights of n neighbours for positions from 0 to n - 1. */
static inline __attribute__((always_inline)) void
find_weights(const line_places *places, size_t k, const line_axis *axis, bool bent, int n,
             vec *weight)
{
    vec rest = bent ? lane_numbers() * places->slope[k] + places->from[k]
                    : axis->ramp + places->from[k];
    vec before = (vec){0} + 1.0f;
    for (int i = 0; i < n - 1; i++) {
        vec here = i < n - 2 ? min_vec(rest, (vec){0} + 1.0f) : rest;
        weight[i] = before - here;
        rest -= here;
        before = here;
    }
    weight[n - 1] = before;
}

/* ---- voxels ---- */

typedef struct tile_task {
    line_axis u, v;
    float *columns;
    bool back;
} tile_task;

static inline __attribute__((always_inline)) void take_voxel(const tile_task *t,
                                                             const line_taps *taps,
                                                             size_t k, float *x,
                                                             bool bent, int n_u, int n_v)
{
    vec u[4], v[3];
    find_weights(&taps->u, k, &t->u, bent, n_u, u);
    find_weights(&taps->v, k, &t->v, bent, n_v, v);
    float *p = t->columns + taps->u.at[k] * COLUMN + taps->v.at[k] * VECTOR;
    vec sum = *(vec *)x;
    for (int c = 0; c < n_u; c++)
        if (t->back) {
            vec column = v[0] * *(vec *)(p + c * COLUMN);
            for (int i = 1; i < n_v; i++)
                column += v[i] * *(vec *)(p + c * COLUMN + i * VECTOR);
            sum += u[c] * column;
        } else {
            vec share = u[c] * sum;
            for (int i = 0; i < n_v; i++)
                *(vec *)(p + c * COLUMN + i * VECTOR) += v[i] * share;
        }
    if (t->back)
        *(vec *)x = sum;
}

static inline __attribute__((always_inline)) void
take_line(const tile_task *t, const line_taps *taps, const tile_view *view, size_t n,
          float *x, size_t stride, bool bent)
{
    const unsigned wide = taps->u.wide | taps->v.wide;
    if (view->across > 1.0) {
        for (size_t k = 0; k < n; k++)
            take_voxel(t, taps, k, x + k * stride, bent, 4, 3);
    } else if (!wide) {
        for (size_t k = 0; k < n; k++)
            take_voxel(t, taps, k, x + k * stride, bent, 2, 2);
    } else if (view->across < 0.12) { /* most of them are narrow */
        for (size_t k = 0; k < n; k++)
            if (wide >> k & 1)
                take_voxel(t, taps, k, x + k * stride, bent, 3, 3);
            else
                take_voxel(t, taps, k, x + k * stride, bent, 2, 2);
    } else {
        for (size_t k = 0; k < n; k++)
            if (taps->v.wide >> k & 1)
                take_voxel(t, taps, k, x + k * stride, bent, 3, 3);
            else
                take_voxel(t, taps, k, x + k * stride, bent, 3, 2);
    }
}

static inline __attribute__((always_inline)) void take_lines(tile_task *t,
                                                             const tile_view *view,
                                                             const tile_place *at,
                                                             tile_voxels x, bool bent)
{
    size_t lines = view->along_x ? at->n_z : at->n_x;
    size_t n = view->along_x ? at->n_x : at->n_z;
    size_t stride = view->along_x ? VECTOR : CELL * VECTOR;
    start_axis(&view->u, view->along_x, bent, &t->u);
    start_axis(&view->v, view->along_x, bent, &t->v);
    for (size_t line = 0; line < lines; line++) {
        line_taps taps;
        next_line(&t->u, bent, &taps.u);
        next_line(&t->v, bent, &taps.v);
        take_line(t, &taps, view, n, view->along_x ? x[line][0] : x[0][line], stride,
                  bent);
    }
}

static void back_lines(const tile_view *view, const tile_place *at, tile_columns columns,
                       tile_voxels x)
{
    tile_task t = {.columns = columns[0][0], .back = true};
    if (view->bent)
        take_lines(&t, view, at, x, true);
    else
        take_lines(&t, view, at, x, false);
}

static void forward_lines(const tile_view *view, const tile_place *at,
                          tile_columns columns, tile_voxels x)
{
    tile_task t = {.columns = columns[0][0], .back = false};
    if (view->bent)
        take_lines(&t, view, at, x, true);
    else
        take_lines(&t, view, at, x, false);
}

/* ---- columns ---- */

static inline long held(long at, long last) { return at < 0 ? 0 : at < last ? at : last; }

/* Whether all rows a tile's view has are there, so that none need be held. */
static inline bool rows_inside(const tr_slab *s, const tile_view *t)
{
    return t->row >= 0 && t->row + (long)t->n_shifts + VECTOR <= (long)s->p_rows;
}

static inline void fetch_columns(const tr_slab *s, const tile_view *t, const float *p)
{
    if (!t->fits || !rows_inside(s, t))
        return;
    for (size_t c = 0; c < t->n_columns; c++) {
        const float *at =
            p + held(t->column + (long)c, (long)s->n_u + 1) * (long)s->p_rows + t->row;
        __builtin_prefetch(at);
        __builtin_prefetch(at + VECTOR);
    }
}

static void copy_columns(const tr_slab *s, const tile_view *t, const float *p,
                         tile_columns to)
{
    bool inside = rows_inside(s, t);
    for (size_t c = 0; c < t->n_columns; c++) {
        const float *from =
            p + held(t->column + (long)c, (long)s->n_u + 1) * (long)s->p_rows;
        for (size_t i = 0; i < t->n_shifts; i++)
            if (inside)
                *(vec *)to[c][i] = *(const uvec *)(from + t->row + (long)i);
            else
                for (long r = 0; r < VECTOR; r++)
                    to[c][i][r] = from[held(t->row + (long)i + r, (long)s->p_rows - 1)];
    }
}

static inline void add_vector(const image_sums *to, bool exact, size_t at, vec value)
{
    if (!exact) {
        *(uvec *)(to->p + at) += value;
        return;
    }
    union {
        vec all;
        fvec half[2];
    } from = {value};
    for (size_t h = 0; h < 2; h++) {
        dvec addend = __builtin_convertvector(from.half[h], dvec);
        *(udvec *)(to->sums + at + h * DOUBLES) += (addend + to->round) - to->round;
    }
}

static inline void add_lane(const image_sums *to, bool exact, size_t at, float value)
{
    if (exact)
        to->sums[at] += ((double)value + to->round) - to->round;
    else
        to->p[at] += value;
}

/* The opposite; leaves zeros behind, for the next view. Each lane's by itself, so that it
 * does not show which lanes a slab has; one shift after the other, as memory that was
 * just written is not read again at once. */
static inline __attribute__((always_inline)) void
add_columns(const tr_slab *s, const tile_view *t, tile_columns from, bool exact,
            const image_sums *to)
{
    bool inside = rows_inside(s, t);
    for (size_t i = 0; i < t->n_shifts; i++)
        for (size_t c = 0; c < t->n_columns; c++) {
            long column = t->column + (long)c;
            vec value = *(vec *)from[c][i];
            *(vec *)from[c][i] = (vec){0};
            if (column < 1 || column > (long)s->n_u || !bits_of(value != 0.0f))
                continue;
            size_t line = (size_t)column * s->p_rows;
            if (inside)
                add_vector(to, exact, line + (size_t)(t->row + (long)i), value);
            else
                for (long r = 0; r < VECTOR; r++)
                    add_lane(to, exact,
                             line +
                                 (size_t)held(t->row + (long)i + r, (long)s->p_rows - 1),
                             value[r]);
        }
}
