/* Verifies the kernels of the CPU backend, then times them against the rate of
 * multiply-adds measured beside them. See --help. */
#include <errno.h>
#include <getopt.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>

#include "../unit/operator_reference.h"
#include "fma_peak.h"
#include "workload.h"

enum { RUNS = 9, QUICK_RUNS = 3, MAX_LINES = 256 };

typedef struct bench {
    double seconds; /* of timing per line */
    int runs, threads;
    const char *only, *json;
    const tr_fma_loop *isa;
    const tr_backend *backend;
    void *device;
    FILE *out; /* the JSON file */
    size_t lines;
} bench;

/* One slab of each. */
static const workload workloads[] = {
    {"S-64", 41, 512, 512, 128, 64, 0, 0, 0},
    {"S-128", 41, 512, 512, 128, 128, 0, 0, 0},
    {"BBb-64", 64, 1024, 1024, 300, 64, 0, 0, 0},
    {"BBb-128", 64, 1024, 1024, 300, 128, 0, 0, 0},
    {"B-64", 64, 4096, 4096, 1024, 64, 0, 0, 0},
    /* Rays that leave their row: degrees of rotation and pitch, a grid of offsets. */
    {"r0p3", 64, 512, 512, 96, 64, 0, 3, 0},
    {"r3p0", 64, 512, 512, 96, 64, 3, 0, 0},
    {"r3p3", 64, 512, 512, 96, 64, 3, 3, 0},
    {"r5p2", 64, 512, 512, 96, 64, 5, 2, 0},
    {"r2p2grid", 64, 512, 512, 96, 64, 2, 2, 0.4},
    {"r9p3", 64, 512, 512, 96, 64, 9, 3, 0},
};

static tr_vec new_vec(const bench *b, size_t lines, size_t rows)
{
    tr_vec v = {.lines = lines, .rows = rows};
    need(b->backend->alloc(b->device, lines * rows, &v.data));
    uint64_t seed = lines;
    for (size_t i = 0; i < lines * rows; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        v.data[i] = (float)(seed >> 40) / (float)(1 << 24);
    }
    return v;
}

static void open_backend(bench *b, int threads)
{
    setenv("TR_ISA", b->isa->isa, 1);
    need(b->backend->open(&(tr_backend_settings){.threads = threads}, &b->device));
}

/* ---- is the answer right? ---- */

static void check(const char *isa, const char *what, const float *got,
                  const double *wanted, size_t n)
{
    double largest = 0.0, error = 0.0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(wanted[i]));
    for (size_t i = 0; i < n; i++)
        error = got[i] == got[i] ? fmax(error, fabs(got[i] - wanted[i])) : INFINITY;
    printf("# %-8s %-11s largest error %.1e of the largest value\n", isa, what,
           error / largest);
    if (!(error <= 2e-6 * largest))
        die("a kernel is wrong: nothing was timed");
}

static void verify_projectors(bench *b, const workload *small)
{
    tr_slab s = new_slab(small);
    tr_vec p = new_vec(b, tr_projection_lines(&s), s.p_rows);
    tr_vec x = new_vec(b, tr_volume_lines(&s), s.rows);
    size_t n_p = p.lines * p.rows, n_x = x.lines * x.rows;
    double *wanted = calloc(n_p + n_x, sizeof *wanted);
    if (!wanted)
        die("not enough memory");
    reference_pairs(&s, reference_forward_pair, &(reference_vectors){x.data, wanted});
    need(b->backend->project(b->device, &s, NULL, &x, &p));
    check(b->isa->isa, "forward", p.data, wanted, n_p);
    memset(wanted, 0, n_x * sizeof *wanted);
    reference_pairs(&s, reference_adjoint_pair, &(reference_vectors){p.data, wanted});
    need(b->backend->backproject(b->device, &s, NULL, &p, &x));
    check(b->isa->isa, "backproject", x.data, wanted, n_x);
    free(wanted);
    free_slab(&s);
    b->backend->free(b->device, p.data);
    b->backend->free(b->device, x.data);
}

static float *ramp(size_t length)
{
    float *response = calloc(length / 2 + 1, sizeof *response);
    if (!response)
        die("not enough memory");
    for (size_t k = 0; k <= length / 2; k++)
        response[k] = (float)k / (float)length + 0.01f;
    return response;
}

