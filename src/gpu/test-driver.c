// SPDX-License-Identifier: Apache-2.0
#include "gpu/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/text.h"
#include "gpu/helper.h"
#include "gpu/record.h"
#include "gpu/test-fake-nvml.h"
#include "gpu/test-seen.h"
#include "proc/blocking.h"

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

struct answer {
    unsigned n;
    int outcome;
    size_t n_items;
    uint32_t pid;
    uint64_t mem_free_bytes;
    char reason[256];
};

static void on_listed(const struct driver_listed *listed, void *userdata)
{
    struct answer *answer = userdata;

    answer->n++;
    answer->outcome = listed->outcome;
    answer->n_items = listed->n_items;
    answer->pid = listed->n_items ? listed->items[0].pid : 0;
    answer->mem_free_bytes = listed->mem_free_bytes;
    snprintf(answer->reason, sizeof(answer->reason), "%s", listed->reason);
}

static void lists_processes(void **state)
{
    struct seen *seen = *state;
    struct answer answer = {0};

    seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_probes >= FAKE_GPUS);
    assert_int_equal(driver_list_processes(seen->driver, uuids[1], TIMEOUT_MS, on_listed, &answer),
                     0);
    WAIT_FOR(seen, answer.n == 1);
    assert_int_equal(answer.outcome, 0);
    assert_int_equal(answer.n_items, 1);
    assert_int_equal(answer.pid, 4711);
    assert_true(answer.mem_free_bytes == 15982ull << 20);
    assert_int_equal(
        driver_list_processes(seen->driver, "GPU-none", TIMEOUT_MS, on_listed, &answer), 0);
    WAIT_FOR(seen, answer.n == 2);
    assert_int_equal(answer.outcome, -ENXIO);
    assert_string_equal(answer.reason, "the driver does not show it at present");
}

static void a_list_that_hangs_is_answered(void **state)
{
    struct seen *seen = *state;
    struct answer answer = {0};

    seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_probes >= FAKE_GPUS);
    set_hang("nvmlDeviceGetComputeRunningProcesses_v3");
    fake->hang_index = 1;
    assert_int_equal(driver_list_processes(seen->driver, uuids[1], TIMEOUT_MS, on_listed, &answer),
                     0);
    WAIT_FOR(seen, answer.n == 1);
    assert_int_equal(answer.outcome, -ECANCELED);
    assert_string_equal(seen->hung_call, "nvmlDeviceGetComputeRunningProcesses_v3");
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

/* A session without a GPU is not the last. */
static void waits_for_gpus(void **state)
{
    struct seen *seen = *state;

    fake->lists_none = 1;
    seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_inventories >= 1);
    assert_int_equal(seen->inventory.n_gpus, 0);
    fake->lists_none = 0;
    WAIT_FOR(seen, seen->inventory.n_gpus == FAKE_GPUS);
    assert_int_equal(seen->n_unavailable, 0);
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

/* As when a later one cannot be started. */
static void says_that_the_program_is_missing(void **state)
{
    struct seen *seen = *state;
    struct driver_options options = {.program = "/nonexistent/gpuslice-node"};

    assert_int_equal(driver_new(&seen->loop, &options, &seen_callbacks, seen, &seen->driver, NULL),
                     0);
    WAIT_FOR(seen, seen->n_unavailable >= 1);
    assert_non_null(strstr(seen->reason, "/nonexistent/gpuslice-node"));
}

static void send_record(struct blocking_channel *channel, enum record_type type,
                        const struct record *record)
{
    const struct proc_frame frame = {.type = PROC_FRAME_NOTICE,
                                     .kind = (uint16_t)type,
                                     .body = &record->inventory,
                                     .size = record_size(type)};

    (void)blocking_send(channel, &frame);
}

