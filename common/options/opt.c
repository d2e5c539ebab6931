#include "common/options/opt.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"

/* ---- numbers ---- */

/* The bytes as a string of its own, or NULL if too long to be a number. */
static const char *number_copy(const char *text, size_t length, char copy[64])
{
    if (length == 0 || length >= 64)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

bool tr_parse_real(const char *text, size_t length, double *value)
{
    char copy[64], *end;
    /* The set of characters keeps out hexadecimal, NaN, infinity and blanks. */
    if (!number_copy(text, length, copy) || copy[strspn(copy, "+-.0123456789eE")])
        return false;
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c_locale)
        return false;
    *value = strtod_l(copy, &end, c_locale);
    freelocale(c_locale);
    return *end == '\0' && isfinite(*value);
}

static bool parse_whole(const char *text, size_t length, long *value)
{
    char copy[64], *end;
    if (!number_copy(text, length, copy) || copy[strspn(copy, "+-0123456789")])
        return false;
    errno = 0;
    *value = strtol(copy, &end, 10);
    return *end == '\0' && errno == 0;
}

static bool in_range(const tr_option *row, double value)
{
    return (row->min == 0 && row->max == 0) || (value >= row->min && value <= row->max);
}

static bool read_real(const tr_option *row, const char *text, size_t length,
                      double *value)
{
    return tr_parse_real(text, length, value) && in_range(row, *value);
}

static bool read_whole(const tr_option *row, const char *text, size_t length, long *value)
{
    return parse_whole(text, length, value) && in_range(row, (double)*value);
}

static bool read_pair(const tr_option *row, const char *text, double *pair)
{
    const char *comma = strchr(text, ',');
    return comma && read_real(row, text, (size_t)(comma - text), &pair[0]) &&
           read_real(row, comma + 1, strlen(comma + 1), &pair[1]);
}

static bool read_range(const tr_option *row, const char *text, long *range)
{
    const char *colon = strchr(text, ':');
    return colon && read_whole(row, text, (size_t)(colon - text), &range[0]) &&
           read_whole(row, colon + 1, strlen(colon + 1), &range[1]) &&
           range[0] <= range[1];
}

static bool read_bytes(const tr_option *row, const char *text, size_t *bytes)
{
    static const char units[] = "KMGT";
    size_t digits = strspn(text, ".0123456789");
    const char *unit = text + digits;
    double value;
    if (!tr_parse_real(text, digits, &value))
        return false;
    if (*unit) {
        const char *found = strchr(units, toupper((unsigned char)*unit));
        if (!found || (unit[1] && strcasecmp(unit + 1, "B") != 0 &&
                       strcasecmp(unit + 1, "iB") != 0))
            return false;
        value = ldexp(value, 10 * (int)(found - units + 1));
    }
    if (!in_range(row, value) || value < 1 || value >= (double)SIZE_MAX)
        return false;
    *bytes = (size_t)value;
    return true;
}

/* ---- words ---- */

/* Words of `choices` in capitals stand for arguments and are no choices themselves. */
static bool is_argument(const char *word) { return isupper((unsigned char)*word); }

/* The index of the word among those separated by blanks, or -1; *behind is what stands
 * there behind it. */
static int find_choice(const char *choices, const char *word, const char **behind)
{
    size_t length = strlen(word);
    int index = 0;
    for (const char *at = choices; *at;) {
        size_t n = strcspn(at, " ");
        const char *next = at + n + strspn(at + n, " ");
        if (!is_argument(at)) {
            if (n == length && strncasecmp(at, word, n) == 0) {
                *behind = next;
                return index;
            }
            index++;
        }
        at = next;
    }
    return -1;
}

static int choice_index(const char *choices, const char *word)
{
    const char *behind;
    return find_choice(choices, word, &behind);
}

/* "; did you mean float?" into text, which is left alone when nothing is near. */
static void suggest_choice(const char *choices, const char *word, char *text, size_t size)
{
    const char *words[64];
    char *copy = tr_strdup(choices), *rest = copy, *next;
    size_t n = 0;
    for (char *from = copy; rest && n < 64 && (next = strtok_r(from, " ", &rest));
         from = NULL)
        if (!is_argument(next))
            words[n++] = next;
    const char *nearest = tr_nearest(word, words, n);
    if (nearest)
        snprintf(text, size, "; did you mean %s?", nearest);
    free(copy);
}

