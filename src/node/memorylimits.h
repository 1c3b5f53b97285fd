// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Memory limits as this node has them: what the configuration wants, and what the arbiter, another
 * program with a life of its own, can do of it (proc/arbitermessage.h).
 *
 * The arbiter gets the mode, also when it changes. Where limits are to be enforced, slices that
 * no pod holds are withheld until the arbiter is there and has put a library on the node. An
 * arbiter that goes later has MEMORYLIMITS_PATIENCE_MS to come back, as after a start of this agent
 * on a node that has a library already. What pods hold is never withheld.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/text.h"
#include "plugin/limitmounts.h"
#include "proc/arbitermessage.h"
#include "slice/inventory.h"

enum { MEMORYLIMITS_PATIENCE_MS = 30000 };

struct memorylimits;

struct memorylimits_setup {
    uv_loop_t *loop;
    const char *arbiter_dir; /* of the arbiter's socket; borrowed, as the next one */
    const char *folder;      /* of grants and libraries */
    uint64_t deadline_ms;    /* of an arbiter that does not respond */
    /* What the questions below answer may differ. */
    void (*on_changed)(void *userdata);
    /* Something happened to a pod. */
    void (*on_event)(const struct arbiter_event *event, void *userdata);
    void *userdata;
};

/* Connects from the loop, again and again. */
int memorylimits_new(const struct memorylimits_setup *setup, struct memorylimits **ret_limits,
                     struct error *err);

/* NULL is allowed. */
void memorylimits_free(struct memorylimits *limits);

/* The configuration in force. Until the first call nothing is known to be wanted. NULL: no effect.
 */
void memorylimits_wish(struct memorylimits *limits, const struct arbiter_wish *wish);

/* No agent follows this one: pods that run on have no limits any more, whether or not the arbiter
 * outlives us. It may block as long as the disk does. NULL is allowed. */
void memorylimits_release(struct memorylimits *limits);

/* For offers, as long as the limits live; NULL for NULL. */
const struct limitmounts *memorylimits_mounts(const struct memorylimits *limits);

/* Why slices are withheld, one sentence; NULL = they are not. */
const char *memorylimits_problem(const struct memorylimits *limits);

/* What becomes of limits on this node, for people: "memory limits are enforced". machine: with the
 * GPUs that they are for. */
void memorylimits_describe(const struct memorylimits *limits, const struct inventory *machine,
                           struct text *out);
