// SPDX-License-Identifier: Apache-2.0

/* What ended during a reading is known, in bounded memory however long the reading takes. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "arbiter/endings.h"

static const int one, other; /* owners */

static void test_those_of_this_reading(void **state)
{
    struct endings endings = ENDINGS_INIT;

    (void)state;
    endings_add(&endings, 7, &one);
    assert_true(endings_have(&endings, 7, &one));
    assert_false(endings_have(&endings, 7, &other));
    assert_false(endings_have(&endings, 8, &one));
    endings_clear(&endings);
    assert_false(endings_have(&endings, 7, &one));
    endings_deinit(&endings);
}

static void test_too_many_may_be_any(void **state)
{
    struct endings endings = ENDINGS_INIT;

    (void)state;
    for (uint32_t pid = 1; pid <= ENDINGS_MAX; pid++)
        endings_add(&endings, pid, &one);
    assert_false(endings_have(&endings, ENDINGS_MAX + 1, &one));
    for (uint32_t pid = 0; pid < 1000; pid++)
        endings_add(&endings, ENDINGS_MAX + 1 + pid, &one);
    assert_int_equal(endings.n, ENDINGS_MAX);
    assert_true(endings_have(&endings, 1 << 20, &other));
    endings_clear(&endings);
    assert_false(endings_have(&endings, 1 << 20, &other));
    endings_deinit(&endings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_those_of_this_reading),
        cmocka_unit_test(test_too_many_may_be_any),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