static void verify_filter(bench *b)
{
    enum { VIEWS = 3, N_U = 50, ROWS = 16 };
    const tr_slab s = {.n_views = VIEWS, .n_u = N_U, .rows = ROWS, .p_rows = ROWS};
    const float weight[VIEWS] = {1.0f, 0.5f, 2.0f};
    tr_filter f = {.length = 70, .response = ramp(70), .weight = weight};
    tr_vec p = new_vec(b, tr_projection_lines(&s), ROWS);
    static double wanted[VIEWS * (N_U + TR_GUARDS) * ROWS];
    memset(wanted, 0, sizeof wanted);
    for (size_t line = 0; line < VIEWS * ROWS; line++) {
        size_t view = line / ROWS;
        size_t at = (view * (N_U + TR_GUARDS) + 1) * ROWS + line % ROWS;
        double in[N_U], out[N_U];
        for (size_t u = 0; u < N_U; u++)
            in[u] = p.data[at + u * ROWS];
        reference_filter(in, N_U, &f, weight[view], out);
        for (size_t u = 0; u < N_U; u++)
            wanted[at + u * ROWS] = out[u];
    }
    need(b->backend->filter(b->device, &s, &f, &p));
    check(b->isa->isa, "filter", p.data, wanted, sizeof wanted / sizeof *wanted);
    free((void *)f.response);
    b->backend->free(b->device, p.data);
}

/* ---- how fast? ---- */

typedef struct job {
    const char *kernel;
    tr_status (*run)(bench *b, struct job *job);
    tr_slab slab;
    tr_filter filter;
    tr_vec x, p;
    double work; /* multiply-adds */
} job;

static tr_status run_backproject(bench *b, job *j)
{
    return b->backend->backproject(b->device, &j->slab, NULL, &j->p, &j->x);
}

static tr_status run_forward(bench *b, job *j)
{
    return b->backend->project(b->device, &j->slab, NULL, &j->x, &j->p);
}

static tr_status run_filter(bench *b, job *j)
{
    return b->backend->filter(b->device, &j->slab, &j->filter, &j->p);
}

/* Multiply-adds per second and core, all cores busy; some 20 ms. */
static double measure_peak(const bench *b, int threads)
{
    const size_t rounds = 4000000;
    double total = 0.0;
#pragma omp parallel num_threads(threads) reduction(+ : total)
    {
        volatile float keep;
        double start = tr_now();
        keep = b->isa->run(rounds);
        (void)keep;
        total += (double)(rounds * TR_FMA_SUMS * b->isa->lanes) / (tr_now() - start);
    }
    return total / threads;
}

static double median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, ascending);
    return values[n / 2];
}

/* Peak and kernel in turn, so that both see the same disturbances. */
static void time_job(bench *b, const workload *w, int threads, job *j)
{
    double rate[RUNS], peak[RUNS], ratio[RUNS];
    open_backend(b, threads);
    need(j->run(b, j)); /* touches all memory */
    double start = tr_now();
    need(j->run(b, j));
    double once = tr_now() - start;
    int repeats = (int)(b->seconds / b->runs / once);
    int runs = repeats < 1 ? QUICK_RUNS : b->runs; /* a long one needs fewer */
    repeats = repeats < 1 ? 1 : repeats;
    for (int i = 0; i < runs; i++) {
        peak[i] = measure_peak(b, threads);
        start = tr_now();
        for (int k = 0; k < repeats; k++)
            need(j->run(b, j));
        rate[i] = j->work * repeats / (tr_now() - start) / threads;
        peak[i] = (peak[i] + measure_peak(b, threads)) / 2;
        ratio[i] = rate[i] / peak[i];
    }
    b->backend->close(b->device);
    double r = median(rate, runs), p = median(peak, runs);
    double share = median(ratio, runs);
    printf("%-8s %-11s %-8s %7d %12.2f %12.2f %6.1f %%\n", w->name, j->kernel,
           b->isa->isa, threads, r / 2e9, p / 2e9, 100 * share);
    fflush(stdout);
    if (b->out)
        fprintf(b->out,
                "%s\n  {\"name\": \"%s %s %s %d\", \"rate\": %.4f, \"peak\": %.4f, "
                "\"ratio\": %.4f}",
                b->lines++ ? "," : "", w->name, j->kernel, b->isa->isa, threads, r / 2e9,
                p / 2e9, share);
}

static bool is_wanted(const bench *b, const workload *w, const char *kernel)
{
    char name[80];
    snprintf(name, sizeof name, "%s %s %s", w->name, kernel, b->isa->isa);
    return !b->only || strstr(name, b->only);
}

