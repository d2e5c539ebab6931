/* IMOD's command file for tilt: option names with values, one a line, between a line
 * "$tilt -StandardInput" and the next line that begins with '$', or in a shell script
 * from "tilt -StandardInput << END" to a line END; or on the command's own line, each
 * name with a '-'. As IMOD reads them, names may be cut short where they stay clear,
 * whatever the case of letters, and what is behind a '#' is a comment. */
#include "formats/tilt_angles.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "formats/text_file.h"

/* Words put together to one string; its text is NULL while there is none. */
typedef struct word_list {
    char *text;
    size_t length, room;
} word_list;

/* What is gathered while reading; the tables below hold offsets into it. */
typedef struct com_reader {
    tr_imod_com com;
    const tr_text *text;
    size_t tilt_line;  /* of the $tilt line, 0 before it */
    size_t names_left; /* bare file names still expected (see begin_tilt) */
    word_list exclude, include, not_honoured;
    bool true_sigma;
    long step;  /* of SLICE */
    bool given; /* for entries whose presence nobody asks for */
} com_reader;

typedef enum kind {
    WHOLE, /* whole numbers */
    REAL,
    FLAG,
    PATH,
    VIEWS /* a list of view numbers */
} kind;

/* What is done with an option whose value does not leave the result as it is. */
typedef enum otherwise { WARNED, REFUSED } otherwise;

typedef struct com_entry {
    const char *name;
    kind kind;
    size_t fewest, most; /* numbers; the missing ones of the optional are 0 */
    size_t given;        /* where its presence is noted (bool) */
    size_t values[3];
} com_entry;

#define AT(member) offsetof(com_reader, com.member)
#define OWN(member) offsetof(com_reader, member)

static const com_entry entries[] = {
    {"InputProjections", PATH, 0, 0, OWN(given), {AT(input)}},
    {"input", PATH, 0, 0, OWN(given), {AT(input)}},
    {"OutputFile", PATH, 0, 0, OWN(given), {AT(output)}},
    {"output", PATH, 0, 0, OWN(given), {AT(output)}},
    {"TILTFILE", PATH, 0, 0, OWN(given), {AT(tilt_file)}},
    {"XTILTFILE", PATH, 0, 0, OWN(given), {AT(xtilt_file)}},
    {"THICKNESS", WHOLE, 1, 1, AT(has_thickness), {AT(thickness)}},
    {"WIDTH", WHOLE, 1, 1, AT(has_width), {AT(width)}},
    {"OFFSET", REAL, 1, 2, AT(has_offset), {AT(offset_angle), AT(offset_axis)}},
    {"SHIFT", REAL, 1, 2, AT(has_shift), {AT(shift_x), AT(shift_z)}},
    {"XAXISTILT", REAL, 1, 1, AT(has_xaxistilt), {AT(xaxistilt)}},
    {"RADIAL", REAL, 2, 2, AT(has_radial), {AT(radial_cutoff), AT(radial_sigma)}},
    {"FalloffIsTrueSigma", FLAG, 0, 0, OWN(true_sigma), {0}},
    {"HammingLikeFilter", REAL, 1, 1, OWN(given), {AT(hamming_start)}},
    {"SIRTIterations", WHOLE, 1, 1, OWN(given), {AT(sirt_iterations)}},
    {"FakeSIRTiterations", WHOLE, 1, 1, OWN(given), {AT(fake_sirt_iterations)}},
    {"SCALE", REAL, 2, 2, AT(has_scale), {AT(scale_add), AT(scale_multiply)}},
    {"MODE", WHOLE, 1, 1, AT(has_mode), {AT(mode)}},
    {"LOG", REAL, 1, 1, AT(has_log), {AT(log_base)}},
    {"IMAGEBINNED", WHOLE, 1, 1, OWN(given), {AT(binning)}},
    {"FULLIMAGE", WHOLE, 2, 2, AT(has_full_image), {AT(full_nx), AT(full_ny)}},
    {"SUBSETSTART", WHOLE, 2, 2, AT(has_subset_start), {AT(subset_x), AT(subset_y)}},
    {"SLICE", WHOLE, 2, 3, AT(has_slice), {AT(slice_first), AT(slice_last), OWN(step)}},
    {"PARALLEL", FLAG, 0, 0, AT(parallel), {0}},
    {"EXCLUDE", VIEWS, 0, 0, OWN(given), {OWN(exclude)}},
    {"EXCLUDELIST", VIEWS, 0, 0, OWN(given), {OWN(exclude)}},
    {"EXCLUDELIST2", VIEWS, 0, 0, OWN(given), {OWN(exclude)}},
    {"INCLUDE", VIEWS, 0, 0, OWN(given), {OWN(include)}},
};

