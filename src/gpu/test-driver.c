// SPDX-License-Identifier: Apache-2.0
#include "gpu/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "gpu/helper.h"
#include "gpu/test-fake-nvml.h"
#include "gpu/test-seen.h"

enum { DEADLINE_MS = 400 };

static const char *const uuids[FAKE_GPUS] = {
    "GPU-00000000-aaaa-bbbb-cccc-000000000000",
    "GPU-00000001-aaaa-bbbb-cccc-000000000000",
    "GPU-00000002-aaaa-bbbb-cccc-000000000000",
    "GPU-00000003-aaaa-bbbb-cccc-000000000000",
};

static struct fake *fake;
static char fake_path[64];

static void set_hang(const char *call)
{
    assert_int_equal(str_copy(fake->hang_call, sizeof(fake->hang_call), call), 0);
}

static int set_up(void **state)
{
    static struct seen seen;

    memset(fake, 0, sizeof(*fake));
    fake->hang_index = -1;
    seen_init(&seen);
    *state = &seen;
    return 0;
}

static int tear_down(void **state)
{
    seen_deinit(*state);
    return 0;
}

static void tells_the_machine(void **state)
{
    struct seen *seen = *state;
    const struct gpu *gpu;

    seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_inventories >= 1);
    assert_int_equal(seen->inventory.n_gpus, FAKE_GPUS);
    assert_string_equal(seen->inventory.driver_version, "550.163.01");
    assert_int_equal(seen->inventory.cuda_version, 12040);
    gpu = &seen->inventory.gpus[3];
    assert_string_equal(gpu->uuid, uuids[3]);
    assert_string_equal(gpu->pci_address, "0000:00:1e.0");
    assert_int_equal(gpu->mem_reserved_bytes, 400ULL << 20);
    assert_int_equal(inventory_link(&seen->inventory, 0, 1).n_nvlinks, 2);
    assert_int_equal(inventory_link(&seen->inventory, 2, 3).path, GPU_PATH_SINGLE_SWITCH);
    /* The first round tells of each device once. */
    WAIT_FOR(seen, seen->n_probes >= FAKE_GPUS);
    assert_int_equal(seen->outcome, 0);
    assert_int_equal(seen->probe.recovery, GPU_RECOVERY_NONE);
    assert_true(seen->probe.energy_millijoule ==
                UINT64_MAX); /* the fake driver does not count it */
}

static void delivers_events(void **state)
{
    struct seen *seen = *state;

    seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_inventories >= 1);
    fake->event_index = 2;
    fake->event_xid = 79;
    fake->event_turn++;
    WAIT_FOR(seen, seen->n_events >= 1);
    assert_string_equal(seen->event.uuid, uuids[2]);
    assert_int_equal(seen->event.xid, 79);
    assert_true(seen->event.gpu_instance == UINT32_MAX);
    /* An event that names no device concerns them all. */
    fake->event_index = FAKE_GPUS;
    fake->event_turn++;
    WAIT_FOR(seen, seen->n_events >= 2);
    assert_string_equal(seen->event.uuid, "");
}

static void answers_a_probe(void **state)
{
    struct seen *seen = *state;

    seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_probes >= FAKE_GPUS);
    fake->recovery[1] = 1;
    driver_probe(seen->driver, uuids[1]);
    WAIT_FOR(seen, seen->n_probes >= FAKE_GPUS + 1);
    assert_string_equal(seen->probed, uuids[1]);
    assert_int_equal(seen->probe.recovery, GPU_RECOVERY_RESET);
}

