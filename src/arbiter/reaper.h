// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Ends processes of pods that use GPU memory which is not theirs, where the policy says so.
 *
 * Only a process in the cgroup of the very pod is ever ended, never one of the node. What the
 * driver listed is a number, and the process of that number may have ended since: so the process is
 * taken hold of first (a pidfd), then it is looked at whose it is and whether it had started before
 * the driver was asked, and the signal goes to what is held.
 */

#include <stdbool.h>
#include <stdint.h>

#include "arbiter/reading.h"
#include "arbiter/violations.h"

enum {
    REAPER_PAUSE_MS = 5000, /* for what was killed to end, until something is killed again */
};

/* Positive outcomes of reaper_kill. */
enum {
    REAPER_GONE = 1,   /* it has ended, or another process has its number since */
    REAPER_NOT_THEIRS, /* it is in another container, or in none */
};

/* Whether what was killed of it last has had the time to end. The policy says whether it is due. */
bool reaper_is_ready(const struct violation *violation, uint64_t now_ms);

/* A process of the violation's container. root: of the node's files; started: reading->began_ticks.
 * 0, an outcome above, or a negative errno with a sentence. */
int reaper_kill(const char *root, uint32_t pid, const struct audit_owner *owner,
                uint64_t began_ticks, struct error *err);

typedef void reaper_done_fn(const struct violation *violation, uint32_t pid, int outcome,
                            const char *reason, void *userdata);

/* Of who is over a limit the process that uses most of that device, of others all that use it. done
 * runs for each; or once, with REAPER_NOT_THEIRS, while none of them may be killed. */
void reaper_act(const char *root, struct violation *violation, const struct reading *reading,
                const struct audit *audit, uint64_t now_ms, reaper_done_fn *done, void *userdata);
