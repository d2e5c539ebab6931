#include "common/views/sidecars.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/file_name.h"
#include "common/base/mem.h"
#include "common/views/series_name.h"

bool tr_is_file(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

/* ---- all there are ---- */

/* Takes the path, which may be NULL. */
static tr_status add(tr_sidecars *found, const tr_alignment_format *format, char *path)
{
    if (!path)
        return TR_ERR_MEMORY;
    bool wanted = tr_is_file(path);
    if (wanted && format->gives == (TR_GIVES_ANGLES | TR_GIVES_TRANSFORMS))
        wanted = format->probe(path, true);
    for (size_t k = 0; wanted && k < found->n; k++)
        wanted = !tr_same_file(path, found->list[k].path);
    tr_sidecar *list =
        wanted ? realloc(found->list, (found->n + 1) * sizeof *list) : found->list;
    if (!wanted || !list) {
        free(path);
        return wanted ? tr_fail(TR_ERR_MEMORY, "not enough memory for a table") : TR_OK;
    }
    found->list = list;
    list[found->n++] = (tr_sidecar){path, format};
    return TR_OK;
}

/* STEM.tlt, STEM.TLT, STEM.Tlt, and what is named after a raw series' file: STEM.st.tlt.
 */
static tr_status add_stem(tr_sidecars *found, const tr_alignment_format *format,
                          const char *stem, int length, const char *ending)
{
    static const char *const files[] = {"", ".st", ".mrc"};
    enum { SPELLINGS = 4, MOST = 16 };
    char spelled[SPELLINGS][MOST] = {{0}};
    for (size_t i = 0; i + 1 < MOST && ending[i]; i++) {
        unsigned char c = (unsigned char)ending[i];
        bool first = i > 0 && ending[i - 1] == '.';
        spelled[0][i] = ending[i];
        spelled[1][i] = (char)toupper(c);
        spelled[2][i] = (char)(first ? toupper(c) : c);
        spelled[3][i] = (char)tolower(c);
    }
    for (size_t f = 0; f < sizeof files / sizeof *files; f++)
        for (int s = 0; s < SPELLINGS; s++)
            TR_TRY(add(found, format,
                       tr_format_string("%.*s%s%s", length, stem, files[f], spelled[s])));
    return TR_OK;
}

/* The format's endings in their order; for each the longest stem first. */
static tr_status add_format(tr_sidecars *found, const tr_alignment_format *format,
                            const char *series)
{
    size_t stems[TR_STEMS];
    tr_series_stems(series, stems);
    for (const char *at = format->endings; *at; at += strspn(at, " ")) {
        char ending[16] = "";
        size_t n = strcspn(at, " ");
        TR_ASSERT(n < sizeof ending);
        memcpy(ending, at, n);
        at += n;
        for (size_t s = 0; s < TR_STEMS; s++)
            TR_TRY(add_stem(found, format, series, (int)stems[s], ending));
    }
    return TR_OK;
}

/* ---- which to take ---- */

static const tr_sidecar *first_of(const tr_sidecars *found, unsigned gives,
                                  unsigned but_not)
{
    for (size_t k = 0; k < found->n; k++) {
        unsigned has = found->list[k].format->gives;
        if ((has & gives) == gives && !(has & but_not))
            return &found->list[k];
    }
    return NULL;
}

static void choose(tr_sidecars *found, bool aligned)
{
    const tr_sidecar *transforms =
        aligned ? NULL : first_of(found, TR_GIVES_TRANSFORMS, 0);
    found->transforms = transforms;
    if (transforms && transforms->format->gives & TR_GIVES_ANGLES)
        found->angles = transforms;
    else
        found->angles = first_of(found, TR_GIVES_ANGLES, TR_GIVES_TRANSFORMS);
    if (!found->angles && !aligned)
        found->angles = first_of(found, TR_GIVES_ANGLES, 0);
}

tr_status tr_sidecars_find(const char *series, bool aligned, tr_sidecars *found)
{
    size_t n;
    const tr_alignment_format *formats = tr_alignment_formats(&n);
    *found = (tr_sidecars){.n = 0};
    for (size_t i = 0; i < n; i++)
        TR_TRY(add_format(found, &formats[i], series));
    choose(found, aligned);
    return TR_OK;
}

void tr_sidecars_free(tr_sidecars *found)
{
    for (size_t k = 0; k < found->n; k++)
        free(found->list[k].path);
    free(found->list);
    *found = (tr_sidecars){.n = 0};
}
