/* The word that was meant: for suggestions in messages. */
#include <ctype.h>
#include <string.h>

#include "common/options/opt.h"

enum { LONGEST_WORD = 63 };

/* Insertions, deletions, replacements and swaps of neighbours between two words of at
 * most LONGEST_WORD letters. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t table[3][LONGEST_WORD + 1];
    size_t *before = table[0], *last = table[1], *row = table[2], n = strlen(b);
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t *oldest = before;
        before = last;
        last = row;
        row = oldest;
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            int p = tolower((unsigned char)a[i - 1]),
                q = tolower((unsigned char)b[j - 1]);
            size_t best = last[j - 1] + (p != q);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && p == tolower((unsigned char)b[j - 2]) &&
                q == tolower((unsigned char)a[i - 2]) && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

const char *tr_nearest(const char *word, const char *const *words, size_t n)
{
    const char *nearest = NULL;
    size_t best = 2 + strlen(word) / 3; /* the first distance that is too far */
    if (strlen(word) > LONGEST_WORD)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t distance =
            strlen(words[i]) > LONGEST_WORD ? best : edit_distance(word, words[i]);
        if (distance < best) {
            best = distance;
            nearest = words[i];
        }
    }
    return nearest;
}
