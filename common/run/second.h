/* --second: a series of the same specimen about another tilt axis. One volume, that of
 * the first series, is reconstructed from both; a view of the second is an affine map of
 * that volume's voxels like any other, only that its rows run along other directions. */
#ifndef TR_SECOND_H
#define TR_SECOND_H

#include "common/run/run.h"

/* A point p of the first volume is at turn p + shift in the second one; axes x, y
 * (slices) and s (planes), in voxels from the origins. These are the middles of both
 * volumes, or what the middles of untilted views show. */
typedef struct tr_relation {
    double turn[3][3], shift[3], first[3], second[3];
} tr_relation;

typedef struct tr_second {
    tr_command command; /* the run's, as far as it holds for both series */
    char **arguments;   /* of that */
    tr_inputs inputs;
    tr_reconstruction r; /* of its views; makes no tomogram */
    tr_relation relation;
    const char *match; /* the file that it is from; NULL: the alignments */
    double axis;       /* from the first series' tilt axis to the second's in the volume,
                          degrees       around the beam, counter-clockwise from -90 to 90 */
    tr_noise alone;    /* of the first series by itself */
    bool transposed;   /* as in tr_second_axis */
    double kept;       /* part of the second one's pixels that count */
    tr_ray *rays;
    tr_second_axis second; /* what the job has of it */
} tr_second;

/* What --second cannot be used with. */
TR_CHECKED tr_status tr_second_check_options(const tr_command *c);

/* Find and open the files of the second series and work out its rays, after those of the
 * first; nothing without --second. Then open it, decide how its values are scaled, and
 * take its noise into that of r's job: after the first, collective. */
TR_CHECKED tr_status tr_second_files(tr_run *run);
TR_CHECKED tr_status tr_second_series(tr_reconstruction *r, tr_comm *comm);
void tr_second_print(const tr_second *second); /* NULL is fine, also here: */
void tr_second_free(tr_second *second);

/* second_relation.c: second->relation and axis, from --second-match or the alignments of
 * both. Errors: those of the file; TR_ERR_DATA where the axes are the same, TR_ERR_USAGE
 * where there is no way to know. */
TR_CHECKED tr_status tr_second_relate(const tr_reconstruction *first, tr_second *second);
/* The rays of the second series' views through the first volume. */
TR_CHECKED tr_status tr_second_find_rays(tr_second *second);

/* Whether the ray of a view's pixel (u, v), through the first volume, is between the
 * first and the last slice in all planes; and where the axis is across, within the width,
 * so far that it shows nothing of the cells beyond, which are for rays through these. */
bool tr_second_stays_inside(const tr_geometry *first, const tr_ray *ray, bool across,
                            double u, double v);

#endif
