/* The files beside a series that say something of its views (formats/alignment_list.h):
 * all of them, weighed together. */
#ifndef TR_SIDECARS_H
#define TR_SIDECARS_H

#include "formats/alignment.h"

typedef struct tr_sidecar {
    char *path;
    const tr_alignment_format *format;
} tr_sidecar;

typedef struct tr_sidecars {
    size_t n;
    tr_sidecar *list;
    /* Those to take; NULL: there is none. One file may be both. */
    const tr_sidecar *angles, *transforms;
} tr_sidecars;

/* Those that carry the series' name, and which to take: of an aligned series no
 * transforms, and angles from a file that has nothing else; of a raw one the first
 * alignment of the list, whose angles come before others. A STAR file that leads to other
 * files is not among them: nobody named it. Freed by tr_sidecars_free, also after an
 * error (TR_ERR_MEMORY). */
TR_CHECKED tr_status tr_sidecars_find(const char *series, bool aligned,
                                      tr_sidecars *found);
void tr_sidecars_free(tr_sidecars *found);

/* Whether it is there, and a regular file. */
bool tr_is_file(const char *path);

#endif
