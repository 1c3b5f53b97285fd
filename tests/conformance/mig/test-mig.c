// SPDX-License-Identifier: Apache-2.0

/* GPUs are partitioned step by step through the helper, on simulated machines. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"
#include "gpu/helper.h"
#include "gpu/test-seen.h"
#include "simtool.h"

enum { DEADLINE_MS = 10000, STEP_MS = 60000, TRACE_MOST_BYTES = 1 << 20 };

static const char *library;
static char directory[] = "/tmp/gpuslice-mig-XXXXXX";
static struct seen seen;

/* The driver's tool, as far as a reset goes: GPU 0 is the only one that is reset here. */
static void play_nvidia_smi(void)
{
    char path[128], script[512], variable[256];

    snprintf(path, sizeof(path), "%s/nvidia-smi", directory);
    snprintf(script, sizeof(script),
             "#!/bin/sh\n[ \"$1 $2\" = '--gpu-reset -i' ] || exit 2\n"
             "exec '%s' mig reset 0 2>&1\n",
             getenv("GPUSLICE_TEST_SIM"));
    assert_int_equal(file_write_atomic(path, script, strlen(script), 0755, NULL), 0);
    snprintf(variable, sizeof(variable), "%s:/usr/bin:/bin", directory);
    setenv("PATH", variable, 1);
}

static void begin_with(const char *machine)
{
    static unsigned n;
    char state[96];

    snprintf(state, sizeof(state), "%s/state-%u", directory, n++);
    setenv("GPUSLICE_MACHINE", machine, 1);
    setenv("GPUSLICE_SIM_STATE", state, 1);
    seen_init(&seen);
    seen_start(&seen, library, DEADLINE_MS);
    WAIT_FOR(&seen, seen.n_inventories >= 1 && seen.inventory.n_gpus == 8);
}

static int begin_a100(void **state)
{
    (void)state;
    begin_with("p4d.24xlarge");
    return 0;
}

static int begin_h100(void **state)
{
    (void)state;
    begin_with("p5.48xlarge");
    return 0;
}

static char trace[128]; /* the driver's calls, each a line; "" = they are not written down */

static int begin_traced(void **state)
{
    snprintf(trace, sizeof(trace), "%s/trace", directory);
    setenv("GPUSLICE_SIM_TRACE", trace, 1);
    return begin_a100(state);
}

/* MIG is on on GPUs 0 and 1, and nothing is reported of GPU 0. */
static int begin_polled(void **state)
{
    begin_traced(state);
    SIM("mig", "on", "all");
    SIM("mig", "reset", "0");
    SIM("mig", "reset", "1");
    SIM("inject", "error", "nvmlDeviceGetSupportedEventTypes", "NOT_SUPPORTED", "0");
    seen_deinit(&seen); /* the next session finds it so */
    seen_init(&seen);
    seen_start(&seen, library, DEADLINE_MS);
    WAIT_FOR(&seen, seen.n_inventories >= 1 && seen.inventory.n_gpus == 8);
    assert_true(seen.inventory.gpus[0].mig_enabled && seen.inventory.gpus[1].mig_enabled);
    return 0;
}

static int end(void **state)
{
    (void)state;
    unsetenv("GPUSLICE_SIM_TRACE");
    seen_deinit(&seen);
    return 0;
}

static unsigned count_calls(const char *call)
{
    cleanup_free char *data = NULL;
    unsigned n = 0;
    char *rest, *line;
    size_t size;

    assert_int_equal(file_read(trace, TRACE_MOST_BYTES, &data, &size, NULL), 0);
    rest = data;
    while ((line = strsep(&rest, "\n")))
        n += str_equal(line, call);
    return n;
}

static struct gpu_changed answer;
static unsigned n_answers;

static void on_changed(const struct gpu_changed *changed, void *userdata)
{
    (void)userdata;
    answer = *changed;
    n_answers++;
}

/* On GPU 0; the inventory that shows what came of it is in when this returns. */
static int step(struct gpu_change change)
{
    const unsigned before = n_answers;

    snprintf(change.uuid, sizeof(change.uuid), "%s", seen.inventory.gpus[0].uuid);
    assert_int_equal(driver_change(seen.driver, &change, STEP_MS, on_changed, NULL), 0);
    WAIT_FOR(&seen, n_answers > before);
    return answer.outcome;
}

