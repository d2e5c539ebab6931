#include "formats/alignment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/mem.h"
#include "formats/file_kind.h"

#define ROW(name, endings, gives) {endings, gives, tr_##name##_probe, tr_##name##_read},
#define ANGLES(name, endings) ROW(name, endings, TR_GIVES_ANGLES)
#define BOTH(name, endings) ROW(name, endings, TR_GIVES_ANGLES | TR_GIVES_TRANSFORMS)
#define TRANSFORMS(name, endings) ROW(name, endings, TR_GIVES_TRANSFORMS)

static const tr_alignment_format formats[] = {
    TR_ALIGNMENT_FORMATS(ANGLES, BOTH, TRANSFORMS)};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

const tr_alignment_format *tr_alignment_formats(size_t *n)
{
    *n = N_FORMATS;
    return formats;
}

const tr_alignment_format *tr_alignment_format_of(const char *path, unsigned wanted)
{
    for (size_t i = N_FORMATS; i-- > 0;) /* plain numbers, the first, may be anything */
        if ((formats[i].gives & wanted) == wanted && formats[i].probe(path, false))
            return &formats[i];
    return NULL;
}

tr_status tr_alignment_read(const char *path, unsigned wanted,
                            const tr_aligned_series *series, tr_alignment *alignment)
{
    const tr_alignment_format *format = tr_alignment_format_of(path, wanted);
    *alignment = (tr_alignment){0};
    if (!format)
        TR_TRY(tr_refuse_other_kind(
            path, wanted & TR_GIVES_TRANSFORMS ? "an alignment" : "a list of angles"));
    for (size_t i = 0; !format && i < N_FORMATS; i++)
        if (formats[i].gives == wanted)
            format = &formats[i];
    TR_ASSERT(format);
    tr_status status = format->read(path, series, alignment);
    if (status != TR_OK)
        tr_alignment_free(alignment);
    return status;
}

tr_status tr_refuse_other_source(const char *path, const char *wanted)
{
    const char *is = NULL, *option = "--tilts";
    if (tr_mdoc_probe(path)) {
        is = "an mdoc";
    } else if (tr_alignment_format_of(path, TR_GIVES_ANGLES | TR_GIVES_TRANSFORMS)) {
        is = "an alignment with tilt angles";
    } else if (tr_imod_com_probe(path)) {
        is = "a command file of IMOD";
        option = "--imod-com";
    }
    return is ? tr_fail(TR_ERR_DATA, "%s is %s, not %s; such a file is given with %s",
                        path, is, wanted, option)
              : TR_OK;
}

void tr_alignment_free(tr_alignment *alignment)
{
    free(alignment->used);
    free(alignment->tilt);
    free(alignment->xtilt);
    free(alignment->transforms);
    free(alignment->exposure);
    free(alignment->prior_exposure);
    free(alignment->ctf);
    free(alignment->local);
    free(alignment->further);
    *alignment = (tr_alignment){0};
}

tr_status tr_alignment_new(size_t n_views, unsigned gives, tr_alignment *alignment)
{
    *alignment = (tr_alignment){
        .n_views = n_views, .scale = 1.0, .axis = NAN, .optics = TR_NO_OPTICS};
    tr_alignment *a = alignment;
    a->used = tr_calloc("the list of views", n_views, sizeof *a->used);
    a->exposure = tr_calloc("exposures", n_views, sizeof *a->exposure);
    a->prior_exposure = tr_calloc("exposures", n_views, sizeof *a->prior_exposure);
    a->ctf = tr_calloc("the CTF of views", n_views, sizeof *a->ctf);
    if (gives & TR_GIVES_ANGLES)
        a->tilt = tr_calloc("the tilt angles", n_views, sizeof *a->tilt);
    if (gives & TR_GIVES_TRANSFORMS)
        a->transforms = tr_calloc("the transforms", n_views, sizeof *a->transforms);
    if (!a->used || !a->exposure || !a->prior_exposure || !a->ctf ||
        (!a->tilt && gives & TR_GIVES_ANGLES) ||
        (!a->transforms && gives & TR_GIVES_TRANSFORMS))
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < n_views; k++) {
        a->exposure[k] = a->prior_exposure[k] = NAN;
        a->ctf[k] = (tr_ctf)TR_NO_CTF;
    }
    return TR_OK;
}

static tr_status check_angle(const char *path, size_t line, double degrees)
{
    if (fabs(degrees) <= 360.0)
        return TR_OK;
    return tr_fail(TR_ERR_DATA, "%s, line %zu: %g is not an angle (degrees, -360 to 360)",
                   path, line, degrees);
}

/* The same of raw = L aligned + shift. */
static tr_transform to_aligned_linear(const tr_alignment_row *row)
{
    const double *l = row->linear;
    double area = l[0] * l[3] - l[1] * l[2];
    tr_transform t = {
        .a11 = l[3] / area, .a12 = -l[1] / area, .a21 = -l[2] / area, .a22 = l[0] / area};
    t.dx = -t.a11 * row->shift_x - t.a12 * row->shift_y;
    t.dy = -t.a21 * row->shift_x - t.a22 * row->shift_y;
    return t;
}

/* The inverse of raw = R aligned + shift. */
static tr_transform to_aligned(const tr_alignment_row *row)
{
    if (row->has_linear)
        return to_aligned_linear(row);
    double angle = row->rotation * TR_PI / 180.0;
    double c = cos(angle), s = sin(angle);
    return (tr_transform){.a11 = c,
                          .a12 = s,
                          .a21 = -s,
                          .a22 = c,
                          .dx = -c * row->shift_x - s * row->shift_y,
                          .dy = s * row->shift_x - c * row->shift_y};
}

tr_status tr_alignment_set(const char *path, size_t view, const tr_alignment_row *row,
                           tr_alignment *alignment)
{
    if (alignment->used[view])
        return tr_fail(TR_ERR_DATA, "%s, line %zu: view %zu is there twice", path,
                       row->line, view + 1);
    TR_TRY(check_angle(path, row->line, row->tilt));
    TR_TRY(check_angle(path, row->line, row->xtilt));
    TR_TRY(check_angle(path, row->line, row->rotation));
    if (row->xtilt != 0.0 && !alignment->xtilt) {
        alignment->xtilt = tr_calloc("the x-tilts", alignment->n_views, sizeof(double));
        if (!alignment->xtilt)
            return TR_ERR_MEMORY;
    }
    alignment->used[view] = true;
    alignment->n_used++; /* and the mean so far */
    alignment->rotation +=
        (row->rotation - alignment->rotation) / (double)alignment->n_used;
    alignment->tilt[view] = row->tilt;
    alignment->prior_exposure[view] = row->prior_exposure;
    alignment->ctf[view] = row->ctf;
    if (alignment->xtilt)
        alignment->xtilt[view] = row->xtilt;
    if (alignment->transforms)
        alignment->transforms[view] = to_aligned(row);
    return TR_OK;
}
