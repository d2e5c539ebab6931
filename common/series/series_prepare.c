#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/partition.h"
#include "common/series/series_private.h"

static tr_status write_prepared(const tr_series *s, size_t k, const float *image)
{
    size_t bytes = s->n_u * s->n_v * sizeof *image;
    off_t offset = (off_t)(s->place[k] * bytes);
    for (const char *from = (const char *)image; bytes;) {
        ssize_t n = pwrite(s->prepared, from, bytes, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return tr_fail(TR_ERR_DATA, "writing the binned series failed: %s",
                           strerror(errno));
        from += n, offset += n, bytes -= (size_t)n;
    }
    return TR_OK;
}

static tr_status prepare_view(tr_series *s, const tr_view_plans *plans, size_t k,
                              float *raw, float *small)
{
    const tr_view_facts facts = tr_series_facts(s, k);
    TR_TRY(tr_content_read(&s->content, k, s->image, s->views[k], 0, s->raw_v, raw));
    TR_TRY(tr_view_steps_image(plans, &facts, raw, small));
    return write_prepared(s, k, small);
}

static tr_status prepare_share(tr_comm *comm, tr_series *s, const tr_series_spec *spec)
{
    size_t first, count;
    tr_partition(s->n_views, (size_t)comm->size, (size_t)comm->rank, &first, &count);
    size_t pixels = s->raw_u * s->raw_v, each = 4 * pixels * sizeof(float);
    size_t fits = spec->memory / each;
    int workers = fits < (size_t)spec->threads ? (int)fits : spec->threads;
    workers = workers > 0 ? workers : 1;
    tr_view_plans *plans = tr_view_plans_new(&s->steps, s->raw_u, s->raw_v);
    if (!plans)
        return TR_ERR_MEMORY;
    tr_status failed = TR_OK;
    char sentence[1024] = "";
#pragma omp parallel num_threads(workers)
    {
        tr_status mine = TR_OK;
        float *raw = tr_calloc("a view to bin", pixels, sizeof *raw);
        float *small = tr_calloc("a binned view", s->n_u * s->n_v, sizeof *small);
#pragma omp for schedule(dynamic)
        for (size_t k = first; k < first + count; k++)
            if (mine == TR_OK)
                mine =
                    raw && small ? prepare_view(s, plans, k, raw, small) : TR_ERR_MEMORY;
        if (mine != TR_OK) {
#pragma omp critical
            if (failed == TR_OK) {
                failed = mine;
                strncpy(sentence, tr_error(), sizeof sentence - 1);
            }
        }
        free(raw);
        free(small);
    }
    tr_view_plans_free(plans);
    return failed == TR_OK ? TR_OK : tr_fail(failed, "%s", sentence);
}

/* Rank 0 makes the file, all open it, rank 0 removes its name: it is gone with the last
 * process however the run ends. */
tr_status tr_series_prepare(tr_comm *comm, tr_series *s, const tr_series_spec *spec)
{
    tr_status status = TR_OK;
    if (comm->rank == 0) {
        s->prepared = open(spec->scratch, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (s->prepared < 0)
            status =
                tr_fail(TR_ERR_DATA, "%s cannot be created for the binned series: %s",
                        spec->scratch, strerror(errno));
    }
    TR_TRY(comm->ops->agree(comm, status));
    if (comm->rank != 0) {
        s->prepared = open(spec->scratch, O_RDWR | O_CLOEXEC);
        if (s->prepared < 0)
            status = tr_fail(TR_ERR_DATA, "%s cannot be opened on every machine: %s",
                             spec->scratch, strerror(errno));
    }
    status = comm->ops->agree(comm, status);
    if (comm->rank == 0)
        unlink(spec->scratch);
    TR_TRY(status);
    return comm->ops->agree(comm, prepare_share(comm, s, spec));
}