/* ---- values ---- */

static const char *unit_of(const tr_option *row)
{
    const char *metavar = row->metavar ? row->metavar : "";
    return strcmp(metavar, "PIXELS") == 0    ? " pixels"
           : strcmp(metavar, "DEGREES") == 0 ? " degrees"
                                             : "";
}

/* A limit of a row as the user would type it. */
static const char *limit_text(const tr_option *row, double value, char text[32])
{
    size_t unit = 0;
    while (row->type == TR_OPT_BYTES && unit < 4 && value >= 1024) {
        value /= 1024;
        unit++;
    }
    snprintf(text, 32, "%.10g%.1s", value, &"\0KMGT"[unit]);
    return text;
}

void tr_option_allowed(const tr_option *row, char *text, size_t size)
{
    char low[32], high[32];
    const char *unit = unit_of(row);
    limit_text(row, row->min, low);
    limit_text(row, row->max, high);
    snprintf(text, size, "%s", "");
    if (row->type == TR_OPT_CHOICE || row->type == TR_OPT_WORDS ||
        row->type == TR_OPT_WISH) {
        size_t n = 0;
        for (const char *c = row->choices; *c && n + 3 < size; c++)
            n += (size_t)snprintf(text + n, size - n,
                                  *c == ' ' && !is_argument(c + 1) ? ",%c" : "%c", *c);
    } else if (row->min == 0 && row->max == 0) {
        return;
    } else if (isinf(row->max)) {
        snprintf(text, size, "at least %s%s", low, unit);
    } else if (isinf(row->min)) {
        snprintf(text, size, "at most %s%s", high, unit);
    } else {
        snprintf(text, size, "from %s to %s%s", low, high, unit);
    }
}

void tr_option_takes(const tr_option *row, char *text, size_t size)
{
    static const char *const kinds[] = {
        [TR_OPT_FLAG] = "no value",
        [TR_OPT_STRING] = "a name that is not empty",
        [TR_OPT_INT] = "a whole number",
        [TR_OPT_REAL] = "a number",
        [TR_OPT_PAIR] = "two numbers",
        [TR_OPT_RANGE] = "two whole numbers A:B, A not above B,",
        [TR_OPT_BYTES] = "a size such as 512M or 4G,",
        [TR_OPT_CHOICE] = "one of",
        [TR_OPT_LIST] = "positive whole numbers and ranges such as 1-4,7,40-41",
        [TR_OPT_WORDS] = "one of",
        [TR_OPT_WISH] = "a value that is not empty",
    };
    char allowed[512];
    tr_option_allowed(row, allowed, sizeof allowed);
    bool form = row->type == TR_OPT_PAIR && row->metavar;
    snprintf(text, size, "%s%s%s%s%s", kinds[row->type], form ? " " : "",
             form ? row->metavar : "", *allowed ? " " : "", allowed);
}

static tr_status bad_value(const tr_option *row, const char *text)
{
    char takes[640], nearest[128] = "";
    tr_option_takes(row, takes, sizeof takes);
    if (row->type == TR_OPT_CHOICE || row->type == TR_OPT_WORDS)
        suggest_choice(row->choices, text, nearest, sizeof nearest);
    return tr_fail(TR_ERR_USAGE, "--%s %s: must be %s%s", row->name, *text ? text : "''",
                   row->type == TR_OPT_FLAG ? "given without a value" : takes, nearest);
}

