#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/median.h"
#include "common/base/mem.h"
#include "common/series/hot_pixels.h"
#include "kernels/samples.h"

enum {
    BLOCK = 64,
    REACH = 2,
    CARRY = 2 * REACH,
    MOST_SAMPLES = 256,
    RING = 8,
    FEWEST = 5
};
static const double OUTLIER = 5.0, HOT = 8.0, WORTH_A_WORD = 16.0, SHARE = 0.4;

static size_t n_blocks(size_t nx) { return nx < BLOCK ? 1 : (nx + BLOCK / 2) / BLOCK; }

tr_status tr_hot_finder_new(size_t nx, size_t ny, bool replace, tr_hot_finder *f)
{
    *f = (tr_hot_finder){.nx = nx, .ny = ny, .hot = replace ? HOT : WORTH_A_WORD};
    f->rows = tr_calloc("rows of the series", (TR_HOT_STRIP + CARRY) * nx, sizeof(float));
    f->spread = tr_calloc("deviations of a view", 2 * n_blocks(nx), sizeof(double));
    if (replace)
        f->row_sum = tr_calloc("sums of rows", ny, sizeof(double));
    return f->rows && f->spread && (!replace || f->row_sum) ? TR_OK : TR_ERR_MEMORY;
}

void tr_hot_finder_free(tr_hot_finder *f)
{
    free(f->rows);
    free(f->spread);
    free(f->row_sum);
    *f = (tr_hot_finder){.rows = NULL};
}

void tr_hot_begin(tr_hot_finder *f, tr_outliers *found, const tr_replaced *known,
                  size_t n_known)
{
    f->first = f->held = f->next = f->at_known = 0;
    f->found = found;
    f->known = known;
    f->n_known = n_known;
    if (found)
        *found = (tr_outliers){.list = found->list, .room = found->room};
}

float *tr_hot_room(tr_hot_finder *f, size_t y)
{
    size_t kept = f->held < CARRY ? f->held : CARRY;
    if (f->first + f->held != y)
        kept = 0;
    memmove(f->rows, f->rows + (f->held - kept) * f->nx, kept * f->nx * sizeof *f->rows);
    f->first = y - kept;
    f->held = kept;
    f->next = f->next > f->first ? f->next : f->first;
    return f->rows + kept * f->nx;
}

/* ---- one pixel and those around it ---- */

static const float *row_of(const tr_hot_finder *f, size_t y)
{
    return f->rows + (y - f->first) * f->nx;
}

static void put_in_order(double *values, size_t n, double value)
{
    for (; n && values[n - 1] > value; n--)
        values[n] = values[n - 1];
    values[n] = value;
}

static double middle_of(const double *values, size_t n)
{
    return (values[(n - 1) / 2] + values[n / 2]) / 2.0;
}

/* The finite values at these places relative to the pixel, in order, of the rows held;
 * returns how many. */
static size_t gather(const tr_hot_finder *f, size_t x, size_t y, int reach, int step,
                     double *values)
{
    size_t n = 0;
    for (int dy = -reach; dy <= reach; dy += step)
        for (int dx = -reach; dx <= reach; dx += step) {
            size_t at_x = x + (size_t)dx, at_y = y + (size_t)dy; /* may wrap */
            if ((!dx && !dy) || at_x >= f->nx || at_y < f->first ||
                at_y >= f->first + f->held)
                continue;
            float value = row_of(f, at_y)[at_x];
            if (fabsf(value) <= FLT_MAX)
                put_in_order(values, n++, value);
        }
    return n;
}

static inline void in_order(float *v, int i, int j)
{
    float low = v[i] < v[j] ? v[i] : v[j], high = v[i] < v[j] ? v[j] : v[i];
    v[i] = low;
    v[j] = high;
}

/* The median of eight numbers: a network that sorts, without what does not matter for the
 * middle two. */
