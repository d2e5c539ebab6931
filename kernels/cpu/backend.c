/* The CPU backend: memory and vector operations with OpenMP threads. */
#include <fftw3.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernels/cpu/state.h"

/* The widest instruction set this processor has, or no wider than `widest`; TR_ISA=
 * baseline|avx2|avx512 (on ARM: neon) asks for another one, for tests and for the same
 * bytes on machines of different age. */
static tr_status choose_projectors(int widest, const tr_projectors **chosen,
                                   const char **best)
{
    const tr_projectors *available[3];
    size_t n = 0, first = 0;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        available[n++] = &tr_projectors_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        available[n++] = &tr_projectors_avx2;
#endif
#if defined(__aarch64__)
    available[n++] = &tr_projectors_neon;
#else
    available[n++] = &tr_projectors_baseline;
#endif
    const char *wanted = getenv("TR_ISA");
    bool named = wanted && *wanted;
    while (widest && first + 1 < n && available[first]->width > widest)
        first++;
    *chosen = available[first];
    *best = available[0]->name;
    for (size_t i = 0; i < n && named; i++)
        if (strcmp(available[i]->name, wanted) == 0) {
            *chosen = available[i > first ? i : first];
            return TR_OK;
        }
    if (!named)
        return TR_OK;
    return tr_fail(TR_ERR_UNAVAILABLE,
                   "TR_ISA=%s: this processor or build does not have it; the best it has "
                   "is %s",
                   wanted, available[0]->name);
}

/* FFTW and the mathematical library choose for themselves by what the processor has; the
 * latter has nothing beyond AVX2, and FFTW says what it was built with. */
static void describe_arithmetic(tr_cpu *cpu, const char *widest)
{
    if (strcmp(widest, "avx512") == 0 && !strstr(fftwf_version, "avx512"))
        widest = "avx2";
    snprintf(cpu->arithmetic, sizeof cpu->arithmetic, "%s on a processor with %s, %s",
             cpu->projectors->name, widest, fftwf_version);
}

static tr_status cpu_widest(int *number)
{
    const tr_projectors *chosen;
    const char *best;
    TR_TRY(choose_projectors(0, &chosen, &best));
    *number = chosen->width;
    return TR_OK;
}

static tr_status cpu_open(const tr_backend_settings *settings, void **state)
{
    int threads = settings->threads;
    tr_cpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu)
        return tr_fail(TR_ERR_MEMORY, "not enough memory to start the CPU backend");
    cpu->threads = threads;
    const char *best;
    tr_status status = choose_projectors(settings->widest, &cpu->projectors, &best);
    if (status != TR_OK) {
        free(cpu);
        return status;
    }
    snprintf(cpu->description, sizeof cpu->description, "CPU, %d thread%s, %s", threads,
             threads == 1 ? "" : "s", cpu->projectors->name);
    describe_arithmetic(cpu, best);
    *state = cpu;
    return TR_OK;
}

static void cpu_close(void *state)
{
    free(((tr_cpu *)state)->room);
    free(state);
}

static const char *cpu_describe(void *state) { return ((tr_cpu *)state)->description; }

static const char *cpu_arithmetic(void *state) { return ((tr_cpu *)state)->arithmetic; }

tr_status tr_cpu_alloc(void *state, size_t floats, float **data)
{
    (void)state;
    const size_t huge = (size_t)2 << 20;
    size_t bytes = floats * sizeof **data;
    if (floats > (SIZE_MAX - huge) / sizeof **data)
        return tr_fail(TR_ERR_MEMORY, "%zu values do not fit in memory", floats);
    size_t alignment = bytes >= huge ? huge : 64;
    bytes = (bytes + alignment - 1) / alignment * alignment;
    float *memory = aligned_alloc(alignment, bytes ? bytes : alignment);
    if (!memory)
        return tr_fail(TR_ERR_MEMORY, "not enough memory: %zu bytes could not be had",
                       bytes);
    if (alignment == huge)
        (void)madvise(memory, bytes, MADV_HUGEPAGE); /* only a hint */
#ifndef NDEBUG
    memset(memory, 0xff, bytes); /* NaN: what is read before it is written shows */
#endif
    *data = memory;
    return TR_OK;
}

