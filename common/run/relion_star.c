#include "common/run/relion_star.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/base/file_lock.h"
#include "common/base/file_name.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "formats/file_io.h"
#include "formats/star_sheet.h"

static const char key[] = "_rlnTomoName", binning[] = "_rlnTomoTomogramBinning";

/* What the file gets of this series, beside what is known of it in `from`. */
typedef struct entry {
    char *name, *views;    /* rlnTomoName; the STAR file of its views */
    tr_star_sheet from;    /* the table of series that led here, or empty */
    size_t row;            /* of it */
    double pixel, binning; /* of the series in that file; of the tomogram against it */
} entry;

/* ---- whether it can be ---- */

/* RELION has its tomogram in the middle of the aligned views, along the axis as the
 * file of views has it. */
static tr_status check_place(const tr_run *run)
{
    static const char *const moved[] = {"tilt-offset", "axis-shift", "pitch", "x-shift",
                                        "z-shift",     "slices",     "xtilts"};
    const tr_command *c = &run->command;
    const tr_reconstruction *r = &run->volumes[0];
    for (size_t k = 0; k < sizeof moved / sizeof *moved; k++)
        if (tr_option_given(&c->line, moved[k]))
            return tr_fail(TR_ERR_USAGE,
                           "--relion-star: with --%s the tomogram is not where RELION "
                           "takes it to be, by the STAR file; leave one of the two out",
                           moved[k]);
    if (c->options.hand)
        return tr_fail(
            TR_ERR_USAGE,
            "--relion-star: with --hand -1 the tomogram is the mirror image of "
            "what RELION takes it to be; leave one of the two out");
    if (c->options.order != TR_ORDER_XYZ || r->job.output_spec.store_only)
        return tr_fail(TR_ERR_USAGE,
                       "--relion-star is for MRC files with sections along z; give "
                       "--order xyz%s",
                       r->job.output_spec.store_only ? ", and an output .mrc" : "");
    const char *dot = strrchr(r->job.output_spec.path, '.');
    if (!dot || (strcasecmp(dot, ".mrc") != 0 && strcasecmp(dot, ".map") != 0))
        return tr_fail(TR_ERR_USAGE,
                       "--relion-star: RELION reads a tomogram as .mrc, and %s is none; "
                       "name another with -o",
                       r->job.output_spec.path);
    return TR_OK;
}

static const char *star_of(const tr_inputs *in)
{
    bool is = in->tilts_path && tr_star_probe(in->tilts_path, false) &&
              in->transforms_path && tr_same_file(in->tilts_path, in->transforms_path);
    return is ? in->tilts_path : NULL;
}

/* ---- what is known ---- */

static tr_status read_from(const tr_inputs *in, const char *star, entry *e)
{
    const char *views = in->angles.further ? in->angles.further : star;
    tr_star_sheet_free(&e->from);
    TR_TRY(tr_star_series_name(views, &e->name));
    e->views = tr_strdup(views);
    if (!e->views)
        return TR_ERR_MEMORY;
    if (!in->angles.further)
        return TR_OK;
    TR_TRY(tr_star_sheet_read(star, "global", key, &e->from));
    e->row = tr_star_sheet_find(&e->from, key, in->lead.name ? in->lead.name : e->name);
    if (e->row == e->from.n_rows && e->from.n_rows == 1)
        e->row = 0;
    const char *name = tr_star_sheet_get(&e->from, e->row, key);
    const char *path = tr_star_sheet_get(&e->from, e->row, "_rlnTomoTiltSeriesStarFile");
    if (!name || !path)
        return tr_fail(TR_ERR_DATA, "%s has no row of the series %s", star, e->name);
    free(e->name);
    free(e->views);
    e->name = tr_strdup(name);
    e->views = tr_strdup(path);
    return e->name && e->views ? TR_OK : TR_ERR_MEMORY;
}

static void entry_free(entry *e)
{
    free(e->name);
    free(e->views);
    tr_star_sheet_free(&e->from);
}

