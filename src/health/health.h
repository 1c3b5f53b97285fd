// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The health of one node's devices: whether each may be allocated, and why not.
 *
 * A pure state machine: no I/O and no clock. Time is passed in as milliseconds of CLOCK_MONOTONIC,
 * which continues across agent restarts. The caller passes in what the driver's helper reports
 * (gpu/driver.h), maps devices to slices (an event marks every slice of its device), and asks for
 * probes when due.
 *
 * Every GPU is a device here, and every MIG device beside it: which of them are offered is the
 * plan's decision. An XID that names a MIG instance affects the devices in it; one that names none,
 * or that by its nature affects the whole GPU (xid.h), affects all on the GPU. Probes, hangs and
 * losses affect all devices of the GPU. A MIG device that the driver no longer lists is lost,
 * unless the caller makes us forget it (we destroyed it ourselves).
 *
 * Two facts are kept per device: whether it responds, and what it needs.
 *
 *     class of the XID       effect
 *     application            stays Healthy; one probe, because the driver may know better
 *     probe                  Unhealthy until a probe requested later succeeds and the
 *                            driver's recovery action requires nothing
 *     reset, reboot          Unhealthy until a reset was seen
 *     information            none
 *
 * A reset was seen when the driver's recovery action asked for one and then for nothing, when the
 * device's energy counter fell (it restarts when the driver sets the device up), when the device
 * was lost or silent and answers again in a later session with the driver, or when the node was
 * rebooted (the saved state goes with /run, and names the boot it belongs to). A device that is
 * lost or silent without having needed anything is Healthy again as soon as it answers.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "gpu/gpu.h"
#include "health/xid.h"

enum health_outcome {
    HEALTH_CHANGED = 1, /* a device's Healthy or reason changed: send the device lists again */
};

enum health_state {
    HEALTH_HEALTHY,
    HEALTH_SUSPECT, /* waiting for a probe */
    HEALTH_NEEDS_RESET,
    HEALTH_NEEDS_REBOOT,
    HEALTH_LOST,
    HEALTH_NOT_ANSWERING,
};

enum health_need { HEALTH_NEED_NOTHING, HEALTH_NEED_PROBE, HEALTH_NEED_RESET, HEALTH_NEED_REBOOT };
enum health_reach { HEALTH_ANSWERS, HEALTH_SILENT, HEALTH_GONE };

enum { HEALTH_REASON_SIZE = 240, HEALTH_DEVICES_MAX = 2048 };

struct health_device {
    char uuid[GPU_UUID_SIZE];
    char gpu_uuid[GPU_UUID_SIZE]; /* the same for a GPU; "" = a MIG device not listed since the
                                     restore */
    enum device_kind kind;
    struct device_instance instance;
    unsigned index; /* of its GPU */
    /* For the caller. */
    uint64_t since_ms;      /* Healthy or Unhealthy since */
    uint64_t next_probe_ms; /* UINT64_MAX = none wanted */
    /* The rest is internal. */
    enum health_need need;
    enum health_reach reach;
    bool listed; /* in the last inventory; an unlisted MIG device cannot be probed */
    bool healthy;
    bool asked;                   /* a probe was requested since the last event */
    bool named;                   /* the driver's recovery action named the need */
    bool interrupted;             /* lost or unresponsive since it needs a reset ... */
    uint64_t interrupted_session; /* ... last in this session */
    uint64_t energy_mj;           /* at the last answer; UINT64_MAX unknown */
    uint64_t backoff_ms;
    char need_reason[HEALTH_REASON_SIZE], reach_reason[HEALTH_REASON_SIZE];
};

struct health {
    struct health_device *devices; /* in order of discovery */
    size_t n_devices, capacity;
    uint64_t session; /* counts the driver's sessions */
};

#define HEALTH_INIT     \
    {                   \
        .devices = NULL \
    }

void health_deinit(struct health *health);

/*
 * Inputs. Each returns 0, HEALTH_CHANGED or -ENOMEM. UUIDs are the GPU's; unknown ones are skipped.
 */

/* A new session with the driver, and its inventory. Devices that it no longer lists are lost. */
int health_inventory(struct health *health, const struct inventory *inventory, uint64_t now_ms);

/*
 * Forgets the MIG devices missing in `known` (machine.h): those that were destroyed, and saved ones
 * that no longer exist. 0, or HEALTH_CHANGED if one of them was Unhealthy, so that the saved state
 * is out of date.
 */
int health_forget(struct health *health, const struct inventory *known);

/* An XID event with its class from xid_filter_class; uuid "" = all devices. */
int health_event(struct health *health, const struct gpu_event *event, enum xid_class class,
                 uint64_t now_ms);

/* A probe: outcome 0, GPU_LOST or a negative errno with its reason (gpu/driver.h). */
int health_probe(struct health *health, const char *uuid, int outcome,
                 const struct gpu_probe *probe, const char *reason, uint64_t now_ms);

/* A driver call that did not return; uuid "" = all devices. */
int health_hang(struct health *health, const char *call, const char *uuid, uint64_t now_ms);

/* The driver is unusable: affects all devices. */
int health_unavailable(struct health *health, const char *reason, uint64_t now_ms);

/* Questions. */

/* The device of that UUID (case-insensitive), or NULL. */
const struct health_device *health_find(const struct health *health, const char *uuid);

/* True when all devices on the GPU of that UUID are Healthy. */
bool health_is_well(const struct health *health, const char *gpu_uuid);

enum health_state health_state(const struct health_device *device);

/* Why it is not Healthy, and what to do: one sentence without a full stop. "" if it is. */
const char *health_reason(const struct health_device *device);

/* When the next probe is due, or UINT64_MAX: an idle, healthy node needs no timer. */
uint64_t health_next_probe_ms(const struct health *health);

/*
 * The UUID of a GPU that is due for a probe, or NULL. The probe counts as requested, for all
 * devices on the GPU: call again until NULL.
 */
const char *health_take_due(struct health *health, uint64_t now_ms);

/*
 * The state as lines of text for /run/gpuslice, so that a restarted agent remembers which devices
 * need a reset. `boot` is the kernel's boot id: the state of an earlier boot is ignored.
 */
void health_save(const struct health *health, const char *boot, struct text *ret_text);

/* Into an empty machine. 0; -ESTALE (another boot), -EBADMSG (nothing restored), -ENOMEM. */
int health_restore(struct health *health, const char *boot, const char *data, size_t size);
