/* Fourier ring correlation (FRC) of two volumes of the same specimen whose noise is
 * independent: how much of what they show at each spatial frequency is the same.
 *
 * Sections of both volumes are transformed in two dimensions, F1 and F2, and over the
 * frequencies of a ring and over all sections
 *   FRC = sum Re(F1 conj F2) / sqrt(sum |F1|^2 sum |F2|^2)
 * (Saxton and Baumeister, J. Microsc. 127 (1982) 127-138; van Heel and Schatz, J. Struct.
 * Biol. 151 (2005) 250-262). Before, the mean is taken off, and a raised cosine over a
 * tenth of each side takes the edges to 0, so that they correlate nothing.
 *
 * Of two kinds of sections, because of the missing wedge. In x-y sections, normal to the
 * beam, every frequency is measured: each is the sum over the part of kz that the tilts
 * reach. In x-z sections, normal to the tilt axis, the wedge itself is in the rings; both
 * volumes are all but empty there and it weighs nothing, so the curve is that of the
 * rest. The first says how fine the specimen is seen from above; the second, which also
 * falls where views lie too far apart, how well depth is resolved. */
#ifndef TR_FRC_H
#define TR_FRC_H

#include "common/base/err.h"

enum { TR_FRC_XY, TR_FRC_XZ, TR_FRC_CURVES };
enum { TR_FRC_HALF, TR_FRC_SEVENTH, TR_FRC_THRESHOLDS }; /* 0.5 and 0.143 */

/* Where a curve falls below a threshold for the first time, having been above; below the
 * second, not before it has fallen below the first. */
typedef enum tr_frc_state {
    TR_FRC_CROSSES,
    TR_FRC_STAYS_ABOVE, /* up to the Nyquist frequency */
    TR_FRC_NEVER_ABOVE
} tr_frc_state;

/* Ring k = 0 ... n - 1 is at (k + 1) / (2 n) cycles per voxel, so that the last one is at
 * the Nyquist frequency of both axes, and half a ring's distance wide to both sides.
 * Arrays are from malloc. */
typedef struct tr_frc_curve {
    const char *plane; /* "x-y", "x-z" */
    size_t sections;   /* used of all there are, evenly spaced */
    size_t n;
    double *frequency;   /* cycles per voxel */
    double *correlation; /* -1 to 1; 0 where there is nothing */
    double *samples;     /* Fourier coefficients; conjugates are counted as well */
    tr_frc_state state[TR_FRC_THRESHOLDS];
    double crossing[TR_FRC_THRESHOLDS]; /* cycles per voxel, between rings linearly */
} tr_frc_curve;

typedef struct tr_frc {
    char of[64];     /* "the half sets", "splits 1 and 3 of 4" */
    double pixel;    /* angstroms of a voxel; 0: not known */
    size_t n_curves; /* 0: there is no FRC */
    tr_frc_curve curve[TR_FRC_CURVES];
} tr_frc;

/* The thresholds as numbers: 0.5, 0.143. */
extern const double tr_frc_thresholds[TR_FRC_THRESHOLDS];

typedef struct tr_frc_spec {
    const char *of;         /* what they are called; NULL: the half sets */
    const char *even, *odd; /* image files of the same size */
    bool xyz;               /* sections of the files are z, rows y; else y and z */
    double pixel;           /* angstroms; 0: not known */
    int threads;
    size_t memory; /* bytes that may be used; at least one plane is always worked on */
} tr_frc_spec;

/* Compare two finished volumes. Errors: those of reading, and of sizes that differ. The
 * curves are freed by tr_frc_free, which also takes what was never filled. */
TR_CHECKED tr_status tr_frc_of_files(const tr_frc_spec *spec, tr_frc *frc);
void tr_frc_free(tr_frc *frc);

/* A table and a sentence for the log. */
void tr_frc_print(const tr_frc *frc);

/* "31.2 A", "7.8 voxels" where the pixel is not known, "finer than 2 voxels", "not
 * reached"; for threshold `k` of a curve. */
void tr_frc_crossing_text(const tr_frc *frc, const tr_frc_curve *curve, size_t k,
                          char *text, size_t size);

#endif
