/* The options of IMOD's tilt (its manual page and autodoc, 4.8 to 4.12), and what is made
 * of each: used, passed over as without effect on the tomogram, named as not honoured, or
 * refused because tilt makes something else with it. manual/files.md has the same list.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "formats/imod_com_reader.h"

typedef enum kind {
    WHOLE, /* whole numbers */
    REAL,
    FLAG,
    PATH,
    VIEWS,  /* a list of view numbers */
    ANGLES, /* that there are any */
    SKIP,   /* without effect on the tomogram */
    UNLESS, /* not honoured, unless the value is one of `plain` */
    REFUSE  /* no tomogram, unless the value is one of `plain` */
} kind;

struct tr_com_option {
    const char *name, *other_name;
    kind kind;
    bool flag;           /* has no value on a command line */
    size_t fewest, most; /* numbers; the missing ones of the optional are 0 */
    size_t given;        /* where its presence is noted (bool) */
    size_t values[3];
    const char *plain; /* values parted by '|' that leave the tomogram as it is */
    const char *makes; /* what tilt makes, of REFUSE */
};

#define AT(member) offsetof(tr_com_reader, com.member)
#define OWN(member) offsetof(tr_com_reader, member)
#define NUMBERS(kind, fewest, most, given, ...)                                          \
    NULL, kind, false, fewest, most, given, {__VA_ARGS__}, NULL, NULL
#define SWITCH(member) NULL, FLAG, true, 0, 0, member, {0}, NULL, NULL
#define PLACE(kind, member) kind, false, 0, 0, OWN(given), {member}, NULL, NULL
#define OTHER(kind, plain, makes) kind, false, 0, 0, 0, {0}, plain, makes
#define OTHER_FLAG(kind, plain, makes) kind, true, 0, 0, 0, {0}, plain, makes

static const char reprojection[] = "a reprojection";

