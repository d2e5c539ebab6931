#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/first_error.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/partition.h"
#include "common/series/series_private.h"
#include "kernels/samples.h"

enum { SCAN_ROWS = 64 };

typedef struct scan_sums {
    double sum, n, min, max;
} scan_sums;

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
        sums->n += (double)finite;
        sums->min = fmin(sums->min, low);
        sums->max = fmax(sums->max, high);
        if (finite < nx)
            note_bad(line, nx, finite, y0 + y, v);
    }
}

/* The mean of what the steps on single pixels make of them, and how many the logarithm
 * cannot take. */
static tr_status scan_processed(tr_series *s, size_t k, float *buffer)
{
    view_scan *v = &s->scan[k];
    const tr_view_facts facts = tr_series_facts(s, k);
    const tr_view_params *params = &s->steps.params;
    double total = 0.0, floor = params->log ? tr_log_floor(params, v->mean) : -INFINITY;
    for (size_t y = 0; y < s->raw_v; y += SCAN_ROWS) {
        size_t rows = s->raw_v - y < SCAN_ROWS ? s->raw_v - y : SCAN_ROWS;
        const tr_window_2d w = {.nx = s->raw_u, .y0 = y, .ny = rows};
        TR_TRY(tr_image_read(s->image, s->views.view[k].section, y, rows, 0, s->raw_u,
                             buffer));
        for (size_t i = 0; i < rows * s->raw_u; i++)
            v->clipped += isfinite(buffer[i]) && buffer[i] + params->log_base < floor;
        tr_view_steps_pixels(&s->steps, &facts, &w, buffer);
        for (size_t i = 0; i < rows * s->raw_u; i++)
            total += buffer[i];
    }
    v->fill = total / ((double)s->raw_u * (double)s->raw_v);
    return TR_OK;
}

/* The rows wanted, NULL for all, or as many of them as there are from y on without a gap;
 * 0 where y is none. */
static size_t rows_at(const bool *rows, size_t y, size_t n_v)
{
    size_t n = 0;
    while (n < SCAN_ROWS && y + n < n_v && (!rows || rows[y + n]))
        n++;
    return n;
}

static tr_status scan_rows(tr_series *s, size_t k, const bool *rows, float *buffer,
                           scan_sums *sums)
{
    view_scan *v = &s->scan[k];
    *v = (view_scan){0};
    *sums = (scan_sums){.min = INFINITY, .max = -INFINITY};
    for (size_t y = 0, n; y < s->raw_v; y += n ? n : 1) {
        n = rows_at(rows, y, s->raw_v);
        TR_TRY(
            tr_image_read(s->image, s->views.view[k].section, y, n, 0, s->raw_u, buffer));
        tr_content_note(&s->content, k, y, n, s->raw_u, buffer);
        scan_values(buffer, s->raw_u, y, n, v, sums);
    }
    v->constant = sums->min >= sums->max;
    return TR_OK;
}

static tr_status scan_view(tr_series *s, size_t k, const bool *rows, float *buffer)
{
    view_scan *v = &s->scan[k];
    scan_sums sums;
    TR_TRY(scan_rows(s, k, rows, buffer, &sums));
    /* The mean of the view takes the place of bad pixels. */
    if (rows && (v->bad > 0.0 || v->constant != 0.0))
        TR_TRY(scan_rows(s, k, NULL, buffer, &sums));
    if (sums.n == 0.0)
        return tr_fail(
            TR_ERR_DATA,
            "%s: view %zu has no finite pixel; leave it out with --exclude %zu", s->path,
            s->views.view[k].section + 1, s->views.view[k].section + 1);
    v->mean = sums.sum / sums.n;
    const tr_view_facts facts = tr_series_facts(s, k);
    if (tr_view_steps_mean(&s->steps, &facts, &v->fill))
        return TR_OK;
    return scan_processed(s, k, buffer);
}

static tr_status scan_share(tr_comm *comm, tr_series *s, const bool *rows, int threads)
{
    size_t first, count;
    tr_partition(s->n_views, (size_t)comm->size, (size_t)comm->rank, &first, &count);
    tr_first_error failure = TR_NO_ERROR_YET;
#pragma omp parallel num_threads(threads)
    {
        float *buffer =
            tr_calloc("rows of the series", SCAN_ROWS * s->raw_u, sizeof *buffer);
#pragma omp for schedule(dynamic)
        for (size_t k = first; k < first + count; k++)
            if (tr_first_error_needs(&failure, k))
                tr_first_error_note(
                    &failure, k, buffer ? scan_view(s, k, rows, buffer) : TR_ERR_MEMORY);
        free(buffer);
    }
    return tr_first_error_end(&failure);
}

static tr_status report_scan(const tr_series *s)
{
    double bad = 0.0, clipped = 0.0;
    size_t constant = 0, first = s->n_views;
    for (size_t k = 0; k < s->n_views; k++) {
        if (s->scan[k].bad > 0.0 && first == s->n_views)
            first = k;
        bad += s->scan[k].bad;
        clipped += s->scan[k].clipped;
        constant += s->scan[k].constant != 0.0;
    }
    if (constant == s->n_views)
        return tr_fail(TR_ERR_DATA,
                       "%s: every view is constant (the first has only the value %g); "
                       "there is nothing to reconstruct",
                       s->path, s->scan[0].mean);
    for (size_t k = 0; k < s->n_views; k++)
        if (s->scan[k].constant != 0.0)
            tr_warn("%s: view %zu is constant (%g everywhere); consider --exclude %zu",
                    s->path, s->views.view[k].section + 1, s->scan[k].mean,
                    s->views.view[k].section + 1);
    if (bad > 0.0)
        tr_warn("%s: %.0f pixels are NaN or infinite, the first in view %zu at column "
                "%.0f, row %.0f (from 0); each is replaced by the mean of its view",
                s->path, bad, s->views.view[first].section + 1, s->scan[first].first_x,
                s->scan[first].first_y);
    if (clipped > 0.0)
        tr_warn("%s: %.0f pixels are too small for a logarithm and were raised to a "
                "thousandth of their view's mean; consider a larger --log BASE",
                s->path, clipped);
    return TR_OK;
}

tr_status tr_series_scan(tr_comm *comm, tr_series *s, const tr_series_spec *spec)
{
    /* What is between the file and these rows may take the whole view. */
    bool whole = spec->transforms || spec->steps.log || tr_view_steps_whole(&s->steps);
    const bool *rows = whole ? NULL : spec->rows;
    tr_status status = tr_content_new(s->n_views, s->raw_v, &s->content);
    TR_TRY(comm->ops->agree(comm, status));
    TR_TRY(comm->ops->agree(comm, scan_share(comm, s, rows, spec->threads)));
    _Static_assert(sizeof(view_scan) % sizeof(double) == 0, "gathered as doubles");
    TR_TRY(tr_comm_gather(comm, (double *)s->scan,
                          s->n_views * sizeof(view_scan) / sizeof(double)));
    TR_TRY(tr_content_share(comm, &s->content));
    return comm->ops->agree(comm, report_scan(s));
}

void tr_series_digest(const tr_series *s, char text[TR_DIGEST])
{
    tr_content_digest(&s->content, s->raw_u, text);
}
