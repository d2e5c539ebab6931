#include "common/base/first_error.h"
#include "common/base/partition.h"
#include "common/series/series_private.h"

tr_status tr_series_share(const tr_comm *comm, size_t n_views, int threads,
                          const tr_view_work *work)
{
    size_t first, count;
    tr_partition(n_views, (size_t)comm->size, (size_t)comm->rank, &first, &count);
    tr_first_error failure = TR_NO_ERROR_YET;
#pragma omp parallel num_threads(threads)
    {
        void *room = NULL;
        tr_status ready = work->begin(work->data, &room);
#pragma omp for schedule(dynamic)
        for (size_t k = first; k < first + count; k++)
            if (tr_first_error_needs(&failure, k))
                tr_first_error_note(&failure, k,
                                    ready == TR_OK ? work->view(work->data, k, room)
                                                   : ready);
        work->end(room);
    }
    return tr_first_error_end(&failure);
}
