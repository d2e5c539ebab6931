#include "common/help/completion.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* ---- what is completed ---- */

typedef enum value_kind { NO_VALUE, TOPIC, FILE_NAME, WORD, OTHER } value_kind;

static value_kind kind_of(const tr_option *row)
{
    if (row->type == TR_OPT_WISH) /* what follows may as well be the series */
        return NO_VALUE;
    if (row->type == TR_OPT_FLAG)
        return row->metavar ? TOPIC : NO_VALUE;
    if (row->type == TR_OPT_STRING && row->metavar && strcmp(row->metavar, "FILE") == 0)
        return FILE_NAME;
    if (row->type == TR_OPT_CHOICE || row->type == TR_OPT_WORDS ||
        strcmp(row->name, "algorithm") == 0)
        return WORD;
    return OTHER;
}

/* Whether these options belong to one algorithm, whose name is the title. */
static bool is_own(const tr_command *command, size_t g)
{
    return tr_algorithm_find(command->groups[g].title) != NULL;
}

static void print_algorithms(FILE *out, const tr_command *command)
{
    const char *separator = "";
    const tr_algorithm *a;
    for (size_t k = 0; (a = tr_algorithm_at(k)); k++)
        if (tr_method_offers(command->program->method, a)) {
            fprintf(out, "%s%s", separator, a->name);
            separator = " ";
        }
}

/* The words that the row takes. */
static void print_words(FILE *out, const tr_command *command, const tr_option *row)
{
    if (!row->choices) {
        print_algorithms(out, command);
        return;
    }
    /* Not those in capitals, which stand for more arguments. */
    for (const char *word = row->choices, *separator = ""; *word;) {
        size_t n = strcspn(word, " ");
        if (!isupper((unsigned char)*word)) {
            fprintf(out, "%s%.*s", separator, (int)n, word);
            separator = " ";
        }
        word += n + strspn(word + n, " ");
    }
}

/* What --help explains: "The run" as "run". */
static void print_topics(FILE *out, const tr_command *command)
{
    fputs("all ", out);
    print_algorithms(out, command);
    for (size_t g = 0; g < command->n_groups; g++)
        for (size_t r = 0; r < command->groups[g].n; r++) {
            const tr_option *row = &command->groups[g].rows[r];
            if (row->section && strcasecmp(row->section, row->name) != 0) {
                fputc(' ', out);
                for (const char *c = strncmp(row->section, "The ", 4) ? row->section
                                                                      : row->section + 4;
                     *c; c++)
                    fputc(tolower((unsigned char)*c), out);
            }
            if (row->help && tr_option_is_first(command->groups, g, r))
                fprintf(out, " %s", row->name);
        }
}

/* The row's brief, or the first part of its help; *length letters of it. */
static const char *summary(const tr_option *row, size_t *length)
{
    const char *text = row->brief ? row->brief : row->help, *stop = strstr(text, ". ");
    *length = strcspn(text, ";");
    if (stop && (size_t)(stop - text) < *length)
        *length = (size_t)(stop - text);
    return text;
}

/* The program's name as part of a function's: tiltrec_mpi. */
static void print_identifier(FILE *out, const tr_command *command)
{
    for (const char *c = command->program->name; *c; c++)
        fputc(*c == '-' ? '_' : *c, out);
}

/* ---- bash ---- */

/* "    --mode)" or "    --output | -o | --tilts | -t)" of all rows of a kind. */
static void bash_labels(FILE *out, const tr_command *command, value_kind kind)
{
    const char *separator = "    ";
    for (size_t g = 0; g < command->n_groups; g++)
        for (size_t r = 0; r < command->groups[g].n; r++) {
            const tr_option *row = &command->groups[g].rows[r];
            if (!row->help || kind_of(row) != kind ||
                !tr_option_is_first(command->groups, g, r))
                continue;
            fprintf(out, "%s--%s", separator, row->name);
            if (row->letter)
                fprintf(out, " | -%c", row->letter);
            separator = " | ";
        }
    fputs(")\n", out);
}

