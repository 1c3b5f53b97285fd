// SPDX-License-Identifier: Apache-2.0

/*
 * The activity of a device: memory, utilisation, and what follows from them by simple rules (power
 * rises with load from idle to the limit; clocks are high while anything runs).
 */

#include <string.h>

#include "base/clock.h"
#include "nvml/library.h"

unsigned load_percent(const struct view *v)
{
    return state_utilization(v->state, v->index);
}

static bool is_busy(const struct view *v)
{
    return load_percent(v) > 0 || state_used_bytes(v->state, v->index) > 0;
}

unsigned load_power_mw(const struct view *v)
{
    unsigned range = v->model->power_limit_mw - v->model->power_idle_mw;

    return v->model->power_idle_mw + range / 100 * load_percent(v);
}

unsigned load_celsius(const struct view *v)
{
    unsigned set = atomic_load(&v->now->temperature_celsius);

    return set ? set : v->model->idle_celsius + load_percent(v) * 2 / 5;
}

unsigned long long load_energy_mj(const struct view *v)
{
    uint64_t reset_ns = atomic_load(&v->now->reset_ns);
    uint64_t up_ms = (clock_now_ns() - (reset_ns ? reset_ns : v->state->started_ns)) / 1000000u;

    /* The counter restarts at a reset; before the first, the machine was up for an hour. */
    if (reset_ns == 0)
        up_ms += UINT64_C(3600) * 1000;
    return up_ms * v->model->power_idle_mw / 1000;
}

unsigned load_pcie_kbps(const struct view *v)
{
    return load_percent(v) * 1000;
}

unsigned load_clock_mhz(const struct view *v, nvmlClockType_t type, bool highest)
{
    bool high = highest || is_busy(v);

    switch (type) {
    case NVML_CLOCK_GRAPHICS:
    case NVML_CLOCK_SM:
        return high ? v->model->graphics_mhz : v->model->idle_mhz;
    case NVML_CLOCK_MEM:
        return high || !v->model->idle_p8 ? v->model->memory_mhz : LOAD_IDLE_MEMORY_MHZ;
    case NVML_CLOCK_VIDEO:
        return high ? v->model->video_mhz : v->model->video_mhz / 2;
    default:
        return 0;
    }
}

/* Entry points that return one value of a device `v`: name, type, when supported, the value. */
#define VALUES(GIVE)                                                                             \
    GIVE(nvmlDeviceGetPowerUsage, unsigned, true, load_power_mw(&v))                             \
    GIVE(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, true, load_energy_mj(&v))      \
    GIVE(nvmlDeviceGetPowerManagementLimit, unsigned, true, v.model->power_limit_mw)             \
    GIVE(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, true, v.model->power_limit_mw)      \
    GIVE(nvmlDeviceGetEnforcedPowerLimit, unsigned, true, v.model->power_limit_mw)               \
    GIVE(nvmlDeviceGetAdaptiveClockInfoStatus, unsigned, true,                                   \
         NVML_ADAPTIVE_CLOCKING_INFO_STATUS_ENABLED)                                             \
    GIVE(nvmlDeviceGetPerformanceState, nvmlPstates_t, true, performance_state(&v))              \
    GIVE(nvmlDeviceGetPowerState, nvmlPstates_t, true, performance_state(&v))                    \
    GIVE(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, true, clock_reasons(&v))    \
    GIVE(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, true, clock_reasons(&v)) \
    GIVE(nvmlDeviceGetSupportedClocksEventReasons, unsigned long long, true, 0x1ff)              \
    GIVE(nvmlDeviceGetSupportedClocksThrottleReasons, unsigned long long, true, 0x1ff)

static nvmlPstates_t performance_state(const struct view *v)
{
    return v->model->idle_p8 && !is_busy(v) ? NVML_PSTATE_8 : NVML_PSTATE_0;
}

static unsigned clock_reasons(const struct view *v)
{
    return is_busy(v) ? nvmlClocksEventReasonNone : nvmlClocksEventReasonGpuIdle;
}

#define GIVE_VALUE(name, type, supported, expression)                \
    nvmlReturn_t name(nvmlDevice_t device, type *value)              \
    {                                                                \
        struct view v;                                               \
        nvmlReturn_t r = library_enter_device(__func__, device, &v); \
                                                                     \
        if (r)                                                       \
            return r;                                                \
        if (!value)                                                  \
            return NVML_ERROR_INVALID_ARGUMENT;                      \
        if (!(supported))                                            \
            return NVML_ERROR_NOT_SUPPORTED;                         \
        *value = (type)(expression);                                 \
        return NVML_SUCCESS;                                         \
    }
