#include "common/program/batch.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/file_lock.h"
#include "common/base/file_name.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/stop.h"
#include "common/base/timeline.h"
#include "common/program/alike.h"
#include "common/program/app.h"

/* What one process knows. */
typedef struct worker {
    tr_batch *b;
    tr_comm *all, *group;
    int number, groups; /* of this group; how many there are */
    bool leads;         /* it is the first process of its group */
    char id[80];        /* of this batch, in the logs that it writes */
} worker;

/* ---- claims ---- */

/* Another process of this batch has had it. */
static bool is_tried(const worker *w, const char *log)
{
    char line[sizeof w->id + 8] = "";
    FILE *file = fopen(log, "re");
    bool tried = file && fgets(line, sizeof line, file) && strcmp(line, w->id) == 0;
    if (file)
        fclose(file);
    return tried;
}

static bool lock_is_there(const char *path)
{
    char *name = tr_name_beside(path, "lock");
    bool there = name && access(name, F_OK) == 0;
    free(name);
    return there;
}

/* An error where it cannot be written at all; *log is open if the entry is now ours to
 * make, which leaves its state open. */
static tr_status claim(const worker *w, tr_batch_entry *e, FILE **log)
{
    char *path = tr_format_string("%s.log", e->base);
    if (!path)
        return TR_ERR_MEMORY;
    tr_status status = tr_lock_take(e->tomogram);
    if (status != TR_OK && lock_is_there(e->tomogram)) {
        e->state = TR_BATCH_AWAY;
        status = TR_OK;
    } else if (status == TR_OK && is_tried(w, path)) {
        e->state = TR_BATCH_AWAY;
    } else if (status == TR_OK) {
        int n;
        char **arguments = tr_batch_arguments(w->b, e, &n);
        if (!arguments)
            status = TR_ERR_MEMORY;
        else if (tr_batch_is_there(e, n, arguments))
            e->state = TR_BATCH_THERE;
        tr_arguments_free(arguments);
        int fd = status == TR_OK && e->state == TR_BATCH_OPEN ? tr_file_create(path, 0666)
                                                              : -1;
        *log = fd >= 0 ? fdopen(fd, "w") : NULL;
        if (fd >= 0 && !*log)
            close(fd);
        if (status == TR_OK && e->state == TR_BATCH_OPEN && !*log)
            status = tr_fail(TR_ERR_DATA, "the log %s cannot be made: %s", path,
                             strerror(errno));
        if (*log)
            fputs(w->id, *log);
    }
    free(path);
    return status;
}

/* ---- one series ---- */

static void note_failure(tr_batch_entry *e)
{
    e->state = TR_BATCH_FAILED;
    snprintf(e->sentence, sizeof e->sentence, "%.599s", tr_error());
}

/* Its log says what a run says; standard error a line a series. */
static tr_status make(const worker *w, tr_batch_entry *e, FILE *log)
{
    double start = tr_now();
    int n;
    char **arguments = tr_batch_arguments(w->b, e, &n);
    TR_TRY(w->group->ops->agree(w->group, arguments ? TR_OK : TR_ERR_MEMORY));
    tr_log_to(log);
    w->group->agreed_failure = false;
    tr_status status = tr_app_run(w->b->program, w->group, n, arguments);
    tr_log_to(NULL);
    tr_log_setup(w->b->command.options.quiet ? TR_LOG_QUIET : TR_LOG_NORMAL, w->leads,
                 w->b->program->name);
    tr_arguments_free(arguments);
    e->seconds = tr_now() - start;
    e->state = status == TR_OK ? TR_BATCH_MADE : TR_BATCH_OPEN;
    if (status != TR_OK && status != TR_ERR_STOPPED)
        note_failure(e);
    return status == TR_ERR_STOPPED ? status : TR_OK;
}

static void say_state(const worker *w, const tr_batch_entry *e)
{
    size_t number = (size_t)(e - w->b->entry) + 1, n = w->b->n;
    bool dry = w->b->command.options.dry_run;
    if (e->state == TR_BATCH_MADE)
        tr_info("%zu of %zu: %s %s, %.1f s", number, n, e->tomogram,
                dry ? "could be made" : "is complete", e->seconds);
    else if (e->state == TR_BATCH_THERE)
        tr_info("%zu of %zu: %s was complete", number, n, e->tomogram);
    else if (e->state == TR_BATCH_FAILED)
        tr_warn("%zu of %zu: %s failed: %s", number, n, e->series ? e->series : e->item,
                e->sentence);
}

/* On the first process of a group: whether the group is to make it. A dry run writes
 * nothing by which it could be claimed. */