/* Two GPUs, and two MIG devices on the second; `fault` spoils the second's record. */
static void send_mig_inventory(struct blocking_channel *channel, const char *fault)
{
    struct record record = {.inventory = {.n_gpus = 2, .n_mig_devices = 2}};

    if (strcmp(fault, "one-more") == 0)
        record.inventory.n_mig_devices = 1;
    send_record(channel, RECORD_INVENTORY, &record);
    for (uint32_t i = 0; i < 2; i++) {
        record = (struct record){.gpu = {.position = i, .gpu = {.index = i}}};
        snprintf(record.gpu.gpu.uuid, GPU_UUID_SIZE, "%s", uuids[i]);
        send_record(channel, RECORD_GPU, &record);
        record = (struct record){.links = {.position = i}};
        if (i == 0 || strcmp(fault, "early") != 0)
            send_record(channel, RECORD_LINKS, &record);
    }
    for (uint32_t i = 0; i < 2; i++) {
        record = (struct record){
            .mig = {.position = i,
                    .device = {.kind = DEVICE_MIG, .gpu = 1, .mig_index = i, .instance = {9, i}}}};
        snprintf(record.mig.device.uuid, GPU_UUID_SIZE, "MIG-%u", i);
        if (i == 1 && strcmp(fault, "position") == 0)
            record.mig.position = 0;
        if (i == 1 && strcmp(fault, "gpu") == 0)
            record.mig.device.gpu = 2;
        if (i == 1 && strcmp(fault, "kind") == 0)
            record.mig.device.kind = DEVICE_WHOLE;
        send_record(channel, RECORD_MIG, &record);
    }
}

/* A misbehaving helper: an environment variable selects what it does. */
static int misbehave(const char *how)
{
    const struct gpu_event event = {.xid = 31};
    const struct proc_frame good = {
        .type = PROC_FRAME_NOTICE, .kind = RECORD_EVENT, .body = &event, .size = sizeof(event)};
    const struct proc_frame bad = {.type = PROC_FRAME_NOTICE, .kind = RECORD_GPU, .size = 0};
    struct blocking_channel channel;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    blocking_init(&channel, HELPER_CHANNEL, HELPER_MAX_BODY);
    if (blocking_hello(&channel, "mad") < 0)
        return 1;
    if (str_starts_with(how, "mig:")) {
        send_mig_inventory(&channel, how + strlen("mig:"));
        pause();
    }
    if (strcmp(how, "nonsense") == 0 && blocking_send(&channel, &bad) == 0)
        pause();
    while (blocking_send(&channel, &good) == 0)
        ;
    return 0;
}

/* Killed and never reaped, as if it sat in the kernel: it is given up all the same. */
static void gives_up_a_helper_that_talks_nonsense(void **state)
{
    struct seen *seen = *state;
    sigset_t children;

    setenv("MAD_HELPER", "nonsense", 1);
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_unavailable >= 1);
    assert_non_null(strstr(seen->reason, "hangs in the kernel"));
    unsetenv("MAD_HELPER");
    sigprocmask(SIG_UNBLOCK, &children, NULL);
    uv_run(&seen->loop, UV_RUN_NOWAIT);
    assert_int_equal(driver_pid(seen->driver), 0);
    assert_int_equal(seen->n_hangs, 0); /* no call did */
}

static void replaces_a_helper_that_talks_nonsense(void **state)
{
    struct seen *seen = *state;

    setenv("MAD_HELPER", "nonsense", 1);
    seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_unavailable >= 1);
    unsetenv("MAD_HELPER");
    assert_non_null(strstr(seen->reason, "invalid records"));
    WAIT_FOR(seen, seen->n_inventories >= 1);
}

static void takes_mig_devices(void **state)
{
    struct seen *seen = *state;
    const struct device *device;

    setenv("MAD_HELPER", "mig:", 1);
    seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_inventories >= 1);
    unsetenv("MAD_HELPER");
    assert_int_equal(seen->inventory.n_gpus, 2);
    assert_int_equal(seen->inventory.n_mig_devices, 2);
    device = inventory_find_mig(&seen->inventory, "MIG-1");
    assert_non_null(device);
    assert_int_equal(device->gpu, 1);
    assert_int_equal(device->instance.gpu, 9);
    assert_int_equal(device->instance.compute, 1);
}

