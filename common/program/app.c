#include "common/program/app.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/help/completion.h"
#include "common/run/halves.h"
#include "common/run/second.h"
#include "common/help/help.h"
#include "common/base/file_lock.h"
#include "common/base/log.h"
#include "common/run/paths.h"
#include "common/program/alike.h"
#include "common/report/alignment_json.h"
#include "common/program/batch.h"
#include "common/report/residual_of.h"
#include "common/report/result.h"
#include "common/trial/trial.h"

/* ---- help, version, manual ---- */

static int terminal_columns(void)
{
    struct winsize window;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col >= 40)
        return window.ws_col;
    return 80;
}

/* Print what was asked for instead of a run, if anything: *done. */
static tr_status print_and_leave(const tr_command *c, int rank, bool *done)
{
    const tr_options *o = &c->options;
    *done = o->help || o->version || o->man || o->markdown || o->completion;
    if (!*done || rank != 0)
        return TR_OK;
    if (o->help)
        return tr_help_print(stdout, c, c->help_topic, terminal_columns());
    if (o->version)
        printf("%s %s\n", c->program->name, TR_VERSION);
    else if (o->man)
        tr_help_man(stdout, c);
    else if (o->markdown)
        tr_help_markdown(stdout, c);
    else
        tr_completion_print(stdout, c, o->completion);
    return TR_OK;
}

/* ---- after the run ---- */

static void print_residuals(const tr_job *job)
{
    enum { PER_LINE = 5 };
    char line[256] = "";
    if (!job->history.n || job->history.data_squares <= 0.0)
        return;
    tr_info("residual |b - A x| / |b| before each iteration:");
    for (size_t k = 0; k < job->history.n; k++) {
        double ratio =
            sqrt(fmax(job->history.squares[k], 0.0) / job->history.data_squares);
        size_t used = strlen(line);
        snprintf(line + used, sizeof line - used, "%5zu: %.6f", k + 1, ratio);
        if (k % PER_LINE == PER_LINE - 1 || k + 1 == job->history.n) {
            tr_info("%s", line);
            line[0] = '\0';
        }
    }
}

/* What the residuals say beside the noise: where fewer iterations would do, and where the
 * model cannot be right. squares[k] is what k iterations left. */
static void judge_residuals(const tr_job *job)
{
    const tr_history *h = &job->history;
    double sigma = job->noise.sigma, deviation = job->noise.deviation;
    if (!(sigma > 0.0) || !(h->values > 0.0) || h->n < 2)
        return;
    bool stops = (job->algorithm->needs & TR_STOPS_AT_NOISE) && !job->until_noise &&
                 tr_noise_is_known(&job->noise);
    for (size_t k = 1; k < h->n && stops; k++)
        if (h->squares[k] <= sigma * sigma * h->values) {
            tr_info("the residual has reached the noise: iteration %zu of %zu would do",
                    k, h->n);
            return;
        }
    double last = sqrt(fmax(h->squares[h->n - 1], 0.0) / h->values);
    tr_info("before the last iteration the residual was %.1f times the noise",
            last / sigma);
    if (h->n < 8)
        return;
    double before = sqrt(fmax(h->squares[h->n - 4], 0.0) / h->values);
    if (last > 3.0 * sigma && last > 0.2 * deviation && last > 0.98 * before)
        tr_warn(
            "the residual levels off at %.2f of the views' deviation, %.1f times the "
            "noise, so the model does not fit the views; likely causes: a specimen "
            "beyond the field (--outside continue), the alignment, the thickness (-T), "
            "very bright or dark pixels",
            last / deviation, last / sigma);
}

/* The residuals and updates of all ranks; the ranks may have stopped at different
 * iterations. */
static tr_status gather(tr_job *job, double *updates)
{
    enum { DATA, UPDATES, VALUES, TOTALS };
    double longest = 0.0, total[TOTALS];
    double *each = calloc((size_t)job->comm->size, sizeof *each);
    if (!each)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for a table");
    each[job->comm->rank] = (double)job->history.n;
    tr_status status = tr_comm_gather(job->comm, each, (size_t)job->comm->size);
    for (int r = 0; r < job->comm->size; r++)
        longest = fmax(longest, each[r]);
    free(each);
    TR_TRY(status);
    size_t n = (size_t)longest;
    double *squares = calloc(n + 1, sizeof *squares);
    if (!squares)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for a table");
    for (size_t k = 0; k < n && job->history.n; k++)
        squares[k] = job->history.squares[k < job->history.n ? k : job->history.n - 1];
    free(job->history.squares);
    job->history.squares = squares;
    job->history.n = n;
    total[DATA] = job->history.data_squares;
    total[VALUES] = job->history.values;
    total[UPDATES] = job->updates;
    TR_TRY(job->comm->ops->sum(job->comm, squares, n));
    TR_TRY(job->comm->ops->sum(job->comm, total, TOTALS));
    job->history.data_squares = total[DATA];
    job->history.values = total[VALUES];
    *updates = total[UPDATES];
    return TR_OK;
}