static bool take(const worker *w, size_t k, FILE **log)
{
    tr_batch_entry *e = &w->b->entry[k];
    *log = NULL;
    if (w->b->command.options.dry_run || e->state == TR_BATCH_FAILED) {
        bool mine = k % (size_t)w->groups == (size_t)w->number;
        if (mine && e->state == TR_BATCH_OPEN)
            *log = fopen("/dev/null", "we");
        else if (mine)
            say_state(w, e);
        return *log;
    }
    if (claim(w, e, log) != TR_OK)
        note_failure(e);
    if (e->state != TR_BATCH_AWAY && e->state != TR_BATCH_OPEN)
        say_state(w, e);
    return e->state == TR_BATCH_OPEN;
}

static tr_status work(const worker *w)
{
    for (size_t k = 0; k < w->b->n; k++) {
        FILE *log = NULL;
        enum { LEAVE, MAKE, STOP };
        double what = LEAVE;
        if (w->leads && tr_stop_reason())
            what = STOP;
        else if (w->leads && take(w, k, &log))
            what = MAKE;
        tr_status status = w->group->ops->broadcast(w->group, &what, 1);
        if (status == TR_OK && what == MAKE)
            status = make(w, &w->b->entry[k], log);
        if (log)
            fclose(log);
        tr_lock_release_all();
        if (what == MAKE && status == TR_OK && w->leads)
            say_state(w, &w->b->entry[k]);
        if (status != TR_OK || what == STOP)
            return tr_fail(TR_ERR_STOPPED,
                           "stopped after %zu of %zu series; the same "
                           "batch goes on from there",
                           k, w->b->n);
    }
    return TR_OK;
}

/* ---- what all of them did ---- */

/* Text as numbers that are the same after adding zeros, six bytes each. */
enum { BYTES = 6, WORDS = (sizeof((tr_batch_entry *)0)->sentence + BYTES - 1) / BYTES };

static void pack(const tr_batch_entry *e, double *v)
{
    v[0] = e->state;
    v[1] = e->seconds;
    for (size_t k = 0; k < sizeof e->sentence; k++)
        v[2 + k / BYTES] +=
            (double)(unsigned char)e->sentence[k] * ldexp(1.0, 8 * (int)(k % BYTES));
}

static void unpack(const double *v, tr_batch_entry *e)
{
    e->state = (tr_batch_state)v[0];
    e->seconds = v[1];
    for (size_t k = 0; k < sizeof e->sentence; k++)
        e->sentence[k] = (char)((uint64_t)v[2 + k / BYTES] >> (8 * (k % BYTES)));
}

static bool tells_more(double state, tr_batch_state than)
{
    return state > than || (than == TR_BATCH_AWAY && state > TR_BATCH_AWAY);
}

/* Each group's table in turn, to all. */
static tr_status gather(const worker *w)
{
    enum { WIDTH = 2 + WORDS };
    tr_batch *b = w->b;
    double *table = tr_calloc("the table of a batch", b->n, WIDTH * sizeof *table);
    tr_batch_entry *merged = tr_calloc("the table of a batch", b->n, sizeof *merged);
    tr_status status =
        w->all->ops->agree(w->all, table && merged ? TR_OK : TR_ERR_MEMORY);
    for (int g = 0; g < w->groups && status == TR_OK; g++) {
        TR_ASSERT(table && merged);
        memset(table, 0, b->n * WIDTH * sizeof *table);
        for (size_t k = 0; k < b->n && g == w->number && w->leads; k++)
            pack(&b->entry[k], table + k * WIDTH);
        status = w->all->ops->sum(w->all, table, b->n * WIDTH);
        for (size_t k = 0; k < b->n; k++)
            if (tells_more(table[k * WIDTH], merged[k].state))
                unpack(table + k * WIDTH, &merged[k]);
    }
    for (size_t k = 0; k < b->n && status == TR_OK; k++) {
        TR_ASSERT(merged);
        b->entry[k].state = merged[k].state;
        b->entry[k].seconds = merged[k].seconds;
        memcpy(b->entry[k].sentence, merged[k].sentence, sizeof merged[k].sentence);
    }
    free(table);
    free(merged);
    return status;
}

