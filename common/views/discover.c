/* Which series, angles and tilt.com a folder offers, and the names that go with a
 * series. Declared in options.h. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "formats/alignment.h"
#include "formats/format.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/views/discover.h"

static bool is_file(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat status_a, status_b;
    return stat(a, &status_a) == 0 && stat(b, &status_b) == 0 &&
           status_a.st_dev == status_b.st_dev && status_a.st_ino == status_b.st_ino;
}

/* The length of text without `ending`, in any case, if it has that ending and something
 * before it. */
static size_t length_without(const char *text, size_t length, const char *ending)
{
    size_t n = strlen(ending);
    return length > n && strncasecmp(text + length - n, ending, n) == 0 ? length - n
                                                                        : length;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The length of a file's name without .gz, its extension, and, if asked, _ali. */
static size_t stem_length(const char *name, bool drop_ali)
{
    size_t length = length_without(name, strlen(name), ".gz");
    for (size_t i = length; i-- > 1;)
        if (name[i] == '.') {
            length = i;
            break;
        }
    return drop_ali ? length_without(name, length, "_ali") : length;
}

static bool matches(const char *name, const char *const *patterns)
{
    for (; *patterns; patterns++)
        if (fnmatch(*patterns, name, FNM_CASEFOLD | FNM_PERIOD) == 0)
            return true;
    return false;
}

bool tr_is_aligned_name(const char *series)
{
    static const char *const patterns[] = {"*_ali.mrc", "*_ali.hdf", "*.ali", NULL};
    return matches(base_name(series), patterns);
}

/* Whether the file is there and can be meant. Alignments are for raw series. A STAR
 * file may be about anything, and one that nobody named leads to no other file. */
static bool can_be_tilts(const char *path, const char *series, const char *ending)
{
    if (strcmp(ending, ".aln") != 0 && strcmp(ending, ".star") != 0)
        return is_file(path);
    return is_file(path) && !tr_is_aligned_name(series) && tr_alignment_probe_alone(path);
}

typedef bool can_be(const char *path, const char *series, const char *ending);

static bool can_be_any(const char *path, const char *series, const char *ending)
{
    (void)series;
    (void)ending;
    return is_file(path);
}

/* The file beside the series with this much of its path and that ending, as it is or in
 * other letters (.TLT, .Tlt), if it can be meant; *found stays NULL for none. */
static tr_status find_with_ending(const char *series, size_t length, const char *ending,
                                  can_be *test, char **found)
{
    char path_end[32];
    for (int letters = 0; letters < 4 && !*found; letters++) {
        bool after_dot = true;
        size_t n = 0;
        for (; ending[n] && n < sizeof path_end - 1; n++) {
            unsigned char c = (unsigned char)ending[n];
            int spelled[] = {c, toupper(c), after_dot ? toupper(c) : c, tolower(c)};
            path_end[n] = (char)spelled[letters];
            after_dot = c == '.';
        }
        path_end[n] = '\0';
        char *path = tr_format_string("%.*s%s", (int)length, series, path_end);
        if (!path)
            return TR_ERR_MEMORY;
        if (test(path, series, ending))
            *found = path;
        else
            free(path);
    }
    return TR_OK;
}

/* After the name, the stem, the stem less _ali. */
static tr_status find_named(const char *series, const char *ending, can_be *test,
                            char **found)
{
    const char *name = base_name(series);
    size_t folder = (size_t)(name - series);
    size_t lengths[] = {strlen(name), stem_length(name, false), stem_length(name, true)};
    for (size_t l = 0; l < 3 && !*found; l++)
        TR_TRY(find_with_ending(series, folder + lengths[l], ending, test, found));
    return TR_OK;
}

tr_status tr_find_tilts(const char *series, char **tilts)
{
    /* Aligned angles before raw ones. AreTomo3's _TLT.txt is what it was given, before
     * its alignment. */
    static const char *const endings[] = {".tlt",      ".rawtlt", ".mdoc", ".st.mdoc",
                                          ".mrc.mdoc", ".aln",    ".star", "_TLT.txt"};
    *tilts = NULL;
    for (size_t e = 0; e < sizeof endings / sizeof *endings && !*tilts; e++)
        TR_TRY(find_named(series, endings[e], can_be_tilts, tilts));
    return TR_OK;
}

tr_status tr_find_beside(const char *series, const char *ending, char **path)
{
    *path = NULL;
    return find_named(series, ending, can_be_any, path);
}

char *tr_default_output(const char *series)
{
    const char *name = base_name(series);
    return tr_format_string("%.*s_rec.mrc", (int)stem_length(name, true), name);
}

/* ---- the folder ---- */

static int is_series(const struct dirent *entry)
{
    static const char *const volumes[] = {"*_rec.*", "*.rec", NULL};
    static const char *const raw[] = {"*.st", "*.hdf", "*.h5", "*.mrc", "*.mrcs", NULL};
    return (tr_is_aligned_name(entry->d_name) || matches(entry->d_name, raw)) &&
           !matches(entry->d_name, volumes);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static char *join(const char *folder, const char *name)
{
    return strcmp(folder, ".") == 0 ? tr_strdup(name)
                                    : tr_format_string("%s/%s", folder, name);
}

/* Kinds of candidates; the first kind that is there wins. */
enum {
    ALIGNED_WITH_ANGLES,
    ALIGNED,
    RAW_WITH_ANGLES,
    RAW_WITH_ANGLES_INSIDE, /* only */
    WITHOUT_ANGLES,
    N_KINDS
};

/* The names of one kind of candidates, for a message. */
typedef struct kind {
    size_t n;
    char *last;  /* path of the one found last */
    char *names; /* "a.ali, b.ali" */
} kind;

static tr_status add_candidate(kind *k, const char *path)
{
    char *names = k->names ? tr_format_string("%s, %s", k->names, base_name(path))
                           : tr_strdup(base_name(path));
    char *last = tr_strdup(path);
    free(k->names);
    free(k->last);
    k->names = names;
    k->last = last;
    k->n++;
    return names && last ? TR_OK : TR_ERR_MEMORY;
}

/* tilt.com of the folder, as far as it is one. */
typedef struct folder_com {
    char *path; /* NULL: there is none that can be used */
    tr_imod_com com;
} folder_com;

static tr_status read_com(const char *folder, folder_com *found)
{
    memset(found, 0, sizeof *found);
    char *path = join(folder, "tilt.com");
    if (!path)
        return TR_ERR_MEMORY;
    tr_status status = TR_OK;
    if (is_file(path)) {
        status = tr_imod_com_read(path, &found->com);
        if (status == TR_OK) {
            found->path = path;
            return TR_OK;
        }
        if (status != TR_ERR_MEMORY)
            tr_warn("%s is not used: %s", path, tr_error());
    }
    free(path);
    return status == TR_ERR_MEMORY ? status : TR_OK;
}

static void free_com(folder_com *found)
{
    if (found->path)
        tr_imod_com_free(&found->com);
    free(found->path);
}

static bool com_is_about(const folder_com *found, const char *series)
{
    return found->path && found->com.input && is_same_file(found->com.input, series);
}

/* Whether tilt.com gives the series' angles. */
static bool com_has_tilts(const folder_com *found, const char *series)
{
    return com_is_about(found, series) && found->com.tilt_file &&
           is_file(found->com.tilt_file);
}

/* Whether the file itself has an angle for each view; false for one that is no image. */
static tr_status has_angles_inside(const char *path, bool *inside)
{
    tr_image *image;
    tr_status status = tr_image_open(path, &image);
    *inside = status == TR_OK && tr_image_get_info(image)->n_tilts > 1;
    if (status == TR_OK)
        tr_image_close(image);
    return status == TR_ERR_MEMORY ? status : TR_OK;
}

static tr_status sort_in(const char *path, const folder_com *com, kind *kinds)
{
    if (!is_file(path))
        return TR_OK;
    char *tilts;
    TR_TRY(tr_find_tilts(path, &tilts));
    bool has_angles = tilts || com_has_tilts(com, path);
    free(tilts);
    if (tr_is_aligned_name(path))
        return add_candidate(&kinds[has_angles ? ALIGNED_WITH_ANGLES : ALIGNED], path);
    bool inside = false;
    if (!has_angles) /* last, as it reads the file */
        TR_TRY(has_angles_inside(path, &inside));
    return add_candidate(&kinds[has_angles ? RAW_WITH_ANGLES
                                : inside   ? RAW_WITH_ANGLES_INSIDE
                                           : WITHOUT_ANGLES],
                         path);
}

/* The folder in a message. */
static const char *spoken(const char *folder)
{
    return strcmp(folder, ".") == 0 ? "this folder" : folder;
}

static tr_status sort_candidates(const char *folder, const folder_com *com, kind *kinds)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, is_series, by_name);
    if (n < 0)
        return tr_fail(TR_ERR_DATA, "cannot look for a tilt series in %s: %s",
                       spoken(folder), strerror(errno));
    tr_status status = TR_OK;
    for (int i = 0; i < n; i++) {
        char *path = status == TR_OK ? join(folder, entries[i]->d_name) : NULL;
        if (path)
            status = sort_in(path, com, kinds);
        else if (status == TR_OK)
            status = TR_ERR_MEMORY;
        free(path);
        free(entries[i]);
    }
    free(entries);
    return status;
}

