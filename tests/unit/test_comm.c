/* The processes of a run: what every rank holds after a collective call, one process or
 * many. tests/cli/test_ranks.py runs it under mpiexec as well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/comm.h"

static tr_comm *world;

static tr_comm *comms[2]; /* one process, and those that MPI started */

enum { MOST = 1000 };

/* Rank 0's values and no others, and nothing beyond them. */
static void test_broadcast(void **state)
{
    (void)state;
    const size_t lengths[] = {0, 1, 7, MOST};
    double value[MOST + 1];
    for (int which = 0; which < 2; which++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            tr_comm *comm = comms[which];
            size_t n = lengths[l];
            for (size_t i = 0; i <= MOST; i++)
                value[i] = 1e6 * comm->rank + (double)i + 0.1;
            assert_int_equal(comm->ops->broadcast(comm, value, n), TR_OK);
            for (size_t i = 0; i <= MOST; i++)
                assert_true(value[i] ==
                            (i < n ? 0.0 : 1e6 * comm->rank) + (double)i + 0.1);
        }
}

/* Any bits, also those of a signalling NaN: text is sent as doubles. */
static void test_broadcast_of_bits(void **state)
{
    (void)state;
    const uint64_t bits[] = {0x7ff4dead00000001u, 0x8000000000000000u, 1, 0};
    for (int which = 0; which < 2; which++) {
        tr_comm *comm = comms[which];
        double value[4] = {1, 2, 3, 4};
        if (comm->rank == 0)
            memcpy(value, bits, sizeof bits);
        assert_int_equal(comm->ops->broadcast(comm, value, 4), TR_OK);
        assert_memory_equal(value, bits, sizeof bits);
    }
}

static void test_sum(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        tr_comm *comm = comms[which];
        double n = comm->size, value[2] = {comm->rank, 1.0};
        assert_int_equal(comm->ops->sum(comm, value, 2), TR_OK);
        assert_true(value[0] == n * (n - 1.0) / 2.0 && value[1] == n);
    }
}

static void test_same(void **state)
{
    (void)state;
    char same[400], expected[600];
    memset(same, 'x', sizeof same - 1);
    same[sizeof same - 1] = '\0';
    memcpy(same + 100, "\nlast", 6);
    for (int which = 0; which < 2; which++) {
        tr_comm *comm = comms[which];
        assert_int_equal(tr_comm_same(comm, "nothing", ""), TR_OK);
        assert_int_equal(tr_comm_same(comm, "a text", same), TR_OK);
        if (comm->size == 1)
            continue;
        /* The last rank's own line, one more, and one fewer: known to all. */
        const char *const theirs[] = {"one\ntwo!\n", "one\ntwo\nthree", "one"};
        const char *const said[] = {"two!", "three", ""}, *const first[] = {"two", "",
                                                                            "two"};
        for (int k = 0; k < 3; k++) {
            bool last = comm->rank == comm->size - 1;
            assert_int_equal(tr_comm_same(comm, "this", last ? theirs[k] : "one\ntwo\n"),
                             TR_ERR_USAGE);
            snprintf(
                expected, sizeof expected,
                "the processes differ in this: rank %d has \"%s\" and rank 0 \"%s\"; "
                "start all with the same",
                comm->size - 1, said[k], first[k]);
            assert_string_equal(tr_error(), expected);
        }
        world->agreed_failure = false;
    }
}

/* Groups of two: each is a world of its own, and a failure in one is none in another. */
static void test_split(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        tr_comm *comm = comms[which], *part = NULL;
        int group = comm->rank / 2, first = 2 * group;
        int size = comm->size - first < 2 ? comm->size - first : 2;
        assert_int_equal(comm->ops->split(comm, group, &part), TR_OK);
        assert_int_equal(part->size, size);
        assert_int_equal(part->rank, comm->rank - first);
        assert_int_equal(part->local_rank, comm->local_rank);
        assert_int_equal(part->local_size, comm->local_size);
        assert_int_equal(part->machine, 0); /* all are on this one */
        double sum[2] = {comm->rank, 1.0}, told = comm->rank;
        assert_int_equal(part->ops->sum(part, sum, 2), TR_OK);
        assert_true(sum[0] == (size == 2 ? 2.0 * first + 1.0 : (double)first));
        assert_true(sum[1] == size);
        assert_int_equal(part->ops->broadcast(part, &told, 1), TR_OK);
        assert_true(told == first);
        tr_status mine = group == 0 && part->rank == size - 1
                             ? tr_fail(TR_ERR_MEMORY, "of group %d", group)
                             : TR_OK;
        assert_int_equal(part->ops->agree(part, mine),
                         group == 0 ? TR_ERR_MEMORY : TR_OK);
        if (group == 0)
            assert_string_equal(tr_error(), "of group 0");
        part->agreed_failure = false;
        assert_int_equal(comm->ops->agree(comm, TR_OK), TR_OK);
        if (part != comm)
            part->ops->finish(part);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broadcast), cmocka_unit_test(test_broadcast_of_bits),
        cmocka_unit_test(test_sum),       cmocka_unit_test(test_same),
        cmocka_unit_test(test_split),
    };
    if (tr_comm_mpi(&argc, &argv, &world) != TR_OK) {
        fprintf(stderr, "%s\n", tr_error());
        return 1;
    }
    comms[0] = tr_comm_serial();
    comms[1] = world;
    printf("%d ranks\n", world->size);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    world->ops->finish(world);
    return failed;
}
