/* Warp's files of a tilt series: the .xml of its settings, and the .tomostar, a STAR file
 * that lists the views before it aligns them. Of each view there are
 *   Angles, AxisAngle (degrees), AxisOffsetX, AxisOffsetY (angstroms), UseTilt (True or
 *   False), lists with a line a view; _wrpAngleTilt, _wrpAxisAngle and so on in the
 * other; <GridMovementX>, <GridMovementY>: Width x Height x Depth <Node X= Y= Z= Value=>,
 *   angstroms, over the image and the views.
 * With angle' = angle + LevelAngleY, a point is in the raw image at
 *   R(AxisAngle) (x cos angle' - z sin angle', y) + (AxisOffsetX, AxisOffsetY) -
 * movement, all from centres that are at n/2 pixels (TiltSeries.GetPositionInAllTilts).
 * The movement is that where the point would be without it. Warp's z is the other way
 * round than that of IMOD's slices, which are made here, so that angles have the other
 * sign. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "formats/alignment.h"
#include "formats/dose_file.h"
#include "formats/star_table.h"
#include "formats/warp_xml.h"

enum { MOST_TILTS = TR_WARP_MOST_TILTS, MOST_NODES = 1 << 20 };
enum { ANGLE, AXIS, OFFSET_X, OFFSET_Y, N_LISTS };
static const char *const list_names[N_LISTS] = {"Angles", "AxisAngle", "AxisOffsetX",
                                                "AxisOffsetY"};

/* Nodes [z][y][x] from `margin` to 1 - margin; none: 0 everywhere. */
typedef struct grid {
    size_t n[3];
    double margin[3];
    double *value; /* NaN: not there yet */
} grid;

typedef struct warp_series {
    size_t line; /* of the angles */
    size_t n[N_LISTS];
    double list[N_LISTS][MOST_TILTS];
    size_t n_use;
    bool use[MOST_TILTS];
    double level_x, level_y;
    grid movement[2];
    bool volume_warp;
} warp_series;

/* ---- the XML ---- */

static tr_status begin_grid(const tr_text *text, const tr_xml_tag *t, grid *g)
{
    static const char *const sizes[] = {"Width", "Height", "Depth"};
    static const char *const margins[] = {"MarginX", "MarginY", "MarginZ"};
    char word[64];
    double n = 1.0;
    for (int i = 0; i < 3; i++) {
        double size;
        TR_TRY(tr_xml_number(text, t, sizes[i], &size));
        if (!(size >= 1.0 && size == floor(size) && (n *= size) <= MOST_NODES))
            return tr_fail(TR_ERR_DATA,
                           "%s, line %zu: %s=\"%g\" is not the size of a grid",
                           text->path, text->line, sizes[i], size);
        g->n[i] = (size_t)size;
        g->margin[i] = 0.0;
        if (tr_xml_attribute(t, margins[i], word, sizeof word))
            TR_TRY(tr_xml_number(text, t, margins[i], &g->margin[i]));
        if (!(g->margin[i] >= 0.0 && g->margin[i] < 0.5))
            return tr_fail(TR_ERR_DATA,
                           "%s, line %zu: %s=\"%g\" is not a margin (0 to 0.5)",
                           text->path, text->line, margins[i], g->margin[i]);
    }
    free(g->value);
    g->value = tr_calloc("a grid of Warp", (size_t)n, sizeof *g->value);
    if (!g->value)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < (size_t)n; k++)
        g->value[k] = NAN;
    return TR_OK;
}

static tr_status read_node(const tr_text *text, const tr_xml_tag *t, grid *g)
{
    static const char *const names[] = {"X", "Y", "Z"};
    size_t at = 0, step = 1;
    double value;
    for (int i = 0; i < 3; i++) {
        double place;
        TR_TRY(tr_xml_number(text, t, names[i], &place));
        if (!(place >= 0.0 && place < (double)g->n[i] && place == floor(place)))
            return tr_fail(TR_ERR_DATA,
                           "%s, line %zu: %s=\"%g\" is not the place of a node in a grid "
                           "of %zu",
                           text->path, text->line, names[i], place, g->n[i]);
        at += step * (size_t)place;
        step *= g->n[i];
    }
    TR_TRY(tr_xml_number(text, t, "Value", &value));
    if (!(fabs(value) <= 1e6))
        return tr_fail(TR_ERR_DATA, "%s, line %zu: %g angstroms are not a movement",
                       text->path, text->line, value);
    g->value[at] = value;
    return TR_OK;
}

