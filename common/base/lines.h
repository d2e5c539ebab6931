/* Texts of lines, compared. */
#ifndef TR_LINES_H
#define TR_LINES_H

#include <stdbool.h>
#include <string.h>

/* A line of each of two texts, as %.*s takes it. */
typedef struct tr_line_pair {
    const char *a, *b;
    int a_length, b_length;
} tr_line_pair;

/* Whether the texts differ, and the first lines that do; they point into the texts, and a
 * text that ended before has an empty one. */
static inline bool tr_first_difference(const char *a, const char *b, tr_line_pair *lines)
{
    while (*a || *b) {
        int n = (int)strcspn(a, "\n"), m = (int)strcspn(b, "\n");
        *lines = (tr_line_pair){a, b, n, m};
        if (n != m || strncmp(a, b, (size_t)n) != 0)
            return true;
        a += a[n] ? n + 1 : n;
        b += b[m] ? m + 1 : m;
    }
    return false;
}

#endif