static void survives_a_hang(void **state)
{
    struct seen *seen = *state;
    uint64_t began_ms;
    int pid;

    seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_probes >= FAKE_GPUS);
    pid = driver_pid(seen->driver);
    set_hang("nvmlDeviceGetFieldValues");
    fake->hang_index = 1;
    began_ms = clock_now_ms();
    driver_probe(seen->driver, uuids[1]);
    WAIT_FOR(seen, seen->n_hangs >= 1);
    assert_true(clock_now_ms() - began_ms >= DEADLINE_MS);
    assert_true(clock_now_ms() - began_ms < DEADLINE_MS + 2000);
    assert_string_equal(seen->hung_call, "nvmlDeviceGetFieldValues");
    assert_string_equal(seen->hung_uuid, uuids[1]);
    /* Its replacement serves the others, and leaves the one that hangs alone. */
    WAIT_FOR(seen, seen->n_inventories >= 2);
    assert_int_not_equal(driver_pid(seen->driver), pid);
    assert_int_equal(seen->inventory.n_gpus, FAKE_GPUS);
    assert_string_equal(seen->inventory.gpus[0].unusable, "");
    assert_string_not_equal(seen->inventory.gpus[1].unusable, "");
    assert_string_equal(seen->inventory.gpus[1].uuid, uuids[1]);
    fake->event_index = 0;
    fake->event_turn++;
    WAIT_FOR(seen, seen->n_events >= 1);
    /* Not even when somebody asks for it. */
    driver_probe(seen->driver, uuids[1]);
    WAIT_FOR(seen, seen->outcome == -ENXIO);
    assert_string_equal(seen->probed, uuids[1]);
    assert_int_equal(seen->n_hangs, 1);
}

/* A helper that sits in the kernel looks like this: killed, and never reaped. */
static void leaves_a_stuck_helper_behind(void **state)
{
    struct seen *seen = *state;
    sigset_t children;

    seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_probes >= FAKE_GPUS);
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    set_hang("nvmlDeviceGetFieldValues");
    driver_probe(seen->driver, uuids[1]);
    WAIT_FOR(seen, seen->n_hangs >= 1);
    assert_false(seen->stuck);
    WAIT_FOR(seen, seen->n_hangs >= 2);
    assert_true(seen->stuck);
    assert_int_equal(driver_pid(seen->driver), 0);
    sigprocmask(SIG_UNBLOCK, &children, NULL);
    uv_run(&seen->loop, UV_RUN_NOWAIT);
}

static void survives_a_hang_at_the_start(void **state)
{
    struct seen *seen = *state;

    set_hang("nvmlDeviceGetHandleByIndex_v2");
    fake->hang_index = 2;
    seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_hangs >= 1);
    WAIT_FOR(seen, seen->n_inventories >= 1);
    assert_string_not_equal(seen->inventory.gpus[2].unusable, "");
    assert_string_equal(seen->inventory.gpus[2].uuid, "");
    assert_string_equal(seen->inventory.gpus[3].unusable, "");
}

static void replaces_a_killed_helper(void **state)
{
    struct seen *seen = *state;
    int pid;

    seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_inventories >= 1);
    pid = driver_pid(seen->driver);
    kill(pid, SIGKILL);
    WAIT_FOR(seen, seen->n_inventories >= 2);
    assert_int_not_equal(driver_pid(seen->driver), pid);
    assert_int_equal(seen->n_unavailable, 0);
    assert_int_equal(seen->n_hangs, 0);
}

/* A lost device is seen at once, the others stay watched, and it is seen when it comes back. */
static void sees_a_lost_gpu_return(void **state)
{
    struct seen *seen = *state;
    unsigned n;

    seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_probes >= FAKE_GPUS);
    fake->lost[3] = 1;
    WAIT_FOR(seen, seen->n_lost > 0);
    assert_string_equal(seen->lost_uuid, uuids[3]);
    WAIT_FOR(seen, seen->inventory.n_gpus && seen->inventory.gpus[3].unusable[0]);
    assert_non_null(strstr(seen->inventory.gpus[3].unusable, "fallen off the bus"));
    assert_string_equal(seen->inventory.gpus[3].uuid, uuids[3]);
    n = seen->n_events;
    fake->event_index = 0;
    fake->event_xid = 31;
    fake->event_turn++;
    WAIT_FOR(seen, seen->n_events > n);
    fake->lost[3] = 0;
    WAIT_FOR(seen, !seen->inventory.gpus[3].unusable[0]);
    assert_int_equal(seen->n_hangs, 0);
}