static tr_status conclude(const worker *w, tr_status worked)
{
    const tr_batch *b = w->b;
    size_t n[TR_BATCH_FAILED + 1] = {0};
    bool dry = b->command.options.dry_run;
    for (size_t k = 0; k < b->n; k++)
        n[b->entry[k].state]++;
    if (w->all->rank == 0 && !dry)
        TR_TRY(tr_batch_summarize(b));
    size_t good = n[TR_BATCH_MADE] + n[TR_BATCH_THERE];
    tr_info("batch: %zu of %zu series %s, %zu of them before; %zu failed%s", good, b->n,
            dry ? "could be made" : "are complete", n[TR_BATCH_THERE], n[TR_BATCH_FAILED],
            n[TR_BATCH_AWAY] || n[TR_BATCH_OPEN] ? ", and" : "");
    if (n[TR_BATCH_AWAY])
        tr_info("batch: %zu are made by other runs", n[TR_BATCH_AWAY]);
    if (worked != TR_OK)
        return worked;
    if (n[TR_BATCH_FAILED] && dry)
        return tr_fail(TR_ERR_DATA, "%zu of %zu series failed", n[TR_BATCH_FAILED], b->n);
    if (n[TR_BATCH_FAILED])
        return tr_fail(TR_ERR_DATA,
                       "%zu of %zu series failed; %s.html and %s.csv say which, and why",
                       n[TR_BATCH_FAILED], b->n, b->summary, b->summary);
    return TR_OK;
}

/* ---- the batch ---- */

static tr_status make_folder(const tr_batch *b)
{
    if (!b->folder || b->command.options.dry_run || mkdir(b->folder, 0777) == 0 ||
        errno == EEXIST)
        return TR_OK;
    return tr_fail(TR_ERR_DATA, "the folder %s cannot be made: %s", b->folder,
                   strerror(errno));
}

static tr_status name_batch(worker *w)
{
    char host[40] = "";
    struct timespec now;
    double name[sizeof w->id] = {0};
    gethostname(host, sizeof host - 1);
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(w->id, sizeof w->id, "batch %s-%ld-%lld.%09ld\n", host, (long)getpid(),
             (long long)now.tv_sec, now.tv_nsec);
    for (size_t k = 0; k < sizeof w->id; k++)
        name[k] = (unsigned char)w->id[k];
    TR_TRY(w->all->ops->broadcast(w->all, name, sizeof w->id));
    for (size_t k = 0; k < sizeof w->id; k++)
        w->id[k] = (char)name[k];
    return TR_OK;
}

static tr_status same_list(const worker *w)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    for (size_t k = 0; out && k < w->b->n; k++)
        fprintf(out, "%s to %s\n", w->b->entry[k].item, w->b->entry[k].tomogram);
    bool good = out && !ferror(out);
    good = out && fclose(out) == 0 && good;
    tr_status status = w->all->ops->agree(w->all, good ? TR_OK : TR_ERR_MEMORY);
    if (status == TR_OK)
        status = tr_comm_same(w->all, "series of the batch", text);
    free(text);
    return status;
}

static tr_status run_groups(worker *w)
{
    int most = w->all->size, wanted = (int)w->b->command.options.ranks_per_series;
    int each = wanted < most ? wanted : most;
    w->groups = (most + each - 1) / each;
    w->number = w->all->rank / each;
    TR_TRY(w->all->ops->split(w->all, w->number, &w->group));
    w->leads = w->group->rank == 0;
    tr_log_setup(w->b->command.options.quiet ? TR_LOG_QUIET : TR_LOG_NORMAL, w->leads,
                 w->b->program->name);
    tr_status worked = work(w);
    if (w->group != w->all)
        w->group->ops->finish(w->group);
    char stopped[200];
    snprintf(stopped, sizeof stopped, "%.199s", tr_error());
    w->all->agreed_failure = false;
    double asked = worked != TR_OK;
    TR_TRY(w->all->ops->sum(w->all, &asked, 1));
    TR_TRY(gather(w));
    tr_log_setup(w->b->command.options.quiet ? TR_LOG_QUIET : TR_LOG_NORMAL,
                 w->all->rank == 0, w->b->program->name);
    if (asked != 0.0)
        worked = tr_fail(TR_ERR_STOPPED, "%s", worked != TR_OK ? stopped : "stopped");
    return w->all->ops->agree(w->all, conclude(w, worked));
}

tr_status tr_batch_main(const tr_program *program, tr_comm *comm, int argc, char **argv)
{
    tr_batch b = {.program = program};
    worker w = {.b = &b, .all = comm};
    tr_log_setup(TR_LOG_NORMAL, comm->rank == 0, program->name);
    tr_status status = tr_alike_command(comm, program, argc, argv);
    if (status == TR_OK)
        status = comm->ops->agree(comm, tr_batch_list(&b, program, argc, argv));
    if (status == TR_OK)
        status = same_list(&w);
    if (status == TR_OK)
        status = comm->ops->agree(comm, comm->rank == 0 ? make_folder(&b) : TR_OK);
    if (status == TR_OK)
        status = name_batch(&w);
    if (status == TR_OK)
        status = run_groups(&w);
    if (status != TR_OK && comm->rank == 0)
        tr_log_error(tr_error());
    tr_batch_free(&b);
    return status;
}
