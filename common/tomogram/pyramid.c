#include "common/tomogram/pyramid.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/first_error.h"
#include "common/base/mem.h"

enum { SIDE = 256, LEAST_SIDE = 16, CHILDREN = 8 };

/* The store on its way. A cube, which one process makes, is a chunk of the top level with
 * all that lies below it; its eight children are shared out to the threads. */
typedef struct pyramid {
    tr_zarr zarr;
    tr_image *image;
    const char *folder;
    bool xyz;
    size_t voxels;          /* of a chunk */
    float *top;             /* the cube's */
    float *middle, *lowest; /* [thread] chunks of the levels below */
    char *room;             /* [thread] */
} pyramid;

/* ---- values ---- */

/* Where a chunk lies: first[3], and how much of it lies in the volume; false: nothing. */
static bool locate(const tr_zarr *z, int level, const size_t at[3], size_t first[3],
                   size_t count[3])
{
    size_t size[3];
    tr_zarr_level_size(z, level, size);
    for (int i = 0; i < 3; i++) {
        first[i] = at[i] * z->chunk[i];
        if (first[i] >= size[i])
            return false;
        count[i] = size[i] - first[i] < z->chunk[i] ? size[i] - first[i] : z->chunk[i];
    }
    return true;
}

/* Rows as they come from the file, to their places. */
static tr_status read_rows(const pyramid *p, size_t section, size_t row, size_t rows,
                           const size_t first[3], const size_t count[3], float *out,
                           ptrdiff_t stride)
{
    for (size_t k = 0; k < rows; k++)
        TR_TRY(tr_image_read(p->image, section, row + k, 1, first[2], count[2],
                             out + (ptrdiff_t)k * stride));
    return TR_OK;
}

static tr_status read_chunk(const pyramid *p, const size_t at[3], float *out)
{
    size_t first[3], count[3], nz = p->zarr.size[0];
    ptrdiff_t row = (ptrdiff_t)p->zarr.chunk[2],
              plane = row * (ptrdiff_t)p->zarr.chunk[1];
    memset(out, 0, p->voxels * sizeof *out);
    if (!locate(&p->zarr, 0, at, first, count))
        return TR_OK;
    if (p->xyz) {
        for (size_t z = 0; z < count[0]; z++)
            TR_TRY(read_rows(p, first[0] + z, first[1], count[1], first, count,
                             out + (ptrdiff_t)z * plane, row));
        return TR_OK;
    }
    /* Sections are y; row 0 of them is the highest z. */
    size_t lowest = nz - first[0] - count[0];
    for (size_t y = 0; y < count[1]; y++)
        TR_TRY(read_rows(p, first[1] + y, lowest, count[0], first, count,
                         out + (ptrdiff_t)(count[0] - 1) * plane + (ptrdiff_t)y * row,
                         -plane));
    return TR_OK;
}

/* The averages of a chunk of this level, into the part of its parent that they are. */
static void halve(const pyramid *p, int level, const size_t at[3], const float *in,
                  float *parent)
{
    size_t first[3], count[3], from[3];
    const size_t *c = p->zarr.chunk;
    if (!locate(&p->zarr, level, at, first, count))
        return; /* 0 already */
    for (int i = 0; i < 3; i++)
        from[i] = at[i] % 2 * (c[i] / 2);
    for (size_t z = 0; z < count[0]; z += 2)
        for (size_t y = 0; y < count[1]; y += 2) {
            size_t nz = count[0] - z > 1 ? 2 : 1, ny = count[1] - y > 1 ? 2 : 1;
            float *out =
                parent + ((from[0] + z / 2) * c[1] + from[1] + y / 2) * c[2] + from[2];
            const float *row = in + (z * c[1] + y) * c[2];
            for (size_t x = 0; x < count[2]; x += 2) {
                size_t nx = count[2] - x > 1 ? 2 : 1;
                double sum = 0.0;
                for (size_t k = 0; k < nz * ny; k++)
                    for (size_t i = 0; i < nx; i++)
                        sum += (double)row[(k / ny * c[1] + k % ny) * c[2] + x + i];
                out[x / 2] = (float)(sum / (double)(nz * ny * nx));
            }
        }
}

/* ---- chunks ---- */

