// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The arbiter's end of its socket in --arbiter-dir: the agent and the command line, which run as
 * root (proc/arbitermessage.h). Containers have sockets of their own.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"
#include "base/text.h"
#include "proc/arbitermessage.h"

enum { ARBITERSOCKET_STATUS_PEERS = 8 };

struct arbitersocket;

struct arbitersocket_callbacks {
    /* An agent is connected, and has the state: events reach it. */
    void (*on_agent)(void *userdata);
    void (*on_wish)(const struct arbiter_wish *wish, void *userdata);
    /* Into an empty state. 0 or -ENOMEM. */
    int (*make_state)(struct arbiter_state *state, void *userdata);
    /* Adds the status document. */
    void (*add_status)(struct text *out, void *userdata);
};

/* folder: is made if need be. The socket is for our user and root alone. */
int arbitersocket_new(uv_loop_t *loop, const char *folder,
                      const struct arbitersocket_callbacks *callbacks, void *userdata,
                      struct arbitersocket **ret_socket, struct error *err);

/* Removes the socket. NULL is allowed. */
void arbitersocket_free(struct arbitersocket *socket);

/* The state may have changed: the agent gets it, unless it has it. */
void arbitersocket_publish(struct arbitersocket *socket);

/* Whether an agent gets it: false while none is connected. */
bool arbitersocket_send_event(struct arbitersocket *socket, const struct arbiter_event *event);
