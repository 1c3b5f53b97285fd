// SPDX-License-Identifier: Apache-2.0

/* The performance states of a device and the clocks of each. */

#include <stdio.h>
#include <string.h>

#include "nvml/library.h"

enum { MAX_STATES = 2 };

/* From the highest down; a real T4 or A10G has more between. A Hopper GPU has P2, with memory
 * 1000 MHz slower (an H200 under 580). */
static unsigned list_states(const struct view *v, nvmlPstates_t states[MAX_STATES])
{
    states[0] = NVML_PSTATE_0;
    states[1] = v->model->idle_p8 ? NVML_PSTATE_8 : NVML_PSTATE_2;
    return v->model->idle_p8 || v->model->architecture >= GPU_ARCHITECTURE_HOPPER ? 2 : 1;
}

static bool has_state(const struct view *v, nvmlPstates_t state)
{
    nvmlPstates_t states[MAX_STATES];
    unsigned n = list_states(v, states);

    return state == states[0] || (n > 1 && state == states[1]);
}

static unsigned memory_mhz(const struct view *v, nvmlPstates_t state)
{
    if (state == NVML_PSTATE_8)
        return LOAD_IDLE_MEMORY_MHZ;
    return v->model->memory_mhz - (state == NVML_PSTATE_2 ? 1000 : 0);
}

/* The lowest first. `size` is in bytes. */
nvmlReturn_t nvmlDeviceGetSupportedPerformanceStates(nvmlDevice_t device, nvmlPstates_t *pstates,
                                                     unsigned int size)
{
    nvmlPstates_t states[MAX_STATES];
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);
    unsigned n;

    if (r)
        return r;
    if (!pstates || !size)
        return NVML_ERROR_INVALID_ARGUMENT;
    n = list_states(&v, states);
    if (size < n * sizeof(*pstates))
        return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < size / sizeof(*pstates); i++)
        pstates[i] = i < n ? states[n - 1 - i] : NVML_PSTATE_UNKNOWN;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMinMaxClockOfPState(nvmlDevice_t device, nvmlClockType_t type,
                                              nvmlPstates_t pstate, unsigned int *minClockMHz,
                                              unsigned int *maxClockMHz)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);
    unsigned lowest, highest;

    if (r)
        return r;
    if ((!minClockMHz && !maxClockMHz) || type > NVML_CLOCK_VIDEO || !has_state(&v, pstate))
        return NVML_ERROR_INVALID_ARGUMENT;
    if (type != NVML_CLOCK_GRAPHICS && type != NVML_CLOCK_MEM)
        return NVML_ERROR_UNKNOWN; /* as driver 580.159.04 does */
    lowest = highest = memory_mhz(&v, pstate);
    if (type == NVML_CLOCK_GRAPHICS) {
        lowest = v.model->idle_mhz;
        highest = v.model->graphics_mhz;
    }
    if (minClockMHz)
        *minClockMHz = lowest;
    if (maxClockMHz)
        *maxClockMHz = highest;
    return NVML_SUCCESS;
}

/* The form of the driver's text, without the number of the state. */
static int format_clocks(const struct view *v, unsigned graphics, unsigned memory, char *to,
                         size_t size)
{
    return snprintf(to, size,
                    "nvclock=%u, nvclockmin=%u, nvclockmax=%u, nvclockeditable=0, "
                    "memclock=%u, memclockmin=%u, memclockmax=%u, memclockeditable=0, "
                    "memTransferRate=%u, memTransferRatemin=%u, memTransferRatemax=%u, "
                    "memTransferRateeditable=0",
                    graphics, v->model->idle_mhz, v->model->graphics_mhz, memory, memory, memory,
                    2 * memory, 2 * memory, 2 * memory);
}

nvmlReturn_t nvmlDeviceGetCurrentClockFreqs(nvmlDevice_t device,
                                            nvmlDeviceCurrentClockFreqs_t *currentClockFreqs)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!currentClockFreqs)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (currentClockFreqs->version != NVML_STRUCT_VERSION_OF(nvmlDeviceCurrentClockFreqs_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    format_clocks(&v, load_clock_mhz(&v, NVML_CLOCK_GRAPHICS, false),
                  load_clock_mhz(&v, NVML_CLOCK_MEM, false), currentClockFreqs->str,
                  sizeof(currentClockFreqs->str));
    return NVML_SUCCESS;
}

/* One part for each state, the lowest first, numbered from 0. */
nvmlReturn_t nvmlDeviceGetPerformanceModes(nvmlDevice_t device, nvmlDevicePerfModes_t *perfModes)
{
    nvmlPstates_t states[MAX_STATES];
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);
    size_t n = 0;

    if (r)
        return r;
    if (!perfModes)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (perfModes->version != NVML_STRUCT_VERSION_OF(nvmlDevicePerfModes_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    for (unsigned i = list_states(&v, states), number = 0; i-- > 0; number++) {
        n += (size_t)snprintf(perfModes->str + n, sizeof(perfModes->str) - n, "%sperf=%u, ",
                              number ? " ; " : "", number);
        n += (size_t)format_clocks(&v, v.model->idle_mhz, memory_mhz(&v, states[i]),
                                   perfModes->str + n, sizeof(perfModes->str) - n);
    }
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetDynamicPstatesInfo(nvmlDevice_t device,
                                             nvmlGpuDynamicPstatesInfo_t *pDynamicPstatesInfo)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!pDynamicPstatesInfo)
        return NVML_ERROR_INVALID_ARGUMENT;
    /* Graphics, memory, video, bus. */
    *pDynamicPstatesInfo = (nvmlGpuDynamicPstatesInfo_t){
        .utilization = {{true, load_percent(&v)},
                        {true, atomic_load(&v.now->utilization_memory)},
                        {true, atomic_load(&v.now->utilization_decoder)},
                        {true, 0}},
    };
    return NVML_SUCCESS;
}

/* No clock is offset, and on data-centre GPUs none can be. */
nvmlReturn_t nvmlDeviceGetClockOffsets(nvmlDevice_t device, nvmlClockOffset_t *info)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!info)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (info->version != NVML_STRUCT_VERSION_OF(nvmlClockOffset_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (info->type > NVML_CLOCK_VIDEO || !has_state(&v, info->pstate))
        return NVML_ERROR_INVALID_ARGUMENT;
    info->clockOffsetMHz = info->minClockOffsetMHz = info->maxClockOffsetMHz = 0;
    return NVML_SUCCESS;
}

static nvmlReturn_t give_range(const char *call, nvmlDevice_t device, int *lowest, int *highest)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(call, device, &v);

    if (r)
        return r;
    if (!lowest || !highest)
        return NVML_ERROR_INVALID_ARGUMENT;
    *lowest = *highest = 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetGpcClkMinMaxVfOffset(nvmlDevice_t device, int *minOffset, int *maxOffset)
{
    return give_range(__func__, device, minOffset, maxOffset);
}

nvmlReturn_t nvmlDeviceGetMemClkMinMaxVfOffset(nvmlDevice_t device, int *minOffset, int *maxOffset)
{
    return give_range(__func__, device, minOffset, maxOffset);
}
