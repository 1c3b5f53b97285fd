// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The other end of a listener: connects to its socket, with back-off whenever the channel ended or
 * there is no listener yet. An agent that refuses says hello first, so the back-off starts over
 * only after a channel that lasted.
 */

#include <stdbool.h>

#include <uv.h>

#include "base/error.h"
#include "proc/channel.h"

enum {
    CONNECTOR_FIRST_MS = 100,   /* of the back-off, which doubles ... */
    CONNECTOR_LAST_MS = 5000,   /* ... up to this */
    CONNECTOR_STABLE_MS = 5000, /* a channel that is up for so long lasted */
};

struct connector;

/* As in subprocess.h. Any may be NULL. */
struct connector_callbacks {
    void (*on_up)(struct channel *channel, const char *name, void *userdata);
    void (*on_notice)(struct channel *channel, uint16_t kind, const char *body, size_t size,
                      void *userdata);
    void (*on_request)(struct channel *channel, uint32_t id, uint16_t kind, const char *body,
                       size_t size, void *userdata);
    void (*on_drain)(struct channel *channel, void *userdata);
    /* The channel is gone; sentence has the reason. */
    void (*on_down)(const char *sentence, void *userdata);
    /* Connecting fails, for this reason; called once until the reason changes. */
    void (*on_trouble)(const char *sentence, void *userdata);
};

/* Connects from the loop. path: of the socket; options are copied, texts are borrowed. */
int connector_new(uv_loop_t *loop, const char *path, const struct channel_options *options,
                  const struct connector_callbacks *callbacks, void *userdata,
                  struct connector **ret_connector, struct error *err);

/* True if the current channel, or the last one, was up for CONNECTOR_STABLE_MS. */
bool connector_lasted(const struct connector *connector);

/* No callback runs any more. NULL is allowed. */
void connector_free(struct connector *connector);

/* A blocking connection, for a program without a loop: the descriptor, or a negative errno. */
int connector_open(const char *path, struct error *err);
