/* Gctf's STAR file: a row for each image, in the order of the views unless the names say
 * NN@stack, with _rlnDefocusU, _rlnDefocusV (angstroms), _rlnDefocusAngle, _rlnPhaseShift
 * (degrees), _rlnVoltage, _rlnSphericalAberration and _rlnAmplitudeContrast. */
#include "formats/ctf_file.h"
#include "formats/star_table.h"

/* The first table with defoci and no series; false: there is none. */
static bool find_table(tr_star_reader *r, tr_star_table *t)
{
    for (tr_star_advance(r); tr_star_next(r, t) == TR_OK && t->n_columns;) {
        if (tr_star_column(t, "_rlnDefocusU") >= 0)
            return true;
        tr_star_free(t);
    }
    return false;
}

bool tr_ctf_gctf_probe(const char *path)
{
    tr_star_reader reader = {.block = ""};
    tr_star_table t = {0};
    if (tr_text_peek(path, &reader.text) != TR_OK)
        return false;
    bool found = find_table(&reader, &t);
    tr_star_free(&t);
    tr_text_free(&reader.text);
    return found;
}

static tr_status read_row(const tr_star_reader *r, const tr_star_table *t, size_t row,
                          long view, const tr_ctf_series *series, tr_ctf_table *table)
{
    tr_ctf ctf;
    TR_TRY(tr_star_number_or_nan(r, t, row, "_rlnDefocusU", &ctf.defocus_1));
    TR_TRY(tr_star_number_or_nan(r, t, row, "_rlnDefocusV", &ctf.defocus_2));
    TR_TRY(tr_star_number_or_nan(r, t, row, "_rlnDefocusAngle", &ctf.axis));
    TR_TRY(tr_star_number_or_nan(r, t, row, "_rlnPhaseShift", &ctf.phase));
    return tr_ctf_set(r->text.path, t->lines[row], view, series, &ctf, table);
}

static tr_status read_table(const tr_star_reader *r, const tr_star_table *t,
                            const tr_ctf_series *series, tr_ctf_table *table)
{
    int names = tr_star_column(t, "_rlnMicrographName");
    tr_optics *o = &table->optics;
    TR_TRY(tr_star_check_rows(r, t));
    bool named = tr_star_has_sections(t, names);
    if (!named)
        TR_TRY(tr_ctf_check_count(r->text.path, t->n_rows, series));
    TR_TRY(tr_star_number_or_nan(r, t, 0, "_rlnVoltage", &o->voltage));
    TR_TRY(tr_star_number_or_nan(r, t, 0, "_rlnSphericalAberration", &o->cs));
    TR_TRY(tr_star_number_or_nan(r, t, 0, "_rlnAmplitudeContrast", &o->amplitude));
    for (size_t k = 0; k < t->n_rows; k++) {
        const char *name = named ? t->cells[k * t->n_columns + (size_t)names] : NULL;
        long view = name ? (long)tr_star_section(name) - 1 : (long)k;
        TR_TRY(read_row(r, t, k, view, series, table));
    }
    return TR_OK;
}

tr_status tr_ctf_gctf_read(const char *path, const tr_ctf_series *series,
                           tr_ctf_table *table)
{
    tr_star_reader reader = {.block = ""};
    tr_star_table t = {0};
    TR_TRY(tr_text_read(path, &reader.text));
    tr_status status =
        find_table(&reader, &t)
            ? read_table(&reader, &t, series, table)
            : tr_fail(TR_ERR_DATA, "%s has no table with the column _rlnDefocusU", path);
    tr_star_free(&t);
    tr_text_free(&reader.text);
    return status;
}
