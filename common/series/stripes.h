/* Stripes of sinograms: detector columns whose response is not what the flat field says,
 * which become rings in the tomogram. The methods are those of Vo, Atwood and
 * Drakopoulos (Optics Express 26, 28396, 2018: its algorithms 3, 5 and 6) and of
 * Titarenko (Proceedings of the SPIE 7804, 2010); and stripes_wavelet.h. */
#ifndef TR_STRIPES_H
#define TR_STRIPES_H

#include "common/base/err.h"

enum { TR_USUAL_LEVELS = 100 };

/* Widths in columns; 0: not this method. They work in this order. */
typedef struct tr_stripes {
    long dead;      /* columns that do not respond, or wildly: interpolated; 6 */
    long large;     /* stripes of several columns and of partly wrong response; 5 */
    long sort;      /* the others: smoothed among values of equal rank; 3 */
    long wavelet;   /* levels of wavelet-Fourier; TR_USUAL_LEVELS: as the views allow */
    bool titarenko; /* what is the same in all views of a column, but not in those beside
                     */
} tr_stripes;

/* "dead,large,sort", "sort:11", "titarenko", "wavelet-fourier:4", "none"; a number behind
 * a colon is a width in columns, or of levels. Errors: TR_ERR_USAGE. */
TR_CHECKED tr_status tr_stripes_parse(const char *text, tr_stripes *stripes);
static inline bool tr_stripes_wanted(const tr_stripes *s)
{
    return s->dead || s->large || s->sort || s->wavelet || s->titarenko;
}

/* Room for one sinogram at a time and these methods; NULL, with the sentence set, when
 * memory is short. And about how many bytes it takes. */
typedef struct tr_stripes_work tr_stripes_work;
tr_stripes_work *tr_stripes_work_new(const tr_stripes *stripes, size_t n_views,
                                     size_t n_u);
void tr_stripes_work_free(tr_stripes_work *work);
size_t tr_stripes_bytes(const tr_stripes *stripes, size_t n_views, size_t n_u);

/* In place, on a sinogram[view][column]. The result depends on nothing else. */
void tr_stripes_remove(const tr_stripes *stripes, size_t n_views, size_t n_u,
                       float *sinogram, tr_stripes_work *work);

/* The same for each of the first `rows` lanes of a slab P[view][column + 1][lane], by so
 * many threads; nothing where no method is asked for. TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_stripes_remove_rows(const tr_stripes *stripes, size_t n_views,
                                            size_t n_u, size_t rows, size_t lanes,
                                            int threads, float *slab);

#endif
