// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The health of one device: whether it may be allocated, why not, and when to probe it.
 *
 * A pure state machine. Two facts are kept: whether the device responds, and what it needs.
 *
 *     class of the XID       effect
 *     application            stays Healthy; one probe, because the driver may know better
 *     probe                  Unhealthy until a probe requested later succeeds and the driver's
 *                            recovery action requires nothing; a driver that reports no recovery
 *                            action (before R565) leaves it at: until a reset was seen
 *     reset, reboot          Unhealthy until a reset was seen
 *     information            none
 *     disabled               none, and a recovery action that the driver then requires has none
 *                            either, until it requires nothing again
 *
 * A reset was seen when the driver's recovery action asked for one and then for nothing, when the
 * device's energy counter fell (it restarts when the driver sets the device up), when the device
 * was lost or silent and answers again in a later session with the driver, or when the node was
 * rebooted (the saved state goes with /run, and names the boot it belongs to). A device that is
 * lost or silent without having needed anything is Healthy again as soon as it answers.
 *
 * `only_enabled`: all checks are off but for XIDs that a person enabled. Then a device that does
 * not respond stays Healthy, and what the driver requires counts only as the end of a fault.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "gpu/gpu.h"
#include "health/xid.h"

enum health_outcome {
    HEALTH_CHANGED = 1, /* Healthy, its reason or what is saved changed: send the lists again */
};

enum devicehealth_state {
    HEALTH_HEALTHY,
    HEALTH_SUSPECT, /* waiting for a probe */
    HEALTH_NEEDS_RESET,
    HEALTH_NEEDS_REBOOT,
    HEALTH_LOST,
    HEALTH_NOT_ANSWERING,
};

enum health_need { HEALTH_NEED_NOTHING, HEALTH_NEED_PROBE, HEALTH_NEED_RESET, HEALTH_NEED_REBOOT };
enum health_reach { HEALTH_ANSWERS, HEALTH_SILENT, HEALTH_GONE };

enum {
    HEALTH_XIDS_MAX = 4,
    HEALTH_REASON_SIZE = 240,
    HEALTH_DESCRIPTION_SIZE = HEALTH_REASON_SIZE + 400
};

struct devicehealth {
    char uuid[GPU_UUID_SIZE];
    char gpu_uuid[GPU_UUID_SIZE]; /* the same for a GPU; "" = a MIG device not listed since the
                                     restore */
    enum device_kind kind;
    struct device_instance instance;
    unsigned index; /* of its GPU */
    /* For the caller. */
    uint64_t since_ms;      /* Healthy or Unhealthy since */
    uint64_t next_probe_ms; /* UINT64_MAX = none wanted */
    uint64_t xid;           /* that brought the need; 0 = the driver did, or there is none */
    uint64_t others[HEALTH_XIDS_MAX]; /* further ones that are faults, the first few; 0 = none */
    bool restored;                    /* the need is one that an earlier agent saw */
    char unwatched[256];              /* of a GPU: why its XIDs are not seen; "" = they are */
    /* The rest is internal. */
    const struct xid_filter
        *switches; /* borrowed: those under which it was restored; NULL = none */
    enum health_need need;
    enum health_reach reach;
    bool only_enabled;
    bool listed; /* in the last inventory; an unlisted MIG device cannot be probed */
    bool healthy;
    bool asked;                   /* a probe was requested since the last event */
    bool named;                   /* the driver's recovery action named the need */
    bool excused;                 /* a disabled XID is why the driver requires something */
    bool interrupted;             /* lost or unresponsive since it needs a reset ... */
    uint64_t interrupted_session; /* ... last in this session */
    uint64_t energy_mj;           /* at the last answer; UINT64_MAX unknown */
    uint64_t backoff_ms;
    char need_reason[HEALTH_REASON_SIZE], reach_reason[HEALTH_REASON_SIZE];
};

/* A GPU, Healthy and never probed, unless the caller turns it into a MIG device. */
void devicehealth_init(struct devicehealth *device, const char *uuid, bool only_enabled,
                       uint64_t now_ms);

enum devicehealth_state devicehealth_state(const struct devicehealth *device);

/* Why it is not Healthy, and what to do: one sentence without a full stop. "" if it is. */
const char *devicehealth_reason(const struct devicehealth *device);

/* The same for people, in a buffer of HEALTH_DESCRIPTION_SIZE: with how to overrule a fault that
 * was restored, because nothing else would tell after a restart. */
void devicehealth_describe(const struct devicehealth *device, char *buffer);

/* What others see of a device: taken before an input, and compared after it. */
struct devicehealth_view {
    bool healthy, excused;
    char reason[HEALTH_REASON_SIZE];
};

struct devicehealth_view devicehealth_view(const struct devicehealth *device);

/* Ends an input: derives `healthy`. HEALTH_CHANGED or 0. */
int devicehealth_settle(struct devicehealth *device, const struct devicehealth_view *before,
                        uint64_t now_ms);

/* Inputs. The first two want a settle after them, the others are whole: 0 or HEALTH_CHANGED. */

/* It is lost or silent, seen in this session with the driver, and why. */
void devicehealth_set_reach(struct devicehealth *device, enum health_reach reach, uint64_t session,
                            uint64_t now_ms, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* An early probe: a new session may find the device healthy again. */
void devicehealth_probe_now(struct devicehealth *device, uint64_t now_ms);

/* An XID of this class concerns it. */
int devicehealth_mark(struct devicehealth *device, uint64_t xid, enum xid_class class,
                      uint64_t now_ms);

/* A probe: outcome 0, GPU_LOST or a negative errno with its reason. */
int devicehealth_take_probe(struct devicehealth *device, uint64_t session, int outcome,
                            const struct gpu_probe *probe, const char *reason, uint64_t now_ms);

/* A GPU may respond even if the driver does not list it; a MIG device is probed through its GPU. */
bool devicehealth_can_be_probed(const struct devicehealth *device);

/* A probe was requested; the next one is due later. */
void devicehealth_ask(struct devicehealth *device, uint64_t now_ms);

/*
 * With the switches that apply from now on; they are borrowed, for devicehealth_describe.
 *
 * A restored need that does not count with these switches is dropped, or gives way to that of
 * another XID that does, and its reason ("XID 48: ...") is handed out in a buffer of
 * HEALTH_REASON_SIZE. HEALTH_CHANGED, or 0: it counts, or there is none.
 */
int devicehealth_overrule(struct devicehealth *device, const struct xid_filter *filter,
                          uint64_t now_ms, char *ret_reason);

/* A person says that it needs nothing. What the driver still requires counts again when it says so.
 */
int devicehealth_clear(struct devicehealth *device, uint64_t now_ms);

/*
 * The saved form, a line:
 *
 *     <uuid> <need> <reach> <named> <interrupted> <since> <energy> <why it needs>\t<why it cannot
 *     be reached>
 *
 * "XID <number>: " begins the first reason when an XID brought the need, and "(also XID <number>,
 * <number>)" ends it when there were others. "Named" without a need is
 * an excused device. A MIG device has a line like a GPU's; on which GPU it lies, and where, the
 * driver reports.
 */
void devicehealth_save(const struct devicehealth *device, struct text *out);

/* Without the line's end. 0 or -EBADMSG. */
int devicehealth_restore(const char *line, bool only_enabled, struct devicehealth *ret_device);
