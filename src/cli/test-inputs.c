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

#define TOWER "/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d"

/* One folder more than the tower that is looked at. */
static void make_tower(void)
{
    char path[] = "tower" TOWER "/d";

    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        make_folder(path);
        *slash = '/';
    }
    make_folder(path);
}

static int set_up(void **state)
{
    static const char *const files[] = {
        "many/a10.yaml",    "many/a9.yml", "many/b.json",   "many/README", "many/.c.yaml",
        "many/deep/x.yaml", "mounted/any", "mounted/other", "none/README", "odd/file.yaml"};

    snprintf(folder, sizeof(folder), "%s", "/tmp/test-inputs-XXXXXX");
    assert_non_null(mkdtemp(folder));
    make_folder("many");
    make_folder("many/deep");
    make_folder("mounted");
    make_folder("none");
    make_folder("odd");
    make_folder("pipes");
    make_tower();
    make_folder("closed");
    assert_int_equal(chmod(in_folder("closed"), 0), 0);
    assert_int_equal(mkfifo(in_folder("odd/fifo.yaml"), 0644), 0);
    assert_int_equal(mkfifo(in_folder("pipes/fifo.yaml"), 0644), 0);
    assert_int_equal(symlink("fifo.yaml", in_folder("odd/to-fifo.yaml")), 0);
    assert_int_equal(symlink("file.yaml", in_folder("odd/linked.yaml")), 0);
    assert_int_equal(symlink("nothing", in_folder("odd/gone.yaml")), 0);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        make_file(files[i]);
    assert_int_equal(symlink("..", in_folder("many/loop")), 0);
    assert_int_equal(symlink("../none", in_folder("mounted/..data")), 0);
    return 0;
}

static int tear_down(void **state)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf %s", folder);
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

/* Another word is looked at all the same. */
static void test_a_folder_with_a_fault_is_an_input(void **state)
{
    static const struct {
        const char *word, *path, *fault;
    } rows[] = {
        {"none", "none", "no .yaml, .yml or .json file is in the folder"},
        {"pipes", "pipes", "no .yaml, .yml or .json file is in the folder"},
        {"tower", "tower" TOWER "/d", "is deeper than 16 folders; name it itself"},
        {"closed", "closed", "cannot read the folder"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cleanup_inputs struct inputs inputs = INPUTS_INIT;

        if (i == 3 && geteuid() == 0) /* root reads every folder */
            continue;
        assert_int_equal(inputs_add(&inputs, in_folder(rows[i].word), NULL), 0);
        assert_int_equal(inputs_add(&inputs, in_folder("many"), NULL), 0);
        assert_int_equal(inputs.n_items, 5);
        assert_string_equal(inputs.items[0].path, in_folder(rows[i].path));
        assert_non_null(strstr(inputs.items[0].fault, rows[i].fault));
        for (size_t j = 1; j < inputs.n_items; j++)
            assert_null(inputs.items[j].fault);
    }
}

/* Opening a FIFO blocks; a link to nothing is for the reader to report. */
static void test_what_is_no_file_is_not_looked_for(void **state)
{
    static const char *const wanted[] = {"odd/file.yaml", "odd/gone.yaml", "odd/linked.yaml"};

    assert_inputs(in_folder("odd"), wanted, ARRAY_SIZE(wanted));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_configurations_of_a_folder_in_natural_order),
        cmocka_unit_test(test_a_mounted_config_map_has_no_suffixes),
        cmocka_unit_test(test_what_is_named_is_taken_as_it_is),
        cmocka_unit_test(test_a_folder_with_a_fault_is_an_input),
        cmocka_unit_test(test_what_is_no_file_is_not_looked_for),
    };

    return cmocka_run_group_tests_name("cli/inputs", tests, set_up, tear_down);
}
