/* The library as its callers see it: operators in two threads at the same time, each with
 * its own and both with one; structs of other versions; what is refused. Its numbers are
 * compared in tests/cli/test_library.py. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/library/tiltrec.h"

enum { VIEWS = 9, N_Y = 18, N_U = 40, THICK = 12, VOLUME = THICK * N_Y * N_U };
enum { PROJECTIONS = VIEWS * N_Y * N_U };

static tiltrec_spec make_spec(double pitch)
{
    static double tilts[VIEWS];
    for (int i = 0; i < VIEWS; i++)
        tilts[i] = -56.0 + 14.0 * i;
    return (tiltrec_spec){.size = sizeof(tiltrec_spec),
                          .threads = 2,
                          .n_views = VIEWS,
                          .n_y = N_Y,
                          .n_u = N_U,
                          .thickness = THICK,
                          .tilts = tilts,
                          .pitch = pitch};
}

static tiltrec_operator *create(double pitch)
{
    tiltrec_operator *op;
    const tiltrec_spec spec = make_spec(pitch);
    assert_int_equal(tiltrec_create(&op, &spec), TILTREC_OK);
    return op;
}

static float *noise(size_t n, unsigned seed)
{
    float *values = malloc(n * sizeof *values);
    uint64_t state = seed;
    assert_non_null(values);
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        values[i] = (float)(state >> 40) / (float)(1 << 23) - 1.0f;
    }
    return values;
}

/* One thread's work: the same whatever another one does meanwhile. */
typedef struct work {
    tiltrec_operator *op;
    unsigned seed;
    float *volume, *projections, *solved;
    int statuses;
    char sentence[200];
} work;

static void *do_work(void *argument)
{
    work *w = argument;
    float *x = noise(VOLUME, w->seed);
    for (int k = 0; k < 3; k++) {
        w->statuses |= tiltrec_forward(w->op, x, w->projections, 0);
        w->statuses |= tiltrec_adjoint(w->op, w->projections, w->volume, 0);
        w->statuses |=
            tiltrec_solve(w->op, "WBP", NULL, w->projections, w->solved, 0, NULL, NULL);
        w->statuses |= tiltrec_solve(w->op, "CGLS", "iterations=2", w->projections,
                                     w->solved, TILTREC_YSX, NULL, NULL);
    }
    char option[40];
    snprintf(option, sizeof option, "iterations=-%u", w->seed);
    if (tiltrec_solve(w->op, "SIRT", option, x, x, 0, NULL, NULL) != TILTREC_BAD_USAGE)
        w->statuses |= -1;
    snprintf(w->sentence, sizeof w->sentence, "%s", tiltrec_last_error());
    free(x);
    return NULL;
}

static void begin(work *w, tiltrec_operator *op, unsigned seed)
{
    *w = (work){.op = op, .seed = seed};
    w->volume = noise(VOLUME, 1);
    w->solved = noise(VOLUME, 1);
    w->projections = noise(PROJECTIONS, 1);
}

static void end(work *w)
{
    free(w->volume);
    free(w->solved);
    free(w->projections);
}

static void check_same(const work *a, const work *b)
{
    assert_int_equal(a->statuses, 0);
    assert_int_equal(b->statuses, 0);
    assert_memory_equal(a->volume, b->volume, VOLUME * sizeof(float));
    assert_memory_equal(a->solved, b->solved, VOLUME * sizeof(float));
    assert_memory_equal(a->projections, b->projections, PROJECTIONS * sizeof(float));
}

static void run_two(tiltrec_operator *first, tiltrec_operator *second)
{
    work alone[2], together[2];
    tiltrec_operator *ops[] = {first, second};
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++) {
        begin(&alone[i], ops[i], i + 5);
        begin(&together[i], ops[i], i + 5);
        do_work(&alone[i]);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, do_work, &together[i]), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 2; i++) {
        check_same(&alone[i], &together[i]);
        assert_string_equal(alone[i].sentence, together[i].sentence);
        assert_non_null(strstr(together[i].sentence, i ? "-6" : "-5"));
        end(&alone[i]);
        end(&together[i]);
    }
}

static void test_two_threads_with_one_each(void **state)
{
    (void)state;
    tiltrec_operator *straight = create(0.0), *pitched = create(6.0);
    run_two(straight, pitched);
    tiltrec_destroy(straight);
    tiltrec_destroy(pitched);
}

static void test_two_threads_with_the_same(void **state)
{
    (void)state;
    tiltrec_operator *op = create(6.0);
    run_two(op, op);
    tiltrec_destroy(op);
}