static double middle_of_eight(float v[RING])
{
    in_order(v, 0, 1);
    in_order(v, 2, 3);
    in_order(v, 4, 5);
    in_order(v, 6, 7);
    in_order(v, 0, 2);
    in_order(v, 1, 3);
    in_order(v, 4, 6);
    in_order(v, 5, 7);
    in_order(v, 1, 2);
    in_order(v, 5, 6);
    in_order(v, 0, 4);
    in_order(v, 1, 5);
    in_order(v, 2, 6);
    in_order(v, 3, 7);
    in_order(v, 2, 4);
    in_order(v, 3, 5);
    in_order(v, 3, 4);
    return ((double)v[3] + v[4]) / 2.0;
}

/* Where all eight are held; false where one is no number. */
static bool background_inside(const float *at, size_t nx, double *b)
{
    const float *above = at - REACH * nx, *below = at + REACH * nx;
    float v[RING] = {above[-REACH], above[0],      above[REACH], at[-REACH],
                     at[REACH],     below[-REACH], below[0],     below[REACH]};
    float sum = 0.0f;
    for (size_t i = 0; i < RING; i++)
        sum += v[i];
    if (!(fabsf(sum) <= FLT_MAX))
        return false;
    *b = middle_of_eight(v);
    return true;
}

/* How many pixels it comes from; 0: too few are around. */
static size_t background(const tr_hot_finder *f, size_t x, size_t y, double *b)
{
    double ring[RING];
    if (x >= REACH && x + REACH < f->nx && y >= f->first + REACH &&
        y + REACH < f->first + f->held && background_inside(row_of(f, y) + x, f->nx, b))
        return RING;
    size_t n = gather(f, x, y, REACH, REACH, ring);
    if (n < FEWEST)
        return 0;
    *b = middle_of(ring, n);
    return n;
}

static float replacement(const tr_hot_finder *f, size_t x, size_t y, double b, double s)
{
    double around[25], good[25];
    size_t n = gather(f, x, y, REACH, 1, around), n_good = 0;
    for (size_t i = 0; i < n; i++)
        if (fabs(around[i] - b) <= OUTLIER * s)
            good[n_good++] = around[i];
    return (float)(n_good ? middle_of(good, n_good) : b) + 0.0f; /* no -0 */
}

/* Whether it is an outlier, and if so what it is. */
static bool judge(const tr_hot_finder *f, size_t x, size_t y, double s, tr_outlier *o)
{
    double b, p = row_of(f, y)[x], around[RING];
    size_t of = fabs(p) <= FLT_MAX ? background(f, x, y, &b) : 0;
    if (!of || !(fabs(p - b) > OUTLIER * s))
        return false;
    size_t n = gather(f, x, y, 1, 1, around), beyond = 0;
    for (size_t i = 0; i < n; i++)
        beyond += (around[i] - b) / (p - b) > SHARE;
    if (beyond > (of == RING)) /* at the edge a slope looks like two */
        return false;
    *o = (tr_outlier){.place = y * f->nx + x,
                      .value = (float)p,
                      .instead = replacement(f, x, y, b, s),
                      .hot = fabs(p - b) > f->hot * s};
    return true;
}

/* ---- deviations ---- */

typedef struct samples {
    size_t n;
    double value[MOST_SAMPLES], off[MOST_SAMPLES];
} samples;

/* From places that lie the same in each block, closer where rows are few. */
static void take_samples(const tr_hot_finder *f, size_t x0, size_t x1, size_t y1,
                         samples *t)
{
    size_t rows = y1 - f->next, by = rows >= BLOCK / 2 ? 8 : 1;
    size_t bx = rows >= BLOCK / 2 ? 8 : rows;
    t->n = 0;
    for (size_t y = f->next; y < y1; y += by)
        for (size_t x = x0; x < x1 && t->n < MOST_SAMPLES; x += bx) {
            double b, p = row_of(f, y)[x];
            if (!(fabs(p) <= FLT_MAX) || !background(f, x, y, &b))
                continue;
            t->value[t->n] = p;
            t->off[t->n++] = fabs(p - b);
        }
}

/* What a value may be off by if they are counts, or whole numbers: few are so in steps
 * that the median does not see them. 0: neither. */
