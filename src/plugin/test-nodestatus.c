// SPDX-License-Identifier: Apache-2.0
#include "plugin/nodestatus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void assert_shown(const struct nodestatus *status, const char *resource, int64_t capacity,
                         int64_t allocatable)
{
    int64_t shown_capacity, shown_allocatable;

    assert_true(nodestatus_find(status, resource, &shown_capacity, &shown_allocatable));
    assert_int_equal(shown_capacity, capacity);
    assert_int_equal(shown_allocatable, allocatable);
}

static void the_last_news_count(void **state)
{
    struct nodestatus status = {.known = false};
    int64_t capacity, allocatable;

    (void)state;
    assert_false(nodestatus_find(&status, "nvidia.com/gpu", &capacity, &allocatable));
    nodestatus_clear(&status);
    assert_int_equal(nodestatus_add(&status, "nvidia.com/gpu", 16, 12), 0);
    assert_int_equal(nodestatus_add(&status, "nvidia.com/gpu-half", 2, 2), 0);
    assert_shown(&status, "nvidia.com/gpu", 16, 12);
    assert_shown(&status, "nvidia.com/gpu-half", 2, 2);
    assert_shown(&status, "nvidia.com/other", 0, 0);
    nodestatus_clear(&status);
    assert_int_equal(nodestatus_add(&status, "nvidia.com/gpu", 16, 12), 0);
    assert_shown(&status, "nvidia.com/gpu-half", 0, 0);
    nodestatus_clear(&status);
    assert_shown(&status, "nvidia.com/gpu", 0, 0);
    nodestatus_deinit(&status);
    assert_false(nodestatus_find(&status, "nvidia.com/gpu", &capacity, &allocatable));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_news_count),
    };

    return cmocka_run_group_tests_name("plugin/nodestatus", tests, NULL, NULL);
}
