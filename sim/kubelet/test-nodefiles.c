// SPDX-License-Identifier: Apache-2.0

/* Whose a process is, as gpuslice-arbiter reads it. */

#include "nodefiles.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"

#define UID   "aaaaaaaa-0000-4000-8000-000000000001"
#define PLACE "0::/kubepods/besteffort/pod" UID "/"

enum { PID = 4711, ID_LENGTH = 64 };

static const struct nodefiles_container container = {
    .namespace_ = "demo", .pod = "pod-1", .pod_uid = UID, .name = "main", .pid = PID};

static char *read_file(const char *root, const char *name)
{
    char path[PATH_MAX], *text = NULL;
    size_t size;

    snprintf(path, sizeof(path), "%s/%s", root, name);
    return file_read(path, 4096, &text, &size, NULL) == 0 ? text : NULL;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

static void assert_link(const char *root, const char *name, const char *target)
{
    char path[PATH_MAX], found[PATH_MAX] = "";

    snprintf(path, sizeof(path), "%s/var/log/%s", root, name);
    assert_true(readlink(path, found, sizeof(found) - 1) > 0);
    assert_string_equal(found, target);
}

static void test_a_container_from_its_start_to_its_end(void **state)
{
    cleanup_free char *kernel = NULL, *first = NULL, *second = NULL;
    char root[] = "/tmp/gpuslice-node-XXXXXX", log[PATH_MAX], *id;
    struct error err = ERROR_INIT;

    assert_non_null(mkdtemp(root));
    assert_int_equal(nodefiles_make(root, "/kubelet/pods", &err), 0);
    kernel = read_file(root, "proc/2/comm");
    assert_string_equal(kernel, "kthreadd\n");
    assert_link(root, "pods", "/kubelet/pods");

    assert_int_equal(nodefiles_add(root, &container, &err), 0);
    first = read_file(root, "proc/4711/cgroup");
    assert_int_equal(strncmp(first, PLACE, strlen(PLACE)), 0);
    id = first + strlen(PLACE);
    assert_int_equal(strspn(id, "0123456789abcdef"), ID_LENGTH);
    snprintf(log, sizeof(log), "containers/pod-1_demo_main-%.*s.log", ID_LENGTH, id);
    assert_link(root, log, "/var/log/pods/demo_pod-1_" UID "/main/0.log");

    nodefiles_remove(root, PID);
    assert_null(read_file(root, "proc/4711/cgroup"));
    assert_int_equal(nodefiles_add(root, &container, &err), 0);
    second = read_file(root, "proc/4711/cgroup");
    assert_string_equal(first, second);
    assert_int_equal(nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void test_none_are_kept(void **state)
{
    assert_int_equal(nodefiles_make(NULL, "/kubelet/pods", NULL), 0);
    assert_int_equal(nodefiles_add(NULL, &container, NULL), 0);
    nodefiles_remove(NULL, PID);
}

static void test_a_folder_that_cannot_be_written(void **state)
{
    struct error err = ERROR_INIT;

    assert_int_equal(nodefiles_make("/dev/null", "/kubelet/pods", &err), -ENOTDIR);
    assert_int_not_equal(*error_text(&err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_container_from_its_start_to_its_end),
        cmocka_unit_test(test_none_are_kept),
        cmocka_unit_test(test_a_folder_that_cannot_be_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