static void bash_values(FILE *out, const tr_command *command)
{
    static const char compgen[] = "mapfile -t COMPREPLY < <(compgen -W";
    for (size_t g = 0; g < command->n_groups; g++)
        for (size_t r = 0; r < command->groups[g].n; r++) {
            const tr_option *row = &command->groups[g].rows[r];
            if (!row->help || kind_of(row) != WORD ||
                !tr_option_is_first(command->groups, g, r))
                continue;
            fprintf(out, "    --%s", row->name);
            if (row->letter)
                fprintf(out, " | -%c", row->letter);
            fprintf(out, ")\n        %s '", compgen);
            print_words(out, command, row);
            fprintf(out, "' -- \"%s\")\n        return\n        ;;\n",
                    row->choices ? "${cur,,}" : "${cur^^}");
        }
    bash_labels(out, command, TOPIC);
    fprintf(out, "        %s '", compgen);
    print_topics(out, command);
    fputs("' -- \"$cur\")\n        compopt +o default\n        return\n        ;;\n",
          out);
    bash_labels(out, command, FILE_NAME);
    fputs("        return # readline completes names of files\n        ;;\n", out);
    bash_labels(out, command, OTHER);
    fputs("        compopt +o default\n        return\n        ;;\n", out);
}

static void bash_options(FILE *out, const tr_option_group *group)
{
    for (size_t r = 0; r < group->n; r++)
        if (group->rows[r].help)
            fprintf(out, " --%s", group->rows[r].name);
}

static void print_bash(FILE *out, const tr_command *command)
{
    fputs("_", out);
    print_identifier(out, command);
    fputs("()\n{\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    local algorithm=WBP options i\n"
          "    # --mode=byte comes as three words\n"
          "    if [[ $cur == \"=\" ]]; then\n"
          "        cur=\n"
          "    elif [[ $prev == \"=\" ]]; then\n"
          "        prev=${COMP_WORDS[COMP_CWORD - 2]}\n"
          "    fi\n"
          "    for ((i = 1; i < ${#COMP_WORDS[@]} - 1; i++)); do\n"
          "        case ${COMP_WORDS[i]} in\n"
          "        -a | --algorithm)\n"
          "            algorithm=${COMP_WORDS[i + 1]}\n"
          "            [[ $algorithm == \"=\" ]] && algorithm=${COMP_WORDS[i + 2]}\n"
          "            ;;\n"
          "        -a*) algorithm=${COMP_WORDS[i]#-a} ;;\n"
          "        esac\n"
          "    done\n"
          "    COMPREPLY=()\n"
          "    case $prev in\n",
          out);
    bash_values(out, command);
    fputs("    esac\n    [[ $cur == -* ]] || return 0\n    options='", out);
    for (size_t g = 0; g < command->n_groups; g++)
        if (!is_own(command, g))
            bash_options(out, &command->groups[g]);
    fputs("'\n    case ${algorithm^^} in\n", out);
    for (size_t g = 0; g < command->n_groups; g++)
        if (is_own(command, g) && command->groups[g].n) {
            fprintf(out, "    %s) options+='", command->groups[g].title);
            bash_options(out, &command->groups[g]);
            fputs("' ;;\n", out);
        }
    fputs(
        "    esac\n    mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n}\n"
        "complete -o default -F _",
        out);
    print_identifier(out, command);
    fprintf(out, " %s\n", command->program->name);
}

/* ---- zsh ---- */

/* Within '...', and what is special to _arguments with a backslash. */
static void zsh_text(FILE *out, const char *text, size_t length)
{
    for (size_t k = 0; k < length; k++)
        if (text[k] == '\'')
            fputs("'\\''", out);
        else
            fprintf(out, strchr("[]:\\", text[k]) ? "\\%c" : "%c", text[k]);
}

static void zsh_row(FILE *out, const tr_command *command, const tr_option *row)
{
    size_t length;
    const char *text = summary(row, &length);
    value_kind kind = kind_of(row);
    bool takes = kind != NO_VALUE && kind != TOPIC;
    fputs("    ", out);
    if (row->letter)
        fprintf(out, "'(-%c --%s)'{-%c%s,--%s%s}", row->letter, row->name, row->letter,
                takes ? "+" : "", row->name, takes ? "=" : "");
    else
        fprintf(out, "--%s%s", row->name, takes ? "=" : "");
    fputs("'[", out);
    zsh_text(out, text, length);
    fputc(']', out);
    if (kind == TOPIC)
        fputc(':', out);
    if (kind != NO_VALUE) {
        const char *metavar = row->metavar ? row->metavar : "VALUE";
        fputc(':', out);
        zsh_text(out, metavar, strlen(metavar));
    }
    if (kind == FILE_NAME) {
        fputs(":_files", out);
    } else if (kind == WORD || kind == TOPIC) {
        fputs(":(", out);
        if (kind == WORD)
            print_words(out, command, row);
        else
            print_topics(out, command);
        fputc(')', out);
    } else if (kind == OTHER) {
        fputs(": ", out);
    }
    fputs("'\n", out);
}

