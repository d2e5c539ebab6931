/* IMOD's command file for tilt: option names with values, one a line, between a line
 * "$tilt -StandardInput" and the next line that begins with '$'. */
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
    {"FakeSIRTiterations", WHOLE, 1, 1, OWN(given), {AT(fake_sirt_iterations)}},
    {"SCALE", REAL, 2, 2, AT(has_scale), {AT(scale_add), AT(scale_multiply)}},
    {"MODE", WHOLE, 1, 1, AT(has_mode), {AT(mode)}},
    {"LOG", REAL, 1, 1, AT(has_log), {AT(log_base)}},
    {"IMAGEBINNED", WHOLE, 1, 1, OWN(given), {AT(binning)}},
    {"FULLIMAGE", WHOLE, 2, 2, AT(has_full_image), {AT(full_nx), AT(full_ny)}},
    {"SUBSETSTART", WHOLE, 2, 2, AT(has_subset_start), {AT(subset_x), AT(subset_y)}},
    {"SLICE", WHOLE, 2, 3, AT(has_slice), {AT(slice_first), AT(slice_last), OWN(step)}},
    {"PARALLEL", FLAG, 0, 0, AT(parallel), {0}},
    {"PERPENDICULAR", FLAG, 0, 0, AT(perpendicular), {0}},
    {"EXCLUDE", VIEWS, 0, 0, OWN(given), {OWN(exclude)}},
    {"EXCLUDELIST", VIEWS, 0, 0, OWN(given), {OWN(exclude)}},
    {"EXCLUDELIST2", VIEWS, 0, 0, OWN(given), {OWN(exclude)}},
    {"INCLUDE", VIEWS, 0, 0, OWN(given), {OWN(include)}},
};

/* Other options with the values that leave the result as it is; NULL: every value does.
 * An option that is in neither table is reported as not honoured, whatever its value. */
static const struct {
    const char *name, *value;
} harmless[] = {
    {"UseGPU", NULL},
    {"ActionIfGPUFails", NULL},
    {"TextureType", NULL},
    {"AdjustOrigin", NULL}, /* always done here */
    {"BoundaryInfoFile", NULL},
    {"VertBoundaryFile", NULL},
    {"VertSliceOutputFile", NULL},
    {"TOTALSLICES", NULL},
    {"TITLE", NULL},
    {"DebugOutput", NULL},
    {"InternalSIRTSlices", NULL},
    {"StartingIteration", NULL},
    {"ExpandInputLines", NULL}, /* says how to do what SuperSampleFactor asks for */
    {"LOCALSCALE", NULL},       /* of LOCALFILE */
    {"LOCALFILE", ""},
    {"ZFACTORFILE", ""},
    {"WeightFile", ""},
    {"WeightAngleFile", ""},
    {"BaseRecFile", ""},
    {"RecFileToReproject", ""},
    {"DENSWEIGHT", "2"},
    {"COSINTERP", "0"},
    {"COSINTERP", "1"},
    {"XTILTINTERP", "0"},
    {"XTILTINTERP", "1"},
    {"FBPINTERP", "0"},
    {"FBPINTERP", "1"},
    {"SuperSampleFactor", "1"},
    {"COMPFRACTION", "1"},
    {"FlatFilterFraction", "0"},
    {"MultiplyByGaussian", "0"},
    {"RotateBy90", "0"},
    {"SIRTIterations", "0"},
    {"SIRTSubtraction", "0"},
    {"ConstrainSign", "0"},
    {"VertForSIRTInput", "0"},
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

/* "0" and "0.0" are the same value. */
static bool same_value(const tr_text *text, const char *given, const char *value)
{
    if (!*value || !*given)
        return *value == *given;
    char *end;
    double number = strtod_l(given, &end, text->c_locale);
    return *end == '\0' && number == strtod_l(value, NULL, text->c_locale);
}

static tr_status read_entry(com_reader *reader, char *line)
{
    static const char separators[] = " \t=";
    size_t length = strcspn(line, separators);
    char *value = line + length;
    value += strspn(value, separators);
    line[length] = '\0';
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        if (strcasecmp(line, entries[i].name) == 0)
            return read_honoured(reader, &entries[i], value);
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (strcasecmp(line, harmless[i].name) == 0 &&
            (!harmless[i].value || same_value(reader->text, value, harmless[i].value)))
            return TR_OK;
    return add_not_honoured(reader, line, value);
}

/* Whether the command after a '$' is tilt; *arguments is then what follows its name. */
static bool is_tilt(char *command, char **arguments)
{
    command = tr_text_trim(command);
    if (strncmp(command, "tilt", 4) != 0 ||
        (command[4] && !isspace((unsigned char)command[4])))
        return false;
    *arguments = tr_text_trim(command + 4);
    return true;
}

/* Old files have "$tilt" alone, and the names of input and output in the two lines after
 * it instead of entries. */
static tr_status begin_tilt(com_reader *reader, const char *arguments)
{
    if (reader->tilt_line)
        return tr_fail(TR_ERR_DATA,
                       "%s has more than one tilt command (lines %zu and %zu), and it is "
                       "not clear which is meant",
                       reader->text->path, reader->tilt_line, reader->text->line);
    reader->tilt_line = reader->text->line;
    if (!*arguments)
        reader->names_left = 2;
    else if (strcasecmp(arguments, "-StandardInput") != 0)
        return add_not_honoured(reader, "tilt", arguments);
    return TR_OK;
}

static tr_status read_lines(com_reader *reader, tr_text *text)
{
    bool inside = false;
    for (char *line; (line = tr_text_line(text)) != NULL;) {
        char *arguments;
        if (*line == '$') {
            inside = is_tilt(line + 1, &arguments);
            if (inside)
                TR_TRY(begin_tilt(reader, arguments));
        } else if (inside &&
                   (strcasecmp(line, "DONE") == 0 || strcasecmp(line, "EndInput") == 0)) {
            inside = false;
        } else if (inside && reader->names_left > 0) {
            bool input = reader->names_left-- == 2;
            TR_TRY(read_path(reader, line,
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