static void cpu_free(void *state, float *data)
{
    (void)state;
    free(data);
}

static tr_status cpu_available(void *state, size_t *bytes)
{
    (void)state;
    *bytes = SIZE_MAX;
    return TR_OK;
}

static tr_status cpu_reserve(void *state, size_t bytes)
{
    (void)state;
    (void)bytes;
    return TR_OK;
}

static tr_status cpu_upload(void *state, const float *host, float *data, size_t floats)
{
    (void)state;
    memcpy(data, host, floats * sizeof *data);
    return TR_OK;
}

static tr_status cpu_download(void *state, const float *data, float *host, size_t floats)
{
    return cpu_upload(state, data, host, floats);
}

static tr_status cpu_wait(void *state)
{
    (void)state;
    return TR_OK;
}

static int threads_of(void *state) { return ((tr_cpu *)state)->threads; }

static tr_status cpu_get_rows(void *state, const tr_vec *v, const tr_rows *rows,
                              float *host)
{
    TR_ASSERT(rows->line + rows->n_lines <= v->lines &&
              rows->row + rows->n_rows <= v->rows);
#pragma omp parallel for schedule(static) num_threads(threads_of(state))
    for (size_t l = 0; l < rows->n_lines; l++) {
        const float *from = v->data + (rows->line + l) * v->rows + rows->row;
        memcpy(host + l * rows->n_rows, from, rows->n_rows * sizeof *host);
    }
    return TR_OK;
}

static tr_status cpu_put_rows(void *state, const tr_rows *rows, const float *host,
                              bool add, tr_vec *v)
{
    TR_ASSERT(rows->line + rows->n_lines <= v->lines &&
              rows->row + rows->n_rows <= v->rows);
#pragma omp parallel for schedule(static) num_threads(threads_of(state))
    for (size_t l = 0; l < rows->n_lines; l++) {
        const float *from = host + l * rows->n_rows;
        float *to = v->data + (rows->line + l) * v->rows + rows->row;
        for (size_t r = 0; r < rows->n_rows; r++)
            to[r] = add ? to[r] + from[r] : from[r];
    }
    return TR_OK;
}

static tr_status cpu_set_rows(void *state, const tr_rows *rows, const size_t *from,
                              tr_vec *v)
{
    TR_ASSERT(rows->line + rows->n_lines <= v->lines &&
              rows->row + rows->n_rows <= v->rows && (!from || *from < v->rows));
#pragma omp parallel for schedule(static) num_threads(threads_of(state))
    for (size_t l = rows->line; l < rows->line + rows->n_lines; l++) {
        float *line = v->data + l * v->rows, value = from ? line[*from] : 0.0f;
        for (size_t r = rows->row; r < rows->row + rows->n_rows; r++)
            line[r] = value;
    }
    return TR_OK;
}

static tr_status cpu_copy_views(void *state, const tr_slab *slab, const tr_subset *views,
                                size_t n_rows, const tr_view_rows *from, bool add,
                                const tr_view_rows *to)
{
    size_t lines = slab->n_u + TR_GUARDS, n = views ? views->n : slab->n_views;
#pragma omp parallel for schedule(static) num_threads(threads_of(state))
    for (size_t l = 0; l < n * lines; l++) {
        size_t own = (views ? views->views[l / lines] : l / lines) * lines + l % lines;
        const float *source =
            from->data + (from->packed ? l : own) * from->rows + from->row;
        float *target = to->data + (to->packed ? l : own) * to->rows + to->row;
        if (!add)
            memcpy(target, source, n_rows * sizeof *target);
        for (size_t r = 0; r < n_rows && add; r++)
            target[r] += source[r];
    }
    return TR_OK;
}

static size_t length(const tr_vec *y) { return y->lines * y->rows; }

static tr_status cpu_fill(void *state, tr_vec *y, float value)
{
    float *to = y->data;
#pragma omp parallel for simd num_threads(threads_of(state))
    for (size_t i = 0; i < length(y); i++)
        to[i] = value;
    return TR_OK;
}

