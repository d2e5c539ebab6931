#include "common/run/dose_sources.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/base/file_name.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/dose_match.h"
#include "common/views/dose.h"
#include "formats/dose_file.h"

static const double SAME_WITHIN = TR_DOSE_SAME_WITHIN;

tr_status tr_doses_new(const tr_inputs *in, tr_doses *d)
{
    size_t n = tr_image_get_info(in->image)->nz;
    *d = (tr_doses){.n = n, .series_path = in->series_path, .tilt = in->tilts};
    d->exposure = tr_calloc("exposures", 3 * n, sizeof *d->exposure);
    if (!d->exposure)
        return TR_ERR_MEMORY;
    d->prior = d->exposure + n;
    d->key = d->prior + n;
    for (size_t k = 0; k < 3 * n; k++)
        d->exposure[k] = NAN;
    return TR_OK;
}

void tr_doses_free(tr_doses *d) { free(d->exposure); }

/* Equal angles twice, where views are found by them: nothing but the order tells which is
 * which. */
static void doubt_twins(const tr_doses *d, const char *path, const double *theirs,
                        size_t m, const long *of)
{
    size_t k = 0, i = 0, j = 0;
    while (k < d->n && of[k] == (long)k)
        k++;
    for (; k < d->n && i < m; i++)
        for (j = 0; j < i; j++)
            if (theirs[i] == theirs[j]) {
                tr_warn("%s has %g degrees twice, and its views are found by their "
                        "angles: of the two the first is taken for the one that comes "
                        "first in the series",
                        path, theirs[i]);
                return;
            }
}

static tr_dose_angles angles_of(const tr_doses *d, const char *path, const double *theirs,
                                size_t m)
{
    return (tr_dose_angles){.series = d->series_path,
                            .path = path,
                            .tilt = d->tilt,
                            .theirs = theirs,
                            .n = d->n,
                            .m = m};
}

/* ---- SerialEM's mdoc ---- */

static bool is_known(const double *values, size_t n)
{
    bool all = true, differ = n < 2;
    for (size_t k = 0; k < n; k++) {
        all = all && !isnan(values[k]);
        differ = differ || values[k] != values[0];
    }
    return all && differ;
}

static void say_of_times(const char *path, const tr_mdoc *mdoc)
{
    if (mdoc->odd_time_line)
        tr_warn("%s, line %zu: its DateTime cannot be read, so the order of the views is "
                "not known by their times",
                path, mdoc->odd_time_line);
}

/* In the order of the records. `key` is what rises with their order, NULL: nothing does.
 */
static const double *key_of(const char *path, const tr_mdoc *mdoc, const char **by)
{
    *by = "PriorRecordDose";
    if (is_known(mdoc->prior_dose, mdoc->n_views))
        return mdoc->prior_dose;
    *by = "DateTime";
    if (is_known(mdoc->time, mdoc->n_views))
        return mdoc->time;
    say_of_times(path, mdoc);
    *by = NULL;
    return NULL;
}

/* PriorRecordDose against DateTime. */
static tr_status compare_orders(const char *path, const tr_mdoc *mdoc)
{
    size_t n = mdoc->n_views;
    if (!is_known(mdoc->prior_dose, n) || !is_known(mdoc->time, n))
        return TR_OK;
    size_t *a = tr_calloc("the order of views", 2 * n, sizeof *a);
    if (!a)
        return TR_ERR_MEMORY;
    size_t *b = a + n;
    tr_order_by(mdoc->prior_dose, n, a);
    tr_order_by(mdoc->time, n, b);
    for (size_t i = 0; i < n; i++)
        if (mdoc->time[a[i]] != mdoc->time[b[i]]) {
            tr_warn("%s: PriorRecordDose and DateTime are of different orders: as number "
                    "%zu came section %zu by the first, which is taken, and section %zu "
                    "by the second",
                    path, i + 1, a[i], b[i]);
            break;
        }
    free(a);
    return TR_OK;
}

