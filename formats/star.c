/* RELION 5's tilt series: a STAR file with one row a view, or one with a row a series
 * that names such files (tomograms.star, aligned_tilt_series.star). Of a view are read
 *   _rlnTomoYTilt, or before alignment _rlnTomoNominalStageTiltAngle: the tilt;
 *   _rlnTomoXTilt: a tilt about x before it, of a z axis against that of IMOD's slices,
 *     so with the other sign than the pitch (IMOD's XAXISTILT);
 *   _rlnTomoZRot, _rlnTomoXShiftAngst, _rlnTomoYShiftAngst: as in alignment.h;
 *   _rlnMicrographName: where it is NN@file in all rows and of one file, NN is the
 *     section, from 1; otherwise, and where this file itself is the series
 *     (star_series.h), rows are the views in their order.
 *   _rlnMicrographPreExposure: e/A^2 before the view;
 *   _rlnVoltage: kV, here or in the table of series;
 *   _rlnDefocusU, _rlnDefocusV, _rlnDefocusAngle, _rlnPhaseShift: its CTF.
 * RELION 4 has the tables of all series in one file, and matrices (star_matrix.h).
 * RELION copies rotation and shifts from IMOD or AreTomo as they are, so the centre is
 * theirs, (n - 1)/2. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/file_name.h"
#include "common/base/mem.h"
#include "formats/alignment.h"
#include "formats/dose_file.h"
#include "formats/star_matrix.h"

typedef tr_star_table table;
typedef tr_star_reader star_reader;

static int tilt_column(const table *t)
{
    int refined = tr_star_column(t, "_rlnTomoYTilt");
    return refined >= 0 ? refined : tr_star_column(t, "_rlnTomoNominalStageTiltAngle");
}

static int files_column(const table *t)
{
    return tr_star_column(t, "_rlnTomoTiltSeriesStarFile");
}

/* How much of the series' name a tomogram's name accounts for: TS_1 fits TS_1.mrc and
 * TS_1_ali.mrc, but not TS_11.mrc. */
static size_t fit(const char *name, const tr_aligned_series *series)
{
    const char *slash = strrchr(series->path, '/');
    const char *base = slash ? slash + 1 : series->path;
    size_t length = name ? strlen(name) : 0;
    if (series->name)
        return name && strcmp(name, series->name) == 0 ? length : 0;
    bool fits = length && strncmp(base, name, length) == 0 &&
                (base[length] == '.' || base[length] == '_' || base[length] == '\0');
    return fits ? length : 0;
}

bool tr_star_probe(const char *path, bool alone)
{
    star_reader reader = {.block = ""};
    table t = {0};
    if (tr_text_peek(path, &reader.text) != TR_OK)
        return false;
    tr_star_advance(&reader);
    bool found = false, more = tr_star_begins(&reader);
    while (more && !found) {
        more = tr_star_next(&reader, &t) == TR_OK && t.n_columns > 0;
        found = tr_star_is_of_views(&t) || (!alone && files_column(&t) >= 0);
        tr_star_free(&t);
    }
    tr_text_free(&reader.text);
    return found;
}

/* ---- a table of views ---- */

static tr_status read_exposure_and_ctf(const star_reader *r, const table *t, size_t k,
                                       tr_alignment_row *row)
{
    tr_ctf *ctf = &row->ctf;
    TR_TRY(tr_star_number_or_nan(r, t, k, "_rlnMicrographPreExposure",
                                 &row->prior_exposure));
    TR_TRY(tr_star_number_or_nan(r, t, k, "_rlnDefocusU", &ctf->defocus_1));
    TR_TRY(tr_star_number_or_nan(r, t, k, "_rlnDefocusV", &ctf->defocus_2));
    TR_TRY(tr_star_number_or_nan(r, t, k, "_rlnDefocusAngle", &ctf->axis));
    TR_TRY(tr_star_number_or_nan(r, t, k, "_rlnPhaseShift", &ctf->phase));
    if (row->prior_exposure < 0.0)
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: %g is not an exposure (e/A^2, 0 or more)",
                       r->text.path, row->line, row->prior_exposure);
    return TR_OK;
}

