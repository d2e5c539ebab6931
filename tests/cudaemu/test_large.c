/* The kernels on 151 views of 4096 x 4096 pixels and a volume of 4096 x 4096 x 1024
 * voxels, whose indices do not fit in 32 bits. Memory is there where it is written only
 * (CUDAEMU_SPARSE), and of each launch some blocks run (CUDAEMU_BLOCKS): what they have
 * written is compared with the definition in double, wherever in the volume it is. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/backend_fixture.h"

enum { SIDE = 4096, DEEP = 1024, VIEWS = 151, VIEW = VIEWS - 1 };
static const size_t view_floats = (size_t)(SIDE + TR_GUARDS) * SIDE;
static const size_t volume_floats = (size_t)DEEP * SIDE * SIDE;

typedef struct large {
    fixture f;
    tr_ray rays[VIEWS];
    size_t number; /* of the one view that is used */
    tr_subset views;
    tr_slab slab;
    tr_vec p, x;
    float *view; /* of it, in p, which the emulation has in the host's memory */
} large;

typedef enum kind { INDEPENDENT, SHIFTED, COUPLED, N_KINDS } kind;
static const char *const kinds[] = {"independent", "shifted", "coupled"};

/* Where voxel (ix, iz) is seen; never on a guard. The kinds of rays take different
 * kernels; rows are those of the volume, or 2 less. */
static double column_of(double ix, double iz) { return 100.3 + 0.5 * ix + 0.25 * iz; }
static double row_of(kind k, double row) { return k == SHIFTED ? row + 2.0 : row; }

static void set_rays(large *l, kind k)
{
    for (int i = 0; i < VIEWS; i++)
        l->rays[i] = (tr_ray){.u0 = 100.3,
                              .ux = 0.5,
                              .uz = 0.25,
                              .v0 = row_of(k, 0.0),
                              .vx = k == COUPLED ? 1e-30 : 0.0,
                              .vy = 1.0};
}

/* A number in [low, low + 1) that differs from place to place. */
static double value_at(double low, size_t i)
{
    uint64_t mixed = (i + 1) * 0x9e3779b97f4a7c15u;
    return low + (double)(mixed >> 40) / (double)(1 << 24);
}

static bool open_large(large *l, int variant)
{
    *l = (large){.number = VIEW};
    l->views = (tr_subset){1, &l->number};
    l->slab = (tr_slab){.n_views = VIEWS,
                        .n_u = SIDE,
                        .n_x = SIDE,
                        .n_z = DEEP,
                        .rows = SIDE,
                        .p_rows = SIDE,
                        .rays = l->rays};
    if (!open_variant(&l->f, variant, 1))
        return false;
    const tr_backend *b = l->f.backend;
    l->p = (tr_vec){.lines = tr_projection_lines(&l->slab), .rows = SIDE};
    l->x = (tr_vec){.lines = tr_volume_lines(&l->slab), .rows = SIDE};
    assert_int_equal(b->alloc(l->f.device, VIEWS * view_floats, &l->p.data), TR_OK);
    assert_int_equal(b->alloc(l->f.device, volume_floats, &l->x.data), TR_OK);
    l->view = l->p.data + VIEW * view_floats;
    return true;
}

static void close_large(large *l)
{
    l->f.backend->free(l->f.device, l->p.data);
    l->f.backend->free(l->f.device, l->x.data);
    close_backend(&l->f);
}

static void clear(float *data, size_t floats)
{
    assert_int_equal(madvise(data, floats * sizeof *data, MADV_DONTNEED), 0);
}

/* ---- backprojection ---- */

static double sample(const large *l, kind k, size_t ix, size_t iz, size_t row)
{
    double u = column_of((double)ix, (double)iz) + 1.0, f = u - floor(u);
    size_t v = (size_t)row_of(k, (double)row);
    const float *line = l->view + (size_t)u * SIDE + v;
    if (v < SIDE)
        return (1.0 - f) * line[0] + f * line[SIDE];
    /* Beyond the slab: nothing, where rows are independent. */
    return 0.0;
}

/* Compare what is not 0 of a page; how much that is. */
static size_t check_page(const large *l, kind k, size_t first, double tolerance)
{
    size_t n = 0, floats = (size_t)sysconf(_SC_PAGESIZE) / sizeof(float);
    for (size_t i = first; i < first + floats && i < volume_floats; i++) {
        size_t row = i % SIDE, ix = i / SIDE % SIDE, iz = i / SIDE / SIDE;
        double wanted = sample(l, k, ix, iz, row);
        if (l->x.data[i] == 0.0f)
            continue;
        if (!(fabs(l->x.data[i] - wanted) <= tolerance))
            fail_msg("%s, %s rays: voxel %zu, %zu, row %zu is %g, not %g", l->f.name,
                     kinds[k], ix, iz, row, l->x.data[i], wanted);
        n++;
    }
    return n;
}

