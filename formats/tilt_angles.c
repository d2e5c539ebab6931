#include "formats/tilt_angles.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "formats/angle_columns.h"
#include "formats/dose_file.h"
#include "formats/file_kind.h"
#include "formats/text_file.h"
#include "formats/turns.h"

static const double largest_angle = 360;

static tr_status check_angle(const char *path, size_t line, double angle)
{
    if (fabs(angle) > largest_angle)
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: %g is not a tilt angle (degrees, -%g to %g)", path,
                       line, angle, largest_angle, largest_angle);
    return TR_OK;
}

/* ---- Angles as plain numbers ---- */

typedef struct angle_at {
    double value;
    size_t line;
} angle_at;

/* What a file of numbers holds. Which of the two readings is meant is known only once
 * all rows are counted, so the first n_views rows and numbers are kept. */
typedef struct number_table {
    size_t n_views;
    size_t rows, total;
    size_t columns;     /* of the first row */
    size_t uneven_line; /* the first row with another number of columns, or 0 */
    size_t comma_line;  /* the first row like "-60,5" (see is_decimal_comma), or 0 */
    bool separated;     /* a comma before a sign: commas separate columns */
    size_t *line;       /* of each row */
    double *cells;      /* of each row, TR_TABLE_COLUMNS numbers */
    angle_at *all;      /* every number, row by row */
} number_table;

/* Whether the row could have been written with decimal commas: digits on both sides of
 * a comma, and no point anywhere. Taking column 1 of it would cut decimals off. */
static bool is_decimal_comma(const char *row)
{
    const char *comma = strchr(row, ',');
    return comma && comma > row && isdigit((unsigned char)comma[-1]) &&
           isdigit((unsigned char)comma[1]) && !strchr(row, '.');
}

static tr_status read_row(const tr_text *text, char *row, number_table *table)
{
    if (!table->comma_line && is_decimal_comma(row))
        table->comma_line = text->line;
    table->separated = table->separated || strstr(row, ",-");
    size_t columns = 0;
    for (char *word; (word = tr_text_word(&row)) != NULL; columns++) {
        angle_at number = {.line = text->line};
        TR_TRY(tr_text_number(text, word, &number.value));
        if (columns < TR_TABLE_COLUMNS && table->rows < table->n_views)
            table->cells[table->rows * TR_TABLE_COLUMNS + columns] = number.value;
        if (table->total < table->n_views)
            table->all[table->total] = number;
        table->total++;
    }
    if (columns == 0) /* separators only */
        return TR_OK;
    if (table->rows < table->n_views)
        table->line[table->rows] = text->line;
    if (table->rows == 0)
        table->columns = columns;
    else if (columns != table->columns && !table->uneven_line)
        table->uneven_line = text->line;
    table->rows++;
    return TR_OK;
}

static tr_status wrong_count(const char *path, const number_table *table)
{
    if (table->rows == table->total || table->rows == 1)
        return tr_fail(TR_ERR_DATA, "%s has %zu angles, but the series has %zu views",
                       path, table->total, table->n_views);
    if (table->uneven_line)
        return tr_fail(TR_ERR_DATA,
                       "%s has %zu numbers in %zu rows, but the series has %zu views",
                       path, table->total, table->rows, table->n_views);
    return tr_fail(TR_ERR_DATA,
                   "%s has %zu rows of %zu columns (%zu numbers), but the series has %zu "
                   "views",
                   path, table->rows, table->columns, table->total, table->n_views);
}

/* The reading of the table that has one number per view: all of them, or *column. */
static tr_status choose_angles(const char *path, const number_table *table, bool *all,
                               size_t *column)
{
    size_t kept = table->rows < table->n_views ? table->rows : table->n_views;
    *column = 0;
    if (!table->uneven_line && tr_are_transforms(table->cells, kept, table->columns))
        return tr_fail(TR_ERR_DATA,
                       "%s has transforms of the views (as an .xf), not angles; give it "
                       "with --transforms",
                       path);
    *all = table->total == table->n_views;
    if (*all)
        return TR_OK;
    if (table->rows != table->n_views)
        return wrong_count(path, table);
    if (table->uneven_line)
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: a table of angles needs as many columns in every "
                       "row as in its first, %zu",
                       path, table->uneven_line, table->columns);
    if (table->comma_line && !table->separated)
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: it is not clear whether the comma is a decimal "
                       "comma or separates two columns; write decimals with a point",
                       path, table->comma_line);
    return tr_choose_angle_column(path, table->cells, table->rows, table->columns,
                                  column);
}

