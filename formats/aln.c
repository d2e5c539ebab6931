/* AreTomo's alignment file: header lines "# NAME = values", then one row a view that was
 * aligned, "SEC ROT GMAG TX TY SMEAN SFIT SCALE BASE TILT", then the local alignment.
 * ROT is the tilt axis in degrees, TX and TY are pixels of the raw image, TILT has the
 * offsets that AreTomo found in it already. SEC is the view's section in the raw series,
 * from 0 (AreTomo 1 and 2) or from 1 (AreTomo 3), and views that are not listed are dark:
 * "# DarkFrame = RANK SEC TILT". Rows of the local alignment are "VIEW PATCH X Y DX DY
 * GOOD": the view's row in the table, from 0; where the patch is in the raw image, from
 * its centre, once TX and TY are taken off; its shift besides; and from 0 to 1, how far
 * that is to be trusted: AreTomo takes those from 0.9. "# Thickness = n" is the
 * specimen's, measured, in pixels of the raw image (AreTomo 3); 0 or less where it was
 * not. GMAG, a magnification, is 1 in all versions, and another one is not applied. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "formats/alignment.h"
#include "formats/text_file.h"

static const char first_line[] = "# AreTomo Alignment";
enum { COLUMNS = 10, LOCAL_COLUMNS = 7 };
static const double good_enough = 0.9;

typedef struct section {
    long number;
    tr_alignment_row row;
} section;

/* A row of the local alignment, its view one of the table. */
typedef struct local_row {
    size_t line;
    tr_local_shift shift;
    bool good;
} local_row;

typedef struct aln_reader {
    tr_text text;
    double raw[3]; /* RawSize, 0 while it is not known */
    double beta, thickness;
    double magnification; /* GMAG that is the furthest from 1; 0: no view yet */
    bool local;           /* the local alignment has begun */
    section *views, *darks;
    size_t n_views, n_darks;
    local_row *shifts;
    size_t n_shifts;
} aln_reader;

bool tr_aln_probe(const char *path, bool alone)
{
    (void)alone;
    tr_text text;
    if (tr_text_peek(path, &text) != TR_OK)
        return false;
    text.comments = true;
    const char *line = tr_text_line(&text);
    bool found = line && strncmp(line, first_line, strlen(first_line)) == 0;
    tr_text_free(&text);
    return found;
}

static tr_status read_numbers(const tr_text *text, char *words, size_t n, double *numbers)
{
    size_t found = 0;
    for (char *word; (word = tr_text_word(&words)) != NULL; found++) {
        double number;
        TR_TRY(tr_text_number(text, word, &number));
        if (found < n)
            numbers[found] = number;
    }
    if (found != n)
        return tr_fail(TR_ERR_DATA, "%s, line %zu: %zu numbers are needed, not %zu",
                       text->path, text->line, n, found);
    return TR_OK;
}

static tr_status section_number(const tr_text *text, double value, long *number)
{
    if (value != floor(value) || value < 0.0 || value > 1e6)
        return tr_fail(TR_ERR_DATA, "%s, line %zu: %g is not a section's number",
                       text->path, text->line, value);
    *number = (long)value;
    return TR_OK;
}

/* Room for one more in a list whose length doubles at powers of two. */
static tr_status make_room(void **list, size_t n, size_t size)
{
    if ((n & (n - 1)) != 0)
        return TR_OK;
    void *larger = realloc(*list, (n ? 2 * n : 1) * size);
    if (!larger)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for a table");
    *list = larger;
    return TR_OK;
}

static tr_status append(section **list, size_t *n, const section *item)
{
    void *room = *list;
    TR_TRY(make_room(&room, *n, sizeof *item));
    *list = room;
    (*list)[(*n)++] = *item;
    return TR_OK;
}