/* Read text as the row says and put it in its place in target. */
static tr_status store(const tr_option *row, const char *text, void *target)
{
    void *place = (char *)target + row->offset;
    bool good = false;
    switch (row->type) {
    case TR_OPT_FLAG:
        *(bool *)place = good = true;
        break;
    case TR_OPT_STRING:
    case TR_OPT_WISH:
        *(const char **)place = text;
        good = *text != '\0';
        break;
    case TR_OPT_INT:
        good = read_whole(row, text, strlen(text), place);
        break;
    case TR_OPT_REAL:
        good = read_real(row, text, strlen(text), place);
        break;
    case TR_OPT_PAIR:
        good = read_pair(row, text, place);
        break;
    case TR_OPT_RANGE:
        good = read_range(row, text, place);
        break;
    case TR_OPT_BYTES:
        good = read_bytes(row, text, place);
        break;
    case TR_OPT_CHOICE:
        *(int *)place = choice_index(row->choices, text);
        good = *(int *)place >= 0;
        break;
    case TR_OPT_LIST:
        *(const char **)place = text;
        good = tr_list_is_good(text);
        break;
    case TR_OPT_WORDS: /* what stands behind it is taken by take_words */
        ((tr_words *)place)->choice = choice_index(row->choices, text) + 1;
        good = ((tr_words *)place)->choice > 0;
        break;
    }
    return good ? TR_OK : bad_value(row, text);
}

static tr_status store_default(const tr_option *row, void *target)
{
    static const size_t sizes[] = {
        [TR_OPT_FLAG] = sizeof(bool),         [TR_OPT_STRING] = sizeof(char *),
        [TR_OPT_INT] = sizeof(long),          [TR_OPT_REAL] = sizeof(double),
        [TR_OPT_PAIR] = 2 * sizeof(double),   [TR_OPT_RANGE] = 2 * sizeof(long),
        [TR_OPT_BYTES] = sizeof(size_t),      [TR_OPT_CHOICE] = sizeof(int),
        [TR_OPT_LIST] = sizeof(const char *), [TR_OPT_WORDS] = sizeof(tr_words),
        [TR_OPT_WISH] = sizeof(const char *),
    };
    void *place = (char *)target + row->offset;
    memset(place, 0, sizes[row->type]);
    if (row->type == TR_OPT_RANGE)
        ((long *)place)[0] = ((long *)place)[1] = -1;
    if (row->fallback && store(row, row->fallback, target) != TR_OK)
        return tr_fail(TR_ERR_INTERNAL, "the default of an option is wrong: %s",
                       tr_error());
    return TR_OK;
}

/* ---- the command line ---- */

typedef struct parser {
    tr_command_line *line;
    const char *positional_name;
    const char **values; /* what was given for each row so far, or NULL */
    int argc;
    char *const *argv;
    int next; /* index of the argument to look at next */
} parser;

typedef struct match {
    const tr_option_group *group;
    const tr_option *row;
    size_t index; /* among all rows */
} match;

/* The row of this letter (if not 0) or name; one in a group with a target if any. */
static match find_row(const tr_command_line *line, char letter, const char *name,
                      size_t length)
{
    match found = {NULL, NULL, 0};
    size_t index = 0;
    for (size_t g = 0; g < line->n_groups; g++) {
        const tr_option_group *group = &line->groups[g];
        for (size_t r = 0; r < group->n; r++, index++) {
            const tr_option *row = &group->rows[r];
            bool same = letter ? row->letter == letter
                               : strlen(row->name) == length &&
                                     strncmp(row->name, name, length) == 0;
            if (same && (!found.row || (!found.group->target && group->target)))
                found = (match){group, row, index};
        }
    }
    return found;
}

static size_t count_rows(const tr_command_line *line)
{
    size_t n = 0;
    for (size_t g = 0; g < line->n_groups; g++)
        n += line->groups[g].n;
    return n;
}

static tr_status unknown_option(const tr_command_line *line, const char *argument)
{
    size_t n = 0, length = strcspn(argument, "=");
    const char **names = tr_calloc("option names", count_rows(line), sizeof *names);
    char *name = tr_format_string("%.*s", (int)(length - 2), argument + 2);
    if (!names || !name) {
        free(names);
        free(name);
        return TR_ERR_MEMORY;
    }
    for (size_t g = 0; g < line->n_groups; g++)
        for (size_t r = 0; r < line->groups[g].n; r++)
            if (line->groups[g].rows[r].help)
                names[n++] = line->groups[g].rows[r].name;
    const char *nearest = tr_nearest(name, names, n);
    if (nearest)
        (void)tr_fail(TR_ERR_USAGE, "unknown option --%s; did you mean --%s?", name,
                      nearest);
    else
        (void)tr_fail(TR_ERR_USAGE, "unknown option --%s; --help all lists them", name);
    free(names);
    free(name);
    return TR_ERR_USAGE;
}

