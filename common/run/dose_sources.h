/* Where the exposures of views are found, for inputs_dose.c. */
#ifndef TR_DOSE_SOURCES_H
#define TR_DOSE_SOURCES_H

#include "common/run/inputs.h"

/* Of all n sections of the series; NaN: not known. */
typedef struct tr_doses {
    size_t n;
    const char *series_path;
    const double *tilt; /* degrees */
    double *exposure, *prior;
    double *key; /* rises in the order in which sections were taken */
    /* The exposures' file, NULL: none; the key's; and what the order is known by. */
    const char *path, *order_path, *by;
    double voltage; /* kV; 0 or NaN: no file says */
} tr_doses;

/* Nothing known yet; freed by tr_doses_free. TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_doses_new(const tr_inputs *in, tr_doses *d);
void tr_doses_free(tr_doses *d);

/* What c->options.dose says: exposures of all sections that are used, those before them
 * as far as it or an mdoc says. Errors: no such file, one about other views, no exposure
 * of a view (TR_ERR_DATA, TR_ERR_USAGE). */
TR_CHECKED tr_status tr_dose_sources_read(const tr_inputs *in, const tr_command *c,
                                          tr_doses *d);

/* Whether --dose mdoc would find exposures. */
bool tr_dose_sources_beside(const tr_inputs *in);

#endif
