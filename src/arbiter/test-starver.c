// SPDX-License-Identifier: Apache-2.0

/* A pod is starved from the end of the grace time until its violation ends, or limits do. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "arbiter/starver.h"

#define UID "00000001-0000-4000-8000-000000000000"

static const struct violationpolicy policy = {
    .action = VIOLATION_STARVE, .grace_ms = 1000, .spared = ""};
static unsigned n[3];

static void count(const struct violation *violation, enum starver_outcome outcome, void *userdata)
{
    (void)violation, (void)userdata;
    n[outcome]++;
}

static struct violation violation_of(enum audit_verdict verdict)
{
    struct violation violation = {.verdict = verdict, .has_begun = true};

    snprintf(violation.owner.pod_uid, sizeof(violation.owner.pod_uid), "%s", UID);
    snprintf(violation.owner.namespace_, sizeof(violation.owner.namespace_), "ml");
    return violation;
}

static void decide(struct violation *violation, bool is_enforcing, uint64_t now_ms)
{
    struct violations violations = {.items = violation, .n = 1};

    starver_decide(&violations, &policy, is_enforcing, true, now_ms, count, NULL);
}

static int set_up(void **state)
{
    (void)state;
    n[0] = n[1] = n[2] = 0;
    return 0;
}

static void test_from_the_grace_time_to_the_end_of_limits(void **state)
{
    struct violation violation = violation_of(AUDIT_OVER);

    (void)state;
    decide(&violation, true, 999);
    assert_false(violation.is_starved);
    decide(&violation, true, 1000);
    assert_true(violation.is_starved);
    violation.n_absent = 1; /* it has not ended yet */
    decide(&violation, true, 2000);
    assert_true(violation.is_starved);
    decide(&violation, false, 3000);
    assert_false(violation.is_starved);
    violation.n_absent = 0;
    decide(&violation, true, 4000);
    assert_true(violation.is_starved);
    assert_int_equal(n[STARVER_BEGUN], 2);
    assert_int_equal(n[STARVER_ENDED], 1);
}

static void test_who_has_no_library_is_told_once(void **state)
{
    struct violation violation = violation_of(AUDIT_ASKED_NOTHING);

    (void)state;
    decide(&violation, true, 1000);
    decide(&violation, true, 2000);
    assert_false(violation.is_starved);
    assert_int_equal(n[STARVER_NO_LIBRARY], 1);
    assert_int_equal(n[STARVER_BEGUN], 0);
}

static void test_only_where_the_policy_says_so(void **state)
{
    const struct violationpolicy kill = {.action = VIOLATION_KILL, .grace_ms = 0, .spared = ""};
    struct violation violation = violation_of(AUDIT_OTHER_DEVICE);
    struct violations violations = {.items = &violation, .n = 1};

    (void)state;
    starver_decide(&violations, &kill, true, true, 1000, count, NULL);
    assert_false(violation.is_starved);
    decide(&violation, false, 1000); /* observed limits change nothing */
    assert_false(violation.is_starved);
    decide(&violation, true, 1000);
    assert_true(violation.is_starved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_from_the_grace_time_to_the_end_of_limits, set_up),
        cmocka_unit_test_setup(test_who_has_no_library_is_told_once, set_up),
        cmocka_unit_test_setup(test_only_where_the_policy_says_so, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