/* The other options, with the values that leave the result as it is: a list, "" for no
 * value, or NULL where every value does. Of others it is said that they are not honoured,
 * or what the option asks for. */
static const struct {
    const char *name, *values;
    otherwise otherwise;
    const char *asks;
} others[] = {
    {"UseGPU", NULL, WARNED, NULL},
    {"ActionIfGPUFails", NULL, WARNED, NULL},
    {"TextureType", NULL, WARNED, NULL},
    {"AdjustOrigin", NULL, WARNED, NULL}, /* always done here */
    {"PERPENDICULAR", NULL, WARNED, NULL},
    {"BoundaryInfoFile", NULL, WARNED, NULL},
    {"VertBoundaryFile", NULL, WARNED, NULL},
    {"VertSliceOutputFile", NULL, WARNED, NULL},
    {"TOTALSLICES", NULL, WARNED, NULL},
    {"MinMaxMean", NULL, WARNED, NULL},
    {"TITLE", NULL, WARNED, NULL},
    {"DebugOutput", NULL, WARNED, NULL},
    {"InternalSIRTSlices", NULL, WARNED, NULL},
    {"StartingIteration", NULL, WARNED, NULL},
    {"ExpandInputLines", NULL, WARNED, NULL}, /* how to do SuperSampleFactor */
    {"LOCALSCALE", NULL, WARNED, NULL},       /* of LOCALFILE */
    {"BaseNumViews", NULL, WARNED, NULL},     /* of BaseRecFile */
    {"ViewsToReproject", NULL, WARNED, NULL}, /* of those that are refused */
    {"XMinAndMaxReproj", NULL, WARNED, NULL},
    {"YMinAndMaxReproj", NULL, WARNED, NULL},
    {"ZMinAndMaxReproj", NULL, WARNED, NULL},
    {"ThresholdedReproj", NULL, WARNED, NULL},
    {"AngleOutputFile", NULL, WARNED, NULL},
    {"AlignTransformFile", NULL, WARNED, NULL},
    {"DefocusFile", NULL, WARNED, NULL},
    {"PixelForDefocus", NULL, WARNED, NULL},
    {"LOCALFILE", "", WARNED, NULL},
    {"ZFACTORFILE", "", WARNED, NULL},
    {"WeightFile", "", WARNED, NULL},
    {"WeightAngleFile", "", WARNED, NULL},
    {"DENSWEIGHT", "2", WARNED, NULL},
    {"COSINTERP", "0 1", WARNED, NULL},
    {"XTILTINTERP", "0 1", WARNED, NULL},
    {"FBPINTERP", "0 1", WARNED, NULL},
    {"SuperSampleFactor", "1", WARNED, NULL},
    {"ExactFilterSize", "0", WARNED, NULL},
    {"COMPFRACTION", "1", WARNED, NULL},
    {"COMPRESS", "", WARNED, NULL},
    {"FlatFilterFraction", "0", WARNED, NULL},
    {"MultiplyByGaussian", "0", WARNED, NULL},
    {"RotateBy90", "0", WARNED, NULL},
    {"ConstrainSign", "0", WARNED, NULL},
    {"MASK", "0", WARNED, NULL},
    {"REPLICATE", "", WARNED, NULL},
    {"ANGLES", "", REFUSED, "gives the angles here; put them into a file for TILTFILE"},
    {"ParameterFile", "", REFUSED, "takes the options from another file; put them here"},
    {"REPROJECT", "", REFUSED, "asks for a reprojection, not for a tomogram"},
    {"RecFileToReproject", "", REFUSED, "asks for a reprojection, not for a tomogram"},
    {"ProjectModel", "", REFUSED, "asks for a projected model, not for a tomogram"},
    {"BaseRecFile", "", REFUSED, "asks for a difference to another tomogram"},
    {"SubtractFromBase", "", REFUSED, "asks for a difference to another tomogram"},
    {"SIRTSubtraction", "0", REFUSED, "asks for a step of IMOD's own SIRT"},
    {"VertForSIRTInput", "0", REFUSED, "asks for a step of IMOD's own SIRT"},
};
enum {
    N_ENTRIES = sizeof entries / sizeof *entries,
    N_OTHERS = sizeof others / sizeof *others
};

