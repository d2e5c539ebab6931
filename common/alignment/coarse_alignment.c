#include "common/alignment/coarse_alignment.h"

#include <complex.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/first_error.h"
#include "common/base/mem.h"

/* ---- shifts ---- */

enum { NEIGHBOURS = 3 };

/* What a branch, from the least tilted view to one end of the range, works with. */
typedef struct branch {
    const tr_small_views *v;
    double axis;
    double (*shift)[2];
    tr_overlay *found;
    tr_correlator *correlator;
    float *plane, *mask, *sum, *weight; /* an image each */
    size_t *order;                      /* views, the first one aligned already */
    size_t n;
} branch;

/* Add a view that is aligned, as it would be at the angle of view i. */
static void add_neighbour(const branch *b, size_t j, size_t i)
{
    const tr_small_views *v = b->v;
    size_t pixels = v->nx * v->ny;
    tr_plane_map map =
        tr_plane_turn(b->axis, b->shift[j], cos(v->tilt[i]) / cos(v->tilt[j]));
    tr_plane_apply(&map, v->nx, v->ny, v->image + j * pixels, b->plane, b->mask);
    for (size_t k = 0; k < pixels; k++) {
        b->sum[k] += b->plane[k];
        b->weight[k] += b->mask[k];
    }
}

static void align_one(const branch *b, size_t place)
{
    static const double none[2] = {0.0, 0.0};
    const tr_small_views *v = b->v;
    size_t pixels = v->nx * v->ny, i = b->order[place];
    memset(b->sum, 0, pixels * sizeof *b->sum);
    memset(b->weight, 0, pixels * sizeof *b->weight);
    for (size_t back = 1, taken = 0; taken < NEIGHBOURS && back <= place; back++) {
        size_t j = b->order[place - back];
        /* One that lies somewhere leads the next ones astray. */
        if (b->found[j].significance < TR_LEAST_SIGNIFICANCE)
            continue;
        add_neighbour(b, j, i);
        taken++;
    }
    for (size_t k = 0; k < pixels; k++) {
        b->sum[k] = b->weight[k] > 0.0f ? b->sum[k] / b->weight[k] : 0.0f;
        b->weight[k] = b->weight[k] > 0.0f ? 1.0f : 0.0f;
    }
    tr_plane_map map = tr_plane_turn(b->axis, none, 1.0);
    tr_plane_apply(&map, v->nx, v->ny, v->image + i * pixels, b->plane, b->mask);
    tr_overlay best;
    tr_correlate(b->correlator, b->sum, b->weight, b->plane, b->mask, &best);
    b->shift[i][0] = best.shift[0];
    b->shift[i][1] = best.shift[1];
    b->found[i] = best;
}

typedef struct by_tilt {
    double tilt;
    size_t view;
} by_tilt;

static int compare(const void *a, const void *b)
{
    const by_tilt *x = a, *y = b;
    if (x->tilt != y->tilt)
        return x->tilt < y->tilt ? -1 : 1;
    return x->view < y->view ? -1 : x->view > y->view;
}

/* Both branches in order of the angles; they share the first view. */
static tr_status make_order(const tr_small_views *v, size_t *order, size_t *n_up,
                            size_t *n_down)
{
    by_tilt *sorted = tr_calloc("the order of the views", v->n, sizeof *sorted);
    size_t least = 0, n = 0;
    if (!sorted)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < v->n; k++)
        sorted[k] = (by_tilt){v->tilt[k], k};
    qsort(sorted, v->n, sizeof *sorted, compare);
    for (size_t k = 1; k < v->n; k++)
        if (fabs(sorted[k].tilt) < fabs(sorted[least].tilt))
            least = k;
    for (size_t k = least; k < v->n; k++)
        order[n++] = sorted[k].view;
    *n_up = n;
    for (size_t k = least + 1; k-- > 0;)
        order[n++] = sorted[k].view;
    *n_down = n - *n_up;
    free(sorted);
    return TR_OK;
}

static void branch_free(branch *b)
{
    tr_correlator_free(b->correlator);
    free(b->plane);
    free(b->mask);
    free(b->sum);
    free(b->weight);
}

static tr_status follow(branch *b, size_t widest)
{
    size_t pixels = b->v->nx * b->v->ny;
    b->correlator = tr_correlator_new(b->v->nx, b->v->ny, widest);
    float **const images[] = {&b->plane, &b->mask, &b->sum, &b->weight};
    bool good = b->correlator;
    for (size_t k = 0; k < 4 && good; k++)
        good = (*images[k] = tr_calloc("a view", pixels, sizeof(float))) != NULL;
    for (size_t place = 1; place < b->n && good; place++)
        align_one(b, place);
    branch_free(b);
    return good ? TR_OK : TR_ERR_MEMORY;
}

