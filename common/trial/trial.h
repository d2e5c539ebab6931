/* --try: thin slabs instead of a tomogram, to find the geometry with; see try_figure.h
 * for what is measured and why. */
#ifndef TR_TRY_RUN_H
#define TR_TRY_RUN_H

#include "common/base/comm.h"
#include "common/base/err.h"

typedef enum tr_try_what {
    TR_TRY_SAMPLES, /* the geometry as given */
    TR_TRY_TILT_OFFSET,
    TR_TRY_AXIS_SHIFT,
    TR_TRY_PITCH,
    TR_TRY_THICKNESS,
    TR_TRY_Z_SHIFT
} tr_try_what;

typedef struct tr_try_spec {
    tr_try_what what;
    double from, to, step; /* as the option of that name is given; to >= from */
    size_t n;              /* values, 1 for samples */
} tr_try_spec;

/* "samples", or "PARAMETER=FROM:TO:STEP". Errors (TR_ERR_USAGE, with what would be
 * right): another form, an unknown parameter (nearest named), a step that is not above 0
 * or leads nowhere, too many values or fewer than three, values that the option of that
 * name does not take. */
TR_CHECKED tr_status tr_try_parse(const char *text, tr_try_spec *spec);

/* The name of the option ("tilt-offset"; "samples"), its unit ("degrees", "pixels"), and
 * value k. */
const char *tr_try_name(tr_try_what what);
const char *tr_try_unit(tr_try_what what);
double tr_try_value(const tr_try_spec *spec, size_t k);

struct tr_setup;

/* Reconstruct the slabs, print the figures and what they suggest, write the contact
 * sheet to s->job.output_spec.path. After tr_setup_series; collective, though the trials
 * are shared out over the processes and each is made by one alone. Errors: those of the
 * reconstruction and of the sheet; TR_ERR_USAGE where there are too few slices. */
TR_CHECKED tr_status tr_try_run(struct tr_setup *s, tr_comm *comm);

#endif