static tr_status check_exposures(const char *path, const tr_mdoc *mdoc)
{
    for (size_t k = 0; k < mdoc->n_views; k++)
        if (!(mdoc->dose[k] > 0.0))
            return tr_fail(
                TR_ERR_DATA,
                "%s has %s for section %zu (of %zu, from 0); give the exposure "
                "of a view in e/A^2 instead, such as --dose 3, or a file of "
                "them",
                path, isnan(mdoc->dose[k]) ? "no ExposureDose" : "ExposureDose 0", k,
                mdoc->n_views);
    return TR_OK;
}

/* What the exposures and those before each say of one another. */
static void doubt_sum(const char *path, const tr_mdoc *mdoc)
{
    double first = INFINITY, last = -INFINITY, sum = 0.0, of_last = 0.0;
    for (size_t k = 0; k < mdoc->n_views; k++) {
        first = fmin(first, mdoc->prior_dose[k]);
        sum += mdoc->dose[k];
        if (mdoc->prior_dose[k] > last) {
            last = mdoc->prior_dose[k];
            of_last = mdoc->dose[k];
        }
    }
    double all = last - first + of_last;
    if (fabs(sum - all) > 0.1 * all)
        tr_warn(
            "%s: the exposures (ExposureDose) add up to %.4g e/A^2, those before each "
            "view (PriorRecordDose) reach %.4g",
            path, sum, all);
}

/* Exposures and priors of its records become those of the views; all exposures are
 * `fixed`, unless that is 0. */
static tr_status take_records(tr_doses *d, const char *path, tr_mdoc *mdoc, double fixed,
                              const long *of)
{
    size_t n = mdoc->n_views;
    const double *key = key_of(path, mdoc, &d->by);
    bool own = key && key == mdoc->prior_dose && fixed == 0.0;
    for (size_t k = 0; k < n && fixed > 0.0; k++)
        mdoc->dose[k] = fixed;
    TR_TRY(check_exposures(path, mdoc));
    TR_TRY(compare_orders(path, mdoc));
    d->order_path = path;
    for (size_t k = 0; k < d->n; k++) {
        if (of[k] == TR_NO_RECORD)
            continue;
        d->exposure[k] = mdoc->dose[of[k]];
        if (key)
            d->key[k] = key[of[k]];
    }
    if (own)
        doubt_sum(path, mdoc);
    if (key && !own) { /* with those of views that are not in the series */
        size_t *order = tr_calloc("the order of views", n, sizeof *order);
        if (!order)
            return TR_ERR_MEMORY;
        tr_order_by(key, n, order);
        tr_priors_in_order(mdoc->dose, order, n, mdoc->prior_dose);
        free(order);
    }
    for (size_t k = 0; k < d->n && key; k++)
        if (of[k] != TR_NO_RECORD)
            d->prior[k] = mdoc->prior_dose[of[k]];
    return TR_OK;
}

static tr_status read_mdoc(tr_doses *d, const tr_inputs *in, const char *path,
                           double fixed)
{
    tr_mdoc mdoc;
    TR_TRY(tr_mdoc_read(path, &mdoc));
    long *of = tr_calloc("the order of views", d->n, sizeof *of);
    tr_status status = of ? TR_OK : TR_ERR_MEMORY;
    bool same = in->tilts_path && tr_same_file(path, in->tilts_path);
    for (size_t k = 0; of && same && k < d->n; k++)
        of[k] = (long)k;
    tr_dose_angles angles = angles_of(d, path, mdoc.tilt, mdoc.n_views);
    tr_dose_offset offset = {.other = NAN};
    if (status == TR_OK && !same)
        status = tr_dose_match(&angles, of, &offset);
    if (status == TR_OK)
        tr_dose_match_doubt(&angles, &offset);
    if (status == TR_OK)
        doubt_twins(d, path, mdoc.tilt, mdoc.n_views, of);
    if (status == TR_OK)
        status = take_records(d, path, &mdoc, fixed, of);
    if (status == TR_OK)
        d->voltage = mdoc.voltage;
    tr_mdoc_free(&mdoc);
    free(of);
    return status;
}

/* ---- files with the exposures before each view ---- */

/* All 0, say, where nobody has filled them in. */
static tr_status check_that_they_rise(const char *path, const char *name,
                                      const double *prior, size_t n)
{
    for (size_t k = 1; k < n; k++)
        if (prior[k] != prior[0])
            return TR_OK;
    if (n < 2)
        return TR_OK;
    return tr_fail(TR_ERR_DATA,
                   "%s has the same %s for all views, %g, so these are not the exposures "
                   "before each; give the exposure of a view in e/A^2 instead, such as "
                   "--dose 3",
                   path, name, prior[0]);
}

