#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/partition.h"
#include "common/series/series_private.h"
#include "kernels/samples.h"

typedef struct scan_sums {
    double sum, n, min, max;
    double *row; /* each row's part of the sum; NULL: not wanted */
} scan_sums;

typedef struct scan_spec {
    const bool *rows; /* to look at; NULL: all */
    int threads;
    const tr_series *whole; /* of half a series of frames */
    tr_outliers *outliers;  /* of each view; NULL: they are not looked for */
    tr_series *series;
} scan_spec;

enum { ABREAST = 8 }; /* rows, each of which is added up one value after another */

/* sum[r] of row r of so many, from value 0 to nx - 1; what is no number counts as 0. */
static void sum_rows(const float *values, size_t nx, double sum[ABREAST])
{
    for (size_t r = 0; r < ABREAST; r++)
        sum[r] = 0.0;
    for (size_t x = 0; x < nx; x++)
        for (size_t r = 0; r < ABREAST; r++) {
            float value = values[r * nx + x];
            sum[r] += fabsf(value) <= FLT_MAX ? value : 0.0f;
        }
}

static double sum_row(const float *line, size_t nx)
{
    double sum = 0.0;
    for (size_t x = 0; x < nx; x++)
        sum += fabsf(line[x]) <= FLT_MAX ? line[x] : 0.0f;
    return sum;
}

/* Row y of a view has values that are no numbers. */
static void note_bad(const float *line, size_t nx, size_t finite, size_t y, view_scan *v)
{
    for (size_t x = 0; v->bad == 0.0; x++)
        if (!isfinite(line[x])) {
            v->first_x = (double)x;
            v->first_y = (double)y;
            break;
        }
    v->bad += (double)(nx - finite);
}

static void scan_values(const float *values, size_t nx, size_t y0, size_t rows,
                        view_scan *v, scan_sums *sums)
{
    double sum[ABREAST] = {0.0}; /* of the rows from the last multiple on */
    for (size_t y = 0; y < rows; y++) {
        const float *line = values + y * nx;
        float low, high;
        size_t finite = tr_samples_best()->limits(line, nx, &low, &high);
        if (y % ABREAST == 0 && y + ABREAST <= rows)
            sum_rows(line, nx, sum);
        else if (y >= rows / ABREAST * ABREAST)
            sum[y % ABREAST] = sum_row(line, nx);
        sums->sum += sum[y % ABREAST];
        if (sums->row)
            sums->row[y0 + y] = sum[y % ABREAST];
        sums->n += (double)finite;
        sums->min = fmin(sums->min, low);
        sums->max = fmax(sums->max, high);
        if (finite < nx)
            note_bad(line, nx, finite, y0 + y, v);
    }
}

/* The rows wanted, NULL for all, or as many of them as there are from y on without a gap;
 * 0 where y is none. */
static size_t rows_at(const bool *rows, size_t y, size_t n_v)
{
    size_t n = 0;
    while (n < TR_HOT_STRIP && y + n < n_v && (!rows || rows[y + n]))
        n++;
    return n;
}

static tr_status scan_rows(tr_series *s, size_t k, const bool *rows, tr_hot_finder *f,
                           scan_sums *sums)
{
    view_scan *v = &s->scan[k];
    *v = (view_scan){0};
    *sums = (scan_sums){.min = INFINITY, .max = -INFINITY, .row = f->row_sum};
    for (size_t y = 0, n; y < s->raw_v; y += n ? n : 1) {
        n = rows_at(rows, y, s->raw_v);
        if (!n)
            continue;
        float *buffer = tr_hot_room(f, y);
        TR_TRY(
            tr_image_read(s->image, s->views.view[k].section, y, n, 0, s->raw_u, buffer));
        tr_content_note(&s->content, k, y, n, s->raw_u, buffer);
        scan_values(buffer, s->raw_u, y, n, v, sums);
        TR_TRY(tr_hot_look(f, n, y + n == s->raw_v || (rows && !rows[y + n])));
    }
    v->constant = sums->min >= sums->max;
    return TR_OK;
}

/* Those of the series of all frames, if this is one of half of them. */
static void begin_view(const tr_series *whole, size_t k, tr_outliers *found,
                       tr_hot_finder *f)
{
    const tr_hot_pixels *hot = whole ? &whole->hot : NULL;
    if (hot)
        tr_hot_begin(f, found, hot->list + hot->start[k],
                     hot->start[k + 1] - hot->start[k]);
    else
        tr_hot_begin(f, found, NULL, 0);
}