static tr_status find_entry(const tr_run *run, entry *e)
{
    const tr_inputs *in = &run->inputs;
    const char *star = star_of(in);
    *e = (entry){.name = NULL};
    if (!star)
        return tr_fail(TR_ERR_USAGE,
                       "--relion-star is for series that are aligned by RELION's STAR "
                       "file, and %s is not; give that file as the series, or with -t",
                       in->series_path);
    tr_status status = read_from(in, star, e);
    if (status != TR_OK) {
        entry_free(e);
        return status;
    }
    double bin = (double)run->command.options.views.bin;
    e->pixel = in->angles.pixel > 0.0 ? in->angles.pixel : in->pixel;
    e->binning = in->pixel > 0.0 && e->pixel > 0.0 ? bin * in->pixel / e->pixel : bin;
    if (fabs(e->binning / round(e->binning) - 1.0) < 0.01)
        e->binning = round(e->binning);
    return TR_OK;
}

/* ---- the row ---- */

static tr_status set_number(tr_star_sheet *s, size_t row, const char *label, double value)
{
    char *text = tr_format_string("%.9g", value);
    tr_status status = text ? tr_star_sheet_set(s, row, label, text) : TR_ERR_MEMORY;
    free(text);
    return status;
}

/* What the file of all says, or else this; NaN: nothing does. */
static tr_status set_known(tr_star_sheet *s, size_t row, const char *label, double value,
                           const char *option)
{
    if (tr_star_sheet_get(s, row, label))
        return TR_OK;
    if (isnan(value) || !(value > 0.0 || value < 0.0))
        return tr_fail(
            TR_ERR_DATA,
            "--relion-star: nothing says %s of the series; give RELION's table "
            "of series in the place of its file of views%s%s",
            label + 1, option ? ", or --ctf with " : "", option ? option : "");
    return set_number(s, row, label, value);
}

static tr_status put_optics(const tr_run *run, const entry *e, tr_star_sheet *s,
                            size_t row)
{
    const tr_view_params *v = &run->command.options.views;
    const tr_optics *o = &run->inputs.angles.optics;
    const char *hand = "_rlnTomoHand";
    TR_TRY(
        set_known(s, row, "_rlnVoltage", v->ctf ? v->voltage : o->voltage, "--voltage"));
    TR_TRY(set_known(s, row, "_rlnSphericalAberration", v->ctf ? v->cs : o->cs, "--cs"));
    TR_TRY(set_known(s, row, "_rlnAmplitudeContrast",
                     v->ctf ? v->amplitude : o->amplitude, "--amplitude-contrast"));
    /* Its depth is along z, ours along s. */
    if (v->ctf && v->defocus_hand != TR_HAND_FILE)
        TR_TRY(set_number(s, row, hand, -v->hand));
    else
        TR_TRY(set_known(s, row, hand, v->ctf ? -v->hand : -1.0, NULL));
    return set_known(s, row, "_rlnTomoTiltSeriesPixelSize", e->pixel, NULL);
}

static tr_status put_tomogram(const tr_run *run, const entry *e, tr_star_sheet *s,
                              size_t row)
{
    enum { NAMES = 1 + TR_HALVES };
    static const char *const names[NAMES] = {"_rlnTomoReconstructedTomogram",
                                             "_rlnTomoReconstructedTomogramHalf1",
                                             "_rlnTomoReconstructedTomogramHalf2"};
    /* It has no places for splits into more than halves. */
    size_t n = run->n_volumes <= NAMES ? run->n_volumes : 1;
    const tr_output_spec *spec = &run->volumes[0].job.output_spec;
    TR_TRY(tr_star_sheet_set(s, row, "_rlnTomoTiltSeriesStarFile", e->views));
    TR_TRY(set_number(s, row, binning, e->binning));
    TR_TRY(set_number(s, row, "_rlnTomoSizeX", round((double)spec->width * e->binning)));
    TR_TRY(
        set_number(s, row, "_rlnTomoSizeY", round((double)spec->n_slices * e->binning)));
    TR_TRY(
        set_number(s, row, "_rlnTomoSizeZ", round((double)spec->thickness * e->binning)));
    for (size_t k = 0; k < n; k++)
        TR_TRY(tr_star_sheet_set(s, row, names[k], run->volumes[k].job.output_spec.path));
    for (size_t k = n; k < NAMES; k++)
        if (tr_star_sheet_get(s, row, names[k]))
            TR_TRY(tr_star_sheet_set(s, row, names[k], NULL)); /* of an earlier one */
    return TR_OK;
}

