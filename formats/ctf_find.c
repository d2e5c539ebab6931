/* ctffind 4 and 5, one row a view of a stack, and AreTomo's _CTF.txt, which has the same
 * columns: number of the image, from 1; two defoci in angstroms; azimuth of the first in
 * degrees; additional phase in radians; a correlation; the resolution of the fit; what
 * more there is is not read. Numbers, not the order, say which view a row is about.
 * ctffind's comments have the optics. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "formats/ctf_file.h"

enum { FEWEST_COLUMNS = 6, MOST_COLUMNS = 16 };

/* The cells of a line, at most MOST_COLUMNS; false where one is no number. */
static bool read_cells(const tr_text *text, char *line, double *cell, size_t *n)
{
    char *word;
    for (*n = 0; *n < MOST_COLUMNS && (word = tr_text_word(&line)) != NULL; ++*n)
        if (tr_text_number(text, word, &cell[*n]) != TR_OK) {
            /* of the fit's resolution, "inf" where it is none */
            if (*n < FEWEST_COLUMNS)
                return false;
            cell[*n] = NAN;
        }
    return true;
}

static bool is_number(double cell)
{
    return cell >= 1.0 && cell <= 1e6 && cell == floor(cell);
}

static bool is_row(const tr_text *text, char *line)
{
    double cell[MOST_COLUMNS];
    size_t n = 0;
    return read_cells(text, line, cell, &n) && n >= FEWEST_COLUMNS &&
           is_number(cell[0]) && fabs(cell[1]) >= 500.0 && fabs(cell[2]) >= 500.0;
}

bool tr_ctf_find_probe(const char *path) { return tr_text_first_line(path, is_row); }

/* The number behind "name:" in a comment, or as it was. */
static void take(const tr_text *text, const char *comment, const char *name,
                 double *value)
{
    const char *at = strstr(comment, name);
    if (!at)
        return;
    at += strlen(name);
    char word[32] = "";
    at += strspn(at, ": ");
    size_t n = strcspn(at, " ;");
    double number;
    if (n >= sizeof word)
        return;
    memcpy(word, at, n);
    if (tr_text_number(text, word, &number) == TR_OK)
        *value = number;
}

static tr_status read_row(const tr_text *text, char *line, const tr_ctf_series *series,
                          tr_ctf_table *table)
{
    double cell[MOST_COLUMNS];
    size_t n;
    char copy[80];
    snprintf(copy, sizeof copy, "%.60s", line);
    if (!read_cells(text, line, cell, &n))
        return TR_ERR_DATA;
    if (n < FEWEST_COLUMNS)
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: \"%s\" has %zu columns; number, two defoci, "
                       "azimuth, phase and correlation are needed",
                       text->path, text->line, copy, n);
    if (!is_number(cell[0]))
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: %g is not the number of a view, from 1 on",
                       text->path, text->line, cell[0]);
    const tr_ctf ctf = {.defocus_1 = cell[1],
                        .defocus_2 = cell[2],
                        .axis = cell[3],
                        .phase = cell[4] * TR_DEGREES};
    return tr_ctf_set(text->path, text->line, (long)cell[0] - 1, series, &ctf, table);
}

tr_status tr_ctf_find_read(const char *path, const tr_ctf_series *series,
                           tr_ctf_table *table)
{
    tr_text text;
    tr_status status = tr_text_read(path, &text);
    text.comments = true;
    for (char *line; status == TR_OK && (line = tr_text_line(&text)) != NULL;) {
        if (*line != '#') {
            status = read_row(&text, line, series, table);
            continue;
        }
        take(&text, line, "acceleration voltage", &table->optics.voltage);
        take(&text, line, "spherical aberration", &table->optics.cs);
        take(&text, line, "amplitude contrast", &table->optics.amplitude);
    }
    tr_text_free(&text);
    return status;
}
