// SPDX-License-Identifier: Apache-2.0

/*
 * The simulated library from the outside: what only a simulator can be asked for. What it shares
 * with the real one is in tests/conformance.
 */

#include <dlfcn.h>
#include <pthread.h>
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

#include "base/clock.h"
#include "gpu/nvml-abi.h"

static struct {
#define NVML_CALL(name, arguments) nvmlReturn_t(*name) arguments;
#include "gpu/nvml-calls.def"
    const char *(*nvmlErrorString)(nvmlReturn_t);
} nvml;

static char state_file_path[64];

static int open_library(void **state)
{
    void *library = dlopen(getenv("GPUSLICE_TEST_LIBRARY"), RTLD_NOW | RTLD_LOCAL);

    if (!library)
        return -1;
#define NVML_CALL(name, arguments) nvml.name = (nvmlReturn_t(*) arguments)dlsym(library, #name);
#include "gpu/nvml-calls.def"
    nvml.nvmlErrorString = (const char *(*)(nvmlReturn_t))dlsym(library, "nvmlErrorString");
    snprintf(state_file_path, sizeof(state_file_path), "/tmp/test-sim-library-%d", (int)getpid());
    setenv("GPUSLICE_SIM_STATE", state_file_path, 1);
    setenv("GPUSLICE_MACHINE_PATH", getenv("GPUSLICE_TEST_MACHINES"), 1);
    return 0;
}

static int init_p3(void **state)
{
    unlink(state_file_path);
    setenv("GPUSLICE_MACHINE", "p3.8xlarge", 1);
    return nvml.nvmlInit_v2() == NVML_SUCCESS ? 0 : -1;
}

static int shut_down(void **state)
{
    while (nvml.nvmlShutdown() == NVML_SUCCESS)
        ;
    unlink(state_file_path);
    return 0;
}

