/* The vectors that an algorithm takes: as many as it wants, each its own, and the same
 * memory again for the next slab. And what is kept of them between runs. */
#include "tests/unit/backend_fixture.h"

#include "common/algorithms/algorithm.h"

enum { N_VECTORS = 33, N_X = 3, N_Z = 2, ROWS = TR_LANES };

typedef struct problem {
    fixture f;
    tr_ray ray;
    tr_slab slab;
    tr_linop A;
    tr_history history;
    tr_context c;
} problem;

static int set_up(void **state)
{
    problem *p = calloc(1, sizeof *p);
    p->f = open_first(1);
    p->ray = (tr_ray){.ux = 1.0, .vy = 1.0};
    p->slab = (tr_slab){.n_views = 1,
                        .n_u = N_X,
                        .n_x = N_X,
                        .n_z = N_Z,
                        .rows = ROWS,
                        .p_rows = ROWS,
                        .rays = &p->ray};
    p->A = (tr_linop){
        .backend = p->f.backend, .device = p->f.device, .slab = &p->slab, .n_rows = ROWS};
    p->c = (tr_context){.A = &p->A, .history = &p->history};
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    problem *p = *state;
    close_backend(&p->f);
    free(p);
    return 0;
}

static void take(problem *p, size_t n, tr_vec *v)
{
    for (size_t k = 0; k < n; k++) {
        assert_int_equal(tr_new_volume(&p->c, &v[k]), TR_OK);
        assert_int_equal(v[k].lines, N_X * N_Z);
        assert_int_equal(v[k].rows, ROWS);
        assert_int_equal(TR_VECTOR(&p->c, fill, &v[k], (float)k + 1.0f), TR_OK);
    }
}

/* No vector lies in another one. */
static void expect_own(problem *p, size_t n, const tr_vec *v)
{
    for (size_t k = 0; k < n; k++) {
        double sum;
        assert_int_equal(TR_VECTOR(&p->c, dot, &v[k], &v[k], &sum), TR_OK);
        assert_true(sum == (double)((k + 1) * (k + 1) * N_X * N_Z * ROWS));
    }
}

static void test_more_than_a_few_vectors(void **state)
{
    problem *p = *state;
    tr_vec first[N_VECTORS], again[2 * N_VECTORS];
    take(p, N_VECTORS, first);
    expect_own(p, N_VECTORS, first);
    assert_int_equal(p->c.n_volumes, N_VECTORS);
    tr_context_next(&p->c);
    take(p, 2 * N_VECTORS, again);
    expect_own(p, 2 * N_VECTORS, again);
    for (size_t k = 0; k < N_VECTORS; k++)
        assert_ptr_equal(again[k].data, first[k].data);
    tr_context_end(&p->c);
    assert_int_equal(p->c.n_owned, 0);
    take(p, 1, first); /* and anew after the end */
    tr_context_end(&p->c);
}

/* ---- checkpoints ---- */

/* The host memory that copies of a device with its own go through. */
static struct {
    const tr_backend *real;
    size_t now, most, largest; /* bytes */
    float *block[8];
    size_t bytes[8];
} host;

static tr_status alloc_counted(void *device, size_t floats, float **data)
{
    size_t k = 0, bytes = floats * sizeof **data;
    TR_TRY(host.real->alloc_host(device, floats, data));
    while (host.block[k])
        assert_true(++k < 8);
    host.block[k] = *data;
    host.bytes[k] = bytes;
    host.now += bytes;
    host.most = host.now > host.most ? host.now : host.most;
    host.largest = bytes > host.largest ? bytes : host.largest;
    return TR_OK;
}

static void free_counted(void *device, float *data)
{
    for (size_t k = 0; k < 8; k++)
        if (host.block[k] == data) {
            host.now -= host.bytes[k];
            host.block[k] = NULL;
        }
    host.real->free_host(device, data);
}

/* What was put, in one piece; it fails after so many bytes. */
typedef struct kept {
    char *bytes;
    size_t n, room, read;
} kept;

static tr_status keep_due(void *self, bool *save, bool *stop)
{
    (void)self;
    *save = true;
    *stop = false;
    return TR_OK;
}

static tr_status keep_begin(void *self, long iteration)
{
    (void)self;
    assert_int_equal(iteration, 7);
    return TR_OK;
}

