/* What --try was given: the parameter and its values. */
#ifndef TR_TRIAL_SPEC_H
#define TR_TRIAL_SPEC_H

#include "common/base/err.h"

typedef enum tr_trial_what {
    TR_TRIAL_SAMPLES, /* the geometry as given */
    TR_TRIAL_TILT_OFFSET,
    TR_TRIAL_AXIS_SHIFT,
    TR_TRIAL_PITCH,
    TR_TRIAL_THICKNESS,
    TR_TRIAL_Z_SHIFT,
    TR_TRIAL_LAMBDA /* the weight of a regularizer, in units of what it would be */
} tr_trial_what;

typedef struct tr_trial_spec {
    tr_trial_what what;
    double from, to; /* as the option of that name is given; to >= from */
    double step;     /* from one value to the next: a difference, of lambda a factor */
    size_t n;        /* values, 1 for samples */
} tr_trial_spec;

/* "samples", "PARAMETER=FROM:TO:STEP", or "lambda", which is lambda=0.125:8:2. Errors
 * (TR_ERR_USAGE, with what would be right): another form, an unknown parameter (nearest
 * named), a step that is not above 0 or leads nowhere, too many values or fewer than
 * three, values that the option of that name does not take. */
TR_CHECKED tr_status tr_trial_parse(const char *text, tr_trial_spec *spec);

/* The name of the option ("tilt-offset"; "samples"), its unit ("degrees", "pixels"), and
 * value k. */
const char *tr_trial_name(tr_trial_what what);
const char *tr_trial_unit(tr_trial_what what);
double tr_trial_value(const tr_trial_spec *spec, size_t k);

#endif
