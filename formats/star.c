/* RELION 5's tilt series: a STAR file with one row a view, or one with a row a series
 * that names such files (tomograms.star, aligned_tilt_series.star). Of a view are read
 *   _rlnTomoYTilt, or before alignment _rlnTomoNominalStageTiltAngle: the tilt;
 *   _rlnTomoXTilt: a tilt about x before it, of a z axis against that of IMOD's slices,
 *     so with the other sign than the pitch (IMOD's XAXISTILT);
 *   _rlnTomoZRot, _rlnTomoXShiftAngst, _rlnTomoYShiftAngst: as in alignment.h;
 *   _rlnMicrographName: where it is NN@file in all rows and of one file, NN is the
 *     section, from 1; otherwise rows are the views in their order.
 *   _rlnMicrographPreExposure: e/A^2 before the view;
 *   _rlnVoltage: kV, here or in the table of series;
 *   _rlnDefocusU, _rlnDefocusV, _rlnDefocusAngle, _rlnPhaseShift: its CTF.
 * RELION copies rotation and shifts from IMOD or AreTomo as they are, so the centre is
 * theirs, (n - 1)/2. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "formats/alignment.h"
#include "formats/dose_file.h"
#include "formats/star_table.h"

typedef tr_star_table table;
typedef tr_star_reader star_reader;

static bool begins(const char *line, const char *word)
{
    return strncmp(line, word, strlen(word)) == 0;
}

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
static size_t fit(const char *name, const char *series)
{
    const char *slash = strrchr(series, '/');
    const char *base = slash ? slash + 1 : series;
    size_t length = name ? strlen(name) : 0;
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
    bool found = false, more = reader.line && (begins(reader.line, "data_") ||
                                               begins(reader.line, "loop_"));
    while (more && !found) {
        more = tr_star_next(&reader, &t) == TR_OK && t.n_columns > 0;
        found = tilt_column(&t) >= 0 || (!alone && files_column(&t) >= 0);
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

static tr_status read_views(const star_reader *r, const table *t,
                            const tr_aligned_series *series, double file_pixel,
                            tr_alignment *alignment)
{
    double pixel = pixel_for_shifts(series->pixel, file_pixel);
    int names = tr_star_column(t, "_rlnMicrographName"), tilt = tilt_column(t);
    int xtilt = tr_star_column(t, "_rlnTomoXTilt"),
        rotation = tr_star_column(t, "_rlnTomoZRot");
    int x = tr_star_column(t, "_rlnTomoXShiftAngst"),
        y = tr_star_column(t, "_rlnTomoYShiftAngst");
    bool aligned = rotation >= 0 && x >= 0 && y >= 0;
    TR_TRY(tr_star_check_rows(r, t));
    names = tr_star_has_sections(t, names) ? names : -1;
    if (names < 0 && t->n_rows != series->nz)
        return tr_fail(TR_ERR_DATA,
                       "%s has %zu views, but %s has %zu, and no section numbers "
                       "(NN@file in _rlnMicrographName) tell which they are",
                       r->text.path, t->n_rows, series->path, series->nz);
    if (aligned && pixel == 0.0)
        return tr_fail(TR_ERR_DATA,
                       "%s has shifts in angstroms, but neither it nor %s gives a pixel "
                       "size; give the one of the series with --pixel",
                       r->text.path, series->path);
    TR_TRY(tr_alignment_new(
        series->nz, TR_GIVES_ANGLES | (aligned ? TR_GIVES_TRANSFORMS : 0), alignment));
    for (size_t k = 0; k < t->n_rows; k++) {
        tr_alignment_row row = {.line = t->lines[k]};
        size_t view;
        TR_TRY(find_view(r, t, k, names, series, &view));
        TR_TRY(tr_star_number(r, t, k, tilt, &row.tilt));
        TR_TRY(tr_star_number(r, t, k, xtilt, &row.xtilt));
        row.xtilt = row.xtilt == 0.0 ? 0.0 : -row.xtilt;
        TR_TRY(read_exposure_and_ctf(r, t, k, &row));
        if (aligned) {
            TR_TRY(tr_star_number(r, t, k, rotation, &row.rotation));
            TR_TRY(tr_star_number(r, t, k, x, &row.shift_x));
            TR_TRY(tr_star_number(r, t, k, y, &row.shift_y));
            row.shift_x /= pixel;
            row.shift_y /= pixel;
        }
        TR_TRY(tr_alignment_set(r->text.path, view, &row, alignment));
    }
    alignment->pixel = file_pixel > 0.0 ? file_pixel : 0.0;
    return tr_star_number_or_nan(r, t, 0, "_rlnVoltage", &alignment->voltage);
}

/* ---- which table, which file ---- */

