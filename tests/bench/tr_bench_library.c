/* How much of the kernels' speed a caller of the library gets: the forward projection and
 * its adjoint of one slab, by the backend alone, by the library in its own layout, and in
 * that of users, one after the other so that other work on the machine harms all alike.
 *
 *     tr_bench_library [THREADS [RUNS]]
 */
#include <time.h>

#include "common/library/tiltrec.h"
#include "workload.h"

enum { VIEWS = 41, WIDTH = 1024, THICK = 256, ROWS = 256, COLUMNS = WIDTH + TR_GUARDS };
static const size_t volume_size = (size_t)THICK * ROWS * WIDTH;
static const size_t projections_size = (size_t)VIEWS * COLUMNS * ROWS;

typedef struct bench {
    const tr_backend *backend;
    void *device;
    tr_slab slab;
    tr_vec x, p;
    tiltrec_operator *A;
} bench;

static void check(int status)
{
    if (status != TILTREC_OK)
        die(tiltrec_last_error());
}

/* Of this process, all threads: what others do on the machine counts less. */
static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int run_kernel(bench *b, bool forward, unsigned flags)
{
    (void)flags;
    return (int)(forward
                     ? b->backend->project(b->device, &b->slab, NULL, &b->x, &b->p)
                     : b->backend->backproject(b->device, &b->slab, NULL, &b->p, &b->x));
}

static int run_library(bench *b, bool forward, unsigned flags)
{
    return forward ? tiltrec_forward(b->A, b->x.data, b->p.data, flags)
                   : tiltrec_adjoint(b->A, b->p.data, b->x.data, flags);
}

/* The same problem for both. */
static void set_up(bench *b, int threads)
{
    static const workload w = {"", VIEWS, WIDTH, WIDTH, THICK, ROWS, 0, 0, 0};
    static double rays[VIEWS][8];
    b->slab = new_slab(&w);
    for (int i = 0; i < VIEWS; i++) {
        const tr_ray *ray = &b->slab.rays[i];
        rays[i][0] = ray->u0, rays[i][1] = ray->ux, rays[i][3] = ray->uz;
        rays[i][6] = 1.0;
    }
    const tr_backend_settings settings = {.threads = threads};
    b->backend = tr_backend_find("cpu");
    need(b->backend->open(&settings, &b->device));
    b->x = (tr_vec){NULL, (size_t)THICK * WIDTH, ROWS};
    b->p = (tr_vec){NULL, (size_t)VIEWS * COLUMNS, ROWS};
    need(b->backend->alloc(b->device, volume_size, &b->x.data));
    need(b->backend->alloc(b->device, projections_size, &b->p.data));
    need(b->backend->fill(b->device, &b->x, 1.0f));
    need(b->backend->fill(b->device, &b->p, 1.0f));
    const tiltrec_spec spec = {.size = sizeof spec,
                               .threads = threads,
                               .n_views = VIEWS,
                               .n_y = ROWS,
                               .n_u = WIDTH,
                               .thickness = THICK,
                               .rays = rays[0]};
    check(tiltrec_create(&b->A, &spec));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(bench *, bool, unsigned);
        unsigned flags;
    } ways[] = {{"kernel", run_kernel, 0},
                {"library, its layout", run_library, TILTREC_NATIVE},
                {"library, [z][y][x]", run_library, 0},
                {"library, [y][s][x]", run_library, TILTREC_YSX}};
    enum { WAYS = sizeof ways / sizeof *ways };
    int threads = argc > 1 ? atoi(argv[1]) : 1, runs = argc > 2 ? atoi(argv[2]) : 9;
    double best[2][WAYS];
    bench b;
    set_up(&b, threads);
    for (int k = -1; k < runs; k++) /* the first does not count */
        for (int direction = 0; direction < 2; direction++)
            for (size_t w = 0; w < WAYS; w++) {
                double start = cpu_seconds();
                check(ways[w].run(&b, direction == 0, ways[w].flags));
                double seconds = cpu_seconds() - start;
                if (k <= 0 || seconds < best[direction][w])
                    best[direction][w] = seconds;
            }
    for (int direction = 0; direction < 2; direction++)
        for (size_t w = 0; w < WAYS; w++)
            printf("%-8s %-20s %7.3f s  %5.1f %%\n", direction ? "adjoint" : "forward",
                   ways[w].name, best[direction][w],
                   100.0 * best[direction][0] / best[direction][w]);
    tiltrec_destroy(b.A);
    return 0;
}
