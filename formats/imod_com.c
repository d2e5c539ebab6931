/* IMOD's command file for tilt, or a shell's script that runs it: the commands, the words
 * on their lines, and the lines that they read. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "formats/imod_com_reader.h"

static const char spaces[] = " \t\r\f\v";
static const char operators[] = "<>|;&";

/* A command's line as a shell takes it apart. */
typedef struct command {
    char *words; /* one behind another, each with its end */
    size_t n;
    char *delimiter;    /* of the here document, or NULL */
    bool input_in_file; /* < FILE */
} command;

typedef struct com_file {
    tr_text *text;
    bool script; /* begins with #! */
    /* the command at hand */
    command command;
    char *delimiter;      /* of the here document that the line at hand is in, or NULL */
    char *later;          /* words behind -StandardInput, which count after the lines */
    size_t n_later;       /* how many */
    tr_com_reader reader; /* while `inside` */
    bool inside, reads, bare, done;
    size_t lost;       /* lines that it does not read */
    bool dollar;       /* what follows is read by a command with a '$' before it */
    tr_com_reader one; /* the command that makes a tomogram */
    bool has_one;
    char *refused; /* why the first of the others makes none, or NULL */
} com_file;

/* ---- The words of a line ---- */

/* Copy the word at `from`, without its quotes, to *to, which is moved behind its end. */
static const char *copy_word(const char *from, char **to)
{
    char quote = '\0';
    for (; *from; from++) {
        if (!quote && (strchr(spaces, *from) || strchr(operators, *from)))
            break;
        bool turns = quote ? *from == quote : *from == '"' || *from == '\'';
        if (turns && quote)
            quote = '\0';
        else if (turns)
            quote = *from;
        else
            *(*to)++ = *from;
    }
    *(*to)++ = '\0';
    return from;
}

/* What becomes of the next word. */
typedef enum use { ARGUMENT, DELIMITER, FILE_NAME, OF_ANOTHER_COMMAND } use;

/* Past an operator. */
static const char *read_operator(const char *p, command *c, use *next, use *usual)
{
    if (strncmp(p, "<<", 2) == 0) {
        *next = DELIMITER;
        return p + 2 + (p[2] == '-');
    }
    if (*p == '>' || (*p == '&' && p[1] == '>')) {
        *next = FILE_NAME;
        return p + strspn(p, "&>|!");
    }
    if (*p == '<') {
        c->input_in_file = *usual == ARGUMENT;
        *next = FILE_NAME;
    } else {
        *next = *usual = OF_ANOTHER_COMMAND;
    }
    return p + 1;
}

static tr_status split(const char *line, command *c)
{
    *c = (command){.words = tr_calloc("a command's words", 2 * strlen(line) + 2, 1)};
    if (!c->words)
        return TR_ERR_MEMORY;
    char *end = c->words;
    use next = ARGUMENT, usual = ARGUMENT;
    for (const char *p = line; *(p += strspn(p, spaces)) && *p != '#';) {
        if (strchr(operators, *p)) {
            p = read_operator(p, c, &next, &usual);
            continue;
        }
        char *word = end;
        p = copy_word(p, &end);
        bool of_operator = *p == '>' && word[strspn(word, "0123456789")] == '\0';
        if (next == DELIMITER && !c->delimiter) {
            c->delimiter = tr_strdup(word);
            if (!c->delimiter)
                return TR_ERR_MEMORY;
        }
        if (next == ARGUMENT && !of_operator)
            c->n++;
        else
            end = word;
        next = usual;
    }
    return TR_OK;
}

static void free_command(command *c)
{
    free(c->words);
    free(c->delimiter);
    *c = (command){.words = NULL};
}

static bool is_tilt(const command *c)
{
    const char *slash = c->n ? strrchr(c->words, '/') : NULL;
    return c->n && strcmp(slash ? slash + 1 : c->words, "tilt") == 0;
}

/* ---- One command ---- */

/* A word behind an unknown option is taken for its value unless it looks like another
 * option. */
static bool has_value(const tr_com_option *option, const char *next)
{
    if (option)
        return !tr_com_option_is_flag(option);
    return next[0] != '-' || isdigit((unsigned char)next[1]) || next[1] == '.';
}

/* Take the words up to -StandardInput. */
static tr_status take_words(com_file *f, char *word, size_t n)
{
    static char nothing[] = "";
    f->n_later = 0;
    for (char *next; n > 0; n--, word = next) {
        next = word + strlen(word) + 1; /* a value is cut up when it is taken */
        if (*word != '-') {
            TR_TRY(tr_com_name_take(&f->reader, word));
            continue;
        }
        char *name = word + 1 + (word[1] == '-');
        if (*name && strncasecmp("StandardInput", name, strlen(name)) == 0) {
            f->reads = true;
            f->later = next;
            f->n_later = n - 1;
            return TR_OK;
        }
        const tr_com_option *option;
        TR_TRY(tr_com_option_find(&f->reader, name, &option));
        char *value = nothing;
        if (n > 1 && has_value(option, next)) {
            value = next;
            next += strlen(next) + 1;
            n--;
        } else if (option && !tr_com_option_is_flag(option)) {
            return tr_fail(TR_ERR_DATA, "%s, line %zu: %s needs a value", f->text->path,
                           f->text->line, name);
        }
        TR_TRY(tr_com_option_take(&f->reader, option, name, value));
    }
    return TR_OK;
}

