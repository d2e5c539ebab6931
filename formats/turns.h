/* Angles of stages that count on beyond a full turn. */
#ifndef TR_TURNS_H
#define TR_TURNS_H

#include <stdbool.h>
#include <stddef.h>

/* No stage has counted as far as 1000 turns: what is beyond is no angle. */
static const double tr_most_degrees = 360e3;

/* Of n angles in degrees, within +-tr_most_degrees: if one is beyond +-360, take whole
 * turns from all, the same number from each if that brings all within +-360 (they stay in
 * their order), or else what leaves each within +-180. Whether any angle changed. */
bool tr_remove_turns(double *degrees, size_t n);

/* Whether n angles look like a stage's that counts on: each beyond the one before, by up
 * to 90 degrees, all in one direction. */
bool tr_counts_on(const double *degrees, size_t n);

#endif
