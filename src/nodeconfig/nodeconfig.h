// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The file that is this node's configuration, followed: either the one that was named, or the one
 * of a folder (a ConfigMap volume) that configselect.h picks by a label of our Node.
 *
 * What the label says comes from the cluster and may come late or never. So its last known value is
 * kept below the state folder; without one, NODECONFIG_TIMEOUT_MS are waited at the start and the
 * Node then counts as one without the label. A folder that is empty at the start is waited for as
 * well: an optional ConfigMap may be made later. Changes of folder, label and file that come in a
 * burst are told as one.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"
#include "config/agentflags.h"

enum { NODECONFIG_TIMEOUT_MS = 5000, NODECONFIG_FALLBACKS = 2 };

struct nodeconfig;

/* Another file is meant, its content changed, or there is another trouble: look at what is below.
 */
typedef void nodeconfig_changed_fn(void *userdata);

/* flags is borrowed. */
int nodeconfig_new(uv_loop_t *loop, const struct agent_flags *flags,
                   nodeconfig_changed_fn *on_changed, void *userdata,
                   struct nodeconfig **ret_config, struct error *err);

/* NULL is allowed. */
void nodeconfig_free(struct nodeconfig *config);

/* What the Node's label says; NULL = it does not have it. */
void nodeconfig_label(struct nodeconfig *config, const char *value);

/* Looks now, as a safety net for events that inotify lost. */
void nodeconfig_check(struct nodeconfig *config);

/* Runs on_changed soon, changed or not; many touches are taken as one. */
void nodeconfig_touch(struct nodeconfig *config);

/* True while there is nothing to take yet, and on_changed will run when there is. */
bool nodeconfig_is_waiting(const struct nodeconfig *config);

/* True when that is because the folder is empty, rather than because the label is not known yet. */
bool nodeconfig_is_missing(const struct nodeconfig *config);

/* Why what was chosen cannot be taken, one sentence; "" = it can. */
const char *nodeconfig_problem(const struct nodeconfig *config);

/* The file to take; "" = an empty configuration. What was chosen last stays during trouble. */
const char *nodeconfig_path(const struct nodeconfig *config);

/* What nodeconfig_path says was read and is in force: it is remembered over a restart. */
void nodeconfig_applied(struct nodeconfig *config);

/*
 * What may stand in at a first start when what is meant cannot be taken: 0 is what the agent before
 * us took last, 1 what a Node without the label takes. NULL = that is nothing, or no other file.
 * Borrowed until the next call.
 */
const char *nodeconfig_fallback(struct nodeconfig *config, unsigned which);