static tr_status nothing_found(const char *folder, const kind *without_angles)
{
    if (without_angles->n > 0)
        return tr_fail(
            TR_ERR_USAGE,
            "no angles (.tlt, .rawtlt, .mdoc, .aln, .star of the same name, "
            "or tilt.com) for any file in %s: %s; name one: tiltrec-mpi SERIES, with its "
            "angles: --tilts FILE",
            spoken(folder), without_angles->names);
    return tr_fail(TR_ERR_USAGE,
                   "no tilt series in %s: looked for *_ali.mrc and *.ali, then *.st, "
                   "*.hdf, *.h5, *.mrc and *.mrcs with a .tlt, .rawtlt, .mdoc, .aln or "
                   ".star of the same name; name one: tiltrec-mpi SERIES",
                   spoken(folder));
}

static tr_status take(const char *series, const folder_com *com, tr_discovery *found)
{
    found->series = tr_strdup(series);
    if (com_is_about(com, series)) {
        found->imod_com = tr_strdup(com->path);
        if (!found->imod_com)
            return TR_ERR_MEMORY;
    }
    if (!com_has_tilts(com, series))
        TR_TRY(tr_find_tilts(series, &found->tilts));
    return found->series ? TR_OK : TR_ERR_MEMORY;
}

/* Choose among the kinds. */
static tr_status choose(const char *folder, const folder_com *com, const kind *kinds,
                        tr_discovery *found)
{
    for (int k = 0; k < WITHOUT_ANGLES; k++) {
        if (kinds[k].n == 1)
            return take(kinds[k].last, com, found);
        if (kinds[k].n > 1)
            return tr_fail(TR_ERR_USAGE,
                           "%zu tilt series in %s: %s; name one: tiltrec-mpi SERIES",
                           kinds[k].n, spoken(folder), kinds[k].names);
    }
    return nothing_found(folder, &kinds[WITHOUT_ANGLES]);
}

tr_status tr_discover(const char *folder, tr_discovery *found)
{
    kind kinds[N_KINDS] = {{0, NULL, NULL}};
    folder_com com;
    memset(found, 0, sizeof *found);
    tr_status status = read_com(folder, &com);
    if (status == TR_OK)
        status = sort_candidates(folder, &com, kinds);
    if (status == TR_OK)
        status = choose(folder, &com, kinds, found);
    for (int k = 0; k < N_KINDS; k++) {
        free(kinds[k].names);
        free(kinds[k].last);
    }
    free_com(&com);
    if (status != TR_OK)
        tr_discovery_free(found);
    return status;
}

void tr_discovery_free(tr_discovery *found)
{
    free(found->series);
    free(found->tilts);
    free(found->imod_com);
    memset(found, 0, sizeof *found);
}
