#include "common/run/job.h"

const char *const tr_stage_names[TR_N_STAGES] = {
    "allocating", "reading",     "uploading", "filtering",
    "projecting", "downloading", "writing"};

void tr_job_spent(tr_job *job, tr_stage stage, double start)
{
    double now = tr_now();
    job->seconds[stage] += now - start;
    if (job->timeline)
        tr_timeline_add(job->timeline, stage, start, now);
}