static tr_status end_grid(const tr_text *text, const grid *g)
{
    size_t n = g->n[0] * g->n[1] * g->n[2], found = 0;
    for (size_t k = 0; g->value && k < n; k++)
        found += !isnan(g->value[k]);
    if (!g->value || found == n)
        return TR_OK;
    return tr_fail(TR_ERR_DATA,
                   "%s, line %zu: a grid of movements has values at %zu of its %zu nodes",
                   text->path, text->line, found, n);
}

/* A line a view. */
static tr_status read_use(const tr_text *text, const char *at, warp_series *w)
{
    static const char spaces[] = " \t\r\n\v\f";
    for (at += strspn(at, spaces); *at && *at != '<'; at += strspn(at, spaces)) {
        size_t length = strcspn(at, " \t\r\n\v\f<");
        bool yes = length == 4 && strncasecmp(at, "true", 4) == 0;
        bool no = length == 5 && strncasecmp(at, "false", 5) == 0;
        if (w->n_use == MOST_TILTS)
            return tr_fail(TR_ERR_DATA, "%s has more than %d tilts", text->path,
                           (int)MOST_TILTS);
        if (!yes && !no)
            return tr_fail(TR_ERR_DATA,
                           "%s, line %zu: UseTilt has \"%.*s\", not True or False",
                           text->path, text->line, (int)(length < 40 ? length : 40), at);
        w->use[w->n_use++] = yes;
        at += length;
    }
    return TR_OK;
}

static tr_status read_levels(const tr_text *text, const tr_xml_tag *t, warp_series *w)
{
    static const char *const names[] = {"LevelAngleX", "LevelAngleY"};
    double *const values[] = {&w->level_x, &w->level_y};
    char word[64];
    for (int i = 0; i < 2; i++)
        if (tr_xml_attribute(t, names[i], word, sizeof word))
            TR_TRY(tr_xml_number(text, t, names[i], values[i]));
    return TR_OK;
}

static tr_status read_list(const tr_text *text, const tr_xml_tag *t, const char *at,
                           warp_series *w)
{
    for (int i = 0; i < N_LISTS; i++)
        if (tr_xml_is(t, list_names[i])) {
            w->line = i == ANGLE ? text->line : w->line;
            return tr_xml_numbers(text, at, MOST_TILTS, w->list[i], &w->n[i]);
        }
    return tr_xml_is(t, "UseTilt") ? read_use(text, at, w) : TR_OK;
}

/* Whether it is a grid that moves the specimen, and has a node that is not 0. */
static bool is_volume_grid(const tr_xml_tag *t)
{
    return tr_xml_is(t, "GridVolumeWarpX") || tr_xml_is(t, "GridVolumeWarpY") ||
           tr_xml_is(t, "GridVolumeWarpZ");
}

static tr_status scan(tr_text *text, warp_series *w)
{
    static const char *const names[] = {"GridMovementX", "GridMovementY"};
    const char *at = text->next;
    grid *inside = NULL;
    bool in_volume = false;
    tr_xml_tag t;
    for (text->line = 1; tr_xml_next(&at, &text->line, &t);) {
        bool opens = !t.closing && !t.empty;
        if (is_volume_grid(&t))
            in_volume = opens;
        for (int i = 0; i < 2; i++)
            if (tr_xml_is(&t, names[i])) {
                if (inside)
                    TR_TRY(end_grid(text, inside));
                inside = opens ? &w->movement[i] : NULL;
                if (opens)
                    TR_TRY(begin_grid(text, &t, inside));
            }
        if (tr_xml_is(&t, "TiltSeries") && !t.closing)
            TR_TRY(read_levels(text, &t, w));
        else if (tr_xml_is(&t, "Node") && inside && !t.closing)
            TR_TRY(read_node(text, &t, inside));
        else if (tr_xml_is(&t, "Node") && in_volume && !t.closing) {
            double value;
            TR_TRY(tr_xml_number(text, &t, "Value", &value));
            w->volume_warp = w->volume_warp || value != 0.0;
        } else if (opens)
            TR_TRY(read_list(text, &t, at + 1, w));
    }
    if (strchr(at, '<') || inside)
        return tr_fail(TR_ERR_DATA, "%s, line %zu: a tag that does not end", text->path,
                       text->line);
    return TR_OK;
}

