// SPDX-License-Identifier: Apache-2.0
#include "health/health.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"

enum { BACKOFF_FIRST_MS = 1000, BACKOFF_MAX_MS = 60000 };

void health_deinit(struct health *health)
{
    free(health->devices);
    *health = (struct health)HEALTH_INIT;
}

static struct health_device *find_device(const struct health *health, const char *uuid)
{
    for (size_t i = 0; i < health->n_devices; i++)
        if (strcasecmp(health->devices[i].uuid, uuid) == 0)
            return &health->devices[i];
    return NULL;
}

const struct health_device *health_find(const struct health *health, const char *uuid)
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

enum health_state health_state(const struct health_device *device)
{
    static const enum health_state by_need[] = {
        [HEALTH_NEED_NOTHING] = HEALTH_HEALTHY,
        [HEALTH_NEED_PROBE] = HEALTH_SUSPECT,
        [HEALTH_NEED_RESET] = HEALTH_NEEDS_RESET,
        [HEALTH_NEED_REBOOT] = HEALTH_NEEDS_REBOOT,
    };

    if (device->reach == HEALTH_GONE)
        return HEALTH_LOST;
    return device->reach == HEALTH_SILENT ? HEALTH_NOT_ANSWERING : by_need[device->need];
}

/* A required action comes before an observation: "XID 79 ..." says more than "is lost". */
const char *health_reason(const struct health_device *device)
{
    if (device->need >= HEALTH_NEED_RESET)
        return device->need_reason;
    if (device->reach != HEALTH_ANSWERS)
        return device->reach_reason;
    return device->need == HEALTH_NEED_PROBE ? device->need_reason : "";
}

/* A device's visible state before an input, to detect changes. */
struct view {
    bool healthy;
    char reason[HEALTH_REASON_SIZE];
};

static struct view view_of(const struct health_device *device)
{
    struct view view = {.healthy = device->healthy};

    snprintf(view.reason, sizeof(view.reason), "%s", health_reason(device));
    return view;
}

/* Derives the state from need and reach. Returns HEALTH_CHANGED or 0. */
static int settle(struct health_device *device, const struct view *before, uint64_t now_ms)
{
    device->healthy = health_state(device) == HEALTH_HEALTHY;
    if (device->healthy != before->healthy)
        device->since_ms = now_ms;
    return device->healthy != before->healthy || strcmp(health_reason(device), before->reason) != 0
               ? HEALTH_CHANGED
               : 0;
}

/* A GPU may respond even if the driver does not list it; a MIG device is probed through its GPU. */
static bool can_be_probed(const struct health_device *device)
{
    return device->kind == DEVICE_WHOLE || device->listed;
}

/* Schedules a probe; a device already in trouble keeps its place in the back-off. */
static void want_probe(struct health_device *device, uint64_t now_ms)
{
    if (device->next_probe_ms != UINT64_MAX || !can_be_probed(device))
        return;
    device->backoff_ms = BACKOFF_FIRST_MS;
    device->next_probe_ms = now_ms + device->backoff_ms;
}

/* An early probe: the new session may find the device healthy again. */
static void probe_now(struct health_device *device, uint64_t now_ms)
{
    want_probe(device, now_ms);
    device->next_probe_ms = now_ms;
}