/* "NAME = values" behind a '#'. */
static tr_status read_header(aln_reader *r, char *line)
{
    const tr_text *text = &r->text;
    char *equals = strchr(line, '=');
    double numbers[3] = {0};
    if (!equals) {
        r->local = r->local || strcmp(tr_text_trim(line), "Local Alignment") == 0;
        return TR_OK;
    }
    *equals = '\0';
    const char *name = tr_text_trim(line);
    if (strcmp(name, "RawSize") == 0)
        return read_numbers(text, equals + 1, 3, r->raw);
    if (strcmp(name, "NumPatches") == 0) {
        long patches;
        TR_TRY(read_numbers(text, equals + 1, 1, numbers));
        return section_number(text, numbers[0], &patches);
    }
    if (strcmp(name, "BetaOffset") == 0)
        return read_numbers(text, equals + 1, 1, &r->beta);
    if (strcmp(name, "Thickness") == 0)
        return read_numbers(text, equals + 1, 1, &r->thickness);
    if (strcmp(name, "DarkFrame") == 0) {
        section dark = {.row.line = text->line};
        TR_TRY(read_numbers(text, equals + 1, 3, numbers));
        TR_TRY(section_number(text, numbers[1], &dark.number));
        return append(&r->darks, &r->n_darks, &dark);
    }
    return TR_OK;
}

static tr_status read_view(aln_reader *r, char *line)
{
    double numbers[COLUMNS] = {0};
    TR_TRY(read_numbers(&r->text, line, COLUMNS, numbers));
    section view = {.row = {.line = r->text.line,
                            .rotation = numbers[1],
                            .shift_x = numbers[3],
                            .shift_y = numbers[4],
                            .tilt = numbers[9],
                            .prior_exposure = NAN,
                            .ctf = TR_NO_CTF}};
    TR_TRY(section_number(&r->text, numbers[0], &view.number));
    if (r->n_views == 0 || fabs(numbers[2] - 1.0) > fabs(r->magnification - 1.0))
        r->magnification = numbers[2];
    return append(&r->views, &r->n_views, &view);
}

static tr_status read_local(aln_reader *r, char *line)
{
    double numbers[LOCAL_COLUMNS] = {0};
    long view = 0;
    TR_TRY(read_numbers(&r->text, line, LOCAL_COLUMNS, numbers));
    TR_TRY(section_number(&r->text, numbers[0], &view));
    for (int k = 2; k < 6; k++)
        if (!(fabs(numbers[k]) <= 1e6))
            return tr_fail(TR_ERR_DATA,
                           "%s, line %zu: %g pixels are not a place in an image",
                           r->text.path, r->text.line, numbers[k]);
    if (view >= (long)r->n_views)
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: a local shift of view %ld, but the table has %zu "
                       "views, counted from 0",
                       r->text.path, r->text.line, view, r->n_views);
    void *room = r->shifts;
    TR_TRY(make_room(&room, r->n_shifts, sizeof *r->shifts));
    r->shifts = room;
    r->shifts[r->n_shifts++] = (local_row){
        r->text.line,
        {(size_t)view, numbers[2], numbers[3], numbers[4], numbers[5]},
        numbers[6] >= good_enough,
    };
    return TR_OK;
}

static tr_status read_lines(aln_reader *r)
{
    r->text.comments = true;
    for (char *line; (line = tr_text_line(&r->text)) != NULL;) {
        if (*line == '#')
            TR_TRY(read_header(r, line + 1));
        else if (r->local)
            TR_TRY(read_local(r, line));
        else
            TR_TRY(read_view(r, line));
    }
    if (r->n_views == 0)
        return tr_fail(TR_ERR_DATA, "%s lists no aligned view", r->text.path);
    return TR_OK;
}

static bool has_section(const section *list, size_t n, long number)
{
    for (size_t k = 0; k < n; k++)
        if (list[k].number == number)
            return true;
    return false;
}

/* Whether the dark views' sections are those that the table leaves out, counted from
 * `first`: some versions write 0 for all of them. */
static bool darks_fit(const aln_reader *r, long first, size_t n)
{
    if (r->n_darks + r->n_views != n)
        return false;
    for (size_t k = 0; k < r->n_darks; k++) {
        long number = r->darks[k].number;
        if (number < first || number >= first + (long)n ||
            has_section(r->views, r->n_views, number) || has_section(r->darks, k, number))
            return false;
    }
    return true;
}

/* Whether sections are counted from 0 or from 1. */
static tr_status find_first(const aln_reader *r, size_t n, long *first)
{
    bool zero = has_section(r->views, r->n_views, 0);
    bool last = has_section(r->views, r->n_views, (long)n);
    *first = last ? 1 : 0;
    if (zero != last)
        return TR_OK;
    bool from_0 = darks_fit(r, 0, n), from_1 = darks_fit(r, 1, n);
    *first = from_1 ? 1 : 0;
    if (!zero && from_0 != from_1)
        return TR_OK;
    return tr_fail(TR_ERR_DATA,
                   "%s: it is not clear whether its sections (SEC) are counted from 0 or "
                   "from 1: it lists %zu aligned and %zu dark views of %zu",
                   r->text.path, r->n_views, r->n_darks, n);
}