#define STEP(...) step((struct gpu_change){__VA_ARGS__})

static void switch_on_a100(void)
{
    assert_int_equal(STEP(.verb = GPU_SET_MIG_MODE, .enabled = true), GPU_RESET_PENDING);
    assert_int_equal(STEP(.verb = GPU_RESET), 0);
}

static const struct mig_layout *layout(void)
{
    return &seen.inventory.gpus[0].layout;
}

static const char *profile_of(const struct mig_instance *instance)
{
    return inventory_board(&seen.inventory, &seen.inventory.gpus[0])
        ->profiles[instance->profile]
        .name;
}

/* An Ampere GPU has the mode after a reset. */
static void a_mode_takes_a_reset(void **state)
{
    (void)state;
    assert_int_equal(STEP(.verb = GPU_SET_MIG_MODE, .enabled = true), GPU_RESET_PENDING);
    assert_non_null(strstr(answer.reason, "reset"));
    assert_false(seen.inventory.gpus[0].mig_enabled);
    assert_true(layout()->pending);
    assert_int_equal(STEP(.verb = GPU_RESET), 0);
    assert_string_equal(answer.reason, "");
    assert_true(seen.inventory.gpus[0].mig_enabled && layout()->enabled && layout()->pending);
    assert_false(seen.inventory.gpus[1].mig_enabled);
}

static void a_mode_is_live(void **state)
{
    (void)state;
    assert_int_equal(STEP(.verb = GPU_SET_MIG_MODE, .enabled = true), 0);
    assert_true(seen.inventory.gpus[0].mig_enabled);
    assert_int_equal(STEP(.verb = GPU_SET_MIG_MODE, .enabled = false), 0);
    assert_false(seen.inventory.gpus[0].mig_enabled);
}

static void instances_are_made_where_asked_and_destroyed(void **state)
{
    struct device_instance at;

    (void)state;
    switch_on_a100();
    assert_int_equal(STEP(.verb = GPU_CREATE_INSTANCE, .profile = 2, .start = 0), 0); /* 3g */
    at = answer.instance;
    assert_int_equal(layout()->n_instances, 1); /* without a MIG device yet */
    assert_int_equal(layout()->instances[0].id, at.gpu);
    assert_int_equal(layout()->instances[0].start, 0);
    assert_string_equal(profile_of(&layout()->instances[0]), "3g.20gb");
    assert_int_equal(seen.inventory.n_mig_devices, 0);
    assert_int_equal(
        STEP(.verb = GPU_CREATE_COMPUTE, .profile = 1, .start = DEVICE_NO_INSTANCE, .instance = at),
        0); /* 2c */
    assert_int_equal(answer.instance.gpu, at.gpu);
    at = answer.instance;
    assert_int_equal(seen.inventory.n_mig_devices, 1);
    assert_string_equal(seen.inventory.mig_devices[0].profile, "2c.3g.20gb");
    assert_int_equal(seen.inventory.mig_devices[0].instance.compute, at.compute);
    assert_int_equal(STEP(.verb = GPU_DESTROY_INSTANCE, .instance = at), GPU_IN_USE);
    assert_int_equal(STEP(.verb = GPU_DESTROY_COMPUTE, .instance = at), 0);
    assert_int_equal(seen.inventory.n_mig_devices, 0);
    assert_int_equal(STEP(.verb = GPU_DESTROY_INSTANCE, .instance = at), 0);
    assert_int_equal(layout()->n_instances, 0);
    assert_int_equal(STEP(.verb = GPU_DESTROY_INSTANCE, .instance = at), GPU_NO_INSTANCE);
}

/* Eight GPUs are not read again for each step on one of them, and no GPU's profiles are. What
 * others change meanwhile is seen all the same. */
