// SPDX-License-Identifier: Apache-2.0
#include "node/gpuholders.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NONE DEVICE_NO_INSTANCE

/* GPU 0 has two MIG devices, GPU 1 is whole. */
static struct gpu gpus[2] = {{.uuid = "GPU-0"}, {.uuid = "GPU-1"}};
static struct device devices[2] = {
    {.kind = DEVICE_MIG, .uuid = "MIG-a", .instance = {1, 0}},
    {.kind = DEVICE_MIG, .uuid = "MIG-b", .instance = {2, 0}},
};
static const struct inventory machine = {
    .gpus = gpus, .n_gpus = 2, .mig_devices = devices, .n_mig_devices = 2};

static void an_id_is_of_its_device(void **state)
{
    static const struct {
        const char *id;
        size_t gpu;
        bool found;
        struct device_instance instance;
    } rows[] = {
        {"MIG-a", 0, true, {1, 0}},          {"MIG-b::3", 0, true, {2, 0}},
        {"mig-B", 0, true, {2, 0}},          {"MIG-a", 1, false, {NONE, NONE}},
        {"MIG-ab", 0, false, {NONE, NONE}},  {"GPU-0", 0, true, {NONE, NONE}},
        {"GPU-1::0", 1, true, {NONE, NONE}}, {"GPU-1::0", 0, false, {NONE, NONE}},
        {"GPU-10", 1, false, {NONE, NONE}},  {"", 0, false, {NONE, NONE}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct device_instance instance;

        assert_int_equal(gpuholders_find(&machine, rows[i].gpu, rows[i].id, &instance),
                         rows[i].found);
        assert_int_equal(instance.gpu, rows[i].instance.gpu);
        assert_int_equal(instance.compute, rows[i].instance.compute);
    }
}

static bool is_granted(const char *uuid, void *owner)
{
    const char *const *granted = owner;

    for (; *granted; granted++)
        if (strcmp(*granted, uuid) == 0)
            return true;
    return false;
}

static const char *pod_uid(const char *resource, const char *id, void *owner)
{
    return id;
}

static void who_uses_it_is_named_once(void **state)
{
    struct podresources_device pods[] = {
        {.id = "MIG-a", .pod = {.namespace_ = "default", .name = "train"}},
        {.id = "MIG-b", .pod = {.namespace_ = "default", .name = "train"}},
        {.id = "GPU-1", .pod = {.namespace_ = "default", .name = "other"}},
    };
    const struct podresources_list list = {.is_complete = true, .devices = pods, .n_devices = 3};
    static const char *granted[] = {"MIG-b", "GPU-1", NULL};
    static const struct gpu_changed found = {
        .n_holders = 2,
        .holders = {{.pid = 7, .name = "python", .instance = {1, NONE}},
                    {.pid = 8, .name = "dcgm", .instance = {NONE, NONE}}}};
    struct gpuholders holders = {.n = 0};
    const uint32_t all[] = {0, 1, 2};
    cleanup_text struct text text = TEXT_INIT;

    (void)state;
    gpuholders_add_pods(&holders, &machine, 0, &list, pod_uid, NULL);
    gpuholders_add_grants(&holders, &machine, 0, is_granted,
                          granted); /* the pod is named already */
    gpuholders_add_processes(&holders, &found, false);
    assert_int_equal(holders.n, 3);
    assert_string_equal(gpuholders_pod(&holders, 1), "default/train");
    assert_string_equal(holders.uids[1], "MIG-b");
    assert_null(gpuholders_pod(&holders, 2));
    gpuholders_add_names(&holders, all, 3, &text);
    assert_string_equal(text_string(&text), "pod default/train, process python (pid 7)");

    for (size_t i = 0; i < 12; i++)
        snprintf(holders.names[i], sizeof(holders.names[i]), "%zu", i / 2);
    text_clear(&text);
    gpuholders_add_names(&holders, (const uint32_t[]){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 12,
                         &text);
    assert_string_equal(text_string(&text), "0, 1, 2, 3 and 2 more");

    holders.n = 0;
    gpuholders_add_grants(&holders, &machine, 1, is_granted, granted);
    gpuholders_add_processes(&holders, &found, true);
    assert_int_equal(holders.n, 3);
    assert_string_equal(holders.names[0], "a pod that begins or has just ended");
    assert_null(gpuholders_pod(&holders, 0));
    assert_string_equal(holders.uids[0], "");
    assert_string_equal(holders.names[2], "process dcgm (pid 8)");
}

/* Of more than there is room for, one stands for all that are not named. */
static void too_many_hold_the_whole_gpu(void **state)
{
    static struct podresources_device pods[3 * GPUHOLDERS_MAX];
    const struct podresources_list list = {
        .is_complete = true, .devices = pods, .n_devices = 3 * GPUHOLDERS_MAX};
    struct gpuholders holders = {.n = 0};

    (void)state;
    for (size_t i = 0; i < list.n_devices; i++)
        pods[i] = (struct podresources_device){.id = "MIG-a",
                                               .pod = {.namespace_ = "default", .name = "p"}};
    gpuholders_add_pods(&holders, &machine, 0, &list, pod_uid, NULL);
    assert_int_equal(holders.n, GPUHOLDERS_MAX);
    assert_int_equal(holders.instances[GPUHOLDERS_MAX - 1].gpu, NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_of_its_device),
        cmocka_unit_test(who_uses_it_is_named_once),
        cmocka_unit_test(too_many_hold_the_whole_gpu),
    };

    return cmocka_run_group_tests_name("node/gpuholders", tests, NULL, NULL);
}
