#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file_name.h"
#include "common/base/mem.h"
#include "common/program/batch.h"
#include "common/run/reconstruction.h"
#include "common/views/discover.h"
#include "common/views/series_name.h"

/* ---- the command line ---- */

static bool is_word(int argc, char *const *argv)
{
    return argc > 1 && strcmp(argv[1], "batch") == 0;
}

bool tr_batch_asked(int argc, char *const *argv)
{
    const char *topic;
    bool asked = is_word(argc, argv);
    for (int k = 1; k < argc && strcmp(argv[k], "--") != 0; k++)
        asked = asked || strcmp(argv[k], "--batch") == 0 ||
                strncmp(argv[k], "--batch=", 8) == 0;
    return asked && !tr_help_asked(argc, argv, &topic);
}

/* How many arguments from argv[k] on are one of those that are for the batch itself. */
static int own_arguments(char *const *argv, int k)
{
    static const char *const own[] = {"--batch", "--ranks-per-series", "--output"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        size_t n = strlen(own[i]);
        if (strncmp(argv[k], own[i], n) == 0 && (!argv[k][n] || argv[k][n] == '='))
            return argv[k][n] ? 1 : 2;
    }
    if (strncmp(argv[k], "-o", 2) == 0)
        return argv[k][2] ? 1 : 2;
    return 0;
}

static tr_status check_options(const tr_batch *b)
{
    static const char *const named[] = {"json", "report", "input", "try", "residual-of"};
    const tr_command_line *line = &b->command.line;
    for (size_t k = 0; k < sizeof named / sizeof *named; k++)
        if (tr_option_given(line, named[k]))
            return tr_fail(TR_ERR_USAGE,
                           "a batch has a --%s of its own for each series, or none; "
                           "leave it out",
                           named[k]);
    if (line->positional)
        return tr_fail(TR_ERR_USAGE,
                       "%s stands among the options of a batch; series come before the "
                       "--, as in: batch SERIES... -- OPTIONS, or in the file of --batch",
                       line->positional);
    return TR_OK;
}

/* Options are argv[first] on; b->argv gets those for each series. */
static tr_status parse(tr_batch *b, int argc, char **argv, int first)
{
    char **all = tr_calloc("the command line", (size_t)argc + 1, sizeof *all);
    b->argv = tr_calloc("the command line", (size_t)argc + 1, sizeof *b->argv);
    if (!all || !b->argv) {
        free(all);
        return TR_ERR_MEMORY;
    }
    int n = 0;
    all[n++] = argv[0];
    for (int k = first; k < argc; k++)
        all[n++] = argv[k];
    tr_status status = tr_command_parse(&b->command, b->program, n, all);
    for (int k = 1; k < n;) {
        int own = own_arguments(all, k);
        if (!own)
            b->argv[b->argc++] = all[k];
        k += own ? own : 1;
    }
    free(all);
    return status == TR_OK ? check_options(b) : status;
}

/* ---- the series ---- */

static tr_status add_item(tr_batch *b, const char *item)
{
    enum { STEP = 64 };
    if (b->n % STEP == 0) {
        tr_batch_entry *more = realloc(b->entry, (b->n + STEP) * sizeof *more);
        if (!more)
            return tr_fail(TR_ERR_MEMORY, "not enough memory for the list of series");
        b->entry = more;
    }
    b->entry[b->n] = (tr_batch_entry){.item = tr_strdup(item)};
    return b->entry[b->n++].item ? TR_OK : TR_ERR_MEMORY;
}

static tr_status read_list(tr_batch *b, const char *path)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    tr_status status = TR_OK;
    FILE *file = fopen(path, "re");
    if (!file)
        return tr_fail(TR_ERR_DATA, "cannot open the list of series %s: %s", path,
                       strerror(errno));
    while (status == TR_OK && (n = getline(&line, &room, file)) >= 0) {
        while (n > 0 && strchr(" \t\r\n", line[n - 1]))
            line[--n] = '\0';
        if (*line && *line != '#')
            status = add_item(b, line);
    }
    if (status == TR_OK && ferror(file))
        status = tr_fail(TR_ERR_DATA, "reading %s failed: %s", path, strerror(errno));
    free(line);
    fclose(file);
    return status;
}