static tr_status scan_view(void *data, size_t k, void *room)
{
    const scan_spec *scan = data;
    tr_hot_finder *f = room;
    tr_series *s = scan->series;
    view_scan *v = &s->scan[k];
    scan_sums sums;
    tr_outliers *found = scan->outliers ? &scan->outliers[k] : NULL;
    begin_view(scan->whole, k, found, f);
    TR_TRY(scan_rows(s, k, scan->rows, f, &sums));
    /* The mean of the view takes the place of bad pixels. */
    if (scan->rows && (v->bad > 0.0 || v->constant != 0.0)) {
        begin_view(scan->whole, k, found, f);
        TR_TRY(scan_rows(s, k, NULL, f, &sums));
    }
    tr_hot_end(f);
    if (sums.n == 0.0)
        return tr_fail(
            TR_ERR_DATA,
            "%s: view %zu has no finite pixel; leave it out with --exclude %zu", s->path,
            s->views.view[k].section + 1, s->views.view[k].section + 1);
    v->mean = sums.sum / sums.n;
    return TR_OK;
}

static tr_status begin_scan(void *data, void **room)
{
    const tr_series *s = ((const scan_spec *)data)->series;
    tr_hot_finder *f = *room = tr_calloc("rows of the series", 1, sizeof *f);
    if (!f)
        return TR_ERR_MEMORY;
    return tr_hot_finder_new(s->raw_u, s->raw_v,
                             s->steps.params.hot_pixels == TR_HOT_REPLACE, f);
}

static void end_scan(void *room)
{
    if (room)
        tr_hot_finder_free(room);
    free(room);
}

/* The hot pixels of all views, and the means once they are replaced. Collective. */
static tr_status judge_pixels(tr_comm *comm, tr_series *s, const tr_outliers *outliers)
{
    size_t first, count;
    TR_TRY(tr_hot_decide(comm, s->n_views, s->raw_u, outliers, &s->hot));
    tr_partition(s->n_views, (size_t)comm->size, (size_t)comm->rank, &first, &count);
    for (size_t k = first; k < first + count; k++)
        if (tr_series_facts(s, k).n_replaced)
            s->scan[k].mean =
                tr_hot_mean(&s->hot, k, s->raw_u, &outliers[k],
                            (double)s->raw_u * (double)s->raw_v - s->scan[k].bad);
    return TR_OK;
}

/* Everything about the pixels as they are in the file. Collective. */
static tr_status scan_all(tr_comm *comm, tr_series *s, const tr_series_spec *spec)
{
    /* What is between the file and these rows may take the whole view. */
    bool whole =
        spec->transforms || spec->steps.log || spec->steps.hot_pixels == TR_HOT_REPLACE ||
        spec->steps.normalize != TR_NORMALIZE_NONE || tr_view_steps_whole(&s->steps);
    bool look =
        spec->steps.hot_pixels == TR_HOT_REPLACE || spec->steps.hot_pixels == TR_HOT_WARN;
    tr_outliers *outliers = tr_calloc("the list of views", s->n_views, sizeof *outliers);
    scan_spec scan = {.series = s,
                      .rows = whole ? NULL : spec->rows,
                      .threads = spec->threads,
                      .whole =
                          spec->steps.hot_pixels == TR_HOT_REPLACE ? spec->whole : NULL,
                      .outliers = look ? outliers : NULL};
    const tr_view_work work = {&scan, begin_scan, scan_view, end_scan};
    tr_status status = comm->ops->agree(comm, outliers ? TR_OK : TR_ERR_MEMORY);
    if (status == TR_OK)
        status = comm->ops->agree(comm,
                                  tr_series_share(comm, s->n_views, scan.threads, &work));
    if (status == TR_OK)
        status = judge_pixels(comm, s, outliers);
    for (size_t k = 0; outliers && k < s->n_views; k++)
        free(outliers[k].list);
    free(outliers);
    TR_TRY(status);
    _Static_assert(sizeof(view_scan) % sizeof(double) == 0, "gathered as doubles");
    return tr_comm_gather(comm, (double *)s->scan,
                          s->n_views * sizeof(view_scan) / sizeof(double));
}

tr_status tr_series_scan(tr_comm *comm, tr_series *s, const tr_series_spec *spec)
{
    tr_status status = tr_content_new(s->n_views, s->raw_v, &s->content);
    TR_TRY(comm->ops->agree(comm, status));
    TR_TRY(scan_all(comm, s, spec));
    TR_TRY(tr_content_share(comm, &s->content));
    TR_TRY(tr_series_levels(comm, s, spec));
    return comm->ops->agree(comm, tr_series_report(s));
}

void tr_series_digest(const tr_series *s, char text[TR_DIGEST])
{
    tr_content_digest(&s->content, s->raw_u, text);
}
