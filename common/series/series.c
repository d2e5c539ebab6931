#include "common/series/series.h"

#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/fourier_crop.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/partition.h"
#include "common/geometry/warp.h"

enum { SCAN_ROWS = 64 };

typedef struct view_scan {
    double bad;              /* pixels that are NaN or infinite */
    double first_x, first_y; /* of them */
    double mean;             /* of the finite pixels, as in the file */
    double fill;             /* of the same after logarithm and inversion */
    double constant;         /* 1 if all are equal */
    double clipped;          /* pixels whose logarithm does not exist */
    double hash;             /* of all pixels, as in the file */
} view_scan;

struct tr_series {
    tr_image *image;
    const char *path;
    size_t n_views, n_u, n_v, raw_u, raw_v, bin;
    size_t *views;
    view_scan *scan;
    tr_transform *transforms; /* or NULL */
    bool log, invert;
    double log_base;
    int binned;    /* file descriptor of the binned stack, -1 for none */
    size_t *place; /* of the views in it */
    float *band;
    size_t band_size;
    float *source;
    size_t source_size;
};

/* What stands for values at or below zero under the logarithm. */
static double log_floor(const tr_series *s, size_t view)
{
    double mean = s->scan[view].mean + s->log_base;
    return mean > 0.0 ? 1e-3 * mean : DBL_MIN;
}

static float processed(const tr_series *s, size_t view, float value, double floor)
{
    double v = isfinite(value) ? (double)value : s->scan[view].mean;
    if (s->log)
        v = -log(fmax(v + s->log_base, floor));
    return (float)(s->invert ? -v : v);
}

static void process(const tr_series *s, size_t view, float *values, size_t n)
{
    double floor = s->log ? log_floor(s, view) : 0.0;
    if (!s->log && !s->invert && s->scan[view].bad == 0.0)
        return;
    for (size_t i = 0; i < n; i++)
        values[i] = processed(s, view, values[i], floor);
}

/* ---- the first look at all pixels ---- */

typedef struct scan_sums {
    double sum, n, min, max;
    uint64_t hash;
} scan_sums;

/* Bits and places of all values: other data of the same name are noticed. */
static uint64_t hash_values(const float *values, size_t n, size_t first)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        hash += (bits + 1ull) * (2 * (first + i) + 1) * 0x9e3779b97f4a7c15ull;
    }
    return hash;
}

static void scan_values(const float *values, size_t nx, size_t y0, size_t rows,
                        view_scan *v, scan_sums *sums)
{
    for (size_t y = 0; y < rows; y++) {
        const float *line = values + y * nx;
        double sum = 0.0;
        float low = FLT_MAX, high = -FLT_MAX;
        size_t finite = 0;
        for (size_t x = 0; x < nx; x++) {
            bool ok = fabsf(line[x]) <= FLT_MAX;
            float value = ok ? line[x] : 0.0f;
            finite += ok;
            sum += value;
            low = ok && value < low ? value : low;
            high = ok && value > high ? value : high;
        }
        sums->sum += sum;
        sums->n += (double)finite;
        sums->min = fmin(sums->min, low);
        sums->max = fmax(sums->max, high);
        if (finite == nx)
            continue;
        for (size_t x = 0; v->bad == 0.0; x++)
            if (!isfinite(line[x])) {
                v->first_x = (double)x;
                v->first_y = (double)(y0 + y);
                break;
            }
        v->bad += (double)(nx - finite);
    }
}

