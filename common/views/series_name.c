#include "common/views/series_name.h"

#include <string.h>
#include <strings.h>

#include "common/base/file_name.h"
#include "common/base/mem.h"

static size_t length_without(const char *text, size_t length, const char *ending)
{
    size_t n = strlen(ending);
    return length > n && strncasecmp(text + length - n, ending, n) == 0 ? length - n
                                                                        : length;
}

/* The length of a file's name without .gz and its extension. */
static size_t stem_length(const char *name)
{
    size_t length = length_without(name, strlen(name), ".gz");
    for (size_t i = length; i-- > 1;)
        if (name[i] == '.')
            return i;
    return length;
}

/* Words of a name are separated by any of these. */
static size_t word_length(const char *word, size_t most)
{
    size_t n = strcspn(word, "_-.");
    return n < most ? n : most;
}

/* Whether the word, or what comes before its digits, is one of the list. */
static bool is_one_of(const char *word, size_t length, const char *const *list)
{
    while (length > 0 && word[length - 1] >= '0' && word[length - 1] <= '9')
        length--;
    for (; *list; list++)
        if (strlen(*list) == length && strncasecmp(word, *list, length) == 0)
            return true;
    return false;
}

/* Where the words begin, with what separates them from the name, that say that the series
 * is aligned; `length` if there are none. Only what is done to aligned series, and other
 * numbers, may come behind. */
static size_t aligned_part(const char *name, size_t length)
{
    static const char *const aligned[] = {
        "ali", "aln", "aligned", "tiltaligned", "preali", "prealigned", NULL};
    static const char *const further[] = {"",      "bin",  "b",  "ctf",  "ctfcorr",
                                          "erase", "filt", "dw", "dose", "sub",
                                          "even",  "odd",  NULL};
    size_t found = length;
    for (size_t i = word_length(name, length); i < length;) {
        const char *word = name + i + 1;
        size_t n = word_length(word, length - i - 1);
        if (is_one_of(word, n, aligned))
            found = found < length ? found : i;
        else if (!is_one_of(word, n, further))
            found = length;
        i += 1 + n;
    }
    return found;
}

/* Of a whole name: an extension .ali says it, others say nothing. */
static size_t aligned_part_of(const char *name)
{
    static const char *const extensions[] = {".ali", ".preali", NULL};
    size_t length = stem_length(name);
    size_t whole = length_without(name, strlen(name), ".gz");
    for (size_t e = 0; extensions[e]; e++)
        if (length_without(name, whole, extensions[e]) == length && length < whole)
            return length;
    size_t part = aligned_part(name, length);
    return part < length ? part : whole;
}

bool tr_is_aligned_name(const char *series)
{
    const char *name = tr_name_only(series);
    return aligned_part_of(name) < length_without(name, strlen(name), ".gz");
}

bool tr_is_derived_name(const char *series)
{
    static const char *const words[] = {"ali", "aln", "aligned", "tiltaligned", NULL};
    const char *name = tr_name_only(series);
    size_t part = aligned_part_of(name);
    const char *word = name + part + 1;
    return tr_is_aligned_name(series) &&
           !(is_one_of(word, word_length(word, strlen(word)), words) &&
             part + 1 + word_length(word, strlen(word)) >= stem_length(name));
}

void tr_series_stems(const char *series, size_t lengths[TR_STEMS])
{
    const char *name = tr_name_only(series);
    size_t folder = (size_t)(name - series), stem = stem_length(name);
    size_t aligned = aligned_part_of(name);
    lengths[0] = folder + strlen(name);
    lengths[1] = folder + stem;
    lengths[2] = folder + (aligned < stem ? aligned : stem);
}

char *tr_default_output(const char *series, const char *extension)
{
    static const char *const endings[] = {"_ali", "_aln", "_aligned", "_tiltaligned",
                                          "_preali"};
    const char *name = tr_name_only(series);
    size_t stem = stem_length(name), length = stem;
    for (size_t e = 0; e < sizeof endings / sizeof *endings && length == stem; e++)
        length = length_without(name, stem, endings[e]);
    return tr_format_string("%.*s_rec%s", (int)length, name, extension);
}
