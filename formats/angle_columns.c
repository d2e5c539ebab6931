#include "formats/angle_columns.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/mem.h"

enum { FEWEST = 3 }; /* rows of which a column can be judged */

/* What is to be known of a column. */
typedef struct column_facts {
    double min, max;
    double typical_step, largest_step; /* between different values, in order of size */
    size_t different;
    bool numbers; /* they are first, first + 1, ... in some order, first 0 or 1 */
} column_facts;

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of sorted[n]; steps[n] is work space. */
static column_facts find_facts(const double *sorted, size_t n, double *steps)
{
    column_facts f = {.min = sorted[0], .max = sorted[n - 1], .different = 1};
    double least = 1e-3 * (f.max - f.min);
    f.numbers = sorted[0] == 0.0 || sorted[0] == 1.0;
    for (size_t k = 1; k < n; k++) {
        double step = sorted[k] - sorted[k - 1];
        f.numbers = f.numbers && step == 1.0;
        if (step > least)
            steps[f.different++ - 1] = step;
    }
    if (f.different > 1) {
        qsort(steps, f.different - 1, sizeof *steps, by_size);
        f.typical_step = steps[(f.different - 1) / 2];
        f.largest_step = steps[f.different - 2];
    }
    return f;
}

/* A view or three may be missing between two. */
static bool is_even(const column_facts *f)
{
    return f->different > 1 && f->largest_step <= 4.0 * f->typical_step;
}

static bool is_angles(const column_facts *f, size_t rows)
{
    double span = f->max - f->min;
    return f->min < 0.0 && f->max > 0.0 && f->min >= -90.0 && f->max <= 90.0 &&
           span >= 20.0 && fabs(f->min + f->max) <= 0.5 * span && is_even(f) &&
           5 * f->different >= 3 * rows;
}

/* Numbers of views, and exposures, are so; angles from 0 to 180 are, too. */
static bool may_count(const column_facts *f)
{
    return f->min >= 0.0 && f->min <= 2.5 * f->typical_step && is_even(f);
}

static bool may_be_something_else(const column_facts *f)
{
    return may_count(f) || !is_even(f) || f->max - f->min < 10.0 ||
           fabs(f->max) > 360.0 || fabs(f->min) > 360.0;
}

/* From 1 on, angles beside others do not count; from 0 on, those of a scan over 180
 * degrees do, but hardly those of a shorter one where another column can be its angles,
 * to one side. */
static bool numbers_views(const column_facts *facts, size_t columns, size_t rows)
{
    enum { ALL_AROUND = 150 };
    if (!facts[0].numbers || facts[0].min == 1.0)
        return facts[0].numbers;
    bool other = false;
    for (size_t j = 1; j < columns; j++)
        other = other || (may_count(&facts[j]) && facts[j].typical_step != 1.0 &&
                          facts[j].max >= 20.0 && facts[j].max <= 360.0);
    return other && rows < ALL_AROUND;
}

bool tr_are_transforms(const double *cells, size_t rows, size_t columns)
{
    if (columns != 6 || rows == 0)
        return false;
    for (size_t k = 0; k < rows; k++) {
        const double *a = cells + k * TR_TABLE_COLUMNS;
        double determinant = a[0] * a[3] - a[1] * a[2];
        if (determinant < 0.5 || determinant > 2.0 || fabs(a[0] - a[3]) > 0.3 ||
            fabs(a[1] + a[2]) > 0.3)
            return false;
    }
    return true;
}

static bool are_equal(const double *cells, size_t rows, size_t i, size_t j)
{
    for (size_t k = 0; k < rows; k++)
        if (fabs(cells[k * TR_TABLE_COLUMNS + i] - cells[k * TR_TABLE_COLUMNS + j]) >
            1e-3)
            return false;
    return true;
}

static tr_status choose(const char *path, const double *cells, size_t rows,
                        size_t columns, const column_facts *facts, size_t *column)
{
    size_t found = 0;
    for (size_t j = 1; j < columns; j++) {
        if (!is_angles(&facts[j], rows))
            continue;
        if (found && !are_equal(cells, rows, found, j))
            return tr_fail(TR_ERR_DATA,
                           "%s: its first column is not the angles, and both column %zu "
                           "and column %zu may be; give a file of the angles alone",
                           path, found + 1, j + 1);
        if (!found)
            found = j;
    }
    if (!found && numbers_views(facts, columns, rows))
        return tr_fail(TR_ERR_DATA,
                       "%s: its first column numbers the views, and no other is clearly "
                       "their angles; give a file of the angles alone",
                       path);
    *column = found;
    return TR_OK;
}

tr_status tr_choose_angle_column(const char *path, const double *cells, size_t rows,
                                 size_t columns, size_t *column)
{
    if (columns > TR_TABLE_COLUMNS)
        columns = TR_TABLE_COLUMNS;
    *column = 0;
    if (rows < FEWEST || columns < 2)
        return TR_OK;
    column_facts facts[TR_TABLE_COLUMNS];
    double *work = tr_calloc("a table of angles", 2 * rows, sizeof *work);
    if (!work)
        return TR_ERR_MEMORY;
    for (size_t j = 0; j < columns; j++) {
        for (size_t k = 0; k < rows; k++)
            work[k] = cells[k * TR_TABLE_COLUMNS + j];
        qsort(work, rows, sizeof *work, by_size);
        facts[j] = find_facts(work, rows, work + rows);
    }
    free(work);
    if (is_angles(&facts[0], rows) || !may_be_something_else(&facts[0]))
        return TR_OK;
    return choose(path, cells, rows, columns, facts, column);
}