static void child(const size_t at[3], size_t k, size_t own[3])
{
    own[0] = 2 * at[0] + k / 4;
    own[1] = 2 * at[1] + k / 2 % 2;
    own[2] = 2 * at[2] + k % 2;
}

static tr_status write_chunk(const pyramid *p, int level, const size_t at[3],
                             const float *values, size_t thread)
{
    size_t first[3], count[3];
    if (!locate(&p->zarr, level, at, first, count))
        return TR_OK;
    return tr_zarr_write_chunk(p->folder, &p->zarr, level, at, values,
                               p->room + thread * tr_zarr_room(&p->zarr));
}

/* A chunk of the level above the lowest, with what lies below it. */
static tr_status make_middle(const pyramid *p, const size_t at[3], size_t thread)
{
    float *middle = p->middle + thread * p->voxels,
          *lowest = p->lowest + thread * p->voxels;
    memset(middle, 0, p->voxels * sizeof *middle);
    for (size_t k = 0; k < CHILDREN; k++) {
        size_t own[3], first[3], count[3];
        child(at, k, own);
        if (!locate(&p->zarr, 0, own, first, count))
            continue;
        TR_TRY(read_chunk(p, own, lowest));
        TR_TRY(write_chunk(p, 0, own, lowest, thread));
        halve(p, 0, own, lowest, middle);
    }
    TR_TRY(write_chunk(p, 1, at, middle, thread));
    halve(p, 1, at, middle, p->top);
    return TR_OK;
}

static tr_status make_cube(pyramid *p, const size_t at[3], int threads)
{
    tr_first_error failure = TR_NO_ERROR_YET;
    memset(p->top, 0, p->voxels * sizeof *p->top);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t k = 0; k < CHILDREN; k++) {
        size_t own[3];
        child(at, k, own);
        if (tr_first_error_needs(&failure, k))
            tr_first_error_note(&failure, k,
                                make_middle(p, own, (size_t)omp_get_thread_num()));
    }
    TR_TRY(tr_first_error_end(&failure));
    return write_chunk(p, 2, at, p->top, 0); /* last: then all of the cube is there */
}

static tr_status make_cubes(pyramid *p, const tr_comm *comm, int threads, bool kept)
{
    size_t size[3], n[3];
    tr_zarr_level_size(&p->zarr, TR_ZARR_LEVELS - 1, size);
    for (int i = 0; i < 3; i++)
        n[i] = (size[i] + p->zarr.chunk[i] - 1) / p->zarr.chunk[i];
    for (size_t k = (size_t)comm->rank; k < n[0] * n[1] * n[2]; k += (size_t)comm->size) {
        const size_t at[3] = {k / (n[1] * n[2]), k / n[2] % n[1], k % n[2]};
        if (kept && tr_zarr_has_chunk(p->folder, &p->zarr, TR_ZARR_LEVELS - 1, at))
            continue;
        TR_TRY(make_cube(p, at, threads));
    }
    return TR_OK;
}

/* ---- the store ---- */

/* Even, as averages of neighbouring chunks share a parent. */
static void set_chunks(tr_zarr *z, size_t side)
{
    for (int i = 0; i < 3; i++) {
        size_t whole = z->size[i] + z->size[i] % 2;
        z->chunk[i] = whole < side ? whole : side;
    }
}

static double bytes_for(const tr_zarr *z, int threads)
{
    double chunk = (double)z->chunk[0] * (double)z->chunk[1] * (double)z->chunk[2];
    return chunk * sizeof(float) * (1.0 + 2.0 * threads) +
           (double)tr_zarr_room(z) * threads;
}

/* Chunks and threads that fit the memory: fewer threads first. */
static tr_status fit(tr_zarr *z, const tr_pyramid_spec *spec, int *threads)
{
    size_t side = spec->chunk ? spec->chunk : SIDE;
    *threads = *threads < CHILDREN ? *threads : CHILDREN;
    for (set_chunks(z, side); bytes_for(z, *threads) > (double)spec->memory;)
        if (*threads > 1)
            --*threads;
        else if (!spec->chunk && side > LEAST_SIDE)
            set_chunks(z, side /= 2);
        else
            return tr_fail(TR_ERR_MEMORY,
                           "chunks of %zu x %zu x %zu for %s take %.0f MiB; give more "
                           "with --memory, or make them smaller with --zarr-chunk",
                           z->chunk[0], z->chunk[1], z->chunk[2], spec->folder,
                           bytes_for(z, 1) / (1 << 20));
    return TR_OK;
}

