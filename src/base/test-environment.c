// SPDX-License-Identifier: Apache-2.0
#include "base/environment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void an_empty_variable_is_none(void **state)
{
    setenv("GPUSLICE_TEST", "", 1);
    assert_null(environment_get("GPUSLICE_TEST"));
    setenv("GPUSLICE_TEST", "a", 1);
    assert_string_equal(environment_get("GPUSLICE_TEST"), "a");
    unsetenv("GPUSLICE_TEST");
    assert_null(environment_get("GPUSLICE_TEST"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_empty_variable_is_none)};

    return cmocka_run_group_tests_name("base/environment", tests, NULL, NULL);
}
