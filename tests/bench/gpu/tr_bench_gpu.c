/* Verifies the kernels of the CUDA backend against those for CPUs, then times them
 * against what the device can do at most. See --help. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../workload.h"
#include "ceilings.h"

enum { RUNS = 7, QUICK_RUNS = 3 };

typedef struct bench {
    bool quick;
    double seconds; /* of timing per run */
    int runs;
    const char *only, *json;
    tr_ceilings most;
    FILE *out; /* the JSON file */
    size_t lines;
} bench;

/* One slab of each. */
static const workload workloads[] = {
    {"S-128", 41, 512, 512, 128, 128, 0, 0, 0},
    {"BBb-128", 64, 1024, 1024, 300, 128, 0, 0, 0},
    {"2048-128", 100, 2048, 2048, 512, 128, 0, 0, 0},
};
static const workload quick_workload = {"tiny-16", 7, 48, 48, 12, 16, 0, 0, 0};

/* ---- a slab on a device ---- */

typedef struct rig {
    const tr_backend *backend;
    void *device;
    const char *kernel;
    tr_slab slab;
    tr_filter filter;
    tr_vec b, p, x, gradient, R, C; /* R and C: one over row and column sums */
} rig;

static const struct {
    const char *backend, *name;
    tr_kernel kernel;
    double tolerance; /* of backprojections, of the largest value */
} devices[] = {
    {"cpu", "cpu", TR_KERNEL_AUTO, 0.0},
    {"cuda", "tile", TR_KERNEL_TILE, 5e-6},
    {"cuda", "tensor", TR_KERNEL_TENSOR, 5e-6},
    {"cuda", "texture", TR_KERNEL_TEXTURE, 8e-3}, /* weights of 8 bits */
};
enum { CPU, N_DEVICES = sizeof devices / sizeof *devices };

static tr_vec new_vec(const rig *r, size_t lines, size_t rows)
{
    tr_vec v = {.lines = lines, .rows = rows};
    need(r->backend->alloc(r->device, lines * rows, &v.data));
    need(r->backend->fill(r->device, &v, 0.0f));
    return v;
}

/* A ramp, as filters of tomography are, here one that changes the scale little. */
static void make_filter(rig *r)
{
    size_t length = tr_fft_length(r->slab.n_u + r->slab.n_u / 3);
    float *response = calloc(length / 2 + 1, sizeof *response);
    float *weight = calloc(r->slab.n_views, sizeof *weight);
    if (!response || !weight)
        die("not enough memory");
    for (size_t k = 0; k <= length / 2; k++)
        response[k] = 0.5f + (float)k / (float)length;
    for (size_t i = 0; i < r->slab.n_views; i++)
        weight[i] = 1.0f;
    r->filter = (tr_filter){length, response, weight, 0.0f, 0};
}

/* Random values inside the images. */
static void fill_images(rig *r)
{
    size_t n = r->b.lines * r->b.rows, columns = r->slab.n_u + TR_GUARDS;
    float *host;
    uint64_t seed = n;
    need(r->backend->alloc_host(r->device, n, &host));
    for (size_t i = 0; i < n; i++) {
        size_t column = i / r->b.rows % columns;
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        host[i] = column == 0 || column > r->slab.n_u
                      ? 0.0f
                      : (float)(seed >> 40) / (float)(1 << 24);
    }
    need(r->backend->wait(r->device));
    need(r->backend->upload(r->device, host, r->b.data, n));
    r->backend->free_host(r->device, host);
}

static tr_status invert_sums(rig *r)
{
    TR_TRY(r->backend->row_sums(r->device, &r->slab, NULL, &r->R));
    TR_TRY(r->backend->invert_guarded(r->device, 1e-3f, &r->R));
    TR_TRY(r->backend->col_sums(r->device, &r->slab, NULL, &r->C));
    return r->backend->invert_guarded(r->device, 1e-3f, &r->C);
}

/* Can the GPU at hand run this kernel? */
static bool is_there(int i)
{
    const tr_backend *backend = tr_backend_find(devices[i].backend);
    tr_backend_settings settings = {.threads = 1, .kernel = devices[i].kernel};
    void *device;
    tr_status status = backend->open(&settings, &device);
    if (status == TR_ERR_UNAVAILABLE)
        return false;
    need(status);
    backend->close(device);
    return true;
}