static tr_status read_table(const char *path, number_table *table, double *angles,
                            size_t *column)
{
    tr_text text;
    TR_TRY(tr_text_read(path, &text));
    tr_status status = TR_OK;
    for (char *row; status == TR_OK && (row = tr_text_line(&text)) != NULL;)
        status = read_row(&text, row, table);
    tr_text_free(&text);
    TR_TRY(status);
    bool all = false;
    TR_TRY(choose_angles(path, table, &all, column));
    for (size_t k = 0; k < table->n_views; k++)
        angles[k] =
            all ? table->all[k].value : table->cells[k * TR_TABLE_COLUMNS + *column];
    if (tr_counts_on(angles, table->n_views) && tr_remove_turns(angles, table->n_views))
        tr_info("%s goes on beyond 360 degrees: whole turns are left out", path);
    for (size_t k = 0; k < table->n_views; k++)
        TR_TRY(check_angle(path, all ? table->all[k].line : table->line[k], angles[k]));
    return TR_OK;
}

static tr_status read_plain_angles(const char *path, size_t n_views, double *angles,
                                   size_t *column)
{
    number_table table = {.n_views = n_views};
    TR_TRY(tr_refuse_other_kind(path, "a list of angles"));
    table.line = tr_calloc("tilt angles", n_views, sizeof *table.line);
    table.cells =
        tr_calloc("tilt angles", n_views, TR_TABLE_COLUMNS * sizeof *table.cells);
    table.all = tr_calloc("tilt angles", n_views, sizeof *table.all);
    tr_status status = TR_ERR_MEMORY;
    if (table.line && table.cells && table.all)
        status = read_table(path, &table, angles, column);
    free(table.line);
    free(table.cells);
    free(table.all);
    return status;
}

static tr_status read_mdoc_angles(const char *path, size_t n_views, double *angles)
{
    tr_mdoc mdoc;
    TR_TRY(tr_mdoc_read_tilts(path, n_views, &mdoc));
    memcpy(angles, mdoc.tilt, n_views * sizeof *angles);
    tr_mdoc_free(&mdoc);
    return TR_OK;
}

tr_status tr_angles_read_column(const char *path, size_t n_views, double *angles,
                                size_t *column)
{
    *column = 0;
    if (tr_mdoc_probe(path))
        return read_mdoc_angles(path, n_views, angles);
    if (tr_imod_com_probe(path))
        return tr_fail(TR_ERR_DATA,
                       "%s has commands for IMOD, not angles; a tilt.com is given with "
                       "--imod-com",
                       path);
    return read_plain_angles(path, n_views, angles, column);
}

tr_status tr_angles_read(const char *path, size_t n_views, double *angles)
{
    size_t column;
    return tr_angles_read_column(path, n_views, angles, &column);
}

/* ---- SerialEM's mdoc ---- */

/* What can be a view, the surest kind first. [Image = FILE] is of a series in single
 * files, and has no number. A FrameSet beside ZValue sections is the movie that these are
 * parts of. */
static const char *const view_sections[] = {"ZValue", "FrameSet", "Image"};
enum { Z_VALUE, FRAME_SET, IMAGE, N_VIEW_SECTIONS };

typedef struct section {
    int kind; /* of view_sections */
    long number;
    size_t line;
    double tilt, dose, prior_dose, time;
    double statistics[3]; /* MinMaxMean */
} section;

typedef enum place { PLACE_GLOBAL, PLACE_VIEW, PLACE_OTHER } place;

typedef struct mdoc_reader {
    const tr_text *text;
    section *sections;
    size_t n, room;
    place place; /* what the lines being read belong to */
    double pixel, view_pixel, voltage;
    double key_axis, title_axis;
    size_t odd_time_line;
    bool has_frames;
} mdoc_reader;

bool tr_mdoc_probe(const char *path)
{
    tr_text text;
    if (tr_text_peek(path, &text) != TR_OK)
        return false;
    bool found = false;
    const char *line = tr_text_line(&text);
    if (line && *line == '[') {
        found = strchr(line, '=') != NULL;
    } else if (line && isalpha((unsigned char)*line)) {
        while (isalnum((unsigned char)*line) || *line == '_')
            line++;
        line += strspn(line, " \t");
        found = *line == '=';
    }
    tr_text_free(&text);
    return found;
}

