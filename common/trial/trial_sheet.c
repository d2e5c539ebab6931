#include "common/trial/trial_sheet.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/png.h"
#include "common/trial/glyphs.h"
#include "common/base/mem.h"
#include "common/tomogram/picture.h"

enum {
    SHEET_WIDTH = 1800, /* about what a screen shows */
    SHEET_HEIGHT = 1200,
    LEAST_WIDTH = 300, /* of a panel: small volumes are enlarged to it */
    MARGIN = 14,       /* around a panel: room for its frame and marks */
    FRAME = 3,
    GAP = 4, /* between strips */
    LETTER = 2,
    LINE = (TR_GLYPH_HEIGHT + 3) * LETTER,
    TITLE = LINE + 10
};
typedef struct colour {
    uint8_t rgb[3];
} colour;
static const colour paper = {{28, 28, 32}}, ink = {{235, 235, 235}},
                    accent = {{255, 160, 40}}, pointer = {{90, 200, 255}};

/* ---- layout ---- */

static size_t panel_width(const tr_trial_sheet_layout *l)
{
    return l->strip_width * l->enlarge + 2 * MARGIN;
}

static size_t strip_step(const tr_trial_sheet_layout *l)
{
    return l->strip_height * l->enlarge + GAP;
}

static size_t panel_height(const tr_trial_sheet_layout *l)
{
    return l->n_strips * strip_step(l) - GAP + LINE + 2 * MARGIN;
}

tr_trial_sheet_layout tr_trial_sheet_plan(size_t n_panels, size_t n_strips, size_t width,
                                          size_t height, size_t most_columns)
{
    tr_trial_sheet_layout l = {.n_panels = n_panels,
                               .n_strips = n_strips,
                               .columns = 1,
                               .width = width,
                               .height = height,
                               .shrink = 1,
                               .enlarge = 1};
    double scale = 0.0;
    for (size_t columns = 1; columns <= n_panels && columns <= most_columns; columns++) {
        size_t rows = (n_panels + columns - 1) / columns;
        double x = (double)SHEET_WIDTH / (double)(columns * width);
        double y = (double)SHEET_HEIGHT / (double)(rows * n_strips * height);
        double fits = x < y ? x : y;
        if (fits > 1.02 * scale) {
            scale = fits;
            l.columns = columns;
        }
    }
    if (scale < 1.0)
        l.shrink = (size_t)(1.0 / scale) + 1;
    size_t wanted = (LEAST_WIDTH + width - 1) / width;
    if (scale > 1.0)
        l.enlarge = (size_t)scale < wanted ? (size_t)scale : wanted;
    l.strip_width = tr_picture_side(width, l.shrink);
    l.strip_height = tr_picture_side(height, l.shrink);
    l.n_pixels = n_panels * n_strips * l.strip_width * l.strip_height;
    return l;
}

/* Rows of the layout's strip below a strip of so many voxels. */
static size_t rows_below(const tr_trial_sheet_layout *l, size_t height)
{
    return (l->strip_height - tr_picture_side(height, l->shrink)) / 2;
}

void tr_trial_sheet_put(const tr_trial_sheet_layout *l, size_t panel, size_t strip,
                        const float *plane, size_t height, float *scratch, double *pixels)
{
    size_t rows = tr_picture_side(height, l->shrink), below = rows_below(l, height);
    size_t n = l->strip_width * l->strip_height;
    double *to = pixels + (panel * l->n_strips + strip) * n;
    tr_picture_shrink(plane, l->width, height, l->shrink, l->shrink, scratch);
    for (size_t z = 0; z < rows; z++) /* the top row first */
        for (size_t x = 0; x < l->strip_width; x++)
            to[(l->strip_height - 1 - below - z) * l->strip_width + x] =
                scratch[z * l->strip_width + x];
}

/* ---- drawing ---- */

typedef struct canvas {
    uint8_t *pixels;
    size_t width, height;
} canvas;

static void fill(const canvas *c, size_t x, size_t y, size_t width, size_t height,
                 colour with)
{
    for (size_t j = y; j < y + height && j < c->height; j++)
        for (size_t i = x; i < x + width && i < c->width; i++)
            memcpy(c->pixels + 3 * (j * c->width + i), with.rgb, 3);
}

static void write_text(const canvas *c, size_t x, size_t y, const char *text, colour with)
{
    for (; *text; text++, x += TR_GLYPH_ADVANCE * LETTER)
        for (size_t row = 0; row < TR_GLYPH_HEIGHT; row++)
            for (size_t column = 0; column < TR_GLYPH_WIDTH; column++)
                if (tr_trial_glyph_dot(*text, column, row))
                    fill(c, x + column * LETTER, y + row * LETTER, LETTER, LETTER, with);
}