static rig new_rig(int i, const workload *w)
{
    rig r = {.backend = tr_backend_find(devices[i].backend), .kernel = devices[i].name};
    tr_backend_settings settings = {.threads = 2, .kernel = devices[i].kernel};
    need(r.backend->open(&settings, &r.device));
    r.slab = new_slab(w);
    size_t lines = tr_projection_lines(&r.slab), voxels = tr_volume_lines(&r.slab);
    r.b = new_vec(&r, lines, w->rows);
    r.p = new_vec(&r, lines, w->rows);
    r.x = new_vec(&r, voxels, w->rows);
    r.gradient = new_vec(&r, voxels, w->rows);
    r.R = new_vec(&r, lines, 1);
    r.C = new_vec(&r, voxels, 1);
    make_filter(&r);
    fill_images(&r);
    need(invert_sums(&r));
    return r;
}

static void free_rig(rig *r)
{
    const tr_vec *const all[] = {&r->b, &r->p, &r->x, &r->gradient, &r->R, &r->C};
    need(r->backend->wait(r->device));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        r->backend->free(r->device, all[i]->data);
    r->backend->close(r->device);
    free((void *)r->slab.rays);
    free((void *)r->filter.response);
    free((void *)r->filter.weight);
}

/* ---- what is timed ---- */

static tr_status run_filter(rig *r)
{
    return r->backend->filter(r->device, &r->slab, &r->filter, &r->b);
}

static tr_status run_backproject(rig *r)
{
    return r->backend->backproject(r->device, &r->slab, NULL, &r->b, &r->x);
}

static tr_status run_forward(rig *r)
{
    return r->backend->project(r->device, &r->slab, NULL, &r->x, &r->p);
}

/* As common/algorithms/sirt.c does it, from the second iteration on. */
static tr_status run_sirt(rig *r)
{
    const tr_backend *b = r->backend;
    TR_TRY(b->project(r->device, &r->slab, NULL, &r->x, &r->p));
    TR_TRY(b->xpay(r->device, &r->b, -1.0f, &r->p));
    TR_TRY(b->mul_lines(r->device, &r->R, &r->p));
    TR_TRY(b->backproject(r->device, &r->slab, NULL, &r->p, &r->gradient));
    return b->axpy_lines(r->device, 1.0f, &r->C, &r->gradient, &r->x);
}

typedef enum unit { UPDATES, BYTES } unit;

/* In an order in which each finds its input. */
static const struct task {
    const char *name;
    tr_status (*run)(rig *r);
    double passes; /* over the volume, or over the projections */
    unit unit;
    bool both; /* the texture kernel makes a difference */
} tasks[] = {
    {"filter", run_filter, 2.0, BYTES, false},
    {"backproject", run_backproject, 1.0, UPDATES, true},
    {"forward", run_forward, 1.0, UPDATES, false},
    {"sirt", run_sirt, 2.0, UPDATES, true},
};
enum { N_TASKS = sizeof tasks / sizeof *tasks };

/* ---- is the answer right? ---- */

static float *copy_of(const rig *r, const tr_vec *v)
{
    size_t n = v->lines * v->rows;
    float *host = malloc(n * sizeof *host);
    if (!host)
        die("not enough memory");
    need(r->backend->wait(r->device));
    if (r->backend->separate_memory)
        need(r->backend->download(r->device, v->data, host, n));
    else
        memcpy(host, v->data, n * sizeof *host);
    return host;
}

static void check(const rig *found, const rig *wanted, const tr_vec *f, const tr_vec *w,
                  const char *what, double tolerance)
{
    float *got = copy_of(found, f), *right = copy_of(wanted, w);
    double largest = 0.0, error = 0.0;
    size_t none = 0; /* NaN, which fmax passes over */
    for (size_t i = 0; i < w->lines * w->rows; i++) {
        largest = fmax(largest, fabs(right[i]));
        error = fmax(error, fabs(got[i] - right[i]));
        none += got[i] != got[i];
    }
    printf("# %-8s %-11s largest error %.1e of the largest value\n", found->kernel, what,
           error / largest);
    if (none || !(error <= tolerance * largest))
        die("a kernel is wrong: nothing was timed");
    free(got);
    free(right);
}

