#include "tiltrecz/saver.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/file_name.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/stop.h"
#include "common/tomogram/checkpoint.h"
#include "common/tomogram/leftovers.h"

enum { GENERATIONS = 2 }; /* written in turn, so that one is always complete */

struct tr_volume_saver {
    const tr_job *job;
    tr_saver ops;
    char *path[GENERATIONS];
    int generation; /* to be written next */
    double saved;   /* when */
    tr_checkpoint *file;
};

/* ---- going on ---- */

/* The latest iteration that every process has; 0 if there is none. Collective. */
static tr_status find_common(const tr_volume_saver *s, const long *mine, long *iteration)
{
    const tr_comm *comm = s->job->comm;
    size_t n = (size_t)comm->size;
    double *all = tr_calloc("checkpoints", GENERATIONS * n, sizeof *all);
    tr_status ready = s->job->comm->ops->agree(s->job->comm, all ? TR_OK : TR_ERR_MEMORY);
    if (ready != TR_OK || !all) {
        free(all);
        return ready;
    }
    for (int g = 0; g < GENERATIONS; g++)
        all[GENERATIONS * (size_t)comm->rank + (size_t)g] = (double)mine[g];
    tr_status status = tr_comm_gather(s->job->comm, all, GENERATIONS * n);
    *iteration = 0;
    for (int g = 0; g < GENERATIONS; g++) {
        size_t holders = 0;
        for (size_t r = 0; r < n; r++)
            holders += all[2 * r] == all[g] || all[2 * r + 1] == all[g];
        if (holders == n && (long)all[g] > *iteration)
            *iteration = (long)all[g];
    }
    free(all);
    return status;
}

/* Checkpoints beside the output: whether there are any, and one of a run with another
 * number of processes. */
typedef struct others {
    const tr_volume_saver *s;
    bool any;
    long ranks;
    char *file;
} others;

static void look_at(void *self, const char *file)
{
    others *o = self;
    long ranks;
    if (!tr_leftover_is_checkpoint(o->s->job->output_spec.path, tr_name_only(file),
                                   &ranks))
        return;
    o->any = true;
    if (ranks == o->s->job->comm->size || o->file)
        return;
    o->ranks = ranks;
    o->file = tr_strdup(file);
}

/* Nothing that all processes have: because there were other ones? */
static tr_status check_others(const tr_volume_saver *s)
{
    others found = {.s = s};
    tr_status status = tr_leftovers_each(s->job->output_spec.path, look_at, &found);
    if (status == TR_OK && found.file)
        status = tr_fail(TR_ERR_USAGE,
                         "%s is of a run with %ld processes, and these are %d; start %ld "
                         "with mpiexec -n, or leave out --resume to start anew",
                         found.file, found.ranks, s->job->comm->size, found.ranks);
    else if (status == TR_OK && found.any)
        tr_warn("no checkpoint beside the output is complete: this run starts anew");
    else if (status == TR_OK)
        tr_info("there is no checkpoint to go on from: this run starts anew");
    free(found.file);
    return status;
}

static tr_status saver_resume(void *self, long *iteration)
{
    tr_volume_saver *s = self;
    const tr_output_spec *spec = &s->job->output_spec;
    tr_comm *comm = s->job->comm;
    long mine[GENERATIONS] = {0};
    *iteration = 0;
    if (!spec->resume)
        return TR_OK;
    tr_status status = TR_OK;
    for (int g = 0; g < GENERATIONS && status == TR_OK; g++)
        status = tr_checkpoint_look(s->path[g], spec->fingerprint, &mine[g]);
    TR_TRY(comm->ops->agree(comm, status));
    TR_TRY(comm->ops->agree(comm, find_common(s, mine, iteration)));
    if (*iteration == 0)
        return comm->ops->agree(comm, comm->rank == 0 ? check_others(s) : TR_OK);
    int g = mine[0] == *iteration ? 0 : 1;
    s->generation = 1 - g; /* the other one is written over first */
    tr_info("going on after iteration %ld of an earlier run", *iteration);
    return comm->ops->agree(comm, tr_checkpoint_open(s->path[g], &s->file));
}

static tr_status saver_get(void *self, void *data, size_t bytes)
{
    return tr_checkpoint_get(((tr_volume_saver *)self)->file, data, bytes);
}

/* ---- keeping ---- */

static tr_status saver_due(void *self, bool *save, bool *stop)
{
    tr_volume_saver *s = self;
    tr_comm *comm = s->job->comm;
    double votes[2] = {tr_now() - s->saved >= s->job->output_spec.every,
                       tr_stop_reason() != NULL};
    TR_TRY(comm->ops->sum(comm, votes, 2));
    *stop = votes[1] > 0.0;
    *save = votes[0] > 0.0 || *stop;
    return TR_OK;
}

static tr_status saver_begin(void *self, long iteration)
{
    tr_volume_saver *s = self;
    tr_checkpoint_abandon(s->file); /* what was read */
    s->file = NULL;
    return tr_checkpoint_create(s->path[s->generation], s->job->output_spec.fingerprint,
                                iteration, &s->file);
}

static tr_status saver_put(void *self, const void *data, size_t bytes)
{
    return tr_checkpoint_put(((tr_volume_saver *)self)->file, data, bytes);
}

static tr_status saver_end(void *self)
{
    tr_volume_saver *s = self;
    tr_status status = tr_checkpoint_commit(s->file);
    s->file = NULL;
    s->generation = 1 - s->generation;
    s->saved = tr_now();
    return s->job->comm->ops->agree(s->job->comm, status);
}

/* ---- life ---- */

static tr_status make_paths(tr_volume_saver *s)
{
    for (int g = 0; g < GENERATIONS; g++) {
        char kind[80];
        snprintf(kind, sizeof kind, "checkpoint-%d-of-%d.%d", s->job->comm->rank,
                 s->job->comm->size, g);
        s->path[g] = tr_name_beside(s->job->output_spec.path, kind);
        if (!s->path[g])
            return TR_ERR_MEMORY;
    }
    return TR_OK;
}

tr_status tr_volume_saver_new(const tr_job *job, tr_volume_saver **saver)
{
    *saver = NULL;
    if (!(job->output_spec.every > 0.0))
        return TR_OK;
    tr_volume_saver *s = tr_calloc("checkpoints", 1, sizeof *s);
    tr_status status = s ? TR_OK : TR_ERR_MEMORY;
    if (s) {
        s->job = job;
        s->saved = tr_now();
        s->ops = (tr_saver){.self = s,
                            .resume = saver_resume,
                            .get = saver_get,
                            .due = saver_due,
                            .begin = saver_begin,
                            .put = saver_put,
                            .end = saver_end};
        status = make_paths(s);
    }
    status = job->comm->ops->agree(job->comm, status);
    if (status == TR_OK) {
        *saver = s;
        tr_stop_only_asks(true);
    } else {
        tr_volume_saver_free(s);
    }
    return status;
}

const tr_saver *tr_volume_saver_ops(const tr_volume_saver *s)
{
    return s ? &s->ops : NULL;
}

void tr_volume_saver_free(tr_volume_saver *s)
{
    if (!s)
        return;
    tr_stop_only_asks(false);
    tr_checkpoint_abandon(s->file);
    for (int g = 0; g < GENERATIONS; g++)
        free(s->path[g]);
    free(s);
}

void tr_volume_saver_forget(const tr_job *job)
{
    tr_volume_saver s = {.job = job};
    bool known = make_paths(&s) == TR_OK;
    for (int g = 0; g < GENERATIONS; g++) {
        if (known)
            tr_checkpoint_remove(s.path[g]);
        free(s.path[g]);
    }
}
