/* Files of exposures of views, in electrons per square angstrom. Errors are TR_ERR_DATA
 * with one sentence that names file, line and value. */
#ifndef TR_DOSE_FILE_H
#define TR_DOSE_FILE_H

#include "common/base/err.h"

/* The kinds of text of IMOD's mtffilter -dtype, a view a line. */
typedef enum tr_dose_type {
    TR_DOSE_TYPE_UNKNOWN,
    TR_DOSE_OF_VIEW,        /* its exposure */
    TR_DOSE_PRIOR_AND_VIEW, /* before it, of it */
    TR_DOSE_PRIOR_AND_END   /* before it, at its end */
} tr_dose_type;

/* exposure[n_views] and prior[n_views], NaN where the file has only exposures. Which of
 * the kinds with two columns is meant follows from how they go on from each other; an
 * error where that tells nothing and *type does not say either. *type becomes what the
 * file is. */
TR_CHECKED tr_status tr_dose_text_read(const char *path, size_t n_views,
                                       tr_dose_type *type, double *exposure,
                                       double *prior);

/* mdoc_time.c: seconds since some day of "25-Nov-2026  14:03:22", also with a year of two
 * digits, a month in digits or the year first; NaN for what is none. */
double tr_mdoc_time(const char *text);

/* star.c: Warp's .tomostar. Freed by tr_tomostar_free. */
typedef struct tr_tomostar {
    size_t n;
    double *tilt, *dose; /* degrees, of either sign; accumulated */
} tr_tomostar;
bool tr_tomostar_probe(const char *path);
TR_CHECKED tr_status tr_tomostar_read(const char *path, tr_tomostar *tomostar);
void tr_tomostar_free(tr_tomostar *tomostar);

#endif
