// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The clients that are connected, each with the time by which its request must be over.
 *
 * libmicrohttpd knows only how long a client was silent, and each byte begins that time again: one
 * that sends a byte now and then could keep its connection without end. Here the whole request has
 * a limit, from the connection or the answer before it until its own answer is sent.
 */

#include <stddef.h>
#include <stdint.h>

enum { CLIENTS_MAX = 256 };

struct client {
    int fd;          /* borrowed; valid while the client is here */
    uint64_t due_ms; /* 0 = this place is free; UINT64_MAX = it is shut down */
};

struct clients {
    struct client items[CLIENTS_MAX];
};

/* NULL when there are CLIENTS_MAX already. */
struct client *clients_add(struct clients *clients, int fd, uint64_t due_ms);

/* NULL is allowed. */
void client_remove(struct client *client);

/* Shuts the connections down that are late. Returns in how many ms the next one is due; -1 = there
 * is none. */
int clients_end_late(struct clients *clients, uint64_t now_ms);
