// SPDX-License-Identifier: Apache-2.0
#include "slice/miglayout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "slice/test-board.h"
#include "slice/test-machine.h"

/* The devices of one GPU as "profile/GPU instance/compute instance". */
static void list_devices(const struct inventory *machine, size_t gpu, struct text *text)
{
    for (size_t i = 0; i < machine->n_mig_devices; i++) {
        const struct device *device = &machine->mig_devices[i];

        if (device->gpu == gpu)
            text_addf(text, "%s%s/%u/%u", text->length ? " " : "", device->profile,
                      device->instance.gpu, device->instance.compute);
    }
}

static void test_devices_of_a_layout(void **state)
{
    static const struct {
        const char *layout, *devices;
    } table[] = {
        {"", ""},
        {"3g.20gb@0=", ""}, /* without a compute instance there is none */
        {"7g.40gb@0", "7g.40gb/0/0"},
        {"1g.5gb@0 3g.20gb@4", "1g.5gb/0/0 3g.20gb/1/0"},
        {"3g.20gb@0=1+2 1g.5gb+me@4", "1c.3g.20gb/0/0 2c.3g.20gb/0/1 1g.5gb+me/1/0"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct board_layout wanted = board_layout(board_a100(), table[i].layout);
        cleanup_text struct text text = TEXT_INIT;
        struct inventory machine = machine_p4d();

        assert_int_equal(miglayout_assume(&machine, 2, board_a100(), &wanted.layout), 0);
        list_devices(&machine, 2, &text);
        assert_string_equal(text_string(&text), table[i].devices);
        assert_true(machine.gpus[2].mig_enabled);
        assert_true(mig_layout_equal(&machine.gpus[2].layout, &wanted.layout));
        inventory_deinit(&machine);
    }
}

/* Another layout replaces the GPU's devices, and those of the others stay, in the plan's order. */
static void test_other_gpus_keep_theirs(void **state)
{
    struct board_layout wanted = board_layout(board_a100(), "2g.10gb@0 2g.10gb@2");
    struct inventory machine = machine_p4d();
    cleanup_text struct text first = TEXT_INIT, second = TEXT_INIT, third = TEXT_INIT;

    machine_partition(&machine, 0, "1g.5gb");
    machine_partition(&machine, 1, "7g.40gb");
    machine_partition(&machine, 2, "3g.20gb");
    assert_int_equal(miglayout_assume(&machine, 1, board_a100(), &wanted.layout), 0);
    assert_int_equal(machine.n_mig_devices, 4);
    for (size_t i = 1; i < machine.n_mig_devices; i++)
        assert_true(machine.mig_devices[i - 1].gpu <= machine.mig_devices[i].gpu);
    list_devices(&machine, 0, &first);
    list_devices(&machine, 1, &second);
    list_devices(&machine, 2, &third);
    assert_string_equal(text_string(&first), "1g.5gb/7/0");
    assert_string_equal(text_string(&second), "2g.10gb/0/0 2g.10gb/1/0");
    assert_string_equal(text_string(&third), "3g.20gb/7/0");
    inventory_deinit(&machine);
}

/* What is known without a driver: sizes of the board, and the name that drivers gave before R470.
 */
static void test_a_device_that_does_not_exist_yet(void **state)
{
    struct board_layout wanted = board_layout(board_a100(), "3g.20gb@0=1+2");
    struct inventory machine = machine_p4d();
    const struct device *device;
    char uuid[GPU_UUID_SIZE];

    assert_int_equal(miglayout_assume(&machine, 3, board_a100(), &wanted.layout), 0);
    device = &machine.mig_devices[1];
    snprintf(uuid, sizeof(uuid), "MIG-%s/0/1", machine_uuid(3));
    assert_string_equal(device->uuid, uuid);
    assert_int_equal(device->mig_index, 1);
    assert_int_equal(device->mem_total_bytes, board_a100()->profiles[2].mem_bytes);
    assert_int_equal(device->shape.gi_slices, 3);
    assert_int_equal(device->shape.ci_slices, 2);
    assert_int_equal(device->shape.multiprocessors, 28);
    assert_int_equal(device->gi_minor, -1);
    inventory_deinit(&machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices_of_a_layout),
        cmocka_unit_test(test_other_gpus_keep_theirs),
        cmocka_unit_test(test_a_device_that_does_not_exist_yet),
    };

    return cmocka_run_group_tests_name("slice/miglayout", tests, NULL, NULL);
}
