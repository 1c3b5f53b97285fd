// SPDX-License-Identifier: Apache-2.0
#include "answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "deviceplugin/v1beta1/api.pb.h"
#include "rpc/message.h"

/* One response: a variable, and a mount of host_path on /shared. */
static void merge(struct answer *answer, char *key, char *value, char *host_path)
{
    static char path[] = "/shared", node[] = "/dev/x", rw[] = "rw";
    v1beta1_ContainerAllocateResponse_EnvsEntry env = {key, value};
    v1beta1_Mount mount = {.container_path = path, .host_path = host_path};
    v1beta1_DeviceSpec device = {.container_path = node, .host_path = node, .permissions = rw};
    v1beta1_ContainerAllocateResponse message = {
        .envs = &env,
        .envs_count = 1,
        .mounts = &mount,
        .mounts_count = 1,
        .devices = &device,
        .devices_count = 1,
    };
    void *data;
    size_t size;

    assert_int_equal(
        message_encode(v1beta1_ContainerAllocateResponse_fields, &message, &data, &size), 0);
    assert_int_equal(answer_merge(answer, data, size), 0);
    free(data);
}

static void test_first_wins(void **state)
{
    struct answer answer = ANSWER_INIT;
    char a[] = "A", b[] = "B", one[] = "1", two[] = "2", first[] = "/first", second[] = "/second";

    merge(&answer, a, one, first);
    merge(&answer, a, two, second);
    merge(&answer, b, two, first);
    assert_int_equal(answer.n_envs, 2);
    assert_string_equal(answer.envs[0].value, "1");
    assert_string_equal(answer.envs[1].key, "B");
    assert_int_equal(answer.n_mounts, 1);
    assert_string_equal(answer.mounts[0].host_path, "/first");
    assert_int_equal(answer.n_nodes, 1);
    /* Identical entries are no conflict: only A and the mount of the second response are. */
    assert_int_equal(answer.n_conflicts, 2);
    answer_deinit(&answer);
}

static void test_nonsense_is_refused(void **state)
{
    struct answer answer = ANSWER_INIT;

    assert_int_equal(answer_merge(&answer, "\xff\xff\xff", 3), -EBADMSG);
    answer_deinit(&answer);
}

static void test_collects_by_resource_name(void **state)
{
    static char path[] = "/m", far[] = "/far", near[] = "/near";
    struct manager manager = MANAGER_INIT;
    struct answer answer;
    struct ids ids = IDS_INIT;

    for (int i = 0; i < 2; i++) {
        struct device_request request = {"p", "c", i ? "a.example/x" : "b.example/x", 0};
        v1beta1_Mount mount = {.container_path = path, .host_path = i ? near : far};
        v1beta1_ContainerAllocateResponse message = {.mounts = &mount, .mounts_count = 1};
        void *data;
        size_t size;

        message_encode(v1beta1_ContainerAllocateResponse_fields, &message, &data, &size);
        assert_int_equal(manager_record(&manager, &request, &ids, data, size), 0);
        free(data);
    }
    assert_int_equal(answer_collect(&manager, "p", "c", &answer), 0);
    assert_int_equal(answer.n_mounts, 1);
    assert_string_equal(answer.mounts[0].host_path, "/near");
    answer_deinit(&answer);
    assert_int_equal(answer_collect(&manager, "p", "other", &answer), 0);
    assert_int_equal(answer.n_mounts, 0);
    answer_deinit(&answer);
    manager_deinit(&manager);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_wins),
        cmocka_unit_test(test_nonsense_is_refused),
        cmocka_unit_test(test_collects_by_resource_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
