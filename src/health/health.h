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
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "gpu/gpu.h"
#include "health/devicehealth.h"
#include "health/xid.h"

enum { HEALTH_DEVICES_MAX = 2048 };

struct health {
    struct devicehealth *devices; /* in order of discovery */
    size_t n_devices, capacity;
    uint64_t session;  /* counts the driver's sessions */
    bool only_enabled; /* see devicehealth.h; set before any device is known */
};

#define HEALTH_INIT     \
    {                   \
        .devices = NULL \
    }

void health_deinit(struct health *health);

/*
 * Inputs. Each returns 0, HEALTH_CHANGED or -ENOMEM. UUIDs are the GPU's; unknown ones are skipped.
 */

/* The inventory of a new session with the driver, or one that was read again in the same session.
 * Devices that it no longer lists are lost. */
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

/* Whether the XIDs of a GPU are seen: why not, or "" = they are. HEALTH_CHANGED if that changed. */
int health_watch(struct health *health, const char *gpu_uuid, const char *reason);

/* The driver is unusable: affects all devices. */
int health_unavailable(struct health *health, const char *reason, uint64_t now_ms);

/* A person says that no device needs anything (healthfile.h). */
int health_clear(struct health *health, uint64_t now_ms);

/* Questions. */

/* The device of that UUID (case-insensitive), or NULL. */
const struct devicehealth *health_find(const struct health *health, const char *uuid);

/* True when all devices on the GPU of that UUID are Healthy. */
bool health_is_well(const struct health *health, const char *gpu_uuid);

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
