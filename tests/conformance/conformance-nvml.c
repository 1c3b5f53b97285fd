// SPDX-License-Identifier: Apache-2.0

/*
 * The behaviour of every libnvidia-ml.so.1, simulated or real: the same cases run on both, so a
 * real GPU validates the simulator. Needs at least one GPU, changes nothing, and depends only on
 * the ABI.
 *
 *     conformance-nvml [LIBRARY]      prints TAP; -v also prints the library's messages
 */

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gpu/nvml-abi.h"
#include "tap.h"

static struct {
#define NVML_CALL(name, arguments) nvmlReturn_t(*name) arguments;
#include "gpu/nvml-calls.def"
    const char *(*nvmlErrorString)(nvmlReturn_t);
} nvml;

static nvmlDevice_t gpu; /* the first one */

static void check_return(nvmlReturn_t got, nvmlReturn_t wanted, const char *what, int line)
{
    if (got == wanted)
        return;
    n_failures++;
    printf("# line %d: %s: %d (%s), not %d (%s)\n", line, what, got, nvml.nvmlErrorString(got),
           wanted, nvml.nvmlErrorString(wanted));
}

#define GIVES(wanted, call) check_return(call, wanted, #call, __LINE__)
#define SUCCEEDS(call)      GIVES(NVML_SUCCESS, call)
#define REFUSES(call)       GIVES(NVML_ERROR_INVALID_ARGUMENT, call)
#define GIVES_EITHER(a, b, call)                                      \
    ({                                                                \
        nvmlReturn_t _got = call;                                     \
        check_return(_got, _got == (b) ? (b) : (a), #call, __LINE__); \
        _got;                                                         \
    })

/* Success (then true) or not supported, nothing else. */
#define SUPPORTED(call) \
    ({ GIVES_EITHER(NVML_SUCCESS, NVML_ERROR_NOT_SUPPORTED, call) == NVML_SUCCESS; })

static void before_init(void)
{
    unsigned n;

    GIVES(NVML_ERROR_UNINITIALIZED, nvml.nvmlDeviceGetCount_v2(&n));
    GIVES(NVML_ERROR_UNINITIALIZED, nvml.nvmlDeviceGetHandleByIndex_v2(0, &gpu));
    GIVES(NVML_ERROR_UNINITIALIZED, nvml.nvmlShutdown());
}

static void init_counts(void)
{
    unsigned n;

    SUCCEEDS(nvml.nvmlInit_v2());
    SUCCEEDS(nvml.nvmlInitWithFlags(0));
    SUCCEEDS(nvml.nvmlInit());
    SUCCEEDS(nvml.nvmlShutdown());
    SUCCEEDS(nvml.nvmlShutdown());
    SUCCEEDS(nvml.nvmlDeviceGetCount_v2(&n));
    SUCCEEDS(nvml.nvmlShutdown());
    GIVES(NVML_ERROR_UNINITIALIZED, nvml.nvmlDeviceGetCount_v2(&n));
    GIVES(NVML_ERROR_UNINITIALIZED, nvml.nvmlShutdown());
    SUCCEEDS(nvml.nvmlInit_v2());
    SUCCEEDS(nvml.nvmlDeviceGetHandleByIndex_v2(0, &gpu));
}

static void error_strings(void)
{
    static const struct {
        nvmlReturn_t code;
        const char *text;
    } table[] = {
        {NVML_SUCCESS, "Success"},
        {NVML_ERROR_UNINITIALIZED, "Uninitialized"},
        {NVML_ERROR_INVALID_ARGUMENT, "Invalid Argument"},
        {NVML_ERROR_NOT_SUPPORTED, "Not Supported"},
        {NVML_ERROR_NO_PERMISSION, "Insufficient Permissions"},
        {NVML_ERROR_ALREADY_INITIALIZED, "Already Initialized"},
        {NVML_ERROR_NOT_FOUND, "Not Found"},
        {NVML_ERROR_INSUFFICIENT_SIZE, "Insufficient Size"},
        {NVML_ERROR_INSUFFICIENT_POWER, "Insufficient External Power"},
        {NVML_ERROR_DRIVER_NOT_LOADED, "Driver Not Loaded"},
        {NVML_ERROR_TIMEOUT, "Timeout"},
        {NVML_ERROR_IRQ_ISSUE, "Interrupt Request Issue"},
        {NVML_ERROR_LIBRARY_NOT_FOUND, "NVML Shared Library Not Found"},
        {NVML_ERROR_FUNCTION_NOT_FOUND, "Function Not Found"},
        {NVML_ERROR_CORRUPTED_INFOROM, "Corrupted infoROM"},
        {NVML_ERROR_GPU_IS_LOST, "GPU is lost"},
        {NVML_ERROR_RESET_REQUIRED, "GPU requires reset"},
        {NVML_ERROR_OPERATING_SYSTEM, "GPU access blocked by the operating system"},
        {NVML_ERROR_LIB_RM_VERSION_MISMATCH, "Driver/library version mismatch"},
        {NVML_ERROR_IN_USE, "In use by another client"},
        {NVML_ERROR_MEMORY, "Insufficient Memory"},
        {NVML_ERROR_NO_DATA, "No data"},
        {NVML_ERROR_INSUFFICIENT_RESOURCES, "Insufficient Resources"},
        {NVML_ERROR_ARGUMENT_VERSION_MISMATCH, "Argument version mismatch"},
        {NVML_ERROR_UNKNOWN, "Unknown Error"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const char *text = nvml.nvmlErrorString(table[i].code);

        note("error %d: %s", table[i].code, text);
        if (strcmp(text, table[i].text) != 0) {
            n_failures++;
            printf("# %d is '%s', not '%s'\n", table[i].code, text, table[i].text);
        }
    }
    for (int i = 22; i < 30; i++)
        note("error %d: %s", i, nvml.nvmlErrorString((nvmlReturn_t)i));
    CHECK(strcmp(nvml.nvmlErrorString((nvmlReturn_t)998), "Unknown Error") == 0);
}

static void versions(void)
{
    char driver[80] = "", library[80] = "", small[2];
    int cuda = 0, cuda_2 = 0;

    SUCCEEDS(nvml.nvmlSystemGetDriverVersion(driver, sizeof(driver)));
    SUCCEEDS(nvml.nvmlSystemGetNVMLVersion(library, sizeof(library)));
    SUCCEEDS(nvml.nvmlSystemGetCudaDriverVersion(&cuda));
    SUCCEEDS(nvml.nvmlSystemGetCudaDriverVersion_v2(&cuda_2));
    note("driver %s, NVML %s, CUDA %d, %d", driver, library, cuda, cuda_2);
    CHECK(atoi(driver) > 300 && strchr(driver, '.'));
    CHECK(strchr(library, '.') && strcmp(strchr(library, '.') + 1, driver) == 0);
    CHECK(cuda >= 9000 && cuda == cuda_2 && atoi(library) == cuda / 1000);
    GIVES(NVML_ERROR_INSUFFICIENT_SIZE, nvml.nvmlSystemGetDriverVersion(small, sizeof(small)));
    REFUSES(nvml.nvmlSystemGetDriverVersion(NULL, 80));
    REFUSES(nvml.nvmlSystemGetCudaDriverVersion_v2(NULL));
}

static void handles(void)
{
    nvmlDevice_t same = NULL;
    unsigned n = 0, index = 99;

    SUCCEEDS(nvml.nvmlDeviceGetCount_v2(&n));
    CHECK(n > 0);
    for (unsigned i = 0; i < n; i++) {
        SUCCEEDS(nvml.nvmlDeviceGetHandleByIndex_v2(i, &same));
        SUCCEEDS(nvml.nvmlDeviceGetIndex(same, &index));
        CHECK(index == i);
    }
    REFUSES(nvml.nvmlDeviceGetCount_v2(NULL));
    REFUSES(nvml.nvmlDeviceGetHandleByIndex_v2(n, &same));
    REFUSES(nvml.nvmlDeviceGetHandleByIndex_v2(0, NULL));
    SUCCEEDS(nvml.nvmlDeviceGetHandleByIndex_v2(0, &same));
    CHECK(same == gpu);
}

static void handles_by_name(void)
{
    char uuid[96] = "";
    nvmlDevice_t same = NULL;
    nvmlPciInfo_t pci;

    SUCCEEDS(nvml.nvmlDeviceGetUUID(gpu, uuid, sizeof(uuid)));
    SUCCEEDS(nvml.nvmlDeviceGetHandleByUUID(uuid, &same));
    CHECK(same == gpu);
    GIVES(NVML_ERROR_NOT_FOUND,
          nvml.nvmlDeviceGetHandleByUUID("GPU-00000000-0000-0000-0000-000000000000", &same));
    REFUSES(nvml.nvmlDeviceGetHandleByUUID(NULL, &same));
    REFUSES(nvml.nvmlDeviceGetHandleByUUID(uuid, NULL));
    SUCCEEDS(nvml.nvmlDeviceGetPciInfo_v3(gpu, &pci));
    same = NULL;
    SUCCEEDS(nvml.nvmlDeviceGetHandleByPciBusId_v2(pci.busId, &same));
    CHECK(same == gpu);
    same = NULL;
    SUCCEEDS(nvml.nvmlDeviceGetHandleByPciBusId_v2(pci.busIdLegacy, &same));
    CHECK(same == gpu);
    GIVES(NVML_ERROR_NOT_FOUND, nvml.nvmlDeviceGetHandleByPciBusId_v2("0000:FE:1F.0", &same));
    REFUSES(nvml.nvmlDeviceGetHandleByPciBusId_v2(NULL, &same));
    GIVES(NVML_ERROR_NOT_FOUND, nvml.nvmlDeviceGetHandleByUUID("x", &same));
    REFUSES(nvml.nvmlDeviceGetHandleByPciBusId_v2("x", &same));
    GIVES(NVML_ERROR_NOT_FOUND, nvml.nvmlDeviceGetHandleByPciBusId_v2("0000:FE:1F", &same));
    GIVES(NVML_ERROR_NOT_FOUND, nvml.nvmlDeviceGetHandleBySerial("x", &same));
}

static void identity(void)
{
    char name[96] = "", uuid[96] = "", small[2];
    int major = 0, minor = -1;
    nvmlBrandType_t brand;
    nvmlDeviceArchitecture_t architecture;
    unsigned number = 999;

    SUCCEEDS(nvml.nvmlDeviceGetName(gpu, name, sizeof(name)));
    SUCCEEDS(nvml.nvmlDeviceGetUUID(gpu, uuid, sizeof(uuid)));
    SUCCEEDS(nvml.nvmlDeviceGetBrand(gpu, &brand));
    SUCCEEDS(nvml.nvmlDeviceGetCudaComputeCapability(gpu, &major, &minor));
    SUCCEEDS(nvml.nvmlDeviceGetArchitecture(gpu, &architecture));
    SUCCEEDS(nvml.nvmlDeviceGetMinorNumber(gpu, &number));
    note("%s, %s, brand %d, %d.%d, architecture %u, minor %u", name, uuid, brand, major, minor,
         architecture, number);
    CHECK(strlen(name) > 2);
    CHECK(strlen(uuid) == 40 && strncmp(uuid, "GPU-", 4) == 0);
    CHECK(major >= 3 && minor >= 0 && minor < 10);
    CHECK(architecture >= NVML_DEVICE_ARCH_KEPLER);
    CHECK(number < 256);
    GIVES(NVML_ERROR_INSUFFICIENT_SIZE, nvml.nvmlDeviceGetName(gpu, small, sizeof(small)));
    GIVES(NVML_ERROR_INSUFFICIENT_SIZE, nvml.nvmlDeviceGetUUID(gpu, small, sizeof(small)));
    REFUSES(nvml.nvmlDeviceGetName(gpu, NULL, 96));
    REFUSES(nvml.nvmlDeviceGetCudaComputeCapability(gpu, NULL, &minor));
}

static void no_handle_is_refused(void)
{
    nvmlMemory_t memory;
    nvmlPciInfo_t pci;
    char text[96];
    unsigned n;

    REFUSES(nvml.nvmlDeviceGetName(NULL, text, sizeof(text)));
    REFUSES(nvml.nvmlDeviceGetIndex(NULL, &n));
    REFUSES(nvml.nvmlDeviceGetMemoryInfo(NULL, &memory));

    REFUSES(nvml.nvmlDeviceGetPciInfo_v3(NULL, &pci));
    REFUSES(nvml.nvmlDeviceGetMemoryInfo(gpu, NULL));
    REFUSES(nvml.nvmlDeviceGetUtilizationRates(gpu, NULL));
    REFUSES(nvml.nvmlDeviceGetPciInfo_v3(gpu, NULL));
}

static void pci(void)
{
    char text[NVML_DEVICE_PCI_BUS_ID_BUFFER_SIZE];
    nvmlPciInfo_t info, info_2;
    nvmlPciInfoExt_v1_t ext = {.version = NVML_STRUCT_VERSION_OF(nvmlPciInfoExt_v1_t, 1)};

    SUCCEEDS(nvml.nvmlDeviceGetPciInfo_v3(gpu, &info));
    SUCCEEDS(nvml.nvmlDeviceGetPciInfo_v2(gpu, &info_2));
    note("pci %s (%s), device %08x, subsystem %08x", info.busId, info.busIdLegacy, info.pciDeviceId,
         info.pciSubSystemId);
    snprintf(text, sizeof(text), "%08X:%02X:%02X.0", info.domain, info.bus, info.device);
    CHECK(strcmp(text, info.busId) == 0);
    CHECK(strcmp(text + 4, info.busIdLegacy) == 0);
    CHECK((info.pciDeviceId & 0xffff) == 0x10de);
    CHECK(info_2.bus == info.bus && info_2.pciDeviceId == info.pciDeviceId);
    if (!nvml.nvmlDeviceGetPciInfoExt)
        return;
    SUCCEEDS(nvml.nvmlDeviceGetPciInfoExt(gpu, &ext));
    note("class %02x%02x, bus %s", ext.baseClass, ext.subClass, ext.busId);
    CHECK(ext.baseClass == 3 && ext.bus == info.bus && strcmp(ext.busId, info.busId) == 0);
    ext.version = 1;
    GIVES(NVML_ERROR_ARGUMENT_VERSION_MISMATCH, nvml.nvmlDeviceGetPciInfoExt(gpu, &ext));
}

static void memory(void)
{
    nvmlMemory_v2_t v2 = {.version = NVML_STRUCT_VERSION_OF(nvmlMemory_v2_t, 2)};
    nvmlBAR1Memory_t bar1;
    nvmlMemory_t v1;
    unsigned bits = 0;

    SUCCEEDS(nvml.nvmlDeviceGetMemoryInfo(gpu, &v1));
    SUCCEEDS(nvml.nvmlDeviceGetMemoryInfo_v2(gpu, &v2));
    note("v1 total %llu used %llu free %llu", v1.total, v1.used, v1.free);
    note("v2 total %llu reserved %llu used %llu free %llu", v2.total, v2.reserved, v2.used,
         v2.free);
    CHECK(v1.total == v2.total);
    CHECK(v1.total == v1.used + v1.free);
    CHECK(v2.total == v2.reserved + v2.used + v2.free);
    CHECK(v2.reserved > 0 && v2.reserved < v2.total / 8);
    CHECK(v1.used >= v2.reserved);
    v2.version = 2;
    GIVES(NVML_ERROR_FUNCTION_NOT_FOUND, nvml.nvmlDeviceGetMemoryInfo_v2(gpu, &v2));
    SUCCEEDS(nvml.nvmlDeviceGetBAR1MemoryInfo(gpu, &bar1));
    note("bar1 total %llu used %llu", bar1.bar1Total, bar1.bar1Used);
    CHECK(bar1.bar1Total == bar1.bar1Used + bar1.bar1Free);
    SUCCEEDS(nvml.nvmlDeviceGetMemoryBusWidth(gpu, &bits));
    note("bus %u bits", bits);
}

static void load(void)
{
    nvmlUtilization_t utilization = {999, 999};
    unsigned percent = 999, period, celsius = 999, mw = 0, count = 0;
    unsigned long long energy = 0;
    nvmlValueType_t type;
    nvmlPstates_t state;

    SUCCEEDS(nvml.nvmlDeviceGetUtilizationRates(gpu, &utilization));
    CHECK(utilization.gpu <= 100 && utilization.memory <= 100);
    if (SUPPORTED(nvml.nvmlDeviceGetDecoderUtilization(gpu, &percent, &period)))
        CHECK(percent <= 100);
    note("encoder: %d", nvml.nvmlDeviceGetEncoderUtilization(gpu, &percent, &period));
    SUCCEEDS(nvml.nvmlDeviceGetTemperature(gpu, NVML_TEMPERATURE_GPU, &celsius));
    CHECK(celsius < 130);
    REFUSES(nvml.nvmlDeviceGetTemperature(gpu, (nvmlTemperatureSensors_t)7, &celsius));
    SUCCEEDS(nvml.nvmlDeviceGetPerformanceState(gpu, &state));
    CHECK(state <= NVML_PSTATE_15);
    SUCCEEDS(nvml.nvmlDeviceGetPowerUsage(gpu, &mw));
    CHECK(mw > 0 && mw < 2000000);
    SUCCEEDS(nvml.nvmlDeviceGetTotalEnergyConsumption(gpu, &energy));
    note("%u C, P%d, %u mW, %llu mJ", celsius, state, mw, energy);
    SUCCEEDS(nvml.nvmlDeviceGetSamples(gpu, NVML_GPU_UTILIZATION_SAMPLES, 0, &type, &count, NULL));
    note("samples: type %d count %u", type, count);
    CHECK(count > 0 && type == NVML_VALUE_TYPE_UNSIGNED_INT);
    if (nvml.nvmlDeviceGetTemperatureV) {
        nvmlTemperature_v1_t t = {.version = NVML_STRUCT_VERSION_OF(nvmlTemperature_v1_t, 1)};
        nvmlReturn_t r = nvml.nvmlDeviceGetTemperatureV(gpu, &t);

        note("TemperatureV: %d, %d C", r, t.temperature);
    }
}

static void limits(void)
{
    unsigned low = 0, high = 0, limit = 0, standard = 0, enforced = 0, now = 0, most = 0, t = 0;

    SUCCEEDS(nvml.nvmlDeviceGetPowerManagementLimitConstraints(gpu, &low, &high));
    SUCCEEDS(nvml.nvmlDeviceGetPowerManagementLimit(gpu, &limit));
    SUCCEEDS(nvml.nvmlDeviceGetPowerManagementDefaultLimit(gpu, &standard));
    SUCCEEDS(nvml.nvmlDeviceGetEnforcedPowerLimit(gpu, &enforced));
    note("power %u..%u, limit %u, default %u, enforced %u mW", low, high, limit, standard,
         enforced);
    CHECK(low <= limit && limit <= high && enforced <= limit && standard <= high);
    for (int type = NVML_CLOCK_GRAPHICS; type <= NVML_CLOCK_VIDEO; type++) {
        SUCCEEDS(nvml.nvmlDeviceGetClockInfo(gpu, (nvmlClockType_t)type, &now));
        SUCCEEDS(nvml.nvmlDeviceGetMaxClockInfo(gpu, (nvmlClockType_t)type, &most));
        note("clock %d: %u of %u MHz", type, now, most);
        CHECK(now <= most);
    }
    GIVES(NVML_ERROR_NOT_SUPPORTED, nvml.nvmlDeviceGetClockInfo(gpu, (nvmlClockType_t)77, &now));
    for (int i = 0; i < 4; i++) {
        nvmlReturn_t r =
            nvml.nvmlDeviceGetTemperatureThreshold(gpu, (nvmlTemperatureThresholds_t)i, &t);

        note("threshold %d: %d, %u C", i, r, t);
    }
}

static void modes(void)
{
    nvmlEnableState_t current, pending;
    nvmlGpuVirtualizationMode_t virtualization;
    nvmlComputeMode_t compute;
    unsigned fans = 99, speed;

    SUCCEEDS(nvml.nvmlDeviceGetPersistenceMode(gpu, &current));
    SUCCEEDS(nvml.nvmlDeviceGetComputeMode(gpu, &compute));
    CHECK(compute <= NVML_COMPUTEMODE_EXCLUSIVE_PROCESS);
    SUCCEEDS(nvml.nvmlDeviceGetVirtualizationMode(gpu, &virtualization));
    note("compute mode %d, persistence %d, virtualization %d", compute, current, virtualization);
    if (SUPPORTED(nvml.nvmlDeviceGetEccMode(gpu, &current, &pending)))
        CHECK(current <= 1 && pending <= 1);
    SUCCEEDS(nvml.nvmlDeviceGetNumFans(gpu, &fans));
    if (fans == 0)
        GIVES(NVML_ERROR_NOT_SUPPORTED, nvml.nvmlDeviceGetFanSpeed(gpu, &speed));
}

static void mig(void)
{
    unsigned current = 9, pending = 9, is_mig = 9, count = 99, id = 0;
    nvmlDevice_t slice = NULL;
    bool capable = SUPPORTED(nvml.nvmlDeviceGetMigMode(gpu, &current, &pending));

    note("MIG mode %u, pending %u", current, pending);
    SUCCEEDS(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu, &count));
    CHECK(count == 0 || current == 1);
    SUCCEEDS(nvml.nvmlDeviceIsMigDeviceHandle(gpu, &is_mig));
    CHECK(is_mig == 0);
    if (!capable)
        return;
    REFUSES(nvml.nvmlDeviceGetGpuInstanceId(gpu, &id));
    REFUSES(nvml.nvmlDeviceGetComputeInstanceId(gpu, &id));
    REFUSES(nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(gpu, &slice));
    if (current == 0)
        GIVES(NVML_ERROR_NOT_FOUND, nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, 0, &slice));
    CHECK(current <= 1 && pending <= 1);
    REFUSES(nvml.nvmlDeviceGetMigMode(gpu, NULL, &pending));
}

