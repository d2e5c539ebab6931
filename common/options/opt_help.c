/* The option tables as text: --help, the manual page, the manual. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/options/opt.h"

/* The heading that stands before a row: its own, or the group's before the first row
 * that is shown; else NULL. */
static const char *heading_before(const tr_option_group *group, size_t row)
{
    if (group->rows[row].section)
        return group->rows[row].section;
    for (size_t r = 0; r < row; r++)
        if (group->rows[r].help)
            return NULL;
    return group->title;
}

/* The row's help with what it allows and its default; freed with free(). */
static char *row_text(const tr_option *row)
{
    char allowed[512];
    const char *fallback = row->fallback;
    tr_option_allowed(row, allowed, sizeof allowed);
    if (!*allowed && !fallback)
        return tr_strdup(row->help);
    return tr_format_string("%s (%s%s%s%s)", row->help, allowed,
                            *allowed && fallback ? "; " : "", fallback ? "default " : "",
                            fallback ? fallback : "");
}

/* ---- --help ---- */

void tr_print_wrapped(FILE *out, const char *text, int indent, int columns)
{
    int column = indent;
    for (const char *word = text; *word;) {
        int length = (int)strcspn(word, " ");
        if (column > indent && column + 1 + length > columns) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        }
        column += fprintf(out, column > indent ? " %.*s" : "%.*s", length, word);
        word += length;
        word += strspn(word, " ");
    }
    fputc('\n', out);
}

int tr_option_spelled(FILE *out, const tr_option *row)
{
    int used = row->letter ? fprintf(out, "-%c, --%s", row->letter, row->name)
                           : fprintf(out, "--%s", row->name);
    return row->metavar ? used + fprintf(out, " %s", row->metavar) : used;
}

static void help_row(FILE *out, const tr_option *row, int columns)
{
    int indent = columns < 60 ? 8 : 28;
    char *text = row_text(row);
    int used = fprintf(out, row->letter ? "  " : "      ") + tr_option_spelled(out, row);
    if (used + 2 > indent) {
        fputc('\n', out);
        used = 0;
    }
    fprintf(out, "%*s", indent - used, "");
    tr_print_wrapped(out, text ? text : row->help, indent, columns);
    free(text);
}

void tr_options_help(FILE *out, const tr_option_group *groups, size_t n_groups,
                     int columns)
{
    if (columns < 40)
        columns = 40;
    for (size_t g = 0; g < n_groups; g++)
        for (size_t r = 0; r < groups[g].n; r++) {
            if (!groups[g].rows[r].help)
                continue;
            const char *heading = heading_before(&groups[g], r);
            if (heading)
                fprintf(out, "\n%s:\n", heading);
            help_row(out, &groups[g].rows[r], columns);
        }
}

bool tr_option_is_first(const tr_option_group *groups, size_t g, size_t r)
{
    const char *name = groups[g].rows[r].name;
    for (size_t h = 0; h <= g; h++)
        for (size_t q = 0; q < (h < g ? groups[h].n : r); q++)
            if (strcmp(groups[h].rows[q].name, name) == 0)
                return false;
    return true;
}

void tr_options_brief(FILE *out, const tr_option_group *groups, size_t n_groups)
{
    for (size_t g = 0; g < n_groups; g++)
        for (size_t r = 0; r < groups[g].n; r++) {
            const tr_option *row = &groups[g].rows[r];
            if (!row->brief || !tr_option_is_first(groups, g, r))
                continue;
            int used = fprintf(out, row->letter ? "  " : "      ");
            used += tr_option_spelled(out, row);
            fprintf(out, "%*s%s\n", used < 27 ? 28 - used : 1, "", row->brief);
        }
}

/* ---- the manual page ---- */

void tr_man_text(FILE *out, const char *text)
{
    for (const char *c = text; *c; c++)
        switch (*c) {
        case '\\':
            fputs("\\e", out);
            break;
        case '-':
            fputs("\\-", out);
            break;
        case '\'': /* a control character at the start of a line */
            fputs("\\(aq", out);
            break;
        case '.': /* the same */
            fputs(c == text ? "\\&." : ".", out);
            break;
        default:
            fputc(*c, out);
        }
}

static void man_row(FILE *out, const tr_option *row)
{
    char *text = row_text(row);
    fputs(".TP\n", out);
    if (row->letter)
        fprintf(out, "\\fB\\-%c\\fR, ", row->letter);
    fputs("\\fB\\-\\-", out);
    tr_man_text(out, row->name);
    fputs("\\fR", out);
    if (row->metavar) {
        fputs(" \\fI", out);
        tr_man_text(out, row->metavar);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    tr_man_text(out, text ? text : row->help);
    fputs(".\n", out);
    free(text);
}

void tr_options_man(FILE *out, const tr_option_group *groups, size_t n_groups)
{
    fputs(".SH OPTIONS\n", out);
    for (size_t g = 0; g < n_groups; g++)
        for (size_t r = 0; r < groups[g].n; r++) {
            if (!groups[g].rows[r].help)
                continue;
            const char *heading = heading_before(&groups[g], r);
            if (heading) {
                fputs(".SS ", out);
                tr_man_text(out, heading);
                fputc('\n', out);
            }
            man_row(out, &groups[g].rows[r]);
        }
}

/* ---- the manual ---- */

static void markdown_text(FILE *out, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (strchr("\\`*_|<>[]", *c))
            fputc('\\', out);
        fputc(*c, out);
    }
}