static void time_workload(bench *b, const workload *w)
{
    if (!is_wanted(b, w, "backproject") && !is_wanted(b, w, "forward") &&
        !is_wanted(b, w, "filter"))
        return;
    open_backend(b, b->threads);
    job j = {.slab = new_slab(w)};
    const tr_slab *s = &j.slab;
    j.p = new_vec(b, tr_projection_lines(s), s->p_rows);
    j.x = new_vec(b, tr_volume_lines(s), s->rows);
    size_t length = tr_fft_length(w->n_u + w->n_u / 3);
    float weight[w->n_views];
    for (size_t i = 0; i < w->n_views; i++)
        weight[i] = 1.0f;
    j.filter = (tr_filter){length, ramp(length), weight, 0.0f, 0};
    double updates = (double)(s->n_views * tr_volume_lines(s) * s->rows);
    /* A transform of n complex values counts as 5 n log2 n operations, as FFTW counts
     * them; there and back, two real rows at once. */
    double transforms = (double)(s->n_views * s->rows) * 5.0 * (double)length *
                        log2((double)length) / 2.0;
    job jobs[] = {j, j, j};
    jobs[0].kernel = "backproject", jobs[0].run = run_backproject;
    jobs[1].kernel = "forward", jobs[1].run = run_forward;
    jobs[2].kernel = "filter", jobs[2].run = run_filter;
    jobs[0].work = jobs[1].work = 2.0 * updates;
    jobs[2].work = transforms;
    void *owner = b->device; /* time_job opens devices of its own */
    size_t n_jobs = is_coupled(w) ? 2 : 3;
    for (size_t k = 0; k < n_jobs; k++) {
        if (!is_wanted(b, w, jobs[k].kernel))
            continue;
        time_job(b, w, 1, &jobs[k]);
        if (b->threads > 1)
            time_job(b, w, b->threads, &jobs[k]);
    }
    b->device = owner;
    b->backend->free(b->device, j.p.data);
    b->backend->free(b->device, j.x.data);
    free_slab(s);
    free((void *)j.filter.response);
    b->backend->close(b->device);
}

/* ---- the program ---- */

static const char usage[] =
    "usage: tr_bench [--quick] [--json FILE] [--only TEXT] [--threads N]\n\n"
    "Verifies the CPU kernels, then times them on one slab of each workload: for each\n"
    "instruction set, with one thread and with N (default: all cores).\n"
    "  GUPS/core  1e9 updates (voxel x view, two multiply-adds) per second and core;\n"
    "             for the filter 1e9 pairs of floating-point operations of FFTs\n"
    "  bound      the same for nothing but multiply-adds, measured in between\n"
    "  --quick    0.3 s per line, without the large workloads\n"
    "  --only     lines that contain TEXT, for example \"BBb-64 forward avx2\"\n"
    "  --json     write the figures to FILE as well, for tests/bench/compare\n"
    "Other work on the machine shows in the figures; pin with taskset.\n";

static void parse(bench *b, int argc, char **argv)
{
    static const struct option options[] = {
        {"quick", no_argument, NULL, 'q'},      {"json", required_argument, NULL, 'j'},
        {"only", required_argument, NULL, 'o'}, {"threads", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},       {0}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (c) {
        case 'q':
            b->seconds = 0.3, b->runs = QUICK_RUNS;
            break;
        case 'j':
            b->json = optarg;
            break;
        case 'o':
            b->only = optarg;
            break;
        case 't':
            b->threads = atoi(optarg);
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs(usage, stderr);
            exit(2);
        }
    if (optind < argc || b->threads < 1) {
        fputs(usage, stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    bench b = {.seconds = 1.5, .runs = RUNS, .threads = omp_get_num_procs()};
    parse(&b, argc, argv);
    b.backend = tr_backend_find("cpu");
    if (b.json && !(b.out = fopen(b.json, "w"))) {
        fprintf(stderr, "tr_bench: %s: %s\n", b.json, strerror(errno));
        return 1;
    }
    if (b.out)
        fputs("[", b.out);
    for (size_t i = 0; i < sizeof tr_fma_loops / sizeof *tr_fma_loops; i++) {
        b.isa = &tr_fma_loops[i];
        setenv("TR_ISA", b.isa->isa, 1);
        tr_backend_settings settings = {.threads = b.threads};
        if (b.backend->open(&settings, &b.device) != TR_OK) {
            printf("# %s: skipped: %s\n", b.isa->isa, tr_error());
            continue;
        }
        verify_projectors(&b, &(workload){"", 15, 61, 73, 37, 80, 0, 0, 0});
        verify_projectors(&b, &(workload){"", 5, 41, 37, 21, 48, 3, 2, 0.5});
        verify_filter(&b);
        b.backend->close(b.device);
    }
    printf("%-8s %-11s %-8s %7s %12s %12s %8s\n", "workload", "kernel", "isa", "threads",
           "GUPS/core", "bound", "share");
    for (size_t i = 0; i < sizeof tr_fma_loops / sizeof *tr_fma_loops; i++) {
        b.isa = &tr_fma_loops[i];
        setenv("TR_ISA", b.isa->isa, 1);
        tr_backend_settings settings = {.threads = b.threads};
        if (b.backend->open(&settings, &b.device) != TR_OK)
            continue;
        b.backend->close(b.device);
        for (size_t k = 0; k < sizeof workloads / sizeof *workloads; k++)
            if (b.runs == RUNS || workloads[k].n_u <= 1024)
                time_workload(&b, &workloads[k]);
    }
    if (b.out && (fputs("\n]\n", b.out) == EOF || fclose(b.out) != 0))
        die("cannot write the JSON file");
    return 0;
}
