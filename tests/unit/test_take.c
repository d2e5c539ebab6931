/* Slices that a device takes of a volume, against what the host's functions make of the
 * same lines, bit by bit. */
#include <float.h>

#include "backend_fixture.h"

/* Around what each type can hold, ties, numbers below float16's and float's smallest. */
static const float special[] = {
    0.5f,      1.5f,      -2.5f,     127.4f,    127.5f,      -128.5f,    -128.6f,
    255.5f,    32767.5f,  -32768.5f, -32769.0f, 65503.0f,    65504.0f,   65519.9f,
    65520.0f,  -65520.0f, 65535.4f,  65535.5f,  65536.0f,    1e30f,      -1e30f,
    FLT_MAX,   -FLT_MAX,  0.0f,      -0.0f,     2.98e-8f,    2.9803e-8f, 6e-8f,
    -8.95e-8f, 6.1e-5f,   6.104e-5f, 1e-40f,    1.00048828f, 1.00146484f};
static const float no_numbers[] = {NAN, INFINITY, -INFINITY};

typedef struct take_case {
    size_t width, thickness, lanes, row, n, lines;
    float planted; /* how often values are no numbers, in rows but the last */
} take_case;

static void fill_lines(const take_case *c, vec *x)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < x->n; i++) {
        state = state * 1664525u + 1013904223u;
        float uniform = (float)(state >> 8) * 0x1p-24f;
        x->host[i] = (uniform - 0.4f) * (state & 64 ? 300.0f : 70000.0f);
        if ((state >> 9) % 11 == 0)
            x->host[i] = special[(state >> 13) % (sizeof special / sizeof *special)];
        bool last = i % c->lanes == c->row + c->n - 1;
        if (!last && uniform < c->planted)
            x->host[i] = no_numbers[(state >> 8) % 3];
    }
    /* The first value of a slice is what its limits begin with. */
    if (c->planted > 0.0f && c->n > 1)
        x->host[c->row] = NAN;
}

