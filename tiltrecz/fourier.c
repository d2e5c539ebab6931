#include "tiltrecz/fourier.h"

#include <complex.h>
#include <fftw3.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/partition.h"
#include "kernels/fftw_planner.h"
#include "kernels/outer_body.h"

struct tr_volume_fourier {
    tr_volume_fourier_spec spec;
    size_t beyond;         /* voxels on each side that the cells stand for */
    size_t nx, half, nz;   /* the box; of nx its frequencies */
    size_t ny, all_rows;   /* and along y */
    size_t first, lines;   /* of a plane's `half` lines, those of this process */
    fftwf_complex *volume; /* [nz][half][own rows] */
    fftwf_complex *whole;  /* own lines, as the ranks have sent them */
    float *planes;         /* per thread: [nx][rows] */
    float *host;           /* one plane as vectors have it */
    fftwf_complex *line;   /* per thread */
    size_t *send_counts, *recv_counts;
    fftwf_plan to_x, from_x, to_z, from_z, to_y, from_y;
};

static size_t n_ranks(const tr_volume_fourier *f) { return (size_t)f->spec.comm->size; }

/* ---- between vectors and planes ---- */

/* A cell's voxels in the box. */
static size_t cell_voxels(const tr_volume_fourier *f, size_t cell, size_t *first)
{
    size_t outer = f->spec.slab->outer,
           k = cell < outer ? outer - 1 - cell : cell - outer;
    size_t near = (size_t)tr_outer_edge((int)k), far = (size_t)tr_outer_edge((int)k + 1);
    *first = f->beyond + (cell < outer ? (size_t)0 - far : f->spec.slab->n_x + near);
    return far - near;
}

/* host[n_x + 2 outer][rows] of plane z from a vector, or to it. */
static tr_status move_plane(const tr_volume_fourier *f, bool out, size_t z, tr_vec *v)
{
    const tr_volume_fourier_spec *s = &f->spec;
    const tr_slab *slab = s->slab;
    const tr_rows core = {z * slab->n_x, slab->n_x, 0, s->n_rows},
                  cells = {tr_core_lines(slab) + z * 2 * slab->outer, 2 * slab->outer, 0,
                           s->n_rows};
    float *beside = f->host + slab->n_x * s->n_rows;
    if (!s->n_rows)
        return TR_OK;
    TR_TRY(out ? s->backend->get_rows(s->device, v, &core, f->host)
               : s->backend->put_rows(s->device, &core, f->host, false, v));
    if (!slab->outer)
        return TR_OK;
    return out ? s->backend->get_rows(s->device, v, &cells, beside)
               : s->backend->put_rows(s->device, &cells, beside, false, v);
}

static void expand(const tr_volume_fourier *f, bool means, float *plane)
{
    size_t rows = f->spec.n_rows, n_x = f->spec.slab->n_x;
    memset(plane, 0, f->nx * rows * sizeof *plane);
    memcpy(plane + f->beyond * rows, f->host, n_x * rows * sizeof *plane);
    for (size_t c = 0; c < 2 * f->spec.slab->outer; c++) {
        size_t first, n = cell_voxels(f, c, &first);
        const float *cell = f->host + (n_x + c) * rows;
        float share = means ? 1.0f / (float)n : 1.0f;
        for (size_t i = 0; i < n; i++)
            for (size_t r = 0; r < rows; r++)
                plane[(first + i) * rows + r] = share * cell[r];
    }
}

static void collect(const tr_volume_fourier *f, bool means, const float *plane)
{
    size_t rows = f->spec.n_rows, n_x = f->spec.slab->n_x;
    memcpy(f->host, plane + f->beyond * rows, n_x * rows * sizeof *plane);
    for (size_t c = 0; c < 2 * f->spec.slab->outer; c++) {
        size_t first, n = cell_voxels(f, c, &first);
        float *cell = f->host + (n_x + c) * rows;
        float share = means ? 1.0f / (float)n : 1.0f;
        for (size_t r = 0; r < rows; r++) {
            float sum = 0.0f;
            for (size_t i = 0; i < n; i++)
                sum += plane[(first + i) * rows + r];
            cell[r] = share * sum;
        }
    }
}

/* ---- lines along y ---- */