static void waits_for_the_driver(void **state)
{
    struct seen *seen = *state;

    fake->not_loaded = 1;
    seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_unavailable >= 1);
    assert_non_null(strstr(seen->reason, "not loaded"));
    fake->not_loaded = 0;
    WAIT_FOR(seen, seen->n_inventories >= 1);
    assert_int_equal(seen->n_unavailable, 1);
}

static void says_that_there_is_no_library(void **state)
{
    struct seen *seen = *state;

    seen_start(seen, "/nonexistent/libnvidia-ml.so.1", DEADLINE_MS);
    WAIT_FOR(seen, seen->n_unavailable >= 1);
    assert_non_null(strstr(seen->reason, "/nonexistent/libnvidia-ml.so.1"));
}

static void says_what_a_library_lacks(void **state)
{
    struct seen *seen = *state;

    seen_start(seen, FAKE_BROKEN_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_unavailable >= 1);
    assert_non_null(strstr(seen->reason, "nvmlDeviceGetUUID"));
}

static void serves_an_old_library(void **state)
{
    struct seen *seen = *state;

    seen_start(seen, FAKE_OLD_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_probes >= FAKE_GPUS);
    assert_int_equal(seen->n_unwatched, FAKE_GPUS);
    assert_int_equal(seen->probe.recovery, GPU_RECOVERY_UNKNOWN);
    assert_int_equal(seen->inventory.gpus[0].mem_total_bytes, 16384ULL << 20);
    assert_int_equal(seen->inventory.gpus[0].mem_reserved_bytes, 0);
    assert_false(seen->inventory.gpus[0].mig_capable);
    assert_int_equal(inventory_link(&seen->inventory, 0, 1).path, GPU_PATH_UNKNOWN);
}

/* Both threads at full speed; the interesting part is what a thread sanitizer says. */
static void bears_a_storm(void **state)
{
    struct seen *seen = *state;
    unsigned n;

    seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_probes >= FAKE_GPUS);
    n = seen->n_probes;
    fake->storm = 1;
    for (int i = 0; i < 100; i++) {
        driver_probe(seen->driver, uuids[i % FAKE_GPUS]);
        uv_run(&seen->loop, UV_RUN_NOWAIT);
    }
    WAIT_FOR(seen, seen->n_events >= 1000 && seen->n_probes >= n + 100);
    fake->storm = 0;
    assert_int_equal(seen->n_hangs, 0);
}

static void says_that_the_program_is_missing(void **state)
{
    struct seen *seen = *state;
    struct driver_options options = {.program = "/nonexistent/gpuslice-node"};
    struct error err = ERROR_INIT;

    assert_int_equal(driver_new(&seen->loop, &options, &seen_callbacks, seen, &seen->driver, &err),
                     -ENOENT);
    assert_non_null(strstr(error_text(&err), "/nonexistent/gpuslice-node"));
}

static void make_fake(void)
{
    int fd;

    snprintf(fake_path, sizeof(fake_path), "/tmp/gpuslice-fake-XXXXXX");
    fd = mkstemp(fake_path);
    if (fd < 0 || ftruncate(fd, sizeof(*fake)) < 0)
        abort();
    fake = mmap(NULL, sizeof(*fake), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    setenv("FAKE_NVML", fake_path, 1);
    setenv("GPUSLICE_SYSFS", "/nonexistent", 1);
}

int main(int argc, char *argv[])
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tells_the_machine, set_up, tear_down),
        cmocka_unit_test_setup_teardown(delivers_events, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_a_probe, set_up, tear_down),
        cmocka_unit_test_setup_teardown(survives_a_hang, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaves_a_stuck_helper_behind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(survives_a_hang_at_the_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(replaces_a_killed_helper, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sees_a_lost_gpu_return, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waits_for_the_driver, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_that_there_is_no_library, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_what_a_library_lacks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(serves_an_old_library, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bears_a_storm, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_that_the_program_is_missing, set_up, tear_down),
    };
    int r;

    if (argc > 1 && strcmp(argv[1], HELPER_PART) == 0)
        return helper_main(argc, argv);
    make_fake();
    r = cmocka_run_group_tests_name("driver", tests, NULL, NULL);
    unlink(fake_path);
    return r;
}