/* ---- natural cubic splines ---- */

/* At u, from 0 to n - 1, through the n values that are `step` apart; room for 2 n. */
static double spline(const double *value, size_t n, size_t step, double u, double *room)
{
    double *second = room, *factor = room + n;
    if (n == 1)
        return value[0];
    second[0] = factor[0] = 0.0;
    for (size_t k = 1; k + 1 < n; k++) { /* s[k-1] + 4 s[k] + s[k+1] = 6 v'' */
        double right =
            6.0 * (value[(k - 1) * step] - 2.0 * value[k * step] + value[(k + 1) * step]);
        factor[k] = 1.0 / (4.0 - factor[k - 1]);
        second[k] = (right - second[k - 1]) * factor[k];
    }
    second[n - 1] = 0.0;
    for (size_t k = n - 1; k-- > 1;)
        second[k] -= factor[k] * second[k + 1];
    u = fmin(fmax(u, 0.0), (double)n - 1.0);
    size_t k = (size_t)u < n - 2 ? (size_t)u : n - 2;
    double b = u - (double)k, a = 1.0 - b;
    return a * value[k * step] + b * value[(k + 1) * step] +
           ((a * a * a - a) * second[k] + (b * b * b - b) * second[k + 1]) / 6.0;
}

/* Of a position from 0 to 1, in nodes. */
static double in_nodes(const grid *g, int axis, double at)
{
    double margin = g->margin[axis];
    return (at - margin) / (1.0 - 2.0 * margin) * ((double)g->n[axis] - 1.0);
}

/* The grid at z for the pixels' places that are SAMPLES along each axis: out[y][x]. */
enum { SAMPLES = 65 };

/* From the first pixel's centre, 0, to the last one's, as a part of n pixels. */
static double place(size_t k, size_t n)
{
    return (double)k / (SAMPLES - 1.0) * ((double)n - 1.0) / (double)n;
}

/* plane and rows have room for the grid's plane and for SAMPLES rows of its height. */
static void sample(const grid *g, const tr_aligned_series *series, double z, double *work,
                   double (*out)[SAMPLES])
{
    size_t nx = g->n[0], ny = g->n[1];
    double *plane = work, *columns = plane + nx * ny, *room = columns + ny;
    for (size_t k = 0; k < nx * ny; k++)
        plane[k] = spline(g->value + k, g->n[2], nx * ny, in_nodes(g, 2, z), room);
    for (size_t i = 0; i < SAMPLES; i++) {
        double x = in_nodes(g, 0, place(i, series->nx));
        for (size_t y = 0; y < ny; y++)
            columns[y] = spline(plane + y * nx, nx, 1, x, room);
        for (size_t j = 0; j < SAMPLES; j++)
            out[j][i] =
                spline(columns, ny, 1, in_nodes(g, 1, place(j, series->ny)), room);
    }
}

static bool moves(const grid *g)
{
    for (size_t k = 0; g->value && k < g->n[0] * g->n[1] * g->n[2]; k++)
        if (g->value[k] != 0.0)
            return true;
    return false;
}

static size_t work_size(const grid *g)
{
    size_t longest = g->n[0] > g->n[1] ? g->n[0] : g->n[1];
    longest = g->n[2] > longest ? g->n[2] : longest;
    return g->n[0] * g->n[1] + g->n[1] + 2 * longest;
}

/* The local shifts of a view: the movement with the other sign. */
static void add_movement(const double (*by)[SAMPLES][SAMPLES], size_t view,
                         const tr_aligned_series *series, tr_alignment *a)
{
    for (size_t j = 0; j < SAMPLES; j++)
        for (size_t i = 0; i < SAMPLES; i++) {
            double x = (double)i / (SAMPLES - 1.0) - 0.5,
                   y = (double)j / (SAMPLES - 1.0) - 0.5;
            a->local[a->n_local++] = (tr_local_shift){
                view, x * ((double)series->nx - 1.0), y * ((double)series->ny - 1.0),
                -by[0][j][i] / series->pixel, -by[1][j][i] / series->pixel};
        }
}

