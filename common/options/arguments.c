/* The command line before it is parsed: upstream's composite options, and what has to be
 * known of it first. */
#include "common/options/options.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"

/* ---- upstream's composite options ---- */

/* The new argument vector while it is written; `argv` has room enough. */
typedef struct rewriter {
    int argc;
    char **argv;
} rewriter;

static tr_status push(rewriter *r, const char *text)
{
    r->argv[r->argc] = tr_strdup(text);
    return r->argv[r->argc++] ? TR_OK : TR_ERR_MEMORY;
}

/* Split the value at its commas and push each field behind its option's name. False when
 * a field is empty or there are more fields than names. */
static bool push_fields(rewriter *r, const char *value, const char *const *names,
                        size_t n_names, size_t *n_fields, tr_status *status)
{
    for (size_t n = 0; n < n_names; n++) {
        size_t length = strcspn(value, ",");
        if (length == 0)
            return false;
        char *field = strndup(value, length);
        *status = field ? push(r, names[n]) : TR_ERR_MEMORY;
        if (*status == TR_OK)
            *status = push(r, field);
        free(field);
        *n_fields = n + 1;
        if (*status != TR_OK || value[length] == '\0')
            return true;
        value += length + 1;
    }
    return false;
}

static tr_status rewrite_method(rewriter *r, const char *value)
{
    static const char *const plain[] = {"-a", "-i", "-r"};
    static const char *const admm[] = {"-a", "-i", "--cg", "-r", "--lambda"};
    bool is_admm = strncasecmp(value, "ADMM", 4) == 0 && (!value[4] || value[4] == ',');
    size_t n = 0;
    tr_status status = TR_OK;
    if (!push_fields(r, value, is_admm ? admm : plain, is_admm ? 5 : 3, &n, &status))
        return tr_fail(TR_ERR_USAGE, "--method %s: must be %s", *value ? value : "''",
                       is_admm ? "ADMM,ITERATIONS,CG-ITERATIONS,RELAXATION,SOFT-THRESHOLD"
                               : "NAME, NAME,ITERATIONS or NAME,ITERATIONS,RELAXATION");
    return status;
}

static tr_status rewrite_geometry(rewriter *r, const char *value)
{
    static const char *const names[] = {"--tilt-offset", "--pitch", "--z-shift",
                                        "--thickness"};
    size_t n = 0;
    double number;
    tr_status status = TR_OK;
    int first = r->argc;
    bool good = push_fields(r, value, names, 4, &n, &status) && n == 4;
    for (int i = first + 1; good && status == TR_OK && i < r->argc; i += 2)
        good = tr_parse_real(r->argv[i], strlen(r->argv[i]), &number);
    if (status == TR_OK && !good)
        return tr_fail(
            TR_ERR_USAGE,
            "--geometry %s: must be four numbers OFFSET,PITCH,ZSHIFT,THICKNESS "
            "(degrees, degrees, pixels, pixels)",
            *value ? value : "''");
    return status;
}

static tr_status rewrite_tiltfile(rewriter *r, const char *value)
{
    TR_TRY(push(r, "--tilts"));
    return push(r, value);
}

/* For upstream's users -i is the input file: say so where its value is no number. */
static tr_status check_iterations(const char *argument, const char *next)
{
    double number;
    if (strncmp(argument, "-i", 2) != 0)
        return TR_OK;
    /* Without a point it is rather a long name with one dash, as the parser will say. */
    if (argument[2] && !strchr(argument, '.'))
        return TR_OK;
    const char *value = argument[2] ? argument + 2 : next;
    if (!value || value[0] == '-' || tr_parse_real(value, strlen(value), &number))
        return TR_OK;
    return tr_fail(TR_ERR_USAGE,
                   "-i %s: -i is the number of iterations here; to name the series use "
                   "--input %s",
                   value, value);
}

/* Whether the argument is --name or --name=value; *value is then the text behind '=' or
 * NULL. */
