// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the partitioner remembers of one GPU: what of it is withheld, who was found using it, and
 * how its last request ended. Nothing on which the next step depends.
 *
 * A request that failed is made again with back-off. One that was refused because of somebody who
 * uses the GPU is no failure: it is made again when they may have gone.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gpu/gpu.h"
#include "node/gpuholders.h"
#include "node/migreport.h"
#include "slice/inventory.h"
#include "slice/migstep.h"

enum {
    PARTGPU_RETRY_FIRST_MS = 1000,
    PARTGPU_RETRY_LAST_MS = 60000,
    PARTGPU_WAIT_MS = 5000, /* how often is looked whether holders have gone */
    PARTGPU_TRIES = 3,      /* of a reset, or of what nobody wants any more, that fail one after the
                               other: none will succeed */
};

struct partgpu {
    char uuid[GPU_UUID_SIZE];
    bool is_withheld; /* whole */
    uint32_t n_going; /* else these of its MIG devices */
    struct device_instance going[MIG_COMPUTES_MAX];
    bool is_unknown;           /* it is withheld because it is not known yet what is wanted */
    bool is_examined;          /* since it is withheld the kubelet and the driver were asked */
    bool was_withheld;         /* when they were asked the last time */
    struct gpuholders holders; /* what they answered the last time */
    uint64_t examine_at_ms;    /* while it waits: when they are asked again */
    unsigned n_failures;       /* of requests, one after the other */
    unsigned n_refusals;       /* because of a process that is not named, one after the other */
    uint64_t retry_at_ms;      /* no request before */
    char problem[384];         /* of the last one; "" = it succeeded */
    bool has_failed;           /* by the last look at it */
    bool has_offered;          /* it was offered as it was wanted, or as nobody wanted otherwise, */
    struct mig_layout offered; /* with this layout */
    bool changes_mode;         /* so processes that have the whole GPU open may be in the way */
    uint32_t n_refusers;       /* processes that were named with the last refusal */
    bool needs_reboot;         /* its reset is impossible */
    bool is_amid;              /* steps have changed it, and it is not yet as it is to be */
    bool is_looked_at;         /* once, and */
    bool is_wanted;            /* a layout was wanted of it then */
    char *waits;               /* for pods: see migwaits.h; NULL = for none */
};

/* Nothing is withheld and nothing has happened. */
void partgpu_init(struct partgpu *gpu, const char *uuid);
void partgpu_deinit(struct partgpu *gpu);

/* All of it, or (next) the devices that go with the step, or (NULL) none. True if that changes
 * something. */
bool partgpu_withhold(struct partgpu *gpu, bool whole, const struct mig_next *next);

/* The device of that instance is withheld. */
bool partgpu_is_going(const struct partgpu *gpu, struct device_instance instance);

/* Somebody was found who uses some of that instance. */
bool partgpu_is_used(const struct partgpu *gpu, struct device_instance instance);

/* Why it is withheld, the end of a sentence about it. Writes "" if nothing of it is. */
void partgpu_explain(const struct partgpu *gpu, char *text, size_t size);

/* The last request succeeded, failed, or was refused with the named processes. */
void partgpu_succeed(struct partgpu *gpu);
void partgpu_fail(struct partgpu *gpu, const char *reason, uint64_t now_ms);
void partgpu_refuse(struct partgpu *gpu, const struct gpu_changed *refusal, uint64_t now_ms);

/* A request is not made again before retry_at_ms. */
bool partgpu_backs_off(const struct partgpu *gpu, uint64_t now_ms);

/* The driver told who uses it, since the kubelet did. */
void partgpu_found(struct partgpu *gpu, const struct gpu_changed *found, uint64_t now_ms);

/* A finding about it for the round: see migreport_add. */
void partgpu_report(struct partgpu *own, struct migreport *report, enum migreport_state state,
                    const struct gpu *gpu, const char *before, const char *what);

/* Which pods it waits for (consumed, NULL = none). True if that changes something. */
bool partgpu_set_waits(struct partgpu *gpu, char *waits);

/* It is as it is wanted, or nobody wants it otherwise: offered with this layout. */
void partgpu_settle(struct partgpu *gpu, const struct mig_layout *layout);

/* Another layout is wanted: what failed on the way to the last one says nothing about it. */
void partgpu_forget(struct partgpu *gpu);

/* Pods can use it as before: no step has changed it yet. A pending mode changes nothing. */
bool partgpu_is_untouched(const struct partgpu *gpu, const struct mig_layout *layout);