/* One profile of GPU instances, by each function that knows it. */
static void mig_profile(unsigned index, bool is_off)
{
    nvmlGpuInstanceProfileInfo_v2_t v2 = {
        .version = NVML_STRUCT_VERSION_OF(nvmlGpuInstanceProfileInfo_v2_t, 2)};
    nvmlGpuInstancePlacement_t places[16] = {{0, 0}};
    nvmlGpuInstanceProfileInfo_t v1 = {.id = 0};
    unsigned n = 0, room = 16, capacity = 99;
    nvmlGpuInstance_t instances[16];
    nvmlReturn_t r = nvml.nvmlDeviceGetGpuInstanceProfileInfo(gpu, index, &v1);

    CHECK(r == NVML_SUCCESS || r == NVML_ERROR_NOT_SUPPORTED || r == NVML_ERROR_INVALID_ARGUMENT);
    if (r != NVML_SUCCESS)
        return;
    note("MIG profile %u: id %u, %u x %u slices", index, v1.id, v1.instanceCount, v1.sliceCount);
    CHECK(v1.instanceCount >= 1 && v1.sliceCount >= 1 && v1.memorySizeMB > 0);
    SUCCEEDS(nvml.nvmlDeviceGetGpuInstanceProfileInfoV(gpu, index, &v2));
    CHECK(v2.id == v1.id && v2.instanceCount == v1.instanceCount);
    CHECK(v2.memorySizeMB == v1.memorySizeMB && strncmp(v2.name, "MIG ", 4) == 0);
    SUCCEEDS(nvml.nvmlDeviceGetGpuInstancePossiblePlacements_v2(gpu, v1.id, NULL, &n));
    SUCCEEDS(nvml.nvmlDeviceGetGpuInstancePossiblePlacements_v2(gpu, v1.id, places, &room));
    CHECK(n == room && n >= v1.instanceCount && places[0].size > 0);
    SUCCEEDS(nvml.nvmlDeviceGetGpuInstanceRemainingCapacity(gpu, v1.id, &capacity));
    CHECK(is_off ? capacity == v1.instanceCount : capacity <= v1.instanceCount);
    SUCCEEDS(nvml.nvmlDeviceGetGpuInstances(gpu, v1.id, instances, &n));
    CHECK(!is_off || n == 0);
    v2.version = 1;
    REFUSES(nvml.nvmlDeviceGetGpuInstanceProfileInfoV(gpu, index, &v2));
}