static tr_status cpu_copy(void *state, const tr_vec *x, tr_vec *y)
{
    const float *from = x->data;
    float *to = y->data;
    TR_ASSERT(length(x) == length(y));
#pragma omp parallel for simd num_threads(threads_of(state))
    for (size_t i = 0; i < length(y); i++)
        to[i] = from[i];
    return TR_OK;
}

static tr_status cpu_axpy(void *state, float a, const tr_vec *x, tr_vec *y)
{
    const float *from = x->data;
    float *to = y->data;
    TR_ASSERT(length(x) == length(y));
#pragma omp parallel for simd num_threads(threads_of(state))
    for (size_t i = 0; i < length(y); i++)
        to[i] += a * from[i];
    return TR_OK;
}

static tr_status cpu_xpay(void *state, const tr_vec *x, float a, tr_vec *y)
{
    const float *from = x->data;
    float *to = y->data;
    TR_ASSERT(length(x) == length(y));
#pragma omp parallel for simd num_threads(threads_of(state))
    for (size_t i = 0; i < length(y); i++)
        to[i] = from[i] + a * to[i];
    return TR_OK;
}

static tr_status cpu_clamp(void *state, float low, tr_vec *y)
{
    float *to = y->data;
#pragma omp parallel for simd num_threads(threads_of(state))
    for (size_t i = 0; i < length(y); i++)
        to[i] = to[i] > low ? to[i] : low;
    return TR_OK;
}

static tr_status cpu_shrink(void *state, float t, tr_vec *y)
{
    float *to = y->data;
#pragma omp parallel for simd num_threads(threads_of(state))
    for (size_t i = 0; i < length(y); i++)
        to[i] = copysignf(fmaxf(fabsf(to[i]) - t, 0.0f), to[i]);
    return TR_OK;
}

/* Summed line by line in a fixed order, so the threads do not show in the result. */
static tr_status cpu_dot(void *state, const tr_vec *x, const tr_vec *y, double *sum)
{
    const size_t n = length(x), chunks = (n + TR_CPU_CHUNK - 1) / TR_CPU_CHUNK;
    TR_ASSERT(n == length(y));
    double *part = tr_cpu_new_parts(chunks, 1);
    if (!part)
        return TR_ERR_MEMORY;
#pragma omp parallel for schedule(static) num_threads(threads_of(state))
    for (size_t c = 0; c < chunks; c++) {
        size_t end = tr_cpu_part_end(c, TR_CPU_CHUNK, n);
        for (size_t i = c * TR_CPU_CHUNK; i < end; i++)
            part[c] += (double)x->data[i] * y->data[i];
    }
    tr_cpu_add_parts(part, chunks, 1, sum);
    return TR_OK;
}

static tr_status cpu_mul_lines(void *state, const tr_vec *w, tr_vec *y)
{
    TR_ASSERT(w->lines == y->lines && (w->rows == 1 || w->rows == y->rows));
#pragma omp parallel for schedule(static) num_threads(threads_of(state))
    for (size_t l = 0; l < y->lines; l++) {
        const float *factor = w->data + l * w->rows;
        float *to = y->data + l * y->rows;
        if (w->rows == 1)
            for (size_t r = 0; r < y->rows; r++)
                to[r] *= factor[0];
        else
            for (size_t r = 0; r < y->rows; r++)
                to[r] *= factor[r];
    }
    return TR_OK;
}

static tr_status cpu_axpy_lines(void *state, float a, const tr_vec *w, const tr_vec *x,
                                tr_vec *y)
{
    TR_ASSERT(w->lines == y->lines && (w->rows == 1 || w->rows == y->rows));
    TR_ASSERT(length(x) == length(y));
#pragma omp parallel for schedule(static) num_threads(threads_of(state))
    for (size_t l = 0; l < y->lines; l++) {
        const float *from = x->data + l * y->rows, *factor = w->data + l * w->rows;
        float *to = y->data + l * y->rows;
        if (w->rows == 1)
            for (size_t r = 0; r < y->rows; r++)
                to[r] += a * factor[0] * from[r];
        else
            for (size_t r = 0; r < y->rows; r++)
                to[r] += a * factor[r] * from[r];
    }
    return TR_OK;
}

