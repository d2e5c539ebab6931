/* Lists of numbers and ranges: "1-4,7,40-41". */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/options/opt.h"

/* Read one "7" or "1-4" at *at and leave *at at the ',' or the end behind it. */
static bool read_item(const char **at, long *first, long *last)
{
    char *end = (char *)*at + strspn(*at, " ");
    errno = 0;
    if (!isdigit((unsigned char)*end))
        return false;
    *first = *last = strtol(end, &end, 10);
    if (*end == '-') {
        if (!isdigit((unsigned char)end[1]))
            return false;
        *last = strtol(end + 1, &end, 10);
    }
    end += strspn(end, " ");
    *at = end;
    return errno == 0 && *first <= *last && (*end == ',' || *end == '\0');
}

bool tr_list_is_good(const char *list)
{
    long first, last;
    for (const char *at = list;; at++) {
        if (!read_item(&at, &first, &last) || first < 1)
            return false;
        if (*at == '\0')
            return true;
    }
}

tr_status tr_list_expand(const char *option, const char *list, size_t n, bool *marks)
{
    long first, last;
    for (const char *at = list;; at++) {
        if (!read_item(&at, &first, &last))
            return tr_fail(TR_ERR_USAGE,
                           "%s %s: must be whole numbers and ranges such as 1-4,7,40-41",
                           option, list);
        if (first < 1 || (size_t)last > n)
            return tr_fail(TR_ERR_USAGE, "%s %s: %ld must be from 1 to %zu", option, list,
                           first < 1 ? first : last, n);
        for (long k = first; k <= last; k++)
            marks[k - 1] = true;
        if (*at == '\0')
            return TR_OK;
    }
}
