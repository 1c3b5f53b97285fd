// SPDX-License-Identifier: Apache-2.0
#include "kube/leaseview.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct leaseview view;

static int tear_down(void **state)
{
    (void)state;
    leaseview_deinit(&view);
    return 0;
}

static void see(const char *holder, int seconds, uint64_t now_ms)
{
    json_t *lease = json_pack("{s:{s:s,s:i}}", "spec", "holderIdentity", holder,
                              "leaseDurationSeconds", seconds);

    leaseview_see(&view, lease, now_ms);
    json_decref(lease);
}

static void it_is_abandoned_when_it_does_not_change(void **state)
{
    (void)state;
    assert_false(leaseview_is_abandoned(&view, 15, UINT64_MAX));
    assert_string_equal(leaseview_holder(&view), "");
    see("a", 20, 1000);
    see("a", 20, 20999);
    assert_string_equal(leaseview_holder(&view), "a");
    assert_false(leaseview_is_abandoned(&view, 15, 20999));
    assert_true(leaseview_is_abandoned(&view, 15, 21000));
    see("b", 20, 21000);
    assert_false(leaseview_is_abandoned(&view, 15, 21000));
}

static void odd_durations_are_limited(void **state)
{
    (void)state;
    see("a", 0, 0);
    assert_false(leaseview_is_abandoned(&view, 15, 14999));
    assert_true(leaseview_is_abandoned(&view, 15, 15000));
    see("a", 2000000000, 0);
    assert_true(leaseview_is_abandoned(&view, 15, 86400 * 1000));
    leaseview_see(&view, NULL, 0);
    assert_string_equal(leaseview_holder(&view), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(it_is_abandoned_when_it_does_not_change, tear_down),
        cmocka_unit_test_teardown(odd_durations_are_limited, tear_down),
    };

    return cmocka_run_group_tests_name("kube/leaseview", tests, NULL, NULL);
}