static tr_status scan_view(tr_series *s, size_t k, float *buffer)
{
    view_scan *v = &s->scan[k];
    scan_sums sums = {.min = INFINITY, .max = -INFINITY};
    for (size_t y = 0; y < s->raw_v; y += SCAN_ROWS) {
        size_t rows = s->raw_v - y < SCAN_ROWS ? s->raw_v - y : SCAN_ROWS;
        TR_TRY(tr_image_read(s->image, s->views[k], y, rows, 0, s->raw_u, buffer));
        scan_values(buffer, s->raw_u, y, rows, v, &sums);
        sums.hash += hash_values(buffer, rows * s->raw_u, y * s->raw_u);
    }
    v->hash = (double)(sums.hash >> 12); /* exact in a double */
    if (sums.n == 0.0)
        return tr_fail(
            TR_ERR_DATA,
            "%s: view %zu has no finite pixel; leave it out with --exclude %zu", s->path,
            s->views[k] + 1, s->views[k] + 1);
    v->mean = sums.sum / sums.n;
    v->constant = sums.min == sums.max;
    v->fill = s->invert ? -v->mean : v->mean;
    if (!s->log)
        return TR_OK;
    double total = 0.0, floor = log_floor(s, k);
    for (size_t y = 0; y < s->raw_v; y += SCAN_ROWS) {
        size_t rows = s->raw_v - y < SCAN_ROWS ? s->raw_v - y : SCAN_ROWS;
        TR_TRY(tr_image_read(s->image, s->views[k], y, rows, 0, s->raw_u, buffer));
        for (size_t i = 0; i < rows * s->raw_u; i++) {
            v->clipped += isfinite(buffer[i]) && buffer[i] + s->log_base < floor;
            total += processed(s, k, buffer[i], floor);
        }
    }
    v->fill = total / ((double)s->raw_u * (double)s->raw_v);
    return TR_OK;
}

static tr_status scan_share(tr_comm *comm, tr_series *s, int threads)
{
    size_t first, count;
    tr_partition(s->n_views, (size_t)comm->size, (size_t)comm->rank, &first, &count);
    tr_status failed = TR_OK;
    char sentence[1024] = "";
#pragma omp parallel num_threads(threads)
    {
        tr_status mine = TR_OK;
        float *buffer =
            tr_calloc("rows of the series", SCAN_ROWS * s->raw_u, sizeof *buffer);
#pragma omp for schedule(dynamic)
        for (size_t k = first; k < first + count; k++)
            if (mine == TR_OK)
                mine = buffer ? scan_view(s, k, buffer) : TR_ERR_MEMORY;
        if (mine != TR_OK) {
#pragma omp critical
            if (failed == TR_OK) {
                failed = mine;
                strncpy(sentence, tr_error(), sizeof sentence - 1);
            }
        }
        free(buffer);
    }
    return failed == TR_OK ? TR_OK : tr_fail(failed, "%s", sentence);
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
                    s->path, s->views[k] + 1, s->scan[k].mean, s->views[k] + 1);
    if (bad > 0.0)
        tr_warn("%s: %.0f pixels are NaN or infinite, the first in view %zu at column "
                "%.0f, row %.0f (from 0); each is replaced by the mean of its view",
                s->path, bad, s->views[first] + 1, s->scan[first].first_x,
                s->scan[first].first_y);
    if (clipped > 0.0)
        tr_warn("%s: %.0f pixels are too small for a logarithm and were raised to a "
                "thousandth of their view's mean; consider a larger --log BASE",
                s->path, clipped);
    return TR_OK;
}

static tr_status scan_series(tr_comm *comm, tr_series *s, int threads)
{
    TR_TRY(comm->ops->agree(comm, scan_share(comm, s, threads)));
    _Static_assert(sizeof(view_scan) % sizeof(double) == 0, "summed as doubles");
    TR_TRY(comm->ops->sum(comm, (double *)s->scan,
                          s->n_views * sizeof(view_scan) / sizeof(double)));
    return comm->ops->agree(comm, report_scan(s));
}

uint64_t tr_series_hash(const tr_series *s)
{
    uint64_t hash = 0;
    for (size_t k = 0; k < s->n_views; k++)
        hash += ((uint64_t)s->scan[k].hash + 1) * (2 * k + 1);
    return hash;
}

/* ---- binning ---- */

