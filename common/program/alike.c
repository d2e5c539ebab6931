#include "common/program/alike.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "common/run/second.h"

/* Compare what was printed; closes it. */
static tr_status compare(tr_comm *comm, const char *what, FILE *out, char **text)
{
    bool complete = out && !ferror(out);
    if (out && fclose(out) != 0)
        complete = false;
    tr_status status = comm->ops->agree(
        comm,
        complete ? TR_OK : tr_fail(TR_ERR_MEMORY, "not enough memory to compare ranks"));
    if (status == TR_OK)
        status = tr_comm_same(comm, what, *text);
    free(*text);
    return status;
}

tr_status tr_alike_command(tr_comm *comm, const tr_program *program, int argc,
                           char **argv)
{
    char *text = NULL;
    size_t size;
    if (comm->size == 1)
        return TR_OK;
    FILE *out = open_memstream(&text, &size);
    if (out)
        fprintf(out, "%s %s\n", program->name, TR_VERSION);
    for (int k = 1; out && k < argc; k++)
        fprintf(out, "%s\n", argv[k]);
    return compare(comm, "program or options", out, &text);
}

/* Samples of the bytes, evenly from the first to the last ones. */
static unsigned long sample(int fd, off_t bytes)
{
    enum { SAMPLES = 64, LENGTH = 4096 };
    unsigned char buffer[LENGTH];
    unsigned long sum = crc32(0, NULL, 0);
    off_t last = bytes > LENGTH ? bytes - LENGTH : 0;
    for (int k = 0; k < SAMPLES; k++) {
        off_t at = (off_t)((double)last * k / (SAMPLES - 1));
        ssize_t n = pread(fd, buffer, sizeof buffer, at);
        if (n > 0)
            sum = crc32(sum, buffer, (unsigned)n);
    }
    return sum;
}

static void print_file(FILE *out, const char *path)
{
    struct stat file;
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    if (fstat(fd, &file) == 0 && S_ISREG(file.st_mode))
        fprintf(out, "%s of %lld bytes, samples %08lx\n", path, (long long)file.st_size,
                sample(fd, file.st_size));
    close(fd);
}

static unsigned long check(const void *values, size_t n, size_t size)
{
    return values ? crc32(0, values, (unsigned)(n * size)) : 0;
}

static void print_views(FILE *out, const tr_reconstruction *r)
{
    const tr_geometry *g = &r->job.geometry;
    unsigned long transforms = 0, sections = 0;
    for (size_t k = 0; k < r->views.n; k++) {
        const tr_view *view = &r->views.view[k];
        sections = crc32(sections, (const void *)&view->section, sizeof view->section);
        transforms =
            crc32(transforms, (const void *)&view->transform, sizeof view->transform);
        for (size_t p = 0; p < view->n_local; p++)
            transforms =
                crc32(transforms, (const void *)&view->local[p], sizeof view->local[p]);
    }
    fprintf(out, "%zu views of %zu x %zu, sections %08lx\n", g->n_views, g->n_u, g->n_v,
            sections);
    fprintf(out, "tilt angles %08lx\n", check(g->tilt, g->n_views, sizeof *g->tilt));
    fprintf(out, "x-tilts %08lx\n", check(g->xtilt, g->n_views, sizeof *g->xtilt));
    fprintf(out, "z-factors %08lx\n", check(g->zfactor, g->n_views, sizeof *g->zfactor));
    if (g->local)
        fprintf(out, "local alignment %08lx\n",
                check(g->local->file.patch,
                      g->local->file.n_x * g->local->file.n_y * g->local->file.n_views,
                      sizeof *g->local->file.patch));
    fprintf(out, "transforms %08lx\n", transforms);
    fprintf(out, "volume %zu x %zu, axis %.17g\n", g->width, g->thickness, g->axis_u);
    fprintf(out, "output %s\n", r->job.output_spec.path ? r->job.output_spec.path : "");
}

tr_status tr_alike_files(tr_comm *comm, const tr_run *run)
{
    char *text = NULL;
    size_t size;
    if (comm->size == 1)
        return TR_OK;
    FILE *out = open_memstream(&text, &size);
    for (size_t k = 0; out && k < run->n_volumes; k++) {
        print_file(out, run->volumes[k].series_path);
        print_views(out, &run->volumes[k]);
    }
    if (out && run->second) {
        print_file(out, run->second->r.series_path);
        print_file(out, run->command.options.second_match);
        print_views(out, &run->second->r);
    }
    if (out)
        print_file(out, run->command.options.initial);
    return compare(comm, "what they read", out, &text);
}

tr_status tr_alike_runs(tr_comm *comm, const tr_run *run)
{
    for (size_t k = 0; k < run->n_volumes; k++)
        if (run->volumes[k].fingerprint)
            TR_TRY(tr_comm_same(comm, "what they read", run->volumes[k].fingerprint));
    return TR_OK;
}