static void mig_profiles(void)
{
    unsigned current = 9, pending = 9, n = 0;
    nvmlGpuInstanceProfileInfo_t info;
    nvmlGpuInstance_t instance;

    if (!SUPPORTED(nvml.nvmlDeviceGetMigMode(gpu, &current, &pending)))
        return;
    for (unsigned index = 0; index <= NVML_GPU_INSTANCE_PROFILE_COUNT; index++)
        mig_profile(index, current == 0);
    REFUSES(nvml.nvmlDeviceGetGpuInstanceProfileInfo(gpu, 99, &info));
    REFUSES(nvml.nvmlDeviceGetGpuInstanceProfileInfo(gpu, 0, NULL));
    REFUSES(nvml.nvmlDeviceGetGpuInstanceRemainingCapacity(gpu, 99, &n));
    if (current == 0)
        GIVES(NVML_ERROR_NOT_FOUND, nvml.nvmlDeviceGetGpuInstanceById(gpu, 1, &instance));
}

static unsigned long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (unsigned long long)now.tv_sec * 1000 + (unsigned long long)now.tv_nsec / 1000000;
}

static void events(void)
{
    unsigned long long types = 0, began;
    nvmlEventSet_t set = NULL;
    nvmlEventData_t data;

    SUCCEEDS(nvml.nvmlDeviceGetSupportedEventTypes(gpu, &types));
    note("event types %llx", types);
    CHECK(types & nvmlEventTypeXidCriticalError);
    REFUSES(nvml.nvmlEventSetCreate(NULL));
    SUCCEEDS(nvml.nvmlEventSetCreate(&set));
    SUCCEEDS(nvml.nvmlDeviceRegisterEvents(gpu, types & nvmlEventTypeXidCriticalError, set));

    GIVES(NVML_ERROR_NOT_SUPPORTED, nvml.nvmlDeviceRegisterEvents(gpu, 1ull << 60, set));
    SUCCEEDS(nvml.nvmlDeviceRegisterEvents(gpu, 0, set));
    REFUSES(nvml.nvmlDeviceRegisterEvents(gpu, types, NULL));
    began = now_ms();
    GIVES(NVML_ERROR_TIMEOUT, nvml.nvmlEventSetWait_v2(set, &data, 100));
    CHECK(now_ms() - began >= 95 && now_ms() - began < 5000);
    GIVES(NVML_ERROR_TIMEOUT, nvml.nvmlEventSetWait_v2(set, &data, 0));
    SUCCEEDS(nvml.nvmlDeviceRegisterEvents(gpu, types, set)); /* more of them, later */
    REFUSES(nvml.nvmlEventSetWait_v2(set, NULL, 0));
    REFUSES(nvml.nvmlEventSetWait_v2(NULL, &data, 0));
    SUCCEEDS(nvml.nvmlEventSetFree(set));
    REFUSES(nvml.nvmlEventSetFree(NULL));
    SUCCEEDS(nvml.nvmlEventSetCreate(&set));
    GIVES(NVML_ERROR_TIMEOUT, nvml.nvmlEventSetWait_v2(set, &data, 0)); /* of no device */
    SUCCEEDS(nvml.nvmlEventSetFree(set));
}

