// SPDX-License-Identifier: Apache-2.0
#include "health/devicehealth.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"

enum { BACKOFF_FIRST_MS = 1000, BACKOFF_MAX_MS = 60000, XID_LIST_SIZE = 120 };

void devicehealth_init(struct devicehealth *device, const char *uuid, bool only_enabled,
                       uint64_t now_ms)
{
    *device = (struct devicehealth){
        .instance = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE},
        .only_enabled = only_enabled,
        .healthy = true,
        .since_ms = now_ms,
        .next_probe_ms = UINT64_MAX,
        .energy_mj = UINT64_MAX,
    };
    snprintf(device->uuid, sizeof(device->uuid), "%s", uuid);
    snprintf(device->gpu_uuid, sizeof(device->gpu_uuid), "%s", uuid);
}

/* --- state --- */

/* How it responds, as far as that is checked. */
static enum health_reach checked_reach(const struct devicehealth *device)
{
    return device->only_enabled ? HEALTH_ANSWERS : device->reach;
}

enum devicehealth_state devicehealth_state(const struct devicehealth *device)
{
    static const enum devicehealth_state by_need[] = {
        [HEALTH_NEED_NOTHING] = HEALTH_HEALTHY,
        [HEALTH_NEED_PROBE] = HEALTH_SUSPECT,
        [HEALTH_NEED_RESET] = HEALTH_NEEDS_RESET,
        [HEALTH_NEED_REBOOT] = HEALTH_NEEDS_REBOOT,
    };

    if (checked_reach(device) == HEALTH_GONE)
        return HEALTH_LOST;
    return checked_reach(device) == HEALTH_SILENT ? HEALTH_NOT_ANSWERING : by_need[device->need];
}

/* A required action comes before an observation: "XID 79 ..." says more than "is lost". */
const char *devicehealth_reason(const struct devicehealth *device)
{
    if (device->need >= HEALTH_NEED_RESET)
        return device->need_reason;
    if (checked_reach(device) != HEALTH_ANSWERS)
        return device->reach_reason;
    return device->need == HEALTH_NEED_PROBE ? device->need_reason : "";
}

/* Appends its XIDs to the list. only: those that it enables; NULL = all. */
static void list_xids(const struct devicehealth *device, const struct xid_filter *only,
                      char list[XID_LIST_SIZE])
{
    for (size_t i = 0; i <= HEALTH_XIDS_MAX; i++) {
        const uint64_t xid = i ? device->others[i - 1] : device->xid;
        const size_t length = strlen(list);

        if (!xid)
            return;
        if (!only || xid_filter_enables(only, xid))
            snprintf(list + length, XID_LIST_SIZE - length, "%s%" PRIu64, length ? "," : "", xid);
    }
}

/* What has to leave DP_ENABLE_HEALTHCHECKS first, since that wins; "" = nothing. */
static void list_enabled(const struct devicehealth *device, char list[XID_LIST_SIZE])
{
    snprintf(list, XID_LIST_SIZE, "%s",
             device->switches && device->switches->enable_all ? "all" : "");
    if (device->switches)
        list_xids(device, device->switches, list);
}

void devicehealth_describe(const struct devicehealth *device, char *buffer)
{
    const char *reason = devicehealth_reason(device);
    char disable[XID_LIST_SIZE] = "", enabled[XID_LIST_SIZE];

    list_enabled(device, enabled);
    if (device->xid)
        list_xids(device, NULL, disable);
    else
        snprintf(disable, sizeof(disable), "all");
    if (!device->restored || reason != device->need_reason)
        snprintf(buffer, HEALTH_DESCRIPTION_SIZE, "%s", reason);
    else if (*enabled)
        snprintf(buffer, HEALTH_DESCRIPTION_SIZE,
                 "%s (seen before the agent restarted; to overrule it, remove %s from "
                 "DP_ENABLE_HEALTHCHECKS and set DP_DISABLE_HEALTHCHECKS=%s)",
                 reason, enabled, disable);
    else
        snprintf(buffer, HEALTH_DESCRIPTION_SIZE,
                 "%s (seen before the agent restarted; DP_DISABLE_HEALTHCHECKS=%s overrules it)",
                 reason, disable);
}

struct devicehealth_view devicehealth_view(const struct devicehealth *device)
{
    struct devicehealth_view view = {.healthy = device->healthy, .excused = device->excused};

    snprintf(view.reason, sizeof(view.reason), "%s", devicehealth_reason(device));
    return view;
}

int devicehealth_settle(struct devicehealth *device, const struct devicehealth_view *before,
                        uint64_t now_ms)
{
    device->healthy = devicehealth_state(device) == HEALTH_HEALTHY;
    if (device->healthy != before->healthy)
        device->since_ms = now_ms;
    return device->healthy != before->healthy || device->excused != before->excused ||
                   strcmp(devicehealth_reason(device), before->reason) != 0
               ? HEALTH_CHANGED
               : 0;
}

