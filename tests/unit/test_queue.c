#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/queue.h"

enum { ITEMS = 2000 };
static int items[ITEMS];

static void *produce(void *argument)
{
    for (int i = 0; i < ITEMS; i++)
        if (!tr_queue_push(argument, &items[i]))
            return NULL;
    tr_queue_close(argument, false);
    return NULL;
}

/* Everything arrives once and in order, whatever the depth. */
static void test_order(void **state)
{
    (void)state;
    const size_t depths[] = {1, 4, 7};
    for (int k = 0; k < 3; k++) {
        tr_queue *queue = tr_queue_new(depths[k]);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, produce, queue), 0);
        for (int i = 0; i < ITEMS; i++)
            assert_ptr_equal(tr_queue_pop(queue), &items[i]);
        assert_null(tr_queue_pop(queue));
        pthread_join(thread, NULL);
        tr_queue_free(queue);
    }
}

/* A producer that waits for room is let go when the queue is closed. */
static void test_close(void **state)
{
    (void)state;
    tr_queue *queue = tr_queue_new(1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, produce, queue), 0);
    assert_ptr_equal(tr_queue_pop(queue), &items[0]);
    tr_queue_close(queue, true);
    pthread_join(thread, NULL);
    assert_false(tr_queue_push(queue, items));
    assert_null(tr_queue_pop(queue));
    tr_queue_free(queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order),
                                       cmocka_unit_test(test_close)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
