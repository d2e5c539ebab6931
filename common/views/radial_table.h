/* A table over frequencies from 0 to the corner of a spectrum, linear between its places.
 */
#ifndef TR_RADIAL_TABLE_H
#define TR_RADIAL_TABLE_H

#include <stddef.h>

/* Between place i and the next one. */
typedef struct tr_place {
    size_t i;
    double beyond;
} tr_place;

/* `at` in places, 0 or above; the last place but one is `last`. */
static inline tr_place tr_place_of(double at, size_t last)
{
    size_t i = (size_t)at < last ? (size_t)at : last;
    return (tr_place){i, at - (double)i};
}

static inline double tr_table_at(const double *table, tr_place p)
{
    return table[p.i] + p.beyond * (table[p.i + 1] - table[p.i]);
}

#endif
