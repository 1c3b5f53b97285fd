// SPDX-License-Identifier: Apache-2.0
#include "arbiter/reaper.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "arbiter/procfs.h"
#include "base/array.h"
#include "base/file.h"

#define UID   "00000001-0000-4000-8000-000000000000"
#define OTHER "00000002-0000-4000-8000-000000000000"
#define ID    "279f883734e4a78ea025dd9adaff94ffff3a843e4b6b2664eee495475543597b"

static void what_was_killed_may_end(void **state)
{
    struct violation violation = {.killed_ms = 0};

    (void)state;
    assert_true(reaper_is_ready(&violation, 31000));
    violation.killed_ms = 31000;
    assert_false(reaper_is_ready(&violation, 35999));
    assert_true(reaper_is_ready(&violation, 36000));
}

/* --- a process, with the files of a node as the kernel would show it --- */

static char root[64];
static pid_t child;

static void write_cgroup(const char *path)
{
    char file[160], text[300];

    snprintf(file, sizeof(file), "%s/proc/%d/cgroup", root, child);
    snprintf(text, sizeof(text), "0::%s\n", path);
    assert_int_equal(file_write_atomic(file, text, strlen(text), 0644, NULL), 0);
}

static int set_up(void **state)
{
    char path[160], target[64];

    (void)state;
    strcpy(root, "/tmp/gpuslice-reaper-XXXXXX");
    assert_non_null(mkdtemp(root));
    child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    snprintf(path, sizeof(path), "%s/proc/%d", root, child);
    assert_int_equal(file_make_directory(path, NULL), 0);
    snprintf(path, sizeof(path), "%s/proc/%d/stat", root, child);
    snprintf(target, sizeof(target), "/proc/%d/stat", child);
    assert_int_equal(symlink(target, path), 0);
    write_cgroup("/kubepods/burstable/pod" UID "/" ID);
    return 0;
}

static int tear_down(void **state)
{
    char path[160];

    (void)state;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/proc/%d/%s", root, child, i ? "stat" : "cgroup");
        unlink(path);
    }
    snprintf(path, sizeof(path), "%s/proc/%d", root, child);
    rmdir(path);
    snprintf(path, sizeof(path), "%s/proc", root);
    rmdir(path);
    rmdir(root);
    return 0;
}

static int try_to_kill(const char *uid, uint64_t began_ticks)
{
    struct audit_owner owner = {.container = ""};
    struct error err = ERROR_INIT;
    int r;

    snprintf(owner.pod_uid, sizeof(owner.pod_uid), "%s", uid);
    r = reaper_kill(root, (uint32_t)child, &owner, began_ticks, &err);
    if (r < 0)
        fail_msg("%s", error_text(&err));
    return r;
}

static bool lives(void)
{
    return waitpid(child, NULL, WNOHANG) == 0;
}

static void the_process_of_the_pod_is_killed(void **state)
{
    int status;

    (void)state;
    assert_int_equal(try_to_kill(UID, UINT64_MAX), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(try_to_kill(UID, UINT64_MAX), REAPER_GONE);
}

static void that_of_another_pod_is_not(void **state)
{
    static const char *const paths[] = {
        "/kubepods/burstable/pod" OTHER "/" ID,
        "/system.slice/dcgm.service",
        "/",
        /* a user who may make cgroups could have made this one */
        "/user.slice/mine/kubepods/burstable/pod" UID "/" ID,
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        write_cgroup(paths[i]);
        assert_int_equal(try_to_kill(UID, UINT64_MAX), REAPER_NOT_THEIRS);
        assert_true(lives());
    }
}

/* The driver was asked before this process was there: what it listed has ended. */
static void one_that_took_the_number_since_is_not(void **state)
{
    uint64_t started;

    (void)state;
    assert_int_equal(procfs_read_start("", (uint32_t)child, &started, NULL), 0);
    assert_true(started <= procfs_now());
    assert_int_equal(try_to_kill(UID, started), REAPER_GONE);
    assert_true(lives());
    assert_int_equal(try_to_kill(UID, started + 1), 0);
}

/* --- those of a violation --- */

static unsigned n_done;

static void count_done(const struct violation *violation, uint32_t pid, int outcome,
                       const char *reason, void *userdata)
{
    (void)violation, (void)pid, (void)reason, (void)userdata;
    assert_int_equal(outcome, REAPER_GONE);
    n_done++;
}

/* The largest process has just ended by itself: whether the rest is too much, the next audit tells.
 */
static void of_who_is_over_none_follows_one_that_is_gone(void **state)
{
    static struct gpu gpus[] = {{.uuid = "GPU-a"}};
    static const struct inventory machine = {.gpus = gpus, .n_gpus = 1};
    struct gpu_process processes[] = {
        {.pid = INT32_MAX, .mem_bytes = 3000, .instance = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE}},
        {.pid = (uint32_t)child,
         .mem_bytes = 10,
         .instance = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE}},
    };
    struct usage_gpu of_gpus[] = {{.list = {.items = processes, .n_items = 2}}};
    struct reading reading = {.usage = {of_gpus, 1}, .began_ticks = UINT64_MAX};
    cleanup_audit struct audit audit = AUDIT_INIT;
    const struct audit_owner owner = {.pod_uid = UID};
    struct audit_use use = {.owner = owner, .verdict = AUDIT_OVER};
    struct violation violation = {.verdict = AUDIT_OVER, .device = "GPU-a", .owner = owner};

    (void)state;
    assert_int_equal(audit_begin(&audit, &machine), 0);
    audit.uses = malloc(sizeof(use));
    assert_non_null(audit.uses);
    audit.uses[audit.n_uses++] = use;
    n_done = 0;
    reaper_act(root, &violation, &reading, &audit, 1, count_done, NULL);
    assert_int_equal(n_done, 1);
    assert_true(lives());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_killed_may_end),
        cmocka_unit_test_setup_teardown(the_process_of_the_pod_is_killed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(that_of_another_pod_is_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_took_the_number_since_is_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_who_is_over_none_follows_one_that_is_gone, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests_name("arbiter/reaper", tests, NULL, NULL);
}
