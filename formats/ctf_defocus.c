/* IMOD's .defocus: an entry a line,
 *   start end low high defocus [defocus axis] [phase] [cut-on]
 * with the views and the tilts it was measured in, and defoci in nanometres; it stands
 * for the middle of its views, and is interpolated between. The version is a sixth number
 * of the first line: of version 2, where lines have five, its first entry; of version 3,
 * a line "flags 0 0. 0. 0. 3" of its own. Without one, views may be counted from 0: the
 * tilts tell. (IMOD's manual page of ctfplotter.) */
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "formats/ctf_file.h"

enum {
    ASTIGMATISM = 1,
    AXIS_IN_RADIANS = 2,
    PHASE_SHIFT = 4,
    PHASE_IN_RADIANS = 8,
    INVERTED = 16,
    CUT_ON = 32,
    ALL_FLAGS = 63
};
enum { MOST_CELLS = 10 };

typedef struct entry {
    size_t line;
    long start, end; /* views from 1 */
    double low, high;
    double mean;        /* defocus, angstroms */
    double cross, plus; /* half the difference of the defoci, times cos and sin 2 axis */
    double phase;       /* degrees */
} entry;

typedef struct entries {
    size_t n, room;
    entry *entry;
    int version, flags;
} entries;

static double middle(const entry *e) { return 0.5 * (double)(e->start + e->end); }

/* The numbers of a line; at least `fewest`. */
static tr_status read_cells(const tr_text *text, char *line, size_t fewest, double *cell,
                            size_t *n)
{
    char *word;
    for (*n = 0; *n < MOST_CELLS && (word = tr_text_word(&line)) != NULL; ++*n)
        TR_TRY(tr_text_number(text, word, &cell[*n]));
    if (*n < fewest)
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: %zu numbers, but %zu are needed: first and last "
                       "view, lowest and highest tilt, defocus%s",
                       text->path, text->line, *n, fewest,
                       fewest > 5 ? ", and what the flags of the first line announce"
                                  : "");
    return TR_OK;
}

static bool is_whole(double value) { return value == floor(value) && fabs(value) < 1e6; }

/* The version, 3, or the first entry. */
static bool is_first_line(const tr_text *text, char *line)
{
    double cell[MOST_CELLS];
    size_t n = 0;
    if (read_cells(text, line, 5, cell, &n) != TR_OK || n > 6 || !is_whole(cell[0]) ||
        !is_whole(cell[1]))
        return false;
    if (n == 6 && cell[5] == 3.0)
        return cell[1] == 0.0 && cell[2] == 0.0 && cell[3] == 0.0;
    return (n == 5 || cell[5] == 2.0) && cell[0] <= cell[1] && cell[2] <= cell[3] &&
           fabs(cell[2]) <= 180.0 && fabs(cell[3]) <= 180.0;
}

bool tr_ctf_defocus_probe(const char *path)
{
    return tr_text_first_line(path, is_first_line);
}

static tr_status add(const tr_text *text, const double *cell, entries *list)
{
    if (!is_whole(cell[0]) || !is_whole(cell[1]) || cell[0] > cell[1])
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: %g to %g are not the first and last view of an "
                       "entry",
                       text->path, text->line, cell[0], cell[1]);
    entry e = {.line = text->line,
               .start = (long)cell[0],
               .end = (long)cell[1],
               .low = cell[2],
               .high = cell[3]};
    const double *next = cell + 5;
    double first = 10.0 * cell[4], second = first, axis = 0.0;
    if (list->flags & ASTIGMATISM) {
        second = 10.0 * *next++;
        axis = *next++ * (list->flags & AXIS_IN_RADIANS ? 1.0 : TR_RADIANS);
    }
    if (list->flags & PHASE_SHIFT)
        e.phase = *next * (list->flags & PHASE_IN_RADIANS ? TR_DEGREES : 1.0);
    e.mean = 0.5 * (first + second);
    e.cross = 0.5 * (first - second) * cos(2.0 * axis);
    e.plus = 0.5 * (first - second) * sin(2.0 * axis);
    if (list->n == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        entry *more = realloc(list->entry, room * sizeof *more);
        if (!more)
            return tr_fail(TR_ERR_MEMORY, "not enough memory for a table");
        list->entry = more;
        list->room = room;
    }
    list->entry[list->n++] = e;
    return TR_OK;
}

static tr_status take_flags(const tr_text *text, double flags, entries *list)
{
    if (!is_whole(flags) || flags < 0.0 || flags > (double)ALL_FLAGS)
        return tr_fail(TR_ERR_DATA, "%s, line %zu: %g is not a sum of the flags 1 to 32",
                       text->path, text->line, flags);
    list->flags = (int)flags;
    if (list->flags & CUT_ON)
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: it has cut-on frequencies of a phase plate (flag "
                       "32), which are not known here; fit without them",
                       text->path, text->line);
    return TR_OK;
}

static tr_status read_line(const tr_text *text, char *line, entries *list)
{
    double cell[MOST_CELLS];
    size_t n, fewest = 5;
    fewest += list->flags & ASTIGMATISM ? 2 : 0;
    fewest += list->flags & PHASE_SHIFT ? 1 : 0;
    TR_TRY(read_cells(text, line, fewest, cell, &n));
    if (!list->n && !list->version && n == 6) {
        list->version = cell[5] == 2.0 ? 2 : cell[5] == 3.0 ? 3 : 0;
        if (!list->version)
            return tr_fail(TR_ERR_DATA,
                           "%s, line %zu: version %g of a .defocus file is not known; 2 "
                           "and 3 are",
                           text->path, text->line, cell[5]);
        if (list->version == 3)
            return take_flags(text, cell[0], list);
        n = 5;
    }
    if (n > fewest)
        return tr_fail(TR_ERR_DATA, "%s, line %zu: %zu numbers, %zu are expected",
                       text->path, text->line, n, fewest);
    return add(text, cell, list);
}