bool tr_imod_com_probe(const char *path)
{
    tr_text text;
    if (tr_text_peek(path, &text) != TR_OK)
        return false;
    const char *line = tr_text_line(&text);
    bool found = line && *line == '$';
    tr_text_free(&text);
    return found;
}

/* A title says "Tilt axis angle = 85.3, binning = 4 ..." or "TiltAxisAngle = -91.8  ...";
 * the number is NaN when it says neither. */
static double axis_in_title(const tr_text *text, const char *title)
{
    static const char *const names[] = {"Tilt axis angle", "TiltAxisAngle"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *found = strcasestr(title, names[i]);
        if (!found)
            continue;
        found += strlen(names[i]);
        found += strspn(found, " \t");
        if (*found != '=')
            continue;
        char *end;
        double angle = strtod_l(++found, &end, text->c_locale);
        if (end != found && isfinite(angle))
            return angle;
    }
    return NAN;
}

static tr_status begin_view(mdoc_reader *reader, int kind, const char *number)
{
    if (reader->n == reader->room) {
        size_t room = reader->room ? 2 * reader->room : 64;
        section *larger = realloc(reader->sections, room * sizeof *larger);
        if (!larger)
            return tr_fail(TR_ERR_MEMORY, "not enough memory for the %zu sections of %s",
                           room, reader->text->path);
        reader->sections = larger;
        reader->room = room;
    }
    section *view = &reader->sections[reader->n];
    *view = (section){.kind = kind,
                      .number = (long)reader->n,
                      .line = reader->text->line,
                      .tilt = NAN,
                      .dose = NAN,
                      .prior_dose = NAN,
                      .time = NAN,
                      .statistics = {NAN, NAN, NAN}};
    if (kind != IMAGE)
        TR_TRY(tr_text_whole_number(reader->text, number, &view->number));
    reader->n++;
    reader->place = PLACE_VIEW;
    return TR_OK;
}

/* MinMaxMean, as far as there are three numbers: it only serves to check the order. */
static void read_statistics(const tr_text *text, const char *value, double *statistics)
{
    for (int i = 0; i < 3; i++) {
        char *end;
        statistics[i] = strtod_l(value, &end, text->c_locale);
        if (end == value || !isfinite(statistics[i]))
            statistics[i] = NAN;
        value = end;
    }
}

static void read_time(mdoc_reader *reader, section *view, const char *value)
{
    view->time = tr_mdoc_time(value);
    if (isnan(view->time) && !reader->odd_time_line)
        reader->odd_time_line = reader->text->line;
}

static tr_status read_value(mdoc_reader *reader, const char *key, const char *value)
{
    double *target = NULL;
    bool first_only = false; /* the first of several sections speaks for the series */
    section *view = reader->place == PLACE_VIEW ? &reader->sections[reader->n - 1] : NULL;
    if (view && strcmp(key, "MinMaxMean") == 0)
        read_statistics(reader->text, value, view->statistics);
    if (view && strcmp(key, "DateTime") == 0)
        read_time(reader, view, value);
    if (view && strcmp(key, "SubFramePath") == 0)
        reader->has_frames = true;
    if (view && strcmp(key, "TiltAngle") == 0) {
        target = &view->tilt;
    } else if (view && strcmp(key, "ExposureDose") == 0) {
        target = &view->dose;
    } else if (view && strcmp(key, "PriorRecordDose") == 0) {
        target = &view->prior_dose;
    } else if (reader->place != PLACE_OTHER && strcmp(key, "PixelSpacing") == 0) {
        target = view ? &reader->view_pixel : &reader->pixel;
        first_only = true;
    } else if (reader->place != PLACE_OTHER && strcmp(key, "Voltage") == 0) {
        target = &reader->voltage;
        first_only = true;
    } else if (reader->place != PLACE_OTHER && strcmp(key, "TiltAxisAngle") == 0) {
        target = &reader->key_axis;
        first_only = true;
    }
    if (!target)
        return TR_OK;
    double number;
    TR_TRY(tr_text_number(reader->text, value, &number));
    if (view && target == &view->tilt)
        TR_TRY(check_angle(reader->text->path, reader->text->line, number));
    if (view && (target == &view->dose || target == &view->prior_dose) && number < 0.0)
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: %g is not an exposure (e/A^2, 0 or more)",
                       reader->text->path, reader->text->line, number);
    if (!first_only || isnan(*target))
        *target = number;
    return TR_OK;
}