static tr_status cpu_invert_guarded(void *state, float tiny, tr_vec *y)
{
    float *to = y->data;
#pragma omp parallel for simd num_threads(threads_of(state))
    for (size_t i = 0; i < length(y); i++)
        to[i] = to[i] > tiny ? 1.0f / to[i] : 0.0f;
    return TR_OK;
}

static tr_status cpu_row_dots(void *state, const tr_vec *w, const tr_vec *x,
                              const tr_vec *y, double *sums)
{
    size_t rows = x->rows, parts = (x->lines + TR_CPU_LINES - 1) / TR_CPU_LINES;
    TR_ASSERT(length(x) == length(y) &&
              (!w || (w->lines == x->lines && (w->rows == 1 || w->rows == rows))));
    const float one = 1.0f;
    double *part = tr_cpu_new_parts(parts, rows);
    if (!part)
        return TR_ERR_MEMORY;
#pragma omp parallel for schedule(static) num_threads(threads_of(state))
    for (size_t k = 0; k < parts; k++) {
        size_t end = tr_cpu_part_end(k, TR_CPU_LINES, x->lines);
        for (size_t l = k * TR_CPU_LINES; l < end; l++) {
            const float *factor = w ? w->data + l * w->rows : &one;
            size_t step = w && w->rows > 1;
            const float *a = x->data + l * rows, *b = y->data + l * rows;
            for (size_t r = 0; r < rows; r++)
                part[k * rows + r] += (double)factor[r * step] * a[r] * b[r];
        }
    }
    tr_cpu_add_parts(part, parts, rows, sums);
    return TR_OK;
}

static tr_status cpu_axpy_rows(void *state, const float *a, const tr_vec *x, tr_vec *y)
{
    TR_ASSERT(length(x) == length(y));
#pragma omp parallel for schedule(static) num_threads(threads_of(state))
    for (size_t l = 0; l < y->lines; l++)
        for (size_t r = 0; r < y->rows; r++)
            y->data[l * y->rows + r] += a[r] * x->data[l * y->rows + r];
    return TR_OK;
}

static tr_status cpu_scale_rows(void *state, const float *a, tr_vec *y)
{
#pragma omp parallel for schedule(static) num_threads(threads_of(state))
    for (size_t l = 0; l < y->lines; l++)
        for (size_t r = 0; r < y->rows; r++)
            y->data[l * y->rows + r] *= a[r];
    return TR_OK;
}

/* One thread per vector of rows: every row is summed in the same order always. */
static tr_status cpu_row_squares(void *state, const tr_slab *slab, const tr_subset *views,
                                 const tr_vec *p, double *sums)
{
    size_t rows = p->rows, lines = slab->n_u + TR_GUARDS;
    /* Each thread some rows: the order in which a row is added up stays the same. */
    size_t threads = (size_t)threads_of(state);
    size_t share = (rows / TR_LANES + threads - 1) / threads * TR_LANES;
#pragma omp parallel for schedule(static) num_threads((int)threads)
    for (size_t r0 = 0; r0 < rows; r0 += share) {
        size_t n = rows - r0 < share ? rows - r0 : share;
        double part[n];
        memset(part, 0, sizeof part);
        for (size_t k = 0; k < tr_view_count(slab, views); k++) {
            const float *from = p->data + tr_view_at(views, k) * lines * rows + r0;
            for (size_t l = 0; l < lines; l++)
                for (size_t r = 0; r < n; r++)
                    part[r] += (double)from[l * rows + r] * from[l * rows + r];
        }
        for (size_t r = 0; r < n; r++)
            sums[r0 + r] += part[r];
    }
    return TR_OK;
}

static tr_status cpu_mask_rows(void *state, const tr_slab *slab, const tr_subset *views,
                               const float *mask, tr_vec *p)
{
    size_t rows = p->rows, lines = slab->n_u + TR_GUARDS;
#pragma omp parallel for schedule(static) num_threads(threads_of(state))
    for (size_t k = 0; k < tr_view_count(slab, views); k++) {
        float *to = p->data + tr_view_at(views, k) * lines * rows;
        for (size_t l = 0; l < lines; l++)
            for (size_t r = 0; r < rows; r++)
                to[l * rows + r] *= mask[r];
    }
    return TR_OK;
}

