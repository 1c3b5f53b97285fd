// SPDX-License-Identifier: Apache-2.0
#include "slice/listsize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static struct device device_at(int numa_node)
{
    struct device device = {.numa_node = numa_node};

    snprintf(device.uuid, sizeof(device.uuid), "GPU-00000000-0000-0000-0000-000000000000");
    return device;
}

/* Bytes as protoc's encoder makes them: 2 + (2 + 40) + (2 + 9), and the topology. */
static void test_one_device(void **state)
{
    static const struct {
        int numa_node;
        size_t bytes;
    } table[] = {{-1, 55}, {0, 59}, {1, 61}, {127, 61}, {128, 62}, {16384, 63}};

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct device device = device_at(table[i].numa_node);

        assert_int_equal(listsize_of_id(&device, strlen(device.uuid)), table[i].bytes);
    }
}

static void test_slices_are_the_sum_of_their_ids(void **state)
{
    static const unsigned counts[] = {0, 1, 9, 10, 11, 100, 101, 9999, 10000, 10001, 65535};
    struct device device = device_at(3);

    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        size_t sum = 0;

        for (unsigned n = 0; n < counts[i]; n++) {
            char id[64];

            snprintf(id, sizeof(id), "%s::%u", device.uuid, n);
            sum += listsize_of_id(&device, strlen(id));
        }
        assert_int_equal(listsize_of_slices(&device, counts[i]), sum);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_device),
        cmocka_unit_test(test_slices_are_the_sum_of_their_ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
