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

/* z, x, row; and one more that is nowhere: 0 forward, anything back. */
typedef float tile_voxels[CELL * CELL + 1][VECTOR];
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

static inline vec gather(const float *p, ivec index)
{
#if defined(__AVX512F__)
    return (vec)_mm512_i32gather_ps((__m512i)index, p, 4);
#elif defined(__AVX2__)
    return (vec)_mm256_i32gather_ps(p, (__m256i)index, 4);
#else
    vec value = {0};
    for (int r = 0; r < VECTOR; r++)
        value[r] = p[index[r]];
    return value;
#endif
}

static inline bool is_zero(vec a)
{
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask((__m512)a, _mm512_setzero_ps(), _CMP_NEQ_UQ) == 0;
#else
    return bits_of(a != 0.0f) == 0;
#endif
}

/* The numbers of a vector's lanes, from `first` on. */
static inline ivec lanes_from(long first)
{
    ivec lanes = {0};
    for (int r = 0; r < VECTOR; r++)
        lanes[r] = r;
    return lanes + (int)first;
}

static inline vec lane_numbers(void)
{
    return __builtin_convertvector(lanes_from(0), vec);
}

/* ---- positions ---- */

/* Of the voxels of one line through a tile, along x or z, in whole numbers of which
 * ONE_COLUMN are a column or row: those of lane 0, or where all voxels have one slope, of
 * the least lane. Lines follow each other by `step`. */
enum { FRACTION = 25, ONE_COLUMN = 1 << FRACTION };

typedef struct line_axis {
    ivec at[LINE_PARTS], step[LINE_PARTS];
    vec slope[LINE_PARTS], slope_step[LINE_PARTS];
    float spread; /* of one slope */
} line_axis;

static const double numbers[CELL] __attribute__((aligned(8 * CELL))) = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static inline __attribute__((always_inline)) ivec to_fixed(double first, double step,
                                                           int part)
{
    union {
        ivec all;
        jvec half[2];
    } fixed;
    for (int h = 0; h < 2; h++) {
        dvec number = *(const udvec *)(numbers + part * VECTOR + h * DOUBLES);
        fixed.half[h] = __builtin_convertvector(
            (first + step * number) * (double)ONE_COLUMN + 0.5, jvec);
    }
    return fixed.all;
}

static inline vec floats_of(double first, double step, int part)
{
    return (float)first + (float)step * (lane_numbers() + (float)(part * VECTOR));
}

static inline __attribute__((always_inline)) line_axis start_axis(const plane *p,
                                                                  bool along_x, bool bent)
{
    line_axis axis = {.spread = (float)((VECTOR - 1) * fabs(p->r))};
    double a = p->a + (bent ? 0.0 : least((VECTOR - 1) * p->r, 0.0));
    for (int q = 0; q < LINE_PARTS; q++) {
        axis.at[q] = to_fixed(a, along_x ? p->x : p->z, q);
        axis.step[q] = to_fixed(along_x ? p->z : p->x, bent ? p->xz : 0.0, q);
        if (!bent)
            continue;
        axis.slope[q] = floats_of(p->r, along_x ? p->xr : p->zr, q);
        axis.slope_step[q] = floats_of(along_x ? p->zr : p->xr, p->xzr, q);
    }
    return axis;
}

/* Where lane 0 is from the least column or row of each voxel's lanes (or the least lane
 * is), and slopes: a line after the other. */
typedef struct tile_places {
    float from[CELL][CELL], slope[CELL][CELL];
} tile_places;

/* Those of two axes; of each voxel's first sample in a tile's columns; and of voxels in a
 * tile: those that are left for later lie in NOWHERE, `later` says which they are. */
typedef struct tile_taps {
    tile_places u, v;
    int at[CELL][CELL], voxel[CELL][CELL];
    int later[CELL * CELL + VECTOR];
    size_t n_later;
} __attribute__((aligned(64))) tile_taps;

/* Of a vector of voxels: returns the least column or row. `wide`: those whose lanes are
 * seen in more than two. */
static inline __attribute__((always_inline)) ivec next_places(line_axis *axis,
                                                              size_t line, int q,
                                                              bool bent, float *from,
                                                              float *slopes, ivec *wide)
{
    ivec at = axis->at[q];
    vec spread = (vec){0} + axis->spread, low = {0};
    axis->at[q] += axis->step[q];
    if (bent) {
        vec slope = axis->slope[q] + (float)line * axis->slope_step[q];
        vec lanes = slope * (float)(VECTOR - 1);
        low = min_vec(lanes, low);
        at += __builtin_convertvector(low * (float)ONE_COLUMN, ivec);
        spread = (vec)((ivec)lanes & 0x7fffffff);
        *(vec *)(slopes + q * VECTOR) = slope;
    }
    vec part =
        __builtin_convertvector(at & (ONE_COLUMN - 1), vec) * (1.0f / (float)ONE_COLUMN);
    *wide = part + spread > 1.0f;
    *(vec *)(from + q * VECTOR) = bent ? part - low : part;
    return at >> FRACTION;
}