/* Of the pages that are in memory. */
static size_t check_volume(const large *l, kind k, double tolerance)
{
    enum { TOGETHER = 1 << 16 };
    static uint64_t entries[TOGETHER];
    size_t bytes = (size_t)sysconf(_SC_PAGESIZE), n = 0;
    size_t pages = volume_floats * sizeof(float) / bytes;
    int map = open("/proc/self/pagemap", O_RDONLY);
    assert_true(map >= 0);
    for (size_t page = 0; page < pages; page += TOGETHER) {
        off_t at = (off_t)((uintptr_t)l->x.data / bytes + page) * 8;
        assert_int_equal(pread(map, entries, sizeof entries, at), sizeof entries);
        for (size_t i = 0; i < TOGETHER; i++)
            if (entries[i] >> 62) /* present or swapped */
                n += check_page(l, k, (page + i) * bytes / sizeof(float), tolerance);
    }
    close(map);
    return n;
}

static void check_backprojection(large *l, kind k)
{
    const tr_backend *b = l->f.backend;
    clear(l->x.data, volume_floats);
    set_rays(l, k);
    assert_int_equal(b->backproject(l->f.device, &l->slab, &l->views, &l->p, &l->x),
                     TR_OK);
    assert_int_equal(b->wait(l->f.device), TR_OK);
    size_t n = check_volume(l, k, l->f.exact || k == SHIFTED ? 1e-6 : 3e-3);
    if (getenv("TR_TEST_VERBOSE"))
        print_message("%s, %s rays: %zu voxels\n", l->f.name, kinds[k], n);
    size_t last_row = k == SHIFTED ? SIDE - 3 : SIDE - 1;
    assert_true(l->x.data[0] != 0.0f);
    assert_true(l->x.data[volume_floats - SIDE + last_row] != 0.0f);
}

static void test_backprojection(void **state)
{
    (void)state;
    large l;
    for (int variant = 0; variant < N_VARIANTS; variant++) {
        if (!open_large(&l, variant))
            continue;
        for (size_t i = SIDE; i < view_floats - 2 * (size_t)SIDE; i++)
            l.view[i] = (float)value_at(1.0, i);
        for (int k = 0; k < N_KINDS; k++)
            check_backprojection(&l, (kind)k);
        close_large(&l);
    }
}

/* ---- forward ---- */

/* Some lines of voxels that no two of share a column of the view: `plane` of three. */
enum { LINES = 8 };
static const size_t planes[] = {0, DEEP / 2 - 1, DEEP - 1};

static size_t column_in(int plane, size_t i)
{
    return plane == 2 && i == LINES - 1 ? SIDE - 1
                                        : i * (SIDE / LINES) + (size_t)plane * 8;
}

/* What blocks have added, or 0 where the block was not among those that ran. */
static size_t check_line(const large *l, kind k, int plane, size_t i)
{
    size_t ix = column_in(plane, i), n = 0;
    double u = column_of((double)ix, (double)planes[plane]) + 1.0, f = u - floor(u);
    const float *line = l->view + (size_t)u * SIDE;
    const float *from = l->x.data + (planes[plane] * SIDE + ix) * SIDE;
    for (size_t row = 0; row < SIDE; row++) {
        size_t v = (size_t)row_of(k, (double)row);
        for (int side = 0; side < 2 && v < SIDE; side++) {
            double wanted = (side ? f : 1.0 - f) * from[row];
            float found = line[(size_t)side * SIDE + v];
            if (found != 0.0f && !(fabs(found - wanted) <= 1e-6))
                fail_msg("%s rays: plane %zu, voxel %zu, row %zu gives %g, not %g",
                         kinds[k], planes[plane], ix, row, found, wanted);
            n += found != 0.0f;
        }
    }
    return n;
}

static void check_projection(large *l, kind k)
{
    const tr_backend *b = l->f.backend;
    size_t in_lines = 0, in_view = 0;
    set_rays(l, k);
    assert_int_equal(b->project(l->f.device, &l->slab, &l->views, &l->x, &l->p), TR_OK);
    assert_int_equal(b->wait(l->f.device), TR_OK);
    for (int plane = 0; plane < 3; plane++) {
        size_t n = 0;
        for (size_t i = 0; i < LINES; i++)
            n += check_line(l, k, plane, i);
        if (getenv("TR_TEST_VERBOSE"))
            print_message("%s rays, plane %zu: %zu pixels\n", kinds[k], planes[plane], n);
        assert_true(n > 0 || plane == 1); /* the first and the last block have some */
        in_lines += n;
    }
    for (size_t i = 0; i < view_floats; i++)
        in_view += l->view[i] != 0.0f;
    assert_int_equal(in_view, in_lines); /* and nothing elsewhere */
}

static void test_projection(void **state)
{
    (void)state;
    large l;
    int variant = 0;
    while (!open_large(&l, variant))
        variant++;
    for (int plane = 0; plane < 3; plane++)
        for (size_t i = 0; i < LINES; i++) {
            size_t at = (planes[plane] * SIDE + column_in(plane, i)) * SIDE;
            for (size_t row = 0; row < SIDE; row++)
                l.x.data[at + row] = (float)(0.1 * value_at(1.0, at + row));
        }
    for (int k = 0; k < N_KINDS; k++)
        check_projection(&l, (kind)k);
    close_large(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_backprojection),
                                       cmocka_unit_test(test_projection)};
    size_t bytes = volume_floats * sizeof(float);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        printf("SKIPPED: %zu bytes of addresses: %s\n", bytes, strerror(errno));
        return 77;
    }
    munmap(memory, bytes);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
