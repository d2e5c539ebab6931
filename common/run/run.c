#include "common/run/run.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/align.h"
#include "common/run/halves.h"
#include "common/run/relion_star.h"
#include "common/run/second.h"

static int default_threads(const tr_comm *comm)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN), share = online / comm->local_size;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) < share)
        share = CPU_COUNT(&set);
    return share > 0 ? (int)share : 1;
}

/* The narrowest of the processes' instruction sets, so that a row does not depend on
 * which of them makes it; 0 where the backend has one. Collective. */
static tr_status common_instructions(const tr_backend *backend, tr_comm *comm,
                                     int *widest)
{
    size_t n = (size_t)comm->size;
    *widest = 0;
    if (!backend->widest)
        return TR_OK;
    double *all = tr_calloc("ranks", n, sizeof *all);
    int mine = 0;
    tr_status status =
        comm->ops->agree(comm, all ? backend->widest(&mine) : TR_ERR_MEMORY);
    if (status == TR_OK) {
        TR_ASSERT(all);
        all[comm->rank] = mine;
        status = comm->ops->sum(comm, all, n);
    }
    *widest = mine;
    bool differ = false;
    for (size_t k = 0; k < n && status == TR_OK; k++) {
        differ = differ || all[k] != all[0];
        *widest = (int)all[k] < *widest ? (int)all[k] : *widest;
    }
    if (differ && status == TR_OK)
        tr_info(
            "the processes have different instruction sets; all use the one that each "
            "of them has");
    free(all);
    return status;
}

/* How many processes have the same device as this one; all 1 or more. */
static int count_sharers(const double *ids, int ranks, int rank)
{
    int sharers = 0;
    for (int k = 0; k < ranks; k++) {
        bool same = true;
        for (size_t i = 0; i < TR_DEVICE_ID; i++)
            same = same && ids[(size_t)k * TR_DEVICE_ID + i] ==
                               ids[(size_t)rank * TR_DEVICE_ID + i];
        sharers += same;
    }
    return sharers;
}

/* Processes that were given the same device share its memory out, whatever number each
 * of them knows it by. Collective, after all have opened theirs. */
static tr_status share_device(const tr_job *job)
{
    tr_comm *comm = job->comm;
    if (comm->size == 1 || !job->backend->divide)
        return TR_OK;
    size_t n = (size_t)comm->size * TR_DEVICE_ID;
    double *ids = tr_calloc("the processes' devices", n, sizeof *ids);
    unsigned char own[TR_DEVICE_ID];
    tr_status status = comm->ops->agree(
        comm, ids ? job->backend->identity(job->device, own) : TR_ERR_MEMORY);
    if (status == TR_OK) {
        TR_ASSERT(ids);
        for (size_t i = 0; i < TR_DEVICE_ID; i++)
            ids[(size_t)comm->rank * TR_DEVICE_ID + i] = own[i];
        status = tr_comm_gather(comm, ids, n);
    }
    if (status == TR_OK)
        status =
            job->backend->divide(job->device, count_sharers(ids, comm->size, comm->rank));
    free(ids);
    return status;
}

tr_status tr_run_backend(tr_run *run)
{
    const tr_command *c = &run->command;
    tr_job *job = &run->volumes[0].job;
    tr_comm *comm = job->comm;
    job->threads = c->options.threads ? (int)c->options.threads : default_threads(comm);
    double ram = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    job->memory =
        c->options.memory ? c->options.memory : (size_t)(ram / 2.0 / comm->local_size);
    job->backend = tr_backend_find(c->program->backend);
    if (!job->backend)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "%s was built without %s; use %s, or build it again with %s",
                       c->program->name, c->program->needs, c->program->instead,
                       c->program->build_option);
    int widest;
    TR_TRY(common_instructions(job->backend, comm, &widest));
    const tr_backend_settings settings = {.threads = job->threads,
                                          .local_rank = comm->local_rank,
                                          .widest = widest,
                                          .wait_asleep = true,
                                          .devices = c->device_options.devices,
                                          .kernel = (tr_kernel)c->device_options.kernel,
                                          .managed = c->device_options.memory ==
                                                     TR_DEVICE_MANAGED};
    TR_TRY(comm->ops->agree(comm, job->backend->open(&settings, &job->device)));
    return share_device(job);
}

tr_status tr_run_files(tr_run *run)
{
    tr_reconstruction *all = &run->volumes[0];
    if (run->command.options.align) {
        run->inputs.align = tr_run_align;
        run->inputs.align_data = run;
    }
    TR_TRY(tr_inputs_open(&run->inputs, &run->command)); /* may choose the algorithm */
    all->job.algorithm = run->command.algorithm;
    all->job.params = run->command.params;
    if (all->job.comm->rank == 0)
        TR_TRY(tr_inputs_check_order(&run->inputs));
    all->command = &run->command;
    all->inputs = &run->inputs;
    run->n_volumes = 1;
    TR_TRY(tr_reconstruction_files(all));
    TR_TRY(tr_second_files(run));
    TR_TRY(tr_halves_files(run));
    return tr_relion_star_check(run);
}

tr_status tr_run_series(tr_run *run, tr_comm *comm)
{
    TR_TRY(tr_reconstruction_series(&run->volumes[0], comm));
    TR_TRY(tr_run_check_hand(run, comm));
    TR_TRY(tr_run_check_alignment(run, comm));
    return tr_halves_series(run, comm);
}

void tr_run_discard(tr_run *run)
{
    for (size_t k = 0; k < run->n_volumes; k++) {
        tr_job *job = &run->volumes[k].job;
        tr_output_discard(job->output);
        job->output = NULL;
    }
}

void tr_run_free(tr_run *run)
{
    tr_job *job = &run->volumes[0].job;
    tr_timeline_free(job->timeline);
    if (job->device)
        job->backend->close(job->device);
    for (size_t k = 0; k < TR_MOST_VOLUMES; k++)
        tr_reconstruction_free(&run->volumes[k]);
    tr_second_free(run->second);
    tr_frc_free(&run->frc);
    tr_alignment_check_free(&run->alignment.check);
    tr_inputs_free(&run->inputs);
    tr_command_free(&run->command);
}