static tr_status list_add(word_list *list, const char *separator, const char *word)
{
    if (!list->text)
        separator = "";
    size_t added = strlen(separator) + strlen(word);
    if (list->length + added + 1 > list->room) {
        size_t room = 2 * (list->length + added) + 64;
        char *larger = realloc(list->text, room);
        if (!larger)
            return tr_fail(TR_ERR_MEMORY, "not enough memory for a list of %zu bytes",
                           room);
        list->text = larger;
        list->room = room;
    }
    char *end = stpcpy(list->text + list->length, separator);
    stpcpy(end, word);
    list->length += added;
    return TR_OK;
}

static tr_status add_not_honoured(com_reader *reader, const char *name, const char *value)
{
    TR_TRY(list_add(&reader->not_honoured, ", ", name));
    if (*value) {
        TR_TRY(list_add(&reader->not_honoured, " ", value));
    }
    return TR_OK;
}

/* ---- Values ---- */

static tr_status read_numbers(com_reader *reader, const com_entry *entry, char *value)
{
    size_t n = 0;
    double reals[3] = {0};
    long wholes[3] = {0};
    for (char *word; (word = tr_text_word(&value)) != NULL; n++) {
        if (n >= entry->most)
            continue;
        if (entry->kind == WHOLE)
            TR_TRY(tr_text_whole_number(reader->text, word, &wholes[n]));
        else
            TR_TRY(tr_text_number(reader->text, word, &reals[n]));
    }
    if (n < entry->fewest || n > entry->most) {
        const char *path = reader->text->path;
        size_t line = reader->text->line;
        if (entry->fewest == entry->most)
            return tr_fail(TR_ERR_DATA, "%s, line %zu: %s needs %zu number%s, not %zu",
                           path, line, entry->name, entry->most,
                           entry->most == 1 ? "" : "s", n);
        return tr_fail(TR_ERR_DATA, "%s, line %zu: %s needs %zu or %zu numbers, not %zu",
                       path, line, entry->name, entry->fewest, entry->most, n);
    }
    for (size_t i = 0; i < entry->most; i++) {
        char *target = (char *)reader + entry->values[i];
        if (entry->kind == WHOLE)
            *(long *)target = wholes[i];
        else
            *(double *)target = reals[i];
    }
    *(bool *)((char *)reader + entry->given) = true;
    return TR_OK;
}

/* A flag's name alone switches it on; 0 after it switches it off. */
static tr_status read_flag(com_reader *reader, const com_entry *entry, char *value)
{
    double number = 1;
    char *word = tr_text_word(&value);
    if (word)
        TR_TRY(tr_text_number(reader->text, word, &number));
    *(bool *)((char *)reader + entry->given) = number != 0;
    return TR_OK;
}

/* The name joined to the com file's folder; without a name the entry is as if absent. */
static tr_status read_path(com_reader *reader, const char *name, char **target)
{
    free(*target);
    *target = NULL;
    if (!*name)
        return TR_OK;
    const char *com_path = reader->text->path;
    const char *slash = strrchr(com_path, '/');
    int folder = slash && *name != '/' ? (int)(slash + 1 - com_path) : 0;
    *target = tr_format_string("%.*s%s", folder, com_path, name);
    return *target ? TR_OK : TR_ERR_MEMORY;
}

/* Whether a word is "7" or "3-9", with numbers from 1. */
static bool is_view_range(const char *word)
{
    for (int part = 0; part < 2; part++) {
        size_t digits = strspn(word, "0123456789");
        if (digits == 0 || strspn(word, "0") == digits)
            return false;
        word += digits;
        if (*word == '\0')
            return true;
        if (*word++ != '-')
            return false;
    }
    return false;
}

static tr_status read_views(com_reader *reader, const com_entry *entry, char *value)
{
    word_list *target = (word_list *)((char *)reader + entry->values[0]);
    for (char *word; (word = tr_text_word(&value)) != NULL;) {
        if (!is_view_range(word))
            return tr_fail(TR_ERR_DATA,
                           "%s, line %zu: \"%.60s\" in %s is neither a view number (from "
                           "1) nor a range like 3-9",
                           reader->text->path, reader->text->line, word, entry->name);
        TR_TRY(list_add(target, ",", word));
    }
    return TR_OK;
}

static tr_status read_honoured(com_reader *reader, const com_entry *entry, char *value)
{
    switch (entry->kind) {
    case WHOLE:
    case REAL:
        return read_numbers(reader, entry, value);
    case FLAG:
        return read_flag(reader, entry, value);
    case PATH:
        return read_path(reader, value, (char **)((char *)reader + entry->values[0]));
    case VIEWS:
        return read_views(reader, entry, value);
    }
    return tr_fail(TR_ERR_INTERNAL, "no reading of %s", entry->name);
}

/* ---- Lines ---- */

