#include "common/base/timeline.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <string.h>

#include "common/base/mem.h"

double tr_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum { STAGE, START, LENGTH, FIELDS };

struct tr_timeline {
    pthread_mutex_t lock;
    double origin;
    size_t n, room;
    bool incomplete; /* memory was short */
    double *events;  /* n x FIELDS: numbers, as comm sums them */
};

tr_timeline *tr_timeline_new(double start)
{
    tr_timeline *t = tr_calloc("the timeline", 1, sizeof *t);
    if (!t)
        return NULL;
    pthread_mutex_init(&t->lock, NULL);
    t->origin = start;
    return t;
}

void tr_timeline_free(tr_timeline *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    free(t->events);
    free(t);
}

void tr_timeline_add(tr_timeline *t, unsigned stage, double start, double end)
{
    pthread_mutex_lock(&t->lock);
    if (t->n == t->room) {
        size_t room = t->room ? 2 * t->room : 256;
        double *more = realloc(t->events, room * FIELDS * sizeof *more);
        if (more) {
            t->events = more;
            t->room = room;
        }
    }
    t->incomplete = t->incomplete || t->n == t->room;
    if (t->n < t->room) {
        double *event = t->events + FIELDS * t->n++;
        event[STAGE] = stage;
        event[START] = start - t->origin;
        event[LENGTH] = end - start;
    }
    pthread_mutex_unlock(&t->lock);
}

static bool print_events(FILE *file, const char *const *names, const double *events,
                         const double *ends, int ranks)
{
    const char *separator = "";
    size_t k = 0;
    fprintf(file, "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [");
    for (int rank = 0; rank < ranks; rank++)
        for (; k < (size_t)ends[rank]; k++) {
            const double *e = events + FIELDS * k;
            fprintf(file,
                    "%s\n{\"name\": \"%s\", \"ph\": \"X\", \"pid\": %d, \"tid\": %d, "
                    "\"ts\": %.3f, \"dur\": %.3f}",
                    separator, names[(int)e[STAGE]], rank, (int)e[STAGE], 1e6 * e[START],
                    1e6 * e[LENGTH]);
            separator = ",";
        }
    fprintf(file, "\n]}\n");
    return !ferror(file);
}

static tr_status write_file(const char *path, const char *const *names,
                            const double *events, const double *ends, int ranks)
{
    FILE *file = fopen(path, "w");
    bool good = file && print_events(file, names, events, ends, ranks);
    if (file && fclose(file) != 0)
        good = false;
    if (good)
        return TR_OK;
    tr_status status = tr_fail(TR_ERR_DATA, "%s: the timeline cannot be written: %s",
                               path, strerror(errno));
    if (file)
        remove(path);
    return status;
}

tr_status tr_timeline_write(tr_timeline *t, tr_comm *comm, const char *const *names,
                            const char *path)
{
    size_t ranks = (size_t)comm->size, all = 0, before = 0;
    double *ends = tr_calloc("the timeline", ranks, sizeof *ends);
    tr_status status = ends ? TR_OK : TR_ERR_MEMORY;
    if (t->incomplete)
        status = tr_fail(TR_ERR_MEMORY, "not enough memory for the timeline");
    status = comm->ops->agree(comm, status);
    if (status != TR_OK) {
        free(ends);
        return status;
    }
    TR_ASSERT(ends);
    ends[comm->rank] = (double)t->n;
    status = tr_comm_gather(comm, ends, ranks);
    for (size_t r = 0; r < ranks; r++) {
        before = (int)r == comm->rank ? all : before;
        all += (size_t)ends[r];
        ends[r] = (double)all;
    }
    double *events = tr_calloc("the timeline", all * FIELDS, sizeof *events);
    if (status == TR_OK && !events)
        status = TR_ERR_MEMORY;
    status = comm->ops->agree(comm, status);
    TR_ASSERT(status != TR_OK || events);
    if (status == TR_OK && t->n)
        memcpy(events + FIELDS * before, t->events, FIELDS * t->n * sizeof *events);
    if (status == TR_OK)
        status = tr_comm_gather(comm, events, FIELDS * all);
    if (status == TR_OK && comm->rank == 0)
        status = write_file(path, names, events, ends, comm->size);
    free(events);
    free(ends);
    return comm->ops->agree(comm, status);
}
