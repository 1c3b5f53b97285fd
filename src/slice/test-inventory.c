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

static void test_copy_of_nothing(void **state)
{
    struct inventory empty = INVENTORY_INIT, copy = INVENTORY_INIT;

    assert_int_equal(inventory_copy(&copy, &empty), 0);
    assert_null(copy.gpus);
    assert_null(copy.links);
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
        cmocka_unit_test(test_copy_of_nothing),
        cmocka_unit_test(test_find_ignores_case),
        cmocka_unit_test(test_unknown_links),
    };

    return cmocka_run_group_tests_name("slice/inventory", tests, NULL, NULL);
}
