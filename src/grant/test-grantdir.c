// SPDX-License-Identifier: Apache-2.0
#include "grant/grantdir.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "grant/test-tempdir.h"

static const struct grantdir dirs[2] = {{"0000000000000001", (char[]){"mode enforced\nGPU-a 5\n"}},
                                        {"0000000000000002", (char[]){"mode none\n"}}};
static const struct grantdir other = {"00000000000000ff", (char[]){"mode none\n"}};

static bool is_there(const char *name)
{
    return access(tempdir_path(name), F_OK) == 0;
}

static void test_made_and_removed(void **state)
{
    assert_int_equal(grantdir_make(tempdir, &dirs[0], NULL), 0);
    assert_int_equal(grantdir_make(tempdir, &dirs[0], NULL), 0);
    assert_int_equal(file_make_directory(tempdir_path("grants/0000000000000001/sub"), NULL), 0);
    assert_int_equal(
        file_write_atomic(tempdir_path("grants/0000000000000001/sub/x"), "", 0, 0600, NULL), 0);
    assert_int_equal(grantdir_remove(tempdir, dirs[0].id, NULL), 0);
    assert_false(is_there("grants/0000000000000001"));
    assert_int_equal(grantdir_remove(tempdir, dirs[0].id, NULL), 0);
}

static void test_rebuilt(void **state)
{
    assert_int_equal(grantdir_rebuild(tempdir, dirs, 0, NULL), 0);
    assert_int_equal(grantdir_make(tempdir, &other, NULL), 0);
    assert_int_equal(grantdir_make(tempdir, &dirs[0], NULL), 0);
    assert_int_equal(
        file_write_atomic(tempdir_path("grants/0000000000000001/keep"), "", 0, 0600, NULL), 0);
    assert_int_equal(file_make_directory(tempdir_path("grants/not-ours"), NULL), 0);
    assert_int_equal(grantdir_rebuild(tempdir, dirs, 2, NULL), 0);
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
    assert_int_equal(grantdir_make(tempdir, &dirs[0], NULL), 0);
    assert_int_equal(symlink(target, tempdir_path("grants/0000000000000001/link")), 0);
    assert_int_equal(grantdir_remove(tempdir, dirs[0].id, NULL), 0);
    assert_true(is_there("outside/x"));
}

static void assert_says(const char *name, const char *content)
{
    cleanup_free char *data = NULL;
    size_t size;

    assert_int_equal(file_read(tempdir_path(name), 4096, &data, &size, NULL), 0);
    assert_string_equal(data, content);
}

/* Containers of other users read it. */
static void test_the_limits_are_in_a_file(void **state)
{
    const char *name = "grants/0000000000000001/limits";
    struct grantdir dir = dirs[0];
    struct stat first, second;

    umask(077);
    assert_int_equal(grantdir_make(tempdir, &dir, NULL), 0);
    umask(022);
    assert_says(name, "mode enforced\nGPU-a 5\n");
    assert_int_equal(stat(tempdir_path(name), &first), 0);
    assert_int_equal(first.st_mode & 07777, 0644);
    assert_int_equal(grantdir_make(tempdir, &dir, NULL), 0);
    assert_int_equal(stat(tempdir_path(name), &second), 0);
    assert_int_equal(second.st_ino, first.st_ino); /* written only when it changes */
    dir.limits = (char[]){"mode observe\nGPU-a 5\n"};
    assert_int_equal(grantdir_make(tempdir, &dir, NULL), 0);
    assert_says(name, "mode observe\nGPU-a 5\n");
}

static void test_the_mode_of_all(void **state)
{
    assert_int_equal(grantdir_set_mode(tempdir, "none", NULL), 0);
    assert_int_equal(grantdir_rebuild(tempdir, dirs, 2, NULL), 0);
    assert_int_equal(file_make_directory(tempdir_path("grants/0000000000000003"), NULL), 0);
    assert_int_equal(grantdir_set_mode(tempdir, "none", NULL), 0);
    assert_says("grants/0000000000000001/limits", "mode none\nGPU-a 5\n");
    assert_says("grants/0000000000000002/limits", "mode none\n");
    assert_false(is_there("grants/0000000000000003/limits"));
}

static void test_a_grant_as_a_directory(void **state)
{
    cleanup(grant_deinit) struct grant grant = {.id = "0000000000000001"};
    struct grantdir dir;

    assert_int_equal(grant_add_id(&grant, "GPU-a"), 0);
    assert_false(grantdir_is_wanted(&grant)); /* a whole GPU */
    assert_int_equal(grant_add_id(&grant, "GPU-b::3"), 0);
    assert_true(grantdir_is_wanted(&grant));
    assert_int_equal(grant_add_device(&grant, "GPU-b", 250, 4294967296), 0);
    assert_int_equal(grant_add_device(&grant, "GPU-c", 0, 0), 0); /* adopted */
    assert_int_equal(grantdir_init(&grant, "observe", &dir), 0);
    assert_string_equal(dir.id, "0000000000000001");
    assert_string_equal(dir.limits, "mode observe\nGPU-b 4294967296\n");
    grantdir_deinit(&dir);
}

static void test_trouble_is_said(void **state)
{
    struct error err = ERROR_INIT;

    assert_int_equal(file_write_atomic(tempdir_path("grants"), "", 0, 0600, NULL), 0);
    assert_int_equal(grantdir_make(tempdir, &dirs[0], &err), -ENOTDIR);
    assert_true(str_starts_with(error_text(&err), "cannot create directory "));
    assert_int_equal(grantdir_rebuild(tempdir, dirs, 1, &err), -ENOTDIR);
}

#define T(name) cmocka_unit_test_setup_teardown(name, tempdir_make, tempdir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_made_and_removed),         T(test_rebuilt),         T(test_links_are_not_followed),
        T(test_the_limits_are_in_a_file), T(test_the_mode_of_all), T(test_a_grant_as_a_directory),
        T(test_trouble_is_said),
    };

    return cmocka_run_group_tests_name("grantdir", tests, NULL, NULL);
}
