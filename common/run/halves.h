/* Half sets: two more tomograms with the parameters of the first, of every second view
 * each or of series made from every second frame; or K of them, of every K-th view. They
 * are further elements of the run's volumes, so what makes one tomogram makes all. */
#ifndef TR_HALVES_H
#define TR_HALVES_H

#include "common/run/run.h"

/* What --half-sets cannot be used with. */
TR_CHECKED tr_status tr_halves_check_options(const tr_options *o);

/* Each after that step of the first tomogram; nothing happens without --half-sets. The
 * first divides the views, or opens the two series and looks whether they fit; the second
 * is collective. */
TR_CHECKED tr_status tr_halves_files(tr_run *run);
TR_CHECKED tr_status tr_halves_series(tr_run *run, tr_comm *comm);
void tr_halves_print(const tr_run *run);
/* Warn of unfinished files of half sets from an earlier run where this one has none. */
TR_CHECKED tr_status tr_halves_name_leftovers(const tr_run *run);

/* The Fourier ring correlation of the finished half sets, into run->frc and the log; by
 * rank 0 while the others wait. Collective. */
TR_CHECKED tr_status tr_halves_correlate(tr_run *run, tr_comm *comm);

/* Which of all views belong to a split: number `first` = 0 ... splits - 1 and every
 * `splits`-th from there in the order of the angles, which begins at that end of the
 * range where the first view is. part[] has room for all; returns how many they are, in
 * ascending order. */
TR_CHECKED tr_status tr_split_views(const tr_views *all, size_t first, size_t splits,
                                    size_t *part, size_t *n_part);

#endif