static void filter_line(const tr_volume_fourier *f, tr_at_frequency *factor,
                        const void *data, double kx, double kz, size_t i,
                        fftwf_complex *line)
{
    size_t before = 0, ny = f->ny;
    for (size_t rank = 0; rank < n_ranks(f); rank++) {
        size_t rows = f->spec.rows_of[rank];
        memcpy(line + before, f->whole + before * f->lines + i * rows,
               rows * sizeof *line);
        before += rows;
    }
    memset(line + before, 0, (ny - before) * sizeof *line);
    fftwf_execute_dft(f->to_y, line, line);
    float scale = 1.0f / ((float)f->nx * (float)f->nz * (float)ny);
    for (size_t k = 0; k <= ny / 2; k++) {
        float by = scale * (float)factor(data, kx, (double)k / (double)ny, kz);
        line[k] *= by;
        if (k && k != ny - k)
            line[ny - k] *= by;
    }
    fftwf_execute_dft(f->from_y, line, line);
    before = 0;
    for (size_t rank = 0; rank < n_ranks(f); rank++) {
        size_t rows = f->spec.rows_of[rank];
        memcpy(f->whole + before * f->lines + i * rows, line + before,
               rows * sizeof *line);
        before += rows;
    }
}

/* Plane z of the frequencies: each process gets whole lines, and gives them back. */
static tr_status filter_plane(tr_volume_fourier *f, tr_at_frequency *factor,
                              const void *data, size_t z)
{
    tr_comm *comm = f->spec.comm;
    float *plane = (float *)(f->volume + z * f->half * f->spec.n_rows);
    float *whole = (float *)f->whole;
    double kz = (z > f->nz / 2 ? (double)z - (double)f->nz : (double)z) / (double)f->nz;
    TR_TRY(comm->ops->exchange(comm, plane, f->send_counts, whole, f->recv_counts));
#pragma omp parallel num_threads(f->spec.threads)
    {
        size_t me = (size_t)omp_get_thread_num();
#pragma omp for
        for (size_t i = 0; i < f->lines; i++)
            filter_line(f, factor, data, (double)(f->first + i) / (double)f->nx, kz, i,
                        f->line + me * f->ny);
    }
    return comm->ops->exchange(comm, whole, f->recv_counts, plane, f->send_counts);
}

/* ---- all of it ---- */

tr_status tr_volume_fourier_run(tr_volume_fourier *f, tr_at_frequency *factor,
                                const void *data, bool means, const tr_vec *x, tr_vec *y)
{
    const tr_slab *slab = f->spec.slab;
    size_t rows = f->spec.n_rows, plane = f->half * rows;
    tr_vec from = *x;
    memset(f->volume + slab->n_z * plane, 0,
           (f->nz - slab->n_z) * plane * sizeof *f->volume);
    for (size_t z = 0; z < slab->n_z; z++) {
        TR_TRY(move_plane(f, true, z, &from));
        expand(f, means, f->planes);
        if (rows)
            fftwf_execute_dft_r2c(f->to_x, f->planes, f->volume + z * plane);
    }
#pragma omp parallel for num_threads(f->spec.threads)
    for (size_t k = 0; k < f->half; k++)
        if (rows)
            fftwf_execute_dft(f->to_z, f->volume + k * rows, f->volume + k * rows);
    for (size_t z = 0; z < f->nz; z++)
        TR_TRY(filter_plane(f, factor, data, z));
#pragma omp parallel for num_threads(f->spec.threads)
    for (size_t k = 0; k < f->half; k++)
        if (rows)
            fftwf_execute_dft(f->from_z, f->volume + k * rows, f->volume + k * rows);
    TR_TRY(f->spec.backend->fill(f->spec.device, y, 0.0f));
    for (size_t z = 0; z < slab->n_z; z++) {
        if (rows)
            fftwf_execute_dft_c2r(f->from_x, f->volume + z * plane, f->planes);
        collect(f, means, f->planes);
        TR_TRY(move_plane(f, false, z, y));
    }
    return TR_OK;
}

/* ---- making it ---- */

static size_t beyond_of(size_t outer) { return (size_t)tr_outer_edge((int)outer); }

size_t tr_volume_fourier_bytes(size_t n_x, size_t n_z, size_t outer, size_t n_rows,
                               size_t all_rows)
{
    size_t nx = tr_fft_length(n_x + 2 * beyond_of(outer)), half = nx / 2 + 1;
    size_t nz = tr_fft_length(n_z);
    return (nz * half * n_rows + half * all_rows) * sizeof(fftwf_complex) +
           2 * nx * n_rows * sizeof(float) + (1 << 20);
}

