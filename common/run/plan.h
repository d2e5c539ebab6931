/* What the plans of both methods count in the same way, besides their own vectors. */
#ifndef TR_PLAN_H
#define TR_PLAN_H

#include "common/algorithms/filter_design.h"
#include "common/run/job.h"

#define TR_PLAN_DEVICE_FIXED ((size_t)320 << 20) /* of a filter, sums, tables */

/* Libraries, stacks, tables; with a GPU, what its driver and cuFFT take of the host. */
static inline size_t tr_plan_fixed(const tr_job *job)
{
    return (size_t)(job->backend->separate_memory ? 512 : 64) << 20;
}

/* What the threads filter rows in. */
static inline size_t tr_plan_filter_bytes(const tr_job *job)
{
    return (size_t)job->threads * tr_fbp_length(job->geometry.n_u) * TR_LANES * 2 *
           sizeof(float);
}

static inline tr_status tr_plan_uncountable(void)
{
    return tr_fail(TR_ERR_MEMORY, "the volume is too large to be counted in bytes");
}

#endif
