/* What a run's voxels depend on, as text: two runs with the same may share their work. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <zlib.h>

#include "common/run/reconstruction.h"

static unsigned long check(const void *values, size_t n, size_t size)
{
    return values ? crc32(0, values, (unsigned)(n * size)) : 0;
}

static void print_inputs(FILE *out, const tr_reconstruction *r)
{
    const tr_geometry *g = &r->job.geometry;
    fprintf(out, "series = %016llx\n", (unsigned long long)tr_series_hash(r->job.series));
    fprintf(out, "size = %zu views of %zu x %zu, volume %zu x %zu\n", g->n_views, g->n_u,
            g->n_v, g->width, g->thickness);
    fprintf(out, "tilt angles = %08lx\n", check(g->tilt, g->n_views, sizeof *g->tilt));
    fprintf(out, "x-tilts = %08lx\n", check(g->xtilt, g->n_views, sizeof *g->xtilt));
    unsigned long transforms = 0;
    for (size_t k = 0; k < r->views.n && r->views.has_transforms; k++)
        transforms = crc32(transforms, (const void *)&r->views.view[k].transform,
                           sizeof(tr_transform));
    fprintf(out, "transforms = %08lx\n", transforms);
    fprintf(out, "axis = %.17g\n", g->axis_u);
    fprintf(out, "cells outside = %zu\n", g->outer);
    struct stat initial;
    if (r->command->options.initial && stat(r->command->options.initial, &initial) == 0)
        fprintf(out, "initial volume = %lld bytes of %lld\n", (long long)initial.st_size,
                (long long)initial.st_mtime);
}

char *tr_reconstruction_fingerprint(const tr_reconstruction *r)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    fprintf(out, "program = %s %s\nalgorithm = %s\n", r->command->program->name,
            TR_VERSION, r->command->algorithm->name);
    bool complete = true;
    for (size_t k = 0; k < r->command->n_groups && complete; k++) {
        if (!r->command->groups[k].target)
            continue;
        char *lines = tr_options_text(&r->command->groups[k]);
        complete = lines && fputs(lines, out) >= 0;
        free(lines);
    }
    print_inputs(out, r);
    complete = complete && !ferror(out);
    if (fclose(out) == 0 && complete)
        return text;
    free(text);
    return NULL;
}
