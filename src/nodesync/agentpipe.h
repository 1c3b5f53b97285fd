// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Our end of the socket pair to the agent: whole messages in, and out. Of what cannot be sent yet
 * only the newest is kept, as each message of ours is whole.
 */

#include <uv.h>

#include "nodesync/message.h"

struct agentpipe;

struct agentpipe_events {
    /* What is taken out of the message is left empty; the rest is freed afterwards. */
    void (*on_message)(struct sync_message *message, void *userdata);
    /* 0: the agent closed its end; -EBADMSG: what it says makes no sense (err says why); another
     * negative errno: it cannot be heard. Called once. */
    void (*on_end)(int r, const struct error *err, void *userdata);
};

/* Takes fd over. After a failure too the loop must turn once more. */
int agentpipe_new(uv_loop_t *loop, int fd, const struct agentpipe_events *events, void *userdata,
                  struct agentpipe **ret_pair, struct error *err);

/* Sends it, unless it says what was sent last. 0 or -ENOMEM. */
int agentpipe_send(struct agentpipe *pair, const struct sync_message *message);

/* NULL is fine. */
void agentpipe_free(struct agentpipe *pair);