/* Shifts are pixels of the images that AreTomo saw; those at hand may be binned. */
static tr_status find_scale(const aln_reader *r, const tr_aligned_series *series,
                            double *scale)
{
    *scale = 1.0;
    if (r->raw[0] == 0.0)
        return TR_OK;
    if (r->raw[2] != (double)series->nz)
        return tr_fail(TR_ERR_DATA,
                       "%s is about a series of %.0f views, but %s has %zu; name the "
                       "series that AreTomo aligned",
                       r->text.path, r->raw[2], series->path, series->nz);
    double x = (double)series->nx / r->raw[0], y = (double)series->ny / r->raw[1];
    if (!(r->raw[0] >= 1.0 && r->raw[1] >= 1.0) || fabs(x - y) > 0.01 * x)
        return tr_fail(TR_ERR_DATA,
                       "%s is about images of %.0f x %.0f pixels, but those of %s have "
                       "%zu x %zu; name the series that AreTomo aligned, binned or not",
                       r->text.path, r->raw[0], r->raw[1], series->path, series->nx,
                       series->ny);
    *scale = x;
    return TR_OK;
}

static int by_view(const void *a, const void *b)
{
    const local_row *x = a, *y = b;
    if (x->shift.view != y->shift.view)
        return x->shift.view < y->shift.view ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

/* The good ones by view of the series, where they are without the view's own shift taken
 * off, so that they are where the raw image has them. */
static tr_status keep_local(aln_reader *r, long first, double scale, tr_alignment *a)
{
    if (r->n_shifts == 0)
        return TR_OK;
    a->local = tr_calloc("local shifts", r->n_shifts, sizeof *a->local);
    if (!a->local)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < r->n_shifts; k++) {
        tr_local_shift *shift = &r->shifts[k].shift;
        const section *view = &r->views[shift->view];
        *shift = (tr_local_shift){
            (size_t)(view->number - first), scale * (shift->x + view->row.shift_x),
            scale * (shift->y + view->row.shift_y), scale * shift->dx, scale * shift->dy};
    }
    qsort(r->shifts, r->n_shifts, sizeof *r->shifts, by_view);
    for (size_t k = 0; k < r->n_shifts; k++)
        if (r->shifts[k].good)
            a->local[a->n_local++] = r->shifts[k].shift;
    a->n_poor = r->n_shifts - a->n_local;
    return TR_OK;
}

static tr_status keep(aln_reader *r, const tr_aligned_series *series,
                      tr_alignment *alignment)
{
    double scale;
    long first;
    TR_TRY(find_scale(r, series, &scale));
    TR_TRY(find_first(r, series->nz, &first));
    TR_TRY(
        tr_alignment_new(series->nz, TR_GIVES_ANGLES | TR_GIVES_TRANSFORMS, alignment));
    for (size_t k = 0; k < r->n_views; k++) {
        const section *view = &r->views[k];
        tr_alignment_row row = view->row;
        row.shift_x *= scale;
        row.shift_y *= scale;
        if (view->number < first || view->number >= first + (long)series->nz)
            return tr_fail(TR_ERR_DATA,
                           "%s, line %zu: there is no section %ld in a series of %zu "
                           "views counted from %ld",
                           r->text.path, row.line, view->number, series->nz, first);
        TR_TRY(tr_alignment_set(r->text.path, (size_t)(view->number - first), &row,
                                alignment));
    }
    alignment->scale = scale;
    alignment->beta_offset = r->beta;
    alignment->thickness = r->thickness > 0.0 ? r->thickness * scale : 0.0;
    alignment->magnification = r->magnification;
    return keep_local(r, first, scale, alignment);
}

tr_status tr_aln_read(const char *path, const tr_aligned_series *series,
                      tr_alignment *alignment)
{
    aln_reader reader = {.local = false};
    TR_TRY(tr_text_read(path, &reader.text));
    tr_status status = read_lines(&reader);
    if (status == TR_OK)
        status = keep(&reader, series, alignment);
    free(reader.views);
    free(reader.darks);
    free(reader.shifts);
    tr_text_free(&reader.text);
    return status;
}
