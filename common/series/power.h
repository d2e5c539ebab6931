/* The power spectrum of a view as the microscope took it. */
#ifndef TR_POWER_H
#define TR_POWER_H

#include "common/series/series.h"

/* Pixels along a side of the tiles of view k's file that fit in it: 256, 128 or 64; 0
 * where it is smaller. */
size_t tr_power_tile(const tr_series *series);

/* power[tile][tile]: summed over tiles that overlap by half, each without its mean and
 * faded to its edges by a Hann window; frequency 0 is at column and row tile / 2, rows go
 * up. Whatever is done to single pixels is done before. One thread. Errors: reading,
 * memory. */
TR_CHECKED tr_status tr_power_measure(const tr_series *series, size_t k, double *power);

#endif