static const struct tr_com_option options[] = {
    {"InputProjections", "input", PLACE(PATH, AT(input))},
    {"OutputFile", "output", PLACE(PATH, AT(output))},
    {"TILTFILE", NULL, PLACE(PATH, AT(tilt_file))},
    {"XTILTFILE", NULL, PLACE(PATH, AT(xtilt_file))},
    {"LOCALFILE", NULL, PLACE(PATH, AT(local_file))},
    {"ZFACTORFILE", NULL, PLACE(PATH, AT(zfactor_file))},
    {"LOCALSCALE", NUMBERS(REAL, 1, 1, OWN(given), AT(local_scale))},
    {"EXCLUDELIST2", NULL, PLACE(VIEWS, OWN(exclude))},
    {"INCLUDE", NULL, PLACE(VIEWS, OWN(include))},
    {"ANGLES", NULL, PLACE(ANGLES, 0)},
    {"THICKNESS", NUMBERS(WHOLE, 1, 1, AT(has_thickness), AT(thickness))},
    {"WIDTH", NUMBERS(WHOLE, 1, 1, AT(has_width), AT(width))},
    {"OFFSET", NUMBERS(REAL, 1, 2, AT(has_offset), AT(offset_angle), AT(offset_axis))},
    {"SHIFT", NUMBERS(REAL, 1, 2, AT(has_shift), AT(shift_x), AT(shift_z))},
    {"XAXISTILT", NUMBERS(REAL, 1, 1, AT(has_xaxistilt), AT(xaxistilt))},
    {"RADIAL", NUMBERS(REAL, 2, 2, AT(has_radial), AT(radial_cutoff), AT(radial_sigma))},
    {"HammingLikeFilter", NUMBERS(REAL, 1, 1, OWN(given), AT(hamming_start))},
    {"FakeSIRTiterations", NUMBERS(WHOLE, 1, 1, OWN(given), AT(fake_sirt_iterations))},
    {"SIRTIterations", NUMBERS(WHOLE, 1, 1, OWN(given), AT(sirt_iterations))},
    {"SCALE", NUMBERS(REAL, 2, 2, AT(has_scale), AT(scale_add), AT(scale_multiply))},
    {"MODE", NUMBERS(WHOLE, 1, 1, AT(has_mode), AT(mode))},
    {"LOG", NUMBERS(REAL, 1, 1, AT(has_log), AT(log_base))},
    {"IMAGEBINNED", NUMBERS(WHOLE, 1, 1, OWN(given), AT(binning))},
    {"FULLIMAGE", NUMBERS(WHOLE, 2, 2, AT(has_full_image), AT(full_nx), AT(full_ny))},
    {"SUBSETSTART",
     NUMBERS(WHOLE, 2, 2, AT(has_subset_start), AT(subset_x), AT(subset_y))},
    {"SLICE",
     NUMBERS(WHOLE, 2, 3, AT(has_slice), AT(slice_first), AT(slice_last), OWN(step))},
    {"ConstrainSign", NUMBERS(REAL, 1, 1, OWN(given), OWN(constrain_sign))},
    {"FlatFilterFraction", NUMBERS(REAL, 1, 1, OWN(given), OWN(flat_fraction))},
    {"FalloffIsTrueSigma", SWITCH(OWN(true_sigma))},
    {"PERPENDICULAR", SWITCH(OWN(perpendicular))},
    {"PARALLEL", SWITCH(OWN(parallel))},
    {"RotateBy90", SWITCH(AT(rotated))},

    {"UseGPU", NULL, OTHER(SKIP, NULL, NULL)},
    {"ActionIfGPUFails", NULL, OTHER(SKIP, NULL, NULL)},
    {"TextureType", "texture", OTHER(SKIP, NULL, NULL)},
    {"AdjustOrigin", NULL, OTHER_FLAG(SKIP, NULL, NULL)}, /* always done here */
    {"BoundaryInfoFile", NULL, OTHER(SKIP, NULL, NULL)},
    {"VertBoundaryFile", NULL, OTHER(SKIP, NULL, NULL)},
    {"VertSliceOutputFile", NULL, OTHER(SKIP, NULL, NULL)},
    {"TOTALSLICES", NULL, OTHER(SKIP, NULL, NULL)},
    {"TITLE", NULL, OTHER(SKIP, NULL, NULL)},
    {"ReferenceSDofScaling", NULL, OTHER(SKIP, NULL, NULL)}, /* a note of Etomo's */
    {"DebugOutput", "debug", OTHER_FLAG(SKIP, NULL, NULL)},
    {"InternalSIRTSlices", "internal", OTHER(SKIP, NULL, NULL)},
    {"StartingIteration", NULL, OTHER(SKIP, NULL, NULL)},
    {"DONE", NULL, OTHER_FLAG(SKIP, NULL, NULL)},
    /* each belongs to an option that is named or refused itself */
    {"ExpandInputLines", NULL, OTHER_FLAG(SKIP, NULL, NULL)},
    {"COMPFRACTION", NULL, OTHER(SKIP, NULL, NULL)},
    {"BaseNumViews", NULL, OTHER(SKIP, NULL, NULL)},
    {"SubtractFromBase", NULL, OTHER(SKIP, NULL, NULL)},
    {"XMinAndMaxReproj", "xminmax", OTHER(SKIP, NULL, NULL)},
    {"YMinAndMaxReproj", "yminmax", OTHER(SKIP, NULL, NULL)},
    {"ZMinAndMaxReproj", "zminmax", OTHER(SKIP, NULL, NULL)},
    {"AngleOutputFile", NULL, OTHER(SKIP, NULL, NULL)},
    {"AlignTransformFile", NULL, OTHER(SKIP, NULL, NULL)},
    {"DefocusFile", NULL, OTHER(SKIP, NULL, NULL)},
    {"PixelForDefocus", NULL, OTHER(SKIP, NULL, NULL)},
    {"SkipTurnedOffPoints", NULL, OTHER_FLAG(SKIP, NULL, NULL)},

    {"DENSWEIGHT", NULL, OTHER(UNLESS, "2|2 2 0.666667", NULL)},
    {"COSINTERP", NULL, OTHER(UNLESS, "0|1", NULL)},
    {"XTILTINTERP", NULL, OTHER(UNLESS, "0|1", NULL)},
    {"FBPINTERP", NULL, OTHER(UNLESS, "0|1", NULL)},
    {"SuperSampleFactor", NULL, OTHER(UNLESS, "1", NULL)},
    {"ExpandedByFactor", NULL, OTHER(UNLESS, "0|1", NULL)},
    {"MultiplyByGaussian", NULL, OTHER_FLAG(UNLESS, "0", NULL)},
    {"VertForSIRTInput", NULL, OTHER_FLAG(UNLESS, "0", NULL)},
    {"WeightFile", NULL, OTHER(UNLESS, "", NULL)},
    {"WeightAngleFile", NULL, OTHER(UNLESS, "", NULL)},
    {"COMPRESS", NULL, OTHER(UNLESS, "", NULL)},
    {"REPLICATE", NULL, OTHER(UNLESS, "", NULL)},
    {"MASK", NULL, OTHER(UNLESS, "", NULL)},
    {"MinMaxMean", NULL, OTHER(UNLESS, "", NULL)},
    {"ExactFilterSize", NULL, OTHER(UNLESS, "", NULL)},

    {"REPROJECT", NULL, OTHER(REFUSE, NULL, reprojection)},
    {"ViewsToReproject", NULL, OTHER(REFUSE, NULL, reprojection)},
    {"RecFileToReproject", "recfile", OTHER(REFUSE, "", reprojection)},
    {"ThresholdedReproj", "threshold", OTHER(REFUSE, "", reprojection)},
    {"SIRTSubtraction", NULL, OTHER_FLAG(REFUSE, "0", reprojection)},
    {"ProjectModel", NULL, OTHER(REFUSE, "", "the projection of a model")},
    {"BaseRecFile", NULL, OTHER(REFUSE, "", "a change to an earlier tomogram")},
    {"ParameterFile", "param", OTHER(REFUSE, "", "what another file says")},
    {"usage", "help", OTHER_FLAG(REFUSE, "0", "its help")},
};

