// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which mode holds on this node: what the agent wished last, unless it is switched off.
 *
 * The wish is kept in the grants' folder, in the form of its message, so that an arbiter that
 * starts without an agent goes on with it. While the file ENFORCEMENT_OFF is in that folder, limits
 * are counted at most, and nobody waits for a turn: `gpuslice enforcement off` makes it, without
 * agent and API server.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"
#include "proc/arbitermessage.h"

#define ENFORCEMENT_OFF  "enforcement-off"
#define ENFORCEMENT_WISH "memory-mode"

enum { ENFORCEMENT_PERIOD_MS = 1000 }; /* until the file is seen, where no watch works */

struct enforcement;

/* The mode, or that it is switched off, has changed. */
typedef void enforcement_changed_fn(void *userdata);

/* folder: of the grants; copied, and may not be there yet. first: holds until there is a wish. An
 * unreadable wish of earlier is logged, and none. */
int enforcement_new(uv_loop_t *loop, const char *folder, const struct arbiter_wish *first,
                    enforcement_changed_fn *on_changed, void *userdata,
                    struct enforcement **ret_enforcement, struct error *err);

/* Its handles close in later turns of the loop. NULL is allowed. */
void enforcement_free(struct enforcement *enforcement);

/* From the agent. It holds at once; that it cannot be kept is logged. */
void enforcement_set_wish(struct enforcement *enforcement, const struct arbiter_wish *wish);

/* Borrowed. */
const struct arbiter_wish *enforcement_get_wish(const struct enforcement *enforcement);

bool enforcement_is_off(const struct enforcement *enforcement);

/* What holds: of a wish that is switched off, LIMITS_OBSERVE stays, and LIMITS_ENFORCED is
 * LIMITS_NONE. */
enum limits_mode enforcement_mode(const struct enforcement *enforcement);

/* The same of how a device's time is shared: LIMITS_COMPUTE_OBSERVE stays, turns are
 * LIMITS_COMPUTE_NONE. */
enum limits_compute enforcement_compute(const struct enforcement *enforcement);

/* The same of a node's folder, for a program beside the arbiter. */
struct enforcement_files {
    struct arbiter_wish wish;
    bool has_wish, is_off;
};

int enforcement_read(const char *folder, struct enforcement_files *ret_files, struct error *err);

/* Makes or removes the file. 0 or a negative errno with a sentence. */
int enforcement_switch(const char *folder, bool is_off, struct error *err);