/* tilt_of[k]: the tilt in the file of view k. */
static tr_status keep_movement(const warp_series *w, const size_t *tilt_of,
                               const tr_aligned_series *series, tr_alignment *a)
{
    size_t work = 0;
    for (int i = 0; i < 2; i++)
        if (moves(&w->movement[i]) && work_size(&w->movement[i]) > work)
            work = work_size(&w->movement[i]);
    if (work == 0)
        return TR_OK;
    a->local_columns = SAMPLES;
    a->local = tr_calloc("local shifts", a->n_used * SAMPLES * SAMPLES, sizeof *a->local);
    double *room = tr_calloc("local shifts", work, sizeof *room);
    double(*by)[SAMPLES][SAMPLES] = tr_calloc("local shifts", 2, sizeof *by);
    for (size_t k = 0; k < series->nz && a->local && room && by; k++) {
        size_t tilt = tilt_of[k];
        double last = w->n[ANGLE] > 1 ? (double)w->n[ANGLE] - 1.0 : 1.0;
        if (!a->used[k])
            continue;
        for (int i = 0; i < 2; i++)
            if (moves(&w->movement[i]))
                sample(&w->movement[i], series, (double)tilt / last, room, by[i]);
        add_movement((const double(*)[SAMPLES][SAMPLES])by, k, series, a);
    }
    bool made = a->local && room && by;
    free(room);
    free(by);
    return made ? TR_OK : TR_ERR_MEMORY;
}

/* ---- views ---- */

/* The stack has all tilts of the file, or only those that are used. */
static tr_status find_tilts(const char *path, const warp_series *w,
                            const tr_aligned_series *series, size_t *tilt_of)
{
    size_t n = w->n[ANGLE], used = 0;
    if (n == 0)
        return tr_fail(TR_ERR_DATA, "%s has no tilt angles", path);
    for (int i = 1; i < N_LISTS; i++)
        if (w->n[i] && w->n[i] != n)
            return tr_fail(TR_ERR_DATA, "%s has %zu tilts in Angles, but %zu in %s", path,
                           n, w->n[i], list_names[i]);
    if (w->n_use && w->n_use != n)
        return tr_fail(TR_ERR_DATA, "%s has %zu tilts in Angles, but %zu in UseTilt",
                       path, n, w->n_use);
    for (size_t k = 0; k < n; k++) {
        bool use = !w->n_use || w->use[k];
        if (series->nz == n)
            tilt_of[k] = k;
        else if (use && used < series->nz)
            tilt_of[used] = k;
        used += use;
    }
    if (used == 0)
        return tr_fail(TR_ERR_DATA, "%s uses none of its %zu tilts", path, n);
    if (series->nz != n && series->nz != used)
        return tr_fail(TR_ERR_DATA,
                       "%s has %zu tilts, of which %zu are used, but %s has %zu views",
                       path, n, used, series->path, series->nz);
    return TR_OK;
}

static tr_status keep_views(const char *path, const warp_series *w, const size_t *tilt_of,
                            const tr_aligned_series *series, tr_alignment *a)
{
    bool aligned = w->n[AXIS] > 0;
    double pixel = series->pixel;
    if (aligned && !(pixel > 0.0))
        return tr_fail(TR_ERR_DATA,
                       "%s has shifts in angstroms, but neither it nor %s gives a pixel "
                       "size; give the one of the series with --pixel",
                       path, series->path);
    TR_TRY(tr_alignment_new(series->nz,
                            TR_GIVES_ANGLES | (aligned ? TR_GIVES_TRANSFORMS : 0), a));
    a->level_x = w->level_x;
    a->volume_warp = w->volume_warp;
    a->scale = 1.0;
    for (size_t k = 0; k < series->nz; k++) {
        size_t t = tilt_of[k];
        if (w->n_use && !w->use[t])
            continue;
        tr_alignment_row row = {.line = w->line + t,
                                .tilt = -(w->list[ANGLE][t] + w->level_y),
                                .prior_exposure = NAN,
                                .ctf = TR_NO_CTF};
        if (aligned) { /* the centre is n/2 there, (n - 1)/2 here */
            row.rotation = w->list[AXIS][t];
            row.shift_x = w->list[OFFSET_X][t] / pixel + 0.5;
            row.shift_y = w->list[OFFSET_Y][t] / pixel + 0.5;
        }
        row.tilt = row.tilt == 0.0 ? 0.0 : row.tilt;
        TR_TRY(tr_alignment_set(path, k, &row, a));
    }
    return aligned ? keep_movement(w, tilt_of, series, a) : TR_OK;
}