static void fields(void)
{
    nvmlFieldValue_t f[] = {
        {.fieldId = NVML_FI_DEV_ECC_CURRENT},
        {.fieldId = NVML_FI_DEV_NVLINK_LINK_COUNT},
        {.fieldId = 9999},
        {.fieldId = NVML_FI_DEV_POWER_INSTANT},
        {.fieldId = NVML_FI_DEV_MEMORY_TEMP},
        {.fieldId = NVML_FI_DEV_GET_GPU_RECOVERY_ACTION},
        {.fieldId = NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON},
        {.fieldId = NVML_FI_DEV_NVLINK_GET_SPEED},
        {.fieldId = NVML_FI_DEV_NVLINK_GET_VERSION},
        {.fieldId = NVML_FI_DEV_NVLINK_GET_STATE},
        {.fieldId = NVML_FI_DEV_NVSWITCH_CONNECTED_LINK_COUNT},
        {.fieldId = NVML_FI_DEV_REMAPPED_COR},
        {.fieldId = NVML_FI_DEV_RETIRED_SBE},
        {.fieldId = NVML_FI_DEV_C2C_LINK_COUNT},
        {.fieldId = NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION},
        {.fieldId = NVML_FI_DEV_PCIE_REPLAY_COUNTER},
        {.fieldId = NVML_FI_DEV_IS_RESETLESS_MIG_SUPPORTED},
        {.fieldId = NVML_FI_DEV_IS_MIG_MODE_INDEPENDENT_MIG_QUERY_CAPABLE},
        {.fieldId = NVML_FI_DEV_RESET_STATUS},
        {.fieldId = NVML_FI_DEV_DRAIN_AND_RESET_STATUS},
    };
    const int n = (int)(sizeof(f) / sizeof(f[0]));

    SUCCEEDS(nvml.nvmlDeviceGetFieldValues(gpu, n, f));
    for (int i = 0; i < n; i++)
        note("field %u: %d, type %d, %llu", f[i].fieldId, f[i].nvmlReturn, f[i].valueType,
             f[i].value.ullVal);
    CHECK(f[2].nvmlReturn == NVML_ERROR_INVALID_ARGUMENT);
    CHECK(f[5].nvmlReturn != NVML_SUCCESS || f[5].value.uiVal == 0); /* a healthy GPU */
    REFUSES(nvml.nvmlDeviceGetFieldValues(gpu, 0, f));
    REFUSES(nvml.nvmlDeviceGetFieldValues(gpu, -1, f));
    REFUSES(nvml.nvmlDeviceGetFieldValues(gpu, 1, NULL));
}