/* How far the tilts of the entries are from those of the views, if these are counted so
 * much higher; infinite where there are no such views. */
static double distance(const entries *list, const tr_ctf_series *series, long add)
{
    double sum = 0.0;
    for (size_t i = 0; i < list->n; i++) {
        const entry *e = &list->entry[i];
        long a = e->start + add, b = e->end + add;
        if (a < 1 || (size_t)b > series->nz)
            return INFINITY;
        double tilt = 0.5 * (series->tilt[a - 1] + series->tilt[b - 1]);
        sum += isnan(tilt) ? 0.0 : fabs(tilt - 0.5 * (e->low + e->high));
    }
    return sum / (double)list->n;
}

/* Without a version: from 1, unless the tilts say that it is from 0. */
static void count_from_one(const char *path, const tr_ctf_series *series, entries *list)
{
    double as_is = distance(list, series, 0), higher = distance(list, series, 1);
    if (list->version || !(higher < as_is))
        return;
    tr_info("%s counts the views from 0, by the tilts in it", path);
    for (size_t i = 0; i < list->n; i++) {
        list->entry[i].start++;
        list->entry[i].end++;
    }
}

static tr_status check_views(const char *path, const tr_ctf_series *series,
                             const entries *list)
{
    bool said = false;
    for (size_t i = 0; i < list->n; i++) {
        const entry *e = &list->entry[i];
        if (e->start < 1 || (size_t)e->end > series->nz)
            return tr_fail(
                TR_ERR_DATA,
                "%s, line %zu: there is no view %ld; %s has the views 1 to %zu", path,
                e->line, e->start < 1 ? e->start : e->end, series->path, series->nz);
        double a = series->tilt[e->start - 1], b = series->tilt[e->end - 1];
        bool none = e->low == 0.0 && e->high == 0.0;
        if (said || none || (fabs(0.5 * (a + b - e->low - e->high)) <= 5.0) ||
            isnan(a + b))
            continue;
        said = true;
        tr_warn(
            "%s, line %zu: it has tilts of %g to %g degrees, but the views %ld to %ld "
            "have %g to %g; is it about another series, or are the views in another "
            "order?",
            path, e->line, e->low, e->high, e->start, e->end, a, b);
    }
    return TR_OK;
}

static int by_middle(const void *a, const void *b)
{
    double x = middle(a), y = middle(b);
    return (x > y) - (x < y);
}

/* Between two entries by their weights. */
static tr_ctf mix(const entry *a, const entry *b, double of_b)
{
    double of_a = 1.0 - of_b;
    double cross = of_a * a->cross + of_b * b->cross;
    double plus = of_a * a->plus + of_b * b->plus;
    double mean = of_a * a->mean + of_b * b->mean, half = hypot(cross, plus);
    return (tr_ctf){.defocus_1 = mean + half,
                    .defocus_2 = mean - half,
                    .axis = half > 0.0 ? 0.5 * atan2(plus, cross) * TR_DEGREES : 0.0,
                    .phase = of_a * a->phase + of_b * b->phase};
}

static tr_status interpolate(const char *path, entries *list, tr_ctf_table *table)
{
    const entry *e = list->entry;
    size_t i = 0;
    TR_ASSERT(e);
    qsort(list->entry, list->n, sizeof *list->entry, by_middle);
    for (size_t k = 1; k < list->n; k++)
        if (middle(&e[k]) == middle(&e[k - 1]))
            return tr_fail(TR_ERR_DATA, "%s, line %zu: view %g is there twice", path,
                           e[k].line, middle(&e[k]));
    for (size_t k = 0; k < table->n; k++) {
        double view = (double)k + 1.0;
        while (i + 1 < list->n && middle(&e[i + 1]) <= view)
            i++;
        const entry *next = i + 1 < list->n && view > middle(&e[i]) ? &e[i + 1] : &e[i];
        double apart = middle(next) - middle(&e[i]);
        double of_next = apart > 0.0 ? (view - middle(&e[i])) / apart : 0.0;
        table->view[k] = mix(&e[i], next, of_next);
        table->given[k] = middle(&e[i]) == view;
    }
    return TR_OK;
}

tr_status tr_ctf_defocus_read(const char *path, const tr_ctf_series *series,
                              tr_ctf_table *table)
{
    tr_text text;
    entries list = {.n = 0};
    tr_status status = tr_text_read(path, &text);
    for (char *line; status == TR_OK && (line = tr_text_line(&text)) != NULL;)
        status = read_line(&text, line, &list);
    tr_text_free(&text);
    if (status == TR_OK && !list.n)
        status = tr_fail(TR_ERR_DATA, "%s has no entries", path);
    if (status == TR_OK) {
        count_from_one(path, series, &list);
        status = check_views(path, series, &list);
    }
    if (status == TR_OK)
        status = interpolate(path, &list, table);
    table->inverted = list.flags & INVERTED;
    free(list.entry);
    return status;
}
