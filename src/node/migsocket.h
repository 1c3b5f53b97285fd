// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The socket where `gpuslice mig apply` asks for a layout (gpu/migrequest.h): for root and the
 * agent's own user, by the credentials that the kernel reports. One request is served at a time;
 * another one is refused meanwhile.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"

struct migsocket;

struct migsocket_setup {
    uv_loop_t *loop;
    const char *state_dir;
    uint64_t deadline_ms; /* of a peer that does not react to a ping; 0 = it is not pinged */
    /* Takes a request, as migorder.h reads it. 0: it is answered by migsocket_end, now or later; or
     * a negative errno with a sentence for the peer. */
    int (*take)(const char *data, size_t size, struct error *err, void *userdata);
    void *userdata;
};

int migsocket_new(const struct migsocket_setup *setup, struct migsocket **ret_socket,
                  struct error *err);

/* NULL is allowed, here and below. */
void migsocket_free(struct migsocket *socket);

/* Notifies the peer that waits, unless it was the last notice. */
void migsocket_tell(struct migsocket *socket, const char *sentence);

/* Answers the peer that waits. */
void migsocket_end(struct migsocket *socket, bool done, const char *sentence);