VALUES(GIVE_VALUE)

static uint64_t used_bytes(const struct view *v)
{
    return v->is_mig ? state_instance_used_bytes(v->state, v->index, v->mig.instance.id,
                                                 v->mig.profile->mem_bytes)
                     : state_used_bytes(v->state, v->index);
}

/* The memory of a MIG device is its GPU instance's, which others in it share.
 * The first version counts the driver's own memory as used; the second reports it separately. */
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
    struct view v;
    nvmlReturn_t r = library_enter_any(__func__, device, &v);

    if (r)
        return r;
    if (!memory)
        return NVML_ERROR_INVALID_ARGUMENT;
    memory->total = v.is_mig ? v.mig.profile->mem_bytes : v.model->memory_bytes;
    memory->used = (v.is_mig ? 0 : v.model->reserved_bytes) + used_bytes(&v);
    memory->free = memory->total - memory->used;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
    struct view v;
    nvmlReturn_t r = library_enter_any(__func__, device, &v);

    if (r)
        return r;
    if (!memory)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (memory->version != NVML_STRUCT_VERSION_OF(nvmlMemory_v2_t, 2))
        return NVML_ERROR_FUNCTION_NOT_FOUND; /* not the mismatch that other structs return */
    memory->total = v.is_mig ? v.mig.profile->mem_bytes : v.model->memory_bytes;
    memory->reserved = v.is_mig ? 0 : v.model->reserved_bytes;
    memory->used = used_bytes(&v);
    memory->free = memory->total - memory->reserved - memory->used;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, nvmlBAR1Memory_t *bar1Memory)
{
    struct view v;
    nvmlReturn_t r = library_enter_any(__func__, device, &v);

    if (r)
        return r;
    if (!bar1Memory)
        return NVML_ERROR_INVALID_ARGUMENT;
    bar1Memory->bar1Total = v.model->bar1_bytes;
    bar1Memory->bar1Used = 1664ull << 10;
    bar1Memory->bar1Free = bar1Memory->bar1Total - bar1Memory->bar1Used;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetConfComputeMemSizeInfo(nvmlDevice_t device,
                                                 nvmlConfComputeMemSizeInfo_t *memInfo)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!memInfo)
        return NVML_ERROR_INVALID_ARGUMENT;
    memInfo->protectedMemSizeKib = 0;
    memInfo->unprotectedMemSizeKib = v.model->memory_bytes / 1024;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!utilization)
        return NVML_ERROR_INVALID_ARGUMENT;
    utilization->gpu = load_percent(&v);
    utilization->memory = atomic_load(&v.now->utilization_memory);
    return NVML_SUCCESS;
}

/* Separate engines: their names, whether the model has one, its utilisation. */
#define ENGINES(GIVE)                                       \
    GIVE(nvmlDeviceGetEncoderUtilization, v.model->encoder, \
         atomic_load(&v.now->utilization_encoder))          \
    GIVE(nvmlDeviceGetDecoderUtilization, v.model->decoder, \
         atomic_load(&v.now->utilization_decoder))          \
    GIVE(nvmlDeviceGetJpgUtilization, v.model->jpeg, 0)     \
    GIVE(nvmlDeviceGetOfaUtilization, v.model->ofa, 0)

#define GIVE_ENGINE(name, supported, expression)                                              \
    nvmlReturn_t name(nvmlDevice_t device, unsigned *utilization, unsigned *samplingPeriodUs) \
    {                                                                                         \
        struct view v;                                                                        \
        nvmlReturn_t r = library_enter_device(__func__, device, &v);                          \
                                                                                              \
        if (r)                                                                                \
            return r;                                                                         \
        if (!utilization || !samplingPeriodUs)                                                \
            return NVML_ERROR_INVALID_ARGUMENT;                                               \
        if (!(supported))                                                                     \
            return NVML_ERROR_NOT_SUPPORTED;                                                  \
        *utilization = (expression);                                                          \
        *samplingPeriodUs = 100000;                                                           \
        return NVML_SUCCESS;                                                                  \
    }
ENGINES(GIVE_ENGINE)

