// SPDX-License-Identifier: Apache-2.0
#include "arbiter/violations.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

/* One device, and what an audit finds on it. */
static struct audit_device devices[] = {{.device = {.uuid = "GPU-a"}}};
static struct audit_use uses[4];
static struct audit audit = {.devices = devices, .n_devices = 1, .uses = uses};

static unsigned n_begun, n_ended;
static char last_pod[AUDIT_POD_SIZE];

static void on_begun(const struct violation *violation, const struct audit *of,
                     const struct audit_use *use, void *userdata)
{
    (void)userdata;
    assert_ptr_equal(of, &audit);
    assert_string_equal(use->owner.pod, violation->owner.pod);
    n_begun++;
}

static void on_ended(const struct violation *violation, void *userdata)
{
    (void)userdata;
    snprintf(last_pod, sizeof(last_pod), "%s", violation->owner.pod);
    n_ended++;
}

static void find_nothing(void)
{
    audit.n_uses = 0;
}

static void find(const char *pod, enum audit_verdict verdict, uint32_t pid)
{
    struct audit_use *use = &uses[audit.n_uses++];

    *use = (struct audit_use){.pid = pid, .verdict = verdict, .n_processes = 1};
    if (verdict == AUDIT_UNKNOWN)
        return;
    snprintf(use->owner.pod_uid, sizeof(use->owner.pod_uid), "uid-%s", pod);
    snprintf(use->owner.pod, sizeof(use->owner.pod), "%s", pod);
    snprintf(use->owner.namespace_, sizeof(use->owner.namespace_), "default");
}

static bool observe(struct violations *violations)
{
    static const struct violations_callbacks callbacks = {on_begun, on_ended};

    return violations_observe(
        violations, &audit, (struct violations_now){.ms = 5000, .s = 1700000000}, &callbacks, NULL);
}

static int set_up(void **state)
{
    (void)state;
    n_begun = n_ended = 0;
    devices[0].is_unread = false;
    find_nothing();
    return 0;
}

static void begins_with_the_second_audit_and_is_told_once(void **state)
{
    cleanup_violations struct violations violations = VIOLATIONS_INIT;

    (void)state;
    assert_false(violations_has_unconfirmed(&violations));
    find("greedy", AUDIT_OVER, 7);
    assert_false(observe(&violations));
    assert_int_equal(n_begun, 0);
    assert_true(violations_has_unconfirmed(&violations));
    assert_true(observe(&violations));
    assert_int_equal(n_begun, 1);
    assert_false(violations_has_unconfirmed(&violations));
    for (int i = 0; i < 10; i++)
        assert_false(observe(&violations));
    assert_int_equal(n_begun, 1);
    assert_int_equal(violations.n_begun[AUDIT_OVER], 1);
    assert_int_equal(violations.items[0].began_s, 1700000000);
}

static void a_process_that_ended_meanwhile_is_none(void **state)
{
    cleanup_violations struct violations violations = VIOLATIONS_INIT;

    (void)state;
    for (uint32_t pid = 1; pid < 5; pid++) {
        find_nothing();
        find("", AUDIT_UNKNOWN, pid);
        observe(&violations);
    }
    assert_int_equal(n_begun, 0);
    assert_int_equal(violations.n, 1);
    find_nothing();
    observe(&violations);
    assert_false(violations_has_unconfirmed(&violations));
}

static void what_is_right_is_none(void **state)
{
    static const enum audit_verdict right[] = {AUDIT_WITHIN, AUDIT_HOST};
    cleanup_violations struct violations violations = VIOLATIONS_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(right); i++)
        find("fine", right[i], 1);
    observe(&violations);
    observe(&violations);
    assert_int_equal(violations.n, 0);
}

static void ends_when_it_is_absent_for_a_while(void **state)
{
    cleanup_violations struct violations violations = VIOLATIONS_INIT;

    (void)state;
    find("greedy", AUDIT_OVER, 7);
    observe(&violations);
    observe(&violations);
    find_nothing();
    for (int i = 1; i < VIOLATION_ABSENT; i++)
        assert_false(observe(&violations));
    find("greedy", AUDIT_OVER, 8); /* by turns it is the same one */
    assert_false(observe(&violations));
    find_nothing();
    for (int i = 1; i < VIOLATION_ABSENT; i++)
        assert_false(observe(&violations));
    assert_int_equal(n_ended, 0);
    assert_true(observe(&violations));
    assert_int_equal(n_ended, 1);
    assert_string_equal(last_pod, "greedy");
    assert_int_equal(violations.n, 0);
}

static void lasts_while_its_device_is_not_read(void **state)
{
    cleanup_violations struct violations violations = VIOLATIONS_INIT;

    (void)state;
    find("greedy", AUDIT_OVER, 7);
    observe(&violations);
    observe(&violations);
    find_nothing();
    devices[0].is_unread = true;
    for (int i = 0; i < 3 * VIOLATION_ABSENT; i++)
        observe(&violations);
    assert_int_equal(n_ended, 0);
    devices[0].is_unread = false;
    for (int i = 0; i < VIOLATION_ABSENT; i++)
        observe(&violations);
    assert_int_equal(n_ended, 1);
}

static void who_follows_does_not_tell_it_again(void **state)
{
    cleanup_violations struct violations violations = VIOLATIONS_INIT, next = VIOLATIONS_INIT;
    cleanup_text struct text text = TEXT_INIT;

    (void)state;
    find("greedy", AUDIT_OVER, 7);
    find("curious", AUDIT_ASKED_NOTHING, 8);
    find("", AUDIT_UNKNOWN, 9);
    observe(&violations);
    observe(&violations);
    violations_format(&violations, &text);
    assert_int_equal(violations_parse(&next, text.data, text.length, 1), 0);
    assert_int_equal(next.n, 3);
    observe(&next);
    assert_int_equal(n_begun, 3);
    find_nothing();
    for (int i = 0; i < VIOLATION_ABSENT; i++)
        observe(&next);
    assert_int_equal(n_ended, 3);
}

static void another_file_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "gpuslice-violations 2\n",
        "gpuslice-violations 1",
        "gpuslice-violations 1\nover\t1\t2\tGPU-a\tu\tc\tn\n",
        "gpuslice-violations 1\nover\t1\t2\tGPU-a\tu\tc\tn\tp\tq\n",
        "gpuslice-violations 1\nbad\t1\t2\tGPU-a\tu\tc\tn\tp\n",
        "gpuslice-violations 1\nover\tx\t2\tGPU-a\tu\tc\tn\tp\n",
        "gpuslice-violations 1\nover\t1\t2\tGPU-a\tu\tc\tn\tp",
        "gpuslice-violations 1\n\nover\t1\t2\tGPU-a\tu\tc\tn\tp\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct violations violations = VIOLATIONS_INIT;
        char text[128];

        snprintf(text, sizeof(text), "%s", texts[i]);
        assert_int_equal(violations_parse(&violations, text, strlen(text), 0), -EBADMSG);
        assert_int_equal(violations.n, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(begins_with_the_second_audit_and_is_told_once, set_up),
        cmocka_unit_test_setup(a_process_that_ended_meanwhile_is_none, set_up),
        cmocka_unit_test_setup(what_is_right_is_none, set_up),
        cmocka_unit_test_setup(ends_when_it_is_absent_for_a_while, set_up),
        cmocka_unit_test_setup(lasts_while_its_device_is_not_read, set_up),
        cmocka_unit_test_setup(who_follows_does_not_tell_it_again, set_up),
        cmocka_unit_test(another_file_is_refused),
    };

    return cmocka_run_group_tests_name("arbiter/violations", tests, NULL, NULL);
}
