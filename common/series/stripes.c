#include "common/series/stripes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/options/opt.h"
#include "common/series/stripes_wavelet.h"
#include "kernels/backend.h"

/* ---- what is asked for ---- */

tr_status tr_stripes_parse(const char *text, tr_stripes *s)
{
    enum { MOST = 1001, WIDTHS = 3, METHODS = 4 };
    *s = (tr_stripes){.dead = 0};
    if (!text || strcmp(text, "none") == 0)
        return TR_OK;
    const struct {
        const char *word;
        long *value, usual;
        double least, most;
    } methods[METHODS] = {{"dead", &s->dead, 61, 3, MOST},
                          {"large", &s->large, 61, 3, MOST},
                          {"sort", &s->sort, 11, 3, MOST},
                          {"wavelet-fourier", &s->wavelet, TR_USUAL_LEVELS, 1, 12}};
    for (const char *p = text; *p;) {
        size_t length = strcspn(p, ","), word = strcspn(p, ":,"), k = 0;
        while (k < METHODS && (strlen(methods[k].word) != word ||
                               strncmp(p, methods[k].word, word) != 0))
            k++;
        bool known = k < METHODS;
        double value = known ? (double)methods[k].usual : 0.0;
        bool good = known ? word == length ||
                                (tr_parse_real(p + word + 1, length - word - 1, &value) &&
                                 value == floor(value) && value >= methods[k].least &&
                                 value <= methods[k].most)
                          : length == 9 && strncmp(p, "titarenko", 9) == 0;
        if (!good)
            return tr_fail(
                TR_ERR_USAGE,
                "--stripes %s: must be none, or some of dead, large, sort, "
                "wavelet-fourier and titarenko with commas between, the first "
                "%d with a width of 3 to %d columns if wanted, such as sort:11, "
                "the next with levels, such as wavelet-fourier:4",
                text, WIDTHS, MOST);
        if (known)
            *methods[k].value = (long)value;
        else
            s->titarenko = true;
        p += length + (p[length] == ',' && p[length + 1] != '\0');
        if (*p == ',' || (p[0] == '\0' && p[-1] == ','))
            return tr_fail(TR_ERR_USAGE, "--stripes %s: a method is missing at a comma",
                           text);
    }
    return TR_OK;
}

/* ---- filters ---- */

/* The values of a column in order of size. */
typedef struct ranked {
    float value;
    int view;
} ranked;

struct tr_stripes_work {
    ranked *column;                 /* [u][view], sorted */
    float *smooth;                  /* [view or rank][u] */
    float *window;                  /* sorted, of a median */
    double *level, *level_2, *list; /* [u] */
    float *line, *other;            /* [u] */
    bool *mask;                     /* [u], and one more */
    float *wavelet;                 /* NULL: not this method */
};
typedef struct tr_stripes_work workspace;

void tr_stripes_work_free(workspace *w)
{
    if (!w)
        return;
    free(w->column);
    free(w->smooth);
    free(w->window);
    free(w->level);
    free(w->level_2);
    free(w->list);
    free(w->line);
    free(w->other);
    free(w->mask);
    free(w->wavelet);
    free(w);
}

workspace *tr_stripes_work_new(const tr_stripes *s, size_t n_views, size_t n_u)
{
    static const char what[] = "removing stripes";
    workspace *w = tr_calloc(what, 1, sizeof *w);
    if (!w)
        return NULL;
    *w = (workspace){.column = tr_calloc(what, n_views * n_u, sizeof *w->column),
                     .smooth = tr_calloc(what, n_views * n_u, sizeof *w->smooth),
                     .window = tr_calloc(what, n_u + 2, sizeof *w->window),
                     .level = tr_calloc(what, n_u, sizeof *w->level),
                     .level_2 = tr_calloc(what, n_u, sizeof *w->level_2),
                     .list = tr_calloc(what, n_u, sizeof *w->list),
                     .line = tr_calloc(what, n_u, sizeof *w->line),
                     .other = tr_calloc(what, n_u, sizeof *w->other),
                     .mask = tr_calloc(what, n_u + 1, sizeof *w->mask)};
    if (s->wavelet)
        w->wavelet = tr_calloc(what, tr_wavelet_floats(n_views, n_u), sizeof *w->wavelet);
    if (w->column && w->smooth && w->window && w->level && w->level_2 && w->list &&
        w->line && w->other && w->mask && (w->wavelet || !s->wavelet))
        return w;
    tr_stripes_work_free(w);
    return NULL;
}