/* --- probes --- */

bool devicehealth_can_be_probed(const struct devicehealth *device)
{
    return device->kind == DEVICE_WHOLE || device->listed;
}

/* Schedules a probe; a device already in trouble keeps its place in the back-off. */
static void want_probe(struct devicehealth *device, uint64_t now_ms)
{
    if (device->next_probe_ms != UINT64_MAX || !devicehealth_can_be_probed(device))
        return;
    device->backoff_ms = BACKOFF_FIRST_MS;
    device->next_probe_ms = now_ms + device->backoff_ms;
}

void devicehealth_probe_now(struct devicehealth *device, uint64_t now_ms)
{
    want_probe(device, now_ms);
    device->next_probe_ms = now_ms;
}

void devicehealth_ask(struct devicehealth *device, uint64_t now_ms)
{
    device->asked = true;
    if (device->next_probe_ms == UINT64_MAX)
        return;
    device->next_probe_ms = now_ms + device->backoff_ms;
    device->backoff_ms = clock_twice_ms(device->backoff_ms, BACKOFF_MAX_MS);
}

void devicehealth_set_reach(struct devicehealth *device, enum health_reach reach, uint64_t session,
                            uint64_t now_ms, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(device->reach_reason, sizeof(device->reach_reason), format, arguments);
    va_end(arguments);
    device->reach = reach;
    device->interrupted = true;
    device->interrupted_session = session;
    want_probe(device, now_ms);
}

/* --- XIDs --- */

static const struct {
    enum health_need need;
    const char *advice;
} needs[] = {
    [XID_APPLICATION] = {HEALTH_NEED_NOTHING, ""},
    [XID_PROBE] = {HEALTH_NEED_PROBE, "waiting until the GPU responds to a probe"},
    [XID_RESET] = {HEALTH_NEED_RESET, "reset the GPU"},
    [XID_REBOOT] = {HEALTH_NEED_REBOOT, "reset the GPU or reboot the node"},
    [XID_INFORMATION] = {HEALTH_NEED_NOTHING, ""},
    [XID_DISABLED] = {HEALTH_NEED_NOTHING, ""},
};

#define OTHERS " (also XID "

/* Ends the reason with the other XIDs. */
static void explain_others(struct devicehealth *device)
{
    char *reason = device->need_reason, *list = strstr(reason, OTHERS);
    size_t length = list ? (size_t)(list - reason) : strlen(reason);

    reason[length] = '\0';
    for (size_t i = 0; i < HEALTH_XIDS_MAX && device->others[i]; i++) {
        snprintf(reason + length, sizeof(device->need_reason) - length, "%s%" PRIu64,
                 i ? ", " : OTHERS, device->others[i]);
        length = strlen(reason);
    }
    if (device->others[0])
        snprintf(reason + length, sizeof(device->need_reason) - length, ")");
}

static void explain_need(struct devicehealth *device, const char *advice)
{
    snprintf(device->need_reason, sizeof(device->need_reason), "XID %" PRIu64 ": %s; %s",
             device->xid, xid_find(device->xid)->meaning, advice);
    explain_others(device);
}

static void forget_others(struct devicehealth *device)
{
    memset(device->others, 0, sizeof(device->others));
}

/* So that overruling one XID does not overrule another. */
static void note_other(struct devicehealth *device, uint64_t xid)
{
    size_t i = 0;

    while (i < HEALTH_XIDS_MAX && device->others[i] && device->others[i] != xid)
        i++;
    if (i < HEALTH_XIDS_MAX)
        device->others[i] = xid;
}

/* What the driver requires from now on is a consequence of this XID, unless it is one of a fault
 * that counts. One of information has no consequence. */
static void excuse(struct devicehealth *device, uint64_t xid)
{
    if (device->need != HEALTH_NEED_NOTHING || xid_find(xid)->class == XID_INFORMATION)
        return;
    device->excused = true;
    device->xid = xid;
    forget_others(device);
    explain_need(device, "disabled");
}

static void require(struct devicehealth *device, uint64_t xid, enum xid_class class)
{
    const enum health_need need = needs[class].need;

    /* An interruption before this fault was not a reset of this fault. */
    if (need >= HEALTH_NEED_RESET || (need == HEALTH_NEED_PROBE && device->need <= need))
        device->interrupted = device->reach != HEALTH_ANSWERS;
    if (device->need == HEALTH_NEED_NOTHING)
        forget_others(device);
    else if (need != HEALTH_NEED_NOTHING && xid != device->xid)
        note_other(device, need > device->need ? device->xid : xid);
    /* The most severe one counts; among equals, the first is reported first. */
    if (need <= device->need) {
        explain_others(device);
        return;
    }
    device->need = need;
    device->xid = xid;
    device->restored = device->excused = false;
    explain_need(device, needs[class].advice);
}

