/* Checksums of the inputs, computed beside the reconstruction. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/sha256.h"
#include "common/base/mem.h"
#include "common/report/result.h"

typedef struct tr_checksums {
    pthread_t thread;
    atomic_bool stop; /* end early: they are not needed any more */
    tr_result *result;
} tr_checksums;

static void add_file(tr_checksums *c, tr_input_file *file)
{
    enum { STEP = 1 << 18 };
    tr_sha256 sum;
    ssize_t n = -1;
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char *buffer = fd >= 0 ? malloc(STEP) : NULL;
    tr_sha256_begin(&sum);
    while (buffer && !c->stop && (n = read(fd, buffer, STEP)) > 0)
        tr_sha256_add(&sum, buffer, (size_t)n);
    if (n == 0)
        tr_sha256_end(&sum, file->sha256);
    free(buffer);
    if (fd >= 0)
        close(fd);
}

static void *work(void *argument)
{
    tr_checksums *c = argument;
    for (size_t k = 0; k < c->result->n_inputs && !c->stop; k++)
        add_file(c, &c->result->inputs[k]);
    return NULL;
}

tr_status tr_checksums_begin(tr_result *r)
{
    tr_checksums *c = tr_calloc("checksums", 1, sizeof *c);
    if (!c)
        return TR_ERR_MEMORY;
    c->result = r;
    if (pthread_create(&c->thread, NULL, work, c) != 0) {
        free(c);
        return tr_fail(TR_ERR_MEMORY, "a thread for checksums cannot be started");
    }
    r->checksums = c;
    return TR_OK;
}

static void end(tr_result *r, bool stop)
{
    if (!r->checksums)
        return;
    r->checksums->stop = stop;
    pthread_join(r->checksums->thread, NULL);
    free(r->checksums);
    r->checksums = NULL;
}

void tr_checksums_end(tr_result *r) { end(r, false); }
void tr_checksums_abandon(tr_result *r) { end(r, true); }