static tr_status write_binned(const tr_series *s, size_t k, const float *image)
{
    size_t bytes = s->n_u * s->n_v * sizeof *image;
    off_t offset = (off_t)(s->place[k] * bytes);
    for (const char *from = (const char *)image; bytes;) {
        ssize_t n = pwrite(s->binned, from, bytes, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return tr_fail(TR_ERR_DATA, "writing the binned series failed: %s",
                           strerror(errno));
        from += n, offset += n, bytes -= (size_t)n;
    }
    return TR_OK;
}

static tr_status bin_view(tr_series *s, tr_fourier_crop *crop, size_t k, float *raw,
                          float *small)
{
    TR_TRY(tr_image_read(s->image, s->views[k], 0, s->raw_v, 0, s->raw_u, raw));
    process(s, k, raw, s->raw_u * s->raw_v);
    TR_TRY(tr_fourier_crop_run(crop, raw, small));
    return write_binned(s, k, small);
}

static tr_status bin_share(tr_comm *comm, tr_series *s, const tr_series_spec *spec)
{
    size_t first, count;
    tr_partition(s->n_views, (size_t)comm->size, (size_t)comm->rank, &first, &count);
    size_t pixels = s->raw_u * s->raw_v, each = 4 * pixels * sizeof(float);
    size_t fits = spec->memory / each;
    int workers = fits < (size_t)spec->threads ? (int)fits : spec->threads;
    workers = workers > 0 ? workers : 1;
    tr_fourier_crop *crop = tr_fourier_crop_new(s->raw_u, s->raw_v, s->bin);
    if (!crop)
        return TR_ERR_MEMORY;
    tr_status failed = TR_OK;
    char sentence[1024] = "";
#pragma omp parallel num_threads(workers)
    {
        tr_status mine = TR_OK;
        float *raw = tr_calloc("a view to bin", pixels, sizeof *raw);
        float *small = tr_calloc("a binned view", s->n_u * s->n_v, sizeof *small);
#pragma omp for schedule(dynamic)
        for (size_t k = first; k < first + count; k++)
            if (mine == TR_OK)
                mine = raw && small ? bin_view(s, crop, k, raw, small) : TR_ERR_MEMORY;
        if (mine != TR_OK) {
#pragma omp critical
            if (failed == TR_OK) {
                failed = mine;
                strncpy(sentence, tr_error(), sizeof sentence - 1);
            }
        }
        free(raw);
        free(small);
    }
    tr_fourier_crop_free(crop);
    return failed == TR_OK ? TR_OK : tr_fail(failed, "%s", sentence);
}

/* Rank 0 makes the file, all open it, rank 0 removes its name: it is gone with the last
 * process however the run ends. */
static tr_status bin_series(tr_comm *comm, tr_series *s, const tr_series_spec *spec)
{
    tr_status status = TR_OK;
    if (comm->rank == 0) {
        s->binned = open(spec->scratch, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (s->binned < 0)
            status =
                tr_fail(TR_ERR_DATA, "%s cannot be created for the binned series: %s",
                        spec->scratch, strerror(errno));
    }
    TR_TRY(comm->ops->agree(comm, status));
    if (comm->rank != 0) {
        s->binned = open(spec->scratch, O_RDWR | O_CLOEXEC);
        if (s->binned < 0)
            status = tr_fail(TR_ERR_DATA, "%s cannot be opened on every machine: %s",
                             spec->scratch, strerror(errno));
    }
    status = comm->ops->agree(comm, status);
    if (comm->rank == 0)
        unlink(spec->scratch);
    TR_TRY(status);
    return comm->ops->agree(comm, bin_share(comm, s, spec));
}

/* ---- opening ---- */

static tr_status new_lists(tr_series *s, size_t n)
{
    s->n_views = n;
    s->views = tr_calloc("the list of views", n, sizeof *s->views);
    s->scan = tr_calloc("the list of views", n, sizeof *s->scan);
    s->place = tr_calloc("the list of views", n, sizeof *s->place);
    return s->views && s->scan && s->place ? TR_OK : TR_ERR_MEMORY;
}

static tr_status copy_spec(const tr_series_spec *spec, tr_series *s)
{
    const tr_views *views = spec->views;
    TR_TRY(new_lists(s, views->n));
    if (spec->transforms &&
        !(s->transforms = tr_calloc("transforms", views->n, sizeof *s->transforms)))
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < views->n; k++) {
        s->views[k] = views->view[k].section;
        s->place[k] = k;
        if (s->transforms)
            s->transforms[k] = views->view[k].transform;
    }
    return TR_OK;
}

tr_status tr_series_open(tr_comm *comm, tr_image *image, const tr_series_spec *spec,
                         tr_series **series)
{
    const tr_image_info *info = tr_image_get_info(image);
    tr_series *s = tr_calloc("the series", 1, sizeof *s);
    if (!s)
        return TR_ERR_MEMORY;
    *s = (tr_series){.image = image,
                     .path = tr_image_path(image),
                     .raw_u = info->nx,
                     .raw_v = info->ny,
                     .n_u = info->nx / spec->bin,
                     .n_v = info->ny / spec->bin,
                     .bin = spec->bin,
                     .log = spec->log,
                     .log_base = spec->log_base,
                     .invert = spec->invert,
                     .binned = -1};
    tr_status status = comm->ops->agree(comm, copy_spec(spec, s));
    if (status == TR_OK)
        status = scan_series(comm, s, spec->threads);
    if (status == TR_OK && s->bin > 1)
        status = bin_series(comm, s, spec);
    if (status != TR_OK)
        tr_series_close(s);
    else
        *series = s;
    return status;
}

static tr_status copy_part(const tr_series *whole, const size_t *part, size_t n,
                           tr_series *s)
{
    TR_TRY(new_lists(s, n));
    if (whole->transforms &&
        !(s->transforms = tr_calloc("transforms", n, sizeof *s->transforms)))
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < n; k++) {
        TR_ASSERT(part[k] < whole->n_views);
        s->views[k] = whole->views[part[k]];
        s->scan[k] = whole->scan[part[k]];
        s->place[k] = whole->place[part[k]];
        if (s->transforms)
            s->transforms[k] = whole->transforms[part[k]];
    }
    if (whole->binned < 0)
        return TR_OK;
    s->binned = fcntl(whole->binned, F_DUPFD_CLOEXEC, 0);
    return s->binned >= 0 ? TR_OK
                          : tr_fail(TR_ERR_DATA, "reading the binned series failed: %s",
                                    strerror(errno));
}

