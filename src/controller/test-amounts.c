// SPDX-License-Identifier: Apache-2.0
#include "controller/amounts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct amounts read_amounts(const char *text)
{
    struct amounts amounts = {.items = NULL};
    json_t *object = json_loads(text, 0, NULL);

    assert_int_equal(amounts_read(object, &amounts), 0);
    json_decref(object);
    return amounts;
}

static void counts_of_nvidia_are_read(void **state)
{
    cleanup_amounts struct amounts amounts =
        read_amounts("{\"cpu\": \"8\", \"nvidia.com/gpu\": \"0\", \"nvidia.com/gpu.shared\": "
                     "\"2k\", \"nvidia.com/a\": 3, \"nvidia.com/b\": \"1500m\", "
                     "\"example.com/gpu\": \"4\"}");
    cleanup_text struct text text = TEXT_INIT;

    amounts_add_text(&amounts, &text);
    assert_string_equal(text_string(&text),
                        "nvidia.com/gpu 0, nvidia.com/gpu.shared 2000, nvidia.com/a 3");
    assert_int_equal(amounts_get(&amounts, "nvidia.com/gpu.shared"), 2000);
    assert_int_equal(amounts_get(&amounts, "nvidia.com/other"), 0);
}

static void a_resource_that_is_missing_counts_as_none(void **state)
{
    static const struct {
        const char *is, *promised;
        bool met;
    } rows[] = {
        {"{}", "{\"nvidia.com/gpu\": \"0\"}", true},
        {"{\"nvidia.com/gpu\": \"0\"}", "{}", true},
        {"{}", "{\"nvidia.com/gpu\": \"1\"}", false},
        {"{\"nvidia.com/gpu\": \"4\"}", "{\"nvidia.com/gpu\": \"0\"}", false},
        {"{\"nvidia.com/gpu\": \"17\"}", "{\"nvidia.com/gpu\": \"16\"}", false},
        {"{\"nvidia.com/gpu\": \"16\", \"nvidia.com/x\": \"1\"}", "{\"nvidia.com/gpu\": \"16\"}",
         true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_amounts struct amounts is = read_amounts(rows[i].is);
        cleanup_amounts struct amounts promised = read_amounts(rows[i].promised);

        if (amounts_meet(&is, &promised) != rows[i].met)
            fail_msg("%s meets %s?", rows[i].is, rows[i].promised);
    }
}

static void a_flood_is_bounded(void **state)
{
    struct amounts amounts = {.items = NULL};
    char name[32];
    int r = 0;

    for (int i = 0; i < 2 * AMOUNTS_MAX; i++) {
        snprintf(name, sizeof(name), "nvidia.com/r%d", i);
        r = amounts_set(&amounts, name, 1);
    }
    assert_true(r < 0);
    assert_int_equal(amounts.n_items, AMOUNTS_MAX);
    amounts_deinit(&amounts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_of_nvidia_are_read),
        cmocka_unit_test(a_resource_that_is_missing_counts_as_none),
        cmocka_unit_test(a_flood_is_bounded),
    };

    return cmocka_run_group_tests_name("controller/amounts", tests, NULL, NULL);
}