static void a_step_is_looked_at_where_it_was_made(void **state)
{
    enum { ROUNDS = 8 };
    unsigned modes, placements;

    (void)state;
    switch_on_a100();
    SIM("mig", "on", "1");
    SIM("mig", "reset", "1");
    WAIT_FOR(&seen, seen.inventory.gpus[1].mig_enabled);
    modes = count_calls("nvmlDeviceGetMigMode");
    placements = count_calls("nvmlDeviceGetGpuInstancePossiblePlacements_v2");
    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(STEP(.verb = GPU_CREATE_INSTANCE, .profile = 2, .start = 0), 0);
        assert_int_equal(layout()->n_instances, 1);
        assert_int_equal(STEP(.verb = GPU_DESTROY_INSTANCE, .instance = answer.instance), 0);
        assert_int_equal(layout()->n_instances, 0);
    }
    assert_in_range(count_calls("nvmlDeviceGetMigMode") - modes, 2 * ROUNDS,
                    (2 * ROUNDS - 1) * seen.inventory.n_gpus);
    assert_int_equal(count_calls("nvmlDeviceGetGpuInstancePossiblePlacements_v2") - placements,
                     ROUNDS); /* where each instance is to lie */
    SIM("mig", "create", "0", "1g.5gb");
    SIM("mig", "create", "1", "3g.20gb");
    WAIT_FOR(&seen, seen.inventory.n_mig_devices == 2);
    assert_int_equal(seen.inventory.mig_devices[0].gpu, 0);
    assert_int_equal(seen.inventory.mig_devices[1].gpu, 1);
}

/* Where the driver reports no changes the GPU is asked, and no other. */
static void only_a_gpu_without_the_event_is_polled(void **state)
{
    unsigned modes, devices;

    (void)state;
    modes = count_calls("nvmlDeviceGetMigMode");
    devices = count_calls("nvmlDeviceGetMaxMigDeviceCount");
    SIM("mig", "create", "0", "1g.5gb");
    WAIT_FOR(&seen, seen.inventory.n_mig_devices == 1);
    SIM("mig", "destroy", "0");
    WAIT_FOR(&seen, seen.inventory.n_mig_devices == 0);
    modes = count_calls("nvmlDeviceGetMigMode") - modes;
    devices = count_calls("nvmlDeviceGetMaxMigDeviceCount") - devices;
    /* Of each GPU that is read, and of those with MIG on: all would be eight and two. */
    assert_in_range(modes, 2, devices + 1);
    SIM("mig", "create", "0", "1g.5gb");
    WAIT_FOR(&seen, seen.inventory.n_mig_devices == 1);
    SIM("mig", "create", "1", "3g.20gb"); /* which the driver does report */
    WAIT_FOR(&seen, seen.inventory.n_mig_devices == 2);
}

static void what_has_no_room_is_refused(void **state)
{
    (void)state;
    switch_on_a100();
    assert_int_equal(STEP(.verb = GPU_CREATE_INSTANCE, .profile = 4, .start = DEVICE_NO_INSTANCE),
                     0); /* 7g */
    assert_int_equal(STEP(.verb = GPU_CREATE_INSTANCE, .profile = 0, .start = DEVICE_NO_INSTANCE),
                     GPU_NO_ROOM);
    assert_int_equal(STEP(.verb = GPU_CREATE_INSTANCE, .profile = 0, .start = 7), -EINVAL);
    assert_non_null(strstr(answer.reason, "memory slice 7"));
    assert_int_equal(STEP(.verb = GPU_CREATE_INSTANCE, .profile = 5, .start = 0), GPU_UNSUPPORTED);
    assert_int_equal(layout()->n_instances, 1);
}

static void who_holds_a_device_is_named(void **state)
{
    struct device_instance at;
    char place[32];

    (void)state;
    switch_on_a100();
    SIM("mig", "create", "0", "3g.20gb", "3g.20gb");
    WAIT_FOR(&seen, seen.inventory.n_mig_devices == 2);
    at = seen.inventory.mig_devices[0].instance;
    snprintf(place, sizeof(place), "0:%u:%u", at.gpu, at.compute);
    SIM("inject", "process", "add", place, "4242", "512Mi", "train.py");
    assert_int_equal(STEP(.verb = GPU_DESTROY_COMPUTE, .instance = at), GPU_IN_USE);
    assert_int_equal(answer.n_holders, 1);
    assert_int_equal(answer.holders[0].pid, 4242);
    assert_string_equal(answer.holders[0].name, "train.py");
    assert_int_equal(answer.holders[0].instance.gpu, at.gpu);
    assert_int_equal(seen.inventory.n_mig_devices, 2);
    /* The other instance has no holder. */
    at = seen.inventory.mig_devices[1].instance;
    assert_int_equal(STEP(.verb = GPU_FIND_HOLDERS, .instance = at), 0);
    assert_int_equal(answer.n_holders, 0);
    assert_int_equal(STEP(.verb = GPU_DESTROY_COMPUTE, .instance = at), 0);
    /* A reset concerns all of them. */
    assert_int_equal(STEP(.verb = GPU_RESET, .instance = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE}),
                     GPU_IN_USE);
    assert_int_equal(answer.n_holders, 1);
    assert_int_equal(answer.holders[0].pid, 4242);
}