static void print_times(const tr_job *job, const tr_result *r)
{
    double sum = 0.0, running = r->running;
    const char *whose = job->comm->size > 1 ? " (rank 0)" : "";
    tr_info("%-12s%9s%12s", "stage", "seconds", "of the run");
    for (int k = 0; k < TR_N_STAGES; k++) {
        bool rare =
            k == TR_STAGE_ALLOCATE || k == TR_STAGE_UPLOAD || k == TR_STAGE_DOWNLOAD;
        if (job->seconds[k] == 0.0 && rare)
            continue;
        sum += job->seconds[k];
        tr_info("%-12s%9.2f%11.0f%%%s", tr_stage_names[k], job->seconds[k],
                100.0 * job->seconds[k] / running, whose);
    }
    tr_info("the stages took %.2f s in a run of %.2f s: %.2f s ran beside another stage",
            sum, running, fmax(sum - running, 0.0));
    tr_info("checking the series took %.2f s, everything %.2f s; %.2f G updates/s while "
            "projecting%s",
            r->checking, tr_now() - r->start,
            1e-9 * r->updates / fmax(job->seconds[TR_STAGE_PROJECT], 1e-9),
            job->comm->size > 1 ? ", all ranks" : "");
}

/* ---- the run ---- */

/* A failure that only this rank knows of: the others compute, or wait for it, so they are
 * ended here. */
static void end_all(tr_run *run, tr_comm *comm, tr_status status)
{
    comm->agreed_failure |= status == TR_ERR_STOPPED; /* by all at the same iteration */
    if (comm->size == 1 || comm->agreed_failure)
        return;
    char sentence[1100];
    snprintf(sentence, sizeof sentence, "rank %d: %s", comm->rank, tr_error());
    tr_run_discard(run);
    tr_lock_abandon_all();
    tr_log_to(NULL);
    tr_log_error(sentence);
    comm->ops->abort(comm, (int)status);
}

/* All at once, so that the disk is known to hold them. */
static tr_status open_outputs(tr_run *run, tr_comm *comm)
{
    bool whole = run->command.program->method->whole_volume;
    size_t n = run->n_volumes;
    for (size_t k = 0; k < n; k++) {
        tr_job *job = &run->volumes[k].job;
        tr_output_spec spec = job->output_spec;
        spec.to_come = n - k;
        spec.all_at_end = whole; /* until then, it keeps iterations, not slices */
        if (whole && n == 1)
            spec.every = 0.0;
        TR_TRY(tr_output_open(comm, &spec, &job->output));
    }
    return comm->ops->agree(comm,
                            comm->rank == 0 ? tr_halves_name_leftovers(run) : TR_OK);
}

/* Where `run` stops by itself, the number of iterations is known now. It holds for the
 * half sets as well. */
static void settle_afterwards(tr_run *run)
{
    const tr_job *job = &run->volumes[0].job;
    long *iterations =
        tr_algorithm_iterations(run->command.algorithm, run->command.params);
    if (!iterations || !job->until_noise || run->command.program->method->settle)
        return;
    long most = *iterations, done = (long)job->history.n;
    if (done < 1)
        return;
    if (done < most)
        tr_info("iterations: %ld of at most %ld, where the residual reaches the noise",
                done, most);
    else
        tr_info("iterations: all %ld; the residual stays above the noise", most);
    *iterations = done < most ? done : most;
}

/* The labels say how many iterations it became. */
static void relabel(tr_run *run)
{
    for (size_t k = 0; run->volumes[0].job.until_noise && k < run->n_volumes; k++) {
        tr_reconstruction *one = &run->volumes[k];
        tr_reconstruction_labels(one);
        tr_output_relabel(one->job.output, one->job.output_spec.labels,
                          one->job.output_spec.n_labels);
    }
}

