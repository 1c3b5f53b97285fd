// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The services of a node: one for each resource of the offer in force, and for what pods have of
 * resources that are gone (absent.h); none besides.
 */

#include <stdbool.h>
#include <stddef.h>

#include "plugin/service.h"

/* All zero = empty. The owner fills in the context before the first sync, and updates its
 * offers. */
struct serviceset {
    struct service_context context;
    struct service **items;
    size_t n, capacity;
};

/* Frees every service, immediately as when the agent exits. */
void serviceset_deinit(struct serviceset *set);

/*
 * Starts, withdraws and announces services until they match context.offer. `before` is the offer in
 * force until now, or NULL: a resource that is the same in both is not announced again. A service
 * that cannot be started is logged, and retried with the next sync.
 */
void serviceset_sync(struct serviceset *set, const struct offer *before);

/* Announces the resources that have a slice on a marked device; devices has one element for each
 * device of the plan. NULL = announces every resource. */
void serviceset_announce(struct serviceset *set, const bool *devices);

/* See service_check and service_node_changed, for each of them. */
void serviceset_check(struct serviceset *set, const char *name);
void serviceset_node_changed(struct serviceset *set);

/* True when at least one is registered; when there are some, and all are; when that one is. */
bool serviceset_serves(const struct serviceset *set);
bool serviceset_is_registered(const struct serviceset *set);
bool serviceset_serves_resource(const struct serviceset *set, const char *resource);

/* True if there are services, and a foreign plugin or another agent serves each of them. */
bool serviceset_stands_by(const struct serviceset *set);
