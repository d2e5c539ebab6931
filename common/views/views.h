/* The views of a tilt series that are used, and all that is known of each. */
#ifndef TR_VIEWS_H
#define TR_VIEWS_H

#include "formats/alignment.h"

typedef struct tr_view {
    size_t section;         /* in the file, from 0 */
    double tilt, xtilt;     /* degrees; the second is added to the pitch */
    double zfactor[2];      /* xz, yz */
    tr_transform transform; /* from the raw image to the aligned one, as in an .xf */
    double exposure,
        prior_exposure;            /* e/A^2, of the view and before it; NaN: not known */
    const tr_local_shift *local;   /* of the file that has the transform, and theirs */
    size_t n_local, local_columns; /* as in tr_alignment */
    size_t acquired;               /* as which it was taken, from 1; 0: not known */
    tr_ctf ctf;
} tr_view;

typedef struct tr_views {
    size_t n;
    tr_view *view;
    /* Without: all xtilt 0, all transforms identities, all zfactor 0. */
    bool has_xtilts, has_transforms, has_zfactors;
} tr_views;

/* n views, sections 0 to n - 1, of which nothing else is known: angles 0, the identity,
 * NaN. Freed by tr_views_free, as are the next function's. Errors: TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_views_new(size_t n, tr_views *views);
/* *views becomes a copy of those views of `from` that which[0], which[1], ... which[n -
 * 1] say, counted from 0; of all n of them where `which` is NULL. */
TR_CHECKED tr_status tr_views_select(const tr_views *from, const size_t *which, size_t n,
                                     tr_views *views);
TR_CHECKED tr_status tr_views_copy(const tr_views *from, tr_views *views);
void tr_views_free(tr_views *views);

/* IMOD's .xtilt, which it subtracts from the pitch; n_sections is how many views the
 * series has. Errors: those of tr_angles_read. */
TR_CHECKED tr_status tr_views_read_xtilts(const char *path, size_t n_sections,
                                          tr_views *views);

/* What a file says of the views, each found by its section: the angles, which it must
 * have, and with them x-tilts, exposures and CTF; and the transforms, which it must have.
 */
void tr_views_take_angles(const tr_alignment *alignment, tr_views *views);
void tr_views_take_transforms(const tr_alignment *alignment, tr_views *views);

#endif
