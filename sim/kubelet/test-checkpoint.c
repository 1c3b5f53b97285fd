// SPDX-License-Identifier: Apache-2.0
#include "checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char gpu[] = "example.com/gpu";

/* Two devices on two NUMA nodes, one without; the first two are allocated. */
static void make(struct manager *manager)
{
    static int64_t nodes[] = {0, 1};
    static char a[] = "a", b[] = "b", c[] = "c";
    const struct managed_device devices[] = {
        {.id = a, .healthy = true, .numa_nodes = nodes, .n_numa_nodes = 2},
        {.id = b, .healthy = true},
        {.id = c, .healthy = false},
    };
    struct device_request request = {"uid-1", "main", gpu, 2};
    struct ids held = IDS_INIT;

    *manager = (struct manager)MANAGER_INIT;
    manager_connect(manager, gpu, false, false);
    manager_set_devices(manager, gpu, devices, 3);
    ids_add(&held, "a");
    ids_add(&held, "b");
    assert_int_equal(manager_record(manager, &request, &held, "\x00\xff~answer", 9), 0);
    ids_deinit(&held);
}

static void test_layout(void **state)
{
    struct manager manager;
    char *text;

    make(&manager);
    assert_int_equal(checkpoint_format(&manager, &text), 0);
    assert_ptr_equal(
        strstr(text,
               "{\"Data\":{\"PodDeviceEntries\":[{\"PodUID\":\"uid-1\",\"ContainerName\":\"main\","
               "\"ResourceName\":\"example.com/gpu\",\"DeviceIDs\":{\"0\":[\"a\"],\"1\":[\"a\"],"
               "\"-1\":[\"b\"]},\"AllocResp\":\"AP9+YW5zd2Vy\"}],\"RegisteredDevices\":{"
               "\"example.com/gpu\":[\"a\",\"b\"]}},\"Checksum\":"),
        text);
    free(text);
    manager_deinit(&manager);
}

static void test_round_trip(void **state)
{
    struct manager before, after = MANAGER_INIT;
    const struct allocation *held;
    char *text;

    make(&before);
    assert_int_equal(checkpoint_format(&before, &text), 0);
    assert_int_equal(checkpoint_parse(text, strlen(text), 5, &after, NULL), 0);
    held = manager_find_allocation(&after, "uid-1", "main", gpu);
    assert_non_null(held);
    assert_int_equal(held->n_devices, 2);
    assert_int_equal(held->answer_size, 9);
    assert_memory_equal(held->answer, "\x00\xff~answer", 9);
    assert_string_equal(held->devices[0].id, "a");
    assert_int_equal(held->devices[0].n_numa_nodes, 2);
    assert_int_equal(held->devices[1].n_numa_nodes, 0);
    /* Known, but without capacity until its plugin is back. */
    assert_non_null(manager_find(&after, gpu));
    assert_int_equal(manager_capacity(manager_find(&after, gpu)), 0);
    assert_int_equal(manager_find(&after, gpu)->stopped_at_ms, 5);
    free(text);
    manager_deinit(&before);
    manager_deinit(&after);
}

static void test_answers_of_any_length(void **state)
{
    for (size_t size = 0; size < 7; size++) {
        struct manager before = MANAGER_INIT, after = MANAGER_INIT;
        struct device_request request = {"u", "c", gpu, 0};
        struct ids none = IDS_INIT;
        char *text;

        manager_record(&before, &request, &none,
                       "\x01\x80\xfe"
                       "abc",
                       size);
        assert_int_equal(checkpoint_format(&before, &text), 0);
        assert_int_equal(checkpoint_parse(text, strlen(text), 0, &after, NULL), 0);
        assert_int_equal(after.allocations[0].answer_size, size);
        assert_memory_equal(after.allocations[0].answer,
                            "\x01\x80\xfe"
                            "abc",
                            size);
        free(text);
        manager_deinit(&before);
        manager_deinit(&after);
    }
}

static void test_damage_is_found(void **state)
{
    struct manager manager, after = MANAGER_INIT;
    struct error err = ERROR_INIT;
    char *text;

    make(&manager);
    assert_int_equal(checkpoint_format(&manager, &text), 0);
    *strstr(text, "uid-1") = 'U';
    assert_int_equal(checkpoint_parse(text, strlen(text), 0, &after, &err), -EBADMSG);
    assert_non_null(strstr(error_text(&err), "checksum"));
    assert_int_equal(checkpoint_parse(text, strlen(text) / 2, 0, &after, &err), -EBADMSG);
    assert_int_equal(checkpoint_parse("", 0, 0, &after, &err), -EBADMSG);
    assert_int_equal(checkpoint_parse("[]", 2, 0, &after, &err), -EBADMSG);
    assert_int_equal(after.n_allocations, 0);
    free(text);
    manager_deinit(&manager);
}

static void test_files(void **state)
{
    struct manager manager, after = MANAGER_INIT;
    char path[] = "/tmp/gpuslice-checkpoint-XXXXXX";
    int fd = mkstemp(path);

    make(&manager);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(checkpoint_store(path, &manager, NULL), 0);
    assert_int_equal(checkpoint_load(path, 0, &after, NULL), 0);
    assert_int_equal(after.n_allocations, 1);
    manager_deinit(&after);
    unlink(path);
    /* None yet: an empty node. */
    assert_int_equal(checkpoint_load(path, 0, &after, NULL), 0);
    assert_int_equal(after.n_allocations, 0);
    manager_deinit(&manager);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_answers_of_any_length),
        cmocka_unit_test(test_damage_is_found),
        cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