static void draw_frame(const canvas *c, size_t x, size_t y, size_t width, size_t height)
{
    fill(c, x - FRAME, y - FRAME, width + 2 * FRAME, FRAME, accent);
    fill(c, x - FRAME, y + height, width + 2 * FRAME, FRAME, accent);
    fill(c, x - FRAME, y, FRAME, height, accent);
    fill(c, x + width, y, FRAME, height, accent);
}

/* Short lines on both sides of a strip, at so many voxels from its lowest row. */
static void draw_mark(const canvas *c, const tr_trial_sheet_layout *l, size_t x, size_t y,
                      size_t height, double voxels)
{
    double rows = (double)rows_below(l, height) + voxels / (double)l->shrink;
    double at = ((double)l->strip_height - rows) * (double)l->enlarge;
    size_t top = y + (size_t)(at > 1.0 ? at - 1.0 : 0.0);
    size_t length = MARGIN - FRAME - 2;
    fill(c, x - FRAME - length, top, length, 2, pointer);
    fill(c, x + l->strip_width * l->enlarge + FRAME, top, length, 2, pointer);
}

/* The rows [*first, *end), from the top, of a layout's strip that hold one of so many
 * voxels. */
static void rows_of(const tr_trial_sheet_layout *l, size_t height, size_t *first,
                    size_t *end)
{
    *end = l->strip_height - rows_below(l, height);
    *first = *end - tr_picture_side(height, l->shrink);
}

static void draw_strip(const canvas *c, const tr_trial_sheet_layout *l, size_t x,
                       size_t y, size_t height, const uint8_t *grey)
{
    size_t first, end;
    rows_of(l, height, &first, &end);
    for (size_t j = first; j < end; j++)
        for (size_t i = 0; i < l->strip_width; i++) {
            uint8_t g = grey[j * l->strip_width + i];
            fill(c, x + i * l->enlarge, y + j * l->enlarge, l->enlarge, l->enlarge,
                 (colour){{g, g, g}});
        }
}

static void draw_panel(const canvas *c, const tr_trial_sheet_layout *l, size_t k,
                       const tr_trial_sheet_panel *panel, const uint8_t *grey)
{
    size_t x = MARGIN + k % l->columns * panel_width(l);
    size_t y = TITLE + MARGIN + k / l->columns * panel_height(l);
    write_text(c, x, y, panel->label, panel->framed ? accent : ink);
    y += LINE;
    if (panel->framed)
        draw_frame(c, x, y, l->strip_width * l->enlarge,
                   l->n_strips * strip_step(l) - GAP);
    for (size_t s = 0; s < l->n_strips; s++, y += strip_step(l)) {
        draw_strip(c, l, x, y, panel->height,
                   grey + (k * l->n_strips + s) * l->strip_width * l->strip_height);
        for (size_t m = 0; m < 2 && panel->marked; m++)
            draw_mark(c, l, x, y, panel->height, panel->mark[s][m]);
    }
}

/* As floats; NaN, which decides no contrast, where there is nothing. */
static void copy_pixels(const tr_trial_sheet_layout *l,
                        const tr_trial_sheet_panel *panels, const double *pixels,
                        float *values)
{
    for (size_t i = 0; i < l->n_pixels; i++) {
        size_t row = i / l->strip_width % l->strip_height, first, end;
        size_t panel = i / (l->strip_width * l->strip_height * l->n_strips);
        rows_of(l, panels[panel].height, &first, &end);
        values[i] = row >= first && row < end ? (float)pixels[i] : NAN;
    }
}

tr_status tr_trial_sheet_write(const tr_trial_sheet_layout *l,
                               const tr_trial_sheet_panel *panels, const double *pixels,
                               const char *title, const char *path)
{
    size_t rows = (l->n_panels + l->columns - 1) / l->columns;
    canvas c = {.width = l->columns * panel_width(l),
                .height = TITLE + rows * panel_height(l)};
    size_t title_width = strlen(title) * TR_GLYPH_ADVANCE * LETTER + 2 * MARGIN;
    c.width = c.width > title_width ? c.width : title_width;
    c.pixels = tr_calloc("the contact sheet", c.width * c.height, 3);
    float *values = tr_calloc("the contact sheet", l->n_pixels, sizeof *values);
    uint8_t *grey = tr_calloc("the contact sheet", l->n_pixels, 1);
    double range[2];
    tr_status status = c.pixels && values && grey ? TR_OK : TR_ERR_MEMORY;
    if (status == TR_OK) {
        copy_pixels(l, panels, pixels, values);
        status = tr_picture_range(values, l->n_pixels, 0.003, 0.997, range);
    }
    if (status == TR_OK) {
        tr_picture_grey(values, l->n_pixels, range, grey);
        fill(&c, 0, 0, c.width, c.height, paper);
        write_text(&c, MARGIN, MARGIN, title, ink);
        for (size_t k = 0; k < l->n_panels; k++)
            draw_panel(&c, l, k, &panels[k], grey);
        status = tr_png_write(path, c.pixels, c.width, c.height, 3);
    }
    free(c.pixels);
    free(values);
    free(grey);
    return status;
}
