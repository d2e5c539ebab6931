#include "common/tomogram/fingerprint.h"

#include <string.h>

tr_status tr_fingerprint_compare(const char *path, const char *theirs, const char *ours)
{
    const char *a = ours, *b = theirs;
    while (*a || *b) {
        int n = (int)strcspn(a, "\n"), m = (int)strcspn(b, "\n");
        if (n != m || strncmp(a, b, (size_t)n) != 0)
            return tr_fail(TR_ERR_USAGE,
                           "%s is of a run with \"%.*s\", and this one has \"%.*s\"; "
                           "leave out --resume to start anew",
                           path, m, b, n, a);
        a += a[n] ? n + 1 : n;
        b += b[m] ? m + 1 : m;
    }
    return TR_OK;
}
