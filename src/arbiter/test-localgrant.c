// SPDX-License-Identifier: Apache-2.0
#include "arbiter/localgrant.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "arbiter/procfs.h"

static char folder[] = "/tmp/localgrant-XXXXXX";

static void format_path(char *path, size_t size, const char *name)
{
    snprintf(path, size, "%s/%s", folder, name);
}

static void write_file(const char *name, const char *text)
{
    char path[256];
    FILE *file;

    format_path(path, sizeof(path), name);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static void what_is_stored_is_loaded(void **state)
{
    struct localgrant grant = {.id = LOCALGRANT_ID,
                               .owner = 7,
                               .owner_start = UINT64_MAX,
                               .cgroup = "/user.slice/gpuslice-run-7",
                               .n_limits = 2},
                      loaded;

    (void)state;
    strcpy(grant.limits[0].uuid, "GPU-0");
    grant.limits[0].bytes = UINT64_C(4) << 30;
    strcpy(grant.limits[1].uuid, "MIG-1");
    grant.limits[1].bytes = 1;
    grant.limits[1].share_permille = 250;
    assert_int_equal(localgrant_store(folder, &grant, NULL), 0);
    assert_int_equal(localgrant_load(folder, LOCALGRANT_ID, &loaded, NULL), 0);
    assert_string_equal(loaded.id, LOCALGRANT_ID);
    assert_string_equal(loaded.cgroup, grant.cgroup);
    assert_int_equal(loaded.owner, 7);
    assert_true(loaded.owner_start == UINT64_MAX);
    assert_int_equal(loaded.n_limits, 2);
    assert_string_equal(loaded.limits[1].uuid, "MIG-1");
    assert_int_equal(loaded.limits[0].bytes, UINT64_C(4) << 30);
    assert_int_equal(loaded.limits[0].share_permille, 0);
    assert_int_equal(loaded.limits[1].share_permille, 250);

    grant = (struct localgrant){.id = LOCALGRANT_ID, .tree = 4711};
    assert_int_equal(localgrant_store(folder, &grant, NULL), 0);
    assert_int_equal(localgrant_load(folder, LOCALGRANT_ID, &loaded, NULL), 0);
    assert_int_equal(loaded.tree, 4711);
    assert_string_equal(loaded.cgroup, "");
}

static void damaged_files_are_refused(void **state)
{
    static const char *const limits[] = {"GPU-0\n",     "GPU-0 \n",
                                         "GPU-0 4Gi\n", "GPU-0 -1\n",
                                         "mode none\n", "GPU-0 99999999999999999999\n"};
    static const char *const members[] = {"",
                                          "tree\n",
                                          "tree 0\n",
                                          "tree x\n",
                                          "cgroup here\n",
                                          "owner 7 8\n",
                                          "tree 1\nowner 7\n",
                                          "tree 1\nowner 0 8\n"};
    struct localgrant loaded;

    (void)state;
    write_file(LOCALGRANT_FOLDER "/" LOCALGRANT_ID "/members", "tree 1\n");
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        write_file(LOCALGRANT_FOLDER "/" LOCALGRANT_ID "/limits", limits[i]);
        assert_int_equal(localgrant_load(folder, LOCALGRANT_ID, &loaded, NULL), -EBADMSG);
    }
    write_file(LOCALGRANT_FOLDER "/" LOCALGRANT_ID "/limits", "mode enforced\nGPU-0 5\n");
    assert_int_equal(localgrant_load(folder, LOCALGRANT_ID, &loaded, NULL), 0);
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        write_file(LOCALGRANT_FOLDER "/" LOCALGRANT_ID "/members", members[i]);
        assert_int_equal(localgrant_load(folder, LOCALGRANT_ID, &loaded, NULL), -EBADMSG);
    }
}

static bool has(const struct localgrant *grant, pid_t pid)
{
    struct localgrant_process process;

    assert_int_equal(localgrant_look(pid, &process), 0);
    return localgrant_has(grant, &process);
}

static void descendants_are_of_the_tree(void **state)
{
    const struct localgrant ours = {.tree = getpid()}, none = {.tree = 0x7ffffff0};
    struct localgrant_process process;
    const pid_t child = fork();

    (void)state;
    if (child == 0) {
        pause();
        _exit(0);
    }
    assert_true(has(&ours, getpid()));
    assert_true(has(&ours, child));
    assert_false(has(&ours, getppid()));
    assert_false(has(&none, child));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_true(localgrant_look(child, &process) < 0);
}

/* Of a command whose owner has ended, and whose number another process has now. */
static void a_number_of_an_owner_that_has_ended_is_none(void **state)
{
    struct localgrant grant = {.tree = getpid(), .owner = getpid()};

    (void)state;
    assert_int_equal(procfs_read_start("", getpid(), &grant.owner_start, NULL), 0);
    assert_true(has(&grant, getpid()));
    grant.owner_start--;
    assert_false(has(&grant, getpid()));
}

static void a_cgroup_beside_it_is_none_of_it(void **state)
{
    struct localgrant grant = {.cgroup = "/surely/not/this/one"};

    (void)state;
    assert_false(has(&grant, getpid()));
}

/* A process can name a command's cgroup below its own, and no other. */
static void a_cgroup_is_named_below_that_of_who_asks(void **state)
{
    static const char *const wrong[] = {"",
                                        ".",
                                        "..",
                                        "/",
                                        "kubepods.slice",
                                        "system.slice",
                                        "gpuslice-run-7/a",
                                        "gpuslice-run-7\nowner 7 8"};
    struct localgrant grant = {.cgroup = ""};
    struct error err = ERROR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(localgrant_set_cgroup(&grant, getpid(), wrong[i], &err), -EINVAL);
    if (localgrant_set_cgroup(&grant, getpid(), "gpuslice-run-7", &err) < 0)
        return; /* cgroups of version 1 alone */
    assert_int_equal(grant.cgroup[0], '/');
    assert_string_equal(strrchr(grant.cgroup, '/'), "/gpuslice-run-7");
    assert_false(has(&grant, getpid()));
    *strrchr(grant.cgroup, '/') = '\0';
    if (*grant.cgroup) /* else it is in the root */
        assert_true(has(&grant, getpid()));
}

static void what_is_removed_is_gone(void **state)
{
    const struct localgrant grant = {.id = LOCALGRANT_ID, .tree = 1};
    struct localgrant loaded;

    (void)state;
    assert_int_equal(localgrant_store(folder, &grant, NULL), 0);
    write_file(LOCALGRANT_FOLDER "/" LOCALGRANT_ID "/arbiter.sock", "");
    localgrant_remove(folder, LOCALGRANT_ID);
    assert_int_equal(localgrant_load(folder, LOCALGRANT_ID, &loaded, NULL), -ENOENT);
}

static void its_pod_is_none_of_kubernetes(void **state)
{
    char uid[PODCGROUP_UID_SIZE];

    (void)state;
    localgrant_format_uid(LOCALGRANT_ID, uid);
    assert_true(localgrant_is_uid(uid));
    assert_false(localgrant_is_uid("aaaaaaaa-0000-4000-8000-000000000001"));
}

static int remove_folders(void **state)
{
    char command[64];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_stored_is_loaded),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(descendants_are_of_the_tree),
        cmocka_unit_test(a_number_of_an_owner_that_has_ended_is_none),
        cmocka_unit_test(a_cgroup_beside_it_is_none_of_it),
        cmocka_unit_test(a_cgroup_is_named_below_that_of_who_asks),
        cmocka_unit_test(what_is_removed_is_gone),
        cmocka_unit_test(its_pod_is_none_of_kubernetes),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folders);
}