static tr_status read_mdoc_line(mdoc_reader *reader, char *line)
{
    bool heading = *line == '[';
    char *equals = strchr(line, '=');
    if (!equals) { /* goes on with a longer value: none that is used here */
        if (heading)
            reader->place = PLACE_OTHER;
        return TR_OK;
    }
    *equals = '\0';
    const char *key = tr_text_trim(line + (heading ? 1 : 0));
    char *value = tr_text_trim(equals + 1);
    if (heading) {
        size_t length = strlen(value);
        if (length > 0 && value[length - 1] == ']')
            value[length - 1] = '\0';
        value = tr_text_trim(value);
    }
    if (strcmp(key, "T") == 0) {
        double axis = axis_in_title(reader->text, value);
        if (isnan(reader->title_axis))
            reader->title_axis = axis;
        return TR_OK;
    }
    if (!heading)
        return read_value(reader, key, value);
    for (int kind = 0; kind < N_VIEW_SECTIONS; kind++)
        if (strcmp(key, view_sections[kind]) == 0)
            return begin_view(reader, kind, value);
    reader->place = PLACE_OTHER;
    return TR_OK;
}

static int compare_sections(const void *left, const void *right)
{
    const section *a = left, *b = right;
    return (a->number > b->number) - (a->number < b->number);
}

/* Leave only those of the surest kind there is. */
static void keep_one_kind(mdoc_reader *reader)
{
    int kind = N_VIEW_SECTIONS;
    size_t kept = 0;
    for (size_t k = 0; k < reader->n; k++)
        kind = reader->sections[k].kind < kind ? reader->sections[k].kind : kind;
    for (size_t k = 0; k < reader->n; k++)
        if (reader->sections[k].kind == kind)
            reader->sections[kept++] = reader->sections[k];
    reader->n = kept;
}

/* Each movie's own mdoc has a [FrameSet = 0]. */
static bool are_single_movies(const mdoc_reader *reader)
{
    for (size_t k = 0; k < reader->n; k++)
        if (reader->sections[k].kind != FRAME_SET || reader->sections[k].number != 0)
            return false;
    return reader->n > 1;
}

static tr_status sort_sections(mdoc_reader *reader)
{
    const char *path = reader->text->path;
    keep_one_kind(reader);
    if (reader->n == 0)
        return tr_fail(TR_ERR_DATA,
                       "%s has no [ZValue = n], [FrameSet = n] or [Image = file] section",
                       path);
    if (are_single_movies(reader))
        return tr_fail(TR_ERR_DATA,
                       "%s has %zu times [FrameSet = 0]: mdocs of single movies were put "
                       "together, and nothing says which view is which; give the stack's "
                       "own mdoc, or a file of the angles in the order of the views",
                       path, reader->n);
    section *sections = reader->sections;
    qsort(sections, reader->n, sizeof *sections, compare_sections);
    for (size_t k = 1; k < reader->n; k++)
        if (sections[k].number == sections[k - 1].number)
            return tr_fail(TR_ERR_DATA, "%s has section %ld twice, in lines %zu and %zu",
                           path, sections[k].number, sections[k - 1].line,
                           sections[k].line);
    return TR_OK;
}

static tr_status keep_mdoc(const mdoc_reader *reader, tr_mdoc *mdoc)
{
    size_t n = reader->n;
    *mdoc = (tr_mdoc){.n_views = n,
                      .has_frames = reader->has_frames,
                      .voltage = reader->voltage,
                      .odd_time_line = reader->odd_time_line};
    mdoc->pixel = isnan(reader->pixel) ? reader->view_pixel : reader->pixel;
    mdoc->tilt_axis_angle =
        isnan(reader->key_axis) ? reader->title_axis : reader->key_axis;
    mdoc->tilt = tr_calloc("tilt angles", n, sizeof(double));
    mdoc->dose = tr_calloc("doses", n, sizeof(double));
    mdoc->prior_dose = tr_calloc("doses", n, sizeof(double));
    mdoc->time = tr_calloc("times", n, sizeof(double));
    mdoc->statistics = tr_calloc("statistics", n, sizeof *mdoc->statistics);
    if (!mdoc->tilt || !mdoc->dose || !mdoc->prior_dose || !mdoc->time ||
        !mdoc->statistics) {
        tr_mdoc_free(mdoc);
        return TR_ERR_MEMORY;
    }
    for (size_t k = 0; k < n; k++) {
        mdoc->tilt[k] = reader->sections[k].tilt;
        mdoc->dose[k] = reader->sections[k].dose;
        mdoc->prior_dose[k] = reader->sections[k].prior_dose;
        mdoc->time[k] = reader->sections[k].time;
        memcpy(mdoc->statistics[k], reader->sections[k].statistics,
               sizeof mdoc->statistics[k]);
    }
    return TR_OK;
}

