#include "formats/star_matrix.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/angle.h"
#include "common/base/mem.h"

/* "[a,b,c,d]" */
static tr_status read_row(const tr_star_reader *r, const tr_star_table *t, size_t k,
                          const char *label, double p[4])
{
    const char *cell = t->cells[k * t->n_columns + (size_t)tr_star_column(t, label)];
    tr_text at = r->text;
    at.line = t->lines[k];
    char *copy = tr_strdup(cell), *rest = copy;
    if (!copy)
        return TR_ERR_MEMORY;
    for (; *rest; rest++)
        if (*rest == '[' || *rest == ']')
            *rest = ' ';
    rest = copy;
    tr_status status = TR_OK;
    for (int i = 0; i < 4 && status == TR_OK; i++) {
        char *word = tr_text_word(&rest);
        status = word ? tr_text_number(&at, word, &p[i]) : TR_ERR_DATA;
        if (!word)
            (void)tr_fail(TR_ERR_DATA, "%s, line %zu: \"%s\" is not four numbers",
                          r->text.path, at.line, cell);
    }
    free(copy);
    return status;
}

static double inner(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/* The first two rows of Ry(tilt) Rx(xtilt). */
static void aligned_axes(double tilt, double xtilt, double u[3], double v[3])
{
    double c = cos(tilt), s = sin(tilt), cx = cos(xtilt), sx = sin(xtilt);
    u[0] = c, u[1] = s * sx, u[2] = s * cx;
    v[0] = 0.0, v[1] = cx, v[2] = -sx;
}

tr_status tr_star_read_matrix(const tr_star_reader *r, const tr_star_table *t, size_t k,
                              const double volume[3], const double image[2],
                              tr_alignment_row *row)
{
    double p[2][4], u[3], v[3];
    TR_TRY(read_row(r, t, k, "_rlnTomoProjX", p[0]));
    TR_TRY(read_row(r, t, k, "_rlnTomoProjY", p[1]));
    const double ray[3] = {p[0][1] * p[1][2] - p[0][2] * p[1][1],
                           p[0][2] * p[1][0] - p[0][0] * p[1][2],
                           p[0][0] * p[1][1] - p[0][1] * p[1][0]};
    double area = sqrt(inner(ray, ray));
    if (!(area > 0.0625 && area < 16.0))
        return tr_fail(TR_ERR_DATA, "%s, line %zu: its matrix is no projection",
                       r->text.path, t->lines[k]);
    double tilt = -asin(fmax(-1.0, fmin(1.0, ray[0] / area)));
    double xtilt = hypot(ray[1], ray[2]) > 1e-9 * area ? atan2(ray[1], ray[2]) : 0.0;
    /* To a thousandth of a degree: the digits that are written leave that, and x-tilts
     * that differ from view to view are work. */
    xtilt = round(xtilt * TR_DEGREES * 1000.0) / 1000.0 * TR_RADIANS;
    aligned_axes(tilt, xtilt, u, v);
    row->has_linear = true;
    for (int i = 0; i < 2; i++) {
        row->linear[2 * i] = inner(p[i], u);
        row->linear[2 * i + 1] = inner(p[i], v);
        double shift = p[i][3] - (image[i] - 1.0) / 2.0;
        for (int j = 0; j < 3; j++)
            shift += p[i][j] * (volume[j] - 1.0) / 2.0;
        *(i == 0 ? &row->shift_x : &row->shift_y) = shift;
    }
    row->rotation =
        atan2(row->linear[2] - row->linear[1], row->linear[0] + row->linear[3]) *
        TR_DEGREES;
    row->tilt = tilt * TR_DEGREES;
    row->xtilt = xtilt == 0.0 ? 0.0 : -xtilt * TR_DEGREES; /* as of rlnTomoXTilt */
    return TR_OK;
}
