#include "common/help/help.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"

/* ---- what help and the manual page both say ---- */

static const struct {
    tr_status status;
    const char *meaning;
} statuses[] = {
    {TR_OK, "the tomogram is complete, under its final name"},
    {TR_ERR_DATA, "a file, its contents, or the system refused"},
    {TR_ERR_USAGE, "an option or its value is wrong"},
    {TR_ERR_UNAVAILABLE, "asked of a program or build that cannot do it"},
    {TR_ERR_MEMORY, "does not fit in the memory allowed"},
    {TR_ERR_INTERNAL, "an error in the program itself; please report it"},
    {TR_ERR_STOPPED,
     "stopped by a signal or before the batch job's end, with what is done "
     "kept for --resume"},
};

static const struct {
    const char *name, *meaning;
} environment[] = {
    {"NO_COLOR", "if not empty, no colours on a terminal"},
    {"OMP_WAIT_POLICY",
     "how threads wait for each other; unless set, the programs set it "
     "to passive for themselves"},
    {"SLURM_JOB_END_TIME",
     "when the batch job ends, in seconds since 1970, as Slurm sets "
     "it: programs for whole volumes stop two minutes before"},
    {"TMPDIR", "folder in which a compressed series is unpacked, instead of /tmp"},
    {"TR_ISA", "baseline, avx2 or avx512 (on ARM: neon): the instruction set to use "
               "instead of the best "
               "one, for the same bytes on machines of different age"},
};

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* ---- which topic ---- */

/* An option of some program, and whose it is. */
typedef struct owned_row {
    const tr_option *row;
    const char *section;           /* of the options that all algorithms have */
    const tr_algorithm *algorithm; /* or NULL */
    bool device;
} owned_row;

enum { MOST_ROWS = 512 };

typedef struct row_list {
    owned_row rows[MOST_ROWS];
    size_t n;
} row_list;

static void add_rows(row_list *list, const tr_option *rows, size_t n, owned_row owner)
{
    for (size_t r = 0; r < n; r++) {
        if (rows[r].section)
            owner.section = rows[r].section;
        owner.row = &rows[r];
        if (rows[r].help && list->n < MOST_ROWS)
            list->rows[list->n++] = owner;
    }
}

/* Every option of every program. */
static void list_rows(row_list *list)
{
    const tr_algorithm *a;
    list->n = 0;
    add_rows(list, tr_common_options, tr_n_common_options, (owned_row){.row = NULL});
    add_rows(list, tr_device_option_rows, tr_n_device_options,
             (owned_row){.device = true});
    for (size_t k = 0; (a = tr_algorithm_at(k)); k++)
        add_rows(list, a->options, a->n_options, (owned_row){.algorithm = a});
}

/* The name of the option that the topic means, or NULL. */
static const char *topic_option(const row_list *list, const char *topic)
{
    const char *name = topic + strspn(topic, "-");
    bool short_name = topic[0] != '\0' && topic[1] != '-' && name[0] && !name[1];
    for (size_t r = 0; r < list->n; r++) {
        const tr_option *row = list->rows[r].row;
        if (strcmp(row->name, name) == 0 || (short_name && row->letter == *name))
            return row->name;
    }
    return NULL;
}

/* "The run" is also "run". */
static bool is_section(const char *section, const char *topic)
{
    return strcasecmp(section, topic) == 0 ||
           (strncasecmp(section, "The ", 4) == 0 && strcasecmp(section + 4, topic) == 0);
}

/* ---- options ---- */

static bool is_offered(const tr_command *command, const owned_row *r)
{
    return r->device      ? command->program->instead != NULL
           : r->algorithm ? tr_method_offers(command->program->method, r->algorithm)
                          : true;
}

/* Whether what is said of the two rows differs in nothing but the algorithm. */
static bool is_same_text(const tr_option *a, const tr_option *b)
{
    const char *x = a->fallback ? a->fallback : "", *y = b->fallback ? b->fallback : "";
    return strcmp(a->help, b->help) == 0 && strcmp(x, y) == 0 && a->min == b->min &&
           a->max == b->max;
}

/* "SIRT, SART", "all algorithms", "ADMM (tiltrecz-mpi)": whose the option is. */
static void print_owners(FILE *out, const tr_command *command, const row_list *list,
                         const owned_row *r)
{
    if (!r->algorithm) {
        fprintf(out, "%s\n", r->device ? "programs for GPUs" : "all algorithms");
        return;
    }
    bool first = true;
    for (size_t k = 0; k < list->n; k++) {
        const owned_row *other = &list->rows[k];
        if (strcmp(other->row->name, r->row->name) != 0 || !other->algorithm ||
            !is_same_text(other->row, r->row))
            continue;
        fprintf(out, "%s%s", first ? "" : ", ", other->algorithm->name);
        if (!is_offered(command, other))
            fprintf(out, " (%s)", command->program->whole_volume);
        first = false;
    }
    fputc('\n', out);
}

