// SPDX-License-Identifier: Apache-2.0

/* What tenants can make the arbiter log, and what is counted of it. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "arbiter/sessionlog.h"
#include "base/log.h"

#define GRANT "0123456789abcdef"

static struct sessionlog told;
static FILE *caught; /* in place of standard error */
static int terminal;

static int set_up(void **state)
{
    told = (struct sessionlog){.n_refused = 0};
    caught = tmpfile();
    terminal = dup(STDERR_FILENO);
    return caught && dup2(fileno(caught), STDERR_FILENO) >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    dup2(terminal, STDERR_FILENO);
    close(terminal);
    return fclose(caught);
}

/* Lines so far that have the text. */
static unsigned count(const char *text)
{
    char line[512];
    unsigned n = 0;

    rewind(caught);
    while (fgets(line, sizeof(line), caught))
        n += strstr(line, text) != NULL;
    return n;
}

static void test_a_line_tells_who_and_why(void **state)
{
    sessionlog_refused(&told, GRANT, 0, "too many", 1000);
    assert_int_equal(count("reason=\"too many\" grant=" GRANT), 1);
    assert_int_equal(count("pid="), 0); /* it is not known */
    sessionlog_malformed(&told, GRANT, 77, "uid-1", "nonsense", 1000);
    assert_int_equal(count("reason=nonsense pid=77 pod_uid=uid-1 grant=" GRANT), 1);
}

static void test_a_grant_that_floods_has_a_line_once_in_a_while(void **state)
{
    for (unsigned i = 0; i < 100; i++) {
        sessionlog_refused(&told, GRANT, 1 + i, "it is not of the pod", 1000 + i);
        sessionlog_without_turns(&told, GRANT, "no memory", 1000 + i);
        sessionlog_malformed(&told, GRANT, 1 + i, "", "nonsense", 1000 + i);
    }
    assert_int_equal(told.n_refused, 100);
    assert_int_equal(told.n_malformed, 100);
    assert_int_equal(count("no part in a grant") + count("no part in turns"), 1);
    assert_int_equal(count("was disconnected"), 1);
    sessionlog_refused(&told, GRANT, 1, "it is not of the pod", 2000 + SESSIONLOG_QUIET_MS);
    assert_int_equal(count("no part in a grant"), 2);
}

/* Tenants decide how many grants there are. */
static void test_many_grants_have_as_many_lines_as_the_log_admits(void **state)
{
    for (unsigned i = 0; i < 10 * FINDINGLOG_BURST; i++) {
        char grant[32];

        snprintf(grant, sizeof(grant), "%016x", i);
        sessionlog_refused(&told, grant, 1, "it is not of the pod", FINDINGLOG_PERIOD_MS);
    }
    assert_int_equal(told.n_refused, 10 * FINDINGLOG_BURST);
    assert_int_equal(count("no part in a grant"), FINDINGLOG_BURST);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_line_tells_who_and_why),
        TEST(test_a_grant_that_floods_has_a_line_once_in_a_while),
        TEST(test_many_grants_have_as_many_lines_as_the_log_admits),
    };

    log_setup_by_name("warning", "logfmt");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
