// SPDX-License-Identifier: Apache-2.0
#include "base/exposition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/array.h"

static void family_is_announced(void **state)
{
    cleanup_text struct text out = TEXT_INIT;

    (void)state;
    exposition_family(&out, "calls_total", "counter", "Calls, refused ones included.");
    exposition_sample(&out, "calls_total", 0, NULL);
    assert_string_equal(text_string(&out), "# HELP calls_total Calls, refused ones included.\n"
                                           "# TYPE calls_total counter\n"
                                           "calls_total 0\n");
}

/* A backslash in a help text would start an escape sequence. */
static void help_is_escaped(void **state)
{
    cleanup_text struct text out = TEXT_INIT;

    (void)state;
    exposition_family(&out, "x", "gauge", "C:\\new\n\"quoted\"");
    assert_string_equal(text_string(&out), "# HELP x C:\\\\new\\n\"quoted\"\n# TYPE x gauge\n");
}

static void label_values_are_escaped(void **state)
{
    static const struct {
        const char *value, *written;
    } rows[] = {
        {"", "x{l=\"\"} 1\n"},
        {"nvidia.com/gpu", "x{l=\"nvidia.com/gpu\"} 1\n"},
        {"a \"quoted\" name", "x{l=\"a \\\"quoted\\\" name\"} 1\n"},
        {"C:\\new", "x{l=\"C:\\\\new\"} 1\n"},
        {"two\nlines", "x{l=\"two\\nlines\"} 1\n"},
        {"}, y=\"", "x{l=\"}, y=\\\"\"} 1\n"},
        {"\xe2\x84\xa2", "x{l=\"\xe2\x84\xa2\"} 1\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_text struct text out = TEXT_INIT;

        exposition_sample(&out, "x", 1, "l", rows[i].value, NULL);
        assert_string_equal(text_string(&out), rows[i].written);
    }
}

static void labels_keep_their_order(void **state)
{
    cleanup_text struct text out = TEXT_INIT;

    (void)state;
    exposition_sample(&out, "x", 1, "b", "1", "a", "2", NULL);
    assert_string_equal(text_string(&out), "x{b=\"1\",a=\"2\"} 1\n");
}

/* Counters grow beyond what a float, or six digits, can represent. */
static void values_lose_nothing(void **state)
{
    static const struct {
        double value;
        const char *written;
    } rows[] = {
        {-1, "x -1\n"},
        {1234567, "x 1234567\n"},
        {9007199254740992, "x 9007199254740992\n"},
        {0.5, "x 0.5\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_text struct text out = TEXT_INIT;

        exposition_sample(&out, "x", rows[i].value, NULL);
        assert_string_equal(text_string(&out), rows[i].written);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(family_is_announced),      cmocka_unit_test(help_is_escaped),
        cmocka_unit_test(label_values_are_escaped), cmocka_unit_test(labels_keep_their_order),
        cmocka_unit_test(values_lose_nothing),
    };

    return cmocka_run_group_tests_name("base/exposition", tests, NULL, NULL);
}