static void print_algorithms(FILE *out, const tr_command *command, int columns)
{
    const tr_algorithm *a;
    fprintf(out, "Algorithms:\n");
    for (size_t k = 0; (a = tr_algorithm_at(k)); k++)
        if (tr_method_offers(command->program->method, a)) {
            int used = fprintf(out, "  %-5s ", a->name);
            tr_print_wrapped(out, a->help, used, columns);
        }
}

static void explain_row(FILE *out, const tr_command *command, const row_list *list,
                        const owned_row *r, int columns)
{
    enum { INDENT = 11 };
    char takes[640];
    const tr_option *row = r->row;
    tr_option_takes(row, takes, sizeof takes);
    fprintf(out, "\n  ");
    tr_print_wrapped(out, row->help, 2, columns);
    fputc('\n', out);
    if (row->type != TR_OPT_STRING && row->type != TR_OPT_WISH) {
        fprintf(out, "  takes    ");
        tr_print_wrapped(out, takes, INDENT, columns);
    }
    if (row->type != TR_OPT_FLAG)
        fprintf(out, "  default  %s\n", row->fallback ? row->fallback : "none");
    fprintf(out, "  for      ");
    print_owners(out, command, list, r);
    if (r->section)
        fprintf(out, "  group    %s\n", r->section);
}

static void explain_option(FILE *out, const tr_command *command, const row_list *list,
                           const char *name, int columns)
{
    bool spelled = false;
    for (size_t k = 0; k < list->n; k++) {
        const owned_row *r = &list->rows[k];
        bool new_text = strcmp(r->row->name, name) == 0;
        for (size_t j = 0; j < k && new_text; j++)
            new_text = strcmp(list->rows[j].row->name, name) != 0 ||
                       !is_same_text(list->rows[j].row, r->row);
        if (!new_text)
            continue;
        if (!spelled) {
            tr_option_spelled(out, r->row);
            fputc('\n', out);
        }
        spelled = true;
        explain_row(out, command, list, r, columns);
    }
    if (strcmp(name, "algorithm") == 0) {
        fputc('\n', out);
        print_algorithms(out, command, columns);
    }
}

/* ---- algorithms and headings ---- */

static void explain_algorithm(FILE *out, const tr_command *command, const tr_algorithm *a,
                              int columns)
{
    const tr_option_group own = {
        .title = "Its own options", .rows = a->options, .n = a->n_options};
    fprintf(out, "%s: %s\n", a->name, a->help);
    if (!tr_method_offers(command->program->method, a))
        fprintf(out, "\nIt needs the whole volume at once: use %s.\n",
                command->program->whole_volume);
    tr_options_help(out, &own, 1, columns);
    if (!a->n_options)
        fprintf(out, "\nIt has no options of its own.\n");
    fprintf(out,
            "\nIts formula, where it comes from and what it costs: the manual's chapter\n"
            "on algorithms. The options that all have: --help all.\n");
}

/* The options under one heading, or false if there is none of that name. */
static bool explain_section(FILE *out, const tr_command *command, const char *topic,
                            int columns)
{
    for (size_t g = 0; g < command->n_groups; g++)
        for (size_t r = 0; r < command->groups[g].n; r++) {
            const tr_option *rows = command->groups[g].rows + r;
            size_t n = 1;
            if (!rows->section || !is_section(rows->section, topic))
                continue;
            while (r + n < command->groups[g].n && !rows[n].section)
                n++;
            tr_options_help(out, &(tr_option_group){.rows = rows, .n = n}, 1, columns);
            return true;
        }
    return false;
}

/* Upstream TiltRec's words, which are understood but have no rows. */
static bool explain_upstream(FILE *out, const char *topic, int columns)
{
    static const char *const words[][2] = {
        {"method", "--method NAME,ITERATIONS,RELAXATION of upstream TiltRec is "
                   "-a NAME -i ITERATIONS -r RELAXATION here, and for ADMM "
                   "ITERATIONS,CG-ITERATIONS,RELAXATION,SOFT-THRESHOLD is "
                   "-i, --cg, -r and --lambda; both are understood"},
        {"geometry", "--geometry OFFSET,PITCH,ZSHIFT,THICKNESS of upstream TiltRec is "
                     "--tilt-offset, --pitch, --z-shift and --thickness here; both are "
                     "understood"},
        {"tiltfile", "--tiltfile FILE of upstream TiltRec is --tilts FILE here; both are "
                     "understood"},
        {"f2b", "--f2b of upstream TiltRec is --mode byte here; both are understood"},
    };
    for (size_t k = 0; k < COUNT(words); k++)
        if (strcmp(topic + strspn(topic, "-"), words[k][0]) == 0) {
            tr_print_wrapped(out, words[k][1], 0, columns);
            return true;
        }
    return false;
}

