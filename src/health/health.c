// SPDX-License-Identifier: Apache-2.0
#include "health/health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/text.h"

void health_deinit(struct health *health)
{
    free(health->devices);
    *health = (struct health)HEALTH_INIT;
}

static struct devicehealth *find_device(const struct health *health, const char *uuid)
{
    for (size_t i = 0; i < health->n_devices; i++)
        if (strcasecmp(health->devices[i].uuid, uuid) == 0)
            return &health->devices[i];
    return NULL;
}

const struct devicehealth *health_find(const struct health *health, const char *uuid)
{
    return find_device(health, uuid);
}

bool health_is_well(const struct health *health, const char *gpu_uuid)
{
    for (size_t i = 0; i < health->n_devices; i++)
        if (!health->devices[i].healthy && strcasecmp(health->devices[i].gpu_uuid, gpu_uuid) == 0)
            return false;
    return true;
}

static struct devicehealth *add_device(struct health *health)
{
    return health->n_devices < HEALTH_DEVICES_MAX
               ? array_push(&health->devices, &health->n_devices, &health->capacity,
                            sizeof(struct devicehealth))
               : NULL;
}

/* The device of that UUID, a new one if need be; NULL without memory. */
static struct devicehealth *take_device(struct health *health, const char *uuid, uint64_t now_ms)
{
    struct devicehealth *device = find_device(health, uuid);

    if (device)
        return device;
    device = add_device(health);
    if (device)
        devicehealth_init(device, uuid, health->only_enabled, now_ms);
    return device;
}

static void set_gpu_gone(struct health *health, struct devicehealth *device, const struct gpu *gpu,
                         uint64_t now_ms)
{
    if (gpu)
        devicehealth_set_reach(device, HEALTH_GONE, health->session, now_ms,
                               "the GPU is unusable: %.120s; reset the GPU or reboot the node",
                               gpu->unusable);
    else
        devicehealth_set_reach(
            device, HEALTH_GONE, health->session, now_ms,
            "the driver no longer lists the GPU; reset the GPU or reboot the node");
}

static int list_gpu(struct health *health, const struct gpu *gpu, uint64_t now_ms)
{
    struct devicehealth *device = take_device(health, gpu->uuid, now_ms);
    struct devicehealth_view before;

    if (!device)
        return -ENOMEM;
    before = devicehealth_view(device);
    device->index = gpu->index;
    if (gpu->unusable[0])
        set_gpu_gone(health, device, gpu, now_ms);
    else if (!device->healthy)
        devicehealth_probe_now(device, now_ms);
    return devicehealth_settle(device, &before, now_ms);
}

static int list_mig(struct health *health, const struct gpu *gpu, const struct device *mig,
                    uint64_t now_ms)
{
    struct devicehealth *device = take_device(health, mig->uuid, now_ms);
    struct devicehealth_view before;

    if (!device)
        return -ENOMEM;
    before = devicehealth_view(device);
    memcpy(device->gpu_uuid, gpu->uuid, sizeof(device->gpu_uuid));
    device->kind = DEVICE_MIG;
    device->instance = mig->instance;
    device->index = gpu->index;
    device->listed = true;
    if (gpu->unusable[0])
        set_gpu_gone(health, device, gpu, now_ms);
    else if (mig->unusable[0])
        devicehealth_set_reach(device, HEALTH_GONE, health->session, now_ms,
                               "the MIG device is unusable: %.120s; recreate it", mig->unusable);
    else if (!device->healthy)
        devicehealth_probe_now(device, now_ms);
    return devicehealth_settle(device, &before, now_ms);
}

/* The GPU of a device as listed by the driver, including one that no longer reports its UUID. */
static const struct gpu *find_listed(const struct inventory *inventory,
                                     const struct devicehealth *device)
{
    for (size_t i = 0; i < inventory->n_gpus; i++) {
        const struct gpu *gpu = &inventory->gpus[i];

        if (gpu->uuid[0] ? strcasecmp(gpu->uuid, device->gpu_uuid) == 0
                         : gpu->index == device->index)
            return gpu;
    }
    return NULL;
}

/* A device that the driver listed before and does not list now, by itself or because its GPU is
 * gone. */
