// SPDX-License-Identifier: Apache-2.0
#include "proc/pause.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

static void it_ends_by_itself_or_with_a_signal(void **state)
{
    (void)state;
    alarm(60);
    pause_mask(SIG_BLOCK);
    assert_true(pause_ms(1));
    raise(SIGTERM);
    assert_false(pause_ms(3600000));
    raise(SIGINT);
    assert_false(pause_ms(3600000));
    pause_mask(SIG_UNBLOCK); /* nothing is pending */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_ends_by_itself_or_with_a_signal)};

    return cmocka_run_group_tests_name("proc/pause", tests, NULL, NULL);
}
