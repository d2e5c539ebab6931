#include "common/run/halves.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/file_lock.h"
#include "common/base/file_name.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/paths.h"
#include "common/tomogram/leftovers.h"

enum { FEWEST_VIEWS = 2 }; /* of each part */

/* Two parts are the even and the odd half, the latter with the first view; more have
 * their numbers. */
static void name_part(size_t k, size_t splits, char text[16], char noun[24])
{
    static const char *const halves[TR_HALVES] = {"even", "odd"};
    if (splits == TR_HALVES) {
        snprintf(text, 16, "%s", halves[k]);
        snprintf(noun, 24, "%s half", halves[k]);
    } else {
        snprintf(text, 16, "%zu of %zu", k + 1, splits);
        snprintf(noun, 24, "split %zu of %zu", k + 1, splits);
    }
}

/* The output's name for a part, from malloc. */
static char *part_path(const char *output, size_t k, size_t splits)
{
    static const char *const halves[TR_HALVES] = {"_EVN", "_ODD"};
    char suffix[16];
    if (splits == TR_HALVES)
        snprintf(suffix, sizeof suffix, "%s", halves[k]);
    else
        snprintf(suffix, sizeof suffix, "_%zuof%zu", k + 1, splits);
    return tr_reconstruction_half_path(output, suffix);
}

tr_status tr_halves_check_options(const tr_options *o)
{
    if (!o->half_sets.choice)
        return TR_OK;
    if (o->initial)
        return tr_fail(
            TR_ERR_USAGE,
            "--half-sets cannot be used with --initial: both halves would begin "
            "with the noise of the same volume, and their correlation would "
            "tell of that");
    return TR_OK;
}

/* ---- every second view, or every K-th ---- */

typedef struct ranked_view {
    double tilt;
    size_t view;
} ranked_view;

static int by_tilt(const void *a, const void *b)
{
    const ranked_view *x = a, *y = b;
    if (x->tilt != y->tilt)
        return x->tilt > y->tilt ? 1 : -1;
    return (x->view > y->view) - (x->view < y->view);
}

