/* How well the views of a tilt series agree with its alignment: each is compared with
 * what all others predict of it (slab_prediction.h). Nothing here sees a file or a rank.
 *
 * What views cannot tell, and what is therefore taken out of the shifts: a translation of
 * the specimen (X cos t - Z sin t across the axis, Y along it). They do not tell either
 * an error that all tilt angles have in common, nor on which side of the specimen one
 * looks. */
#ifndef TR_ALIGNMENT_CHECK_H
#define TR_ALIGNMENT_CHECK_H

#include "common/base/err.h"

enum { TR_CHECK_SIDE = 4, TR_CHECK_PATCHES = TR_CHECK_SIDE * TR_CHECK_SIDE };
enum { TR_CHECK_LOW, TR_CHECK_MIDDLE, TR_CHECK_HIGH, TR_CHECK_GROUPS };

/* Views in the frame of slab_prediction.h, the axis in the middle. */
typedef struct tr_check_source {
    size_t n, nx, ny;   /* views, and the pixels of each */
    const double *tilt; /* radians, within 80 degrees */
    double thickness;   /* of the volume, pixels */
    double high;        /* cycles per pixel: nothing is known above */
    /* image[ny][nx] of a view that is turned by so many radians, counterclockwise, about
     * the middle of its aligned image before it is stretched; without its mean and slow
     * changes, 0 where it shows nothing. From any thread. */
    tr_status (*stretched)(void *data, size_t view, double turn, float *image);
    void *data;
} tr_check_source;

/* Of one view; lengths in pixels of the view, not of the stretched one. */
typedef struct tr_check_view {
    bool known; /* a peak stands out: shift and error are known */
    bool off;   /* and the shift is more than its error and the others' explain */
    double shift[2], error[2];    /* right and up, of the view's content; one sigma */
    double as_given, correlation; /* with its prediction: as the alignment says, and with
                                     all views shifted to where they agree best */
    double peak, next;            /* of the correlation function, over its rms */
} tr_check_view;

typedef struct tr_check_arrow {
    double x, y;     /* of the patch's middle, pixels from the middle of the view */
    double shift[2]; /* pixels of the view; NaN: not known */
} tr_check_arrow;

typedef struct tr_alignment_check {
    size_t n;
    tr_check_view *view;
    size_t n_known, n_off, rounds;
    double spread; /* robust standard deviation of the known views' shifts, per axis */
    /* Of the axis, radians: turning all views by so much, counterclockwise, makes them
     * agree best; NaN where it cannot be told. */
    double turn, turn_error;
    double depth; /* of the specimen's middle above the volume's, pixels */
    /* What is left in patches of the field when each view's own shift is taken out, in
     * the views below -20 degrees, within, and above. */
    tr_check_arrow arrow[TR_CHECK_GROUPS][TR_CHECK_PATCHES];
} tr_alignment_check;

/* *check is freed by tr_alignment_check_free. Errors: memory, and those of
 * source->stretched. The same whatever the threads. */
TR_CHECKED tr_status tr_alignment_check_run(const tr_check_source *source, int threads,
                                            tr_alignment_check *check);
void tr_alignment_check_free(tr_alignment_check *check);

/* Floats that a run takes, about. */
size_t tr_alignment_check_floats(const tr_check_source *source);

#endif
