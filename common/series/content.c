#include "common/series/content.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/base/mem.h"
#include "common/base/partition.h"
#include "kernels/samples.h"

enum { AT_ONCE = 64 }; /* rows */

tr_status tr_content_new(size_t n_images, size_t n_rows, tr_content *c)
{
    size_t n = 0;
    *c = (tr_content){.n_images = n_images, .n_rows = n_rows};
    TR_TRY(tr_size_product("hashes of rows", &n, 2, (size_t[]){n_images, n_rows}));
    c->hash = tr_calloc("hashes of rows", n, sizeof *c->hash);
    return c->hash ? TR_OK : TR_ERR_MEMORY;
}

void tr_content_free(tr_content *c)
{
    free(c->hash);
    *c = (tr_content){.hash = NULL};
}

size_t tr_content_bytes(const tr_content *c)
{
    return c->n_images * c->n_rows * sizeof *c->hash;
}

/* 52 bits, so that doubles hold it, and never 0. */
static double hash_row(const float *row, size_t width)
{
    return (double)((tr_samples_best()->hash(row, width, 0) >> 12) + 1);
}

void tr_content_note(tr_content *c, size_t image, size_t row, size_t n, size_t width,
                     const float *rows)
{
    TR_ASSERT(image < c->n_images && row + n <= c->n_rows);
    for (size_t r = 0; r < n; r++)
        c->hash[image * c->n_rows + row + r] = hash_row(rows + r * width, width);
}

static tr_status look_at_section(tr_image *file, size_t section, float *rows,
                                 tr_content *c)
{
    const tr_image_info *info = tr_image_get_info(file);
    for (size_t y = 0, n; y < info->ny; y += n) {
        n = info->ny - y < AT_ONCE ? info->ny - y : AT_ONCE;
        TR_TRY(tr_image_read(file, section, y, n, 0, info->nx, rows));
        tr_content_note(c, section, y, n, info->nx, rows);
    }
    return TR_OK;
}

static tr_status look_at_share(const tr_comm *comm, tr_image *file, int threads,
                               tr_content *c)
{
    size_t first, count, width = tr_image_get_info(file)->nx;
    tr_status failed = TR_OK;
    char sentence[1024] = "";
    tr_partition(c->n_images, (size_t)comm->size, (size_t)comm->rank, &first, &count);
#pragma omp parallel num_threads(threads)
    {
        float *rows = tr_calloc("rows of an image", AT_ONCE * width, sizeof *rows);
        tr_status mine = rows ? TR_OK : TR_ERR_MEMORY;
#pragma omp for schedule(dynamic)
        for (size_t k = first; k < first + count; k++)
            if (mine == TR_OK)
                mine = look_at_section(file, k, rows, c);
        if (mine != TR_OK) {
#pragma omp critical
            if (failed == TR_OK) {
                failed = mine;
                strncpy(sentence, tr_error(), sizeof sentence - 1);
            }
        }
        free(rows);
    }
    return failed == TR_OK ? TR_OK : tr_fail(failed, "%s", sentence);
}

tr_status tr_content_look(tr_comm *comm, tr_image *file, int threads, tr_content *c)
{
    const tr_image_info *info = tr_image_get_info(file);
    TR_TRY(comm->ops->agree(comm, tr_content_new(info->nz, info->ny, c)));
    TR_TRY(comm->ops->agree(comm, look_at_share(comm, file, threads, c)));
    return comm->ops->agree(comm, tr_content_share(comm, c));
}

tr_status tr_content_share(tr_comm *comm, tr_content *c)
{
    return comm->ops->sum(comm, c->hash, c->n_images * c->n_rows);
}

tr_status tr_content_changed(const char *path, size_t section, size_t row)
{
    return tr_fail(TR_ERR_DATA,
                   "%s was changed while this run used it: row %zu of section %zu (from "
                   "0) is not what it was at first; start the run again, and leave the "
                   "file alone until it ends",
                   path, row, section);
}

tr_status tr_content_read(const tr_content *c, size_t image, tr_image *file,
                          size_t section, size_t row, size_t n, float *rows)
{
    size_t width = tr_image_get_info(file)->nx;
    TR_ASSERT(image < c->n_images && row + n <= c->n_rows);
    TR_TRY(tr_image_read(file, section, row, n, 0, width, rows));
    for (size_t r = 0; r < n; r++) {
        double known = c->hash[image * c->n_rows + row + r];
        if (known != 0.0 && known != hash_row(rows + r * width, width))
            return tr_content_changed(tr_image_path(file), section, row + r);
    }
    return TR_OK;
}

void tr_content_digest(const tr_content *c, size_t width, char text[TR_DIGEST])
{
    XXH128_hash_t h = XXH3_128bits_withSeed(c->hash, tr_content_bytes(c), width);
    snprintf(text, TR_DIGEST, "%016llx%016llx", (unsigned long long)h.high64,
             (unsigned long long)h.low64);
}