static void fail_entry(tr_batch_entry *e)
{
    e->state = TR_BATCH_FAILED;
    snprintf(e->sentence, sizeof e->sentence, "%.599s", tr_error());
}

/* The one series in a folder; what is no folder is looked at by the run. */
static tr_status find_series(tr_batch_entry *e)
{
    struct stat file;
    tr_discovery found;
    size_t length = strlen(e->item);
    while (length > 1 && e->item[length - 1] == '/')
        e->item[--length] = '\0';
    if (stat(e->item, &file) != 0 || !S_ISDIR(file.st_mode)) {
        e->series = tr_strdup(e->item);
        return e->series ? TR_OK : TR_ERR_MEMORY;
    }
    tr_status status = tr_discover(e->item, &found);
    if (status == TR_OK) {
        e->series = found.series;
        e->com = found.imod_com;
    } else if (status != TR_ERR_MEMORY) {
        fail_entry(e);
        status = TR_OK;
    }
    return status;
}

/* FOLDER_NAME_rec instead of NAME_rec: series often have one name in folders of their
 * own. */
static tr_status add_folder(const tr_batch *b, tr_batch_entry *e)
{
    char *folder = tr_name_folder(e->series ? e->series : e->item);
    if (!folder)
        return TR_ERR_MEMORY;
    folder[strlen(folder) - 1] = '\0'; /* the slash */
    char *base = tr_format_string("%s/%s_%s", b->folder, tr_name_only(folder),
                                  tr_name_only(e->base));
    free(folder);
    free(e->base);
    e->base = base;
    return base ? TR_OK : TR_ERR_MEMORY;
}

static tr_status name_base(const tr_batch *b, tr_batch_entry *e)
{
    const char *series = e->series ? e->series : e->item;
    char *name = tr_default_output(series, "");
    char *folder =
        b->folder ? tr_format_string("%s/", b->folder) : tr_name_folder(series);
    if (name && folder) {
        bool here = strcmp(folder, "./") == 0 && !b->folder;
        e->base = tr_format_string("%s%s", here ? "" : folder, name);
        e->name = tr_format_string("%.*s", (int)(strlen(name) - strlen("_rec")), name);
    }
    free(name);
    free(folder);
    return e->base && e->name ? TR_OK : TR_ERR_MEMORY;
}

static int by_base(const void *a, const void *b)
{
    const tr_batch_entry *const *x = a, *const *y = b;
    int order = strcmp((*x)->base, (*y)->base);
    return order ? order : (*x > *y) - (*x < *y);
}

/* Calls act(b, entry) for each of those that share a name. */
static tr_status for_alike(tr_batch *b,
                           tr_status (*act)(const tr_batch *, tr_batch_entry *))
{
    tr_batch_entry **sorted = tr_calloc("the list of series", b->n, sizeof(void *));
    bool *alike = tr_calloc("the list of series", b->n, sizeof *alike);
    tr_status status = sorted && alike ? TR_OK : TR_ERR_MEMORY;
    for (size_t k = 0; k < b->n && status == TR_OK; k++)
        sorted[k] = &b->entry[k];
    if (status == TR_OK)
        qsort(sorted, b->n, sizeof *sorted, by_base);
    for (size_t k = 1; k < b->n && status == TR_OK; k++)
        if (strcmp(sorted[k - 1]->base, sorted[k]->base) == 0)
            alike[k - 1] = alike[k] = true;
    for (size_t k = 0; k < b->n && status == TR_OK; k++)
        if (alike[k])
            status = act(b, sorted[k]);
    free(sorted);
    free(alike);
    return status;
}

static tr_status refuse_alike(const tr_batch *b, tr_batch_entry *e)
{
    (void)b;
    return tr_fail(TR_ERR_USAGE,
                   "two series of the batch would be written to %s; one of them is %s",
                   e->base, e->series ? e->series : e->item);
}

static tr_status name_outputs(tr_batch *b)
{
    const char *ending = tr_reconstruction_ending(b->command.options.format);
    for (size_t k = 0; k < b->n; k++)
        TR_TRY(name_base(b, &b->entry[k]));
    if (b->folder)
        TR_TRY(for_alike(b, add_folder));
    TR_TRY(for_alike(b, refuse_alike));
    for (size_t k = 0; k < b->n; k++) {
        tr_batch_entry *e = &b->entry[k];
        e->tomogram = tr_format_string("%s%s", e->base, ending);
        if (!e->tomogram)
            return TR_ERR_MEMORY;
    }
    return TR_OK;
}

