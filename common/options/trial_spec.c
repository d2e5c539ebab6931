/* What --try was given. */
#include <math.h>
#include <string.h>

#include "common/options/options.h"
#include "common/options/trial_spec.h"

enum { LEAST_VALUES = 3, MOST_VALUES = 99 };

static const char *const names[] = {
    [TR_TRIAL_SAMPLES] = "samples",       [TR_TRIAL_TILT_OFFSET] = "tilt-offset",
    [TR_TRIAL_AXIS_SHIFT] = "axis-shift", [TR_TRIAL_PITCH] = "pitch",
    [TR_TRIAL_THICKNESS] = "thickness",   [TR_TRIAL_Z_SHIFT] = "z-shift",
    [TR_TRIAL_LAMBDA] = "lambda",
};
enum { N_NAMES = sizeof names / sizeof *names };

const char *tr_trial_name(tr_trial_what what) { return names[what]; }

const char *tr_trial_unit(tr_trial_what what)
{
    return what == TR_TRIAL_LAMBDA                                  ? "times"
           : what == TR_TRIAL_TILT_OFFSET || what == TR_TRIAL_PITCH ? "degrees"
                                                                    : "pixels";
}

double tr_trial_value(const tr_trial_spec *spec, size_t k)
{
    if (spec->what == TR_TRIAL_LAMBDA)
        return spec->from * pow(spec->step, (double)k);
    double value = spec->from + spec->step * (double)k;
    return fabs(value) < 1e-9 * spec->step ? 0.0 : value; /* not -1.4e-17 */
}

static tr_status find_name(const char *text, size_t length, tr_trial_what *what)
{
    char word[64] = "";
    if (length < sizeof word)
        memcpy(word, text, length);
    for (size_t k = 0; k < N_NAMES; k++)
        if (strcmp(word, names[k]) == 0) {
            *what = (tr_trial_what)k;
            return TR_OK;
        }
    const char *near = tr_nearest(word, names + 1, N_NAMES - 1);
    return tr_fail(TR_ERR_USAGE,
                   "--try %s: there is no %.*s to try%s%s; there are tilt-offset, "
                   "axis-shift, pitch, thickness, z-shift and lambda, such as --try "
                   "tilt-offset=-5:5:1",
                   text, (int)length, text, near ? "; did you mean " : "",
                   near ? near : "");
}

/* "FROM:TO:STEP". */
static bool read_range(const char *text, double value[3])
{
    for (int k = 0; k < 3; k++) {
        size_t length = strcspn(text, ":");
        if (!tr_parse_real(text, length, &value[k]) || text[length] != (k < 2 ? ':' : 0))
            return false;
        text += length + 1;
    }
    return true;
}

/* Each value must be one that the option itself would take. */
static tr_status check_values(const char *text, const tr_trial_spec *spec)
{
    const tr_option *row = tr_common_options;
    while (strcmp(row->name, names[spec->what]) != 0)
        row++;
    char allowed[128];
    tr_option_allowed(row, allowed, sizeof allowed);
    double last = tr_trial_value(spec, spec->n - 1);
    if (spec->from < row->min || last > row->max)
        return tr_fail(TR_ERR_USAGE, "--try %s: --%s must be %s", text, row->name,
                       allowed);
    if (row->type == TR_OPT_INT &&
        (spec->from != floor(spec->from) || spec->step != floor(spec->step)))
        return tr_fail(TR_ERR_USAGE, "--try %s: --%s is a whole number of pixels", text,
                       row->name);
    return TR_OK;
}

/* How many steps lead from `from` to `to`; NAN where none do. */
static double count_steps(const tr_trial_spec *spec)
{
    if (spec->what == TR_TRIAL_LAMBDA)
        return spec->from > 0.0 && spec->step > 1.0
                   ? floor(log(spec->to / spec->from) / log(spec->step) + 1e-6)
                   : NAN;
    return spec->step > 0.0 ? floor((spec->to - spec->from) / spec->step + 1e-6) : NAN;
}

tr_status tr_trial_parse(const char *text, tr_trial_spec *spec)
{
    size_t length = strcspn(text, "=");
    double value[3] = {0.125, 8.0, 2.0};
    *spec = (tr_trial_spec){.what = TR_TRIAL_SAMPLES, .step = 1.0, .n = 1};
    if (strcmp(text, names[TR_TRIAL_SAMPLES]) == 0)
        return TR_OK;
    TR_TRY(find_name(text, length, &spec->what));
    bool alone = spec->what == TR_TRIAL_LAMBDA && !text[length];
    bool read = alone || (text[length] == '=' && read_range(text + length + 1, value));
    if (spec->what == TR_TRIAL_SAMPLES || (!read && spec->what != TR_TRIAL_LAMBDA))
        return tr_fail(TR_ERR_USAGE,
                       "--try %s: must be PARAMETER=FROM:TO:STEP, such as "
                       "tilt-offset=-5:5:1, or nothing",
                       text);
    spec->from = value[0];
    spec->to = value[1];
    spec->step = value[2];
    double steps = count_steps(spec);
    if ((!read || isnan(steps)) && spec->what == TR_TRIAL_LAMBDA)
        return tr_fail(
            TR_ERR_USAGE,
            "--try %s: must be lambda=FROM:TO:FACTOR, from above 0 by a factor "
            "above 1, such as lambda=0.125:8:2, or lambda alone",
            text);
    if (!(steps >= LEAST_VALUES - 1) || steps > MOST_VALUES - 1)
        return tr_fail(TR_ERR_USAGE,
                       "--try %s: from %g to %g in steps of %g must be %d to %d values",
                       text, spec->from, spec->to, spec->step, LEAST_VALUES, MOST_VALUES);
    spec->n = (size_t)steps + 1;
    return spec->what == TR_TRIAL_LAMBDA ? TR_OK : check_values(text, spec);
}
