// SPDX-License-Identifier: Apache-2.0
#include "arbiter/findinglog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void a_flood_is_counted(void **state)
{
    struct findinglog log = {0};
    unsigned n_left_out, n_lines = 0;

    (void)state;
    for (unsigned i = 0; i < 3 * FINDINGLOG_BURST; i++)
        n_lines += findinglog_admit(&log, FINDINGLOG_PERIOD_MS + i, &n_left_out);
    assert_int_equal(n_lines, FINDINGLOG_BURST);
    assert_int_equal(n_left_out, 0);
    assert_true(findinglog_admit(&log, 2 * FINDINGLOG_PERIOD_MS, &n_left_out));
    assert_int_equal(n_left_out, 2 * FINDINGLOG_BURST);
    assert_true(findinglog_admit(&log, 4 * FINDINGLOG_PERIOD_MS, &n_left_out));
    assert_int_equal(n_left_out, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_flood_is_counted)};

    return cmocka_run_group_tests_name("arbiter/findinglog", tests, NULL, NULL);
}