static void verify(int device)
{
    const workload small = {"", 15, 61, 73, 37, 80, 0, 0, 0};
    rig found = new_rig(device, &small), wanted = new_rig(CPU, &small);
    for (int i = 0; i < N_TASKS; i++) {
        need(tasks[i].run(&found));
        need(tasks[i].run(&wanted));
        double tolerance = tasks[i].both ? devices[device].tolerance : 1e-5;
        if (i == 0)
            check(&found, &wanted, &found.b, &wanted.b, "filter", tolerance);
        else if (i == 2) /* of what may be a rough backprojection */
            check(&found, &wanted, &found.p, &wanted.p, "forward",
                  fmax(1e-5, devices[device].tolerance));
        else
            check(&found, &wanted, &found.x, &wanted.x, tasks[i].name, tolerance);
    }
    free_rig(&found);
    free_rig(&wanted);
}

/* ---- how fast? ---- */

static double time_task(const bench *b, const struct task *t, rig *r)
{
    double each[RUNS], start = tr_now();
    need(t->run(r));
    need(r->backend->wait(r->device)); /* plans and textures are made */
    start = tr_now();
    need(t->run(r));
    need(r->backend->wait(r->device));
    double repeats = ceil(b->seconds / (tr_now() - start));
    repeats = fmin(fmax(repeats, 1.0), 1e4);
    for (int i = 0; i < b->runs; i++) {
        start = tr_now();
        for (int k = 0; k < (int)repeats; k++)
            need(t->run(r));
        need(r->backend->wait(r->device));
        each[i] = (tr_now() - start) / repeats;
    }
    qsort(each, (size_t)b->runs, sizeof *each, ascending);
    return each[b->runs / 2];
}

static void print_line(bench *b, const workload *w, const struct task *t, const rig *r,
                       double seconds)
{
    double updates = (double)(r->slab.n_views * tr_volume_lines(&r->slab) * w->rows);
    double bytes = (double)(tr_projection_lines(&r->slab) * w->rows) * sizeof(float);
    bool texture = t->both && strcmp(r->kernel, "texture") == 0;
    /* Two multiply-adds to an update, or one fetch; SIRT's forward half never fetches. */
    double bound = t->unit == BYTES           ? b->most.copy
                   : texture && t->passes < 2 ? b->most.texture
                                              : b->most.fma / 2;
    double rate = t->passes * (t->unit == BYTES ? bytes : updates) / seconds;
    printf("%-9s %-11s %-8s %10.3f %9.1f %9.1f %7.1f %%  %s\n", w->name, t->name,
           t->both ? r->kernel : "", 1e3 * seconds, rate / 1e9, bound / 1e9,
           100 * rate / bound, t->unit == BYTES ? "GB/s" : "GUPS");
    fflush(stdout);
    if (b->out)
        fprintf(b->out,
                "%s\n  {\"name\": \"%s %s%s%s\", \"rate\": %.4f, \"peak\": %.4f, "
                "\"ratio\": %.4f, \"milliseconds\": %.5f}",
                b->lines++ ? "," : "", w->name, t->name, t->both ? " " : "",
                t->both ? r->kernel : "", rate / 1e9, bound / 1e9, rate / bound,
                1e3 * seconds);
}

static void time_workload(bench *b, const workload *w)
{
    for (int device = CPU + 1; device < N_DEVICES; device++) {
        if (!is_there(device))
            continue;
        rig r = new_rig(device, w);
        for (int i = 0; i < N_TASKS; i++) {
            char name[80];
            snprintf(name, sizeof name, "%s %s %s", w->name, tasks[i].name, r.kernel);
            bool first = device == CPU + 1;
            if ((tasks[i].both || first) && (!b->only || strstr(name, b->only)))
                print_line(b, w, &tasks[i], &r, time_task(b, &tasks[i], &r));
        }
        free_rig(&r);
    }
}