/* How a tile's voxels are taken. */
typedef struct tile_walk {
    size_t lines, n; /* voxels of a line */
    int line_step, step;
    int n_u, n_v; /* columns and rows of those that are not left for later */
    bool along_x, turned;
} tile_walk;

static inline __attribute__((always_inline)) void find_line(const tile_walk *w,
                                                            line_axis *u, line_axis *v,
                                                            size_t line, bool bent,
                                                            tile_taps *taps)
{
    unsigned later = 0;
    for (int q = 0; q < LINE_PARTS; q++) {
        ivec wide_u, wide_v;
        ivec column = next_places(u, line, q, bent, taps->u.from[line],
                                  taps->u.slope[line], &wide_u);
        ivec row = next_places(v, line, q, bent, taps->v.from[line], taps->v.slope[line],
                               &wide_v);
        ivec voxel = lanes_from(q * VECTOR) * w->step + (int)line * w->line_step;
        ivec wide = w->n_v > 2 ? (ivec){0} : w->n_u > 2 ? wide_v : wide_u | wide_v;
        *(ivec *)(taps->at[line] + q * VECTOR) = column * COLUMN + row * VECTOR;
        *(ivec *)(taps->voxel[line] + q * VECTOR) =
            (voxel & ~wide) | (wide & (CELL * CELL * VECTOR));
        later |= bits_of(wide) << q * VECTOR;
    }
    if (!later)
        return;
    later &= (1u << w->n) - 1;
#if defined(__AVX512F__)
    ivec number = lanes_from((long)(line * CELL));
    _mm512_storeu_si512(taps->later + taps->n_later,
                        _mm512_maskz_compress_epi32((__mmask16)later, (__m512i)number));
    taps->n_later += (size_t)__builtin_popcount(later);
#else
    for (size_t k = 0; k < w->n; k++) { /* without branches */
        taps->later[taps->n_later] = (int)(line * CELL + k);
        taps->n_later += later >> k & 1;
    }
#endif
}

/* The weights of n neighbours for positions from 0 to n - 1. */
static inline __attribute__((always_inline)) void
find_weights(const tile_places *places, size_t k, vec ramp, bool bent, int n, vec *weight)
{
    const float *from = places->from[0], *slope = places->slope[0];
    vec rest = bent ? lane_numbers() * slope[k] + from[k] : ramp + from[k];
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
    const tile_taps *taps;
    vec ramp_u, ramp_v; /* of one slope: how far the lanes are from the least */
    float *columns, *x;
} tile_task;

static inline __attribute__((always_inline)) void
back_voxel(const tile_task *t, size_t k, float *x, bool bent, int n_u, int n_v)
{
    vec u[MOST_SPREAD + 2], v[MOST_SPREAD + 2], sum = *(vec *)x;
    find_weights(&t->taps->u, k, t->ramp_u, bent, n_u, u);
    find_weights(&t->taps->v, k, t->ramp_v, bent, n_v, v);
    const float *p = t->columns + t->taps->at[k / CELL][k % CELL];
    for (int i = 0; i < n_v; i++) {
        vec row = u[0] * *(const vec *)(p + i * VECTOR);
        for (int c = 1; c < n_u; c++)
            row += u[c] * *(const vec *)(p + c * COLUMN + i * VECTOR);
        sum += v[i] * row;
    }
    *(vec *)x = sum;
}

static inline __attribute__((always_inline)) void back_line(const tile_task *t,
                                                            const tile_walk *w,
                                                            size_t line, bool bent,
                                                            int n_u, int n_v)
{
    const int *voxel = t->taps->voxel[line];
    for (size_t k = 0; k < w->n; k++)
        back_voxel(t, line * CELL + k, t->x + voxel[k], bent, n_u, n_v);
}