tr_status tr_series_part(const tr_series *whole, const size_t *part, size_t n,
                         tr_series **series)
{
    tr_series *s = tr_calloc("the series", 1, sizeof *s);
    if (!s)
        return TR_ERR_MEMORY;
    *s = (tr_series){.image = whole->image,
                     .path = whole->path,
                     .raw_u = whole->raw_u,
                     .raw_v = whole->raw_v,
                     .n_u = whole->n_u,
                     .n_v = whole->n_v,
                     .bin = whole->bin,
                     .log = whole->log,
                     .log_base = whole->log_base,
                     .invert = whole->invert,
                     .binned = -1};
    tr_status status = copy_part(whole, part, n, s);
    if (status == TR_OK)
        *series = s;
    else
        tr_series_close(s);
    return status;
}

void tr_series_close(tr_series *s)
{
    if (!s)
        return;
    if (s->binned >= 0)
        close(s->binned);
    free(s->views);
    free(s->place);
    free(s->scan);
    free(s->transforms);
    free(s->band);
    free(s->source);
    free(s);
}

size_t tr_series_columns(const tr_series *s) { return s->n_u; }
size_t tr_series_rows(const tr_series *s) { return s->n_v; }

/* ---- slabs ---- */

static tr_status read_binned(const tr_series *s, size_t k, const tr_window_2d *w,
                             float *out)
{
    for (size_t y = 0; y < w->ny; y++) {
        size_t at = (s->place[k] * s->n_v + w->y0 + y) * s->n_u + w->x0,
               bytes = w->nx * sizeof *out;
        char *to = (char *)(out + y * w->nx);
        for (off_t offset = (off_t)(at * sizeof *out); bytes;) {
            ssize_t n = pread(s->binned, to, bytes, offset);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return tr_fail(TR_ERR_DATA, "reading the binned series failed: %s",
                               n ? strerror(errno) : "it ends early");
            to += n, offset += n, bytes -= (size_t)n;
        }
    }
    return TR_OK;
}

/* Part of one finished view (binned, processed), without transforms. */
static tr_status read_window(const tr_series *s, size_t k, const tr_window_2d *w,
                             float *out)
{
    if (s->binned >= 0)
        return read_binned(s, k, w, out);
    TR_TRY(tr_image_read(s->image, s->views[k], w->y0, w->ny, w->x0, w->nx, out));
    process(s, k, out, w->nx * w->ny);
    return TR_OK;
}