/* --- processes that only have nodes open --- */

enum { GI = 100, CI = 200 }; /* capabilities of GPU instance n and of its compute instance m */

static char proc[64];

/* The folder of these names, one in the other, in proc. */
static void make_folders(const char *first, const char *second)
{
    char path[128];

    (void)mkdir(proc, 0755);
    snprintf(path, sizeof(path), "%s/%s", proc, first);
    (void)mkdir(path, 0755);
    snprintf(path, sizeof(path), "%s/%s/%s", proc, first, second);
    assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
}

static void write_minors(void)
{
    cleanup_text struct text lines = TEXT_INIT;
    char path[128];

    for (unsigned gi = 0; gi < 15; gi++) {
        text_addf(&lines, "gpu0/gi%u/access %u\n", gi, GI + gi);
        for (unsigned ci = 0; ci < 8; ci++)
            text_addf(&lines, "gpu0/gi%u/ci%u/access %u\n", gi, ci, CI + 8 * gi + ci);
    }
    make_folders("driver", "nvidia-caps");
    snprintf(path, sizeof(path), "%s/driver/nvidia-caps/mig-minors", proc);
    assert_int_equal(
        file_write_atomic(path, text_string(&lines), strlen(text_string(&lines)), 0644, NULL), 0);
}

static void open_in(unsigned pid, const char *node, unsigned number)
{
    static unsigned fd = 3;
    char path[128], target[64], process[16];

    snprintf(process, sizeof(process), "%u", pid);
    make_folders(process, "fd");
    snprintf(path, sizeof(path), "%s/%u/fd/%u", proc, pid, fd++);
    snprintf(target, sizeof(target), "%s%u", node, number);
    assert_int_equal(symlink(target, path), 0);
}

/* As a process in a container with that MIG device does. */
static void open_as_user_of(unsigned pid, struct device_instance at)
{
    open_in(pid, "/dev/nvidia", 0);
    open_in(pid, "/dev/nvidia-caps/nvidia-cap", GI + at.gpu);
    open_in(pid, "/dev/nvidia-caps/nvidia-cap", CI + 8 * at.gpu + at.compute);
}

static int begin_with_proc(void **state)
{
    snprintf(proc, sizeof(proc), "%s/proc", directory);
    write_minors();
    setenv("GPUSLICE_PROC", proc, 1);
    return begin_a100(state);
}

static int end_with_proc(void **state)
{
    setenv("GPUSLICE_PROC", "/nonexistent", 1);
    return end(state);
}

static void assert_holders_of(struct device_instance at, size_t n, const unsigned *pids)
{
    assert_int_equal(STEP(.verb = GPU_FIND_HOLDERS, .instance = at), 0);
    assert_int_equal(answer.n_holders, n);
    for (size_t i = 0; i < n; i++) {
        bool found = false;

        for (size_t k = 0; k < n; k++)
            found |= answer.holders[k].pid == pids[i];
        assert_true(found);
    }
}