static bool is_long(const char *argument, const char *name, const char **value)
{
    size_t length = strlen(name);
    if (strncmp(argument, name, length) != 0 ||
        (argument[length] != '\0' && argument[length] != '='))
        return false;
    *value = argument[length] ? argument + length + 1 : NULL;
    return true;
}

/* Rewrite argv[*i] and, if its value is there, argv[*i + 1]. */
static tr_status rewrite_one(rewriter *r, char *const *argv, int argc, int *i)
{
    static const struct {
        const char *name, *example;
        tr_status (*rewrite)(rewriter *, const char *);
    } composites[] = {
        {"--method", "SIRT,30,0.2", rewrite_method},
        {"--geometry", "0,0,0,300", rewrite_geometry},
        {"--tiltfile", "FILE", rewrite_tiltfile},
    };
    const char *argument = argv[*i], *value;
    const char *next = *i + 1 < argc ? argv[*i + 1] : NULL;
    for (size_t c = 0; c < sizeof composites / sizeof *composites; c++) {
        if (!is_long(argument, composites[c].name, &value))
            continue;
        if (!value) {
            if (!next)
                return tr_fail(TR_ERR_USAGE, "%s needs a value: %s %s", argument,
                               argument, composites[c].example);
            value = next;
            ++*i;
        }
        return composites[c].rewrite(r, value);
    }
    if (strcmp(argument, "--f2b") == 0) {
        TR_TRY(push(r, "--mode"));
        return push(r, "byte");
    }
    TR_TRY(check_iterations(argument, next));
    return push(r, argument);
}

tr_status tr_arguments_rewrite(int argc, char *const *argv, int *new_argc,
                               char ***new_argv)
{
    rewriter r = {.argc = 0};
    bool options_ended = false;
    tr_status status = TR_OK;
    *new_argc = 0;
    *new_argv = NULL;
    /* One argument becomes ten at most: --method=ADMM,... */
    r.argv = tr_calloc("the command line", 10 * (size_t)argc + 1, sizeof *r.argv);
    if (!r.argv)
        return TR_ERR_MEMORY;
    for (int i = 0; i < argc && status == TR_OK; i++) {
        if (strcmp(argv[i], "--") == 0)
            options_ended = true;
        status =
            options_ended || i == 0 ? push(&r, argv[i]) : rewrite_one(&r, argv, argc, &i);
    }
    if (status != TR_OK) {
        tr_arguments_free(r.argv);
        return status;
    }
    *new_argc = r.argc;
    *new_argv = r.argv;
    return TR_OK;
}

void tr_arguments_free(char **argv)
{
    for (char **a = argv; a && *a; a++)
        free(*a);
    free(argv);
}

/* "-axis-shift": a long name with one dash, not "-a xis-shift". */
static bool is_long_with_one_dash(const char *argument)
{
    const char *value;
    for (size_t i = 0; i < tr_n_common_options; i++)
        if (is_long(argument + 1, tr_common_options[i].name, &value))
            return true;
    return false;
}

const char *tr_arguments_algorithm(int argc, char *const *argv)
{
    const char *algorithm = NULL, *value;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (is_long(argv[i], "--algorithm", &value) && value)
            algorithm = value;
        else if (strcmp(argv[i], "-a") == 0 || strcmp(argv[i], "--algorithm") == 0)
            /* An option instead of a value is left for the parser to refuse. */
            algorithm = i + 1 < argc && argv[i + 1][0] != '-' ? argv[++i] : algorithm;
        else if (strncmp(argv[i], "-a", 2) == 0 && !is_long_with_one_dash(argv[i]))
            algorithm = argv[i] + 2;
    }
    return algorithm;
}

bool tr_help_asked(int argc, char *const *argv, const char **topic)
{
    *topic = NULL;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], "--help=", 7) == 0) {
            *topic = argv[i] + 7;
            return true;
        }
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            *topic = i + 1 < argc ? argv[i + 1] : NULL;
            return true;
        }
    }
    return false;
}