static void print_zsh(FILE *out, const tr_command *command)
{
    fputs("local algorithm=WBP word i\nlocal -a common own\n"
          "for ((i = 2; i < CURRENT; i++)); do\n"
          "    word=$words[i]\n"
          "    case $word in\n"
          "    -a | --algorithm) algorithm=$words[i+1] ;;\n"
          "    --algorithm=*) algorithm=${word#*=} ;;\n"
          "    -a*) algorithm=${word#-a} ;;\n"
          "    esac\n"
          "done\ncommon=(\n",
          out);
    for (size_t g = 0; g < command->n_groups; g++)
        for (size_t r = 0; r < command->groups[g].n && !is_own(command, g); r++)
            if (command->groups[g].rows[r].help)
                zsh_row(out, command, &command->groups[g].rows[r]);
    fputs(")\ncase ${(U)algorithm} in\n", out);
    for (size_t g = 0; g < command->n_groups; g++) {
        if (!is_own(command, g) || !command->groups[g].n)
            continue;
        fprintf(out, "%s) own=(\n", command->groups[g].title);
        for (size_t r = 0; r < command->groups[g].n; r++)
            if (command->groups[g].rows[r].help)
                zsh_row(out, command, &command->groups[g].rows[r]);
        fputs(") ;;\n", out);
    }
    fputs("esac\n_arguments -S : $common $own '*:SERIES:_files'\n", out);
}

/* ---- fish ---- */

static void fish_text(FILE *out, const char *text, size_t length)
{
    for (size_t k = 0; k < length; k++)
        fprintf(out, strchr("'\\", text[k]) ? "\\%c" : "%c", text[k]);
}

/* A row; `owner` is the algorithm it is for, NULL for all. */
static void fish_row(FILE *out, const tr_command *command, const tr_option *row,
                     const char *owner)
{
    size_t length;
    const char *text = summary(row, &length);
    fprintf(out, "complete -c %s -l %s", command->program->name, row->name);
    if (row->letter)
        fprintf(out, " -s %c", row->letter);
    if (owner) {
        fputs(" -n '__", out);
        print_identifier(out, command);
        fprintf(out, "_runs %s'", owner);
    }
    switch (kind_of(row)) {
    case NO_VALUE:
        break;
    case TOPIC:
        fputs(" -x -a '", out);
        print_topics(out, command);
        fputc('\'', out);
        break;
    case FILE_NAME:
        fputs(" -r -F", out);
        break;
    case WORD:
        fputs(" -x -a '", out);
        print_words(out, command, row);
        fputc('\'', out);
        break;
    case OTHER:
        fputs(" -x", out);
        break;
    }
    fputs(" -d '", out);
    fish_text(out, text, length);
    fputs("'\n", out);
}

static void print_fish(FILE *out, const tr_command *command)
{
    fputs("# Whether the command line names one of these algorithms.\nfunction __", out);
    print_identifier(out, command);
    fputs("_runs\n"
          "    set -l algorithm WBP\n"
          "    set -l before ''\n"
          "    for word in (commandline -opc)\n"
          "        switch $before\n"
          "            case -a --algorithm\n"
          "                set algorithm $word\n"
          "        end\n"
          "        switch $word\n"
          "            case '--algorithm=*'\n"
          "                set algorithm (string replace -- --algorithm= '' $word)\n"
          "            case -a\n"
          "            case '-a*'\n"
          "                set algorithm (string sub -s 3 -- $word)\n"
          "        end\n"
          "        set before $word\n"
          "    end\n"
          "    contains -- (string upper -- $algorithm) $argv\n"
          "end\n",
          out);
    for (size_t g = 0; g < command->n_groups; g++)
        for (size_t r = 0; r < command->groups[g].n; r++)
            if (command->groups[g].rows[r].help)
                fish_row(out, command, &command->groups[g].rows[r],
                         is_own(command, g) ? command->groups[g].title : NULL);
}

void tr_completion_print(FILE *out, const tr_command *command, tr_shell shell)
{
    static const char *const names[] = {
        [TR_BASH] = "bash", [TR_ZSH] = "zsh", [TR_FISH] = "fish"};
    if (shell == TR_NO_SHELL)
        return;
    if (shell == TR_ZSH)
        fprintf(out, "#compdef %s\n", command->program->name);
    fprintf(out, "# Written by %s --completion %s.\n", command->program->name,
            names[shell]);
    if (shell == TR_BASH)
        print_bash(out, command);
    else if (shell == TR_ZSH)
        print_zsh(out, command);
    else
        print_fish(out, command);
}
