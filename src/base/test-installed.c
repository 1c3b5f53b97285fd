// SPDX-License-Identifier: Apache-2.0
#include "base/installed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The folder of this program, and its name. */
static const char *program(char folder[PATH_MAX])
{
    const ssize_t n = readlink("/proc/self/exe", folder, PATH_MAX - 1);
    char *slash;

    assert_true(n > 0);
    folder[n] = '\0';
    slash = strrchr(folder, '/');
    *slash = '\0';
    return slash + 1;
}

static void test_each_place(void **state)
{
    char folder[PATH_MAX], path[INSTALLED_PATH_SIZE], beside[INSTALLED_PATH_SIZE], moved[PATH_MAX];
    const char *name = program(folder), *last = strrchr(folder, '/') + 1;
    struct installed_place place = {folder, "built", "nothing/here", "standard"};

    assert_string_equal(installed_find(&place, path), "built");
    place.build_folder = "/nowhere";
    assert_string_equal(installed_find(&place, path), "standard");
    snprintf(moved, sizeof(moved), "%s/%s", last, name); /* of bin's parent */
    place.moved = moved;
    snprintf(beside, sizeof(beside), "%s/../%s", folder, moved);
    assert_string_equal(installed_find(&place, path), beside);
    folder[strlen(folder) - 1] = '\0'; /* another folder, whose name begins so */
    place.build_folder = folder;
    place.moved = "nothing/here";
    assert_string_equal(installed_find(&place, path), "standard");
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_place),
    };

    return cmocka_run_group_tests_name("base/installed", tests, NULL, NULL);
}
