// SPDX-License-Identifier: Apache-2.0
#include "slice/invariant.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "slice/label.h"
#include "slice/name.h"
#include "slice/planner.h"
#include "slice/share.h"
#include "slice/test-machine.h"

/* Each breaks one promise of a good plan of two GPUs, the first in two slices, the second whole. */

static void break_order(struct plan *plan)
{
    struct slice *slices = plan->resources[1].slices, slice = slices[0];

    slices[0] = slices[1];
    slices[1] = slice;
    plan->resources[1].by_id[0] = 1;
    plan->resources[1].by_id[1] = 0;
}

static void break_resource_order(struct plan *plan)
{
    snprintf(plan->resources[0].name, RESOURCE_NAME_SIZE, "nvidia.com/z");
}

static void break_index(struct plan *plan)
{
    plan->resources[1].by_id[0] = 1;
}

static void break_id(struct plan *plan)
{
    plan->resources[1].slices[0].id[0] = 'X';
}

static void break_n(struct plan *plan)
{
    plan->devices[0].n_slices = 3;
}

static void break_shares(struct plan *plan)
{
    plan->resources[1].slices[0].share_permille++;
}

static void break_memory(struct plan *plan)
{
    plan->resources[1].slices[0].mem_bytes += SHARE_MIB;
}

static void break_memory_unit(struct plan *plan)
{
    plan->resources[1].slices[0].mem_bytes--;
}

static void break_memory_known(struct plan *plan)
{
    plan->resources[1].slices[0].mem_bytes = 0;
}

static void break_left_out(struct plan *plan)
{
    snprintf(plan->devices[1].left_out, 8, "lost");
}

static void break_second(struct plan *plan)
{
    break_left_out(plan);
    plan->devices[1].n_slices = 0;
    free(plan->resources[0].slices);
    free(plan->resources[0].by_id);
    plan->resources[0] = plan->resources[--plan->n_resources];
    snprintf(plan->devices[1].second, 8, "a/b");
}

static void break_whole(struct plan *plan)
{
    plan->resources[0].slices[0].share_permille = 999;
}

/* The second GPU's device is moved to the first. */
static void break_one_device_per_gpu(struct plan *plan)
{
    plan->devices[1].device.gpu = 0;
}

static void break_gpu_of_device(struct plan *plan)
{
    plan->devices[1].device.gpu = 2;
}

static void break_device_order(struct plan *plan)
{
    plan->devices[0].device.gpu = 1;
    plan->devices[1].device.gpu = 0;
}

static void break_uuid(struct plan *plan)
{
    memcpy(plan->devices[1].device.uuid, plan->devices[0].device.uuid, GPU_UUID_SIZE);
    memcpy(plan->resources[0].slices[0].id, plan->devices[0].device.uuid, GPU_UUID_SIZE);
}

static void break_gpu_order(struct plan *plan)
{
    plan->gpus[0].index = 2;
}

static void break_gpu_without_device(struct plan *plan)
{
    plan->gpus[plan->n_gpus++].index = 9;
}

static void break_label_order(struct plan *plan)
{
    plan->labels[0].key[0] = 'z';
}

static void break_label_value(struct plan *plan)
{
    plan->labels[0].value[0] = '-';
}

static void test_each_broken_promise_is_found(void **state)
{
    static const struct {
        void (*break_it)(struct plan *);
        const char *words;
    } table[] = {
        {break_order, "sorted by device and n"},
        {break_resource_order, "sorted by name"},
        {break_index, "plan_find does not find"},
        {break_id, "not made of its device's UUID"},
        {break_n, "n is not unique"},
        {break_shares, "shares of a device add up"},
        {break_memory, "memories of a device add up"},
        {break_memory_unit, "not whole MiB"},
        {break_memory_known, "has no memory"},
        {break_left_out, "left out"},
        {break_second, "has a second name"},
        {break_whole, "is not whole"},
        {break_one_device_per_gpu, "is one device, and beside it"},
        {break_gpu_of_device, "lies on no GPU"},
        {break_device_order, "sorted by GPU and MIG index"},
        {break_uuid, "have one UUID"},
        {break_gpu_order, "sorted by index"},
        {break_gpu_without_device, "has no device"},
        {break_label_order, "sorted by key"},
        {break_label_value, "start and end"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, NAME_GPU, 2);
        struct policy policy = {.sharing = &entry, .n_sharing = 1};
        struct inventory machine = machine_make(2, "Tesla T4", 15360, GPU_PATH_UNKNOWN);
        struct plan *plan = NULL;
        const char *fault;

        entry.devices.kind = DEVICES_COUNT;
        entry.devices.count = 1;
        snprintf(entry.rename, sizeof(entry.rename), "nvidia.com/gpu.shared");
        assert_int_equal(plan_make(&machine, &policy, NULL, &plan), 0);
        assert_null(plan_fault(plan));
        table[i].break_it(plan);
        fault = plan_fault(plan);
        assert_non_null(fault);
        if (!strstr(fault, table[i].words))
            fail_msg("case %zu: %s", i, fault);
        plan_free(plan);
        inventory_deinit(&machine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_broken_promise_is_found),
    };

    return cmocka_run_group_tests_name("slice/invariant", tests, NULL, NULL);
}
