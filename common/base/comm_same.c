#include "common/base/comm.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/lines.h"
#include "common/base/mem.h"

/* The first line that differs, as a failure. */
static tr_status compare_lines(const tr_comm *comm, const char *what, const char *mine,
                               const char *first)
{
    enum { MOST = 300 };
    tr_line_pair l;
    if (!tr_first_difference(mine, first, &l))
        return TR_OK;
    return tr_fail(TR_ERR_USAGE,
                   "the processes differ in %s: rank %d has \"%.*s\" and rank 0 "
                   "\"%.*s\"; start all with the same",
                   what, comm->rank, l.a_length < MOST ? l.a_length : MOST, l.a,
                   l.b_length < MOST ? l.b_length : MOST, l.b);
}

tr_status tr_comm_same(tr_comm *comm, const char *what, const char *mine)
{
    if (comm->size == 1)
        return TR_OK;
    double length = (double)strlen(mine);
    TR_TRY(comm->ops->broadcast(comm, &length, 1));
    size_t n = (size_t)length, doubles = n / sizeof(double) + 1; /* and a 0 */
    double *text = tr_calloc("a comparison", doubles, sizeof *text);
    tr_status status = comm->ops->agree(comm, text ? TR_OK : TR_ERR_MEMORY);
    if (status != TR_OK || !text) {
        free(text);
        return status;
    }
    if (comm->rank == 0)
        memcpy(text, mine, n);
    status = comm->ops->broadcast(comm, text, doubles); /* not calculated with */
    if (status == TR_OK)
        status = compare_lines(comm, what, mine, (const char *)text);
    free(text);
    return comm->ops->agree(comm, status);
}
