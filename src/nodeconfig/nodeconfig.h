// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Tracks the file that is this node's configuration. The first that there is: the one in a
 * directory (a ConfigMap volume) that a label of our Node names; that of the Node's slice profile
 * (nodeprofile.h); the directory's for a Node without the label (configselect.h), or the given
 * file.
 *
 * What the Node says comes from the cluster, late or never. So what is last known is kept below the
 * state folder; without that, NODECONFIG_TIMEOUT_MS pass at the start, and the Node then counts as
 * having neither. A directory that is empty at the start is waited for as well: an optional
 * ConfigMap may be created later. So is the configuration of a profile, without end: whatever else
 * were offered meanwhile, Karpenter expects something different of this node. Bursts of changes to
 * directory, Node and file are merged.
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

/* What our Node has of it; NULL = nothing. */
struct nodeconfig_node {
    const char *label;          /* the one that names a file of the directory */
    const char *profile;        /* the name of its slice profile, and */
    const char *profile_config; /* the configuration of that */
};

void nodeconfig_node(struct nodeconfig *config, const struct nodeconfig_node *node);

/* Checks now, in case inotify lost events. */
void nodeconfig_check(struct nodeconfig *config);

/* Runs on_changed soon, changed or not; repeated calls are merged. */
void nodeconfig_touch(struct nodeconfig *config);

/* True while there is nothing to use yet; on_changed will run when there is. */
bool nodeconfig_is_waiting(const struct nodeconfig *config);

/* True if that is because there is no configuration, rather than because the Node is unknown. */
bool nodeconfig_is_missing(const struct nodeconfig *config);

/* Why the selected file cannot be used, or what it waits for; one sentence, "" = it can. */
const char *nodeconfig_problem(const struct nodeconfig *config);

/* What the Node has and is not heeded, one sentence; "" = nothing. */
const char *nodeconfig_outranked(const struct nodeconfig *config);

/* The file to use; "" = an empty configuration. During a problem the last one stays. */
const char *nodeconfig_path(const struct nodeconfig *config);

/* It is that of the Node's slice profile. False for NULL. */
bool nodeconfig_is_profile(const struct nodeconfig *config);

/* nodeconfig_path was read and is in force: it is remembered across restarts. */
void nodeconfig_applied(struct nodeconfig *config);

/* A fallback is in force in its place. Until nodeconfig_applied, on_changed runs for its content
 * too. */
void nodeconfig_fell_back(struct nodeconfig *config, const char *path);

/*
 * Alternatives since a first start while the selected file cannot be used: 0 is what the previous
 * agent last used, 1 what a Node without the label uses. NULL = none, or the same file; a profile
 * has none. Borrowed until the next call.
 */
const char *nodeconfig_fallback(struct nodeconfig *config, unsigned which);