static void markdown_row(FILE *out, const tr_option *row)
{
    char allowed[512];
    tr_option_allowed(row, allowed, sizeof allowed);
    fputs("| ", out);
    if (row->letter)
        fprintf(out, "`-%c`, ", row->letter);
    fprintf(out, "`--%s%s%s` | ", row->name, row->metavar ? " " : "",
            row->metavar ? row->metavar : "");
    markdown_text(out, row->help);
    fputs(" | ", out);
    markdown_text(out, allowed);
    fputs(" | ", out);
    markdown_text(out, row->fallback ? row->fallback : "");
    fputs(" |\n", out);
}

void tr_options_markdown(FILE *out, const tr_option_group *groups, size_t n_groups)
{
    for (size_t g = 0; g < n_groups; g++)
        for (size_t r = 0; r < groups[g].n; r++) {
            if (!groups[g].rows[r].help)
                continue;
            const char *heading = heading_before(&groups[g], r);
            if (heading) {
                fputs("\n## ", out);
                markdown_text(out, heading);
                fputs("\n\n| Option | Meaning | Allowed | Default |\n"
                      "| --- | --- | --- | --- |\n",
                      out);
            }
            markdown_row(out, &groups[g].rows[r]);
        }
}

/* ---- values ---- */

static void print_value(FILE *out, const tr_option *row, const void *place)
{
    const char *text;
    switch (row->type) {
    case TR_OPT_FLAG:
        fputs(*(const bool *)place ? "yes" : "no", out);
        break;
    case TR_OPT_STRING:
    case TR_OPT_LIST:
    case TR_OPT_WISH:
        text = *(const char *const *)place;
        fputs(text ? text : "", out);
        break;
    case TR_OPT_INT:
        fprintf(out, "%ld", *(const long *)place);
        break;
    case TR_OPT_REAL:
        fprintf(out, "%.17g", *(const double *)place);
        break;
    case TR_OPT_PAIR:
        fprintf(out, "%.17g,%.17g", ((const double *)place)[0],
                ((const double *)place)[1]);
        break;
    case TR_OPT_RANGE:
        fprintf(out, "%ld:%ld", ((const long *)place)[0], ((const long *)place)[1]);
        break;
    case TR_OPT_BYTES:
        fprintf(out, "%zu", *(const size_t *)place);
        break;
    case TR_OPT_CHOICE:
        fprintf(out, "%d", *(const int *)place);
        break;
    case TR_OPT_WORDS:
        fprintf(out, "%d", ((const tr_words *)place)->choice);
        for (size_t n = 0; n < TR_MOST_WORDS; n++)
            if ((text = ((const tr_words *)place)->argument[n]))
                fprintf(out, " %s", text);
        break;
    }
}

/* The word of a list with this index; those in capitals stand for what follows one. */
static void choice_word(const char *choices, int index, char *text, size_t size)
{
    for (const char *word = choices; *word; word += strspn(word, " ")) {
        size_t length = strcspn(word, " ");
        bool counts = *word < 'A' || *word > 'Z';
        if (counts && index-- == 0) {
            snprintf(text, size, "%.*s", (int)length, word);
            return;
        }
        word += length;
    }
}

static void words_text(const tr_option *row, const tr_words *words, char *text,
                       size_t size)
{
    if (words->choice)
        choice_word(row->choices, words->choice - 1, text, size);
    for (size_t n = 0; n < TR_MOST_WORDS; n++)
        if (words->argument[n]) {
            size_t used = strlen(text);
            snprintf(text + used, size - used, " %s", words->argument[n]);
        }
}

void tr_option_word(const tr_option *row, const void *place, char *text, size_t size)
{
    const double *real = place;
    const long *range = place;
    *text = '\0';
    switch (row->type) {
    case TR_OPT_CHOICE:
        choice_word(row->choices, *(const int *)place, text, size);
        break;
    case TR_OPT_WORDS:
        words_text(row, place, text, size);
        break;
    case TR_OPT_REAL:
        snprintf(text, size, "%.9g", *real);
        break;
    case TR_OPT_PAIR:
        snprintf(text, size, "%.9g,%.9g", real[0], real[1]);
        break;
    case TR_OPT_INT:
        snprintf(text, size, "%ld", *range);
        break;
    case TR_OPT_RANGE:
        if (range[0] >= 0)
            snprintf(text, size, "%ld:%ld", range[0], range[1]);
        break;
    case TR_OPT_BYTES:
        snprintf(text, size, "%zu", *(const size_t *)place);
        break;
    case TR_OPT_FLAG:
        snprintf(text, size, "%s", *(const bool *)place ? "yes" : "no");
        break;
    default:
        snprintf(text, size, "%s",
                 *(const char *const *)place ? *(const char *const *)place : "");
    }
}

char *tr_options_text(const tr_option_group *group)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    for (size_t r = 0; r < group->n; r++) {
        const tr_option *row = &group->rows[r];
        if (row->aside)
            continue;
        fprintf(out, "--%s = ", row->name);
        print_value(out, row, (const char *)group->target + row->offset);
        fputc('\n', out);
    }
    bool complete = !ferror(out);
    if (fclose(out) == 0 && complete)
        return text;
    free(text);
    return NULL;
}
