// SPDX-License-Identifier: Apache-2.0
#include "arbiter/podlog.h"

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
#include "base/file.h"
#include "base/text.h"

#define ID    "279f883734e4a78ea025dd9adaff94ffff3a843e4b6b2664eee495475543597b"
#define OTHER "acb62391578595ec849d87d8556369cee7f935f0425097fd5f870df0e8aabd3c"
#define UID   "06d44939-d15e-491f-84a3-2dbba9fc0440"
#define POD   "ml_train-0_" UID

static char root[] = "/tmp/podlog-XXXXXX";

static void make_folder(const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/var/log/%s", root, name);
    assert_int_equal(file_make_directory(path, NULL), 0);
}

static void make_link(const char *name, const char *target)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/var/log/containers/%s", root, name);
    assert_int_equal(symlink(target, path), 0);
}

static int set_up(void **state)
{
    assert_non_null(mkdtemp(root));
    make_folder("containers");
    make_folder("pods/" POD "/trainer");
    make_folder("pods/kube-system_etcd-a_7260904bbd08e72e4dff95d9fccd2ee8/etcd");
    return 0;
}

static int tear_down(void **state)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf %s", root);
    return system(command);
}

static struct podlog find(const char *uid, const char *id, int expected)
{
    struct podcgroup cgroup = {.pod_uid = ""};
    struct podlog log = {.pod = ""};
    struct error err = ERROR_INIT;

    assert_int_equal(str_copy(cgroup.pod_uid, sizeof(cgroup.pod_uid), uid), 0);
    assert_int_equal(str_copy(cgroup.container_id, sizeof(cgroup.container_id), id), 0);
    assert_int_equal(podlog_find(root, &cgroup, &log, &err), expected);
    return log;
}

static void test_pod_by_its_uid(void **state)
{
    struct podlog log = find(UID, "", 0);

    assert_string_equal(log.namespace_, "ml");
    assert_string_equal(log.pod, "train-0");
    assert_string_equal(log.container, "");
    log = find("7260904bbd08e72e4dff95d9fccd2ee8", OTHER, 0);
    assert_string_equal(log.pod, "etcd-a");
    find("dde1244b-5bb5-4297-b544-85f3bc0d80bf", "", PODLOG_UNKNOWN);
    find("", "", PODLOG_UNKNOWN);
}

/* The link's own name may be misleading or truncated; its target counts, below any root. */
static void test_container_by_its_id(void **state)
{
    struct podlog log;

    make_link("train-0_ml_trainer-" ID ".log", "/var/log/pods/" POD "/trainer/0.log");
    log = find(UID, ID, 0);
    assert_string_equal(log.container, "trainer");
    assert_string_equal(log.pod, "train-0");
    log = find("", ID, 0);
    assert_string_equal(log.pod_uid, UID);
    assert_string_equal(log.container, "trainer");
}

static void test_the_kernels_word_on_the_pod_stands(void **state)
{
    struct podlog log;

    log = find("7260904bbd08e72e4dff95d9fccd2ee8", ID, 0);
    assert_string_equal(log.pod, "etcd-a");
    assert_string_equal(log.container, "");
}

static void test_odd_links_are_no_names(void **state)
{
    static const char *const targets[] = {
        "0.log",
        "trainer/0.log",
        "/pods/" POD "/train\x1b[2J/0.log",
        "/pods/ml_train-0/trainer/0.log",
        "/pods/ml_train-0_a_b/trainer/0.log",
        "/pods/_train-0_" UID "/trainer/0.log",
        "/pods/\xff_train-0_" UID "/trainer/0.log",
        "/pods/ml_train-0_" UID UID "/trainer/0.log",
    };

    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        char path[512];

        make_link("odd-" OTHER ".log", targets[i]);
        find("", OTHER, PODLOG_UNKNOWN);
        snprintf(path, sizeof(path), "%s/var/log/containers/odd-%s.log", root, OTHER);
        assert_int_equal(unlink(path), 0);
    }
}

static void test_what_cannot_be_read_is_said(void **state)
{
    struct podcgroup cgroup = {.pod_uid = UID};
    struct error err = ERROR_INIT;
    struct podlog log;

    assert_int_equal(podlog_find("/dev/null", &cgroup, &log, &err), -ENOTDIR);
    assert_string_equal(error_text(&err), "cannot open /dev/null/var/log/pods: Not a directory");
    assert_int_equal(podlog_find("/nowhere", &cgroup, &log, &err), PODLOG_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pod_by_its_uid),
        cmocka_unit_test(test_container_by_its_id),
        cmocka_unit_test(test_the_kernels_word_on_the_pod_stands),
        cmocka_unit_test(test_odd_links_are_no_names),
        cmocka_unit_test(test_what_cannot_be_read_is_said),
    };

    return cmocka_run_group_tests_name("podlog", tests, set_up, tear_down);
}
