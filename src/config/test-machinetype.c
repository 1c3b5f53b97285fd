// SPDX-License-Identifier: Apache-2.0
#include "config/machinetype.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/file.h"

static void names(void **state)
{
    char path[] = "/tmp/gpuslice-machine-XXXXXX", *mine = path;
    char standard[] = "/sys/class/dmi/id/product_name", none[] = "/nonexistent/machine",
         empty[] = "";
    const struct {
        char *file;
        const char *content, *product, *value;
        int outcome;
    } rows[] = {
        {empty, "", "p3.8xlarge", "unknown", 0},
        {NULL, "", "p3.8xlarge", "unknown", 0},
        {standard, "", "p3.8xlarge", "p3.8xlarge", 0},
        {standard, "", "PowerEdge R750 (x)\n", "PowerEdge-R750-x", 0},
        {mine, "rack 7\n", "p3.8xlarge", "rack-7", 0},
        {mine, "\n", "p3.8xlarge", "unknown", 0},
        {none, "", "p3.8xlarge", "unknown", MACHINETYPE_UNREADABLE},
        {none, "", "", "unknown", MACHINETYPE_UNREADABLE},
    };
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct config config = {.gfd.machine_type_file = rows[i].file};
        char value[LABEL_VALUE_SIZE];

        assert_int_equal(
            file_write_atomic(path, rows[i].content, strlen(rows[i].content), 0600, NULL), 0);
        assert_int_equal(machinetype_read(&config, rows[i].product, value), rows[i].outcome);
        assert_string_equal(value, rows[i].value);
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests_name("config/machinetype", tests, NULL, NULL);
}
