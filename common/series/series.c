#include "common/series/series.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/series/series_private.h"
#include "kernels/samples.h"

/* ---- opening ---- */

/* The local shifts of the views, in the prepared images. */
static tr_status make_displacements(tr_series *s)
{
    double factor = (double)tr_view_steps_factor(&s->steps);
    bool any = false;
    for (size_t k = 0; k < s->n_views; k++)
        any = any || s->views.view[k].n_local > 0;
    if (!any)
        return TR_OK;
    s->displacement =
        tr_calloc("views' displacements", s->n_views, sizeof *s->displacement);
    if (!s->displacement)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < s->n_views; k++) {
        const tr_view *view = &s->views.view[k];
        TR_TRY((view->local_columns
                    ? tr_displacement_of_grid(view->local, view->n_local,
                                              view->local_columns, s->own_u, s->own_v,
                                              factor, &s->displacement[k])
                    : tr_displacement_new(view->local, view->n_local, s->own_u, s->own_v,
                                          factor, &s->displacement[k])));
    }
    return TR_OK;
}

static tr_status new_lists(tr_series *s, size_t n)
{
    s->n_views = n;
    s->scan = tr_calloc("the list of views", n, sizeof *s->scan);
    s->levels = tr_calloc("the list of views", n, sizeof *s->levels);
    s->place = tr_calloc("the list of views", n, sizeof *s->place);
    return s->scan && s->levels && s->place ? TR_OK : TR_ERR_MEMORY;
}

static tr_status copy_spec(const tr_series_spec *spec, tr_series *s)
{
    TR_TRY(new_lists(s, spec->views->n));
    TR_TRY(tr_views_copy(spec->views, &s->views));
    if (spec->bands) {
        s->bands = tr_calloc("the bands of views", s->n_views, sizeof *s->bands);
        if (!s->bands)
            return TR_ERR_MEMORY;
        memcpy(s->bands, spec->bands, s->n_views * sizeof *s->bands);
    }
    for (size_t k = 0, place = 0; k < s->n_views; place += tr_series_images_of(s, k++))
        s->place[k] = place;
    return make_displacements(s);
}

static tr_status look_at_spectra(tr_comm *comm, tr_series *s, const tr_series_spec *spec)
{
    bool filtered = spec->steps.ctf && spec->steps.ctf_mode == TR_CTF_WIENER;
    if (!filtered && !spec->steps.model)
        return TR_OK;
    if (!spec->whole)
        return tr_series_look(comm, s, spec);
    s->wiener = spec->whole->wiener;
    s->wiener_is_lent = true;
    return TR_OK;
}

unsigned long long tr_series_wiener_hash(const tr_series *s)
{
    return s->wiener ? tr_wiener_hash(s->wiener, s->n_views) : 0;
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
                     .transforms = spec->transforms,
                     .pixel = spec->pixel,
                     .stripes = spec->stripes,
                     .threads = spec->threads,
                     .per_depth = spec->per_depth,
                     .steps = {.list = tr_view_step_list(), .params = spec->steps},
                     .prepared = -1};
    tr_image_stamp(image, &s->stamp);
    s->own_u = s->raw_u / tr_view_steps_factor(&s->steps);
    s->own_v = s->raw_v / tr_view_steps_factor(&s->steps);
    s->n_u = spec->transforms ? spec->n_u : s->own_u;
    s->n_v = spec->transforms ? spec->n_v : s->own_v;
    tr_status status = comm->ops->agree(comm, copy_spec(spec, s));
    if (status == TR_OK)
        status = tr_series_scan(comm, s, spec);
    if (status == TR_OK)
        status = look_at_spectra(comm, s, spec);
    if (status == TR_OK && tr_view_steps_whole(&s->steps))
        status = tr_series_prepare(comm, s, spec);
    if (status != TR_OK)
        tr_series_close(s);
    else
        *series = s;
    return status;
}

double tr_series_mean(const tr_series *series, size_t k) { return series->scan[k].mean; }

