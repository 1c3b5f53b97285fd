// SPDX-License-Identifier: Apache-2.0
#include "cli/inputs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

static char folder[64];

static const char *in_folder(const char *name)
{
    static char paths[4][256], *path;
    static size_t n;

    path = paths[n++ % ARRAY_SIZE(paths)];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static void make_file(const char *name)
{
    FILE *file = fopen(in_folder(name), "w");

    assert_non_null(file);
    fclose(file);
}

static void make_folder(const char *name)
{
    assert_int_equal(mkdir(in_folder(name), 0755), 0);
}

static int set_up(void **state)
{
    static const char *const files[] = {"many/a10.yaml", "many/a9.yml",   "many/b.json",
                                        "many/README",   "many/.c.yaml",  "many/deep/x.yaml",
                                        "mounted/any",   "mounted/other", "none/README"};

    snprintf(folder, sizeof(folder), "%s", "/tmp/test-inputs-XXXXXX");
    assert_non_null(mkdtemp(folder));
    make_folder("many");
    make_folder("many/deep");
    make_folder("mounted");
    make_folder("none");
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        make_file(files[i]);
    assert_int_equal(symlink("..", in_folder("many/loop")), 0);
    assert_int_equal(symlink("../none", in_folder("mounted/..data")), 0);
    return 0;
}

static int tear_down(void **state)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

static void assert_inputs(const char *word, const char *const *wanted, size_t n_wanted)
{
    cleanup_inputs struct inputs inputs = INPUTS_INIT;

    assert_int_equal(inputs_add(&inputs, word, NULL), 0);
    assert_int_equal(inputs.n_items, n_wanted);
    for (size_t i = 0; i < n_wanted; i++) {
        assert_true(inputs.items[i].is_found);
        assert_string_equal(inputs.items[i].path, in_folder(wanted[i]));
    }
}

static void test_the_configurations_of_a_folder_in_natural_order(void **state)
{
    static const char *const wanted[] = {"many/a9.yml", "many/a10.yaml", "many/b.json",
                                         "many/deep/x.yaml"};

    assert_inputs(in_folder("many"), wanted, ARRAY_SIZE(wanted));
}

static void test_a_mounted_config_map_has_no_suffixes(void **state)
{
    static const char *const wanted[] = {"mounted/any", "mounted/other"};

    assert_inputs(in_folder("mounted"), wanted, ARRAY_SIZE(wanted));
}

static void test_what_is_named_is_taken_as_it_is(void **state)
{
    static const char *const words[] = {"-", "/nowhere.yaml", "/dev/null"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        cleanup_inputs struct inputs inputs = INPUTS_INIT;

        assert_int_equal(inputs_add(&inputs, words[i], NULL), 0);
        assert_int_equal(inputs.n_items, 1);
        assert_false(inputs.items[0].is_found);
        assert_string_equal(inputs.items[0].path, words[i]);
    }
}

static void test_a_folder_without_configurations_is_said(void **state)
{
    cleanup_inputs struct inputs inputs = INPUTS_INIT;
    struct error err = ERROR_INIT;

    assert_int_equal(inputs_add(&inputs, in_folder("none"), &err), -ENOENT);
    assert_non_null(strstr(error_text(&err), "no .yaml, .yml or .json file is in the folder"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_configurations_of_a_folder_in_natural_order),
        cmocka_unit_test(test_a_mounted_config_map_has_no_suffixes),
        cmocka_unit_test(test_what_is_named_is_taken_as_it_is),
        cmocka_unit_test(test_a_folder_without_configurations_is_said),
    };

    return cmocka_run_group_tests_name("cli/inputs", tests, set_up, tear_down);
}