/* "--lambda is an option of ADMM; WBP does not have it". The algorithm chosen is the
 * last group with a target, if another group with a target comes before it. */
static tr_status not_an_option_here(const tr_command_line *line, const char *name)
{
    char owners[512] = "";
    const char *chosen = NULL;
    size_t used = 0, n_targets = 0;
    for (size_t g = 0; g < line->n_groups; g++) {
        const tr_option_group *group = &line->groups[g];
        if (group->target) {
            chosen = group->title;
            n_targets++;
        }
        for (size_t r = 0; r < group->n; r++)
            if (strcmp(group->rows[r].name, name) == 0 && used < sizeof owners)
                used += (size_t)snprintf(owners + used, sizeof owners - used, "%s%s",
                                         used ? ", " : "", group->title);
    }
    return tr_fail(TR_ERR_USAGE, "--%s is an option of %s; %s does not have it", name,
                   owners, n_targets > 1 ? chosen : "the algorithm chosen");
}

/* Whether the argument is an option rather than a value: "-6" and "-" are values. */
static bool looks_like_option(const char *argument)
{
    return argument[0] == '-' && argument[1] && argument[1] != '.' &&
           !isdigit((unsigned char)argument[1]);
}

/* Store the arguments that follow the word `text`. */
static tr_status take_words(parser *p, match found, const char *text)
{
    const tr_option *row = found.row;
    tr_words *words = (tr_words *)((char *)found.group->target + row->offset);
    const tr_words earlier = *words;
    const char *behind = "";
    *words = (tr_words){.choice = find_choice(row->choices, text, &behind) + 1};
    const char *wanted = behind;
    if (!words->choice)
        return bad_value(row, text);
    for (size_t n = 0; is_argument(behind); n++) {
        const char *given = p->next < p->argc ? p->argv[p->next] : "";
        TR_ASSERT(n < TR_MOST_WORDS);
        if (!*given || looks_like_option(given))
            return tr_fail(TR_ERR_USAGE, "--%s %s must be followed by %s", row->name,
                           text, wanted);
        p->next++;
        words->argument[n] = given;
        behind += strcspn(behind, " ");
        behind += strspn(behind, " ");
    }
    for (size_t n = 0; n < TR_MOST_WORDS && p->values[found.index]; n++)
        if (earlier.argument[n] && words->argument[n] &&
            strcmp(earlier.argument[n], words->argument[n]) != 0)
            return tr_fail(TR_ERR_USAGE, "--%s is given twice, with %s and with %s",
                           row->name, earlier.argument[n], words->argument[n]);
    return TR_OK;
}

/* The value of a TR_OPT_WISH that is not in the same argument. */
static const char *take_wish(parser *p, const tr_option *row)
{
    const char *next = p->next < p->argc ? p->argv[p->next] : "";
    if (choice_index(row->choices, next) < 0 &&
        (!strchr(next, '=') || looks_like_option(next))) {
        const char *last = strrchr(row->choices, ' ');
        return last ? last + 1 : row->choices;
    }
    p->next++;
    return next;
}

/* Store the value of a row: the text in the same argument (NULL: none) or the next
 * argument. */
static tr_status take_option(parser *p, match found, const char *text)
{
    const tr_option *row = found.row;
    if (!found.group->target)
        return not_an_option_here(p->line, row->name);
    if (row->type == TR_OPT_FLAG) {
        if (text)
            return bad_value(row, text);
        text = "";
    } else if (!text && row->type == TR_OPT_WISH) {
        text = take_wish(p, row);
    } else if (!text) {
        const char *metavar = row->metavar ? row->metavar : "VALUE";
        if (p->next == p->argc)
            return tr_fail(TR_ERR_USAGE, "--%s needs a value: --%s %s", row->name,
                           row->name, metavar);
        text = p->argv[p->next];
        if (looks_like_option(text))
            return tr_fail(
                TR_ERR_USAGE,
                "--%s needs a value, --%s %s, but %s follows, which looks like "
                "an option; write --%s=%s if it is the value",
                row->name, row->name, metavar, text, row->name, text);
        p->next++;
    }
    const char *earlier = p->values[found.index];
    if (row->type == TR_OPT_WORDS)
        TR_TRY(take_words(p, found, text));
    if (earlier && strcmp(earlier, text) != 0)
        return tr_fail(TR_ERR_USAGE, "--%s is given twice, as %s and as %s", row->name,
                       earlier, text);
    p->values[found.index] = text;
    p->line->given[found.index] = 1;
    return store(row, text, found.group->target);
}