/* A Hopper GPU keeps no samples of clocks (an H200 under 580). */
static nvmlReturn_t sample(const struct view *v, nvmlSamplingType_t type, unsigned *ret_value)
{
    const bool has_clocks = v->model->architecture < GPU_ARCHITECTURE_HOPPER;

    *ret_value = 0;
    switch (type) {
    case NVML_TOTAL_POWER_SAMPLES:
        *ret_value = load_power_mw(v);
        return NVML_SUCCESS;
    case NVML_GPU_UTILIZATION_SAMPLES:
        *ret_value = load_percent(v);
        return NVML_SUCCESS;
    case NVML_MEMORY_UTILIZATION_SAMPLES:
        *ret_value = atomic_load(&v->now->utilization_memory);
        return NVML_SUCCESS;
    case NVML_ENC_UTILIZATION_SAMPLES:
        *ret_value = atomic_load(&v->now->utilization_encoder);
        return NVML_SUCCESS;
    case NVML_DEC_UTILIZATION_SAMPLES:
        *ret_value = atomic_load(&v->now->utilization_decoder);
        return NVML_SUCCESS;
    case NVML_JPG_UTILIZATION_SAMPLES:
    case NVML_OFA_UTILIZATION_SAMPLES:
        return NVML_SUCCESS;
    case NVML_PROCESSOR_CLK_SAMPLES:
        *ret_value = load_clock_mhz(v, NVML_CLOCK_SM, false);
        return has_clocks ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND;
    case NVML_MEMORY_CLK_SAMPLES:
        *ret_value = load_clock_mhz(v, NVML_CLOCK_MEM, false);
        return has_clocks ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND;
    default:
        return NVML_ERROR_INVALID_ARGUMENT;
    }
}

/* One sample, taken now; a real driver keeps about a hundred of the last seconds. */
nvmlReturn_t nvmlDeviceGetSamples(nvmlDevice_t device, nvmlSamplingType_t type,
                                  unsigned long long lastSeenTimeStamp,
                                  nvmlValueType_t *sampleValType, unsigned int *sampleCount,
                                  nvmlSample_t *samples)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);
    unsigned value;

    if (r)
        return r;
    if (!sampleValType || !sampleCount)
        return NVML_ERROR_INVALID_ARGUMENT;
    r = sample(&v, type, &value);
    if (r)
        return r;
    *sampleValType = NVML_VALUE_TYPE_UNSIGNED_INT;
    if (samples) {
        if (*sampleCount == 0)
            return NVML_ERROR_INVALID_ARGUMENT;
        if (lastSeenTimeStamp >= library_now_us())
            return NVML_ERROR_NOT_FOUND;
        samples[0].timeStamp = library_now_us();
        samples[0].sampleValue.uiVal = value;
    }
    *sampleCount = 1;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t device,
                                                          unsigned int *minLimit,
                                                          unsigned int *maxLimit)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!minLimit || !maxLimit)
        return NVML_ERROR_INVALID_ARGUMENT;
    *minLimit = v.model->power_min_mw;
    *maxLimit = v.model->power_max_mw;
    return NVML_SUCCESS;
}

/* Of the video engines only the current clock is known, and the memory has no customer maximum
 * (an H200 under 580). */
static nvmlReturn_t give_clock(const char *call, nvmlDevice_t device, nvmlClockType_t type,
                               nvmlClockId_t id, unsigned *clock)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(call, device, &v);

    if (r)
        return r;
    if (!clock || type > NVML_CLOCK_VIDEO || id > NVML_CLOCK_ID_CUSTOMER_BOOST_MAX)
        return NVML_ERROR_INVALID_ARGUMENT;
    if ((type == NVML_CLOCK_VIDEO && id != NVML_CLOCK_ID_CURRENT) ||
        (type == NVML_CLOCK_MEM && id == NVML_CLOCK_ID_CUSTOMER_BOOST_MAX))
        return NVML_ERROR_NOT_SUPPORTED;
    *clock = load_clock_mhz(&v, type, id != NVML_CLOCK_ID_CURRENT);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned int *clock)
{
    nvmlReturn_t r = give_clock(__func__, device, type, NVML_CLOCK_ID_CURRENT, clock);

    /* Alone among these functions. */
    return r == NVML_ERROR_INVALID_ARGUMENT && clock ? NVML_ERROR_NOT_SUPPORTED : r;
}

nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, nvmlClockType_t type,
                                       unsigned int *clock)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!clock || type > NVML_CLOCK_VIDEO)
        return NVML_ERROR_INVALID_ARGUMENT;
    *clock = load_clock_mhz(&v, type, true);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetApplicationsClock(nvmlDevice_t device, nvmlClockType_t clockType,
                                            unsigned int *clockMHz)
{
    return give_clock(__func__, device, clockType, NVML_CLOCK_ID_APP_CLOCK_TARGET, clockMHz);
}

nvmlReturn_t nvmlDeviceGetDefaultApplicationsClock(nvmlDevice_t device, nvmlClockType_t clockType,
                                                   unsigned int *clockMHz)
{
    return give_clock(__func__, device, clockType, NVML_CLOCK_ID_APP_CLOCK_DEFAULT, clockMHz);
}

nvmlReturn_t nvmlDeviceGetMaxCustomerBoostClock(nvmlDevice_t device, nvmlClockType_t clockType,
                                                unsigned int *clockMHz)
{
    return give_clock(__func__, device, clockType, NVML_CLOCK_ID_CUSTOMER_BOOST_MAX, clockMHz);
}

nvmlReturn_t nvmlDeviceGetClock(nvmlDevice_t device, nvmlClockType_t clockType,
                                nvmlClockId_t clockId, unsigned int *clockMHz)
{
    return give_clock(__func__, device, clockType, clockId, clockMHz);
}

static nvmlReturn_t give_clocks(const unsigned *clocks, unsigned n, unsigned *count, unsigned *to)
{
    unsigned room = *count;

    *count = n;
    if (!to || room < n)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    memcpy(to, clocks, n * sizeof(*to));
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetSupportedMemoryClocks(nvmlDevice_t device, unsigned int *count,
                                                unsigned int *clocksMHz)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!count)
        return NVML_ERROR_INVALID_ARGUMENT;
    return give_clocks(&v.model->memory_mhz, 1, count, clocksMHz);
}

/* From the highest down, in steps of 15 MHz. */
nvmlReturn_t nvmlDeviceGetSupportedGraphicsClocks(nvmlDevice_t device, unsigned int memoryClockMHz,
                                                  unsigned int *count, unsigned int *clocksMHz)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);
    unsigned clocks[256], n = 0;

    if (r)
        return r;
    if (!count || !memoryClockMHz)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (memoryClockMHz != v.model->memory_mhz)
        return NVML_ERROR_NOT_FOUND;
    for (unsigned mhz = v.model->graphics_mhz; mhz >= 135 && n < 256; mhz -= 15)
        clocks[n++] = mhz;
    return give_clocks(clocks, n, count, clocksMHz);
}

nvmlReturn_t nvmlDeviceGetViolationStatus(nvmlDevice_t device, nvmlPerfPolicyType_t perfPolicyType,
                                          nvmlViolationTime_t *violTime)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!violTime || perfPolicyType > NVML_PERF_POLICY_TOTAL_BASE_CLOCKS ||
        (perfPolicyType > NVML_PERF_POLICY_RELIABILITY &&
         perfPolicyType < NVML_PERF_POLICY_TOTAL_APP_CLOCKS))
        return NVML_ERROR_INVALID_ARGUMENT;
    violTime->referenceTime = library_now_us();
    violTime->violationTime = 0;
    return NVML_SUCCESS;
}

/* Of any codec, also where there is no encoder: an H200 under 580 says 100, and supports no AV1. */
nvmlReturn_t nvmlDeviceGetEncoderCapacity(nvmlDevice_t device, nvmlEncoderType_t encoderQueryType,
                                          unsigned int *encoderCapacity)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!encoderCapacity || encoderQueryType > NVML_ENCODER_QUERY_AV1)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (encoderQueryType == NVML_ENCODER_QUERY_AV1 && v.model->architecture != GPU_ARCHITECTURE_ADA)
        return NVML_ERROR_NOT_SUPPORTED;
    *encoderCapacity = 100;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetEncoderStats(nvmlDevice_t device, unsigned int *sessionCount,
                                       unsigned int *averageFps, unsigned int *averageLatency)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!sessionCount || !averageFps || !averageLatency)
        return NVML_ERROR_INVALID_ARGUMENT;
    *sessionCount = *averageFps = *averageLatency = 0;
    return NVML_SUCCESS;
}
