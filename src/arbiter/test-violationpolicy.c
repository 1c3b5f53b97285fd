// SPDX-License-Identifier: Apache-2.0

/* Something is done about pods that are known to take what is not theirs, and to nobody else. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "arbiter/violationpolicy.h"
#include "base/array.h"

#define UID "00000001-0000-4000-8000-000000000000"

static void acts_on_pods_alone(void **state)
{
    static const struct {
        const char *what;
        enum audit_verdict verdict;
        const char *uid, *namespace_;
        enum violation_action action;
        bool knows_holders, has_begun;
        unsigned n_absent;
        uint64_t now_ms;
        bool expected;
    } rows[] = {
        {"it is over", AUDIT_OVER, UID, "ml", VIOLATION_KILL, true, true, 0, 31000, true},
        {"also to be starved", AUDIT_OVER, UID, "ml", VIOLATION_STARVE, true, true, 0, 31000, true},
        {"it has no slice", AUDIT_ASKED_NOTHING, UID, "ml", VIOLATION_KILL, true, true, 0, 31000,
         true},
        {"other GPU", AUDIT_OTHER_DEVICE, UID, "ml", VIOLATION_KILL, true, true, 0, 31000, true},
        {"no limit", AUDIT_NO_LIMIT, UID, "ml", VIOLATION_KILL, true, true, 0, 31000, false},
        {"unknown", AUDIT_UNKNOWN, "", "", VIOLATION_KILL, true, true, 0, 31000, false},
        {"of the node", AUDIT_HOST, "", "", VIOLATION_KILL, true, true, 0, 31000, false},
        {"only reported", AUDIT_OVER, UID, "ml", VIOLATION_REPORT, true, true, 0, 31000, false},
        {"within grace", AUDIT_OVER, UID, "ml", VIOLATION_KILL, true, true, 0, 30999, false},
        {"spared", AUDIT_OVER, UID, "kube-system", VIOLATION_KILL, true, true, 0, 31000, false},
        {"also spared", AUDIT_OVER, UID, "ops", VIOLATION_KILL, true, true, 0, 31000, false},
        {"nearly spared", AUDIT_OVER, UID, "kube", VIOLATION_KILL, true, true, 0, 31000, true},
        {"whose is not known", AUDIT_OVER, UID, "", VIOLATION_KILL, true, true, 0, 31000, false},
        {"no checkpoint", AUDIT_ASKED_NOTHING, UID, "ml", VIOLATION_KILL, false, true, 0, 31000,
         false},
        {"not begun", AUDIT_OVER, UID, "ml", VIOLATION_KILL, true, false, 0, 31000, false},
        {"absent now", AUDIT_OVER, UID, "ml", VIOLATION_KILL, true, true, 1, 31000, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct violationpolicy policy = {
            .action = rows[i].action, .grace_ms = 30000, .spared = "kube-system,ops"};
        struct violation violation = {.verdict = rows[i].verdict,
                                      .has_begun = rows[i].has_begun,
                                      .n_absent = rows[i].n_absent,
                                      .since_ms = 1000};

        snprintf(violation.owner.pod_uid, sizeof(violation.owner.pod_uid), "%s", rows[i].uid);
        snprintf(violation.owner.namespace_, sizeof(violation.owner.namespace_), "%s",
                 rows[i].namespace_);
        if (violationpolicy_is_due(&policy, &violation, rows[i].knows_holders, rows[i].now_ms) !=
            rows[i].expected)
            fail_msg("%s", rows[i].what);
    }
}

static void words_of_actions(void **state)
{
    enum violation_action action = VIOLATION_KILL;

    (void)state;
    for (int i = VIOLATION_REPORT; i <= VIOLATION_KILL; i++) {
        assert_true(
            violation_action_parse(violation_action_name((enum violation_action)i), &action));
        assert_int_equal(action, i);
    }
    assert_false(violation_action_parse("warn", &action));
    assert_int_equal(action, VIOLATION_KILL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acts_on_pods_alone),
        cmocka_unit_test(words_of_actions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
