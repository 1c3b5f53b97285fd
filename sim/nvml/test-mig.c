// SPDX-License-Identifier: Apache-2.0

/*
 * MIG on the simulated library, from the outside: what cannot be tried on a GPU that others use.
 * What it shares with a real one is in tests/conformance.
 */

#include <dlfcn.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "gpu/nvml-abi.h"

static struct {
#define NVML_CALL(name, arguments) nvmlReturn_t(*name) arguments;
#include "gpu/nvml-calls.def"
} nvml;

static char state_file_path[64], machine_path[64];

static int open_library(void **state)
{
    void *library = dlopen(getenv("GPUSLICE_TEST_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
    const char *machines = getenv("GPUSLICE_TEST_MACHINES");

    if (!library)
        return -1;
#define NVML_CALL(name, arguments) nvml.name = (nvmlReturn_t(*) arguments)dlsym(library, #name);
#include "gpu/nvml-calls.def"
    snprintf(state_file_path, sizeof(state_file_path), "/tmp/test-sim-mig-%d", (int)getpid());
    snprintf(machine_path, sizeof(machine_path), "/tmp/test-sim-mig-%d.yaml", (int)getpid());
    setenv("GPUSLICE_SIM_STATE", state_file_path, 1);
    return machines ? setenv("GPUSLICE_MACHINE_PATH", machines, 1) : -1;
}

static int start(const char *machine)
{
    unlink(state_file_path);
    setenv("GPUSLICE_MACHINE", machine, 1);
    return nvml.nvmlInit_v2() == NVML_SUCCESS ? 0 : -1;
}

/* An A100 switches by a reset, an H200 at once. */
static int init_a100(void **state)
{
    return start("2xA100-SXM4-40GB");
}

static int init_h200(void **state)
{
    return start("2xH200");
}

static int shut_down(void **state)
{
    while (nvml.nvmlShutdown() == NVML_SUCCESS)
        ;
    unlink(state_file_path);
    unlink(machine_path);
    return 0;
}

/* As another process, which a person runs. */
static pid_t sim_start(const char *const *words)
{
    const char *tool = getenv("GPUSLICE_TEST_SIM");
    const char *argv[12] = {tool ? tool : ""};
    pid_t pid;
    int n = 1;

    while (*words)
        argv[n++] = *words++;
    assert_int_equal(posix_spawn(&pid, argv[0], NULL, NULL, (char **)(uintptr_t)argv, environ), 0);
    return pid;
}

/* Its status. */
static int sim(const char *const *words)
{
    const pid_t pid = sim_start(words);
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define SIM(...) assert_int_equal(sim((const char *const[]){__VA_ARGS__, NULL}), 0)

#define GIVES(status, call) assert_int_equal((call), (status))
#define SUCCEEDS(call)      GIVES(NVML_SUCCESS, call)

static nvmlDevice_t device(unsigned index)
{
    nvmlDevice_t handle = NULL;

    SUCCEEDS(nvml.nvmlDeviceGetHandleByIndex_v2(index, &handle));
    return handle;
}

static void assert_mode(unsigned gpu, unsigned wanted_current, unsigned wanted_pending)
{
    unsigned current = 9, pending = 9;

    SUCCEEDS(nvml.nvmlDeviceGetMigMode(device(gpu), &current, &pending));
    assert_int_equal(current, wanted_current);
    assert_int_equal(pending, wanted_pending);
}

static unsigned profile_id(unsigned gpu, unsigned index)
{
    nvmlGpuInstanceProfileInfo_t info = {.id = 99};

    SUCCEEDS(nvml.nvmlDeviceGetGpuInstanceProfileInfo(device(gpu), index, &info));
    return info.id;
}

/* A GPU instance of that profile of NVML, and the compute instance that fills it. */
static nvmlGpuInstance_t create(unsigned gpu, unsigned index, nvmlComputeInstance_t *ret_compute)
{
    nvmlGpuInstance_t instance = NULL;
    nvmlComputeInstanceProfileInfo_t info;
    nvmlComputeInstance_t compute = NULL;

    SUCCEEDS(nvml.nvmlDeviceCreateGpuInstance(device(gpu), profile_id(gpu, index), &instance));
    for (unsigned i = NVML_COMPUTE_INSTANCE_PROFILE_COUNT; i-- > 0 && !compute;)
        if (nvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(instance, i, 0, &info) ==
            NVML_SUCCESS)
            SUCCEEDS(nvml.nvmlGpuInstanceCreateComputeInstance(instance, info.id, &compute));
    assert_non_null(compute);
    if (ret_compute)
        *ret_compute = compute;
    return instance;
}

static void enable(unsigned gpu)
{
    nvmlReturn_t activation = NVML_ERROR_UNKNOWN;
    char word[16];

    SUCCEEDS(nvml.nvmlDeviceSetMigMode(device(gpu), NVML_DEVICE_MIG_ENABLE, &activation));
    snprintf(word, sizeof(word), "%u", gpu);
    if (activation == NVML_ERROR_RESET_REQUIRED)
        SIM("mig", "reset", word);
    assert_mode(gpu, 1, 1);
}

static void an_a100_needs_a_reset(void **state)
{
    nvmlReturn_t activation = NVML_ERROR_UNKNOWN;
    nvmlGpuInstance_t instance;

    SUCCEEDS(nvml.nvmlDeviceSetMigMode(device(0), 1, &activation));
    assert_int_equal(activation, NVML_ERROR_RESET_REQUIRED);
    assert_mode(0, 0, 1);
    assert_mode(1, 0, 0);
    GIVES(NVML_ERROR_NOT_SUPPORTED, nvml.nvmlDeviceCreateGpuInstance(device(0), 19, &instance));
    SIM("mig", "reset", "0");
    assert_mode(0, 1, 1);
    SUCCEEDS(nvml.nvmlDeviceCreateGpuInstance(device(0), 19, &instance));

    /* And back; the reset takes the instances with it. */
    SUCCEEDS(nvml.nvmlGpuInstanceDestroy(instance));
    SUCCEEDS(nvml.nvmlDeviceSetMigMode(device(0), 0, &activation));
    assert_mode(0, 1, 0);
    SUCCEEDS(nvml.nvmlDeviceSetMigMode(device(0), 1, &activation)); /* a change of mind */
    assert_int_equal(activation, NVML_SUCCESS);
    assert_mode(0, 1, 1);
    GIVES(NVML_ERROR_INVALID_ARGUMENT, nvml.nvmlDeviceSetMigMode(device(0), 2, &activation));
    GIVES(NVML_ERROR_INVALID_ARGUMENT, nvml.nvmlDeviceSetMigMode(device(0), 1, NULL));
}

static void an_h200_switches_at_once(void **state)
{
    nvmlReturn_t activation = NVML_ERROR_UNKNOWN;
    nvmlComputeInstance_t compute;
    nvmlGpuInstance_t instance;

    SUCCEEDS(nvml.nvmlDeviceSetMigMode(device(0), 1, &activation));
    assert_int_equal(activation, NVML_SUCCESS);
    assert_mode(0, 1, 1);
    instance = create(0, NVML_GPU_INSTANCE_PROFILE_3_SLICE, &compute);
    SUCCEEDS(nvml.nvmlDeviceSetMigMode(device(0), 0, &activation));
    assert_int_equal(activation, NVML_ERROR_IN_USE); /* by its instance */
    assert_mode(0, 1, 0);
    SUCCEEDS(nvml.nvmlComputeInstanceDestroy(compute));
    SUCCEEDS(nvml.nvmlGpuInstanceDestroy(instance));
    SUCCEEDS(nvml.nvmlDeviceSetMigMode(device(0), 0, &activation));
    assert_int_equal(activation, NVML_SUCCESS);
    assert_mode(0, 0, 0);
}

static void a_holder_is_in_the_way(void **state)
{
    nvmlReturn_t activation = NVML_ERROR_UNKNOWN;
    nvmlProcessInfo_t infos[4];
    unsigned n = 4;

    SIM("inject", "process", "add", "0", "77", "0", "dcgm", "client");
    SUCCEEDS(nvml.nvmlDeviceGetComputeRunningProcesses_v3(device(0), &n, infos));
    assert_int_equal(n, 0); /* it computes nothing */
    SUCCEEDS(nvml.nvmlDeviceSetMigMode(device(0), 1, &activation));
    assert_int_equal(activation, NVML_ERROR_IN_USE);
    assert_mode(0, 0, 1);
    SIM("inject", "process", "remove", "0", "77");
    SUCCEEDS(nvml.nvmlDeviceSetMigMode(device(0), 1, &activation));
    assert_int_equal(activation, NVML_SUCCESS);
    assert_mode(0, 1, 1);
}

static void a_process_on_the_whole_gpu_holds_its_instances(void **state)
{
    nvmlComputeInstance_t compute;
    nvmlGpuInstance_t instance;

    enable(0);
    instance = create(0, NVML_GPU_INSTANCE_PROFILE_1_SLICE, &compute);
    SIM("inject", "process", "add", "0", "77", "512Mi");
    GIVES(NVML_ERROR_IN_USE, nvml.nvmlComputeInstanceDestroy(compute));
    SIM("inject", "process", "remove", "0", "77");
    SIM("inject", "process", "add", "0", "78", "0", "dcgm", "client"); /* it only looks */
    SUCCEEDS(nvml.nvmlComputeInstanceDestroy(compute));
    SIM("inject", "process", "add", "0", "77", "512Mi");
    GIVES(NVML_ERROR_IN_USE, nvml.nvmlGpuInstanceDestroy(instance));
    SIM("inject", "process", "remove", "0", "77");
    SUCCEEDS(nvml.nvmlGpuInstanceDestroy(instance));
}

static void a_reset_is_refused_when_told_to(void **state)
{
    nvmlReturn_t activation;

    SUCCEEDS(nvml.nvmlDeviceSetMigMode(device(0), 1, &activation));
    SIM("inject", "reset-refused", "0", "on");
    assert_int_equal(sim((const char *const[]){"mig", "reset", "0", NULL}), 1);
    assert_mode(0, 0, 1);
    SIM("inject", "reset-refused", "0", "off");
    SIM("inject", "process", "add", "0", "77", "1Mi");
    assert_int_equal(sim((const char *const[]){"mig", "reset", "0", NULL}), 1);
    assert_mode(0, 0, 1);
    SIM("inject", "process", "remove", "0", "77");
    SIM("mig", "reset", "0");
    assert_mode(0, 1, 1);
}

/* NVIDIA/mig-parted tries a second one in the same GPU instance, and relies on the refusal. */
static void a_full_gpu_instance_has_no_room(void **state)
{
    nvmlComputeInstance_t compute, again;
    nvmlGpuInstance_t instance;
    nvmlComputeInstanceProfileInfo_t info;
    unsigned n = 9;

    enable(0);
    instance = create(0, NVML_GPU_INSTANCE_PROFILE_1_SLICE, &compute);
    SUCCEEDS(nvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(instance, 0, 0, &info));
    GIVES(NVML_ERROR_INSUFFICIENT_RESOURCES,
          nvml.nvmlGpuInstanceCreateComputeInstance(instance, info.id, &again));
    SUCCEEDS(nvml.nvmlGpuInstanceGetComputeInstanceRemainingCapacity(instance, info.id, &n));
    assert_int_equal(n, 0);
    GIVES(NVML_ERROR_IN_USE, nvml.nvmlGpuInstanceDestroy(instance));
    SUCCEEDS(nvml.nvmlComputeInstanceDestroy(compute));
    GIVES(NVML_ERROR_INVALID_ARGUMENT, nvml.nvmlComputeInstanceDestroy(compute));
    SUCCEEDS(nvml.nvmlGpuInstanceGetComputeInstanceRemainingCapacity(instance, info.id, &n));
    assert_int_equal(n, 1);
    SUCCEEDS(nvml.nvmlGpuInstanceDestroy(instance));
    GIVES(NVML_ERROR_INVALID_ARGUMENT, nvml.nvmlGpuInstanceDestroy(instance));
}

/* go-nvml makes a slice of so many and takes the address of its first. */
static void every_profile_has_a_count(void **state)
{
    unsigned n_profiles = 0;

    for (unsigned i = 0; i < NVML_GPU_INSTANCE_PROFILE_COUNT; i++) {
        nvmlGpuInstanceProfileInfo_t info;
        nvmlReturn_t r = nvml.nvmlDeviceGetGpuInstanceProfileInfo(device(0), i, &info);

        if (r == NVML_SUCCESS) {
            n_profiles++;
            assert_true(info.instanceCount >= 1 && info.memorySizeMB > 0);
        } else {
            assert_true(r == NVML_ERROR_NOT_SUPPORTED || r == NVML_ERROR_INVALID_ARGUMENT);
        }
    }
    assert_int_equal(n_profiles, 7);
}

static void a_full_gpu_has_no_room(void **state)
{
    nvmlGpuInstance_t instance;
    unsigned n = 9, count = 0;
    nvmlGpuInstance_t list[7];

    enable(0);
    for (unsigned i = 0; i < 7; i++) {
        SUCCEEDS(nvml.nvmlDeviceGetGpuInstanceRemainingCapacity(device(0), 19, &n));
        assert_int_equal(n, 7 - i);
        create(0, NVML_GPU_INSTANCE_PROFILE_1_SLICE, NULL);
    }
    GIVES(NVML_ERROR_INSUFFICIENT_RESOURCES,
          nvml.nvmlDeviceCreateGpuInstance(device(0), 19, &instance));
    GIVES(NVML_ERROR_INSUFFICIENT_RESOURCES,
          nvml.nvmlDeviceCreateGpuInstance(device(0), 9, &instance));
    SUCCEEDS(nvml.nvmlDeviceGetGpuInstances(device(0), 19, list, &count));
    assert_int_equal(count, 7);
    SUCCEEDS(nvml.nvmlDeviceGetGpuInstances(device(0), 9, list, &count));
    assert_int_equal(count, 0);
    for (unsigned i = 0; i < 7; i++) {
        nvmlGpuInstanceInfo_t info;

        SUCCEEDS(nvml.nvmlDeviceGetGpuInstanceById(device(0), 7 + i, &instance));
        SUCCEEDS(nvml.nvmlGpuInstanceGetInfo(instance, &info));
        assert_int_equal(info.id, 7 + i);
        assert_int_equal(info.profileId, 19);
        assert_int_equal(info.placement.start, i);
        assert_int_equal(info.placement.size, 1);
        assert_ptr_equal(info.device, device(0));
    }
    GIVES(NVML_ERROR_NOT_FOUND, nvml.nvmlDeviceGetGpuInstanceById(device(0), 1, &instance));
    GIVES(NVML_ERROR_NOT_FOUND, nvml.nvmlDeviceGetGpuInstanceById(device(1), 7, &instance));
}

static void lies_where_it_is_put(void **state)
{
    nvmlGpuInstancePlacement_t at_0 = {0, 4}, at_2 = {2, 4}, small = {0, 3};
    nvmlComputeInstancePlacement_t ci_at_2 = {2, 1};
    nvmlComputeInstanceInfo_t info;
    nvmlComputeInstance_t compute;
    nvmlGpuInstance_t instance, other;

    enable(0);
    GIVES(NVML_ERROR_INVALID_ARGUMENT,
          nvml.nvmlDeviceCreateGpuInstanceWithPlacement(device(0), 9, &at_2, &instance));
    GIVES(NVML_ERROR_INVALID_ARGUMENT,
          nvml.nvmlDeviceCreateGpuInstanceWithPlacement(device(0), 9, &small, &instance));
    SUCCEEDS(nvml.nvmlDeviceCreateGpuInstanceWithPlacement(device(0), 9, &at_0, &instance));
    GIVES(NVML_ERROR_INSUFFICIENT_RESOURCES,
          nvml.nvmlDeviceCreateGpuInstanceWithPlacement(device(0), 9, &at_0, &other));
    SUCCEEDS(
        nvml.nvmlGpuInstanceCreateComputeInstanceWithPlacement(instance, 0, &ci_at_2, &compute));
    SUCCEEDS(nvml.nvmlComputeInstanceGetInfo_v2(compute, &info));
    assert_int_equal(info.placement.start, 2);
    assert_int_equal(info.id, 0);
    assert_ptr_equal(info.gpuInstance, instance);
    SUCCEEDS(nvml.nvmlGpuInstanceCreateComputeInstance(instance, 1, &compute));
    SUCCEEDS(nvml.nvmlComputeInstanceGetInfo_v2(compute, &info));
    assert_int_equal(info.placement.start, 0);
    assert_int_equal(info.placement.size, 2);
    assert_int_equal(info.id, 1);
}

/* Callers of the first version have memory for no more than comes before the placement. */
static void tells_as_much_as_its_version_has(void **state)
{
    nvmlComputeInstanceInfo_t info = {.placement = {77, 78}}, newer;
    nvmlComputeInstance_t compute;
    nvmlGpuInstance_t instance;

    enable(0);
    SUCCEEDS(nvml.nvmlDeviceCreateGpuInstance(device(0), 9, &instance));
    SUCCEEDS(nvml.nvmlGpuInstanceCreateComputeInstance(instance, 1, &compute));
    SUCCEEDS(nvml.nvmlComputeInstanceGetInfo(compute, &info));
    SUCCEEDS(nvml.nvmlComputeInstanceGetInfo_v2(compute, &newer));
    assert_ptr_equal(info.device, device(0));
    assert_ptr_equal(info.gpuInstance, instance);
    assert_int_equal(info.id, newer.id);
    assert_int_equal(info.profileId, newer.profileId);
    assert_int_equal(info.placement.start, 77);
    assert_int_equal(info.placement.size, 78);
    GIVES(NVML_ERROR_INVALID_ARGUMENT, nvml.nvmlComputeInstanceGetInfo(compute, NULL));
    GIVES(NVML_ERROR_INVALID_ARGUMENT, nvml.nvmlComputeInstanceGetInfo(NULL, &info));
}

static void assert_text(const char *wanted,
                        nvmlReturn_t (*call)(nvmlDevice_t device, char *text, unsigned length),
                        nvmlDevice_t d)
{
    char text[128];

    SUCCEEDS(call(d, text, sizeof(text)));
    assert_string_equal(text, wanted);
}

static void a_mig_device_is_a_device(void **state)
{
    nvmlDeviceAttributes_t attributes;
    nvmlDevice_t mig = NULL, same = NULL;
    char uuid[96], gpu_uuid[96];
    unsigned id = 99, is_mig = 9;
    nvmlUtilization_t load;
    nvmlMemory_t memory;

    enable(0);
    GIVES(NVML_ERROR_NOT_FOUND, nvml.nvmlDeviceGetMigDeviceHandleByIndex(device(0), 0, &mig));
    SUCCEEDS(nvml.nvmlDeviceGetMaxMigDeviceCount(device(0), &id));
    assert_int_equal(id, 7);
    SUCCEEDS(nvml.nvmlDeviceGetMaxMigDeviceCount(device(1), &id));
    assert_int_equal(id, 0);
    create(0, NVML_GPU_INSTANCE_PROFILE_3_SLICE, NULL);
    SUCCEEDS(nvml.nvmlDeviceGetMigDeviceHandleByIndex(device(0), 0, &mig));

    SUCCEEDS(nvml.nvmlDeviceIsMigDeviceHandle(mig, &is_mig));
    assert_int_equal(is_mig, 1);
    SUCCEEDS(nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(mig, &same));
    assert_ptr_equal(same, device(0));
    SUCCEEDS(nvml.nvmlDeviceGetGpuInstanceId(mig, &id));
    assert_int_equal(id, 2);
    SUCCEEDS(nvml.nvmlDeviceGetComputeInstanceId(mig, &id));
    assert_int_equal(id, 0);
    SUCCEEDS(nvml.nvmlDeviceGetIndex(mig, &id));
    assert_int_equal(id, 0);
    assert_text("NVIDIA A100-SXM4-40GB MIG 3g.20gb", nvml.nvmlDeviceGetName, mig);
    SUCCEEDS(nvml.nvmlDeviceGetAttributes_v2(mig, &attributes));
    assert_int_equal(attributes.multiprocessorCount, 42);
    assert_int_equal(attributes.gpuInstanceSliceCount, 3);
    assert_int_equal(attributes.computeInstanceSliceCount, 3);
    assert_int_equal(attributes.memorySizeMB, 19968);
    assert_int_equal(attributes.sharedDecoderCount, 2);
    SUCCEEDS(nvml.nvmlDeviceGetMemoryInfo(mig, &memory));
    assert_int_equal(memory.total >> 20, 19968);

    SUCCEEDS(nvml.nvmlDeviceGetUUID(mig, uuid, sizeof(uuid)));
    SUCCEEDS(nvml.nvmlDeviceGetUUID(device(0), gpu_uuid, sizeof(gpu_uuid)));
    assert_int_equal(strlen(uuid), strlen(gpu_uuid));
    assert_memory_equal(uuid, "MIG-", 4);
    SUCCEEDS(nvml.nvmlDeviceGetHandleByUUID(uuid, &same));
    assert_ptr_equal(same, mig);

    /* What only a whole GPU has, and what it has not while it is partitioned. */
    GIVES(NVML_ERROR_NOT_SUPPORTED, nvml.nvmlDeviceGetMinorNumber(mig, &id));
    GIVES(NVML_ERROR_NOT_SUPPORTED, nvml.nvmlDeviceGetPowerUsage(mig, &id));
    GIVES(NVML_ERROR_NOT_SUPPORTED, nvml.nvmlDeviceGetUtilizationRates(device(0), &load));
    SUCCEEDS(nvml.nvmlDeviceGetUtilizationRates(device(1), &load));
    GIVES(NVML_ERROR_NOT_SUPPORTED, nvml.nvmlDeviceGetAttributes_v2(device(0), &attributes));
}

/* Since R470: the same place has the same UUID, another GPU or place another. */
static void uuids_follow_from_the_place(void **state)
{
    char first[96], second[96], other[96];
    nvmlComputeInstance_t compute;
    nvmlGpuInstance_t instance;
    nvmlDevice_t mig;

    enable(0);
    enable(1);
    instance = create(0, NVML_GPU_INSTANCE_PROFILE_1_SLICE, &compute);
    SUCCEEDS(nvml.nvmlDeviceGetMigDeviceHandleByIndex(device(0), 0, &mig));
    SUCCEEDS(nvml.nvmlDeviceGetUUID(mig, first, sizeof(first)));
    SUCCEEDS(nvml.nvmlComputeInstanceDestroy(compute));
    GIVES(NVML_ERROR_INVALID_ARGUMENT, nvml.nvmlDeviceGetUUID(mig, second, sizeof(second)));
    GIVES(NVML_ERROR_NOT_FOUND, nvml.nvmlDeviceGetHandleByUUID(first, &mig));
    SUCCEEDS(nvml.nvmlGpuInstanceDestroy(instance));
    create(0, NVML_GPU_INSTANCE_PROFILE_1_SLICE, NULL);
    SUCCEEDS(nvml.nvmlDeviceGetMigDeviceHandleByIndex(device(0), 0, &mig));
    SUCCEEDS(nvml.nvmlDeviceGetUUID(mig, second, sizeof(second)));
    assert_string_equal(first, second);
    create(1, NVML_GPU_INSTANCE_PROFILE_1_SLICE, NULL);
    SUCCEEDS(nvml.nvmlDeviceGetMigDeviceHandleByIndex(device(1), 0, &mig));
    SUCCEEDS(nvml.nvmlDeviceGetUUID(mig, other, sizeof(other)));
    assert_string_not_equal(first, other);
}

static void before_470_uuids_name_the_place(void **state)
{
    static const char text[] = "type: p4d.24xlarge\ndriver: {version: 460.91.03, cuda: 11.2}\n"
                               "mig: [{gpu: 0, instances: [1g.5gb]}]\n";
    char uuid[96], gpu_uuid[96], wanted[128];
    nvmlDevice_t mig;

    shut_down(state);
    assert_int_equal(file_write_atomic(machine_path, text, strlen(text), 0600, NULL), 0);
    assert_int_equal(start(machine_path), 0);
    SUCCEEDS(nvml.nvmlDeviceGetUUID(device(0), gpu_uuid, sizeof(gpu_uuid)));
    SUCCEEDS(nvml.nvmlDeviceGetMigDeviceHandleByIndex(device(0), 0, &mig));
    SUCCEEDS(nvml.nvmlDeviceGetUUID(mig, uuid, sizeof(uuid)));
    snprintf(wanted, sizeof(wanted), "MIG-%s/13/0", gpu_uuid);
    assert_string_equal(uuid, wanted);
}

static unsigned gi_of(unsigned gpu, unsigned index)
{
    nvmlDevice_t mig = NULL;
    unsigned id = 99;

    if (nvml.nvmlDeviceGetMigDeviceHandleByIndex(device(gpu), index, &mig) == NVML_SUCCESS)
        SUCCEEDS(nvml.nvmlDeviceGetGpuInstanceId(mig, &id));
    return id;
}

/* Others keep their index; a process that starts later sees no hole. */
static void a_destroyed_device_leaves_a_hole(void **state)
{
    enable(0);
    SIM("mig", "create", "0", "1g.5gb@0", "1g.5gb@1", "1g.5gb@2");
    assert_int_equal(gi_of(0, 0), 7);
    assert_int_equal(gi_of(0, 1), 8);
    assert_int_equal(gi_of(0, 2), 9);
    SIM("mig", "destroy", "0", "8");
    assert_int_equal(gi_of(0, 0), 7);
    assert_int_equal(gi_of(0, 1), 99);
    assert_int_equal(gi_of(0, 2), 9);
    SIM("mig", "create", "0", "1g.5gb@5");
    assert_int_equal(gi_of(0, 1), 12);
    SUCCEEDS(nvml.nvmlShutdown());
    SUCCEEDS(nvml.nvmlInit_v2());
    assert_int_equal(gi_of(0, 1), 9);
    assert_int_equal(gi_of(0, 2), 12);
}

static void processes_are_on_their_instance(void **state)
{
    nvmlProcessInfo_t infos[4];
    nvmlDevice_t mig;
    nvmlMemory_t memory;
    unsigned n = 4;

    enable(0);
    SIM("mig", "create", "0", "3g.20gb@0", "3g.20gb@4");
    SIM("inject", "process", "add", "0:1:0", "41", "1Gi");
    SIM("inject", "process", "add", "0:2:0", "42", "2Gi");
    SUCCEEDS(nvml.nvmlDeviceGetComputeRunningProcesses_v3(device(0), &n, infos));
    assert_int_equal(n, 2);
    SUCCEEDS(nvml.nvmlDeviceGetMigDeviceHandleByIndex(device(0), 1, &mig));
    n = 4;
    SUCCEEDS(nvml.nvmlDeviceGetComputeRunningProcesses_v3(mig, &n, infos));
    assert_int_equal(n, 1);
    assert_int_equal(infos[0].pid, 42);
    assert_int_equal(infos[0].gpuInstanceId, 2);
    assert_int_equal(infos[0].computeInstanceId, 0);
    SUCCEEDS(nvml.nvmlDeviceGetMemoryInfo(mig, &memory));
    assert_int_equal(memory.used >> 30, 2);
    assert_int_equal(sim((const char *const[]){"mig", "destroy", "0", "2", NULL}), 1);
    assert_int_equal(gi_of(0, 1), 2);
    SIM("inject", "process", "remove", "0", "42");
    SIM("mig", "destroy", "0", "2");
    assert_int_equal(gi_of(0, 1), 99);
    assert_int_equal(gi_of(0, 0), 1);
}

static void changes_and_faults_are_events(void **state)
{
    nvmlEventSet_t set;
    nvmlEventData_t data;

    enable(0);
    SUCCEEDS(nvml.nvmlEventSetCreate(&set));
    SUCCEEDS(nvml.nvmlDeviceRegisterEvents(
        device(0), nvmlEventMigConfigChange | nvmlEventTypeXidCriticalError, set));
    SIM("mig", "create", "0", "gi:1g.5gb");
    SUCCEEDS(nvml.nvmlEventSetWait_v2(set, &data, 5000));
    assert_int_equal(data.eventType, nvmlEventMigConfigChange);
    assert_ptr_equal(data.device, device(0));
    GIVES(NVML_ERROR_TIMEOUT, nvml.nvmlEventSetWait_v2(set, &data, 0));
    SIM("inject", "xid", "0:13:0", "94");
    SUCCEEDS(nvml.nvmlEventSetWait_v2(set, &data, 5000));
    assert_int_equal(data.eventData, 94);
    assert_int_equal(data.gpuInstanceId, 13);
    assert_int_equal(data.computeInstanceId, 0);
    SIM("inject", "xid", "0:13", "94");
    SUCCEEDS(nvml.nvmlEventSetWait_v2(set, &data, 5000));
    assert_int_equal(data.gpuInstanceId, 13);
    assert_int_equal(data.computeInstanceId, 0xffffffffu);
    SIM("inject", "xid", "0", "79");
    SUCCEEDS(nvml.nvmlEventSetWait_v2(set, &data, 5000));
    assert_int_equal(data.gpuInstanceId, 0xffffffffu);
    SUCCEEDS(nvml.nvmlEventSetFree(set));
}

/* Only that step fails, as a driver may in the middle of a new layout. */
static void the_nth_call_fails(void **state)
{
    nvmlGpuInstance_t instance;

    enable(0);
    SIM("inject", "error", "nvmlDeviceCreateGpuInstance", "UNKNOWN", "all", "2");
    SUCCEEDS(nvml.nvmlDeviceCreateGpuInstance(device(0), 19, &instance));
    GIVES(NVML_ERROR_UNKNOWN, nvml.nvmlDeviceCreateGpuInstance(device(0), 19, &instance));
    SUCCEEDS(nvml.nvmlDeviceCreateGpuInstance(device(0), 19, &instance));
}

static void the_nth_call_kills(void **state)
{
    int status;
    pid_t pid;

    enable(0);
    SIM("inject", "death", "0", "nvmlDeviceCreateGpuInstance", "2");
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        nvmlGpuInstance_t instance;

        for (int i = 0; i < 3; i++)
            (void)nvml.nvmlDeviceCreateGpuInstance(device(0), 19, &instance);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    create(0, NVML_GPU_INSTANCE_PROFILE_1_SLICE, NULL); /* it happens once; no lock is left */
    assert_int_equal(gi_of(0, 0), 11);
}

/* Killed anywhere, it leaves a layout that a driver could have, and no lock. */
static void survives_the_death_of_who_partitions(void **state)
{
    static const char *const words[] = {"mig",     "create",  "0",       "1g.18gb", "1g.18gb",
                                        "1g.18gb", "1g.18gb", "1g.18gb", "1g.18gb", NULL};

    enable(0);
    for (unsigned round = 0; round < 12; round++) {
        nvmlEventSet_t set;
        nvmlEventData_t data;
        int status;
        pid_t pid;

        SUCCEEDS(nvml.nvmlEventSetCreate(&set));
        SUCCEEDS(nvml.nvmlDeviceRegisterEvents(device(0), nvmlEventMigConfigChange, set));
        pid = sim_start(words);
        for (unsigned i = 0; i <= round; i++)
            SUCCEEDS(nvml.nvmlEventSetWait_v2(set, &data, 20000));
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        SUCCEEDS(nvml.nvmlEventSetFree(set));
        SIM("mig", "destroy", "0");
        create(0, NVML_GPU_INSTANCE_PROFILE_7_SLICE, NULL); /* the whole GPU is free again */
        assert_int_equal(gi_of(0, 0), 0);
        SIM("mig", "destroy", "0");
    }
}

static void a_machine_starts_partitioned(void **state)
{
    static const char text[] = "type: p4d.24xlarge\nmig:\n- {gpu: all, enabled: true}\n"
                               "- {gpu: 1, instances: [3g.20gb@0, 1c.3g.20gb, 1c.3g.20gb]}\n"
                               "- {gpu: 2, enabled: false}\n"
                               "processes: [{gpu: 1, gi: 1, ci: 0, pid: 42, memory: 1Gi}]\n";
    nvmlGpuInstance_t list[4];
    unsigned n = 0;

    shut_down(state);
    assert_int_equal(file_write_atomic(machine_path, text, strlen(text), 0600, NULL), 0);
    assert_int_equal(start(machine_path), 0);
    assert_mode(0, 1, 1);
    assert_mode(2, 0, 0);
    assert_int_equal(gi_of(0, 0), 99);
    assert_int_equal(gi_of(1, 0), 1);
    assert_int_equal(gi_of(1, 1), 2);
    assert_int_equal(gi_of(1, 2), 2);
    SUCCEEDS(nvml.nvmlDeviceGetGpuInstances(device(1), 9, list, &n));
    assert_int_equal(n, 2);
    GIVES(NVML_ERROR_IN_USE, nvml.nvmlGpuInstanceDestroy(list[0]));
}

static bool is_there(const char *folder, const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return access(path, R_OK) == 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    return remove(path);
}

/* As an H200's driver numbers them. */
static void capabilities_are_files(void **state)
{
    char folder[] = "/tmp/test-sim-proc-XXXXXX", path[96];
    cleanup_free char *text = NULL;
    unsigned n_lines = 0;
    size_t size;

    assert_non_null(mkdtemp(folder));
    enable(0);
    SIM("mig", "create", "0", "3g.20gb@4");
    SIM("proc", folder);
    snprintf(path, sizeof(path), "%s/driver/nvidia-caps/mig-minors", folder);
    assert_int_equal(file_read(path, 1 << 20, &text, &size, NULL), 0);
    for (size_t i = 0; i < size; i++)
        n_lines += text[i] == '\n';
    assert_int_equal(n_lines, 4322);
    assert_non_null(
        strstr(text, "config 1\nmonitor 2\ngpu0/gi0/access 3\ngpu0/gi0/ci0/access 4\n"));
    assert_non_null(strstr(text, "\ngpu0/gi1/access 12\ngpu0/gi1/ci0/access 13\n"));
    assert_true(is_there(folder, "modules"));
    assert_true(is_there(folder, "driver/nvidia/capabilities/mig/config"));
    assert_true(is_there(folder, "driver/nvidia/capabilities/gpu0/mig/gi2/access"));
    assert_true(is_there(folder, "driver/nvidia/capabilities/gpu0/mig/gi2/ci0/access"));
    assert_false(is_there(folder, "driver/nvidia/capabilities/gpu0/mig/gi1/access"));
    SIM("mig", "destroy", "0", "2");
    SIM("proc", folder);
    assert_false(is_there(folder, "driver/nvidia/capabilities/gpu0/mig/gi2"));
    assert_int_equal(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void a_v100_cannot(void **state)
{
    nvmlGpuInstanceProfileInfo_t info;
    nvmlReturn_t activation;
    unsigned n;

    shut_down(state);
    assert_int_equal(start("p3.8xlarge"), 0);
    GIVES(NVML_ERROR_NOT_SUPPORTED, nvml.nvmlDeviceSetMigMode(device(0), 1, &activation));
    GIVES(NVML_ERROR_NOT_SUPPORTED, nvml.nvmlDeviceGetGpuInstanceProfileInfo(device(0), 0, &info));
    GIVES(NVML_ERROR_NOT_SUPPORTED,
          nvml.nvmlDeviceGetGpuInstanceRemainingCapacity(device(0), 19, &n));
    assert_int_equal(sim((const char *const[]){"mig", "on", "0", NULL}), 64);
}

#define A100(name) cmocka_unit_test_setup_teardown(name, init_a100, shut_down)
#define H200(name) cmocka_unit_test_setup_teardown(name, init_h200, shut_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        A100(an_a100_needs_a_reset),
        H200(an_h200_switches_at_once),
        H200(a_holder_is_in_the_way),
        H200(a_process_on_the_whole_gpu_holds_its_instances),
        A100(a_reset_is_refused_when_told_to),
        A100(a_full_gpu_instance_has_no_room),
        A100(every_profile_has_a_count),
        A100(a_full_gpu_has_no_room),
        A100(lies_where_it_is_put),
        A100(tells_as_much_as_its_version_has),
        A100(a_mig_device_is_a_device),
        A100(uuids_follow_from_the_place),
        A100(before_470_uuids_name_the_place),
        A100(a_destroyed_device_leaves_a_hole),
        A100(processes_are_on_their_instance),
        A100(changes_and_faults_are_events),
        A100(the_nth_call_fails),
        A100(the_nth_call_kills),
        H200(survives_the_death_of_who_partitions),
        A100(a_machine_starts_partitioned),
        A100(capabilities_are_files),
        A100(a_v100_cannot),
    };

    return cmocka_run_group_tests_name("sim/mig", tests, open_library, NULL);
}