static inline __attribute__((always_inline)) void
forward_voxel(const tile_task *t, size_t k, const float *x, bool bent, int n_u, int n_v)
{
    vec u[MOST_SPREAD + 2], v[MOST_SPREAD + 2];
    find_weights(&t->taps->u, k, t->ramp_u, bent, n_u, u);
    find_weights(&t->taps->v, k, t->ramp_v, bent, n_v, v);
    float *p = t->columns + t->taps->at[k / CELL][k % CELL];
    for (int i = 0; i < n_v; i++) {
        vec share = v[i] * *(const vec *)x;
        for (int c = 0; c < n_u; c++)
            *(vec *)(p + c * COLUMN + i * VECTOR) += u[c] * share;
    }
}

/* What neighbouring voxels add to the same samples is summed up in registers until the
 * line leaves them; towards larger columns, of which it mostly leaves one at a time. */
static inline __attribute__((always_inline)) void forward_line(const tile_task *t,
                                                               const tile_walk *w,
                                                               size_t line, bool bent,
                                                               int n_u, int n_v)
{
    const int *at = t->taps->at[line], *voxel = t->taps->voxel[line];
    size_t k = w->turned ? w->n - 1 : 0;
    int here = at[k];
    vec sum[4][2] = {{{0}}};
    for (size_t j = 0; j < w->n; j++, k += w->turned ? (size_t)-1 : 1) {
        vec u[4], v[2], x = *(const vec *)(t->x + voxel[k]);
        find_weights(&t->taps->u, line * CELL + k, t->ramp_u, bent, n_u, u);
        find_weights(&t->taps->v, line * CELL + k, t->ramp_v, bent, n_v, v);
        int gone = at[k] - here;
        float *p = t->columns + here;
        here = at[k];
        if (gone == COLUMN) {
            for (int i = 0; i < n_v; i++) {
                *(vec *)(p + i * VECTOR) += sum[0][i];
                for (int c = 0; c < n_u - 1; c++)
                    sum[c][i] = sum[c + 1][i];
                sum[n_u - 1][i] = (vec){0};
            }
        } else if (gone) {
            for (int i = 0; i < n_v; i++)
                for (int c = 0; c < n_u; c++) {
                    *(vec *)(p + c * COLUMN + i * VECTOR) += sum[c][i];
                    sum[c][i] = (vec){0};
                }
        }
        for (int i = 0; i < n_v; i++) {
            vec share = v[i] * x;
            for (int c = 0; c < n_u; c++)
                sum[c][i] += u[c] * share;
        }
    }
    float *p = t->columns + here;
    for (int i = 0; i < n_v; i++)
        for (int c = 0; c < n_u; c++)
            *(vec *)(p + c * COLUMN + i * VECTOR) += sum[c][i];
}

/* All lines, then the voxels left for later, where n_v or n_u is one more. */
static inline __attribute__((always_inline)) void
take_voxels(const tile_task *t, const tile_walk *w, bool back, bool bent, int n_u)
{
    for (size_t line = 0; line < w->lines; line++)
        if (back)
            back_line(t, w, line, bent, n_u, 2);
        else
            forward_line(t, w, line, bent, n_u, 2);
    for (size_t j = 0; j < t->taps->n_later; j++) {
        int k = t->taps->later[j];
        float *x = t->x + k / CELL * w->line_step + k % CELL * w->step;
        if (back)
            back_voxel(t, (size_t)k, x, bent, n_u > 3 ? n_u : 3, 3);
        else
            forward_voxel(t, (size_t)k, x, bent, n_u > 3 ? n_u : 3, 3);
    }
}

/* Lanes that lie wider apart. */
static inline __attribute__((always_inline)) void
take_wide_voxels(const tile_task *t, const tile_walk *w, bool back, bool bent)
{
    for (size_t line = 0; line < w->lines; line++)
        for (size_t k = 0; k < w->n; k++) {
            float *x = t->x + t->taps->voxel[line][k];
            if (back)
                back_voxel(t, line * CELL + k, x, bent, w->n_u, w->n_v);
            else
                forward_voxel(t, line * CELL + k, x, bent, w->n_u, w->n_v);
        }
}

static inline tile_walk find_walk(const tile_view *view, const tile_place *at, bool back)
{
    /* Neighbours should lie on different columns, or for sums in registers on the same.
     */
    bool along_x = back ? view->steep_x : !view->steep_x;
    tile_walk w = {.lines = along_x ? at->n_z : at->n_x,
                   .n = along_x ? at->n_x : at->n_z,
                   .line_step = along_x ? CELL * VECTOR : VECTOR,
                   .step = along_x ? VECTOR : CELL * VECTOR,
                   .n_u = view->n_u,
                   .n_v = view->n_v,
                   .along_x = along_x,
                   .turned = (along_x ? view->u.x : view->u.z) < 0.0};
    return w;
}

