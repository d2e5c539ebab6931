/* What the files beside a tilt series say of its views (alignment_list.h). AreTomo's .aln
 * (aln.c) and RELION's tilt-series STAR (star.c) say where a raw image's point is:
 *   raw = R(rotation) aligned + shift,   R(r) = (cos r, -sin r; sin r, cos r),
 * raw and aligned relative to the image's centre (n - 1)/2, x to the right, y up; the
 * tilt axis is the aligned image's y. An .xf line is the inverse of that. (AreTomo 3,
 * GCorrPatchShift.cu and CSaveXF.cpp; RELION 5, reconstruct_tomogram.cpp.) */
#ifndef TR_ALIGNMENT_H
#define TR_ALIGNMENT_H

#include <math.h>

#include "formats/alignment_list.h"
#include "formats/tilt_angles.h"

/* The series that the file is asked about. */
typedef struct tr_aligned_series {
    const char *path;  /* its name picks the series where a file has several, */
    const char *name;  /* unless this does, which is RELION's for it; or NULL */
    size_t nx, ny, nz; /* nz: its views */
    double pixel;      /* angstroms; not positive: not known */
} tr_aligned_series;

/* The contrast transfer of one view, NaN where the file does not say; it is astigmatic
 * where the two defoci differ. */
typedef struct tr_ctf {
    double defocus_1, defocus_2; /* angstroms, positive: underfocus */
    double axis;                 /* of defocus 1, degrees from the image's x */
    double phase;                /* shift by a phase plate, degrees */
} tr_ctf;
#define TR_NO_CTF                                                                        \
    {                                                                                    \
        NAN, NAN, NAN, NAN                                                               \
    }

/* What all views of a series share in it, NaN where the file does not say. */
typedef struct tr_optics {
    double voltage;   /* kilovolts */
    double cs;        /* spherical aberration, millimetres */
    double amplitude; /* contrast, a fraction of 1 */
} tr_optics;
#define TR_NO_OPTICS                                                                     \
    {                                                                                    \
        NAN, NAN, NAN                                                                    \
    }

/* A shift that was measured in a part of a view: what the alignment of the whole view
 * takes to (x, y), from the raw image's centre, is at (x + dx, y + dy). Pixels of the
 * series. */
typedef struct tr_local_shift {
    size_t view;
    double x, y, dx, dy;
} tr_local_shift;

/* Per view of the series; what a view that is not used has does not matter. */
typedef struct tr_alignment {
    size_t n_views, n_used;
    bool *used;
    double *tilt;             /* degrees; NULL: the file has only transforms */
    double *xtilt;            /* degrees, adds to pitch; NULL: the file has only 0 */
    tr_transform *transforms; /* as in an .xf; NULL: the file has no alignment */
    double *exposure, *prior_exposure; /* e/A^2, of the view and before; NaN: not known */
    tr_ctf *ctf;
    tr_optics optics;
    double pixel;           /* angstroms, of the images that were aligned; 0: not said */
    double hand;            /* RELION's, 1 or -1; 0: not said */
    double voltage;         /* kV; 0 or NaN: not said */
    double axis;            /* of tilt in the raw images, degrees from y; NaN: not said */
    double rotation;        /* mean of the used views, degrees */
    double scale;           /* pixels of the series for one of the aligned images */
    tr_local_shift *local;  /* by view, or NULL; those that are good enough to be used */
    size_t n_local, n_poor; /* and how many are not */
    size_t local_columns;   /* not 0: those of a view are a regular grid, row after row of
                               so many, and what is between them is bilinear */
    double level_x;         /* degrees, Warp's LevelAngleX; not in the above */
    bool volume_warp;       /* nor that the specimen moves in itself */
    double beta_offset;     /* degrees, AreTomo's; not in the above */
    double magnification; /* the one furthest from 1, not in the above either; 0: none */
    double thickness; /* pixels of the series, or 0: of the specimen, as the file has it
                         measured, or if so said, of the tomogram to be made */
    bool of_tomogram; /* thickness is */
    char *further;    /* the other file that the file leads to, or NULL */
} tr_alignment;

enum { TR_GIVES_ANGLES = 1, TR_GIVES_TRANSFORMS = 2 };

typedef struct tr_alignment_format {
    const char *endings; /* ".tlt .rawtlt" */
    unsigned gives;
    /* By the contents; `alone`: and it leads to no other file. False for one that cannot
     * be read. */
    bool (*probe)(const char *path, bool alone);
    tr_status (*read)(const char *path, const tr_aligned_series *series,
                      tr_alignment *alignment);
} tr_alignment_format;

/* The formats there are, in the order of the list. */
const tr_alignment_format *tr_alignment_formats(size_t *n);
/* The one that the contents show, of those that give what is wanted; NULL: none. */
const tr_alignment_format *tr_alignment_format_of(const char *path, unsigned wanted);

/* Read a file for what is wanted of it, TR_GIVES_*; one of unknown contents as the first
 * format that gives nothing else, so that it is said what is wrong with it.
 * Errors are TR_ERR_DATA with one sentence that names file, line and value: no such
 * file, a damaged table, another number of views than the series has, shifts in
 * angstroms for a series without a pixel size. Freed by tr_alignment_free. */
TR_CHECKED tr_status tr_alignment_read(const char *path, unsigned wanted,
                                       const tr_aligned_series *series,
                                       tr_alignment *alignment);
void tr_alignment_free(tr_alignment *alignment);

/* A file of another kind, by what it is about, than one of `wanted`, "x-tilts", is an
 * error (TR_ERR_DATA) that names it and the option it is for. */
TR_CHECKED tr_status tr_refuse_other_source(const char *path, const char *wanted);

/* ---- for the formats ---- */

/* One row of a file; shift in pixels of the series. */
typedef struct tr_alignment_row {
    size_t line;
    double tilt, xtilt, rotation, shift_x, shift_y;
    double prior_exposure; /* NaN: not known */
    tr_ctf ctf;
    /* Where the raw image's point is not R(rotation) aligned + shift: the matrix in the
     * place of R, by rows; rotation then is only what comes nearest to it. */
    bool has_linear;
    double linear[4];
} tr_alignment_row;

/* No view is used yet, exposures and CTF are not known; `gives`: whether there is room
 * for angles, transforms or both. */
TR_CHECKED tr_status tr_alignment_new(size_t n_views, unsigned gives,
                                      tr_alignment *alignment);
/* Set view `view` < n_views; TR_ERR_DATA if it is set already or an angle is none. */
TR_CHECKED tr_status tr_alignment_set(const char *path, size_t view,
                                      const tr_alignment_row *row,
                                      tr_alignment *alignment);

#define TR_ALIGNMENT_FUNCTIONS(name, endings)                                            \
    bool tr_##name##_probe(const char *path, bool alone);                                \
    TR_CHECKED tr_status tr_##name##_read(                                               \
        const char *path, const tr_aligned_series *series, tr_alignment *alignment);
TR_ALIGNMENT_FORMATS(TR_ALIGNMENT_FUNCTIONS, TR_ALIGNMENT_FUNCTIONS,
                     TR_ALIGNMENT_FUNCTIONS)
#undef TR_ALIGNMENT_FUNCTIONS

#endif