/* RELION's: sections that it has no row of stay unknown, and it says nothing of their
 * exposures; that of a view ends where the next one begins. */
static tr_status take_star(tr_doses *d, const tr_alignment *a, const char *path)
{
    size_t known = 0, *section = tr_calloc("the order of views", d->n, sizeof *section);
    double *prior = tr_calloc("exposures", 2 * d->n, sizeof *prior);
    tr_status status = section && prior ? TR_OK : TR_ERR_MEMORY;
    for (size_t k = 0; status == TR_OK && k < d->n; k++)
        if (a->used[k] && !isnan(a->prior_exposure[k])) {
            section[known] = k;
            prior[known++] = a->prior_exposure[k];
        }
    double *exposure = prior + d->n;
    if (status == TR_OK)
        status = check_that_they_rise(path, "rlnMicrographPreExposure", prior, known);
    if (status == TR_OK && known > 0)
        status = tr_exposures_of_priors(prior, known, exposure);
    for (size_t i = 0; status == TR_OK && i < known; i++) {
        d->prior[section[i]] = d->key[section[i]] = prior[i];
        d->exposure[section[i]] = exposure[i];
    }
    d->path = d->order_path = path;
    d->by = "rlnMicrographPreExposure";
    d->voltage = a->voltage;
    free(section);
    free(prior);
    return status;
}

static bool has_priors(const tr_alignment *a)
{
    for (size_t k = 0; a->prior_exposure && k < a->n_views; k++)
        if (a->used[k] && !isnan(a->prior_exposure[k]))
            return true;
    return false;
}

static tr_status read_star(tr_doses *d, const tr_inputs *in, const tr_command *c,
                           const char *path)
{
    const tr_aligned_series series = tr_inputs_series(in, c);
    tr_alignment a;
    TR_TRY(tr_alignment_read(path, TR_GIVES_ANGLES, &series, &a));
    tr_status status =
        has_priors(&a)
            ? take_star(d, &a, path)
            : tr_fail(TR_ERR_DATA,
                      "%s says nothing of exposures (_rlnMicrographPreExposure)", path);
    tr_alignment_free(&a);
    return status;
}

/* Rows follow each other as the views do, at angles of one of the signs. */
static bool is_in_order(const tr_doses *d, const char *path, const tr_tomostar *t)
{
    bool plus = t->n == d->n, minus = plus;
    for (size_t k = 0; k < d->n && k < t->n; k++) {
        plus = plus && !(fabs(d->tilt[k] - t->tilt[k]) > 2.0 * SAME_WITHIN);
        minus = minus && !(fabs(d->tilt[k] + t->tilt[k]) > 2.0 * SAME_WITHIN);
    }
    if (minus && !plus)
        tr_info(
            "%s: its angles are those of the views in their order, with the other sign",
            path);
    return plus || minus;
}

/* Otherwise by angle, of either sign: of[0] to of[n - 1] as they are, and behind that the
 * other way round. The sign with which nothing has to be added to the angles is better.
 */
static tr_status match_signs(const tr_doses *d, const char *path, tr_tomostar *t,
                             long *of)
{
    tr_dose_angles angles = angles_of(d, path, t->tilt, t->n);
    tr_dose_offset offset[2];
    tr_status status[2];
    for (int sign = 0; sign < 2; sign++) {
        long *part = of + (size_t)sign * d->n;
        status[sign] = tr_dose_match(&angles, part, &offset[sign]);
        for (size_t k = 0; k < t->n; k++)
            t->tilt[k] = -t->tilt[k];
    }
    bool fits[2] = {status[0] == TR_OK, status[1] == TR_OK};
    bool near[2] = {fabs(offset[0].taken) <= SAME_WITHIN,
                    fabs(offset[1].taken) <= SAME_WITHIN};
    if (fits[0] && fits[1] && near[0] != near[1])
        fits[near[0] ? 1 : 0] = false;
    if (fits[0] && fits[1] && memcmp(of, of + d->n, d->n * sizeof *of) != 0)
        return tr_fail(TR_ERR_DATA,
                       "%s has the views in another order than %s, and its angles fit "
                       "with either sign; give the exposures in the order of the views "
                       "with --dose",
                       path, d->series_path);
    if (!fits[0])
        memcpy(of, of + d->n, d->n * sizeof *of);
    if (fits[0] || fits[1])
        tr_dose_match_doubt(&angles, &offset[fits[0] ? 0 : 1]);
    return fits[0] || fits[1] ? TR_OK : status[0];
}