/* Names of what is not made may be missing; RELION reads "". */
static tr_status check_complete(const char *path, const tr_star_sheet *s)
{
    for (size_t k = 0; k < s->n_rows * s->n_columns; k++) {
        const char *label = s->label[k % s->n_columns];
        bool name = strstr(label, "Tomogram");
        if (!s->cell[k] && !name)
            return tr_fail(TR_ERR_DATA,
                           "%s: nothing says %s of the series %s; name another file "
                           "with --relion-star",
                           path, label + 1, tr_star_sheet_get(s, k / s->n_columns, key));
    }
    return TR_OK;
}

static tr_status merge(const tr_run *run, const entry *e, const char *path,
                       tr_star_sheet *s)
{
    TR_TRY(tr_star_sheet_read(path, "global", key, s));
    size_t row = tr_star_sheet_find(s, key, e->name);
    TR_TRY(tr_star_sheet_set(s, row, key, e->name));
    for (size_t c = 0; c < e->from.n_columns; c++) {
        const char *cell = tr_star_sheet_get(&e->from, e->row, e->from.label[c]);
        if (cell)
            TR_TRY(tr_star_sheet_set(s, row, e->from.label[c], cell));
    }
    TR_TRY(put_optics(run, e, s, row));
    TR_TRY(put_tomogram(run, e, s, row));
    /* RELION leaves the column out where nothing is binned. */
    for (size_t k = 0; k < s->n_rows; k++)
        if (!tr_star_sheet_get(s, k, binning))
            TR_TRY(tr_star_sheet_set(s, k, binning, "1"));
    return check_complete(path, s);
}

tr_status tr_relion_star_check(const tr_run *run)
{
    const char *path = run->command.options.relion_star;
    tr_star_sheet sheet = {.block = NULL};
    entry e;
    if (!path)
        return TR_OK;
    TR_TRY(check_place(run));
    TR_TRY(find_entry(run, &e));
    tr_status status = merge(run, &e, path, &sheet);
    tr_star_sheet_free(&sheet);
    entry_free(&e);
    return status;
}

/* ---- the file ---- */

static tr_status take_turn(const char *path)
{
    enum { TENTHS = 600 };
    const struct timespec tenth = {.tv_nsec = 100000000};
    tr_status status = tr_lock_take(path);
    for (int k = 0; k < TENTHS && status == TR_ERR_DATA; k++) {
        nanosleep(&tenth, NULL);
        status = tr_lock_take(path);
    }
    return status;
}

static tr_status put(const tr_star_sheet *sheet, const char *path)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    bool complete = out;
    if (out) {
        tr_star_sheet_put(sheet, out);
        complete = !ferror(out);
        complete = fclose(out) == 0 && complete;
    }
    tr_status status = complete ? tr_write_whole(path, text, size)
                                : tr_fail(TR_ERR_MEMORY, "not enough memory for a table");
    free(text);
    return status;
}

tr_status tr_relion_star_write(const tr_run *run)
{
    const char *path = run->command.options.relion_star;
    tr_star_sheet sheet = {.block = NULL};
    entry e;
    if (!path)
        return TR_OK;
    TR_TRY(find_entry(run, &e));
    tr_status status = take_turn(path);
    if (status == TR_OK) {
        status = merge(run, &e, path, &sheet);
        if (status == TR_OK)
            status = put(&sheet, path);
        tr_lock_release(path);
    }
    if (status == TR_OK)
        tr_info("wrote %s: the series %s, binning %g, hand of the defocus %s, among %zu",
                path, e.name, e.binning,
                tr_star_sheet_get(&sheet, tr_star_sheet_find(&sheet, key, e.name),
                                  "_rlnTomoHand"),
                sheet.n_rows);
    tr_star_sheet_free(&sheet);
    entry_free(&e);
    return status;
}