static tr_status keep(const char *path, const warp_series *w,
                      const tr_aligned_series *series, tr_alignment *a)
{
    size_t *tilt_of = tr_calloc("the list of views", series->nz, sizeof *tilt_of);
    if (!tilt_of)
        return TR_ERR_MEMORY;
    tr_status status =
        w->n[ANGLE] > series->nz || w->n[ANGLE] == series->nz
            ? find_tilts(path, w, series, tilt_of)
            : tr_fail(TR_ERR_DATA, "%s has %zu tilts, but %s has %zu views", path,
                      w->n[ANGLE], series->path, series->nz);
    if (status == TR_OK)
        status = keep_views(path, w, tilt_of, series, a);
    free(tilt_of);
    return status;
}

bool tr_warp_xml_probe(const char *path, bool alone)
{
    (void)alone;
    return tr_warp_probe(path);
}

tr_status tr_warp_xml_read(const char *path, const tr_aligned_series *series,
                           tr_alignment *alignment)
{
    tr_text text;
    TR_TRY(tr_text_read(path, &text));
    warp_series *w = tr_calloc("a file of Warp", 1, sizeof *w);
    tr_status status = w ? scan(&text, w) : TR_ERR_MEMORY;
    if (status == TR_OK)
        status = keep(path, w, series, alignment);
    for (int i = 0; w && i < 2; i++)
        free(w->movement[i].value);
    free(w);
    tr_text_free(&text);
    return status;
}

/* ---- .tomostar ---- */

bool tr_tomostar_views_probe(const char *path, bool alone)
{
    (void)alone;
    return tr_tomostar_probe(path);
}

static tr_status take_rows(const tr_star_reader *r, const tr_star_table *t,
                           warp_series *w)
{
    static const char *const labels[N_LISTS] = {"_wrpAngleTilt", "_wrpAxisAngle",
                                                "_wrpAxisOffsetX", "_wrpAxisOffsetY"};
    TR_TRY(tr_star_check_rows(r, t));
    if (t->n_rows > MOST_TILTS)
        return tr_fail(TR_ERR_DATA, "%s has more than %d tilts", r->text.path,
                       (int)MOST_TILTS);
    w->line = t->lines[0];
    for (int i = 0; i < N_LISTS; i++) {
        int column = tr_star_column(t, labels[i]);
        w->n[i] = column >= 0 ? t->n_rows : 0;
        for (size_t k = 0; column >= 0 && k < t->n_rows; k++)
            TR_TRY(tr_star_number(r, t, k, column, &w->list[i][k]));
    }
    return TR_OK;
}

tr_status tr_tomostar_views_read(const char *path, const tr_aligned_series *series,
                                 tr_alignment *alignment)
{
    tr_star_reader reader = {.block = ""};
    tr_star_table t = {0};
    TR_TRY(tr_text_read(path, &reader.text));
    tr_star_advance(&reader);
    tr_status status;
    while ((status = tr_star_next(&reader, &t)) == TR_OK && t.n_columns &&
           tr_star_column(&t, "_wrpAngleTilt") < 0)
        tr_star_free(&t);
    warp_series *w = tr_calloc("a file of Warp", 1, sizeof *w);
    if (status == TR_OK)
        status = w ? take_rows(&reader, &t, w) : TR_ERR_MEMORY;
    if (status == TR_OK)
        status = keep(path, w, series, alignment);
    free(w);
    tr_star_free(&t);
    tr_text_free(&reader.text);
    return status;
}