/* Warp's rows are the views of the stack that it makes, unless the angles say otherwise;
 * their sign may be the other one. */
static tr_status match_tomostar(const tr_doses *d, const char *path, tr_tomostar *t,
                                long *of)
{
    for (size_t k = 0; k < d->n; k++)
        of[k] = (long)k;
    if (is_in_order(d, path, t))
        return TR_OK;
    TR_TRY(match_signs(d, path, t, of));
    doubt_twins(d, path, t->tilt, t->n, of);
    return TR_OK;
}

static tr_status take_tomostar(tr_doses *d, const char *path, tr_tomostar *t, long *of,
                               double *prior)
{
    const char *where;
    TR_TRY(match_tomostar(d, path, t, of));
    TR_TRY(check_that_they_rise(path, "wrpDose", t->dose, t->n));
    TR_TRY(tr_split_accumulated(t->dose, t->n, prior, prior + t->n, &where));
    for (size_t k = 0; k < d->n; k++)
        if (of[k] != TR_NO_RECORD) {
            d->prior[k] = d->key[k] = prior[of[k]];
            d->exposure[k] = prior[t->n + (size_t)of[k]];
        }
    tr_info("%s: its exposures (wrpDose) are taken to reach to the %s of each view", path,
            where);
    d->path = d->order_path = path;
    d->by = "wrpDose";
    return TR_OK;
}

static tr_status read_tomostar(tr_doses *d, const char *path)
{
    tr_tomostar t;
    TR_TRY(tr_tomostar_read(path, &t));
    long *of = tr_calloc("the order of views", 2 * d->n, sizeof *of);
    double *prior = tr_calloc("exposures", 2 * t.n, sizeof *prior);
    tr_status status =
        of && prior ? take_tomostar(d, path, &t, of, prior) : TR_ERR_MEMORY;
    free(of);
    free(prior);
    tr_tomostar_free(&t);
    return status;
}

/* ---- of all kinds ---- */

/* The mdoc that tells of the series, or NULL. */
static const char *find_mdoc(const tr_inputs *in)
{
    if (in->tilts_path && tr_mdoc_probe(in->tilts_path))
        return in->tilts_path;
    for (size_t k = 0; k < in->beside.n; k++)
        if (tr_mdoc_probe(in->beside.list[k].path))
            return in->beside.list[k].path;
    return NULL;
}

/* The order, where the exposures are known otherwise; an mdoc about other views tells
 * nothing, nor do exposures that are all the same. */
static tr_status find_order(tr_doses *d, const tr_inputs *in, double fixed)
{
    const char *path = find_mdoc(in);
    tr_status status = TR_OK;
    if (has_priors(&in->angles) && !(in->tilts_path && tr_mdoc_probe(in->tilts_path))) {
        status = take_star(d, &in->angles, in->tilts_path);
        d->path = NULL;
        for (size_t k = 0; k < d->n; k++)
            d->prior[k] = NAN;
    } else if (path) {
        status = read_mdoc(d, in, path, fixed);
    }
    return status == TR_ERR_MEMORY ? status : TR_OK;
}

static tr_status read_fixed(tr_doses *d, const tr_inputs *in, double fixed)
{
    if (!(fixed > 0.0 && fixed <= 1000.0))
        return tr_fail(TR_ERR_USAGE,
                       "--dose %g: the exposure of a view must be above 0 and at most "
                       "1000 e/A^2",
                       fixed);
    TR_TRY(find_order(d, in, fixed));
    bool some = false;
    for (size_t k = 0; k < d->n; k++)
        some = some || !isnan(d->key[k]);
    for (size_t k = 0; k < d->n; k++) /* others have no part in the order */
        d->exposure[k] = some && isnan(d->key[k]) ? NAN : fixed;
    return TR_OK;
}

