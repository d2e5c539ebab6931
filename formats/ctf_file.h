/* The contrast transfer of a series' views, from the file of a program that measured it
 * (ctf_list.h). */
#ifndef TR_CTF_FILE_H
#define TR_CTF_FILE_H

#include "formats/alignment.h"
#include "formats/ctf_list.h"
#include "formats/text_file.h"

/* The series that the file is asked about. */
typedef struct tr_ctf_series {
    const char *path;
    const char *name;   /* RELION's for it, or NULL */
    size_t nz;          /* its views */
    const double *tilt; /* of each, degrees; NaN: not known */
    double pixel;       /* angstroms; 0: not known */
} tr_ctf_series;

/* Per view of the series; units are those of tr_ctf and tr_optics. */
typedef struct tr_ctf_table {
    size_t n;
    tr_ctf *view;     /* whose first defocus is NaN where the file has no such view */
    bool *given;      /* the file has this view itself: its values are not interpolated */
    tr_optics optics; /* NaN: not said */
    bool inverted; /* defocus grows where that of others falls: IMOD's and Warp's flag */
} tr_ctf_table;

typedef struct tr_ctf_format {
    const char *what;
    bool (*probe)(const char *path); /* by the contents; false: it cannot be read */
    tr_status (*read)(const char *path, const tr_ctf_series *series, tr_ctf_table *table);
} tr_ctf_format;

/* Errors are TR_ERR_DATA with one sentence that names file, line and value: no such file,
 * none of the formats, a damaged table, views that the series does not have, another
 * number of them where their order is all that tells, a defocus of 1 mm or more. A view
 * that the file says anything of has both defoci, axis and phase. Freed by
 * tr_ctf_table_free. */
TR_CHECKED tr_status tr_ctf_read(const char *path, const tr_ctf_series *series,
                                 tr_ctf_table *table);
void tr_ctf_table_free(tr_ctf_table *table);
/* Whether the file is of one of the formats; false where it cannot be read. */
bool tr_ctf_knows(const char *path);

/* ---- for the formats; the table is there, and nothing in it known ---- */

/* View `view`, from 0, as line `line` of the file has it; errors: the series
 * has no such view, or it is there already. */
TR_CHECKED tr_status tr_ctf_set(const char *path, size_t line, long view,
                                const tr_ctf_series *series, const tr_ctf *ctf,
                                tr_ctf_table *table);
/* Its rows are in the order of the views, so there must be as many. */
TR_CHECKED tr_status tr_ctf_check_count(const char *path, size_t n,
                                        const tr_ctf_series *series);

#define TR_CTF_FUNCTIONS(name, what)                                                     \
    bool tr_ctf_##name##_probe(const char *path);                                        \
    TR_CHECKED tr_status tr_ctf_##name##_read(                                           \
        const char *path, const tr_ctf_series *series, tr_ctf_table *table);
TR_CTF_FORMATS(TR_CTF_FUNCTIONS)
#undef TR_CTF_FUNCTIONS

#endif