static void set_reach(struct health *health, struct health_device *device, enum health_reach reach,
                      uint64_t now_ms, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

static void set_reach(struct health *health, struct health_device *device, enum health_reach reach,
                      uint64_t now_ms, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(device->reach_reason, sizeof(device->reach_reason), format, arguments);
    va_end(arguments);
    device->reach = reach;
    device->interrupted = true;
    device->interrupted_session = health->session;
    want_probe(device, now_ms);
}

/* A GPU, unless the caller turns it into a MIG device. */
static struct health_device *add_device(struct health *health, const char *uuid, uint64_t now_ms)
{
    struct health_device *device = NULL;

    if (health->n_devices < HEALTH_DEVICES_MAX)
        device =
            array_push(&health->devices, &health->n_devices, &health->capacity, sizeof(*device));
    if (!device)
        return NULL;
    snprintf(device->uuid, sizeof(device->uuid), "%s", uuid);
    snprintf(device->gpu_uuid, sizeof(device->gpu_uuid), "%s", uuid);
    device->instance = (struct device_instance){DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE};
    device->healthy = true;
    device->since_ms = now_ms;
    device->next_probe_ms = UINT64_MAX;
    device->energy_mj = UINT64_MAX;
    return device;
}

static void set_gpu_gone(struct health *health, struct health_device *device, const struct gpu *gpu,
                         uint64_t now_ms)
{
    if (gpu)
        set_reach(health, device, HEALTH_GONE, now_ms,
                  "the GPU is unusable: %.120s; reset the GPU or reboot the node", gpu->unusable);
    else
        set_reach(health, device, HEALTH_GONE, now_ms,
                  "the driver no longer lists the GPU; reset the GPU or reboot the node");
}

static int list_gpu(struct health *health, const struct gpu *gpu, uint64_t now_ms)
{
    struct health_device *device = find_device(health, gpu->uuid);
    struct view before;

    if (!device)
        device = add_device(health, gpu->uuid, now_ms);
    if (!device)
        return -ENOMEM;
    before = view_of(device);
    device->index = gpu->index;
    if (gpu->unusable[0])
        set_gpu_gone(health, device, gpu, now_ms);
    else if (!device->healthy)
        probe_now(device, now_ms);
    return settle(device, &before, now_ms);
}

static int list_mig(struct health *health, const struct gpu *gpu, const struct device *mig,
                    uint64_t now_ms)
{
    struct health_device *device = find_device(health, mig->uuid);
    struct view before;

    if (!device)
        device = add_device(health, mig->uuid, now_ms);
    if (!device)
        return -ENOMEM;
    before = view_of(device);
    memcpy(device->gpu_uuid, gpu->uuid, sizeof(device->gpu_uuid));
    device->kind = DEVICE_MIG;
    device->instance = mig->instance;
    device->index = gpu->index;
    device->listed = true;
    if (gpu->unusable[0])
        set_gpu_gone(health, device, gpu, now_ms);
    else if (mig->unusable[0])
        set_reach(health, device, HEALTH_GONE, now_ms,
                  "the MIG device is unusable: %.120s; recreate it", mig->unusable);
    else if (!device->healthy)
        probe_now(device, now_ms);
    return settle(device, &before, now_ms);
}

/* The GPU of a device as listed by the driver, including one that no longer reports its UUID. */
static const struct gpu *find_listed(const struct inventory *inventory,
                                     const struct health_device *device)
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
static int miss_device(struct health *health, struct health_device *device,
                       const struct inventory *inventory, uint64_t now_ms)
{
    const struct gpu *gpu = find_listed(inventory, device);
    struct view before = view_of(device);

    device->listed = device->kind == DEVICE_MIG && inventory_find_mig(inventory, device->uuid);
    if (device->listed || (device->kind == DEVICE_WHOLE && gpu && gpu->uuid[0]))
        return 0;
    if (device->kind == DEVICE_MIG)
        device->next_probe_ms = UINT64_MAX;
    if (!gpu || !gpu->uuid[0] || gpu->unusable[0])
        set_gpu_gone(health, device, gpu, now_ms);
    else
        set_reach(health, device, HEALTH_GONE, now_ms,
                  "the driver no longer lists the MIG device; recreate it");
    return settle(device, &before, now_ms);
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

    health->session++;
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
        const struct health_device *device = &health->devices[i];

        if (device->kind == DEVICE_WHOLE || inventory_find_mig(known, device->uuid))
            health->devices[n++] = *device;
        else if (!device->healthy)
            changed = HEALTH_CHANGED;
    }
    health->n_devices = n;
    return changed;
}

static const struct {
    enum health_need need;
    const char *advice;
} needs[] = {
    [XID_APPLICATION] = {HEALTH_NEED_NOTHING, ""},
    [XID_PROBE] = {HEALTH_NEED_PROBE, "waiting until the GPU responds to a probe"},
    [XID_RESET] = {HEALTH_NEED_RESET, "reset the GPU"},
    [XID_REBOOT] = {HEALTH_NEED_REBOOT, "reset the GPU or reboot the node"},
    [XID_INFORMATION] = {HEALTH_NEED_NOTHING, ""},
};

static int mark(struct health_device *device, const struct gpu_event *event, enum xid_class class,
                uint64_t now_ms)
{
    struct view before = view_of(device);

    /* An interruption before this fault was not a reset of this fault. */
    if (needs[class].need >= HEALTH_NEED_RESET)
        device->interrupted = device->reach != HEALTH_ANSWERS;
    /* The most severe one counts; among equals, the first is reported. */
    if (needs[class].need > device->need) {
        device->need = needs[class].need;
        snprintf(device->need_reason, sizeof(device->need_reason), "XID %" PRIu64 ": %s; %s",
                 event->xid, xid_find(event->xid)->meaning, needs[class].advice);
    }
    device->asked = false;
    want_probe(device, now_ms);
    return settle(device, &before, now_ms);
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
    const struct health_device *named = find_device(health, event->uuid);
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

    if ((size_t) class >= ARRAY_SIZE(needs) || class == XID_INFORMATION)
        return 0;
    for (size_t i = 0; i < health->n_devices; i++) {
        struct health_device *device = &health->devices[i];

        if (!event->uuid[0] || (strcasecmp(place.gpu_uuid, device->gpu_uuid) == 0 &&
                                device_instances_overlap(place.instance, device->instance)))
            changed |= mark(device, event, class, now_ms);
    }
    return changed;
}