static tr_status read_text(tr_doses *d, const tr_inputs *in, const char *path, int type)
{
    tr_dose_type found = (tr_dose_type)type;
    tr_doses known;
    TR_TRY(tr_doses_new(in, &known));
    tr_status status = tr_dose_text_read(path, d->n, &found, known.exposure, known.prior);
    if (status == TR_OK && found == TR_DOSE_OF_VIEW)
        status = find_order(d, in, 1.0); /* for its key alone */
    if (status == TR_OK) {
        memcpy(d->exposure, known.exposure, d->n * sizeof *d->exposure);
        memcpy(d->prior, known.prior, d->n * sizeof *d->prior);
        d->path = path;
        if (found != TR_DOSE_OF_VIEW) {
            d->by = "the exposures before each";
            d->order_path = path;
            memcpy(d->key, d->prior, d->n * sizeof *d->key);
        }
    }
    tr_doses_free(&known);
    return status;
}

static tr_status read_beside(tr_doses *d, const tr_inputs *in)
{
    const char *path = find_mdoc(in);
    bool named = in->tilts_path && path == in->tilts_path;
    if (!named && has_priors(&in->angles))
        return take_star(d, &in->angles, in->tilts_path);
    if (!named && has_priors(&in->transforms))
        return take_star(d, &in->transforms, in->transforms_path);
    if (!path)
        return tr_fail(TR_ERR_USAGE,
                       "--dose mdoc: there is no mdoc beside %s, and its angles are from "
                       "no mdoc or STAR file of RELION with exposures; name a file, or "
                       "give the exposure of a view in e/A^2, such as --dose 3",
                       in->series_path);
    TR_TRY(read_mdoc(d, in, path, 0.0));
    d->path = path;
    return TR_OK;
}

bool tr_dose_sources_beside(const tr_inputs *in)
{
    const char *path = find_mdoc(in);
    tr_mdoc mdoc;
    bool some = has_priors(&in->angles) || has_priors(&in->transforms);
    if (some || !path || tr_mdoc_read(path, &mdoc) != TR_OK)
        return some;
    for (size_t k = 0; k < mdoc.n_views; k++)
        some = some || mdoc.dose[k] > 0.0;
    tr_mdoc_free(&mdoc);
    return some;
}

static tr_status read_any(const tr_inputs *in, const tr_command *c, bool *text,
                          tr_doses *d)
{
    const char *what = c->options.dose;
    double fixed;
    if (strcasecmp(what, "mdoc") == 0)
        return read_beside(d, in);
    if (tr_parse_real(what, strlen(what), &fixed))
        return read_fixed(d, in, fixed);
    if (access(what, F_OK) != 0) /* what is no regular file, the reader refuses */
        return tr_fail(TR_ERR_USAGE,
                       "--dose %s: there is no such file, and it is neither mdoc nor a "
                       "number of e/A^2",
                       what);
    if (tr_tomostar_probe(what))
        return read_tomostar(d, what);
    if (tr_mdoc_probe(what)) {
        TR_TRY(read_mdoc(d, in, what, 0.0));
        d->path = what;
        return TR_OK;
    }
    if (tr_alignment_format_of(what, TR_GIVES_ANGLES | TR_GIVES_TRANSFORMS))
        return read_star(d, in, c, what);
    *text = true;
    return read_text(d, in, what, c->options.dose_type);
}

tr_status tr_dose_sources_read(const tr_inputs *in, const tr_command *c, tr_doses *d)
{
    bool text = false;
    TR_TRY(read_any(in, c, &text, d));
    if (tr_option_given(&c->line, "dose-type") && !text)
        return tr_fail(TR_ERR_USAGE,
                       "--dose-type says what a text file's exposures are, and --dose %s "
                       "is no such file; leave it out",
                       c->options.dose);
    if (!(d->voltage > 0.0))
        d->voltage = fmax(in->angles.voltage, in->transforms.voltage);
    if (!(d->voltage > 0.0))
        (void)tr_inputs_mdoc_says(in, offsetof(tr_mdoc, voltage), 0.0, &d->voltage);
    return TR_OK;
}
