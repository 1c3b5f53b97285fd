// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Parameters common to the agent's channels to its programs. */

#include <stdint.h>

#include "proc/channel.h"

enum {
    PEER_HELLO_MS = 60000,      /* a program may start slowly on a busy machine */
    PEER_MAX_RECEIVE = 1 << 20, /* bytes of a message to the agent */
    PEER_PING_DEADLINES = 6,    /* a program silent for this many deadlines is pinged */
};

#define PEER_AGENT  "agent"      /* the agent's name, for its hello */
#define PEER_SOCKET "agent.sock" /* see channeldir.h */

static inline struct channel_options peer_channel_options(uint32_t max_body_bytes,
                                                          uint64_t deadline_ms)
{
    return (struct channel_options){
        .name = PEER_AGENT,
        .max_body_bytes = max_body_bytes,
        .max_receive_bytes = PEER_MAX_RECEIVE,
        .max_queued_bytes = 2 * (size_t)max_body_bytes,
        .hello_ms = PEER_HELLO_MS,
        .ping_ms = PEER_PING_DEADLINES * deadline_ms,
        .pong_ms = deadline_ms,
    };
}
