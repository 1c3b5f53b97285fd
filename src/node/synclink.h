// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The agent's side of what it and gpuslice-nodesync tell each other (nodesync/message.h).
 *
 * Nothing here waits and nothing grows: of the state only the newest is kept, and of the events the
 * newest SYNCLINK_MAX_EVENTS. A program that died or hangs is replaced and told everything again;
 * slicing goes on without it. It is our child, or a container beside us that connects.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"
#include "nodesync/message.h"

enum { SYNCLINK_MAX_EVENTS = 64 };

struct listener;
struct synclink;

/* What the program sees of our Node; news is borrowed. */
typedef void synclink_news_fn(const struct sync_news *news, void *userdata);

struct synclink_options {
    const struct sync_setup *setup;
    struct listener *listener; /* borrowed: where the program connects; NULL = it is our child */
    uint64_t deadline_ms;      /* of a child that does not answer; it is replaced */
};

int synclink_new(uv_loop_t *loop, const struct synclink_options *options, synclink_news_fn *on_news,
                 void *userdata, struct synclink **ret_link, struct error *err);

/* Ends the program; NULL is fine. */
void synclink_free(struct synclink *link);

/* What the Node should have. Remembered, and sent when it differs. A link that is NULL is fine. */
void synclink_state(struct synclink *link, const struct sync_state *state);

/* What happened; NULL is fine. */
void synclink_event(struct synclink *link, const struct sync_event *event);

/* True while the program runs and hears the API server. False for NULL. */
bool synclink_is_connected(const struct synclink *link);

/* Events that were never told, because more came than could be kept. */
uint64_t synclink_lost_events(const struct synclink *link);

typedef void synclink_gone_fn(bool is_uninstall, void *userdata);

/*
 * The agent ends in good order: what is not told yet is told, and then bye. on_gone runs once, when
 * the program has ended or SYNC_SHUTDOWN_MS are over; free the link then. False (and on_gone
 * never runs) when no program runs that has told anything yet. is_uninstall: the program knows that
 * no agent comes after us.
 */
bool synclink_leave(struct synclink *link, synclink_gone_fn *on_gone, void *userdata);
