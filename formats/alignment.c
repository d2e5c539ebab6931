#include "formats/alignment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/mem.h"

bool tr_alignment_probe(const char *path)
{
    return tr_aln_probe(path) || tr_star_probe(path, false);
}

bool tr_alignment_probe_alone(const char *path)
{
    return tr_aln_probe(path) || tr_star_probe(path, true);
}

tr_status tr_alignment_read(const char *path, const tr_aligned_series *series,
                            tr_alignment *alignment)
{
    *alignment = (tr_alignment){0};
    tr_status status = tr_aln_probe(path) ? tr_aln_read(path, series, alignment)
                                          : tr_star_read(path, series, alignment);
    if (status != TR_OK)
        tr_alignment_free(alignment);
    else
        alignment->rotation /= (double)alignment->n_used;
    return status;
}

void tr_alignment_free(tr_alignment *alignment)
{
    free(alignment->used);
    free(alignment->tilt);
    free(alignment->xtilt);
    free(alignment->transforms);
    free(alignment->prior_exposure);
    free(alignment->ctf);
    free(alignment->further);
    *alignment = (tr_alignment){0};
}

tr_status tr_alignment_new(size_t n_views, bool transforms, tr_alignment *alignment)
{
    *alignment = (tr_alignment){.n_views = n_views, .scale = 1.0};
    alignment->used = tr_calloc("the list of views", n_views, sizeof(bool));
    alignment->tilt = tr_calloc("the tilt angles", n_views, sizeof(double));
    if (transforms)
        alignment->transforms =
            tr_calloc("the transforms", n_views, sizeof(tr_transform));
    alignment->prior_exposure = tr_calloc("exposures", n_views, sizeof(double));
    alignment->ctf = tr_calloc("the CTF of views", n_views, sizeof(tr_ctf));
    return alignment->used && alignment->tilt && alignment->prior_exposure &&
                   alignment->ctf && (!transforms || alignment->transforms)
               ? TR_OK
               : TR_ERR_MEMORY;
}

static tr_status check_angle(const char *path, size_t line, double degrees)
{
    if (fabs(degrees) <= 360.0)
        return TR_OK;
    return tr_fail(TR_ERR_DATA, "%s, line %zu: %g is not an angle (degrees, -360 to 360)",
                   path, line, degrees);
}

/* The inverse of raw = R aligned + shift. */
static tr_transform to_aligned(const tr_alignment_row *row)
{
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
    alignment->n_used++;
    alignment->tilt[view] = row->tilt;
    alignment->rotation += row->rotation;
    alignment->prior_exposure[view] = row->prior_exposure;
    alignment->ctf[view] = row->ctf;
    if (alignment->xtilt)
        alignment->xtilt[view] = row->xtilt;
    if (alignment->transforms)
        alignment->transforms[view] = to_aligned(row);
    return TR_OK;
}
