// SPDX-License-Identifier: Apache-2.0

/* What was never verified on a generation and driver is named, once each. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "slice/verified.h"

static void assert_missing(const struct gpu *gpus, size_t n, const char *driver,
                           const char *expected)
{
    struct inventory machine = {.gpus = (struct gpu *)gpus, .n_gpus = n};
    cleanup_text struct text text = TEXT_INIT;

    snprintf(machine.driver_version, sizeof(machine.driver_version), "%s", driver);
    verified_add_missing(&machine, &text);
    assert_string_equal(text_string(&text), expected);
}

static const struct gpu hopper = {.cc_major = 9}, unknown = {.cc_major = 0};

static void test_by_generation_and_branch(void **state)
{
    static const struct {
        const char *driver;
        const char *missing;
    } rows[] = {{"580.159.04", ""},
                {"580", ""},
                {"580.65.06", ""},
                {"58", "hopper with driver 58"},
                {"5801.1", "hopper with driver 5801"},
                {"570.1", "hopper with driver 570"},
                {"", "hopper with driver unknown"}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        assert_missing(&hopper, 1, rows[i].driver, rows[i].missing);
}

static void test_what_is_missing_is_named_once(void **state)
{
    const struct gpu gpus[] = {
        {.cc_major = 7}, {.cc_major = 7}, {.cc_major = 9}, {.cc_major = 8, .cc_minor = 9}};

    (void)state;
    assert_missing(gpus, 4, "580.159.04", "volta with driver 580, ada-lovelace with driver 580");
    assert_missing(&hopper, 1, "580.159.04", "");
    assert_missing(&hopper, 1, "550.163.01", "hopper with driver 550");
    assert_missing(&unknown, 1, "580.1", "GPUs of an unknown generation with driver 580");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_generation_and_branch),
        cmocka_unit_test(test_what_is_missing_is_named_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