static double least_spread(const samples *t, double limit)
{
    double sum = 0.0, n = 0.0, zeros = 0.0, positive[MOST_SAMPLES];
    size_t n_positive = 0;
    bool whole = true, negative = false;
    for (size_t i = 0; i < t->n; i++) {
        double v = t->value[i];
        whole = whole && v == floor(v);
        negative = negative || v < 0.0;
        zeros += v == 0.0;
        if (v > 0.0)
            positive[n_positive++] = v;
        sum += t->off[i] <= limit ? v : 0.0;
        n += t->off[i] <= limit;
    }
    double unit = whole ? 1.0 : 0.0;
    if (!negative && n_positive && zeros > 0.05 * (double)t->n) {
        tr_median(positive, n_positive); /* sorts */
        unit = positive[n_positive / 4];
    }
    double mean = n > 0.0 ? sum / n : 0.0;
    if (unit == 0.0)
        return 0.0;
    return negative || mean > 30.0 * unit ? 0.5 * unit : unit * sqrt(mean / unit + 1.0);
}

/* Shell's sort: there are many blocks, and qsort calls a function to compare. */
static void sort_samples(double *values, size_t n)
{
    static const size_t gaps[] = {57, 23, 10, 4, 1};
    for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++)
        for (size_t i = gaps[g]; i < n; i++) {
            double value = values[i];
            size_t k = i;
            for (; k >= gaps[g] && values[k - gaps[g]] > value; k -= gaps[g])
                values[k] = values[k - gaps[g]];
            values[k] = value;
        }
}

static double spread_of(samples *t)
{
    double sorted[MOST_SAMPLES], squares = 0.0;
    if (!t->n)
        return 0.0;
    memcpy(sorted, t->off, t->n * sizeof *sorted);
    sort_samples(sorted, t->n);
    double s = 1.4826 * middle_of(sorted, t->n);
    size_t kept = t->n - t->n / 16;
    for (size_t i = 0; i < kept; i++)
        squares += sorted[i] * sorted[i];
    s = fmax(s, sqrt(squares / (double)kept));
    return fmax(s, least_spread(t, sorted[kept - 1]));
}

static void measure(tr_hot_finder *f, size_t y1)
{
    size_t n = n_blocks(f->nx);
    samples t;
    for (size_t k = 0; k < n; k++) {
        take_samples(f, k * BLOCK, k + 1 < n ? (k + 1) * BLOCK : f->nx, y1, &t);
        f->spread[k] = f->spread[n + k] = spread_of(&t);
    }
    double least = 0.5 * tr_median(f->spread + n, n);
    for (size_t k = 0; k < n; k++)
        f->spread[k] = fmax(f->spread[k], least);
}

/* ---- rows ---- */

/* Outliers not hot by themselves are left out where they are many: then they are none. */
static tr_status add(tr_hot_finder *f, const tr_outlier *o)
{
    tr_outliers *found = f->found;
    size_t most = tr_hot_most(f->nx, f->ny);
    if (o->hot && ++found->n_hot > most + f->n_known)
        found->too_many = true;
    if (found->too_many || (!o->hot && found->n - found->n_hot >= most))
        return TR_OK;
    if (found->n == found->room) {
        size_t room = 2 * found->room + 16;
        tr_outlier *list = realloc(found->list, room * sizeof *list);
        if (!list)
            return tr_fail(TR_ERR_MEMORY, "not enough memory for the list of hot pixels");
        found->list = list;
        found->room = room;
    }
    found->list[found->n++] = *o;
    return TR_OK;
}

static tr_status look_at(tr_hot_finder *f, size_t x, size_t y, double s)
{
    tr_outlier o;
    return s > 0.0 && judge(f, x, y, s, &o) ? add(f, &o) : TR_OK;
}

/* `alone` may pass over what has a neighbour that is no number. */
static bool beside_bad(const tr_hot_finder *f, const float *at)
{
    float sum = 0.0f;
    for (const float *row = at - f->nx; row <= at + f->nx; row += f->nx)
        sum += 0.0f * row[-1] + 0.0f * row[0] + 0.0f * row[1];
    return sum != 0.0f; /* NaN */
}

/* Row y from column x0 to before x1. Only the outermost pixels, and those that `alone`
 * finds, are worth a closer look: it does not pass over an outlier, as of each two
 * neighbours one is within 0.4 d of the background at least. */
