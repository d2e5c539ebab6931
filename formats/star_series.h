/* RELION's STAR files as the series itself: the table of a series' views names the image
 * of each (an image format, format.h), and a table of series leads to it. */
#ifndef TR_STAR_SERIES_H
#define TR_STAR_SERIES_H

#include "formats/format.h"

/* What a row of a table of series says where its images are. From malloc; freed by
 * tr_star_lead_free. */
typedef struct tr_star_lead {
    char *name;   /* _rlnTomoName */
    char *series; /* the file of _rlnTomoTiltSeriesStarFile (RELION 5) or of
                     _rlnTomoTiltSeriesName (RELION 4), found */
} tr_star_lead;

/* Whether it is a table of series; false where it cannot be read. */
bool tr_star_leads(const char *path);
/* Of the series of that name; NULL: of the only one. Errors (TR_ERR_DATA): no such
 * series, several to choose from, its file is not there, a damaged table. */
TR_CHECKED tr_status tr_star_lead_read(const char *path, const char *name,
                                       tr_star_lead *lead);
void tr_star_lead_free(tr_star_lead *lead);

/* The name of its table of views, which is the series'; from malloc. TR_ERR_DATA where
 * there is none. */
TR_CHECKED tr_status tr_star_series_name(const char *path, char **name);

/* Whether it names an image of each view; false where it cannot be read. */
bool tr_star_is_series(const char *path);
/* As tr_format.open, with the images of a column: _rlnMicrographName for TR_ALL_FRAMES,
 * or that with Even or Odd behind it. */
TR_CHECKED tr_status tr_star_series_open(const char *path, tr_frames frames,
                                         tr_image_info *info, void **state);
extern const tr_format tr_star_of_images; /* its other functions */

#endif
