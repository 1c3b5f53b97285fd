// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What is shown of a container on a device: its limit, what it has and is charged, and its part in
 * the turns there. Metrics, events, the status document and the reports of commands are made of it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arbiter/audit.h"
#include "arbiter/devicegates.h"
#include "arbiter/formerprocesses.h"
#include "arbiter/tenant.h"
#include "limits/page.h"

/* Borrowed while it is shown. */
struct limituse {
    const char *namespace_, *pod; /* "" = not known yet */
    const char *pod_uid, *container;
    const char *uuid;     /* of the GPU or MIG device */
    uint64_t limit_bytes; /* 0 = there is none */
    uint64_t charged_bytes, overhead_bytes;
    uint64_t peak_bytes; /* highest charge since the arbiter knows of the container */
    int64_t gap_bytes;   /* what the driver showed last, less what was charged then */
    bool has_gap;
    uint64_t n_denied;   /* allocations; with LIMITS_OBSERVE those that would have been */
    size_t n_processes;  /* on any of its devices */
    size_t n_registered; /* of those, the ones that are connected, or will be when they want
                            anything (formerprocesses.h): the others are not limited */
    /* Of all that have a context on the device, those that take no part in turns, whatever they
     * launch: without a library, with one of before turns, or refused. Idle ones are none. */
    size_t n_unenforced_compute;
    bool is_ungranted;  /* limituses.h: there is no account, only a limit and what is used */
    bool is_starved;    /* whatever its processes ask for is denied */
    uint32_t share_ppm; /* of the device's time, by its grants; 0 = not known */
    bool has_turns;     /* it takes part in them; else nothing is known of its work */
    struct devicegates_view turns;
    enum limits_compute compute; /* the mode */
};

typedef void limituse_fn(const struct limituse *use, void *userdata);

/* device: its position in the tenant's. */
void limituse_read(struct limituse *ret_use, const struct tenant *tenant, size_t device,
                   enum limits_mode mode, const struct devicegates *gates,
                   const struct formerprocesses *former);

/* The position of what is shown of that container on that device; n: it is not among these. */
size_t limituse_find(const struct limituse *uses, size_t n, const struct audit_use *of,
                     const char *uuid);

/* Processes that nobody limits, of a container with a limit; 0 of any other. */
size_t limituse_count_unenforced(const struct limituse *use);
