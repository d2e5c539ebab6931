/* How items, such as slices or views, are shared out over processes. */
#ifndef TR_PARTITION_H
#define TR_PARTITION_H

#include <stddef.h>

/* Part k of n items shared among `parts`: items [*first, *first + *count). Without gap
 * or overlap, in order, balanced to one item. k < parts. */
static inline void tr_partition(size_t n, size_t parts, size_t k, size_t *first,
                                size_t *count)
{
    size_t share = n / parts, rest = n % parts;
    *first = k * share + (k < rest ? k : rest);
    *count = share + (k < rest);
}

#endif