enum { N_OPTIONS = sizeof options / sizeof *options };

void tr_com_reader_begin(tr_com_reader *reader, const tr_text *text, size_t line)
{
    *reader = (tr_com_reader){
        .text = text, .line = line, .perpendicular = true, .com.binning = 1};
}

void tr_com_reader_free(tr_com_reader *reader)
{
    free(reader->exclude.text);
    free(reader->include.text);
    free(reader->not_honoured.text);
    free(reader->refused);
    tr_imod_com_free(&reader->com);
}

static tr_status list_add(tr_word_list *list, const char *separator, const char *word)
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

tr_status tr_com_not_honoured(tr_com_reader *reader, const char *name, const char *value)
{
    TR_TRY(list_add(&reader->not_honoured, ", ", name));
    if (*value)
        TR_TRY(list_add(&reader->not_honoured, " ", value));
    return TR_OK;
}

/* The first reason is kept; whether it counts is known when all commands are read. */
static tr_status refuse(tr_com_reader *reader, const char *name, const char *value,
                        const char *makes)
{
    if (reader->refused)
        return TR_OK;
    if (tr_fail(
            TR_ERR_DATA,
            "%s, line %zu: with %s%s%.60s, tilt makes %s, and here only tomograms are "
            "made",
            reader->text->path, reader->text->line, name, *value ? " " : "", value,
            makes) != TR_OK)
        reader->refused = tr_strdup(tr_error());
    return reader->refused ? TR_OK : TR_ERR_MEMORY;
}

/* ---- Finding an option ---- */

static bool begins(const char *name, const char *word)
{
    return name && strncasecmp(name, word, strlen(word)) == 0;
}

tr_status tr_com_option_find(const tr_com_reader *reader, const char *word,
                             const tr_com_option **option)
{
    *option = NULL;
    for (size_t i = 0; *word && i < N_OPTIONS; i++) {
        if (!begins(options[i].name, word) && !begins(options[i].other_name, word))
            continue;
        if (*option)
            return tr_fail(TR_ERR_DATA,
                           "%s, line %zu: %.60s may be %s or %s; write more of it",
                           reader->text->path, reader->text->line, word, (*option)->name,
                           options[i].name);
        *option = &options[i];
    }
    return TR_OK;
}

bool tr_com_option_is_flag(const tr_com_option *option) { return option->flag; }

/* ---- Values ---- */

static tr_status wrong_count(const tr_com_reader *reader, const tr_com_option *option,
                             size_t n)
{
    const char *path = reader->text->path;
    size_t line = reader->text->line;
    if (option->fewest == option->most)
        return tr_fail(TR_ERR_DATA, "%s, line %zu: %s needs %zu number%s, not %zu", path,
                       line, option->name, option->most, option->most == 1 ? "" : "s", n);
    return tr_fail(TR_ERR_DATA, "%s, line %zu: %s needs %zu or %zu numbers, not %zu",
                   path, line, option->name, option->fewest, option->most, n);
}