/* Another process does it, as a person would. */
static void inject(const char *const *words)
{
    const char *argv[12] = {getenv("GPUSLICE_TEST_SIM"), "inject"};
    int status, n = 2;
    pid_t pid;

    while (*words)
        argv[n++] = *words++;
    assert_int_equal(posix_spawn(&pid, argv[0], NULL, NULL, (char **)(uintptr_t)argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define INJECT(...) inject((const char *const[]){__VA_ARGS__, NULL})

static nvmlDevice_t device(unsigned index)
{
    nvmlDevice_t handle = NULL;

    assert_int_equal(nvml.nvmlDeviceGetHandleByIndex_v2(index, &handle), NVML_SUCCESS);
    return handle;
}

static void test_without_a_machine_no_driver_is_loaded(void **state)
{
    unsigned n;

    unsetenv("GPUSLICE_MACHINE");
    assert_int_equal(nvml.nvmlInit_v2(), NVML_ERROR_DRIVER_NOT_LOADED);
    assert_int_equal(nvml.nvmlDeviceGetCount_v2(&n), NVML_ERROR_UNINITIALIZED);
    assert_int_equal(nvml.nvmlShutdown(), NVML_ERROR_UNINITIALIZED);
}

static void test_v100_as_nvml_tells_it(void **state)
{
    nvmlMemory_v2_t memory = {.version = NVML_STRUCT_VERSION_OF(nvmlMemory_v2_t, 2)};
    unsigned n, current, pending, id;
    nvmlDevice_t d = device(0);
    char text[96];
    nvmlPciInfo_t pci;

    assert_int_equal(nvml.nvmlDeviceGetCount_v2(&n), NVML_SUCCESS);
    assert_int_equal(n, 4);
    assert_int_equal(nvml.nvmlDeviceGetName(d, text, sizeof(text)), NVML_SUCCESS);
    assert_string_equal(text, "Tesla V100-SXM2-16GB");
    assert_int_equal(nvml.nvmlDeviceGetMemoryInfo_v2(d, &memory), NVML_SUCCESS);
    assert_int_equal(memory.total >> 20, 16384);
    assert_int_equal((memory.total - memory.reserved) >> 20, 16160);
    assert_int_equal(nvml.nvmlDeviceGetPciInfo_v3(d, &pci), NVML_SUCCESS);
    assert_int_equal(pci.pciDeviceId, 0x1db110de);
    assert_string_equal(pci.busId, "00000000:00:1B.0");
    assert_int_equal(nvml.nvmlDeviceGetMigMode(d, &current, &pending), NVML_ERROR_NOT_SUPPORTED);
    assert_int_equal(nvml.nvmlDeviceGetGpuInstanceId(d, &id), NVML_ERROR_NOT_SUPPORTED);
}

static void test_nvlink_of_p3(void **state)
{
    nvmlGpuP2PStatus_t p2p;
    nvmlEnableState_t active;
    unsigned to_3 = 0;
    nvmlPciInfo_t pci;

    for (unsigned link = 0; link < 6; link++) {
        assert_int_equal(nvml.nvmlDeviceGetNvLinkState(device(0), link, &active), NVML_SUCCESS);
        if (!active)
            continue;
        assert_int_equal(nvml.nvmlDeviceGetNvLinkRemotePciInfo_v2(device(0), link, &pci),
                         NVML_SUCCESS);
        to_3 += pci.device == 0x1e;
    }
    assert_int_equal(to_3, 2);
    assert_int_equal(
        nvml.nvmlDeviceGetP2PStatus(device(0), device(3), NVML_P2P_CAPS_INDEX_NVLINK, &p2p),
        NVML_SUCCESS);
    assert_int_equal(p2p, NVML_P2P_STATUS_OK);
}

static void test_processes_and_their_memory(void **state)
{
    nvmlMemory_v2_t memory = {.version = NVML_STRUCT_VERSION_OF(nvmlMemory_v2_t, 2)};
    nvmlProcessInfo_t list[4];
    unsigned n = 0;
    char name[32];

    INJECT("process", "add", "2", "4242", "1Gi", "trainer");
    INJECT("process", "add", "2", "4243", "512Mi");
    assert_int_equal(nvml.nvmlDeviceGetComputeRunningProcesses_v3(device(2), &n, NULL),
                     NVML_ERROR_INSUFFICIENT_SIZE);
    assert_int_equal(n, 2);
    n = 4;
    assert_int_equal(nvml.nvmlDeviceGetComputeRunningProcesses_v3(device(2), &n, list),
                     NVML_SUCCESS);
    assert_int_equal(n, 2);
    assert_int_equal(list[0].pid, 4242);
    assert_int_equal(list[0].usedGpuMemory, 1u << 30);
    assert_int_equal(list[0].gpuInstanceId, 0xffffffffu);
    assert_int_equal(nvml.nvmlDeviceGetMemoryInfo_v2(device(2), &memory), NVML_SUCCESS);
    assert_int_equal(memory.used >> 20, 1536);
    assert_int_equal(nvml.nvmlSystemGetProcessName(4242, name, sizeof(name)), NVML_SUCCESS);
    assert_string_equal(name, "trainer");
    INJECT("process", "remove", "2", "4242");
    n = 4;
    assert_int_equal(nvml.nvmlDeviceGetComputeRunningProcesses_v3(device(2), &n, list),
                     NVML_SUCCESS);
    assert_int_equal(n, 1);
}

enum { N_WAITERS = 4, N_XIDS = 5 };

static void *collect(void *set)
{
    uintptr_t sum = 0;
    nvmlEventData_t data;

    for (int i = 0; i < N_XIDS; i++)
        if (nvml.nvmlEventSetWait_v2(set, &data, 20000) == NVML_SUCCESS)
            sum = sum * 100 + data.eventData;
    return (void *)sum;
}

static void test_events_reach_every_set_once(void **state)
{
    static const char *const xids[N_XIDS] = {"31", "43", "13", "45", "68"};
    nvmlEventSet_t sets[N_WAITERS];
    pthread_t threads[N_WAITERS];
    nvmlEventData_t data;

    for (int i = 0; i < N_WAITERS; i++) {
        assert_int_equal(nvml.nvmlEventSetCreate(&sets[i]), NVML_SUCCESS);
        assert_int_equal(
            nvml.nvmlDeviceRegisterEvents(device(1), nvmlEventTypeXidCriticalError, sets[i]),
            NVML_SUCCESS);
        assert_int_equal(pthread_create(&threads[i], NULL, collect, sets[i]), 0);
    }
    INJECT("xid", "0", "99"); /* nobody asked about GPU 0 */
    for (int i = 0; i < N_XIDS; i++)
        INJECT("xid", "1", xids[i]);
    for (int i = 0; i < N_WAITERS; i++) {
        void *sum;

        assert_int_equal(pthread_join(threads[i], &sum), 0);
        assert_int_equal((uintptr_t)sum, 3143134568u);
        assert_int_equal(nvml.nvmlEventSetWait_v2(sets[i], &data, 0), NVML_ERROR_TIMEOUT);
        assert_int_equal(nvml.nvmlEventSetFree(sets[i]), NVML_SUCCESS);
    }
}

static void test_events_before_registration_are_not_told(void **state)
{
    nvmlEventSet_t set;
    nvmlEventData_t data;

    assert_int_equal(nvml.nvmlEventSetCreate(&set), NVML_SUCCESS);
    INJECT("xid", "1", "31");
    assert_int_equal(nvml.nvmlDeviceRegisterEvents(device(1), nvmlEventTypeXidCriticalError, set),
                     NVML_SUCCESS);
    assert_int_equal(nvml.nvmlEventSetWait_v2(set, &data, 0), NVML_ERROR_TIMEOUT);
    INJECT("xid", "1", "32");
    assert_int_equal(nvml.nvmlEventSetWait_v2(set, &data, 10000), NVML_SUCCESS);
    assert_int_equal(data.eventData, 32);
    assert_ptr_equal(data.device, device(1));
}

static void test_lost_and_back(void **state)
{
    nvmlEventSet_t set;
    nvmlEventData_t data;
    nvmlDevice_t lost = device(2), other = device(1), handle;
    unsigned n;

    assert_int_equal(nvml.nvmlEventSetCreate(&set), NVML_SUCCESS);
    assert_int_equal(nvml.nvmlDeviceRegisterEvents(lost, nvmlEventTypeXidCriticalError, set),
                     NVML_SUCCESS);
    INJECT("lost", "2");
    assert_int_equal(nvml.nvmlDeviceGetIndex(lost, &n), NVML_ERROR_GPU_IS_LOST);
    assert_int_equal(nvml.nvmlDeviceGetHandleByIndex_v2(2, &handle), NVML_ERROR_GPU_IS_LOST);
    assert_int_equal(nvml.nvmlDeviceGetIndex(other, &n), NVML_SUCCESS);
    assert_int_equal(nvml.nvmlEventSetWait_v2(set, &data, 10000), NVML_SUCCESS);
    assert_int_equal(data.eventData, 79);
    assert_int_equal(nvml.nvmlEventSetWait_v2(set, &data, 10000), NVML_ERROR_GPU_IS_LOST);
    INJECT("back", "2");
    assert_int_equal(nvml.nvmlDeviceGetIndex(lost, &n), NVML_SUCCESS);
    assert_int_equal(nvml.nvmlEventSetWait_v2(set, &data, 0), NVML_ERROR_TIMEOUT);
}

static void *ask_name(void *handle)
{
    char name[96];

    return (void *)(uintptr_t)nvml.nvmlDeviceGetName(handle, name, sizeof(name));
}

static void test_hang_and_unhang(void **state)
{
    nvmlDevice_t handle = device(3);
    struct timespec soon;
    pthread_t thread;
    void *result = NULL;

    INJECT("hang", "3", "nvmlDeviceGetName");
    assert_int_equal(pthread_create(&thread, NULL, ask_name, handle), 0);
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 50000000;
    soon.tv_sec += soon.tv_nsec / 1000000000;
    soon.tv_nsec %= 1000000000;
    assert_int_not_equal(pthread_timedjoin_np(thread, &result, &soon), 0);
    assert_int_equal((uintptr_t)ask_name(device(0)), NVML_SUCCESS); /* the others go on */
    INJECT("unhang", "3");
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_int_equal((uintptr_t)result, NVML_SUCCESS);
}

static void test_errors_and_missing_functions(void **state)
{
    char name[96];
    unsigned n;

    INJECT("error", "nvmlDeviceGetName", "NO_PERMISSION", "1");
    INJECT("symbol", "nvmlDeviceGetMinorNumber", "missing");
    assert_int_equal(nvml.nvmlDeviceGetName(device(1), name, sizeof(name)),
                     NVML_ERROR_NO_PERMISSION);
    assert_int_equal(nvml.nvmlDeviceGetName(device(0), name, sizeof(name)), NVML_SUCCESS);
    assert_int_equal(nvml.nvmlDeviceGetMinorNumber(device(0), &n), NVML_ERROR_FUNCTION_NOT_FOUND);
    INJECT("error", "nvmlDeviceGetName", "none");
    INJECT("symbol", "nvmlDeviceGetMinorNumber", "present");
    assert_int_equal(nvml.nvmlDeviceGetName(device(1), name, sizeof(name)), NVML_SUCCESS);
    assert_int_equal(nvml.nvmlDeviceGetMinorNumber(device(0), &n), NVML_SUCCESS);
    INJECT("error", "nvmlInit_v2", "LIB_RM_VERSION_MISMATCH");
    assert_int_equal(nvml.nvmlInit_v2(), NVML_ERROR_LIB_RM_VERSION_MISMATCH);
}

/* In a process that uses that machine. */
static bool has_symbol(const char *machine, const char *name)
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        void *library;

        setenv("GPUSLICE_MACHINE", machine, 1);
        nvml.nvmlShutdown();
        library = nvml.nvmlInit_v2() == NVML_SUCCESS
                      ? dlopen(getenv("GPUSLICE_TEST_LIBRARY"), RTLD_NOW | RTLD_NOLOAD)
                      : NULL;
        _exit(library ? dlsym(library, name) != NULL : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
    return WEXITSTATUS(status) == 1;
}

static void test_symbols_are_those_of_the_driver(void **state)
{
    unlink(state_file_path);
    assert_true(has_symbol("p3.8xlarge", "nvmlDeviceGetCount_v2"));
    unlink(state_file_path);
    assert_false(has_symbol("p3.8xlarge", "nvmlDeviceGetTemperatureV")); /* 570; it has 550 */
    unlink(state_file_path);
    assert_true(has_symbol("p5.48xlarge", "nvmlDeviceGetTemperatureV"));
    unlink(state_file_path);
    assert_false(has_symbol("p5.48xlarge", "nvmlDeviceGetGpuUptime_v1")); /* 595; it has 580 */
}

static void test_a_missing_symbol_is_not_found(void **state)
{
    INJECT("symbol", "nvmlDeviceGetMinorNumber", "missing");
    assert_false(has_symbol("p3.8xlarge", "nvmlDeviceGetMinorNumber"));
    assert_true(has_symbol("p3.8xlarge", "nvmlDeviceGetUUID"));
    INJECT("symbol", "nvmlDeviceGetMinorNumber", "present");
    assert_true(has_symbol("p3.8xlarge", "nvmlDeviceGetMinorNumber"));
}

static void test_links_beyond_the_models(void **state)
{
    nvmlEnableState_t is_active;

    assert_int_equal(nvml.nvmlDeviceGetNvLinkState(device(0), 5, &is_active), NVML_SUCCESS);
    for (unsigned link = 6; link < NVML_NVLINK_MAX_LINKS; link++)
        assert_int_equal(nvml.nvmlDeviceGetNvLinkState(device(0), link, &is_active),
                         NVML_ERROR_NOT_SUPPORTED);
    assert_int_equal(nvml.nvmlDeviceGetNvLinkState(device(0), NVML_NVLINK_MAX_LINKS, &is_active),
                     NVML_ERROR_INVALID_ARGUMENT);
}

static unsigned recovery_action(nvmlDevice_t handle, nvmlReturn_t *ret_return)
{
    nvmlFieldValue_t field = {.fieldId = NVML_FI_DEV_GET_GPU_RECOVERY_ACTION};

    assert_int_equal(nvml.nvmlDeviceGetFieldValues(handle, 1, &field), NVML_SUCCESS);
    *ret_return = field.nvmlReturn;
    return field.value.uiVal;
}

static void test_recovery_action_until_a_reset(void **state)
{
    nvmlReturn_t r;

    recovery_action(device(0), &r);
    assert_int_equal(r, NVML_ERROR_NOT_SUPPORTED); /* p3: its driver is too old */
    shut_down(state);
    setenv("GPUSLICE_MACHINE", "p5.48xlarge", 1);
    assert_int_equal(nvml.nvmlInit_v2(), NVML_SUCCESS);
    assert_int_equal(recovery_action(device(5), &r), NVML_GPU_RECOVERY_ACTION_NONE);
    INJECT("xid", "5", "95");
    assert_int_equal(recovery_action(device(5), &r), NVML_GPU_RECOVERY_ACTION_GPU_RESET);
    assert_int_equal(r, NVML_SUCCESS);
    INJECT("reset", "5");
    assert_int_equal(recovery_action(device(5), &r), NVML_GPU_RECOVERY_ACTION_NONE);
    INJECT("xid", "5:1:0", "48");
    assert_int_equal(recovery_action(device(5), &r), NVML_GPU_RECOVERY_ACTION_NONE);
    INJECT("xid", "5:1:0", "95"); /* uncontained */
    assert_int_equal(recovery_action(device(5), &r), NVML_GPU_RECOVERY_ACTION_GPU_RESET);
}

static void test_switches_of_p4d(void **state)
{
    nvmlIntNvLinkDeviceType_t type;
    nvmlGpuTopologyLevel_t level;
    unsigned current, pending;

    shut_down(state);
    setenv("GPUSLICE_MACHINE", "p4d.24xlarge", 1);
    assert_int_equal(nvml.nvmlInit_v2(), NVML_SUCCESS);
    assert_int_equal(nvml.nvmlDeviceGetNvLinkRemoteDeviceType(device(0), 11, &type), NVML_SUCCESS);
    assert_int_equal(type, NVML_NVLINK_DEVICE_TYPE_SWITCH);
    assert_int_equal(nvml.nvmlDeviceGetMigMode(device(0), &current, &pending), NVML_SUCCESS);
    assert_int_equal(current, 0);
    assert_int_equal(nvml.nvmlDeviceGetTopologyCommonAncestor(device(0), device(1), &level), 0);
    assert_int_equal(level, NVML_TOPOLOGY_SINGLE);
    assert_int_equal(nvml.nvmlDeviceGetTopologyCommonAncestor(device(0), device(2), &level), 0);
    assert_int_equal(level, NVML_TOPOLOGY_NODE);
    assert_int_equal(nvml.nvmlDeviceGetTopologyCommonAncestor(device(0), device(7), &level), 0);
    assert_int_equal(level, NVML_TOPOLOGY_SYSTEM);
}

static void test_begin_and_end_many_times(void **state)
{
    unsigned n;

    for (int i = 0; i < 1000; i++) {
        assert_int_equal(nvml.nvmlShutdown(), NVML_SUCCESS);
        assert_int_equal(nvml.nvmlInit_v2(), NVML_SUCCESS);
    }
    assert_int_equal(nvml.nvmlDeviceGetCount_v2(&n), NVML_SUCCESS);
    assert_int_equal(n, 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, init_p3, shut_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_machine_no_driver_is_loaded),
        TEST(test_v100_as_nvml_tells_it),
        TEST(test_nvlink_of_p3),
        TEST(test_processes_and_their_memory),
        TEST(test_events_reach_every_set_once),
        TEST(test_events_before_registration_are_not_told),
        TEST(test_lost_and_back),
        TEST(test_hang_and_unhang),
        TEST(test_errors_and_missing_functions),
        TEST(test_symbols_are_those_of_the_driver),
        TEST(test_a_missing_symbol_is_not_found),
        TEST(test_links_beyond_the_models),
        TEST(test_recovery_action_until_a_reset),
        TEST(test_switches_of_p4d),
        TEST(test_begin_and_end_many_times),
    };

    return cmocka_run_group_tests_name("sim/library", tests, open_library, NULL);
}
