#include "formats/star_series.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "formats/sections.h"
#include "formats/star_table.h"

static const char star_file[] = "_rlnTomoTiltSeriesStarFile",
                  stack_file[] = "_rlnTomoTiltSeriesName";

static const char *const image_columns[] = {[TR_ALL_FRAMES] = "_rlnMicrographName",
                                            [TR_EVEN_FRAMES] = "_rlnMicrographNameEven",
                                            [TR_ODD_FRAMES] = "_rlnMicrographNameOdd"};

typedef bool kind_of_table(const tr_star_table *t);

static bool is_of_series(const tr_star_table *t)
{
    return tr_star_column(t, "_rlnTomoName") >= 0 &&
           (tr_star_column(t, star_file) >= 0 || tr_star_column(t, stack_file) >= 0);
}

static bool is_of_images(const tr_star_table *t)
{
    return tr_star_column(t, "_rlnMicrographName") >= 0 && tr_star_is_of_views(t);
}

/* The next table of the kind; one without columns: there is none. */
static tr_status next_of(tr_star_reader *r, kind_of_table *is, tr_star_table *t)
{
    tr_status status;
    while ((status = tr_star_next(r, t)) == TR_OK && t->n_columns && !is(t))
        tr_star_free(t);
    return status;
}

static bool has(const char *path, kind_of_table *is)
{
    tr_star_reader reader = {.block = ""};
    tr_star_table t = {0};
    if (tr_text_peek(path, &reader.text) != TR_OK)
        return false;
    tr_star_advance(&reader);
    bool found =
        tr_star_begins(&reader) && next_of(&reader, is, &t) == TR_OK && t.n_columns;
    tr_star_free(&t);
    tr_text_free(&reader.text);
    return found;
}

bool tr_star_leads(const char *path) { return has(path, is_of_series); }
bool tr_star_is_series(const char *path) { return has(path, is_of_images); }

/* ---- a table of series ---- */

static tr_status choose_row(const tr_star_reader *r, const tr_star_table *t,
                            const char *name, size_t *row)
{
    int names = tr_star_column(t, "_rlnTomoName");
    TR_TRY(tr_star_check_rows(r, t));
    *row = 0;
    if (!name && t->n_rows == 1)
        return TR_OK;
    for (size_t k = 0; name && k < t->n_rows; k++)
        if (strcmp(t->cells[k * t->n_columns + (size_t)names], name) == 0) {
            *row = k;
            return TR_OK;
        }
    const char *first = t->cells[names],
               *last = t->cells[(t->n_rows - 1) * t->n_columns + (size_t)names];
    if (name)
        return tr_fail(TR_ERR_DATA, "%s has no series %s; it has %zu, from %s to %s",
                       r->text.path, name, t->n_rows, first, last);
    return tr_fail(TR_ERR_DATA,
                   "%s has %zu series, from %s to %s; say which with --tomo-name",
                   r->text.path, t->n_rows, first, last);
}

static tr_status read_lead(const tr_star_reader *r, const tr_star_table *t,
                           const char *name, tr_star_lead *lead)
{
    size_t row;
    int names = tr_star_column(t, "_rlnTomoName"), files = tr_star_column(t, star_file);
    if (files < 0)
        files = tr_star_column(t, stack_file);
    TR_TRY(choose_row(r, t, name, &row));
    char **cells = t->cells + row * t->n_columns;
    lead->name = tr_strdup(cells[names]);
    return lead->name ? tr_star_find_file(r->text.path, cells[files], &lead->series)
                      : TR_ERR_MEMORY;
}

tr_status tr_star_lead_read(const char *path, const char *name, tr_star_lead *lead)
{
    tr_star_reader reader = {.block = ""};
    tr_star_table t = {0};
    *lead = (tr_star_lead){NULL, NULL};
    TR_TRY(tr_text_read(path, &reader.text));
    tr_star_advance(&reader);
    tr_status status = next_of(&reader, is_of_series, &t);
    if (status == TR_OK && !t.n_columns)
        status = tr_fail(TR_ERR_DATA, "%s has no table of series", path);
    if (status == TR_OK)
        status = read_lead(&reader, &t, name, lead);
    if (status != TR_OK)
        tr_star_lead_free(lead);
    tr_star_free(&t);
    tr_text_free(&reader.text);
    return status;
}

