// SPDX-License-Identifier: Apache-2.0

/* What the agent wrote into a grant's directory. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "shim/grantdir.h"

#define ONE   "GPU-00112233-4455-6677-8899-aabbccddeeff"
#define OTHER "MIG-00112233-4455-6677-8899-AABBCCDDEEFE"

static void test_limits_add_up(void **state)
{
    struct grantdir_terms terms = {.mode = LIMITS_NONE};

    grantdir_parse("mode observe\n" ONE " 100\n" OTHER " 7\n", &terms);
    assert_int_equal(terms.mode, LIMITS_OBSERVE);
    grantdir_parse("mode enforced\n" ONE " 20", &terms);
    grantdir_parse("mode none\n", &terms);
    assert_int_equal(terms.mode, LIMITS_ENFORCED);
    assert_int_equal(terms.n_devices, 2);
    assert_int_equal(terms.devices[0].bytes, 120);
    assert_int_equal(terms.devices[1].bytes, 7);
}

static void test_what_is_not_understood_is_passed_over(void **state)
{
    struct grantdir_terms terms = {.mode = LIMITS_NONE};

    grantdir_parse("\n\nmode\nlater words of a newer agent\n" ONE "\n" ONE " many\nGPU-1 5\n" ONE
                   " 3",
                   &terms);
    assert_int_equal(terms.mode, LIMITS_NONE);
    assert_int_equal(terms.n_devices, 1);
    assert_int_equal(terms.devices[0].bytes, 3);
    for (unsigned i = 0; i < 100; i++) {
        char line[64];

        snprintf(line, sizeof(line), "GPU-%08x-4455-6677-8899-aabbccddeeff 1\n", i);
        grantdir_parse(line, &terms);
    }
    assert_int_equal(terms.n_devices, LIMITS_DEVICES_MAX);
}

static void test_a_mode_that_is_not_known_enforces(void **state)
{
    struct grantdir_terms terms = {.mode = LIMITS_NONE};

    grantdir_parse("mode observe\nmode borrowed\n", &terms);
    assert_int_equal(terms.mode, LIMITS_ENFORCED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_add_up),
        cmocka_unit_test(test_what_is_not_understood_is_passed_over),
        cmocka_unit_test(test_a_mode_that_is_not_known_enforces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