static void processes(void)
{
    static nvmlProcessInfo_t list[512];
    static nvmlProcessInfo_v1_t list_1[512];
    unsigned n = 0, n_1 = 512, n_3 = 512;

    GIVES_EITHER(NVML_SUCCESS, NVML_ERROR_INSUFFICIENT_SIZE,
                 nvml.nvmlDeviceGetComputeRunningProcesses_v3(gpu, &n, NULL));
    SUCCEEDS(nvml.nvmlDeviceGetComputeRunningProcesses_v3(gpu, &n_3, list));
    SUCCEEDS(nvml.nvmlDeviceGetComputeRunningProcesses(gpu, &n_1, list_1));
    note("%u processes", n_3);
    CHECK(n_1 == n_3);
    for (unsigned i = 0; i < n_3 && i < n_1; i++)
        CHECK(list[i].pid == list_1[i].pid && list[i].gpuInstanceId == 0xffffffffu);
    REFUSES(nvml.nvmlDeviceGetComputeRunningProcesses_v3(gpu, NULL, list));
    n = 512;
    SUCCEEDS(nvml.nvmlDeviceGetGraphicsRunningProcesses_v3(gpu, &n, list));
    n = 512;
    SUCCEEDS(nvml.nvmlDeviceGetMPSComputeRunningProcesses_v3(gpu, &n, list));
    n = 0;
    GIVES(NVML_ERROR_INSUFFICIENT_SIZE, nvml.nvmlDeviceGetProcessUtilization(gpu, NULL, &n, 0));
    CHECK(n > 0);
}

