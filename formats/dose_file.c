#include "formats/dose_file.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "formats/file_kind.h"
#include "formats/text_file.h"

enum { MOST_COLUMNS = 2 };

typedef struct dose_table {
    size_t n, n_views, columns;
    size_t *line;
    double *cell[MOST_COLUMNS]; /* of each row */
} dose_table;

static tr_status read_row(const tr_text *text, char *line, dose_table *t)
{
    size_t columns = 0;
    for (char *word; (word = tr_text_word(&line)) != NULL; columns++) {
        double number;
        TR_TRY(tr_text_number(text, word, &number));
        if (number < 0.0)
            return tr_fail(TR_ERR_DATA,
                           "%s, line %zu: %g is not an exposure (e/A^2, 0 or more)",
                           text->path, text->line, number);
        if (columns < MOST_COLUMNS && t->n < t->n_views)
            t->cell[columns][t->n] = number;
    }
    if (t->n == 0)
        t->columns = columns;
    if (columns > MOST_COLUMNS || columns != t->columns)
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: %zu numbers; a file of exposures has one or two of "
                       "each view, and as many in every line",
                       text->path, text->line, columns);
    if (t->n < t->n_views)
        t->line[t->n] = text->line;
    t->n++;
    return TR_OK;
}

static tr_status read_table(const char *path, dose_table *t)
{
    tr_text text;
    TR_TRY(tr_refuse_other_kind(path, "a list of exposures"));
    TR_TRY(tr_text_read(path, &text));
    tr_status status = TR_OK;
    for (char *line; status == TR_OK && (line = tr_text_line(&text)) != NULL;)
        status = read_row(&text, line, t);
    tr_text_free(&text);
    TR_TRY(status);
    if (t->n != t->n_views)
        return tr_fail(TR_ERR_DATA,
                       "%s has exposures of %zu views, but the series has %zu", path,
                       t->n, t->n_views);
    return TR_OK;
}

/* ---- which two columns they are ---- */

/* Whether each exposure ends where the next one begins, which begins at its prior one;
 * rounding to two digits aside. */
static bool goes_on(const dose_table *t, tr_dose_type type)
{
    const double *prior = t->cell[0], *second = t->cell[1];
    for (size_t k = 0; k < t->n; k++) {
        double end = second[k] + (type == TR_DOSE_PRIOR_AND_VIEW ? prior[k] : 0.0);
        double next = INFINITY;
        for (size_t i = 0; i < t->n; i++)
            if (prior[i] > prior[k])
                next = fmin(next, prior[i]);
        if (isfinite(next) && fabs(end - next) > 0.02 + 0.02 * (next - prior[k]))
            return false;
    }
    return true;
}

static tr_status find_type(const char *path, const dose_table *t, tr_dose_type *type)
{
    bool first = true; /* nothing before any of them: both say the same */
    for (size_t k = 0; k < t->n; k++) {
        first = first && t->cell[0][k] == 0.0;
        if (t->cell[1][k] < t->cell[0][k]) {
            *type = TR_DOSE_PRIOR_AND_VIEW;
            return TR_OK;
        }
    }
    bool of_view = goes_on(t, TR_DOSE_PRIOR_AND_VIEW);
    bool at_end = goes_on(t, TR_DOSE_PRIOR_AND_END);
    if (of_view == at_end && !first)
        return tr_fail(TR_ERR_DATA,
                       "%s has two columns, and nothing in them tells whether the second "
                       "is the exposure of the view or that at its end; give --dose-type "
                       "2 or 3",
                       path);
    *type = of_view ? TR_DOSE_PRIOR_AND_VIEW : TR_DOSE_PRIOR_AND_END;
    return TR_OK;
}

static tr_status settle_type(const char *path, const dose_table *t, tr_dose_type *type)
{
    size_t wanted = *type == TR_DOSE_OF_VIEW ? 1 : 2;
    if (*type != TR_DOSE_TYPE_UNKNOWN && t->columns != wanted)
        return tr_fail(TR_ERR_DATA,
                       "%s has %zu column%s, but --dose-type %d is about %zu", path,
                       t->columns, t->columns == 1 ? "" : "s", (int)*type, wanted);
    if (*type != TR_DOSE_TYPE_UNKNOWN)
        return TR_OK;
    if (t->columns == 2)
        return find_type(path, t, type);
    *type = TR_DOSE_OF_VIEW;
    return TR_OK;
}

static tr_status take(const char *path, dose_table *t, tr_dose_type *type,
                      double *exposure, double *prior)
{
    TR_TRY(read_table(path, t));
    TR_TRY(settle_type(path, t, type));
    for (size_t k = 0; k < t->n; k++) {
        double second = t->cell[1][k];
        prior[k] = *type == TR_DOSE_OF_VIEW ? NAN : t->cell[0][k];
        exposure[k] = *type == TR_DOSE_OF_VIEW          ? t->cell[0][k]
                      : *type == TR_DOSE_PRIOR_AND_VIEW ? second
                                                        : second - prior[k];
        if (!(exposure[k] > 0.0))
            return tr_fail(TR_ERR_DATA,
                           "%s, line %zu: the exposure of view %zu is %g; it must be "
                           "above 0",
                           path, t->line[k], k + 1, exposure[k]);
    }
    return TR_OK;
}

tr_status tr_dose_text_read(const char *path, size_t n_views, tr_dose_type *type,
                            double *exposure, double *prior)
{
    dose_table t = {.n_views = n_views};
    t.line = tr_calloc("exposures", n_views, sizeof *t.line);
    tr_status status = t.line ? TR_OK : TR_ERR_MEMORY;
    for (int c = 0; c < MOST_COLUMNS; c++) {
        t.cell[c] = tr_calloc("exposures", n_views, sizeof **t.cell);
        status = t.cell[c] ? status : TR_ERR_MEMORY;
    }
    if (status == TR_OK)
        status = take(path, &t, type, exposure, prior);
    free(t.line);
    for (int c = 0; c < MOST_COLUMNS; c++)
        free(t.cell[c]);
    return status;
}