static int by_view(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

tr_status tr_split_views(const tr_views *all, size_t first, size_t splits, size_t *part,
                         size_t *n_part)
{
    size_t n = all->n;
    ranked_view *views = tr_calloc("the list of views", n, sizeof *views);
    *n_part = 0;
    if (!views)
        return TR_ERR_MEMORY;
    double sign = all->view[0].tilt > all->view[n - 1].tilt ? -1.0 : 1.0;
    for (size_t k = 0; k < n; k++)
        views[k] = (ranked_view){sign * all->view[k].tilt, k};
    qsort(views, n, sizeof *views, by_tilt);
    for (size_t k = first; k < n; k += splits)
        part[(*n_part)++] = views[k].view;
    free(views);
    qsort(part, *n_part, sizeof *part, by_view);
    return TR_OK;
}

/* ---- the files ---- */

/* Of a series made from every second frame: what must be as in the full one. */
static tr_status check_frames(const tr_reconstruction *all, const tr_reconstruction *half)
{
    const tr_image_info *a = tr_image_get_info(all->image),
                        *b = tr_image_get_info(half->image);
    const char *path = half->series_path;
    bool star = all->command->options.half_sets.choice == TR_HALVES_STAR;
    if (!star && tr_same_file(path, all->series_path))
        return tr_fail(
            TR_ERR_USAGE,
            "%s is the series itself; --half-sets frames takes two other ones, "
            "made from the even and from the odd frames",
            path);
    if (a->nx != b->nx || a->ny != b->ny || a->nz != b->nz)
        return tr_fail(
            TR_ERR_DATA,
            "%s has %zu views of %zu x %zu pixels, but %s has %zu of %zu x %zu; "
            "half sets must have the same",
            path, b->nz, b->nx, b->ny, all->series_path, a->nz, a->nx, a->ny);
    if (a->pixel[0] > 0.0 && b->pixel[0] > 0.0 &&
        (b->pixel[0] > 1.01 * a->pixel[0] || a->pixel[0] > 1.01 * b->pixel[0]))
        tr_warn("%s says %g angstroms a pixel and %s says %g; %g is taken for all", path,
                b->pixel[0], all->series_path, a->pixel[0], a->pixel[0]);
    return TR_OK;
}

static tr_status take_split(const tr_views *all, size_t k, size_t splits, tr_views *half)
{
    size_t first = splits == TR_HALVES ? 1 - k : k;
    size_t n_part, *part = tr_calloc("the list of views", all->n, sizeof *part);
    tr_status status =
        part ? tr_split_views(all, first, splits, part, &n_part) : TR_ERR_MEMORY;
    if (status == TR_OK)
        status = tr_views_select(all, part, n_part, half);
    free(part);
    return status;
}

/* What all tomograms of a run share is copied, the rest is left to be found. */
static tr_reconstruction as_everything(const tr_reconstruction *all)
{
    const tr_job *job = &all->job;
    return (tr_reconstruction){.command = all->command,
                               .inputs = all->inputs,
                               .series_path = all->series_path,
                               .image = all->image,
                               .job = {.comm = job->comm,
                                       .backend = job->backend,
                                       .device = job->device,
                                       .threads = job->threads,
                                       .memory = job->memory,
                                       .algorithm = job->algorithm,
                                       .params = job->params,
                                       .first_slice = job->first_slice,
                                       .output_spec = job->output_spec}};
}

/* The images of every second frame. */
static tr_status open_half(const tr_command *c, size_t k, tr_reconstruction *half)
{
    if (c->options.half_sets.choice == TR_HALVES_STAR)
        return tr_image_open_frames(
            half->series_path, k == 0 ? TR_EVEN_FRAMES : TR_ODD_FRAMES, &half->frames);
    half->series_path = c->options.half_sets.argument[k];
    return tr_image_open(half->series_path, &half->frames);
}

static tr_status make_half(const tr_reconstruction *all, size_t k,
                           tr_reconstruction *half)
{
    const tr_command *c = all->command;
    size_t splits = (size_t)c->options.splits;
    *half = as_everything(all);
    name_part(k, splits, half->half_text, half->half_noun);
    half->half = half->half_text;
    if (c->options.half_sets.choice != TR_HALVES_VIEWS) {
        TR_TRY(open_half(c, k, half));
        half->image = half->frames;
        TR_TRY(tr_reconstruction_check_chunks(half));
        TR_TRY(check_frames(all, half));
        TR_TRY(tr_views_copy(&all->views, &half->views));
    } else {
        TR_TRY(take_split(&all->views, k, splits, &half->views));
    }
    TR_TRY(tr_reconstruction_geometry(half, &c->options, &half->job.geometry));
    if (c->algorithm->check)
        TR_TRY(c->algorithm->check(c->params, half->views.n));
    return tr_reconstruction_half_output(
        half, part_path(tr_output_name(&half->job.output_spec), k, splits));
}

static tr_status check_how(const tr_options *o, size_t n_views)
{
    const tr_words *how = &o->half_sets;
    size_t fewest = FEWEST_VIEWS * (size_t)o->splits;
    if (o->splits != TR_HALVES && how->choice != TR_HALVES_VIEWS)
        return tr_fail(
            TR_ERR_USAGE, "--splits divides the views of --half-sets views, which %s",
            how->choice ? "is not what --half-sets says here" : "is not given");
    if (how->choice == TR_HALVES_VIEWS && n_views < fewest)
        return tr_fail(TR_ERR_USAGE,
                       "--half-sets views needs at least %zu views, and %zu %s used",
                       fewest, n_views, n_views == 1 ? "is" : "are");
    if (how->choice == TR_HALVES_FRAMES &&
        tr_same_file(how->argument[0], how->argument[1]))
        return tr_fail(
            TR_ERR_USAGE,
            "--half-sets frames %s %s: both are one file; name a series of the "
            "even and one of the odd frames",
            how->argument[0], how->argument[1]);
    return TR_OK;
}

tr_status tr_halves_files(tr_run *run)
{
    const tr_options *o = &run->command.options;
    const tr_reconstruction *all = &run->volumes[0];
    TR_TRY(check_how(o, all->views.n));
    if (!o->half_sets.choice)
        return TR_OK;
    size_t splits = (size_t)o->splits;
    for (size_t k = 0; k < splits; k++)
        TR_TRY(make_half(all, k, &run->volumes[1 + k]));
    for (size_t k = 0; k < TR_HALVES; k++)
        run->volumes[0].halves[k] = run->volumes[1 + k].frames;
    run->n_volumes = 1 + splits;
    return tr_paths_check(run->volumes, run->n_volumes);
}

typedef struct finds {
    size_t n;
    double bytes;
    char first[512];
} finds;

static void count(void *self, const char *file)
{
    finds *f = self;
    struct stat s;
    if (lstat(file, &s) != 0)
        return;
    f->bytes += (double)s.st_blocks * 512.0;
    if (f->n++ == 0)
        snprintf(f->first, sizeof f->first, "%s", file);
}

static tr_status name_leftovers(const char *half)
{
    finds found = {0};
    char *lock = tr_name_beside(half, "lock");
    if (!lock)
        return TR_ERR_MEMORY;
    tr_lock_remove_dead(lock);
    free(lock);
    TR_TRY(tr_leftovers_each(half, count, &found));
    /* One that runs has files there that are in use. */
    if (found.n && tr_lock_take(half) == TR_OK) {
        tr_lock_release(half);
        tr_warn(
            "%s and %zu more files of %s, together %.3f GB, are there from an earlier "
            "run, and this one does not make it: remove them if nothing is to go on "
            "from them",
            found.first, found.n - 1, half, 1e-9 * found.bytes);
    }
    return TR_OK;
}

tr_status tr_halves_name_leftovers(const tr_run *run)
{
    const char *path = tr_output_name(&run->volumes[0].job.output_spec);
    tr_status status = TR_OK;
    for (size_t splits = TR_HALVES; splits <= TR_MOST_SPLITS; splits++)
        for (size_t k = 0; k < splits && run->n_volumes != 1 + splits && status == TR_OK;
             k++) {
            char *half = part_path(path, k, splits);
            status = half ? name_leftovers(half) : TR_ERR_MEMORY;
            free(half);
        }
    return status;
}

/* The number of iterations may be one that the whole series asked for. */
static tr_status set_fingerprint(const tr_reconstruction *all, tr_reconstruction *half)
{
    char digest[TR_DIGEST], *text = tr_reconstruction_fingerprint(half);
    tr_series_digest(all->job.series, digest);
    half->fingerprint =
        text ? tr_format_string("%shalf = %s, of %s\n", text, half->half, digest) : NULL;
    free(text);
    half->job.output_spec.fingerprint = half->fingerprint;
    return half->fingerprint ? TR_OK
                             : tr_fail(TR_ERR_MEMORY, "not enough memory to begin");
}

/* Of a half set of views, by their sections. */
static tr_status open_part(const tr_reconstruction *all, tr_reconstruction *half)
{
    size_t n = half->views.n, k = 0;
    size_t *part = tr_calloc("the list of views", n, sizeof *part);
    if (!part)
        return TR_ERR_MEMORY;
    for (size_t i = 0; i < all->views.n && k < n; i++)
        if (all->views.view[i].section == half->views.view[k].section)
            part[k++] = i;
    tr_status status = tr_series_part(all->job.series, part, k, &half->job.series);
    free(part);
    return status;
}

/* Of a half set of frames. */
static tr_status open_frames(const tr_reconstruction *all, tr_reconstruction *half,
                             tr_comm *comm)
{
    half->whole = all->job.series;
    return tr_reconstruction_open_series(half, comm);
}

tr_status tr_halves_series(tr_run *run, tr_comm *comm)
{
    const tr_reconstruction *all = &run->volumes[0];
    for (size_t k = 1; k < run->n_volumes; k++) {
        tr_reconstruction *half = &run->volumes[k];
        half->job.options = all->job.options;
        half->job.views = &half->views;
        half->job.transforms = all->job.transforms;
        half->job.noise = all->job.noise;
        half->job.outside = all->job.outside;
        half->job.geometry.outer = all->job.geometry.outer;
        half->job.output_spec.every = all->job.output_spec.every;
        half->job.output_spec.resume = all->job.output_spec.resume;
        if (!half->frames)
            TR_TRY(comm->ops->agree(comm, open_part(all, half)));
        else
            TR_TRY(open_frames(all, half, comm));
        TR_TRY(comm->ops->agree(comm, set_fingerprint(all, half)));
    }
    return TR_OK;
}

void tr_halves_print(const tr_run *run)
{
    const tr_reconstruction *first = &run->volumes[1], *second = &run->volumes[2];
    const tr_output_spec *o = &run->volumes[0].job.output_spec;
    size_t n = run->n_volumes;
    if (n == 1)
        return;
    if (n > 1 + TR_HALVES)
        tr_info("half sets: every view of %zu by angle, %zu to %zu views in each part",
                n - 1, run->volumes[n - 1].views.n, first->views.n);
    else if (!first->frames)
        tr_info("half sets: every second view by angle, %zu even and %zu odd ones",
                first->views.n, second->views.n);
    else
        tr_info("half sets: of the even frames %s, of the odd frames %s",
                first->series_path, second->series_path);
    double bytes = (double)n * (double)o->width * (double)o->thickness *
                   (double)o->n_slices *
                   (double)(tr_type_size(o->type) + (o->automatic ? sizeof(float) : 0));
    tr_info("plan: %zu tomograms one after another, also %s %s %s; %.3f GB on the disk",
            n, tr_output_name(&first->job.output_spec), n > 1 + TR_HALVES ? "to" : "and",
            tr_output_name(&run->volumes[n - 1].job.output_spec), 1e-9 * bytes);
    for (size_t k = 1; k < n && !first->frames; k++)
        for (size_t i = 0; i < run->volumes[k].views.n; i++)
            tr_verbose("view %zu is one of the %s",
                       run->volumes[k].views.view[i].section + 1,
                       run->volumes[k].half_noun);
}

/* Of two halves, or of the first split and the one that lies in the middle between its
 * views. */
static tr_status correlate(tr_run *run)
{
    const tr_job *job = &run->volumes[0].job;
    const tr_output_spec *o = &job->output_spec;
    size_t splits = run->n_volumes - 1, other = 1 + splits / 2;
    char of[sizeof run->frc.of];
    snprintf(of, sizeof of, "splits 1 and %zu of %zu", other, splits);
    const tr_frc_spec spec = {.of = splits > TR_HALVES ? of : NULL,
                              .even = run->volumes[1].job.output_spec.path,
                              .odd = run->volumes[other].job.output_spec.path,
                              .xyz = o->xyz,
                              .pixel = o->pixel,
                              .threads = job->threads,
                              .memory = job->memory};
    TR_TRY(tr_frc_of_files(&spec, &run->frc));
    tr_frc_print(&run->frc);
    return TR_OK;
}

tr_status tr_halves_correlate(tr_run *run, tr_comm *comm)
{
    if (run->n_volumes == 1)
        return TR_OK;
    return comm->ops->agree(comm, comm->rank == 0 ? correlate(run) : TR_OK);
}