static tr_status find_view(const star_reader *r, const table *t, size_t row, int names,
                           const tr_aligned_series *series, size_t *view)
{
    *view = row;
    if (names < 0)
        return TR_OK;
    size_t section = tr_star_section(t->cells[row * t->n_columns + (size_t)names]);
    if (section > series->nz)
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: section %zu is named, but %s has %zu views",
                       r->text.path, t->lines[row], section, series->path, series->nz);
    *view = section - 1;
    return TR_OK;
}

/* Of the images at hand: as they say, if that is a binning of what the file says, or else
 * as the file says; 0: neither does. */
static double pixel_for_shifts(double images, double file)
{
    if (!(file > 0.0))
        return images > 0.0 ? images : 0.0;
    double binning = images > 0.0 ? round(images / file) : 0.0;
    return binning >= 1.0 && fabs(images / file / binning - 1.0) < 0.01 ? images : file;
}

/* What a table of series says of one: its optics; the size of its pixels before any
 * binning, NaN: it does not say; the tomogram's size in those, and its thickness in
 * pixels of the series at hand, 0 or NaN where it does not say. */
typedef struct of_series {
    double pixel, thickness, size[3], hand;
    tr_optics optics;
} of_series;

static tr_status read_of_series(const star_reader *r, const table *t, size_t row,
                                const tr_aligned_series *series, of_series *of)
{
    static const char *const sizes[] = {"_rlnTomoSizeX", "_rlnTomoSizeY",
                                        "_rlnTomoSizeZ"};
    TR_TRY(tr_star_number_or_nan(r, t, row, "_rlnTomoTiltSeriesPixelSize", &of->pixel));
    for (int i = 0; i < 3; i++)
        TR_TRY(tr_star_number_or_nan(r, t, row, sizes[i], &of->size[i]));
    TR_TRY(tr_star_number_or_nan(r, t, row, "_rlnTomoHand", &of->hand));
    tr_optics *o = &of->optics;
    TR_TRY(tr_star_number_or_nan(r, t, row, "_rlnVoltage", &o->voltage));
    TR_TRY(tr_star_number_or_nan(r, t, row, "_rlnSphericalAberration", &o->cs));
    TR_TRY(tr_star_number_or_nan(r, t, row, "_rlnAmplitudeContrast", &o->amplitude));
    of->thickness = of->size[2] > 0.0 ? of->size[2] : 0.0;
    if (of->pixel > 0.0 && series->pixel > 0.0)
        of->thickness *= of->pixel / series->pixel;
    return TR_OK;
}

/* Where the view is in the tomogram, and what aligns it. */
typedef struct placing {
    int tilt, xtilt, rotation, x, y; /* columns */
    bool matrices, aligned;
    double pixel; /* of the shifts, angstroms */
    double binning, image[2];
    const double *volume;
} placing;

