// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The connected clients, each with the deadline of its request.
 *
 * libmicrohttpd limits only how long a client is silent, and each byte restarts that time: a client
 * that sends a byte now and then could keep its connection indefinitely. Here the whole request is
 * limited, from the connection or the previous response until its own response is sent.
 */

#include <stddef.h>
#include <stdint.h>

enum { CLIENTS_MAX = 256 };

struct client {
    int fd;          /* borrowed; valid while the client is listed */
    uint64_t due_ms; /* 0 = free slot; UINT64_MAX = it is shut down */
};

struct clients {
    struct client items[CLIENTS_MAX];
};

/* NULL if there are CLIENTS_MAX already. */
struct client *clients_add(struct clients *clients, int fd, uint64_t due_ms);

/* NULL is allowed. */
void client_remove(struct client *client);

/* Shuts down overdue connections. Returns in how many ms the next one is due; -1 = there is
 * none. */
int clients_end_late(struct clients *clients, uint64_t now_ms);
