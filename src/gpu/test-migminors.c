// SPDX-License-Identifier: Apache-2.0
#include "gpu/migminors.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "slice/inventory.h"

static int find(const char *text, uint32_t gpu, uint32_t gi, uint32_t ci)
{
    struct migminors minors = MIGMINORS_INIT;
    int minor;

    assert_int_equal(migminors_parse(text, &minors), 0);
    minor = migminors_find(&minors, gpu, gi, ci);
    migminors_deinit(&minors);
    return minor;
}

static void the_drivers_file_is_read(void **state)
{
    static const char text[] = "config 1\nmonitor 2\ngpu0/gi0/access 3\ngpu0/gi0/ci0/access 4\n"
                               "gpu0/gi0/ci1/access 5\ngpu12/gi14/ci7/access 4322\n";

    (void)state;
    assert_int_equal(find(text, 0, 0, DEVICE_NO_INSTANCE), 3);
    assert_int_equal(find(text, 0, 0, 0), 4);
    assert_int_equal(find(text, 0, 0, 1), 5);
    assert_int_equal(find(text, 12, 14, 7), 4322);
    assert_int_equal(find(text, 12, 14, DEVICE_NO_INSTANCE), -1);
    assert_int_equal(find(text, 1, 0, 0), -1);
}

static void other_lines_are_skipped(void **state)
{
    static const char *const texts[] = {
        "",
        "\n\n",
        "gpu0/gi0/access",
        "gpu0/gi0/access ",
        "gpu0/gi0/access x",
        "gpu0/gi0/access -1",
        "gpu0/gi/access 3",
        "gpu/gi0/access 3",
        "gpu0/gi0/ci/access 3",
        "gpu0/gi0/access 99999999999999",
        "gpu0/gi0/access 3 4",
        "gpu99999999999/gi0/access 3",
        " gpu0/gi0/access 3",
        "mpu0/gi0/access 3",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char text[128];

        snprintf(text, sizeof(text), "%s\ngpu0/gi1/access 7", texts[i]);
        assert_int_equal(find(text, 0, 0, DEVICE_NO_INSTANCE), -1);
        assert_int_equal(find(text, 0, 1, DEVICE_NO_INSTANCE), 7);
    }
}

static void a_driver_without_the_file_has_none(void **state)
{
    struct migminors minors = MIGMINORS_INIT;

    (void)state;
    setenv("GPUSLICE_PROC", "/nowhere", 1);
    assert_int_equal(migminors_load(&minors, NULL), -ENOENT);
    assert_int_equal(migminors_find(&minors, 0, 0, 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_drivers_file_is_read),
        cmocka_unit_test(other_lines_are_skipped),
        cmocka_unit_test(a_driver_without_the_file_has_none),
    };

    return cmocka_run_group_tests_name("gpu/migminors", tests, NULL, NULL);
}