int devicehealth_mark(struct devicehealth *device, uint64_t xid, enum xid_class class,
                      uint64_t now_ms)
{
    struct devicehealth_view before = devicehealth_view(device);

    if ((size_t) class >= ARRAY_SIZE(needs) || class == XID_INFORMATION)
        return 0;
    if (class == XID_DISABLED)
        excuse(device, xid);
    else
        require(device, xid, class);
    if (class == XID_DISABLED && !device->excused)
        return 0;
    device->asked = false;
    want_probe(device, now_ms);
    return devicehealth_settle(device, &before, now_ms);
}

/* --- answers --- */

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

static bool reset_was_seen(const struct devicehealth *device, uint64_t session,
                           const struct gpu_probe *probe)
{
    if (device->named && probe->recovery == GPU_RECOVERY_NONE)
        return true;
    /* The only trace of a reset with drivers before R565. */
    if (device->energy_mj != UINT64_MAX && probe->energy_millijoule < device->energy_mj)
        return true;
    return device->interrupted && session > device->interrupted_session;
}

/* What the driver requires. A request of its own does not count where it has an excuse. */
static void take_request(struct devicehealth *device, enum gpu_recovery recovery)
{
    if (device->need < HEALTH_NEED_RESET && (device->excused || device->only_enabled))
        return;
    if (device->need == HEALTH_NEED_PROBE) {
        explain_need(device, actions[recovery].reason);
    } else if (device->need == HEALTH_NEED_NOTHING) {
        snprintf(device->need_reason, sizeof(device->need_reason), "%s", actions[recovery].reason);
        device->xid = 0;
        forget_others(device);
    }
    if (actions[recovery].need > device->need)
        device->need = actions[recovery].need;
    device->named = true;
}

/* A suspect device answers. Only a driver that says so can tell that the fault is over. */
static bool suspect_is_well(struct devicehealth *device, enum gpu_recovery recovery)
{
    if (recovery == GPU_RECOVERY_NONE || !device->asked)
        return device->asked;
    device->need = HEALTH_NEED_RESET;
    explain_need(device, "the driver does not report whether the GPU recovered; reset the GPU");
    return false;
}

/* Returns whether the device has all it needs. */
static bool judge_answer(struct devicehealth *device, uint64_t session,
                         const struct gpu_probe *probe)
{
    if (actions[probe->recovery].need != HEALTH_NEED_NOTHING) {
        take_request(device, probe->recovery);
        return false;
    }
    if (device->excused && device->asked)
        device->excused = false; /* the driver requires nothing (any more) */
    if (reset_was_seen(device, session, probe))
        return true;
    return device->need == HEALTH_NEED_PROBE && suspect_is_well(device, probe->recovery);
}

static void take_answer(struct devicehealth *device, uint64_t session,
                        const struct gpu_probe *probe)
{
    device->reach = HEALTH_ANSWERS;
    if (judge_answer(device, session, probe)) {
        device->need = HEALTH_NEED_NOTHING;
        device->named = false;
        device->restored = false;
        device->interrupted = false;
    }
    device->energy_mj = probe->energy_millijoule;
}

int devicehealth_take_probe(struct devicehealth *device, uint64_t session, int outcome,
                            const struct gpu_probe *probe, const char *reason, uint64_t now_ms)
{
    struct devicehealth_view before = devicehealth_view(device);
    int r;

    if (outcome == 0)
        take_answer(device, session, probe);
    else if (outcome == GPU_LOST)
        devicehealth_set_reach(device, HEALTH_GONE, session, now_ms,
                               "the GPU is lost: %.120s; reset the GPU or reboot the node", reason);
    else if (device->reach != HEALTH_GONE) /* otherwise the reason is already known better */
        devicehealth_set_reach(device, HEALTH_SILENT, session, now_ms,
                               "the GPU does not respond: %.160s", reason);
    r = devicehealth_settle(device, &before, now_ms);
    if (device->healthy && device->asked)
        device->next_probe_ms = UINT64_MAX;
    else if (!device->healthy)
        want_probe(device, now_ms);
    return r;
}

/* --- what outlives the agent --- */

/* Whether a need counts that was restored, with these switches. */
static bool still_counts(const struct devicehealth *device, const struct xid_filter *filter)
{
    if (device->xid == 0) /* the driver's own request */
        return !xid_filter_only_enabled(filter);
    return needs[xid_filter_class(filter, device->xid)].need != HEALTH_NEED_NOTHING;
}

static enum health_need need_of(uint64_t xid, const struct xid_filter *filter)
{
    return xid ? needs[xid_filter_class(filter, xid)].need : HEALTH_NEED_NOTHING;
}