/* Without a slash at its end. */
static char *folder_of(const char *output)
{
    size_t length = strlen(output);
    while (length > 1 && output[length - 1] == '/')
        length--;
    return tr_format_string("%.*s", (int)length, output);
}

tr_status tr_batch_list(tr_batch *b, const tr_program *program, int argc, char **argv)
{
    bool word = is_word(argc, argv);
    int first = word ? 2 : 1, end = first;
    b->program = program;
    b->command.batch = true;
    while (word && end < argc && strcmp(argv[end], "--") != 0)
        end++;
    TR_TRY(parse(b, argc, argv, end + (word && end < argc)));
    for (int k = first; k < end; k++)
        TR_TRY(add_item(b, argv[k]));
    if (b->command.options.batch)
        TR_TRY(read_list(b, b->command.options.batch));
    if (!b->n)
        return tr_fail(TR_ERR_USAGE, "a batch needs series: batch SERIES... -- OPTIONS, "
                                     "or --batch LIST with a file that names them");
    if (b->command.options.output && !(b->folder = folder_of(b->command.options.output)))
        return TR_ERR_MEMORY;
    b->summary =
        tr_format_string("%s%sbatch", b->folder ? b->folder : "", b->folder ? "/" : "");
    if (!b->summary)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < b->n; k++)
        TR_TRY(find_series(&b->entry[k]));
    return name_outputs(b);
}

void tr_batch_free(tr_batch *b)
{
    for (size_t k = 0; k < b->n; k++) {
        tr_batch_entry *e = &b->entry[k];
        free(e->item);
        free(e->series);
        free(e->com);
        free(e->name);
        free(e->base);
        free(e->tomogram);
    }
    free(b->entry);
    free(b->folder);
    free(b->argv);
    free(b->summary);
    tr_command_free(&b->command);
}

/* ---- one run ---- */

/* The text with the series' name for each {}. */
static char *put_name(const char *text, const char *name)
{
    char *result = tr_strdup("");
    for (const char *at; result && (at = strstr(text, "{}")); text = at + 2) {
        char *more = tr_format_string("%s%.*s%s", result, (int)(at - text), text, name);
        free(result);
        result = more;
    }
    char *all = result ? tr_format_string("%s%s", result, text) : NULL;
    free(result);
    return all;
}

char **tr_batch_arguments(const tr_batch *b, const tr_batch_entry *e, int *argc)
{
    enum { ADDED = 16 };
    const tr_command_line *line = &b->command.line;
    /* A dry run does not make it. */
    bool no_folder = b->folder && access(b->folder, F_OK) != 0;
    const char *base = no_folder ? tr_name_only(e->base) : e->base;
    const char *tomogram = no_folder ? tr_name_only(e->tomogram) : e->tomogram;
    char **argv = tr_calloc("a command line", (size_t)b->argc + ADDED, sizeof *argv);
    int n = 0;
    if (!argv)
        return NULL;
    argv[n++] = tr_strdup(b->program->name);
    for (int k = 0; k < b->argc; k++)
        argv[n++] = put_name(b->argv[k], e->name);
    if (!tr_option_given(line, "resume"))
        argv[n++] = tr_strdup("--resume");
    if (!tr_option_given(line, "preview"))
        argv[n++] = tr_strdup("--preview");
    if (e->com && !b->command.options.imod_com)
        argv[n++] = tr_format_string("--imod-com=%s", e->com);
    argv[n++] = tr_format_string("--output=%s", tomogram);
    argv[n++] = tr_format_string("--report=%s.html", base);
    argv[n++] = tr_format_string("--json=%s.json", base);
    argv[n++] = tr_format_string("--input=%s", e->series);
    *argc = n;
    for (int k = 0; k < n; k++)
        if (!argv[k]) {
            for (int i = 0; i < n; i++)
                free(argv[i]);
            free(argv);
            return NULL;
        }
    return argv;
}