tr_status tr_coarse_shifts(const tr_small_views *v, double axis, size_t widest,
                           int threads, double (*shift)[2], tr_overlay *found)
{
    size_t n[2], *order = tr_calloc("the order of the views", v->n + 1, sizeof *order);
    tr_first_error failure = TR_NO_ERROR_YET;
    tr_status status = order ? make_order(v, order, &n[0], &n[1]) : TR_ERR_MEMORY;
    if (status == TR_OK) {
        shift[order[0]][0] = shift[order[0]][1] = 0.0;
        found[order[0]] = (tr_overlay){.correlation = 1.0, .significance = INFINITY};
#pragma omp parallel for num_threads(threads < 2 ? 1 : 2)
        for (size_t k = 0; k < 2; k++) {
            branch b = {.v = v,
                        .axis = axis,
                        .shift = shift,
                        .found = found,
                        .order = order + k * n[0],
                        .n = n[k]};
            tr_first_error_note(&failure, k, follow(&b, widest));
        }
        status = tr_first_error_end(&failure);
    }
    free(order);
    return status;
}

/* ---- the axis ---- */

/* Of lines, in cycles per pixel; pixels by which a line may be shifted to fit; rounds of
 * fitting; the part of a line at each end over which it is faded. */
static const double low = 0.02, high = 0.15, faded = 0.1;
enum { MOST_SHIFT = 4, ROUNDS = 3 };

/* Lines of all views, and their spectra up to where the band ends. */
typedef struct lines {
    size_t n, length, n_f;
    double *line;
    double complex *spectrum, *sum; /* [n][n_f], [n_f] */
} lines;

/* The mean of a view over the strip, row by row. */
static void make_line(const tr_small_views *v, size_t i, const tr_plane_map *map,
                      double width, double *line)
{
    double cx = 0.5 * ((double)v->nx - 1.0), cy = 0.5 * ((double)v->ny - 1.0);
    double half = 0.5 * width * cos(v->tilt[i]);
    const float *image = v->image + i * v->nx * v->ny;
    /* The inverse of a rotation is its transpose. */
    for (size_t y = 0; y < v->ny; y++) {
        double sum = 0.0, weight = 0.0, py = (double)y - cy - map->shift[1];
        for (size_t x = 0; x < v->nx; x++) {
            double w = fmin(fmax(half + 0.5 - fabs((double)x - cx), 0.0), 1.0);
            double px = (double)x - cx - map->shift[0];
            double qx = map->a[0][0] * px + map->a[1][0] * py + cx;
            double qy = map->a[0][1] * px + map->a[1][1] * py + cy;
            weight += w;
            if (w == 0.0 || !(qx >= 0.0 && qy >= 0.0 && qx < (double)(v->nx - 1) &&
                              qy < (double)(v->ny - 1)))
                continue;
            size_t ix = (size_t)qx, iy = (size_t)qy;
            double fx = qx - (double)ix, fy = qy - (double)iy;
            const float *p = image + iy * v->nx + ix;
            sum += w * ((1.0 - fy) * ((1.0 - fx) * p[0] + fx * p[1]) +
                        fy * ((1.0 - fx) * p[v->nx] + fx * p[v->nx + 1]));
        }
        line[y] = weight > 0.0 ? sum / weight : 0.0;
    }
}

static void fade(size_t n, double *line)
{
    size_t ends = (size_t)(faded * (double)n) + 1;
    for (size_t k = 0; k < ends && k < n; k++) {
        double w = 0.5 - 0.5 * cos(TR_PI * ((double)k + 0.5) / (double)ends);
        line[k] *= w;
        line[n - 1 - k] *= w;
    }
}

static void to_spectrum(const lines *l, size_t i)
{
    for (size_t k = 0; k < l->n_f; k++) {
        double f = (double)k / (double)l->length;
        double w =
            (1.0 - exp(-0.5 * f * f / (low * low))) * exp(-0.5 * f * f / (high * high));
        double complex step = cexp(-2.0 * TR_PI * f * I), turn = 1.0, sum = 0.0;
        for (size_t y = 0; y < l->length; y++, turn *= step)
            sum += l->line[y] * turn;
        l->spectrum[i * l->n_f + k] = w * sum;
    }
}

/* The correlation of line i, shifted by s, with the sum of the others, not normalised. */
static double match(const lines *l, size_t i, double s)
{
    const double complex *own = l->spectrum + i * l->n_f;
    double sum = 0.0;
    for (size_t k = 1; k < l->n_f; k++)
        sum += creal(
            (l->sum[k] - own[k]) *
            conj(own[k] * cexp(-2.0 * TR_PI * (double)k / (double)l->length * s * I)));
    return sum;
}

/* Shift line i along the axis to where it fits the others best. */
static void fit(const lines *l, size_t i)
{
    double complex *own = l->spectrum + i * l->n_f;
    double best = 0.0, top = match(l, i, 0.0);
    double step = 1.0;
    for (int finer = 0; finer < 4; finer++) {
        double from = best;
        for (int k = -MOST_SHIFT; k <= MOST_SHIFT; k++) {
            double value = match(l, i, from + k * step);
            if (value > top) {
                top = value;
                best = from + k * step;
            }
        }
        step *= 0.25;
    }
    for (size_t k = 0; k < l->n_f; k++) {
        double complex turned =
            own[k] * cexp(-2.0 * TR_PI * (double)k / (double)l->length * best * I);
        l->sum[k] += turned - own[k];
        own[k] = turned;
    }
}

