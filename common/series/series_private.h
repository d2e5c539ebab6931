/* What the files of the series share: series_scan.c looks at all pixels,
 * series_prepare.c makes whole views, series.c opens, selects and reads slabs. */
#ifndef TR_SERIES_PRIVATE_H
#define TR_SERIES_PRIVATE_H

#include <math.h>

#include "common/series/hot_pixels.h"
#include "common/series/series.h"
#include "common/views/view_steps.h"
#include "common/views/wiener.h"

typedef struct view_scan {
    double bad;              /* pixels that are NaN or infinite */
    double first_x, first_y; /* of them */
    double mean;             /* of the finite pixels, as in the file, hot ones replaced */
    double constant;         /* 1 if all are equal */
} view_scan;

/* Found with the help of that. */
typedef struct view_levels {
    double fill;             /* mean of the pixels after the steps on single ones */
    double clipped;          /* pixels whose logarithm does not exist */
    double level, deviation; /* mean and standard deviation before the normalization */
} view_levels;

struct tr_series {
    tr_image *image;
    const char *path;
    size_t n_views;
    size_t raw_u, raw_v, own_u, own_v, n_u, n_v; /* of a view in the file, prepared, as
                                                    delivered */
    tr_views views;
    bool transforms;               /* theirs are applied */
    tr_displacement *displacement; /* of each view; NULL: no view has any */
    double pixel;
    view_scan *scan;
    view_levels *levels;
    tr_hot_pixels hot;   /* those replaced, or warned of */
    tr_content content;  /* of the views, as in the file: those rows that were scanned */
    tr_file_stamp stamp; /* of the file, before that */
    tr_view_steps steps;
    tr_wiener *wiener;   /* or NULL */
    bool wiener_is_lent; /* by the series of all frames */
    int prepared;        /* file descriptor of the stack of prepared views, -1 for none */
    size_t *place;       /* of the views' first images in it */
    tr_depth_bands *bands; /* or NULL */
    double per_depth;      /* angstroms */
    float *band;
    size_t band_size;
    float *source;
    size_t source_size;
    tr_stripes stripes;
    int threads;  /* for them */
    float *whole; /* rows that a window is cut from */
    size_t whole_size;
};

/* How many images view k is. */
static inline size_t tr_series_images_of(const tr_series *s, size_t k)
{
    return s->bands ? s->bands[k].n : 1;
}

/* View k, as its steps know it after the scan, without a map. */
static inline tr_view_facts tr_series_facts(const tr_series *s, size_t k)
{
    const tr_depth_bands *b = s->bands ? &s->bands[k] : NULL;
    double last = b ? b->first + (double)(b->n - 1) * b->step : 0.0;
    bool replace = s->steps.params.hot_pixels == TR_HOT_REPLACE;
    return (tr_view_facts){
        .view = &s->views.view[k],
        .pixel = s->pixel,
        .mean = s->scan[k].mean,
        .wiener = s->wiener,
        .deepest = b ? fabs(s->per_depth) * fmax(fabs(b->first), fabs(last)) : 0.0,
        .noise = s->wiener ? s->wiener->noise[k] : 0.0,
        .bad = s->scan[k].bad,
        .replaced = replace ? s->hot.list + s->hot.start[k] : NULL,
        .n_replaced = replace ? s->hot.start[k + 1] - s->hot.start[k] : 0,
        .level = s->levels[k].level,
        .deviation = s->levels[k].deviation};
}

/* What is done with each view. Each thread has a room of its own: begin makes it, or
 * leaves what end can free (which may be NULL) where that fails; view is not called then.
 */
typedef struct tr_view_work {
    void *data;
    tr_status (*begin)(void *data, void **room);
    tr_status (*view)(void *data, size_t k, void *room);
    void (*end)(void *room);
} tr_view_work;

/* series_share.c: the views that are this rank's, shared out to its threads. The error is
 * that of the lowest view that fails; nothing is agreed on. */
TR_CHECKED tr_status tr_series_share(const tr_comm *comm, size_t n_views, int threads,
                                     const tr_view_work *work);

/* The first look at all pixels, or at those of the rows wanted, into s->scan and
 * s->content, and what is to be said of it. Collective. */
TR_CHECKED tr_status tr_series_scan(tr_comm *comm, tr_series *series,
                                    const tr_series_spec *spec);

/* series_levels.c: what the steps on single pixels make of the views, into s->levels.
 * Collective. Errors: reading, a mean that cannot be divided by. */
TR_CHECKED tr_status tr_series_levels(tr_comm *comm, tr_series *series,
                                      const tr_series_spec *spec);
/* What is to be said of all that; TR_ERR_DATA where every view is constant. */
TR_CHECKED tr_status tr_series_report(const tr_series *series);

/* Where the steps want to know of the spectra of all views: s->wiener. Collective. */
TR_CHECKED tr_status tr_series_look(tr_comm *comm, tr_series *series,
                                    const tr_series_spec *spec);

/* The plans of its views, the same on all ranks, whichever views they prepare; to be
 * freed. And how many threads may use them. */
tr_view_plans *tr_series_plans(const tr_series *series);
int tr_series_workers(const tr_series_spec *spec, const tr_view_plans *plans);

/* All steps that need whole views; then s->prepared has the views. Collective. */
TR_CHECKED tr_status tr_series_prepare(tr_comm *comm, tr_series *series,
                                       const tr_series_spec *spec);

#endif
