/* Half sets: two more tomograms with the parameters of the first, of every second view
 * each or of series made from every second frame. Each is a tr_setup of its own, copied
 * from that of everything but for what differs, so what makes one tomogram makes all. */
#ifndef TR_HALVES_H
#define TR_HALVES_H

#include "common/run/setup.h"

enum { TR_HALVES = 2, TR_MOST_VOLUMES = 1 + TR_HALVES };

/* What --half-sets cannot be used with. */
TR_CHECKED tr_status tr_halves_check_options(const tr_options *o);

/* Each after that step of the tr_setup itself (tr_halves_free before it); nothing happens
 * without --half-sets. The first divides the views, or opens the two series and looks
 * whether they fit; the second is collective. */
TR_CHECKED tr_status tr_halves_files(tr_setup *s);
TR_CHECKED tr_status tr_halves_series(tr_setup *s, tr_comm *comm);
void tr_halves_print(const tr_setup *s);
void tr_halves_free(tr_setup *s);

/* The tomograms to make, 1 or 3, and the k-th: that of everything first, then even and
 * odd. */
size_t tr_halves_volumes(const tr_setup *s);
tr_setup *tr_halves_volume(tr_setup *s, size_t k);

/* Discard the outputs that are open. Not collective. */
void tr_halves_discard(tr_setup *s);

/* The Fourier ring correlation of the finished half sets, into s->frc and the log; by
 * rank 0 while the others wait. Collective. */
TR_CHECKED tr_status tr_halves_correlate(tr_setup *s, tr_comm *comm);

/* Which of all views belong to the half `odd` or even: every
 * second one in the order of the angles, which begins at that end of the range where the
 * first view is. Those of the odd half begin with the first in that order. part[] has
 * room for all; returns how many they are, in ascending order. */
TR_CHECKED tr_status tr_half_views(const tr_views *all, bool odd, size_t *part,
                                   size_t *n_part);

#endif