/* The most severe of the other XIDs that count takes the place of the first. False if none does. */
static bool promote_other(struct devicehealth *device, const struct xid_filter *filter)
{
    uint64_t worst = 0;
    size_t n = 0;

    for (size_t i = 0; i < HEALTH_XIDS_MAX; i++)
        if (need_of(device->others[i], filter) > need_of(worst, filter))
            worst = device->others[i];
    for (size_t i = 0; i < HEALTH_XIDS_MAX; i++)
        if (device->others[i] != worst && need_of(device->others[i], filter) != HEALTH_NEED_NOTHING)
            device->others[n++] = device->others[i];
    while (n < HEALTH_XIDS_MAX)
        device->others[n++] = 0;
    if (!worst)
        return false;
    device->xid = worst;
    device->need = need_of(worst, filter);
    explain_need(device, needs[xid_filter_class(filter, worst)].advice);
    return true;
}

int devicehealth_overrule(struct devicehealth *device, const struct xid_filter *filter,
                          uint64_t now_ms, char *ret_reason)
{
    const struct devicehealth_view before = devicehealth_view(device);

    device->switches = filter;
    if (device->excused && xid_filter_class(filter, device->xid) != XID_DISABLED)
        device->excused = false;
    if (device->need == HEALTH_NEED_NOTHING || still_counts(device, filter))
        return 0;
    snprintf(ret_reason, HEALTH_REASON_SIZE, "%s", device->need_reason);
    if (!promote_other(device, filter)) {
        device->need = HEALTH_NEED_NOTHING;
        device->named = device->restored = false;
        if (device->xid)
            excuse(device, device->xid);
    }
    (void)devicehealth_settle(device, &before, now_ms);
    return HEALTH_CHANGED;
}

int devicehealth_clear(struct devicehealth *device, uint64_t now_ms)
{
    const struct devicehealth_view before = devicehealth_view(device);

    device->need = HEALTH_NEED_NOTHING;
    device->named = device->restored = device->excused = false;
    return devicehealth_settle(device, &before, now_ms);
}

static void restore_xids(struct devicehealth *device)
{
    const char *list = strstr(device->need_reason, OTHERS);
    int length;

    if (sscanf(device->need_reason, "XID %" SCNu64 ":", &device->xid) != 1)
        device->xid = 0;
    list = list ? list + strlen(OTHERS) : "";
    for (size_t i = 0; i < HEALTH_XIDS_MAX; i++) {
        if (sscanf(list, "%" SCNu64 "%n", &device->others[i], &length) != 1)
            break;
        list += length;
        list += *list == ',';
    }
}

static const char need_letters[] = "-ptb", reach_letters[] = "asg";

void devicehealth_save(const struct devicehealth *device, struct text *out)
{
    const bool has_reason = device->need != HEALTH_NEED_NOTHING || device->excused;

    text_addf(out, "%s %c %c %d %d %" PRIu64 " %" PRIu64 " %s\t%s\n", device->uuid,
              need_letters[device->need], reach_letters[device->reach],
              device->named || device->excused, device->interrupted, device->since_ms,
              device->energy_mj, has_reason ? device->need_reason : "",
              device->reach != HEALTH_ANSWERS ? device->reach_reason : "");
}

/* Free text from a file that others may have written: nothing that a terminal would interpret. */
static void copy_reason(char *to, const char *from, size_t length)
{
    size_t n = length < HEALTH_REASON_SIZE ? length : HEALTH_REASON_SIZE - 1;

    memcpy(to, from, n);
    to[n] = '\0';
    str_make_line(to);
}

int devicehealth_restore(const char *line, bool only_enabled, struct devicehealth *ret_device)
{
    struct devicehealth device;
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
    if (!need_at || !reach_at || !tab || named > 1 || interrupted > 1)
        return -EBADMSG;
    devicehealth_init(&device, uuid, only_enabled, since_ms);
    device.index = UINT_MAX; /* until the driver lists it */
    if (str_starts_with(uuid, "MIG-")) {
        device.kind = DEVICE_MIG;
        device.gpu_uuid[0] = '\0';
    }
    device.need = (enum health_need)(need_at - need_letters);
    device.reach = (enum health_reach)(reach_at - reach_letters);
    device.named = named && device.need != HEALTH_NEED_NOTHING;
    device.excused = named && device.need == HEALTH_NEED_NOTHING;
    device.restored = device.need != HEALTH_NEED_NOTHING;
    device.interrupted = interrupted;
    device.energy_mj = energy_mj;
    copy_reason(device.need_reason, why, (size_t)(tab - why));
    copy_reason(device.reach_reason, tab + 1, strlen(tab + 1));
    restore_xids(&device);
    device.healthy = devicehealth_state(&device) == HEALTH_HEALTHY;
    if (!device.healthy)
        want_probe(&device, 0);
    *ret_device = device;
    return 0;
}