static bool same(double a, double b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

/* What the host finds in one slice, whose values become those that a reader gets. */
static tr_taken expect(const tr_take *take, float *values, void *samples)
{
    const tr_samples *host = tr_samples_best();
    const size_t plane = take->width * take->thickness;
    const size_t start = plane < TR_MEASURE_START ? plane : TR_MEASURE_START;
    tr_taken t = {.check = 0};
    if (take->scaled)
        host->scale(values, plane, take->add, take->multiply);
    bool rounds = take->type != TR_SAMPLE_FLOAT32;
    if (rounds)
        t.infinite[0] = !host->finite(values, plane);
    if (rounds)
        host->from_float[take->type](values, plane, samples);
    else
        memcpy(samples, values, plane * sizeof *values);
    if (rounds)
        host->to_float[take->type](samples, plane, values);
    for (size_t i = 0; i < start; i++)
        t.m.about += values[i] / (double)start;
    for (size_t j = 0; j < TR_MEASURE_PARTS; j++)
        t.m.low[j] = t.m.high[j] = values[0];
    host->measure(values, plane, &t.m);
    for (size_t z = 0; z < take->thickness; z++)
        t.check += (uint32_t)host->hash(values + z * take->width, take->width, z);
    return t;
}

static void compare(const tr_taken *found, const tr_taken *wanted)
{
    bool infinite = false;
    assert_true(found->m.n == wanted->m.n && same(found->m.about, wanted->m.about));
    for (size_t j = 0; j < TR_MEASURE_PARTS; j++) {
        assert_true(same(found->m.low[j], wanted->m.low[j]));
        assert_true(same(found->m.high[j], wanted->m.high[j]));
        assert_true(same(found->m.first[j], wanted->m.first[j]));
        assert_true(same(found->m.second[j], wanted->m.second[j]));
        infinite |= found->infinite[j] != 0;
    }
    assert_true((uint32_t)found->check == (uint32_t)wanted->check);
    assert_int_equal(infinite, wanted->infinite[0]);
}

static const size_t sizes[] = {1, 1, 2, 2, 4, 2};

static void check_slices(const take_case *c, const tr_take *take, const vec *x,
                         const char *samples, const tr_taken *taken)
{
    const size_t plane = c->width * c->thickness, line = c->width * sizes[take->type];
    float *values = malloc(plane * sizeof *values);
    char *wanted = malloc(plane * sizeof *values);
    for (size_t k = 0; k < c->n; k++) {
        for (size_t i = 0; i < plane; i++)
            values[i] = x->host[i * c->lanes + c->row + k];
        const tr_taken known = expect(take, values, wanted);
        compare(&taken[k], &known);
        for (size_t z = 0; z < c->thickness; z++) {
            size_t at = take->xyz ? z * c->n + k : k * c->thickness + z;
            assert_memory_equal(samples + at * line, wanted + z * line, line);
        }
    }
    free(values);
    free(wanted);
}

static void check_take(const fixture *f, const take_case *c, tr_take take)
{
    const size_t plane = c->width * c->thickness;
    take_case own = *c;
    /* The bits of a NaN that is computed with are the processor's. */
    if (take.type == TR_SAMPLE_FLOAT32)
        own.planted = 0.0f;
    take.width = c->width, take.thickness = c->thickness, take.row = c->row,
    take.n = c->n;
    take.lines = tr_take_lines(&take);
    take.lines = c->lines ? c->lines : take.lines;
    vec x = new_vec(f, plane + 5, c->lanes); /* with lines outside the field */
    fill_lines(&own, &x);
    to_device(f, &x);
    float *work;
    const size_t bytes = c->n * plane * sizes[take.type];
    char *samples = malloc(bytes + 1);
    tr_taken *taken = calloc(c->n, sizeof *taken);
    samples[bytes] = 77;
    assert_int_equal(f->backend->alloc(f->device, tr_take_floats(&take), &work), TR_OK);
    assert_int_equal(f->backend->wait(f->device), TR_OK);
    assert_int_equal(
        f->backend->take_slices(f->device, &x.on, &take, work, samples, taken), TR_OK);
    check_slices(c, &take, &x, samples, taken);
    assert_int_equal(samples[bytes], 77);
    f->backend->free(f->device, work);
    free(samples);
    free(taken);
    free_vec(f, &x);
}

static void takes_every_type_and_order(void **state)
{
    (void)state;
    fixture f = open_first(1);
    const take_case c = {.width = 67,
                         .thickness = 5,
                         .lanes = 48,
                         .row = 3,
                         .n = 37,
                         .lines = 2,
                         .planted = 0.01f};
    for (int type = 0; type < TR_SAMPLE_TYPES; type++)
        for (int way = 0; way < 4; way++)
            check_take(&f, &c,
                       (tr_take){.type = type,
                                 .xyz = way & 1,
                                 .scaled = way & 2,
                                 .add = 30.5,
                                 .multiply = 1.7});
    close_backend(&f);
}

/* The hash's shortest lines, ends of its stripes and blocks, and several blocks; slices
 * with fewer values than tell of the mean, and with more; one slice, and whole tiles. */
static void takes_any_size(void **state)
{
    static const take_case cases[] = {
        {61, 1, 16, 0, 1, 0, 0.0f},   {64, 3, 16, 0, 16, 1, 0.0f},
        {80, 3, 32, 15, 17, 2, 0.0f}, {256, 2, 32, 0, 32, 0, 0.0f},
        {257, 17, 16, 1, 2, 3, 0.0f}, {272, 2, 16, 15, 1, 0, 0.0f},
        {273, 3, 80, 7, 65, 1, 0.0f}, {512, 2, 16, 3, 5, 0, 0.0f},
        {1999, 3, 16, 0, 3, 2, 0.0f}};
    static const int types[] = {TR_SAMPLE_FLOAT32, TR_SAMPLE_FLOAT16, TR_SAMPLE_INT8};
    (void)state;
    fixture f = open_first(1);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (size_t t = 0; t < 3; t++)
            check_take(&f, &cases[k],
                       (tr_take){.type = types[t], .xyz = (k + t) % 2, .multiply = 1.0});
    close_backend(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_every_type_and_order),
        cmocka_unit_test(takes_any_size),
    };
    int missing = backend_missing();
    if (missing)
        return missing;
    if (!tr_backend_find(backend_name())->take_slices) {
        printf("SKIPPED: vectors of %s are in the host's memory\n", backend_name());
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