static tr_status unknown_topic(const tr_command *command, const row_list *list,
                               const char *topic)
{
    const char *names[MOST_ROWS + 64], *name = topic + strspn(topic, "-");
    size_t n = 0;
    const tr_algorithm *a;
    for (size_t r = 0; r < list->n; r++)
        names[n++] = list->rows[r].row->name;
    for (size_t r = 0; r < list->n && n < COUNT(names) - 33; r++)
        if (list->rows[r].section &&
            (!r || list->rows[r].section != list->rows[r - 1].section))
            names[n++] = list->rows[r].section;
    for (size_t k = 0; k < 32 && (a = tr_algorithm_at(k)); k++)
        names[n++] = a->name;
    const char *nearest = tr_nearest(name, names, n);
    if (nearest)
        return tr_fail(TR_ERR_USAGE,
                       "there is no option, algorithm or group of options %s; did you "
                       "mean --help %s?",
                       topic, nearest);
    return tr_fail(TR_ERR_USAGE,
                   "there is no option, algorithm or group of options %s; %s --help all "
                   "lists them",
                   *topic ? topic : "''", command->program->name);
}

/* ---- the screen, and everything ---- */

/* The summary as a sentence, and what is done without SERIES. */
static void print_summary(FILE *out, const tr_command *command, int columns)
{
    char text[400];
    snprintf(text, sizeof text,
             "%s. Without SERIES, the one aligned series of the current folder is taken.",
             command->program->summary);
    text[0] = (char)toupper((unsigned char)text[0]);
    tr_print_wrapped(out, text, 0, columns);
    fputc('\n', out);
}

static void print_screen(FILE *out, const tr_command *command, int columns)
{
    const char *name = command->program->name, *separator = "";
    const tr_algorithm *a;
    fprintf(out, "Usage: %s [options] [SERIES]\n\n", name);
    print_summary(out, command, columns);
    tr_options_brief(out, command->groups, command->n_groups);
    fprintf(out, "\nAlgorithms: ");
    for (size_t k = 0; (a = tr_algorithm_at(k)); k++)
        if (tr_method_offers(command->program->method, a)) {
            fprintf(out, "%s%s", separator, a->name);
            separator = ", ";
        }
    fprintf(out, "\nExample:    %s -a SIRT -i 30 -T 300 ts_ali.mrc\n\n", name);
    fprintf(out,
            "--help all lists all options; --help thickness or --help SIRT explains "
            "one.\nMore: man %s, and the manual.\n",
            name);
}

static void print_all(FILE *out, const tr_command *command, int columns)
{
    const char *name = command->program->name;
    fprintf(out,
            "Usage: %s [options] [SERIES]\n       mpiexec -n N %s [options] [SERIES]\n"
            "       mpiexec -n N %s batch SERIES... -- [options]\n\n",
            name, name, name);
    print_summary(out, command, columns);
    print_algorithms(out, command, columns);
    tr_options_help(out, command->groups, command->n_groups, columns);
    fprintf(out, "\nExit status:\n");
    for (size_t k = 0; k < COUNT(statuses); k++) {
        fprintf(out, "  %d  ", (int)statuses[k].status);
        tr_print_wrapped(out, statuses[k].meaning, 5, columns);
    }
    fprintf(out, "\nEnvironment:\n");
    for (size_t k = 0; k < COUNT(environment); k++) {
        fprintf(out, "  %-20s", environment[k].name);
        tr_print_wrapped(out, environment[k].meaning, 22, columns);
    }
}

static tr_status print_topic(FILE *out, const tr_command *command, const row_list *list,
                             const char *topic, int columns)
{
    const char *option = topic_option(list, topic);
    const tr_algorithm *a = tr_algorithm_find(topic);
    if (strcasecmp(topic, "all") == 0)
        print_all(out, command, columns);
    else if (option)
        explain_option(out, command, list, option, columns);
    else if (a)
        explain_algorithm(out, command, a, columns);
    else if (!explain_section(out, command, topic, columns) &&
             !explain_upstream(out, topic, columns))
        return unknown_topic(command, list, topic);
    return TR_OK;
}

tr_status tr_help_print(FILE *out, const tr_command *command, const char *topic,
                        int columns)
{
    if (!topic) {
        print_screen(out, command, columns);
        return TR_OK;
    }
    row_list *list = tr_calloc("options", 1, sizeof *list);
    if (!list)
        return TR_ERR_MEMORY;
    list_rows(list);
    tr_status status = print_topic(out, command, list, topic, columns);
    free(list);
    return status;
}