static tr_status begin_tilt(com_file *f, bool with_dollar, bool here)
{
    const command *c = &f->command;
    tr_com_reader_begin(&f->reader, f->text, f->text->line);
    f->inside = true;
    f->reads = f->bare = c->n == 1;
    f->done = false;
    f->lost = 0;
    f->reader.for_shell = !with_dollar || here;
    TR_TRY(take_words(f, c->words + strlen(c->words) + 1, c->n - 1));
    if (f->reads && (c->input_in_file || (!with_dollar && !here)))
        return tr_fail(TR_ERR_DATA,
                       "%s, line %zu: the entries of this tilt command are in another "
                       "file; put them behind a line \"$tilt -StandardInput\"",
                       f->text->path, f->text->line);
    return TR_OK;
}

/* Keep what the command says if it makes a tomogram. */
static tr_status end_tilt(com_file *f)
{
    if (!f->inside)
        return TR_OK;
    f->inside = false;
    tr_status status = take_words(f, f->later, f->n_later);
    if (status == TR_OK && f->lost)
        status = tr_com_not_honoured(&f->reader, "lines behind a command without",
                                     "-StandardInput");
    if (status == TR_OK)
        status = tr_com_reader_finish(&f->reader);
    if (status == TR_OK && !f->reader.refused && f->has_one)
        status = tr_fail(TR_ERR_DATA,
                         "%s has more than one tilt command (lines %zu and %zu), and it "
                         "is not clear which is meant",
                         f->text->path, f->one.line, f->reader.line);
    if (status == TR_OK && !f->reader.refused) {
        f->one = f->reader;
        f->has_one = true;
        return TR_OK;
    }
    if (!f->refused) {
        f->refused = f->reader.refused;
        f->reader.refused = NULL;
    }
    tr_com_reader_free(&f->reader);
    return status;
}

/* ---- Lines ---- */

/* A line that the command at hand reads. */
static tr_status read_entry(com_file *f, char *line)
{
    line[strcspn(line, "#")] = '\0';
    line = tr_text_trim(line);
    size_t length = strcspn(line, " \t=");
    if (!*line)
        return TR_OK;
    char end = line[length];
    line[length] = '\0';
    f->done = strcasecmp(line, "EndInput") == 0 || strcasecmp(line, "DONE") == 0;
    if (f->done)
        return TR_OK;
    const tr_com_option *option;
    TR_TRY(tr_com_option_find(&f->reader, line, &option));
    if (!option && f->bare && !f->reader.has_options && f->reader.n_names < 2) {
        line[length] = end;
        return tr_com_name_take(&f->reader, line);
    }
    char *value = line + length + (end != '\0');
    value += strspn(value, " \t");
    if (end != '=' && *value == '=')
        value += 1 + strspn(value + 1, " \t");
    return tr_com_option_take(&f->reader, option, line, value);
}

/* A command goes on in the next line behind a backslash. */
static void join_lines(tr_text *text, char *line)
{
    for (size_t length; (length = strlen(line)) > 0 && line[length - 1] == '\\';) {
        line[length - 1] = ' ';
        const char *next = tr_text_line(text);
        if (!next)
            return;
        memmove(line + length, next, strlen(next) + 1);
    }
}

static tr_status read_command(com_file *f, char *line)
{
    bool with_dollar = *line == '$';
    TR_TRY(end_tilt(f));
    free_command(&f->command);
    join_lines(f->text, line);
    TR_TRY(split(line + with_dollar, &f->command));
    bool own = f->command.delimiter != NULL; /* a here document of this command */
    if (f->command.delimiter || !with_dollar) {
        free(f->delimiter);
        f->delimiter = f->command.delimiter;
        f->command.delimiter = NULL;
    }
    if (with_dollar)
        f->dollar = !f->script && !own;
    return is_tilt(&f->command) ? begin_tilt(f, with_dollar, own) : TR_OK;
}

static tr_status read_lines(com_file *f)
{
    for (char *line; (line = tr_text_line(f->text)) != NULL;) {
        bool here = f->delimiter != NULL;
        if (here && strcmp(line, f->delimiter) == 0) {
            TR_TRY(end_tilt(f));
            free(f->delimiter);
            f->delimiter = NULL;
            f->dollar = false;
        } else if (*line == '$' ? !(here && f->inside && f->reader.for_shell)
                                : !here && !f->dollar) {
            TR_TRY(read_command(f, line));
        } else if (f->inside && !f->done) {
            if (f->reads)
                TR_TRY(read_entry(f, line));
            f->lost += !f->reads;
        }
    }
    TR_TRY(end_tilt(f));
    if (f->has_one)
        return TR_OK;
    if (f->refused)
        return tr_fail(TR_ERR_DATA, "%s", f->refused);
    return tr_fail(TR_ERR_DATA,
                   "%s has no tilt command (no line \"$tilt -StandardInput\")",
                   f->text->path);
}

tr_status tr_imod_com_read(const char *path, tr_imod_com *com)
{
    *com = (tr_imod_com){0};
    tr_text text;
    TR_TRY(tr_text_read(path, &text));
    com_file f = {.text = &text, .script = strncmp(text.next, "#!", 2) == 0};
    tr_status status = read_lines(&f);
    if (status == TR_OK) {
        *com = f.one.com;
        f.one.com = (tr_imod_com){0};
    }
    if (f.inside)
        tr_com_reader_free(&f.reader);
    if (f.has_one)
        tr_com_reader_free(&f.one);
    free_command(&f.command);
    free(f.delimiter);
    free(f.refused);
    tr_text_free(&text);
    return status;
}

void tr_imod_com_free(tr_imod_com *com)
{
    free(com->input);
    free(com->output);
    free(com->tilt_file);
    free(com->xtilt_file);
    free(com->local_file);
    free(com->zfactor_file);
    free(com->exclude);
    free(com->include);
    free(com->not_honoured);
    *com = (tr_imod_com){0};
}