size_t tr_stripes_bytes(const tr_stripes *s, size_t n_views, size_t n_u)
{
    size_t wavelet = s->wavelet ? tr_wavelet_floats(n_views, n_u) * sizeof(float) : 0;
    return n_views * n_u * (sizeof(ranked) + sizeof(float)) + 64 * n_u + wavelet;
}

/* Where v is, or belongs, among n values in order. */
static size_t find(const float *sorted, size_t n, float v)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (sorted[middle] < v)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* i, or the end of 0 ... n - 1 that it lies beyond. */
static size_t held(long i, size_t n)
{
    return i < 0 ? 0 : i >= (long)n ? n - 1 : (size_t)i;
}

/* out[i] = the median of in[i - width/2 ... i + width/2], its ends repeated beyond them;
 * `window` has room for `width` + 1. */
static void median_filter(const float *in, size_t n, size_t width, float *window,
                          float *out)
{
    size_t half = (width - 1) / 2, k = 2 * half + 1;
    size_t used = 0;
    for (long i = -(long)half; i <= (long)half; i++) {
        float v = in[held(i, n)];
        size_t to = find(window, used, v);
        memmove(window + to + 1, window + to, (used - to) * sizeof *window);
        window[to] = v;
        used++;
    }
    for (long i = 0; i < (long)n; i++) {
        out[i] = window[half];
        float old = in[held(i - (long)half, n)], new = in[held(i + (long)half + 1, n)];
        size_t from = find(window, k, old);
        memmove(window + from, window + from + 1, (k - 1 - from) * sizeof *window);
        size_t to = find(window, k - 1, new);
        memmove(window + to + 1, window + to, (k - 1 - to) * sizeof *window);
        window[to] = new;
    }
}

static size_t narrow(long width, size_t n_u)
{
    return (size_t)width < n_u ? (size_t)width : n_u;
}

static int by_value(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return (x->view > y->view) - (x->view < y->view);
}

/* w->column, and w->smooth[rank][u] = the value of that rank. */
static void rank_columns(size_t n_views, size_t n_u, const float *sinogram, workspace *w)
{
    for (size_t u = 0; u < n_u; u++) {
        ranked *column = w->column + u * n_views;
        for (size_t k = 0; k < n_views; k++)
            column[k] = (ranked){sinogram[k * n_u + u], (int)k};
        qsort(column, n_views, sizeof *column, by_value);
        for (size_t k = 0; k < n_views; k++)
            w->smooth[k * n_u + u] = column[k].value;
    }
}

