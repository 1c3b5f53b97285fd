// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/text.h"

static char folder[64]; /* of the running test */

static int make_folder(void **state)
{
    assert_int_equal(str_copy(folder, sizeof(folder), "/tmp/gpuslice-test-XXXXXX"), 0);
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    return remove(path);
}

static int remove_folder(void **state)
{
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A path in the test's directory; valid until the next call. */
static const char *in_folder(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void assert_content(const char *path, const char *expected)
{
    cleanup_free char *data = NULL;
    size_t size;

    assert_int_equal(file_read(path, 4096, &data, &size, NULL), 0);
    assert_int_equal(size, strlen(expected));
    assert_string_equal(data, expected);
}

static unsigned count_entries(void)
{
    DIR *directory = opendir(folder);
    unsigned n = 0;

    assert_non_null(directory);
    while (readdir(directory))
        n++;
    closedir(directory);
    return n - 2; /* . and .. */
}

static void test_written_and_read(void **state)
{
    const char *path = in_folder("a");
    struct stat status;

    assert_int_equal(file_write_atomic(path, "old", 3, 0600, NULL), 0);
    assert_content(path, "old");
    assert_int_equal(file_write_atomic(path, "", 0, 0644, NULL), 0);
    assert_content(path, "");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0644);
    assert_int_equal(count_entries(), 1);
}

static void test_a_failed_write_leaves_nothing_behind(void **state)
{
    struct error err = ERROR_INIT;
    const char *path = in_folder("taken");

    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(file_write_atomic(path, "x", 1, 0600, &err), -EISDIR);
    assert_true(str_starts_with(error_text(&err), "cannot write "));
    assert_int_equal(count_entries(), 1);

    path = in_folder("no/such/folder");
    assert_int_equal(file_write_atomic(path, "x", 1, 0600, &err), -ENOENT);
    assert_true(str_ends_with(error_text(&err), "no/such/folder: No such file or directory"));
}

static void test_a_durable_write_replaces_the_whole(void **state)
{
    struct error err = ERROR_INIT;
    const char *path = in_folder("d");
    struct stat status;

    assert_int_equal(file_write_durable(path, "old", 3, 0600, NULL), 0);
    assert_int_equal(file_write_durable(path, "new!", 4, 0640, NULL), 0);
    assert_content(path, "new!");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    assert_int_equal(count_entries(), 1);

    /* What a killed writer left is written over, and a failed one leaves nothing. */
    assert_int_equal(file_write_atomic(in_folder(".d.new"), "torn, and longer", 16, 0600, NULL), 0);
    assert_int_equal(file_write_durable(in_folder("d"), "3", 1, 0600, NULL), 0);
    assert_content(in_folder("d"), "3");
    assert_int_equal(count_entries(), 1);
    assert_int_equal(mkdir(in_folder("taken"), 0700), 0);
    assert_int_equal(file_write_durable(in_folder("taken"), "x", 1, 0600, &err), -EISDIR);
    assert_true(str_starts_with(error_text(&err), "cannot write "));
    assert_int_equal(count_entries(), 2);
    assert_int_equal(file_write_durable(in_folder("no/folder"), "x", 1, 0600, &err), -ENOENT);
}

static void test_reading_is_bounded(void **state)
{
    cleanup_free char *data = NULL;
    struct error err = ERROR_INIT;
    const char *path = in_folder("big");
    size_t size = 77;

    assert_int_equal(file_write_atomic(path, "12345678", 8, 0600, NULL), 0);
    assert_int_equal(file_read(path, 7, &data, &size, &err), -EFBIG);
    assert_true(str_ends_with(error_text(&err), "big is larger than 7 bytes"));
    assert_null(data);
    assert_int_equal(size, 77);
    assert_int_equal(file_read(path, 8, &data, &size, NULL), 0);
    assert_int_equal(size, 8);
}

static void test_what_cannot_be_read_is_said(void **state)
{
    struct error err = ERROR_INIT;
    char *data = NULL;
    size_t size;

    assert_int_equal(file_read(in_folder("absent"), 10, &data, &size, &err), -ENOENT);
    assert_true(str_ends_with(error_text(&err), "absent: No such file or directory"));
    assert_int_equal(file_read(folder, 10, &data, &size, &err), -EISDIR);
    assert_true(str_starts_with(error_text(&err), "cannot read "));
    assert_null(data);
}

static void test_files_without_a_size_are_read_whole(void **state)
{
    cleanup_free char *data = NULL;
    size_t size = 0;

    assert_int_equal(file_read("/proc/self/status", 1 << 20, &data, &size, NULL), 0);
    assert_true(size > 100);
    assert_int_equal(strlen(data), size);
    assert_non_null(strstr(data, "\nPid:"));
}

static void test_directories_with_their_parents(void **state)
{
    struct error err = ERROR_INIT;
    struct stat status;

    assert_int_equal(file_make_directory(in_folder("a/b/c"), NULL), 0);
    assert_int_equal(file_make_directory(in_folder("a/b/c"), NULL), 0);
    assert_int_equal(file_make_directory(in_folder("a/b/d/"), NULL), 0);
    assert_int_equal(stat(in_folder("a/b/d"), &status), 0);
    assert_true(S_ISDIR(status.st_mode));

    assert_int_equal(file_write_atomic(in_folder("file"), "", 0, 0600, NULL), 0);
    assert_int_equal(file_make_directory(in_folder("file/below"), &err), -ENOTDIR);
    assert_true(str_starts_with(error_text(&err), "cannot create directory "));
}

static void put(const char *name, int age_s)
{
    const struct timespec times[] = {{.tv_sec = time(NULL) - age_s},
                                     {.tv_sec = time(NULL) - age_s}};
    int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

static void test_what_a_killed_writer_left_is_removed(void **state)
{
    static const struct {
        const char *name;
        int age_s;
        bool stays;
    } rows[] = {
        {".health.abcdef", 2 * FILE_LEFTOVER_S, false},
        {".health.ABCDE1", 2 * FILE_LEFTOVER_S, false},
        {".health.abcdeg", 0, true}, /* somebody writes it just now */
        {".health.abcdefg", 2 * FILE_LEFTOVER_S, true},
        {".health", 2 * FILE_LEFTOVER_S, true},
        {".health-abcdef", 2 * FILE_LEFTOVER_S, true},
        {"health.abcdef", 2 * FILE_LEFTOVER_S, true},
        {".healthy.abcdef", 2 * FILE_LEFTOVER_S, true},
    };
    struct stat found;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        put(rows[i].name, rows[i].age_s);
    assert_int_equal(file_write_atomic(in_folder("health"), "x", 1, 0600, NULL), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if ((stat(in_folder(rows[i].name), &found) == 0) != rows[i].stays)
            fail_msg("%s", rows[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_written_and_read, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_a_failed_write_leaves_nothing_behind, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_a_durable_write_replaces_the_whole, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_reading_is_bounded, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_read_is_said, make_folder,
                                        remove_folder),
        cmocka_unit_test(test_files_without_a_size_are_read_whole),
        cmocka_unit_test_setup_teardown(test_directories_with_their_parents, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_what_a_killed_writer_left_is_removed, make_folder,
                                        remove_folder),
    };

    return cmocka_run_group_tests_name("base/file", tests, NULL, NULL);
}
