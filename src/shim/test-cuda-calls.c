// SPDX-License-Identifier: Apache-2.0

/* The table of the driver's entry points is sound; NVIDIA's headers say the rest
 * (tests/conformance). */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shim/cuda-abi.h"

static const struct row {
    const char *name, *asked;
    unsigned since;
} rows[] = {
#define CUDA_CALL(name, asked, since, variant, arguments, values)        {#name, #asked, since},
#define CUDA_SAME(name, other, asked, since, variant, arguments, values) {#name, #asked, since},
#include "shim/cuda-calls.def"
};

enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

static void test_no_name_is_there_twice(void **state)
{
    for (size_t i = 0; i < N_ROWS; i++)
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(rows[i].name, rows[k].name);
}

/* Two functions of one name differ in their versions. */
static void test_each_version_means_one_function(void **state)
{
    for (size_t i = 0; i < N_ROWS; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(rows[i].asked, rows[k].asked) == 0)
                assert_int_not_equal(rows[i].since, rows[k].since);
}

/* What is exported is the name that is asked for, with a version or other words behind it. */
static void test_an_export_begins_with_its_name(void **state)
{
    for (size_t i = 0; i < N_ROWS; i++)
        assert_int_equal(strncmp(rows[i].name, rows[i].asked, strlen(rows[i].asked)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_name_is_there_twice),
        cmocka_unit_test(test_each_version_means_one_function),
        cmocka_unit_test(test_an_export_begins_with_its_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