static int miss_device(struct health *health, struct devicehealth *device,
                       const struct inventory *inventory, uint64_t now_ms)
{
    const struct gpu *gpu = find_listed(inventory, device);
    struct devicehealth_view before = devicehealth_view(device);

    if (device->kind == DEVICE_MIG && device->listed && gpu && !*gpu->unusable &&
        gpu->gaps[FACT_MIG_DEVICES])
        return 0; /* the list is not complete */
    device->listed = device->kind == DEVICE_MIG && inventory_find_mig(inventory, device->uuid);
    if (device->listed || (device->kind == DEVICE_WHOLE && gpu && gpu->uuid[0]))
        return 0;
    if (device->kind == DEVICE_MIG)
        device->next_probe_ms = UINT64_MAX;
    if (!gpu || !gpu->uuid[0] || gpu->unusable[0])
        set_gpu_gone(health, device, gpu, now_ms);
    else
        devicehealth_set_reach(device, HEALTH_GONE, health->session, now_ms,
                               "the driver no longer lists the MIG device; recreate it");
    return devicehealth_settle(device, &before, now_ms);
}

static int list_all(struct health *health, const struct inventory *inventory, uint64_t now_ms)
{
    int changed = 0, r = 0;

    for (size_t i = 0; i < inventory->n_gpus && r >= 0; i++) {
        if (inventory->gpus[i].uuid[0])
            r = list_gpu(health, &inventory->gpus[i], now_ms);
        changed |= r;
    }
    for (size_t i = 0; i < inventory->n_mig_devices && r >= 0; i++) {
        const struct device *mig = &inventory->mig_devices[i];

        if (mig->uuid[0])
            r = list_mig(health, &inventory->gpus[mig->gpu], mig, now_ms);
        changed |= r;
    }
    return r < 0 ? r : changed;
}

int health_inventory(struct health *health, const struct inventory *inventory, uint64_t now_ms)
{
    int changed = 0, r;

    health->session += !inventory->is_reread;
    for (size_t i = 0; i < health->n_devices; i++)
        changed |= miss_device(health, &health->devices[i], inventory, now_ms);
    r = list_all(health, inventory, now_ms);
    return r < 0 ? r : changed | r;
}

int health_forget(struct health *health, const struct inventory *known)
{
    int changed = 0;
    size_t n = 0;

    for (size_t i = 0; i < health->n_devices; i++) {
        const struct devicehealth *device = &health->devices[i];

        if (device->kind == DEVICE_WHOLE || inventory_find_mig(known, device->uuid))
            health->devices[n++] = *device;
        else if (!device->healthy || device->excused)
            changed = HEALTH_CHANGED;
    }
    health->n_devices = n;
    return changed;
}

/* Where a fault is: a GPU, and the part of it. */
struct place {
    const char *gpu_uuid; /* "" = all of them */
    struct device_instance instance;
};

/* The event may name a MIG device by its UUID, or the GPU and the instance on it. */
static struct place place_of(const struct health *health, const struct gpu_event *event)
{
    const struct device_instance all = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE};
    const struct devicehealth *named = find_device(health, event->uuid);
    struct place place = {event->uuid, {event->gpu_instance, event->compute_instance}};

    if (named && named->kind == DEVICE_MIG)
        place = (struct place){named->gpu_uuid, named->instance};
    if (xid_find(event->xid)->whole_gpu)
        place.instance = all;
    return place;
}

int health_event(struct health *health, const struct gpu_event *event, enum xid_class class,
                 uint64_t now_ms)
{
    const struct place place = place_of(health, event);
    int changed = 0;

    for (size_t i = 0; i < health->n_devices; i++) {
        struct devicehealth *device = &health->devices[i];

        if (!event->uuid[0] || (strcasecmp(place.gpu_uuid, device->gpu_uuid) == 0 &&
                                device_instances_overlap(place.instance, device->instance)))
            changed |= devicehealth_mark(device, event->xid, class, now_ms);
    }
    return changed;
}

int health_probe(struct health *health, const char *uuid, int outcome,
                 const struct gpu_probe *probe, const char *reason, uint64_t now_ms)
{
    int changed = 0;

    for (size_t i = 0; i < health->n_devices; i++) {
        struct devicehealth *device = &health->devices[i];

        /* A GPU that responds does not bring back a MIG device that it no longer has. */
        if (devicehealth_can_be_probed(device) && strcasecmp(device->gpu_uuid, uuid) == 0)
            changed |=
                devicehealth_take_probe(device, health->session, outcome, probe, reason, now_ms);
    }
    return changed;
}