static double agreement(const lines *l)
{
    double total = 0.0;
    for (size_t i = 0; i < l->n; i++) {
        const double complex *own = l->spectrum + i * l->n_f;
        double both = 0.0, a = 0.0, b = 0.0;
        for (size_t k = 1; k < l->n_f; k++) {
            double complex others = l->sum[k] - own[k];
            both += creal(others * conj(own[k]));
            a += creal(own[k] * conj(own[k]));
            b += creal(others * conj(others));
        }
        total += a > 0.0 && b > 0.0 ? both / sqrt(a * b) : 0.0;
    }
    return total / (double)l->n;
}

tr_status tr_common_lines(const tr_small_views *v, const double (*shift)[2],
                          double shift_axis, double axis, double width, double *score)
{
    lines l = {.n = v->n, .length = v->ny};
    size_t last = (size_t)(3.0 * high * (double)v->ny);
    l.n_f = (last < v->ny / 2 ? last : v->ny / 2) + 1;
    l.line = tr_calloc("common lines", v->ny, sizeof *l.line);
    l.spectrum = tr_calloc("common lines", v->n * l.n_f, sizeof *l.spectrum);
    l.sum = tr_calloc("common lines", l.n_f, sizeof *l.sum);
    bool good = l.line && l.spectrum && l.sum;
    double c = cos(axis - shift_axis), s = sin(axis - shift_axis);
    for (size_t i = 0; i < v->n && good; i++) {
        /* The shift in the frame of this axis. */
        const double turned[2] = {c * shift[i][0] + s * shift[i][1],
                                  -s * shift[i][0] + c * shift[i][1]};
        tr_plane_map map = tr_plane_turn(axis, turned, 1.0);
        make_line(v, i, &map, width, l.line);
        fade(l.length, l.line);
        to_spectrum(&l, i);
        for (size_t k = 0; k < l.n_f; k++)
            l.sum[k] += l.spectrum[i * l.n_f + k];
    }
    for (size_t round = 0; round < ROUNDS && good; round++)
        for (size_t i = 0; i < v->n; i++)
            fit(&l, i);
    if (good)
        *score = agreement(&l);
    free(l.line);
    free(l.spectrum);
    free(l.sum);
    return good ? TR_OK : TR_ERR_MEMORY;
}

/* ---- the search ---- */

static const double coarse_step = 0.5 * TR_RADIANS, last_step = 0.02 * TR_RADIANS;

typedef struct search {
    const tr_small_views *v;
    const double (*shift)[2];
    double axis, width;
    int threads;
} search;

/* score[k] at from + k * step. */
static tr_status score_all(const search *s, double from, double step, size_t n,
                           double *score)
{
    tr_first_error failure = TR_NO_ERROR_YET;
#pragma omp parallel for schedule(dynamic) num_threads(s->threads)
    for (size_t k = 0; k < n; k++)
        if (tr_first_error_needs(&failure, k))
            tr_first_error_note(&failure, k,
                                tr_common_lines(s->v, s->shift, s->axis,
                                                from + step * (double)k, s->width,
                                                &score[k]));
    return tr_first_error_end(&failure);
}

static size_t highest(const double *score, size_t n)
{
    size_t best = 0;
    for (size_t k = 1; k < n; k++)
        best = score[k] > score[best] ? k : best;
    return best;
}

static void summarize(const double *score, size_t n, tr_axis_scores *s)
{
    double sum = 0.0, squares = 0.0;
    for (size_t k = 0; k < n; k++) {
        sum += score[k];
        squares += score[k] * score[k];
    }
    s->mean = sum / (double)n;
    s->deviation = sqrt(fmax(squares / (double)n - s->mean * s->mean, 0.0));
}

tr_status tr_find_tilt_axis(const tr_small_views *v, const double (*shift)[2],
                            double shift_axis, double centre, double range, int threads,
                            double *found, tr_axis_scores *scores)
{
    size_t half = (size_t)(range / coarse_step + 0.5), n = 2 * half + 1;
    const search s = {v, shift, shift_axis, (double)(v->nx < v->ny ? v->nx : v->ny),
                      threads};
    double *score = tr_calloc("axis angles", n > 9 ? n : 9, sizeof *score);
    double from = centre - coarse_step * (double)half, step = coarse_step;
    if (!score)
        return TR_ERR_MEMORY;
    tr_status status = score_all(&s, from, step, n, score);
    tr_axis_scores found_scores = {.best = 0.0};
    if (status == TR_OK)
        summarize(score, n, &found_scores);
    double best = centre;
    while (status == TR_OK) {
        size_t k = highest(score, n);
        best = from + step * (double)k;
        found_scores.best = score[k];
        if (step < last_step)
            break;
        n = 9;
        from = best - step;
        step *= 0.25;
        status = score_all(&s, from, step, n, score);
    }
    free(score);
    *found = best;
    if (scores)
        *scores = found_scores;
    return status;
}