double tr_series_pixel(const tr_series *s) { return s->pixel; }
const tr_wiener *tr_series_wiener(const tr_series *s) { return s->wiener; }

static tr_status copy_part(const tr_series *whole, const size_t *part, size_t n,
                           tr_series *s)
{
    TR_TRY(new_lists(s, n));
    TR_TRY(tr_content_new(n, whole->content.n_rows, &s->content));
    TR_TRY(tr_views_select(&whole->views, part, n, &s->views));
    TR_TRY(tr_hot_select(&whole->hot, part, n, &s->hot));
    if (whole->bands) {
        s->bands = tr_calloc("the bands of views", n, sizeof *s->bands);
        if (!s->bands)
            return TR_ERR_MEMORY;
    }
    for (size_t k = 0; k < n; k++) {
        TR_ASSERT(part[k] < whole->n_views);
        s->scan[k] = whole->scan[part[k]];
        s->levels[k] = whole->levels[part[k]];
        s->place[k] = whole->place[part[k]];
        if (s->bands)
            s->bands[k] = whole->bands[part[k]];
        memcpy(s->content.hash + k * s->content.n_rows,
               whole->content.hash + part[k] * s->content.n_rows,
               s->content.n_rows * sizeof *s->content.hash);
    }
    TR_TRY(make_displacements(s));
    if (whole->prepared < 0)
        return TR_OK;
    s->prepared = fcntl(whole->prepared, F_DUPFD_CLOEXEC, 0);
    return s->prepared >= 0
               ? TR_OK
               : tr_fail(TR_ERR_DATA, "reading the prepared series failed: %s",
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
                     .stamp = whole->stamp,
                     .raw_u = whole->raw_u,
                     .raw_v = whole->raw_v,
                     .own_u = whole->own_u,
                     .own_v = whole->own_v,
                     .n_u = whole->n_u,
                     .n_v = whole->n_v,
                     .transforms = whole->transforms,
                     .pixel = whole->pixel,
                     .stripes = whole->stripes,
                     .threads = whole->threads,
                     .per_depth = whole->per_depth,
                     .steps = whole->steps,
                     .prepared = -1};
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
    if (s->prepared >= 0)
        close(s->prepared);
    for (size_t k = 0; k < s->n_views && s->displacement; k++)
        tr_displacement_free(&s->displacement[k]);
    free(s->displacement);
    tr_views_free(&s->views);
    if (!s->wiener_is_lent)
        tr_wiener_free(s->wiener);
    free(s->place);
    free(s->bands);
    free(s->scan);
    free(s->levels);
    tr_hot_pixels_free(&s->hot);
    free(s->band);
    free(s->source);
    free(s->whole);
    tr_content_free(&s->content);
    free(s);
}

/* ---- slabs ---- */