static tr_status open_pyramid(pyramid *p, const char *path, int threads)
{
    size_t n = (size_t)threads;
    TR_TRY(tr_image_open(path, &p->image));
    p->voxels = p->zarr.chunk[0] * p->zarr.chunk[1] * p->zarr.chunk[2];
    p->top = tr_calloc("chunks", p->voxels, sizeof *p->top);
    p->middle = tr_calloc("chunks", n * p->voxels, sizeof *p->middle);
    p->lowest = tr_calloc("chunks", n * p->voxels, sizeof *p->lowest);
    p->room = tr_calloc("chunks", n, tr_zarr_room(&p->zarr));
    return p->top && p->middle && p->lowest && p->room ? TR_OK : TR_ERR_MEMORY;
}

/* By the first process: an empty folder, or one with chunks that can stay. */
static tr_status begin(const pyramid *p, bool *kept)
{
    bool same = false;
    TR_TRY(tr_zarr_begin(p->folder, &p->zarr, &same));
    if (*kept && same)
        return TR_OK;
    *kept = false;
    TR_TRY(tr_folder_remove(p->folder));
    return tr_zarr_begin(p->folder, &p->zarr, &same);
}

static tr_status write_all(pyramid *p, tr_comm *comm, int threads, bool kept)
{
    tr_status status = comm->rank == 0 ? begin(p, &kept) : TR_OK;
    TR_TRY(comm->ops->agree(comm, status));
    double stays = kept;
    TR_TRY(comm->ops->broadcast(comm, &stays, 1));
    return comm->ops->agree(comm, make_cubes(p, comm, threads, stays != 0.0));
}

static tr_zarr describe(const tr_volume_spec *v, bool xyz, int version)
{
    return (tr_zarr){.size = {xyz ? v->nz : v->ny, xyz ? v->ny : v->nz, v->nx},
                     .type = v->type == TR_FLOAT16 ? TR_FLOAT32 : v->type,
                     .voxel = v->pixel > 0.0 ? v->pixel : 1.0,
                     .version = version,
                     .packing = tr_zarr_best_packing(),
                     .n_labels = v->n_labels,
                     .labels = v->labels};
}

tr_status tr_pyramid_check(const tr_volume_spec *v, bool xyz, const tr_pyramid_spec *spec)
{
    tr_zarr zarr = describe(v, xyz, spec->version);
    int threads = 1;
    return fit(&zarr, spec, &threads);
}

tr_status tr_pyramid_write(tr_comm *comm, const char *path, const tr_volume_spec *v,
                           bool xyz, const tr_pyramid_spec *spec, const char *folder,
                           int threads, bool kept)
{
    pyramid p = {.folder = folder, .xyz = xyz, .zarr = describe(v, xyz, spec->version)};
    tr_status status = fit(&p.zarr, spec, &threads);
    if (status == TR_OK)
        status = open_pyramid(&p, path, threads);
    status = comm->ops->agree(comm, status);
    if (status == TR_OK)
        status = write_all(&p, comm, threads, kept);
    tr_image_close(p.image);
    free(p.top);
    free(p.middle);
    free(p.lowest);
    free(p.room);
    return status;
}

/* ---- folders ---- */

static int remove_one(const char *path, const struct stat *s, int kind, struct FTW *at)
{
    (void)s;
    (void)kind;
    (void)at;
    return remove(path);
}

tr_status tr_folder_remove(const char *folder)
{
    if (nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT)
        return TR_OK;
    return tr_fail(TR_ERR_DATA, "the folder %s cannot be removed: %s", folder,
                   strerror(errno));
}

tr_status tr_store_publish(const char *made, const char *name, const char *aside)
{
    TR_TRY(tr_folder_remove(aside));
    bool before = rename(name, aside) == 0;
    if (rename(made, name) == 0)
        return TR_OK;
    int error = errno;
    if (before)
        (void)rename(aside, name);
    return tr_fail(TR_ERR_DATA, "%s cannot be renamed to %s: %s", made, name,
                   strerror(error));
}

void tr_store_take_back(const char *made, const char *name, const char *aside)
{
    (void)rename(name, made);
    (void)rename(aside, name);
}