/* Whether any of the views needs more than the kernels for independent rows. */
static bool is_general(const tr_slab *slab, const tr_subset *views)
{
    return slab->all_rows || tr_kind_of_rays(slab, views) == TR_RAYS_ANYWHERE;
}

static tr_status cpu_project(void *state, const tr_slab *slab, const tr_subset *views,
                             const tr_vec *x, tr_vec *p)
{
    const tr_cpu *cpu = state;
    TR_ASSERT(!slab->bands);
    (is_general(slab, views)
         ? cpu->projectors->project_general
         : cpu->projectors->project)(slab, views, x->data, p->data, cpu->threads);
    if (slab->outer)
        cpu->projectors->project_outer(slab, views, x->data, p->data, cpu->threads);
    return TR_OK;
}

static tr_status cpu_backproject(void *state, const tr_slab *slab, const tr_subset *views,
                                 const tr_vec *p, tr_vec *x)
{
    const tr_cpu *cpu = state;
    TR_ASSERT(!slab->bands || (!slab->outer && !is_general(slab, views)));
    (is_general(slab, views)
         ? cpu->projectors->backproject_general
         : cpu->projectors->backproject)(slab, views, p->data, x->data, cpu->threads);
    if (slab->outer)
        cpu->projectors->backproject_outer(slab, views, p->data, x->data, cpu->threads);
    return TR_OK;
}

static tr_status cpu_project_sums(void *state, const tr_slab *slab,
                                  const tr_subset *views, const tr_vec *x,
                                  const double *quantum, double *sums)
{
    const tr_cpu *cpu = state;
    cpu->projectors->project_sums(slab, views, x->data, quantum, sums, cpu->threads);
    return TR_OK;
}

static tr_status cpu_largest(void *state, const tr_vec *x, double *value)
{
    float most = 0.0f;
#pragma omp parallel for simd reduction(max : most) num_threads(threads_of(state))
    for (size_t i = 0; i < length(x); i++) {
        float here = fabsf(x->data[i]);
        most = here > most ? here : most;
    }
    *value = most;
    return TR_OK;
}

const tr_backend tr_backend_cpu = {
    .name = "cpu",
    .widest = cpu_widest,
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .arithmetic = cpu_arithmetic,
    .available = cpu_available,
    .reserve = cpu_reserve,
    .alloc = tr_cpu_alloc,
    .alloc_volume = tr_cpu_alloc,
    .free = cpu_free,
    .alloc_host = tr_cpu_alloc,
    .free_host = cpu_free,
    .upload = cpu_upload,
    .download = cpu_download,
    .wait = cpu_wait,
    .lines_from = tr_cpu_lines_from,
    .lines_to = tr_cpu_lines_to,
    .get_rows = cpu_get_rows,
    .put_rows = cpu_put_rows,
    .set_rows = cpu_set_rows,
    .copy_views = cpu_copy_views,
    .fill = cpu_fill,
    .copy = cpu_copy,
    .axpy = cpu_axpy,
    .xpay = cpu_xpay,
    .clamp = cpu_clamp,
    .shrink = cpu_shrink,
    .dot = cpu_dot,
    .mul_lines = cpu_mul_lines,
    .axpy_lines = cpu_axpy_lines,
    .invert_guarded = cpu_invert_guarded,
    .row_dots = cpu_row_dots,
    .axpy_rows = cpu_axpy_rows,
    .scale_rows = cpu_scale_rows,
    .row_squares = cpu_row_squares,
    .mask_rows = cpu_mask_rows,
    .grad = tr_cpu_grad,
    .grad_adjoint = tr_cpu_grad_adjoint,
    .shrink_vectors = tr_cpu_shrink_vectors,
    .sum_lengths = tr_cpu_sum_lengths,
    .row_lengths = tr_cpu_row_lengths,
    .haar = tr_cpu_haar,
    .filter = tr_cpu_filter,
    .project = cpu_project,
    .backproject = cpu_backproject,
    .backproject_fourier = tr_cpu_backproject_fourier,
    .project_fourier = tr_cpu_project_fourier,
    .project_sums = cpu_project_sums,
    .largest = cpu_largest,
    .row_sums = tr_cpu_row_sums,
    .col_sums = tr_cpu_col_sums,
};