int health_hang(struct health *health, const char *call, const char *uuid, uint64_t now_ms)
{
    int changed = 0;

    for (size_t i = 0; i < health->n_devices; i++) {
        struct devicehealth *device = &health->devices[i];
        struct devicehealth_view before = devicehealth_view(device);

        if (uuid[0] && strcasecmp(uuid, device->gpu_uuid) != 0)
            continue;
        devicehealth_set_reach(device, HEALTH_SILENT, health->session, now_ms,
                               "the GPU does not respond: the driver call %.60s did not return",
                               call);
        changed |= devicehealth_settle(device, &before, now_ms);
    }
    return changed;
}

int health_watch(struct health *health, const char *gpu_uuid, const char *reason)
{
    struct devicehealth *gpu = find_device(health, gpu_uuid);

    if (!gpu || strcmp(gpu->unwatched, reason) == 0)
        return 0;
    snprintf(gpu->unwatched, sizeof(gpu->unwatched), "%s", reason);
    return HEALTH_CHANGED;
}

int health_unavailable(struct health *health, const char *reason, uint64_t now_ms)
{
    int changed = 0;

    for (size_t i = 0; i < health->n_devices; i++) {
        struct devicehealth *device = &health->devices[i];
        struct devicehealth_view before = devicehealth_view(device);

        devicehealth_set_reach(device, HEALTH_SILENT, health->session, now_ms,
                               "the driver is unusable: %.160s", reason);
        changed |= devicehealth_settle(device, &before, now_ms);
    }
    return changed;
}

int health_clear(struct health *health, uint64_t now_ms)
{
    int changed = 0;

    for (size_t i = 0; i < health->n_devices; i++)
        changed |= devicehealth_clear(&health->devices[i], now_ms);
    return changed;
}

uint64_t health_next_probe_ms(const struct health *health)
{
    uint64_t next_ms = UINT64_MAX;

    for (size_t i = 0; i < health->n_devices; i++)
        if (health->devices[i].next_probe_ms < next_ms)
            next_ms = health->devices[i].next_probe_ms;
    return next_ms;
}

const char *health_take_due(struct health *health, uint64_t now_ms)
{
    const char *gpu_uuid = NULL;

    for (size_t i = 0; i < health->n_devices && !gpu_uuid; i++)
        if (health->devices[i].next_probe_ms <= now_ms)
            gpu_uuid = health->devices[i].gpu_uuid;
    for (size_t i = 0; i < health->n_devices && gpu_uuid; i++)
        if (devicehealth_can_be_probed(&health->devices[i]) &&
            strcasecmp(health->devices[i].gpu_uuid, gpu_uuid) == 0)
            devicehealth_ask(&health->devices[i], now_ms);
    return gpu_uuid;
}

#define SAVED_HEADER "gpuslice-health 2 "

void health_save(const struct health *health, const char *boot, struct text *ret_text)
{
    text_addf(ret_text, SAVED_HEADER "%s\n", boot);
    for (size_t i = 0; i < health->n_devices; i++)
        if (!health->devices[i].healthy || health->devices[i].excused)
            devicehealth_save(&health->devices[i], ret_text);
}

static int restore_device(struct health *health, const char *line)
{
    struct devicehealth device, *place;
    int r = devicehealth_restore(line, health->only_enabled, &device);

    if (r < 0 || find_device(health, device.uuid))
        return -EBADMSG;
    place = add_device(health);
    if (!place)
        return -ENOMEM;
    *place = device;
    return 0;
}

static int restore_lines(struct health *health, const char *boot, char *text)
{
    char *save = NULL;
    char header[128];
    char *line = strtok_r(text, "\n", &save);
    int r = 0;

    if (!line || !str_starts_with(line, SAVED_HEADER))
        return -EBADMSG;
    snprintf(header, sizeof(header), SAVED_HEADER "%s", boot);
    if (strcmp(line, header) != 0)
        return -ESTALE;
    while (r == 0 && (line = strtok_r(NULL, "\n", &save)))
        r = restore_device(health, line);
    return r;
}

int health_restore(struct health *health, const char *boot, const char *data, size_t size)
{
    cleanup_free char *text = strndup(data, size);
    int r;

    if (!text)
        return -ENOMEM;
    r = strlen(text) == size ? restore_lines(health, boot, text) : -EBADMSG;
    if (r < 0) {
        free(health->devices);
        *health = (struct health){.only_enabled = health->only_enabled};
    }
    return r;
}