static void refuses_mig_devices_that_make_no_sense(void **state)
{
    static const char *const faults[] = {"mig:early", "mig:position", "mig:gpu", "mig:kind"};
    struct seen *seen = *state;

    for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
        setenv("MAD_HELPER", faults[i], 1);
        seen_deinit(seen);
        memset(seen, 0, sizeof(*seen));
        seen_init(seen);
        seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
        WAIT_FOR(seen, seen->n_unavailable >= 1);
        assert_non_null(strstr(seen->reason, "invalid records"));
        assert_int_equal(seen->n_inventories, 0);
    }
    /* One more than it announced, behind a whole inventory: only its replacement tells another. */
    setenv("MAD_HELPER", "mig:one-more", 1);
    WAIT_FOR(seen, seen->n_inventories >= 2);
    assert_int_equal(seen->inventory.n_mig_devices, 1);
    unsetenv("MAD_HELPER");
}

static void count_tick(uv_timer_t *timer)
{
    (*(unsigned *)timer->data)++;
}

/* The kubelet is served by the same loop. */
static void is_not_starved_by_a_flood(void **state)
{
    struct seen *seen = *state;
    unsigned n_ticks = 0;
    uv_timer_t ticks;

    setenv("MAD_HELPER", "flood", 1);
    seen_start(seen, FAKE_LIBRARY, DEADLINE_MS);
    WAIT_FOR(seen, seen->n_events >= 1000);
    uv_timer_init(&seen->loop, &ticks);
    ticks.data = &n_ticks;
    uv_timer_start(&ticks, count_tick, 1, 1);
    WAIT_FOR(seen, n_ticks >= 100);
    unsetenv("MAD_HELPER");
    uv_close((uv_handle_t *)&ticks, NULL);
    uv_run(&seen->loop, UV_RUN_NOWAIT);
}

/* The device is still left alone when the replacement could not be started at once. */
static void remembers_whom_to_avoid_until_a_helper_runs(void **state)
{
    struct seen *seen = *state;
    struct driver_options options = {.library = FAKE_LIBRARY, .deadline_ms = DEADLINE_MS};
    char folder[] = "/tmp/gpuslice-driver-XXXXXX", program[64], self[PATH_MAX] = "";

    assert_non_null(mkdtemp(folder));
    assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    snprintf(program, sizeof(program), "%s/gpuslice-node", folder);
    assert_int_equal(symlink(self, program), 0);
    options.program = program;
    assert_int_equal(driver_new(&seen->loop, &options, &seen_callbacks, seen, &seen->driver, NULL),
                     0);
    WAIT_FOR(seen, seen->n_probes >= FAKE_GPUS);
    assert_int_equal(unlink(program), 0);
    set_hang("nvmlDeviceGetFieldValues");
    fake->hang_index = 1;
    driver_probe(seen->driver, uuids[1]);
    WAIT_FOR(seen, seen->n_hangs >= 1);
    WAIT_FOR(seen, seen->n_unavailable >= 1); /* it cannot be started */
    assert_int_equal(symlink(self, program), 0);
    WAIT_FOR(seen, seen->n_inventories >= 2);
    assert_string_not_equal(seen->inventory.gpus[1].unusable, "");
    assert_int_equal(seen->n_hangs, 1);
    seen_remove_tree(folder);
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
        cmocka_unit_test_setup_teardown(lists_processes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_list_that_hangs_is_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(survives_a_hang, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaves_a_stuck_helper_behind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(survives_a_hang_at_the_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(replaces_a_killed_helper, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sees_a_lost_gpu_return, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waits_for_the_driver, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waits_for_gpus, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_that_there_is_no_library, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_what_a_library_lacks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(serves_an_old_library, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bears_a_storm, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_that_the_program_is_missing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gives_up_a_helper_that_talks_nonsense, set_up, tear_down),
        cmocka_unit_test_setup_teardown(replaces_a_helper_that_talks_nonsense, set_up, tear_down),
        cmocka_unit_test_setup_teardown(takes_mig_devices, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_mig_devices_that_make_no_sense, set_up, tear_down),
        cmocka_unit_test_setup_teardown(is_not_starved_by_a_flood, set_up, tear_down),
        cmocka_unit_test_setup_teardown(remembers_whom_to_avoid_until_a_helper_runs, set_up,
                                        tear_down),
    };
    int r;

    if (argc > 1 && strcmp(argv[1], HELPER_PART) == 0)
        return getenv("MAD_HELPER") ? misbehave(getenv("MAD_HELPER")) : helper_main(argc, argv);
    make_fake();
    r = cmocka_run_group_tests_name("driver", tests, NULL, NULL);
    unlink(fake_path);
    return r;
}