/* Actions named by the driver itself, which take precedence over our reading of the XID. */
static const struct {
    enum health_need need;
    const char *reason;
} actions[] = {
    [GPU_RECOVERY_UNKNOWN] = {HEALTH_NEED_NOTHING, ""},
    [GPU_RECOVERY_NONE] = {HEALTH_NEED_NOTHING, ""},
    [GPU_RECOVERY_RESET] = {HEALTH_NEED_RESET, "the driver requests a reset of the GPU"},
    [GPU_RECOVERY_REBOOT] = {HEALTH_NEED_REBOOT, "the driver requests a reboot of the node"},
    [GPU_RECOVERY_DRAIN] = {HEALTH_NEED_RESET, "the driver requests to drain the GPU and reset it"},
};

static bool reset_was_seen(const struct health *health, const struct health_device *device,
                           const struct gpu_probe *probe)
{
    if (device->named && probe->recovery == GPU_RECOVERY_NONE)
        return true;
    /* The only trace of a reset with drivers before R565. */
    if (device->energy_mj != UINT64_MAX && probe->energy_millijoule < device->energy_mj)
        return true;
    return device->interrupted && health->session > device->interrupted_session;
}

/* Returns whether the device has all it needs. */
static bool judge_answer(const struct health *health, struct health_device *device,
                         const struct gpu_probe *probe)
{
    enum gpu_recovery recovery = probe->recovery;
    enum health_need need = actions[recovery].need;

    if (need != HEALTH_NEED_NOTHING) {
        if (device->need < HEALTH_NEED_RESET)
            snprintf(device->need_reason, sizeof(device->need_reason), "%s",
                     actions[recovery].reason);
        device->need = need > device->need ? need : device->need;
        device->named = true;
        return false;
    }
    return device->need == HEALTH_NEED_PROBE ? device->asked
                                             : reset_was_seen(health, device, probe);
}

static void take_answer(const struct health *health, struct health_device *device,
                        const struct gpu_probe *probe)
{
    device->reach = HEALTH_ANSWERS;
    if (judge_answer(health, device, probe)) {
        device->need = HEALTH_NEED_NOTHING;
        device->named = false;
        device->interrupted = false;
    }
    device->energy_mj = probe->energy_millijoule;
}

static int probe_device(struct health *health, struct health_device *device, int outcome,
                        const struct gpu_probe *probe, const char *reason, uint64_t now_ms)
{
    struct view before = view_of(device);
    int r;

    if (outcome == 0)
        take_answer(health, device, probe);
    else if (outcome == GPU_LOST)
        set_reach(health, device, HEALTH_GONE, now_ms,
                  "the GPU is lost: %.120s; reset the GPU or reboot the node", reason);
    else if (device->reach != HEALTH_GONE) /* otherwise the reason is already known better */
        set_reach(health, device, HEALTH_SILENT, now_ms, "the GPU does not respond: %.160s",
                  reason);
    r = settle(device, &before, now_ms);
    if (device->healthy && device->asked)
        device->next_probe_ms = UINT64_MAX;
    else if (!device->healthy)
        want_probe(device, now_ms);
    return r;
}

int health_probe(struct health *health, const char *uuid, int outcome,
                 const struct gpu_probe *probe, const char *reason, uint64_t now_ms)
{
    int changed = 0;

    for (size_t i = 0; i < health->n_devices; i++) {
        struct health_device *device = &health->devices[i];

        /* A GPU that responds does not bring back a MIG device that it no longer has. */
        if (can_be_probed(device) && strcasecmp(device->gpu_uuid, uuid) == 0)
            changed |= probe_device(health, device, outcome, probe, reason, now_ms);
    }
    return changed;
}

int health_hang(struct health *health, const char *call, const char *uuid, uint64_t now_ms)
{
    int changed = 0;

    for (size_t i = 0; i < health->n_devices; i++) {
        struct health_device *device = &health->devices[i];
        struct view before = view_of(device);

        if (uuid[0] && strcasecmp(uuid, device->gpu_uuid) != 0)
            continue;
        set_reach(health, device, HEALTH_SILENT, now_ms,
                  "the GPU does not respond: the driver call %.60s did not return", call);
        changed |= settle(device, &before, now_ms);
    }
    return changed;
}

