/* tiltrec_solve: an algorithm by its name, on arrays. */
#include <stdlib.h>
#include <string.h>

#include "common/library/library.h"
#include "common/base/mem.h"

/* ---- options as words ---- */

typedef struct words {
    char *text; /* of all, each ended by a 0 */
    char **argv;
    int argc;
} words;

static void free_words(words *w)
{
    free(w->text);
    free(w->argv);
}

/* "iterations=30 positive" as a command line: { "", "--iterations=30", "--positive" }. */
static tr_status split(const char *options, words *w)
{
    size_t length = strlen(options);
    w->text = tr_calloc("the options", 3 * length + 4, 1);
    w->argv = tr_calloc("the options", length / 2 + 3, sizeof *w->argv);
    if (!w->text || !w->argv)
        return TR_ERR_MEMORY;
    char *to = w->text;
    w->argv[w->argc++] = to++;
    for (const char *at = options; *(at += strspn(at, " \t\n"));) {
        size_t n = strcspn(at, " \t\n");
        const char *dashes = strncmp(at, "--", 2) == 0 ? "" : "--";
        w->argv[w->argc++] = to;
        to = stpcpy(to, dashes);
        memcpy(to, at, n);
        to += n + 1;
        at += n;
    }
    return TR_OK;
}

static tr_status parse(const tr_algorithm *a, const words *w, void *params)
{
    const tr_option_group group = {a->name, a->options, a->n_options, params};
    tr_command_line line = {0};
    tr_status status = tr_options_parse(&group, 1, "DATA", w->argc, w->argv, &line);
    tr_command_line_free(&line);
    return status;
}

/* ---- the caller's progress ---- */

typedef struct listener {
    tiltrec_progress *progress;
    void *self;
    long iteration;
} listener;

static tr_status begin_anew(void *self, long *iteration)
{
    (void)self;
    *iteration = 0;
    return TR_OK;
}

/* Nothing is ever saved: this only is the place that each iteration passes. */
static tr_status tell(void *self, bool *save, bool *stop)
{
    listener *l = self;
    *save = *stop = false;
    if (l->progress && l->progress(l->self, ++l->iteration))
        return tr_fail(TR_ERR_STOPPED, "stopped after iteration %ld", l->iteration);
    return TR_OK;
}

/* ---- the run ---- */

/* NULL, with a sentence, where there is none. */
static const tr_algorithm *find(const char *name)
{
    const tr_algorithm *a = tr_algorithm_find(name);
    char names[128] = "";
    for (size_t k = 0, used = 0; !a && tr_algorithm_at(k) && used < sizeof names; k++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", k ? ", " : "",
                                 tr_algorithm_at(k)->name);
    if (!a)
        (void)tr_fail(TR_ERR_USAGE, "no algorithm is called %s; there are: %s", name,
                      names);
    return a;
}

/* The projections are copied, as algorithms may use their memory; in the library's layout
 * the volume need not be. */
static tr_status run(tiltrec_operator *op, const tr_linop *A, const void *params,
                     const float *projections, float *volume, unsigned flags,
                     listener *progress)
{
    const tr_backend *backend = op->job.backend;
    tr_vec b, x;
    TR_TRY(tr_library_projections(op, projections, true, flags, &op->p, &b));
    if (b.data == projections) {
        TR_TRY(tr_library_provide(op, &op->p));
        TR_TRY(backend->copy(op->job.device, &b, &op->p));
        b = op->p;
    }
    bool initial = (flags & TILTREC_INITIAL) != 0;
    TR_TRY(tr_library_volume(op, volume, initial, flags, &op->x, &x));
    if (!initial)
        TR_TRY(backend->fill(op->job.device, &x, 0.0f));
    tr_history history = {0};
    const tr_saver saver = {.self = progress, .resume = begin_anew, .due = tell};
    tr_context context = {.A = A,
                          .saver = &saver,
                          .starts_at_zero = !initial,
                          .rows_together = op->plan.coupled,
                          .history = &history};
    tr_status status = tr_algorithm_run(op->job.algorithm, &context, params, &b, &x);
    tr_context_end(&context);
    tr_history_free(&history);
    TR_TRY(status);
    return tr_library_give_volume(op, &x, volume, flags);
}

/* With an operator of its own: filters leave a mark on it. */
static tr_status reconstruct(tiltrec_operator *op, const tr_algorithm *a,
                             const void *params, const float *projections, float *volume,
                             unsigned flags, listener *progress)
{
    const tr_algorithm *before = op->job.algorithm;
    tr_volume_operator *own = NULL;
    if ((flags & TILTREC_INITIAL) && !(a->needs & TR_USES_INITIAL))
        return tr_fail(TR_ERR_USAGE, "%s does not start from an initial volume", a->name);
    if (a->check)
        TR_TRY(a->check(params, op->job.geometry.n_views));
    op->job.algorithm = a;
    op->job.params = (void *)params;
    tr_status status = tr_volume_operator_new(&op->job, &op->plan, &own);
    if (status == TR_OK)
        status =
            run(op, tr_volume_linop(own), params, projections, volume, flags, progress);
    tr_volume_operator_free(own);
    op->job.algorithm = before;
    op->job.params = NULL;
    return status;
}

int tiltrec_solve(tiltrec_operator *op, const char *algorithm, const char *options,
                  const float *projections, float *volume, unsigned flags,
                  tiltrec_progress *progress, void *self)
{
    const unsigned allowed =
        TILTREC_YSX | TILTREC_NATIVE | TILTREC_ON_DEVICE | TILTREC_INITIAL;
    listener l = {progress, self, 0};
    words w = {0};
    const tr_algorithm *a = find(algorithm);
    if (!a)
        return TILTREC_BAD_USAGE;
    void *params = NULL;
    tr_status status = split(options ? options : "", &w);
    if (status == TR_OK && !(params = tr_calloc("the options", 1, a->params_size)))
        status = TR_ERR_MEMORY;
    if (status == TR_OK)
        status = parse(a, &w, params);
    if (status == TR_OK && (status = tr_library_begin(op, flags, allowed)) == TR_OK) {
        status = reconstruct(op, a, params, projections, volume, flags, &l);
        tr_library_end(op);
    }
    free(params);
    free_words(&w);
    return (int)status;
}
