#include "formats/local_imod.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "formats/text_file.h"

enum { MOST_PATCHES = 100000, MOST_PIXELS = 1000000 };

/* Numbers one after another, whatever the lines. */
typedef struct number_stream {
    tr_text text;
    char *rest; /* of the line at hand */
    size_t n_read;
} number_stream;

static tr_status next_number(number_stream *s, bool *found, double *number)
{
    char *word = s->rest ? tr_text_word(&s->rest) : NULL;
    while (!word && (s->rest = tr_text_line(&s->text)) != NULL)
        word = tr_text_word(&s->rest);
    *found = word != NULL;
    s->n_read += *found;
    return word ? tr_text_number(&s->text, word, number) : TR_OK;
}

static tr_status count_rest(number_stream *s, size_t *n)
{
    bool found = true;
    double number;
    while (found)
        TR_TRY(next_number(s, &found, &number));
    *n = s->n_read;
    return TR_OK;
}

static tr_status out_of_range(const number_stream *s, double number, const char *what)
{
    return tr_fail(TR_ERR_DATA, "%s, line %zu: %g is not %s", s->text.path, s->text.line,
                   number, what);
}

/* ---- z-factors ---- */

static tr_status check_factor(const number_stream *s, double factor)
{
    return fabs(factor) <= 10.0 ? TR_OK : out_of_range(s, factor, "a z-factor");
}

static tr_status read_factors(number_stream *s, size_t n_views, double (*factors)[2])
{
    size_t n;
    bool found = true;
    for (size_t k = 0; k < 2 * n_views && found; k++) {
        double number = 0.0;
        TR_TRY(next_number(s, &found, &number));
        TR_TRY(check_factor(s, number));
        factors[k / 2][k % 2] = number;
    }
    TR_TRY(count_rest(s, &n));
    if (n == 2 * n_views)
        return TR_OK;
    return tr_fail(TR_ERR_DATA,
                   "%s has %zu numbers, but %zu views have two z-factors each",
                   s->text.path, n, n_views);
}

tr_status tr_zfactors_read(const char *path, size_t n_views, double (*factors)[2])
{
    number_stream s = {.rest = NULL};
    TR_TRY(tr_text_read(path, &s.text));
    tr_status status = read_factors(&s, n_views, factors);
    tr_text_free(&s.text);
    return status;
}

/* ---- local alignments ---- */

enum { HEAD = 9 };

static tr_status read_head(number_stream *s, double head[HEAD])
{
    size_t n = 0;
    char *line = tr_text_line(&s->text), *word;
    for (; line && (word = tr_text_word(&line)) != NULL; n++) {
        double number;
        TR_TRY(tr_text_number(&s->text, word, &number));
        if (n < HEAD)
            head[n] = number;
    }
    if (n < 6 || n > HEAD)
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: a local alignment begins with 6 to 9 numbers, not "
                       "%zu",
                       s->text.path, s->text.line, n);
    for (int k = 0; k < 6; k++)
        if (head[k] != floor(head[k]) || fabs(head[k]) > MOST_PIXELS)
            return out_of_range(s, head[k], "a number of patches or pixels");
    if (head[0] < 2.0 || head[1] < 2.0 || head[0] * head[1] > MOST_PATCHES)
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: %g x %g patches; at least 2 x 2 are needed, and "
                       "%d at most",
                       s->text.path, s->text.line, head[0], head[1], MOST_PATCHES);
    if (head[4] < 1.0 || head[5] < 1.0)
        return tr_fail(TR_ERR_DATA, "%s, line %zu: patches %g and %g pixels apart",
                       s->text.path, s->text.line, head[4], head[5]);
    return head[7] >= 0.0 ? TR_OK : out_of_range(s, head[7], "a pixel's size");
}

/* The next number of every view, to the place that `to` has in each. */
static tr_status read_column(number_stream *s, size_t n_views, bool angle, double *to)
{
    const size_t stride = sizeof(tr_local_patch) / sizeof(double);
    bool found;
    for (size_t k = 0; k < n_views; k++) {
        TR_TRY(next_number(s, &found, to + k * stride));
        if (angle && !(fabs(to[k * stride]) <= 360.0))
            return out_of_range(s, to[k * stride], "an angle (degrees, -360 to 360)");
    }
    return TR_OK;
}