/* One tomogram, but for its name, by this plan. */
static tr_status make_volume(tr_run *run, tr_reconstruction *v, const void *plan,
                             tr_result *r)
{
    tr_job *job = &v->job;
    double own = 0.0;
    TR_TRY(run->command.program->method->run(job, plan));
    TR_TRY(gather(job, &own));
    if (!v->half)
        settle_afterwards(run);
    r->updates += own;
    if (!v->half)
        TR_TRY(tr_result_gather(r, job));
    if (run->n_volumes > 1) { /* it will not be made again */
        TR_TRY(job->comm->ops->agree(job->comm, tr_output_flush(job->output)));
        if (run->command.program->method->forget)
            run->command.program->method->forget(job);
    }
    print_residuals(job);
    judge_residuals(job);
    return tr_output_measure(job->output);
}

/* Whether a run before has made it all. */
static bool was_made(const tr_reconstruction *v)
{
    if (!tr_output_adopt(v->job.output))
        return false;
    tr_info("going on after all slices of %s, which an earlier run wrote",
            tr_output_name(&v->job.output_spec));
    if (v->command->program->method->forget)
        v->command->program->method->forget(&v->job);
    return true;
}

/* A half set of the run: its work counts as that of the run. */
static tr_status make_half(tr_run *run, tr_comm *comm, tr_reconstruction *half,
                           tr_result *r)
{
    void *plan = NULL;
    tr_job *job = &half->job;
    if (was_made(half))
        return tr_output_measure(job->output);
    if (run->n_volumes > 1 + TR_HALVES)
        tr_info("%s:", half->half_noun);
    else
        tr_info("the %s set:", half->half_noun);
    job->timeline = run->volumes[0].job.timeline;
    TR_TRY(comm->ops->agree(comm, run->command.program->method->plan(job, &plan)));
    tr_status status = make_volume(run, half, plan, r);
    free(plan);
    for (int k = 0; k < TR_N_STAGES; k++)
        run->volumes[0].job.seconds[k] += job->seconds[k];
    return status;
}

/* To their final names. */
static tr_status finish(tr_run *run, tr_result *r)
{
    tr_output *outputs[TR_MOST_VOLUMES];
    tr_statistics statistics[TR_MOST_VOLUMES];
    size_t n = run->n_volumes;
    for (size_t k = 0; k < n; k++) {
        outputs[k] = run->volumes[k].job.output;
        run->volumes[k].job.output = NULL;
    }
    TR_TRY(tr_outputs_finish(outputs, n, statistics, r->scaling));
    r->complete = true;
    r->statistics = statistics[0];
    if (r->scaling[0])
        tr_info("scaling: %s", r->scaling);
    for (size_t k = 0; k < n; k++) {
        const tr_output_spec *spec = &run->volumes[k].job.output_spec;
        if (spec->store.folder && !spec->store_only)
            tr_info("wrote %s: OME-Zarr in three sizes", spec->store.folder);
        tr_info("wrote %s: min %g, max %g, mean %g, standard deviation %g",
                tr_output_name(spec), statistics[k].min, statistics[k].max,
                statistics[k].mean, statistics[k].rms);
    }
    return TR_OK;
}

/* Files that were only to be made stores of, once nothing is read from them any more. */
static void remove_intermediate(const tr_run *run, const tr_comm *comm)
{
    for (size_t k = 0; k < run->n_volumes && comm->rank == 0; k++)
        if (run->volumes[k].job.output_spec.store_only)
            unlink(run->volumes[k].job.output_spec.path);
}

static tr_status after_output(tr_run *run, tr_comm *comm, tr_result *r)
{
    tr_job *job = &run->volumes[0].job;
    TR_TRY(tr_halves_correlate(run, comm));
    print_times(job, r);
    if (job->timeline)
        TR_TRY(tr_timeline_write(job->timeline, comm, tr_stage_names,
                                 run->command.options.timeline));
    return tr_result_write(r, job);
}

static tr_status reconstruct(tr_run *run, tr_comm *comm, const void *plan, tr_result *r)
{
    tr_job *job = &run->volumes[0].job;
    TR_TRY(tr_result_prepare(r, job));
    if (job->until_noise && run->command.program->method->settle)
        TR_TRY(comm->ops->agree(comm, run->command.program->method->settle(job, plan)));
    TR_TRY(open_outputs(run, comm));
    double begun = tr_now();
    if (run->command.options.timeline && !(job->timeline = tr_timeline_new(begun)))
        return TR_ERR_MEMORY;
    /* A number of iterations that only `run` finds is found again. */
    bool known = !job->until_noise || run->command.program->method->settle;
    if (known && was_made(&run->volumes[0]))
        TR_TRY(tr_output_measure(job->output));
    else
        TR_TRY(make_volume(run, &run->volumes[0], plan, r));
    relabel(run);
    for (size_t k = 1; k < run->n_volumes; k++)
        TR_TRY(make_half(run, comm, &run->volumes[k], r));
    r->running = tr_now() - begun;
    TR_TRY(finish(run, r));
    tr_status status = after_output(run, comm, r);
    remove_intermediate(run, comm);
    return status;
}

