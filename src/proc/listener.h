// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A unix socket where programs of ours that are not our children open channels: containers of one
 * pod, or a probe.
 *
 * The kernel reports the peer's user (SO_PEERCRED), and only users in the table below are accepted;
 * with a group, all that the socket's file lets connect, as strangers (channel.h).
 * A peer's hello names the requested service. Connections are limited: those without a hello by
 * LISTENER_MAX_UNKNOWN, the others by their service's row. If a service allows one peer, the newest
 * wins: a hung program does not block its replacement. A callback may withdraw its service and free
 * the listener.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

#include "base/error.h"
#include "proc/channel.h"

enum {
    LISTENER_MAX_UNKNOWN = 16,
    LISTENER_MAX_SERVICES = 4,
    LISTENER_MAX_USERS = 4,
};

struct listener;

/* As in subprocess.h: on_up and on_down for each peer. */
struct listener_service {
    const char *name;   /* static; the service named in a peer's hello */
    unsigned max_peers; /* above it: if 1, the newest replaces the other; else it is rejected */
    void (*on_up)(struct channel *channel, const char *name, void *userdata);
    void (*on_notice)(struct channel *channel, uint16_t kind, const char *body, size_t size,
                      void *userdata);
    void (*on_request)(struct channel *channel, uint32_t id, uint16_t kind, const char *body,
                       size_t size, void *userdata);
    void (*on_drain)(struct channel *channel, void *userdata);
    void (*on_down)(struct channel *channel, void *userdata);
    void *userdata;
};

struct listener_options {
    const char *path; /* of the socket; a stale one is replaced */
    mode_t mode;      /* of the socket */
    uid_t users[LISTENER_MAX_USERS];
    unsigned n_users;
    bool has_group;
    gid_t group; /* of the socket's file; its mode tells what members may */
    struct channel_options channel;
};

/* Options are copied. */
int listener_new(uv_loop_t *loop, const struct listener_options *options,
                 struct listener **ret_listener, struct error *err);

/* Peers may request this service from now on. -ENOBUFS if there are too many. */
int listener_serve(struct listener *listener, const struct listener_service *service);

/* And no longer: its peers are disconnected, without callbacks. */
void listener_withdraw(struct listener *listener, const char *name);

/* Connections closed because there were too many, or the user is not allowed. */
uint64_t listener_n_refused(const struct listener *listener);

/* Removes the socket, if it is still ours, and ends all channels, without callbacks. NULL is
 * allowed. */
void listener_free(struct listener *listener);