static void smooth_ranks(size_t n_views, size_t n_u, size_t width, workspace *w)
{
    for (size_t k = 0; k < n_views; k++) {
        memcpy(w->line, w->smooth + k * n_u, n_u * sizeof *w->line);
        median_filter(w->line, n_u, width, w->window, w->smooth + k * n_u);
    }
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Algorithm 4: columns whose level is far beyond what a straight line through the middle
 * half of all levels, in order of size, leads to expect; and those beside them. */
static void detect(const double *level, size_t n, workspace *w)
{
    const double RATIO = 3.0; /* of a stripe to the noise of the levels */
    memcpy(w->list, level, n * sizeof *w->list);
    qsort(w->list, n, sizeof *w->list, by_size);
    size_t first = n / 4, end = n - n / 4;
    double m = (double)(end - first), sx = 0, sy = 0, sxx = 0, sxy = 0;
    for (size_t i = first; i < end; i++) {
        double x = (double)i, y = w->list[i];
        sx += x, sy += y, sxx += x * x, sxy += x * y;
    }
    double det = m * sxx - sx * sx, slope = det > 0 ? (m * sxy - sx * sy) / det : 0.0;
    double low = (sy - slope * sx) / m, high = low + slope * (double)(n - 1);
    double noise = fmax(fabs(high - low), 1e-6);
    memset(w->mask, 0, n * sizeof *w->mask);
    for (size_t u = 0; u < n; u++) {
        if (level[u] <= high + 0.5 * noise * RATIO &&
            level[u] >= low - 0.5 * noise * RATIO)
            continue;
        for (size_t v = u ? u - 1 : 0; v <= u + 1 && v < n; v++)
            w->mask[v] = true;
    }
}

/* ---- the methods ---- */

static void remove_by_sorting(size_t n_views, size_t n_u, size_t width, float *sinogram,
                              workspace *w)
{
    rank_columns(n_views, n_u, sinogram, w);
    smooth_ranks(n_views, n_u, width, w);
    for (size_t u = 0; u < n_u; u++)
        for (size_t k = 0; k < n_views; k++)
            sinogram[(size_t)w->column[u * n_views + k].view * n_u + u] =
                w->smooth[k * n_u + u];
}

static void remove_large(size_t n_views, size_t n_u, size_t width, float *sinogram,
                         workspace *w)
{
    size_t drop = n_views / 10; /* ranks at each end, where zingers are */
    const double FAINT = 0.05;  /* of the largest level: no factor is known there */
    double largest = 0.0;
    rank_columns(n_views, n_u, sinogram, w);
    for (size_t u = 0; u < n_u; u++) {
        w->level[u] = 0.0;
        for (size_t k = drop; k < n_views - drop; k++)
            w->level[u] += w->smooth[k * n_u + u];
    }
    smooth_ranks(n_views, n_u, width, w);
    for (size_t u = 0; u < n_u; u++) {
        w->level_2[u] = 0.0;
        for (size_t k = drop; k < n_views - drop; k++)
            w->level_2[u] += w->smooth[k * n_u + u];
        largest = fmax(largest, fabs(w->level_2[u]));
    }
    for (size_t u = 0; u < n_u; u++)
        w->level[u] = fabs(w->level_2[u]) > FAINT * largest && w->level[u] != 0.0
                          ? w->level[u] / w->level_2[u]
                          : 1.0;
    detect(w->level, n_u, w);
    for (size_t u = 0; u < n_u; u++)
        for (size_t k = 0; k < n_views; k++) {
            size_t view = (size_t)w->column[u * n_views + k].view;
            if (w->mask[u])
                sinogram[view * n_u + u] = w->smooth[k * n_u + u];
            else
                sinogram[view * n_u + u] /= (float)w->level[u];
        }
}

/* How rough each column is along the views: its distance from a running mean. */
static void roughness(size_t n_views, size_t n_u, const float *sinogram, double *rough)
{
    enum { HALF = 5 };
    for (size_t u = 0; u < n_u; u++) {
        rough[u] = 0.0;
        for (long k = 0; k < (long)n_views; k++) {
            double sum = 0.0;
            for (long i = k - HALF; i < k + HALF; i++)
                sum += sinogram[held(i, n_views) * n_u + u];
            rough[u] += fabs(sinogram[(size_t)k * n_u + u] - sum / (2 * HALF));
        }
    }
}

static void remove_dead(size_t n_views, size_t n_u, size_t width, float *sinogram,
                        workspace *w)
{
    roughness(n_views, n_u, sinogram, w->level);
    for (size_t u = 0; u < n_u; u++)
        w->line[u] = (float)w->level[u];
    median_filter(w->line, n_u, width, w->window, w->other);
    for (size_t u = 0; u < n_u; u++)
        w->level[u] = w->other[u] > 0.0f ? w->level[u] / w->other[u] : 1.0;
    detect(w->level, n_u, w);
    for (size_t u = 0; u < 2 && u < n_u; u++) /* nothing is beyond the ends */
        w->mask[u] = w->mask[n_u - 1 - u] = false;
    for (size_t u = 1; u < n_u; u++) {
        if (!w->mask[u])
            continue;
        size_t end = u;
        while (w->mask[end])
            end++;
        for (size_t k = 0; k < n_views; k++) {
            float *line = sinogram + k * n_u, a = line[u - 1], b = line[end];
            for (size_t v = u; v < end; v++)
                line[v] = a + (b - a) * (float)(v - u + 1) / (float)(end - u + 1);
        }
        u = end;
    }
}

static size_t mirrored(long i, long n)
{
    long at = (i % (2 * n) + 2 * n) % (2 * n);
    return (size_t)(at < n ? at : 2 * n - 1 - at);
}

/* The mean of each column less that of a wide neighbourhood, whose weights fall
 * exponentially and go on at the ends as in a mirror. */
static void remove_titarenko(size_t n_views, size_t n_u, float *sinogram, workspace *w)
{
    const double BETA = 0.022, ratio = (1.0 - BETA) / (1.0 + BETA);
    for (size_t u = 0; u < n_u; u++) {
        w->level[u] = 0.0;
        for (size_t k = 0; k < n_views; k++)
            w->level[u] += sinogram[k * n_u + u] / (double)n_views;
    }
    /* To the left and to the right of each column by recursion; what lies 1000 columns
     * off has no weight left. */
    enum { REACH = 1000 };
    const long n = (long)n_u;
    double sum = 0.0;
    for (long i = -REACH; i < 0; i++)
        sum = sum * ratio + w->level[mirrored(i, n)];
    for (long i = 0; i < n; i++) {
        sum = sum * ratio + w->level[i];
        w->level_2[i] = sum;
    }
    sum = 0.0;
    for (long i = n + REACH; i >= n; i--)
        sum = (sum + w->level[mirrored(i, n)]) * ratio;
    for (long i = n - 1; i >= 0; i--) {
        w->level_2[i] = BETA * (w->level_2[i] + sum) - w->level[i];
        sum = (sum + w->level[i]) * ratio;
    }
    for (size_t k = 0; k < n_views; k++)
        for (size_t u = 0; u < n_u; u++)
            sinogram[k * n_u + u] += (float)w->level_2[u];
}

void tr_stripes_remove(const tr_stripes *s, size_t n_views, size_t n_u, float *sinogram,
                       workspace *w)
{
    if (s->dead)
        remove_dead(n_views, n_u, narrow(s->dead, n_u), sinogram, w);
    if (s->large)
        remove_large(n_views, n_u, narrow(s->large, n_u), sinogram, w);
    if (s->sort)
        remove_by_sorting(n_views, n_u, narrow(s->sort, n_u), sinogram, w);
    if (s->wavelet) {
        /* A half set has fewer views. */
        long most = tr_wavelet_most_levels(n_views, n_u),
             levels = s->wavelet == TR_USUAL_LEVELS
                          ? tr_wavelet_usual_levels(n_views, n_u)
                          : s->wavelet;
        tr_wavelet_remove(n_views, n_u, levels < most ? levels : most, sinogram,
                          w->wavelet);
    }
    if (s->titarenko)
        remove_titarenko(n_views, n_u, sinogram, w);
}

tr_status tr_stripes_remove_rows(const tr_stripes *s, size_t n_views, size_t n_u,
                                 size_t rows, size_t lanes, int threads, float *slab)
{
    size_t columns = n_u + TR_GUARDS;
    bool short_of_memory = false;
    if (!tr_stripes_wanted(s))
        return TR_OK;
#pragma omp parallel num_threads(threads) reduction(|| : short_of_memory)
    {
        float *sinogram = tr_calloc("a sinogram", n_views * n_u, sizeof *sinogram);
        workspace *work = tr_stripes_work_new(s, n_views, n_u);
        short_of_memory = !sinogram || !work;
#pragma omp for schedule(dynamic)
        for (size_t r = 0; r < rows; r++) {
            if (short_of_memory)
                continue;
            for (size_t k = 0; k < n_views; k++)
                for (size_t u = 0; u < n_u; u++)
                    sinogram[k * n_u + u] = slab[(k * columns + u + 1) * lanes + r];
            tr_stripes_remove(s, n_views, n_u, sinogram, work);
            for (size_t k = 0; k < n_views; k++)
                for (size_t u = 0; u < n_u; u++)
                    slab[(k * columns + u + 1) * lanes + r] = sinogram[k * n_u + u];
        }
        free(sinogram);
        tr_stripes_work_free(work);
    }
    return short_of_memory ? TR_ERR_MEMORY : TR_OK;
}