static tr_status begin_placing(const star_reader *r, const table *t,
                               const tr_aligned_series *series, const of_series *of,
                               placing *p)
{
    *p = (placing){.pixel = pixel_for_shifts(series->pixel, of->pixel),
                   .tilt = tilt_column(t),
                   .xtilt = tr_star_column(t, "_rlnTomoXTilt"),
                   .rotation = tr_star_column(t, "_rlnTomoZRot"),
                   .x = tr_star_column(t, "_rlnTomoXShiftAngst"),
                   .y = tr_star_column(t, "_rlnTomoYShiftAngst"),
                   .binning = 1.0,
                   .volume = of->size};
    p->aligned = p->rotation >= 0 && p->x >= 0 && p->y >= 0;
    p->matrices = !p->aligned && tr_star_has_matrices(t);
    if (p->aligned && p->pixel == 0.0)
        return tr_fail(TR_ERR_DATA,
                       "%s has shifts in angstroms, but neither it nor %s gives a pixel "
                       "size; give the one of the series with --pixel",
                       r->text.path, series->path);
    if (!p->matrices)
        return TR_OK;
    if (!(of->size[0] > 0.0 && of->size[1] > 0.0 && of->size[2] > 0.0))
        return tr_fail(
            TR_ERR_DATA,
            "%s has projection matrices, but not the size of the tomogram that "
            "they are about (_rlnTomoSizeX, _rlnTomoSizeY, _rlnTomoSizeZ)",
            r->text.path);
    if (of->pixel > 0.0 && p->pixel > 0.0)
        p->binning = round(p->pixel / of->pixel);
    p->image[0] = (double)series->nx * p->binning;
    p->image[1] = (double)series->ny * p->binning;
    return TR_OK;
}

static tr_status place_view(const star_reader *r, const table *t, size_t k,
                            const placing *p, tr_alignment_row *row)
{
    double unit = p->matrices ? p->binning : p->pixel;
    if (p->matrices) {
        TR_TRY(tr_star_read_matrix(r, t, k, p->volume, p->image, row));
    } else {
        TR_TRY(tr_star_number(r, t, k, p->tilt, &row->tilt));
        TR_TRY(tr_star_number(r, t, k, p->xtilt, &row->xtilt));
        row->xtilt = row->xtilt == 0.0 ? 0.0 : -row->xtilt;
    }
    if (p->aligned) {
        TR_TRY(tr_star_number(r, t, k, p->rotation, &row->rotation));
        TR_TRY(tr_star_number(r, t, k, p->x, &row->shift_x));
        TR_TRY(tr_star_number(r, t, k, p->y, &row->shift_y));
    }
    if (p->aligned || p->matrices) {
        row->shift_x /= unit;
        row->shift_y /= unit;
    }
    return TR_OK;
}

static tr_status read_views(const star_reader *r, const table *t,
                            const tr_aligned_series *series, const of_series *of,
                            tr_alignment *alignment)
{
    int names = tr_star_column(t, "_rlnMicrographName");
    placing p;
    TR_TRY(tr_star_check_rows(r, t));
    bool by_names =
        tr_star_has_sections(t, names) && !tr_same_file(r->text.path, series->path);
    names = by_names ? names : -1;
    if (names < 0 && t->n_rows != series->nz)
        return tr_fail(TR_ERR_DATA,
                       "%s has %zu views, but %s has %zu, and no section numbers "
                       "(NN@file in _rlnMicrographName) tell which they are",
                       r->text.path, t->n_rows, series->path, series->nz);
    TR_TRY(begin_placing(r, t, series, of, &p));
    bool aligned = p.aligned || p.matrices;
    TR_TRY(tr_alignment_new(
        series->nz, TR_GIVES_ANGLES | (aligned ? TR_GIVES_TRANSFORMS : 0), alignment));
    for (size_t k = 0; k < t->n_rows; k++) {
        tr_alignment_row row = {.line = t->lines[k]};
        size_t view;
        TR_TRY(find_view(r, t, k, names, series, &view));
        TR_TRY(place_view(r, t, k, &p, &row));
        TR_TRY(read_exposure_and_ctf(r, t, k, &row));
        TR_TRY(tr_alignment_set(r->text.path, view, &row, alignment));
    }
    alignment->pixel = of->pixel > 0.0 ? of->pixel : 0.0;
    return tr_star_number_or_nan(r, t, 0, "_rlnVoltage", &alignment->voltage);
}

/* ---- which table, which file ---- */

/* Of a table of series, the file of this one, in *name, and what else it says. NULL: none
 * fits. */