/* Whether `given` is in a list of values; "0" and "0.0" are the same. */
static bool is_one_of(const tr_text *text, const char *given, const char *values)
{
    char *end;
    double number = strtod_l(given, &end, text->c_locale);
    if (!*values || !*given || *end)
        return !*values && !*given;
    for (const char *at = values; *at; at = end)
        if (number == strtod_l(at, &end, text->c_locale))
            return true;
    return false;
}

/* Of entries, then others. */
static const char *name_of(size_t k)
{
    return k < N_ENTRIES ? entries[k].name : others[k - N_ENTRIES].name;
}

static bool mean_the_same(size_t a, size_t b)
{
    return a < N_ENTRIES && b < N_ENTRIES && entries[a].values[0] == entries[b].values[0];
}

/* Which option a name is, or the beginning of one; N_ENTRIES + N_OTHERS: none. */
static tr_status find_option(const com_reader *reader, const char *name, size_t *found)
{
    size_t length = strlen(name), n = N_ENTRIES + N_OTHERS;
    *found = n;
    for (size_t k = 0; k < n; k++)
        if (strcasecmp(name, name_of(k)) == 0) {
            *found = k;
            return TR_OK;
        }
    for (size_t k = 0; k < n && length; k++) {
        if (strncasecmp(name, name_of(k), length) != 0)
            continue;
        if (*found < n && !mean_the_same(*found, k))
            return tr_fail(TR_ERR_DATA, "%s, line %zu: %s could be %s or %s",
                           reader->text->path, reader->text->line, name, name_of(*found),
                           name_of(k));
        if (*found == n)
            *found = k;
    }
    return TR_OK;
}

static tr_status read_option(com_reader *reader, const char *name, char *value)
{
    size_t k;
    TR_TRY(find_option(reader, name, &k));
    if (k < N_ENTRIES)
        return read_honoured(reader, &entries[k], value);
    k -= N_ENTRIES;
    if (k < N_OTHERS &&
        (!others[k].values || is_one_of(reader->text, value, others[k].values)))
        return TR_OK;
    if (k < N_OTHERS && others[k].otherwise == REFUSED)
        return tr_fail(TR_ERR_DATA, "%s, line %zu: %s is not done here: it %s",
                       reader->text->path, reader->text->line, others[k].name,
                       others[k].asks);
    return add_not_honoured(reader, k < N_OTHERS ? others[k].name : name, value);
}

/* A comment begins the line or follows a blank. */
static char *without_comment(char *line)
{
    for (char *at = line; *at; at++)
        if (*at == '#' && (at == line || isspace((unsigned char)at[-1]))) {
            *at = '\0';
            break;
        }
    return tr_text_trim(line);
}

static tr_status read_entry(com_reader *reader, char *line)
{
    static const char separators[] = " \t=";
    line = without_comment(line);
    size_t length = strcspn(line, separators);
    char *value = line + length;
    value += strspn(value, separators);
    line[length] = '\0';
    return read_option(reader, line, value);
}

/* ---- The command ---- */

/* Whether the command is tilt, wherever that lies; *arguments is then what follows. */
static bool is_tilt(char *command, char **arguments)
{
    command = tr_text_trim(command);
    char *end = command + strcspn(command, " \t");
    char *name = end;
    while (name > command && name[-1] != '/')
        name--;
    *arguments = tr_text_trim(end);
    return end - name == 4 && strncmp(name, "tilt", 4) == 0;
}

static bool is_option_name(const char *word)
{
    return word[0] == '-' && isalpha((unsigned char)word[1]);
}

static char *next_argument(char **rest)
{
    char *word = *rest + strspn(*rest, " \t");
    size_t length = strcspn(word, " \t");
    *rest = word + length;
    if (**rest)
        *(*rest)++ = '\0';
    return *word ? word : NULL;
}

/* The option `name`, with all words up to the next one as its value. */
static tr_status read_argument(com_reader *reader, const char *name, char **rest)
{
    char none[] = "", *value = *rest + strspn(*rest, " \t"), *end = value;
    while (*end && !is_option_name(end)) {
        end += strcspn(end, " \t");
        end += strspn(end, " \t");
    }
    bool any = end > value;
    if (any && *end)
        end[-1] = '\0';
    *rest = end;
    return read_option(reader, name, any ? tr_text_trim(value) : none);
}

/* What stands on the command's line. Old files have "$tilt" alone, and the names of input
 * and output in the two lines after it instead of entries. *more: entries follow. */
