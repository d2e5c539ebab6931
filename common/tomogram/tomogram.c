#include "common/tomogram/tomogram.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/tomogram/picture.h"

tr_status tr_tomogram_open(const tr_output_spec *spec, tr_tomogram *t)
{
    *t = (tr_tomogram){.xyz = spec->xyz,
                       .size = {spec->width, spec->n_slices, spec->thickness}};
    TR_TRY(tr_image_open(spec->path, &t->image));
    const tr_image_info *info = tr_image_get_info(t->image);
    if (info->nx != t->size[TR_X] || info->ny != t->size[t->xyz ? TR_Y : TR_Z] ||
        info->nz != t->size[t->xyz ? TR_Z : TR_Y])
        return tr_fail(TR_ERR_DATA, "%s has changed since it was written", spec->path);
    return TR_OK;
}

void tr_tomogram_close(tr_tomogram *t)
{
    tr_image_close(t->image);
    t->image = NULL;
}

void tr_box_sides(const tr_box *box, size_t sides[3])
{
    for (int i = 0; i < 3; i++)
        sides[i] = tr_picture_side(box->size[i], box->factor[i]);
}

/* How voxels of a box lie in the file: its rows and sections run along these axes. */
typedef struct reader {
    const tr_tomogram *t;
    const tr_box *box;
    int row_axis, section_axis;
    size_t sides[3];
    size_t per_cell; /* sections read for each averaged voxel */
    float *buffer, *out;
    size_t buffer_rows;
    size_t *sections; /* read so far, per averaged voxel of their axis */
} reader;

/* A row of the file's, x as it is, added to the averages. */
static void add_row(const reader *r, const float *row, size_t cell_row, size_t cell)
{
    const tr_box *box = r->box;
    size_t z = r->t->xyz ? cell : cell_row, y = r->t->xyz ? cell_row : cell;
    float *out = r->out + (z * r->sides[TR_Y] + y) * r->sides[TR_X];
    size_t factor = box->factor[TR_X];
    for (size_t i = 0, x = 0; x < box->size[TR_X]; i++)
        for (size_t end = x + factor; x < end && x < box->size[TR_X]; x++)
            out[i] += row[x];
}

static tr_status add_section(const reader *r, size_t at, size_t cell)
{
    const tr_box *box = r->box;
    const tr_tomogram *t = r->t;
    size_t nx = box->size[TR_X], rows = box->size[r->row_axis];
    size_t section = box->first[r->section_axis] + at;
    if (t->xyz) /* rotated about x: see the output */
        section = t->size[TR_Z] - 1 - section;
    for (size_t row = 0; row < rows; row += r->buffer_rows) {
        size_t n = rows - row < r->buffer_rows ? rows - row : r->buffer_rows;
        TR_TRY(tr_image_read(t->image, section, box->first[r->row_axis] + row, n,
                             box->first[TR_X], nx, r->buffer));
        for (size_t k = 0; k < n; k++)
            add_row(r, r->buffer + k * nx, (row + k) / box->factor[r->row_axis], cell);
    }
    r->sections[cell]++;
    return TR_OK;
}

static tr_status add_sections(const reader *r)
{
    size_t n = r->box->size[r->section_axis], factor = r->box->factor[r->section_axis];
    for (size_t cell = 0; cell < r->sides[r->section_axis]; cell++) {
        size_t first = cell * factor, have = n - first < factor ? n - first : factor;
        size_t wanted = have < r->per_cell ? have : r->per_cell;
        for (size_t k = 0; k < wanted; k++)
            TR_TRY(add_section(r, first + (2 * k + 1) * have / (2 * wanted), cell));
    }
    return TR_OK;
}

/* How many voxels of an axis the average at `cell` has. */
static size_t members(const reader *r, int axis, size_t cell)
{
    size_t left = r->box->size[axis] - cell * r->box->factor[axis];
    if (axis == r->section_axis)
        return r->sections[cell];
    return left < r->box->factor[axis] ? left : r->box->factor[axis];
}

static void divide(const reader *r)
{
    float *out = r->out;
    for (size_t z = 0; z < r->sides[TR_Z]; z++)
        for (size_t y = 0; y < r->sides[TR_Y]; y++)
            for (size_t x = 0; x < r->sides[TR_X]; x++, out++)
                *out = (float)((double)*out / ((double)members(r, TR_X, x) *
                                               (double)members(r, TR_Y, y) *
                                               (double)members(r, TR_Z, z)));
}

tr_status tr_tomogram_read(const tr_tomogram *t, const tr_box *box, size_t most,
                           float *out)
{
    enum { BUFFER = 1 << 20 };
    reader r = {.t = t,
                .box = box,
                .row_axis = t->xyz ? TR_Y : TR_Z,
                .section_axis = t->xyz ? TR_Z : TR_Y,
                .per_cell = SIZE_MAX,
                .out = out};
    tr_box_sides(box, r.sides);
    size_t cells = r.sides[r.section_axis];
    size_t section = box->size[TR_X] * box->size[r.row_axis];
    if (most)
        r.per_cell = most / section / cells > 1 ? most / section / cells : 1;
    r.buffer_rows = BUFFER / box->size[TR_X] > 1 ? BUFFER / box->size[TR_X] : 1;
    r.buffer = tr_calloc("reading the tomogram", r.buffer_rows * box->size[TR_X],
                         sizeof *r.buffer);
    r.sections = tr_calloc("reading the tomogram", cells, sizeof *r.sections);
    memset(out, 0, r.sides[0] * r.sides[1] * r.sides[2] * sizeof *out);
    tr_status status = r.buffer && r.sections ? add_sections(&r) : TR_ERR_MEMORY;
    if (status == TR_OK)
        divide(&r);
    free(r.buffer);
    free(r.sections);
    return status;
}

static void turn_over(float *values, size_t width, size_t height)
{
    for (size_t y = 0; y < height / 2; y++)
        for (size_t x = 0; x < width; x++) {
            float *a = values + y * width + x;
            float *b = values + (height - 1 - y) * width + x, value = *a;
            *a = *b;
            *b = value;
        }
}

tr_status tr_tomogram_section(const tr_tomogram *t, int axis, size_t most,
                              tr_section *section)
{
    size_t across = axis == TR_X ? TR_Y : TR_X, up = axis == TR_Z ? TR_Y : TR_Z;
    size_t longest = t->size[across] > t->size[up] ? t->size[across] : t->size[up];
    size_t factor = tr_picture_factor(longest, most);
    tr_box box = {.size = {t->size[TR_X], t->size[TR_Y], t->size[TR_Z]},
                  .factor = {factor, factor, factor}};
    box.first[axis] = t->size[axis] / 2;
    box.size[axis] = box.factor[axis] = 1;
    *section = (tr_section){.width = tr_picture_side(t->size[across], factor),
                            .height = tr_picture_side(t->size[up], factor),
                            .factor = factor,
                            .at = box.first[axis]};
    section->values =
        tr_calloc("a section", section->width * section->height, sizeof *section->values);
    if (!section->values)
        return TR_ERR_MEMORY;
    /* A side of 1 does not count: [z][y][x] is [up][across] for all three. */
    tr_status status = tr_tomogram_read(t, &box, 0, section->values);
    turn_over(section->values, section->width, section->height);
    return status;
}
