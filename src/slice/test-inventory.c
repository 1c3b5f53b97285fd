// SPDX-License-Identifier: Apache-2.0
#include "slice/inventory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "slice/test-machine.h"

static void test_copy_is_deep(void **state)
{
    struct inventory machine = machine_p3_16xlarge(), copy = INVENTORY_INIT;

    assert_int_equal(inventory_copy(&copy, &machine), 0);
    machine.gpus[0].index = 99;
    machine.links[1].n_nvlinks = 17;
    assert_int_equal(copy.gpus[0].index, 0);
    assert_int_equal(inventory_link(&copy, 0, 1).n_nvlinks, 1);
    assert_string_equal(copy.driver_version, "550.163.01");
    inventory_deinit(&machine);
    inventory_deinit(&copy);
    assert_null(copy.gpus);
}

static void test_copy_of_mig_devices(void **state)
{
    struct inventory machine = machine_p4d(), copy = INVENTORY_INIT;

    machine_partition(&machine, 1, "1g.5gb 2g.10gb");
    assert_int_equal(inventory_copy(&copy, &machine), 0);
    machine.mig_devices[1].profile[0] = '9';
    assert_int_equal(copy.n_mig_devices, 2);
    assert_string_equal(copy.mig_devices[1].profile, "2g.10gb");
    assert_string_equal(copy.mig_devices[1].uuid, machine_mig_uuid(1, 1));
    inventory_deinit(&machine);
    inventory_deinit(&copy);
}

static void test_copy_of_nothing(void **state)
{
    struct inventory empty = INVENTORY_INIT, copy = INVENTORY_INIT;

    assert_int_equal(inventory_copy(&copy, &empty), 0);
    assert_null(copy.gpus);
    assert_null(copy.links);
    assert_null(copy.mig_devices);
    inventory_deinit(&copy);
}

static void test_find_ignores_case(void **state)
{
    struct inventory machine = machine_p4d();

    snprintf(machine.gpus[3].uuid, GPU_UUID_SIZE, "GPU-abcdef");
    machine.gpus[4].uuid[0] = '\0';
    assert_ptr_equal(inventory_find(&machine, "gpu-ABCDEF"), &machine.gpus[3]);
    assert_null(inventory_find(&machine, "GPU-abcde"));
    assert_null(inventory_find(&machine, ""));
    inventory_deinit(&machine);
}

static void test_mig_devices_are_found(void **state)
{
    struct inventory machine = machine_p4d();

    machine_partition(&machine, 1, "1g.5gb 2g.10gb");
    snprintf(machine.mig_devices[1].uuid, GPU_UUID_SIZE, "MIG-abcdef");
    assert_ptr_equal(inventory_find_mig(&machine, "mig-ABCDEF"), &machine.mig_devices[1]);
    machine.mig_devices[1].uuid[0] = '\0';
    assert_null(inventory_find_mig(&machine, ""));
    assert_null(inventory_find_mig(&machine, machine_uuid(1)));
    assert_null(inventory_find(&machine, machine.mig_devices[0].uuid));
    assert_true(inventory_is_partitioned(&machine, 1));
    assert_false(inventory_is_partitioned(&machine, 0));
    inventory_deinit(&machine);
}

static void test_a_whole_gpu_is_a_device(void **state)
{
    struct inventory machine = machine_p4d();
    struct device device;

    machine.gpus[5].minor = 7;
    snprintf(machine.gpus[5].unusable, sizeof(machine.gpus[5].unusable), "it is lost");
    device = inventory_whole(&machine, 5);
    assert_string_equal(device.uuid, machine_uuid(5));
    assert_int_equal(device.kind, DEVICE_WHOLE);
    assert_int_equal(device.gpu, 5);
    assert_int_equal(device.minor, 7);
    assert_int_equal(device.numa_node, 1);
    assert_int_equal(device.mem_total_bytes, machine.gpus[5].mem_total_bytes);
    assert_int_equal(device.mem_reserved_bytes, machine.gpus[5].mem_reserved_bytes);
    assert_int_equal(device.instance.gpu, DEVICE_NO_INSTANCE);
    assert_int_equal(device.instance.compute, DEVICE_NO_INSTANCE);
    assert_int_equal(device.gi_minor, -1);
    assert_int_equal(device.ci_minor, -1);
    assert_string_equal(device.profile, "");
    assert_string_equal(device.unusable, "it is lost");
    inventory_deinit(&machine);
}

static void test_unknown_links(void **state)
{
    struct inventory machine = machine_p3_8xlarge();

    assert_int_equal(inventory_link(&machine, 0, 3).n_nvlinks, 2);
    assert_int_equal(inventory_link(&machine, 0, 4).path, GPU_PATH_UNKNOWN);
    free(machine.links);
    machine.links = NULL;
    assert_int_equal(inventory_link(&machine, 0, 3).path, GPU_PATH_UNKNOWN);
    assert_int_equal(inventory_link(&machine, 0, 3).n_nvlinks, 0);
    inventory_deinit(&machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy_is_deep),
        cmocka_unit_test(test_copy_of_mig_devices),
        cmocka_unit_test(test_copy_of_nothing),
        cmocka_unit_test(test_find_ignores_case),
        cmocka_unit_test(test_mig_devices_are_found),
        cmocka_unit_test(test_a_whole_gpu_is_a_device),
        cmocka_unit_test(test_unknown_links),
    };

    return cmocka_run_group_tests_name("slice/inventory", tests, NULL, NULL);
}
