// SPDX-License-Identifier: Apache-2.0
#include "nodeconfig/configselect.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

#define KEY "nvidia.com/device-plugin.config"

/* What NVIDIA's config-manager does, row by row; "" = an empty configuration. */
static const struct row {
    const char *names[4];
    const char *value, *default_config, *fallbacks;
    const char *wanted; /* NULL = refused */
    const char *sentence;
} rows[] = {
    /* The label comes first. */
    {{"a", "b"}, "a", NULL, NULL, "a", NULL},
    {{"a", "b"}, "b", "a", "named,single,empty", "b", NULL},
    {{"a", "b"},
     "c",
     NULL,
     NULL,
     NULL,
     "label " KEY " selects the configuration 'c', which is none of: a, b"},
    {{"a", "b"}, "c", "a", "named,single,empty", NULL, "'c', which is none of: a, b"},
    {{"a"}, "..data", NULL, "single", NULL, "'..data', which is none of: a"},
    {{"a"}, "A", NULL, "single", NULL, "'A'"},
    /* Without it, or with an empty one, the default. */
    {{"a", "b"}, NULL, "b", NULL, "b", NULL},
    {{"a", "b"}, "", "b", "named", "b", NULL},
    {{"a", "b"}, NULL, "x", NULL, NULL, "the default configuration 'x' is none of: a, b"},
    {{"a"}, NULL, "x", "single,empty", NULL, "the default configuration 'x' is none of: a"},
    {{"a"}, NULL, "", "single", "a", NULL},
    /* Without one, the strategies in their order. */
    {{"a", "default"}, NULL, NULL, "named", "default", NULL},
    {{"a", "b"}, NULL, NULL, "named", NULL, "set its label " KEY " to one of: a, b"},
    {{"a"}, NULL, NULL, "single", "a", NULL},
    {{"a", "b"}, NULL, NULL, "single", NULL, "set its label"},
    {{"a", "b"}, NULL, NULL, "empty", "", NULL},
    {{"a"}, NULL, NULL, "named,single", "a", NULL},
    {{"a", "b"}, NULL, NULL, "named,single", NULL, "set its label"},
    {{"a", "b"}, NULL, NULL, "named,single,empty", "", NULL},
    {{"a"}, NULL, NULL, "empty,single", "", NULL},
    {{"default"}, NULL, NULL, "single,named", "default", NULL},
    {{"a"}, NULL, NULL, NULL, NULL, "no configuration is selected"},
    {{"a"}, NULL, NULL, "", NULL, "no configuration is selected"},
    /* No files: nothing helps. */
    {{NULL}, "a", NULL, NULL, NULL, "the directory /configs contains no configuration"},
    {{NULL}, NULL, "a", NULL, NULL, "contains no configuration"},
    {{NULL}, NULL, NULL, "named,single,empty", NULL, "contains no configuration"},
};

static void check_row(const struct row *row)
{
    const struct configselect choice = {"/configs", KEY, row->value, row->default_config,
                                        row->fallbacks};
    struct error err = ERROR_INIT;
    const char *name = "untouched";
    char *names[4];
    size_t n = 0;
    int r;

    while (n < 4 && row->names[n]) {
        names[n] = (char *)(uintptr_t)row->names[n];
        n++;
    }
    r = configselect_pick(&choice, names, n, &name, &err);
    if (!row->wanted) {
        assert_int_equal(r, -ENOENT);
        if (!strstr(error_text(&err), row->sentence))
            fail_msg("row %zu: '%s'", (size_t)(row - rows), error_text(&err));
        return;
    }
    assert_int_equal(r, *row->wanted ? 0 : CONFIGSELECT_EMPTY);
    if (*row->wanted)
        assert_string_equal(name, row->wanted);
    else
        assert_null(name);
}

static void test_every_row_of_the_config_manager(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check_row(&rows[i]);
}

static void test_entries_of_a_config_map_volume_are_no_candidates(void **state)
{
    assert_false(configselect_is_candidate("..data"));
    assert_false(configselect_is_candidate("..2026_01_01_00_00_00.123"));
    assert_false(configselect_is_candidate(".."));
    assert_true(configselect_is_candidate(".hidden"));
    assert_true(configselect_is_candidate("a..b"));
}

static void test_a_long_list_is_cut_and_stays_one_sentence(void **state)
{
    const struct configselect choice = {"/configs", KEY, "none", NULL, NULL};
    struct error err = ERROR_INIT;
    char buffers[60][64], *names[60];
    const char *name;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        snprintf(buffers[i], sizeof(buffers[i]), "configuration-%02zu", i);
        names[i] = buffers[i];
    }
    assert_int_equal(configselect_pick(&choice, names, ARRAY_SIZE(names), &name, &err), -ENOENT);
    assert_non_null(strstr(error_text(&err), "configuration-00, configuration-01"));
    assert_true(str_ends_with(error_text(&err), ", ..."));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_of_the_config_manager),
        cmocka_unit_test(test_entries_of_a_config_map_volume_are_no_candidates),
        cmocka_unit_test(test_a_long_list_is_cut_and_stays_one_sentence),
    };

    return cmocka_run_group_tests_name("nodeconfig/configselect", tests, NULL, NULL);
}
