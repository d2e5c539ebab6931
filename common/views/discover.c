#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "formats/alignment.h"
#include "formats/format.h"
#include "common/base/file_name.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/views/discover.h"
#include "common/views/series_name.h"
#include "common/views/sidecars.h"

static bool matches(const char *name, const char *const *patterns)
{
    for (; *patterns; patterns++)
        if (fnmatch(*patterns, name, FNM_CASEFOLD | FNM_PERIOD) == 0)
            return true;
    return false;
}

/* ---- the folder ---- */

static int is_series(const struct dirent *entry)
{
    static const char *const volumes[] = {"*_rec.*", "*.rec", NULL};
    static const char *const images[] = {"*.ali", "*.st",   "*.hdf", "*.h5",
                                         "*.mrc", "*.mrcs", NULL};
    return matches(entry->d_name, images) && !matches(entry->d_name, volumes);
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
    DERIVED_WITH_ANGLES,
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
    char *names = k->names ? tr_format_string("%s, %s", k->names, tr_name_only(path))
                           : tr_strdup(tr_name_only(path));
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
    if (tr_is_file(path)) {
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
    return found->path && found->com.input && tr_same_file(found->com.input, series);
}

/* Whether tilt.com gives the series' angles. */
static bool com_has_tilts(const folder_com *found, const char *series)
{
    return com_is_about(found, series) && found->com.tilt_file &&
           tr_is_file(found->com.tilt_file);
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
    if (!tr_is_file(path))
        return TR_OK;
    tr_sidecars beside;
    bool aligned = tr_is_aligned_name(path);
    tr_status status = tr_sidecars_find(path, aligned, &beside);
    bool angles = beside.angles || com_has_tilts(com, path);
    tr_sidecars_free(&beside);
    TR_TRY(status);
    int k = angles ? RAW_WITH_ANGLES : WITHOUT_ANGLES;
    if (aligned && tr_is_derived_name(path))
        k = angles ? DERIVED_WITH_ANGLES : WITHOUT_ANGLES;
    else if (aligned)
        k = angles ? ALIGNED_WITH_ANGLES : ALIGNED;
    if (k == WITHOUT_ANGLES && !aligned) { /* last, as it reads the file */
        bool inside;
        TR_TRY(has_angles_inside(path, &inside));
        k = inside ? RAW_WITH_ANGLES_INSIDE : WITHOUT_ANGLES;
    }
    return add_candidate(&kinds[k], path);
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
        return tr_fail(TR_ERR_USAGE,
                       "no angles (of the same name:%s; or tilt.com) for any file in %s: "
                       "%s; name one: tiltrec-mpi SERIES, with its angles: --tilts FILE",
                       TR_ANGLE_ENDINGS, spoken(folder), without_angles->names);
    return tr_fail(TR_ERR_USAGE,
                   "no tilt series in %s: looked for *_ali.mrc and *.ali, then *.st, "
                   "*.hdf, *.h5, *.mrc and *.mrcs with angles of the same name (%s ); "
                   "name one: tiltrec-mpi SERIES",
                   spoken(folder), TR_ANGLE_ENDINGS);
}

static tr_status take(const char *series, const folder_com *com, tr_discovery *found)
{
    found->series = tr_strdup(series);
    if (com_is_about(com, series)) {
        found->imod_com = tr_strdup(com->path);
        if (!found->imod_com)
            return TR_ERR_MEMORY;
    }
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
    free(found->imod_com);
    memset(found, 0, sizeof *found);
}