/* What a table of series says of one: its optics; the size of its pixels before any
 * binning, NaN: it does not say; and the tomogram's thickness in pixels of the series at
 * hand, or 0. */
typedef struct of_series {
    double pixel, thickness;
    tr_optics optics;
} of_series;

static tr_status read_of_series(const star_reader *r, const table *t, size_t row,
                                const tr_aligned_series *series, of_series *of)
{
    double size;
    TR_TRY(tr_star_number_or_nan(r, t, row, "_rlnTomoTiltSeriesPixelSize", &of->pixel));
    TR_TRY(tr_star_number_or_nan(r, t, row, "_rlnTomoSizeZ", &size));
    tr_optics *o = &of->optics;
    TR_TRY(tr_star_number_or_nan(r, t, row, "_rlnVoltage", &o->voltage));
    TR_TRY(tr_star_number_or_nan(r, t, row, "_rlnSphericalAberration", &o->cs));
    TR_TRY(tr_star_number_or_nan(r, t, row, "_rlnAmplitudeContrast", &o->amplitude));
    of->thickness = size > 0.0 ? size : 0.0;
    if (of->pixel > 0.0 && series->pixel > 0.0)
        of->thickness *= of->pixel / series->pixel;
    return TR_OK;
}

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
        size_t length = fit(row[tomogram], series->path);
        if (length > best) {
            best = length;
            *name = row[files];
            chosen = k;
        }
    }
    return *name ? read_of_series(r, t, chosen, series, of) : TR_OK;
}

/* Paths in STAR files begin in RELION's project folder: that is the current folder, or
 * one of those above the file. */
static tr_status find_file(const char *star, const char *name, char **path)
{
    size_t length = strlen(star);
    *path = tr_strdup(name);
    while (*path && access(*path, R_OK) != 0 && name[0] != '/' && length > 0) {
        while (length > 0 && star[length - 1] != '/')
            length--;
        free(*path);
        *path = tr_format_string("%.*s%s", (int)length, star, name);
        length -= length > 0;
    }
    if (!*path)
        return TR_ERR_MEMORY;
    if (access(*path, R_OK) == 0)
        return TR_OK;
    return tr_fail(TR_ERR_DATA,
                   "%s names the file %s, which is neither there from the current folder "
                   "nor from one above it; go to RELION's project folder, or name that "
                   "file itself",
                   star, name);
}

/* What of the file is about the series: a table of views, in *views, or another file, in
 * *other, and what is said with it. */
static tr_status search(star_reader *r, const tr_aligned_series *series, table *views,
                        char **other, of_series *of)
{
    size_t best = 0, n_tables = 0;
    tr_status status = TR_OK;
    for (bool more = true; status == TR_OK && more;) {
        table t = {0};
        status = tr_star_next(r, &t);
        more = t.n_columns > 0;
        if (status == TR_OK && tilt_column(&t) >= 0) {
            /* Of several series the one whose name fits best, or the only one. */
            size_t length = fit(t.block, series->path);
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
                status = find_file(r->text.path, name, other);
        }
        tr_star_free(&t);
    }
    TR_TRY(status);
    if (n_tables > 1 && best == 0)
        return tr_fail(TR_ERR_DATA,
                       "%s has %zu series, and none has the name of %s; name the file of "
                       "one series",
                       r->text.path, n_tables, series->path);
    if (n_tables == 0 && !*other)
        return tr_fail(TR_ERR_DATA, "%s names no series that %s could be", r->text.path,
                       series->path);
    return TR_OK;
}

/* *of as another file gave it. */
static tr_status read_file(const char *path, const tr_aligned_series *series,
                           of_series *of, tr_alignment *alignment, char **other)
{
    star_reader reader = {.block = ""};
    table views = {0};
    *other = NULL;
    TR_TRY(tr_text_read(path, &reader.text));
    tr_star_advance(&reader);
    tr_status status = search(&reader, series, &views, other, of);
    if (status == TR_OK && views.n_columns)
        status = read_views(&reader, &views, series, of->pixel, alignment);
    tr_star_free(&views);
    tr_text_free(&reader.text);
    return status;
}

tr_status tr_star_read(const char *path, const tr_aligned_series *series,
                       tr_alignment *alignment)
{
    char *other, *further = NULL;
    of_series of = {.pixel = NAN, .optics = TR_NO_OPTICS};
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
    bool begins_so =
        reader.line && (begins(reader.line, "data_") || begins(reader.line, "loop_"));
    bool found = begins_so && first_tomostar(&reader, &t) == TR_OK && t.n_columns;
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