/* Before anything is read or made. */
static tr_status own_outputs(const tr_run *run, tr_comm *comm)
{
    if (run->command.options.dry_run)
        return TR_OK;
    const tr_reconstruction *v = run->volumes;
    size_t n = run->n_volumes;
    TR_TRY(comm->ops->agree(comm, comm->rank == 0 ? tr_paths_lock(v, n, false) : TR_OK));
    return comm->ops->agree(comm, comm->rank == 0 ? TR_OK : tr_paths_lock(v, n, true));
}

static tr_status carry_out(tr_run *run, tr_comm *comm, tr_result *r)
{
    r->start = tr_now();
    TR_TRY(comm->ops->agree(comm, tr_run_backend(run)));
    tr_status files = tr_run_files(run);
    if (files == TR_OK)
        files = tr_alignment_json_check(run);
    /* With --align it is agreed on already that one has failed. */
    TR_TRY(comm->agreed_failure ? files : comm->ops->agree(comm, files));
    TR_TRY(tr_alike_files(comm, run));
    TR_TRY(own_outputs(run, comm));
    TR_TRY(tr_run_series(run, comm));
    TR_TRY(tr_alike_runs(comm, run));
    tr_reconstruction_print(&run->volumes[0]);
    tr_second_print(run->second);
    if (run->command.options.try_what)
        return tr_trial_run(run, comm);
    if (run->command.options.residual_of && !run->command.options.dry_run)
        return tr_residual_of(run, comm, r);
    tr_halves_print(run);
    r->checking = tr_now() - r->start;
    void *plan = NULL;
    tr_status status = comm->ops->agree(
        comm, run->command.program->method->plan(&run->volumes[0].job, &plan));
    if (status == TR_OK)
        tr_result_plan(r, &run->volumes[0].job);
    if (status == TR_OK && run->command.options.dry_run)
        tr_info("this was a dry run: nothing is written");
    else if (status == TR_OK)
        status = reconstruct(run, comm, plan, r);
    free(plan);
    return status;
}

static tr_status parse(tr_command *c, const tr_program *program, int argc, char **argv)
{
    TR_TRY(tr_command_parse(c, program, argc, argv));
    TR_TRY(tr_second_check_options(c));
    return tr_halves_check_options(&c->options);
}

tr_status tr_app_run(const tr_program *program, tr_comm *comm, int argc, char **argv)
{
    tr_run run = {.volumes = {{.job = {.comm = comm}}}};
    tr_result result;
    tr_log_setup(TR_LOG_NORMAL, comm->rank == 0, program->name);
    tr_result_begin(&result, &run, argc, argv);
    tr_status status = tr_alike_command(comm, program, argc, argv);
    if (status == TR_OK)
        status = comm->ops->agree(comm, parse(&run.command, program, argc, argv));
    bool done = false;
    if (status == TR_OK)
        status = comm->ops->agree(comm, print_and_leave(&run.command, comm->rank, &done));
    if (status == TR_OK && !done) {
        tr_log_setup(run.command.options.quiet     ? TR_LOG_QUIET
                     : run.command.options.verbose ? TR_LOG_VERBOSE
                                                   : TR_LOG_NORMAL,
                     comm->rank == 0, program->name);
        status = carry_out(&run, comm, &result);
    }
    if (status != TR_OK)
        end_all(&run, comm, status);
    char sentence[1100];
    snprintf(sentence, sizeof sentence, "%s", tr_error());
    tr_run_discard(&run);
    if (status != TR_OK && comm->rank == 0)
        tr_log_error(sentence);
    if (status != TR_OK && comm->rank == 0)
        tr_result_write_failure(&result, status, sentence);
    tr_result_free(&result);
    tr_run_free(&run);
    return status == TR_OK ? TR_OK : tr_fail(status, "%s", sentence);
}

int tr_app_main(const tr_program *program, tr_comm *comm, int argc, char **argv)
{
    setvbuf(stderr, NULL, _IOLBF, BUFSIZ); /* whole lines also from several ranks */
    tr_output_watch_signals();
    tr_status status = tr_batch_asked(argc, argv)
                           ? tr_batch_main(program, comm, argc, argv)
                           : tr_app_run(program, comm, argc, argv);
    tr_lock_release_all();
    return (int)status;
}