static tr_status look_along(tr_hot_finder *f, size_t y, size_t x0, size_t x1, double s)
{
    const float *at = row_of(f, y);
    bool edge = y == f->first || y + 1 == f->first + f->held;
    if (edge || f->nx < 3) {
        for (size_t x = x0; x < x1; x++)
            TR_TRY(look_at(f, x, y, s));
        return TR_OK;
    }
    if (x0 == 0)
        TR_TRY(look_at(f, 0, y, s));
    size_t end = x1 == f->nx ? x1 - 1 : x1;
    float by = (float)(0.999 * (1.0 - SHARE) * OUTLIER * s);
    for (size_t x = x0 ? x0 : 1, next; x < end; x = next + 1) {
        next = tr_samples_best()->alone(at - f->nx, at, at + f->nx, x, end, by);
        for (; f->has_bad && x < next; x++)
            if (beside_bad(f, at + x))
                TR_TRY(look_at(f, x, y, s));
        if (next < end)
            TR_TRY(look_at(f, next, y, s));
    }
    return x1 == f->nx ? look_at(f, x1 - 1, y, s) : TR_OK;
}

static int by_place(const void *a, const void *b)
{
    const tr_outlier *x = a, *y = b;
    return (x->place > y->place) - (x->place < y->place);
}

/* Those that are known of row y, beside those found from list[from] on. */
static tr_status add_known(tr_hot_finder *f, size_t y, size_t from)
{
    tr_outliers *found = f->found;
    while (f->at_known < f->n_known && f->known[f->at_known].y < y)
        f->at_known++;
    for (; f->at_known < f->n_known && f->known[f->at_known].y == y; f->at_known++) {
        const tr_replaced *known = &f->known[f->at_known];
        double b, p = row_of(f, y)[known->x];
        if (!(fabs(p) <= FLT_MAX))
            continue;
        size_t place = y * f->nx + known->x, k = from;
        while (k < found->n && found->list[k].place != place)
            k++;
        if (k < found->n) {
            found->n_hot += !found->list[k].hot;
            found->list[k].hot = true;
        } else if (background(f, known->x, y, &b)) {
            const tr_outlier o = {place, (float)p,
                                  replacement(f, known->x, y, b, INFINITY), true};
            TR_TRY(add(f, &o));
        }
    }
    if (found->n > from)
        qsort(found->list + from, found->n - from, sizeof *found->list, by_place);
    return TR_OK;
}

static double sum_but(const float *row, size_t nx, const tr_outlier *list, size_t n)
{
    double sum = 0.0;
    for (size_t x = 0, k = 0; x < nx; x++) {
        if (k < n && list[k].place % nx == x)
            k++;
        else if (fabsf(row[x]) <= FLT_MAX)
            sum += row[x];
    }
    return sum;
}

static tr_status look_at_row(tr_hot_finder *f, size_t y)
{
    size_t n = n_blocks(f->nx), from = f->found->n;
    for (size_t k = 0; k < n; k++)
        TR_TRY(look_along(f, y, k * BLOCK, k + 1 < n ? (k + 1) * BLOCK : f->nx,
                          f->spread[k]));
    TR_TRY(add_known(f, y, from));
    if (f->row_sum && f->found->n > from)
        f->row_sum[y] =
            sum_but(row_of(f, y), f->nx, f->found->list + from, f->found->n - from);
    return TR_OK;
}

tr_status tr_hot_look(tr_hot_finder *f, size_t n, bool last)
{
    f->held += n;
    size_t end = f->first + f->held;
    if (!f->found || f->found->too_many)
        return TR_OK;
    size_t until = last ? end : end > REACH ? end - REACH : 0;
    if (f->next >= until)
        return TR_OK;
    f->has_bad = !tr_samples_best()->finite(f->rows, f->held * f->nx);
    measure(f, until);
    for (size_t y = f->next; y < until; y++)
        TR_TRY(look_at_row(f, y));
    f->next = until;
    return TR_OK;
}

void tr_hot_end(tr_hot_finder *f)
{
    tr_outliers *found = f->found;
    if (!found || found->n == 0 || !f->row_sum)
        return;
    found->rest = 0.0;
    for (size_t y = 0; y < f->ny; y++)
        found->rest += f->row_sum[y];
}