static void nvlink(void)
{
    nvmlEnableState_t active = NVML_FEATURE_DISABLED;
    unsigned version = 0;
    nvmlReturn_t r;

    REFUSES(nvml.nvmlDeviceGetNvLinkState(gpu, 0, NULL));
    r = nvml.nvmlDeviceGetNvLinkState(gpu, 0, &active);
    note("link 0: %d, active %d", r, active);
    if (r == NVML_SUCCESS) {
        SUCCEEDS(nvml.nvmlDeviceGetNvLinkVersion(gpu, 0, &version));
        CHECK(version >= NVML_NVLINK_VERSION_1_0);
        REFUSES(nvml.nvmlDeviceGetNvLinkState(gpu, 99, &active));
        return;
    }
    /* No links at all, or none that is connected: every query returns the same. */
    GIVES(NVML_ERROR_NOT_SUPPORTED, nvml.nvmlDeviceGetNvLinkState(gpu, 0, &active));
    GIVES(NVML_ERROR_NOT_SUPPORTED, nvml.nvmlDeviceGetNvLinkState(gpu, 99, &active));
    GIVES(NVML_ERROR_NOT_SUPPORTED, nvml.nvmlDeviceGetNvLinkVersion(gpu, 0, &version));
}

/* One link in use. On a virtual machine an NVSwitch may have no visible PCI address: all ones
 * then. */
static void active_link(unsigned link)
{
    nvmlIntNvLinkDeviceType_t type = NVML_NVLINK_DEVICE_TYPE_UNKNOWN;
    nvmlPciInfo_t remote = {.busId = ""};
    unsigned version = 0, cap = 0;

    SUCCEEDS(nvml.nvmlDeviceGetNvLinkVersion(gpu, link, &version));
    SUCCEEDS(nvml.nvmlDeviceGetNvLinkCapability(gpu, link, NVML_NVLINK_CAP_P2P_SUPPORTED, &cap));
    SUCCEEDS(nvml.nvmlDeviceGetNvLinkRemoteDeviceType(gpu, link, &type));
    SUCCEEDS(nvml.nvmlDeviceGetNvLinkRemotePciInfo_v2(gpu, link, &remote));
    note("link %u: version %u, P2P %u, type %d, to %s", link, version, cap, type, remote.busId);
    CHECK(type == NVML_NVLINK_DEVICE_TYPE_GPU || type == NVML_NVLINK_DEVICE_TYPE_SWITCH);
    CHECK(cap == 1 && strlen(remote.busId) == 16);
}

/* Between two GPUs, if there are two; links are walked as an agent does to find a peer. */
static void peers(void)
{
    nvmlGpuTopologyLevel_t level = NVML_TOPOLOGY_INTERNAL;
    nvmlGpuP2PStatus_t p2p = NVML_P2P_STATUS_UNKNOWN;
    nvmlDevice_t other;
    unsigned n = 0;

    SUCCEEDS(nvml.nvmlDeviceGetCount_v2(&n));
    if (n < 2)
        return;
    SUCCEEDS(nvml.nvmlDeviceGetHandleByIndex_v2(1, &other));
    SUCCEEDS(nvml.nvmlDeviceGetTopologyCommonAncestor(gpu, other, &level));
    SUCCEEDS(nvml.nvmlDeviceGetP2PStatus(gpu, other, NVML_P2P_CAPS_INDEX_NVLINK, &p2p));
    note("level %d, NVLink %d", level, p2p);
    for (unsigned link = 0; link < NVML_NVLINK_MAX_LINKS; link++) {
        nvmlEnableState_t active = NVML_FEATURE_DISABLED;
        nvmlReturn_t r = nvml.nvmlDeviceGetNvLinkState(gpu, link, &active);

        if (r != NVML_SUCCESS)
            CHECK(r == NVML_ERROR_NOT_SUPPORTED || r == NVML_ERROR_INVALID_ARGUMENT);
        else if (active)
            active_link(link);
    }
}

static void topology(void)
{
    unsigned long cpus[16] = {0}, nodes[4] = {0};
    nvmlGpuTopologyLevel_t level = NVML_TOPOLOGY_SYSTEM;
    nvmlGpuP2PStatus_t p2p = NVML_P2P_STATUS_OK;
    unsigned node = 0, any = 0;
    int same = 0;

    GIVES(NVML_ERROR_NOT_SUPPORTED, nvml.nvmlDeviceGetTopologyCommonAncestor(gpu, gpu, &level));
    SUCCEEDS(nvml.nvmlDeviceOnSameBoard(gpu, gpu, &same));
    CHECK(same == 1);
    if (SUPPORTED(nvml.nvmlDeviceGetCpuAffinity(gpu, 16, cpus))) {
        for (unsigned i = 0; i < 16; i++)
            any |= cpus[i] != 0;
        CHECK(any);
    }
    SUPPORTED(nvml.nvmlDeviceGetMemoryAffinity(gpu, 4, nodes, NVML_AFFINITY_SCOPE_NODE));
    note("cpus %lx.., nodes %lx", cpus[0], nodes[0]);
    REFUSES(nvml.nvmlDeviceGetCpuAffinity(gpu, 16, NULL));
    if (nvml.nvmlDeviceGetNumaNodeId && SUPPORTED(nvml.nvmlDeviceGetNumaNodeId(gpu, &node)))
        note("the GPU is NUMA node %u", node);
    SUCCEEDS(nvml.nvmlDeviceGetP2PStatus(gpu, gpu, NVML_P2P_CAPS_INDEX_READ, &p2p));
    CHECK(p2p == NVML_P2P_STATUS_OK || p2p == NVML_P2P_STATUS_NOT_SUPPORTED);
}

static void fabric(void)
{
    nvmlGpuFabricInfo_v2_t info = {.version = NVML_STRUCT_VERSION_OF(nvmlGpuFabricInfo_v2_t, 2)};

    if (!nvml.nvmlDeviceGetGpuFabricInfoV)
        return;
    if (SUPPORTED(nvml.nvmlDeviceGetGpuFabricInfoV(gpu, &info)))
        note("fabric state %u, status %d, clique %u, health %x", info.state, info.status,
             info.cliqueId, info.healthMask);
    info.version = 1;
    GIVES(NVML_ERROR_ARGUMENT_VERSION_MISMATCH, nvml.nvmlDeviceGetGpuFabricInfoV(gpu, &info));
}

