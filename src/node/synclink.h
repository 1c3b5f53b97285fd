// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The agent's side of its protocol with gpuslice-nodesync (nodesync/message.h).
 *
 * Nothing here waits and nothing grows: of the state only the newest is kept, and of the events the
 * newest SYNCLINK_MAX_EVENTS. A program that died or hangs is replaced and gets everything again;
 * slicing continues without it. It is our child, or a container beside us that connects.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"
#include "nodesync/message.h"

enum { SYNCLINK_MAX_EVENTS = 64 };

struct listener;
struct synclink;

/* The program's view of our Node; news is borrowed. */
typedef void synclink_news_fn(const struct sync_news *news, void *userdata);

struct synclink_options {
    const struct sync_setup *setup;
    struct listener *listener; /* borrowed: where the program connects; NULL = it is our child */
    uint64_t deadline_ms;      /* of a child that does not respond; it is replaced */
};

int synclink_new(uv_loop_t *loop, const struct synclink_options *options, synclink_news_fn *on_news,
                 void *userdata, struct synclink **ret_link, struct error *err);

/* Terminates the program; NULL is allowed. */
void synclink_free(struct synclink *link);

/* The Node's desired state. Remembered, and sent if it differs. The link may be NULL. */
void synclink_state(struct synclink *link, const struct sync_state *state);

/* An event; the link may be NULL. */
void synclink_event(struct synclink *link, const struct sync_event *event);

/* True while the program runs and reaches the API server. False for NULL. */
bool synclink_is_connected(const struct synclink *link);

/* Events that were never sent, because too many came. */
uint64_t synclink_lost_events(const struct synclink *link);

typedef void synclink_gone_fn(bool is_uninstall, void *userdata);

/*
 * An orderly shutdown: sends what is pending, and then the shutdown message. on_gone runs once,
 * when the program has exited or SYNC_SHUTDOWN_MS have passed; free the link then. False (and
 * on_gone never runs) if no program runs that has sent anything yet. is_uninstall: the program
 * knows that no agent follows us.
 */
bool synclink_leave(struct synclink *link, synclink_gone_fn *on_gone, void *userdata);
