/* Any backend under test: TR_TEST_BACKEND names it (cpu if unset), and it is tried in
 * each of its variants, which are instruction sets or kernels. Vectors have a copy in
 * host memory. */
#ifndef TR_BACKEND_FIXTURE_H
#define TR_BACKEND_FIXTURE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/backend.h"

typedef struct fixture {
    const tr_backend *backend;
    void *device;
    const char *name; /* of the variant */
    bool exact;       /* interpolates in full precision */
} fixture;

static inline const char *backend_name(void)
{
    const char *name = getenv("TR_TEST_BACKEND");
    return name && *name ? name : "cpu";
}

static inline bool is_cpu(void) { return strcmp(backend_name(), "cpu") == 0; }

static const struct {
    const char *name;
    tr_kernel kernel;
    bool cpu, exact;
} variants[] = {{"baseline", TR_KERNEL_AUTO, true, true},
                {"avx2", TR_KERNEL_AUTO, true, true},
                {"avx512", TR_KERNEL_AUTO, true, true},
                {"neon", TR_KERNEL_AUTO, true, true},
                {"tile", TR_KERNEL_TILE, false, true},
                {"tensor", TR_KERNEL_TENSOR, false, true},
                {"texture", TR_KERNEL_TEXTURE, false, false}};

enum { N_VARIANTS = sizeof variants / sizeof *variants };

/* Opens variant i of the backend; false where it is another backend's, or the processor
 * lacks it. */
static inline bool open_variant(fixture *f, int i, int threads)
{
    if (variants[i].cpu != is_cpu())
        return false;
    *f = (fixture){.backend = tr_backend_find(backend_name()),
                   .name = variants[i].name,
                   .exact = variants[i].exact};
    assert_non_null(f->backend);
    setenv("TR_ISA", variants[i].name, 1);
    tr_backend_settings settings = {.threads = threads, .kernel = variants[i].kernel};
    tr_status status = f->backend->open(&settings, &f->device);
    if (status == TR_OK)
        return true;
    bool may_lack = is_cpu() || variants[i].kernel == TR_KERNEL_TENSOR;
    if (status != TR_ERR_UNAVAILABLE || !may_lack)
        fail_msg("%s: %s", f->name, tr_error());
    print_message("[  SKIPPED ] %s: %s\n", f->name, tr_error());
    return false;
}

/* The first variant, for what does not depend on it. */
static inline fixture open_first(int threads)
{
    fixture f;
    for (int i = 0; i < N_VARIANTS; i++)
        if (open_variant(&f, i, threads))
            return f;
    fail_msg("%s has no variant", backend_name());
    return f;
}

static inline void close_backend(fixture *f) { f->backend->close(f->device); }

/* For main: 77, which ctest counts as skipped, where there is no such device; 1 where it
 * does not start; else 0. */
static inline int backend_missing(void)
{
    const tr_backend *backend = tr_backend_find(backend_name());
    void *device;
    unsetenv("TR_ISA");
    if (!backend) {
        printf("SKIPPED: this build has no backend %s\n", backend_name());
        return 77;
    }
    tr_status status = backend->open(&(tr_backend_settings){.threads = 1}, &device);
    if (status != TR_OK) {
        bool missing = status == TR_ERR_UNAVAILABLE;
        printf("%s: %s\n", missing ? "SKIPPED" : "FAILED", tr_error());
        return missing ? 77 : 1;
    }
    printf("%s: %s\n", backend->name, backend->describe(device));
    backend->close(device);
    return 0;
}

/* ---- vectors ---- */

typedef struct vec {
    tr_vec on; /* the device */
    float *host;
    size_t n;
} vec;

static inline vec new_vec(const fixture *f, size_t lines, size_t rows)
{
    vec v = {{.lines = lines, .rows = rows}, NULL, lines * rows};
    assert_int_equal(f->backend->alloc(f->device, v.n, &v.on.data), TR_OK);
    assert_int_equal((uintptr_t)v.on.data % 64, 0);
    assert_int_equal(f->backend->alloc_host(f->device, v.n, &v.host), TR_OK);
    return v;
}

static inline void free_vec(const fixture *f, vec *v)
{
    f->backend->free(f->device, v->on.data);
    f->backend->free_host(f->device, v->host);
}

static inline void to_device(const fixture *f, const vec *v)
{
    assert_int_equal(f->backend->upload(f->device, v->host, v->on.data, v->n), TR_OK);
}

static inline void to_host(const fixture *f, const vec *v)
{
    if (f->backend->wait(f->device) != TR_OK ||
        f->backend->download(f->device, v->on.data, v->host, v->n) != TR_OK)
        fail_msg("%s", tr_error());
}

/* A small generator of our own: the same numbers everywhere. */
static inline float uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(*state >> 40) / (float)(1 << 24);
}

/* Random in [low, low + 1), on the host and on the device. */
static inline void randomize(const fixture *f, vec *v, uint64_t seed, float low)
{
    for (size_t i = 0; i < v->n; i++)
        v->host[i] = uniform(&seed) + low;
    to_device(f, v);
}

/* Random inside the images, 0 on the guards, as vectors of algorithms are. */
static inline void randomize_projections(const fixture *f, const tr_slab *s, vec *p,
                                         uint64_t seed)
{
    size_t columns = s->n_u + TR_GUARDS;
    for (size_t i = 0; i < p->n; i++) {
        size_t column = i / p->on.rows % columns;
        p->host[i] = column == 0 || column > s->n_u ? 0.0f : uniform(&seed);
    }
    to_device(f, p);
}

/* Of the host copies. */
static inline double host_dot(const vec *a, const vec *b)
{
    long double sum = 0.0L;
    for (size_t i = 0; i < a->n; i++)
        sum += (double)a->host[i] * b->host[i];
    return (double)sum;
}

/* <Ax, y> = <x, A^T y>, and both are positive. */
static inline void expect_equal_dots(const vec *ax, const vec *y, const vec *x,
                                     const vec *aty, double tolerance, const char *name)
{
    double forward = host_dot(ax, y), adjoint = host_dot(x, aty);
    if (!(fabs(forward - adjoint) <= tolerance * fabs(forward)) || !(forward > 0.0))
        fail_msg("%s: <Ax, y> = %.12g but <x, A^T y> = %.12g", name, forward, adjoint);
}

/* <A x, y> = <x, A^T y> over the subset's views for this x and random projections y. */
static inline void expect_adjoint(const fixture *f, const tr_slab *s,
                                  const tr_subset *views, const vec *x, double tolerance,
                                  const char *name)
{
    const tr_backend *b = f->backend;
    vec back = new_vec(f, x->on.lines, x->on.rows);
    vec p = new_vec(f, tr_projection_lines(s), s->p_rows);
    vec ax = new_vec(f, p.on.lines, p.on.rows);
    memset(ax.host, 0, ax.n * sizeof *ax.host); /* views of no subset stay so */
    to_device(f, &ax);
    randomize_projections(f, s, &p, 2);
    assert_int_equal(b->project(f->device, s, views, &x->on, &ax.on), TR_OK);
    assert_int_equal(b->backproject(f->device, s, views, &p.on, &back.on), TR_OK);
    to_host(f, &ax);
    to_host(f, &back);
    expect_equal_dots(&ax, &p, x, &back, tolerance, name);
    free_vec(f, &back);
    free_vec(f, &p);
    free_vec(f, &ax);
}

#endif
