// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Our channel to the agent: whole messages in and out (message.h). Of unsent messages only the
 * newest of a kind is kept, since each of ours is complete.
 */

#include <uv.h>

#include "nodesync/message.h"

struct agentlink;

struct agentlink_events {
    /* The callback may take members, leaving them empty; the rest is freed afterwards. */
    void (*on_message)(struct sync_message *message, void *userdata);
    /* 0: the agent closed its end; a negative errno: it sent an invalid message, or reading
     * failed (sentence says why). Called once. */
    void (*on_end)(int r, const char *sentence, void *userdata);
};

/*
 * socket: of the agent; connects as soon as it listens; NULL = we are its child and inherited the
 * channel.
 */
int agentlink_new(uv_loop_t *loop, const char *socket, const struct agentlink_events *events,
                  void *userdata, struct agentlink **ret_link, struct error *err);

/* True while the agent is connected. */
bool agentlink_is_up(const struct agentlink *link);

/* True if this connection to the agent, or the one that ended, was up long enough to be worth it.
 */
bool agentlink_lasted(const struct agentlink *link);

/* Sends it, unless it equals the last message. 0 or a negative errno. */
int agentlink_send(struct agentlink *link, const struct sync_message *message);

/* NULL is allowed. */
void agentlink_free(struct agentlink *link);