static tr_status choose_file(const star_reader *r, const table *t,
                             const tr_aligned_series *series, const char **name,
                             of_series *of)
{
    int tomogram = tr_star_column(t, "_rlnTomoName"), files = files_column(t);
    size_t best = 0;
    TR_TRY(tr_star_check_rows(r, t));
    size_t chosen = 0;
    *name = t->n_rows == 1 ? t->cells[files] : NULL;
    for (size_t k = 0; k < t->n_rows && tomogram >= 0; k++) {
        char **row = t->cells + k * t->n_columns;
        size_t length = fit(row[tomogram], series);
        if (length > best) {
            best = length;
            *name = row[files];
            chosen = k;
        }
    }
    return *name ? read_of_series(r, t, chosen, series, of) : TR_OK;
}

/* What of the file is about the series: a table of views, in *views, or another file, in
 * *other, and what is said with it. */
static tr_status search(star_reader *r, const tr_aligned_series *series, table *views,
                        table *all, char **other, of_series *of)
{
    size_t best = 0, n_tables = 0;
    tr_status status = TR_OK;
    for (bool more = true; status == TR_OK && more;) {
        table t = {0};
        status = tr_star_next(r, &t);
        more = t.n_columns > 0;
        if (status == TR_OK && tr_star_is_of_views(&t)) {
            /* Of several series the one whose name fits best, or the only one. */
            size_t length = fit(t.block, series);
            n_tables++;
            if (length > best || n_tables == 1) {
                best = length;
                tr_star_free(views);
                *views = t;
                continue;
            }
        } else if (status == TR_OK && files_column(&t) >= 0 && !*other) {
            const char *name;
            status = choose_file(r, &t, series, &name, of);
            if (status == TR_OK && name)
                status = tr_star_find_file(r->text.path, name, other);
        } else if (status == TR_OK && tr_star_column(&t, "_rlnTomoName") >= 0) {
            tr_star_free(all);
            *all = t;
            continue;
        }
        tr_star_free(&t);
    }
    TR_TRY(status);
    bool named = series->name && all->n_columns;
    if (n_tables > 0 && best == 0 && (n_tables > 1 || named))
        return tr_fail(TR_ERR_DATA,
                       "%s has %zu series, and none has the name of %s; name the file of "
                       "one series",
                       r->text.path, n_tables, named ? series->name : series->path);
    if (n_tables == 0 && !*other)
        return tr_fail(TR_ERR_DATA, "%s names no series that %s could be", r->text.path,
                       series->path);
    return TR_OK;
}

/* What RELION 4's table of series, in the same file, says of the one whose views these
 * are. */
static tr_status read_beside(const star_reader *r, const table *all, const table *views,
                             const tr_aligned_series *series, of_series *of)
{
    int names = tr_star_column(all, "_rlnTomoName");
    TR_TRY(tr_star_check_rows(r, all));
    for (size_t k = 0; k < all->n_rows; k++)
        if (strcmp(all->cells[k * all->n_columns + (size_t)names], views->block) == 0)
            return read_of_series(r, all, k, series, of);
    return TR_OK;
}

/* *of as another file gave it. */
static tr_status read_file(const char *path, const tr_aligned_series *series,
                           of_series *of, tr_alignment *alignment, char **other)
{
    star_reader reader = {.block = ""};
    table views = {0}, all = {0};
    *other = NULL;
    TR_TRY(tr_text_read(path, &reader.text));
    tr_star_advance(&reader);
    tr_status status = search(&reader, series, &views, &all, other, of);
    if (status == TR_OK && views.n_columns && all.n_columns)
        status = read_beside(&reader, &all, &views, series, of);
    if (status == TR_OK && views.n_columns)
        status = read_views(&reader, &views, series, of, alignment);
    tr_star_free(&all);
    tr_star_free(&views);
    tr_text_free(&reader.text);
    return status;
}

