// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The socket on which the kubelet calls for one resource: a gRPC server on
 * `gpuslice-<resource>.sock`, its calls, and the streams that watch device lists. deviceplugin.h
 * has the content of the responses, service.h the registration.
 *
 * A socket's path has at most 107 bytes, for us and for the kubelet, which takes any name from
 * Register. Where the folder leaves no room for the resource's name, a hash of it stands there.
 *
 * A watch belongs to the turn (one registration) in which it was opened. One from an earlier turn
 * may continue beside a newer one; the newer one is what the kubelet uses, so only the end of the
 * last watch of this turn means that the kubelet dropped us.
 */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "plugin/offer.h"
#include "slice/policy.h"

enum { ENDPOINT_NAME_SIZE = RESOURCE_NAME_SIZE + 16 };

struct grants;
struct rpc_server;

struct endpoint_counters {
    uint64_t allocations, failed_allocations, preferences, lists_sent;
    uint64_t
        lost_names; /* of the failed allocations: those of a device that has changed its name */
    uint64_t cancelled, protocol_errors; /* calls; connections */
};

/* All members are borrowed. */
struct endpoint_setup {
    uv_loop_t *loop;
    const char *folder;   /* the kubelet's directory for sockets */
    const char *resource; /* "nvidia.com/gpu" */
    /* Where to find the current offer at the time of a call, and the previous one (or NULL). */
    const struct offer *const *offer, *const *earlier;
    struct grants *const
        *grants;          /* *grants NULL = Allocate responds immediately, without recording */
    bool wants_pre_start; /* the kubelet calls before each start of a container */
    void (*on_let_go)(void *userdata); /* the kubelet ended the last watch of this turn */
    void *userdata;
};

struct endpoint {
    struct endpoint_setup setup;
    char name[ENDPOINT_NAME_SIZE]; /* of the socket in the folder */
    char path[PATH_MAX];
    struct rpc_server *server;
    struct endpoint_watch *watches;
    size_t n_watches, watches_capacity;
    uint64_t turn;
    bool served;    /* it was reachable before */
    bool withdrawn; /* lists are empty */
    struct endpoint_counters counters;
};

/*
 * "gpuslice-gpu.sock" for "nvidia.com/gpu"; "gpuslice-<16 hex digits>.sock" where that would be too
 * long in this folder. NVIDIA's plugin unlinks its own nvidia-*.sock names.
 */
void endpoint_name(const char *folder, const char *resource, char *buffer, size_t size);

/* Does not listen yet. */
void endpoint_init(struct endpoint *endpoint, const struct endpoint_setup *setup);

/* Removes the socket, if it is still ours; the kubelet sees the streams end. It may listen
 * again. */
void endpoint_deinit(struct endpoint *endpoint);

/* Listens again. Earlier watches end, which the kubelet notices and on_let_go reports. */
int endpoint_listen(struct endpoint *endpoint, struct error *err);

/* About to register: watches opened from now on belong to a new turn. */
void endpoint_begin_turn(struct endpoint *endpoint);

/* Sends the current list to all watches. */
void endpoint_announce(struct endpoint *endpoint);

/* Lists are empty from now on: the resource is no longer offered. */
void endpoint_withdraw(struct endpoint *endpoint);

/* Ends every watch gracefully; on_let_go does not run. */
void endpoint_end_watches(struct endpoint *endpoint);

/* It listens, and dialling its path reaches us. */
bool endpoint_is_reachable(const struct endpoint *endpoint);

/* It was reachable, and no longer is: the socket was removed, or replaced by somebody else's. */
bool endpoint_is_lost(const struct endpoint *endpoint);

/* Since the start. */
struct endpoint_counters endpoint_counters(const struct endpoint *endpoint);