static void measure_ceilings(bench *b)
{
    need(tr_measure_ceilings(b->quick, &b->most));
    const struct {
        const char *name, *unit;
        double rate;
    } all[] = {{"copy", "GB/s, read and written", b->most.copy},
               {"fma", "G multiply-adds/s", b->most.fma},
               {"texture", "G fetches/s", b->most.texture}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        printf("# %-8s %.1f %s\n", all[i].name, all[i].rate / 1e9, all[i].unit);
        if (b->out)
            fprintf(b->out, "%s\n  {\"name\": \"ceiling %s\", \"rate\": %.4f}",
                    b->lines++ ? "," : "", all[i].name, all[i].rate / 1e9);
    }
    printf("# %-8s %.2f TFLOP/s\n", "", 2e-12 * b->most.fma);
}

/* ---- the program ---- */

static const char usage[] =
    "usage: tr_bench_gpu [--quick] [--json FILE] [--only TEXT]\n\n"
    "Verifies the kernels for GPUs against those for CPUs, measures what the device can "
    "do\n"
    "at most, and times the kernels on one slab of each workload.\n"
    "  rate   1e9 updates (voxel x view, two multiply-adds) per second (GUPS), of a "
    "SIRT\n"
    "         iteration those of both passes; of the filter GB/s, were the projections\n"
    "         read and written once\n"
    "  bound  the same for nothing but multiply-adds, texture fetches (backprojection "
    "by\n"
    "         textures) or copying (filter), as measured\n"
    "  --quick  a tiny slab only, which shows that it works and no speed\n"
    "  --only   lines that contain TEXT, for example \"BBb-128 backproject tile\";\n"
    "           results are not checked first\n"
    "  --json   write the figures to FILE as well, for tests/bench/compare\n"
    "The exit status is 77 where there is no GPU.\n";

static void parse(bench *b, int argc, char **argv)
{
    static const struct option options[] = {{"quick", no_argument, NULL, 'q'},
                                            {"json", required_argument, NULL, 'j'},
                                            {"only", required_argument, NULL, 'o'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (c) {
        case 'q':
            b->quick = true, b->seconds = 0.0, b->runs = QUICK_RUNS;
            break;
        case 'j':
            b->json = optarg;
            break;
        case 'o':
            b->only = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs(usage, stderr);
            exit(2);
        }
    if (optind < argc) {
        fputs(usage, stderr);
        exit(2);
    }
}

/* 77 without a device; names it otherwise. */
static int find_device(void)
{
    const tr_backend *cuda = tr_backend_find("cuda");
    tr_backend_settings settings = {.threads = 1};
    void *device;
    if (!cuda)
        die("this build has no CUDA backend");
    tr_status status = cuda->open(&settings, &device);
    if (status == TR_ERR_UNAVAILABLE) {
        printf("SKIPPED: %s\n", tr_error());
        return 77;
    }
    need(status);
    printf("# %s\n", cuda->describe(device));
    cuda->close(device);
    return 0;
}

int main(int argc, char **argv)
{
    bench b = {.seconds = 0.1, .runs = RUNS};
    parse(&b, argc, argv);
    int missing = find_device();
    if (missing)
        return missing;
    if (b.json && !(b.out = fopen(b.json, "w"))) {
        fprintf(stderr, "tr_bench_gpu: %s: %s\n", b.json, strerror(errno));
        return 1;
    }
    if (b.out)
        fputs("[", b.out);
    for (int device = CPU + 1; device < N_DEVICES && !b.only; device++)
        if (is_there(device))
            verify(device);
    measure_ceilings(&b);
    printf("%-9s %-11s %-8s %10s %9s %9s %9s\n", "workload", "what", "kernel", "ms",
           "rate", "bound", "share");
    if (b.quick)
        time_workload(&b, &quick_workload);
    for (size_t i = 0; !b.quick && i < sizeof workloads / sizeof *workloads; i++)
        time_workload(&b, &workloads[i]);
    if (b.out && (fputs("\n]\n", b.out) == EOF || fclose(b.out) != 0))
        die("cannot write the JSON file");
    return 0;
}
