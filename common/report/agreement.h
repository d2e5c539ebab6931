/* How well each view agrees with the finished tomogram, for algorithms that have no
 * residual of their own: the tomogram is read back and projected again. */
#ifndef TR_AGREEMENT_H
#define TR_AGREEMENT_H

#include "common/run/job.h"

/* correlation[n_views]: Pearson's, between the view as it was reconstructed from and the
 * projection of the tomogram, over up to 16 image rows in the middle and the columns that
 * see most of the tomogram, averaged in squares of 1 to 8 pixels, the larger the wider
 * the images (noise of single pixels would hide the rest). Each row's mean is taken off
 * both, as filters do. 0 where a side is constant. *rows is the number of image rows
 * compared; 0, with correlation untouched, where the slices written do not hold all that
 * these rows see. On one process, when the output is finished and the reconstruction's
 * memory is free. */
TR_CHECKED tr_status tr_agreement_measure(const tr_job *job, double *correlation,
                                          size_t *rows);

/* Bytes of host memory, and as many of the device's at most, that this takes. */
size_t tr_agreement_bytes(const tr_job *job);

#endif
