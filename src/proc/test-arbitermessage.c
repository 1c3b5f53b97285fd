// SPDX-License-Identifier: Apache-2.0

/* What agent and arbiter tell each other arrives as it was sent, also from a release that says
 * more. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "proc/arbitermessage.h"

static void test_a_wish_arrives(void **state)
{
    const struct arbiter_wish wish = {
        .mode = LIMITS_OBSERVE, .overcommits = true, .compute = LIMITS_COMPUTE_STRICT};
    cleanup_text struct text text = TEXT_INIT;
    struct arbiter_wish read = {.mode = LIMITS_NONE};

    assert_int_equal(arbiter_wish_write(&wish, &text), 0);
    assert_string_equal(text_string(&text), "mode observe\novercommits true\ncompute strict\n");
    assert_int_equal(arbiter_wish_read(text.data, text.length, &read, NULL), 0);
    assert_int_equal(read.mode, LIMITS_OBSERVE);
    assert_true(read.overcommits);
    assert_int_equal(read.compute, LIMITS_COMPUTE_STRICT);
}

static void test_a_state_arrives_with_its_containers(void **unused)
{
    struct arbiter_container containers[] = {
        {.is_unenforced = true,
         .namespace_ = "ml",
         .pod = "train",
         .container = "main",
         .device = "GPU-1",
         .limit_bytes = 4ull << 30},
        {.is_over = true, .device = "MIG-2", .used_bytes = UINT64_MAX},
    };
    const struct arbiter_state state = {
        .version = "1.2.3",
        .trouble = "cannot write\nthe library",
        .mode = LIMITS_ENFORCED,
        .is_off = true,
        .containers = containers,
        .n_containers = 2,
    };
    cleanup_text struct text text = TEXT_INIT;
    cleanup_arbiter_state struct arbiter_state read = ARBITER_STATE_INIT;

    assert_int_equal(arbiter_state_write(&state, &text), 0);
    assert_int_equal(arbiter_state_read(text.data, text.length, &read, NULL), 0);
    assert_string_equal(read.version, "1.2.3");
    assert_string_equal(read.library, "");
    assert_string_equal(read.trouble, "cannot write?the library");
    assert_int_equal(read.mode, LIMITS_ENFORCED);
    assert_true(read.is_off);
    assert_int_equal(read.n_containers, 2);
    assert_memory_equal(&read.containers[0], &containers[0], sizeof(containers[0]));
    assert_memory_equal(&read.containers[1], &containers[1], sizeof(containers[1]));
}

static void test_an_event_arrives(void **state)
{
    const struct arbiter_event event = {
        .reason = "MemoryLimitReached",
        .namespace_ = "ml",
        .pod = "train",
        .container = "main",
        .device = "GPU-1",
        .limit_bytes = 1 << 20,
        .message = "container main reached its limit of 1 MiB of GPU-1",
    };
    cleanup_text struct text text = TEXT_INIT;
    struct arbiter_event read = {.reason = ""};

    assert_int_equal(arbiter_event_write(&event, &text), 0);
    assert_int_equal(arbiter_event_read(text.data, text.length, &read, NULL), 0);
    assert_memory_equal(&read, &event, sizeof(event));
}

static void test_as_many_containers_as_a_state_has_room_for(void **unused)
{
    cleanup_arbiter_state struct arbiter_state state = ARBITER_STATE_INIT,
                                               read = ARBITER_STATE_INIT;
    cleanup_text struct text text = TEXT_INIT;

    for (int i = 0; i < ARBITER_CONTAINERS_MAX; i++) {
        struct arbiter_container *container = array_push(
            &state.containers, &state.n_containers, &state.containers_capacity, sizeof(*container));

        snprintf(container->pod, sizeof(container->pod), "pod-%d", i);
    }
    assert_int_equal(arbiter_state_write(&state, &text), 0);
    assert_int_equal(arbiter_state_read(text.data, text.length, &read, NULL), 0);
    assert_int_equal(read.n_containers, ARBITER_CONTAINERS_MAX);
    text_add(&text, "container-is\n");
    assert_int_equal(arbiter_state_read(text.data, text.length, &read, NULL), -EBADMSG);
}

static void test_what_a_newer_release_adds_is_ignored(void **state)
{
    static const char body[] = "share 500\nmode enforced\nnote";
    struct arbiter_wish wish = {.mode = LIMITS_NONE};

    assert_int_equal(arbiter_wish_read(body, strlen(body), &wish, NULL), 0);
    assert_int_equal(wish.mode, LIMITS_ENFORCED);
}

static void test_nothing_is_the_empty_wish(void **state)
{
    struct arbiter_wish wish = {.mode = LIMITS_ENFORCED, .overcommits = true};

    assert_int_equal(arbiter_wish_read(NULL, 0, &wish, NULL), 0);
    assert_int_equal(wish.mode, LIMITS_NONE);
    assert_false(wish.overcommits);
}

static void test_nonsense_is_refused_with_a_reason(void **state)
{
    static const struct {
        const char *body, *reason;
    } cases[] = {
        {"mode lax\n", "mode should be none, observe or enforced"},
        {"mode\n", "mode should be none, observe or enforced"},
        {"overcommits 1\n", "overcommits should be true or false"},
    };
    struct arbiter_event event = {.reason = ""};
    struct error err = ERROR_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arbiter_wish wish = {.mode = LIMITS_OBSERVE};

        assert_int_equal(arbiter_wish_read(cases[i].body, strlen(cases[i].body), &wish, &err),
                         -EBADMSG);
        assert_string_equal(error_text(&err), cases[i].reason);
        assert_int_equal(wish.mode, LIMITS_OBSERVE);
    }
    assert_int_equal(arbiter_event_read("pod x\n", 6, &event, &err), -EBADMSG);
    assert_string_equal(error_text(&err), "reason is missing");
    assert_int_equal(arbiter_event_read("reason x\nlimitBytes -1\n", 23, &event, &err), -EBADMSG);
    assert_string_equal(error_text(&err), "limitBytes should be a number");
    assert_int_equal(arbiter_event_read("reason x\0y\n", 11, &event, &err), -EBADMSG);
}

static void test_what_a_command_asks_for_and_gets_arrives(void **state)
{
    const struct arbiter_run run = {
        .cgroup = "gpuslice-run-7", .limits = {{"GPU-0", 5}, {"MIG-1", UINT64_MAX}}, .n_limits = 2};
    const struct arbiter_run_grant grant = {
        .id = "0123456789abcdef", .folder = "/run/x", .mode = LIMITS_OBSERVE};
    struct arbiter_run_grant got_grant, got_refusal, refusal = {.refusal = "no\nroom"};
    cleanup_text struct text one = TEXT_INIT, other = TEXT_INIT, third = TEXT_INIT;
    struct arbiter_run got;

    assert_int_equal(arbiter_run_write(&run, &one), 0);
    assert_int_equal(arbiter_run_read(one.data, one.length, &got, NULL), 0);
    assert_string_equal(got.cgroup, "gpuslice-run-7");
    assert_int_equal(got.n_limits, 2);
    assert_string_equal(got.limits[1].device, "MIG-1");
    assert_true(got.limits[1].bytes == UINT64_MAX && got.limits[0].bytes == 5);

    assert_int_equal(arbiter_run_grant_write(&grant, &other), 0);
    assert_int_equal(arbiter_run_grant_read(other.data, other.length, &got_grant, NULL), 0);
    assert_string_equal(got_grant.folder, "/run/x");
    assert_int_equal(got_grant.mode, LIMITS_OBSERVE);
    assert_int_equal(arbiter_run_grant_write(&refusal, &third), 0);
    assert_int_equal(arbiter_run_grant_read(third.data, third.length, &got_refusal, NULL), 0);
    assert_null(strchr(got_refusal.refusal, '\n'));
}

static void test_what_no_command_can_ask_for_is_refused(void **state)
{
    static const struct {
        const char *body, *reason;
    } cases[] = {
        {"cgroup x\n", "no limit is in it"},
        {"limit-is\ndevice GPU-0\n", "a limit without device or bytes"},
        {"limit-is\nbytes 5\n", "a limit without device or bytes"},
        {"limit-is\nbytes -5\n", "bytes should be a number"},
        {"limit-is\ndevice GPU-a\nbytes 5\nlimit-is\ndevice GPU-A\nbytes 5\n",
         "two limits of GPU-A"},
    };
    cleanup_text struct text many = TEXT_INIT;
    struct arbiter_run run = {.cgroup = ""};
    struct error err = ERROR_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(arbiter_run_read(cases[i].body, strlen(cases[i].body), &run, &err),
                         -EBADMSG);
        assert_string_equal(error_text(&err), cases[i].reason);
    }
    for (int i = 0; i <= LIMITS_DEVICES_MAX; i++)
        text_add(&many, "limit-is\ndevice GPU-0\nbytes 1\n");
    assert_int_equal(arbiter_run_read(many.data, many.length, &run, &err), -EBADMSG);
    assert_string_equal(error_text(&err), "more than 32 limits");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_wish_arrives),
        cmocka_unit_test(test_a_state_arrives_with_its_containers),
        cmocka_unit_test(test_an_event_arrives),
        cmocka_unit_test(test_as_many_containers_as_a_state_has_room_for),
        cmocka_unit_test(test_what_a_newer_release_adds_is_ignored),
        cmocka_unit_test(test_nothing_is_the_empty_wish),
        cmocka_unit_test(test_nonsense_is_refused_with_a_reason),
        cmocka_unit_test(test_what_a_command_asks_for_and_gets_arrives),
        cmocka_unit_test(test_what_no_command_can_ask_for_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
