/* Memory: sizes are products of size_t factors, checked for overflow. */
#ifndef TR_MEM_H
#define TR_MEM_H

#include "common/base/err.h"

/* The product of n factors in *product; TR_ERR_MEMORY naming `what` when it does
 * not fit in a size_t. */
TR_CHECKED tr_status tr_size_product(const char *what, size_t *product, size_t n,
                                     const size_t *factors);

/* The least multiple of `unit` that is n or more. */
static inline size_t tr_round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* For sentences. */
static inline double tr_mib(size_t bytes) { return (double)bytes / (1 << 20); }

/* Zeroed memory, 64-byte aligned, for count elements of `size` bytes; NULL (and the
 * error sentence naming `what` set) when it cannot be had. Freed with free(). */
void *tr_calloc(const char *what, size_t count, size_t size);

/* A copy of a string, freed with free(); NULL for NULL, and, with the sentence set,
 * when memory is short. */
char *tr_strdup(const char *text);

/* The printf result as a new string, freed with free(); NULL when memory is short. */
char *tr_format_string(const char *format, ...) TR_PRINTF(1, 2);

#endif
