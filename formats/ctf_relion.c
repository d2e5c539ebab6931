/* RELION's tilt series (star.c), which says the CTF of each view beside its angle. */
#include "formats/ctf_file.h"

bool tr_ctf_relion_probe(const char *path) { return tr_star_probe(path, false); }

static tr_status take(const char *path, const tr_alignment *a,
                      const tr_ctf_series *series, tr_ctf_table *table)
{
    size_t n = 0;
    for (size_t k = 0; k < series->nz; k++) {
        if (!a->used[k] || isnan(a->ctf[k].defocus_1))
            continue;
        table->view[k] = a->ctf[k];
        table->given[k] = true;
        n++;
    }
    table->optics = a->optics;
    table->inverted = a->hand > 0.0; /* its depth is along z, which is -s */
    if (n == 0)
        return tr_fail(TR_ERR_DATA,
                       "%s has the angles of the views, but not their CTF (the column "
                       "_rlnDefocusU)",
                       path);
    return TR_OK;
}

tr_status tr_ctf_relion_read(const char *path, const tr_ctf_series *series,
                             tr_ctf_table *table)
{
    /* Only shifts need a pixel size. */
    const tr_aligned_series of = {.path = series->path,
                                  .name = series->name,
                                  .nz = series->nz,
                                  .pixel = series->pixel > 0.0 ? series->pixel : 1.0};
    tr_alignment a = {0};
    tr_status status = tr_star_read(path, &of, &a);
    if (status == TR_OK)
        status = take(path, &a, series, table);
    tr_alignment_free(&a);
    return status;
}