static void make_plans(tr_volume_fourier *f)
{
    const unsigned flags = FFTW_ESTIMATE | FFTW_UNALIGNED;
    int rows = (int)f->spec.n_rows, nx = (int)f->nx, nz = (int)f->nz, ny = (int)f->ny;
    int apart = (int)f->half * rows;
    f->to_y = fftwf_plan_dft_1d(ny, f->line, f->line, FFTW_FORWARD, flags);
    f->from_y = fftwf_plan_dft_1d(ny, f->line, f->line, FFTW_BACKWARD, flags);
    if (!rows)
        return;
    f->to_x = fftwf_plan_many_dft_r2c(1, &nx, rows, f->planes, NULL, rows, 1, f->volume,
                                      NULL, rows, 1, flags);
    f->from_x = fftwf_plan_many_dft_c2r(1, &nx, rows, f->volume, NULL, rows, 1, f->planes,
                                        NULL, rows, 1, flags);
    f->to_z = fftwf_plan_many_dft(1, &nz, rows, f->volume, NULL, apart, 1, f->volume,
                                  NULL, apart, 1, FFTW_FORWARD, flags);
    f->from_z = fftwf_plan_many_dft(1, &nz, rows, f->volume, NULL, apart, 1, f->volume,
                                    NULL, apart, 1, FFTW_BACKWARD, flags);
}

static tr_status build(tr_volume_fourier *f)
{
    const tr_volume_fourier_spec *s = &f->spec;
    const tr_slab *slab = s->slab;
    size_t ranks = n_ranks(f), rows = s->n_rows, columns = slab->n_x + 2 * slab->outer;
    f->volume =
        tr_calloc("the volume's spectrum", f->nz * f->half * rows + 1, sizeof *f->volume);
    f->whole = tr_calloc("lines of it", f->lines * f->all_rows + 1, sizeof *f->whole);
    f->planes = tr_calloc("a plane", f->nx * rows + 1, sizeof *f->planes);
    f->host = tr_calloc("a plane", columns * rows + 1, sizeof *f->host);
    f->line = tr_calloc("a line", f->ny * (size_t)s->threads, sizeof *f->line);
    f->send_counts = tr_calloc("ranks", ranks, sizeof *f->send_counts);
    f->recv_counts = tr_calloc("ranks", ranks, sizeof *f->recv_counts);
    if (!f->volume || !f->whole || !f->planes || !f->host || !f->line ||
        !f->send_counts || !f->recv_counts)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < ranks; k++) {
        size_t first, lines;
        tr_partition(f->half, ranks, k, &first, &lines);
        f->send_counts[k] = 2 * lines * rows;
        f->recv_counts[k] = 2 * f->lines * s->rows_of[k];
    }
    tr_fftw_planner_lock();
    make_plans(f);
    tr_fftw_planner_unlock();
    bool complete =
        f->to_y && f->from_y && (!rows || (f->to_x && f->from_x && f->to_z && f->from_z));
    return complete ? TR_OK
                    : tr_fail(TR_ERR_MEMORY, "not enough memory to transform the volume");
}

tr_status tr_volume_fourier_new(const tr_volume_fourier_spec *spec,
                                tr_volume_fourier **fourier)
{
    tr_volume_fourier *f = tr_calloc("the volume's spectrum", 1, sizeof *f);
    tr_status status = f ? TR_OK : TR_ERR_MEMORY;
    if (f) {
        f->spec = *spec;
        f->beyond = beyond_of(spec->slab->outer);
        f->nx = tr_fft_length(spec->slab->n_x + 2 * f->beyond);
        f->half = f->nx / 2 + 1;
        f->nz = tr_fft_length(spec->slab->n_z);
        for (int k = 0; k < spec->comm->size; k++)
            f->all_rows += spec->rows_of[k];
        f->ny = tr_fft_length(f->all_rows);
        tr_partition(f->half, n_ranks(f), (size_t)spec->comm->rank, &f->first, &f->lines);
        status = build(f);
    }
    status = spec->comm->ops->agree(spec->comm, status);
    if (status != TR_OK)
        tr_volume_fourier_free(f);
    else
        *fourier = f;
    return status;
}

void tr_volume_fourier_free(tr_volume_fourier *f)
{
    if (!f)
        return;
    const fftwf_plan plans[] = {f->to_x,   f->from_x, f->to_z,
                                f->from_z, f->to_y,   f->from_y};
    tr_fftw_planner_lock();
    for (size_t k = 0; k < sizeof plans / sizeof *plans; k++)
        if (plans[k])
            fftwf_destroy_plan(plans[k]);
    tr_fftw_planner_unlock();
    free(f->volume);
    free(f->whole);
    free(f->planes);
    free(f->host);
    free(f->line);
    free(f->send_counts);
    free(f->recv_counts);
    free(f);
}
