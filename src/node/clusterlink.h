// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The agent's side of what it and gpuslice-cluster tell each other (cluster/message.h).
 *
 * Nothing here waits and nothing grows: one line is under way at a time, of the state only the
 * newest is kept, and of the events the newest CLUSTERLINK_MAX_EVENTS. A program that died is
 * started again and told everything anew; slicing goes on without it.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"
#include "cluster/message.h"

enum { CLUSTERLINK_MAX_EVENTS = 64 };

struct clusterlink;

/* What the program sees of our Node; news is borrowed. */
typedef void clusterlink_news_fn(const struct cluster_news *news, void *userdata);

int clusterlink_new(uv_loop_t *loop, const struct cluster_setup *setup,
                    clusterlink_news_fn *on_news, void *userdata, struct clusterlink **ret_link,
                    struct error *err);

/* Ends the program; NULL is fine. */
void clusterlink_free(struct clusterlink *link);

/* What the Node should have. Remembered, and sent when it differs. A link that is NULL is fine. */
void clusterlink_state(struct clusterlink *link, const struct cluster_state *state);

/* What happened; NULL is fine. */
void clusterlink_event(struct clusterlink *link, const struct cluster_event *event);

/* True while the program runs and hears the API server. False for NULL. */
bool clusterlink_is_connected(const struct clusterlink *link);

/* Events that were never told, because more came than could be kept. */
uint64_t clusterlink_lost_events(const struct clusterlink *link);

typedef void clusterlink_gone_fn(bool is_uninstall, void *userdata);

/*
 * The agent ends in good order: what is not told yet is told, and then bye. on_gone runs once, when
 * the program has ended or CLUSTER_FAREWELL_MS are over; free the link then. False (and on_gone
 * never runs) when no program runs that has told anything yet. is_uninstall: the program knows that
 * no agent comes after us.
 */
bool clusterlink_leave(struct clusterlink *link, clusterlink_gone_fn *on_gone, void *userdata);
