#include "common/run/command.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/options/options.h"
#include "common/run/outside.h"

static tr_status find_algorithm(tr_command *c, const char *name)
{
    c->algorithm = tr_algorithm_find(name);
    if (c->algorithm && tr_method_offers(c->program->method, c->algorithm))
        return TR_OK;
    if (c->algorithm)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "%s needs the whole volume at once and %s works slice by slice; "
                       "use %s",
                       c->algorithm->name, c->program->name, c->program->whole_volume);
    const char *names[32];
    char list[256] = "";
    size_t n = 0;
    const tr_algorithm *a;
    for (size_t k = 0; n < 32 && (a = tr_algorithm_at(k)); k++) {
        if (!tr_method_offers(c->program->method, a))
            continue;
        names[n] = a->name;
        strncat(list, n ? ", " : "", sizeof list - strlen(list) - 1);
        strncat(list, a->name, sizeof list - strlen(list) - 1);
        n++;
    }
    const char *near = tr_nearest(name, names, n);
    return tr_fail(TR_ERR_USAGE, "there is no algorithm %s%s%s; the algorithms are %s",
                   name, near ? "; did you mean " : "", near ? near : "", list);
}

static tr_status make_groups(tr_command *c)
{
    size_t n = 0;
    while (tr_algorithm_at(n))
        n++;
    c->groups = tr_calloc("options", n + 2, sizeof *c->groups);
    c->params = tr_calloc("options", c->algorithm->params_size, 1);
    if (!c->groups || !c->params)
        return TR_ERR_MEMORY;
    c->groups[c->n_groups++] =
        (tr_option_group){"Common", tr_common_options, tr_n_common_options, &c->options};
    if (c->program->instead)
        c->groups[c->n_groups++] = (tr_option_group){
            "Device", tr_device_option_rows, tr_n_device_options, &c->device_options};
    for (size_t k = 0; k < n; k++) {
        const tr_algorithm *a = tr_algorithm_at(k);
        if (tr_method_offers(c->program->method, a))
            c->groups[c->n_groups++] = (tr_option_group){
                a->name, a->options, a->n_options, a == c->algorithm ? c->params : NULL};
    }
    return TR_OK;
}

/* A trial has no tomogram: options that only one has would be silently ignored. Slices
 * are enough for it, if the algorithm can do with them. */
static tr_status check_trial(tr_command *c)
{
    static const char *const others[] = {
        "initial", "resume", "timeline", "half-sets",   "verify",
        "report",  "json",   "preview",  "relion-star", "write-alignment"};
    TR_TRY(tr_trial_parse(c->options.try_what, &c->trial));
    for (size_t k = 0; k < sizeof others / sizeof *others; k++)
        if (tr_option_given(&c->line, others[k]))
            return tr_fail(TR_ERR_USAGE,
                           "--try makes no tomogram; leave out --%s, or --try",
                           others[k]);
    if (c->trial.what == TR_TRIAL_LAMBDA &&
        !tr_algorithm_option(c->algorithm, c->params, TR_LAMBDA_TIMES))
        return tr_fail(TR_ERR_USAGE,
                       "--try lambda is for algorithms with a regularizer, and %s has "
                       "none; give -a ADMM",
                       c->algorithm->name);
    if (c->program->trial_method &&
        tr_method_offers(c->program->trial_method, c->algorithm))
        c->method = c->program->trial_method;
    return TR_OK;
}

/* Nothing is made, so what is about a tomogram would be ignored. */
static tr_status check_residual(const tr_command *c)
{
    static const char *const others[] = {
        "initial", "resume",    "timeline", "half-sets",   "verify", "report",
        "preview", "try",       "mode",     "format",      "zarr",   "scale",
        "deflate", "algorithm", "second",   "relion-star", "splits"};
    for (size_t k = 0; k < sizeof others / sizeof *others; k++)
        if (tr_option_given(&c->line, others[k]))
            return tr_fail(TR_ERR_USAGE,
                           "--residual-of makes no tomogram; leave out --%s, or "
                           "--residual-of",
                           others[k]);
    return TR_OK;
}

/* "none" is for what --for would set. */
static void take_nothing(const char **what)
{
    if (*what && strcasecmp(*what, "none") == 0)
        *what = NULL;
}

/* Options that say how to weight, and nobody said to. */
static tr_status check_dose(tr_command *c)
{
    static const char *const how[] = {"dose-model", "dose-bfactor", "dose-type",
                                      "dose-initial", "dose-order"};
    tr_options *o = &c->options;
    bool perhaps = o->dose || (o->purpose.choice && !tr_option_given(&c->line, "dose"));
    o->views.dose = o->dose;
    for (size_t k = 0; k < sizeof how / sizeof *how && !perhaps; k++)
        if (tr_option_given(&c->line, how[k]))
            return tr_fail(TR_ERR_USAGE,
                           "--%s says how views are weighted by their exposure, and "
                           "without --dose they are not; give --dose, too",
                           how[k]);
    if (tr_option_given(&c->line, "dose-bfactor") &&
        o->views.dose_model != TR_DOSE_BFACTOR)
        return tr_fail(TR_ERR_USAGE,
                       "--dose-bfactor is for --dose-model bfactor, and the model is gg");
    return TR_OK;
}

/* What the microscope does to views as a part of the projection: --ctf-mode model, and
 * always with algorithms that weight by the views' spectra. */
