// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Tracks the file that is this node's configuration: either the given one, or the one in a
 * directory (a ConfigMap volume) that configselect.h selects by a label of our Node.
 *
 * The label's value comes from the cluster, late or never. So its last known value is kept below
 * the state folder; without one, NODECONFIG_TIMEOUT_MS pass at the start, and the Node then counts
 * as unlabelled. A directory that is empty at the start is waited for as well: an optional
 * ConfigMap may be created later. Bursts of changes to directory, label and file are merged.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"
#include "config/agentflags.h"

enum { NODECONFIG_TIMEOUT_MS = 5000, NODECONFIG_FALLBACKS = 2 };

struct nodeconfig;

/* Another file is selected, its content changed, or the problem changed: see below. */
typedef void nodeconfig_changed_fn(void *userdata);

/* flags is borrowed. */
int nodeconfig_new(uv_loop_t *loop, const struct agent_flags *flags,
                   nodeconfig_changed_fn *on_changed, void *userdata,
                   struct nodeconfig **ret_config, struct error *err);

/* NULL is allowed. */
void nodeconfig_free(struct nodeconfig *config);

/* The Node's label; NULL = it does not have it. */
void nodeconfig_label(struct nodeconfig *config, const char *value);

/* Checks now, in case inotify lost events. */
void nodeconfig_check(struct nodeconfig *config);

/* Runs on_changed soon, changed or not; repeated calls are merged. */
void nodeconfig_touch(struct nodeconfig *config);

/* True while there is nothing to use yet; on_changed will run when there is. */
bool nodeconfig_is_waiting(const struct nodeconfig *config);

/* True if that is because the directory is empty, rather than because the label is unknown. */
bool nodeconfig_is_missing(const struct nodeconfig *config);

/* Why the selected file cannot be used, one sentence; "" = it can. */
const char *nodeconfig_problem(const struct nodeconfig *config);

/* The file to use; "" = an empty configuration. During a problem the last one stays. */
const char *nodeconfig_path(const struct nodeconfig *config);

/* nodeconfig_path was read and is in force: it is remembered across restarts. */
void nodeconfig_applied(struct nodeconfig *config);

/* A fallback is in force in its place. Until nodeconfig_applied, on_changed runs for its content
 * too. */
void nodeconfig_fell_back(struct nodeconfig *config, const char *path);

/*
 * Alternatives since a first start while the selected file cannot be used: 0 is what the previous
 * agent last used, 1 what a Node without the label uses. NULL = none, or the same file. Borrowed
 * until the next call.
 */
const char *nodeconfig_fallback(struct nodeconfig *config, unsigned which);