/* Image `image` of view k, of those that it is. */
static tr_status read_prepared(const tr_series *s, size_t k, size_t image,
                               const tr_window_2d *w, float *out)
{
    for (size_t y = 0; y < w->ny; y++) {
        size_t at = ((s->place[k] + image) * s->own_v + w->y0 + y) * s->own_u + w->x0,
               bytes = w->nx * sizeof *out;
        char *to = (char *)(out + y * w->nx);
        for (off_t offset = (off_t)(at * sizeof *out); bytes;) {
            ssize_t n = pread(s->prepared, to, bytes, offset);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return tr_fail(TR_ERR_DATA, "reading the prepared series failed: %s",
                               n ? strerror(errno) : "it ends early");
            to += n, offset += n, bytes -= (size_t)n;
        }
    }
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

/* A window that is not much narrower than the image is cut from whole rows, which can be
 * compared with what they were; the time of the last write tells of others. */
static tr_status read_part(tr_series *s, size_t k, const tr_window_2d *w, float *out)
{
    enum { AT_ONCE = 64 };
    size_t section = s->views.view[k].section;
    if (w->nx < s->raw_u / 4) {
        tr_file_stamp now;
        TR_TRY(tr_image_read(s->image, section, w->y0, w->ny, w->x0, w->nx, out));
        tr_image_stamp(s->image, &now);
        return tr_file_stamp_same(&now, &s->stamp)
                   ? TR_OK
                   : tr_content_changed(s->path, section, w->y0);
    }
    TR_TRY(grow(&s->whole, &s->whole_size, AT_ONCE * s->raw_u));
    for (size_t y = 0; y < w->ny; y += AT_ONCE) {
        size_t n = w->ny - y < AT_ONCE ? w->ny - y : AT_ONCE;
        TR_TRY(
            tr_content_read(&s->content, k, s->image, section, w->y0 + y, n, s->whole));
        for (size_t r = 0; r < n; r++)
            memcpy(out + (y + r) * w->nx, s->whole + r * s->raw_u + w->x0,
                   w->nx * sizeof *out);
    }
    return TR_OK;
}

/* Values that nobody looked at, in rows that are read only because their neighbours are:
 * what they are does not matter, if they are numbers. */
static void clear_unknown(const tr_series *s, size_t k, const tr_window_2d *w, float *out)
{
    for (size_t r = 0; r < w->ny; r++)
        for (size_t x = 0; x < w->nx && !tr_content_knows(&s->content, k, w->y0 + r); x++)
            if (!isfinite(out[r * w->nx + x]))
                out[r * w->nx + x] = 0.0f;
}

/* Part of one prepared view, before the step that delivers rows. */
static tr_status read_window(tr_series *s, size_t k, size_t image, const tr_window_2d *w,
                             float *out)
{
    if (s->prepared >= 0)
        return read_prepared(s, k, image, w, out);
    if (w->nx == s->raw_u)
        TR_TRY(tr_content_read(&s->content, k, s->image, s->views.view[k].section, w->y0,
                               w->ny, out));
    else
        TR_TRY(read_part(s, k, w, out));
    clear_unknown(s, k, w, out);
    const tr_view_facts facts = tr_series_facts(s, k);
    tr_view_steps_pixels(&s->steps, &facts, w, out);
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
    tr_transform_inverse(&s->views.view[k].transform, s->n_u, s->n_v, s->own_u, s->own_v,
                         inverse);
    tr_map_compose(inverse, m, m);
    return true;
}

/* Rows of the prepared view as they are, the edge's beyond it. */
static tr_status read_own_rows(tr_series *s, size_t k, size_t image, long row,
                               size_t rows)
{
    long n_v = (long)s->n_v, first = row < 0 ? 0 : row, end = row + (long)rows;
    first = first >= n_v ? n_v - 1 : first;
    end = end > n_v ? n_v : end;
    end = end <= first ? first + 1 : end;
    /* Where the rows that exist go; if none does, the edge row goes to the start. */
    size_t at = first > row && first < row + (long)rows ? (size_t)(first - row) : 0;
    tr_window_2d w = {
        .x0 = 0, .nx = s->n_u, .y0 = (size_t)first, .ny = (size_t)(end - first)};
    TR_TRY(read_window(s, k, image, &w, s->band + at * s->n_u));
    size_t line = s->n_u * sizeof *s->band;
    for (size_t r = 0; r < at; r++)
        memcpy(s->band + r * s->n_u, s->band + at * s->n_u, line);
    for (size_t r = at + w.ny; r < rows; r++)
        memcpy(s->band + r * s->n_u, s->band + (at + w.ny - 1) * s->n_u, line);
    return TR_OK;
}

/* Rows row .. row + rows - 1 of an image of view k, in s->band. */
static tr_status read_band(tr_series *s, const tr_geometry *g, size_t k, size_t image,
                           long row, size_t rows)
{
    double m[6];
    tr_view_facts facts = tr_series_facts(s, k);
    if (s->displacement && s->displacement[k].node)
        facts.displacement = &s->displacement[k];
    facts.map = image_map(s, g, k, m) || facts.displacement ? m : NULL;
    facts.columns = s->n_u;
    facts.fill = s->transforms ? &s->levels[k].fill : NULL;
    const tr_view_step *step = tr_view_steps_rows(&s->steps, &facts);
    if (step) {
        tr_window_2d w = step->window(&facts, s->own_u, s->own_v, row, rows);
        TR_TRY(grow(&s->source, &s->source_size, w.nx * w.ny));
        TR_TRY(read_window(s, k, image, &w, s->source));
        step->rows(&facts, s->source, &w, s->own_u, s->own_v, row, rows, s->band);
        return TR_OK;
    }
    return read_own_rows(s, k, image, row, rows);
}

/* Rows on their way to lanes. */
typedef struct row_lanes {
    long row;
    size_t rows, lanes;
} row_lanes;

/* band[row][column] to lines[column][lane]. */
static void store_lanes(const float *band, size_t n_u, size_t rows, size_t lanes,
                        float *lines)
{
    tr_samples_best()->transpose(band, n_u, n_u, rows, lines, lanes);
    for (size_t u = 0; u < n_u && rows < lanes; u++)
        memset(lines + u * lanes + rows, 0, (lanes - rows) * sizeof *lines);
}

/* Images [first, end) of view k. */
static tr_status read_images(tr_series *s, const tr_geometry *g, size_t k, size_t first,
                             size_t end, const row_lanes *l, float *to)
{
    for (size_t i = first; i < end; i++) {
        TR_TRY(read_band(s, g, k, i, l->row, l->rows));
        memset(to, 0, l->lanes * sizeof *to);
        store_lanes(s->band, s->n_u, l->rows, l->lanes, to + l->lanes);
        memset(to + (s->n_u + 1) * l->lanes, 0, 2 * l->lanes * sizeof *to);
        to += (s->n_u + TR_GUARDS) * l->lanes;
    }
    return TR_OK;
}

static tr_status read_all(tr_series *s, const tr_geometry *g, bool images,
                          const row_lanes *l, float *slab)
{
    float *to = slab;
    TR_ASSERT(l->rows <= l->lanes && g->n_views == s->n_views);
    TR_TRY(grow(&s->band, &s->band_size, l->rows * s->n_u));
    for (size_t k = 0; k < s->n_views; k++) {
        size_t n = tr_series_images_of(s, k), first = images ? 0 : n / 2;
        size_t end = images ? n : first + 1;
        TR_TRY(read_images(s, g, k, first, end, l, to));
        to += (end - first) * (s->n_u + TR_GUARDS) * l->lanes;
    }
    return tr_stripes_remove_rows(&s->stripes, images ? tr_series_images(s) : s->n_views,
                                  s->n_u, l->rows, l->lanes, s->threads, slab);
}

tr_status tr_series_read(tr_series *s, const tr_geometry *g, long row, size_t rows,
                         size_t lanes, float *slab)
{
    return read_all(s, g, false, &(row_lanes){row, rows, lanes}, slab);
}

tr_status tr_series_read_images(tr_series *s, const tr_geometry *g, long row, size_t rows,
                                size_t lanes, float *slab)
{
    return read_all(s, g, true, &(row_lanes){row, rows, lanes}, slab);
}

const tr_depth_bands *tr_series_bands(const tr_series *s) { return s->bands; }

size_t tr_series_images(const tr_series *s)
{
    size_t n = 0;
    for (size_t k = 0; k < s->n_views; k++)
        n += tr_series_images_of(s, k);
    return n;
}

size_t tr_series_read_bytes(const tr_series *s, size_t rows)
{
    size_t band = rows * s->n_u * sizeof(float);
    /* A rotated band crosses the whole image. */
    size_t stripes =
        tr_stripes_wanted(&s->stripes)
            ? (size_t)s->threads * (s->n_views * s->n_u * sizeof(float) +
                                    tr_stripes_bytes(&s->stripes, s->n_views, s->n_u))
            : 0;
    bool all = s->transforms || s->displacement;
    size_t fields = s->displacement ? s->n_views : 0;
    return stripes + band + fields * tr_displacement_bytes(s->own_u, s->own_v) +
           (all ? s->own_u * s->own_v * sizeof(float) : 2 * band) +
           2 * tr_image_get_info(s->image)->chunk_bytes + tr_content_bytes(&s->content);
}