int health_unavailable(struct health *health, const char *reason, uint64_t now_ms)
{
    int changed = 0;

    for (size_t i = 0; i < health->n_devices; i++) {
        struct health_device *device = &health->devices[i];
        struct view before = view_of(device);

        set_reach(health, device, HEALTH_SILENT, now_ms, "the driver is unusable: %.160s", reason);
        changed |= settle(device, &before, now_ms);
    }
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

static void ask(struct health_device *device, uint64_t now_ms)
{
    device->asked = true;
    if (device->next_probe_ms == UINT64_MAX)
        return;
    device->next_probe_ms = now_ms + device->backoff_ms;
    device->backoff_ms = clock_twice_ms(device->backoff_ms, BACKOFF_MAX_MS);
}

const char *health_take_due(struct health *health, uint64_t now_ms)
{
    const char *gpu_uuid = NULL;

    for (size_t i = 0; i < health->n_devices && !gpu_uuid; i++)
        if (health->devices[i].next_probe_ms <= now_ms)
            gpu_uuid = health->devices[i].gpu_uuid;
    for (size_t i = 0; i < health->n_devices && gpu_uuid; i++)
        if (can_be_probed(&health->devices[i]) &&
            strcasecmp(health->devices[i].gpu_uuid, gpu_uuid) == 0)
            ask(&health->devices[i], now_ms);
    return gpu_uuid;
}

/*
 * The saved form:
 *
 *     gpuslice-health 2 <boot id>
 *     <uuid> <need> <reach> <named> <interrupted> <since> <energy> <why it needs>\t<why it cannot
 *     be reached>
 *
 * A MIG device has a line like a GPU's; on which GPU it lies, and where, the driver tells.
 */
#define SAVED_HEADER "gpuslice-health 2 "

static const char need_letters[] = "-ptb", reach_letters[] = "asg";

void health_save(const struct health *health, const char *boot, struct text *ret_text)
{
    text_addf(ret_text, SAVED_HEADER "%s\n", boot);
    for (size_t i = 0; i < health->n_devices; i++) {
        const struct health_device *device = &health->devices[i];

        if (device->healthy)
            continue;
        text_addf(ret_text, "%s %c %c %d %d %" PRIu64 " %" PRIu64 " %s\t%s\n", device->uuid,
                  need_letters[device->need], reach_letters[device->reach], device->named,
                  device->interrupted, device->since_ms, device->energy_mj,
                  device->need != HEALTH_NEED_NOTHING ? device->need_reason : "",
                  device->reach != HEALTH_ANSWERS ? device->reach_reason : "");
    }
}

/* Free text from a file that others may have written: nothing that a terminal would interpret. */
static void copy_reason(char *to, const char *from, size_t length)
{
    size_t n = length < HEALTH_REASON_SIZE ? length : HEALTH_REASON_SIZE - 1;

    memcpy(to, from, n);
    to[n] = '\0';
    str_make_line(to);
}

static int restore_device(struct health *health, const char *line)
{
    struct health_device *device;
    const char *need_at, *reach_at, *why, *tab;
    char uuid[GPU_UUID_SIZE], need, reach;
    unsigned named, interrupted;
    uint64_t since_ms, energy_mj;
    int length = 0;

    if (sscanf(line, "%95s %c %c %1u %1u %" SCNu64 " %" SCNu64 "%n", uuid, &need, &reach, &named,
               &interrupted, &since_ms, &energy_mj, &length) != 7 ||
        line[length] != ' ')
        return -EBADMSG;
    need_at = strchr(need_letters, need);
    reach_at = strchr(reach_letters, reach);
    why = line + length + 1;
    tab = strchr(why, '\t');
    if (!need_at || !reach_at || !tab || named > 1 || interrupted > 1 || find_device(health, uuid))
        return -EBADMSG;
    device = add_device(health, uuid, since_ms);
    if (!device)
        return -ENOMEM;
    device->index = UINT_MAX; /* until the driver lists it */
    if (str_starts_with(uuid, "MIG-")) {
        device->kind = DEVICE_MIG;
        device->gpu_uuid[0] = '\0';
    }
    device->need = (enum health_need)(need_at - need_letters);
    device->reach = (enum health_reach)(reach_at - reach_letters);
    device->named = named;
    device->interrupted = interrupted;
    device->energy_mj = energy_mj;
    copy_reason(device->need_reason, why, (size_t)(tab - why));
    copy_reason(device->reach_reason, tab + 1, strlen(tab + 1));
    device->healthy = health_state(device) == HEALTH_HEALTHY;
    if (!device->healthy)
        want_probe(device, 0);
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
    if (r < 0)
        health_deinit(health);
    return r;
}
