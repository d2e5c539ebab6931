/* Which files belong together: the series of a folder, its angles, its tilt.com. */
#ifndef TR_DISCOVER_H
#define TR_DISCOVER_H

#include "common/base/err.h"

/* What a folder offers when no SERIES is named. All strings from malloc, NULL when
 * there is none; freed by tr_discovery_free. */
typedef struct tr_discovery {
    char *series;   /* the one aligned series */
    char *tilts;    /* its angles: STEM.tlt, .rawtlt, .mdoc, .aln or .star; NULL when
                       tilt.com or the file itself gives them */
    char *imod_com; /* tilt.com when there is one that is about this series */
} tr_discovery;

/* Look in `folder` ("." normally) for one aligned series with its angles: *_ali.mrc,
 * *.ali, then *.st, .hdf .h5, .mrc .mrcs that have matching angles
 * (STEM.tlt, STEM_ali -> STEM.tlt, FILE.mdoc) or tilt.com; never *_rec.* or *.rec. An
 * aligned file (first two patterns) wins over raw ones. Errors: none found (TR_ERR_USAGE:
 * says what was looked for), several (lists them). */
TR_CHECKED tr_status tr_discover(const char *folder, tr_discovery *found);
void tr_discovery_free(tr_discovery *found);

/* The angles file that belongs to a series (same rules as above), from malloc, or NULL.
 */
TR_CHECKED tr_status tr_find_tilts(const char *series, char **tilts);

/* The file of that ending (".aln") that belongs to a series by its name, in the same way;
 * from malloc, or NULL. */
TR_CHECKED tr_status tr_find_beside(const char *series, const char *ending, char **path);

/* Whether the name says that the series is aligned: *_ali.mrc, *_ali.hdf, *.ali. */
bool tr_is_aligned_name(const char *series);

/* The default output beside the series' name, in the current folder: STEM_rec.mrc, with
 * a trailing _ali dropped from STEM. malloc; NULL when memory is short. */
char *tr_default_output(const char *series);

#endif
