#include "common/run/check_alignment.h"
#include "common/run/paths.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file_lock.h"
#include "common/base/file_name.h"
#include "common/base/mem.h"
#include "common/run/second.h"
#include "common/run/view_list.h"
#include "common/tomogram/leftovers.h"

/* Where a file is, or would be: its folder, and its name there. */
typedef struct place {
    tr_file_id folder;
    char *path;
} place;

typedef struct run_file {
    const char *what, *path;
    const char *option; /* that names another; NULL: it is read */
    bool there;
    struct stat file; /* what the path leads to */
    place own, real;  /* of the path; of what it leads to, if it is there */
    char *derived;    /* the path, where it is nobody else's */
} run_file;

enum { MOST_FILES = 96 };

typedef struct run_files {
    size_t n;
    run_file file[MOST_FILES];
} run_files;

char *tr_preview_path(const char *output, int k)
{
    static const char *const endings[TR_PREVIEWS] = {"xy", "xz", "yz"};
    size_t stem = tr_name_stem(output);
    return tr_format_string("%.*s_%s.png", (int)stem, output, endings[k]);
}

char *tr_residual_table(const char *output)
{
    size_t stem = tr_name_stem(output);
    return tr_format_string("%.*s.csv", (int)stem, output);
}

/* ---- the table ---- */

static tr_status find_place(char *path, place *p)
{
    struct stat s;
    char *folder = path ? tr_name_folder(path) : NULL;
    p->path = path;
    if (!folder)
        return TR_ERR_MEMORY;
    if (stat(folder, &s) == 0)
        p->folder = (tr_file_id){true, s.st_dev, s.st_ino};
    free(folder);
    return TR_OK;
}

static tr_status add(run_files *t, const char *what, const char *path, const char *option)
{
    if (!path)
        return TR_OK;
    TR_ASSERT(t->n < MOST_FILES);
    run_file *f = &t->file[t->n++];
    *f = (run_file){.what = what, .path = path, .option = option};
    f->there = stat(path, &f->file) == 0;
    TR_TRY(find_place(tr_strdup(path), &f->own));
    char *real = f->there ? realpath(path, NULL) : NULL;
    if (f->there && !real && errno == ENOMEM)
        return tr_fail(TR_ERR_MEMORY, "not enough memory to look at a folder");
    return real ? find_place(real, &f->real) : TR_OK;
}

static tr_status add_read(run_files *t, const tr_reconstruction *r)
{
    const tr_options *o = &r->command->options;
    const char *const paths[] = {r->series_path,
                                 r->inputs->tilts_path,
                                 r->inputs->angles.further,
                                 o->xtilts,
                                 r->inputs->zfactors_path,
                                 r->inputs->local_path,
                                 o->ctf,
                                 r->inputs->transforms_path,
                                 r->inputs->transforms.further,
                                 r->inputs->dose.from,
                                 r->inputs->dose.order_from,
                                 o->initial,
                                 o->residual_of,
                                 o->imod_com,
                                 r->inputs->found.imod_com,
                                 o->half_sets.argument[0],
                                 o->half_sets.argument[1]};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        TR_TRY(add(t, "input", paths[i], NULL));
    TR_TRY(add(t, "input", o->second_match, NULL));
    return r->second ? add_read(t, &r->second->r) : TR_OK;
}

/* Takes the path, which follows from the output's. */
static tr_status add_derived(run_files *t, const char *what, char *path)
{
    if (!path)
        return TR_ERR_MEMORY;
    tr_status status = add(t, what, path, "-o");
    if (status == TR_OK)
        t->file[t->n - 1].derived = path;
    else
        free(path);
    return status;
}

static tr_status add_previews(run_files *t, const char *output)
{
    for (int k = 0; k < TR_PREVIEWS; k++)
        TR_TRY(add_derived(t, "preview", tr_preview_path(output, k)));
    return TR_OK;
}

static tr_status add_written(run_files *t, const tr_reconstruction *volumes, size_t n)
{
    const tr_options *o = &volumes->command->options;
    for (size_t k = 0; k < n; k++)
        TR_TRY(add(t, o->try_what ? "contact sheet" : "output",
                   volumes[k].job.output_spec.path, "-o"));
    for (size_t k = 0; k < n && !o->try_what; k++)
        TR_TRY(add(t, "Zarr store", volumes[k].job.output_spec.store.folder, "-o"));
    TR_TRY(add(t, "timeline", o->timeline, "--timeline"));
    TR_TRY(add(t, "report", o->report, "--report"));
    TR_TRY(add(t, "result", o->json, "--json"));
    TR_TRY(add(t, "table", tr_check_alignment_file(o), "--check-alignment"));
    TR_TRY(add(t, "alignment", o->alignment_json, "--write-alignment"));
    if (o->residual_of)
        TR_TRY(add_derived(t, "table", tr_residual_table(volumes->job.output_spec.path)));
    if (tr_view_list_wanted(o))
        TR_TRY(add_derived(t, "list of views",
                           tr_view_list_path(tr_output_name(&volumes->job.output_spec))));
    return o->preview && !o->try_what
               ? add_previews(t, tr_output_name(&volumes->job.output_spec))
               : TR_OK;
}

