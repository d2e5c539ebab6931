/* The formats of alignment_list.h that have one thing to say: tables of angles,
 * SerialEM's mdoc, IMOD's .xf. */
#include <math.h>
#include <stdlib.h>

#include "common/base/angle.h"
#include "common/base/log.h"
#include "formats/alignment.h"
#include "formats/text_file.h"

/* Whether the first line is numbers; how many, in *n. */
static bool begins_with_numbers(const char *path, size_t *n)
{
    tr_text text;
    if (tr_text_peek(path, &text) != TR_OK)
        return false;
    char *line = tr_text_line(&text);
    bool numbers = line;
    *n = 0;
    for (char *word; numbers && (word = tr_text_word(&line)) != NULL; ++*n) {
        double value;
        numbers = tr_text_number(&text, word, &value) == TR_OK;
    }
    tr_text_free(&text);
    return numbers && *n > 0;
}

/* All views, with nothing to say of each but angles or transforms. */
static tr_status new_for_all(const tr_aligned_series *series, unsigned gives,
                             tr_alignment *alignment)
{
    TR_TRY(tr_alignment_new(series->nz, gives, alignment));
    alignment->n_used = series->nz;
    for (size_t k = 0; k < series->nz; k++)
        alignment->used[k] = true;
    return TR_OK;
}

bool tr_tilts_probe(const char *path, bool alone)
{
    size_t n;
    (void)alone;
    return begins_with_numbers(path, &n);
}

tr_status tr_tilts_read(const char *path, const tr_aligned_series *series,
                        tr_alignment *alignment)
{
    TR_TRY(new_for_all(series, TR_GIVES_ANGLES, alignment));
    size_t column = 0;
    TR_TRY(tr_angles_read_column(path, series->nz, alignment->tilt, &column));
    if (column > 0)
        tr_info("%s: the tilt angles are its column %zu; its first column is something "
                "else",
                path, column + 1);
    return TR_OK;
}

bool tr_serialem_probe(const char *path, bool alone)
{
    (void)alone;
    return tr_mdoc_probe(path);
}

tr_status tr_serialem_read(const char *path, const tr_aligned_series *series,
                           tr_alignment *alignment)
{
    tr_mdoc mdoc;
    TR_TRY(tr_mdoc_read_tilts(path, series->nz, &mdoc));
    tr_status status = new_for_all(series, TR_GIVES_ANGLES, alignment);
    for (size_t k = 0; status == TR_OK && k < series->nz; k++) {
        alignment->tilt[k] = mdoc.tilt[k];
        alignment->exposure[k] = mdoc.dose[k];
        alignment->prior_exposure[k] = mdoc.prior_dose[k];
    }
    if (status == TR_OK) {
        alignment->pixel = mdoc.pixel > 0.0 ? mdoc.pixel : 0.0;
        alignment->axis = mdoc.tilt_axis_angle;
        alignment->voltage = mdoc.voltage;
    }
    tr_mdoc_free(&mdoc);
    return status;
}

bool tr_xf_probe(const char *path, bool alone)
{
    size_t n;
    (void)alone;
    return begins_with_numbers(path, &n) && n == 6;
}

tr_status tr_xf_read(const char *path, const tr_aligned_series *series,
                     tr_alignment *alignment)
{
    TR_TRY(tr_refuse_other_source(path, "transforms"));
    TR_TRY(new_for_all(series, TR_GIVES_TRANSFORMS, alignment));
    TR_TRY(tr_transforms_read(path, series->nz, alignment->transforms));
    /* the mean of the views' */
    double x = 0.0, y = 0.0;
    for (size_t k = 0; k < series->nz; k++) {
        const tr_transform *t = &alignment->transforms[k];
        double size = hypot(t->a12, t->a11);
        x += t->a12 / size;
        y += t->a11 / size;
    }
    alignment->rotation = atan2(x, y) * TR_DEGREES;
    return TR_OK;
}
