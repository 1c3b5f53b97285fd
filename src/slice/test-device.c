// SPDX-License-Identifier: Apache-2.0
#include "slice/device.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static const struct device whole = {
    .uuid = "GPU-1", .kind = DEVICE_WHOLE, .instance = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE}};
static const struct device mig = {.uuid = "MIG-1",
                                  .kind = DEVICE_MIG,
                                  .mig_index = 2,
                                  .instance = {9, 1},
                                  .profile = "1c.3g.20gb"};

static void test_names(void **state)
{
    char buffer[DEVICE_NAME_SIZE];

    device_format_index(&whole, 3, buffer, sizeof(buffer));
    assert_string_equal(buffer, "3");
    device_format_index(&mig, 3, buffer, sizeof(buffer));
    assert_string_equal(buffer, "3:2");
    device_format_name(&whole, 3, buffer, sizeof(buffer));
    assert_string_equal(buffer, "GPU 3");
    device_format_name(&mig, 3, buffer, sizeof(buffer));
    assert_string_equal(buffer, "MIG device 3:2");
}

static void test_longest_names_fit(void **state)
{
    const struct device last = {.kind = DEVICE_MIG, .mig_index = UINT32_MAX};
    char index[DEVICE_INDEX_SIZE], name[DEVICE_NAME_SIZE];

    device_format_index(&last, UINT32_MAX, index, sizeof(index));
    assert_string_equal(index, "4294967295:4294967295");
    device_format_name(&last, UINT32_MAX, name, sizeof(name));
    assert_string_equal(name, "MIG device 4294967295:4294967295");
}

static void test_nodes(void **state)
{
    char paths[DEVICE_NODES_MAX][DEVICE_NODE_SIZE];
    struct device device = {.kind = DEVICE_WHOLE, .minor = 3, .gi_minor = 1, .ci_minor = 2};

    assert_int_equal(device_list_nodes(&device, paths), 1);
    assert_string_equal(paths[0], "/dev/nvidia3");
    device.kind = DEVICE_MIG;
    device.gi_minor = 30;
    device.ci_minor = INT_MAX;
    assert_int_equal(device_list_nodes(&device, paths), 3);
    assert_string_equal(paths[0], "/dev/nvidia3");
    assert_string_equal(paths[1], "/dev/nvidia-caps/nvidia-cap30");
    assert_string_equal(paths[2], "/dev/nvidia-caps/nvidia-cap2147483647");
    device.gi_minor = -1;
    device.minor = -1;
    assert_int_equal(device_list_nodes(&device, paths), 1);
    assert_string_equal(paths[0], "/dev/nvidia-caps/nvidia-cap2147483647");
    assert_false(device_has_nodes(&device));
    device = (struct device){.kind = DEVICE_WHOLE, .minor = -1, .is_dxg = true};
    assert_true(device_has_nodes(&device));
    assert_int_equal(device_list_nodes(&device, paths), 1);
    assert_string_equal(paths[0], "/dev/dxg");
}

static void test_instances(void **state)
{
    static const struct {
        struct device_instance a, b;
        bool overlap;
    } table[] = {
        {{DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE}, {9, 1}, true}, /* the GPU as a whole */
        {{DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE}, {0, 0}, true},
        {{9, DEVICE_NO_INSTANCE}, {9, 1}, true},
        {{9, DEVICE_NO_INSTANCE}, {8, 1}, false},
        {{9, 1}, {9, 1}, true},
        {{9, 0}, {9, 1}, false},
        {{8, 1}, {9, 1}, false},
        {{0, 0}, {9, 1}, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        assert_int_equal(device_instances_overlap(table[i].a, table[i].b), table[i].overlap);
        assert_int_equal(device_instances_overlap(table[i].b, table[i].a), table[i].overlap);
    }
}

static void test_equal_but_for_one_value(void **state)
{
    struct device changed[12];

    for (size_t i = 0; i < ARRAY_SIZE(changed); i++)
        changed[i] = mig;
    changed[0].kind = DEVICE_WHOLE;
    changed[1].mem_total_bytes = 1;
    changed[2].mem_reserved_bytes = 1;
    changed[3].minor = 4;
    changed[4].numa_node = 1;
    changed[5].mig_index = 1;
    changed[6].instance.gpu = 1;
    changed[7].instance.compute = 0;
    changed[8].gi_minor = 30;
    changed[9].ci_minor = 31;
    changed[10].profile[0] = '2';
    changed[11].shape.ofa_engines = 1;
    for (size_t i = 0; i < ARRAY_SIZE(changed); i++)
        assert_false(device_equal(&mig, &changed[i]));
    changed[0] = mig;
    changed[0].gpu = 5;
    snprintf(changed[0].uuid, sizeof(changed[0].uuid), "MIG-2");
    assert_true(device_equal(&mig, &changed[0]));
    snprintf(changed[0].unusable, sizeof(changed[0].unusable), "it is lost");
    assert_false(device_equal(&mig, &changed[0]));
}

static void test_order(void **state)
{
    const struct device sorted[] = {{.gpu = 0, .mig_index = 0, .uuid = "MIG-9"},
                                    {.gpu = 0, .mig_index = 1, .uuid = "MIG-3"},
                                    {.gpu = 0, .mig_index = 1, .uuid = "MIG-4"},
                                    {.gpu = 2, .mig_index = 0, .uuid = "MIG-1"}};

    for (size_t i = 0; i < ARRAY_SIZE(sorted); i++)
        for (size_t j = 0; j < ARRAY_SIZE(sorted); j++) {
            int order = device_compare(&sorted[i], &sorted[j]);

            assert_int_equal(order < 0, i < j);
            assert_int_equal(order > 0, i > j);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),     cmocka_unit_test(test_longest_names_fit),
        cmocka_unit_test(test_instances), cmocka_unit_test(test_equal_but_for_one_value),
        cmocka_unit_test(test_order),     cmocka_unit_test(test_nodes),
    };

    return cmocka_run_group_tests_name("slice/device", tests, NULL, NULL);
}
