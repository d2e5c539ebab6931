/* What a run's voxels depend on, as text: two runs with the same may share their work. It
 * is taken from the job as it will be carried out, not from where its values came from:
 * of files their content, of options what became of them. What is in no line here tells
 * nothing of a voxel: names, threads, memory, and the header, which is written last. */
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "common/run/second.h"

static void print_values(FILE *out, const char *name, const double *values, size_t n)
{
    if (values)
        fprintf(out, "%s = %016llx\n", name,
                (unsigned long long)XXH3_64bits(values, n * sizeof *values));
    else
        fprintf(out, "%s = none\n", name);
}

static void print_program(FILE *out, const tr_reconstruction *r)
{
    const tr_job *job = &r->job;
    fprintf(out, "program = %s %s\nalgorithm = %s\n", r->command->program->name,
            TR_VERSION, r->command->algorithm->name);
    fprintf(out, "arithmetic = %s\n", job->backend->arithmetic(job->device));
}

static void print_local(FILE *out, const tr_geometry *g)
{
    if (!g->local)
        return;
    const tr_local *l = g->local;
    const double places[] = {l->start_x, l->start_y, l->step_x,
                             l->step_y,  l->scale,   l->z_factors};
    size_t n = l->file.n_x * l->file.n_y * l->file.n_views;
    unsigned long long hash = XXH3_64bits_withSeed(places, sizeof places, l->file.n_x);
    hash = XXH3_64bits_withSeed(l->file.patch, n * sizeof *l->file.patch, hash);
    fprintf(out, "local alignment = %016llx\n", hash);
}

static void print_geometry(FILE *out, const tr_geometry *g)
{
    fprintf(out, "size = %zu views of %zu x %zu, volume %zu x %zu\n", g->n_views, g->n_u,
            g->n_v, g->width, g->thickness);
    print_values(out, "tilt angles", g->tilt, g->n_views);
    print_values(out, "x-tilts", g->xtilt, g->n_views);
    print_values(out, "z-factors", g->zfactor ? *g->zfactor : NULL, 2 * g->n_views);
    print_local(out, g);
    fprintf(out, "total pitch = %.17g\n", g->pitch);
    fprintf(out, "axis = column %.17g, x %.17g, z %.17g\n", g->axis_u, g->axis_x,
            g->axis_z);
    fprintf(out, "cells outside = %zu\n", g->outer);
}

/* Not other things that views may have besides. */
static void print_transforms(FILE *out, const tr_reconstruction *r)
{
    unsigned long long hash = 0;
    for (size_t k = 0; k < r->views.n && r->views.has_transforms; k++) {
        const tr_transform *t = &r->views.view[k].transform;
        const double values[] = {t->a11, t->a12, t->a21, t->a22, t->dx, t->dy};
        hash = XXH3_64bits_withSeed(values, sizeof values, hash);
        for (size_t p = 0; p < r->views.view[k].n_local; p++) {
            const tr_local_shift *one = &r->views.view[k].local[p];
            const double shift[] = {one->x, one->y, one->dx, one->dy};
            hash = XXH3_64bits_withSeed(shift, sizeof shift, hash);
        }
    }
    fprintf(out, "transforms = %016llx%s\n", hash,
            r->job.transforms ? ", of the rays" : "");
}

static void print_ctf(FILE *out, const tr_reconstruction *r)
{
    unsigned long long hash = 0;
    if (!r->command->options.views.ctf)
        return;
    for (size_t k = 0; k < r->views.n; k++)
        hash = XXH3_64bits_withSeed(&r->views.view[k].ctf, sizeof(tr_ctf), hash);
    fprintf(out, "CTF = %016llx, pixels of %.17g\n", hash, r->inputs->pixel);
    const tr_depth_bands *bands = tr_series_bands(r->job.series);
    if (bands)
        fprintf(out, "depths = %016llx, times %.17g\n",
                (unsigned long long)XXH3_64bits(bands, r->views.n * sizeof *bands),
                tr_reconstruction_per_depth(r));
    if (r->command->options.views.ctf_mode == TR_CTF_WIENER)
        fprintf(out, "Wiener filter = %016llx\n", tr_series_wiener_hash(r->job.series));
}

/* The model is among the options. */
static void print_doses(FILE *out, const tr_reconstruction *r)
{
    unsigned long long hash = 0;
    if (!r->command->options.views.dose)
        return;
    for (size_t k = 0; k < r->views.n; k++) {
        const tr_view *view = &r->views.view[k];
        const double values[] = {view->prior_exposure, view->exposure};
        hash = XXH3_64bits_withSeed(values, sizeof values, hash);
    }
    fprintf(out, "exposures = %016llx, pixel %.17g\n", hash, r->inputs->pixel);
}

static void print_data(FILE *out, const tr_reconstruction *r)
{
    const tr_job *job = &r->job;
    char digest[TR_DIGEST];
    tr_series_digest(job->series, digest);
    fprintf(out, "series = %s\n", digest);
    const tr_hot_counts hot = tr_series_hot(job->series);
    fprintf(out, "pixels replaced = %016llx\n", hot.replaced ? hot.hash : 0ULL);
    fprintf(out, "logarithm = %s\n", r->command->options.views.log ? "yes" : "no");
    print_doses(out, r);
    print_ctf(out, r);
    if (job->initial)
        tr_content_digest(&job->initial_content, tr_image_get_info(job->initial)->nx,
                          digest);
    fprintf(out, "initial volume = %s\n", job->initial ? digest : "none");
    fprintf(out, "noise = %.17g, deviation %.17g, edges %.17g\n", job->noise.sigma,
            job->noise.deviation, job->noise.edges);
    fprintf(out, "until the noise = %s\n", job->until_noise ? "yes" : "no");
}

static void print_output(FILE *out, const tr_job *job)
{
    const tr_output_spec *o = &job->output_spec;
    fprintf(out, "slices = %zu from %zu\n", o->n_slices, job->first_slice);
    if (o->automatic)
        fprintf(out, "stored = by the volume's own range\n");
    else
        fprintf(out, "stored = (value + %.17g) * %.17g\n", o->add, o->multiply);
}

static bool print_options(FILE *out, const tr_command *c)
{
    for (size_t k = 0; k < c->n_groups; k++) {
        if (!c->groups[k].target)
            continue;
        char *lines = tr_options_text(&c->groups[k]);
        bool written = lines && fputs(lines, out) >= 0;
        free(lines);
        if (!written)
            return false;
    }
    return true;
}

static bool print_second(FILE *out, const tr_second *second)
{
    char *text = second ? tr_reconstruction_fingerprint(&second->r) : NULL;
    if (!text)
        return !second;
    const tr_second_axis *a = &second->second;
    fprintf(out, "and of a second series\n%s", text);
    fprintf(out, "rays = %016llx, values times %.17g%s\n",
            (unsigned long long)XXH3_64bits(a->rays, a->n_views * sizeof *a->rays),
            a->factor, a->masked ? ", masked" : "");
    free(text);
    return true;
}

char *tr_reconstruction_fingerprint(const tr_reconstruction *r)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    print_program(out, r);
    bool complete = print_options(out, r->command);
    print_data(out, r);
    print_geometry(out, &r->job.geometry);
    print_transforms(out, r);
    print_output(out, &r->job);
    complete = print_second(out, r->second) && complete && !ferror(out);
    if (fclose(out) == 0 && complete)
        return text;
    free(text);
    return NULL;
}