static void memory_errors(void)
{
    unsigned long long count = 0;
    unsigned a, b, c, d, pages = 0;

    if (SUPPORTED(nvml.nvmlDeviceGetTotalEccErrors(gpu, NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                                                   NVML_VOLATILE_ECC, &count)))
        note("uncorrected errors: %llu", count);
    if (SUPPORTED(nvml.nvmlDeviceGetRemappedRows(gpu, &a, &b, &c, &d)))
        CHECK(c <= 1 && d <= 1);
    note("retired pages: %d",
         nvml.nvmlDeviceGetRetiredPages(gpu, NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR,
                                        &pages, NULL));
    REFUSES(nvml.nvmlDeviceGetTotalEccErrors(gpu, NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                                             NVML_VOLATILE_ECC, NULL));
}

static void inforom(void)
{
    char text[64] = "";

    if (SUPPORTED(nvml.nvmlDeviceGetInforomImageVersion(gpu, text, sizeof(text)))) {
        note("infoROM %s", text);
        CHECK(strlen(text) > 8 && strchr(text, '.'));
        GIVES(NVML_ERROR_INSUFFICIENT_SIZE, nvml.nvmlDeviceGetInforomImageVersion(gpu, text, 3));
    }
    for (nvmlInforomObject_t object = NVML_INFOROM_OEM; object <= NVML_INFOROM_DEN; object++) {
        unsigned major, minor;

        if (!SUPPORTED(nvml.nvmlDeviceGetInforomVersion(gpu, object, text, sizeof(text))))
            continue;
        note("object %u: %s", object, text);
        CHECK(sscanf(text, "%u.%u", &major, &minor) == 2);
    }
    REFUSES(nvml.nvmlDeviceGetInforomVersion(gpu, NVML_INFOROM_DEN + 1, text, sizeof(text)));
}

static void performance_states(void)
{
    nvmlPstates_t states[NVML_MAX_GPU_PERF_PSTATES], current;
    unsigned lowest, highest, graphics, n = 0;
    bool is_listed = false;

    SUCCEEDS(nvml.nvmlDeviceGetPerformanceState(gpu, &current));
    SUCCEEDS(nvml.nvmlDeviceGetClockInfo(gpu, NVML_CLOCK_GRAPHICS, &graphics));
    if (!SUPPORTED(nvml.nvmlDeviceGetSupportedPerformanceStates(gpu, states, sizeof(states))))
        return;
    for (; n < NVML_MAX_GPU_PERF_PSTATES && states[n] != NVML_PSTATE_UNKNOWN; n++) {
        is_listed |= states[n] == current;
        SUCCEEDS(nvml.nvmlDeviceGetMinMaxClockOfPState(gpu, NVML_CLOCK_GRAPHICS, states[n], &lowest,
                                                       &highest));
        note("P%u: %u to %u MHz", states[n], lowest, highest);
        CHECK(lowest <= highest && (n == 0 || states[n] < states[n - 1]));
        if (states[n] == current)
            CHECK(lowest <= graphics && graphics <= highest);
    }
    CHECK(is_listed);
    for (; n < NVML_MAX_GPU_PERF_PSTATES; n++)
        CHECK(states[n] == NVML_PSTATE_UNKNOWN);
    GIVES(NVML_ERROR_INSUFFICIENT_SIZE,
          nvml.nvmlDeviceGetSupportedPerformanceStates(gpu, states, 1));
}

static void clock_texts(void)
{
    nvmlDeviceCurrentClockFreqs_t freqs = {
        .version = NVML_STRUCT_VERSION_OF(nvmlDeviceCurrentClockFreqs_v1_t, 1)};
    nvmlDevicePerfModes_t modes = {.version = NVML_STRUCT_VERSION_OF(nvmlDevicePerfModes_v1_t, 1)};

    if (!nvml.nvmlDeviceGetCurrentClockFreqs || !nvml.nvmlDeviceGetPerformanceModes)
        return;
    if (SUPPORTED(nvml.nvmlDeviceGetCurrentClockFreqs(gpu, &freqs)))
        CHECK(strncmp(freqs.str, "nvclock=", 8) == 0 && strstr(freqs.str, ", memclockmax="));
    if (SUPPORTED(nvml.nvmlDeviceGetPerformanceModes(gpu, &modes)))
        CHECK(strncmp(modes.str, "perf=0, nvclock=", 16) == 0);
    note("now %s; modes %s", freqs.str, modes.str);
}

static void sensors(void)
{
    nvmlMarginTemperature_t margin = {.version =
                                          NVML_STRUCT_VERSION_OF(nvmlMarginTemperature_v1_t, 1)};
    nvmlGpuThermalSettings_t settings;
    unsigned celsius;

    SUCCEEDS(nvml.nvmlDeviceGetTemperature(gpu, NVML_TEMPERATURE_GPU, &celsius));
    if (SUPPORTED(nvml.nvmlDeviceGetThermalSettings(gpu, 0, &settings))) {
        CHECK(settings.count >= 1 && settings.count <= NVML_MAX_THERMAL_SENSORS_PER_GPU);
        CHECK(abs(settings.sensor[0][3] - (int)celsius) <= 5);
        CHECK(settings.sensor[0][4] == NVML_THERMAL_TARGET_GPU);
    }
    if (nvml.nvmlDeviceGetMarginTemperature &&
        SUPPORTED(nvml.nvmlDeviceGetMarginTemperature(gpu, &margin)))
        CHECK(margin.marginTemperature > 0 && margin.marginTemperature < 127);
}