/* As an older caller, whose struct ended with the sizes; and newer ones. */
static void test_structs_of_other_versions(void **state)
{
    (void)state;
    struct {
        tiltrec_spec spec;
        double later[4];
    } newer = {.spec = make_spec(0.0)};
    tiltrec_operator *op;
    newer.spec.size = sizeof newer;
    assert_int_equal(tiltrec_create(&op, &newer.spec), TILTREC_OK);
    tiltrec_destroy(op);
    newer.later[2] = 1.0;
    assert_int_equal(tiltrec_create(&op, &newer.spec), TILTREC_UNAVAILABLE);
    assert_null(op);
    newer.spec.size = offsetof(tiltrec_spec, rays); /* before there were rays */
    newer.spec.rays = (const double *)(uintptr_t)8; /* not the library's to look at */
    assert_int_equal(tiltrec_create(&op, &newer.spec), TILTREC_OK);
    tiltrec_shape shape = {.size = offsetof(tiltrec_shape, lanes), .lanes = 77};
    assert_int_equal(tiltrec_get_shape(op, &shape), TILTREC_OK);
    assert_int_equal(shape.width, N_U);
    assert_int_equal(shape.lanes, 77);
    tiltrec_destroy(op);
    newer.spec.size = 0;
    assert_int_equal(tiltrec_create(&op, &newer.spec), TILTREC_BAD_USAGE);
}

static int refused(tiltrec_spec spec, const char *sentence)
{
    tiltrec_operator *op;
    int status = tiltrec_create(&op, &spec);
    assert_null(op);
    if (!strstr(tiltrec_last_error(), sentence))
        fail_msg("'%s' does not say '%s'", tiltrec_last_error(), sentence);
    return status;
}

static void test_refused_specs(void **state)
{
    (void)state;
    const tiltrec_spec good = make_spec(0.0);
    double bad_tilts[VIEWS] = {[3] = NAN}, rays[8 * VIEWS] = {0};
    tiltrec_spec s = good;
    s.tilts = NULL;
    assert_int_equal(refused(s, "either tilts or rays"), TILTREC_BAD_USAGE);
    s.tilts = bad_tilts;
    assert_int_equal(refused(s, "tilts: value 3 is not"), TILTREC_BAD_USAGE);
    s = good;
    s.thickness = 0;
    assert_int_equal(refused(s, "the thickness is 0"), TILTREC_BAD_USAGE);
    s = good;
    s.pitch = 80.0;
    assert_int_equal(refused(s, "beyond"), TILTREC_BAD_USAGE);
    s = good;
    s.backend = "abacus";
    assert_int_equal(refused(s, "no backend named abacus"), TILTREC_UNAVAILABLE);
    s = good;
    s.tilts = NULL;
    s.rays = rays;
    for (int i = 0; i < VIEWS; i++)
        rays[8 * i + 1] = rays[8 * i + 6] = 1.0;
    rays[8 + 1] = 0.5;
    assert_int_equal(refused(s, "ray 1"), TILTREC_BAD_USAGE);
    rays[8 + 1] = 1.0;
    rays[16 + 2] = 2.5;
    assert_int_equal(refused(s, "ray 2"), TILTREC_BAD_USAGE);
}

static int stop_at_two(void *self, long iteration)
{
    *(long *)self = iteration;
    return iteration == 2;
}

static void test_refused_calls(void **state)
{
    (void)state;
    tiltrec_operator *op = create(0.0);
    float *x = noise(VOLUME, 2), *p = noise(PROJECTIONS, 3), response[30] = {0};
    assert_int_equal(tiltrec_forward(op, x, p, TILTREC_INITIAL), TILTREC_BAD_USAGE);
    assert_int_equal(tiltrec_forward(op, x, p, TILTREC_ON_DEVICE), TILTREC_BAD_USAGE);
    assert_int_equal(tiltrec_forward(op, x + 1, p, TILTREC_NATIVE), TILTREC_BAD_USAGE);
    assert_int_equal(tiltrec_filter(op, 38, response, NULL, p, 0), TILTREC_BAD_USAGE);
    assert_int_equal(tiltrec_solve(op, "magic", "", p, x, 0, NULL, NULL),
                     TILTREC_BAD_USAGE);
    assert_int_equal(tiltrec_solve(op, "WBP", "", p, x, TILTREC_INITIAL, NULL, NULL),
                     TILTREC_BAD_USAGE);
    long last = 0;
    assert_int_equal(tiltrec_solve(op, "SIRT", " iterations=5  positive ", p, x, 0,
                                   stop_at_two, &last),
                     TILTREC_STOPPED);
    assert_int_equal(last, 2);
    free(x);
    free(p);
    tiltrec_destroy(op);
    tiltrec_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_threads_with_one_each),
        cmocka_unit_test(test_two_threads_with_the_same),
        cmocka_unit_test(test_structs_of_other_versions),
        cmocka_unit_test(test_refused_specs),
        cmocka_unit_test(test_refused_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
