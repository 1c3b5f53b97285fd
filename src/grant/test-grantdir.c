// SPDX-License-Identifier: Apache-2.0
#include "grant/grantdir.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "grant/test-tempdir.h"

static const char ids[2][GRANT_ID_SIZE] = {"0000000000000001", "0000000000000002"};

static bool is_there(const char *name)
{
    return access(tempdir_path(name), F_OK) == 0;
}

static void test_made_and_removed(void **state)
{
    assert_int_equal(grantdir_make(tempdir, ids[0], NULL), 0);
    assert_int_equal(grantdir_make(tempdir, ids[0], NULL), 0);
    assert_int_equal(file_make_directory(tempdir_path("grants/0000000000000001/sub"), NULL), 0);
    assert_int_equal(
        file_write_atomic(tempdir_path("grants/0000000000000001/sub/x"), "", 0, 0600, NULL), 0);
    assert_int_equal(grantdir_remove(tempdir, ids[0], NULL), 0);
    assert_false(is_there("grants/0000000000000001"));
    assert_int_equal(grantdir_remove(tempdir, ids[0], NULL), 0);
}

static void test_rebuilt(void **state)
{
    assert_int_equal(grantdir_rebuild(tempdir, ids, 0, NULL), 0);
    assert_int_equal(grantdir_make(tempdir, "00000000000000ff", NULL), 0);
    assert_int_equal(grantdir_make(tempdir, ids[0], NULL), 0);
    assert_int_equal(
        file_write_atomic(tempdir_path("grants/0000000000000001/keep"), "", 0, 0600, NULL), 0);
    assert_int_equal(file_make_directory(tempdir_path("grants/not-ours"), NULL), 0);
    assert_int_equal(grantdir_rebuild(tempdir, ids, 2, NULL), 0);
    assert_true(is_there("grants/0000000000000001/keep"));
    assert_true(is_there("grants/0000000000000002"));
    assert_true(is_there("grants/not-ours"));
    assert_false(is_there("grants/00000000000000ff"));
}

/* What a tenant may have put there cannot lead the removal out of the directory. */
static void test_links_are_not_followed(void **state)
{
    char target[96];

    assert_int_equal(file_make_directory(tempdir_path("outside"), NULL), 0);
    assert_int_equal(file_write_atomic(tempdir_path("outside/x"), "", 0, 0600, NULL), 0);
    snprintf(target, sizeof(target), "%s", tempdir_path("outside"));
    assert_int_equal(grantdir_make(tempdir, ids[0], NULL), 0);
    assert_int_equal(symlink(target, tempdir_path("grants/0000000000000001/link")), 0);
    assert_int_equal(grantdir_remove(tempdir, ids[0], NULL), 0);
    assert_true(is_there("outside/x"));
}

static void test_trouble_is_said(void **state)
{
    struct error err = ERROR_INIT;

    assert_int_equal(file_write_atomic(tempdir_path("grants"), "", 0, 0600, NULL), 0);
    assert_int_equal(grantdir_make(tempdir, ids[0], &err), -ENOTDIR);
    assert_true(str_starts_with(error_text(&err), "cannot create directory "));
    assert_int_equal(grantdir_rebuild(tempdir, ids, 1, &err), -ENOTDIR);
}

#define T(name) cmocka_unit_test_setup_teardown(name, tempdir_make, tempdir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_made_and_removed),
        T(test_rebuilt),
        T(test_links_are_not_followed),
        T(test_trouble_is_said),
    };

    return cmocka_run_group_tests_name("grantdir", tests, NULL, NULL);
}
