#include "job.h"

#include <time.h>

const char *const tr_stage_names[TR_N_STAGES] = {"reading",    "uploading",   "filtering",
                                                 "projecting", "downloading", "writing"};

double tr_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void tr_job_spent(tr_job *job, tr_stage stage, double start)
{
    double now = tr_now();
    job->seconds[stage] += now - start;
    if (job->timeline)
        tr_timeline_add(job->timeline, stage, start, now);
}
