// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A device whose time is shared: the containers that have a part in its turns (turns.h), what their
 * processes claim, and what comes of it in their pages (gatepage.h).
 *
 * A container is in it from when one of its processes has a page of claims. While none of them has
 * one its gate is open, and it counts as idle. Gates that close are shown before those that open,
 * so that no two containers have a turn.
 *
 * What belongs to groups is gategroups.h's, what belongs to sets of devices devicesets.h's.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arbiter/claimspage.h"
#include "arbiter/exchanges.h"
#include "arbiter/party.h"
#include "arbiter/tenant.h"
#include "arbiter/turns.h"

enum {
    GATEDDEVICE_BEAT_MS = 10,        /* of pages with a gate that is not open */
    GATEDDEVICE_SOON_NS = 70 * 1000, /* who sleeps so short a time is late */
};

#define GATEDDEVICE_NEVER UINT64_MAX

/* A container on a device. */
struct gatemember {
    struct gatemember *next;
    struct tenant *tenant;
    size_t place; /* of the device, in the tenant's */
    struct party party;
    struct claimspage_sum claims;
    uint64_t apart_ns; /* until then it joins no group; 0: it never left one */
    uint64_t group;    /* 0: none */
    bool was_named;    /* its namespace was known at the last look at who exchanged handles */
    bool was_next;     /* its waiting threads know that they are about to have a turn */
};

struct gateddevice {
    struct gateddevice *next; /* by UUID */
    struct gateddevice *set;  /* the first one of those whose turns depend on each other */
    char uuid[GPU_UUID_SIZE];
    struct turns *turns;
    struct gatemember *members;
    uint64_t due_ns; /* when it is to be run; 0 = now */
    bool is_due;     /* it was, and has not been run yet */
    bool is_soon;    /* that was a moment ahead when it was worked out */
    struct exchanges *exchanges;
    bool has_news;     /* of who exchanged handles, or is there */
    uint64_t match_ns; /* when that may be looked at, ... */
    uint64_t until_ns; /* ... and has to be again; GATEDDEVICE_NEVER */
    uint64_t n_groups; /* ever */
};

/* A set of its own. NULL without memory. */
struct gateddevice *gateddevice_new(const char *uuid, enum limits_compute mode);

/* It has no members. */
void gateddevice_free(struct gateddevice *device);

void gateddevice_set_mode(struct gateddevice *device, enum limits_compute mode);

/* --- its members --- */

/* place: of the device, in the tenant's. 0, -ENOMEM, or -ENOSPC with too many. */
int gateddevice_add(struct gateddevice *device, struct tenant *tenant, size_t place);

/* NULL: it is none of them. */
struct gatemember *gateddevice_find(const struct gateddevice *device, const struct tenant *tenant);

/* One of its members has processes that come or go. */
void gateddevice_note(struct gateddevice *device);

/* Its gate is open then. NULL: all. */
void gateddevice_remove(struct gateddevice *device, const struct tenant *tenant);

/* --- a run --- */

/* What is claimed now, for its turns. */
void gateddevice_read(struct gateddevice *device, uint64_t now_ns);

/* Its turns were decided, and are to be again at due_ns: gates are shown, and due_ns is set. */
void gateddevice_show(struct gateddevice *device, uint64_t due_ns, uint64_t now_ns);