static tr_status grow(float **buffer, size_t *size, size_t floats)
{
    if (floats <= *size)
        return TR_OK;
    free(*buffer);
    *size = 0;
    *buffer = tr_calloc("rows of the series", floats, sizeof **buffer);
    if (!*buffer)
        return TR_ERR_MEMORY;
    *size = floats;
    return TR_OK;
}

/* From (column, row) of the prepared view to the image in the file; false: they are
 * the same. */
static bool image_map(const tr_series *s, const tr_geometry *g, size_t k, double m[6])
{
    bool needed = tr_geometry_image_map(g, k, m);
    if (!s->transforms)
        return needed;
    double inverse[6];
    tr_transform_inverse(&s->transforms[k], s->n_u, s->n_v, inverse);
    tr_map_compose(inverse, m, m);
    return true;
}

/* Rows row .. row + rows - 1 of prepared view k, in s->band. */
static tr_status read_band(tr_series *s, const tr_geometry *g, size_t k, long row,
                           size_t rows)
{
    double m[6];
    if (image_map(s, g, k, m)) {
        tr_window_2d w = tr_map_window(m, s->n_u, s->n_v, row, rows);
        TR_TRY(grow(&s->source, &s->source_size, w.nx * w.ny));
        TR_TRY(read_window(s, k, &w, s->source));
        float fill = (float)s->scan[k].fill;
        tr_warp_rows(m, s->source, &w, s->n_u, s->n_v, s->transforms ? &fill : NULL, row,
                     rows, s->band);
        return TR_OK;
    }
    long n_v = (long)s->n_v, first = row < 0 ? 0 : row, end = row + (long)rows;
    first = first >= n_v ? n_v - 1 : first;
    end = end > n_v ? n_v : end;
    end = end <= first ? first + 1 : end;
    /* Where the rows that exist go; if none does, the edge row goes to the start. */
    size_t at = first > row && first < row + (long)rows ? (size_t)(first - row) : 0;
    tr_window_2d w = {
        .x0 = 0, .nx = s->n_u, .y0 = (size_t)first, .ny = (size_t)(end - first)};
    TR_TRY(read_window(s, k, &w, s->band + at * s->n_u));
    size_t line = s->n_u * sizeof *s->band;
    for (size_t r = 0; r < at; r++)
        memcpy(s->band + r * s->n_u, s->band + at * s->n_u, line);
    for (size_t r = at + w.ny; r < rows; r++)
        memcpy(s->band + r * s->n_u, s->band + (at + w.ny - 1) * s->n_u, line);
    return TR_OK;
}

/* band[row][column] to lines[column][lane], in squares that stay in the cache. */
static void store_lanes(const float *band, size_t n_u, size_t rows, size_t lanes,
                        float *lines)
{
    enum { SQUARE = 16 };
    for (size_t u0 = 0; u0 < n_u; u0 += SQUARE) {
        size_t u1 = u0 + SQUARE < n_u ? u0 + SQUARE : n_u;
        for (size_t r = 0; r < rows; r++)
            for (size_t u = u0; u < u1; u++)
                lines[u * lanes + r] = band[r * n_u + u];
        for (size_t u = u0; u < u1; u++)
            memset(lines + u * lanes + rows, 0, (lanes - rows) * sizeof *lines);
    }
}

tr_status tr_series_read(tr_series *s, const tr_geometry *g, long row, size_t rows,
                         size_t lanes, float *slab)
{
    TR_ASSERT(rows <= lanes && g->n_views == s->n_views);
    TR_TRY(grow(&s->band, &s->band_size, rows * s->n_u));
    for (size_t k = 0; k < s->n_views; k++) {
        float *view = slab + k * (s->n_u + TR_GUARDS) * lanes;
        TR_TRY(read_band(s, g, k, row, rows));
        memset(view, 0, lanes * sizeof *view);
        store_lanes(s->band, s->n_u, rows, lanes, view + lanes);
        memset(view + (s->n_u + 1) * lanes, 0, 2 * lanes * sizeof *view);
    }
    return TR_OK;
}

size_t tr_series_read_bytes(const tr_series *s, size_t rows)
{
    size_t band = rows * s->n_u * sizeof(float);
    /* A rotated band crosses the whole image. */
    return band + (s->transforms ? s->n_u * s->n_v * sizeof(float) : 2 * band);
}
