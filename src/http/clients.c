// SPDX-License-Identifier: Apache-2.0
#include "http/clients.h"

#include <limits.h>
#include <sys/socket.h>

struct client *clients_add(struct clients *clients, int fd, uint64_t due_ms)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &clients->items[i];

        if (client->due_ms)
            continue;
        *client = (struct client){fd, due_ms};
        return client;
    }
    return NULL;
}

void client_remove(struct client *client)
{
    if (client)
        client->due_ms = 0;
}

int clients_end_late(struct clients *clients, uint64_t now_ms)
{
    uint64_t next_ms = UINT64_MAX;

    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &clients->items[i];

        if (client->due_ms && client->due_ms <= now_ms) {
            shutdown(client->fd, SHUT_RDWR); /* its handler notices and closes it */
            client->due_ms = UINT64_MAX;
        }
        if (client->due_ms && client->due_ms < next_ms)
            next_ms = client->due_ms;
    }
    if (next_ms == UINT64_MAX)
        return -1;
    return next_ms - now_ms < INT_MAX ? (int)(next_ms - now_ms) : INT_MAX;
}