static inline __attribute__((always_inline)) void take_tile(const tile_view *view,
                                                            const tile_place *at,
                                                            float *columns, float *x,
                                                            bool back, bool bent)
{
    tile_taps taps;
    const tile_walk w = find_walk(view, at, back);
    line_axis u = start_axis(&view->u, w.along_x, bent);
    line_axis v = start_axis(&view->v, w.along_x, bent);
    taps.n_later = 0;
    for (size_t line = 0; line < w.lines; line++)
        find_line(&w, &u, &v, line, bent, &taps);
    double low_u = least((VECTOR - 1) * view->u.r, 0.0);
    double low_v = least((VECTOR - 1) * view->v.r, 0.0);
    const tile_task t = {.taps = &taps,
                         .ramp_u = lane_numbers() * (float)view->u.r - (float)low_u,
                         .ramp_v = lane_numbers() * (float)view->v.r - (float)low_v,
                         .columns = columns,
                         .x = x};
    if (w.n_v > 2)
        take_wide_voxels(&t, &w, back, bent);
    else if (w.n_u == 2)
        take_voxels(&t, &w, back, bent, 2);
    else if (w.n_u == 3)
        take_voxels(&t, &w, back, bent, 3);
    else
        take_voxels(&t, &w, back, bent, 4);
}

static void back_tile(const tile_view *view, const tile_place *at, tile_columns columns,
                      float *x)
{
    if (view->bent)
        take_tile(view, at, columns[0][0], x, true, true);
    else
        take_tile(view, at, columns[0][0], x, true, false);
}

static void forward_tile(const tile_view *view, const tile_place *at,
                         tile_columns columns, float *x)
{
    if (view->bent)
        take_tile(view, at, columns[0][0], x, false, true);
    else
        take_tile(view, at, columns[0][0], x, false, false);
}

/* ---- columns ---- */

static inline long held(long at, long last) { return at < 0 ? 0 : at < last ? at : last; }

/* Whether all rows a tile's view has are there, so that none need be held. */
static inline bool rows_inside(const tr_slab *s, const tile_view *t)
{
    return t->row >= 0 && t->row + (long)t->n_shifts + VECTOR <= (long)s->p_rows;
}

/* Into the nearest cache, from a view's floats or doubles. */
static inline __attribute__((always_inline)) void fetch_columns(const tr_slab *s,
                                                                const tile_view *t,
                                                                const void *view,
                                                                size_t size, bool write)
{
    if (!t->fits || !rows_inside(s, t))
        return;
    size_t bytes = (t->n_shifts - 1 + VECTOR) * size, row = (size_t)t->row;
    for (size_t c = 0; c < t->n_columns; c++) {
        size_t column = (size_t)held(t->column + (long)c, (long)s->n_u + 1);
        const char *at = (const char *)view + (column * s->p_rows + row) * size;
        for (size_t b = 0; b < bytes; b += 64)
            if (write)
                __builtin_prefetch(at + b, 1);
            else
                __builtin_prefetch(at + b, 0, 2);
    }
}

/* Where an image ends. */
static void copy_held_columns(const tr_slab *s, const tile_view *t, const float *p,
                              tile_columns to)
{
    for (size_t i = 0; i < t->n_shifts; i++) {
        ivec rows = lanes_from(held(t->row + (long)i, (long)s->p_rows + VECTOR));
        if (t->row + (long)i < 0)
            rows = lanes_from(held(t->row + (long)i + VECTOR, VECTOR) - VECTOR);
        ivec last = (ivec){0} + ((int)s->p_rows - 1), beyond = rows > last;
        rows = (rows & ~beyond & ~(rows < 0)) | (last & beyond);
        for (size_t c = 0; c < t->n_columns; c++) {
            long column = held(t->column + (long)c, (long)s->n_u + 1);
            *(vec *)to[c][i] = gather(p + column * (long)s->p_rows, rows);
        }
    }
}

static void copy_columns(const tr_slab *s, const tile_view *t, const float *p,
                         tile_columns to)
{
    if (!rows_inside(s, t)) {
        copy_held_columns(s, t, p, to);
        return;
    }
    for (size_t c = 0; c < t->n_columns; c++) {
        long column = held(t->column + (long)c, (long)s->n_u + 1);
        const float *from = p + column * (long)s->p_rows + t->row;
        for (size_t i = 0; i < t->n_shifts; i++)
            *(vec *)to[c][i] = *(const uvec *)(from + i);
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
            if (column < 1 || column > (long)s->n_u || is_zero(value))
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
