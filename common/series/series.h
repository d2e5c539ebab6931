/* The tilt series as the reconstruction sees it: chosen views, bad pixels replaced,
 * logarithm, contrast, binning and transforms applied, delivered in slabs of rows. */
#ifndef TR_SERIES_H
#define TR_SERIES_H

#include "formats/format.h"
#include "common/base/comm.h"
#include "common/geometry/bands.h"
#include "common/options/view_params.h"
#include "common/series/content.h"
#include "common/series/stripes.h"
#include "common/views/views.h"

typedef struct tr_series_spec {
    const tr_views *views; /* which sections of the file, in this order */
    bool transforms;       /* apply theirs, whose shifts are in pixels after binning;
                              local ones of the file's pixels are applied anyway */
    size_t n_u, n_v;       /* then: of the views as delivered; without as they are */
    tr_view_params steps;  /* what is done to the views */
    double pixel;          /* angstroms, in the file; 0: not known */
    tr_stripes stripes;    /* to be removed from the sinograms */
    const char *scratch;   /* where prepared views may be put (no name at the end) */
    int threads;
    size_t memory; /* bytes that preparing views may use */
    /* Of the image's rows: those that will be read; NULL: all. The others are not looked
     * at, unless a view as a whole tells what becomes of its rows. */
    const bool *rows;
    /* One per view: each becomes as many images as it has bands, with the defocus at the
     * middle of each, which grows by so many angstroms with each voxel of depth. NULL:
     * one image, as at depth 0. Copied. */
    const tr_depth_bands *bands;
    double per_depth;
    /* The even and the odd frames of the same views, from which a Wiener filter takes
     * signal and noise; NULL: from the views themselves. */
    tr_image *halves[2];
    /* Of half sets of frames: the series of all frames, with the same views. Its hot
     * pixels are replaced here too, its deviations are those to normalize by, and its
     * Wiener filter is the one for both; it must outlive this series. */
    const struct tr_series *whole;
} tr_series_spec;

typedef struct tr_series tr_series;

/* Hot and dead pixels (hot_pixels.h). */
typedef struct tr_hot_counts {
    size_t pixels, views; /* in so many views */
    size_t most, in_view; /* in one, of the file from 1 */
    size_t persistent;    /* places that are hot in more than 30 % of the views */
    bool replaced;
    unsigned long long hash; /* of places and values; 0: none */
} tr_hot_counts;

tr_hot_counts tr_series_hot(const tr_series *series);

/* What the spectra of its views say (common/views/wiener.h); NULL: not looked at. */
const struct tr_wiener *tr_series_wiener(const tr_series *series);

/* Of the pixels of its view k, as they are in the file, hot ones replaced. */
double tr_series_mean(const tr_series *series, size_t k);

/* Angstroms of a pixel in the file; 0: not known. */
double tr_series_pixel(const tr_series *series);

/* Look through the pixels of the chosen views once (the ranks share the views): NaN and
 * infinite values are counted, reported with the first place, and replaced by the mean
 * of their view; constant views are reported; where a step needs whole views, all are
 * prepared. Collective. Errors: no finite pixel in a view, all views constant, disk full.
 * The image stays the caller's and must outlive the series. */
TR_CHECKED tr_status tr_series_open(tr_comm *comm, tr_image *image,
                                    const tr_series_spec *spec, tr_series **series);
void tr_series_close(tr_series *series); /* NULL is fine */

/* A series of some of the views of another one: its views part[0], part[1], ... part[n -
 * 1], counted from 0. It reads the same files, which stay open with either of the two;
 * the image must outlive both. Not collective. */
TR_CHECKED tr_status tr_series_part(const tr_series *whole, const size_t *part, size_t n,
                                    tr_series **series);

/* What its Wiener filter has taken from spectra; 0: it has none. */
unsigned long long tr_series_wiener_hash(const tr_series *series);

/* What other pixels or other views do not have: of the rows looked at. */
void tr_series_digest(const tr_series *series, char text[TR_DIGEST]);

/* Its views' bands of depth, or NULL; and the images of all views, which are as many as
 * the views where that is NULL. */
const tr_depth_bands *tr_series_bands(const tr_series *series);
size_t tr_series_images(const tr_series *series);

/* Fill a slab P[view][column + 1][lane] with the image rows row, row + 1, ... row +
 * rows - 1; rows outside the image repeat its edge; lanes from `rows` to `lanes` and the
 * guard columns are 0. `slab` holds n_views * (n_u + TR_GUARDS) * lanes floats. The
 * geometry says how views with an x-tilt of their own are warped. One thread at a time.
 * TR_ERR_DATA if the file is not what it was when the series was opened. A view of
 * several images is the middle one of these. */
TR_CHECKED tr_status tr_series_read(tr_series *series, const tr_geometry *geometry,
                                    long row, size_t rows, size_t lanes, float *slab);
/* The same of all images, those of a view in the order of its bands. */
TR_CHECKED tr_status tr_series_read_images(tr_series *series, const tr_geometry *geometry,
                                           long row, size_t rows, size_t lanes,
                                           float *slab);

/* Bytes tr_series_read needs besides the slab, at most. */
size_t tr_series_read_bytes(const tr_series *series, size_t rows);

#endif
