// SPDX-License-Identifier: Apache-2.0
#include "health/xidlog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static bool say(struct xidlog *log, const char *uuid, uint64_t xid, uint64_t now_ms)
{
    struct gpu_event event = {.xid = xid};

    snprintf(event.uuid, sizeof(event.uuid), "%s", uuid);
    return xidlog_admit(log, &event, now_ms);
}

static void once_in_ten_seconds(void **state)
{
    struct xidlog log = {.n_said = 0};

    (void)state;
    assert_true(say(&log, "GPU-a", 31, 5));
    assert_false(say(&log, "GPU-a", 31, 6));
    assert_true(say(&log, "GPU-a", 43, 6));
    assert_true(say(&log, "GPU-b", 31, 6));
    assert_true(say(&log, "", 31, 6));
    assert_false(say(&log, "GPU-a", 31, 5 + XIDLOG_QUIET_MS - 1));
    assert_true(say(&log, "GPU-a", 31, 5 + XIDLOG_QUIET_MS));
}

static void a_flood_of_kinds_stays_bounded(void **state)
{
    struct xidlog log = {.n_said = 0};

    (void)state;
    for (uint64_t xid = 0; xid < 1000; xid++)
        assert_true(say(&log, "GPU-a", xid, 1));
    assert_false(say(&log, "GPU-a", 999, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(once_in_ten_seconds),
        cmocka_unit_test(a_flood_of_kinds_stays_bounded),
    };

    return cmocka_run_group_tests_name("health/xidlog", tests, NULL, NULL);
}