tr_status tr_star_read(const char *path, const tr_aligned_series *series,
                       tr_alignment *alignment)
{
    char *other, *further = NULL;
    of_series of = {.pixel = NAN, .size = {NAN, NAN, NAN}, .optics = TR_NO_OPTICS};
    tr_status status = read_file(path, series, &of, alignment, &other);
    if (status == TR_OK && !alignment->used)
        status = read_file(other, series, &of, alignment, &further);
    if (status == TR_OK && !alignment->used)
        status = tr_fail(TR_ERR_DATA, "%s has no table of views", other);
    if (other)
        alignment->further = other;
    alignment->thickness = of.thickness;
    alignment->of_tomogram = true;
    alignment->optics = of.optics;
    alignment->hand = of.hand > 0.0 ? 1.0 : of.hand < 0.0 ? -1.0 : 0.0;
    if (alignment->voltage > 0.0)
        alignment->optics.voltage = alignment->voltage;
    if (!(alignment->voltage > 0.0))
        alignment->voltage = of.optics.voltage > 0.0 ? of.optics.voltage : 0.0;
    free(further);
    return status;
}

/* ---- Warp's list of views ---- */

static bool is_tomostar(const table *t)
{
    return tr_star_column(t, "_wrpAngleTilt") >= 0 && tr_star_column(t, "_wrpDose") >= 0;
}

static tr_status first_tomostar(star_reader *r, table *t)
{
    tr_status status;
    while ((status = tr_star_next(r, t)) == TR_OK && t->n_columns && !is_tomostar(t))
        tr_star_free(t);
    return status;
}

bool tr_tomostar_probe(const char *path)
{
    star_reader reader = {.block = ""};
    table t = {0};
    if (tr_text_peek(path, &reader.text) != TR_OK)
        return false;
    tr_star_advance(&reader);
    bool found =
        tr_star_begins(&reader) && first_tomostar(&reader, &t) == TR_OK && t.n_columns;
    tr_star_free(&t);
    tr_text_free(&reader.text);
    return found;
}

static tr_status keep_tomostar(const star_reader *r, const table *t,
                               tr_tomostar *tomostar)
{
    TR_TRY(tr_star_check_rows(r, t));
    *tomostar = (tr_tomostar){.n = t->n_rows};
    tomostar->tilt = tr_calloc("tilt angles", t->n_rows, sizeof(double));
    tomostar->dose = tr_calloc("doses", t->n_rows, sizeof(double));
    if (!tomostar->tilt || !tomostar->dose)
        return TR_ERR_MEMORY;
    int tilt = tr_star_column(t, "_wrpAngleTilt"), dose = tr_star_column(t, "_wrpDose");
    for (size_t k = 0; k < t->n_rows; k++) {
        TR_TRY(tr_star_number(r, t, k, tilt, &tomostar->tilt[k]));
        TR_TRY(tr_star_number(r, t, k, dose, &tomostar->dose[k]));
        if (tomostar->dose[k] < 0.0)
            return tr_fail(TR_ERR_DATA,
                           "%s, line %zu: %g is not an exposure (e/A^2, 0 or more)",
                           r->text.path, t->lines[k], tomostar->dose[k]);
    }
    return TR_OK;
}

tr_status tr_tomostar_read(const char *path, tr_tomostar *tomostar)
{
    star_reader reader = {.block = ""};
    table t = {0};
    *tomostar = (tr_tomostar){.n = 0};
    TR_TRY(tr_text_read(path, &reader.text));
    tr_star_advance(&reader);
    tr_status status = first_tomostar(&reader, &t);
    if (status == TR_OK)
        status = keep_tomostar(&reader, &t, tomostar);
    if (status != TR_OK)
        tr_tomostar_free(tomostar);
    tr_star_free(&t);
    tr_text_free(&reader.text);
    return status;
}

void tr_tomostar_free(tr_tomostar *tomostar)
{
    free(tomostar->tilt);
    free(tomostar->dose);
    *tomostar = (tr_tomostar){.n = 0};
}
