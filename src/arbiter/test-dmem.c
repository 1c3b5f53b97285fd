// SPDX-License-Identifier: Apache-2.0

/* Limits in the cgroups of containers, as the kernel would read them. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arbiter/dmem.h"
#include "base/array.h"
#include "base/file.h"
#include "grant/test-tempdir.h"

#define UID      "00000001-0000-4000-8000-000000000000"
#define UID_UNIT "00000001_0000_4000_8000_000000000000"
#define OTHER    "00000002-0000-4000-8000-000000000000"
#define ID       "279f883734e4a78ea025dd9adaff94ffff3a843e4b6b2664eee495475543597b"

enum { PID = 42 };

static const struct dmem_limit limits[] = {{"0000:17:00.0", UINT64_C(4) << 30},
                                           {"0000:ca:00.0", DMEM_UNLIMITED}};

static void write_file(const char *folder, const char *name, const char *content)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", tempdir, folder);
    assert_int_equal(file_make_directory(path, NULL), 0);
    strcat(strcat(path, "/"), name);
    assert_int_equal(file_write_atomic(path, content, strlen(content), 0644, NULL), 0);
}

/* A cgroup has both files from its beginning. */
static void make_cgroup(const char *path)
{
    char folder[PATH_MAX];

    snprintf(folder, sizeof(folder), "sys/fs/cgroup%s", path);
    write_file(folder, "cgroup.subtree_control", "");
    write_file(folder, "dmem.max", "");
}

static void assert_file(const char *path, const char *content)
{
    char file[PATH_MAX], *data;
    size_t size;

    snprintf(file, sizeof(file), "%s/sys/fs/cgroup%s", tempdir, path);
    assert_int_equal(file_read(file, 4096, &data, &size, NULL), 0);
    assert_string_equal(data, content);
    free(data);
}

static int set_up(void **state)
{
    const int r = tempdir_make(state);

    make_cgroup("");
    write_file("sys/fs/cgroup", "dmem.capacity",
               "drm/0000:03:00.0/vram0 8514437120\nnvidia/0000:17:00.0/vidmem 150754820096\n"
               "nvidia/0000:CA:00.0/vidmem 150754820096\nnvidia/0000:17:00.0/other 1\n");
    return r;
}

static int limit(const char *cgroup, struct error *err)
{
    char text[PATH_MAX];

    snprintf(text, sizeof(text), "0::%s\n", cgroup);
    write_file("proc/42", "cgroup", text);
    return dmem_limit(tempdir, PID, limits, ARRAY_SIZE(limits), err);
}

#define LINES "nvidia/0000:17:00.0/vidmem 4294967296\nnvidia/0000:CA:00.0/vidmem max\n"

/* By what the kubelet and systemd call cgroups, and from where the reader sees them. */
static void test_forms(void **state)
{
    static const struct {
        const char *above, *container, *shown_as;
    } rows[] = {
        {"/kubepods/burstable/pod" UID, "/" ID, "/kubepods/burstable/pod" UID "/" ID},
        {"/kubepods.slice/kubepods-pod" UID_UNIT ".slice", "/cri-containerd-" ID ".scope",
         "/../../kubepods-pod" UID_UNIT ".slice/cri-containerd-" ID ".scope/inner"},
        {"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
         "kubelet-kubepods-burstable-pod" UID_UNIT ".slice",
         "/crio-" ID ".scope",
         "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
         "kubelet-kubepods-burstable-pod" UID_UNIT ".slice/crio-" ID ".scope"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error err = ERROR_INIT;
        char path[PATH_MAX], name[PATH_MAX + 32];

        snprintf(path, sizeof(path), "%s%s", rows[i].above, rows[i].container);
        for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
            *at = '\0';
            make_cgroup(path);
            *at = '/';
        }
        make_cgroup(path);
        assert_int_equal(limit(rows[i].shown_as, &err), 0);
        snprintf(name, sizeof(name), "%s/dmem.max", path);
        assert_file(name, LINES);
        snprintf(name, sizeof(name), "%s/cgroup.subtree_control", path);
        assert_file(name, ""); /* the container's own affair */
        assert_file("/cgroup.subtree_control", "+dmem\n");
        snprintf(name, sizeof(name), "%s/cgroup.subtree_control", rows[i].above);
        assert_file(name, "+dmem\n");
        snprintf(name, sizeof(name), "%s/dmem.max", rows[i].above);
        assert_file(name, "");
        tempdir_remove(NULL);
        set_up(NULL);
    }
}

static void test_the_monitor_of_a_container_is_not_limited(void **state)
{
    struct error err = ERROR_INIT;

    (void)state;
    make_cgroup("/kubepods");
    make_cgroup("/kubepods/pod" UID);
    make_cgroup("/kubepods/pod" UID "/crio-conmon-" ID);
    make_cgroup("/kubepods/pod" OTHER);
    assert_int_equal(limit("/kubepods/pod" UID "/crio-" ID, &err), -ENOENT);
    assert_file("/kubepods/pod" UID "/crio-conmon-" ID "/dmem.max", "");
    make_cgroup("/kubepods/pod" UID "/crio-" ID);
    assert_int_equal(limit("/kubepods/pod" UID "/crio-" ID, &err), 0);
    assert_file("/kubepods/pod" UID "/crio-" ID "/dmem.max", LINES);
    assert_file("/kubepods/pod" UID "/crio-conmon-" ID "/dmem.max", "");
    assert_file("/kubepods/pod" OTHER "/cgroup.subtree_control", "");
}

static void test_without_such_a_kernel_or_driver(void **state)
{
    struct error err = ERROR_INIT;

    (void)state;
    make_cgroup("/kubepods");
    write_file("sys/fs/cgroup", "dmem.capacity", "drm/0000:17:00.0/vram0 8514437120\n");
    assert_int_equal(limit("/kubepods/pod" UID "/" ID, &err), DMEM_ABSENT);
    write_file("sys/fs/cgroup", "dmem.capacity", "");
    assert_int_equal(limit("/kubepods/pod" UID "/" ID, &err), DMEM_ABSENT);
    remove(tempdir_path("sys/fs/cgroup/dmem.capacity"));
    assert_int_equal(limit("/kubepods/pod" UID "/" ID, &err), DMEM_ABSENT);
    assert_file("/cgroup.subtree_control", "");
}

static void test_what_is_in_no_container(void **state)
{
    static const char *const cgroups[] = {"/", "/user.slice/session-1.scope",
                                          ("/kubepods/pod" UID)};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cgroups); i++) {
        struct error err = ERROR_INIT;

        assert_int_equal(limit(cgroups[i], &err), -ENOENT);
        assert_non_null(strstr(error_text(&err), "process 42 is in no container of a pod"));
    }
    assert_file("/cgroup.subtree_control", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_forms, set_up, tempdir_remove),
        cmocka_unit_test_setup_teardown(test_the_monitor_of_a_container_is_not_limited, set_up,
                                        tempdir_remove),
        cmocka_unit_test_setup_teardown(test_without_such_a_kernel_or_driver, set_up,
                                        tempdir_remove),
        cmocka_unit_test_setup_teardown(test_what_is_in_no_container, set_up, tempdir_remove),
    };

    return cmocka_run_group_tests_name("arbiter/dmem", tests, NULL, NULL);
}