static tr_status keep_put(void *self, const void *data, size_t bytes)
{
    kept *k = self;
    if (bytes > k->room - k->n)
        return tr_fail(TR_ERR_DATA, "no room is left");
    if (bytes)
        memcpy(k->bytes + k->n, data, bytes);
    k->n += bytes;
    return TR_OK;
}

static tr_status keep_end(void *self)
{
    (void)self;
    return TR_OK;
}

static tr_status keep_resume(void *self, long *iteration)
{
    (void)self;
    *iteration = 7;
    return TR_OK;
}

static tr_status keep_get(void *self, void *data, size_t bytes)
{
    kept *k = self;
    if (bytes > k->n - k->read)
        return tr_fail(TR_ERR_DATA, "it ends early");
    if (bytes)
        memcpy(data, k->bytes + k->read, bytes);
    k->read += bytes;
    return TR_OK;
}

enum { MIB = 1 << 20, LONG_MIB = 160 }; /* 64, 64 and 32 */

static void number(const fixture *f, vec *v)
{
    for (size_t i = 0; i < v->n; i++)
        v->host[i] = (float)(i * 2654435761u % 16777213u);
    to_device(f, v);
}

static void expect_numbers(const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (values[i] != (float)(i * 2654435761u % 16777213u))
            fail_msg("value %zu is %g", i, values[i]);
}

/* A vector of a device passes through 128 MiB of host memory at most, and is as a whole
 * in what is kept. */
static void test_a_checkpoint_in_pieces(void **state)
{
    problem *p = *state;
    fixture *f = &p->f;
    vec large = new_vec(f, (size_t)LONG_MIB * MIB / (ROWS * sizeof(float)), ROWS);
    vec small = new_vec(f, 5, ROWS);
    number(f, &large);
    number(f, &small);
    tr_backend counted = *f->backend;
    memset(&host, 0, sizeof host);
    host.real = f->backend;
    counted.separate_memory = true;
    counted.alloc_host = alloc_counted;
    counted.free_host = free_counted;
    p->A.backend = &counted;
    kept k = {.room = ((size_t)LONG_MIB + 1) * MIB};
    k.bytes = malloc(k.room);
    assert_non_null(k.bytes);
    const tr_saver saver = {.self = &k,
                            .resume = keep_resume,
                            .get = keep_get,
                            .due = keep_due,
                            .begin = keep_begin,
                            .put = keep_put,
                            .end = keep_end};
    p->c.saver = &saver;
    double numbers[] = {3.5, -2.0};
    tr_vec *vectors[] = {&small.on, &large.on};
    const tr_state all = {vectors, 2, numbers, 2};
    assert_int_equal(tr_save(&p->c, &all, 7), TR_OK);
    const char *end = k.bytes + k.n;
    expect_numbers((const float *)(end - large.n * sizeof(float)), large.n);
    expect_numbers((const float *)(end - (large.n + small.n) * sizeof(float)), small.n);

    numbers[0] = numbers[1] = 0.0;
    assert_int_equal(f->backend->fill(f->device, &large.on, 0.0f), TR_OK);
    assert_int_equal(f->backend->fill(f->device, &small.on, 0.0f), TR_OK);
    long iteration = 0;
    assert_int_equal(tr_resume(&p->c, &all, &iteration), TR_OK);
    assert_int_equal(iteration, 7);
    assert_true(numbers[0] == 3.5 && numbers[1] == -2.0 && k.read == k.n);
    to_host(f, &large);
    to_host(f, &small);
    expect_numbers(large.host, large.n);
    expect_numbers(small.host, small.n);
    assert_true(host.largest == 64 * (size_t)MIB && host.most == 128 * (size_t)MIB);

    k.n = 0;
    k.room = 100 * (size_t)MIB;
    assert_int_equal(tr_save(&p->c, &all, 7), TR_ERR_DATA);
    assert_string_equal(tr_error(), "no room is left");
    k.read = 0;
    assert_int_equal(tr_resume(&p->c, &all, &iteration), TR_ERR_DATA);
    assert_string_equal(tr_error(), "it ends early");
    assert_int_equal(host.now, 0);
    tr_context_end(&p->c);
    free(k.bytes);
    free_vec(f, &large);
    free_vec(f, &small);
    p->A.backend = f->backend;
    tr_history_free(&p->history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_checkpoint_in_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_more_than_a_few_vectors, set_up, tear_down),
    };
    int missing = backend_missing();
    return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