/* ---- the manual page ---- */

static void man_entries(FILE *out, const char *name, const char *meaning)
{
    fputs(".TP\n.B ", out);
    tr_man_text(out, name);
    fputc('\n', out);
    tr_man_text(out, meaning);
    fputc('\n', out);
}

static void man_see_also(FILE *out, const tr_program *program)
{
    const char *others[] = {program->whole_volume, program->instead};
    fputs(".SH SEE ALSO\n\\fBmpiexec\\fR(1)", out);
    for (size_t k = 0; k < COUNT(others); k++)
        if (others[k] && strcmp(others[k], program->name) != 0) {
            fputs(", \\fB", out);
            tr_man_text(out, others[k]);
            fputs("\\fR(1)", out);
        }
    fputc('\n', out);
}

void tr_help_man(FILE *out, const tr_command *command)
{
    const tr_algorithm *a;
    const char *name = command->program->name;
    fprintf(out, ".TH %s 1 \"\" \"TiltRec %s\" \"TiltRec\"\n.SH NAME\n", name,
            TR_VERSION);
    tr_man_text(out, name);
    fputs(" \\- ", out);
    tr_man_text(out, command->program->summary);
    fputs("\n.SH SYNOPSIS\n.B ", out);
    tr_man_text(out, name);
    fputs("\n[options] [SERIES]\n.br\n.B mpiexec \\-n\nN\n.B ", out);
    tr_man_text(out, name);
    fputs("\n[options] [SERIES]\n.br\n.B mpiexec \\-n\nN\n.B ", out);
    tr_man_text(out, name);
    fputs(" batch\nSERIES... \\-\\- [options]\n.SH DESCRIPTION\n"
          "Reads an aligned tilt series and its tilt angles and writes the tomogram. "
          "Without SERIES, the one aligned series of the current folder is taken, with "
          "its angles and, if it is there, its tilt.com. Under mpiexec each process "
          "reconstructs its share of the slices; the result does not depend on their "
          "number. The word batch makes a tomogram of each of many series, or of the one "
          "in each of many folders.\n.SH ALGORITHMS\n",
          out);
    for (size_t k = 0; (a = tr_algorithm_at(k)); k++)
        if (tr_method_offers(command->program->method, a))
            man_entries(out, a->name, a->help);
    tr_options_man(out, command->groups, command->n_groups);
    fputs(".SH EXIT STATUS\n", out);
    for (size_t k = 0; k < COUNT(statuses); k++) {
        char number[16];
        snprintf(number, sizeof number, "%d", (int)statuses[k].status);
        man_entries(out, number, statuses[k].meaning);
    }
    fputs(".SH ENVIRONMENT\n", out);
    for (size_t k = 0; k < COUNT(environment); k++)
        man_entries(out, environment[k].name, environment[k].meaning);
    fputs(".SH EXAMPLES\n.TP\n.B ", out);
    tr_man_text(out, name);
    fputs(" \\-a SIRT \\-i 30 \\-T 300 ts_ali.mrc\n30 iterations of SIRT, 300 pixels "
          "thick, "
          "to ts_rec.mrc; the angles are in ts.tlt.\n.TP\n.B ",
          out);
    tr_man_text(out, name);
    fputs(" \\-\\-imod\\-com tilt.com \\-\\-dry\\-run\nWhat would be done with IMOD's "
          "files "
          "and geometry, and the memory it takes.\n",
          out);
    man_see_also(out, command->program);
}

/* ---- the manual ---- */

void tr_help_markdown(FILE *out, const tr_command *command)
{
    const tr_algorithm *a;
    fprintf(out,
            "# Options of %s\n\nWritten from the program's own tables, as `%s --help "
            "all` and "
            "the manual page are.\n\n    %s [options] [SERIES]\n\n## Algorithms\n\n"
            "| Name | What |\n| --- | --- |\n",
            command->program->name, command->program->name, command->program->name);
    for (size_t k = 0; (a = tr_algorithm_at(k)); k++)
        if (tr_method_offers(command->program->method, a))
            fprintf(out, "| %s | %s |\n", a->name, a->help);
    tr_options_markdown(out, command->groups, command->n_groups);
    fputs("\n## Environment\n\n| Variable | Meaning |\n| --- | --- |\n", out);
    for (size_t k = 0; k < COUNT(environment); k++)
        fprintf(out, "| `%s` | %s |\n", environment[k].name, environment[k].meaning);
    fputs(
        "\nThe exit status is explained in [the first chapter](index.md#exit-status).\n",
        out);
}