/* Where the count is fixed, IMOD looks at nothing behind the last number. */
static tr_status read_numbers(tr_com_reader *reader, const tr_com_option *option,
                              char *value)
{
    size_t n = 0;
    double reals[3] = {0};
    long wholes[3] = {0};
    bool fixed = option->fewest == option->most;
    for (char *word; !(fixed && n == option->most) && (word = tr_text_word(&value));
         n++) {
        if (n >= option->most)
            continue;
        if (option->kind == WHOLE)
            TR_TRY(tr_text_whole_number(reader->text, word, &wholes[n]));
        else
            TR_TRY(tr_text_number(reader->text, word, &reals[n]));
    }
    if (n < option->fewest || n > option->most)
        return wrong_count(reader, option, n);
    for (size_t i = 0; i < option->most; i++) {
        char *target = (char *)reader + option->values[i];
        if (option->kind == WHOLE)
            *(long *)target = wholes[i];
        else
            *(double *)target = reals[i];
    }
    *(bool *)((char *)reader + option->given) = true;
    return TR_OK;
}

/* A flag's name alone switches it on. */
static tr_status read_flag(tr_com_reader *reader, const tr_com_option *option,
                           char *value)
{
    static const char *const words[] = {"0", "1", "f", "t", "false", "true", "off", "on"};
    char *word = tr_text_word(&value);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(word ? word : "1", words[i]) == 0) {
            *(bool *)((char *)reader + option->given) = i % 2 == 1;
            return TR_OK;
        }
    return tr_fail(TR_ERR_DATA, "%s, line %zu: \"%.60s\" of %s is neither 0 nor 1",
                   reader->text->path, reader->text->line, word, option->name);
}

/* The name joined to the com file's folder; without a name the entry is as if absent. */
static tr_status read_path(tr_com_reader *reader, const char *name, char **target)
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

static tr_status read_views(tr_com_reader *reader, const tr_com_option *option,
                            const char *name, char *value)
{
    tr_word_list *target = (tr_word_list *)((char *)reader + option->values[0]);
    for (char *word; (word = tr_text_word(&value)) != NULL;) {
        if (!is_view_range(word))
            return tr_fail(TR_ERR_DATA,
                           "%s, line %zu: \"%.60s\" in %s is neither a view number (from "
                           "1) nor a range like 3-9",
                           reader->text->path, reader->text->line, word, name);
        TR_TRY(list_add(target, ",", word));
    }
    return TR_OK;
}

/* Whether the words of two values are the same, or the same numbers: "0" and "0.0". */
static bool same_words(const tr_text *text, const char *a, const char *b, size_t length)
{
    static const char gaps[] = ", \t";
    for (const char *end = b + length;;) {
        a += strspn(a, gaps);
        while (b < end && strchr(gaps, *b))
            b++;
        if (!*a || b == end)
            return !*a && b == end;
        char *a_end, *b_end;
        double number = strtod_l(a, &a_end, text->c_locale);
        if (a_end == a || fabs(number - strtod_l(b, &b_end, text->c_locale)) > 1e-4)
            return false;
        a = a_end;
        b = b_end;
    }
}

static bool is_plain(const tr_text *text, const tr_com_option *option, const char *value)
{
    for (const char *plain = option->plain; plain;) {
        size_t length = strcspn(plain, "|");
        if (same_words(text, value, plain, length))
            return true;
        plain = plain[length] ? plain + length + 1 : NULL;
    }
    return false;
}

/* Of DENSWEIGHT the weight of all views alike is known here as well; of COSINTERP the
 * second number is how finely it is sampled. */
static tr_status take_unless(tr_com_reader *reader, const tr_com_option *option,
                             char *value)
{
    if (strcmp(option->name, "DENSWEIGHT") == 0) {
        reader->com.uniform_weights = same_words(reader->text, value, "0", 1);
        if (reader->com.uniform_weights)
            return TR_OK;
    }
    if (strcmp(option->name, "COSINTERP") == 0)
        value[strcspn(value, ", \t")] = '\0';
    return is_plain(reader->text, option, value)
               ? TR_OK
               : tr_com_not_honoured(reader, option->name, value);
}

