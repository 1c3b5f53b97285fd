// SPDX-License-Identifier: Apache-2.0
#include "base/hostid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_the_boot_is_the_kernel_s(void **state)
{
    struct hostid id, again;
    char line[HOSTID_SIZE] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

    assert_non_null(file);
    assert_non_null(fgets(line, sizeof(line), file));
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
    hostid_read(&id);
    assert_string_equal(id.boot, line);
    assert_null(strchr(id.machine, '\n'));
    hostid_read(&again);
    assert_memory_equal(id.machine, again.machine, strlen(id.machine) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_boot_is_the_kernel_s),
    };

    return cmocka_run_group_tests_name("hostid", tests, NULL, NULL);
}
