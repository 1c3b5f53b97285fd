// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The gates of this node's devices (doc/design/0028): which of them share their time, how, and when
 * each is to be looked at again. What becomes of one is gateddevice.h's.
 *
 * A container is in the turns of a device from when one of its processes has a page of claims,
 * until it ends. Those whose processes exchange handles are one unit of turns there (gategroups.h);
 * one on several devices has its turns on all of them at the same time (devicesets.h), unless it is
 * in a group. Pages of all containers tell the mode and the share (gatepage.h).
 *
 * Times are CLOCK_MONOTONIC, given by who calls; nothing runs by itself.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arbiter/tenant.h"
#include "arbiter/turns.h"
#include "limits/page.h"

#define DEVICEGATES_NEVER UINT64_MAX

struct devicegates;

/* tenants: borrowed. Of LIMITS_COMPUTE_NONE. NULL without memory. */
struct devicegates *devicegates_new(const struct tenants *tenants);

/* Every gate is open, waiting threads are awake, and all pages tell LIMITS_COMPUTE_NONE. NULL is
 * allowed. Before the tenants. */
void devicegates_free(struct devicegates *gates);

/* Live. 0, or -ENOMEM: some containers take no part. Then devicegates_run. */
int devicegates_set_mode(struct devicegates *gates, enum limits_compute mode);
enum limits_compute devicegates_get_mode(const struct devicegates *gates);

/* Its page is new. */
void devicegates_show(const struct devicegates *gates, const struct tenant *tenant);

/* It has one page of claims more or less. 0, or -ENOMEM, or -ENOSPC where a device has too many: it
 * takes no part. Then devicegates_run. */
int devicegates_update(struct devicegates *gates, struct tenant *tenant);

/* It is about to be freed, or to have other devices. */
void devicegates_forget(struct devicegates *gates, const struct tenant *tenant);

/* Reads what is claimed on devices where a gate may have to change, or on all, and opens and closes
 * gates. Returns when it is to be called again: DEVICEGATES_NEVER while there is nothing to share.
 */
uint64_t devicegates_run(struct devicegates *gates, bool is_all, uint64_t now_ns);

/* Whether a device is to be looked at in a moment, because a turn ends: not one whose next look
 * only happens to be near. */
bool devicegates_is_soon(const struct devicegates *gates);

/* When it is to be called again after a call that took so long: as much time is left to others,
 * however many processes claim something. */
uint64_t devicegates_pace(uint64_t due_ns, uint64_t began_ns, uint64_t ended_ns);

/* A container on a device. */
struct devicegates_view {
    struct turns_view turns;
    struct turns_state device;
    struct claimspage_sum claims; /* of all its processes so far */
    uint64_t group; /* the same number for those that are one unit; 0: it is one by itself */
};

/* False: it takes no part in turns there. device: its position in the tenant's. */
bool devicegates_view(const struct devicegates *gates, const struct tenant *tenant, size_t device,
                      struct devicegates_view *ret_view);
