/* Hot and dead pixels of the detector: single ones, or two side by side, that are far
 * above or below all around them. Found while the rows of a view are looked through, and
 * judged when all views are known.
 *
 * The background b of a pixel is the median of the eight pixels at distance 2 along the
 * rows, columns and diagonals, d = p - b. The deviation s of a block of 64 x 64 pixels is
 * 1.4826 times the median of |d| over about 64 of its pixels, but not less than the root
 * mean square of those 15/16 of them that are smallest, nor, where the values are counts
 * of mean m <= 30, than sqrt(m + 1), nor than half the median of the blocks
 * beside it. A pixel is an outlier where |d| > 5 s and at most one of its eight
 * neighbours is beyond b + 0.4 d: in a bead with a full width at half maximum of 3
 * pixels or more, more are. Where the background has less than eight pixels, none may be,
 * and with less than five, at the corners of a view, nothing is judged. It is hot where
 * |d| > 8 s (16 s if it is only warned of: less spoils nothing), or where it is an
 * outlier in more than 30 % of the views, 3 at least. Where more than 1 in 1000 pixels
 * (and more than 4) of a view are hot by themselves, it is no view with a few hot pixels,
 * and keeps them all. What takes the place of one is the median of those of the 5 x 5
 * pixels around that are within 5 s of the background. */
#ifndef TR_HOT_PIXELS_H
#define TR_HOT_PIXELS_H

#include "common/base/comm.h"
#include "common/views/view_step.h"

typedef struct tr_outlier {
    size_t place; /* row * width + column */
    float value, instead;
    bool hot; /* by itself */
} tr_outlier;

/* Of one view, by place. */
typedef struct tr_outliers {
    size_t n, room, n_hot;
    tr_outlier *list;
    bool too_many; /* hot ones: the list is not complete */
    double rest;   /* sum of all finite pixels but those listed */
} tr_outliers;

enum { TR_HOT_STRIP = 64 }; /* rows that are given at once, at most */

/* The rows of a view on their way, in one thread. */
typedef struct tr_hot_finder {
    size_t nx, ny;            /* of the view */
    double hot;               /* beyond so many deviations */
    float *rows;              /* held, from row `first` of the view on */
    double *row_sum;          /* of each row's finite values; NULL: none is replaced */
    double *spread;           /* of blocks, and room to sort them */
    size_t first, held, next; /* first row not judged */
    bool has_bad;             /* values held that are no numbers */
    const tr_replaced *known; /* replaced whatever they are, by place */
    size_t n_known, at_known;
    tr_outliers *found; /* NULL: nothing is looked for */
} tr_hot_finder;

/* For views of nx x ny pixels, to replace hot ones or only to warn of them; freed by
 * tr_hot_finder_free. Errors: TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_hot_finder_new(size_t nx, size_t ny, bool replace,
                                       tr_hot_finder *f);
void tr_hot_finder_free(tr_hot_finder *f);
/* Begin with a view: *found, all 0 or with a list from before, is emptied. */
void tr_hot_begin(tr_hot_finder *f, tr_outliers *found, const tr_replaced *known,
                  size_t n_known);
/* Where up to TR_HOT_STRIP rows from row y of the view on are to be put. */
float *tr_hot_room(tr_hot_finder *f, size_t y);
/* They are there, n of them, and f->row_sum has their sums; `last`: the next row is not
 * given. Errors: TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_hot_look(tr_hot_finder *f, size_t n, bool last);
/* After the last one: found->rest. */
void tr_hot_end(tr_hot_finder *f);

/* What became of all views. */
typedef struct tr_hot_pixels {
    size_t n_views;
    size_t *start;             /* of view k: pixels start[k] to before start[k + 1] of */
    tr_replaced *list;         /* by row, then column */
    size_t persistent;         /* places with an outlier in more than 30 % of the views */
    size_t n_crowded, crowded; /* views with too many, and the first of them */
} tr_hot_pixels;

/* Of n_views views of nx columns, the outliers of each of which one rank knows, and the
 * others have none. Freed by tr_hot_pixels_free, also after an error (TR_ERR_MEMORY).
 * Collective. */
TR_CHECKED tr_status tr_hot_decide(tr_comm *comm, size_t n_views, size_t nx,
                                   const tr_outliers *outliers, tr_hot_pixels *hot);
/* The mean of view k of n finite pixels, in which some are replaced. */
double tr_hot_mean(const tr_hot_pixels *hot, size_t k, size_t nx,
                   const tr_outliers *outliers, double n);
void tr_hot_pixels_free(tr_hot_pixels *hot);
/* Those of views part[0], part[1], ... part[n - 1] of `from`. */
TR_CHECKED tr_status tr_hot_select(const tr_hot_pixels *from, const size_t *part,
                                   size_t n, tr_hot_pixels *hot);

/* How many a view may have that are hot by themselves. */
static inline size_t tr_hot_most(size_t nx, size_t ny)
{
    return nx * ny / 1000 > 16 ? nx * ny / 1000 : 16;
}

#endif
