/* What --try was given. */
#include <math.h>
#include <string.h>

#include "common/options/options.h"
#include "common/trial/trial.h"

enum { LEAST_VALUES = 3, MOST_VALUES = 99 };

static const char *const names[] = {
    [TR_TRY_SAMPLES] = "samples",       [TR_TRY_TILT_OFFSET] = "tilt-offset",
    [TR_TRY_AXIS_SHIFT] = "axis-shift", [TR_TRY_PITCH] = "pitch",
    [TR_TRY_THICKNESS] = "thickness",   [TR_TRY_Z_SHIFT] = "z-shift",
};
enum { N_NAMES = sizeof names / sizeof *names };

const char *tr_try_name(tr_try_what what) { return names[what]; }

const char *tr_try_unit(tr_try_what what)
{
    return what == TR_TRY_TILT_OFFSET || what == TR_TRY_PITCH ? "degrees" : "pixels";
}

double tr_try_value(const tr_try_spec *spec, size_t k)
{
    double value = spec->from + spec->step * (double)k;
    return fabs(value) < 1e-9 * spec->step ? 0.0 : value; /* not -1.4e-17 */
}

static tr_status find_name(const char *text, size_t length, tr_try_what *what)
{
    char word[64] = "";
    if (length < sizeof word)
        memcpy(word, text, length);
    for (size_t k = 0; k < N_NAMES; k++)
        if (strcmp(word, names[k]) == 0) {
            *what = (tr_try_what)k;
            return TR_OK;
        }
    const char *near = tr_nearest(word, names + 1, N_NAMES - 1);
    return tr_fail(TR_ERR_USAGE,
                   "--try %s: there is no %.*s to try%s%s; there are tilt-offset, "
                   "axis-shift, pitch, thickness and z-shift, such as --try "
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
static tr_status check_values(const char *text, const tr_try_spec *spec)
{
    const tr_option *row = tr_common_options;
    while (strcmp(row->name, names[spec->what]) != 0)
        row++;
    char allowed[128];
    tr_option_allowed(row, allowed, sizeof allowed);
    double last = tr_try_value(spec, spec->n - 1);
    if (spec->from < row->min || last > row->max)
        return tr_fail(TR_ERR_USAGE, "--try %s: --%s must be %s", text, row->name,
                       allowed);
    if (row->type == TR_OPT_INT &&
        (spec->from != floor(spec->from) || spec->step != floor(spec->step)))
        return tr_fail(TR_ERR_USAGE, "--try %s: --%s is a whole number of pixels", text,
                       row->name);
    return TR_OK;
}

tr_status tr_try_parse(const char *text, tr_try_spec *spec)
{
    size_t length = strcspn(text, "=");
    double value[3];
    *spec = (tr_try_spec){.what = TR_TRY_SAMPLES, .step = 1.0, .n = 1};
    if (strcmp(text, names[TR_TRY_SAMPLES]) == 0)
        return TR_OK;
    TR_TRY(find_name(text, length, &spec->what));
    if (spec->what == TR_TRY_SAMPLES || text[length] != '=' ||
        !read_range(text + length + 1, value))
        return tr_fail(TR_ERR_USAGE,
                       "--try %s: must be PARAMETER=FROM:TO:STEP, such as "
                       "tilt-offset=-5:5:1, or nothing",
                       text);
    spec->from = value[0];
    spec->to = value[1];
    spec->step = value[2];
    double steps = floor((spec->to - spec->from) / spec->step + 1e-6);
    if (!(spec->step > 0.0) || !(steps >= LEAST_VALUES - 1) || steps > MOST_VALUES - 1)
        return tr_fail(TR_ERR_USAGE,
                       "--try %s: from %g to %g in steps of %g must be %d to %d values",
                       text, spec->from, spec->to, spec->step, LEAST_VALUES, MOST_VALUES);
    spec->n = (size_t)steps + 1;
    return check_values(text, spec);
}