/* Every user of an instance opens the node of the GPU as well. */
static void a_process_holds_its_instances_alone(void **state)
{
    const struct device_instance whole = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE};
    struct device_instance at[3];
    char place[32];

    (void)state;
    switch_on_a100();
    SIM("mig", "create", "0", "1c.3g.20gb", "1c.3g.20gb", "2g.10gb");
    WAIT_FOR(&seen, seen.inventory.n_mig_devices == 3);
    for (size_t i = 0; i < ARRAY_SIZE(at); i++)
        at[i] = seen.inventory.mig_devices[i].instance;
    snprintf(place, sizeof(place), "0:%u:%u", at[0].gpu, at[0].compute);
    SIM("inject", "process", "add", place, "4242", "512Mi", "train.py");
    open_in(4242, "/dev/nvidia", 0); /* the driver lists it on its instance */
    open_as_user_of(4243, at[1]);
    open_as_user_of(4244, at[2]);
    open_as_user_of(4245, at[1]);
    open_as_user_of(4245, at[2]);
    assert_holders_of(at[0], 1, (unsigned[]){4242});
    assert_holders_of(at[1], 2, (unsigned[]){4243, 4245});
    assert_holders_of(at[2], 2, (unsigned[]){4244, 4245});
    assert_holders_of((struct device_instance){at[2].gpu, DEVICE_NO_INSTANCE}, 2,
                      (unsigned[]){4244, 4245});
    assert_holders_of(whole, 5, (unsigned[]){4242, 4243, 4244, 4245, 4245});
    for (size_t i = 0; i < answer.n_holders; i++)
        assert_int_not_equal(answer.holders[i].instance.gpu, DEVICE_NO_INSTANCE);
    open_in(4246, "/dev/nvidia", 0); /* a monitor */
    assert_holders_of(at[0], 2, (unsigned[]){4242, 4246});
}

/* What the agent has of the GPUs while the helper has none of them. */
static void a_gpu_that_is_not_there_is_an_answer(void **state)
{
    struct gpu_change change = {.uuid = "GPU-00000000-0000-0000-0000-000000000000"};
    const unsigned before = n_answers;

    (void)state;
    for (unsigned verb = 0; verb < GPU_VERBS; verb++) {
        const unsigned n = n_answers;

        change.verb = (enum gpu_verb)verb;
        if (verb == GPU_RESET)
            continue; /* the played tool knows GPU 0 alone */
        assert_int_equal(driver_change(seen.driver, &change, STEP_MS, on_changed, NULL), 0);
        WAIT_FOR(&seen, n_answers > n);
        assert_true(answer.outcome < 0);
        assert_string_not_equal(answer.reason, "");
    }
    assert_int_equal(n_answers - before, GPU_VERBS - 1);
}

/* A helper that dies with a step in hand: the agent knows that it does not know. */
static void a_killed_helper_has_an_unknown_outcome(void **state)
{
    (void)state;
    switch_on_a100();
    SIM("inject", "death", "0", "nvmlDeviceCreateGpuInstance", "1");
    assert_int_equal(STEP(.verb = GPU_CREATE_INSTANCE, .profile = 2, .start = DEVICE_NO_INSTANCE),
                     -ECANCELED);
    WAIT_FOR(&seen, seen.inventory.n_gpus == 8 && driver_pid(seen.driver) > 0);
}

int main(int argc, char *argv[])
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_mode_takes_a_reset, begin_a100, end),
        cmocka_unit_test_setup_teardown(a_mode_is_live, begin_h100, end),
        cmocka_unit_test_setup_teardown(instances_are_made_where_asked_and_destroyed, begin_a100,
                                        end),
        cmocka_unit_test_setup_teardown(a_step_is_looked_at_where_it_was_made, begin_traced, end),
        cmocka_unit_test_setup_teardown(only_a_gpu_without_the_event_is_polled, begin_polled, end),
        cmocka_unit_test_setup_teardown(what_has_no_room_is_refused, begin_a100, end),
        cmocka_unit_test_setup_teardown(who_holds_a_device_is_named, begin_a100, end),
        cmocka_unit_test_setup_teardown(a_process_holds_its_instances_alone, begin_with_proc,
                                        end_with_proc),
        cmocka_unit_test_setup_teardown(a_gpu_that_is_not_there_is_an_answer, begin_a100, end),
        cmocka_unit_test_setup_teardown(a_killed_helper_has_an_unknown_outcome, begin_a100, end),
    };
    int r;

    if (argc > 1 && strcmp(argv[1], HELPER_PART) == 0)
        return helper_main(argc, argv);
    library = getenv("GPUSLICE_TEST_LIBRARY");
    if (!library || !getenv("GPUSLICE_TEST_SIM") || !mkdtemp(directory))
        return 1;
    setenv("GPUSLICE_SYSFS", "/nonexistent", 1);
    setenv("GPUSLICE_PROC", "/nonexistent", 1);
    play_nvidia_smi();
    r = cmocka_run_group_tests_name("mig", tests, NULL, NULL);
    seen_remove_tree(directory);
    return r;
}
