#include "formats/star_sheet.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "formats/star_table.h"

static tr_status replace(char **at, const char *value)
{
    char *copy = value ? tr_strdup(value) : NULL;
    if (value && !copy)
        return TR_ERR_MEMORY;
    free(*at);
    *at = copy;
    return TR_OK;
}

static int column_of(const tr_star_sheet *s, const char *label)
{
    for (size_t c = 0; c < s->n_columns; c++)
        if (strcmp(s->label[c], label) == 0)
            return (int)c;
    return -1;
}

/* A sheet of that size, of which nothing is given but what it has of s. */
static tr_status resize(tr_star_sheet *s, size_t n_rows, size_t n_columns)
{
    char **label = tr_calloc("a table", n_columns + 1, sizeof *label);
    char **cell = tr_calloc("a table", n_rows * n_columns + 1, sizeof *cell);
    if (!label || !cell) {
        free(label);
        free(cell);
        return TR_ERR_MEMORY;
    }
    for (size_t c = 0; c < s->n_columns; c++)
        label[c] = s->label[c];
    for (size_t k = 0; k < s->n_rows; k++)
        for (size_t c = 0; c < s->n_columns; c++)
            cell[k * n_columns + c] = s->cell[k * s->n_columns + c];
    free(s->label);
    free(s->cell);
    s->label = label;
    s->cell = cell;
    s->n_rows = n_rows;
    s->n_columns = n_columns;
    return TR_OK;
}

static tr_status copy_table(const tr_star_table *t, tr_star_sheet *s)
{
    TR_TRY(replace(&s->block, t->block));
    TR_TRY(resize(s, t->n_rows, t->n_columns));
    for (size_t c = 0; c < t->n_columns; c++)
        TR_TRY(replace(&s->label[c], t->labels[c]));
    for (size_t k = 0; k < t->n_rows * t->n_columns; k++)
        TR_TRY(replace(&s->cell[k], t->cells[k]));
    return TR_OK;
}

/* There is one table, and it is copied. */
static tr_status read_only_table(tr_star_reader *r, const char *key, tr_star_sheet *s)
{
    tr_star_table t = {0}, more = {0};
    tr_status status = tr_star_next(r, &t);
    if (status == TR_OK && (!t.n_columns || tr_star_column(&t, key) < 0))
        status =
            tr_fail(TR_ERR_DATA, "%s is no table with the column %s", r->text.path, key);
    if (status == TR_OK)
        status = tr_star_check_rows(r, &t);
    if (status == TR_OK)
        status = copy_table(&t, s);
    if (status == TR_OK)
        status = tr_star_next(r, &more);
    if (status == TR_OK && more.n_columns)
        status = tr_fail(TR_ERR_DATA,
                         "%s has more tables than that of series, which would be lost",
                         r->text.path);
    tr_star_free(&more);
    tr_star_free(&t);
    return status;
}

tr_status tr_star_sheet_read(const char *path, const char *block, const char *key,
                             tr_star_sheet *sheet)
{
    tr_star_reader reader = {.block = ""};
    *sheet = (tr_star_sheet){.block = NULL};
    if (access(path, F_OK) != 0)
        return replace(&sheet->block, block);
    TR_TRY(tr_text_read(path, &reader.text));
    tr_star_advance(&reader);
    tr_status status = read_only_table(&reader, key, sheet);
    tr_text_free(&reader.text);
    return status;
}

void tr_star_sheet_free(tr_star_sheet *s)
{
    for (size_t c = 0; c < s->n_columns; c++)
        free(s->label[c]);
    for (size_t k = 0; k < s->n_rows * s->n_columns; k++)
        free(s->cell[k]);
    free(s->label);
    free(s->cell);
    free(s->block);
    *s = (tr_star_sheet){.block = NULL};
}

size_t tr_star_sheet_find(const tr_star_sheet *s, const char *label, const char *value)
{
    int c = column_of(s, label);
    for (size_t k = 0; k < s->n_rows && c >= 0; k++) {
        const char *cell = s->cell[k * s->n_columns + (size_t)c];
        if (cell && strcmp(cell, value) == 0)
            return k;
    }
    return s->n_rows;
}

const char *tr_star_sheet_get(const tr_star_sheet *s, size_t row, const char *label)
{
    int c = column_of(s, label);
    return row < s->n_rows && c >= 0 ? s->cell[row * s->n_columns + (size_t)c] : NULL;
}

tr_status tr_star_sheet_set(tr_star_sheet *s, size_t row, const char *label,
                            const char *value)
{
    int c = column_of(s, label);
    if (row >= s->n_rows || c < 0)
        TR_TRY(resize(s, row < s->n_rows ? s->n_rows : row + 1, s->n_columns + (c < 0)));
    if (c < 0) {
        c = (int)s->n_columns - 1;
        s->label[c] = tr_strdup(label);
        if (!s->label[c])
            return TR_ERR_MEMORY;
    }
    return replace(&s->cell[row * s->n_columns + (size_t)c], value);
}

/* What stands around the cell so that it is one word, and no beginning of a table. */
static const char *quote_of(const char *cell)
{
    bool plain = *cell && !strpbrk(cell, " \t\r\f\v") && !strchr("_#'\"", *cell) &&
                 strncmp(cell, "data_", 5) != 0 && strncmp(cell, "loop_", 5) != 0;
    return plain ? "" : strchr(cell, '"') ? "'" : "\"";
}

void tr_star_sheet_put(const tr_star_sheet *s, FILE *out)
{
    fprintf(out, "\n# version 50001\n\ndata_%s\n\nloop_ \n", s->block);
    for (size_t c = 0; c < s->n_columns; c++)
        fprintf(out, "%s #%zu \n", s->label[c], c + 1);
    for (size_t k = 0; k < s->n_rows * s->n_columns; k++) {
        const char *cell = s->cell[k] ? s->cell[k] : "";
        fprintf(out, "%s%s%s%s", quote_of(cell), cell, quote_of(cell),
                (k + 1) % s->n_columns ? " " : " \n");
    }
    fprintf(out, " \n");
}