static tr_status begin_tilt(com_reader *reader, char *arguments, bool *more)
{
    static const char standard[] = "StandardInput";
    if (reader->tilt_line)
        return tr_fail(TR_ERR_DATA,
                       "%s has more than one tilt command (lines %zu and %zu), and it is "
                       "not clear which is meant",
                       reader->text->path, reader->tilt_line, reader->text->line);
    reader->tilt_line = reader->text->line;
    arguments = without_comment(arguments);
    *more = !*arguments;
    if (!*arguments)
        reader->names_left = 2;
    char *files[] = {NULL, NULL};
    size_t n_files = 0;
    for (char *word; (word = next_argument(&arguments)) != NULL;) {
        if (is_option_name(word) &&
            strncasecmp(word + 1, standard, strlen(word + 1)) == 0 && word[2]) {
            *more = true;
        } else if (is_option_name(word)) {
            TR_TRY(read_argument(reader, word + 1, &arguments));
        } else if (n_files < 2) {
            files[n_files++] = word;
        } else {
            TR_TRY(add_not_honoured(reader, "tilt", word));
        }
    }
    if (files[0])
        TR_TRY(read_path(reader, files[0], &reader->com.input));
    if (files[1])
        TR_TRY(read_path(reader, files[1], &reader->com.output));
    return TR_OK;
}

/* The word behind "<<", which ends the entries, cut off the line; NULL: there is none. */
static char *take_end_mark(char *line)
{
    char *mark = strstr(line, "<<");
    if (!mark)
        return NULL;
    *mark = '\0';
    mark += 2;
    mark += strspn(mark, "- \t\"'");
    mark[strcspn(mark, " \t\"'")] = '\0';
    return *mark ? mark : NULL;
}

static tr_status read_lines(com_reader *reader, tr_text *text)
{
    bool inside = false;
    const char *end_mark = NULL;
    for (char *line; (line = tr_text_line(text)) != NULL;) {
        char *arguments;
        bool command = *line == '$' || (!inside && strstr(line, "<<"));
        if (command) {
            inside = false;
            const char *mark = take_end_mark(line);
            if (is_tilt(*line == '$' ? line + 1 : line, &arguments)) {
                TR_TRY(begin_tilt(reader, arguments, &inside));
                end_mark = mark;
            }
        } else if (inside &&
                   (strcasecmp(line, "DONE") == 0 || strcasecmp(line, "EndInput") == 0 ||
                    (end_mark && strcmp(line, end_mark) == 0))) {
            inside = false;
        } else if (inside && reader->names_left > 0) {
            bool input = reader->names_left-- == 2;
            TR_TRY(read_path(reader, without_comment(line),
                             input ? &reader->com.input : &reader->com.output));
        } else if (inside) {
            TR_TRY(read_entry(reader, line));
        }
    }
    if (!reader->tilt_line)
        return tr_fail(TR_ERR_DATA,
                       "%s has no tilt command (no line \"$tilt -StandardInput\")",
                       text->path);
    return TR_OK;
}

/* What one entry's meaning owes to another or to its own value. */
static tr_status finish(com_reader *reader)
{
    tr_imod_com *com = &reader->com;
    if (com->binning < 1)
        return tr_fail(TR_ERR_DATA, "%s: IMAGEBINNED %ld is not a binning (1 or more)",
                       reader->text->path, com->binning);
    if (com->has_radial && com->radial_cutoff >= 1) {
        /* IMOD counts Fourier pixels then; the image's size is not known here */
        com->has_radial = false;
        TR_TRY(add_not_honoured(reader, "RADIAL", "in pixels of the Fourier transform"));
    }
    if (!reader->true_sigma)
        com->radial_sigma *= M_SQRT1_2;
    if (reader->step > 1)
        TR_TRY(add_not_honoured(reader, "SLICE", "with an interval"));
    return TR_OK;
}

tr_status tr_imod_com_read(const char *path, tr_imod_com *com)
{
    *com = (tr_imod_com){0};
    tr_text text;
    TR_TRY(tr_text_read(path, &text));
    com_reader reader = {.text = &text, .com.binning = 1};
    tr_status status = read_lines(&reader, &text);
    if (status == TR_OK)
        status = finish(&reader);
    tr_text_free(&text);
    *com = reader.com;
    com->exclude = reader.exclude.text;
    com->include = reader.include.text;
    com->not_honoured = reader.not_honoured.text;
    if (status != TR_OK)
        tr_imod_com_free(com);
    return status;
}

void tr_imod_com_free(tr_imod_com *com)
{
    free(com->input);
    free(com->output);
    free(com->tilt_file);
    free(com->xtilt_file);
    free(com->exclude);
    free(com->include);
    free(com->not_honoured);
    *com = (tr_imod_com){0};
}