tr_status tr_mdoc_read(const char *path, tr_mdoc *mdoc)
{
    *mdoc = (tr_mdoc){0};
    tr_text text;
    TR_TRY(tr_text_read(path, &text));
    mdoc_reader reader = {.text = &text,
                          .pixel = NAN,
                          .view_pixel = NAN,
                          .voltage = NAN,
                          .key_axis = NAN,
                          .title_axis = NAN};
    tr_status status = TR_OK;
    for (char *line; status == TR_OK && (line = tr_text_line(&text)) != NULL;)
        status = read_mdoc_line(&reader, line);
    if (status == TR_OK)
        status = sort_sections(&reader);
    if (status == TR_OK)
        status = keep_mdoc(&reader, mdoc);
    free(reader.sections);
    tr_text_free(&text);
    return status;
}

tr_status tr_mdoc_read_tilts(const char *path, size_t n_views, tr_mdoc *mdoc)
{
    TR_TRY(tr_mdoc_read(path, mdoc));
    tr_status status = TR_OK;
    if (mdoc->n_views != n_views)
        status = tr_fail(TR_ERR_DATA, "%s describes %zu view%s, but the series has %zu",
                         path, mdoc->n_views, mdoc->n_views == 1 ? "" : "s", n_views);
    for (size_t k = 0; status == TR_OK && k < n_views; k++)
        if (isnan(mdoc->tilt[k]))
            status = tr_fail(TR_ERR_DATA, "%s has no TiltAngle for view %zu of %zu", path,
                             k + 1, n_views);
    if (status != TR_OK)
        tr_mdoc_free(mdoc);
    return status;
}

void tr_mdoc_free(tr_mdoc *mdoc)
{
    free(mdoc->tilt);
    free(mdoc->dose);
    free(mdoc->prior_dose);
    free(mdoc->time);
    free(mdoc->statistics);
    *mdoc = (tr_mdoc){0};
}

/* ---- Transforms ---- */

static tr_status read_transform(const tr_text *text, char *line, tr_transform *transform)
{
    double numbers[6];
    size_t n = 0;
    for (char *word; (word = tr_text_word(&line)) != NULL; n++) {
        double number;
        TR_TRY(tr_text_number(text, word, &number));
        if (n < 6)
            numbers[n] = number;
    }
    if (n == 1)
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: a transform needs 6 numbers, not 1; angles are "
                       "given with --tilts",
                       text->path, text->line);
    if (n != 6)
        return tr_fail(TR_ERR_DATA, "%s, line %zu: a transform needs 6 numbers, not %zu",
                       text->path, text->line, n);
    *transform = (tr_transform){numbers[0], numbers[1], numbers[2],
                                numbers[3], numbers[4], numbers[5]};
    double determinant =
        transform->a11 * transform->a22 - transform->a12 * transform->a21;
    if (fabs(determinant) < 1e-6) /* shrinks the image to a thousandth or a line */
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: the transform cannot be inverted (its determinant "
                       "is %g)",
                       text->path, text->line, determinant);
    return TR_OK;
}

tr_status tr_transforms_read(const char *path, size_t n_views, tr_transform *transforms)
{
    tr_text text;
    TR_TRY(tr_text_read(path, &text));
    tr_status status = TR_OK;
    size_t n = 0;
    for (char *line; status == TR_OK && (line = tr_text_line(&text)) != NULL; n++) {
        tr_transform transform;
        status = read_transform(&text, line, &transform);
        if (status == TR_OK && n < n_views)
            transforms[n] = transform;
    }
    tr_text_free(&text);
    TR_TRY(status);
    if (n != n_views)
        return tr_fail(TR_ERR_DATA, "%s has %zu transforms, but the series has %zu views",
                       path, n, n_views);
    return TR_OK;
}
