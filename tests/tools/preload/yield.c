/* A library to be preloaded (LD_PRELOAD) under mpiexec, for tests: more ranks than cores.
 * MPICH waits for messages by asking UCX for them without pause, so that a rank that
 * waits takes the core from the one that it waits for; here it leaves it. Nothing else
 * changes, and nothing at all with an MPI that does not use UCX. */
#include <dlfcn.h>
#include <sched.h>
#include <unistd.h>

#define PATIENCE 20 /* questions in a row to which nothing comes */
#define PAUSE 20    /* microseconds, after that */

unsigned ucp_worker_progress(void *worker);

unsigned ucp_worker_progress(void *worker)
{
    static unsigned (*progress)(void *);
    static _Thread_local int idle;

    if (!progress)
        *(void **)&progress = dlsym(RTLD_NEXT, "ucp_worker_progress");
    unsigned events = progress(worker);
    if (events)
        idle = 0;
    else if (++idle < PATIENCE)
        sched_yield();
    else
        usleep(PAUSE);
    return events;
}
