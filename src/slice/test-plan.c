// SPDX-License-Identifier: Apache-2.0
#include "slice/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "slice/name.h"
#include "slice/share.h"
#include "slice/test-machine.h"

static void test_equal_resources(void **state)
{
    struct sharing_entry entry = entry_all(SHARING_TIME_SLICING, NAME_GPU, 4);
    struct world a = world_make(machine_p3_8xlarge(), &entry, 1), b;
    const struct plan_resource *in_a = &a.plan->resources[0], *in_b;

    b = world_make(machine_p3_8xlarge(), &entry, 1);
    in_b = &b.plan->resources[0];
    assert_true(plan_resource_equal(a.plan, in_a, b.plan, in_b));
    b.policy.time_slicing_fail_multi = true;
    plan_again(&b);
    assert_false(plan_resource_equal(a.plan, in_a, b.plan, &b.plan->resources[0]));
    b.policy.time_slicing_fail_multi = false;
    b.machine.gpus[2].mem_total_bytes -= SHARE_MIB;
    plan_again(&b);
    assert_false(plan_resource_equal(a.plan, in_a, b.plan, &b.plan->resources[0]));
    b.machine.gpus[2].mem_total_bytes += SHARE_MIB;
    b.machine.gpus[2].numa_node = 1;
    plan_again(&b);
    assert_false(plan_resource_equal(a.plan, in_a, b.plan, &b.plan->resources[0]));
    world_end(&a);
    world_end(&b);
}

/* What an answer of Allocate takes from a MIG device makes its resource another one. */
static void test_equal_mig_resources(void **state)
{
    struct world a = world_make(machine_p4d(), NULL, 0), b = world_make(machine_p4d(), NULL, 0);
    const char *const name = "nvidia.com/mig-1g.5gb";
    struct device *device;

    machine_partition(&a.machine, 0, "1g.5gb 1g.5gb");
    machine_partition(&b.machine, 0, "1g.5gb 1g.5gb");
    a.policy.mig_strategy = b.policy.mig_strategy = MIG_STRATEGY_MIXED;
    plan_again(&a);
    device = &b.machine.mig_devices[1];
    for (int change = 0; change < 6; change++) {
        const struct device before = *device;

        switch (change) {
        case 1:
            device->gi_minor++;
            break;
        case 2:
            device->ci_minor++;
            break;
        case 3:
            device->minor++;
            break;
        case 4:
            device->mig_index = 5;
            break;
        case 5:
            device->numa_node = 3;
            break;
        }
        plan_again(&b);
        assert_int_equal(plan_resource_equal(a.plan, plan_find_resource(a.plan, name), b.plan,
                                             plan_find_resource(b.plan, name)),
                         change == 0);
        *device = before;
    }
    world_end(&a);
    world_end(&b);
}

static void test_device_names(void **state)
{
    struct world w = world_make(machine_p4d(), NULL, 0);
    char buffer[DEVICE_NAME_SIZE];

    machine_partition(&w.machine, 3, "1g.5gb 1g.5gb");
    assert_false(plan_has_mig_devices(w.plan));
    w.policy.mig_strategy = MIG_STRATEGY_MIXED;
    plan_again(&w);
    assert_true(plan_has_mig_devices(w.plan));
    assert_string_equal(plan_device_name(w.plan, &w.plan->devices[2], buffer), "GPU 2");
    assert_string_equal(plan_device_name(w.plan, &w.plan->devices[4], buffer), "MIG device 3:1");
    assert_string_equal(plan_device_name(w.plan, &w.plan->devices[5], buffer), "GPU 4");
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_resources),
        cmocka_unit_test(test_equal_mig_resources),
        cmocka_unit_test(test_device_names),
    };

    return cmocka_run_group_tests_name("slice/plan", tests, NULL, NULL);
}
