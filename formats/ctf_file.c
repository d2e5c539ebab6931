#include "formats/ctf_file.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "formats/file_kind.h"

#define ROW(name, what) {what, tr_ctf_##name##_probe, tr_ctf_##name##_read},
static const tr_ctf_format formats[] = {TR_CTF_FORMATS(ROW)};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

static tr_status new_table(size_t n, tr_ctf_table *table)
{
    *table = (tr_ctf_table){.n = n, .optics = TR_NO_OPTICS};
    table->view = tr_calloc("the CTF of views", n, sizeof *table->view);
    table->given = tr_calloc("the CTF of views", n, sizeof *table->given);
    if (!table->view || !table->given)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < n; k++)
        table->view[k] = (tr_ctf)TR_NO_CTF;
    return TR_OK;
}

/* Defoci must be some; what else is not said of a view is filled in. */
static tr_status complete(const char *path, tr_ctf_table *table)
{
    const double most = 1e7; /* angstroms: 1 mm */
    for (size_t k = 0; k < table->n; k++) {
        tr_ctf *ctf = &table->view[k];
        if (!table->given[k] && isnan(ctf->defocus_1))
            continue;
        ctf->defocus_2 = isnan(ctf->defocus_2) ? ctf->defocus_1 : ctf->defocus_2;
        ctf->axis = isnan(ctf->axis) ? 0.0 : ctf->axis;
        ctf->phase = isnan(ctf->phase) ? 0.0 : ctf->phase;
        if (!(fabs(ctf->defocus_1) < most && fabs(ctf->defocus_2) < most))
            return tr_fail(TR_ERR_DATA,
                           "%s: %g and %g angstroms are not the defoci of view %zu", path,
                           ctf->defocus_1, ctf->defocus_2, k + 1);
        if (!(fabs(ctf->axis) <= 720.0 && fabs(ctf->phase) <= 720.0))
            return tr_fail(TR_ERR_DATA,
                           "%s: %g and %g degrees are not the axis and the phase of view "
                           "%zu",
                           path, ctf->axis, ctf->phase, k + 1);
    }
    return TR_OK;
}

static const tr_ctf_format *format_of(const char *path)
{
    for (size_t i = 0; i < N_FORMATS; i++)
        if (formats[i].probe(path))
            return &formats[i];
    return NULL;
}

bool tr_ctf_knows(const char *path) { return format_of(path) != NULL; }

tr_status tr_ctf_read(const char *path, const tr_ctf_series *series, tr_ctf_table *table)
{
    const tr_ctf_format *format = format_of(path);
    *table = (tr_ctf_table){.n = 0};
    if (!format) {
        tr_text text; /* that it cannot be read is said first */
        TR_TRY(tr_text_read(path, &text));
        tr_text_free(&text);
        TR_TRY(tr_refuse_other_kind(path, "the CTF of the views"));
        return tr_fail(
            TR_ERR_DATA,
            "%s is none of the files with the CTF of views that are read (%sby their "
            "contents)",
            path, TR_CTF_WORDS);
    }
    tr_status status = new_table(series->nz, table);
    if (status == TR_OK)
        status = format->read(path, series, table);
    if (status == TR_OK)
        status = complete(path, table);
    if (status != TR_OK)
        tr_ctf_table_free(table);
    return status;
}

void tr_ctf_table_free(tr_ctf_table *table)
{
    free(table->view);
    free(table->given);
    *table = (tr_ctf_table){.n = 0};
}

tr_status tr_ctf_set(const char *path, size_t line, long view,
                     const tr_ctf_series *series, const tr_ctf *ctf, tr_ctf_table *table)
{
    if (view < 0 || (size_t)view >= series->nz)
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: there is no view %ld; %s has the views 1 to %zu",
                       path, line, view + 1, series->path, series->nz);
    if (table->given[view])
        return tr_fail(TR_ERR_DATA, "%s, line %zu: view %ld is there twice", path, line,
                       view + 1);
    table->given[view] = true;
    table->view[view] = *ctf;
    return TR_OK;
}

tr_status tr_ctf_check_count(const char *path, size_t n, const tr_ctf_series *series)
{
    if (n == series->nz)
        return TR_OK;
    return tr_fail(TR_ERR_DATA,
                   "%s has the CTF of %zu views, but %s has %zu, and nothing in it tells "
                   "which they are",
                   path, n, series->path, series->nz);
}
