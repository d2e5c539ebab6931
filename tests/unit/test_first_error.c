/* Which of several failures is reported: that of the lowest item, whatever the threads'
 * order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/first_error.h"

enum { ITEMS = 200 };

static tr_status work(size_t item, const bool *fails)
{
    return fails[item] ? tr_fail(item % 2 ? TR_ERR_DATA : TR_ERR_MEMORY, "item %zu", item)
                       : TR_OK;
}

/* Items that are done before any failure are all done; of the failures the lowest stays,
 * from the last item to the first as from the first to the last. */
static void test_the_lowest_item_in_any_order(void **state)
{
    (void)state;
    const bool fails[ITEMS] = {[31] = true, [44] = true, [170] = true};
    for (int backwards = 0; backwards < 2; backwards++) {
        tr_first_error first = TR_NO_ERROR_YET;
        size_t done = 0;
        for (size_t k = 0; k < ITEMS; k++) {
            size_t item = backwards ? ITEMS - 1 - k : k;
            if (!tr_first_error_needs(&first, item))
                continue;
            done++;
            tr_first_error_note(&first, item, work(item, fails));
        }
        assert_int_equal(done, backwards ? ITEMS : 32);
        (void)tr_fail(TR_ERR_INTERNAL, "another sentence");
        assert_int_equal(tr_first_error_end(&first), TR_ERR_DATA);
        assert_string_equal(tr_error(), "item 31");
    }
}

/* The sentence is that of the thread that failed, and gets to the one that asks. */
static void test_threads(void **state)
{
    (void)state;
    for (size_t lowest = 0; lowest < ITEMS; lowest += 7) {
        bool fails[ITEMS] = {false};
        for (size_t k = lowest; k < ITEMS; k += 3)
            fails[k] = true;
        tr_first_error first = TR_NO_ERROR_YET;
#pragma omp parallel for schedule(dynamic) num_threads(4)
        for (size_t k = 0; k < ITEMS; k++)
            if (tr_first_error_needs(&first, k))
                tr_first_error_note(&first, k, work(k, fails));
        char sentence[32];
        snprintf(sentence, sizeof sentence, "item %zu", lowest);
        assert_int_equal(tr_first_error_end(&first),
                         lowest % 2 ? TR_ERR_DATA : TR_ERR_MEMORY);
        assert_string_equal(tr_error(), sentence);
    }
}

/* Of one item's failures the first in time: a pipeline's stages count as one. */
static void test_the_first_in_time(void **state)
{
    (void)state;
    tr_first_error first = TR_NO_ERROR_YET;
    tr_first_error_note(&first, 0, TR_OK);
    assert_true(tr_first_error_needs(&first, 0));
    tr_first_error_note(&first, 0, tr_fail(TR_ERR_STOPPED, "stopped"));
    tr_first_error_note(&first, 0, tr_fail(TR_ERR_DATA, "the disk is full"));
    assert_int_equal(tr_first_error_end(&first), TR_ERR_STOPPED);
    assert_string_equal(tr_error(), "stopped");
}

static void test_no_failure(void **state)
{
    (void)state;
    tr_first_error first = TR_NO_ERROR_YET;
    for (size_t k = 0; k < ITEMS; k++)
        tr_first_error_note(&first, k, TR_OK);
    assert_int_equal(tr_first_error_end(&first), TR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_lowest_item_in_any_order),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_the_first_in_time),
        cmocka_unit_test(test_no_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
