// SPDX-License-Identifier: Apache-2.0

/*
 * Event sets. A set belongs to its process and records its position in the shared ring of events;
 * so every set gets every event of its devices once, whatever other sets exist.
 */

#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "nvml/library.h"

enum { MAX_SETS = 64 };

struct nvmlEventSet_st {
    bool used;
    uint64_t next; /* number of the next event to look at */
    struct {
        uint64_t types;
        uint64_t since; /* number of the first event after it was registered */
    } devices[MACHINE_MAX_GPUS];
};

static pthread_mutex_t sets_lock = PTHREAD_MUTEX_INITIALIZER;
static struct nvmlEventSet_st sets[MAX_SETS];

void event_shutdown(void)
{
    pthread_mutex_lock(&sets_lock);
    memset(sets, 0, sizeof(sets));
    pthread_mutex_unlock(&sets_lock);
}

static bool is_set(nvmlEventSet_t set)
{
    for (unsigned i = 0; i < MAX_SETS; i++)
        if (set == &sets[i])
            return set->used;
    return false;
}

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set)
{
    struct state_file *file;
    nvmlReturn_t r = library_enter(__func__, &file);

    if (r)
        return r;
    if (!set)
        return NVML_ERROR_INVALID_ARGUMENT;
    r = NVML_ERROR_INSUFFICIENT_RESOURCES;
    pthread_mutex_lock(&sets_lock);
    for (unsigned i = 0; i < MAX_SETS && r; i++) {
        if (sets[i].used)
            continue;
        sets[i] = (struct nvmlEventSet_st){.used = true, .next = state_next_event(file->state)};
        *set = &sets[i];
        r = NVML_SUCCESS;
    }
    pthread_mutex_unlock(&sets_lock);
    return r;
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set)
{
    struct state_file *file;
    nvmlReturn_t r = library_enter(__func__, &file);

    if (r)
        return r;
    pthread_mutex_lock(&sets_lock);
    r = is_set(set) ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
    if (r == NVML_SUCCESS)
        set->used = false;
    pthread_mutex_unlock(&sets_lock);
    return r;
}

static uint64_t supported(const struct view *v)
{
    /* As driver 580.159.04 reports for an H100; an older driver supports the older half. */
    return library_driver_since(v->state, 575) ? 0xff9f : 0x19f;
}

nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *eventTypes)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (!eventTypes)
        return NVML_ERROR_INVALID_ARGUMENT;
    *eventTypes = supported(&v);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long eventTypes,
                                      nvmlEventSet_t set)
{
    struct view v;
    nvmlReturn_t r = library_enter_device(__func__, device, &v);

    if (r)
        return r;
    if (eventTypes & ~supported(&v))
        return NVML_ERROR_NOT_SUPPORTED;
    pthread_mutex_lock(&sets_lock);
    if (!is_set(set)) {
        r = NVML_ERROR_INVALID_ARGUMENT;
    } else {
        if (!set->devices[v.index].types)
            set->devices[v.index].since = state_next_event(v.state);
        set->devices[v.index].types |= eventTypes;
    }
    pthread_mutex_unlock(&sets_lock);
    return r;
}

static bool wants(const struct nvmlEventSet_st *set, uint64_t number, unsigned gpu, uint64_t type)
{
    return (set->devices[gpu].types & type) && number >= set->devices[gpu].since;
}

/* The next event of the set's devices; advances the set past it. */
static bool take(struct nvmlEventSet_st *set, const struct state *state, nvmlEventData_t *data)
{
    uint64_t end = state_next_event(state);

    if (end > STATE_MAX_EVENTS && set->next < end - STATE_MAX_EVENTS)
        set->next = end - STATE_MAX_EVENTS; /* missed more than the ring holds */
    if (set->next > end)
        set->next = end; /* the machine was reset */
    while (set->next < end) {
        uint64_t number = set->next++;
        struct state_happening event;

        if (!state_event(state, number, &event) || !wants(set, number, event.gpu, event.type))
            continue;
        *data = (nvmlEventData_t){
            .device = library_handle(state, event.gpu),
            .eventType = event.type,
            .eventData = event.data,
            .gpuInstanceId = event.gpu_instance,
            .computeInstanceId = event.compute_instance,
        };
        return true;
    }
    return false;
}

/* A set with a lost GPU reports that at each wait, after its events. */
static bool has_lost(const struct nvmlEventSet_st *set, const struct state *state)
{
    for (unsigned i = 0; i < state->machine.n_gpus; i++)
        if (set->devices[i].types && atomic_load(&state->gpus[i].lost))
            return true;
    return false;
}

static nvmlReturn_t look(nvmlEventSet_t set, const struct state *state, nvmlEventData_t *data)
{
    nvmlReturn_t r = NVML_ERROR_TIMEOUT;

    pthread_mutex_lock(&sets_lock);
    if (!is_set(set))
        r = NVML_ERROR_INVALID_ARGUMENT;
    else if (take(set, state, data))
        r = NVML_SUCCESS;
    else if (has_lost(set, state))
        r = NVML_ERROR_GPU_IS_LOST;
    pthread_mutex_unlock(&sets_lock);
    return r;
}

static nvmlReturn_t wait_for(const char *call, nvmlEventSet_t set, nvmlEventData_t *data,
                             unsigned timeoutms)
{
    struct state_file *file;
    nvmlReturn_t r = library_enter(call, &file);
    uint64_t end = clock_now_ns() + timeoutms * 1000000ull;

    if (r)
        return r;
    if (!data)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (;;) {
        unsigned seen = atomic_load(&file->state->events_changed);
        uint64_t now;

        r = look(set, file->state, data);
        now = clock_now_ns();
        if (r != NVML_ERROR_TIMEOUT || now >= end)
            return r;
        state_wait_event(file, seen, end - now);
        r = library_enter(call, &file); /* a hang injected in the meantime applies, too */
        if (r)
            return r;
    }
}

nvmlReturn_t nvmlEventSetWait(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeoutms)
{
    return wait_for(__func__, set, data, timeoutms);
}

nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeoutms)
{
    return wait_for(__func__, set, data, timeoutms);
}
