/* Which rows of the images a run reads: with --slices, a few of them. */
#ifndef TR_ROWS_H
#define TR_ROWS_H

#include "common/run/reconstruction.h"

/* *rows, from malloc, has one for each row of an image, as tr_series_spec wants them;
 * NULL where all are read. After the geometry and the slices are known. */
TR_CHECKED tr_status tr_rows_read(const tr_reconstruction *r, bool **rows);

#endif
