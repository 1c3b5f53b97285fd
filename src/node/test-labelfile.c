// SPDX-License-Identifier: Apache-2.0
#include "node/labelfile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

struct bed {
    char folder[32], path[64];
};

static struct bed make_bed(void)
{
    struct bed bed = {.folder = "/tmp/labelfile-XXXXXX"};

    log_setup(LOG_ERROR, LOG_LOGFMT);
    assert_non_null(mkdtemp(bed.folder));
    snprintf(bed.path, sizeof(bed.path), "%s/gfd", bed.folder);
    return bed;
}

static char a[] = "a/b", b[] = "b", one[] = "1", two[] = "2", none[] = "";

static void assert_content(const char *path, const char *wanted)
{
    cleanup_free char *data = NULL;
    size_t size;

    assert_int_equal(file_read(path, 1 << 16, &data, &size, NULL), 0);
    assert_string_equal(data, wanted);
}

static void test_is_sorted_and_readable_by_all_and_written_when_it_differs(void **state)
{
    const struct sync_label labels[] = {{b, two}, {a, one}}, changed[] = {{a, none}};
    struct labelfile file = {.path = NULL};
    struct bed bed = make_bed();
    struct stat first, second;

    labelfile_write(&file, bed.path, labels, 2);
    assert_content(bed.path, "a/b=1\nb=2\n");
    assert_int_equal(stat(bed.path, &first), 0);
    assert_int_equal(first.st_mode & 0777, 0644);
    labelfile_write(&file, bed.path, labels, 2);
    assert_int_equal(stat(bed.path, &second), 0);
    assert_int_equal(first.st_ino, second.st_ino); /* not rewritten */
    labelfile_write(&file, bed.path, changed, 1);
    assert_content(bed.path, "a/b=\n");
    labelfile_end(&file, false);
    assert_int_equal(access(bed.path, F_OK), -1);
    assert_int_equal(rmdir(bed.folder), 0); /* nothing else is left behind */
}

static void test_another_place_takes_the_file_along(void **state)
{
    const struct sync_label labels[] = {{a, one}};
    struct labelfile file = {.path = NULL};
    struct bed bed = make_bed();
    char other[80];

    snprintf(other, sizeof(other), "%s/other", bed.folder);
    labelfile_write(&file, bed.path, labels, 1);
    labelfile_write(&file, other, labels, 1);
    assert_int_equal(access(bed.path, F_OK), -1);
    assert_content(other, "a/b=1\n");
    labelfile_write(&file, NULL, NULL, 0); /* the configuration has no file any more */
    assert_int_equal(access(other, F_OK), -1);
    labelfile_write(&file, other, labels, 1);
    labelfile_end(&file, true);
    assert_content(other, "a/b=1\n");
    unlink(other);
    assert_int_equal(rmdir(bed.folder), 0);
}

static void test_a_folder_that_comes_later_gets_the_file(void **state)
{
    const struct sync_label labels[] = {{a, one}};
    struct labelfile file = {.path = NULL};
    struct bed bed = make_bed();

    log_setup(LOG_ERROR, LOG_LOGFMT);
    rmdir(bed.folder);
    labelfile_write(&file, bed.path, labels, 1);
    assert_int_not_equal(file.failure.state, 0);
    mkdir(bed.folder, 0755);
    labelfile_write(&file, bed.path, labels, 1);
    assert_content(bed.path, "a/b=1\n");
    labelfile_end(&file, false);
    rmdir(bed.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_sorted_and_readable_by_all_and_written_when_it_differs),
        cmocka_unit_test(test_another_place_takes_the_file_along),
        cmocka_unit_test(test_a_folder_that_comes_later_gets_the_file),
    };

    return cmocka_run_group_tests_name("node/labelfile", tests, NULL, NULL);
}
