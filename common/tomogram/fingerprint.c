#include "common/tomogram/fingerprint.h"

#include "common/base/lines.h"

tr_status tr_fingerprint_compare(const char *path, const char *theirs, const char *ours)
{
    tr_line_pair l;
    if (!tr_first_difference(ours, theirs, &l))
        return TR_OK;
    return tr_fail(TR_ERR_USAGE,
                   "%s is of a run with \"%.*s\", and this one has \"%.*s\"; leave out "
                   "--resume to start anew",
                   path, l.b_length, l.b, l.a_length, l.a);
}