static void free_files(run_files *t)
{
    for (size_t k = 0; k < t->n; k++) {
        free(t->file[k].own.path);
        free(t->file[k].real.path);
        free(t->file[k].derived);
    }
    t->n = 0;
}

/* ---- what may not be the same ---- */

static bool is_same_folder(const place *a, const place *b)
{
    return a->path && b->path && a->folder.known && b->folder.known &&
           a->folder.device == b->folder.device && a->folder.number == b->folder.number;
}

static bool is_same_place(const place *a, const place *b)
{
    return is_same_folder(a, b) &&
           strcmp(tr_name_only(a->path), tr_name_only(b->path)) == 0;
}

static bool is_same(const run_file *a, const run_file *b)
{
    if (a->there && b->there)
        return a->file.st_dev == b->file.st_dev && a->file.st_ino == b->file.st_ino;
    return strcmp(a->path, b->path) == 0 || is_same_place(&a->own, &b->own);
}

/* Whether the place is for what the run keeps beside `written` until it is complete. */
static bool is_beside(const run_file *written, const place *p)
{
    return is_same_folder(&written->own, p) &&
           tr_name_is_beside(written->path, tr_name_only(p->path));
}

static tr_status check_beside(const run_file *written, const run_file *other)
{
    if (is_beside(written, &other->own) || is_beside(written, &other->real))
        return tr_fail(TR_ERR_USAGE,
                       "the %s %s has a name that is for what belongs to the %s %s while "
                       "it is written, and would be lost; choose another name with %s",
                       other->what, other->path, written->what, written->path,
                       written->option);
    return TR_OK;
}

static tr_status compare(const run_file *written, const run_file *other)
{
    const char *free_one = other->option ? other->option : written->option;
    if (is_same(written, other) && !other->option)
        return tr_fail(TR_ERR_USAGE,
                       "the %s %s is also an input and would be lost; choose another "
                       "name with %s",
                       written->what, written->path, written->option);
    if (is_same(written, other))
        return tr_fail(TR_ERR_USAGE,
                       "the %s and the %s are both %s; choose another name with %s",
                       written->what, other->what, other->path, free_one);
    TR_TRY(check_beside(written, other));
    return other->option ? check_beside(other, written) : TR_OK;
}

static tr_status collect(run_files *t, const tr_reconstruction *volumes, size_t n,
                         size_t *n_written)
{
    TR_TRY(add_written(t, volumes, n));
    /* Not its alone: it is locked when it is written to. */
    TR_TRY(add(t, "table of series", volumes->command->options.relion_star,
               "--relion-star"));
    *n_written = t->n;
    for (size_t k = 0; k < n; k++)
        TR_TRY(add_read(t, &volumes[k]));
    return TR_OK;
}

static tr_status compare_all(const run_files *t, size_t n_written)
{
    for (size_t i = 0; i < n_written; i++) {
        /* The inputs first: they are what would be lost. */
        for (size_t k = n_written; k < t->n; k++)
            TR_TRY(compare(&t->file[i], &t->file[k]));
        for (size_t k = 0; k < i; k++)
            TR_TRY(compare(&t->file[k], &t->file[i]));
    }
    return TR_OK;
}

tr_status tr_paths_check(const tr_reconstruction *volumes, size_t n)
{
    run_files t = {0};
    size_t n_written = 0;
    tr_status status = collect(&t, volumes, n, &n_written);
    if (status == TR_OK)
        status = compare_all(&t, n_written);
    free_files(&t);
    return status;
}

/* Of pictures that this run may not make. */
static tr_status forget_previews(const char *output)
{
    for (int k = 0; k < TR_PREVIEWS; k++) {
        char *path = tr_preview_path(output, k);
        char *lock = path ? tr_name_beside(path, "lock") : NULL;
        if (lock)
            tr_lock_remove_dead(lock);
        bool good = lock != NULL;
        free(lock);
        free(path);
        if (!good)
            return TR_ERR_MEMORY;
    }
    return TR_OK;
}

tr_status tr_paths_lock(const tr_reconstruction *volumes, size_t n, bool join)
{
    run_files t = {0};
    tr_status status = add_written(&t, volumes, n);
    for (size_t k = 0; k < t.n && status == TR_OK; k++)
        if (!t.file[k].there || S_ISREG(t.file[k].file.st_mode))
            status = join ? tr_lock_join(t.file[k].path) : tr_lock_take(t.file[k].path);
    free_files(&t);
    return status == TR_OK && !join
               ? forget_previews(tr_output_name(&volumes->job.output_spec))
               : status;
}