static tr_status take_long(parser *p, const char *argument)
{
    size_t length = strcspn(argument, "=");
    match found = find_row(p->line, 0, argument + 2, length - 2);
    if (!found.row)
        return unknown_option(p->line, argument);
    return take_option(p, found, argument[length] ? argument + length + 1 : NULL);
}

static tr_status take_short(parser *p, const char *argument)
{
    /* "-thickness" must not be read as "-t hickness". */
    match written_long = find_row(p->line, 0, argument + 1, strcspn(argument + 1, "="));
    if (written_long.row)
        return tr_fail(TR_ERR_USAGE, "unknown option %s; write --%s, with two dashes",
                       argument, written_long.row->name);
    match found = find_row(p->line, argument[1], NULL, 0);
    if (!found.row)
        return tr_fail(TR_ERR_USAGE, "unknown option %s; --help all lists them",
                       argument);
    return take_option(p, found, argument[2] ? argument + 2 : NULL);
}

static tr_status take_positional(parser *p, const char *argument)
{
    const char *name = p->positional_name;
    if (!name)
        return tr_fail(TR_ERR_USAGE, "unexpected argument '%s': only options are taken",
                       argument);
    if (*argument == '\0')
        return tr_fail(TR_ERR_USAGE, "%s is an empty name; name a file", name);
    if (p->line->positional)
        return tr_fail(TR_ERR_USAGE, "only one %s is taken, but both %s and %s are given",
                       name, p->line->positional, argument);
    p->line->positional = argument;
    return TR_OK;
}

static tr_status parse_all(parser *p)
{
    bool options_ended = false;
    while (p->next < p->argc) {
        const char *argument = p->argv[p->next++];
        if (options_ended || argument[0] != '-' || argument[1] == '\0')
            TR_TRY(take_positional(p, argument));
        else if (strcmp(argument, "--") == 0)
            options_ended = true;
        else if (argument[1] == '-')
            TR_TRY(take_long(p, argument));
        else
            TR_TRY(take_short(p, argument));
    }
    return TR_OK;
}

tr_status tr_options_parse(const tr_option_group *groups, size_t n_groups,
                           const char *positional_name, int argc, char *const *argv,
                           tr_command_line *line)
{
    *line = (tr_command_line){.groups = groups, .n_groups = n_groups};
    for (size_t g = 0; g < n_groups; g++)
        for (size_t r = 0; groups[g].target && r < groups[g].n; r++)
            TR_TRY(store_default(&groups[g].rows[r], groups[g].target));

    parser p = {.line = line,
                .positional_name = positional_name,
                .argc = argc,
                .argv = argv,
                .next = 1};
    p.values = tr_calloc("options", count_rows(line), sizeof *p.values);
    line->given = tr_calloc("options", count_rows(line), 1);
    tr_status status = p.values && line->given ? parse_all(&p) : TR_ERR_MEMORY;
    free(p.values);
    if (status != TR_OK)
        tr_command_line_free(line);
    return status;
}

void tr_command_line_free(tr_command_line *line)
{
    free(line->given);
    line->given = NULL;
}

bool tr_option_given(const tr_command_line *line, const char *name)
{
    match found = find_row(line, 0, name, strlen(name));
    return found.row && line->given && line->given[found.index];
}

bool tr_option_known(const tr_command_line *line, const char *name)
{
    match found = find_row(line, 0, name, strlen(name));
    return found.row && found.group->target;
}

tr_status tr_option_preset(const tr_command_line *line, const char *name,
                           const char *value)
{
    match found = find_row(line, 0, name, strlen(name));
    TR_ASSERT(found.row && found.group->target);
    return store(found.row, value, found.group->target);
}