static void identifiers(void)
{
    nvmlPlatformInfo_t platform = {.version = NVML_STRUCT_VERSION_OF(nvmlPlatformInfo_v2_t, 2)};
    nvmlSystemDriverBranchInfo_t branch = {
        .version = NVML_STRUCT_VERSION_OF(nvmlSystemDriverBranchInfo_v1_t, 1)};
    nvmlPdi_t pdi = {.version = NVML_STRUCT_VERSION_OF(nvmlPdi_v1_t, 1)};
    nvmlEnableState_t draining;
    nvmlPciInfo_t pci;
    unsigned n;

    if (nvml.nvmlDeviceGetPdi && SUPPORTED(nvml.nvmlDeviceGetPdi(gpu, &pdi)))
        CHECK(pdi.value != 0);
    if (nvml.nvmlDeviceGetPlatformInfo && SUPPORTED(nvml.nvmlDeviceGetPlatformInfo(gpu, &platform)))
        note("module %u", platform.moduleId);
    if (nvml.nvmlSystemGetDriverBranch) {
        SUCCEEDS(nvml.nvmlSystemGetDriverBranch(&branch, sizeof(branch.branch)));
        note("branch %s", branch.branch);
        CHECK(branch.branch[0] == 'r');
    }
    SUCCEEDS(nvml.nvmlDeviceGetPciInfo_v3(gpu, &pci));
    if (SUPPORTED(nvml.nvmlDeviceQueryDrainState(&pci, &draining)))
        CHECK(draining == NVML_FEATURE_DISABLED);
    if (SUPPORTED(nvml.nvmlDeviceGetIrqNum(gpu, &n)))
        CHECK(n > 0);
    if (SUPPORTED(nvml.nvmlDeviceGetAccountingBufferSize(gpu, &n)))
        CHECK(n >= 1000);
}

static void encoders(void)
{
    unsigned sessions, fps, latency, percent;

    if (SUPPORTED(nvml.nvmlDeviceGetEncoderStats(gpu, &sessions, &fps, &latency)) && !sessions)
        CHECK(fps == 0 && latency == 0);
    if (SUPPORTED(nvml.nvmlDeviceGetEncoderCapacity(gpu, NVML_ENCODER_QUERY_H264, &percent)))
        CHECK(percent <= 100);
}

/* One more than the known metrics, to see that one refused does not refuse all. */
enum { SOME_METRICS = NVML_GPM_METRIC_MAX };

static void gpm(void)
{
    nvmlGpmSupport_t support = {.version = NVML_GPM_SUPPORT_VERSION};
    nvmlGpmMetricsGet_t *get = calloc(1, sizeof(*get) + SOME_METRICS * sizeof(nvmlGpmMetric_t));
    nvmlGpmSample_t samples[2] = {NULL, NULL};

    if (!get)
        return;
    SUCCEEDS(nvml.nvmlGpmQueryDeviceSupport(gpu, &support));
    note("GPM: %u", support.isSupportedDevice);
    for (unsigned i = 0; i < 2; i++) {
        SUCCEEDS(nvml.nvmlGpmSampleAlloc(&samples[i]));
        GIVES(support.isSupportedDevice ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED,
              nvml.nvmlGpmSampleGet(gpu, samples[i]));
    }
    get->sample1 = samples[0];
    get->sample2 = samples[1];
    get->numMetrics = SOME_METRICS;
    for (unsigned i = 0; i < SOME_METRICS; i++)
        get->metrics[i].metricId = i + 1;
    GIVES(NVML_ERROR_ARGUMENT_VERSION_MISMATCH, nvml.nvmlGpmMetricsGet(get));
    get->version = NVML_GPM_METRICS_GET_VERSION;
    if (support.isSupportedDevice) {
        SUCCEEDS(nvml.nvmlGpmMetricsGet(get));
        CHECK(get->metrics[0].nvmlReturn == NVML_SUCCESS);
        CHECK(get->metrics[0].value >= 0 && get->metrics[0].value <= 100);
        CHECK(strcmp(get->metrics[0].metricInfo[1], "GRAPHICS_UTIL") == 0);
        CHECK(strcmp(get->metrics[31].metricInfo[0], "nvdec2") == 0);
        CHECK(strcmp(get->metrics[96].metricInfo[1], "NVLINK_L17_TX_PER_SEC") == 0);
        CHECK(strcmp(get->metrics[207].metricInfo[2], "C/R") == 0);
        CHECK(strcmp(get->metrics[208].metricInfo[2], "%") == 0);
        CHECK(get->metrics[209].nvmlReturn == NVML_ERROR_INVALID_ARGUMENT);
        get->sample2 = samples[0];
        REFUSES(nvml.nvmlGpmMetricsGet(get));
    }
    SUCCEEDS(nvml.nvmlGpmSampleFree(samples[0]));
    SUCCEEDS(nvml.nvmlGpmSampleFree(samples[1]));
    free(get);
}

static void after_shutdown(void)
{
    char name[96];

    SUCCEEDS(nvml.nvmlShutdown());
    GIVES(NVML_ERROR_UNINITIALIZED, nvml.nvmlDeviceGetName(gpu, name, sizeof(name)));
}

static const struct tapcase cases[] = {
    {"before init every call says so", before_init},
    {"init and shutdown are counted", init_counts},
    {"error strings", error_strings},
    {"versions", versions},
    {"handles by index", handles},
    {"handles by UUID and PCI address", handles_by_name},
    {"identity", identity},
    {"what is no handle is refused", no_handle_is_refused},
    {"PCI", pci},
    {"memory", memory},
    {"load", load},
    {"limits", limits},
    {"modes", modes},
    {"MIG", mig},
    {"MIG profiles", mig_profiles},
    {"events", events},
    {"field values", fields},
    {"processes", processes},
    {"NVLink", nvlink},
    {"topology", topology},
    {"peers", peers},
    {"fabric", fabric},
    {"memory errors", memory_errors},
    {"infoROM", inforom},
    {"performance states", performance_states},
    {"clocks as text", clock_texts},
    {"sensors", sensors},
    {"identifiers", identifiers},
    {"encoders", encoders},
    {"GPM", gpm},
    {"after shutdown every call says so", after_shutdown},
};

int main(int argc, char **argv)
{
    const char *path = "libnvidia-ml.so.1", *state = getenv("GPUSLICE_SIM_STATE");
    void *library;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0)
            verbose = true;
        else
            path = argv[i];
    }
    /* A simulated machine is new, whatever an earlier run or version of the simulator left. */
    if (state)
        unlink(state);
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        printf("1..0 # SKIP %s\n", dlerror());
        return 77;
    }
#define NVML_CALL(name, arguments) nvml.name = (nvmlReturn_t(*) arguments)dlsym(library, #name);
#include "gpu/nvml-calls.def"
    nvml.nvmlErrorString = (const char *(*)(nvmlReturn_t))dlsym(library, "nvmlErrorString");
#define NVML_CALL(name, arguments) \
    if (!nvml.name)                \
        note("this library has no " #name);
#include "gpu/nvml-calls.def"
    return tap_run(cases, sizeof(cases) / sizeof(cases[0]));
}
