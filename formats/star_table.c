#include "formats/star_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/base/mem.h"

typedef tr_star_table table;
typedef tr_star_reader star_reader;

void tr_star_free(table *t)
{
    free(t->cells);
    free(t->lines);
    *t = (table){0};
}

/* The next word, which quotes may hold together; NULL at the end or before a comment. */
static char *next_word(char **rest)
{
    char *word = *rest + strspn(*rest, " \t\r\f\v");
    if (*word == '\0' || *word == '#')
        return NULL;
    char quote = '\0';
    if (*word == '"' || *word == '\'')
        quote = *word++;
    char *end = quote ? strchrnul(word, quote) : word + strcspn(word, " \t\r\f\v");
    *rest = *end ? end + 1 : end;
    *end = '\0';
    return word;
}

static tr_status add_row(star_reader *r, table *t, char *line)
{
    if ((t->n_rows & (t->n_rows - 1)) == 0) {
        size_t room = t->n_rows ? 2 * t->n_rows : 1, size;
        TR_TRY(tr_size_product("a STAR table", &size, 3,
                               (size_t[]){room, t->n_columns, sizeof *t->cells}));
        char **cells = realloc(t->cells, size);
        t->cells = cells ? cells : t->cells;
        size_t *lines = realloc(t->lines, room * sizeof *lines);
        t->lines = lines ? lines : t->lines;
        if (!cells || !lines)
            return tr_fail(TR_ERR_MEMORY, "not enough memory for a table");
    }
    char **row = t->cells + t->n_rows * t->n_columns;
    size_t n = 0;
    for (char *word; (word = next_word(&line)) != NULL; n++)
        if (n < t->n_columns)
            row[n] = word;
    for (size_t c = n; c < t->n_columns; c++)
        row[c] = NULL;
    if (n != t->n_columns && !t->uneven_line) {
        t->uneven_line = r->text.line;
        t->uneven_n = n;
    }
    t->lines[t->n_rows++] = r->text.line;
    return TR_OK;
}

void tr_star_advance(star_reader *r) { r->line = tr_text_line(&r->text); }

static bool begins(const char *line, const char *word)
{
    return strncmp(line, word, strlen(word)) == 0;
}

tr_status tr_star_next(star_reader *r, table *t)
{
    while (r->line && !begins(r->line, "loop_")) {
        if (begins(r->line, "data_"))
            r->block = r->line + strlen("data_");
        tr_star_advance(r);
    }
    t->block = r->block;
    if (r->line)
        tr_star_advance(r);
    for (; r->line && *r->line == '_'; tr_star_advance(r)) {
        char *rest = r->line;
        if (t->n_columns == TR_STAR_COLUMNS)
            return tr_fail(TR_ERR_DATA, "%s, line %zu: a table of more than %d columns",
                           r->text.path, r->text.line, (int)TR_STAR_COLUMNS);
        t->labels[t->n_columns++] = next_word(&rest);
    }
    for (; t->n_columns && r->line && !begins(r->line, "data_") &&
           !begins(r->line, "loop_") && *r->line != '_';
         tr_star_advance(r))
        TR_TRY(add_row(r, t, r->line));
    return TR_OK;
}

int tr_star_column(const table *t, const char *label)
{
    for (size_t c = 0; c < t->n_columns; c++)
        if (strcmp(t->labels[c], label) == 0)
            return (int)c;
    return -1;
}

tr_status tr_star_check_rows(const star_reader *r, const table *t)
{
    if (t->n_rows == 0)
        return tr_fail(TR_ERR_DATA, "%s: its table \"data_%s\" has no rows", r->text.path,
                       t->block);
    if (t->uneven_line)
        return tr_fail(TR_ERR_DATA, "%s, line %zu: %zu values in a table of %zu columns",
                       r->text.path, t->uneven_line, t->uneven_n, t->n_columns);
    return TR_OK;
}

tr_status tr_star_number(const star_reader *r, const table *t, size_t row, int col,
                         double *value)
{
    *value = 0.0;
    if (col < 0)
        return TR_OK;
    tr_text at = r->text;
    at.line = t->lines[row];
    return tr_text_number(&at, t->cells[row * t->n_columns + (size_t)col], value);
}

tr_status tr_star_number_or_nan(const star_reader *r, const table *t, size_t row,
                                const char *label, double *value)
{
    static const char *const none[] = {"nan", "<NA>", "None"};
    int col = tr_star_column(t, label);
    *value = NAN;
    for (size_t i = 0; col >= 0 && i < sizeof none / sizeof *none; i++)
        if (strcasecmp(t->cells[row * t->n_columns + (size_t)col], none[i]) == 0)
            return TR_OK;
    return col < 0 ? TR_OK : tr_star_number(r, t, row, col, value);
}

size_t tr_star_section(const char *name)
{
    char *end;
    if (*name < '0' || *name > '9')
        return 0;
    unsigned long section = strtoul(name, &end, 10);
    return *end == '@' ? section : 0;
}

bool tr_star_has_sections(const table *t, int names)
{
    if (names < 0)
        return false;
    TR_ASSERT(t->cells); /* it has rows */
    const char *first = strchr(t->cells[names], '@');
    for (size_t k = 0; k < t->n_rows; k++) {
        const char *name = t->cells[k * t->n_columns + (size_t)names];
        const char *at = strchr(name, '@');
        if (!first || !at || !tr_star_section(name) || strcmp(at, first) != 0)
            return false;
    }
    return true;
}

bool tr_star_begins(const star_reader *r)
{
    return r->line && (begins(r->line, "data_") || begins(r->line, "loop_"));
}

bool tr_star_is_of_views(const table *t)
{
    return tr_star_column(t, "_rlnTomoYTilt") >= 0 ||
           tr_star_column(t, "_rlnTomoNominalStageTiltAngle") >= 0 ||
           tr_star_has_matrices(t);
}

bool tr_star_has_matrices(const table *t)
{
    return tr_star_column(t, "_rlnTomoProjX") >= 0 &&
           tr_star_column(t, "_rlnTomoProjY") >= 0;
}

tr_status tr_star_find_file(const char *star, const char *name, char **path)
{
    size_t length = strlen(star);
    *path = tr_strdup(name);
    while (*path && access(*path, R_OK) != 0 && name[0] != '/' && length > 0) {
        while (length > 0 && star[length - 1] != '/')
            length--;
        free(*path);
        *path = tr_format_string("%.*s%s", (int)length, star, name);
        length -= length > 0;
    }
    if (!*path)
        return TR_ERR_MEMORY;
    if (access(*path, R_OK) == 0)
        return TR_OK;
    free(*path);
    *path = NULL;
    return tr_fail(TR_ERR_DATA,
                   "%s names the file %s, which is neither there from the current folder "
                   "nor from one above it; go to RELION's project folder, or name that "
                   "file itself",
                   star, name);
}