static tr_status read_transform(number_stream *s, tr_transform *xf)
{
    double *number[] = {&xf->a11, &xf->a12, &xf->a21, &xf->a22, &xf->dx, &xf->dy};
    bool found;
    for (size_t k = 0; k < sizeof number / sizeof *number; k++) {
        TR_TRY(next_number(s, &found, number[k]));
        if (found && !(fabs(*number[k]) <= MOST_PIXELS))
            return out_of_range(s, *number[k], "a part of a transform");
        if (!found)
            return TR_OK; /* which is found when all are counted */
    }
    if (fabs(xf->a11 * xf->a22 - xf->a12 * xf->a21) < 1e-6)
        return tr_fail(TR_ERR_DATA, "%s, line %zu: a transform without an inverse",
                       s->text.path, s->text.line);
    return TR_OK;
}

static tr_status read_patch(number_stream *s, const tr_local_file *f, bool has_alpha,
                            tr_local_patch *patch)
{
    _Static_assert(sizeof(tr_local_patch) % sizeof(double) == 0, "a stride of doubles");
    bool found;
    TR_TRY(read_column(s, f->n_views, true, &patch->del_beta));
    if (has_alpha)
        TR_TRY(read_column(s, f->n_views, true, &patch->del_alpha));
    for (size_t k = 0; k < f->n_views && f->has_z; k++) {
        TR_TRY(next_number(s, &found, &patch[k].xz));
        TR_TRY(next_number(s, &found, &patch[k].yz));
        TR_TRY(check_factor(s, patch[k].xz));
        TR_TRY(check_factor(s, patch[k].yz));
    }
    for (size_t k = 0; k < f->n_views; k++)
        TR_TRY(read_transform(s, &patch[k].xf));
    return TR_OK;
}

static tr_status read_local(number_stream *s, tr_local_file *f)
{
    double head[HEAD] = {0};
    TR_TRY(read_head(s, head));
    f->n_x = (size_t)head[0], f->n_y = (size_t)head[1];
    f->start_x = head[2], f->start_y = head[3], f->step_x = head[4], f->step_y = head[5];
    f->pixel = head[7];
    f->has_z = head[8] > 0.0;
    bool has_alpha = head[6] > 0.0;
    size_t patches = f->n_x * f->n_y, n = 0, bytes;
    size_t numbers =
        patches * f->n_views * (7 + (has_alpha ? 1 : 0) + (f->has_z ? 2 : 0));
    TR_TRY(tr_size_product("a local alignment", &bytes, 3,
                           (size_t[]){patches, f->n_views, sizeof *f->patch}));
    if (!s->text.next ||
        strlen(s->text.next) < 2 * numbers - 1) /* a digit each, and what parts them */
        return tr_fail(TR_ERR_DATA, "%s is too short for %zu x %zu patches of %zu views",
                       s->text.path, f->n_x, f->n_y, f->n_views);
    f->patch = tr_calloc("a local alignment", patches * f->n_views, sizeof *f->patch);
    if (!f->patch)
        return TR_ERR_MEMORY;
    for (size_t p = 0; p < patches && s->n_read == n; p++) {
        TR_TRY(read_patch(s, f, has_alpha, f->patch + p * f->n_views));
        n += numbers / patches;
    }
    TR_TRY(count_rest(s, &n));
    if (n == numbers)
        return TR_OK;
    return tr_fail(TR_ERR_DATA,
                   "%s has %zu numbers behind its first line, but %zu x %zu patches of "
                   "%zu views need %zu",
                   s->text.path, n, f->n_x, f->n_y, f->n_views, numbers);
}

tr_status tr_local_file_read(const char *path, size_t n_views, tr_local_file *file)
{
    number_stream s = {.rest = NULL};
    *file = (tr_local_file){.n_views = n_views};
    TR_TRY(tr_text_read(path, &s.text));
    tr_status status = read_local(&s, file);
    tr_text_free(&s.text);
    if (status != TR_OK)
        tr_local_file_free(file);
    return status;
}

void tr_local_file_free(tr_local_file *file)
{
    free(file->patch);
    *file = (tr_local_file){.n_views = 0};
}