/* A shell would put something else there. */
static tr_status check_shell(const tr_com_reader *reader, const char *value)
{
    return reader->for_shell && strpbrk(value, "$`")
               ? tr_fail(TR_ERR_DATA,
                         "%s, line %zu: \"%.60s\" is for a shell to fill in; write the "
                         "value itself",
                         reader->text->path, reader->text->line, value)
               : TR_OK;
}

tr_status tr_com_option_take(tr_com_reader *reader, const tr_com_option *option,
                             const char *word, char *value)
{
    reader->has_options = true;
    if (!option)
        return tr_com_not_honoured(reader, word, value);
    if (option->kind != SKIP)
        TR_TRY(check_shell(reader, value));
    switch (option->kind) {
    case WHOLE:
    case REAL:
        return read_numbers(reader, option, value);
    case FLAG:
        return read_flag(reader, option, value);
    case PATH:
        return read_path(reader, value, (char **)((char *)reader + option->values[0]));
    case VIEWS:
        return read_views(reader, option, word, value);
    case ANGLES:
        reader->com.has_angles = true;
        return TR_OK;
    case SKIP:
        return TR_OK;
    case UNLESS:
        return take_unless(reader, option, value);
    case REFUSE:
        return option->plain && is_plain(reader->text, option, value)
                   ? TR_OK
                   : refuse(reader, option->name, value, option->makes);
    }
    return tr_fail(TR_ERR_INTERNAL, "no reading of %s", option->name);
}

tr_status tr_com_name_take(tr_com_reader *reader, const char *name)
{
    TR_TRY(check_shell(reader, name));
    char **places[] = {&reader->com.input, &reader->com.output};
    if (reader->n_names == 2)
        return tr_com_not_honoured(reader, name, "");
    char **place = places[reader->n_names++];
    return *place ? TR_OK : read_path(reader, name, place);
}

/* ---- What depends on several ---- */

static tr_status finish_slices(tr_com_reader *reader)
{
    tr_imod_com *com = &reader->com;
    if (com->has_slice && com->slice_first < 0 && com->slice_last < 0)
        return refuse(reader, "SLICE", "-1 -1", "an empty file for other commands");
    return reader->step > 1 ? tr_com_not_honoured(reader, "SLICE", "with an interval")
                            : TR_OK;
}

static tr_status finish_filter(tr_com_reader *reader)
{
    tr_imod_com *com = &reader->com;
    if (com->has_radial && com->radial_cutoff >= 1) {
        /* IMOD counts Fourier pixels then; the image's size is not known here */
        com->has_radial = false;
        TR_TRY(
            tr_com_not_honoured(reader, "RADIAL", "in pixels of the Fourier transform"));
    }
    if (!reader->true_sigma)
        com->radial_sigma *= M_SQRT1_2;
    if (com->sirt_iterations <= 0 && reader->flat_fraction != 0.0)
        TR_TRY(tr_com_not_honoured(reader, "FlatFilterFraction", "other than 0"));
    return TR_OK;
}

static tr_status finish_output(tr_com_reader *reader)
{
    static const long modes[] = {0, 1, 2, 6, 12};
    tr_imod_com *com = &reader->com;
    bool known = !com->has_mode;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        known = known || com->mode == modes[i];
    char mode[32];
    snprintf(mode, sizeof mode, "%ld", com->mode);
    com->parallel = reader->parallel || (!reader->perpendicular && !com->rotated);
    if (com->sirt_iterations > 0) {
        com->positive = reader->constrain_sign > 0;
        if (reader->constrain_sign < 0)
            TR_TRY(tr_com_not_honoured(reader, "ConstrainSign", "below 0"));
    }
    return known ? TR_OK : tr_com_not_honoured(reader, "MODE", mode);
}

tr_status tr_com_reader_finish(tr_com_reader *reader)
{
    tr_imod_com *com = &reader->com;
    if (com->binning < 1)
        return tr_fail(TR_ERR_DATA, "%s: IMAGEBINNED %ld is not a binning (1 or more)",
                       reader->text->path, com->binning);
    TR_TRY(finish_slices(reader));
    TR_TRY(finish_filter(reader));
    TR_TRY(finish_output(reader));
    com->exclude = reader->exclude.text;
    com->include = reader->include.text;
    com->not_honoured = reader->not_honoured.text;
    reader->exclude = reader->include = reader->not_honoured = (tr_word_list){0};
    return TR_OK;
}