void tr_star_lead_free(tr_star_lead *lead)
{
    free(lead->name);
    free(lead->series);
    *lead = (tr_star_lead){NULL, NULL};
}

/* ---- a table of views ---- */

/* "7@stack.mrcs" or "image.mrc". Names of one stack that follow each other are looked for
 * once. */
static tr_status add_image(const tr_star_reader *r, const char *cell, tr_sections *s)
{
    size_t k = s->n, section = tr_star_section(cell);
    const char *name = section ? strchr(cell, '@') + 1 : cell;
    size_t length = strlen(name), before = k ? strlen(s->name[k - 1]) : 0;
    if (k && before >= length && strcmp(s->name[k - 1] + before - length, name) == 0)
        s->name[k] = tr_strdup(s->name[k - 1]);
    else
        TR_TRY(tr_star_find_file(r->text.path, name, &s->name[k]));
    if (!s->name[k])
        return TR_ERR_MEMORY;
    s->section[k] = section;
    s->n++;
    return TR_OK;
}

static tr_status list_images(const tr_star_reader *r, const tr_star_table *t,
                             tr_frames frames, tr_sections *s)
{
    int column = tr_star_column(t, image_columns[frames]);
    TR_TRY(tr_star_check_rows(r, t));
    if (column < 0)
        return tr_fail(
            TR_ERR_DATA,
            "%s names no images of the even and odd frames (the columns %s and "
            "%s)",
            s->path, image_columns[TR_EVEN_FRAMES], image_columns[TR_ODD_FRAMES]);
    s->name = tr_calloc("the list of images", t->n_rows, sizeof *s->name);
    s->section = tr_calloc("the list of images", t->n_rows, sizeof *s->section);
    if (!s->name || !s->section)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < t->n_rows; k++)
        TR_TRY(add_image(r, t->cells[k * t->n_columns + (size_t)column], s));
    return TR_OK;
}

static tr_status list_all(tr_sections *s, tr_frames frames)
{
    tr_star_reader reader = {.block = ""};
    tr_star_table t = {0}, more = {0};
    TR_TRY(tr_text_read(s->path, &reader.text));
    tr_star_advance(&reader);
    tr_status status = next_of(&reader, is_of_images, &t);
    if (status == TR_OK && t.n_columns) {
        status = list_images(&reader, &t, frames, s);
        if (status == TR_OK)
            status = next_of(&reader, is_of_images, &more);
    }
    if (status == TR_OK && (!t.n_columns || more.n_columns))
        status = tr_fail(TR_ERR_DATA, "%s has %s series; the file of one is needed",
                         s->path, t.n_columns ? "several" : "no");
    tr_star_free(&more);
    tr_star_free(&t);
    tr_text_free(&reader.text);
    return status;
}

tr_status tr_star_series_name(const char *path, char **name)
{
    tr_star_reader reader = {.block = ""};
    tr_star_table t = {0};
    *name = NULL;
    TR_TRY(tr_text_read(path, &reader.text));
    tr_star_advance(&reader);
    tr_status status = next_of(&reader, tr_star_is_of_views, &t);
    if (status == TR_OK && (!t.n_columns || !*t.block))
        status = tr_fail(TR_ERR_DATA, "%s has no table of views with a name", path);
    if (status == TR_OK && !(*name = tr_strdup(t.block)))
        status = TR_ERR_MEMORY;
    tr_star_free(&t);
    tr_text_free(&reader.text);
    return status;
}

tr_status tr_star_series_open(const char *path, tr_frames frames, tr_image_info *info,
                              void **state)
{
    tr_sections *s = tr_calloc("a series", 1, sizeof *s);
    if (!s)
        return TR_ERR_MEMORY;
    s->path = path;
    tr_status status = list_all(s, frames);
    if (status == TR_OK)
        status = tr_sections_look(s, info);
    if (status == TR_OK)
        *state = s;
    else
        tr_sections_free(s);
    return status;
}

const tr_format tr_star_of_images = {
    .name = "RELION",
    .read = tr_sections_read,
    .close = tr_sections_close,
    .stamp = tr_sections_stamp,
};