static tr_status check_model(tr_command *c)
{
    tr_options *o = &c->options;
    const tr_algorithm *a = c->algorithm;
    bool always = a->needs & TR_NEEDS_SPECTRA;
    if (always && o->ctf && o->views.ctf_mode != TR_CTF_MODEL) {
        if (tr_option_given(&c->line, "ctf-mode"))
            return tr_fail(
                TR_ERR_USAGE,
                "%s has the CTF as a part of the projection, so views must not "
                "be corrected as well; leave out --ctf-mode",
                a->name);
        o->views.ctf_mode = TR_CTF_MODEL;
    }
    o->views.model = always || (o->ctf && o->views.ctf_mode == TR_CTF_MODEL);
    if (!o->views.model)
        return TR_OK;
    if (!(a->needs & TR_MODELS_VIEWS))
        return tr_fail(TR_ERR_USAGE,
                       "--ctf-mode model is for WIENER and ADMM, because without what "
                       "these weight by, a projection with the CTF gives worse results "
                       "than flipped phases; use --ctf-mode flip with %s",
                       a->name);
    if (o->half_sets.choice != TR_HALVES_NONE || o->try_what)
        return tr_fail(TR_ERR_USAGE,
                       "%s is not possible with a model of the views, as WIENER and "
                       "--ctf-mode model have it; use --ctf-mode flip with another "
                       "algorithm",
                       o->try_what ? "--try" : "--half-sets");
    if (o->views.normalize == TR_NORMALIZE_MEAN_STD)
        return tr_fail(TR_ERR_USAGE,
                       "--normalize mean-std would give the views different scales, and "
                       "their model has one; use --normalize contrast or mean");
    long *cg = tr_algorithm_option(a, c->params, "cg");
    if (cg && !tr_option_given(&c->line, "cg")) /* preconditioned ones */
        *cg = 2;
    if (!tr_option_given(&c->line, "normalize"))
        o->views.normalize = o->views.log ? TR_NORMALIZE_MEAN : TR_NORMALIZE_CONTRAST;
    return TR_OK;
}

static tr_status check_options(tr_command *c)
{
    tr_options *o = &c->options;
    o->views.log = tr_option_given(&c->line, "log");
    take_nothing(&o->ctf);
    take_nothing(&o->dose);
    TR_TRY(check_dose(c));
    TR_TRY(check_model(c));
    if (c->line.positional && o->input)
        return tr_fail(TR_ERR_USAGE, "two series are named, %s and --input %s; name one",
                       c->line.positional, o->input);
    if (!o->input)
        o->input = c->line.positional;
    if (tr_option_given(&c->line, "ranks-per-series") && !c->batch)
        return tr_fail(TR_ERR_USAGE, "--ranks-per-series is for a batch of many series");
    if (o->quiet && o->verbose)
        return tr_fail(TR_ERR_USAGE, "--quiet and --verbose contradict each other");
    if (o->scale[1] == 0.0)
        return tr_fail(
            TR_ERR_USAGE,
            "--scale %g,0 makes every voxel 0; the second number must not be 0",
            o->scale[0]);
    if (o->initial && !(c->algorithm->needs & TR_USES_INITIAL))
        return tr_fail(TR_ERR_USAGE,
                       "%s does not start from a volume; --initial is for iterations",
                       c->algorithm->name);
    if (o->outside == TR_OUTSIDE_CONTINUE && !(c->algorithm->needs & TR_COVERS_OUTSIDE))
        return tr_fail(
            TR_ERR_USAGE,
            "%s takes no account of what lies outside the field; --outside continue "
            "is for SIRT, SART, CGLS and ADMM",
            c->algorithm->name);
    if (o->residual_of)
        TR_TRY(check_residual(c));
    if (o->try_what)
        TR_TRY(check_trial(c));
    return TR_OK;
}

tr_status tr_command_parse(tr_command *c, const tr_program *program, int argc,
                           char *const *argv)
{
    c->program = program;
    c->method = program->method;
    int n = 0;
    if (tr_help_asked(argc, argv, &c->help_topic)) { /* whatever else is there */
        c->options.help = true;
        TR_TRY(find_algorithm(c, "WBP"));
        return make_groups(c);
    }
    TR_TRY(tr_arguments_rewrite(argc, argv, &n, &c->arguments));
    const char *name = tr_arguments_algorithm(n, c->arguments);
    TR_TRY(find_algorithm(c, name ? name : "WBP"));
    TR_TRY(make_groups(c));
    TR_TRY(tr_options_parse(c->groups, c->n_groups, "SERIES", n, c->arguments, &c->line));
    return check_options(c);
}

tr_status tr_command_parse_again(tr_command *c, int n, char *const *argv)
{
    tr_command_line_free(&c->line);
    TR_TRY(tr_options_parse(c->groups, c->n_groups, "SERIES", n, argv, &c->line));
    return check_options(c);
}

tr_status tr_command_set_algorithm(tr_command *c, const char *name)
{
    free(c->groups);
    free(c->params);
    c->groups = NULL;
    c->params = NULL;
    c->n_groups = 0;
    TR_TRY(find_algorithm(c, name));
    TR_TRY(make_groups(c));
    int n = 0; /* what is given is known by the rows there are */
    while (c->arguments[n])
        n++;
    return tr_command_parse_again(c, n, c->arguments);
}

void tr_command_free(tr_command *c)
{
    tr_command_line_free(&c->line);
    for (size_t i = 0; i < c->n_added; i++)
        free(c->extended[1 + i]);
    free(c->extended);
    tr_arguments_free(c->arguments);
    free(c->params);
    free(c->groups);
    *c = (tr_command){.program = NULL};
}
